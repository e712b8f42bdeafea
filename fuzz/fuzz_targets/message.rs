//! Inboxes, requests, replies and events damaged while workers use them: `tests/hostile/message.rs`
//! with input from libFuzzer.

#![no_main]

#[path = "../../tests/hostile/case.rs"]
mod case;

libfuzzer_sys::fuzz_target!(|data: &[u8]| case::message::run(data));
