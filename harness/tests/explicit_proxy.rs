//! Secure Web Proxy's explicit mode in `mtls-gate serve`: CONNECT over mTLS, decided by identity and
//! host.
#![allow(clippy::panic, clippy::unwrap_used, clippy::indexing_slicing)]

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use mtls_gate::fixtures::mint::{Cert, uri};
use mtls_gate::testbed::client::Connection;
use mtls_gate::testbed::echo::Echo;
use mtls_gate::testbed::front::{self, ALLOW, Front, Pair, REJECT, in_seconds, text};
use mtls_gate::testbed::serve::{Serve, ServeError};
use mtls_gate::testbed::tunnel::{self, Through};
use serde_json::{Value, json};

const ID: &str = "spiffe://example.test/ns/agents/sa/payments";

fn binary() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_mtls-gate"))
}

/// A policy as in the guide: one workload may CONNECT to one host.
fn policy(front: &Front, hosts: &Value) -> String {
    let policy = json!({
        "name": "payments-gateway",
        "target": { "resources": ["projects/p/locations/l/gateways/swp"] },
        "policyProfile": "REQUEST_AUTHZ",
        "httpRules": [{
            "from": { "sources": [{ "principals": [{
                "principalSelector": "CLIENT_CERT_URI_SAN", "principal": { "exact": ID },
            }] }] },
            "to": { "operations": [{ "methods": ["CONNECT"], "hosts": hosts }] },
        }],
        "action": "ALLOW",
    });
    text(&front.resource("authz.yaml", &policy).unwrap())
}

fn start(front: &Front, more: &[&str]) -> Result<Serve, ServeError> {
    let mut arguments = front.arguments();
    arguments.extend(["--explicit-proxy", "--log-format", "google"].map(str::to_owned));
    arguments.extend(more.iter().map(|argument| (*argument).to_owned()));
    Serve::start(binary(), &arguments)
}

fn pair(front: &Front, name: &str, id: &str) -> Pair {
    let issued = Cert::client(name).sans(vec![uri(id)]).by(&front.root);
    front.pair(name, &[&issued]).unwrap()
}

/// An https site on loopback: another `serve` before an echo backend.
fn site(echo: &Echo) -> (Front, Serve) {
    let front = Front::new(ALLOW).unwrap();
    let mut arguments = front.arguments();
    arguments.extend([
        "--upstream".to_owned(),
        format!("http://{}", echo.address()),
    ]);
    let serve = Serve::start(binary(), &arguments).unwrap();
    (front, serve)
}

#[test]
fn identity_and_host_decide_about_connect() {
    let echo = Echo::start().unwrap();
    let (_files, site) = site(&echo);
    let url = format!("https://localhost:{}/", site.port());
    let elsewhere = format!("https://127.0.0.1:{}/", site.port());
    for mode in [REJECT, ALLOW] {
        let front = Front::new(mode).unwrap();
        let agent = pair(&front, "agent", ID);
        let other = pair(
            &front,
            "other agent",
            "spiffe://example.test/ns/agents/sa/other",
        );
        let policy = policy(&front, &json!([{ "exact": "localhost" }]));
        let allowed = format!("localhost:{}", site.port());
        let serve = start(
            &front,
            &["--authz-policy", &policy, "--allow-destination", &allowed],
        )
        .unwrap();
        let curl = |client, url: &str, more: &[&str]| {
            tunnel::curl(serve.port(), client, url, more).unwrap()
        };
        let through = |exit, proxy, site| Through { exit, proxy, site };
        for version in ["--http1.1", "--http2"] {
            let seen = curl(Some(&agent), &url, &[version]);
            assert_eq!(seen, through(0, 200, 200), "{version}");
        }
        assert_eq!(curl(Some(&other), &url, &[]), through(56, 403, 0));
        assert_eq!(curl(Some(&agent), &elsewhere, &[]), through(56, 403, 0));
        // TLS ends the one, 403 the other: no certificate is no identity.
        let answered = if mode == REJECT { 0 } else { 403 };
        assert_eq!(curl(None, &url, &[]), through(56, answered, 0), "{mode}");
        let denied = serve
            .wait_for_log(|line| {
                line["httpRequest"]["requestUrl"]
                    == elsewhere["https://".len()..elsewhere.len() - 1]
            })
            .unwrap();
        assert_eq!(
            denied["jsonPayload"]["statusDetails"],
            "denied_by_authz_policy"
        );
        assert_eq!(denied["httpRequest"]["requestMethod"], "CONNECT");
        // Nothing but CONNECT.
        let mut connection = front::connect(serve.port(), Some(&agent)).unwrap();
        let answer = connection
            .get("localhost", "/", &[])
            .unwrap()
            .response()
            .unwrap();
        assert_eq!(answer.status, 403);
    }
    assert_eq!(echo.requests(), 4);
}

