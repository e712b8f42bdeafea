//! [`Kept`]: the content of an object that stays without a process.

#![cfg(not(loom))]

/// The content of an object that outlives its processes, and keeps the object.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kept {
    /// Nothing: the object goes with its last process.
    Nothing,
    /// Durable subscribers, by their names, with the packets that wait for them.
    Durable(Vec<String>),
    /// Packets of a work queue without an acknowledgement.
    Jobs {
        /// Slots of 64 bytes from the next packet to the end. A packet takes one or more. Void
        /// packets count, until the last user of the queue leaves or [`purge`](crate::purge) runs.
        waiting_slots: u64,
        /// Packets that a consumer took, which may be dead by now.
        in_flight: usize,
    },
    /// Workers whose name and inbox stay, by their names.
    Workers(Vec<String>),
    /// Unknown: a segment of another layout that may keep something, or an object that cannot be
    /// read.
    Unknown,
}
