//! Parts of the filter, natively and in the V8 of a real Envoy, in turns:
//! `cargo bench -p mtls-gate --bench wasm -- [decode] [signatures]`.
//!
//! One request makes a filter do the work many times. What a request without any work takes is
//! subtracted.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions
)]

use std::error::Error;
use std::hint::black_box;
use std::path::Path;
use std::thread;
use std::time::Duration;

use mtls_gate::fixtures::keys::{Key, RsaKeys};
use mtls_gate::goldens::{self, testdata};
use mtls_gate::measure::Series;
use mtls_gate::testbed::client::{self, ClientOptions, Connection};
use mtls_gate::testbed::echo::Echo;
use mtls_gate::testbed::envoy::{
    Chain, Envoy, EnvoyConfig, FilterDocument, Listener, ServerCertificate, WasmFilter, bootstrap,
};
use mtls_gate::testbed::forwarded::forms;
use mtls_gate_bench_kernels::{How, Prepared, ROUNDS, WORK, Work};
use rustls_pki_types::alg_id;
use serde_json::{Value, json};

#[path = "support/process.rs"]
mod process;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// End entity, two intermediates, all of P-256.
const CHAIN: &str = "eku_upper_intermediate_without";
const NAME: &str = "bench.test";
/// How long the work of one sample takes at least, if it may be done more than once.
const SAMPLE: Duration = Duration::from_millis(10);
/// Only when a thread sleeps the kernel has counted all of its time.
const SLEEP: Duration = Duration::from_micros(300);

struct Effort {
    samples: usize,
    most_rounds: u32,
}

impl Effort {
    /// `cargo bench` says so; as a test, once is enough.
    fn from_args() -> Self {
        if std::env::args().any(|argument| argument == "--bench") {
            Self {
                samples: 61,
                most_rounds: 500,
            }
        } else {
            Self {
                samples: 1,
                most_rounds: 1,
            }
        }
    }
}

/// Something that is done natively and in wasm.
struct Case {
    /// What it belongs to: a form of the header, an algorithm.
    name: &'static str,
    /// What of it: decoding, or how a signature is verified.
    what: What,
    document: Value,
    /// What one round answers.
    expected: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    Decode,
    Verify(How),
}

/// A chain in every form.
fn decode() -> Vec<Case> {
    let golden = goldens::named(CHAIN).unwrap();
    let chain = golden.chain();
    let forms = forms(&chain).into_iter().map(|form| Case {
        name: form.name,
        what: What::Decode,
        document: json!({ "source": form.source, "lines": form.lines }),
        expected: chain.len(),
    });
    forms.collect()
}

/// A signature of each algorithm, verified in each way there is.
fn signatures() -> Vec<Case> {
    let rsa = RsaKeys {
        folder: testdata().join("keys"),
    };
    let rsa = |name, file| {
        let key = rsa.load(file).unwrap();
        (name, key, alg_id::RSA_ENCRYPTION, alg_id::RSA_PKCS1_SHA256)
    };
    let (p256, p384) = (Key::p256("bench"), Key::p384("bench"));
    let algorithms = [
        ("P-256", p256, alg_id::ECDSA_P256, alg_id::ECDSA_SHA256),
        ("P-384", p384, alg_id::ECDSA_P384, alg_id::ECDSA_SHA384),
        rsa("RSA-2048", "2048-a"),
        rsa("RSA-3072", "3072-a"),
        rsa("RSA-4096", "4096-a"),
        (
            "Ed25519",
            Key::ed25519("bench"),
            alg_id::ED25519,
            alg_id::ED25519,
        ),
    ];
    // As long as what is signed of a certificate.
    let message = [0x5a; 600];
    let mut cases = Vec::new();
    for (name, key, key_algorithm, algorithm) in algorithms {
        let all: &[How] = match key {
            // No table would help: it has its own, and is quick.
            Key::Ed25519(_) => &[How::Plain],
            _ => &[How::Plain, How::Parsed, How::Prepared, How::Prepare],
        };
        let signature = key.sign(key.usual_signature(), &message);
        for how in all {
            cases.push(Case {
                name,
                what: What::Verify(*how),
                document: json!({
                    "how": how,
                    "key_algorithm": key_algorithm.as_ref(),
                    "key_bits": key.public_bytes(),
                    "algorithm": algorithm.as_ref(),
                    "message": message.as_slice(),
                    "signature": signature,
                }),
                expected: 1,
            });
        }
    }
    cases
}

