//! What a forked child must not have: the attachments of its parent.
//!
//! It guarantees, for children made by `fork` that do not `exec`: each descriptor that was opened
//! through [`Descriptor`] is another one there, of the same number and of nothing that can be
//! locked, so that the locks end with the parent although the child lives on; each address range
//! announced by a [`Range`] is reserved and without access there, so that a use of the parent's
//! mapping is a SIGSEGV and never a write into whatever came to lie at its address; and
//! [`Descriptor::is_inherited`] says `true` there.
//!
//! ```text
//!  fork:  prepare ── takes the registry ──► parent ── gives it back
//!                                     └───► child ─── descriptors := nothing, ranges := no access,
//!                                                     generation += 1, gives it back
//! ```
//!
//! A lock may so outlive its process for the time that a child takes to come to its handlers.
//!
//! Only system calls that are safe after `fork` in a program with threads are made in the child.
//! What costs: nothing but opening, closing and forking take the registry.
//!
//! It is not for `vfork`, `posix_spawn` and bare `clone`, which run no handlers: the first two go
//! on to `exec`, which closes the descriptors. Nor for a library that is unloaded (`dlclose`).

use std::cell::UnsafeCell;
use std::ffi::c_int;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::ptr::NonNull;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use crate::sync::{AtomicU32, Ordering};

/// What this process has that its children must not.
struct Registry {
    descriptors: Vec<RawFd>,
    ranges: Vec<(usize, usize)>,
    /// What takes a descriptor's place in a child. There as long as a descriptor is.
    nothing: Option<OwnedFd>,
}

static REGISTRY: Mutex<Registry> =
    Mutex::new(Registry { descriptors: Vec::new(), ranges: Vec::new(), nothing: None });

/// Counts the forks between the first process and this one.
static GENERATION: AtomicU32 = AtomicU32::new(0);

/// A descriptor that no forked child shares.
#[derive(Debug)]
pub(crate) struct Descriptor {
    /// `None` while it is being closed.
    fd: Option<OwnedFd>,
    number: RawFd,
    generation: u32,
}

impl Descriptor {
    /// Opens one, while nobody forks.
    pub(crate) fn open(open: impl FnOnce() -> io::Result<OwnedFd>) -> io::Result<Self> {
        watch_forks()?;
        let mut registry = registry();
        if registry.nothing.is_none() {
            // First: what `open` makes is not to be left behind for want of this one.
            registry.nothing = Some(nothing()?);
        }
        let fd = open().inspect_err(|_| registry.tidy())?;
        let number = fd.as_raw_fd();
        registry.descriptors.push(number);
        Ok(Self { fd: Some(fd), number, generation: generation() })
    }

    /// Whether it was opened before this process was forked: whoever owns it is the parent's.
    pub(crate) fn is_inherited(&self) -> bool {
        self.generation != generation()
    }
}

impl AsFd for Descriptor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the number is that of `fd`, which is open until `self` is dropped, or of what
        // took its place in a child, which `fd` owns there.
        unsafe { BorrowedFd::borrow_raw(self.number) }
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        let mut registry = registry();
        if !self.is_inherited() {
            registry.forget_descriptor(self.number);
        }
        // While the registry is held: a child made after this has no copy, one made before has
        // given its own up.
        drop(self.fd.take());
    }
}

