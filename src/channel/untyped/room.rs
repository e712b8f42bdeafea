//! Waiting for room: the slow path of every claim.
//!
//! The publisher waits for the endpoint at the gate: it spins, then sleeps for bounded times. If
//! the gate does not move, it checks the liveness locks and clears the entries of the dead. So a
//! dead process blocks no publisher for longer than one sleep, and a call that does not wait
//! clears the dead process at the gate too. Sleeps become longer while the gate stands still, also
//! from one call to the next.

use super::publisher::Sender;
use crate::channel::error::{SendError, SendFailure, WaitingFor};
#[cfg(feature = "async")]
use crate::channel::in_task;
use crate::channel::waitable::{Selectable, Selectee, Waitable, rearm};
use crate::error::Form;
#[cfg(feature = "async")]
use crate::packet::Packet;
use crate::ring::claim::{Full, Writer};
use crate::ring::gate::{Gate, position};
use crate::ring::membership::RingState;
use crate::segment::entry::EntryId;
use crate::segment::kept::KeptEventCount;
use crate::segment::layout::EventCount;
use crate::segment::view::RingMemory;
use crate::sync::Ordering;
use crate::sys::stop::Stop;
use crate::wait::{Deadline, Listener, PENDING, Subject, Timeout, Wait, wait_until};
use std::time::Instant;

impl Sender {
    /// Wakes sleeping subscribers, after a store of so many packets. A switch of sampling counts as
    /// a sleeper.
    #[inline]
    pub(super) fn notify_subscribers(&mut self, packets: usize) {
        if self.entry.must_notify_subscribers() {
            self.wake_subscribers(packets);
        }
    }

    #[cold]
    #[inline(never)]
    fn wake_subscribers(&mut self, packets: usize) {
        self.entry.wake_sleepers_for(packets);
        self.writer.notice_sampling();
    }

    /// Waits for room for one packet, and claims it.
    // Out of line: its variables on the stack cost each claim 15 instructions.
    #[cold]
    #[inline(never)]
    pub(super) fn wait_for_room<F: Form<SendError, WaitingFor>>(
        &mut self,
        full: Full,
        span: u64,
        timeout: Timeout,
    ) -> Result<u64, F> {
        F::retry(|| self.claim_slow(full, timeout, &mut |writer| writer.claim(span)))
    }

    /// Waits for room, and claims it.
    #[cold]
    #[inline(never)]
    pub(in crate::channel) fn claim_slow<R>(
        &mut self,
        full: Full,
        timeout: Timeout,
        claim: &mut dyn FnMut(&mut Writer) -> Result<R, Full>,
    ) -> Result<R, SendFailure> {
        self.writer.count_full();
        if !timeout.waits() {
            return self.claim_from_dead(full, claim);
        }
        let deadline = timeout.deadline();
        // Set by the first pause. Most waits end before it, and a publisher that meets a full ring
        // for each batch would read the clock each time.
        let mut since = None;
        if !self.spin_at(full.gate, deadline) {
            self.park_at(full.gate, deadline, &mut since);
        }
        let mut state = (self, full.gate);
        let claimed = wait_until(
            &mut state,
            deadline,
            |(sender, gate)| {
                if sender.is_closed() {
                    return Some(Err(SendError::Closed.into()));
                }
                match claim(&mut sender.writer) {
                    Ok(claimed) => Some(Ok(claimed)),
                    Err(full) => {
                        *gate = full.gate;
                        sender.cut_off()
                    }
                }
            },
            |(sender, gate), deadline| sender.park_at(*gate, deadline, &mut since),
        );
        let (sender, gate) = state;
        claimed.unwrap_or_else(|| Err(sender.not_ready(gate)))
    }

    /// Publishes a packet. Waits for room in a task.
    #[cfg(feature = "async")]
    pub(in crate::channel) async fn send_in_task<T: Packet>(
        &mut self,
        value: &T,
        type_index: u16,
    ) -> Result<u64, SendError> {
        in_task(self, SendError::System, |sender| {
            sender.send::<_, SendFailure>(value, type_index, Timeout::Task)
        })
        .await
    }

    /// Begins an operation, and claims room for an archive of `len` bytes. Waits in a task. The
    /// claim is open when the future ends, so it is not lost with it.
    #[cfg(feature = "async")]
    pub(in crate::channel) async fn begin_claim_in_task(
        &mut self,
        len: usize,
    ) -> Result<(), SendError> {
        in_task(self, SendError::System, |sender| {
            sender.begin_claim::<SendFailure>(len, Timeout::Task)
        })
        .await
    }

