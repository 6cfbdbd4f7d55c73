//! PEM (RFC 7468), as strict as identities need and as lenient as producers differ: line ends may
//! be LF, CRLF, blanks, tabs or absent (a header cannot hold a line end), padding may be absent.

use thiserror::Error;

use super::base64::{self, Base64Fault, Padding};
use super::scan;

const BEGIN: &[u8] = b"-----BEGIN ";
const END: &[u8] = b"-----END ";
const DASHES: &[u8] = b"-----";

/// What a block holds (RFC 7468 sections 5 and 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Label {
    /// `CERTIFICATE`
    Certificate,
    /// `X509 CRL`
    Crl,
}

impl Label {
    /// The label as it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Certificate => "CERTIFICATE",
            Self::Crl => "X509 CRL",
        }
    }
}

/// What may stand around the blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Around {
    /// White space only, and every block is of the kind asked for: what a proxy or a configuration holds.
    Nothing,
    /// Any text, and blocks with other labels are passed over: files that people keep.
    AnyText,
}

/// What is wrong with a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PemFault {
    /// Text outside the blocks.
    #[error("text outside BEGIN and END")]
    TextAround,
    /// The BEGIN line is not closed, or the label is another one.
    #[error("not labelled {}", wanted.as_str())]
    Label {
        /// What was asked for.
        wanted: Label,
    },
    /// No END line with the same label.
    #[error("no END {}", wanted.as_str())]
    NoEnd {
        /// What was asked for.
        wanted: Label,
    },
    /// Not base64 of at least one octet.
    #[error("not base64")]
    Base64,
    /// More blocks than allowed.
    #[error("more blocks than allowed")]
    TooMany,
    /// More DER octets in all than allowed.
    #[error("more octets than allowed")]
    TooLarge,
}

/// Bounds on what is decoded; both are checked before base64 is.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Blocks of the kind asked for.
    pub blocks: usize,
    /// DER octets in all.
    pub der_bytes: usize,
}

/// Decodes all blocks of `text` with this label, in order. No block at all is an empty list.
///
/// # Errors
/// The index of the block that is wrong, from 0, and what is wrong with it.
pub fn blocks(
    text: &[u8],
    wanted: Label,
    around: Around,
    bounds: Bounds,
) -> Result<Vec<Vec<u8>>, (usize, PemFault)> {
    let mut bodies: Vec<&[u8]> = Vec::new();
    let mut rest = text;
    loop {
        let index = bodies.len();
        let fault = |fault| (index, fault);
        let Some(begin) = find(rest, BEGIN) else {
            if around == Around::Nothing && !is_blank(rest) {
                return Err(fault(PemFault::TextAround));
            }
            break;
        };
        let (before, block) = rest.split_at(begin);
        if around == Around::Nothing && !is_blank(before) {
            return Err(fault(PemFault::TextAround));
        }
        let label_on = block.strip_prefix(BEGIN).unwrap_or_default();
        let label_length =
            find(label_on, DASHES).ok_or_else(|| fault(PemFault::Label { wanted }))?;
        let (label, after_label) = label_on.split_at(label_length);
        let body_on = after_label.strip_prefix(DASHES).unwrap_or_default();
        let body_length = find(body_on, END).ok_or_else(|| fault(PemFault::NoEnd { wanted }))?;
        let (body, end_line) = body_on.split_at(body_length);
        let after_block = end_line
            .strip_prefix(END)
            .and_then(|line| line.strip_prefix(label))
            .and_then(|line| line.strip_prefix(DASHES))
            .ok_or_else(|| fault(PemFault::NoEnd { wanted }))?;
        rest = after_block;
        if label != wanted.as_str().as_bytes() {
            if around == Around::Nothing {
                return Err(fault(PemFault::Label { wanted }));
            }
            continue;
        }
        if index >= bounds.blocks {
            return Err(fault(PemFault::TooMany));
        }
        bodies.push(body);
    }

    let mut left = bounds.der_bytes;
    let mut decoded = Vec::with_capacity(bodies.len());
    for (index, body) in bodies.into_iter().enumerate() {
        let der =
            base64::decode(&without_white(body), Padding::Indifferent, left).map_err(|fault| {
                match fault {
                    Base64Fault::NotBase64 => (index, PemFault::Base64),
                    Base64Fault::TooLarge => (index, PemFault::TooLarge),
                }
            })?;
        left = left.saturating_sub(der.len());
        decoded.push(der);
    }
    Ok(decoded)
}

