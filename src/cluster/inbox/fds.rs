//! Messages with descriptors. `cluster::handover` says how they travel.

use super::{Inbox, Message};
use crate::channel::{Attached, MessageHeader, PacketId};
use crate::cluster::directory::WorkerState;
use crate::cluster::error::{
    NotSent, SendFdsError, SendFdsFailure, SendFdsTimeoutError, SendToError, TakeFdsError,
    TrySendFdsError, WaitingForInbox,
};
use crate::cluster::handover::{
    Connection, FdListener, Handover, MOST_FDS, NotConnected, OwnSocket,
};
use crate::cluster::names::{Address, Addressee, MessageTag};
use crate::cluster::worker::Worker;
use crate::error::{Form, OpenError};
use crate::packet::{Packet, SendAs};
use crate::wait::Timeout;
use std::cell::RefCell;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

impl Worker {
    /// Sends a packet with 1 to 16 descriptors to the [inbox](Worker::inbox) of a worker: sockets,
    /// listeners, files, pipes. The receiver gets descriptors of its own with
    /// [`Message::take_fds`], in order with the other messages. The worker must live, and its inbox
    /// must [accept](Inbox::accept_fds) them. Waits for room, as [`send_to`](Worker::send_to).
    /// Needs the feature `handover`.
    ///
    /// The [`Handover`] keeps the descriptors of this process until the receiver took its own, and
    /// tells when it did. Dropping it closes them at once.
    ///
    /// ```
    /// # let cluster = format!("send-fds-{}", std::process::id());
    /// use packetring::Worker;
    /// use std::io::{Read, Write};
    /// use std::net::{TcpListener, TcpStream};
    ///
    /// let web = Worker::join(&cluster, "web")?;
    /// let mut inbox = web.inbox()?;
    /// inbox.accept_fds()?;
    ///
    /// let front = Worker::join(&cluster, "front")?; // in another process
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let mut client = TcpStream::connect(listener.local_addr()?)?;
    /// client.write_all(b"hello")?;
    /// let (stream, _) = listener.accept()?;
    /// let mut handover = front.send_fds_to("web", &7_u64, [stream.into()])?;
    ///
    /// let mut message = inbox.recv()?;
    /// let mut stream = TcpStream::from(message.take_fds()?.remove(0));
    /// message.ack();
    /// handover.wait()?; // the front closed its copy
    /// let mut greeting = [0; 5];
    /// stream.read_exact(&mut greeting)?;
    /// assert_eq!(&greeting, b"hello");
    /// # web.leave()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # When the receiver dies
    ///
    /// If it dies before it took them, [`Handover::wait`] returns
    /// [`Gone`](super::super::HandoverError::Gone), and [`Handover::into_fds`] returns the
    /// descriptors. The message stays in the inbox: the next worker of the name receives it
    /// without descriptors, and `take_fds` says that they are
    /// [lost](super::super::TakeFdsError::Lost).
    ///
    /// # Cost
    ///
    /// About ten system calls on both sides together, and a descriptor for the handover.
    ///
    /// # Errors
    ///
    /// Each error contains the descriptors. No message was sent.
    /// [`WrongCount`](SendFdsError::WrongCount), [`NotAccepted`](SendFdsError::NotAccepted),
    /// [`Away`](SendFdsError::Away), [`QueueFull`](SendFdsError::QueueFull),
    /// [`Untrusted`](SendFdsError::Untrusted), [`System`](SendFdsError::System), and
    /// [`Message`](SendFdsError::Message) with an error of [`send_to`](Worker::send_to).
    pub fn send_fds_to<T: Packet>(
        &self,
        who: &(impl Addressee + ?Sized),
        packet: impl SendAs<T>,
        fds: impl IntoIterator<Item = OwnedFd>,
    ) -> Result<Handover, NotSent<SendFdsError>> {
        self.send_fds(&who.address(), packet.value(), fds, Timeout::Never)
    }

