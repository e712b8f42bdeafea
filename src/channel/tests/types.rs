//! Entries of the type table are reused: a thousand versions of a packet, one after another, on
//! each kind of ring.

use crate::any::{AnyPublisher, AnySubscriber};
use crate::channel::join::{self, Types};
use crate::channel::untyped::{AckMode, DeadLetter, GroupReceiver, Receiver, Sender};
use crate::channel::{CarriedType, Cursor, MessageHeader, RecvFailure, SendFailure, type_table};
use crate::packet::{Fingerprint, Invalid, OneOf, Packet, TypeInfo};
use crate::sync::Ordering;
use crate::wait::{Timeout, Wait};
use crate::{OpenError, Overflow, Ring, RingBuilder, SendError, TypeRoom};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

const VERSIONS: u32 = 1000;

/// The packet type of a version.
pub(super) fn version(number: u32) -> TypeInfo {
    let mut info = u64::TYPE;
    info.fingerprint = fingerprint(number);
    info.name = name(number);
    info
}

/// Registers a type before its first packet.
fn register(publisher: &mut AnyPublisher, info: &TypeInfo) -> Result<(), ()> {
    let index = publisher.types.look_up::<SendFailure>(&publisher.sender, info, Timeout::Zero);
    index.map(drop).map_err(drop)
}

/// The name of a version. The names stay reachable, so that the address sanitizer sees no leak.
fn name(number: u32) -> &'static str {
    static NAMES: Mutex<BTreeMap<u32, &'static str>> = Mutex::new(BTreeMap::new());
    let mut names = NAMES.lock().unwrap();
    names.entry(number).or_insert_with(|| format!("Version{number}").leak())
}

fn fingerprint(number: u32) -> Fingerprint {
    Fingerprint(0x1000 + u128::from(number))
}

/// The packet type of a version, as another ring carries it, with this schema.
fn carried(number: u32, schema: &str) -> CarriedType {
    let schema = schema.to_owned();
    CarriedType { name: format!("Version{number}"), fingerprint: fingerprint(number), schema }
}

/// A packet of any version.
struct Any(Fingerprint, u32);

impl OneOf<'_> for Any {
    const TYPES: &'static [TypeInfo] = &[];

    fn open(fingerprint: Fingerprint, bytes: &[u8]) -> Result<Option<Self>, Invalid> {
        let number = bytes.try_into().map(u32::from_le_bytes);
        Ok(Some(Self(fingerprint, number.map_err(|_| Invalid)?)))
    }

    fn explain(_: Fingerprint, _: &[u8]) -> String {
        "no version".into()
    }
}

/// Sends a packet of a version by a publisher that then leaves.
pub(crate) fn send(ring: &Ring, number: u32) -> Result<(), SendFailure> {
    let (carried, archive) = (carried(number, "{}"), number.to_le_bytes());
    let letter = DeadLetter { carried, tag: 0, archive: &archive };
    ring.any_publisher().unwrap().forward(&letter, 0)
}

/// Receives a packet, which must be known as that of its version.
#[track_caller]
fn receive(reader: &mut AnySubscriber, number: u32) {
    assert!(receives(reader, number), "version {number} is not there");
}

/// Receives a packet, if there is one. It must be known as that of its version.
#[track_caller]
pub(crate) fn receives(reader: &mut AnySubscriber, number: u32) -> bool {
    let Ok(packet) = reader.try_recv() else { return false };
    assert_eq!(packet.type_name(), format!("Version{number}"));
    let Any(print, sent) = packet.open().unwrap().unwrap();
    assert_eq!((print, sent), (fingerprint(number), number));
    packet.ack();
    true
}

pub(super) fn join_publisher(ring: &Ring, types: &Types<'_>) -> Result<(Sender, u16), OpenError> {
    join::publisher(ring.segment(), types, Wait::default())
}

fn join_subscriber(ring: &Ring, info: &TypeInfo) -> Result<(Receiver, u16), OpenError> {
    join::subscriber(ring.segment(), &Types::One(info), None, Wait::default())
}

