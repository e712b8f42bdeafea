//! Several processes die: publishers with adjacent claims, some across the end of the ring's
//! memory, and the processes that recover them, at each step of the recovery.
//!
//! The failpoint at which each publisher died tells what it committed. The survivor must receive
//! exactly those packets.

use super::process::{GENEROUS, Process, State, Stop, hear, say};
use super::survivor::{Numbered, OWN, Survivor, slots};
use crate::channel::join::{self, Types};
use crate::failpoint::Failpoint;
use crate::sync::{AtomicU32, Ordering};
use crate::{Overflow, Packet, Publisher, Ring, RingBuilder, Wait};

/// Slots of the ring.
const CAPACITY: u64 = 16;
/// Positions of the first publisher's claim: no claim, the first, or the second crosses the end of
/// the memory. A claim has 3 + 2 slots, and padding at the end of the memory.
const BEGINNINGS: [u64; 3] = [2, 14, 9];

/// Where a publisher dies, and how many of its two packets are committed before.
const DEATHS: [(Failpoint, usize, u64); 9] = [
    (Failpoint::ClaimLen, 1, 0),
    (Failpoint::ClaimPosition, 1, 0),
    (Failpoint::ClaimTail, 1, 0),
    (Failpoint::ClaimFill, 1, 0),
    (Failpoint::CommitPadding, 1, 0),
    (Failpoint::CommitStamp, 1, 0),
    (Failpoint::CommitAfter, 1, 1),
    (Failpoint::CommitStamp, 2, 1),
    (Failpoint::CommitAfter, 2, 2),
];

const RECOVERIES: [Failpoint; 6] = [
    Failpoint::RecoverTail,
    Failpoint::RecoverScan,
    Failpoint::RecoverLook,
    Failpoint::RecoverHeader,
    Failpoint::RecoverStamp,
    Failpoint::RecoverClear,
];

/// A case: which process dies where.
#[derive(Clone, Copy, Debug)]
struct Case {
    beginning: u64,
    publishers: [(Failpoint, usize, u64); 2],
    /// In this order. Each dies at its failpoint if it reaches it.
    recoverers: [Option<(Failpoint, usize)>; 2],
}

#[test]
fn two_publishers_die_side_by_side_and_their_recoverer_too() {
    let mut recoveries = (1..=3).flat_map(|nth| RECOVERIES.map(|step| (step, nth))).cycle();
    let mut deaths = 0;
    for beginning in BEGINNINGS {
        for first in DEATHS {
            for second in DEATHS {
                let recoverers = [recoveries.next(), None];
                deaths += run(Case { beginning, publishers: [first, second], recoverers });
            }
        }
    }
    // Only some cases have padding, and some recoverers find less to do.
    assert!(deaths > 3 * BEGINNINGS.len() * DEATHS.len() * DEATHS.len() / 2, "{deaths} deaths");
}

#[test]
fn several_recoverers_die_one_after_the_other() {
    let open = (Failpoint::ClaimFill, 1, 0);
    let mut deaths = 0;
    for beginning in BEGINNINGS {
        for first in RECOVERIES {
            for second in RECOVERIES {
                let recoverers = [Some((first, 2)), Some((second, 1))];
                deaths += run(Case { beginning, publishers: [open, open], recoverers });
            }
        }
    }
    assert!(deaths > 3 * BEGINNINGS.len() * 36, "{deaths} deaths");
}

/// Runs one case. Returns the number of processes that died.
fn run(case: Case) -> usize {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let name = format!("double-{}-{number}", std::process::id());
    let ring = builder().open(&name).unwrap();
    let mut survivor = Survivor::new(ring.subscriber().unwrap(), Overflow::Block);
    let mut own = ring.publisher::<Numbered>().unwrap();
    let sent = advance(&mut own, &mut survivor, case.beginning);

    // All join before the first dies: a join clears the dead.
    let mut publishers = case.publishers.map(|(step, nth, _)| {
        let mut peer = Process::start(&format!("publish {name}"), Some(Stop::kill(step, nth)));
        peer.expect("joined");
        peer
    });
    let sides = if number.is_multiple_of(2) { ["reader", "writer"] } else { ["writer", "reader"] };
    let recoverers = [0, 1].map(|index| {
        let (step, nth) = case.recoverers[index]?;
        let role = format!("recover {name} {}", sides[index]);
        let mut peer = Process::start(&role, Some(Stop::kill(step, nth)));
        peer.expect("joined");
        Some(peer)
    });
    let mut ends = [State::Running; 2];
    for (index, peer) in publishers.iter_mut().enumerate() {
        peer.tell(&format!("{}", index + 1));
        ends[index] = peer.settle();
    }
    let mut deaths = ends.into_iter().filter(|&end| end == State::Killed).count();
    for mut peer in recoverers.into_iter().flatten() {
        peer.tell("recover");
        deaths += usize::from(peer.settle() == State::Killed);
    }
    // Two laps and more.
    for sequence in sent..sent + 3 * CAPACITY {
        own.send_timeout(&slots(OWN, sequence, 1), GENEROUS)
            .unwrap_or_else(|error| panic!("{case:?}: {error}"));
        survivor.receive_until(OWN, sequence, &format!("{case:?}"));
    }
    for (index, (_, _, committed)) in case.publishers.into_iter().enumerate() {
        // Without padding no publisher reaches its failpoint.
        let committed = if ends[index] == State::Killed { committed } else { 2 };
        assert_eq!(survivor.received(index as u64 + 1), committed, "{case:?}");
    }
    deaths
}

fn builder() -> RingBuilder {
    Ring::builder().capacity(CAPACITY as usize * 64).shared().wait(Wait::park()).stays_open(true)
}

/// Publishes and receives small packets until the tail reaches a position.
fn advance(own: &mut Publisher<Numbered>, survivor: &mut Survivor, position: u64) -> u64 {
    let mut sequence = 0;
    loop {
        let at = own.sender.writer.tail();
        if at == position {
            return sequence;
        }
        own.send(&slots(OWN, sequence, 1)).unwrap();
        assert!(survivor.receive(GENEROUS));
        sequence += 1;
    }
}

/// The peer's side: publishes two packets with one claim, under the number that it is told.
pub(super) fn publish(name: &str) {
    let mut publisher = builder().open(name).unwrap().publisher::<Numbered>().unwrap();
    say("joined");
    let own = hear().parse().unwrap();
    publisher.send_all(&[slots(own, 0, 3), slots(own, 1, 2)]).unwrap();
}

/// The peer's side: clears the dead when told to. It is a publisher, or a subscriber, which needs a
/// second mapping to void a claim.
pub(super) fn recover(name: &str, side: &str) {
    let ring = builder().open(name).unwrap();
    let info = Numbered::TYPE;
    let types = Types::One(&info);
    let wait = Wait::park();
    if side == "reader" {
        let (mut receiver, _) = join::subscriber(ring.segment(), &types, None, wait).unwrap();
        say("joined");
        hear();
        receiver.entry.reap_dead();
    } else {
        let (mut sender, _) = join::publisher(ring.segment(), &types, wait).unwrap();
        say("joined");
        hear();
        sender.entry.reap_dead();
    }
}
