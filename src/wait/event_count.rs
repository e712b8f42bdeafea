//! The sleeper's side of a bell.

use super::Wait;
use crate::segment::layout::EventCount;
#[cfg(loom)]
use crate::sync::fence;
use crate::sync::{AtomicU32, Ordering, spin_loop};
#[cfg(not(loom))]
use crate::sys::{barrier, event::Event, futex};
use std::time::{Duration, Instant};

/// Looks before the clock is read for the first time, about a microsecond. Without a pause between
/// them: what is waited for is most often a cache line on its way.
const GLANCES: u32 = 1000;
/// Looks at the clock once in so many spins.
const SPINS: u32 = 64;
/// Longest sleep when no barrier can be had: nobody is sure to wake the sleeper.
const BLIND: Duration = Duration::from_millis(1);
/// With another core to work on, spins for this long before it lets others have this one.
const UNDISTURBED: Duration = Duration::from_micros(20);

/// What an endpoint sleeps on.
#[derive(Debug)]
pub(crate) enum Sleep {
    /// The bell's futex word.
    Futex,
    /// An event of its own, which wakers set.
    #[cfg(not(loom))]
    Event(Event),
}

#[cfg(not(loom))]
impl std::fmt::Debug for Event {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Event")
    }
}

/// How one endpoint waits.
#[derive(Debug)]
pub(crate) struct Waiter {
    wait: Wait,
    sleep: Sleep,
    /// Another core can make ready what is waited for while this one spins.
    has_company: bool,
}

impl Waiter {
    /// A waiter that sleeps on `sleep` if it sleeps.
    pub(crate) fn new(wait: Wait, sleep: Sleep) -> Self {
        Self { wait, sleep, has_company: cores() > 1 }
    }

    /// Chooses how to wait from now on.
    pub(crate) fn set(&mut self, wait: Wait) {
        self.wait = wait;
    }

    /// How it waits.
    pub(crate) fn wait(&self) -> Wait {
        self.wait
    }

    /// Whether it never sleeps.
    pub(crate) fn only_spins(&self) -> bool {
        self.wait.only_spins()
    }

    /// Whether it sleeps on its bell's word.
    pub(crate) fn sleeps_on_futex(&self) -> bool {
        matches!(self.sleep, Sleep::Futex)
    }

    /// The first part of a wait: a few looks without the clock. `true`: ready.
    #[inline]
    pub(crate) fn spin_briefly(&self, mut ready: impl FnMut() -> bool) -> bool {
        self.may_spin() && (0..GLANCES).any(|_| ready())
    }

    /// The second part: spins as long as the endpoint's budget and `bound` allow. `true`: ready.
    pub(crate) fn spin(&self, bound: Duration, ready: impl FnMut() -> bool) -> bool {
        self.may_spin() && spin_until(self.wait.spin.min(bound), self.has_company, ready)
    }

    /// Alone on its core, spinning only keeps the other side from running.
    fn may_spin(&self) -> bool {
        self.has_company && !self.wait.spin.is_zero()
    }

    /// One bounded pause, sleeping if the endpoint sleeps. `true`: ready. `false`: the bound has
    /// passed, or the sleep was cut short; the caller looks again.
    pub(crate) fn park(
        &self,
        event_count: &EventCount,
        bound: Duration,
        mut ready: impl FnMut() -> bool,
    ) -> bool {
        if self.only_spins() {
            return spin_until(bound, self.has_company, ready);
        }
        let (seen, can_be_woken) = register_waiter(event_count);
        if ready() {
            return true;
        }
        let bound = if can_be_woken { bound } else { bound.min(BLIND) };
        crate::failpoint::failpoint(crate::failpoint::Failpoint::ParkSleep);
        self.sleep(event_count, seen, bound);
        ready()
    }

    #[cfg(not(loom))]
    fn sleep(&self, event_count: &EventCount, seen: u32, bound: Duration) {
        match &self.sleep {
            Sleep::Futex => futex::wait(&event_count.futex, seen, bound),
            Sleep::Event(event) => event.wait(bound),
        }
    }

    #[cfg(loom)]
    fn sleep(&self, _: &EventCount, _: u32, _: Duration) {}
}

/// Announces a sleeper. Returns the word to sleep on, and whether wakers are sure to see it: the
/// caller must look again before it sleeps.
pub(crate) fn register_waiter(event_count: &EventCount) -> (u32, bool) {
    let seen = put_up(event_count);
    (seen, heavy_barrier())
}

/// Announces one sleeper on several bells, with one barrier for all of them. Returns the words to
/// sleep on, each with what it holds, and whether wakers are sure to see it: the caller must look
/// at everything again before it sleeps.
pub(crate) fn register_waiter_on_all<'b>(
    event_counts: impl IntoIterator<Item = &'b EventCount>,
) -> (Vec<(&'b AtomicU32, u32)>, bool) {
    let words = event_counts
        .into_iter()
        .map(|event_count| (&event_count.futex, put_up(event_count)))
        .collect();
    // Behind the last announcement, so behind each.
    (words, heavy_barrier())
}

/// An announcement, and the word as it was before. A heavy barrier must follow.
fn put_up(event_count: &EventCount) -> u32 {
    // Before the announcement: a waker that sees it changes the word afterwards.
    let seen = event_count.futex.load(Ordering::SeqCst);
    event_count.waiters.fetch_add(1, Ordering::SeqCst);
    // Pairs, with the barrier that follows, with the light barrier in `Notifier::may_have_waiters`.
    seen
}

#[cfg(not(loom))]
use crate::sys::cores::online as cores;

#[cfg(loom)]
fn cores() -> usize {
    2
}

#[cfg(not(loom))]
fn heavy_barrier() -> bool {
    barrier::heavy()
}

#[cfg(loom)]
fn heavy_barrier() -> bool {
    fence(Ordering::SeqCst);
    true
}

fn spin_until(bound: Duration, has_company: bool, mut ready: impl FnMut() -> bool) -> bool {
    let started = Instant::now();
    loop {
        for _ in 0..SPINS {
            if ready() {
                return true;
            }
            spin_loop();
        }
        let spun = started.elapsed();
        if spun >= bound {
            return false;
        }
        if !has_company || spun > UNDISTURBED {
            std::thread::yield_now();
        }
    }
}
