//! The threads of the reactor.
//!
//! A thread looks only at the endpoints whose words changed, whose time has come, or that ask for
//! it. An endpoint asks if the thread has to look at it sooner than the thread plans to. If the
//! endpoint is told before that time, the plan stays. So an endpoint that is armed again need not
//! ask.
//!
//! A thread uses io_uring, if the kernel lets it, and then serves about a thousand endpoints.
//! Otherwise it uses `futex_waitv`, for up to 126 words ([`Sleeper`]). It starts with the first
//! registration and ends with the last. A forked child has none of them and starts its own.

use super::notify::Signal;
use super::pace::{LONGEST, nanos};
use super::sleeper::{Id, Sleeper, Wanted, Word};
use crate::segment::kept::KeptEventCount;
use crate::sync::{AtomicU32, Ordering};
use crate::sys::futex;
use crate::sys::machine::monotonic;
use crate::sys::owned::PerProcess;
use crate::sys::stop::Stop;
use crate::sys::thread::spawn_without_signals;
use crate::sys::uring::{DisabledUring, MOST_QUEUED};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Words that one thread waits for if the kernel gives it no io_uring. A place is left for a stop
/// that is set later.
const MOST_WORDS: usize = 126;

/// The words and the time that one thread watches for one endpoint.
#[derive(Debug)]
pub(super) struct LaneEntry {
    pub(super) signal: Arc<Signal>,
    /// Each word, and the value that the thread saw last.
    pub(super) words: Vec<(KeptEventCount, u32)>,
    stop: Option<Stop>,
    /// See [`Listener::new`]. The thread sleeps on its words only while it is armed: a notifier
    /// that finds no sleeper stops calling the kernel.
    passes_on: bool,
    /// The time in [`Timers`].
    timer: Option<u64>,
}

/// When the thread looks at endpoints by the clock.
type Timers = BTreeSet<(u64, Id)>;

impl LaneEntry {
    pub(super) fn new(
        signal: Arc<Signal>,
        words: &[KeptEventCount],
        stop: Option<Stop>,
        passes_on: bool,
    ) -> Self {
        // In one order with the additions of notifiers: a later one differs.
        let words = words.iter().map(|it| (it.clone(), it.futex.load(Ordering::SeqCst))).collect();
        Self { signal, words, stop, passes_on, timer: None }
    }

    /// Looks at the words and at the clock, and adds to the round what follows from them.
    fn look(&mut self, id: Id, now: u64, timers: &mut Timers, round: &mut Round) {
        // In one order with the stores and the load in `Listener::arm`.
        self.signal.looks_at.store(u64::MAX, Ordering::SeqCst);
        let stop = self.stop.as_ref();
        let mut is_changed = Stop::was_called(stop);
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
        let check_at = self.signal.check_at.load(Ordering::SeqCst);
        let fires = is_armed && (is_changed || check_at <= now);
        if fires {
            round.fired.push(Arc::clone(&self.signal));
        }
        let sleeps_on_words = !self.passes_on || is_armed && !fires;
        let words = self.words.iter().filter(|_| sleeps_on_words).map(|(word, known)| Wanted {
            word: Word::EventCount(word.clone()),
            value: *known,
            passes_on: self.passes_on,
        });
        let stop = stop.filter(|stop| !stop.is_stopped()).map(|stop| Wanted {
            word: Word::Stop(stop.clone()),
            value: 0,
            passes_on: false,
        });
        round.wanted.push((id, words.chain(stop).collect()));
        let timer = if is_armed && !fires { Some(check_at) } else { self.timer };
        let timer = timer.filter(|at| *at > now);
        if let Some(before) = self.timer {
            timers.remove(&(before, id));
        }
        timers.extend(timer.map(|at| (at, id)));
        self.timer = timer;
        self.signal.looks_at.store(timer.unwrap_or(u64::MAX), Ordering::SeqCst);
    }

    /// Words that may be queued in an io_uring for it: its own, and a stop.
    fn places(&self) -> usize {
        self.words.len() + 1
    }
}

