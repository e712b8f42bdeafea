//! Tags and prefixes of requests and replies.
//!
//! A tag is 16 bits of a packet's descriptor, so requests and direct replies take no extra bytes.
//!
//! ```text
//!           15                  6    5     4           0
//!          ┌─────────────────────┬──────┬───────────────┐
//!  request │ entry               │ only │ call slot     │  archive
//!          └─────────────────────┴──────┴───────────────┘
//!           15              8 7         5 4           0
//!          ┌─────────────────┬───────────┬──────────────┐
//!  reply   │ 0               │ kind      │ call slot    │  archive
//!          └─────────────────┴───────────┴──────────────┘
//!           15              8 7         5 4           0
//!          ┌─────────────────┬───────────┬──────────────┐ ┌─────────────────┬─────────┐
//!  others  │ 0               │ kind      │ call slot    │ │ position, u64   │ 0, u64  │  archive
//!          └─────────────────┴───────────┴──────────────┘ └─────────────────┴─────────┘
//! ```
//!
//! - **entry**: the client's publisher entry in the request ring. The entry has the client's id.
//! - **only**: this is the client's only call in flight, so it has read all replies so far.
//! - **call slot**: the call's number modulo 32. No two calls in flight of one client have the
//!   same.
//! - **position**: position of the request in the request ring.
//!
//! The call slot identifies a direct reply. The server sends it while it has the request in flight,
//! or has postponed it. A call without a message ends only when neither is true any more, and all
//! earlier messages were read (`CallTracker::find_loss`). So no direct reply arrives after its call
//! has ended, and a later call with the same slot does not receive it.
//!
//! A late reply may outlive its call, and the other messages are rare. They carry the position of
//! the request, which no two requests share.

use crate::channel::MAX_ENTRIES;
use crate::cluster::names::CallerId;

/// Bits of a call slot.
const SLOT_BITS: u32 = WINDOW.ilog2();
/// The bit of an only call in flight.
const ONLY: u16 = 1 << SLOT_BITS;

const _: () = assert!(WINDOW.is_power_of_two() && MAX_ENTRIES << (SLOT_BITS + 1) <= 1 << u16::BITS);

/// The tag of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RequestTag {
    /// The client's publisher entry, below [`MAX_ENTRIES`].
    pub(super) entry: u16,
    /// This is the client's only call in flight.
    pub(super) is_only: bool,
    pub(super) call_slot: CallSlot,
}

/// The kind of a message in a reply ring. 0 is the tag of a packet without a tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReplyKind {
    /// A direct reply: the server had the request in flight, or had postponed it.
    Reply = 1,
    /// A late reply, after the request was deferred.
    Late = 2,
    /// There is no reply.
    NoReply = 3,
    /// The reply comes later.
    Deferred = 4,
}

/// The tag of a message in a reply ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ReplyTag {
    pub(super) kind: ReplyKind,
    pub(super) call_slot: CallSlot,
}

impl RequestTag {
    /// Encodes the tag.
    #[inline]
    pub(super) fn word(self) -> u16 {
        let only = if self.is_only { ONLY } else { 0 };
        self.entry << (SLOT_BITS + 1) | only | u16::from(self.call_slot.0)
    }

    /// Decodes a tag.
    #[inline]
    pub(super) fn of(word: u16) -> Self {
        let call_slot = CallSlot(word as u8 & (WINDOW as u8 - 1));
        Self { entry: word >> (SLOT_BITS + 1), is_only: word & ONLY != 0, call_slot }
    }
}

impl ReplyTag {
    /// Encodes the tag.
    #[inline]
    pub(super) fn word(self) -> u16 {
        (self.kind as u16) << SLOT_BITS | u16::from(self.call_slot.0)
    }

    /// Decodes a tag. `None` if this version does not know it.
    #[inline]
    pub(super) fn of(word: u16) -> Option<Self> {
        let kind = match word >> SLOT_BITS {
            1 => ReplyKind::Reply,
            2 => ReplyKind::Late,
            3 => ReplyKind::NoReply,
            4 => ReplyKind::Deferred,
            _ => return None,
        };
        Some(Self { kind, call_slot: CallSlot(word as u8 & (WINDOW as u8 - 1)) })
    }
}

/// Bytes of a prefix.
pub(super) const PREFIX: usize = 16;

/// The prefix of a message that carries the position of its request.
#[inline]
pub(super) fn prefix(position: u64) -> [u8; PREFIX] {
    u128::from(position).to_le_bytes()
}

/// The position in a payload's prefix. `None` if the prefix is not valid.
pub(super) fn position(payload: &[u8]) -> Option<u64> {
    let (prefix, _) = payload.split_first_chunk::<PREFIX>()?;
    u64::try_from(u128::from_le_bytes(*prefix)).ok()
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_tags_are_distinct_and_round_trip() {
        let mut words = std::collections::HashSet::new();
        for entry in [0, 1, 127, MAX_ENTRIES as u16 - 1] {
            for is_only in [false, true] {
                for call_slot in (0..WINDOW as u8).map(CallSlot) {
                    let tag = RequestTag { entry, is_only, call_slot };
                    assert_eq!(RequestTag::of(tag.word()), tag);
                    assert!(words.insert(tag.word()));
                }
            }
        }
        let last = RequestTag { entry: 1023, is_only: true, call_slot: CallSlot(31) };
        assert_eq!(RequestTag::of(u16::MAX), last);
    }

    #[test]
    fn reply_tags_round_trip_and_unknown_tags_are_none() {
        for kind in [ReplyKind::Reply, ReplyKind::Late, ReplyKind::NoReply, ReplyKind::Deferred] {
            for call_slot in (0..WINDOW as u8).map(CallSlot) {
                let tag = ReplyTag { kind, call_slot };
                assert_eq!(ReplyTag::of(tag.word()), Some(tag));
                for bit in 8..16 {
                    assert_eq!(ReplyTag::of(tag.word() | 1 << bit), None);
                }
            }
        }
    }

    #[test]
    fn a_prefix_round_trips_and_other_bytes_are_none() {
        for at in [0, 7, 1 << 40, u64::MAX] {
            let mut payload = prefix(at).to_vec();
            payload.push(9);
            assert_eq!(position(&payload), Some(at));
            assert_eq!(position(&payload[..PREFIX - 1]), None);
            payload[8] = 1;
            assert_eq!(position(&payload), None);
        }
    }
}
