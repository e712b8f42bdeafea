//! Shared memory without a ring in it, for the floors that rings are compared with.
//!
//! One process creates it, the other opens it, which also removes its name: nothing is left
//! behind, however the two end. Not more than that: no header, no version, no liveness.

use shared_memory::{Shmem, ShmemConf};
use std::hint::spin_loop;
use std::marker::PhantomData;
use std::ops::Deref;
use std::os::unix::process::parent_id;
use std::time::{Duration, Instant};

/// What can lie in shared memory.
///
/// # Safety
///
/// Zeros are a value of it, it has no padding that matters and no pointers, its alignment is a
/// page's at most, and whatever is stored to it through `&self` is stored to an atomic or a cell.
pub(crate) unsafe trait Plain: Sync {}

/// A `T` that two processes share.
pub(crate) struct Shared<T: Plain> {
    map: Shmem,
    content: PhantomData<T>,
}

impl<T: Plain> Shared<T> {
    /// Makes a zeroed one.
    pub(crate) fn create(name: &str) -> Result<Self, String> {
        // The name holds this process' id, so what already has it is left over from a dead one.
        let _ = rustix::shm::unlink(name);
        Self::finish(ShmemConf::new().os_id(name).size(size_of::<T>()).create())
    }

    /// Opens one that was made, and removes its name.
    pub(crate) fn open(name: &str) -> Result<Self, String> {
        let shared = Self::finish(ShmemConf::new().os_id(name).open())?;
        rustix::shm::unlink(name).map_err(|errno| format!("could not remove {name}: {errno}"))?;
        Ok(shared)
    }

    /// Opens one that was made. Its name goes when whoever made it drops it.
    #[allow(dead_code, reason = "not every program with floors has visitors")]
    pub(crate) fn visit(name: &str) -> Result<Self, String> {
        Self::finish(ShmemConf::new().os_id(name).open())
    }

    fn finish(map: Result<Shmem, shared_memory::ShmemError>) -> Result<Self, String> {
        let map = map.map_err(|error| format!("no shared memory for the floor: {error}"))?;
        if map.len() < size_of::<T>() {
            return Err(format!("the floor's shared memory has {} bytes only", map.len()));
        }
        Ok(Self { map, content: PhantomData })
    }
}

impl<T: Plain> Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: the mapping is at least as long as a `T`, starts on a page, began as zeros, and
        // lives as long as `self`. What the other process stores to, it stores to atomics or
        // cells: both sides map it as the same `Plain` type.
        unsafe { &*self.map.as_ptr().cast::<T>() }
    }
}

/// The other side of a floor is given up when nothing came from it for so long.
const PATIENCE: Duration = Duration::from_secs(5);
/// Who polls for longer lets others have the core between looks, as rings do.
const UNDISTURBED: Duration = Duration::from_micros(20);

/// How one side of a floor polls.
pub(crate) struct Poll {
    /// Both sides share a core: let the other one have it between two looks.
    pub(crate) yields: bool,
    /// The process that started this one, if this is the peer.
    pub(crate) parent: Option<u32>,
}

impl Poll {
    /// Looks until it is ready; an error if the other side is gone, or as good as gone.
    #[inline]
    pub(crate) fn until(&self, mut ready: impl FnMut() -> bool) -> Result<(), String> {
        let mut started: Option<Instant> = None;
        loop {
            for _ in 0..1 << 8 {
                if ready() {
                    return Ok(());
                }
                if self.yields {
                    std::thread::yield_now();
                }
                spin_loop();
            }
            let waited = started.get_or_insert_with(Instant::now).elapsed();
            if waited <= UNDISTURBED {
                continue;
            }
            if waited > PATIENCE || self.parent.is_some_and(|parent| parent != parent_id()) {
                return Err("the other side of the floor is gone".into());
            }
            std::thread::yield_now();
        }
    }
}
