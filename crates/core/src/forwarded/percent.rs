//! Percent-encoding (RFC 3986 section 2.1), in either case of letters. `+` is itself: Envoy, AWS and
//! Apache write it so, and a decoder of forms would make a blank of it.

use std::borrow::Cow;

use super::scan;

/// Decodes; `None` where `%` is without two hexadecimal digits behind it.
pub(super) fn decode(value: &[u8]) -> Option<Cow<'_, [u8]>> {
    let Some(first) = next(value) else {
        return Some(Cow::Borrowed(value));
    };
    let mut decoded = Vec::with_capacity(value.len());
    let mut rest = value;
    let mut found = Some(first);
    while let Some(at) = found {
        let (plain, encoded) = rest.split_at_checked(at)?;
        let (&[_, high, low], behind) = encoded.split_first_chunk()?;
        decoded.extend(plain);
        decoded.push((hex_digit(high)? << 4) | hex_digit(low)?);
        rest = behind;
        found = next(rest);
    }
    decoded.extend(rest);
    Some(Cow::Owned(decoded))
}

fn next(text: &[u8]) -> Option<usize> {
    scan::find(text, |word| scan::equal(word, b'%'))
}

fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte)
        .to_digit(16)
        .and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_once_and_completely() {
        for (text, expected) in [
            ("a+b", Some("a+b")),
            ("a%2Bb%2fc", Some("a+b/c")),
            ("%2541", Some("%41")),
            ("a%", None),
            ("a%4", None),
            ("a%4g", None),
        ] {
            let decoded = decode(text.as_bytes());
            assert_eq!(decoded.as_deref(), expected.map(str::as_bytes), "{text}");
        }
    }
}
