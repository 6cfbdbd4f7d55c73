//! Header and peer certificate decoded as on a connection that Envoy terminated.

use mtls_gate_core::forwarded::connection::Connection;
use mtls_gate_core::forwarded::pem::{self, Around, Bounds, Label};
use mtls_gate_core::forwarded::{ForwardedChain, xfcc};
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
            check_end_entity(&connection, end_entity, &limits);
            match others {
                Ok(others) => check_others(end_entity, others, &limits),
                Err(refusal) => assert!(is_one_line(&refusal.to_string())),
            }
        }
    }
    check_what_follows(&connection, &chain, &limits);
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
            end_entity: end_entity.to_vec(),
            others: Ok(Vec::new()),
        };
        match without_header.decode(limits) {
            // A size over the limit is found with the other certificates or later.
            chain @ ForwardedChain::Present { others: Ok(_), .. } => assert_eq!(chain, expected),
            ForwardedChain::Present {
                end_entity: same, ..
            } => assert_eq!(same, end_entity),
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
