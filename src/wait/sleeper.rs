//! How a thread of the reactor sleeps on the words of many endpoints.
//!
//! ```text
//!                 words      cost of a sleep
//!  futex_waitv    128        0.14 µs for each word
//!  io_uring       2048       0.3 µs for each word that was woken
//! ```
//!
//! Without an io_uring, each sleep names all words. With one, a word stays queued in the kernel
//! from [`Sleeper::set`] to its wake-up, so the thread handles only the words that changed.
//!
//! - A timer of an io_uring runs on when the thread is woken sooner. `futex_waitv` cancels the
//!   processor's timer at each wake-up: 13 µs in a virtual machine, if the time is near.
//! - A sleep ends if a word differs from the value that is set, or is woken.
//! - A wait that is queued takes wake-ups. A word that no endpoint wants any more is cancelled, and
//!   a wake-up that it took is passed on. The word keeps its memory until then.
//! - If the kernel refuses a call of the io_uring, the thread goes on without one. If it has too
//!   many words for that, or the kernel refuses `futex_waitv`, it looks at all words every
//!   millisecond.

use super::pace::LONGEST;
use crate::segment::kept::KeptEventCount;
use crate::sync::{AtomicU32, Ordering};
use crate::sys::futex;
use crate::sys::machine::monotonic;
use crate::sys::stop::Stop;
use crate::sys::uring::{DisabledUring, MOST_QUEUED, Uring, WaitEnd};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::Duration;

/// Sleep between two checks if the kernel cannot wait for all words at once.
pub(super) const POLL: Duration = Duration::from_millis(1);

/// Number of an endpoint in its thread.
pub(super) type Id = u64;

/// A word to sleep on.
#[derive(Clone, Debug)]
pub(super) enum Word {
    EventCount(KeptEventCount),
    Stop(Stop),
}

impl Word {
    fn futex(&self) -> &AtomicU32 {
        match self {
            Self::EventCount(event_count) => &event_count.futex,
            Self::Stop(stop) => stop.word(),
        }
    }

    fn is(&self, other: &Self) -> bool {
        std::ptr::eq(self.futex(), other.futex())
    }
}

/// A word with the value at which the thread sleeps on it.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) word: Word,
    pub(super) value: u32,
    /// A wake-up of it may be meant for another sleeper.
    pub(super) passes_on: bool,
}

impl Wanted {
    fn differs(&self) -> bool {
        // In one order with the additions of notifiers.
        self.word.futex().load(Ordering::SeqCst) != self.value
    }
}

/// The words that a thread sleeps on.
#[derive(Debug, Default)]
pub(super) struct Sleeper {
    wanted: BTreeMap<Id, Vec<Wanted>>,
    uring: Option<UringWords>,
}

impl Sleeper {
    /// Sleeps by this io_uring from now on, unless the kernel refuses it.
    pub(super) fn use_uring(&mut self, uring: DisabledUring) {
        let made = uring.enable().and_then(|uring| {
            let mut uring = UringWords::new(uring);
            self.wanted.iter().try_for_each(|(id, wanted)| uring.set(*id, wanted))?;
            Ok(uring)
        });
        self.uring = made.ok();
    }

    /// Returns false if the kernel refused an io_uring, or none was given.
    pub(super) fn has_uring(&self) -> bool {
        self.uring.is_some()
    }

    /// Replaces the words of an endpoint.
    pub(super) fn set(&mut self, id: Id, wanted: Vec<Wanted>) {
        if self.uring.as_mut().is_some_and(|uring| uring.set(id, &wanted).is_err()) {
            self.uring = None;
        }
        if wanted.is_empty() {
            self.wanted.remove(&id);
        } else {
            self.wanted.insert(id, wanted);
        }
    }

    /// Sleeps until a word differs or is woken, or `control` does, or until this time of the
    /// monotonic clock. Returns the endpoints to look at.
    pub(super) fn sleep(&mut self, control: (&AtomicU32, u32), until: u64) -> Vec<Id> {
        let mut ids = match self.uring.as_mut().map(|uring| uring.sleep(control, until)) {
            Some(Ok(Reports { ids, has_time: false })) => return ids,
            // A notifier may have been killed before it woke the sleepers of its word.
            Some(Ok(Reports { ids, has_time: true })) => ids,
            Some(Err(_)) => {
                self.uring = None;
                Vec::new()
            }
            None => {
                self.sleep_on_all(control, until);
                Vec::new()
            }
        };
        let differs =
            |(id, wanted): (&Id, &Vec<Wanted>)| wanted.iter().any(Wanted::differs).then_some(*id);
        ids.extend(self.wanted.iter().filter_map(differs));
        ids
    }

    fn sleep_on_all(&self, control: (&AtomicU32, u32), until: u64) {
        let bound = Duration::from_nanos(until.saturating_sub(monotonic()));
        let mut all = vec![control];
        let mut stops = Vec::<&Word>::new();
        for wanted in self.wanted.values().flatten() {
            // Many endpoints may have one stop.
            if let Word::Stop(_) = &wanted.word {
                if stops.iter().any(|stop| stop.is(&wanted.word)) {
                    continue;
                }
                stops.push(&wanted.word);
            }
            all.push((wanted.word.futex(), wanted.value));
        }
        if !futex::wait_any(&all, bound) {
            std::thread::sleep(bound.min(POLL));
        }
    }

