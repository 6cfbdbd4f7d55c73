//! The test bed itself, against a real Envoy without the filter.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use mtls_gate::testbed::client::{self, ClientIdentity, ClientOptions, Outcome};
use mtls_gate::testbed::curl::{Curl, EMPTY_REPLY, HttpVersion};
use mtls_gate::testbed::echo::{Echo, EchoReply};
use mtls_gate::testbed::envoy::{
    Chain, Envoy, EnvoyConfig, EnvoyError, Listener, REQUEST_ID, ServerCertificate, bootstrap,
};
use mtls_gate::testbed::mint::{Client, Pki};
use openssl::hash::MessageDigest;
use openssl::ssl::SslVersion;
use openssl::x509::X509;
use serde_json::json;

const XFCC: &str = "x-forwarded-client-cert";

/// A gate with chains for `a.test` and `b.test`, and `closed.test` that closes every connection.
fn gate(echo: &Echo, http2: bool) -> Envoy {
    let server = ServerCertificate::self_signed(&["a.test", "b.test"]).unwrap();
    let mut closing = Chain::new(&["closed.test"], &server);
    closing.network_filters.push(json!({
        "name": "envoy.filters.network.rbac",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.rbac.v3.RBAC",
            "stat_prefix": "closing",
            "rules": { "action": "DENY", "policies": { "all": {
                "permissions": [{ "any": true }], "principals": [{ "any": true }],
            } } },
        },
    }));
    let listeners = [Listener {
        name: "gate".to_owned(),
        chains: vec![
            Chain::new(&["a.test"], &server),
            Chain::new(&["b.test"], &server),
            closing,
        ],
    }];
    Envoy::start(&EnvoyConfig::new(bootstrap(
        &listeners,
        echo.address(),
        http2,
    )))
    .unwrap()
}

fn anyone() -> ClientIdentity {
    let made = ServerCertificate::self_signed(&["anyone.test"]).unwrap();
    ClientIdentity {
        chain_pem: made.certificate_pem.into_bytes(),
        key_pem: made.key_pem.into_bytes(),
    }
}

