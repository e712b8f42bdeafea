//! The orderings of the protocol, in every execution that the memory model allows.
//!
//! Payloads are loom cells. A slot that is written while a reader may read it, or read before its
//! stamp is seen, is an error of the cell.

use super::boxes::{Boxes, fill, len_of, publish, publish_batch, receive, tag_at, tag_of};
use crate::ring::board_cell::{CellReader, Pinned};
use crate::ring::claim::{BurstSize, Writer};
use crate::ring::consumer_group::ConsumerGroup;
use crate::ring::cursor::{Adoption, Cursor, Next};
use crate::ring::gate;
use crate::ring::membership;
use crate::ring::membership::RingState;
use crate::ring::observer::{Copies, Look, ObserveFrom, PassiveReader};
use crate::ring::overflow;
use crate::ring::reader::Reader;
use crate::ring::slot::Descriptor;
use crate::segment::entry::EntryId;
use crate::segment::layout::NOWHERE;
use crate::segment::settings::{Claims, Overflow};
use crate::sync::{AtomicU64, Ordering, fence};
use crate::wait::{Notifier, Registrations, register_waiter};
use loom::model::Builder;
use loom::sync::Arc;
use loom::thread;

/// Runs every execution with up to `preemptions` forced switches. `LOOM_MAX_PREEMPTIONS` overrides
/// it.
fn check(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(preemptions));
    builder.check(model);
}

fn ring(slots: usize, claims: Claims, overflow: Overflow) -> Arc<Boxes> {
    Arc::new(Boxes::new(slots, claims, overflow))
}

/// Publishes one packet per tag, and retries while the ring is full.
fn publish_all(writer: &mut Writer, span: u64, tags: impl Iterator<Item = u64>) {
    for tag in tags {
        while publish(writer, span, tag).is_err() {
            thread::yield_now();
        }
    }
}

/// Waits for the next packet. Returns its tag.
fn wait_for(reader: &mut Reader) -> u64 {
    loop {
        match receive(reader) {
            Ok(tag) => break tag,
            Err(Next::Nothing) => thread::yield_now(),
            Err(other) => panic!("{other:?}"),
        }
    }
}

/// Receives one packet, and recovers what publisher 0 left as soon as it is dead.
fn receive_and_reap(ring: &Boxes, reader: &mut Reader, dead: &AtomicU64) -> u64 {
    loop {
        // Pairs with the release of its last step, as the kernel's lock does.
        let is_alive = |entry| entry != EntryId::Publisher(0) || dead.load(Ordering::Acquire) == 0;
        ring.reap(&is_alive);
        match receive(reader) {
            Ok(tag) => break tag,
            Err(Next::Nothing) => thread::yield_now(),
            Err(other) => panic!("{other:?}"),
        }
    }
}

#[test]
fn loom_exclusive() {
    check(3, || {
        let ring = ring(4, Claims::Exclusive, Overflow::Block);
        let (mut writer, mut reader) = (ring.writer(0), ring.reader(0));
        let publisher = thread::spawn(move || publish_all(&mut writer, 1, 1..=2));
        assert_eq!([1, 2].map(|_| wait_for(&mut reader)), [1, 2]);
        publisher.join().unwrap();
    });
}

#[test]
fn loom_shared() {
    check(2, || {
        let ring = ring(4, Claims::Shared, Overflow::Block);
        let mut reader = ring.reader(0);
        let publishers = [0, 1].map(|index| {
            let mut writer = ring.writer(index);
            thread::spawn(move || publish_all(&mut writer, 1, [index as u64 + 1].into_iter()))
        });
        let seen = [0; 2].map(|_| wait_for(&mut reader));
        assert!(seen == [1, 2] || seen == [2, 1], "{seen:?}");
        for publisher in publishers {
            publisher.join().unwrap();
        }
        assert_eq!(ring.memory().publishers()[0].record.position.load(Ordering::Relaxed), NOWHERE);
    });
}

#[test]
fn loom_full_ring() {
    for claims in [Claims::Exclusive, Claims::Shared] {
        check(2, move || {
            let ring = ring(2, claims, Overflow::Block);
            let (mut writer, mut reader) = (ring.writer(0), ring.reader(0));
            let publisher = thread::spawn(move || publish_all(&mut writer, 1, 1..=3));
            for expected in 1..=3 {
                assert_eq!(wait_for(&mut reader), expected);
            }
            publisher.join().unwrap();
        });
    }
}

#[test]
fn loom_wrap_with_padding() {
    for claims in [Claims::Exclusive, Claims::Shared] {
        check(2, move || {
            let ring = ring(4, claims, Overflow::Block);
            let (mut writer, mut reader) = (ring.writer(0), ring.reader(0));
            // After three slots, a packet of two needs one slot of padding.
            publish_all(&mut writer, 2, 1..=1);
            publish_all(&mut writer, 1, 2..=2);
            assert_eq!((receive(&mut reader), receive(&mut reader)), (Ok(1), Ok(2)));
            let publisher = thread::spawn(move || {
                publish_all(&mut writer, 2, 3..=3);
                publish_all(&mut writer, 1, 4..=4);
            });
            for expected in 3..=4 {
                assert_eq!(wait_for(&mut reader), expected);
            }
            publisher.join().unwrap();
        });
    }
}

