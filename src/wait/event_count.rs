//! The waiter's side of an event count: it spins, then registers and sleeps. The other side is in
//! `notify`.

use super::Wait;
use crate::segment::layout::EventCount;
#[cfg(not(loom))]
use crate::segment::{counters::EventWords, kept::KeptWords};
#[cfg(loom)]
use crate::sync::fence;
use crate::sync::{AtomicU32, AtomicU64, Ordering, spin_loop};
#[cfg(not(loom))]
use crate::sys::{event::Event, futex, stop::Stop};
use std::time::{Duration, Instant};

/// Checks of a brief spin, about a microsecond. There is no pause between them: most often the
/// waiter waits for a cache line that is on its way.
const BRIEF_SPINS: u32 = 1000;
/// Pauses of a reader that caught up with a publisher, about a microsecond. A reader that
/// polls at once takes the line from the publisher that is writing it.
const BACK_OFF: u32 = 50;
/// Spins between two readings of the clock.
const SPINS: u32 = 64;
/// Longest sleep if the heavy barrier failed: notifiers may not see the waiter.
const UNSEEN: Duration = Duration::from_millis(1);
/// Longest sleep of an endpoint with a stop if the kernel cannot wait for both.
#[cfg(not(loom))]
const UNSTOPPED: Duration = Duration::from_millis(10);
/// With several cores, a spinner yields its core after this time.
const BEFORE_YIELD: Duration = Duration::from_micros(2);

/// Marks a registration. Above each value of a futex word.
const REGISTERED: u64 = 1 << 32;

/// A spinner whose wait depends on a process that may need its core sleeps after this time.
const BEFORE_NAP: Duration = Duration::from_millis(1);
/// Such a sleep between two checks.
const NAP: Duration = Duration::from_micros(50);

/// How an endpoint sleeps.
#[derive(Debug)]
pub(crate) enum Sleep {
    /// On the futex word of the event count.
    Futex,
    /// On an event of its own, which notifiers set.
    #[cfg(not(loom))]
    Event(Event),
}

#[cfg(not(loom))]
impl std::fmt::Debug for Event {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Event")
    }
}

/// How one endpoint waits. It always sleeps on one event count.
#[derive(Debug)]
pub(crate) struct Waiter {
    wait: Wait,
    sleep: Sleep,
    /// The futex word at the last registration, with [`REGISTERED`]. Only the owner uses it.
    registered: AtomicU64,
    /// There are several cores, so another process can run while this one spins.
    several_cores: bool,
    /// The stop that ends its waits from outside.
    #[cfg(not(loom))]
    stop: Option<Stop>,
    /// Where its sleeps are counted.
    #[cfg(not(loom))]
    counts: Option<KeptWords<EventWords>>,
}

#[cfg(not(loom))]
impl Wait {
    /// Number of checks of a brief spin, for a wait that needs no [`Waiter`] if it ends within
    /// them; 0: it does not spin.
    #[inline]
    pub(crate) fn brief_spins(self) -> u32 {
        if cores() > 1 && !self.spin.is_zero() { BRIEF_SPINS } else { 0 }
    }
}

impl Waiter {
    /// A waiter that sleeps by `sleep`, if it sleeps.
    pub(crate) fn new(wait: Wait, sleep: Sleep) -> Self {
        Self {
            wait,
            sleep,
            registered: AtomicU64::new(0),
            several_cores: cores() > 1,
            #[cfg(not(loom))]
            stop: None,
            #[cfg(not(loom))]
            counts: None,
        }
    }

    /// Returns this waiter with waits that `stop` ends.
    #[cfg(not(loom))]
    pub(crate) fn with_stop(self, stop: Option<&Stop>) -> Self {
        Self { stop: stop.cloned(), ..self }
    }

    /// Returns this waiter with sleeps that are counted.
    #[cfg(not(loom))]
    pub(crate) fn with_counts(self, counts: Option<KeptWords<EventWords>>) -> Self {
        Self { counts, ..self }
    }

    /// Sets what ends its waits from now on.
    #[cfg(not(loom))]
    pub(crate) fn set_stop(&mut self, stop: Option<&Stop>) {
        self.stop = stop.cloned();
    }

    /// The stop that ends its waits.
    #[cfg(not(loom))]
    pub(crate) fn stop(&self) -> Option<&Stop> {
        self.stop.as_ref()
    }

    /// Returns true if its waits were stopped: it sleeps no more.
    #[inline]
    pub(crate) fn is_stopped(&self) -> bool {
        #[cfg(not(loom))]
        return Stop::was_called(self.stop.as_ref());
        #[cfg(loom)]
        false
    }

