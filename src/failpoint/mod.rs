//! Failpoints: named steps of the protocol at which a test can stop a process.
//!
//! In a release build [`failpoint`] is an empty function.
//!
//! In unit tests the environment variable `PACKETRING_STOP_AT=<failpoint>:<signal>[:<n>]` makes the
//! process raise that signal when it reaches the failpoint for the n-th time: a kill or a freeze
//! exactly there.
//!
//! Under loom each failpoint is a relaxed addition to one counter, which orders nothing and which
//! every thread makes. Loom (0.7) remembers one last access of an atomic. So a thread's load of a
//! word just before its compare-and-swap on it hides another thread's load from the exploration.
//! With the counter loom explores every order of the failpoints.

macro_rules! failpoints {
    ($($(#[$doc:meta])* $name:ident,)+) => {
        /// A failpoint, named for the step that follows.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Failpoint {
            $($(#[$doc])* $name,)+
        }

        #[cfg(test)]
        impl Failpoint {
            /// Every failpoint, in the order of the protocol.
            pub(crate) const ALL: &'static [Self] = &[$(Self::$name,)+];
        }
    };
}

failpoints! {
    /// Open: the object is open. Next: take the control lock.
    OpenLock,
    /// Make: the object is locked and has no name. Next: name it.
    MakeName,
    /// Make. Next: reserve memory.
    MakeReserve,
    /// Make. Next: map the memory.
    MakeMap,
    /// Make: initialized. Next: mark as ready.
    MakeReady,
    /// Attach. Next: take the attachment lock.
    Attach,
    /// Join: nothing needs some types. Next: free their entries.
    TypeFree,
    /// Join: a vacant type entry was found. Next: write it.
    TypeWrite,
    /// Join: the type entry is written. Next: count the registration.
    TypeCount,
    /// Join: the registration is counted. Next: mark the type entry as registered.
    JoinType,
    /// Join: the type is registered. Next: record its use in the own entry.
    TypeUse,
    /// Join: the liveness lock is held. Next: take the entry.
    JoinOwner,
    /// Join, recovery: a stamp of a batch was found that a dead publisher left. Next: erase it.
    EraseStamp,
    /// Join: the entry is taken. Next: store the cursor.
    JoinCursor,
    /// Join: the cursor gates publishers. Next: place it.
    JoinMove,
    /// Join. Next: make the entry durable.
    JoinDurable,
    /// Gate: the tail was read. Next: scan the entries.
    GateScan,
    /// Claim: the slots are free. Next: publish the limit.
    LimitStore,
    /// Claim. Next: store the record's length.
    ClaimLen,
    /// Claim. Next: store the record's position.
    ClaimPosition,
    /// Claim. Next: move the tail.
    ClaimTail,
    /// Claim: won. Next: fill it.
    ClaimFill,
    /// Burst: slots are claimed. Next: fill the next packet.
    BurstFill,
    /// Burst: it ends with slots left. Next: make them void.
    BurstVoid,
    /// Batch: the slots are free. Next: record its end.
    BatchRecord,
    /// Batch. Next: stamp a packet behind the first one.
    BatchStamp,
    /// Batch: all other packets are stamped. Next: stamp the first one.
    BatchHead,
    /// Claim: the time of a probe is written. Next: stamp the probe.
    ProbeStamp,
    /// Commit. Next: stamp padding.
    CommitPadding,
    /// Commit. Next: stamp the packet.
    CommitStamp,
    /// Commit: stamped. Next: store the tail (exclusive) or clear the record (shared).
    CommitAfter,
    /// Commit: done. Next: wake sleepers.
    CommitWake,
    /// Wake: the futex word was changed. Next: wake sleepers.
    Wake,
    /// Receive. Next: load the stamp.
    ReceiveLook,
    /// Receive: the packet is in flight.
    Receive,
    /// Receive. Next: move the cursor.
    Release,
    /// Queue, take. Next: record the attempt in the in-flight word.
    TakeAttempt,
    /// Queue, take. Next: pin the shared cursor.
    TakePin,
    /// Queue, take: pinned. Next: store the in-flight word.
    TakeInFlight,
    /// Queue, take: the in-flight word is stored. Next: move the shared cursor.
    TakeMove,
    /// Queue. Next: acknowledge the packet.
    TakeAck,
    /// Redeliver: the count is stored. Next: store the packet that it counts.
    Redeliver,
    /// Dead letter: it was sent. Next: acknowledge the packet.
    DeadLetter,
    /// Request: it is in hand. Next: check whether its caller has given it up.
    RequestCheck,
    /// Reply: the place is known. Next: write the reply.
    ReplyFill,
    /// Reply: written. Next: store the state.
    ReplyState,
    /// Adopt: a dead consumer's packet was found. Next: store the own in-flight word.
    AdoptInFlight,
    /// Adopt. Next: restart scans.
    AdoptRestart,
    /// Adopt. Next: clear a dead consumer's in-flight word.
    AdoptClear,
    /// Unpin. Next: read the shared cursor.
    UnpinRead,
    /// Unpin: the cursor is pinned. Next: check the in-flight words.
    UnpinCheck,
    /// Unpin. Next: clear a dead consumer's in-flight word, or its pin.
    Unpin,
    /// Evict: the cursor was read. Next: scan packets.
    EvictScan,
    /// Evict: counted as begun. Next: move the cursor.
    EvictMove,
    /// Evict: moved. Next: count.
    EvictCount,
    /// History. Next: move the oldest packet up.
    HistoryMove,
    /// Cell, read: the word was read. Next: pin its buffer.
    CellPin,
    /// Cell, read: pinned. Next: read the word again.
    CellLook,
    /// Cell, write: fenced. Next: read the pins.
    CellScan,
    /// Cell, write: a free buffer was found. Next: fill it.
    CellFill,
    /// Cell, write: filled. Next: store the word.
    CellPublish,
    /// Recover. Next: read the tail.
    RecoverTail,
    /// Recover: the tail was read. Next: scan the records.
    RecoverScan,
    /// Recover: the records were scanned. Next: read the stamp again.
    RecoverLook,
    /// Recover. Next: store a void packet's header.
    RecoverHeader,
    /// Recover. Next: stamp a void packet.
    RecoverStamp,
    /// Recover: resolved. Next: clear the record.
    RecoverClear,
    /// Handover: the socket is open. Next: give it its name.
    #[cfg_attr(not(feature = "handover"), allow(dead_code))]
    SocketName,
    /// Handover, sender: connected. Next: send the descriptors.
    #[cfg_attr(not(feature = "handover"), allow(dead_code))]
    FdsSend,
    /// Handover, sender: the descriptors are sent. Next: publish their message.
    #[cfg_attr(not(feature = "handover"), allow(dead_code))]
    FdsMessage,
    /// Handover, receiver: the descriptors are there. Next: say that they are taken.
    #[cfg_attr(not(feature = "handover"), allow(dead_code))]
    FdsTake,
    /// Handover, receiver: said that they are taken. Next: return them.
    #[cfg_attr(not(feature = "handover"), allow(dead_code))]
    FdsTaken,
    /// Park: the waiter is registered and has looked again. Next: sleep.
    ParkSleep,
    /// Leave. Next: clear the cursor.
    LeaveCursor,
    /// Leave. Next: free the entry.
    LeaveOwner,
    /// Close. Next: store the ring state.
    CloseMark,
    /// Detach. Next: release the attachment lock.
    Detach,
    /// Detach: others were checked. Next: release the control lock.
    DetachUnlock,
    /// Join a cluster: the worker slot's lock is held. Next: write the name.
    WorkerSlotName,
    /// Join a cluster. Next: store the worker slot's phase.
    WorkerSlotPhase,
    /// First inbox. Next: mark the worker as kept.
    KeepInbox,
    /// Replace an inbox: the new one is complete. Next: fill the old one.
    InboxSeal,
    /// Replace an inbox: the old one is full. Next: mark the new one as the worker's.
    InboxSwitch,
    /// Replace an inbox: the new one is the worker's. Next: close the old one.
    InboxClose,
    /// Replace an inbox. Next: remove the name of the old one.
    InboxUnlink,
    /// Leave a cluster. Next: mark the worker as not kept.
    LeavePhase,
    /// Leave a cluster. Next: close the inbox.
    LeaveInbox,
    /// Leave a cluster. Next: free the worker slot.
    LeaveFree,
    /// Remove. Next: mark as removed.
    RemoveMark,
    /// Remove: marked, or no process can attach. Next: unlink.
    RemoveUnlink,
}

/// Does nothing.
#[cfg(not(any(test, loom)))]
#[inline(always)]
pub(crate) fn failpoint(_: Failpoint) {}

/// A point at which loom may switch threads.
#[cfg(loom)]
pub(crate) fn failpoint(_: Failpoint) {
    loom::lazy_static! {
        static ref STEPS: loom::sync::atomic::AtomicU64 = loom::sync::atomic::AtomicU64::new(0);
    }
    STEPS.fetch_add(1, loom::sync::atomic::Ordering::Relaxed);
}

#[cfg(all(test, not(loom)))]
pub(crate) use armed::failpoint;

#[cfg(all(test, not(loom)))]
mod armed {
    use super::Failpoint;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicUsize, Ordering};

    struct Stop {
        point: String,
        signal: i32,
        left: AtomicUsize,
    }

    /// Raises the signal if the environment asks for it here.
    pub(crate) fn failpoint(point: Failpoint) {
        static STOP: OnceLock<Option<Stop>> = OnceLock::new();
        let Some(stop) = STOP.get_or_init(read) else { return };
        if format!("{point:?}") == stop.point && stop.left.fetch_sub(1, Ordering::Relaxed) == 1 {
            // SAFETY: sends a signal to this process.
            unsafe { libc::raise(stop.signal) };
        }
    }

    fn read() -> Option<Stop> {
        let text = std::env::var("PACKETRING_STOP_AT").ok()?;
        let mut parts = text.split(':');
        let point = parts.next()?.to_owned();
        let signal = parts.next()?.parse().unwrap();
        let left = parts.next().map_or(1, |count| count.parse().unwrap());
        Some(Stop { point, signal, left: AtomicUsize::new(left) })
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
