//! The extensions of RFC 5280 4.2.1 that are processed, decoded strictly.

use super::der::{self, Element, NotDer, Reader, tag};
use super::distribution::DistributionPoints;
use super::extension_list::{self, ListFault};
use super::oid::{extension, other_name, purpose};
use super::{Name, ParseError, Span};

/// RFC 5280 4.2.1.9
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BasicConstraints {
    /// The subject is a CA.
    pub ca: bool,
    /// How many non-self-issued intermediates may follow on the path.
    pub path_len: Option<u32>,
}

/// RFC 5280 4.2.1.3, as the first two octets of the bit string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyUsage(u16);

impl KeyUsage {
    /// `digitalSignature` (0)
    #[must_use]
    pub fn digital_signature(self) -> bool {
        self.0 & 0x8000 != 0
    }

    /// `keyCertSign` (5)
    #[must_use]
    pub fn key_cert_sign(self) -> bool {
        self.0 & 0x0400 != 0
    }

    /// `cRLSign` (6)
    #[must_use]
    pub fn crl_sign(self) -> bool {
        self.0 & 0x0200 != 0
    }

    /// The names of all bits that are set, in their order.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        const NAMES: [&str; 9] = [
            "digitalSignature",
            "nonRepudiation",
            "keyEncipherment",
            "dataEncipherment",
            "keyAgreement",
            "keyCertSign",
            "cRLSign",
            "encipherOnly",
            "decipherOnly",
        ];
        let bits = (0..u16::BITS).map(move |bit| self.0 & (0x8000 >> bit) != 0);
        NAMES
            .into_iter()
            .zip(bits)
            .filter_map(|(name, set)| set.then_some(name))
    }
}

/// RFC 5280 4.2.1.12
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyPurpose {
    /// `anyExtendedKeyUsage`
    Any,
    /// `id-kp-serverAuth`
    ServerAuth,
    /// `id-kp-clientAuth`
    ClientAuth,
    /// `id-kp-codeSigning`
    CodeSigning,
    /// `id-kp-emailProtection`
    EmailProtection,
    /// `id-kp-timeStamping`
    TimeStamping,
    /// `id-kp-OCSPSigning`
    OcspSigning,
    /// Any other purpose.
    Other,
}

/// RFC 5280 4.2.1.6. Text is as the certificate has it: attacker's bytes, IA5 at most.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GeneralName {
    /// `rfc822Name`
    Rfc822(Span),
    /// `dNSName`
    Dns(Span),
    /// `directoryName`
    Directory(Name),
    /// `uniformResourceIdentifier`
    Uri(Span),
    /// `iPAddress`: 4 or 16 octets, in a name constraint 8 or 32
    Ip(Span),
    /// `otherName` SmtpUTF8Mailbox (RFC 9598): an e-mail address beyond ASCII
    SmtpUtf8Mailbox,
    /// any other `otherName`, `x400Address`, `ediPartyName`, `registeredID`: the context tag's number.
    Other(u8),
}

/// One subtree of RFC 5280 4.2.1.10.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GeneralSubtree {
    /// The subtree's root.
    pub base: GeneralName,
    /// `minimum` is 0 and `maximum` absent, as RFC 5280 demands.
    pub whole_subtree: bool,
}

/// RFC 5280 4.2.1.10
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NameConstraints {
    /// Names must lie in one of these, form by form.
    pub permitted: Vec<GeneralSubtree>,
    /// Names must lie in none of these.
    pub excluded: Vec<GeneralSubtree>,
}

impl NameConstraints {
    /// How many subtrees there are in all.
    #[must_use]
    pub fn len(&self) -> usize {
        self.permitted.len().saturating_add(self.excluded.len())
    }

    /// No subtree at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.permitted.is_empty() && self.excluded.is_empty()
    }
}

/// RFC 5280 4.2.1.5: what the issuer calls one policy, the subject calls another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PolicyMapping {
    /// Object identifier, content octets.
    pub issuer_domain: Span,
    /// Object identifier, content octets.
    pub subject_domain: Span,
}

/// RFC 5280 4.2.1.11
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PolicyConstraints {
    /// `requireExplicitPolicy`
    pub require_explicit: Option<u32>,
    /// `inhibitPolicyMapping`
    pub inhibit_mapping: Option<u32>,
}

