//! Bursts: order, the rest of a claim, closing, and publishers that die with an open burst.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod support;

use packetring::any::AnyPublisher;
use packetring::with::{Conversion, Via};
use packetring::{
    Overflow, Publisher, Received, RecvTimeoutError, Reserved, Ring, RingBuilder, SendError,
    SendTimeoutError, Subscriber, TryRecvError, TrySendError, WaitingFor, packet,
};
use std::convert::Infallible;
use std::mem::forget;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use support::peer::{self, Peer, Role};
use support::{LONG, SHORT, on_all, on_both, unique};

/// A ring of 16 slots.
fn small() -> RingBuilder {
    Ring::builder().capacity(1024)
}

/// Takes two slots.
#[packet]
struct Wide {
    number: u64,
    rest: [u64; 11],
}

fn wide(number: u64) -> Wide {
    Wide { number, rest: [number; 11] }
}

/// Serializes a number. Panics if it is 13, and ends its process if it is 14 and is being written.
struct Unlucky;

impl Conversion<u64> for Unlucky {
    type Packet = u64;
    type Error = Infallible;

    fn to_packet(number: &u64) -> Result<u64, Infallible> {
        static IS_MEASURED: AtomicBool = AtomicBool::new(false);
        assert_ne!(*number, 13, "on purpose");
        if *number == 14 && IS_MEASURED.swap(true, Ordering::Relaxed) {
            kill();
        }
        Ok(*number)
    }

    fn from_packet(number: u64) -> Result<u64, Infallible> {
        Ok(number)
    }
}

/// Ends with an unlucky number, after bytes of several slots.
#[packet]
struct Lucky {
    before: Vec<u64>,
    #[rkyv(with = Via<Unlucky>)]
    number: u64,
}

fn lucky(number: u64) -> Lucky {
    Lucky { before: vec![number; 20], number }
}

fn kill() -> ! {
    let this = rustix::process::getpid();
    rustix::process::kill_process(this, rustix::process::Signal::KILL).unwrap();
    unreachable!()
}

/// Two publishers and a subscriber.
fn three(ring: &Ring) -> (Publisher<u64>, Publisher<u64>, Subscriber<u64>) {
    let numbers = ring.subscriber().unwrap();
    (ring.publisher().unwrap(), ring.publisher().unwrap(), numbers)
}

