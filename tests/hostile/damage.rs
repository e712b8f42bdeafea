//! Damage to the bytes of a segment: random faults, and forged states that follow the layout.

use super::Choices;
use super::layout::{HEADER, SLOT, Word};
use super::segment::Object;

const PIN: u64 = 1 << 63;

/// Damages a part of the segment, possibly its identity.
pub(crate) fn damage_any(object: &Object, choices: &mut Choices<'_>) {
    match choices.below(6) {
        0 | 1 => damage_word(object, choices, &object.layout.identity()),
        2 => forge_geometry(object, choices),
        _ => damage_contents(object, choices),
    }
}

/// Damages a part of the segment other than its identity.
pub(crate) fn damage_contents(object: &Object, choices: &mut Choices<'_>) {
    match choices.below(12) {
        0 => {
            let position = near_tail(object, choices);
            damage_word(object, choices, &object.layout.slot_words(position));
        }
        1 => forge_packet(object, choices),
        2 => overwrite(object, choices),
        _ => damage_words(object, choices),
    }
}

/// Damages a part of the segment other than its identity and its slots.
pub(crate) fn damage_words(object: &Object, choices: &mut Choices<'_>) {
    let layout = &object.layout;
    if layout.call_cell_count > 0 && choices.one_in(2) {
        return damage_word(object, choices, &layout.call_cell_words());
    }
    match choices.below(10) {
        0..3 => damage_word(object, choices, &layout.head()),
        3..6 => damage_word(object, choices, &layout.entries()),
        6 if layout.call_cell_count == 0 => damage_word(object, choices, &layout.type_words()),
        7 => forge_claim(object, choices),
        8 if layout.latency_count > 0 => damage_word(object, choices, &layout.latency_words()),
        _ => forge_subscriber(object, choices),
    }
}

fn damage_word(object: &Object, choices: &mut Choices<'_>, words: &[Word]) {
    let word = choices.pick(words);
    let value = value(object, choices, word, words);
    object.write(word, value);
}

/// Chooses a value that is likely to cause a fault.
fn value(object: &Object, choices: &mut Choices<'_>, word: Word, words: &[Word]) -> u64 {
    let old = object.read(word);
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
        9 => object.read(choices.pick(words)),
        10 => old.wrapping_add(object.layout.capacity.wrapping_mul(choices.step())),
        11 => near_tail(object, choices),
        12 => near_tail(object, choices) | PIN,
        _ => choices.word(),
    }
}

/// Chooses a position within a lap or two of the tail.
fn near_tail(object: &Object, choices: &mut Choices<'_>) -> u64 {
    object.tail().wrapping_add(choices.step())
}

/// Writes another geometry of equal or similar size.
fn forge_geometry(object: &Object, choices: &mut Choices<'_>) {
    let [publishers, subscribers] = [40, 44].map(|offset| Word { offset, width: 4 });
    let [capacity, history, flags] = [32, 48, 56].map(|offset| Word { offset, width: 8 });
    let [cells, buffers] = [112, 116].map(|offset| Word { offset, width: 4 });
    let add = |word, by| object.write(word, object.read(word).wrapping_add(by));
    match choices.below(5) {
        0 => {
            let by = choices.pick(&[1, 2, 3, u64::MAX, u64::MAX - 1]);
            add(publishers, by);
            add(subscribers, by.wrapping_neg());
        }
        4 => {
            // As many buffers as before, or about as many.
            let (old, each) = (object.read(cells), object.read(buffers));
            object.write(cells, choices.pick(&[old, each, 1, old * 2, old / 2]));
            object.write(buffers, choices.pick(&[each, old, old * each, each / 2, each * 2]));
        }
        1 => object.write(capacity, choices.pick(&[16, 32, 64, 128, 1 << 26])),
        2 => object.write(history, choices.below(40) as u64),
        _ => object.write(flags, choices.below(64) as u64),
    }
}

/// Commits a packet that no publisher sent, with an arbitrary header.
fn forge_packet(object: &Object, choices: &mut Choices<'_>) {
    let at = near_tail(object, choices);
    commit(object, choices, at);
}