/// An extension that is processed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExtensionKind {
    /// RFC 5280 4.2.1.1
    AuthorityKeyIdentifier,
    /// RFC 5280 4.2.1.2
    SubjectKeyIdentifier,
    /// RFC 5280 4.2.1.3
    KeyUsage,
    /// RFC 5280 4.2.1.4
    CertificatePolicies,
    /// RFC 5280 4.2.1.5
    PolicyMappings,
    /// RFC 5280 4.2.1.6
    SubjectAltName,
    /// RFC 5280 4.2.1.9
    BasicConstraints,
    /// RFC 5280 4.2.1.10
    NameConstraints,
    /// RFC 5280 4.2.1.11
    PolicyConstraints,
    /// RFC 5280 4.2.1.12
    ExtendedKeyUsage,
    /// RFC 5280 4.2.1.13
    CrlDistributionPoints,
    /// RFC 5280 4.2.1.14
    InhibitAnyPolicy,
}

impl ExtensionKind {
    fn of(oid: &[u8]) -> Option<Self> {
        Some(match oid {
            extension::AUTHORITY_KEY_IDENTIFIER => Self::AuthorityKeyIdentifier,
            extension::SUBJECT_KEY_IDENTIFIER => Self::SubjectKeyIdentifier,
            extension::KEY_USAGE => Self::KeyUsage,
            extension::CERTIFICATE_POLICIES => Self::CertificatePolicies,
            extension::POLICY_MAPPINGS => Self::PolicyMappings,
            extension::SUBJECT_ALT_NAME => Self::SubjectAltName,
            extension::BASIC_CONSTRAINTS => Self::BasicConstraints,
            extension::NAME_CONSTRAINTS => Self::NameConstraints,
            extension::POLICY_CONSTRAINTS => Self::PolicyConstraints,
            extension::EXTENDED_KEY_USAGE => Self::ExtendedKeyUsage,
            extension::CRL_DISTRIBUTION_POINTS => Self::CrlDistributionPoints,
            extension::INHIBIT_ANY_POLICY => Self::InhibitAnyPolicy,
            _ => return None,
        })
    }
}

/// What a certificate's extensions say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extensions {
    /// RFC 5280 4.2.1.9
    pub basic_constraints: Option<BasicConstraints>,
    /// RFC 5280 4.2.1.3
    pub key_usage: Option<KeyUsage>,
    /// RFC 5280 4.2.1.12; absent is not the same as empty.
    pub extended_key_usage: Option<Vec<KeyPurpose>>,
    /// RFC 5280 4.2.1.6
    pub subject_alt_names: Vec<GeneralName>,
    /// RFC 5280 4.2.1.10
    pub name_constraints: Option<NameConstraints>,
    /// RFC 5280 4.2.1.2, the key identifier.
    pub subject_key_id: Option<Span>,
    /// RFC 5280 4.2.1.1, the key identifier.
    pub authority_key_id: Option<Span>,
    /// RFC 5280 4.2.1.4: the policies' object identifiers, content octets; absent is not empty.
    pub certificate_policies: Option<Vec<Span>>,
    /// RFC 5280 4.2.1.5
    pub policy_mappings: Vec<PolicyMapping>,
    /// RFC 5280 4.2.1.11
    pub policy_constraints: Option<PolicyConstraints>,
    /// RFC 5280 4.2.1.14: for how many certificates below anyPolicy still counts.
    pub inhibit_any_policy: Option<u32>,
    /// The processed extensions that are present, and whether each is critical.
    pub present: Vec<(ExtensionKind, bool)>,
    /// RFC 5280 4.2.1.13
    pub crl_distribution_points: Option<DistributionPoints>,
    /// RFC 5280 4.2: the first critical extension that is not processed, dotted.
    pub unprocessed_critical: Option<String>,
}

impl Extensions {
    /// Reads `Extensions ::= SEQUENCE SIZE (1..MAX) OF Extension` from the content of `[3]`.
    pub(super) fn read(explicit: &Element<'_>) -> Result<Self, ParseError> {
        let mut outer = explicit.reader();
        let list = outer.require(tag::SEQUENCE).map_err(ListFault::from)?;
        outer.end().map_err(ListFault::from)?;
        let mut extensions = Self {
            present: Vec::with_capacity(extension_list::USUAL_EXTENSIONS),
            ..Self::default()
        };
        extension_list::each(&list, |oid, critical, value| {
            match ExtensionKind::of(oid) {
                Some(kind) => {
                    extensions.read_one(kind, critical, value)?;
                    extensions.present.push((kind, critical));
                }
                None if critical && extensions.unprocessed_critical.is_none() => {
                    extensions.unprocessed_critical = Some(der::dotted(oid));
                }
                None => {}
            }
            Ok(())
        })?;
        Ok(extensions)
    }

