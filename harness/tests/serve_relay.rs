//! `mtls-gate serve` behind a proxy that terminated the clients' mTLS and forwards their certificates:
//! who is believed, and that a relay's connection is nobody's identity.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::panic,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mtls_gate::fixtures::mint::{Cert, Issued, dns, eku, uri};
use mtls_gate::goldens::testdata;
use mtls_gate::testbed::client::{Connection, Outcome};
use mtls_gate::testbed::echo::{Echo, EchoReply};
use mtls_gate::testbed::front::{self, ALLOW, Front, Pair, REJECT, in_seconds, pem, text};
use mtls_gate::testbed::guard::Guarded;
use mtls_gate::testbed::http1::Response;
use mtls_gate::testbed::http2::Http2;
use mtls_gate::testbed::producers::Producer;
use mtls_gate::testbed::serve::{Serve, ServeError};
use mtls_gate::testbed::tunnel;
use mtls_gate::testbed::websocket::{self, UPGRADE};
use mtls_gate_core::authz::Request;
use mtls_gate_core::config::Config;
use mtls_gate_core::forwarded::Presented;
use mtls_gate_core::pipeline::Pipeline;
use mtls_gate_core::x509::UnixSeconds;
use serde_json::{Value, json};
use tempfile::TempDir;

const EDGE: &str = "spiffe://example.test/edge";
const SOON: Duration = Duration::from_secs(5);

fn id(client: &str) -> String {
    format!("spiffe://example.test/{client}")
}

/// The gate's files, and the relay's own CA, which is not the clients'.
struct Setup {
    front: Front,
    relays: Issued,
    relay: Pair,
}

impl Setup {
    fn new(mode: &str) -> Self {
        let front = Front::new(mode).unwrap();
        let relays = Cert::ca("relays' root").self_signed();
        let relay = edge().by(&relays);
        let relay = front.pair("relay", &[&relay]).unwrap();
        Self {
            front,
            relays,
            relay,
        }
    }

    /// The relay's name under the relays' CA.
    fn by_name(&self) -> Value {
        by_name(&self.relays, &json!({ "uris": [EDGE] }))
    }

    fn believe(&self, relay: &Value) -> String {
        self.settings(relay, json!({}))
    }

    /// The settings file with this `relay`, and more.
    fn settings(&self, relay: &Value, mut more: Value) -> String {
        more["source"] = json!({ "header": { "preset": "RFC9440", "relay": relay } });
        text(&self.front.resource("settings.yaml", &more).unwrap())
    }

    fn serve(&self, backend: &str, settings: &str, more: &[&str]) -> Result<Serve, ServeError> {
        let mut arguments = self.front.arguments_to(backend).unwrap();
        arguments.extend(["--settings", settings].map(str::to_owned));
        arguments.extend(more.iter().map(|argument| (*argument).to_owned()));
        Serve::start(binary(), &arguments)
    }

    /// The documented settings, with this relay.
    fn documented(&self) -> Value {
        let placeholder = "-----BEGIN CERTIFICATE-----\n...\n-----END CERTIFICATE-----\n";
        let mut settings: Value = serde_saphyr::from_str(&documented("settings")).unwrap();
        let mtls = &mut settings["source"]["header"]["relay"]["mtls"];
        let anchor = &mut mtls["trustConfig"]["trustStores"][0]["trustAnchors"][0];
        assert_eq!(anchor["pemCertificate"], placeholder);
        anchor["pemCertificate"] = json!(pem(&self.relays));
        let names = &mut mtls["sanMatch"]["dnsNames"];
        assert_eq!(*names, json!(["edge.example.test"]));
        *names = json!(["edge.test"]);
        settings
    }

    fn connect(&self, serve: &Serve) -> Connection {
        front::connect(serve.port(), Some(&self.relay)).unwrap()
    }

    fn http2(&self, serve: &Serve) -> Http2 {
        let server = fs::read(self.front.file("server.cert")).unwrap();
        Http2::connect(serve.port(), Some(&self.relay), &server).unwrap()
    }

    fn client(&self, name: &str) -> Issued {
        client(name).by(&self.front.root)
    }
}

fn binary() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_mtls-gate"))
}

fn edge() -> Cert {
    Cert::client("edge").sans(vec![uri(EDGE), dns("edge.test")])
}

fn client(name: &str) -> Cert {
    Cert::client(name).sans(vec![uri(&id(name))])
}

fn by_name(anchor: &Issued, san_match: &Value) -> Value {
    let anchors = json!([{ "pemCertificate": pem(anchor) }]);
    json!({ "mtls": {
        "trustConfig": { "trustStores": [{ "trustAnchors": anchors }] },
        "sanMatch": san_match,
    } })
}

