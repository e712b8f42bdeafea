//! The inbox of a worker: messages of any types from any worker, in one order.
//!
//! Guarantee: a message whose send succeeded is delivered until [`Message::ack`]. If its guard is
//! dropped or forgotten, by `?` or by a panic, or if the worker is killed, the message is delivered
//! again, flagged as redelivered. It is lost only with the inbox: when the worker leaves or is
//! retired.
//!
//! An inbox is a ring with tagged slots and one durable subscriber. `message` is the guard, `send`
//! the sending side.
//!
//! A successor that chose another capacity [replaces](Worker::replace_inbox) an empty inbox:
//!
//! ```text
//!  make the new one under the other name ─► join it ─► seal the old one: no publisher can claim
//!        ─► switch the phase of the worker slot ─► close the old one ─► remove its name
//! ```

#[cfg(feature = "handover")]
mod fds;
mod message;
mod send;

pub use message::Message;

use super::dead_letters::NamedSender;
#[cfg(feature = "handover")]
use super::handover::OwnSocket;
use super::names::{ClusterObject, InboxName};
use super::pool::ENTRIES;
use super::worker::Worker;
use crate::channel::{
    AnySubscriber, MAX_ENTRIES, RecvError, RecvTimeoutError, Ring, RingBuilder, Selectable,
    Selectee, Taken, TryRecvError, Waitable, async_verb, verb,
};
use crate::error::{Form, OpenError};
use crate::failpoint::{Failpoint, failpoint};
use crate::packet::{OneOf, TypeInfo};
use crate::sys::stop::Stop;
use crate::trace::Hold;
use crate::wait::{Deadline, Pace, Subject, Timeout, Wait, wait_until};
use std::fmt;
use std::sync::PoisonError;

/// Name of the durable subscriber.
const SUBSCRIBER: &str = "inbox";
/// Default size of an inbox in bytes.
const CAPACITY: usize = 256 << 10;

/// Receives the messages of a worker. [`Worker::inbox`] returns it.
///
/// # Acknowledgement
///
/// A message is delivered until [`Message::ack`]. So each message is handled at least once, and a
/// message that was delivered before is flagged as
/// [redelivered](crate::Info::redelivered).
///
/// # Restart
///
/// Dropping an inbox loses nothing, and neither does the death of its worker. Messages wait for the
/// next worker of this name. [`Worker::leave`] and [`Worker::retire`] discard them.
///
/// # When it is full
///
/// A full inbox blocks its senders: [`send_to`](Worker::send_to) waits. No message is dropped.
pub struct Inbox {
    messages: AnySubscriber,
    capacity: usize,
    #[cfg(feature = "handover")]
    fds: OwnSocket,
}

impl Worker {
    /// Opens the inbox of this worker, for packets of any types.
    ///
    /// If the worker dies or is dropped afterwards, its name, its id and its inbox stay for the
    /// next worker of its name.
    /// [`inbox_capacity`](super::WorkerBuilder::inbox_capacity) sets the size, also of an inbox
    /// that exists, if it is empty. [`Inbox::capacity`] returns the size.
    ///
    /// ```
    /// # let cluster = format!("inbox-{}", std::process::id());
    /// use packetring::{Worker, one_of, packet};
    ///
    /// #[packet] struct Job { id: u64 }
    /// #[packet] struct Stop;
    /// #[one_of] enum Work { Job(Job), Stop(Stop) }
    ///
    /// let encoder = Worker::join(&cluster, "encoder")?;
    /// let mut inbox = encoder.inbox()?;
    ///
    /// let feed = Worker::join(&cluster, "feed")?; // here, or in another process
    /// feed.send_to("encoder", &Job { id: 7 })?;
    /// feed.send_to(&encoder.id(), &Stop)?;
    ///
    /// loop {
    ///     let message = inbox.recv()?;
    ///     assert_eq!(message.sender(), feed.id());
    ///     match message.open()? {
    ///         Some(Work::Job(job)) => assert_eq!(job.id, 7),
    ///         Some(Work::Stop(_)) => break message.ack(),
    ///         None => eprintln!("unexpected type {}", message.type_name()),
    ///     }
    ///     message.ack();
    /// }
    /// # encoder.leave()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// - [`InboxOpen`](OpenError::InboxOpen) if the inbox is open already, also if only an
    ///   [`Inbox`] of a dropped worker of this name is left.
    /// - [`BadSettings`](OpenError::BadSettings), [`Busy`](OpenError::Busy).
    /// - [`System`](OpenError::System), for example if `/dev/shm` is full.
    pub fn inbox(&self) -> Result<Inbox, OpenError> {
        self.open_inbox(&[])
    }

