//! The words of a segment: their order, their sizes and their writers.
//!
//! ```text
//!  0        ┌──────────────────────────────────────────────────────────────┐ written by
//!           │ Identity   magic, version, geometry, salt; `state` last      │ the maker, once
//!  128      ├──────────────────────────────────────────────────────────────┤
//!           │ tail       next position to claim                            │ publishers
//!  256      ├──────────────────────────────────────────────────────────────┤
//!           │ oldest     first packet that a newcomer may start at         │ publishers
//!  384      ├──────────────────────────────────────────────────────────────┤
//!           │ readers    event count of subscribers, ring state            │ sleepers, notifiers
//!  512      ├──────────────────────────────────────────────────────────────┤
//!           │ writers    event count of publishers                         │ sleepers, notifiers
//!  640      ├──────────────────────────────────────────────────────────────┤
//!           │ membership entries and types in use, control lock holder     │ control lock holder
//!  768      ├──────────────────────────────────────────────────────────────┤
//!           │ PublisherEntry × max_publishers      256 bytes each          │ its owner
//!           │ SubscriberEntry × max_subscribers    256 bytes each          │ its owner, evictors
//!           │ TypeEntry × 64                       128 bytes each          │ control lock holder
//!           │ links of schema text                 2 KiB                   │ control lock holder
//!           │ schema text                          32 KiB                  │ control lock holder
//!           │ WorkerSlot × worker_slots            256 bytes each          │ control lock holder
//!           │ CallCell × call_cells                128 bytes each          │ caller, one server
//!           │ latencies, of a ring                 984 bytes + 24 a reader │ readers that sample
//!           │ events, if the ring parks on them    128 bytes an entry      │ raw_sync
//!           │ CellHead × cells, of a board         128 bytes each          │ writers, waiters
//!           │ Slot × buffers, of a board           64 bytes each           │ writers
//!           ├──────────────────────────────── page ────────────────────────┤
//!           │ Slot × capacity                      64 bytes each           │ publishers
//!           └──────────────────────────────────────────────────────────────┘
//! ```
//!
//! Words that different processes write lie on different 128-byte lines: a cache line has 64 bytes,
//! and processors prefetch lines in pairs.
//!
//! `docs/internals/memory-layout.md` has each word with its offset. Offsets of the parts are in
//! `segment::places`, the protocol over the words in `ring`.

use super::counters::{PublisherCounts, SubscriberCounts, TrafficWords};
use super::roles::{ConsumerWords, DurableWords, RedeliveryWords};
use crate::sync::{AtomicU32, AtomicU64};
use crossbeam_utils::CachePadded;

/// No position: the cursor of an entry that gates nothing, the record of no claim.
pub(crate) const NOWHERE: u64 = u64::MAX;

/// Upper bound of valid positions. A ring reaches it after a century at one slot per nanosecond, so
/// additions to positions cannot overflow.
pub(crate) const FARTHEST: u64 = 1 << 62;

/// Bytes in a slot.
pub(crate) const SLOT: usize = 64;
/// Bytes of the header in a packet's first slot.
pub(crate) const HEADER: usize = 16;
/// Types that one ring can carry.
pub(crate) const MAX_TYPES: usize = 64;
/// 8-byte words of schema text in a segment, for all its types.
pub(crate) const SCHEMA_WORDS: usize = 4096;
/// 8-byte words in a block of schema text.
pub(crate) const BLOCK_WORDS: usize = 8;
/// Blocks of schema text in a segment.
pub(crate) const BLOCKS: usize = SCHEMA_WORDS / BLOCK_WORDS;
/// 8-byte words of a cell's key.
pub(crate) const CELL_KEY_WORDS: usize = 8;
/// 8-byte words of a worker's name.
pub(crate) const WORKER_NAME_WORDS: usize = 8;
/// 8-byte words of a type's name.
pub(crate) const TYPE_NAME_WORDS: usize = 12;

