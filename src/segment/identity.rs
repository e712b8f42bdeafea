//! The identity of a segment: written once, checked by every process that attaches.
//!
//! Each word is loaded once, and the copy is checked and used. A later store by another process
//! changes nothing.

#![cfg(not(loom))]

use super::layout::Identity;
use super::name::Name;
use super::places::Places;
use super::settings::{Claims, MAX_ENTRIES, Overflow, Parking, Settings};
use crate::error::OpenError;
use crate::sync::Ordering;

/// The bytes "packetrg" as a little-endian word. A byte-swapped machine finds another number.
pub(crate) const MAGIC: u64 = u64::from_le_bytes(*b"packetrg");
/// Version of `segment::layout` and of the protocol over it.
///
/// Each release has one number at most. `docs/internals/memory-layout.md` lists them.
pub(crate) const VERSION: u32 = 10;

/// Words of `Identity::state`.
const READY: u64 = 1;
const REMOVED: u64 = 2;
const NAMELESS: u64 = 3;

const EXCLUSIVE: u64 = 1;
const DROP_OLDEST: u64 = 1 << 1;
const EVENT: u64 = 1 << 2;
const STAYS_OPEN: u64 = 1 << 3;
const TAGGED: u64 = 1 << 4;
const QUEUE: u64 = 1 << 5;

/// Words of `Identity::keeps`. A segment of a layout before version 6 has 0.
const KEEPS_NOTHING: u64 = 1;
const MAY_KEEP: u64 = 2;

/// Layout of a ready segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    /// That of this build.
    Own,
    /// Another one.
    Other {
        /// Its number.
        found: u32,
        /// A durable subscriber, a worker slot or a work queue may keep packets in it.
        may_keep: bool,
    },
}

/// State of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// In use, or left by every process without having been removed.
    Ready,
    /// Not made yet, or removed: it has no content and no user. The next holder of the control lock
    /// makes it, or unlinks its name.
    Removed,
    /// Its name was given up while processes were attached, and could not be unlinked. No further
    /// process attaches.
    Nameless,
}

/// Bytes of the magic word and of the state, which begin each object of this library.
pub(crate) const START: u64 = 16;

/// The first bytes of an object that is not made yet. They are there before its name is.
pub(super) fn unmade() -> [u8; START as usize] {
    let mut start = [0; START as usize];
    start[..8].copy_from_slice(&MAGIC.to_le_bytes());
    start[8..].copy_from_slice(&REMOVED.to_le_bytes());
    start
}

/// The checked words of a ready segment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Checked {
    pub(crate) settings: Settings,
    pub(crate) salt: u64,
}

/// The state of the object that begins with these bytes.
pub(super) fn state_of(name: &Name, start: &[u8; START as usize]) -> Result<State, OpenError> {
    let [magic, state] = [0, 8].map(|at| {
        let word = start[at..at + 8].try_into().unwrap_or_default();
        u64::from_le_bytes(word)
    });
    self::state(name, magic, state)
}

fn state(name: &Name, magic: u64, state: u64) -> Result<State, OpenError> {
    expect_ours(name, "the magic word", MAGIC, magic)?;
    match state {
        // 0: a release before layout version 6 was making it.
        0 | REMOVED => Ok(State::Removed),
        READY => Ok(State::Ready),
        NAMELESS => Ok(State::Nameless),
        found => Err(corrupt(name, "the state", READY, found)),
    }
}

impl Identity {
    /// Loads the state of the segment.
    pub(crate) fn state(&self, name: &Name) -> Result<State, OpenError> {
        // Pairs with the release in `write`: a process that sees "ready" sees every word.
        let state = self.state.load(Ordering::Acquire);
        self::state(name, self.magic.load(Ordering::Relaxed), state)
    }