fn upstream(echo: &Echo) -> String {
    format!("http://{}", echo.address())
}

/// What a relay writes of a client.
fn forwarded(client: &Issued) -> String {
    format!("Client-Cert: :{}:", STANDARD.encode(&client.der))
}

/// What the backend is told: present, verified, error, SPIFFE ID.
fn told(response: &Response) -> [String; 4] {
    assert_eq!(response.status, 200, "{}", response.text());
    let reply = EchoReply::parse(&response.body).unwrap();
    let folded = |name: &str| name.to_ascii_lowercase().replace('_', "-");
    for (name, value) in reply.headers.iter().chain(&reply.trailers) {
        assert!(!folded(name).starts_with("client-cert"), "{name}: {value}");
        assert!(!value.contains(EDGE), "{name}: {value}");
    }
    ["present", "chain-verified", "error", "spiffe"].map(|name| {
        let name = format!("x-client-cert-{name}");
        reply
            .one(&name)
            .unwrap_or_else(|| panic!("{name}"))
            .to_owned()
    })
}

fn verified(client: &str) -> [String; 4] {
    ["true", "true", "", &id(client)].map(str::to_owned)
}

fn unverified(present: bool, error: &str) -> [String; 4] {
    [&present.to_string(), "false", error, ""].map(str::to_owned)
}

fn none() -> [String; 4] {
    unverified(false, "client_cert_not_provided")
}

fn failed() -> [String; 4] {
    unverified(true, "client_cert_validation_failed")
}

fn get(connection: &mut Connection, path: &str, lines: &[&str]) -> Response {
    match connection.get("front.test", path, lines).unwrap() {
        Outcome::Response(response) => response,
        closed @ Outcome::Closed { .. } => panic!("{closed:?}"),
    }
}

fn line_of(serve: &Serve, path: &str) -> Value {
    let url = format!("https://front.test{path}");
    let is = |line: &Value| line["httpRequest"]["requestUrl"] == url;
    serve.wait_for_log(is).unwrap()
}

fn reason(line: &Value) -> &str {
    line["jsonPayload"]["mtlsGate"]["reason"]
        .as_str()
        .unwrap_or_default()
}

/// Waits until the changed files count.
fn loaded(serve: &Serve) {
    serve
        .wait_until_said(SOON, |line| line.contains("loaded anew"))
        .unwrap();
}

#[test]
fn only_the_relay_is_believed() {
    let setup = Setup::new(ALLOW);
    let echo = Echo::start().unwrap();
    let alice = forwarded(&setup.client("alice"));
    let pair = |name: &str, issued: Issued| setup.front.pair(name, &[&issued]).unwrap();
    let expired = pair("expired", edge().expired().by(&setup.relays));
    // Its name, from the CA that clients have theirs from.
    let client_ca = pair("client-ca", edge().by(&setup.front.root));
    let other = client("other").sans(vec![uri(&id("other")), dns("other.test")]);
    let other = pair("other", other.by(&setup.relays));
    let by_uri = setup.by_name();
    let by_dns = by_name(&setup.relays, &json!({ "dnsNames": ["EDGE.test"] }));
    let here = json!({ "addresses": ["127.0.0.0/8"] });
    let elsewhere = json!({ "addresses": ["10.0.0.0/8", "::1/128"] });
    let relay = Some(&setup.relay);
    let cases = [
        (&by_uri, relay, None),
        (&by_dns, relay, None),
        (&by_uri, Some(&other), Some("has no relay's name")),
        (&by_uri, Some(&expired), Some("expired at")),
        (&by_uri, Some(&client_ca), Some("peer's certificate: ")),
        (&by_uri, None, Some("no client certificate")),
        (&here, None, None),
        (&here, relay, None),
        (&elsewhere, relay, Some("address is no relay's")),
        (&json!({ "trustAnyRelay": true }), None, None),
        (&json!({}), relay, Some("nobody is believed")),
    ];
    for (index, (rule, peer, fault)) in cases.iter().enumerate() {
        let serve = setup
            .serve(&upstream(&echo), &setup.believe(rule), &[])
            .unwrap();
        let mut connection = front::connect(serve.port(), *peer).unwrap();
        // An address that somebody writes is no address.
        let lines = [
            alice.as_str(),
            "X-Forwarded-For: 10.0.0.1",
            "Forwarded: for=10.0.0.1",
            "X-Real-IP: 10.0.0.1",
        ];
        let expected = if fault.is_none() {
            verified("alice")
        } else {
            none()
        };
        let path = format!("/{index}");
        assert_eq!(
            told(&get(&mut connection, &path, &lines)),
            expected,
            "{rule}"
        );
        let line = line_of(&serve, &path);
        match fault {
            None => assert_eq!(reason(&line), "", "{rule}"),
            Some(fault) => assert!(reason(&line).contains(fault), "{line}"),
        }
        assert!(!line.to_string().contains(EDGE), "{line}");
        // The relay that forwards nothing is no client.
        assert_eq!(
            told(&get(&mut connection, "/nothing", &[])),
            none(),
            "{rule}"
        );
        assert_eq!(
            reason(&line_of(&serve, "/nothing")),
            "no client certificate"
        );
        let warned = |what: &str| serve.said().iter().any(|line| line.contains(what));
        let is = |field: &str| rule.get(field).is_some();
        assert_eq!(
            warned("warning: source.header.relay.trustAnyRelay: whoever reaches"),
            is("trustAnyRelay")
        );
        assert_eq!(
            warned("warning: source.header.relay: names nobody"),
            **rule == json!({})
        );
    }
}

