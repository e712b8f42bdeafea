//! The interface of a peer: one direction of a channel between two processes, for any [`Record`].
//!
//! An endpoint spins if the peer can. It has no timeout of its own: the first process kills a run
//! that takes too long.

use crate::record::Record;
use crate::tally::Tally;
use crate::way::Way;

/// Error of a peer.
pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// A peer.
pub(crate) trait Transport {
    type Sender<R: Record>: Sender<R>;
    type Receiver<R: Record>: Receiver<R>;

    /// Opens the sending end. Returns once the receiver is connected, so that it misses no record.
    fn sender<R: Record>(way: &Way) -> Result<Self::Sender<R>, Failure>;

    /// Opens the receiving end, in the other process and at the same time.
    fn receiver<R: Record>(way: &Way) -> Result<Self::Receiver<R>, Failure>;
}

/// The sending end.
pub(crate) trait Sender<R> {
    /// Sends one record, so that the other side can see it without further calls.
    fn send(&mut self, record: &R) -> Result<(), Failure>;

    /// Sends records as one batch.
    fn send_batch(&mut self, _records: &[R]) -> Result<(), Failure> {
        Err("peer has no batches".into())
    }

    /// Sends buffered records.
    fn finish(&mut self) -> Result<(), Failure> {
        Ok(())
    }
}

/// The receiving end. It reads each record in place if the peer allows that.
pub(crate) trait Receiver<R> {
    /// Waits for one record and reads it.
    fn receive(&mut self, tally: &mut Tally) -> Result<(), Failure>;

    /// Waits for one record and reads all that are available: at most [`MOST`] if the peer has a
    /// limit.
    fn receive_batch(&mut self, _tally: &mut Tally) -> Result<(), Failure> {
        Err("peer has no batches".into())
    }
}

/// Capacity of each ring in records: the number of slots of packetring's default ring.
pub(crate) const DEPTH: usize = 1 << 14;
/// Records of a batch that is sent.
pub(crate) const BATCH: usize = 32;
/// Most records of a batch that is received, if the peer has a limit: packetring's own limit.
pub(crate) const MOST: usize = 256;

/// Polls until there is a value.
#[inline]
pub(crate) fn spin<T>(mut poll: impl FnMut() -> Option<T>) -> T {
    loop {
        if let Some(found) = poll() {
            return found;
        }
        std::hint::spin_loop();
    }
}
