//! The receiving side: the socket of a worker, and the connections that were accepted.
//!
//! A connection is looked at without receiving its descriptors: only [`FdListener::take`] makes
//! them descriptors of this process.

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
use std::fs::Permissions;
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Most connections that are kept without their message. Connections wait in the order of their
/// messages, but for those of senders that are about to publish. So more come from no sender.
const MOST_KEPT: usize = 256;
/// Messages that are remembered if their connection was not found: as many as can wait.
const MOST_SETTLED: usize = MOST_WAITING as usize + MOST_KEPT;

/// The socket by which a worker receives descriptors. Dropping it removes it.
#[derive(Debug)]
pub(crate) struct FdListener {
    socket: UnsharedFd,
    place: SocketPlace,
    state: Mutex<Waiting>,
}

/// What a listener knows about its senders.
#[derive(Debug, Default)]
struct Waiting {
    /// Connections without their message, in their order.
    kept: VecDeque<Incoming>,
    /// Messages that were acknowledged before their connection was found. It may still wait.
    settled: VecDeque<HandoverId>,
}

/// A connection that was accepted.
#[derive(Debug)]
struct Incoming {
    connection: UnsharedFd,
    /// The id that came, with descriptors that are still in the connection.
    id: Option<HandoverId>,
    /// Where the inbox ended after the sender had closed its side.
    ended: Option<End>,
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
                Ok(()) => return Ok(Self { socket, place, state: Mutex::default() }),
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
    pub(crate) fn take(&self, id: &HandoverId, count: usize) -> Result<Vec<OwnedFd>, TakeFdsError> {
        let found = self.find(id)?.ok_or(TakeFdsError::Lost)?;
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

    /// Drops the descriptors of a message that is over, and whose descriptors were not taken.
    pub(crate) fn discard(&self, id: &HandoverId) {
        match self.find(id) {
            Ok(Some(found)) => found.discard(),
            Ok(None) | Err(_) => {
                let mut state = self.lock();
                if state.settled.len() == MOST_SETTLED {
                    state.settled.pop_front();
                }
                state.settled.push_back(*id);
            }
        }
    }

    /// Accepts what waits, and drops descriptors whose message never comes. `end` returns the end
    /// of the inbox, and `has_passed` tells whether all before an earlier end was received.
    pub(crate) fn tidy(&self, end: &dyn Fn() -> End, has_passed: &dyn Fn(End) -> bool) {
        // Dropped without the lock: it may close the last copy of anything.
        let mut dropped = Vec::new();
        let mut state = self.lock();
        while state.kept.len() < MOST_KEPT
            && let Ok(Some(incoming)) = self.accept()
        {
            state.kept.push_back(incoming);
        }
        state.sort(&mut dropped, |incoming| !incoming.is_needless(end, has_passed));
        drop(state);
    }

    /// Forgets what was noted about the positions of the inbox: it may be another one.
    pub(crate) fn begin_anew(&self) {
        self.lock().kept.iter_mut().for_each(|incoming| incoming.ended = None);
    }

    /// Removes the connection with this id. Accepts connections until it has it, or too many
    /// others.
    fn find(&self, id: &HandoverId) -> Result<Option<Incoming>, TakeFdsError> {
        let mut dropped = Vec::new();
        let mut state = self.lock();
        state.sort(&mut dropped, |_| true);
        if let Some(found) = state.remove(id) {
            return Ok(Some(found));
        }
        loop {
            if state.kept.len() >= MOST_KEPT {
                // A sender whose connection is closed before it sent anything gets an error.
                let Some(silent) = state.kept.iter().position(|it| it.id.is_none()) else {
                    return Ok(None);
                };
                dropped.extend(state.kept.remove(silent));
            }
            let Some(mut next) = self.accept()? else { break };
            if !next.look() {
                dropped.push(next);
            } else if next.id.as_ref() == Some(id) {
                return Ok(Some(next));
            } else {
                state.kept.push_back(next);
            }
        }
        // Those that were silent before.
        state.sort(&mut dropped, |_| true);
        Ok(state.remove(id))
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
                return Ok(Some(Incoming { connection, id: None, ended: None }));
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // No code of the user runs under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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

impl Waiting {
    /// Looks at each connection. Moves those to `dropped` that bring nothing, whose message is
    /// over, or that are not `wanted`.
    fn sort(&mut self, dropped: &mut Vec<Incoming>, wanted: impl Fn(&mut Incoming) -> bool) {
        let Self { kept, settled } = self;
        for mut incoming in std::mem::take(kept) {
            let is_there = incoming.look();
            let over = incoming.id.and_then(|id| settled.iter().position(|other| *other == id));
            if let Some(index) = over {
                settled.remove(index);
                incoming.discard();
                dropped.push(incoming);
            } else if is_there && wanted(&mut incoming) {
                kept.push_back(incoming);
            } else {
                dropped.push(incoming);
            }
        }
    }

    fn remove(&mut self, id: &HandoverId) -> Option<Incoming> {
        let index = self.kept.iter().position(|incoming| incoming.id.as_ref() == Some(id))?;
        self.kept.remove(index)
    }
}

impl Incoming {
    fn answer(&self, answer: u8) -> Result<(), Errno> {
        send(&self.connection, &[answer], SendFlags::NOSIGNAL | SendFlags::DONTWAIT).map(drop)
    }

    /// Looks for the id, if none came yet. Returns false if none ever comes.
    fn look(&mut self) -> bool {
        if self.id.is_some() {
            return true;
        }
        // One byte more than a message has.
        let mut bytes = [0; size_of::<HandoverId>() + 1];
        match recv(&self.connection, &mut bytes[..], RecvFlags::PEEK | RecvFlags::DONTWAIT) {
            Ok((len, _)) if len == size_of::<HandoverId>() => {
                self.id = bytes.first_chunk().copied();
                true
            }
            Err(Errno::AGAIN | Errno::INTR) => true,
            Ok(_) | Err(_) => false,
        }
    }

    /// Receives the descriptors. `None` if this process has not enough left: the kernel closed
    /// those that did not fit.
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

    /// Returns true if its sender has ended and no message will ask for it.
    fn is_needless(&mut self, end: &dyn Fn() -> End, has_passed: &dyn Fn(End) -> bool) -> bool {
        if let Some(ended) = self.ended {
            return has_passed(ended);
        }
        if self.id.is_some() && self.has_ended() {
            // After the end of the sender was seen: all that it published is in front of it.
            self.ended = Some(end());
        }
        false
    }

    /// Returns true if the sender closed its side.
    fn has_ended(&self) -> bool {
        use rustix::event::{PollFd, PollFlags, poll};
        let mut it = [PollFd::new(&self.connection, PollFlags::RDHUP)];
        let is_ready = poll(&mut it, Some(&Default::default())).is_ok_and(|count| count > 0);
        is_ready && it[0].revents().intersects(PollFlags::HUP | PollFlags::RDHUP | PollFlags::ERR)
    }
}
