//! Full TLS 1.3 handshakes of rustls with our verifier of client certificates, beside those with
//! rustls' own: `cargo bench -p mtls-gate --bench handshakes`.
//!
//! Client and server are in one thread and hand each other what they would send. Nothing is resumed,
//! no tickets are sent. Chains are of end entity and intermediate; the server's own certificate is of
//! P-256 throughout. Both verifiers use ring.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use mtls_gate::fixtures::mint::{Cert, Issued, dns, eku};
use mtls_gate::measure::{Bound, Cases, Options, Report, Stopwatch, locked_version};
use mtls_gate_rustls::{ALGORITHMS, ClientVerifier, without_resumption};
use rustls::client::{ResolvesClientCert, Resumption};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::sign::CertifiedKey;
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, SignatureScheme,
    version,
};
use serde_json::json;

use support::{Algorithm, Pki, pipeline};

mod support;

/// More than the verdicts that the default of `limits.cacheBytes` holds, so that each is a new one.
const CLIENTS: usize = 4000;
const ROUNDS: u32 = 300;
/// In one turn.
const HANDSHAKES: u32 = 4;
const SERVER: &str = "server.test";

const WEBPKI_SAME: &str = "WebPkiClientVerifier, one client";
const WEBPKI_NEW: &str = "WebPkiClientVerifier, new clients";
const OURS_SAME: &str = "ours, one client";
const OURS_NEW: &str = "ours, new clients";
const OURS_FORGETS: &str = "ours, new clients, nothing remembered";

/// Presents one client after another.
#[derive(Debug)]
struct Clients {
    all: Vec<Arc<CertifiedKey>>,
    next: Mutex<usize>,
}

impl ResolvesClientCert for Clients {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let mut next = self.next.lock().unwrap();
        *next = (*next + 1) % self.all.len();
        self.all.get(*next).cloned()
    }

    fn has_certs(&self) -> bool {
        true
    }
}

fn private_key(pem: &str) -> PrivateKeyDer<'static> {
    PrivateKeyDer::from_pem_slice(pem.as_bytes()).unwrap()
}

fn roots(der: &[u8]) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add(der.to_vec().into()).unwrap();
    roots
}

fn client(server_root: &Issued, clients: Vec<Arc<CertifiedKey>>) -> Arc<ClientConfig> {
    let mut config = ClientConfig::builder_with_provider(ring::default_provider().into())
        .with_protocol_versions(&[&version::TLS13])
        .unwrap()
        .with_root_certificates(roots(&server_root.der))
        .with_client_cert_resolver(Arc::new(Clients {
            all: clients,
            next: Mutex::new(0),
        }));
    config.resumption = Resumption::disabled();
    config.into()
}

fn server(certificate: &Issued, verifier: Arc<dyn ClientCertVerifier>) -> Arc<ServerConfig> {
    let key = private_key(&certificate.cert.key.pkcs8_pem());
    let mut config = ServerConfig::builder_with_provider(ring::default_provider().into())
        .with_protocol_versions(&[&version::TLS13])
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![certificate.der.clone().into()], key)
        .unwrap();
    without_resumption(&mut config);
    config.into()
}

/// How long both sides take, and the server's part of that.
fn handshake(client: &Arc<ClientConfig>, server: &Arc<ServerConfig>) -> [Duration; 2] {
    let name = ServerName::try_from(SERVER).unwrap();
    let mut of_server = Duration::ZERO;
    let mut to_server = Vec::with_capacity(1 << 14);
    let mut to_client = Vec::with_capacity(1 << 14);
    let start = Stopwatch::start();
    let mut client = ClientConnection::new(Arc::clone(client), name).unwrap();
    let mut server = ServerConnection::new(Arc::clone(server)).unwrap();
    while client.is_handshaking() || server.is_handshaking() {
        to_server.clear();
        while client.wants_write() {
            client.write_tls(&mut to_server).unwrap();
        }
        let since = Stopwatch::start();
        let mut received = to_server.as_slice();
        while !received.is_empty() {
            server.read_tls(&mut received).unwrap();
            server.process_new_packets().unwrap();
        }
        to_client.clear();
        while server.wants_write() {
            server.write_tls(&mut to_client).unwrap();
        }
        of_server += since.elapsed();
        let mut received = to_client.as_slice();
        while !received.is_empty() {
            client.read_tls(&mut received).unwrap();
            client.process_new_packets().unwrap();
        }
    }
    let both = start.elapsed();
    assert!(
        server
            .peer_certificates()
            .is_some_and(|chain| chain.len() == 2)
    );
    [both, of_server]
}

