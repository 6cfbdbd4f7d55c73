//! The proof that a peer holds the key of the certificate it shows, for every key that any algorithm
//! here can verify: whether the key is allowed is a question of policy, asked elsewhere.
//!
//! Not to be proven, and so refused in the handshake in every mode: DSA, Ed448, and curves other
//! than P-256, P-384 and P-521. TLS 1.3 clients with such keys send no certificate.

use mtls_gate_core::x509::SubjectPublicKey;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{
    AlgorithmIdentifier, CertificateDer, SignatureVerificationAlgorithm, alg_id,
};
use rustls::{CertificateError, DigitallySignedStruct, Error, PeerMisbehaved, SignatureScheme};

use crate::ALGORITHMS;

/// RFC 8446 4.2.3: RSASSA-PSS with a public key that is itself marked for RSASSA-PSS.
const RSA_PSS_PSS_SHA256: SignatureScheme = SignatureScheme::Unknown(0x0809);
const RSA_PSS_PSS_SHA384: SignatureScheme = SignatureScheme::Unknown(0x080a);
const RSA_PSS_PSS_SHA512: SignatureScheme = SignatureScheme::Unknown(0x080b);

/// id-RSASSA-PSS (RFC 4055 3.1), tag and length included.
const RSA_PSS_OID: [u8; 11] = [
    0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0a,
];

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    Tls12,
    Tls13,
}

/// What a peer may sign its handshake with, the preferred first.
pub(crate) fn schemes() -> Vec<SignatureScheme> {
    TABLE.iter().map(|row| row.scheme).collect()
}

/// One scheme (RFC 8446 4.2.3).
struct Row {
    scheme: SignatureScheme,
    signature: AlgorithmIdentifier,
    /// The key's algorithm; in TLS 1.2 an ECDSA scheme names the digest alone (RFC 5246 7.4.1.4.1).
    key: AlgorithmIdentifier,
    versions: &'static [Version],
}

const BOTH: &[Version] = &[Version::Tls12, Version::Tls13];
/// RFC 8446 4.2.3: PKCS#1 v1.5 signs certificates only, in TLS 1.3.
const ONLY_12: &[Version] = &[Version::Tls12];

const fn row(
    scheme: SignatureScheme,
    signature: AlgorithmIdentifier,
    key: AlgorithmIdentifier,
    versions: &'static [Version],
) -> Row {
    Row {
        scheme,
        signature,
        key,
        versions,
    }
}

const TABLE: [Row; 13] = [
    row(
        SignatureScheme::ECDSA_NISTP256_SHA256,
        alg_id::ECDSA_SHA256,
        alg_id::ECDSA_P256,
        BOTH,
    ),
    row(
        SignatureScheme::ECDSA_NISTP384_SHA384,
        alg_id::ECDSA_SHA384,
        alg_id::ECDSA_P384,
        BOTH,
    ),
    row(
        SignatureScheme::ECDSA_NISTP521_SHA512,
        alg_id::ECDSA_SHA512,
        alg_id::ECDSA_P521,
        BOTH,
    ),
    row(
        SignatureScheme::ED25519,
        alg_id::ED25519,
        alg_id::ED25519,
        BOTH,
    ),
    row(
        SignatureScheme::RSA_PSS_SHA256,
        alg_id::RSA_PSS_SHA256,
        alg_id::RSA_ENCRYPTION,
        BOTH,
    ),
    row(
        SignatureScheme::RSA_PSS_SHA384,
        alg_id::RSA_PSS_SHA384,
        alg_id::RSA_ENCRYPTION,
        BOTH,
    ),
    row(
        SignatureScheme::RSA_PSS_SHA512,
        alg_id::RSA_PSS_SHA512,
        alg_id::RSA_ENCRYPTION,
        BOTH,
    ),
    row(
        RSA_PSS_PSS_SHA256,
        alg_id::RSA_PSS_SHA256,
        alg_id::RSA_ENCRYPTION,
        BOTH,
    ),
    row(
        RSA_PSS_PSS_SHA384,
        alg_id::RSA_PSS_SHA384,
        alg_id::RSA_ENCRYPTION,
        BOTH,
    ),
    row(
        RSA_PSS_PSS_SHA512,
        alg_id::RSA_PSS_SHA512,
        alg_id::RSA_ENCRYPTION,
        BOTH,
    ),
    row(
        SignatureScheme::RSA_PKCS1_SHA256,
        alg_id::RSA_PKCS1_SHA256,
        alg_id::RSA_ENCRYPTION,
        ONLY_12,
    ),
    row(
        SignatureScheme::RSA_PKCS1_SHA384,
        alg_id::RSA_PKCS1_SHA384,
        alg_id::RSA_ENCRYPTION,
        ONLY_12,
    ),
    row(
        SignatureScheme::RSA_PKCS1_SHA512,
        alg_id::RSA_PKCS1_SHA512,
        alg_id::RSA_ENCRYPTION,
        ONLY_12,
    ),
];

