//! What a proxy does to headers besides what the core decides (RFC 9110 section 7.6).

use std::net::SocketAddr;

use hyper::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, HOST, HeaderMap, HeaderName, HeaderValue,
    PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRANSFER_ENCODING, UPGRADE, VIA,
};
use hyper::http::request::Parts;
use hyper::{Method, Version};
use mtls_gate_core::authz::names_one_host;
use mtls_gate_core::headers::{FoldedName, HeaderEdits};

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// RFC 9110 7.6.1 and 11.7, and what is settled with each side anew.
const HOP_BY_HOP: [HeaderName; 9] = [
    CONNECTION,
    KEEP_ALIVE,
    PROXY_CONNECTION,
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
    HTTP2_SETTINGS,
];

/// Removes what is meant for this hop alone, and first what `Connection` nominates: only then are
/// the names that the core emits set, so that no client can nominate those.
pub(super) fn drop_hop_by_hop(headers: &mut HeaderMap) {
    let nominated: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
        .collect();
    // Host nominated would leave the request to another one.
    for name in nominated.iter().filter(|name| **name != HOST) {
        headers.remove(name);
    }
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
}

/// RFC 6455 4.2.1. No other protocol is switched to: `h2c` would carry requests past every check.
pub(super) fn wants_websocket(parts: &Parts) -> bool {
    let mut upgrades = parts.headers.get_all(UPGRADE).iter();
    let websocket = matches!(
        (upgrades.next(), upgrades.next()),
        (Some(protocol), None) if protocol.as_bytes().eq_ignore_ascii_case(b"websocket")
    );
    let nominated = parts
        .headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .any(|name| name.trim_ascii().eq_ignore_ascii_case(b"upgrade"));
    websocket && nominated && parts.version == Version::HTTP_11 && parts.method == Method::GET
}

/// Asks the backend, or tells the client, to switch to WebSocket.
pub(super) fn set_websocket(headers: &mut HeaderMap) {
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
}

/// The one host that a request is for, which becomes its only `Host`. RFC 9112 3.2, RFC 9113 8.3.1
pub(super) fn host(parts: &Parts) -> Result<HeaderValue, &'static str> {
    let mut fields = parts.headers.get_all(HOST).iter();
    let (field, None) = (fields.next(), fields.next()) else {
        return Err("more than one Host");
    };
    let target = parts.uri.authority();
    let host = match (target, field) {
        // An HTTP/1.1 request in absolute form may say something else in Host (RFC 9112 3.2.2);
        // whoever does is up to something.
        (Some(target), Some(field))
            if !target
                .as_str()
                .as_bytes()
                .eq_ignore_ascii_case(field.as_bytes()) =>
        {
            return Err("Host differs from the request target");
        }
        (_, Some(field)) => field.clone(),
        (Some(target), None) => {
            HeaderValue::from_str(target.as_str()).map_err(|_| "malformed authority")?
        }
        (None, None) => return Err("no Host"),
    };
    if names_one_host(host.as_bytes()) {
        Ok(host)
    } else {
        Err("malformed Host")
    }
}

/// Tells the backend where the request came from, as Google's load balancers do: the client's and
/// this server's address behind what was there.
pub(super) fn set_forwarded(headers: &mut HeaderMap, client: SocketAddr, server: SocketAddr) {
    remove_other_spellings(headers);
    let mut list: Vec<u8> = Vec::new();
    for value in headers.get_all(&X_FORWARDED_FOR) {
        list.extend(value.as_bytes());
        list.push(b',');
    }
    let (client, server) = (client.ip().to_canonical(), server.ip().to_canonical());
    list.extend(format!("{client},{server}").bytes());
    if let Ok(value) = HeaderValue::from_bytes(&list) {
        headers.insert(X_FORWARDED_FOR, value);
    }
    headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static("https"));
    // hyper asks the client to go on as soon as the backend reads.
    headers.remove(EXPECT);
}

/// Names that many backends fold to the two above. In trailers even those are only a client's words.
fn remove_other_spellings(headers: &mut HeaderMap) {
    let ours = [X_FORWARDED_FOR, X_FORWARDED_PROTO];
    let folded = ours
        .each_ref()
        .map(|name| FoldedName::new(name.as_str().as_bytes()));
    let others: Vec<HeaderName> = headers
        .keys()
        .filter(|name| !ours.contains(name))
        .filter(|name| folded.contains(&FoldedName::new(name.as_str().as_bytes())))
        .cloned()
        .collect();
    for name in others {
        headers.remove(name);
    }
}

