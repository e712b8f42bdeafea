//! Where everything lies in a segment, and who may write which word.
//!
//! ```text
//!  0        ┌──────────────────────────────────────────────────────────────┐
//!           │ Identity   magic, version, geometry, salt; `state` last      │ written once
//!  128      ├──────────────────────────────────────────────────────────────┤
//!           │ tail       the next position to be claimed                   │ publishers
//!  256      │ oldest     the oldest packet a newcomer may start at         │ publishers
//!  384      │ readers    announce, futex, closing                          │ subscribers; wakers
//!  512      │ writers    announce, futex                                   │ publishers; wakers
//!  640      │ membership     entries and types in use, who holds the lock      │ under the lock
//!  768      ├──────────────────────────────────────────────────────────────┤
//!           │ PublisherEntry × max_publishers    256 bytes each            │ its publisher
//!           │ SubscriberEntry × max_subscribers  256 bytes each            │ its subscriber
//!           │ TypeEntry × 64                     128 bytes each            │ under the lock
//!           │ schema text, 32 KiB                                          │ under the lock
//!           │ WorkerSlot × worker_slots                       256 bytes each            │ under the lock
//!           │ events, 128 bytes an entry, if the ring parks on events      │ raw_sync
//!           ├──────────────────────────────── page ────────────────────────┤
//!           │ Slot × capacity                    64 bytes each             │ publishers
//!           └──────────────────────────────────────────────────────────────┘
//! ```
//!
//! Words that different processes write live on different 128-byte lines: 64 bytes is the line,
//! and processors prefetch them in pairs.
//!
//! Not here: what the words mean to one another, which is the protocol (`ring`), nor how a
//! mapping comes about (`segment::enter`).

use super::roles::{ConsumerWords, DurableWords, ReplyWords};
use crate::sync::{AtomicU32, AtomicU64};
use crossbeam_utils::CachePadded;

/// No position: the cursor of an entry that holds nobody back, the record of no claim.
pub(crate) const NOWHERE: u64 = u64::MAX;

/// No ring comes as far: at a slot a nanosecond, after a century. So positions can be added to.
pub(crate) const FARTHEST: u64 = 1 << 62;

/// Bytes in a slot.
pub(crate) const SLOT: usize = 64;
/// Bytes of a packet's first slot that its header takes.
pub(crate) const HEADER: usize = 16;
/// Types that one ring can carry.
pub(crate) const MAX_TYPES: usize = 64;
/// 8-byte words of schema text in a segment, for all its types.
pub(crate) const SCHEMA_WORDS: usize = 4096;
/// 8-byte words of a worker's name.
pub(crate) const WORKER_NAME_WORDS: usize = 8;
/// 8-byte words of a type's name.
pub(crate) const TYPE_NAME_WORDS: usize = 12;

/// The first words of a segment: what it is. Written once, by its maker, under the control lock,
/// `state` last.
#[repr(C)]
#[derive(Debug, Default)]
pub(crate) struct Identity {
    /// [`MAGIC`](super::identity::MAGIC).
    pub(crate) magic: AtomicU64,
    /// Unmade, ready or removed. Stored with release when all else is in place.
    pub(crate) state: AtomicU64,
    /// Layout version in the low half, byte-order mark and pointer width above.
    pub(crate) format: AtomicU64,
    /// Length of the whole segment in bytes.
    pub(crate) len: AtomicU64,
    /// Slots in the ring, a power of two.
    pub(crate) capacity: AtomicU64,
    /// Publisher entries in the low half, subscriber entries in the high.
    pub(crate) entries: AtomicU64,
    /// How far back a newcomer starts, in packets; 0: at the tail.
    pub(crate) history: AtomicU64,
    /// Claim kind, overflow, parking, whether it stays open, carries letters and is a work queue,
    /// one bit each.
    pub(crate) flags: AtomicU64,
    /// Added to each position to give its stamp.
    pub(crate) salt: AtomicU64,
    /// Process id of the maker, for people.
    pub(crate) maker: AtomicU64,
    /// Desks of the directory; 0 in every other ring.
    pub(crate) worker_slots: AtomicU64,
}

