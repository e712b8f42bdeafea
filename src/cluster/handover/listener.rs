//! The receiving side: the socket of a worker, and the connections that were accepted.
//!
//! A connection is looked at without receiving its descriptors: only [`FdListener::take`] makes
//! them descriptors of this process.

use super::{DISCARDED, HandoverId, MOST_FDS, MOST_WAITING, NO_FD_LEFT, Socket, TAKEN, id_in};
use crate::channel::PacketId;
use crate::cluster::directory::SocketPlace;
use crate::cluster::error::TakeFdsError;
use crate::error::OpenError;
use crate::failpoint::{Failpoint, failpoint};
use crate::sys::fork::UnsharedFd;
use crate::sys::shm;
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendFlags, recv, recvmsg,
    send,
};
use std::collections::{BTreeMap, VecDeque};
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// Most connections that are kept without their message. Connections come in the order of their
/// messages, except those of senders that are about to publish. So senders of this library do not
/// reach the number.
const MOST_KEPT: usize = 256;
/// Most connections of one process that are kept at a full table before they sent anything.
const MOST_SILENT: usize = 64;
/// Connections of one process that never give way to those of others.
const FEW: usize = 8;
/// Connections that are accepted or closed in one go. It bounds the descriptors that are open.
const BATCH: usize = 64;
/// Most connections of a search. The one that it finds waits behind fewer.
const MOST_SEARCHED: usize = 2 * (MOST_WAITING as usize + 1);

/// The socket by which a worker receives descriptors. Dropping it removes it.
#[derive(Debug)]
pub(crate) struct FdListener {
    place: SocketPlace,
    /// The end of the inbox before the socket existed. No message before it has descriptors here.
    start: PacketId,
    table: Mutex<Table>,
}

/// The socket of a worker, as its inbox knows it.
#[derive(Debug)]
pub(crate) struct OwnSocket {
    pub(crate) place: SocketPlace,
    /// Shared with the worker: descriptors and messages that come between two inboxes wait.
    pub(crate) socket: Arc<OnceLock<FdListener>>,
    /// The inbox accepts descriptors.
    pub(crate) is_used: bool,
}

impl OwnSocket {
    pub(crate) fn listener(&self) -> Option<&FdListener> {
        if self.is_used { self.socket.get() } else { None }
    }
}

/// What a listener has accepted, and may accept.
#[derive(Debug)]
struct Table {
    /// The socket at the name. Before it one whose file was removed, to which senders may still
    /// have connected.
    sockets: VecDeque<Socket>,
    /// Connections without their message, in their order.
    kept: VecDeque<Incoming>,
    /// Messages whose connection was here, and that may be received again.
    ended: Vec<PacketId>,
}

/// A connection that was accepted.
#[derive(Debug)]
struct Incoming {
    connection: UnsharedFd,
    /// The process that connected; 0 if it is of another pid namespace.
    process: i32,
    /// The message of the descriptors, which are still in the connection. `None` before it came.
    message: Option<PacketId>,
}

impl FdListener {
    /// Makes the socket. `start` is the end of the inbox, as it was before.
    pub(crate) fn open(place: SocketPlace, start: PacketId) -> Result<Self, OpenError> {
        let path = shm::path(&place.name.object());
        let socket = Socket::open(&place)
            .map_err(|error| OpenError::system("make the socket", &path, error))?;
        let sockets = VecDeque::from([socket]);
        let table = Table { sockets, kept: VecDeque::new(), ended: Vec::new() };
        Ok(Self { place, start, table: Mutex::new(table) })
    }

    /// Takes the descriptors of a message.
    pub(crate) fn take(
        &self,
        message: PacketId,
        count: usize,
        tail: &dyn Fn() -> u64,
    ) -> Result<Vec<OwnedFd>, TakeFdsError> {
        let found = self.find(message, tail)?.ok_or(TakeFdsError::Lost)?;
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
        // If its connection cannot be accepted now, `tidy` does it later. It also refuses those of
        // messages that were never claimed.
        if let Ok(Some(found)) = self.find(message, &|| u64::MAX) {
            found.discard();
        }
    }

    /// Accepts the connections that wait, and refuses descriptors whose message is over: it was
    /// acknowledged, or its sender died before it published it. Makes the socket again if its file
    /// was removed. `next` is received next, and `tail` returns the end of the inbox.
    pub(crate) fn tidy(&self, next: PacketId, tail: &dyn Fn() -> u64) {
        let _earlier = self.lock().renew(&self.place);
        for _ in 0..MOST_SEARCHED / BATCH {
            // Dropped without the lock: it may close the last copy of anything.
            let mut dropped = Vec::new();
            let mut table = self.lock();
            table.sort(&mut dropped, next, tail);
            while dropped.len() < BATCH {
                if !table.has_room(&mut dropped, false) {
                    return;
                }
                let Ok(Some(incoming)) = table.accept(&self.place) else { return };
                table.sort_in(incoming, &mut dropped, next, tail);
            }
        }
    }