/// Whoever asks about the connection alone learns of no client.
#[test]
fn a_relays_certificate_is_no_clients() {
    let setup = Setup::new(ALLOW);
    let anchors = json!([{ "pemCertificate": pem(&setup.front.root) }]);
    let mut document = json!({
        "serverTlsPolicy": { "mtlsPolicy": { "clientValidationMode": ALLOW } },
        "trustConfig": { "trustStores": [{ "trustAnchors": anchors }] },
    });
    let alice = setup.client("alice");
    let verdict = |document: &Value| {
        let config = Config::native(document.clone()).unwrap();
        let pipeline = Pipeline::new(config, mtls_gate_rustls::ALGORITHMS);
        let time = UnixSeconds(1_800_000_000);
        pipeline.judge(&Presented::Tls(&[&alice.der]), Some(time))
    };
    assert!(verdict(&document).is_verified());
    document["source"] = json!({ "header": { "preset": "RFC9440" } });
    assert!(!verdict(&document).is_present());
}

/// A socket that serves IPv6 too shows an IPv4 peer so.
#[test]
fn an_ipv4_peer_in_ipv6_form_is_the_same_peer() {
    let setup = Setup::new(ALLOW);
    let document = json!({
        "serverTlsPolicy": { "mtlsPolicy": { "clientValidationMode": ALLOW } },
        "source": { "header": {
            "preset": "RFC9440",
            "relay": { "addresses": ["192.0.2.0/24"] },
        } },
    });
    let config = Config::native(document).unwrap();
    let pipeline = Pipeline::new(config, mtls_gate_rustls::ALGORITHMS);
    let alice = setup.client("alice");
    let value = format!(":{}:", STANDARD.encode(&alice.der)).into_bytes();
    for (address, is_believed) in [
        ("192.0.2.1", true),
        ("::ffff:192.0.2.1", true),
        ("198.51.100.1", false),
        ("::ffff:198.51.100.1", false),
        ("::192.0.2.1", false),
    ] {
        let request = Request {
            headers: &[(b"client-cert", &value)],
            direct_peer: Some(address.parse().unwrap()),
            ..Request::default()
        };
        let client_cert = pipeline.client_cert(&Presented::Tls(&[]), &request, None);
        assert_eq!(client_cert.is_present(), is_believed, "{address}");
    }
}

#[test]
fn two_clients_take_turns_on_one_connection() {
    let setup = Setup::new(ALLOW);
    let echo = Echo::start().unwrap();
    let settings = setup.believe(&setup.by_name());
    let serve = setup.serve(&upstream(&echo), &settings, &[]).unwrap();
    let stranger = client("mallory").by(&Cert::ca("stranger").self_signed());
    let requests = [
        (Some(setup.client("alice")), verified("alice")),
        (Some(setup.client("bob")), verified("bob")),
        (None, none()),
        (Some(stranger), failed()),
    ];
    let mut http1 = setup.connect(&serve);
    let http2 = setup.http2(&serve);
    for round in 0..3 {
        for (client, expected) in &requests {
            let line = client.as_ref().map(forwarded);
            let lines: Vec<&str> = line.as_deref().into_iter().collect();
            let path = format!("/{round}");
            assert_eq!(told(&get(&mut http1, &path, &lines)), *expected);
            assert_eq!(told(&http2.get(&path, &lines).unwrap()), *expected);
        }
    }
}

/// Answers each connection's first request when it is told to.
fn backend_that_waits() -> (String, mpsc::Receiver<()>, mpsc::Sender<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let (asked, is_asked) = mpsc::channel();
    let (answer, may_answer) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 8192]).unwrap();
            if asked.send(()).is_err() || may_answer.recv().is_err() {
                return;
            }
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
            stream.write_all(answer).unwrap();
        }
    });
    (address, is_asked, answer)
}