    /// Whether an extension is present, and critical.
    #[must_use]
    pub fn criticality(&self, kind: ExtensionKind) -> Option<bool> {
        let found = self.present.iter().find(|(present, _)| *present == kind);
        found.map(|(_, critical)| *critical)
    }

    fn read_one(
        &mut self,
        kind: ExtensionKind,
        critical: bool,
        value: &Element<'_>,
    ) -> Result<(), NotDer> {
        let mut reader = value.reader();
        match kind {
            ExtensionKind::BasicConstraints => {
                self.basic_constraints = Some(basic_constraints(&mut reader)?);
            }
            ExtensionKind::KeyUsage => {
                let (bits, _) = der::bit_string(reader.require(tag::BIT_STRING)?.content)?;
                // RFC 5280 4.2.1.3: at least one bit is set.
                if bits.iter().all(|&octet| octet == 0) {
                    return Err(NotDer);
                }
                let octet = |index: usize| bits.get(index).copied().unwrap_or(0);
                self.key_usage = Some(KeyUsage(u16::from_be_bytes([octet(0), octet(1)])));
            }
            ExtensionKind::ExtendedKeyUsage => {
                let mut list = reader.require(tag::SEQUENCE)?.reader();
                if list.is_empty() {
                    return Err(NotDer);
                }
                let mut purposes = Vec::new();
                while !list.is_empty() {
                    let purpose = key_purpose(list.require(tag::OID)?.content);
                    // Attacker's lists may be long; each purpose counts once.
                    if !purposes.contains(&purpose) {
                        purposes.push(purpose);
                    }
                }
                self.extended_key_usage = Some(purposes);
            }
            ExtensionKind::SubjectAltName => {
                let mut list = reader.require(tag::SEQUENCE)?.reader();
                if list.is_empty() {
                    return Err(NotDer);
                }
                while !list.is_empty() {
                    let name = general_name(&list.any()?, Use::Name)?;
                    self.subject_alt_names.push(name);
                }
            }
            ExtensionKind::NameConstraints => {
                self.name_constraints = Some(name_constraints(&mut reader)?);
            }
            ExtensionKind::SubjectKeyIdentifier => {
                self.subject_key_id = Some(reader.require(tag::OCTET_STRING)?.content_span);
            }
            ExtensionKind::AuthorityKeyIdentifier => {
                let mut fields = reader.require(tag::SEQUENCE)?.reader();
                self.authority_key_id = fields
                    .optional(tag::context(0))?
                    .map(|element| element.content_span);
                fields.optional(tag::context_constructed(1))?;
                fields.optional(tag::context(2))?;
                fields.end()?;
            }
            // Counts only where CRLs are checked, and so do its faults.
            ExtensionKind::CrlDistributionPoints => {
                self.crl_distribution_points = Some(DistributionPoints::read(value, critical));
                return Ok(());
            }
            ExtensionKind::CertificatePolicies => {
                let mut list = reader.require(tag::SEQUENCE)?.reader();
                if list.is_empty() {
                    return Err(NotDer);
                }
                let mut policies = Vec::new();
                while !list.is_empty() {
                    let mut policy = list.require(tag::SEQUENCE)?.reader();
                    policies.push(policy.require(tag::OID)?);
                    // Qualifiers say nothing that validation asks for.
                    policy.optional(tag::SEQUENCE)?;
                    policy.end()?;
                }
                // 4.2.1.4: each policy once.
                let mut sorted: Vec<&[u8]> = policies.iter().map(|oid| oid.content).collect();
                sorted.sort_unstable();
                sorted.dedup();
                if sorted.len() != policies.len() {
                    return Err(NotDer);
                }
                let spans = policies.iter().map(|oid| oid.content_span).collect();
                self.certificate_policies = Some(spans);
            }
            ExtensionKind::PolicyMappings => {
                let mut list = reader.require(tag::SEQUENCE)?.reader();
                if list.is_empty() {
                    return Err(NotDer);
                }
                while !list.is_empty() {
                    let mut mapping = list.require(tag::SEQUENCE)?.reader();
                    let issuer_domain = mapping.require(tag::OID)?.content_span;
                    let subject_domain = mapping.require(tag::OID)?.content_span;
                    mapping.end()?;
                    self.policy_mappings.push(PolicyMapping {
                        issuer_domain,
                        subject_domain,
                    });
                }
            }
            ExtensionKind::PolicyConstraints => {
                let mut fields = reader.require(tag::SEQUENCE)?.reader();
                let mut skip_certs = |number| match fields.optional(tag::context(number))? {
                    Some(value) => der::unsigned(value.content).map(Some),
                    None => Ok(None),
                };
                let require_explicit = skip_certs(0)?;
                let inhibit_mapping = skip_certs(1)?;
                fields.end()?;
                // 4.2.1.11: not an empty sequence.
                if require_explicit.is_none() && inhibit_mapping.is_none() {
                    return Err(NotDer);
                }
                self.policy_constraints = Some(PolicyConstraints {
                    require_explicit,
                    inhibit_mapping,
                });
            }
            ExtensionKind::InhibitAnyPolicy => {
                let skip_certs = reader.require(tag::INTEGER)?.content;
                self.inhibit_any_policy = Some(der::unsigned(skip_certs)?);
            }
        }
        reader.end()
    }
}

