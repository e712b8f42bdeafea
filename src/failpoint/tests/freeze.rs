//! A process is frozen at each failpoint, and thawed. It is alive all the time.
//!
//! While it is frozen, its claims and its packets in flight stay its own. A process that has to
//! wait for it learns its process id, and no other process waits. After the thaw it continues.
//! Every packet arrives once and in order, published before, during or after the freeze.

use super::cells;
use super::inboxes;
use super::process::{GENEROUS, Process, State, Stop};
use super::queues;
use super::scenario::{self, Case, PARCELS};
use super::services;
use super::survivor::{Numbered, OWN, PEER, Survivor, numbered};
use super::worker_slots;
use crate::failpoint::Failpoint;
use crate::{OpenError, Publisher, SendTimeoutError, WaitingFor};
use std::time::Duration;

const SHORT: Duration = Duration::from_millis(5);

#[test]
fn a_process_can_be_frozen_at_any_step() {
    scenario::at_every_step(2, |case, step, nth| outlast(case, Stop::freeze(step, nth)));
}

/// A process is frozen inside the control lock. A bounded wait for the lock names its holder.
#[test]
fn a_join_need_not_wait_for_a_process_that_is_frozen_while_it_joins() {
    let name = format!("freeze-busy-{}", std::process::id());
    let patient = Case::Shared.builder().open_timeout(SHORT).open(&name).unwrap();
    // The seventh time: the first six are in the peer's own rings.
    let mut peer = scenario::start(&name, Case::Shared, Stop::freeze(Failpoint::JoinOwner, 7));
    assert_eq!(peer.settle(), State::Frozen);
    for outcome in [patient.publisher::<Numbered>().map(drop), patient.close()] {
        let Err(OpenError::Busy { pid, .. }) = outcome else { panic!("{outcome:?}") };
        assert_eq!(pid, Some(peer.pid()));
    }
    let opened = Case::Shared.builder().open_timeout(SHORT).open(&name);
    assert!(matches!(opened, Err(OpenError::Busy { pid: None, .. })), "{opened:?}");
    peer.thaw();
    let joined = Case::Shared.builder().open_timeout(GENEROUS).open(&name).unwrap();
    drop(joined.publisher::<Numbered>().unwrap());
    assert_eq!(peer.settle(), State::Finished);
    drop((joined, patient));
    scenario::assert_gone(&name);
}

/// Runs one case. Returns true if the peer reached the failpoint and was frozen there.
fn outlast(case: Case, stop: Stop) -> bool {
    if case == Case::Cluster {
        return worker_slots::outlast(stop);
    }
    if case == Case::Calls {
        return services::outlast(stop);
    }
    if case == Case::Cells {
        return cells::outlast(stop);
    }
    if case == Case::Inboxes {
        return inboxes::outlast(stop);
    }
    if case == Case::Grouped {
        return queues::outlast(stop);
    }
    let name = format!("freeze-{}-{case:?}-{:?}-{}", std::process::id(), stop.step, stop.nth);
    let ring = scenario::open(&name, case, stop);
    let mut survivor = Survivor::new(ring.subscriber().unwrap(), case.overflow());
    // Joined before the freeze: a join waits for a process that is frozen in the control lock.
    let mut own = (case != Case::Exclusive).then(|| ring.publisher().unwrap());
    let mut peer = scenario::start(&name, case, stop);
    while peer.state() == State::Running {
        survivor.receive(SHORT);
    }
    let was_frozen = peer.state() == State::Frozen;
    let sent = own.as_mut().map_or(0, |own| go_on_beside(own, &mut survivor, &peer));
    if was_frozen {
        peer.thaw();
    }
    while matches!(peer.state(), State::Running | State::Frozen) {
        survivor.receive(SHORT);
    }
    assert_eq!(peer.state(), State::Finished);
    // A durable subscriber gates until its successor reads, so publishers would wait forever.
    let _ = ring.remove_durable("peer").unwrap();
    survivor.receive_until(PEER, PARCELS - 1, &name);
    if let Some(own) = &mut own {
        // A `DropOldest` ring may drop packets of that time for later ones.
        own.send_timeout(&numbered(OWN, sent), GENEROUS).unwrap();
        survivor.receive_until(OWN, sent, &name);
    }
    drop((own, survivor, ring));
    scenario::assert_gone(&name);
    was_frozen
}

/// Publishes and receives beside a frozen peer, until the peer's cursor or claim fills the ring.
/// Returns the number of packets sent.
fn go_on_beside(own: &mut Publisher<Numbered>, survivor: &mut Survivor, peer: &Process) -> u64 {
    for sequence in 0..100 {
        match own.send_timeout(&numbered(OWN, sequence), SHORT) {
            Ok(_) => while survivor.receive(Duration::ZERO) {},
            Err(SendTimeoutError::Timeout { waiting_for }) => {
                let (WaitingFor::Subscriber { pid } | WaitingFor::Publisher { pid }) = waiting_for
                else {
                    panic!("waiting for {waiting_for}");
                };
                assert_eq!(pid, peer.pid());
                return sequence;
            }
            Err(error) => panic!("{error}"),
        }
    }
    100
}