/// The first words of a segment. Its maker writes them once, under the control lock, `state` last.
/// Only `state` and `keeps` change later.
///
/// `magic`, `state`, `format` and `keeps` have these offsets and meanings in every layout version.
#[repr(C)]
#[derive(Debug, Default)]
pub(crate) struct Identity {
    /// `segment::identity::MAGIC`.
    pub(crate) magic: AtomicU64,
    /// Unmade, ready or removed. Stored with release after all other words.
    pub(crate) state: AtomicU64,
    /// Layout version in the low half, byte-order mark and pointer width above.
    pub(crate) format: AtomicU64,
    /// Length of the whole segment in bytes.
    pub(crate) len: AtomicU64,
    /// Slots in the ring, a power of two.
    pub(crate) capacity: AtomicU64,
    /// Publisher entries in the low half, subscriber entries in the high.
    pub(crate) entries: AtomicU64,
    /// How many packets back a newcomer starts; 0: at the tail.
    pub(crate) history: AtomicU64,
    /// Claim kind, overflow, parking, stays open, tagged slots, work queue: one bit each.
    pub(crate) flags: AtomicU64,
    /// Random number of the ring, part of each stamp.
    pub(crate) salt: AtomicU64,
    /// Process id of the maker, for display only.
    pub(crate) maker: AtomicU64,
    /// Worker slots of a directory; 0 in every other segment.
    pub(crate) worker_slots: AtomicU64,
    /// Whether a process of another layout version may remove a segment that is left
    /// (`segment::identity`).
    pub(crate) keeps: AtomicU64,
    /// Call cells of a call area; 0 in every other segment.
    pub(crate) call_cells: AtomicU64,
    /// Call area: the generation of its worker. The worker stores it before its first request.
    pub(crate) generation: AtomicU64,
    /// Board: cells in the low half, buffers of each in the high half; 0 in every other segment.
    pub(crate) cells: AtomicU64,
    /// Board: most bytes of a value.
    pub(crate) cell_size: AtomicU64,
}

/// The words that belong to no one endpoint.
#[repr(C)]
#[derive(Debug, Default)]
pub(crate) struct Head {
    /// Kind and geometry of the segment.
    pub(crate) identity: CachePadded<Identity>,
    /// The next position to be claimed. Exclusive: stored by the publisher at each commit.
    /// Shared: moved by compare-and-swap, which is the claim.
    pub(crate) tail: CachePadded<AtomicU64>,
    /// A packet boundary: everything from here to the tail is still there. Moved forward by
    /// publishers; constant 0 in a ring without history.
    pub(crate) oldest: CachePadded<AtomicU64>,
    /// Event count of subscribers, which sleep while the ring is empty, and the ring state.
    pub(crate) readers: CachePadded<Readers>,
    /// Event count of publishers, which sleep while the ring is full.
    pub(crate) writers: CachePadded<EventCount>,
    /// Words of the control lock holder.
    pub(crate) membership: CachePadded<Membership>,
}

/// The words that the endpoints of one side sleep on.
#[repr(C)]
#[derive(Debug, Default)]
pub(crate) struct EventCount {
    /// Counts registrations of waiters. Waiters add to it, notifiers load it.
    pub(crate) waiters: AtomicU32,
    /// The word that the kernel sleeps on. Notifiers add to it.
    pub(crate) futex: AtomicU32,
}

/// The event count of subscribers and the ring state on one line. A publisher loads both for each
/// packet.
#[repr(C)]
#[derive(Debug, Default)]
pub(crate) struct Readers {
    /// Event count of subscribers.
    pub(crate) event_count: EventCount,
    /// Open, left or closed (`ring::membership`).
    pub(crate) state: AtomicU32,
}

/// Words that are written only under the control lock, except `sampling`.
#[repr(C)]
#[derive(Debug, Default)]
pub(crate) struct Membership {
    /// Used publisher entries lie below this index. It never falls. Every gate scan reads it.
    pub(crate) publishers: AtomicU32,
    /// Used subscriber entries lie below this index. It never falls.
    pub(crate) subscribers: AtomicU32,
    /// Counts events that a gate scan under way may have passed: clones of a subscriber, new
    /// consumers, adoptions. A scan that sees this word change begins again.
    pub(crate) clones: AtomicU32,
    /// Process id of the last control lock holder, for display only.
    pub(crate) lock_holder: AtomicU32,
    /// Inbox: accepted types, one bit each; 0: every type.
    pub(crate) accepted: AtomicU64,
    /// When a dead process was last found, in nanoseconds of the monotonic clock.
    pub(crate) died: AtomicU64,
    /// Entries of the type table that have a type, one bit each. A bit is stored with release after
    /// the entry and `registrations`.
    pub(crate) types: AtomicU64,
    /// Counts the types that were registered. It never falls. Stored with release after the entry.
    pub(crate) registrations: AtomicU64,
    /// Slots for one probe of latencies (`ring::claim::probe`); 0: none. Written by a process that
    /// switches sampling, with or without the control lock. Publishers load it in their slow path.
    pub(crate) sampling: AtomicU64,
}

