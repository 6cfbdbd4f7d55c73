//! The pure-Rust backend with its prepared keys, behind the same trait as every other.

use std::sync::{Arc, LazyLock};

use mtls_gate_core::path::{Algorithms, PreparedKey};
use rustls::pki_types::{AlgorithmIdentifier, InvalidSignature, SignatureVerificationAlgorithm};

type Prepare = fn(&[u8], &[u8]) -> Option<Arc<dyn PreparedKey>>;

/// Makes the key ready, and is the plain algorithm where that is not possible.
#[derive(Debug)]
struct Prepared {
    prepare: Prepare,
    plain: &'static dyn SignatureVerificationAlgorithm,
}

impl SignatureVerificationAlgorithm for Prepared {
    fn verify_signature(
        &self,
        public_key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), InvalidSignature> {
        let algorithm = self.signature_alg_id();
        (self.prepare)(self.public_key_alg_id().as_ref(), public_key)
            .and_then(|key| key.verify(algorithm.as_ref(), message, signature))
            .unwrap_or_else(|| self.plain.verify_signature(public_key, message, signature))
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        self.plain.public_key_alg_id()
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        self.plain.signature_alg_id()
    }
}

fn with(prepare: Prepare) -> Vec<&'static dyn SignatureVerificationAlgorithm> {
    let plain = mtls_gate_rustcrypto::ALGORITHMS.iter();
    let prepared = plain.map(|plain| -> &'static dyn SignatureVerificationAlgorithm {
        // Once in a process.
        Box::leak(Box::new(Prepared {
            prepare,
            plain: *plain,
        }))
    });
    prepared.collect()
}

pub(super) fn algorithms() -> Algorithms {
    static ALL: LazyLock<Vec<&'static dyn SignatureVerificationAlgorithm>> =
        LazyLock::new(|| with(mtls_gate_rustcrypto::prepare));
    &ALL
}

pub(super) fn algorithms_as_in_wasm() -> Algorithms {
    static ALL: LazyLock<Vec<&'static dyn SignatureVerificationAlgorithm>> =
        LazyLock::new(|| with(mtls_gate_rustcrypto::prepare_as_in_wasm));
    &ALL
}
