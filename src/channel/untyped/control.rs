//! The methods of endpoints that do not depend on the packet type: counting and awaiting
//! subscribers, backlog, waiting, protection.
//!
//! - A publisher: its subscribers, and waiting for them; the client whose requests it publishes;
//!   its leaving. Waiting for room is in `room`.
//! - A subscriber: its backlog, its waiting and its mapping.

use super::publisher::Sender;
use crate::channel::error::{SendError, SendFailure, WaitingFor};
#[cfg(feature = "async")]
use crate::channel::find_in_task;
use crate::channel::reports;
use crate::ring::gate::position;
use crate::ring::membership;
#[cfg(feature = "async")]
use crate::ring::membership::RingState;
use crate::segment::Segment;
use crate::segment::entry::{EntryId, OwnerState};
use crate::segment::layout::NOWHERE;
use crate::sync::Ordering;
#[cfg(feature = "async")]
use crate::sys::stop::Stop;
use crate::trace::Hold;
use crate::wait::{Deadline, Subject, Timeout, wait_until};

/// The subject of a wait for subscribers. No gate is there.
const JOIN: u64 = u64::MAX;

impl Sender {
    /// Waits until this many subscribers have joined and live.
    pub(crate) fn wait_for_subscribers(
        &mut self,
        count: usize,
        timeout: Timeout,
    ) -> Result<(), SendFailure> {
        let mut missing = 0;
        let found = wait_until(
            self,
            timeout.deadline(),
            |sender| {
                if let Err(error) = sender.begin() {
                    return Some(Err(error.into()));
                }
                missing = count.saturating_sub(sender.subscribers());
                match missing {
                    0 => Some(Ok(())),
                    _ if sender.entry.waiter.is_stopped() => Some(Err(SendError::Stopped.into())),
                    _ => None,
                }
            },
            |sender, deadline| sender.wait_for_join(deadline),
        );
        found.unwrap_or(Err(SendFailure::NotReady(WaitingFor::Subscribers { missing })))
    }

    /// Sleeps until a subscriber joins, for a bounded time.
    fn wait_for_join(&mut self, deadline: Deadline) {
        let (entry, event_count) = (&self.entry, self.entry.event_count());
        let before = event_count.futex.load(Ordering::Relaxed);
        // Subscribers that join notify the publishers.
        let ready = || event_count.futex.load(Ordering::Relaxed) != before;
        self.pace.pause(Subject { id: JOIN, is_pending: true }, deadline, |bound| {
            entry.waiter.park(event_count, bound, ready)
        });
    }

    /// Number of living subscribers.
    pub(crate) fn subscribers(&self) -> usize {
        living_subscribers(&self.entry.segment)
    }

    /// Distance of the slowest subscriber from the tail, in slots.
    pub(crate) fn backlog(&self) -> u64 {
        let memory = self.writer.memory();
        let tail = self.writer.tail();
        let cursors = memory.subscribers().iter().map(|entry| entry.cursor.load(Ordering::Relaxed));
        let in_use = cursors.filter(|&cursor| cursor != NOWHERE);
        in_use.map(|cursor| tail.saturating_sub(position(cursor))).max().unwrap_or(0)
    }
}

impl Sender {
    /// Stores the id of the client that sends its requests by this publisher. Returns the index of
    /// the publisher's entry.
    pub(crate) fn sign(&self, caller: u64) -> u16 {
        let details = &self.writer.own().details;
        details.since.store(self.writer.tail(), Ordering::Relaxed);
        // Release: pairs with the acquire in `GroupReceiver::request`, which then sees `since`.
        details.caller.store(caller, Ordering::Release);
        // Last: a server that sees the count of the last owner reset skips the requests of that
        // owner, because it sees `since`.
        details.given_up.store(0, Ordering::Release);
        self.writer.entry() as u16
    }

