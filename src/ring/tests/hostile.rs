//! Invalid words in the segment lead to no overflow, no panic and no endless loop. Other effects
//! are unspecified.

use super::boxes::{Boxes, publish};
use crate::ring::board_cell::{CellFault, CellWriter, Hindrance, Pinned};
use crate::ring::cursor::{Cursor, Fault, Next};
use crate::ring::gate;
use crate::ring::recover::{Recovered, Voided, recover};
use crate::ring::slot::StampedPosition;
use crate::segment::layout::{FARTHEST, NOWHERE};
use crate::segment::settings::{Claims, Overflow};
use crate::sync::Ordering;

#[test]
fn invalid_words_do_not_panic() {
    let mut failed = Vec::new();
    let mut case = |what: &'static str, run: &dyn Fn()| {
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run));
        if let Err(e) = outcome {
            let message = e
                .downcast_ref::<String>()
                .cloned()
                .or_else(|| e.downcast_ref::<&str>().map(|s| (*s).to_owned()))
                .unwrap_or_default();
            failed.push((what, message));
        }
    };
    let far = u64::MAX - 2;
    for claims in [Claims::Shared, Claims::Exclusive] {
        for overflow in [Overflow::Block, Overflow::DropOldest] {
            case("tail", &|| {
                let ring = Boxes::new(8, claims, overflow);
                let mut writer = ring.writer(0);
                ring.memory().head().tail.store(far, Ordering::Relaxed);
                let _ = publish(&mut writer, 2, 1);
                let _ = writer.claim_many(&[1, 1, 4]);
            });
            case("tail at join", &|| {
                let ring = Boxes::new(8, claims, overflow);
                ring.memory().head().tail.store(far, Ordering::Relaxed);
                let mut writer = ring.writer(0);
                let _ = publish(&mut writer, 2, 1);
            });
            case("tail at subscriber's join", &|| {
                let ring = Boxes::new(8, claims, overflow);
                ring.memory().head().tail.store(far, Ordering::Relaxed);
                let mut reader = ring.reader(0);
                let stamp = StampedPosition::at(&ring.memory(), far).stamp();
                ring.memory().slot(far).stamp.store(stamp, Ordering::Relaxed);
                let _ = reader.next();
                let _ = reader.next();
            });
            case("oldest", &|| {
                let mut ring = Boxes::new(16, claims, overflow);
                ring.settings.history = 2;
                ring.memory().head().oldest.store(far, Ordering::Relaxed);
                let mut writer = ring.writer(0);
                let _ = publish(&mut writer, 2, 1);
                let _ = ring.reader(0).next();
            });
            case("a cursor that cannot be", &|| {
                let ring = Boxes::new(8, claims, overflow);
                let mut writer = ring.writer(0);
                publish(&mut writer, 1, 1).unwrap();
                let mut reader = ring.reader(0);
                for word in [0, 1 | 1 << 63, 2 | 1 << 63, FARTHEST + 1, far, NOWHERE] {
                    ring.memory().subscribers()[0].cursor.store(word, Ordering::Relaxed);
                    let expected = match overflow {
                        Overflow::Block => Next::Nothing,
                        Overflow::DropOldest => Next::Corrupt(Fault::Cursor),
                    };
                    assert_eq!(reader.next(), expected, "{word:#x}");
                }
            });
            case("cursor", &|| {
                let ring = Boxes::new(8, claims, overflow);
                let mut reader = ring.reader(0);
                let mut writer = ring.writer(0);
                for word in [far, NOWHERE, NOWHERE >> 1, (NOWHERE >> 1) - 1, 1 << 63] {
                    ring.memory().subscribers()[0].cursor.store(word, Ordering::Relaxed);
                    let at = word & !(1 << 63);
                    let stamp = StampedPosition::at(&ring.memory(), at).stamp();
                    ring.memory().slot(at).stamp.store(stamp, Ordering::Relaxed);
                    let _ = reader.next();
                    reader.release();
                    let _ = publish(&mut writer, 2, 1);
                }
            });
            case("counts", &|| {
                let ring = Boxes::new(8, claims, overflow);
                let mut reader = ring.reader(0);
                let memory = ring.memory();
                let details = &memory.subscribers()[0].details.evictions_counted;
                details.store(1 << 63, Ordering::Relaxed);
                let _ = reader.next();
                ring.memory().subscribers()[0].cursor.store(3, Ordering::Relaxed);
                details.store(5, Ordering::Relaxed);
                let _ = reader.next();
            });
            case("counts that go back and forth", &|| {
                let ring = Boxes::new(8, claims, overflow);
                let memory = ring.memory();
                let details = &memory.subscribers()[0].details.evictions_begun;
                details.store(u64::MAX, Ordering::Relaxed);
                let mut reader = ring.reader(0);
                for (cursor, begun) in [(1, u64::MAX - 1), (2, u64::MAX), (3, 7)] {
                    memory.subscribers()[0].cursor.store(cursor, Ordering::Relaxed);
                    details.store(begun, Ordering::Relaxed);
                    let _ = reader.next();
                }
            });
            case("record", &|| {
                let ring = Boxes::new(8, claims, overflow);
                let memory = ring.memory();
                memory.head().tail.store(NOWHERE, Ordering::Relaxed);
                for (at, len) in [(far, 7), (far - 8, 7), (NOWHERE - 1, 7)] {
                    let record = &memory.publishers()[0].record;
                    record.len.store(len, Ordering::Relaxed);
                    record.position.store(at, Ordering::Relaxed);
                    record.batch_end.store(at.saturating_add(len), Ordering::Relaxed);
                    let _: Recovered =
                        recover(&memory, &ring.geometry(), 0, &|_| false, &mut Voided::default());
                    let _ = gate::scan(&memory, 5, NOWHERE);
                }
            });
        }
    }
    failed.dedup();
    assert_eq!(failed, []);
}

