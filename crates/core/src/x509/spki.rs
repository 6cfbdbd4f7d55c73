//! Public keys: which kind, how large (RFC 3279, RFC 5480, RFC 8410).

use super::der::{NotDer, Reader, tag};
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
    let oid = reader.expect(tag::OID)?;
    match oid.content {
        key::RSA_ENCRYPTION => Ok(KeyKind::Rsa {
            modulus_bits: modulus_bits(key_bits)?,
        }),
        key::RSASSA_PSS => Ok(KeyKind::RsaPss {
            modulus_bits: modulus_bits(key_bits)?,
        }),
        key::EC_PUBLIC_KEY => {
            let curve = match reader.optional(tag::OID)?.map(|curve| curve.content) {
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
    let mut key = outer.expect(tag::SEQUENCE)?.reader();
    outer.end()?;
    let modulus = key.expect(tag::INTEGER)?.content;
    key.expect(tag::INTEGER)?;
    key.end()?;
    let significant = modulus.strip_prefix(&[0]).unwrap_or(modulus);
    let Some(&first) = significant.first() else {
        return Err(NotDer);
    };
    let leading = usize::try_from(first.leading_zeros()).map_err(|_| NotDer)?;
    Ok(significant.len().saturating_mul(8).saturating_sub(leading))
}