/// A publisher that has just scanned continues while a subscriber joins and reads.
#[test]
fn loom_join_during_publish() {
    for claims in [Claims::Exclusive, Claims::Shared] {
        check(2, move || {
            let ring = ring(2, claims, Overflow::Block);
            let mut writer = ring.writer(0);
            publish_all(&mut writer, 1, 1..=1);
            let publisher = thread::spawn(move || {
                // The publisher gives up when the ring is full.
                for tag in 2..=4 {
                    if publish(&mut writer, 1, tag).is_err() {
                        break;
                    }
                }
            });
            let mut reader = ring.reader(0);
            let mut last = 0;
            for _ in 0..2 {
                match receive(&mut reader) {
                    Ok(tag) => {
                        assert!(last == 0 || tag == last + 1, "{tag} after {last}");
                        last = tag;
                    }
                    Err(Next::Nothing) => thread::yield_now(),
                    Err(other) => panic!("{other:?}"),
                }
            }
            publisher.join().unwrap();
        });
    }
}

/// As above, with two publishers that move the tail: one computes its limit while the other claims.
#[test]
fn loom_join_during_shared_claims() {
    check(2, || {
        let ring = ring(2, Claims::Shared, Overflow::Block);
        let publishers = [0, 1].map(|index| {
            let mut writer = ring.writer(index);
            thread::spawn(move || {
                for tag in [10, 20] {
                    if publish(&mut writer, 1, tag + index as u64).is_err() {
                        break;
                    }
                }
            })
        });
        let mut reader = ring.reader(0);
        let first = receive(&mut reader);
        for publisher in publishers {
            publisher.join().unwrap();
        }
        let second = receive(&mut reader);
        assert!(first.is_err() || first != second);
    });
}

/// An evictor tries to move a newcomer's cursor before it is placed.
#[test]
fn loom_join_while_evicting() {
    check(2, || {
        let ring = ring(2, Claims::Exclusive, Overflow::DropOldest);
        let mut writer = ring.writer(0);
        let publisher = thread::spawn(move || {
            (1..=4).take_while(|&tag| publish(&mut writer, 1, tag).is_ok()).count() as u64
        });
        let mut reader = ring.reader(0);
        let mut last = 0;
        for _ in 0..2 {
            if let Ok(tag) = receive(&mut reader) {
                assert!(tag > last);
                last = tag;
            }
        }
        let sent = publisher.join().unwrap();
        while let Ok(tag) = receive(&mut reader).or_else(|next| match next {
            Next::Missed(_) => receive(&mut reader),
            other => Err(other),
        }) {
            last = tag;
        }
        assert!(last == sent || last == 0, "stopped at {last} of {sent}");
    });
}

/// The newcomer's protocol alone, with and without the fence of the scan.
fn join_model(fenced: bool) {
    check(3, move || {
        let words = Arc::new((AtomicU64::new(0), AtomicU64::new(NOWHERE)));
        let other = Arc::clone(&words);
        let rival = Arc::clone(&words);
        let claims = thread::spawn(move || {
            let _ = rival.0.compare_exchange(0, 1, Ordering::AcqRel, Ordering::Relaxed);
        });
        let scan = thread::spawn(move || {
            let tail = other.0.load(Ordering::Acquire);
            if fenced {
                fence(Ordering::SeqCst);
            }
            (tail, other.1.load(Ordering::Acquire))
        });
        words.1.store(0, Ordering::Release);
        fence(Ordering::SeqCst);
        let start = words.0.load(Ordering::Acquire);
        let (tail, cursor) = scan.join().unwrap();
        claims.join().unwrap();
        assert!(
            cursor != NOWHERE || start >= tail,
            "overrun: starts {start}, limit of tail {tail}"
        );
    });
}

#[test]
fn loom_join_with_fence() {
    join_model(true);
}

#[test]
#[should_panic(expected = "overrun")]
fn loom_join_without_fence_is_overrun() {
    join_model(false);
}

#[test]
fn loom_evict_while_pinned() {
    check(2, || {
        let ring = ring(2, Claims::Exclusive, Overflow::DropOldest);
        let (mut writer, mut reader) = (ring.writer(0), ring.reader(0));
        publish_all(&mut writer, 1, 1..=2);
        let publisher = thread::spawn(move || {
            let mut sent = 2;
            for tag in 3..=4 {
                if publish(&mut writer, 1, tag).is_err() {
                    break;
                }
                sent = tag;
            }
            sent
        });
        let (mut received, mut missed, mut last) = (0, 0, 0);
        let mut look = |reader: &mut Reader| match reader.next() {
            Next::Taken(taken) => {
                let tag = tag_of(reader, &taken);
                thread::yield_now();
                assert_eq!(tag, tag_of(reader, &taken), "overwritten in hand");
                reader.release();
                assert!(tag > last);
                (received, last) = (received + 1, tag);
                true
            }
            Next::Missed(some) => {
                missed += some.packets;
                true
            }
            Next::Nothing => false,
            Next::Corrupt(fault) => panic!("corrupt {fault:?}"),
        };
        look(&mut reader);
        let sent = publisher.join().unwrap();
        while look(&mut reader) {}
        assert_eq!(received + missed, sent);
        assert_eq!(last, sent);
    });
}

