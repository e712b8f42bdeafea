//! Offsets of a segment's words, written independently of `src/segment/layout.rs` from its picture.
//! [`Layout::of_identity`] is compared with the length of every real segment that is opened.

pub(crate) const SLOT: u64 = 64;
pub(crate) const HEADER: u64 = 16;
const ENTRY: u64 = 256;
const TYPE: u64 = 128;
const TYPES: u64 = 64;
const LINKS: u64 = 512 * 4;
const SCHEMA: u64 = 32 * 1024;
const WORKER_SLOT: u64 = 256;
const CALL_CELL: u64 = 128;
const CELL: u64 = 128;
const PAGE: u64 = 4096;

/// Offsets of single words.
pub(crate) const STATE: u64 = 8;
pub(crate) const FORMAT: u64 = 16;
pub(crate) const LEN: u64 = 24;
pub(crate) const SALT: u64 = 64;
pub(crate) const TAIL: u64 = 128;
pub(crate) const OLDEST: u64 = 256;
pub(crate) const CLONES: u64 = 648;

/// Offsets of the parts of a segment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    pub(crate) max_publishers: u64,
    pub(crate) max_subscribers: u64,
    /// Slots in the ring.
    pub(crate) capacity: u64,
    pub(crate) types: u64,
    pub(crate) links: u64,
    pub(crate) schema: u64,
    /// Number and offset of the worker slots of a directory.
    pub(crate) worker_slot_count: u64,
    pub(crate) worker_slots: u64,
    /// Number and offset of the call cells of a call area.
    pub(crate) call_cell_count: u64,
    pub(crate) call_cells: u64,
    /// Offset of the words of latencies, and their number: none, except in a ring.
    pub(crate) latency: u64,
    pub(crate) latency_count: u64,
    /// Number and offset of the cells of a board.
    pub(crate) cell_count: u64,
    pub(crate) cells: u64,
    /// Buffers of each cell, slots of each buffer, and the offset of the first buffer.
    pub(crate) cell_buffers: u64,
    pub(crate) span: u64,
    pub(crate) buffers: u64,
    /// End of the buffers. Up to the slots there is nothing.
    pub(crate) words_end: u64,
    pub(crate) slots: u64,
    pub(crate) end: u64,
}

/// A word that can be damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Word {
    pub(crate) offset: u64,
    /// Bytes: 2, 4 or 8.
    pub(crate) width: usize,
}

fn word(offset: u64) -> Word {
    Word { offset, width: 8 }
}

fn half(offset: u64) -> Word {
    Word { offset, width: 4 }
}

impl Layout {
    /// Computes the layout of a segment that parks on futexes, from its first words.
    pub(crate) fn of_identity(identity: &[u8; 128]) -> Self {
        let word = |at: usize| u64::from_le_bytes(identity[at..at + 8].try_into().unwrap());
        let (capacity, entries, worker_slot_count) = (word(32), word(40), word(80));
        let call_cell_count = word(96);
        let (max_publishers, max_subscribers) = (entries & u64::from(u32::MAX), entries >> 32);
        let types = 768 + (max_publishers + max_subscribers) * ENTRY;
        // A call area has no types.
        let with_types = u64::from(call_cell_count == 0);
        let links = types + TYPES * TYPE * with_types;
        let schema = links + LINKS * with_types;
        let worker_slots = schema + SCHEMA * with_types;
        let call_cells = worker_slots + worker_slot_count * WORKER_SLOT;
        let latency = call_cells + call_cell_count * CALL_CELL;
        let (cell_count, cell_buffers) = (word(112) & u64::from(u32::MAX), word(112) >> 32);
        let is_ring = worker_slot_count == 0 && call_cell_count == 0 && cell_count == 0;
        let latency_count = if is_ring { 123 + 3 * max_subscribers } else { 0 };
        // Events would come before the cells.
        let cells = (latency + latency_count * 8).next_multiple_of(128);
        let span = (HEADER + word(120)).div_ceil(SLOT);
        let buffers = cells + cell_count * CELL;
        let words_end = buffers + cell_count * cell_buffers * span * SLOT;
        let slots = words_end.next_multiple_of(PAGE);
        let end = (slots + capacity * SLOT).next_multiple_of(PAGE);
        Self {
            max_publishers,
            max_subscribers,
            capacity,
            types,
            links,
            schema,
            worker_slot_count,
            worker_slots,
            call_cell_count,
            call_cells,
            latency,
            latency_count,
            cell_count,
            cells,
            cell_buffers,
            span,
            buffers,
            words_end,
            slots,
            end,
        }
    }

    pub(crate) fn publisher(&self, index: u64) -> u64 {
        768 + index % self.max_publishers * ENTRY
    }

    pub(crate) fn subscriber(&self, index: u64) -> u64 {
        768 + (self.max_publishers + index % self.max_subscribers) * ENTRY
    }

    /// The slot at a position.
    pub(crate) fn slot(&self, position: u64) -> u64 {
        self.slots + position % self.capacity * SLOT
    }

