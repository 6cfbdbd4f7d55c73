//! One signature, verified in one of several ways.

use std::sync::Arc;

use mtls_gate_core::path::PreparedKey;
use mtls_gate_rustcrypto::{ALGORITHMS, prepare};
use p256::ecdsa::signature::hazmat::PrehashVerifier as _;
use rsa::pkcs1::DecodeRsaPublicKey as _;
use rsa::{Pkcs1v15Sign, RsaPublicKey};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256, Sha384};

/// A signature and what it is about. Algorithms are the content octets of AlgorithmIdentifiers.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Signed {
    /// What is done with it.
    pub how: How,
    /// Of the key.
    pub key_algorithm: Vec<u8>,
    /// The content of subjectPublicKey.
    pub key_bits: Vec<u8>,
    /// Of the signature.
    pub algorithm: Vec<u8>,
    /// What was signed.
    pub message: Vec<u8>,
    /// The signature.
    pub signature: Vec<u8>,
}

/// What is measured.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub enum How {
    /// Verified from the key's bits, as the backend does without a memory.
    Plain,
    /// Verified by the crate below, with a key that it has parsed before.
    Parsed,
    /// Verified with a key that was made ready before.
    Prepared,
    /// The key made ready, and nothing verified.
    Prepare,
}

/// The same, with what is done once done.
#[derive(Debug)]
pub struct Prepared {
    signed: Signed,
    key: Key,
}

#[derive(Debug)]
enum Key {
    Bits,
    P256(p256::ecdsa::VerifyingKey),
    P384(p384::ecdsa::VerifyingKey),
    Rsa(RsaPublicKey),
    Ready(Arc<dyn PreparedKey>),
}

impl Signed {
    pub(crate) fn prepare(self) -> Option<Prepared> {
        let bits = &self.key_bits;
        let key = match self.how {
            How::Plain | How::Prepare => Key::Bits,
            How::Prepared => Key::Ready(prepare(&self.key_algorithm, bits)?),
            // A point begins with 4, an RSAPublicKey with the tag of a SEQUENCE.
            How::Parsed => match (bits.first()?, bits.len()) {
                (4, 65) => Key::P256(p256::ecdsa::VerifyingKey::from_sec1_bytes(bits).ok()?),
                (4, 97) => Key::P384(p384::ecdsa::VerifyingKey::from_sec1_bytes(bits).ok()?),
                (0x30, _) => Key::Rsa(RsaPublicKey::from_pkcs1_der(bits).ok()?),
                _ => return None,
            },
        };
        Some(Prepared { signed: self, key })
    }
}

impl Prepared {
    /// Whether it was done.
    pub(crate) fn run(&self) -> bool {
        let Signed {
            how,
            key_algorithm,
            key_bits,
            algorithm,
            message,
            signature,
        } = &self.signed;
        match &self.key {
            Key::Bits if *how == How::Prepare => prepare(key_algorithm, key_bits).is_some(),
            Key::Bits => ALGORITHMS.iter().any(|one| {
                one.public_key_alg_id().as_ref() == key_algorithm
                    && one.signature_alg_id().as_ref() == algorithm
                    && one.verify_signature(key_bits, message, signature).is_ok()
            }),
            Key::P256(key) => p256::ecdsa::Signature::from_der(signature).is_ok_and(|signature| {
                key.verify_prehash(&Sha256::digest(message), &signature)
                    .is_ok()
            }),
            Key::P384(key) => p384::ecdsa::Signature::from_der(signature).is_ok_and(|signature| {
                key.verify_prehash(&Sha384::digest(message), &signature)
                    .is_ok()
            }),
            Key::Rsa(key) => {
                let scheme = Pkcs1v15Sign::new::<Sha256>();
                key.verify(scheme, &Sha256::digest(message), signature)
                    .is_ok()
            }
            Key::Ready(key) => matches!(key.verify(algorithm, message, signature), Some(Ok(()))),
        }
    }
}
