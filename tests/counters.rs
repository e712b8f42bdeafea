//! What endpoints count, as an inspection of their ring shows it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod support;

use packetring::cluster::Delivery;
use packetring::inspect::{Counters, EndpointInfo, EndpointRole, Inspection, RingInspection};
use packetring::inventory::ObjectInfo;
use packetring::{
    Overflow, Publisher, Received, Ring, TryRecvError, TrySendError, Worker, inventory,
};
use std::thread;
use std::time::Duration;
use support::peer::{self, Peer, Role};
use support::{Noise, Watch, this_thread, unique, wait_until, wait_until_asleep};

/// Entry point of the child processes; does nothing without a role.
#[test]
fn peer() {
    let Some(role) = peer::role() else { return };
    match role.name.as_str() {
        "send" => send(&role),
        "receive" => receive(&role),
        other => panic!("{other}"),
    }
}

/// Sends packets, and stays until the test ends it. Arguments: ring, number.
fn send(role: &Role) {
    let mut out = Ring::attach(&role.arguments[0]).unwrap().publisher().unwrap();
    for number in 0..role.number(1) {
        out.send(&text(number)).unwrap();
    }
    peer::say("sent");
    peer::hear();
}

/// Receives packets, and stays until the test ends it. Arguments: ring, number.
fn receive(role: &Role) {
    let mut texts = Ring::attach(&role.arguments[0]).unwrap().subscriber::<String>().unwrap();
    peer::say("joined");
    for _ in 0..role.number(1) {
        drop(texts.recv().unwrap());
    }
    peer::say("received");
    peer::hear();
}

/// A text of one to four slots.
fn text(number: u64) -> String {
    "x".repeat((Noise::of(3, number).next() % 200) as usize)
}

/// Slots of the packet of a text.
fn slots(text: &str) -> u64 {
    let archive = if text.len() <= 8 { 8 } else { text.len().next_multiple_of(4) + 8 };
    (16 + archive as u64).div_ceil(64)
}

fn inspected(name: &str) -> RingInspection {
    let is_it = |object: &ObjectInfo| object.name == name;
    match inventory().unwrap().into_iter().find(is_it).unwrap().inspect().unwrap() {
        Inspection::Ring(ring) => ring,
        other => panic!("{other:?}"),
    }
}

fn publishers(ring: &RingInspection) -> Vec<&EndpointInfo> {
    ring.endpoints.iter().filter(|endpoint| endpoint.role == EndpointRole::Publisher).collect()
}

fn readers(ring: &RingInspection) -> Vec<&EndpointInfo> {
    ring.endpoints.iter().filter(|endpoint| endpoint.role != EndpointRole::Publisher).collect()
}

fn sum(endpoints: &[&EndpointInfo], count: impl Fn(&Counters) -> u64) -> u64 {
    endpoints.iter().map(|endpoint| count(&endpoint.counters)).sum()
}

/// Each subscriber has every packet that was sent: received, skipped, evicted, or still to come.
fn assert_balanced(ring: &RingInspection) {
    let sent = sum(&publishers(ring), |counters| counters.packets);
    for reader in readers(ring) {
        let Counters { packets, skipped, evicted, .. } = reader.counters;
        let lag = reader.lag.unwrap().packets.unwrap();
        assert_eq!(sent, packets + skipped + evicted + lag, "{reader:?}");
    }
}

