//! What the marks of requests and replies say: sixteen bits of a packet's header, so that neither a
//! request nor a reply is longer than its packet.
//!
//! ```text
//!           15                 6    5   4          0
//!          ┌────────────────────┬──────┬────────────┐
//!  request │ entry              │ only │ call_slot       │  archive
//!          └────────────────────┴──────┴────────────┘
//!          ┌────────────────────────┬────────┬──────┐
//!  reply   │ 0                      │ kind   │ call_slot │  archive
//!          └────────────────────────┴────────┴──────┘
//!           15                     8 7      5 4    0
//!          ┌────────────────────────┬────────┬──────┐ ┌───────────────────────────┐
//!  others  │ 0                      │ kind   │ call_slot │ │ position, u64 │ 0, u64    │  archive
//!          └────────────────────────┴────────┴──────┘ └───────────────────────────┘
//! ```
//!
//! - **entry**: the publisher's in the ring of requests, where its client is named (`channel::calls`).
//! - **only**: it is its client's only call in flight, so all replies so far were read.
//! - **lane**: the call's number modulo the window. No two calls in flight have the same.
//! - **position**: where the request was published.
//!
//! Why a lane is enough for a reply: it is sent while its request is in a server's hand, or set aside by
//! it, and a call that got no letter ends only when neither is so any more, and all that was sent until
//! then is read (`Client::look_for_loss`). So there is no such reply to a call that is over, and no later
//! call is mistaken for it. A reply that comes later than the handler may outlive its call, and what else
//! there is to say is rare: these carry the position, which no two requests share.

use super::call::{CallSlot, WINDOW};
use crate::segment::settings::MAX_ENTRIES;

const LANE: u32 = WINDOW.ilog2();
const ONLY: u16 = 1 << LANE;

const _: () = assert!(WINDOW.is_power_of_two() && MAX_ENTRIES << (LANE + 1) <= 1 << u16::BITS);

/// What a request's mark says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cluster) struct RequestTag {
    /// Its publisher's entry: below [`MAX_ENTRIES`].
    pub(in crate::cluster) entry: u16,
    pub(in crate::cluster) is_only: bool,
    pub(in crate::cluster) call_slot: CallSlot,
}

/// What a letter of a ring of replies is. None is 0, which a packet without a mark has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cluster) enum Kind {
    /// The reply, sent while the request was at hand.
    Reply = 1,
    /// The reply, later.
    Late = 2,
    /// There is none.
    NoReply = 3,
    /// It comes later.
    Deferred = 4,
}

/// What the mark of a letter in a ring of replies says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cluster) struct ReplyTag {
    pub(in crate::cluster) kind: Kind,
    pub(in crate::cluster) call_slot: CallSlot,
}

impl RequestTag {
    #[inline]
    pub(in crate::cluster) fn word(self) -> u16 {
        self.entry << (LANE + 1) | if self.is_only { ONLY } else { 0 } | u16::from(self.call_slot.0)
    }

    #[inline]
    pub(in crate::cluster) fn of(word: u16) -> Self {
        let call_slot = CallSlot(word as u8 & (WINDOW as u8 - 1));
        Self { entry: word >> (LANE + 1), is_only: word & ONLY != 0, call_slot }
    }
}

impl ReplyTag {
    #[inline]
    pub(in crate::cluster) fn word(self) -> u16 {
        (self.kind as u16) << LANE | u16::from(self.call_slot.0)
    }

    /// `None`: a mark that this version does not know.
    #[inline]
    pub(in crate::cluster) fn of(word: u16) -> Option<Self> {
        let kind = match word >> LANE {
            1 => Kind::Reply,
            2 => Kind::Late,
            3 => Kind::NoReply,
            4 => Kind::Deferred,
            _ => return None,
        };
        Some(Self { kind, call_slot: CallSlot(word as u8 & (WINDOW as u8 - 1)) })
    }
}

/// Bytes of a front.
pub(in crate::cluster) const PREFIX: usize = 16;

/// What lies before the archive of a letter that says where its request was published.
#[inline]
pub(in crate::cluster) fn prefix(position: u64) -> [u8; PREFIX] {
    u128::from(position).to_le_bytes()
}

/// The position in a front; `None`: there is none that could be.
pub(in crate::cluster) fn position(payload: &[u8]) -> Option<u64> {
    let (prefix, _) = payload.split_first_chunk::<PREFIX>()?;
    u64::try_from(u128::from_le_bytes(*prefix)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_mark_of_a_request_says_something_else() {
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
    fn a_mark_of_a_reply_is_read_back_and_others_are_none() {
        for kind in [Kind::Reply, Kind::Late, Kind::NoReply, Kind::Deferred] {
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
    fn a_front_says_a_position_and_whatever_else_lies_there_does_not() {
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
