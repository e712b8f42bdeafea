//! Typed endpoints: ring, waiting and packets together.
//!
//! The guarantees of the ring, with types:
//!
//! - A subscriber gets `&T::Archived` or an error, never other bytes.
//! - A guard keeps its slots until it is dropped. If a guard is forgotten, its endpoint releases
//!   the slots at the next call.
//! - Dropping an endpoint leaves the ring.
//!
//! A verb has three forms, each with its own error: `x` waits by the endpoint's
//! [`Wait`](crate::Wait), `try_x` does not wait, and `x_timeout` waits for a limited time (`verb`).
//! This layer knows nothing about workers and their names.

#![forbid(unsafe_code)]

mod any {
    //! Endpoints for packets of any type, with their guards and views.

    mod outgoing;
    mod publisher;
    mod received;
    mod subscriber;

    pub(crate) use self::outgoing::Outgoing;
    pub use self::{
        publisher::AnyPublisher,
        received::{AnyBatch, AnyBatchIter, AnyPacket, AnyReceived},
        subscriber::AnySubscriber,
    };
}
mod board;
mod builder;
mod burst;
mod call_area;
mod carried_type;
mod counting;
mod error;
pub(crate) mod join;
pub(crate) mod owned_entry;
mod publisher;
mod queue;
mod received;
pub(crate) mod reports;
mod reserved;
mod ring;
mod select;
mod subscriber;
#[cfg(all(test, not(loom)))]
pub(crate) mod tests;
mod type_cache;
pub(crate) mod type_table;
mod untyped;
mod values;
mod verb;
mod waitable;

pub(crate) use any::Outgoing;
pub use any::{AnyBatch, AnyBatchIter, AnyPacket, AnyPublisher, AnyReceived, AnySubscriber};
pub use board::{
    Board, BoardBuilder, BoardKey, BoardReader, BoardWriter, CellChange, CellHolder, CellId,
    CellValue, ChangedError, ChangedTimeoutError, Latest, LatestReader, LatestWriter, ReadError,
    TryChangedError, TryWriteError, WriteError, WriteTimeoutError,
};
pub use builder::RingBuilder;
pub use burst::Burst;
pub(crate) use call_area::{CallArea, is_area_in_use, map_calls};
pub use carried_type::CarriedType;
pub use error::{
    RecvError, RecvTimeoutError, SendAllError, SendError, SendTimeoutError, TryRecvError,
    TrySendError, TypeMismatch, ValueError, WaitingFor,
};
pub(crate) use error::{RecvFailure, SendFailure};
pub(crate) use join::Types;
pub(crate) use owned_entry::wake_both_sides;
pub use publisher::Publisher;
pub use queue::{Delivery, QueueConsumer};
pub use received::{Batch, BatchIter, Copied, Info, Received};
pub use reserved::{Reserved, ReservedTail};
pub use ring::Ring;
pub(crate) use select::OWN_THREAD_TIMEOUT;
pub use select::{select, select_timeout, try_select};
pub use subscriber::Subscriber;
#[cfg(feature = "handover")]
pub(crate) use untyped::{Attached, PacketId};
pub(crate) use untyped::{
    DeadLetter, DeadLetters, Draining, End, GroupReceiver, MessageHeader, SubscriberIndex,
};
#[cfg(feature = "async")]
pub(crate) use untyped::{RoomWait, await_subscribers};
#[cfg(feature = "async")]
pub use values::ValueStream;
pub use values::Values;
pub(crate) use verb::{async_verb, verb};
#[cfg(feature = "async")]
pub(crate) use verb::{find_in_task, in_task};
pub use waitable::{Readiness, Ready, Selectable, Selectee};
pub(crate) use waitable::{Waitable, rearm};

// Items of the layers below that `cluster` uses.
pub(crate) use crate::ring::buffer::StableBytes;
pub(crate) use crate::ring::call::{
    CellLines, Ended, EndedCell, FreshCell, NoPlace, Outcome, Over, ReplyRight, ReplyRoomError,
    RequestRingId, RequestStatus, SentCell, incarnation, is_untaken, status_of_call,
};
pub(crate) use crate::ring::consumer_group::{consumers, shared};
pub(crate) use crate::ring::cursor::{Cursor, Taken};
pub(crate) use crate::ring::gate::position;
pub(crate) use crate::ring::guard::{HoldsPacket, ReadGuard};
pub(crate) use crate::ring::reap::settle;
pub(crate) use crate::ring::slot::tag_at;
pub(crate) use crate::segment::CallMemory;
pub(crate) use crate::segment::entry::EntryId;
pub(crate) use crate::segment::kept::KeptEventCount;
pub(crate) use crate::segment::layout::{CallCell, EventCount};
pub(crate) use crate::segment::name::{Name, Namespace, Scope};
pub(crate) use crate::segment::settings::{MAX_CALL_CELLS, MAX_ENTRIES, Overflow};
