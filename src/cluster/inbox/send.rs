//! Sending to inboxes.
//!
//! Guarantees:
//!
//! - Each reason why a message cannot be sent is an error of its own.
//! - A message whose send succeeded is in the inbox of the worker that had the name or id then.
//!
//! An inbox belongs to a name, so an endpoint stays valid when the worker restarts. Each send
//! compares the worker's presence, one word, with its value at the lookup. A send that attached an
//! endpoint compares once more. If the presence changed, the worker is looked up again.

use crate::channel::{
    AnyPublisher, MessageHeader, Outgoing, RingBuilder, SendError, SendFailure, WaitingFor,
};
use crate::cluster::directory::{Directory, InboxAddress, Lookup};
use crate::cluster::error::{
    SendToError, SendToFailure, SendToTimeoutError, TrySendToError, WaitingForInbox,
};
use crate::cluster::names::{Address, Addressee, ClusterObject};
use crate::cluster::pool::{PoolWait, PooledSender, SerializeDepth};
use crate::cluster::worker::Worker;
use crate::error::{Detachment, Form, OpenError};
use crate::packet::{Packet, SendAs};
use crate::wait::{IDLE, Pace, Timeout};
#[cfg(feature = "dynamic")]
use packetring_dynamic::Value;
use std::time::Duration;

/// How many inboxes may be closed under one send, one after the other, before it fails.
const MAX_CLOSED: usize = 3;

impl Worker {
    /// Sends a packet to the [inbox](Worker::inbox) of a worker, by name or id. Waits for room.
    /// Takes `&packet`, or a [borrowed form](SendAs) of it.
    ///
    /// When it returns `Ok`, the message is in the inbox. It is delivered until the receiver
    /// [acknowledges](super::Message::ack) it. Messages of one thread arrive in their order.
    ///
    /// The first message to a worker attaches to its inbox. Later messages cost what a send to a
    /// ring costs. The first thread that sends takes no lock; other threads of this process take a
    /// mutex twice for each message.
    ///
    /// # When the worker dies
    ///
    /// The inbox of a worker that died or was dropped stays. While the worker is
    /// [away](crate::cluster::WorkerState::Away), messages wait in its inbox. If the inbox is full,
    /// this call waits until the worker returns or [`Worker::retire`] deletes the inbox.
    ///
    /// # Deadlocks
    ///
    /// A worker that waits for room in its own inbox waits for itself.
    ///
    /// A `Serialize` impl may send messages while its own message is serialized. Such a send does
    /// not wait for room: it fails with [`WouldDeadlock`](SendToError::WouldDeadlock). This covers
    /// only messages: a `send_to` from code that serializes a packet of a plain ring waits, and
    /// blocks that ring meanwhile.
    ///
    /// # Errors
    ///
    /// [`UnknownWorker`](SendToError::UnknownWorker), [`NoInbox`](SendToError::NoInbox),
    /// [`Dead`](SendToError::Dead), [`TypeRefused`](SendToError::TypeRefused),
    /// [`TooLarge`](SendToError::TooLarge), [`Unserializable`](SendToError::Unserializable),
    /// [`Detached`](SendToError::Detached), [`Closed`](SendToError::Closed),
    /// [`WouldDeadlock`](SendToError::WouldDeadlock), [`Open`](SendToError::Open).
    #[inline]
    pub fn send_to<T: Packet>(
        &self,
        who: &(impl Addressee + ?Sized),
        packet: impl SendAs<T>,
    ) -> Result<(), SendToError> {
        self.send_with(&who.address(), packet.value(), Timeout::Never)
    }

    /// As [`send_to`](Self::send_to), but does not wait.
    ///
    /// # Errors
    ///
    /// As [`send_to`](Self::send_to), and [`Full`](TrySendToError::Full).
    #[inline]
    pub fn try_send_to<T: Packet>(
        &self,
        who: &(impl Addressee + ?Sized),
        packet: impl SendAs<T>,
    ) -> Result<(), TrySendToError> {
        self.send_with(&who.address(), packet.value(), Timeout::Zero)
    }