    /// Opens the inbox of this worker for packets of these types only. A sender of another type
    /// gets [`TypeRefused`](super::SendToError::TypeRefused).
    ///
    /// Messages that were sent before stay, whatever their type. A later [`inbox`](Self::inbox) of
    /// this worker accepts all types again.
    ///
    /// # Errors
    ///
    /// As [`inbox`](Self::inbox), and [`TooManyTypes`](OpenError::TooManyTypes).
    pub fn inbox_of<W: OneOf<'static>>(&self) -> Result<Inbox, OpenError> {
        self.open_inbox(W::TYPES)
    }

    fn open_inbox(&self, types: &[TypeInfo]) -> Result<Inbox, OpenError> {
        // Before the mutex, which another thread may have held when this process was forked.
        self.refuse_outsiders()?;
        // Another thread may be replacing the inbox.
        let _hold = Hold::new();
        let _one_at_a_time = self.opening.lock().unwrap_or_else(PoisonError::into_inner);
        let name = self.directory.presence(self.id()).inbox_name();
        self.directory.remove_spare_inbox(self.name())?;
        let mut ring = self.open(ClusterObject::Inbox(self.name(), name), self.inbox_settings())?;
        let mut messages = self.wait_for_inbox_of_predecessor(&ring)?;
        match self.replace_inbox(types, &ring, &mut messages, name)? {
            Some(new) => (ring, messages) = new,
            None => ring.accept(types)?,
        }
        messages.receiver.drain_with(self.draining.clone());
        messages.receiver.set_dead_letters(self.dead_letters(NamedSender::Original));
        // The last step: senders open the inbox of every kept slot.
        self.directory.keep()?;
        let capacity = ring.settings().capacity;
        #[cfg_attr(not(feature = "handover"), expect(unused_mut))]
        let mut inbox = Inbox {
            messages,
            capacity,
            #[cfg(feature = "handover")]
            fds: self.own_socket()?,
        };
        #[cfg(feature = "handover")]
        inbox.use_socket();
        Ok(inbox)
    }
}

impl Worker {
    /// Replaces the inbox by one of the chosen capacity, if it is empty and has another one. `None`
    /// if it stays.
    ///
    /// A process that is killed meanwhile leaves a current inbox, which has all messages. The next
    /// open removes the spare one.
    fn replace_inbox(
        &self,
        types: &[TypeInfo],
        ring: &Ring,
        messages: &mut AnySubscriber,
        name: InboxName,
    ) -> Result<Option<(Ring, AnySubscriber)>, OpenError> {
        let found = ring.settings().capacity;
        let is_kept = self.directory.presence(self.id()).has_inbox();
        let is_wanted = is_kept && self.choices.inbox_capacity.unwrap_or(found) != found;
        // Looks for a message first: most inboxes that stay need no memory for another one.
        if !is_wanted || messages.receiver.has_next() {
            return Ok(None);
        }
        let object = ClusterObject::Inbox(self.name(), name.other());
        let new = match self.open(object, self.inbox_settings()) {
            // A file of another user of the cluster's group, which only that user can remove.
            Err(OpenError::InUse { .. } | OpenError::SettingsMismatch { .. }) => return Ok(None),
            new => new?,
        };
        let joined = match self.switch_to(&new, types, ring, messages) {
            Ok(Some(joined)) => joined,
            outcome => {
                // It is the spare one. After an error the next open removes it.
                let _ = new.supersede();
                return outcome.map(|_| None);
            }
        };
        // The new one is the current one. After an error the next open removes the old one.
        ring.supersede()?;
        Ok(Some((new, joined)))
    }

    /// Makes `new` the current inbox. `None` if the old one stays, because it has a message. The
    /// old one also stays after an error.
    fn switch_to(
        &self,
        new: &Ring,
        types: &[TypeInfo],
        ring: &Ring,
        messages: &mut AnySubscriber,
    ) -> Result<Option<AnySubscriber>, OpenError> {
        let joined = new.any_acknowledged(SUBSCRIBER)?;
        new.accept(types)?;
        failpoint(Failpoint::InboxSeal);
        if !ring.seal(messages)? {
            return Ok(None);
        }
        self.directory.switch_inbox()?;
        Ok(Some(joined))
    }

