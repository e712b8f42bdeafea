use super::run::STEPS_PER_CHECK;
use super::*;
use crate::channel::{Waitable, select_timeout, try_select};
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};

fn ring() -> Ring {
    Ring::builder().capacity(4096).tagged_slots().stays_open(true).heap().unwrap()
}

fn events<'h>(ring: &Ring) -> Events<'h> {
    Events::over(ring, WorkerId(3), None).unwrap()
}

#[test]
fn a_packet_without_a_header_is_an_error_and_is_skipped() {
    let ring = ring();
    let mut count = 0;
    let mut events = events(&ring);
    events.on::<u64>("n", |_, _| count += 1);
    ring.any_publisher().unwrap().send(&7_u64).unwrap();
    events.emit("n", &1_u64).unwrap();
    let Err(RunError::Corrupt(what)) = events.poll() else { panic!() };
    assert_eq!(&*what, "no event header at position 0");
    assert_eq!(events.poll().unwrap(), 1);
    drop(events);
    assert_eq!(count, 1);
}

#[test]
fn changes_that_a_handler_made_before_its_panic_are_applied() {
    let ring = ring();
    let log = RefCell::new(Vec::new());
    let mut events = events(&ring);
    let removed = events.on::<u64>("n", |_, _| log.borrow_mut().push("removed"));
    events.on::<u64>("n", |_, _| log.borrow_mut().push("kept"));
    events.once::<u64>("n", move |_, context| {
        context.off(removed);
        context.on::<u64>("m", |_, _| {});
        panic!("on purpose");
    });
    events.emit("n", &1_u64).unwrap();
    assert!(catch_unwind(AssertUnwindSafe(|| events.poll())).is_err());
    assert_eq!(log.take(), ["removed", "kept"]);
    assert_eq!(events.event_names(), ["n", "m"]);
    events.emit("n", &1_u64).unwrap();
    assert_eq!(events.poll().unwrap(), 1);
    assert_eq!(log.take(), ["kept"]);
}

#[test]
fn a_change_behind_an_uncommitted_event_selects_nothing() {
    let cluster = format!("news-{}", std::process::id());
    let worker = Worker::join(&cluster, "one").unwrap();
    let mut changes = 0;
    let mut events = worker.events().unwrap();
    events.on_worker(|_, _| changes += 1);
    let ring = worker.open(ClusterObject::Events, RingBuilder::default().tagged_slots()).unwrap();
    let mut publisher = ring.any_publisher().unwrap();
    let claim = publisher.reserve::<u64>().unwrap();
    let two = Worker::join(&cluster, "two").unwrap();
    for _ in 0..2 * STEPS_PER_CHECK {
        assert_eq!(try_select(&mut [&mut events]), None);
        assert_eq!(events.poll().unwrap(), 0);
    }
    assert!(!Waitable::is_ready(&events), "the change must not end the sleep");
    drop(claim);
    assert_eq!(select_timeout(&mut [&mut events], Duration::MAX), Some(0));
    assert_eq!(events.poll().unwrap(), 0);
    assert_eq!(try_select(&mut [&mut events]), None);
    drop((events, publisher, ring, two));
    assert_eq!(changes, 1);
}

#[test]
fn a_closed_ring_ends_every_dispatch() {
    let ring = ring();
    let mut events = events(&ring);
    events.on_error(|_, _| {});
    events.emit("n", &1_u64).unwrap();
    ring.close().unwrap();
    for _ in 0..2 {
        assert_eq!(try_select(&mut [&mut events]), Some(0));
        assert!(matches!(events.run(), Err(RunError::System(_))));
        assert!(matches!(events.poll(), Err(RunError::System(_))), "selected, but no error");
    }
    assert!(matches!(events.emit("n", &1_u64), Err(EmitError::Send(_))));
}
