//! The filter's handler of connections before odd hosts, and what is handed over to requests.
#![allow(clippy::panic, clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

use std::rc::Rc;

use mtls_gate::goldens::{self, Golden};
use mtls_gate_core::config::Config;
use mtls_gate_core::pipeline::Pipeline;
use mtls_gate_filter::downstream::Downstream;
use mtls_gate_filter::handle::{Flow, Level, Stream};
use mtls_gate_filter::place::Place;
use mtls_gate_rustcrypto::ALGORITHMS;
use serde_json::{Value, json};
use support::FakeHost;

const ALLOW: &str = "ALLOW_INVALID_OR_MISSING_CLIENT_CERT";
const REJECT: &str = "REJECT_INVALID";

fn golden() -> Golden {
    let all = goldens::all().unwrap();
    all.into_iter()
        .find(|golden| golden.name == "one_intermediate")
        .unwrap()
}

fn pipeline(role: &str, mode: &str, more: &Value) -> Rc<Pipeline> {
    let golden = golden();
    let mut trust = golden.document()["trustConfig"].clone();
    let intermediate = json!({ "pemCertificate": golden.chain()[1] });
    trust["trustStores"][0]["intermediateCas"] = json!([intermediate]);
    let mut document = json!({
        "role": role,
        "trustConfig": trust,
        "serverTlsPolicy": { "mtlsPolicy": { "clientValidationMode": mode } },
    });
    let fields = document.as_object_mut().unwrap();
    fields.extend(more.as_object().unwrap().clone());
    let config = Config::from_bytes(document.to_string().as_bytes()).unwrap();
    Rc::new(Pipeline::new(config, ALGORITHMS))
}

fn network(mode: &str) -> Downstream {
    Downstream::new(Some(pipeline("NETWORK_FILTER", mode, &json!({}))))
}