/// A subscriber skips to the newest packet while a publisher evicts.
#[test]
fn loom_skip_while_evicting() {
    check(2, || {
        let ring = ring(2, Claims::Exclusive, Overflow::DropOldest);
        let (mut writer, mut reader) = (ring.writer(0), ring.reader(0));
        publish_all(&mut writer, 1, 1..=2);
        let publisher = thread::spawn(move || {
            let mut sent = 2;
            for tag in 3..=4 {
                if publish(&mut writer, 1, tag).is_err() {
                    break;
                }
                sent = tag;
            }
            sent
        });
        let (mut counted, mut last) = (0, 0);
        let mut look = |reader: &mut Reader| match reader.next() {
            Next::Taken(_) => {
                counted += reader.skip_to_newest() + 1;
                let newest = reader.in_flight().unwrap();
                let tag = tag_of(reader, &newest);
                thread::yield_now();
                assert_eq!(tag, tag_of(reader, &newest), "overwritten in hand");
                reader.release();
                assert!(tag > last);
                last = tag;
                true
            }
            Next::Missed(some) => {
                counted += some.packets;
                true
            }
            Next::Nothing => false,
            Next::Corrupt(fault) => panic!("corrupt {fault:?}"),
        };
        look(&mut reader);
        let sent = publisher.join().unwrap();
        while look(&mut reader) {}
        assert_eq!((counted, last), (sent, sent));
    });
}

/// A burst is filled packet by packet, and its rest is void.
#[test]
fn loom_burst() {
    check(2, || {
        let ring = ring(4, Claims::Shared, Overflow::Block);
        let mut reader = ring.reader(0);
        let (mut writer, mut other) = (ring.writer(0), ring.writer(1));
        let bursts = thread::spawn(move || {
            let position = writer.claim_burst(BurstSize::new(1, true, 2)).unwrap();
            fill(&writer, position, 1, 7);
            writer.commit(Descriptor::data(len_of(1), 0));
            // Its second slot is void.
            writer.abandon();
            assert_eq!(writer.own().record.position.load(Ordering::Relaxed), NOWHERE);
        });
        let single = thread::spawn(move || publish_all(&mut other, 1, 1..=1));
        let seen = [0; 2].map(|_| wait_for(&mut reader));
        assert!(seen == [1, 7] || seen == [7, 1], "{seen:?}");
        bursts.join().unwrap();
        single.join().unwrap();
    });
}

/// A publisher dies in its burst, after its first packet. The packet stays, and the slots that the
/// publisher did not fill are void.
#[test]
fn loom_abandoned_burst() {
    check(2, || {
        let ring = ring(4, Claims::Shared, Overflow::Block);
        let mut reader = ring.reader(0);
        let dead = Arc::new(AtomicU64::new(0));
        let (mut dying, mut other) = (ring.writer(0), ring.writer(1));
        let grave = Arc::clone(&dead);
        let first = thread::spawn(move || {
            let position = dying.claim_burst(BurstSize::new(1, true, 2)).unwrap();
            fill(&dying, position, 1, 7);
            dying.commit(Descriptor::data(len_of(1), 0));
            fill(&dying, position + 1, 1, 8);
            // Killed here: the kernel drops its lock after its last store.
            grave.store(1, Ordering::Release);
        });
        let second = thread::spawn(move || publish_all(&mut other, 1, 1..=1));
        let seen = [0; 2].map(|_| receive_and_reap(&ring, &mut reader, &dead));
        assert!(seen == [1, 7] || seen == [7, 1], "{seen:?}");
        first.join().unwrap();
        second.join().unwrap();
    });
}

/// A reader that sees the first packet of a batch sees the others, and nothing before it.
#[test]
fn loom_batch() {
    for claims in [Claims::Exclusive, Claims::Shared] {
        check(3, move || {
            let ring = ring(4, claims, Overflow::Block);
            let (mut writer, mut reader) = (ring.writer(0), ring.reader(0));
            let publisher = thread::spawn(move || {
                publish_batch(&mut writer, &[1, 2]).unwrap();
                publish_all(&mut writer, 1, 3..=3);
            });
            assert_eq!(wait_for(&mut reader), 1);
            assert_eq!(receive(&mut reader), Ok(2));
            assert_eq!(wait_for(&mut reader), 3);
            publisher.join().unwrap();
        });
    }
}