fn fingerprint(pem: &[u8]) -> String {
    let digest = X509::from_pem(pem)
        .unwrap()
        .digest(MessageDigest::sha256())
        .unwrap();
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn reply(outcome: Outcome) -> EchoReply {
    match outcome {
        Outcome::Response(response) if response.status == 200 => {
            EchoReply::parse(&response.body).unwrap()
        }
        other => panic!("no good response: {other:?}"),
    }
}

fn alive(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

#[test]
fn an_untrusted_certificate_reaches_the_backend_as_xfcc() {
    let echo = Echo::start().unwrap();
    let envoy = gate(&echo, false);
    let port = envoy.port("gate").unwrap();
    let identity = anyone();
    let options = ClientOptions::default();

    let mut connection = client::connect(port, "a.test", Some(&identity), &options).unwrap();
    assert_eq!(connection.alpn().as_deref(), Some("http/1.1"));
    for number in ["1", "2"] {
        let id = format!("{REQUEST_ID}: {number}");
        let forged = format!("{XFCC}: Hash=00;URI=spiffe://forged");
        let answer = reply(connection.get("a.test", "/x", &[&id, &forged]).unwrap());
        let xfcc = answer.one(XFCC).unwrap();
        assert!(xfcc.contains(&fingerprint(&identity.chain_pem)), "{xfcc}");
        assert!(xfcc.contains("DNS=anyone.test") && xfcc.contains("Chain="));
        assert!(!xfcc.contains("forged"));
    }
    let mut without = client::connect(port, "b.test", None, &options).unwrap();
    let answer = reply(without.get("b.test", "//a/../b", &[]).unwrap());
    assert_eq!(answer.one(XFCC), None);
    assert_eq!(answer.path, "/b");
    assert_eq!(echo.requests(), 3);

    let line = envoy
        .wait_for_access_log(Duration::from_secs(5), |line| line["id"] == "2")
        .unwrap();
    assert_eq!(line["code"], 200);
    assert_eq!(line["sni"], "a.test");
    assert_eq!(line["details"], "via_upstream");
    assert_eq!(line["peer"], fingerprint(&identity.chain_pem));
    assert!(line["error"].is_null(), "{line}");
    assert!(matches!(
        envoy.wait_for_access_log(Duration::from_millis(50), |line| line["id"] == "none"),
        Err(EnvoyError::NoAccessLogLine { .. })
    ));

    let stats = envoy.stats("http.ingress.downstream_rq_").unwrap();
    assert_eq!(stats["http.ingress.downstream_rq_2xx"], 3);
    assert!(envoy.log().contains("starting main dispatch loop"));
    assert!(matches!(
        envoy.port("none"),
        Err(EnvoyError::NoListener { .. })
    ));
}

#[test]
fn curl_sees_what_the_backend_answers() {
    let echo = Echo::start().unwrap();
    let envoy = gate(&echo, true);
    let port = envoy.port("gate").unwrap();
    for version in [HttpVersion::Http1, HttpVersion::Http2] {
        let outcome = Curl::new(port, "a.test")
            .version(version)
            .header(r#"x-echo-response-headers: [["x-back","1"],["x-back","2"]]"#)
            .run()
            .unwrap();
        assert_eq!((outcome.exit, outcome.status()), (0, Some(200)));
        let response = outcome.response.unwrap();
        let back: Vec<_> = response
            .headers
            .iter()
            .filter(|(name, _)| name == "x-back")
            .collect();
        assert_eq!(back.len(), 2);
        let seen = EchoReply::parse(&response.body).unwrap();
        assert_eq!(seen.version, "HTTP/2.0");
    }
    let closed = Curl::new(port, "closed.test").run().unwrap();
    assert_eq!((closed.exit, closed.status()), (EMPTY_REPLY, None));
    assert_eq!(echo.requests(), 2);
}

#[test]
fn trailers_reach_the_backend_over_either_version() {
    for http2 in [false, true] {
        let echo = Echo::start().unwrap();
        let envoy = gate(&echo, http2);
        let port = envoy.port("gate").unwrap();
        let mut connection =
            client::connect(port, "a.test", None, &ClientOptions::default()).unwrap();
        let answer = reply(
            connection
                .exchange(
                    b"POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n\
                      3\r\nabc\r\n0\r\nX-T: end\r\n\r\n",
                )
                .unwrap(),
        );
        assert_eq!(answer.trailers, [("x-t".to_owned(), "end".to_owned())]);
        assert_eq!(answer.body_bytes, 3);
    }
}

#[test]
fn large_heads_pass() {
    for http2 in [false, true] {
        let echo = Echo::start().unwrap();
        let envoy = gate(&echo, http2);
        let port = envoy.port("gate").unwrap();
        let options = ClientOptions::default();
        let mut connection = client::connect(port, "a.test", None, &options).unwrap();
        let line = format!("x-large: {}", "v".repeat(200 << 10));
        let answer = reply(connection.get("a.test", "/", &[&line]).unwrap());
        assert_eq!(answer.one("x-large").unwrap().len(), 200 << 10);
        let line = format!("x-large: {}", "v".repeat(300 << 10));
        let refused = connection.get("a.test", "/", &[&line]).unwrap();
        assert_eq!(refused.response().unwrap().status, 431);
    }
}

#[test]
fn a_connection_closed_without_an_answer_is_told() {
    let echo = Echo::start().unwrap();
    let envoy = gate(&echo, false);
    let port = envoy.port("gate").unwrap();
    for version in [SslVersion::TLS1_2, SslVersion::TLS1_3] {
        let options = ClientOptions {
            max_version: Some(version),
            ..ClientOptions::default()
        };
        let mut connection =
            client::connect(port, "closed.test", Some(&anyone()), &options).unwrap();
        let outcome = connection.get("closed.test", "/", &[]).unwrap();
        assert!(outcome.closed_silently(), "{outcome:?}");
    }
    let unknown = client::connect(port, "unknown.test", None, &ClientOptions::default());
    assert!(matches!(
        unknown.err(),
        Some(client::ClientError::Handshake { .. })
    ));
}

#[test]
fn sessions_resume_with_the_certificate() {
    let echo = Echo::start().unwrap();
    let envoy = gate(&echo, false);
    let port = envoy.port("gate").unwrap();
    let identity = anyone();
    for version in [SslVersion::TLS1_2, SslVersion::TLS1_3] {
        let options = ClientOptions {
            max_version: Some(version),
            ..ClientOptions::default()
        };
        let mut first = client::connect(port, "a.test", Some(&identity), &options).unwrap();
        assert!(!first.resumed());
        reply(first.get("a.test", "/", &[]).unwrap());
        let session = first.session().unwrap();
        let mut second = session.connect(port, "a.test").unwrap();
        assert!(second.resumed(), "{}", second.tls_version());
        let answer = reply(second.get("a.test", "/", &[]).unwrap());
        assert!(
            answer
                .one(XFCC)
                .unwrap()
                .contains(&fingerprint(&identity.chain_pem))
        );
    }
}

#[test]
fn every_kind_of_client_certificate_gets_through_tls() {
    let echo = Echo::start().unwrap();
    let envoy = gate(&echo, false);
    let port = envoy.port("gate").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let pki = Pki::mint(dir.path()).unwrap();
    for client in [
        Client::Valid,
        Client::ValidWithChain,
        Client::Untrusted,
        Client::Expired,
        Client::ServerOnly,
        Client::Sha1,
        Client::Rsa1024,
        Client::P521,
        Client::Ed25519,
    ] {
        let identity = ClientIdentity {
            chain_pem: std::fs::read(pki.cert(client)).unwrap(),
            key_pem: std::fs::read(pki.key(client)).unwrap(),
        };
        let hash = fingerprint(&identity.chain_pem);
        for version in [SslVersion::TLS1_2, SslVersion::TLS1_3] {
            let options = ClientOptions {
                max_version: Some(version),
                ..ClientOptions::default()
            };
            let mut connection =
                client::connect(port, "a.test", Some(&identity), &options).unwrap();
            let answer = reply(connection.get("a.test", "/", &[]).unwrap());
            let xfcc = answer.one(XFCC).unwrap_or_default();
            assert!(
                xfcc.contains(&hash),
                "{client:?} {}",
                connection.tls_version()
            );
        }
        for version in [HttpVersion::Http1, HttpVersion::Http2] {
            let outcome = Curl::new(port, "a.test")
                .identity(&pki.cert(client), &pki.key(client))
                .weak_certificates(true)
                .version(version)
                .run()
                .unwrap();
            assert_eq!(outcome.exit, 0, "{client:?}: {}", outcome.stderr);
            let answer = EchoReply::parse(outcome.body()).unwrap();
            assert!(answer.one(XFCC).unwrap_or_default().contains(&hash));
        }
    }
}

#[test]
fn a_refused_configuration_tells_why() {
    let echo = Echo::start().unwrap();
    let mut document = bootstrap(&[], echo.address(), false);
    document["static_resources"]["clusters"][0]["no_such_field"] = json!(1);
    match Envoy::start(&EnvoyConfig::new(document)) {
        Err(EnvoyError::Exited { status, log }) => {
            assert_eq!(status.code(), Some(1));
            assert!(log.contains("no_such_field"), "{log}");
        }
        other => panic!("{other:?}"),
    }
    let mut config = EnvoyConfig::new(json!({}));
    config.binary = "/nowhere/envoy".into();
    let missing = Envoy::start(&config).unwrap_err();
    assert!(missing.to_string().contains("make tools"), "{missing}");
}

#[test]
fn nothing_is_left_behind() {
    let echo = Echo::start().unwrap();
    let envoy = gate(&echo, false);
    let (pid, dir) = (envoy.pid().unwrap(), envoy.dir().to_owned());
    assert!(alive(pid) && dir.exists());
    let since = Instant::now();
    drop(envoy);
    assert!(!alive(pid) && !dir.exists());
    assert!(since.elapsed() < Duration::from_secs(3));
}

/// Set for the process that is to be killed.
const KILLED_HELPER: &str = "MTLS_GATE_KILLED_HELPER";

/// Not a test of its own: the next one runs it as a process to be killed.
#[test]
fn helper_that_is_killed() {
    if std::env::var_os(KILLED_HELPER).is_none() {
        return;
    }
    let echo = Echo::start().unwrap();
    let envoy = gate(&echo, false);
    // Past libtest's capture.
    let line = format!("pid {} {}\n", envoy.pid().unwrap(), envoy.dir().display());
    std::io::stderr().write_all(line.as_bytes()).unwrap();
    std::thread::sleep(Duration::from_secs(60));
}

#[test]
fn envoy_ends_with_a_killed_parent() {
    let mut helper = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "helper_that_is_killed", "--nocapture"])
        .env(KILLED_HELPER, "1")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let line = BufReader::new(helper.stderr.take().unwrap())
        .lines()
        .map_while(Result::ok)
        .find(|line| line.starts_with("pid "))
        .unwrap();
    let mut words = line.split_whitespace().skip(1);
    let pid: u32 = words.next().unwrap().parse().unwrap();
    let dir = words.next().unwrap();
    assert!(alive(pid));
    helper.kill().unwrap();
    helper.wait().unwrap();
    let since = Instant::now();
    while alive(pid) {
        assert!(since.elapsed() < Duration::from_secs(5), "Envoy lives on");
        std::thread::sleep(Duration::from_millis(20));
    }
    // Nobody was left to do it.
    std::fs::remove_dir_all(dir).unwrap();
}