    /// Returns true if no cursor is lower than the one of `subscriber`.
    pub(crate) fn waits_for(&self, subscriber: SubscriberIndex) -> bool {
        let entries = self.writer.memory().subscribers();
        let cursors = entries.iter().map(|entry| position(entry.cursor.load(Ordering::Relaxed)));
        let slowest = cursors.clone().min();
        cursors.clone().nth(subscriber.0) == slowest
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        if self.entry.segment.is_inherited() {
            // In a forked child: the memory is not mapped, and the entry belongs to the parent.
            return;
        }
        self.writer.abandon();
        self.entry.end_counts();
        let memory = self.writer.memory();
        let _hold = Hold::new();
        let control = self.entry.segment.lock_bounded();
        reports::leaving(&self.entry.segment, self.entry.entry_id);
        if control.is_some() {
            let settings = self.entry.segment.settings();
            membership::leave_publisher(memory, settings, self.writer.entry());
        }
        self.entry.release_liveness();
        drop(control);
        self.entry.wake_others();
    }
}

/// Waits in a task until this many subscribers of a ring live.
#[cfg(feature = "async")]
pub(crate) async fn await_subscribers(
    segment: &Segment,
    count: usize,
    stop: Option<&Stop>,
) -> Result<(), SendError> {
    let find = || match RingState::of(segment.memory()) {
        RingState::Closed => Some(Err(SendError::Closed)),
        _ if living_subscribers(segment) >= count => Some(Ok(())),
        _ => None,
    };
    // Subscribers that join notify the publishers.
    let event_count = segment.memory().writers_event_count();
    let found = find_in_task(event_count, (stop, Deadline::NEVER), find).await;
    found.map_err(SendError::System)?.unwrap_or(Err(SendError::Stopped))
}

/// A subscriber's entry in its ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SubscriberIndex(pub(in crate::channel) usize);

/// A position between two packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct End(pub(in crate::channel) u64);

/// Writes the methods of a publisher that do not depend on its packets. The publisher has a field
/// `sender`.
macro_rules! publisher_control {
    ($publisher:ty $(, $packet:ident)?) => {
        impl$(<$packet: $crate::Packet>)? $publisher {
            $crate::channel::verb! {
                /// Waits until this many subscribers have joined and live.
                ///
                /// # Errors
                ///
                /// [`Closed`](SendError::Closed). The forms that do not wait, or not longer, return
                /// how many are missing.
                wait_for_subscribers, try_wait_for_subscribers, wait_for_subscribers_timeout
                    = wait_for_subscribers_with(count: usize) -> ();
                SendError, TrySendError::Full, SendTimeoutError::Timeout
            }

            fn wait_for_subscribers_with<F: Form<SendError, WaitingFor>>(
                &mut self,
                count: usize,
                timeout: Timeout,
            ) -> Result<(), F> {
                F::retry(|| self.sender.wait_for_subscribers(count, timeout))
            }

            /// Waits in a task until this many subscribers have joined and live, for any executor.
            ///
            /// # Errors
            ///
            /// [`Closed`](SendError::Closed), [`Stopped`](SendError::Stopped), and
            /// [`System`](SendError::System) as [`ready`](crate::Selectable::ready).
            #[cfg(feature = "async")]
            pub async fn wait_for_subscribers_async(
                &mut self,
                count: usize,
            ) -> Result<(), SendError> {
                self.sender.begin()?;
                let entry = &self.sender.entry;
                let (segment, stop) = (&entry.segment, entry.waiter.stop());
                $crate::channel::untyped::await_subscribers(segment, count, stop).await
            }

            /// Number of living subscribers.
            ///
            /// Costs a system call for each subscriber.
            pub fn subscribers(&self) -> usize {
                self.sender.subscribers()
            }

            /// Why no process can join the ring any more; `None` if one can. Makes three system
            /// calls.
            pub fn detachment(&self) -> Option<$crate::Detachment> {
                self.sender.entry.segment.detachment()
            }

            /// Returns true if no process can join the ring any more: see
            /// [`detachment`](Self::detachment).
            pub fn is_detached(&self) -> bool {
                self.detachment().is_some()
            }

            /// Distance of the slowest subscriber from the newest packet, in slots of 64 bytes.
            pub fn backlog(&self) -> u64 {
                self.sender.backlog()
            }

            /// What this publisher counted since it joined. Cost: about 20 loads.
            pub fn counters(&self) -> $crate::ring::counters::Counters {
                self.sender.entry.counters()
            }

            /// Changes how this publisher waits from now on.
            pub fn set_wait(&mut self, wait: $crate::Wait) {
                self.sender.entry.set_wait(wait);
            }

            /// Sets what ends the waits of this publisher.
            pub fn set_stop(&mut self, stop: &$crate::Stop) {
                self.sender.entry.set_stop(stop);
            }
        }
    };
}

