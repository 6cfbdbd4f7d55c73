//! Envoy's `x-forwarded-client-cert` as another proxy forwards it, text and JSON.
//!
//! ```text
//! xfcc    = element *( "," element )        each proxy appends at the end
//! element = pair *( ";" pair )
//! pair    = key "=" ( raw / quoted )        keys without case; in quotes \" and \\ are escapes
//! ```
//!
//! In the text form Envoy writes `By=`, `URI=` and `DNS=` raw, so that a name in a certificate can
//! add pairs and elements. Here the whole header must be well-formed, what is written once must be
//! there once, and what is quoted must be quoted: a name that adds something refuses the header, or
//! changes the number of elements. JSON is escaped and cannot be injected into.

use core::fmt;
use std::borrow::Cow;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, SeqAccess, Visitor};
use thiserror::Error;

use super::scan;
use crate::config::Object;

/// What Envoy says of one connection: the part of it that is used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Element<'a> {
    /// Hexadecimal SHA-256 of the end entity's DER.
    pub hash: Option<Cow<'a, [u8]>>,
    /// PEM of the end entity, percent-encoded in the text form.
    pub cert: Option<Cow<'a, [u8]>>,
    /// PEM of what was presented, end entity first, one block after another, percent-encoded in the
    /// text form.
    pub chain: Option<Cow<'a, [u8]>>,
}

/// One pair of the text form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair<'a> {
    /// Which element it belongs to, from 0.
    pub element: usize,
    /// As it is written.
    pub key: &'a [u8],
    /// Without the quotes and their escapes.
    pub value: Cow<'a, [u8]>,
    /// It was quoted.
    pub is_quoted: bool,
}

/// Why a header is refused as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum XfccFault {
    /// A pair is not `key=value`; an empty pair is none.
    #[error("a pair is not key=value")]
    NotAPair,
    /// A quote that is not closed, text behind a closed one, or one inside a raw value.
    #[error("a value is not quoted as a whole")]
    Quotes,
    /// A key that occurs once is there again in the same element.
    #[error("a key is repeated that occurs once")]
    Repeated,
    /// A value that is always quoted is not.
    #[error("a value is raw that is always quoted")]
    Raw,
    /// JSON that is not a list of elements.
    #[error("not JSON as Envoy writes it")]
    Json,
    /// Another number of elements than configured.
    #[error("{found} elements, configured are {expected}")]
    Count {
        /// Configured.
        expected: usize,
        /// Found.
        found: usize,
    },
    /// The relay's own element stands before another one.
    #[error("the relay's own element is not the last")]
    OwnElement,
    /// Envoy writes the hash of every certificate.
    #[error("no Hash of 64 hexadecimal digits")]
    NoHash,
    /// The hash is that of another certificate.
    #[error("Hash is not that of Cert")]
    OtherHash,
}

/// Keys that occur at most once in an element, and whether Envoy quotes their values.
const SINGLE: [(&str, bool); 5] = [
    ("Hash", false),
    ("Cert", true),
    ("Chain", true),
    ("Subject", true),
    ("Issuer", true),
];

/// Reads the whole header, in either form. `limit` elements are kept at most, all are counted.
///
/// # Errors
/// The first fault.
pub fn elements(header: &[u8], limit: usize) -> Result<(Vec<Element<'_>>, usize), XfccFault> {
    let header = header.trim_ascii();
    if header.starts_with(b"[") {
        json(header, limit)
    } else {
        text(header, limit)
    }
}

fn text(header: &[u8], limit: usize) -> Result<(Vec<Element<'_>>, usize), XfccFault> {
    let mut elements: Vec<Element<'_>> = Vec::new();
    let mut count = 0_usize;
    let mut seen = [false; SINGLE.len()];
    for pair in pairs(header) {
        let pair = pair?;
        if pair.element >= count {
            count = count.saturating_add(1);
            seen = [false; SINGLE.len()];
            if elements.len() < limit {
                elements.push(Element::default());
            }
        }
        let single = SINGLE
            .iter()
            .zip(&mut seen)
            .find(|((key, _), _)| key.as_bytes().eq_ignore_ascii_case(pair.key));
        let Some(((key, is_quoted), seen)) = single else {
            continue;
        };
        if core::mem::replace(seen, true) {
            return Err(XfccFault::Repeated);
        }
        if *is_quoted && !pair.is_quoted {
            return Err(XfccFault::Raw);
        }
        if count > limit {
            continue;
        }
        if let Some(element) = elements.last_mut() {
            match *key {
                "Hash" => element.hash = Some(pair.value),
                "Cert" => element.cert = Some(pair.value),
                "Chain" => element.chain = Some(pair.value),
                _ => {}
            }
        }
    }
    Ok((elements, count))
}

