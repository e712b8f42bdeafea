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
//! - All subscribers see the packets in one total order. Packets of one publisher stay in the
//!   order in which they were sent.
//! - A process may die at any instruction. Its committed packets stay, its open claim becomes a
//!   void packet ([`recover`]), and its cursor stops gating ([`reap`]).
//!
//! Limits: this module does not map memory, does not know packet types and never sleeps. It works
//! on a [`RingMemory`](crate::segment::view::RingMemory), so the same code runs on a mapping, on
//! the heap and under loom.
//!
//! Each part of the protocol is in one file:
//!
//! | part | file |
//! |---|---|
//! | arithmetic on positions | [`geometry`] |
//! | header and stamp | [`slot`] |
//! | limit of claims | [`gate`] |
//! | claim, fill, commit, abort | [`claim`] |
//! | take and release, common to all readers | [`cursor`] |
//! | a subscriber's own cursor, pins | [`reader`] |
//! | the shared cursor of a queue | [`consumer_group`] |
//! | cells of a board | [`board_cell`] |
//! | guards over packets and claims | `guard`, `buffer` |
//! | eviction and loss counters | [`overflow`] |
//! | start position of a new subscriber | [`gate`] |
//! | ring state: open, left or closed | [`membership`] |
//! | join and leave | [`membership`] |
//! | what an endpoint counts | [`counters`] |
//! | clear the entries of dead processes | [`reap`] |
//! | the claim of a dead publisher | [`recover`] |
//! | a passive reader | [`observer`] |
//! | packet types in use | `types` |
//! | the words as a process outside reads them | `snapshot` |
//! | cells for the outcomes of calls | `call` |

pub(crate) mod board_cell;
#[cfg(not(loom))]
pub(crate) mod buffer;
#[cfg(not(loom))]
pub(crate) mod call;
pub(crate) mod claim;
pub(crate) mod consumer_group;
pub(crate) mod counters;
pub(crate) mod cursor;
pub(crate) mod gate;
pub(crate) mod geometry;
#[cfg(not(loom))]
pub(crate) mod guard;
pub(crate) mod membership;
pub(crate) mod observer;
pub(crate) mod overflow;
pub(crate) mod reader;
pub(crate) mod reap;
pub(crate) mod recover;
pub(crate) mod slot;
#[cfg(not(loom))]
pub(crate) mod snapshot;
#[cfg(not(loom))]
pub(crate) mod types;

#[cfg(test)]
mod tests;
