//! `select` over a reader sleeps on the event count of its cell, which a write changes.

use crate::channel::Waitable;
use crate::segment::layout::EventCount;
use crate::sync::Ordering;
use crate::{Board, Latest};

/// Returns true if `write` changes the futex word that a waiter registered with.
fn wakes(event_count: &EventCount, write: impl FnOnce()) -> bool {
    event_count.waiters.fetch_add(1, Ordering::SeqCst);
    let before = event_count.futex.load(Ordering::SeqCst);
    write();
    event_count.futex.load(Ordering::SeqCst) != before
}

#[test]
fn a_write_wakes_the_readers_of_its_cell_alone() {
    let latest = Latest::<u64>::builder().heap_latest::<u64>().unwrap();
    let (mut writer, reader) = (latest.writer().unwrap(), latest.reader().unwrap());
    // The first write wakes even if nobody waits: the writer has no notifier yet.
    writer.write(&0).unwrap();
    assert!(wakes(reader.event_count().unwrap(), || writer.write(&1).unwrap()));

    let board = Board::<u64>::builder().heap::<u64>().unwrap();
    let (mut writer, reader) = (board.writer().unwrap(), board.reader().unwrap());
    let keys = ["a", "b"].map(|key| writer.cell(key).unwrap());
    keys.iter().for_each(|key| writer.write(key, &0).unwrap());
    for key in keys {
        for written in keys {
            let change = reader.change_of(key).unwrap();
            let wakes =
                wakes(change.event_count().unwrap(), || writer.write(&written, &1).unwrap());
            assert_eq!(wakes, key == written, "{key:?}, {written:?}");
        }
    }
}
