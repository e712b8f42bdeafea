//! Sending to inboxes.
//!
//! It guarantees that each way in which a letter cannot be sent is an error of its own, and that a
//! send that succeeded is in the inbox of the worker that had the name, or the id, when it was sent.
//!
//! An inbox belongs to a name, so an endpoint stays good when the worker is restarted. Each send
//! compares one word, the phase of the worker's desk, with what it was when the endpoint was looked
//! up, and once more when it has attached; another one is looked up again.

use crate::channel::{AnyPublisher, RingBuilder, SendError, SendFailure, WaitingFor};
use crate::cluster::directory::{Directory, InboxAddress, Lookup};
use crate::cluster::error::{SendToError, SendToFailure, SendToTimeoutError, TrySendToError};
use crate::cluster::names::{Address, Addressee, Object};
use crate::cluster::pool::{PooledSender, SerializeDepth, Turn};
use crate::cluster::worker::Worker;
use crate::error::{Form, OpenError};
use crate::packet::Packet;
use crate::wait::{IDLE, Timeout};
use std::time::Duration;

/// How often an inbox is looked up that was given up while a letter was sent to it.
const LOOKS: usize = 3;

impl Worker {
    /// Sends a packet to a worker, by name or id: into its [inbox](Worker::inbox). Waits for room,
    /// also if the worker is away: for ever, if it never comes back.
    ///
    /// That it returns means that the packet is in the inbox, and is handed out until somebody there
    /// says that it is done with. The first packet to a worker attaches to its inbox.
    ///
    /// Packets of one thread come in their order. A letter whose own code sends letters while it is
    /// archived does not wait for room with these: if there is none, it gets
    /// [`WouldDeadlock`](SendToError::WouldDeadlock). (One that does so on its way into something else
    /// than an inbox waits, with a claim open there.)
    ///
    /// A packet to itself is one like any other: a worker that waits for room in its own inbox waits
    /// for itself.
    ///
    /// # Errors
    ///
    /// [`UnknownWorker`](SendToError::UnknownWorker), [`NoInbox`](SendToError::NoInbox),
    /// [`Dead`](SendToError::Dead), [`TypeRefused`](SendToError::TypeRefused),
    /// [`TooLarge`](SendToError::TooLarge), [`Unserializable`](SendToError::Unserializable),
    /// [`Closed`](SendToError::Closed), [`WouldDeadlock`](SendToError::WouldDeadlock),
    /// [`Open`](SendToError::Open).
    #[inline]
    pub fn send_to<T: Packet>(
        &self,
        who: &(impl Addressee + ?Sized),
        packet: &T,
    ) -> Result<(), SendToError> {
        self.send_with(&who.address(), packet, Timeout::Never)
    }

    /// Sends a packet to a worker if there is room now: see [`send_to`](Self::send_to).
    ///
    /// # Errors
    ///
    /// As [`send_to`](Self::send_to), and [`Full`](TrySendToError::Full).
    #[inline]
    pub fn try_send_to<T: Packet>(
        &self,
        who: &(impl Addressee + ?Sized),
        packet: &T,
    ) -> Result<(), TrySendToError> {
        self.send_with(&who.address(), packet, Timeout::Zero)
    }

    /// Sends a packet to a worker if there is room in time: see [`send_to`](Self::send_to).
    ///
    /// # Errors
    ///
    /// As [`send_to`](Self::send_to), and [`Timeout`](SendToTimeoutError::Timeout).
    #[inline]
    pub fn send_to_timeout<T: Packet>(
        &self,
        who: &(impl Addressee + ?Sized),
        packet: &T,
        timeout: Duration,
    ) -> Result<(), SendToTimeoutError> {
        self.send_with(&who.address(), packet, Timeout::After(timeout))
    }

