//! Header and peer certificate decoded as on a connection that Envoy terminated; and the same header
//! in each form in which another proxy may forward it.

use mtls_gate_core::forwarded::connection::Connection;
use mtls_gate_core::forwarded::header::{Chain, Encoding, Format, HeaderSource, Relay};
use mtls_gate_core::forwarded::pem::{self, Around, Bounds, Label};
use mtls_gate_core::forwarded::{EndEntity, ForwardedChain, xfcc};
use mtls_gate_core::limits::RequestLimits;
use sha2::{Digest, Sha256};

use crate::frames::Input;
use crate::is_one_line;

/// Bits of the first setting.
pub const PEER_CERTIFICATE: u8 = 1;
pub const PEER_DIGEST: u8 = 2;
pub const CERTIFICATE_PRESENTED: u8 = 4;
pub const HEADER_TWICE: u8 = 8;
/// The digest is that of the header's own certificate, which no mutation would find.
pub const RIGHT_DIGEST: u8 = 16;
pub const SMALL_LIMITS: u8 = 32;

/// Values of the second setting: forms in which another proxy forwards.
pub const XFCC: u8 = 0;
pub const RFC9440_WITH_CHAIN: u8 = 1 | 4 << 2;
pub const PEM_CHAIN: u8 = 2 | 2 << 2;
pub const DER_CHAIN: u8 = 3 | 2 << 2;
pub const PEM_NUMBERED: u8 = 2 | 6 << 2;

/// A frame of even kind is the header, of odd kind the peer's certificate or its digest.
pub const HEADER: u8 = 0;
pub const PEER: u8 = 1;

pub fn run(data: &[u8]) {
    let input = Input::read(data);
    let has = |bit| input.settings[0] & bit != 0;
    let frame = |kind| {
        let mut frames = input.frames.iter();
        frames.find(|frame| frame.kind % 2 == kind)
    };
    let header = frame(HEADER).map(|frame| frame.bytes.as_slice());
    let peer = frame(PEER).map_or(&[][..], |frame| &frame.bytes);
    let limits = limits(has(SMALL_LIMITS));
    let right_digest = has(RIGHT_DIGEST)
        .then(|| header.and_then(digest_of))
        .flatten();

    let headers: Vec<&[u8]> = match header {
        Some(header) if has(HEADER_TWICE) => vec![header, header],
        Some(header) => vec![header],
        None => vec![],
    };
    let connection = Connection {
        peer_certificate: has(PEER_CERTIFICATE).then_some(peer),
        peer_digest: right_digest
            .as_deref()
            .map(str::as_bytes)
            .or(has(PEER_DIGEST).then_some(peer)),
        certificate_presented: has(CERTIFICATE_PRESENTED),
        forwarded: &headers,
    };
    let chain = connection.decode(&limits);
    match &chain {
        ForwardedChain::Absent => {
            let shown = [connection.peer_certificate, connection.peer_digest];
            assert!(!connection.certificate_presented);
            assert!(shown.iter().all(|shown| shown.is_none_or(<[u8]>::is_empty)));
        }
        ForwardedChain::Undecodable(refusal) => assert!(is_one_line(&refusal.to_string())),
        ForwardedChain::Present { end_entity, others } => {
            check_end_entity(&connection, end_entity.der(), &limits);
            match others {
                Ok(others) => check_others(end_entity.der(), others, &limits),
                Err(refusal) => assert!(is_one_line(&refusal.to_string())),
            }
        }
    }
    check_what_follows(&connection, &chain, &limits);
    let digest = [right_digest.as_deref().map(str::as_bytes), Some(peer)];
    let digest = digest.into_iter().flatten().find_map(octets);
    check_forwarded(&input, Relay { digest }, &limits);
}

/// The first frame is the end entity's header, those of its kind behind it are the chain's.
fn check_forwarded(input: &Input, relay: Relay, limits: &RequestLimits) {
    let source = source(input.settings[1]);
    let frames = input.frames.iter().filter(|frame| frame.kind % 2 == HEADER);
    let values: Vec<&[u8]> = frames.map(|frame| frame.bytes.as_slice()).collect();
    let mut names: Vec<String> = vec![source.name.clone()];
    names.extend((1..values.len()).map(|index| match &source.format {
        Format::Certificates {
            chain: Chain::Numbered { prefix },
            ..
        } => format!("{prefix}{}", index - 1),
        _ => "X-CHAIN".to_owned(),
    }));
    let names = names.iter().map(String::as_bytes);
    let mut lines: Vec<(&[u8], &[u8])> = names.zip(values).collect();
    let chain = source.decode(&lines, relay, limits);
    match &chain {
        ForwardedChain::Absent => {}
        ForwardedChain::Undecodable(refusal) => assert!(is_one_line(&refusal.to_string())),
        ForwardedChain::Present { end_entity, others } => {
            assert!(!end_entity.der().is_empty());
            if matches!(source.format, Format::Xfcc { .. }) {
                let digest = Some(Sha256::digest(end_entity.der()).into());
                assert_ne!(
                    relay.digest, digest,
                    "the relay's certificate is not the client's"
                );
            }
            match others {
                Ok(others) => check_others(end_entity.der(), others, limits),
                Err(refusal) => assert!(is_one_line(&refusal.to_string())),
            }
        }
    }
    if lines.is_empty() {
        assert_eq!(chain, ForwardedChain::Absent);
        return;
    }
    assert!(source.is_in(&lines));
    // What is not read changes nothing, and what is read twice is not believed.
    lines.insert(0, (b"x_cert", b"MAEH"));
    assert_eq!(source.decode(&lines, relay, limits), chain);
    lines.push((b"x-CERT", b"MAEH"));
    let twice = source.decode(&lines, relay, limits);
    assert!(matches!(twice, ForwardedChain::Undecodable(_)));
}

