//! A publisher without its packet type: claims room, waits for it, commits.

use crate::channel::endpoint::Endpoint;
use crate::channel::error::{SendAllError, SendError, SendFailure, WaitingFor};
use crate::error::Form;
use crate::failpoint::{Failpoint, failpoint};
use crate::packet::{self, Packet, Scratch, Unserializable};
use crate::ring::claim::{Full, Writer};
use crate::ring::gate::{Gate, position};
use crate::ring::geometry::span;
use crate::ring::guard::{self, WriteEndpoint};
use crate::ring::membership;
use crate::ring::slot::Descriptor;
use crate::ring::state::RingState;
use crate::segment::entry::EntryId;
use crate::segment::settings::Claims;
use crate::segment::view::RingMemory;
use crate::sync::Ordering;
use crate::wait::{Deadline, PENDING, Timeout};

/// Packets claimed at once by `send_all`.
const BATCH: usize = 64;

/// What a letter has beside its packet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MessageHeader<'a> {
    /// What lies before its archive: a multiple of 16 bytes.
    pub(crate) prefix: &'a [u8],
    /// What its header is marked with.
    pub(crate) tag: u16,
    /// Most bytes of its archive.
    pub(crate) limit: usize,
}

impl<'a> MessageHeader<'a> {
    /// None.
    pub(crate) const NONE: Self = Self { prefix: &[], tag: 0, limit: usize::MAX };

    /// A front alone.
    pub(crate) fn of(prefix: &'a [u8]) -> Self {
        Self { prefix, ..Self::NONE }
    }
}

/// The untyped part of a publisher.
pub(crate) struct Sender {
    pub(crate) writer: Writer,
    pub(crate) endpoint: Endpoint,
    scratch: Scratch,
}

impl std::fmt::Debug for Sender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sender").field("writer", &self.writer).finish_non_exhaustive()
    }
}

impl Sender {
    pub(crate) fn new(writer: Writer, endpoint: Endpoint) -> Self {
        Self { writer, endpoint, scratch: Scratch::default() }
    }

    /// Publishes one packet.
    #[inline]
    pub(crate) fn send<T: Packet>(
        &mut self,
        value: &T,
        type_index: u16,
        timeout: Timeout,
    ) -> Result<u64, SendFailure> {
        match (T::FLAT_LEN, self.writer.claims) {
            // The way of most flat packets in an exclusive ring, short and straight: nothing was
            // forgotten there, nothing is to be measured, and the claim is arithmetic.
            (Some(len), Claims::Exclusive) => {
                self.check_open()?;
                if self.writer.has_room_for(span(len)) {
                    return self.publish(&[], value, Descriptor::data(len, type_index));
                }
            }
            (Some(_), Claims::Shared) => return self.send_flat_shared(value, type_index, timeout),
            // What archives a packet is long, and becomes part of the one place that calls it.
            (None, _) => {}
        }
        self.claim_and_send(value, type_index, timeout)
    }

    /// Publishes one flat packet in a shared ring.
    #[inline(never)]
    fn send_flat_shared<T: Packet>(
        &mut self,
        value: &T,
        type_index: u16,
        timeout: Timeout,
    ) -> Result<u64, SendFailure> {
        self.begin()?;
        self.send_shared(MessageHeader::NONE, value, type_index, timeout)
    }

    #[inline(never)]
    fn claim_and_send<T: Packet>(
        &mut self,
        value: &T,
        type_index: u16,
        timeout: Timeout,
    ) -> Result<u64, SendFailure> {
        self.begin()?;
        let len = packet::measure(value, &mut self.scratch)?;
        self.claim(len, timeout)?;
        self.publish(&[], value, Descriptor::data(len, type_index))
    }

