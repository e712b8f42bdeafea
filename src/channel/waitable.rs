//! The trait of endpoints that can be waited for, and their readiness for event loops.
//!
//! - [`Waitable`]: what `select` and the reactor (`wait::reactor`) ask of an endpoint.
//! - [`Readiness`]: a descriptor that is readable when an endpoint may have something.
//! - [`Ready`]: a future that ends then.
//!
//! An endpoint is armed when it found nothing: at the end of a `try_` call, or in a poll of the
//! future.

use crate::segment::kept::KeptEventCount;
use crate::segment::layout::EventCount;
use crate::sys::event::AnyReadable;
use crate::sys::stop::Stop;
use crate::wait::{Deadline, Listener, Signal, Subject, Wait};
use std::fmt;
use std::future::Future;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// A receiver that can be waited for, alone or with others. Its event count is notified when there
/// may be something for it.
pub(crate) trait Waitable {
    /// Returns true if the next receive returns at once. Releases the packet that was held. A
    /// packet that is found is kept for that receive.
    fn has_next(&mut self) -> bool;

    /// Returns true if [`has_next`](Self::has_next) may find something. Has no side effects: it is
    /// called between registering as a waiter and sleeping. A wrong `true` costs a call of
    /// `has_next`, a wrong `false` a bounded sleep.
    fn is_ready(&self) -> bool;

    /// Its event count; `None` if only its stop makes it ready.
    fn event_count(&self) -> Option<&EventCount>;

    /// A second event count, if it has one.
    fn other_event_count(&self) -> Option<&EventCount> {
        None
    }

    /// All event counts that it may ever sleep on, for the reactor.
    fn event_counts(&self) -> Vec<KeptEventCount> {
        Vec::new()
    }

    /// Its registration with the reactor; `None` if it can have none.
    fn listener(&mut self) -> Option<&mut Option<Box<Listener>>> {
        None
    }

    /// Returns true if notifiers wake as many sleepers as there are packets, and not all.
    fn is_woken_by_count(&self) -> bool {
        false
    }

    /// A number that changes when it takes something: a wait for the next thing begins anew.
    fn place(&self) -> u64 {
        0
    }

    /// Returns true if something is known to be under way, such as a claim. The sleep is then
    /// short, because the process at work may die.
    fn is_pending(&self) -> bool {
        false
    }

    /// Clears the dead. Called after a sleep in which nothing came. `is_long`: a check that another
    /// endpoint of this process made a moment ago is enough. Does nothing where the dead stop
    /// nobody.
    fn check_liveness(&mut self, _is_long: bool) {}

    /// Returns true if only the calling thread can do what it waits for. May make system calls.
    fn waits_for_this_thread(&self) -> bool {
        false
    }

    /// Ends a wait that [`waits_for_this_thread`](Self::waits_for_this_thread): it is ready then,
    /// unless something came meanwhile.
    fn end_own_wait(&mut self) {}

    /// Called at the end of a `select` that slept. A consumer passes on a wake-up that it does not
    /// need.
    fn end_sleep(&self) {}

    /// The stop that ends its waits from outside. After that it is ready: its receive returns
    /// `Stopped`.
    fn stop(&self) -> Option<&Stop> {
        None
    }

    /// When its wait in a task ends without result. Asked once, before the wait.
    fn deadline(&self) -> Deadline {
        Deadline::NEVER
    }

    /// How it waits. If one of them only spins, all spin.
    fn wait(&self) -> Wait {
        Wait::park()
    }

    /// Returns true if its notifiers wake the futex of the event count.
    fn sleeps_on_futex(&self) -> bool {
        true
    }
}

/// An endpoint that [`select`](crate::select()), an event loop or a task can wait for, together
/// with others. Only types of this crate implement it.
pub trait Selectable {
    #[doc(hidden)]
    fn selectee(&mut self) -> Selectee<'_>;

    /// A descriptor for event loops, which is readable when there may be something: see
    /// [`Readiness`].
    ///
    /// # Errors
    ///
    /// [`Unsupported`](io::ErrorKind::Unsupported) if the ring parks on
    /// [events](crate::Wait::event). Errors of the system if there is no descriptor or no thread
    /// left.
    fn readiness(&mut self) -> io::Result<Readiness> {
        readiness(self.selectee().0)
    }

    /// Waits in a task until there may be something, for any executor. After that a call that does
    /// not wait finds it, except where another endpoint took it meanwhile.
    ///
    /// # Errors
    ///
    /// As [`readiness`](Self::readiness).
    fn ready(&mut self) -> Ready<'_, Self>
    where
        Self: Sized,
    {
        Ready { one: self, is_pending: false }
    }
}