/// Proves the possession, or ends the handshake.
pub(crate) fn prove(
    version: Version,
    message: &[u8],
    certificate: &CertificateDer<'_>,
    signed: &DigitallySignedStruct,
) -> Result<HandshakeSignatureValid, Error> {
    let row = TABLE
        .iter()
        .find(|row| row.scheme == signed.scheme && row.versions.contains(&version))
        .ok_or(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme)?;
    let key =
        SubjectPublicKey::of_certificate(certificate).map_err(|_| CertificateError::BadEncoding)?;
    let proven = candidates(row, &key, version).any(|algorithm| {
        algorithm
            .verify_signature(key.key_bits, message, signed.signature())
            .is_ok()
    });
    if proven {
        Ok(HandshakeSignatureValid::assertion())
    } else {
        Err(CertificateError::BadSignature.into())
    }
}

/// ring refuses short RSA keys, which mtls-gate-rustcrypto verifies: so several may come.
fn candidates<'k>(
    row: &'k Row,
    key: &'k SubjectPublicKey<'_>,
    version: Version,
) -> impl Iterator<Item = &'static dyn SignatureVerificationAlgorithm> + 'k {
    let pss_key = key.algorithm.starts_with(&RSA_PSS_OID);
    let pss_scheme =
        [RSA_PSS_PSS_SHA256, RSA_PSS_PSS_SHA384, RSA_PSS_PSS_SHA512].contains(&row.scheme);
    let any_curve = version == Version::Tls12
        && [
            alg_id::ECDSA_SHA256,
            alg_id::ECDSA_SHA384,
            alg_id::ECDSA_SHA512,
        ]
        .contains(&row.signature);
    ALGORITHMS.iter().copied().filter(move |algorithm| {
        let right_key = if pss_key || pss_scheme {
            // The one goes with the other, and the key's bits are the same as any RSA key's.
            pss_key && pss_scheme && algorithm.public_key_alg_id() == row.key
        } else {
            algorithm.public_key_alg_id().as_ref() == key.algorithm
                && (any_curve || algorithm.public_key_alg_id() == row.key)
        };
        right_key && algorithm.signature_alg_id() == row.signature
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many algorithms may prove it.
    fn count(scheme: SignatureScheme, key: AlgorithmIdentifier, version: Version) -> usize {
        let row = TABLE.iter().find(|row| row.scheme == scheme).unwrap();
        let key = SubjectPublicKey {
            algorithm: key.as_ref(),
            key_bits: &[],
        };
        candidates(row, &key, version).count()
    }

    #[test]
    fn a_scheme_names_the_curve_in_tls_1_3_only() {
        let scheme = SignatureScheme::ECDSA_NISTP256_SHA256;
        for (key, in_12, in_13) in [
            (alg_id::ECDSA_P256, 2, 2),
            (alg_id::ECDSA_P384, 2, 0),
            (alg_id::ECDSA_P521, 1, 0),
            (alg_id::RSA_ENCRYPTION, 0, 0),
        ] {
            assert_eq!(count(scheme, key, Version::Tls12), in_12, "{key:?}");
            assert_eq!(count(scheme, key, Version::Tls13), in_13, "{key:?}");
        }
    }

    #[test]
    fn keys_for_pss_go_with_schemes_for_them() {
        let plain = alg_id::RSA_ENCRYPTION;
        let mut pss_key = RSA_PSS_OID.to_vec();
        pss_key.extend([0x30, 0x00]);
        let pss_key = AlgorithmIdentifier::from_slice(pss_key.leak());
        for (scheme, with_plain, with_pss) in [
            (SignatureScheme::RSA_PSS_SHA256, 2, 0),
            (RSA_PSS_PSS_SHA256, 0, 2),
            (SignatureScheme::RSA_PKCS1_SHA256, 2, 0),
        ] {
            assert_eq!(
                count(scheme, plain, Version::Tls12),
                with_plain,
                "{scheme:?}"
            );
            assert_eq!(
                count(scheme, pss_key, Version::Tls12),
                with_pss,
                "{scheme:?}"
            );
        }
    }

    #[test]
    fn every_scheme_has_an_algorithm() {
        for row in &TABLE {
            let algorithms = ALGORITHMS
                .iter()
                .filter(|algorithm| {
                    algorithm.signature_alg_id() == row.signature
                        && algorithm.public_key_alg_id() == row.key
                })
                .count();
            assert!(algorithms > 0, "{:?}", row.scheme);
        }
    }
}
