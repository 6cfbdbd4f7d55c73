//! What proxies write of a chain in PEM, end entity first, where no real one of them is at hand.

use mtls_gate_core::forwarded::pem::{self, Around, Bounds, Label};
use serde_json::json;
use sha2::{Digest, Sha256};

const BOUNDS: Bounds = Bounds {
    blocks: 1,
    der_bytes: 1024 * 1024,
};

/// RFC 9440's form of one certificate.
#[must_use]
pub fn byte_sequence(pem: &str) -> String {
    format!(":{}:", base64_der(pem))
}

/// Base64 of one certificate's DER.
#[must_use]
pub fn base64_der(pem: &str) -> String {
    pem.lines().filter(|line| !line.starts_with('-')).collect()
}

/// PEM as Envoy and nginx escape it.
#[must_use]
pub fn percent_encoded(pem: &str) -> String {
    pem.replace('\n', "%0A")
        .replace(' ', "%20")
        .replace('+', "%2B")
        .replace('/', "%2F")
        .replace('=', "%3D")
}

/// An element of `x-forwarded-client-cert`.
#[must_use]
pub fn xfcc(chain: &[&str]) -> String {
    let end_entity = chain.first().copied().unwrap_or_default();
    format!(
        "Hash={};Cert=\"{}\";Chain=\"{}\"",
        sha256(end_entity),
        percent_encoded(end_entity),
        percent_encoded(&chain.concat())
    )
}

/// `x-forwarded-client-cert` with one element, in JSON.
#[must_use]
pub fn xfcc_json(chain: &[&str]) -> String {
    let end_entity = chain.first().copied().unwrap_or_default();
    json!([{ "hash": sha256(end_entity), "cert": end_entity, "chain": chain }]).to_string()
}

/// Of the certificate's DER, in hexadecimal digits.
fn sha256(pem: &str) -> String {
    let der = pem::blocks(pem.as_bytes(), Label::Certificate, Around::Nothing, BOUNDS);
    let der = der.unwrap_or_default().concat();
    let digest = Sha256::digest(&der);
    digest.iter().map(|octet| format!("{octet:02x}")).collect()
}
