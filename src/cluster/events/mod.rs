//! Events of a cluster: emitting them, and running their handlers.
//!
//! All events of a cluster share one ring. Each event has its name in a header before its archive.
//! So the events of one worker keep their order across names, and a worker waits in one place for
//! all of them. Each emit wakes every worker with [`Events`], which then reads the name. High
//! volume belongs in a topic.
//!
//! Guarantees:
//!
//! - Each event reaches each worker that has `Events` open once, at its next dispatch, unless the
//!   ring drops the oldest events.
//! - Handlers run in the order of Node's `EventEmitter`: see [`registry`].
//! - Each error reaches the error handlers or the caller of the dispatch, once and in order.
//! - If a handler panics, the packet is released and the `Events` stay usable.
//!
//! Unlike in Node, handlers never run inside `emit`, and a handler that fails does not keep the
//! event from other handlers.

mod context;
mod emitter;
mod handler;
mod header;
mod pattern;
mod registry;
mod run;

pub use context::Context;
pub use emitter::Emitter;
pub(crate) use header::parts_of_event;

use super::directory::{Watch, WorkerChange};
use super::error::{EmitError, EmitTimeoutError, RunError, TryEmitError};
use super::names::{ClusterObject, WorkerId};
use super::worker::Worker;
use crate::channel::{AnySubscriber, End, Ring, RingBuilder, WaitingFor, rearm, verb};
use crate::error::{Form, OpenError};
use crate::packet::{Packet, SendAs, Unpack};
use crate::sys::stop::Stop;
use crate::wait::{Deadline, Listener, Timeout, Wait};
use context::{Handler, Recorder};
use emitter::EventSender;
use registry::{Filter, HandlerList, Trigger};
use run::DispatchLimit;
use std::fmt;
use std::time::Duration;

/// Emits events to a cluster and runs this worker's handlers of events.
///
/// An event has a name and carries one packet. A tuple is a packet, so an event can carry several
/// values. The event reaches every worker that has `Events` open, the emitter included. Handlers
/// run when a worker calls [`run`](Self::run), [`run_for`](Self::run_for), [`poll`](Self::poll) or
/// [`wait_for`](Self::wait_for), never inside [`emit`](Self::emit). These calls are dispatches.
///
/// Handlers may borrow values that live longer than the `Events`. `Events` stay in the thread that
/// opened them; another thread opens its own through the same [`Worker`].
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
/// # Names and patterns
///
/// A name is a list of parts between `::`, as in `threadA::open`. Handlers may be added for a
/// pattern: the part `*` matches any one part, and `**` matches any number of parts, none
/// included. Thus `threadA::*` matches `threadA::open`, and `**::open` matches `open` and
/// `threadA::x::open`.
///
/// # Order
///
/// All workers receive the events of one worker in the order in which it emitted them. The handlers
/// of one event run in the order in which they were added, prepended handlers first. Handlers that
/// are added or removed by a handler take effect after the current event. A change of a worker is
/// reported after the events that were emitted before the change was noticed.
///
/// # Errors of handlers
///
/// Errors go to the error handlers ([`on_error`](Self::on_error)). If there are none, the dispatch
/// returns the error, and the next dispatch continues after it. Errors are:
///
/// - a handler added with [`try_on`](Self::try_on) or [`try_once`](Self::try_once) failed,
/// - an event has another packet type than its handler expects,
/// - events were lost, or the bytes of an event are not valid,
/// - an event named `error` has no handler: see below.
///
/// If a handler fails, the other handlers of the event still run.
///
/// The event `error` must be handled: by a handler whose name or pattern matches it, or by
/// [`wait_for`](Self::wait_for). Otherwise each worker with `Events`, the emitter included, gets
/// [`Unheard`](RunError::Unheard). Any other event without a handler is skipped.
///
/// # Panics of handlers
///
/// A panic of a handler passes through the dispatch. The packet is released, and the remaining
/// handlers do not get this event. The next dispatch continues with the next event.
///
/// # Waiting for events and other endpoints
///
/// [`select`](crate::select()) waits for events together with inboxes, services, queues and topics.
/// If it selects the `Events`, call [`poll`](Self::poll).
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
/// # Backpressure
///
/// If the ring of events is full, emitters wait for the slowest worker with `Events`. A worker that
/// keeps `Events` and never dispatches therefore blocks all emitters of the cluster. A worker that
/// only emits opens an [`Emitter`] instead. Or let the first worker that opens events choose
/// [`DropOldest`](super::WorkerBuilder::events_overflow).
pub struct Events<'h> {
    handlers: HandlerList<Handler<'h>>,
    recorder: Recorder<Handler<'static>>,
    emitter: EventSender,
    subscriber: AnySubscriber,
    watch: Option<Watch>,
    /// The watch has a change. It is reported after the events before this end.
    change_after: Option<End>,
    /// For event loops.
    listener: Option<Box<Listener>>,
    /// Steps of all dispatches so far.
    steps: u32,
}

