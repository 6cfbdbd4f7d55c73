//! The client certificate of a connection that another proxy terminated, in headers of its request.
//!
//! Whether that proxy is believed is decided before (`crate::relay`). Absent, empty and what
//! producers write for nothing mean no certificate; everything else that cannot be decoded is a
//! certificate that is not shown, and no other certificate takes the end entity's place.

use super::connection::is_hex_of;
use super::pem::{self, Around, Bounds, Label, PemFault};
use super::xfcc_elements::{self, Element, XfccFault};
use super::{
    DecodeError, EndEntity, ForwardedChain, ValueFault, der, percent, rfc9440, within_limits,
};
use crate::error::Refusal;
use crate::limits::{NUMBERED_HEADERS, RequestLimits};

/// What producers write where there is no certificate: nothing; HAProxy in RFC 9440's form; Apache;
/// Caddy; and what logs use.
const NOTHING: [&[u8]; 5] = [b"", b"::", b"(null)", b"<nil>", b"-"];

const CERTIFICATE: &str = "forwarded end entity";
const CHAIN: &str = "forwarded chain";

/// How certificates are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// RFC 9440: Byte Sequences of structured fields.
    Rfc9440,
    /// PEM in one line, percent-encoded or with white space in the place of line ends.
    Pem,
    /// Base64 of DER; several concatenated before they are encoded, or joined by commas.
    Base64Der,
}

impl Encoding {
    fn decode(self, text: &[u8], bounds: Bounds) -> Result<Vec<Vec<u8>>, (usize, ValueFault)> {
        match self {
            Self::Rfc9440 => rfc9440::byte_sequences(text, bounds),
            Self::Base64Der => der::certificates(text, bounds),
            Self::Pem => {
                let text = percent::decode(text).ok_or((0, ValueFault::PercentEncoding))?;
                pem::blocks(&text, Label::Certificate, Around::Nothing, bounds).map_err(
                    |(index, fault)| match fault {
                        PemFault::TooMany => (index, ValueFault::TooMany),
                        PemFault::TooLarge => (index, ValueFault::TooLarge),
                        fault => (index, ValueFault::Pem(fault)),
                    },
                )
            }
        }
    }
}

/// Where the other certificates are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Chain {
    /// Nowhere.
    None,
    /// Behind the end entity, in the same header.
    Same,
    /// In a header of their own.
    Header {
        /// Its name.
        name: String,
        /// It begins with the end entity once more.
        has_end_entity: bool,
    },
    /// In one header each, numbered from 0.
    Numbered {
        /// The names without the numbers.
        prefix: String,
    },
}

/// What is in the headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Format {
    /// Envoy's `x-forwarded-client-cert`.
    Xfcc {
        /// How many elements there are if there is a certificate, neither more nor less.
        elements: usize,
    },
    /// Certificates and nothing else.
    Certificates {
        /// How they are written.
        encoding: Encoding,
        /// Where the others are.
        chain: Chain,
    },
}

/// Which headers hold a certificate, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderSource {
    /// The header with the end entity.
    pub name: String,
    /// What is in it.
    pub format: Format,
    /// Other headers in which the same producer tells of a certificate. They are not read.
    pub companions: Vec<String>,
}

/// The proxy that forwards, as its connection shows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Relay {
    /// SHA-256 of its own certificate, if it presented one.
    pub digest: Option<[u8; 32]>,
}

/// Headers of a request: name and value.
pub type Lines<'a> = [(&'a [u8], &'a [u8])];

impl HeaderSource {
    /// All names under which the producer tells of a certificate: none of them goes on to a backend.
    pub fn names(&self) -> impl Iterator<Item = String> {
        let chain: Vec<String> = match &self.format {
            Format::Xfcc { .. } => Vec::new(),
            Format::Certificates { chain, .. } => match chain {
                Chain::None | Chain::Same => Vec::new(),
                Chain::Header { name, .. } => vec![name.clone()],
                Chain::Numbered { prefix } => (0..NUMBERED_HEADERS)
                    .map(|number| format!("{prefix}{number}"))
                    .collect(),
            },
        };
        let own = core::iter::once(self.name.clone());
        own.chain(chain).chain(self.companions.iter().cloned())
    }

    /// Whether any header that would be read is there.
    #[must_use]
    pub fn is_in(&self, headers: &Lines<'_>) -> bool {
        headers.iter().any(|(name, _)| self.reads(name))
    }

