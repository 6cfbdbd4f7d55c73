//! Searches for the chain that costs most within the limits, and compares it with the longest
//! honest path of the same algorithm: `cargo bench -p mtls-gate --bench worst_chain`.
//!
//! The chains are in `support/mazes.rs`. Where keys are made ready for those who come again, the attacker
//! has been there before, with other certificates of the same keys.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

use std::cell::RefCell;
use std::collections::BTreeMap;

use mtls_gate::fixtures::keys::{Key, RsaKeys};
use mtls_gate::goldens::testdata;
use mtls_gate::measure::{Bound, Cases, Options, Report, Section, Series, Stopwatch};
use mtls_gate_core::config::Config;
use mtls_gate_core::forwarded::Presented;
use mtls_gate_core::path::Backend;
use mtls_gate_core::pipeline::Pipeline;
use openssl::rsa::Rsa;
use serde_json::json;

use support::{TIME, borrowed, config};

#[path = "support/mazes.rs"]
mod mazes;
mod support;

/// Of all chains, to find the worst.
const SCREENING_ROUNDS: u32 = 5;
/// Of those.
const ROUNDS: u32 = 60;
const WORST: usize = 4;
/// How often the attacker has been there before; a key is worth being made ready once it was used
/// three times.
const BEFORE: [usize; 3] = [0, 1, 3];

/// Who verifies, and what is remembered when a search begins.
struct Engine {
    name: &'static str,
    backend: Backend,
    remembers: bool,
}

/// One arrangement, as it is presented at each visit.
struct Visits {
    label: String,
    is_honest: bool,
    presented: Vec<Vec<Vec<u8>>>,
    anchor: Vec<u8>,
}

impl Visits {
    fn new(chains: Vec<mazes::Chain>, is_honest: bool) -> Self {
        Self {
            label: chains[0].label.clone(),
            anchor: chains[0].anchor.clone(),
            is_honest,
            presented: chains.into_iter().map(presented).collect(),
        }
    }

    fn judge(&self, pipeline: &Pipeline, visit: usize) {
        let presented = borrowed(&self.presented[visit]);
        let judged = pipeline.judge(&Presented::Tls(&presented), Some(TIME));
        assert_eq!(judged.is_verified(), self.is_honest, "{}", self.label);
        let of_the_search = [
            "client_cert_validation_failed",
            "client_cert_validation_search_limit_exceeded",
        ];
        let error = judged.report.error.as_str();
        assert!(
            self.is_honest || of_the_search.contains(&error),
            "{}: {error}",
            self.label
        );
    }
}

fn presented(chain: mazes::Chain) -> Vec<Vec<u8>> {
    let mut presented = chain.presented;
    presented.insert(0, chain.end_entity);
    presented
}

/// The keys of one algorithm, by what they are for.
type Keys<'k> = &'k dyn Fn(&str) -> Key;

/// The honest one first.
fn arrangements(key: Keys<'_>, options: &Options) -> Vec<Visits> {
    let all = mazes::all();
    let some = &all[..options.effort(all.len(), 4)];
    let maze = |maze: &mazes::Maze| {
        let editions = 0..=BEFORE[2];
        Visits::new(
            editions.map(|edition| maze.chain(key, edition)).collect(),
            false,
        )
    };
    let honest = Visits::new(vec![mazes::honest(key)], true);
    core::iter::once(honest)
        .chain(some.iter().map(maze))
        .collect()
}

/// A chain, and how often its holder has been there before.
type Visit<'c> = (&'c Visits, usize);

fn label((chain, before): Visit<'_>) -> String {
    match before {
        0 => chain.label.clone(),
        _ => format!("{}, after {before} visits", chain.label),
    }
}