/// Identifies one handler of one [`Events`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HandlerId(u64);

impl Worker {
    /// Opens the cluster's events. Events that are emitted from now on arrive.
    ///
    /// The first worker that opens the events decides whether their ring blocks or drops the
    /// oldest: see [`WorkerBuilder::events_overflow`](super::WorkerBuilder::events_overflow).
    ///
    /// # Errors
    ///
    /// [`SettingsMismatch`](OpenError::SettingsMismatch) if this worker chose another overflow than
    /// the first one. [`Full`](OpenError::Full), [`System`](OpenError::System).
    pub fn events<'h>(&self) -> Result<Events<'h>, OpenError> {
        Events::over(&ring(self)?, self.id(), Some(self.watch()?))
    }
}

/// Opens the ring of all events of a worker's cluster, or creates it.
fn ring(worker: &Worker) -> Result<Ring, OpenError> {
    let entries = worker.directory.worker_slots();
    let settings = RingBuilder::default().tagged_slots().or_else(|default| {
        default.stays_open = true;
        default.max_publishers = entries;
        default.max_subscribers = entries;
    });
    let settings = match worker.choices.events_overflow {
        Some(overflow) => settings.overflow(overflow),
        None => settings,
    };
    worker.open(ClusterObject::Events, settings)
}

impl<'h> Events<'h> {
    /// Joins a ring of events.
    fn over(ring: &Ring, worker: WorkerId, watch: Option<Watch>) -> Result<Self, OpenError> {
        let subscriber = ring.any_subscriber()?;
        let own = Some(subscriber.subscriber_index());
        let emitter = EventSender::new(ring.any_publisher()?, worker, own);
        Ok(Self {
            handlers: HandlerList::default(),
            recorder: Recorder::new(worker),
            emitter,
            subscriber,
            watch,
            change_after: None,
            listener: None,
            steps: 0,
        })
    }

