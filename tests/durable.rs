//! Durable subscribers: packets wait for an absent subscriber, also after a kill, and unreleased
//! packets are redelivered.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod support;

use packetring::{
    Missed, OpenError, Overflow, Publisher, Received, Ring, RingBuilder, Subscriber, TryRecvError,
    TrySendError, WaitingFor,
};
use std::mem::forget;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use support::peer::{self, Peer, Role};
use support::{LONG, assert_gone, object, on_all, unique};

/// A ring of 16 slots.
fn small() -> RingBuilder {
    Ring::builder().capacity(1024)
}

/// Runs `body` over rings of every kind. `body` must remove its durable subscribers; otherwise the
/// shared-memory object stays.
fn on_every(body: impl Fn(Ring)) {
    for overflow in [Overflow::Block, Overflow::DropOldest] {
        on_all(
            || small().overflow(overflow),
            |ring| {
                body(ring);
            },
        );
    }
}

#[track_caller]
fn publish(out: &mut Publisher<u64>, numbers: Range<u64>) {
    for number in numbers {
        out.try_send(&number).unwrap();
    }
}

/// The next packet, and whether it is a redelivery.
#[track_caller]
fn next(numbers: &mut Subscriber<u64>) -> (u64, bool) {
    let number = numbers.try_recv().unwrap();
    (number.to_native(), Received::info(&number).redelivered)
}

#[track_caller]
fn expect(numbers: &mut Subscriber<u64>, expected: impl IntoIterator<Item = (u64, bool)>) {
    for expected in expected {
        assert_eq!(next(numbers), expected);
    }
}

#[track_caller]
fn expect_empty(numbers: &mut Subscriber<u64>) {
    assert!(matches!(numbers.try_recv(), Err(TryRecvError::Empty)));
}

fn fresh(numbers: Range<u64>) -> impl Iterator<Item = (u64, bool)> {
    numbers.map(|number| (number, false))
}

fn redelivered(numbers: Range<u64>) -> impl Iterator<Item = (u64, bool)> {
    numbers.map(|number| (number, true))
}

#[test]
fn a_successor_gets_waiting_packets_and_only_held_ones_are_redelivered() {
    on_every(|ring| {
        let mut out = ring.publisher::<u64>().unwrap();
        let mut billing = ring.durable::<u64>("billing").unwrap();
        publish(&mut out, 0..5);
        expect(&mut billing, fresh(0..2));
        drop(billing);
        publish(&mut out, 5..8);
        let mut billing = ring.durable::<u64>("billing").unwrap();
        expect(&mut billing, fresh(2..4));
        // This packet is still held when the subscriber leaves.
        forget(billing.try_recv().unwrap());
        drop(billing);
        let mut billing = ring.durable::<u64>("billing").unwrap();
        expect(&mut billing, redelivered(4..5).chain(fresh(5..8)));
        expect_empty(&mut billing);
        drop(billing);
        assert!(ring.remove_durable("billing").unwrap());
    });
}

#[test]
fn a_held_batch_is_redelivered_as_a_whole() {
    on_every(|ring| {
        let mut out = ring.publisher::<u64>().unwrap();
        let mut billing = ring.durable::<u64>("billing").unwrap();
        publish(&mut out, 0..5);
        expect(&mut billing, fresh(0..1));
        let batch = billing.try_drain().unwrap();
        assert_eq!(batch.len(), 4);
        forget(batch);
        publish(&mut out, 5..7);
        drop(billing);
        let mut billing = ring.durable::<u64>("billing").unwrap();
        expect(&mut billing, redelivered(1..5).chain(fresh(5..7)));
        drop(billing);
        ring.remove_durable("billing").unwrap();
    });
}

#[test]
fn a_packet_seen_only_by_select_is_not_a_redelivery() {
    on_every(|ring| {
        let mut out = ring.publisher::<u64>().unwrap();
        let mut billing = ring.durable::<u64>("billing").unwrap();
        publish(&mut out, 0..2);
        assert_eq!(packetring::try_select(&mut [&mut billing]), Some(0));
        drop(billing);
        let mut billing = ring.durable::<u64>("billing").unwrap();
        expect(&mut billing, fresh(0..2));
        drop(billing);
        ring.remove_durable("billing").unwrap();
    });
}

