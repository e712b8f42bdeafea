//! The waits of a worker: for other workers and their inboxes, and in a task for room in an inbox.
//! A thread waits for room in `inbox::send`.

#[cfg(feature = "async")]
use super::directory::{InboxAddress, Lookup};
use super::directory::{WorkerInfo, WorkerState};
use super::error::WaitError;
#[cfg(feature = "async")]
use super::error::{SendToError, SendToFailure, WaitingForInbox};
use super::names::Addressee;
#[cfg(feature = "async")]
use super::names::{Address, ClusterObject};
use super::worker::Worker;
#[cfg(feature = "async")]
use crate::channel::{RoomWait, WaitingFor, find_in_task, in_task};
#[cfg(feature = "async")]
use crate::error::{Failure, OpenError};
#[cfg(feature = "async")]
use crate::packet::{Packet, SendAs};
use crate::wait::{Deadline, Pace, Sleep, Subject, Wait, Waiter, wait_until};
use std::time::Duration;
#[cfg(feature = "async")]
use std::time::Instant;

impl Worker {
    /// Waits until a worker lives. Returns its description.
    ///
    /// The worker may have no inbox yet. Before [`send_to`](Self::send_to), use
    /// [`wait_for_inbox_timeout`](Self::wait_for_inbox_timeout).
    ///
    /// # Errors
    ///
    /// [`NotThere`](WaitError::NotThere) after the timeout, [`Stopped`](WaitError::Stopped).
    pub fn wait_for_worker_timeout(
        &self,
        who: &(impl Addressee + ?Sized),
        timeout: Duration,
    ) -> Result<WorkerInfo, WaitError> {
        let found = self.wait_for(who, timeout, is_alive)?;
        found.ok_or_else(|| WaitError::NotThere { who: who.address().to_string() })
    }

    /// Waits until a worker has an [inbox](Self::inbox), so that messages can be sent to it. A
    /// worker that is [away](WorkerState::Away) has one, too.
    ///
    /// ```
    /// # let cluster = format!("wait-for-inbox-{}", std::process::id());
    /// use packetring::Worker;
    /// use std::time::Duration;
    ///
    /// let feed = Worker::join(&cluster, "feed")?;
    /// std::thread::scope(|scope| {
    ///     scope.spawn(|| -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    ///         let shop = Worker::join(&cluster, "shop")?;
    ///         shop.inbox()?.recv()?.ack();
    ///         Ok(shop.leave()?)
    ///     });
    ///     feed.wait_for_inbox_timeout("shop", Duration::from_secs(10))?;
    ///     feed.send_to("shop", &7_u64)?;
    ///     Ok::<(), Box<dyn std::error::Error>>(())
    /// })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// After the timeout: [`NoInbox`](WaitError::NoInbox) if the worker lives, else
    /// [`NotThere`](WaitError::NotThere). [`Stopped`](WaitError::Stopped).
    pub fn wait_for_inbox_timeout(
        &self,
        who: &(impl Addressee + ?Sized),
        timeout: Duration,
    ) -> Result<WorkerInfo, WaitError> {
        self.wait_for(who, timeout, |worker| worker.has_inbox)?.ok_or_else(|| {
            let is_alive = self.worker(who).is_some_and(|found| found.state == WorkerState::Alive);
            let who = who.address().to_string();
            if is_alive { WaitError::NoInbox { who } } else { WaitError::NotThere { who } }
        })
    }

    /// Waits until a worker is ready. `None` after the timeout.
    fn wait_for(
        &self,
        who: &(impl Addressee + ?Sized),
        timeout: Duration,
        is_ready: impl Fn(&WorkerInfo) -> bool,
    ) -> Result<Option<WorkerInfo>, WaitError> {
        let waiter = Waiter::new(Wait::park(), Sleep::Futex).with_stop(self.directory.stop());
        let find = || self.worker(who).filter(&is_ready);
        let found = wait_until(
            &mut Pace::new(),
            Deadline::after(timeout),
            |_| match find() {
                Some(found) => Some(Ok(found)),
                None => waiter.is_stopped().then_some(Err(WaitError::Stopped)),
            },
            |pace, deadline| {
                let event_count = self.directory.event_count();
                pace.pause(Subject { id: 0, is_pending: false }, deadline, |bound| {
                    waiter.park(event_count, bound, || find().is_some())
                });
            },
        );
        found.transpose()
    }

