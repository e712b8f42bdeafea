//! The packet: its stream, its sequence number and a checksum.

use crate::rng::Rng;
use packetring::packet::ArchivedTail;
use packetring::{Tail, packet};

/// Header of a payload.
#[packet]
#[derive(Clone, Debug, Default)]
pub(crate) struct Header {
    /// Phase, ring and row of the sender.
    pub(crate) stream: u64,
    /// Sequence number in the stream.
    pub(crate) sequence: u64,
    /// Start of the send, on the monotonic clock, in nanoseconds.
    pub(crate) sent_at: u64,
    /// Checksum of the fields above and the bytes.
    pub(crate) sum: u64,
}

/// A header, and bytes derived from it.
pub(crate) type Payload = Tail<Header, u8>;
/// The archived form.
pub(crate) type ArchivedPayload = ArchivedTail<Header, u8>;

/// Encodes phase, ring and row in one word.
pub(crate) fn stream(phase: u64, ring: usize, row: usize) -> u64 {
    phase << 16 | (ring as u64) << 8 | row as u64
}

/// Chooses a length: most are short, few are long, none exceeds a quarter of a ring.
pub(crate) fn length(rng: &mut Rng) -> usize {
    let longest = match rng.below(20) {
        0 => 3000,
        1..=4 => 400,
        5..=9 => 90,
        _ => 16,
    };
    rng.below(longest + 1) as usize
}

/// Checksum of a payload.
pub(crate) fn sum(stream: u64, sequence: u64, sent_at: u64, bytes: &[u8]) -> u64 {
    let mut sum = 0xcbf2_9ce4_8422_2325_u64;
    let mut take = |word: u64| {
        sum = (sum ^ word).wrapping_mul(0x0100_0000_01b3).rotate_left(23);
    };
    [stream, sequence, sent_at, bytes.len() as u64].into_iter().for_each(&mut take);
    let (words, rest) = bytes.as_chunks::<8>();
    words.iter().for_each(|word| take(u64::from_le_bytes(*word)));
    rest.iter().for_each(|byte| take(u64::from(*byte)));
    sum
}

/// Fills in the bytes for this stream and sequence number.
pub(crate) fn fill(stream: u64, sequence: u64, bytes: &mut [u8]) {
    let mut rng = Rng::new(stream, &[sequence]);
    for chunk in bytes.chunks_mut(8) {
        chunk.copy_from_slice(&rng.next().to_le_bytes()[..chunk.len()]);
    }
}

/// Builds the payload for this stream and sequence number.
pub(crate) fn payload(stream: u64, sequence: u64, sent_at: u64, len: usize) -> Payload {
    let mut tail = vec![0; len];
    fill(stream, sequence, &mut tail);
    let sum = sum(stream, sequence, sent_at, &tail);
    Tail { head: Header { stream, sequence, sent_at, sum }, tail }
}

/// Contents of a received payload.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Observed {
    pub(crate) stream: u64,
    pub(crate) sequence: u64,
    pub(crate) sent_at: u64,
    /// The checksum matches the contents.
    pub(crate) is_intact: bool,
}

impl Observed {
    pub(crate) fn from_payload(payload: &ArchivedPayload) -> Self {
        let (stream, sequence) =
            (payload.head.stream.to_native(), payload.head.sequence.to_native());
        let sent_at = payload.head.sent_at.to_native();
        let expected = sum(stream, sequence, sent_at, payload.tail.as_slice());
        Self { stream, sequence, sent_at, is_intact: payload.head.sum == expected }
    }

    /// The row of its stream.
    pub(crate) fn row(&self) -> usize {
        (self.stream & 0xff) as usize
    }
}
