//! Typed packets through shared memory.

// So that what the macros emit also compiles in here.
extern crate self as packetring;

#[cfg(not(loom))]
mod channel;
mod error;
#[cfg(not(loom))]
pub mod packet;
mod ring;
mod segment;
mod steps;
mod sync;
#[cfg(not(loom))]
mod sys;
mod wait;

pub use error::OpenError;
pub use ring::reader::Missed;
pub use segment::settings::{Claims, Overflow, Settings};
pub use wait::Wait;

#[cfg(not(loom))]
pub use api::*;

#[cfg(not(loom))]
mod api {
    pub use crate::channel::{
        Batch, CarriedType, Copied, Info, Mail, MixedPublisher, MixedSubscriber, Mismatch, Publisher, Received, RecvError,
        Reserved, ReservedTail, Ring, RingBuilder, SendAllError, SendError, Selectable, Selectee, Subscriber, Values, WaitingFor,
        select, select_timeout, try_select,
    };
    pub use crate::packet::{
        AnyBits, OneOf, Packet, Tail, TypeInfo, Unpack, UnpackError, Unserializable,
    };
    pub use packetring_derive::{one_of, packet};
    pub use rkyv;
}

/// Wrappers for fields: `#[rkyv(with = packetring::with::AsVec)]`. These are rkyv's.
#[cfg(not(loom))]
pub mod with {
    pub use rkyv::with::*;
}
