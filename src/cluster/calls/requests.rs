//! The request ring of a service, as both sides see it.
//!
//! The tag of a request names the publisher entry of its worker. The entry has the id of the
//! worker's call area:
//!
//! ```text
//!  client      joins ─► since := tail ─► caller := id of its area ─► given up := 0 ─► request at p
//!  server      request at p ─► given up ─► caller ─► since ─┬ since ≤ p: that caller's request
//!                                                          └ p < since: the caller has left
//! ```
//!
//! The next owner of an entry finds the tail behind all claims of the previous owner. So a server
//! that reads the old `caller` and the new `since` sees by the position that the caller has left.
//! If the server reads both from one owner, that owner wrote them before the request.
//!
//! The number of calls given up belongs to the owner, too. It is read first and reset last: a
//! server that reads it reset also reads the new `since`. Only the owner lowers it: a call that was
//! given up and outlives its link lowers nothing. (Model `replies`.)
//!
//! The tag is 23 bits of the descriptor of a request, so a request takes no extra bytes:
//!
//! ```text
//!   22           13 12             0
//!  ┌───────────────┬────────────────┐
//!  │ entry         │ cell           │  archive
//!  └───────────────┴────────────────┘
//! ```
//!
//! - **entry**: the publisher entry of the client's worker in the request ring. The entry has the
//!   id of the worker's call area.
//! - **cell**: the cell of the call in that area.

use crate::channel::join::{self, Types};
use crate::channel::{
    AnyPublisher, Cursor, GroupReceiver, MAX_CALL_CELLS, MAX_ENTRIES, ReplyRight, RequestStatus,
    Ring, RingBuilder, SentCell, Taken, incarnation, is_untaken, position, shared, status_of_call,
    tag_at,
};
use crate::cluster::names::CallerId;
use crate::error::OpenError;
use crate::sync::Ordering;
use crate::wait::{Timeout, Wait};

const CELL_BITS: u32 = MAX_CALL_CELLS.ilog2();

const _: () = assert!(MAX_CALL_CELLS.is_power_of_two() && MAX_ENTRIES << CELL_BITS <= 1 << 23);

/// The tag of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RequestTag {
    /// A publisher entry, below [`MAX_ENTRIES`].
    pub(crate) entry: u16,
    /// A cell, below [`MAX_CALL_CELLS`].
    pub(crate) cell: u16,
}

impl RequestTag {
    /// Encodes the tag.
    #[inline]
    pub(crate) fn word(self) -> u32 {
        u32::from(self.entry) << CELL_BITS | u32::from(self.cell)
    }

    /// Decodes a tag.
    #[inline]
    pub(crate) fn of(word: u32) -> Self {
        let cell = word & ((1 << CELL_BITS) - 1);
        Self { entry: (word >> CELL_BITS) as u16, cell: cell as u16 }
    }
}

/// Publisher entries of a request ring for each worker slot: one for each worker, and three for
/// threads that send at the same time.
const ENTRIES: usize = 4;
/// Of these entries, those that stay free for workers without any.
const RESERVED_ENTRIES: usize = 1;

/// The settings of the request ring of a service, in a cluster with this many worker slots.
pub(crate) fn request_ring(worker_slots: usize, chosen: RingBuilder) -> RingBuilder {
    chosen.queue().tagged_slots().or_else(|default| {
        default.stays_open = true;
        default.max_publishers = (worker_slots * ENTRIES).min(MAX_ENTRIES);
        // Entry 0 has the shared cursor and belongs to no server.
        default.max_subscribers = (worker_slots + 1).min(MAX_ENTRIES);
    })
}

/// A request that a server has taken.
#[derive(Debug)]
pub(crate) struct TakenRequest {
    pub(crate) caller: CallerId,
    pub(crate) right: ReplyRight,
    /// The publisher entry of the request.
    pub(crate) entry: u16,
    /// The caller has given calls up; this may be one of them.
    pub(crate) may_be_given_up: bool,
}

impl Ring {
    /// Joins a request ring as the sender of the worker with this call area. An extra sender leaves
    /// some entries to workers without any. Returns the sender and its entry.
    pub(super) fn request_sender(
        &self,
        types: &Types<'_>,
        caller: CallerId,
        is_extra: bool,
    ) -> Result<(AnyPublisher, u16), OpenError> {
        let entries = self.settings().max_publishers;
        let others = if is_extra { entries / ENTRIES * RESERVED_ENTRIES } else { 0 };
        let (sender, _) = join::publisher_leaving(self.segment(), types, Wait::default(), others)?;
        let publisher = AnyPublisher::new(sender);
        let entry = publisher.sign(caller.0);
        Ok((publisher, entry))
    }

    /// Joins as a consumer of the ring's queue.
    pub(crate) fn receiver(&self, types: &Types<'_>) -> Result<(GroupReceiver, u16), OpenError> {
        join::consumer(self.segment(), types, Wait::default())
    }

