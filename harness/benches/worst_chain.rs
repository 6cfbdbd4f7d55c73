//! Searches for the chain that costs most within the limits, and compares it with the longest
//! honest path of the same algorithm: `cargo bench -p mtls-gate --bench worst_chain`.
//!
//! The attacker holds certificates that the anchor really signed and arranges up to 10 of them in
//! layers of equal names, so that every layer can be entered from every certificate of the one
//! above; nothing but signatures tells which links hold. Some links hold, the end entity's does not.
//! Its names are as many as the budget of comparisons allows. Where keys are made ready for those who
//! come again, the attacker has been there before, with other certificates of the same keys.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

use mtls_gate::fixtures::der;
use mtls_gate::fixtures::keys::{Key, RsaKeys};
use mtls_gate::fixtures::mint::{Cert, Issued, dns};
use mtls_gate::goldens::testdata;
use mtls_gate::measure::{Bound, Cases, Options, Report, Section, Series, Stopwatch};
use mtls_gate_core::config::Config;
use mtls_gate_core::forwarded::Presented;
use mtls_gate_core::path::Backend;
use mtls_gate_core::pipeline::Pipeline;
use openssl::rsa::Rsa;
use serde_json::json;

use support::{TIME, borrowed, config};

mod support;

const PRESENTED: usize = 10;
/// Of all chains, to find the worst.
const SCREENING_ROUNDS: u32 = 5;
/// Of those.
const ROUNDS: u32 = 60;
const WORST: usize = 4;
/// How often the attacker has been there before; a key is worth being made ready once it was used
/// three times.
const BEFORE: [usize; 3] = [0, 1, 3];
const HONEST: &str = "longest honest path";

/// Who verifies, and what is remembered when a search begins.
struct Engine {
    name: &'static str,
    backend: Backend,
    remembers: bool,
}

struct Chain {
    label: String,
    is_honest: bool,
    /// What is presented at each visit.
    visits: Vec<Vec<Vec<u8>>>,
    anchor: Vec<u8>,
}

