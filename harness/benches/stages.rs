//! Each stage of the native pipeline by itself, and all of it: `cargo bench -p mtls-gate --bench stages`.
//!
//! Signatures are verified with ring where nothing else is said.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use std::hint::black_box;
use std::time::Duration;

use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use criterion::{BenchmarkGroup, Criterion, Throughput};
use mtls_gate::fixtures::keys::Key;
use mtls_gate::fixtures::mint::Cert;
use mtls_gate::goldens::{self, header_of};
use mtls_gate::measure::Stopwatch;
use mtls_gate::testbed::forwarded::{forms, xfcc};
use mtls_gate_bench_kernels::Work;
use mtls_gate_core::authz::Request;
use mtls_gate_core::client_cert::ClientCert;
use mtls_gate_core::config::Config;
use mtls_gate_core::forwarded::{ForwardedChain, Presented};
use mtls_gate_core::limits::RequestLimits;
use mtls_gate_core::path::{self, Backend, Policy, Profile};
use mtls_gate_core::pipeline::Pipeline;
use mtls_gate_core::template::Template;
use mtls_gate_core::variables::{Variable, Variables};
use mtls_gate_core::x509::{Certificate, KeyPurpose};
use mtls_gate_rustls::ALGORITHMS;
use serde_json::json;

use support::{Algorithm, Pki, TIME, store, trust};

mod support;

/// End entity, two intermediates, all of P-256.
const CHAIN: &str = "eku_upper_intermediate_without";

/// As all benchmarks here measure.
struct OnCpu;

impl Measurement for OnCpu {
    type Intermediate = Stopwatch;
    type Value = Duration;

    fn start(&self) -> Stopwatch {
        Stopwatch::start()
    }

    fn end(&self, since: Stopwatch) -> Duration {
        since.elapsed()
    }

    fn add(&self, one: &Duration, other: &Duration) -> Duration {
        *one + *other
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, time: &Duration) -> f64 {
        WallTime.to_f64(time)
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        WallTime.formatter()
    }
}

/// Short: there are many.
fn group<'a>(criterion: &'a mut Criterion<OnCpu>, name: &str) -> BenchmarkGroup<'a, OnCpu> {
    let mut group = criterion.benchmark_group(name);
    group.sample_size(20);
    group.warm_up_time(Duration::from_millis(500));
    group.measurement_time(Duration::from_millis(1500));
    group
}

fn policy() -> Policy {
    Policy::new(Profile::Google, Some(KeyPurpose::ClientAuth))
}

/// A chain of three certificates in each form, decoded and parsed.
fn decode(criterion: &mut Criterion<OnCpu>) {
    let golden = goldens::named(CHAIN).unwrap();
    let chain = golden.chain();
    let mut group = group(criterion, "decode and parse 3");
    for form in forms(&chain) {
        let bytes: usize = form.lines.iter().map(|(_, value)| value.len()).sum();
        let work = json!({ "source": form.source, "lines": form.lines });
        let work: Work = serde_json::from_value(work).unwrap();
        let work = work.prepare().unwrap();
        assert_eq!(work.run(), chain.len(), "{}", form.name);
        group.throughput(Throughput::Bytes(u64::try_from(bytes).unwrap()));
        group.bench_function(form.name, |bencher| bencher.iter(|| work.run()));
    }
}

/// One certificate of each algorithm.
fn parse(criterion: &mut Criterion<OnCpu>) {
    let mut group = group(criterion, "parse");
    let issuer = Cert::ca("issuer").self_signed();
    let made = |key| Cert::client("client").key(key).by(&issuer).der;
    let ours = Algorithm::ALL.map(|algorithm| {
        let pki = Pki::new(algorithm, 0, 1);
        (algorithm.name(), pki.chains[0][0].clone())
    });
    let others = [
        ("P-521", made(Key::p521("client"))),
        ("Ed25519", made(Key::ed25519("client"))),
    ];
    for (name, der) in ours.into_iter().chain(others) {
        group.bench_function(name, |bencher| {
            bencher.iter(|| Certificate::parse(black_box(der.clone())).unwrap());
        });
    }
}

