//! The design of Erik Rigtorp's `SPSCQueue` (C++), written anew in Rust, as a reference: it works
//! between threads of one process only.
//!
//! Each side has an index on a cache line of its own. Beside it, the side keeps a copy of the other
//! index, and loads that one only if the queue seems full or empty. There are no batches.

use crate::record::Record;
use crate::tally::Tally;
use crate::transport::{self, DEPTH, Failure, Transport, spin};
use crate::way::Way;
use std::cell::UnsafeCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

pub(crate) struct Rigtorp;

#[repr(align(128))]
struct Index(AtomicUsize);

/// A queue for [`DEPTH`] records. Indices count records and never wrap.
struct Queue<R> {
    /// Records that were written.
    written: Index,
    /// Records that were read.
    read: Index,
    slots: Box<[UnsafeCell<R>]>,
}

// SAFETY: the only producer writes a slot after it acquires `read` beyond the slot's previous
// record, and before it releases `written`. The only consumer reads the slot after it acquires
// `written` beyond it, and before it releases `read`. `sender` makes one end of each kind.
unsafe impl<R: Record> Sync for Queue<R> {}

/// One end, with its own index and its copy of the other one.
pub(crate) struct End<R: Record> {
    queue: Arc<Queue<R>>,
    own: usize,
    other: usize,
}

/// The producer.
pub(crate) struct Producer<R: Record>(End<R>);
/// The consumer.
pub(crate) struct Consumer<R: Record>(End<R>);

impl Transport for Rigtorp {
    type Sender<R: Record> = Producer<R>;
    type Receiver<R: Record> = Consumer<R>;

    fn sender<R: Record>(way: &Way) -> Result<Producer<R>, Failure> {
        let index = || Index(AtomicUsize::new(0));
        let slots = (0..DEPTH).map(|_| UnsafeCell::new(R::default())).collect();
        let queue = Arc::new(Queue { written: index(), read: index(), slots });
        let end = || End { queue: Arc::clone(&queue), own: 0, other: 0 };
        way.leave::<Consumer<R>>(Consumer(end()));
        Ok(Producer(end()))
    }

    fn receiver<R: Record>(way: &Way) -> Result<Consumer<R>, Failure> {
        way.collect()
    }
}

impl<R: Record> transport::Sender<R> for Producer<R> {
    #[inline]
    fn send(&mut self, record: &R) -> Result<(), Failure> {
        let End { queue, own, other } = &mut self.0;
        if *own == *other + DEPTH {
            // Pairs with the release in `receive`.
            *other = spin(|| {
                let read = queue.read.0.load(Ordering::Acquire);
                (*own < read + DEPTH).then_some(read)
            });
        }
        // SAFETY: the consumer has read the previous record of the slot, and reads this one after
        // the store below.
        unsafe { queue.slots[*own % DEPTH].get().write(*record) };
        *own += 1;
        // Pairs with the acquire in `receive`.
        queue.written.0.store(*own, Ordering::Release);
        Ok(())
    }
}

impl<R: Record> transport::Receiver<R> for Consumer<R> {
    #[inline]
    fn receive(&mut self, tally: &mut Tally) -> Result<(), Failure> {
        let End { queue, own, other } = &mut self.0;
        if *own == *other {
            // Pairs with the release in `send`.
            *other = spin(|| {
                let written = queue.written.0.load(Ordering::Acquire);
                (*own < written).then_some(written)
            });
        }
        // SAFETY: the producer has written the slot, and writes it again after the store below.
        tally.take(unsafe { queue.slots[*own % DEPTH].get().read() }.sequence());
        *own += 1;
        // Pairs with the acquire in `send`.
        queue.read.0.store(*own, Ordering::Release);
        Ok(())
    }
}