#[test]
fn an_absent_durable_subscriber_blocks_publishers() {
    on_all(small, |ring| {
        let mut out = ring.publisher::<u64>().unwrap();
        let mut others = ring.subscriber::<u64>().unwrap();
        drop(ring.durable::<u64>("billing").unwrap());
        assert_eq!(ring.subscribers(), 1, "an absent durable subscriber is not counted");
        for number in 0..16 {
            out.try_send(&number).unwrap();
            assert_eq!(*others.try_recv().unwrap(), number);
        }
        let full = out.try_send(&16).unwrap_err();
        let pid = std::process::id();
        assert!(
            matches!(full, TrySendError::Full { waiting_for: WaitingFor::Subscriber { pid: p } } if p == pid)
        );
        assert_eq!(out.backlog(), 16);
        let mut billing = ring.durable::<u64>("billing").unwrap();
        expect(&mut billing, fresh(0..3));
        publish(&mut out, 16..19);
        expect(&mut billing, fresh(3..19));
        drop(billing);
        ring.remove_durable("billing").unwrap();
    });
}

#[test]
fn removing_a_durable_subscriber_unblocks_publishers() {
    on_all(small, |ring| {
        let mut out = ring.publisher::<u64>().unwrap();
        let billing = ring.durable::<u64>("billing").unwrap();
        publish(&mut out, 0..16);
        assert!(matches!(out.try_send(&0), Err(TrySendError::Full { .. })));
        let taken = ring.remove_durable("billing").unwrap_err();
        let pid = std::process::id();
        assert!(
            matches!(taken, OpenError::NameTaken { name, pid: p } if name == "billing" && p == pid)
        );
        drop(billing);
        assert!(matches!(out.try_send(&0), Err(TrySendError::Full { .. })));
        assert!(!ring.remove_durable("billin").unwrap());
        // Removal also wakes a waiting publisher.
        std::thread::scope(|scope| {
            scope.spawn(|| out.send_timeout(&16, LONG).unwrap());
            assert!(ring.remove_durable("billing").unwrap());
        });
        assert!(!ring.remove_durable("billing").unwrap());
        publish(&mut out, 17..60);
        // A new durable subscriber under this name starts afresh.
        let mut billing = ring.durable::<u64>("billing").unwrap();
        expect_empty(&mut billing);
        publish(&mut out, 60..62);
        expect(&mut billing, fresh(60..62));
        drop(billing);
        ring.remove_durable("billing").unwrap();
    });
}

#[test]
fn a_name_has_one_owner_at_a_time() {
    on_every(|ring| {
        let long = "x".repeat(64);
        let (one, two) = (ring.durable::<u64>(&long).unwrap(), ring.durable::<u64>("x").unwrap());
        for name in [&*long, "x"] {
            for error in
                [ring.durable::<u64>(name).err().unwrap(), ring.any_durable(name).err().unwrap()]
            {
                let OpenError::NameTaken { name: taken, pid } = error else { panic!("{error}") };
                assert_eq!((&*taken, pid), (name, std::process::id()));
            }
        }
        let other = ring.durable::<u64>(&long[1..]).unwrap();
        assert_eq!(ring.subscribers(), 3);
        drop((one, two, other));
        for name in [&*long, "x", &long[1..]] {
            drop(ring.durable::<u64>(name).unwrap());
            assert!(ring.remove_durable(name).unwrap());
        }
    });
}

#[test]
fn a_returned_packet_is_redelivered() {
    on_every(|ring| {
        let mut out = ring.publisher::<u64>().unwrap();
        let mut billing = ring.durable::<u64>("billing").unwrap();
        publish(&mut out, 0..3);
        for round in 0..3 {
            let number = billing.try_recv().unwrap();
            assert_eq!((number.to_native(), Received::info(&number).redelivered), (0, round > 0));
            Received::unreceive(number);
        }
        expect(&mut billing, redelivered(0..1).chain(fresh(1..2)));
        Received::unreceive(billing.try_recv().unwrap());
        drop(billing);
        let mut billing = ring.durable::<u64>("billing").unwrap();
        expect(&mut billing, redelivered(2..3));
        expect_empty(&mut billing);
        drop(billing);
        ring.remove_durable("billing").unwrap();
    });
}

#[test]
fn plain_subscribers_can_return_packets() {
    on_every(|ring| {
        let mut out = ring.publisher::<u64>().unwrap();
        let mut numbers = ring.subscriber::<u64>().unwrap();
        publish(&mut out, 0..2);
        Received::unreceive(numbers.try_recv().unwrap());
        expect(&mut numbers, redelivered(0..1).chain(fresh(1..2)));
    });
}

