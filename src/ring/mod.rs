//! The ring: slots, and the protocol over them.
//!
//! ```text
//!            cursor of the                 stamped,         claimed,      tail: the next
//!            slowest reader                not yet read     not stamped   position to claim
//!                 │                            │                │           │
//!  ───────────────┼───────┬───────┬────────────┼───────┬────────┼───────────┼─────────► positions
//!   may be        │packet │packet │  packet    │ void  │ packet │  …        │ free until
//!   overwritten   │       │       │            │       │        │           │ the limit
//!  ───────────────┴───────┴───────┴────────────┴───────┴────────┴───────────┴────────────┐
//!                                                            limit = gate + capacity ────┘
//! ```
//!
//! Guarantees:
//!
//! - A packet is seen whole or not at all: its **stamp** ([`slot`]) is stored last.
//! - A slot is not rewritten while a subscriber may read it: publishers stay below their **limit**,
//!   one capacity above the lowest cursor ([`gate`]).
//! - There is one total order, which keeps each publisher's order.
//! - A process may die at any instruction. Its committed packets stay, its open claim becomes a
//!   void packet ([`recover`]), and its cursor stops gating ([`reap`]).
//!
//! Limits: this module knows neither mappings, nor packet types, nor sleeping. It works on a
//! [`RingMemory`](crate::segment::view::RingMemory), so the same code runs on a mapping, on the
//! heap and under loom.
//!
//! Each rule of the protocol is in one file:
//!
//! | rule | file |
//! |---|---|
//! | arithmetic on positions | [`geometry`] |
//! | header and stamp | [`slot`] |
//! | limit of claims | [`gate`] |
//! | claim, fill, commit, abort | [`claim`] |
//! | take, release: what all readers share | [`cursor`] |
//! | a subscriber's own cursor, pins | [`reader`] |
//! | the shared cursor of a queue | [`consumer_group`] |
//! | guards over packets and claims | `guard`, `buffer` |
//! | eviction and loss counters | [`overflow`] |
//! | start of a newcomer | [`history`] |
//! | open, left or closed | [`state`] |
//! | join and leave | [`membership`] |
//! | clear the dead | [`reap`] |
//! | the claim of a dead publisher | [`recover`] |

#[cfg(not(loom))]
pub(crate) mod buffer;
pub(crate) mod claim;
pub(crate) mod consumer_group;
pub(crate) mod cursor;
pub(crate) mod gate;
pub(crate) mod geometry;
#[cfg(not(loom))]
pub(crate) mod guard;
pub(crate) mod history;
pub(crate) mod membership;
pub(crate) mod overflow;
pub(crate) mod reader;
pub(crate) mod reap;
pub(crate) mod recover;
pub(crate) mod slot;
pub(crate) mod state;

#[cfg(test)]
mod tests;
