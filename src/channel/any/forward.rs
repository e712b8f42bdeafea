//! Publishing packets of other rings.

use super::publisher::AnyPublisher;
use crate::channel::error::SendFailure;
use crate::channel::type_table::{refused, register_carried};
use crate::channel::untyped::DeadLetter;
use crate::wait::Timeout;

impl AnyPublisher {
    /// Publishes a copy of a packet of another ring, with its type. Does not wait for room.
    pub(crate) fn forward(&mut self, letter: &DeadLetter<'_>, tag: u16) -> Result<(), SendFailure> {
        let sender = &mut self.sender;
        sender.begin()?;
        let index = {
            let segment = &sender.entry.segment;
            let control = segment.lock().map_err(refused)?;
            register_carried(&control, segment, &letter.carried).map_err(refused)?
        };
        sender.send_archive(letter.archive, index, tag, Timeout::Zero)
    }
}
