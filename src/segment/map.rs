//! The memory of a segment: a mapping of a whole shared-memory object, or a block on the heap.
//!
//! Forked children do not get the mappings.
//!
//! `shared_memory` maps by name. So [`Map::open`] checks afterwards that the name still is that of
//! the object that was opened and locked.
//!
//! A segment on the heap is for threads and tests. It has the layout and the protocol of a shared
//! one, but no name, no file and no kernel locks. An endpoint that is dropped leaves. An endpoint
//! that is forgotten counts as alive forever.

#![cfg(not(loom))]

use super::entry::{EntryId, Liveness};
use super::layout::Head;
use super::name::Name;
use super::parts::{Block, SegmentParts};
use super::places::Places;
use super::settings::Settings;
use crate::error::OpenError;
use crate::sync::{AtomicU64, Ordering};
use crate::sys::fork::{ForeignFd, Range, UnsharedFd};
use crate::sys::{page_size, shm};
use shared_memory::{Shmem, ShmemConf, ShmemError};
use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::collections::HashSet;
use std::io::{self, ErrorKind};
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, BorrowedFd};
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A mapping of a whole object.
///
/// # Invariants
///
/// 1. `memory` is one mapping of at least a [`Head`]'s length, and nothing unmaps it before the
///    value is dropped.
pub(super) struct Map {
    /// First, so that it is dropped before another mapping can have the range.
    range: Range,
    memory: ManuallyDrop<Shmem>,
    /// The descriptor that `memory` closes on drop.
    descriptor: ForeignFd,
}

// SAFETY: a `Shmem` is a pointer to a mapping, its length, a descriptor and a name: none is tied
// to a thread. Nothing changes it after it was made.
unsafe impl Send for Map {}
// SAFETY: as for `Send`.
unsafe impl Sync for Map {}

// SAFETY: the kernel maps whole pages, and every byte of a mapped object is initialized. The
// mapping stays by invariant 1. This library never makes an object shorter while a process is
// attached. Another process of the same user can: a use of the lost pages is then a SIGBUS, which
// ends this process.
unsafe impl Block for Map {
    fn bytes(&self) -> NonNull<[u8]> {
        NonNull::slice_from_raw_parts(base(&self.memory), self.memory.len())
    }
}

impl Map {
    /// Maps the object that `fd` is open on, and that is `len` bytes long. `None` if the name is
    /// another object's now.
    pub(super) fn open(name: &Name, fd: &UnsharedFd, len: u64) -> Result<Option<Self>, OpenError> {
        let object = name.object();
        let mapped = ForeignFd::watch(fd, || ShmemConf::new().os_id(&object).open());
        let same = match shm::measure_named(&object) {
            Err(error) if error.kind() == ErrorKind::NotFound => false,
            outcome => {
                let named = outcome
                    .map_err(|error| OpenError::system("look at", shm::path(&object), error))?;
                named.inode == inode(fd.as_fd(), name)?
            }
        };
        if !same {
            return Ok(None);
        }
        let (memory, descriptor) =
            mapped.map_err(|error| OpenError::system("map", shm::path(&object), cause(error)))?;
        let (start, found) = (base(&memory), memory.len());
        let expected = len.max(size_of::<Head>() as u64);
        if (found as u64) < expected {
            // Another process made it shorter since it was measured.
            return Err(OpenError::Corrupt {
                name: name.shown(),
                what: "the length of the object",
                expected,
                found: found as u64,
            });
        }
        // SAFETY: one whole mapping.
        unsafe { shm::keep_from_children(start, found) }
            .map_err(|error| OpenError::system("keep from children", shm::path(&object), error))?;
        let memory = ManuallyDrop::new(memory);
        Ok(Some(Self { range: Range::announce(start, found), memory, descriptor }))
    }

