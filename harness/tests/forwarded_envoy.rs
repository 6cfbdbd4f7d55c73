//! Certificates that another proxy forwards, in a real Envoy: believed from the relay, from nobody
//! else, and gone before the backend.
#![allow(clippy::panic, clippy::unwrap_used, clippy::indexing_slicing)]

use mtls_gate::goldens::{self, Golden};
use mtls_gate::testbed::client::{self, ClientIdentity, ClientOptions};
use mtls_gate::testbed::echo::{Echo, EchoReply};
use mtls_gate::testbed::envoy::{
    Chain, Envoy, EnvoyConfig, FilterDocument, Listener, ServerCertificate, WasmFilter, bootstrap,
    filter_file,
};
use mtls_gate::testbed::forwarded::byte_sequence;
use serde_json::{Value, json};

fn golden(name: &str) -> Golden {
    let all = goldens::all().unwrap();
    all.into_iter().find(|golden| golden.name == name).unwrap()
}

fn identity(golden: &Golden) -> ClientIdentity {
    ClientIdentity {
        chain_pem: golden.chain_pem.clone().into_bytes(),
        key_pem: golden.key_pem.clone().into_bytes(),
    }
}

/// What the backend gets: present, verified, fingerprint.
fn seen(
    port: u16,
    name: &str,
    peer: Option<&ClientIdentity>,
    lines: &[String],
) -> (EchoReply, [String; 3]) {
    let mut connection = client::connect(port, name, peer, &ClientOptions::default()).unwrap();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let outcome = connection.get(name, "/", &lines).unwrap();
    let response = outcome.response().unwrap();
    assert_eq!(response.status, 200, "{}", response.text());
    let reply = EchoReply::parse(&response.body).unwrap();
    let one = |name: &str| reply.all(name)[0].to_owned();
    let seen = [one("x-present"), one("x-verified"), one("x-fingerprint")];
    (reply, seen)
}

#[test]
fn only_the_relay_is_believed() {
    let (client, relay) = (golden("one_intermediate"), golden("direct_from_anchor"));
    let document = |relay: Value| {
        json!({
            "trustConfig": client.document()["trustConfig"],
            "serverTlsPolicy": {"mtlsPolicy": {
                "clientValidationMode": "ALLOW_INVALID_OR_MISSING_CLIENT_CERT"}},
            "customRequestHeaders": [
                "X-Present:{client_cert_present}",
                "X-Verified:{client_cert_chain_verified}",
                "X-Fingerprint:{client_cert_sha256_fingerprint}",
            ],
            "source": {"header": {"preset": "RFC9440", "relay": relay}},
        })
    };
    let name = "client.mtls-gate.test";
    let by_name = |name: &str| {
        json!({"mtls": {
            "trustConfig": relay.document()["trustConfig"],
            "sanMatch": {"dnsNames": [name]},
        }})
    };
    let certificate = ServerCertificate::self_signed(&["*.test"]).unwrap();
    let chain = |name: &str, relay: Value| {
        let document = FilterDocument::Struct(document(relay));
        Chain::new(&[name], &certificate).filter(WasmFilter::new(&filter_file(), document))
    };
    let echo = Echo::start().unwrap();
    let listener = Listener {
        name: "gate".to_owned(),
        chains: vec![
            chain("named.test", by_name(name)),
            chain("other.test", by_name("relay.test")),
            chain("nobody.test", json!({})),
            chain("anybody.test", json!({"trustAnyRelay": true})),
        ],
    };
    let config = EnvoyConfig::new(bootstrap(&[listener], echo.address(), false));
    let envoy = Envoy::start(&config).unwrap();
    let port = envoy.port("gate").unwrap();
    let pems = client.chain();
    let lines = [
        format!("Client-Cert: {}", byte_sequence(pems[0])),
        format!("Client-Cert-Chain: {}", byte_sequence(pems[1])),
        "client_cert: spoof".to_owned(),
    ];
    let fingerprint = &client.expected.variables["client_cert_sha256_fingerprint"];
    let verified = ["true", "true", fingerprint.as_str()];
    let none = ["false", "false", ""];
    let relay = identity(&relay);
    for (name, peer, expected) in [
        ("named.test", Some(&relay), verified),
        ("named.test", None, none),
        ("other.test", Some(&relay), none),
        ("nobody.test", Some(&relay), none),
        ("anybody.test", None, verified),
    ] {
        let (reply, found) = seen(port, name, peer, &lines);
        assert_eq!(found, expected, "{name}");
        for header in ["client-cert", "client_cert", "client-cert-chain"] {
            assert!(reply.all(header).is_empty(), "{name} {header}");
        }
    }
    // Envoy drops what the request nominates for removal before the filter sees it.
    let nominated = [
        &lines[..],
        &["Connection: client-cert, client-cert-chain".to_owned()],
    ]
    .concat();
    let (_, found) = seen(port, "named.test", Some(&relay), &nominated);
    assert_eq!(found, none);
    // A relay that forwards nothing is no client.
    let (_, found) = seen(port, "named.test", Some(&relay), &[]);
    assert_eq!(found, none);
    let counters = envoy.stats("wasmcustom.mtls_gate").unwrap();
    assert_eq!(counters["wasmcustom.mtls_gate.relay_untrusted"], 3);
    let log = envoy.log();
    for warning in [
        "source.header.relay.trustAnyRelay: whoever reaches",
        "source.header.relay: names nobody",
    ] {
        let line = log.lines().find(|line| line.contains(warning));
        assert!(
            line.is_some_and(|line| line.contains("[warning]")),
            "{line:?}"
        );
    }
}