/// How many of this process' descriptors are some that are asked for.
pub(crate) fn count(is_one: impl Fn(BorrowedFd<'_>) -> bool) -> usize {
    let registry = registry();
    let is_one = |&&number: &&RawFd| {
        // SAFETY: it is open: whoever closes it forgets it first, and needs the registry for that.
        is_one(unsafe { BorrowedFd::borrow_raw(number) })
    };
    registry.descriptors.iter().filter(is_one).count()
}

/// An address range that is not to be used in a forked child.
#[derive(Debug)]
pub(crate) struct Range {
    start: usize,
    len: usize,
    generation: u32,
}

impl Range {
    /// Announces a mapping that children do not get (`MADV_DONTFORK`). To be dropped before it is
    /// unmapped.
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

impl Registry {
    fn forget_descriptor(&mut self, number: RawFd) {
        let found = self.descriptors.iter().position(|&other| other == number);
        found.map(|index| self.descriptors.swap_remove(index));
        self.tidy();
    }

    fn tidy(&mut self) {
        if self.descriptors.is_empty() {
            self.nothing = None;
        }
    }

    /// In a child: gives up what is the parent's. Makes system calls only.
    fn disown(&mut self) {
        for &number in &self.descriptors {
            let nothing = self.nothing.as_ref().map_or(-1, AsRawFd::as_raw_fd);
            // SAFETY: changes descriptors that this process inherited and whose owners know.
            unsafe {
                // It fails for a number that is beyond the limit of descriptors by now. Nobody
                // else is given that number either, so it may be closed twice.
                if libc::dup3(nothing, number, libc::O_CLOEXEC) < 0 {
                    libc::close(number);
                }
            }
        }
        for &(start, len) in &self.ranges {
            reserve(start, len);
        }
        self.descriptors.clear();
        self.ranges.clear();
        self.nothing = None;
    }
}

/// Makes a range that is not mapped one without access. Whatever lies there already stays.
fn reserve(start: usize, len: usize) {
    let flags =
        libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | libc::MAP_FIXED_NOREPLACE;
    // SAFETY: with `MAP_FIXED_NOREPLACE` a new mapping takes nobody's place. A kernel that does not
    // know the flag puts it elsewhere, where it is taken away again.
    unsafe {
        let at = std::ptr::without_provenance_mut(start);
        let got = libc::mmap(at, len, libc::PROT_NONE, flags, -1, 0);
        if got != libc::MAP_FAILED && got.addr() != start {
            libc::munmap(got, len);
        }
    }
}

/// A descriptor that cannot be locked, read or written: of the folder that the objects are in,
/// whose file system an attachment keeps mounted anyway.
fn nothing() -> io::Result<OwnedFd> {
    let mut options = File::options();
    options.read(true).custom_flags(libc::O_PATH).open(super::shm::FOLDER).map(OwnedFd::from)
}

fn generation() -> u32 {
    // Changed in a child before it has another thread; `fork` orders it.
    GENERATION.load(Ordering::Relaxed)
}

fn registry() -> MutexGuard<'static, Registry> {
    // No line between lock and unlock can leave it half-changed.
    REGISTRY.lock().unwrap_or_else(PoisonError::into_inner)
}

unsafe extern "C" {
    // POSIX; the `libc` crate does not declare it for Linux.
    fn pthread_atfork(
        prepare: Option<unsafe extern "C" fn()>,
        parent: Option<unsafe extern "C" fn()>,
        child: Option<unsafe extern "C" fn()>,
    ) -> c_int;
}

/// Installs the handlers, once.
fn watch_forks() -> io::Result<()> {
    static INSTALLED: OnceLock<c_int> = OnceLock::new();
    // SAFETY: the handlers keep what `fork` asks of them, and are there as long as the program is.
    let install = || unsafe { pthread_atfork(Some(prepare), Some(in_parent), Some(in_child)) };
    match *INSTALLED.get_or_init(install) {
        0 => Ok(()),
        errno => Err(io::Error::from_raw_os_error(errno)),
    }
}

/// The registry's lock while a thread forks.
struct Held(UnsafeCell<Option<MutexGuard<'static, Registry>>>);

// SAFETY: touched between `prepare` and `in_parent` or `in_child` alone, by the one thread that
// holds the registry's lock.
unsafe impl Sync for Held {}

static HELD: Held = Held(UnsafeCell::new(None));

unsafe extern "C" fn prepare() {
    let guard = registry();
    // SAFETY: the lock is held, so no other thread is between its handlers.
    unsafe { *HELD.0.get() = Some(guard) };
}

unsafe extern "C" fn in_parent() {
    // SAFETY: this thread took the lock in `prepare`.
    drop(unsafe { (*HELD.0.get()).take() });
}

unsafe extern "C" fn in_child() {
    // SAFETY: this thread's forebear took the lock in `prepare`; there is no other thread.
    if let Some(mut registry) = unsafe { (*HELD.0.get()).take() } {
        GENERATION.fetch_add(1, Ordering::Relaxed);
        registry.disown();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::lock;
    use std::io::{PipeReader, PipeWriter, Read};

    /// A child that answers with a number and then lives until it is dropped.
    struct Child {
        pid: libc::pid_t,
        _lives: PipeWriter,
    }

    impl Child {
        /// `ask` makes system calls only: the harness has other threads.
        fn fork(ask: impl FnOnce() -> u8) -> (Self, u8) {
            let (mut answers, answer) = std::io::pipe().unwrap();
            let (waits, is_alive) = std::io::pipe().unwrap();
            // SAFETY: the child makes system calls and ends.
            let pid = unsafe { libc::fork() };
            if pid == 0 {
                drop(is_alive);
                live(ask(), &answer, &waits);
            }
            let mut said = [0];
            answers.read_exact(&mut said).unwrap();
            (Self { pid, _lives: is_alive }, said[0])
        }
    }

    fn live(said: u8, answer: &PipeWriter, waits: &PipeReader) -> ! {
        let mut byte = 0_u8;
        // SAFETY: writes a byte, reads one when the other end is closed, and ends.
        unsafe {
            libc::write(answer.as_raw_fd(), (&raw const said).cast(), 1);
            libc::read(waits.as_raw_fd(), (&raw mut byte).cast(), 1);
            libc::_exit(0)
        }
    }

    impl Drop for Child {
        fn drop(&mut self) {
            // SAFETY: ends and reaps a child of this process.
            unsafe {
                libc::kill(self.pid, libc::SIGKILL);
                libc::waitpid(self.pid, std::ptr::null_mut(), 0);
            }
        }
    }

    /// A lock on a file without a name, and another description to ask through.
    fn locked(topic: &str) -> (Descriptor, File) {
        let path = std::env::temp_dir().join(format!("packetring-{topic}-{}", std::process::id()));
        let options = || File::options().create(true).append(true).read(true).open(&path).unwrap();
        let descriptor = Descriptor::open(|| Ok(OwnedFd::from(options()))).unwrap();
        let asker = options();
        std::fs::remove_file(&path).unwrap();
        assert!(lock::try_exclusive(descriptor.as_fd(), 0).unwrap());
        (descriptor, asker)
    }

    #[test]
    fn a_child_that_lives_on_does_not_keep_a_lock() {
        let (descriptor, asker) = locked("keep");
        let (_child, _) = Child::fork(|| 0);
        assert!(lock::is_held_elsewhere(asker.as_fd(), 0), "the parent has it still");
        drop(descriptor);
        // While the child lives.
        lock::tests::wait_until_free(asker.as_fd(), 0);
    }

    #[test]
    fn a_child_has_a_descriptor_of_nothing() {
        let (descriptor, asker) = locked("nothing");
        let (_child, said) = Child::fork(|| {
            let fd = descriptor.as_fd();
            // It may not seem that nobody else lives, nor that a lock was taken.
            u8::from(descriptor.is_inherited())
                | u8::from(lock::is_held_elsewhere(fd, 8)) << 1
                | u8::from(lock::try_exclusive(fd, 8).is_err()) << 2
        });
        assert_eq!(said, 0b111);
        assert!(!descriptor.is_inherited());
        assert!(lock::is_held_elsewhere(asker.as_fd(), 0));
    }

    #[test]
    fn one_that_was_closed_before_is_not_touched_in_a_child() {
        let (descriptor, asker) = locked("closed");
        let number = descriptor.number;
        drop(descriptor);
        // Takes the number that has become free, or another: it stays what it is.
        let own = File::open("/dev/zero").unwrap();
        let (_child, said) = Child::fork(|| {
            let mut byte = 1_u8;
            // SAFETY: reads a byte into a byte.
            u8::from(unsafe { libc::read(own.as_raw_fd(), (&raw mut byte).cast(), 1) } == 1)
        });
        assert_eq!(said, 1, "{number}");
        drop(asker);
    }
}
