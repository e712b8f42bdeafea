//! Guards over packets in place: over one, over a batch, and over a copy.

use super::untyped::Receiver;
use crate::packet::guard::{self, Validated, ValidatedBatch};
use crate::packet::{self, Packet, Unpack, UnpackError};
use crate::ring::cursor::Cursor;
use crate::ring::guard::{BatchGuard, ReadGuard};
use std::fmt;
use std::ops::Index;

/// Writes `Deref` and `Debug` for a guard whose field `opened` has the packet.
macro_rules! deref_to_packet {
    ($guard:ident) => {
        impl<T: $crate::Packet> ::std::ops::Deref for $guard<'_, T> {
            type Target = T::Archived;

            #[inline]
            fn deref(&self) -> &T::Archived {
                self.opened.get()
            }
        }

        impl<T: $crate::Packet> ::std::fmt::Debug for $guard<'_, T>
        where
            T::Archived: ::std::fmt::Debug,
        {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                self.opened.get().fmt(f)
            }
        }
    };
}

pub(super) use deref_to_packet;

/// A packet in its slot, checked. Derefs to its archived type.
///
/// Dropping it releases the slot. All other operations are associated functions, such as
/// `Received::info(&packet)`, so that they never hide the packet's own methods.
pub struct Received<'a, T: Packet> {
    pub(crate) opened: Validated<ReadGuard<'a, Receiver>, T>,
}

/// Metadata of a received packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Info {
    /// Its position in the ring, in slots since the ring was created: unique, and ascending in ring
    /// order.
    pub position: u64,
    /// The packet was handed out before: to the predecessor of a durable subscriber, to another
    /// consumer of a queue, or to this endpoint, which did not handle it.
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
    /// Position, and whether the packet was delivered before.
    pub fn info(this: &Self) -> Info {
        Info::of(this.opened.guard().endpoint())
    }

    /// Makes an owned value of the packet, and releases the slot.
    ///
    /// # Errors
    ///
    /// A `with` wrapper of one of its fields can fail.
    pub fn unpack(this: Self) -> Result<T, UnpackError>
    where
        T: Unpack,
    {
        T::unpack(this.opened.get())
    }

    /// Makes an owned value of the packet on the heap, and releases the slot. For values that are
    /// too large for the stack: see [`unpack_boxed`](crate::packet::unpack_boxed).
    ///
    /// # Errors
    ///
    /// A `with` wrapper of one of its fields can fail, and so can starting a thread.
    pub fn unpack_boxed(this: Self) -> Result<Box<T>, UnpackError>
    where
        T: Unpack + Send,
    {
        packet::unpack_boxed::<T>(this.opened.get())
    }

    /// Puts the packet back. The next call receives it again, flagged as redelivered.
    pub fn unreceive(this: Self) {
        this.opened.into_guard().end(Receiver::unreceive);
    }
}

deref_to_packet!(Received);

/// A packet that was copied out of the ring before its check, so no other process can change it.
/// Derefs to its archived type.
pub struct Copied<'a, T: Packet> {
    opened: Validated<guard::CopiedBytes<'a>, T>,
    info: Info,
}

impl<'a, T: Packet> Copied<'a, T> {
    pub(crate) fn new(opened: Validated<guard::CopiedBytes<'a>, T>, info: Info) -> Self {
        Self { opened, info }
    }

    /// Position, and whether the packet was delivered before.
    pub fn info(this: &Self) -> Info {
        this.info
    }

    /// Makes an owned value of the packet.
    ///
    /// # Errors
    ///
    /// A `with` wrapper of one of its fields can fail.
    pub fn unpack(this: Self) -> Result<T, UnpackError>
    where
        T: Unpack,
    {
        T::unpack(this.opened.get())
    }

    /// Makes an owned value of the packet on the heap. For values that are too large for the
    /// stack: see [`unpack_boxed`](crate::packet::unpack_boxed).
    ///
    /// # Errors
    ///
    /// A `with` wrapper of one of its fields can fail, and so can starting a thread.
    pub fn unpack_boxed(this: Self) -> Result<Box<T>, UnpackError>
    where
        T: Unpack + Send,
    {
        packet::unpack_boxed::<T>(this.opened.get())
    }
}

deref_to_packet!(Copied);

/// Several packets in their slots, checked. They are released together when the batch is dropped.
pub struct Batch<'a, T: Packet> {
    pub(crate) opened: ValidatedBatch<BatchGuard<'a, Receiver>, T>,
}

impl<T: Packet> Batch<'_, T> {
    /// Number of packets: at least one.
    pub fn len(&self) -> usize {
        self.opened.len()
    }

    /// Returns false: a batch has at least one packet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The packets in ring order.
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

/// Iterator over the packets of a [`Batch`], in ring order.
#[must_use = "iterators are lazy"]
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

impl<T: Packet> fmt::Debug for BatchIter<'_, T>
where
    T::Archived: fmt::Debug,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rest = (self.next..self.opened.len()).map(|index| self.opened.get(index));
        f.debug_list().entries(rest).finish()
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