pub(super) fn join_consumer(
    ring: &Ring,
    types: &Types<'_>,
) -> Result<(GroupReceiver, u16), OpenError> {
    join::consumer(ring.segment(), types, Wait::default())
}

pub(super) fn take<C: Cursor>(receiver: &mut Receiver<C>) -> u16 {
    let taken = receiver.take::<RecvFailure>(Timeout::Zero).map_err(drop).unwrap();
    taken.descriptor.type_index()
}

/// Runs with the types of each version on a ring that lives all the time.
fn each_version(builder: RingBuilder, mut run: impl FnMut(&Ring, u32)) {
    let ring = builder.heap().unwrap();
    (0..VERSIONS).for_each(|number| run(&ring, number));
    assert!(ring.types().len() <= 64);
}

#[test]
fn a_reader_of_any_types_knows_each_of_a_thousand() {
    for builder in [
        Ring::builder().capacity(8192),
        Ring::builder().capacity(8192).history(4),
        Ring::builder().capacity(8192).overflow(Overflow::DropOldest),
        Ring::builder().capacity(8192).tagged_slots(),
    ] {
        let ring = builder.heap().unwrap();
        let mut readers = [ring.any_subscriber().unwrap(), ring.any_durable("away").unwrap()];
        let mut next = [0; 2];
        for number in 0..VERSIONS {
            send(&ring, number).unwrap();
            // One at a time, and several after a pause.
            for (reader, every) in [1, 17].into_iter().enumerate() {
                while number % every == 0 && next[reader] <= number {
                    receive(&mut readers[reader], next[reader]);
                    next[reader] += 1;
                }
            }
            if number % 100 == 50 {
                // A successor has no cache.
                let [_, away] = &mut readers;
                let plain = ring.any_subscriber().unwrap();
                drop(std::mem::replace(away, plain));
                *away = ring.any_durable("away").unwrap();
            }
        }
    }
}

#[test]
fn a_typed_ring_carries_a_thousand_types_one_after_another() {
    for builder in [Ring::builder().stays_open(true), Ring::builder().exclusive().history(2)] {
        each_version(builder.capacity(8192), |ring, number| {
            let (info, next) = (version(number), version(number + 1));
            let (mut reader, own) = match join_subscriber(ring, &info) {
                // The ring with history has packets that a newcomer would get.
                Err(OpenError::TypeMismatch { .. }) if number > 0 => return,
                joined => joined.unwrap(),
            };
            let (mut sender, index) = join_publisher(ring, &Types::One(&info)).unwrap();
            sender
                .send_archive::<SendFailure>(&[7], index, MessageHeader::NONE, Timeout::Zero)
                .unwrap();
            let refused = join_subscriber(ring, &next).unwrap_err();
            assert!(matches!(refused, OpenError::TypeMismatch { .. }), "{refused}");
            drop(sender);
            assert_eq!((take(&mut reader), own), (index, index));
        });
    }
}

#[test]
fn a_queue_carries_a_thousand_types_one_after_another() {
    each_version(Ring::builder().capacity(8192).shared().queue(), |ring, number| {
        let (info, next) = (version(number), version(number + 1));
        {
            let (mut sender, index) = join_publisher(ring, &Types::One(&info)).unwrap();
            sender
                .send_archive::<SendFailure>(&[7], index, MessageHeader::NONE, Timeout::Zero)
                .unwrap();
        }
        // A job waits. Then it is in flight, and its consumer leaves it to another one.
        assert!(join_publisher(ring, &Types::One(&next)).is_err());
        let (mut consumer, own) = join_consumer(ring, &Types::One(&info)).unwrap();
        assert_eq!(take(&mut consumer), own);
        if number % 3 == 0 {
            consumer.nack();
            assert!(join_consumer(ring, &Types::One(&next)).is_err());
            let (mut other, own) = join_consumer(ring, &Types::One(&info)).unwrap();
            drop(consumer);
            other.reap_dead();
            assert_eq!(take(&mut other), own);
            other.ack();
        } else {
            consumer.ack();
            // An endpoint without a packet needs its type, too.
            assert!(join_publisher(ring, &Types::One(&next)).is_err());
        }
    });
}

