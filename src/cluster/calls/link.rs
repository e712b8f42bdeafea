//! The link of one worker to one service: it sends requests, and knows the state of its calls.
//!
//! All clients of a worker for one service share its link. It has the endpoints that send, an
//! attachment to the request ring, and the calls that were given up: their cells are free again
//! when a server can no longer write to them.

use super::senders::{NoSender, RequestSender, Senders};
use super::{Abandoned, WorkerCalls};
#[cfg(feature = "async")]
use crate::channel::RoomWait;
use crate::channel::{
    Ended, EntryId, FreshCell, NoPlace, Outgoing, Over, RequestRingId, RequestStatus, Ring,
    SendError, SendFailure, SendTimeoutError, SentCell, Types, consumers,
};
use crate::cluster::names::Cluster;
use crate::error::{Detachment, OpenError};
use crate::packet::Fingerprint;
use crate::sync::{AtomicU64, Ordering};
use crate::sys::stop::Stop;
#[cfg(feature = "async")]
use crate::wait::Listener;
use crate::wait::{Deadline, Timeout, Wait};
#[cfg(feature = "async")]
use std::sync::OnceLock;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Time between two full checks of the calls that were given up.
const CHECK_AFTER: Duration = Duration::from_millis(10);

/// The link of one worker to one service.
pub(crate) struct ServiceLink {
    pub(crate) cluster: Cluster,
    /// An attachment to the request ring, to check the state of requests.
    pub(crate) requests: Arc<Ring>,
    ring_id: RequestRingId,
    /// The fingerprints of requests and of replies.
    pub(super) types: [Fingerprint; 2],
    pub(super) calls: Arc<WorkerCalls>,
    senders: Senders,
    given_up: Mutex<GivenUp>,
    /// Number of calls in `given_up`: a start without any takes no lock.
    count: AtomicU64,
    /// How long the last call that slept waited for its outcome, in nanoseconds.
    last_wait: AtomicU64,
    /// A registration without an endpoint.
    #[cfg(feature = "async")]
    reactor: OnceLock<Option<Listener>>,
}

struct GivenUp {
    list: Vec<SentCall>,
    check_at: Deadline,
}

/// A call whose request was published.
#[derive(Debug)]
pub(crate) struct SentCall {
    pub(crate) cell: SentCell,
    /// The publisher entry of the request.
    entry: u16,
    /// Its place in the window of its client.
    window: Option<WindowPlace>,
}

/// A place in the window of a client. Dropping it frees the place.
#[derive(Debug)]
pub(crate) struct WindowPlace(Arc<AtomicU64>);

impl WindowPlace {
    /// Takes a place; `None` if there are `most` calls already.
    pub(crate) fn take(window: &Arc<AtomicU64>, most: usize) -> Option<Self> {
        let has_room = |calls| (calls < most as u64).then_some(calls + 1);
        window.fetch_update(Ordering::Relaxed, Ordering::Relaxed, has_room).ok()?;
        Some(Self(Arc::clone(window)))
    }
}

impl Drop for WindowPlace {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl SentCall {
    /// Ends the call if its outcome is there.
    #[inline]
    pub(crate) fn end(self) -> Result<Ended, Self> {
        self.end_within(1)
    }

    /// Ends the call if its outcome is there at one of so many looks.
    #[inline(always)]
    pub(crate) fn end_within(self, looks: u32) -> Result<Ended, Self> {
        let Self { cell, entry, window } = self;
        cell.end_within(looks).map_err(|cell| Self { cell, entry, window })
    }

    /// Ends the call, which no living server has any more.
    pub(crate) fn end_over(self, over: Over) -> Ended {
        self.cell.end_over(over)
    }
}

/// Why a request was not sent.
pub(crate) enum StartFailure {
    /// There is no place for the call.
    NoPlace(NoPlace),
    /// All endpoints of the worker are in use, and the ring has no entry for another one.
    NoSender,
    /// The worker cannot attach an endpoint.
    Open(OpenError),
    /// This thread is serializing a request to the same service.
    Nested,
    /// The request ring refused it, or is full.
    Send(SendFailure),
}

impl ServiceLink {
    /// Opens a link for requests and replies of these types.
    pub(super) fn open(
        cluster: &Cluster,
        requests: Ring,
        (types, prints): (&Types<'_>, [Fingerprint; 2]),
        calls: Arc<WorkerCalls>,
    ) -> Result<Self, OpenError> {
        let first = RequestSender::attach(&requests, types, calls.id, false)?;
        Ok(Self {
            cluster: cluster.clone(),
            requests: Arc::new(requests),
            ring_id: RequestRingId::new(),
            types: prints,
            calls,
            senders: Senders::new(first),
            given_up: Mutex::new(GivenUp { list: Vec::new(), check_at: Deadline::NEVER }),
            count: AtomicU64::new(0),
            last_wait: AtomicU64::new(0),
            #[cfg(feature = "async")]
            reactor: OnceLock::new(),
        })
    }

    /// Why no server can reach the worker's call area any more; `None` if they can.
    #[cold]
    pub(crate) fn area_detachment(&self) -> Option<Detachment> {
        self.calls.area.detachment()
    }

    /// Bytes of the worker's memory for replies.
    pub(crate) fn reply_capacity(&self) -> usize {
        self.calls.area.pool().capacity()
    }

    /// Most calls of the worker in flight.
    pub(crate) fn max_calls(&self) -> usize {
        self.calls.area.pool().cells()
    }

    /// Takes a cell for a call whose reply has at most `bytes` bytes.
    #[inline(always)]
    pub(crate) fn take_cell(&self, bytes: usize) -> Result<FreshCell<'_>, StartFailure> {
        if self.has_given_up() {
            self.collect_by_the_clock();
        }
        let pool = self.calls.area.pool();
        pool.take(self.ring_id, bytes).or_else(|_| self.take_again(bytes))
    }

