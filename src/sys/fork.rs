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

use std::cell::UnsafeCell;
use std::ffi::c_int;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::ptr::NonNull;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use crate::sync::{AtomicU32, Ordering};

/// The descriptors and address ranges of this process that its children must not share.
///
/// # Invariants
///
/// 1. While the registry is unlocked, each number in `descriptors` is an open descriptor that a
///    [`UnsharedFd`] of this process owns.
/// 2. `placeholder` is there as long as `descriptors` is not empty.
struct ForkRegistry {
    descriptors: Vec<RawFd>,
    ranges: Vec<(usize, usize)>,
    /// Replaces each descriptor in a child.
    placeholder: Option<OwnedFd>,
}

static REGISTRY: Mutex<ForkRegistry> =
    Mutex::new(ForkRegistry { descriptors: Vec::new(), ranges: Vec::new(), placeholder: None });

/// The number of forks between the first process and this one.
static GENERATION: AtomicU32 = AtomicU32::new(0);

/// A descriptor that no forked child shares.
///
/// # Invariants
///
/// 1. `fd` is `Some` until `drop` takes it, and `number` is its number. In a child, `fd` owns the
///    placeholder that has this number there.
/// 2. `generation` is that of the process that opened the descriptor.
#[derive(Debug)]
pub(crate) struct UnsharedFd {
    fd: Option<OwnedFd>,
    number: RawFd,
    generation: u32,
}

impl UnsharedFd {
    /// Calls `open` while no thread can fork, and registers the descriptor.
    ///
    /// # Errors
    ///
    /// The error of `open`, or a system error if the handlers or the placeholder cannot be created.
    pub(crate) fn open(open: impl FnOnce() -> io::Result<OwnedFd>) -> io::Result<Self> {
        install_handlers()?;
        let mut registry = registry();
        if registry.placeholder.is_none() {
            // Before `open`: if this fails, nothing that `open` creates is left behind.
            registry.placeholder = Some(placeholder()?);
        }
        let fd = open().inspect_err(|_| registry.drop_unused_placeholder())?;
        let number = fd.as_raw_fd();
        registry.descriptors.push(number);
        Ok(Self { fd: Some(fd), number, generation: generation() })
    }

    /// Returns true if this process is a forked child and its parent opened the descriptor.
    pub(crate) fn is_inherited(&self) -> bool {
        self.generation != generation()
    }
}

impl AsFd for UnsharedFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: By invariant 1, `number` belongs to `fd`, which is open until `self` is dropped.
        // In a child it belongs to the placeholder, which `fd` owns there.
        unsafe { BorrowedFd::borrow_raw(self.number) }
    }
}

impl Drop for UnsharedFd {
    fn drop(&mut self) {
        let mut registry = registry();
        if !self.is_inherited() {
            registry.forget_descriptor(self.number);
        }
        // Close it while the registry is locked: a child forked later has no copy, and a child
        // forked earlier has replaced its own.
        drop(self.fd.take());
    }
}

