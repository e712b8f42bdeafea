use super::*;
use crate::sys::lock;
use std::fs::File;
use std::io::{PipeReader, PipeWriter, Read};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;

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
    let options = || {
        let mut options = File::options();
        options.create(true).append(true).read(true).custom_flags(libc::O_NONBLOCK);
        options.open(&path).unwrap()
    };
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
    let number = descriptor.as_fd().as_raw_fd();
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
