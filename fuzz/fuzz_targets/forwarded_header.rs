#![no_main]
use mtls_gate_fuzz::forwarded_header;

libfuzzer_sys::fuzz_target!(|data: &[u8]| forwarded_header::run(data));
