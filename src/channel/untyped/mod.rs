//! Endpoints without a packet type: they claim, wait, take and release.

mod group_receiver;
mod publisher;
mod publisher_control;
mod receiver;

pub(crate) use group_receiver::Taker;
pub(crate) use publisher::{Cover, Sender};
pub(super) use publisher_control::publisher_waits;
pub(crate) use publisher_control::{End, Seat};
pub(crate) use receiver::{Letting, Receiver};
