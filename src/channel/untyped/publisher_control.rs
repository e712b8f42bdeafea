//! What publishers of both kinds know of the other side, and how they wait for it: once, on
//! `Sender`, and once as the methods that both have.
//!
//! Not here: waiting for room, which is a part of claiming it (`sender`).

use super::publisher::Sender;
use crate::channel::error::{SendFailure, WaitingFor};
use crate::channel::join;
use crate::ring::gate::position;
use crate::segment::layout::NOWHERE;
use crate::sync::Ordering;
use crate::wait::{Deadline, PENDING, Timeout};

impl Sender {
    /// Waits until this many subscribers have joined and live.
    pub(crate) fn wait_for_subscribers(
        &mut self,
        count: usize,
        timeout: Timeout,
    ) -> Result<(), SendFailure> {
        self.begin()?;
        let deadline = timeout.deadline();
        loop {
            let living = self.subscribers();
            let Some(missing) = count.checked_sub(living).filter(|&missing| missing > 0) else {
                return Ok(());
            };
            if matches!(timeout, Timeout::Zero) || deadline.has_passed() {
                return Err(SendFailure::NotReady(WaitingFor::Subscribers { missing }));
            }
            self.wait_for_join(deadline);
            self.begin()?;
        }
    }

    /// Waits a bounded time for another subscriber to join.
    fn wait_for_join(&self, deadline: Deadline) {
        let (endpoint, event_count) = (&self.endpoint, self.endpoint.event_count());
        let before = event_count.futex.load(Ordering::Relaxed);
        // Joining rings the publishers' bell.
        let ready = || event_count.futex.load(Ordering::Relaxed) != before;
        endpoint.waiter.park(event_count, deadline.cut(PENDING), ready);
    }

    /// How many subscribers live.
    pub(crate) fn subscribers(&self) -> usize {
        join::living_subscribers(&self.endpoint.segment, self.endpoint.liveness(), None)
    }

    /// The slowest subscriber's distance from the tail, in slots.
    pub(crate) fn backlog(&self) -> u64 {
        let memory = &self.writer.memory;
        let tail = self.writer.tail();
        let cursors = memory.subscribers().iter().map(|entry| entry.cursor.load(Ordering::Relaxed));
        let in_use = cursors.filter(|&cursor| cursor != NOWHERE);
        in_use.map(|cursor| tail.saturating_sub(position(cursor))).max().unwrap_or(0)
    }
}

/// A subscriber's place in its ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SubscriberIndex(pub(in crate::channel) usize);

/// A place between two packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct End(pub(in crate::channel) u64);

/// The methods of a publisher, typed or mixed, that do not depend on its packets. It has a field
/// `sender`.
macro_rules! publisher_waits {
    ($publisher:ty $(, $packet:ident)?) => {
        impl$(<$packet: $crate::Packet>)? $publisher {
            /// Waits until this many subscribers have joined and live.
            ///
            /// # Errors
            ///
            /// [`Closed`](SendError::Closed).
            pub fn wait_for_subscribers(&mut self, count: usize) -> Result<(), SendError> {
                retry(|| self.sender.wait_for_subscribers(count, Timeout::Never))
            }

            /// Whether this many subscribers have joined and live.
            ///
            /// # Errors
            ///
            /// [`Closed`](SendError::Closed), [`Full`](TrySendError::Full) with how many are missing.
            pub fn try_wait_for_subscribers(&mut self, count: usize) -> Result<(), TrySendError> {
                retry(|| self.sender.wait_for_subscribers(count, Timeout::Zero))
            }

            /// Waits until this many subscribers have joined and live, if they do in time.
            ///
            /// # Errors
            ///
            /// [`Closed`](SendError::Closed), [`Timeout`](SendTimeoutError::Timeout) with how many are
            /// missing.
            pub fn wait_for_subscribers_timeout(
                &mut self,
                count: usize,
                timeout: ::std::time::Duration,
            ) -> Result<(), SendTimeoutError> {
                retry(|| self.sender.wait_for_subscribers(count, Timeout::After(timeout)))
            }

            /// How many subscribers live.
            pub fn subscribers(&self) -> usize {
                self.sender.subscribers()
            }

            /// How far the slowest subscriber is behind, in slots of 64 bytes.
            pub fn backlog(&self) -> u64 {
                self.sender.backlog()
            }

            /// Chooses how this publisher waits from now on.
            pub fn set_wait(&mut self, wait: $crate::Wait) {
                self.sender.endpoint.waiter.set(wait);
            }
        }
    };
}

pub(in crate::channel) use publisher_waits;
