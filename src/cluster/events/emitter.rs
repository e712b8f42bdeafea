//! Emitting: one letter onto the ring of all events.
//!
//! It guarantees that nobody waits for itself: where the ring is full and no subscriber is further
//! behind than the emitter's own, it says so.

use super::header::EventHeader;
use super::pattern::check_name;
use crate::channel::{
    AnyPublisher, MessageHeader, SendError, SendFailure, SubscriberIndex, WaitingFor,
};
use crate::cluster::error::{EmitError, EmitFailure};
use crate::cluster::names::WorkerId;
use crate::packet::Packet;
use crate::wait::{Deadline, PENDING, Timeout, Wait};

/// What emits the events of one `Events`.
#[derive(Debug)]
pub(crate) struct Emitter {
    out: AnyPublisher,
    /// The worker's number.
    sender: WorkerId,
    /// Where the events come back to.
    own: SubscriberIndex,
    /// The last letter's front; its memory is kept.
    prefix: Vec<u8>,
}

impl Emitter {
    pub(crate) fn new(out: AnyPublisher, sender: WorkerId, own: SubscriberIndex) -> Self {
        Self { out, sender, own, prefix: Vec::new() }
    }

    /// The worker's number.
    pub(crate) fn sender(&self) -> WorkerId {
        self.sender
    }

    /// Chooses how it waits for room.
    pub(crate) fn set_wait(&mut self, wait: Wait) {
        self.out.set_wait(wait);
    }

    /// Emits an event.
    pub(crate) fn emit<T: Packet>(
        &mut self,
        event: &str,
        packet: &T,
        timeout: Timeout,
    ) -> Result<(), EmitFailure> {
        check_name(event)?;
        let envelope = EventHeader { sender: self.sender };
        envelope.prefix(event, &mut self.prefix);
        match self.out.send_with_header(MessageHeader::of(&self.prefix), packet, Timeout::Zero) {
            Ok(_) => Ok(()),
            Err(SendFailure::NotReady(waiting_for)) => self.wait(packet, timeout, waiting_for),
            Err(SendFailure::Error(error)) => Err(refused(error).into()),
        }
    }

    /// Tries again and again, looking in between whom it waits for.
    #[cold]
    fn wait<T: Packet>(
        &mut self,
        packet: &T,
        timeout: Timeout,
        mut waiting_for: WaitingFor,
    ) -> Result<(), EmitFailure> {
        let deadline = timeout.deadline();
        loop {
            if self.waits_for_itself(waiting_for) {
                return Err(EmitError::OwnBacklog.into());
            }
            if matches!(timeout, Timeout::Zero) || deadline.has_passed() {
                return Err(EmitFailure::NotReady(waiting_for));
            }
            waiting_for = match self.try_within(packet, deadline) {
                Ok(_) => return Ok(()),
                Err(SendFailure::NotReady(waiting_for)) => waiting_for,
                Err(SendFailure::Error(error)) => return Err(refused(error).into()),
            };
        }
    }

    fn try_within<T: Packet>(
        &mut self,
        packet: &T,
        deadline: Deadline,
    ) -> Result<u64, SendFailure> {
        let timeout = Timeout::After(deadline.cut(PENDING));
        self.out.send_with_header(MessageHeader::of(&self.prefix), packet, timeout)
    }

    fn waits_for_itself(&self, waiting_for: WaitingFor) -> bool {
        matches!(waiting_for, WaitingFor::Subscriber { .. }) && self.out.waits_for(self.own)
    }
}

fn refused(error: SendError) -> EmitError {
    match error {
        SendError::TooLarge { needed, limit } => EmitError::TooLarge { needed, limit },
        SendError::Unserializable(error) => EmitError::Unserializable(error),
        error => EmitError::Send(Box::new(error)),
    }
}