    /// Decodes what there is; counts and sizes are bounded first.
    #[must_use]
    pub fn decode(
        &self,
        headers: &Lines<'_>,
        relay: Relay,
        limits: &RequestLimits,
    ) -> ForwardedChain {
        let decoded = self.decode_within(headers, relay, limits);
        decoded.unwrap_or_else(ForwardedChain::Undecodable)
    }

    /// All that [`decode`](Self::decode) looks at in the headers.
    pub(crate) fn evidence<'h>(&self, headers: &Lines<'h>) -> Vec<&'h [u8]> {
        let read = headers.iter().filter(|(name, _)| self.reads(name));
        read.flat_map(|(name, value)| [*name, *value]).collect()
    }

    /// Whether the header may speak of the one who forwards, so that [`decode`](Self::decode) looks at
    /// `relay`.
    pub(crate) fn names_relay(&self) -> bool {
        matches!(self.format, Format::Xfcc { .. })
    }

    /// Whether a header of this name is read.
    #[must_use]
    pub fn reads(&self, name: &[u8]) -> bool {
        if is_name(name, &self.name) {
            return true;
        }
        match &self.format {
            Format::Certificates {
                chain: Chain::Header { name: chain, .. },
                ..
            } => is_name(name, chain),
            Format::Certificates {
                chain: Chain::Numbered { prefix },
                ..
            } => number(name, prefix).is_some(),
            Format::Certificates { .. } | Format::Xfcc { .. } => false,
        }
    }

    fn decode_within(
        &self,
        headers: &Lines<'_>,
        relay: Relay,
        limits: &RequestLimits,
    ) -> Result<ForwardedChain, Refusal> {
        let bytes = headers
            .iter()
            .filter(|(name, _)| self.reads(name))
            .fold(0_usize, |sum, (_, value)| sum.saturating_add(value.len()));
        if bytes > limits.forwarded_header_bytes {
            return Err(too_large(limits));
        }
        let value = only(headers, &self.name, CERTIFICATE)?;
        match &self.format {
            Format::Xfcc { elements } => {
                let Some(value) = value else {
                    return Ok(ForwardedChain::Absent);
                };
                from_xfcc(value, *elements, relay, limits)
            }
            Format::Certificates { encoding, chain } => {
                let others = others(headers, *encoding, chain);
                let Some(value) = value else {
                    return match others {
                        Ok(others) if others.is_empty() => Ok(ForwardedChain::Absent),
                        _ => Err(DecodeError::ChainAlone.into()),
                    };
                };
                from_values(value, others, *encoding, chain, limits)
            }
        }
    }
}

/// Values that hold the other certificates, each a list.
fn others(
    headers: &Lines<'_>,
    encoding: Encoding,
    chain: &Chain,
) -> Result<Vec<Vec<u8>>, DecodeError> {
    match chain {
        Chain::None | Chain::Same => Ok(Vec::new()),
        Chain::Header { name, .. } if encoding == Encoding::Rfc9440 => {
            let lines: Vec<&[u8]> = values(headers, name).collect();
            Ok(match lines.as_slice() {
                [] => Vec::new(),
                [line] if is_nothing(line) => Vec::new(),
                // RFC 8941 4.2: a List may be spread over several lines.
                lines => vec![lines.join(&b", "[..])],
            })
        }
        Chain::Header { name, .. } => {
            let value = only(headers, name, CHAIN)?;
            Ok(value.map(<[u8]>::to_vec).into_iter().collect())
        }
        Chain::Numbered { prefix } => numbered(headers, prefix),
    }
}

/// One certificate for each number from 0, and then nothing.
fn numbered(headers: &Lines<'_>, prefix: &str) -> Result<Vec<Vec<u8>>, DecodeError> {
    let mut found: Vec<(usize, &[u8])> = headers
        .iter()
        .filter_map(|(name, value)| Some((number(name, prefix)?, *value)))
        .collect();
    found.sort_by_key(|(number, _)| *number);
    let twice = found.windows(2).find_map(|pair| match pair {
        [(first, _), (second, _)] => (first == second).then_some(*first),
        _ => None,
    });
    if let Some(index) = twice {
        return Err(DecodeError::Numbering { index });
    }
    let there = found.into_iter().filter(|(_, value)| !is_nothing(value));
    there
        .enumerate()
        .map(|(expected, (index, value))| {
            if index == expected && index < NUMBERED_HEADERS {
                Ok(value.to_vec())
            } else {
                Err(DecodeError::Numbering { index })
            }
        })
        .collect()
}

