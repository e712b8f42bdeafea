//! Cells of the latest value: `Latest` and `Board`, among threads and processes, also killed ones.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod support;

use packetring::board::{
    BoardBuilder, CellHolder, CellValue, ChangedError, ChangedTimeoutError, LatestReader,
    LatestWriter, ReadError, TryChangedError, TryWriteError, WriteError, WriteTimeoutError,
};
use packetring::inventory::ObjectKind;
use packetring::{
    Board, Detachment, Latest, OpenError, Ring, Selectable, Worker, packet, select, select_timeout,
    try_select,
};
use rustix::event::{PollFd, PollFlags, poll};
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;
use support::peer::{self, Peer, Role};
use support::{
    LONG, Noise, SHORT, Watch, assert_gone, object, this_thread, unique, wait_until,
    wait_until_asleep,
};

/// A value whose content can be verified.
#[packet]
struct Note {
    sequence: u64,
    bytes: Vec<u8>,
}

impl Note {
    fn make(sequence: u64) -> Self {
        let mut noise = Noise::of(7, sequence);
        let len = noise.below(400);
        Self { sequence, bytes: noise.bytes(len) }
    }
}

impl ArchivedNote {
    #[track_caller]
    fn check(&self) -> u64 {
        let sequence = self.sequence.to_native();
        assert_eq!(self.bytes, Note::make(sequence).bytes, "{sequence} is torn");
        sequence
    }
}

fn builder() -> BoardBuilder {
    Latest::<u64>::builder()
}

/// Runs `body` over a cell on the heap and over one in shared memory.
fn on_both(settings: impl Fn() -> BoardBuilder, body: impl Fn(Latest<Note>)) {
    let _watch = support::Watch::start();
    body(settings().heap_latest().unwrap());
    let name = unique("latest");
    body(settings().open_latest(&name).unwrap());
    assert_gone(&name);
}

fn pair(latest: &Latest<Note>) -> (LatestWriter<Note>, LatestReader<Note>) {
    (latest.writer().unwrap(), latest.reader().unwrap())
}

#[test]
fn the_latest_value_is_read_at_any_time_and_by_late_joiners() {
    on_both(builder, |latest| {
        let (mut writer, mut reader) = pair(&latest);
        assert!(matches!(reader.read(), Err(ReadError::NoValue)));
        for sequence in 0..200 {
            writer.write(&Note::make(sequence)).unwrap();
            for _ in 0..2 {
                let value = reader.read().unwrap();
                assert_eq!((value.check(), CellValue::version(&value)), (sequence, sequence + 1));
            }
            if sequence % 50 == 0 {
                assert_eq!(latest.reader().unwrap().read().unwrap().check(), sequence);
            }
        }
        drop(writer);
        let mut late = reader.try_clone().unwrap();
        assert_eq!(late.read().unwrap().check(), 199);
        let owned = CellValue::unpack(late.read().unwrap()).unwrap();
        assert_eq!(owned.sequence, 199);
        // A successor goes on.
        latest.writer().unwrap().write(&Note::make(200)).unwrap();
        assert_eq!(late.read().unwrap().check(), 200);
    });
}

#[test]
fn a_value_in_hand_is_never_rewritten() {
    on_both(builder, |latest| {
        let (mut writer, mut reader) = pair(&latest);
        writer.write(&Note::make(0)).unwrap();
        let mut others: Vec<_> = (0..20).map(|_| latest.reader().unwrap()).collect();
        let held = reader.read().unwrap();
        let mut values = Vec::new();
        for (sequence, other) in (1..).zip(&mut others) {
            writer.try_write(&Note::make(sequence)).unwrap();
            values.push(other.read().unwrap());
        }
        for sequence in 21..300 {
            writer.try_write(&Note::make(sequence)).unwrap();
        }
        assert_eq!(held.check(), 0);
        for (sequence, value) in (1..).zip(&values) {
            assert_eq!(value.check(), sequence);
        }
    });
}

