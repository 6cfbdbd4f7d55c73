//! `mtls-gate serve` as its users run it: a process, files, real clients.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::panic,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::time::{Duration, Instant};

use mtls_gate::fixtures::mint::{Cert, Issued, eku, uri};
use mtls_gate::goldens::testdata;
use mtls_gate::testbed::client::{
    self, ClientError, ClientIdentity, ClientOptions, Connection, Outcome,
};
use mtls_gate::testbed::curl::{Curl, CurlOutcome, HttpVersion};
use mtls_gate::testbed::echo::{Echo, EchoReply};
use mtls_gate::testbed::front::{self, ALLOW, Front, Pair, REJECT, in_seconds, pem, text};
use mtls_gate::testbed::http1::Response;
use mtls_gate::testbed::serve::{Serve, ServeError};
use mtls_gate::testbed::websocket::{self, UPGRADE};
use openssl::asn1::Asn1Time;
use openssl::dsa::Dsa;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{Id, PKey, Private};
use openssl::ssl::SslVersion;
use openssl::x509::X509;
use serde_json::{Value, json};

const ID: &str = "spiffe://example.test/ns/default/sa/client";

fn binary() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_mtls-gate"))
}

fn start(front: &Front, backend: &str, more: &[&str]) -> Result<Serve, ServeError> {
    let mut arguments = front.arguments_to(backend).unwrap();
    arguments.extend(more.iter().map(|argument| (*argument).to_owned()));
    Serve::start(binary(), &arguments)
}

fn upstream(echo: &Echo) -> String {
    format!("http://{}", echo.address())
}

/// The clients that most tests use.
struct Clients {
    valid: Pair,
    untrusted: Pair,
    expired: Pair,
    server_only: Pair,
}

impl Clients {
    fn of(front: &Front) -> Self {
        let stranger = Cert::ca("front stranger").self_signed();
        let pair = |name: &str, issued: Issued| front.pair(name, &[&issued]).unwrap();
        Self {
            valid: pair("valid", valid().by(&front.root)),
            untrusted: pair("untrusted", valid().by(&stranger)),
            expired: pair(
                "expired",
                Cert::client("front expired").expired().by(&front.root),
            ),
            server_only: pair(
                "server-only",
                Cert::client("front server only")
                    .eku(&[eku::SERVER_AUTH])
                    .by(&front.root),
            ),
        }
    }
}

fn valid() -> Cert {
    Cert::client("front client").sans(vec![uri(ID)])
}

fn curl(serve: &Serve, client: Option<&Pair>, version: HttpVersion, tls: &str) -> CurlOutcome {
    let mut curl = Curl::new(serve.port(), "front.test").version(version);
    if let Some(Pair { cert, key }) = client {
        curl = curl.identity(cert, key);
    }
    curl.extra = vec!["--tls-max".to_owned(), tls.to_owned()];
    curl.run().unwrap()
}

fn connect(serve: &Serve, client: Option<&Pair>) -> Connection {
    front::connect(serve.port(), client).unwrap()
}

fn response(outcome: Result<Outcome, ClientError>) -> Response {
    match outcome.unwrap() {
        Outcome::Response(response) => response,
        closed @ Outcome::Closed { .. } => panic!("{closed:?}"),
    }
}

fn reply(response: &Response) -> EchoReply {
    assert_eq!(response.status, 200, "{}", response.text());
    EchoReply::parse(&response.body).unwrap()
}

fn get(connection: &mut Connection, path: &str, lines: &[&str]) -> Response {
    response(connection.get("front.test", path, lines))
}

fn path_is(line: &Value, path: &str) -> bool {
    line["httpRequest"]["requestUrl"] == format!("https://front.test{path}")
}