/// The pairs of the text form, in order, up to the first fault.
pub fn pairs(header: &[u8]) -> impl Iterator<Item = Result<Pair<'_>, XfccFault>> {
    let mut rest = Some(header);
    let mut element = 0_usize;
    core::iter::from_fn(move || {
        let text = rest.take()?;
        Some(pair(text).map(|(key, value, is_quoted, after)| {
            let found = Pair {
                element,
                key,
                value,
                is_quoted,
            };
            if let Some((separator, after)) = after.split_first() {
                if *separator == b',' {
                    element = element.saturating_add(1);
                }
                rest = Some(after);
            }
            found
        }))
    })
}

/// Key, value, whether it was quoted, and the separator with what follows it.
type Cut<'a> = (&'a [u8], Cow<'a, [u8]>, bool, &'a [u8]);

fn pair(text: &[u8]) -> Result<Cut<'_>, XfccFault> {
    let is_key = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    // Some write a blank behind the comma.
    let text = text.trim_ascii_start();
    let end = text
        .iter()
        .position(|byte| !is_key(byte))
        .ok_or(XfccFault::NotAPair)?;
    let (key, value_on) = text.split_at(end);
    let value_on = value_on.strip_prefix(b"=").ok_or(XfccFault::NotAPair)?;
    if key.is_empty() {
        return Err(XfccFault::NotAPair);
    }
    let Some(quoted_on) = value_on.strip_prefix(b"\"") else {
        let is_end = |byte: &u8| matches!(byte, b';' | b',');
        let end = value_on.iter().position(is_end).unwrap_or(value_on.len());
        let (value, after) = value_on.split_at(end);
        if value.contains(&b'"') {
            return Err(XfccFault::Quotes);
        }
        return Ok((key, Cow::Borrowed(value.trim_ascii()), false, after));
    };
    let (value, after) = quoted(quoted_on).ok_or(XfccFault::Quotes)?;
    let after = after.trim_ascii_start();
    match after.first() {
        None | Some(b';' | b',') => Ok((key, value, true, after)),
        Some(_) => Err(XfccFault::Quotes),
    }
}

/// A value up to its closing quote, and what follows that. A backslash before anything but a quote
/// or a backslash is itself: distinguished names have their own (RFC 2253).
fn quoted(text: &[u8]) -> Option<(Cow<'_, [u8]>, &[u8])> {
    let mut escapes = false;
    let mut at = 0_usize;
    let end = loop {
        let rest = text.get(at..)?;
        let is_syntax = |word| scan::equal(word, b'"') | scan::equal(word, b'\\');
        let found = scan::find(rest, is_syntax)?;
        at = at.saturating_add(found);
        match rest.get(found..)? {
            [b'"', ..] => break at,
            // What follows a backslash does not end the value.
            on => {
                escapes = true;
                on.get(1)?;
                at = at.saturating_add(2);
            }
        }
    };
    let (value, on) = text.split_at(end);
    let after = on.strip_prefix(b"\"").unwrap_or_default();
    if !escapes {
        return Some((Cow::Borrowed(value), after));
    }
    let mut unescaped = Vec::with_capacity(value.len());
    let mut bytes = value.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        let escaped = bytes.next_if(|next| byte == b'\\' && matches!(next, b'"' | b'\\'));
        unescaped.push(escaped.unwrap_or(byte));
    }
    Some((Cow::Owned(unescaped), after))
}

/// The names that are used; a name that is repeated is refused, others are passed over.
#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct JsonElement {
    hash: Option<String>,
    cert: Option<String>,
    chain: Option<Joined>,
}

fn json(header: &[u8], limit: usize) -> Result<(Vec<Element<'static>>, usize), XfccFault> {
    let mut json = serde_json::Deserializer::from_slice(header);
    let found = AtMost(limit).deserialize(&mut json);
    let (found, count) = found.map_err(|_| XfccFault::Json)?;
    json.end().map_err(|_| XfccFault::Json)?;
    let bytes = |text: String| Cow::Owned(text.into_bytes());
    let elements = found.into_iter().map(|element| Element {
        hash: element.hash.map(bytes),
        cert: element.cert.map(bytes),
        chain: element.chain.map(|Joined(chain)| bytes(chain)),
    });
    Ok((elements.collect(), count))
}

/// Keeps so many elements of a list and counts all: three octets of JSON are an element, and a kept
/// one is many times that.
struct AtMost(usize);

impl<'de> DeserializeSeed<'de> for AtMost {
    type Value = (Vec<JsonElement>, usize);

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for AtMost {
    type Value = (Vec<JsonElement>, usize);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of elements")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut kept = Vec::new();
        let mut count = 0_usize;
        while let Some(Object(element)) = list.next_element()? {
            count = count.saturating_add(1);
            if kept.len() < self.0 {
                kept.push(element);
            }
        }
        Ok((kept, count))
    }
}

/// The texts of a list, one behind the other.
struct Joined(String);

impl<'de> Deserialize<'de> for Joined {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List;

