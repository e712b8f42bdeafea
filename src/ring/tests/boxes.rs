//! A small ring on the heap. A test decides which endpoints live.

use crate::failpoint::Failpoint;
use crate::ring::board_cell::{CellReader, CellWriter};
use crate::ring::claim::{Full, Writer};
#[cfg(loom)]
use crate::ring::consumer_group::ConsumerGroup;
use crate::ring::cursor::{Cursor, Next, Taken};
#[cfg(not(loom))]
use crate::ring::geometry::Geometry;
#[cfg(loom)]
use crate::ring::membership;
use crate::ring::membership::Start;
use crate::ring::reader::Reader;
#[cfg(loom)]
use crate::ring::reap;
use crate::ring::slot::{self, Descriptor};
use crate::segment::board_cells::CellMemory;
use crate::segment::entry::EntryId;
use crate::segment::layout::{CellHead, Head, PublisherEntry, Slot, SubscriberEntry};
use crate::segment::settings::{Claims, Overflow, Settings};
use crate::segment::view::{LockedEntry, Owner, RingMemory};
use crate::sync::AtomicU64;
use std::sync::Arc;

/// One ring in boxes.
pub(in crate::ring) struct Boxes {
    parts: Arc<Parts>,
    pub(in crate::ring) settings: Settings,
}

/// The parts of one ring. Its vectors never change.
struct Parts {
    head: Head,
    publishers: Vec<PublisherEntry>,
    subscribers: Vec<SubscriberEntry>,
    slots: Vec<Slot>,
    /// One cell.
    cells: Vec<CellHead>,
    buffers: Vec<Slot>,
    latency: Vec<AtomicU64>,
}

// SAFETY: atomics, and payload bytes that only a view hands out.
unsafe impl Sync for Parts {}

#[cfg(not(loom))]
fn latency_words(settings: &Settings) -> Vec<AtomicU64> {
    (0..settings.latency_words()).map(|_| AtomicU64::new(0)).collect()
}

/// Model checks have no clock, and so no latencies.
#[cfg(loom)]
fn latency_words(_: &Settings) -> Vec<AtomicU64> {
    Vec::new()
}

/// Keeps stamps far from small numbers.
const SALT: u64 = 0xdead_0000_0000;

impl Boxes {
    /// A ring of `slots` slots.
    pub(in crate::ring) fn new(slots: usize, claims: Claims, overflow: Overflow) -> Self {
        Self::with(2, Settings { capacity: slots * 64, claims, overflow, ..Settings::default() })
    }

    /// A queue of `slots` slots, for this many consumers.
    #[cfg(loom)]
    pub(super) fn queue(slots: usize, consumers: usize) -> Self {
        let settings = Settings { capacity: slots * 64, queue: true, ..Settings::default() };
        let boxes = Self::with(consumers + 1, settings);
        membership::create_shared_cursor(&boxes.memory(), &boxes.settings);
        boxes
    }

    /// A board of one cell with `buffers` buffers, for two readers and two writers.
    pub(super) fn board(buffers: usize) -> Self {
        let settings = Settings { capacity: 64, cell_buffers: buffers, ..Settings::default() };
        Self::with(2, settings)
    }

    /// The cell.
    pub(super) fn cells(&self) -> CellMemory {
        let owner: Owner = self.parts.clone();
        let buffers = self.settings.cell_buffers;
        // SAFETY: the parts lie in vectors of the owner that never change. A buffer has one slot.
        unsafe { CellMemory::of_parts(owner, &self.parts.cells, &self.parts.buffers, buffers, 1) }
    }

    /// Joins as a reader of the cell.
    pub(super) fn cell_reader(&self, index: usize) -> CellReader {
        CellReader::join(self.subscriber_entry(index), self.cells())
    }

    /// Joins as a writer of the cell.
    pub(super) fn cell_writer(&self, index: usize, is_shared: bool) -> CellWriter {
        let claims = if is_shared { Claims::Shared } else { Claims::Exclusive };
        let settings = Settings { claims, ..self.settings };
        let entry = LockedEntry::of_test(self.memory(), settings, EntryId::Publisher(index));
        CellWriter::join(entry, self.cells())
    }

    fn with(subscribers: usize, mut settings: Settings) -> Self {
        (settings.max_publishers, settings.max_subscribers) = (2, subscribers);
        let slots = settings.capacity / 64;
        let parts = Parts {
            head: Head::default(),
            publishers: (0..2).map(|_| PublisherEntry::vacant()).collect(),
            subscribers: (0..subscribers).map(|_| SubscriberEntry::vacant()).collect(),
            slots: (0..slots).map(|_| blank()).collect(),
            cells: vec![CellHead::default()],
            buffers: (0..settings.cell_buffers).map(|_| blank()).collect(),
            latency: latency_words(&settings),
        };
        Self { parts: Arc::new(parts), settings }
    }

    pub(in crate::ring) fn memory(&self) -> RingMemory {
        let parts = &self.parts;
        let owner: Owner = parts.clone();
        // SAFETY: the parts lie in the owner and in vectors that never change. Tests make rings of
        // a power of two of slots.
        unsafe {
            RingMemory::of_parts(
                owner,
                &parts.head,
                &parts.publishers,
                &parts.subscribers,
                &parts.slots,
                &parts.latency,
                SALT,
            )
        }
    }