/// The number behind the prefix, as producers write it: without a leading zero.
fn number(name: &[u8], prefix: &str) -> Option<usize> {
    let (start, digits) = name.split_at_checked(prefix.len())?;
    let digits = core::str::from_utf8(digits).ok()?;
    let is_number = !digits.is_empty()
        && digits.bytes().all(|byte| byte.is_ascii_digit())
        && (digits == "0" || !digits.starts_with('0'));
    if !is_number || !is_name(start, prefix) {
        return None;
    }
    // One that is too long to be a number is one that nobody reads.
    Some(digits.parse().unwrap_or(usize::MAX))
}

fn from_values(
    value: &[u8],
    others: Result<Vec<Vec<u8>>, DecodeError>,
    encoding: Encoding,
    chain: &Chain,
    limits: &RequestLimits,
) -> Result<ForwardedChain, Refusal> {
    if *chain == Chain::Same {
        return whole_chain(value, encoding, limits);
    }
    let end_entity = one(value, encoding, limits)?;
    let has_end_entity = matches!(
        chain,
        Chain::Header {
            has_end_entity: true,
            ..
        }
    );
    let others = others.map_err(Refusal::from).and_then(|values| {
        let mut all = Vec::new();
        for value in &values {
            let left = bounds(limits, end_entity.der().len(), all.len());
            let read = encoding
                .decode(value, left)
                .map_err(|(index, fault)| refusal(index, fault, limits))?;
            if read.is_empty() {
                return Err(empty(CHAIN));
            }
            all.extend(read);
        }
        let begins = all.first().is_none_or(|first| first == end_entity.der());
        if has_end_entity && !begins {
            return Err(DecodeError::OtherChain.into());
        }
        within_limits(end_entity.der(), all, limits)
    });
    Ok(ForwardedChain::Present { end_entity, others })
}

/// End entity first, the others behind it, in one value that can be read as a whole or not at all.
fn whole_chain(
    value: &[u8],
    encoding: Encoding,
    limits: &RequestLimits,
) -> Result<ForwardedChain, Refusal> {
    let certificates = encoding
        .decode(value, bounds(limits, 0, 0))
        .map_err(|(index, fault)| refusal(index, fault, limits))?;
    if certificates.is_empty() {
        return Err(empty(CERTIFICATE));
    }
    Ok(ForwardedChain::from_der(certificates, limits))
}

fn from_xfcc(
    value: &[u8],
    expected: usize,
    relay: Relay,
    limits: &RequestLimits,
) -> Result<ForwardedChain, Refusal> {
    let (elements, found) = xfcc_elements::elements(value, expected).map_err(DecodeError::from)?;
    let Some(client) = client(&elements, found, expected, relay).map_err(DecodeError::from)? else {
        return Ok(ForwardedChain::Absent);
    };
    let hash = client.hash.as_deref().unwrap_or_default();
    if hash.len() != 64 || !hash.iter().all(u8::is_ascii_hexdigit) {
        return Err(DecodeError::from(XfccFault::NoHash).into());
    }
    let is_hashed = |end_entity: &EndEntity| is_hex_of(hash, &end_entity.sha256());
    let chain = client.chain.as_deref().filter(|chain| !is_nothing(chain));
    let Some(cert) = client.cert.as_deref().filter(|cert| !is_nothing(cert)) else {
        // Envoy's Chain begins with the end entity, and the hash says whether this one does.
        let certificates = match chain {
            Some(chain) => xfcc_chain(chain, 0, bounds(limits, 0, 0), limits)?,
            None => Vec::new(),
        };
        let mut certificates = certificates.into_iter();
        let end_entity = certificates.next().map(EndEntity::new);
        let Some(end_entity) = end_entity.filter(is_hashed) else {
            return Err(DecodeError::NotShown.into());
        };
        let others = within_limits(end_entity.der(), certificates.collect(), limits);
        return Ok(ForwardedChain::Present { end_entity, others });
    };
    let end_entity = one(cert, Encoding::Pem, limits)?;
    if !is_hashed(&end_entity) {
        return Err(DecodeError::from(XfccFault::OtherHash).into());
    }
    let Some(chain) = chain else {
        let others = Ok(Vec::new());
        return Ok(ForwardedChain::Present { end_entity, others });
    };
    // Envoy begins Chain with the text of Cert: what was decoded once is that again.
    let end_entity_bytes = end_entity.der().len();
    let (text, before, bounds) = match chain.strip_prefix(cert) {
        Some(behind) => (behind, 1, bounds(limits, 0, 1)),
        None => (chain, 0, bounds(limits, end_entity_bytes, 0)),
    };
    let others = xfcc_chain(text, before, bounds, limits).and_then(|certificates| {
        let begins = before > 0
            || certificates
                .first()
                .is_none_or(|first| first == end_entity.der());
        if !begins {
            return Err(DecodeError::OtherChain.into());
        }
        within_limits(end_entity.der(), certificates, limits)
    });
    Ok(ForwardedChain::Present { end_entity, others })
}

