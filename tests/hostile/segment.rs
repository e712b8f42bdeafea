//! A real segment whose bytes can be damaged, and restored for the next case.
//!
//! Its bytes are written through the file, as any process of the same user could do. A `Ring` keeps
//! the segment in use, so that a segment without endpoints does not count as abandoned.

use super::layout::{Layout, SALT, TAIL, Word};
use packetring::inventory::ObjectInfo;
use packetring::{Overflow, Ring, RingBuilder};
use std::fs::{File, OpenOptions};
#[expect(deprecated, reason = "the hash that the library uses")]
use std::hash::{Hasher, SipHasher};
use std::ops::Deref;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::atomic::{AtomicU32, Ordering};

/// Number of ring kinds: claims, overflow and history, each with and without a durable subscriber.
pub(crate) const KINDS: usize = 10;

/// The bytes of a segment, accessed through its file.
#[derive(Debug)]
pub(crate) struct Object {
    pub(crate) layout: Layout,
    file: File,
}

/// A segment and its undamaged bytes.
#[derive(Debug)]
pub(crate) struct TestSegment {
    pub(crate) name: String,
    pub(crate) ring: Ring,
    /// Its place in the inventory.
    pub(crate) info: ObjectInfo,
    object: Object,
    /// The undamaged bytes.
    original: Vec<u8>,
}

impl Deref for TestSegment {
    type Target = Object;

    fn deref(&self) -> &Object {
        &self.object
    }
}

impl TestSegment {
    /// Creates a segment, publishes a few packets in it and receives some.
    pub(crate) fn new(kind: usize) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("hostile-{}-{number}", std::process::id());
        let ring = builder(kind / 2).open(&name).unwrap();
        let durable = (kind % 2 == 1).then(|| ring.durable::<String>("shop").unwrap());
        let mut inbox = ring.subscriber::<String>().unwrap();
        let mut outbox = ring.publisher::<String>().unwrap();
        for round in 0..7 {
            outbox.try_send(&"text".repeat(round * 7)).unwrap();
            drop(inbox.try_recv().unwrap());
        }
        drop((durable, inbox, outbox));
        let object = Object::open(&name);
        let original = object.read_all();
        let mut objects = packetring::inventory().unwrap().into_iter();
        let info = objects.find(|object| object.name == name).unwrap();
        Self { name, ring, info, object, original }
    }

    /// Restores all bytes and the length.
    pub(crate) fn restore(&self) {
        self.object.restore(&self.original);
    }

    /// Restores all bytes below an offset.
    pub(crate) fn restore_up_to(&self, end: u64) {
        self.object.write_bytes(0, &self.original[..end as usize]);
    }

    /// The undamaged bytes.
    pub(crate) fn original(&self) -> &[u8] {
        &self.original
    }
}

impl Object {
    /// Opens the undamaged segment with this name.
    pub(crate) fn open(name: &str) -> Self {
        let file = OpenOptions::new().read(true).write(true).open(path(name)).unwrap();
        let mut identity = [0; 128];
        file.read_exact_at(&mut identity, 0).unwrap();
        let layout = Layout::of_identity(&identity);
        let len = file.metadata().unwrap().len();
        assert_eq!(len, layout.end, "the segment is laid out differently");
        Self { layout, file }
    }

    /// Returns true if the segment was removed by name, which damaged states allow.
    pub(crate) fn is_gone(&self) -> bool {
        self.file.metadata().unwrap().nlink() == 0
    }

    /// The undamaged bytes.
    pub(crate) fn read_all(&self) -> Vec<u8> {
        self.read_bytes(0, self.layout.end as usize)
    }

    /// Restores these bytes and the length.
    pub(crate) fn restore(&self, original: &[u8]) {
        if self.file.metadata().unwrap().len() != self.layout.end {
            self.file.set_len(self.layout.end).unwrap();
        }
        self.write_bytes(0, original);
    }

    /// Changes the length of the file.
    pub(crate) fn set_len(&self, len: u64) {
        self.file.set_len(len).unwrap();
    }

    pub(crate) fn read(&self, word: Word) -> u64 {
        let mut bytes = [0; 8];
        // Reading beyond the end of a shortened file returns zeros here.
        let _ = self.file.read_at(&mut bytes[..word.width], word.offset);
        u64::from_le_bytes(bytes)
    }

    pub(crate) fn write(&self, word: Word, value: u64) {
        self.write_bytes(word.offset, &value.to_le_bytes()[..word.width]);
    }

    /// Writes bytes up to the end of the segment. Writing beyond it would extend the file.
    pub(crate) fn write_bytes(&self, offset: u64, bytes: &[u8]) {
        let room = self.layout.end.saturating_sub(offset) as usize;
        self.file.write_all_at(&bytes[..bytes.len().min(room)], offset).unwrap();
    }

    pub(crate) fn read_bytes(&self, offset: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        let _ = self.file.read_at(&mut bytes, offset);
        bytes
    }

    /// The current tail.
    pub(crate) fn tail(&self) -> u64 {
        self.read(Word { offset: TAIL, width: 8 })
    }

    /// The stamp that marks a packet at this position as committed.
    pub(crate) fn stamp(&self, position: u64) -> u64 {
        let salt = self.read(Word { offset: SALT, width: 8 });
        #[expect(deprecated, reason = "the hash that the library uses")]
        let mut hash = SipHasher::new_with_keys(salt, u64::from_le_bytes(*b"pktring\0"));
        hash.write_u64(position / self.layout.capacity);
        position.wrapping_add(hash.finish())
    }
}

fn builder(kind: usize) -> RingBuilder {
    let small = Ring::builder().capacity(4096).max_subscribers(4);
    let shared = small.clone().max_publishers(2);
    match kind {
        0 => shared,
        1 => small.exclusive(),
        2 => shared.overflow(Overflow::DropOldest),
        3 => small.exclusive().overflow(Overflow::DropOldest),
        _ => shared.overflow(Overflow::DropOldest).history(3),
    }
}

impl Drop for TestSegment {
    fn drop(&mut self) {
        // Restores the segment first, because leaving endpoints read it. The file must be removed
        // by name: a durable subscriber keeps it, and a new one may exist under this name.
        self.restore();
        let _ = std::fs::remove_file(path(&self.name));
    }
}

pub(crate) fn path(name: &str) -> String {
    format!("/dev/shm/packetring.{name}")
}

/// The segments of this thread, one of each kind, created on first use.
#[derive(Debug, Default)]
pub(crate) struct TestSegments([Option<TestSegment>; KINDS]);

impl TestSegments {
    /// The segment of a kind in its current state.
    pub(crate) fn get(&self, kind: usize) -> Option<&TestSegment> {
        self.0[kind].as_ref()
    }

    /// The segment of a kind after restoring it.
    pub(crate) fn restored(&mut self, kind: usize) -> &mut TestSegment {
        let place = &mut self.0[kind];
        if place.as_ref().is_some_and(|segment| segment.is_gone()) {
            *place = None;
        }
        let segment = place.get_or_insert_with(|| TestSegment::new(kind));
        segment.restore();
        segment
    }
}
