//! A call in flight: waiting for its outcome, and giving it up.
//!
//! Each call completes. The request ring shows which server has a request in hand, and that
//! server's liveness lock shows whether it lives. A waiting thread checks both after each short
//! sleep, so it notices the death of a server before the call's timeout.

use super::own_thread;
use super::reply::{Reply, ReplyForm};
use crate::channel::{
    Ended, EventCount, KeptEventCount, OWN_THREAD_TIMEOUT, RequestStatus, Selectable, Selectee,
    Waitable, rearm,
};
use crate::cluster::calls::{SentCall, ServiceLink};
use crate::cluster::error::{CallError, CallTimeoutError, WaitingForServer};
use crate::error::{Detachment, Form};
use crate::packet::Packet;
use crate::sys::stop::Stop;
use crate::wait::{
    Deadline, IDLE, Listener, PENDING, Pace, Sleep, Subject, Timeout, Wait, Waiter, wait_until,
};
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

/// The subject of a wait for a call.
pub(super) const CALL: Subject = Subject { id: 0, is_pending: false };

/// How often a caller behind whose request others wait yields its core before it sleeps. If there
/// are more threads than cores, a yield gives the servers time to reply to all of them. That takes
/// a sixth of the time of putting each to sleep and waking it.
const YIELDS: u32 = 2;

/// A call in flight. [`Client::start`](super::Client::start) returns it.
///
/// It belongs to no borrow: it can be stored, sent to other threads, and waited for with
/// [`select`](crate::select) beside other calls and endpoints. Dropping it cancels the call.
///
/// ```
/// # let cluster = format!("calls-{}", std::process::id());
/// use packetring::cluster::{Call, Request};
/// use packetring::{Selectable, Worker};
///
/// let worker = Worker::join(&cluster, "both")?;
/// let mut server = worker.service::<u64, u64>("double")?;
/// let client = worker.client::<u64, u64>("double")?;
///
/// let mut calls: Vec<Call<u64>> =
///     (0..3).map(|number| client.start(&number)).collect::<Result<_, _>>()?;
/// for _ in 0..3 {
///     let request = server.recv()?;
///     let doubled = request.to_native() * 2;
///     Request::reply(request, &doubled)?;
/// }
/// let mut sum = 0;
/// while !calls.is_empty() {
///     let mut all: Vec<_> = calls.iter_mut().map(|call| call as &mut dyn Selectable).collect();
///     let first = packetring::select(&mut all);
///     sum += calls.swap_remove(first).wait()?.to_native();
/// }
/// assert_eq!(sum, 6);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "dropping a call cancels it"]
pub struct Call<R: Packet> {
    flight: Flight,
    packet: PhantomData<fn() -> R>,
}

/// The untyped part of a call. `L` owns or borrows the link.
pub(super) struct Flight<L: Deref<Target = ServiceLink> = Arc<ServiceLink>> {
    link: L,
    wait: Wait,
    stop: Option<Stop>,
    progress: Progress,
    /// When a caller that waits checks the servers.
    pace: Pace,
    /// When a caller that polls checks the servers again. `None` before its first poll.
    check_at: Option<Deadline>,
    /// For event loops.
    listener: Option<Box<Listener>>,
}

/// How far a call is.
enum Progress {
    /// A server may still write its outcome.
    InFlight(SentCall),
    /// Its outcome was written, or none will be.
    Ended(Ended),
    /// It was withdrawn for this reason.
    Withdrawn(CallError),
    /// Its outcome was returned.
    Over,
}

impl<R: Packet> Call<R> {
    #[inline]
    pub(super) fn new(flight: Flight) -> Self {
        Self { flight, packet: PhantomData }
    }

    /// Waits for the reply.
    ///
    /// # Errors
    ///
    /// [`NoService`](CallError::NoService), [`ServiceGone`](CallError::ServiceGone),
    /// [`WouldDeadlock`](CallError::WouldDeadlock), [`NoReply`](CallError::NoReply),
    /// [`ReplyTooLarge`](CallError::ReplyTooLarge), [`Corrupt`](CallError::Corrupt);
    /// [`NotInFlight`](CallError::NotInFlight) if the outcome was returned before.
    #[inline]
    pub fn wait(mut self) -> Result<Reply<R>, CallError> {
        self.flight.finish(Timeout::Never, false)
    }