fn without_white(body: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(body.len());
    let mut rest = body;
    while let Some(at) = scan::find(rest, |word| scan::below(word, 0x21)) {
        let (line, on) = rest.split_at_checked(at).unwrap_or((rest, &[]));
        text.extend(line);
        // Another control character is for base64 to refuse.
        text.extend(on.first().filter(|byte| !is_white(**byte)));
        rest = on.get(1..).unwrap_or_default();
    }
    text.extend(rest);
    text
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    let first = *needle.first()?;
    let mut at = 0_usize;
    loop {
        let rest = haystack.get(at..)?;
        let found = scan::find(rest, |word| scan::equal(word, first))?;
        at = at.saturating_add(found);
        if haystack.get(at..)?.starts_with(needle) {
            return Some(at);
        }
        at = at.saturating_add(1);
    }
}

fn is_white(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

fn is_blank(text: &[u8]) -> bool {
    text.iter().copied().all(is_white)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds {
        blocks: 3,
        der_bytes: 10,
    };

    fn strict(text: &str) -> Result<Vec<Vec<u8>>, (usize, PemFault)> {
        blocks(text.as_bytes(), Label::Certificate, Around::Nothing, BOUNDS)
    }

    fn block(body: &str) -> String {
        format!("-----BEGIN CERTIFICATE-----{body}-----END CERTIFICATE-----")
    }

    #[test]
    fn separators_and_padding_vary() {
        for body in [
            "\nAQID\n",
            "\r\nAQ\r\nID\r\n",
            " AQID ",
            "\n\tAQ\n\tID",
            "AQID",
        ] {
            assert_eq!(strict(&block(body)), Ok(vec![vec![1, 2, 3]]), "{body:?}");
        }
        assert_eq!(strict(&block("AQ==")), Ok(vec![vec![1]]));
        assert_eq!(strict(&block("AQ")), Ok(vec![vec![1]]));
        assert_eq!(strict(""), Ok(vec![]));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_index() {
        let good = block("AQID");
        let label = PemFault::Label {
            wanted: Label::Certificate,
        };
        let cases = [
            (format!("{good} x {good}"), (1, PemFault::TextAround)),
            (format!("{good}x"), (1, PemFault::TextAround)),
            (format!("{good}{}", block("A*==")), (1, PemFault::Base64)),
            (block("AR=="), (0, PemFault::Base64)),
            (block(""), (0, PemFault::Base64)),
            (
                "-----BEGIN CERTIFICATE-----AQID".to_owned(),
                (
                    0,
                    PemFault::NoEnd {
                        wanted: Label::Certificate,
                    },
                ),
            ),
            ("-----BEGIN CERT".to_owned(), (0, label)),
            (
                "-----BEGIN PRIVATE KEY-----AQID-----END PRIVATE KEY-----".to_owned(),
                (0, label),
            ),
            (good.repeat(4), (3, PemFault::TooMany)),
            (block("AQIDBAUGBwgJCgs="), (0, PemFault::TooLarge)),
            (
                format!("{}{}", block("AQIDBAUG"), block("AQIDBAUG")),
                (1, PemFault::TooLarge),
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(strict(&text), Err(expected), "{text}");
        }
    }

    #[test]
    fn files_may_hold_text_and_other_blocks() {
        let text = format!(
            "subject=x\n-----BEGIN PRIVATE KEY-----AQID-----END PRIVATE KEY-----\n{}\nend",
            block("AQID")
        );
        assert_eq!(
            blocks(text.as_bytes(), Label::Certificate, Around::AnyText, BOUNDS),
            Ok(vec![vec![1, 2, 3]])
        );
    }

    #[test]
    fn only_blocks_of_the_kind_asked_for_are_decoded() {
        let text = format!(
            "{}-----BEGIN X509 CRL-----BAUG-----END X509 CRL-----",
            block("AQID")
        );
        assert_eq!(
            blocks(text.as_bytes(), Label::Crl, Around::AnyText, BOUNDS),
            Ok(vec![vec![4, 5, 6]])
        );
        let fault = blocks(text.as_bytes(), Label::Crl, Around::Nothing, BOUNDS).unwrap_err();
        assert_eq!(
            (fault.0, fault.1.to_string()),
            (0, "not labelled X509 CRL".to_owned())
        );
    }
}