/// Returns the number of registered descriptors of this process that match.
pub(crate) fn count(matches: impl Fn(BorrowedFd<'_>) -> bool) -> usize {
    let registry = registry();
    let matches = |&&number: &&RawFd| {
        // SAFETY: The descriptor is open by invariant 1 of the registry, and stays open during the
        // call: closing it requires the lock that this function holds.
        matches(unsafe { BorrowedFd::borrow_raw(number) })
    };
    registry.descriptors.iter().filter(matches).count()
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
    fn forget_descriptor(&mut self, number: RawFd) {
        let found = self.descriptors.iter().position(|&other| other == number);
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
        for &number in &self.descriptors {
            let placeholder = self.placeholder.as_ref().map_or(-1, AsRawFd::as_raw_fd);
            // SAFETY: By invariant 1 of the registry, a `UnsharedFd` owns the number. It stays
            // open, as the placeholder, which invariant 1 of `UnsharedFd` allows.
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

/// Opens a descriptor that cannot be locked, read or written: an `O_PATH` descriptor of the
/// directory of the shared-memory objects. Attached objects keep that file system mounted anyway.
fn placeholder() -> io::Result<OwnedFd> {
    let mut options = File::options();
    options.read(true).custom_flags(libc::O_PATH).open(super::shm::FOLDER).map(OwnedFd::from)
}

fn generation() -> u32 {
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
mod tests {
    use super::*;
    use crate::sys::lock;
    use std::io::{PipeReader, PipeWriter, Read};

    /// A forked process that sends a number and then lives until this value is dropped.
    struct ForkedChild {
        pid: libc::pid_t,
        _lives: PipeWriter,
    }

    impl ForkedChild {
        /// `run` may make system calls only: the test harness has other threads.
        fn fork(run: impl FnOnce() -> u8) -> (Self, u8) {
            let (mut results, result) = std::io::pipe().unwrap();
            let (waits, is_alive) = std::io::pipe().unwrap();
            // SAFETY: The child makes system calls only, and exits.
            let pid = unsafe { libc::fork() };
            if pid == 0 {
                drop(is_alive);
                send_and_wait(run(), &result, &waits);
            }
            let mut received = [0];
            results.read_exact(&mut received).unwrap();
            (Self { pid, _lives: is_alive }, received[0])
        }
    }

    fn send_and_wait(number: u8, result: &PipeWriter, waits: &PipeReader) -> ! {
        let mut byte = 0_u8;
        // SAFETY: Writes one byte, waits until the other end of the second pipe is closed, and
        // exits.
        unsafe {
            libc::write(result.as_raw_fd(), (&raw const number).cast(), 1);
            libc::read(waits.as_raw_fd(), (&raw mut byte).cast(), 1);
            libc::_exit(0)
        }
    }

    impl Drop for ForkedChild {
        fn drop(&mut self) {
            // SAFETY: Kills and reaps a child of this process.
            unsafe {
                libc::kill(self.pid, libc::SIGKILL);
                libc::waitpid(self.pid, std::ptr::null_mut(), 0);
            }
        }
    }

    /// Returns a locked descriptor of an unlinked file, and another description of it for queries.
    fn locked(topic: &str) -> (UnsharedFd, File) {
        let path = std::env::temp_dir().join(format!("packetring-{topic}-{}", std::process::id()));
        let options = || File::options().create(true).append(true).read(true).open(&path).unwrap();
        let descriptor = UnsharedFd::open(|| Ok(OwnedFd::from(options()))).unwrap();
        let asker = options();
        std::fs::remove_file(&path).unwrap();
        assert!(lock::try_exclusive(descriptor.as_fd(), 0).unwrap());
        (descriptor, asker)
    }

    #[test]
    fn a_child_that_lives_on_does_not_keep_a_lock() {
        let (descriptor, asker) = locked("keep");
        let (_child, _) = ForkedChild::fork(|| 0);
        assert!(lock::is_held_elsewhere(asker.as_fd(), 0), "the parent still holds the lock");
        drop(descriptor);
        // The child is still alive.
        lock::tests::wait_until_free(asker.as_fd(), 0);
    }

    #[test]
    fn a_child_has_a_descriptor_that_cannot_be_locked() {
        let (descriptor, asker) = locked("placeholder");
        let (_child, result) = ForkedChild::fork(|| {
            let fd = descriptor.as_fd();
            // A query must not report that all others are dead, and taking a lock must fail.
            u8::from(descriptor.is_inherited())
                | u8::from(lock::is_held_elsewhere(fd, 8)) << 1
                | u8::from(lock::try_exclusive(fd, 8).is_err()) << 2
        });
        assert_eq!(result, 0b111);
        assert!(!descriptor.is_inherited());
        assert!(lock::is_held_elsewhere(asker.as_fd(), 0));
    }

    #[test]
    fn a_child_does_not_touch_a_descriptor_that_was_closed_before() {
        let (descriptor, asker) = locked("closed");
        let number = descriptor.number;
        drop(descriptor);
        // This descriptor may reuse the free number. It must stay usable in the child.
        let own = File::open("/dev/zero").unwrap();
        let (_child, result) = ForkedChild::fork(|| {
            let mut byte = 1_u8;
            // SAFETY: Reads at most one byte into `byte`.
            u8::from(unsafe { libc::read(own.as_raw_fd(), (&raw mut byte).cast(), 1) } == 1)
        });
        assert_eq!(result, 1, "{number}");
        drop(asker);
    }
}
