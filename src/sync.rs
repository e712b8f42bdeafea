//! Atomics and fences: std's in production, loom's when the orderings are being checked.
//!
//! Every atomic of the crate comes from here, so that a model check sees it; `.ci/run` looks
//! for others. Not here: what any word means (`segment::layout`), and the heavy half of the
//! asymmetric barrier, which is a system call (`sys::barrier`).

#[cfg(loom)]
pub(crate) use loom::{
    hint::spin_loop,
    sync::atomic::{AtomicU32, AtomicU64, Ordering, fence},
};
#[cfg(not(loom))]
pub(crate) use std::{
    hint::spin_loop,
    sync::atomic::{AtomicU32, AtomicU64, Ordering, fence},
};

/// The light half of an asymmetric barrier: keeps the compiler from moving a load above an
/// earlier store. The other side's `membarrier` does the same to the processor.
///
/// Pairs with `sys::barrier::heavy`. Under loom, which has no membarrier, both are full fences.
#[inline]
pub(crate) fn light_barrier() {
    #[cfg(not(loom))]
    std::sync::atomic::compiler_fence(Ordering::SeqCst);
    #[cfg(loom)]
    fence(Ordering::SeqCst);
}