/// Google's silence is for one client, and the connection is everybody's.
#[test]
fn a_refused_client_takes_nobody_along() {
    let setup = Setup::new(REJECT);
    let (backend, asked, answer) = backend_that_waits();
    let settings = setup.believe(&setup.by_name());
    let serve = setup.serve(&backend, &settings, &[]).unwrap();
    let alice = forwarded(&setup.client("alice"));
    let mallory = forwarded(&client("mallory").by(&Cert::ca("stranger").self_signed()));
    let http2 = setup.http2(&serve);
    let under_way = http2.begin("/alice", &[&alice]).unwrap();
    asked.recv_timeout(SOON).unwrap();
    for lines in [&[mallory.as_str()][..], &[]] {
        let refused = format!("{:?}", http2.get("/refused", lines).unwrap_err());
        assert!(refused.contains("Reset(StreamId"), "{refused}");
    }
    // Another still gets in, beside the one that waits.
    let beside = http2.begin("/beside", &[&alice]).unwrap();
    answer.send(()).unwrap();
    assert_eq!(http2.end(under_way).unwrap().text(), "ok");
    asked.recv_timeout(SOON).unwrap();
    answer.send(()).unwrap();
    assert_eq!(http2.end(beside).unwrap().text(), "ok");
    let line = line_of(&serve, "/refused");
    assert_eq!(line["httpRequest"]["status"], 0);
    assert_eq!(
        line["jsonPayload"]["statusDetails"],
        "client_cert_validation_failed"
    );
    // HTTP/1.1 has no other way than to close.
    let mut http1 = setup.connect(&serve);
    let closed = http1.get("front.test", "/closed", &[&mallory]).unwrap();
    assert!(closed.closed_silently(), "{closed:?}");
    // An answer tells the relay's client more than a connection that broke.
    let rejection = json!({ "rejection": { "action": "RESPOND", "status": 401 } });
    setup.settings(&setup.by_name(), rejection);
    loaded(&serve);
    let mut http1 = setup.connect(&serve);
    assert_eq!(get(&mut http1, "/answered", &[&mallory]).status, 401);
    assert_eq!(get(&mut http1, "/answered", &[]).status, 401);
}

#[test]
fn what_cannot_be_read_is_no_identity() {
    let setup = Setup::new(ALLOW);
    let echo = Echo::start().unwrap();
    let settings = setup.believe(&setup.by_name());
    let serve = setup.serve(&upstream(&echo), &settings, &[]).unwrap();
    let [alice, bob] = ["alice", "bob"].map(|name| forwarded(&setup.client(name)));
    let chain = alice.replace("Client-Cert:", "Client-Cert-Chain:");
    for (index, (lines, why)) in [
        (vec!["Client-Cert: garbage"], "not a Byte Sequence"),
        (vec!["Client-Cert: :AQID:"], "certificate 0"),
        (vec![&alice, &bob], "forwarded end entity occurs 2 times"),
        (vec![&bob, &alice], "forwarded end entity occurs 2 times"),
        (vec![&chain], "without an end entity"),
    ]
    .into_iter()
    .enumerate()
    {
        let path = format!("/{index}");
        let mut http1 = setup.connect(&serve);
        let found = [
            told(&get(&mut http1, &path, &lines)),
            told(&setup.http2(&serve).get(&path, &lines).unwrap()),
        ];
        assert_eq!(found, [failed(), failed()], "{lines:?}");
        let line = line_of(&serve, &path);
        assert!(reason(&line).contains(why), "{line}");
        assert_eq!(
            line["jsonPayload"]["mtls"]["clientCertError"],
            "client_cert_validation_failed"
        );
    }
}

