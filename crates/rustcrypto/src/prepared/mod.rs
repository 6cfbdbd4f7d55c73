//! Public keys made ready for many verifications.
//!
//! An issuer's key verifies the signatures of all its end entities. What depends on the key alone is
//! worked out once: multiples of a point, parameters of a modulus. All of it is public, so that
//! nothing here needs to take the same time for all values.

mod ecdsa;
mod rsa;

use std::sync::Arc;

use mtls_gate_core::path::PreparedKey;
use rustls_pki_types::alg_id;

/// Makes ready what gains by it: keys on P-256 and P-384, RSA keys of usual sizes with the usual
/// exponent.
#[must_use]
pub fn prepare(key_algorithm: &[u8], key_bits: &[u8]) -> Option<Arc<dyn PreparedKey>> {
    let is = |algorithm: rustls_pki_types::AlgorithmIdentifier| algorithm.as_ref() == key_algorithm;
    if is(alg_id::ECDSA_P256) {
        ecdsa::p256(key_bits)
    } else if is(alg_id::ECDSA_P384) {
        ecdsa::p384(key_bits)
    } else if is(alg_id::RSA_ENCRYPTION) {
        rsa::prepared(key_bits)
    } else {
        None
    }
}
