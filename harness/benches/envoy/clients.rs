//! Clients under one intermediate, which differ in their names and keys only.

use mtls_gate::fixtures::der;
use mtls_gate::fixtures::keys::{Hash, Key, Signature};
use mtls_gate::fixtures::mint::{Cert, Issued, dns, subject, uri};
use mtls_gate::goldens::forwarded_element;
use mtls_gate::testbed::client::ClientIdentity;
use mtls_gate_core::pipeline::FORWARDED_HEADER;
use sha2::{Digest as _, Sha256};

pub(crate) struct Clients {
    pub(crate) anchor_pem: String,
    pub(crate) all: Vec<Client>,
    pub(crate) signature: SignatureArguments,
}

pub(crate) struct Client {
    pub(crate) identity: ClientIdentity,
    /// The value of `x-forwarded-client-cert`, as Envoy writes it.
    pub(crate) forwarded: String,
    /// The request that a relay sends for it.
    pub(crate) relayed: Vec<u8>,
}

/// What a client sends itself.
pub(crate) const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: bench.test\r\n\r\n";

/// A signature as the intermediate makes it, for the host to verify.
pub(crate) struct SignatureArguments {
    key: Key,
    text: Vec<u8>,
}

impl SignatureArguments {
    /// Envoy's `VerifySignatureArguments`.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let signature = self.key.sign(Signature::Ecdsa(Hash::Sha256), &self.text);
        let fields: [(u8, &[u8]); 4] = [
            (1, b"sha256"),
            (2, &self.key.spki()),
            (3, &signature),
            (4, &self.text),
        ];
        let mut message = Vec::new();
        for (number, value) in fields {
            // Length-delimited; no value here has 2^14 bytes.
            message.push(number << 3 | 2);
            match value.len() {
                length @ 0..0x80 => message.push(length as u8),
                length => message.extend([length as u8 | 0x80, (length >> 7) as u8]),
            }
            message.extend(value);
        }
        message
    }
}

impl Clients {
    /// P-256 throughout.
    pub(crate) fn mint(count: usize) -> Self {
        let anchor = Cert::ca("bench anchor").self_signed();
        let intermediate = Cert::ca("bench intermediate").by(&anchor);
        let end_entity = |number: usize| {
            let name = format!("client-{number:06}");
            Cert::client(&name)
                .subject(subject(&name))
                .sans(vec![
                    dns(&format!("{name}.bench.test")),
                    uri(&format!("spiffe://bench.test/{name}")),
                ])
                .by(&intermediate)
        };
        let all = (0..count)
            .map(|number| Client::new(&end_entity(number), &intermediate))
            .collect();
        Self {
            anchor_pem: pem(&anchor),
            all,
            signature: SignatureArguments {
                text: end_entity(0).der,
                key: intermediate.cert.key,
            },
        }
    }
}

impl Client {
    fn new(end_entity: &Issued, intermediate: &Issued) -> Self {
        let chain = pem(end_entity) + &pem(intermediate);
        let hash: String = Sha256::digest(&end_entity.der)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let forwarded = forwarded_element(&hash, &pem(end_entity), &chain);
        let request = format!(
            "GET / HTTP/1.1\r\nhost: bench.test\r\n{FORWARDED_HEADER}: {forwarded}\r\n\r\n"
        );
        Self {
            identity: ClientIdentity {
                chain_pem: chain.into_bytes(),
                key_pem: end_entity.cert.key.pkcs8_pem().into_bytes(),
            },
            forwarded,
            relayed: request.into_bytes(),
        }
    }
}

fn pem(issued: &Issued) -> String {
    der::pem("CERTIFICATE", &issued.der)
}
