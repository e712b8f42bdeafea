//! Batches: packets of one length that readers see together, because the first one is stamped last.
//!
//! ```text
//!  claim ──► record the end ──► fill and stamp all but the first ──► the first ──► commit
//! ```
//!
//! A reader waits at the first packet. So it fetches no line that is still being written. And the
//! lines behind the first packet may be written past the caches, with their stamps. Recovery and a
//! list of types in use look at stamps there, and take no packet for one. For an observer see
//! [`observer`](crate::ring::observer).
//!
//! If the publisher dies before the last stamp, the stamps behind the first packet stay. What comes
//! later must not uncover them: they belong to a batch that was never published. So the end of the
//! batch is recorded before the first stamp.
//!
//! - **Exclusive ring**: the successor erases the stamps up to that end ([`slot::erase_stamps`]),
//!   before it publishes in their place.
//! - **Shared ring**: [`recover`](crate::ring::recover) erases them, too, and makes one void packet
//!   of the whole batch. The record says that all slots up to that end belong to the dead: it is
//!   stored after the claim was won.
//!
//! The record stays when the batch is complete. It means nothing then: its end is not above the
//! tail of an exclusive ring, and no later claim of a shared ring has this end.
//!
//! The packets are byte copies. No code of the user runs in between, which could panic and leave
//! the batch open in a living process.

use super::Writer;
use crate::failpoint::{Failpoint, failpoint};
use crate::ring::slot::{self, Descriptor, StampedPosition};
#[cfg(all(target_arch = "x86_64", not(loom), not(miri)))]
use crate::segment::layout::{HEADER, SLOT};
use crate::segment::settings::Claims;
use crate::segment::view::RingMemory;
use crate::sync::{Ordering, fence};
#[cfg(not(loom))]
use std::ptr::NonNull;

impl Writer {
    /// Commits the `count` packets of this descriptor, at least one, that the open claim has room
    /// for. `behind` fills and stamps all but the first one, whose position it gets. Then `first`
    /// fills that one.
    ///
    /// # Panics
    ///
    /// If the claim is shorter.
    #[inline(always)]
    pub(in crate::ring) fn commit_batch(
        &mut self,
        descriptor: Descriptor,
        count: u64,
        behind: impl FnOnce(&RingMemory, StampedPosition),
        first: impl FnOnce(&RingMemory, StampedPosition),
    ) {
        let (start, span) = (self.at, descriptor.span());
        let end = start.position + count * span;
        assert!(count > 0 && end <= self.end, "a batch that is longer than its claim");
        self.record_batch(end);
        behind(&self.memory, start);
        first(&self.memory, start);
        // The stamp is a release: a reader that sees it sees the whole batch.
        slot::commit(&self.memory, start, descriptor, Failpoint::BatchHead);
        failpoint(Failpoint::CommitAfter);
        self.at.go(&self.memory, end);
        match self.claims {
            Claims::Exclusive => {
                if span > 1 {
                    self.own().record.sent.add_inner(count * (span - 1));
                }
                self.publish_tail();
            }
            Claims::Shared => {
                self.own().record.sent.add(count, count * (span - 1));
                self.close_if_complete();
            }
        }
    }

    #[inline(always)]
    fn record_batch(&self, end: u64) {
        failpoint(Failpoint::BatchRecord);
        self.own().record.batch_end.store(end, Ordering::Relaxed);
        // No stamp of the batch comes before the record. A process is found dead after its stores,
        // those past the caches too: the kernel runs locked instructions before it releases a lock.
        fence(Ordering::Release);
    }
}

#[cfg(test)]
impl Writer {
    /// Claims a batch of packets of one slot, and stops before the first stamp, as a process that
    /// dies there. Returns its position.
    pub(crate) fn leave_batch(&mut self, count: usize) -> u64 {
        let claimed = self.claim_many(&vec![1; count]);
        let Ok((start, _)) = claimed else { panic!("no room: {claimed:?}") };
        let end = start + count as u64;
        self.record_batch(end);
        for position in start + 1..end {
            let at = self.at.to(&self.memory, position);
            slot::commit(&self.memory, at, Descriptor::data(48, 0), Failpoint::BatchStamp);
        }
        self.end = self.at.position;
        start
    }
}

