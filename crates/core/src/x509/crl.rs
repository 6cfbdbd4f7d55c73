//! One certificate revocation list, parsed (RFC 5280 section 5).

use core::cmp::Ordering;
use core::fmt;

use thiserror::Error;

use super::certificate::octets;
use super::der::{self, Element, NotDer, Reader, tag};
use super::distribution::{IssuingDistributionPoint, NameKey};
use super::extension_list;
use super::oid::crl_extension;
use super::{CrlParseError, Name, Span, UnixSeconds};
use crate::limits::CRL_ENTRIES;

/// RFC 5280 5.2.3: numbers of up to 20 octets are handled, longer ones are not issued.
const MAX_NUMBER_BYTES: usize = 20;

/// RFC 5280 5.3.1, without `removeFromCRL`, which revokes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RevocationReason {
    /// `unspecified`, or no reason is given.
    Unspecified,
    /// `keyCompromise`
    KeyCompromise,
    /// `cACompromise`
    CaCompromise,
    /// `affiliationChanged`
    AffiliationChanged,
    /// `superseded`
    Superseded,
    /// `cessationOfOperation`
    CessationOfOperation,
    /// `certificateHold`: counts as revoked as long as the entry stands.
    CertificateHold,
    /// `privilegeWithdrawn`
    PrivilegeWithdrawn,
    /// `aACompromise`
    AaCompromise,
}

impl fmt::Display for RevocationReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unspecified => "unspecified",
            Self::KeyCompromise => "keyCompromise",
            Self::CaCompromise => "cACompromise",
            Self::AffiliationChanged => "affiliationChanged",
            Self::Superseded => "superseded",
            Self::CessationOfOperation => "cessationOfOperation",
            Self::CertificateHold => "certificateHold",
            Self::PrivilegeWithdrawn => "privilegeWithdrawn",
            Self::AaCompromise => "aACompromise",
        })
    }
}

/// Why a CRL that can be read must not be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CrlDefect {
    /// RFC 5280 5.2: a critical extension that is not processed.
    #[error("critical extension {oid} is not supported")]
    UnprocessedCriticalExtension {
        /// Dotted object identifier.
        oid: String,
    },
    /// RFC 5280 5.3: a critical extension of an entry that is not processed.
    #[error("critical extension {oid} of an entry is not supported")]
    UnprocessedCriticalEntryExtension {
        /// Dotted object identifier.
        oid: String,
    },
    /// RFC 5280 5.2.3: every CRL has a number.
    #[error("cRLNumber is missing")]
    NumberMissing,
    /// RFC 5280 5.2.3: the number is not critical.
    #[error("cRLNumber is critical")]
    NumberCritical,
    /// RFC 5280 5.3.3: only an indirect CRL lists other issuers' certificates.
    #[error("certificateIssuer in a CRL that is not indirect")]
    CertificateIssuerInDirectCrl,
    /// RFC 5280 5.3.1: only a delta CRL takes entries back.
    #[error("removeFromCRL in a CRL that is not a delta CRL")]
    RemovalInCompleteCrl,
}

/// A number of RFC 5280 5.2.3 without leading zero octets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CrlNumber(Box<[u8]>);

impl CrlNumber {
    fn read(value: &Element<'_>) -> Result<Self, NotDer> {
        let mut reader = value.reader();
        let content = reader.require(tag::INTEGER)?.content;
        reader.end()?;
        let negative = content.first().is_some_and(|first| first & 0x80 != 0);
        if negative || !der::is_shortest_integer(content) || content.len() > MAX_NUMBER_BYTES {
            return Err(NotDer);
        }
        Ok(Self(content.strip_prefix(&[0]).unwrap_or(content).into()))
    }
}

impl PartialOrd for CrlNumber {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for CrlNumber {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.0.len(), &self.0).cmp(&(other.0.len(), &other.0))
    }
}

/// What an entry says about a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EntryStatus {
    Revoked(RevocationReason),
    /// `removeFromCRL` of a delta CRL.
    Removed,
}

/// One revoked certificate, kept small: a list may have many.
#[derive(Clone, Copy, Debug)]
struct Entry {
    serial: Span,
    /// Index into `Crl::certificate_issuers`; `None` is the CRL's own issuer.
    issuer: Option<u32>,
    status: EntryStatus,
}