    /// Publishes one packet in a cover in a shared ring, where no claim is open: after [`begin`](Self::begin).
    /// What `TooLarge` says of the ring's own limit is with the front.
    #[inline(always)]
    pub(crate) fn send_shared<T: Packet>(
        &mut self,
        MessageHeader { prefix, tag, limit }: MessageHeader<'_>,
        value: &T,
        type_index: u16,
        timeout: Timeout,
    ) -> Result<u64, SendFailure> {
        let needed = packet::measure(value, &mut self.scratch)?;
        if needed > limit {
            return Err(SendError::TooLarge { needed, limit }.into());
        }
        let len = prefix.len().saturating_add(needed);
        self.check_len(len)?;
        let span = span(len);
        if let Err(full) = self.writer.claim_one_here(span) {
            self.claim_slow(full, timeout, &mut |writer| writer.claim(span))?;
        }
        self.publish(prefix, value, Descriptor::data(len, type_index).with_tag(tag))
    }

    /// Fills the claim that was made for a packet, commits it and wakes who waits for it.
    #[inline(always)]
    fn publish<T: Packet>(
        &mut self,
        prefix: &[u8],
        value: &T,
        descriptor: Descriptor,
    ) -> Result<u64, SendFailure> {
        self.fill(prefix, value, descriptor.len() as usize)?;
        let position = self.writer.commit(descriptor);
        failpoint(Failpoint::CommitWake);
        self.endpoint.notify_subscribers();
        Ok(position)
    }

    /// Publishes packets in order, claiming for many at once. Returns the error of one form of the verb.
    pub(crate) fn send_all<T: Packet, F: Form<SendError, WaitingFor>>(
        &mut self,
        values: &[T],
        type_index: u16,
        timeout: Timeout,
    ) -> Result<(), SendAllError<F>> {
        let mut sent = 0;
        while sent < values.len() {
            let end = values.len().min(sent + BATCH);
            let (count, outcome) = self.send_some(&values[sent..end], type_index, timeout);
            sent += count;
            if let Err(failure) = outcome
                && let Some(source) = failure.report()
            {
                return Err(SendAllError { sent, source });
            }
        }
        Ok(())
    }

    /// Publishes the first of up to 64 packets, as many as fit in one claim.
    #[inline]
    fn send_some<T: Packet>(
        &mut self,
        values: &[T],
        type_index: u16,
        timeout: Timeout,
    ) -> (usize, Result<(), SendFailure>) {
        if let Err(error) = self.begin() {
            return (0, Err(error.into()));
        }
        if let Some(len) = T::FLAT_LEN {
            let spans = [span(len); BATCH];
            let claimed = self.check_len(len).map_err(SendFailure::from);
            let claimed = claimed.and_then(|()| self.claim_many(&spans[..values.len()], timeout));
            return self.send_claimed(values, claimed, |_| len, type_index);
        }
        let mut lens = [0; BATCH];
        let count = match self.measure_some(values, &mut lens) {
            Ok(count) => count,
            Err(error) => return (0, Err(error.into())),
        };
        let spans = lens.map(span);
        let claimed = self.claim_many(&spans[..count], timeout);
        self.send_claimed(values, claimed, |index| lens[index], type_index)
    }

    /// The lengths of the archives of up to 64 values, one at least; of as many as can be sent.
    fn measure_some<T: Packet>(
        &mut self,
        values: &[T],
        lens: &mut [usize; BATCH],
    ) -> Result<usize, SendError> {
        for (index, value) in values.iter().enumerate() {
            let len = packet::measure(value, &mut self.scratch).map_err(SendError::from);
            match len.and_then(|len| self.check_len(len).map(|()| len)) {
                Ok(len) => lens[index] = len,
                Err(error) if index == 0 => return Err(error),
                // Send those before it; the next round finds the error first.
                Err(_) => return Ok(index),
            }
        }
        Ok(values.len())
    }