fn compare(algorithm: Algorithm, options: &Options, report: &mut Report) {
    let pki = Pki::new(algorithm, 1, options.effort(CLIENTS, 2));
    let server_root = Cert::ca("server root").self_signed();
    let certificate = Cert::client("server")
        .sans(vec![dns(SERVER)])
        .eku(&[eku::SERVER_AUTH])
        .by(&server_root);
    let key = private_key(&pki.client_key.pkcs8_pem());
    let key = ring::sign::any_supported_type(&key).unwrap();
    let identity = |chain: &Vec<Vec<u8>>| {
        let chain = chain.iter().map(|der| der.clone().into()).collect();
        Arc::new(CertifiedKey::new(chain, Arc::clone(&key)))
    };
    let all: Vec<_> = pki.chains.iter().map(identity).collect();

    let webpki = WebPkiClientVerifier::builder_with_provider(
        roots(&pki.root).into(),
        ring::default_provider().into(),
    );
    let webpki = webpki.build().unwrap();
    let ours = |limits| -> Arc<dyn ClientCertVerifier> {
        let pipeline = pipeline(&pki.anchors(1), limits, ALGORITHMS);
        Arc::new(ClientVerifier::new(Arc::new(pipeline)))
    };
    // Verifiers that remember are not shared between cases.
    let verifiers = [
        (WEBPKI_SAME, Arc::clone(&webpki), 1),
        (OURS_SAME, ours(json!({})), 1),
        (WEBPKI_NEW, webpki, all.len()),
        (OURS_NEW, ours(json!({})), all.len()),
        (OURS_FORGETS, ours(json!({ "cacheBytes": 0 })), all.len()),
    ];
    let [both, part] = ["client and server", "the server's part"]
        .map(|what| format!("{}: {what}", algorithm.name()));
    let handshakes = options.effort(HANDSHAKES, 1);
    let mut cases = Cases::default();
    for (name, verifier, clients) in verifiers {
        let client = client(&server_root, all[..clients].to_vec());
        let server = server(&certificate, verifier);
        cases.add_timed([(&both, name), (&part, name)], move || {
            let mut times = [Duration::ZERO; 2];
            for _ in 0..handshakes {
                for (sum, time) in times.iter_mut().zip(handshake(&client, &server)) {
                    *sum += time;
                }
            }
            times.map(|time| time / handshakes)
        });
    }
    for section in cases.measure(options, ROUNDS) {
        if section.title == both {
            for (ours, theirs) in [
                (OURS_SAME, WEBPKI_SAME),
                (OURS_NEW, WEBPKI_NEW),
                (OURS_FORGETS, WEBPKI_NEW),
            ] {
                // Handshakes for each second, which is the other way round.
                let [mine, other] = [ours, theirs].map(|name| section.of(name).unwrap());
                let what = format!("{}: handshakes/s, {ours}, over {theirs}", algorithm.name());
                report.figure(what, other.over(mine), Bound::AtLeast(0.98));
            }
        }
        report.table(section.table(0, &[WEBPKI_NEW]).unwrap());
        report.section(section);
    }
}

fn main() {
    let options = Options::from_args();
    let mut report = Report::default();
    for package in ["rustls", "rustls-webpki", "ring"] {
        report.version(package, locked_version(package).unwrap());
    }
    for algorithm in [Algorithm::P256, Algorithm::Rsa2048] {
        if options.wants(algorithm.name()) {
            compare(algorithm, &options, &mut report);
        }
    }
    report.print(&options);
}
