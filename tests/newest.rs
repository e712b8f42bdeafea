//! Newest first: a subscriber skips to the newest packet, in both kinds of overflow.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod support;

use packetring::{
    Missed, Overflow, Publisher, Received, RecvTimeoutError, Reserved, Ring, RingBuilder,
    Subscriber, TryRecvError, TrySendError, packet,
};
use std::ops::Range;
use std::thread;
use support::{LONG, SHORT, on_all, on_both};

/// A ring of 16 slots.
fn small(overflow: Overflow) -> RingBuilder {
    Ring::builder().capacity(1024).overflow(overflow)
}

/// Runs `body` over rings of every kind.
fn on_every(body: impl Fn(Ring)) {
    for overflow in [Overflow::Block, Overflow::DropOldest] {
        on_all(|| small(overflow), &body);
    }
}

#[track_caller]
fn publish(out: &mut Publisher<u64>, numbers: Range<u64>) {
    for number in numbers {
        out.try_send(&number).unwrap();
    }
}

/// The newest packet, and the number of packets before it.
#[track_caller]
fn latest(numbers: &mut Subscriber<u64>) -> (u64, u64) {
    let (number, skipped) = numbers.try_recv_latest().unwrap();
    (number.to_native(), skipped)
}

#[test]
fn the_newest_packet_comes_with_the_number_of_skipped_ones() {
    on_every(|ring| {
        let (mut out, mut numbers) = (ring.publisher().unwrap(), ring.subscriber().unwrap());
        assert!(matches!(numbers.try_recv_latest(), Err(TryRecvError::Empty)));
        let late = numbers.recv_latest_timeout(SHORT).map(drop);
        assert!(matches!(late, Err(RecvTimeoutError::Timeout)));
        publish(&mut out, 0..1);
        assert_eq!(latest(&mut numbers), (0, 0));
        // Over the end of the memory, too.
        for start in (1..100).step_by(9) {
            publish(&mut out, start..start + 9);
            assert_eq!(latest(&mut numbers), (start + 8, 8));
            assert!(matches!(numbers.try_recv_latest(), Err(TryRecvError::Empty)));
        }
        publish(&mut out, 200..203);
        assert_eq!(*numbers.recv().unwrap(), 200);
        let (number, skipped) = numbers.recv_latest_timeout(LONG).unwrap();
        assert_eq!((number.to_native(), skipped), (202, 1));
        drop(number);
        drop(out);
        assert!(matches!(numbers.try_recv_latest(), Err(TryRecvError::Closed)));
    });
}

#[test]
fn skipped_packets_make_room_and_the_newest_is_held() {
    on_all(
        || small(Overflow::Block),
        |ring| {
            let mut out = ring.publisher::<u64>().unwrap();
            let mut numbers = ring.subscriber::<u64>().unwrap();
            publish(&mut out, 0..16);
            assert!(matches!(out.try_send(&16), Err(TrySendError::Full { .. })));
            let (held, skipped) = numbers.recv_latest().unwrap();
            assert_eq!(skipped, 15);
            publish(&mut out, 16..31);
            assert!(matches!(out.try_send(&31), Err(TrySendError::Full { .. })));
            assert_eq!(*held, 15, "overwritten in hand");
            drop(held);
            publish(&mut out, 31..32);
            assert_eq!(latest(&mut numbers), (31, 15));
        },
    );
}

#[test]
fn a_publisher_that_waits_for_room_is_woken_by_a_skip() {
    on_both(
        || small(Overflow::Block),
        |ring| {
            let mut out = ring.publisher::<u64>().unwrap();
            let mut numbers = ring.subscriber::<u64>().unwrap();
            publish(&mut out, 0..16);
            let publisher = thread::spawn(move || out.send_timeout(&16, LONG).unwrap());
            assert_eq!(numbers.skip_to_newest().unwrap(), 15);
            publisher.join().unwrap();
        },
    );
}

