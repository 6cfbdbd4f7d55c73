//! Why a certificate is not verified, and the string that says so on the wire.

use thiserror::Error;

use crate::forwarded::DecodeError;
use crate::path::{KeyFault, PathError, PathFault};
use crate::relay::RelayFault;
use crate::spiffe::SvidFault;
use crate::x509::ParseError;

/// Why a client's certificate is not verified: one reason, for logs.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The client presented none.
    #[error("no client certificate")]
    NotProvided,
    /// The one that is forwarded does not come from a trusted relay, and counts for nothing.
    #[error("forwarded by no trusted relay: {0}")]
    UntrustedRelay(RelayFault),
    /// There is no trust config to validate against.
    #[error("no trust config is configured")]
    NotPerformed,
    /// The host gives no time to validate at.
    #[error("the proxy gives no time to validate at")]
    NoClock,
    /// What the proxy handed over cannot be decoded.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// A presented certificate cannot be parsed.
    #[error("presented certificate {index}: {error}")]
    Parse {
        /// 0 is the end entity.
        index: usize,
        /// What is wrong.
        error: ParseError,
    },
    /// Too many certificates beside the end entity.
    #[error("more than {limit} certificates presented beside the end entity")]
    TooManyCertificates {
        /// The limit.
        limit: usize,
    },
    /// Too many octets of DER.
    #[error("more than {limit_bytes} bytes of certificates presented")]
    PayloadTooLarge {
        /// The limit.
        limit_bytes: usize,
    },
    /// A presented certificate's key is not allowed.
    #[error("presented certificate {index}: {}", key_text(*.fault))]
    Key {
        /// 0 is the end entity.
        index: usize,
        /// What is wrong.
        fault: KeyFault,
    },
    /// Too many intermediates are the same CA again.
    #[error("more than {limit} intermediates share one subject and key")]
    PkiTooLarge {
        /// The limit.
        limit: usize,
    },
    /// A presented intermediate constrains too many names.
    #[error("presented certificate {index}: more than {limit} name constraints")]
    TooManyNameConstraints {
        /// 0 is the end entity.
        index: usize,
        /// The limit.
        limit: usize,
    },
    /// With SPIFFE trust stores: no store for this end entity.
    #[error("presented certificate 0: {0}")]
    Svid(#[from] SvidFault),
    /// No acceptable path to a trust anchor.
    #[error(transparent)]
    Path(#[from] PathError),
}

fn key_text(fault: KeyFault) -> &'static str {
    match fault {
        KeyFault::UnsupportedAlgorithm => "key algorithm is not supported",
        KeyFault::RsaSize => "RSA key size is not permitted",
        KeyFault::Curve => "elliptic curve is not permitted",
    }
}

/// Google's strings for `client_cert_error` that say why validation failed.
///
/// Google documents four more, which nothing here can cause and which are never sent:
/// `client_cert_validation_timed_out` (work is counted, not time),
/// `client_cert_validation_unavailable`, `client_cert_validation_internal_error` and
/// `client_cert_trust_config_not_found` (a configuration that names an absent one is not loaded).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientCertError {
    /// `client_cert_not_provided`
    NotProvided,
    /// `client_cert_validation_failed`
    ValidationFailed,
    /// `client_cert_chain_invalid_eku`
    ChainInvalidEku,
    /// `client_cert_invalid_rsa_key_size`
    InvalidRsaKeySize,
    /// `client_cert_unsupported_elliptic_curve_key`
    UnsupportedEllipticCurveKey,
    /// `client_cert_unsupported_key_algorithm`
    UnsupportedKeyAlgorithm,
    /// `client_cert_pki_too_large`
    PkiTooLarge,
    /// `client_cert_chain_max_name_constraints_exceeded`
    ChainMaxNameConstraintsExceeded,
    /// `client_cert_validation_search_limit_exceeded`
    ValidationSearchLimitExceeded,
    /// `client_cert_validation_not_performed`
    ValidationNotPerformed,
    /// `client_cert_chain_exceeded_limit`
    ChainExceededLimit,
    /// `client_cert_exceeded_size_limit`
    ExceededSizeLimit,
}

impl ClientCertError {
    /// The string on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotProvided => "client_cert_not_provided",
            Self::ValidationFailed => "client_cert_validation_failed",
            Self::ChainInvalidEku => "client_cert_chain_invalid_eku",
            Self::InvalidRsaKeySize => "client_cert_invalid_rsa_key_size",
            Self::UnsupportedEllipticCurveKey => "client_cert_unsupported_elliptic_curve_key",
            Self::UnsupportedKeyAlgorithm => "client_cert_unsupported_key_algorithm",
            Self::PkiTooLarge => "client_cert_pki_too_large",
            Self::ChainMaxNameConstraintsExceeded => {
                "client_cert_chain_max_name_constraints_exceeded"
            }
            Self::ValidationSearchLimitExceeded => "client_cert_validation_search_limit_exceeded",
            Self::ValidationNotPerformed => "client_cert_validation_not_performed",
            Self::ChainExceededLimit => "client_cert_chain_exceeded_limit",
            Self::ExceededSizeLimit => "client_cert_exceeded_size_limit",
        }
    }
}

impl From<&Refusal> for ClientCertError {
    fn from(refusal: &Refusal) -> Self {
        match refusal {
            Refusal::NotProvided | Refusal::UntrustedRelay(_) => Self::NotProvided,
            Refusal::NotPerformed => Self::ValidationNotPerformed,
            Refusal::NoClock | Refusal::Decode(_) | Refusal::Parse { .. } | Refusal::Svid(_) => {
                Self::ValidationFailed
            }
            Refusal::TooManyCertificates { .. } => Self::ChainExceededLimit,
            Refusal::PayloadTooLarge { .. } => Self::ExceededSizeLimit,
            Refusal::Key { fault, .. } => match fault {
                KeyFault::UnsupportedAlgorithm => Self::UnsupportedKeyAlgorithm,
                KeyFault::RsaSize => Self::InvalidRsaKeySize,
                KeyFault::Curve => Self::UnsupportedEllipticCurveKey,
            },
            Refusal::PkiTooLarge { .. } => Self::PkiTooLarge,
            Refusal::TooManyNameConstraints { .. } => Self::ChainMaxNameConstraintsExceeded,
            Refusal::Path(error) => match &error.fault {
                PathFault::PurposeMissing | PathFault::PurposeForbidden => Self::ChainInvalidEku,
                PathFault::DepthExceeded { .. } | PathFault::BudgetSpent { .. } => {
                    Self::ValidationSearchLimitExceeded
                }
                PathFault::UnknownIssuer
                | PathFault::KeyIdentifierMismatch
                | PathFault::UnsupportedKey
                | PathFault::NotCa
                | PathFault::KeyCertSignMissing
                | PathFault::PathLenExceeded { .. }
                | PathFault::UnprocessedCriticalExtension { .. }
                | PathFault::NotYetValid { .. }
                | PathFault::Expired { .. }
                | PathFault::SelfSigned
                | PathFault::EndEntityIsCa
                | PathFault::UnsupportedSignatureAlgorithm { .. }
                | PathFault::InvalidSignature
                | PathFault::NameConstraintViolated { .. }
                | PathFault::NameConstraintUnsupported { .. }
                | PathFault::NoValidPolicy
                | PathFault::AnyPolicyMapped
                | PathFault::NotVersion3
                | PathFault::EmptyIssuer
                | PathFault::Strict { .. }
                | PathFault::TooManyIntermediates { .. }
                | PathFault::Revoked { .. }
                | PathFault::RevocationUnknown { .. } => Self::ValidationFailed,
            },
        }
    }
}
