//! Managed workload identity: a load balancer that shows its X.509-SVID to a backend and knows the
//! backend by its SPIFFE ID. The balancer is `mtls-gate serve`, or Envoy with a bootstrap of
//! `mtls-gate config envoy`; the backend is a `serve` of its own.
#![allow(clippy::panic, clippy::unwrap_used, clippy::indexing_slicing)]

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use mtls_gate::fixtures::mint::{Cert, Issued, dns, eku, key_usage, uri};
use mtls_gate::testbed::curl::Curl;
use mtls_gate::testbed::echo::{Echo, EchoReply};
use mtls_gate::testbed::envoy::{Envoy, EnvoyConfig, filter_file};
use mtls_gate::testbed::front::{ALLOW, Front, Pair, REJECT, pem, text};
use mtls_gate::testbed::serve::{Serve, ServeError};
use mtls_gate_core::config::{self, resources::TrustConfig};
use mtls_gate_core::path::Profile;
use mtls_gate_core::x509::UnixSeconds;
use mtls_gate_rustls::BackendVerifier;
use serde_json::{Value, json};

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
        self.backend_with_chain(&[shown])
    }

    fn backend_with_chain(&self, shown: &[&Issued]) -> (Front, Serve) {
        let front = Front::new(REJECT).unwrap();
        front.pair("server", shown).unwrap();
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
        balancer(port, identity, &self.stores())
    }
}

/// A `serve` before a backend on that port, with this identity and these stores of trust domains.
fn balancer(port: u16, identity: Option<&Issued>, stores: &Value) -> (Front, Serve) {
    let front = Front::new(ALLOW).unwrap();
    let trust = json!({ "spiffeTrustStores": stores });
    let trust = front.resource("backend_trust.yaml", &trust).unwrap();
    let mut arguments = front.arguments();
    arguments.extend(["--log-format", "google", "--backend-identity", BACKEND].map(str::to_owned));
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

/// An Envoy before a backend on that port, by `mtls-gate config envoy`, with this identity and these
/// stores of trust domains.
fn envoy(
    port: u16,
    identity: Option<&Issued>,
    stores: &Value,
    expected: &[&str],
) -> (Front, Envoy) {
    let front = Front::new(ALLOW).unwrap();
    let trust = json!({ "spiffeTrustStores": stores });
    let trust = text(&front.resource("backend_trust.yaml", &trust).unwrap());
    let wasm = text(&std::fs::canonicalize(filter_file()).unwrap());
    let mut arguments = front.arguments();
    let mut option = |name: &str, value: &str| {
        arguments.extend([name.to_owned(), value.to_owned()]);
    };
    option("--listen", "127.0.0.1:0");
    option("--wasm", &wasm);
    option("--upstream", &format!("localhost:{port}"));
    option("--backend-trust-config", &trust);
    for id in expected {
        option("--backend-identity", id);
    }
    if let Some(identity) = identity {
        let Pair { cert, key } = front.pair("identity", &[identity]).unwrap();
        option("--identity", &format!("{},{}", text(&cert), text(&key)));
    }
    let output = Command::new(binary())
        .args(["config", "envoy"])
        .args(&arguments)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let yaml = String::from_utf8(output.stdout).unwrap();
    let mut bootstrap: Value = serde_saphyr::from_str(&yaml).unwrap();
    let address = json!({ "address": "127.0.0.1", "port_value": 0 });
    bootstrap["admin"] = json!({ "address": { "socket_address": address } });
    let cluster = &mut bootstrap["static_resources"]["clusters"][0];
    // The backend listens on IPv4 alone.
    cluster["dns_lookup_family"] = json!("V4_ONLY");
    // Each request is a handshake.
    cluster["typed_extension_protocol_options"] = json!({
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
            "common_http_protocol_options": { "max_requests_per_connection": 1 },
            "explicit_http_config": { "http_protocol_options": {} },
        },
    });
    (front, Envoy::start(&EnvoyConfig::new(bootstrap)).unwrap())
}

fn through(envoy: &Envoy) -> (u16, Vec<u8>) {
    let curl = Curl::new(envoy.port("gate").unwrap(), "front.test");
    let response = curl.run().unwrap().response.unwrap();
    (response.status, response.body)
}