/// A filter that does the work, and a connection to it.
struct InEnvoy {
    pid: u32,
    connection: Connection,
    _envoy: Envoy,
    _echo: Echo,
}

impl InEnvoy {
    fn start(documents: Value) -> Result<Self> {
        let file =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/mtls_gate_bench_kernels.wasm");
        let certificate = ServerCertificate::self_signed(&[NAME])?;
        let filter = WasmFilter::new(&file, FilterDocument::JsonText(documents));
        let listener = Listener {
            name: "bench".to_owned(),
            chains: vec![Chain::new(&[NAME], &certificate).filter(filter)],
        };
        let echo = Echo::start()?;
        let config = EnvoyConfig::new(bootstrap(&[listener], echo.address(), false));
        let envoy = Envoy::start(&config)?;
        let port = envoy.port("bench")?;
        Ok(Self {
            pid: envoy.pid().ok_or("Envoy has no process id")?,
            connection: client::connect(port, NAME, None, &ClientOptions::default())?,
            _envoy: envoy,
            _echo: echo,
        })
    }

    /// The CPU time that Envoy takes for these rounds, the request included.
    fn run(&mut self, work: usize, rounds: u32, expected: usize) -> Result<Duration> {
        let lines = [format!("{WORK}: {work}"), format!("{ROUNDS}: {rounds}")];
        let before = process::cpu_time(self.pid)?;
        let lines = lines.each_ref().map(String::as_str);
        let outcome = self.connection.get(NAME, "/", &lines)?;
        let response = outcome.response().ok_or("no response")?;
        let done = (response.status, response.text());
        assert_eq!(done, (200, (rounds as usize * expected).to_string()));
        thread::sleep(SLEEP);
        Ok(process::cpu_time(self.pid)? - before)
    }
}

fn natively(work: &Prepared, rounds: u32, expected: usize) -> Result<Duration> {
    thread::sleep(SLEEP);
    let before = process::cpu_time(std::process::id())?;
    let done: usize = (0..rounds).map(|_| black_box(work).run()).sum();
    assert_eq!(done, rounds as usize * expected);
    thread::sleep(SLEEP);
    Ok(process::cpu_time(std::process::id())? - before)
}

/// As many rounds as make a sample, if one takes this long.
fn rounds(one: Duration, effort: &Effort) -> u32 {
    let rounds = SAMPLE.as_secs_f64() / one.as_secs_f64().max(1e-6);
    (rounds.ceil() as u32).clamp(1, effort.most_rounds)
}

/// Three digits are more than the spread allows.
fn show(samples: &Series) -> String {
    let median = samples.median();
    samples.show(if median < 10.0 {
        2
    } else {
        usize::from(median < 100.0)
    })
}

/// What one round takes, in microseconds.
struct Times {
    native: Series,
    wasm: Series,
}