    /// The words of the segment's identity.
    pub(crate) fn identity(&self) -> Vec<Word> {
        let mut words: Vec<Word> = (0..16).map(|index| word(index * 8)).collect();
        // The parts of the format (version, byte order, pointer width) and of the entry counts.
        words.extend([half(16), Word { offset: 20, width: 2 }, Word { offset: 22, width: 2 }]);
        words.extend([half(40), half(44), half(112), half(116)]);
        words
    }

    /// The words that no single endpoint owns.
    pub(crate) fn head(&self) -> Vec<Word> {
        let mut words = vec![word(TAIL), word(OLDEST)];
        words.extend([384, 388, 392, 512, 516].map(half));
        words.extend((0..4).map(|index| half(640 + index * 4)));
        words.extend([656, 672, 680, 688].map(word));
        words
    }

    /// The words of all entries.
    pub(crate) fn entries(&self) -> Vec<Word> {
        let publishers = (0..self.max_publishers).flat_map(|index| {
            let at = self.publisher(index);
            let record = (0..5).map(move |index| word(at + index * 8));
            let details = (0..5).map(move |detail| word(at + 136 + detail * 8));
            let counts = (0..6).map(move |count| word(at + 192 + count * 8));
            let state = [half(at + 128), half(at + 132)];
            state.into_iter().chain(record).chain(details).chain(counts)
        });
        let subscribers = (0..self.max_subscribers).flat_map(|index| {
            let at = self.subscriber(index);
            let line = (0..16).map(move |index| word(at + index * 8));
            let details = (0..15).map(move |detail| word(at + 136 + detail * 8));
            [half(at + 128), half(at + 132)].into_iter().chain(line).chain(details)
        });
        publishers.chain(subscribers).collect()
    }

    /// Offset of a worker slot.
    pub(crate) fn worker_slot(&self, index: u64) -> u64 {
        self.worker_slots + index % self.worker_slot_count * WORKER_SLOT
    }

    /// The words of all worker slots: phase, process id, start time, name.
    pub(crate) fn worker_slot_words(&self) -> Vec<Word> {
        let worker_slots = (0..self.worker_slot_count).flat_map(|index| {
            let at = self.worker_slot(index);
            let info = (0..10).map(move |detail| word(at + 136 + detail * 8));
            [word(at), half(at + 128)].into_iter().chain(info)
        });
        worker_slots.collect()
    }

    /// The words of the first call cells.
    pub(crate) fn call_cell_words(&self) -> Vec<Word> {
        let cells = (0..self.call_cell_count.min(4)).flat_map(|index| {
            // The cell that is used first is the last one of the free list: cell 0.
            let at = self.call_cells + index * CALL_CELL;
            let words = [0, 64, 72, 80, 88, 96].map(|offset| word(at + offset));
            words.into_iter().chain([8, 12, 64, 68].map(|offset| half(at + offset)))
        });
        cells.collect()
    }

    /// Offset of the head of a cell.
    pub(crate) fn cell(&self, index: u64) -> u64 {
        self.cells + index % self.cell_count * CELL
    }

    /// Offset of a buffer of a cell.
    pub(crate) fn buffer(&self, cell: u64, buffer: u64) -> u64 {
        let index = cell % self.cell_count * self.cell_buffers + buffer % self.cell_buffers;
        self.buffers + index * self.span * SLOT
    }

    /// Some words of latencies: those of the histogram, and of the first readers.
    pub(crate) fn latency_words(&self) -> Vec<Word> {
        let words = (0..4).chain(120..130).filter(|index| *index < self.latency_count);
        words.map(|index| word(self.latency + index * 8)).collect()
    }

    /// The words of all cells: value, lock, event count, length of the key, key.
    pub(crate) fn cell_words(&self) -> Vec<Word> {
        let cells = (0..self.cell_count).flat_map(|index| {
            let at = self.cell(index);
            let words = [0, 0, 0, 8, 24, 32, 40, 88].map(|offset| word(at + offset));
            words.into_iter().chain([16, 20].map(|offset| half(at + offset)))
        });
        cells.collect()
    }

    /// The words of the first types, their bits and their count.
    pub(crate) fn type_words(&self) -> Vec<Word> {
        let entries = (0..4).flat_map(|index| {
            let at = self.types + index * TYPE;
            let all = (0..16).map(move |detail| word(at + detail * 8));
            all.chain([16, 20, 24, 28].map(|part| half(at + part)))
        });
        let links = (0..8).map(|index| half(self.links + index * 4));
        let rest = [word(672), word(680), word(self.schema), word(self.schema + 64)];
        entries.chain(links).chain(rest).collect()
    }

    /// The header words of a slot.
    pub(crate) fn slot_words(&self, position: u64) -> [Word; 5] {
        let at = self.slot(position);
        [
            word(at),
            word(at + 8),
            half(at + 8),
            Word { offset: at + 12, width: 2 },
            Word { offset: at + 14, width: 2 },
        ]
    }
}
