//! Boards: live readers and writers, with a peer that writes into their segment between their
//! operations; and boards that are damaged before they are opened.

use super::segment::{Object, path};
use super::{Choices, damage};
use packetring::board::{
    BoardReader, BoardWriter, CellId, CellValue, ReadError, TryWriteError, WriteTimeoutError,
};
use packetring::{Board, Latest, OpenError, Packet, Ring, try_select};
use std::cell::RefCell;
use std::hint::black_box;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Number of kinds of boards: of one cell or of several, for one writer or for several, with a
/// buffer for each reader or with fewer.
pub(crate) const KINDS: usize = 4;

/// Most bytes of a value.
const MAX_SIZE: usize = 200;
/// Limit of the operations of a case.
const MAX_OPERATIONS: usize = 32;
/// Limit of the endpoints of each side.
const MAX_ENDPOINTS: usize = 3;

const NAMES: [&str; 5] = ["a", "b", "a key that is longer than a word", "d", "éé"];

/// A board and its undamaged bytes.
#[derive(Debug)]
pub(crate) struct TestBoard<T: Packet> {
    pub(crate) name: String,
    pub(crate) board: Board<T>,
    pub(crate) object: Object,
    /// The undamaged bytes.
    original: Vec<u8>,
}

impl<T: Packet> TestBoard<T> {
    /// Creates a board, and writes a few values.
    pub(crate) fn new(kind: usize, value: impl Fn(usize) -> T) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("hostile-{}-board-{number}", std::process::id());
        let builder = Board::<T>::builder().max_size(MAX_SIZE).max_readers(4);
        let (keys, builder) = match kind {
            0 => (1, builder.keys(1)),
            1 => (3, builder.keys(4)),
            2 => (3, builder.keys(4).max_writers(2).buffers(2)),
            _ => (2, builder.keys(2).max_writers(3).buffers(3)),
        };
        let board = builder.open(&name).unwrap();
        let (mut writer, mut reader) = (board.writer().unwrap(), board.reader().unwrap());
        for round in 0..7 {
            let key = NAMES[round % keys];
            writer.write(key, &value(round)).unwrap();
            drop(reader.read(key).unwrap());
        }
        drop((writer, reader));
        let object = Object::open(&name);
        let original = object.read_all();
        Self { name, board, object, original }
    }

    /// Restores all bytes and the length.
    pub(crate) fn restore(&self) {
        self.object.restore(&self.original);
    }

    /// Restores all bytes other than those of buffers.
    pub(crate) fn restore_words(&self) {
        self.object.write_bytes(0, &self.original[..self.object.layout.buffers as usize]);
    }
}

impl<T: Packet> Drop for TestBoard<T> {
    fn drop(&mut self) {
        // The last attachment reads it.
        self.restore();
        let _ = std::fs::remove_file(path(&self.name));
    }
}

/// Runs one case.
pub(crate) fn run(data: &[u8]) {
    thread_local! {
        static BOARDS: RefCell<[Option<TestBoard<String>>; KINDS]> = RefCell::default();
    }
    BOARDS.with_borrow_mut(|boards| {
        let mut choices = Choices::new(data);
        let kind = choices.below(KINDS);
        let place = &mut boards[kind];
        if place.as_ref().is_some_and(|test| test.object.is_gone()) {
            *place = None;
        }
        let test =
            place.get_or_insert_with(|| TestBoard::new(kind, |round| "text".repeat(round * 7)));
        test.restore();
        match choices.one_in(4) {
            true => open_damaged(test, &mut choices),
            false => use_beside_damage(test, &mut choices),
        }
    });
}

fn use_beside_damage(test: &TestBoard<String>, choices: &mut Choices<'_>) {
    let mut endpoints = Endpoints::default();
    for _ in 0..MAX_OPERATIONS {
        if choices.are_over() {
            break;
        }
        match choices.below(6) {
            0 | 1 => damage::damage_board(&test.object, choices),
            2 if choices.one_in(4) => damage::damage_contents(&test.object, choices),
            2 if choices.one_in(4) => damage::damage_any(&test.object, choices),
            _ => endpoints.act(&test.board, &test.name, choices),
        }
    }
    // Leaves a reader, then damages the remaining state before the others are dropped.
    drop(endpoints.readers.pop());
    damage::damage_board(&test.object, choices);
}