/// Words to wait for without an io_uring: those of all endpoints, and each stop once.
fn count<'w>(all: impl Iterator<Item = &'w LaneEntry>) -> usize {
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

/// A thread of the reactor, as its endpoints see it.
#[derive(Debug, Default)]
pub(super) struct Lane {
    /// Changed to interrupt the sleep of the thread.
    control: AtomicU32,
    shared: Mutex<LaneShared>,
}

/// The state that the thread of a lane shares with its endpoints.
#[derive(Debug, Default)]
pub(super) struct LaneShared {
    pub(super) watched: BTreeMap<Id, LaneEntry>,
    next_id: Id,
    /// Endpoints that the thread has to look at; some may be gone.
    asked: Vec<Id>,
    /// See [`LaneEntry::places`].
    places: usize,
    pub(super) uring: LaneUring,
}

/// The io_uring of a lane.
#[derive(Debug, Default)]
pub(super) enum LaneUring {
    /// The kernel refused it.
    #[default]
    None,
    /// For the thread, which has not taken it yet.
    Made(DisabledUring),
    Used,
}

impl LaneUring {
    /// Makes an io_uring, if the kernel allows it.
    ///
    /// A short-lived thread makes it and ends. When an io_uring is destroyed, the kernel interrupts
    /// the system calls of the thread that made it. Otherwise that would be a thread of the
    /// program, whose `epoll_wait` fails with `EINTR`.
    fn make() -> io::Result<Self> {
        let made = Arc::new(Mutex::new(Self::None));
        let own = Arc::clone(&made);
        let make = move || {
            if let Ok(uring) = DisabledUring::new() {
                *own.lock().unwrap_or_else(PoisonError::into_inner) = Self::Made(uring);
            }
        };
        // After a panic there is none.
        let _ = spawn_without_signals("packetring-wait", make)?.join();
        let mut made = made.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(std::mem::take(&mut made))
    }
}

/// The actions that follow from a look.
#[derive(Default)]
struct Round {
    /// The words to sleep on for these endpoints.
    wanted: Vec<(Id, Vec<Wanted>)>,
    fired: Vec<Arc<Signal>>,
    /// Words whose wake-up may be meant for another sleeper.
    passed_on: Vec<KeptEventCount>,
    uring: Option<DisabledUring>,
    /// Nothing is left to watch.
    is_last: bool,
}

impl LaneShared {
    /// Returns true if the thread can serve this endpoint, too.
    fn has_room(&self, new: &LaneEntry) -> bool {
        match self.uring {
            LaneUring::None => {
                count(self.watched.values().chain(std::iter::once(new))) <= MOST_WORDS
            }
            _ => self.places + new.places() < MOST_QUEUED,
        }
    }

    fn add(&mut self, new: LaneEntry) -> Id {
        let id = self.next_id;
        self.next_id += 1;
        self.places += new.places();
        self.watched.insert(id, new);
        id
    }
}

impl Lane {
    fn with(uring: LaneUring) -> Self {
        let shared = LaneShared { uring, ..LaneShared::default() };
        Self { control: AtomicU32::new(0), shared: Mutex::new(shared) }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, LaneShared> {
        // No code of the user runs under the lock.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the thread look at an endpoint.
    pub(super) fn ask(&self, id: Id) {
        self.lock().asked.push(id);
        self.control.fetch_add(1, Ordering::SeqCst);
        futex::wake_all(&self.control);
    }

    /// Sets what ends the waits of an endpoint.
    pub(super) fn set_stop(&self, id: Id, stop: &Stop) {
        if let Some(one) = self.lock().watched.get_mut(&id) {
            one.stop = Some(stop.clone());
        }
        self.ask(id);
    }

    pub(super) fn forget(&self, id: Id) {
        let mut shared = self.lock();
        let removed = shared.watched.remove(&id);
        shared.places -= removed.as_ref().map_or(0, LaneEntry::places);
        drop(shared);
        // Without the lock: it may unmap memory.
        drop(removed);
        self.ask(id);
    }

    /// Looks at these endpoints, at the endpoints that asked, and at those whose time has come.
    fn look(&self, mut ids: Vec<Id>, timers: &mut Timers) -> Round {
        let (now, mut round) = (monotonic(), Round::default());
        let mut shared = self.lock();
        ids.append(&mut shared.asked);
        while let Some((_, id)) = timers.first().filter(|(at, _)| *at <= now) {
            ids.push(*id);
            timers.pop_first();
        }
        ids.sort_unstable();
        ids.dedup();
        for id in ids {
            match shared.watched.get_mut(&id) {
                Some(one) => one.look(id, now, timers, &mut round),
                None => round.wanted.push((id, Vec::new())),
            }
        }
        if let LaneUring::Made(_) = shared.uring
            && let LaneUring::Made(uring) = std::mem::replace(&mut shared.uring, LaneUring::Used)
        {
            round.uring = Some(uring);
        }
        round.is_last = shared.watched.is_empty();
        round
    }

    fn run(&self, lanes: &Lanes) {
        let (mut sleeper, mut timers, mut ids) = (Sleeper::default(), Timers::new(), Vec::new());
        loop {
            let control = self.control.load(Ordering::SeqCst);
            let round = self.look(ids, &mut timers);
            let had_uring = round.uring.is_some() || sleeper.has_uring();
            round.uring.into_iter().for_each(|uring| sleeper.use_uring(uring));
            for (id, wanted) in round.wanted {
                sleeper.set(id, wanted);
            }
            for word in &round.passed_on {
                futex::wake_all(&word.futex);
            }
            for signal in &round.fired {
                // A waker that panics must not end the thread that serves other endpoints.
                let _ = catch_unwind(AssertUnwindSafe(|| signal.fire()));
            }
            if round.is_last {
                sleeper.end();
                if lanes.end(self) {
                    return;
                }
            }
            let until = timers.first().map_or(u64::MAX, |(at, _)| *at);
            let longest = monotonic().saturating_add(nanos(LONGEST));
            ids = sleeper.sleep((&self.control, control), until.min(longest));
            if had_uring && !sleeper.has_uring() {
                self.lock().uring = LaneUring::None;
            }
        }
    }
}

/// All threads of the reactor in one process.
#[derive(Default)]
pub(super) struct Lanes(Mutex<Vec<Arc<Lane>>>);

pub(super) static LANES: PerProcess<Lanes> = PerProcess::new();

impl Lanes {
    pub(super) fn lock(&self) -> MutexGuard<'_, Vec<Arc<Lane>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an endpoint to a thread with room for its words, or to a new one.
    pub(super) fn watch(&'static self, watched: LaneEntry) -> io::Result<(Arc<Lane>, Id)> {
        let mut all = self.lock();
        if let Some(lane) = all.iter().find(|lane| lane.lock().has_room(&watched)) {
            let id = lane.lock().add(watched);
            lane.ask(id);
            return Ok((Arc::clone(lane), id));
        }
        let (lane, id) = self.start(LaneUring::make()?, watched)?;
        all.push(Arc::clone(&lane));
        Ok((lane, id))
    }

    /// Starts a thread.
    pub(super) fn start(
        &'static self,
        uring: LaneUring,
        watched: LaneEntry,
    ) -> io::Result<(Arc<Lane>, Id)> {
        let lane = Arc::new(Lane::with(uring));
        let id = lane.lock().add(watched);
        lane.ask(id);
        let own = Arc::clone(&lane);
        spawn_without_signals("packetring-wait", move || own.run(self))?;
        Ok((lane, id))
    }

    /// Removes a lane whose thread has nothing to watch. Returns false if it got something
    /// meanwhile.
    fn end(&self, lane: &Lane) -> bool {
        let mut all = self.lock();
        if !lane.lock().watched.is_empty() {
            return false;
        }
        all.retain(|other| !std::ptr::eq(&raw const **other, lane));
        true
    }
}