#[test]
fn a_reader_waits_for_a_change() {
    on_both(builder, |latest| {
        let (mut writer, mut reader) = pair(&latest);
        assert!(matches!(reader.try_changed(), Err(TryChangedError::Unchanged)));
        let late = reader.wait_changed_timeout(SHORT).map(drop);
        assert!(matches!(late, Err(ChangedTimeoutError::Timeout)));
        writer.write(&Note::make(1)).unwrap();
        assert_eq!(reader.try_changed().unwrap().check(), 1);
        assert!(matches!(reader.try_changed(), Err(TryChangedError::Unchanged)));
        // Several changes count as one.
        writer.write(&Note::make(2)).unwrap();
        writer.write(&Note::make(3)).unwrap();
        assert_eq!(reader.wait_changed().unwrap().check(), 3);
        let mut answer = latest.reader().unwrap();
        let waiting = thread::spawn(move || {
            let mut last = answer.wait_changed().unwrap().check();
            while last < 50 {
                let value = answer.wait_changed_timeout(LONG).unwrap().check();
                assert!(value > last);
                last = value;
            }
        });
        let mut sequence = 3;
        while !waiting.is_finished() {
            sequence += 1;
            writer.write(&Note::make(sequence)).unwrap();
            if sequence % 7 == 0 {
                thread::sleep(SHORT);
            }
        }
        waiting.join().unwrap();
    });
}

#[test]
fn readers_beside_a_fast_writer_see_whole_values_in_order() {
    for settings in [|| builder(), || builder().buffers(2), || builder().max_readers(3)] {
        on_both(settings, |latest| {
            let (mut writer, reader) = pair(&latest);
            writer.write(&Note::make(0)).unwrap();
            let stop = AtomicBool::new(false);
            thread::scope(|scope| {
                for _ in 0..2 {
                    let mut reader = reader.try_clone().unwrap();
                    let stop = &stop;
                    scope.spawn(move || {
                        let mut last = 0;
                        for _ in 0..2_000 {
                            let value = reader.read().unwrap();
                            let sequence = value.check();
                            assert!(sequence >= last);
                            last = sequence;
                        }
                        stop.store(true, Ordering::Relaxed);
                    });
                }
                let mut sequence = 0;
                while !stop.load(Ordering::Relaxed) {
                    sequence += 1;
                    writer.write(&Note::make(sequence)).unwrap();
                }
            });
        });
    }
}

#[test]
fn two_buffers_let_a_reader_stop_the_writer_and_name_it() {
    on_both(
        || builder().buffers(2),
        |latest| {
            let (mut writer, mut reader) = pair(&latest);
            writer.write(&Note::make(0)).unwrap();
            writer.try_write(&Note::make(1)).unwrap();
            let held = reader.read().unwrap();
            writer.try_write(&Note::make(2)).unwrap();
            let pid = std::process::id();
            let refused = writer.try_write(&Note::make(3)).unwrap_err();
            assert!(
                matches!(refused, TryWriteError::Busy { holder: CellHolder::Reader { pid: p } } if p == pid)
            );
            let late = writer.write_timeout(&Note::make(3), SHORT).unwrap_err();
            assert!(late.to_string().contains("more buffers"), "{late}");
            assert!(matches!(late, WriteTimeoutError::Timeout { .. }));
            assert_eq!(held.check(), 1);
            drop(held);
            writer.try_write(&Note::make(3)).unwrap();
            assert_eq!(reader.read().unwrap().check(), 3);
        },
    );
}

#[test]
fn several_writers_by_a_choice() {
    on_both(
        || builder().max_writers(4),
        |latest| {
            let writers: Vec<_> = (0..4).map(|_| latest.writer().unwrap()).collect();
            assert!(matches!(latest.writer(), Err(OpenError::Full { what: "writers", limit: 4 })));
            let mut reader = latest.reader().unwrap();
            thread::scope(|scope| {
                for (index, mut writer) in (0..).zip(writers) {
                    scope.spawn(move || {
                        for round in 0..500 {
                            writer.write(&Note::make(index + 4 * round)).unwrap();
                        }
                    });
                }
                for _ in 0..500 {
                    if let Ok(value) = reader.read() {
                        value.check();
                    }
                }
            });
            assert_eq!(CellValue::version(&reader.read().unwrap()), 2000);
        },
    );
}

