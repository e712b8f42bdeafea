//! The untyped part of a client: places for calls, sending requests, waiting for outcomes.

use super::builder::ServiceBuilder;
use super::call::{CALL, Flight};
use super::own_thread;
use super::reply::ReplyForm;
use crate::channel::{FreshCell, NoPlace, OWN_THREAD_TIMEOUT, Outgoing, Ring, SendFailure, Types};
use crate::cluster::calls::{SentCall, ServiceLink, StartFailure, WindowPlace};
use crate::cluster::error::{CallError, CallLimit, WaitingForServer};
use crate::error::{Form, OpenError};
use crate::packet::Fingerprint;
use crate::sync::AtomicU64;
use crate::sys::stop::Stop;
use crate::wait::{Deadline, PENDING, Pace, Timeout, Wait};
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

/// The untyped part of a client.
pub(super) struct UntypedClient {
    pub(super) link: Arc<ServiceLink>,
    /// Bytes that a call reserves for its reply.
    max_reply: usize,
    /// Calls in flight, if their number is limited.
    window: Option<(Arc<AtomicU64>, usize)>,
    pub(super) wait: Wait,
    pub(super) stop: Option<Stop>,
}

/// A cell, and a place in the window.
type Place<'c> = (FreshCell<'c>, Option<WindowPlace>);

