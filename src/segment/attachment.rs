//! One attachment, on the heap or to a shared object, as the layers below see it: its memory, its
//! packet types, the control lock, and who lives.
//!
//! Not here: how a shared object is made and removed (`segment::enter`, `segment::mapped`).

use super::entry::{EntryId, OwnerState, SlotPhase, WorkerSlotState};
use super::exclusive::ExclusiveSegment;
use super::heap::Heap;
use super::layout::{MAX_TYPES, SubscriberEntry};
use super::lifecycle::Absent;
use super::mapped::Mapped;
use super::name::Name;
use super::settings::{Parking, Settings};
use super::types::TypeTable;
use super::view::{RingMemory, SegmentParts, WorkerSlots};
use crate::error::OpenError;
use crate::sync::Ordering;
use crate::sys::clock::monotonic;
use crate::sys::event::Event;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// One attachment to a segment. Dropping the last one removes the segment, unless somebody is
/// expected back.
#[derive(Debug)]
pub(crate) struct Segment {
    backing: Backing,
    /// Two threads on one description would both get the control lock.
    local: Mutex<()>,
}

#[derive(Debug)]
enum Backing {
    Mapped(Box<Mapped>),
    Heap(Arc<Heap>),
}

/// The control lock, held.
#[derive(Debug)]
pub(crate) struct Control<'a> {
    mapped: Option<&'a Mapped>,
    _local: MutexGuard<'a, ()>,
}

/// How long leaving waits for the control lock before it leaves the tidying to others, and for one who
/// was found dead to be attached no more.
const PATIENCE: Duration = Duration::from_millis(100);
/// So long after somebody was found dead he may be attached.
const DYING: Duration = Duration::from_secs(1);
/// Between two looks.
const POLL: Duration = Duration::from_micros(100);

impl Segment {
    /// Attaches to a ring, making it if it is not there. It waits for the control lock, now and
    /// later, for `lock_timeout` at most, if there is one.
    pub(crate) fn open(
        name: &Name,
        settings: &Settings,
        lock_timeout: Option<Duration>,
    ) -> Result<Self, OpenError> {
        check(settings)?;
        Mapped::open(name, Absent::Make(settings), lock_timeout).map(Self::mapped)
    }

    /// Attaches to a ring that is there.
    pub(crate) fn attach(name: &Name, lock_timeout: Option<Duration>) -> Result<Self, OpenError> {
        Mapped::open(name, Absent::Refuse, lock_timeout).map(Self::mapped)
    }

    /// Makes a ring on the heap.
    pub(crate) fn heap(settings: &Settings) -> Result<Self, OpenError> {
        check(settings)?;
        // As for a shared object: a payload that lies where a header will be must not match.
        let salt = crate::sys::random()
            .map_err(|error| OpenError::system("draw a salt for", "a ring", error))?;
        let heap = Heap::new(*settings, salt).ok_or_else(|| {
            OpenError::system("allocate", "a ring", std::io::ErrorKind::OutOfMemory)
        })?;
        initialize(&heap.parts(), settings).map_err(|reason| {
            OpenError::system("make events in", "a ring", std::io::Error::other(reason))
        })?;
        Ok(Self { backing: Backing::Heap(Arc::new(heap)), local: Mutex::default() })
    }

    /// Removes a ring that nobody alive is attached to; `false`: there was none.
    pub(crate) fn remove(name: &Name) -> Result<bool, OpenError> {
        Mapped::remove(name, None)
    }

    /// The same, waiting for the control lock for `lock_timeout` at most.
    pub(crate) fn remove_within(name: &Name, lock_timeout: Duration) -> Result<bool, OpenError> {
        Mapped::remove(name, Some(lock_timeout))
    }

    /// Whether somebody is attached to the segment of this name now.
    pub(crate) fn is_in_use(name: &Name) -> Result<bool, OpenError> {
        Mapped::is_in_use(name)
    }