    /// As [`send_fds_to`](Self::send_fds_to), but does not wait for room.
    ///
    /// # Errors
    ///
    /// As [`send_fds_to`](Self::send_fds_to), and [`Full`](TrySendFdsError::Full).
    pub fn try_send_fds_to<T: Packet>(
        &self,
        who: &(impl Addressee + ?Sized),
        packet: impl SendAs<T>,
        fds: impl IntoIterator<Item = OwnedFd>,
    ) -> Result<Handover, NotSent<TrySendFdsError>> {
        self.send_fds(&who.address(), packet.value(), fds, Timeout::Zero)
    }

    /// As [`send_fds_to`](Self::send_fds_to), but waits for room no longer than `timeout`.
    ///
    /// # Errors
    ///
    /// As [`send_fds_to`](Self::send_fds_to), and [`Timeout`](SendFdsTimeoutError::Timeout).
    pub fn send_fds_to_timeout<T: Packet>(
        &self,
        who: &(impl Addressee + ?Sized),
        packet: impl SendAs<T>,
        fds: impl IntoIterator<Item = OwnedFd>,
        timeout: Duration,
    ) -> Result<Handover, NotSent<SendFdsTimeoutError>> {
        self.send_fds(&who.address(), packet.value(), fds, Timeout::After(timeout))
    }

    fn send_fds<T: Packet, F: Form<SendFdsError, WaitingForInbox>>(
        &self,
        who: &Address<'_>,
        packet: &T,
        fds: impl IntoIterator<Item = OwnedFd>,
        timeout: Timeout,
    ) -> Result<Handover, NotSent<F>> {
        let fds: Vec<OwnedFd> = fds.into_iter().collect();
        match F::retry(|| self.send_with_fds(who, packet, &fds, timeout)) {
            Ok(connection) => {
                let stop = self.directory.stop().cloned();
                Ok(connection.handover(fds, who.to_string(), stop))
            }
            Err(error) => Err(NotSent { error, fds }),
        }
    }

    /// Sends the message with the descriptors. After an error the connection is closed, and nothing
    /// came through it.
    fn send_with_fds<T: Packet>(
        &self,
        who: &Address<'_>,
        packet: &T,
        fds: &[OwnedFd],
        timeout: Timeout,
    ) -> Result<Connection, SendFdsFailure> {
        let count = fds.len();
        if count == 0 || count > MOST_FDS {
            return Err(SendFdsError::WrongCount { count }.into());
        }
        let connection = self.connect(who)?;
        let refused = RefCell::new(None);
        let attach = |message: PacketId| match connection.send(message, fds) {
            Ok(()) => true,
            Err(error) => {
                refused.replace(Some(error));
                false
            }
        };
        let tag = MessageTag::with_fds(self.senders.sender_tag, count).0;
        let attached = Some(Attached(&attach));
        let header = MessageHeader { attached, ..MessageHeader::tagged(tag) };
        let sent = self.send_slow(who, packet, header, timeout);
        if let Some(error) = refused.take() {
            return Err(self.not_connected(who, error).into());
        }
        sent?;
        Ok(connection)
    }

    /// Connects to the socket of a worker.
    fn connect(&self, who: &Address<'_>) -> Result<Connection, SendFdsError> {
        let open = |error| SendFdsError::Message(SendToError::Open(Box::new(error)));
        self.directory.refuse_inherited().map_err(open)?;
        let Some(worker) = self.directory.info(who) else {
            return Err(SendToError::UnknownWorker { who: who.to_string() }.into());
        };
        let place = self.directory.socket(worker.id, worker.generation).map_err(open)?;
        Connection::open(&place).map_err(|error| self.not_connected(who, error))
    }