#[test]
fn a_consumer_that_changed_its_entry_keeps_its_type() {
    let ring = Ring::builder().capacity(8192).shared().queue().heap().unwrap();
    let (info, next) = (version(1), version(2));
    let (mut sender, index) = join_publisher(&ring, &Types::One(&info)).unwrap();
    sender.send_archive::<SendFailure>(&[7], index, MessageHeader::NONE, Timeout::Zero).unwrap();
    drop(sender);
    let (mut first, _) = join_consumer(&ring, &Types::One(&info)).unwrap();
    take(&mut first);
    first.nack();
    // The job is done: only the consumer in its new entry uses the type.
    let (mut second, _) = join_consumer(&ring, &Types::One(&info)).unwrap();
    second.reap_dead();
    take(&mut second);
    second.ack();
    drop(second);
    let refused = join_consumer(&ring, &Types::One(&next)).map(drop).unwrap_err();
    assert!(matches!(refused, OpenError::TypeMismatch { .. }), "{refused}");
    drop(first);
    join_consumer(&ring, &Types::One(&next)).map(drop).unwrap();
}

#[test]
fn a_service_carries_a_thousand_pairs_one_after_another() {
    each_version(Ring::builder().capacity(8192).shared().queue().tagged_slots(), |ring, number| {
        let (request, reply) = (version(2 * number), version(2 * number + 1));
        let types = Types::Pair { request: &request, reply: &reply };
        let swapped = Types::Pair { request: &reply, reply: &request };
        let (mut server, expected) = join_consumer(ring, &types).unwrap();
        let (mut client, _) = join_publisher(ring, &types).unwrap();
        let refused = join_publisher(ring, &swapped).unwrap_err();
        let OpenError::TypeMismatch { found, .. } = refused else { panic!("{refused}") };
        let pair = format!("Version{} -> Version{}", 2 * number, 2 * number + 1);
        assert!(found.starts_with(&pair), "{found}");
        client
            .send_archive::<SendFailure>(&[7], expected, MessageHeader::NONE, Timeout::Zero)
            .unwrap();
        drop(client);
        assert_eq!(take(&mut server), expected);
        server.ack();
        assert_eq!(ring.types().len(), 3);
    });
}

#[test]
fn as_many_types_as_fit_are_used_at_one_time() {
    let ring = Ring::builder().capacity(64 * 1024).max_publishers(128).heap().unwrap();
    let mut reader = ring.any_subscriber().unwrap();
    for round in 0..20 {
        let first = round * 64;
        let mut publishers = Vec::new();
        for number in first..first + 64 {
            let mut publisher = ring.any_publisher().unwrap();
            register(&mut publisher, &version(number)).unwrap();
            publishers.push(publisher);
        }
        let refused = send(&ring, first + 64);
        let Err(SendFailure::Error(SendError::TooManyTypes(room))) = refused else { panic!() };
        let TypeRoom { types, max_types, schema_bytes, .. } = room;
        assert!(types == 64 && max_types == 64 && schema_bytes >= 64 * 64, "{room:?}");
        // A clone uses the types of its source.
        let clone = publishers[5].try_clone().unwrap();
        publishers.remove(5);
        assert!(send(&ring, first + 64).is_err());
        drop(clone);
        send(&ring, first + 64).unwrap();
        assert!(send(&ring, first + 65).is_err(), "a packet of it waits");
        receive(&mut reader, first + 64);
        send(&ring, first + 65).unwrap();
        receive(&mut reader, first + 65);
    }
}

#[test]
fn a_typed_subscriber_without_packets_keeps_its_type() {
    let ring = Ring::builder().capacity(8192).heap().unwrap();
    let own = version(0);
    let (mut reader, index) = join_subscriber(&ring, &own).unwrap();
    let mut all = ring.any_subscriber().unwrap();
    for number in 1..200 {
        send(&ring, number).unwrap();
        receive(&mut all, number);
        assert_ne!(take(&mut reader), index);
    }
    send(&ring, 0).unwrap();
    assert_eq!(take(&mut reader), index);
}

