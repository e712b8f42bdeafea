//! The reactor: a thread that sleeps on behalf of endpoints, and tells event loops when one may
//! have something.
//!
//! ```text
//!  endpoint                              reactor                      notifier
//!  ────────                              ───────                      ────────
//!  clear the descriptor                  known := futex               store
//!  armed := 1                            sleep while futex = known    waiters changed?
//!  register, barrier                     futex ≠ known:               futex += 1, wake
//!  check again: ready? fire                fire, if armed
//! ```
//!
//! - **fire**: if `armed` was 1, it becomes 0, the descriptor becomes readable, and the waker is
//!   called.
//! - The reactor keeps the value of each word that it saw last. It fires when a word differs, so it
//!   loses no change, whatever it did meanwhile. A word may change for another sleeper: a spurious
//!   wake-up.
//! - A notifier changes a word only after it saw a registration, and the endpoint is armed before
//!   it registers. So the change finds it armed. (`tests/crash_models/reactor.rs`)
//! - It fires by the clock, too, when the endpoint has to check which processes live: as often as a
//!   blocked thread would ([`Pace`]).
//!
//! One thread serves up to 127 words; the kernel's call takes 128, and one is the lane's own. It
//! starts with the first registration and ends with the last. A forked child has none of them and
//! starts its own.

use super::event_count::Registrations;
use super::pace::{LONGEST, Pace, Subject};
use crate::segment::view::KeptEventCount;
use crate::sync::{AtomicU32, AtomicU64, Ordering};
use crate::sys::machine::monotonic;
use crate::sys::stop::Stop;
use crate::sys::thread::{PerProcess, spawn_without_signals};
use crate::sys::{event::EventFd, futex};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Waker;
use std::time::Duration;

/// Words that one thread waits for, besides its own.
const MOST_WORDS: usize = 127;
/// Sleep between two checks if the kernel cannot wait for all words at once.
const POLL: Duration = Duration::from_millis(1);

/// What the reactor and an endpoint share.
#[derive(Debug, Default)]
pub(crate) struct Signal {
    /// 1: the endpoint found nothing and waits. 0: it was told since, or did not try yet.
    armed: AtomicU32,
    /// When it must check which processes live, if it is armed. Nanoseconds of the monotonic clock.
    check_at: AtomicU64,
    /// Readable when the endpoint may have something. Made when it is first asked for.
    descriptor: OnceLock<EventFd>,
    waker: Mutex<Option<Waker>>,
}

impl Signal {
    /// Makes the descriptor, if there is none. It is readable until the next arming.
    pub(crate) fn make_descriptor(&self) -> io::Result<()> {
        if self.descriptor.get().is_none() {
            // Another thread may be faster.
            let _ = self.descriptor.set(EventFd::new()?);
        }
        Ok(())
    }

