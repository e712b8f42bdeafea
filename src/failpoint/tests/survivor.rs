//! A subscriber that checks every packet: whole, in order, not lost, not twice.

use super::process::GENEROUS;
use crate::{Missed, Overflow, RecvTimeoutError, Subscriber};
use std::time::{Duration, Instant};

/// Publishers that packets come from.
pub(super) const PEER: u64 = 1;
pub(super) const SUCCESSOR: u64 = 2;
pub(super) const OWN: u64 = 3;

#[crate::packet]
pub(super) struct Numbered {
    publisher: u64,
    sequence: u64,
    len: u64,
    bytes: Vec<u8>,
}

/// A packet of one to ten slots. Its number determines the size.
pub(super) fn numbered(publisher: u64, sequence: u64) -> Numbered {
    sized(publisher, sequence, sequence * 37 % 600)
}

/// A packet of `slots` slots.
pub(super) fn slots(publisher: u64, sequence: u64, slots: u64) -> Numbered {
    // Header and fixed part take 48 bytes.
    sized(publisher, sequence, slots * 64 - 48)
}

fn sized(publisher: u64, sequence: u64, len: u64) -> Numbered {
    Numbered { publisher, sequence, len, bytes: vec![tag(publisher, sequence); len as usize] }
}

fn tag(publisher: u64, sequence: u64) -> u8 {
    (publisher * 100 + sequence % 100) as u8
}

impl ArchivedNumbered {
    pub(super) fn is_whole(&self) -> bool {
        let tag = tag(self.publisher.to_native(), self.sequence.to_native());
        self.bytes.len() as u64 == self.len && self.bytes.iter().all(|&byte| byte == tag)
    }
}

pub(super) struct Survivor {
    pub(super) subscriber: Subscriber<Numbered>,
    drops: bool,
    pub(super) is_closed: bool,
    next: [u64; 4],
}

/// Not known yet.
const ANY: u64 = u64::MAX;

impl Survivor {
    pub(super) fn new(subscriber: Subscriber<Numbered>, overflow: Overflow) -> Self {
        Self { subscriber, drops: overflow == Overflow::DropOldest, is_closed: false, next: [0; 4] }
    }

    /// Accepts any of a publisher's packets as the first one.
    pub(super) fn begin_anywhere(&mut self, publisher: u64) {
        self.next[publisher as usize] = ANY;
    }

    /// Receives one packet. Returns false if none arrives in time.
    pub(super) fn receive(&mut self, timeout: Duration) -> bool {
        match self.subscriber.recv_timeout(timeout) {
            Ok(got) => {
                let (publisher, sequence) = (got.publisher.to_native(), got.sequence.to_native());
                let next = &mut self.next[publisher as usize];
                if *next == ANY {
                    *next = sequence;
                }
                let is_next = if self.drops { sequence >= *next } else { sequence == *next };
                assert!(is_next, "{publisher}: {sequence} where {next} was due");
                *next = sequence + 1;
                assert!(got.is_whole(), "{publisher}: {sequence} is torn");
                true
            }
            Err(RecvTimeoutError::Timeout) => false,
            Err(RecvTimeoutError::Closed) => {
                self.is_closed = true;
                false
            }
            Err(RecvTimeoutError::Missed(Missed { .. })) if self.drops => true,
            Err(error) => panic!("{error}"),
        }
    }

    /// Receives until this packet arrives.
    pub(super) fn receive_until(&mut self, publisher: u64, sequence: u64, name: &str) {
        let started = Instant::now();
        while self.next[publisher as usize] <= sequence {
            self.receive(GENEROUS);
            assert!(started.elapsed() < GENEROUS, "{name}: no progress");
        }
    }

    /// The number of a publisher's packets that arrived.
    pub(super) fn received(&self, publisher: u64) -> u64 {
        self.next[publisher as usize]
    }
}