    /// Ends all waits. After that, the kernel has none.
    pub(super) fn end(&mut self) {
        if self.uring.as_mut().is_some_and(|uring| uring.end().is_err()) {
            self.uring = None;
        }
        self.wanted.clear();
    }
}

/// The token of the word that interrupts the thread.
const CONTROL: u64 = 0;
/// The token of a timer: this, and its time.
const TIMER: u64 = 1 << 63;

/// An io_uring, and the words that are queued in it.
#[derive(Debug)]
struct UringWords {
    uring: Uring,
    /// By their tokens, until the io_uring reports them.
    queued: BTreeMap<u64, Queued>,
    /// The tokens of each endpoint. Tokens that are not queued any more were reported.
    tokens: BTreeMap<Id, Vec<u64>>,
    last_token: u64,
    has_control: bool,
    /// The times of the timers that run. They stay when the thread is woken sooner.
    timers: BTreeSet<u64>,
}

/// The reports of an io_uring.
struct Reports {
    /// Endpoints whose words were woken, or differed when they were queued.
    ids: Vec<Id>,
    /// A timer ended.
    has_time: bool,
}

#[derive(Debug)]
struct Queued {
    id: Id,
    wanted: Wanted,
    is_cancelled: bool,
}

impl UringWords {
    fn new(uring: Uring) -> Self {
        let (queued, tokens, timers) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
        Self { uring, queued, tokens, last_token: CONTROL, has_control: false, timers }
    }

    fn set(&mut self, id: Id, wanted: &[Wanted]) -> io::Result<()> {
        let mut before = self.tokens.remove(&id).unwrap_or_default();
        let mut after = Vec::new();
        for one in wanted {
            // A word that is queued at an earlier value is woken by the next change, too.
            let is_queued =
                |token| self.queued.get(token).is_some_and(|it| it.wanted.word.is(&one.word));
            after.push(match before.iter().position(is_queued) {
                Some(index) => before.swap_remove(index),
                None => self.queue(id, one)?,
            });
        }
        for token in before {
            if let Some(queued) = self.queued.get_mut(&token) {
                queued.is_cancelled = true;
                self.uring.cancel(token)?;
            }
        }
        if !after.is_empty() {
            self.tokens.insert(id, after);
        }
        Ok(())
    }

    fn queue(&mut self, id: Id, wanted: &Wanted) -> io::Result<u64> {
        self.last_token += 1;
        self.uring.wait_for(wanted.word.futex(), wanted.value, self.last_token)?;
        let queued = Queued { id, wanted: wanted.clone(), is_cancelled: false };
        self.queued.insert(self.last_token, queued);
        Ok(self.last_token)
    }

    fn sleep(&mut self, control: (&AtomicU32, u32), until: u64) -> io::Result<Reports> {
        if !self.has_control {
            self.uring.wait_for(control.0, control.1, CONTROL)?;
            self.has_control = true;
        }
        let until = until & !TIMER;
        if self.timers.first().is_none_or(|first| until < *first) {
            self.uring.wake_at(Duration::from_nanos(until), TIMER | until)?;
            self.timers.insert(until);
        }
        self.uring.sleep()?;
        self.take_reports()
    }

    fn take_reports(&mut self) -> io::Result<Reports> {
        let (mut ids, mut has_time) = (Vec::new(), false);
        while let Some((token, end)) = self.uring.next() {
            if end == WaitEnd::Refused {
                return Err(io::ErrorKind::Unsupported.into());
            }
            if token & TIMER != 0 {
                self.timers.remove(&(token & !TIMER));
                has_time = true;
                continue;
            }
            if token == CONTROL {
                self.has_control = false;
                continue;
            }
            let Some(queued) = self.queued.remove(&token) else { continue };
            if !queued.is_cancelled {
                ids.push(queued.id);
            } else if end == WaitEnd::Woken && queued.wanted.passes_on {
                futex::wake_all(queued.wanted.word.futex());
            }
        }
        Ok(Reports { ids, has_time })
    }

    fn end(&mut self) -> io::Result<()> {
        for (token, queued) in &mut self.queued {
            if !std::mem::replace(&mut queued.is_cancelled, true) {
                self.uring.cancel(*token)?;
            }
        }
        if self.has_control {
            self.uring.cancel(CONTROL)?;
        }
        self.tokens.clear();
        // Each sleep brings reports: timers end, and the kernel cancels at once.
        for _ in 0..MOST_QUEUED {
            if !self.has_control && self.queued.is_empty() {
                return Ok(());
            }
            self.uring.sleep_timeout(LONGEST)?;
            self.take_reports()?;
        }
        Err(io::ErrorKind::TimedOut.into())
    }
}

#[cfg(test)]
mod tests;
