#![no_main]
use mtls_gate_fuzz::authz;

libfuzzer_sys::fuzz_target!(|data: &[u8]| authz::run(data));