#[cfg(not(loom))]
impl Writer {
    /// Publishes copies of `archives`, which lie one behind another and have the length of the
    /// descriptor. The open claim has room for them.
    ///
    /// `past_caches`: on x86 all but the first one are written by non-temporal stores.
    ///
    /// # Panics
    ///
    /// If the claim is shorter, or if there is no whole archive.
    // Inlined, so that the length is known.
    #[inline(always)]
    pub(crate) fn publish_copies(
        &mut self,
        descriptor: Descriptor,
        archives: &[u8],
        past_caches: bool,
    ) {
        let (len, span) = (descriptor.len() as usize, descriptor.span());
        let (first, behind) = archives.split_at(len);
        let behind = behind.chunks_exact(len);
        let count = 1 + behind.len() as u64;
        assert!(self.owns(count * span), "a batch that is longer than its claim");
        self.commit_batch(
            descriptor,
            count,
            #[inline(always)]
            |memory, mut at| {
                for archive in behind {
                    at.position += span;
                    // SAFETY: the slots of all `count` packets are claimed, in one lap.
                    unsafe { write_packet(memory, at, descriptor, archive, past_caches) };
                }
                if past_caches {
                    crate::sync::fence_copies();
                }
            },
            #[inline(always)]
            // SAFETY: as above.
            |memory, at| unsafe { copy(first, memory.payload(at.position)) },
        );
    }
}

/// Fills and stamps a packet behind the first one of a batch.
///
/// # Safety
///
/// The slots of the packet belong to an open claim of the caller.
#[cfg(not(loom))]
#[inline(always)]
unsafe fn write_packet(
    memory: &RingMemory,
    at: StampedPosition,
    descriptor: Descriptor,
    archive: &[u8],
    past_caches: bool,
) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    if past_caches {
        failpoint(Failpoint::BatchStamp);
        // SAFETY: the caller's promise. The header is in front of the payload. A slot is aligned to
        // its 64 bytes, and `archive` with the header is as long as the slots of the packet, or
        // shorter.
        unsafe {
            let slot = memory.payload(at.position).sub(HEADER);
            stream(slot, [at.stamp(), descriptor.word()], archive);
        }
        return;
    }
    #[cfg(any(not(target_arch = "x86_64"), miri))]
    let _ = past_caches;
    // SAFETY: the caller's promise.
    unsafe { copy(archive, memory.payload(at.position)) };
    slot::commit(memory, at, descriptor, Failpoint::BatchStamp);
}

/// Copies an archive to its place.
///
/// # Safety
///
/// `to` is valid for writes of as many bytes, which nothing else accesses.
#[cfg(not(loom))]
#[inline(always)]
unsafe fn copy(archive: &[u8], to: NonNull<u8>) {
    // SAFETY: the caller's promise; nothing else accesses `to`, so `archive` lies elsewhere.
    unsafe { to.copy_from_nonoverlapping(NonNull::from_ref(archive).cast(), archive.len()) };
}

/// Writes a header and an archive by non-temporal stores, in whole lines: zeros fill the last one.
///
/// # Safety
///
/// `to` is aligned to 64 bytes and valid for writes of whole lines of 64 bytes, as many as header
/// and archive need. Nothing else accesses them.
#[cfg(all(target_arch = "x86_64", not(loom), not(miri)))]
#[inline(always)]
unsafe fn stream(to: NonNull<u8>, header: [u64; 2], archive: &[u8]) {
    use std::arch::x86_64::{__m128i, _mm_loadu_si128, _mm_set_epi64x, _mm_stream_si128};

    let [stamp, descriptor] = header.map(u64::cast_signed);
    let to = to.cast::<__m128i>().as_ptr();
    let words = (size_of_val(&header) + archive.len()).next_multiple_of(SLOT) / 16;
    // SAFETY: the caller's promise: `words` is the number of pieces of 16 bytes in the lines. SSE2
    // is part of the architecture.
    unsafe { _mm_stream_si128(to, _mm_set_epi64x(descriptor, stamp)) };
    for word in 1..words {
        let mut piece = [0; 16];
        let from = archive.get((word - 1) * 16..).unwrap_or_default();
        let len = from.len().min(16);
        piece[..len].copy_from_slice(&from[..len]);
        // SAFETY: `piece` has 16 bytes, and as above.
        unsafe { _mm_stream_si128(to.add(word), _mm_loadu_si128(piece.as_ptr().cast())) };
    }
}
