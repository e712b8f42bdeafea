//! The event header: the sender, the name and the length of both, before an event's archive.
//! Messages and requests have none; they carry a tag in the slot instead.
//!
//! ```text
//!  0        2        4        8
//!  ┌────────┬────────┬────────┬───────────┬─────────┬────────────
//!  │ sender │ unused │ prefix │ name      │ zeros   │ archive
//!  │ u16    │ u16    │ u32    │ text      │ unused  │
//!  └────────┴────────┴────────┴───────────┴─────────┴────────────
//!                    └─ bytes before the archive: a multiple of 16
//! ```
//!
//! All numbers are little-endian. Reading arbitrary bytes gives a header that fits the packet, or
//! none.

use crate::channel::{AnyReceived, RecvError};
use crate::cluster::names::WorkerId;

/// Bytes before the name.
const FIXED: usize = 8;
/// Alignment of an archive.
const ALIGN: usize = 16;

/// The fixed part of an event header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct EventHeader {
    /// The worker that emitted the event.
    pub(super) sender: WorkerId,
}

impl EventHeader {
    /// Writes the header and the name into `into`, which is cleared first.
    pub(super) fn write(&self, name: &str, into: &mut Vec<u8>) {
        let end = FIXED + name.len();
        let prefix = end.next_multiple_of(ALIGN);
        // A name of 4 GiB or more makes the packet too large, so it is rejected later.
        let written = u32::try_from(prefix).unwrap_or(u32::MAX);
        into.clear();
        into.extend_from_slice(&self.sender.0.to_le_bytes());
        into.extend_from_slice(&((prefix - end) as u16).to_le_bytes());
        into.extend_from_slice(&written.to_le_bytes());
        into.extend_from_slice(name.as_bytes());
        into.resize(prefix, 0);
    }

    /// Reads the header at the start of a packet: the fixed part, the name, and the offset of the
    /// archive. Returns `None` if the bytes are not a header that fits the packet.
    fn read(payload: &[u8]) -> Option<(Self, &str, usize)> {
        let (fixed, _) = payload.split_first_chunk::<FIXED>()?;
        let fixed = u64::from_le_bytes(*fixed);
        let (unused, prefix) = (usize::from((fixed >> 16) as u16), (fixed >> 32) as usize);
        if !prefix.is_multiple_of(ALIGN) || unused >= ALIGN {
            return None;
        }
        let name = payload.get(FIXED..prefix.checked_sub(unused)?)?;
        // The unused bytes must exist, but their values do not matter.
        let name = (prefix <= payload.len()).then(|| std::str::from_utf8(name).ok())??;
        Some((Self { sender: WorkerId(fixed as u16) }, name, prefix))
    }
}

/// The sender, the name and the archive of an event. `None` if it has no header.
pub(crate) fn parts_of_event(payload: &[u8]) -> Option<(WorkerId, &str, &[u8])> {
    let (header, name, prefix) = EventHeader::read(payload)?;
    Some((header.sender, name, payload.get(prefix..)?))
}

impl AnyReceived<'_> {
    /// Splits an event into its header and a packet that begins at the archive. An event without a
    /// header is released and reported as `Corrupt`.
    pub(super) fn split_header(self) -> Result<(EventHeader, Self), RecvError> {
        match EventHeader::read(self.payload()) {
            Some((header, _, prefix)) => Ok((header, self.behind(prefix))),
            None => Err(self.release_without_header()),
        }
    }

    #[cold]
    fn release_without_header(self) -> RecvError {
        let position = self.info().position;
        self.ack();
        RecvError::Corrupt(format!("no event header at position {position}").into())
    }

    /// The event's name.
    pub(super) fn name(&self) -> &str {
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
        ONE.write(name, &mut prefix);
        prefix
    }

    #[test]
    fn a_header_is_written_and_read_with_any_name() {
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
    fn an_event_is_opened_behind_its_header() {
        let ring = Ring::builder().capacity(4096).tagged_slots().heap().unwrap();
        let mut publisher = ring.any_publisher().unwrap();
        let mut events = ring.any_subscriber().unwrap();
        for round in 0..50 {
            let name = "n".repeat(round);
            let numbers = vec![round as u32; round];
            publisher
                .send_with_header(MessageHeader::of(&prefix(&name)), &numbers, Timeout::Zero)
                .unwrap();
            let (header, event) = events.try_recv().unwrap().split_header().unwrap();
            assert_eq!((header, event.name()), (ONE, &*name));
            assert!(event.open_as::<Vec<u32>>().unwrap().iter().eq(numbers.iter()));
        }
    }

    #[test]
    fn a_packet_without_a_header_is_corrupt_and_released() {
        let ring = Ring::builder().capacity(4096).tagged_slots().heap().unwrap();
        let mut publisher = ring.any_publisher().unwrap();
        let mut events = ring.any_acknowledged("worker").unwrap();
        publisher.send(&7_u64).unwrap();
        publisher.send_with_header(MessageHeader::of(&prefix("x")), &8_u64, Timeout::Zero).unwrap();
        let error = events.try_recv().unwrap().split_header().map(drop).unwrap_err();
        assert!(matches!(error, RecvError::Corrupt(_)), "{error}");
        let (_, event) = events.try_recv().unwrap().split_header().unwrap();
        assert_eq!(*event.open_as::<u64>().unwrap(), 8);
    }

    #[test]
    fn the_largest_event_with_its_header_is_half_a_ring() {
        let ring = Ring::builder().capacity(4096).tagged_slots().heap().unwrap();
        let mut publisher = ring.any_publisher().unwrap();
        let (prefix, limit) = (prefix("x"), 2048 - 16);
        publisher
            .send_with_header(MessageHeader::of(&prefix), &[0_u8; 2048 - 32], Timeout::Zero)
            .unwrap();
        let error = publisher
            .send_with_header(MessageHeader::of(&prefix), &[0_u8; 2048 - 31], Timeout::Zero)
            .unwrap_err();
        let SendFailure::Error(SendError::TooLarge { needed, limit: found }) = error else {
            panic!("{error:?}")
        };
        assert_eq!((needed, found), (limit + 1, limit));
    }

    #[test]
    fn a_header_that_does_not_fit_its_packet_is_rejected() {
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
        assert_eq!(EventHeader::read(&unnamed), None, "a name of negative length");
    }
}
