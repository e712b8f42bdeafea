//! Events of a cluster: emitting them, and the loop that runs their handlers.
//!
//! All events of a cluster go through one ring, each as a letter whose front has its name. So the
//! events of one worker are seen in their order, whatever their names, and to wait for all of them is
//! to wait in one place. Who listens is woken for each event and reads its name: what is voluminous
//! is a topic.
//!
//! It guarantees: each event comes once to each worker that has [`Events`] open, the emitter
//! included, at its next dispatch; which handlers run, and in which order, is as in Node's
//! `EventEmitter` ([`registry`](super::registry)); what goes wrong comes to a handler of errors or
//! out of the dispatch, one after the other and nothing twice; a handler's panic leaves the packet
//! released and the worker as it was.
//!
//! Unlike Node's, handlers run when the worker dispatches, never within `emit`; and one that fails
//! does not keep the others from the event.

mod context;
mod emitter;
mod handler;
mod header;
mod pattern;
mod registry;

pub use context::Context;

use super::directory::Watch;
use super::directory::WorkerChange;
use super::error::{EmitError, EmitTimeoutError, RunError, TryEmitError};
use super::names::{ClusterObject, WorkerId};
use super::worker::Worker;
use crate::channel::{
    AnyReceived, AnySubscriber, End, RecvError, Ring, RingBuilder, Selectable, Selectee,
    TryRecvError, Waitable, select_timeout,
};
use crate::error::{Form as _, OpenError};
use crate::packet::{Packet, Unpack};
use crate::segment::layout::EventCount;
use crate::wait::{Deadline, Timeout, Wait};
use emitter::Emitter;
use handler::{Handler, Outcome};
use pattern::Pattern;
use registry::{Heard, Place, Registry, Subject};
use std::collections::VecDeque;
use std::error::Error;
use std::time::Duration;
use std::{fmt, io};

/// Looks for news of workers once in so many events, if they come without a pause.
const LOOK_EVERY: u32 = 64;

/// The event that is not passed over where nobody listens for it.
const ERROR: &str = "error";

/// What a handler may fail with.
pub(super) type BoxError = Box<dyn Error + Send + Sync>;