/// Google: no HTTP response, and the client learns no reason.
#[test]
fn invalid_and_missing_certificates_end_the_handshake() {
    let front = Front::new(REJECT).unwrap();
    let clients = Clients::of(&front);
    let echo = Echo::start().unwrap();
    let serve = start(&front, &upstream(&echo), &[]).unwrap();
    for version in [HttpVersion::Http1, HttpVersion::Http2] {
        for tls in ["1.2", "1.3"] {
            let good = curl(&serve, Some(&clients.valid), version, tls);
            assert_eq!((good.exit, good.status()), (0, Some(200)), "{good:?}");
            for client in [&clients.untrusted, &clients.expired, &clients.server_only] {
                let refused = curl(&serve, Some(client), version, tls);
                let exit = if tls == "1.2" { 35 } else { 56 };
                assert_eq!(
                    (refused.exit, refused.status()),
                    (exit, None),
                    "{refused:?}"
                );
                assert!(refused.stderr.contains("access denied"), "{refused:?}");
            }
            let missing = curl(&serve, None, version, tls);
            let exit = if tls == "1.2" { 98 } else { 56 };
            assert_eq!(
                (missing.exit, missing.status()),
                (exit, None),
                "{missing:?}"
            );
        }
    }
    assert_eq!(echo.requests(), 4);
    for (error, count) in [
        ("client_cert_not_provided", 4),
        ("client_cert_chain_invalid_eku", 4),
        ("client_cert_validation_failed", 8),
    ] {
        let is = |line: &Value| line["jsonPayload"]["statusDetails"] == error;
        let line = serve.wait_for_log(is).unwrap();
        assert_eq!(line["httpRequest"]["status"], 0);
        assert_eq!(line["jsonPayload"]["mtls"]["clientCertError"], error);
        assert_eq!(
            line["jsonPayload"]["mtls"]["clientCertChainVerified"],
            "false"
        );
        assert_eq!(
            line["jsonPayload"]["proxyStatus"],
            format!("error=\"tls_certificate_error\"; details=\"{error}\"")
        );
        assert_eq!(
            line["jsonPayload"]["mtls"]["clientCertValidStartTime"],
            "1970-01-01T00:00:00Z"
        );
        let deadline = Instant::now() + Duration::from_secs(5);
        let lines = || {
            serve
                .log()
                .iter()
                .filter(|line| line.contains(&format!("Details\":\"{error}")))
                .count()
        };
        while lines() < count && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(lines(), count, "{error}");
    }
    let good = serve
        .wait_for_log(|line| line["jsonPayload"]["statusDetails"] == "response_sent_by_backend")
        .unwrap();
    assert_eq!(good["httpRequest"]["status"], 200);
    let mtls = &good["jsonPayload"]["mtls"];
    assert_eq!(mtls["clientCertPresent"], "true");
    assert_eq!(mtls["clientCertSpiffeId"], ID);
    assert_eq!(mtls["clientCertValidStartTime"], "2020-01-01T00:00:00Z");
    assert_eq!(good["jsonPayload"]["proxyStatus"], Value::Null);
}

#[test]
fn everybody_passes_under_allow_and_nobody_forges() {
    let front = Front::new(ALLOW).unwrap();
    let clients = Clients::of(&front);
    let echo = Echo::start().unwrap();
    let serve = start(&front, &upstream(&echo), &[]).unwrap();
    let forged = [
        "x-client-cert-present: forged",
        "X_Client_Cert_SPIFFE: spiffe://forged",
        "x-client.cert-error: forged",
        "x-forwarded-client-cert: forged",
        "Client-Cert: :forged:",
        "Connection: keep-alive, x-client-cert-present, x-client-cert-spiffe, host",
        "X-Forwarded-For: 192.0.2.1",
        "X_Forwarded_For: forged",
        "x.forwarded-proto: forged",
    ];
    for (client, verified, error, id) in [
        (Some(&clients.valid), "true", "", ID),
        (None, "false", "client_cert_not_provided", ""),
        (
            Some(&clients.untrusted),
            "false",
            "client_cert_validation_failed",
            "",
        ),
        (
            Some(&clients.server_only),
            "false",
            "client_cert_chain_invalid_eku",
            "",
        ),
    ] {
        let response = get(&mut connect(&serve, client), "/", &forged);
        let reply = reply(&response);
        assert_eq!(reply.one("x-client-cert-chain-verified"), Some(verified));
        assert_eq!(reply.one("x-client-cert-error"), Some(error));
        assert_eq!(reply.one("x-client-cert-spiffe"), Some(id));
        let present = client.is_some().to_string();
        assert_eq!(reply.one("x-client-cert-present"), Some(present.as_str()));
        assert_eq!(reply.one("host"), Some("front.test"));
        assert_eq!(
            reply.one("x-forwarded-for"),
            Some("192.0.2.1,127.0.0.1,127.0.0.1")
        );
        assert_eq!(reply.one("x-forwarded-proto"), Some("https"));
        assert_eq!(reply.one("via"), Some("1.1 mtls-gate"));
        assert!(
            !reply
                .headers
                .iter()
                .any(|(_, value)| value.contains("forged")),
            "{:?}",
            reply.headers
        );
        assert_eq!(response.header("via"), Some("1.1 mtls-gate"));
    }
    // Trailers lose the same names.
    let mut connection = connect(&serve, None);
    let request = b"POST /t HTTP/1.1\r\nHost: front.test\r\nTransfer-Encoding: chunked\r\n\
        Trailer: x-client_cert-present, x_forwarded_for, x-kept\r\n\r\n3\r\nabc\r\n0\r\n\
        X-Client_Cert-Present: forged\r\nX_Forwarded_For: forged\r\nX-Kept: 1\r\n\r\n";
    let trailed = reply(&response(connection.exchange(request)));
    assert_eq!(trailed.body_bytes, 3);
    assert!(
        !trailed.trailers.iter().any(|(_, value)| value == "forged"),
        "{trailed:?}"
    );
    // HTTP/2, the same way.
    let mut curl = Curl::new(serve.port(), "front.test")
        .version(HttpVersion::Http2)
        .header("x-client_cert-present: forged");
    curl.extra = vec!["--data-binary".to_owned(), "x".repeat(100_000)];
    let outcome = curl.run().unwrap();
    let reply = reply(outcome.response.as_ref().unwrap());
    assert_eq!(reply.body_bytes, 100_000);
    assert_eq!(reply.all("x-client-cert-present"), ["false"]);
    assert_eq!(reply.one("host"), Some("front.test"));
    assert_eq!(reply.one("via"), Some("2 mtls-gate"));
    assert!(reply.all("x-client_cert-present").is_empty());
}

