//! A publisher is killed or frozen in a batch whose packets become visible together: before it is
//! recorded, between two stamps, before and behind the last one. All of it arrives or nothing, and
//! what others publish behind it arrives.

use super::process::{GENEROUS, Process, State, Stop};
use crate::channel::join::{self, Types};
use crate::failpoint::Failpoint;
use crate::packet::{Copying, Packet};
use crate::wait::Timeout;
use crate::{Overflow, Ring, RingBuilder, SendTimeoutError, Subscriber, Wait};
use std::time::Duration;

/// A packet of two slots.
type Row = [u64; 8];

/// Packets of the peer's batches.
const PACKETS: u64 = 4;
/// The first packet of others.
const BEHIND: u64 = 100;

/// Each place in the second batch of the peer, and the packets that are committed there.
const PLACES: [(Failpoint, usize, u64); 7] = [
    (Failpoint::BatchRecord, 2, PACKETS),
    (Failpoint::BatchStamp, 4, PACKETS),
    (Failpoint::BatchStamp, 6, PACKETS),
    (Failpoint::BatchHead, 2, PACKETS),
    (Failpoint::CommitAfter, 2, 2 * PACKETS),
    (Failpoint::CommitWake, 2, 2 * PACKETS),
    (Failpoint::LeaveOwner, 1, 2 * PACKETS),
];

const WAYS: [Copying; 2] = [Copying::ThroughCaches, Copying::PastCaches];

/// Rings of one publisher and of several.
fn builders(overflow: Overflow) -> [RingBuilder; 2] {
    let builder = Ring::builder().capacity(2048).overflow(overflow).stays_open(true);
    [builder.clone().exclusive(), builder.shared()]
}

/// The peer's side.
pub(super) fn publish(name: &str, way: &str) {
    let ring = Ring::attach(name).unwrap();
    let types = Types::One(&Row::TYPE);
    let (mut sender, index) = join::publisher(ring.segment(), &types, Wait::park()).unwrap();
    let way = WAYS.into_iter().find(|known| format!("{known:?}") == way).unwrap();
    sender.scratch.copies.begin_with(way);
    for first in [0, PACKETS] {
        let rows: Vec<Row> = (first..first + PACKETS).map(|number| [number; 8]).collect();
        sender.send_all::<_, SendTimeoutError>(&rows, index, Timeout::Never).unwrap();
    }
}

fn name(how: &str, place: &str) -> String {
    let place: String = place.chars().filter(char::is_ascii_alphanumeric).collect();
    format!("batch-{how}-{}-{place}", std::process::id())
}

/// A ring with two subscribers, and a peer that is stopped in its second batch.
fn stopped(
    builder: RingBuilder,
    name: &str,
    way: Copying,
    stop: Stop,
) -> (Ring, [Subscriber<Row>; 2], Process) {
    let ring = builder.open(name).unwrap();
    let subscribers = [ring.subscriber().unwrap(), ring.durable("billing").unwrap()];
    let peer = Process::start(&format!("batch {name} {way:?}"), Some(stop));
    (ring, subscribers, peer)
}

#[track_caller]
fn expect(rows: &mut Subscriber<Row>, expected: impl IntoIterator<Item = u64>, place: &str) {
    for expected in expected {
        let row = rows.recv_timeout(GENEROUS);
        let row = row.unwrap_or_else(|e| panic!("{place}: {expected}: {e}"));
        assert!(row.iter().all(|word| word.to_native() == expected), "{place}: {row:?}");
    }
}

/// Laps of single packets and of batches, in which nothing else may appear.
fn go_on(ring: &Ring, mut readers: [&mut Subscriber<Row>; 2], place: &str) {
    let mut out = ring.publisher::<Row>().unwrap();
    let mut next = BEHIND;
    for round in 0..40_u64 {
        let count = 1 + round % 5;
        let rows: Vec<Row> = (next..next + count).map(|number| [number; 8]).collect();
        if round % 2 == 0 {
            for row in &rows {
                out.send_timeout(row, GENEROUS).unwrap();
            }
        } else {
            out.send_all_timeout(&rows, GENEROUS).unwrap();
        }
        for reader in &mut readers {
            expect(reader, next..next + count, place);
            assert!(reader.try_recv().is_err(), "{place}: a packet behind {}", next + count);
        }
        next += count;
    }
}

/// Runs `test` for each kind of ring, way and place.
fn everywhere(how: &str, test: impl Fn(RingBuilder, &str, Copying, (Failpoint, usize, u64), &str)) {
    for overflow in [Overflow::Block, Overflow::DropOldest] {
        for (kind, builder) in builders(overflow).into_iter().enumerate() {
            for (way, at) in WAYS.into_iter().flat_map(|way| PLACES.map(|at| (way, at))) {
                let place = format!("{overflow:?} {kind} {way:?} {:?} {}", at.0, at.1);
                test(builder.clone(), &name(how, &place), way, at, &place);
            }
        }
    }
}

#[test]
fn a_batch_of_a_killed_publisher_arrives_as_a_whole_or_not() {
    everywhere("kill", |builder, name, way, (step, nth, committed), place| {
        let (ring, [mut rows, billing], mut peer) =
            stopped(builder, name, way, Stop::kill(step, nth));
        drop(billing);
        assert_eq!(peer.settle(), State::Killed, "{place}");
        expect(&mut rows, 0..committed, place);
        let mut billing = ring.durable("billing").unwrap();
        expect(&mut billing, 0..committed, place);
        go_on(&ring, [&mut rows, &mut billing], place);
        drop((rows, billing));
        assert!(ring.remove_durable("billing").unwrap());
    });
}

#[test]
fn a_batch_of_a_frozen_publisher_arrives_after_the_thaw() {
    everywhere("freeze", |builder, name, way, (step, nth, committed), place| {
        let (ring, [mut rows, mut billing], mut peer) =
            stopped(builder, name, way, Stop::freeze(step, nth));
        assert_eq!(peer.settle(), State::Frozen, "{place}");
        expect(&mut rows, 0..committed, place);
        let early = rows.recv_timeout(Duration::from_millis(10)).map(|row| row[0].to_native());
        assert!(early.is_err(), "{place}: {early:?} of a batch that is not complete");
        peer.thaw();
        assert_eq!(peer.settle(), State::Finished, "{place}");
        expect(&mut rows, committed..2 * PACKETS, place);
        expect(&mut billing, 0..2 * PACKETS, place);
        go_on(&ring, [&mut rows, &mut billing], place);
        drop((rows, billing));
        assert!(ring.remove_durable("billing").unwrap());
    });
}

/// What a peer does so that it reaches each step of a batch, and of what follows a dead one.
pub(super) fn live() {
    let ring = Ring::builder().exclusive().heap().unwrap();
    let types = Types::One(&u64::TYPE);
    let join = || join::publisher(ring.segment(), &types, Wait::park()).unwrap();
    let (mut sender, index) = join();
    for _ in 0..8 {
        sender.send_all::<_, SendTimeoutError>(&[1_u64; 8], index, Timeout::Zero).unwrap();
    }
    sender.writer.leave_batch(64);
    drop(sender);
    drop(join());
}
