//! Why two oracles differ.
//!
//! The side that accepts names its path. Both are asked again about that path alone, so that the
//! reason on it is known, and a class is given only if the certificates bear it out.

use core::fmt;

use mtls_gate_core::error::Refusal;
use mtls_gate_core::path::PathFault;
use mtls_gate_core::x509::{Certificate, ExtensionKind, GeneralName, KeyPurpose};
use openssl::x509::X509;

use super::{Oracle, Ours, Purpose, Question, Verdict};

/// `X509_V_ERR_*` of OpenSSL's `x509_vfy.h`, as far as a class asks for them.
mod v_err {
    pub(super) const UNABLE_TO_GET_ISSUER: [i32; 3] = [2, 20, 21];
    pub(super) const SIGNATURE: i32 = 7;
    pub(super) const NOT_YET_VALID: i32 = 9;
    pub(super) const EXPIRED: i32 = 10;
    pub(super) const SELF_SIGNED: [i32; 2] = [18, 19];
    pub(super) const CHAIN_TOO_LONG: i32 = 22;
    pub(super) const PATH_LENGTH: i32 = 25;
    pub(super) const INVALID_PURPOSE: i32 = 26;
    pub(super) const KEYUSAGE_NO_CERTSIGN: i32 = 32;
    pub(super) const UNHANDLED_CRITICAL: i32 = 34;
    pub(super) const INVALID_CA: [i32; 2] = [24, 79];
    pub(super) const NO_EXPLICIT_POLICY: i32 = 43;
    /// Identifier, or issuer and serial number, of the authority key identifier.
    pub(super) const KEY_IDENTIFIER_MISMATCH: [i32; 2] = [30, 31];
    pub(super) const NAME_CONSTRAINTS: [i32; 2] = [47, 48];
}

/// Intermediates on a path of webpki at the most (`MAX_SUB_CA_COUNT`).
const WEBPKI_INTERMEDIATES: usize = 6;

/// Why another oracle answers differently. [`Class::sentence`] tells each in full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Class {
    /// We refuse bytes that the other reads.
    OursParsesStrictly,
    /// We refuse a key or signature algorithm that the other takes.
    OursKeys,
    /// We refuse for a certificate that the path does not need.
    OursJudgesAllPresented,
    /// We bound how often a CA and how many constraints may be presented.
    OursPresentedLimits,
    /// We stop a search that costs too much.
    OursBudget,
    /// We bound the length of a path.
    OursDepth,
    /// We refuse a critical extension that the other processes or overlooks.
    OursCriticalExtension,
    /// We want version 3 of every certificate but the anchor.
    OursVersion,
    /// We want an issuer to have a name.
    OursEmptyIssuer,
    /// We use a CRL only if it keeps all rules.
    OursCrlRules,
    /// We refuse a constrained name that cannot be understood.
    OursUnclearName,
    /// webpki does not look at keyUsage.
    WebpkiIgnoresKeyUsage,
    /// webpki does not process policies.
    WebpkiIgnoresPolicies,
    /// webpki refuses critical extensions about policies.
    WebpkiPolicyExtensions,
    /// webpki wants a CRL to be signed with the key that signed the certificate.
    WebpkiCrlSigner,
    /// webpki refuses an end entity that is a CA.
    WebpkiCaAsEndEntity,
    /// webpki stops at six intermediates.
    WebpkiDepth,
    /// webpki compares names byte for byte.
    WebpkiNamesByteForByte,
    /// webpki treats self-issued certificates as any other.
    WebpkiSelfIssued,
    /// webpki does not process constraints of directory names, URIs and mailboxes.
    WebpkiConstraintForms,
    /// webpki overlooks e-mail addresses in subjects.
    WebpkiIgnoresSubjectEmail,
    /// webpki does not know anyExtendedKeyUsage.
    WebpkiAnyPurpose,
    /// webpki on ring has fewer signature algorithms.
    WebpkiAlgorithms,
    /// webpki reads version 3 only.
    WebpkiVersion,
    /// webpki has no time before 1970.
    WebpkiBefore1970,
    /// webpki finds the path only if nothing else is presented.
    WebpkiSearch,
    /// webpki refuses unique identifiers.
    WebpkiUniqueIds,
    /// OpenSSL checks the anchor's certificate as any other.
    OpenSslChecksAnchor,
    /// OpenSSL is given no set of policies and refuses where one is required.
    OpenSslExplicitPolicy,
    /// OpenSSL gives up on policy trees that grow large.
    OpenSslPolicyTree,
    /// OpenSSL holds key identifiers to bind.
    OpenSslKeyIdentifiers,
    /// OpenSSL finds the path only if nothing else is presented.
    OpenSslDoesNotBacktrack,
    /// OpenSSL does not take anyExtendedKeyUsage for a purpose.
    OpenSslAnyPurpose,
    /// OpenSSL asks for bits of the end entity's keyUsage.
    OpenSslEndEntityKeyUsage,
    /// OpenSSL trusts an end entity that is among the anchors.
    OpenSslTrustsEndEntity,
    /// OpenSSL takes equal subject and issuer for self-signed.
    OpenSslSelfIssued,
    /// OpenSSL compares wildcard names as text.
    OpenSslWildcardAsText,
    /// OpenSSL holds common names to constraints of DNS names.
    OpenSslConstrainsCommonName,
    /// OpenSSL leaves the last second out of the validity.
    OpenSslLastSecond,
    /// OpenSSL counts self-issued intermediates in its limit of depth.
    OpenSslCountsSelfIssued,
    /// No class fits: a fault, ours or theirs, or a class that is not written down yet.
    Unexplained,
}

