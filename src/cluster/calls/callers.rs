//! The callers of the servers of one worker: their call areas, as far as they are mapped.
//!
//! A mapping takes no lock and no descriptor. At most [`MOST_MAPPED`] callers are mapped; then the
//! caller that was used least recently is unmapped, and mapped again at its next request.
//!
//! A caller that is gone is unmapped by the [`Keeper`], whatever the servers do: its memory goes
//! with the last mapping. So no server keeps a mapping while a handler runs.

use super::requests::RequestTag;
use crate::channel::{CallMemory, CellLines, is_area_in_use, map_calls};
use crate::cluster::directory::Caretaker;
use crate::cluster::names::{CallerId, Cluster, ClusterObject};
use crate::error::OpenError;
use crate::sys::thread::Keeper;
use crate::trace::Hold;
use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

/// Most callers that one worker has mapped at a time.
pub(crate) const MOST_MAPPED: usize = 256;

/// Time between two rounds of the thread that removes what callers leave.
const ROUND: Duration = Duration::from_millis(500);

/// The callers of the servers of one worker. Made by its first server.
#[derive(Default)]
pub(crate) struct OwnCallers(Mutex<Weak<CallerCache>>);

/// The mapped callers of one worker's servers, and the thread that removes what callers leave, even
/// while each server is blocked or busy in a handler.
pub(crate) struct CallerCache {
    // First: the thread ends before the last reference to the callers is dropped here.
    _keeper: Keeper,
    callers: Arc<Callers>,
}

impl Deref for CallerCache {
    type Target = Callers;

    fn deref(&self) -> &Callers {
        &self.callers
    }
}

/// The mapped callers of one worker's servers.
pub(crate) struct Callers {
    cluster: Cluster,
    caretaker: Caretaker,
    mapped: Mutex<MappedAreas>,
    /// Work that could not be done. Each returns true when it is done.
    later: Mutex<Vec<LateWork>>,
}

type LateWork = Box<dyn FnMut() -> bool + Send>;

#[derive(Default)]
struct MappedAreas {
    /// By worker id: a worker has one call area at a time.
    areas: Vec<Option<MappedArea>>,
    count: usize,
    /// Counts uses.
    clock: u64,
}

struct MappedArea {
    id: CallerId,
    memory: Arc<CallMemory>,
    used_at: u64,
}

/// The caller of a server's last request. The keeper may unmap its memory meanwhile.
pub(crate) struct LastCaller {
    id: CallerId,
    memory: Weak<CallMemory>,
    /// Its publisher entry in the request ring.
    entry: u16,
    cells: CellLines,
}

/// Why a caller cannot be replied to.
#[derive(Debug)]
pub(crate) enum ReachError {
    /// It is gone.
    Gone,
    /// Its call area cannot be mapped now.
    NotNow(OpenError),
}

impl OwnCallers {
    /// The callers of a worker. Starts the keeper with the first server.
    pub(crate) fn get(
        &self,
        cluster: &Cluster,
        caretaker: impl FnOnce() -> Result<Caretaker, OpenError>,
    ) -> Result<Arc<CallerCache>, OpenError> {
        let _hold = Hold::new();
        let mut made = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(cache) = made.upgrade() {
            return Ok(cache);
        }
        let callers = Arc::new(Callers {
            cluster: cluster.clone(),
            caretaker: caretaker()?,
            mapped: Mutex::default(),
            later: Mutex::default(),
        });
        let kept = Arc::clone(&callers);
        let keeper = Keeper::start(move || kept.tidy(), ROUND)
            .map_err(|error| OpenError::system("start a thread for", "a service", error))?;
        let cache = Arc::new(CallerCache { _keeper: keeper, callers });
        *made = Arc::downgrade(&cache);
        Ok(cache)
    }
}

impl Callers {
    /// The memory of a caller, if it is mapped.
    pub(crate) fn mapped(&self, id: CallerId) -> Option<Arc<CallMemory>> {
        let mut mapped = self.lock();
        mapped.clock += 1;
        let now = mapped.clock;
        let area = mapped.areas.get_mut(usize::from(id.worker().0))?.as_mut()?;
        if area.id != id {
            return None;
        }
        area.used_at = now;
        Some(Arc::clone(&area.memory))
    }

    /// The memory of a caller. Maps it if need be.
    #[inline]
    pub(crate) fn reach(&self, id: CallerId) -> Result<Arc<CallMemory>, ReachError> {
        match self.mapped(id) {
            Some(memory) => Ok(memory),
            None => self.map(id),
        }
    }

