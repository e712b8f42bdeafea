//! Descriptors that go with a message: from one process to another, through a unix socket.
//!
//! ```text
//!  sender                                   receiver
//!  ──────                                   ────────
//!  connect to the worker's socket
//!  claim the message, write it
//!  send its position, and the fds     ────► queue of the socket
//!  commit the message                 ────► inbox
//!                                           receive the message; accept connections until one
//!                                           has its position
//!  wait for a byte, or for the end    ◄──── byte: TAKEN; return the descriptors to the user
//! ```
//!
//! - **The descriptors come before the message.** The receiver of a message with descriptors finds
//!   them in the queue of the socket, so it never waits for them. If they are not there they never
//!   come: they were taken at an earlier delivery, or went with the process that had accepted them.
//! - **The position is claimed before both.** So a receiver that has passed the position knows that
//!   nobody will ask for the descriptors, and refuses them: the message was acknowledged without
//!   them, or its sender was killed before the commit.
//! - **The sender keeps its own copies** until it reads the byte: `TAKEN`, `DISCARDED` (the message
//!   was passed) or `NO_FD_LEFT`. The kernel ends the connection when the receiver dies, and when
//!   it drops the descriptors. So the sender learns either the answer, or that no answer will come,
//!   and no clock decides.
//! - **The byte comes before the user gets the descriptors.** A receiver that is killed in between
//!   had taken them. In the other order, both sides could believe that they own them.
//! - **Each socket has a name of its own**, see
//!   [`ClusterObject::Socket`](super::names::ClusterObject). It belongs to one owner of a worker
//!   slot, and accepts connections as soon as the name exists.
//!
//! Trust: the file of a socket has the owner, the mode and the group of the cluster's directory, so
//! the kernel lets only users of the cluster connect. Both sides check the user of the other one.

mod listener;
#[cfg(feature = "async")]
mod task;

pub(crate) use listener::{FdListener, OwnSocket};

use super::directory::SocketPlace;
use crate::channel::{PacketId, verb};
use crate::cluster::error::{
    HandoverError, HandoverFailure, HandoverTimeoutError, TakeFdsError, TryHandoverError,
};
use crate::error::Form;
use crate::failpoint::{Failpoint, failpoint};
use crate::sys::fork::UnsharedFd;
use crate::sys::stop::Stop;
use crate::sys::{peer_of, random, shm};
use crate::wait::{LONGEST, Timeout};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix,
    SocketFlags, SocketType, accept_with, bind, connect, listen, recv, sendmsg, socket_with,
};
use std::fmt;
use std::fs::Permissions;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

/// Most descriptors of one message.
pub(crate) const MOST_FDS: usize = 16;
/// Connections that wait to be accepted. The kernel may allow fewer: `net.core.somaxconn`.
pub(crate) const MOST_WAITING: i32 = 1024;

/// The id of a message as it goes through the socket: the number of its ring, and its position.
type HandoverId = [u8; 16];

fn bytes_of(id: PacketId) -> HandoverId {
    (u128::from(id.ring) | u128::from(id.position) << 64).to_le_bytes()
}

/// The id in a datagram of a sender. `None` if the datagram has another length.
fn id_in(bytes: &[u8]) -> Option<PacketId> {
    let id = u128::from_le_bytes(bytes.try_into().ok()?);
    Some(PacketId { ring: id as u64, position: (id >> 64) as u64 })
}

/// Answers of a receiver.
const TAKEN: u8 = 1;
const DISCARDED: u8 = 2;
const NO_FD_LEFT: u8 = 3;
/// The end of the connection without an answer.
const GONE: u8 = 0;

/// Descriptors that were sent with a message, and are not known to be taken yet.
/// [`Worker::send_fds_to`](super::Worker::send_fds_to) returns it.
///
/// It keeps the sender's copies of the descriptors. They are closed when the receiver has
/// [taken](super::Message::take_fds) its own. Until then both processes have them: a connection,
/// for example, does not end before both have closed it.
///
/// Dropping it closes the sender's copies at once. The receiver still gets its own. If it dies
/// before that, the kernel closes them.
///
/// [`AsFd`] gives a descriptor that is readable when [`try_wait`](Self::try_wait) returns anything
/// other than [`Pending`](TryHandoverError::Pending), for event loops.
///
/// Costs one descriptor, besides those that it keeps.
#[must_use = "a handover tells whether the receiver took the descriptors"]
pub struct Handover {
    connection: UnsharedFd,
    fds: Vec<OwnedFd>,
    who: String,
    stop: Option<Stop>,
    /// The answer, once it came.
    answer: Option<u8>,
}

