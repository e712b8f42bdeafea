//! The receiving side: the socket of a worker, and the connections that were accepted.
//!
//! A connection is looked at without receiving its descriptors: only [`FdListener::take`] makes
//! them descriptors of this process.

use super::{DISCARDED, HandoverId, MOST_FDS, MOST_WAITING, NO_FD_LEFT, TAKEN, id_in, new_socket};
use crate::channel::PacketId;
use crate::cluster::directory::SocketPlace;
use crate::cluster::error::TakeFdsError;
use crate::error::OpenError;
use crate::failpoint::{Failpoint, failpoint};
use crate::sys::fork::UnsharedFd;
use crate::sys::{random, shm};
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendFlags, SocketAddrUnix,
    SocketFlags, accept_with, bind, listen, recv, recvmsg, send, sockopt,
};
use std::collections::VecDeque;
use std::fs::Permissions;
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Most connections that are kept without their message. Connections come in the order of their
/// messages, except those of senders that are about to publish. So senders of this library do not
/// reach the number.
const MOST_KEPT: usize = 256;

/// The socket by which a worker receives descriptors. Dropping it removes it.
#[derive(Debug)]
pub(crate) struct FdListener {
    socket: UnsharedFd,
    place: SocketPlace,
    /// Connections without their message, in their order.
    kept: Mutex<VecDeque<Incoming>>,
}

/// A connection that was accepted.
#[derive(Debug)]
struct Incoming {
    connection: UnsharedFd,
    /// The message of the descriptors, which are still in the connection. `None` before it came.
    message: Option<PacketId>,
}

impl FdListener {
    /// Makes the socket.
    pub(crate) fn open(place: SocketPlace) -> Result<Self, OpenError> {
        let path = shm::path(&place.name.object());
        let failed = |error: io::Error| OpenError::system("make the socket", &path, error);
        loop {
            // The address of a socket may be shorter than the path. And it must not be found before
            // it is open.
            let (process, random) = (std::process::id(), random().map_err(failed)?);
            let temporary = format!("/packetring.{process}.{random:016x}~f");
            let socket = UnsharedFd::open(new_socket).map_err(failed)?;
            let made = (|| {
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
                std::fs::rename(shm::path(&temporary), &path)
            })();
            match made {
                Ok(()) => return Ok(Self { socket, place, kept: Mutex::default() }),
                // Another process found it before it was open, and removed it.
                Err(error) if error.kind() == io::ErrorKind::NotFound && can_retry() => {}
                Err(error) => {
                    let _ = shm::unlink(&temporary);
                    return Err(failed(error));
                }
            }
        }
    }

    /// Takes the descriptors of a message.
    pub(crate) fn take(
        &self,
        message: PacketId,
        count: usize,
    ) -> Result<Vec<OwnedFd>, TakeFdsError> {
        let found = self.find(message)?.ok_or(TakeFdsError::Lost)?;
        let Some(fds) = found.receive() else {
            let _ = found.answer(NO_FD_LEFT);
            return Err(TakeFdsError::NoFdLeft);
        };
        if fds.len() != count {
            // Not of this library: it sends both numbers from one list.
            return Err(TakeFdsError::Lost);
        }
        failpoint(Failpoint::FdsTake);
        match found.answer(TAKEN) {
            // A sender that does not wait for the answer has closed its side.
            Ok(()) | Err(Errno::PIPE | Errno::CONNRESET) => {}
            Err(error) => return Err(TakeFdsError::System(error.into())),
        }
        failpoint(Failpoint::FdsTaken);
        Ok(fds)
    }

    /// Refuses the descriptors of a message that is about to be acknowledged.
    pub(crate) fn discard(&self, message: PacketId) {
        // If its connection cannot be accepted now, `tidy` does it later.
        if let Ok(Some(found)) = self.find(message) {
            found.discard();
        }
    }

    /// Accepts the connections that wait, and refuses descriptors whose message is over: it was
    /// acknowledged, or its sender died before it published it. `next` is received next, and `tail`
    /// returns the end of the inbox.
    pub(crate) fn tidy(&self, next: PacketId, tail: &dyn Fn() -> u64) {
        // Dropped without the lock: it may close the last copy of anything.
        let mut dropped = Vec::new();
        let mut kept = self.lock();
        sort(&mut kept, &mut dropped, next);
        while kept.len() < MOST_KEPT
            && let Ok(Some(mut incoming)) = self.accept()
        {
            // A message is claimed before its descriptors are sent. So this end is behind it.
            if incoming.is_wanted(next) && incoming.is_before(tail) {
                kept.push_back(incoming);
            } else {
                dropped.push(incoming);
            }
        }
        drop(kept);
    }

