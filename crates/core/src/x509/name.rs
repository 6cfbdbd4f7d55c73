//! Distinguished names and when two of them are the same (RFC 5280 7.1).

use x509_parser::prelude::FromDer as _;
use x509_parser::x509::X509Name;

use super::Span;
use super::der::{Element, NotDer, Reader, tag};
use super::oid::{COMMON_NAME, EMAIL_ADDRESS};

/// What the canonical forms of most names have more octets than their DER.
const USUAL_GROWTH: usize = 32;

/// A distinguished name: where its DER lies and a form in which equal names have equal bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    span: Span,
    canonical: Box<[u8]>,
    emails: Vec<Box<[u8]>>,
}

impl Name {
    /// RFC 5280 4.1.2.4: RDNSequence ::= SEQUENCE OF SET SIZE (1..MAX) OF SEQUENCE { type, value }.
    ///
    /// Read here to the last byte: `x509-parser` stops at what it does not like and keeps the rest
    /// to itself, and a name that is compared must be the name that is shown.
    pub(super) fn read(element: &Element<'_>) -> Result<Self, NotDer> {
        // Lengths take more room than in DER, by a little for each attribute.
        let mut canonical = Vec::with_capacity(element.content.len().saturating_add(USUAL_GROWTH));
        let mut emails = Vec::new();
        let mut rdns = element.reader();
        while !rdns.is_empty() {
            canonical_rdn(&rdns.require(tag::SET)?, &mut canonical, &mut emails)?;
        }
        Ok(Self {
            span: element.span,
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

    /// The `commonName` attributes' values as text, in order, from the name's DER: as they are, with
    /// nothing folded, dropped or squeezed. `None`: one of them is no text, or this is no name.
    ///
    /// Read when it is asked for: few requests need it, and every certificate holds two names.
    #[must_use]
    pub fn common_names(der: &[u8]) -> Option<Vec<String>> {
        read_common_names(der).ok().flatten()
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

/// RFC 5280 4.1.2.4: AttributeTypeAndValue.
struct Attribute<'a> {
    kind: &'a [u8],
    value: Element<'a>,
}

impl<'a> Attribute<'a> {
    fn read(rdn: &mut Reader<'a>) -> Result<Self, NotDer> {
        let mut fields = rdn.require(tag::SEQUENCE)?.reader();
        let kind = fields.require(tag::OID)?.content;
        let value = fields.any()?;
        fields.end()?;
        if kind.is_empty() {
            return Err(NotDer);
        }
        Ok(Self { kind, value })
    }
}

fn read_common_names(der: &[u8]) -> Result<Option<Vec<String>>, NotDer> {
    let mut outer = Reader::new(der);
    let mut rdns = outer.require(tag::SEQUENCE)?.reader();
    outer.end()?;
    let mut names = Vec::new();
    while !rdns.is_empty() {
        let mut rdn = rdns.require(tag::SET)?.reader();
        while !rdn.is_empty() {
            let Attribute { kind, value } = Attribute::read(&mut rdn)?;
            if kind != COMMON_NAME {
                continue;
            }
            let Some(name) = text(value.tag, value.content)? else {
                return Ok(None);
            };
            names.push(name);
        }
    }
    Ok(Some(names))
}

/// One RelativeDistinguishedName, whatever its tag, as it stands in [`Name::canonical`].
pub(super) fn canonical_rdn(
    element: &Element<'_>,
    canonical: &mut Vec<u8>,
    emails: &mut Vec<Box<[u8]>>,
) -> Result<(), NotDer> {
    let mut rdn = element.reader();
    push_measured(canonical, |canonical| {
        let start = canonical.len();
        canonical_attribute(&Attribute::read(&mut rdn)?, canonical, emails)?;
        if rdn.is_empty() {
            return Ok(());
        }
        // A SET has no order.
        let mut attributes = vec![canonical.split_off(start)];
        while !rdn.is_empty() {
            let mut attribute = Vec::new();
            canonical_attribute(&Attribute::read(&mut rdn)?, &mut attribute, emails)?;
            attributes.push(attribute);
        }
        attributes.sort_unstable();
        canonical.extend(attributes.into_iter().flatten());
        Ok(())
    })
}

fn canonical_attribute(
    Attribute { kind, value }: &Attribute<'_>,
    canonical: &mut Vec<u8>,
    emails: &mut Vec<Box<[u8]>>,
) -> Result<(), NotDer> {
    if *kind == EMAIL_ADDRESS {
        emails.push(value.content.into());
    }
    push(canonical, kind);
    let is_narrow = !matches!(value.tag, tag::BMP_STRING | tag::UNIVERSAL_STRING);
    let (tag_at, text_at) = (canonical.len(), canonical.len().saturating_add(1));
    canonical.push(0);
    if is_string(value.tag) && is_narrow && push_folded_ascii(canonical, value.content) {
        return Ok(());
    }
    canonical.truncate(text_at);
    match folded_unicode(value.tag, value.content)? {
        Some(text) => push(canonical, text.as_bytes()),
        None => {
            canonical.truncate(tag_at);
            canonical.push(value.tag);
            push(canonical, value.content);
        }
    }
    Ok(())
}

/// Appends `bytes` behind their length, so that concatenations cannot be read in two ways.
fn push(into: &mut Vec<u8>, bytes: &[u8]) {
    into.extend(length(bytes.len()));
    into.extend(bytes);
}

/// Appends what `write` appends behind its length.
fn push_measured<T>(into: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>) -> T) -> T {
    let at = into.len();
    into.extend(length(0));
    let start = into.len();
    let written = write(into);
    let length = length(into.len().saturating_sub(start));
    into.iter_mut()
        .skip(at)
        .zip(length)
        .for_each(|(to, from)| *to = from);
    written
}

fn length(octets: usize) -> [u8; 4] {
    u32::try_from(octets).unwrap_or(u32::MAX).to_be_bytes()
}

/// RFC 5280 7.1 with RFC 4518: text with case folded, what counts for nothing dropped, and white
/// space squeezed. `None`: not text, compare the bytes. Compatibility forms (NFKC) are not folded.
fn folded_unicode(tag: u8, content: &[u8]) -> Result<Option<String>, NotDer> {
    let Some(text) = text(tag, content)? else {
        return Ok(None);
    };
    let text: String = text.chars().filter(|c| !counts_for_nothing(*c)).collect();
    let words: Vec<String> = text.split_whitespace().map(str::to_lowercase).collect();
    Ok(Some(words.join(" ")))
}

/// Appends the same for what nearly all names are written in; `false`: there is another character in
/// it, and what was appended counts for nothing.
fn push_folded_ascii(into: &mut Vec<u8>, content: &[u8]) -> bool {
    push_measured(into, |text| {
        let start = text.len();
        let mut last = b' ';
        for byte in content {
            match byte {
                b' ' if last == b' ' => {}
                b' '..=b'~' => text.push(byte.to_ascii_lowercase()),
                _ => return false,
            }
            last = *byte;
        }
        if last == b' ' && text.len() > start {
            text.pop();
        }
        true
    })
}

/// An attribute value as the text it encodes. `None`: its type is no string.
fn text(tag: u8, content: &[u8]) -> Result<Option<String>, NotDer> {
    /// X.690 10.2: strings are primitive, so the constructed forms are refused.
    const CONSTRUCTED: u8 = 0x20;
    let text = match tag {
        tag::UTF8_STRING => core::str::from_utf8(content)
            .map_err(|_| NotDer)?
            .to_owned(),
        // A PrintableString or IA5String with other letters in it, as some CAs issue them, and
        // TeletexString, are read as Latin-1, which every CA that still uses them means.
        tag::PRINTABLE_STRING
        | tag::IA5_STRING
        | tag::NUMERIC_STRING
        | tag::VISIBLE_STRING
        | tag::TELETEX_STRING => content.iter().copied().map(char::from).collect(),
        tag::BMP_STRING => {
            let units = wide::<2>(content)?.map(u16::from_be_bytes);
            char::decode_utf16(units)
                .collect::<Result<String, _>>()
                .map_err(|_| NotDer)?
        }
        tag::UNIVERSAL_STRING => wide::<4>(content)?
            .map(|unit| char::from_u32(u32::from_be_bytes(unit)))
            .collect::<Option<String>>()
            .ok_or(NotDer)?,
        _ if tag & CONSTRUCTED != 0 && is_string(tag & !CONSTRUCTED) => return Err(NotDer),
        _ => return Ok(None),
    };
    Ok(Some(text))
}

fn is_string(tag: u8) -> bool {
    matches!(
        tag,
        tag::UTF8_STRING
            | tag::PRINTABLE_STRING
            | tag::IA5_STRING
            | tag::NUMERIC_STRING
            | tag::VISIBLE_STRING
            | tag::TELETEX_STRING
            | tag::BMP_STRING
            | tag::UNIVERSAL_STRING
    )
}

/// Characters of `N` octets each.
fn wide<const N: usize>(content: &[u8]) -> Result<impl Iterator<Item = [u8; N]>, NotDer> {
    let units = content.chunks_exact(N);
    if !units.remainder().is_empty() {
        return Err(NotDer);
    }
    Ok(units.filter_map(|unit| <[u8; N]>::try_from(unit).ok()))
}

/// RFC 4518 2.2: characters that are mapped to nothing.
fn counts_for_nothing(character: char) -> bool {
    matches!(
        character,
        '\u{00}'..='\u{08}'
            | '\u{0e}'..='\u{1f}'
            | '\u{7f}'..='\u{84}'
            | '\u{86}'..='\u{9f}'
            | '\u{ad}'
            | '\u{34f}'
            | '\u{6dd}'
            | '\u{70f}'
            | '\u{1806}'
            | '\u{180b}'..='\u{180e}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{2063}'
            | '\u{206a}'..='\u{206f}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffc}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0001}'
            | '\u{e0020}'..='\u{e007f}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every text of up to five of these.
    #[test]
    fn ascii_is_folded_alike() {
        let ascii = |text: &[u8]| {
            let mut folded = Vec::new();
            let is_ascii = push_folded_ascii(&mut folded, text);
            is_ascii.then(|| String::from_utf8(folded.split_off(4)).unwrap())
        };
        let mut texts = vec![Vec::new()];
        for _ in 0..5 {
            let longer = texts.iter().flat_map(|text| {
                b" aZ~\t"
                    .iter()
                    .map(move |byte| [text.as_slice(), &[*byte]].concat())
            });
            texts = longer.chain([Vec::new()]).collect();
            for text in &texts {
                for tag in [tag::UTF8_STRING, tag::PRINTABLE_STRING, tag::TELETEX_STRING] {
                    let folded = folded_unicode(tag, text).unwrap();
                    assert_eq!(
                        ascii(text),
                        folded.filter(|_| !text.contains(&b'\t')),
                        "{text:?}"
                    );
                    let [one, other] = [&text[..], &[text.as_slice(), b"\xc2\xad"].concat()]
                        .map(|text| name(&organization(tag::UTF8_STRING, text)).unwrap());
                    assert!(one.matches(&other), "{text:?}");
                }
            }
        }
        assert_eq!(ascii(b" A  b "), Some("a b".to_owned()));
        assert_eq!(ascii(b"a\tb"), None);
    }

    #[test]
    fn attributes_of_one_rdn_have_no_order() {
        let [a, b, c] =
            [b"a", b"b", b"c"].map(|value| attribute(&[0x55, 4, 3], tag::UTF8_STRING, value));
        let rdn = |attributes: &[&Vec<u8>]| {
            let attributes: Vec<u8> = attributes
                .iter()
                .flat_map(|one| one.iter().copied())
                .collect();
            wrap(tag::SET, &attributes)
        };
        let of = |rdns: &[Vec<u8>]| name(&wrap(tag::SEQUENCE, &rdns.concat())).unwrap();
        let one = of(&[rdn(&[&a, &b, &c]), rdn(&[&a])]);
        assert!(one.matches(&of(&[rdn(&[&c, &a, &b]), rdn(&[&a])])));
        for other in [
            of(&[rdn(&[&a, &b, &c])]),
            of(&[rdn(&[&a, &b]), rdn(&[&c]), rdn(&[&a])]),
            of(&[rdn(&[&a]), rdn(&[&a, &b, &c])]),
            of(&[rdn(&[&a, &b, &c, &a]), rdn(&[&a])]),
        ] {
            assert!(!one.matches(&other));
        }
        assert!(one.is_within(&of(&[rdn(&[&b, &c, &a])])));
        assert!(!one.is_within(&of(&[rdn(&[&a, &b])])));
    }
    use crate::x509::der::Reader;

    fn name(der: &[u8]) -> Result<Name, NotDer> {
        Name::read(&Reader::new(der).require(tag::SEQUENCE)?)
    }

    fn wrap(tag: u8, content: &[u8]) -> Vec<u8> {
        let mut der = vec![tag, u8::try_from(content.len()).unwrap()];
        der.extend(content);
        der
    }

    fn attribute(kind: &[u8], tag: u8, value: &[u8]) -> Vec<u8> {
        let content = [wrap(tag::OID, kind), wrap(tag, value)].concat();
        wrap(tag::SEQUENCE, &content)
    }

    /// `value` as the one attribute (O) of the one RDN.
    fn organization(tag: u8, value: &[u8]) -> Vec<u8> {
        let rdn = wrap(tag::SET, &attribute(&[0x55, 0x04, 0x0a], tag, value));
        wrap(tag::SEQUENCE, &rdn)
    }

    #[test]
    fn common_names_are_given_as_they_are() {
        let cn = |tag, value: &[u8]| attribute(COMMON_NAME, tag, value);
        let o = attribute(&[0x55, 0x04, 0x0a], tag::UTF8_STRING, b"not one");
        // Each inner list is one RDN.
        let names = |rdns: &[&[&Vec<u8>]]| {
            let rdn = |attributes: &&[&Vec<u8>]| {
                let attributes: Vec<u8> = attributes.iter().copied().flatten().copied().collect();
                wrap(tag::SET, &attributes)
            };
            let rdns: Vec<Vec<u8>> = rdns.iter().map(rdn).collect();
            Name::common_names(&wrap(tag::SEQUENCE, &rdns.concat()))
        };
        for (tag, value, text) in [
            (tag::UTF8_STRING, &b" Evil\0  Corp "[..], " Evil\0  Corp "),
            (tag::PRINTABLE_STRING, b"Evil Corp", "Evil Corp"),
            (tag::IA5_STRING, b"a\tb", "a\tb"),
            (tag::TELETEX_STRING, b"j\xfcrgen", "j\u{fc}rgen"),
            (tag::BMP_STRING, b"\0E\x20\xac", "E\u{20ac}"),
            (tag::UNIVERSAL_STRING, &[0, 1, 0xf6, 0], "\u{1f600}"),
            (tag::UTF8_STRING, b"", ""),
        ] {
            assert_eq!(
                names(&[&[&o], &[&cn(tag, value)]]),
                Some(vec![text.to_owned()]),
                "{tag:02x}"
            );
        }
        // Several, in one RDN and in two.
        let (a, b) = (cn(tag::UTF8_STRING, b"a"), cn(tag::UTF8_STRING, b"b"));
        assert_eq!(names(&[&[&a, &b]]).unwrap(), ["a", "b"]);
        assert_eq!(names(&[&[&a], &[&b]]).unwrap(), ["a", "b"]);
        assert_eq!(names(&[&[&o]]).unwrap(), [""; 0]);
        // One that is no text hides nothing behind the others.
        let octets = cn(tag::OCTET_STRING, b"a");
        assert_eq!(names(&[&[&a], &[&octets]]), None);
        assert_eq!(names(&[&[&a, &cn(tag::UTF8_STRING, b"\xff")]]), None);
        assert_eq!(Name::common_names(b""), None);
    }

    #[test]
    fn text_is_the_same_in_every_string_type() {
        let evil = name(&organization(tag::UTF8_STRING, b"Evil  Corp ")).unwrap();
        for (tag, value) in [
            (tag::PRINTABLE_STRING, &b"evil corp"[..]),
            (tag::TELETEX_STRING, b" EVIL corp"),
            (tag::IA5_STRING, b"Evil\tCorp"),
            (tag::BMP_STRING, b"\0E\0v\0i\0l\0 \0C\0o\0r\0p"),
            (tag::UTF8_STRING, "E\u{ad}vil\u{200b} Corp".as_bytes()),
        ] {
            assert!(
                name(&organization(tag, value)).unwrap().matches(&evil),
                "{tag:02x}"
            );
        }
        let universal: Vec<u8> = "Evil Corp".bytes().flat_map(|b| [0, 0, 0, b]).collect();
        assert!(
            name(&organization(tag::UNIVERSAL_STRING, &universal))
                .unwrap()
                .matches(&evil)
        );
        let umlaut = name(&organization(tag::UTF8_STRING, "J\u{dc}RGEN".as_bytes())).unwrap();
        let latin = name(&organization(tag::TELETEX_STRING, b"j\xfcrgen")).unwrap();
        assert!(latin.matches(&umlaut));
        assert!(!evil.matches(&umlaut));
    }

    #[test]
    fn every_byte_of_a_name_is_read() {
        let good = organization(tag::UTF8_STRING, b"Good");
        assert!(name(&good).is_ok());
        let empty_set = [&[0x30, 0x02, 0x31, 0x00][..]].concat();
        assert_eq!(name(&empty_set), Err(NotDer));
        // An empty SET in front, an attribute without a value, something behind the value.
        let mut hidden = vec![0x30, good[1] + 2, 0x31, 0x00];
        hidden.extend(&good[2..]);
        assert_eq!(name(&hidden), Err(NotDer));
        let no_value = [0x30, 9, 0x31, 7, 0x30, 5, 0x06, 3, 0x55, 4, 0x0a];
        assert_eq!(name(&no_value), Err(NotDer));
        let extra = [
            0x30, 14, 0x31, 12, 0x30, 10, 6, 3, 0x55, 4, 0x0a, 0x0c, 1, b'G', 5, 0,
        ];
        assert_eq!(name(&extra), Err(NotDer));
        let no_type = [0x30, 9, 0x31, 7, 0x30, 5, 6, 0, 0x0c, 1, b'G'];
        assert_eq!(name(&no_type), Err(NotDer));
        assert!(name(&[0x30, 0]).unwrap().is_empty());
    }

    #[test]
    fn broken_text_is_refused() {
        for (tag, value) in [
            (tag::UTF8_STRING, &[0xff][..]),
            (tag::BMP_STRING, &[0, b'A', 0]),
            (tag::BMP_STRING, &[0xd8, 0]),
            (tag::UNIVERSAL_STRING, &[0xff, 0, 0, 0]),
            (tag::UTF8_STRING | 0x20, &[0x0c, 1, b'A']),
        ] {
            assert_eq!(name(&organization(tag, value)), Err(NotDer), "{tag:02x}");
        }
    }
}
