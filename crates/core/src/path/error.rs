//! Why no path was accepted: which certificate, which rule, what was found.

use core::fmt;

use thiserror::Error;

use crate::revocation::CrlFault;
use crate::x509::{RevocationReason, UnixSeconds};

/// Why no acceptable path leads from the end entity to a trust anchor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathError {
    /// The certificate that failed: 0 is the end entity, 1 its issuer, and so on.
    pub position: usize,
    /// The rule that it failed.
    pub fault: PathFault,
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.position {
            0 => write!(f, "end entity: {}", self.fault),
            position => write!(f, "issuer at position {position}: {}", self.fault),
        }
    }
}

impl core::error::Error for PathError {}

/// A rule of RFC 5280 or of the profile that a certificate or a whole path failed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PathFault {
    /// Neither a trust anchor nor any other certificate has the issuer's name (6.1.3 a 4).
    #[error("no certificate found for its issuer")]
    UnknownIssuer,
    /// The issuer's subject key identifier differs from the authority key identifier.
    #[error("subject key identifier differs from the authority key identifier below")]
    KeyIdentifierMismatch,
    /// The profile does not allow this kind of key to sign certificates.
    #[error("key of an algorithm or size that the profile does not allow")]
    UnsupportedKey,
    /// `basicConstraints` is absent or says that this is no CA (6.1.4 k).
    #[error("basicConstraints does not say that it is a CA")]
    NotCa,
    /// `keyUsage` is present without `keyCertSign` (6.1.4 n).
    #[error("keyUsage lacks keyCertSign")]
    KeyCertSignMissing,
    /// More intermediates below than `pathLenConstraint` allows (6.1.4 l, m).
    #[error("pathLenConstraint of {path_len} exceeded")]
    PathLenExceeded {
        /// The constraint.
        path_len: u32,
    },
    /// A critical extension that is not processed (6.1.4 o, 6.1.5 f).
    #[error("critical extension {oid} is not supported")]
    UnprocessedCriticalExtension {
        /// Dotted object identifier.
        oid: String,
    },
    /// The validation time lies before the validity (6.1.3 a 2).
    #[error("not valid before {not_before}")]
    NotYetValid {
        /// First second of the validity.
        not_before: UnixSeconds,
    },
    /// The validation time lies after the validity (6.1.3 a 2).
    #[error("expired at {not_after}")]
    Expired {
        /// Last second of the validity.
        not_after: UnixSeconds,
    },
    /// A self-signed certificate never forms a path in the GOOGLE profile.
    #[error("self-signed and not on the allowlist")]
    SelfSigned,
    /// An end entity that is a CA, in the GOOGLE profile.
    #[error("basicConstraints says that it is a CA")]
    EndEntityIsCa,
    /// The signature's algorithm is unknown or the profile does not allow it with this issuer's key.
    #[error("signature algorithm {oid} is not allowed with the issuer's key")]
    UnsupportedSignatureAlgorithm {
        /// Dotted object identifier.
        oid: String,
    },
    /// The issuer's key does not verify the signature (6.1.3 a 1).
    #[error("signature does not verify with the issuer's key")]
    InvalidSignature,
    /// A name lies outside the permitted or inside the excluded subtrees (6.1.3 b, c).
    #[error("{form} violates a name constraint of the issuer at position {constrained_by}")]
    NameConstraintViolated {
        /// Which form of name.
        form: &'static str,
        /// The position of the CA that constrains.
        constrained_by: usize,
    },
    /// A name is of a form that is constrained in a way that is not supported (4.2.1.10).
    #[error(
        "{form} is constrained by the issuer at position {constrained_by} in a way that is not supported"
    )]
    NameConstraintUnsupported {
        /// Which form of name.
        form: &'static str,
        /// The position of the CA that constrains.
        constrained_by: usize,
    },
    /// An explicit policy is required, and none is valid for the path (6.1.3 f, 6.1.5 g).
    #[error("no certificate policy is valid for the path")]
    NoValidPolicy,
    /// `policyMappings` from or to anyPolicy (6.1.4 a).
    #[error("policyMappings maps anyPolicy")]
    AnyPolicyMapped,
    /// A version other than 3, which carries no constraints.
    #[error("not an X.509 version 3 certificate")]
    NotVersion3,
    /// The issuer's name is empty (4.1.2.4).
    #[error("issuer name is empty")]
    EmptyIssuer,
    /// A rule for those who make certificates, asked for by the strict switch.
    #[error("{rule}")]
    Strict {
        /// The rule, with its section.
        rule: &'static str,
    },
    /// More intermediates than asked for (6.1.2 k).
    #[error("more than {limit} intermediates")]
    TooManyIntermediates {
        /// The limit; self-issued ones are not counted.
        limit: u32,
    },
    /// `extKeyUsage` does not allow the required purpose (4.2.1.12).
    #[error("extKeyUsage lacks the required purpose")]
    PurposeMissing,
    /// `extKeyUsage` allows a purpose that the profile forbids beside it.
    #[error("extKeyUsage holds codeSigning, timeStamping or OCSPSigning")]
    PurposeForbidden,
    /// A CRL lists the certificate (6.3.3 i, j).
    #[error("revoked, reason {reason}")]
    Revoked {
        /// The entry's reason.
        reason: RevocationReason,
    },
    /// No usable CRL tells whether the certificate is revoked, and one must.
    #[error("revocation status unknown: {why}")]
    RevocationUnknown {
        /// What was wrong with the CRL that came closest.
        why: CrlFault,
    },
    /// Every path found is longer than the limit.
    #[error("path longer than {limit} certificates")]
    DepthExceeded {
        /// The limit, anchor and end entity counted.
        limit: usize,
    },
    /// The search's budget is spent.
    #[error("search stopped after {limit} {unit}")]
    BudgetSpent {
        /// The limit.
        limit: u32,
        /// What was counted.
        unit: &'static str,
    },
}

impl PathFault {
    /// Of several paths that failed, the one that came further is the better hint.
    pub(super) fn rank(&self) -> u8 {
        match self {
            Self::UnknownIssuer => 0,
            Self::DepthExceeded { .. } => 1,
            Self::KeyIdentifierMismatch => 2,
            Self::UnsupportedKey => 3,
            Self::NotCa => 4,
            Self::KeyCertSignMissing => 5,
            Self::PathLenExceeded { .. } => 6,
            Self::UnprocessedCriticalExtension { .. } => 7,
            Self::NotYetValid { .. } | Self::Expired { .. } => 8,
            Self::UnsupportedSignatureAlgorithm { .. } => 9,
            Self::InvalidSignature => 10,
            Self::NameConstraintViolated { .. } | Self::NameConstraintUnsupported { .. } => 11,
            Self::NoValidPolicy | Self::AnyPolicyMapped => 12,
            Self::NotVersion3 | Self::EmptyIssuer | Self::Strict { .. } => 7,
            Self::TooManyIntermediates { .. } => 6,
            Self::PurposeMissing | Self::PurposeForbidden => 13,
            Self::SelfSigned | Self::EndEntityIsCa => 14,
            Self::RevocationUnknown { .. } => 15,
            Self::Revoked { .. } => 16,
            Self::BudgetSpent { .. } => 17,
        }
    }
}
