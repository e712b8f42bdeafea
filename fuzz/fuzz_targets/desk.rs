//! Directories damaged while workers use them: `tests/hostile/desk.rs` with input from libFuzzer.

#![no_main]

#[path = "../../tests/hostile/case.rs"]
mod case;

libfuzzer_sys::fuzz_target!(|data: &[u8]| case::desk::run(data));