    /// Holds a segment that nobody is attached to so that nobody comes into it, be it there or not.
    pub(crate) fn seize(
        name: &Name,
        lock_timeout: Duration,
    ) -> Result<ExclusiveSegment<'_>, OpenError> {
        ExclusiveSegment::take(name, Absent::Make(&Settings::default()), Some(lock_timeout))
    }

    /// Removes a segment that nobody alive is attached to or expected back at. One whose control lock
    /// is held is left alone.
    pub(crate) fn clear_away(name: &Name) -> Result<(), OpenError> {
        Mapped::clear_away(name)
    }

    /// Another attachment to the same segment.
    pub(crate) fn another(&self) -> Result<Self, OpenError> {
        match &self.backing {
            Backing::Mapped(mapped) => mapped.another().map(Self::mapped),
            Backing::Heap(heap) => {
                Ok(Self { backing: Backing::Heap(Arc::clone(heap)), local: Mutex::default() })
            }
        }
    }

    /// Takes the segment's name away: those attached keep it, and who opens the name makes another.
    /// Under the control lock.
    pub(crate) fn give_name_up(&self, _control: &Control<'_>) -> Result<(), OpenError> {
        match &self.backing {
            Backing::Mapped(mapped) => mapped.give_name_up(),
            Backing::Heap(_) => Ok(()),
        }
    }

    /// Waits for the control lock for `lock_timeout` at most from now on, if there is one.
    pub(crate) fn set_lock_timeout(&mut self, lock_timeout: Option<Duration>) {
        match &mut self.backing {
            Backing::Mapped(mapped) => mapped.lock_timeout = lock_timeout,
            // Nobody is stopped for good within a heap's.
            Backing::Heap(_) => {}
        }
    }

    /// The ring's name; a ring on the heap has none.
    pub(crate) fn name(&self) -> &str {
        match &self.backing {
            Backing::Mapped(mapped) => mapped.name().as_str(),
            Backing::Heap(_) => "",
        }
    }

    /// What the ring was made to be.
    pub(crate) fn settings(&self) -> &Settings {
        match &self.backing {
            Backing::Mapped(mapped) => &mapped.settings,
            Backing::Heap(heap) => &heap.settings,
        }
    }

    /// What the protocol works on; to be used no longer than the segment.
    pub(crate) fn memory(&self) -> RingMemory {
        let (parts, salt) = match &self.backing {
            Backing::Mapped(mapped) => (mapped.parts(), mapped.salt),
            Backing::Heap(heap) => (heap.parts(), heap.salt),
        };
        parts.memory(salt)
    }

    /// The ring's packet types.
    pub(crate) fn with_types<R>(&self, work: impl FnOnce(TypeTable<'_>) -> R) -> R {
        let parts = self.parts();
        let membership = &parts.head().membership;
        work(TypeTable { membership, entries: parts.types(), text: parts.schema() })
    }

    /// Workers' desks: none, but in a directory. To be used no longer than the segment.
    pub(crate) fn worker_slots(&self) -> WorkerSlots {
        self.parts().worker_slots()
    }

    /// Most types that a ring can carry.
    pub(crate) const MAX_TYPES: usize = MAX_TYPES;

    /// The event on which a member parks, if the ring parks on events.
    pub(crate) fn event(&self, member: EntryId) -> Result<Option<Event>, OpenError> {
        let settings = self.settings();
        if settings.parking != Parking::Event {
            return Ok(None);
        }
        let index = match member {
            EntryId::Publisher(index) => index,
            EntryId::Subscriber(index) => settings.max_publishers + index,
            // A directory parks on futexes.
            EntryId::WorkerSlot(_) => return Ok(None),
        };
        // SAFETY: `initialize` made an event for each entry before the segment was ready, and
        // its owner keeps this segment at least as long as the event.
        unsafe { Event::open(self.parts().event(index)) }.map(Some).map_err(|reason| {
            OpenError::system("open an event of", self.name(), std::io::Error::other(reason))
        })
    }

    /// Makes the event of an entry, publishers' first, one that cannot be opened.
    #[cfg(test)]
    pub(crate) fn damage_event(&self, index: usize) {
        let event = self.parts().event(index);
        // SAFETY: within the events of this segment, which nobody uses in the test that does so.
        unsafe { event.as_ptr().write_bytes(0xff, crate::sys::event::ROOM) };
    }

    /// Makes the slots read-only here. A heap's stay as they are.
    pub(crate) fn protect_slots(&mut self) -> Result<(), OpenError> {
        match &mut self.backing {
            Backing::Mapped(mapped) => mapped.protect_slots(),
            Backing::Heap(_) => Ok(()),
        }
    }

    /// Whether the slots are read-only here.
    pub(crate) fn has_protected_slots(&self) -> bool {
        match &self.backing {
            Backing::Mapped(mapped) => mapped.is_protected(),
            Backing::Heap(_) => false,
        }
    }

    /// Runs `work` on memory whose slots can be written, whatever this attachment's are; `None`: it
    /// cannot be had.
    pub(crate) fn with_writable<R>(&self, work: impl FnOnce(RingMemory) -> R) -> Option<R> {
        match &self.backing {
            Backing::Mapped(mapped) => mapped.with_writable(work),
            Backing::Heap(_) => Some(work(self.memory())),
        }
    }

    /// Whether it was attached before this process was forked off the one that it belongs to. A
    /// ring on the heap is the child's own copy.
    pub(crate) fn is_inherited(&self) -> bool {
        match &self.backing {
            Backing::Mapped(mapped) => mapped.is_inherited(),
            Backing::Heap(_) => false,
        }
    }

    /// An error where [`is_inherited`](Self::is_inherited).
    pub(crate) fn refuse_inherited(&self) -> Result<(), OpenError> {
        match &self.backing {
            Backing::Mapped(mapped) => mapped.refuse_inherited(),
            Backing::Heap(_) => Ok(()),
        }
    }

    /// Takes the control lock, waiting while another living process holds it.
    pub(crate) fn lock(&self) -> Result<Control<'_>, OpenError> {
        // Before the mutex, which another thread may have held when this process was forked.
        self.refuse_inherited()?;
        let local = self.local().lock().unwrap_or_else(PoisonError::into_inner);
        let mapped: Option<&Mapped> = match &self.backing {
            Backing::Mapped(mapped) => {
                mapped.lock()?;
                Some(mapped)
            }
            Backing::Heap(_) => None,
        };
        Ok(self.locked(mapped, local))
    }

    /// Takes the control lock if it is free.
    pub(crate) fn try_lock(&self) -> Option<Control<'_>> {
        let local = match self.local().try_lock() {
            Ok(local) => local,
            Err(std::sync::TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(std::sync::TryLockError::WouldBlock) => return None,
        };
        let mapped: Option<&Mapped> = match &self.backing {
            Backing::Mapped(mapped) => Some(mapped.try_lock().then_some(mapped)?),
            Backing::Heap(_) => None,
        };
        Some(self.locked(mapped, local))
    }

    /// Takes the control lock if it comes free within a tenth of a second: for leaving, which
    /// must not hang on a process that was stopped inside the lock.
    pub(crate) fn lock_bounded(&self) -> Option<Control<'_>> {
        self.lock_within(PATIENCE)
    }

    /// Takes the control lock if it comes free in time.
    pub(crate) fn lock_within(&self, lock_timeout: Duration) -> Option<Control<'_>> {
        let started = Instant::now();
        loop {
            if let Some(control) = self.try_lock() {
                return Some(control);
            }
            if started.elapsed() >= lock_timeout {
                return None;
            }
            std::thread::sleep(POLL);
        }
    }

    /// Says that somebody was found dead.
    pub(crate) fn note_death(&self) {
        self.parts().head().membership.died.store(monotonic(), Ordering::Relaxed);
    }

    /// The process that took the control lock last, for people.
    pub(crate) fn lock_holder(&self) -> u32 {
        self.parts().head().membership.lock_holder.load(Ordering::Relaxed)
    }

    /// Takes the lock that tells that a member lives. Under the control lock.
    pub(crate) fn acquire_liveness(&self, member: EntryId) -> Result<bool, OpenError> {
        match &self.backing {
            Backing::Mapped(mapped) => mapped.acquire_liveness(mapped.places.lock_of(member)),
            Backing::Heap(heap) => Ok(heap.acquire_liveness(heap.places.lock_of(member))),
        }
    }

    /// Gives that lock back.
    pub(crate) fn release_liveness(&self, member: EntryId) {
        match &self.backing {
            Backing::Mapped(mapped) => mapped.release_liveness(mapped.places.lock_of(member)),
            Backing::Heap(heap) => heap.release_liveness(heap.places.lock_of(member)),
        }
    }

    /// Whether the kernel says that a member lives. Never asked by a member about itself.
    pub(crate) fn is_alive(&self, member: EntryId) -> bool {
        match &self.backing {
            Backing::Mapped(mapped) => mapped.is_alive(mapped.places.lock_of(member)),
            Backing::Heap(heap) => heap.is_alive(heap.places.lock_of(member)),
        }
    }

    fn locked<'a>(&self, mapped: Option<&'a Mapped>, local: MutexGuard<'a, ()>) -> Control<'a> {
        let parts = self.parts();
        parts.head().membership.lock_holder.store(std::process::id(), Ordering::Relaxed);
        Control { mapped, _local: local }
    }

    fn local(&self) -> &Mutex<()> {
        match &self.backing {
            Backing::Mapped(_) => &self.local,
            Backing::Heap(heap) => &heap.control,
        }
    }

    fn mapped(mapped: Mapped) -> Self {
        Self { backing: Backing::Mapped(Box::new(mapped)), local: Mutex::default() }
    }

    fn parts(&self) -> SegmentParts {
        match &self.backing {
            Backing::Mapped(mapped) => mapped.parts(),
            Backing::Heap(heap) => heap.parts(),
        }
    }
}

