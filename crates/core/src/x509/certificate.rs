//! One certificate, parsed.

use core::hash::{Hash, Hasher};
use std::sync::{Arc, OnceLock};

use sha2::{Digest, Sha256};

use super::der::{self, NotDer, Reader, tag};
use super::extension_list;
use super::extensions::{Extensions, GeneralSubtree, NameConstraints, PolicyMapping};
use super::spki::key_kind;
use super::{GeneralName, KeyKind, Name, ParseError, Span, UnixSeconds};

/// A distribution point with as many names as there may be.
const POINT_BYTES: usize = 4 * 1024;

/// A certificate (RFC 5280 4.1) with its DER and the fields that matter here. Nothing is proven by
/// it being parsed. Copies share what was parsed.
#[derive(Clone, Debug)]
pub struct Certificate(Arc<Parsed>);

#[derive(Debug)]
struct Parsed {
    der: Box<[u8]>,
    version: u32,
    tbs: Span,
    signature_algorithm: Span,
    signature: Span,
    serial: Span,
    issuer: Name,
    subject: Name,
    not_before: UnixSeconds,
    not_after: UnixSeconds,
    spki: Span,
    key_algorithm: Span,
    key_bits: Span,
    key: KeyKind,
    extensions: Extensions,
    sha256: OnceLock<[u8; 32]>,
}

impl Certificate {
    /// Parses exactly one certificate.
    ///
    /// # Errors
    /// The bytes are not strict DER, not a certificate, or a processed extension is malformed.
    pub fn parse(der: Vec<u8>) -> Result<Self, ParseError> {
        let structure = |field| move |_: NotDer| ParseError::Structure { field };
        der::check_nesting(&der).map_err(|_| ParseError::NotDer)?;
        let outer = Outer::read(&der).map_err(structure("certificate"))?;
        outer.check(&der).map_err(structure("certificate"))?;
        let [not_before, not_after] = outer.dates.each_ref().map(UnixSeconds::read);
        let not_before = not_before.map_err(structure("certificate"))?;
        let not_after = not_after.map_err(structure("certificate"))?;
        // RFC 5280 4.1.1.2
        if outer.signature_algorithm.of(&der) != outer.tbs_signature_algorithm.of(&der) {
            return Err(ParseError::SignatureAlgorithmMismatch);
        }
        if outer.version > 2 {
            return Err(ParseError::Structure { field: "version" });
        }
        let extensions = match &outer.extensions {
            // RFC 5280 4.1.2.9: extensions only in version 3
            Some(_) if outer.version != 2 => {
                return Err(ParseError::Structure { field: "version" });
            }
            Some(explicit) => Extensions::read(explicit)?,
            None => Extensions::default(),
        };
        let key = key_kind(outer.key_algorithm.of(&der), outer.key_bits.of(&der))
            .map_err(structure("subjectPublicKeyInfo"))?;
        let issuer = Name::read(&outer.issuer).map_err(structure("issuer"))?;
        let subject = Name::read(&outer.subject).map_err(structure("subject"))?;
        Ok(Self(Arc::new(Parsed {
            version: outer.version,
            tbs: outer.tbs,
            signature_algorithm: outer.signature_algorithm,
            signature: outer.signature,
            serial: outer.serial,
            issuer,
            subject,
            not_before,
            not_after,
            spki: outer.spki,
            key_algorithm: outer.key_algorithm,
            key_bits: outer.key_bits,
            key,
            extensions,
            sha256: OnceLock::new(),
            der: der.into_boxed_slice(),
        })))
    }

