//! `examples/cloud-run`, run as it stands: a load balancer (`serve`) before a sidecar (Envoy with the
//! filter) before an application, and front ends that should not be believed.
#![allow(clippy::panic, clippy::unwrap_used, clippy::indexing_slicing)]

use std::fs;
use std::path::Path;

use mtls_gate::fixtures::mint::{Cert, Issued, eku, uri};
use mtls_gate::goldens::testdata;
use mtls_gate::testbed::curl::Curl;
use mtls_gate::testbed::echo::{Echo, EchoReply};
use mtls_gate::testbed::envoy::{Envoy, EnvoyConfig, filter_file};
use mtls_gate::testbed::front::{ALLOW, Front, Pair, pem, text};
use mtls_gate::testbed::serve::Serve;
use serde_json::{Value, json};

const POOL: &str = "pool.global.123456789.workload.id.goog";
const CLIENT: &str = "spiffe://example.test/ns/default/sa/client";
const FORGED: [&str; 3] = [
    "X-Client-Cert-SPIFFE: spiffe://example.test/ns/default/sa/boss",
    "X-Client-Cert-Chain-Verified: true",
    "X_Client_Cert_SPIFFE: spiffe://example.test/ns/default/sa/boss",
];

fn example(name: &str) -> String {
    fs::read_to_string(testdata().join("../examples/cloud-run").join(name)).unwrap()
}

/// A resource of the example with a certificate in the place of the dots.
fn with_anchor(name: &str, anchor: &Issued) -> String {
    let mut value: Value = serde_saphyr::from_str(&example(name)).unwrap();
    let places = [
        "/trustStores/0/trustAnchors/0/pemCertificate".to_owned(),
        format!("/spiffeTrustStores/{POOL}/trustAnchors/0/pemCertificate"),
    ];
    let found = places
        .iter()
        .find(|place| value.pointer(place).is_some())
        .unwrap();
    *value.pointer_mut(found).unwrap() = json!(pem(anchor));
    value.to_string()
}

fn svid(path: &str) -> Cert {
    Cert::client(path)
        .sans(vec![uri(&format!("spiffe://{POOL}{path}"))])
        .eku(&[eku::CLIENT_AUTH, eku::SERVER_AUTH])
}

struct Setup {
    front: Front,
    pool: Issued,
    echo: Echo,
    envoy: Envoy,
    client: Pair,
}

impl Setup {
    fn new() -> Self {
        let front = Front::new(ALLOW).unwrap();
        let pool = Cert::ca("workload identity pool")
            .eku(&[eku::CLIENT_AUTH, eku::SERVER_AUTH])
            .self_signed();
        let echo = Echo::start().unwrap();
        let backend = front
            .pair("backend", &[&svid("/ns/app/sa/backend").by(&pool)])
            .unwrap();
        let envoy = sidecar(&pool, &backend, echo.address().port());
        let client = Cert::client("client")
            .sans(vec![uri(CLIENT)])
            .by(&front.root);
        Self {
            client: front.pair("client", &[&client]).unwrap(),
            front,
            pool,
            echo,
            envoy,
        }
    }

    /// A front end with this identity; one that does not overwrite the headers, or the example's.
    fn front_end(&self, identity: &str, overwrites: bool) -> Serve {
        let write = |name: &str, content: &str| text(&self.front.write(name, content).unwrap());
        let trust = write(
            "lb_trust.yaml",
            &with_anchor("load-balancer/trust_config.yaml", &self.front.root),
        );
        let policy = write(
            "lb_policy.yaml",
            &example("load-balancer/server_tls_policy.yaml"),
        );
        let backend_trust = write(
            "lb_backend_trust.yaml",
            &with_anchor("load-balancer/backend_trust_config.yaml", &self.pool),
        );
        let name = identity.replace('/', "-");
        let Pair { cert, key } = self
            .front
            .pair(&name, &[&svid(identity).by(&self.pool)])
            .unwrap();
        let mut arguments: Vec<String> = [
            "--cert",
            &text(&self.front.file("server.cert")),
            "--key",
            &text(&self.front.file("server.key")),
            "--trust-config",
            &trust,
            "--server-tls-policy",
            &policy,
            "--upstream",
            &format!("https://localhost:{}", self.envoy.port("sidecar").unwrap()),
            "--identity",
            &format!("{},{}", text(&cert), text(&key)),
            "--backend-trust-config",
            &backend_trust,
            "--backend-identity",
            &format!("spiffe://{POOL}/ns/app/sa/backend"),
        ]
        .map(str::to_owned)
        .into();
        if overwrites {
            let headers = write(
                "lb_headers.yaml",
                &example("load-balancer/backend_service.yaml"),
            );
            arguments.extend(["--headers".to_owned(), headers]);
        }
        Serve::start(Path::new(env!("CARGO_BIN_EXE_mtls-gate")), &arguments).unwrap()
    }

