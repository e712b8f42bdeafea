//! [`UnsharedFd`]: a descriptor that no forked child shares, and that is closed once.
//! [`ForeignFd`]: the same for a descriptor that a value of another library owns.
//! [`Placeholder`]: the descriptor that replaces the library's descriptors in a forked child.

use super::{FdOwner, ForkRegistry, Registered, generation, install_handlers, registry};
use crate::sys::{check, shm};
use std::fs::File;
use std::io;
use std::mem::{ManuallyDrop, MaybeUninit};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::ptr::NonNull;

/// A descriptor that no forked child shares.
///
/// # Invariants
///
/// 1. `fd` is `Some` until `drop` takes it, and `number` is its number. It owns the number as long
///    as other code does not close it: in a child as the placeholder.
/// 2. `generation` is that of the process that opened the descriptor.
#[derive(Debug)]
pub(crate) struct UnsharedFd {
    fd: Option<OwnedFd>,
    number: RawFd,
    generation: u32,
    id: u64,
    pin: Option<Pin>,
}

/// A mapping of one page, without access. It keeps the open-file description with its locks.
///
/// # Invariants
///
/// 1. `start` is a mapping of [`PIN_LEN`] bytes that this value owns.
#[derive(Debug)]
struct Pin(NonNull<u8>);

/// Bytes of a [`Pin`]. The kernel rounds it up to a page.
const PIN_LEN: usize = 1;

// SAFETY: the value owns a mapping, which is not tied to a thread. Nothing reads through it.
unsafe impl Send for Pin {}
// SAFETY: as for `Send`.
unsafe impl Sync for Pin {}

impl UnsharedFd {
    /// Calls `open` while no thread can fork, and registers the descriptor.
    ///
    /// # Errors
    ///
    /// The error of `open`, or a system error if the handlers or the placeholder cannot be created.
    pub(crate) fn open(open: impl FnOnce() -> io::Result<OwnedFd>) -> io::Result<Self> {
        install_handlers()?;
        let mut registry = registry();
        if !registry.placeholder.as_ref().is_some_and(Placeholder::is_open) {
            // Before `open`: if this fails, nothing that `open` creates is left behind.
            registry.placeholder = Some(Placeholder::open()?);
        }
        let opened = open().and_then(|fd| Ok((file_of(fd.as_fd())?, fd)));
        let (file, fd) = opened.inspect_err(|_| registry.drop_unused_placeholder())?;
        let number = fd.as_raw_fd();
        let id = registry.register(number, file, FdOwner::Unshared);
        Ok(Self { fd: Some(fd), number, generation: generation(), id, pin: None })
    }

    /// Keeps the locks of this descriptor until it is dropped, even if other code closes it.
    ///
    /// # Errors
    ///
    /// The kernel maps regular files only.
    pub(crate) fn pin(&mut self) -> io::Result<()> {
        if self.pin.is_some() {
            return Ok(());
        }
        // No thread can fork before the mapping is excluded from children.
        let _registry = registry();
        let (anywhere, protection) = (std::ptr::null_mut(), libc::PROT_NONE);
        // SAFETY: A mapping at an address that the kernel chooses replaces no existing mapping.
        let start =
            unsafe { libc::mmap(anywhere, PIN_LEN, protection, libc::MAP_SHARED, self.number, 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let Some(start) = NonNull::new(start.cast()) else {
            return Err(io::Error::from_raw_os_error(libc::ENOMEM));
        };
        // SAFETY: The one page that was just mapped.
        if let Err(error) = unsafe { shm::keep_from_children(start, PIN_LEN) } {
            Pin(start).end(false);
            return Err(error);
        }
        self.pin = Some(Pin(start));
        Ok(())
    }

    /// Returns true if other code closed the descriptor. Its number may be another file's by now.
    pub(crate) fn is_lost(&self) -> bool {
        !self.is_inherited() && registry().find(self.id).is_none()
    }

    /// Returns true if this process is a forked child and its parent opened the descriptor.
    pub(crate) fn is_inherited(&self) -> bool {
        self.generation != generation()
    }

    /// Records the time of a check of the file's locks, which holds for all descriptors of the file
    /// in this process. Returns false, and changes nothing, if the last check was not before
    /// `not_before`.
    pub(crate) fn note_check(&self, time: u64, not_before: u64) -> bool {
        let mut registry = registry();
        let own = registry.descriptors.iter().find(|other| other.id == self.id);
        let Some((file, checked)) = own.map(|own| (own.file, own.checked)) else { return true };
        if checked >= not_before {
            return false;
        }
        let same = registry.descriptors.iter_mut().filter(|other| other.file == file);
        same.for_each(|other| other.checked = time);
        true
    }
}

impl AsFd for UnsharedFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: By invariant 1, `number` belongs to `fd`, which is open until `self` is dropped.
        // In a child it belongs to the placeholder. If other code closed it, that code broke the
        // rules of descriptors; a call then fails or reaches another file.
        unsafe { BorrowedFd::borrow_raw(self.number) }
    }
}

