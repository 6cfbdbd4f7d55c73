//! A strict reader for DER (X.690 section 10): definite, minimal lengths, low tag numbers only.
//!
//! Every certificate is walked with it once, and then read to its last octet: two readers that disagree
//! about one certificate are an attack.

use super::Span;

/// Universal and context tags that certificates use, as the identifier octet.
pub(super) mod tag {
    pub(crate) const BOOLEAN: u8 = 0x01;
    pub(crate) const INTEGER: u8 = 0x02;
    pub(crate) const BIT_STRING: u8 = 0x03;
    pub(crate) const OCTET_STRING: u8 = 0x04;
    pub(crate) const OID: u8 = 0x06;
    pub(crate) const ENUMERATED: u8 = 0x0a;
    pub(crate) const SEQUENCE_PRIMITIVE: u8 = 0x10;
    pub(crate) const SET_PRIMITIVE: u8 = 0x11;
    pub(crate) const UTF8_STRING: u8 = 0x0c;
    pub(crate) const NUMERIC_STRING: u8 = 0x12;
    pub(crate) const PRINTABLE_STRING: u8 = 0x13;
    pub(crate) const TELETEX_STRING: u8 = 0x14;
    pub(crate) const IA5_STRING: u8 = 0x16;
    pub(crate) const VISIBLE_STRING: u8 = 0x1a;
    pub(crate) const UNIVERSAL_STRING: u8 = 0x1c;
    pub(crate) const BMP_STRING: u8 = 0x1e;
    pub(crate) const UTC_TIME: u8 = 0x17;
    pub(crate) const GENERALIZED_TIME: u8 = 0x18;
    pub(crate) const SEQUENCE: u8 = 0x30;
    pub(crate) const SET: u8 = 0x31;

    /// `[n]`, primitive.
    pub(crate) const fn context(number: u8) -> u8 {
        0x80 | number
    }

    /// `[n]`, constructed.
    pub(crate) const fn context_constructed(number: u8) -> u8 {
        0xa0 | number
    }
}

/// X.690 8.1.2: the identifier octet's bit for constructed values, and those of the tag's number.
const CONSTRUCTED: u8 = 0x20;
const NUMBER: u8 = 0x1f;

/// Deepest nesting of constructed values that is walked; real certificates stay below 12.
const MAX_DEPTH: usize = 32;

/// The bytes are not DER, or not the type that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotDer;

/// One value: its identifier octet and where its content and the whole of it lie.
#[derive(Clone, Copy, Debug)]
pub(super) struct Element<'a> {
    pub(super) tag: u8,
    pub(super) content: &'a [u8],
    pub(super) content_span: Span,
    pub(super) span: Span,
}

impl<'a> Element<'a> {
    /// Reads the values inside this one.
    pub(super) fn reader(&self) -> Reader<'a> {
        Reader {
            rest: self.content,
            offset: self.content_span.start,
        }
    }

    /// It holds values, not octets.
    pub(super) fn is_constructed(&self) -> bool {
        self.tag & CONSTRUCTED != 0
    }

    /// The tag's number is that of this universal one, whatever its class.
    pub(super) fn is_numbered(&self, tag: u8) -> bool {
        self.tag & NUMBER == tag & NUMBER
    }
}

