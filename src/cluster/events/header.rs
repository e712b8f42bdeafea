//! The envelope of an event: who emitted it, and its name, there and back. Letters to an inbox, requests
//! and replies have none: what they say of themselves is a mark in their slot's header.
//!
//! ```text
//!  0        2        4        8
//!  ┌────────┬────────┬────────┬───────────┬─────────┬────────────
//!  │ sender │ unused │ prefix  │ name      │ zeros   │ archive
//!  │ u16    │ u16    │ u32    │ text      │ unused  │
//!  └────────┴────────┴────────┴───────────┴─────────┴────────────
//!                    └─ bytes of all that is before the archive: a multiple of 16
//! ```
//!
//! Little-endian. It guarantees that whatever bytes a packet begins with give an envelope that fits
//! the packet, or none.

use crate::channel::{AnyReceived, RecvError};
use crate::cluster::names::WorkerId;

/// Bytes before the name.
const HEAD: usize = 8;
/// What an archive is aligned to.
const ALIGN: usize = 16;

/// What an event says of itself, besides its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EventHeader {
    /// The worker that emitted it.
    pub(crate) sender: WorkerId,
}

impl EventHeader {
    /// Makes `into` the front of an event of this name.
    pub(crate) fn prefix(&self, name: &str, into: &mut Vec<u8>) {
        let end = HEAD + name.len();
        let prefix = end.next_multiple_of(ALIGN);
        // A name that long is refused with the packet, whose length does not fit either.
        let written = u32::try_from(prefix).unwrap_or(u32::MAX);
        into.clear();
        into.extend_from_slice(&self.sender.0.to_le_bytes());
        into.extend_from_slice(&((prefix - end) as u16).to_le_bytes());
        into.extend_from_slice(&written.to_le_bytes());
        into.extend_from_slice(name.as_bytes());
        into.resize(prefix, 0);
    }

    /// The envelope that a packet begins with, its name, and where the archive begins; `None`: it
    /// has none that fits.
    pub(crate) fn read(payload: &[u8]) -> Option<(Self, &str, usize)> {
        let (head, _) = payload.split_first_chunk::<HEAD>()?;
        let head = u64::from_le_bytes(*head);
        let (unused, prefix) = (usize::from((head >> 16) as u16), (head >> 32) as usize);
        if !prefix.is_multiple_of(ALIGN) || unused >= ALIGN {
            return None;
        }
        let name = payload.get(HEAD..prefix.checked_sub(unused)?)?;
        // That there are zeros is nobody's matter, but that they are there is.
        let name = (prefix <= payload.len()).then(|| std::str::from_utf8(name).ok())??;
        Some((Self { sender: WorkerId(head as u16) }, name, prefix))
    }
}

