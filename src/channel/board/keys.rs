//! Keys of a board: how a reader or writer finds the cell of a key.
//!
//! Cells get their keys in ascending order and keep them, so an endpoint remembers what it has
//! found, and reads only the cells that got a key since.

use crate::segment::cells::CellMemory;
use std::collections::HashMap;

/// The cell of one key, for reads and writes without a search. Valid for the endpoints of the
/// [`Board`](super::Board) that it came from, in this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CellId {
    pub(super) index: usize,
    /// Address of the board's mapping.
    pub(super) board: usize,
}

/// A key as an argument. Implemented for `str`, `String` and [`CellId`].
pub trait BoardKey: sealed::Sealed {
    #[doc(hidden)]
    fn key(&self) -> KeyRef<'_>;
}

/// A key, or the cell of one.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub enum KeyRef<'a> {
    /// A key.
    Name(&'a str),
    /// Its cell.
    Cell(CellId),
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for str {}
    impl Sealed for String {}
    impl Sealed for super::CellId {}
}

impl BoardKey for str {
    fn key(&self) -> KeyRef<'_> {
        KeyRef::Name(self)
    }
}

impl BoardKey for String {
    fn key(&self) -> KeyRef<'_> {
        KeyRef::Name(self)
    }
}

impl BoardKey for CellId {
    fn key(&self) -> KeyRef<'_> {
        KeyRef::Cell(*self)
    }
}

impl std::fmt::Display for KeyRef<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Name(name) => write!(f, "{name:?}"),
            Self::Cell(id) => write!(f, "of cell {} of another board", id.index),
        }
    }
}

/// The keys that an endpoint knows.
#[derive(Debug, Default)]
pub(super) struct KnownKeys {
    cells: HashMap<String, usize>,
    /// Address of the board's mapping.
    board: usize,
}

impl KnownKeys {
    /// No key, of the board whose mapping has this address.
    pub(super) fn new(board: usize) -> Self {
        Self { cells: HashMap::new(), board }
    }

    /// The cell of a key, if it has one.
    pub(super) fn find<K: BoardKey + ?Sized>(
        &mut self,
        cells: &CellMemory,
        key: &K,
    ) -> Option<usize> {
        match key.key() {
            // An address may be that of an earlier board.
            KeyRef::Cell(id) => {
                (id.board == self.board && id.index < cells.heads().len()).then_some(id.index)
            }
            KeyRef::Name(name) => self.cells.get(name).copied().or_else(|| {
                self.look(cells);
                self.cells.get(name).copied()
            }),
        }
    }

    /// The identity of a cell.
    pub(super) fn id(&self, index: usize) -> CellId {
        CellId { index, board: self.board }
    }

    /// Reads the cells that got a key since the last look.
    #[cold]
    fn look(&mut self, cells: &CellMemory) {
        for (index, head) in cells.heads().iter().enumerate().skip(self.cells.len()) {
            let Some(key) = head.key() else { break };
            self.cells.entry(key).or_insert(index);
        }
    }
}
