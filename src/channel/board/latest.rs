//! A board of one cell.

use super::{
    Board, BoardReader, BoardWriter, CellHolder, CellValue, ChangedError, ChangedTimeoutError,
    ReadError, TryChangedError, TryWriteError, WriteError, WriteTimeoutError,
};
use crate::channel::verb;
use crate::channel::waitable::{Selectable, Selectee, Waitable, rearm};
use crate::error::{Detachment, Form, OpenError};
use crate::packet::{Packet, SendAs};
use crate::segment::kept::KeptEventCount;
use crate::segment::layout::EventCount;
use crate::sys::stop::Stop;
use crate::wait::{Listener, Timeout, Wait};
use std::fmt;

/// Writes `Debug`. Not derived: that would require `T: Debug`.
macro_rules! debug_as_field {
    ($endpoint:ident, $field:ident) => {
        impl<T: Packet> fmt::Debug for $endpoint<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_tuple(stringify!($endpoint)).field(&self.$field).finish()
            }
        }
    };
}

debug_as_field!(Latest, board);
debug_as_field!(LatestWriter, writer);
debug_as_field!(LatestReader, reader);

/// The cell of a `Latest`.
const ONLY: usize = 0;

/// A cell in shared memory that holds the latest value of one kind.
///
/// It is a [`Board`] without keys, and has its guarantees and its costs: two descriptors and, by
/// default, 66 buffers of the largest value.
///
/// ```
/// use packetring::{Latest, packet};
///
/// #[packet]
/// struct Price { bid: u64, ask: u64 }
///
/// let name = format!("price-{}", std::process::id());
/// let latest = Latest::<Price>::open(&name)?;
/// let (mut writer, mut reader) = (latest.writer()?, latest.reader()?);
/// writer.write(&Price { bid: 101, ask: 102 })?;
/// let price = reader.read()?; // in place; never rewritten while it is held
/// writer.write(&Price { bid: 103, ask: 104 })?;
/// assert_eq!(price.bid, 101);
/// drop(price);
/// assert_eq!(reader.wait_changed()?.bid, 103);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Latest<T: Packet> {
    board: Board<T>,
}

impl<T: Packet> Latest<T> {
    pub(super) fn new(board: Board<T>) -> Self {
        Self { board }
    }

    /// Joins as the writer, or as one of several: see
    /// [`BoardBuilder::max_writers`](super::BoardBuilder::max_writers).
    ///
    /// # Errors
    ///
    /// As [`Board::writer`].
    pub fn writer(&self) -> Result<LatestWriter<T>, OpenError> {
        Ok(LatestWriter { writer: self.board.writer()? })
    }

    /// Joins as a reader.
    ///
    /// # Errors
    ///
    /// As [`Board::reader`].
    pub fn reader(&self) -> Result<LatestReader<T>, OpenError> {
        Ok(LatestReader { reader: self.board.reader()?, listener: None })
    }

    /// The name without its prefix, empty on the heap.
    pub fn name(&self) -> &str {
        self.board.name()
    }

    /// Why no process can join any more: see [`Board::detachment`].
    pub fn detachment(&self) -> Option<Detachment> {
        self.board.detachment()
    }
}

/// Writes the value of a [`Latest`]. Dropping it leaves; the value stays as long as a process is
/// attached.
pub struct LatestWriter<T: Packet> {
    writer: BoardWriter<T>,
}

impl<T: Packet> LatestWriter<T> {
    verb! {
        /// Replaces the value, and wakes the readers that wait for a change. Waiting and cost are
        /// those of [`BoardWriter::write`].
        ///
        /// # Errors
        ///
        /// [`TooLarge`](WriteError::TooLarge), [`Unserializable`](WriteError::Unserializable).
        write, try_write, write_timeout = write_with[P: SendAs<T>](packet: P) -> ();
        WriteError, TryWriteError::Busy, WriteTimeoutError::Timeout
    }

    /// Sets what ends the waits of this writer.
    pub fn set_stop(&mut self, stop: &Stop) {
        self.writer.set_stop(stop);
    }

    #[inline]
    fn write_with<P: SendAs<T>, F: Form<WriteError, CellHolder>>(
        &mut self,
        packet: P,
        timeout: Timeout,
    ) -> Result<(), F> {
        self.writer.write_cell(ONLY, packet.value(), timeout)
    }
}