    /// Tries again after all calls that were given up were checked.
    #[cold]
    fn take_again(&self, bytes: usize) -> Result<FreshCell<'_>, StartFailure> {
        self.calls.collect();
        self.calls.area.pool().take(self.ring_id, bytes).map_err(StartFailure::NoPlace)
    }

    /// Publishes the request of a cell. If there is no room for it, waits at most that long.
    #[inline(always)]
    pub(crate) fn send<'c>(
        &self,
        (cell, window): (FreshCell<'c>, Option<WindowPlace>),
        request: impl Outgoing,
        waits: (&Wait, Option<&Stop>),
        timeout: Timeout,
    ) -> Result<SentCall, (StartFailure, FreshCell<'c>, Option<WindowPlace>)> {
        let sent = self.with_sender(
            (timeout, waits.1),
            #[inline(always)]
            |sender| sender.send(cell.number(), request, waits, timeout),
        );
        match sent {
            Ok(Ok((position, entry))) => Ok(SentCall { cell: cell.sent(position), entry, window }),
            Ok(Err(failure)) => Err((StartFailure::Send(failure), cell, window)),
            Err(failure) => Err((failure, cell, window)),
        }
    }

    /// After a [`send`](Self::send) that did not wait and found no room or no endpoint: has a task
    /// wait for room. No entry is left for another endpoint only while threads wait for room with
    /// all of them.
    #[cfg(feature = "async")]
    pub(crate) fn wait_in(&self, room: &mut RoomWait) {
        let wait = |sender: &mut RequestSender| sender.publisher.wait_in(room);
        if self.with_sender((Timeout::Zero, None), wait).is_err() {
            room.begin(None);
        }
    }

    /// Keeps the thread that waits for tasks until the link goes. Otherwise it would start and end
    /// with each call that waits.
    #[cfg(feature = "async")]
    pub(crate) fn keep_reactor(&self) {
        self.reactor.get_or_init(|| Listener::new(Vec::new(), None, false).ok());
    }

    /// Lends an endpoint to `work`. If there is none, waits at most that long.
    #[inline(always)]
    pub(super) fn with_sender<R>(
        &self,
        (timeout, stop): (Timeout, Option<&Stop>),
        work: impl FnOnce(&mut RequestSender) -> R,
    ) -> Result<R, StartFailure> {
        let attach = || {
            // The first endpoint uses the types, so the ring has them.
            let [request, reply] = self.types;
            let types = Types::Carried { request, reply };
            RequestSender::attach(&self.requests, &types, self.calls.id, true)
        };
        let get = || self.senders.attach_or_wait(timeout, stop, attach);
        self.senders.with(get, work).map_err(|failure| match failure {
            NoSender::Nested => StartFailure::Nested,
            NoSender::Full => StartFailure::NoSender,
            NoSender::Open(error) => StartFailure::Open(error),
        })
    }

    /// Waits until a server lives.
    pub(crate) fn wait_for_servers(
        &self,
        stop: Option<&Stop>,
        timeout: Option<Duration>,
    ) -> Result<(), StartFailure> {
        let waited = self.with_sender((Timeout::Never, stop), |sender| {
            sender.publisher.set_stop_to(stop);
            match timeout {
                None => sender.publisher.wait_for_subscribers(1).map_err(SendFailure::Error),
                Some(timeout) => {
                    let waited = sender.publisher.wait_for_subscribers_timeout(1, timeout);
                    waited.map_err(|error| match error {
                        SendTimeoutError::Timeout { waiting_for } => {
                            SendFailure::NotReady(waiting_for)
                        }
                        SendTimeoutError::Stopped => SendFailure::Error(SendError::Stopped),
                        // Waiting for subscribers has no other error.
                        _ => SendFailure::Error(SendError::Closed),
                    })
                }
            }
        });
        waited?.map_err(StartFailure::Send)
    }