impl UntypedClient {
    /// Opens a client by the request ring that `open` opens. The types come with the fingerprints
    /// of requests and of replies. `flat` is the size of a reply type of a constant size.
    pub(super) fn open(
        builder: &ServiceBuilder<'_>,
        types: (&Types<'_>, [Fingerprint; 2]),
        flat: Option<usize>,
        open: impl Fn() -> Result<Ring, OpenError>,
    ) -> Result<Self, OpenError> {
        let worker = builder.worker;
        worker.directory.refuse_inherited()?;
        let settings = worker.area_settings();
        let make = || worker.calls.link(&worker.cluster, builder.name, types, &settings, &open);
        let made = worker.with_space(make);
        let link = made.map_err(|error| error.full_of("clients", |entries| entries))?;
        let max_reply = builder.reply_size(flat, link.reply_capacity())?;
        let (window, stop) = (builder.new_window()?, worker.choices.stop.clone());
        Ok(Self { link, max_reply, window, wait: Wait::default(), stop })
    }

    /// Waits until there is a server.
    pub(super) fn wait_for_server(&self, timeout: Option<Duration>) -> Result<(), CallError> {
        let outcome = self.link.wait_for_servers(self.stop.as_ref(), timeout);
        outcome.map_err(|failure| self.start_error(failure))
    }

    #[inline(always)]
    pub(super) fn begin<F: Form<CallError, WaitingForServer>>(
        &self,
        request: impl Outgoing,
        deadline: Deadline,
    ) -> Result<SentCall, F> {
        let bound = Timeout::After(deadline.cut(PENDING));
        let sent = self.link.send(self.place()?, request, (&self.wait, self.stop.as_ref()), bound);
        sent.or_else(|failed| self.begin_again(request, failed, deadline))
    }

    /// Tries again to send a request, as long as a server lives.
    // Out of line: in a loop with it, the first try stores more to the stack before it publishes.
    #[cold]
    #[inline(never)]
    fn begin_again<F: Form<CallError, WaitingForServer>>(
        &self,
        request: impl Outgoing,
        mut failed: (StartFailure, FreshCell<'_>, Option<WindowPlace>),
        deadline: Deadline,
    ) -> Result<SentCall, F> {
        let (own_thread_deadline, mut pace) = (Deadline::after(OWN_THREAD_TIMEOUT), Pace::new());
        loop {
            let place = self.again(failed)?;
            if deadline.has_passed()
                && let Some(error) = F::not_ready(own_thread::untaken(&self.link))
            {
                return Err(error);
            }
            if !self.link.has_servers() {
                return Err(CallError::NoService.into());
            }
            if own_thread_deadline.has_passed() && own_thread::serves_alone(&self.link.requests) {
                return Err(CallError::WouldDeadlock.into());
            }
            pace.begin(CALL);
            pace.is_due();
            let bound = Timeout::After(pace.sleep(deadline));
            match self.link.send(place, request, (&self.wait, self.stop.as_ref()), bound) {
                Ok(sent) => return Ok(sent),
                Err(again) => failed = again,
            }
        }
    }

    /// Waits for the outcome and takes it. If it comes within a brief spin, the call needs no
    /// [`Flight`], which lies in memory.
    #[inline(always)]
    pub(super) fn finish<O: ReplyForm, F: Form<CallError, WaitingForServer>>(
        &self,
        sent: SentCall,
        timeout: Timeout,
    ) -> Result<O, F> {
        // Before the wait: the server works meanwhile, and the way back is short.
        own_thread::let_others_run();
        match sent.end_within(self.wait.brief_spins()) {
            Ok(ended) => Ok(O::of(ended)?),
            Err(sent) => self.flight(&*self.link, sent).finish(timeout, true),
        }
    }

    #[inline(always)]
    pub(super) fn flight<L: Deref<Target = ServiceLink>>(
        &self,
        link: L,
        sent: SentCall,
    ) -> Flight<L> {
        Flight::new(link, self.wait, self.stop.clone(), sent)
    }

    /// The place of a call whose request may be sent later.
    #[cold]
    pub(super) fn again<'c>(
        &self,
        (failure, cell, window): (StartFailure, FreshCell<'c>, Option<WindowPlace>),
    ) -> Result<Place<'c>, CallError> {
        match failure {
            // The request ring is full, or other threads use all endpoints.
            StartFailure::Send(SendFailure::NotReady(_)) | StartFailure::NoSender => {
                let is_stopped = Stop::was_called(self.stop.as_ref());
                if is_stopped { Err(CallError::Stopped) } else { Ok((cell, window)) }
            }
            failure => Err(self.start_error(failure)),
        }
    }

    /// Takes a cell, and a place in the window, unless no server could take the call.
    #[inline(always)]
    pub(super) fn place(&self) -> Result<Place<'_>, CallError> {
        if self.link.has_given_up() && !self.link.has_servers() {
            return Err(CallError::NoService);
        }
        let cell = self.link.take_cell(self.max_reply);
        let cell = cell.map_err(|failure| self.start_error(failure))?;
        let Some((calls, most)) = &self.window else { return Ok((cell, None)) };
        let place = WindowPlace::take(calls, *most).or_else(|| {
            self.link.collect();
            WindowPlace::take(calls, *most)
        });
        match place {
            Some(place) => Ok((cell, Some(place))),
            None if !self.link.has_servers() => Err(CallError::NoService),
            None => Err(CallError::Busy(CallLimit::Window { calls: *most })),
        }
    }

    #[cold]
    fn start_error(&self, failure: StartFailure) -> CallError {
        match failure {
            // Without a server, the calls that were given up keep their places.
            StartFailure::NoPlace(_) if !self.link.has_servers() => CallError::NoService,
            StartFailure::NoPlace(NoPlace::Cells) => {
                CallError::Busy(CallLimit::WorkerCalls { calls: self.link.max_calls() })
            }
            StartFailure::NoPlace(NoPlace::Memory { free }) => {
                let (needed, capacity) = (self.max_reply, self.link.reply_capacity());
                CallError::Busy(CallLimit::ReplyMemory { needed, free, capacity })
            }
            StartFailure::Open(OpenError::Stopped { .. }) => CallError::Stopped,
            StartFailure::Open(error) => CallError::Open(Box::new(error)),
            StartFailure::Nested => CallError::WouldDeadlock,
            StartFailure::Send(SendFailure::Error(error)) => CallError::from(error),
            StartFailure::NoSender if Stop::was_called(self.stop.as_ref()) => CallError::Stopped,
            StartFailure::Send(SendFailure::NotReady(_)) | StartFailure::NoSender => {
                CallError::NoService
            }
        }
    }
}
