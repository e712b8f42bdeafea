//! A publisher is killed or frozen in a burst: before its first packet, between two packets, before
//! and behind a stamp, and before the rest is void. Its packets arrive, the rest is skipped, and
//! nobody else's packet behind the burst is lost.

use super::process::{GENEROUS, Process, State, Stop};
use crate::failpoint::Failpoint;
use crate::{Overflow, Publisher, Ring, Subscriber};
use std::time::Duration;

/// Packets of the peer. They take one slot each.
const PACKETS: u64 = 3;
/// Slots of its burst.
const SLOTS: usize = 8;
/// The packet behind the burst.
const BEHIND: u64 = 100;

/// Each place, and the packets that are committed there. A packet is filled at the n-th
/// `BurstFill`, and stamped behind the n-th `CommitStamp`.
const PLACES: [(Failpoint, usize, u64); 12] = [
    (Failpoint::ClaimFill, 1, 0),
    (Failpoint::BurstFill, 1, 0),
    (Failpoint::CommitStamp, 1, 0),
    (Failpoint::CommitAfter, 1, 1),
    (Failpoint::CommitWake, 1, 1),
    (Failpoint::BurstFill, 2, 1),
    (Failpoint::BurstFill, 3, 2),
    (Failpoint::CommitStamp, 3, 2),
    (Failpoint::CommitAfter, 3, 3),
    (Failpoint::BurstVoid, 1, 3),
    // The header of the rest is there, and its stamp is missing.
    (Failpoint::CommitPadding, 1, 3),
    // A publisher that leaves wakes the others.
    (Failpoint::LeaveOwner, 1, 3),
];

/// The peer's side.
pub(super) fn publish(name: &str) {
    let mut out = Ring::attach(name).unwrap().publisher::<u64>().unwrap();
    let mut burst = out.burst(SLOTS).unwrap();
    for number in 0..PACKETS {
        burst.send(&number).unwrap();
    }
}

/// Subscribers of both kinds, and a publisher, of a ring whose peer is stopped in its burst.
fn stopped(
    name: &str,
    overflow: Overflow,
    stop: Stop,
) -> (Ring, [Subscriber<u64>; 2], Publisher<u64>, Process) {
    let ring = Ring::builder().capacity(2048).overflow(overflow).stays_open(true);
    let ring = ring.shared().open(name).unwrap();
    let subscribers = [ring.subscriber().unwrap(), ring.durable("billing").unwrap()];
    let out = ring.publisher().unwrap();
    let peer = Process::start(&format!("burst {name}"), Some(stop));
    (ring, subscribers, out, peer)
}

#[track_caller]
fn expect(numbers: &mut Subscriber<u64>, expected: impl IntoIterator<Item = u64>, place: &str) {
    for expected in expected {
        let number = numbers.recv_timeout(GENEROUS);
        let number = number.unwrap_or_else(|e| panic!("{place}: {expected}: {e}"));
        assert_eq!(number.to_native(), expected, "{place}");
    }
}

/// A kill. The durable subscriber is away meanwhile.
#[test]
fn a_burst_of_a_killed_publisher_keeps_what_was_stamped() {
    for overflow in [Overflow::Block, Overflow::DropOldest] {
        for (step, nth, committed) in PLACES {
            let place = format!("{overflow:?}, {step:?} {nth}");
            let name = format!("burst-kill-{}-{overflow:?}-{step:?}-{nth}", std::process::id());
            let stop = Stop::kill(step, nth);
            let (ring, [mut numbers, billing], mut out, mut peer) = stopped(&name, overflow, stop);
            drop(billing);
            assert_eq!(peer.settle(), State::Killed, "{place}");
            let position = out.send_timeout(&BEHIND, GENEROUS).unwrap();
            assert_eq!(position, SLOTS as u64, "{place}");
            let expected = || (0..committed).chain([BEHIND]);
            expect(&mut numbers, expected(), &place);
            let mut billing = ring.durable("billing").unwrap();
            expect(&mut billing, expected(), &place);
            go_on(&mut out, [&mut numbers, &mut billing], &place);
            drop((numbers, billing, out));
            assert!(ring.remove_durable("billing").unwrap());
        }
    }
}

/// A freeze: the burst stays its publisher's, which goes on after the thaw.
#[test]
fn a_burst_of_a_frozen_publisher_is_not_ended() {
    for (step, nth, committed) in PLACES {
        // Behind these there is no open burst.
        if [Failpoint::LeaveOwner].contains(&step) {
            continue;
        }
        let place = format!("{step:?} {nth}");
        let name = format!("burst-freeze-{}-{step:?}-{nth}", std::process::id());
        let stop = Stop::freeze(step, nth);
        let (ring, [mut numbers, mut billing], mut out, mut peer) =
            stopped(&name, Overflow::Block, stop);
        assert_eq!(peer.settle(), State::Frozen, "{place}");
        out.send_timeout(&BEHIND, GENEROUS).unwrap();
        expect(&mut numbers, 0..committed, &place);
        let early = numbers.recv_timeout(Duration::from_millis(20)).map(|n| n.to_native());
        assert!(early.is_err(), "{place}: {early:?} behind a living burst");
        peer.thaw();
        assert_eq!(peer.settle(), State::Finished, "{place}");
        expect(&mut numbers, (committed..PACKETS).chain([BEHIND]), &place);
        expect(&mut billing, (0..PACKETS).chain([BEHIND]), &place);
        go_on(&mut out, [&mut numbers, &mut billing], &place);
        drop((numbers, billing, out));
        assert!(ring.remove_durable("billing").unwrap());
    }
}

/// Some laps, by bursts and by other sends.
fn go_on(out: &mut Publisher<u64>, mut readers: [&mut Subscriber<u64>; 2], place: &str) {
    for round in 0..30 {
        let mut burst = out.burst_timeout(SLOTS, GENEROUS).unwrap();
        for number in 0..round % 6 {
            burst.send_timeout(&number, GENEROUS).unwrap();
        }
        drop(burst);
        out.send_timeout(&BEHIND, GENEROUS).unwrap();
        for reader in &mut readers {
            expect(reader, (0..round % 6).chain([BEHIND]), place);
        }
    }
}