    /// Waits for the reply in a task, for any executor. Dropping the future cancels the call.
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait), and [`System`](CallError::System) as
    /// [`ready`](crate::Selectable::ready).
    #[cfg(feature = "async")]
    pub async fn wait_async(mut self) -> Result<Reply<R>, CallError> {
        if !self.flight.has_ended() {
            self.flight.link.keep_reactor();
        }
        Selectable::ready(&mut self).await.map_err(CallError::System)?;
        self.wait()
    }

    /// Waits for the reply for a limited time. After a timeout the call is still in flight.
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait), and [`Timeout`](CallTimeoutError::Timeout).
    pub fn wait_timeout(&mut self, timeout: Duration) -> Result<Reply<R>, CallTimeoutError> {
        self.flight.finish(Timeout::After(timeout), false)
    }

    /// Cancels the call, as dropping it does. A server that has not started with the request skips
    /// it; a server that has started finds out with
    /// [`Request::is_wanted`](super::Request::is_wanted).
    pub fn cancel(self) {}
}

impl<L: Deref<Target = ServiceLink>> Flight<L> {
    #[inline(always)]
    pub(super) fn new(link: L, wait: Wait, stop: Option<Stop>, sent: SentCall) -> Self {
        Self {
            link,
            wait,
            stop,
            progress: Progress::InFlight(sent),
            pace: Pace::new(),
            check_at: None,
            listener: None,
        }
    }

    /// Waits for the outcome and takes it. `has_spun`: after a brief spin.
    #[inline]
    pub(super) fn finish<O: ReplyForm, F: Form<CallError, WaitingForServer>>(
        &mut self,
        timeout: Timeout,
        has_spun: bool,
    ) -> Result<O, F> {
        if !has_spun && self.spin_briefly() {
            own_thread::let_others_run();
        } else if !self.wait_until(timeout.deadline()) {
            if Stop::was_called(self.stop.as_ref()) {
                return Err(CallError::Stopped.into());
            }
            rearm(self);
            if let Some(error) = F::not_ready(own_thread::waiting_for(&self.link, self.status())) {
                return Err(error);
            }
        }
        Ok(self.take()?)
    }

    #[inline]
    fn take<O: ReplyForm>(&mut self) -> Result<O, CallError> {
        match std::mem::replace(&mut self.progress, Progress::Over) {
            Progress::InFlight(sent) => match sent.end() {
                Ok(ended) => O::of(ended),
                Err(sent) => {
                    // Cannot be: the wait returned because the outcome is there.
                    self.progress = Progress::InFlight(sent);
                    Err(CallError::NotInFlight)
                }
            },
            Progress::Ended(ended) => O::of(ended),
            Progress::Withdrawn(error) => Err(error),
            Progress::Over => Err(CallError::NotInFlight),
        }
    }

    /// The call, until its outcome is taken from its cell.
    #[inline]
    fn in_flight(&self) -> Option<&SentCall> {
        match &self.progress {
            Progress::InFlight(sent) => Some(sent),
            Progress::Ended(_) | Progress::Withdrawn(_) | Progress::Over => None,
        }
    }

    /// Returns true if the call has ended.
    #[inline]
    fn has_ended(&self) -> bool {
        self.in_flight().is_none_or(|sent| sent.cell.outcome().is_some())
    }

    /// A few checks without the clock.
    #[inline]
    fn spin_briefly(&self) -> bool {
        self.has_ended() || self.waiter().spin_briefly(|| self.has_ended())
    }

    fn waiter(&self) -> Waiter {
        Waiter::new(self.wait, Sleep::Futex).with_stop(self.stop.as_ref())
    }

    /// Waits until the call has ended. Returns false after the deadline, and if it was stopped.
    #[inline(never)]
    fn wait_until(&mut self, deadline: Deadline) -> bool {
        let waiter = self.waiter();
        if !waiter.only_spins() {
            // Where others wait to be served, a spin only keeps the servers from running.
            if self.is_behind_others() {
                let yields = || {
                    std::thread::yield_now();
                    self.has_ended()
                };
                if (0..YIELDS).any(|_| yields()) {
                    return true;
                }
            } else {
                waiter.spin(deadline.cut(PENDING), || self.has_ended());
            }
        }
        self.pace.expect(self.link.last_wait());
        let own_thread_deadline = Deadline::after(OWN_THREAD_TIMEOUT);
        let ended = |flight: &mut Self| waiter.outcome(flight.has_ended());
        let pause = |flight: &mut Self, deadline: Deadline| {
            flight.pace.begin(CALL);
            let bound = flight.pace.sleep(deadline);
            let Some(SentCall { cell, .. }) = flight.in_flight() else { return };
            if !waiter.park_once(cell.event_count(), bound, || cell.outcome().is_some())
                && flight.pace.is_due()
            {
                flight.check(own_thread_deadline.has_passed());
            }
        };
        let has_ended = wait_until(self, deadline, ended, pause).unwrap_or(false);
        if has_ended && self.pace.end() {
            self.link.record_wait(self.pace.last());
        }
        has_ended || self.poll()
    }