    /// Sets how it waits from now on.
    pub(crate) fn set(&mut self, wait: Wait) {
        self.wait = wait;
    }

    /// How it waits.
    pub(crate) fn wait(&self) -> Wait {
        self.wait
    }

    /// Returns true if it never sleeps.
    pub(crate) fn only_spins(&self) -> bool {
        self.wait.only_spins()
    }

    /// Returns true if it sleeps on the futex word of its event count.
    pub(crate) fn sleeps_on_futex(&self) -> bool {
        matches!(self.sleep, Sleep::Futex)
    }

    /// The result of a wait, if it has to end now: true if it found something, false if it was
    /// stopped.
    pub(crate) fn outcome(&self, is_found: bool) -> Option<bool> {
        (is_found || self.is_stopped()).then_some(is_found)
    }

    /// First part of a wait: a few checks without the clock. Returns true if ready.
    #[inline]
    pub(crate) fn spin_briefly(&self, mut ready: impl FnMut() -> bool) -> bool {
        self.may_spin() && (0..BRIEF_SPINS).any(|_| ready())
    }

    /// Leaves the lines that the other side is writing alone for about a microsecond.
    #[inline]
    pub(crate) fn back_off(&self) {
        if self.may_spin() {
            (0..BACK_OFF).for_each(|_| spin_loop());
        }
    }

    /// Second part: spins for the endpoint's budget, at most for `bound`. Returns true if ready.
    pub(crate) fn spin(&self, bound: Duration, ready: impl FnMut() -> bool) -> bool {
        self.may_spin() && self.spin_until(self.wait.spin.min(bound), None, ready)
    }

    /// On a single core, a spinner only keeps the other side from running.
    fn may_spin(&self) -> bool {
        self.several_cores && !self.wait.spin.is_zero()
    }

    /// Third part: one bounded pause, which sleeps if the endpoint sleeps. Returns true if ready.
    /// Otherwise the bound has passed or the sleep was interrupted, and the caller checks again.
    pub(crate) fn park(
        &self,
        event_count: &EventCount,
        bound: Duration,
        mut ready: impl FnMut() -> bool,
    ) -> bool {
        if self.only_spins() {
            return self.spin_until(bound, None, ready);
        }
        let (seen, can_be_woken) = self.register(event_count);
        if ready() {
            return true;
        }
        let bound = if can_be_woken { bound } else { bound.min(UNSEEN) };
        crate::failpoint::failpoint(crate::failpoint::Failpoint::ParkSleep);
        self.sleep(event_count, seen, bound);
        ready()
    }

    /// As [`park`](Self::park) but without a barrier, for an event count that [`notify_once`]
    /// notifies. `ready` looks by a load that is sequentially consistent.
    #[cfg(not(loom))]
    pub(crate) fn park_once(
        &self,
        event_count: &EventCount,
        bound: Duration,
        mut ready: impl FnMut() -> bool,
    ) -> bool {
        if self.only_spins() {
            return self.spin_until(bound, None, ready);
        }
        let seen = count_waiter(event_count);
        if ready() {
            return true;
        }
        self.sleep(event_count, seen, bound);
        ready()
    }

    /// As [`park`](Self::park), for a wait that began at `since` and that a process on the same
    /// core may have to end. An endpoint that only spins also sleeps, a millisecond after that. A
    /// spinner that yields is not enough: of two publishers at a full ring, on one core, the
    /// scheduler let the same one run behind each reader. The other one found the ring full for
    /// seconds.
    pub(crate) fn park_or_nap(
        &self,
        event_count: &EventCount,
        bound: Duration,
        since: Instant,
        ready: impl FnMut() -> bool,
    ) -> bool {
        if self.only_spins() {
            return self.spin_until(bound, Some(since), ready);
        }
        self.park(event_count, bound, ready)
    }

    /// Registers as a waiter, as [`register_waiter`]. Does nothing if the last registration is
    /// still valid: no notifier has answered it.
    fn register(&self, event_count: &EventCount) -> (u32, bool) {
        // Only the owner of the endpoint waits.
        let last = self.registered.load(Ordering::Relaxed);
        // As in `count_waiter`. A notifier changes the word before it counts a waiter as answered.
        let word = event_count.futex.load(Ordering::SeqCst);
        if last == REGISTERED | u64::from(word) {
            return (word, true);
        }
        let (seen, can_be_woken) = register_waiter(event_count);
        let valid = if can_be_woken { REGISTERED | u64::from(seen) } else { 0 };
        self.registered.store(valid, Ordering::Relaxed);
        (seen, can_be_woken)
    }