impl Class {
    /// The class in a sentence.
    #[must_use]
    pub fn sentence(self) -> &'static str {
        match self {
            Self::OursParsesStrictly => {
                "We read strict DER with the forms of RFC 5280 4.1 and 4.2 only; the other reads the certificate on."
            }
            Self::OursKeys => {
                "We take RSA 2048 to 8192, P-256, P-384, P-521 and Ed25519 with SHA-256 or better; the other takes this key or algorithm too, or never looks at an end entity's key."
            }
            Self::OursJudgesAllPresented => {
                "We refuse for any presented certificate's bytes, key or number, as Google does; the other looks at those on its path only."
            }
            Self::OursPresentedLimits => {
                "We refuse more than 10 intermediates of one subject and key, and more than 10 name constraints in one, as Google does; the other counts neither."
            }
            Self::OursBudget => "Our search stops when its budget is spent; the other goes on.",
            Self::OursDepth => {
                "Our paths have 10 certificates at the most; the other's are longer."
            }
            Self::OursCriticalExtension => {
                "We refuse a critical extension that we do not process (RFC 5280 6.1.4 o, 6.1.5 f); the other processes it, or passes over it."
            }
            Self::OursVersion => {
                "We refuse an end entity of version 1 or 2, which says nothing about what its key is for; RFC 5280 6.1.4 k asks that of CAs only."
            }
            Self::OursEmptyIssuer => {
                "We refuse a certificate whose issuer has an empty name (RFC 5280 4.1.2.4); the other compares it as any name."
            }
            Self::OursCrlRules => {
                "A CRL without cRLNumber, with a critical one, or of an issuer without cRLSign tells us nothing (RFC 5280 5.2.3, 6.3.3 f); the other uses it."
            }
            Self::OursUnclearName => {
                "We refuse a name, or a constraint, of a constrained form if it cannot be understood; the other compares it as it stands."
            }
            Self::WebpkiIgnoresKeyUsage => {
                "webpki does not look at keyUsage, so a CA without keyCertSign issues (against RFC 5280 6.1.4 n)."
            }
            Self::WebpkiIgnoresPolicies => {
                "webpki does not process policies, so it accepts where an explicit one is required (against RFC 5280 6.1.5 g)."
            }
            Self::WebpkiCrlSigner => {
                "webpki wants a CRL to be signed with the key that signed the certificate; RFC 5280 6.3.3 f allows another key of the same CA."
            }
            Self::WebpkiPolicyExtensions => {
                "webpki refuses critical policyConstraints, policyMappings and inhibitAnyPolicy, which it does not process."
            }
            Self::WebpkiCaAsEndEntity => {
                "webpki refuses an end entity with cA TRUE; RFC 5280 6.1 asks nothing of the kind."
            }
            Self::WebpkiDepth => "webpki's paths have 6 intermediates at the most.",
            Self::WebpkiNamesByteForByte => {
                "webpki compares names byte for byte, not by RFC 5280 7.1."
            }
            Self::WebpkiSelfIssued => {
                "webpki counts self-issued intermediates in path lengths and constrains their names (against RFC 5280 6.1.3 b and 6.1.4 l)."
            }
            Self::WebpkiConstraintForms => {
                "webpki refuses every name of a form whose constraints it does not process: directory names, URIs and mailboxes, a subject for a directory name even if it is empty."
            }
            Self::WebpkiIgnoresSubjectEmail => {
                "webpki does not hold e-mail addresses in subjects to constraints (against RFC 5280 4.2.1.10)."
            }
            Self::WebpkiAnyPurpose => "webpki does not take anyExtendedKeyUsage for a purpose.",
            Self::WebpkiAlgorithms => {
                "webpki on ring has neither P-521 nor ECDSA with SHA-512, nor RSASSA-PSS keys."
            }
            Self::WebpkiVersion => {
                "webpki reads version 3 only; RFC 5280 6.1.4 k asks it of CAs only."
            }
            Self::WebpkiBefore1970 => "webpki has no time before 1970 and refuses such a date.",
            Self::WebpkiSearch => {
                "webpki finds the path if nothing else is presented, but not among the rest."
            }
            Self::WebpkiUniqueIds => {
                "webpki refuses certificates with unique identifiers (RFC 5280 4.1.2.8), which we read."
            }
            Self::OpenSslChecksAnchor => {
                "OpenSSL checks dates, basicConstraints, keyUsage, purposes and critical extensions of the anchor's certificate, which RFC 5280 6.1.1 d leaves out."
            }
            Self::OpenSslPolicyTree => {
                "OpenSSL builds RFC 5280's policy tree and gives up when it grows large; the graph of RFC 9618 does not."
            }
            Self::OpenSslExplicitPolicy => {
                "OpenSSL refuses where an explicit policy is required: the openssl crate cannot give it the initial set, and it does not take none for any-policy (RFC 5280 6.1.1 c)."
            }
            Self::OpenSslKeyIdentifiers => {
                "OpenSSL takes no issuer whose subject key identifier, or name and serial number, differ from the authority key identifier; RFC 5280 4.2.1.1 has it as a help for path building."
            }
            Self::OpenSslDoesNotBacktrack => {
                "OpenSSL builds one path and judges it; where another candidate of the name comes first it does not find the one that holds."
            }
            Self::OpenSslAnyPurpose => "OpenSSL does not take anyExtendedKeyUsage for a purpose.",
            Self::OpenSslEndEntityKeyUsage => {
                "OpenSSL asks digitalSignature or keyAgreement of a TLS client's keyUsage, or keyEncipherment of a server's; RFC 5280 6.1 asks nothing."
            }
            Self::OpenSslTrustsEndEntity => {
                "OpenSSL trusts an end entity that is itself among the anchors; we have an allowlist for that."
            }
            Self::OpenSslSelfIssued => {
                "OpenSSL takes a certificate with its issuer's name for self-signed unless key identifiers or keyUsage tell otherwise, and looks no further."
            }
            Self::OpenSslWildcardAsText => {
                "OpenSSL compares a wildcard name with constraints as text; we ask whether any, or all, of its names lie within."
            }
            Self::OpenSslConstrainsCommonName => {
                "OpenSSL holds a common name that looks like a host to constraints of DNS names, if there is no DNS name beside it."
            }
            Self::OpenSslLastSecond => {
                "OpenSSL ends the validity before notAfter; RFC 5280 4.1.2.5 includes it."
            }
            Self::OpenSslCountsSelfIssued => {
                "OpenSSL counts self-issued intermediates where a depth is asked for; in RFC 5280 6.1.4 l they do not count."
            }
            Self::Unexplained => "No class fits.",
        }
    }

    pub(super) fn of(
        question: &Question,
        us: &Ours,
        ours: &Verdict,
        against: &dyn Oracle,
        theirs: &Verdict,
    ) -> Self {
        let class = if ours.accepted {
            they_refuse(question, &ours.path, against)
        } else {
            we_refuse(question, us, &theirs.path, against)
        };
        class.unwrap_or(Self::Unexplained)
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// The question with the certificates of one path only.
fn only(question: &Question, path: &[Vec<u8>]) -> Question {
    let mut narrowed = question.clone();
    if let [_, intermediates @ .., anchor] = path {
        narrowed.intermediates = intermediates.to_vec();
        narrowed.anchors = vec![anchor.clone()];
    }
    narrowed
}

/// Why we refuse the path that the other accepts.
fn we_refuse(
    question: &Question,
    us: &Ours,
    path: &[Vec<u8>],
    against: &dyn Oracle,
) -> Option<Class> {
    let openssl = against.name() == "openssl";
    if path.len() == 1 {
        return openssl.then_some(Class::OpenSslTrustsEndEntity);
    }
    let parsed: Result<Vec<_>, _> = path.iter().cloned().map(Certificate::parse).collect();
    let Ok(parsed) = parsed else {
        return Some(Class::OursParsesStrictly);
    };
    let Some((refusal, _)) = us.refusal(&only(question, path)) else {
        // The path holds, so it was refused for what lies beside it.
        return Some(match us.refusal(question)?.0 {
            Refusal::Parse { .. } | Refusal::Key { .. } => Class::OursJudgesAllPresented,
            Refusal::PkiTooLarge { .. } | Refusal::TooManyNameConstraints { .. } => {
                Class::OursPresentedLimits
            }
            Refusal::Path(error) if matches!(error.fault, PathFault::BudgetSpent { .. }) => {
                Class::OursBudget
            }
            _ => return None,
        });
    };
    let error = match refusal {
        Refusal::Key { .. } => return Some(Class::OursKeys),
        Refusal::PkiTooLarge { .. } | Refusal::TooManyNameConstraints { .. } => {
            return Some(Class::OursPresentedLimits);
        }
        Refusal::Path(error) => error,
        _ => return None,
    };
    if has_policy_constraints(path) && error.fault.to_string().contains("policy") {
        return (!openssl).then_some(Class::WebpkiIgnoresPolicies);
    }
    match error.fault {
        PathFault::BudgetSpent { .. } => Some(Class::OursBudget),
        PathFault::NotVersion3 => Some(Class::OursVersion),
        PathFault::EmptyIssuer => Some(Class::OursEmptyIssuer),
        PathFault::RevocationUnknown { .. } => Some(Class::OursCrlRules),
        PathFault::DepthExceeded { limit } if path.len() > limit => Some(Class::OursDepth),
        PathFault::UnsupportedKey | PathFault::UnsupportedSignatureAlgorithm { .. } => {
            Some(Class::OursKeys)
        }
        PathFault::UnprocessedCriticalExtension { .. } => Some(Class::OursCriticalExtension),
        PathFault::NameConstraintUnsupported { .. } => Some(Class::OursUnclearName),
        // Where an anchor shares the name, its wrong key is the reason that we keep.
        PathFault::KeyCertSignMissing | PathFault::InvalidSignature if !openssl => {
            let intermediates = parsed.len().saturating_sub(2);
            let mut issuers = parsed.iter().skip(1).take(intermediates);
            issuers
                .any(|ca| {
                    let usage = ca.extensions().key_usage;
                    usage.is_some_and(|usage| !usage.key_cert_sign())
                })
                .then_some(Class::WebpkiIgnoresKeyUsage)
        }
        PathFault::NameConstraintViolated { .. } => {
            let violator = parsed.get(error.position)?;
            if openssl {
                violator
                    .dns_sans()
                    .any(|name| name.starts_with(b"*"))
                    .then_some(Class::OpenSslWildcardAsText)
            } else {
                let addresses = violator.subject().email_addresses().next().is_some();
                addresses.then_some(Class::WebpkiIgnoresSubjectEmail)
            }
        }
        _ => None,
    }
}

/// Why the other refuses the path that we accept.
fn they_refuse(question: &Question, path: &[Vec<u8>], against: &dyn Oracle) -> Option<Class> {
    let parsed: Result<Vec<_>, _> = path.iter().cloned().map(Certificate::parse).collect();
    let parsed = parsed.ok()?;
    let narrowed = only(question, path);
    let verdict = against.judge(&narrowed);
    match against.name() {
        "webpki" if verdict.accepted => Some(Class::WebpkiSearch),
        "webpki" => webpki_refuses(question, &parsed, &verdict.reason),
        "openssl" if verdict.accepted => Some(Class::OpenSslDoesNotBacktrack),
        "openssl" => openssl_refuses(question, path, &parsed, &verdict.reason),
        _ => None,
    }
}

fn webpki_refuses(question: &Question, path: &[Certificate], reason: &str) -> Option<Class> {
    // The variant's name; what it holds follows in brackets.
    let error = reason.split(['(', ' ', '{']).next().unwrap_or_default();
    let intermediates = path.len().saturating_sub(2);
    let self_issued = path
        .iter()
        .skip(1)
        .take(intermediates)
        .any(Certificate::is_self_issued);
    let class = match error {
        // An anchor of the same name is tried first, and its wrong key is the reason that is kept.
        "PathLenConstraintViolated"
        | "NameConstraintViolation"
        | "InvalidSignatureForPublicKey"
            if self_issued =>
        {
            Class::WebpkiSelfIssued
        }
        "InvalidCrlSignatureForPublicKey" => Class::WebpkiCrlSigner,
        "UnsupportedCriticalExtension" if path.iter().any(has_critical_policy_extension) => {
            Class::WebpkiPolicyExtensions
        }
        "CaUsedAsEndEntity" if path.first().is_some_and(is_ca) => Class::WebpkiCaAsEndEntity,
        "MaximumPathDepthExceeded" if intermediates > WEBPKI_INTERMEDIATES => Class::WebpkiDepth,
        "UnknownIssuer" if names_differ_in_bytes(path) => Class::WebpkiNamesByteForByte,
        "NameConstraintViolation" if path.iter().any(constrains_beyond_webpki) => {
            Class::WebpkiConstraintForms
        }
        "RequiredEkuNotFound" | "RequiredEkuNotFoundContext"
            if path.iter().any(|one| only_any_purpose(one, question)) =>
        {
            Class::WebpkiAnyPurpose
        }
        "UnsupportedSignatureAlgorithmContext"
        | "UnsupportedSignatureAlgorithmForPublicKeyContext" => Class::WebpkiAlgorithms,
        "UnsupportedCertVersion" => Class::WebpkiVersion,
        "BadDerTime" if path.iter().any(|one| one.not_before().0 < 0) => Class::WebpkiBefore1970,
        // Unique identifiers (4.1.2.8).
        "TrailingData" => Class::WebpkiUniqueIds,
        _ => return None,
    };
    Some(class)
}

fn openssl_refuses(
    question: &Question,
    ders: &[Vec<u8>],
    path: &[Certificate],
    reason: &str,
) -> Option<Class> {
    // An error of the library, not of the chain.
    if reason.contains(":check_policy:") && has_policy_constraints(ders) {
        return Some(Class::OpenSslPolicyTree);
    }
    // "20 at depth 0: unable to get local issuer certificate"
    let mut words = reason.split([' ', ':']);
    let code: i32 = words.next()?.parse().ok()?;
    let depth: usize = words.nth(2)?.parse().ok()?;
    let anchor = path.len().checked_sub(1)?;
    let at = path.get(depth)?;
    let class = match code {
        v_err::EXPIRED if at.not_after() == question.time => Class::OpenSslLastSecond,
        // The key identifiers exclude the issuer, whatever is reported then.
        code if (v_err::UNABLE_TO_GET_ISSUER.contains(&code)
            || v_err::SELF_SIGNED.contains(&code))
            && key_identifiers_differ(ders) =>
        {
            Class::OpenSslKeyIdentifiers
        }
        code if v_err::SELF_SIGNED.contains(&code) && at.is_self_issued() => {
            Class::OpenSslSelfIssued
        }
        v_err::NO_EXPLICIT_POLICY if has_policy_constraints(ders) => Class::OpenSslExplicitPolicy,
        v_err::INVALID_PURPOSE if only_any_purpose(at, question) => Class::OpenSslAnyPurpose,
        v_err::INVALID_PURPOSE if depth == 0 && lacks_digital_signature(at) => {
            Class::OpenSslEndEntityKeyUsage
        }
        // It goes from one to the other of two issuers of a name, or past the first, by name alone.
        v_err::SIGNATURE if two_issuers_share_a_name(path) => Class::OpenSslDoesNotBacktrack,
        v_err::CHAIN_TOO_LONG
            if question.max_intermediates.is_some()
                && path.iter().skip(1).any(Certificate::is_self_issued) =>
        {
            Class::OpenSslCountsSelfIssued
        }
        v_err::EXPIRED
        | v_err::NOT_YET_VALID
        | v_err::PATH_LENGTH
        | v_err::INVALID_PURPOSE
        | v_err::KEYUSAGE_NO_CERTSIGN
        | v_err::UNHANDLED_CRITICAL
            if depth == anchor =>
        {
            Class::OpenSslChecksAnchor
        }
        code if v_err::INVALID_CA.contains(&code) && depth == anchor => Class::OpenSslChecksAnchor,
        code if v_err::NAME_CONSTRAINTS.contains(&code)
            && depth == 0
            && at.dns_sans().next().is_none()
            && path.iter().any(constrains_dns) =>
        {
            Class::OpenSslConstrainsCommonName
        }
        _ => return None,
    };
    Some(class)
}

/// A certificate with policyConstraints.
fn has_policy_constraints(ders: &[Vec<u8>]) -> bool {
    // Tag, length and content of 2.5.29.36.
    const OID: &[u8] = &[0x06, 0x03, 0x55, 0x1d, 0x24];
    let holds = |der: &Vec<u8>| der.windows(OID.len()).any(|window| window == OID);
    ders.iter().any(holds)
}

fn has_critical_policy_extension(certificate: &Certificate) -> bool {
    let kinds = [
        ExtensionKind::PolicyConstraints,
        ExtensionKind::PolicyMappings,
        ExtensionKind::InhibitAnyPolicy,
    ];
    let critical = |kind| certificate.extensions().criticality(kind) == Some(true);
    kinds.into_iter().any(critical)
}

fn is_ca(certificate: &Certificate) -> bool {
    let constraints = certificate.extensions().basic_constraints;
    constraints.is_some_and(|constraints| constraints.ca)
}

fn two_issuers_share_a_name(path: &[Certificate]) -> bool {
    let issuers = path.get(1..).unwrap_or_default();
    issuers.windows(2).any(|link| match link {
        [one, other] => one.subject().matches(other.subject()),
        _ => false,
    })
}

fn lacks_digital_signature(certificate: &Certificate) -> bool {
    let usage = certificate.extensions().key_usage;
    usage.is_some_and(|usage| !usage.digital_signature())
}

/// Two names on the path that match, though their bytes differ.
fn names_differ_in_bytes(path: &[Certificate]) -> bool {
    path.windows(2).any(|link| match link {
        [subject, issuer] => {
            subject.name_der(subject.issuer()) != issuer.name_der(issuer.subject())
        }
        _ => false,
    })
}

fn constraint_bases(certificate: &Certificate) -> impl Iterator<Item = &GeneralName> {
    let constraints = certificate.extensions().name_constraints.iter();
    constraints
        .flat_map(|constraints| constraints.permitted.iter().chain(&constraints.excluded))
        .map(|subtree| &subtree.base)
}

fn constrains_beyond_webpki(certificate: &Certificate) -> bool {
    constraint_bases(certificate)
        .any(|base| !matches!(base, GeneralName::Dns(_) | GeneralName::Ip(_)))
}

fn constrains_dns(certificate: &Certificate) -> bool {
    constraint_bases(certificate).any(|base| matches!(base, GeneralName::Dns(_)))
}

/// anyExtendedKeyUsage stands for the purpose that is asked for.
fn only_any_purpose(certificate: &Certificate, question: &Question) -> bool {
    let required = match question.purpose {
        Some(Purpose::Client) => KeyPurpose::ClientAuth,
        Some(Purpose::Server) => KeyPurpose::ServerAuth,
        None => return false,
    };
    let purposes = certificate.extensions().extended_key_usage.as_deref();
    purposes.is_some_and(|purposes| {
        purposes.contains(&KeyPurpose::Any) && !purposes.contains(&required)
    })
}

/// A link of the path at which OpenSSL would say that the key identifiers differ.
fn key_identifiers_differ(ders: &[Vec<u8>]) -> bool {
    let certificates: Vec<X509> = ders.iter().flat_map(|der| X509::from_der(der)).collect();
    certificates.windows(2).any(|link| match link {
        [subject, issuer] => {
            v_err::KEY_IDENTIFIER_MISMATCH.contains(&issuer.issued(subject).as_raw())
        }
        _ => false,
    })
}
