#![no_main]
use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use mtls_gate_fuzz::chain;

fuzz_target!(|data: &[u8]| chain::run(data));

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    chain::mutate(data, size, max_size, seed)
});
