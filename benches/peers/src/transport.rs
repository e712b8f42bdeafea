//! What a peer must be able to do to be compared: one direction of a channel, from one process to
//! another, for any [`Record`].
//!
//! An endpoint spins where the peer can. It never gives up: whoever started its process does.

use crate::record::Record;
use crate::tally::Tally;
use crate::way::Way;

/// Why a peer did not do its work.
pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// A peer.
pub(crate) trait Transport {
    type Sender<R: Record>: Sender<R>;
    type Receiver<R: Record>: Receiver<R>;

    /// The end that sends. Returns when nothing that is sent from now on would miss the receiver.
    fn sender<R: Record>(way: &Way) -> Result<Self::Sender<R>, Failure>;

    /// The end that receives, opened in the other process at the same time.
    fn receiver<R: Record>(way: &Way) -> Result<Self::Receiver<R>, Failure>;
}

/// The end that sends.
pub(crate) trait Sender<R> {
    /// Sends one record, with whatever that takes for the other side to see it soon.
    fn send(&mut self, record: &R) -> Result<(), Failure>;

    /// Sends these together, if the peer knows how to.
    fn send_batch(&mut self, _records: &[R]) -> Result<(), Failure> {
        Err("it has no batches".into())
    }

    /// Sends what is still held back.
    fn finish(&mut self) -> Result<(), Failure> {
        Ok(())
    }
}

/// The end that receives. It looks at each record where the peer gives it: in place if it can.
pub(crate) trait Receiver<R> {
    /// Waits for one record and takes it.
    fn receive(&mut self, tally: &mut Tally) -> Result<(), Failure>;

    /// Waits for one record and takes those that are there, [`MOST`] at most if the peer asks.
    fn receive_batch(&mut self, _tally: &mut Tally) -> Result<(), Failure> {
        Err("it has no batches".into())
    }
}

/// Records that fit into each ring: as many as slots in packetring's by default.
pub(crate) const DEPTH: usize = 1 << 14;
/// Records that are sent together.
pub(crate) const BATCH: usize = 32;
/// Records that are received together, if the peer wants a number: packetring's own.
pub(crate) const MOST: usize = 256;

/// Looks until something is there.
#[inline]
pub(crate) fn spin<T>(mut look: impl FnMut() -> Option<T>) -> T {
    loop {
        if let Some(found) = look() {
            return found;
        }
        std::hint::spin_loop();
    }
}