/// The words of the ring that do not belong to one endpoint.
#[repr(C)]
#[derive(Debug, Default)]
pub(crate) struct Head {
    /// What the segment is.
    pub(crate) identity: CachePadded<Identity>,
    /// The next position to be claimed. Exclusive: stored by the publisher at each commit.
    /// Shared: moved by compare-and-swap, which is the claim.
    pub(crate) tail: CachePadded<AtomicU64>,
    /// A packet boundary: everything from here to the tail is still there. Moved forward by
    /// publishers; constant 0 in a ring without history.
    pub(crate) oldest: CachePadded<AtomicU64>,
    /// Where subscribers of an empty ring sleep.
    pub(crate) readers: CachePadded<Readers>,
    /// Where publishers to a full ring sleep.
    pub(crate) writers: CachePadded<EventCount>,
    /// What the control lock protects.
    pub(crate) membership: CachePadded<Membership>,
}

/// Where endpoints of one side sleep.
#[repr(C)]
#[derive(Debug, Default)]
pub(crate) struct EventCount {
    /// Counts announcements of sleepers. Added to by sleepers, looked at by wakers.
    pub(crate) waiters: AtomicU32,
    /// The word slept on. Added to by wakers.
    pub(crate) futex: AtomicU32,
}

/// The readers' bell, and the word publishers look at before each claim, on one line: a
/// publisher that has one has the other.
#[repr(C)]
#[derive(Debug, Default)]
pub(crate) struct Readers {
    /// Where subscribers sleep.
    pub(crate) event_count: EventCount,
    /// Open, left or closed (`ring::closing`).
    pub(crate) closing: AtomicU32,
}

/// Words written under the control lock alone.
#[repr(C)]
#[derive(Debug, Default)]
pub(crate) struct Membership {
    /// Entries that were ever used lie below this index; never falls. Read by every scan.
    pub(crate) publishers: AtomicU32,
    /// The same for subscribers.
    pub(crate) subscribers: AtomicU32,
    /// Types registered; never falls. Stored with release after the type's entry.
    pub(crate) types: AtomicU32,
    /// Bytes of schema text in use.
    pub(crate) schema: AtomicU32,
    /// Counts subscribers that joined beside another: a scan that it changes under begins again.
    pub(crate) clones: AtomicU32,
    /// Process id of the last to take the control lock, for people.
    pub(crate) lock_holder: AtomicU32,
    /// Letters: the types that the inbox takes, one bit each; 0: any.
    pub(crate) accepted: AtomicU64,
    /// When somebody was last found dead, in nanoseconds of the monotonic clock.
    pub(crate) died: AtomicU64,
}

/// A publisher's place.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct PublisherEntry {
    /// The claim in progress of a shared publisher.
    pub(crate) record: CachePadded<Record>,
    /// Who sits here.
    pub(crate) details: CachePadded<PublisherDetails>,
}

/// The rarely written words of a publisher.
#[repr(C)]
#[derive(Debug, Default)]
pub(crate) struct PublisherDetails {
    /// Who sits here.
    pub(crate) owner: EntryOwner,
    /// In a ring of requests: whose these are (`cluster::mark`). Stored by the publisher, after `since`
    /// and before its first packet.
    pub(crate) caller: AtomicU64,
    /// In a ring of requests: what was published here before this position was somebody else's.
    pub(crate) since: AtomicU64,
}

/// A claim in progress, or about to be tried: `[position, position + len)`.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Record {
    /// Its first position, or [`NOWHERE`]. Stored after `len`, loaded before it.
    pub(crate) position: AtomicU64,
    /// Its slots.
    pub(crate) len: AtomicU64,
}

/// Who sits at an entry. Written under the control lock.
#[repr(C)]
#[derive(Debug, Default)]
pub(crate) struct EntryOwner {
    /// Free, taken, taken durably, by one that is joining or by a member (`segment::member`).
    pub(crate) state: AtomicU32,
    /// Process id, for people: whether it lives is asked of the kernel.
    pub(crate) pid: AtomicU32,
}

