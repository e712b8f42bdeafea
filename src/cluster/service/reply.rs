//! Replies: written by a server into the cell of a call, at once or later, and read in place by the
//! caller.
//!
//! The caller of a deferred request waits as long as the entry of its server lives. So a server
//! that leaves gives its deferred replies up first: no reply is written after its entry is free.
//! [`ReplyGate`] keeps that order within the process.

use crate::channel::{
    CallCell, CallMemory, Ended, EndedCell, Outcome, ReplyRight, ReplyRoomError, StableBytes,
};
use crate::cluster::calls::{CallerCache, ReachError};
use crate::cluster::error::{CallError, ReplyError};
use crate::cluster::names::CallerId;
use crate::packet::guard::Validated;
use crate::packet::{self, Packet, Scratch, SendAs};
use crate::wait::notify_once;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// A reply, read in place. Derefs to the archived reply.
///
/// It belongs to no borrow: it can be stored and sent to other threads. Its place in the worker's
/// memory for replies is free again when it is dropped.
pub struct Reply<R: Packet>(Validated<EndedCell, R>);

/// The form in which a client returns a reply.
pub(super) trait ReplyForm: Sized {
    /// The reply of a call that has ended, or the reason why there is none.
    fn of(ended: Ended) -> Result<Self, CallError>;
}

impl<R: Packet> ReplyForm for Reply<R> {
    // Always: the result of a function call goes through memory.
    #[inline(always)]
    fn of((cell, outcome): Ended) -> Result<Self, CallError> {
        match outcome {
            Some(Outcome::Short(_) | Outcome::Long) => match Validated::open(cell) {
                Ok(opened) => Ok(Self(opened)),
                Err((cell, _)) => Err(corrupt::<R>(&cell)),
            },
            Some(Outcome::Refused) => Err(refused(&cell)),
            None => Err(CallError::ServiceGone),
        }
    }
}

/// The bytes of a reply, which were not checked.
#[cfg(feature = "dynamic")]
impl ReplyForm for EndedCell {
    fn of((cell, outcome): Ended) -> Result<Self, CallError> {
        match outcome {
            Some(Outcome::Short(_) | Outcome::Long) => Ok(cell),
            Some(Outcome::Refused) => Err(refused(&cell)),
            None => Err(CallError::ServiceGone),
        }
    }
}

#[cold]
fn corrupt<R: Packet>(cell: &EndedCell) -> CallError {
    CallError::Corrupt(packet::explain::<R>(cell.bytes()).into())
}

#[cold]
fn refused(cell: &EndedCell) -> CallError {
    match cell.refusal() {
        (needed, limit) if needed > limit => {
            CallError::ReplyTooLarge { needed: needed as usize, limit: limit as usize }
        }
        _ => CallError::NoReply,
    }
}

impl<R: Packet> Deref for Reply<R> {
    type Target = R::Archived;

    fn deref(&self) -> &R::Archived {
        self.0.get()
    }
}

impl<R: Packet> fmt::Debug for Reply<R>
where
    R::Archived: fmt::Debug,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

/// A request without an outcome. Dropping it ends the call without a reply: serialization is code
/// of the user, which may panic.
struct Outstanding<'m> {
    memory: &'m CallMemory,
    right: Option<ReplyRight>,
}

/// Writes a reply, and wakes the caller. If it cannot be written, the call ends without a reply.
#[inline]
pub(super) fn write_reply<R: Packet>(
    memory: &CallMemory,
    right: ReplyRight,
    reply: &R,
    scratch: &mut Scratch,
) -> Result<(), ReplyError> {
    let mut outstanding = Outstanding { memory, right: Some(right) };
    let needed = packet::measure(reply, scratch).map_err(ReplyError::Unserializable)?;
    let room = outstanding.right.as_mut().map(|right| right.room(memory, needed));
    match room {
        Some(Ok(room)) => {
            packet::write(reply, room, scratch).map_err(ReplyError::Unserializable)?;
            wake(outstanding.right.take().and_then(|right| right.reply(memory, needed)));
            Ok(())
        }
        Some(Err(ReplyRoomError::TooLarge { limit })) => {
            let right = outstanding.right.take();
            wake(right.and_then(|right| right.refuse(memory, (needed, limit))));
            Err(ReplyError::TooLarge { needed, limit })
        }
        // An area without the cell that its request named is no caller.
        Some(Err(ReplyRoomError::NoCell)) | None => Err(ReplyError::CallerGone),
    }
}

/// Ends a call without a reply, and wakes the caller.
pub(super) fn refuse(memory: &CallMemory, right: ReplyRight) {
    drop(Outstanding { memory, right: Some(right) });
}

impl Drop for Outstanding<'_> {
    #[inline]
    fn drop(&mut self) {
        if let Some(right) = self.right.take() {
            wake(right.refuse(self.memory, (0, 0)));
        }
    }
}

#[inline]
fn wake(cell: Option<&CallCell>) {
    if let Some(cell) = cell {
        notify_once(&cell.event_count);
    }
}

// ── Deferred replies ──

