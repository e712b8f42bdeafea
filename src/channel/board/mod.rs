//! Boards: cells in shared memory that hold the latest value of each key, and [`Latest`], a board
//! of one cell.
//!
//! All endpoints of one [`Board`] live in its attachment, so a process needs two descriptors for a
//! board, however many keys, readers and writers it has.

mod builder;
mod endpoint;
mod latest;
mod reader;
mod writer;

pub use builder::BoardBuilder;
pub use endpoint::{BoardKey, CellId};
pub use latest::{Latest, LatestReader, LatestWriter};
pub use reader::{BoardReader, CellChange, CellValue};
pub use writer::BoardWriter;

use crate::error::{Detachment, DisplayName, OpenError, error_family};
use crate::packet::{Packet, Unserializable};
use crate::segment::Segment;
use crate::wait::Wait;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

/// Cells in shared memory, each with the latest value of one key.
///
/// A value is one packet of type `T`, up to a size that is chosen when the board is made. Any
/// number of readers, in any processes, read it in place and as often as they like, also late
/// joiners. A write replaces it. A value in a reader's hand is never rewritten.
///
/// The board lives in shared memory under its name, in the same namespace as rings, and goes with
/// its last attachment: a `Board`, [`Latest`], reader or writer. The values go with it.
///
/// # Cost
///
/// Two descriptors for each `Board` that is opened, shared by its readers and writers. Memory: 47
/// KiB, 256 bytes for each reader and writer, and for each key 128 bytes and `buffers` times the
/// largest value with 16 bytes more, rounded up to 64.
///
/// # Deaths
///
/// A process may be killed at any instruction. A writer leaves the last value that it wrote. The
/// value that a dead reader held stops no writer: the kernel tells which processes live.
///
/// ```
/// use packetring::Board;
///
/// let name = format!("rates-{}", std::process::id());
/// let board = Board::<f64>::builder().keys(300).open::<f64>(&name)?;
/// let mut rates = board.writer()?;
/// rates.write("EURUSD", &1.08)?;
/// let mut reader = board.reader()?;
/// assert_eq!(*reader.read("EURUSD")?, 1.08);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Board<T: Packet> {
    attachment: Arc<Segment>,
    /// How its readers wait.
    wait: Wait,
    packet: PhantomData<fn() -> T>,
}

// Not derived: that would require `T: Debug`.
impl<T: Packet> fmt::Debug for Board<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Board")
            .field("name", &self.name())
            .field("type", &T::TYPE.name)
            .finish_non_exhaustive()
    }
}

impl<T: Packet> Board<T> {
    /// Opens the board of this name, or creates it with the default settings: 64 keys, one writer,
    /// 64 readers, and values up to the size of a `T` without pointers, or 1,008 bytes.
    ///
    /// # Errors
    ///
    /// As [`BoardBuilder::open`].
    pub fn open(name: &str) -> Result<Self, OpenError> {
        Self::builder().open(name)
    }

    /// Returns a builder, to choose settings before the board is opened.
    pub fn builder() -> BoardBuilder {
        BoardBuilder::default()
    }

    /// Joins as the writer, or as one of several: see [`BoardBuilder::max_writers`].
    ///
    /// # Errors
    ///
    /// [`PublisherTaken`](OpenError::PublisherTaken) if the board has its writer,
    /// [`Full`](OpenError::Full), [`Busy`](OpenError::Busy), [`Detached`](OpenError::Detached) if
    /// the name was removed, [`System`](OpenError::System).
    pub fn writer(&self) -> Result<BoardWriter<T>, OpenError> {
        BoardWriter::join(&self.attachment)
    }

    /// Joins as a reader.
    ///
    /// # Errors
    ///
    /// [`Full`](OpenError::Full), [`Busy`](OpenError::Busy), [`Detached`](OpenError::Detached) if
    /// the name was removed, [`System`](OpenError::System).
    pub fn reader(&self) -> Result<BoardReader<T>, OpenError> {
        BoardReader::join(&self.attachment, self.wait)
    }

    /// The keys that writers added so far, in their order: by a write, or by
    /// [`BoardWriter::cell`].
    pub fn keys(&self) -> Vec<String> {
        self.attachment.cells().heads().iter().map_while(|head| head.key()).collect()
    }

    /// The board's name without its prefix, empty for a board on the heap.
    pub fn name(&self) -> &str {
        DisplayName(self.attachment.name()).prefix_and_name().1
    }

    /// Why no process can join this board any more; `None` if one can, and for a board on the heap.
    /// Makes three system calls.
    pub fn detachment(&self) -> Option<Detachment> {
        self.attachment.detachment()
    }
}

// ── Errors ──

