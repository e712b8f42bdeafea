//! Emitting: one packet with an event header into the ring of all events.
//!
//! - [`EventSender`] is the emitting part of an `Events`. A worker never waits for itself: if the
//!   ring is full and no subscriber is further behind than the own one, the emit fails with
//!   `OwnBacklog`.
//! - [`Emitter`] only emits. It has no subscriber, so it has no backlog and is never told of one.

#[cfg(feature = "async")]
use super::Events;
use super::header::EventHeader;
use super::pattern::check_name;
use super::ring;
use crate::channel::{
    AnyPublisher, MessageHeader, Outgoing, SendError, SendFailure, SubscriberIndex, WaitingFor,
};
#[cfg(feature = "async")]
use crate::channel::{Selectable, Selectee, in_task};
use crate::cluster::error::{EmitError, EmitFailure, EmitTimeoutError, TryEmitError};
use crate::cluster::names::WorkerId;
use crate::cluster::worker::Worker;
use crate::error::{Form as _, OpenError};
use crate::packet::{Packet, SendAs};
use crate::sys::stop::Stop;
use crate::wait::{Pace, Subject, Timeout, Wait, wait_until};
#[cfg(feature = "dynamic")]
use packetring_dynamic::Value;
use std::fmt;
use std::time::Duration;

/// Emits events and receives none. [`Worker::emitter`] returns it.
///
/// An `Emitter` has no backlog: it is never told [`OwnBacklog`](EmitError::OwnBacklog), and holds
/// no other emitter up. It is `Send`; each thread may open its own.
///
/// Like [`Events`](super::Events), it waits for the slowest `Events` of the cluster if the ring of
/// events is full. If its own thread also has `Events`, emit by these: they notice that the thread
/// would wait for itself.
pub struct Emitter {
    sender: EventSender,
}

impl Worker {
    /// Opens the cluster's events to emit only. Creates their ring if it does not exist, with the
    /// [`events_overflow`](crate::cluster::WorkerBuilder::events_overflow) of this worker.
    ///
    /// ```
    /// # let cluster = format!("emitter-{}", std::process::id());
    /// use packetring::Worker;
    ///
    /// let web = Worker::join(&cluster, "web")?;
    /// let mut emitter = web.emitter()?;
    /// emitter.emit("sold", &1_u32)?; // Nobody listens yet.
    ///
    /// let stock = Worker::join(&cluster, "stock")?; // here, or in another process
    /// let mut total = 0;
    /// let mut events = stock.events()?;
    /// events.on::<u32>("sold", |count, _| total += count.to_native());
    /// emitter.emit("sold", &3_u32)?;
    /// events.poll()?;
    /// drop(events);
    /// assert_eq!(total, 3);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`SettingsMismatch`](OpenError::SettingsMismatch) if this worker chose another overflow than
    /// the first one. [`Full`](OpenError::Full), [`Busy`](OpenError::Busy),
    /// [`System`](OpenError::System).
    pub fn emitter(&self) -> Result<Emitter, OpenError> {
        let publisher = ring(self)?.any_publisher()?;
        Ok(Emitter { sender: EventSender::new(publisher, self.id(), None) })
    }
}

impl Emitter {
    /// Emits an event to all workers that have [`Events`](super::Events). Waits for room.
    /// Takes `&packet`, or a [borrowed form](SendAs) of it.
    ///
    /// The name has 1 to 1024 bytes, and no part of it is `*` or `**`.
    ///
    /// # Errors
    ///
    /// [`BadName`](EmitError::BadName), [`TooLarge`](EmitError::TooLarge),
    /// [`Unserializable`](EmitError::Unserializable), [`Send`](EmitError::Send).
    pub fn emit<T: Packet>(
        &mut self,
        event: &str,
        packet: impl SendAs<T>,
    ) -> Result<(), EmitError> {
        EmitError::retry(|| self.sender.emit(event, packet.value(), Timeout::Never))
    }