impl Drop for UnsharedFd {
    fn drop(&mut self) {
        let mut registry = registry();
        let is_own = registry.release(self.id, self.number, self.is_inherited());
        // Close it while the registry is locked: a child forked later has no copy, and a child
        // forked earlier has replaced its own.
        match self.fd.take() {
            Some(fd) if !is_own => {
                let _ = fd.into_raw_fd();
            }
            fd => drop(fd),
        }
        if let Some(pin) = self.pin.take() {
            pin.end(self.is_inherited());
        }
    }
}

impl Pin {
    /// Unmaps the page. A forked child has no such mapping.
    fn end(self, is_inherited: bool) {
        if !is_inherited {
            // SAFETY: Invariant 1.
            unsafe { shm::unmap(self.0, PIN_LEN) };
        }
    }
}

impl ForkRegistry {
    /// Ends the registration of a descriptor. Returns true if its owner may close the number: it
    /// still is that descriptor, or in a child the placeholder, which other code may have closed
    /// before or after the fork.
    fn release(&mut self, id: u64, number: RawFd, is_inherited: bool) -> bool {
        if is_inherited {
            return Placeholder::is_at(number);
        }
        let is_open = self.find(id).is_some();
        self.forget_descriptor(id);
        is_open
    }
}

/// The number of a descriptor that a value of another library owns, and closes when it is dropped.
///
/// # Invariants
///
/// 1. The value owns the number as long as other code does not close it: in a child as the
///    placeholder.
#[derive(Debug)]
pub(crate) struct ForeignFd {
    /// Number and id; `None` if the number is not known.
    registered: Option<(RawFd, u64)>,
    generation: u32,
}

impl ForeignFd {
    /// Calls `open`, which opens one descriptor of the file of `fd`, without `O_NONBLOCK`, and
    /// returns the value that owns it.
    ///
    /// # Errors
    ///
    /// The error of `open`.
    pub(crate) fn watch<T, E>(
        fd: &UnsharedFd,
        open: impl Fn() -> Result<T, E>,
    ) -> Result<(T, Self), E> {
        let mut registry = registry();
        for _ in 0..TRIES {
            // The system gives a new descriptor the lowest free number. If another thread takes it
            // in between, it is open on another file.
            let number = lowest_free(fd.number);
            let value = open()?;
            let opened = number.zip(file_of(fd.as_fd()).ok()).filter(|&(number, file)| {
                let owner = FdOwner::Foreign;
                Registered { id: 0, number, file, owner, checked: 0 }.is_open()
            });
            if let Some((number, file)) = opened {
                let id = registry.register(number, file, FdOwner::Foreign);
                return Ok((value, Self::new(Some((number, id)))));
            }
        }
        Ok((open()?, Self::new(None)))
    }

    fn new(registered: Option<(RawFd, u64)>) -> Self {
        Self { registered, generation: generation() }
    }

