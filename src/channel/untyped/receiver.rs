//! A subscriber without its packet type: takes packets, waits for them, lets go of them.

use crate::channel::endpoint::Endpoint;
use crate::channel::error::{RecvError, RecvFailure};
use crate::channel::select::Waitable;
use crate::packet::Fingerprint;
use crate::ring::guard::{self, ReadEndpoint};
use crate::ring::membership;
use crate::ring::reader::{Fault, Next, Reader, Taken};
use crate::ring::slot::Descriptor;
use crate::ring::state::RingState;
use crate::segment::layout::EventCount;
use crate::sync::Ordering;
use crate::wait::{Deadline, IDLE, PENDING, Timeout, Wait};

/// Most packets of one batch.
pub(crate) const BATCH: usize = 256;
/// Sleeping publishers are woken when such a part of the ring was read.
const PARTS: u64 = 8;
/// So many times in a row may `try_recv` find nothing before the kernel is asked who lives: a
/// subscriber that only polls learns that the last publisher died, too.
const IDLE_EMPTIES: u32 = 1024;
/// The same at a position that is claimed, whose owner may be dead: fewer, for those who look only
/// once in a while; most claims are committed before.
const CLAIMED_EMPTIES: u32 = 8;

/// What lets go of a packet for good, so that it does not come again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AckMode {
    /// Dropping its guard, or calling the endpoint again after the guard was forgotten.
    Drop,
    /// The same, unless a panic drops it: durable subscribers.
    DropUnlessPanicking,
    /// `ReadGuard::ack` alone: durable subscribers that acknowledge. Whatever is still in hand when
    /// the guard is dropped, or was forgotten, comes again.
    Done,
}

/// The untyped part of a subscriber.
#[derive(Debug)]
pub(crate) struct Receiver {
    pub(crate) reader: Reader,
    pub(crate) endpoint: Endpoint,
    ack_mode: AckMode,
    /// How often in a row nothing was found, and where.
    empties: u32,
    empty_at: u64,
    /// Where it was when it last woke publishers.
    notified_at: u64,
    /// What `has_next` found and nobody took yet.
    found: Option<Next>,
    /// Where `recv_copied` copies to, kept as well.
    pub(crate) copy: rkyv::util::AlignedVec<16>,
    /// The ring's types, as far as packets of any type that came needed them: what is entered stays.
    pub(crate) types: Vec<Fingerprint>,
}

impl Receiver {
    pub(crate) fn new(mut reader: Reader, endpoint: Endpoint, ack_mode: AckMode) -> Self {
        // A durable one is told first what it lost while it was gone.
        let found = reader.unreported_loss().map(Next::Missed);
        let copy = rkyv::util::AlignedVec::new();
        let types = Vec::new();
        Self {
            reader,
            endpoint,
            ack_mode,
            empties: 0,
            empty_at: 0,
            notified_at: 0,
            found,
            copy,
            types,
        }
    }

    /// Looks up the ring's types anew, if there may be one at this index that is not known.
    #[inline]
    pub(crate) fn know_type(&mut self, index: u16) {
        if usize::from(index) >= self.types.len() {
            self.know_types();
        }
    }

    #[cold]
    #[inline(never)]
    pub(crate) fn know_types(&mut self) {
        let known = self.types.len();
        self.types.extend(self.endpoint.segment.with_types(|table| {
            let prints = (known..table.len()).map_while(|index| table.fingerprint(index));
            prints.map(Fingerprint).collect::<Vec<_>>()
        }));
    }

    /// Takes the next packet if it is there, and nothing else is to be done first: the way of most
    /// packets, short and straight. `None` says nothing: [`take_or_wait`](Self::take_or_wait) is to be
    /// asked. Not for durable subscribers: their one more test is what others would feel.
    #[inline(always)]
    pub(crate) fn take_fast(&mut self, timeout: Timeout) -> Option<Taken> {
        self.try_take_fast::<false>(timeout)
    }