    /// The whole certificate.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.0.der
    }

    /// The version as it is encoded: 2 is version 3.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.0.version
    }

    /// The signed part, tag and length included.
    #[must_use]
    pub fn tbs(&self) -> &[u8] {
        self.0.tbs.of(&self.0.der)
    }

    /// The signature's AlgorithmIdentifier, without its outer tag and length.
    #[must_use]
    pub fn signature_algorithm(&self) -> &[u8] {
        self.0.signature_algorithm.of(&self.0.der)
    }

    /// The signature's octets.
    #[must_use]
    pub fn signature(&self) -> &[u8] {
        self.0.signature.of(&self.0.der)
    }

    /// The content octets of the serial number's INTEGER, a leading sign octet included.
    #[must_use]
    pub fn serial(&self) -> &[u8] {
        self.0.serial.of(&self.0.der)
    }

    /// The issuer's name.
    #[must_use]
    pub fn issuer(&self) -> &Name {
        &self.0.issuer
    }

    /// The subject's name.
    #[must_use]
    pub fn subject(&self) -> &Name {
        &self.0.subject
    }

    /// The DER of a name of this certificate, tag and length included.
    #[must_use]
    pub fn name_der(&self, name: &Name) -> &[u8] {
        name.span().of(&self.0.der)
    }

    /// First second of the validity.
    #[must_use]
    pub fn not_before(&self) -> UnixSeconds {
        self.0.not_before
    }

    /// Last second of the validity.
    #[must_use]
    pub fn not_after(&self) -> UnixSeconds {
        self.0.not_after
    }

    /// The SubjectPublicKeyInfo, tag and length included.
    #[must_use]
    pub fn spki(&self) -> &[u8] {
        self.0.spki.of(&self.0.der)
    }

    /// The public key's AlgorithmIdentifier, without its outer tag and length.
    #[must_use]
    pub fn key_algorithm(&self) -> &[u8] {
        self.0.key_algorithm.of(&self.0.der)
    }

    /// The octets of the public key's BIT STRING.
    #[must_use]
    pub fn key_bits(&self) -> &[u8] {
        self.0.key_bits.of(&self.0.der)
    }

    /// The public key's kind and size.
    #[must_use]
    pub fn key(&self) -> KeyKind {
        self.0.key
    }

    /// What the extensions say.
    #[must_use]
    pub fn extensions(&self) -> &Extensions {
        &self.0.extensions
    }

    /// The bytes of a span that one of this certificate's fields holds.
    #[must_use]
    pub fn bytes(&self, span: Span) -> &[u8] {
        span.of(&self.0.der)
    }

    /// The URI subject alternative names, in order.
    pub fn uri_sans(&self) -> impl Iterator<Item = &[u8]> {
        self.sans(|name| match name {
            GeneralName::Uri(span) => Some(*span),
            _ => None,
        })
    }

    /// The DNS subject alternative names, in order.
    pub fn dns_sans(&self) -> impl Iterator<Item = &[u8]> {
        self.sans(|name| match name {
            GeneralName::Dns(span) => Some(*span),
            _ => None,
        })
    }

    fn sans<'a>(
        &'a self,
        pick: impl Fn(&'a GeneralName) -> Option<Span> + 'a,
    ) -> impl Iterator<Item = &'a [u8]> {
        self.0
            .extensions
            .subject_alt_names
            .iter()
            .filter_map(pick)
            .map(|span| self.bytes(span))
    }

    /// RFC 5280 3.2: subject and issuer are the same name.
    #[must_use]
    pub fn is_self_issued(&self) -> bool {
        self.0.subject.matches(&self.0.issuer)
    }

    /// About what it holds in memory: the DER, two names in canonical form, their e-mail addresses, and
    /// lists whose entries may be larger than their DER.
    pub(crate) fn bytes_held(&self) -> usize {
        let extensions = &self.0.extensions;
        let policies = extensions.certificate_policies.as_ref();
        let points = extensions.crl_distribution_points.as_ref();
        let points = points.and_then(|points| points.points.as_ref());
        let constraints = extensions.name_constraints.as_ref();
        let lists = [
            (4, self.0.der.len()),
            (
                size_of::<GeneralName>(),
                extensions.subject_alt_names.capacity(),
            ),
            (size_of::<Span>(), policies.map_or(0, Vec::capacity)),
            (
                size_of::<PolicyMapping>(),
                extensions.policy_mappings.capacity(),
            ),
            (
                size_of::<GeneralSubtree>(),
                constraints.map_or(0, NameConstraints::len),
            ),
            (POINT_BYTES, points.map_or(0, Vec::len)),
        ];
        lists
            .into_iter()
            .fold(size_of::<Parsed>(), |sum, (each, count)| {
                sum.saturating_add(count.saturating_mul(each))
            })
    }

    /// The same; its SHA-256 is known already.
    pub(crate) fn with_sha256(self, sha256: [u8; 32]) -> Self {
        self.0.sha256.get_or_init(|| sha256);
        self
    }

    /// SHA-256 of the DER, worked out once.
    #[must_use]
    pub fn sha256(&self) -> [u8; 32] {
        *self
            .0
            .sha256
            .get_or_init(|| Sha256::digest(&self.0.der).into())
    }
}

/// A certificate's public key, for a proof of possession. A client must be able to prove that it
/// holds the key of a certificate that is refused later, so only the certificate's outer structure
/// is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubjectPublicKey<'a> {
    /// The content octets of the AlgorithmIdentifier (RFC 5280 4.1.1.2).
    pub algorithm: &'a [u8],
    /// The octets of `subjectPublicKey`.
    pub key_bits: &'a [u8],
}

impl<'a> SubjectPublicKey<'a> {
    /// Reads it from a certificate's DER.
    ///
    /// # Errors
    /// There is no certificate's structure.
    pub fn of_certificate(der: &'a [u8]) -> Result<Self, ParseError> {
        let outer = Outer::read(der).map_err(|_| ParseError::Structure {
            field: "certificate",
        })?;
        Ok(Self {
            algorithm: outer.key_algorithm.of(der),
            key_bits: outer.key_bits.of(der),
        })
    }
}

/// The same bytes.
impl PartialEq for Certificate {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0.der == other.0.der
    }
}

impl Eq for Certificate {}