fn measure(
    title: &str,
    engine: &Engine,
    visits: &[Visit<'_>],
    options: &Options,
    rounds: u32,
) -> Section {
    let limits = match engine.remembers {
        true => json!({}),
        false => json!({ "cacheBytes": 0 }),
    };
    let mut cases = Cases::default();
    for (chain, before) in visits {
        let config: Config = config(std::slice::from_ref(&chain.anchor), limits.clone());
        cases.add_timed([(title, &label((chain, *before)))], move || {
            let pipeline = Pipeline::new(config.clone(), engine.backend);
            (0..*before).for_each(|visit| chain.judge(&pipeline, visit));
            let since = Stopwatch::start();
            chain.judge(&pipeline, *before);
            [since.elapsed()]
        });
    }
    cases.measure(options, rounds).swap_remove(0)
}

fn compare(
    title: &str,
    engine: &Engine,
    chains: &[Visits],
    options: &Options,
    report: &mut Report,
) {
    let before = &BEFORE[..if engine.remembers { 3 } else { 1 }];
    let mut visits: Vec<Visit<'_>> = vec![(&chains[0], 0)];
    for chain in &chains[1..] {
        visits.extend(before.iter().map(|before| (chain, *before)));
    }
    if !options.test {
        let all = measure(title, engine, &visits, options, SCREENING_ROUNDS);
        let cost = |visit: &Visit<'_>| all.of(&label(*visit)).unwrap().least();
        visits[1..].sort_by(|one, other| cost(other).total_cmp(&cost(one)));
        visits.truncate(1 + WORST);
    }
    let section = measure(title, engine, &visits, options, ROUNDS);
    let honest = section.of(&chains[0].label).unwrap();
    let ratios = visits[1..]
        .iter()
        .map(|visit| section.of(&label(*visit)).unwrap().over(honest));
    let worst = ratios.max_by(|one: &Series, other| one.median().total_cmp(&other.median()));
    let what = format!("{title}: worst chain over the longest honest path");
    report.figure(what, worst.unwrap(), Bound::AtMost(1.5));
    report.table(section.table(0, &[&chains[0].label]).unwrap());
    report.section(section);
}

/// A key for each name, made when it is first asked for. As a test those in files will do.
struct RsaKeyRing {
    folder: tempfile::TempDir,
    made: RefCell<BTreeMap<String, Key>>,
    test: bool,
}

impl RsaKeyRing {
    fn key(&self, name: &str) -> Key {
        if self.test {
            let folder = testdata().join("keys");
            let file = match name {
                "stranger" => "2048-c",
                name if name.len() % 2 == 0 => "2048-a",
                _ => "2048-b",
            };
            return RsaKeys { folder }.load(file).unwrap();
        }
        let mut made = self.made.borrow_mut();
        let generate = || {
            let key = openssl::pkey::PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
            let folder = self.folder.path().to_owned();
            std::fs::write(
                folder.join("rsa-new.pem"),
                key.private_key_to_pem_pkcs8().unwrap(),
            )
            .unwrap();
            RsaKeys { folder }.load("new").unwrap()
        };
        made.entry(name.to_owned()).or_insert_with(generate).clone()
    }
}

fn main() {
    let options = Options::from_args();
    let mut report = Report::default();
    let engines = [
        Engine {
            name: "RustCrypto, nothing remembered",
            backend: mtls_gate_rustcrypto::ALGORITHMS.into(),
            remembers: false,
        },
        Engine {
            name: "RustCrypto with prepared keys",
            backend: mtls_gate_rustcrypto::BACKEND,
            remembers: true,
        },
        Engine {
            name: "ring",
            backend: mtls_gate_rustls::ALGORITHMS.into(),
            remembers: true,
        },
    ];
    let rsa = RsaKeyRing {
        folder: tempfile::tempdir().unwrap(),
        made: RefCell::default(),
        test: options.test,
    };
    let algorithms: [(&str, Keys<'_>); 3] = [
        ("P-256", &|name| Key::p256(name)),
        ("RSA-2048", &|name| rsa.key(name)),
        ("P-384", &|name| Key::p384(name)),
    ];
    for (algorithm, key) in algorithms {
        let chains = arrangements(key, &options);
        for engine in &engines {
            let title = format!("{algorithm}, {}", engine.name);
            if options.wants(&title) {
                compare(&title, engine, &chains, &options, &mut report);
            }
        }
    }
    report.print(&options);
}
