//! The pure-Rust backend with its prepared keys, behind the same trait as every other.

use std::sync::LazyLock;

use mtls_gate_core::path::Algorithms;
use rustls::pki_types::{AlgorithmIdentifier, InvalidSignature, SignatureVerificationAlgorithm};

/// Makes the key ready, and is the plain algorithm where that is not possible.
#[derive(Debug)]
struct Prepared(&'static dyn SignatureVerificationAlgorithm);

impl SignatureVerificationAlgorithm for Prepared {
    fn verify_signature(
        &self,
        public_key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), InvalidSignature> {
        let algorithm = self.signature_alg_id();
        mtls_gate_rustcrypto::prepare(self.public_key_alg_id().as_ref(), public_key)
            .and_then(|key| key.verify(algorithm.as_ref(), message, signature))
            .unwrap_or_else(|| self.0.verify_signature(public_key, message, signature))
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        self.0.public_key_alg_id()
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        self.0.signature_alg_id()
    }
}

pub(super) fn algorithms() -> Algorithms {
    static ALL: LazyLock<Vec<Prepared>> = LazyLock::new(|| {
        let plain = mtls_gate_rustcrypto::ALGORITHMS.iter();
        plain.map(|algorithm| Prepared(*algorithm)).collect()
    });
    static REFERENCES: LazyLock<Vec<&'static dyn SignatureVerificationAlgorithm>> =
        LazyLock::new(|| {
            let as_dyn =
                |one: &'static Prepared| -> &'static dyn SignatureVerificationAlgorithm { one };
            ALL.iter().map(as_dyn).collect()
        });
    &REFERENCES
}
