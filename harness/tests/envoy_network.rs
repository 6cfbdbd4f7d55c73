//! The filter on connections in a real Envoy: what is closed there sees no HTTP at all, and the
//! direct peer's address comes from there.
#![allow(clippy::panic, clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use mtls_gate::goldens::{self, Golden};
use mtls_gate::testbed::client::{self, ClientError, ClientIdentity, ClientOptions, Outcome};
use mtls_gate::testbed::curl::{Curl, EMPTY_REPLY, HttpVersion};
use mtls_gate::testbed::echo::{Echo, EchoReply};
use mtls_gate::testbed::envoy::{
    Chain, Envoy, EnvoyConfig, EnvoyError, FilterDocument, Listener, ServerCertificate, WasmFilter,
    access_log, bootstrap, filter_file,
};
use openssl::ssl::{SslConnector, SslMethod, SslVerifyMode, SslVersion};
use serde_json::{Value, json};
use tempfile::TempDir;

const ALLOW: &str = "ALLOW_INVALID_OR_MISSING_CLIENT_CERT";
const REJECT: &str = "REJECT_INVALID";
const SOON: Duration = Duration::from_secs(5);

fn golden(name: &str) -> Golden {
    goldens::named(name).unwrap()
}

/// The golden's trust config, with the intermediate it presents configured as well if wanted.
fn trust_config(golden: &Golden, with_intermediate: bool) -> Value {
    let mut trust = golden.document()["trustConfig"].clone();
    if with_intermediate {
        let intermediate = json!({ "pemCertificate": golden.chain()[1] });
        trust["trustStores"][0]["intermediateCas"] = json!([intermediate]);
    }
    trust
}

/// A document of the network filter.
fn network(mode: &str) -> Value {
    json!({
        "role": "NETWORK_FILTER",
        "trustConfig": trust_config(&golden("one_intermediate"), true),
        "serverTlsPolicy": { "mtlsPolicy": { "clientValidationMode": mode } },
    })
}

/// A document of the HTTP filter that asks for the direct peer's address.
fn http(mode: &str) -> Value {
    json!({
        "trustConfig": trust_config(&golden("one_intermediate"), false),
        "serverTlsPolicy": { "mtlsPolicy": { "clientValidationMode": mode } },
        "customRequestHeaders": ["X-Verified:{client_cert_chain_verified}"],
        "source": { "connection": { "directPeerAddress": "NETWORK_FILTER" } },
    })
}

fn plugin(document: Value) -> WasmFilter {
    WasmFilter::new(&filter_file(), FilterDocument::Struct(document))
}

/// A chain of the name, with a filter on its connections, on its requests, or both.
fn chain(name: &str, network: Option<Value>, http: Option<Value>) -> Chain {
    let certificate = ServerCertificate::self_signed(&["*.test"]).unwrap();
    let mut chain = Chain::new(&[name], &certificate);
    if let Some(document) = network {
        chain = chain.network_filter(&plugin(document));
    }
    if let Some(document) = http {
        chain = chain.filter(plugin(document));
    }
    chain
}

struct Gate {
    envoy: Envoy,
    echo: Echo,
    files: TempDir,
}

impl Gate {
    fn start(chains: Vec<Chain>) -> Self {
        Self::start_with(chains, |_| ())
    }

    fn start_with(chains: Vec<Chain>, change: impl FnOnce(&mut Value)) -> Self {
        let echo = Echo::start().unwrap();
        let listener = Listener {
            name: "gate".to_owned(),
            chains,
        };
        let mut document = bootstrap(&[listener], echo.address(), true);
        document["static_resources"]["listeners"][0]["access_log"] = json!([access_log()]);
        change(&mut document);
        let files = tempfile::tempdir().unwrap();
        for name in [
            "one_intermediate",
            "self_signed_end_entity",
            "expired_end_entity",
        ] {
            let golden = golden(name);
            let file = |extension: &str| files.path().join(format!("{name}.{extension}"));
            std::fs::write(file("pem"), golden.chain_pem).unwrap();
            std::fs::write(file("key"), golden.key_pem).unwrap();
        }
        Self {
            envoy: Envoy::start(&EnvoyConfig::new(document)).unwrap(),
            echo,
            files,
        }
    }

    fn port(&self) -> u16 {
        self.envoy.port("gate").unwrap()
    }

