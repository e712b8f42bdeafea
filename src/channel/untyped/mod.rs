//! Endpoints without a packet type: they claim, wait, take and release.

mod batches;
mod control;
mod options;
mod own_receiver;
mod publisher;
mod receiver;
mod redelivery;
mod room;
mod waiting;

#[cfg(feature = "async")]
pub(crate) use control::await_subscribers;
pub(crate) use control::{End, SubscriberIndex};
pub(super) use control::{living_subscribers, publisher_control, subscriber_control};
pub(crate) use options::Draining;
pub(crate) use options::MessageHeader;
#[cfg(feature = "handover")]
pub(crate) use options::{Attached, PacketId};
pub(crate) use options::{DeadLetter, DeadLetters};
pub(crate) use publisher::Sender;
pub(crate) use receiver::Receiver;
pub(crate) use redelivery::GroupReceiver;
#[cfg(feature = "async")]
pub(crate) use room::RoomWait;

/// The event that acknowledges a packet, so that it is not delivered again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AckMode {
    /// Dropping its guard, or the next call after its guard was forgotten.
    Drop,
    /// As `Drop`, unless a panic drops the guard: durable subscribers.
    DropUnlessPanicking,
    /// [`Receiver::ack`] only: inboxes and queues. A packet whose guard is dropped or forgotten is
    /// delivered again.
    Explicit,
}
