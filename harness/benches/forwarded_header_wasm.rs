//! The same work natively and in the V8 of a real Envoy, in turn:
//! `cargo bench -p mtls-gate --bench forwarded_header_wasm`.
//!
//! One request makes the filter do it many times, and is timed from outside. What a request without
//! any work takes is subtracted.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

use std::path::Path;
use std::time::{Duration, Instant};

use mtls_gate::goldens;
use mtls_gate::testbed::client::{self, ClientOptions, Connection};
use mtls_gate::testbed::echo::Echo;
use mtls_gate::testbed::envoy::{
    Chain, Envoy, EnvoyConfig, FilterDocument, Listener, ServerCertificate, WasmFilter, bootstrap,
};
use mtls_gate::testbed::forwarded::forms;
use mtls_gate_bench_decoder::{Prepared, ROUNDS, WORK, Work};
use serde_json::{Value, json};

const CHAIN: &str = "eku_upper_intermediate_without";
const NAME: &str = "bench.test";
/// V8 compiles what runs often once more.
const WARM_UP: usize = 5;

/// As many of each as are timed; the work in one sample.
struct Effort {
    samples: usize,
    rounds: u32,
}

impl Effort {
    /// `cargo bench` says so; as a test, once is enough.
    fn from_args() -> Self {
        if std::env::args().any(|argument| argument == "--bench") {
            Self {
                samples: 201,
                rounds: 50,
            }
        } else {
            Self {
                samples: 1,
                rounds: 1,
            }
        }
    }
}

/// How long the filter takes for these rounds, the request included.
fn in_envoy(
    connection: &mut Connection,
    work: usize,
    rounds: u32,
    certificates: usize,
) -> Duration {
    let lines = [format!("{WORK}: {work}"), format!("{ROUNDS}: {rounds}")];
    let lines = lines.each_ref().map(String::as_str);
    let start = Instant::now();
    let outcome = connection.get(NAME, "/", &lines).unwrap();
    let time = start.elapsed();
    let response = outcome.response().unwrap();
    let expected = usize::try_from(rounds).unwrap() * certificates;
    assert_eq!(
        (response.status, response.text()),
        (200, expected.to_string())
    );
    time
}

fn natively(work: &Prepared, rounds: u32, certificates: usize) -> Duration {
    let start = Instant::now();
    let parsed: usize = (0..rounds).map(|_| std::hint::black_box(work).run()).sum();
    let time = start.elapsed();
    assert_eq!(parsed, usize::try_from(rounds).unwrap() * certificates);
    time
}

/// Samples in order, with what is told of them.
struct Samples(Vec<f64>);

impl Samples {
    fn new(samples: impl Iterator<Item = f64>) -> Self {
        let mut samples: Vec<f64> = samples.collect();
        samples.sort_by(f64::total_cmp);
        Self(samples)
    }

    fn quarter(&self, quarters: usize) -> f64 {
        self.0[(self.0.len() - 1) * quarters / 4]
    }

    fn median(&self) -> f64 {
        self.quarter(2)
    }

    /// The median, and the middle half of all.
    fn middle(&self) -> String {
        let [from, median, to] = [1, 2, 3].map(|quarters| self.quarter(quarters));
        format!("{median:.2} ({from:.2} to {to:.2})")
    }
}

fn main() {
    let effort = Effort::from_args();
    let golden = goldens::named(CHAIN).unwrap();
    let chain = golden.chain();
    let forms = forms(&chain);
    let documents: Vec<Value> = forms
        .iter()
        .map(|form| json!({ "source": form.source, "lines": form.lines }))
        .collect();
    let works: Vec<Work> = serde_json::from_value(json!(documents)).unwrap();
    let works: Vec<Prepared> = works
        .into_iter()
        .map(|work| work.prepare().unwrap())
        .collect();

    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/mtls_gate_bench_decoder.wasm");
    let certificate = ServerCertificate::self_signed(&[NAME]).unwrap();
    let document = FilterDocument::JsonText(json!(documents));
    let filter = WasmFilter::new(&file, document);
    let listener = Listener {
        name: "bench".to_owned(),
        chains: vec![Chain::new(&[NAME], &certificate).filter(filter)],
    };
    let echo = Echo::start().unwrap();
    let config = EnvoyConfig::new(bootstrap(&[listener], echo.address(), false));
    let envoy = Envoy::start(&config).unwrap();
    let port = envoy.port("bench").unwrap();
    let options = ClientOptions::default();
    let mut connection = client::connect(port, NAME, None, &options).unwrap();

    println!(
        "{} certificates decoded and parsed, µs: median and middle half of {}",
        chain.len(),
        effort.samples
    );
    for (index, (form, work)) in forms.iter().zip(&works).enumerate() {
        for _ in 0..WARM_UP.min(effort.samples) {
            in_envoy(&mut connection, index, effort.rounds, chain.len());
        }
        let [mut native, mut idle, mut busy] = [const { Vec::new() }; 3];
        // In turn: the machine's moods hit all alike.
        for _ in 0..effort.samples {
            native.push(natively(work, effort.rounds, chain.len()));
            idle.push(in_envoy(&mut connection, index, 0, chain.len()));
            busy.push(in_envoy(&mut connection, index, effort.rounds, chain.len()));
        }
        if effort.samples == 1 {
            continue;
        }
        let idle = Samples::new(idle.iter().map(Duration::as_secs_f64)).median();
        let each = |time: f64| time / f64::from(effort.rounds);
        let native: Vec<f64> = native.iter().map(|time| each(time.as_secs_f64())).collect();
        let wasm: Vec<f64> = busy
            .iter()
            .map(|time| each(time.as_secs_f64() - idle))
            .collect();
        let ratio = wasm.iter().zip(&native).map(|(wasm, native)| wasm / native);
        let ratio = Samples::new(ratio);
        let [native, wasm] =
            [native, wasm].map(|times| Samples::new(times.iter().map(|time| time * 1e6)));
        println!(
            "{:<21} native {}   wasm {}   ratio {}",
            form.name,
            native.middle(),
            wasm.middle(),
            ratio.middle()
        );
    }
}