/// A connection as Envoy shows it behind the handshake.
fn host(properties: &[(&'static str, &[u8])]) -> FakeHost {
    FakeHost {
        time: Some(golden().time().unwrap()),
        properties: properties
            .iter()
            .map(|(name, value)| (*name, value.to_vec()))
            .collect(),
        ..FakeHost::default()
    }
}

fn valid() -> FakeHost {
    host(&[
        (
            "connection.peer_certificate",
            golden().chain()[0].as_bytes(),
        ),
        ("source.address", b"192.0.2.1:4711"),
    ])
}

fn left(host: &FakeHost, name: &str) -> Option<String> {
    let left = host.left.borrow();
    let mut found = left.iter().filter(|(set, _)| set == name);
    let value = found.next().map(|(_, value)| value.clone());
    assert!(found.next().is_none(), "{name} is set twice");
    value
}

#[test]
fn a_verified_client_passes_and_is_judged_once() {
    let host = valid();
    let mut connection = network(REJECT);
    assert_eq!(connection.on_new_connection(), Flow::Stop);
    for _ in 0..3 {
        assert_eq!(connection.on_data(&host), Flow::Continue);
    }
    assert_eq!(*host.counters.borrow(), ["mtls_gate.connections_verified"]);
    assert_eq!(host.closed.borrow().len(), 0);
    assert_eq!(
        left(&host, "mtls_gate_direct_peer").as_deref(),
        Some("192.0.2.1:4711")
    );
    assert_eq!(left(&host, "mtls_gate_connection_error"), None);
}

/// Whatever the host does not show or do: closed where clients are refused, let through where not.
#[test]
fn what_is_not_verified_is_closed() {
    let leaf = golden().chain()[0].to_owned();
    let mut no_clock = valid();
    no_clock.time = None;
    let mut no_close = host(&[]);
    no_close.fails = &["close_connection"];
    let digest = [b'0'; 64];
    let cases = [
        ("nothing shown", host(&[])),
        ("no clock", no_clock),
        ("cannot close", no_close),
        ("empty", host(&[("connection.peer_certificate", b"")])),
        ("hidden", host(&[("connection.mtls", &[1])])),
        // Envoy before 1.38.
        (
            "digest only",
            host(&[("connection.sha256_peer_certificate_digest", &digest)]),
        ),
        (
            "garbage",
            host(&[("connection.peer_certificate", b"\xff\0")]),
        ),
        (
            "two",
            host(&[("connection.peer_certificate", leaf.repeat(2).as_bytes())]),
        ),
    ];
    for (what, host) in cases {
        for (mode, flow, closed) in [(REJECT, Flow::Stop, 1), (ALLOW, Flow::Continue, 0)] {
            host.counters.borrow_mut().clear();
            host.left.borrow_mut().clear();
            host.closed.borrow_mut().clear();
            let mut connection = network(mode);
            assert_eq!(connection.on_new_connection(), flow, "{what}");
            for _ in 0..3 {
                assert_eq!(connection.on_data(&host), flow, "{what}");
            }
            assert_eq!(host.closed.borrow().len(), closed, "{what}");
            let error = left(&host, "mtls_gate_connection_error").unwrap();
            assert!(left(&host, "mtls_gate_connection_reason").is_some());
            // Requests of the connection have their own.
            assert_eq!(left(&host, "mtls_gate_error"), None);
            let mut counters = vec![format!("mtls_gate.error.{error}")];
            if closed == 1 {
                counters.insert(0, "mtls_gate.connections_closed".to_owned());
            }
            assert_eq!(*host.counters.borrow(), counters, "{what}");
        }
    }
    // A connection whose configuration never came.
    let host = valid();
    let mut connection = Downstream::new(None);
    assert_eq!(connection.on_new_connection(), Flow::Stop);
    assert_eq!(connection.on_data(&host), Flow::Stop);
    assert_eq!(host.closed.borrow().len(), 1);
}

#[test]
fn only_an_address_with_a_port_is_handed_over() {
    for (shown, handed_over) in [
        (&b"[2001:db8::1]:5"[..], Some("[2001:db8::1]:5")),
        (b"[::ffff:192.0.2.1]:5", Some("192.0.2.1:5")),
        (b"192.0.2.1:0", None),
        (b"/run/gate.sock", None),
        (b"\xff", None),
        (b"", None),
    ] {
        let host = host(&[("source.address", shown)]);
        assert_eq!(network(ALLOW).on_data(&host), Flow::Continue);
        assert_eq!(left(&host, "mtls_gate_direct_peer").as_deref(), handed_over);
    }
}

/// The request's sender, and how many lines complain.
fn sender(source: &Value, host: &FakeHost) -> (Option<String>, usize) {
    let source = json!({ "source": { "connection": source } });
    let mut stream = Stream::new(Some(pipeline("HTTP_FILTER", ALLOW, &source)));
    assert_eq!(stream.on_request_headers(host), Flow::Continue);
    let lines = host.lines.borrow();
    let complaints = lines.iter().filter(|(level, _)| *level == Level::Error);
    (left(host, "mtls_gate_sender"), complaints.count())
}

#[test]
fn requests_take_the_address_from_the_network_filter_alone() {
    let asked = json!({ "directPeerAddress": "NETWORK_FILTER" });
    let spoofed = |handed_over: Option<&[u8]>| {
        let mut properties: Vec<(&'static str, &[u8])> = vec![
            ("source.address", b"203.0.113.9:0"),
            ("wasm.mtls_gate_direct_peer", b"203.0.113.9:5"),
        ];
        properties.extend(handed_over.map(|value| ("mtls_gate_direct_peer", value)));
        let host = host(&properties);
        for name in ["mtls_gate_direct_peer", "x-forwarded-for"] {
            let header = (name.as_bytes().to_vec(), b"203.0.113.9:5".to_vec());
            host.headers.borrow_mut().push(header);
        }
        host
    };
    for (handed_over, address) in [
        (&b"192.0.2.1:4711"[..], "192.0.2.1"),
        (b"[2001:db8::1]:5", "2001:db8::1"),
    ] {
        let host = spoofed(Some(handed_over));
        assert_eq!(sender(&asked, &host), (Some(address.to_owned()), 0));
        // The connection's own property is not touched: other streams read it.
        assert_eq!(left(&host, "mtls_gate_direct_peer"), None);
    }
    for nothing in [
        None,
        Some(&b""[..]),
        Some(b"192.0.2.1:0"),
        Some(b"192.0.2.1"),
        Some(b"\xff"),
    ] {
        assert_eq!(sender(&asked, &spoofed(nothing)), (None, 1), "{nothing:?}");
    }
    let not_asked = json!({});
    let host = spoofed(Some(b"192.0.2.1:4711"));
    assert_eq!(sender(&not_asked, &host), (None, 0));
}

#[test]
fn a_configuration_in_the_wrong_place_closes() {
    let complained = |host: &FakeHost| {
        let lines = host.lines.borrow();
        lines.iter().any(|(level, _)| *level == Level::Error)
    };
    for mode in [ALLOW, REJECT] {
        let host = valid();
        let for_connections = pipeline("NETWORK_FILTER", mode, &json!({}));
        let mut stream = Stream::new(Some(for_connections));
        assert_eq!(stream.on_request_headers(&host), Flow::Stop);
        assert!(*host.reset.borrow() && complained(&host));

        let host = valid();
        let for_requests = pipeline("HTTP_FILTER", mode, &json!({}));
        let mut connection = Downstream::new(Some(for_requests));
        assert_eq!(connection.on_new_connection(), Flow::Stop);
        assert_eq!(connection.on_data(&host), Flow::Stop);
        assert!(host.closed.borrow().len() == 1 && complained(&host));
    }
}

#[test]
fn the_place_is_told_by_what_the_host_knows() {
    let request = [
        ("request.protocol", &b"HTTP/1.1"[..]),
        ("connection.id", &[1, 0, 0, 0, 0, 0, 0, 0]),
    ];
    let roles = ["HTTP_FILTER", "NETWORK_FILTER"].map(|role| pipeline(role, ALLOW, &json!({})));
    for role in &roles {
        assert_eq!(Place::of(&host(&request), Some(role)), Place::Request);
        let connection = host(&request[1..]);
        assert_eq!(Place::of(&connection, Some(role)), Place::Connection);
    }
    // A host that knows neither.
    assert_eq!(Place::of(&host(&[]), Some(&roles[0])), Place::Request);
    assert_eq!(Place::of(&host(&[]), Some(&roles[1])), Place::Connection);
    assert_eq!(Place::of(&host(&[]), None), Place::Request);
}
