//! Public keys made ready for many verifications.
//!
//! An issuer's key verifies the signatures of all its end entities. What depends on the key alone is
//! worked out once: multiples of a point, parameters of a modulus. All of it is public, so that
//! nothing here needs to take the same time for all values.

mod ecdsa;
mod montgomery;
mod rsa;

use std::sync::Arc;

use mtls_gate_core::path::PreparedKey;
use rustls_pki_types::alg_id;

/// Makes ready what gains by it: keys on P-256 and P-384, RSA keys of usual sizes with the usual
/// exponent.
#[must_use]
pub fn prepare(key_algorithm: &[u8], key_bits: &[u8]) -> Option<Arc<dyn PreparedKey>> {
    #[cfg(not(target_arch = "wasm32"))]
    let rsa = rsa::prepared::<crypto_bigint::modular::BoxedMontyParams>;
    #[cfg(target_arch = "wasm32")]
    let rsa = rsa::prepared::<montgomery::Montgomery>;
    prepare_with(rsa, key_algorithm, key_bits)
}

/// The same with the arithmetic that [`prepare`] has in wasm, for tests elsewhere.
#[must_use]
pub fn prepare_as_in_wasm(key_algorithm: &[u8], key_bits: &[u8]) -> Option<Arc<dyn PreparedKey>> {
    prepare_with(
        rsa::prepared::<montgomery::Montgomery>,
        key_algorithm,
        key_bits,
    )
}

fn prepare_with(
    rsa: fn(&[u8]) -> Option<Arc<dyn PreparedKey>>,
    key_algorithm: &[u8],
    key_bits: &[u8],
) -> Option<Arc<dyn PreparedKey>> {
    let is = |algorithm: rustls_pki_types::AlgorithmIdentifier| algorithm.as_ref() == key_algorithm;
    if is(alg_id::ECDSA_P256) {
        ecdsa::p256(key_bits)
    } else if is(alg_id::ECDSA_P384) {
        ecdsa::p384(key_bits)
    } else if is(alg_id::RSA_ENCRYPTION) {
        rsa(key_bits)
    } else {
        None
    }
}
