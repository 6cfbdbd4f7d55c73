//! Certificates in base64 of DER: one, several whose DER is concatenated (HAProxy's
//! `ssl_c_chain_der`), or several joined by commas (Traefik, percent-encoded before 2.9.4).

use super::base64::{self, Base64Fault, Padding};
use super::pem::Bounds;
use super::{ValueFault, percent};

/// X.690: a constructed SEQUENCE, which every certificate is.
const SEQUENCE: u8 = 0x30;

/// Decodes all certificates of `text`, in order.
///
/// # Errors
/// The index of the certificate that is wrong, from 0, and what is wrong with it.
pub fn certificates(text: &[u8], bounds: Bounds) -> Result<Vec<Vec<u8>>, (usize, ValueFault)> {
    let text = percent::decode(text).ok_or((0, ValueFault::PercentEncoding))?;
    let mut left = bounds.der_bytes;
    let mut certificates = Vec::new();
    for part in text.split(|byte| *byte == b',') {
        let index = certificates.len();
        if index >= bounds.blocks {
            return Err((index, ValueFault::TooMany));
        }
        let decoded = base64::decode(part.trim_ascii(), Padding::Indifferent, left)
            .map_err(|fault| (index, fault.into()))?;
        left = left.saturating_sub(decoded.len());
        let mut rest = decoded.as_slice();
        while !rest.is_empty() {
            let index = certificates.len();
            if index >= bounds.blocks {
                return Err((index, ValueFault::TooMany));
            }
            let length = element_length(rest).ok_or((index, ValueFault::NotDer))?;
            let (element, after) = rest
                .split_at_checked(length)
                .ok_or((index, ValueFault::NotDer))?;
            certificates.push(element.to_vec());
            rest = after;
        }
    }
    Ok(certificates)
}

/// How many octets the SEQUENCE in front has, header included (X.690 8.1.3, definite form). What is
/// inside is the parser's business.
fn element_length(der: &[u8]) -> Option<usize> {
    let (&tag, after_tag) = der.split_first()?;
    let (&first, after_length) = after_tag.split_first()?;
    if tag != SEQUENCE {
        return None;
    }
    if first < 0x80 {
        return usize::from(first).checked_add(2);
    }
    let octets = usize::from(first & 0x7f);
    // 0 is the indefinite form; 4 GiB are too much for any header.
    if !(1..=4).contains(&octets) {
        return None;
    }
    let content = after_length
        .get(..octets)?
        .iter()
        .try_fold(0_usize, |length, octet| {
            length.checked_mul(256)?.checked_add(usize::from(*octet))
        })?;
    content.checked_add(octets)?.checked_add(2)
}

impl From<Base64Fault> for ValueFault {
    fn from(fault: Base64Fault) -> Self {
        match fault {
            Base64Fault::NotBase64 => Self::Base64,
            Base64Fault::TooLarge => Self::TooLarge,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds {
        blocks: 3,
        der_bytes: 12,
    };

    fn read(text: &str) -> Result<Vec<Vec<u8>>, (usize, ValueFault)> {
        certificates(text.as_bytes(), BOUNDS)
    }

    #[test]
    fn one_concatenated_and_joined() {
        let one = vec![0x30, 1, 7];
        // 30 01 07, in the long form of its length too.
        assert_eq!(read("MAEH"), Ok(vec![one.clone()]));
        assert_eq!(read(" MAEH "), Ok(vec![one.clone()]));
        assert_eq!(read("MIEBBw=="), Ok(vec![vec![0x30, 0x81, 1, 7]]));
        assert_eq!(read("MIEBBw"), Ok(vec![vec![0x30, 0x81, 1, 7]]));
        assert_eq!(read("MIEBBw%3D%3d"), Ok(vec![vec![0x30, 0x81, 1, 7]]));
        assert_eq!(read("MAEHMAEH"), Ok(vec![one.clone(), one.clone()]));
        assert_eq!(read("MAEH,MAEH"), Ok(vec![one.clone(), one.clone()]));
        assert_eq!(read("MAEH%2CMAEH"), Ok(vec![one.clone(), one]));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_index() {
        for (text, expected) in [
            ("", (0, ValueFault::Base64)),
            ("MAEH,", (1, ValueFault::Base64)),
            (",MAEH", (0, ValueFault::Base64)),
            ("MA EH", (0, ValueFault::Base64)),
            ("MAEH%2", (0, ValueFault::PercentEncoding)),
            // `_` is of the other alphabet (RFC 4648 section 5).
            ("MAE_", (0, ValueFault::Base64)),
            // 02 01 07; 30 02 07; 30 80 00 00; 30 85 …; 30 01 07 00.
            ("AgEH", (0, ValueFault::NotDer)),
            ("MAIH", (0, ValueFault::NotDer)),
            ("MIAAAA", (0, ValueFault::NotDer)),
            ("MIUAAAAAAQc", (0, ValueFault::NotDer)),
            ("MAEHAA", (1, ValueFault::NotDer)),
            ("MAEHMAEHMAEHMAEH", (3, ValueFault::TooMany)),
            ("MAEH,MAEH,MAEH,MAEH", (3, ValueFault::TooMany)),
            ("MAEHMAEHMAEHMAEHMAEH", (0, ValueFault::TooLarge)),
            ("MAEH,MAEHMAEHMAEHMAEH", (1, ValueFault::TooLarge)),
        ] {
            assert_eq!(read(text), Err(expected), "{text}");
        }
    }
}
