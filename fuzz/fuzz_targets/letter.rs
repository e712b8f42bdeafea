//! A peer that writes into inboxes, requests, replies and events: `tests/hostile/letter.rs` on what libFuzzer comes up with.

#![no_main]

#[path = "../../tests/hostile/case.rs"]
mod case;

libfuzzer_sys::fuzz_target!(|data: &[u8]| case::letter::run(data));