#[test]
fn each_refusal_has_its_own_error() {
    let name = unique("latest-errors");
    let latest = builder().max_size(64).open_latest::<Note>(&name).unwrap();
    let mut writer = latest.writer().unwrap();
    let second = latest.writer().unwrap_err();
    let pid = std::process::id();
    assert!(matches!(second, OpenError::PublisherTaken { pid: p, .. } if p == pid), "{second}");
    let large = writer.write(&Note { sequence: 1, bytes: vec![0; 100] }).unwrap_err();
    assert!(matches!(large, WriteError::TooLarge { needed: 120, limit: 64 }), "{large:?}");
    assert!(large.to_string().contains("max_size(120)"), "{large}");
    let other = Latest::<u64>::open(&name).unwrap_err();
    assert!(matches!(other, OpenError::TypeMismatch { .. }), "{other}");
    let ring = Ring::open(&name).unwrap_err();
    assert!(matches!(ring, OpenError::SettingsMismatch { setting: "kind", .. }), "{ring}");
    let size = builder().max_size(65).open_latest::<Note>(&name).unwrap_err();
    assert!(matches!(size, OpenError::SettingsMismatch { setting: "max_size", .. }), "{size}");
    for bad in [builder().buffers(1), builder().max_readers(0), builder().max_size(1 << 31)] {
        let bad = bad.heap_latest::<u64>().unwrap_err();
        assert!(matches!(bad, OpenError::BadSettings { .. }), "{bad}");
    }
    drop((latest, writer));
    assert_gone(&name);
    let ring = Ring::open(&name).unwrap();
    let board = Board::<u64>::open(&name).unwrap_err();
    assert!(matches!(board, OpenError::SettingsMismatch { setting: "kind", .. }), "{board}");
    drop(ring);
}

#[test]
fn the_type_of_a_value_stays_without_endpoints() {
    let name = unique("latest-type");
    let latest = Latest::<Note>::open(&name).unwrap();
    latest.writer().unwrap().write(&Note::make(5)).unwrap();
    let refused = Latest::<[u8; 48]>::open(&name).unwrap_err();
    assert!(matches!(refused, OpenError::TypeMismatch { .. }), "{refused}");
    let again = Latest::<Note>::open(&name).unwrap();
    assert_eq!(again.reader().unwrap().read().unwrap().check(), 5);
}

/// Overwrites a word of a segment's file.
fn damage(name: &str, offset: u64, word: u64) {
    use std::os::unix::fs::FileExt;
    let file = std::fs::OpenOptions::new().write(true).open(object(name)).unwrap();
    file.write_all_at(&word.to_le_bytes(), offset).unwrap();
}

#[test]
fn damaged_words_are_errors() {
    // Behind head, entries, types and schema text: the head of the cell, then its buffers.
    const CELL: u64 = 768 + 256 * (1 + 8) + 64 * 128 + 512 * 4 + 32 * 1024;
    let name = unique("latest-damaged");
    let latest = builder().max_readers(8).open_latest::<Note>(&name).unwrap();
    let (mut writer, mut reader) = pair(&latest);
    writer.write(&Note::make(1)).unwrap();
    for word in [u64::MAX, 1 << 11 | 1000, 5, 1 << 63 | 2046] {
        damage(&name, CELL, word);
        let error = reader.read().map(drop).unwrap_err();
        assert!(matches!(error, ReadError::Corrupt(_)), "{error}");
        writer.write(&Note::make(2)).unwrap();
        assert_eq!(reader.read().unwrap().check(), 2);
    }
    // Each buffer has another length than its value.
    for len in [u64::MAX, 1 << 32, 1009, 7] {
        writer.write(&Note::make(3)).unwrap();
        for buffer in 0..10 {
            damage(&name, CELL + 128 + buffer * 1024 + 8, len);
        }
        let error = reader.read().map(drop).unwrap_err();
        assert!(matches!(error, ReadError::Corrupt(_)), "{error}");
    }
    writer.write(&Note::make(4)).unwrap();
    assert_eq!(reader.read().unwrap().check(), 4);
    // The lock is of no use in a board for one writer.
    damage(&name, CELL + 8, u64::MAX);
    writer.write(&Note::make(5)).unwrap();
    let shared = unique("latest-damaged");
    let latest = builder().max_readers(7).max_writers(2).open_latest::<Note>(&shared).unwrap();
    let (mut writer, mut reader) = pair(&latest);
    for lock in [u64::MAX, 3, 2] {
        damage(&shared, CELL + 8, lock);
        writer.write_timeout(&Note::make(lock), LONG).unwrap();
        assert_eq!(reader.read().unwrap().check(), lock);
    }
}

fn board() -> BoardBuilder {
    Board::<u64>::builder().keys(300)
}

