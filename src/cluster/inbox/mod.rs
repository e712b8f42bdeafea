//! A worker's inbox: letters of any types from any worker, in one order, kept until they are done
//! with.
//!
//! It guarantees that a letter whose sending succeeded is handed out until somebody says
//! [`Message::ack`]: a letter in hand when the worker was killed, when its guard was dropped, by `?`,
//! by a panic or just so, or forgotten, comes again, flagged. It is lost only with the inbox, when the
//! worker leaves or is retired.
//!
//! It is a ring of letters with one durable subscriber, `inbox`. Not here: how letters come into it
//! (`outgoing`).

mod message;
mod send;

pub use message::Message;

use super::names::Object;
use super::pool::ENTRIES;
use super::worker::Worker;
use crate::channel::{
    AnySubscriber, MAX_ENTRIES, RecvError, RecvTimeoutError, RingBuilder, Selectable, Selectee,
    TryRecvError,
};
use crate::error::OpenError;
use crate::packet::{OneOf, TypeInfo};
use crate::wait::Wait;
use std::fmt;
use std::time::Duration;

/// The inbox' one durable subscriber.
const OWNER: &str = "inbox";
/// Bytes of an inbox, if not chosen.
pub(super) const CAPACITY: usize = 256 << 10;

/// A worker's inbox. Dropping it loses nothing: what is in it waits for the next.
pub struct Inbox {
    mails: AnySubscriber,
}

impl Worker {
    /// This worker's inbox, for packets of any types. From now on it is expected back when it dies
    /// or is dropped: its name, its id and its inbox stay, and letters wait there for the next worker
    /// of its name.
    ///
    /// It holds as many bytes as the builder's
    /// [`inbox_capacity`](super::WorkerBuilder::inbox_capacity) says; when they are full, senders wait.
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
    ///     let letter = inbox.recv()?;
    ///     assert_eq!(letter.sender(), feed.id());
    ///     match letter.open()? {
    ///         Some(Work::Job(job)) => assert_eq!(job.id, 7),
    ///         Some(Work::Stop(_)) => break letter.ack(),
    ///         None => eprintln!("a {} is not for us", letter.type_name()),
    ///     }
    ///     letter.ack();
    /// }
    /// # encoder.leave()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`InboxOpen`](OpenError::InboxOpen) if this worker's inbox is in hand already, also that of one
    /// of its name that was dropped,
    /// [`SettingsMismatch`](OpenError::SettingsMismatch) if its predecessor's has another capacity
    /// than was chosen, [`BadSettings`](OpenError::BadSettings), [`Busy`](OpenError::Busy),
    /// [`System`](OpenError::System), for example when `/dev/shm` is full.
    pub fn inbox(&self) -> Result<Inbox, OpenError> {
        self.open_inbox(&[])
    }

    /// The same, for packets of these types alone: who sends others gets
    /// [`TypeRefused`](super::SendToError::TypeRefused).
    ///
    /// What was sent before is there, whatever its type. An [`inbox`](Self::inbox) of the same worker
    /// takes all types again.
    ///
    /// # Errors
    ///
    /// As [`inbox`](Self::inbox), and [`TooManyTypes`](OpenError::TooManyTypes).
    pub fn inbox_of<W: OneOf<'static>>(&self) -> Result<Inbox, OpenError> {
        self.open_inbox(W::TYPES)
    }

    fn open_inbox(&self, types: &[TypeInfo]) -> Result<Inbox, OpenError> {
        let worker_slots = self.directory.worker_slots();
        let settings = RingBuilder::default().tagged_slots().or_else(|settings| {
            settings.capacity = CAPACITY;
            settings.stays_open = true;
            settings.max_publishers = (ENTRIES * worker_slots).min(MAX_ENTRIES);
            settings.max_subscribers = 1;
        });
        let settings = match self.choices.inbox_capacity {
            Some(bytes) => settings.capacity(bytes),
            None => settings,
        };
        let ring = self.open(Object::Inbox(self.name()), settings)?;
        let mails = ring.any_acknowledged(OWNER).map_err(|error| match error {
            OpenError::NameTaken { pid, .. } => {
                OpenError::InboxOpen { name: self.name().to_owned(), pid }
            }
            error => error,
        })?;
        ring.accept(types)?;
        // Last: whoever finds it expected back finds its inbox.
        self.directory.keep()?;
        Ok(Inbox { mails })
    }
}

impl Inbox {
    /// The next letter. Waits for it.
    ///
    /// What is not [done](Message::ack) with comes again at the next call.
    ///
    /// # Errors
    ///
    /// [`Closed`](RecvError::Closed) once the worker has left or was retired, and all that was in the
    /// inbox then has been handed out, [`Corrupt`](RecvError::Corrupt).
    #[inline(always)]
    pub fn recv(&mut self) -> Result<Message<'_>, RecvError> {
        Ok(Message { mail: self.mails.recv()? })
    }

    /// The next letter, or [`Empty`](TryRecvError::Empty).
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv), and [`Empty`](TryRecvError::Empty).
    #[inline(always)]
    pub fn try_recv(&mut self) -> Result<Message<'_>, TryRecvError> {
        Ok(Message { mail: self.mails.try_recv()? })
    }

    /// The next letter, if it comes in time.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv), and [`Timeout`](RecvTimeoutError::Timeout).
    #[inline(always)]
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<Message<'_>, RecvTimeoutError> {
        Ok(Message { mail: self.mails.recv_timeout(timeout)? })
    }

    /// How much waits to be received, in slots of 64 bytes; a letter takes 16 bytes more than its
    /// archive, rounded up to 64.
    pub fn backlog(&self) -> u64 {
        self.mails.backlog()
    }

    /// Chooses how this inbox waits from now on.
    pub fn set_wait(&mut self, wait: Wait) {
        self.mails.set_wait(wait);
    }
}

impl fmt::Debug for Inbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox").field("backlog", &self.backlog()).finish_non_exhaustive()
    }
}

impl Selectable for Inbox {
    fn selectee(&mut self) -> Selectee<'_> {
        self.mails.selectee()
    }
}
