//! rustls verifiers over the core of mtls-gate: a server that judges client certificates as Google
//! Cloud's load balancers do, and a client that knows its server by a SPIFFE ID.
//!
//! ```
//! use std::sync::Arc;
//!
//! use mtls_gate_core::config::Config;
//! use mtls_gate_core::pipeline::Pipeline;
//! use mtls_gate_rustls::{ALGORITHMS, ClientVerifier, without_resumption};
//! use rustls::ServerConfig;
//! use rustls::pki_types::{CertificateDer, PrivateKeyDer};
//!
//! /// `document` is the configuration that the filter takes: Google's resources as JSON.
//! fn server_config(
//!     document: &[u8],
//!     chain: Vec<CertificateDer<'static>>,
//!     key: PrivateKeyDer<'static>,
//! ) -> Result<ServerConfig, Box<dyn std::error::Error>> {
//!     // Not `from_bytes`: that is for a proxy that tells of connections which it terminated.
//!     let config = Config::native(serde_json::from_slice(document)?)?;
//!     let pipeline = Arc::new(Pipeline::new(config, ALGORITHMS));
//!     let verifier = ClientVerifier::new(pipeline)
//!         .on_verdict(|client_cert| println!("verified: {}", client_cert.is_verified()));
//!     let mut server = ServerConfig::builder_with_provider(Arc::new(
//!         rustls::crypto::ring::default_provider(),
//!     ))
//!     .with_safe_default_protocol_versions()?
//!     .with_client_cert_verifier(Arc::new(verifier))
//!     .with_single_cert(chain, key)?;
//!     // rustls does not ask a verifier again when a session is resumed.
//!     without_resumption(&mut server);
//!     Ok(server)
//! }
//! ```
//!
//! After the handshake `Pipeline::judge` with `Presented::Tls` and the connection's
//! `peer_certificates()` gives the verdict for a request, `Pipeline::run` the headers too: the
//! verifier alone lets everybody in under `ALLOW_INVALID_OR_MISSING_CLIENT_CERT`, and every relay
//! with `source.header`.
#![forbid(unsafe_code)]

mod backend;
mod client;
mod possession;

use std::sync::Arc;

use mtls_gate_core::path::Algorithms;
use rustls::ServerConfig;
use rustls::pki_types::SignatureVerificationAlgorithm;
use rustls::server::NoServerSessionStorage;

pub use backend::{BackendRefused, BackendVerifier};
pub use client::ClientVerifier;

/// ring's algorithms first, since they are the fastest; those that it does not have from
/// mtls-gate-rustcrypto.
pub static ALGORITHMS: Algorithms = &CONCATENATED;

const RING: [&dyn SignatureVerificationAlgorithm; 11] = [
    webpki::ring::ECDSA_P256_SHA256,
    webpki::ring::ECDSA_P256_SHA384,
    webpki::ring::ECDSA_P384_SHA256,
    webpki::ring::ECDSA_P384_SHA384,
    webpki::ring::RSA_PKCS1_2048_8192_SHA256,
    webpki::ring::RSA_PKCS1_2048_8192_SHA384,
    webpki::ring::RSA_PKCS1_2048_8192_SHA512,
    webpki::ring::RSA_PSS_2048_8192_SHA256_LEGACY_KEY,
    webpki::ring::RSA_PSS_2048_8192_SHA384_LEGACY_KEY,
    webpki::ring::RSA_PSS_2048_8192_SHA512_LEGACY_KEY,
    webpki::ring::ED25519,
];

const RUSTCRYPTO: usize = 19;

#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)] // while compiling
static CONCATENATED: [&dyn SignatureVerificationAlgorithm; RING.len() + RUSTCRYPTO] = {
    let more = mtls_gate_rustcrypto::ALGORITHMS;
    assert!(more.len() == RUSTCRYPTO);
    let mut all = [RING[0]; RING.len() + RUSTCRYPTO];
    let mut at = 0;
    while at < all.len() {
        all[at] = if at < RING.len() {
            RING[at]
        } else {
            more[at - RING.len()]
        };
        at += 1;
    }
    all
};

/// Makes every handshake a full one: on resumption rustls takes the client's certificate from the
/// session as it was judged then, whatever policy and time say now.
pub fn without_resumption(config: &mut ServerConfig) {
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
}