    /// The head of the segment.
    pub(super) fn head(&self) -> &Head {
        // SAFETY: invariant 1. A head consists of atomics, for which any bytes are values; a
        // mapping is aligned to a page.
        unsafe { base(&self.memory).cast::<Head>().as_ref() }
    }
}

fn base(memory: &Shmem) -> NonNull<u8> {
    // SAFETY: the address of a mapping is never null.
    unsafe { NonNull::new_unchecked(memory.as_ptr()) }
}

impl Drop for Map {
    fn drop(&mut self) {
        let Self { memory, descriptor, .. } = self;
        // SAFETY: this is the only drop of the value.
        if descriptor.end(|| unsafe { ManuallyDrop::drop(memory) }) {
            return;
        }
        // The number of the descriptor may be another file's by now. So the `Shmem`, which would
        // close it, is only unmapped. A forked child has no mapping there.
        if self.range.is_inherited() {
            return;
        }
        // SAFETY: the mapping stays until here by invariant 1, and nothing uses it any more.
        unsafe { shm::unmap(base(&self.memory), self.memory.len()) };
    }
}

/// The kernel's error behind an error of `shared_memory`, which keeps only its number.
fn cause(error: ShmemError) -> io::Error {
    match error {
        ShmemError::MapOpenFailed(errno) | ShmemError::UnknownOsError(errno) => {
            io::Error::from_raw_os_error(errno.cast_signed())
        }
        error => io::Error::other(error),
    }
}

/// A second mapping of a whole object. It takes neither a name nor a descriptor.
pub(super) struct SecondMap {
    /// First, so that it is dropped before another mapping can have the range.
    _range: Range,
    pages: Pages,
}

/// Mapped pages.
///
/// # Invariants
///
/// 1. `base` is a mapping of `len` bytes, which is unmapped when the value is dropped.
struct Pages {
    base: NonNull<u8>,
    len: usize,
}

impl SecondMap {
    /// Maps the object that `fd` is open on, for reading and writing. An object shorter than `len`
    /// bytes is an error.
    pub(super) fn open(fd: BorrowedFd<'_>, len: usize) -> io::Result<Self> {
        Self::of(fd, len, shm::map)
    }

    /// As [`open`](Self::open), for reading only: a store to the segment is a SIGSEGV.
    pub(super) fn open_to_read(fd: BorrowedFd<'_>, len: usize) -> io::Result<Self> {
        Self::of(fd, len, shm::map_to_read)
    }

    fn of(
        fd: BorrowedFd<'_>,
        len: usize,
        map: fn(BorrowedFd<'_>, usize) -> io::Result<NonNull<u8>>,
    ) -> io::Result<Self> {
        if shm::measure(fd)?.len < len as u64 {
            return Err(io::Error::from_raw_os_error(libc::EOVERFLOW));
        }
        let pages = Pages { base: map(fd, len)?, len };
        // SAFETY: one whole mapping.
        unsafe { shm::keep_from_children(pages.base, len) }?;
        Ok(Self { _range: Range::announce(pages.base, len), pages })
    }

    /// The head of the segment. `None` if the mapping is shorter than a head.
    pub(super) fn head(&self) -> Option<&Head> {
        if self.pages.len < size_of::<Head>() {
            return None;
        }
        // SAFETY: by invariant 1 of `Pages` the mapping holds a head, as checked above. A head
        // consists of atomics, for which any bytes are values; a mapping is aligned to a page.
        Some(unsafe { self.pages.base.cast::<Head>().as_ref() })
    }
}

// SAFETY: the value owns a mapping, which is not tied to a thread.
unsafe impl Send for Pages {}
// SAFETY: as for `Send`. A shared reference gives nothing but the address.
unsafe impl Sync for Pages {}

// SAFETY: as for `Map`; the mapping stays by invariant 1 of `Pages`. If it was mapped for reading,
// a store is a SIGSEGV, as for the protected slots of an attachment, and changes nothing.
unsafe impl Block for SecondMap {
    fn bytes(&self) -> NonNull<[u8]> {
        NonNull::slice_from_raw_parts(self.pages.base, self.pages.len)
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: invariant 1. Each user of the bytes keeps the value.
        unsafe { shm::unmap(self.base, self.len) };
    }
}

/// Device and inode of an open object. They identify it as long as it is open.
pub(super) fn inode(fd: BorrowedFd<'_>, name: &Name) -> Result<(u64, u64), OpenError> {
    let object = shm::measure(fd)
        .map_err(|error| OpenError::system("look at", shm::path(&name.object()), error))?;
    Ok(object.inode)
}

/// Whether the pages of an attachment's mapping are made present for its endpoints.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Population {
    /// `None`: if they spin.
    pub(super) choice: Option<bool>,
    pub(super) is_done: bool,
}

