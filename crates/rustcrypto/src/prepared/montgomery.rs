//! Powers modulo an odd number, by Montgomery's multiplication ("Modular multiplication without trial
//! division", 1985).
//!
//! WebAssembly multiplies 64 bits by 64, keeps 64 and has no carry. So a limb is small enough that the
//! products which belong to one power of the base are summed as they are; carries are looked at once per
//! multiplication.
#![allow(clippy::arithmetic_side_effects)] // no sum overflows: see the columns below

use crypto_bigint::{BoxedUint, Odd};

use super::rsa::Modulus;

/// Bits of a limb.
const BITS: u32 = 27;
const MASK: u64 = (1 << BITS) - 1;
/// As many as a modulus of 8,192 bits has, the largest that the rsa crate takes.
const MAX_LIMBS: u64 = 304;

/// What a column holds at most, and if that was no `u64`, this would not compile: as many products as
/// there are limbs from the multiplication (a square's doubled ones count twice), as many from the
/// reduction, and the carry from the column below.
const _: u64 = 2 * MAX_LIMBS * MASK * MASK + (u64::MAX >> BITS);

/// An odd modulus n. With k limbs, R is 2^(27 k).
pub(super) struct Montgomery {
    /// The least significant first, each below 2^27. 2 n is at most R.
    limbs: Vec<u32>,
    /// -1/n modulo 2^27.
    negative_inverse: u64,
    /// R^2 modulo n.
    r_squared: Residue,
}

/// A number below the modulus, in as many limbs.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Residue(Vec<u32>);

impl Modulus for Montgomery {
    type Residue = Residue;

    fn new(modulus: Odd<BoxedUint>) -> Option<Self> {
        let count = modulus.bits_vartime().checked_add(1)?.div_ceil(BITS);
        if u64::from(count) > MAX_LIMBS {
            return None;
        }
        let r_squared_bits = 2 * BITS * count;
        let r_squared = BoxedUint::one_with_precision(r_squared_bits + 1)
            .shl_vartime(r_squared_bits)?
            .rem_vartime(modulus.as_nz_ref());
        let count = usize::try_from(count).ok()?;
        let limbs = limbs(&modulus.to_be_bytes(), count)?;
        let lowest = u64::from(*limbs.first()?);
        // An odd number is its own inverse modulo 8; each step doubles the bits that are right.
        let mut inverse = lowest;
        for _ in 0..4 {
            inverse = inverse.wrapping_mul(2_u64.wrapping_sub(lowest.wrapping_mul(inverse)));
        }
        let mut modulus = Self {
            limbs,
            negative_inverse: inverse.wrapping_neg() & MASK,
            r_squared: Residue(Vec::new()),
        };
        modulus.r_squared = modulus.residue(&r_squared.to_be_bytes())?;
        Some(modulus)
    }

    fn residue(&self, big_endian: &[u8]) -> Option<Residue> {
        let limbs = limbs(big_endian, self.limbs.len())?;
        is_below(&limbs, &self.limbs).then_some(Residue(limbs))
    }

    fn power(&self, base: &Residue, squarings: usize) -> Option<Residue> {
        let mut columns = vec![0; 2 * self.limbs.len()];
        let mut power = base.clone();
        add_product(&mut columns, &power, &self.r_squared)?;
        self.reduce(&mut columns, &mut power)?;
        for _ in 0..squarings {
            add_square(&mut columns, &power)?;
            self.reduce(&mut columns, &mut power)?;
        }
        // One factor without R takes it away from the other.
        add_product(&mut columns, &power, base)?;
        self.reduce(&mut columns, &mut power)?;
        Some(power)
    }

    fn bytes(&self) -> usize {
        2 * size_of_val(self.limbs.as_slice())
    }
}

impl Montgomery {
    /// What the columns add up to, divided by R, modulo n. Leaves the columns empty.
    ///
    /// That sum is a product of residues, at most n^2. Fewer than R times n are added to make it a
    /// multiple of R, so that the quotient is below (n^2 + R n) / R, and that is below 2 n.
    fn reduce(&self, columns: &mut [u64], quotient: &mut Residue) -> Option<()> {
        for at in 0..self.limbs.len() {
            let row = columns.get_mut(at..)?;
            let factor = row.first()?.wrapping_mul(self.negative_inverse) & MASK;
            add_multiple(row, factor, &self.limbs);
            let (lowest, above) = row.split_first_mut()?;
            *above.first_mut()? += *lowest >> BITS;
        }
        let mut carry = 0;
        for (limb, column) in quotient.0.iter_mut().zip(columns.get(self.limbs.len()..)?) {
            let sum = *column + carry;
            *limb = low(sum);
            carry = sum >> BITS;
        }
        columns.fill(0);
        if !is_below(&quotient.0, &self.limbs) {
            subtract(&mut quotient.0, &self.limbs);
        }
        // R is at least 2 n, so that nothing is carried out of it.
        (carry == 0).then_some(())
    }
}