#[test]
fn a_board_has_a_value_for_each_key() {
    let name = unique("board");
    let board = board().open::<u64>(&name).unwrap();
    let (mut writer, mut reader) = (board.writer().unwrap(), board.reader().unwrap());
    let key = |number: u64| format!("key-{number}");
    assert!(matches!(reader.read("key-0"), Err(ReadError::UnknownKey(_))));
    for number in 0..300 {
        writer.write(&key(number), &number).unwrap();
    }
    let full = writer.write("one more", &0).unwrap_err();
    assert!(matches!(full, WriteError::BoardFull { keys: 300, .. }), "{full}");
    for bad in ["", &"x".repeat(65)] {
        assert!(matches!(writer.write(bad, &0), Err(WriteError::BadKey { .. })));
    }
    assert_eq!(board.keys(), (0..300).map(key).collect::<Vec<_>>());
    let mut other = Board::<u64>::open(&name).unwrap();
    for number in (0..300).rev() {
        assert_eq!(*reader.read(&key(number)).unwrap(), number);
    }
    let cell = reader.cell("key-7").unwrap();
    assert_eq!(writer.cell("key-7").unwrap(), cell);
    writer.write(&cell, &70).unwrap();
    assert_eq!(*reader.wait_changed(&cell).unwrap(), 70);
    let mut stranger = other.reader().unwrap();
    assert!(matches!(stranger.read(&cell), Err(ReadError::UnknownKey(_))));
    assert_eq!(*stranger.read("key-7").unwrap(), 70);
    other = Board::<u64>::open(&name).unwrap();
    drop((writer, reader, stranger, board, other));
    assert_gone(&name);
}

#[test]
fn a_change_of_one_key_wakes_its_readers_alone() {
    let board = board().heap::<u64>().unwrap();
    let mut writer = board.writer().unwrap();
    writer.write("a", &1).unwrap();
    writer.write("b", &1).unwrap();
    let mut reader = board.reader().unwrap();
    assert_eq!(*reader.wait_changed("a").unwrap(), 1);
    writer.write("b", &2).unwrap();
    assert!(matches!(reader.try_changed("a"), Err(TryChangedError::Unchanged)));
    assert_eq!(*reader.try_changed("b").unwrap(), 2);
}

// ---- select ----

#[test]
fn a_latest_value_is_selected_until_it_is_read() {
    on_both(builder, |latest| {
        let (mut writer, mut reader) = pair(&latest);
        let ring = Ring::builder().heap().unwrap();
        let (mut out, mut numbers) = (ring.publisher().unwrap(), ring.subscriber::<u64>().unwrap());
        assert_eq!(try_select(&mut [&mut numbers, &mut reader]), None);
        assert_eq!(select_timeout(&mut [&mut reader], SHORT), None);
        for sequence in 1..20 {
            writer.write(&Note::make(2 * sequence)).unwrap();
            writer.write(&Note::make(2 * sequence + 1)).unwrap();
            assert_eq!(select(&mut [&mut numbers, &mut reader]), 1);
            // Until it is read.
            assert_eq!(try_select(&mut [&mut numbers, &mut reader]), Some(1));
            // Both are ready: each gets its turn.
            out.send(&sequence).unwrap();
            let turns = [0, 1].map(|_| select(&mut [&mut numbers, &mut reader]));
            assert_eq!(turns.iter().sum::<usize>(), 1, "{turns:?}");
            assert_eq!(reader.read().unwrap().check(), 2 * sequence + 1);
            assert_eq!(try_select(&mut [&mut reader]), None);
            assert_eq!(select(&mut [&mut reader, &mut numbers]), 1);
            assert_eq!(*numbers.recv().unwrap(), sequence);
        }
        // A value in hand does not matter to another reader.
        let mut other = latest.reader().unwrap();
        let _held = reader.read().unwrap();
        assert_eq!(select(&mut [&mut other]), 0);
    });
}

#[test]
fn a_key_of_a_board_is_selected_until_it_is_read() {
    let board = board().heap::<u64>().unwrap();
    let (mut writer, mut reader) = (board.writer().unwrap(), board.reader().unwrap());
    let keys = ["a", "b", "c"].map(|key| writer.cell(key).unwrap());
    let ready = |reader: &packetring::board::BoardReader<u64>| {
        let mut changes = keys.map(|key| reader.change_of(key).unwrap());
        let [a, b, c] = &mut changes;
        try_select(&mut [a, b, c])
    };
    assert_eq!(ready(&reader), None);
    for (number, index) in [(1, 2), (2, 0), (3, 1), (4, 1)] {
        writer.write(&keys[index], &number).unwrap();
        assert_eq!(ready(&reader), Some(index));
        // A read of another key changes nothing.
        let _ = reader.read(&keys[(index + 1) % 3]).map(drop);
        assert_eq!(ready(&reader), Some(index));
        assert_eq!(*reader.read(&keys[index]).unwrap(), number);
        assert_eq!(ready(&reader), None);
    }
    let other = Board::<u64>::builder().heap::<u64>().unwrap();
    let stranger = other.reader().unwrap();
    assert!(matches!(stranger.change_of(keys[0]), Err(ReadError::UnknownKey(_))));
}

