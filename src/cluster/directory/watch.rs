//! Being told of joins, leaves and deaths.
//!
//! A watcher keeps its copy of every desk's phase and tells the difference. Who changes a desk rings
//! the directory's bell; a death rings nothing, so a watcher asks the locks of those it takes for
//! alive after each bounded sleep, and clears the dead away.
//!
//! It guarantees: whoever is told of as joined is told of as left or died once, in this order. It is
//! no history: what came and went between two looks is told as its sum.

use super::{Directory, WorkerChange, WorkerInfo, WorkerState};
use crate::channel::{
    RecvError, RecvFailure, RecvTimeoutError, Selectable, Selectee, TryRecvError, Waitable,
    wake_both_sides,
};
use crate::error::{Form as _, OpenError};
use crate::segment::entry::{Ended, Entry, EntryId, SlotPhase, WorkerSlotState};
use crate::segment::layout::{EventCount, WorkerSlot};
use crate::segment::view::RingMemory;
use crate::segment::{Liveness, Segment};
use crate::wait::{Deadline, IDLE, Sleep, Timeout, Wait, Waiter};
use std::collections::VecDeque;
use std::time::Duration;

/// Tells of workers that join, leave and die.
///
/// It tells of what happens from its making on; who is there already is listed by
/// [`Worker::workers`](crate::Worker::workers). Its own worker is told of like any other. A death is noticed within some
/// 50 ms, and only while somebody asks.
///
/// ```
/// # let cluster = format!("watch-{}", std::process::id());
/// use packetring::Worker;
/// use packetring::cluster::WorkerChange;
///
/// let first = Worker::join(&cluster, "first")?;
/// let mut watch = first.watch()?;
/// let second = Worker::join(&cluster, "second")?;
/// assert!(matches!(watch.recv()?, WorkerChange::Joined(info) if info.name == "second"));
/// drop(second);
/// assert!(matches!(watch.recv()?, WorkerChange::Left(info) if info.name == "second"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Watch {
    cluster: String,
    copies: Vec<KnownSlot>,
    /// Noticed and not told yet.
    news: VecDeque<WorkerChange>,
    waiter: Waiter,
    /// When the locks are to be asked again by one who does not sleep.
    ask_at: Deadline,
    memory: RingMemory,
    segment: Segment,
}

/// What a watcher knows of a desk.
#[derive(Clone, Debug, PartialEq, Eq)]
struct KnownSlot {
    phase: SlotPhase,
    /// Who was told of as joined, and not as gone.
    alive: Option<Entry>,
}

impl Watch {
    /// Opens the directory of a worker's cluster, and starts from its present state.
    pub(in crate::cluster) fn open(
        directory: &Directory,
        cluster: &str,
    ) -> Result<Self, OpenError> {
        let segment = directory.attach()?;
        let count = segment.settings().worker_slots;
        let mut watch = Self {
            cluster: cluster.to_owned(),
            copies: vec![KnownSlot { phase: SlotPhase(0), alive: None }; count],
            news: VecDeque::new(),
            waiter: Waiter::new(Wait::park(), Sleep::Futex),
            ask_at: Deadline::after(IDLE),
            memory: segment.memory().clone(),
            segment,
        };
        watch.look(Depth::Locks);
        watch.news.clear();
        Ok(watch)
    }

    /// The next change, waiting for one.
    ///
    /// # Errors
    ///
    /// None at present.
    pub fn recv(&mut self) -> Result<WorkerChange, RecvError> {
        RecvError::retry(|| self.wait(Timeout::Never))
    }

    /// The next change, if there is one now.
    ///
    /// # Errors
    ///
    /// [`Empty`](TryRecvError::Empty).
    pub fn try_recv(&mut self) -> Result<WorkerChange, TryRecvError> {
        TryRecvError::retry(|| self.wait(Timeout::Zero))
    }

    /// The next change, waiting for so long at most.
    ///
    /// # Errors
    ///
    /// [`Timeout`](RecvTimeoutError::Timeout).
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<WorkerChange, RecvTimeoutError> {
        RecvTimeoutError::retry(|| self.wait(Timeout::After(timeout)))
    }

    fn wait(&mut self, timeout: Timeout) -> Result<WorkerChange, RecvFailure> {
        if let Some(change) = self.next() {
            return Ok(change);
        }
        if matches!(timeout, Timeout::Zero) {
            return Err(RecvFailure::NotReady(()));
        }
        let deadline = timeout.deadline();
        loop {
            if deadline.has_passed() {
                return Err(RecvFailure::NotReady(()));
            }
            self.waiter.park(self.event_count(), deadline.cut(IDLE), || self.is_changed());
            self.look(Depth::Locks);
            if let Some(change) = self.news.pop_front() {
                return Ok(change);
            }
        }
    }

