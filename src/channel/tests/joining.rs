//! Whoever fails to join leaves nothing: no entry taken, no type registered.

use crate::segment::member::{Member, SeatState};
use crate::{OpenError, Ring, RingBuilder, Wait};

fn on_events() -> RingBuilder {
    Ring::builder().capacity(4096).max_publishers(2).max_subscribers(2).wait(Wait::event())
}

/// Whether an entry is free, and nobody sits at it.
fn is_free(ring: &Ring, member: Member) -> bool {
    let memory = ring.segment().memory();
    let seat = match member {
        Member::Publisher(index) => &memory.publishers()[index].seat,
        Member::Subscriber(index) => &memory.subscribers()[index].details.seat,
    };
    SeatState::of(seat) == SeatState::Free && !ring.segment().lives(member)
}

/// On a ring whose events cannot be opened.
fn fails_to_join(ring: &Ring) {
    (0..4).for_each(|index| ring.segment().damage_event(index));
    for _ in 0..3 {
        for error in [
            ring.publisher::<u64>().err().unwrap(),
            ring.subscriber::<u64>().err().unwrap(),
            ring.durable::<u64>("desk").err().unwrap(),
        ] {
            assert!(matches!(error, OpenError::System { .. }), "{error}");
        }
    }
    for member in [Member::Publisher(0), Member::Subscriber(0)] {
        assert!(is_free(ring, member), "{member:?}");
    }
    assert_eq!(ring.types(), []);
    assert!(!ring.remove_durable("desk").unwrap());
}

#[test]
fn one_that_fails_to_join_takes_no_entry() {
    fails_to_join(&on_events().heap().unwrap());
    fails_to_join(&on_events().open(&format!("joining-{}", std::process::id())).unwrap());
}

#[test]
fn one_whose_name_is_taken_registers_no_type() {
    let ring = on_events().heap().unwrap();
    let desk = ring.mixed_durable("desk").unwrap();
    assert!(matches!(ring.durable::<u64>("desk"), Err(OpenError::NameTaken { .. })));
    assert_eq!(ring.types(), []);
    drop((desk, ring.subscriber::<String>().unwrap()));
}
