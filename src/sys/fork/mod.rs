//! Keeps forked children from sharing the attachments of their parent.
//!
//! Guarantees, for children made by `fork` that do not `exec`:
//!
//! - Each descriptor opened through [`UnsharedFd`] is replaced in the child by a descriptor of the
//!   same number that cannot be locked. So the parent's locks end with the parent, even if the
//!   child lives on.
//! - Each address range announced by a [`Range`] is reserved in the child, without access. So a use
//!   of the parent's mapping is a SIGSEGV, never a write to another mapping at the same address.
//! - [`UnsharedFd::is_inherited`] returns true in the child.
//!
//! Other code of the process may close descriptors that it does not own, as
//! `close_range(3, ~0, 0)` does when a process becomes a daemon. [`UnsharedFd`] limits the damage:
//!
//! - [`pin`](UnsharedFd::pin) maps a page of the file. A mapping keeps the open-file description,
//!   and so its locks, until it is unmapped.
//! - [`is_lost`](UnsharedFd::is_lost) tells that the number is closed or belongs to another file.
//! - A lost descriptor is never closed: its number may be another file's by now.
//! - [`ForeignFd`] gives the last guarantee for a descriptor that a value of another library owns.
//!
//! ```text
//!  fork:  prepare ── locks the registry ──► parent ── unlocks it
//!                                     └───► child ─── replaces descriptors, reserves ranges,
//!                                                     generation += 1, unlocks it
//! ```
//!
//! Limits:
//!
//! - A lock may outlive its process until the child has run its handlers.
//! - `vfork`, `posix_spawn` and bare `clone` run no handlers. The first two continue with `exec`,
//!   which closes the descriptors.
//! - The library must not be unloaded (`dlclose`): the handlers stay registered.
//!
//! The child makes system calls only, which are safe after `fork` in a program with threads.
//! Opening, closing and forking lock the registry; nothing else does.

mod descriptor;

pub(crate) use descriptor::{ForeignFd, UnsharedFd};
use descriptor::{Placeholder, is_open_on};

use std::cell::UnsafeCell;
use std::ffi::c_int;
use std::io;
use std::os::fd::RawFd;
use std::ptr::NonNull;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use crate::sync::{AtomicU32, Ordering};

/// The descriptors and address ranges of this process that its children must not share.
///
/// # Invariants
///
/// 1. While the registry is unlocked, each entry of `descriptors` is that of a [`UnsharedFd`] or of
///    a [`ForeignFd`] of this process. No two entries have one number. Unless other code closed it,
///    the number is an open descriptor of the file `file`.
/// 2. `placeholder` is there as long as `descriptors` is not empty.
struct ForkRegistry {
    descriptors: Vec<Registered>,
    /// The id of the next descriptor.
    next_id: u64,
    ranges: Vec<(usize, usize)>,
    /// Replaces each descriptor in a child.
    placeholder: Option<Placeholder>,
}

static REGISTRY: Mutex<ForkRegistry> = Mutex::new(ForkRegistry {
    descriptors: Vec::new(),
    next_id: 0,
    ranges: Vec::new(),
    placeholder: None,
});

/// A descriptor in the registry.
#[derive(Clone, Copy, Debug)]
struct Registered {
    id: u64,
    number: RawFd,
    /// Device and inode.
    file: (u64, u64),
    owner: FdOwner,
    /// See [`UnsharedFd::note_check`].
    checked: u64,
}

/// The owner of a descriptor in the registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FdOwner {
    /// A [`UnsharedFd`].
    Unshared,
    /// A value of another library, which a [`ForeignFd`] watches.
    Foreign,
}

/// The number of forks between the first process and this one.
static GENERATION: AtomicU32 = AtomicU32::new(0);

/// Returns the number of [`UnsharedFd`]s of this process that are open on a file, which is known by
/// its device and inode.
pub(crate) fn count(file: (u64, u64)) -> usize {
    let is_open_on = |found: &&Registered| found.file == file && found.owner == FdOwner::Unshared;
    registry().descriptors.iter().filter(is_open_on).count()
}

/// Registers an address range that a forked child must not use, until it is dropped.
#[derive(Debug)]
#[must_use = "dropping it ends the registration"]
pub(crate) struct Range {
    start: usize,
    len: usize,
    generation: u32,
}

impl Range {
    /// Registers a mapping that children do not get (`MADV_DONTFORK`).
    ///
    /// The caller drops the result before it unmaps the range.
    pub(crate) fn announce(start: NonNull<u8>, len: usize) -> Self {
        let range = (start.as_ptr().addr(), len);
        registry().ranges.push(range);
        Self { start: range.0, len, generation: generation() }
    }
}

impl Range {
    /// Returns true if this process is a forked child and its parent registered the range.
    pub(crate) fn is_inherited(&self) -> bool {
        self.generation != generation()
    }
}

impl Drop for Range {
    fn drop(&mut self) {
        let mut registry = registry();
        if self.generation == generation() {
            let own = (self.start, self.len);
            let found = registry.ranges.iter().position(|&range| range == own);
            found.map(|index| registry.ranges.swap_remove(index));
        }
    }
}

impl ForkRegistry {
    /// The descriptor of this id, unless other code closed it.
    fn find(&self, id: u64) -> Option<&Registered> {
        self.descriptors.iter().find(|other| other.id == id).filter(|found| found.is_open())
    }

    /// Registers a descriptor, and returns its id.
    fn register(&mut self, number: RawFd, file: (u64, u64), owner: FdOwner) -> u64 {
        // An earlier descriptor of this number was closed by other code: it is lost.
        self.descriptors.retain(|earlier| earlier.number != number);
        let id = self.next_id;
        self.next_id += 1;
        self.descriptors.push(Registered { id, number, file, owner, checked: 0 });
        id
    }