    /// Slots with requests before a position that no server has taken.
    pub(crate) fn waiting_before(&self, at: u64) -> u64 {
        at.saturating_sub(position(shared(self.segment().memory()).load(Ordering::Relaxed)))
    }

    /// The status of the request of a cell.
    pub(crate) fn call_status(&self, cell: &SentCell) -> RequestStatus {
        status_of_call(self.segment().memory(), cell, &|id| self.segment().is_alive(id))
    }

    /// Returns true if no server has taken the request at a position or is taking it. A server that
    /// takes it later sees the calls that were given up before this call.
    pub(super) fn is_untaken(&self, position: u64) -> bool {
        let is_alive = |id| self.segment().is_alive(id);
        is_untaken(self.segment().memory(), position, &is_alive)
    }

    /// Adds to the number of calls that were given up, of the publisher with this entry.
    pub(super) fn count_given_up(&self, entry: u16, by: i64) {
        let publishers = self.segment().memory().publishers();
        if let Some(publisher) = publishers.get(usize::from(entry)) {
            // In one order with the mark in the cell, the caller's check whether the request was
            // taken, and the server's pin of the request before its load.
            publisher.details.given_up.fetch_add(by.cast_unsigned(), Ordering::SeqCst);
        }
    }
}

impl GroupReceiver {
    /// Fast path of a receive. If a request is there, calls `found` with its tag before it is
    /// taken. Another server may take it, so the tag is a hint.
    #[inline(always)]
    pub(crate) fn take_request_fast(
        &mut self,
        timeout: Timeout,
        found: impl FnOnce(RequestTag),
    ) -> Option<Taken> {
        self.take_fast_after(
            timeout,
            #[inline(always)]
            |memory| {
                let at = position(shared(memory).load(Ordering::Relaxed));
                found(RequestTag::of(tag_at(memory, at)));
            },
        )
    }

    /// The request that was just taken. Its caller is [`CallerId::NONE`] if that client has left.
    /// `None` if it names no publisher.
    #[inline]
    pub(crate) fn request(&self, taken: &Taken) -> Option<TakenRequest> {
        let RequestTag { entry, cell } = RequestTag::of(taken.descriptor.tag());
        let details = &self.cursor.memory().publishers().get(usize::from(entry))?.details;
        // In one order with the caller's count, and with the pin of the request before this load.
        // First: if the count is that of a later owner of the entry, `since` is, too.
        let may_be_given_up = details.given_up.load(Ordering::SeqCst) != 0;
        // Pairs with the release in `AnyPublisher::sign`: `since` is that of this caller, or later.
        let caller = details.caller.load(Ordering::Acquire);
        let is_its = details.since.load(Ordering::Relaxed) <= taken.position;
        Some(TakenRequest {
            caller: if is_its { CallerId(caller) } else { CallerId::NONE },
            right: ReplyRight::of_request(taken.position, cell),
            entry,
            may_be_given_up,
        })
    }

    /// The server's entry and its incarnation.
    pub(crate) fn entry_and_incarnation(&self) -> (usize, u64) {
        let entry = self.cursor.entry();
        (entry, incarnation(self.cursor.memory(), entry))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::{MessageHeader, SendFailure};
    use crate::packet::Packet;

    #[test]
    fn a_tag_holds_any_entry_and_cell() {
        for entry in [0, 1, 1023] {
            for cell in [0, 1, 8191] {
                let tag = RequestTag { entry, cell };
                assert_eq!(RequestTag::of(tag.word()), tag);
                assert!(tag.word() < 1 << 23);
            }
        }
    }

    /// By the tag, a server fetches the line of the reply early.
    #[test]
    fn the_tag_of_a_request_is_known_before_it_is_taken() {
        let ring = request_ring(2, Ring::builder()).heap().unwrap();
        let types = Types::Pair { request: &u64::TYPE, reply: &u64::TYPE };
        let (mut sender, _) = ring.request_sender(&types, CallerId(1), false).unwrap();
        let (mut server, _) = ring.receiver(&types).unwrap();
        let nothing = server.take_request_fast(Timeout::Zero, |tag| panic!("{tag:?}"));
        assert_eq!(nothing, None);
        for tag in [RequestTag { entry: 1, cell: 2 }, RequestTag { entry: 1023, cell: 8191 }] {
            let header = MessageHeader::tagged(tag.word());
            let sent: Result<u64, SendFailure> = sender.send_with_header(header, &7, Timeout::Zero);
            assert!(sent.is_ok());
            let mut known = None;
            let taken = server.take_request_fast(Timeout::Zero, |tag| known = Some(tag));
            assert!(taken.is_some_and(|taken| RequestTag::of(taken.descriptor.tag()) == tag));
            assert_eq!(known, Some(tag));
            server.ack();
        }
    }
}
