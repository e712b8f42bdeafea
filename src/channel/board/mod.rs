//! Boards: cells in shared memory that hold the latest value of each key, and [`Latest`], a board
//! of one cell.
//!
//! All endpoints of one [`Board`] live in its attachment, so a process needs two descriptors for a
//! board, however many keys, readers and writers it has.

mod builder;
mod endpoint;
mod error;
mod latest;
mod reader;
mod writer;

pub use builder::BoardBuilder;
pub use endpoint::{BoardKey, CellId};
pub use error::{
    CellHolder, ChangedError, ChangedTimeoutError, ReadError, TryChangedError, TryWriteError,
    WriteError, WriteTimeoutError,
};
pub use latest::{Latest, LatestReader, LatestWriter};
pub use reader::{BoardReader, CellChange, CellValue};
pub use writer::BoardWriter;

use crate::error::{Detachment, DisplayName, OpenError};
use crate::packet::Packet;
use crate::segment::SharedSegment;
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
    attachment: Arc<SharedSegment>,
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
    /// [`Full`](OpenError::Full), [`Busy`](OpenError::Busy), [`System`](OpenError::System).
    pub fn writer(&self) -> Result<BoardWriter<T>, OpenError> {
        BoardWriter::join(&self.attachment)
    }

    /// Joins as a reader.
    ///
    /// # Errors
    ///
    /// [`Full`](OpenError::Full), [`Busy`](OpenError::Busy), [`System`](OpenError::System).
    pub fn reader(&self) -> Result<BoardReader<T>, OpenError> {
        BoardReader::join(&self.attachment, self.wait)
    }

    /// The keys that were written so far, in the order of their first writes.
    pub fn keys(&self) -> Vec<String> {
        self.attachment.segment().cells().heads().iter().map_while(|head| head.key()).collect()
    }

    /// The board's name without its prefix, empty for a board on the heap.
    pub fn name(&self) -> &str {
        DisplayName(self.attachment.segment().name()).prefix_and_name().1
    }

    /// Why no process can join this board any more; `None` if one can, and for a board on the heap.
    /// Makes three system calls.
    pub fn detachment(&self) -> Option<Detachment> {
        self.attachment.segment().detachment()
    }
}
