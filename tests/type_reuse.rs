//! Rings, inboxes and events that live through many versions of their packets: any number of types,
//! one after another. Types that are in use or in the ring at one time are limited to 64.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod support;

use packetring::any::AnySubscriber;
use packetring::cluster::{Events, Inbox};
use packetring::{OpenError, Packet, Ring, SendError, Subscriber, Worker};
use std::cell::Cell;
use std::rc::Rc;
use support::{Watch, assert_gone, unique};

/// Calls a generic function with each length from 1 to 80: more types than fit at one time.
macro_rules! each_version {
    ($run:ident $arguments:tt) => {
        each_version!($run $arguments 0 1 2 3 4 5 6 7)
    };
    ($run:ident $arguments:tt $($tens:literal)*) => {
        $(each_version!(@ $run $arguments $tens 1 2 3 4 5 6 7 8 9 10);)*
    };
    (@ $run:ident $arguments:tt $tens:literal $($ones:literal)*) => {
        $($run::<{ $tens * 10 + $ones }> $arguments;)*
    };
}

fn publish<const N: usize>(ring: &Ring, own: &mut Subscriber<u64>, reader: &mut AnySubscriber)
where
    [u8; N]: Packet,
{
    ring.any_publisher().unwrap().send(&[N as u8; N]).unwrap();
    let packet = reader.recv().unwrap();
    assert_eq!(packet.type_name(), format!("[u8; {N}]"));
    packet.open_as::<[u8; N]>().unwrap();
    assert!(packet.open_as::<[u8; 200]>().is_err());
    let error = own.recv().map(drop).unwrap_err();
    assert!(error.to_string().contains(&format!("[u8; {N}] (")), "{error}");
}

/// A reader stays, and so does a typed subscriber that never gets a packet of its type.
#[test]
fn a_ring_carries_more_types_than_fit_one_after_another() {
    let _watch = Watch::start();
    let name = unique("types-ring");
    let ring = Ring::open(&name).unwrap();
    let mut own = ring.subscriber::<u64>().unwrap();
    let mut reader = ring.any_subscriber().unwrap();
    each_version!(publish(&ring, &mut own, &mut reader));
    let types = ring.types();
    assert!(types.len() <= 64 && types[0].name == "u64", "{types:?}");
    ring.publisher::<u64>().unwrap().send(&7).unwrap();
    assert_eq!(*own.recv().unwrap(), 7);
    drop((own, reader, ring));
    assert_gone(&name);
}

fn keep<const N: usize>(ring: &Ring) -> Result<u64, SendError>
where
    [u8; N]: Packet,
{
    ring.any_publisher().unwrap().send(&[0; N])
}

/// Packets that wait for a durable subscriber keep their types, however many they are.
#[test]
fn a_backlog_keeps_its_types_until_it_is_read() {
    let _watch = Watch::start();
    let name = unique("types-backlog");
    let ring = Ring::builder().stays_open(true).open(&name).unwrap();
    drop(ring.any_durable("audit").unwrap());
    let mut sent = Vec::new();
    macro_rules! keep_all {
        ($($len:literal)*) => { $(sent.push(keep::<$len>(&ring));)* };
    }
    keep_all!(1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32
        33 34 35 36 37 38 39 40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56 57 58 59 60 61 62 63
        64);
    assert!(sent.iter().all(Result::is_ok));
    let error = keep::<65>(&ring).unwrap_err();
    assert!(matches!(error, SendError::TooManyTypes(room) if room.types == 64), "{error}");
    // A typed endpoint of another type is refused, too: the error names what waits.
    let error = ring.publisher::<[u8; 65]>().map(drop).unwrap_err();
    let OpenError::TypeMismatch { found, .. } = &error else { panic!("{error}") };
    assert!(found.contains("[u8; 1] (") && found.contains("[u8; 64] ("), "{found}");

    let mut audit = ring.any_durable("audit").unwrap();
    assert_eq!(audit.recv().unwrap().type_name(), "[u8; 1]");
    drop(audit.recv().unwrap());
    keep::<65>(&ring).unwrap();
    for len in 3..=65 {
        assert_eq!(audit.recv().unwrap().type_name(), format!("[u8; {len}]"));
    }
    // Everything is read: a typed ring begins anew.
    drop(audit.try_recv().map(drop).unwrap_err());
    ring.publisher::<[u8; 66]>().map(drop).unwrap();
    assert_eq!(ring.types().len(), 1);
    drop(audit);
    assert!(ring.remove_durable("audit").unwrap());
    drop(ring);
    assert_gone(&name);
}

fn tell<const N: usize>(cluster: &str, inbox: &mut Inbox)
where
    [u8; N]: Packet,
{
    let sender = Worker::join(cluster, &format!("sender-{N}")).unwrap();
    sender.send_to("shop", &[N as u8; N]).unwrap();
    sender.leave().unwrap();
    let message = inbox.recv().unwrap();
    message.open_as::<[u8; N]>().unwrap();
    message.ack();
}

#[test]
fn an_inbox_carries_more_types_than_fit_one_after_another() {
    let _watch = Watch::start();
    let cluster = unique("types-inbox");
    let shop = Worker::join(&cluster, "shop").unwrap();
    let mut inbox = shop.inbox().unwrap();
    each_version!(tell(&cluster, &mut inbox));
    assert!(shop.inbox_types("shop").unwrap().len() <= 64);
    drop(inbox);
    shop.leave().unwrap();
}

fn emit<const N: usize>(cluster: &str, events: &mut Events, seen: &Rc<Cell<usize>>)
where
    [u8; N]: Packet,
{
    let sender = Worker::join(cluster, &format!("sender-{N}")).unwrap();
    let seen_by_handler = Rc::clone(seen);
    let handler = events.on::<[u8; N]>("length", move |_, _| seen_by_handler.set(N));
    sender.emitter().unwrap().emit("length", &[0; N]).unwrap();
    sender.leave().unwrap();
    assert_eq!(events.poll().unwrap(), 1);
    assert_eq!(seen.get(), N);
    events.off(handler);
}

#[test]
fn events_carry_more_types_than_fit_one_after_another() {
    let _watch = Watch::start();
    let cluster = unique("types-events");
    let shop = Worker::join(&cluster, "shop").unwrap();
    let mut events = shop.events().unwrap();
    let seen = Rc::new(Cell::new(0));
    each_version!(emit(&cluster, &mut events, &seen));
    assert!(shop.event_types().unwrap().len() <= 64);
    drop(events);
    shop.leave().unwrap();
}