    /// The next change that can be had without sleeping.
    fn next(&mut self) -> Option<WorkerChange> {
        if self.news.is_empty() {
            self.look_when_due();
        }
        self.news.pop_front()
    }

    /// Looks at what desks say, and now and then at the locks: who never sleeps is to be told of
    /// deaths, too.
    fn look_when_due(&mut self) {
        let is_due = self.ask_at.has_passed();
        self.look(if is_due { Depth::Locks } else { Depth::Phases });
    }

    /// Whether a desk changed since the last look.
    fn is_changed(&self) -> bool {
        self.segment.with_worker_slots(|worker_slots| {
            worker_slots
                .iter()
                .zip(&self.copies)
                .any(|(slot, copy)| SlotPhase::of(slot) != copy.phase)
        })
    }

    fn look(&mut self, depth: Depth) {
        let mut found_dead = false;
        for index in 0..self.copies.len() {
            let copy = &self.copies[index];
            let phase =
                self.segment.with_worker_slots(|worker_slots| SlotPhase::of(&worker_slots[index]));
            let asks = depth == Depth::Locks && copy.alive.is_some();
            if phase == copy.phase && !asks {
                continue;
            }
            let is_alive = || self.segment.is_alive(EntryId::WorkerSlot(index));
            let read = || {
                self.segment
                    .with_worker_slots(|worker_slots| WorkerSlot::read(&worker_slots[index]))
            };
            let Some((entry, is_alive)) = ask(phase, is_alive, read) else { continue };
            found_dead |= !is_alive && entry.phase.state() == WorkerSlotState::Taken;
            self.copies[index].follow(index, entry, is_alive, &mut self.news);
        }
        if depth == Depth::Locks {
            self.ask_at = Deadline::after(IDLE);
        }
        if found_dead {
            self.reap();
        }
    }

    /// Clears the dead away, unless somebody else holds the control lock.
    fn reap(&self) {
        let changed = {
            let Some(control) = self.segment.try_lock() else { return };
            super::reap(&control, &self.segment, &self.cluster, None)
        };
        if changed {
            wake_both_sides(&self.segment);
        }
    }
}

impl Waitable for Watch {
    fn has_next(&mut self) -> bool {
        if self.news.is_empty() {
            self.look_when_due();
        }
        !self.news.is_empty()
    }

    fn is_ready(&self) -> bool {
        !self.news.is_empty() || self.is_changed()
    }

    fn event_count(&self) -> &EventCount {
        &self.memory.head().readers.event_count
    }

    fn is_pending(&self) -> bool {
        false
    }

    fn reap_dead(&mut self) {
        self.look(Depth::Locks);
    }
}

impl Selectable for Watch {
    fn selectee(&mut self) -> Selectee<'_> {
        Selectee::new(self)
    }
}

/// Whether somebody lives at a desk of this phase, and what it says; `None`: it changed while it was
/// asked about, so that who was asked about need not be who sits there now. The next look sees.
fn ask(
    phase: SlotPhase,
    is_alive: impl FnOnce() -> bool,
    read: impl FnOnce() -> Entry,
) -> Option<(Entry, bool)> {
    let is_alive = phase.state() != WorkerSlotState::Free && is_alive();
    // After the lock: who leaves writes the phase before it lets the lock go.
    let entry = read();
    (entry.phase == phase).then_some((entry, is_alive))
}

/// How closely to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Depth {
    /// At what desks say of themselves.
    Phases,
    /// At the locks of the living, too.
    Locks,
}

impl KnownSlot {
    /// Tells the difference between what was known and what is, and knows it from here on.
    fn follow(
        &mut self,
        index: usize,
        entry: Entry,
        is_alive: bool,
        news: &mut VecDeque<WorkerChange>,
    ) {
        let (before, now) = (self.phase, entry.phase);
        let is_there = is_alive && now.state() != WorkerSlotState::Free && now.ended().is_none();
        let is_other = now.generation() != before.generation();
        if let Some(gone) = self.alive.take_if(|_| is_other || !is_there) {
            let how = match now.generation() - before.generation().min(now.generation()) {
                0 => now.ended(),
                1 => now.ended_before(),
                // It and others after it; how it went itself is not written any more.
                _ => None,
            };
            let state = match now.state() {
                WorkerSlotState::Kept => WorkerState::Away,
                WorkerSlotState::Free | WorkerSlotState::Taken => WorkerState::Gone,
            };
            news.push_back(gone_by(how, super::describe(index, gone, state)));
        }
        if is_there && is_other {
            let info = super::describe(index, entry.clone(), WorkerState::Alive);
            news.push_back(WorkerChange::Joined(info));
            self.alive = Some(entry);
        }
        self.phase = now;
    }
}

