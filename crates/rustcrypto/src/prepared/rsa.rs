//! RSASSA-PKCS1-v1_5 (RFC 8017 8.2.2) with the modulus' Montgomery parameters at hand.

use core::fmt;
use std::sync::Arc;

use crypto_bigint::modular::{FixedMontyForm, FixedMontyParams};
use crypto_bigint::{Odd, Uint};
use mtls_gate_core::path::PreparedKey;
use rsa::BoxedUint;
use rsa::RsaPublicKey;
use rsa::pkcs1::DecodeRsaPublicKey as _;
use rsa::traits::PublicKeyParts as _;
use rustls_pki_types::InvalidSignature;

use crate::Hash;
use crate::rsa::{digest_info, pkcs1_hash};

/// F4, the exponent of nearly all keys: 16 squarings and a multiplication.
const EXPONENT: u64 = 65_537;
const SQUARINGS: usize = 16;

/// A key whose modulus fills its limbs.
struct Rsa<const LIMBS: usize> {
    params: FixedMontyParams<LIMBS>,
}

/// Makes a key ready, if it is of a usual size with the usual exponent.
pub(super) fn prepared(key_bits: &[u8]) -> Option<Arc<dyn PreparedKey>> {
    let key = RsaPublicKey::from_pkcs1_der(key_bits).ok()?;
    if *key.e() != BoxedUint::from(EXPONENT) {
        return None;
    }
    let modulus = key.n().to_be_bytes();
    let modulus = modulus
        .iter()
        .position(|byte| *byte != 0)
        .and_then(|at| modulus.get(at..))?;
    match modulus.len() {
        256 => Rsa::<{ limbs(256) }>::of(modulus),
        384 => Rsa::<{ limbs(384) }>::of(modulus),
        512 => Rsa::<{ limbs(512) }>::of(modulus),
        _ => None,
    }
}

#[allow(clippy::arithmetic_side_effects)] // by a constant, when this is compiled
const fn limbs(bytes: usize) -> usize {
    bytes / size_of::<crypto_bigint::Limb>()
}

impl<const LIMBS: usize> Rsa<LIMBS> {
    fn of(modulus: &[u8]) -> Option<Arc<dyn PreparedKey>> {
        let modulus = Odd::new(Uint::from_be_slice(modulus)).into_option()?;
        let params = FixedMontyParams::new_vartime(modulus);
        Some(Arc::new(Self { params }))
    }

    fn verify_hashed(&self, hash: Hash, digest: &[u8], signature: &[u8]) -> Option<()> {
        let length = Uint::<LIMBS>::BYTES;
        // 8.2.2 step 1
        if signature.len() != length {
            return None;
        }
        // 5.2.2 step 1: the representative lies below the modulus.
        let representative = Uint::<LIMBS>::from_be_slice(signature);
        if representative >= *self.params.modulus().as_ref() {
            return None;
        }
        let base = FixedMontyForm::new(&representative, &self.params);
        let mut power = base;
        for _ in 0..SQUARINGS {
            power = power.square();
        }
        let message = power.mul(&base).retrieve();
        // 9.2, made anew and compared as a whole.
        let info = digest_info(hash);
        let padding = length
            .checked_sub(info.len())?
            .checked_sub(digest.len())?
            .checked_sub(3)?;
        let mut expected = Vec::with_capacity(length);
        expected.extend([0, 1]);
        expected.resize(padding.checked_add(2)?, 0xff);
        expected.push(0);
        expected.extend(info);
        expected.extend(digest);
        (message == Uint::from_be_slice(&expected)).then_some(())
    }
}

impl<const LIMBS: usize> PreparedKey for Rsa<LIMBS> {
    fn verify(
        &self,
        algorithm_id: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Option<Result<(), InvalidSignature>> {
        let hash = pkcs1_hash(algorithm_id)?;
        let digest = hash.digest(message);
        let verified = self.verify_hashed(hash, &digest, signature);
        Some(verified.ok_or(InvalidSignature))
    }

    fn bytes(&self) -> usize {
        size_of::<Self>()
    }
}

impl<const LIMBS: usize> fmt::Debug for Rsa<LIMBS> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rsa{}", Uint::<LIMBS>::BITS)
    }
}