    /// Waits in a task until a worker lives, for any executor. Returns its description.
    ///
    /// # Errors
    ///
    /// [`Stopped`](WaitError::Stopped), and [`System`](WaitError::System) as
    /// [`ready`](crate::Selectable::ready).
    #[cfg(feature = "async")]
    pub async fn wait_for_worker_async(
        &self,
        who: &(impl Addressee + ?Sized),
    ) -> Result<WorkerInfo, WaitError> {
        self.wait_in_task(&who.address(), is_alive).await
    }

    /// Waits in a task until a worker has an inbox, for any executor: see
    /// [`wait_for_inbox_timeout`](Self::wait_for_inbox_timeout).
    ///
    /// # Errors
    ///
    /// As [`wait_for_worker_async`](Self::wait_for_worker_async).
    #[cfg(feature = "async")]
    pub async fn wait_for_inbox_async(
        &self,
        who: &(impl Addressee + ?Sized),
    ) -> Result<WorkerInfo, WaitError> {
        self.wait_in_task(&who.address(), |worker| worker.has_inbox).await
    }

    #[cfg(feature = "async")]
    async fn wait_in_task(
        &self,
        who: &Address<'_>,
        is_ready: fn(&WorkerInfo) -> bool,
    ) -> Result<WorkerInfo, WaitError> {
        let find = || self.directory.info(who).filter(is_ready);
        let (event_count, stop) = (self.directory.kept_event_count(), self.directory.stop());
        let found = find_in_task(event_count, (stop, Deadline::NEVER), find).await;
        found.map_err(|error| WaitError::System(error.kind()))?.ok_or(WaitError::Stopped)
    }

    /// As [`send_to`](Self::send_to), but waits for room in a task, for any executor. Dropping the
    /// future sends nothing, or the whole message.
    ///
    /// # Errors
    ///
    /// As [`send_to`](Self::send_to). [`Open`](SendToError::Open) also if the task cannot wait, as
    /// [`ready`](crate::Selectable::ready).
    #[cfg(feature = "async")]
    pub async fn send_to_async<T: Packet>(
        &self,
        who: &(impl Addressee + ?Sized),
        packet: impl SendAs<T>,
    ) -> Result<(), SendToError> {
        let mut room = RoomWait::new(self.directory.stop());
        // When it first found the control lock of the inbox held, by other processes since.
        let mut held_since = None;
        let who = who.address();
        in_task(&mut room, cannot_wait, |room| {
            match self.send_in_task(&who, packet.value()) {
                // All entries of the inbox are in use, some of them by other threads.
                Err(SendToFailure::Error(SendToError::Open(error)))
                    if matches!(*error, OpenError::Full { .. })
                        && self.senders.has_shared(&who, &self.directory) => {}
                // Another process holds the control lock of the inbox: the clock ends the wait.
                Err(SendToFailure::NotReady(WaitingForInbox {
                    reason: WaitingFor::Joining { pid },
                    ..
                })) => {
                    let since = *held_since.get_or_insert_with(Instant::now);
                    let limit = self.choices.limit();
                    if limit.has_passed(since)
                        && !limit.is_stopped()
                        && let Lookup::Inbox(InboxAddress { name, presence, .. }) =
                            self.directory.find(&who)
                    {
                        let inbox = ClusterObject::Inbox(&name, presence.inbox_name());
                        let busy = inbox.name(&self.cluster).map_or_else(
                            |error| error,
                            |name| OpenError::Busy { name: name.shown(), pid: Some(pid) },
                        );
                        return Err(SendToError::Open(Box::new(busy)).into());
                    }
                    room.begin(None);
                    return Err(self.stopped_or_later());
                }
                Err(SendToFailure::Error(error)) => return Err(Failure::Error(error)),
                Err(SendToFailure::NotReady(_)) => {}
                Ok(()) => return Ok(()),
            }
            held_since = None;
            self.senders.wait_in(&who, &self.directory, room);
            Err(self.stopped_or_later())
        })
        .await
    }

    /// After a try that was too early.
    #[cfg(feature = "async")]
    fn stopped_or_later(&self) -> Failure<SendToError, ()> {
        let is_stopped = self.choices.limit().is_stopped();
        if is_stopped { SendToError::Stopped.into() } else { Failure::NotReady(()) }
    }
}

fn is_alive(worker: &WorkerInfo) -> bool {
    worker.state == WorkerState::Alive
}

#[cfg(feature = "async")]
fn cannot_wait(source: std::io::Error) -> SendToError {
    let (action, object) = ("wait in a task for room in", "an inbox".to_owned());
    SendToError::Open(Box::new(OpenError::System { action, object, source }))
}
