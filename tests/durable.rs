//! Durable subscribers: what is published for them waits, whoever dies, and what was in hand
//! comes again.

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

/// Sixteen slots.
fn small() -> RingBuilder {
    Ring::builder().capacity(1024)
}

/// Runs over rings of every kind.
fn on_every(body: impl Fn(Ring)) {
    for overflow in [Overflow::Block, Overflow::DropOldest] {
        on_all(
            || small().overflow(overflow),
            |ring| {
                // Else the object stays, which is what durable subscribers are for.
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

fn again(numbers: Range<u64>) -> impl Iterator<Item = (u64, bool)> {
    numbers.map(|number| (number, true))
}

#[test]
fn packets_wait_for_a_successor_and_only_what_was_in_hand_comes_again() {
    on_every(|ring| {
        let mut out = ring.publisher::<u64>().unwrap();
        let mut desk = ring.durable::<u64>("desk").unwrap();
        publish(&mut out, 0..5);
        expect(&mut desk, fresh(0..2));
        drop(desk);
        publish(&mut out, 5..8);
        let mut desk = ring.durable::<u64>("desk").unwrap();
        expect(&mut desk, fresh(2..4));
        // This one is in hand when it goes.
        forget(desk.try_recv().unwrap());
        drop(desk);
        let mut desk = ring.durable::<u64>("desk").unwrap();
        expect(&mut desk, again(4..5).chain(fresh(5..8)));
        expect_empty(&mut desk);
        drop(desk);
        assert!(ring.remove_durable("desk").unwrap());
    });
}

#[test]
fn a_batch_in_hand_comes_again_as_a_whole() {
    on_every(|ring| {
        let mut out = ring.publisher::<u64>().unwrap();
        let mut desk = ring.durable::<u64>("desk").unwrap();
        publish(&mut out, 0..5);
        expect(&mut desk, fresh(0..1));
        let batch = desk.try_drain().unwrap();
        assert_eq!(batch.len(), 4);
        forget(batch);
        publish(&mut out, 5..7);
        drop(desk);
        let mut desk = ring.durable::<u64>("desk").unwrap();
        expect(&mut desk, again(1..5).chain(fresh(5..7)));
        drop(desk);
        ring.remove_durable("desk").unwrap();
    });
}

#[test]
fn what_only_a_select_found_was_not_handed_out() {
    on_every(|ring| {
        let mut out = ring.publisher::<u64>().unwrap();
        let mut desk = ring.durable::<u64>("desk").unwrap();
        publish(&mut out, 0..2);
        assert_eq!(packetring::try_select(&mut [&mut desk]), Some(0));
        drop(desk);
        let mut desk = ring.durable::<u64>("desk").unwrap();
        expect(&mut desk, fresh(0..2));
        drop(desk);
        ring.remove_durable("desk").unwrap();
    });
}

#[test]
fn one_that_is_gone_gates() {
    on_all(small, |ring| {
        let mut out = ring.publisher::<u64>().unwrap();
        let mut others = ring.subscriber::<u64>().unwrap();
        drop(ring.durable::<u64>("desk").unwrap());
        assert_eq!(ring.subscribers(), 1, "it does not live");
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
        let mut desk = ring.durable::<u64>("desk").unwrap();
        expect(&mut desk, fresh(0..3));
        publish(&mut out, 16..19);
        expect(&mut desk, fresh(3..19));
        drop(desk);
        ring.remove_durable("desk").unwrap();
    });
}

#[test]
fn removing_one_opens_the_gate() {
    on_all(small, |ring| {
        let mut out = ring.publisher::<u64>().unwrap();
        let desk = ring.durable::<u64>("desk").unwrap();
        publish(&mut out, 0..16);
        assert!(matches!(out.try_send(&0), Err(TrySendError::Full { .. })));
        let taken = ring.remove_durable("desk").unwrap_err();
        let pid = std::process::id();
        assert!(
            matches!(taken, OpenError::NameTaken { name, pid: p } if name == "desk" && p == pid)
        );
        drop(desk);
        assert!(matches!(out.try_send(&0), Err(TrySendError::Full { .. })));
        assert!(!ring.remove_durable("des").unwrap());
        // Also for one who waits.
        std::thread::scope(|scope| {
            scope.spawn(|| out.send_timeout(&16, LONG).unwrap());
            assert!(ring.remove_durable("desk").unwrap());
        });
        assert!(!ring.remove_durable("desk").unwrap());
        publish(&mut out, 17..60);
        // The next of this name is a new one.
        let mut desk = ring.durable::<u64>("desk").unwrap();
        expect_empty(&mut desk);
        publish(&mut out, 60..62);
        expect(&mut desk, fresh(60..62));
        drop(desk);
        ring.remove_durable("desk").unwrap();
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
fn what_is_put_back_comes_again() {
    on_every(|ring| {
        let mut out = ring.publisher::<u64>().unwrap();
        let mut desk = ring.durable::<u64>("desk").unwrap();
        publish(&mut out, 0..3);
        for round in 0..3 {
            let number = desk.try_recv().unwrap();
            assert_eq!((number.to_native(), Received::info(&number).redelivered), (0, round > 0));
            Received::unreceive(number);
        }
        expect(&mut desk, again(0..1).chain(fresh(1..2)));
        Received::unreceive(desk.try_recv().unwrap());
        drop(desk);
        let mut desk = ring.durable::<u64>("desk").unwrap();
        expect(&mut desk, again(2..3));
        expect_empty(&mut desk);
        drop(desk);
        ring.remove_durable("desk").unwrap();
    });
}

#[test]
fn others_can_put_back_too() {
    on_every(|ring| {
        let mut out = ring.publisher::<u64>().unwrap();
        let mut numbers = ring.subscriber::<u64>().unwrap();
        publish(&mut out, 0..2);
        Received::unreceive(numbers.try_recv().unwrap());
        expect(&mut numbers, again(0..1).chain(fresh(1..2)));
    });
}

#[test]
fn what_was_in_hand_in_a_panic_comes_again() {
    on_every(|ring| {
        let mut out = ring.publisher::<u64>().unwrap();
        let mut desk = ring.durable::<u64>("desk").unwrap();
        publish(&mut out, 0..6);
        let in_panic = |work: &mut dyn FnMut()| {
            catch_unwind(AssertUnwindSafe(work)).unwrap_err();
        };
        in_panic(&mut || {
            let _number = desk.try_recv().unwrap();
            panic!("on purpose");
        });
        expect(&mut desk, again(0..1));
        in_panic(&mut || {
            let batch = desk.try_drain().unwrap();
            assert_eq!(batch.len(), 5);
            panic!("on purpose");
        });
        expect(&mut desk, again(1..3));
        in_panic(&mut || {
            let _: Option<u64> = desk
                .try_recv_where(|number| if *number == 4 { panic!("on purpose") } else { false })
                .ok()
                .map(|number| number.to_native());
        });
        expect(&mut desk, again(4..6));
        expect_empty(&mut desk);
        drop(desk);
        ring.remove_durable("desk").unwrap();
    });
}

#[test]
fn a_subscriber_that_goes_in_a_panic_leaves_its_packet_to_the_successor() {
    on_every(|ring| {
        let mut out = ring.publisher::<u64>().unwrap();
        let mut desk = ring.durable::<u64>("desk").unwrap();
        publish(&mut out, 0..3);
        let caught = catch_unwind(AssertUnwindSafe(move || {
            let _number = desk.try_recv().unwrap();
            panic!("on purpose");
        }));
        caught.unwrap_err();
        let mut desk = ring.durable::<u64>("desk").unwrap();
        expect(&mut desk, again(0..1).chain(fresh(1..3)));
        drop(desk);
        ring.remove_durable("desk").unwrap();
    });
}

#[test]
fn a_clone_of_a_durable_subscriber_is_not_durable() {
    on_every(|ring| {
        let mut out = ring.publisher::<u64>().unwrap();
        let mut desk = ring.durable::<u64>("desk").unwrap();
        publish(&mut out, 0..4);
        expect(&mut desk, fresh(0..1));
        let mut clone = desk.try_clone().unwrap();
        drop(desk);
        expect(&mut clone, fresh(1..4));
        drop(clone);
        let mut desk = ring.durable::<u64>("desk").unwrap();
        expect(&mut desk, fresh(1..4));
        drop(desk);
        ring.remove_durable("desk").unwrap();
    });
}

#[test]
fn what_was_dropped_while_it_was_gone_is_missed() {
    on_all(
        || small().overflow(Overflow::DropOldest),
        |ring| {
            let mut out = ring.publisher::<u64>().unwrap();
            let mut desk = ring.durable::<u64>("desk").unwrap();
            publish(&mut out, 0..3);
            expect(&mut desk, fresh(0..1));
            drop(desk);
            publish(&mut out, 3..30);
            expect_lost_then(&ring, 1..14, 14..30);
        },
    );
}

#[test]
fn what_was_in_the_hand_of_one_that_is_gone_can_be_dropped() {
    let drops = || small().overflow(Overflow::DropOldest);
    on_all(drops, |ring| {
        let mut out = ring.publisher::<u64>().unwrap();
        let mut desk = ring.durable::<u64>("desk").unwrap();
        publish(&mut out, 0..3);
        expect(&mut desk, fresh(0..1));
        forget(desk.try_recv().unwrap());
        publish(&mut out, 3..17);
        assert!(matches!(out.try_send(&17), Err(TrySendError::Full { .. })), "it is in hand");
        drop(desk);
        publish(&mut out, 17..30);
        expect_lost_then(&ring, 1..14, 14..30);
    });
    for exclusive in [false, true] {
        let name = unique("pinned");
        let settings = if exclusive { drops().exclusive() } else { drops() };
        let ring = settings.open(&name).unwrap();
        drop(ring.durable::<u64>("desk").unwrap());
        let mut out = ring.publisher::<u64>().unwrap();
        publish(&mut out, 0..5);
        let mut owner = Peer::start(&format!("take {name} 2 one"));
        owner.expect("holding");
        publish(&mut out, 5..18);
        assert!(matches!(out.try_send(&18), Err(TrySendError::Full { .. })), "it is in hand");
        owner.kill();
        publish(&mut out, 18..40);
        expect_lost_then(&ring, 2..24, 24..40);
    }
}

/// The successor misses some packets and gets the others; then there is none any more.
#[track_caller]
fn expect_lost_then(ring: &Ring, lost: Range<u64>, rest: Range<u64>) {
    let mut desk = ring.durable::<u64>("desk").unwrap();
    match desk.try_recv().map(|number| number.to_native()) {
        Err(TryRecvError::Missed(missed)) => {
            assert_eq!(missed, Missed { packets: lost.end - lost.start, exact: true });
        }
        Err(error) => panic!("{error}"),
        Ok(number) => panic!("{number}, and not that {lost:?} are missing"),
    }
    expect(&mut desk, fresh(rest));
    expect_empty(&mut desk);
    drop(desk);
    ring.remove_durable("desk").unwrap();
}

#[test]
fn a_new_durable_subscriber_starts_as_far_back_as_the_history() {
    on_all(
        || small().history(3),
        |ring| {
            let mut out = ring.publisher::<u64>().unwrap();
            publish(&mut out, 0..20);
            let mut desk = ring.durable::<u64>("desk").unwrap();
            expect(&mut desk, fresh(17..19));
            drop(desk);
            // A successor does not start over.
            let mut desk = ring.durable::<u64>("desk").unwrap();
            expect(&mut desk, fresh(19..20));
            expect_empty(&mut desk);
            drop(desk);
            ring.remove_durable("desk").unwrap();
        },
    );
}

#[test]
fn mail_waits_too() {
    on_every(|ring| {
        let mut out = ring.any_publisher().unwrap();
        let mut desk = ring.any_durable("desk").unwrap();
        out.send(&1_u64).unwrap();
        out.send(&"two".to_owned()).unwrap();
        out.send(&3_u32).unwrap();
        assert_eq!(*desk.try_recv().unwrap().open_as::<u64>().unwrap(), 1);
        desk.try_recv().unwrap().unreceive();
        let mail = desk.try_recv().unwrap();
        assert!(mail.info().redelivered);
        assert_eq!(*mail.open_as::<String>().unwrap(), "two");
        forget(mail);
        drop(desk);
        let mut desk = ring.any_durable("desk").unwrap();
        let mail = desk.try_recv().unwrap();
        assert!(mail.info().redelivered && mail.type_name() == "String");
        drop(mail);
        let mail = desk.try_recv().unwrap();
        assert!(!mail.info().redelivered);
        assert_eq!(*mail.open_as::<u32>().unwrap(), 3);
        drop(mail);
        drop(desk);
        ring.remove_durable("desk").unwrap();
    });
}

#[test]
fn a_ring_with_a_durable_subscriber_outlives_everyone_until_it_is_removed() {
    for exclusive in [false, true] {
        let name = unique("outlives");
        let settings = if exclusive { small().exclusive() } else { small() };
        let ring = settings.clone().open(&name).unwrap();
        let desk = ring.durable::<u64>("desk").unwrap();
        publish(&mut ring.publisher().unwrap(), 0..3);
        drop((ring, desk));
        assert!(object(&name).exists());
        let ring = Ring::attach(&name).unwrap();
        assert!(matches!(Ring::remove(&name), Err(OpenError::InUse { .. })));
        publish(&mut ring.publisher().unwrap(), 3..5);
        drop(ring);
        let ring = settings.open(&name).unwrap();
        let mut desk = ring.durable::<u64>("desk").unwrap();
        drop(ring);
        expect(&mut desk, fresh(0..5));
        assert!(matches!(desk.try_recv(), Err(TryRecvError::Closed)));
        drop(desk);
        assert!(object(&name).exists());
        assert!(Ring::remove(&name).unwrap());
        assert_gone(&name);
        assert!(!Ring::remove(&name).unwrap());
        assert!(matches!(Ring::attach(&name), Err(OpenError::NotFound { .. })));
    }
}

/// The other processes of these tests; nothing by itself.
#[test]
fn peer() {
    let Some(role) = peer::role() else { return };
    match role.name.as_str() {
        "take" => take(&role),
        "consume" => consume(&role),
        other => panic!("{other}"),
    }
}

/// Takes some packets and drops them, then keeps the rest in hand. Arguments: ring, packets, one
/// more or all.
fn take(role: &Role) {
    let ring = Ring::attach(&role.arguments[0]).unwrap();
    let mut desk = ring.durable::<u64>("desk").unwrap();
    for expected in 0..role.number(1) {
        assert_eq!(*desk.recv_timeout(LONG).unwrap(), expected);
    }
    let (_one, _all);
    if role.arguments[2] == "one" {
        _one = desk.recv_timeout(LONG).unwrap();
    } else {
        _all = desk.drain_timeout(LONG).unwrap();
    }
    peer::say("holding");
    peer::hear();
}

#[test]
fn a_killed_one_leaves_what_was_in_hand_to_its_successor() {
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
            drop(ring.durable::<u64>("desk").unwrap());
            let mut out = ring.publisher::<u64>().unwrap();
            publish(&mut out, 0..10);
            let mut owner = Peer::start(&format!("take {name} 2 {keeps}"));
            owner.expect("holding");
            publish(&mut out, 10..12);
            let taken = ring.durable::<u64>("desk").unwrap_err();
            assert!(matches!(taken, OpenError::NameTaken { pid, .. } if pid == owner.pid()));
            assert_eq!(ring.subscribers(), 1);
            owner.kill();
            assert_eq!(ring.subscribers(), 0);
            let mut desk = ring.durable::<u64>("desk").unwrap();
            expect(&mut desk, again(2..2 + held).chain(fresh(2 + held..12)));
            expect_empty(&mut desk);
            drop(desk);
            ring.remove_durable("desk").unwrap();
            drop((ring, out));
            assert_gone(&name);
        }
    }
}

/// Says each packet that it takes, while it has it in hand. Arguments: ring.
fn consume(role: &Role) {
    let ring = Ring::attach(&role.arguments[0]).unwrap();
    let mut desk = ring.durable::<u64>("desk").unwrap();
    loop {
        let number = desk.recv_timeout(LONG).unwrap();
        peer::say(&format!("{} {}", *number, Received::info(&number).redelivered));
    }
}

#[test]
fn a_line_of_killed_owners_misses_nothing() {
    for exclusive in [false, true] {
        let name = unique("line");
        let settings = if exclusive { small().exclusive() } else { small() };
        let ring = settings.open(&name).unwrap();
        drop(ring.durable::<u64>("desk").unwrap());
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
            let _closing = Closing(&ring);
            // The first that nobody has said.
            let mut unsaid = 0;
            for owner in 0..12 {
                let mut peer = Peer::start(&format!("consume {name}"));
                let mut last = None;
                for _ in 0..3 + 17 * owner {
                    let line = peer.hear();
                    let (number, redelivered) = line.split_once(' ').unwrap();
                    let (number, redelivered): (u64, bool) =
                        (number.parse().unwrap(), redelivered.parse().unwrap());
                    assert!(last.is_none_or(|last| number == last + 1), "{last:?}, {number}");
                    assert!(number <= unsaid, "{unsaid} is lost");
                    assert!(redelivered || number == unsaid, "{number} was handed out before");
                    (last, unsaid) = (Some(number), unsaid.max(number + 1));
                }
                peer.kill();
                // What it said meanwhile.
                while let Some(line) = peer.rest() {
                    let number: u64 = line.split_once(' ').unwrap().0.parse().unwrap();
                    unsaid = unsaid.max(number + 1);
                }
            }
        });
        ring.remove_durable("desk").unwrap();
        drop((ring, out));
        assert_gone(&name);
    }
}

/// Closes the ring when it is dropped, also by a panic, so that its publishers end.
struct Closing<'a>(&'a Ring);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.close().unwrap();
    }
}