    /// Emits an event if there is room now: see [`emit`](Self::emit).
    ///
    /// # Errors
    ///
    /// As [`emit`](Self::emit), and [`Full`](TryEmitError::Full).
    pub fn try_emit<T: Packet>(
        &mut self,
        event: &str,
        packet: impl SendAs<T>,
    ) -> Result<(), TryEmitError> {
        TryEmitError::retry(|| self.sender.emit(event, packet.value(), Timeout::Zero))
    }

    /// Emits an event if there is room before the timeout: see [`emit`](Self::emit).
    ///
    /// # Errors
    ///
    /// As [`emit`](Self::emit), and [`Timeout`](EmitTimeoutError::Timeout).
    pub fn emit_timeout<T: Packet>(
        &mut self,
        event: &str,
        packet: impl SendAs<T>,
        timeout: Duration,
    ) -> Result<(), EmitTimeoutError> {
        EmitTimeoutError::retry(|| self.sender.emit(event, packet.value(), Timeout::After(timeout)))
    }

    /// As [`emit`](Self::emit), for a packet without its Rust type: see
    /// [`AnyPublisher::send_value`]. [`event_types`](Worker::event_types) has the types of events.
    ///
    /// # Errors
    ///
    /// As [`emit`](Self::emit). [`Unserializable`](EmitError::Unserializable) if the value is a
    /// part of a packet.
    #[cfg(feature = "dynamic")]
    pub fn emit_value(&mut self, event: &str, value: Value<'_>) -> Result<(), EmitError> {
        EmitError::retry(|| self.sender.emit(event, value, Timeout::Never))
    }

    /// Emits the value of a packet if there is room now: see [`emit_value`](Self::emit_value).
    ///
    /// # Errors
    ///
    /// As [`emit_value`](Self::emit_value), and [`Full`](TryEmitError::Full).
    #[cfg(feature = "dynamic")]
    pub fn try_emit_value(&mut self, event: &str, value: Value<'_>) -> Result<(), TryEmitError> {
        TryEmitError::retry(|| self.sender.emit(event, value, Timeout::Zero))
    }

    /// Emits the value of a packet if there is room before the timeout: see
    /// [`emit_value`](Self::emit_value).
    ///
    /// # Errors
    ///
    /// As [`emit_value`](Self::emit_value), and [`Timeout`](EmitTimeoutError::Timeout).
    #[cfg(feature = "dynamic")]
    pub fn emit_value_timeout(
        &mut self,
        event: &str,
        value: Value<'_>,
        timeout: Duration,
    ) -> Result<(), EmitTimeoutError> {
        EmitTimeoutError::retry(|| self.sender.emit(event, value, Timeout::After(timeout)))
    }

    /// As [`emit`](Self::emit), but waits for room in a task, for any executor. Dropping the future
    /// emits nothing, or the whole event.
    ///
    /// # Errors
    ///
    /// As [`emit`](Self::emit). [`Send`](EmitError::Send) also if the task cannot wait, as
    /// [`ready`](crate::Selectable::ready).
    #[cfg(feature = "async")]
    pub async fn emit_async<T: Packet>(
        &mut self,
        event: &str,
        packet: impl SendAs<T>,
    ) -> Result<(), EmitError> {
        self.sender.emit_in_task(event, packet.value()).await
    }

    /// Sets what ends the waits of this emitter.
    pub fn set_stop(&mut self, stop: &Stop) {
        self.sender.set_stop(stop);
    }

    /// Changes how this emitter waits for room from now on.
    pub fn set_wait(&mut self, wait: Wait) {
        self.sender.set_wait(wait);
    }
}

#[cfg(feature = "async")]
impl Events<'_> {
    /// As [`emit`](Self::emit), but waits for room in a task, for any executor. Dropping the future
    /// emits nothing, or the whole event.
    ///
    /// # Errors
    ///
    /// As [`emit`](Self::emit), also [`OwnBacklog`](EmitError::OwnBacklog): these `Events` cannot
    /// dispatch while the future has them. [`Send`](EmitError::Send) also if the task cannot wait,
    /// as [`ready`](crate::Selectable::ready).
    pub async fn emit_async<T: Packet>(
        &mut self,
        event: &str,
        packet: impl SendAs<T>,
    ) -> Result<(), EmitError> {
        self.emitter.emit_in_task(event, packet.value()).await
    }
}

