//! Runs one hostile case: builds a segment from bytes and uses it in every way.
//!
//! The bytes are choices: the ring, the damage, and the operations. The tests generate them from a
//! number; in `fuzz/` libFuzzer generates them for the same code. A case passes by returning: every
//! operation returned an error or usable data. A panic, a signal or a hang is a failure.
//!
//! - [`attach`]: a segment damaged before it is attached to;
//! - [`ring`]: a segment damaged between the operations of live endpoints;
//! - [`board`]: a board damaged between the operations of its readers and writers, or before it is
//!   opened;
//! - [`packet`]: damaged archives of many types, opened in every way;
//! - [`message`]: rings damaged between the operations of workers that exchange messages, calls and
//!   events;
//! - [`worker_slot`]: the directory of a cluster, damaged between the operations of its workers.
//!
//! `dynamic.rs` is beside this file and uses its types: damaged archives and schemas, read without
//! the types. It needs the feature `dynamic`.
//!
//! Events ([`Wait::event`](packetring::Wait::event)) are left out: they consist of mutexes and
//! condition variables of the operating system. This library cannot check those for damage.

#![allow(dead_code, reason = "tests and fuzz targets each use a part of it")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a case that cannot go on has failed"
)]

pub(crate) mod attach;
pub(crate) mod board;
pub(crate) mod cluster;
pub(crate) mod damage;
pub(crate) mod layout;
pub(crate) mod message;
pub(crate) mod packet;
pub(crate) mod ring;
pub(crate) mod segment;
pub(crate) mod types;
pub(crate) mod worker_slot;

use arbitrary::Unstructured;

/// The choices of a case, taken from its bytes. After the last byte, every choice is the first.
#[derive(Debug)]
pub(crate) struct Choices<'a>(Unstructured<'a>);

impl<'a> Choices<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(Unstructured::new(bytes))
    }

    /// Returns true if no bytes are left.
    pub(crate) fn are_over(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns a number below `bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0.int_in_range(0..=bound as u64 - 1).unwrap_or(0) as usize
    }

    /// Returns any word.
    pub(crate) fn word(&mut self) -> u64 {
        self.0.arbitrary().unwrap_or(0)
    }

    /// Returns a small number, negative or positive.
    pub(crate) fn step(&mut self) -> u64 {
        self.0.arbitrary::<i8>().unwrap_or(0) as u64
    }

    /// Returns an element of `from`.
    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    /// Returns true in one of `n` cases.
    pub(crate) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == n - 1
    }

    /// Returns all remaining bytes.
    pub(crate) fn rest(self) -> &'a [u8] {
        self.0.take_rest()
    }
}