/// Events of a cluster, and a worker's handlers of them.
///
/// An event has a name and carries a packet; a tuple is a packet, too, so that several arguments
/// travel. It comes to every worker that has `Events` open, oneself included, when that worker next
/// calls [`run`](Self::run), [`run_for`](Self::run_for) or [`poll`](Self::poll).
///
/// Handlers may borrow what lives longer than the `Events`, which stay in the thread that opened
/// them; another thread opens its own, by the same [`Worker`]. A name may be a pattern: in
/// `threadA::*` the asterisk is one part, and `**` is any number of parts.
///
/// ```
/// # let cluster = format!("events-{}", std::process::id());
/// use packetring::Worker;
///
/// let worker = Worker::join(&cluster, "one")?;
/// let mut total = 0;
/// let mut events = worker.events()?;
/// events.on::<(u32, String)>("sold", |sale, _| total += sale.0.to_native());
/// events.once::<(u32, String)>("sold", |sale, context| {
///     println!("{} of {} by worker {}", sale.0, sale.1, context.sender());
///     context.stop();
/// });
/// events.emit("sold", &(3_u32, "apples".to_owned()))?; // here, or in another process
/// events.run()?;
/// drop(events);
/// assert_eq!(total, 3);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors cannot be overlooked
///
/// A handler that fails ([`try_on`](Self::try_on)), a packet of another type than a handler expects,
/// events that were lost: each comes to the handlers of errors ([`on_error`](Self::on_error)), or, if
/// there is none, ends the dispatch, which returns it. The next dispatch goes on behind it.
///
/// So does the event `error` where no handler hears it, by its name or by a pattern that fits it, such
/// as `*`, and nobody [waits for](Self::wait_for) it: it is [`Unheard`](RunError::Unheard), at each
/// worker that has `Events` and does not listen for it, the emitter included. Every other event is
/// passed over where nobody listens.
///
/// A handler that panics does so through the dispatch. Its packet is released, the handlers behind it
/// do not get this event, and the next dispatch goes on with the next.
///
/// # Waiting
///
/// They can be waited for together with an inbox, services, topics: see [`select`](crate::select()).
/// When their turn has come, [`poll`](Self::poll) dispatches what there is.
///
/// ```
/// # let cluster = format!("events-select-{}", std::process::id());
/// use packetring::{Worker, select};
///
/// let worker = Worker::join(&cluster, "one")?;
/// let (mut inbox, mut events) = (worker.inbox()?, worker.events()?);
/// events.on::<u32>("sold", |number, _| println!("{number} sold"));
/// events.emit("sold", &3_u32)?;
/// match select(&mut [&mut inbox, &mut events]) {
///     0 => inbox.recv()?.ack(),
///     _ => assert_eq!(events.poll()?, 1),
/// }
/// # drop((inbox, events));
/// # worker.leave()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// An event holds its emitter up only while the ring is full, until the slowest worker with `Events`
/// has handled some. A worker that keeps `Events` and never dispatches holds the cluster up: drop
/// them, or have the first opener choose
/// [`DropOldest`](super::WorkerBuilder::events_overflow).
pub struct Events<'h> {
    handlers: Registry<Handler<'h>>,
    emitter: Emitter,
    letters: AnySubscriber,
    watch: Option<Watch>,
    /// There is news of workers, to be told of when what had been emitted by then is handled.
    news_after: Option<End>,
    turns: u32,
    /// What went wrong and nobody was told of.
    faults: VecDeque<Fault>,
    stops: bool,
}

/// One handler of one [`Events`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HandlerId(pub(crate) u64);

/// What went wrong, and with which event.
pub(super) struct Fault {
    error: RunError,
    event: String,
    sender: WorkerId,
}

impl Fault {
    /// One that is of no event, at this worker.
    pub(super) fn of_none(error: RunError, own: WorkerId) -> Self {
        Self { error, event: String::new(), sender: own }
    }
}

/// How long to go on.
#[derive(Clone, Copy)]
enum Limit {
    /// To the end of what was there.
    Present(End),
    /// Until then.
    Until(Deadline),
}

/// What one turn came to.
enum Turn {
    /// An event.
    Event,
    /// Something else, or nothing: look again.
    Other,
    /// What was asked for is done.
    Over,
}

/// Looks whether an event is the one that is waited for.
type Await<'a> = dyn FnMut(&str, &AnyReceived<'_>) -> Option<Result<(), RunError>> + 'a;

impl Worker {
    /// Opens the cluster's events. They come from here on.
    ///
    /// What the ring of events is, its first opener says: see
    /// [`WorkerBuilder::events_overflow`](super::WorkerBuilder::events_overflow).
    ///
    /// # Errors
    ///
    /// [`SettingsMismatch`](OpenError::SettingsMismatch) if this worker chose another overflow than
    /// the first opener did, [`Full`](OpenError::Full), [`System`](OpenError::System).
    pub fn events<'h>(&self) -> Result<Events<'h>, OpenError> {
        let entries = self.directory.worker_slots();
        let settings = RingBuilder::default().tagged_slots().or_else(|default| {
            default.stays_open = true;
            default.max_publishers = entries;
            default.max_subscribers = entries;
        });
        let settings = match self.choices.events_overflow {
            Some(overflow) => settings.overflow(overflow),
            None => settings,
        };
        Events::over(&self.open(ClusterObject::Events, settings)?, self.id(), Some(self.watch()?))
    }
}

