//! A backend that computes nothing, so that path building is reached without keys: the algorithms
//! of the real one, and a verdict that the input chooses.

use std::cell::Cell;

use rustls_pki_types::alg_id::*;
use rustls_pki_types::{AlgorithmIdentifier, InvalidSignature, SignatureVerificationAlgorithm};

/// A signature that ends in this octet does not verify, any other does. Without the former the
/// search would never have to go on after an anchor is reached.
pub const WRONG: u8 = 0xff;

thread_local! {
    static VERIFIED: Cell<usize> = const { Cell::new(0) };
}

/// How many signatures were looked at since the last call.
pub fn take_count() -> usize {
    VERIFIED.replace(0)
}

#[derive(Debug)]
struct Accept {
    key: AlgorithmIdentifier,
    signature: AlgorithmIdentifier,
}

impl Accept {
    const fn new(key: AlgorithmIdentifier, signature: AlgorithmIdentifier) -> Self {
        Self { key, signature }
    }
}

impl SignatureVerificationAlgorithm for Accept {
    fn verify_signature(
        &self,
        _public_key: &[u8],
        _message: &[u8],
        signature: &[u8],
    ) -> Result<(), InvalidSignature> {
        VERIFIED.set(VERIFIED.get() + 1);
        if signature.last() == Some(&WRONG) {
            Err(InvalidSignature)
        } else {
            Ok(())
        }
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        self.key
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        self.signature
    }
}

pub static ALGORITHMS: &[&dyn SignatureVerificationAlgorithm] = &[
    &Accept::new(ECDSA_P256, ECDSA_SHA256),
    &Accept::new(ECDSA_P256, ECDSA_SHA384),
    &Accept::new(ECDSA_P256, ECDSA_SHA512),
    &Accept::new(ECDSA_P384, ECDSA_SHA256),
    &Accept::new(ECDSA_P384, ECDSA_SHA384),
    &Accept::new(ECDSA_P384, ECDSA_SHA512),
    &Accept::new(ECDSA_P521, ECDSA_SHA256),
    &Accept::new(ECDSA_P521, ECDSA_SHA384),
    &Accept::new(ECDSA_P521, ECDSA_SHA512),
    &Accept::new(RSA_ENCRYPTION, RSA_PKCS1_SHA256),
    &Accept::new(RSA_ENCRYPTION, RSA_PSS_SHA256),
    &Accept::new(RSA_ENCRYPTION, RSA_PKCS1_SHA384),
    &Accept::new(RSA_ENCRYPTION, RSA_PSS_SHA384),
    &Accept::new(RSA_ENCRYPTION, RSA_PKCS1_SHA512),
    &Accept::new(RSA_ENCRYPTION, RSA_PSS_SHA512),
    &Accept::new(ED25519, ED25519),
];