/// A subscriber joins while a batch becomes visible: it gets all of it or nothing.
#[test]
fn loom_join_during_a_batch() {
    for claims in [Claims::Exclusive, Claims::Shared] {
        check(2, move || {
            let ring = ring(4, claims, Overflow::Block);
            let mut writer = ring.writer(0);
            let publisher = thread::spawn(move || {
                publish_batch(&mut writer, &[1, 2]).unwrap();
                publish_all(&mut writer, 1, 3..=3);
            });
            let mut reader = ring.reader(0);
            let early = receive(&mut reader);
            if early == Ok(1) {
                assert_eq!(receive(&mut reader), Ok(2));
            }
            publisher.join().unwrap();
            let late = receive(&mut reader);
            let rest = receive(&mut reader);
            match (early, late) {
                (Ok(1), Ok(3)) | (Ok(3), Err(Next::Nothing)) => {}
                (Err(Next::Nothing), Ok(1)) => assert_eq!(rest, Ok(2)),
                (Err(Next::Nothing), Ok(3) | Err(Next::Nothing)) => {}
                other => panic!("{other:?}"),
            }
        });
    }
}

/// An exclusive publisher dies in a batch. A reader follows its successor, and gets nothing of it.
#[test]
fn loom_batch_of_a_dead_predecessor() {
    check(3, || {
        let ring = ring(4, Claims::Exclusive, Overflow::Block);
        let mut reader = ring.reader(0);
        ring.writer(0).leave_batch(2);
        let successor = {
            let ring = Arc::clone(&ring);
            thread::spawn(move || publish_all(&mut ring.writer(0), 1, 4..=5))
        };
        assert_eq!((wait_for(&mut reader), wait_for(&mut reader)), (4, 5));
        successor.join().unwrap();
        assert_eq!(receive(&mut reader), Err(Next::Nothing));
    });
}

/// A publisher dies in a batch. Another process recovers it while a third one publishes.
#[test]
fn loom_abandoned_batch() {
    check(2, || {
        let ring = ring(4, Claims::Shared, Overflow::Block);
        let mut reader = ring.reader(0);
        let dead = Arc::new(AtomicU64::new(0));
        let (mut dying, mut other) = (ring.writer(0), ring.writer(1));
        let grave = Arc::clone(&dead);
        let first = thread::spawn(move || {
            dying.leave_batch(2);
            grave.store(1, Ordering::Release);
        });
        let second = thread::spawn(move || publish_all(&mut other, 1, 1..=1));
        assert_eq!(receive_and_reap(&ring, &mut reader, &dead), 1);
        first.join().unwrap();
        second.join().unwrap();
    });
}

/// A publisher dies after its claim. Another process recovers it while a third one publishes.
#[test]
fn loom_abandoned_claim() {
    check(2, || {
        let ring = ring(4, Claims::Shared, Overflow::Block);
        let mut reader = ring.reader(0);
        let dead = Arc::new(AtomicU64::new(0));
        let (mut dying, mut other) = (ring.writer(0), ring.writer(1));
        let grave = Arc::clone(&dead);
        let first = thread::spawn(move || {
            let position = dying.claim(1).unwrap();
            fill(&dying, position, 1, 7);
            // Killed here: the kernel drops its lock after its last store.
            grave.store(1, Ordering::Release);
        });
        let second = thread::spawn(move || publish_all(&mut other, 1, 1..=1));
        assert_eq!(receive_and_reap(&ring, &mut reader, &dead), 1);
        first.join().unwrap();
        second.join().unwrap();
    });
}

/// A committed packet is never voided. The owner stamps and dies while it is being recovered.
#[test]
fn loom_recovery_never_voids_a_committed_packet() {
    check(3, || {
        let ring = ring(4, Claims::Shared, Overflow::Block);
        let mut reader = ring.reader(0);
        let dead = Arc::new(AtomicU64::new(0));
        let mut dying = ring.writer(0);
        let grave = Arc::clone(&dead);
        let owner = thread::spawn(move || {
            let position = dying.claim(1).unwrap();
            fill(&dying, position, 1, 7);
            assert_eq!(dying.commit(Descriptor::data(len_of(1), 0)), position);
            grave.store(1, Ordering::Release);
        });
        let is_alive = |entry| entry != EntryId::Publisher(0) || dead.load(Ordering::Acquire) == 0;
        ring.reap(&is_alive);
        owner.join().unwrap();
        ring.reap(&is_alive);
        assert_eq!(receive(&mut reader), Ok(7));
    });
}

/// A dead publisher that lost its race has a record at a position that a living one commits. If the
/// living one's record is seen clear, its stamp must be seen.
#[test]
fn loom_recovery_sees_the_stamp_behind_a_clear_record() {
    check(3, || {
        let ring = ring(4, Claims::Shared, Overflow::Block);
        let mut reader = ring.reader(0);
        let (loser, mut living) = (ring.writer(0), ring.writer(1));
        loser.own().record.len.store(1, Ordering::Relaxed);
        loser.own().record.position.store(0, Ordering::Relaxed);
        let publisher = thread::spawn(move || publish(&mut living, 1, 7).unwrap());
        let is_alive = |entry| entry != EntryId::Publisher(0);
        ring.reap(&is_alive);
        publisher.join().unwrap();
        ring.reap(&is_alive);
        assert_eq!(receive(&mut reader), Ok(7));
    });
}