    fn curl(&self, name: &str, version: HttpVersion, tls: &str, golden: Option<&str>) -> Curl {
        let mut curl = Curl::new(self.port(), name).version(version);
        curl.extra.extend(["--tls-max".to_owned(), tls.to_owned()]);
        match golden {
            None => curl,
            Some(golden) => {
                let file =
                    |extension: &str| self.files.path().join(format!("{golden}.{extension}"));
                curl.identity(&file("pem"), &file("key"))
            }
        }
    }

    fn line(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        self.envoy.wait_for_access_log(SOON, wanted).unwrap()
    }

    /// The filter's counters, without their common beginning.
    fn counters(&self) -> BTreeMap<String, u64> {
        let prefix = "wasmcustom.mtls_gate.";
        let counters = self.envoy.stats(prefix).unwrap();
        counters
            .into_iter()
            .map(|(name, value)| (name.trim_start_matches(prefix).to_owned(), value))
            .collect()
    }

    /// Nothing trapped: a VM that is reloaded has done so.
    fn no_reloads(&self) {
        let stats = self.envoy.stats("wasm.").unwrap();
        for (name, value) in &stats {
            assert!(!name.contains("reload") || *value == 0, "{name}: {value}");
        }
        let log = self.envoy.log();
        assert!(
            !log.contains("panicked") && !log.contains("proxy_on_"),
            "{log}"
        );
    }
}

fn get(
    port: u16,
    name: &str,
    identity: Option<&ClientIdentity>,
    options: &ClientOptions,
) -> Outcome {
    let mut connection = client::connect(port, name, identity, options).unwrap();
    connection.get(name, "/", &[]).unwrap()
}

fn at_most(version: SslVersion) -> ClientOptions {
    ClientOptions {
        max_version: Some(version),
        ..ClientOptions::default()
    }
}