/// A CRL (RFC 5280 5.1) with its DER and the fields that matter here. Nothing is proven by it being
/// parsed.
#[derive(Clone, Debug)]
pub struct Crl {
    der: Box<[u8]>,
    tbs: Span,
    signature_algorithm: Span,
    signature: Span,
    issuer: Name,
    this_update: UnixSeconds,
    next_update: Option<UnixSeconds>,
    /// By serial number.
    entries: Vec<Entry>,
    certificate_issuers: Vec<Box<[u8]>>,
    extensions: CrlExtensions,
    defect: Option<CrlDefect>,
}

/// What the extensions of RFC 5280 5.2 say.
#[derive(Clone, Debug, Default)]
struct CrlExtensions {
    number: Option<CrlNumber>,
    authority_key_id: Option<Span>,
    base_number: Option<CrlNumber>,
    issuing_distribution_point: Option<IssuingDistributionPoint>,
}

impl Crl {
    /// Parses exactly one CRL.
    ///
    /// # Errors
    /// The bytes are not strict DER, not a CRL, or a processed extension is malformed.
    pub fn parse(der: Vec<u8>) -> Result<Self, CrlParseError> {
        der::check_nesting(&der).map_err(|_| CrlParseError::NotDer)?;
        let outer = Outer::read(&der)?;
        // RFC 5280 5.1.1.2
        if outer.signature_algorithm.of(&der) != outer.tbs_signature_algorithm.of(&der) {
            return Err(CrlParseError::SignatureAlgorithmMismatch);
        }
        let structure = |field| move |_: NotDer| CrlParseError::Structure { field };
        let issuer = Name::read(&outer.issuer).map_err(structure("issuer"))?;
        // RFC 5280 5.1.2.3
        if issuer.is_empty() {
            return Err(CrlParseError::Structure { field: "issuer" });
        }
        let this_update = UnixSeconds::read(&outer.this_update).map_err(structure("thisUpdate"))?;
        let next_update = match &outer.next_update {
            Some(element) => Some(UnixSeconds::read(element).map_err(structure("nextUpdate"))?),
            None => None,
        };
        let mut defect = None;
        let mut list = RevokedList::default();
        if let Some(element) = &outer.revoked {
            list.read(element, outer.is_version_2, &mut defect)?;
        }
        let extensions = match &outer.extensions {
            // RFC 5280 5.1.2.1: extensions only in version 2
            Some(_) if !outer.is_version_2 => {
                return Err(CrlParseError::Structure { field: "version" });
            }
            Some(explicit) => CrlExtensions::read(explicit, &mut defect)?,
            None => CrlExtensions::default(),
        };
        let mut found = |condition: bool, what: CrlDefect| {
            if condition && defect.is_none() {
                defect = Some(what);
            }
        };
        found(extensions.number.is_none(), CrlDefect::NumberMissing);
        let indirect = extensions
            .issuing_distribution_point
            .as_ref()
            .is_some_and(|point| point.indirect);
        found(
            !indirect && !list.certificate_issuers.is_empty(),
            CrlDefect::CertificateIssuerInDirectCrl,
        );
        let removal = list
            .entries
            .iter()
            .any(|entry| entry.status == EntryStatus::Removed);
        found(
            removal && extensions.base_number.is_none(),
            CrlDefect::RemovalInCompleteCrl,
        );
        // Sorted once, so that each certificate costs a binary search.
        list.entries
            .sort_by(|a, b| a.serial.of(&der).cmp(b.serial.of(&der)));
        Ok(Self {
            tbs: outer.tbs,
            signature_algorithm: outer.signature_algorithm,
            signature: outer.signature,
            issuer,
            this_update,
            next_update,
            entries: list.entries,
            certificate_issuers: list.certificate_issuers,
            extensions,
            defect,
            der: der.into_boxed_slice(),
        })
    }

    /// The whole CRL.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The signed part, tag and length included.
    #[must_use]
    pub fn tbs(&self) -> &[u8] {
        self.tbs.of(&self.der)
    }

