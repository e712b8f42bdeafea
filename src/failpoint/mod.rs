//! Named steps of the protocol, at which a test can stop a process.
//!
//! Outside of the crate's own tests [`step`] is an empty function.
//!
//! In unit tests the environment variable `PACKETRING_STOP_AT=<step>:<signal>[:<n>]` sends the
//! process that signal the n-th time it comes to the step: a kill or a freeze at exactly this
//! instruction.
//!
//! Under loom each step is a relaxed addition to one counter, which orders nothing and which
//! every thread makes. Loom (0.7) remembers one last access of an atomic, so a thread's load of a
//! word just before its compare-and-swap on it hides another thread's load from the exploration;
//! with the counter, every order of the steps is explored.

macro_rules! steps {
    ($($(#[$doc:meta])* $name:ident,)+) => {
        /// A step, named for what comes next.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Failpoint {
            $($(#[$doc])* $name,)+
        }

        #[cfg(test)]
        impl Failpoint {
            /// Every step, in the order of the protocol.
            pub(crate) const ALL: &'static [Self] = &[$(Self::$name,)+];
        }
    };
}

steps! {
    /// Open: the object is open, the control lock is not held.
    OpenLock,
    /// Make: memory is about to be reserved.
    MakeReserve,
    /// Make: reserved, about to be mapped.
    MakeMap,
    /// Make: initialized, about to be called ready.
    MakeReady,
    /// Attach: about to say that this attachment is there.
    Attach,
    /// Join: a type's entry is written, it is about to be counted.
    JoinType,
    /// Join: the liveness lock is held, the entry is about to be taken.
    JoinOwner,
    /// Join: the entry is taken, the cursor is about to be set.
    JoinCursor,
    /// Join: the cursor holds publishers back, it is about to be moved up.
    JoinMove,
    /// Join: about to be made durable.
    JoinDurable,
    /// Limit: the tail was read, the entries are about to be scanned.
    GateScan,
    /// Claim: the record's length is about to be written.
    ClaimLen,
    /// Claim: the record's position is about to be written.
    ClaimPosition,
    /// Claim: the tail is about to be moved.
    ClaimTail,
    /// Claim: won, about to be filled.
    ClaimFill,
    /// Commit: padding is about to be stamped.
    CommitPadding,
    /// Commit: about to be stamped.
    CommitStamp,
    /// Commit: stamped; the tail (exclusive) or the record (shared) is about to follow.
    CommitAfter,
    /// Commit: done, sleepers are about to be woken.
    CommitWake,
    /// Wake: the word slept on was changed, sleepers are about to be woken.
    Wake,
    /// Receive: the stamp is about to be looked at.
    ReceiveLook,
    /// Receive: the packet is in hand.
    Receive,
    /// Receive: the cursor is about to be moved.
    Release,
    /// Take: a member is about to say that it tries for a packet.
    TakeMark,
    /// Take: about to pin the shared cursor.
    TakePin,
    /// Take: pinned, the hand is about to be written.
    TakeHand,
    /// Take: the hand is written, the shared cursor is about to be moved.
    TakeMove,
    /// Take: about to be acknowledged.
    TakeDone,
    /// Adopt: a dead member's packet was found, the own hand is about to be written.
    AdoptHand,
    /// Adopt: about to be counted.
    AdoptCount,
    /// Adopt: a dead hand is about to be cleared.
    AdoptClear,
    /// Recover: a group's shared cursor is about to be read.
    UnpinLook,
    /// Recover: it is pinned, the hands are about to be asked about.
    UnpinAsk,
    /// Recover: a dead member's pin is about to be taken off.
    Unpin,
    /// Evict: the cursor was read, packets are about to be walked over.
    EvictWalk,
    /// Evict: counted as begun, the cursor is about to be moved.
    EvictMove,
    /// Evict: moved, about to be counted.
    EvictCount,
    /// History: the oldest packet is about to be moved up.
    HistoryMove,
    /// Recover: the tail is about to be read.
    RecoverTail,
    /// Recover: the tail was read, the records are about to be scanned.
    RecoverScan,
    /// Recover: the records were scanned, the stamp is about to be looked at.
    RecoverLook,
    /// Recover: a void packet's header is about to be written.
    RecoverHeader,
    /// Recover: a void packet is about to be stamped.
    RecoverStamp,
    /// Recover: resolved, the record is about to be cleared.
    RecoverClear,
    /// Park: announced, about to look again.
    ParkLook,
    /// Leave: the cursor or record is about to be given up.
    LeaveCursor,
    /// Leave: the entry is about to be freed.
    LeaveOwner,
    /// Close: about to be marked.
    CloseMark,
    /// Detach: the attachment is about to be given back.
    Detach,
    /// Detach: it was looked whether others are attached, the control lock is about to be given back.
    DetachUnlock,
    /// Join a cluster: the desk's lock is held, its card is about to be written.
    DeskName,
    /// Join a cluster: about to be said in the desk's phase.
    DeskPhase,
    /// First inbox: about to be expected back.
    KeepInbox,
    /// Leave a cluster: about to be no longer expected back.
    LeavePhase,
    /// Leave a cluster: the inbox is about to be ended.
    LeaveInbox,
    /// Leave a cluster: the desk is about to be freed.
    LeaveFree,
    /// Remove: about to be marked.
    RemoveMark,
    /// Remove: marked, or nobody can come into it; about to be unlinked.
    RemoveUnlink,
}

/// Marks a step.
#[cfg(not(any(test, loom)))]
#[inline(always)]
pub(crate) fn failpoint(_: Failpoint) {}

/// Marks a step, at which loom may switch threads.
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
        step: String,
        signal: i32,
        left: AtomicUsize,
    }

    /// Marks a step, and stops here if the environment asks for it.
    pub(crate) fn failpoint(step: Failpoint) {
        static STOP: OnceLock<Option<Stop>> = OnceLock::new();
        let Some(stop) = STOP.get_or_init(read) else { return };
        if format!("{step:?}") == stop.step && stop.left.fetch_sub(1, Ordering::Relaxed) == 1 {
            // SAFETY: sends a signal to this very process.
            unsafe { libc::raise(stop.signal) };
        }
    }

    fn read() -> Option<Stop> {
        let text = std::env::var("PACKETRING_STOP_AT").ok()?;
        let mut parts = text.split(':');
        let step = parts.next()?.to_owned();
        let signal = parts.next()?.parse().unwrap();
        let left = parts.next().map_or(1, |count| count.parse().unwrap());
        Some(Stop { step, signal, left: AtomicUsize::new(left) })
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