/// The fast path takes exactly the packets that the slow path takes, for any header.
#[test]
fn the_fast_path_checks_headers_like_the_slow_path() {
    let lens = [0, 1, 48, 49, 7 * 64, 8 * 64 - 16, 8 * 64 - 15, 1 << 26, u64::from(u32::MAX)];
    let kinds = [0_u64, 1, 2, 0x7f, 0xff, 1 << 8, 0x8000];
    let mut taken = 0;
    for start in [0, 3, 7] {
        for (len, kind) in lens.iter().flat_map(|len| kinds.map(|kind| (len, kind))) {
            let ring = Boxes::new(8, Claims::Exclusive, Overflow::Block);
            let (mut writer, mut reader) = (ring.writer(0), ring.reader(0));
            for tag in 0..start {
                publish(&mut writer, 1, tag).unwrap();
                assert!(matches!(reader.next(), Next::Taken(_)));
                reader.release();
            }
            publish(&mut writer, 1, 9).unwrap();
            ring.memory()
                .slot(start)
                .descriptor
                .store(len | 5 << 32 | kind << 48, Ordering::Relaxed);
            let short = reader.next_fast();
            if short.is_some() {
                reader.unreceive();
                taken += 1;
            }
            match reader.next() {
                Next::Taken(long) => assert_eq!(short, Some(long), "{start} {len} {kind}"),
                other => assert_eq!(short, None, "{start} {len} {kind}: {other:?}"),
            }
        }
    }
    assert!(taken > 3, "{taken} taken: nothing was compared");
}

/// Bytes of a value in a buffer of one slot.
const ROOM: usize = 48;

/// Writes a value of `len` bytes, all equal to `byte`.
fn write(writer: &mut CellWriter, len: usize, byte: u8) -> Result<(), Hindrance> {
    let written = writer.write(0, len, |room| {
        // SAFETY: the room is valid for writes of its length, and this closure owns it.
        unsafe { room.start().write_bytes(byte, room.len()) };
        Ok::<(), ()>(())
    });
    written.map(Result::unwrap)
}