impl Handover {
    verb! {
        /// Waits until the receiver has taken the descriptors. Then the copies of this process are
        /// closed.
        ///
        /// After an error other than [`Stopped`](HandoverError::Stopped) and
        /// [`System`](HandoverError::System), the receiver did not take them and never will.
        /// [`into_fds`](Self::into_fds) returns the copies of this process.
        ///
        /// # Errors
        ///
        /// [`Gone`](HandoverError::Gone), [`Discarded`](HandoverError::Discarded),
        /// [`NoFdLeft`](HandoverError::NoFdLeft), [`Stopped`](HandoverError::Stopped),
        /// [`System`](HandoverError::System).
        wait, try_wait, wait_timeout = wait_for() -> ();
        HandoverError, TryHandoverError::Pending, HandoverTimeoutError::Timeout
    }

    /// Returns the copies of this process; none after they were taken. Until
    /// [`wait`](Self::wait) has reported an outcome, the receiver may still take its own.
    pub fn into_fds(self) -> Vec<OwnedFd> {
        self.fds
    }

    fn wait_for<F: Form<HandoverError, ()>>(&mut self, timeout: Timeout) -> Result<(), F> {
        let deadline = timeout.deadline();
        loop {
            match self.look() {
                Err(HandoverFailure::NotReady(())) => {}
                Err(HandoverFailure::Error(error)) => return Err(error.into()),
                Ok(()) => return Ok(()),
            }
            if Stop::was_called(self.stop.as_ref()) {
                return Err(HandoverError::Stopped.into());
            }
            let left = match timeout {
                Timeout::Zero => Duration::ZERO,
                _ => deadline.cut(if self.stop.is_some() { LONGEST } else { Duration::MAX }),
            };
            if left.is_zero()
                && let Some(error) = F::not_ready(())
            {
                return Err(error);
            }
            // A time that does not fit is longer than any process lives: no timeout.
            let left = Timespec::try_from(left).ok();
            match poll(&mut [PollFd::new(&self.connection, PollFlags::IN)], left.as_ref()) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(HandoverError::System(error.into()).into()),
            }
        }
    }

    /// Looks for the receiver's answer.
    fn look(&mut self) -> Result<(), HandoverFailure> {
        let mut byte = [0];
        let answer = match self.answer {
            Some(answer) => answer,
            None => match recv(&self.connection, &mut byte[..], RecvFlags::DONTWAIT) {
                Ok((1, _)) => byte[0],
                Ok(_) | Err(Errno::CONNRESET) => GONE,
                Err(Errno::AGAIN | Errno::INTR) => return Err(HandoverFailure::NotReady(())),
                Err(error) => return Err(HandoverError::System(error.into()).into()),
            },
        };
        self.answer = Some(answer);
        let who = || self.who.clone();
        let error = match answer {
            TAKEN => {
                self.fds.clear();
                return Ok(());
            }
            DISCARDED => HandoverError::Discarded { who: who() },
            NO_FD_LEFT => HandoverError::NoFdLeft { who: who() },
            _ => HandoverError::Gone { who: who() },
        };
        Err(error.into())
    }
}

impl AsFd for Handover {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.connection.as_fd()
    }
}

impl AsRawFd for Handover {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

impl fmt::Debug for Handover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Handover");
        out.field("who", &self.who).field("fds", &self.fds).finish_non_exhaustive()
    }
}

/// Why descriptors did not reach the socket of a worker.
#[derive(Debug)]
pub(crate) enum NotConnected {
    /// The worker has no socket, or closed it.
    NoSocket,
    /// So many connections wait that the kernel takes no more.
    Full,
    /// The socket belongs to a user that the cluster does not admit.
    Untrusted {
        /// The user's id.
        user: u32,
    },
    /// An error of the system.
    System(io::Error),
}

impl From<Errno> for NotConnected {
    fn from(error: Errno) -> Self {
        Self::System(error.into())
    }
}

/// A connection to the socket of a worker.
#[derive(Debug)]
pub(crate) struct Connection(UnsharedFd);