/// The part of a receiver that `select` needs.
#[doc(hidden)]
pub struct Selectee<'a>(pub(super) &'a mut dyn Waitable);

impl<'a> Selectee<'a> {
    pub(crate) fn new(waitable: &'a mut dyn Waitable) -> Self {
        Self(waitable)
    }
}

impl fmt::Debug for Selectee<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Selectee")
    }
}

pub(super) fn is_stopped(one: &dyn Waitable) -> bool {
    Stop::was_called(one.stop())
}

/// A descriptor that is readable when an endpoint may have something: a packet, a loss, its end, a
/// reply, a change of a worker; for a publisher, room. For epoll, poll, io_uring and event loops
/// over them. [`Selectable::readiness`] returns it.
///
/// It is readable from the start, and until a call that does not wait (`try_recv`, `try_send`, ..)
/// finds nothing: that call makes it not readable. Then it becomes readable once more. So it serves
/// level-triggered loops and edge-triggered ones, if they repeat the call until it finds nothing.
/// Spurious wake-ups are allowed, and come now and then: the call also checks which processes live.
///
/// Only register the descriptor; do not read from it. It stays valid as long as this value.
///
/// ```
/// use packetring::{Ring, Selectable, TryRecvError};
/// use rustix::event::{PollFd, PollFlags, poll};
///
/// let ring = Ring::builder().heap()?;
/// let (mut readings, mut sensor) = (ring.subscriber::<u64>()?, ring.publisher::<u64>()?);
/// let ready = readings.readiness()?;
/// assert!(matches!(readings.try_recv(), Err(TryRecvError::Empty)));
/// sensor.send(&7)?;
/// poll(&mut [PollFd::new(&ready, PollFlags::IN)], None)?;
/// assert_eq!(*readings.try_recv()?, 7);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Cost
///
/// One thread of the process sleeps for about a thousand endpoints in one system call, or for up to
/// 126 where the kernel refuses io_uring. It is there as long as an endpoint has a readiness or was
/// awaited. A publisher pays nothing unless an endpoint found nothing before. The thread's hop
/// costs some microseconds more than a blocked receive.
#[derive(Clone)]
pub struct Readiness(ReadyDescriptor);

#[derive(Clone)]
enum ReadyDescriptor {
    One(Arc<Signal>),
    Any(Arc<AnyReadable>),
}

impl Readiness {
    /// One descriptor for several endpoints, such as all that a worker listens to. It is readable
    /// while the readiness of one of them is. Then try each of them, or ask
    /// [`try_select`](crate::try_select) which one has something.
    ///
    /// An endpoint leaves it when it is dropped. To add one, make another readiness. It costs a
    /// descriptor besides one for each endpoint.
    ///
    /// ```
    /// # let cluster = format!("readiness-{}", std::process::id());
    /// use packetring::{Readiness, TryRecvError, Worker};
    /// use rustix::event::{PollFd, PollFlags, poll};
    ///
    /// let worker = Worker::join(&cluster, "shop")?;
    /// let (mut inbox, mut jobs) = (worker.inbox()?, worker.queue::<u64>("jobs")?);
    /// let ready = Readiness::of(&mut [&mut inbox, &mut jobs])?;
    /// # worker.send_to("shop", &7_u64)?;
    /// poll(&mut [PollFd::new(&ready, PollFlags::IN)], None)?;
    /// while let Ok(message) = inbox.try_recv() {
    ///     message.ack();
    /// }
    /// assert!(matches!(jobs.try_recv(), Err(TryRecvError::Empty)));
    /// # drop((inbox, jobs));
    /// # worker.leave()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Selectable::readiness`] of each; [`Unsupported`](io::ErrorKind::Unsupported) for a
    /// [`Stop`].
    pub fn of(list: &mut [&mut dyn Selectable]) -> io::Result<Self> {
        let any = AnyReadable::new()?;
        for one in list {
            any.add(one.readiness()?.as_fd())?;
        }
        Ok(Self(ReadyDescriptor::Any(Arc::new(any))))
    }
}

impl AsFd for Readiness {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.0 {
            ReadyDescriptor::One(signal) => signal.made_descriptor(),
            ReadyDescriptor::Any(any) => any.as_fd(),
        }
    }
}

