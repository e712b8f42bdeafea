//! Cells: values that readers pin in place while writers replace them.
//!
//! The actors mirror `ring/board_cell/`:
//!
//! - writer: `writer.rs` (`lock`, `next_buffer`, `scan`, fill, `publish`)
//! - reader: `reader.rs` (`pin`, `pin_any`, release)
//! - janitor: `ring/reap.rs` (`leave_subscriber` of a dead reader), under the control lock
//! - successor: `writer.rs` (`join`), under the control lock
//!
//! The store of a cell's word is buffered: the writer goes on before others see it. All other
//! stores are seen at once. The pin of a reader is an exchange.

use super::explorer::{Model, Next, breaks, holds, is_large};

const MOST_BUFFERS: usize = 4;
const READERS: usize = 2;
const WRITERS: usize = 2;
const NAMES: [&str; READERS] = ["R1", "R2"];
const WRITER_NAMES: [&str; WRITERS] = ["W1", "W2"];
/// No pin.
const NONE: u8 = 0xff;
/// Every buffer of the cell.
const ANY: u8 = 0xfe;
/// Content of a buffer that is being written.
const TORN: u8 = 0xff;
const NOBODY: u8 = 0xff;

/// Injected faults.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fault {
    Nothing,
    /// A reader does not look at the word again after its pin.
    NoSecondLook,
    /// A reader looks at the word again before its pin is seen.
    PinBehindSecondLook,
    /// A writer scans the pins before its last word is seen.
    ScanWithoutFence,
    /// A writer takes each buffer but the current one.
    PinsIgnored,
    /// A scan ignores the pin of every buffer.
    AnyIgnored,
    /// A reader that pinned every buffer uses the word that it read before.
    AnyWithoutSecondLook,
    /// The word is stored before the buffer is filled.
    PublishedFirst,
    /// A writer keeps its free buffers though another writer has written.
    FreeKept,
    /// The pin of a dead reader stays.
    DeadPinKept,
    /// A successor leaves the lock of its predecessor, and lives as its holder.
    LockInherited,
    /// The lock of a living writer is taken.
    LivingLockTaken,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