/// Keys that no algorithm here verifies: such a client cannot prove that it holds its key, and is never
/// taken for one that presented a certificate.
#[test]
fn keys_that_cannot_be_proven_end_the_handshake_or_show_nothing() {
    let front = Front::new(ALLOW).unwrap();
    let echo = Echo::start().unwrap();
    let serve = start(&front, &upstream(&echo), &[]).unwrap();
    for (name, key, ends_handshake) in keys_beyond_proof() {
        let identity = ClientIdentity {
            chain_pem: self_signed(&key),
            key_pem: key.private_key_to_pem_pkcs8().unwrap(),
        };
        for version in [SslVersion::TLS1_2, SslVersion::TLS1_3] {
            let options = ClientOptions {
                max_version: Some(version),
                ..ClientOptions::default()
            };
            let connection = client::connect(serve.port(), "front.test", Some(&identity), &options);
            let told = match connection {
                Err(ClientError::Handshake { .. }) => None,
                Err(other) => panic!("{name}: {other}"),
                // In TLS 1.3 the client is told with its first answer.
                Ok(mut connection) => match connection.get("front.test", "/", &[]).unwrap() {
                    Outcome::Response(response) => Some(reply(&response)),
                    Outcome::Closed { .. } => None,
                },
            };
            match told {
                None => assert!(ends_handshake || version == SslVersion::TLS1_2, "{name}"),
                Some(told) => {
                    assert!(!ends_handshake, "{name}");
                    let error = told.one("x-client-cert-error");
                    assert_eq!(error, Some("client_cert_not_provided"), "{name}");
                }
            }
        }
    }
}

/// Each with whether clients sign with it all the same.
fn keys_beyond_proof() -> Vec<(&'static str, PKey<Private>, bool)> {
    let curve = |nid| {
        let group = EcGroup::from_curve_name(nid).unwrap();
        PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap()
    };
    let rsa = std::fs::read(testdata().join("keys/rsa-8200-a.pem")).unwrap();
    vec![
        ("secp256k1", curve(Nid::SECP256K1), false),
        ("brainpoolP256r1", curve(Nid::BRAINPOOL_P256R1), false),
        ("Ed448", PKey::generate_ed448().unwrap(), false),
        (
            "DSA",
            PKey::from_dsa(Dsa::generate(2048).unwrap()).unwrap(),
            false,
        ),
        (
            "RSA of 8,200 bits",
            PKey::private_key_from_pem(&rsa).unwrap(),
            true,
        ),
    ]
}

fn self_signed(key: &PKey<Private>) -> Vec<u8> {
    let mut builder = X509::builder().unwrap();
    builder.set_pubkey(key).unwrap();
    let day = |days| Asn1Time::days_from_now(days).unwrap();
    builder.set_not_before(&day(0)).unwrap();
    builder.set_not_after(&day(1)).unwrap();
    let digest = match key.id() {
        Id::ED448 => MessageDigest::null(),
        _ => MessageDigest::sha256(),
    };
    builder.sign(key, digest).unwrap();
    builder.build().to_pem().unwrap()
}