#[test]
fn loom_park_and_wake() {
    check(3, || {
        let ring = ring(4, Claims::Exclusive, Overflow::Block);
        let (mut writer, reader) = (ring.writer(0), ring.reader(0));
        let memory = ring.memory();
        let mut notifier = Notifier::new(&memory.head().readers.event_count, false);
        let publisher = thread::spawn(move || {
            for tag in 1..=2 {
                publish(&mut writer, 1, tag).unwrap();
                let event_count = &writer.memory().head().readers.event_count;
                if notifier.may_have_waiters(event_count) && notifier.has_new_waiters(event_count) {
                    notifier.wake(event_count, || true);
                }
            }
        });
        let event_count = &memory.head().readers.event_count;
        let (seen, _) = register_waiter(event_count);
        let sleeps = !reader.is_ready();
        publisher.join().unwrap();
        if sleeps {
            assert_ne!(event_count.futex.load(Ordering::Relaxed), seen, "sleeps through a packet");
        }
    });
}

/// A sleeper on two rings, behind one barrier, does not miss a packet of either.
#[test]
fn loom_park_on_two_and_wake() {
    check(3, || {
        let rings = [0, 1].map(|_| ring(4, Claims::Exclusive, Overflow::Block));
        let memories = [0, 1].map(|which: usize| rings[which].memory());
        let [first, second] = &memories;
        let event_counts = [&first.head().readers.event_count, &second.head().readers.event_count];
        let mut sides = [0, 1].map(|which: usize| {
            (rings[which].writer(0), Notifier::new(event_counts[which], false))
        });
        let readers = [0, 1].map(|which: usize| rings[which].reader(0));
        let publisher = thread::spawn(move || {
            for (writer, notifier) in &mut sides {
                publish(writer, 1, 1).unwrap();
                let event_count = &writer.memory().head().readers.event_count;
                if notifier.may_have_waiters(event_count) && notifier.has_new_waiters(event_count) {
                    notifier.wake(event_count, || true);
                }
            }
        });
        let mut registrations = Registrations::default();
        let (words, _) = registrations.renew(event_counts);
        let sleeps = readers.each_ref().map(|reader| !reader.is_ready());
        publisher.join().unwrap();
        for (sleeps, (word, seen)) in sleeps.into_iter().zip(words) {
            if sleeps {
                assert_ne!(word.load(Ordering::Relaxed), seen, "sleeps through a packet");
            }
        }
    });
}

/// The release of a packet wakes a publisher that waits for room.
#[test]
fn loom_park_at_the_limit_and_wake() {
    check(3, || {
        let ring = ring(2, Claims::Exclusive, Overflow::Block);
        let (mut writer, mut reader) = (ring.writer(0), ring.reader(0));
        publish_all(&mut writer, 1, 1..=2);
        let memory = ring.memory();
        let mut notifier = Notifier::new(&memory.head().writers, false);
        let subscriber = thread::spawn(move || {
            assert_eq!(receive(&mut reader), Ok(1));
            let event_count = &reader.memory().head().writers;
            if notifier.may_have_waiters(event_count) && notifier.has_new_waiters(event_count) {
                notifier.wake(event_count, || true);
            }
        });
        let event_count = &memory.head().writers;
        let (seen, _) = register_waiter(event_count);
        let sleeps = writer.claim(1).is_err();
        subscriber.join().unwrap();
        if sleeps {
            assert_ne!(
                event_count.futex.load(Ordering::Relaxed),
                seen,
                "sleeps although there is room"
            );
        }
    });
}

#[test]
fn loom_close() {
    check(3, || {
        let ring = ring(4, Claims::Exclusive, Overflow::Block);
        let (mut writer, mut reader) = (ring.writer(0), ring.reader(0));
        let boxes = Arc::clone(&ring);
        let publisher = thread::spawn(move || {
            publish(&mut writer, 1, 1).unwrap();
            membership::leave_publisher(writer.memory(), &boxes.settings, 0);
        });
        let memory = ring.memory();
        let mut received = 0;
        loop {
            match receive(&mut reader) {
                Ok(_) => received += 1,
                Err(Next::Nothing) => {
                    // As in `Receiver::is_over`: the state first, then the stamp again.
                    let is_closed = RingState::of(&memory) != RingState::Open;
                    if is_closed && !reader.is_claimed() && !reader.is_ready() {
                        break;
                    }
                    thread::yield_now();
                }
                Err(other) => panic!("{other:?}"),
            }
        }
        assert_eq!(received, 1, "closed before its last packet was read");
        publisher.join().unwrap();
    });
}

/// A publisher is preempted after its scan. Another one evicts the newcomer's cursor.