impl Drop for Control<'_> {
    fn drop(&mut self) {
        if let Some(mapped) = self.mapped {
            mapped.unlock();
        }
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        let Backing::Mapped(mapped) = &self.backing else { return };
        if mapped.is_inherited() {
            return;
        }
        let control = self.lock_bounded();
        mapped.detach();
        self.remove_if_left(mapped, control.or_else(|| self.try_lock()));
        if self.outlast_the_dying(mapped) {
            self.remove_if_left(mapped, self.try_lock());
        }
    }
}

impl Segment {
    /// Removes the object if nobody is attached to it any more. Who cannot have the lock leaves it to
    /// its holder. So a holder who found somebody attached looks again once it has given the lock back:
    /// that one may have left, in vain.
    fn remove_if_left<'a>(&'a self, mapped: &'a Mapped, mut control: Option<Control<'a>>) {
        while let Some(held) = control.take() {
            let was_attached = mapped.remove_if_left();
            drop(held);
            if was_attached && !mapped.is_attached() {
                control = self.try_lock();
            }
        }
    }

    /// Waits for one who was found dead to be attached no more; `true`: nobody is. The kernel closes a
    /// dead process' descriptors one after the other, so who lived by one of them can be attached by
    /// another for a while, and nobody else would remove the object then. It is not waited for where
    /// somebody lives who will leave, too, be it this process by another endpoint.
    fn outlast_the_dying(&self, mapped: &Mapped) -> bool {
        let died = self.parts().head().membership.died.load(Ordering::Relaxed);
        if Duration::from_nanos(monotonic().saturating_sub(died)) > DYING {
            return false;
        }
        if !mapped.is_attached() || mapped.is_open_elsewhere_here() {
            return false;
        }
        let started = Instant::now();
        let mut has_waited = false;
        while mapped.is_attached() && !self.is_anybody_seated() {
            if started.elapsed() > PATIENCE {
                return false;
            }
            has_waited = true;
            std::thread::sleep(POLL);
        }
        has_waited && !mapped.is_attached()
    }

    /// Whether somebody else lives who has a place here.
    fn is_anybody_seated(&self) -> bool {
        let settings = self.settings();
        let publishers = (0..settings.max_publishers).map(EntryId::Publisher);
        let subscribers = (0..settings.max_subscribers).map(EntryId::Subscriber);
        let worker_slots = (0..settings.worker_slots).map(EntryId::WorkerSlot);
        publishers.chain(subscribers).chain(worker_slots).any(|member| self.is_alive(member))
    }
}

