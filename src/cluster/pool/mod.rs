//! The endpoints of one worker at the inboxes of others, and which thread uses them.
//!
//! Threads share a worker, and each send needs an endpoint of its own. A pool has two shards:
//!
//! - **Own**: the endpoints of the first thread that sends. No other thread uses them, so there is
//!   no lock.
//! - **Shared**: the endpoints of all other threads, behind a mutex. A thread takes an endpoint
//!   out, sends without the lock, and returns the endpoint. If none is idle, it attaches another.
//!
//! Guarantee: no thread waits while another thread serializes. Serialization runs code of the user,
//! which may send messages itself. A nested send of the first thread finds the own shard borrowed
//! and uses the shared one. A thread waits for another only if an inbox has no entry left: until an
//! endpoint of this worker there is returned.

mod shard;

use super::directory::{Directory, InboxAddress};
use super::names::{Address, SenderTag, WorkerId};
#[cfg(feature = "async")]
use crate::channel::RoomWait;
use crate::channel::{AnyPublisher, EventCount};
use crate::sys::owned::Owned;
use crate::sys::stop::Stop;
use crate::wait::{Deadline, Pace, Sleep, Subject, Wait, Waiter, notify_once};
use shard::PoolShard;
use std::cell::{Cell, RefCell, RefMut};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Publisher entries of an inbox for each worker slot: one for a worker's first thread, one for its
/// other threads, and one for workers whose other threads send at the same time.
pub(super) const ENTRIES: usize = 3;
/// Of these entries, the number that is reserved for workers with no other endpoint at the inbox.
const RESERVED_ENTRIES: usize = 2;

/// All endpoints of a worker at inboxes of others.
#[derive(Debug)]
pub(super) struct SenderPool {
    /// The tag of every message that this worker sends.
    pub(super) sender_tag: SenderTag,
    own: Owned<RefCell<PoolShard>>,
    shared: Mutex<PoolShard>,
    /// Notified when an endpoint returns to the shared shard.
    returned: EventCount,
}

/// An endpoint at an inbox, lent to one thread. Dropping it returns the endpoint, in a panic too.
#[derive(Debug)]
pub(super) struct PooledSender<'a> {
    shard: ShardRef<'a>,
    id: WorkerId,
    /// Number of the record that the endpoint belongs to.
    serial: u64,
    /// True if this worker had other endpoints at the inbox when this one was lent.
    is_extra: bool,
    /// `None` if the holder must attach it first, or if it is not to be kept.
    pub(super) endpoint: Option<AnyPublisher>,
}

/// The shard that an endpoint returns to.
#[derive(Clone, Copy, Debug)]
enum ShardRef<'a> {
    Own(&'a RefCell<PoolShard>),
    Shared(&'a SenderPool),
}

/// Result of waiting for an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PoolWait {
    /// The endpoint is there.
    Ready,
    /// Something changed, or a bounded wait ended: try again.
    Again,
    /// The inbox has no entry for this worker, or the deadline passed.
    Full,
}

impl SenderPool {
    /// An empty pool of the worker that messages name as their sender.
    pub(super) fn new(sender: WorkerId, generation: u64) -> Self {
        Self {
            sender_tag: SenderTag::of(sender, generation),
            own: Owned::default(),
            shared: Mutex::default(),
            returned: EventCount::default(),
        }
    }