    /// Fills and commits the claim that was made for the first values.
    #[inline(always)]
    fn send_claimed<T: Packet>(
        &mut self,
        values: &[T],
        claimed: Result<usize, SendFailure>,
        len_of: impl Fn(usize) -> usize,
        type_index: u16,
    ) -> (usize, Result<(), SendFailure>) {
        let claimed = match claimed {
            Ok(claimed) => claimed,
            Err(error) => return (0, Err(error)),
        };
        for (index, value) in values[..claimed].iter().enumerate() {
            let len = len_of(index);
            if let Err(error) = self.fill(&[], value, len) {
                return (index, Err(error.into()));
            }
            self.writer.commit(Descriptor::data(len, type_index));
        }
        self.endpoint.notify_subscribers();
        (claimed, Ok(()))
    }

    /// Writes a front and a value's archive, `len` bytes together, into the claim, or gives the claim
    /// up: if that fails, and also if the value's own code panics.
    #[inline(always)]
    fn fill<T: Packet>(&mut self, prefix: &[u8], value: &T, len: usize) -> Result<(), SendError> {
        let claim = Abandoning(&mut self.writer);
        let (head, room) = guard::room(claim.0, len).split_front(prefix.len());
        head.copy_from_slice(prefix);
        let filled = packet::write(value, room, &mut self.scratch);
        if let Err(error) = filled {
            drop(claim);
            return Err(self.give_up(error));
        }
        std::mem::forget(claim);
        Ok(())
    }

    #[cold]
    #[inline(never)]
    fn give_up(&mut self, error: Unserializable) -> SendError {
        // A void packet too lets readers go on to what lies behind it.
        self.endpoint.notify_subscribers();
        error.into()
    }

    /// Before every operation: gives up what was forgotten, and asks whether the ring is closed.
    #[inline]
    pub(crate) fn begin(&mut self) -> Result<(), SendError> {
        self.writer.abandon();
        self.check_open()
    }

    #[inline]
    pub(crate) fn check_open(&self) -> Result<(), SendError> {
        match RingState::of(&self.writer.memory) {
            RingState::Closed => Err(SendError::Closed),
            RingState::Open | RingState::Left => Ok(()),
        }
    }

    /// Claims room for an archive of `len` bytes.
    #[inline]
    pub(crate) fn claim(&mut self, len: usize, timeout: Timeout) -> Result<u64, SendFailure> {
        self.check_len(len)?;
        let span = span(len);
        match self.writer.claim(span) {
            Ok(position) => Ok(position),
            Err(full) => self.claim_slow(full, timeout, &mut |writer| writer.claim(span)),
        }
    }

    /// Claims for as many of the packets as fit in one claim, and says how many.
    fn claim_many(&mut self, spans: &[u64], timeout: Timeout) -> Result<usize, SendFailure> {
        let claimed = match self.writer.claim_many(spans) {
            Ok(claimed) => Ok(claimed),
            Err(full) => self.claim_slow(full, timeout, &mut |writer| writer.claim_many(spans)),
        };
        claimed.map(|(_, count)| count)
    }

    #[inline]
    fn check_len(&self, len: usize) -> Result<(), SendError> {
        let limit = self.writer.geometry.max_len();
        if len > limit { Err(SendError::TooLarge { needed: len, limit }) } else { Ok(()) }
    }

    #[cold]
    #[inline(never)]
    fn claim_slow<R>(
        &mut self,
        full: Full,
        timeout: Timeout,
        claim: &mut dyn FnMut(&mut Writer) -> Result<R, Full>,
    ) -> Result<R, SendFailure> {
        if matches!(timeout, Timeout::Zero) {
            return self.claim_after_asking(full, claim);
        }
        let deadline = timeout.deadline();
        let mut gate = full.gate;
        let mut may_spin = true;
        loop {
            if !self.wait_at(gate, deadline, may_spin) {
                self.endpoint.reap_dead();
            }
            may_spin = false;
            if RingState::of(&self.writer.memory) == RingState::Closed {
                return Err(SendError::Closed.into());
            }
            match claim(&mut self.writer) {
                Ok(claimed) => return Ok(claimed),
                Err(full) => gate = full.gate,
            }
            if deadline.has_passed() {
                return Err(SendFailure::NotReady(waiting_for(&self.writer.memory, gate)));
            }
        }
    }

