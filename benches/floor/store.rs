//! The stores that put a packet into its slot: payload first, then stamp and descriptor.
//!
//! Stores leave a processor in order, and only the lines of the first few waiting stores are asked
//! for in advance. So the number of stores of a packet decides how many lines are under way.
//!
//! | | stores of 48 bytes | of 64 bytes |
//! |---|---|---|
//! | [`Avx`]: 32 and 16 bytes of payload, then 16 bytes with stamp and descriptor | 3 | 4 |
//! | [`Words`]: the compiler copies the payload, a word each for descriptor and stamp | 5 | 6 |

#[cfg(target_arch = "x86_64")]
use std::arch::{asm, x86_64 as intel};
use std::sync::atomic::{AtomicU64, Ordering};

/// A way to store packets of `WORDS` words.
pub(super) trait Store: Copy {
    /// Stores a packet so that its stamp is visible last.
    ///
    /// # Safety
    ///
    /// `slot` is aligned to a cache line, has room for the packet, and is not read or written by
    /// anything else. The processor has the features that this way needs.
    unsafe fn put<const WORDS: usize>(self, slot: *mut u64, packet: [u64; WORDS], stamp: u64);

    /// Stores a packet past the caches if it fills a line. [`fence`](Self::fence) makes it visible.
    ///
    /// # Safety
    ///
    /// As for [`put`](Self::put).
    unsafe fn put_past_caches<const WORDS: usize>(
        self,
        slot: *mut u64,
        packet: [u64; WORDS],
        stamp: u64,
    ) {
        // SAFETY: the caller's promise.
        unsafe { self.put(slot, packet, stamp) };
    }

    /// Makes packets that were stored past the caches visible before all later stores.
    fn fence(self) {}
}

/// For every processor.
#[derive(Clone, Copy)]
pub(super) struct Words;

impl Store for Words {
    #[inline(always)]
    unsafe fn put<const WORDS: usize>(self, slot: *mut u64, packet: [u64; WORDS], stamp: u64) {
        // SAFETY: the caller's promise.
        unsafe {
            slot.add(2).cast::<[u64; WORDS]>().write(packet);
            AtomicU64::from_ptr(slot.add(1)).store(WORDS as u64, Ordering::Relaxed);
            // Pairs with the acquire in `Slots::read`.
            AtomicU64::from_ptr(slot).store(stamp, Ordering::Release);
        }
    }
}

/// For x86 processors with AVX.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
pub(super) struct Avx;

#[cfg(target_arch = "x86_64")]
impl Store for Avx {
    #[target_feature(enable = "avx")]
    #[inline]
    unsafe fn put<const WORDS: usize>(self, slot: *mut u64, packet: [u64; WORDS], stamp: u64) {
        // SAFETY: the caller's promise. The slot is aligned to 64, so each store is aligned.
        unsafe {
            if WORDS == 8 {
                intel::_mm_store_si128(slot.add(8).cast(), pair(packet[6], packet[7]));
            }
            // The compiler would split a store of equal halves. A processor with AVX does an
            // aligned store of 16 bytes in one access (Intel SDM volume 3, 9.1.1; AMD APM volume 2,
            // 7.3.2), and all stores in order. So the last one is a relaxed store of the
            // descriptor, and a release of the stamp, which pairs with the acquire in
            // `Slots::read`.
            asm!(
                "vmovdqa [{slot} + 32], {last}",
                "vmovdqa [{slot} + 16], {first}",
                "vmovdqa [{slot}], {header}",
                slot = in(reg) slot,
                last = in(ymm_reg) four(&packet),
                first = in(xmm_reg) pair(packet[0], packet[1]),
                header = in(xmm_reg) pair(stamp, WORDS as u64),
                options(nostack, preserves_flags),
            );
        }
    }

    #[target_feature(enable = "avx")]
    #[inline]
    unsafe fn put_past_caches<const WORDS: usize>(
        self,
        slot: *mut u64,
        packet: [u64; WORDS],
        stamp: u64,
    ) {
        if WORDS != 6 {
            // SAFETY: the caller's promise.
            return unsafe { self.put(slot, packet, stamp) };
        }
        let (header, first) = (pair(stamp, WORDS as u64), pair(packet[0], packet[1]));
        // SAFETY: the caller's promise. The two stores fill the line.
        unsafe {
            intel::_mm256_stream_si256(slot.cast(), intel::_mm256_set_m128i(first, header));
            intel::_mm256_stream_si256(slot.add(4).cast(), four(&packet));
        }
    }

    fn fence(self) {
        // SAFETY: every processor of this architecture has it.
        unsafe { intel::_mm_sfence() };
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx")]
#[inline]
fn pair(low: u64, high: u64) -> intel::__m128i {
    intel::_mm_set_epi64x(high.cast_signed(), low.cast_signed())
}

/// The third to sixth word.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx")]
#[inline]
fn four(packet: &[u64]) -> intel::__m256i {
    intel::_mm256_set_m128i(pair(packet[4], packet[5]), pair(packet[2], packet[3]))
}

/// Returns true if [`Avx`] can be used.
pub(crate) fn has_avx() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("avx");
    #[cfg(not(target_arch = "x86_64"))]
    false
}
