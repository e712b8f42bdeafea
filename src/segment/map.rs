//! A mapping of a whole shared-memory object, made by `shared_memory`.
//!
//! It maps by name, so the name is checked afterwards to be the object that was opened and
//! locked. Forked children do not get the mapping.

use super::layout::Head;
use super::name::Name;
use crate::error::OpenError;
use crate::sys::fork::Range;
use crate::sys::shm;
use shared_memory::{Shmem, ShmemConf, ShmemError};
use std::io::{self, ErrorKind};
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;

/// What of an object that was made shorter is wrong.
const LENGTH: &str = "the length of the object";

/// A mapping of a whole object.
pub(super) struct Map {
    /// First, so that it is dropped before the range is another's.
    _range: Range,
    memory: Shmem,
}

// SAFETY: a `Shmem` is a pointer to a mapping, its length, a descriptor and a name: none is tied
// to a thread. It is not used to change anything after it was made.
unsafe impl Send for Map {}
// SAFETY: as above.
unsafe impl Sync for Map {}

impl std::fmt::Debug for Map {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Map").field(&self.memory.get_os_id()).finish()
    }
}

impl Map {
    /// Maps the object that `fd` is open on and that is `len` bytes long; `None` if the name is
    /// another object's by now.
    pub(super) fn open(
        name: &Name,
        fd: BorrowedFd<'_>,
        len: u64,
    ) -> Result<Option<Self>, OpenError> {
        let object = name.object();
        let mapped = ShmemConf::new().os_id(&object).open();
        let same = match shm::measure_named(&object) {
            Err(error) if error.kind() == ErrorKind::NotFound => false,
            outcome => {
                let named = outcome
                    .map_err(|error| OpenError::system("look at", shm::path(&object), error))?;
                named.inode == inode(fd, name)?
            }
        };
        if !same {
            return Ok(None);
        }
        let memory =
            mapped.map_err(|error| OpenError::system("map", shm::path(&object), cause(error)))?;
        let (start, found) = (base(&memory), memory.len());
        if (found as u64) < len {
            // Made shorter since it was measured.
            let (name, found) = (name.as_str().to_owned(), found as u64);
            return Err(OpenError::Corrupt { name, what: LENGTH, expected: len, found });
        }
        // SAFETY: one whole mapping.
        unsafe { shm::keep_from_children(start, found) }
            .map_err(|error| OpenError::system("keep from children", shm::path(&object), error))?;
        Ok(Some(Self { _range: Range::announce(start, found), memory }))
    }

    /// Where it begins.
    pub(super) fn base(&self) -> NonNull<u8> {
        base(&self.memory)
    }

    /// The words of the segment that do not belong to one endpoint.
    pub(super) fn head(&self) -> &Head {
        debug_assert!(self.memory.len() >= size_of::<Head>());
        // SAFETY: the mapping is at least as long as the object was measured to be, and that as
        // long as a head; it consists of atomics, for which any bytes are values; a mapping is
        // aligned to a page.
        unsafe { self.base().cast::<Head>().as_ref() }
    }
}

fn base(memory: &Shmem) -> NonNull<u8> {
    // SAFETY: the address of a mapping is never null.
    unsafe { NonNull::new_unchecked(memory.as_ptr()) }
}

/// The kernel's error behind one of `shared_memory`, which keeps its number only.
fn cause(error: ShmemError) -> io::Error {
    match error {
        ShmemError::MapOpenFailed(errno) | ShmemError::UnknownOsError(errno) => {
            io::Error::from_raw_os_error(errno.cast_signed())
        }
        error => io::Error::other(error),
    }
}

/// A second mapping of a whole object, writable, and gone when it is dropped. It takes neither a
/// name nor a descriptor.
pub(super) struct Second {
    /// First, so that it is dropped before the range is another's.
    _range: Range,
    pages: Pages,
}

struct Pages {
    base: NonNull<u8>,
    len: usize,
}

impl Second {
    /// Maps the object that `fd` is open on, which must be `len` bytes long at least.
    pub(super) fn open(fd: BorrowedFd<'_>, len: usize) -> io::Result<Self> {
        if shm::measure(fd)?.len < len as u64 {
            return Err(io::Error::from_raw_os_error(libc::EOVERFLOW));
        }
        let pages = Pages { base: shm::map(fd, len)?, len };
        // SAFETY: one whole mapping.
        unsafe { shm::keep_from_children(pages.base, len) }?;
        Ok(Self { _range: Range::announce(pages.base, len), pages })
    }

    /// Where it begins.
    pub(super) fn base(&self) -> NonNull<u8> {
        self.pages.base
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: mapped in `open`; whoever uses it borrows its owner.
        unsafe { shm::unmap(self.base, self.len) };
    }
}

/// What names an object as long as it is open.
pub(super) fn inode(fd: BorrowedFd<'_>, name: &Name) -> Result<(u64, u64), OpenError> {
    let object = shm::measure(fd)
        .map_err(|error| OpenError::system("look at", shm::path(&name.object()), error))?;
    Ok(object.inode)
}