/// Selects from an inbox, a latest value and a key of a board, and reports each. Arguments:
/// cluster.
fn choose(role: &Role) {
    let worker = Worker::join(&role.arguments[0], "screen").unwrap();
    let mut inbox = worker.inbox().unwrap();
    let mut level = worker.latest::<u64>("level").unwrap().reader().unwrap();
    let mut rates = worker.board::<u64>("rates").unwrap().reader().unwrap();
    let rate = rates.cell("EURUSD").unwrap();
    peer::say(&this_thread().to_string());
    loop {
        let mut change = rates.change_of(rate).unwrap();
        let found = match select(&mut [&mut inbox, &mut level, &mut change]) {
            0 => {
                let message = inbox.recv().unwrap();
                let number = message.open_as::<u64>().unwrap().to_native();
                message.ack();
                format!("inbox {number}")
            }
            1 => format!("level {}", *level.try_changed().unwrap()),
            _ => format!("rate {}", *rates.try_changed(&rate).unwrap()),
        };
        peer::say(&found);
        if found == "inbox 0" {
            return worker.leave().unwrap();
        }
    }
}

#[test]
fn a_thread_that_selects_is_woken_by_a_write_of_another_process() {
    let cluster = unique("choose");
    let worker = Worker::join(&cluster, "meter").unwrap();
    let (level, rates) =
        (worker.latest::<u64>("level").unwrap(), worker.board::<u64>("rates").unwrap());
    let (mut level, mut rates) = (level.writer().unwrap(), rates.writer().unwrap());
    let rate = rates.cell("EURUSD").unwrap();
    rates.cell("EURJPY").unwrap();
    let mut screen = Peer::start(&format!("choose {cluster}"));
    let thread = screen.hear().parse().unwrap();
    for number in 1..20 {
        wait_until_asleep(thread);
        level.write(&number).unwrap();
        screen.expect(&format!("level {number}"));
        wait_until_asleep(thread);
        worker.send_to("screen", &number).unwrap();
        screen.expect(&format!("inbox {number}"));
        wait_until_asleep(thread);
        rates.write("EURJPY", &number).unwrap();
        rates.write(&rate, &number).unwrap();
        screen.expect(&format!("rate {number}"));
    }
    worker.send_to("screen", &0_u64).unwrap();
    screen.expect("inbox 0");
    screen.finish();
}

#[test]
fn workers_share_latest_values_and_boards_of_their_cluster() {
    let cluster = unique("latest-cluster");
    let (meter, screen) =
        (Worker::join(&cluster, "meter").unwrap(), Worker::join(&cluster, "screen").unwrap());
    let level = meter.latest::<f64>("level").unwrap();
    level.writer().unwrap().write(&0.7).unwrap();
    assert_eq!(*screen.latest::<f64>("level").unwrap().reader().unwrap().read().unwrap(), 0.7);
    // A topic of this name is another object.
    screen.subscriber::<u64>("level").unwrap();
    let rates = screen.board_with::<u64>("rates", board()).unwrap();
    rates.writer().unwrap().write("EURUSD", &108).unwrap();
    let again = meter.board::<u64>("rates").unwrap();
    assert_eq!(*again.reader().unwrap().read("EURUSD").unwrap(), 108);
    let kinds = packetring::inventory().unwrap();
    let own = kinds.iter().filter(|found| found.cluster.as_ref() == Some(&cluster));
    let boards = own.filter(|found| found.kind == ObjectKind::Board);
    assert_eq!(boards.count(), 2);
    let text = meter.latest::<u64>("level").unwrap_err().to_string();
    assert!(text.contains("f64") && text.contains("u64"), "{text}");
    drop((level, rates, again));
    meter.leave().unwrap();
    screen.leave().unwrap();
    let left = packetring::inventory().unwrap();
    assert!(!left.iter().any(|found| found.cluster.as_ref() == Some(&cluster)));
}

// ---- Names that disappear ----

/// A latest value whose name was removed, with a value that its reader has read. No writer is left.
fn abandoned() -> (Latest<Note>, LatestReader<Note>) {
    let name = unique("latest-removed");
    let latest = builder().open_latest(&name).unwrap();
    let (mut writer, mut reader) = pair(&latest);
    writer.write(&Note::make(1)).unwrap();
    reader.read().unwrap().check();
    drop(writer);
    fs::remove_file(object(&name)).unwrap();
    (latest, reader)
}

