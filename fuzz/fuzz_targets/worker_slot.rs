//! Directories damaged while workers use them: `tests/hostile/worker_slot.rs` with input from
//! libFuzzer.

#![no_main]

#[path = "../../tests/hostile/case.rs"]
mod case;

libfuzzer_sys::fuzz_target!(|data: &[u8]| case::worker_slot::run(data));
