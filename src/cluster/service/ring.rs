//! What services need of their rings: an agreement on two types, the ring of a client's replies, the
//! calls that it gave up, and whose a request is.
//!
//! ```text
//!  publisher   sits down ─► since := tail ─► caller := its own ─► requests
//!  server      request at p ─► caller ─► since ─┬ since ≤ p: that caller's
//!                                               └ p < since: somebody's who has left
//! ```
//!
//! An entry's next owner finds the tail behind all that the one before claimed. So who reads a caller
//! and then a later owner's `since` knows it by the position, and who reads both of one reads what was
//! written before the request.

use super::status::{self, RequestStatus};
use crate::channel::GroupReceiver;
use crate::channel::Receiver;
use crate::channel::Ring;
use crate::channel::join::{self, Types, label};
use crate::error::OpenError;
use crate::packet::{Fingerprint, TypeInfo};
use crate::ring::cursor::Cursor;
use crate::ring::state::RingState;
use crate::segment::Segment;
use crate::segment::entry::EntryId;
use crate::sync::Ordering;
use crate::wait::Wait;

/// Where the pair of requests and replies is, among the types of a service's ring.
const PAIR: usize = 0;

/// Requests and replies as one: a name for people, and a fingerprint.
fn pair(request: &TypeInfo, reply: &TypeInfo) -> (String, Fingerprint) {
    let name = format!("{} -> {}", request.name, reply.name);
    (name, Fingerprint::of_pair(request.fingerprint, reply.fingerprint))
}

impl Ring {
    /// Agrees on the types of requests and replies: those of whoever comes first. Returns the index of
    /// the requests'.
    ///
    /// The pair is an entry of its own, before theirs: two entries do not say which is which where
    /// both are one type, nor that both were written by one who was killed in between.
    pub(crate) fn agree(&self, request: &TypeInfo, reply: &TypeInfo) -> Result<u16, OpenError> {
        let control = self.segment().lock()?;
        let (name, print) = pair(request, reply);
        let first = self.segment().with_types(|table| {
            table.fingerprint(PAIR).map(|print| (print, table.name(PAIR).unwrap_or_default()))
        });
        match first {
            Some((found, carried)) if found != print.0 => {
                let (expected, found) = (label(&name, print.0), label(&carried, found));
                return Err(OpenError::TypeMismatch { expected, found });
            }
            Some(_) => {}
            None => {
                let (request, reply) = (request.fingerprint, reply.fingerprint);
                let schema = format!(r#"{{"request":"{request}","reply":"{reply}"}}"#);
                self.segment()
                    .with_types(|table| table.register(print.0, &name, &schema))
                    .map_err(|_| OpenError::TooManyTypes { limit: Segment::MAX_TYPES })?;
            }
        }
        let index = join::register(&control, self.segment(), request)?;
        join::register(&control, self.segment(), reply)?;
        Ok(index)
    }

    /// The only subscriber of a ring of replies, and the index of their type.
    pub(crate) fn replies(&self, reply: &TypeInfo) -> Result<(Receiver, u16), OpenError> {
        join::subscriber(self.segment(), &Types::One(reply), None, Wait::default())
    }

    /// The calls that the reader of a ring of replies gave up, one bit each.
    pub(crate) fn given_up(&self) -> u64 {
        self.segment().memory().subscribers()[0].details.reply.given_up()
    }

    /// Says which they are. A hint for servers that have begun with one; who takes one that was not
    /// [taken](Self::is_untaken) after this sees it.
    pub(crate) fn give_up(&self, calls: u64) {
        self.segment().memory().subscribers()[0].details.reply.set_given_up(calls);
    }

    /// Closes a ring of replies, if its lock comes free within a tenth of a second: for leaving, which
    /// must not hang on a process that was stopped inside the lock.
    pub(crate) fn end(&self) {
        if self.segment().is_inherited() {
            return;
        }
        if let Some(_control) = self.segment().lock_bounded() {
            RingState::Closed.set(self.segment().memory());
        }
    }

    /// Whether the ring was closed.
    pub(crate) fn is_closed(&self) -> bool {
        RingState::of(self.segment().memory()) == RingState::Closed
    }
}

impl Ring {
    /// Joins as a member of the ring's group, whatever the packets are.
    pub(crate) fn taker(&self, types: &Types<'_>) -> Result<(GroupReceiver, u16), OpenError> {
        join::consumer(self.segment(), types, Wait::default())
    }

    /// What became of the packet that was published at a position.
    pub(crate) fn fate(&self, position: u64) -> RequestStatus {
        let is_alive = |member| self.liveness().is_alive(member);
        status::of_request(self.segment().memory(), position, &is_alive)
    }

    /// Whether nobody has taken the packet that was published at a position, nor is about to: who takes
    /// it later knows which calls were [given up](Self::give_up) before.
    pub(crate) fn is_untaken(&self, position: u64) -> bool {
        let is_alive = |member| self.liveness().is_alive(member);
        status::is_untaken(self.segment().memory(), position, &is_alive)
    }

    /// Whether a living member may have set the packet aside that was published at a position: asked
    /// once nobody has it in hand.
    pub(crate) fn is_postponed(&self, position: u64) -> bool {
        let is_alive = |member| self.liveness().is_alive(member);
        status::is_postponed(self.segment().memory(), position, &is_alive)
    }

    /// Whether the member that sat at an entry as the `incarnation`-th still does, and lives.
    pub(crate) fn is_there(&self, entry: usize, incarnation: u64) -> bool {
        let memory = self.segment().memory();
        // It comes from a letter.
        entry < memory.subscribers().len()
            && status::incarnation(memory, entry) == incarnation
            && self.liveness().is_alive(EntryId::Subscriber(entry))
    }
}

impl GroupReceiver {
    /// Whose request was published at a position by the publisher of this entry: `Some(None)` if by one
    /// who has left. `None`: there is no such entry.
    #[inline]
    pub(crate) fn caller(&self, entry: u16, position: u64) -> Option<Option<u64>> {
        let details = &self.cursor.memory().publishers().get(usize::from(entry))?.details;
        let caller = details.caller.load(Ordering::Acquire);
        let is_its = details.since.load(Ordering::Relaxed) <= position;
        Some(is_its.then_some(caller))
    }

    /// Its entry, and how many have sat there with it.
    pub(crate) fn place(&self) -> (usize, u64) {
        let entry = self.cursor.entry();
        (entry, status::incarnation(self.cursor.memory(), entry))
    }
}
