//! The client certificate of a connection that this proxy terminated.
//!
//! The end entity is what the proxy itself says it saw. The header only offers other certificates
//! as candidates for path building, so that forging it gains nothing.

use super::pem::{self, Around, Bounds, Label, PemFault};
use super::{DecodeError, EndEntity, ForwardedChain, within_limits, xfcc};
use crate::error::Refusal;
use crate::limits::RequestLimits;

/// What an Envoy that terminated the connection shows a filter.
#[derive(Clone, Copy, Debug, Default)]
pub struct Connection<'a> {
    /// `connection.peer_certificate`: PEM of the end entity (Envoy 1.38 and later).
    pub peer_certificate: Option<&'a [u8]>,
    /// `connection.sha256_peer_certificate_digest`: hexadecimal SHA-256 of the end entity's DER.
    pub peer_digest: Option<&'a [u8]>,
    /// `connection.mtls`: the client presented a certificate.
    pub certificate_presented: bool,
    /// The values of `x-forwarded-client-cert`, which this Envoy wrote (`SANITIZE_SET`).
    pub forwarded: &'a [&'a [u8]],
}

impl Connection<'_> {
    /// Decodes the end entity and its companions; counts and sizes are bounded first.
    #[must_use]
    pub fn decode(&self, limits: &RequestLimits) -> ForwardedChain {
        let end_entity = match self.end_entity(limits) {
            Ok(None) => return ForwardedChain::Absent,
            Ok(Some(end_entity)) => end_entity,
            Err(refusal) => return ForwardedChain::Undecodable(refusal),
        };
        let others = self.others(end_entity.der(), limits);
        ForwardedChain::Present { end_entity, others }
    }

    /// All that [`decode`](Self::decode) looks at. Absent and empty are one to it.
    pub(super) fn evidence(&self) -> Vec<&[u8]> {
        let presented: &[u8] = if self.certificate_presented {
            b"y"
        } else {
            b"n"
        };
        let shown = [
            b"connection",
            presented,
            self.peer_certificate.unwrap_or_default(),
            self.peer_digest.unwrap_or_default(),
        ];
        shown
            .into_iter()
            .chain(self.forwarded.iter().copied())
            .collect()
    }

    /// The digest that the proxy shows, as octets.
    pub(super) fn digest(&self) -> Option<[u8; 32]> {
        let mut digest = [0; 32];
        let text = self.peer_digest.filter(|text| text.len() == 64)?;
        for (octet, digits) in digest.iter_mut().zip(text.chunks_exact(2)) {
            let digits = core::str::from_utf8(digits).ok()?;
            *octet = u8::from_str_radix(digits, 16).ok()?;
        }
        Some(digest)
    }

    fn end_entity(&self, limits: &RequestLimits) -> Result<Option<EndEntity>, Refusal> {
        if let Some(text) = non_empty(self.peer_certificate) {
            return one_certificate(text, "connection.peer_certificate", limits).map(Some);
        }
        let Some(digest) = non_empty(self.peer_digest) else {
            return if self.certificate_presented {
                Err(DecodeError::NotShown.into())
            } else {
                Ok(None)
            };
        };
        // Envoy before 1.38: the header's copy, if it is the certificate with this digest.
        let Some(header) = self.header(limits)? else {
            return Err(DecodeError::NotShown.into());
        };
        let what = "x-forwarded-client-cert Cert=";
        let text = xfcc::first_value(header, "Cert")
            .map_err(|_| DecodeError::PercentEncoding { what })?
            .ok_or(DecodeError::NotShown)?;
        let end_entity = one_certificate(&text, what, limits)?;
        if !is_hex_of(digest, &end_entity.sha256()) {
            return Err(DecodeError::NotThisConnection.into());
        }
        Ok(Some(end_entity))
    }

    fn others(&self, end_entity: &[u8], limits: &RequestLimits) -> Result<Vec<Vec<u8>>, Refusal> {
        let Some(header) = self.header(limits)? else {
            return Ok(Vec::new());
        };
        let what = "x-forwarded-client-cert Chain=";
        let text = xfcc::first_value(header, "Chain")
            .map_err(|_| DecodeError::PercentEncoding { what })?;
        let Some(text) = text else {
            return Ok(Vec::new());
        };
        let bounds = Bounds {
            // Chain= repeats the end entity, whose size counts once.
            blocks: limits.presented_certificates.saturating_add(1),
            der_bytes: limits.payload_bytes.saturating_add(end_entity.len()),
        };
        // In the same text, as a rule: what was decoded once is that again.
        let known = non_empty(self.peer_certificate);
        let (text, before, bounds) = match known.and_then(|known| text.strip_prefix(known)) {
            Some(behind) => (
                behind,
                1,
                Bounds {
                    blocks: limits.presented_certificates,
                    der_bytes: limits.payload_bytes,
                },
            ),
            None => (text.as_slice(), 0, bounds),
        };
        let others = pem::blocks(text, Label::Certificate, Around::Nothing, bounds)
            .map_err(|(index, fault)| refusal(what, index.saturating_add(before), fault, limits))?;
        within_limits(end_entity, others, limits)
    }

    /// The one header; several cannot come from a proxy that overwrites it.
    fn header(&self, limits: &RequestLimits) -> Result<Option<&[u8]>, Refusal> {
        match self.forwarded {
            [] => Ok(None),
            [header] if header.len() > limits.forwarded_header_bytes => Err(too_large(limits)),
            [header] => Ok(Some(header)),
            several => Err(DecodeError::RepeatedHeader {
                what: "x-forwarded-client-cert",
                count: several.len(),
            }
            .into()),
        }
    }
}

fn non_empty(value: Option<&[u8]>) -> Option<&[u8]> {
    value.filter(|value| !value.is_empty())
}

fn one_certificate(
    text: &[u8],
    what: &'static str,
    limits: &RequestLimits,
) -> Result<EndEntity, Refusal> {
    // Over the payload limit it is refused later, with its fingerprint.
    let bounds = Bounds {
        blocks: 1,
        der_bytes: limits.forwarded_header_bytes,
    };
    let certificates = pem::blocks(text, Label::Certificate, Around::Nothing, bounds)
        .map_err(|(index, fault)| DecodeError::Pem { what, index, fault })?;
    let first = certificates.into_iter().next();
    first.map(EndEntity::new).ok_or_else(|| {
        DecodeError::Pem {
            what,
            index: 0,
            fault: PemFault::Label {
                wanted: Label::Certificate,
            },
        }
        .into()
    })
}

fn refusal(what: &'static str, index: usize, fault: PemFault, limits: &RequestLimits) -> Refusal {
    match fault {
        PemFault::TooMany => Refusal::TooManyCertificates {
            limit: limits.presented_certificates,
        },
        PemFault::TooLarge => too_large(limits),
        fault => DecodeError::Pem { what, index, fault }.into(),
    }
}

fn too_large(limits: &RequestLimits) -> Refusal {
    Refusal::PayloadTooLarge {
        limit_bytes: limits.payload_bytes,
    }
}

/// `text` is the hexadecimal form of these octets, in either case.
pub(super) fn is_hex_of(text: &[u8], bytes: &[u8]) -> bool {
    let digit = |digit: &u8| char::from(*digit).to_digit(16);
    let nibbles = bytes.iter().flat_map(|byte| [byte >> 4, byte & 0xf]);
    text.iter()
        .map(digit)
        .eq(nibbles.map(|nibble| Some(u32::from(nibble))))
}