    /// Removes the connection of a message that was received. Accepts connections until it has it,
    /// or too many others.
    fn find(&self, message: PacketId) -> Result<Option<Incoming>, TakeFdsError> {
        let mut dropped = Vec::new();
        let mut kept = self.lock();
        sort(&mut kept, &mut dropped, message);
        let is_it = |incoming: &Incoming| incoming.message == Some(message);
        while !kept.iter().any(is_it) {
            if kept.len() >= MOST_KEPT {
                // A sender whose connection is closed before it sent anything gets an error.
                let Some(silent) = kept.iter().position(|it| it.message.is_none()) else { break };
                dropped.extend(kept.remove(silent));
            }
            let Some(mut next) = self.accept()? else { break };
            // `tidy` removes connections whose message was never claimed.
            if next.is_wanted(message) {
                kept.push_back(next);
            } else {
                dropped.push(next);
            }
        }
        Ok(kept.iter().position(is_it).and_then(|index| kept.remove(index)))
    }

    /// Returns the next connection of a user that the cluster admits; `None` if no more wait.
    fn accept(&self) -> Result<Option<Incoming>, TakeFdsError> {
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
            let is_admitted = sockopt::socket_peercred(&connection)
                .is_ok_and(|peer| self.place.admits_user(peer.uid.as_raw()));
            if is_admitted {
                return Ok(Some(Incoming { connection, message: None }));
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Incoming>> {
        // No code of the user runs under the lock.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns true if a path that leads nowhere is due to the file, and not to the system.
fn can_retry() -> bool {
    shm::is_there() && std::fs::exists("/proc/self/fd").is_ok_and(|exists| exists)
}

impl Drop for FdListener {
    fn drop(&mut self) {
        if !self.socket.is_inherited() {
            // Before it is closed. After an error a sweep removes it.
            let _ = shm::unlink(&self.place.name.object());
        }
    }
}

/// Moves the connections whose message is over to `dropped`, when `next` is received next.
fn sort(kept: &mut VecDeque<Incoming>, dropped: &mut Vec<Incoming>, next: PacketId) {
    for mut incoming in std::mem::take(kept) {
        if incoming.is_wanted(next) {
            kept.push_back(incoming);
        } else {
            dropped.push(incoming);
        }
    }
}

impl Incoming {
    fn answer(&self, answer: u8) -> Result<(), Errno> {
        send(&self.connection, &[answer], SendFlags::NOSIGNAL | SendFlags::DONTWAIT).map(drop)
    }

    /// Looks for the id of the message, and returns true if it may still be received. Otherwise the
    /// descriptors are refused.
    fn is_wanted(&mut self, next: PacketId) -> bool {
        if self.message.is_none() {
            // Room for a byte more than an id has.
            let mut bytes = [0; size_of::<HandoverId>() + 1];
            let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
            match recv(&self.connection, &mut bytes[..], flags) {
                Ok((len, _)) => self.message = id_in(&bytes[..len]),
                Err(Errno::AGAIN | Errno::INTR) => return true,
                Err(_) => {}
            }
        }
        let is_wanted =
            self.message.is_some_and(|it| it.ring == next.ring && it.position >= next.position);
        if !is_wanted {
            self.discard();
        }
        is_wanted
    }

    /// Returns false if no such message was ever claimed.
    fn is_before(&self, tail: &dyn Fn() -> u64) -> bool {
        self.message.is_none_or(|message| message.position < tail())
    }

    /// Receives the descriptors. `None` if this process has not enough left: the kernel closed the
    /// descriptors that did not fit.
    fn receive(&self) -> Option<Vec<OwnedFd>> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_FDS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut bytes = HandoverId::default();
        let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
        let read = loop {
            let bytes = &mut [IoSliceMut::new(&mut bytes)];
            match recvmsg(&self.connection, bytes, &mut control, flags) {
                Err(Errno::INTR) => {}
                read => break read.ok()?,
            }
        };
        // Each descriptor that is not returned is closed here.
        let mut fds = Vec::new();
        for part in control.drain() {
            if let RecvAncillaryMessage::ScmRights(received) = part {
                fds.extend(received);
            }
        }
        (!read.flags.contains(ReturnFlags::CTRUNC)).then_some(fds)
    }

    /// Tells the sender that nobody takes its descriptors.
    fn discard(&self) {
        // An unread message would end the connection with an error, before the answer is read.
        // Without room for descriptors, the kernel closes them.
        let mut none = HandoverId::default();
        let _ = recv(&self.connection, &mut none[..], RecvFlags::DONTWAIT);
        let _ = self.answer(DISCARDED);
    }
}
