//! Latencies by probes: they change no packet and no counter of packets, they fail no send, and
//! without sampling there are none.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod support;

use packetring::inspect::{Inspection, RingInspection};
use packetring::inventory::{ObjectInfo, ObjectKind};
use packetring::{
    OpenError, Overflow, Publisher, Ring, RingBuilder, TryRecvError, TrySendError, Worker,
    inventory,
};
use std::fs::{self, OpenOptions};
use std::num::NonZeroU32;
use std::os::unix::fs::FileExt;
use support::{Noise, object, unique};

const SLOT: usize = 64;
/// Offset of the switch in a segment.
const SAMPLING: u64 = 688;
/// The descriptor of a probe: 48 bytes, void, with the lowest bit of the tag.
const PROBE: u64 = 48 | 1 << 40 | 1 << 41;

fn every(slots: u32) -> Option<NonZeroU32> {
    NonZeroU32::new(slots)
}

fn listed(name: &str) -> ObjectInfo {
    let is_it = |object: &ObjectInfo| object.name == name;
    inventory().unwrap().into_iter().find(is_it).unwrap()
}

fn inspected(name: &str) -> RingInspection {
    match listed(name).inspect().unwrap() {
        Inspection::Ring(ring) => ring,
        other => panic!("{other:?}"),
    }
}

/// The offsets of the probes in the slots of a ring, which begin on its last pages.
fn probes(name: &str, capacity: usize) -> Vec<usize> {
    let bytes = fs::read(object(name)).unwrap();
    let start = bytes.len() - capacity.next_multiple_of(4096);
    let slots = (start..start + capacity).step_by(SLOT);
    let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
    slots.filter(|at| word(at + 8) == PROBE).collect()
}

/// Rings of 32 slots, of every kind.
fn kinds() -> Vec<(&'static str, RingBuilder)> {
    let ring = || Ring::builder().capacity(32 * SLOT).max_subscribers(4);
    vec![
        ("exclusive", ring().exclusive()),
        ("shared", ring().shared()),
        ("exclusive-history", ring().exclusive().history(3)),
        ("shared-history", ring().shared().history(3)),
        ("drop-oldest", ring().shared().overflow(Overflow::DropOldest)),
        ("exclusive-drop-oldest", ring().exclusive().overflow(Overflow::DropOldest)),
    ]
}

/// A text of one to five slots.
fn text(noise: &mut Noise) -> String {
    let len = noise.below(280);
    noise.text(len)
}