#[test]
fn loom_join_while_another_evicts() {
    check(3, || {
        let ring = ring(2, Claims::Shared, Overflow::DropOldest);
        let (mut evictor, mut ahead) = (ring.writer(0), ring.writer(1));
        let publishers = thread::spawn(move || {
            publish(&mut ahead, 1, 1).unwrap();
            let _ = publish(&mut ahead, 1, 2);
            // It is preempted after its scan.
            ahead.raise_limit();
            let _ = publish(&mut evictor, 1, 3);
            let _ = publish(&mut ahead, 1, 4);
        });
        let memory = ring.memory();
        let joined =
            membership::join_subscriber(&memory, &ring.settings, 0, membership::Start::Newcomer);
        let placed = joined.position;
        publishers.join().unwrap();
        let tail = memory.head().tail.load(Ordering::Acquire);
        let cursor = gate::position(memory.subscribers()[0].cursor.load(Ordering::Acquire));
        assert!(tail <= cursor + 2, "overrun: placed {placed}, cursor {cursor}, tail {tail}");
    });
}

/// An evictor moves a subscriber's cursor while a clone joins at it.
#[test]
fn loom_clone_while_evicting() {
    check(2, || {
        let ring = ring(2, Claims::Shared, Overflow::DropOldest);
        let (mut evictor, other) = (ring.writer(0), ring.writer(1));
        let memory = ring.memory();
        let source = ring.reader(1);
        publish(&mut evictor, 1, 1).unwrap();
        publish(&mut evictor, 1, 2).unwrap();
        let e = thread::spawn(move || {
            overflow::make_room(evictor.memory(), evictor.geometry(), 1);
        });
        let o = thread::spawn(move || gate::scan(other.memory(), 2, u64::MAX).lowest);
        let beside = membership::Start::Beside { entry: 1 };
        let join = || membership::join_subscriber(&memory, &ring.settings, 0, beside);
        let placed = source.stand_still(join).position;
        e.join().unwrap();
        let lowest = o.join().unwrap();
        let cursor = gate::position(memory.subscribers()[0].cursor.load(Ordering::Acquire));
        // Later evictions move the cursor on. The position where it was placed counts.
        assert!(lowest <= cursor, "overrun: placed {placed}, cursor {cursor}, gate {lowest}");
    });
}

/// A record's length may be a later claim's.
#[test]
fn loom_recovery_and_a_later_length() {
    check(3, || {
        let ring = ring(4, Claims::Shared, Overflow::Block);
        let mut reader = ring.reader(0);
        let (loser, mut living) = (ring.writer(0), ring.writer(1));
        loser.own().record.len.store(2, Ordering::Relaxed);
        loser.own().record.position.store(0, Ordering::Relaxed);
        let publisher = thread::spawn(move || {
            let (position, count) = living.claim_many(&[1, 1]).unwrap();
            assert_eq!((position, count), (0, 2));
            for at in 0..2 {
                fill(&living, at, 1, 7 + at);
                assert_eq!(living.commit(Descriptor::data(len_of(1), 0)), at);
            }
            publish(&mut living, 1, 9).unwrap();
        });
        let is_alive = |entry| entry != EntryId::Publisher(0);
        ring.reap(&is_alive);
        publisher.join().unwrap();
        ring.reap(&is_alive);
        assert_eq!(receive(&mut reader), Ok(7));
        assert_eq!(receive(&mut reader), Ok(8));
        assert_eq!(receive(&mut reader), Ok(9));
    });
}

/// A scan has passed the clone's entry. Then the clone is placed and its source moves on.
#[test]
fn loom_clone_and_move_on() {
    check(2, || {
        let ring = ring(2, Claims::Exclusive, Overflow::Block);
        let mut writer = ring.writer(0);
        let mut source = ring.reader(1);
        publish(&mut writer, 1, 1).unwrap();
        publish(&mut writer, 1, 2).unwrap();
        let publisher = thread::spawn(move || publish(&mut writer, 1, 3).is_ok());
        let beside = membership::Start::Beside { entry: 1 };
        let mut clone = Reader::join(ring.subscriber_entry(0), beside);
        assert_eq!(receive(&mut source), Ok(1));
        assert_eq!(receive(&mut clone), Ok(1), "overrun");
        publisher.join().unwrap();
    });
}

/// Reads the tag of the packet in flight twice, and acknowledges it.
fn handle(consumer: &mut ConsumerGroup) -> u64 {
    let taken = consumer.in_flight().unwrap();
    let tag = tag_at(consumer.memory(), &taken);
    assert_eq!(tag_at(consumer.memory(), &taken), tag, "overrun");
    assert!(consumer.release());
    tag
}

/// Takes and handles up to `most` committed packets.
fn handle_some(consumer: &mut ConsumerGroup, most: usize) -> Vec<u64> {
    (0..most)
        .map_while(|_| matches!(consumer.next(), Next::Taken(_)).then(|| handle(consumer)))
        .collect()
}

/// As `handle_some`, by the fast path.
fn handle_ready(consumer: &mut ConsumerGroup, most: usize) -> Vec<u64> {
    (0..most).map_while(|_| consumer.next_fast().map(|_| handle(consumer))).collect()
}