    /// As [`send_to`](Self::send_to), but waits no longer than `timeout`.
    ///
    /// # Errors
    ///
    /// As [`send_to`](Self::send_to), and [`Timeout`](SendToTimeoutError::Timeout).
    #[inline]
    pub fn send_to_timeout<T: Packet>(
        &self,
        who: &(impl Addressee + ?Sized),
        packet: impl SendAs<T>,
        timeout: Duration,
    ) -> Result<(), SendToTimeoutError> {
        self.send_with(&who.address(), packet.value(), Timeout::After(timeout))
    }

    /// As [`send_to`](Self::send_to), for a packet without its Rust type: see
    /// [`AnyPublisher::send_value`]. [`inbox_types`](Self::inbox_types) has the types of an inbox.
    ///
    /// # Errors
    ///
    /// As [`send_to`](Self::send_to). [`Unserializable`](SendToError::Unserializable) if the value
    /// is a part of a packet.
    #[cfg(feature = "dynamic")]
    pub fn send_value_to(
        &self,
        who: &(impl Addressee + ?Sized),
        value: Value<'_>,
    ) -> Result<(), SendToError> {
        self.send_with(&who.address(), value, Timeout::Never)
    }

    /// As [`send_value_to`](Self::send_value_to), but does not wait.
    ///
    /// # Errors
    ///
    /// As [`send_value_to`](Self::send_value_to), and [`Full`](TrySendToError::Full).
    #[cfg(feature = "dynamic")]
    pub fn try_send_value_to(
        &self,
        who: &(impl Addressee + ?Sized),
        value: Value<'_>,
    ) -> Result<(), TrySendToError> {
        self.send_with(&who.address(), value, Timeout::Zero)
    }

    /// As [`send_value_to`](Self::send_value_to), but waits no longer than `timeout`.
    ///
    /// # Errors
    ///
    /// As [`send_value_to`](Self::send_value_to), and [`Timeout`](SendToTimeoutError::Timeout).
    #[cfg(feature = "dynamic")]
    pub fn send_value_to_timeout(
        &self,
        who: &(impl Addressee + ?Sized),
        value: Value<'_>,
        timeout: Duration,
    ) -> Result<(), SendToTimeoutError> {
        self.send_with(&who.address(), value, Timeout::After(timeout))
    }

    /// A try of [`send_to_async`](Self::send_to_async).
    #[cfg(feature = "async")]
    pub(in crate::cluster) fn send_in_task<T: Packet>(
        &self,
        who: &Address<'_>,
        packet: &T,
    ) -> Result<(), SendToFailure> {
        let sent = self.send_with(who, packet, Timeout::Task);
        if SerializeDepth::is_under_way() { sent.map_err(would_deadlock) } else { sent }
    }

    #[inline]
    fn send_with<P: Outgoing, F: Form<SendToError, WaitingForInbox>>(
        &self,
        who: &Address<'_>,
        packet: P,
        timeout: Timeout,
    ) -> Result<(), F> {
        let header = MessageHeader::tagged(self.senders.sender_tag.0.into());
        if let Some(mut own) = self.senders.own()
            && let Some(endpoint) = own.cached(who, &self.directory)
        {
            match send_by(endpoint, packet, header, timeout.first_try()) {
                Ok(_) => {
                    // Dropped here, so that the result is not kept across the drop.
                    drop(own);
                    return Ok(());
                }
                Err(error) if !may_retry(&error, timeout) => {
                    if let Some(error) = failed(who, error).report() {
                        return Err(error);
                    }
                }
                Err(_) => {}
            }
        }
        F::retry(|| self.send_slow(who, packet, header, timeout))
    }

    /// Every send that the fast path leaves over: of another thread, after a lookup, with a wait.
    #[inline(never)]
    pub(super) fn send_slow<P: Outgoing>(
        &self,
        who: &Address<'_>,
        packet: P,
        header: MessageHeader<'_>,
        timeout: Timeout,
    ) -> Result<(), SendToFailure> {
        // Before any lock: in a forked child it may be held by a thread of the parent.
        self.directory.refuse_inherited().map_err(|error| SendToError::Open(Box::new(error)))?;
        if SerializeDepth::is_under_way() && timeout.waits() {
            // Waiting could never end: the reader may need the claim of the outer message.
            return self.send_shared(who, packet, header, Timeout::Zero).map_err(would_deadlock);
        }
        self.send_shared(who, packet, header, timeout)
    }