    /// Writes all words, the state last.
    pub(crate) fn write(&self, settings: &Settings, len: u64, salt: u64) {
        self.magic.store(MAGIC, Ordering::Relaxed);
        self.format.store(format(), Ordering::Relaxed);
        self.len.store(len, Ordering::Relaxed);
        self.capacity.store(slots(settings), Ordering::Relaxed);
        let entries = settings.max_publishers as u64 | (settings.max_subscribers as u64) << 32;
        self.entries.store(entries, Ordering::Relaxed);
        self.history.store(settings.history as u64, Ordering::Relaxed);
        self.flags.store(flags(settings), Ordering::Relaxed);
        self.worker_slots.store(settings.worker_slots as u64, Ordering::Relaxed);
        self.call_cells.store(settings.call_cells as u64, Ordering::Relaxed);
        self.cells.store(cells(settings), Ordering::Relaxed);
        self.cell_size.store(settings.cell_size as u64, Ordering::Relaxed);
        self.salt.store(salt, Ordering::Relaxed);
        self.maker.store(u64::from(std::process::id()), Ordering::Relaxed);
        self.note_keeps(settings.queue);
        // Pairs with the acquire in `state`.
        self.state.store(READY, Ordering::Release);
    }

    /// Records whether something may keep the segment when no process is attached. Under the
    /// control lock.
    pub(crate) fn note_keeps(&self, may_keep: bool) {
        let word = if may_keep { MAY_KEEP } else { KEEPS_NOTHING };
        self.keeps.store(word, Ordering::Relaxed);
    }

    /// Loads the layout version of a ready segment.
    pub(crate) fn version(&self, name: &Name) -> Result<Version, OpenError> {
        let found = self.format.load(Ordering::Relaxed);
        expect_ours(name, "the byte order and pointer width", format() >> 32, found >> 32)?;
        Ok(match found as u32 {
            VERSION => Version::Own,
            found => {
                let may_keep = self.keeps.load(Ordering::Relaxed) != KEEPS_NOTHING;
                Version::Other { found, may_keep }
            }
        })
    }

    /// Marks the segment removed. Under the control lock.
    pub(crate) fn mark_removed(&self) {
        // Pairs with the acquire in `state`.
        self.state.store(REMOVED, Ordering::Release);
    }

    /// Marks the segment nameless. Under the control lock.
    pub(crate) fn mark_nameless(&self) {
        // Pairs with the acquire in `state`.
        self.state.store(NAMELESS, Ordering::Release);
    }

    /// Checks every word of a ready segment, and its length against that of the object.
    pub(crate) fn check(&self, name: &Name, len: u64) -> Result<Checked, OpenError> {
        self.check_format(name)?;
        let settings = self.settings(name)?;
        settings.check().map_err(|_| corrupt(name, "the geometry", 0, settings.capacity as u64))?;
        let written = self.len.load(Ordering::Relaxed);
        let needed = whole_len(&settings)
            .ok_or_else(|| corrupt(name, "the geometry", 0, settings.capacity as u64))?;
        if written != needed {
            return Err(corrupt(name, "the length written in it", needed, written));
        }
        if len != needed {
            return Err(corrupt(name, "the length of the object", needed, len));
        }
        Ok(Checked { settings, salt: self.salt.load(Ordering::Relaxed) })
    }

    fn check_format(&self, name: &Name) -> Result<(), OpenError> {
        match self.version(name)? {
            Version::Own => Ok(()),
            Version::Other { found, .. } => Err(other_version(name, found, true)),
        }
    }

