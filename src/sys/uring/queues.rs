//! The memory of an io_uring: two queues that the kernel shares.

use crate::sync::{AtomicU32, Ordering};
use crate::sys::futex::timespec;
use crate::sys::{fork, shm};
use std::io;
use std::mem::offset_of;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::{NonNull, from_ref};
use std::time::Duration;

/// Where the submissions are in the file of an io_uring.
const OFFSET_ENTRIES: libc::off_t = 0x1000_0000;

const OP_TIMEOUT: u8 = 11;
const OP_ASYNC_CANCEL: u8 = 14;
pub(super) const OP_FUTEX_WAIT: u8 = 51;
/// No completion if the operation succeeds.
const SKIP_SUCCESS: u8 = 1 << 6;
/// The time of a timer is that of the monotonic clock.
const TIMEOUT_ABSOLUTE: u32 = 1;
/// The token of completions that nobody waits for.
pub(super) const NO_TOKEN: u64 = u64::MAX;

/// `struct io_uring_sqe`. Unused fields are zero.
#[repr(C)]
pub(super) struct Submission {
    operation: u8,
    flags: u8,
    priority: u16,
    /// Flags of the futex, or -1.
    fd: i32,
    /// The value of the word.
    offset: u64,
    /// The word, or the token of the wait to cancel.
    address: u64,
    len: u32,
    operation_flags: u32,
    token: u64,
    buffer: u16,
    personality: u16,
    file: i32,
    /// The mask of the futex.
    third: u64,
    unused: u64,
}

/// `struct io_uring_cqe`.
#[repr(C)]
pub(super) struct Completion {
    pub(super) token: u64,
    pub(super) result: i32,
    flags: u32,
}

/// `struct io_sqring_offsets`.
#[repr(C)]
pub(super) struct SubmissionOffsets {
    head: u32,
    tail: u32,
    mask: u32,
    others: [u32; 7],
}

/// `struct io_cqring_offsets`.
#[repr(C)]
pub(super) struct CompletionOffsets {
    head: u32,
    tail: u32,
    mask: u32,
    entries: u32,
    overflow: u32,
    list: u32,
    others: [u32; 4],
}

/// `struct io_uring_params`.
#[repr(C)]
pub(super) struct Params {
    pub(super) submissions: u32,
    pub(super) completions: u32,
    pub(super) flags: u32,
    others: [u32; 7],
    submission: SubmissionOffsets,
    completion: CompletionOffsets,
}

const _: () = {
    assert!(size_of::<Submission>() == 64 && size_of::<Completion>() == 16);
    assert!(size_of::<Params>() == 120 && offset_of!(Params, completion) == 80);
};

impl Submission {
    const EMPTY: Self = Self {
        operation: 0,
        flags: 0,
        priority: 0,
        fd: -1,
        offset: 0,
        address: 0,
        len: 0,
        operation_flags: 0,
        token: 0,
        buffer: 0,
        personality: 0,
        file: 0,
        third: 0,
        unused: 0,
    };

    /// Waits while the word has this value, until any wake-up.
    pub(super) fn futex_wait(word: &AtomicU32, value: u32, token: u64) -> Self {
        Self {
            operation: OP_FUTEX_WAIT,
            fd: libc::FUTEX2_SIZE_U32,
            offset: value.into(),
            address: from_ref(word).expose_provenance() as u64,
            token,
            third: u32::MAX.into(),
            ..Self::EMPTY
        }
    }

    /// Reports the token at this time. The kernel reads it when it takes the submission.
    fn timer(time: &libc::timespec, token: u64) -> Self {
        Self {
            operation: OP_TIMEOUT,
            address: from_ref(time).expose_provenance() as u64,
            len: 1,
            operation_flags: TIMEOUT_ABSOLUTE,
            token,
            ..Self::EMPTY
        }
    }

    /// Cancels the wait with this token. Reports nothing of its own if there is such a wait.
    pub(super) fn cancellation(token: u64) -> Self {
        Self {
            operation: OP_ASYNC_CANCEL,
            flags: SKIP_SUCCESS,
            address: token,
            token: NO_TOKEN,
            ..Self::EMPTY
        }
    }
}

/// A mapping of an io_uring, which children do not get.
///
/// # Invariant
///
/// In the process of `generation`, `start` is a mapping of `len` bytes that this value owns.
#[derive(Debug)]
struct Mapping {
    start: NonNull<u8>,
    len: usize,
    generation: u32,
}

// SAFETY: the value owns a mapping, which is not tied to a thread.
unsafe impl Send for Mapping {}

