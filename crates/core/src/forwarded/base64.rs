//! Base64 (RFC 4648 section 4) whose size is bounded before it is decoded.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// RFC 7468 section 3 allows padding to be missed; unused bits must still be zero.
const INDIFFERENT: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

const CANONICAL: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::RequireCanonical),
);

/// What becomes of `=` at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Padding {
    /// There or not.
    Indifferent,
    /// There, where the length asks for it.
    Required,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Base64Fault {
    /// Not base64 of at least one octet.
    NotBase64,
    /// More octets than allowed.
    TooLarge,
}

/// Decodes at least one octet and at most `limit`.
pub(super) fn decode(text: &[u8], padding: Padding, limit: usize) -> Result<Vec<u8>, Base64Fault> {
    // Three octets for four characters, rounded down: never more than is really there.
    let padding_bytes = text.iter().rev().take_while(|byte| **byte == b'=').count();
    let unpadded = text.len().saturating_sub(padding_bytes);
    if unpadded.saturating_mul(3) / 4 > limit {
        return Err(Base64Fault::TooLarge);
    }
    let engine = match padding {
        Padding::Indifferent => INDIFFERENT,
        Padding::Required => CANONICAL,
    };
    let decoded = engine.decode(text).ok();
    let decoded = decoded.filter(|octets| !octets.is_empty());
    let decoded = decoded.ok_or(Base64Fault::NotBase64)?;
    if decoded.len() > limit {
        return Err(Base64Fault::TooLarge);
    }
    Ok(decoded)
}
