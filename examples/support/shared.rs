//! Shared memory without a ring, for the floors that rings are compared with.
//!
//! A process creates it. Its peer opens it and removes its name, so nothing is left behind however
//! the two end. It has no header, no version and no liveness.

use shared_memory::{Shmem, ShmemConf};
use std::hint::spin_loop;
use std::marker::PhantomData;
use std::ops::Deref;
use std::os::unix::process::parent_id;
use std::time::{Duration, Instant};

/// A type that can be stored in shared memory.
///
/// # Safety
///
/// - Zeros are a valid value.
/// - It has no padding that matters, and no pointers.
/// - Its alignment is at most that of a page.
/// - Stores through `&self` go to atomics or cells only.
pub(crate) unsafe trait Plain: Sync {}

/// A `T` shared by two processes.
pub(crate) struct Shared<T: Plain> {
    map: Shmem,
    content: PhantomData<T>,
}

impl<T: Plain> Shared<T> {
    /// Creates a zeroed object.
    pub(crate) fn create(name: &str) -> Result<Self, String> {
        // The name contains this process' id, so an existing object is left over from a dead
        // process.
        let _ = rustix::shm::unlink(name);
        Self::finish(ShmemConf::new().os_id(name).size(size_of::<T>()).create())
    }

    /// Opens an existing object and removes its name.
    pub(crate) fn open(name: &str) -> Result<Self, String> {
        let shared = Self::finish(ShmemConf::new().os_id(name).open())?;
        rustix::shm::unlink(name).map_err(|errno| format!("removing {name} failed: {errno}"))?;
        Ok(shared)
    }

    /// Opens an existing object and keeps its name.
    #[allow(dead_code, reason = "not every program with floors has visitors")]
    pub(crate) fn visit(name: &str) -> Result<Self, String> {
        Self::finish(ShmemConf::new().os_id(name).open())
    }

    fn finish(map: Result<Shmem, shared_memory::ShmemError>) -> Result<Self, String> {
        let map = map.map_err(|error| format!("mapping the floor's memory failed: {error}"))?;
        if map.len() < size_of::<T>() {
            return Err(format!("the floor's shared memory is too short: {} bytes", map.len()));
        }
        Ok(Self { map, content: PhantomData })
    }
}

impl<T: Plain> Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: the mapping is at least as long as a `T`, page-aligned, was zeroed initially, and
        // lives as long as `self`. Both processes map it as the same `Plain` type, so the other
        // process stores to atomics or cells only.
        unsafe { &*self.map.as_ptr().cast::<T>() }
    }
}

/// A floor ends with an error if the other process does not respond for this long.
const TIMEOUT: Duration = Duration::from_secs(5);
/// After polling for this long, a process yields its core between polls, as rings do.
const YIELD_AFTER: Duration = Duration::from_micros(20);

/// Settings of a polling process.
pub(crate) struct Poll {
    /// The processes share a core: yield it after every poll.
    pub(crate) yields: bool,
    /// Process id of the parent, if this process is the peer.
    pub(crate) parent: Option<u32>,
}

impl Poll {
    /// Polls until `ready` returns true. Fails if the other process is gone or does not respond.
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
            if waited <= YIELD_AFTER {
                continue;
            }
            if waited > TIMEOUT || self.parent.is_some_and(|parent| parent != parent_id()) {
                return Err("the other side of the floor is gone".into());
            }
            std::thread::yield_now();
        }
    }
}