impl<'h> Events<'h> {
    /// The events of a ring.
    pub(super) fn over(
        ring: &Ring,
        worker: WorkerId,
        watch: Option<Watch>,
    ) -> Result<Self, OpenError> {
        let letters = ring.any_subscriber()?;
        let emitter = Emitter::new(ring.any_publisher()?, worker, letters.subscriber_index());
        Ok(Self {
            handlers: Registry::default(),
            emitter,
            letters,
            watch,
            news_after: None,
            turns: 0,
            faults: VecDeque::new(),
            stops: false,
        })
    }

    /// Adds a handler of events of this name, or of all whose names fit this pattern, behind all
    /// others.
    ///
    /// An event that carries another packet is an error, for patterns too: the handler does not run.
    ///
    /// A handler that nothing could ever come to, of an empty name or one of more than 1024 bytes, is not
    /// added. The next dispatch has the error: [`BadName`](RunError::BadName).
    pub fn on<T: Packet>(
        &mut self,
        event: &str,
        handler: impl FnMut(&T::Archived, &mut Context<'_>) + 'h,
    ) -> HandlerId {
        self.add(event, Place::Back, false, hearing_always::<T>(handler))
    }

    /// Adds a handler that can fail: see [`on`](Self::on).
    pub fn try_on<T: Packet>(
        &mut self,
        event: &str,
        handler: impl FnMut(&T::Archived, &mut Context<'_>) -> Result<(), BoxError> + 'h,
    ) -> HandlerId {
        self.add(event, Place::Back, false, hearing::<T>(handler))
    }

    /// Adds a handler that runs once: see [`on`](Self::on). It is taken out before it runs. An event
    /// that is not for it leaves it where it is.
    pub fn once<T: Packet>(
        &mut self,
        event: &str,
        handler: impl FnOnce(&T::Archived, &mut Context<'_>) + 'h,
    ) -> HandlerId {
        self.add(event, Place::Back, true, hearing_once_always::<T>(handler))
    }

    /// Adds a handler that runs once and can fail: see [`once`](Self::once).
    pub fn try_once<T: Packet>(
        &mut self,
        event: &str,
        handler: impl FnOnce(&T::Archived, &mut Context<'_>) -> Result<(), BoxError> + 'h,
    ) -> HandlerId {
        self.add(event, Place::Back, true, hearing_once::<T>(handler))
    }

    /// Adds a handler before all others: see [`on`](Self::on).
    pub fn prepend<T: Packet>(
        &mut self,
        event: &str,
        handler: impl FnMut(&T::Archived, &mut Context<'_>) + 'h,
    ) -> HandlerId {
        self.add(event, Place::Front, false, hearing_always::<T>(handler))
    }

    /// Adds a handler before all others that runs once: see [`once`](Self::once).
    pub fn prepend_once<T: Packet>(
        &mut self,
        event: &str,
        handler: impl FnOnce(&T::Archived, &mut Context<'_>) + 'h,
    ) -> HandlerId {
        self.add(event, Place::Front, true, hearing_once_always::<T>(handler))
    }

    /// Adds a handler of errors. As long as there is one, errors come to it, and no dispatch ends
    /// with them, unless it cannot go on.
    pub fn on_error(&mut self, handler: impl FnMut(&RunError, &mut Context<'_>) + 'h) -> HandlerId {
        let handler = Handler::Error(Box::new(handler));
        self.handlers.add(Subject::Errors, Place::Back, false, handler)
    }

    /// Adds a handler of what happens to workers from here on: joins, leaves, deaths. What a worker
    /// had emitted before it left or died comes before that.
    pub fn on_worker(
        &mut self,
        handler: impl FnMut(&WorkerChange, &mut Context<'_>) + 'h,
    ) -> HandlerId {
        if self.handlers.count(Heard::Worker) == 0 {
            // What happened while nobody asked.
            while self.watch.as_mut().is_some_and(|watch| watch.try_recv().is_ok()) {}
        }
        let handler = Handler::Worker(Box::new(handler));
        self.handlers.add(Subject::Workers, Place::Back, false, handler)
    }

    /// Removes a handler, of whatever kind; `false`: it is not there.
    pub fn off(&mut self, handler: HandlerId) -> bool {
        self.handlers.remove(handler)
    }

    /// Removes all handlers that were added by this name or pattern, and says how many there were.
    pub fn off_all(&mut self, event: &str) -> usize {
        self.handlers.remove_all(event)
    }

    /// Removes every handler, those of errors and of workers too, and says how many there were.
    pub fn off_every(&mut self) -> usize {
        self.handlers.remove_every()
    }

    /// How many handlers an event of this name would run, those by patterns included.
    pub fn listener_count(&self, event: &str) -> usize {
        self.handlers.count(Heard::Event(event))
    }

    /// The names and patterns that there are handlers for, each once, in the order of the handlers.
    pub fn event_names(&self) -> Vec<String> {
        self.handlers.names().into_iter().map(str::to_owned).collect()
    }

    /// Emits an event to all workers that have `Events`, this one included. Waits for room.
    ///
    /// Its name has 1 to 1024 bytes, and no part of it is `*` or `**`.
    ///
    /// # Errors
    ///
    /// [`BadName`](EmitError::BadName). [`OwnBacklog`](EmitError::OwnBacklog): the ring is full of what this worker has not
    /// dispatched, so it would wait for itself. [`TooLarge`](EmitError::TooLarge),
    /// [`Unserializable`](EmitError::Unserializable), [`Send`](EmitError::Send).
    pub fn emit<T: Packet>(&mut self, event: &str, packet: &T) -> Result<(), EmitError> {
        EmitError::retry(|| self.emitter.emit(event, packet, Timeout::Never))
    }

    /// Emits an event if there is room now: see [`emit`](Self::emit).
    ///
    /// # Errors
    ///
    /// As [`emit`](Self::emit), and [`Full`](TryEmitError::Full).
    pub fn try_emit<T: Packet>(&mut self, event: &str, packet: &T) -> Result<(), TryEmitError> {
        TryEmitError::retry(|| self.emitter.emit(event, packet, Timeout::Zero))
    }

    /// Emits an event if there is room in time: see [`emit`](Self::emit).
    ///
    /// # Errors
    ///
    /// As [`emit`](Self::emit), and [`Timeout`](EmitTimeoutError::Timeout).
    pub fn emit_timeout<T: Packet>(
        &mut self,
        event: &str,
        packet: &T,
        timeout: Duration,
    ) -> Result<(), EmitTimeoutError> {
        EmitTimeoutError::retry(|| self.emitter.emit(event, packet, Timeout::After(timeout)))
    }

    /// Dispatches until the next event of this name, or one that fits this pattern, and returns its
    /// packet. Handlers run for it and for all that come before it.
    ///
    /// [`Context::stop`] does not end it.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run), and [`BadName`](RunError::BadName) for what could never come. A packet of
    /// another type is an error of this call, for which handlers of errors are not asked. Where the packet comes with an error, the packet is returned, and the
    /// error by the next dispatch.
    pub fn wait_for<T: Unpack>(&mut self, event: &str) -> Result<T, RunError> {
        loop {
            if let Some(packet) = self.wait_until(event, Deadline::NEVER)? {
                return Ok(packet);
            }
        }
    }

    /// The same, if it comes in time; `None`: it did not.
    ///
    /// # Errors
    ///
    /// As [`wait_for`](Self::wait_for).
    pub fn wait_for_timeout<T: Unpack>(
        &mut self,
        event: &str,
        timeout: Duration,
    ) -> Result<Option<T>, RunError> {
        self.wait_until(event, Deadline::after(timeout))
    }

    /// Dispatches until a handler [stops](Context::stop) it.
    ///
    /// # Errors
    ///
    /// What went wrong, if no handler of errors is there to hear it, and what keeps it from going on.
    /// Everything before has been handled; the next call goes on behind it.
    pub fn run(&mut self) -> Result<(), RunError> {
        self.dispatch(Limit::Until(Deadline::NEVER), None).map(drop)
    }

    /// Dispatches for so long, or until a handler stops it. Returns how many events came.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    pub fn run_for(&mut self, time: Duration) -> Result<usize, RunError> {
        self.dispatch(Limit::Until(Deadline::after(time)), None)
    }

    /// Dispatches what is there now, without waiting. Returns how many events came.
    ///
    /// What handlers emit meanwhile is left for the next call, so it comes to an end. Whatever
    /// [`select`](crate::select()) found is dispatched.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    pub fn poll(&mut self) -> Result<usize, RunError> {
        self.dispatch(Limit::Present(self.letters.end()), None)
    }

    /// Chooses how all that waits here does so from now on: `run`, `run_for` and `wait_for` for events,
    /// `emit` for room, and whoever [selects](crate::select()).
    pub fn set_wait(&mut self, wait: Wait) {
        self.letters.set_wait(wait);
        self.emitter.set_wait(wait);
    }

    fn add(&mut self, event: &str, place: Place, once: bool, handler: Handler<'h>) -> HandlerId {
        match Pattern::new(event) {
            Ok(event) => self.handlers.add(Subject::Event(event), place, once, handler),
            Err(bad) => {
                self.note(bad.into());
                self.handlers.nobody()
            }
        }
    }

    fn wait_until<T: Unpack>(
        &mut self,
        event: &str,
        deadline: Deadline,
    ) -> Result<Option<T>, RunError> {
        let pattern = Pattern::new(event)?;
        let mut found = None;
        let mut look = |name: &str, mail: &AnyReceived<'_>| {
            if !pattern.fits(name) {
                return None;
            }
            let unpack = |packet| T::unpack(packet).map_err(|error| failed(name, Box::new(error)));
            let packet = open::<T>(mail, name).and_then(unpack);
            Some(packet.map(|packet| found = Some(packet)))
        };
        self.dispatch(Limit::Until(deadline), Some(&mut look))?;
        Ok(found)
    }

    fn dispatch(
        &mut self,
        limit: Limit,
        mut awaited: Option<&mut Await<'_>>,
    ) -> Result<usize, RunError> {
        let mut events = 0;
        let mut outcome: Option<Result<(), RunError>> = None;
        self.stops = false;
        loop {
            if let Some(outcome) = outcome {
                return outcome.map(|()| events);
            }
            while let Some(fault) = self.faults.pop_front() {
                self.tell(fault)?;
            }
            if self.stops && awaited.is_none() {
                return Ok(events);
            }
            match self.turn(limit, &mut awaited, &mut outcome)? {
                Turn::Event => events += 1,
                Turn::Other => {}
                Turn::Over => return Ok(events),
            }
        }
    }

    /// Handles one event, or waits for one.
    fn turn(
        &mut self,
        limit: Limit,
        awaited: &mut Option<&mut Await<'_>>,
        outcome: &mut Option<Result<(), RunError>>,
    ) -> Result<Turn, RunError> {
        if self.hears_workers() && self.has_news_of_workers() {
            self.tell_of_a_worker();
            return Ok(Turn::Other);
        }
        if self.is_over(limit) {
            return Ok(Turn::Over);
        }
        let place = self.letters.place();
        match self.handle(awaited, outcome) {
            Ok(()) => Ok(Turn::Event),
            Err(TryRecvError::Empty) => Ok(self.sleep(limit)),
            Err(error) => {
                let error = lost(error);
                // One that does not go on would be told of for ever.
                if matches!(error, RunError::System(_)) || self.letters.place() == place {
                    return Err(error);
                }
                self.note(error);
                Ok(Turn::Other)
            }
        }
    }

    /// Gives the next event, if it is there, to all that are there for it.
    fn handle(
        &mut self,
        awaited: &mut Option<&mut Await<'_>>,
        outcome: &mut Option<Result<(), RunError>>,
    ) -> Result<(), TryRecvError> {
        let Self { handlers, emitter, letters, faults, stops, .. } = self;
        let (envelope, mail) = letters.try_recv()?.split_header()?;
        let (event, sender) = (mail.name(), envelope.sender);
        // Asked before they run: one that runs once is gone afterwards, and has heard.
        let is_unheard = event == ERROR && handlers.count(Heard::Event(event)) == 0;
        handlers.run(Heard::Event(event), |handler, changes| {
            let Handler::Event(handler) = handler else { return false };
            let mut context = Context { emitter, changes, stops, faults, event, sender };
            let (ran, error) = match handler(&mail, &mut context) {
                Outcome::Ran => (true, None),
                Outcome::Failed(error) => (true, Some(error)),
                Outcome::Unfit(error) => (false, Some(error)),
            };
            let fault = |error| Fault { error, event: event.to_owned(), sender };
            faults.extend(error.map(fault));
            ran
        });
        if let Some(look) = awaited {
            *outcome = look(event, &mail);
        }
        if is_unheard && outcome.is_none() {
            let error = RunError::Unheard { sender, type_name: mail.type_name() };
            faults.push_back(Fault { error, event: event.to_owned(), sender });
        }
        Ok(())
    }

    fn is_over(&self, limit: Limit) -> bool {
        match limit {
            // What is no event is told, too: that some were lost, or that none will come.
            Limit::Present(end) => self.letters.has_passed(end) && !self.letters.has_notice(),
            Limit::Until(deadline) => deadline.has_passed(),
        }
    }

    /// Waits in one place for all that it hears.
    fn sleep(&mut self, limit: Limit) -> Turn {
        let Limit::Until(deadline) = limit else { return Turn::Over };
        match select_timeout(&mut [self], deadline.cut(Duration::MAX)) {
            Some(_) => Turn::Other,
            None => Turn::Over,
        }
    }

    fn hears_workers(&self) -> bool {
        self.handlers.count(Heard::Worker) > 0
    }

    /// Whether it is time to tell of a worker. A look at all desks costs something, so events that
    /// come without a pause are not each preceded by one.
    fn has_news_of_workers(&mut self) -> bool {
        self.turns = self.turns.wrapping_add(1);
        let end = self.letters.end();
        if self.letters.has_passed(end) || self.turns.is_multiple_of(LOOK_EVERY) {
            self.look_for_workers();
        }
        self.news_is_due()
    }

    /// Looks whether there is news of workers, and what had been emitted by then.
    fn look_for_workers(&mut self) {
        if self.news_after.is_none() && self.watch.as_mut().is_some_and(Waitable::has_next) {
            // Whoever left had emitted before.
            self.news_after = Some(self.letters.end());
        }
    }

    /// Whether there is news of workers, and all that comes before it is handled.
    fn news_is_due(&self) -> bool {
        self.news_after.is_some_and(|end| self.letters.has_passed(end))
    }

    /// The watch, if somebody is there for what it tells.
    fn watch(&self) -> Option<&Watch> {
        self.watch.as_ref().filter(|_| self.hears_workers())
    }

    /// Tells of one change of a worker, if there is one.
    fn tell_of_a_worker(&mut self) {
        self.news_after = None;
        let Some(change) = self.watch.as_mut().and_then(|watch| watch.try_recv().ok()) else {
            return;
        };
        let Self { handlers, emitter, stops, faults, .. } = self;
        handlers.run(Heard::Worker, |handler, changes| {
            let Handler::Worker(handler) = handler else { return false };
            let sender = whose(&change);
            let event = "";
            handler(&change, &mut Context { emitter, changes, stops, faults, event, sender });
            true
        });
    }

    /// Takes an error down that is of no event.
    fn note(&mut self, error: RunError) {
        self.faults.push_back(Fault::of_none(error, self.emitter.sender()));
    }

    /// Tells the handlers of errors; without any, the error is the dispatch's.
    fn tell(&mut self, fault: Fault) -> Result<(), RunError> {
        if self.handlers.count(Heard::Error) == 0 {
            return Err(fault.error);
        }
        let Self { handlers, emitter, stops, faults, .. } = self;
        let Fault { error, event, sender } = fault;
        let event = &*event;
        handlers.run(Heard::Error, |handler, changes| {
            let Handler::Error(handler) = handler else { return false };
            handler(&error, &mut Context { emitter, changes, stops, faults, event, sender });
            true
        });
        Ok(())
    }
}

/// Ready when a dispatch has something to do: an event, a fault to tell, news of a worker that
/// nothing comes before any more.
impl Waitable for Events<'_> {
    fn has_next(&mut self) -> bool {
        if !self.faults.is_empty() || self.letters.receiver.has_next() {
            return true;
        }
        self.hears_workers() && {
            self.look_for_workers();
            self.news_is_due()
        }
    }

    fn is_ready(&self) -> bool {
        let of_workers = || match self.news_after {
            // It is known, and waits for what comes before it.
            Some(_) => self.hears_workers() && self.news_is_due(),
            None => self.watch().is_some_and(Waitable::is_ready),
        };
        !self.faults.is_empty() || self.letters.receiver.is_ready() || of_workers()
    }

    fn event_count(&self) -> &EventCount {
        self.letters.receiver.event_count()
    }

    fn other_event_count(&self) -> Option<&EventCount> {
        self.watch().map(Waitable::event_count)
    }

    fn is_pending(&self) -> bool {
        self.letters.receiver.is_pending()
    }

    fn reap_dead(&mut self) {
        Waitable::reap_dead(&mut self.letters.receiver);
        if self.hears_workers()
            && let Some(watch) = &mut self.watch
        {
            watch.reap_dead();
        }
    }

    fn wait(&self) -> Wait {
        self.letters.receiver.wait()
    }

    fn sleeps_on_futex(&self) -> bool {
        self.letters.receiver.sleeps_on_futex()
    }
}

impl Selectable for Events<'_> {
    fn selectee(&mut self) -> Selectee<'_> {
        Selectee::new(self)
    }
}

impl fmt::Debug for Events<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").field("names", &self.handlers.names()).finish_non_exhaustive()
    }
}

