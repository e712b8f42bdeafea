//! What is done to a segment's bytes: by chance as a fault would, and by somebody who knows the
//! layout.

use super::Choices;
use super::layout::{SLOT, Word};
use super::stage::Stage;

const PIN: u64 = 1 << 63;

/// Damages one thing, which may be the segment's identity.
pub(crate) fn strike(stage: &Stage, choices: &mut Choices<'_>) {
    match choices.below(6) {
        0 | 1 => strike_word(stage, choices, &stage.layout.identity()),
        2 => forge_geometry(stage, choices),
        _ => strike_inside(stage, choices),
    }
}

/// Damages one thing, but leaves the segment's identity as it is.
pub(crate) fn strike_inside(stage: &Stage, choices: &mut Choices<'_>) {
    match choices.below(12) {
        0 => {
            let position = near_tail(stage, choices);
            strike_word(stage, choices, &stage.layout.slot_words(position));
        }
        1 => forge_packet(stage, choices),
        2 => smear(stage, choices),
        _ => strike_words(stage, choices),
    }
}

/// Damages one thing that is neither in the segment's identity nor in its slots.
pub(crate) fn strike_words(stage: &Stage, choices: &mut Choices<'_>) {
    let layout = &stage.layout;
    match choices.below(9) {
        0..3 => strike_word(stage, choices, &layout.head()),
        3..6 => strike_word(stage, choices, &layout.entries()),
        6 => strike_word(stage, choices, &layout.type_words()),
        7 => forge_claim(stage, choices),
        _ => forge_subscriber(stage, choices),
    }
}

fn strike_word(stage: &Stage, choices: &mut Choices<'_>, words: &[Word]) {
    let word = choices.pick(words);
    let value = value(stage, choices, word, words);
    stage.write(word, value);
}

/// A value that is likely to be where things go wrong.
fn value(stage: &Stage, choices: &mut Choices<'_>, word: Word, words: &[Word]) -> u64 {
    let old = stage.read(word);
    match choices.below(14) {
        0 => 0,
        1 => 1,
        2 => u64::MAX,
        3 => u64::MAX - 1,
        4 => old.wrapping_add(1),
        5 => old.wrapping_sub(1),
        6 => 1 << choices.below(64),
        7 => (1 << choices.below(64)) - 1,
        8 => old ^ 1 << choices.below(8 * word.width),
        9 => stage.read(choices.pick(words)),
        10 => old.wrapping_add(stage.layout.capacity.wrapping_mul(choices.step())),
        11 => near_tail(stage, choices),
        12 => near_tail(stage, choices) | PIN,
        _ => choices.word(),
    }
}

/// A position within a lap or two of the tail.
fn near_tail(stage: &Stage, choices: &mut Choices<'_>) -> u64 {
    stage.tail().wrapping_add(choices.step())
}

/// Another geometry that takes as many bytes, or nearly.
fn forge_geometry(stage: &Stage, choices: &mut Choices<'_>) {
    let [publishers, subscribers] = [40, 44].map(|offset| Word { offset, width: 4 });
    let [capacity, history, flags] = [32, 48, 56].map(|offset| Word { offset, width: 8 });
    let add = |word, by| stage.write(word, stage.read(word).wrapping_add(by));
    match choices.below(4) {
        0 => {
            let by = choices.pick(&[1, 2, 3, u64::MAX, u64::MAX - 1]);
            add(publishers, by);
            add(subscribers, by.wrapping_neg());
        }
        1 => stage.write(capacity, choices.pick(&[16, 32, 64, 128, 1 << 26])),
        2 => stage.write(history, choices.below(40) as u64),
        _ => stage.write(flags, choices.below(16) as u64),
    }
}

/// Commits a packet that nobody published, with a header that may be anything.
fn forge_packet(stage: &Stage, choices: &mut Choices<'_>) {
    let at = near_tail(stage, choices);
    let len = match choices.below(6) {
        0 => 48,
        1 => choices.below(300) as u32,
        2 => (stage.layout.capacity * SLOT / 2) as u32 - 16,
        3 => (stage.layout.capacity * SLOT) as u32 - choices.below(65) as u32,
        4 => u32::MAX,
        _ => choices.word() as u32,
    };
    let type_index = choices.pick(&[0, 0, 0, 1, 63, 64, u16::MAX]);
    let kind = choices.pick(&[0, 0, 0, 1, 1, 2, 0x100, u16::MAX]);
    let descriptor = u64::from(len) | u64::from(type_index) << 32 | u64::from(kind) << 48;
    let [stamp, header, ..] = stage.layout.slot_words(at);
    stage.write(header, descriptor);
    stage.write(stamp, stage.stamp(at));
}

/// A claim by a publisher who is dead, unless it is an entry that somebody lives at.
fn forge_claim(stage: &Stage, choices: &mut Choices<'_>) {
    let at = stage.layout.publisher(choices.below(2) as u64);
    let position = near_tail(stage, choices);
    let most = stage.layout.capacity as usize;
    stage.write(Word { offset: at + 8, width: 8 }, choices.below(most + 2) as u64);
    stage.write(Word { offset: at, width: 8 }, position);
    stage.write(Word { offset: at + 128, width: 4 }, 1);
    if choices.one_in(2) {
        let tail = position.wrapping_add(choices.below(most) as u64);
        stage.write(Word { offset: super::layout::TAIL, width: 8 }, tail);
    }
}

/// A subscriber's seat and cursor.
fn forge_subscriber(stage: &Stage, choices: &mut Choices<'_>) {
    let at = stage.layout.subscriber(choices.below(4) as u64);
    let pin = choices.pick(&[0, PIN]);
    stage.write(Word { offset: at, width: 8 }, near_tail(stage, choices) | pin);
    let seat = choices.pick(&[0, 1, 2, 2, 3, u64::MAX]);
    stage.write(Word { offset: at + 128, width: 4 }, seat);
    if choices.one_in(2) {
        stage.write(Word { offset: at + 168, width: 8 }, 4);
        stage.write_bytes(at + 176, b"desk\0\0\0\0");
    }
}

/// Several bytes at once: copied from elsewhere in the segment, or all the same.
fn smear(stage: &Stage, choices: &mut Choices<'_>) {
    let layout = &stage.layout;
    let len = choices.pick(&[8, 16, 64, 128, 256]);
    let lines = (layout.words_end - 128) as usize / 64;
    let mut place = |in_slots: bool| match in_slots {
        true => layout.slot(choices.below(layout.capacity as usize) as u64),
        false => 128 + choices.below(lines) as u64 * 64,
    };
    let (from, to) = (place(false), place(len < 128));
    let len = if to < layout.slots { len.min((layout.words_end - to) as usize) } else { len };
    let bytes = match choices.below(4) {
        0 => vec![0; len],
        1 => vec![0xff; len],
        2 => choices.word().to_le_bytes().repeat(len / 8),
        _ => stage.read_bytes(from, len),
    };
    stage.write_bytes(to, &bytes);
}