#[test]
fn changed_files_count_for_open_connections_and_broken_ones_do_not() {
    let front = Front::new(REJECT).unwrap();
    let clients = Clients::of(&front);
    let echo = Echo::start().unwrap();
    let serve = start(&front, &upstream(&echo), &[]).unwrap();
    let soon = Duration::from_secs(5);
    let times = |what: &str| {
        serve
            .said()
            .iter()
            .filter(|line| line.contains(what))
            .count()
    };
    let loaded = |count: usize| {
        let deadline = Instant::now() + soon;
        while times("loaded anew") < count {
            assert!(Instant::now() < deadline, "{:?}", serve.said());
            std::thread::sleep(Duration::from_millis(10));
        }
    };
    let mut open = connect(&serve, Some(&clients.valid));
    assert_eq!(get(&mut open, "/1", &[]).status, 200);

    // Broken: the old one stays, and says so.
    front
        .write(
            "trust_config.yaml",
            "trustStores: [{trustAnchors: [{pemCertificate: x}]}]",
        )
        .unwrap();
    let line = serve
        .wait_until_said(soon, |line| line.contains("the old one stays"))
        .unwrap();
    assert!(
        line.contains("trustStores[0].trustAnchors[0].pemCertificate"),
        "{line}"
    );
    assert_eq!(get(&mut open, "/2", &[]).status, 200);
    assert_eq!(
        curl(&serve, Some(&clients.valid), HttpVersion::Http1, "1.3").exit,
        0
    );

    // Another anchor: the open connection is judged by it, and closed without a word.
    let other = Cert::ca("front other root").self_signed();
    front.trust("trust_config.yaml", &other).unwrap();
    loaded(1);
    let closed = open.get("front.test", "/3", &[]).unwrap();
    assert!(closed.closed_silently(), "{closed:?}");
    let line = serve
        .wait_for_log(|line| {
            line["jsonPayload"]["statusDetails"] == "client_cert_validation_failed"
        })
        .unwrap();
    assert_eq!(line["httpRequest"]["status"], 0);
    assert_eq!(
        line["jsonPayload"]["statusDetails"],
        "client_cert_validation_failed"
    );
    let new = front.pair("new", &[&valid().by(&other)]).unwrap();
    assert_eq!(curl(&serve, Some(&new), HttpVersion::Http2, "1.3").exit, 0);
    assert_eq!(
        curl(&serve, Some(&clients.valid), HttpVersion::Http2, "1.3").exit,
        56
    );

    // A connection whose certificate passes stays, through all that follows.
    let mut stays = connect(&serve, Some(&new));
    assert_eq!(get(&mut stays, "/4", &[]).status, 200);

    // The server's own pair: half of it changed is broken, the whole is not; SIGHUP asks at once.
    let pair = Cert::client("front server anew")
        .eku(&[eku::SERVER_AUTH])
        .self_signed();
    let key = pair.cert.key.pkcs8_pem();
    front.write("server.cert", &pem(&pair)).unwrap();
    serve
        .wait_until_said(soon, |line| line.contains("not the key of"))
        .unwrap();
    assert_eq!(curl(&serve, Some(&new), HttpVersion::Http1, "1.2").exit, 0);
    front.write("server.key", &key).unwrap();
    serve.signal("HUP").unwrap();
    loaded(2);
    let mut trusting =
        Curl::new(serve.port(), "client.mtls-gate.test").identity(&new.cert, &new.key);
    trusting.ca = Some(front.file("server.cert"));
    trusting.extra = vec!["-v".to_owned()];
    let shown = trusting.run().unwrap();
    assert!(
        shown.stderr.contains("CN=front server anew"),
        "{}",
        shown.stderr
    );
    assert_eq!(get(&mut stays, "/5", &[]).status, 200);
    assert_eq!(echo.requests(), 8);
}

