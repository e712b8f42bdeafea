//! A peer that writes into a segment while endpoints use it: `tests/hostile/ring.rs` on what libFuzzer comes up with.

#![no_main]

#[path = "../../tests/hostile/case.rs"]
mod case;

libfuzzer_sys::fuzz_target!(|data: &[u8]| case::ring::run(data));