/// Writes the methods of both subscribers. The subscriber has a field `receiver`.
macro_rules! subscriber_control {
    ($subscriber:ty $(, $packet:ident)?) => {
        impl$(<$packet: $crate::Packet>)? $subscriber {
            /// Length of the packets that wait to be received, in slots of 64 bytes. A packet takes
            /// 16 bytes more than its archive, rounded up to slots. Claims that are not committed
            /// yet count, too.
            pub fn backlog(&self) -> u64 {
                self.receiver.backlog()
            }

            /// Releases all packets but the newest, which the next receive returns, as
            /// [`recv_latest`](Self::recv_latest) would. Returns the number of packets that this
            /// subscriber does not get, evicted ones included; 0 if there is none. Does not wait.
            ///
            /// Cost: one load of a header, mostly a cache miss, for each skipped packet.
            ///
            /// # Errors
            ///
            /// [`Corrupt`](crate::RecvError::Corrupt), if the next packet has an invalid header.
            pub fn skip_to_newest(&mut self) -> Result<u64, $crate::RecvError> {
                self.receiver.skip_to_newest()
            }

            /// Why no process can join the ring any more; `None` if one can. Makes three system
            /// calls.
            pub fn detachment(&self) -> Option<$crate::Detachment> {
                self.receiver.entry.segment.detachment()
            }

            /// Returns true if no process can join the ring any more: see
            /// [`detachment`](Self::detachment).
            pub fn is_detached(&self) -> bool {
                self.detachment().is_some()
            }

            /// Takes the next packet.
            #[inline(always)]
            pub(crate) fn take_next<F: $crate::error::Form<$crate::RecvError, ()>>(
                &mut self,
                timeout: $crate::wait::Timeout,
            ) -> Result<$crate::ring::cursor::Taken, F> {
                self.receiver.take(timeout)
            }

            /// Takes a packet that is there, or that arrives at once.
            #[cfg(feature = "async")]
            #[inline(always)]
            pub(crate) fn take_fast(&mut self) -> Option<$crate::ring::cursor::Taken> {
                self.receiver.take_fast($crate::wait::Timeout::Never)
            }

            /// What this subscriber counted since it joined. Cost: about 20 loads.
            pub fn counters(&self) -> $crate::ring::counters::Counters {
                self.receiver.entry.counters()
            }

            /// Changes how this subscriber waits from now on.
            pub fn set_wait(&mut self, wait: $crate::Wait) {
                self.receiver.entry.set_wait(wait);
            }

            /// Sets what ends the waits of this subscriber.
            pub fn set_stop(&mut self, stop: &$crate::Stop) {
                self.receiver.entry.set_stop(stop);
            }

            /// Makes the slots read-only in this subscriber's mapping, until it is dropped. A store
            /// to one, by faulty `unsafe` code, then ends the process with SIGSEGV. Does nothing in
            /// a ring on the heap.
            ///
            /// Not the default, because it can be slow: on processors that prefetch read-only lines
            /// differently, packets of 4 to 64 KiB took up to twice as long.
            ///
            /// # Errors
            ///
            /// [`System`](OpenError::System).
            pub fn protect(&mut self) -> Result<(), OpenError> {
                self.receiver.entry.segment.protect_slots()
            }
        }
    };
}

pub(in crate::channel) use {publisher_control, subscriber_control};

/// Number of living subscribers.
pub(in crate::channel) fn living_subscribers(segment: &Segment) -> usize {
    let memory = segment.memory();
    let entries = memory.subscribers().iter().enumerate();
    let taken = entries.filter(|(_, entry)| match OwnerState::of(&entry.details.owner) {
        OwnerState::Taken | OwnerState::Durable | OwnerState::Consumer => true,
        OwnerState::Free | OwnerState::Joining => false,
    });
    taken
        .map(|(index, _)| EntryId::Subscriber(index))
        .filter(|&entry_id| segment.is_alive(entry_id))
        .count()
}