/// Whether somebody is expected back, alive or not: a durable subscriber, a worker with an inbox,
/// whoever does what is left in a work queue.
pub(crate) fn is_kept(parts: &SegmentParts) -> bool {
    let durable =
        |entry: &SubscriberEntry| OwnerState::of(&entry.details.owner) == OwnerState::Durable;
    let is_queue_done = parts.settings().queue && is_done(parts);
    parts.subscribers().iter().any(durable) && !is_queue_done
        || parts
            .worker_slots()
            .all()
            .iter()
            .any(|desk| SlotPhase::of(desk).state() == WorkerSlotState::Kept)
}

/// Whether nothing is left in a work queue: its first cursor stands at the tail, and no other
/// anywhere (`ring::group`).
fn is_done(parts: &SegmentParts) -> bool {
    let tail = parts.head().tail.load(Ordering::Acquire);
    let mut cursors = parts.subscribers().iter().map(|entry| entry.cursor.load(Ordering::Acquire));
    // What a hand only tries for has bit 63 set, as nowhere has.
    cursors.next() == Some(tail) && cursors.all(|hand| hand >> 63 == 1)
}

/// Brings a block of zeros into its first state, but for its identity.
pub(crate) fn initialize(parts: &SegmentParts, settings: &Settings) -> Result<(), String> {
    parts.vacate();
    if settings.parking == Parking::Event {
        for index in 0..settings.max_publishers + settings.max_subscribers {
            // SAFETY: within the events of this segment, which nobody else uses yet; it
            // outlives them.
            unsafe { Event::make(parts.event(index)) }?;
        }
    }
    Ok(())
}

fn check(settings: &Settings) -> Result<(), OpenError> {
    settings.check().map_err(|reason| OpenError::BadSettings { reason })
}
