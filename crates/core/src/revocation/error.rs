//! Why no CRL tells whether a certificate is revoked.

use thiserror::Error;

use crate::x509::{CrlDefect, UnixSeconds};

/// What was wrong with the CRL that came closest to telling a certificate's status.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CrlFault {
    /// RFC 5280 6.3.3 b: no CRL is of the right issuer and scope.
    #[error("no CRL covers it")]
    NoCrl,
    /// The certificate's cRLDistributionPoints cannot be read.
    #[error("its cRLDistributionPoints is malformed")]
    MalformedDistributionPoints,
    /// RFC 5280 6.3.3 d: usable CRLs cover it, but not for all reasons.
    #[error("CRLs cover it for some reasons only")]
    SomeReasonsOnly,
    /// The CRL must not be used, whoever signed it.
    #[error("CRL: {0}")]
    Defect(#[from] CrlDefect),
    /// The validation time lies before `thisUpdate`.
    #[error("CRL not issued before {this_update}")]
    NotYetIssued {
        /// First second at which it holds.
        this_update: UnixSeconds,
    },
    /// The validation time lies after `nextUpdate` (6.3.3 a).
    #[error("CRL expired at {next_update}")]
    Expired {
        /// Last second at which it is current.
        next_update: UnixSeconds,
    },
    /// RFC 5280 5.1.2.5: without `nextUpdate` nobody can tell whether a CRL is current.
    #[error("CRL has no nextUpdate")]
    NextUpdateMissing,
    /// No certificate with the CRL issuer's name has a valid path to the same trust anchor (6.3.3 f).
    #[error("no certificate of the CRL's issuer leads to the same trust anchor")]
    NoSigner,
    /// The CRL issuer's `keyUsage` lacks `cRLSign` (6.3.3 f).
    #[error("keyUsage of the CRL's issuer lacks cRLSign")]
    CrlSignMissing,
    /// The CRL issuer's own certificate is revoked, or its status is unknown.
    #[error("certificate of the CRL's issuer is revoked or of unknown status")]
    SignerNotGood,
    /// The algorithm is unknown or the profile does not allow it with the issuer's key.
    #[error("CRL's signature algorithm {oid} is not allowed with the issuer's key")]
    UnsupportedSignatureAlgorithm {
        /// Dotted object identifier.
        oid: String,
    },
    /// The issuer's key does not verify the CRL's signature (6.3.3 g).
    #[error("CRL's signature does not verify with the issuer's key")]
    InvalidSignature,
}

impl CrlFault {
    /// Of several CRLs that do not serve, the one that came further gives the reason.
    pub(crate) fn rank(&self) -> u8 {
        match self {
            Self::NoCrl => 0,
            Self::MalformedDistributionPoints => 1,
            Self::NotYetIssued { .. } => 2,
            Self::Expired { .. } | Self::NextUpdateMissing => 3,
            Self::Defect(_) => 4,
            Self::NoSigner => 5,
            Self::CrlSignMissing => 6,
            Self::SignerNotGood => 7,
            Self::UnsupportedSignatureAlgorithm { .. } => 8,
            Self::InvalidSignature => 9,
            Self::SomeReasonsOnly => 10,
        }
    }
}