    /// Ends the registration. Calls `close`, which drops the value, if that closes the value's own
    /// descriptor. Otherwise the value must not be dropped. Returns true if it was.
    pub(crate) fn end(&mut self, close: impl FnOnce()) -> bool {
        let mut registry = registry();
        let is_inherited = self.generation != generation();
        let Some((number, id)) = self.registered.take() else { return false };
        let is_own = registry.release(id, number, is_inherited);
        if is_own && is_inherited {
            // SAFETY: By invariant 1 the number is the placeholder's. The value is not dropped, so
            // nothing else closes it.
            drop(unsafe { OwnedFd::from_raw_fd(number) });
            return false;
        }
        if is_own {
            // While the registry is locked: a child forked later has no copy.
            close();
        }
        is_own
    }
}

impl Drop for ForeignFd {
    /// After a value that was dropped before: it closed its descriptor.
    fn drop(&mut self) {
        if let Some((_, id)) = self.registered.take()
            && self.generation == generation()
        {
            registry().forget_descriptor(id);
        }
    }
}

/// How often [`ForeignFd::watch`] opens a descriptor until it knows its number.
const TRIES: usize = 100;

/// Returns the lowest number that no descriptor has now.
fn lowest_free(fd: RawFd) -> Option<RawFd> {
    // SAFETY: The call copies a descriptor, or reports an error.
    let number = unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 0) };
    check(number).ok()?;
    // SAFETY: The copy was made above, and nothing else has its number.
    drop(unsafe { OwnedFd::from_raw_fd(number) });
    Some(number)
}

/// A descriptor that cannot be locked, read or written. It is not closed on drop if other code
/// closed it before.
pub(super) struct Placeholder {
    fd: ManuallyDrop<OwnedFd>,
    /// Device and inode.
    file: (u64, u64),
}

impl Placeholder {
    /// Opens an `O_PATH` descriptor of the directory of the shared-memory objects. Attached objects
    /// keep that file system mounted anyway.
    pub(super) fn open() -> io::Result<Self> {
        let mut options = File::options();
        options.read(true).custom_flags(libc::O_PATH);
        let fd = OwnedFd::from(options.open(shm::FOLDER)?);
        let file = file_of(fd.as_fd())?;
        Ok(Self { fd: ManuallyDrop::new(fd), file })
    }

    /// Returns false if other code closed it.
    pub(super) fn is_open(&self) -> bool {
        is_open_on(self.fd.as_raw_fd(), self.file)
    }

    /// Returns true if a placeholder has this number. Makes three system calls.
    pub(super) fn is_at(number: RawFd) -> bool {
        let folder = std::fs::metadata(shm::FOLDER);
        let file = folder.map(|found| (found.dev(), found.ino()));
        // SAFETY: The call reads a flag of a descriptor, and reports an error if it is closed.
        let flags = unsafe { libc::fcntl(number, libc::F_GETFL) };
        flags >= 0 && flags & libc::O_PATH != 0 && file.is_ok_and(|file| is_open_on(number, file))
    }

    /// Its number; -1 if other code closed it.
    pub(super) fn number(&self) -> RawFd {
        if self.is_open() { self.fd.as_raw_fd() } else { -1 }
    }
}

impl Drop for Placeholder {
    fn drop(&mut self) {
        if self.is_open() {
            // SAFETY: this is the only drop of the value.
            unsafe { ManuallyDrop::drop(&mut self.fd) };
        }
    }
}

/// Returns true if a descriptor of this number is open on this file.
pub(super) fn is_open_on(number: RawFd, file: (u64, u64)) -> bool {
    // SAFETY: The number is used by one call, which reports an error if it is closed.
    file_of(unsafe { BorrowedFd::borrow_raw(number) }).is_ok_and(|found| found == file)
}

/// Device and inode of an open file.
pub(super) fn file_of(fd: BorrowedFd<'_>) -> io::Result<(u64, u64)> {
    let mut found = MaybeUninit::<libc::stat>::uninit();
    // SAFETY: The call writes one `stat`, and there is room for one.
    check(unsafe { libc::fstat(fd.as_raw_fd(), found.as_mut_ptr()) })?;
    // SAFETY: The call succeeded, so all fields are written.
    let found = unsafe { found.assume_init() };
    Ok((found.st_dev, found.st_ino))
}
