//! The packet types that a publisher has registered in its ring, with their indices.
//!
//! A known type costs a comparison, or a search of a short list. The first packet of a type takes
//! the control lock. An index stays that of its type as long as this publisher lives, because the
//! use is recorded in the publisher's entry under the same lock.

#[cfg(feature = "dynamic")]
use super::carried_type::CarriedType;
use super::error::{SendError, SendFailure, WaitingFor};
use super::owned_entry::OwnedEntry;
use super::type_table::{Registrar, refused, register_for};
use super::untyped::Sender;
use crate::error::{Detachment, Form, OpenError};
use crate::packet::{Fingerprint, Packet, TypeInfo};
use crate::ring::membership::RingState;
use crate::segment::{Control, Segment};
use crate::wait::Timeout;
#[cfg(feature = "dynamic")]
use packetring_dynamic::Schema;
use std::time::Duration;

/// Longest wait for the control lock by a call that does not wait. A task waits by the clock
/// instead, so that its thread runs other tasks. Only the first packet of a type takes the lock,
/// and most holders need microseconds.
const BRIEFLY: Duration = Duration::from_millis(10);

/// The types that one publisher knows.
#[derive(Clone, Debug, Default)]
pub(crate) struct TypeCache {
    /// The type of the last packet. Inline, so that a packet of it follows no pointer.
    last: Option<(Fingerprint, u16)>,
    known: Vec<(Fingerprint, u16)>,
}

impl TypeCache {
    /// The index of `T`, which is registered if it is new, and the rest of the timeout.
    #[inline]
    pub(crate) fn index_of<T: Packet, F: Form<SendError, WaitingFor>>(
        &mut self,
        sender: &Sender,
        timeout: Timeout,
    ) -> Result<(u16, Timeout), F> {
        let fingerprint = const { T::TYPE.fingerprint };
        match self.last {
            Some((known, index)) if known == fingerprint => Ok((index, timeout)),
            _ => {
                // Taken apart: otherwise the result of the fast path is in memory, too.
                let (index, timeout) = self.look_up::<F>(sender, &T::TYPE, timeout)?;
                Ok((index, timeout))
            }
        }
    }

    /// As [`index_of`](Self::index_of), of the type with this information.
    #[inline(never)]
    pub(crate) fn look_up<F: Form<SendError, WaitingFor>>(
        &mut self,
        sender: &Sender,
        info: &TypeInfo,
        timeout: Timeout,
    ) -> Result<(u16, Timeout), F> {
        let register = |registrar: &mut Registrar<'_>| registrar.register(info);
        self.look_up_by::<F>(sender, info.fingerprint, register, timeout)
    }

    /// The index of the type of a packet without a Rust type, which is registered if it is new, and
    /// the rest of the timeout.
    #[cfg(feature = "dynamic")]
    pub(crate) fn index_of_schema<F: Form<SendError, WaitingFor>>(
        &mut self,
        sender: &Sender,
        schema: &Schema,
        timeout: Timeout,
    ) -> Result<(u16, Timeout), F> {
        let register = |registrar: &mut Registrar<'_>| {
            registrar.register_carried(&CarriedType::of_schema(schema))
        };
        self.look_up_by::<F>(sender, Fingerprint(schema.fingerprint()), register, timeout)
    }

    fn look_up_by<F: Form<SendError, WaitingFor>>(
        &mut self,
        sender: &Sender,
        fingerprint: Fingerprint,
        register: impl Fn(&mut Registrar<'_>) -> Result<u16, OpenError>,
        timeout: Timeout,
    ) -> Result<(u16, Timeout), F> {
        let (found, timeout) = match self.find(fingerprint) {
            Some(found) => (found, timeout),
            None => F::retry(|| self.add(&sender.entry, fingerprint, &register, timeout))?,
        };
        self.last = Some((fingerprint, found));
        Ok((found, timeout))
    }

    /// The indices of all types that are known, one bit each.
    pub(crate) fn bits(&self) -> u64 {
        self.known.iter().fold(0, |bits, &(_, index)| bits | 1 << index)
    }

    fn find(&self, fingerprint: Fingerprint) -> Option<u16> {
        let found = self.known.iter().find(|(known, _)| *known == fingerprint);
        found.map(|&(_, index)| index)
    }

    #[cold]
    fn add(
        &mut self,
        entry: &OwnedEntry,
        fingerprint: Fingerprint,
        register: impl Fn(&mut Registrar<'_>) -> Result<u16, OpenError>,
        timeout: Timeout,
    ) -> Result<(u16, Timeout), SendFailure> {
        let segment = &entry.segment;
        let deadline = timeout.deadline();
        // Before the types are asked: a closed ring may have been replaced by one with other types.
        let is_closed = || RingState::of(segment.memory()) == RingState::Closed;
        if is_closed() {
            return Err(SendError::Closed.into());
        }
        let control = match lock(segment, timeout) {
            Err(_) if is_closed() => return Err(SendError::Closed.into()),
            control => control?,
        };
        if is_closed() {
            return Err(SendError::Closed.into());
        }
        let index = register_for(&control, entry, register).map_err(refused)?;
        self.known.push((fingerprint, index));
        Ok((index, timeout.left(deadline)))
    }
}

fn lock(segment: &Segment, timeout: Timeout) -> Result<Control<'_>, SendFailure> {
    // Other threads may register the same type at this moment.
    let locked = match timeout.for_lock(BRIEFLY) {
        Timeout::After(timeout) => segment.lock_within(timeout),
        _ => return Ok(segment.lock().map_err(refused)?),
    };
    locked.ok_or_else(|| match segment.detachment() {
        // The lock is not held: without its descriptor, this process cannot take it.
        Some(cause @ Detachment::DescriptorClosed) => SendError::Detached(cause).into(),
        _ => SendFailure::NotReady(WaitingFor::Joining { pid: segment.lock_holder() }),
    })
}
