//! Segments that were damaged before anyone attached: `tests/hostile/attach.rs` on what libFuzzer comes up with.

#![no_main]

#[path = "../../tests/hostile/case.rs"]
mod case;

libfuzzer_sys::fuzz_target!(|data: &[u8]| case::attach::run(data));