    /// A caller that never waits for long checks the servers by the clock. Returns true if the call
    /// has ended.
    fn poll(&mut self) -> bool {
        let check_at = self.check_at.get_or_insert_with(|| Deadline::after(IDLE));
        if check_at.has_passed() {
            self.check_at = None;
            self.check(false);
        }
        self.has_ended()
    }

    /// Returns true if other requests wait before this one.
    fn is_behind_others(&self) -> bool {
        self.in_flight()
            .is_some_and(|sent| self.link.requests.waiting_before(sent.cell.position()) > 0)
    }

    /// Ends the call if no server works on it and none will. `is_patient`: also if only servers of
    /// this thread could take its request.
    #[cold]
    fn check(&mut self, is_patient: bool) {
        let Progress::InFlight(sent) = std::mem::replace(&mut self.progress, Progress::Over) else {
            return;
        };
        if let Some(cause @ Detachment::DescriptorClosed) = self.link.requests.detachment() {
            // Nobody can tell which servers live. The cell is lost: one may still write to it.
            self.progress = Progress::Withdrawn(CallError::Detached(cause));
            return;
        }
        self.progress = match self.link.requests.call_status(&sent.cell) {
            RequestStatus::Waiting if !self.link.has_servers() => {
                self.withdraw(sent, CallError::NoService)
            }
            RequestStatus::Waiting
                if is_patient && own_thread::serves_alone(&self.link.requests) =>
            {
                self.withdraw(sent, CallError::WouldDeadlock)
            }
            RequestStatus::Waiting | RequestStatus::Held(_) => Progress::InFlight(sent),
            RequestStatus::Over(over) => {
                let ended = sent.end_over(over);
                match ended.1.is_none().then(|| self.link.area_detachment()).flatten() {
                    // A server that does not find the area takes its caller for gone.
                    Some(cause) => Progress::Withdrawn(CallError::Detached(cause)),
                    None => Progress::Ended(ended),
                }
            }
        };
    }

    /// Withdraws a call, unless a server has taken its request.
    fn withdraw(&self, sent: SentCall, error: CallError) -> Progress {
        if !self.link.withdraw(&sent) {
            return Progress::InFlight(sent);
        }
        self.link.keep_given_up(sent);
        Progress::Withdrawn(error)
    }

    /// The status of its request, until the outcome is taken.
    fn status(&self) -> Option<RequestStatus> {
        self.in_flight().map(|sent| self.link.requests.call_status(&sent.cell))
    }
}

impl<L: Deref<Target = ServiceLink>> Waitable for Flight<L> {
    fn has_next(&mut self) -> bool {
        self.has_ended() || self.poll()
    }

    fn is_ready(&self) -> bool {
        self.has_ended()
    }

    fn event_count(&self) -> Option<&EventCount> {
        // A call that has ended is ready, so nothing waits for it.
        self.in_flight().map(|sent| sent.cell.event_count())
    }

    fn event_counts(&self) -> Vec<KeptEventCount> {
        self.in_flight().and_then(|sent| sent.cell.kept_event_count()).into_iter().collect()
    }

    fn listener(&mut self) -> Option<&mut Option<Box<Listener>>> {
        Some(&mut self.listener)
    }

    fn stop(&self) -> Option<&Stop> {
        self.stop.as_ref()
    }

    fn check_liveness(&mut self, _is_long: bool) {
        self.check_at = None;
        self.check(false);
    }

    fn waits_for_this_thread(&self) -> bool {
        matches!(self.status(), Some(RequestStatus::Waiting))
            && own_thread::serves_alone(&self.link.requests)
    }

    fn end_own_wait(&mut self) {
        self.check(true);
    }

    fn wait(&self) -> Wait {
        self.wait
    }
}

/// Ready as soon as the call has ended: with a reply, or with the reason why there is none.
impl<R: Packet> Selectable for Call<R> {
    fn selectee(&mut self) -> Selectee<'_> {
        Selectee::new(&mut self.flight)
    }
}

impl<L: Deref<Target = ServiceLink>> Drop for Flight<L> {
    fn drop(&mut self) {
        // In a forked child, the call is the parent's.
        if let Progress::InFlight(sent) = std::mem::replace(&mut self.progress, Progress::Over)
            && !self.link.is_inherited()
        {
            self.link.give_up(sent);
        }
    }
}

impl<R: Packet> fmt::Debug for Call<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("reply", &R::TYPE.name)
            .field("service", &self.flight.link.requests.name())
            .finish_non_exhaustive()
    }
}
