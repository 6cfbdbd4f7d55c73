//! The same work natively and in the V8 of a real Envoy, in turn:
//! `cargo bench -p mtls-gate --bench forwarded_header_wasm`.
//!
//! One request makes the filter do it many times, and is timed from outside, by the clock. What a
//! request without any work takes is subtracted.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

use std::cell::RefCell;
use std::path::Path;
use std::time::{Duration, Instant};

use mtls_gate::goldens;
use mtls_gate::measure::{Cases, Options, Report, table};
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
const WARM_UP: u32 = 5;
/// The work in one turn.
const WORK_ROUNDS: u32 = 50;
const TURNS: u32 = 200;

const NATIVE: &str = "native";
const IDLE: &str = "a request without work";
const BUSY: &str = "a request with work in wasm";

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

fn main() {
    let options = Options::from_args();
    let rounds = options.effort(WORK_ROUNDS, 1);
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
    let options_of_client = ClientOptions::default();
    let connection = RefCell::new(client::connect(port, NAME, None, &options_of_client).unwrap());

    let mut report = Report::default();
    let mut rows = Vec::new();
    for (index, (form, work)) in forms.iter().zip(&works).enumerate() {
        if !options.wants(form.name) {
            continue;
        }
        let ask = |rounds| {
            let mut connection = connection.borrow_mut();
            in_envoy(&mut connection, index, rounds, chain.len())
        };
        for _ in 0..options.effort(WARM_UP, 0) {
            ask(rounds);
        }
        let mut cases = Cases::default();
        cases.add_timed([(form.name, NATIVE)], || {
            [natively(work, rounds, chain.len()) / rounds]
        });
        cases.add_timed([(form.name, IDLE)], || [ask(0) / rounds]);
        cases.add_timed([(form.name, BUSY)], || [ask(rounds) / rounds]);
        let section = cases.measure(&options, TURNS).swap_remove(0);
        let [native, idle, busy] = [NATIVE, IDLE, BUSY].map(|name| section.of(name).unwrap());
        let wasm = busy.with(idle, |busy, idle| busy - idle);
        rows.push(vec![
            form.name.to_owned(),
            native.show(1),
            wasm.show(1),
            wasm.over(native).show(2),
        ]);
        report.section(section);
    }
    let titles = [
        "3 certificates, µs",
        "native",
        "wasm in Envoy",
        "over native",
    ];
    report.table(table(titles.map(str::to_owned).into(), rows.into_iter()));
    report.print(&options);
}