/// The form that the second setting stands for.
fn source(setting: u8) -> HeaderSource {
    let encoding = match setting & 3 {
        0 => None,
        1 => Some(Encoding::Rfc9440),
        2 => Some(Encoding::Pem),
        _ => Some(Encoding::Base64Der),
    };
    let chain = match setting >> 2 & 7 {
        0 | 1 => Chain::None,
        2 | 3 => Chain::Same,
        4 | 5 => Chain::Header {
            name: "X-Chain".to_owned(),
            has_end_entity: setting & 4 != 0,
        },
        _ => Chain::Numbered {
            prefix: "X-Chain-".to_owned(),
        },
    };
    HeaderSource {
        name: "X-Cert".to_owned(),
        format: match encoding {
            None => Format::Xfcc {
                elements: 1 + usize::from(setting >> 2 & 1),
            },
            Some(encoding) => Format::Certificates { encoding, chain },
        },
        companions: Vec::new(),
    }
}

fn octets(hex: &[u8]) -> Option<[u8; 32]> {
    let mut octets = [0; 32];
    if hex.len() != 64 {
        return None;
    }
    for (octet, digits) in octets.iter_mut().zip(hex.chunks_exact(2)) {
        *octet = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(octets)
}

fn limits(small: bool) -> RequestLimits {
    if small {
        RequestLimits {
            presented_certificates: 1,
            payload_bytes: 700,
            forwarded_header_bytes: 4096,
            ..RequestLimits::default()
        }
    } else {
        RequestLimits::default()
    }
}

fn digest_of(header: &[u8]) -> Option<String> {
    let text = xfcc::first_value(header, "Cert").ok()??;
    let bounds = Bounds {
        blocks: 1,
        der_bytes: header.len(),
    };
    let certificates = pem::blocks(&text, Label::Certificate, Around::Nothing, bounds).ok()?;
    Some(hex(&Sha256::digest(certificates.first()?)))
}

/// The end entity is the connection's, whatever a header says.
fn check_end_entity(connection: &Connection<'_>, end_entity: &[u8], limits: &RequestLimits) {
    assert!(!end_entity.is_empty());
    if connection
        .peer_certificate
        .is_some_and(|peer| !peer.is_empty())
    {
        let without_header = Connection {
            forwarded: &[],
            ..*connection
        };
        let expected = ForwardedChain::Present {
            end_entity: EndEntity::new(end_entity.to_vec()),
            others: Ok(Vec::new()),
        };
        match without_header.decode(limits) {
            // A size over the limit is found with the other certificates or later.
            chain @ ForwardedChain::Present { others: Ok(_), .. } => assert_eq!(chain, expected),
            ForwardedChain::Present {
                end_entity: same, ..
            } => assert_eq!(same.der(), end_entity),
            other => panic!("without the header: {other:?}"),
        }
    } else {
        let digest = hex(&Sha256::digest(end_entity));
        let shown = connection.peer_digest.unwrap_or_default();
        assert!(shown.eq_ignore_ascii_case(digest.as_bytes()));
    }
}

fn check_others(end_entity: &[u8], others: &[Vec<u8>], limits: &RequestLimits) {
    assert!(others.len() <= limits.presented_certificates);
    assert!(
        others
            .iter()
            .all(|der| !der.is_empty() && der != end_entity)
    );
    if !others.is_empty() {
        let payload = end_entity.len() + others.iter().map(Vec::len).sum::<usize>();
        assert!(payload <= limits.payload_bytes);
    }
}

/// Envoy writes `Cert=` and `Chain=` before anything that a client chooses: once both are there,
/// nothing behind them counts.
fn check_what_follows(connection: &Connection<'_>, chain: &ForwardedChain, limits: &RequestLimits) {
    let [header] = connection.forwarded else {
        return;
    };
    let is_there = |key| matches!(xfcc::first_value(header, key), Ok(Some(_)));
    if !is_there("Cert") || !is_there("Chain") {
        return;
    }
    let forged = [header, &b";URI=\";Chain=\"\",Cert=\"x\";Chain=\"%"[..]].concat();
    if forged.len() > limits.forwarded_header_bytes {
        return;
    }
    let with_forged = Connection {
        forwarded: &[&forged],
        ..*connection
    };
    assert_eq!(&with_forged.decode(limits), chain);
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub fn describe(data: &[u8]) -> String {
    let input = Input::read(data);
    let mut text = format!("settings {:?}\n", input.settings);
    for frame in &input.frames {
        let kind = if frame.kind % 2 == HEADER {
            "header"
        } else {
            "peer"
        };
        text.push_str(&format!("{kind}: {}\n", frame.bytes.escape_ascii()));
    }
    text
}
