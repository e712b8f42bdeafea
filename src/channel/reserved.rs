//! Reservations: guards over claimed slots that the user fills in place.

use super::error::{SendError, WaitingFor};
use super::untyped::Sender;
use crate::error::Form;
use crate::packet::guard::{Uninit, UninitTail, tail_len_or_most};
use crate::packet::{AnyBits, Copying, Packet};
use crate::ring::guard::WriteClaim;
use crate::ring::slot::Descriptor;
use crate::wait::Timeout;
use std::fmt;
use std::ops::{Deref, DerefMut};

/// Room for one packet, to be filled through `DerefMut`.
///
/// It still has the bytes of earlier packets. Subscribers see it only after
/// [`Reserved::commit`](Self::commit). Dropping it, also by `?` or a panic, publishes nothing. In a
/// shared ring, subscribers wait at an open reservation, so fill it soon.
///
/// It derefs to the archived packet, so `commit` is an associated function.
#[must_use = "a reservation that is not committed publishes nothing"]
pub struct Reserved<'a, T: Packet> {
    room: Uninit<WriteClaim<'a, Sender>, T>,
}

impl<'a, T: Packet> Reserved<'a, T>
where
    T::Archived: AnyBits,
{
    #[inline]
    pub(crate) fn claim<F: Form<SendError, WaitingFor>>(
        sender: &'a mut Sender,
        type_index: u16,
        timeout: Timeout,
    ) -> Result<Self, F> {
        sender.begin_claim::<F>(Self::LEN, timeout)?;
        Ok(Self::claimed(sender, type_index)?)
    }

    /// As [`claim`](Self::claim), but waits in a task.
    #[cfg(feature = "async")]
    pub(crate) async fn claim_in_task(
        sender: &'a mut Sender,
        type_index: u16,
    ) -> Result<Self, SendError> {
        sender.begin_claim_in_task(Self::LEN).await?;
        Self::claimed(sender, type_index)
    }

    const LEN: usize = match T::FLAT_LEN {
        Some(len) => len,
        None => usize::MAX,
    };

    /// The reservation of the room that was just claimed.
    #[inline]
    fn claimed(sender: &'a mut Sender, type_index: u16) -> Result<Self, SendError> {
        let len = Self::LEN;
        // An `AnyBits` type has no pointers, so its length is constant and was claimed.
        match Uninit::new(WriteClaim::new(sender, Descriptor::data(len, type_index))) {
            Some(room) => Ok(Self { room }),
            None => Err(SendError::TooLarge { needed: len, limit: 0 }),
        }
    }

    /// Publishes the packet. Returns its position.
    pub fn commit(this: Self) -> u64 {
        this.room.into_guard().commit()
    }
}

impl<T: Packet> fmt::Debug for Reserved<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reserved").field("type", &T::TYPE.name).finish_non_exhaustive()
    }
}

impl<T: Packet> Deref for Reserved<'_, T>
where
    T::Archived: AnyBits,
{
    type Target = T::Archived;

    #[inline]
    fn deref(&self) -> &T::Archived {
        self.room.get()
    }
}

impl<T: Packet> DerefMut for Reserved<'_, T>
where
    T::Archived: AnyBits,
{
    #[inline]
    fn deref_mut(&mut self) -> &mut T::Archived {
        self.room.get_mut()
    }
}

/// Room for a [`Tail`](crate::Tail): a head, and elements whose number was given at run time.
///
/// It still has the bytes of earlier packets. Subscribers see it only after
/// [`commit`](Self::commit). Dropping it, also by `?` or a panic, publishes nothing.
#[must_use = "a reservation that is not committed publishes nothing"]
pub struct ReservedTail<'a, H: Packet, E: Packet> {
    room: UninitTail<WriteClaim<'a, Sender>, H, E>,
    copying: Copying,
}

impl<'a, H: Packet, E: Packet> ReservedTail<'a, H, E>
where
    H::Archived: AnyBits,
    E::Archived: AnyBits,
{
    pub(crate) fn claim<F: Form<SendError, WaitingFor>>(
        sender: &'a mut Sender,
        type_index: u16,
        count: usize,
        timeout: Timeout,
    ) -> Result<Self, F> {
        sender.begin_claim::<F>(tail_len_or_most::<H, E>(count), timeout)?;
        Ok(Self::claimed(sender, type_index, count)?)
    }

    /// As [`claim`](Self::claim), but waits in a task.
    #[cfg(feature = "async")]
    pub(crate) async fn claim_in_task(
        sender: &'a mut Sender,
        type_index: u16,
        count: usize,
    ) -> Result<Self, SendError> {
        sender.begin_claim_in_task(tail_len_or_most::<H, E>(count)).await?;
        Self::claimed(sender, type_index, count)
    }

    /// The reservation of the room that was just claimed.
    fn claimed(sender: &'a mut Sender, type_index: u16, count: usize) -> Result<Self, SendError> {
        let len = tail_len_or_most::<H, E>(count);
        let copying = sender.scratch.copies.way();
        match UninitTail::new(WriteClaim::new(sender, Descriptor::data(len, type_index)), count) {
            Some(room) => Ok(Self { room, copying }),
            None => Err(SendError::TooLarge { needed: len, limit: 0 }),
        }
    }

    /// The head.
    pub fn head(&self) -> &H::Archived {
        self.room.get().0
    }

    /// The elements.
    pub fn tail(&self) -> &[E::Archived] {
        self.room.get().1
    }

    /// The head, to be written.
    pub fn head_mut(&mut self) -> &mut H::Archived {
        self.room.get_mut().0
    }

    /// The elements, to be written.
    pub fn tail_mut(&mut self) -> &mut [E::Archived] {
        self.room.get_mut().1
    }

    /// Copies all elements in. A list of 1 KiB or more is copied past the caches while that is
    /// faster: the publisher measures it, in a few laps of the ring. So this can be several times
    /// as fast as `tail_mut().copy_from_slice(..)`.
    ///
    /// # Errors
    ///
    /// [`Unserializable`](SendError::Unserializable) if an element has a serializer of its own that
    /// refuses it. Elements in front of it are written.
    ///
    /// # Panics
    ///
    /// If the reservation is for another number of elements.
    pub fn copy_tail_from(&mut self, elements: &[E]) -> Result<(), SendError> {
        Ok(self.room.copy_tail_from(elements, self.copying)?)
    }

    /// Head and elements at once, to be written.
    pub fn split_mut(&mut self) -> (&mut H::Archived, &mut [E::Archived]) {
        self.room.get_mut()
    }

    /// Publishes the packet. Returns its position.
    pub fn commit(self) -> u64 {
        self.room.into_guard().commit()
    }
}

impl<H: Packet, E: Packet> fmt::Debug for ReservedTail<'_, H, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReservedTail")
            .field("head", &H::TYPE.name)
            .field("element", &E::TYPE.name)
            .finish_non_exhaustive()
    }
}