    /// The signature's AlgorithmIdentifier, without its outer tag and length.
    #[must_use]
    pub fn signature_algorithm(&self) -> &[u8] {
        self.signature_algorithm.of(&self.der)
    }

    /// The signature's octets.
    #[must_use]
    pub fn signature(&self) -> &[u8] {
        self.signature.of(&self.der)
    }

    /// Who issued it.
    #[must_use]
    pub fn issuer(&self) -> &Name {
        &self.issuer
    }

    /// First second at which it holds.
    #[must_use]
    pub fn this_update(&self) -> UnixSeconds {
        self.this_update
    }

    /// Last second at which it is current; RFC 5280 5.1.2.5 demands it, X.509 does not.
    #[must_use]
    pub fn next_update(&self) -> Option<UnixSeconds> {
        self.next_update
    }

    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// No certificate is listed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// RFC 5280 5.2.5
    #[must_use]
    pub fn issuing_distribution_point(&self) -> Option<&IssuingDistributionPoint> {
        self.extensions.issuing_distribution_point.as_ref()
    }

    /// RFC 5280 5.2.4: the list only says what changed since another one.
    #[must_use]
    pub fn is_delta(&self) -> bool {
        self.extensions.base_number.is_some()
    }

    /// RFC 5280 5.2.1, the key identifier.
    #[must_use]
    pub fn authority_key_id(&self) -> Option<&[u8]> {
        self.extensions
            .authority_key_id
            .map(|span| span.of(&self.der))
    }

    /// Why it must not be used.
    #[must_use]
    pub fn defect(&self) -> Option<&CrlDefect> {
        self.defect.as_ref()
    }

    /// RFC 5280 5.2.3
    pub(crate) fn number(&self) -> Option<&CrlNumber> {
        self.extensions.number.as_ref()
    }

    /// RFC 5280 5.2.4
    pub(crate) fn base_number(&self) -> Option<&CrlNumber> {
        self.extensions.base_number.as_ref()
    }

    /// The entry of the certificate with this issuer (in canonical form) and serial number. Of
    /// several entries one that revokes it counts.
    pub(crate) fn entry(&self, issuer: &[u8], serial: &[u8]) -> Option<EntryStatus> {
        let first = self
            .entries
            .partition_point(|entry| entry.serial.of(&self.der) < serial);
        let mut found = None;
        for entry in self.entries.iter().skip(first) {
            if entry.serial.of(&self.der) != serial {
                break;
            }
            let listed = match entry.issuer {
                None => Some(self.issuer.canonical()),
                Some(index) => usize::try_from(index)
                    .ok()
                    .and_then(|index| self.certificate_issuers.get(index))
                    .map(AsRef::as_ref),
            };
            if listed == Some(issuer) {
                found = Some(entry.status);
                if entry.status != EntryStatus::Removed {
                    break;
                }
            }
        }
        found
    }
}

/// The same bytes.
impl PartialEq for Crl {
    fn eq(&self, other: &Self) -> bool {
        self.der == other.der
    }
}

impl Eq for Crl {}

/// Where the parts of RFC 5280 5.1 lie.
struct Outer<'a> {
    tbs: Span,
    signature_algorithm: Span,
    signature: Span,
    tbs_signature_algorithm: Span,
    is_version_2: bool,
    issuer: Element<'a>,
    this_update: Element<'a>,
    next_update: Option<Element<'a>>,
    revoked: Option<Element<'a>>,
    extensions: Option<Element<'a>>,
}

