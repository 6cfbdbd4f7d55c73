//! Searches for the chain that costs most within the limits, and compares it with the longest
//! honest path of the same algorithm: `cargo bench -p mtls-gate --bench worst_chain`.
//!
//! The attacker holds certificates that the anchor really signed and arranges up to 10 of them in
//! layers of equal names, so that every layer can be entered from every certificate of the one
//! above; nothing but signatures tells which links hold. Some links hold, the end entity's does not.
//! Its names are as many as the budget of comparisons allows.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions
)]

use std::time::{Duration, Instant};

use mtls_gate::fixtures::der;
use mtls_gate::fixtures::keys::{Key, RsaKeys};
use mtls_gate::fixtures::mint::{Cert, Issued, dns};
use mtls_gate::goldens::testdata;
use mtls_gate_core::path::{self, Policy, Profile};
use mtls_gate_core::trust::TrustStore;
use mtls_gate_core::x509::{Certificate, KeyPurpose, UnixSeconds};
use mtls_gate_rustcrypto::ALGORITHMS;

/// 2026-11-21T12:00:00Z
const TIME: UnixSeconds = UnixSeconds(1_795_262_400);
const PRESENTED: usize = 10;
const ROUNDS: usize = 40;

struct Chain {
    label: String,
    end_entity: Vec<u8>,
    presented: Vec<Vec<u8>>,
    anchor: Vec<u8>,
}

impl Chain {
    fn new(label: String, end_entity: &Issued, presented: &[Issued], anchor: &Issued) -> Self {
        Self {
            label,
            end_entity: end_entity.der.clone(),
            presented: presented.iter().map(|one| one.der.clone()).collect(),
            anchor: anchor.der.clone(),
        }
    }

    /// Parsing included, as for every request; the anchor is parsed when configured.
    fn judge(&self, store: &TrustStore) -> bool {
        let end_entity = Certificate::parse(self.end_entity.clone()).unwrap();
        let parse = |der: &Vec<u8>| Certificate::parse(der.clone()).unwrap();
        let presented: Vec<Certificate> = self.presented.iter().map(parse).collect();
        let policy = Policy::new(Profile::Google, Some(KeyPurpose::ClientAuth));
        path::build(&end_entity, &presented, store, &policy, ALGORITHMS, TIME).is_ok()
    }

    fn store(&self) -> TrustStore {
        TrustStore::new(
            vec![Certificate::parse(self.anchor.clone()).unwrap()],
            vec![],
        )
    }
}

fn name(layer: usize) -> Vec<u8> {
    der::name(&[("CN", &format!("layer {layer}"))])
}

/// Depth 10: anchor, eight intermediates, end entity; every link verified once.
fn honest(key: &dyn Fn(&str) -> Key) -> Chain {
    let anchor = Cert::ca("anchor").key(key("anchor")).self_signed();
    let mut chain = Vec::new();
    let mut issuer = anchor.clone();
    for level in 0..8 {
        let label = format!("honest {level}");
        issuer = Cert::ca(&label).key(key(&label)).by(&issuer);
        chain.push(issuer.clone());
    }
    let end_entity = Cert::client("honest").key(key("client")).by(&issuer);
    Chain::new("longest honest path".into(), &end_entity, &chain, &anchor)
}