/// Search and validation, of chains that are parsed. The anchor is not counted.
fn path(criterion: &mut Criterion<OnCpu>) {
    let mut group = group(criterion, "path");
    for algorithm in Algorithm::ALL {
        for length in [1, 2, 4] {
            let pki = Pki::new(algorithm, length - 1, 1);
            let parse = |der: &Vec<u8>| Certificate::parse(der.clone()).unwrap();
            let chain: Vec<Certificate> = pki.chains[0].iter().map(parse).collect();
            for anchors in [1, 20, 200] {
                let store = store(&pki.anchors(anchors));
                let name = format!("{}, chain of {length}, anchors {anchors}", algorithm.name());
                group.bench_function(name, |bencher| {
                    bencher.iter(|| {
                        let policy = policy();
                        path::build(&chain[0], &chain[1..], &store, &policy, ALGORITHMS, TIME)
                            .unwrap();
                    });
                });
            }
        }
    }
}

/// What is told of a verified client.
fn render(criterion: &mut Criterion<OnCpu>) {
    let pki = Pki::new(Algorithm::P256, 1, 1);
    let limits = RequestLimits::default();
    let presented = ForwardedChain::from_der(pki.chains[0].clone(), &limits);
    let trust = trust(&pki.anchors(1));
    let trust = Some(&trust);
    let judged = ClientCert::judge(presented, trust, &policy(), &limits, ALGORITHMS, Some(TIME));
    assert!(judged.is_verified());
    let mut group = group(criterion, "render");
    group.bench_function("variables", |bencher| {
        bencher.iter(|| Variables::from(black_box(&judged)));
    });
    let variables = Variables::from(&judged);
    let template = |one: &Variable| Template::parse(&format!("{{{}}}", one.name())).unwrap();
    let templates: Vec<Template> = Variable::ALL.iter().map(template).collect();
    group.bench_function("templates, 14 headers", |bencher| {
        bencher.iter(|| {
            for template in &templates {
                black_box(template.render(black_box(&variables)));
            }
        });
    });
}

/// From a request's headers, forwarded by a relay, to what becomes of it, with 14 headers.
fn whole(criterion: &mut Criterion<OnCpu>) {
    let golden = goldens::named(CHAIN).unwrap();
    let time = golden.time().unwrap();
    let header = xfcc(&golden.chain());
    let headers: [(&[u8], &[u8]); 3] = [
        (b"x-forwarded-client-cert", header.as_bytes()),
        (b"user-agent", b"bench"),
        (b"accept", b"*/*"),
    ];
    let request = Request {
        method: b"GET",
        host: b"gate.test",
        path: b"/",
        headers: &headers,
        direct_peer: None,
    };
    let pipeline = |cache_bytes: usize, backend: Backend| {
        let mut document = golden.document();
        document["limits"]["cacheBytes"] = cache_bytes.into();
        document["source"] =
            json!({ "header": { "preset": "ENVOY", "relay": { "trustAnyRelay": true } } });
        let config = Config::from_bytes(document.to_string().as_bytes()).unwrap();
        Pipeline::new(config, backend)
    };
    let ring = Backend::from(ALGORITHMS);
    let default = RequestLimits::default().cache_bytes;
    let mut group = group(criterion, "request, 3 certificates");
    for (name, pipeline) in [
        ("warm", pipeline(default, ring)),
        ("cold, ring", pipeline(0, ring)),
        (
            "cold, RustCrypto",
            pipeline(0, mtls_gate_rustcrypto::BACKEND),
        ),
    ] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let decision = pipeline.run(&Presented::Tls(&[]), &request, Some(time));
                assert!(decision.report.verified);
                assert_eq!(decision.request.add[0].name, header_of(Variable::ALL[0]));
                black_box(decision);
            });
        });
    }
}

fn main() {
    let criterion = Criterion::default().with_measurement(OnCpu);
    let mut criterion = criterion.configure_from_args();
    decode(&mut criterion);
    parse(&mut criterion);
    path(&mut criterion);
    render(&mut criterion);
    whole(&mut criterion);
    criterion.final_summary();
}
