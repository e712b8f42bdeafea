//! Typed endpoints: a ring, waiting, and packets put together.
//!
//! It guarantees what the ring guarantees, typed: a subscriber gets `&T::Archived` or an error,
//! never other bytes; a guard keeps its slots until it is dropped; an endpoint whose guard was
//! forgotten releases it at its next call; dropping an endpoint leaves the ring.
//!
//! Verbs come in threes: `try_x` never waits, `x` waits by the endpoint's [`Wait`](crate::Wait),
//! `x_timeout` gives up. It knows nothing of workers and their names.

#![forbid(unsafe_code)]

mod calls;
mod carried;
mod endpoint;
mod error;
mod join;
mod mail;
mod member;
mod mixed;
mod publisher;
mod received;
mod receiver;
mod reserved;
mod ring;
mod select;
mod sender;
mod subscriber;
mod taker;
mod waits;

#[cfg(test)]
mod tests;

pub(crate) use endpoint::{Patience, wake_everyone};
pub use error::{Mismatch, RecvError, SendAllError, SendError, WaitingFor};
pub(crate) use join::Types;
pub use mail::{Mail, MailBatch, MailBatchIter, Parcel};
pub use member::{Member, Taken};
pub use mixed::{MixedPublisher, MixedSubscriber};
pub use publisher::Publisher;
pub use received::{Batch, Copied, Info, Received};
pub(crate) use receiver::Receiver;
pub use reserved::{Reserved, ReservedTail};
pub use ring::{CarriedType, Ring, RingBuilder};
pub(crate) use select::Waitable;
pub use select::{Selectable, Selectee, select, select_timeout, try_select};
pub(crate) use sender::Cover;
pub use subscriber::{Subscriber, Values};
pub(crate) use taker::Taker;
pub(crate) use waits::{End, Seat};