/// A subscriber's place.
#[repr(C, align(128))]
#[derive(Debug)]
pub(crate) struct SubscriberEntry {
    /// Everything before it may be overwritten. Bit 63: a packet from here on is in hand
    /// (`DropOldest`). [`NOWHERE`]: holds nothing back.
    pub(crate) cursor: AtomicU64,
    /// The words of a queue consumer.
    pub(crate) consumer: ConsumerWords,
    /// The owner, and the rarely written words.
    pub(crate) details: CachePadded<SubscriberDetails>,
}

/// The rarely written words of a subscriber.
#[repr(C)]
#[derive(Debug, Default)]
pub(crate) struct SubscriberDetails {
    /// The owner of the entry.
    pub(crate) owner: EntryOwner,
    /// Packets whose eviction has begun. Evictors add to it before they move the cursor.
    pub(crate) evictions_begun: AtomicU64,
    /// Packets whose eviction is finished. Evictors add to it after they moved the cursor.
    pub(crate) evictions_counted: AtomicU64,
    /// The words of a durable subscriber.
    pub(crate) durable: DurableWords,
    /// The words of the reader of a reply ring.
    pub(crate) reply: ReplyWords,
}

/// A worker's place in a directory. Written under the control lock.
#[repr(C)]
#[derive(Debug, Default)]
pub(crate) struct WorkerSlot {
    /// Whose it is, by number, and how it stands (`segment::member::SlotPhase`): one word, so that
    /// nobody sees half a change.
    pub(crate) phase: CachePadded<AtomicU64>,
    /// Who sits here, or sat here last.
    pub(crate) info: CachePadded<SlotInfo>,
}

/// Who sits at a desk. Written while it is free, before the phase says that it is taken.
#[repr(C)]
#[derive(Debug, Default)]
pub(crate) struct SlotInfo {
    /// Process id, for people.
    pub(crate) pid: AtomicU32,
    /// When it sat down: nanoseconds of the monotonic clock, for people.
    pub(crate) since: AtomicU64,
    /// Length of the name in bytes.
    pub(crate) name_len: AtomicU64,
    /// The name.
    pub(crate) name: [AtomicU64; WORKER_NAME_WORDS],
}

/// A packet type that the ring carries.
#[repr(C)]
#[derive(Debug, Default)]
pub(crate) struct TypeEntry {
    /// Its fingerprint, low half first.
    pub(crate) fingerprint: [AtomicU64; 2],
    /// Length of the name in the low half, of the schema in the high, in bytes.
    pub(crate) lens: AtomicU64,
    /// Where its schema begins, in words of the schema text.
    pub(crate) schema: AtomicU64,
    /// Its name, cut to 96 bytes.
    pub(crate) name: [AtomicU64; TYPE_NAME_WORDS],
}

/// One slot: the header of a packet and its first 48 bytes, or 64 bytes in the midst of one.
#[repr(C, align(64))]
#[derive(Debug)]
pub(crate) struct Slot {
    /// `position + salt(lap)` once the packet that begins here is committed.
    pub(crate) stamp: AtomicU64,
    /// Length, type, kind and mark (`ring::slot::Descriptor`). Stored before the stamp.
    pub(crate) descriptor: AtomicU64,
    /// The first bytes of the archive; the rest follows in the next slots, headers and all.
    #[cfg(not(loom))]
    pub(crate) payload: std::cell::UnsafeCell<[u8; SLOT - HEADER]>,
    /// Stands for the payload of this slot when the orderings are being checked.
    #[cfg(loom)]
    pub(crate) payload: loom::cell::UnsafeCell<u64>,
}

#[cfg(test)]
impl PublisherEntry {
    /// An entry that nobody uses.
    pub(crate) fn vacant() -> Self {
        let record = Record { position: AtomicU64::new(NOWHERE), len: AtomicU64::new(0) };
        Self { record: CachePadded::new(record), details: CachePadded::default() }
    }
}

#[cfg(test)]
impl SubscriberEntry {
    /// An entry that nobody uses.
    pub(crate) fn vacant() -> Self {
        let (cursor, consumer, details) = (AtomicU64::new(NOWHERE), <_>::default(), <_>::default());
        Self { cursor, consumer, details }
    }
}