/// The bits of a limb.
#[allow(clippy::as_conversions, clippy::cast_possible_truncation)]
fn low(number: u64) -> u32 {
    (number & MASK) as u32
}

/// Exactly `count` limbs, if the number fits.
fn limbs(big_endian: &[u8], count: usize) -> Option<Vec<u32>> {
    let mut limbs = Vec::with_capacity(count + 1);
    let (mut rest, mut bits) = (0_u64, 0);
    for octet in big_endian.iter().rev() {
        rest |= u64::from(*octet) << bits;
        bits += u8::BITS;
        if bits >= BITS {
            limbs.push(low(rest));
            rest >>= BITS;
            bits -= BITS;
        }
    }
    limbs.push(low(rest));
    let fits = limbs.iter().skip(count).all(|limb| *limb == 0);
    limbs.resize(count, 0);
    fits.then_some(limbs)
}

/// Compares numbers of as many limbs.
fn is_below(one: &[u32], other: &[u32]) -> bool {
    one.iter().rev().lt(other.iter().rev())
}

/// Takes `other` from `limbs`, which is not below.
fn subtract(limbs: &mut [u32], other: &[u32]) {
    let mut borrow = 0;
    for (limb, other) in limbs.iter_mut().zip(other) {
        let difference = u64::from(*limb).wrapping_sub(u64::from(*other) + borrow);
        *limb = low(difference);
        borrow = difference >> (u64::BITS - 1);
    }
}

fn add_multiple(columns: &mut [u64], factor: u64, limbs: &[u32]) {
    for (column, limb) in columns.iter_mut().zip(limbs) {
        *column += factor * u64::from(*limb);
    }
}

fn add_product(columns: &mut [u64], one: &Residue, other: &Residue) -> Option<()> {
    for (at, limb) in one.0.iter().enumerate() {
        add_multiple(columns.get_mut(at..)?, u64::from(*limb), &other.0);
    }
    Some(())
}