/// What a client writes beside what the relay writes: other spellings are neither read nor forwarded,
/// and nominating the header for removal leaves no certificate.
#[test]
fn forged_copies_gain_nothing() {
    let setup = Setup::new(ALLOW);
    let echo = Echo::start().unwrap();
    let settings = setup.believe(&setup.by_name());
    let serve = setup.serve(&upstream(&echo), &settings, &[]).unwrap();
    let [alice, bob] = ["alice", "bob"].map(|name| forwarded(&setup.client(name)));
    let value = bob.strip_prefix("Client-Cert: ").unwrap();
    for name in [
        "client_cert",
        "Client_Cert-Chain",
        "x-forwarded-client-cert",
    ] {
        let forged = format!("{name}: {value}");
        let mut http1 = setup.connect(&serve);
        assert_eq!(told(&get(&mut http1, "/", &[&forged])), none(), "{name}");
        let lines = [alice.as_str(), &forged];
        assert_eq!(
            told(&get(&mut http1, "/", &lines)),
            verified("alice"),
            "{name}"
        );
        let found = told(&setup.http2(&serve).get("/", &lines).unwrap());
        assert_eq!(found, verified("alice"), "{name}");
    }
    let mut http1 = setup.connect(&serve);
    for nominated in ["client-cert", "x, Client-Cert"] {
        let lines = [
            alice.clone(),
            format!("Connection: keep-alive, {nominated}"),
        ];
        let lines = lines.each_ref().map(String::as_str);
        assert_eq!(told(&get(&mut http1, "/", &lines)), none(), "{nominated}");
    }
    let trailed = format!(
        "POST / HTTP/1.1\r\nHost: front.test\r\nTransfer-Encoding: chunked\r\n{alice}\r\n\
         Trailer: client-cert, client_cert, x-kept\r\n\r\n0\r\n{bob}\r\nclient_cert: {value}\r\n\
         X-Kept: 1\r\n\r\n"
    );
    let response = http1
        .exchange(trailed.as_bytes())
        .unwrap()
        .response()
        .unwrap();
    assert_eq!(told(&response), verified("alice"));
    let trailers = EchoReply::parse(&response.body).unwrap().trailers;
    assert_eq!(trailers, [("x-kept".to_owned(), "1".to_owned())]);
}

#[test]
fn changed_files_say_who_the_relay_is() {
    let setup = Setup::new(ALLOW);
    let echo = Echo::start().unwrap();
    let settings = setup.believe(&setup.by_name());
    let serve = setup.serve(&upstream(&echo), &settings, &[]).unwrap();
    let alice = forwarded(&setup.client("alice"));
    let mut open = setup.connect(&serve);
    assert_eq!(told(&get(&mut open, "/", &[&alice])), verified("alice"));
    let other = Cert::ca("other relays' root").self_signed();
    setup.believe(&by_name(&other, &json!({ "uris": [EDGE] })));
    loaded(&serve);
    assert_eq!(told(&get(&mut open, "/other", &[&alice])), none());
    assert!(reason(&line_of(&serve, "/other")).contains("direct peer's certificate"));
    // A warning comes with the file that it is about.
    setup.believe(&json!({ "trustAnyRelay": true }));
    serve
        .wait_until_said(SOON, |line| line.contains("relay.trustAnyRelay"))
        .unwrap();
    assert_eq!(told(&get(&mut open, "/", &[&alice])), verified("alice"));
    // Without `source.header` the connection is the relay's own, as a client.
    setup.front.resource("settings.yaml", &json!({})).unwrap();
    serve.signal("HUP").unwrap();
    let deadline = Instant::now() + SOON;
    while told(&get(&mut open, "/", &[&alice])) != failed() {
        assert!(Instant::now() < deadline, "{:?}", serve.said());
    }
}

/// A relay's connection that was switched to WebSocket is one client's.
#[test]
fn websocket_ends_with_the_forwarded_certificate() {
    let setup = Setup::new(REJECT);
    let (backend, thread) = websocket::backend(4).unwrap();
    let settings = setup.believe(&setup.by_name());
    let others = Cert::ca("another root").self_signed();
    let trust = |anchors: &[&Issued]| {
        let anchors: Vec<Value> = anchors
            .iter()
            .map(|anchor| json!({ "pemCertificate": pem(anchor) }))
            .collect();
        let trust = json!({ "trustStores": [{ "trustAnchors": anchors }] });
        setup.front.resource("trust_config.yaml", &trust).unwrap();
    };
    trust(&[&setup.front.root, &others]);
    let serve = setup
        .serve(&format!("http://{backend}"), &settings, &[])
        .unwrap();
    let switch = |path: &str, client: &Issued| {
        let mut connection = setup.connect(&serve);
        let line = forwarded(client);
        let mut lines = UPGRADE.to_vec();
        lines.push(&line);
        assert_eq!(get(&mut connection, path, &lines).status, 101);
        echoes(&mut connection);
        connection
    };
    let brief = client("brief").dates("2020-01-01T00:00:00", in_seconds(4));
    let mut brief = switch("/brief", &brief.by(&setup.front.root));
    let mut alice = switch("/alice", &setup.client("alice"));
    let mut bob = switch("/bob", &client("bob").by(&others));
    assert_eq!(brief.read_raw(1).unwrap(), b"");
    echoes(&mut alice);
    trust(&[&others]);
    assert_eq!(alice.read_raw(1).unwrap(), b"");
    for path in ["/brief", "/alice"] {
        let line = line_of(&serve, path);
        assert!(reason(&line).contains("the tunnel was ended"), "{line}");
    }
    // And with the relay's.
    echoes(&mut bob);
    setup.believe(&json!({}));
    assert_eq!(bob.read_raw(1).unwrap(), b"");
    setup.believe(&json!({ "trustAnyRelay": true }));
    let mut again = front::connect(serve.port(), None).unwrap();
    let line = forwarded(&client("carol").by(&others));
    let deadline = Instant::now() + SOON;
    loop {
        let mut lines = UPGRADE.to_vec();
        lines.push(&line);
        match again.get("front.test", "/carol", &lines).unwrap() {
            Outcome::Response(response) => break assert_eq!(response.status, 101),
            Outcome::Closed { .. } => again = front::connect(serve.port(), None).unwrap(),
        }
        assert!(Instant::now() < deadline);
    }
    echoes(&mut again);
    drop(again);
    let heads = thread.join().unwrap().unwrap();
    for (head, client) in heads.iter().zip(["brief", "alice", "bob", "carol"]) {
        assert!(
            head.contains(&format!("x-client-cert-spiffe: {}", id(client))),
            "{head}"
        );
        assert!(!head.contains("\r\nclient-cert: "), "{head}");
    }
}