/// A policy allows names; no name leads inward, whatever it resolves to.
#[test]
fn inward_addresses_are_refused_after_resolution() {
    let front = Front::new(REJECT).unwrap();
    let agent = pair(&front, "agent", ID);
    let listener = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let policy = policy(
        &front,
        &json!([{ "contains": "." }, { "exact": "localhost" }, { "exact": "[::1]" }, { "exact": "[::ffff:127.0.0.1]" }, { "exact": "0.0.0.0" }]),
    );
    let serve = start(&front, &["--authz-policy", &policy]).unwrap();
    let own = own_address();
    let mut hosts: Vec<String> = [
        "localhost",
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0.0.0.0",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "169.254.169.254",
        "127.0.0.1.",
    ]
    .map(str::to_owned)
    .to_vec();
    hosts.extend(own);
    for host in hosts {
        let destination = format!("{host}:{port}");
        let status = tunnel::ask(
            &mut front::connect(serve.port(), Some(&agent)).unwrap(),
            &destination,
        )
        .unwrap();
        // A name that this resolver does not know is refused too.
        assert!(matches!(status, 403 | 502), "{host}: {status}");
        let line = serve
            .wait_for_log(|line| line["httpRequest"]["requestUrl"] == destination)
            .unwrap();
        let details = line["jsonPayload"]["statusDetails"].as_str().unwrap();
        assert!(
            matches!(
                details,
                // What looks like a number and is no address in its usual form is no host to a policy.
                "destination_forbidden" | "dns_error" | "denied_by_authz_policy"
            ),
            "{host}: {line}"
        );
    }
    listener.set_nonblocking(true).unwrap();
    assert!(listener.accept().is_err(), "somebody was let in");
    for malformed in ["localhost", "localhost:0", ":80"] {
        let status = tunnel::ask(
            &mut front::connect(serve.port(), Some(&agent)).unwrap(),
            malformed,
        )
        .unwrap();
        assert!(matches!(status, 400 | 403), "{malformed}: {status}");
    }
}

/// This host's address on another interface than loopback, if it has one.
fn own_address() -> Option<String> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").ok()?;
    // Sends nothing.
    socket.connect("192.0.2.1:9").ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_loopback() && !address.is_unspecified()).then(|| address.to_string())
}

#[test]
fn a_tunnel_ends_with_the_certificate_or_the_policy() {
    let front = Front::new(REJECT).unwrap();
    let brief = Cert::client("brief agent")
        .sans(vec![uri(ID)])
        .dates("2020-01-01T00:00:00", in_seconds(4))
        .by(&front.root);
    let brief = front.pair("brief", &[&brief]).unwrap();
    let agent = pair(&front, "agent", ID);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let destination = format!("localhost:{}", listener.local_addr().unwrap().port());
    let echoing = std::thread::spawn(move || {
        for _ in 0..2 {
            let (mut stream, _): (TcpStream, _) = listener.accept().unwrap();
            std::thread::spawn(move || {
                let mut chunk = [0; 64];
                while let Ok(read @ 1..) = stream.read(&mut chunk) {
                    if stream.write_all(&chunk[..read]).is_err() {
                        break;
                    }
                }
            });
        }
    });
    let allow = policy(&front, &json!([{ "exact": "localhost" }]));
    let serve = start(
        &front,
        &["--authz-policy", &allow, "--allow-destination", "localhost"],
    )
    .unwrap();
    let mut tunnels: Vec<Connection> = [&brief, &agent]
        .into_iter()
        .map(|client| {
            let mut tunnel = front::connect(serve.port(), Some(client)).unwrap();
            assert_eq!(tunnel::ask(&mut tunnel, &destination).unwrap(), 200);
            tunnel.send_raw(b"hello").unwrap();
            assert_eq!(tunnel.read_raw(5).unwrap(), b"hello");
            tunnel
        })
        .collect();
    echoing.join().unwrap();
    let since = Instant::now();
    assert_eq!(tunnels[0].read_raw(1).unwrap(), b"");
    assert!(since.elapsed() < Duration::from_secs(8));
    // The other's certificate is good for long; then the policy forgets it.
    tunnels[1].send_raw(b"still").unwrap();
    assert_eq!(tunnels[1].read_raw(5).unwrap(), b"still");
    policy(&front, &json!([{ "exact": "elsewhere.test" }]));
    let since = Instant::now();
    assert_eq!(tunnels[1].read_raw(1).unwrap(), b"");
    assert!(since.elapsed() < Duration::from_secs(8));
}

#[test]
fn it_does_not_start_without_an_allow_policy() {
    let front = Front::new(REJECT).unwrap();
    let deny = json!({ "name": "none", "action": "DENY", "httpRules": [{}] });
    let deny = text(&front.resource("deny.yaml", &deny).unwrap());
    match start(&front, &["--authz-policy", &deny]) {
        Err(ServeError::NotListening { status, said }) => {
            assert_eq!(status.unwrap().code(), Some(2));
            assert!(
                said.contains("at least one AuthzPolicy with action ALLOW"),
                "{said}"
            );
        }
        other => panic!("{other:?}"),
    }
    // And none at all is bad usage.
    match start(&front, &[]) {
        Err(ServeError::NotListening { said, .. }) => {
            assert!(said.contains("--authz-policy"), "{said}");
        }
        other => panic!("{other:?}"),
    }
}