    #[cold]
    fn not_connected(&self, who: &Address<'_>, error: NotConnected) -> SendFdsError {
        let name = who.to_string();
        match error {
            NotConnected::Full => SendFdsError::QueueFull { who: name },
            NotConnected::Untrusted { user } => SendFdsError::Untrusted { who: name, user },
            NotConnected::System(error) => SendFdsError::System(error),
            NotConnected::NoSocket => match self.directory.info(who) {
                Some(found) if found.state == WorkerState::Alive => {
                    SendFdsError::NotAccepted { who: name }
                }
                Some(found) if found.state == WorkerState::Away => SendFdsError::Away { who: name },
                Some(found) => SendToError::Dead { who: name, pid: found.pid }.into(),
                None => SendToError::UnknownWorker { who: name }.into(),
            },
        }
    }

    /// The socket of this worker, for its inbox.
    pub(super) fn own_socket(&self) -> Result<OwnSocket, OpenError> {
        let place = self.directory.socket(self.id(), self.directory.generation())?;
        Ok(OwnSocket { place, socket: Arc::clone(&self.socket), is_used: false })
    }
}

impl Inbox {
    /// Accepts messages with descriptors from now on: see [`Worker::send_fds_to`]. The worker gets
    /// a socket, whose file lies in `/dev/shm` beside the objects of the cluster.
    ///
    /// The worker keeps the socket when this inbox is dropped, and each later inbox of the worker
    /// accepts descriptors.
    ///
    /// # Errors
    ///
    /// [`System`](OpenError::System), for example if there is no descriptor left.
    pub fn accept_fds(&mut self) -> Result<(), OpenError> {
        let fds = &self.fds;
        if fds.socket.get().is_none() {
            // The end of the inbox before the socket exists.
            let made = FdListener::open(fds.place.clone(), self.messages.receiver.end_id())?;
            // No other inbox of this worker is open.
            let _ = fds.socket.set(made);
        }
        self.use_socket();
        Ok(())
    }

    /// Uses the socket of the worker, if it has one.
    pub(super) fn use_socket(&mut self) {
        let fds = &mut self.fds;
        if fds.is_used {
            return;
        }
        if fds.socket.get().is_none() {
            return;
        }
        fds.is_used = true;
        let socket = Arc::clone(&fds.socket);
        self.messages.receiver.at_each_check(Box::new(move |next, tail| {
            if let Some(listener) = socket.get() {
                listener.tidy(next, tail);
            }
        }));
    }
}

impl Message<'_> {
    /// The number of descriptors that were sent with the message.
    pub fn fds(&self) -> usize {
        self.tag().fds()
    }

    /// Takes the descriptors that were sent with the message, in their order. None for a message
    /// without descriptors. They are closed on exec.
    ///
    /// Before it returns, the sender can learn that they are taken. A message that is acknowledged
    /// without this call gives them back to the sender.
    ///
    /// # Errors
    ///
    /// [`Lost`](TakeFdsError::Lost), also if this message gave them already;
    /// [`NotAccepted`](TakeFdsError::NotAccepted), [`NoFdLeft`](TakeFdsError::NoFdLeft),
    /// [`System`](TakeFdsError::System).
    pub fn take_fds(&mut self) -> Result<Vec<OwnedFd>, TakeFdsError> {
        let count = self.fds();
        if count == 0 {
            return Ok(Vec::new());
        }
        let listener = self.fds.listener().ok_or(TakeFdsError::NotAccepted)?;
        listener.take(self.received.id(), count, &|| self.received.tail())
    }

    /// Before the message is acknowledged.
    #[inline(always)]
    pub(super) fn discard_fds(&self) {
        if self.fds() > 0 {
            discard(self.fds, self.received.id());
        }
    }
}

/// Without a reference to the message, which stays in registers.
#[cold]
#[inline(never)]
fn discard(socket: &OwnSocket, message: PacketId) {
    if let Some(listener) = socket.listener() {
        listener.discard(message);
    }
}

impl From<SendToError> for SendFdsError {
    fn from(error: SendToError) -> Self {
        Self::Message(error)
    }
}
