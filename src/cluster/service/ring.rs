//! The two kinds of rings of a service: request ring and reply ring.
//!
//! A reply ring belongs to one client. It has room for a reply of the largest size to each call in
//! flight, so servers never wait for a client.
//!
//! The tag of a request names the publisher entry of its client. The entry has the client's id:
//!
//! ```text
//!  client      joins ─► since := tail ─► caller := own id ─► request at p
//!  server      request at p ─► caller ─► since ─┬ since ≤ p: that caller's request
//!                                               └ p < since: the caller has left
//! ```
//!
//! The next owner of an entry finds the tail behind all claims of the previous owner. So a server
//! that reads the old `caller` and the new `since` sees by the position that the caller has left.
//! If the server reads both from one owner, that owner wrote them before the request.

use super::status::{self, RequestStatus};
use super::tags::PREFIX;
use super::tags::WINDOW;
use crate::channel::join::{self, Types};
use crate::channel::{
    AnyPublisher, Cursor, EntryId, GroupReceiver, MAX_ENTRIES, Receiver, Ring, RingBuilder,
    RingState,
};
use crate::cluster::names::{CallerId, ClusterObject};
use crate::cluster::worker::Worker;
use crate::error::OpenError;
use crate::packet::TypeInfo;
use crate::sync::Ordering;
use crate::wait::Wait;

/// Bytes of a reply ring.
const REPLY_RING_CAPACITY: usize = 1 << 20;

/// Most bytes of a reply's archive.
///
/// The ring holds a reply and a message of one slot for each call in flight, and the padding at the
/// end of its memory, which is less than one reply.
pub(super) const REPLY_LIMIT: usize = {
    let slots = REPLY_RING_CAPACITY / 64;
    let span = (slots - WINDOW) / (WINDOW + 1);
    span * 64 - 16 - PREFIX
};

// As documented at `Service` and `Client`.
const _: () = assert!(REPLY_LIMIT == 31_648);

/// Settings of a reply ring that this many servers may write to. Each entry takes 256 bytes.
pub(super) fn reply_ring(servers: usize) -> RingBuilder {
    RingBuilder::default().tagged_slots().or_else(|default| {
        default.capacity = REPLY_RING_CAPACITY;
        default.stays_open = true;
        default.max_publishers = servers;
        default.max_subscribers = 1;
    })
}

impl Worker {
    /// Opens the request ring of a service.
    pub(super) fn request_ring(&self, name: &str) -> Result<Ring, OpenError> {
        let entries = self.directory.worker_slots();
        let settings = RingBuilder::default().queue().tagged_slots().or_else(|default| {
            default.stays_open = true;
            default.max_publishers = entries;
            // Entry 0 has the shared cursor and belongs to no server.
            default.max_subscribers = (entries + 1).min(MAX_ENTRIES);
        });
        self.open(ClusterObject::Service(name), settings)
    }
}

impl Ring {
    /// Joins a request ring as a client.
    pub(super) fn requests(
        &self,
        request: &TypeInfo,
        reply: &TypeInfo,
    ) -> Result<AnyPublisher, OpenError> {
        let types = Types::Pair { request, reply };
        let (sender, _) = join::publisher(self.segment(), &types, Wait::default())?;
        Ok(AnyPublisher::new(sender))
    }

    /// Joins a reply ring as its only subscriber. Also returns the index of the reply type.
    pub(super) fn reply_receiver(&self, reply: &TypeInfo) -> Result<(Receiver, u16), OpenError> {
        join::subscriber(self.segment(), &Types::One(reply), None, Wait::default())
    }

    /// The bits of the call slots that the client gave up.
    pub(super) fn given_up(&self) -> u64 {
        self.segment().memory().subscribers()[0].details.reply.given_up()
    }

    /// Stores the bits of the call slots that the client gave up. For a server that has started,
    /// they are a hint. A server that takes a request after [`is_untaken`](Self::is_untaken) sees
    /// them.
    pub(super) fn set_given_up(&self, calls: u64) {
        self.segment().memory().subscribers()[0].details.reply.set_given_up(calls);
    }

    /// Closes a reply ring, if its control lock comes free within a tenth of a second. Dropping a
    /// client must not hang because a process was stopped inside that lock.
    pub(super) fn close_bounded(&self) {
        if self.segment().is_inherited() {
            return;
        }
        if let Some(_control) = self.segment().lock_bounded() {
            RingState::Closed.set(self.segment().memory());
        }
    }

    /// Returns true if the ring was closed.
    pub(super) fn is_closed(&self) -> bool {
        RingState::of(self.segment().memory()) == RingState::Closed
    }
}

impl Ring {
    /// Joins as a consumer of the ring's queue.
    pub(crate) fn receiver(&self, types: &Types<'_>) -> Result<(GroupReceiver, u16), OpenError> {
        join::consumer(self.segment(), types, Wait::default())
    }

    /// Status of the request at a position.
    pub(super) fn request_status(&self, position: u64) -> RequestStatus {
        let is_alive = |entry_id| self.liveness().is_alive(entry_id);
        status::of_request(self.segment().memory(), position, &is_alive)
    }

    /// Returns true if no server has taken the request at a position or is taking it. A server that
    /// takes it later sees the calls that were [given up](Self::set_given_up) before this call.
    pub(super) fn is_untaken(&self, position: u64) -> bool {
        let is_alive = |entry_id| self.liveness().is_alive(entry_id);
        status::is_untaken(self.segment().memory(), position, &is_alive)
    }

    /// Returns true if a living server may have postponed the request at a position, which no
    /// server has in flight.
    pub(super) fn is_postponed(&self, position: u64) -> bool {
        let is_alive = |entry_id| self.liveness().is_alive(entry_id);
        status::is_postponed(self.segment().memory(), position, &is_alive)
    }

    /// Returns true if the server with this entry and incarnation lives.
    pub(super) fn is_server_alive(&self, entry: usize, incarnation: u64) -> bool {
        let memory = self.segment().memory();
        // The entry comes from a message, so it may be out of range.
        entry < memory.subscribers().len()
            && status::incarnation(memory, entry) == incarnation
            && self.liveness().is_alive(EntryId::Subscriber(entry))
    }
}

impl GroupReceiver {
    /// The caller of a request: `entry` published it at `position`. [`CallerId::NONE`] if that
    /// client has left. `None` if there is no such entry.
    #[inline]
    pub(super) fn caller(&self, entry: u16, position: u64) -> Option<CallerId> {
        let details = &self.cursor.memory().publishers().get(usize::from(entry))?.details;
        // Pairs with the release in `AnyPublisher::sign`: `since` is that of this caller, or later.
        let caller = details.caller.load(Ordering::Acquire);
        let is_its = details.since.load(Ordering::Relaxed) <= position;
        Some(if is_its { CallerId(caller) } else { CallerId::NONE })
    }

    /// The server's entry and its incarnation.
    pub(super) fn entry_and_incarnation(&self) -> (usize, u64) {
        let entry = self.cursor.entry();
        (entry, status::incarnation(self.cursor.memory(), entry))
    }
}