/// Checks that a wait ended because nobody can write any more, and that the value stays readable.
#[track_caller]
fn assert_cut_off(reader: &mut LatestReader<Note>) {
    let error = reader.wait_changed().map(drop).unwrap_err();
    assert!(matches!(error, ChangedError::Detached(Detachment::NameRemoved)), "{error}");
    assert!(error.to_string().contains("RemoveIPC"), "{error}");
    assert_eq!(reader.read().unwrap().check(), 1);
}

#[test]
fn a_wait_for_a_change_ends_once_nobody_can_write_any_more() {
    let _watch = Watch::start();
    assert_cut_off(&mut abandoned().1);

    let (_latest, mut reader) = abandoned();
    let error = reader.wait_changed_timeout(LONG).map(drop).unwrap_err();
    assert!(matches!(error, ChangedTimeoutError::Detached(_)), "{error}");
    assert_cut_off(&mut reader);

    // A reader that polls, and one that waits for short times.
    let (latest, mut reader) = abandoned();
    wait_until("a reader that polls is told", || {
        matches!(reader.try_changed().map(drop), Err(TryChangedError::Detached(_)))
    });
    assert_eq!(latest.detachment(), Some(Detachment::NameRemoved));
    let (_latest, mut reader) = abandoned();
    wait_until("a reader that waits for short times is told", || {
        let outcome = reader.wait_changed_timeout(SHORT).map(drop);
        matches!(outcome, Err(ChangedTimeoutError::Detached(_)))
    });

    // Nor does a second reader wake the first: both end.
    let name = unique("latest-removed");
    let latest = builder().open_latest::<Note>(&name).unwrap();
    let mut readers = [latest.reader().unwrap(), latest.reader().unwrap()];
    fs::remove_file(object(&name)).unwrap();
    for reader in &mut readers {
        let error = reader.wait_changed().map(drop).unwrap_err();
        assert!(matches!(error, ChangedError::Detached(Detachment::NameRemoved)), "{error}");
        assert!(matches!(reader.read(), Err(ReadError::NoValue)));
    }
}

#[test]
fn a_select_and_a_descriptor_end_once_nobody_can_write_any_more() {
    let _watch = Watch::start();
    let ring = Ring::builder().heap().unwrap();
    let mut numbers = ring.subscriber::<u64>().unwrap();
    let _publisher = ring.publisher::<u64>().unwrap();
    let (_latest, mut reader) = abandoned();
    assert_eq!(select(&mut [&mut numbers, &mut reader]), 1);
    assert_cut_off(&mut reader);

    let (_latest, mut reader) = abandoned();
    assert_eq!(select_timeout(&mut [&mut numbers, &mut reader], LONG), Some(1));
    assert_cut_off(&mut reader);

    let (_latest, mut reader) = abandoned();
    let ready = reader.readiness().unwrap();
    while let Err(error) = reader.try_changed().map(drop) {
        if matches!(error, TryChangedError::Detached(_)) {
            break;
        }
        poll(&mut [PollFd::new(&ready, PollFlags::IN)], None).unwrap();
    }
    assert_cut_off(&mut reader);
}

#[test]
fn a_wait_for_a_key_ends_once_nobody_can_write_any_more() {
    let _watch = Watch::start();
    let name = unique("board-removed");
    let opened = board().open::<u64>(&name).unwrap();
    let (mut writer, mut reader) = (opened.writer().unwrap(), opened.reader().unwrap());
    writer.write("a", &1).unwrap();
    writer.write("b", &2).unwrap();
    let keys = [reader.cell("a").unwrap(), reader.cell("b").unwrap()];
    for key in &keys {
        reader.read(key).unwrap();
    }
    fs::remove_file(object(&name)).unwrap();
    // A writer that was there before goes on, and no other one comes.
    writer.write("b", &3).unwrap();
    assert_eq!(*reader.wait_changed("b").unwrap(), 3);
    drop(writer);
    for error in [
        opened.writer().map(drop).unwrap_err(),
        opened.reader().map(drop).unwrap_err(),
        reader.try_clone().map(drop).unwrap_err(),
    ] {
        let cause = Detachment::NameRemoved;
        assert!(error.to_string().starts_with("board \"test-board-removed"), "{error}");
        assert!(matches!(error, OpenError::Detached { cause: c, .. } if c == cause), "{error}");
    }
    let [mut a, mut b] = [0, 1].map(|index| reader.change_of(keys[index]).unwrap());
    let index = select(&mut [&mut a, &mut b]);
    let error = reader.try_changed(&keys[index]).map(drop).unwrap_err();
    assert!(matches!(error, TryChangedError::Detached(Detachment::NameRemoved)), "{error}");
    let error = reader.wait_changed("a").map(drop).unwrap_err();
    assert!(matches!(error, ChangedError::Detached(Detachment::NameRemoved)), "{error}");
    assert_eq!(*reader.read("a").unwrap(), 1);
    assert_eq!(*reader.read("b").unwrap(), 3);
}

