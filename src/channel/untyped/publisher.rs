//! A publisher without its packet type: claims room, waits for it, fills it and commits.
//!
//! Every way to publish is one of three: [`Sender::send`] (one value; its fast path is inlined into
//! the caller), `Sender::send_all` (several values in one claim), and [`Sender::begin_claim`] for
//! a reservation that the user fills. A failed or forgotten operation leaves no open claim: `fill`
//! aborts it, or the next `begin` does.

use super::options::MessageHeader;
#[cfg(feature = "handover")]
use super::options::{Attached, PacketId};
#[cfg(feature = "handover")]
use crate::channel::error::SendFailure;
use crate::channel::error::{SendError, WaitingFor};
use crate::channel::owned_entry::OwnedEntry;
use crate::error::Form;
use crate::failpoint::{Failpoint, failpoint};
use crate::packet::{self, Packet, Scratch, Unserializable};
use crate::ring::claim::Writer;
use crate::ring::gate::Gate;
use crate::ring::geometry::span;
use crate::ring::guard::{self, HoldsClaim};
use crate::ring::membership::RingState;
use crate::ring::slot::Descriptor;
use crate::wait::{Pace, Timeout};
use std::fmt;

/// The untyped part of a publisher.
pub(crate) struct Sender {
    pub(crate) writer: Writer,
    pub(crate) entry: OwnedEntry,
    pub(crate) scratch: Scratch,
    /// When to check liveness during a wait.
    pub(super) pace: Pace,
    /// The gate at which the last call that does not wait found no room.
    pub(in crate::channel) blocked: Option<Gate>,
}

impl Sender {
    pub(crate) fn new(writer: Writer, entry: OwnedEntry) -> Self {
        Self { writer, entry, scratch: Scratch::default(), pace: Pace::new(), blocked: None }
    }

    /// Publishes one packet. Returns the error of one form of the verb.
    ///
    /// The fast path of a flat packet in an exclusive ring needs no claim. It is inlined into the
    /// caller, for the number of stores: each takes a place in the processor's store queue, and
    /// with the call and its result there are 16 instead of 10 for a packet of one slot. While the
    /// queue is full, no further line is fetched from the other core.
    #[inline(always)]
    pub(crate) fn send<T: Packet, F: Form<SendError, WaitingFor>>(
        &mut self,
        value: &T,
        type_index: u16,
        timeout: Timeout,
    ) -> Result<u64, F> {
        if let Some(len) = T::FLAT_LEN
            && len <= u32::MAX as usize
            && !self.is_closed()
        {
            let Self { writer, scratch, .. } = self;
            let sent = guard::publish_in_lap(
                writer,
                Descriptor::data(len, type_index),
                #[inline(always)]
                |room| packet::write(value, room, scratch),
            );
            if let Some(sent) = sent {
                failpoint(Failpoint::CommitWake);
                self.notify_subscribers(1);
                return Ok(sent.map_err(SendError::from)?);
            }
        }
        packet::on_copy(
            value,
            #[inline(always)]
            |value| self.send_claimed(value, type_index, timeout),
        )
    }

    /// Publishes one packet through a claim: any packet of a shared ring or with pointers, and in
    /// an exclusive ring one that reaches the limit or the end of the lap.
    // Out of line: serialization is large, and `send` is inlined into its callers.
    #[inline(never)]
    fn send_claimed<T: Packet, F: Form<SendError, WaitingFor>>(
        &mut self,
        value: &T,
        type_index: u16,
        timeout: Timeout,
    ) -> Result<u64, F> {
        self.writer.abandon();
        self.send_message(MessageHeader::NONE, value, type_index, timeout)
    }