    /// Borrows the own shard. `None` if it belongs to another thread, or if this thread is in a
    /// nested send.
    #[inline]
    pub(super) fn own(&self) -> Option<RefMut<'_, PoolShard>> {
        self.own.get()?.try_borrow_mut().ok()
    }

    /// Lends an idle endpoint of the shared shard, if the worker's presence is as at its lookup.
    pub(super) fn lend_cached(
        &self,
        who: &Address<'_>,
        directory: &Directory,
    ) -> Option<PooledSender<'_>> {
        let mut shared = self.shared();
        let (id, peer) = shared.peer(who, directory)?;
        let endpoint = Some(peer.take()?);
        peer.lent += 1;
        let serial = peer.serial;
        Some(PooledSender { shard: ShardRef::Shared(self), id, serial, is_extra: false, endpoint })
    }

    /// Lends an endpoint at an inbox that was just looked up, or the right to attach one. Uses the
    /// own shard if this thread has it and `skip_own` is false.
    pub(super) fn lend(
        &self,
        address: &InboxAddress,
        who: &Address<'_>,
        directory: &Directory,
        skip_own: bool,
    ) -> PooledSender<'_> {
        // Dropped after the locks are released: leaving a ring takes its control lock.
        let mut obsolete = Vec::new();
        let mut lend = |shard: &mut PoolShard, owner| {
            let peer = shard.update(address, who, directory, &mut obsolete);
            peer.lent += 1;
            let (serial, is_extra) = (peer.serial, peer.lent > 1);
            PooledSender { shard: owner, id: address.id, serial, is_extra, endpoint: peer.take() }
        };
        if !skip_own
            && let Some(own) = self.own.get()
            && let Ok(mut shard) = own.try_borrow_mut()
        {
            return lend(&mut shard, ShardRef::Own(own));
        }
        lend(&mut self.shared(), ShardRef::Shared(self))
    }

    /// After a try that found no room at an inbox: has a task wait for room.
    #[cfg(feature = "async")]
    pub(super) fn wait_in(&self, who: &Address<'_>, directory: &Directory, room: &mut RoomWait) {
        if let Some(mut own) = self.own()
            && let Some(endpoint) = own.cached(who, directory)
        {
            return endpoint.wait_in(room);
        }
        match &mut self.lend_cached(who, directory) {
            Some(PooledSender { endpoint: Some(endpoint), .. }) => endpoint.wait_in(room),
            _ => room.begin(None),
        }
    }

    /// Returns true if threads share an endpoint at this inbox: it will be idle, or is.
    #[cfg(feature = "async")]
    pub(super) fn has_shared(&self, who: &Address<'_>, directory: &Directory) -> bool {
        self.shared().peer(who, directory).is_some_and(|(_, peer)| peer.is_in_use())
    }

    fn shared(&self) -> MutexGuard<'_, PoolShard> {
        // A panic leaves the shard consistent: no code of the user runs under the lock.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PooledSender<'_> {
    /// Returns true if the endpoint belongs to the own shard.
    pub(super) fn is_own(&self) -> bool {
        matches!(self.shard, ShardRef::Own(_))
    }

    /// Number of an inbox's `entries` that must stay free when this endpoint attaches.
    pub(super) fn reserved(&self, entries: usize) -> usize {
        if self.is_extra { entries / ENTRIES * RESERVED_ENTRIES } else { 0 }
    }

    /// Waits until another thread returns an endpoint at this inbox, which had no entry left. A
    /// bounded wait: call it again for [`PoolWait::Again`].
    pub(super) fn wait_for_return(
        &mut self,
        deadline: Deadline,
        pace: &mut Pace,
        stop: Option<&Stop>,
    ) -> PoolWait {
        let ShardRef::Shared(pool) = self.shard else { return PoolWait::Again };
        let mut shared = pool.shared();
        let Some(peer) = shared.peer_of(self.id, self.serial) else { return PoolWait::Again };
        // `lent` counts this endpoint, too.
        let is_alone = peer.lent < 2;
        self.endpoint = peer.take();
        if self.endpoint.is_some() {
            return PoolWait::Ready;
        }
        if is_alone {
            // No other thread will return one. If others did since this one was lent, the reserved
            // entries are open to it now.
            return if self.is_extra { PoolWait::Again } else { PoolWait::Full };
        }
        if deadline.has_passed() {
            return PoolWait::Full;
        }
        shared.waiting += 1;
        drop(shared);
        // Another worker may leave an entry, too, which nothing tells.
        let is_returned = || {
            let mut shared = pool.shared();
            shared.peer_of(self.id, self.serial).is_none_or(|peer| peer.has_idle())
        };
        let waiter = Waiter::new(Wait::park(), Sleep::Futex).with_stop(stop);
        pace.pause(Subject { id: 0, is_pending: true }, deadline, |bound| {
            waiter.park_once(&pool.returned, bound, is_returned)
        });
        pool.shared().waiting -= 1;
        PoolWait::Again
    }
}

impl Drop for PooledSender<'_> {
    fn drop(&mut self) {
        let endpoint = self.endpoint.take();
        // An endpoint that is not kept is dropped at the end of this function, after the lock is
        // released.
        let _not_kept = match self.shard {
            ShardRef::Own(own) => own.borrow_mut().take_back(self.id, self.serial, endpoint),
            ShardRef::Shared(pool) => {
                let mut shared = pool.shared();
                let not_kept = shared.take_back(self.id, self.serial, endpoint);
                let is_awaited = shared.waiting > 0;
                drop(shared);
                if is_awaited {
                    // All: each waits for an endpoint at a certain inbox.
                    notify_once(&pool.returned);
                }
                not_kept
            }
        };
    }
}

thread_local! {
    /// Messages that this thread is serializing, nested.
    static DEPTH: Cell<u32> = const { Cell::new(0) };
}

/// This thread serializes a message while the value lives.
pub(in crate::cluster) struct SerializeDepth(());

impl SerializeDepth {
    #[inline]
    pub(in crate::cluster) fn begin() -> Self {
        DEPTH.set(DEPTH.get() + 1);
        Self(())
    }

    /// Returns true if this thread is serializing a message.
    pub(in crate::cluster) fn is_under_way() -> bool {
        DEPTH.get() > 0
    }
}

impl Drop for SerializeDepth {
    #[inline]
    fn drop(&mut self) {
        DEPTH.set(DEPTH.get() - 1);
    }
}