error_family! {
    /// Why a write that waits has not replaced the value.
    WriteError waits for CellHolder, {
        /// The value is larger than the board allows.
        TooLarge {
            /// Bytes of its archive.
            needed: usize,
            /// Most bytes of a value in this board.
            limit: usize,
        } => (
            "value too large: {needed} bytes, limit {limit}; create the board with max_size({needed}) or more"
        ),
        /// The value could not be serialized.
        Unserializable(#[source] error: Unserializable) => ("value not serialized: {error}"),
        /// The key is empty, or longer than 64 bytes.
        BadKey {
            /// The key.
            key: String,
        } => ("invalid key {key:?}: it has {} bytes; use 1 to 64 bytes", key.len()),
        /// The key is new, and all cells of the board have one.
        BoardFull {
            /// The key.
            key: String,
            /// Number of cells.
            keys: usize,
        } => ("no cell for key {key:?}: all {keys} are in use; create the board with more keys"),
        /// The [`CellId`](crate::board::CellId) is one of another board.
        UnknownCell(index: usize) => (
            "cell {index} is one of another board; use an id of this board, or the key"
        ),
        /// The call waited, and its [`Stop`](crate::Stop) ended the wait.
        Stopped => ("value not written: stopped"),
        /// The call had to wait or to add a key, and other code closed the descriptor of the board.
        Detached(cause: Detachment) => ("value not written: the board is detached: {cause}"),
        /// The control lock could not be taken to add a key.
        System(#[source] error: std::io::Error) => ("key not added: {error}"),
    }

    /// Why a write that does not wait has not replaced the value.
    TryWriteError adds {
        /// The cell cannot be written now.
        Busy {
            /// The reason.
            holder
        } => ("cell busy: {holder}; wait, or create the board with more buffers")
    }

    /// Why a write with a timeout has not replaced the value.
    WriteTimeoutError adds {
        /// The cell could not be written before the timeout.
        Timeout {
            /// The reason.
            holder
        } => ("cell busy until the timeout: {holder}; create the board with more buffers")
    }
}

impl From<Unserializable> for WriteError {
    fn from(error: Unserializable) -> Self {
        Self::Unserializable(error)
    }
}

/// The reason why a write waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CellHolder {
    /// Readers hold every other buffer of the cell. Never for longer than an instant if the board
    /// has two [buffers](crate::board::BoardBuilder::buffers) more than readers.
    Reader {
        /// The process of one of them.
        pid: u32,
    },
    /// Another writer is writing the cell.
    Writer {
        /// Its process.
        pid: u32,
    },
}

impl fmt::Display for CellHolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reader { pid } => write!(f, "a reader in process {pid} holds a value"),
            Self::Writer { pid } => write!(f, "a writer in process {pid} is writing"),
        }
    }
}

/// The advice about a key that the board does not have.
const NO_KEY: &str = "no writer has added it; check the key, or have a writer add it with BoardWriter::cell before readers wait for it";

/// Why a read returned no value.
#[derive(Debug)]
#[non_exhaustive]
pub enum ReadError {
    /// The cell has no value yet: no writer has written it since the board was made.
    NoValue,
    /// No writer has added this key, or the id is one of another board.
    UnknownKey(String),
    /// The bytes of the value, or the words of its cell, are not valid.
    Corrupt(Box<str>),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoValue => f.write_str("no value yet: the cell was never written; wait for it"),
            Self::UnknownKey(key) => {
                write!(f, "unknown key {key}: {NO_KEY}")
            }
            Self::Corrupt(what) => write!(f, "corrupt value: {what}"),
        }
    }
}

impl std::error::Error for ReadError {}

error_family! {
    /// Why a call that waits for a change returned no value.
    ChangedError waits for (), {
        /// No writer has added this key, or the id is one of another board. A writer adds keys that
        /// readers shall wait for with [`BoardWriter::cell`].
        UnknownKey(key: String) => ("unknown key {key}: {NO_KEY}"),
        /// The bytes of the value, or the words of its cell, are not valid.
        Corrupt(what: Box<str>) => ("corrupt value: {what}"),
        /// The value has not changed, and the reader's [`Stop`](crate::Stop) was called.
        Stopped => ("value not changed: stopped"),
        /// The value has not changed, and no wait for a change can end any more: the name of the
        /// board was removed and no writer lives, or other code closed its descriptor. Reads go on.
        Detached(cause: Detachment) => ("value not changed: the board is detached: {cause}"),
    }

    /// Why a call that does not wait for a change returned no value.
    TryChangedError adds {
        /// The value is the one that this reader read last, or there is none.
        Unchanged => ("value not changed")
    }

    /// Why a call that waits for a change with a timeout returned no value.
    ChangedTimeoutError adds {
        /// The value did not change before the timeout.
        Timeout => ("value not changed before the timeout")
    }
}

impl From<ReadError> for ChangedError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::NoValue => Self::Corrupt("the cell lost its value".into()),
            ReadError::UnknownKey(key) => Self::UnknownKey(key),
            ReadError::Corrupt(what) => Self::Corrupt(what),
        }
    }
}