    /// Removes the connection of a message that was received. Accepts connections until it has it.
    fn find(
        &self,
        message: PacketId,
        tail: &dyn Fn() -> u64,
    ) -> Result<Option<Incoming>, TakeFdsError> {
        let mut searched = 0;
        let is_new = message.ring != self.start.ring || message.position >= self.start.position;
        while is_new && searched < MOST_SEARCHED {
            let mut dropped = Vec::new();
            let mut table = self.lock();
            table.sort(&mut dropped, message, tail);
            if table.ended.contains(&message) {
                return Ok(None);
            }
            while dropped.len() < BATCH {
                if let Some(found) = table.remove(message) {
                    return Ok(Some(found));
                }
                if !table.has_room(&mut dropped, true) {
                    return Ok(None);
                }
                let Some(next) = table.accept(&self.place)? else { return Ok(None) };
                searched += 1;
                table.sort_in(next, &mut dropped, message, tail);
            }
        }
        Ok(None)
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        // No code of the user runs under the lock.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// Makes the socket again if its file was removed, or another one is in its place. Returns a
    /// socket that gets no connection any more, for the caller to drop without the lock.
    fn renew(&mut self, place: &SocketPlace) -> Option<Socket> {
        let found = shm::measure_path(&shm::path(&place.name.object())).ok();
        let own = self.sockets.back().map(|socket| socket.inode);
        if found.map(|found| found.inode) == own {
            return None;
        }
        // After an error the next check tries again.
        self.sockets.push_back(Socket::open(place).ok()?);
        if self.sockets.len() > 2 { self.sockets.pop_front() } else { None }
    }

    /// Moves the connections whose message is over to `dropped`, when `next` is received next.
    fn sort(&mut self, dropped: &mut Vec<Incoming>, next: PacketId, tail: &dyn Fn() -> u64) {
        self.ended.retain(|it| it.ring == next.ring && it.position >= next.position);
        for incoming in std::mem::take(&mut self.kept) {
            self.sort_in(incoming, dropped, next, tail);
        }
    }

    fn sort_in(
        &mut self,
        mut incoming: Incoming,
        dropped: &mut Vec<Incoming>,
        next: PacketId,
        tail: &dyn Fn() -> u64,
    ) {
        if incoming.is_wanted(next, tail) {
            self.kept.push_back(incoming);
        } else {
            dropped.push(incoming);
        }
    }

    fn remove(&mut self, message: PacketId) -> Option<Incoming> {
        let index = self.kept.iter().position(|it| it.message == Some(message))?;
        self.ended.push(message);
        self.kept.remove(index)
    }

    /// Makes room for one more connection. A process that has more than others pays for it: with
    /// connections that sent nothing, and in a search also with the last ones of the others.
    fn has_room(&mut self, dropped: &mut Vec<Incoming>, is_search: bool) -> bool {
        if self.kept.len() < MOST_KEPT {
            return true;
        }
        let (process, silent) = self.busiest(|it| it.message.is_none());
        let is_own = |it: &Incoming| it.process == process && it.message.is_none();
        if silent > if is_search { 0 } else { MOST_SILENT } {
            // Its sender gets an error, because it has sent no message yet.
            let oldest = self.kept.iter().position(is_own);
            dropped.extend(oldest.and_then(|index| self.kept.remove(index)));
            return true;
        }
        let (process, count) = self.busiest(|_| true);
        if !is_search || count <= FEW {
            return false;
        }
        let all = self.kept.iter().enumerate().filter(|(_, it)| it.process == process);
        let last = all.max_by_key(|(_, it)| it.message.map(|message| message.position));
        if let Some(given_up) = last.map(|(index, _)| index).and_then(|it| self.kept.remove(it)) {
            given_up.discard();
            dropped.push(given_up);
        }
        true
    }

    /// The process with the most of these connections, and their number.
    fn busiest(&self, counts: impl Fn(&Incoming) -> bool) -> (i32, usize) {
        let mut numbers = BTreeMap::new();
        for incoming in self.kept.iter().filter(|it| counts(it)) {
            *numbers.entry(incoming.process).or_default() += 1;
        }
        numbers.into_iter().max_by_key(|&(_, number)| number).unwrap_or_default()
    }

    /// The next connection of a user whom the cluster admits; `None` if no other one waits.
    fn accept(&self, place: &SocketPlace) -> Result<Option<Incoming>, TakeFdsError> {
        for socket in &self.sockets {
            if let Some((connection, process)) = socket.accept(place)? {
                return Ok(Some(Incoming { connection, process, message: None }));
            }
        }
        Ok(None)
    }
}

impl Drop for FdListener {
    fn drop(&mut self) {
        let table = self.table.get_mut().unwrap_or_else(PoisonError::into_inner);
        if table.sockets.iter().all(|it| !it.socket.is_inherited()) {
            // Before it is closed. After an error a sweep removes it.
            let _ = shm::unlink(&self.place.name.object());
        }
    }
}

impl Incoming {
    fn answer(&self, answer: u8) -> Result<(), Errno> {
        send(&self.connection, &[answer], SendFlags::NOSIGNAL | SendFlags::DONTWAIT).map(drop)
    }

    /// Looks for the id of the message, and returns true if it may still be received: `next` comes
    /// next, and `tail` returns the end of the inbox. Otherwise the descriptors are refused.
    fn is_wanted(&mut self, next: PacketId, tail: &dyn Fn() -> u64) -> bool {
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
        // A message is claimed before its descriptors are sent. So this end is behind it.
        let is_wanted = self.message.is_some_and(|it| {
            it.ring == next.ring && it.position >= next.position && it.position < tail()
        });
        if !is_wanted {
            self.discard();
        }
        is_wanted
    }

    /// Receives the descriptors. `None` if this process has not enough left: the kernel closed
    /// the descriptors that did not fit.
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
