//! Envoy's `x-forwarded-client-cert`, text form, as this proxy itself wrote it; `xfcc_elements` reads
//! what another proxy forwards.
//!
//! `URI=`, `DNS=` and `By=` are written raw, so a subject alternative name can add pairs and whole
//! elements. The pairs that matter here, `Cert=` and `Chain=`, are quoted, percent-encoded and
//! written before anything that a client chooses; the first of each is Envoy's own.

use std::borrow::Cow;

use super::{percent, scan};

/// A value that is not closed or not percent-encoded as Envoy does it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// The value of the first pair with this key, percent-decoded. Keys are compared without case.
///
/// # Errors
/// The pair is there but its value cannot be decoded.
pub fn first_value(header: &[u8], key: &str) -> Result<Option<Vec<u8>>, Malformed> {
    let mut rest = header;
    while !rest.is_empty() {
        let (pair, after) = split_pair(rest);
        rest = after;
        let Some(equals) = pair.iter().position(|&byte| byte == b'=') else {
            continue;
        };
        let (name, value) = pair.split_at(equals);
        if !name.trim_ascii().eq_ignore_ascii_case(key.as_bytes()) {
            continue;
        }
        let value = unquote(value.get(1..).unwrap_or_default())?;
        let decoded = percent::decode(&value).ok_or(Malformed)?;
        return Ok(Some(decoded.into_owned()));
    }
    Ok(None)
}

/// Splits at the first `;` or `,` that is not inside quotes. A quote that is never closed swallows
/// the rest.
fn split_pair(text: &[u8]) -> (&[u8], &[u8]) {
    let mut quoted = false;
    let mut at = 0_usize;
    while let Some(rest) = text.get(at..) {
        let found = if quoted {
            scan::find(rest, |word| {
                scan::equal(word, b'"') | scan::equal(word, b'\\')
            })
        } else {
            scan::find(rest, |word| {
                scan::equal(word, b'"') | scan::equal(word, b';') | scan::equal(word, b',')
            })
        };
        let Some(found) = found else { break };
        let index = at.saturating_add(found);
        at = index.saturating_add(1);
        match rest.get(found) {
            Some(b'"') => quoted = !quoted,
            // What it escapes is no syntax.
            Some(b'\\') => at = at.saturating_add(1),
            _ => {
                let (pair, separator_on) = text.split_at(index);
                return (pair, separator_on.get(1..).unwrap_or_default());
            }
        }
    }
    (text, &[])
}

/// Takes the quotes off; inside them only `\"` and `\\` are escapes.
fn unquote(value: &[u8]) -> Result<Cow<'_, [u8]>, Malformed> {
    let value = value.trim_ascii();
    let Some(inner) = value.strip_prefix(b"\"") else {
        return if value.contains(&b'"') {
            Err(Malformed)
        } else {
            Ok(Cow::Borrowed(value))
        };
    };
    let inner = inner.strip_suffix(b"\"").ok_or(Malformed)?;
    let is_syntax = |word| scan::equal(word, b'"') | scan::equal(word, b'\\');
    if scan::find(inner, is_syntax).is_none() {
        return Ok(Cow::Borrowed(inner));
    }
    let mut unescaped = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        match (byte, bytes.peek()) {
            (b'\\', Some(&escaped @ (b'"' | b'\\'))) => {
                unescaped.push(escaped);
                bytes.next();
            }
            (b'"', _) | (b'\\', None) => return Err(Malformed),
            _ => unescaped.push(byte),
        }
    }
    Ok(Cow::Owned(unescaped))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(header: &str) -> Result<Option<String>, Malformed> {
        first_value(header.as_bytes(), "Chain")
            .map(|value| value.map(|bytes| String::from_utf8(bytes).unwrap()))
    }

    #[test]
    fn finds_the_first_pair_only() {
        assert_eq!(chain(""), Ok(None));
        assert_eq!(chain("Hash=00;Subject=\"CN=x\""), Ok(None));
        assert_eq!(
            chain("Hash=00;Chain=\"a%0Ab+c\""),
            Ok(Some("a\nb+c".into()))
        );
        assert_eq!(chain("Hash=00;chain=ab"), Ok(Some("ab".into())));
        assert_eq!(
            chain("Chain=\"real\";URI=spiffe://a/b,By=x;Chain=\"forged\""),
            Ok(Some("real".into()))
        );
    }

    #[test]
    fn quotes_hide_separators() {
        assert_eq!(
            chain("Subject=\"\\\"; Chain=x\";Chain=y"),
            Ok(Some("y".into()))
        );
        assert_eq!(chain("Subject=\"a;Chain=x\""), Ok(None));
        assert_eq!(chain("Hash=\"aa,Chain=\"x\""), Ok(None));
    }

    #[test]
    fn broken_values_are_not_missing() {
        for header in [
            "Chain=\"a",
            "Chain=\"a%4\"",
            "Chain=\"a%zz\"",
            "Chain=a\"b",
            "Chain=\"a\"b\"",
        ] {
            assert_eq!(chain(header), Err(Malformed), "{header}");
        }
    }
}