    /// The same, for durable subscribers too if it `RECORD` what was handed out.
    #[inline(always)]
    fn try_take_fast<const RECORD: bool>(&mut self, timeout: Timeout) -> Option<Taken> {
        if self.found.is_some() || self.reader.holds() {
            return None;
        }
        if self.reader.is_stamped() || self.spin_briefly(timeout) {
            self.reader.next_fast::<RECORD>()
        } else {
            None
        }
    }

    /// Takes the next packet. Releases what was in hand.
    #[inline]
    pub(crate) fn take(&mut self, timeout: Timeout) -> Result<Taken, RecvFailure> {
        match self.try_take_fast::<true>(timeout) {
            Some(taken) => Ok(taken),
            None => self.take_or_wait(timeout),
        }
    }

    /// The same without the short way.
    #[inline(never)]
    pub(crate) fn take_or_wait(&mut self, timeout: Timeout) -> Result<Taken, RecvFailure> {
        if self.found.is_some() {
            return self.take_found(timeout);
        }
        self.release();
        match self.reader.next() {
            Next::Taken(taken) => {
                self.reader.record_handed_out();
                Ok(taken)
            }
            other => self.take_slow(other, timeout),
        }
    }

    /// The shortest wait: what is on its way comes within it, and is not taken by the slow path.
    #[inline(never)]
    fn spin_briefly(&self, timeout: Timeout) -> bool {
        let reader = &self.reader;
        !matches!(timeout, Timeout::Zero)
            && self.endpoint.waiter.spin_briefly(|| reader.is_stamped())
    }

    #[cold]
    #[inline(never)]
    fn take_found(&mut self, timeout: Timeout) -> Result<Taken, RecvFailure> {
        let found = self.found.take().unwrap_or(Next::Nothing);
        self.take_slow(found, timeout)
    }

    /// Takes as many packets as are there, one at least and 256 at most; of the others only those
    /// that are `wanted`. Returns the first.
    #[inline]
    pub(crate) fn take_batch(
        &mut self,
        timeout: Timeout,
        wanted: impl Fn(&Descriptor) -> bool,
    ) -> Result<Taken, RecvFailure> {
        let first = self.take(timeout)?;
        self.reader.take_more(first, BATCH, wanted);
        Ok(first)
    }

    /// Whether the next receive would return at once: with a packet, with what was missed, or
    /// because the ring is over. Releases what was in hand; what it finds is kept for the next
    /// receive.
    pub(crate) fn has_next(&mut self) -> bool {
        if self.found.is_none() {
            self.release();
            match self.reader.next() {
                Next::Nothing => self.endpoint.notify_publishers(),
                found => self.found = Some(found),
            }
        }
        self.found.is_some() || is_over(&self.reader)
    }

    /// The packet that [`has_next`](Self::has_next) found, which the next receive gets.
    pub(crate) fn found_packet(&self) -> Option<Taken> {
        match self.found {
            Some(Next::Taken(taken)) => Some(taken),
            _ => None,
        }
    }

    #[cold]
    #[inline(never)]
    fn take_slow(&mut self, found: Next, timeout: Timeout) -> Result<Taken, RecvFailure> {
        if let Some(outcome) = self.conclude(found) {
            return outcome;
        }
        if matches!(timeout, Timeout::Zero) {
            return Err(self.empty());
        }
        let deadline = timeout.deadline();
        let waiter = &self.endpoint.waiter;
        // One that only spins does so in its pauses.
        let mut ready =
            !waiter.only_spins() && waiter.spin(deadline.cut(PENDING), || is_ready(&self.reader));
        let mut ask_at = Deadline::after(IDLE);
        loop {
            if let Some(outcome) = self.look() {
                return outcome;
            }
            if deadline.has_passed() {
                return Err(RecvFailure::NotReady(()));
            }
            if !ready {
                ready = self.park(deadline, &mut ask_at);
            } else {
                ready = false;
            }
        }
    }

