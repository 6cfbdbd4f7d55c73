//! Clients below the same CAs, which differ in their names and keys only.

use mtls_gate::fixtures::der;
use mtls_gate::fixtures::keys::{Hash, Key, Signature};
use mtls_gate::fixtures::mint::{Cert, Issued, dns, subject, uri};
use mtls_gate::goldens::forwarded_element;
use mtls_gate::testbed::client::ClientIdentity;
use mtls_gate_core::limits;
use mtls_gate_core::pipeline::FORWARDED_HEADER;
use sha2::{Digest as _, Sha256};

pub(crate) struct Clients {
    anchor_pem: String,
    /// As many more as may be configured. They issued nothing.
    other_anchors_pem: Vec<String>,
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

/// A signature of a CA, for the host to verify.
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
        let anchor = anchor();
        let intermediates = intermediates(&anchor, 1);
        let other_anchors = (1..limits::STORE_CERTIFICATES).map(|number| {
            pem(&Cert::ca(&format!("other anchor {number}"))
                .self_signed()
                .der)
        });
        Self {
            anchor_pem: pem(&anchor.der),
            other_anchors_pem: other_anchors.collect(),
            all: below(&anchor, &intermediates, count),
            signature: SignatureArguments {
                text: end_entity(0, &anchor).der,
                key: anchor.cert.key.clone(),
            },
        }
    }

    /// The anchor, behind others that make up the number.
    pub(crate) fn anchors_pem(&self, count: usize) -> Vec<&str> {
        let others = self.other_anchors_pem.iter().take(count - 1);
        others
            .chain([&self.anchor_pem])
            .map(String::as_str)
            .collect()
    }
}

/// Clients so many intermediates below the anchor.
pub(crate) fn far_below(intermediates: usize, count: usize) -> Vec<Client> {
    let anchor = anchor();
    below(&anchor, &self::intermediates(&anchor, intermediates), count)
}

/// So many below each of so many intermediates.
pub(crate) fn of_many_issuers(issuers: usize, count: usize) -> Vec<Client> {
    let anchor = anchor();
    let issuers = (0..issuers).map(|number| Cert::ca(&format!("issuer {number}")).by(&anchor));
    let clients = issuers.flat_map(|issuer| below(&anchor, &[issuer], count));
    clients.collect()
}

/// Clients whose intermediate somebody else has signed in the anchor's name.
pub(crate) fn refused(count: usize) -> Vec<Client> {
    let anchor = anchor();
    let stranger = Cert::ca("stranger").subject(anchor.cert.subject.clone());
    let intermediate = Cert::ca("untrusted").by(&stranger.self_signed());
    below(&anchor, &[intermediate], count)
}

/// The same one for all.
fn anchor() -> Issued {
    Cert::ca("bench anchor").self_signed()
}

/// From the end entity's issuer upwards, as they are presented.
fn intermediates(anchor: &Issued, count: usize) -> Vec<Issued> {
    let mut chain = Vec::new();
    for number in 0..count {
        let issuer = chain.last().unwrap_or(anchor);
        chain.push(Cert::ca(&format!("bench intermediate {count}.{number}")).by(issuer));
    }
    chain.reverse();
    chain
}

fn below(anchor: &Issued, intermediates: &[Issued], count: usize) -> Vec<Client> {
    let issuer = intermediates.first().unwrap_or(anchor);
    let client = |number| Client::new(&end_entity(number, issuer), intermediates);
    (0..count).map(client).collect()
}

fn end_entity(number: usize, issuer: &Issued) -> Issued {
    let name = format!("client-{number:06}");
    Cert::client(&name)
        .subject(subject(&name))
        .sans(vec![
            dns(&format!("{name}.bench.test")),
            uri(&format!("spiffe://bench.test/{name}")),
        ])
        .by(issuer)
}

impl Client {
    fn new(end_entity: &Issued, intermediates: &[Issued]) -> Self {
        let ders = [end_entity].into_iter().chain(intermediates);
        let ders: Vec<&[u8]> = ders.map(|issued| issued.der.as_slice()).collect();
        let forwarded = forwarded(&ders);
        Self {
            identity: ClientIdentity {
                chain_pem: ders
                    .iter()
                    .map(|der| pem(der))
                    .collect::<String>()
                    .into_bytes(),
                key_pem: end_entity.cert.key.pkcs8_pem().into_bytes(),
            },
            relayed: relayed(&forwarded),
            forwarded,
        }
    }
}

/// The value of `x-forwarded-client-cert` for these certificates, the end entity first.
pub(crate) fn forwarded(chain: &[&[u8]]) -> String {
    let end_entity = chain[0];
    let hash: String = Sha256::digest(end_entity)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let chain: String = chain.iter().map(|der| pem(der)).collect();
    forwarded_element(&hash, &pem(end_entity), &chain)
}

/// The request with this value.
pub(crate) fn relayed(forwarded: &str) -> Vec<u8> {
    format!("GET / HTTP/1.1\r\nhost: bench.test\r\n{FORWARDED_HEADER}: {forwarded}\r\n\r\n")
        .into_bytes()
}

pub(crate) fn pem(der: &[u8]) -> String {
    der::pem("CERTIFICATE", der)
}