#[test]
fn packets_held_during_a_panic_are_redelivered() {
    on_every(|ring| {
        let mut out = ring.publisher::<u64>().unwrap();
        let mut billing = ring.durable::<u64>("billing").unwrap();
        publish(&mut out, 0..6);
        let panic_in = |work: &mut dyn FnMut()| {
            catch_unwind(AssertUnwindSafe(work)).unwrap_err();
        };
        panic_in(&mut || {
            let _number = billing.try_recv().unwrap();
            panic!("on purpose");
        });
        expect(&mut billing, redelivered(0..1));
        panic_in(&mut || {
            let batch = billing.try_drain().unwrap();
            assert_eq!(batch.len(), 5);
            panic!("on purpose");
        });
        expect(&mut billing, redelivered(1..3));
        panic_in(&mut || {
            let _: Option<u64> = billing
                .try_recv_where(|number| if *number == 4 { panic!("on purpose") } else { false })
                .ok()
                .map(|number| number.to_native());
        });
        expect(&mut billing, redelivered(4..6));
        expect_empty(&mut billing);
        drop(billing);
        ring.remove_durable("billing").unwrap();
    });
}

#[test]
fn a_subscriber_dropped_by_a_panic_leaves_its_packet_to_the_successor() {
    on_every(|ring| {
        let mut out = ring.publisher::<u64>().unwrap();
        let mut billing = ring.durable::<u64>("billing").unwrap();
        publish(&mut out, 0..3);
        let caught = catch_unwind(AssertUnwindSafe(move || {
            let _number = billing.try_recv().unwrap();
            panic!("on purpose");
        }));
        caught.unwrap_err();
        let mut billing = ring.durable::<u64>("billing").unwrap();
        expect(&mut billing, redelivered(0..1).chain(fresh(1..3)));
        drop(billing);
        ring.remove_durable("billing").unwrap();
    });
}

#[test]
fn a_clone_of_a_durable_subscriber_is_not_durable() {
    on_every(|ring| {
        let mut out = ring.publisher::<u64>().unwrap();
        let mut billing = ring.durable::<u64>("billing").unwrap();
        publish(&mut out, 0..4);
        expect(&mut billing, fresh(0..1));
        let mut clone = billing.try_clone().unwrap();
        drop(billing);
        expect(&mut clone, fresh(1..4));
        drop(clone);
        let mut billing = ring.durable::<u64>("billing").unwrap();
        expect(&mut billing, fresh(1..4));
        drop(billing);
        ring.remove_durable("billing").unwrap();
    });
}

#[test]
fn packets_evicted_during_absence_are_reported_as_missed() {
    on_all(
        || small().overflow(Overflow::DropOldest),
        |ring| {
            let mut out = ring.publisher::<u64>().unwrap();
            let mut billing = ring.durable::<u64>("billing").unwrap();
            publish(&mut out, 0..3);
            expect(&mut billing, fresh(0..1));
            drop(billing);
            publish(&mut out, 3..30);
            expect_lost_then(&ring, 1..14, 14..30);
        },
    );
}

#[test]
fn packets_held_by_a_departed_owner_can_be_evicted() {
    let drops = || small().overflow(Overflow::DropOldest);
    on_all(drops, |ring| {
        let mut out = ring.publisher::<u64>().unwrap();
        let mut billing = ring.durable::<u64>("billing").unwrap();
        publish(&mut out, 0..3);
        expect(&mut billing, fresh(0..1));
        forget(billing.try_recv().unwrap());
        publish(&mut out, 3..17);
        assert!(
            matches!(out.try_send(&17), Err(TrySendError::Full { .. })),
            "the packet is still held"
        );
        drop(billing);
        publish(&mut out, 17..30);
        expect_lost_then(&ring, 1..14, 14..30);
    });
    for exclusive in [false, true] {
        let name = unique("pinned");
        let settings = if exclusive { drops().exclusive() } else { drops() };
        let ring = settings.open(&name).unwrap();
        drop(ring.durable::<u64>("billing").unwrap());
        let mut out = ring.publisher::<u64>().unwrap();
        publish(&mut out, 0..5);
        let mut owner = Peer::start(&format!("take {name} 2 one"));
        owner.expect("holding");
        publish(&mut out, 5..18);
        assert!(
            matches!(out.try_send(&18), Err(TrySendError::Full { .. })),
            "the packet is still held"
        );
        owner.kill();
        publish(&mut out, 18..40);
        expect_lost_then(&ring, 2..24, 24..40);
    }
}