/// Two consumers compete for the same packets, one of them by the fast path.
#[test]
fn loom_each_packet_is_taken_by_one_consumer() {
    check(3, || {
        let ring = Arc::new(Boxes::queue(4, 2));
        let mut writer = ring.writer(0);
        publish_all(&mut writer, 1, 1..=2);
        let (mut first, mut second) = (ring.consumer(1), ring.consumer(2));
        let other = thread::spawn(move || handle_ready(&mut second, 2));
        let mut tags = handle_some(&mut first, 2);
        tags.extend(other.join().unwrap());
        // A consumer that found the cursor pinned may have found nothing.
        tags.extend(handle_some(&mut first, 2));
        tags.sort_unstable();
        assert_eq!(tags, [1, 2]);
    });
}

/// A consumer takes, reads and acknowledges while the publisher laps the ring.
#[test]
fn loom_take_against_a_scan() {
    check(3, || {
        let ring = Arc::new(Boxes::queue(2, 1));
        let mut writer = ring.writer(0);
        let mut consumer = ring.consumer(1);
        publish_all(&mut writer, 1, 1..=2);
        let publisher = thread::spawn(move || {
            (3..=4).take_while(|&tag| publish(&mut writer, 1, tag).is_ok()).count()
        });
        let mut tags = handle_ready(&mut consumer, 2);
        let sent = publisher.join().unwrap();
        tags.extend(handle_some(&mut consumer, 4));
        assert_eq!(tags.len(), 2 + sent);
        assert!(tags.is_sorted(), "{tags:?}");
    });
}

/// A consumer joins and takes while a publisher scans.
#[test]
fn loom_join_and_take_against_a_scan() {
    check(3, || {
        let ring = Arc::new(Boxes::queue(2, 1));
        let mut writer = ring.writer(0);
        publish_all(&mut writer, 1, 1..=2);
        let publisher = thread::spawn(move || publish(&mut writer, 1, 3).is_ok());
        let mut consumer = ring.consumer(1);
        assert!(matches!(consumer.next(), Next::Taken(_)));
        assert_eq!(handle(&mut consumer), 1);
        publisher.join().unwrap();
    });
}

/// A consumer adopts a dead one's packet while the publisher laps the ring.
#[test]
fn loom_adopt_against_a_scan() {
    check(3, || {
        let ring = Arc::new(Boxes::queue(2, 2));
        let mut writer = ring.writer(0);
        let (mut adopter, mut dead) = (ring.consumer(1), ring.consumer(2));
        publish_all(&mut writer, 1, 1..=2);
        assert!(matches!(dead.next(), Next::Taken(_)));
        let publisher = thread::spawn(move || publish(&mut writer, 1, 3).is_ok());
        let is_alive = |entry| entry != EntryId::Subscriber(2);
        assert_ne!(adopter.adopt(&is_alive), Adoption::None);
        assert!(matches!(adopter.next(), Next::Taken(_)));
        assert!(adopter.is_redelivered(&adopter.in_flight().unwrap()));
        assert_eq!(handle(&mut adopter), 1);
        publisher.join().unwrap();
        assert_eq!(adopter.adopt(&is_alive), Adoption::None, "adopted twice");
    });
}

/// A pin is cleared if its owner is dead, and not if a living owner is about to continue.
#[test]
fn loom_unpin_against_a_consumer_that_moves_on() {
    check(3, || {
        let ring = Arc::new(Boxes::queue(4, 2));
        let mut writer = ring.writer(0);
        publish_all(&mut writer, 1, 1..=2);
        let (mut consumer, dead) = (ring.consumer(1), ring.consumer(2));
        // Killed before its pin.
        dead.memory().subscribers()[2].cursor.store(gate::PIN, Ordering::Release);
        let other = thread::spawn(move || {
            let tags = handle_some(&mut consumer, 2);
            (consumer, tags)
        });
        let is_alive = |entry| entry != EntryId::Subscriber(2);
        ring.reap(&is_alive);
        let (mut consumer, mut tags) = other.join().unwrap();
        tags.extend(handle_some(&mut consumer, 2));
        assert_eq!(tags, [1, 2]);
    });
}

/// Reads the cell once. Returns its number; `None` if it has none yet.
fn read_cell(reader: &mut CellReader) -> Option<u64> {
    if !matches!(reader.take(0), Ok(Pinned::Same | Pinned::New)) {
        return None;
    }
    let (cell, buffer) = reader.held();
    // SAFETY: loom checks that nobody writes to the cell.
    let look = || reader.cells().slot(cell, buffer).payload.with(|number| unsafe { *number });
    let number = look();
    thread::yield_now();
    assert_eq!(number, look(), "rewritten in hand");
    reader.release();
    Some(number)
}

