//! Private keys, in whatever form they are pasted. They are refused before anything is done with
//! what holds them.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use mtls_gate_resources::private_key;

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

/// What OpenSSH's own format begins with.
const OPENSSH: &[u8] = b"openssh-key-v1";
/// Characters of base64 that are looked at: the label of a PEM block in them is decoded whole.
const LOOKED_AT: usize = 96;
/// Fewer hold no key.
const FEWEST: usize = 32;

/// The first line that holds a private key, from 1.
#[must_use]
pub(crate) fn in_text(text: &str) -> Option<usize> {
    private_key::lines(text)
        .next()
        .or_else(|| labelled(text))
        .or_else(|| bare(text))
        .or_else(|| is_jwk(text).then_some(1))
}

/// DER of a private key, or of a container for one: PKCS#8 (RFC 5208), encrypted or not, PKCS#1
/// (RFC 8017), SEC1 (RFC 5915) and PKCS#12 (RFC 7292). A certificate begins otherwise. The first 32
/// octets tell.
#[must_use]
pub(crate) fn in_der(der: &[u8]) -> bool {
    if der.starts_with(OPENSSH) {
        return true;
    }
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
        // 0x80: of indefinite length (BER), as some write PKCS#12.
        0..=0x80 => Some(rest),
        0x81..=0x84 => rest.get(usize::from(length & 0x7f)..),
        _ => None,
    }
}

/// A label at the begin or at the end of a block, however its words are parted.
fn labelled(text: &str) -> Option<usize> {
    let is_marked = |text: &str| {
        let mut text = text.to_ascii_uppercase();
        text.retain(|character| !character.is_whitespace() && character != '+');
        text.replace("%20", "").contains("PRIVATEKEY-----")
    };
    if !is_marked(text) && !text.contains(PUTTY) {
        return None;
    }
    let has_word = |line: &str| line.to_ascii_uppercase().contains("PRIVATE");
    let lines = || (1_usize..).zip(text.lines());
    let found = lines().find(|(_, line)| is_marked(line) || line.starts_with(PUTTY));
    let found = found.or_else(|| lines().find(|(_, line)| has_word(line)));
    Some(found.map_or(1, |(number, _)| number))
}

/// RFC 7517: a JSON Web Key with its private part, in JSON or YAML.
fn is_jwk(text: &str) -> bool {
    let is_d = |line: &str| line.trim_start().starts_with("d:");
    text.contains("kty")
        && (text.contains("\"d\"") || text.contains("'d'") || text.lines().any(is_d))
}

/// Base64 of a key, wherever a word or a line begins. By chance a certificate's line looks like that
/// once in a thousand millions.
fn bare(text: &str) -> Option<usize> {
    let mut number = 1_usize;
    let mut begins = true;
    for (at, byte) in text.bytes().enumerate() {
        if begins && is_base64(byte) && is_key_from(text.as_bytes().get(at..)?) {
            return Some(number);
        }
        number = number.saturating_add(usize::from(byte == b'\n'));
        begins = !byte.is_ascii_alphanumeric() && !matches!(byte, b'+' | b'/');
    }
    None
}

fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_')
}

/// Base64 in either alphabet, on one line or several.
fn is_key_from(text: &[u8]) -> bool {
    let characters = text.iter().filter(|byte| !byte.is_ascii_whitespace());
    let run: Vec<u8> = characters
        .take_while(|byte| is_base64(**byte))
        .take(LOOKED_AT)
        .map(|byte| match byte {
            b'-' => b'+',
            b'_' => b'/',
            other => *other,
        })
        .collect();
    // Whole groups of four.
    let whole = run.len() & !3;
    let decoded = run
        .get(..whole)
        .filter(|run| run.len() >= FEWEST)
        .and_then(|run| LENIENT.decode(run).ok());
    decoded.is_some_and(|octets| {
        in_der(&octets) || core::str::from_utf8(&octets).is_ok_and(|text| labelled(text).is_some())
    })
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
            let wrapped: Vec<&str> = (0..bare.len())
                .step_by(20)
                .map(|at| &bare[at..bare.len().min(at + 20)])
                .collect();
            for text in [
                format!("TLS_KEY={bare}"),
                format!("\t{bare}"),
                format!("[{bare}]"),
                format!(
                    "{{\"key\":\"{bare}\",\"cert\":\"{}\"}}",
                    STANDARD.encode(der(CERTIFICATE))
                ),
                format!("-----BEGIN CERTIFICATE-----{bare}-----END CERTIFICATE-----"),
                format!("-----BEGIN CERTIFICATE-----\n{bare}\n-----END CERTIFICATE-----"),
                wrapped.join("\n"),
                wrapped.join("\r\n  "),
            ] {
                assert!(in_text(&text).is_some(), "{text}");
            }
            // As in a Secret of Kubernetes.
            let pem =
                format!("-----BEGIN EC PRIVATE KEY-----\n{bare}\n-----END EC PRIVATE KEY-----\n");
            assert_eq!(
                in_text(&format!("a: b\ntls.key: {}", STANDARD.encode(pem))),
                Some(2)
            );
        }
        assert!(in_der(&der(&[0x30, 0x80, 2, 1, 3, 0x30, 0x80])));
        assert_eq!(in_text(&STANDARD.encode(der(b"openssh-key-v1\0"))), Some(1));
        for text in [
            "-----BEGIN PRIVATE KEY-----",
            "x\n-----BEGIN EC PRIVATE KEY-----\n",
            "-----BEGIN ENCRYPTED PRIVATE KEY-----",
            "-----BEGIN OPENSSH PRIVATE KEY-----",
            "-----BEGIN%20RSA%20PRIVATE%20KEY-----%0AMII",
            "-----begin private key----- -----BEGIN",
            "-----BEGIN PRIVATE\u{a0}KEY-----",
            "-----BEGIN PRIVATE  KEY-----",
            "-----BEGIN\nPRIVATE KEY-----\n",
            "bm90aGluZw==\n-----END PRIVATE KEY-----",
            "{'kty': 'EC', 'd': 'x'}",
            "kty: EC\nd: x\n",
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
        let body = STANDARD.encode(der(CERTIFICATE));
        let block = format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n");
        assert_eq!(in_text(&block), None);
        assert_eq!(
            in_text("# the private key is elsewhere\nkty: is a word\n"),
            None
        );
        assert_eq!(in_text(""), None);
        assert_eq!(in_text("-----BEGIN PUBLIC KEY-----\nMII\n"), None);
    }
}
