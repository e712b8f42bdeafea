//! Endpoints without a packet type: they claim, wait, take and release.

mod group_receiver;
mod own_receiver;
mod publisher;
mod publisher_control;
mod receiver;
mod room;
mod subscriber_control;

pub(crate) use group_receiver::GroupReceiver;
pub(crate) use publisher::{MessageHeader, Sender};
pub(super) use publisher_control::publisher_control;
pub(crate) use publisher_control::{End, SubscriberIndex};
pub(crate) use receiver::{AckMode, Receiver};
pub(super) use subscriber_control::subscriber_control;