#[test]
fn refused_clients_see_no_http() {
    let gate = Gate::start(vec![chain("gate.test", Some(network(REJECT)), None)]);
    let mut passed = 0;
    for tls in ["1.2", "1.3"] {
        for version in [HttpVersion::Http1, HttpVersion::Http2] {
            let curl = gate.curl("gate.test", version, tls, Some("one_intermediate"));
            let outcome = curl.run().unwrap();
            assert_eq!(
                (outcome.exit, outcome.status()),
                (0, Some(200)),
                "{outcome:?}"
            );
            passed += 1;
            for client in [
                None,
                Some("self_signed_end_entity"),
                Some("expired_end_entity"),
            ] {
                let outcome = gate.curl("gate.test", version, tls, client).run().unwrap();
                assert_eq!(outcome.status(), None, "{outcome:?}");
                if version == HttpVersion::Http1 {
                    assert_eq!(outcome.exit, EMPTY_REPLY, "{outcome:?}");
                } else {
                    assert_ne!(outcome.exit, 0, "{outcome:?}");
                }
            }
        }
    }
    for version in [SslVersion::TLS1_2, SslVersion::TLS1_3] {
        for client in [
            None,
            Some("self_signed_end_entity"),
            Some("expired_end_entity"),
        ] {
            let client = client.map(golden).as_ref().map(Golden::identity);
            let outcome = get(gate.port(), "gate.test", client.as_ref(), &at_most(version));
            assert!(outcome.closed_silently(), "{outcome:?}");
        }
    }
    assert_eq!(gate.echo.requests(), passed);
    let line = gate.line(|line| line["connection_error"] == "client_cert_validation_failed");
    let reason = line["connection_reason"].as_str().unwrap();
    assert!(!reason.is_empty());
    assert!(gate.envoy.log().contains(&format!(
        "connection closed: client_cert_validation_failed: {reason}"
    )));
    assert_eq!(
        gate.counters(),
        [
            ("connections_closed", 18),
            ("connections_verified", 4),
            ("error.client_cert_not_provided", 6),
            ("error.client_cert_validation_failed", 12),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    );
    gate.no_reloads();
}

#[test]
fn a_resumed_session_is_judged_again() {
    let gate = Gate::start(vec![chain("gate.test", Some(network(REJECT)), None)]);
    let valid = golden("one_intermediate").identity();
    let untrusted = golden("self_signed_end_entity").identity();
    let mut closed = 0;
    for version in [SslVersion::TLS1_2, SslVersion::TLS1_3] {
        for (identity, passes) in [(&valid, true), (&untrusted, false)] {
            let options = at_most(version);
            let mut first =
                client::connect(gate.port(), "gate.test", Some(identity), &options).unwrap();
            let outcome = first.get("gate.test", "/", &[]).unwrap();
            assert_eq!(outcome.response().is_some(), passes);
            // Those who were refused have a session all the same.
            let session = first.session().unwrap();
            let mut second = session.connect(gate.port(), "gate.test").unwrap();
            assert!(second.resumed());
            let outcome = second.get("gate.test", "/", &[]).unwrap();
            assert_eq!(outcome.closed_silently(), !passes, "{outcome:?}");
            closed += if passes { 0 } else { 2 };
        }
    }
    let counters = gate.counters();
    assert_eq!(counters["connections_closed"], closed);
    assert_eq!(counters["connections_verified"], 4);
    assert_eq!(gate.echo.requests(), 4);
    gate.no_reloads();
}

#[test]
fn a_connection_is_judged_once() {
    let gate = Gate::start(vec![chain("gate.test", Some(network(REJECT)), None)]);
    let valid = golden("one_intermediate").identity();
    let options = ClientOptions::default();
    let mut connection = client::connect(gate.port(), "gate.test", Some(&valid), &options).unwrap();
    for _ in 0..3 {
        let outcome = connection.get("gate.test", "/", &[]).unwrap();
        assert_eq!(outcome.response().unwrap().status, 200);
    }
    assert_eq!(gate.counters()["connections_verified"], 1);
    // What is refused stays refused, however much of it there is, and in whatever pieces it comes.
    let mut refused = client::connect(gate.port(), "gate.test", None, &options).unwrap();
    for _ in 0..50 {
        if refused
            .send_raw(b"GET / HTTP/1.1\r\nHost: gate.test\r\n\r\n")
            .is_err()
        {
            break;
        }
    }
    let end = refused.read_response();
    assert!(
        end.as_ref().is_ok_and(Outcome::closed_silently)
            || matches!(end, Err(ClientError::Send(_))),
        "{end:?}"
    );
    assert_eq!(gate.counters()["connections_closed"], 1);
    assert_eq!(gate.echo.requests(), 3);
}

#[test]
fn allow_lets_everybody_through() {
    let gate = Gate::start(vec![chain("gate.test", Some(network(ALLOW)), None)]);
    for version in [HttpVersion::Http1, HttpVersion::Http2] {
        for client in [
            None,
            Some("one_intermediate"),
            Some("self_signed_end_entity"),
            Some("expired_end_entity"),
        ] {
            let outcome = gate
                .curl("gate.test", version, "1.3", client)
                .run()
                .unwrap();
            assert_eq!(outcome.status(), Some(200), "{client:?}");
        }
    }
    let line = gate.line(|line| line["connection_error"] == "client_cert_not_provided");
    assert_eq!((&line["code"], &line["error"]), (&json!(200), &Value::Null));
    assert_eq!(
        gate.counters(),
        [
            ("connections_verified", 2),
            ("error.client_cert_not_provided", 2),
            ("error.client_cert_validation_failed", 4),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    );
}

/// What Envoy shows of a connection is the end entity alone.
#[test]
fn presented_intermediates_are_not_seen() {
    let one = golden("one_intermediate");
    let mut not_configured = network(REJECT);
    not_configured["trustConfig"] = trust_config(&one, false);
    let gate = Gate::start(vec![
        chain("configured.test", Some(network(REJECT)), None),
        chain("presented.test", Some(not_configured), None),
    ]);
    let with_chain = one.identity();
    let alone = ClientIdentity {
        chain_pem: one.chain()[0].to_owned().into_bytes(),
        key_pem: one.key_pem.clone().into_bytes(),
    };
    let options = ClientOptions::default();
    for client in [&with_chain, &alone] {
        let passes = get(gate.port(), "configured.test", Some(client), &options);
        assert_eq!(passes.response().unwrap().status, 200);
        let closed = get(gate.port(), "presented.test", Some(client), &options);
        assert!(closed.closed_silently());
    }
    let line = gate.line(|line| line["sni"] == "presented.test");
    let reason = line["connection_reason"].as_str().unwrap();
    assert!(
        reason.contains("no certificate found for its issuer"),
        "{reason}"
    );
}

/// Both filters, and a client that says in every way it can that it comes from elsewhere.
#[test]
fn the_direct_peers_address_cannot_be_chosen() {
    let both = |name: &str| chain(name, Some(network(REJECT)), Some(http(ALLOW)));
    let mut own_vm = chain("apart.test", Some(network(REJECT)), None);
    let mut filter = plugin(http(ALLOW));
    filter.vm_id = "another".to_owned();
    own_vm = own_vm.filter(filter);
    let gate = Gate::start_with(
        vec![both("default.test"), both("hops.test"), own_vm],
        |document| {
            let chains = &mut document["static_resources"]["listeners"][0]["filter_chains"];
            let manager = &mut chains[1]["filters"][1]["typed_config"];
            manager["use_remote_address"] = json!(true);
            manager["xff_num_trusted_hops"] = json!(1);
        },
    );
    let spoofs = [
        "X-Forwarded-For: 203.0.113.9",
        "X-Forwarded-For: 203.0.113.9, 203.0.113.10",
        "X-Real-IP: 203.0.113.9",
        "X-Envoy-External-Address: 203.0.113.9",
        "Forwarded: for=203.0.113.9:5",
        "mtls_gate_direct_peer: 203.0.113.9:5",
        "wasm.mtls_gate_direct_peer: 203.0.113.9:5",
        "mtls-gate-direct-peer: 203.0.113.9:5",
        "x-envoy-filter-state-wasm.mtls_gate_direct_peer: 203.0.113.9:5",
        "mtls_gate_sender: 203.0.113.9",
    ];
    let mut seen = 0_u64;
    let mut forged = 0;
    for name in ["default.test", "hops.test", "apart.test"] {
        for version in [HttpVersion::Http1, HttpVersion::Http2] {
            for source in ["127.0.0.1", "127.0.0.7"] {
                // Two requests on one connection, streams of it on HTTP/2.
                let mut curl = gate.curl(name, version, "1.3", Some("one_intermediate"));
                curl.headers = spoofs.map(str::to_owned).to_vec();
                curl.extra
                    .extend(["--interface".to_owned(), source.to_owned()]);
                let path = |number: u64| format!("/{seen}-{number}");
                curl.extra.push(format!("https://{name}{}", path(1)));
                curl.path = path(2);
                let outcome = curl.run().unwrap();
                assert_eq!(outcome.status(), Some(200), "{}", outcome.stderr);
                let first = EchoReply::parse(outcome.body()).unwrap();
                assert_eq!(first.one("x-verified"), Some("true"));
                let [one, two] =
                    [1, 2].map(|number| gate.line(|line| line["path"] == path(number)));
                assert_eq!(one["connection"], two["connection"]);
                for line in [one, two] {
                    assert_eq!(line["sender"], source, "{line}");
                    assert_eq!(line["direct_peer"], line["direct_remote"], "{line}");
                    let from = line["direct_remote"].as_str().unwrap();
                    assert!(from.starts_with(source) && !from.ends_with(":0"), "{line}");
                    // The same attack on what Envoy otherwise shows.
                    forged +=
                        usize::from(line["remote"].as_str().unwrap().starts_with("203.0.113."));
                }
                seen += 2;
            }
        }
    }
    assert!(
        forged >= 8,
        "only {forged} requests reached X-Forwarded-For"
    );
    gate.no_reloads();
}

/// AuthzPolicies by address go by it; where nobody tells it, nobody gets in by it.
#[test]
fn ip_blocks_match_the_direct_peer() {
    let mut document = http(ALLOW);
    document["authzPolicies"] = json!([{
        "name": "near",
        "action": "ALLOW",
        "httpRules": [{ "from": { "sources": [{
            "ipBlocks": [{ "prefix": "127.0.0.0", "length": 30 }],
        }] } }],
    }]);
    let gate = Gate::start(vec![
        chain("gate.test", Some(network(ALLOW)), Some(document.clone())),
        chain("alone.test", None, Some(document)),
    ]);
    for (name, source, status) in [
        ("gate.test", "127.0.0.1", 200),
        ("gate.test", "127.0.0.7", 403),
        ("alone.test", "127.0.0.1", 403),
    ] {
        for version in [HttpVersion::Http1, HttpVersion::Http2] {
            for spoof in ["X-Forwarded-For: 127.0.0.1", "X-Forwarded-For: 127.0.0.7"] {
                let mut curl = gate.curl(name, version, "1.3", None).header(spoof);
                let interface = ["--interface".to_owned(), source.to_owned()];
                curl.extra.extend(interface);
                let outcome = curl.run().unwrap();
                assert_eq!(outcome.status(), Some(status), "{name} {source} {spoof}");
            }
        }
    }
    gate.no_reloads();
}

/// What Envoy itself was told to believe below HTTP counts: a limit of this source, not a way in.
#[test]
fn the_proxy_protocol_is_believed_where_it_is_switched_on() {
    let chains = vec![chain("gate.test", Some(network(ALLOW)), Some(http(ALLOW)))];
    let gate = Gate::start_with(chains, |document| {
        let filters = &mut document["static_resources"]["listeners"][0]["listener_filters"];
        filters.as_array_mut().unwrap().insert(0, json!({
            "name": "envoy.filters.listener.proxy_protocol",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol",
            },
        }));
    });
    let mut tcp = TcpStream::connect(("127.0.0.1", gate.port())).unwrap();
    tcp.set_read_timeout(Some(SOON)).unwrap();
    tcp.write_all(b"PROXY TCP4 203.0.113.9 127.0.0.1 4711 8443\r\n")
        .unwrap();
    let mut connector = SslConnector::builder(SslMethod::tls_client()).unwrap();
    connector.set_verify(SslVerifyMode::NONE);
    let mut stream = connector.build().connect("gate.test", tcp).unwrap();
    let request = b"GET /proxied HTTP/1.1\r\nHost: gate.test\r\n\r\n";
    stream.write_all(request).unwrap();
    let line = gate.line(|line| line["path"] == "/proxied");
    assert_eq!(line["direct_peer"], "203.0.113.9:4711");
    assert_eq!(line["sender"], "203.0.113.9");
}

/// Without a network filter in the chain nobody knows the address; requests go on.
#[test]
fn an_address_that_nobody_tells_is_unknown() {
    let gate = Gate::start(vec![
        chain("alone.test", None, Some(http(REJECT))),
        chain("beside.test", Some(network(ALLOW)), Some(http(REJECT))),
    ]);
    let valid = golden("one_intermediate").identity();
    let mut connection = client::connect(
        gate.port(),
        "alone.test",
        Some(&valid),
        &ClientOptions::default(),
    )
    .unwrap();
    for path in ["/1", "/2"] {
        let spoof = [
            "mtls_gate_direct_peer: 203.0.113.9:5",
            "X-Forwarded-For: 203.0.113.9",
        ];
        let outcome = connection.get("alone.test", path, &spoof).unwrap();
        assert_eq!(outcome.response().unwrap().status, 200);
        let line = gate.line(|line| line["path"] == path);
        assert_eq!(
            (&line["sender"], &line["direct_peer"]),
            (&Value::Null, &Value::Null)
        );
    }
    let said = "no network filter of this chain has told the direct peer's address";
    let log = gate.envoy.log();
    assert_eq!(log.matches(said).count(), 2, "{log}");
    assert!(
        log.lines()
            .any(|line| line.contains(said) && line.contains("[error]"))
    );
}

/// The verdict on a connection does not show as that on its requests, which see more.
#[test]
fn the_two_verdicts_stay_apart() {
    let mut without_intermediate = network(ALLOW);
    without_intermediate["trustConfig"] = trust_config(&golden("one_intermediate"), false);
    let gate = Gate::start(vec![chain(
        "gate.test",
        Some(without_intermediate),
        Some(http(REJECT)),
    )]);
    let valid = golden("one_intermediate").identity();
    let outcome = get(
        gate.port(),
        "gate.test",
        Some(&valid),
        &ClientOptions::default(),
    );
    assert_eq!(outcome.response().unwrap().status, 200);
    let line = gate.line(|line| line["code"] == 200);
    assert_eq!(line["connection_error"], "client_cert_validation_failed");
    assert_eq!(
        (&line["error"], &line["reason"]),
        (&Value::Null, &Value::Null)
    );
}

/// A filter cannot refuse a place when it is configured: it is not told. It closes what it gets.
#[test]
fn a_configuration_in_the_wrong_place_closes() {
    for mode in [ALLOW, REJECT] {
        let mut for_requests = http(mode);
        for_requests["source"] = json!({});
        let gate = Gate::start(vec![
            chain("http.test", None, Some(network(mode))),
            chain("network.test", Some(for_requests), None),
            chain("right.test", Some(network(mode)), Some(http(mode))),
        ]);
        let valid = golden("one_intermediate").identity();
        for (name, version, exit) in [
            ("http.test", HttpVersion::Http1, 52),
            ("http.test", HttpVersion::Http2, 92),
            ("network.test", HttpVersion::Http1, 52),
        ] {
            let curl = gate.curl(name, version, "1.3", Some("one_intermediate"));
            let outcome = curl.run().unwrap();
            assert_eq!((outcome.exit, outcome.status()), (exit, None), "{name}");
            // A trap would take down what else runs in this VM.
            let right = get(
                gate.port(),
                "right.test",
                Some(&valid),
                &ClientOptions::default(),
            );
            assert_eq!(right.response().unwrap().status, 200);
        }
        assert_eq!(gate.echo.requests(), 3);
        let log = gate.envoy.log();
        for said in [
            "a configuration with role NETWORK_FILTER in an HTTP filter, stream closed",
            "a configuration with role HTTP_FILTER in a network filter, connection closed",
        ] {
            assert!(log.contains(said), "{said}\n{log}");
        }
        gate.no_reloads();
    }
}

#[test]
fn envoy_does_not_come_up_with_a_broken_one() {
    let mut broken = network(REJECT);
    broken["customRequestHeaders"] = json!(["X-Present:{client_cert_present}"]);
    let echo = Echo::start().unwrap();
    let listener = Listener {
        name: "gate".to_owned(),
        chains: vec![chain("gate.test", Some(broken), None)],
    };
    let config = EnvoyConfig::new(bootstrap(&[listener], echo.address(), false));
    let Err(EnvoyError::Exited { log, .. }) = Envoy::start(&config) else {
        panic!("Envoy came up");
    };
    let said = "configuration refused: customRequestHeaders: is about requests, and role \
                NETWORK_FILTER sees connections only";
    assert!(log.contains(said), "{log}");
}

/// In front of Envoy's TCP proxy, which must be told to wait for data before it connects: a backend
/// that speaks first does not speak to those who are refused.
#[test]
fn nothing_behind_the_filter_speaks_first() {
    let backend = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = backend.local_addr().unwrap().port();
    let greets = std::thread::spawn(move || {
        let (mut stream, _) = backend.accept().unwrap();
        let greeting = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
        stream.write_all(greeting).unwrap();
        let mut got = [0; 4];
        stream.read_exact(&mut got).unwrap();
        got
    });
    let chains = ["waits.test", "eager.test"]
        .map(|name| chain(name, Some(network(REJECT)), None))
        .to_vec();
    let gate = Gate::start_with(chains, |document| {
        let resources = &mut document["static_resources"];
        let proxy = json!({
            "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
            "stat_prefix": "greets",
            "cluster": "echo",
        });
        let mut waits = proxy.clone();
        waits["upstream_connect_mode"] = json!("ON_DOWNSTREAM_DATA");
        waits["max_early_data_bytes"] = json!(16384);
        for (number, config) in [waits, proxy].into_iter().enumerate() {
            resources["listeners"][0]["filter_chains"][number]["filters"][1] = json!({
                "name": "envoy.filters.network.tcp_proxy",
                "typed_config": config,
            });
        }
        let endpoint = "/clusters/0/load_assignment/endpoints/0/lb_endpoints/0/endpoint";
        let endpoint = resources.pointer_mut(endpoint).unwrap();
        endpoint["address"]["socket_address"]["port_value"] = json!(port);
    });
    let connect = |name: &str, identity: Option<&ClientIdentity>| {
        let options = ClientOptions {
            timeout: Duration::from_secs(1),
            ..ClientOptions::default()
        };
        client::connect(gate.port(), name, identity, &options)
    };
    let valid = golden("one_intermediate").identity();
    let mut refused = connect("waits.test", None).unwrap();
    let silent = refused.read_response();
    assert!(
        matches!(&silent, Err(ClientError::Timeout { partial }) if partial.is_empty()),
        "{silent:?}"
    );
    assert!(refused.exchange(b"MINE").unwrap().closed_silently());
    // Left as it is, the proxy reads nothing before it is connected: nobody gets anywhere.
    for client in [None, Some(&valid)] {
        let outcome = connect("eager.test", client).unwrap().exchange(b"MINE");
        assert!(
            matches!(&outcome, Err(ClientError::Timeout { partial }) if partial.is_empty()),
            "{outcome:?}"
        );
    }
    let mut passes = connect("waits.test", Some(&valid)).unwrap();
    let greeted = passes.exchange(b"MINE").unwrap().response().unwrap();
    assert_eq!(greeted.text(), "hello");
    assert_eq!(&greets.join().unwrap(), b"MINE");
    gate.no_reloads();
}
