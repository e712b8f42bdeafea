//! The memory that the processes of a ring share, and the locks of the kernel over it.
//!
//! It guarantees: what is attached is a whole, checked segment of this library, of this layout
//! and this kind of machine; exactly one process makes it; the last to leave removes it; nothing
//! but objects named `/packetring.*` is ever touched; one process at a time is in the control
//! lock; whether an endpoint lives is answered by the kernel.
//!
//! It does not know what the words in it mean to one another: that is `ring`.
//!
//! Start with [`layout`], then [`lifecycle`].

pub(crate) mod entry;
pub(crate) mod layout;
#[cfg(not(loom))]
pub(crate) mod name;
pub(crate) mod roles;
pub(crate) mod settings;
pub(crate) mod view;

#[cfg(not(loom))]
mod attachment;
#[cfg(not(loom))]
mod exclusive;
#[cfg(not(loom))]
mod heap;
#[cfg(not(loom))]
mod identity;
#[cfg(not(loom))]
mod lifecycle;
#[cfg(not(loom))]
mod liveness;
#[cfg(not(loom))]
mod map;
#[cfg(not(loom))]
mod mapped;
#[cfg(not(loom))]
mod types;

#[cfg(not(loom))]
pub(crate) use attachment::{Control, Segment, initialize, is_kept};
#[cfg(not(loom))]
pub(crate) use exclusive::ExclusiveSegment;
#[cfg(not(loom))]
pub(crate) use liveness::Liveness;
