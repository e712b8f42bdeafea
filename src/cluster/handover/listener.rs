//! The receiving side: the socket of a worker, and the connections that were accepted.

use super::{DISCARDED, HandoverId, MOST_FDS, MOST_WAITING, NO_FD_LEFT, TAKEN, new_socket};
use crate::channel::End;
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
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Most connections that are kept without their message. Those of senders that are about to publish
/// are as many as there are such senders. The oldest one gives way.
const MOST_KEPT: usize = 256;

/// The socket by which a worker receives descriptors. Dropping it removes it.
#[derive(Debug)]
pub(crate) struct FdListener {
    socket: UnsharedFd,
    place: SocketPlace,
    kept: Mutex<VecDeque<Incoming>>,
}

/// A connection that was accepted.
#[derive(Debug)]
struct Incoming {
    connection: UnsharedFd,
    content: Content,
    /// Where the inbox ended when the sender was found to have closed its side.
    ended: Option<End>,
}

/// What came by a connection.
#[derive(Debug)]
enum Content {
    /// Nothing yet.
    Nothing,
    /// The descriptors of a message; `None` if this process had none left for them.
    Fds(HandoverId, Option<Vec<OwnedFd>>),
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
            let temporary = shm::path(&format!("/packetring.{process}.{random:016x}~f"));
            let socket = UnsharedFd::open(new_socket).map_err(failed)?;
            let made = (|| {
                bind(&socket, &SocketAddrUnix::new(&*temporary)?)?;
                let mode = place.directory.mode;
                std::fs::set_permissions(&temporary, std::fs::Permissions::from_mode(mode))?;
                if place.is_shared() {
                    std::os::unix::fs::lchown(&temporary, None, Some(place.directory.group))?;
                }
                listen(&socket, MOST_WAITING)?;
                failpoint(Failpoint::SocketName);
                std::fs::rename(&temporary, &path)
            })();
            match made {
                Ok(()) => return Ok(Self { socket, place, kept: Mutex::default() }),
                // Another process found it before it was open, and removed it.
                Err(error) if error.kind() == io::ErrorKind::NotFound && shm::is_there() => {}
                Err(error) => {
                    let _ = std::fs::remove_file(&temporary);
                    return Err(failed(error));
                }
            }
        }
    }

    /// Takes the descriptors of a message.
    pub(crate) fn take(&self, id: &HandoverId, count: usize) -> Result<Vec<OwnedFd>, TakeFdsError> {
        let found = self.find(id)?.ok_or(TakeFdsError::Lost)?;
        let Content::Fds(_, Some(fds)) = &found.content else {
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
            Err(error) => {
                self.lock().push_front(found);
                return Err(TakeFdsError::System(error.into()));
            }
        }
        failpoint(Failpoint::FdsTaken);
        match found.content {
            Content::Fds(_, fds) => Ok(fds.unwrap_or_default()),
            Content::Nothing => Ok(Vec::new()),
        }
    }

    /// Drops the descriptors of a message that was acknowledged without taking them.
    pub(crate) fn discard(&self, id: &HandoverId) {
        if let Ok(Some(found)) = self.find(id)
            && matches!(found.content, Content::Fds(_, Some(_)))
        {
            let _ = found.answer(DISCARDED);
        }
    }

    /// Accepts what waits, and drops descriptors whose message never comes. `end` is the end of the
    /// inbox now, and `has_passed` tells whether all before an earlier end was received.
    pub(crate) fn tidy(&self, end: End, has_passed: impl Fn(End) -> bool) {
        let mut kept = self.lock();
        while kept.len() < MOST_KEPT
            && let Ok(Some(incoming)) = self.accept()
        {
            kept.push_back(incoming);
        }
        kept.retain_mut(|incoming| incoming.may_be_needed(end, &has_passed));
    }

    /// Removes the connection with this id. Accepts connections until it has it.
    fn find(&self, id: &HandoverId) -> Result<Option<Incoming>, TakeFdsError> {
        let mut kept = self.lock();
        loop {
            kept.retain_mut(Incoming::is_there);
            if let Some(index) = kept.iter().position(|incoming| incoming.has(id)) {
                return Ok(kept.remove(index));
            }
            let Some(next) = self.accept()? else { return Ok(None) };
            if kept.len() >= MOST_KEPT {
                kept.pop_front();
            }
            kept.push_back(next);
        }
    }

    /// The next connection of a user whom the cluster admits; `None` if no other one waits.
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
                return Ok(Some(Incoming { connection, content: Content::Nothing, ended: None }));
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Incoming>> {
        // No code of the user runs under the lock.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for FdListener {
    fn drop(&mut self) {
        if !self.socket.is_inherited() {
            // Before it is closed. After an error a sweep removes it.
            let _ = shm::unlink(&self.place.name.object());
        }
    }
}

impl Incoming {
    fn has(&self, id: &HandoverId) -> bool {
        matches!(&self.content, Content::Fds(found, _) if found == id)
    }

    fn answer(&self, answer: u8) -> Result<(), Errno> {
        send(&self.connection, &[answer], SendFlags::NOSIGNAL | SendFlags::DONTWAIT).map(drop)
    }

    /// Receives what came. Returns false if nothing ever comes.
    fn is_there(&mut self) -> bool {
        if !matches!(self.content, Content::Nothing) {
            return true;
        }
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_FDS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        // One byte more than a message has.
        let mut bytes = [0; size_of::<HandoverId>() + 1];
        let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
        let read =
            recvmsg(&self.connection, &mut [IoSliceMut::new(&mut bytes)], &mut control, flags);
        let read = match read {
            Ok(read) => read,
            Err(Errno::AGAIN | Errno::INTR) => return true,
            Err(_) => return false,
        };
        // Each descriptor that is not kept is closed here.
        let mut fds = Vec::new();
        for part in control.drain() {
            if let RecvAncillaryMessage::ScmRights(received) = part {
                fds.extend(received);
            }
        }
        if read.bytes != size_of::<HandoverId>() {
            return false;
        }
        let mut id = HandoverId::default();
        id.copy_from_slice(&bytes[..size_of::<HandoverId>()]);
        // The kernel closed what did not fit: into the space, or below the limit of this process.
        let is_whole = !read.flags.contains(ReturnFlags::CTRUNC);
        if !is_whole {
            let _ = self.answer(NO_FD_LEFT);
        }
        self.content = Content::Fds(id, is_whole.then_some(fds));
        true
    }

    /// Returns false if no message will ask for it.
    fn may_be_needed(&mut self, end: End, has_passed: impl Fn(End) -> bool) -> bool {
        if !self.is_there() {
            return false;
        }
        if let Some(ended) = self.ended {
            return !has_passed(ended);
        }
        let mut none = [0];
        let is_open = matches!(
            recv(&self.connection, &mut none[..], RecvFlags::DONTWAIT),
            Err(Errno::AGAIN | Errno::INTR)
        );
        if !is_open {
            self.ended = Some(end);
        }
        true
    }
}
