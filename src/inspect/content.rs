//! Objects other than rings: directories, boards, call areas.

use super::endpoint::{EndpointInfo, Source};
use super::ring::{RingType, last_death, types};
use crate::cluster::{WorkerInfo, describe_all};
use crate::ring::{board_cell, snapshot};
use crate::segment::PassiveSegment;
use crate::sync::Ordering;
use std::time::Duration;

/// The directory of a cluster.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DirectoryInspection {
    /// Most workers at a time.
    pub max_workers: usize,
    /// The workers in the order of their ids: living ones, those that are away, and those that are
    /// gone and whose id no other worker took.
    pub workers: Vec<WorkerInfo>,
    /// Time since a dead worker was last found. `None` if none was.
    pub last_death: Option<Duration>,
    /// The process that holds the control lock now: a worker joins or leaves. `None`: the lock is
    /// free.
    pub control_holder: Option<u32>,
}

/// A board or a latest value.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BoardInspection {
    /// Most keys.
    pub max_keys: usize,
    /// Buffers of each key: values that readers can hold at the same time, the current one, and one
    /// to write.
    pub buffers: usize,
    /// Most bytes of a value.
    pub max_size: usize,
    /// Most writers at a time.
    pub max_writers: usize,
    /// Most readers at a time.
    pub max_readers: usize,
    /// The cells that have a key or a value, in their order.
    pub cells: Vec<CellInfo>,
    /// The packet type of the values; several if the board was used with other types before.
    pub types: Vec<RingType>,
    /// The writers in the order of their entries, then the readers in theirs.
    pub endpoints: Vec<EndpointInfo>,
    /// Time since a dead process was last found here. `None` if none was.
    pub last_death: Option<Duration>,
    /// The process that holds the control lock now. `None`: the lock is free.
    pub control_holder: Option<u32>,
}

/// A cell of a board.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CellInfo {
    /// Its index, from 0.
    pub index: usize,
    /// Its key. Empty for a latest value.
    pub key: String,
    /// How often it was written; 0: it has no value yet.
    pub version: u64,
    /// With several writers: the [entry](EndpointInfo::entry) of the writer that writes it now, or
    /// that died while it wrote.
    pub writer: Option<usize>,
}

/// The call area of a worker: cells and memory for the replies to its calls.
///
/// Its words do not tell which calls are in flight, because the caller keeps that to itself. The
/// requests of a service do: their [backlog](super::RingInspection::queue), and the packets that
/// its servers have in flight.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CallAreaInspection {
    /// Most calls in flight at a time.
    pub max_calls: usize,
    /// Bytes of memory for replies that are longer than a cell.
    pub reply_bytes: usize,
    /// The generation of the worker that made the area: see [`WorkerInfo::generation`].
    pub generation: u64,
    /// Cells that have the outcome of a call. Each cell keeps that of its last call.
    pub answered: usize,
}

impl DirectoryInspection {
    pub(super) fn of(segment: &PassiveSegment) -> Self {
        Self {
            max_workers: segment.settings().worker_slots,
            workers: describe_all(&segment.worker_slots(), &|entry| segment.is_alive(entry)),
            last_death: last_death(segment),
            control_holder: segment.control_holder(),
        }
    }
}

impl BoardInspection {
    pub(super) fn of(source: &Source<'_>) -> Self {
        let (segment, settings) = (source.segment, source.segment.settings());
        let found = snapshot::read(segment.memory(), settings);
        let cells = board_cell::snapshot(&segment.cells()).into_iter().map(|cell| CellInfo {
            index: cell.index,
            key: cell.key.unwrap_or_default(),
            version: cell.version,
            writer: cell.writer.filter(|&entry| entry < settings.max_publishers),
        });
        Self {
            max_keys: settings.cells,
            buffers: settings.cell_buffers,
            max_size: settings.cell_size,
            max_writers: settings.max_publishers,
            max_readers: settings.max_subscribers,
            cells: cells.collect(),
            types: types(segment),
            endpoints: source.endpoints(&found),
            last_death: last_death(segment),
            control_holder: segment.control_holder(),
        }
    }
}

impl CallAreaInspection {
    pub(super) fn of(segment: &PassiveSegment) -> Self {
        let memory = segment.call_memory();
        let cells = memory.cells();
        Self {
            max_calls: cells.len(),
            reply_bytes: memory.capacity(),
            generation: memory.generation(),
            answered: cells.iter().filter(|cell| cell.state.load(Ordering::Relaxed) != 0).count(),
        }
    }
}