fn echoes(connection: &mut Connection) {
    connection.send_raw(b"hello").unwrap();
    assert_eq!(connection.read_raw(5).unwrap(), b"hello");
}

/// Who asks is the forwarded client; where from is the direct peer.
#[test]
fn policies_see_the_client_and_the_relays_address() {
    let setup = Setup::new(ALLOW);
    let echo = Echo::start().unwrap();
    let rule = |client: &str, prefix: &str| {
        json!({ "from": { "sources": [{
            "principals": [{ "principal": { "exact": client } }],
            "ipBlocks": [{ "prefix": prefix, "length": 8 }],
        }] } })
    };
    let policy = json!({
        "name": "clients",
        "action": "ALLOW",
        "httpRules": [
            rule(&id("alice"), "127.0.0.0"),
            rule(&id("bob"), "10.0.0.0"),
            // Never anybody: the relay is no client.
            rule(EDGE, "127.0.0.0"),
        ],
    });
    let policy = text(&setup.front.resource("authz.yaml", &policy).unwrap());
    let settings = setup.believe(&setup.by_name());
    let more = ["--authz-policy", &policy];
    let serve = setup.serve(&upstream(&echo), &settings, &more).unwrap();
    let [alice, bob] = ["alice", "bob"].map(|name| forwarded(&setup.client(name)));
    let from = "X-Forwarded-For: 10.0.0.1";
    let mut connection = setup.connect(&serve);
    for (lines, status) in [
        (vec![alice.as_str()], 200),
        (vec![&alice, from], 200),
        (vec![&bob, from], 403),
        (vec![], 403),
    ] {
        let found = get(&mut connection, "/", &lines).status;
        assert_eq!(found, status, "{lines:?}");
    }
}

/// A relay that passes CONNECT on, with what it knows of the client.
#[test]
fn an_explicit_proxy_behind_a_relay_goes_by_the_client() {
    let setup = Setup::new(REJECT);
    let (site, thread) = websocket::backend(1).unwrap();
    let policy = |client: &str| {
        let policy = json!({
            "name": "clients",
            "action": "ALLOW",
            "httpRules": [{ "from": { "sources": [{
                "principals": [{ "principal": { "exact": id(client) } }],
            }] } }],
        });
        text(&setup.front.resource("authz.yaml", &policy).unwrap())
    };
    let mut arguments = setup.front.arguments();
    let settings = setup.believe(&setup.by_name());
    arguments.extend(["--settings", &settings, "--explicit-proxy"].map(str::to_owned));
    arguments.extend(["--authz-policy".to_owned(), policy("alice")]);
    arguments.extend(["--allow-destination", "localhost"].map(str::to_owned));
    let serve = Serve::start(binary(), &arguments).unwrap();
    let destination = format!("localhost:{}", site.port());
    let ask = |connection: &mut Connection, client: &str| {
        let line = forwarded(&setup.client(client));
        let head =
            format!("CONNECT {destination} HTTP/1.1\r\nHost: {destination}\r\n{line}\r\n\r\n");
        tunnel::ask_raw(connection, &head).unwrap()
    };
    let mut connection = setup.connect(&serve);
    assert_eq!(ask(&mut connection, "bob"), 403);
    let mut connection = setup.connect(&serve);
    assert_eq!(ask(&mut connection, "alice"), 200);
    let inside = b"GET / HTTP/1.1\r\n\r\n";
    connection.send_raw(inside).unwrap();
    assert_eq!(connection.read_raw(12).unwrap(), b"HTTP/1.1 101");
    policy("bob");
    while connection.read_raw(1).unwrap() != b"" {}
    // The destination gets what the client sends, and nothing of ours.
    let heads = thread.join().unwrap().unwrap();
    assert_eq!(
        heads,
        [String::from_utf8_lossy(inside).to_ascii_lowercase()]
    );
}