#[test]
fn a_session_is_never_resumed_and_a_certificate_expires_on_an_open_connection() {
    let front = Front::new(REJECT).unwrap();
    let echo = Echo::start().unwrap();
    let serve = start(&front, &upstream(&echo), &[]).unwrap();
    let brief = Cert::client("front brief")
        .dates("2020-01-01T00:00:00", in_seconds(3))
        .by(&front.root);
    let brief = front.pair("brief", &[&brief]).unwrap();
    let mut open = connect(&serve, Some(&brief));
    assert_eq!(get(&mut open, "/", &[]).status, 200);
    let other = front.pair("long", &[&valid().by(&front.root)]).unwrap();
    for version in [SslVersion::TLS1_2, SslVersion::TLS1_3] {
        let options = ClientOptions {
            max_version: Some(version),
            ..ClientOptions::default()
        };
        let identity = other.identity().unwrap();
        let mut first =
            client::connect(serve.port(), "front.test", Some(&identity), &options).unwrap();
        assert_eq!(get(&mut first, "/", &[]).status, 200);
        if let Some(session) = first.session() {
            let again = session.connect(serve.port(), "front.test").unwrap();
            assert!(!again.resumed());
        }
    }
    std::thread::sleep(Duration::from_secs(4));
    let closed = open.get("front.test", "/late", &[]).unwrap();
    assert!(closed.closed_silently(), "{closed:?}");
    let line = serve
        .wait_for_log(|line| {
            line["jsonPayload"]["statusDetails"] == "client_cert_validation_failed"
        })
        .unwrap();
    let reason = line["jsonPayload"]["mtlsGate"]["reason"].as_str().unwrap();
    assert!(reason.contains("expired at"), "{reason}");
}

#[test]
fn websocket_passes_and_ends_with_the_certificate() {
    let front = Front::new(ALLOW).unwrap();
    let (backend, thread) = websocket::backend(2).unwrap();
    let serve = start(&front, &format!("http://{backend}"), &[]).unwrap();
    let brief = valid()
        .dates("2020-01-01T00:00:00", in_seconds(4))
        .by(&front.root);
    let brief = front.pair("brief", &[&brief]).unwrap();
    // Without a certificate it goes on until the client ends it, under this mode.
    let mut without = connect(&serve, None);
    assert_eq!(get(&mut without, "/ws", &UPGRADE).status, 101);
    without.send_raw(b"hello").unwrap();
    assert_eq!(without.read_raw(5).unwrap(), b"hello");
    drop(without);
    let mut with = connect(&serve, Some(&brief));
    let switched = get(&mut with, "/ws2", &UPGRADE);
    assert_eq!(switched.header("sec-websocket-accept"), Some("x"));
    with.send_raw(b"hello").unwrap();
    assert_eq!(with.read_raw(5).unwrap(), b"hello");
    let since = Instant::now();
    assert_eq!(with.read_raw(1).unwrap(), b"");
    assert!(
        since.elapsed() < Duration::from_secs(8),
        "{:?}",
        since.elapsed()
    );
    let line = serve.wait_for_log(|line| path_is(line, "/ws2")).unwrap();
    let reason = line["jsonPayload"]["mtlsGate"]["reason"].as_str().unwrap();
    assert!(reason.contains("the tunnel was ended"), "{reason}");
    let heads = thread.join().unwrap().unwrap();
    assert!(heads[0].contains("upgrade: websocket"), "{}", heads[0]);
    assert!(
        heads[0].contains("x-client-cert-chain-verified: false"),
        "{}",
        heads[0]
    );
    assert!(
        heads[1].contains(&format!("x-client-cert-spiffe: {ID}")),
        "{}",
        heads[1]
    );
}

/// `Upgrade: h2c` would carry requests past every check.
#[test]
fn nothing_else_is_switched_to() {
    let front = Front::new(ALLOW).unwrap();
    let echo = Echo::start().unwrap();
    let serve = start(&front, &upstream(&echo), &[]).unwrap();
    let lines = [
        "Connection: Upgrade, HTTP2-Settings",
        "Upgrade: h2c",
        "HTTP2-Settings: AAMAAABk",
    ];
    let told = reply(&get(&mut connect(&serve, None), "/", &lines));
    for name in ["connection", "upgrade", "http2-settings"] {
        assert!(told.all(name).is_empty(), "{name}");
    }
}