/// Damages a board, and opens and uses it.
fn open_damaged(test: &TestBoard<String>, choices: &mut Choices<'_>) {
    for _ in 0..1 + choices.below(4) {
        match choices.one_in(2) {
            true => damage::damage_any(&test.object, choices),
            false => damage::damage_board(&test.object, choices),
        }
    }
    if choices.one_in(8) {
        damage::change_len(&test.object, choices);
    }
    check(Ring::attach(&test.name).map(drop));
    check(Latest::<String>::open(&test.name).map(drop));
    match Board::<String>::open(&test.name) {
        Ok(board) => {
            let mut endpoints = Endpoints::default();
            for _ in 0..MAX_OPERATIONS / 2 {
                endpoints.act(&board, &test.name, choices);
            }
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// Endpoints of one board.
#[derive(Debug, Default)]
struct Endpoints {
    readers: Vec<BoardReader<String>>,
    writers: Vec<BoardWriter<String>>,
    /// Cells that an endpoint named, also of boards that are gone.
    cells: Vec<CellId>,
}

impl Endpoints {
    /// Does one operation. Its result must be usable.
    fn act(&mut self, board: &Board<String>, name: &str, choices: &mut Choices<'_>) {
        match choices.below(12) {
            0 => add(&mut self.readers, board.reader()),
            1 => add(&mut self.writers, board.writer()),
            2 => query(board, name, choices),
            3 if choices.one_in(2) => drop(self.readers.pop()),
            3 => drop(self.writers.pop()),
            4..8 => self.write(board, choices),
            _ => self.read(board, choices),
        }
    }

    fn write(&mut self, board: &Board<String>, choices: &mut Choices<'_>) {
        if self.writers.is_empty() {
            add(&mut self.writers, board.writer());
        }
        let (which, key) = (choices.below(MAX_ENDPOINTS), choices.pick(&NAMES));
        let cell = choices.below(4);
        let Self { writers, cells, .. } = self;
        let Some(writer) = writers.get_mut(which) else { return };
        let text = "é".repeat(choices.pick(&[0, 3, 4, 20, 90, 200]));
        match choices.below(6) {
            0 => match writer.cell(key) {
                Ok(cell) => cells.push(cell),
                Err(error) => assert!(!error.to_string().is_empty()),
            },
            1 => {
                let late = writer.write_timeout(key, &text, Duration::ZERO);
                let is_ours = matches!(late, Err(WriteTimeoutError::Unserializable(_)));
                assert!(!is_ours, "{late:?}");
                check(late);
            }
            2 if cells.get(cell).is_some() => {
                check_write(&text, writer.try_write(&cells[cell], &text))
            }
            _ => check_write(&text, writer.try_write(key, &text)),
        }
    }

    fn read(&mut self, board: &Board<String>, choices: &mut Choices<'_>) {
        if self.readers.is_empty() {
            add(&mut self.readers, board.reader());
        }
        let (which, key) = (choices.below(MAX_ENDPOINTS), choices.pick(&NAMES));
        let cell = self.cells.get(choices.below(4)).copied();
        let Some(reader) = self.readers.get_mut(which) else { return };
        match (choices.below(8), cell) {
            (0, _) => check(reader.try_changed(key).map(|value| dispose(value, choices))),
            (1, _) => {
                let late = reader.wait_changed_timeout(key, Duration::ZERO);
                check(late.map(|value| dispose(value, choices)));
            }
            (2, Some(cell)) => check(reader.read(&cell).map(|value| dispose(value, choices))),
            (3, Some(cell)) => {
                if let Ok(mut change) = reader.change_of(cell)
                    && try_select(&mut [&mut change]).is_some()
                {
                    // A value that is there, or a damaged cell.
                    let read = reader.read(&cell);
                    assert!(!matches!(read, Err(ReadError::UnknownKey(_))), "{read:?}");
                    check(read.map(|value| dispose(value, choices)));
                }
            }
            (4, _) => match reader.cell(key) {
                Ok(cell) => self.cells.push(cell),
                Err(error) => assert!(!error.to_string().is_empty()),
            },
            (5, _) if choices.one_in(2) => {
                let clone = reader.try_clone();
                add(&mut self.readers, clone);
            }
            _ => check(reader.read(key).map(|value| dispose(value, choices))),
        }
    }
}

fn query(board: &Board<String>, name: &str, choices: &mut Choices<'_>) {
    match choices.below(5) {
        0 => assert!(board.keys().iter().all(|key| key.len() <= 3 * 64)),
        1 => check(Board::<u64>::open(name).map(drop)),
        2 => {
            check(Board::<String>::builder().keys(choices.below(9)).open::<String>(name).map(drop))
        }
        3 => drop(black_box((board.detachment(), format!("{board:?}")))),
        _ => check(Latest::<String>::open(name).map(drop)),
    }
}

fn add<E>(list: &mut Vec<E>, joined: Result<E, OpenError>) {
    match joined {
        Ok(endpoint) if list.len() < MAX_ENDPOINTS => list.push(endpoint),
        Ok(_) => {}
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// Reads all of a value, which was checked.
fn dispose(value: CellValue<'_, String>, choices: &mut Choices<'_>) {
    // A buffer has whole slots, so it has some more room.
    assert!(value.len() < MAX_SIZE + 64);
    black_box((value.chars().rev().count(), CellValue::version(&value)));
    match choices.below(4) {
        0 => std::mem::forget(value),
        1 => drop(black_box(CellValue::unpack(value).unwrap())),
        _ => drop(value),
    }
}

/// Rejects errors that damaged bytes cannot cause.
fn check_write(text: &str, outcome: Result<(), TryWriteError>) {
    if let Err(error) = &outcome {
        let is_ours = match error {
            TryWriteError::TooLarge { needed, limit } => needed <= limit,
            TryWriteError::Unserializable(_) | TryWriteError::BadKey { .. } => true,
            _ => false,
        };
        assert!(!is_ours, "{} bytes: {error}", text.len());
    }
    check(outcome);
}

fn check<E: std::fmt::Display>(outcome: Result<(), E>) {
    if let Err(error) = outcome {
        assert!(!error.to_string().is_empty());
    }
}
