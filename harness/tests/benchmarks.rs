//! The benchmarks still run. What they measure here counts for nothing.
#![allow(clippy::panic)]

use clap::Parser as _;

#[path = "../benches/envoy/main.rs"]
#[allow(dead_code)] // its main, and what that prints
mod envoy;

#[test]
fn every_case_in_envoy_does_what_is_measured() {
    let arguments = "envoy --rounds 1 --seconds 0 --clients 8 --starts 1".split(' ');
    let report = envoy::run(&envoy::Options::parse_from(arguments))
        .unwrap_or_else(|error| panic!("{error}"));
    assert!(report.tables.iter().all(|table| !table.contains("NaN")));
}