#[test]
fn what_publishers_sent_is_received_skipped_evicted_or_still_to_come() {
    let _watch = Watch::start();
    for is_exclusive in [false, true] {
        for overflow in [Overflow::Block, Overflow::DropOldest] {
            let name = unique("counters-sum");
            let builder = Ring::builder().capacity(4096).overflow(overflow);
            let builder = if is_exclusive { builder.exclusive() } else { builder.shared() };
            let ring = builder.open(&name).unwrap();
            let mut readers: Vec<_> = (0..2).map(|_| ring.subscriber().unwrap()).collect();
            let count = if is_exclusive { 1 } else { 3 };
            // More than the ring has room for, if it drops them.
            let first = if overflow == Overflow::DropOldest { 100 } else { 4 };
            let send = |out: &mut Publisher<String>, numbers: std::ops::Range<u64>| {
                for number in numbers {
                    out.send(&text(number)).unwrap();
                }
            };
            let mut outs: Vec<_> = (0..count).map(|_| ring.publisher().unwrap()).collect();
            outs.iter_mut().for_each(|out| send(out, 0..first));
            for reader in &mut readers {
                while reader.skip_to_newest().unwrap() == 0 {}
                assert!(reader.counters().skipped > 0);
            }
            let senders: Vec<_> = outs
                .into_iter()
                .map(|mut out| {
                    thread::spawn(move || {
                        send(&mut out, first..5000);
                        out
                    })
                })
                .collect();
            let mut step = 0;
            while senders.iter().any(|sender| !sender.is_finished()) {
                for (index, reader) in readers.iter_mut().enumerate() {
                    step += 1;
                    match step % 7 {
                        0 => drop::<u64>(reader.skip_to_newest().unwrap()),
                        1 => drop(reader.try_recv_latest()),
                        2 | 3 => drop(reader.try_drain()),
                        4 if index == 0 => {
                            if let Ok(packet) = reader.try_recv() {
                                Received::unreceive(packet);
                            }
                        }
                        _ => drop::<Result<Received<'_, String>, TryRecvError>>(reader.try_recv()),
                    }
                }
            }
            let outs: Vec<_> = senders.into_iter().map(|sender| sender.join().unwrap()).collect();
            let found = inspected(&name);
            assert_balanced(&found);
            let bytes: u64 = (0..5000).map(|number| slots(&text(number)) * 64).sum();
            for (out, publisher) in outs.iter().zip(publishers(&found)) {
                let Counters { packets, bytes: sent, .. } = publisher.counters;
                assert_eq!((packets, sent), (5000, bytes));
                assert_eq!(out.counters(), publisher.counters, "the endpoint shows the same");
            }
            let evicted = sum(&self::readers(&found), |counters| counters.evicted);
            assert_eq!(sum(&publishers(&found), |counters| counters.evicted), evicted);
            assert_eq!(evicted > 0, overflow == Overflow::DropOldest);
            // At the end of the ring, everything that was evicted has been reported.
            for reader in &mut readers {
                while !matches!(reader.try_recv(), Err(TryRecvError::Empty)) {}
                let Counters { evicted, missed, .. } = reader.counters();
                assert_eq!(missed, evicted, "{:?}", reader.counters());
            }
            assert_balanced(&inspected(&name));
        }
    }
}

#[test]
fn the_counters_of_a_killed_process_stay_until_its_entry_is_used_again() {
    let _watch = Watch::start();
    for builder in [Ring::builder().shared(), Ring::builder().exclusive()] {
        let name = unique("counters-dead");
        let ring = builder.open(&name).unwrap();
        let mut receiver = Peer::start(&format!("receive {name} 5"));
        receiver.expect("joined");
        let mut sender = Peer::start(&format!("send {name} 7"));
        sender.expect("sent");
        receiver.expect("received");
        sender.kill();
        receiver.kill();
        wait_until("both are dead", || {
            inspected(&name).endpoints.iter().all(|endpoint| !endpoint.is_alive)
        });
        let found = inspected(&name);
        let [sender, receiver] = &found.endpoints[..] else { panic!("{:?}", found.endpoints) };
        let bytes = |count| (0..count).map(|number| slots(&text(number)) * 64).sum::<u64>();
        let count = |endpoint: &EndpointInfo| (endpoint.counters.packets, endpoint.counters.bytes);
        assert_eq!((count(sender), count(receiver)), ((7, bytes(7)), (5, bytes(5))));

        // A successor clears them, and begins anew.
        let before = sender.counters.since;
        let out = ring.publisher::<String>().unwrap();
        let counters = out.counters();
        assert_eq!((counters.packets, counters.bytes, counters.wakes), (0, 0, 0));
        assert!(counters.since > before, "{counters:?}");
        assert_eq!(inspected(&name).endpoints.len(), 1);
    }
}

#[test]
fn a_queue_counts_each_packet_for_the_consumer_that_acknowledged_it() {
    let _watch = Watch::start();
    let cluster = unique("counters-queue");
    let worker = Worker::join(&cluster, "web").unwrap();
    let mut out = worker.queue_publisher::<String>("jobs").unwrap();
    let mut consumers: Vec<_> = (0..2).map(|_| worker.queue::<String>("jobs").unwrap()).collect();
    let since: Vec<_> = consumers.iter().map(|consumer| consumer.counters().since).collect();
    for number in 0..30 {
        out.send(&text(number)).unwrap();
    }
    let mut expected = [Counters::default(); 2];
    let mut turn = 0;
    while out.backlog() > 0 {
        turn += 1;
        let index = turn % 3 % 2;
        let counts = &mut expected[index];
        let job = consumers[index].recv().unwrap();
        counts.redelivered += u64::from(Delivery::info(&job).redelivered);
        match turn % 5 {
            // The next receive of this consumer gets it again.
            0 => drop(job),
            // The consumer moves to another entry, with its counters. One of the two adopts it.
            1 => Delivery::nack(job),
            _ => {
                counts.packets += 1;
                counts.bytes += slots(&job) * 64;
                Delivery::ack(job);
            }
        }
    }
    let counts = |counters: Counters| (counters.packets, counters.bytes, counters.redelivered);
    for (index, consumer) in consumers.iter().enumerate() {
        assert_eq!(counts(consumer.counters()), counts(expected[index]));
        assert_eq!(consumer.counters().since, since[index]);
    }
    assert_eq!(expected[0].packets + expected[1].packets, 30);
    assert!(expected.iter().all(|counts| counts.redelivered > 0), "{expected:?}");
    assert_eq!(out.counters().packets, 30);
    drop((out, consumers));
    worker.leave().unwrap();
}

