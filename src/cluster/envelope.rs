//! The envelope of a request, a reply or an event: sixteen bytes and a name, there and back. A letter to
//! an inbox has none: who sent it is a mark in its slot's header.
//!
//! ```text
//!  0        2      3        4        8             16
//!  ┌────────┬──────┬────────┬────────┬─────────────┬───────────┬─────────┬────────────
//!  │ sender │ kind │ unused │ front  │ correlation │ name      │ zeros   │ archive
//!  │ u16    │ u8   │ u8     │ u32    │ u64         │ text      │ unused  │
//!  └────────┴──────┴────────┴────────┴─────────────┴───────────┴─────────┴────────────
//!                             └─ bytes of all that is before the archive: a multiple of 16
//! ```
//!
//! Little-endian. It guarantees that whatever bytes a packet begins with give an envelope that fits
//! the packet, or none. It does not say what kinds and correlations mean: services do.

use super::names::WorkerId;
use crate::channel::{Mail, RecvError};

/// Bytes of an envelope without a name.
const PLAIN: usize = 16;

/// What a letter says of itself, besides its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Envelope {
    /// The worker that sent it.
    pub(crate) sender: WorkerId,
    /// What kind of letter it is, among those of its ring.
    pub(crate) kind: u8,
    /// The call that it belongs to.
    pub(crate) correlation: u64,
}

impl Envelope {
    /// The front of a letter without a name.
    #[inline]
    pub(crate) fn plain(&self) -> [u8; PLAIN] {
        self.head(PLAIN as u32, 0)
    }

    /// Makes `into` the front of a letter of this name.
    pub(crate) fn front(&self, name: &str, into: &mut Vec<u8>) {
        let end = PLAIN + name.len();
        let front = end.next_multiple_of(PLAIN);
        into.clear();
        // A name that long is refused with the packet, whose length does not fit either.
        let written = u32::try_from(front).unwrap_or(u32::MAX);
        into.extend_from_slice(&self.head(written, (front - end) as u8));
        into.extend_from_slice(name.as_bytes());
        into.resize(front, 0);
    }

    /// The front of a letter whose name is as long as an envelope.
    #[inline]
    pub(super) fn with_name(&self, name: &[u8; PLAIN]) -> [u8; 2 * PLAIN] {
        let mut front = [0; 2 * PLAIN];
        let (head, rest) = front.split_at_mut(PLAIN);
        head.copy_from_slice(&self.head(2 * PLAIN as u32, 0));
        rest.copy_from_slice(name);
        front
    }

    #[inline]
    fn head(&self, front: u32, unused: u8) -> [u8; PLAIN] {
        let [s0, s1] = self.sender.0.to_le_bytes();
        let word = u64::from(u32::from_le_bytes([s0, s1, self.kind, unused]));
        let word = word | u64::from(front) << 32;
        (u128::from(word) | u128::from(self.correlation) << 64).to_le_bytes()
    }

    /// The envelope that a packet begins with, its name, and where the archive begins; `None`: it
    /// has none that fits.
    #[inline(always)]
    pub(crate) fn read(payload: &[u8]) -> Option<(Self, &str, usize)> {
        let (envelope, name, front) = Self::split(payload)?;
        let name = if name.is_empty() { "" } else { std::str::from_utf8(name).ok()? };
        Some((envelope, name, front))
    }

    /// The same, where the name is no text, or nobody's matter.
    #[inline(always)]
    pub(super) fn split(payload: &[u8]) -> Option<(Self, &[u8], usize)> {
        let (head, _) = payload.split_first_chunk::<PLAIN>()?;
        let head = u128::from_le_bytes(*head);
        let (word, correlation) = (head as u64, (head >> 64) as u64);
        let (sender, kind) = (WorkerId(word as u16), (word >> 16) as u8);
        let (unused, front) = ((word >> 24) as u8, (word >> 32) as usize);
        let is_plain = unused == 0 && front == PLAIN;
        let name = if is_plain { &[] } else { name(payload, front, unused)? };
        Some((Self { sender, kind, correlation }, name, front))
    }
}

/// The name between the head and where the archive begins; `None`: it is not there.
#[inline(never)]
fn name(payload: &[u8], front: usize, unused: u8) -> Option<&[u8]> {
    let unused = usize::from(unused);
    if !front.is_multiple_of(PLAIN) || unused >= PLAIN {
        return None;
    }
    let name = payload.get(PLAIN..front)?;
    name.get(..name.len().checked_sub(unused)?)
}