/// The successor misses some packets, gets the rest, and is then removed.
#[track_caller]
fn expect_lost_then(ring: &Ring, lost: Range<u64>, rest: Range<u64>) {
    let mut billing = ring.durable::<u64>("billing").unwrap();
    match billing.try_recv().map(|number| number.to_native()) {
        Err(TryRecvError::Missed(missed)) => {
            assert_eq!(missed, Missed { packets: lost.end - lost.start, exact: true });
        }
        Err(error) => panic!("{error}"),
        Ok(number) => panic!("got {number} instead of a report that {lost:?} were missed"),
    }
    expect(&mut billing, fresh(rest));
    expect_empty(&mut billing);
    drop(billing);
    ring.remove_durable("billing").unwrap();
}

#[test]
fn a_new_durable_subscriber_starts_at_the_history() {
    on_all(
        || small().history(3),
        |ring| {
            let mut out = ring.publisher::<u64>().unwrap();
            publish(&mut out, 0..20);
            let mut billing = ring.durable::<u64>("billing").unwrap();
            expect(&mut billing, fresh(17..19));
            drop(billing);
            // A successor does not start over.
            let mut billing = ring.durable::<u64>("billing").unwrap();
            expect(&mut billing, fresh(19..20));
            expect_empty(&mut billing);
            drop(billing);
            ring.remove_durable("billing").unwrap();
        },
    );
}

#[test]
fn a_durable_subscriber_of_any_types_gets_waiting_packets() {
    on_every(|ring| {
        let mut out = ring.any_publisher().unwrap();
        let mut billing = ring.any_durable("billing").unwrap();
        out.send(&1_u64).unwrap();
        out.send(&"two".to_owned()).unwrap();
        out.send(&3_u32).unwrap();
        assert_eq!(*billing.try_recv().unwrap().open_as::<u64>().unwrap(), 1);
        billing.try_recv().unwrap().unreceive();
        let received = billing.try_recv().unwrap();
        assert!(received.info().redelivered);
        assert_eq!(*received.open_as::<String>().unwrap(), "two");
        forget(received);
        drop(billing);
        let mut billing = ring.any_durable("billing").unwrap();
        let received = billing.try_recv().unwrap();
        assert!(received.info().redelivered && received.type_name() == "String");
        drop(received);
        let received = billing.try_recv().unwrap();
        assert!(!received.info().redelivered);
        assert_eq!(*received.open_as::<u32>().unwrap(), 3);
        drop(received);
        drop(billing);
        ring.remove_durable("billing").unwrap();
    });
}

#[test]
fn a_ring_with_a_durable_subscriber_stays_until_removed() {
    for exclusive in [false, true] {
        let name = unique("outlives");
        let settings = if exclusive { small().exclusive() } else { small() };
        let ring = settings.clone().open(&name).unwrap();
        let billing = ring.durable::<u64>("billing").unwrap();
        publish(&mut ring.publisher().unwrap(), 0..3);
        drop((ring, billing));
        assert!(object(&name).exists());
        let ring = Ring::attach(&name).unwrap();
        assert!(matches!(Ring::remove(&name), Err(OpenError::InUse { .. })));
        publish(&mut ring.publisher().unwrap(), 3..5);
        drop(ring);
        let ring = settings.open(&name).unwrap();
        let mut billing = ring.durable::<u64>("billing").unwrap();
        drop(ring);
        expect(&mut billing, fresh(0..5));
        assert!(matches!(billing.try_recv(), Err(TryRecvError::Closed)));
        drop(billing);
        assert!(object(&name).exists());
        assert!(Ring::remove(&name).unwrap());
        assert_gone(&name);
        assert!(!Ring::remove(&name).unwrap());
        assert!(matches!(Ring::attach(&name), Err(OpenError::NotFound { .. })));
    }
}

/// Entry point of the child processes; does nothing without a role.
#[test]
fn peer() {
    let Some(role) = peer::role() else { return };
    match role.name.as_str() {
        "take" => take(&role),
        "consume" => consume(&role),
        other => panic!("{other}"),
    }
}

