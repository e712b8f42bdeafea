//! The packet: it says who sent it, as the how-manieth, and whether it is whole.

use crate::dice::Dice;
use packetring::packet::ArchivedTail;
use packetring::{Tail, packet};

/// What a parcel begins with.
#[packet]
#[derive(Clone, Debug, Default)]
pub(crate) struct Label {
    /// Which phase, ring and row it comes from.
    pub(crate) stream: u64,
    /// Its number in the stream.
    pub(crate) sequence: u64,
    /// When its sending began, on the monotonic clock.
    pub(crate) sent_at: u64,
    /// Over all of the above and the bytes.
    pub(crate) sum: u64,
}

/// A label, and bytes that follow from it.
pub(crate) type Parcel = Tail<Label, u8>;
/// As it is read.
pub(crate) type ArchivedParcel = ArchivedTail<Label, u8>;

/// Phase, ring and row in one word.
pub(crate) fn stream(phase: u64, ring: usize, row: usize) -> u64 {
    phase << 16 | (ring as u64) << 8 | row as u64
}

/// How long a parcel is: most are short, few are long, none is longer than a quarter of a ring.
pub(crate) fn length(dice: &mut Dice) -> usize {
    let longest = match dice.below(20) {
        0 => 3000,
        1..=4 => 400,
        5..=9 => 90,
        _ => 16,
    };
    dice.below(longest + 1) as usize
}

/// The sum of a parcel that is sent.
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

/// Fills the bytes of the parcel of this stream and number.
pub(crate) fn fill(stream: u64, sequence: u64, bytes: &mut [u8]) {
    let mut dice = Dice::new(stream, &[sequence]);
    for chunk in bytes.chunks_mut(8) {
        chunk.copy_from_slice(&dice.roll().to_le_bytes()[..chunk.len()]);
    }
}

/// The parcel of this stream and number.
pub(crate) fn parcel(stream: u64, sequence: u64, sent_at: u64, len: usize) -> Parcel {
    let mut tail = vec![0; len];
    fill(stream, sequence, &mut tail);
    let sum = sum(stream, sequence, sent_at, &tail);
    Tail { head: Label { stream, sequence, sent_at, sum }, tail }
}

/// What a parcel says about itself, as it is read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Said {
    pub(crate) stream: u64,
    pub(crate) sequence: u64,
    pub(crate) sent_at: u64,
    /// Its bytes are those that were sent.
    pub(crate) is_whole: bool,
}

impl Said {
    pub(crate) fn by(parcel: &ArchivedParcel) -> Self {
        let (stream, sequence) = (parcel.head.stream.to_native(), parcel.head.sequence.to_native());
        let sent_at = parcel.head.sent_at.to_native();
        let expected = sum(stream, sequence, sent_at, parcel.tail.as_slice());
        Self { stream, sequence, sent_at, is_whole: parcel.head.sum == expected }
    }

    /// The row of its stream.
    pub(crate) fn row(&self) -> usize {
        (self.stream & 0xff) as usize
    }
}