    /// How long the last call that slept waited for its outcome. Zero before the first one.
    #[inline]
    pub(crate) fn last_wait(&self) -> Duration {
        Duration::from_nanos(self.last_wait.load(Ordering::Relaxed))
    }

    /// Records how long a call waited, for the pace of the next one.
    pub(crate) fn record_wait(&self, waited: Duration) {
        let waited = u64::try_from(waited.as_nanos()).unwrap_or(u64::MAX);
        self.last_wait.store(waited, Ordering::Relaxed);
    }

    /// Returns true in a forked child: its parent's calls are not its own.
    pub(crate) fn is_inherited(&self) -> bool {
        self.calls.area.refuse_inherited().is_err()
    }

    /// Returns true if calls were given up that may still be taken.
    #[inline]
    pub(crate) fn has_given_up(&self) -> bool {
        self.count.load(Ordering::Relaxed) != 0
    }

    /// Returns true if a server lives. Costs a system call for each server.
    pub(crate) fn has_servers(&self) -> bool {
        self.requests.subscribers() > 0
    }

    /// The first server that lives.
    pub(crate) fn living_server(&self) -> Option<EntryId> {
        let memory = self.requests.segment().memory();
        let mut servers = consumers(memory).map(|(id, _)| id);
        servers.find(|id| self.requests.segment().is_alive(*id))
    }

    /// Withdraws a request that no server has taken. Returns false if a server has taken it.
    pub(crate) fn withdraw(&self, sent: &SentCall) -> bool {
        // Both before the check: a server that takes the request after it sees them.
        self.mark(sent);
        let is_untaken = self.requests.is_untaken(sent.cell.position());
        if !is_untaken {
            self.requests.count_given_up(sent.entry, -1);
            sent.cell.want();
        }
        is_untaken
    }

    /// Gives a call up. Its cell is free again when no server can write to it.
    pub(crate) fn give_up(&self, sent: SentCall) {
        match sent.end() {
            Ok(ended) => drop(ended),
            Err(sent) => {
                self.mark(&sent);
                self.keep_given_up(sent);
            }
        }
    }

    fn mark(&self, sent: &SentCall) {
        sent.cell.give_up();
        self.requests.count_given_up(sent.entry, 1);
    }

    /// Keeps a call that was given up until no server can write to its cell.
    pub(crate) fn keep_given_up(&self, sent: SentCall) {
        let mut given_up = self.lock();
        if given_up.list.is_empty() {
            given_up.check_at = Deadline::after(CHECK_AFTER);
        }
        given_up.list.push(sent);
        self.count.store(given_up.list.len() as u64, Ordering::Relaxed);
    }

    /// Frees the cells of calls that were given up and have ended, if 10 ms have passed.
    #[cold]
    #[inline(never)]
    fn collect_by_the_clock(&self) {
        if self.lock().check_at.has_passed() {
            self.collect();
        }
    }

    /// Frees the cells of calls that were given up and have ended, or were skipped or lost.
    #[cold]
    pub(crate) fn collect(&self) {
        let mut ended = Vec::new();
        {
            let mut given_up = self.lock();
            let mut kept = Vec::with_capacity(given_up.list.len());
            for sent in given_up.list.drain(..) {
                let entry = sent.entry;
                match end(sent, &self.requests) {
                    Ok(cell) => {
                        self.requests.count_given_up(entry, -1);
                        ended.push(cell);
                    }
                    Err(sent) => kept.push(sent),
                }
            }
            given_up.list = kept;
            given_up.check_at = Deadline::after(CHECK_AFTER);
            self.count.store(given_up.list.len() as u64, Ordering::Relaxed);
        }
        drop(ended);
    }

    fn lock(&self) -> MutexGuard<'_, GivenUp> {
        // A panic leaves the list consistent: no code of the user runs under the lock.
        self.given_up.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends a call that was given up, if no server can write to its cell any more.
pub(super) fn end(sent: SentCall, requests: &Ring) -> Result<Ended, SentCall> {
    let sent = match sent.end() {
        Ok(ended) => return Ok(ended),
        Err(sent) => sent,
    };
    match requests.call_status(&sent.cell) {
        RequestStatus::Over(over) => Ok(sent.end_over(over)),
        RequestStatus::Waiting | RequestStatus::Held(_) => Err(sent),
    }
}

impl Drop for ServiceLink {
    fn drop(&mut self) {
        let list = std::mem::take(&mut self.lock().list);
        if list.is_empty() {
            return;
        }
        // The worker keeps their cells until they are free.
        self.calls.keep(Abandoned { requests: Arc::clone(&self.requests), calls: list });
    }
}