    /// One pause; `true`: there is something to look at. `false`: the kernel was asked who lives,
    /// if it was time to.
    fn park(&mut self, deadline: Deadline, ask_at: &mut Deadline) -> bool {
        let (endpoint, reader) = (&self.endpoint, &self.reader);
        let only_spins = endpoint.waiter.only_spins();
        let bound = if only_spins || reader.is_claimed() { PENDING } else { IDLE };
        if endpoint.waiter.park(endpoint.event_count(), deadline.cut(bound), || is_ready(reader)) {
            return true;
        }
        // Nobody wakes a spinner for a claim that another makes meanwhile: it looks often, and
        // asks for no reason as seldom as a sleeper.
        if !only_spins || reader.is_claimed() || ask_at.has_passed() {
            *ask_at = Deadline::after(IDLE);
            self.endpoint.reap_dead();
        }
        false
    }

    fn look(&mut self) -> Option<Result<Taken, RecvFailure>> {
        let found = self.reader.next();
        self.conclude(found)
    }

    /// What was found, unless it is nothing.
    fn conclude(&mut self, found: Next) -> Option<Result<Taken, RecvFailure>> {
        match found {
            Next::Taken(taken) => {
                self.reader.record_handed_out();
                Some(Ok(taken))
            }
            Next::Missed(missed) => {
                self.reader.record_reported();
                Some(Err(RecvError::Missed(missed).into()))
            }
            Next::Corrupt(fault) => Some(Err(self.corrupt(fault).into())),
            Next::Nothing => {
                // Void packets may have been skipped: room that a publisher waits for.
                self.endpoint.notify_publishers();
                is_over(&self.reader).then_some(Err(RecvError::Closed.into()))
            }
        }
    }

    fn corrupt(&self, fault: Fault) -> RecvError {
        let position = self.reader.position();
        let what = match fault {
            Fault::Header => format!("invalid packet header at position {position}"),
            Fault::Cursor => format!("invalid subscriber cursor at position {position}"),
        };
        RecvError::Corrupt(what.into())
    }

    /// Nothing there, and no wait. Who only polls, however seldom, learns of deaths too.
    fn empty(&mut self) -> RecvFailure {
        if self.empty_at != self.reader.position() {
            (self.empty_at, self.empties) = (self.reader.position(), 0);
        }
        self.empties = self.empties.wrapping_add(1);
        let every = if self.reader.is_claimed() { CLAIMED_EMPTIES } else { IDLE_EMPTIES };
        if self.empties.is_multiple_of(every) {
            self.endpoint.reap_dead();
        }
        RecvFailure::NotReady(())
    }
}

/// Whether a look would find something: a packet, an eviction, the end.
fn is_ready(reader: &Reader) -> bool {
    reader.is_ready() || is_over(reader)
}

/// Whether the ring is closed and read to its end.
fn is_over(reader: &Reader) -> bool {
    // The stamp is looked at after the closing: what was committed before is seen.
    RingState::of(&reader.memory) != RingState::Open && !reader.is_claimed() && !reader.is_ready()
}

impl ReadEndpoint for Receiver {
    #[inline]
    fn reader(&self) -> &Reader {
        &self.reader
    }

    #[inline(always)]
    fn release(&mut self) {
        // Small, so that it becomes part of whoever drops a guard.
        if !self.reader.release_fast() || self.endpoint.must_notify_publishers() {
            self.release_slow();
        }
    }

    #[inline(always)]
    fn ack(&mut self) {
        if self.reader.release() {
            self.notify_publishers_in_batches();
        }
    }

    fn unreceive(&mut self) {
        self.reader.unreceive();
    }

    fn reader_mut(&mut self) -> &mut Reader {
        &mut self.reader
    }
}

impl Receiver {
    /// The payload of a packet in hand.
    pub(crate) fn payload(&self, taken: &Taken) -> &[u8] {
        guard::payload(&self.reader, taken)
    }

