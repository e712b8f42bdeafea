//! Files that are whole, cut anywhere, and damaged at each bit.

use super::*;

const ENTRIES: [Entry<'static>; 8] = [
    Entry::Stream { id: 0, name: "shop/events", kind: "events" },
    Entry::Type { id: 1, fingerprint: u128::MAX - 1, name: "Price", schema: "{}" },
    Entry::Packet(Packet {
        stream: 0,
        kind: 1,
        time: 7,
        position: 8,
        sender: NONE,
        event: "x",
        archive: &[1, 2, 3],
    }),
    Entry::Gap { stream: 0, time: 9, slots: 10 },
    Entry::Removed { stream: 0, time: 11 },
    Entry::Worker { stream: 0, time: 12, id: 3, name: "billing" },
    Entry::Sample(Sample {
        stream: 0,
        time: 13,
        pid: 812,
        packets: UNKNOWN,
        slots: 14,
        lost: 15,
        reader: "subscriber 0",
        worker: "",
    }),
    Entry::Latency(Latency { stream: 0, time: 16, samples: 17, p50: 18, p99: 19, max: u64::MAX }),
];

fn file() -> Vec<u8> {
    let mut file = Vec::new();
    let Ok(mut writer) = Writer::new(&mut file) else { unreachable!("memory takes all") };
    for entry in &ENTRIES {
        assert!(writer.push(entry).and_then(|()| writer.write_block()).is_ok());
    }
    assert_eq!(writer.bytes(), writer.into_inner().len() as u64);
    file
}

/// The number of whole blocks, and the end.
fn read(file: &[u8]) -> (usize, Option<End>) {
    let Ok(mut reader) = Reader::new(file) else { return (0, None) };
    let mut count = 0;
    loop {
        match reader.next_block() {
            Ok(Ok(payload)) => {
                let entries: Vec<_> = Entries::of(&payload).collect();
                assert_eq!(entries, [Some(ENTRIES[count])]);
                count += 1;
            }
            Ok(Err(end)) => return (count, Some(end)),
            Err(error) => unreachable!("{error}"),
        }
    }
}

#[test]
fn entries_are_read_as_written() {
    assert_eq!(read(&file()), (ENTRIES.len(), Some(End::Whole)));
}

#[test]
fn a_file_that_is_cut_anywhere_keeps_its_whole_blocks() {
    let file = file();
    let mut most = 0;
    for len in 8..file.len() {
        let (count, end) = read(&file[..len]);
        assert!(count >= most && count < ENTRIES.len(), "{len}");
        assert!(matches!(end, Some(End::Cut(at)) if at <= len as u64) || end == Some(End::Whole));
        most = count;
    }
    assert_eq!(most, ENTRIES.len() - 1);
    assert_eq!(read(&file[..7]), (0, None));
}

#[test]
fn each_changed_bit_is_noticed() {
    let file = file();
    for bit in 0..file.len() * 8 {
        let mut changed = file.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        let (count, end) = read(&changed);
        assert!(count < ENTRIES.len(), "{bit}");
        match end {
            Some(End::Damaged { at, unread }) => {
                assert_eq!(at + unread, file.len() as u64, "{bit}");
            }
            // The first bytes of the file.
            None => assert!(bit < MAGIC.len() * 8, "{bit}"),
            _ => unreachable!("bit {bit}: {end:?}"),
        }
    }
}

#[test]
fn zeros_behind_the_blocks_are_damage() {
    let mut file = file();
    let at = file.len() as u64;
    file.extend([0; 20]);
    assert_eq!(read(&file), (ENTRIES.len(), Some(End::Damaged { at, unread: 20 })));
}

#[test]
fn an_entry_that_is_not_valid_ends_a_payload() {
    for payload in [&[9][..], &[1, 0, 0, 255, 255, 255, 255], &[4, 0]] {
        assert_eq!(Entries::of(payload).collect::<Vec<_>>(), [None]);
    }
}
