//! Atomics and fences: from std in production, from loom when a model check explores the orderings.
//!
//! Every atomic of the crate comes from here, so that loom sees it. `clippy.toml` bans the types of
//! `std::sync::atomic` elsewhere; the aliases below are the exception. The meaning of each word is
//! in `segment::layout`. The heavy half of the asymmetric barrier is a system call
//! (`sys::futex`).

#[cfg(loom)]
pub(crate) use loom::{
    hint::spin_loop,
    sync::atomic::{AtomicU32, AtomicU64, Ordering, fence},
};
#[cfg(not(loom))]
pub(crate) use std::{
    hint::spin_loop,
    sync::atomic::{Ordering, fence},
};

/// The 32-bit atomic that the crate uses.
#[cfg(not(loom))]
#[expect(clippy::disallowed_types, reason = "this alias is the one that is allowed")]
pub(crate) type AtomicU32 = std::sync::atomic::AtomicU32;
/// The 64-bit atomic that the crate uses.
#[cfg(not(loom))]
#[expect(clippy::disallowed_types, reason = "this alias is the one that is allowed")]
pub(crate) type AtomicU64 = std::sync::atomic::AtomicU64;

/// A release fence that also orders non-temporal stores: those of copies past the caches
/// (`packet::copying`), and those of the C library.
///
/// x86 alone has stores that no release orders.
#[inline]
pub(crate) fn fence_copies() {
    fence(Ordering::Release);
    #[cfg(all(target_arch = "x86_64", not(loom), not(miri)))]
    // SAFETY: The instruction is part of SSE, which each processor of the architecture has.
    unsafe {
        std::arch::x86_64::_mm_sfence();
    }
}

/// The light half of an asymmetric barrier: the compiler does not move a load above an earlier
/// store. The `membarrier` of the other side does the same to the processor.
///
/// Pairs with `sys::futex::heavy_barrier`. Loom has no membarrier: both halves are full fences
/// there.
#[inline]
pub(crate) fn light_barrier() {
    #[cfg(not(loom))]
    std::sync::atomic::compiler_fence(Ordering::SeqCst);
    #[cfg(loom)]
    fence(Ordering::SeqCst);
}