#[test]
fn what_cannot_be_served_is_said() {
    let setup = Setup::new(ALLOW);
    let said = |settings: &Value| {
        let settings = setup.front.resource("settings.yaml", settings).unwrap();
        match setup.serve("http://127.0.0.1:1", &text(&settings), &[]) {
            Err(ServeError::NotListening { status, said }) => {
                assert_eq!(status.unwrap().code(), Some(2), "{said}");
                said
            }
            other => panic!("{other:?}"),
        }
    };
    let header = json!({ "preset": "RFC9440", "relay": { "addresses": ["127.0.0.0/8"] } });
    for connection in [
        json!({ "directPeerAddress": "NETWORK_FILTER" }),
        json!({ "keepForwardedHeader": true }),
    ] {
        let source = json!({ "source": { "header": header, "connection": connection } });
        let said = said(&source);
        assert!(
            said.contains("source.connection: goes with the filter only"),
            "{said}"
        );
    }
    let anywhere = json!({ "preset": "RFC9440", "relay": { "addresses": ["127.0.0.1"] } });
    let said_of_address = said(&json!({ "source": { "header": anywhere } }));
    assert!(
        said_of_address.contains("source.header.relay.addresses[0]: is not ADDRESS/LENGTH"),
        "{said_of_address}"
    );
}

/// What stands behind a mark in `docs/serve.md`.
fn documented(mark: &str) -> String {
    let page = testdata().join("../docs/serve.md");
    let page = fs::read_to_string(page).unwrap();
    let (_, behind) = page.split_once(&format!("<!-- {mark}: ")).unwrap();
    let (_, block) = behind.split_once("```").unwrap();
    let (_, text) = block.split_once('\n').unwrap();
    text.split_once("```").unwrap().0.to_owned()
}

/// The documented nginx before this server, both as they stand.
struct Nginx {
    port: u16,
    _process: Guarded,
    _dir: TempDir,
}

impl Nginx {
    fn start(setup: &Setup, gates: &[&Serve]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let edge = Cert::client("nginx").eku(&[eku::SERVER_AUTH]).self_signed();
        setup.front.pair("edge", &[&edge]).unwrap();
        let file = |name: &str| text(&setup.front.file(name));
        let gates: Vec<String> = gates
            .iter()
            .map(|gate| format!("server 127.0.0.1:{};", gate.port()))
            .collect();
        let mut servers = documented("nginx");
        for (wanted, replacement) in [
            ("server 127.0.0.1:8443;", gates.concat()),
            ("listen 443", format!("listen 127.0.0.1:{port}")),
            ("/etc/tls/edge.cert", file("edge.cert")),
            ("/etc/tls/edge.key", file("edge.key")),
            ("/etc/tls/relay.cert", file("relay.cert")),
            ("/etc/tls/relay.key", file("relay.key")),
            ("/etc/tls/gate.cert", file("server.cert")),
            ("gate.example.test", "front.test".to_owned()),
        ] {
            assert!(servers.contains(wanted), "{wanted}");
            servers = servers.replace(wanted, &replacement);
        }
        let around = format!(
            "daemon off;\nmaster_process off;\npid nginx.pid;\nerror_log stderr;\nevents {{}}\n\
             http {{\naccess_log off;\nclient_body_temp_path body;\nproxy_temp_path proxy;\n\
             fastcgi_temp_path fastcgi;\nuwsgi_temp_path uwsgi;\nscgi_temp_path scgi;\n{servers}}}\n"
        );
        fs::write(dir.path().join("nginx.conf"), around).unwrap();
        let log = dir.path().join("log");
        let program = std::path::absolute(Producer::Nginx.program()).unwrap();
        let mut command = Command::new(program);
        command.args(["-p", &text(dir.path()), "-e", "stderr", "-c", "nginx.conf"]);
        let log_file = fs::File::create(&log).unwrap();
        let process = Guarded::start(&command, dir.path(), log_file).unwrap();
        let deadline = Instant::now() + SOON;
        while front::connect(port, None).is_err() {
            let said = fs::read_to_string(&log).unwrap();
            assert!(Instant::now() < deadline, "{said}");
            std::thread::sleep(Duration::from_millis(20));
        }
        Self {
            port,
            _process: process,
            _dir: dir,
        }
    }

