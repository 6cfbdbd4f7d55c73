//! Signature verification in pure Rust: runs natively and in wasm, needs no randomness.
//!
//! Behind the seam that rustls and webpki share, [`SignatureVerificationAlgorithm`]: raw key bits,
//! message and signature in; no detail out.
#![forbid(unsafe_code)]

mod ecdsa;
mod ed25519;
mod prepared;
mod rsa;

use mtls_gate_core::path::Backend;
use rustls_pki_types::{AlgorithmIdentifier, SignatureVerificationAlgorithm, alg_id};
use sha2::{Digest as _, Sha256, Sha384, Sha512};

use crate::ecdsa::{P256, P384, P521};
use crate::ed25519::Ed25519;
pub use crate::prepared::{prepare, prepare_as_in_wasm};
use crate::rsa::Rsa;

/// This backend with its prepared keys.
pub const BACKEND: Backend = Backend {
    algorithms: ALGORITHMS,
    prepare: Some(prepare),
};

/// All algorithms of this backend. Which of them count is the profile's choice, not made here.
pub static ALGORITHMS: &[&dyn SignatureVerificationAlgorithm] = &[
    &P256(Hash::Sha256),
    &P256(Hash::Sha384),
    &P256(Hash::Sha512),
    &P384(Hash::Sha256),
    &P384(Hash::Sha384),
    &P384(Hash::Sha512),
    &P521(Hash::Sha256),
    &P521(Hash::Sha384),
    &P521(Hash::Sha512),
    &Rsa::pkcs1(Hash::Sha256, alg_id::RSA_PKCS1_SHA256),
    &Rsa::pkcs1(Hash::Sha384, alg_id::RSA_PKCS1_SHA384),
    &Rsa::pkcs1(Hash::Sha512, alg_id::RSA_PKCS1_SHA512),
    // RFC 4055 section 5: the NULL parameters may be absent, and such certificates exist.
    &Rsa::pkcs1(Hash::Sha256, RSA_PKCS1_SHA256_ABSENT_PARAMETERS),
    &Rsa::pkcs1(Hash::Sha384, RSA_PKCS1_SHA384_ABSENT_PARAMETERS),
    &Rsa::pkcs1(Hash::Sha512, RSA_PKCS1_SHA512_ABSENT_PARAMETERS),
    &Rsa::pss(Hash::Sha256, alg_id::RSA_PSS_SHA256),
    &Rsa::pss(Hash::Sha384, alg_id::RSA_PSS_SHA384),
    &Rsa::pss(Hash::Sha512, alg_id::RSA_PSS_SHA512),
    &Ed25519,
];

const RSA_PKCS1_SHA256_ABSENT_PARAMETERS: AlgorithmIdentifier = AlgorithmIdentifier::from_slice(&[
    0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b,
]);
const RSA_PKCS1_SHA384_ABSENT_PARAMETERS: AlgorithmIdentifier = AlgorithmIdentifier::from_slice(&[
    0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0c,
]);
const RSA_PKCS1_SHA512_ABSENT_PARAMETERS: AlgorithmIdentifier = AlgorithmIdentifier::from_slice(&[
    0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0d,
]);

/// The message digests that are strong enough to be offered at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

impl Hash {
    const ALL: [Self; 3] = [Self::Sha256, Self::Sha384, Self::Sha512];

    fn digest(self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha256 => Sha256::digest(message).to_vec(),
            Self::Sha384 => Sha384::digest(message).to_vec(),
            Self::Sha512 => Sha512::digest(message).to_vec(),
        }
    }
}
