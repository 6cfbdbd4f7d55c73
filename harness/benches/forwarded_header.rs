//! A forwarded chain of three certificates, decoded and parsed, in each form:
//! `cargo bench -p mtls-gate --bench forwarded_header`.
#![allow(clippy::unwrap_used)]

use criterion::{Criterion, Throughput};
use mtls_gate::goldens;
use mtls_gate::testbed::forwarded::forms;
use mtls_gate_bench_kernels::Work;
use serde_json::json;

/// End entity, two intermediates, all of P-256.
const CHAIN: &str = "eku_upper_intermediate_without";

fn main() {
    let golden = goldens::named(CHAIN).unwrap();
    let chain = golden.chain();
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("forwarded header");
    for form in forms(&chain) {
        let bytes: usize = form.lines.iter().map(|(_, value)| value.len()).sum();
        let work = json!({ "source": form.source, "lines": form.lines });
        let work: Work = serde_json::from_value(work).unwrap();
        let work = work.prepare().unwrap();
        assert_eq!(work.run(), chain.len(), "{}", form.name);
        group.throughput(Throughput::Bytes(u64::try_from(bytes).unwrap()));
        group.bench_function(form.name, |bencher| bencher.iter(|| work.run()));
    }
    group.finish();
    criterion.final_summary();
}
