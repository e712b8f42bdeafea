//! One hostile case: bytes in, a segment built from them, used in every way, nothing else out.
//!
//! The bytes are choices: which ring, what is damaged and how, what is done in between. The tests
//! make them from a number, the fuzz targets in `fuzz/` let libFuzzer choose them; it is this same
//! code that runs them. A case says by returning that every operation gave an error or data that
//! could be used. A panic, a signal or no end is the failure.
//!
//! - [`attach`]: damaged before anyone attaches;
//! - [`ring`]: damaged between the operations of endpoints that are alive;
//! - [`packet`]: damaged archives of many types, opened in every way;
//! - [`letter`]: damaged between the operations of workers that exchange letters, calls and events;
//! - [`desk`]: a cluster's directory, damaged between the operations of its workers.
//!
//! Events ([`Wait::event`](packetring::Wait::event)) are left out: they are the system's own mutexes
//! and condition variables, and what damaged ones do is not ours to say.

#![allow(dead_code, reason = "tests and fuzz targets each use a part of it")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a case that cannot go on has failed"
)]

pub(crate) mod attach;
pub(crate) mod cast;
pub(crate) mod damage;
pub(crate) mod desk;
pub(crate) mod layout;
pub(crate) mod letter;
pub(crate) mod packet;
pub(crate) mod ring;
pub(crate) mod stage;
pub(crate) mod types;

use arbitrary::Unstructured;

/// What a case is made of, taken bit by bit. When nothing is left, every choice is the first.
#[derive(Debug)]
pub(crate) struct Choices<'a>(Unstructured<'a>);

impl<'a> Choices<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(Unstructured::new(bytes))
    }

    /// Whether every choice is made.
    pub(crate) fn are_over(&self) -> bool {
        self.0.is_empty()
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0.int_in_range(0..=bound as u64 - 1).unwrap_or(0) as usize
    }

    /// Any word.
    pub(crate) fn word(&mut self) -> u64 {
        self.0.arbitrary().unwrap_or(0)
    }

    /// A small number, below zero or above.
    pub(crate) fn step(&mut self) -> u64 {
        self.0.arbitrary::<i8>().unwrap_or(0) as u64
    }

    /// One of these.
    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    /// Whether this one of `n` came up.
    pub(crate) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == n - 1
    }

    /// All bytes that are left.
    pub(crate) fn rest(self) -> &'a [u8] {
        self.0.take_rest()
    }
}