        impl<'de> Visitor<'de> for List {
            type Value = Joined;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of texts")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Joined, A::Error> {
                let mut joined = String::new();
                while list.next_element_seed(Append(&mut joined))?.is_some() {}
                Ok(Joined(joined))
            }
        }

        deserializer.deserialize_seq(List)
    }
}

/// Puts a text behind what there is.
struct Append<'a>(&'a mut String);

impl<'de> DeserializeSeed<'de> for Append<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Append<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text")
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        self.0.push_str(text);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(header: &str) -> XfccFault {
        elements(header.as_bytes(), 9).unwrap_err()
    }

    fn count(header: &str) -> usize {
        elements(header.as_bytes(), 9).unwrap().1
    }

    #[test]
    fn what_envoy_writes_is_read() {
        let header = br#"By=spiffe://srv/a;By=spiffe://srv/b;Hash=86;Cert="-%0A";Chain="-%0A-%0A";Subject="CN=J\C3\BCrgen,O=Acme\, \"Inc\"\; x=1,C=US";URI=spiffe://ex.org/a?b=c;DNS=c1.example.com;DNS=c2.example.com;Issuer="CN=int""#;
        let (found, count) = elements(header, 2).unwrap();
        assert_eq!(count, 1);
        let text = |text: &'static str| Some(Cow::Borrowed(text.as_bytes()));
        let expected = Element {
            hash: text("86"),
            cert: text("-%0A"),
            chain: text("-%0A-%0A"),
        };
        assert_eq!(found, [expected]);
        let subject = pairs(header).map(Result::unwrap);
        let subject = subject.filter(|pair| pair.key == b"Subject").last();
        assert_eq!(
            subject.unwrap().value.escape_ascii().to_string(),
            br#"CN=J\C3\BCrgen,O=Acme\, "Inc"\; x=1,C=US"#.escape_ascii().to_string()
        );
    }

    #[test]
    fn json_is_read_alike() {
        let header = br#"[{"by":["spiffe://srv/a"],"hash":"86","cert":"-\n","chain":["-\n","=\n"],"subject":"CN=a,b;\"","uri":["x\",\"hash\":\"0"]},{"hash":"87"}]"#;
        let (found, count) = elements(header, 1).unwrap();
        assert_eq!((found.len(), count), (1, 2));
        assert_eq!(found[0].hash.as_deref(), Some(&b"86"[..]));
        assert_eq!(found[0].cert.as_deref(), Some(&b"-\n"[..]));
        assert_eq!(found[0].chain.as_deref(), Some(&b"-\n=\n"[..]));
        for broken in [
            r#"[{"hash":"#,
            r#"[{"hash":"a","hash":"b"}]"#,
            r#"[{"hash":1}]"#,
            r#"[{"chain":["a",1]}]"#,
            r#"[{"chain":"a"}]"#,
            r#"[{},{"hash":1}]"#,
            r#"[["a","b",[]]]"#,
            r#"[{"hash":"a"}],Hash=b;Cert="x""#,
            r#"[{"hash":"a"}] x"#,
        ] {
            assert_eq!(fault(broken), XfccFault::Json, "{broken}");
        }
    }

    /// The strings with which other readers were attacked.
    #[test]
    fn names_that_are_syntax_change_the_count_or_refuse() {
        for added in [r#"spiffe://a/b,By=x;Hash=00;Cert="F""#, "x,y=z"] {
            assert_eq!(count(&format!(r#"Hash=86;Cert="R";URI={added};DNS=d"#)), 2);
        }
        let twice = r#"Hash=86;Cert="R";DNS=d.example;Cert="F2""#;
        assert_eq!(fault(twice), XfccFault::Repeated);
        assert_eq!(fault("Hash=86;URI=a;hASH=87"), XfccFault::Repeated);
        assert_eq!(count(r#"Hash=1;Subject="x\"; Cert=y";URI="#), 1);
        let hidden = r#"Hash=1;Subject=x";Cert="good";URI=";Cert="bad""#;
        assert_eq!(fault(hidden), XfccFault::Quotes);
        let hidden = r#"Hash=1;URI=x";Cert="good";DNS=";Cert="bad""#;
        assert_eq!(fault(hidden), XfccFault::Quotes);
        // A client's own beginning, before what Envoy appends.
        let appended = r#"Hash="aa,By=x;Hash=86;Cert="R""#;
        assert_eq!(fault(appended), XfccFault::Quotes);
        for raw in ["Cert=a", "Chain=a", "Subject=a", "Issuer=a"] {
            assert_eq!(fault(raw), XfccFault::Raw);
        }
        for broken in ["", ";", ",", "a", "=b", "a=b;", "a=b,", "a=b,,c=d", "a b=c"] {
            assert_eq!(fault(broken), XfccFault::NotAPair, "{broken}");
        }
        for broken in ["a=\"b", "a=\"b\\\"", "a=\"b\"c", "a=b\"\""] {
            assert_eq!(fault(broken), XfccFault::Quotes, "{broken}");
        }
    }
}