/// A segment on the heap, which its attachments share.
#[derive(Debug)]
pub(super) struct Heap {
    parts: SegmentParts,
    /// The entries whose liveness lock is held.
    locked: Mutex<HashSet<EntryId>>,
    /// The time of the last check of all entries; 0 if there is none.
    checked: AtomicU64,
}

/// Zeroed memory, aligned to a page.
///
/// # Invariants
///
/// 1. `base` was allocated with `layout`, and is freed when the value is dropped.
struct Allocation {
    base: NonNull<u8>,
    layout: Layout,
}

// SAFETY: the value owns plain memory, which is not tied to a thread.
unsafe impl Send for Allocation {}
// SAFETY: nothing but the pointer is read through a shared reference.
unsafe impl Sync for Allocation {}

// SAFETY: allocated with `layout` by invariant 1: zeroed, so initialized, and aligned to a page.
// Only the parts give references to the bytes.
unsafe impl Block for Allocation {
    fn bytes(&self) -> NonNull<[u8]> {
        NonNull::slice_from_raw_parts(self.base, self.layout.size())
    }
}

impl Heap {
    /// A segment with these settings; `None` if there is not that much memory.
    pub(super) fn new(settings: Settings, salt: u64) -> Option<Self> {
        let places = Places::of_settings(&settings)?;
        let layout = Layout::from_size_align(places.end, page_size()).ok()?;
        // SAFETY: the layout's size is not zero: it has a head.
        let base = NonNull::new(unsafe { alloc_zeroed(layout) })?;
        let parts = SegmentParts::new(Arc::new(Allocation { base, layout }), settings, salt)?;
        Some(Self { parts, locked: Mutex::default(), checked: AtomicU64::new(0) })
    }

    /// The typed parts.
    pub(super) fn parts(&self) -> &SegmentParts {
        &self.parts
    }

    /// As [`UnsharedFd::note_check`](crate::sys::fork::UnsharedFd::note_check).
    pub(super) fn note_check(&self, time: u64, not_before: u64) -> bool {
        // Relaxed: two checks at the same time do no harm.
        let is_old = self.checked.load(Ordering::Relaxed) < not_before;
        if is_old {
            self.checked.store(time, Ordering::Relaxed);
        }
        is_old
    }

    fn locked(&self) -> MutexGuard<'_, HashSet<EntryId>> {
        // No line between lock and unlock can leave the set half-changed.
        self.locked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// SAFETY: an entry is in the set from `acquire_liveness` to `release_liveness`.
unsafe impl Liveness for Heap {
    fn acquire_liveness(&self, entry: EntryId) -> Result<bool, OpenError> {
        Ok(self.locked().insert(entry))
    }

    fn release_liveness(&self, entry: EntryId) {
        self.locked().remove(&entry);
    }

    fn is_alive(&self, entry: EntryId) -> bool {
        self.locked().contains(&entry)
    }
}

impl Drop for Allocation {
    fn drop(&mut self) {
        // SAFETY: invariant 1.
        unsafe { dealloc(self.base.as_ptr(), self.layout) }
    }
}