/// Receives and releases some packets, then holds one or all of the rest. Arguments: ring, number
/// of packets, `one` or `all`.
fn take(role: &Role) {
    let ring = Ring::attach(&role.arguments[0]).unwrap();
    let mut billing = ring.durable::<u64>("billing").unwrap();
    for expected in 0..role.number(1) {
        assert_eq!(*billing.recv_timeout(LONG).unwrap(), expected);
    }
    let (_one, _all);
    if role.arguments[2] == "one" {
        _one = billing.recv_timeout(LONG).unwrap();
    } else {
        _all = billing.drain_timeout(LONG).unwrap();
    }
    peer::say("holding");
    peer::hear();
}

#[test]
fn a_killed_owner_leaves_held_packets_to_its_successor() {
    for (overflow, exclusive) in [
        (Overflow::Block, false),
        (Overflow::Block, true),
        (Overflow::DropOldest, false),
        (Overflow::DropOldest, true),
    ] {
        for (keeps, held) in [("one", 1), ("all", 8)] {
            let name = unique("killed");
            let settings = small().overflow(overflow);
            let settings = if exclusive { settings.exclusive() } else { settings };
            let ring = settings.open(&name).unwrap();
            drop(ring.durable::<u64>("billing").unwrap());
            let mut out = ring.publisher::<u64>().unwrap();
            publish(&mut out, 0..10);
            let mut owner = Peer::start(&format!("take {name} 2 {keeps}"));
            owner.expect("holding");
            publish(&mut out, 10..12);
            let taken = ring.durable::<u64>("billing").unwrap_err();
            assert!(matches!(taken, OpenError::NameTaken { pid, .. } if pid == owner.pid()));
            assert_eq!(ring.subscribers(), 1);
            owner.kill();
            assert_eq!(ring.subscribers(), 0);
            let mut billing = ring.durable::<u64>("billing").unwrap();
            expect(&mut billing, redelivered(2..2 + held).chain(fresh(2 + held..12)));
            expect_empty(&mut billing);
            drop(billing);
            ring.remove_durable("billing").unwrap();
            drop((ring, out));
            assert_gone(&name);
        }
    }
}

/// Reports each packet while holding it. Arguments: ring.
fn consume(role: &Role) {
    let ring = Ring::attach(&role.arguments[0]).unwrap();
    let mut billing = ring.durable::<u64>("billing").unwrap();
    loop {
        let number = billing.recv_timeout(LONG).unwrap();
        peer::say(&format!("{} {}", *number, Received::info(&number).redelivered));
    }
}

#[test]
fn a_series_of_killed_owners_loses_nothing() {
    for exclusive in [false, true] {
        let name = unique("line");
        let settings = if exclusive { small().exclusive() } else { small() };
        let ring = settings.open(&name).unwrap();
        drop(ring.durable::<u64>("billing").unwrap());
        let mut out = ring.publisher::<u64>().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                // Until the ring is closed.
                for number in 0.. {
                    if out.send_timeout(&number, LONG).is_err() {
                        break;
                    }
                }
            });
            let _closing = CloseOnDrop(&ring);
            // The lowest number that no owner has reported.
            let mut unreported = 0;
            for owner in 0..12 {
                let mut peer = Peer::start(&format!("consume {name}"));
                let mut last = None;
                for _ in 0..3 + 17 * owner {
                    let line = peer.hear();
                    let (number, redelivered) = line.split_once(' ').unwrap();
                    let (number, redelivered): (u64, bool) =
                        (number.parse().unwrap(), redelivered.parse().unwrap());
                    assert!(last.is_none_or(|last| number == last + 1), "{last:?}, {number}");
                    assert!(number <= unreported, "{unreported} was lost");
                    assert!(
                        redelivered || number == unreported,
                        "{number} was redelivered without a flag"
                    );
                    (last, unreported) = (Some(number), unreported.max(number + 1));
                }
                peer.kill();
                // Lines written before the kill.
                while let Some(line) = peer.rest() {
                    let number: u64 = line.split_once(' ').unwrap().0.parse().unwrap();
                    unreported = unreported.max(number + 1);
                }
            }
        });
        ring.remove_durable("billing").unwrap();
        drop((ring, out));
        assert_gone(&name);
    }
}

/// Closes the ring when dropped, also by a panic, so that its publishers end.
struct CloseOnDrop<'a>(&'a Ring);

impl Drop for CloseOnDrop<'_> {
    fn drop(&mut self) {
        self.0.close().unwrap();
    }
}