impl AnyReceived<'_> {
    /// The envelope of a letter, and the letter to be opened behind it. One without an envelope is
    /// `Corrupt`, and let go of.
    #[inline(always)]
    pub(crate) fn split_header(self) -> Result<(EventHeader, Self), RecvError> {
        match EventHeader::read(self.payload()) {
            Some((envelope, _, prefix)) => Ok((envelope, self.behind(prefix))),
            None => Err(self.without_envelope()),
        }
    }

    #[cold]
    #[inline(never)]
    fn without_envelope(self) -> RecvError {
        let position = self.info().position;
        self.ack();
        RecvError::Corrupt(format!("at position {position}: an event without a header").into())
    }

    /// The name in a letter's envelope.
    pub(crate) fn name(&self) -> &str {
        EventHeader::read(self.payload()).map_or("", |(_, name, _)| name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::{MessageHeader, Ring, SendError, SendFailure};
    use crate::wait::Timeout;

    const ONE: EventHeader = EventHeader { sender: WorkerId(513) };

    fn prefix(name: &str) -> Vec<u8> {
        let mut prefix = vec![1, 2, 3];
        ONE.prefix(name, &mut prefix);
        prefix
    }

    #[test]
    fn an_envelope_is_written_and_read_back_with_any_name() {
        for name in ["", "x", "threadA::open", "8 bytes.", "9 bytes..", "ends\0", "ä"] {
            let mut payload = prefix(name);
            let whole = payload.len();
            assert!(whole.is_multiple_of(16) && whole < 24 + name.len());
            payload.extend_from_slice(b"archive");
            assert_eq!(EventHeader::read(&payload), Some((ONE, name, whole)));
        }
        assert_eq!(&prefix("opened")[..], b"\x01\x02\x02\0\x10\0\0\0opened\0\0");
    }

    #[test]
    fn a_letter_is_opened_behind_its_envelope_whatever_its_name() {
        let ring = Ring::builder().capacity(4096).tagged_slots().heap().unwrap();
        let mut out = ring.any_publisher().unwrap();
        let mut mails = ring.any_subscriber().unwrap();
        for round in 0..50 {
            let name = "n".repeat(round);
            let numbers = vec![round as u32; round];
            out.send_with_header(MessageHeader::of(&prefix(&name)), &numbers, Timeout::Zero)
                .unwrap();
            let (envelope, mail) = mails.try_recv().unwrap().split_header().unwrap();
            assert_eq!((envelope, mail.name()), (ONE, &*name));
            assert!(mail.open_as::<Vec<u32>>().unwrap().iter().eq(numbers.iter()));
        }
    }

    #[test]
    fn what_has_no_envelope_is_corrupt_and_does_not_come_again() {
        let ring = Ring::builder().capacity(4096).tagged_slots().heap().unwrap();
        let mut out = ring.any_publisher().unwrap();
        let mut mails = ring.any_acknowledged("desk").unwrap();
        out.send(&7_u64).unwrap();
        out.send_with_header(MessageHeader::of(&prefix("x")), &8_u64, Timeout::Zero).unwrap();
        let error = mails.try_recv().unwrap().split_header().map(drop).unwrap_err();
        assert!(matches!(error, RecvError::Corrupt(_)), "{error}");
        let (_, mail) = mails.try_recv().unwrap().split_header().unwrap();
        assert_eq!(*mail.open_as::<u64>().unwrap(), 8);
    }

    #[test]
    fn the_largest_letter_is_half_a_ring_with_its_front() {
        let ring = Ring::builder().capacity(4096).tagged_slots().heap().unwrap();
        let mut out = ring.any_publisher().unwrap();
        let (prefix, limit) = (prefix("x"), 2048 - 16);
        out.send_with_header(MessageHeader::of(&prefix), &[0_u8; 2048 - 32], Timeout::Zero)
            .unwrap();
        let error = out
            .send_with_header(MessageHeader::of(&prefix), &[0_u8; 2048 - 31], Timeout::Zero)
            .unwrap_err();
        let SendFailure::Error(SendError::TooLarge { needed, limit: found }) = error else {
            panic!("{error:?}")
        };
        assert_eq!((needed, found), (limit + 1, limit));
    }

    #[test]
    fn one_that_does_not_fit_its_packet_is_none() {
        let whole = prefix("a name of more than sixteen");
        for len in 0..whole.len() {
            assert_eq!(EventHeader::read(&whole[..len]), None, "cut to {len}");
        }
        for wrong in [0, 8, 24, 64, u32::MAX, u32::MAX - 15] {
            let mut payload = whole.clone();
            payload[4..8].copy_from_slice(&wrong.to_le_bytes());
            assert_eq!(EventHeader::read(&payload), None, "prefix {wrong}");
        }
        for (at, byte) in [(2, 16), (2, 255), (3, 1), (12, 0xff)] {
            let mut payload = whole.clone();
            payload[at] = byte;
            assert_eq!(EventHeader::read(&payload), None, "byte {at}");
        }
        let mut unnamed = prefix("");
        unnamed[2] = 9;
        assert_eq!(EventHeader::read(&unnamed), None, "less than no name");
    }
}
