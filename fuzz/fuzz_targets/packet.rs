//! Archives of many types, damaged in their slots: `tests/hostile/packet.rs` with input from
//! libFuzzer.

#![no_main]

#[path = "../../tests/hostile/case.rs"]
mod case;

libfuzzer_sys::fuzz_target!(|data: &[u8]| case::packet::run(data));
