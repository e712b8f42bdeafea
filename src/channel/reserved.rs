//! Guards over claimed slots that are filled in place.

use super::error::{SendError, WaitingFor};
use super::untyped::Sender;
use crate::error::{Form, retry};
use crate::packet::guard::{Uninit, UninitTail, tail_len_or_most};
use crate::packet::{AnyBits, Packet};
use crate::ring::guard::WriteClaim;
use crate::wait::Timeout;
use std::ops::{Deref, DerefMut};

/// Room for one packet, to be filled through `DerefMut`.
///
/// Its content is whatever earlier packets left there. Nobody sees it before
/// [`commit`](Self::commit); dropping it, also by `?` or a panic, publishes nothing.
pub struct Reserved<'a, T: Packet> {
    blank: Uninit<WriteClaim<'a, Sender>, T>,
}

impl<'a, T: Packet> Reserved<'a, T>
where
    T::Archived: AnyBits,
{
    pub(crate) fn claim<F: Form<SendError, WaitingFor>>(
        sender: &'a mut Sender,
        type_index: u16,
        timeout: Timeout,
    ) -> Result<Self, F> {
        sender.begin()?;
        let len = T::FLAT_LEN.unwrap_or(usize::MAX);
        retry(|| sender.claim(len, timeout))?;
        // A type any of whose bits are values has no pointers, so its length is known and was
        // claimed.
        match Uninit::new(WriteClaim::new(sender, len, type_index)) {
            Some(blank) => Ok(Self { blank }),
            None => Err(SendError::TooLarge { needed: len, limit: 0 }.into()),
        }
    }

    /// Publishes the packet. Returns its position.
    pub fn commit(self) -> u64 {
        self.blank.guard.commit()
    }
}

impl<T: Packet> Deref for Reserved<'_, T>
where
    T::Archived: AnyBits,
{
    type Target = T::Archived;

    #[inline]
    fn deref(&self) -> &T::Archived {
        self.blank.get()
    }
}

impl<T: Packet> DerefMut for Reserved<'_, T>
where
    T::Archived: AnyBits,
{
    #[inline]
    fn deref_mut(&mut self) -> &mut T::Archived {
        self.blank.get_mut()
    }
}

/// Room for a [`Tail`](crate::Tail): a head, and elements whose number was given at run time.
///
/// Their content is whatever earlier packets left there. Nobody sees it before
/// [`commit`](Self::commit); dropping it publishes nothing.
pub struct ReservedTail<'a, H: Packet, E: Packet> {
    blank: UninitTail<WriteClaim<'a, Sender>, H, E>,
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
        sender.begin()?;
        let len = tail_len_or_most::<H, E>(count);
        retry(|| sender.claim(len, timeout))?;
        match UninitTail::new(WriteClaim::new(sender, len, type_index), count) {
            Some(blank) => Ok(Self { blank }),
            None => Err(SendError::TooLarge { needed: len, limit: 0 }.into()),
        }
    }

    /// The head.
    pub fn head(&self) -> &H::Archived {
        self.blank.get().0
    }

    /// The elements.
    pub fn tail(&self) -> &[E::Archived] {
        self.blank.get().1
    }

    /// The head, to be filled.
    pub fn head_mut(&mut self) -> &mut H::Archived {
        self.blank.get_mut().0
    }

    /// The elements, to be filled.
    pub fn tail_mut(&mut self) -> &mut [E::Archived] {
        self.blank.get_mut().1
    }

    /// Head and elements at once, to be filled.
    pub fn split_mut(&mut self) -> (&mut H::Archived, &mut [E::Archived]) {
        self.blank.get_mut()
    }

    /// Publishes the packet. Returns its position.
    pub fn commit(self) -> u64 {
        self.blank.guard.commit()
    }
}
