//! What native benchmarks share: clients of one CA.
#![allow(dead_code)] // not every benchmark uses all of it

use mtls_gate::fixtures::der;
use mtls_gate::fixtures::keys::{Key, RsaKeys};
use mtls_gate::fixtures::mint::{Cert, Issued};
use mtls_gate::goldens::testdata;
use mtls_gate_core::config::Config;
use mtls_gate_core::path::Backend;
use mtls_gate_core::pipeline::Pipeline;
use mtls_gate_core::trust::{Trust, TrustStore};
use mtls_gate_core::x509::{Certificate, UnixSeconds};
use serde_json::{Value, json};

/// 2026-11-21T12:00:00Z
pub(crate) const TIME: UnixSeconds = UnixSeconds(1_795_262_400);

/// Of all keys of a chain.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Algorithm {
    P256,
    P384,
    Rsa2048,
}

impl Algorithm {
    pub(crate) const ALL: [Self; 3] = [Self::P256, Self::Rsa2048, Self::P384];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::P256 => "P-256",
            Self::P384 => "P-384",
            Self::Rsa2048 => "RSA-2048",
        }
    }

    /// RSA keys come from files, and there are three.
    fn key(self, label: &str) -> Key {
        let folder = testdata().join("keys");
        let rsa = |name| RsaKeys { folder }.load(name).unwrap();
        match self {
            Self::P256 => Key::p256(label),
            Self::P384 => Key::p384(label),
            Self::Rsa2048 => rsa(match label {
                "root" | "issuer 1" => "2048-a",
                "client" => "2048-c",
                _ => "2048-b",
            }),
        }
    }
}

/// Clients of one CA, which differ in their names only.
pub(crate) struct Pki {
    /// DER: end entity first.
    pub(crate) chains: Vec<Vec<Vec<u8>>>,
    pub(crate) root: Vec<u8>,
    pub(crate) client_key: Key,
}

impl Pki {
    pub(crate) fn new(algorithm: Algorithm, intermediates: usize, clients: usize) -> Self {
        let root = Cert::ca("root").key(algorithm.key("root")).self_signed();
        let mut issuers = vec![root.clone()];
        for number in 0..intermediates {
            let name = format!("issuer {number}");
            let issuer = Cert::ca(&name).key(algorithm.key(&name)).by(&issuers[0]);
            issuers.insert(0, issuer);
        }
        let client_key = algorithm.key("client");
        let der = |issued: &Issued| issued.der.clone();
        let client = |number| {
            let client = Cert::client(&format!("client {number}")).key(client_key.clone());
            let client = client.by(&issuers[0]).der;
            let issuers = issuers[..intermediates].iter().map(der);
            core::iter::once(client).chain(issuers).collect()
        };
        Self {
            chains: (0..clients).map(client).collect(),
            root: root.der,
            client_key,
        }
    }

    /// So many trust anchors. The one that counts is the last.
    pub(crate) fn anchors(&self, count: usize) -> Vec<Vec<u8>> {
        let other = |number| Cert::ca(&format!("other {number}")).self_signed().der;
        let others = (1..count).map(other);
        others.chain([self.root.clone()]).collect()
    }
}

/// A trust config of these anchors.
pub(crate) fn trust(anchors: &[Vec<u8>]) -> Trust {
    store(anchors).into()
}

pub(crate) fn store(anchors: &[Vec<u8>]) -> TrustStore {
    let parse = |der: &Vec<u8>| Certificate::parse(der.clone()).unwrap();
    TrustStore::new(anchors.iter().map(parse).collect(), Vec::new())
}

/// A configuration that refuses whom these anchors do not vouch for. `limits`: as in the document.
pub(crate) fn config(anchors: &[Vec<u8>], limits: Value) -> Config {
    let pem = |der: &Vec<u8>| json!({ "pemCertificate": der::pem("CERTIFICATE", der) });
    let anchors: Vec<_> = anchors.iter().map(pem).collect();
    let document = json!({
        "trustConfig": { "trustStores": [{ "trustAnchors": anchors }] },
        "serverTlsPolicy": { "mtlsPolicy": { "clientValidationMode": "REJECT_INVALID" } },
        "limits": limits,
    });
    Config::native(document).unwrap()
}

pub(crate) fn pipeline(
    anchors: &[Vec<u8>],
    limits: Value,
    backend: impl Into<Backend>,
) -> Pipeline {
    Pipeline::new(config(anchors, limits), backend)
}

/// As TLS presents it.
pub(crate) fn borrowed(chain: &[Vec<u8>]) -> Vec<&[u8]> {
    chain.iter().map(Vec::as_slice).collect()
}