/// Reads the value of a [`Latest`], in place. It has one value in hand at a time.
///
/// [`select`](crate::select) waits for it, together with other receivers. It is ready when
/// [`wait_changed`](Self::wait_changed) would return at once. A read ends that.
///
/// ```
/// use packetring::{Latest, Ring, select, try_select};
///
/// let (level, ring) = (Latest::<f64>::builder().heap_latest::<f64>()?, Ring::builder().heap()?);
/// let (mut reader, mut orders) = (level.reader()?, ring.subscriber::<u64>()?);
/// level.writer()?.write(&0.7)?;
/// match select(&mut [&mut orders, &mut reader]) {
///     0 => println!("order {}", *orders.recv()?),
///     _ => assert_eq!(*reader.read()?, 0.7),
/// }
/// assert_eq!(try_select(&mut [&mut orders, &mut reader]), None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct LatestReader<T: Packet> {
    reader: BoardReader<T>,
    /// For event loops.
    listener: Option<Box<Listener>>,
}

impl<T: Packet> LatestReader<T> {
    /// Reads the latest value, in place. Does not wait. The guard and the cost are those of
    /// [`BoardReader::read`].
    ///
    /// # Errors
    ///
    /// [`NoValue`](ReadError::NoValue), [`Corrupt`](ReadError::Corrupt).
    #[inline]
    pub fn read(&mut self) -> Result<CellValue<'_, T>, ReadError> {
        if self.listener.is_some() {
            self.arm_for_the_next();
        }
        self.reader.read_cell(ONLY)
    }

    /// For an event loop, a read of the newest value finds nothing behind it.
    #[cold]
    #[inline(never)]
    fn arm_for_the_next(&mut self) {
        // First: a value that comes after it makes the descriptor readable.
        self.reader.note_seen(ONLY);
        rearm(self);
    }

    verb! {
        /// Waits until the value differs from the one that this reader read last, then reads it in
        /// place. A value that it has not read yet counts as a change. Several changes count as
        /// one.
        ///
        /// # Errors
        ///
        /// [`Corrupt`](ChangedError::Corrupt), [`Stopped`](ChangedError::Stopped),
        /// [`Detached`](ChangedError::Detached) if the name was removed and no writer lives: see
        /// [`BoardReader`](BoardReader#when-the-name-was-removed).
        wait_changed, try_changed, wait_changed_timeout = changed() -> CellValue<'_, T>;
        ChangedError, TryChangedError::Unchanged, ChangedTimeoutError::Timeout
    }

    /// Changes how this reader waits from now on.
    pub fn set_wait(&mut self, wait: Wait) {
        self.reader.set_wait(wait);
    }

    /// Sets what ends the waits of this reader.
    pub fn set_stop(&mut self, stop: &Stop) {
        self.reader.set_stop(stop);
        if let Some(listener) = &self.listener {
            listener.set_stop(stop);
        }
    }

    /// Joins as another reader, for another thread. It shares the attachment.
    ///
    /// # Errors
    ///
    /// As [`Latest::reader`].
    pub fn try_clone(&self) -> Result<Self, OpenError> {
        Ok(Self { reader: self.reader.try_clone()?, listener: None })
    }

    fn changed<F: Form<ChangedError, ()>>(
        &mut self,
        timeout: Timeout,
    ) -> Result<CellValue<'_, T>, F> {
        if matches!(timeout, Timeout::Zero) && !self.reader.is_changed(ONLY) {
            rearm(self);
        }
        self.reader.changed_cell(ONLY, timeout)
    }
}

impl<T: Packet> Selectable for LatestReader<T> {
    fn selectee(&mut self) -> Selectee<'_> {
        Selectee::new(self)
    }
}

impl<T: Packet> Waitable for LatestReader<T> {
    fn has_next(&mut self) -> bool {
        self.is_ready()
    }

    fn is_ready(&self) -> bool {
        self.reader.is_ready(ONLY)
    }

    fn check_liveness(&mut self, _is_long: bool) {
        self.reader.check_cut_off();
    }

    fn event_count(&self) -> Option<&EventCount> {
        Some(self.reader.changed_of(ONLY))
    }

    fn event_counts(&self) -> Vec<KeptEventCount> {
        vec![self.reader.kept_changed_of(ONLY)]
    }

    fn listener(&mut self) -> Option<&mut Option<Box<Listener>>> {
        Some(&mut self.listener)
    }

    fn place(&self) -> u64 {
        self.reader.seen_version(ONLY)
    }

    fn stop(&self) -> Option<&Stop> {
        self.reader.stop()
    }

    fn wait(&self) -> Wait {
        self.reader.how_to_wait()
    }
}
