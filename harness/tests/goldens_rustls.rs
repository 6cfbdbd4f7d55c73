//! Every golden case through rustls: a real TLS client presents the chain, and what a backend would be
//! told, or how the handshake ends, is what the case says.
#![allow(clippy::panic, clippy::unwrap_used, clippy::indexing_slicing)]

use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use mtls_gate::goldens::{self, Golden};
use mtls_gate::testbed::client::{self, ClientError, ClientIdentity, ClientOptions, Outcome};
use mtls_gate::testbed::envoy::ServerCertificate;
use mtls_gate_core::authz::Request;
use mtls_gate_core::config::Config;
use mtls_gate_core::decision;
use mtls_gate_core::forwarded::Presented;
use mtls_gate_core::pipeline::Pipeline;
use mtls_gate_core::variables::Variable;
use mtls_gate_core::x509::UnixSeconds;
use mtls_gate_rustls::{ALGORITHMS, ClientVerifier, without_resumption};
use openssl::ssl::SslVersion;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

const TIMEOUT: Duration = Duration::from_secs(10);

fn server_config(pipeline: &Arc<Pipeline>, shown: &ServerCertificate) -> Arc<ServerConfig> {
    let chain = CertificateDer::pem_slice_iter(shown.certificate_pem.as_bytes())
        .collect::<Result<_, _>>()
        .unwrap();
    let key = PrivateKeyDer::from_pem_slice(shown.key_pem.as_bytes()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(Arc::new(ClientVerifier::new(Arc::clone(pipeline))))
        .with_single_cert(chain, key)
        .unwrap();
    without_resumption(&mut config);
    Arc::new(config)
}

/// Serves one connection: the headers a backend would get, or why the handshake ended.
fn serve_one(
    listener: &TcpListener,
    config: Arc<ServerConfig>,
    pipeline: &Pipeline,
    time: UnixSeconds,
) -> Result<Vec<String>, rustls::Error> {
    let (mut tcp, _) = listener.accept().unwrap();
    tcp.set_read_timeout(Some(TIMEOUT)).unwrap();
    let mut tls = ServerConnection::new(config).unwrap();
    while tls.is_handshaking() {
        if let Err(error) = tls.complete_io(&mut tcp) {
            // The alert is out; what the client still sends must not reset the connection.
            tcp.shutdown(std::net::Shutdown::Write).unwrap();
            let _ = io::copy(&mut tcp, &mut io::sink());
            return Err(error
                .downcast::<rustls::Error>()
                .unwrap_or_else(|error| rustls::Error::General(error.to_string())));
        }
    }
    let chain: Vec<&[u8]> = tls
        .peer_certificates()
        .unwrap_or_default()
        .iter()
        .map(AsRef::as_ref)
        .collect();
    let decision = pipeline.run(&Presented::Tls(&chain), &Request::default(), Some(time));
    assert_eq!(decision.outcome, decision::Outcome::Forward);
    let headers = decision
        .request
        .add
        .iter()
        .map(|header| header.value.clone());
    let headers = headers.collect();
    let mut stream = StreamOwned::new(tls, tcp);
    io::Write::write_all(&mut stream, b"HTTP/1.1 204 \r\n\r\n").unwrap();
    stream.conn.send_close_notify();
    let _ = stream.conn.complete_io(&mut stream.sock);
    Ok(headers)
}

fn connect(port: u16, golden: &Golden, version: SslVersion) -> Result<Outcome, ClientError> {
    let identity = (!golden.chain_pem.is_empty()).then(|| ClientIdentity {
        chain_pem: golden.chain_pem.clone().into_bytes(),
        key_pem: golden.key_pem.clone().into_bytes(),
    });
    let options = ClientOptions {
        max_version: Some(version),
        alpn: vec![],
        timeout: TIMEOUT,
    };
    client::connect(port, "golden.test", identity.as_ref(), &options)?.exchange(b"")
}

/// `None`: as the case says.
fn wrong(golden: &Golden, version: SslVersion, shown: &ServerCertificate) -> Option<String> {
    // By the case's own time; the verifier's clock is the real one, with the same verdict.
    let time = golden.time().unwrap();
    let config = Config::native(golden.document()).unwrap();
    let pipeline = Arc::new(Pipeline::new(config, ALGORITHMS));
    let config = server_config(&pipeline, shown);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let (served, seen) = std::thread::scope(|scope| {
        let served = scope.spawn(|| serve_one(&listener, config, &pipeline, time));
        let seen = connect(port, golden, version);
        (served.join().unwrap(), seen)
    });
    let forwards = golden.expected.decision == "forward";
    match (served, forwards) {
        (Ok(headers), true) => {
            assert!(matches!(seen, Ok(Outcome::Response(_))), "{seen:?}");
            let expected: Vec<&String> = Variable::ALL
                .iter()
                .map(|variable| &golden.expected.variables[variable.name()])
                .collect();
            (headers.iter().collect::<Vec<_>>() != expected).then(|| format!("{headers:?}"))
        }
        (Err(error), false) => {
            let alert = match &seen {
                Err(ClientError::Handshake { what }) => what.clone(),
                Ok(Outcome::Closed { how, .. }) => how.clone(),
                other => return Some(format!("the client saw {other:?}")),
            };
            let wanted = if golden.chain_pem.is_empty() {
                "certificate required"
            } else {
                "access denied"
            };
            (!alert.contains(wanted)).then(|| format!("{error}: the client saw {alert}"))
        }
        (served, _) => Some(format!("{served:?}, the client saw {seen:?}")),
    }
}

#[test]
fn every_golden_over_tls() {
    let shown = ServerCertificate::self_signed(&["golden.test"]).unwrap();
    let goldens = goldens::all().unwrap();
    let mut played = 0_usize;
    let mut wrongs = Vec::new();
    for golden in goldens.iter() {
        if golden.case.tls.as_bool() != Some(true) {
            continue;
        }
        for version in [SslVersion::TLS1_3, SslVersion::TLS1_2] {
            played += 1;
            if let Some(wrong) = wrong(golden, version, &shown) {
                wrongs.push(format!("{} {version:?}: {wrong}", golden.name));
            }
        }
    }
    assert!(wrongs.is_empty(), "{}", wrongs.join("\n"));
    assert!(played > 500, "{played} handshakes");
}

/// A client that shows somebody else's certificate, on the allowlist even, and signs with its own key.
#[test]
fn a_certificate_without_its_key_gets_nobody_in() {
    let shown = ServerCertificate::self_signed(&["golden.test"]).unwrap();
    let goldens = goldens::all().unwrap();
    let golden = |name: &str| goldens.iter().find(|golden| golden.name == name).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let thief = golden("one_intermediate");
    let key = PrivateKeyDer::from_pem_slice(thief.key_pem.as_bytes()).unwrap();
    let key = provider.key_provider.load_private_key(key).unwrap();
    for victim in [
        "allowlisted_self_signed",
        "direct_from_anchor",
        "one_intermediate",
    ] {
        let golden = golden(victim);
        let config = Config::native(golden.document()).unwrap();
        let pipeline = Arc::new(Pipeline::new(config, ALGORITHMS));
        let chain: Vec<CertificateDer<'static>> =
            CertificateDer::pem_slice_iter(golden.chain_pem.as_bytes())
                .collect::<Result<_, _>>()
                .unwrap();
        for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
            let pair = rustls::sign::CertifiedKey::new(chain.clone(), Arc::clone(&key));
            let client = rustls::ClientConfig::builder_with_provider(Arc::clone(&provider))
                .with_protocol_versions(&[version])
                .unwrap()
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(AnyServer))
                .with_client_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(pair)));
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            let address = listener.local_addr().unwrap();
            let server = server_config(&pipeline, &shown);
            let time = golden.time().unwrap();
            let served = std::thread::scope(|scope| {
                let served = scope.spawn(|| serve_one(&listener, server, &pipeline, time));
                let name = "golden.test".try_into().unwrap();
                let tls = rustls::ClientConnection::new(Arc::new(client), name).unwrap();
                let tcp = std::net::TcpStream::connect(address).unwrap();
                let _ = io::Read::read(&mut StreamOwned::new(tls, tcp), &mut [0; 16]);
                served.join().unwrap()
            });
            if victim == thief.name {
                assert!(served.is_ok(), "{version:?}: {served:?}");
            } else {
                // Where refusals end handshakes, every one looks the same.
                let bad = if golden.case.mode == "REJECT_INVALID" {
                    rustls::CertificateError::ApplicationVerificationFailure
                } else {
                    rustls::CertificateError::BadSignature
                };
                assert_eq!(
                    served,
                    Err(rustls::Error::InvalidCertificate(bad)),
                    "{victim}"
                );
            }
        }
    }
}