impl fmt::Debug for Emitter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Emitter").field("worker", &self.sender.sender).finish_non_exhaustive()
    }
}

/// The emitting part of an `Events` or an [`Emitter`].
#[derive(Debug)]
pub(super) struct EventSender {
    publisher: AnyPublisher,
    /// The worker that emits.
    sender: WorkerId,
    /// The subscriber of this `Events`. It receives the events of this emitter too.
    own: Option<SubscriberIndex>,
    /// The event header of the last event. Its allocation is reused.
    prefix: Vec<u8>,
}

impl EventSender {
    pub(super) fn new(
        publisher: AnyPublisher,
        sender: WorkerId,
        own: Option<SubscriberIndex>,
    ) -> Self {
        Self { publisher, sender, own, prefix: Vec::new() }
    }

    /// Sets how the emitter waits for room.
    pub(super) fn set_wait(&mut self, wait: Wait) {
        self.publisher.set_wait(wait);
    }

    /// Sets what ends its waits.
    pub(super) fn set_stop(&mut self, stop: &Stop) {
        self.publisher.set_stop(stop);
    }

    /// Emits an event. Waits for room until `timeout`.
    pub(super) fn emit<P: Outgoing>(
        &mut self,
        event: &str,
        packet: P,
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

    /// Emits an event. Waits for room in a task.
    #[cfg(feature = "async")]
    async fn emit_in_task<T: Packet>(&mut self, event: &str, packet: &T) -> Result<(), EmitError> {
        check_name(event)?;
        EventHeader { sender: self.sender }.write(event, &mut self.prefix);
        // Each wake-up by the clock tries again, and so checks the own backlog.
        let system = |error| emit_error(SendError::System(error));
        self.publisher.index_in_task::<T>().await.map_err(emit_error)?;
        in_task(self, system, |emitter| emitter.send(packet, Timeout::Task)).await
    }

    /// Tries to send until there is room or the timeout has passed. Each attempt waits for a short
    /// time only, because each attempt checks whether this worker's own backlog fills the ring.
    #[cold]
    fn emit_slow<P: Outgoing>(
        &mut self,
        packet: P,
        timeout: Timeout,
        sent: Result<(), EmitFailure>,
    ) -> Result<(), EmitFailure> {
        let mut state = (self, sent);
        let mut pace = Pace::new();
        wait_until(
            &mut state,
            timeout.deadline(),
            |(_, sent)| (!is_full(sent)).then_some(()),
            |(emitter, sent), deadline| {
                *sent = pace.pause(Subject { id: 0, is_pending: true }, deadline, |bound| {
                    emitter.send(packet, Timeout::After(bound))
                });
            },
        );
        state.1
    }

    /// Sends the packet with the event header in `prefix`.
    fn send<P: Outgoing>(&mut self, packet: P, timeout: Timeout) -> Result<(), EmitFailure> {
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
        matches!(waiting_for, WaitingFor::Subscriber { .. })
            && self.own.is_some_and(|own| self.publisher.waits_for(own))
    }
}

/// Ready if there may be room since a try found none.
#[cfg(feature = "async")]
impl Selectable for EventSender {
    fn selectee(&mut self) -> Selectee<'_> {
        self.publisher.selectee()
    }
}

fn is_full(sent: &Result<(), EmitFailure>) -> bool {
    matches!(sent, Err(EmitFailure::NotReady(_)))
}

fn emit_error(error: SendError) -> EmitError {
    match error {
        SendError::TooLarge { needed, limit } => EmitError::TooLarge { needed, limit },
        SendError::Unserializable(error) => EmitError::Unserializable(error),
        SendError::Stopped => EmitError::Stopped,
        error => EmitError::Send(Box::new(error)),
    }
}