/// Sends by any verb. Returns false if there was no room.
fn send(out: &mut Publisher<String>, noise: &mut Noise, text: &String) -> bool {
    let sent = match noise.below(3) {
        0 => out.try_send(text).map(drop),
        1 => out.try_send_all(std::slice::from_ref(text)).map_err(|error| error.source),
        _ => out.try_burst(1 + noise.below(6)).and_then(|mut burst| burst.try_send(text)).map(drop),
    };
    match sent {
        Ok(()) => true,
        Err(TrySendError::Full { .. }) => false,
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn packets_and_their_counters_are_those_of_a_ring_without_probes() {
    for (kind, builder) in kinds() {
        let name = unique(kind);
        let ring = builder.open(&name).unwrap();
        let is_lossless = ring.settings().overflow == Overflow::Block;
        let mut own = ring.publisher::<String>().unwrap();
        let mut other = ring.publisher::<String>().ok();
        let mut plain = ring.subscriber::<String>().unwrap();
        let mut durable = ring.durable::<String>("log").unwrap();
        let (mut sent, mut count) = (Vec::new(), 0);
        let mut received = [Vec::new(), Vec::new()];
        for (round, interval) in [1, 2, 3, 0, 7, 64, 1].into_iter().enumerate() {
            ring.sample_latency(every(interval));
            let mut noise = Noise::of(round as u32, 5);
            for step in 0..400 {
                let text = format!("{}-{}", sent.len(), text(&mut noise));
                let out = match &mut other {
                    Some(other) if noise.below(3) == 0 => other,
                    _ => &mut own,
                };
                if send(out, &mut noise, &text) {
                    sent.push(text);
                    count += 1;
                }
                for (from, to) in [&mut plain, &mut durable].into_iter().zip(&mut received) {
                    // One of them in turns, so that the other one falls behind.
                    let most = if step % 50 < 25 { noise.below(2) } else { 4 };
                    for _ in 0..most {
                        match from.try_recv() {
                            Ok(text) => to.push(text.to_string()),
                            Err(TryRecvError::Empty) => break,
                            Err(TryRecvError::Missed(_)) if !is_lossless => {}
                            Err(error) => panic!("{kind}: {error}"),
                        }
                    }
                }
            }
        }
        for (from, to) in [&mut plain, &mut durable].into_iter().zip(&mut received) {
            loop {
                match from.try_recv() {
                    Ok(text) => to.push(text.to_string()),
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Missed(_)) if !is_lossless => {}
                    Err(error) => panic!("{kind}: {error}"),
                }
            }
        }
        let found = inspected(&name);
        let readers = found.endpoints.iter().filter(|endpoint| !endpoint.is_writing());
        for (reader, texts) in readers.zip(&received) {
            assert_eq!(reader.counters.packets, texts.len() as u64, "{kind}");
            assert!(reader.counters.latencies > 50, "{kind}: {:?}", reader.counters);
            assert!(reader.counters.latency_max <= reader.counters.latency_sum, "{kind}");
            if is_lossless {
                assert!(*texts == sent, "{kind}: other packets");
            } else {
                let mut all = sent.iter();
                assert!(texts.iter().all(|text| all.any(|sent| sent == text)), "{kind}: order");
                let lost = reader.counters.evicted;
                assert_eq!(texts.len() as u64 + lost, sent.len() as u64, "{kind}: lost");
            }
        }
        let writers = found.endpoints.iter().filter(|endpoint| endpoint.is_writing());
        let by_writers: u64 = writers.map(|writer| writer.counters.packets).sum();
        assert_eq!(by_writers, count, "{kind}");
        let of_readers = found.endpoints.iter().map(|endpoint| endpoint.counters.latencies);
        assert_eq!(found.latencies.count, of_readers.sum::<u64>(), "{kind}");
        assert_eq!(found.latencies.ignored, 0, "{kind}");
        drop((own, other, plain, durable));
        ring.remove_durable("log").unwrap();
    }
}

#[test]
fn without_sampling_no_slot_holds_a_probe() {
    for (kind, builder) in kinds() {
        let name = unique(kind);
        let ring = builder.open(&name).unwrap();
        let mut out = ring.publisher::<u64>().unwrap();
        let mut numbers = ring.subscriber::<u64>().unwrap();
        let mut pass = |count: u64| {
            for number in 0..count {
                out.send(&number).unwrap();
                assert_eq!(*numbers.recv().unwrap(), number);
            }
        };
        pass(200);
        assert!(probes(&name, 32 * SLOT).is_empty(), "{kind}");
        assert_eq!((inspected(&name).sampling, inspected(&name).latencies.count), (None, 0));

        assert_eq!(listed(&name).sample_latency(every(4)).unwrap(), None);
        assert_eq!(inspected(&name).sampling, every(4));
        pass(100);
        assert!(!probes(&name, 32 * SLOT).is_empty(), "{kind}");
        let sampled = inspected(&name).latencies.count;
        assert!((20..40).contains(&sampled), "{kind}: {sampled} of about 31 probes");

        assert_eq!(listed(&name).sample_latency(None).unwrap(), every(4));
        pass(100);
        assert!(probes(&name, 32 * SLOT).is_empty(), "{kind}");
        assert!(inspected(&name).latencies.count <= sampled + 1, "{kind}");
    }
}

#[test]
fn a_publisher_finds_out_with_its_next_packet_however_slow_the_ring_is() {
    for (kind, builder) in kinds() {
        // Far from each limit of a publisher.
        let name = unique(kind);
        let ring = builder.capacity(1 << 20).open(&name).unwrap();
        let mut out = ring.publisher::<u64>().unwrap();
        let mut numbers = ring.subscriber::<u64>().unwrap();
        for number in 0..10 {
            out.send(&number).unwrap();
        }
        ring.sample_latency(every(1));
        for number in 10..13 {
            out.send(&number).unwrap();
        }
        assert_eq!(probes(&name, 1 << 20).len(), 2, "{kind}: the second packet and the third");
        ring.sample_latency(None);
        for number in 13..23 {
            out.send(&number).unwrap();
        }
        assert_eq!(probes(&name, 1 << 20).len(), 2, "{kind}: it finds out at its next point");
        for number in 0..23 {
            assert_eq!(*numbers.recv().unwrap(), number, "{kind}");
        }
        assert_eq!(inspected(&name).latencies.count, 2, "{kind}");
    }
}

#[test]
fn a_probe_is_left_out_where_there_is_room_for_the_packet_alone() {
    for (kind, builder) in kinds() {
        if kind.contains("drop") || kind.contains("history") {
            continue;
        }
        let name = unique(kind);
        let ring = builder.capacity(16 * SLOT).open(&name).unwrap();
        let mut out = ring.publisher::<u64>().unwrap();
        let _idle = ring.subscriber::<u64>().unwrap();
        for number in 0..14 {
            out.try_send(&number).unwrap();
        }
        ring.sample_latency(every(1));
        out.try_send(&14).unwrap();
        out.try_send(&15).unwrap_or_else(|error| panic!("{kind}: {error}"));
        assert!(probes(&name, 16 * SLOT).is_empty(), "{kind}");
        assert!(matches!(out.try_send(&16), Err(TrySendError::Full { .. })));
    }
}

/// Flat packets, whose batches become visible at once.
fn batches(name: &str, builder: RingBuilder, interval: u32) {
    let ring = builder.capacity(64 * SLOT).open(&unique(name)).unwrap();
    let mut out = ring.publisher::<[u64; 8]>().unwrap();
    let mut rows = ring.subscriber::<[u64; 8]>().unwrap();
    let mut noise = Noise::of(interval, 0);
    let (mut sent, mut read) = (0_u64, 0_u64);
    for step in 0..4000 {
        if step % 500 == 7 {
            ring.sample_latency(every(interval).filter(|_| step % 1000 == 7));
        }
        let count = 1 + noise.below(30) as u64;
        let some: Vec<[u64; 8]> = (sent..sent + count).map(|number| [number; 8]).collect();
        match out.try_send_all(&some) {
            Ok(()) => sent += count,
            Err(error) => {
                assert!(matches!(error.source, TrySendError::Full { .. }), "{name}: {error}");
                sent += error.sent as u64;
            }
        }
        for _ in 0..noise.below(30) {
            match rows.try_recv() {
                Ok(row) => assert_eq!(row[7].to_native(), read, "{name}, {interval}"),
                Err(TryRecvError::Empty) => break,
                Err(error) => panic!("{name}: {error}"),
            }
            read += 1;
        }
    }
    assert!(read > 10_000, "{name}: {read} of {sent}");
}

#[test]
fn batches_go_on_where_a_probe_was_left_out() {
    for interval in [1, 2, 7, 20, 61] {
        for (kind, builder) in kinds() {
            if !kind.contains("drop") {
                batches(&format!("batches-{kind}-{interval}"), builder, interval);
            }
        }
    }
}

/// The publisher may write beyond the end of the memory when the switch is set, and it finds out in
/// the claim that begins there.
#[test]
fn a_batch_goes_on_behind_the_first_point_after_the_switch() {
    for (interval, singles) in (1..40).flat_map(|it| [(it, 0), (it, 2), (it, 5), (it, 9)]) {
        let name = format!("behind-{interval}-{singles}");
        let ring = Ring::builder().capacity(64 * SLOT).exclusive().open(&unique(&name)).unwrap();
        let mut texts = ring.subscriber::<u64>().unwrap();
        let mut send = |out: &mut Publisher<u64>, packets: u64| {
            for number in 0..packets {
                out.try_send(&number).unwrap();
                texts.recv().unwrap();
            }
        };
        send(&mut ring.publisher().unwrap(), 13);
        // It may write up to 77 without another look at cursors, and stands at 64 afterwards.
        let mut out = ring.publisher::<u64>().unwrap();
        send(&mut out, 51);
        ring.sample_latency(every(interval));
        for number in 0..singles {
            out.try_send(&number).unwrap();
        }
        out.try_send_all(&[7; 16]).unwrap();
        for turn in 0..singles + 16 {
            texts.try_recv().unwrap_or_else(|error| panic!("{name}, {turn}: {error}"));
        }
        assert!(texts.try_recv().is_err(), "{name}");
    }
}

#[test]
fn a_probe_that_was_left_out_comes_later() {
    for (kind, builder) in kinds() {
        if kind.contains("drop") || kind.contains("history") {
            continue;
        }
        let name = unique(&format!("owed-{kind}"));
        let ring = builder.open(&name).unwrap();
        let mut out = ring.publisher::<u64>().unwrap();
        let mut numbers = ring.subscriber::<u64>().unwrap();
        // A point in each run of 32 slots, and a ring that is full but for one slot.
        ring.sample_latency(every(32));
        let mut sent = 0;
        while out.try_send(&sent).is_ok() {
            sent += 1;
        }
        for _ in 0..300 {
            numbers.recv().unwrap();
            assert!(out.try_send(&sent).is_ok(), "{kind}");
            sent += 1;
        }
        while numbers.try_recv().is_ok() {}
        let before = inspected(&name).latencies.count;
        for _ in 0..8 {
            out.try_send(&sent).unwrap();
            numbers.recv().unwrap();
        }
        assert!(inspected(&name).latencies.count > before, "{kind}: {before}");
    }
}

#[test]
fn a_newcomer_does_not_measure_the_age_of_history() {
    for (kind, builder) in kinds() {
        if !kind.contains("history") {
            continue;
        }
        let ring = builder.open(&unique(&format!("age-{kind}"))).unwrap();
        ring.sample_latency(every(1));
        let mut out = ring.publisher::<u64>().unwrap();
        for number in 0..5 {
            out.try_send(&number).unwrap();
        }
        let mut numbers = ring.subscriber::<u64>().unwrap();
        for number in 2..5 {
            assert_eq!(*numbers.recv().unwrap(), number, "{kind}");
        }
        assert_eq!(numbers.counters().latencies, 0, "{kind}");
        out.try_send(&5).unwrap();
        assert_eq!(*numbers.recv().unwrap(), 5);
        assert_eq!(numbers.counters().latencies, 1, "{kind}");
    }
}

#[test]
fn no_packet_is_evicted_for_a_probe() {
    for (kind, builder) in kinds() {
        if !kind.contains("drop") {
            continue;
        }
        let ring = builder.open(&unique(&format!("evict-{kind}"))).unwrap();
        let mut out = ring.publisher::<String>().unwrap();
        let mut texts = ring.subscriber::<String>().unwrap();
        let text = "x".repeat(16 * SLOT - 24);
        out.try_send(&text).unwrap();
        ring.sample_latency(every(1));
        out.try_send(&text).unwrap();
        for turn in 0..2 {
            let got = texts.try_recv().map(|got| got.len());
            assert_eq!(got.unwrap_or_else(|error| panic!("{kind}, {turn}: {error}")), text.len());
        }
    }
}

#[test]
fn the_largest_packet_has_room_beside_probes() {
    for (kind, builder) in kinds() {
        let ring = builder.open(&unique(kind)).unwrap();
        ring.sample_latency(every(1));
        let mut out = ring.publisher::<String>().unwrap();
        let mut texts = ring.subscriber::<String>().unwrap();
        let largest = if ring.settings().history > 0 { 8 } else { 16 } * SLOT - 16;
        let text = "x".repeat(largest - 8);
        for turn in 0..40 {
            out.try_send(&text).unwrap_or_else(|error| panic!("{kind}, turn {turn}: {error}"));
            assert_eq!(*texts.recv().unwrap(), text.as_str(), "{kind}");
            if turn % 3 == 0 {
                out.try_send(&String::new()).unwrap();
                assert_eq!(*texts.recv().unwrap(), "", "{kind}");
            }
        }
    }
}

#[test]
fn consumers_of_a_queue_record_each_probe_once() {
    let name = unique("sampled-queue");
    let worker = Worker::builder().prefix("").join(&name, "shop").unwrap();
    let mut out = worker.queue_publisher::<u64>("jobs").unwrap();
    let mut consumers = [(); 2].map(|()| worker.queue::<u64>("jobs").unwrap());
    let is_queue = |object: &ObjectInfo| {
        object.kind == ObjectKind::Queue && object.cluster.as_deref() == Some(&*name)
    };
    let object = inventory().unwrap().into_iter().find(is_queue).unwrap();
    object.sample_latency(every(1)).unwrap();
    for number in 0..100 {
        out.send(&number).unwrap();
        let job = consumers[number as usize % 2].recv().unwrap();
        assert_eq!(*job, number);
        packetring::cluster::Delivery::ack(job);
    }
    let Inspection::Ring(found) = object.inspect().unwrap() else { panic!("{object}") };
    assert_eq!(found.latencies.count, 100);
    let each: Vec<_> = found.endpoints.iter().filter(|it| !it.is_writing()).collect();
    assert_eq!(each.iter().map(|it| it.counters.packets).collect::<Vec<_>>(), [50, 50]);
    assert_eq!(each.iter().map(|it| it.counters.latencies).sum::<u64>(), 100);
}

#[test]
fn consumers_that_race_record_each_probe_once() {
    const JOBS: u64 = 3000;
    let name = unique("sampled-race");
    let worker = Worker::builder().prefix("").join(&name, "shop").unwrap();
    let mut out = worker.queue_publisher::<u64>("jobs").unwrap();
    let consumers = [(); 2].map(|()| worker.queue::<u64>("jobs").unwrap());
    let is_queue = |object: &ObjectInfo| {
        object.kind == ObjectKind::Queue && object.cluster.as_deref() == Some(&*name)
    };
    let object = inventory().unwrap().into_iter().find(is_queue).unwrap();
    object.sample_latency(every(1)).unwrap();
    for number in 0..JOBS {
        out.send(&number).unwrap();
    }
    let begin = std::sync::Barrier::new(2);
    std::thread::scope(|scope| {
        for mut consumer in consumers {
            let begin = &begin;
            scope.spawn(move || {
                begin.wait();
                while let Ok(job) = consumer.try_recv() {
                    packetring::cluster::Delivery::ack(job);
                }
            });
        }
    });
    let Inspection::Ring(found) = object.inspect().unwrap() else { panic!("{object}") };
    assert_eq!((found.latencies.count, found.latencies.ignored), (JOBS, 0));
}

#[test]
fn every_object_with_packets_can_be_sampled_and_no_other() {
    let name = unique("sampled-cluster");
    let worker = Worker::builder().prefix("").join(&name, "shop").unwrap();
    let mut inbox = worker.inbox().unwrap();
    let mut service = worker.service::<u64, u64>("double").unwrap();
    let client = worker.client::<u64, u64>("double").unwrap();
    let board = worker.board::<u64>("rates").unwrap();
    let mut topic = worker.publisher::<u64>("prices").unwrap();
    let mut prices = worker.subscriber::<u64>("prices").unwrap();
    let objects = || {
        let all = inventory().unwrap();
        all.into_iter().filter(|object| object.cluster.as_deref() == Some(&*name))
    };
    for object in objects() {
        let switched = object.sample_latency(every(1));
        match object.kind {
            ObjectKind::Inbox | ObjectKind::Requests | ObjectKind::Topic | ObjectKind::Events => {
                assert_eq!(switched.unwrap(), None, "{object}");
            }
            _ => match switched {
                Err(OpenError::BadSettings { reason }) => {
                    assert!(reason.contains("has no latencies"), "{reason}");
                }
                other => panic!("{object}: {other:?}"),
            },
        }
    }
    for number in 0..20 {
        worker.send_to("shop", &number).unwrap();
        let message = inbox.recv().unwrap();
        assert_eq!(*message.open_as::<u64>().unwrap(), number);
        message.ack();
        topic.send(&number).unwrap();
        assert_eq!(*prices.recv().unwrap(), number);
        std::thread::scope(|scope| {
            let call = scope.spawn(|| *client.call(&number).unwrap());
            let request = service.recv().unwrap();
            let twice = request.to_native() * 2;
            packetring::cluster::Request::reply(request, &twice).unwrap();
            assert_eq!(call.join().unwrap(), twice);
        });
    }
    let mut sampled = 0;
    for object in objects() {
        if let Inspection::Ring(ring) = object.inspect().unwrap() {
            assert!(ring.latencies.count >= 10, "{object}: {:?}", ring.latencies.count);
            sampled += 1;
        }
    }
    assert_eq!(sampled, 3);
    drop((inbox, service, client, board, topic, prices));
    worker.leave().unwrap();
    Worker::builder().prefix("").remove_cluster(&name).unwrap();
}

#[test]
fn a_time_that_cannot_be_is_ignored() {
    let name = unique("forged-probe");
    let ring = Ring::builder().capacity(32 * SLOT).open(&name).unwrap();
    ring.sample_latency(every(1));
    let mut out = ring.publisher::<u64>().unwrap();
    let mut numbers = ring.subscriber::<u64>().unwrap();
    let file = OpenOptions::new().write(true).open(object(&name)).unwrap();
    let forged =
        [(u64::MAX, None), (1 << 63, None), (u64::MAX, Some(7)), (0, Some(u64::MAX)), (0, None)];
    for (number, (time, namespace)) in (0_u64..).zip(forged) {
        out.send(&number).unwrap();
        let before = inspected(&name).latencies;
        for probe in probes(&name, 32 * SLOT) {
            file.write_all_at(&time.to_le_bytes(), probe as u64 + 16).unwrap();
            if let Some(namespace) = namespace {
                file.write_all_at(&u64::to_le_bytes(namespace), probe as u64 + 24).unwrap();
            }
        }
        assert_eq!(*numbers.recv().unwrap(), number);
        let after = inspected(&name).latencies.since(&before);
        let is_sane = (time, namespace) == (0, None);
        assert_eq!((after.count, after.ignored), (is_sane.into(), (!is_sane).into()), "{time}");
    }
    assert!(inspected(&name).latencies.max > std::time::Duration::from_millis(1), "since time 0");
}

#[test]
fn a_damaged_switch_is_harmless() {
    let name = unique("damaged-switch");
    let ring = Ring::builder().capacity(32 * SLOT).open(&name).unwrap();
    let file = OpenOptions::new().write(true).open(object(&name)).unwrap();
    for word in [u64::MAX, 1 << 63, u64::from(u32::MAX) + 1, 0, 1] {
        file.write_all_at(&word.to_le_bytes(), SAMPLING).unwrap();
        let mut out = ring.publisher::<u64>().unwrap();
        let mut numbers = ring.subscriber::<u64>().unwrap();
        for number in 0..100 {
            out.send(&number).unwrap();
            assert_eq!(*numbers.recv().unwrap(), number);
        }
        assert_eq!(inspected(&name).sampling, every(u32::try_from(word).unwrap_or(u32::MAX)));
    }
    assert!(inspected(&name).latencies.count >= 100);
}