    /// The descriptor, after [`make_descriptor`](Self::make_descriptor).
    #[expect(clippy::expect_used, reason = "a readiness is made with its descriptor")]
    pub(crate) fn made_descriptor(&self) -> BorrowedFd<'_> {
        self.descriptor.get().expect("a readiness without a descriptor").as_fd()
    }

    /// Sets whom the next [`fire`](Self::fire) wakes.
    pub(crate) fn set_waker(&self, waker: Option<&Waker>) {
        let mut own = self.waker.lock().unwrap_or_else(PoisonError::into_inner);
        match (&*own, waker) {
            (Some(before), Some(waker)) if before.will_wake(waker) => {}
            _ => *own = waker.cloned(),
        }
    }

    /// Tells the event loop, if the endpoint is armed.
    fn fire(&self) {
        // In one order with the store in `arm`.
        if self.armed.swap(0, Ordering::SeqCst) == 0 {
            return;
        }
        if let Some(descriptor) = self.descriptor.get() {
            descriptor.set();
        }
        let waker = self.waker.lock().unwrap_or_else(PoisonError::into_inner).take();
        // Without the lock: it runs code of the user.
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// An endpoint's registration with the reactor. Dropping it ends the registration.
#[derive(Debug)]
pub(crate) struct Listener {
    signal: Arc<Signal>,
    words: Vec<KeptEventCount>,
    registrations: Registrations,
    pace: Pace,
    lane: Arc<Lane>,
    process: u32,
}

impl Listener {
    /// Registers an endpoint that sleeps on these event counts.
    pub(crate) fn new(words: Vec<KeptEventCount>, stop: Option<&Stop>) -> io::Result<Self> {
        let signal = Arc::new(Signal::default());
        let watched = Watched {
            signal: Arc::clone(&signal),
            // In one order with the additions of notifiers: a later one differs.
            words: words.iter().map(|it| (it.clone(), it.futex.load(Ordering::SeqCst))).collect(),
            stop: stop.cloned(),
        };
        let lane = LANES.get().watch(watched)?;
        let (registrations, pace) = (Registrations::default(), Pace::new());
        Ok(Self { signal, words, registrations, pace, lane, process: std::process::id() })
    }

    /// What it shares with the reactor.
    pub(crate) fn signal(&self) -> &Arc<Signal> {
        &self.signal
    }

    /// Sets what ends the waits of the endpoint.
    pub(crate) fn set_stop(&self, stop: &Stop) {
        for one in self.lane.lock().iter_mut().filter(|one| Arc::ptr_eq(&one.signal, &self.signal))
        {
            one.stop = Some(stop.clone());
        }
        self.lane.interrupt();
    }

    /// Returns true if the endpoint must check which processes live, before it is armed.
    pub(crate) fn is_due(&mut self, subject: Subject) -> bool {
        self.pace.begin(subject);
        self.pace.is_due()
    }

    /// Arms the endpoint, which found nothing. From now on the reactor tells of anything that
    /// `is_ready` does not see. Returns false if it saw something: then it was told already.
    pub(crate) fn arm(&mut self, is_ready: impl FnOnce() -> bool) -> bool {
        if let Some(descriptor) = self.signal.descriptor.get() {
            descriptor.clear();
        }
        let check_at = self.pace.check_at();
        self.signal.check_at.store(check_at, Ordering::SeqCst);
        // Before the registration: see the head of this file.
        self.signal.armed.store(1, Ordering::SeqCst);
        let (_, is_sure) = self.registrations.renew(self.words.iter().map(|word| &**word));
        if is_ready() {
            self.signal.fire();
            return false;
        }
        let check_at = if is_sure { check_at } else { monotonic().min(check_at) };
        self.signal.check_at.store(check_at, Ordering::SeqCst);
        // In one order with the stores in `Lane::run`: it sees the time, or this sees that it looks
        // for the next time, or finds its time too late.
        if check_at < self.lane.wakes_at.load(Ordering::SeqCst) {
            self.lane.interrupt();
        }
        true
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // In a forked child the lane is the parent's, and its lock may be held for ever.
        if self.process == std::process::id() {
            self.lane.forget(&self.signal);
        }
    }
}

/// What one thread watches for one endpoint.
#[derive(Debug)]
struct Watched {
    signal: Arc<Signal>,
    /// Each word, and the value that the thread saw last.
    words: Vec<(KeptEventCount, u32)>,
    stop: Option<Stop>,
}

impl Watched {
    fn count(&self) -> usize {
        self.words.len() + usize::from(self.stop.is_some())
    }

    /// Fires if a word has changed, or if the time has come. Returns when to look again.
    fn look(&mut self, now: u64) -> (bool, u64) {
        let mut is_changed = self.stop.as_ref().is_some_and(Stop::is_stopped);
        for (word, known) in &mut self.words {
            let value = word.futex.load(Ordering::SeqCst);
            is_changed |= value != *known;
            *known = value;
        }
        if self.signal.armed.load(Ordering::SeqCst) == 0 {
            return (false, u64::MAX);
        }
        let check_at = self.signal.check_at.load(Ordering::SeqCst);
        (is_changed || check_at <= now, check_at)
    }
}

/// One thread of the reactor.
#[derive(Debug, Default)]
struct Lane {
    /// Changed to interrupt the sleep of the thread.
    control: AtomicU32,
    /// When the thread wakes up by itself. Greater than any time while it looks.
    wakes_at: AtomicU64,
    watched: Mutex<Vec<Watched>>,
}

/// What a thread sleeps on next.
#[derive(Default)]
struct Round {
    words: Vec<(KeptEventCount, u32)>,
    stops: Vec<Stop>,
    fired: Vec<Arc<Signal>>,
    until: u64,
}

impl Lane {
    fn lock(&self) -> MutexGuard<'_, Vec<Watched>> {
        // No code of the user runs under the lock.
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the thread look again.
    fn interrupt(&self) {
        self.control.fetch_add(1, Ordering::SeqCst);
        futex::wake_all(&self.control);
    }

    fn forget(&self, signal: &Arc<Signal>) {
        // Dropped after the lock is released: it may unmap memory.
        let removed: Vec<_> =
            self.lock().extract_if(.., |one| Arc::ptr_eq(&one.signal, signal)).collect();
        if !removed.is_empty() {
            self.interrupt();
        }
    }

    /// Looks at everything, and returns what to sleep on. `None` if nothing is left to watch.
    fn look(&self) -> Option<Round> {
        let now = monotonic();
        let mut round = Round { until: now.saturating_add(nanos(LONGEST)), ..Round::default() };
        let mut watched = self.lock();
        if watched.is_empty() {
            return None;
        }
        for one in watched.iter_mut() {
            let (fires, check_at) = one.look(now);
            if fires {
                round.fired.push(Arc::clone(&one.signal));
            }
            round.until = round.until.min(check_at);
            round.words.extend(one.words.iter().cloned());
            if let Some(stop) = one.stop.as_ref().filter(|stop| !stop.is_stopped())
                && !round.stops.iter().any(|other| other.is(stop))
            {
                round.stops.push(stop.clone());
            }
        }
        Some(round)
    }

    fn run(&self, lanes: &Lanes) {
        loop {
            let control = self.control.load(Ordering::SeqCst);
            self.wakes_at.store(u64::MAX, Ordering::SeqCst);
            let Some(round) = self.look() else {
                if lanes.end(self) {
                    return;
                }
                continue;
            };
            let has_fired = !round.fired.is_empty();
            round.fired.iter().for_each(|signal| signal.fire());
            if has_fired {
                // A waker may have armed an endpoint again.
                continue;
            }
            self.wakes_at.store(round.until, Ordering::SeqCst);
            let bound = Duration::from_nanos(round.until.saturating_sub(monotonic()));
            let own = std::iter::once((&self.control, control));
            let words = round.words.iter().map(|(word, known)| (&word.futex, *known));
            let stops = round.stops.iter().map(|stop| (stop.word(), 0));
            let all: Vec<(&AtomicU32, u32)> = own.chain(words).chain(stops).collect();
            if !futex::wait_any(&all, bound) {
                std::thread::sleep(bound.min(POLL));
            }
        }
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// All threads of the reactor in one process.
#[derive(Default)]
struct Lanes(Mutex<Vec<Arc<Lane>>>);

static LANES: PerProcess<Lanes> = PerProcess::new();

impl Lanes {
    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Lane>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an endpoint to a thread with room for its words, or to a new one.
    fn watch(&'static self, watched: Watched) -> io::Result<Arc<Lane>> {
        let mut all = self.lock();
        let used = |lane: &Lane| lane.lock().iter().map(Watched::count).sum::<usize>();
        if let Some(lane) = all.iter().find(|lane| used(lane) + watched.count() <= MOST_WORDS) {
            lane.lock().push(watched);
            lane.interrupt();
            return Ok(Arc::clone(lane));
        }
        let lane = Arc::new(Lane::default());
        lane.lock().push(watched);
        let own = Arc::clone(&lane);
        spawn_without_signals("packetring-wait", move || own.run(self))?;
        all.push(Arc::clone(&lane));
        Ok(lane)
    }

    /// Removes a lane whose thread has nothing to watch. Returns false if it got something
    /// meanwhile.
    fn end(&self, lane: &Lane) -> bool {
        let mut all = self.lock();
        if !lane.lock().is_empty() {
            return false;
        }
        all.retain(|other| !std::ptr::eq(&raw const **other, lane));
        true
    }
}

#[cfg(test)]
mod tests;