fn gone_by(how: Option<Ended>, info: WorkerInfo) -> WorkerChange {
    match how {
        Some(Ended::Left) => WorkerChange::Left(info),
        Some(Ended::Died) | None => WorkerChange::Died(info),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    /// What is told, as letters: joined, left, died.
    fn told(copy: &mut KnownSlot, phase: SlotPhase, is_alive: bool) -> String {
        let mut news = VecDeque::new();
        let entry = Entry { phase, name: "w".to_owned(), pid: 1, since: 0 };
        copy.follow(0, entry, is_alive, &mut news);
        let letter = |change: &WorkerChange| match change {
            WorkerChange::Joined(_) => 'J',
            WorkerChange::Left(_) => 'L',
            WorkerChange::Died(_) => 'D',
        };
        news.iter().map(letter).collect()
    }

    #[test]
    fn each_who_was_told_of_is_told_of_once_more() {
        let first = SlotPhase(0).next(WorkerSlotState::Taken);
        let left = first.with_end(Ended::Left).with_state(WorkerSlotState::Free);
        let mut copy = KnownSlot { phase: SlotPhase(0), alive: None };
        assert_eq!(told(&mut copy, first, true), "J");
        assert_eq!(told(&mut copy, first, true), "");
        assert_eq!(told(&mut copy, left, false), "L");
        assert_eq!(told(&mut copy, left, false), "");
        let second = left.next(WorkerSlotState::Taken);
        assert_eq!(told(&mut copy, second, true), "J");
        assert_eq!(told(&mut copy, second, false), "D", "its lock is free");
        let reaped = second.with_end(Ended::Died).with_state(WorkerSlotState::Free);
        assert_eq!(told(&mut copy, reaped, false), "");
    }

    #[test]
    fn what_happened_between_two_looks_is_told_as_its_sum() {
        let first = SlotPhase(0).next(WorkerSlotState::Kept);
        let died = || KnownSlot { phase: first, alive: Some(Entry::of(first)) };
        // Another one sits there.
        assert_eq!(told(&mut died(), first.next(WorkerSlotState::Kept), true), "DJ");
        assert_eq!(
            told(&mut died(), first.with_end(Ended::Left).next(WorkerSlotState::Kept), true),
            "LJ"
        );
        // Three generations on: how the first went is not known.
        let third =
            first.with_end(Ended::Left).next(WorkerSlotState::Kept).next(WorkerSlotState::Kept);
        assert_eq!(told(&mut died(), third, true), "DJ");
        // Came and went.
        let gone = first
            .next(WorkerSlotState::Taken)
            .with_end(Ended::Left)
            .with_state(WorkerSlotState::Free);
        assert_eq!(told(&mut KnownSlot { phase: SlotPhase(0), alive: None }, gone, false), "");
        assert_eq!(told(&mut died(), gone, false), "D");
    }

    #[test]
    fn one_that_is_away_has_gone_and_its_leaving_after_it_is_nothing_new() {
        let first = SlotPhase(0).next(WorkerSlotState::Kept);
        let mut copy = KnownSlot { phase: first, alive: Some(Entry::of(first)) };
        assert_eq!(told(&mut copy, first, false), "D");
        let retired = first.with_end(Ended::Died).with_state(WorkerSlotState::Free);
        assert_eq!(told(&mut copy, retired, false), "");
    }

    /// Looks at a desk that becomes the second phase before its lock is asked about, and the third
    /// after that.
    fn looked(
        copy: &mut KnownSlot,
        first: SlotPhase,
        second: SlotPhase,
        third: SlotPhase,
    ) -> String {
        let slot = Cell::new(first);
        let is_alive = || {
            slot.set(second);
            slot.get().state() != WorkerSlotState::Free
        };
        let read = || {
            slot.set(third);
            Entry::of(third)
        };
        match ask(first, is_alive, read) {
            Some((entry, is_alive)) => told(copy, entry.phase, is_alive),
            None => String::new(),
        }
    }

    #[test]
    fn a_successor_that_comes_while_the_lock_is_asked_about_is_told_of() {
        let first = SlotPhase(0).next(WorkerSlotState::Taken);
        let left = first.with_end(Ended::Left).with_state(WorkerSlotState::Free);
        let second = left.next(WorkerSlotState::Taken);
        for (then, last) in [(left, second), (second, second), (first, second), (left, left)] {
            let mut copy = KnownSlot { phase: first, alive: Some(Entry::of(first)) };
            let at_once = looked(&mut copy, first, then, last);
            let later = looked(&mut copy, last, last, last);
            let expected = if last == left { "L" } else { "LJ" };
            assert_eq!(format!("{at_once}{later}"), expected, "{then:?} {last:?}");
        }
    }

    impl Entry {
        fn of(phase: SlotPhase) -> Self {
            Self { phase, name: "w".to_owned(), pid: 1, since: 0 }
        }
    }
}