/// BasicConstraints ::= SEQUENCE { cA BOOLEAN DEFAULT FALSE, pathLenConstraint INTEGER (0..MAX) OPTIONAL }
fn basic_constraints(reader: &mut Reader<'_>) -> Result<BasicConstraints, NotDer> {
    let mut fields = reader.require(tag::SEQUENCE)?.reader();
    // An explicit FALSE breaks X.690 11.5 but is common in end-entity certificates and says the same.
    let ca = match fields.optional(tag::BOOLEAN)? {
        Some(value) => der::boolean(value.content)?,
        None => false,
    };
    let path_len = match fields.optional(tag::INTEGER)? {
        Some(value) => Some(der::unsigned(value.content)?),
        None => None,
    };
    fields.end()?;
    Ok(BasicConstraints { ca, path_len })
}

fn key_purpose(oid: &[u8]) -> KeyPurpose {
    match oid {
        purpose::ANY => KeyPurpose::Any,
        purpose::SERVER_AUTH => KeyPurpose::ServerAuth,
        purpose::CLIENT_AUTH => KeyPurpose::ClientAuth,
        purpose::CODE_SIGNING => KeyPurpose::CodeSigning,
        purpose::EMAIL_PROTECTION => KeyPurpose::EmailProtection,
        purpose::TIME_STAMPING => KeyPurpose::TimeStamping,
        purpose::OCSP_SIGNING => KeyPurpose::OcspSigning,
        _ => KeyPurpose::Other,
    }
}

/// Where a general name stands: an address is 4 or 16 octets, in a constraint it has a mask too.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    Name,
    Constraint,
}

fn general_name(element: &Element<'_>, use_: Use) -> Result<GeneralName, NotDer> {
    let ia5 = |element: &Element<'_>| {
        if element.content.is_ascii() {
            Ok(element.content_span)
        } else {
            Err(NotDer)
        }
    };
    match element.tag {
        0x81 => Ok(GeneralName::Rfc822(ia5(element)?)),
        0x82 => Ok(GeneralName::Dns(ia5(element)?)),
        // directoryName is EXPLICIT, since Name is a CHOICE.
        0xa4 => {
            let mut inner = element.reader();
            let name = Name::read(&inner.require(tag::SEQUENCE)?)?;
            inner.end()?;
            Ok(GeneralName::Directory(name))
        }
        0x86 => Ok(GeneralName::Uri(ia5(element)?)),
        0x87 => match (use_, element.content.len()) {
            (Use::Name, 4 | 16) | (Use::Constraint, 8 | 32) => {
                Ok(GeneralName::Ip(element.content_span))
            }
            _ => Err(NotDer),
        },
        0xa0 => match element.reader().require(tag::OID)?.content {
            other_name::SMTP_UTF8_MAILBOX => Ok(GeneralName::SmtpUtf8Mailbox),
            _ => Ok(GeneralName::Other(0)),
        },
        0xa3 | 0xa5 | 0x88 => Ok(GeneralName::Other(element.tag & 0x1f)),
        _ => Err(NotDer),
    }
}