/// The entry of one publisher.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct PublisherEntry {
    /// The claim in progress of a shared publisher.
    pub(crate) record: CachePadded<Record>,
    /// The owner, and the rarely written words.
    pub(crate) details: CachePadded<PublisherDetails>,
}

/// The rarely written words of a publisher.
#[repr(C)]
#[derive(Debug, Default)]
pub(crate) struct PublisherDetails {
    /// The owner of the entry.
    pub(crate) owner: EntryOwner,
    /// Request ring: the client. The publisher stores it after `since` and before its first packet.
    pub(crate) caller: AtomicU64,
    /// Request ring: packets below this position belong to an earlier owner of the entry.
    pub(crate) since: AtomicU64,
    /// Request ring: calls that the client gave up and that may still be taken.
    pub(crate) given_up: AtomicU64,
    /// Type indices that the owner uses, one bit each. Written under the control lock.
    pub(crate) types: AtomicU64,
    /// Slots below this position may be written to. Stored by the owner before it writes there.
    /// Never lowered, also not by the next owner.
    pub(crate) limit: AtomicU64,
    /// Rare events. Written by the owner alone.
    pub(crate) counts: PublisherCounts,
}

/// A claim in progress, or about to be tried: the slots `[position, position + len)`.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Record {
    /// First position, or [`NOWHERE`]. Stored after `len`, loaded before it.
    pub(crate) position: AtomicU64,
    /// Number of slots.
    pub(crate) len: AtomicU64,
    /// What the publisher sent. Written by the owner alone.
    pub(crate) sent: TrafficWords,
    /// The end of the last batch whose packets become visible together. Stored after the claim,
    /// before the first stamp of the batch; never cleared.
    pub(crate) batch_end: AtomicU64,
}

/// The owner of an entry. Written under the control lock.
#[repr(C)]
#[derive(Debug, Default)]
pub(crate) struct EntryOwner {
    /// `segment::entry::OwnerState`.
    pub(crate) state: AtomicU32,
    /// Process id, for display only. Liveness comes from the kernel.
    pub(crate) pid: AtomicU32,
    /// When the owner took the entry, in nanoseconds of the monotonic clock, for display only. 0
    /// while the counters of the entry begin anew.
    pub(crate) since: AtomicU64,
}

/// The entry of one subscriber.
#[repr(C, align(128))]
#[derive(Debug)]
pub(crate) struct SubscriberEntry {
    /// Packets before it may be overwritten. Bit 63 is the pin (`ring::gate`). [`NOWHERE`]: holds
    /// nothing back.
    pub(crate) cursor: AtomicU64,
    /// The words of a queue consumer.
    pub(crate) consumer: ConsumerWords,
    /// How often the packet in flight was handed out.
    pub(crate) redelivery: RedeliveryWords,
    /// What the subscriber received. Written by the owner alone, as the next words.
    pub(crate) received: TrafficWords,
    /// Rare events.
    pub(crate) counts: SubscriberCounts,
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
    /// Type indices that the owner uses, one bit each. Written under the control lock.
    pub(crate) types: AtomicU64,
}

/// The place of one worker in a directory. Written under the control lock.
#[repr(C)]
#[derive(Debug, Default)]
pub(crate) struct WorkerSlot {
    /// Generation and state (`segment::entry::SlotPhase`) in one word, so that no process sees half
    /// a change.
    pub(crate) phase: CachePadded<AtomicU64>,
    /// The worker that has the slot, or had it last.
    pub(crate) info: CachePadded<SlotInfo>,
}

/// The worker of a slot. Written while the slot is free, before `phase` marks it taken.
#[repr(C)]
#[derive(Debug, Default)]
pub(crate) struct SlotInfo {
    /// Process id, for display only.
    pub(crate) pid: AtomicU32,
    /// When the worker joined, in nanoseconds of the monotonic clock, for display only.
    pub(crate) since: AtomicU64,
    /// Length of the name in bytes.
    pub(crate) name_len: AtomicU64,
    /// The name.
    pub(crate) name: [AtomicU64; WORKER_NAME_WORDS],
}