    fn spin_until(
        &self,
        bound: Duration,
        naps_since: Option<Instant>,
        mut ready: impl FnMut() -> bool,
    ) -> bool {
        let started = Instant::now();
        loop {
            for _ in 0..SPINS {
                if ready() {
                    return true;
                }
                spin_loop();
            }
            let spun = started.elapsed();
            if spun >= bound || self.is_stopped() {
                return false;
            }
            if naps_since.is_some_and(|since| since.elapsed() > BEFORE_NAP) {
                self.counted(|| std::thread::sleep(NAP));
            } else if !self.several_cores || spun > BEFORE_YIELD {
                std::thread::yield_now();
            }
        }
    }

    #[cfg(not(loom))]
    fn sleep(&self, event_count: &EventCount, seen: u32, bound: Duration) {
        if let (Sleep::Event(_), Some(stop)) = (&self.sleep, &self.stop)
            && stop.is_stopped()
        {
            // A stop does not set events.
            return;
        }
        self.counted(|| match (&self.sleep, &self.stop) {
            (Sleep::Futex, None) => futex::wait(&event_count.futex, seen, bound),
            (Sleep::Futex, Some(stop)) => {
                if !futex::wait_any(&[(&event_count.futex, seen), (stop.word(), 0)], bound) {
                    futex::wait(&event_count.futex, seen, bound.min(UNSTOPPED));
                }
            }
            (Sleep::Event(event), _) => event.wait(bound),
        });
    }

    /// Counts a sleep, and measures it. The clock is read for a sleep only.
    #[cfg(not(loom))]
    fn counted(&self, sleep: impl FnOnce()) {
        let Some(counts) = &self.counts else { return sleep() };
        let began = Instant::now();
        sleep();
        counts.add_park(u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX));
    }

    #[cfg(loom)]
    fn counted(&self, sleep: impl FnOnce()) {
        sleep();
    }

    #[cfg(loom)]
    fn sleep(&self, _: &EventCount, _: u32, _: Duration) {}
}

/// Registers a waiter. Returns the value of the futex word, and true if every notifier will see the
/// waiter. The caller must check again before it sleeps.
pub(crate) fn register_waiter(event_count: &EventCount) -> (u32, bool) {
    let seen = count_waiter(event_count);
    (seen, heavy_barrier())
}

/// The registrations of one waiter with several event counts.
#[derive(Debug, Default)]
pub(crate) struct Registrations {
    /// The futex words at the last registration, in the order of the event counts. Empty if
    /// notifiers may not see the waiter.
    words: Vec<u32>,
}

impl Registrations {
    /// Registers with each event count, behind one barrier. Does nothing if all registrations are
    /// still valid. The event counts are the same in each call. Returns the futex words with their
    /// values, and true if every notifier will see the waiter. The caller must check everything
    /// again before it sleeps.
    pub(crate) fn renew<'b>(
        &mut self,
        event_counts: impl IntoIterator<Item = &'b EventCount> + Clone,
    ) -> (Vec<(&'b AtomicU32, u32)>, bool) {
        let words = || event_counts.clone().into_iter().map(|event_count| &event_count.futex);
        // As in `Waiter::register`.
        let are_valid = !self.words.is_empty()
            && words().map(|word| word.load(Ordering::SeqCst)).eq(self.words.iter().copied());
        let mut is_sure = true;
        if !are_valid {
            self.words = event_counts.clone().into_iter().map(count_waiter).collect();
            // Behind the last registration, so behind each.
            is_sure = heavy_barrier();
        }
        let list = words().zip(self.words.iter().copied()).collect();
        if !is_sure {
            self.words.clear();
        }
        (list, is_sure)
    }
}

/// Counts a waiter. Returns the value of the futex word before. A heavy barrier must follow.
fn count_waiter(event_count: &EventCount) -> u32 {
    // Before the waiter is counted: a notifier that sees the waiter changes the word afterwards.
    // Both operations are in one order with the addition in `Notifier::wake`.
    let seen = event_count.futex.load(Ordering::SeqCst);
    // Pairs, with the barrier that follows, with the light barrier in `Notifier::may_have_waiters`.
    event_count.waiters.fetch_add(1, Ordering::SeqCst);
    seen
}

#[cfg(not(loom))]
use crate::sys::machine::cores;

#[cfg(loom)]
fn cores() -> usize {
    2
}

#[cfg(not(loom))]
fn heavy_barrier() -> bool {
    futex::heavy_barrier()
}

#[cfg(loom)]
fn heavy_barrier() -> bool {
    fence(Ordering::SeqCst);
    true
}

#[cfg(all(test, not(loom)))]
mod tests;