/// Reads values one after another; spans are relative to the outermost input.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
    offset: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(input: &'a [u8]) -> Self {
        Self {
            rest: input,
            offset: 0,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next value, whatever its type.
    pub(super) fn any(&mut self) -> Result<Element<'a>, NotDer> {
        let (&tag, after_tag) = self.rest.split_first().ok_or(NotDer)?;
        // High tag numbers (X.690 8.1.2.4) occur in no certificate.
        if tag & NUMBER == NUMBER {
            return Err(NotDer);
        }
        let (length, after_length) = length(after_tag)?;
        if after_length.len() < length {
            return Err(NotDer);
        }
        let (content, rest) = after_length.split_at(length);
        let header = self.rest.len().saturating_sub(after_length.len());
        let content_start = self.offset.saturating_add(header);
        let end = content_start.saturating_add(length);
        let element = Element {
            tag,
            content,
            content_span: Span::new(content_start, end),
            span: Span::new(self.offset, end),
        };
        self.rest = rest;
        self.offset = end;
        Ok(element)
    }

    /// The next value, which must have this tag.
    pub(super) fn require(&mut self, tag: u8) -> Result<Element<'a>, NotDer> {
        let element = self.any()?;
        if element.tag == tag {
            Ok(element)
        } else {
            Err(NotDer)
        }
    }

    /// The next value if it has this tag.
    pub(super) fn optional(&mut self, tag: u8) -> Result<Option<Element<'a>>, NotDer> {
        if self.rest.first() == Some(&tag) {
            self.any().map(Some)
        } else {
            Ok(None)
        }
    }

    /// Nothing may follow.
    pub(super) fn end(&self) -> Result<(), NotDer> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(NotDer)
        }
    }
}

fn length(input: &[u8]) -> Result<(usize, &[u8]), NotDer> {
    let (&first, rest) = input.split_first().ok_or(NotDer)?;
    let count = match first {
        0..=0x7f => return Ok((usize::from(first), rest)),
        0x81..=0x83 => usize::from(first & 0x7f),
        // Indefinite, or more than 16 MiB.
        _ => return Err(NotDer),
    };
    if rest.len() < count {
        return Err(NotDer);
    }
    let (bytes, rest) = rest.split_at(count);
    let value = bytes
        .iter()
        .fold(0_usize, |value, &byte| (value << 8) | usize::from(byte));
    // X.690 10.1: the shortest form.
    let shortest = match count {
        1 => value > 0x7f,
        2 => value > 0xff,
        _ => value > 0xffff,
    };
    if shortest {
        Ok((value, rest))
    } else {
        Err(NotDer)
    }
}

/// Walks all constructed values of `input`: one value and nothing behind it.
pub(super) fn check_nesting(input: &[u8]) -> Result<(), NotDer> {
    let mut outer = Reader::new(input);
    let first = outer.any()?;
    outer.end()?;
    walk(first.reader(), 1)
}

fn walk(mut reader: Reader<'_>, depth: usize) -> Result<(), NotDer> {
    while !reader.is_empty() {
        let element = reader.any()?;
        if element.is_constructed() {
            if depth >= MAX_DEPTH {
                return Err(NotDer);
            }
            walk(element.reader(), depth.saturating_add(1))?;
        } else if matches!(element.tag, tag::SEQUENCE_PRIMITIVE | tag::SET_PRIMITIVE) {
            return Err(NotDer);
        }
    }
    Ok(())
}

/// BOOLEAN: `00` or `FF` (X.690 11.1).
pub(super) fn boolean(content: &[u8]) -> Result<bool, NotDer> {
    match content {
        [0x00] => Ok(false),
        [0xff] => Ok(true),
        _ => Err(NotDer),
    }
}

/// An INTEGER in its shortest form (X.690 8.3.2).
pub(super) fn is_shortest_integer(content: &[u8]) -> bool {
    match content {
        [] => false,
        [0, second, ..] => second & 0x80 != 0,
        [0xff, second, ..] => second & 0x80 == 0,
        _ => true,
    }
}

/// A non-negative INTEGER; larger than `u32` counts as `u32::MAX`, which no limit here reaches.
pub(super) fn unsigned(content: &[u8]) -> Result<u32, NotDer> {
    let negative = content.first().is_some_and(|first| first & 0x80 != 0);
    if negative || !is_shortest_integer(content) {
        return Err(NotDer);
    }
    let significant = significant(content);
    if significant.len() > 4 {
        return Ok(u32::MAX);
    }
    Ok(significant
        .iter()
        .fold(0_u32, |value, &byte| (value << 8) | u32::from(byte)))
}

/// The octets of a non-negative INTEGER in its shortest form, without the one that makes it so.
pub(super) fn significant(content: &[u8]) -> &[u8] {
    content.strip_prefix(&[0]).unwrap_or(content)
}