#[test]
fn a_durable_subscriber_begins_anew_with_its_successor() {
    let _watch = Watch::start();
    let name = unique("counters-durable");
    let ring = Ring::open(&name).unwrap();
    let mut out = ring.publisher::<String>().unwrap();
    let mut first = ring.durable::<String>("audit").unwrap();
    for number in 0..9 {
        out.send(&text(number)).unwrap();
    }
    for _ in 0..4 {
        drop(first.recv().unwrap());
    }
    Received::unreceive(first.recv().unwrap());
    drop(first.recv().unwrap());
    assert_eq!((first.counters().packets, first.counters().redelivered), (5, 1));
    let before = first.counters();
    drop(first);
    let found = inspected(&name);
    let [reader] = readers(&found)[..] else { panic!("{:?}", found.endpoints) };
    assert_eq!((reader.counters, reader.is_alive), (before, false), "as long as it is away");

    let mut second = ring.durable::<String>("audit").unwrap();
    assert_eq!((second.counters().packets, second.counters().redelivered), (0, 0));
    assert!(second.counters().since > before.since);
    while second.backlog() > 0 {
        drop(second.recv().unwrap());
    }
    assert_eq!((second.counters().packets, second.counters().redelivered), (4, 0));
    drop(second);
    assert!(ring.remove_durable("audit").unwrap());
}

/// Calls `wait` in a thread, and `end` as soon as the thread sleeps. Returns what `wait` returns.
fn while_it_sleeps<R: Send>(wait: impl FnOnce() -> R + Send, end: impl FnOnce()) -> R {
    let (said, thread_of) = std::sync::mpsc::channel();
    thread::scope(|scope| {
        let waiter = scope.spawn(move || {
            said.send(this_thread()).unwrap();
            wait()
        });
        wait_until_asleep(thread_of.recv().unwrap());
        end();
        waiter.join().unwrap()
    })
}

#[test]
fn sleeps_and_wakes_are_counted() {
    let _watch = Watch::start();
    let ring = Ring::builder().capacity(1024).exclusive().heap().unwrap();
    let mut out = ring.publisher::<u64>().unwrap();
    let mut numbers = ring.subscriber::<u64>().unwrap();
    assert!(matches!(numbers.try_recv(), Err(TryRecvError::Empty)));
    assert_eq!((numbers.counters().parks, numbers.counters().blocked), (0, Duration::ZERO));
    // Between two bounded sleeps there is no sleeper to wake.
    for sent in 1.. {
        while_it_sleeps(|| drop(numbers.recv().unwrap()), || drop(out.send(&1)));
        let counters = numbers.counters();
        assert!(counters.parks >= sent && counters.blocked > Duration::ZERO, "{counters:?}");
        assert_eq!((counters.packets, out.counters().packets), (sent, sent));
        assert_eq!((out.counters().parks, out.counters().full), (0, 0));
        assert!(out.counters().wakes <= sent);
        if out.counters().wakes > 0 {
            break;
        }
    }

    // Full: calls that do not wait, and then one that does.
    while out.try_send(&2).is_ok() {}
    assert_eq!(out.counters().full, 1);
    assert!(matches!(out.try_send(&2), Err(TrySendError::Full { .. })));
    assert_eq!((out.counters().full, out.counters().parks), (2, 0));
    while_it_sleeps(|| drop(out.send(&3)), || while numbers.try_recv().is_ok() {});
    let counters = out.counters();
    assert!(counters.parks > 0 && counters.blocked > Duration::ZERO, "{counters:?}");
    assert_eq!(counters.full, 3, "a call that waits counts once");
}

#[test]
fn the_endpoint_that_clears_a_dead_one_counts_it() {
    let _watch = Watch::start();
    let name = unique("counters-recovery");
    let ring = Ring::builder().capacity(1024).open(&name).unwrap();
    let mut out = ring.publisher::<String>().unwrap();
    let mut dead = Peer::start(&format!("receive {name} 0"));
    dead.expect("joined");
    dead.expect("received");
    while out.try_send(&String::new()).is_ok() {}
    assert_eq!(out.counters().recoveries, 0);
    dead.kill();
    out.send(&String::new()).unwrap();
    assert_eq!(out.counters().recoveries, 1);
    assert!(readers(&inspected(&name)).is_empty());
}