    fn get(&self, client: Option<&Pair>, lines: &[&str]) -> Response {
        get(&mut front::connect(self.port, client).unwrap(), "/", lines)
    }
}

#[test]
fn nginx_in_front_as_documented() {
    let setup = Setup::new(ALLOW);
    let echo = Echo::start().unwrap();
    let settings = setup.documented();
    let settings = text(&setup.front.resource("settings.yaml", &settings).unwrap());
    let arguments = setup.front.arguments_to(&upstream(&echo)).unwrap();
    let mut arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    arguments.extend(["--settings", &settings]);
    // This one tells the peer's port.
    let google = arguments.iter_mut().find(|argument| **argument == "google");
    *google.unwrap() = "text";
    let serve = Serve::start(binary(), &arguments).unwrap();
    let nginx = Nginx::start(&setup, &[&serve]);
    let [alice, bob] = ["alice", "bob"].map(|name| {
        let issued = setup.client(name);
        (setup.front.pair(name, &[&issued]).unwrap(), issued)
    });
    let stranger = client("mallory").by(&Cert::ca("stranger").self_signed());
    let mallory = setup.front.pair("mallory", &[&stranger]).unwrap();
    // What nginx writes of alice, by somebody else.
    let value = pem(&alice.1)
        .replace('\n', "%0A")
        .replace(' ', "%20")
        .replace('+', "%2B");
    let forged =
        ["X-Client-Cert", "X_Client_Cert", "x-client_cert"].map(|name| format!("{name}: {value}"));
    let forged = forged.each_ref().map(String::as_str);
    let mut asked = 0;
    for (client, expected) in [
        (Some(&alice.0), verified("alice")),
        (Some(&bob.0), verified("bob")),
        (None, none()),
        (Some(&mallory), failed()),
        (Some(&alice.0), verified("alice")),
    ] {
        for lines in [&[][..], &forged] {
            let response = nginx.get(client, lines);
            assert_eq!(told(&response), expected);
            let reply = EchoReply::parse(&response.body).unwrap();
            for (name, _) in &reply.headers {
                let name = name.replace('_', "-");
                assert!(!name.eq_ignore_ascii_case("x-client-cert"), "{name}");
            }
            asked += 1;
        }
    }
    // All of them came by one connection.
    let deadline = Instant::now() + SOON;
    while serve.log().len() < asked {
        assert!(Instant::now() < deadline, "{:?}", serve.log());
        std::thread::sleep(Duration::from_millis(10));
    }
    let log = serve.log();
    let mut peers: Vec<&str> = log
        .iter()
        .filter_map(|line| line.split(' ').nth(1))
        .collect();
    peers.dedup();
    assert_eq!(peers.len(), 1, "{log:?}");
    // The same headers by the same client, past nginx.
    for client in [None, Some(&alice.0), Some(&mallory)] {
        let mut past = front::connect(serve.port(), client).unwrap();
        assert_eq!(told(&get(&mut past, "/", &forged[..1])), none());
    }
    // Refused clients are answered, in nginx's place.
    setup.front.mode(REJECT).unwrap();
    loaded(&serve);
    assert_eq!(nginx.get(Some(&mallory), &[]).status, 403);
    assert_eq!(nginx.get(None, &[]).status, 403);
    assert_eq!(told(&nginx.get(Some(&alice.0), &[])), verified("alice"));
}

/// Why the documented settings answer: to nginx a closed connection is a broken gate.
#[test]
fn closing_takes_the_gates_from_everybody_and_answering_does_not() {
    let setup = Setup::new(REJECT);
    let echo = Echo::start().unwrap();
    let alice = setup.client("alice");
    let alice = setup.front.pair("alice", &[&alice]).unwrap();
    for (action, refused, others) in [("RESPOND", 403, 200), ("CLOSE", 502, 502)] {
        let mut settings = setup.documented();
        settings["rejection"] = json!({ "action": action });
        let settings = text(&setup.front.resource("settings.yaml", &settings).unwrap());
        let gates = [(); 2].map(|()| setup.serve(&upstream(&echo), &settings, &[]).unwrap());
        let nginx = Nginx::start(&setup, &gates.each_ref());
        assert_eq!(nginx.get(Some(&alice), &[]).status, 200, "{action}");
        assert_eq!(nginx.get(None, &[]).status, refused, "{action}");
        assert_eq!(nginx.get(Some(&alice), &[]).status, others, "{action}");
        let warned = |line: &String| line.contains("warning: rejection.action: is CLOSE");
        assert_eq!(gates[0].said().iter().any(warned), action == "CLOSE");
    }
}