/// The same of equal factors: the products of two different limbs occur twice, and are made once.
fn add_square(columns: &mut [u64], number: &Residue) -> Option<()> {
    for (at, limb) in number.0.iter().enumerate() {
        let (own, above) = columns.get_mut(2 * at..)?.split_first_mut()?;
        let limb = u64::from(*limb);
        *own += limb * limb;
        add_multiple(above, 2 * limb, number.0.get(at + 1..)?);
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use crypto_bigint::Resize as _;
    use crypto_bigint::modular::{BoxedMontyForm, BoxedMontyParams};

    use super::*;

    /// Octets without a pattern, the same in each run.
    struct Octets(u64);

    impl Octets {
        fn take(&mut self, count: usize) -> Vec<u8> {
            let octets = (0..count).map(|_| {
                // xorshift64
                self.0 ^= self.0 << 13;
                self.0 ^= self.0 >> 7;
                self.0 ^= self.0 << 17;
                self.0.to_be_bytes()[0]
            });
            octets.collect()
        }
    }

    fn number(big_endian: &[u8]) -> BoxedUint {
        BoxedUint::from_be_slice_vartime(big_endian)
    }

    /// So many bits, the first and the last one set, those between as `fill` makes them.
    fn modulus(bits: usize, fill: impl FnOnce(usize) -> Vec<u8>) -> Odd<BoxedUint> {
        let mut octets = fill(bits.div_ceil(8));
        let top = (bits - 1) % 8;
        octets[0] &= u8::MAX >> (7 - top);
        octets[0] |= 1 << top;
        *octets.last_mut().unwrap() |= 1;
        Odd::new(number(&octets)).unwrap()
    }

    /// All bases, against crypto-bigint.
    fn check(modulus: &Odd<BoxedUint>, octets: &mut Octets) {
        let ready = Montgomery::new(modulus.clone()).unwrap();
        let theirs = BoxedMontyParams::new_vartime(modulus.clone());
        for base in bases(modulus, octets) {
            let residue = ready.residue(&base.to_be_bytes()).unwrap();
            let base = BoxedMontyForm::new(base, &theirs);
            for squarings in [0, 16] {
                let power = ready.power(&residue, squarings).unwrap();
                let exponent = BoxedUint::from((1_u64 << squarings) + 1);
                let expected = base.pow(&exponent).retrieve().to_be_bytes();
                assert!(
                    power == ready.residue(&expected).unwrap(),
                    "{base:?} to the power of {exponent}"
                );
            }
        }
    }

    /// 0, 1, 2, n - 1, n - 2, n / 2, the largest with full limbs, those of a single limb or bit, and some
    /// without a pattern.
    fn bases(modulus: &Odd<BoxedUint>, octets: &mut Octets) -> Vec<BoxedUint> {
        let bits = modulus.bits_vartime();
        let nonzero = modulus.as_nz_ref();
        let precision = modulus.bits_precision();
        let one = BoxedUint::one_with_precision(precision);
        let full = one.shl_vartime(bits - 1).unwrap();
        let mut bases = vec![
            BoxedUint::zero_with_precision(precision),
            one.clone(),
            BoxedUint::from(2_u8),
            modulus.wrapping_sub(&one),
            modulus.wrapping_sub(BoxedUint::from(2_u8)),
            modulus.shr_vartime(1).unwrap(),
            full.wrapping_sub(&one),
            full,
        ];
        for limb in [0, 1, bits / BITS / 2, (bits - 1) / BITS] {
            let limb = BoxedUint::from(MASK)
                .resize_unchecked(precision)
                .shl(BITS * limb);
            bases.push(limb);
        }
        let length = precision.div_ceil(8).try_into().unwrap();
        bases.extend((0..4).map(|_| number(&octets.take(length))));
        bases.iter().map(|base| base.rem_vartime(nonzero)).collect()
    }

    #[test]
    fn powers_are_those_of_crypto_bigint() {
        let mut octets = Octets(6);
        let around = |bits: usize| bits - 2..=bits + 2;
        let limbs = [1, 2, 3, 38, 75, 76, 114, 152].map(|limbs| around(limbs * 27));
        let usual = [1024, 2048, 3072, 4096].map(around);
        let sizes = limbs.into_iter().chain(usual).flatten();
        for bits in sizes.chain([64, 127, 1536, 2041, 2600, 3333, 8190, 8191]) {
            let without_pattern = modulus(bits, |length| octets.take(length));
            let all_ones = modulus(bits, |length| vec![0xff; length]);
            let two_ones = modulus(bits, |length| vec![0; length]);
            for modulus in [without_pattern, all_ones, two_ones] {
                check(&modulus, &mut octets);
            }
        }
    }

    /// Every base, and so every carry and comparison that so few bits can bring about.
    #[test]
    fn powers_of_small_numbers() {
        for modulus in (3..64_u32).step_by(2) {
            let ready = Montgomery::new(Odd::new(BoxedUint::from(modulus)).unwrap()).unwrap();
            for base in 0..modulus {
                let residue = ready.residue(&base.to_be_bytes()).unwrap();
                let cube = base.pow(3) % modulus;
                let cube = ready.residue(&cube.to_be_bytes()).unwrap();
                assert!(
                    ready.power(&residue, 1).unwrap() == cube,
                    "{base} {modulus}"
                );
            }
        }
    }

    /// Of the largest modulus every limb is full, and so are those of the base: if a column overflowed,
    /// here it would, and tests panic then.
    #[test]
    fn the_largest_modulus() {
        let largest = modulus(8192, |length| vec![0xff; length]);
        check(&largest, &mut Octets(7));
        let larger = modulus(8208, |length| vec![0xff; length]);
        assert!(Montgomery::new(larger).is_none());
    }

    #[test]
    fn residues_are_below_the_modulus() {
        for bits in [26, 27, 28, 53, 54, 55, 1024, 2047, 2048, 2049, 2052] {
            let modulus = modulus(bits, |length| Octets(8).take(length));
            let ready = Montgomery::new(modulus.clone()).unwrap();
            let length = bits.div_ceil(8);
            let octets = |number: &BoxedUint| {
                let octets = number.to_be_bytes();
                octets[octets.len() - length..].to_vec()
            };
            let one = BoxedUint::one_with_precision(modulus.bits_precision());
            let largest = octets(&modulus.wrapping_sub(&one));
            assert!(ready.residue(&largest).is_some());
            assert!(
                ready
                    .residue(&[&[0; 9], largest.as_slice()].concat())
                    .is_some()
            );
            assert!(
                ready
                    .residue(&[&[1; 1], largest.as_slice()].concat())
                    .is_none()
            );
            assert!(ready.residue(&octets(&modulus)).is_none());
            assert!(
                ready
                    .residue(&octets(&modulus.wrapping_add(&one)))
                    .is_none()
            );
            assert!(ready.residue(&vec![0xff; length]).is_none());
            assert!(ready.residue(&vec![0xff; length + 9]).is_none());
            assert!(ready.residue(&[]) == ready.residue(&vec![0; length + 9]));
        }
    }

    #[test]
    fn every_bit_counts() {
        for bits in [54, 1027, 2047, 2048] {
            let modulus = modulus(bits, |length| Octets(9).take(length));
            let ready = Montgomery::new(modulus.clone()).unwrap();
            let number = modulus.shr_vartime(1).unwrap().to_be_bytes();
            let residue = ready.residue(&number).unwrap();
            for bit in 0..8 * number.len() {
                let mut other = number.to_vec();
                other[bit / 8] ^= 1 << (bit % 8);
                assert!(ready.residue(&other) != Some(residue.clone()), "{bit}");
            }
        }
    }
}
