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
//! A notifier of a queue wakes as many sleepers as there are packets. The thread may be that
//! sleeper while its endpoint has no use for the packet. So it passes each such wake-up on to all
//! sleepers of the word, and sleeps on the word only while the endpoint is armed.
//!
//! One thread serves up to 126 words; the kernel's call takes 128, and one is the lane's own. It
//! starts with the first registration and ends with the last. A forked child has none of them and
//! starts its own.

use super::event_count::Registrations;
use super::notify::Signal;
use super::pace::{LONGEST, Pace, Subject, nanos};
use crate::segment::view::KeptEventCount;
use crate::sync::{AtomicU32, AtomicU64, Ordering};
use crate::sys::futex;
use crate::sys::machine::monotonic;
use crate::sys::owned::PerProcess;
use crate::sys::stop::Stop;
use crate::sys::thread::spawn_without_signals;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Words that one thread waits for, besides its own. One is left for a stop that is set later. With
/// more of those it looks every millisecond.
const MOST_WORDS: usize = 126;
/// Sleep between two checks if the kernel cannot wait for all words at once.
const POLL: Duration = Duration::from_millis(1);

/// An endpoint's registration with the reactor. Dropping it ends the registration.
#[derive(Debug)]
pub(crate) struct Listener {
    signal: Arc<Signal>,
    words: Vec<KeptEventCount>,
    registrations: Registrations,
    pace: Pace,
    lane: Arc<Lane>,
    passes_on: bool,
    process: u32,
}

impl Listener {
    /// Registers an endpoint that sleeps on these event counts.
    ///
    /// `passes_on`: notifiers wake as many sleepers as there are packets. The reactor then passes
    /// each wake-up on to all sleepers of the word, because it may be meant for another one.
    pub(crate) fn new(
        words: Vec<KeptEventCount>,
        stop: Option<&Stop>,
        passes_on: bool,
    ) -> io::Result<Self> {
        let signal = Arc::new(Signal::default());
        let watched = Watched {
            signal: Arc::clone(&signal),
            // In one order with the additions of notifiers: a later one differs.
            words: words.iter().map(|it| (it.clone(), it.futex.load(Ordering::SeqCst))).collect(),
            stop: stop.cloned(),
            passes_on,
        };
        let lane = LANES.get().watch(watched)?;
        let (registrations, pace) = (Registrations::default(), Pace::new());
        let process = std::process::id();
        Ok(Self { signal, words, registrations, pace, lane, passes_on, process })
    }

    /// Returns false in a forked child: it is the parent's.
    pub(crate) fn is_own(&self) -> bool {
        self.process == std::process::id()
    }

    /// See [`Pace::may_share_checks`].
    pub(crate) fn may_share_checks(&self) -> bool {
        self.pace.may_share_checks()
    }

    /// What it shares with the reactor.
    pub(crate) fn signal(&self) -> &Arc<Signal> {
        &self.signal
    }

    /// Sets what ends the waits of the endpoint.
    pub(crate) fn set_stop(&self, stop: &Stop) {
        if !self.is_own() {
            return;
        }
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
        let soon = || monotonic().saturating_add(nanos(POLL));
        let check_at = if is_sure { check_at } else { soon().min(check_at) };
        self.signal.check_at.store(check_at, Ordering::SeqCst);
        // In one order with the stores in `Lane::run`: it sees the time, or this sees that it looks
        // for the next time, or finds its time too late.
        if self.passes_on || check_at < self.lane.wakes_at.load(Ordering::SeqCst) {
            self.lane.interrupt();
        }
        true
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // In a forked child the lane is the parent's, and its lock may be held for ever.
        if self.is_own() {
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
    /// See [`Listener::new`]. The thread sleeps on its words only while it is armed: a notifier
    /// that finds no sleeper stops calling the kernel.
    passes_on: bool,
}

impl Watched {
    /// Looks at the words and at the clock, and adds to the round what follows from them.
    fn look(&mut self, now: u64, round: &mut Round) {
        let mut is_changed = Stop::was_called(self.stop.as_ref());
        for (word, known) in &mut self.words {
            let value = word.futex.load(Ordering::SeqCst);
            if value != *known {
                is_changed = true;
                *known = value;
                if self.passes_on {
                    round.passed_on.push(word.clone());
                }
            }
        }
        let is_armed = self.signal.armed.load(Ordering::SeqCst) != 0;
        if is_armed {
            let check_at = self.signal.check_at.load(Ordering::SeqCst);
            round.until = round.until.min(check_at);
            if is_changed || check_at <= now {
                round.fired.push(Arc::clone(&self.signal));
            }
        }
        if is_armed || !self.passes_on {
            round.words.extend(self.words.iter().cloned());
        }
        if let Some(stop) = self.stop.as_ref().filter(|stop| !stop.is_stopped())
            && !round.stops.iter().any(|other| other.is(stop))
        {
            round.stops.push(stop.clone());
        }
    }
}

/// Words to wait for: those of all endpoints, and each stop once.
fn count<'w>(all: impl Iterator<Item = &'w Watched>) -> usize {
    let (mut words, mut stops) = (0, Vec::<&Stop>::new());
    for one in all {
        words += one.words.len();
        if let Some(stop) = &one.stop
            && !stops.iter().any(|other| other.is(stop))
        {
            stops.push(stop);
        }
    }
    words + stops.len()
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
    /// Words whose wake-up may be meant for another sleeper.
    passed_on: Vec<KeptEventCount>,
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
        watched.iter_mut().for_each(|one| one.look(now, &mut round));
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
            round.passed_on.iter().for_each(|word| futex::wake_all(&word.futex));
            let has_fired = !round.fired.is_empty();
            for signal in &round.fired {
                // A waker that panics must not end the thread that serves other endpoints.
                let _ = catch_unwind(AssertUnwindSafe(|| signal.fire()));
            }
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
        let has_room =
            |lane: &Lane| count(lane.lock().iter().chain(std::iter::once(&watched))) <= MOST_WORDS;
        if let Some(lane) = all.iter().find(|lane| has_room(lane)) {
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