    #[inline]
    fn send_with<T: Packet, F: Form<SendToError, WaitingFor>>(
        &self,
        who: &Address<'_>,
        packet: &T,
        timeout: Timeout,
    ) -> Result<(), F> {
        if let Some(mut own) = self.endpoints.own()
            && let Some(endpoint) = own.at_hand(who, &self.directory)
        {
            match self.send_by(endpoint, packet, Timeout::Zero) {
                Ok(_) => {
                    // Here, so that nothing of the result need be kept until it is.
                    drop(own);
                    return Ok(());
                }
                Err(error) if !may_go_on(&error, timeout) => {
                    if let Some(error) = SendToFailure::from(error).report() {
                        return Err(error);
                    }
                }
                Err(_) => {}
            }
        }
        F::retry(|| self.send_otherwise(who, packet, timeout))
    }

    #[inline(always)]
    fn send_by<T: Packet>(
        &self,
        endpoint: &mut AnyPublisher,
        packet: &T,
        timeout: Timeout,
    ) -> Result<u64, SendFailure> {
        let _archiving = const { !T::IS_COPIED }.then(SerializeDepth::begin);
        endpoint.send_tagged(self.endpoints.sender_tag.0, packet, timeout)
    }

    /// By an endpoint that threads share, if one is at hand, or slowly.
    #[inline(never)]
    fn send_otherwise<T: Packet>(
        &self,
        who: &Address<'_>,
        packet: &T,
        timeout: Timeout,
    ) -> Result<(), SendToFailure> {
        // In a forked child, whose parent may have held what is locked here.
        self.directory.refuse_inherited().map_err(|error| SendToError::Open(Box::new(error)))?;
        // It would wait for readers that its own claim holds up.
        if SerializeDepth::is_under_way() && !matches!(timeout, Timeout::Zero) {
            return self.send_shared_or_slowly(who, packet, Timeout::Zero).map_err(would_deadlock);
        }
        self.send_shared_or_slowly(who, packet, timeout)
    }

    #[inline(always)]
    fn send_shared_or_slowly<T: Packet>(
        &self,
        who: &Address<'_>,
        packet: &T,
        timeout: Timeout,
    ) -> Result<(), SendToFailure> {
        if self.endpoints.own().is_none()
            && let Some(mut loan) = self.endpoints.shared_at_hand(who, &self.directory)
            && let Some(endpoint) = &mut loan.endpoint
        {
            match self.send_by(endpoint, packet, Timeout::Zero) {
                Ok(_) => return Ok(()),
                Err(error) if !may_go_on(&error, timeout) => return Err(error.into()),
                Err(_) => {}
            }
        }
        self.send_slowly(who, packet, timeout)
    }

    /// Looks the worker up, attaches to its inbox if need be, and waits there.
    #[cold]
    fn send_slowly<T: Packet>(
        &self,
        who: &Address<'_>,
        packet: &T,
        timeout: Timeout,
    ) -> Result<(), SendToFailure> {
        let deadline = timeout.deadline();
        let (mut given_up, mut own_passed_over) = (0, false);
        while given_up < LOOKS {
            let place = look_up(&self.directory, who)?;
            let mut loan = self.endpoints.borrow(&place, who, &self.directory, own_passed_over);
            let is_fresh = loan.endpoint.is_none();
            if is_fresh {
                match self.attach::<T>(&place.name, &loan, timeout.left(deadline)) {
                    Ok(endpoint) => loan.endpoint = Some(endpoint),
                    // Given up since it was looked up.
                    Err(OpenError::NotFound { .. } | OpenError::Closed { .. }) => {
                        given_up += 1;
                        continue;
                    }
                    Err(OpenError::Full { .. }) if loan.is_own() => {
                        own_passed_over = true;
                        continue;
                    }
                    Err(error @ OpenError::Full { .. }) => match loan.wait_for_another(deadline) {
                        Turn::Come => {}
                        Turn::Again => continue,
                        Turn::Never => return Err(opening(error, timeout)),
                    },
                    Err(error) => return Err(opening(error, timeout)),
                }
            }
            if self.directory.presence(place.id) != place.presence {
                // Who had it may have left meanwhile, and a successor's be there that keeps no letters
                // yet: they would go into nothing.
                continue;
            }
            let Some(endpoint) = &mut loan.endpoint else { continue };
            match self.send_by(endpoint, packet, timeout.left(deadline)) {
                Err(SendFailure::Error(SendError::Closed)) => {
                    loan.endpoint = None;
                    // Of those that are kept any number may be of an inbox that was given up.
                    given_up += usize::from(is_fresh);
                }
                outcome => return outcome.map(drop).map_err(SendToFailure::from),
            }
        }
        Err(SendToError::Closed.into())
    }