/// The right to reply later. It has no borrow and can move to another thread.
///
/// The [`Service`](super::Service) that received the request must live until then. If a `Deferred`
/// is dropped, the caller gets [`NoReply`](crate::cluster::CallError::NoReply).
///
/// ```
/// # let cluster = format!("deferred-{}", std::process::id());
/// use packetring::Worker;
/// use packetring::cluster::Request;
///
/// let worker = Worker::join(&cluster, "both")?;
/// let mut server = worker.service::<u64, u64>("double")?;
/// let client = worker.client::<u64, u64>("double")?;
/// let calls = [client.start(&1)?, client.start(&2)?];
///
/// let request = server.recv()?;
/// let doubled = request.to_native() * 2;
/// let later = Request::defer(request); // The service receives on meanwhile.
/// Request::reply(server.recv()?, &4)?;
/// later.reply(&doubled)?;
///
/// let [first, second] = calls;
/// assert_eq!(*second.wait()?, 4);
/// assert_eq!(*first.wait()?, 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "the caller of a dropped request gets no reply"]
pub struct Deferred<R: Packet> {
    caller: CallerId,
    /// `None` once the reply was sent.
    right: Option<ReplyRight>,
    gate: Arc<ReplyGate>,
    packet: PhantomData<fn(R)>,
}

/// Lets deferred replies through until their service is dropped.
pub(super) struct ReplyGate {
    pub(super) callers: Arc<CallerCache>,
    state: Mutex<GateState>,
    /// Notified when a reply was written.
    written: Condvar,
}

#[derive(Default)]
struct GateState {
    is_closed: bool,
    /// Replies that are being written.
    writing: usize,
}

/// A passage through the gate. Dropping it ends it, in a panic too.
struct Passage<'a>(&'a ReplyGate);

impl ReplyGate {
    pub(super) fn new(callers: Arc<CallerCache>) -> Self {
        Self { callers, state: Mutex::default(), written: Condvar::new() }
    }

    /// `None` if the gate is closed, or this is a forked child, to which nothing belongs.
    fn pass(&self) -> Option<Passage<'_>> {
        if self.callers.is_inherited() {
            return None;
        }
        let mut state = self.lock();
        if state.is_closed {
            return None;
        }
        state.writing += 1;
        Some(Passage(self))
    }

    /// Returns true if a caller waits for the reply, as far as is known: a caller that cannot be
    /// reached now may wait.
    pub(super) fn is_wanted(&self, caller: CallerId, right: &ReplyRight) -> bool {
        if self.callers.is_inherited() {
            return false;
        }
        match self.callers.reach(caller) {
            Ok(memory) => !right.is_given_up(&memory) && self.callers.is_alive(caller, &memory),
            Err(ReachError::Gone) => false,
            Err(ReachError::NotNow(_)) => true,
        }
    }

    /// Ends a call without a reply. Returns the right if its caller cannot be reached now.
    fn refuse(&self, caller: CallerId, right: ReplyRight) -> Option<ReplyRight> {
        let _passage = self.pass()?;
        match self.callers.reach(caller) {
            Ok(memory) => refuse(&memory, right),
            Err(ReachError::Gone) => {}
            Err(ReachError::NotNow(_)) => return Some(right),
        }
        None
    }

    /// Closes the gate, and waits for the replies that are being written.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.is_closed = true;
        while state.writing > 0 {
            state = self.written.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, GateState> {
        // A panic leaves the state consistent: no code of the user runs under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Passage<'_> {
    fn drop(&mut self) {
        self.0.lock().writing -= 1;
        self.0.written.notify_all();
    }
}

impl<R: Packet> Deferred<R> {
    pub(super) fn new(caller: CallerId, right: Option<ReplyRight>, gate: Arc<ReplyGate>) -> Self {
        Self { caller, right, gate, packet: PhantomData }
    }

    /// Sends the reply: `&reply`, or a [borrowed form](SendAs) of it. Its serialization must not
    /// drop the service.
    ///
    /// # Errors
    ///
    /// As [`Request::reply`](super::Request::reply), and
    /// [`ServiceDropped`](ReplyError::ServiceDropped).
    pub fn reply(mut self, reply: impl SendAs<R>) -> Result<(), ReplyError> {
        let Some(right) = self.right.take() else { return Err(ReplyError::CallerGone) };
        let Some(_passage) = self.gate.pass() else { return Err(ReplyError::ServiceDropped) };
        match self.gate.callers.reach(self.caller) {
            Ok(memory) => {
                let mut scratch = Scratch::default();
                write_reply(&memory, right, reply.value(), &mut scratch)
            }
            Err(ReachError::Gone) => Err(ReplyError::CallerGone),
            Err(ReachError::NotNow(error)) => {
                // Dropping this value tries to tell the caller.
                self.right = Some(right);
                Err(ReplyError::Open(Box::new(error)))
            }
        }
    }

    /// Returns true if the caller lives and has not cancelled this call.
    ///
    /// Costs a system call.
    pub fn is_wanted(&self) -> bool {
        self.right.as_ref().is_some_and(|right| self.gate.is_wanted(self.caller, right))
    }
}

impl<R: Packet> fmt::Debug for Deferred<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deferred")
            .field("caller", &self.caller.worker())
            .field("reply", &R::TYPE.name)
            .finish_non_exhaustive()
    }
}

impl<R: Packet> Drop for Deferred<R> {
    fn drop(&mut self) {
        let Some(right) = self.right.take() else { return };
        if let Some(right) = self.gate.refuse(self.caller, right) {
            // The caller's memory cannot be mapped now, and its caller waits.
            let (caller, gate) = (self.caller, Arc::clone(&self.gate));
            let mut left = Some(right);
            self.gate.callers.try_later(Box::new(move || {
                left = left.take().and_then(|right| gate.refuse(caller, right));
                left.is_none()
            }));
        }
    }
}