    /// Claims without a wait, if a dead process is at the gate and can be cleared away.
    fn claim_from_dead<R>(
        &mut self,
        full: Full,
        claim: &mut dyn FnMut(&mut Writer) -> Result<R, Full>,
    ) -> Result<R, SendFailure> {
        let is_dead = full.gate.holder.is_some_and(|endpoint| !self.entry.is_alive(endpoint));
        let claimed =
            if is_dead && self.entry.reap_dead() { claim(&mut self.writer) } else { Err(full) };
        claimed.or_else(|full| {
            if let Some(ended) = self.cut_off() {
                return ended;
            }
            self.blocked = Some(full.gate);
            rearm(self);
            Err(self.not_ready(full.gate))
        })
    }

    /// The result of a wait for room that cannot end any more, or that was stopped.
    fn cut_off<R>(&self) -> Option<Result<R, SendFailure>> {
        match self.entry.cut_off() {
            Some(cause) => Some(Err(SendError::Detached(cause).into())),
            None => self.entry.waiter.is_stopped().then(|| Err(SendError::Stopped.into())),
        }
    }

    /// Spins until the gate moves. Returns false if it did not, or if the endpoint never sleeps:
    /// then it spins in `park_at`.
    fn spin_at(&self, gate: Gate, deadline: Deadline) -> bool {
        let waiter = &self.entry.waiter;
        let memory = self.writer.memory();
        !waiter.only_spins() && waiter.spin(deadline.cut(PENDING), || has_moved(memory, gate))
    }

    /// Sleeps until the gate moves, for a bounded time. Clears the dead if it did not. The first
    /// pause of the wait sets `since`.
    fn park_at(&mut self, gate: Gate, deadline: Deadline, since: &mut Option<Instant>) {
        let since = *since.get_or_insert_with(Instant::now);
        self.pace.begin(Subject { id: gate.lowest, is_pending: true });
        let (entry, bound) = (&self.entry, self.pace.sleep(deadline));
        let bound = if entry.waiter.only_spins() { bound.min(PENDING) } else { bound };
        let is_ready = || has_moved(self.writer.memory(), gate);
        if !entry.waiter.park_or_nap(entry.event_count(), bound, since, is_ready)
            && self.pace.is_due()
            && !(self.pace.may_share_checks() && self.entry.is_checked())
        {
            self.entry.reap_dead();
        }
    }

    fn not_ready(&self, gate: Gate) -> SendFailure {
        SendFailure::NotReady(waiting_for(self.writer.memory(), gate))
    }
}

impl Selectable for Sender {
    fn selectee(&mut self) -> Selectee<'_> {
        Selectee::new(self)
    }
}

/// Ready if there may be room since a call found none.
impl Waitable for Sender {
    fn has_next(&mut self) -> bool {
        self.is_ready()
    }

    fn is_ready(&self) -> bool {
        let has_moved = |gate| has_moved(self.writer.memory(), gate);
        self.blocked.is_none_or(has_moved) || self.entry.cut_off().is_some()
    }

    fn event_count(&self) -> Option<&EventCount> {
        Some(self.entry.event_count())
    }

    fn event_counts(&self) -> Vec<KeptEventCount> {
        vec![self.entry.kept_event_count()]
    }

    fn listener(&mut self) -> Option<&mut Option<Box<Listener>>> {
        Some(&mut self.entry.listener)
    }

    fn place(&self) -> u64 {
        self.blocked.map_or(0, |gate| gate.lowest)
    }

    fn is_pending(&self) -> bool {
        self.blocked.is_some()
    }

    fn check_liveness(&mut self, is_long: bool) {
        if !(is_long && self.entry.is_checked()) {
            self.entry.reap_dead();
        }
        // The gate may be gone without having moved, such as a pin that was removed: the next call
        // finds out.
        self.blocked = None;
    }

    fn stop(&self) -> Option<&Stop> {
        self.entry.waiter.stop()
    }

    fn wait(&self) -> Wait {
        self.entry.waiter.wait()
    }

    fn sleeps_on_futex(&self) -> bool {
        self.entry.waiter.sleeps_on_futex()
    }
}