impl Hash for Certificate {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.der.hash(state);
    }
}

/// Where the parts of RFC 5280 4.1 lie.
struct Outer<'a> {
    tbs: Span,
    signature_algorithm: Span,
    signature: Span,
    serial: Span,
    tbs_signature_algorithm: Span,
    version: u32,
    version_octets: &'a [u8],
    issuer: der::Element<'a>,
    dates: [der::Element<'a>; 2],
    subject: der::Element<'a>,
    spki: Span,
    key_algorithm: Span,
    key_bits: Span,
    unique_ids: [Option<der::Element<'a>>; 2],
    extensions: Option<der::Element<'a>>,
}

impl<'a> Outer<'a> {
    fn read(der: &'a [u8]) -> Result<Self, NotDer> {
        let mut certificate = Reader::new(der).require(tag::SEQUENCE)?.reader();
        let tbs = certificate.require(tag::SEQUENCE)?;
        let signature_algorithm = certificate.require(tag::SEQUENCE)?;
        let signature = octets(&certificate.require(tag::BIT_STRING)?)?;
        certificate.end()?;

        let mut fields = tbs.reader();
        let version_octets = match fields.optional(tag::context_constructed(0))? {
            Some(explicit) => {
                let mut version = explicit.reader();
                let number = version.require(tag::INTEGER)?.content;
                version.end()?;
                number
            }
            None => &[0],
        };
        let version = der::unsigned(version_octets)?;
        let serial = fields.require(tag::INTEGER)?;
        if !der::is_shortest_integer(serial.content) {
            return Err(NotDer);
        }
        let tbs_signature_algorithm = fields.require(tag::SEQUENCE)?;
        let issuer = fields.require(tag::SEQUENCE)?;
        let mut validity = fields.require(tag::SEQUENCE)?.reader();
        let dates = [validity.any()?, validity.any()?];
        dates.iter().try_for_each(time_form)?;
        validity.end()?;
        let subject = fields.require(tag::SEQUENCE)?;
        let spki = fields.require(tag::SEQUENCE)?;
        let unique_ids = [
            fields.optional(tag::context(1))?,
            fields.optional(tag::context(2))?,
        ];
        let extensions = fields.optional(tag::context_constructed(3))?;
        fields.end()?;

        let mut key = spki.reader();
        let key_algorithm = key.require(tag::SEQUENCE)?;
        let key_bits = octets(&key.require(tag::BIT_STRING)?)?;
        key.end()?;

        Ok(Self {
            tbs: tbs.span,
            signature_algorithm: signature_algorithm.content_span,
            signature,
            serial: serial.content_span,
            tbs_signature_algorithm: tbs_signature_algorithm.content_span,
            version,
            version_octets,
            issuer,
            dates,
            subject,
            spki: spki.span,
            key_algorithm: key_algorithm.content_span,
            key_bits,
            unique_ids,
            extensions,
        })
    }

    /// What has no use but belongs to the structure, so that nothing unreadable is passed over.
    fn check(&self, der: &[u8]) -> Result<(), NotDer> {
        // 4.1.1.2: an AlgorithmIdentifier begins with its identifier.
        for algorithm in [
            self.signature_algorithm,
            self.tbs_signature_algorithm,
            self.key_algorithm,
        ] {
            if Reader::new(algorithm.of(der)).any()?.is_constructed() {
                return Err(NotDer);
            }
        }
        // 4.1.2.8: BIT STRINGs, which begin with the number of unused bits.
        let mut unique_ids = self.unique_ids.iter().flatten();
        if unique_ids.any(|unique_id| unique_id.content.is_empty()) {
            return Err(NotDer);
        }
        // 4.1.2.1: other versions are told by their number, as far as it is one of 32 bits.
        if der::significant(self.version_octets).len() > size_of::<u32>() {
            return Err(NotDer);
        }
        match &self.extensions {
            Some(explicit) => extension_list::check(explicit),
            None => Ok(()),
        }
    }
}

/// RFC 5280 4.1.2.5: `YYMMDDHHMMSSZ` or `YYYYMMDDHHMMSSZ`, nothing else.
pub(super) fn time_form(element: &der::Element<'_>) -> Result<(), NotDer> {
    let digits = match element.tag {
        tag::UTC_TIME => 12,
        tag::GENERALIZED_TIME => 14,
        _ => return Err(NotDer),
    };
    match element.content.split_last() {
        Some((b'Z', rest)) if rest.len() == digits && rest.iter().all(u8::is_ascii_digit) => Ok(()),
        _ => Err(NotDer),
    }
}

/// A BIT STRING of whole octets: where they lie.
pub(super) fn octets(element: &der::Element<'_>) -> Result<Span, NotDer> {
    match der::bit_string(element.content)? {
        (_, 0) => Ok(Span::new(
            element.content_span.start.saturating_add(1),
            element.content_span.end,
        )),
        _ => Err(NotDer),
    }
}

#[cfg(test)]
mod tests;