impl Mapping {
    /// Maps a part of an io_uring. No thread may fork meanwhile.
    fn of(uring: BorrowedFd<'_>, offset: libc::off_t, len: usize) -> io::Result<Self> {
        let (anywhere, fd) = (std::ptr::null_mut(), uring.as_raw_fd());
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: A mapping at an address that the kernel chooses replaces no existing mapping.
        let start = unsafe { libc::mmap(anywhere, len, protection, libc::MAP_SHARED, fd, offset) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let no_memory = || io::Error::from_raw_os_error(libc::ENOMEM);
        let start = NonNull::new(start.cast()).ok_or_else(no_memory)?;
        let mapping = Self { start, len, generation: fork::generation() };
        // SAFETY: the whole mapping that was just made.
        unsafe { shm::keep_from_children(mapping.start, mapping.len) }?;
        Ok(mapping)
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // A forked child has no such mapping.
        if self.generation == fork::generation() {
            // SAFETY: by the invariant it is a mapping, and nothing uses it after its owner.
            unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
        }
    }
}

/// The two queues of an io_uring, which the kernel shares.
///
/// # Invariants
///
/// 1. The offsets are those that the kernel gave for the mapping `queues`. Each is that of a word,
///    and `list` is that of `completion_mask + 1` completions.
/// 2. `entries` has room for `submission_mask + 1` submissions.
#[derive(Debug)]
pub(super) struct Queues {
    queues: Mapping,
    entries: Mapping,
    /// The time of the timer in each submission.
    times: Box<[libc::timespec]>,
    submission_head: u32,
    submission_tail: u32,
    submission_mask: u32,
    completion_head: u32,
    completion_tail: u32,
    completion_mask: u32,
    list: u32,
}

impl Queues {
    pub(super) fn of(uring: BorrowedFd<'_>, params: &Params) -> io::Result<Self> {
        let Params { submission, completion, .. } = params;
        let len = completion.list as usize + params.completions as usize * size_of::<Completion>();
        let queues = Mapping::of(uring, 0, len)?;
        let len = params.submissions as usize * size_of::<Submission>();
        let entries = Mapping::of(uring, OFFSET_ENTRIES, len)?;
        let none = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        let times = vec![none; params.submissions as usize].into_boxed_slice();
        Ok(Self {
            queues,
            entries,
            times,
            submission_head: submission.head,
            submission_tail: submission.tail,
            // The kernel rounds the sizes up to powers of two.
            submission_mask: params.submissions - 1,
            completion_head: completion.head,
            completion_tail: completion.tail,
            completion_mask: params.completions - 1,
            list: completion.list,
        })
    }

    fn word(&self, offset: u32) -> &AtomicU32 {
        // SAFETY: by invariant 1 it is a word of the mapping, which lives as long as `self`. The
        // kernel, too, accesses it atomically.
        unsafe { self.queues.start.byte_add(offset as usize).cast::<AtomicU32>().as_ref() }
    }

    /// The number of submissions that the kernel has not taken yet.
    pub(super) fn waiting(&self) -> u32 {
        let tail = self.word(self.submission_tail).load(Ordering::Relaxed);
        // Pairs with the kernel's release: it has read the entries before.
        tail.wrapping_sub(self.word(self.submission_head).load(Ordering::Acquire))
    }

    /// Adds a submission. Returns false if the queue is full.
    pub(super) fn push(&mut self, submission: Submission) -> bool {
        if self.waiting() > self.submission_mask {
            return false;
        }
        let tail = self.word(self.submission_tail);
        let at = tail.load(Ordering::Relaxed);
        let index = (at & self.submission_mask) as usize;
        // SAFETY: by invariant 2 there is such an entry. The kernel has taken its last content, and
        // reads the new one after the tail is stored.
        unsafe { self.entries.start.cast::<Submission>().add(index).write(submission) };
        // Pairs with the kernel's acquire.
        tail.store(at.wrapping_add(1), Ordering::Release);
        true
    }

    /// Adds a timer. Returns false if the queue is full.
    pub(super) fn push_timer(&mut self, at: Duration, token: u64) -> bool {
        let at_tail = self.word(self.submission_tail).load(Ordering::Relaxed);
        if self.waiting() > self.submission_mask {
            return false;
        }
        // The kernel has taken the submission that had this time before.
        let time = &mut self.times[(at_tail & self.submission_mask) as usize];
        *time = timespec(at);
        let timer = Submission::timer(time, token);
        self.push(timer)
    }

    /// Takes the oldest completion.
    pub(super) fn pop(&mut self) -> Option<Completion> {
        let head = self.word(self.completion_head);
        let at = head.load(Ordering::Relaxed);
        // Pairs with the kernel's release: the completion is written.
        if at == self.word(self.completion_tail).load(Ordering::Acquire) {
            return None;
        }
        let index = (at & self.completion_mask) as usize;
        // SAFETY: by invariant 1 it is a completion of the list, and the kernel wrote it. The
        // kernel writes it again after the head is stored.
        let completion = unsafe {
            let list = self.queues.start.byte_add(self.list as usize).cast::<Completion>();
            list.add(index).read()
        };
        // Pairs with the kernel's acquire.
        head.store(at.wrapping_add(1), Ordering::Release);
        Some(completion)
    }
}
