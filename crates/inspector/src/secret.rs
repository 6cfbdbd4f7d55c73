//! Private keys, in whatever form they are pasted. They are refused before anything is done with
//! what holds them.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use mtls_gate_resources::private_key;

/// Labels of private keys in a header's value.
const MARKS: [&str; 3] = ["PRIVATE KEY", "PRIVATE%20KEY", "PRIVATE+KEY"];
/// A field of PuTTY's format.
const PUTTY: &str = "Private-Lines:";

/// X.690
const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const OID: u8 = 0x06;
/// RFC 8018 (PKCS#5) and RFC 7292 (PKCS#12): what encrypts private keys.
const ENCRYPTION: [&[u8]; 2] = [
    &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 5],
    &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 12],
];

const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// The first line that holds a private key, from 1.
#[must_use]
pub(crate) fn in_text(text: &str) -> Option<usize> {
    private_key::lines(text)
        .next()
        .or_else(|| in_other_form(text))
        .or_else(|| is_jwk(text).then_some(1))
}

/// DER of a private key, or of a container for one: PKCS#8 (RFC 5208), encrypted or not, PKCS#1
/// (RFC 8017), SEC1 (RFC 5915) and PKCS#12 (RFC 7292). A certificate begins otherwise. The first 32
/// octets tell.
#[must_use]
pub(crate) fn in_der(der: &[u8]) -> bool {
    match inside(der) {
        // A version, where a certificate has its signed part.
        Some([INTEGER, 1, 0..=3, ..]) => true,
        Some(inner) => inside(inner).is_some_and(|algorithm| {
            matches!(algorithm, [OID, _, oid @ ..] if ENCRYPTION.iter().any(|known| oid.starts_with(known)))
        }),
        None => false,
    }
}

/// The content of the SEQUENCE in front, as far as it is there.
fn inside(der: &[u8]) -> Option<&[u8]> {
    let (&[tag, length], rest) = der.split_first_chunk()?;
    if tag != SEQUENCE {
        return None;
    }
    match length {
        0..=0x7f => Some(rest),
        0x81..=0x84 => rest.get(usize::from(length & 0x7f)..),
        _ => None,
    }
}

fn in_other_form(text: &str) -> Option<usize> {
    let mut in_block = false;
    for (number, line) in (1_usize..).zip(text.lines()) {
        let begins = line.contains("-----BEGIN");
        let is_marked = begins && {
            let upper = line.to_ascii_uppercase();
            MARKS.iter().any(|mark| upper.contains(mark))
        };
        // Within a block any octets may come first on a line.
        let is_bare = !in_block && !begins && is_base64_of_key(line);
        if is_marked || is_bare || line.starts_with(PUTTY) || is_jwk(line) {
            return Some(number);
        }
        in_block = (in_block || begins) && !line.contains("-----END");
    }
    None
}

/// RFC 7517: a JSON Web Key with its private part.
fn is_jwk(text: &str) -> bool {
    text.contains("\"kty\"") && text.contains("\"d\"")
}

/// Base64 of DER, without lines around it, with a header's name or quotes before it.
fn is_base64_of_key(line: &str) -> bool {
    let value = line
        .rsplit([' ', ':', '"', '\'', ','])
        .find(|part| part.len() > 32);
    value
        .and_then(|value| value.get(..32))
        .and_then(|start| LENIENT.decode(start).ok())
        .is_some_and(|der| in_der(&der))
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::engine::general_purpose::STANDARD;

    /// The first octets, and as many more as they need to look like something.
    fn der(start: &[u8]) -> Vec<u8> {
        let mut der = start.to_vec();
        der.resize(200, 7);
        der
    }

    const PKCS8: &[u8] = &[0x30, 0x81, 0xc5, 2, 1, 0, 0x30, 0x0d, 6, 9];
    const SEC1: &[u8] = &[0x30, 0x77, 2, 1, 1, 4, 0x20];
    const RSA: &[u8] = &[0x30, 0x82, 4, 0xa4, 2, 1, 0, 2, 0x82];
    const PKCS12: &[u8] = &[0x30, 0x82, 9, 0, 2, 1, 3, 0x30];
    const PBES2: &[u8] = &[
        0x30, 0x81, 0xec, 0x30, 0x57, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 5, 0x0d,
    ];
    const SPKI: &[u8] = &[
        0x30, 0x81, 0x9f, 0x30, 0x0d, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1,
    ];
    const CERTIFICATE: &[u8] = &[0x30, 0x82, 1, 0xa0, 0x30, 0x82, 1, 0x45, 0xa0, 3, 2, 1, 2];

    #[test]
    fn keys_are_known_in_every_form() {
        for key in [PKCS8, SEC1, RSA, PKCS12, PBES2] {
            let key = der(key);
            assert!(in_der(&key), "{key:02x?}");
            let bare = STANDARD.encode(&key);
            assert_eq!(in_text(&bare), Some(1));
            assert_eq!(in_text(&format!("a\nX-Key: {bare}\n")), Some(2));
            assert_eq!(in_text(&format!("Client-Cert: :{bare}:")), Some(1));
        }
        for text in [
            "-----BEGIN PRIVATE KEY-----",
            "x\n-----BEGIN EC PRIVATE KEY-----\n",
            "-----BEGIN ENCRYPTED PRIVATE KEY-----",
            "-----BEGIN OPENSSH PRIVATE KEY-----",
            "-----BEGIN%20RSA%20PRIVATE%20KEY-----%0AMII",
            "-----begin private key----- -----BEGIN",
            "PuTTY-User-Key-File-3: x\nPrivate-Lines: 8\n",
            "{\"kty\":\"EC\",\"d\":\"x\"}",
            "{\n\"kty\": \"EC\",\n\"d\": \"x\"\n}",
        ] {
            assert!(in_text(text).is_some(), "{text}");
        }
    }

    #[test]
    fn what_is_public_is_let_in() {
        for public in [SPKI, CERTIFICATE] {
            let public = der(public);
            assert!(!in_der(&public));
            assert_eq!(in_text(&STANDARD.encode(&public)), None);
        }
        let line = STANDARD.encode(der(PKCS8));
        let block = format!("-----BEGIN CERTIFICATE-----\n{line}\n-----END CERTIFICATE-----\n");
        assert_eq!(in_text(&block), None);
        assert_eq!(in_text(&format!("{block}{line}")), Some(4));
        assert_eq!(in_text(""), None);
        assert_eq!(in_text("-----BEGIN PUBLIC KEY-----\nMII\n"), None);
    }
}
