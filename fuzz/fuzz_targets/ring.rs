//! Segments damaged while endpoints use them: `tests/hostile/ring.rs` with input from libFuzzer.

#![no_main]

#[path = "../../tests/hostile/case.rs"]
mod case;

libfuzzer_sys::fuzz_target!(|data: &[u8]| case::ring::run(data));