impl Connection {
    /// Connects, without waiting.
    pub(crate) fn open(to: &SocketPlace) -> Result<Self, NotConnected> {
        let name = to.name.object();
        let place = shm::open_path(&name).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => NotConnected::NoSocket,
            _ => NotConnected::System(error),
        })?;
        let found = shm::measure(place.as_fd()).map_err(NotConnected::System)?;
        if !to.admits(&found) {
            return Err(NotConnected::Untrusted { user: found.owner });
        }
        let connection = UnsharedFd::open(new_socket).map_err(NotConnected::System)?;
        let address = SocketAddrUnix::new(shm::socket_path(&place, &name))?;
        match connect(&connection, &address) {
            Ok(()) => {}
            Err(Errno::CONNREFUSED | Errno::NOENT) => return Err(NotConnected::NoSocket),
            Err(Errno::AGAIN) => return Err(NotConnected::Full),
            Err(error) => return Err(error.into()),
        }
        // Refuses a listener that is not the owner of the file.
        let peer = peer_of(connection.as_fd()).map_err(NotConnected::System)?;
        if peer.user != found.owner {
            return Err(NotConnected::Untrusted { user: peer.user });
        }
        Ok(Self(connection))
    }

    /// Sends the descriptors: at least one, and at most [`MOST_FDS`].
    pub(crate) fn send(&self, message: PacketId, fds: &[OwnedFd]) -> Result<(), NotConnected> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_FDS))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let borrowed: Vec<BorrowedFd<'_>> = fds.iter().map(AsFd::as_fd).collect();
        if !control.push(SendAncillaryMessage::ScmRights(&borrowed)) {
            return Err(NotConnected::System(io::ErrorKind::InvalidInput.into()));
        }
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        match sendmsg(&self.0, &[IoSlice::new(&bytes_of(message))], &mut control, flags) {
            Ok(_) => Ok(()),
            Err(Errno::PIPE | Errno::CONNRESET) => Err(NotConnected::NoSocket),
            Err(error) => Err(error.into()),
        }
    }

    /// The handover of descriptors that were sent, with their message, to this worker.
    pub(crate) fn handover(self, fds: Vec<OwnedFd>, who: String, stop: Option<Stop>) -> Handover {
        Handover { connection: self.0, fds, who, stop, answer: None }
    }
}

fn new_socket() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?)
}

/// A listening socket, and its file.
#[derive(Debug)]
struct Socket {
    socket: UnsharedFd,
    inode: (u64, u64),
}

impl Socket {
    /// Makes a socket, open and with the name of this place.
    fn open(place: &SocketPlace) -> io::Result<Self> {
        let path = shm::path(&place.name.object());
        loop {
            // The address of a socket may be shorter than the path. And it must not be found before
            // it is open.
            let (process, random) = (std::process::id(), random()?);
            let temporary = format!("/packetring.{process}.{random:016x}~f");
            let socket = UnsharedFd::open(new_socket)?;
            let make = || -> io::Result<(u64, u64)> {
                bind(&socket, &SocketAddrUnix::new(shm::path(&temporary))?)?;
                // Not by the path: another user may have put a link in its place.
                let file = shm::open_path(&temporary)?;
                let found = shm::measure(file.as_fd())?;
                if found.file_type != shm::SOCKET || found.owner != shm::user() {
                    return Err(io::ErrorKind::NotFound.into());
                }
                let opened = format!("/proc/self/fd/{}", file.as_raw_fd());
                if place.is_shared() {
                    std::os::unix::fs::chown(&opened, None, Some(place.directory.group))?;
                }
                std::fs::set_permissions(&opened, Permissions::from_mode(place.directory.mode))?;
                listen(&socket, MOST_WAITING)?;
                failpoint(Failpoint::SocketName);
                std::fs::rename(shm::path(&temporary), &path)?;
                Ok(found.inode)
            };
            match make() {
                Ok(inode) => return Ok(Self { socket, inode }),
                // Another process found it before it was open, and removed it.
                Err(error) if error.kind() == io::ErrorKind::NotFound && can_retry() => {}
                Err(error) => {
                    let _ = shm::unlink(&temporary);
                    return Err(error);
                }
            }
        }
    }

    /// The next connection of a user whom the cluster admits, and its process, which is 0 if it is
    /// of another pid namespace. `None` if no other one waits.
    fn accept(&self, place: &SocketPlace) -> Result<Option<(UnsharedFd, i32)>, TakeFdsError> {
        loop {
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            let accepted = UnsharedFd::open(|| Ok(accept_with(&self.socket, flags)?));
            let connection = match accepted {
                Ok(connection) => connection,
                Err(error) => match error.raw_os_error() {
                    Some(libc::EAGAIN) => return Ok(None),
                    Some(libc::EINTR | libc::ECONNABORTED) => continue,
                    Some(libc::EMFILE | libc::ENFILE) => return Err(TakeFdsError::NoFdLeft),
                    _ => return Err(TakeFdsError::System(error)),
                },
            };
            // The mode of the socket kept others away, except for root.
            if let Ok(peer) = peer_of(connection.as_fd())
                && place.admits_user(peer.user)
            {
                return Ok(Some((connection, peer.process)));
            }
        }
    }
}

/// Returns true if a path that leads nowhere is due to the file, and not to the system.
fn can_retry() -> bool {
    shm::is_there() && std::fs::exists("/proc/self/fd").is_ok_and(|exists| exists)
}