#[test]
fn a_durable_subscriber_that_is_away_keeps_its_type_and_its_backlog() {
    let ring = Ring::builder().capacity(8192).stays_open(true).heap().unwrap();
    let (old, new) = (version(0), version(1));
    let join = |info: &TypeInfo| {
        let types = Types::One(info);
        join::durable(ring.segment(), &types, "audit", AckMode::Explicit, Wait::default())
    };
    drop(join(&old).unwrap());
    send(&ring, 0).unwrap();
    // Other types come and go. None of them gets the entry of the old one.
    for number in 2..300 {
        let mut publisher = ring.any_publisher().unwrap();
        register(&mut publisher, &version(number)).unwrap();
    }
    let refused = join(&new).map(drop).unwrap_err();
    let OpenError::TypeMismatch { found, .. } = refused else { panic!("{refused}") };
    assert_eq!(found, format!("Version0 (fingerprint {})", fingerprint(0)));
    let (mut reader, index) = join(&old).unwrap();
    assert_eq!(take(&mut reader), index);
    reader.ack();
    drop(reader);
    // Without a backlog the entry itself needs the type, until another version takes it over.
    assert!(join_subscriber(&ring, &new).is_err());
    let (reader, _) = join(&new).unwrap();
    assert_eq!(ring.types().len(), 1);
    drop(reader);
    assert!(join_subscriber(&ring, &old).is_err());
    assert!(ring.remove_durable("audit").unwrap());
    join_subscriber(&ring, &old).map(drop).unwrap();
}

#[test]
fn a_packet_behind_an_open_claim_keeps_its_type() {
    let ring = Ring::builder().capacity(8192).heap().unwrap();
    let mut reader = ring.any_subscriber().unwrap();
    let (mut slow, own) = join_publisher(&ring, &Types::One(&version(0))).unwrap();
    slow.claim::<SendFailure>(4, Timeout::Zero).map_err(drop).unwrap();
    send(&ring, 1).unwrap();
    for number in 2..200 {
        let mut publisher = ring.any_publisher().unwrap();
        register(&mut publisher, &version(number)).unwrap();
    }
    slow.begin().unwrap();
    slow.send_archive::<SendFailure>(&0_u32.to_le_bytes(), own, MessageHeader::NONE, Timeout::Zero)
        .unwrap();
    receive(&mut reader, 1);
    receive(&mut reader, 0);
}

#[test]
fn a_packet_that_its_dead_exclusive_publisher_did_not_count_keeps_its_type() {
    let ring = Ring::builder().capacity(8192).exclusive().stays_open(true).heap().unwrap();
    let mut reader = ring.any_subscriber().unwrap();
    let tail = &ring.segment().memory().head().tail;
    send(&ring, 0).unwrap();
    // As if it was killed between the stamp and the tail.
    tail.store(0, Ordering::Relaxed);
    let refused = join_publisher(&ring, &Types::One(&version(1))).unwrap_err();
    assert!(matches!(refused, OpenError::TypeMismatch { .. }), "{refused}");
    receive(&mut reader, 0);
}

#[test]
fn an_inbox_keeps_the_types_that_it_accepts() {
    let ring = Ring::builder().capacity(8192).tagged_slots().heap().unwrap();
    for number in 0..VERSIONS / 2 {
        let accepted = [version(2 * number), version(2 * number + 1)];
        type_table::accept(ring.segment(), &accepted).unwrap();
        let mut reader = ring.any_durable("inbox").unwrap();
        assert!(send(&ring, 2 * number + 2).is_err());
        for info in [2 * number, 2 * number + 1] {
            send(&ring, info).unwrap();
            receive(&mut reader, info);
        }
    }
    assert!(ring.types().len() <= 64);
}