/// The octets of a BIT STRING and its count of unused bits, which must be zero bits (X.690 11.2.1).
pub(super) fn bit_string(content: &[u8]) -> Result<(&[u8], u8), NotDer> {
    let (&unused, bits) = content.split_first().ok_or(NotDer)?;
    match bits.last() {
        None if unused == 0 => Ok((bits, 0)),
        Some(last) if unused < 8 && last & !(0xff_u8 << unused) == 0 => Ok((bits, unused)),
        _ => Err(NotDer),
    }
}

/// An object identifier in dotted form, for messages: bounded, `?` where it cannot be shown.
pub(super) fn dotted(oid: &[u8]) -> String {
    const MAX_ARCS: usize = 24;
    let mut arcs: Vec<String> = Vec::new();
    let mut value: u64 = 0;
    for &byte in oid {
        value = (value.saturating_mul(128)).saturating_add(u64::from(byte & 0x7f));
        if byte & 0x80 != 0 {
            continue;
        }
        if arcs.is_empty() {
            let first = (value / 40).min(2);
            arcs.push(first.to_string());
            value = value.saturating_sub(first.saturating_mul(40));
        }
        arcs.push(value.to_string());
        value = 0;
        if arcs.len() >= MAX_ARCS {
            arcs.push("...".to_owned());
            break;
        }
    }
    if arcs.is_empty() {
        "?".to_owned()
    } else {
        arcs.join(".")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_definite_and_minimal() {
        let read = |bytes: &[u8]| Reader::new(bytes).any().map(|e| e.content.len());
        assert_eq!(read(&[0x04, 0x02, 1, 2]), Ok(2));
        assert_eq!(read(&[0x04, 0x80, 0, 0]), Err(NotDer));
        assert_eq!(read(&[0x04, 0x81, 0x02, 1, 2]), Err(NotDer));
        assert_eq!(read(&[0x04, 0x82, 0x00, 0x02, 1, 2]), Err(NotDer));
        assert_eq!(read(&[0x04, 0x03, 1, 2]), Err(NotDer));
        assert_eq!(read(&[0x1f, 0x01, 0]), Err(NotDer));
    }

    #[test]
    fn nesting_is_bounded_and_nothing_follows() {
        assert_eq!(check_nesting(&[0x30, 0x00]), Ok(()));
        assert_eq!(check_nesting(&[0x30, 0x00, 0x00]), Err(NotDer));
        assert_eq!(check_nesting(&[0x30, 0x02, 0x10, 0x00]), Err(NotDer));
        let mut deep = vec![0x30, 0x00];
        for _ in 0..40 {
            let mut outer = vec![0x30, u8::try_from(deep.len()).unwrap()];
            outer.extend(&deep);
            deep = outer;
        }
        assert_eq!(check_nesting(&deep), Err(NotDer));
    }

    #[test]
    fn primitive_types_are_strict() {
        assert_eq!(boolean(&[0x01]), Err(NotDer));
        assert_eq!(boolean(&[0xff]), Ok(true));
        assert_eq!(unsigned(&[0x00, 0x80]), Ok(128));
        assert_eq!(unsigned(&[0x00, 0x7f]), Err(NotDer));
        assert_eq!(unsigned(&[0x80]), Err(NotDer));
        assert_eq!(unsigned(&[0x01, 0, 0, 0, 0]), Ok(u32::MAX));
        assert_eq!(bit_string(&[1, 0b1000_0001]), Err(NotDer));
        assert_eq!(bit_string(&[7, 0b1000_0000]), Ok((&[0b1000_0000][..], 7)));
        assert_eq!(bit_string(&[0]), Ok((&[][..], 0)));
        assert_eq!(bit_string(&[8, 0]), Err(NotDer));
    }

    #[test]
    fn identifiers_print_dotted() {
        assert_eq!(dotted(&[0x55, 0x1d, 0x0f]), "2.5.29.15");
        assert_eq!(
            dotted(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d]),
            "1.2.840.113549"
        );
        assert_eq!(dotted(&[]), "?");
    }
}