/// A wait for room that holds no publisher, for tasks: a publisher that threads share is borrowed
/// for a try only. It also waits by the clock, for a lock that nobody tells of.
#[cfg(feature = "async")]
pub(crate) struct RoomWait {
    /// The ring, and the gate at which the last try found no room. `None`: no publisher could try,
    /// and the clock ends the wait.
    full: Option<(RingMemory, Gate)>,
    /// Another try may succeed.
    may_try: bool,
    /// The next try that finds no room clears the dead.
    is_due: bool,
    stop: Option<Stop>,
    listener: Option<Box<Listener>>,
}

#[cfg(feature = "async")]
impl RoomWait {
    /// A wait that this stop ends.
    pub(crate) fn new(stop: Option<&Stop>) -> Self {
        Self { full: None, may_try: false, is_due: false, stop: stop.cloned(), listener: None }
    }

    /// Waits for what the last try of this publisher found in its way. `None`: there was none.
    pub(crate) fn begin(&mut self, publisher: Option<&mut Sender>) {
        self.may_try = false;
        let before = self.full.take();
        let is_due = std::mem::take(&mut self.is_due);
        if let Some(sender) = publisher {
            let has_changed = is_due && sender.entry.reap_dead();
            // Without a gate, another task or thread had this publisher since.
            let is_free = sender.blocked.is_none() || sender.entry.cut_off().is_some();
            self.may_try = has_changed || is_free;
            let memory = sender.writer.memory();
            self.full = sender.blocked.map(|gate| (memory.clone(), gate));
        }
        let place = |full: &Option<(RingMemory, Gate)>| {
            full.as_ref().map(|(memory, _)| std::ptr::from_ref(memory.head()))
        };
        if place(&before) != place(&self.full) {
            // It listens to another ring.
            self.listener = None;
        }
    }
}

#[cfg(feature = "async")]
impl Selectable for RoomWait {
    fn selectee(&mut self) -> Selectee<'_> {
        Selectee::new(self)
    }
}

#[cfg(feature = "async")]
impl Waitable for RoomWait {
    fn has_next(&mut self) -> bool {
        self.is_ready()
    }

    fn is_ready(&self) -> bool {
        self.may_try || self.full.as_ref().is_some_and(|(memory, gate)| has_moved(memory, *gate))
    }

    fn event_count(&self) -> Option<&EventCount> {
        self.full.as_ref().map(|(memory, _)| &*memory.head().writers)
    }

    fn event_counts(&self) -> Vec<KeptEventCount> {
        self.full.iter().map(|(memory, _)| memory.writers_event_count()).collect()
    }

    fn listener(&mut self) -> Option<&mut Option<Box<Listener>>> {
        Some(&mut self.listener)
    }

    fn place(&self) -> u64 {
        self.full.as_ref().map_or(0, |(_, gate)| gate.lowest)
    }

    fn is_pending(&self) -> bool {
        true
    }

    fn check_liveness(&mut self, _is_long: bool) {
        (self.may_try, self.is_due) = (true, true);
    }

    fn stop(&self) -> Option<&Stop> {
        self.stop.as_ref()
    }
}

/// Returns true if the gate may be higher than it was, or the ring is closed.
fn has_moved(memory: &RingMemory, gate: Gate) -> bool {
    position_of(memory, gate) != gate.lowest || RingState::of(memory) == RingState::Closed
}

/// The current position of the endpoint at the gate.
fn position_of(memory: &RingMemory, gate: Gate) -> u64 {
    match gate.holder {
        Some(EntryId::Subscriber(index)) => {
            position(memory.subscribers()[index].cursor.load(Ordering::Relaxed))
        }
        Some(EntryId::Publisher(index)) => {
            memory.publishers()[index].record.position.load(Ordering::Relaxed)
        }
        // A worker slot gates no publisher.
        Some(EntryId::WorkerSlot(_)) | None => gate.lowest,
    }
}

/// The endpoint at the gate, as an error reports it.
fn waiting_for(memory: &RingMemory, gate: Gate) -> WaitingFor {
    match gate.holder {
        Some(EntryId::Subscriber(index)) => {
            match memory.owner_pid(EntryId::Subscriber(index)) {
                // The shared cursor of a queue has no owner.
                0 => WaitingFor::Queue,
                pid => WaitingFor::Subscriber { pid },
            }
        }
        Some(EntryId::Publisher(index)) => {
            WaitingFor::Publisher { pid: memory.owner_pid(EntryId::Publisher(index)) }
        }
        Some(EntryId::WorkerSlot(_)) | None => WaitingFor::Claim,
    }
}
