//! Damaged archives and schemas, read without the types: `tests/hostile/dynamic.rs` with input from
//! libFuzzer.

#![no_main]

#[path = "../../tests/hostile/case.rs"]
mod case;
#[path = "../../tests/hostile/dynamic.rs"]
mod dynamic;

libfuzzer_sys::fuzz_target!(|data: &[u8]| dynamic::run(data));
