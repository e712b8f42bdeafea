//! A failed join leaves nothing: no entry taken, no type registered. A join under way does not
//! count as joined.

use super::process::{GENEROUS, Process, State, Stop};
use crate::failpoint::Failpoint;
use crate::segment::entry::{EntryId, OwnerState};
use crate::{
    OpenError, Overflow, Ring, RingBuilder, SendTimeoutError, TrySendError, Wait, WaitingFor,
};
use std::time::Duration;

fn on_events() -> RingBuilder {
    Ring::builder().capacity(4096).max_publishers(2).max_subscribers(2).wait(Wait::event())
}

/// Returns true if an entry is free and its liveness lock too.
fn is_free(ring: &Ring, entry_id: EntryId) -> bool {
    let memory = ring.segment().memory();
    let owner = match entry_id {
        EntryId::Publisher(index) => &memory.publishers()[index].details.owner,
        EntryId::Subscriber(index) => &memory.subscribers()[index].details.owner,
        EntryId::WorkerSlot(_) => panic!("a ring has no worker slots"),
    };
    OwnerState::of(owner) == OwnerState::Free && !ring.segment().is_alive(entry_id)
}

/// Joins a ring whose events cannot be opened.
fn fails_to_join(ring: &Ring) {
    (0..4).for_each(|index| ring.segment().damage_event(index));
    for _ in 0..3 {
        for error in [
            ring.publisher::<u64>().err().unwrap(),
            ring.subscriber::<u64>().err().unwrap(),
            ring.durable::<u64>("shop").err().unwrap(),
        ] {
            assert!(matches!(error, OpenError::System { .. }), "{error}");
        }
    }
    for entry_id in [EntryId::Publisher(0), EntryId::Subscriber(0)] {
        assert!(is_free(ring, entry_id), "{entry_id:?}");
    }
    assert_eq!(ring.types(), []);
    assert!(!ring.remove_durable("shop").unwrap());
}

#[test]
fn a_failed_join_takes_no_entry() {
    fails_to_join(&on_events().heap().unwrap());
    fails_to_join(&on_events().open(&format!("joining-{}", std::process::id())).unwrap());
}

#[test]
fn a_join_with_a_taken_name_registers_no_type() {
    let ring = on_events().heap().unwrap();
    let shop = ring.any_durable("shop").unwrap();
    assert!(matches!(ring.durable::<u64>("shop"), Err(OpenError::NameTaken { .. })));
    assert_eq!(ring.types(), []);
    drop((shop, ring.subscriber::<String>().unwrap()));
}

/// The peer's side: joins and receives one packet.
pub(super) fn join(name: &str) {
    let mut numbers = Ring::attach(name).unwrap().subscriber::<u64>().unwrap();
    assert_eq!(*numbers.recv_timeout(GENEROUS).unwrap(), 7);
}

#[test]
fn a_subscriber_that_a_publisher_waits_for_gets_the_next_packet() {
    for step in [Failpoint::JoinOwner, Failpoint::JoinCursor, Failpoint::JoinMove] {
        let name = format!("joining-{}-{step:?}", std::process::id());
        let ring = Ring::builder().capacity(1024).open(&name).unwrap();
        let mut out = ring.publisher::<u64>().unwrap();
        let stop = Some(Stop::freeze(step, 1));
        let mut joining = Process::start(&format!("join {name}"), stop);
        assert_eq!(joining.settle(), State::Frozen);
        let error = out.try_wait_for_subscribers(1).unwrap_err();
        let missing = WaitingFor::Subscribers { missing: 1 };
        assert!(matches!(error, TrySendError::Full { waiting_for } if waiting_for == missing));
        assert_eq!(ring.subscribers(), 0, "at {step:?}");
        joining.thaw();
        out.wait_for_subscribers_timeout(1, GENEROUS).unwrap();
        out.send(&7).unwrap();
        assert_eq!(joining.settle(), State::Finished);
    }
}

/// The control lock is held, as by a process that is stopped inside it.
#[test]
fn a_clone_that_waits_for_the_lock_blocks_no_publisher() {
    let name = format!("joining-clone-{}", std::process::id());
    let drops = Ring::builder().capacity(1024).overflow(Overflow::DropOldest);
    let ring = drops.open_timeout(Duration::from_millis(200)).open(&name).unwrap();
    let mut out = ring.publisher::<u64>().unwrap();
    let mut inbox = ring.subscriber::<u64>().unwrap();
    let other = Ring::attach(&name).unwrap();
    let control = other.segment().lock().unwrap();
    std::thread::scope(|scope| {
        let clone = scope.spawn(|| inbox.try_clone().map(drop));
        while !clone.is_finished() {
            assert!(out.try_send(&7).is_ok(), "held up by a subscriber that waits for a lock");
        }
        let outcome = clone.join().unwrap();
        assert!(matches!(outcome, Err(OpenError::Busy { .. })), "{outcome:?}");
    });
    drop(control);
}

#[test]
fn a_type_is_not_registered_while_the_lock_is_held() {
    let name = format!("joining-type-{}", std::process::id());
    let ring = Ring::open(&name).unwrap();
    let mut out = ring.any_publisher().unwrap();
    let other = Ring::attach(&name).unwrap();
    let control = other.segment().lock().unwrap();
    let pid = std::process::id();
    let tried = out.try_send(&7_u64);
    assert!(
        matches!(tried, Err(TrySendError::Full { waiting_for: WaitingFor::Joining { pid: who } }) if who == pid),
        "{tried:?}"
    );
    let timed = out.send_timeout(&7_u64, Duration::from_millis(1));
    assert!(matches!(timed, Err(SendTimeoutError::Timeout { .. })), "{timed:?}");
    drop(control);
    out.send(&7_u64).unwrap();
}