#[test]
fn a_damaged_cell_is_an_error_until_the_next_write() {
    for buffers in [2, 3, 4, 9] {
        let board = Boxes::board(buffers);
        let (mut writer, mut reader) = (board.cell_writer(0, false), board.cell_reader(0));
        let (cells, count) = (board.cells(), buffers as u64);
        let head = &cells.heads()[0];
        write(&mut writer, 8, 1).unwrap();
        assert_eq!(reader.take(0), Ok(Pinned::New));
        for word in [count, 2046, 2047, 1 << 11 | count, u64::MAX, u64::MAX << 11 | count] {
            head.word.store(word, Ordering::Relaxed);
            assert_eq!(reader.take(0), Err(CellFault::Word), "{buffers}: {word:#x}");
            write(&mut writer, 8, 2).unwrap();
            assert_eq!(reader.take(0), Ok(Pinned::New), "{buffers}: {word:#x}");
        }
        for len in [ROOM as u64 + 1, 1 << 32, 1 << 63, u64::MAX] {
            write(&mut writer, ROOM, 3).unwrap();
            (0..buffers).for_each(|at| cells.slot(0, at).descriptor.store(len, Ordering::Relaxed));
            assert_eq!(reader.take(0), Err(CellFault::Len), "{buffers}: {len:#x}");
        }
        // A word of a value that no writer stored names a buffer that there is.
        head.word.store(7 << 11 | (count - 1), Ordering::Relaxed);
        cells.slot(0, buffers - 1).descriptor.store(ROOM as u64, Ordering::Relaxed);
        assert_eq!((reader.take(0), reader.held_word().version()), (Ok(Pinned::New), 7));
        reader.release();
        assert_eq!(write(&mut writer, ROOM, 4), Ok(()));
    }
}

#[test]
fn a_damaged_pin_or_lock_stops_a_writer_at_most() {
    for buffers in [2, 3, 4] {
        let board = Boxes::board(buffers);
        let memory = board.memory();
        let (mut one, mut other) = (board.cell_writer(0, true), board.cell_writer(1, true));
        let mut reader = board.cell_reader(0);
        let cells = board.cells();
        for used in [1, 2, 3, u32::MAX] {
            memory.head().membership.subscribers.store(used, Ordering::Relaxed);
            for pin in [0, 1, 2, 2046, 2047, 1 << 11, 1 << 63, NOWHERE - 1, NOWHERE] {
                memory.subscribers()[0].cursor.store(pin, Ordering::Relaxed);
                for writer in [&mut one, &mut other] {
                    let outcome = write(writer, 8, 1);
                    let is_named = matches!(outcome, Ok(()) | Err(Hindrance::Reader(0)));
                    assert!(is_named, "{used} {pin:#x}: {outcome:?}");
                }
            }
            reader.release();
            assert_eq!(write(&mut one, 8, 2), Ok(()), "{buffers} {used}");
            assert_eq!(reader.take(0), Ok(Pinned::New));
        }
        reader.release();
        for lock in [1, 2, 3, 1 << 32, 1 << 63, u64::MAX] {
            cells.heads()[0].lock.store(lock, Ordering::Relaxed);
            assert_eq!(write(&mut one, 8, 3), Err(Hindrance::Writer(lock as usize - 1)));
            // Nobody lives, or there is no such writer.
            assert!(one.take_over(0, &|_| false), "{lock:#x}");
            assert_eq!(write(&mut one, 8, 3), Ok(()));
            cells.heads()[0].lock.store(lock, Ordering::Relaxed);
            assert_eq!(one.take_over(0, &|_| true), lock > 2, "{lock:#x}");
            cells.heads()[0].lock.store(0, Ordering::Relaxed);
        }
    }
}