impl Mail<'_> {
    /// The envelope of a letter, and the letter to be opened behind it. One without an envelope is
    /// `Corrupt`, and let go of.
    #[inline(always)]
    pub(crate) fn fronted(self) -> Result<(Envelope, Self), RecvError> {
        match Envelope::read(self.payload()) {
            Some((envelope, _, front)) => Ok((envelope, self.behind(front))),
            None => Err(self.without_envelope()),
        }
    }

    #[cold]
    #[inline(never)]
    fn without_envelope(self) -> RecvError {
        let position = self.info().position;
        self.done();
        RecvError::Corrupt(format!("at position {position}: a letter without an envelope").into())
    }

    /// The name in a letter's envelope.
    pub(crate) fn name(&self) -> &str {
        Envelope::read(self.payload()).map_or("", |(_, name, _)| name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::{Patience, Ring, SendError};

    const ONE: Envelope = Envelope { sender: WorkerId(513), kind: 7, correlation: 1 << 63 | 3 };

    fn front(name: &str) -> Vec<u8> {
        let mut front = vec![1, 2, 3];
        ONE.front(name, &mut front);
        front
    }

    #[test]
    fn an_envelope_is_written_and_read_back_with_any_name() {
        for name in ["", "x", "threadA::open", "15 bytes, tight", "16 bytes, filled", "ends\0", "ä"]
        {
            let mut payload = front(name);
            let whole = payload.len();
            assert!(whole.is_multiple_of(16) && whole < 32 + name.len());
            payload.extend_from_slice(b"archive");
            assert_eq!(Envelope::read(&payload), Some((ONE, name, whole)));
        }
        assert_eq!(ONE.plain()[..], front("")[..]);
        assert_eq!(&ONE.plain(), b"\x01\x02\x07\x00\x10\0\0\0\x03\0\0\0\0\0\0\x80");
    }

    #[test]
    fn a_letter_is_opened_behind_its_envelope_whatever_its_name() {
        let ring = Ring::builder().capacity(4096).letters().heap().unwrap();
        let mut out = ring.mixed_publisher().unwrap();
        let mut mails = ring.mixed_subscriber().unwrap();
        let mut front = Vec::new();
        for round in 0..50 {
            let name = "n".repeat(round);
            ONE.front(&name, &mut front);
            out.send_letter(&front, &vec![round as u32; round], Patience::None).unwrap();
            out.send_letter(&ONE.plain(), &(round as u64), Patience::None).unwrap();
            let (envelope, mail) = mails.try_recv().unwrap().fronted().unwrap();
            assert_eq!((envelope, mail.name()), (ONE, &*name));
            assert!(
                mail.open_as::<Vec<u32>>().unwrap().iter().eq(vec![round as u32; round].iter())
            );
            drop(mail);
            let (envelope, mail) = mails.try_recv().unwrap().fronted().unwrap();
            assert_eq!((envelope, mail.name()), (ONE, ""));
            assert_eq!(*mail.open_as::<u64>().unwrap(), round as u64);
        }
    }

    #[test]
    fn what_has_no_envelope_is_corrupt_and_does_not_come_again() {
        let ring = Ring::builder().capacity(4096).letters().heap().unwrap();
        let mut out = ring.mixed_publisher().unwrap();
        let mut mails = ring.mixed_acknowledged("desk").unwrap();
        out.send(&7_u64).unwrap();
        out.send_letter(&ONE.plain(), &8_u64, Patience::None).unwrap();
        let error = mails.try_recv().unwrap().fronted().map(drop).unwrap_err();
        assert!(matches!(error, RecvError::Corrupt(_)), "{error}");
        let (_, mail) = mails.try_recv().unwrap().fronted().unwrap();
        assert_eq!(*mail.open_as::<u64>().unwrap(), 8);
    }

    #[test]
    fn the_largest_letter_is_half_a_ring_with_its_front() {
        let ring = Ring::builder().capacity(4096).letters().heap().unwrap();
        let mut out = ring.mixed_publisher().unwrap();
        let limit = 2048 - 16;
        out.send_letter(&ONE.plain(), &[0_u8; 2048 - 32], Patience::None).unwrap();
        let error = out.send_letter(&ONE.plain(), &[0_u8; 2048 - 31], Patience::None).unwrap_err();
        let SendError::TooLarge { needed, limit: found } = error else { panic!("{error}") };
        assert_eq!((needed, found), (limit + 1, limit));
    }

    #[test]
    fn one_that_does_not_fit_its_packet_is_none() {
        let whole = front("a name of more than sixteen");
        for len in 0..whole.len() {
            assert_eq!(Envelope::read(&whole[..len]), None, "cut to {len}");
        }
        for wrong in [0, 8, 15, 24, 64, u32::MAX, u32::MAX - 15] {
            let mut payload = whole.clone();
            payload[4..8].copy_from_slice(&wrong.to_le_bytes());
            assert_eq!(Envelope::read(&payload), None, "front {wrong}");
        }
        for (at, byte) in [(3, 16), (3, 255), (20, 0xff)] {
            let mut payload = whole.clone();
            payload[at] = byte;
            assert_eq!(Envelope::read(&payload), None, "byte {at}");
        }
        let mut plain = ONE.plain();
        plain[3] = 1;
        assert_eq!(Envelope::read(&plain), None, "less than no name");
    }
}