/// rustls resumes sessions if it is let, and its client verifier is not asked then.
#[test]
fn sessions_are_resumed_only_without_our_switch() {
    let shown = ServerCertificate::self_signed(&["golden.test"]).unwrap();
    let golden = goldens::named("one_intermediate").unwrap();
    let config = Config::native(golden.document()).unwrap();
    let pipeline = Arc::new(Pipeline::new(config, ALGORITHMS));
    let off = server_config(&pipeline, &shown);
    let mut on = (*off).clone();
    on.session_storage = rustls::server::ServerSessionMemoryCache::new(16);
    on.send_tls13_tickets = 2;
    let time = golden.time().unwrap();
    for (config, resumes) in [(Arc::new(on), true), (off, false)] {
        for version in [SslVersion::TLS1_2, SslVersion::TLS1_3] {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            let port = listener.local_addr().unwrap().port();
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    for _ in 0..2 {
                        serve_one(&listener, Arc::clone(&config), &pipeline, time).unwrap();
                    }
                });
                let options = ClientOptions {
                    max_version: Some(version),
                    alpn: vec![],
                    timeout: TIMEOUT,
                };
                let identity = golden.identity();
                let mut first =
                    client::connect(port, "golden.test", Some(&identity), &options).unwrap();
                first.exchange(b"").unwrap();
                let mut second = match first.session() {
                    Some(session) => session.connect(port, "golden.test").unwrap(),
                    None => {
                        client::connect(port, "golden.test", Some(&identity), &options).unwrap()
                    }
                };
                second.exchange(b"").unwrap();
                assert_eq!(second.resumed(), resumes, "{version:?}");
            });
        }
    }
}

/// The server is this test's own.
#[derive(Debug)]
struct AnyServer;

impl rustls::client::danger::ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &rustls::pki_types::ServerName<'_>,
        _: &[u8],
        _: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        vec![rustls::SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}