/// The handler of events that carry a `T`.
pub(super) fn hearing<'h, T: Packet>(
    mut handler: impl FnMut(&T::Archived, &mut Context<'_>) -> Result<(), BoxError> + 'h,
) -> Handler<'h> {
    Handler::Event(Box::new(move |mail, context| match open::<T>(mail, context.event) {
        Ok(packet) => match handler(packet, context) {
            Ok(()) => Outcome::Ran,
            Err(source) => Outcome::Failed(failed(context.event, source)),
        },
        Err(error) => Outcome::Unfit(error),
    }))
}

/// The same for one that does not fail.
pub(super) fn hearing_always<'h, T: Packet>(
    mut handler: impl FnMut(&T::Archived, &mut Context<'_>) + 'h,
) -> Handler<'h> {
    hearing::<T>(move |packet, context| {
        handler(packet, context);
        Ok(())
    })
}

/// The same for one that runs once.
pub(super) fn hearing_once<'h, T: Packet>(
    handler: impl FnOnce(&T::Archived, &mut Context<'_>) -> Result<(), BoxError> + 'h,
) -> Handler<'h> {
    let mut handler = Some(handler);
    hearing::<T>(move |packet, context| {
        handler.take().map_or(Ok(()), |handler| handler(packet, context))
    })
}

