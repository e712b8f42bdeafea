//! What the tests share: names of rings, rings of both kinds, and peers in processes of their own.

#![allow(dead_code, reason = "each test binary uses a part of it")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

pub(crate) mod peer;

use packetring::{Ring, RingBuilder};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

/// Longer than anything takes that does not hang.
pub(crate) const LONG: Duration = Duration::from_secs(60);
/// Short enough to be waited for in vain.
pub(crate) const SHORT: Duration = Duration::from_millis(5);

/// A ring's name that no other test has, in this run or another.
pub(crate) fn unique(topic: &str) -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("test-{topic}-{}-{number}", std::process::id())
}

/// Where the object of a ring can be seen.
pub(crate) fn object(name: &str) -> PathBuf {
    PathBuf::from(format!("/dev/shm/packetring.{name}"))
}

/// The state of a process or a thread as the kernel names it, `Z` for a zombie; `None`: there is none.
pub(crate) fn state_of(pid: u32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

/// The number of this thread, by which others [see](wait_until_asleep) whether it sleeps.
pub(crate) fn this_thread() -> u32 {
    let path = std::fs::read_link("/proc/thread-self").unwrap();
    path.file_name().unwrap().to_str().unwrap().parse().unwrap()
}

/// Waits until a thread sleeps in the kernel.
#[track_caller]
pub(crate) fn wait_until_asleep(thread: u32) {
    wait_until("a thread sleeps", || state_of(thread) == Some('S'));
}

/// Waits for a condition that comes about by itself.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let started = std::time::Instant::now();
    while !holds() {
        assert!(started.elapsed() < LONG, "{what}: not in time");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Asserts that nothing of a ring is left.
#[track_caller]
pub(crate) fn assert_gone(name: &str) {
    assert!(!object(name).exists(), "{} is left", object(name).display());
}

/// Ends the whole run, loudly, unless it is dropped in good time: for what waits without an end.
#[derive(Debug)]
pub(crate) struct Watch(#[allow(dead_code, reason = "dropping it is its use")] Sender<()>);

impl Watch {
    /// Watches over this thread's test.
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

/// Runs a body over a ring on the heap, then over one in a shared object, which must be gone
/// afterwards.
pub(crate) fn on_both(settings: impl Fn() -> RingBuilder, body: impl Fn(Ring)) {
    let _watch = Watch::start();
    body(settings().heap().unwrap());
    let name = unique("both");
    body(settings().open(&name).unwrap());
    assert_gone(&name);
}

/// Runs a body over rings of both kinds and both claims.
pub(crate) fn on_all(settings: impl Fn() -> RingBuilder, body: impl Fn(Ring)) {
    on_both(|| settings().shared(), &body);
    on_both(|| settings().exclusive(), &body);
}

/// A sequence of numbers that looks like noise and is the same each time.
#[derive(Clone, Debug)]
pub(crate) struct Noise(u64);

impl Noise {
    /// The sequence of a publisher's packet.
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

    /// The next `len` bytes, as text.
    pub(crate) fn text(&mut self, len: usize) -> String {
        self.bytes(len).into_iter().map(|byte| char::from(b'a' + byte % 26)).collect()
    }
}
