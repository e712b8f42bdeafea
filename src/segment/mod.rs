//! The memory that the processes of a ring share, and the kernel's locks over it.
//!
//! It guarantees:
//!
//! - An attached segment is complete and checked: of this library, this layout and this kind of
//!   machine.
//! - Exactly one process makes a segment, and the last process to leave removes it.
//! - Only objects named `/packetring.*` are touched.
//! - One process at a time holds the control lock.
//! - A kernel lock on each entry shows whether its owner lives.
//! - A view keeps the memory that it points to.
//!
//! The protocol, how the words relate to one another, belongs to `ring`.
//!
//! Start with [`layout`], then `lifecycle`. Files that need the operating system are not compiled
//! under loom; each of them begins with that `cfg`.

pub(crate) mod board_cells;
pub(crate) mod counters;
pub(crate) mod entry;
pub(crate) mod inventory;
pub(crate) mod kept;
pub(crate) mod latency;
pub(crate) mod layout;
pub(crate) mod name;
pub(crate) mod roles;
pub(crate) mod settings;
pub(crate) mod view;

mod attachment;
mod control;
mod identity;
mod lifecycle;
mod map;
mod mapped;
mod object;
mod parts;
mod passive;
mod places;
mod removal;
mod reports;
pub(crate) mod types;

#[cfg(not(loom))]
pub(crate) use {
    attachment::Segment,
    control::Control,
    parts::WorkerSlots,
    passive::PassiveSegment,
    removal::{Clearance, ExclusiveSegment},
    view::CallMemory,
};

#[cfg(all(test, not(loom)))]
mod tests;
