//! The memory that the processes of a ring share, and the locks of the kernel over it.
//!
//! It guarantees: what is attached is a whole, checked segment of this library, of this layout
//! and this kind of machine; exactly one process makes it; the last to leave removes it; nothing
//! but objects named `/packetring.*` is ever touched; one process at a time is in the control
//! lock; whether an endpoint lives is answered by the kernel.
//!
//! It does not know what the words in it mean to one another: that is `ring`.
//!
//! Start with [`layout`], then [`enter`].

#[cfg(not(loom))]
pub(crate) mod bytes;
pub(crate) mod known;
pub(crate) mod layout;
pub(crate) mod member;
pub(crate) mod memory;
#[cfg(not(loom))]
pub(crate) mod name;
pub(crate) mod settings;

#[cfg(not(loom))]
mod enter;
#[cfg(not(loom))]
mod heap;
#[cfg(not(loom))]
mod identity;
#[cfg(not(loom))]
mod map;
#[cfg(not(loom))]
mod mapped;
#[cfg(not(loom))]
mod seized;
#[cfg(not(loom))]
mod types;
#[cfg(not(loom))]
mod whole;

#[cfg(not(loom))]
pub(crate) use seized::Seized;
#[cfg(not(loom))]
pub(crate) use whole::{Control, Segment, initialize, is_kept};
