//! The dispatch: takes events from the ring, runs their handlers, and reports errors and changes of
//! workers.
//!
//! A dispatch repeats one step until its limit. It reports pending errors. Then it does one thing:
//! report a due change of a worker, handle one event, or sleep. It sleeps in one place for events
//! and workers.

use super::context::{Context, Handler, HandlerOutcome, PendingError};
use super::handler::{failed, open};
use super::pattern::Pattern;
use super::registry::Trigger;
use super::{Events, RunError, Watch, WorkerChange, WorkerId};
use crate::channel::{
    AnyReceived, End, EventCount, KeptEventCount, Selectable, Selectee, TryRecvError, Waitable,
    select_timeout,
};
use crate::packet::Unpack;
use crate::sys::stop::Stop;
use crate::wait::{Deadline, Listener, Wait};
use std::io;
use std::time::Duration;

/// Under load, the worker slots are checked once per this many steps: a check reads all of them.
pub(super) const STEPS_PER_CHECK: u32 = 64;

/// The name of the event that needs a handler.
const ERROR: &str = "error";

/// Where a dispatch ends.
#[derive(Clone, Copy)]
pub(super) enum DispatchLimit {
    /// At this position, the end of the ring when the dispatch began.
    Before(End),
    /// At this time.
    Until(Deadline),
}

/// The result of one step.
enum Step {
    /// An event was handled.
    Event,
    /// The event that the caller waits for was handled.
    Awaited,
    /// Something else was handled, or the sleep ended.
    Other,
    /// The limit was reached.
    Over,
}

/// Returns true for the event that the caller of a dispatch waits for.
pub(super) type Await<'a> = dyn FnMut(&str, &AnyReceived<'_>) -> bool + 'a;