    /// Publishes one packet with a header. No claim may be open.
    ///
    /// The limit in a [`TooLarge`](SendError::TooLarge) of the ring includes the prefix.
    // Inlined, so that the length of a constant prefix is known.
    #[inline(always)]
    pub(crate) fn send_message<T: Packet, F: Form<SendError, WaitingFor>>(
        &mut self,
        MessageHeader { prefix, tag, limit, .. }: MessageHeader<'_>,
        value: &T,
        type_index: u16,
        timeout: Timeout,
    ) -> Result<u64, F> {
        self.check_open()?;
        let needed = packet::measure(value, &mut self.scratch).map_err(SendError::from)?;
        if needed > limit {
            return Err(SendError::TooLarge { needed, limit }.into());
        }
        let len = prefix.len().saturating_add(needed);
        self.claim::<F>(len, timeout)?;
        Ok(self.publish(prefix, value, Descriptor::data(len, type_index).with_tag(tag))?)
    }

    /// Publishes one packet with a tag, after its descriptors were sent.
    /// [`Stopped`](SendError::Stopped) if they were not sent.
    #[cfg(feature = "handover")]
    #[cold]
    #[inline(never)]
    pub(crate) fn send_attached<T: Packet>(
        &mut self,
        tag: u32,
        value: &T,
        type_index: u16,
        Attached(attach): Attached<'_>,
        timeout: Timeout,
    ) -> Result<u64, SendFailure> {
        self.check_open()?;
        let len = packet::measure(value, &mut self.scratch).map_err(SendError::from)?;
        self.claim::<SendFailure>(len, timeout)?;
        let Self { writer, scratch, .. } = self;
        let id = PacketId::new(writer.memory(), writer.next_position());
        let descriptor = Descriptor::data(len, type_index).with_tag(tag);
        let filled = guard::publish(writer, descriptor, |room| {
            packet::write(value, room, scratch).map_err(SendError::from)?;
            failpoint(Failpoint::FdsSend);
            if !attach(id) {
                return Err(SendError::Stopped);
            }
            failpoint(Failpoint::FdsMessage);
            Ok(())
        });
        failpoint(Failpoint::CommitWake);
        // Readers continue behind a void packet, so they are woken for it too.
        self.notify_subscribers(1);
        Ok(filled?)
    }

    /// Publishes a copy of an archive with a header. Returns the error of one form of the verb.
    pub(in crate::channel) fn send_archive<F: Form<SendError, WaitingFor>>(
        &mut self,
        archive: &[u8],
        type_index: u16,
        MessageHeader { prefix, tag, .. }: MessageHeader<'_>,
        timeout: Timeout,
    ) -> Result<u64, F> {
        let len = prefix.len().saturating_add(archive.len());
        self.claim::<F>(len, timeout)?;
        let descriptor = Descriptor::data(len, type_index).with_tag(tag);
        let Self { writer, scratch, .. } = self;
        let filled = guard::publish(writer, descriptor, |room| {
            let (head, room) = room.split_front(prefix.len());
            head.copy_from_slice(prefix);
            packet::write_archive(archive, room, scratch);
            Ok::<(), Unserializable>(())
        });
        let position = filled.map_err(|error| self.aborted(error))?;
        self.notify_subscribers(1);
        Ok(position)
    }

    /// Fills the open claim with one packet, commits it and wakes subscribers.
    #[inline(always)]
    pub(in crate::channel) fn publish<T: Packet>(
        &mut self,
        prefix: &[u8],
        value: &T,
        descriptor: Descriptor,
    ) -> Result<u64, SendError> {
        let position = self.fill(prefix, value, descriptor)?;
        failpoint(Failpoint::CommitWake);
        self.notify_subscribers(1);
        Ok(position)
    }

    /// Writes a prefix and a value's archive into the open claim, and commits them as one packet.
    /// Returns its position. Aborts the claim if that fails or panics in the value's own code.
    #[inline(always)]
    pub(super) fn fill<T: Packet>(
        &mut self,
        prefix: &[u8],
        value: &T,
        descriptor: Descriptor,
    ) -> Result<u64, SendError> {
        let Self { writer, scratch, .. } = self;
        // Inlined: a type has several callers, and a call costs about 40 instructions per packet.
        let filled = guard::publish(
            writer,
            descriptor,
            #[inline(always)]
            |room| {
                let (head, room) = room.split_front(prefix.len());
                head.copy_from_slice(prefix);
                packet::write(value, room, scratch)
            },
        );
        filled.map_err(|error| self.aborted(error))
    }