    /// Sends by an idle endpoint of the shared shard, or looks the worker up.
    fn send_shared<P: Outgoing>(
        &self,
        who: &Address<'_>,
        packet: P,
        header: MessageHeader<'_>,
        timeout: Timeout,
    ) -> Result<(), SendToFailure> {
        if self.senders.own().is_none()
            && let Some(mut sender) = self.senders.lend_cached(who, &self.directory)
            && let Some(endpoint) = &mut sender.endpoint
        {
            match send_by(endpoint, packet, header, timeout.first_try()) {
                Ok(_) => return Ok(()),
                Err(error) if !may_retry(&error, timeout) => return Err(failed(who, error)),
                Err(_) => {}
            }
        }
        self.send_looked_up(who, packet, header, timeout)
    }

    /// Looks the worker up, attaches to its inbox if this thread has no endpoint there, and waits
    /// for room.
    #[cold]
    fn send_looked_up<P: Outgoing>(
        &self,
        who: &Address<'_>,
        packet: P,
        header: MessageHeader<'_>,
        timeout: Timeout,
    ) -> Result<(), SendToFailure> {
        let deadline = timeout.deadline();
        let (mut closed, mut skip_own, mut pace) = (0, false, Pace::new());
        while closed < MAX_CLOSED {
            let address = look_up(&self.directory, who)?;
            let mut sender = self.senders.lend(&address, who, &self.directory, skip_own);
            let is_fresh = sender.endpoint.is_none();
            if is_fresh {
                match self.attach(&address, &sender, packet, timeout.left(deadline)) {
                    Ok(endpoint) => sender.endpoint = Some(endpoint),
                    // An inbox that is discarded or replaced changes the presence first: only its
                    // name was removed.
                    Err(error)
                        if is_removed(&error)
                            && self.directory.presence(address.id) == address.presence =>
                    {
                        return Err(SendToError::Detached(Detachment::NameRemoved).into());
                    }
                    // The inbox was discarded or replaced after the lookup.
                    Err(error)
                        if is_removed(&error) || matches!(error, OpenError::Closed { .. }) =>
                    {
                        closed += 1;
                        continue;
                    }
                    // The inbox has no entry left. No other thread returns an endpoint to the own
                    // shard, so use the shared one.
                    Err(OpenError::Full { .. }) if sender.is_own() => {
                        skip_own = true;
                        continue;
                    }
                    Err(error @ OpenError::Full { .. }) => {
                        match sender.wait_for_return(deadline, &mut pace, self.directory.stop()) {
                            PoolWait::Ready => {}
                            PoolWait::Again if self.choices.limit().is_stopped() => {
                                return Err(SendToError::Stopped.into());
                            }
                            PoolWait::Again => continue,
                            PoolWait::Full => return Err(not_attached(who, error, timeout)),
                        }
                    }
                    Err(error) => return Err(not_attached(who, error, timeout)),
                }
            }
            if self.directory.presence(address.id) != address.presence {
                // The worker may have left, and its successor's inbox may not be durable yet: the
                // message would be lost.
                continue;
            }
            let Some(endpoint) = &mut sender.endpoint else { continue };
            match send_by(endpoint, packet, header, timeout.left(deadline)) {
                Err(SendFailure::Error(SendError::Closed)) => {
                    sender.endpoint = None;
                    // Any number of idle endpoints may belong to an inbox that was closed.
                    closed += usize::from(is_fresh);
                }
                outcome => return outcome.map(drop).map_err(|error| failed(who, error)),
            }
        }
        Err(SendToError::Closed.into())
    }

