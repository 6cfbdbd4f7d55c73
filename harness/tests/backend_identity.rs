//! Managed workload identity: `mtls-gate serve` as a load balancer that shows its X.509-SVID to a
//! backend and knows the backend by its SPIFFE ID. The backend is a `serve` of its own.
#![allow(clippy::panic, clippy::unwrap_used, clippy::indexing_slicing)]

use std::path::Path;

use mtls_gate::fixtures::mint::{Cert, Issued, eku, uri};
use mtls_gate::testbed::curl::Curl;
use mtls_gate::testbed::echo::{Echo, EchoReply};
use mtls_gate::testbed::front::{ALLOW, Front, Pair, REJECT, text};
use mtls_gate::testbed::serve::{Serve, ServeError};
use serde_json::json;

const DOMAIN: &str = "pool.global.123456.workload.id.goog";
const BALANCER: &str = "spiffe://pool.global.123456.workload.id.goog/ns/lb/sa/front";
const BACKEND: &str = "spiffe://pool.global.123456.workload.id.goog/ns/app/sa/backend";

fn binary() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_mtls-gate"))
}

fn svid(label: &str, id: &str) -> Cert {
    Cert::client(label)
        .sans(vec![uri(id)])
        .eku(&[eku::CLIENT_AUTH, eku::SERVER_AUTH])
}

/// The CA of a workload identity pool: its certificates are for clients and servers.
fn pool(label: &str) -> Issued {
    Cert::ca(label)
        .eku(&[eku::CLIENT_AUTH, eku::SERVER_AUTH])
        .self_signed()
}

struct Mesh {
    pool: Issued,
    other: Issued,
    echo: Echo,
}

impl Mesh {
    fn new() -> Self {
        Self {
            pool: pool("pool CA"),
            other: pool("another pool's CA"),
            echo: Echo::start().unwrap(),
        }
    }

    /// A backend that wants a client of the pool, and shows this.
    fn backend(&self, shown: &Issued) -> (Front, Serve) {
        let front = Front::new(REJECT).unwrap();
        front.pair("server", &[shown]).unwrap();
        front
            .spiffe_trust("trust_config.yaml", &[(DOMAIN, &self.pool)])
            .unwrap();
        let headers = json!({ "customRequestHeaders": ["X-Peer:{client_cert_spiffe_id}"] });
        let headers = front.resource("backend.yaml", &headers).unwrap();
        let mut arguments = front.arguments();
        arguments.extend(["--headers".to_owned(), text(&headers)]);
        arguments.extend([
            "--upstream".to_owned(),
            format!("http://{}", self.echo.address()),
        ]);
        let serve = Serve::start(binary(), &arguments).unwrap();
        (front, serve)
    }

    /// A load balancer before that backend, with this identity.
    fn balancer(&self, port: u16, identity: Option<&Issued>) -> (Front, Serve) {
        let front = Front::new(ALLOW).unwrap();
        let trust = front
            .spiffe_trust(
                "backend_trust.yaml",
                &[(DOMAIN, &self.pool), ("other.test", &self.other)],
            )
            .unwrap();
        let mut arguments = front.arguments();
        arguments
            .extend(["--log-format", "google", "--backend-identity", BACKEND].map(str::to_owned));
        arguments.extend(["--backend-trust-config".to_owned(), text(&trust)]);
        arguments.extend(["--upstream".to_owned(), format!("https://localhost:{port}")]);
        if let Some(identity) = identity {
            let Pair { cert, key } = front.pair("identity", &[identity]).unwrap();
            arguments.extend([
                "--identity".to_owned(),
                format!("{},{}", text(&cert), text(&key)),
            ]);
        }
        let serve = Serve::start(binary(), &arguments).unwrap();
        (front, serve)
    }
}

fn get(serve: &Serve, path: &str) -> (u16, Vec<u8>) {
    let mut curl = Curl::new(serve.port(), "front.test");
    curl.path = path.to_owned();
    let response = curl.run().unwrap().response.unwrap();
    (response.status, response.body)
}