#[test]
fn skip_to_newest_keeps_the_newest_for_the_next_receive() {
    on_every(|ring| {
        let mut out = ring.publisher::<u64>().unwrap();
        let mut numbers = ring.subscriber::<u64>().unwrap();
        assert_eq!(numbers.skip_to_newest().unwrap(), 0);
        publish(&mut out, 0..5);
        assert_eq!(numbers.skip_to_newest().unwrap(), 4);
        assert_eq!(numbers.skip_to_newest().unwrap(), 0);
        let packet = numbers.try_recv().unwrap();
        assert_eq!((packet.to_native(), Received::info(&packet).redelivered), (4, false));
        drop(packet);
        // A forgotten guard and a packet that `select` found are released.
        publish(&mut out, 5..8);
        std::mem::forget(numbers.try_recv().unwrap());
        assert_eq!(numbers.skip_to_newest().unwrap(), 1);
        assert!(packetring::select_timeout(&mut [&mut numbers], LONG).is_some());
        publish(&mut out, 8..10);
        assert_eq!(numbers.skip_to_newest().unwrap(), 2);
        assert_eq!(latest(&mut numbers), (9, 0));
    });
}

#[test]
fn a_packet_that_was_skipped_to_is_not_pinned() {
    on_all(
        || small(Overflow::DropOldest),
        |ring| {
            let mut out = ring.publisher::<u64>().unwrap();
            let mut numbers = ring.subscriber::<u64>().unwrap();
            publish(&mut out, 0..5);
            assert_eq!(numbers.skip_to_newest().unwrap(), 4);
            publish(&mut out, 5..100);
            assert_eq!(latest(&mut numbers), (99, 95));
        },
    );
}

#[test]
fn evicted_packets_count_as_skipped_and_are_reported_once() {
    on_all(
        || small(Overflow::DropOldest),
        |ring| {
            let mut out = ring.publisher::<u64>().unwrap();
            let mut numbers = ring.subscriber::<u64>().unwrap();
            publish(&mut out, 0..100);
            assert_eq!(latest(&mut numbers), (99, 99));
            assert!(matches!(numbers.try_recv(), Err(TryRecvError::Empty)));
            publish(&mut out, 100..200);
            assert_eq!(numbers.skip_to_newest().unwrap(), 99);
            assert_eq!(*numbers.try_recv().unwrap(), 199);
            // A held packet is not evicted. Those behind it are lost or skipped.
            publish(&mut out, 200..201);
            let (held, _) = numbers.try_recv_latest().unwrap();
            publish(&mut out, 201..216);
            assert!(matches!(out.try_send(&0), Err(TrySendError::Full { .. })));
            assert_eq!(*held, 200);
            drop(held);
            publish(&mut out, 216..300);
            assert_eq!(latest(&mut numbers), (299, 98));
        },
    );
}

#[test]
fn lost_packets_are_reported_if_none_is_left() {
    on_both(
        || small(Overflow::DropOldest).shared(),
        |ring| {
            let mut out = ring.publisher::<[u64; 55]>().unwrap();
            let mut large = ring.subscriber::<[u64; 55]>().unwrap();
            out.send(&[0; 55]).unwrap();
            out.send(&[0; 55]).unwrap();
            // The claim takes the place of both packets: nothing committed is left.
            let mut other = ring.publisher::<[u64; 55]>().unwrap();
            let claim = out.reserve().unwrap();
            let second = other.reserve().unwrap();
            let missed = match large.try_recv_latest().map(drop) {
                Err(TryRecvError::Missed(missed)) => missed,
                other => panic!("{other:?}"),
            };
            assert_eq!(missed, Missed { packets: 2, exact: true });
            assert!(matches!(large.try_recv_latest(), Err(TryRecvError::Empty)));
            drop((claim, second));
        },
    );
}

