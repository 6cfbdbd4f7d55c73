//! The two profiles: what each demands beyond or short of RFC 5280.

use rustls_pki_types::alg_id;
use serde::Deserialize;

use crate::x509::{EcCurve, KeyKind};

/// Which rules apply where Google's load balancers and RFC 5280 differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum Profile {
    /// As Google's load balancers.
    #[default]
    #[serde(rename = "GOOGLE")]
    Google,
    /// RFC 5280 section 6.1, for certification authorities that cannot follow Google's rules.
    #[serde(rename = "RFC5280")]
    Rfc5280,
}

/// What is wrong with a key, in the order in which it is reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeyFault {
    /// Neither RSA nor ECDSA (nor, in RFC5280, Ed25519).
    UnsupportedAlgorithm,
    /// RSA outside the permitted sizes.
    RsaSize,
    /// Not one of the permitted curves.
    Curve,
}

impl Profile {
    /// As it is configured.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Google => "GOOGLE",
            Self::Rfc5280 => "RFC5280",
        }
    }

    /// Whether the profile allows this key in a certificate.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check_key(self, key: KeyKind) -> Result<(), KeyFault> {
        let max_rsa_bits = match self {
            // Google: "Certificate keys", 2048 to 4096 bits.
            Self::Google => 4096,
            Self::Rfc5280 => 8192,
        };
        let strict = self == Self::Google;
        match key {
            KeyKind::RsaPss { .. } | KeyKind::Ed25519 if strict => {
                Err(KeyFault::UnsupportedAlgorithm)
            }
            KeyKind::Rsa { modulus_bits } | KeyKind::RsaPss { modulus_bits } => {
                if (2048..=max_rsa_bits).contains(&modulus_bits) {
                    Ok(())
                } else {
                    Err(KeyFault::RsaSize)
                }
            }
            KeyKind::Ec(EcCurve::P256 | EcCurve::P384) => Ok(()),
            KeyKind::Ec(EcCurve::P521) if !strict => Ok(()),
            KeyKind::Ec(_) => Err(KeyFault::Curve),
            KeyKind::Ed25519 => Ok(()),
            KeyKind::Other => Err(KeyFault::UnsupportedAlgorithm),
        }
    }

    /// Whether the profile allows this signature AlgorithmIdentifier (content octets).
    #[must_use]
    pub fn allows_signature(self, algorithm: &[u8]) -> bool {
        match self {
            Self::Rfc5280 => true,
            // RSA PKCS#1 v1.5 and ECDSA with SHA-256 or stronger. RFC 4055 section 5: the NULL
            // parameters of the RSA identifiers may be absent.
            Self::Google => [
                alg_id::ECDSA_SHA256,
                alg_id::ECDSA_SHA384,
                alg_id::ECDSA_SHA512,
                alg_id::RSA_PKCS1_SHA256,
                alg_id::RSA_PKCS1_SHA384,
                alg_id::RSA_PKCS1_SHA512,
            ]
            .iter()
            .any(|allowed| {
                let allowed = allowed.as_ref();
                algorithm == allowed || Some(algorithm) == allowed.strip_suffix(&[0x05, 0x00])
            }),
        }
    }
}