fn commit(object: &Object, choices: &mut Choices<'_>, at: u64) {
    let len = match choices.below(6) {
        0 => 48,
        1 => choices.below(300) as u32,
        2 => (object.layout.capacity * SLOT / 2) as u32 - 16,
        3 => (object.layout.capacity * SLOT) as u32 - choices.below(65) as u32,
        4 => u32::MAX,
        _ => choices.word() as u32,
    };
    // 0x300: a probe.
    let type_index = choices.pick(&[0, 0, 0, 1, 63, 64, 0x300, u16::MAX]);
    let kind = choices.pick(&[0, 0, 0, 1, 1, 2, 0x100, u16::MAX]);
    let descriptor = u64::from(len) | u64::from(type_index) << 32 | u64::from(kind) << 48;
    let [stamp, header, ..] = object.layout.slot_words(at);
    object.write(header, descriptor);
    object.write(stamp, object.stamp(at));
}

/// Forges a claim of a dead publisher. The entry may belong to a live publisher.
fn forge_claim(object: &Object, choices: &mut Choices<'_>) {
    let at = object.layout.publisher(choices.below(2) as u64);
    let position = near_tail(object, choices);
    let capacity = object.layout.capacity as usize;
    object.write(Word { offset: at + 8, width: 8 }, choices.below(capacity + 2) as u64);
    object.write(Word { offset: at, width: 8 }, position);
    object.write(Word { offset: at + 128, width: 4 }, 1);
    if choices.one_in(2) {
        let tail = position.wrapping_add(choices.below(capacity) as u64);
        object.write(Word { offset: super::layout::TAIL, width: 8 }, tail);
    }
}

/// Forges the entry owner and the cursor of a subscriber.
fn forge_subscriber(object: &Object, choices: &mut Choices<'_>) {
    let at = object.layout.subscriber(choices.below(4) as u64);
    let pin = choices.pick(&[0, PIN]);
    object.write(Word { offset: at, width: 8 }, near_tail(object, choices) | pin);
    let owner = choices.pick(&[0, 1, 2, 2, 3, u64::MAX]);
    object.write(Word { offset: at + 128, width: 4 }, owner);
    if choices.one_in(2) {
        object.write(Word { offset: at + 168, width: 8 }, 4);
        object.write_bytes(at + 176, b"shop\0\0\0\0");
    }
}

/// Forges a message header, and sometimes commits a packet with it.
pub(crate) fn forge_message(object: &Object, choices: &mut Choices<'_>) {
    // Chooses mostly an existing packet that has not been read yet.
    let at = object.tail().wrapping_sub(choices.below(16) as u64);
    let mut header = [0; 48];
    header[..2].copy_from_slice(&(choices.pick(&[0, 1, 2, 3, 4, 127, u16::MAX])).to_le_bytes());
    header[2] = choices.pick(&[0, 1, 2, 3, 32, 33, 255]);
    header[3] = choices.pick(&[0, 0, 1, 8, 15, 16, 255]);
    let len = choices.pick(&[0, 8, 16, 32, 32, 48, 64, 128, 1 << 12, 1 << 31, u32::MAX - 15]);
    header[4..8].copy_from_slice(&len.to_le_bytes());
    header[8..16].copy_from_slice(&(choices.below(70) as u64 + choices.word() % 2).to_le_bytes());
    let name: [u8; 16] = match choices.below(4) {
        0 => *b"open\0\0\0\0\0\0\0\0\0\0\0\0",
        1 => *b"error\xff\xfe **::*\0\0\0",
        2 => [choices.below(256) as u8; 16],
        _ => (u128::from(choices.word()) | u128::from(choices.word()) << 64).to_le_bytes(),
    };
    header[16..32].copy_from_slice(&name);
    let written = choices.pick(&[4, 8, 16, 32, 32, 48]);
    object.write_bytes(object.layout.slot(at) + HEADER, &header[..written]);
    if choices.one_in(3) {
        commit(object, choices, at);
    }
}

/// Changes the length of the file.
pub(crate) fn change_len(object: &Object, choices: &mut Choices<'_>) {
    let end = object.layout.end;
    let len = match choices.below(7) {
        0 => 0,
        1 => end - 1,
        2 => end - 4096,
        3 => end + 1,
        4 => 2 * end,
        5 => choices.pick(&[1, 8, 80, 128, 767, 768, 4096]),
        _ => choices.below(1 << 17) as u64,
    };
    object.set_len(len);
}