    fn inbox_settings(&self) -> RingBuilder {
        let worker_slots = self.directory.worker_slots();
        RingBuilder::default().tagged_slots().or_else(|settings| {
            settings.capacity = self.choices.inbox_capacity.unwrap_or(CAPACITY);
            settings.stays_open = true;
            settings.max_publishers = (ENTRIES * worker_slots).min(MAX_ENTRIES);
            settings.max_subscribers = 1;
        })
    }

    /// Joins the ring of the own inbox. If the worker waited for its name, it also waits for the
    /// inbox, in which its predecessor may have a message in hand.
    fn wait_for_inbox_of_predecessor(&self, ring: &Ring) -> Result<AnySubscriber, OpenError> {
        let deadline = Deadline::after(self.choices.wait_for_name.unwrap_or_default());
        let is_stopped = || self.choices.limit().is_stopped();
        let (mut pid, mut departures) = (0, 0);
        let look = |departures: &mut u32| {
            *departures = ring.departures();
            match ring.any_acknowledged(SUBSCRIBER) {
                Err(OpenError::NameTaken { .. }) if is_stopped() => {
                    Some(Err(OpenError::Stopped { name: ring.segment().shown_name() }))
                }
                Err(OpenError::NameTaken { pid: owner, .. }) => {
                    pid = owner;
                    None
                }
                outcome => Some(outcome),
            }
        };
        let mut pace = Pace::new();
        let found = wait_until(&mut departures, deadline, look, |departures, deadline| {
            pace.pause(Subject { id: 0, is_pending: true }, deadline, |bound| {
                ring.wait_for_departure(*departures, bound);
            });
        });
        found.unwrap_or_else(|| Err(OpenError::InboxOpen { name: self.name().to_owned(), pid }))
    }
}

impl Inbox {
    verb! {
        /// Returns the next message. Waits for one.
        ///
        /// A message that was not [acknowledged](Message::ack) is delivered again by the next call.
        ///
        /// # Errors
        ///
        /// [`Closed`](RecvError::Closed) when the worker has left or was retired, and all messages
        /// in the inbox were delivered; also if the worker [drains](Worker::drain).
        /// [`Corrupt`](RecvError::Corrupt).
        recv, try_recv, recv_timeout = receive() -> Message<'_>;
        RecvError, TryRecvError::Empty, RecvTimeoutError::Timeout
    }

    async_verb! {
        recv_async = recv() -> Message<'_>; RecvError { take_next, open }, first take_fast
    }

    #[inline(always)]
    fn receive<F: Form<RecvError, ()>>(&mut self, timeout: Timeout) -> Result<Message<'_>, F> {
        let taken = self.take_next::<F>(timeout)?;
        Ok(self.open(taken))
    }

    #[inline(always)]
    fn take_next<F: Form<RecvError, ()>>(&mut self, timeout: Timeout) -> Result<Taken, F> {
        self.messages.take_next(timeout)
    }

    #[cfg(feature = "async")]
    #[inline(always)]
    fn take_fast(&mut self) -> Option<Taken> {
        self.messages.take_fast()
    }

    #[inline(always)]
    fn open(&mut self, taken: Taken) -> Message<'_> {
        Message {
            received: self.messages.open(taken),
            #[cfg(feature = "handover")]
            fds: &self.fds,
        }
    }

    /// How much waits to be received, in slots of 64 bytes. A message takes 16 bytes more than its
    /// archive, rounded up to 64.
    pub fn backlog(&self) -> u64 {
        self.messages.backlog()
    }

    /// Sets what ends the waits of this inbox.
    pub fn set_stop(&mut self, stop: &Stop) {
        self.messages.set_stop(stop);
    }

    /// Size of the inbox in bytes. It is the
    /// [`inbox_capacity`](super::WorkerBuilder::inbox_capacity) of its worker, unless the inbox
    /// existed with another size and had messages when it was opened.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Sets how this inbox waits from now on.
    pub fn set_wait(&mut self, wait: Wait) {
        self.messages.set_wait(wait);
    }
}

impl fmt::Debug for Inbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox").finish_non_exhaustive()
    }
}

impl Selectable for Inbox {
    fn selectee(&mut self) -> Selectee<'_> {
        self.messages.selectee()
    }
}