    fn forget_descriptor(&mut self, id: u64) {
        let found = self.descriptors.iter().position(|other| other.id == id);
        found.map(|index| self.descriptors.swap_remove(index));
        self.drop_unused_placeholder();
    }

    fn drop_unused_placeholder(&mut self) {
        if self.descriptors.is_empty() {
            self.placeholder = None;
        }
    }

    /// In a child: replaces the parent's descriptors and reserves its ranges. Makes system calls
    /// only.
    fn release_inherited(&mut self) {
        for descriptor in &self.descriptors {
            // The parent's own file may have the number of a lost descriptor.
            if !descriptor.is_open() {
                continue;
            }
            let number = descriptor.number;
            let placeholder = self.placeholder.as_ref().map_or(-1, Placeholder::number);
            // SAFETY: By invariant 1 of the registry, and because the number is open on its file,
            // a `UnsharedFd` owns it, or a value that a `ForeignFd` watches. It stays open, as the
            // placeholder, which invariant 1 of both allows.
            unsafe {
                // `dup3` fails if the number exceeds a limit of descriptors that was lowered since.
                // Then the system gives this number to no other descriptor, so the second `close`
                // by the owner is harmless.
                if libc::dup3(placeholder, number, libc::O_CLOEXEC) < 0 {
                    libc::close(number);
                }
            }
        }
        for &(start, len) in &self.ranges {
            reserve(start, len);
        }
        self.descriptors.clear();
        self.ranges.clear();
        self.placeholder = None;
    }
}

impl Registered {
    /// Returns true if the number still is open on its file, by a description of its owner: this
    /// library opens a file with `O_NONBLOCK`, and the `shared_memory` crate never does. Makes two
    /// system calls.
    fn is_open(&self) -> bool {
        // SAFETY: The call reads flags of a descriptor, and reports an error if it is closed.
        let flags = unsafe { libc::fcntl(self.number, libc::F_GETFL) };
        let is_unshared = flags & libc::O_NONBLOCK != 0;
        flags >= 0
            && is_unshared == (self.owner == FdOwner::Unshared)
            && is_open_on(self.number, self.file)
    }
}

/// Reserves an unmapped address range, without access. An existing mapping in the range stays.
fn reserve(start: usize, len: usize) {
    let flags =
        libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | libc::MAP_FIXED_NOREPLACE;
    // SAFETY: With `MAP_FIXED_NOREPLACE` a new mapping replaces no existing one. A kernel that does
    // not know the flag may choose another address; that mapping is new, and it is removed at once.
    unsafe {
        let at = std::ptr::without_provenance_mut(start);
        let got = libc::mmap(at, len, libc::PROT_NONE, flags, -1, 0);
        if got != libc::MAP_FAILED && got.addr() != start {
            libc::munmap(got, len);
        }
    }
}

/// The number of forks between the first process with a descriptor of this library and this one.
pub(crate) fn generation() -> u32 {
    // Relaxed: only `in_child` changes it, while the child has a single thread. `fork` and thread
    // creation order the store before all loads.
    GENERATION.load(Ordering::Relaxed)
}

fn registry() -> MutexGuard<'static, ForkRegistry> {
    // A panic while the lock is held leaves the registry consistent, so a poisoned lock may be
    // used.
    REGISTRY.lock().unwrap_or_else(PoisonError::into_inner)
}

unsafe extern "C" {
    // Specified by POSIX; the `libc` crate does not declare it for Linux.
    fn pthread_atfork(
        prepare: Option<unsafe extern "C" fn()>,
        parent: Option<unsafe extern "C" fn()>,
        child: Option<unsafe extern "C" fn()>,
    ) -> c_int;
}

/// Installs the fork handlers, once per process.
fn install_handlers() -> io::Result<()> {
    static INSTALLED: OnceLock<c_int> = OnceLock::new();
    // SAFETY: The handlers are functions of this library, which is never unloaded. `in_child` makes
    // only calls that are allowed after `fork` in a program with threads.
    let install = || unsafe { pthread_atfork(Some(prepare), Some(in_parent), Some(in_child)) };
    match *INSTALLED.get_or_init(install) {
        0 => Ok(()),
        errno => Err(io::Error::from_raw_os_error(errno)),
    }
}

/// The locked registry of the thread that is forking.
///
/// # Invariants
///
/// 1. Only `prepare`, `in_parent` and `in_child` access the cell, and only in a thread that holds
///    the lock of [`REGISTRY`].
struct ForkGuard(UnsafeCell<Option<MutexGuard<'static, ForkRegistry>>>);

// SAFETY: By invariant 1, the lock of the registry serializes all accesses.
unsafe impl Sync for ForkGuard {}

static FORK_GUARD: ForkGuard = ForkGuard(UnsafeCell::new(None));

/// Runs before a fork, in the forking thread.
unsafe extern "C" fn prepare() {
    let guard = registry();
    // SAFETY: This thread holds the lock, as invariant 1 of `ForkGuard` requires.
    unsafe { *FORK_GUARD.0.get() = Some(guard) };
}

/// Runs after a fork, in the thread that forked.
unsafe extern "C" fn in_parent() {
    // SAFETY: This thread locked the registry in `prepare` and still holds the lock.
    drop(unsafe { (*FORK_GUARD.0.get()).take() });
}

/// Runs after a fork, in the only thread of the child.
unsafe extern "C" fn in_child() {
    // SAFETY: The forking thread, of which this one is a copy, locked the registry in `prepare`.
    // The child has no other thread.
    if let Some(mut registry) = unsafe { (*FORK_GUARD.0.get()).take() } {
        GENERATION.fetch_add(1, Ordering::Relaxed);
        registry.release_inherited();
    }
}

#[cfg(test)]
mod tests;
