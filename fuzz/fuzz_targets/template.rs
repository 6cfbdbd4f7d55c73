#![no_main]
use mtls_gate_fuzz::template;

libfuzzer_sys::fuzz_target!(|data: &[u8]| template::run(data));