/// The packets that are there, with their positions.
fn receive_all(numbers: &mut Subscriber<u64>) -> Vec<(u64, u64)> {
    let mut all = Vec::new();
    loop {
        match numbers.try_recv() {
            Ok(number) => all.push((Received::info(&number).position, number.to_native())),
            Err(TryRecvError::Empty | TryRecvError::Closed) => return all,
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn packets_lie_where_they_were_claimed() {
    on_both(small, |ring| {
        let (mut a, mut b, mut numbers) = three(&ring);
        let mut burst = a.burst(2).unwrap();
        assert_eq!(b.send(&20).unwrap(), 2);
        assert_eq!(receive_all(&mut numbers), []);
        // A knows of `20` by now.
        assert_eq!(burst.send(&10).unwrap(), 0);
        assert_eq!(receive_all(&mut numbers), [(0, 10)], "each packet is published at once");
        assert_eq!(burst.send(&11).unwrap(), 1);
        assert_eq!(receive_all(&mut numbers), [(1, 11), (2, 20)]);
    });
}

#[test]
fn a_burst_goes_on_with_another_claim() {
    on_both(small, |ring| {
        let (mut a, mut b, mut numbers) = three(&ring);
        let mut burst = a.burst(3).unwrap();
        let mut positions = Vec::new();
        for number in 0..7 {
            positions.push(burst.send(&number).unwrap());
            b.send(&100).unwrap();
        }
        // Three at a time, with the packets that B sent meanwhile in between.
        assert_eq!(positions, [0, 1, 2, 6, 7, 8, 12]);
        drop(burst);
        let from_a = receive_all(&mut numbers);
        let from_a: Vec<u64> = from_a.iter().map(|(_, n)| *n).filter(|&n| n < 100).collect();
        assert_eq!(from_a, [0, 1, 2, 3, 4, 5, 6]);
    });
}

#[test]
fn the_rest_of_a_dropped_burst_is_void() {
    on_both(small, |ring| {
        let (mut a, mut b, mut numbers) = three(&ring);
        for sent in 0..=3 {
            let mut burst = a.burst(3).unwrap();
            for _ in 0..sent {
                burst.send(&1).unwrap();
            }
            b.send(&2).unwrap();
            drop(burst);
            let all: Vec<u64> = receive_all(&mut numbers).iter().map(|(_, n)| *n).collect();
            assert_eq!(all, [vec![1; sent], vec![2]].concat());
        }
    });
}

#[test]
fn a_forgotten_burst_is_ended_by_the_next_call() {
    on_both(
        || small().capacity(2048),
        |ring| {
            let (mut a, mut b, mut numbers) = three(&ring);
            for next in 0..4 {
                let mut burst = a.burst(3).unwrap();
                burst.send(&1).unwrap();
                forget(burst);
                b.send(&2).unwrap();
                let before = receive_all(&mut numbers);
                assert_eq!(before.iter().map(|(_, n)| *n).collect::<Vec<_>>(), [1]);
                match next {
                    0 => assert_eq!(a.send(&3).unwrap(), before[0].0 + 4),
                    1 => a.send_all(&[3]).unwrap(),
                    2 => assert!(a.burst(1).unwrap().send(&3).is_ok()),
                    _ => {
                        let mut room = a.reserve().unwrap();
                        *room = 3.into();
                        Reserved::commit(room);
                    }
                }
                let after: Vec<u64> = receive_all(&mut numbers).iter().map(|(_, n)| *n).collect();
                assert_eq!(after, [2, 3]);
            }
            forget(a.burst(3).unwrap());
            b.send(&4).unwrap();
            drop(a);
            assert_eq!(
                numbers.recv_timeout(LONG).unwrap().to_native(),
                4,
                "a publisher that leaves"
            );
        },
    );
}

#[test]
fn a_packet_that_is_longer_than_the_rest_is_claimed_anew() {
    on_both(small, |ring| {
        let mut texts = ring.subscriber::<String>().unwrap();
        let mut out = ring.publisher::<String>().unwrap();
        let mut other = ring.publisher::<String>().unwrap();
        let (short, long) = ("short".to_owned(), "long ".repeat(30));
        let mut burst = out.burst(2).unwrap();
        assert_eq!(burst.send(&short).unwrap(), 0);
        // 150 bytes and a header take three slots: more than a burst has.
        assert_eq!(burst.send(&long).unwrap(), 2);
        assert_eq!(other.send(&short).unwrap(), 5, "no more was claimed than the packet takes");
        assert_eq!(burst.send(&short).unwrap(), 6);
        drop(burst);
        for expected in [&short, &long, &short, &short] {
            assert_eq!(*texts.try_recv().unwrap(), **expected);
        }
    });
}

#[test]
fn packets_of_a_constant_length_leave_no_slot_over() {
    on_both(small, |ring| {
        let mut all = ring.subscriber::<Wide>().unwrap();
        let mut out = ring.publisher::<Wide>().unwrap();
        let mut burst = out.burst(5).unwrap();
        for number in 0..4 {
            // Two packets for each claim.
            assert_eq!(burst.send(&wide(number)).unwrap(), number * 2);
        }
        drop(burst);
        for number in 0..4 {
            assert_eq!(all.try_recv().unwrap().number, number);
        }
        assert_eq!(all.backlog(), 0);
        // A burst of no slot has one packet.
        assert_eq!(out.burst(0).unwrap().send(&wide(7)).unwrap(), 8);
        assert_eq!(out.burst(0).unwrap().send(&wide(7)).unwrap(), 10);
    });
}

#[test]
fn a_burst_takes_at_most_half_the_ring() {
    on_both(small, |ring| {
        let (mut a, mut b, mut numbers) = three(&ring);
        let mut burst = a.burst(usize::MAX).unwrap();
        assert_eq!(b.send(&2).unwrap(), 8);
        assert_eq!(burst.send(&1).unwrap(), 0);
        drop(burst);
        assert_eq!(receive_all(&mut numbers), [(0, 1), (8, 2)]);
    });
}

#[test]
fn a_full_ring_has_no_burst() {
    on_both(small, |ring| {
        let (mut a, mut b, mut numbers) = three(&ring);
        for number in 0..13 {
            b.send(&number).unwrap();
        }
        // There is room for three packets only.
        let mut burst = a.try_burst(8).unwrap();
        for number in 13..16 {
            burst.try_send(&number).unwrap();
        }
        let is_full = |error: &TrySendError| {
            let pid = std::process::id();
            matches!(error, TrySendError::Full { waiting_for: WaitingFor::Subscriber { pid: p } } if *p == pid)
        };
        assert!(is_full(&burst.try_send(&16).unwrap_err()));
        assert!(matches!(burst.send_timeout(&16, SHORT), Err(SendTimeoutError::Timeout { .. })));
        drop(burst);
        assert!(is_full(&a.try_burst(8).unwrap_err()));
        assert!(matches!(a.burst_timeout(8, SHORT), Err(SendTimeoutError::Timeout { .. })));
        assert!(numbers.try_recv().is_ok());
        let mut burst = a.try_burst(8).unwrap();
        burst.try_send(&16).unwrap();
        let others = receive_all(&mut numbers);
        assert_eq!(others, (1..17).map(|number| (number, number)).collect::<Vec<_>>());
        // The burst that began with `try_burst(8)` has room for the next packet.
        assert_eq!(burst.try_send(&17).unwrap(), 17);
    });
}

#[test]
fn a_burst_that_waits_goes_on_once_there_is_room() {
    on_both(small, |ring| {
        let (mut a, _, mut numbers) = three(&ring);
        std::thread::scope(|scope| {
            scope.spawn(move || {
                let mut burst = a.burst(4).unwrap();
                for number in 0..1000 {
                    burst.send(&number).unwrap();
                }
            });
            for number in 0..1000 {
                assert_eq!(numbers.recv_timeout(LONG).unwrap().to_native(), number);
            }
        });
    });
}

#[test]
fn an_idle_burst_holds_up_publishers_that_are_a_lap_ahead() {
    for overflow in [Overflow::Block, Overflow::DropOldest] {
        on_both(
            || small().overflow(overflow),
            |ring| {
                let (mut a, mut b, mut numbers) = three(&ring);
                let mut burst = a.burst(2).unwrap();
                burst.send(&1).unwrap();
                assert_eq!(receive_all(&mut numbers), [(0, 1)]);
                for number in 2..16 {
                    b.send(&number).unwrap();
                }
                let error = b.try_send(&16).unwrap_err();
                let pid = std::process::id();
                assert!(
                    matches!(error, TrySendError::Full { waiting_for: WaitingFor::Publisher { pid: p } } if p == pid),
                    "{error}"
                );
                assert_eq!(receive_all(&mut numbers), []);
                drop(burst);
                b.try_send(&16).unwrap_or_else(|error| panic!("{overflow}: {error}"));
                let all = receive_all(&mut numbers);
                assert_eq!(all, (2..=16).map(|number| (number, number)).collect::<Vec<_>>());
            },
        );
    }
}

#[test]
fn a_burst_ends_with_the_ring() {
    on_both(small, |ring| {
        let (mut a, _b, mut numbers) = three(&ring);
        let mut burst = a.burst(4).unwrap();
        burst.send(&1).unwrap();
        ring.close().unwrap();
        assert_eq!(numbers.recv().unwrap().to_native(), 1);
        let open = numbers.recv_timeout(SHORT).map(|n| n.to_native());
        assert!(matches!(open, Err(RecvTimeoutError::Timeout)), "{open:?}");
        assert!(matches!(burst.send(&2), Err(SendError::Closed)));
        let closed = numbers.recv_timeout(LONG).map(|n| n.to_native());
        assert!(matches!(closed, Err(RecvTimeoutError::Closed)), "{closed:?}");
        assert!(matches!(burst.try_send(&2), Err(TrySendError::Closed)));
        drop(burst);
        assert!(matches!(a.burst(4).map(drop), Err(SendError::Closed)));
    });
    // An open burst of a closed ring is dropped.
    on_both(small, |ring| {
        let (mut a, _b, mut numbers) = three(&ring);
        let burst = a.burst(4).unwrap();
        ring.close().unwrap();
        drop(burst);
        assert!(matches!(numbers.recv_timeout(LONG), Err(RecvTimeoutError::Closed)));
    });
}

#[test]
fn a_packet_that_cannot_be_sent_ends_its_claim_only() {
    on_both(small, |ring| {
        let mut all = ring.subscriber::<Lucky>().unwrap();
        let mut out = ring.publisher::<Lucky>().unwrap();
        let mut other = ring.publisher::<Lucky>().unwrap();
        let mut burst = out.burst(8).unwrap();
        burst.send(&lucky(1)).unwrap();
        assert_eq!(other.send(&lucky(2)).unwrap(), 8);
        let panicked = catch_unwind(AssertUnwindSafe(|| burst.send(&lucky(13)).is_ok()));
        assert!(panicked.is_err());
        drop(burst);
        for number in [1, 2] {
            assert_eq!(all.try_recv().unwrap().number, number);
        }
        // A packet that is too large for the ring changes nothing.
        let mut burst = out.burst(8).unwrap();
        let large = Lucky { before: vec![0; 1000], number: 3 };
        assert!(matches!(burst.send(&large), Err(SendError::TooLarge { .. })));
        let position = burst.send(&lucky(4)).unwrap();
        assert_eq!(position, 11, "in the slots that were claimed");
        assert_eq!(all.try_recv().unwrap().number, 4);
    });
    let ring = small().shared().heap().unwrap();
    let mut out = ring.publisher::<[u8; 4096]>().unwrap();
    assert!(matches!(out.burst(8).map(drop), Err(SendError::TooLarge { .. })));
}

#[test]
fn an_exclusive_ring_has_bursts_without_a_claim() {
    on_both(
        || small().exclusive(),
        |ring| {
            let mut numbers = ring.subscriber::<u64>().unwrap();
            let mut out = ring.publisher::<u64>().unwrap();
            for round in 0..40 {
                let mut burst = out.burst(8).unwrap();
                assert_eq!(burst.send(&7).unwrap(), round * 2);
                drop(burst);
                // Nothing is left over.
                assert_eq!(out.send(&8).unwrap(), round * 2 + 1);
                assert_eq!(receive_all(&mut numbers), [(round * 2, 7), (round * 2 + 1, 8)]);
            }
            forget(out.burst(8).unwrap());
            for number in 0..16 {
                out.try_send(&number).unwrap();
            }
            assert!(matches!(out.try_burst(8), Err(TrySendError::Full { .. })));
            ring.close().unwrap();
            assert!(matches!(out.try_burst(8), Err(TrySendError::Closed)));
        },
    );
}

#[test]
fn a_ring_that_drops_the_oldest_makes_room_for_the_whole_burst() {
    on_both(
        || small().overflow(Overflow::DropOldest),
        |ring| {
            let (mut a, mut b, mut numbers) = three(&ring);
            for number in 0..16 {
                b.send(&number).unwrap();
            }
            let mut burst = a.try_burst(4).unwrap();
            let missed = numbers.try_recv().unwrap_err();
            assert!(matches!(missed, TryRecvError::Missed(m) if m.packets == 4 && m.exact));
            for number in 16..40 {
                assert_eq!(burst.try_send(&number).unwrap(), number);
            }
            drop(burst);
            let missed = numbers.try_recv().unwrap_err();
            assert!(matches!(missed, TryRecvError::Missed(m) if m.packets == 20 && m.exact));
            let all = receive_all(&mut numbers);
            assert_eq!(all, (24..40).map(|number| (number, number)).collect::<Vec<_>>());
        },
    );
}

#[test]
fn a_packet_in_hand_shortens_a_burst() {
    on_both(
        || small().overflow(Overflow::DropOldest),
        |ring| {
            let (mut a, mut b, mut numbers) = three(&ring);
            for number in 0..13 {
                b.send(&number).unwrap();
            }
            let first = numbers.recv().unwrap();
            let mut burst = a.try_burst(8).unwrap();
            for number in 13..16 {
                burst.try_send(&number).unwrap();
            }
            assert!(matches!(burst.try_send(&16), Err(TrySendError::Full { .. })));
            assert_eq!(*first, 0);
        },
    );
}

#[test]
fn a_late_subscriber_gets_the_history_of_bursts() {
    on_all(
        || small().history(3),
        |ring| {
            let mut out = ring.publisher::<u64>().unwrap();
            let mut burst = out.burst(4).unwrap();
            for number in 0..50 {
                burst.send(&number).unwrap();
            }
            drop(burst);
            let mut late = ring.subscriber::<u64>().unwrap();
            let numbers: Vec<u64> = receive_all(&mut late).iter().map(|(_, n)| *n).collect();
            assert_eq!(numbers, [47, 48, 49]);
        },
    );
}

#[test]
fn any_publisher_has_bursts_of_each_type() {
    on_all(small, |ring| {
        let mut all = ring.any_subscriber().unwrap();
        let mut out: AnyPublisher = ring.any_publisher().unwrap();
        let mut burst = out.burst::<u64>(4).unwrap();
        burst.send(&1).unwrap();
        drop(burst);
        let mut burst = out.try_burst::<Wide>(4).unwrap();
        burst.send(&wide(2)).unwrap();
        drop(burst);
        assert_eq!(*all.recv().unwrap().open_as::<u64>().unwrap(), 1);
        assert_eq!(all.recv().unwrap().open_as::<Wide>().unwrap().number, 2);
        assert!(matches!(all.try_recv().map(drop), Err(TryRecvError::Empty)));
    });
}

#[test]
fn bursts_of_several_threads_lose_nothing() {
    const PACKETS: u64 = 2000;
    on_both(small, |ring| {
        let mut numbers = ring.subscriber::<(u64, u64)>().unwrap();
        std::thread::scope(|scope| {
            for publisher in 0..3 {
                let mut out = ring.publisher::<(u64, u64)>().unwrap();
                scope.spawn(move || {
                    let mut sent = 0;
                    while sent < PACKETS {
                        let mut burst = out.burst(5).unwrap();
                        for _ in 0..=(sent % 7).min(PACKETS - sent - 1) {
                            burst.send(&(publisher, sent)).unwrap();
                            sent += 1;
                        }
                    }
                });
            }
            let mut next = [0; 3];
            while next != [PACKETS; 3] {
                let packet = numbers.recv_timeout(LONG).unwrap();
                let publisher = packet.0.to_native() as usize;
                assert_eq!(packet.1, next[publisher]);
                next[publisher] += 1;
            }
        });
    });
}

/// Entry point of the child processes; does nothing without a role.
#[test]
fn peer() {
    let Some(role) = peer::role() else { return };
    match role.name.as_str() {
        "die" => die_in_a_burst(&role),
        name => panic!("no role {name}"),
    }
}

/// Begins a burst, sends packets, lets the test publish, and dies. Arguments: ring, packets, and
/// whether it dies while a packet is filled.
fn die_in_a_burst(role: &Role) {
    let mut out = Ring::attach(&role.arguments[0]).unwrap().publisher::<Lucky>().unwrap();
    let mut burst = out.burst(16).unwrap();
    for number in 0..role.number(1) {
        burst.send(&lucky(number)).unwrap();
    }
    peer::say("open");
    peer::hear();
    if role.arguments[2] == "filling" {
        let _ = burst.send(&lucky(14));
    }
    kill();
}

/// The packets of a dead publisher arrive, and the rest of its burst is skipped. Its subscribers
/// may be durable, and away themselves.
#[test]
fn a_killed_publisher_leaves_its_packets_and_a_void_rest() {
    for (overflow, sent) in [(Overflow::Block, 0), (Overflow::Block, 2), (Overflow::DropOldest, 2)]
    {
        for end in ["filling", "idle"] {
            let name = unique("burst-dies");
            let ring = Ring::builder().capacity(4096).overflow(overflow).shared();
            let ring = ring.open(&name).unwrap();
            let mut all = ring.subscriber::<Lucky>().unwrap();
            drop(ring.durable::<Lucky>("billing").unwrap());
            let mut peer = Peer::start(&format!("die {name} {sent} {end}"));
            peer.expect("open");
            let mut out = ring.publisher::<Lucky>().unwrap();
            assert_eq!(out.send(&lucky(100)).unwrap(), 16);
            for number in 0..sent {
                assert_eq!(all.recv_timeout(LONG).unwrap().number, number);
            }
            let behind = all.recv_timeout(SHORT).map(|lucky| lucky.number.to_native());
            assert!(matches!(behind, Err(RecvTimeoutError::Timeout)), "{behind:?}");
            peer.tell("die");
            assert_eq!(all.recv_timeout(LONG).unwrap().number, 100);
            assert_eq!(peer.died_of(), Some(9));
            let mut billing = ring.durable::<Lucky>("billing").unwrap();
            for number in (0..sent).chain([100]) {
                let lucky = billing.recv_timeout(LONG).unwrap();
                assert!(lucky.number == number && lucky.before.iter().all(|n| *n == number));
            }
            // The ring goes on for laps, also by bursts.
            let mut burst = out.burst(16).unwrap();
            for number in 200..300 {
                burst.send_timeout(&lucky(number), LONG).unwrap();
                assert_eq!(all.recv_timeout(LONG).unwrap().number, number);
                assert_eq!(billing.recv_timeout(LONG).unwrap().number, number);
            }
            drop((burst, billing));
            assert!(ring.remove_durable("billing").unwrap());
        }
    }
}