impl Events<'_> {
    /// Dispatches until the deadline or until an event with this name or pattern comes. Returns the
    /// packet of that event.
    pub(super) fn dispatch_for<T: Unpack>(
        &mut self,
        event: &str,
        deadline: Deadline,
    ) -> Result<Option<T>, RunError> {
        let pattern = Pattern::new(event)?;
        let mut found = None;
        let mut take = |name: &str, packet: &AnyReceived<'_>| {
            if !pattern.matches(name) {
                return false;
            }
            let unpack = |packet| T::unpack(packet).map_err(|error| failed(name, Box::new(error)));
            found = Some(open::<T>(packet, name).and_then(unpack));
            true
        };
        self.dispatch(DispatchLimit::Until(deadline), Some(&mut take))?;
        found.transpose()
    }

    /// Handles events until the limit, the awaited event, or an error that no error handler takes.
    /// Without an awaited event, [`Context::stop`] ends the dispatch too. Returns the number of
    /// events.
    pub(super) fn dispatch(
        &mut self,
        limit: DispatchLimit,
        mut awaited: Option<&mut Await<'_>>,
    ) -> Result<usize, RunError> {
        let mut events = 0;
        self.recorder.is_stopped = false;
        loop {
            while let Some(pending) = self.recorder.errors.pop_front() {
                self.report_error(pending)?;
            }
            if self.recorder.is_stopped && awaited.is_none() {
                return Ok(events);
            }
            match self.step(limit, &mut awaited)? {
                Step::Event => events += 1,
                Step::Other => {}
                Step::Awaited | Step::Over => return Ok(events),
            }
        }
    }

    fn step(
        &mut self,
        limit: DispatchLimit,
        awaited: &mut Option<&mut Await<'_>>,
    ) -> Result<Step, RunError> {
        if self.has_worker_handlers() && self.has_due_change() {
            self.report_change()?;
            return Ok(Step::Other);
        }
        if self.is_over(limit) {
            return Ok(Step::Over);
        }
        let before = self.subscriber.place();
        match self.handle_event(awaited) {
            Ok(step) => Ok(step),
            Err(TryRecvError::Empty) => Ok(self.sleep(limit)),
            Err(error) => {
                let error = run_error(error);
                // An error that leaves the cursor in place would be reported forever.
                if matches!(error, RunError::System(_) | RunError::Stopped)
                    || self.subscriber.place() == before
                {
                    return Err(error);
                }
                self.recorder.record_error(error);
                Ok(Step::Other)
            }
        }
    }

    /// Runs the handlers of the next event, if there is one.
    fn handle_event(&mut self, awaited: &mut Option<&mut Await<'_>>) -> Result<Step, TryRecvError> {
        let Self { handlers, recorder, emitter, subscriber, .. } = self;
        let (header, packet) = subscriber.try_recv()?.split_header()?;
        let (event, sender) = (packet.name(), header.sender);
        // The handlers are counted first: a handler added by `once` is gone after it ran.
        let is_unheard = event == ERROR && handlers.count(Trigger::Event(event)) == 0;
        handlers.run(Trigger::Event(event), recorder, |handler, recorder| {
            let Handler::Event(handler) = handler else { return false };
            let outcome = handler(&packet, &mut Context { emitter, recorder, event, sender });
            let (ran, error) = match outcome {
                HandlerOutcome::Done => (true, None),
                HandlerOutcome::Failed(error) => (true, Some(error)),
                HandlerOutcome::Skipped(error) => (false, Some(error)),
            };
            let pending = |error| PendingError { error, event: event.to_owned(), sender };
            recorder.errors.extend(error.map(pending));
            ran
        });
        if awaited.as_mut().is_some_and(|is_awaited| is_awaited(event, &packet)) {
            return Ok(Step::Awaited);
        }
        if is_unheard {
            let error = RunError::Unheard { sender, type_name: packet.type_name() };
            recorder.errors.push_back(PendingError { error, event: event.to_owned(), sender });
        }
        Ok(Step::Event)
    }

    fn is_over(&self, limit: DispatchLimit) -> bool {
        match limit {
            // A notice is no event, but it is handled too: lost events, or a closed ring.
            DispatchLimit::Before(end) => {
                self.subscriber.has_passed(end) && !self.subscriber.has_notice()
            }
            DispatchLimit::Until(deadline) => deadline.has_passed(),
        }
    }

    fn sleep(&mut self, limit: DispatchLimit) -> Step {
        let DispatchLimit::Until(deadline) = limit else { return Step::Over };
        match select_timeout(&mut [self], deadline.cut(Duration::MAX)) {
            Some(_) => Step::Other,
            None => Step::Over,
        }
    }

    /// Runs the error handlers. Without any, returns the error.
    fn report_error(&mut self, pending: PendingError) -> Result<(), RunError> {
        let Self { handlers, recorder, emitter, .. } = self;
        let PendingError { error, event, sender } = pending;
        if handlers.count(Trigger::Error) == 0 {
            return Err(error);
        }
        let event = &*event;
        handlers.run(Trigger::Error, recorder, |handler, recorder| {
            let Handler::Error(handler) = handler else { return false };
            handler(&error, &mut Context { emitter, recorder, event, sender });
            true
        });
        Ok(())
    }

    /// Runs the worker handlers for one change, if there is one.
    fn report_change(&mut self) -> Result<(), RunError> {
        self.change_after = None;
        let change = match self.watch.as_mut().map(Watch::try_recv) {
            Some(Ok(change)) => change,
            // Each dispatch would find it again, and never sleep.
            Some(Err(TryRecvError::Detached(cause))) => return Err(RunError::Detached(cause)),
            Some(Err(_)) | None => return Ok(()),
        };
        let Self { handlers, recorder, emitter, .. } = self;
        let (event, sender) = ("", worker_of(&change));
        handlers.run(Trigger::Worker, recorder, |handler, recorder| {
            let Handler::Worker(handler) = handler else { return false };
            handler(&change, &mut Context { emitter, recorder, event, sender });
            true
        });
        Ok(())
    }

    pub(super) fn has_worker_handlers(&self) -> bool {
        self.handlers.count(Trigger::Worker) > 0
    }

    /// Drops the changes of workers that happened without a worker handler.
    pub(super) fn forget_changes(&mut self) {
        while self.watch.as_mut().is_some_and(|watch| watch.try_recv().is_ok()) {}
    }

    /// Returns true if a change of a worker is to be reported now. Counts a step, and looks at the
    /// watch if that is due.
    fn has_due_change(&mut self) -> bool {
        self.steps = self.steps.wrapping_add(1);
        let is_idle = self.subscriber.has_passed(self.subscriber.end());
        if is_idle || self.steps.is_multiple_of(STEPS_PER_CHECK) {
            self.check_watch();
        }
        self.is_change_due()
    }

    /// If the watch has a change, remembers the end of the events that were emitted by then. So the
    /// events of a worker that left are handled before its change.
    fn check_watch(&mut self) {
        if self.change_after.is_none() && self.watch.as_mut().is_some_and(Waitable::has_next) {
            self.change_after = Some(self.subscriber.end());
        }
    }

    /// Returns true if there is a change and all events before it are handled.
    fn is_change_due(&self) -> bool {
        self.change_after.is_some_and(|end| self.subscriber.has_passed(end))
    }

    /// The watch, if there is a worker handler.
    fn used_watch(&self) -> Option<&Watch> {
        self.watch.as_ref().filter(|_| self.has_worker_handlers())
    }
}