    /// Attaches an endpoint to an existing inbox and registers the packet's type.
    ///
    /// `Timeout::Zero` waits up to [`IDLE`] for the control lock: another thread of this worker may
    /// be attaching to the same inbox.
    fn attach(
        &self,
        address: &InboxAddress,
        sender: &PooledSender<'_>,
        packet: impl Outgoing,
        timeout: Timeout,
    ) -> Result<AnyPublisher, OpenError> {
        self.directory.refuse_detached()?;
        let inbox_name = address.presence.inbox_name();
        let name = ClusterObject::Inbox(&address.name, inbox_name).name(&self.cluster)?;
        let timeout = timeout.for_lock(IDLE);
        let mut settings = self.with_choices(RingBuilder::default().tagged_slots());
        if let Timeout::After(left) = timeout {
            settings = settings.open_timeout(left);
        }
        let ring = settings.attach_named(&name)?;
        let reserved = sender.reserved(ring.settings().max_publishers);
        let mut endpoint = ring.any_publisher_leaving(reserved)?;
        endpoint.set_timeout(self.choices.join_timeout);
        // Registers the type. The send that follows reports an error of the registration.
        let _ = packet.index_in(&mut endpoint, timeout);
        Ok(endpoint)
    }
}

#[inline(always)]
fn send_by<P: Outgoing>(
    endpoint: &mut AnyPublisher,
    packet: P,
    header: MessageHeader<'_>,
    timeout: Timeout,
) -> Result<u64, SendFailure> {
    let _depth = const { !P::IS_COPIED }.then(SerializeDepth::begin);
    endpoint.send_with_header(header, packet, timeout)
}

/// Returns true if the name of an inbox leads to no inbox, or to another one since it was opened.
fn is_removed(error: &OpenError) -> bool {
    matches!(
        error,
        OpenError::NotFound { .. } | OpenError::Detached { cause: Detachment::NameRemoved, .. }
    )
}

/// Finds the inbox of a worker.
fn look_up(directory: &Directory, who: &Address<'_>) -> Result<InboxAddress, SendToError> {
    let name = || who.to_string();
    match directory.find(who) {
        Lookup::Inbox(address) => Ok(address),
        Lookup::NoInbox => Err(SendToError::NoInbox { who: name() }),
        Lookup::Gone { pid } => Err(SendToError::Dead { who: name(), pid }),
        Lookup::Unknown => Err(SendToError::UnknownWorker { who: name() }),
    }
}

/// Returns true if a send that failed without a wait may succeed after a lookup, or with a wait.
fn may_retry(error: &SendFailure, timeout: Timeout) -> bool {
    match error {
        SendFailure::Error(SendError::Closed) => true,
        SendFailure::NotReady(_) => timeout.waits(),
        SendFailure::Error(_) => false,
    }
}

/// The error of a nested send, which must not wait.
#[cold]
fn would_deadlock(failure: SendToFailure) -> SendToFailure {
    match failure {
        SendToFailure::NotReady(waiting_for) => SendToError::WouldDeadlock { waiting_for }.into(),
        error => error,
    }
}

/// The failure of a send whose endpoint could not be attached.
fn not_attached(who: &Address<'_>, error: OpenError, timeout: Timeout) -> SendToFailure {
    match (error, timeout) {
        (OpenError::Busy { pid, .. }, timeout) if !matches!(timeout, Timeout::Never) => {
            waits(who, WaitingFor::Joining { pid: pid.unwrap_or_default() })
        }
        (OpenError::Stopped { .. }, _) => SendToError::Stopped.into(),
        (OpenError::Detached { cause, .. }, _) => SendToError::Detached(cause).into(),
        (error, _) => SendToError::Open(Box::new(error)).into(),
    }
}

/// The failure of a send to this worker.
#[cold]
#[inline(never)]
fn failed(who: &Address<'_>, failure: SendFailure) -> SendToFailure {
    match failure {
        SendFailure::Error(error) => SendToFailure::Error(error.into()),
        SendFailure::NotReady(reason) => waits(who, reason),
    }
}

fn waits(who: &Address<'_>, reason: WaitingFor) -> SendToFailure {
    SendToFailure::NotReady(WaitingForInbox { who: who.to_string(), reason })
}
