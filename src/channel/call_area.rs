//! Call areas: the shared objects through which workers get the replies to their calls.

use crate::error::{Detachment, OpenError};
use crate::ring::call::CellPool;
use crate::segment::name::Name;
use crate::segment::settings::Settings;
use crate::segment::{CallMemory, Segment};
use crate::sys::lock::LockLimit;
use std::sync::Arc;

/// The call area of one worker. The object goes when the value is dropped. Its cells keep the
/// memory.
#[derive(Debug)]
pub(crate) struct CallArea {
    segment: Segment,
    pool: Arc<CellPool>,
}

impl CallArea {
    /// Makes the area of this name: `cells` cells, and `capacity` bytes for replies, a power of
    /// two. `generation` is that of the worker.
    pub(crate) fn make(
        name: &Name,
        (cells, capacity): (usize, usize),
        generation: u64,
        limit: &LockLimit,
    ) -> Result<Self, OpenError> {
        let settings = Settings {
            capacity,
            max_publishers: 1,
            max_subscribers: 1,
            stays_open: true,
            call_cells: cells,
            ..Settings::default()
        };
        let segment = Segment::open(name, &settings, limit)?;
        let memory = segment.call_memory();
        memory.set_generation(generation);
        Ok(Self { segment, pool: Arc::new(CellPool::new(memory)) })
    }

    /// Its free cells.
    pub(crate) fn pool(&self) -> &Arc<CellPool> {
        &self.pool
    }

    /// Why no server can reach it any more; `None` if they can.
    pub(crate) fn detachment(&self) -> Option<Detachment> {
        self.segment.detachment()
    }

    /// Fails in a forked child.
    pub(crate) fn refuse_inherited(&self) -> Result<(), OpenError> {
        self.segment.refuse_inherited()
    }
}

/// Maps the call area of another worker. Costs a mapping and no descriptor.
/// [`NotFound`](OpenError::NotFound) if it was removed or its worker died.
pub(crate) fn map_calls(name: &Name) -> Result<CallMemory, OpenError> {
    if !Segment::is_in_use(name)? {
        return Err(OpenError::NotFound { name: name.shown() });
    }
    Segment::map_calls(name)
}

/// Returns true if the worker that made the call area of this name lives.
pub(crate) fn is_area_in_use(name: &Name) -> bool {
    // An object that cannot be opened now counts as in use.
    Segment::is_in_use(name).unwrap_or(true)
}