/// Ready if a dispatch has work: an event, an error to report, or a due change of a worker.
impl Waitable for Events<'_> {
    fn has_next(&mut self) -> bool {
        if !self.recorder.errors.is_empty() || self.subscriber.receiver.has_next() {
            return true;
        }
        self.has_worker_handlers() && {
            self.check_watch();
            self.is_change_due()
        }
    }

    fn is_ready(&self) -> bool {
        let has_change = || match self.change_after {
            // Known already: ready once the events before it are handled.
            Some(_) => self.has_worker_handlers() && self.is_change_due(),
            None => self.used_watch().is_some_and(Waitable::is_ready),
        };
        let subscriber = &self.subscriber.receiver;
        !self.recorder.errors.is_empty() || subscriber.is_ready() || has_change()
    }

    fn event_count(&self) -> Option<&EventCount> {
        self.subscriber.receiver.event_count()
    }

    fn other_event_count(&self) -> Option<&EventCount> {
        self.used_watch().and_then(Waitable::event_count)
    }

    fn event_counts(&self) -> Vec<KeptEventCount> {
        let mut all = self.subscriber.receiver.event_counts();
        // Also without a worker handler: it may be added later.
        all.extend(self.watch.iter().flat_map(Waitable::event_counts));
        all
    }

    fn listener(&mut self) -> Option<&mut Option<Box<Listener>>> {
        Some(&mut self.listener)
    }

    fn place(&self) -> u64 {
        self.subscriber.receiver.place()
    }

    fn stop(&self) -> Option<&Stop> {
        Waitable::stop(&self.subscriber.receiver)
    }

    fn is_pending(&self) -> bool {
        self.subscriber.receiver.is_pending()
    }

    fn check_liveness(&mut self, is_long: bool) {
        Waitable::check_liveness(&mut self.subscriber.receiver, is_long);
        if self.has_worker_handlers()
            && let Some(watch) = &mut self.watch
        {
            watch.check_liveness(is_long);
        }
    }

    fn wait(&self) -> Wait {
        self.subscriber.receiver.wait()
    }

    fn sleeps_on_futex(&self) -> bool {
        self.subscriber.receiver.sleeps_on_futex()
    }
}

impl Selectable for Events<'_> {
    fn selectee(&mut self) -> Selectee<'_> {
        Selectee::new(self)
    }
}

fn worker_of(change: &WorkerChange) -> WorkerId {
    match change {
        WorkerChange::Joined(worker) | WorkerChange::Left(worker) | WorkerChange::Died(worker) => {
            worker.id
        }
    }
}

/// The error of a dispatch that could not receive an event.
fn run_error(error: TryRecvError) -> RunError {
    match error {
        TryRecvError::Missed(missed) => RunError::Missed(missed.packets),
        TryRecvError::Closed => RunError::System(io::ErrorKind::BrokenPipe.into()),
        TryRecvError::Corrupt(what) => RunError::Corrupt(what),
        TryRecvError::Detached(cause) => RunError::Detached(cause),
        TryRecvError::Stopped => RunError::Stopped,
        TryRecvError::System(error) => RunError::System(error),
        error => RunError::Corrupt(error.to_string().into()),
    }
}