impl<'a> Outer<'a> {
    fn read(der: &'a [u8]) -> Result<Self, CrlParseError> {
        let structure = |field| move |_: NotDer| CrlParseError::Structure { field };
        let at = structure("certificateList");
        let mut outer = Reader::new(der)
            .require(tag::SEQUENCE)
            .map_err(at)?
            .reader();
        let tbs = outer.require(tag::SEQUENCE).map_err(at)?;
        let signature_algorithm = outer.require(tag::SEQUENCE).map_err(at)?;
        let signature = outer
            .require(tag::BIT_STRING)
            .and_then(|element| octets(&element))
            .map_err(structure("signatureValue"))?;
        outer.end().map_err(at)?;

        let at = structure("tbsCertList");
        let mut fields = tbs.reader();
        // RFC 5280 5.1.2.1: 1 is version 2; version 1 is left out.
        let is_version_2 = match fields.optional(tag::INTEGER).map_err(at)? {
            Some(version) if version.content == [1] => true,
            Some(_) => return Err(CrlParseError::Structure { field: "version" }),
            None => false,
        };
        let tbs_signature_algorithm = fields.require(tag::SEQUENCE).map_err(at)?;
        let issuer = fields.require(tag::SEQUENCE).map_err(at)?;
        let this_update = fields.any().map_err(at)?;
        let mut next_update = None;
        for form in [tag::UTC_TIME, tag::GENERALIZED_TIME] {
            if next_update.is_none() {
                next_update = fields.optional(form).map_err(at)?;
            }
        }
        let revoked = fields.optional(tag::SEQUENCE).map_err(at)?;
        let extensions = fields.optional(tag::context_constructed(0)).map_err(at)?;
        fields.end().map_err(at)?;
        Ok(Self {
            tbs: tbs.span,
            signature_algorithm: signature_algorithm.content_span,
            signature,
            tbs_signature_algorithm: tbs_signature_algorithm.content_span,
            is_version_2,
            issuer,
            this_update,
            next_update,
            revoked,
            extensions,
        })
    }
}

/// `revokedCertificates`
#[derive(Default)]
struct RevokedList {
    entries: Vec<Entry>,
    certificate_issuers: Vec<Box<[u8]>>,
}

impl RevokedList {
    fn read(
        &mut self,
        element: &Element<'_>,
        is_version_2: bool,
        defect: &mut Option<CrlDefect>,
    ) -> Result<(), CrlParseError> {
        let structure = |_: NotDer| CrlParseError::Structure {
            field: "revokedCertificates",
        };
        let mut list = element.reader();
        // RFC 5280 5.3.3: an entry that names no issuer has that of the entry before.
        let mut issuer = None;
        while !list.is_empty() {
            if self.entries.len() >= CRL_ENTRIES {
                return Err(CrlParseError::TooManyEntries { limit: CRL_ENTRIES });
            }
            let mut fields = list.require(tag::SEQUENCE).map_err(structure)?.reader();
            let serial = fields.require(tag::INTEGER).map_err(structure)?;
            if !der::is_shortest_integer(serial.content) {
                return Err(structure(NotDer));
            }
            let date = fields.any().map_err(structure)?;
            UnixSeconds::read(&date).map_err(structure)?;
            let extensions = fields.optional(tag::SEQUENCE).map_err(structure)?;
            fields.end().map_err(structure)?;
            let mut status = EntryStatus::Revoked(RevocationReason::Unspecified);
            if let Some(extensions) = extensions {
                // RFC 5280 5.1.2.1
                if !is_version_2 {
                    return Err(CrlParseError::Structure { field: "version" });
                }
                extension_list::each(&extensions, |oid, critical, value| {
                    match oid {
                        crl_extension::REASON_CODE => status = reason(value)?,
                        crl_extension::CERTIFICATE_ISSUER => {
                            issuer = Some(self.certificate_issuer(value)?);
                        }
                        crl_extension::INVALIDITY_DATE => {}
                        _ if critical => {
                            defect.get_or_insert_with(|| {
                                CrlDefect::UnprocessedCriticalEntryExtension {
                                    oid: der::dotted(oid),
                                }
                            });
                        }
                        _ => {}
                    }
                    Ok(())
                })?;
            }
            self.entries.push(Entry {
                serial: serial.content_span,
                issuer,
                status,
            });
        }
        Ok(())
    }

    /// RFC 5280 5.3.3: the directory name among the names, as an index.
    fn certificate_issuer(&mut self, value: &Element<'_>) -> Result<u32, NotDer> {
        let mut reader = value.reader();
        let names = NameKey::read_list(&reader.require(tag::SEQUENCE)?)?;
        reader.end()?;
        let name = names.iter().find_map(NameKey::as_directory).ok_or(NotDer)?;
        if self.certificate_issuers.last().map(AsRef::as_ref) != Some(name) {
            self.certificate_issuers.push(name.into());
        }
        let last = self.certificate_issuers.len().saturating_sub(1);
        u32::try_from(last).map_err(|_| NotDer)
    }
}

