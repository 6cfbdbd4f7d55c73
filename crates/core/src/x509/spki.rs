//! Public keys: which kind, how large (RFC 3279, RFC 5480, RFC 8410).

use super::der::{self, NotDer, Reader, tag};
use super::oid::key;

/// What kind of key a certificate holds, as policies ask for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// RSA, with the modulus' size in bits.
    Rsa {
        /// Bits of the modulus, leading zeros not counted.
        modulus_bits: usize,
    },
    /// RSA restricted to RSASSA-PSS by its key identifier (RFC 4055), with the modulus' size.
    RsaPss {
        /// Bits of the modulus, leading zeros not counted.
        modulus_bits: usize,
    },
    /// An elliptic curve key on a named curve.
    Ec(EcCurve),
    /// Ed25519.
    Ed25519,
    /// Any other algorithm.
    Other,
}

/// Named curves (RFC 5480 2.1.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EcCurve {
    /// secp256r1
    P256,
    /// secp384r1
    P384,
    /// secp521r1
    P521,
    /// Another curve, or one that is not named.
    Other,
}

/// Reads the kind from the AlgorithmIdentifier's content and the key's bits.
pub(super) fn key_kind(algorithm: &[u8], key_bits: &[u8]) -> Result<KeyKind, NotDer> {
    let mut reader = Reader::new(algorithm);
    let oid = reader.require(tag::OID)?;
    match oid.content {
        key::RSA_ENCRYPTION => Ok(KeyKind::Rsa {
            modulus_bits: modulus_bits(key_bits)?,
        }),
        key::RSASSA_PSS => Ok(KeyKind::RsaPss {
            modulus_bits: modulus_bits(key_bits)?,
        }),
        key::EC_PUBLIC_KEY => {
            // RFC 5480 2.1.1: a named curve; explicit parameters are another curve here.
            let named = reader.optional(tag::OID)?;
            if named.is_some() {
                reader.end()?;
            }
            let curve = match named.map(|curve| curve.content) {
                Some(key::P256) => EcCurve::P256,
                Some(key::P384) => EcCurve::P384,
                Some(key::P521) => EcCurve::P521,
                _ => EcCurve::Other,
            };
            Ok(KeyKind::Ec(curve))
        }
        key::ED25519 => Ok(KeyKind::Ed25519),
        _ => Ok(KeyKind::Other),
    }
}

/// RFC 8017 A.1.1: RSAPublicKey ::= SEQUENCE { modulus INTEGER, publicExponent INTEGER }
fn modulus_bits(key_bits: &[u8]) -> Result<usize, NotDer> {
    let mut outer = Reader::new(key_bits);
    let mut key = outer.require(tag::SEQUENCE)?.reader();
    outer.end()?;
    let modulus = positive_odd(key.require(tag::INTEGER)?.content)?;
    let exponent = positive_odd(key.require(tag::INTEGER)?.content)?;
    key.end()?;
    // RFC 8017 3.1: e is at least 3.
    let (&[first, ..], false) = (modulus, exponent == [1]) else {
        return Err(NotDer);
    };
    let leading = usize::try_from(first.leading_zeros()).map_err(|_| NotDer)?;
    Ok(modulus.len().saturating_mul(8).saturating_sub(leading))
}

/// The octets of a positive, odd INTEGER in its shortest form, without a sign octet. RSA has no
/// other moduli and exponents, and a padded modulus must not pass for a large one.
fn positive_odd(content: &[u8]) -> Result<&[u8], NotDer> {
    let positive = content.first().is_some_and(|first| first & 0x80 == 0);
    let odd = content.last().is_some_and(|last| last & 1 == 1);
    if positive && odd && der::is_shortest_integer(content) {
        Ok(content.strip_prefix(&[0]).unwrap_or(content))
    } else {
        Err(NotDer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padded_and_even_numbers_are_no_rsa_key() {
        let key = |modulus: &[u8], exponent: &[u8]| {
            let integer = |content: &[u8]| {
                let mut der = vec![tag::INTEGER, u8::try_from(content.len()).unwrap()];
                der.extend(content);
                der
            };
            let content = [integer(modulus), integer(exponent)].concat();
            let mut der = vec![tag::SEQUENCE, u8::try_from(content.len()).unwrap()];
            der.extend(content);
            modulus_bits(&der)
        };
        assert_eq!(key(&[0x00, 0x81], &[3]), Ok(8));
        assert_eq!(key(&[0x71, 0x01], &[1, 0, 1]), Ok(15));
        for (modulus, exponent) in [
            (&[0x00, 0x71][..], &[3][..]),
            (&[0x00, 0x00, 0x81], &[3]),
            (&[0x81], &[3]),
            (&[0x72], &[3]),
            (&[0x71], &[1]),
            (&[0x71], &[2]),
            (&[0x71], &[0]),
            (&[0x71], &[0, 3]),
            (&[], &[3]),
        ] {
            assert_eq!(
                key(modulus, exponent),
                Err(NotDer),
                "{modulus:?} {exponent:?}"
            );
        }
    }
}
