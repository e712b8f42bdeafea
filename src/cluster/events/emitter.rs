//! Emitting: one packet with an event header into the ring of all events.
//!
//! A worker never waits for itself. If the ring is full and the emitter's own subscriber has the
//! lowest cursor, the emit fails with `OwnBacklog`.

use super::header::EventHeader;
use super::pattern::check_name;
use crate::channel::{
    AnyPublisher, MessageHeader, SendError, SendFailure, SubscriberIndex, WaitingFor,
};
use crate::cluster::error::{EmitError, EmitFailure};
use crate::cluster::names::WorkerId;
use crate::packet::Packet;
use crate::wait::{PENDING, Timeout, Wait, wait_until};

/// Emits the events of one `Events`.
#[derive(Debug)]
pub(super) struct Emitter {
    publisher: AnyPublisher,
    /// The worker that emits.
    sender: WorkerId,
    /// The subscriber of this `Events`. It receives the events of this emitter too.
    own: SubscriberIndex,
    /// The event header of the last event. Its allocation is reused.
    prefix: Vec<u8>,
}

impl Emitter {
    pub(super) fn new(publisher: AnyPublisher, sender: WorkerId, own: SubscriberIndex) -> Self {
        Self { publisher, sender, own, prefix: Vec::new() }
    }

    /// Sets how the emitter waits for room.
    pub(super) fn set_wait(&mut self, wait: Wait) {
        self.publisher.set_wait(wait);
    }

    /// Emits an event. Waits for room until `timeout`.
    pub(super) fn emit<T: Packet>(
        &mut self,
        event: &str,
        packet: &T,
        timeout: Timeout,
    ) -> Result<(), EmitFailure> {
        check_name(event)?;
        EventHeader { sender: self.sender }.write(event, &mut self.prefix);
        let sent = self.send(packet, Timeout::Zero);
        if is_full(&sent) && !matches!(timeout, Timeout::Zero) {
            return self.emit_slow(packet, timeout, sent);
        }
        sent
    }

    /// Tries to send until there is room or the timeout has passed. Each attempt waits for a short
    /// time only, because each attempt checks whether this worker's own backlog fills the ring.
    #[cold]
    fn emit_slow<T: Packet>(
        &mut self,
        packet: &T,
        timeout: Timeout,
        sent: Result<(), EmitFailure>,
    ) -> Result<(), EmitFailure> {
        let mut state = (self, sent);
        wait_until(
            &mut state,
            timeout.deadline(),
            |(_, sent)| (!is_full(sent)).then_some(()),
            |(emitter, sent), deadline| {
                *sent = emitter.send(packet, Timeout::After(deadline.cut(PENDING)));
            },
        );
        state.1
    }

    /// Sends the packet with the event header in `prefix`.
    fn send<T: Packet>(&mut self, packet: &T, timeout: Timeout) -> Result<(), EmitFailure> {
        let header = MessageHeader::of(&self.prefix);
        match self.publisher.send_with_header(header, packet, timeout) {
            Ok(_) => Ok(()),
            Err(SendFailure::NotReady(waiting_for)) if self.is_own_backlog(waiting_for) => {
                Err(EmitError::OwnBacklog.into())
            }
            Err(SendFailure::NotReady(waiting_for)) => Err(EmitFailure::NotReady(waiting_for)),
            Err(SendFailure::Error(error)) => Err(emit_error(error).into()),
        }
    }

    /// Returns true if the publisher waits for a subscriber and this worker's own one has the
    /// lowest cursor.
    fn is_own_backlog(&self, waiting_for: WaitingFor) -> bool {
        matches!(waiting_for, WaitingFor::Subscriber { .. }) && self.publisher.waits_for(self.own)
    }
}

fn is_full(sent: &Result<(), EmitFailure>) -> bool {
    matches!(sent, Err(EmitFailure::NotReady(_)))
}

fn emit_error(error: SendError) -> EmitError {
    match error {
        SendError::TooLarge { needed, limit } => EmitError::TooLarge { needed, limit },
        SendError::Unserializable(error) => EmitError::Unserializable(error),
        error => EmitError::Send(Box::new(error)),
    }
}
