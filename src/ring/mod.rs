//! The ring: slots, and the protocol over them.
//!
//! ```text
//!            cursor of the                 stamped,         claimed,      tail: the next
//!            slowest reader                not yet read     not stamped   position to claim
//!                 │                            │                │           │
//!  ───────────────┼───────┬───────┬────────────┼───────┬────────┼───────────┼──────────────► positions
//!   may be        │packet │packet │  packet    │ void  │ packet │  …        │ free until
//!   overwritten   │       │       │            │       │        │           │ the limit
//!  ───────────────┴───────┴───────┴────────────┴───────┴────────┴───────────┴────────────┐
//!                                                            limit = gate + capacity ────┘
//! ```
//!
//! What it guarantees:
//!
//! - A packet is seen whole or not at all: its **stamp** ([`spot`]) is stored last, and
//!   a position is never used twice, so nothing has to be cleared for the next lap.
//! - A slot is not rewritten while a subscriber may still read it: publishers stay below their
//!   **limit**, one capacity above the lowest cursor ([`gate`]).
//! - One total order, in which each publisher's packets keep theirs.
//! - A process may die at any instruction: what it committed stays, what it had claimed becomes a
//!   void packet ([`recover`]), what it held is let go ([`membership`]).
//!
//! What it does not know: how its memory came about, what packets mean, how to sleep. It takes
//! [`RingMemory`](crate::segment::view::RingMemory), so the same code runs over a mapping, over the
//! heap and under loom.
//!
//! Each rule of the protocol stands in one place:
//!
//! | rule | where |
//! |---|---|
//! | where a packet fits, what it takes | [`geometry`] |
//! | header words | [`slot`] |
//! | what a stamp is | [`spot`] |
//! | how far may be claimed | [`gate`] |
//! | claim, fill, commit, abort | [`claim`] |
//! | receive, pin, release | [`reader`] |
//! | a packet to one of several members | [`consumer_group`] |
//! | who loses what when it overflows | [`overflow`], [`missed`] |
//! | how far back a newcomer starts | [`history`] |
//! | whether packets can still come | [`state`] |
//! | join, leave, clear the dead away | [`membership`] |
//! | a dead publisher's claim | [`recover`] |

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
pub(crate) mod missed;
pub(crate) mod overflow;
pub(crate) mod reader;
pub(crate) mod reap;
pub(crate) mod recover;
pub(crate) mod slot;
pub(crate) mod spot;
pub(crate) mod state;

#[cfg(test)]
mod tests;