fn measure(cases: &[Case], effort: &Effort) -> Result<Vec<Times>> {
    let documents: Vec<&Value> = cases.iter().map(|case| &case.document).collect();
    let works: Vec<Work> = serde_json::from_value(json!(documents))?;
    let works: Option<Vec<Prepared>> = works.into_iter().map(Work::prepare).collect();
    let works = works.ok_or("a work cannot be prepared")?;
    let mut envoy = InEnvoy::start(json!(documents))?;
    // What is made once is made, and how long one round takes is known then.
    let mut counts = Vec::new();
    for (index, (case, work)) in cases.iter().zip(&works).enumerate() {
        natively(work, 1, case.expected)?;
        envoy.run(index, 1, case.expected)?;
        let native = natively(work, 1, case.expected)?;
        let wasm = envoy.run(index, 1, case.expected)?;
        counts.push([native, wasm].map(|one| rounds(one, effort)));
    }
    let mut times: Vec<Times> = cases
        .iter()
        .map(|_| Times {
            native: Series::default(),
            wasm: Series::default(),
        })
        .collect();
    // In turns: the machine's moods hit all alike.
    for _ in 0..effort.samples {
        let idle = envoy.run(0, 0, 0)?.as_secs_f64();
        for (index, ((case, work), times)) in cases.iter().zip(&works).zip(&mut times).enumerate() {
            let [native, wasm] = counts[index];
            let time = natively(work, native, case.expected)?.as_secs_f64();
            times.native.push(time * 1e6 / f64::from(native));
            let time = envoy.run(index, wasm, case.expected)?.as_secs_f64() - idle;
            times.wasm.push(time * 1e6 / f64::from(wasm));
        }
    }
    Ok(times)
}

fn show_decode(cases: &[Case], times: &[Times]) {
    println!("three certificates decoded and parsed, µs; wasm over native");
    for (case, times) in cases.iter().zip(times) {
        if case.what == What::Decode {
            let [native, wasm] = [&times.native, &times.wasm].map(show);
            let ratio = show(&times.wasm.over(&times.native));
            println!(
                "{:<21} native {native:<20} wasm {wasm:<20} ratio {ratio}",
                case.name
            );
        }
    }
}

/// With the goal, which is of wasm: a prepared key takes at most 0.40 of what the crate takes.
fn show_signatures(cases: &[Case], times: &[Times]) {
    println!(
        "a signature, µs; `paid after`: signatures until preparing a key has cost less than it saved"
    );
    for (index, case) in cases.iter().enumerate() {
        if case.what != What::Verify(How::Plain) {
            continue;
        }
        for (place, of) in [
            ("native", (|times| &times.native) as fn(&Times) -> &Series),
            ("wasm", |times| &times.wasm),
        ] {
            let way = |how| {
                let same =
                    |other: &Case| other.name == case.name && other.what == What::Verify(how);
                let at = cases.iter().position(same)?;
                Some(of(&times[at]))
            };
            let plain = of(&times[index]);
            println!(
                "{:<9} {place:<7} plain           {}",
                case.name,
                show(plain)
            );
            let (Some(parsed), Some(prepared), Some(prepare)) =
                (way(How::Parsed), way(How::Prepared), way(How::Prepare))
            else {
                continue;
            };
            let saved = plain.minus(prepared);
            for (what, samples) in [
                ("parsed", parsed),
                ("prepared", prepared),
                ("prepared/plain", &prepared.over(plain)),
                ("prepared/parsed", &prepared.over(parsed)),
                ("prepare", prepare),
                ("paid after", &prepare.over(&saved)),
            ] {
                println!("{:<9} {place:<7} {what:<15} {}", case.name, show(samples));
            }
        }
    }
}

fn main() -> Result<()> {
    let effort = Effort::from_args();
    let wanted = |subject: &str| {
        let subjects = ["decode", "signatures"];
        let mut named = std::env::args().filter(|one| subjects.contains(&one.as_str()));
        let all = named.next().is_none();
        all || std::env::args().any(|argument| argument == subject)
    };
    let mut cases = Vec::new();
    if wanted("decode") {
        cases.extend(decode());
    }
    if wanted("signatures") {
        cases.extend(signatures());
    }
    let times = measure(&cases, &effort)?;
    if effort.samples == 1 {
        return Ok(());
    }
    println!("median and middle half of {} samples", effort.samples);
    if wanted("decode") {
        show_decode(&cases, &times);
    }
    if wanted("signatures") {
        show_signatures(&cases, &times);
    }
    Ok(())
}