/// Writes a value for each line that it hears. Arguments: cell.
fn write_when_told(role: &Role) {
    let latest = Latest::<Note>::open(&role.arguments[0]).unwrap();
    let mut writer = latest.writer().unwrap();
    peer::say("ready");
    for sequence in 1.. {
        if peer::hear().is_none() {
            return;
        }
        writer.write(&Note::make(sequence)).unwrap();
    }
}

#[test]
fn a_living_writer_of_a_removed_name_keeps_waits_going_until_it_dies() {
    let _watch = Watch::start();
    let name = unique("latest-writer");
    let latest = builder().open_latest::<Note>(&name).unwrap();
    let mut reader = latest.reader().unwrap();
    let mut writing = Peer::start(&format!("write_when_told {name}"));
    writing.expect("ready");
    fs::remove_file(object(&name)).unwrap();
    assert_eq!(latest.detachment(), Some(Detachment::NameRemoved));
    // Longer than the time between two looks.
    let late = reader.wait_changed_timeout(Duration::from_secs(3)).map(drop);
    assert!(matches!(late, Err(ChangedTimeoutError::Timeout)), "{late:?}");
    for sequence in 1..5 {
        writing.tell("write");
        assert_eq!(reader.wait_changed().unwrap().check(), sequence);
    }
    writing.kill();
    let error = reader.wait_changed().map(drop).unwrap_err();
    assert!(matches!(error, ChangedError::Detached(Detachment::NameRemoved)), "{error}");
    assert_eq!(reader.read().unwrap().check(), 4);
}

/// Closes all descriptors as a daemon does, and waits for a change. Arguments: cell.
fn lose_descriptors(role: &Role) {
    let latest = builder().buffers(2).open_latest::<Note>(&role.arguments[0]).unwrap();
    let (mut writer, mut reader) = pair(&latest);
    let mut other = latest.reader().unwrap();
    writer.write(&Note::make(1)).unwrap();
    reader.read().unwrap().check();
    // SAFETY: the library must survive this; nothing else here uses a descriptor above 2.
    assert_eq!(unsafe { libc::close_range(3, u32::MAX, 0) }, 0);
    let error = reader.wait_changed().map(drop).unwrap_err();
    assert!(matches!(error, ChangedError::Detached(Detachment::DescriptorClosed)), "{error}");
    // What needs no descriptor goes on.
    writer.write(&Note::make(2)).unwrap();
    assert_eq!(reader.wait_changed().unwrap().check(), 2);
    // A writer that waits cannot tell which readers live.
    let held = other.read().unwrap();
    writer.write(&Note::make(3)).unwrap();
    let error = writer.write(&Note::make(4)).unwrap_err();
    assert!(matches!(error, WriteError::Detached(Detachment::DescriptorClosed)), "{error}");
    assert_eq!(held.check(), 2);
    for error in [latest.reader().map(drop).unwrap_err(), latest.writer().map(drop).unwrap_err()] {
        assert!(matches!(error, OpenError::Detached { .. }), "{error}");
    }
    peer::say("done");
}

#[test]
fn a_wait_without_a_descriptor_ends() {
    let _watch = Watch::start();
    let name = unique("latest-descriptor");
    let mut losing = Peer::start(&format!("lose_descriptors {name}"));
    losing.expect("done");
    losing.finish();
    // Its process could not.
    fs::remove_file(object(&name)).unwrap();
}

/// Descriptors that this process has open.
fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Prints how many descriptors a board with many keys and endpoints takes.
fn count_descriptors(role: &Role) {
    // One descriptor serves the whole process.
    let first = Board::<u64>::open(&format!("{}-first", role.arguments[0])).unwrap();
    let before = descriptors();
    let board = board().open::<u64>(&role.arguments[0]).unwrap();
    let mut writer = board.writer().unwrap();
    let readers: Vec<_> = (0..10).map(|_| board.reader().unwrap()).collect();
    for number in 0..300 {
        writer.write(&format!("key-{number}"), &number).unwrap();
    }
    peer::say(&format!("{}", descriptors() - before));
    drop((first, readers));
}