/// The certificates of `Chain=`, or of its text behind so many of them.
fn xfcc_chain(
    text: &[u8],
    before: usize,
    bounds: Bounds,
    limits: &RequestLimits,
) -> Result<Vec<Vec<u8>>, Refusal> {
    Encoding::Pem
        .decode(text, bounds)
        .map_err(|(index, fault)| match fault {
            // Of the whole text, whatever is in it.
            ValueFault::PercentEncoding => refusal(index, fault, limits),
            _ => refusal(index.saturating_add(before), fault, limits),
        })
}

/// The element of the proxy nearest to the client, if the number of elements is the one configured.
///
/// An element with the hash of this connection's own certificate is about the relay: alone it says
/// that the relay forwarded no certificate. Anywhere but at the end it was not written by this proxy.
fn client<'a, 'e>(
    elements: &'e [Element<'a>],
    found: usize,
    expected: usize,
    relay: Relay,
) -> Result<Option<&'e Element<'a>>, XfccFault> {
    let is_relay = |element: &Element<'_>| {
        relay.digest.is_some_and(|digest| {
            let hash = element.hash.as_deref();
            hash.is_some_and(|hash| is_hex_of(hash, &digest))
        })
    };
    if let ([only], 1) = (elements, found)
        && is_relay(only)
    {
        return Ok(None);
    }
    if found != expected {
        return Err(XfccFault::Count { expected, found });
    }
    if let [before @ .., _] = elements
        && before.iter().any(is_relay)
    {
        return Err(XfccFault::OwnElement);
    }
    Ok(elements.first())
}

/// Exactly one certificate.
fn one(value: &[u8], encoding: Encoding, limits: &RequestLimits) -> Result<EndEntity, Refusal> {
    // Over the payload limit it is refused later, with its fingerprint.
    let bounds = Bounds {
        blocks: 1,
        der_bytes: limits.forwarded_header_bytes,
    };
    let malformed = |(index, fault)| DecodeError::Value {
        what: CERTIFICATE,
        index,
        fault,
    };
    let certificates = encoding.decode(value, bounds).map_err(malformed)?;
    let first = certificates.into_iter().next();
    first.map(EndEntity::new).ok_or_else(|| empty(CERTIFICATE))
}

/// What may still be read of a chain that may repeat the end entity, whose size counts once.
fn bounds(limits: &RequestLimits, end_entity_bytes: usize, read: usize) -> Bounds {
    let blocks = limits.presented_certificates.saturating_add(1);
    Bounds {
        blocks: blocks.saturating_sub(read),
        der_bytes: limits.payload_bytes.saturating_add(end_entity_bytes),
    }
}

fn refusal(index: usize, fault: ValueFault, limits: &RequestLimits) -> Refusal {
    match fault {
        ValueFault::TooMany => Refusal::TooManyCertificates {
            limit: limits.presented_certificates,
        },
        ValueFault::TooLarge => too_large(limits),
        fault => DecodeError::Value {
            what: CHAIN,
            index,
            fault,
        }
        .into(),
    }
}

fn too_large(limits: &RequestLimits) -> Refusal {
    Refusal::PayloadTooLarge {
        limit_bytes: limits.payload_bytes,
    }
}

fn empty(what: &'static str) -> Refusal {
    DecodeError::Value {
        what,
        index: 0,
        fault: ValueFault::Empty,
    }
    .into()
}

fn is_name(name: &[u8], expected: &str) -> bool {
    name.eq_ignore_ascii_case(expected.as_bytes())
}

fn is_nothing(value: &[u8]) -> bool {
    NOTHING.contains(&value.trim_ascii())
}

fn values<'a>(headers: &'a Lines<'a>, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
    let lines = headers.iter();
    lines
        .filter(move |(found, _)| is_name(found, name))
        .map(|(_, value)| *value)
}

/// The value of a header that occurs once, if there is one and something in it.
fn only<'a>(
    headers: &'a Lines<'a>,
    name: &'a str,
    what: &'static str,
) -> Result<Option<&'a [u8]>, DecodeError> {
    let mut lines = values(headers, name);
    let value = lines.next();
    match lines.count() {
        0 => Ok(value.filter(|value| !is_nothing(value))),
        more => Err(DecodeError::RepeatedHeader {
            what,
            count: more.saturating_add(1),
        }),
    }
}

#[cfg(test)]
mod tests;