/// What trailers lose beside what the core says.
pub(super) fn clean_trailers(trailers: &mut HeaderMap) {
    remove_other_spellings(trailers);
    for name in [X_FORWARDED_FOR, X_FORWARDED_PROTO, VIA, HOST, CONNECTION] {
        trailers.remove(name);
    }
}

/// A length that not everybody reads alike (RFC 9110 8.6).
pub(super) fn has_odd_length(headers: &HeaderMap) -> bool {
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    match (lengths.next(), lengths.next()) {
        (None, _) => false,
        (Some(length), None) => {
            length.is_empty() || !length.as_bytes().iter().all(u8::is_ascii_digit)
        }
        (Some(_), Some(_)) => true,
    }
}

/// RFC 9110 7.6.3
pub(super) fn add_via(headers: &mut HeaderMap, version: Version) {
    let value = match version {
        Version::HTTP_2 => "2 mtls-gate",
        Version::HTTP_10 => "1.0 mtls-gate",
        _ => "1.1 mtls-gate",
    };
    headers.append(VIA, HeaderValue::from_static(value));
}

/// Carries out what the core decided.
pub(super) fn edit(headers: &mut HeaderMap, edits: &HeaderEdits<'_>) {
    remove(headers, edits);
    for header in edits.add.iter() {
        // The core checked the name, and renders printable ASCII only.
        if let (Ok(name), Ok(value)) = (
            HeaderName::from_bytes(header.name.as_bytes()),
            HeaderValue::from_str(&header.value),
        ) {
            headers.append(name, value);
        }
    }
}

/// What goes, without what comes.
pub(super) fn remove(headers: &mut HeaderMap, edits: &HeaderEdits<'_>) {
    let names = headers.keys().map(|name| name.as_str().as_bytes());
    let removals: Vec<HeaderName> = edits
        .removals(names)
        .into_iter()
        .filter_map(|name| HeaderName::from_bytes(name).ok())
        .collect();
    for name in removals {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::Request;

    fn parts(lines: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().uri("/");
        for (name, value) in lines {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn one_hop_is_dropped_with_what_it_nominates() {
        let mut parts = parts(
            &[
                ("connection", "close, X-Secret"),
                ("connection", "x-more ,host,,\u{1}"),
                ("x-secret", "1"),
                ("x-more", "1"),
                ("keep-alive", "1"),
                ("te", "trailers"),
                ("upgrade", "h2c"),
                ("http2-settings", "x"),
                ("proxy-authorization", "x"),
                ("host", "a"),
                ("x-stays", "1"),
            ]
            .map(|(name, value)| (name, value.trim_end_matches('\u{1}'))),
        );
        drop_hop_by_hop(&mut parts.headers);
        let mut left: Vec<&str> = parts.headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["host", "x-stays"]);
    }

    #[test]
    fn only_websocket_is_switched_to() {
        let asks = |lines: &[(&str, &str)]| wants_websocket(&parts(lines));
        assert!(asks(&[
            ("connection", "keep-alive, Upgrade"),
            ("upgrade", "WebSocket")
        ]));
        assert!(!asks(&[("connection", "upgrade"), ("upgrade", "h2c")]));
        assert!(!asks(&[
            ("connection", "upgrade"),
            ("upgrade", "websocket, h2c")
        ]));
        assert!(!asks(&[("upgrade", "websocket")]));
        assert!(!asks(&[
            ("connection", "upgrade"),
            ("upgrade", "websocket"),
            ("upgrade", "h2c")
        ]));
    }

    #[test]
    fn a_request_has_one_host() {
        let of = |uri: &str, hosts: &[&str]| {
            let mut request = Request::builder().uri(uri);
            for value in hosts {
                request = request.header(HOST, *value);
            }
            let parts = request.body(()).unwrap().into_parts().0;
            host(&parts).map(|value| value.to_str().unwrap().to_owned())
        };
        assert_eq!(of("/", &["a.test"]), Ok("a.test".into()));
        assert_eq!(of("https://a.test/", &[]), Ok("a.test".into()));
        assert_eq!(of("https://a.test/", &["A.test"]), Ok("A.test".into()));
        assert_eq!(
            of("https://a.test/", &["b.test"]),
            Err("Host differs from the request target")
        );
        assert_eq!(of("/", &["a", "a"]), Err("more than one Host"));
        assert_eq!(of("/", &[]), Err("no Host"));
        for odd in ["", "a@b", "a,b", "a b", "0x7f.1", "a.test:x"] {
            assert_eq!(of("/", &[odd]), Err("malformed Host"), "{odd}");
        }
        assert!(of("https://u@a.test/", &[]).is_err());
    }
}
