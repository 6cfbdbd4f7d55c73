//! `Extensions`, as certificates, CRLs and entries of CRLs hold it.

use super::der::{self, Element, NotDer, Reader, tag};

/// More extensions than this in one list are refused before they are compared pairwise.
const MAX_EXTENSIONS: usize = 64;

/// As many as most lists have.
pub(super) const USUAL_EXTENSIONS: usize = 8;

/// Why a list cannot be read; object identifiers are dotted.
pub(super) enum ListFault {
    Structure,
    Duplicate { oid: String },
    Malformed { oid: String },
    TooMany { limit: usize },
}

impl From<NotDer> for ListFault {
    fn from(_: NotDer) -> Self {
        Self::Structure
    }
}

/// Whether the content of `[3]` is a list of values that each have an identifier, a value, and a flag
/// between them or none: without that, no fault is that of one extension.
pub(super) fn check(explicit: &Element<'_>) -> Result<(), NotDer> {
    let mut outer = explicit.reader();
    let mut list = sequence(&outer.any()?)?;
    outer.end()?;
    while !list.is_empty() {
        let mut fields = sequence(&list.any()?)?;
        if fields.any()?.is_constructed() {
            return Err(NotDer);
        }
        let mut value = fields.any()?;
        if value.is_numbered(tag::BOOLEAN) && value.content.len() == 1 {
            value = fields.any()?;
        }
        if value.is_constructed() || !value.is_numbered(tag::OCTET_STRING) {
            return Err(NotDer);
        }
    }
    Ok(())
}

fn sequence<'a>(element: &Element<'a>) -> Result<Reader<'a>, NotDer> {
    if element.is_numbered(tag::SEQUENCE) {
        Ok(element.reader())
    } else {
        Err(NotDer)
    }
}

/// Extensions ::= SEQUENCE SIZE (1..MAX) OF Extension, each at most once (RFC 5280 4.2). `read` gets
/// the identifier, whether it is critical, and the value.
pub(super) fn each<'a>(
    list: &Element<'a>,
    mut read: impl FnMut(&'a [u8], bool, &Element<'a>) -> Result<(), NotDer>,
) -> Result<(), ListFault> {
    let mut list = list.reader();
    if list.is_empty() {
        return Err(ListFault::Structure);
    }
    let mut seen: Vec<&[u8]> = Vec::with_capacity(USUAL_EXTENSIONS);
    while !list.is_empty() {
        let mut fields = list.require(tag::SEQUENCE)?.reader();
        let oid = fields.require(tag::OID)?.content;
        // X.690 11.5 does not encode DEFAULT FALSE; some CAs do, and it says the same.
        let critical = match fields.optional(tag::BOOLEAN)? {
            Some(value) => der::boolean(value.content)?,
            None => false,
        };
        let value = fields.require(tag::OCTET_STRING)?;
        fields.end()?;
        if seen.contains(&oid) {
            return Err(ListFault::Duplicate {
                oid: der::dotted(oid),
            });
        }
        if seen.len() >= MAX_EXTENSIONS {
            return Err(ListFault::TooMany {
                limit: MAX_EXTENSIONS,
            });
        }
        seen.push(oid);
        read(oid, critical, &value).map_err(|_| ListFault::Malformed {
            oid: der::dotted(oid),
        })?;
    }
    Ok(())
}