    fn settings(&self, name: &Name) -> Result<Settings, OpenError> {
        let flags = self.flags.load(Ordering::Relaxed);
        let known = EXCLUSIVE | DROP_OLDEST | EVENT | STAYS_OPEN | TAGGED | QUEUE;
        if flags & !known != 0 {
            return Err(corrupt(name, "the flags", known, flags));
        }
        let entries = self.entries.load(Ordering::Relaxed);
        let capacity = self.capacity.load(Ordering::Relaxed);
        let cells = self.cells.load(Ordering::Relaxed);
        Ok(Settings {
            capacity: usize::try_from(capacity.saturating_mul(super::layout::SLOT as u64))
                .unwrap_or(usize::MAX),
            claims: if flags & EXCLUSIVE != 0 { Claims::Exclusive } else { Claims::Shared },
            overflow: if flags & DROP_OLDEST != 0 { Overflow::DropOldest } else { Overflow::Block },
            history: usize::try_from(self.history.load(Ordering::Relaxed)).unwrap_or(usize::MAX),
            max_publishers: (entries as u32 as usize).min(MAX_ENTRIES + 1),
            max_subscribers: ((entries >> 32) as usize).min(MAX_ENTRIES + 1),
            stays_open: flags & STAYS_OPEN != 0,
            parking: if flags & EVENT != 0 { Parking::Event } else { Parking::Futex },
            worker_slots: usize::try_from(self.worker_slots.load(Ordering::Relaxed))
                .unwrap_or(usize::MAX),
            call_cells: usize::try_from(self.call_cells.load(Ordering::Relaxed))
                .unwrap_or(usize::MAX),
            tagged_slots: flags & TAGGED != 0,
            queue: flags & QUEUE != 0,
            cells: cells as u32 as usize,
            cell_buffers: (cells >> 32) as usize,
            cell_size: usize::try_from(self.cell_size.load(Ordering::Relaxed))
                .map_or(usize::MAX >> 1, |size| size.min(usize::MAX >> 1)),
        })
    }
}

/// Length in bytes of a segment with these settings. `None` if it overflows.
pub(crate) fn whole_len(settings: &Settings) -> Option<u64> {
    Places::of_settings(settings).map(|places| places.end as u64)
}

/// The error for a removed segment that a process is attached to. `start` has its first bytes.
pub(crate) fn not_ready(name: &Name, start: &[u8; START as usize]) -> OpenError {
    let found = u64::from_le_bytes(start[8..].try_into().unwrap_or_default());
    corrupt(name, "the state", READY, found)
}

/// The error for a segment of another layout version.
pub(crate) fn other_version(name: &Name, found: u32, is_in_use: bool) -> OpenError {
    OpenError::OtherVersion { name: name.shown(), expected: VERSION, found, is_in_use }
}

fn slots(settings: &Settings) -> u64 {
    (settings.capacity / super::layout::SLOT) as u64
}

/// Cells and buffers of a board, as one word.
pub(crate) fn cells(settings: &Settings) -> u64 {
    settings.cells as u64 | (settings.cell_buffers as u64) << 32
}

/// Layout version, byte-order mark and pointer width.
fn format() -> u64 {
    const LITTLE: u64 = 0x1234;
    u64::from(VERSION) | LITTLE << 32 | u64::from(usize::BITS) << 48
}

/// The flags of a ring with these settings.
pub(crate) fn flags(settings: &Settings) -> u64 {
    let bit = |is: bool, bit: u64| if is { bit } else { 0 };
    bit(settings.claims == Claims::Exclusive, EXCLUSIVE)
        | bit(settings.overflow == Overflow::DropOldest, DROP_OLDEST)
        | bit(settings.parking == Parking::Event, EVENT)
        | bit(settings.stays_open, STAYS_OPEN)
        | bit(settings.tagged_slots, TAGGED)
        | bit(settings.queue, QUEUE)
}

fn expect_ours(
    name: &Name,
    what: &'static str,
    expected: u64,
    found: u64,
) -> Result<(), OpenError> {
    if expected == found {
        return Ok(());
    }
    Err(OpenError::Foreign { name: name.shown(), what, expected, found })
}

