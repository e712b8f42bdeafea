//! Guards over packets in place: one, or a batch.

use super::untyped::Receiver;
use crate::packet::guard::{self, Validated, ValidatedBatch};
use crate::packet::{Packet, Unpack, UnpackError};
use crate::ring::cursor::Cursor;
use crate::ring::guard::{BatchGuard, ReadGuard};
use std::fmt;
use std::ops::{Deref, Index};

/// A packet in its slot, checked, as its own archived type.
///
/// Dropping it releases the slot. What is said about the packet itself is said by associated
/// functions, `Received::info(&packet)`, so that the packet's own methods are never hidden.
pub struct Received<'a, T: Packet> {
    pub(crate) opened: Validated<ReadGuard<'a, Receiver>, T>,
}

/// What is known of a packet besides its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Info {
    /// Its position in the ring, in slots since the ring was made: unique, and ascending in the
    /// ring's order.
    pub position: u64,
    /// It was handed out before: to this durable subscriber's predecessor, or to this subscriber,
    /// which put it back.
    pub redelivered: bool,
}

impl Info {
    /// Of the packet in flight.
    pub(crate) fn of<C: Cursor>(receiver: &Receiver<C>) -> Self {
        let taken = receiver.cursor.in_flight();
        taken.map_or(Self { position: 0, redelivered: false }, |taken| Self {
            position: taken.position,
            redelivered: receiver.cursor.is_redelivered(&taken),
        })
    }
}

impl<'a, T: Packet> Received<'a, T> {
    /// Position, and whether it was delivered before.
    pub fn info(this: &Self) -> Info {
        Info::of(this.opened.guard().endpoint())
    }

    /// The packet as an owned value. Releases the slot.
    ///
    /// # Errors
    ///
    /// A `with` wrapper of one of its fields can refuse.
    pub fn unpack(this: Self) -> Result<T, UnpackError>
    where
        T: Unpack,
    {
        T::unpack(this.opened.get())
    }

    /// Puts the packet back: this subscriber's next call gets it again, flagged as redelivered.
    pub fn unreceive(this: Self) {
        this.opened.into_guard().end(Receiver::unreceive);
    }
}

impl<T: Packet> Deref for Received<'_, T> {
    type Target = T::Archived;

    #[inline]
    fn deref(&self) -> &T::Archived {
        self.opened.get()
    }
}

impl<T: Packet> fmt::Debug for Received<'_, T>
where
    T::Archived: fmt::Debug,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.opened.get().fmt(f)
    }
}

/// A packet that was copied out of the ring before it was checked: nobody can change it any more.
pub struct Copied<'a, T: Packet> {
    opened: Validated<guard::Copied<'a>, T>,
    info: Info,
}

impl<'a, T: Packet> Copied<'a, T> {
    pub(crate) fn new(opened: Validated<guard::Copied<'a>, T>, info: Info) -> Self {
        Self { opened, info }
    }

    /// Position, and whether it was delivered before.
    pub fn info(this: &Self) -> Info {
        this.info
    }

    /// The packet as an owned value.
    ///
    /// # Errors
    ///
    /// A `with` wrapper of one of its fields can refuse.
    pub fn unpack(this: Self) -> Result<T, UnpackError>
    where
        T: Unpack,
    {
        T::unpack(this.opened.get())
    }
}

impl<T: Packet> Deref for Copied<'_, T> {
    type Target = T::Archived;

    #[inline]
    fn deref(&self) -> &T::Archived {
        self.opened.get()
    }
}

impl<T: Packet> fmt::Debug for Copied<'_, T>
where
    T::Archived: fmt::Debug,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.opened.get().fmt(f)
    }
}

/// Several packets in their slots, checked, released together when the batch is dropped.
pub struct Batch<'a, T: Packet> {
    pub(crate) opened: ValidatedBatch<BatchGuard<'a, Receiver>, T>,
}

impl<T: Packet> Batch<'_, T> {
    /// How many packets there are: one at least.
    pub fn len(&self) -> usize {
        self.opened.len()
    }

    /// Whether there are none, which is never so.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The packets in the ring's order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &T::Archived> + DoubleEndedIterator {
        (0..self.len()).map(|index| self.opened.get(index))
    }
}

impl<T: Packet> Index<usize> for Batch<'_, T> {
    type Output = T::Archived;

    fn index(&self, index: usize) -> &T::Archived {
        self.opened.get(index)
    }
}

impl<'b, T: Packet> IntoIterator for &'b Batch<'_, T> {
    type Item = &'b T::Archived;
    type IntoIter = BatchIter<'b, T>;

    #[inline]
    fn into_iter(self) -> BatchIter<'b, T> {
        BatchIter { opened: &self.opened, next: 0 }
    }
}

/// The packets of a [`Batch`], in the ring's order.
pub struct BatchIter<'b, T: Packet> {
    opened: &'b ValidatedBatch<BatchGuard<'b, Receiver>, T>,
    next: usize,
}

impl<'b, T: Packet> Iterator for BatchIter<'b, T> {
    type Item = &'b T::Archived;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        (self.next < self.opened.len()).then(|| {
            self.next += 1;
            self.opened.get(self.next - 1)
        })
    }
}

impl<T: Packet> fmt::Debug for Batch<'_, T>
where
    T::Archived: fmt::Debug,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self).finish()
    }
}