/// The backend shows this from now on.
fn show(files: &Front, backend: &Serve, chain: &[&Issued]) {
    let loaded = || {
        let said = backend.said();
        said.iter()
            .filter(|line| line.contains("loaded anew"))
            .count()
    };
    let before = loaded();
    files.pair("server", chain).unwrap();
    backend.signal("HUP").unwrap();
    let since = Instant::now();
    while loaded() == before {
        let said = backend.said();
        assert!(since.elapsed() < Duration::from_secs(5), "{said:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn anchors(certificates: &[&Issued]) -> Value {
    certificates
        .iter()
        .map(|issued| json!({ "pemCertificate": pem(issued) }))
        .collect()
}

impl Mesh {
    fn stores(&self) -> Value {
        json!({
            DOMAIN: { "trustAnchors": anchors(&[&self.pool]) },
            "other.test": { "trustAnchors": anchors(&[&self.other]) },
        })
    }

    fn envoy(&self, port: u16, identity: Option<&Issued>) -> (Front, Envoy) {
        envoy(port, identity, &self.stores(), &[BACKEND])
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
        if !more.contains(&"--upstream") {
            arguments.extend(["--upstream", "https://localhost:1"].map(str::to_owned));
        }
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
    // Nothing is validated in clear text.
    let told = said(&[
        "--upstream",
        "http://localhost:1",
        "--backend-trust-config",
        &plain,
        "--backend-identity",
        BACKEND,
    ]);
    assert!(told.contains("for an https --upstream"), "{told}");
}

#[test]
fn envoy_and_a_backend_know_each_other() {
    let mesh = Mesh::new();
    let (_files, backend) = mesh.backend(&svid("backend", BACKEND).by(&mesh.pool));
    let identity = svid("balancer", BALANCER).by(&mesh.pool);
    let (_more, balancer) = mesh.envoy(backend.port(), Some(&identity));
    for _ in 0..2 {
        let (status, body) = through(&balancer);
        assert_eq!(status, 200, "{}", balancer.log());
        assert_eq!(
            EchoReply::parse(&body).unwrap().one("x-peer"),
            Some(BALANCER)
        );
    }
    // One of several that are expected.
    let expected = ["spiffe://other.test/ns/app/sa/backend", BACKEND];
    let (_more, balancer) = envoy(backend.port(), Some(&identity), &mesh.stores(), &expected);
    assert_eq!(through(&balancer).0, 200);
}

#[test]
fn envoy_refuses_a_backend_that_is_not_the_expected_one() {
    let mesh = Mesh::new();
    let good = || svid("backend", BACKEND);
    let identity = svid("balancer", BALANCER).by(&mesh.pool);
    let cases = [
        ("expired", good().expired().by(&mesh.pool)),
        ("not yet valid", good().not_yet_valid().by(&mesh.pool)),
        ("another domain's CA", good().by(&mesh.other)),
        (
            "another domain",
            svid("backend", "spiffe://other.test/ns/app/sa/backend").by(&mesh.other),
        ),
        ("another ID", svid("backend", BALANCER).by(&mesh.pool)),
        (
            "a longer ID",
            svid("backend", &format!("{BACKEND}/2")).by(&mesh.pool),
        ),
        (
            "unknown domain",
            svid("backend", "spiffe://unknown.test/a").by(&mesh.pool),
        ),
        (
            "no SPIFFE ID",
            Cert::client("localhost")
                .sans(vec![dns("localhost")])
                .eku(&[eku::SERVER_AUTH])
                .by(&mesh.pool),
        ),
        ("self-signed", good().self_signed()),
    ];
    let (files, backend) = mesh.backend(&good().by(&mesh.pool));
    let (_more, balancer) = mesh.envoy(backend.port(), Some(&identity));
    let failed = || -> u64 {
        let stats = balancer.stats("cluster.backend.ssl.fail_verify").unwrap();
        stats.values().sum()
    };
    for (what, shown) in cases {
        show(&files, &backend, &[&shown]);
        let before = failed();
        assert_eq!(through(&balancer).0, 503, "{what}");
        assert!(failed() > before, "{what}");
    }
    assert_eq!(mesh.echo.requests(), 0);
    show(&files, &backend, &[&good().by(&mesh.pool)]);
    assert_eq!(through(&balancer).0, 200, "{}", balancer.log());
}

/// The backend asks for Envoy's identity as well.
#[test]
fn envoy_without_an_identity_gets_nowhere() {
    let mesh = Mesh::new();
    let (_files, backend) = mesh.backend(&svid("backend", BACKEND).by(&mesh.pool));
    let foreign = svid("balancer", "spiffe://other.test/ns/lb/sa/front").by(&mesh.other);
    for identity in [None, Some(&foreign)] {
        let (_more, balancer) = mesh.envoy(backend.port(), identity);
        assert_eq!(through(&balancer).0, 503);
    }
    assert_eq!(mesh.echo.requests(), 0);
}

/// What is judged: the chain, the core's verdict, Envoy's.
type Case<'a> = (&'a str, Vec<Issued>, bool, bool);

/// Puts chains to the core and to Envoy, which trust these stores and expect these IDs.
fn compare(mesh: &Mesh, stores: &Value, expected: &[&str], cases: Vec<Case<'_>>) {
    let document = json!({ "spiffeTrustStores": stores });
    let document: TrustConfig = serde_json::from_value(document).unwrap();
    let trust = config::trust(&document).unwrap();
    let ids = expected.iter().map(|id| (*id).to_owned()).collect();
    let core = BackendVerifier::new(trust, Profile::Google, ids);
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let now = UnixSeconds(i64::try_from(now).unwrap());
    let identity = svid("balancer", BALANCER).by(&mesh.pool);
    let (files, backend) = mesh.backend(&svid("backend", BACKEND).by(&mesh.pool));
    let (_more, balancer) = envoy(backend.port(), Some(&identity), stores, expected);
    for (what, chain, core_accepts, envoy_accepts) in cases {
        let ders = chain.iter().map(|issued| issued.der.clone()).collect();
        let judged = core.judge(ders, Some(now));
        assert_eq!(judged.is_ok(), core_accepts, "core: {what}: {judged:?}");
        show(&files, &backend, &chain.iter().collect::<Vec<_>>());
        let status = if envoy_accepts { 200 } else { 503 };
        assert_eq!(through(&balancer).0, status, "Envoy: {what}");
    }
}

/// docs/differences.md has what differs.
#[test]
fn envoy_s_spiffe_validator_differs_from_the_core() {
    let mesh = Mesh::new();
    let good = || svid("backend", BACKEND);
    let both = [eku::CLIENT_AUTH, eku::SERVER_AUTH];
    let intermediate = |cert: Cert| cert.by(&mesh.pool);
    let usual = intermediate(Cert::ca("issuing CA").eku(&both));
    let no_server = intermediate(Cert::ca("clients' CA").eku(&[eku::CLIENT_AUTH]));
    let crls = Cert::ca("CRL CA").eku(&both);
    let no_sign = intermediate(crls.key_usage(Some(key_usage::CRL_SIGN)));
    let no_ca = intermediate(Cert::ca("no CA").eku(&both).basic_constraints(None));
    let deep = (0..11).fold(Vec::new(), |mut chain: Vec<Issued>, level| {
        let signer = chain.first().unwrap_or(&mesh.pool);
        let next = Cert::ca(&format!("CA {level}")).eku(&both).by(signer);
        chain.insert(0, next);
        chain
    });
    let under = |cert: Cert, issuer: &Issued| vec![cert.by(issuer), issuer.clone()];
    let alone = |cert: Cert| vec![cert.by(&mesh.pool)];
    let used_for = |bits: u8| alone(good().key_usage(Some(bits)));
    let signs_certificates = key_usage::DIGITAL_SIGNATURE | key_usage::KEY_CERT_SIGN;
    let named = |ids: [&str; 2]| good().sans(ids.map(uri).to_vec());
    let foreign = || vec![named(["spiffe://other.test/a", BACKEND]).by(&mesh.other)];
    let stores = mesh.stores();
    compare(
        &mesh,
        &stores,
        &[BACKEND],
        vec![
            ("good", alone(good()), true, true),
            ("with an intermediate", under(good(), &usual), true, true),
            (
                "intermediate left out",
                vec![good().by(&usual)],
                false,
                false,
            ),
            (
                "clientAuth alone",
                alone(good().eku(&[eku::CLIENT_AUTH])),
                false,
                true,
            ),
            ("no EKU", alone(good().eku(&[])), false, true),
            (
                "issuer without serverAuth",
                under(good(), &no_server),
                false,
                true,
            ),
            (
                "issuer without keyCertSign",
                under(good(), &no_sign),
                false,
                false,
            ),
            ("issuer that is no CA", under(good(), &no_ca), false, false),
            (
                "without digitalSignature",
                used_for(key_usage::KEY_ENCIPHERMENT),
                false,
                false,
            ),
            (
                "with keyCertSign",
                used_for(signs_certificates),
                false,
                false,
            ),
            (
                "without keyUsage",
                alone(good().key_usage(None)),
                true,
                false,
            ),
            (
                "two URIs, ours first",
                alone(named([BACKEND, BALANCER])),
                false,
                true,
            ),
            (
                "two URIs, ours last",
                alone(named([BALANCER, BACKEND])),
                false,
                true,
            ),
            (
                "11 intermediates",
                [vec![good().by(&deep[0])], deep.clone()].concat(),
                false,
                true,
            ),
            // `config envoy` leaves out the stores that no expected ID needs.
            ("ours behind another domain's", foreign(), false, false),
        ],
    );
    let elsewhere = "spiffe://other.test/ns/app/sa/backend";
    compare(
        &mesh,
        &stores,
        &[BACKEND, elsewhere],
        vec![("ours behind another domain's", foreign(), false, true)],
    );
    let store = |trusted: &[&Issued], more: &[&Issued]| json!({ DOMAIN: { "trustAnchors": anchors(trusted), "intermediateCas": anchors(more) } });
    compare(
        &mesh,
        &store(&[&mesh.pool], &[&usual]),
        &[BACKEND],
        vec![(
            "configured intermediate",
            vec![good().by(&usual)],
            true,
            true,
        )],
    );
    compare(
        &mesh,
        &store(&[&mesh.other], &[&usual]),
        &[BACKEND],
        vec![(
            "intermediate of no anchor",
            vec![good().by(&usual)],
            false,
            false,
        )],
    );
    compare(
        &mesh,
        &store(&[&usual], &[]),
        &[BACKEND],
        vec![(
            "anchor that is not self-signed",
            vec![good().by(&usual)],
            true,
            false,
        )],
    );
    let old = Cert::ca("pool CA").eku(&both).expired().self_signed();
    compare(
        &mesh,
        &store(&[&old], &[]),
        &[BACKEND],
        vec![("expired anchor", vec![good().by(&old)], false, false)],
    );
}

#[test]
fn config_envoy_says_what_it_cannot_express() {
    let front = Front::new(ALLOW).unwrap();
    let said = |more: &[&str]| {
        let output = Command::new(binary())
            .args(["config", "envoy"])
            .args(front.arguments())
            .args(more)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let plain = text(&front.file("trust_config.yaml"));
    let id = ["--backend-identity", BACKEND];
    let told = said(&[&["--backend-trust-config", &plain], &id[..]].concat());
    assert!(told.contains("no spiffeTrustStores"), "{told}");
    let both = json!({
        "spiffeTrustStores": { DOMAIN: { "trustAnchors": anchors(&[&front.root]) } },
        "allowlistedCertificates": anchors(&[&front.root]),
    });
    let both = text(&front.resource("both.yaml", &both).unwrap());
    let told = said(&[&["--backend-trust-config", &both], &id[..]].concat());
    assert!(told.contains("allowlistedCertificates: Envoy's"), "{told}");
    let empty = json!({ "spiffeTrustStores": { DOMAIN: { "trustAnchors": [] } } });
    let empty = text(&front.resource("empty.yaml", &empty).unwrap());
    let told = said(&[&["--backend-trust-config", &empty], &id[..]].concat());
    assert!(told.contains("no trust anchor"), "{told}");
    let elsewhere = text(
        &front
            .spiffe_trust("else.yaml", &[("other.test", &front.root)])
            .unwrap(),
    );
    let told = said(&[&["--backend-trust-config", &elsewhere], &id[..]].concat());
    assert!(told.contains("has no \"pool.global"), "{told}");
    assert!(said(&["--backend-trust-config", &both]).contains("--backend-identity"));
    assert!(said(&id).contains("--backend-trust-config"));
    assert!(said(&["--identity", "a,b"]).contains("--backend-trust-config"));
}