fn corrupt(name: &Name, what: &'static str, expected: u64, found: u64) -> OpenError {
    OpenError::Corrupt { name: name.shown(), what, expected, found }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(settings: &Settings) -> (Identity, Name, u64) {
        let identity = Identity::default();
        let len = whole_len(settings).unwrap();
        identity.write(settings, len, 99);
        (identity, Name::new("x").unwrap(), len)
    }

    #[test]
    fn what_was_written_is_read_back() {
        let settings = Settings {
            capacity: 4096,
            claims: Claims::Exclusive,
            overflow: Overflow::DropOldest,
            history: 3,
            max_publishers: 1,
            max_subscribers: 5,
            stays_open: true,
            parking: Parking::Event,
            worker_slots: 7,
            call_cells: 0,
            tagged_slots: false,
            queue: false,
            cells: 0,
            cell_buffers: 0,
            cell_size: 0,
        };
        let board = Settings { cells: 3, cell_buffers: 4, cell_size: 100, ..Settings::default() };
        let grouped = Settings { queue: true, tagged_slots: true, ..Settings::default() };
        let area = Settings { call_cells: 32, ..Settings::default() };
        for settings in [settings, grouped, board, area, Settings::default()] {
            let (identity, name, len) = written(&settings);
            assert_eq!(identity.state(&name).unwrap(), State::Ready);
            let checked = identity.check(&name, len).unwrap();
            assert_eq!((checked.settings, checked.salt), (settings, 99));
        }
    }

    #[test]
    fn an_object_is_of_this_library_before_it_is_made_and_zeros_are_not() {
        let (identity, name, _) = written(&Settings::default());
        let zeros = Identity::default().state(&name).unwrap_err();
        assert!(matches!(zeros, OpenError::Foreign { found: 0, .. }), "{zeros}");
        assert_eq!(state_of(&name, &unmade()).unwrap(), State::Removed);
        assert!(matches!(state_of(&name, &[0; 16]), Err(OpenError::Foreign { .. })));
        identity.state.store(0, Ordering::Relaxed);
        assert_eq!(identity.state(&name).unwrap(), State::Removed);
        identity.mark_removed();
        assert_eq!(identity.state(&name).unwrap(), State::Removed);
        identity.mark_nameless();
        assert_eq!(identity.state(&name).unwrap(), State::Nameless);
    }

    #[test]
    fn each_word_is_checked() {
        let check = |change: &dyn Fn(&Identity)| {
            let (identity, name, len) = written(&Settings::default());
            change(&identity);
            identity.state(&name).and_then(|_| identity.check(&name, len)).unwrap_err()
        };
        let store = Ordering::Relaxed;
        assert!(matches!(check(&|i| i.magic.store(1, store)), OpenError::Foreign { .. }));
        assert!(matches!(check(&|i| i.state.store(9, store)), OpenError::Corrupt { .. }));
        assert!(matches!(check(&|i| i.len.store(1, store)), OpenError::Corrupt { .. }));
        assert!(matches!(check(&|i| i.capacity.store(3, store)), OpenError::Corrupt { .. }));
        assert!(matches!(check(&|i| i.capacity.store(u64::MAX, store)), OpenError::Corrupt { .. }));
        assert!(matches!(check(&|i| i.entries.store(0, store)), OpenError::Corrupt { .. }));
        assert!(matches!(check(&|i| i.entries.store(u64::MAX, store)), OpenError::Corrupt { .. }));
        assert!(matches!(check(&|i| i.history.store(u64::MAX, store)), OpenError::Corrupt { .. }));
        assert!(matches!(check(&|i| i.flags.store(u64::MAX, store)), OpenError::Corrupt { .. }));
        assert!(matches!(
            check(&|i| i.worker_slots.store(u64::MAX, store)),
            OpenError::Corrupt { .. }
        ));
        assert!(matches!(check(&|i| i.worker_slots.store(64, store)), OpenError::Corrupt { .. }));
        assert!(matches!(check(&|i| i.call_cells.store(64, store)), OpenError::Corrupt { .. }));
        for cells in [1, u64::MAX, 1 << 32 | 1, 1000 << 32 | 1] {
            assert!(matches!(check(&|i| i.cells.store(cells, store)), OpenError::Corrupt { .. }));
        }
        assert!(matches!(check(&|i| i.cell_size.store(64, store)), OpenError::Corrupt { .. }));
        assert!(matches!(check(&|i| i.format.store(0, store)), OpenError::Foreign { .. }));
        assert!(matches!(
            check(&|i| i.format.store(format() + 1, store)),
            OpenError::OtherVersion { found, .. } if found == VERSION + 1
        ));
        assert!(matches!(
            check(&|i| i.format.store(format() ^ 1 << 40, store)),
            OpenError::Foreign { what: "the byte order and pointer width", .. }
        ));
    }

    #[test]
    fn an_object_shorter_than_its_word_is_refused() {
        let (identity, name, len) = written(&Settings::default());
        let error = identity.check(&name, len - 4096).unwrap_err();
        assert!(matches!(error, OpenError::Corrupt { what: "the length of the object", .. }));
    }
}