enum Violation {
    Overwritten,
    WriterStuck,
    ReaderStuck,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Word {
    version: u8,
    buffer: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum WriterAt {
    Idle,
    Locked,
    Fence,
    /// Reads the pin of this reader; the buffers that are pinned so far.
    Scan(u8, u8),
    /// `Failpoint::CellFill`
    Fill(u8),
    Filling(u8),
    /// `Failpoint::CellPublish`
    Publish(u8),
    FillLate(u8),
    Unlock,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Writer {
    is_alive: bool,
    at: WriterAt,
    /// The version that it wrote last.
    last: u8,
    /// Buffers that no scan since has to look at, one bit each.
    free: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum ReaderAt {
    Load,
    /// `Failpoint::CellPin`
    Pin,
    SecondLook,
    Any,
    LoadAny,
    PinAny,
    Hold,
    Done,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Reader {
    is_alive: bool,
    at: ReaderAt,
    word: Word,
    reads: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct State {
    word: Word,
    /// A word that its writer has stored and no other process sees yet.
    buffered: Option<Word>,
    content: [u8; MOST_BUFFERS],
    lock: u8,
    pins: [u8; READERS],
    writers: [Writer; WRITERS],
    readers: [Reader; READERS],
    writes: u8,
    kills: u8,
}

#[derive(Clone, Copy)]
struct Cells {
    fault: Fault,
    buffers: u8,
    writers: usize,
    readers: usize,
    writes: u8,
    reads: u8,
    kills: u8,
}

impl Cells {
    fn all(&self) -> u8 {
        (1 << self.buffers) - 1
    }

    fn write(&self, state: &State, index: usize, next: &mut Next<State>) {
        let mut new = *state;
        let writer = state.writers[index];
        let me = &mut new.writers[index];
        let text = match writer.at {
            WriterAt::Idle if state.writes == 0 => return,
            WriterAt::Idle => {
                let holder = usize::from(state.lock);
                let may_take = state.lock == NOBODY || self.fault == Fault::LivingLockTaken || {
                    let is_dead = !state.writers[holder].is_alive && state.buffered.is_none();
                    if is_dead {
                        next.cover("the lock of a dead writer was taken over");
                    }
                    is_dead
                };
                if !may_take {
                    return;
                }
                new.lock = index as u8;
                me.at = WriterAt::Locked;
                "takes the cell's lock"
            }
            WriterAt::Locked => {
                let seen = state.buffered.unwrap_or(state.word);
                if writer.last != seen.version && self.fault != Fault::FreeKept {
                    me.free = 0;
                }
                me.at = match me.free {
                    0 => WriterAt::Fence,
                    free => WriterAt::Fill(free.trailing_zeros() as u8),
                };
                "looks for a free buffer"
            }
            WriterAt::Fence => {
                if self.fault != Fault::ScanWithoutFence {
                    new.word = state.buffered.unwrap_or(state.word);
                    new.buffered = None;
                }
                new.writers[index].at = WriterAt::Scan(0, 0);
                "executes its fence"
            }
            WriterAt::Scan(reader, pinned) => {
                let pin = match state.pins[usize::from(reader)] {
                    NONE => 0,
                    ANY if self.fault == Fault::AnyIgnored => 0,
                    ANY => {
                        next.cover("a scan met the pin of every buffer");
                        self.all()
                    }
                    buffer => 1 << buffer,
                };
                let pinned = pinned | if self.fault == Fault::PinsIgnored { 0 } else { pin };
                let current = 1 << state.buffered.unwrap_or(state.word).buffer;
                me.at = if usize::from(reader) + 1 < self.readers {
                    WriterAt::Scan(reader + 1, pinned)
                } else {
                    me.free = self.all() & !pinned & !current;
                    if me.free == 0 {
                        next.cover("a writer found every buffer pinned");
                        WriterAt::Fence
                    } else {
                        WriterAt::Fill(me.free.trailing_zeros() as u8)
                    }
                };
                "reads a pin"
            }
            WriterAt::Fill(buffer) if self.fault == Fault::PublishedFirst => {
                me.at = WriterAt::Publish(buffer);
                "skips the fill"
            }
            WriterAt::Fill(buffer) | WriterAt::FillLate(buffer) => {
                new.content[usize::from(buffer)] = TORN;
                me.at = WriterAt::Filling(buffer);
                "begins to fill the buffer"
            }
            WriterAt::Filling(buffer) => {
                let seen = state.buffered.unwrap_or(state.word);
                let is_late = self.fault == Fault::PublishedFirst;
                let version = if is_late { seen.version } else { seen.version + 1 };
                new.content[usize::from(buffer)] = version;
                me.at = if is_late { WriterAt::Unlock } else { WriterAt::Publish(buffer) };
                "fills the buffer"
            }
            WriterAt::Publish(buffer) => {
                if state.buffered.is_some() {
                    return;
                }
                let version = state.word.version + 1;
                new.buffered = Some(Word { version, buffer });
                me.last = version;
                me.free &= !(1 << buffer);
                new.writes -= 1;
                let is_late = self.fault == Fault::PublishedFirst;
                me.at = if is_late { WriterAt::FillLate(buffer) } else { WriterAt::Unlock };
                "stores the word"
            }
            WriterAt::Unlock => {
                if self.writers > 1 {
                    if state.buffered.is_some() {
                        return;
                    }
                    new.lock = NOBODY;
                    me.at = WriterAt::Idle;
                } else {
                    // An exclusive writer has no lock to release.
                    new.lock = NOBODY;
                    new.writers[index].at = WriterAt::Idle;
                }
                "is done"
            }
        };
        next.step(WRITER_NAMES[index], text, &[], new);
    }

    fn read(&self, state: &State, index: usize, next: &mut Next<State>) {
        let mut new = *state;
        let reader = state.readers[index];
        let me = &mut new.readers[index];
        let text = match reader.at {
            ReaderAt::Done => return,
            ReaderAt::Load => {
                me.word = state.word;
                me.at = match self.fault {
                    _ if state.word.version == 0 => return,
                    Fault::PinBehindSecondLook => ReaderAt::SecondLook,
                    _ => ReaderAt::Pin,
                };
                "loads the word"
            }
            ReaderAt::Pin => {
                new.pins[index] = reader.word.buffer;
                me.at = match self.fault {
                    Fault::NoSecondLook | Fault::PinBehindSecondLook => ReaderAt::Hold,
                    _ => ReaderAt::SecondLook,
                };
                "pins the buffer"
            }
            ReaderAt::SecondLook => {
                me.at = match (state.word == reader.word, self.fault) {
                    (true, Fault::PinBehindSecondLook) => ReaderAt::Pin,
                    (true, _) => ReaderAt::Hold,
                    (false, _) => ReaderAt::Any,
                };
                "loads the word again"
            }
            ReaderAt::Any => {
                new.pins[index] = ANY;
                let is_skipped = self.fault == Fault::AnyWithoutSecondLook;
                me.at = if is_skipped { ReaderAt::PinAny } else { ReaderAt::LoadAny };
                next.cover("a reader pinned every buffer");
                "pins every buffer"
            }
            ReaderAt::LoadAny => {
                me.word = state.word;
                me.at = ReaderAt::PinAny;
                "loads the word"
            }
            ReaderAt::PinAny => {
                new.pins[index] = reader.word.buffer;
                me.at = ReaderAt::Hold;
                "keeps the pin of one buffer"
            }
            ReaderAt::Hold => {
                new.pins[index] = NONE;
                me.reads += 1;
                me.at = if me.reads == self.reads { ReaderAt::Done } else { ReaderAt::Load };
                "releases the value"
            }
        };
        next.step(NAMES[index], text, &[], new);
    }

    fn kill(&self, state: &State, next: &mut Next<State>) {
        if state.kills == 0 {
            return;
        }
        for (index, writer) in state.writers.iter().enumerate().take(self.writers) {
            if writer.is_alive && writer.at != WriterAt::Idle {
                let mut new = *state;
                new.kills -= 1;
                new.writers[index].is_alive = false;
                if matches!(writer.at, WriterAt::Filling(_)) {
                    next.cover("a writer was killed while it filled a buffer");
                }
                if writer.at == WriterAt::Unlock {
                    next.cover("a writer was killed behind its word");
                }
                next.external(WRITER_NAMES[index], "is killed", &[], new);
            }
        }
        for (index, reader) in state.readers.iter().enumerate().take(self.readers) {
            if reader.is_alive && reader.at != ReaderAt::Done {
                let mut new = *state;
                new.kills -= 1;
                new.readers[index].is_alive = false;
                match state.pins[index] {
                    NONE => {}
                    ANY => next.cover("a reader was killed with every buffer pinned"),
                    _ => next.cover("a reader was killed with a pin"),
                }
                next.external(NAMES[index], "is killed", &[], new);
            }
        }
    }
}

impl Model for Cells {
    type State = State;
    type Violation = Violation;

    fn start(&self) -> State {
        let writer = Writer { is_alive: true, at: WriterAt::Idle, last: 0, free: 0 };
        let word = Word { version: 0, buffer: 0 };
        let reader = Reader { is_alive: true, at: ReaderAt::Load, word, reads: 0 };
        State {
            word,
            buffered: None,
            content: [0; MOST_BUFFERS],
            lock: NOBODY,
            pins: [NONE; READERS],
            writers: [writer; WRITERS],
            readers: [reader; READERS],
            writes: self.writes,
            kills: self.kills,
        }
    }

    fn next(&self, state: &State, next: &mut Next<State>) {
        if let Some(word) = state.buffered {
            let new = State { word, buffered: None, ..*state };
            next.step("memory", "shows the word", &[], new);
        }
        for (index, writer) in state.writers.iter().enumerate().take(self.writers) {
            if writer.is_alive {
                self.write(state, index, next);
            } else if state.buffered.is_none() {
                let mut new = *state;
                new.writers[index] =
                    Writer { is_alive: true, at: WriterAt::Idle, last: 0, free: 0 };
                if state.lock == index as u8 && self.fault != Fault::LockInherited {
                    new.lock = NOBODY;
                }
                next.step(WRITER_NAMES[index], "has a successor", &[], new);
            }
        }
        for index in 0..self.readers {
            if state.readers[index].is_alive {
                self.read(state, index, next);
            } else if state.pins[index] != NONE && self.fault != Fault::DeadPinKept {
                let mut new = *state;
                new.pins[index] = NONE;
                next.step("janitor", "clears a dead reader", &[], new);
            }
        }
        self.kill(state, next);
    }

    fn violation(&self, state: &State) -> Option<Violation> {
        let is_overwritten = state.readers.iter().take(self.readers).any(|reader| {
            reader.is_alive
                && reader.at == ReaderAt::Hold
                && state.content[usize::from(reader.word.buffer)] != reader.word.version
        });
        is_overwritten.then_some(Violation::Overwritten)
    }

    fn unmet(&self, state: &State) -> Vec<Violation> {
        let mut unmet = Vec::new();
        if state.writes > 0 {
            unmet.push(Violation::WriterStuck);
        }
        let is_done = |reader: &Reader| !reader.is_alive || reader.at == ReaderAt::Done;
        if !state.readers.iter().take(self.readers).all(is_done) {
            unmet.push(Violation::ReaderStuck);
        }
        unmet
    }
}

/// A writer, and as many buffers as it needs so that no pin stops it.
const EXCLUSIVE: Cells = Cells {
    fault: Fault::Nothing,
    buffers: 4,
    writers: 1,
    readers: 2,
    writes: 4,
    reads: 2,
    kills: 1,
};

/// Two buffers: a pin stops the writer.
const TIGHT: Cells = Cells { buffers: 2, writes: 3, kills: 2, ..EXCLUSIVE };

const SHARED: Cells = Cells { writers: 2, readers: 1, buffers: 3, reads: 1, kills: 2, ..EXCLUSIVE };

#[test]
fn a_value_in_hand_is_never_rewritten() {
    let situations = [
        "a writer was killed while it filled a buffer",
        "a writer was killed behind its word",
        "a reader was killed with a pin",
        "a reader was killed with every buffer pinned",
        "a scan met the pin of every buffer",
    ];
    holds("cells, exclusive", &EXCLUSIVE, &situations);
    holds("cells, tight", &TIGHT, &["a writer found every buffer pinned"]);
    holds("cells, shared", &SHARED, &["the lock of a dead writer was taken over"]);
}

#[test]
fn cells_hold_in_larger_scenarios() {
    if is_large() {
        holds("cells, large", &Cells { writes: 6, kills: 2, ..EXCLUSIVE }, &[]);
        holds("cells, shared, large", &Cells { readers: 2, writes: 5, ..SHARED }, &[]);
    }
}

#[track_caller]
fn broken_by(fault: Fault, cells: Cells, violation: Violation) {
    let name = std::thread::current().name().unwrap_or_default().to_owned();
    breaks(&name, &Cells { fault, ..cells }, violation);
}

#[test]
fn a_pin_without_a_second_look_comes_too_late() {
    broken_by(Fault::NoSecondLook, TIGHT, Violation::Overwritten);
    broken_by(Fault::PinBehindSecondLook, TIGHT, Violation::Overwritten);
}

#[test]
fn a_scan_before_the_word_is_seen_misses_a_pin() {
    broken_by(Fault::ScanWithoutFence, TIGHT, Violation::Overwritten);
}

#[test]
fn a_pinned_buffer_is_not_free() {
    broken_by(Fault::PinsIgnored, TIGHT, Violation::Overwritten);
    let longer = Cells { buffers: 3, writes: 5, kills: 0, ..EXCLUSIVE };
    broken_by(Fault::AnyIgnored, longer, Violation::Overwritten);
}

#[test]
fn a_pin_of_every_buffer_needs_the_word_that_is_read_behind_it() {
    broken_by(Fault::AnyWithoutSecondLook, EXCLUSIVE, Violation::Overwritten);
}

#[test]
fn a_word_before_its_value_shows_another_value() {
    broken_by(Fault::PublishedFirst, TIGHT, Violation::Overwritten);
}

#[test]
fn free_buffers_are_forgotten_when_another_writer_wrote() {
    broken_by(Fault::FreeKept, SHARED, Violation::Overwritten);
}

#[test]
fn the_pin_of_a_dead_reader_is_cleared() {
    broken_by(Fault::DeadPinKept, TIGHT, Violation::WriterStuck);
}

#[test]
fn the_lock_of_a_dead_writer_is_taken_over() {
    broken_by(Fault::LockInherited, SHARED, Violation::WriterStuck);
}

#[test]
fn the_lock_of_a_living_writer_is_not_taken() {
    broken_by(Fault::LivingLockTaken, SHARED, Violation::Overwritten);
}
