//! Boards damaged while readers and writers use them, or before they are opened:
//! `tests/hostile/board.rs` with input from libFuzzer.

#![no_main]

#[path = "../../tests/hostile/case.rs"]
mod case;

libfuzzer_sys::fuzz_target!(|data: &[u8]| case::board::run(data));