    /// Joins as a publisher.
    pub(in crate::ring) fn writer(&self, index: usize) -> Writer {
        let entry = EntryId::Publisher(index);
        Writer::join(LockedEntry::of_test(self.memory(), self.settings, entry))
    }

    /// Joins as a subscriber.
    pub(in crate::ring) fn reader(&self, index: usize) -> Reader {
        Reader::join(self.subscriber_entry(index), Start::Newcomer)
    }

    /// Joins as a consumer.
    #[cfg(loom)]
    pub(super) fn consumer(&self, index: usize) -> ConsumerGroup {
        ConsumerGroup::join(self.subscriber_entry(index))
    }

    /// A subscriber's entry, as if its liveness lock was just taken.
    pub(in crate::ring) fn subscriber_entry(&self, index: usize) -> LockedEntry {
        LockedEntry::of_test(self.memory(), self.settings, EntryId::Subscriber(index))
    }

    /// Clears the endpoints that are dead by `is_alive`.
    #[cfg(loom)]
    pub(super) fn reap(&self, is_alive: &dyn Fn(EntryId) -> bool) -> crate::ring::reap::Reaped {
        reap::reap(&self.memory(), &self.settings, reap::Slots::Writable, is_alive)
    }

    #[cfg(not(loom))]
    pub(super) fn geometry(&self) -> Geometry {
        Geometry::of(&self.settings)
    }
}

#[cfg(loom)]
fn blank() -> Slot {
    let payload = ::loom::cell::UnsafeCell::new(0);
    Slot { stamp: AtomicU64::new(0), descriptor: AtomicU64::new(0), payload }
}

#[cfg(not(loom))]
fn blank() -> Slot {
    let payload = std::cell::UnsafeCell::new([0; 48]);
    Slot { stamp: AtomicU64::new(0), descriptor: AtomicU64::new(0), payload }
}

/// Bytes of a packet of `span` slots.
pub(super) fn len_of(span: u64) -> usize {
    span as usize * 64 - 16
}

/// Claims, fills each slot with the tag, commits.
pub(super) fn publish(writer: &mut Writer, span: u64, tag: u64) -> Result<u64, Full> {
    let position = writer.claim(span)?;
    fill(writer, position, span, tag);
    writer.commit(Descriptor::data(len_of(span), 0));
    Ok(position)
}

/// Publishes a packet of one slot for each tag. They become visible together.
pub(super) fn publish_batch(writer: &mut Writer, tags: &[u64]) -> Result<u64, Full> {
    let (position, count) = writer.claim_many(&vec![1; tags.len()])?;
    assert_eq!(count, tags.len());
    let descriptor = Descriptor::data(len_of(1), 0);
    writer.commit_batch(
        descriptor,
        count as u64,
        |memory, mut at| {
            for &tag in &tags[1..] {
                at.position += 1;
                fill_at(memory, at.position, 1, tag);
                slot::commit(memory, at, descriptor, Failpoint::BatchStamp);
            }
        },
        |memory, at| fill_at(memory, at.position, 1, tags[0]),
    );
    Ok(position)
}

/// Receives, checks that each slot has the same tag, releases. Returns the tag.
pub(super) fn receive(reader: &mut Reader) -> Result<u64, Next> {
    match reader.next() {
        Next::Taken(taken) => {
            let tag = tag_of(reader, &taken);
            reader.release();
            Ok(tag)
        }
        other => Err(other),
    }
}

/// Writes the tag all over a claim.
pub(super) fn fill(writer: &Writer, position: u64, span: u64, tag: u64) {
    fill_at(writer.memory(), position, span, tag);
}

/// Writes the tag into each slot of a claim.
#[cfg(loom)]
fn fill_at(memory: &RingMemory, position: u64, span: u64, tag: u64) {
    for at in position..position + span {
        // SAFETY: loom checks that nobody else accesses the cell.
        memory.slot(at).payload.with_mut(|cell| unsafe { *cell = tag });
    }
}

/// The tag of the packet in flight.
#[cfg(loom)]
pub(super) fn tag_of(reader: &Reader, taken: &Taken) -> u64 {
    tag_at(reader.memory(), taken)
}

/// The tag of a packet in flight.
#[cfg(loom)]
pub(super) fn tag_at(memory: &RingMemory, taken: &Taken) -> u64 {
    let tags = (taken.position..taken.position + taken.descriptor.span())
        // SAFETY: loom checks that nobody writes to the cell.
        .map(|at| memory.slot(at).payload.with(|cell| unsafe { *cell }));
    same(tags)
}

/// Writes the tag all over a claim.
#[cfg(not(loom))]
fn fill_at(memory: &RingMemory, position: u64, span: u64, tag: u64) {
    let words = len_of(span) / 8;
    let start = memory.payload(position).cast::<u64>();
    for index in 0..words {
        // SAFETY: within the claim, which is one piece, and nobody else's.
        unsafe { start.add(index).write(tag) };
    }
}

/// The tag of the packet in flight.
#[cfg(not(loom))]
pub(super) fn tag_of(reader: &Reader, _: &Taken) -> u64 {
    let bytes = reader.payload();
    same(bytes.chunks_exact(8).map(|word| u64::from_le_bytes(word.try_into().unwrap())))
}

fn same(mut tags: impl Iterator<Item = u64>) -> u64 {
    let first = tags.next().unwrap();
    assert!(tags.all(|tag| tag == first), "a torn packet");
    first
}