    #[cold]
    #[inline(never)]
    fn map(&self, id: CallerId) -> Result<Arc<CallMemory>, ReachError> {
        if id == CallerId::NONE {
            return Err(ReachError::Gone);
        }
        let Ok(name) = ClusterObject::Replies(id).name(&self.cluster) else {
            return Err(ReachError::Gone);
        };
        let memory = match map_calls(&name) {
            Err(error) if is_shortage(&error) => {
                // Fewer mappings help against a lack of memory, not of descriptors.
                let lacks_memory = matches!(&error, OpenError::System { source, .. }
                    if source.raw_os_error() == Some(libc::ENOMEM));
                let evicted = if lacks_memory { self.lock().evict() } else { None };
                drop(evicted);
                return Err(ReachError::NotNow(error));
            }
            // There is no such area, or it is not one of this library.
            Err(_) => return Err(ReachError::Gone),
            Ok(memory) => Arc::new(memory),
        };
        let evicted = {
            let mut mapped = self.lock();
            mapped.clock += 1;
            let now = mapped.clock;
            let evicted = if mapped.count >= MOST_MAPPED { mapped.evict() } else { None };
            let index = usize::from(id.worker().0);
            if mapped.areas.len() <= index {
                mapped.areas.resize_with(index + 1, || None);
            }
            let area = MappedArea { id, memory: Arc::clone(&memory), used_at: now };
            let before = mapped.areas[index].replace(area);
            mapped.count += usize::from(before.is_none());
            (evicted, before)
        };
        // Unmapped after the lock is released.
        drop(evicted);
        Ok(memory)
    }

    /// Returns true if a caller lives. Costs a system call or two.
    pub(crate) fn is_alive(&self, id: CallerId, memory: &CallMemory) -> bool {
        // A client may outlive its worker: then its area says so.
        self.caretaker.is_alive(id.worker(), memory.generation()) || self.has_area(id)
    }

    fn has_area(&self, id: CallerId) -> bool {
        ClusterObject::Replies(id).name(&self.cluster).is_ok_and(|name| is_area_in_use(&name))
    }

    /// Returns true in a forked child, which has none of its parent's mappings.
    pub(crate) fn is_inherited(&self) -> bool {
        self.caretaker.is_inherited()
    }

    /// Has the keeper call `work` until it returns true.
    pub(crate) fn try_later(&self, work: LateWork) {
        self.later.lock().unwrap_or_else(PoisonError::into_inner).push(work);
    }

    /// Removes what dead workers left, and unmaps the callers that are gone.
    pub(super) fn tidy(&self) {
        let mut late =
            std::mem::take(&mut *self.later.lock().unwrap_or_else(PoisonError::into_inner));
        late.retain_mut(|work| !work());
        late.into_iter().for_each(|work| self.try_later(work));
        self.caretaker.tidy();
        let all: Vec<(CallerId, Arc<CallMemory>)> = {
            let mapped = self.lock();
            mapped.areas.iter().flatten().map(|it| (it.id, Arc::clone(&it.memory))).collect()
        };
        for (id, memory) in all {
            if !self.is_alive(id, &memory) {
                let gone = self.lock().remove(id);
                drop(gone);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, MappedAreas> {
        // A panic leaves the list consistent: no code of the user runs under the lock.
        self.mapped.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LastCaller {
    /// No caller.
    pub(crate) const NONE: Self =
        Self { id: CallerId::NONE, memory: Weak::new(), entry: 0, cells: CellLines::NONE };

    /// The caller of a request that came by this publisher entry.
    pub(crate) fn new(id: CallerId, memory: &Arc<CallMemory>, entry: u16) -> Self {
        Self { id, memory: Arc::downgrade(memory), entry, cells: CellLines::of(memory) }
    }

    /// Returns true if it is this caller.
    #[inline]
    pub(crate) fn is(&self, id: CallerId) -> bool {
        self.id == id
    }

    /// The memory of this caller, if it is the last one and still mapped.
    #[inline]
    pub(crate) fn memory_of(&self, id: CallerId) -> Option<Arc<CallMemory>> {
        if self.is(id) { self.memory.upgrade() } else { None }
    }

    /// Has the processor fetch the line of the reply to a request of this tag, if the request
    /// comes by the same publisher entry as the last one. A caller that spins polls that line. So
    /// the first store of the reply would wait until the line is taken away from the caller.
    #[inline(always)]
    pub(crate) fn prefetch_reply(&self, tag: RequestTag) {
        if tag.entry == self.entry {
            self.cells.prefetch(tag.cell);
        }
    }
}

/// Returns true if a later try may succeed.
fn is_shortage(error: &OpenError) -> bool {
    match error {
        OpenError::System { source, .. } => matches!(
            source.raw_os_error(),
            Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM | libc::EAGAIN)
        ),
        OpenError::NoSpace { .. } => true,
        _ => false,
    }
}

impl MappedAreas {
    /// Removes the caller that was used least recently.
    fn evict(&mut self) -> Option<MappedArea> {
        let oldest = self.areas.iter().flatten().min_by_key(|area| area.used_at)?.id;
        self.remove(oldest)
    }

    fn remove(&mut self, id: CallerId) -> Option<MappedArea> {
        let place = self.areas.get_mut(usize::from(id.worker().0))?;
        let removed = place.take_if(|area| area.id == id);
        self.count -= usize::from(removed.is_some());
        removed
    }
}

impl fmt::Debug for OwnCallers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnCallers").finish_non_exhaustive()
    }
}

impl fmt::Debug for CallerCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallerCache").finish_non_exhaustive()
    }
}
