//! RSASSA-PKCS1-v1_5 (RFC 8017 8.2.2) with the modulus' Montgomery parameters at hand.

use core::fmt;
use std::sync::Arc;

use crypto_bigint::modular::{BoxedMontyForm, BoxedMontyParams};
use crypto_bigint::{BoxedUint, Odd};
use mtls_gate_core::path::PreparedKey;
use rsa::RsaPublicKey;
use rsa::pkcs1::DecodeRsaPublicKey as _;
use rsa::traits::PublicKeyParts as _;
use rustls_pki_types::InvalidSignature;

use crate::Hash;
use crate::rsa::{digest_info, pkcs1_hash};

/// F4, the exponent of nearly all keys: 16 squarings and a multiplication.
const EXPONENT: u64 = 65_537;
const SQUARINGS: usize = 16;

/// A key of any size that the profiles take.
struct Rsa {
    params: BoxedMontyParams,
}

/// Makes a key ready, if it has the usual exponent.
pub(super) fn prepared(key_bits: &[u8]) -> Option<Arc<dyn PreparedKey>> {
    let key = RsaPublicKey::from_pkcs1_der(key_bits).ok()?;
    if *key.e() != BoxedUint::from(EXPONENT) {
        return None;
    }
    let modulus = Odd::new(key.n().as_ref().clone()).into_option()?;
    let params = BoxedMontyParams::new_vartime(modulus);
    Some(Arc::new(Rsa { params }))
}

impl Rsa {
    fn verify_hashed(&self, hash: Hash, digest: &[u8], signature: &[u8]) -> Option<()> {
        let modulus: &BoxedUint = self.params.modulus().as_ref();
        let length = usize::try_from(modulus.bits_vartime().div_ceil(8)).ok()?;
        // 8.2.2 step 1
        if signature.len() != length {
            return None;
        }
        // 5.2.2 step 1: the representative lies below the modulus.
        let precision = modulus.bits_precision();
        let representative = BoxedUint::from_be_slice(signature, precision).ok()?;
        if representative >= *modulus {
            return None;
        }
        let base = BoxedMontyForm::new(representative, &self.params);
        let mut power = base.clone();
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
        // 9.2 step 3: at least eight octets of padding.
        if padding < 8 {
            return None;
        }
        let mut expected = Vec::with_capacity(length);
        expected.extend([0, 1]);
        expected.resize(padding.checked_add(2)?, 0xff);
        expected.push(0);
        expected.extend(info);
        expected.extend(digest);
        (message == BoxedUint::from_be_slice(&expected, precision).ok()?).then_some(())
    }
}

impl PreparedKey for Rsa {
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

    /// The modulus and two powers of the Montgomery radix.
    fn bytes(&self) -> usize {
        let modulus: &BoxedUint = self.params.modulus().as_ref();
        size_of_val(modulus.as_limbs())
            .saturating_mul(3)
            .saturating_add(size_of::<Self>())
    }
}

impl fmt::Debug for Rsa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rsa{}", self.params.bits_precision())
    }
}