#[test]
fn an_open_claim_is_not_skipped() {
    on_both(
        || small(Overflow::Block).shared(),
        |ring| {
            let mut numbers = ring.subscriber::<u64>().unwrap();
            let (mut first, mut second) = (ring.publisher().unwrap(), ring.publisher().unwrap());
            publish(&mut first, 0..3);
            let mut claim = first.reserve().unwrap();
            publish(&mut second, 4..6);
            assert_eq!(latest(&mut numbers), (2, 2));
            assert!(matches!(numbers.try_recv_latest(), Err(TryRecvError::Empty)));
            *claim = 3.into();
            Reserved::commit(claim);
            assert_eq!(*numbers.try_recv().unwrap(), 3);
            assert_eq!(latest(&mut numbers), (5, 1));
        },
    );
}

#[test]
fn a_durable_subscriber_acknowledges_what_it_skips() {
    on_every(|ring| {
        let mut out = ring.publisher::<u64>().unwrap();
        let mut billing = ring.durable::<u64>("billing").unwrap();
        publish(&mut out, 0..4);
        std::mem::forget(billing.try_recv_latest().unwrap());
        drop(billing);
        let mut billing = ring.durable::<u64>("billing").unwrap();
        let packet = billing.try_recv().unwrap();
        assert_eq!((packet.to_native(), Received::info(&packet).redelivered), (3, true));
        drop(packet);
        publish(&mut out, 4..8);
        assert_eq!(billing.skip_to_newest().unwrap(), 3);
        drop(billing);
        let mut billing = ring.durable::<u64>("billing").unwrap();
        let packet = billing.try_recv().unwrap();
        assert_eq!((packet.to_native(), Received::info(&packet).redelivered), (7, false));
        drop(packet);
        drop(billing);
        assert!(ring.remove_durable("billing").unwrap());
    });
}

#[packet]
struct Price {
    cents: u64,
}

#[test]
fn the_newest_of_several_types_is_one_of_any() {
    on_every(|ring| {
        let mut all = ring.any_subscriber().unwrap();
        let mut out = ring.any_publisher().unwrap();
        out.send(&1u64).unwrap();
        out.send(&Price { cents: 2 }).unwrap();
        {
            let (packet, skipped) = all.try_recv_latest().unwrap();
            assert_eq!(skipped, 1);
            assert_eq!(packet.open_as::<Price>().unwrap().cents, 2);
        }
        out.send(&Price { cents: 3 }).unwrap();
        out.send(&4u64).unwrap();
        assert_eq!(all.skip_to_newest().unwrap(), 1);
        assert_eq!(*all.try_recv().unwrap().open_as::<u64>().unwrap(), 4);
    });
}

#[test]
fn everything_is_received_or_counted_beside_fast_publishers() {
    on_all(
        || small(Overflow::DropOldest),
        |ring| {
            let mut numbers = ring.subscriber::<u64>().unwrap();
            let mut out = ring.publisher::<u64>().unwrap();
            let publisher = thread::spawn(move || {
                for number in 1..=20_000 {
                    out.send(&number).unwrap();
                }
            });
            let (mut counted, mut last) = (0, 0);
            while last < 20_000 {
                if last % 3 == 0 {
                    counted += numbers.skip_to_newest().unwrap();
                    continue_to(&mut numbers, &mut counted, &mut last);
                } else {
                    let (number, skipped) = numbers.recv_latest().unwrap();
                    assert!(number.to_native() > last);
                    (counted, last) = (counted + skipped + 1, number.to_native());
                }
            }
            publisher.join().unwrap();
            assert_eq!(counted, 20_000);
        },
    );
}

/// Receives one packet in order.
fn continue_to(numbers: &mut Subscriber<u64>, counted: &mut u64, last: &mut u64) {
    match numbers.recv() {
        Ok(number) => {
            assert!(number.to_native() > *last);
            (*counted, *last) = (*counted + 1, number.to_native());
        }
        Err(packetring::RecvError::Missed(missed)) => *counted += missed.packets,
        Err(error) => panic!("{error}"),
    }
}
