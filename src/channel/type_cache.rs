//! The types that a publisher of packets of any type has entered into its ring, and their indices.
//!
//! A type that is known costs a look at a short list; the first packet of one takes the control lock.

use super::error::{SendError, SendFailure, TypeMismatch, WaitingFor};
use super::join;
use super::untyped::Sender;
use crate::error::OpenError;
use crate::packet::{Fingerprint, Packet, TypeInfo};
use crate::segment::{Control, Segment};
use crate::wait::Timeout;

/// What one publisher knows of its ring's types.
#[derive(Clone, Debug, Default)]
pub(crate) struct Carried {
    /// The one that was asked for last: here, and not behind a pointer.
    last: Option<(Fingerprint, u16)>,
    known: Vec<(Fingerprint, u16)>,
}

impl Carried {
    /// The index of `T`, entering it into the ring if it is new, and what is left of the patience.
    #[inline]
    pub(crate) fn index_of<T: Packet>(
        &mut self,
        sender: &Sender,
        timeout: Timeout,
    ) -> Result<(u16, Timeout), SendFailure> {
        let fingerprint = const { T::TYPE.fingerprint };
        match self.last {
            Some((known, index)) if known == fingerprint => Ok((index, timeout)),
            _ => self.look_up(sender, &T::TYPE, timeout),
        }
    }

    #[inline(never)]
    fn look_up(
        &mut self,
        sender: &Sender,
        info: &TypeInfo,
        timeout: Timeout,
    ) -> Result<(u16, Timeout), SendFailure> {
        match self.known.iter().find(|(known, _)| *known == info.fingerprint) {
            Some(&found) => {
                self.last = Some(found);
                Ok((found.1, timeout))
            }
            None => self.enter(&sender.endpoint.segment, info, timeout),
        }
    }

    /// Enters a type into the ring if it is new.
    pub(crate) fn know(
        &mut self,
        sender: &Sender,
        info: &TypeInfo,
        timeout: Timeout,
    ) -> Result<(), SendFailure> {
        if self.known.iter().all(|(known, _)| *known != info.fingerprint) {
            self.enter(&sender.endpoint.segment, info, timeout)?;
        }
        Ok(())
    }

    #[cold]
    fn enter(
        &mut self,
        segment: &Segment,
        info: &TypeInfo,
        timeout: Timeout,
    ) -> Result<(u16, Timeout), SendFailure> {
        let deadline = timeout.deadline();
        let control = lock(segment, timeout)?;
        let index = join::register(&control, segment, info).map_err(entering)?;
        self.known.push((info.fingerprint, index));
        Ok((index, timeout.left(deadline)))
    }
}

fn lock(segment: &Segment, timeout: Timeout) -> Result<Control<'_>, SendFailure> {
    let locked = match timeout {
        Timeout::Zero => segment.try_lock(),
        Timeout::After(timeout) => segment.lock_within(timeout),
        Timeout::Never => return Ok(segment.lock().map_err(entering)?),
    };
    locked.ok_or_else(|| SendFailure::NotReady(WaitingFor::Joining { pid: segment.lock_holder() }))
}

fn entering(error: OpenError) -> SendError {
    match error {
        OpenError::TooManyTypes { limit } => SendError::TooManyTypes { limit },
        OpenError::TypeMismatch { expected, found } => {
            // The ring's view: what was expected there is what was found there.
            SendError::TypeRefused(Box::new(TypeMismatch { expected: found, found: expected }))
        }
        OpenError::System { source, .. } => SendError::System(source),
        other => SendError::System(std::io::Error::other(other)),
    }
}
