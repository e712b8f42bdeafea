//! A process is killed at each failpoint ([`Failpoint::ALL`]), and the others continue.
//!
//! Afterwards:
//!
//! - The survivor has received every committed packet of the dead, in order and whole.
//! - If the last publisher died, the survivor has seen the end of the ring.
//! - Successors and all others can publish and receive.
//! - Nothing is left behind.

use super::cells;
use super::inboxes;
use super::process::{GENEROUS, State, Stop};
use super::queues;
use super::scenario::{self, Case};
use super::services;
use super::survivor::{Numbered, PEER, SUCCESSOR, Survivor, numbered};
use super::worker_slots;
use std::time::Duration;

#[test]
fn a_process_can_be_killed_at_any_step() {
    // Every time at a rare failpoint.
    scenario::at_every_step(40, |case, step, nth| survive(case, Stop::kill(step, nth)));
}

/// Runs one case. Returns true if the peer reached the failpoint and was killed there.
fn survive(case: Case, stop: Stop) -> bool {
    if case == Case::Cluster {
        return worker_slots::survive(stop);
    }
    if case == Case::Calls {
        return services::survive(stop);
    }
    if case == Case::Cells {
        return cells::survive(stop);
    }
    if case == Case::Inboxes {
        return inboxes::survive(stop);
    }
    if case == Case::Grouped {
        return queues::survive(stop);
    }
    let name = format!("kill-{}-{case:?}-{:?}-{}", std::process::id(), stop.step, stop.nth);
    let ring = scenario::open(&name, case, stop);
    let mut survivor = Survivor::new(ring.subscriber().unwrap(), case.overflow());
    let mut peer = scenario::start(&name, case, stop);
    while peer.state() == State::Running {
        survivor.receive(Duration::from_millis(5));
    }
    if case == Case::Left && survivor.received(PEER) > 0 {
        // It was the last publisher, so the ring is closed behind its packets.
        while !survivor.is_closed {
            assert!(survivor.receive(GENEROUS) || survivor.is_closed, "{name}: never closed");
        }
    }
    // It gets its predecessor's entry, in any state, or a new one.
    let mut heir = Survivor::new(ring.durable("peer").unwrap(), case.overflow());
    heir.begin_anywhere(PEER);
    let mut successor = ring.publisher::<Numbered>().unwrap();
    let mut newcomer = ring.subscriber::<Numbered>().unwrap();
    for sequence in 0..100 {
        let packet = numbered(SUCCESSOR, sequence);
        successor.send_timeout(&packet, GENEROUS).unwrap_or_else(|e| panic!("{name}: {e}"));
        survivor.receive_until(SUCCESSOR, sequence, &name);
        heir.receive_until(SUCCESSOR, sequence, &name);
        while newcomer.try_recv().is_ok() {}
    }
    drop((successor, newcomer, survivor, heir));
    assert!(ring.remove_durable("peer").unwrap());
    drop(ring);
    scenario::assert_gone(&name);
    peer.state() == State::Killed
}