    #[inline(never)]
    fn release_slow(&mut self) {
        // A packet whose guard is dropped by a panic was not handled, nor was one that is still in
        // hand where it is to be acknowledged: it comes again.
        let is_handled = match self.ack_mode {
            AckMode::Drop => true,
            AckMode::DropUnlessPanicking => !std::thread::panicking(),
            AckMode::Done => false,
        };
        if !is_handled {
            return self.unreceive();
        }
        self.reader.release();
        self.notify_publishers_in_batches();
    }

    /// Wakes publishers that sleep because the ring is full, though not for each packet: once there
    /// is room for many, or nothing left to read. Until then they look for themselves, after each
    /// bounded sleep.
    fn notify_publishers_in_batches(&mut self) {
        let position = self.reader.position();
        if position.wrapping_sub(self.notified_at) >= self.reader.geometry.capacity / PARTS {
            self.notified_at = position;
            self.endpoint.notify_publishers();
        }
    }

    /// Lets go of what was handed out and forgotten.
    #[inline]
    pub(crate) fn release_forgotten(&mut self) {
        if self.reader.holds() && self.found.is_none() {
            self.release();
        }
    }

    /// Has the next call take the packet again that is in hand.
    pub(crate) fn give_back(&mut self, taken: Taken) {
        self.found = Some(Next::Taken(taken));
    }

    /// Copies a packet in hand out of the ring and releases it.
    pub(crate) fn copy_out(&mut self, taken: &Taken) {
        self.copy.clear();
        let Self { reader, copy, .. } = self;
        copy.extend_from_slice(guard::payload(reader, taken));
        self.release();
    }

    /// Slots between the cursor and the tail.
    pub(crate) fn backlog(&self) -> u64 {
        let hand = self.reader.in_hand();
        // What a look found and nobody received is still to come.
        let next = if self.found.is_some() { hand.start } else { hand.end };
        self.tail().saturating_sub(next)
    }

    /// Whether something is claimed and not committed, behind which more may lie. Its owner may be
    /// dead: if so, it is cleared away.
    pub(crate) fn is_held_up(&mut self) -> bool {
        let is_claimed = self.reader.is_claimed();
        if is_claimed {
            self.endpoint.reap_dead();
        }
        is_claimed
    }

    /// Whether the next receive has something to tell though there may be no packet for it.
    pub(crate) fn has_notice(&self) -> bool {
        self.found.is_some() || self.is_over()
    }

    /// Whether the ring is closed and read to its end.
    pub(crate) fn is_over(&self) -> bool {
        is_over(&self.reader)
    }

    /// The end of what was claimed so far.
    pub(crate) fn tail(&self) -> u64 {
        self.reader.memory.head().tail.load(Ordering::Acquire)
    }
}

impl Waitable for Receiver {
    fn has_next(&mut self) -> bool {
        Receiver::has_next(self)
    }

    fn is_ready(&self) -> bool {
        is_ready(&self.reader)
    }

    fn event_count(&self) -> &EventCount {
        self.endpoint.event_count()
    }

    fn is_pending(&self) -> bool {
        self.reader.is_claimed()
    }

    fn reap_dead(&mut self) {
        self.endpoint.reap_dead();
    }

    fn wait(&self) -> Wait {
        self.endpoint.waiter.wait()
    }

    fn sleeps_on_futex(&self) -> bool {
        self.endpoint.waiter.sleeps_on_futex()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        if self.endpoint.segment.is_inherited() {
            // The parent's, in a forked child: its memory is not there, its entry is not ours.
            return;
        }
        let memory = &self.reader.memory;
        let control = self.endpoint.segment.lock_bounded();
        if self.ack_mode == AckMode::Drop {
            match &control {
                Some(_) => membership::leave_subscriber(memory, self.reader.entry),
                None => membership::release(memory, self.reader.entry),
            }
        }
        self.endpoint.release_liveness();
        drop(control);
        self.endpoint.wake_others();
    }
}