fn name_constraints(reader: &mut Reader<'_>) -> Result<NameConstraints, NotDer> {
    let mut fields = reader.require(tag::SEQUENCE)?.reader();
    let mut subtrees = |number| -> Result<Vec<GeneralSubtree>, NotDer> {
        let Some(list) = fields.optional(tag::context_constructed(number))? else {
            return Ok(Vec::new());
        };
        let mut list = list.reader();
        if list.is_empty() {
            return Err(NotDer);
        }
        let mut subtrees = Vec::new();
        while !list.is_empty() {
            let mut fields = list.require(tag::SEQUENCE)?.reader();
            let base = general_name(&fields.any()?, Use::Constraint)?;
            // minimum [0] DEFAULT 0, maximum [1] OPTIONAL
            let minimum = match fields.optional(tag::context(0))? {
                Some(value) => der::unsigned(value.content)?,
                None => 0,
            };
            let maximum = fields.optional(tag::context(1))?;
            fields.end()?;
            subtrees.push(GeneralSubtree {
                base,
                whole_subtree: minimum == 0 && maximum.is_none(),
            });
        }
        Ok(subtrees)
    };
    let permitted = subtrees(0)?;
    let excluded = subtrees(1)?;
    fields.end()?;
    // RFC 5280 4.2.1.10: not an empty sequence.
    if permitted.is_empty() && excluded.is_empty() {
        return Err(NotDer);
    }
    Ok(NameConstraints {
        permitted,
        excluded,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrap(tag: u8, content: &[u8]) -> Vec<u8> {
        let mut der = vec![tag, u8::try_from(content.len()).unwrap()];
        der.extend(content);
        der
    }

    /// One extension of this type with `critical` spelt out.
    fn read(oid: &[u8], critical: u8, value: &[u8]) -> Result<Extensions, ParseError> {
        let fields = [
            wrap(tag::OID, oid),
            wrap(tag::BOOLEAN, &[critical]),
            wrap(tag::OCTET_STRING, value),
        ];
        let list = wrap(tag::SEQUENCE, &wrap(tag::SEQUENCE, &fields.concat()));
        let explicit = wrap(tag::context_constructed(3), &list);
        Extensions::read(&Reader::new(&explicit).any().unwrap())
    }

    #[test]
    fn criticality_is_what_it_says() {
        let unknown = &[0x2a, 0x03];
        assert_eq!(read(unknown, 0x00, &[]).unwrap().unprocessed_critical, None);
        let critical = read(unknown, 0xff, &[]).unwrap().unprocessed_critical;
        assert_eq!(critical.as_deref(), Some("1.2.3"));
        assert!(read(unknown, 0x01, &[]).is_err());
    }

    #[test]
    fn known_extensions_are_read_to_the_last_byte() {
        let constraints = |value: &[u8]| {
            read(extension::BASIC_CONSTRAINTS, 0xff, value).map(|e| e.basic_constraints)
        };
        let ca = |ca, path_len| Ok(Some(BasicConstraints { ca, path_len }));
        assert_eq!(constraints(&[0x30, 0]), ca(false, None));
        assert_eq!(constraints(&[0x30, 3, 1, 1, 0]), ca(false, None));
        assert_eq!(
            constraints(&[0x30, 6, 1, 1, 0xff, 2, 1, 2]),
            ca(true, Some(2))
        );
        for broken in [
            &[0x30, 3, 1, 1, 1][..],
            &[0x30, 3, 1, 1, 0xff, 0],
            &[0x30, 5, 1, 1, 0xff, 5, 0],
            &[0x30, 6, 1, 1, 0xff, 2, 1, 0xff],
            &[0x30, 6, 2, 1, 2, 1, 1, 0xff],
            &[],
        ] {
            assert!(constraints(broken).is_err(), "{broken:?}");
        }
        let usage = |value: &[u8]| read(extension::KEY_USAGE, 0xff, value).map(|e| e.key_usage);
        assert!(usage(&[3, 2, 2, 4]).unwrap().unwrap().key_cert_sign());
        assert!(!usage(&[3, 2, 7, 0x80]).unwrap().unwrap().key_cert_sign());
        for broken in [&[3, 2, 3, 4][..], &[3, 2, 0, 0], &[3, 1, 0], &[4, 2, 2, 4]] {
            assert!(usage(broken).is_err(), "{broken:?}");
        }
    }
}
