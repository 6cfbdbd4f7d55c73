//! RSASSA-PKCS1-v1_5 (RFC 8017 8.2.2) with what depends on the modulus alone at hand.

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

/// The arithmetic modulo an odd number.
pub(super) trait Modulus: Sized + Send + Sync {
    /// A number below the modulus; each has one form.
    type Residue: PartialEq;

    /// `None` if it is too large.
    fn new(modulus: Odd<BoxedUint>) -> Option<Self>;

    /// The number that these octets are, the most significant first; `None` if it is not below the
    /// modulus.
    fn residue(&self, big_endian: &[u8]) -> Option<Self::Residue>;

    /// The base to the power of 2^`squarings` + 1.
    fn power(&self, base: &Self::Residue, squarings: usize) -> Option<Self::Residue>;

    fn bytes(&self) -> usize;
}

/// A key of any size that the rsa crate takes.
struct Rsa<M> {
    modulus: M,
    /// Of the modulus, and so of a signature.
    octets: usize,
}

/// Makes a key ready, if it has the usual exponent.
pub(super) fn prepared<M: Modulus + 'static>(key_bits: &[u8]) -> Option<Arc<dyn PreparedKey>> {
    let key = RsaPublicKey::from_pkcs1_der(key_bits).ok()?;
    if *key.e() != BoxedUint::from(EXPONENT) {
        return None;
    }
    let modulus = Odd::new(key.n().as_ref().clone()).into_option()?;
    Some(Arc::new(Rsa {
        modulus: M::new(modulus)?,
        octets: key.size(),
    }))
}

impl<M: Modulus> Rsa<M> {
    fn verify_hashed(&self, hash: Hash, digest: &[u8], signature: &[u8]) -> Option<()> {
        // 8.2.2 step 1
        if signature.len() != self.octets {
            return None;
        }
        // 5.2.2 step 1: the representative lies below the modulus.
        let representative = self.modulus.residue(signature)?;
        let message = self.modulus.power(&representative, SQUARINGS)?;
        // 9.2, made anew and compared as a whole.
        let info = digest_info(hash);
        let padding = self
            .octets
            .checked_sub(info.len())?
            .checked_sub(digest.len())?
            .checked_sub(3)?;
        // 9.2 step 3: at least eight octets of padding.
        if padding < 8 {
            return None;
        }
        let mut expected = Vec::with_capacity(self.octets);
        expected.extend([0, 1]);
        expected.resize(padding.checked_add(2)?, 0xff);
        expected.push(0);
        expected.extend(info);
        expected.extend(digest);
        (message == self.modulus.residue(&expected)?).then_some(())
    }
}

impl<M: Modulus> PreparedKey for Rsa<M> {
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
        size_of::<Self>().saturating_add(self.modulus.bytes())
    }
}

impl<M> fmt::Debug for Rsa<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rsa of {} octets", self.octets)
    }
}

/// crypto-bigint's, quick where the product of two words is two words.
impl Modulus for BoxedMontyParams {
    type Residue = BoxedUint;

    fn new(modulus: Odd<BoxedUint>) -> Option<Self> {
        Some(Self::new_vartime(modulus))
    }

    fn residue(&self, big_endian: &[u8]) -> Option<BoxedUint> {
        let modulus: &BoxedUint = self.modulus().as_ref();
        let residue = BoxedUint::from_be_slice(big_endian, modulus.bits_precision()).ok()?;
        (residue < *modulus).then_some(residue)
    }

    fn power(&self, base: &BoxedUint, squarings: usize) -> Option<BoxedUint> {
        let base = BoxedMontyForm::new(base.clone(), self);
        let mut power = base.clone();
        for _ in 0..squarings {
            power = power.square();
        }
        Some(power.mul(&base).retrieve())
    }

    /// The modulus and two powers of the Montgomery radix.
    fn bytes(&self) -> usize {
        size_of_val(self.modulus().as_limbs()).saturating_mul(3)
    }
}