#[test]
fn odd_requests_are_refused_and_limits_hold() {
    let front = Front::new(ALLOW).unwrap();
    let echo = Echo::start().unwrap();
    let more = [
        "--max-body-bytes",
        "1000",
        "--handshake-timeout",
        "1",
        "--max-header-bytes",
        "8192",
    ];
    let serve = start(&front, &upstream(&echo), &more).unwrap();
    for (request, status) in [
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        ("GET https://a.test/ HTTP/1.1\r\nHost: b.test\r\n\r\n", 400),
        ("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (
            "CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n",
            405,
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1001\r\n\r\n",
            413,
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n",
            413,
        ),
    ] {
        let padding = if request.ends_with("3e9\r\n") {
            "x".repeat(1001) + "\r\n"
        } else {
            String::new()
        };
        let request = format!("{request}{padding}");
        let answer = response(connect(&serve, None).exchange(request.as_bytes()));
        assert_eq!(answer.status, status, "{request}");
        assert!(!answer.text().contains("limit"), "{}", answer.text());
    }
    let long = format!("X-Long: {}", "x".repeat(9000));
    let answer = get(&mut connect(&serve, None), "/", &[&long]);
    assert_eq!(answer.status, 431);
    // A client that never begins its handshake.
    let mut silent = std::net::TcpStream::connect(("127.0.0.1", serve.port())).unwrap();
    silent
        .set_read_timeout(Some(Duration::from_secs(5)))
        .unwrap();
    let since = Instant::now();
    assert_eq!(silent.read(&mut [0; 1]).unwrap_or(0), 0);
    assert!(since.elapsed() < Duration::from_secs(4));
    assert_eq!(get(&mut connect(&serve, None), "/", &[]).status, 200);
}

#[test]
fn a_backend_that_fails_is_a_bad_gateway_and_no_more() {
    let front = Front::new(ALLOW).unwrap();
    let gone = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let serve = start(&front, &format!("http://{gone}"), &[]).unwrap();
    let answer = get(&mut connect(&serve, None), "/gone", &[]);
    assert_eq!(
        (answer.status, answer.text()),
        (502, "Bad Gateway\n".to_owned())
    );
    let line = serve.wait_for_log(|line| path_is(line, "/gone")).unwrap();
    assert_eq!(
        line["jsonPayload"]["statusDetails"],
        "failed_to_connect_to_backend"
    );
    // One that takes the request and never answers.
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", mute.local_addr().unwrap());
    let serve = start(&front, &address, &["--upstream-timeout", "1"]).unwrap();
    let answer = get(&mut connect(&serve, None), "/mute", &[]);
    assert_eq!(answer.status, 504);
    let line = serve.wait_for_log(|line| path_is(line, "/mute")).unwrap();
    assert_eq!(line["jsonPayload"]["statusDetails"], "backend_timeout");
}

#[test]
fn it_ends_when_the_requests_under_way_are_answered() {
    let front = Front::new(ALLOW).unwrap();
    let backend = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", backend.local_addr().unwrap());
    let (asked, told) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        let (mut stream, _) = backend.accept().unwrap();
        let _ = stream.read(&mut [0; 4096]).unwrap();
        asked.send(()).unwrap();
        std::thread::sleep(Duration::from_millis(800));
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate")
            .unwrap();
    });
    let mut serve = start(&front, &address, &[]).unwrap();
    let mut connection = connect(&serve, None);
    let waiting = std::thread::spawn(move || get(&mut connection, "/", &[]));
    told.recv().unwrap();
    serve.signal("TERM").unwrap();
    assert_eq!(waiting.join().unwrap().text(), "late");
    assert!(serve.wait(Duration::from_secs(5)).unwrap().success());
    thread.join().unwrap();
}