/// The same for one that runs once and does not fail.
pub(super) fn hearing_once_always<'h, T: Packet>(
    handler: impl FnOnce(&T::Archived, &mut Context<'_>) + 'h,
) -> Handler<'h> {
    hearing_once::<T>(move |packet, context| {
        handler(packet, context);
        Ok(())
    })
}

/// An event's packet as a `T`.
fn open<'m, T: Packet>(
    mail: &'m AnyReceived<'_>,
    event: &str,
) -> Result<&'m T::Archived, RunError> {
    mail.open_as::<T>().map_err(|error| match error {
        RecvError::TypeMismatch(types) => RunError::TypeMismatch { event: event.to_owned(), types },
        error => RunError::Corrupt(format!("{event:?}: {error}").into()),
    })
}

/// The worker that something happened to.
fn whose(change: &WorkerChange) -> WorkerId {
    match change {
        WorkerChange::Joined(worker) | WorkerChange::Left(worker) | WorkerChange::Died(worker) => {
            worker.id
        }
    }
}

fn failed(event: &str, source: BoxError) -> RunError {
    RunError::Handler { event: event.to_owned(), source }
}

/// Why there is no event.
fn lost(error: TryRecvError) -> RunError {
    match error {
        TryRecvError::Missed(missed) => RunError::Missed(missed.packets),
        TryRecvError::Closed => RunError::System(io::ErrorKind::BrokenPipe.into()),
        error => RunError::Corrupt(error.to_string().into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::try_select;

    fn ring() -> Ring {
        Ring::builder().capacity(4096).tagged_slots().stays_open(true).heap().unwrap()
    }

    #[test]
    fn what_is_no_event_is_an_error_and_passed_over() {
        let ring = ring();
        let mut count = 0;
        let mut events = Events::over(&ring, WorkerId(3), None).unwrap();
        events.on::<u64>("n", |_, _| count += 1);
        // Without an envelope.
        ring.any_publisher().unwrap().send(&7_u64).unwrap();
        events.emit("n", &1_u64).unwrap();
        let Err(RunError::Corrupt(what)) = events.poll() else { panic!() };
        assert!(what.contains("without a header"), "{what}");
        assert_eq!(events.poll().unwrap(), 1);
        drop(events);
        assert_eq!(count, 1);
    }

    #[test]
    fn news_that_waits_for_an_event_on_its_way_selects_nobody() {
        let cluster = format!("news-{}", std::process::id());
        let worker = Worker::join(&cluster, "one").unwrap();
        let mut told = 0;
        let mut events = worker.events().unwrap();
        events.on_worker(|_, _| told += 1);
        let ring =
            worker.open(ClusterObject::Events, RingBuilder::default().tagged_slots()).unwrap();
        let mut out = ring.any_publisher().unwrap();
        let claim = out.reserve::<u64>().unwrap();
        let two = Worker::join(&cluster, "two").unwrap();
        for _ in 0..2 * LOOK_EVERY {
            assert_eq!(try_select(&mut [&mut events]), None);
            assert_eq!(events.poll().unwrap(), 0);
        }
        assert!(!Waitable::is_ready(&events), "nor does anything end its sleep");
        drop(claim);
        assert_eq!(select_timeout(&mut [&mut events], Duration::MAX), Some(0));
        assert_eq!(events.poll().unwrap(), 0);
        assert_eq!(try_select(&mut [&mut events]), None);
        drop((events, out, ring, two));
        assert_eq!(told, 1);
    }

    #[test]
    fn a_ring_that_was_closed_ends_every_dispatch() {
        let ring = ring();
        let mut events = Events::over(&ring, WorkerId(3), None).unwrap();
        events.on_error(|_, _| {});
        events.emit("n", &1_u64).unwrap();
        ring.close().unwrap();
        for _ in 0..2 {
            assert_eq!(try_select(&mut [&mut events]), Some(0));
            assert!(matches!(events.run(), Err(RunError::System(_))));
            assert!(matches!(events.poll(), Err(RunError::System(_))), "whom it selected is told");
        }
        assert!(matches!(events.emit("n", &1_u64), Err(EmitError::Send(_))));
    }
}
