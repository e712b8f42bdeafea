//! [`UnsharedFd`]: a descriptor that no forked child shares, and that is closed once.

use super::placeholder::{Placeholder, file_of};
use super::{Registered, generation, install_handlers, registry};
use crate::sync::{AtomicU32, Ordering};
use crate::sys::shm;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd};
use std::ptr::NonNull;
use std::sync::Arc;

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
    /// Shared with the mappings of the file: set on drop if the mappings must close no descriptor,
    /// because other code closed this one, or in a forked child.
    was_lost: Arc<AtomicU32>,
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
        let (number, id) = (fd.as_raw_fd(), registry.next_id);
        registry.next_id += 1;
        // An earlier descriptor of this number was closed by other code: it is lost.
        registry.descriptors.retain(|earlier| earlier.number != number);
        registry.descriptors.push(Registered { id, number, file });
        let was_lost = Arc::default();
        Ok(Self { fd: Some(fd), number, generation: generation(), id, pin: None, was_lost })
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

    /// A flag that is set when this descriptor is dropped after other code closed it, or in a
    /// forked child.
    pub(crate) fn lost_flag(&self) -> Arc<AtomicU32> {
        self.was_lost.clone()
    }

    /// Returns true if this process is a forked child and its parent opened the descriptor.
    pub(crate) fn is_inherited(&self) -> bool {
        self.generation != generation()
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
        let is_lost = !self.is_inherited() && registry.find(self.id).is_none();
        if !self.is_inherited() {
            registry.forget_descriptor(self.id);
        }
        // A child has a placeholder there, unless other code closed it before or after the fork.
        let is_own = if self.is_inherited() { Placeholder::is_at(self.number) } else { !is_lost };
        // Close it while the registry is locked: a child forked later has no copy, and a child
        // forked earlier has replaced its own.
        match self.fd.take() {
            Some(fd) if !is_own => {
                let _ = fd.into_raw_fd();
            }
            fd => drop(fd),
        }
        if is_lost || self.is_inherited() {
            // Relaxed: the mappings are dropped after this, by the owner of both.
            self.was_lost.store(1, Ordering::Relaxed);
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