impl Chain {
    fn judge(&self, pipeline: &Pipeline, visit: usize) {
        let presented = borrowed(&self.visits[visit]);
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

/// The keys of one algorithm, by number: the presented certificates', then these.
type Keys<'k> = &'k dyn Fn(usize) -> Key;
const ANCHOR: usize = PRESENTED;
const CLIENT: usize = ANCHOR + 1;
const STRANGER: usize = CLIENT + 1;
const KEYS: usize = STRANGER + 1;

/// Depth 10: anchor, eight intermediates, end entity; every link verified once.
fn honest(key: Keys<'_>) -> Chain {
    let anchor = Cert::ca("anchor").key(key(ANCHOR)).self_signed();
    let mut chain = Vec::new();
    let mut issuer = anchor.clone();
    for level in 0..8 {
        issuer = Cert::ca(&format!("honest {level}"))
            .key(key(level))
            .by(&issuer);
        chain.push(issuer.der.clone());
    }
    let end_entity = Cert::client("honest").key(key(CLIENT)).by(&issuer);
    chain.insert(0, end_entity.der);
    Chain {
        label: HONEST.to_owned(),
        is_honest: true,
        visits: vec![chain],
        anchor: anchor.der,
    }
}

fn name(layer: usize) -> Vec<u8> {
    der::name(&[("CN", &format!("layer {layer}"))])
}

/// `layers[i]` certificates of one name each; whether the links between layers hold is `hold`.
/// `names`: how many the end entity has, each under 10 constraints of every CA.
fn maze(key: Keys<'_>, layers: &[usize], hold: bool, names: usize) -> Chain {
    let anchor = Cert::ca("anchor").key(key(ANCHOR)).self_signed();
    let links = if hold { "hold" } else { "do not hold" };
    let visit = |visit| present(key, &anchor, layers, hold, names, visit);
    Chain {
        label: format!("layers {layers:?}, links {links}, {names} names"),
        is_honest: false,
        visits: (0..=BEFORE[2]).map(visit).collect(),
        anchor: anchor.der.clone(),
    }
}

fn present(
    key: Keys<'_>,
    anchor: &Issued,
    layers: &[usize],
    hold: bool,
    names: usize,
    visit: usize,
) -> Vec<Vec<u8>> {
    let stranger = Cert::ca("stranger").key(key(STRANGER)).self_signed();
    let mut presented = Vec::new();
    let mut above: Vec<Issued> = vec![anchor.clone()];
    for (depth, count) in layers.iter().enumerate() {
        let mut layer = Vec::new();
        for number in 0..*count {
            let cert = Cert::ca(&format!("maze {depth} {number} {visit}"))
                .key(key(presented.len() + number))
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
        presented.extend(layer.iter().map(|one| one.der.clone()));
        above = layer;
    }
    let sans = (0..names.max(1)).map(|one| dns(&format!("h{one}.d9.test")));
    let end_entity = Cert::client(&format!("maze {visit}"))
        .sans(sans.collect())
        .key(key(CLIENT))
        .without_key_identifiers()
        .issuer(name(layers.len() - 1))
        .by(&stranger);
    presented.insert(0, end_entity.der);
    presented
}

fn mazes(key: Keys<'_>, options: &Options) -> Vec<Chain> {
    let shapes: [&[usize]; 8] = [
        &[5, 5],
        &[10],
        &[4, 3, 3],
        &[3, 3, 2, 2],
        &[2, 2, 2, 2, 2],
        &[1, 9],
        &[9, 1],
        &[1, 1, 1, 1, 1, 1, 1, 3],
    ];
    let mut mazes = Vec::new();
    for shape in &shapes[..options.effort(shapes.len(), 1)] {
        assert!(shape.iter().sum::<usize>() <= PRESENTED);
        for names in [0, 100] {
            mazes.push(maze(key, shape, true, names));
            mazes.push(maze(key, shape, false, names));
        }
    }
    mazes
}

/// A chain, and how often its holder has been there before.
type Visit<'c> = (&'c Chain, usize);

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

fn compare(title: &str, engine: &Engine, chains: &[Chain], options: &Options, report: &mut Report) {
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
    let honest = section.of(HONEST).unwrap();
    let ratios = visits[1..]
        .iter()
        .map(|visit| section.of(&label(*visit)).unwrap().over(honest));
    let worst = ratios.max_by(|one: &Series, other| one.median().total_cmp(&other.median()));
    let what = format!("{title}: worst chain over the longest honest path");
    report.figure(what, worst.unwrap(), Bound::AtMost(1.5));
    report.table(section.table(0, &[HONEST]).unwrap());
    report.section(section);
}

/// There are not so many RSA keys in files; as a test, the same ones again will do.
fn rsa_keys(options: &Options) -> Vec<Key> {
    if options.test {
        let rsa = RsaKeys {
            folder: testdata().join("keys"),
        };
        let [one, other, strange] =
            ["2048-a", "2048-b", "2048-c"].map(|name| rsa.load(name).unwrap());
        let key = |number| match number {
            STRANGER => strange.clone(),
            number if number % 2 == 0 => one.clone(),
            _ => other.clone(),
        };
        return (0..KEYS).map(key).collect();
    }
    let folder = tempfile::tempdir().unwrap();
    let generate = |number: usize| {
        let key = openssl::pkey::PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
        let pem = key.private_key_to_pem_pkcs8().unwrap();
        let file = folder.path().join(format!("rsa-{number}.pem"));
        std::fs::write(file, pem).unwrap();
        let rsa = RsaKeys {
            folder: folder.path().to_owned(),
        };
        rsa.load(&number.to_string()).unwrap()
    };
    (0..KEYS).map(generate).collect()
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
    let rsa = rsa_keys(&options);
    let algorithms: [(&str, Keys<'_>); 3] = [
        ("P-256", &|number| Key::p256(&format!("key {number}"))),
        ("RSA-2048", &|number| rsa[number].clone()),
        ("P-384", &|number| Key::p384(&format!("key {number}"))),
    ];
    for (algorithm, key) in algorithms {
        let mut chains = vec![honest(key)];
        chains.extend(mazes(key, &options));
        for engine in &engines {
            let title = format!("{algorithm}, {}", engine.name);
            if options.wants(&title) {
                compare(&title, engine, &chains, &options, &mut report);
            }
        }
    }
    report.print(&options);
}
