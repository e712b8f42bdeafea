//! Two words on which two processes sleep.

use crate::shared::Plain;
use rustix::io::Errno;
use rustix::thread::futex::{self, Flags, Timespec};
use std::sync::atomic::{AtomicU32, Ordering};

/// A sleeper gives up after this time.
const TIMEOUT: Timespec = Timespec { tv_sec: 5, tv_nsec: 0 };

/// A word on its own cache line.
#[repr(align(128))]
struct Word(AtomicU32);

/// A word for each direction.
#[repr(C)]
pub(crate) struct Words {
    there: Word,
    back: Word,
}

// SAFETY: two atomics, for which zeros are valid, aligned to 128. The padding is never read.
unsafe impl Plain for Words {}

impl Words {
    /// Sends a number, one more than the last, and sleeps until it comes back.
    pub(crate) fn call(&self, number: u32) -> Result<(), String> {
        send(&self.there, number);
        sleep_until(&self.back, number)
    }

    /// Sleeps until a number comes, one more than the last, and sends it back.
    pub(crate) fn answer(&self, number: u32) -> Result<(), String> {
        sleep_until(&self.there, number)?;
        send(&self.back, number);
        Ok(())
    }
}

fn send(word: &Word, number: u32) {
    // Pairs with the acquire in `sleep_until`.
    word.0.store(number, Ordering::Release);
    // It fails only if the memory is not mapped.
    let _ = futex::wake(&word.0, Flags::empty(), 1);
}

/// Sleeps until the word changes from `number - 1` to `number`.
fn sleep_until(word: &Word, number: u32) -> Result<(), String> {
    let before = number.wrapping_sub(1);
    loop {
        match word.0.load(Ordering::Acquire) {
            found if found == number => return Ok(()),
            found if found == before => {}
            found => {
                return Err(format!(
                    "wrong number in the floor's memory: expected {number}, found {found}"
                ));
            }
        }
        let slept = futex::wait(&word.0, Flags::empty(), before, Some(&TIMEOUT));
        if slept == Err(Errno::TIMEDOUT) {
            return Err("no answer from the other side of the floor for 5 s".into());
        }
    }
}
