//! The callers of a server: an attachment to the reply ring of each client.
//!
//! A server attaches to a client's ring at that client's first request. It needs the ring's control
//! lock for that, but not for any later message.

use crate::channel::{
    AnyPublisher, MessageHeader, Ring, RingBuilder, SendError, SendFailure, TypeMismatch,
};
use crate::cluster::error::ReplyError;
use crate::cluster::names::{CallerId, Cluster, ClusterObject};
use crate::cluster::service::ring::REPLY_LIMIT;
use crate::cluster::service::tags::CallSlot;
use crate::error::OpenError;
use crate::packet::{Packet, TypeInfo};
use crate::wait::Timeout;
use std::time::Duration;

/// How long a server waits for each lock of a caller's ring. Usually microseconds; longer only if a
/// process was stopped inside the lock.
pub(super) const LOCK_TIMEOUT: Duration = Duration::from_millis(50);

/// A client that a server can reply to.
#[derive(Debug)]
pub(super) struct Caller {
    id: CallerId,
    ring: Ring,
    publisher: AnyPublisher,
}

/// The clients that a server has attached to.
pub(super) struct Callers {
    cluster: Cluster,
    /// Types of the messages that a server sends.
    types: [TypeInfo; 2],
    list: Vec<Caller>,
    /// Index of the caller that was used last.
    last: usize,
}

/// Why a caller cannot be replied to.
pub(super) enum ReachError {
    /// The client is gone.
    Gone,
    /// Its ring cannot be opened now.
    NotNow(OpenError),
}

impl Caller {
    /// Returns true if the client lives and has not given up this call. Costs a system call.
    fn waits_for(&self, call_slot: CallSlot) -> bool {
        !self.has_given_up(call_slot) && self.is_alive()
    }

    /// Returns true if the client has given up this call or was dropped.
    pub(super) fn has_given_up(&self, call_slot: CallSlot) -> bool {
        self.ring.given_up() & call_slot.bit() != 0 || self.ring.is_closed()
    }

    fn is_alive(&self) -> bool {
        !self.ring.is_closed() && self.publisher.subscribers() > 0
    }

    /// Sends a message. `may_have_unread`: the client may have unread messages, so its death is
    /// checked.
    // Inlined into each kind of message: the length of the prefix is a constant there.
    #[inline(always)]
    pub(super) fn send<T: Packet>(
        &mut self,
        (tag, prefix): (u16, &[u8]),
        may_have_unread: bool,
        packet: &T,
    ) -> Result<(), ReplyError> {
        // A client without unread messages reads them, so it lives.
        if may_have_unread && self.publisher.backlog() > 0 && !self.is_alive() {
            return Err(ReplyError::CallerGone);
        }
        let header = MessageHeader { prefix, tag, limit: REPLY_LIMIT };
        let sent = self.publisher.send_with_header(header, packet, Timeout::Zero);
        sent.map(drop).map_err(|failure| self.reply_error(failure))
    }

    #[cold]
    #[inline(never)]
    fn reply_error(&self, failure: SendFailure) -> ReplyError {
        match failure {
            SendFailure::Error(SendError::Closed) => ReplyError::CallerGone,
            SendFailure::Error(SendError::TooLarge { needed, limit }) => {
                ReplyError::TooLarge { needed, limit }
            }
            SendFailure::Error(SendError::Unserializable(error)) => {
                ReplyError::Unserializable(error)
            }
            _ if self.is_alive() => ReplyError::Full,
            _ => ReplyError::CallerGone,
        }
    }
}

impl Callers {
    /// No callers yet, of a server that replies with these types.
    pub(super) fn new(cluster: Cluster, types: [TypeInfo; 2]) -> Self {
        Self { cluster, types, list: Vec::new(), last: 0 }
    }

    /// The caller that was used last, if it has this id.
    #[inline]
    pub(super) fn last(&self, id: CallerId) -> Option<&Caller> {
        self.list.get(self.last).filter(|caller| caller.id == id)
    }

    /// The caller that was used last. There must be one.
    #[inline]
    pub(super) fn last_mut(&mut self) -> &mut Caller {
        &mut self.list[self.last]
    }

    /// Selects the caller with this id as the last one. Returns false if it is not
    /// attached.
    pub(super) fn select(&mut self, id: CallerId) -> bool {
        if self.last(id).is_some() {
            return true;
        }
        let index = self.list.iter().position(|caller| caller.id == id);
        self.last = index.unwrap_or(self.last);
        index.is_some()
    }

    /// Returns true if this caller is attached.
    pub(super) fn contains(&self, id: CallerId) -> bool {
        self.find(id).is_some()
    }

    /// Returns true if this caller is attached and has given up this call.
    pub(super) fn has_given_up(&self, id: CallerId, call_slot: CallSlot) -> bool {
        self.find(id).is_some_and(|caller| caller.has_given_up(call_slot))
    }

    /// Returns true if this caller is attached, lives, and has not given up this call.
    pub(super) fn waits_for(&self, id: CallerId, call_slot: CallSlot) -> bool {
        self.find(id).is_some_and(|caller| caller.waits_for(call_slot))
    }

    fn find(&self, id: CallerId) -> Option<&Caller> {
        self.list.iter().find(|caller| caller.id == id)
    }

    /// Drops the attachments to clients that are gone.
    pub(super) fn drop_gone(&mut self) {
        self.list.retain(Caller::is_alive);
    }

    /// Attaches to a client's ring, and selects it as the last caller. Waits this long for
    /// each lock.
    #[cold]
    #[inline(never)]
    pub(super) fn attach(&mut self, id: CallerId, timeout: Duration) -> Result<(), ReachError> {
        self.drop_gone();
        if id == CallerId::NONE {
            return Err(ReachError::Gone);
        }
        let caller = self.open(id, timeout).map_err(|error| match error {
            OpenError::Busy { .. } | OpenError::Full { .. } | OpenError::System { .. } => {
                ReachError::NotNow(error)
            }
            // There is no such ring, it is closed, or it is not a ring of this library.
            _ => ReachError::Gone,
        })?;
        self.last = self.list.len();
        self.list.push(caller);
        Ok(())
    }

    /// Opens a client's reply ring and registers the types there, so that no message needs the
    /// lock.
    fn open(&self, id: CallerId, timeout: Duration) -> Result<Caller, OpenError> {
        let name = ClusterObject::Replies(id).name(&self.cluster)?;
        let settings = RingBuilder::default().tagged_slots().open_timeout(timeout);
        let ring = settings.attach_named(&name)?;
        let mut publisher = ring.any_publisher()?;
        publisher.register(&self.types, Timeout::After(timeout)).map_err(|error| match error {
            SendFailure::Error(SendError::System(source)) => {
                OpenError::system("enter a type into", ring.segment().name(), source)
            }
            SendFailure::Error(SendError::TooManyTypes(room)) => OpenError::TooManyTypes(room),
            SendFailure::Error(SendError::TypeRefused(types)) => {
                let TypeMismatch { expected, found, difference } = *types;
                OpenError::TypeMismatch { expected, found, difference }
            }
            SendFailure::Error(SendError::Closed) => {
                OpenError::Closed { name: ring.segment().name().to_owned() }
            }
            _ => OpenError::Busy { name: ring.segment().name().to_owned(), pid: None },
        })?;
        Ok(Caller { id, ring, publisher })
    }
}