#[test]
fn policies_decide_by_identity_address_and_request() {
    let front = Front::new(ALLOW).unwrap();
    let clients = Clients::of(&front);
    let echo = Echo::start().unwrap();
    let policies = json!([
        {
            "name": "may-read",
            "action": "ALLOW",
            "httpRules": [{
                "from": { "sources": [{
                    "principals": [{ "principal": { "exact": ID } }],
                    "ipBlocks": [{ "prefix": "127.0.0.0", "length": 8 }],
                }] },
                "to": { "operations": [{ "methods": ["GET"], "paths": [{ "prefix": "/api/" }] }] },
            }],
        },
        {
            "name": "no-admin",
            "action": "DENY",
            "httpRules": [{ "to": { "operations": [{ "paths": [{ "contains": "admin" }] }] } }],
        },
        {
            "name": "forged",
            "action": "ALLOW",
            "httpRules": [{ "to": { "operations": [{ "headerSet": { "headers": [
                { "name": "x-client-cert-spiffe", "value": { "exact": "spiffe://boss.test/a" } },
            ] } }] } }],
        },
    ]);
    let file = front.resource("authz.yaml", &policies).unwrap();
    let serve = start(&front, &upstream(&echo), &["--authz-policy", &text(&file)]).unwrap();
    let status = |client: Option<&Pair>, path: &str, lines: &[&str]| {
        let answer = get(&mut connect(&serve, client), path, lines);
        assert!(
            answer.status == 200 || answer.text() == "denied\n",
            "{answer:?}"
        );
        answer.status
    };
    let valid = Some(&clients.valid);
    assert_eq!(status(valid, "/api/x", &[]), 200);
    assert_eq!(status(valid, "/api/admin", &[]), 403);
    assert_eq!(status(valid, "/other", &[]), 403);
    assert_eq!(status(None, "/api/none", &[]), 403);
    assert_eq!(status(Some(&clients.untrusted), "/api/untrusted", &[]), 403);
    let forged = ["x-client-cert-spiffe: spiffe://boss.test/a"];
    assert_eq!(status(None, "/api/forged", &forged), 403);
    assert_eq!(echo.requests(), 1);
    let denied = serve
        .wait_for_log(|line| path_is(line, "/api/admin"))
        .unwrap();
    let payload = &denied["jsonPayload"];
    assert_eq!(payload["statusDetails"], "denied_by_authz_policy");
    assert_eq!(
        payload["proxyStatus"],
        "error=\"http_request_error\"; details=\"denied_by_authz_policy\""
    );
    assert_eq!(
        payload["authzPolicyInfo"],
        json!({ "result": "DENIED", "policies": [{ "name": "no-admin", "result": "DENIED" }] })
    );
    let allowed = serve.wait_for_log(|line| path_is(line, "/api/x")).unwrap();
    assert_eq!(
        allowed["jsonPayload"]["authzPolicyInfo"]["result"],
        "ALLOWED"
    );
}

/// For those who would rather have an answer than Google's silence.
#[test]
fn refusals_can_be_answered_instead() {
    let front = Front::new(REJECT).unwrap();
    let clients = Clients::of(&front);
    let echo = Echo::start().unwrap();
    let rejection = json!({ "action": "RESPOND", "status": 401, "showReason": true });
    let settings = front
        .resource("settings.yaml", &json!({ "rejection": rejection }))
        .unwrap();
    let serve = start(&front, &upstream(&echo), &["--settings", &text(&settings)]).unwrap();
    for (client, reason) in [
        (None, "client_cert_not_provided"),
        (Some(&clients.expired), "client_cert_validation_failed"),
    ] {
        let answer = get(&mut connect(&serve, client), "/", &[]);
        assert_eq!(answer.status, 401);
        assert!(
            answer.text().ends_with(&format!("{reason}\n")),
            "{}",
            answer.text()
        );
    }
    assert_eq!(
        get(&mut connect(&serve, Some(&clients.valid)), "/", &[]).status,
        200
    );
    assert_eq!(echo.requests(), 1);
}

#[test]
fn the_log_is_one_line_each_whatever_clients_write() {
    let front = Front::new(ALLOW).unwrap();
    let echo = Echo::start().unwrap();
    let serve = start(&front, &upstream(&echo), &["--log-format", "text"]);
    // Given twice, clap takes neither.
    assert!(serve.is_err());
    let mut arguments = front.arguments();
    arguments.extend(["--upstream".to_owned(), upstream(&echo)]);
    let serve = Serve::start(binary(), &arguments).unwrap();
    let agent = "User-Agent: a\"b\\c\tverified=true";
    let long = format!("/{}\"\u{1b}[31m", "x".repeat(2000)).replace('\u{1b}', "%1b");
    assert_eq!(get(&mut connect(&serve, None), &long, &[agent]).status, 200);
    let deadline = Instant::now() + Duration::from_secs(5);
    while serve.log().is_empty() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(10));
    }
    let [line] = &serve.log()[..] else {
        panic!("{:?}", serve.log())
    };
    assert!(
        line.contains(" 200 ") && line.contains("verified=false"),
        "{line}"
    );
    assert!(line.len() < 1000, "{line}");
}