/// `layers[i]` certificates of one name each; whether the links between layers hold is `hold`.
/// `names`: how many the end entity has, each under 10 constraints of every CA.
fn maze(key: &dyn Fn(&str) -> Key, layers: &[usize], hold: bool, names: usize) -> Chain {
    let anchor = Cert::ca("anchor").key(key("anchor")).self_signed();
    let stranger = Cert::ca("stranger").key(key("stranger")).self_signed();
    let mut presented = Vec::new();
    let mut above: Vec<Issued> = vec![anchor.clone()];
    for (depth, count) in layers.iter().enumerate() {
        let mut layer = Vec::new();
        for number in 0..*count {
            let label = format!("maze {depth} {number}");
            let cert = Cert::ca(&label)
                .key(key(&label))
                .subject(name(depth))
                .without_key_identifiers();
            let domains = (0..10).map(|one| dns(&format!("d{one}.test"))).collect();
            let cert = if names > 0 {
                cert.permitted(domains)
            } else {
                cert
            };
            let issuer_name = match depth {
                0 => anchor.cert.subject.clone(),
                depth => name(depth - 1),
            };
            // The first layer holds, or the search would end there.
            let signer = if depth == 0 || hold {
                &above[number % above.len()]
            } else {
                &stranger
            };
            layer.push(cert.issuer(issuer_name).by(signer));
        }
        presented.extend(layer.iter().cloned());
        above = layer;
    }
    let sans = (0..names.max(1)).map(|one| dns(&format!("h{one}.d9.test")));
    let end_entity = Cert::client("maze")
        .sans(sans.collect())
        .key(key("client"))
        .without_key_identifiers()
        .issuer(name(layers.len() - 1))
        .by(&stranger);
    let label = format!(
        "layers {layers:?}, links {}, {names} names",
        if hold { "hold" } else { "do not hold" }
    );
    Chain::new(label, &end_entity, &presented, &anchor)
}

/// What it costs when nothing else runs; other work on the machine only adds.
fn least(times: Vec<Duration>) -> Duration {
    times.into_iter().min().unwrap()
}

fn compare(algorithm: &str, key: &dyn Fn(&str) -> Key) -> f64 {
    let mut chains = vec![honest(key)];
    let shapes: [&[usize]; 8] = [
        &[10],
        &[5, 5],
        &[4, 3, 3],
        &[3, 3, 2, 2],
        &[2, 2, 2, 2, 2],
        &[1, 9],
        &[9, 1],
        &[1, 1, 1, 1, 1, 1, 1, 3],
    ];
    for shape in shapes {
        assert!(shape.iter().sum::<usize>() <= PRESENTED);
        for names in [0, 100] {
            chains.push(maze(key, shape, true, names));
            chains.push(maze(key, shape, false, names));
        }
    }
    let stores: Vec<TrustStore> = chains.iter().map(Chain::store).collect();
    let mut times = vec![Vec::new(); chains.len()];
    // Interleaved: the machine's moods hit all alike.
    for round in 0..=ROUNDS {
        for (index, (chain, store)) in chains.iter().zip(&stores).enumerate() {
            let start = Instant::now();
            let verified = chain.judge(store);
            let time = start.elapsed();
            assert_eq!(verified, index == 0, "{}", chain.label);
            if round > 0 {
                times[index].push(time);
            }
        }
    }
    let least: Vec<Duration> = times.into_iter().map(least).collect();
    let (worst, _) = least
        .iter()
        .enumerate()
        .skip(1)
        .max_by_key(|(_, time)| **time)
        .unwrap();
    let ratio = least[worst].as_secs_f64() / least[0].as_secs_f64();
    println!(
        "{algorithm:<10} honest {:>9.3} ms   worst {:>9.3} ms   ratio {ratio:.2}   ({})",
        least[0].as_secs_f64() * 1e3,
        least[worst].as_secs_f64() * 1e3,
        chains[worst].label
    );
    ratio
}

fn main() {
    let rsa = RsaKeys {
        folder: testdata().join("keys"),
    };
    // Two keys for the chain, one that signed nothing in it: RSA keys come from files.
    let [one, two, foreign] = ["2048-a", "2048-b", "2048-c"].map(|name| rsa.load(name).unwrap());
    let from_files = |label: &str| match label {
        "stranger" => foreign.clone(),
        label if label.len() % 2 == 0 => one.clone(),
        _ => two.clone(),
    };
    println!(
        "the worst chain within the limits against the longest honest path, least of {ROUNDS}"
    );
    compare("P-256", &|label| Key::p256(label));
    compare("P-384", &|label| Key::p384(label));
    compare("RSA-2048", &from_files);
}
