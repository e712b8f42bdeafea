//! The errors of boards.

use crate::error::error_family;
use crate::packet::Unserializable;
use std::fmt;

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

/// What a write waits for.
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

/// Why a read returned no value.
#[derive(Debug)]
#[non_exhaustive]
pub enum ReadError {
    /// The cell has no value yet: no writer has written it since the board was made.
    NoValue,
    /// No writer has written this key, or the id is one of another board.
    UnknownKey(String),
    /// The bytes of the value, or the words of its cell, are not valid.
    Corrupt(Box<str>),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoValue => f.write_str("no value yet: the cell was never written; wait for it"),
            Self::UnknownKey(key) => {
                write!(f, "unknown key {key}: it was never written; check the key, or wait")
            }
            Self::Corrupt(what) => write!(f, "corrupt value: {what}"),
        }
    }
}

impl std::error::Error for ReadError {}

error_family! {
    /// Why a call that waits for a change returned no value.
    ChangedError waits for (), {
        /// No writer has written this key, or the id is one of another board.
        UnknownKey(key: String) => (
            "unknown key {key}: it was never written; check the key, or wait"
        ),
        /// The bytes of the value, or the words of its cell, are not valid.
        Corrupt(what: Box<str>) => ("corrupt value: {what}"),
        /// The value has not changed, and the reader's [`Stop`](crate::Stop) was called.
        Stopped => ("value not changed: stopped"),
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
