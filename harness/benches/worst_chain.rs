//! Searches for the chain that costs most within the limits, and compares it with the longest
//! honest path of the same algorithm: `cargo bench -p mtls-gate --bench worst_chain`. The chains are in
//! `shared/mazes.rs`.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions
)]

use std::time::{Duration, Instant};

use mtls_gate::fixtures::keys::{Key, RsaKeys};
use mtls_gate::goldens::testdata;
use mtls_gate_core::path::{self, Policy, Profile};
use mtls_gate_core::trust::TrustStore;
use mtls_gate_core::x509::{Certificate, KeyPurpose, UnixSeconds};
use mtls_gate_rustcrypto::ALGORITHMS;

use mazes::Chain;

#[path = "shared/mazes.rs"]
mod mazes;

/// 2026-11-21T12:00:00Z
const TIME: UnixSeconds = UnixSeconds(1_795_262_400);
const ROUNDS: usize = 40;

/// Parsing included, as for every request; the anchor is parsed when configured.
fn judge(chain: &Chain, store: &TrustStore) -> bool {
    let end_entity = Certificate::parse(chain.end_entity.clone()).unwrap();
    let parse = |der: &Vec<u8>| Certificate::parse(der.clone()).unwrap();
    let presented: Vec<Certificate> = chain.presented.iter().map(parse).collect();
    let policy = Policy::new(Profile::Google, Some(KeyPurpose::ClientAuth));
    path::build(&end_entity, &presented, store, &policy, ALGORITHMS, TIME).is_ok()
}

fn store(chain: &Chain) -> TrustStore {
    TrustStore::new(
        vec![Certificate::parse(chain.anchor.clone()).unwrap()],
        vec![],
    )
}

/// What it costs when nothing else runs; other work on the machine only adds.
fn least(times: Vec<Duration>) -> Duration {
    times.into_iter().min().unwrap()
}

fn compare(algorithm: &str, key: &dyn Fn(&str) -> Key) -> f64 {
    let mut chains = vec![mazes::honest(key)];
    chains.extend(mazes::all().iter().map(|maze| maze.chain(key, 0)));
    let stores: Vec<TrustStore> = chains.iter().map(store).collect();
    let mut times = vec![Vec::new(); chains.len()];
    // Interleaved: the machine's moods hit all alike.
    for round in 0..=ROUNDS {
        for (index, (chain, store)) in chains.iter().zip(&stores).enumerate() {
            let start = Instant::now();
            let verified = judge(chain, store);
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
