//! The words of a subscriber entry that belong to one role each: durable subscriber, queue
//! consumer.
//!
//! Each word has one meaning and one accessor. In a ring without its role a word stays zero.

use crate::failpoint::{Failpoint, failpoint};
use crate::sync::{AtomicU64, Ordering};

/// 8-byte words of a durable subscriber's name.
const NAME_WORDS: usize = 8;

/// Words of a durable subscriber. Its successor reads them.
#[repr(C)]
#[derive(Debug, Default)]
pub(crate) struct DurableWords {
    /// End of everything that was handed out. Packets before it are redeliveries.
    handed_out: AtomicU64,
    /// Evicted packets that were reported to the user.
    evictions_reported: AtomicU64,
    /// Length of the name in bytes.
    name_len: AtomicU64,
    /// The name, zero-filled.
    name: [AtomicU64; NAME_WORDS],
}

impl DurableWords {
    /// Longest name in bytes.
    pub(crate) const LONGEST_NAME: usize = NAME_WORDS * 8;

    /// The position below which every packet was handed out.
    pub(crate) fn handed_out(&self) -> u64 {
        self.handed_out.load(Ordering::Relaxed)
    }

    /// Stores the end of everything that was handed out. The subscriber calls this before it gives
    /// the packet to the user.
    #[inline]
    pub(crate) fn set_handed_out(&self, end: u64) {
        self.handed_out.store(end, Ordering::Relaxed);
    }

    /// The number of evicted packets that were reported to the user.
    pub(crate) fn evictions_reported(&self) -> u64 {
        self.evictions_reported.load(Ordering::Relaxed)
    }

    /// Stores the number of evicted packets that were reported to the user.
    pub(crate) fn set_evictions_reported(&self, packets: u64) {
        self.evictions_reported.store(packets, Ordering::Relaxed);
    }

    /// Writes the name, under the control lock. A name longer than
    /// [`LONGEST_NAME`](Self::LONGEST_NAME) is cut.
    pub(crate) fn set_name(&self, name: &str) {
        for (index, word) in self.name.iter().enumerate() {
            word.store(name_word(name, index), Ordering::Relaxed);
        }
        self.name_len.store(name.len() as u64, Ordering::Relaxed);
    }

    /// The name. While another process writes it, the text can be a mixture.
    pub(crate) fn name(&self) -> String {
        let len = self.name_len.load(Ordering::Relaxed).min(Self::LONGEST_NAME as u64);
        let words = self.name.iter().map(|word| word.load(Ordering::Relaxed).to_le_bytes());
        let bytes: Vec<u8> = words.flatten().take(len as usize).collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Returns true if this is the name.
    pub(crate) fn has_name(&self, name: &str) -> bool {
        let is_word = |(index, word): (usize, &AtomicU64)| {
            word.load(Ordering::Relaxed) == name_word(name, index)
        };
        self.name_len.load(Ordering::Relaxed) == name.len() as u64
            && self.name.iter().enumerate().all(is_word)
    }
}

/// Eight bytes of a name as a word.
fn name_word(name: &str, index: usize) -> u64 {
    let bytes = name.as_bytes().chunks(8).nth(index).unwrap_or_default();
    let mut word = [0; 8];
    word[..bytes.len()].copy_from_slice(bytes);
    u64::from_le_bytes(word)
}

/// How often the packet in flight was handed out, of a durable subscriber or a queue consumer. The
/// owner writes them; its successor, or the consumer that adopts the packet, reads them.
///
/// A first delivery stores nothing here: a packet that was handed out and is not the one at
/// `position` was handed out once. So the words cost only redeliveries.
#[repr(C)]
#[derive(Debug, Default)]
pub(crate) struct RedeliveryWords {
    /// The packet that `deliveries` counts. A position is never used twice, so what an earlier
    /// owner of the entry stored counts no later packet.
    position: AtomicU64,
    /// Its deliveries so far.
    deliveries: AtomicU64,
}

impl RedeliveryWords {
    /// The deliveries so far of a packet that was handed out before.
    pub(crate) fn of(&self, position: u64) -> u64 {
        // Pairs with the release in `set`: the count of this position is seen with it.
        let is_counted = self.position.load(Ordering::Acquire) == position;
        // A packet at position 0 may meet words that were never stored.
        if is_counted { self.deliveries.load(Ordering::Relaxed).max(1) } else { 1 }
    }

    /// Stores the deliveries so far of a packet. Before the packet is handed out.
    pub(crate) fn set(&self, position: u64, deliveries: u64) {
        // First: after a kill in between, the words still name another packet, which is done.
        self.deliveries.store(deliveries, Ordering::Relaxed);
        failpoint(Failpoint::Redeliver);
        // Pairs with the acquire in `of`.
        self.position.store(position, Ordering::Release);
    }
}

/// Words of a queue consumer. They lie on the line of its cursor, which the consumer writes too.
#[repr(C)]
#[derive(Debug, Default)]
pub(crate) struct ConsumerWords {
    /// Counts the consumers that have used the entry.
    incarnation: AtomicU64,
    /// Not 0: the server leaves once it has a successor.
    hands_over: AtomicU64,
}

impl ConsumerWords {
    /// Starts the next incarnation. Under the control lock, before the entry's state is stored.
    pub(crate) fn begin(&self) {
        self.incarnation.fetch_add(1, Ordering::Relaxed);
        self.hands_over.store(0, Ordering::Relaxed);
    }

    /// Marks the server as one that leaves. It marks itself before it searches for a successor.
    pub(crate) fn set_hands_over(&self) {
        // In one order with the load in `hands_over`: of two servers that hand over at once, at
        // least one sees the other one marked. So they do not take each other for successors.
        self.hands_over.store(1, Ordering::SeqCst);
    }

    /// Returns true if the server leaves once it has a successor.
    pub(crate) fn hands_over(&self) -> bool {
        self.hands_over.load(Ordering::SeqCst) != 0
    }

    /// The number of consumers that have used the entry.
    pub(crate) fn incarnation(&self) -> u64 {
        self.incarnation.load(Ordering::Relaxed)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_durable_name_is_compared_whole() {
        let words = DurableWords::default();
        let longest = "x".repeat(DurableWords::LONGEST_NAME);
        for name in ["a", "audit-1", "eight888", "nine99999", &longest] {
            words.set_name(name);
            assert!(words.has_name(name) && words.name() == name);
            assert!(!words.has_name(&name[1..]) && !words.has_name(""));
            assert!(!words.has_name(&format!("{}y", &name[..name.len() - 1])));
        }
    }
}