impl AsRawFd for Readiness {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

impl fmt::Debug for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Readiness").field(&self.as_raw_fd()).finish()
    }
}

/// The registration of an endpoint, which is made when it is first needed.
fn listener(one: &mut dyn Waitable) -> io::Result<&mut Listener> {
    let unsupported = |what: &str| io::Error::new(io::ErrorKind::Unsupported, what);
    if !one.sleeps_on_futex() {
        return Err(unsupported(
            "the ring parks on events, which no descriptor reports: make it without Wait::event",
        ));
    }
    // In a forked child it is the parent's.
    let is_own = |own: &Option<Box<Listener>>| own.as_ref().is_some_and(|it| it.is_own());
    if one.listener().is_some_and(|own| !is_own(own)) {
        let made = Listener::new(one.event_counts(), one.stop(), one.is_woken_by_count())?;
        let made = made.until(one.deadline());
        if let Some(listener) = one.listener() {
            *listener = Some(Box::new(made));
        }
    }
    let made = one.listener().and_then(Option::as_deref_mut);
    made.ok_or_else(|| unsupported("this has no readiness of its own: ask an endpoint for it"))
}

/// The readiness of an endpoint.
fn readiness(one: &mut dyn Waitable) -> io::Result<Readiness> {
    let signal = listener(one)?.signal();
    signal.make_descriptor()?;
    Ok(Readiness(ReadyDescriptor::One(Arc::clone(signal))))
}

/// At the end of a call that does not wait and found nothing: arms the endpoint, if it has a
/// readiness. Checks which processes live if that is due. Returns false if there is something after
/// all.
pub(crate) fn rearm(one: &mut dyn Waitable) -> bool {
    let Some(mut listener) = one.listener().and_then(Option::take) else { return true };
    if !listener.is_own() {
        // In a forked child it is the parent's, which also has the descriptor.
        return true;
    }
    let subject = Subject { id: one.place(), is_pending: one.is_pending() };
    if listener.is_due(subject) {
        one.check_liveness(listener.may_share_checks());
    }
    let is_armed = listener.arm(|| one.is_ready() || is_stopped(one));
    if let Some(own) = one.listener() {
        *own = Some(listener);
    }
    is_armed
}

/// A future that ends when an endpoint may have something. [`Selectable::ready`] returns it.
///
/// Dropping it changes nothing: no packet is lost, and no waker stays behind.
#[must_use = "a future does nothing unless it is awaited"]
pub struct Ready<'a, S: Selectable + ?Sized> {
    one: &'a mut S,
    is_pending: bool,
}

impl<S: Selectable + ?Sized> fmt::Debug for Ready<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ready").finish_non_exhaustive()
    }
}

impl<S: Selectable + ?Sized> Future for Ready<'_, S> {
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = poll_ready(self.one.selectee().0, context);
        // Its waker may stay behind after it was ready, too.
        self.is_pending |= polled.is_pending();
        polled
    }
}

/// Has the task of `context` woken when an endpoint may have something, unless it has now.
pub(super) fn poll_ready(
    one: &mut dyn Waitable,
    context: &mut Context<'_>,
) -> Poll<io::Result<()>> {
    loop {
        if one.has_next() || is_stopped(one) {
            return Poll::Ready(Ok(()));
        }
        match listener(one) {
            Ok(listener) => listener.signal().set_waker(Some(context.waker())),
            Err(error) => return Poll::Ready(Err(error)),
        }
        if rearm(one) {
            return Poll::Pending;
        }
    }
}

/// Forgets the task that [`poll_ready`] would wake.
pub(super) fn forget_task(one: &mut dyn Waitable) {
    if let Some(Some(listener)) = one.listener()
        && listener.is_own()
    {
        listener.signal().set_waker(None);
    }
}

impl<S: Selectable + ?Sized> Drop for Ready<'_, S> {
    fn drop(&mut self) {
        if self.is_pending {
            forget_task(self.one.selectee().0);
        }
    }
}

/// Ready once it was stopped. Without an endpoint that has this stop, put it into the list: its
/// index then means that the wait was stopped.
impl Selectable for Stop {
    fn selectee(&mut self) -> Selectee<'_> {
        Selectee::new(self)
    }
}

impl Waitable for Stop {
    fn has_next(&mut self) -> bool {
        self.is_stopped()
    }

    fn is_ready(&self) -> bool {
        self.is_stopped()
    }

    fn event_count(&self) -> Option<&EventCount> {
        None
    }

    fn stop(&self) -> Option<&Stop> {
        Some(self)
    }
}