    /// What the application reads, or the status in its place.
    fn ask(&self, front_end: &Serve, with_certificate: bool) -> Result<EchoReply, u16> {
        let mut curl = Curl::new(front_end.port(), "front.test");
        if with_certificate {
            curl = curl.identity(&self.client.cert, &self.client.key);
        }
        for line in FORGED {
            curl = curl.header(line);
        }
        let response = curl.run().unwrap().response.unwrap();
        match response.status {
            200 => Ok(EchoReply::parse(&response.body).unwrap()),
            status => Err(status),
        }
    }
}

/// The example's Envoy; only what belongs to a machine is replaced.
fn sidecar(pool: &Issued, backend: &Pair, application: u16) -> Envoy {
    let mut bootstrap: Value = serde_saphyr::from_str(&example("envoy.yaml")).unwrap();
    let listener = "/static_resources/listeners/0";
    let chain = format!("{listener}/filter_chains/0");
    let tls =
        format!("{chain}/transport_socket/typed_config/common_tls_context/tls_certificates/0");
    let wasm = format!("{chain}/filters/0/typed_config/http_filters/0/typed_config/config");
    let anchor =
        format!("{wasm}/configuration/value/trustConfig/spiffeTrustStores/{POOL}/trustAnchors/0");
    let application_at =
        "/static_resources/clusters/0/load_assignment/endpoints/0/lb_endpoints/0/endpoint";
    for (place, by) in [
        (
            format!("{listener}/address/socket_address/address"),
            json!("127.0.0.1"),
        ),
        (
            format!("{listener}/address/socket_address/port_value"),
            json!(0),
        ),
        (
            format!("{tls}/certificate_chain/filename"),
            json!(backend.cert),
        ),
        (format!("{tls}/private_key/filename"), json!(backend.key)),
        (
            format!("{wasm}/vm_config/code/local/filename"),
            json!(fs::canonicalize(filter_file()).unwrap()),
        ),
        (format!("{anchor}/pemCertificate"), json!(pem(pool))),
        (
            format!("{application_at}/address/socket_address/port_value"),
            json!(application),
        ),
    ] {
        *bootstrap
            .pointer_mut(&place)
            .unwrap_or_else(|| panic!("{place}")) = by;
    }
    bootstrap["admin"] = json!({
        "address": { "socket_address": { "address": "127.0.0.1", "port_value": 0 } }
    });
    Envoy::start(&EnvoyConfig::new(bootstrap)).unwrap()
}

#[test]
fn the_application_hears_the_load_balancer_and_nobody_else() {
    let setup = Setup::new();
    let balancer = setup.front_end("/ns/lb/sa/front", true);
    let told = setup.ask(&balancer, true).unwrap();
    assert_eq!(told.all("x-client-cert-spiffe"), [CLIENT]);
    assert_eq!(told.all("x-client-cert-chain-verified"), ["true"]);
    assert!(told.all("x_client_cert_spiffe").is_empty());
    let told = setup.ask(&balancer, false).unwrap();
    assert_eq!(told.all("x-client-cert-spiffe"), [""]);
    assert_eq!(told.all("x-client-cert-chain-verified"), ["false"]);
    assert_eq!(setup.echo.requests(), 2);

    // A second front end, of the same pool, that passes on what clients send.
    let other = setup.front_end("/ns/lb/sa/internal", false);
    assert_eq!(setup.ask(&other, true).unwrap_err(), 403);
    // A client that finds the sidecar itself, with a certificate of the load balancer's own clients.
    let port = setup.envoy.port("sidecar").unwrap();
    let direct = Curl::new(port, "front.test").identity(&setup.client.cert, &setup.client.key);
    assert_eq!(direct.run().unwrap().exit, 52);
    assert_eq!(Curl::new(port, "front.test").run().unwrap().exit, 52);
    assert_eq!(setup.echo.requests(), 2);

    // What no sidecar can tell: a front end with the same identity that does not overwrite. The cure
    // is to configure the same headers there.
    let careless = setup.front_end("/ns/lb/sa/front", false);
    let told = setup.ask(&careless, false).unwrap();
    assert_eq!(
        told.all("x-client-cert-chain-verified"),
        ["true"],
        "the hazard that README names"
    );
    drop(careless);
    let cured = setup.front_end("/ns/lb/sa/front", true);
    let told = setup.ask(&cured, false).unwrap();
    assert_eq!(told.all("x-client-cert-chain-verified"), ["false"]);
}
