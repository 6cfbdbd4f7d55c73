//! Distinguished names and when two of them are the same (RFC 5280 7.1).

use x509_parser::asn1_rs::{Class, Tag};
use x509_parser::prelude::FromDer as _;
use x509_parser::x509::X509Name;

use super::oid::EMAIL_ADDRESS;
use super::{ParseError, Span};

/// A distinguished name: where its DER lies and a form in which equal names have equal bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    span: Span,
    canonical: Box<[u8]>,
    emails: Vec<Box<[u8]>>,
}

impl Name {
    /// `name` was parsed from `span`; `field` names it in errors.
    pub(super) fn new(
        name: &X509Name<'_>,
        span: Span,
        field: &'static str,
    ) -> Result<Self, ParseError> {
        let mut canonical = Vec::new();
        let mut emails = Vec::new();
        for rdn in name.iter_rdn() {
            let mut attributes: Vec<Vec<u8>> = Vec::new();
            for attribute in rdn.iter() {
                let value = attribute.attr_value();
                if attribute.attr_type().as_bytes() == EMAIL_ADDRESS {
                    emails.push(value.data.into());
                }
                let mut bytes = Vec::new();
                push(&mut bytes, attribute.attr_type().as_bytes());
                match folded(value.class(), value.tag(), value.data) {
                    Some(text) => {
                        bytes.push(0);
                        push(&mut bytes, text.as_bytes());
                    }
                    None => {
                        bytes.push(1);
                        bytes.extend(value.tag().0.to_be_bytes());
                        push(&mut bytes, value.data);
                    }
                }
                attributes.push(bytes);
            }
            // RFC 5280 4.1.2.4: RelativeDistinguishedName ::= SET SIZE (1..MAX)
            if attributes.is_empty() {
                return Err(ParseError::Structure { field });
            }
            // A SET has no order.
            attributes.sort_unstable();
            push(&mut canonical, &attributes.concat());
        }
        Ok(Self {
            span,
            canonical: canonical.into_boxed_slice(),
            emails,
        })
    }

    /// The key under which equal names are found.
    #[must_use]
    pub fn canonical(&self) -> &[u8] {
        &self.canonical
    }

    /// No relative distinguished name at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.canonical.is_empty()
    }

    /// RFC 5280 7.1: equal attribute for attribute, case and white space of text aside.
    #[must_use]
    pub fn matches(&self, other: &Self) -> bool {
        self.canonical == other.canonical
    }

    /// RFC 5280 4.2.1.10: `self` lies within the subtree whose root is `base`.
    #[must_use]
    pub fn is_within(&self, base: &Self) -> bool {
        // Each RDN is preceded by its length, so a prefix of bytes is a prefix of RDNs.
        self.canonical.starts_with(&base.canonical)
    }

    /// The `emailAddress` attributes' values, as they are encoded.
    pub fn email_addresses(&self) -> impl Iterator<Item = &[u8]> {
        self.emails.iter().map(AsRef::as_ref)
    }

    /// The name for people, from its DER: control characters escaped, at most 256 characters.
    #[must_use]
    pub fn display(der: &[u8]) -> String {
        const MAX_CHARACTERS: usize = 256;
        let Ok((_, name)) = X509Name::from_der(der) else {
            return "?".to_owned();
        };
        name.to_string()
            .chars()
            .flat_map(char::escape_debug)
            .take(MAX_CHARACTERS)
            .collect()
    }

    pub(super) fn span(&self) -> Span {
        self.span
    }
}

/// Appends `bytes` behind their length, so that concatenations cannot be read in two ways.
fn push(into: &mut Vec<u8>, bytes: &[u8]) {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    into.extend(length.to_be_bytes());
    into.extend(bytes);
}

/// RFC 5280 7.1 with RFC 4518: text of the comparable string types with case folded, outer white
/// space dropped and inner runs of it made one space. `None`: compare the bytes.
fn folded(class: Class, tag: Tag, data: &[u8]) -> Option<String> {
    if class != Class::Universal {
        return None;
    }
    let text = match tag {
        Tag::Utf8String => core::str::from_utf8(data).ok()?.to_owned(),
        Tag::PrintableString | Tag::Ia5String | Tag::NumericString | Tag::VisibleString
            if data.is_ascii() =>
        {
            core::str::from_utf8(data).ok()?.to_owned()
        }
        Tag::BmpString => {
            let units = data.chunks_exact(2);
            if !units.remainder().is_empty() {
                return None;
            }
            let units = units.map(|pair| {
                let [high, low] = <[u8; 2]>::try_from(pair).unwrap_or_default();
                u16::from_be_bytes([high, low])
            });
            char::decode_utf16(units)
                .collect::<Result<String, _>>()
                .ok()?
        }
        _ => return None,
    };
    let words: Vec<String> = text.split_whitespace().map(str::to_lowercase).collect();
    Some(words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_folded_and_squeezed() {
        let fold = |tag, data: &[u8]| folded(Class::Universal, tag, data);
        assert_eq!(
            fold(Tag::PrintableString, b"  Good   CA "),
            Some("good ca".to_owned())
        );
        assert_eq!(
            fold(Tag::Utf8String, "J\u{dc}RGEN".as_bytes()),
            Some("j\u{fc}rgen".to_owned())
        );
        assert_eq!(fold(Tag::BmpString, &[0, b'A']), Some("a".to_owned()));
        assert_eq!(fold(Tag::BmpString, &[0, b'A', 0]), None);
        assert_eq!(fold(Tag::Utf8String, &[0xff]), None);
        assert_eq!(fold(Tag::PrintableString, &[0xff]), None);
        assert_eq!(fold(Tag::T61String, b"A"), None);
    }
}