#[test]
fn both_sides_know_each_other() {
    let mesh = Mesh::new();
    let (_files, backend) = mesh.backend(&svid("backend", BACKEND).by(&mesh.pool));
    let identity = svid("balancer", BALANCER).by(&mesh.pool);
    let (_more, balancer) = mesh.balancer(backend.port(), Some(&identity));
    for _ in 0..2 {
        let (status, body) = get(&balancer, "/");
        assert_eq!(status, 200, "{:?}", balancer.log());
        assert_eq!(
            EchoReply::parse(&body).unwrap().one("x-peer"),
            Some(BALANCER)
        );
    }
}

#[test]
fn a_backend_that_is_not_the_expected_one_is_a_bad_gateway() {
    let mesh = Mesh::new();
    let good = || svid("backend", BACKEND);
    let no_server = Cert::client("backend").sans(vec![uri(BACKEND)]);
    let cases = [
        ("expired at", good().expired().by(&mesh.pool)),
        (
            "no certificate found for its issuer",
            good().by(&mesh.other),
        ),
        (
            "SPIFFE ID is not one of those expected",
            svid("backend", "spiffe://other.test/ns/app/sa/backend").by(&mesh.other),
        ),
        (
            "SPIFFE ID is not one of those expected",
            svid("backend", BALANCER).by(&mesh.pool),
        ),
        (
            "no SPIFFE trust store for the certificate's trust domain",
            svid("backend", "spiffe://unknown.test/a").by(&mesh.pool),
        ),
        (
            "0 URI alternative names",
            Cert::client("localhost")
                .eku(&[eku::SERVER_AUTH])
                .by(&mesh.pool),
        ),
        ("extKeyUsage lacks", no_server.by(&mesh.pool)),
    ];
    for (index, (reason, shown)) in cases.into_iter().enumerate() {
        let (_files, backend) = mesh.backend(&shown);
        let identity = svid("balancer", BALANCER).by(&mesh.pool);
        let (_more, balancer) = mesh.balancer(backend.port(), Some(&identity));
        let path = format!("/{index}");
        let (status, body) = get(&balancer, &path);
        assert_eq!((status, body), (502, b"Bad Gateway\n".to_vec()), "{reason}");
        let line = balancer
            .wait_for_log(|line| line["httpRequest"]["status"] == 502)
            .unwrap();
        let payload = &line["jsonPayload"];
        assert_eq!(
            payload["statusDetails"],
            "ssl_certificate_verification_failed"
        );
        let told = payload["mtlsGate"]["reason"].as_str().unwrap();
        assert!(told.contains(reason), "{told}, expected {reason}");
    }
    assert_eq!(mesh.echo.requests(), 0);
}

/// The backend asks for the balancer's identity as well.
#[test]
fn a_balancer_without_an_identity_gets_nowhere() {
    let mesh = Mesh::new();
    let (_files, backend) = mesh.backend(&svid("backend", BACKEND).by(&mesh.pool));
    let foreign = svid("balancer", "spiffe://other.test/ns/lb/sa/front").by(&mesh.other);
    for identity in [None, Some(&foreign)] {
        let (_more, balancer) = mesh.balancer(backend.port(), identity);
        assert_eq!(get(&balancer, "/").0, 502);
    }
    assert_eq!(mesh.echo.requests(), 0);
}

#[test]
fn an_https_backend_must_be_known() {
    let front = Front::new(ALLOW).unwrap();
    let said = |more: &[&str]| {
        let mut arguments = front.arguments();
        arguments.extend(["--upstream", "https://localhost:1"].map(str::to_owned));
        arguments.extend(more.iter().map(|argument| (*argument).to_owned()));
        match Serve::start(binary(), &arguments) {
            Err(ServeError::NotListening { status, said }) => {
                assert_eq!(status.unwrap().code(), Some(2), "{said}");
                said
            }
            other => panic!("{other:?}"),
        }
    };
    assert!(said(&[]).contains("--backend-trust-config"));
    let plain = text(&front.file("trust_config.yaml"));
    let told = said(&[
        "--backend-trust-config",
        &plain,
        "--backend-identity",
        BACKEND,
    ]);
    assert!(told.contains("no spiffeTrustStores"), "{told}");
    let told = said(&[
        "--backend-trust-config",
        &plain,
        "--backend-identity",
        "spiffe://a.test",
    ]);
    assert!(told.contains("it has no path"), "{told}");
    assert!(said(&["--backend-trust-config", &plain]).contains("--backend-identity"));
}
