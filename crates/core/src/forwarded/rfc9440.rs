//! RFC 9440: `Client-Cert` is one Byte Sequence, `Client-Cert-Chain` a List of them (RFC 8941
//! sections 3.1 and 3.3.5).
//!
//! Of structured fields this reads what RFC 9440 uses. It counts and measures before it decodes,
//! and asks for the padding that section 3.3.5 of RFC 8941 lets a reader go without. Parameters,
//! of which RFC 9440 defines none, are refused.

use super::ValueFault;
use super::base64::{self, Padding};
use super::pem::Bounds;

/// Decodes the Byte Sequences of a List, of which there is at least one. An Item is a List of one.
///
/// # Errors
/// The index of the member that is wrong, from 0, and what is wrong with it.
pub fn byte_sequences(text: &[u8], bounds: Bounds) -> Result<Vec<Vec<u8>>, (usize, ValueFault)> {
    let mut left = bounds.der_bytes;
    let mut members = Vec::new();
    // RFC 8941 4.2: blanks around the field, and only blanks.
    let mut rest = trim(text, |byte| byte == b' ');
    loop {
        let index = members.len();
        let fault = |fault| (index, fault);
        if index >= bounds.blocks {
            return Err(fault(ValueFault::TooMany));
        }
        let (member, after) = rest
            .strip_prefix(b":")
            .and_then(|on| {
                let end = on.iter().position(|byte| *byte == b':')?;
                let (member, after) = on.split_at(end);
                Some((member, after.strip_prefix(b":")?))
            })
            .ok_or_else(|| fault(ValueFault::StructuredField))?;
        let decoded =
            base64::decode(member, Padding::Required, left).map_err(|found| fault(found.into()))?;
        left = left.saturating_sub(decoded.len());
        members.push(decoded);
        // 4.2.1: white space, a comma, white space, and then another member.
        if after.is_empty() {
            return Ok(members);
        }
        rest = trim_start(after)
            .strip_prefix(b",")
            .map(trim_start)
            .ok_or_else(|| fault(ValueFault::StructuredField))?;
    }
}

fn trim_start(text: &[u8]) -> &[u8] {
    let is_white = |byte: &u8| matches!(byte, b' ' | b'\t');
    let start = text.iter().position(|byte| !is_white(byte));
    text.get(start.unwrap_or(text.len())..).unwrap_or_default()
}

fn trim(mut text: &[u8], goes: fn(u8) -> bool) -> &[u8] {
    while let [first, rest @ ..] = text
        && goes(*first)
    {
        text = rest;
    }
    while let [rest @ .., last] = text
        && goes(*last)
    {
        text = rest;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds {
        blocks: 3,
        der_bytes: 6,
    };

    fn read(text: &str) -> Result<Vec<Vec<u8>>, (usize, ValueFault)> {
        byte_sequences(text.as_bytes(), BOUNDS)
    }

    #[test]
    fn lists_and_items() {
        let member = vec![1, 2, 3];
        assert_eq!(read(":AQID:"), Ok(vec![member.clone()]));
        assert_eq!(read("  :AQ==:  "), Ok(vec![vec![1]]));
        for text in [":AQID:,:AQID:", ":AQID: \t,\t :AQID:"] {
            assert_eq!(read(text), Ok(vec![member.clone(), member.clone()]));
        }
    }

    #[test]
    fn what_is_wrong_is_named_with_its_index() {
        let syntax = ValueFault::StructuredField;
        for (text, expected) in [
            ("", (0, syntax)),
            ("AQID:", (0, syntax)),
            (":AQID", (0, syntax)),
            (":", (0, syntax)),
            ("::", (0, ValueFault::Base64)),
            ("\t:AQID:", (0, syntax)),
            (":AQID:,", (1, syntax)),
            (":AQID:,,:AQID:", (1, syntax)),
            (":AQID::AQID:", (0, syntax)),
            (":AQID:;a=1", (0, syntax)),
            ("\"AQID\"", (0, syntax)),
            ("(:AQID:)", (0, syntax)),
            (":AQ:", (0, ValueFault::Base64)),
            (":AR==:", (0, ValueFault::Base64)),
            (": AQID:", (0, ValueFault::Base64)),
            (":AQ\tID:", (0, ValueFault::Base64)),
            (":A_ID:", (0, ValueFault::Base64)),
            (":AQ==:,:AQ==:,:AQ==:,:AQ==:", (3, ValueFault::TooMany)),
            (":AQID:,:AQIDBA==:", (1, ValueFault::TooLarge)),
        ] {
            assert_eq!(read(text), Err(expected), "{text}");
        }
    }
}