/// A writer reuses a buffer while a reader pins it.
#[test]
fn loom_cell_pin_against_reuse() {
    check(3, || {
        let board = Arc::new(Boxes::board(2));
        let (mut writer, mut reader) = (board.cell_writer(0, false), board.cell_reader(0));
        assert!(writer.write_number(0, 1));
        let writing = thread::spawn(move || {
            (2..=4).take_while(|&number| writer.write_number(0, number)).last().unwrap_or(1)
        });
        let mut last = 0;
        for _ in 0..2 {
            let number = read_cell(&mut reader).unwrap();
            assert!(number >= last);
            last = number;
        }
        let written = writing.join().unwrap();
        assert_eq!(read_cell(&mut reader), Some(written));
    });
}

/// Two writers write one cell, beside a reader.
#[test]
fn loom_cell_two_writers() {
    check(2, || {
        let board = Arc::new(Boxes::board(3));
        let mut reader = board.cell_reader(0);
        let writing = [0, 1].map(|index| {
            let mut writer = board.cell_writer(index, true);
            thread::spawn(move || {
                for round in 0..2 {
                    writer.write_number(0, index as u64 * 2 + round + 1);
                }
            })
        });
        let _ = read_cell(&mut reader);
        for thread in writing {
            thread.join().unwrap();
        }
        assert!(read_cell(&mut reader).is_some());
    });
}

/// Two laps of publishers while an observer copies packets: each copy that counts is of one packet.
/// The tag in the descriptor stands for the bytes of a packet, which may be overwritten during the
/// copy.
fn observe(claims: Claims, overflow: Overflow) {
    check(2, move || {
        let ring = ring(2, claims, overflow);
        let mut writer = ring.writer(0);
        let mut observer = PassiveReader::new(ring.memory(), &ring.settings, ObserveFrom::Now);
        let publisher = thread::spawn(move || {
            for tag in 1..=4 {
                let position = writer.claim(1).unwrap();
                fill(&writer, position, 1, u64::from(tag));
                writer.commit(Descriptor::data(len_of(1), 0).with_tag(tag));
            }
        });
        let mut copies = Copies::default();
        let mut look = || {
            let look = observer.copy(&mut copies);
            for copied in copies.list() {
                assert_eq!(u64::from(copied.descriptor.tag()), copied.position + 1);
            }
            (look, observer.position())
        };
        (0..2).for_each(|_| assert_ne!(look().0, Look::Corrupt));
        publisher.join().unwrap();
        let end = loop {
            match look() {
                (Look::Nothing, end) => break end,
                (look, _) => assert_ne!(look, Look::Corrupt),
            }
        };
        assert_eq!(end, 4);
    });
}

#[test]
fn loom_observe_exclusive() {
    observe(Claims::Exclusive, Overflow::Block);
}

#[test]
fn loom_observe_shared() {
    observe(Claims::Shared, Overflow::DropOldest);
}

/// A publisher dies after a claim that reaches into the next lap, and another process makes the
/// claim void while an observer copies: the packet that is overwritten is not passed over as void.
#[test]
fn loom_observe_recovery() {
    check(2, || {
        let ring = ring(2, Claims::Shared, Overflow::Block);
        let mut dying = ring.writer(0);
        let mut observer = PassiveReader::new(ring.memory(), &ring.settings, ObserveFrom::Now);
        publish_all(&mut dying, 1, 1..=2);
        let dead = Arc::new(AtomicU64::new(0));
        let grave = Arc::clone(&dead);
        let first = thread::spawn(move || {
            dying.claim(1).unwrap();
            grave.store(1, Ordering::Release);
        });
        let memory = Arc::clone(&ring);
        let second = thread::spawn(move || {
            let is_alive =
                |entry| entry != EntryId::Publisher(0) || dead.load(Ordering::Acquire) == 0;
            memory.reap(&is_alive);
        });
        let mut copies = Copies::default();
        match observer.copy(&mut copies) {
            Look::Packets => assert_eq!(copies.list()[0].position, 0, "passed over"),
            look => assert_eq!(look, Look::Skipped(1)),
        }
        first.join().unwrap();
        second.join().unwrap();
    });
}

/// The rule of an observer alone: a word of the next lap is seen only with the limit that allowed
/// it.
fn observe_model(is_fenced: bool) {
    check(3, move || {
        let words = Arc::new((AtomicU64::new(0), AtomicU64::new(0)));
        let other = Arc::clone(&words);
        let publisher = thread::spawn(move || {
            other.0.store(1, Ordering::Release);
            if is_fenced {
                fence(Ordering::Release);
            }
            other.1.store(1, Ordering::Relaxed);
        });
        let word = words.1.load(Ordering::Relaxed);
        fence(Ordering::Acquire);
        let limit = words.0.load(Ordering::Acquire);
        publisher.join().unwrap();
        assert!(word == 0 || limit == 1, "an overwritten packet counts");
    });
}

#[test]
fn loom_observe_with_fence() {
    observe_model(true);
}

#[test]
#[should_panic(expected = "an overwritten packet counts")]
fn loom_observe_without_fence_takes_an_overwritten_packet() {
    observe_model(false);
}