/// The place of one call in the call area of a worker. The caller chooses a free cell for each
/// call; the server that has the request writes its outcome.
#[repr(C, align(128))]
#[derive(Debug)]
pub(crate) struct CallCell {
    /// The outcome (`ring::call::Outcome`) of the request at the position that it has, or 0. The
    /// server stores it with release, after all other words and the reply.
    pub(crate) state: AtomicU64,
    /// The words that the thread of the caller sleeps on.
    pub(crate) event_count: EventCount,
    /// A reply of at most 48 bytes.
    #[cfg(not(loom))]
    pub(crate) reply: std::cell::UnsafeCell<[u8; SHORT_REPLY]>,
    /// Offset of the block for a longer reply in the low half, its length in the high half. Both in
    /// slots of 64 bytes. Written by the caller before the request.
    pub(crate) block: AtomicU64,
    /// Bytes of a reply in the block, or the bytes that a reply needed.
    pub(crate) len: AtomicU64,
    /// The bytes that a reply might have had.
    pub(crate) limit: AtomicU64,
    /// The server that replies later: its entry + 1 in the low 16 bits, its incarnation above.
    pub(crate) deferred: AtomicU64,
    /// The position of a request that the caller gave up, + 1.
    pub(crate) given_up: AtomicU64,
    _unused: [u64; 3],
}

/// Bytes of the longest reply within a call cell.
pub(crate) const SHORT_REPLY: usize = 48;

/// One cell of a board, without its buffers.
#[repr(C, align(128))]
#[derive(Debug, Default)]
pub(crate) struct CellHead {
    /// Version and buffer of the value (`ring::board_cell`); 0: no value yet. Stored with release
    /// by the writer.
    pub(crate) word: AtomicU64,
    /// Index of the writer's entry that writes the cell, plus 1; 0: none.
    pub(crate) lock: AtomicU64,
    /// Event count of readers that wait for a change.
    pub(crate) changed: EventCount,
    /// Length of the key in bytes, plus 1; 0: the cell has no key. Stored last, with release, under
    /// the control lock.
    pub(crate) key_len: AtomicU64,
    /// The key.
    pub(crate) key: [AtomicU64; CELL_KEY_WORDS],
}

/// One packet type of the ring.
#[repr(C)]
#[derive(Debug, Default)]
pub(crate) struct TypeEntry {
    /// Fingerprint, low half first.
    pub(crate) fingerprint: [AtomicU64; 2],
    /// Length in bytes: of the name in the low half, of the schema in the high half.
    pub(crate) lens: AtomicU64,
    /// First block of the schema in the schema text.
    pub(crate) schema: AtomicU32,
    /// Number of types that the entry has had. Stored with release after the other words.
    pub(crate) generation: AtomicU32,
    /// Name, cut to 96 bytes.
    pub(crate) name: [AtomicU64; TYPE_NAME_WORDS],
}

/// One slot: the header of a packet and its first 48 bytes, or 64 bytes inside a packet.
#[repr(C, align(64))]
#[derive(Debug)]
pub(crate) struct Slot {
    /// `position + salt(lap)` once the packet that begins here is committed. Stored with release.
    pub(crate) stamp: AtomicU64,
    /// Length, type, kind and tag (`ring::slot::Descriptor`). Stored before the stamp.
    pub(crate) descriptor: AtomicU64,
    /// The first bytes of the packet. The rest follows in the next slots, which have no header.
    #[cfg(not(loom))]
    pub(crate) payload: std::cell::UnsafeCell<[u8; SLOT - HEADER]>,
    /// The payload of this slot in a model check.
    #[cfg(loom)]
    pub(crate) payload: loom::cell::UnsafeCell<u64>,
}

#[cfg(test)]
impl PublisherEntry {
    /// A vacant entry.
    pub(crate) fn vacant() -> Self {
        let (position, len) = (AtomicU64::new(NOWHERE), AtomicU64::new(0));
        let (sent, batch_end) = (TrafficWords::default(), AtomicU64::new(0));
        let record = Record { position, len, sent, batch_end };
        Self { record: CachePadded::new(record), details: CachePadded::default() }
    }
}

#[cfg(test)]
impl SubscriberEntry {
    /// A vacant entry.
    pub(crate) fn vacant() -> Self {
        let cursor = AtomicU64::new(NOWHERE);
        let (consumer, redelivery, received, counts, details) = Default::default();
        Self { cursor, consumer, redelivery, received, counts, details }
    }
}