    /// `try_`: full is full, unless the one who holds back is dead.
    fn claim_after_asking<R>(
        &mut self,
        full: Full,
        claim: &mut dyn FnMut(&mut Writer) -> Result<R, Full>,
    ) -> Result<R, SendFailure> {
        let is_dead = full.gate.endpoint.is_some_and(|endpoint| !self.endpoint.is_alive(endpoint));
        let outcome =
            if is_dead && self.endpoint.reap_dead() { claim(&mut self.writer) } else { Err(full) };
        outcome.map_err(|full| SendFailure::NotReady(waiting_for(&self.writer.memory, full.gate)))
    }

    /// Waits for whoever holds the publisher back to move, a bounded time. `true`: it moved.
    fn wait_at(&self, gate: Gate, deadline: Deadline, may_spin: bool) -> bool {
        let memory = &self.writer.memory;
        let mut ready =
            || word_of(memory, gate) != gate.lowest || RingState::of(memory) == RingState::Closed;
        let (waiter, bound) = (&self.endpoint.waiter, deadline.cut(PENDING));
        // One that only spins does so in its pauses: once, not twice, before it asks who lives.
        if may_spin && !waiter.only_spins() && waiter.spin(bound, &mut ready) {
            return true;
        }
        waiter.park(self.endpoint.event_count(), deadline.cut(PENDING), ready)
    }
}

/// Gives the open claim up when it is dropped.
struct Abandoning<'a>(&'a mut Writer);

impl Drop for Abandoning<'_> {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

impl WriteEndpoint for Sender {
    fn writer(&mut self) -> &mut Writer {
        &mut self.writer
    }

    fn abandon(&mut self) {
        self.writer.abandon();
        // A void packet too lets readers go on to what lies behind it.
        self.endpoint.notify_subscribers();
    }

    fn commit(&mut self, len: usize, type_index: u16) -> u64 {
        let position = self.writer.commit(Descriptor::data(len, type_index));
        self.endpoint.notify_subscribers();
        position
    }
}

/// The position of whoever holds the publisher back, now.
fn word_of(memory: &RingMemory, gate: Gate) -> u64 {
    match gate.endpoint {
        Some(EntryId::Subscriber(index)) => {
            position(memory.subscribers()[index].cursor.load(Ordering::Relaxed))
        }
        Some(EntryId::Publisher(index)) => {
            memory.publishers()[index].record.position.load(Ordering::Relaxed)
        }
        // Desks hold no publisher back.
        Some(EntryId::WorkerSlot(_)) | None => gate.lowest,
    }
}

fn waiting_for(memory: &RingMemory, gate: Gate) -> WaitingFor {
    match gate.endpoint {
        Some(EntryId::Subscriber(index)) => {
            match memory.subscribers()[index].details.owner.pid.load(Ordering::Relaxed) {
                // The cursor of a work queue.
                0 => WaitingFor::Queue,
                pid => WaitingFor::Subscriber { pid },
            }
        }
        Some(EntryId::Publisher(index)) => WaitingFor::Publisher {
            pid: memory.publishers()[index].details.owner.pid.load(Ordering::Relaxed),
        },
        Some(EntryId::WorkerSlot(_)) | None => WaitingFor::Claim,
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        if self.endpoint.segment.is_inherited() {
            // The parent's, in a forked child: its memory is not there, its entry is not ours.
            return;
        }
        self.writer.abandon();
        let memory = &self.writer.memory;
        let control = self.endpoint.segment.lock_bounded();
        if control.is_some() {
            let settings = self.endpoint.segment.settings();
            membership::leave_publisher(memory, settings, self.writer.entry);
        }
        self.endpoint.release_liveness();
        drop(control);
        self.endpoint.wake_others();
    }
}
