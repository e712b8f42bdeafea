//! Segments damaged before use: `tests/hostile/attach.rs` with input from libFuzzer.

#![no_main]

#[path = "../../tests/hostile/case.rs"]
mod case;

libfuzzer_sys::fuzz_target!(|data: &[u8]| case::attach::run(data));
