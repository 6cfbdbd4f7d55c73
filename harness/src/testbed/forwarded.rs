//! What proxies write of a chain in PEM, end entity first, where no real one of them is at hand.

use mtls_gate_core::forwarded::pem::{self, Around, Bounds, Label};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

const BOUNDS: Bounds = Bounds {
    blocks: 1,
    der_bytes: 1024 * 1024,
};

/// A form, and one chain in it.
#[derive(Clone, Debug)]
pub struct Forwarded {
    /// As people call it.
    pub name: &'static str,
    /// `source.header`
    pub source: Value,
    /// The headers.
    pub lines: Vec<(&'static str, String)>,
}

/// The chain in each form that is decoded by code of its own.
#[must_use]
pub fn forms(chain: &[&str]) -> Vec<Forwarded> {
    let others = chain.get(1..).unwrap_or_default();
    let end_entity = chain.first().copied().unwrap_or_default();
    let sequences: Vec<String> = others.iter().map(|pem| byte_sequence(pem)).collect();
    let base64: Vec<String> = chain.iter().map(|pem| base64_der(pem)).collect();
    let envoy = json!({ "preset": "ENVOY" });
    let form = |name, source, lines| Forwarded {
        name,
        source,
        lines,
    };
    vec![
        form(
            "XFCC text",
            envoy.clone(),
            vec![("x-forwarded-client-cert", xfcc(chain))],
        ),
        form(
            "XFCC JSON",
            envoy,
            vec![("x-forwarded-client-cert", xfcc_json(chain))],
        ),
        form(
            "RFC 9440",
            json!({ "preset": "RFC9440" }),
            vec![
                ("client-cert", byte_sequence(end_entity)),
                ("client-cert-chain", sequences.join(", ")),
            ],
        ),
        form(
            "PEM, percent-encoded",
            json!({ "preset": "AWS_ALB_PASSTHROUGH" }),
            vec![("x-amzn-mtls-clientcert", percent_encoded(&chain.concat()))],
        ),
        form(
            "base64 of DER",
            json!({ "preset": "TRAEFIK" }),
            vec![("x-forwarded-tls-client-cert", base64.join(","))],
        ),
    ]
}

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
