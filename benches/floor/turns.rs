//! The floor of a woken event loop: an eventfd between two processes, in the reader's epoll.
//!
//! The sender's clock starts immediately before it wakes the other process. It ends when that
//! process has what woke it. Both processes read one clock of the machine.

use crate::harness::{Outcome, Run, Sample, Scenario, Side, Unit, latencies};
use crate::shared::{Plain, Poll, Shared};
use rustix::buffer::spare_capacity;
use rustix::event::{EventfdFlags, epoll, eventfd};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Time for which the reader has slept when it is woken.
const ASLEEP: Duration = Duration::from_micros(50);

#[repr(align(128))]
struct Word(AtomicU64);

/// By which the two processes take turns.
#[repr(C)]
pub(crate) struct Turns {
    /// The number that the reader waits for, immediately before it sleeps.
    awaited: Word,
    /// When the reader had the last number, in nanoseconds of the monotonic clock.
    had_at: Word,
    /// Number of the floor's descriptor.
    descriptor: Word,
}

// SAFETY: three atomics, for which zeros are valid, aligned to 128. The padding is never read.
unsafe impl Plain for Turns {}

impl Turns {
    /// Wakes before recording starts, and wakes that are recorded.
    fn wakes(run: &Run) -> (u64, u64) {
        (50, run.count(2_000))
    }

    /// The last number.
    pub(crate) fn last(run: &Run) -> u64 {
        let (warm_up, counted) = Self::wakes(run);
        warm_up + counted
    }

    /// The reader got this number.
    pub(crate) fn have(&self) {
        self.had_at.0.store(monotonic(), Ordering::Relaxed);
    }

    /// The reader is about to sleep until this number comes.
    pub(crate) fn sleep_for(&self, number: u64) {
        // Pairs with the acquire in `measure`: the time is seen.
        self.awaited.0.store(number, Ordering::Release);
    }

    /// Wakes the reader again and again by `wake`, which gets a number from 1 on. The value is the
    /// median time from the call until the reader has the number.
    pub(crate) fn measure(
        &self,
        run: &Run,
        poll: &Poll,
        mut wake: impl FnMut(u64) -> Outcome<()>,
    ) -> Outcome<Sample> {
        let mut times = latencies()?;
        for number in 1..=Self::last(run) {
            poll.until(|| self.awaited.0.load(Ordering::Acquire) == number)?;
            run.pause(ASLEEP);
            let woke_at = monotonic();
            wake(number)?;
            poll.until(|| self.awaited.0.load(Ordering::Acquire) > number)?;
            if number > Self::wakes(run).0 {
                times.saturating_record(self.had_at.0.load(Ordering::Relaxed) - woke_at);
            }
        }
        Ok(Sample::of_latencies(times, Unit::Microseconds))
    }
}

/// Nanoseconds of a clock that is the same in all processes.
#[expect(clippy::disallowed_methods, reason = "an `Instant` has no meaning in another process")]
fn monotonic() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs()
}

/// An epoll set of readable descriptors, each with a number.
pub(crate) struct ReadySet(OwnedFd, Vec<epoll::Event>);

impl ReadySet {
    pub(crate) fn new() -> Outcome<Self> {
        Ok(Self(epoll::create(epoll::CreateFlags::CLOEXEC)?, Vec::with_capacity(64)))
    }

    pub(crate) fn add(&self, fd: impl AsFd, number: u64) -> Outcome<()> {
        Ok(epoll::add(&self.0, fd, epoll::EventData::new_u64(number), epoll::EventFlags::IN)?)
    }

    /// Waits, and calls `handle` with the number of each descriptor that is readable.
    pub(crate) fn wait(&mut self, mut handle: impl FnMut(u64) -> Outcome<()>) -> Outcome<()> {
        self.1.clear();
        epoll::wait(&self.0, spare_capacity(&mut self.1), None)?;
        self.1.iter().try_for_each(|event| handle(event.data.u64()))
    }
}

/// An eventfd, which one process writes and the other waits for in epoll.
pub(crate) struct EventFdWake;

impl Scenario for EventFdWake {
    fn name(&self) -> String {
        "floor_eventfd".into()
    }

    fn about(&self) -> String {
        "one way, an eventfd in the epoll of the other process, 50 µs asleep".into()
    }

    fn payload(&self) -> usize {
        8
    }

    fn unit(&self) -> Unit {
        Unit::Microseconds
    }

    fn measure(&self, run: &Run) -> Outcome<Sample> {
        let _pinned = run.pin_before_joining()?;
        let turns: Shared<Turns> = Shared::create(&run.object())?;
        // Without CLOEXEC: the partner inherits it under the same number.
        let fd = eventfd(0, EventfdFlags::NONBLOCK)?;
        turns.descriptor.0.store(fd.as_raw_fd().unsigned_abs().into(), Ordering::Relaxed);
        let partner = run.start(0)?;
        let _pinned = run.pin_after_joining()?;
        let sample = turns.measure(run, &run.poll(), |_| {
            rustix::io::write(&fd, &1_u64.to_ne_bytes())?;
            Ok(())
        })?;
        partner.finish()?;
        Ok(sample)
    }

    fn serve(&self, side: &mut Side) -> Outcome<()> {
        let _pinned = side.pin_before_joining()?;
        let turns: Shared<Turns> = Shared::open(&side.run.object())?;
        let number = RawFd::try_from(turns.descriptor.0.load(Ordering::Relaxed))?;
        // SAFETY: this process inherited the descriptor. Nothing else in it uses the number.
        let fd = unsafe { OwnedFd::from_raw_fd(number) };
        side.ready()?;
        let _pinned = side.pin_after_joining()?;
        let mut set = ReadySet::new()?;
        set.add(&fd, 0)?;
        for number in 1..=Turns::last(&side.run) {
            turns.sleep_for(number);
            set.wait(|_| clear(fd.as_fd()))?;
            turns.have();
        }
        turns.sleep_for(Turns::last(&side.run) + 1);
        Ok(())
    }
}

fn clear(fd: BorrowedFd<'_>) -> Outcome<()> {
    rustix::io::read(fd, &mut [0; 8])?;
    Ok(())
}