    /// A new endpoint at an inbox that is there, for packets of this type among others. Often another
    /// thread of this worker is just attaching, too: for that one who only tries waits as well.
    fn attach<T: Packet>(
        &self,
        name: &str,
        loan: &PooledSender<'_>,
        timeout: Timeout,
    ) -> Result<AnyPublisher, OpenError> {
        let name = Object::Inbox(name).name(&self.cluster)?;
        let settings = RingBuilder::default().tagged_slots();
        let timeout = if let Timeout::Zero = timeout { Timeout::After(IDLE) } else { timeout };
        let settings = match (timeout, self.choices.join_timeout) {
            (Timeout::Zero, _) | (Timeout::Never, None) => settings,
            (Timeout::After(left), _) => settings.open_timeout(left),
            (Timeout::Never, Some(chosen)) => settings.open_timeout(chosen),
        };
        let ring = settings.attach_named(&name)?;
        let others = loan.others(ring.settings().max_publishers);
        let mut endpoint = ring.any_publisher_leaving(others)?;
        endpoint.set_timeout(self.choices.join_timeout);
        // What is wrong with it is said when the packet is sent.
        let _ = endpoint.register(&[T::TYPE], timeout);
        Ok(endpoint)
    }
}

/// Finds the inbox of a worker.
fn look_up(directory: &Directory, who: &Address<'_>) -> Result<InboxAddress, SendToError> {
    let who_text = || who.to_string();
    match directory.find(who) {
        Lookup::Inbox(address) => Ok(address),
        Lookup::NoInbox => Err(SendToError::NoInbox { who: who_text() }),
        Lookup::Gone { pid } => Err(SendToError::Dead { who: who_text(), pid }),
        Lookup::Unknown => Err(SendToError::UnknownWorker { who: who_text() }),
    }
}

/// Whether a send that was tried may succeed if it is looked up again, or waits.
fn may_go_on(error: &SendFailure, timeout: Timeout) -> bool {
    match error {
        SendFailure::Error(SendError::Closed) => true,
        SendFailure::NotReady(_) => !matches!(timeout, Timeout::Zero),
        SendFailure::Error(_) => false,
    }
}

/// The error of a call that may not wait, because it comes from a `Serialize` impl.
#[cold]
fn would_deadlock(failure: SendToFailure) -> SendToFailure {
    match failure {
        SendToFailure::NotReady(waiting_for) => SendToError::WouldDeadlock { waiting_for }.into(),
        error => error,
    }
}

/// Why an inbox cannot be attached to, as the sender sees it.
fn opening(error: OpenError, timeout: Timeout) -> SendToFailure {
    match (error, timeout) {
        (OpenError::Busy { pid, .. }, Timeout::Zero | Timeout::After(_)) => {
            SendToFailure::NotReady(WaitingFor::Joining { pid: pid.unwrap_or_default() })
        }
        (error, _) => SendToError::Open(Box::new(error)).into(),
    }
}

impl From<SendFailure> for SendToFailure {
    fn from(failure: SendFailure) -> Self {
        match failure {
            SendFailure::Error(error) => Self::Error(error.into()),
            SendFailure::NotReady(waiting_for) => Self::NotReady(waiting_for),
        }
    }
}

impl From<SendError> for SendToError {
    fn from(error: SendError) -> Self {
        match error {
            SendError::Closed => Self::Closed,
            SendError::TooLarge { needed, limit } => Self::TooLarge { needed, limit },
            SendError::Unserializable(error) => Self::Unserializable(error),
            SendError::TypeRefused(types) => Self::TypeRefused(types),
            SendError::TooManyTypes { limit } => {
                Self::Open(Box::new(OpenError::TooManyTypes { limit }))
            }
            SendError::System(source) => {
                let (action, object) = ("enter a packet's type into", "an inbox".to_owned());
                Self::Open(Box::new(OpenError::System { action, object, source }))
            }
        }
    }
}
