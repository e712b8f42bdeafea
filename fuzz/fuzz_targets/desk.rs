//! A peer that writes into a cluster's directory: `tests/hostile/desk.rs` on what libFuzzer comes up with.

#![no_main]

#[path = "../../tests/hostile/case.rs"]
mod case;

libfuzzer_sys::fuzz_target!(|data: &[u8]| case::desk::run(data));