#[test]
fn three_hundred_keys_take_two_descriptors() {
    let name = unique("board-descriptors");
    let mut counting = Peer::start(&format!("count_descriptors {name}"));
    counting.expect("2");
    counting.finish();
}

/// Writes one value after another until it is killed.
fn write_on(role: &Role) {
    let latest = Latest::<Note>::open(&role.arguments[0]).unwrap();
    let mut writer = latest.writer().unwrap();
    let mut sequence = role.number(1);
    writer.write(&Note::make(sequence)).unwrap();
    peer::say("ready");
    loop {
        sequence += 1;
        writer.write(&Note::make(sequence)).unwrap();
    }
}

/// Reads values until it is killed, and holds each.
fn read_on(role: &Role) {
    let latest = Latest::<Note>::open(&role.arguments[0]).unwrap();
    let mut reader = latest.reader().unwrap();
    peer::say("ready");
    loop {
        reader.read().unwrap().check();
    }
}

/// Holds a value until it is killed.
fn hold(role: &Role) {
    let latest = Latest::<Note>::open(&role.arguments[0]).unwrap();
    let mut reader = latest.reader().unwrap();
    let value = reader.read().unwrap();
    peer::say("ready");
    let _ = peer::hear();
    value.check();
}

#[test]
fn killed_writers_leave_the_last_whole_value() {
    for settings in [builder(), builder().max_writers(2), builder().buffers(2)] {
        let name = unique("latest-killed");
        let latest = settings.open_latest::<Note>(&name).unwrap();
        let mut reader = latest.reader().unwrap();
        let mut last = 0;
        for round in 1..12 {
            let mut writing = Peer::start(&format!("write {name} {}", round * 1_000_000));
            writing.expect("ready");
            for _ in 0..round * 20 {
                let sequence = reader.wait_changed_timeout(LONG).unwrap().check();
                assert!(sequence > last);
                last = sequence;
            }
            writing.kill();
            let sequence = reader.read().unwrap().check();
            assert!(sequence >= last);
            last = sequence;
        }
        // The lock and the entry of the dead stop nobody.
        latest.writer().unwrap().write(&Note::make(99_000_000)).unwrap();
        assert_eq!(reader.read().unwrap().check(), 99_000_000);
        drop((latest, reader));
        assert_gone(&name);
    }
}

#[test]
fn killed_readers_stop_no_writer() {
    for settings in [builder(), builder().buffers(2)] {
        let name = unique("latest-readers");
        let latest = settings.open_latest::<Note>(&name).unwrap();
        let mut writer = latest.writer().unwrap();
        let mut sequence = 0;
        let mut write = || {
            sequence += 1;
            writer.write_timeout(&Note::make(sequence), LONG).unwrap();
        };
        write();
        for round in 0..10 {
            let mut reading = Peer::start(&format!("read {name}"));
            reading.expect("ready");
            for _ in 0..round * 50 {
                write();
            }
            reading.kill();
            (0..20).for_each(|_| write());
        }
        let mut holding = Peer::start(&format!("hold {name}"));
        holding.expect("ready");
        write();
        holding.kill();
        (0..20).for_each(|_| write());
        assert_eq!(latest.reader().unwrap().read().unwrap().check(), sequence);
        drop((latest, writer));
        assert_gone(&name);
    }
}

#[test]
fn a_living_reader_of_another_process_keeps_its_value() {
    let name = unique("latest-held");
    let latest = builder().buffers(2).open_latest::<Note>(&name).unwrap();
    let mut writer = latest.writer().unwrap();
    writer.write(&Note::make(1)).unwrap();
    let mut holding = Peer::start(&format!("hold {name}"));
    holding.expect("ready");
    writer.write(&Note::make(2)).unwrap();
    let refused = writer.write_timeout(&Note::make(3), SHORT).unwrap_err();
    let WriteTimeoutError::Timeout { holder: CellHolder::Reader { pid } } = refused else {
        panic!("{refused}")
    };
    assert_eq!(pid, holding.pid());
    holding.tell("go on");
    holding.finish();
    writer.write(&Note::make(3)).unwrap();
}

/// Runs the role that the parent process chose, if any.
#[test]
fn peer() {
    let Some(role) = peer::role() else { return };
    match role.name.as_str() {
        "count_descriptors" => count_descriptors(&role),
        "write" => write_on(&role),
        "read" => read_on(&role),
        "hold" => hold(&role),
        "write_when_told" => write_when_told(&role),
        "lose_descriptors" => lose_descriptors(&role),
        "choose" => choose(&role),
        other => panic!("no role {other}"),
    }
}