/// A half-closed tunnel, and a client that went away, hold nothing for long.
#[test]
fn silent_tunnels_end_and_requests_under_way_are_counted() {
    let front = Front::new(ALLOW).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let backend = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 4096]).unwrap();
        let switch = b"HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
        stream.write_all(switch).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        // The client's end comes through, and then nothing: this end stays open.
        assert_eq!(stream.read(&mut [0; 16]).unwrap(), 0);
        let since = Instant::now();
        while stream.write_all(b"").is_ok() && stream.peer_addr().is_ok() {
            if since.elapsed() > Duration::from_secs(6) {
                break;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    let more = ["--idle-timeout", "1", "--max-requests", "1"];
    let serve = start(&front, &address, &more).unwrap();
    let upgrade = ["Connection: upgrade", "Upgrade: websocket"];
    let mut tunnel = connect(&serve, None);
    assert_eq!(get(&mut tunnel, "/tunnel", &upgrade).status, 101);
    let busy = get(&mut connect(&serve, None), "/busy", &[]);
    assert_eq!(busy.status, 503);
    tunnel.finish().unwrap();
    let line = serve.wait_for_log(|line| path_is(line, "/tunnel")).unwrap();
    assert!(line.to_string().contains("silent too long"), "{line}");
    backend.join().unwrap();
}

#[test]
fn a_response_under_way_ends_with_its_client() {
    let front = Front::new(REJECT).unwrap();
    let clients = Clients::of(&front);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let backend = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 4096]).unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
        let since = Instant::now();
        while stream.write_all(b"drop").is_ok() {
            assert!(
                since.elapsed() < Duration::from_secs(15),
                "nobody stopped it"
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    let serve = start(&front, &address, &[]).unwrap();
    let mut open = connect(&serve, Some(&clients.valid));
    open.send_raw(b"GET /drip HTTP/1.1\r\nHost: front.test\r\n\r\n")
        .unwrap();
    assert!(open.read_raw(12).unwrap().starts_with(b"HTTP/1.1 200"));
    front
        .trust(
            "trust_config.yaml",
            &Cert::ca("front other root").self_signed(),
        )
        .unwrap();
    backend.join().unwrap();
}

/// Whoever read what the server says may go away; files are watched all the same.
#[test]
fn nobody_need_listen_to_it() {
    let front = Front::new(REJECT).unwrap();
    let clients = Clients::of(&front);
    let echo = Echo::start().unwrap();
    let mut arguments = front.arguments();
    arguments.extend(["--upstream".to_owned(), upstream(&echo)]);
    let mut child = std::process::Command::new(binary())
        .args(["serve", "--listen", "127.0.0.1:0"])
        .args(&arguments)
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let mut said = std::io::BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("listening on") {
        line.clear();
        assert!(std::io::BufRead::read_line(&mut said, &mut line).unwrap() > 0);
    }
    drop(said);
    let port = line.trim().rsplit(':').next().unwrap().parse().unwrap();
    let ask = |client: &Pair| {
        let curl = Curl::new(port, "front.test").identity(&client.cert, &client.key);
        curl.run().unwrap().exit
    };
    assert_eq!(ask(&clients.valid), 0);
    // Broken, which is said to nobody; then another anchor, which counts.
    front.write("trust_config.yaml", "broken").unwrap();
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(ask(&clients.valid), 0);
    front
        .trust(
            "trust_config.yaml",
            &Cert::ca("front other root").self_signed(),
        )
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(5);
    while ask(&clients.valid) == 0 {
        assert!(Instant::now() < deadline, "still let in");
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(child.try_wait().unwrap().is_none());
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn what_cannot_be_served_is_said() {
    let front = Front::new(REJECT).unwrap();
    let said = |more: &[&str]| match start(&front, "http://127.0.0.1:1", more) {
        Err(ServeError::NotListening { status, said }) => {
            assert_eq!(status.unwrap().code(), Some(2), "{said}");
            said
        }
        other => panic!("{other:?}"),
    };
    let bad = front
        .write("bad.yaml", "name: p\naction: CUSTOM\nhttpRules: [{}]\n")
        .unwrap();
    let said_of_policy = said(&["--authz-policy", &text(&bad)]);
    assert!(
        said_of_policy.contains("action: CUSTOM is not supported"),
        "{said_of_policy}"
    );
    let envoys = json!({ "source": { "connection": { "keepForwardedHeader": true } } });
    let envoys = front.resource("settings.yaml", &envoys).unwrap();
    assert!(
        said(&["--settings", &text(&envoys)])
            .contains("source.connection: goes with the filter only")
    );
    let stranger = Cert::client("front another key").self_signed();
    let pair = front.pair("another", &[&stranger]).unwrap();
    front
        .write("server.key", &std::fs::read_to_string(&pair.key).unwrap())
        .unwrap();
    assert!(said(&[]).contains("not the key of"));
    front.write("server.key", "nothing").unwrap();
    assert!(said(&[]).contains("no private key in PEM"));
}
