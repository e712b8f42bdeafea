//! Helpers that the tests share: unique ring names, rings of both kinds, and child processes.

#![allow(dead_code, reason = "each test binary uses a part of it")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

pub(crate) mod peer;
pub(crate) mod seccomp;

use packetring::{Ring, RingBuilder};
use std::fs::{File, OpenOptions};
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

/// Upper bound for any step that must happen. A longer wait means that the test hangs.
pub(crate) const LONG: Duration = Duration::from_secs(60);
/// Short wait for something that must not happen.
pub(crate) const SHORT: Duration = Duration::from_millis(5);

/// A ring name that no other test uses, in this run or in a concurrent one.
pub(crate) fn unique(topic: &str) -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("test-{topic}-{}-{number}", std::process::id())
}

/// The path of a ring's shared-memory object.
pub(crate) fn object(name: &str) -> PathBuf {
    PathBuf::from(format!("/dev/shm/packetring.{name}"))
}

/// Holds the control lock of a ring, as a process does that was stopped while it joined.
pub(crate) fn hold_control_lock(name: &str) -> File {
    let file = OpenOptions::new().read(true).write(true).open(object(name)).unwrap();
    lock_first_byte(&file);
    file
}

/// Takes the control lock of an object.
pub(crate) fn lock_first_byte(file: &File) {
    // SAFETY: a C struct of integers, for which zero is valid.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    (lock.l_type, lock.l_len) = (libc::F_WRLCK as libc::c_short, 1);
    // SAFETY: the call reads the struct, which lives until it returns.
    let taken = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &raw const lock) };
    assert_eq!(taken, 0);
}

/// The kernel's state letter of a process or thread, such as `Z` for a zombie. `None` if it does
/// not exist.
pub(crate) fn state_of(pid: u32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

/// The kernel's id of the calling thread, for [`wait_until_asleep`].
pub(crate) fn this_thread() -> u32 {
    let path = std::fs::read_link("/proc/thread-self").unwrap();
    path.file_name().unwrap().to_str().unwrap().parse().unwrap()
}

/// Waits until a thread sleeps in the kernel.
#[track_caller]
pub(crate) fn wait_until_asleep(thread: u32) {
    wait_until("a thread sleeps", || state_of(thread) == Some('S'));
}

/// Polls until `holds` returns true. Panics after [`LONG`].
#[track_caller]
pub(crate) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let started = std::time::Instant::now();
    while !holds() {
        assert!(started.elapsed() < LONG, "timed out waiting for: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Asserts that a ring's shared-memory object was removed.
#[track_caller]
pub(crate) fn assert_gone(name: &str) {
    assert!(!object(name).exists(), "{} was not removed", object(name).display());
}

/// Aborts the whole test run if it is not dropped in time. For tests that can block without a
/// deadline.
#[derive(Debug)]
pub(crate) struct Watch(#[allow(dead_code, reason = "dropping it is its use")] Sender<()>);

impl Watch {
    /// Starts the timer for the test of the calling thread.
    pub(crate) fn start() -> Self {
        let (sender, dropped) = channel();
        let test = std::thread::current().name().unwrap_or_default().to_owned();
        std::thread::spawn(move || {
            if dropped.recv_timeout(2 * LONG) == Err(RecvTimeoutError::Timeout) {
                eprintln!("test `{test}` hangs");
                std::process::abort();
            }
        });
        Self(sender)
    }
}

/// Runs `body` over a ring on the heap, then over a ring in shared memory. Asserts that the
/// shared-memory object is removed afterwards.
pub(crate) fn on_both(settings: impl Fn() -> RingBuilder, body: impl Fn(Ring)) {
    let _watch = Watch::start();
    body(settings().heap().unwrap());
    let name = unique("both");
    body(settings().open(&name).unwrap());
    assert_gone(&name);
}

/// Runs `body` over rings with shared and with exclusive claims, each on the heap and in shared
/// memory.
pub(crate) fn on_all(settings: impl Fn() -> RingBuilder, body: impl Fn(Ring)) {
    on_both(|| settings().shared(), &body);
    on_both(|| settings().exclusive(), &body);
}

/// A deterministic pseudo-random sequence of numbers.
#[derive(Clone, Debug)]
pub(crate) struct Noise(u64);

impl Noise {
    /// The sequence for one packet of one publisher.
    pub(crate) fn of(publisher: u32, sequence: u64) -> Self {
        Self(sequence.wrapping_mul(0x2545_f491_4f6c_dd1d) ^ u64::from(publisher) << 56)
    }

    /// The next number.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// The next number below `bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// The next `len` bytes.
    pub(crate) fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(len + 8);
        while bytes.len() < len {
            bytes.extend_from_slice(&self.next().to_le_bytes());
        }
        bytes.truncate(len);
        bytes
    }

    /// The next `len` bytes as lower-case ASCII letters.
    pub(crate) fn text(&mut self, len: usize) -> String {
        self.bytes(len).into_iter().map(|byte| char::from(b'a' + byte % 26)).collect()
    }
}