/// Damages a board: its cells, its buffers, or the pins of its readers.
pub(crate) fn damage_board(object: &Object, choices: &mut Choices<'_>) {
    match choices.below(6) {
        0 => {
            let at = any_buffer(object, choices) + HEADER;
            let room = (object.layout.span * SLOT - HEADER) as usize;
            let from = choices.below(room);
            let len = choices.pick(&[1, 2, 8, 64]).min(room - from);
            let byte = choices.pick(&[0, 1, 0x7f, 0x80, 0xff]);
            object.write_bytes(at + from as u64, &vec![byte; len]);
        }
        _ => damage_board_words(object, choices),
    }
}

/// Damages a board, other than its values.
pub(crate) fn damage_board_words(object: &Object, choices: &mut Choices<'_>) {
    let layout = &object.layout;
    match choices.below(8) {
        0..3 => damage_word(object, choices, &layout.cell_words()),
        3 => {
            // A value that no writer stored, in a buffer that there may not be.
            let (version, buffer) = (choices.word() >> 11, choices.below(2048) as u64);
            let buffer = choices.pick(&[0, 1, 2, layout.cell_buffers, buffer]);
            let version = choices.pick(&[1, 2, version]);
            let offset = layout.cell(choices.below(4) as u64);
            object.write(Word { offset, width: 8 }, version << 11 | buffer);
        }
        4 => {
            // The length of a value.
            let offset = any_buffer(object, choices) + 8;
            let room = layout.span * SLOT - HEADER;
            let any = choices.word();
            let len =
                choices.pick(&[0, 1, 8, 12, room - 1, room, room + 1, u64::MAX, 1 << 32, any]);
            object.write(Word { offset, width: 8 }, len);
        }
        5 => {
            // The pin of a reader.
            let offset = layout.subscriber(choices.below(4) as u64);
            let (cell, buffer) = (choices.below(4) as u64, choices.below(2048) as u64);
            let buffer = choices.pick(&[0, 1, 2, 2046, 2047, buffer]);
            let any = choices.word();
            let pin = choices.pick(&[cell << 11 | buffer, u64::MAX, any]);
            object.write(Word { offset, width: 8 }, pin);
        }
        6 => {
            // The owner of an entry, perhaps of a writer that holds a lock.
            let entry = choices.below(4) as u64;
            let at = [layout.publisher(entry), layout.subscriber(entry)];
            let offset = choices.pick(&at) + 128;
            object.write(Word { offset, width: 4 }, choices.pick(&[0, 1, 2, 3, u64::MAX]));
            let lock = layout.cell(choices.below(4) as u64) + 8;
            object.write(Word { offset: lock, width: 8 }, choices.below(6) as u64);
        }
        _ => damage_words(object, choices),
    }
}

fn any_buffer(object: &Object, choices: &mut Choices<'_>) -> u64 {
    object.layout.buffer(choices.below(4) as u64, choices.below(8) as u64)
}

/// Forges a worker slot: occupied, away, left or dead.
pub(crate) fn forge_worker_slot(object: &Object, choices: &mut Choices<'_>) {
    let at = object.layout.worker_slot(choices.below(4) as u64);
    let names: [&[u8]; 8] =
        [b"own", b"peer", b"third", b"", b"../peer", b"~", &[0xff; 64], "\u{e9}/".as_bytes()];
    let name = choices.pick(&names);
    let len = match choices.below(4) {
        0 => choices.pick(&[0, 1, 63, 64, 65, u64::MAX]),
        _ => name.len() as u64,
    };
    if choices.one_in(2) {
        object.write(Word { offset: at + 144, width: 8 }, len);
        object.write_bytes(at + 152, name);
    }
    let old = object.read(Word { offset: at, width: 8 });
    let generation = match choices.below(4) {
        0 => old >> 8,
        1 => (old >> 8) + 1,
        2 => choices.below(3) as u64,
        _ => choices.word() >> 8,
    };
    let state = choices.pick(&[0, 1, 2, 2, 3, 15]);
    let phase = generation << 8 | (choices.below(16) as u64) << 4 | state;
    object.write(Word { offset: at, width: 8 }, phase);
}

/// Damages a word of a worker slot.
pub(crate) fn damage_worker_slot(object: &Object, choices: &mut Choices<'_>) {
    damage_word(object, choices, &object.layout.worker_slot_words());
}

/// Overwrites several bytes: copied from elsewhere in the segment, or all equal.
fn overwrite(object: &Object, choices: &mut Choices<'_>) {
    let layout = &object.layout;
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
        _ => object.read_bytes(from, len),
    };
    object.write_bytes(to, &bytes);
}
