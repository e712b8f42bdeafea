//! Where the words of a segment lie, seen from outside: `src/segment/layout.rs` once more, from its
//! picture. [`Layout::of_identity`] is compared with the length of each real segment that it is of.

pub(crate) const SLOT: u64 = 64;
pub(crate) const HEADER: u64 = 16;
const ENTRY: u64 = 256;
const TYPE: u64 = 128;
const TYPES: u64 = 64;
const SCHEMA: u64 = 32 * 1024;
const DESK: u64 = 256;
const PAGE: u64 = 4096;

/// Offsets of single words.
pub(crate) const STATE: u64 = 8;
pub(crate) const FORMAT: u64 = 16;
pub(crate) const LEN: u64 = 24;
pub(crate) const SALT: u64 = 64;
pub(crate) const TAIL: u64 = 128;
pub(crate) const OLDEST: u64 = 256;
pub(crate) const CLONES: u64 = 656;

/// Where the parts of a segment begin.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    pub(crate) max_publishers: u64,
    pub(crate) max_subscribers: u64,
    /// Slots in the ring.
    pub(crate) capacity: u64,
    pub(crate) types: u64,
    pub(crate) schema: u64,
    /// Desks of a cluster's directory, and where they begin.
    pub(crate) count_of_desks: u64,
    pub(crate) desks: u64,
    /// Where the desks end; from here to the slots there is nothing, or events.
    pub(crate) words_end: u64,
    pub(crate) slots: u64,
    pub(crate) end: u64,
}

/// One word that somebody may damage.
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
    /// The layout of a segment that parks on futexes, from its first words.
    pub(crate) fn of_identity(identity: &[u8; 96]) -> Self {
        let word = |at: usize| u64::from_le_bytes(identity[at..at + 8].try_into().unwrap());
        let (capacity, entries, count_of_desks) = (word(32), word(40), word(80));
        let (max_publishers, max_subscribers) = (entries & u64::from(u32::MAX), entries >> 32);
        let types = 768 + (max_publishers + max_subscribers) * ENTRY;
        let schema = types + TYPES * TYPE;
        let desks = schema + SCHEMA;
        let words_end = desks + count_of_desks * DESK;
        let slots = words_end.next_multiple_of(PAGE);
        let end = (slots + capacity * SLOT).next_multiple_of(PAGE);
        Self {
            max_publishers,
            max_subscribers,
            capacity,
            types,
            schema,
            count_of_desks,
            desks,
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
        let mut words: Vec<Word> = (0..11).map(|index| word(index * 8)).collect();
        // The parts of the format: version, byte order, pointer width; and of the entries.
        words.extend([half(16), Word { offset: 20, width: 2 }, Word { offset: 22, width: 2 }]);
        words.extend([half(40), half(44)]);
        words
    }

    /// The words that belong to no one endpoint.
    pub(crate) fn head(&self) -> Vec<Word> {
        let mut words = vec![word(TAIL), word(OLDEST)];
        words.extend([384, 388, 392, 512, 516].map(half));
        words.extend((0..6).map(|index| half(640 + index * 4)));
        words.push(word(664));
        words
    }

    /// The words of all entries.
    pub(crate) fn entries(&self) -> Vec<Word> {
        let publishers = (0..self.max_publishers).flat_map(|index| {
            let at = self.publisher(index);
            [word(at), word(at + 8), half(at + 128), half(at + 132)]
        });
        let subscribers = (0..self.max_subscribers).flat_map(|index| {
            let at = self.subscriber(index);
            let line = (0..4).map(move |index| word(at + index * 8));
            let details = (0..15).map(move |detail| word(at + 136 + detail * 8));
            [half(at + 128), half(at + 132)].into_iter().chain(line).chain(details)
        });
        publishers.chain(subscribers).collect()
    }

    /// A cluster's desk.
    pub(crate) fn desk(&self, index: u64) -> u64 {
        self.desks + index % self.count_of_desks * DESK
    }

    /// The words of all desks: phase, pid, since, name.
    pub(crate) fn desk_words(&self) -> Vec<Word> {
        let desks = (0..self.count_of_desks).flat_map(|index| {
            let at = self.desk(index);
            let card = (0..10).map(move |detail| word(at + 136 + detail * 8));
            [word(at), half(at + 128)].into_iter().chain(card)
        });
        desks.collect()
    }

    /// The words of the first types, and how many there are.
    pub(crate) fn type_words(&self) -> Vec<Word> {
        let entries = (0..4).flat_map(|index| {
            let at = self.types + index * TYPE;
            let all = (0..16).map(move |detail| word(at + detail * 8));
            all.chain([half(at + 16), half(at + 20)])
        });
        entries.chain([half(648), half(652), word(self.schema), word(self.schema + 64)]).collect()
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
