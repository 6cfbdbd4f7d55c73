//! ECDSA (FIPS 186-5 6.4.2) with the multiples of the generator and of the public key at hand, so that
//! no point is ever doubled.
#![allow(clippy::arithmetic_side_effects)] // points and scalars: group and field have no overflow

use core::fmt;
use core::ops::{AddAssign, SubAssign};
use std::sync::{Arc, OnceLock};

use ::p256::elliptic_curve::ff::PrimeField as _;
use ::p256::elliptic_curve::group::{Curve as _, Group as _};
use ::p256::elliptic_curve::ops::Reduce as _;
use ::p256::elliptic_curve::point::AffineCoordinates as _;
use mtls_gate_core::path::PreparedKey;
use rustls_pki_types::InvalidSignature;

use crate::Hash;

/// Bits of a digit.
const WINDOW: usize = 5;
/// Multiples of one power: digits lie between -15 and 16, and the negative ones are subtracted.
const MULTIPLES: usize = 1 << (WINDOW - 1);

/// The multiples 1 to 16 of a point, of 32 times the point, and so on.
struct Multiples<Affine>(Vec<Affine>);

impl<Affine> Multiples<Affine> {
    /// Adds `digits`, the least significant first, times the point.
    fn add_to<Point>(&self, sum: &mut Point, digits: &[i8])
    where
        Point: for<'a> AddAssign<&'a Affine> + for<'a> SubAssign<&'a Affine>,
    {
        for (power, digit) in self.0.chunks(MULTIPLES).zip(digits) {
            let Some(multiple) = usize::from(digit.unsigned_abs())
                .checked_sub(1)
                .and_then(|index| power.get(index))
            else {
                continue;
            };
            if digit.is_positive() {
                *sum += multiple;
            } else {
                *sum -= multiple;
            }
        }
    }
}

/// A number's digits to the base 32 from -15 to 16, the least significant first.
fn digits(big_endian: &[u8]) -> Vec<i8> {
    let bit = |at: usize| {
        let byte = big_endian.iter().rev().nth(at / 8).copied().unwrap_or(0);
        (byte >> (at % 8)) & 1
    };
    let mut carry = 0_i8;
    let windows = digit_count(big_endian.len());
    (0..windows)
        .map(|window| {
            let bits = (0..WINDOW).rev().map(|at| {
                let at = window.saturating_mul(WINDOW).saturating_add(at);
                i8::from(bit(at) == 1)
            });
            let value = bits.fold(0_i8, |value, bit| (value << 1) | bit);
            let value = value.saturating_add(carry);
            carry = i8::from(value > 16);
            value.saturating_sub(carry << WINDOW)
        })
        .collect()
}

/// One bit more than the number has, for the last carry.
fn digit_count(bytes: usize) -> usize {
    bytes.saturating_mul(8).saturating_add(1).div_ceil(WINDOW)
}

macro_rules! curve {
    ($name:ident, $prepare:ident, $krate:ident, $bytes:literal, $doc:literal) => {
        #[doc = $doc]
        struct $name(Multiples<::$krate::AffinePoint>);

        impl Multiples<::$krate::AffinePoint> {
            fn $prepare(mut point: ::$krate::ProjectivePoint) -> Self {
                let powers = digit_count($bytes);
                let mut multiples = Vec::with_capacity(powers.saturating_mul(MULTIPLES));
                for _ in 0..powers {
                    let mut multiple = point;
                    for _ in 1..MULTIPLES {
                        multiples.push(multiple);
                        multiple += &point;
                    }
                    multiples.push(multiple);
                    point = multiple.double();
                }
                let mut affine = vec![::$krate::AffinePoint::IDENTITY; multiples.len()];
                ::$krate::ProjectivePoint::batch_normalize(&multiples, &mut affine);
                Self(affine)
            }
        }

        impl $name {
            fn generator() -> &'static Multiples<::$krate::AffinePoint> {
                static GENERATOR: OnceLock<Multiples<::$krate::AffinePoint>> = OnceLock::new();
                GENERATOR.get_or_init(|| {
                    Multiples::<::$krate::AffinePoint>::$prepare(
                        ::$krate::ProjectivePoint::GENERATOR,
                    )
                })
            }

            fn verify_hashed(&self, digest: &[u8], signature: &[u8]) -> Option<()> {
                let signature = ::$krate::ecdsa::Signature::from_der(signature).ok()?;
                let (r, s) = signature.split_scalars();
                let z = ::$krate::FieldBytes::try_from(digest.get(..$bytes)?).ok()?;
                let z = ::$krate::Scalar::reduce(&z);
                let inverse = Option::<::$krate::Scalar>::from(s.as_ref().invert_vartime())?;
                let mut sum = ::$krate::ProjectivePoint::IDENTITY;
                let of_generator = digits(&(z * inverse).to_repr());
                Self::generator().add_to(&mut sum, &of_generator);
                let of_key = digits(&(*r.as_ref() * inverse).to_repr());
                self.0.add_to(&mut sum, &of_key);
                // The identity has no x; r is never 0.
                let x = ::$krate::Scalar::reduce(&sum.to_affine().x());
                (x == *r.as_ref()).then_some(())
            }
        }

        impl PreparedKey for $name {
            fn verify(
                &self,
                algorithm_id: &[u8],
                message: &[u8],
                signature: &[u8],
            ) -> Option<Result<(), InvalidSignature>> {
                let hash = Hash::ALL
                    .into_iter()
                    .find(|hash| hash.ecdsa_id().as_ref() == algorithm_id)?;
                let digest = hash.digest_at_least(message, $bytes);
                Some(
                    self.verify_hashed(&digest, signature)
                        .ok_or(InvalidSignature),
                )
            }

            fn bytes(&self) -> usize {
                size_of_val(self.0.0.as_slice())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(stringify!($name))
            }
        }

        /// Makes a key ready, if it is one.
        pub(super) fn $prepare(key_bits: &[u8]) -> Option<Arc<dyn PreparedKey>> {
            let key = ::$krate::ecdsa::VerifyingKey::from_sec1_bytes(key_bits).ok()?;
            let point = ::$krate::ProjectivePoint::from(*key.as_affine());
            Some(Arc::new($name(
                Multiples::<::$krate::AffinePoint>::$prepare(point),
            )))
        }
    };
}

curve!(P256, p256, p256, 32, "secp256r1");
curve!(P384, p384, p384, 48, "secp384r1");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_the_number() {
        for number in [
            [0; 4],
            [0xff; 4],
            [0, 0, 0, 16],
            [0, 0, 0, 17],
            [0x84, 0x21, 8, 0x42],
        ] {
            let digits = digits(&number);
            assert!(digits.iter().all(|digit| (-15..=16).contains(digit)));
            let sum = digits
                .iter()
                .rev()
                .fold(0_i64, |sum, digit| sum * 32 + i64::from(*digit));
            assert_eq!(sum, i64::from(u32::from_be_bytes(number)));
        }
    }
}