/// RFC 5280 5.3.1: CRLReason ::= ENUMERATED, 7 not used.
fn reason(value: &Element<'_>) -> Result<EntryStatus, NotDer> {
    let mut reader = value.reader();
    let content = reader.require(tag::ENUMERATED)?.content;
    reader.end()?;
    Ok(EntryStatus::Revoked(match content {
        [0] => RevocationReason::Unspecified,
        [1] => RevocationReason::KeyCompromise,
        [2] => RevocationReason::CaCompromise,
        [3] => RevocationReason::AffiliationChanged,
        [4] => RevocationReason::Superseded,
        [5] => RevocationReason::CessationOfOperation,
        [6] => RevocationReason::CertificateHold,
        [8] => return Ok(EntryStatus::Removed),
        [9] => RevocationReason::PrivilegeWithdrawn,
        [10] => RevocationReason::AaCompromise,
        _ => return Err(NotDer),
    }))
}

impl CrlExtensions {
    fn read(explicit: &Element<'_>, defect: &mut Option<CrlDefect>) -> Result<Self, CrlParseError> {
        let structure = |_: NotDer| CrlParseError::Structure {
            field: "crlExtensions",
        };
        let mut outer = explicit.reader();
        let list = outer.require(tag::SEQUENCE).map_err(structure)?;
        outer.end().map_err(structure)?;
        let mut extensions = Self::default();
        extension_list::each(&list, |oid, critical, value| {
            match oid {
                crl_extension::CRL_NUMBER => {
                    extensions.number = Some(CrlNumber::read(value)?);
                    if critical {
                        defect.get_or_insert(CrlDefect::NumberCritical);
                    }
                }
                crl_extension::DELTA_CRL_INDICATOR => {
                    extensions.base_number = Some(CrlNumber::read(value)?);
                }
                crl_extension::ISSUING_DISTRIBUTION_POINT => {
                    extensions.issuing_distribution_point =
                        Some(IssuingDistributionPoint::read(value)?);
                }
                crl_extension::AUTHORITY_KEY_IDENTIFIER => {
                    let mut reader = value.reader();
                    let mut fields = reader.require(tag::SEQUENCE)?.reader();
                    reader.end()?;
                    extensions.authority_key_id = fields
                        .optional(tag::context(0))?
                        .map(|element| element.content_span);
                    fields.optional(tag::context_constructed(1))?;
                    fields.optional(tag::context(2))?;
                    fields.end()?;
                }
                // freshestCRL and issuerAltName too: nothing is fetched, and neither is critical.
                _ if critical => {
                    defect.get_or_insert_with(|| CrlDefect::UnprocessedCriticalExtension {
                        oid: der::dotted(oid),
                    });
                }
                _ => {}
            }
            Ok(())
        })?;
        Ok(extensions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrap(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
        let content = parts.concat();
        let mut der = vec![tag];
        match u8::try_from(content.len()).unwrap() {
            short @ 0..=0x7f => der.push(short),
            long => der.extend([0x81, long]),
        }
        der.extend(content);
        der
    }

    fn extension(oid: &[u8], critical: bool, value: &[u8]) -> Vec<u8> {
        let critical: &[u8] = if critical { &[1, 1, 0xff] } else { &[] };
        let (oid, value) = (wrap(tag::OID, &[oid]), wrap(tag::OCTET_STRING, &[value]));
        wrap(tag::SEQUENCE, &[&oid, critical, &value])
    }

    const VERSION_2: &[u8] = &[2, 1, 1];
    const ALGORITHM: &[u8] = &[0x30, 3, 6, 1, 0x2a];
    const DATE: &[u8] = b"\x17\x0d220701180509Z";
    const ISSUER: &[u8] = &[0x30, 12, 0x31, 10, 0x30, 8, 6, 3, 0x55, 4, 3, 0x0c, 1, b'A'];

    fn list(fields: &[&[u8]]) -> Vec<u8> {
        let tbs = wrap(tag::SEQUENCE, fields);
        wrap(tag::SEQUENCE, &[&tbs, ALGORITHM, &[3, 2, 0, 1]])
    }

    fn extensions(list: &[Vec<u8>]) -> Vec<u8> {
        let list = wrap(tag::SEQUENCE, &[&list.concat()]);
        wrap(tag::context_constructed(0), &[&list])
    }

    fn numbered(more: &[Vec<u8>]) -> Vec<u8> {
        let mut list = vec![extension(crl_extension::CRL_NUMBER, false, &[2, 1, 5])];
        list.extend_from_slice(more);
        extensions(&list)
    }

    fn entry(serial: &[u8], more: &[Vec<u8>]) -> Vec<u8> {
        let serial = wrap(tag::INTEGER, &[serial]);
        let more = match more {
            [] => Vec::new(),
            list => wrap(tag::SEQUENCE, &[&list.concat()]),
        };
        wrap(tag::SEQUENCE, &[&serial, DATE, &more])
    }

    fn entries(entries: &[Vec<u8>]) -> Result<Crl, CrlParseError> {
        let revoked = wrap(tag::SEQUENCE, &[&entries.concat()]);
        Crl::parse(list(&[
            VERSION_2,
            ALGORITHM,
            ISSUER,
            DATE,
            DATE,
            &revoked,
            &numbered(&[]),
        ]))
    }

    fn with(more: &[Vec<u8>]) -> Result<Crl, CrlParseError> {
        Crl::parse(list(&[
            VERSION_2,
            ALGORITHM,
            ISSUER,
            DATE,
            DATE,
            &numbered(more),
        ]))
    }

    fn structure(field: &'static str) -> CrlParseError {
        CrlParseError::Structure { field }
    }

    #[test]
    fn fields_are_read() {
        let crl = with(&[]).unwrap();
        assert_eq!(crl.this_update(), UnixSeconds(1_656_698_709));
        assert_eq!(crl.next_update(), Some(UnixSeconds(1_656_698_709)));
        assert_eq!((crl.len(), crl.defect(), crl.is_delta()), (0, None, false));
        // Version 1 has neither number nor extensions, and no version.
        let first = Crl::parse(list(&[ALGORITHM, ISSUER, DATE])).unwrap();
        assert_eq!(first.next_update(), None);
        assert_eq!(first.defect(), Some(&CrlDefect::NumberMissing));
    }

    #[test]
    fn structure_is_strict() {
        let good = list(&[VERSION_2, ALGORITHM, ISSUER, DATE, DATE, &numbered(&[])]);
        for length in 0..good.len() {
            assert!(Crl::parse(good[..length].to_vec()).is_err(), "{length}");
        }
        let behind = [&good[..], &[0]].concat();
        assert_eq!(Crl::parse(behind), Err(CrlParseError::NotDer));
        let parse = |fields: &[&[u8]]| Crl::parse(list(fields));
        for (fields, field) in [
            (&[&[2, 1, 0], ALGORITHM, ISSUER, DATE][..], "version"),
            (&[&[2, 1, 2], ALGORITHM, ISSUER, DATE], "version"),
            (&[ALGORITHM, ISSUER, DATE, &numbered(&[])], "version"),
            (&[VERSION_2, ALGORITHM, &[0x30, 0], DATE], "issuer"),
            (&[VERSION_2, ALGORITHM, ISSUER, &[5, 0]], "thisUpdate"),
            (
                &[VERSION_2, ALGORITHM, ISSUER, DATE, &[5, 0]],
                "tbsCertList",
            ),
            (
                &[VERSION_2, ALGORITHM, ISSUER, DATE, &[0xa0, 2, 0x30, 0]],
                "extensions",
            ),
        ] {
            assert_eq!(parse(fields), Err(structure(field)), "{fields:02x?}");
        }
        let other: &[u8] = &[0x30, 3, 6, 1, 0x2b];
        assert_eq!(
            parse(&[VERSION_2, other, ISSUER, DATE]),
            Err(CrlParseError::SignatureAlgorithmMismatch)
        );
    }

    #[test]
    fn entries_are_found_by_serial() {
        let code = |code| extension(crl_extension::REASON_CODE, false, &[0x0a, 1, code]);
        let crl = entries(&[
            entry(&[9], &[]),
            entry(&[0xff], &[code(1)]),
            entry(&[1], &[code(6)]),
            entry(&[0, 0x80], &[]),
        ])
        .unwrap();
        let name = crl.issuer().canonical();
        let found = |serial: &[u8]| crl.entry(name, serial);
        use RevocationReason::{CertificateHold, KeyCompromise, Unspecified};
        assert_eq!(found(&[9]), Some(EntryStatus::Revoked(Unspecified)));
        assert_eq!(found(&[0xff]), Some(EntryStatus::Revoked(KeyCompromise)));
        assert_eq!(found(&[1]), Some(EntryStatus::Revoked(CertificateHold)));
        assert_eq!(found(&[0, 0x80]), Some(EntryStatus::Revoked(Unspecified)));
        assert_eq!(found(&[0x80]), None);
        assert_eq!(found(&[8]), None);
        assert_eq!(crl.entry(b"another issuer", &[9]), None);
    }

    #[test]
    fn entries_are_strict() {
        let refused = |entry: Vec<u8>| entries(&[entry]).unwrap_err();
        let malformed = |oid: &str| CrlParseError::MalformedExtension {
            oid: oid.to_owned(),
        };
        assert_eq!(
            refused(entry(&[0, 1], &[])),
            structure("revokedCertificates")
        );
        assert_eq!(refused(entry(&[], &[])), structure("revokedCertificates"));
        let code = |value: &[u8]| extension(crl_extension::REASON_CODE, false, value);
        for value in [
            &[0x0a, 1, 7][..],
            &[0x0a, 1, 11],
            &[2, 1, 1],
            &[0x0a, 2, 0, 1],
        ] {
            assert_eq!(refused(entry(&[1], &[code(value)])), malformed("2.5.29.21"));
        }
        let twice = [code(&[0x0a, 1, 1]), code(&[0x0a, 1, 1])];
        assert!(matches!(
            refused(entry(&[1], &twice)),
            CrlParseError::DuplicateExtension { .. }
        ));
        // Names without a directory name name no issuer.
        let uri = extension(
            crl_extension::CERTIFICATE_ISSUER,
            true,
            &[0x30, 3, 0x86, 1, b'x'],
        );
        assert_eq!(refused(entry(&[1], &[uri])), malformed("2.5.29.29"));
    }

    #[test]
    fn numbers_are_bounded_and_ordered() {
        let number = |content: &[u8]| {
            let der = wrap(tag::INTEGER, &[content]);
            let value = wrap(tag::OCTET_STRING, &[&der]);
            CrlNumber::read(&Reader::new(&value).any().unwrap())
        };
        assert!(number(&[2]).unwrap() < number(&[0, 0x80]).unwrap());
        assert!(number(&[0, 0xff]).unwrap() < number(&[1, 0]).unwrap());
        assert_eq!(number(&[0x80]), Err(NotDer));
        assert_eq!(number(&[0, 1]), Err(NotDer));
        assert!(number(&[1; 20]).is_ok());
        assert_eq!(number(&[1; 21]), Err(NotDer));
    }

    #[test]
    fn issuing_distribution_points_are_strict() {
        let point = |value: &[u8]| {
            with(&[extension(
                crl_extension::ISSUING_DISTRIBUTION_POINT,
                true,
                value,
            )])
        };
        for bad in [
            &[0x30, 0][..],
            // User and CA certificates only.
            &[0x30, 6, 0x81, 1, 0xff, 0x82, 1, 0xff],
            // Not in order, twice, not DER's TRUE, no name.
            &[0x30, 6, 0x84, 1, 0xff, 0x81, 1, 0xff],
            &[0x30, 6, 0x81, 1, 0xff, 0x81, 1, 0xff],
            &[0x30, 3, 0x81, 1, 0x01],
            &[0x30, 4, 0xa0, 2, 0xa0, 0],
        ] {
            assert!(point(bad).is_err(), "{bad:02x?}");
        }
        let crl = point(&[0x30, 6, 0x82, 1, 0xff, 0x84, 1, 0xff]).unwrap();
        let point = crl.issuing_distribution_point().unwrap();
        assert_eq!(point.scope, crate::x509::Scope::CaCertificates);
        assert!(point.indirect);
    }
}