    /// Adds a handler of errors: see [Errors of handlers](Self#errors-of-handlers).
    ///
    /// While there is one, a dispatch returns only errors that keep it from continuing.
    pub fn on_error(&mut self, handler: impl FnMut(&RunError, &mut Context<'_>) + 'h) -> HandlerId {
        self.add_for(Filter::Errors, Handler::Error(Box::new(handler)))
    }

    /// Adds a handler of changes of workers: joins, leaves and deaths from now on.
    ///
    /// Events that a worker emitted before it left or died are handled first.
    pub fn on_worker(
        &mut self,
        handler: impl FnMut(&WorkerChange, &mut Context<'_>) + 'h,
    ) -> HandlerId {
        if !self.has_worker_handlers() {
            self.forget_changes();
        }
        self.add_for(Filter::Workers, Handler::Worker(Box::new(handler)))
    }

    /// Removes a handler of any kind. Returns false if it does not exist.
    pub fn off(&mut self, handler: HandlerId) -> bool {
        self.handlers.remove(handler)
    }

    /// Removes all handlers that were added with this event name or pattern. Returns their number.
    pub fn off_all(&mut self, event: &str) -> usize {
        self.handlers.remove_all(event)
    }

    /// Removes all handlers, those of errors and of workers too. Returns their number.
    pub fn off_every(&mut self) -> usize {
        self.handlers.remove_every()
    }

    /// Returns the number of handlers that an event of this name would run, patterns included.
    pub fn listener_count(&self, event: &str) -> usize {
        self.handlers.count(Trigger::Event(event))
    }

    /// Returns the names and patterns that have handlers, each once, in the order of the handlers.
    pub fn event_names(&self) -> Vec<String> {
        self.handlers.names().into_iter().map(str::to_owned).collect()
    }

    verb! {
        /// Emits an event to all workers that have `Events`, this one included. Waits for room.
        /// Takes `&packet`, or a [borrowed form](SendAs) of it.
        ///
        /// The name has 1 to 1024 bytes, and no part of it is `*` or `**`.
        ///
        /// # Errors
        ///
        /// - [`BadName`](EmitError::BadName) if no event can have this name.
        /// - [`OwnBacklog`](EmitError::OwnBacklog) if the ring is full of events that this worker
        ///   has not handled. The call would wait for itself.
        /// - [`TooLarge`](EmitError::TooLarge), [`Unserializable`](EmitError::Unserializable),
        ///   [`Send`](EmitError::Send).
        emit, try_emit, emit_timeout = emit_with[T: Packet](event: &str, packet: impl SendAs<T>) -> ();
        EmitError, TryEmitError::Full, EmitTimeoutError::Timeout
    }

    /// Dispatches until an event with this name or pattern comes, and returns its packet.
    ///
    /// Handlers run for this event and for all events before it. [`Context::stop`] does not end the
    /// call. If the event also causes an error, this call returns the packet and the next dispatch
    /// reports the error.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run), and [`BadName`](RunError::BadName) if no event can have this name. If
    /// the packet has another type than `T`, the call returns
    /// [`TypeMismatch`](RunError::TypeMismatch), even if there are error handlers.
    pub fn wait_for<T: Unpack>(&mut self, event: &str) -> Result<T, RunError> {
        loop {
            if let Some(packet) = self.dispatch_for(event, Deadline::NEVER)? {
                return Ok(packet);
            }
        }
    }

    /// Waits for an event until the timeout: see [`wait_for`](Self::wait_for). Returns `None` if it
    /// did not come.
    ///
    /// # Errors
    ///
    /// As [`wait_for`](Self::wait_for).
    pub fn wait_for_timeout<T: Unpack>(
        &mut self,
        event: &str,
        timeout: Duration,
    ) -> Result<Option<T>, RunError> {
        self.dispatch_for(event, Deadline::after(timeout))
    }

    /// Dispatches until a handler calls [`Context::stop`].
    ///
    /// # Errors
    ///
    /// An error that no error handler took, or an error that keeps the dispatch from continuing.
    /// The events before it were handled. The next dispatch continues after it.
    pub fn run(&mut self) -> Result<(), RunError> {
        self.dispatch(DispatchLimit::Until(Deadline::NEVER), None).map(drop)
    }

    /// Dispatches until a handler calls [`Context::stop`], and waits in a task, for any executor.
    /// Handlers run in the task. Dropping the future leaves the events after the last handler to
    /// the next dispatch.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run), and [`System`](RunError::System) as
    /// [`ready`](crate::Selectable::ready).
    #[cfg(feature = "async")]
    pub async fn run_async(&mut self) -> Result<(), RunError> {
        loop {
            let handled = self.poll()?;
            if self.recorder.is_stopped {
                return Ok(());
            }
            let stop = crate::channel::Waitable::stop(self);
            if handled == 0 && Stop::was_called(stop) {
                return Err(RunError::Stopped);
            }
            crate::Selectable::ready(self).await.map_err(RunError::System)?;
        }
    }

    /// Dispatches for this long, or until a handler calls [`Context::stop`]. Returns the number of
    /// events.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    pub fn run_for(&mut self, time: Duration) -> Result<usize, RunError> {
        self.dispatch(DispatchLimit::Until(Deadline::after(time)), None)
    }

    /// Dispatches the events that are there now, without waiting. Returns their number.
    ///
    /// Events that handlers emit meanwhile are left for the next call. After
    /// [`select`](crate::select()) has selected the `Events`, a poll does the work that was found.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    pub fn poll(&mut self) -> Result<usize, RunError> {
        let outcome = self.dispatch(DispatchLimit::Before(self.subscriber.end()), None);
        rearm(self);
        outcome
    }

    /// Sets what ends the waits of dispatches and of [`emit`](Self::emit). A dispatch that is
    /// stopped handles the events that are there, and then returns
    /// [`Stopped`](RunError::Stopped).
    pub fn set_stop(&mut self, stop: &Stop) {
        self.subscriber.set_stop(stop);
        self.emitter.set_stop(stop);
        if let Some(listener) = &self.listener {
            listener.set_stop(stop);
        }
    }

    /// Sets how dispatches and [`select`](crate::select()) wait for events, and how
    /// [`emit`](Self::emit) waits for room.
    pub fn set_wait(&mut self, wait: Wait) {
        self.subscriber.set_wait(wait);
        self.emitter.set_wait(wait);
    }

    #[inline]
    fn emit_with<T: Packet, F: Form<EmitError, WaitingFor>>(
        &mut self,
        event: &str,
        packet: impl SendAs<T>,
        timeout: Timeout,
    ) -> Result<(), F> {
        F::retry(|| self.emitter.emit(event, packet.value(), timeout))
    }

    fn add_for(&mut self, filter: Filter, handler: Handler<'h>) -> HandlerId {
        let (id, change) = self.recorder.register(filter, handler);
        self.handlers.apply([change]);
        id
    }
}

impl fmt::Debug for Events<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").field("names", &self.handlers.names()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
