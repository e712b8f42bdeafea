//! The identity of a call, for its client and for its server.

use crate::cluster::names::CallerId;

/// Most calls that one client may have in flight.
pub(super) const WINDOW: usize = 32;

/// A call's number modulo [`WINDOW`]. No two calls in flight of one client have the same slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CallSlot(pub(super) u8);

impl CallSlot {
    /// The slot's bit among the calls given up ([`Ring::given_up`](crate::Ring)).
    pub(super) fn bit(self) -> u64 {
        1 << self.0
    }
}

/// A call in flight. Dropping it does not cancel it, see
/// [`Client::cancel`](crate::cluster::Client::cancel).
// The number of the call. A client draws its first number at random from 64 bits, so a call of
// another client is not found among its own.
#[must_use = "a call takes one of 32 places until its reply is read or it is cancelled"]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Call(pub(super) u64);

impl Call {
    #[inline]
    pub(super) fn call_slot(self) -> CallSlot {
        CallSlot((self.0 % WINDOW as u64) as u8)
    }
}

/// A call as its server knows it: the client, and one of its requests.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestId {
    pub(super) caller: CallerId,
    /// Position of the request in the request ring.
    pub(super) position: u64,
    pub(super) call_slot: CallSlot,
}

impl RequestId {
    /// The id of no request.
    pub(super) const NOTHING: Self =
        Self { caller: CallerId::NONE, position: u64::MAX, call_slot: CallSlot(0) };
}