#[test]
fn types_are_listed_whole_while_others_are_registered() {
    let ring = Ring::builder().capacity(8192).heap().unwrap();
    let schema = |number: u32| format!("{number};").repeat(1 + number as usize % 150);
    let ends = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let lister = scope.spawn(|| {
            let mut listed = 0;
            while !ends.load(Ordering::Relaxed) {
                for found in ring.types() {
                    let number: u32 = found.name["Version".len()..].parse().unwrap();
                    assert_eq!(found, carried(number, &schema(number)));
                    listed += 1;
                }
            }
            listed
        });
        for number in 0..20_000 {
            let mut publisher = ring.any_publisher().unwrap();
            let carried = carried(number, &schema(number));
            let letter = DeadLetter { carried, tag: 0, archive: &[] };
            publisher.forward(&letter, 0).unwrap();
        }
        ends.store(true, Ordering::Relaxed);
        assert!(lister.join().unwrap() > 0);
    });
}

#[test]
fn a_packet_that_a_newcomer_gets_keeps_its_type() {
    let ring = Ring::builder().capacity(8192).history(4).stays_open(true).heap().unwrap();
    send(&ring, 0).unwrap();
    let refused = join_publisher(&ring, &Types::One(&version(1))).unwrap_err();
    assert!(matches!(refused, OpenError::TypeMismatch { .. }), "{refused}");
    receive(&mut ring.any_subscriber().unwrap(), 0);
}

/// A request that waits carries one of the three entries of its service. Freed alone, the others
/// would leave a table in which no service finds itself.
#[test]
fn the_types_of_a_service_are_freed_together() {
    let ring = Ring::builder().capacity(8192).shared().queue().heap().unwrap();
    let [request, reply, other_request, other_reply] = [1, 2, 3, 4].map(version);
    let own = Types::Pair { request: &request, reply: &reply };
    let other = Types::Pair { request: &other_request, reply: &other_reply };
    let names = || ring.types().into_iter().map(|carried| carried.name).collect::<Vec<_>>();
    let (mut client, index) = join_publisher(&ring, &own).unwrap();
    client.send_archive::<SendFailure>(&[7], index, MessageHeader::NONE, Timeout::Zero).unwrap();
    drop(client);
    let all = names();
    assert_eq!(all, ["Version1 -> Version2", "Version1", "Version2"]);

    let refused = join_consumer(&ring, &other).unwrap_err();
    assert!(matches!(refused, OpenError::TypeMismatch { .. }), "{refused}");
    assert_eq!(names(), all, "a part of them was freed");
    let (mut server, found) = join_consumer(&ring, &own).unwrap();
    assert_eq!((take(&mut server), found), (index, index));
    server.ack();
    drop(server);
    let (client, _) = join_publisher(&ring, &other).unwrap();
    assert_eq!(names(), ["Version3 -> Version4", "Version3", "Version4"]);
    drop(client);
}

#[test]
fn types_that_an_inbox_accepts_are_in_use() {
    let ring = Ring::builder().capacity(8192).tagged_slots().heap().unwrap();
    let versions = |from: u32, to: u32| (from..to).map(version).collect::<Vec<_>>();
    type_table::accept(ring.segment(), &versions(0, 64)).unwrap();
    let refused = type_table::accept(ring.segment(), &versions(64, 65)).unwrap_err();
    assert!(matches!(refused, OpenError::TooManyTypes(_)), "{refused}");
    // Without a restriction nothing needs them. New ones must not take places from each other.
    type_table::accept(ring.segment(), &[]).unwrap();
    type_table::accept(ring.segment(), &versions(60, 100)).unwrap();
    let mut reader = ring.any_subscriber().unwrap();
    for number in 60..100 {
        send(&ring, number).unwrap();
        receive(&mut reader, number);
    }
    assert!(send(&ring, 0).is_err());
}

#[test]
fn the_type_of_a_dead_publisher_is_not_in_use() {
    let ring = Ring::builder().capacity(8192).heap().unwrap();
    let mut publisher = ring.any_publisher().unwrap();
    let (dead, _) = join_publisher(&ring, &Types::One(&version(0))).unwrap();
    let mut register_all = |from: u32, to: u32| {
        (from..to).try_for_each(|number| register(&mut publisher, &version(number)))
    };
    register_all(1, 64).unwrap();
    assert!(register_all(64, 65).is_err());
    // From here on it counts as dead. Its entry is freed twice, which changes nothing.
    dead.entry.release_liveness();
    register_all(64, 65).unwrap();
    drop(dead);
}
