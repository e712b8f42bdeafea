//! Typed endpoints: a ring, waiting, and packets put together.
//!
//! It guarantees what the ring guarantees, typed: a subscriber gets `&T::Archived` or an error,
//! never other bytes; a guard keeps its slots until it is dropped; an endpoint whose guard was
//! forgotten releases it at its next call; dropping an endpoint leaves the ring.
//!
//! Verbs come in threes: `try_x` never waits, `x` waits by the endpoint's [`Wait`](crate::Wait),
//! `x_timeout` gives up. It knows nothing of workers and their names.

#![forbid(unsafe_code)]

mod any;
pub(crate) mod endpoint;
mod error;
pub(crate) mod join;
mod publisher;
mod queue;
mod received;
mod reserved;
mod ring;
mod select;
mod subscriber;
mod type_cache;
mod untyped;

pub(crate) use crate::segment::layout::EventCount;
pub use any::{AnyBatch, AnyBatchIter, AnyPacket, AnyPublisher, AnyReceived, AnySubscriber};
pub(crate) use endpoint::wake_both_sides;
pub use error::{
    RecvError, RecvTimeoutError, SendAllError, SendError, SendTimeoutError, TryRecvError,
    TrySendError, TypeMismatch, ValueError, WaitingFor,
};
pub(crate) use error::{RecvFailure, SendFailure};
pub(crate) use join::Types;
pub use publisher::Publisher;
pub use queue::{Delivery, QueueConsumer};
pub use received::{Batch, BatchIter, Copied, Info, Received};
pub use reserved::{Reserved, ReservedTail};
pub use ring::{CarriedType, Ring, RingBuilder};
pub(crate) use select::Waitable;
pub use select::{Selectable, Selectee, select, select_timeout, try_select};
pub use subscriber::{Subscriber, Values};
pub(crate) use untyped::{End, GroupReceiver, MessageHeader, Receiver, SubscriberIndex};