    #[cold]
    #[inline(never)]
    fn aborted(&mut self, error: Unserializable) -> SendError {
        // Readers continue behind a void packet, so they are woken for it too.
        self.notify_subscribers(1);
        error.into()
    }

    /// Begins an operation, and claims room for an archive of `len` bytes.
    #[inline]
    pub(crate) fn begin_claim<F: Form<SendError, WaitingFor>>(
        &mut self,
        len: usize,
        timeout: Timeout,
    ) -> Result<(), F> {
        // Fast path, as in `send`.
        let is_claimed = len <= self.writer.geometry().max_len()
            && self.writer.is_exclusive()
            && !self.is_closed()
            && self.writer.owns(span(len));
        if is_claimed { Ok(()) } else { self.begin_new_claim(len, timeout) }
    }

    /// Begins an operation with a claim of its own: any of a shared ring.
    // Out of line: the code of shared claims uses all registers. To save them costs an exclusive
    // reservation 14 instructions.
    #[inline(never)]
    fn begin_new_claim<F: Form<SendError, WaitingFor>>(
        &mut self,
        len: usize,
        timeout: Timeout,
    ) -> Result<(), F> {
        self.begin()?;
        self.claim::<F>(len, timeout)?;
        Ok(())
    }

    /// Begins an operation: aborts a claim that was forgotten, and fails if the ring is closed.
    #[inline]
    pub(in crate::channel) fn begin(&mut self) -> Result<(), SendError> {
        self.writer.abandon();
        self.check_open()
    }

    #[inline]
    pub(in crate::channel) fn check_open(&self) -> Result<(), SendError> {
        if self.is_closed() { Err(SendError::Closed) } else { Ok(()) }
    }

    #[inline]
    pub(in crate::channel) fn is_closed(&self) -> bool {
        RingState::of(self.writer.memory()) == RingState::Closed
    }

    #[inline]
    pub(in crate::channel) fn check_len(&self, len: usize) -> Result<(), SendError> {
        let limit = self.writer.geometry().max_len();
        if len > limit { Err(SendError::TooLarge { needed: len, limit }) } else { Ok(()) }
    }

    /// Claims room for an archive of `len` bytes, and waits for it.
    // Inlined: a call returns its result through memory, which costs 60 instructions per packet.
    #[inline(always)]
    pub(crate) fn claim<F: Form<SendError, WaitingFor>>(
        &mut self,
        len: usize,
        timeout: Timeout,
    ) -> Result<u64, F> {
        self.check_len(len)?;
        let span = span(len);
        let position = match self.writer.claim(span) {
            Ok(position) => position,
            Err(full) => self.wait_for_room::<F>(full, span, timeout)?,
        };
        self.choose_copying(len, position);
        Ok(position)
    }

    /// Chooses how to copy what was claimed at a position: `len` bytes at once.
    #[inline(always)]
    pub(in crate::channel) fn choose_copying(&mut self, len: usize, position: u64) {
        self.scratch.copies.choose(len, position, self.writer.geometry().capacity);
    }
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("ring", &self.entry.segment.name()).finish_non_exhaustive()
    }
}

impl HoldsClaim for Sender {
    fn writer(&mut self) -> &mut Writer {
        &mut self.writer
    }

    fn abandon(&mut self) {
        self.writer.abandon();
        // Readers continue behind a void packet, so they are woken for it too.
        self.notify_subscribers(1);
    }

    fn commit(&mut self, descriptor: Descriptor) -> u64 {
        let position = self.writer.commit(descriptor);
        self.notify_subscribers(1);
        position
    }
}
