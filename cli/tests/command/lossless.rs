//! `record --lossless`: publishers wait for the recorder, and a recording replays to equal bytes.

use crate::recording::{printed, start_recording, wait_for};
use crate::support::{Folder, Prefix, eventually, run, signal, stop};
use packetring::any::AnyPublisher;
use packetring::inspect::{Inspection, RingInspection};
use packetring::observe::JoinedObserver;
use packetring::{Overflow, TryRecvError, TrySendError, Worker, packet};
use std::time::{Duration, Instant};

#[packet]
struct Order {
    number: u64,
    symbol: String,
    amounts: Vec<u32>,
}

/// The packets of one ring as a reader outside sees them.
fn inspect(prefix: &Prefix, name: &str) -> RingInspection {
    let objects = packetring::inventory().unwrap();
    let is_it = |prefixed: &Option<String>| prefixed.as_ref() == Some(&prefix.0);
    let named = objects.iter().filter(|one| one.name == name && is_it(&one.prefix));
    let mut found = named.map(|object| object.inspect().unwrap());
    let ring = found.find_map(|content| match content {
        Inspection::Ring(ring) => Some(ring),
        _ => None,
    });
    ring.expect(name)
}

/// Waits until a ring has so many endpoints that read.
fn wait_for_readers(prefix: &Prefix, name: &str, number: usize) {
    eventually("the recorder", || {
        let readers = inspect(prefix, name).endpoints;
        (readers.iter().filter(|one| !one.is_writing()).count() == number).then_some(())
    });
}

#[test]
fn publishers_wait_for_a_lossless_recorder_and_no_packet_is_missing() {
    let (prefix, folder) = (Prefix::new(), Folder::new(&Prefix::new()));
    let ring = prefix.ring().capacity(4096).open("small").unwrap();
    let mut out = ring.publisher::<u64>().unwrap();
    let (name, file) = (format!("{}:small", prefix.0), folder.file("l"));
    let child = start_recording(&[&file, &name, "--lossless"]);
    let recorder = child.id();
    wait_for_readers(&prefix, "small", 1);
    out.send(&0).unwrap();
    wait_for(&file, 1);
    stop(recorder);
    // No other subscriber is there: the recorder alone holds the publisher back.
    let mut sent = 1;
    while out.try_send(&sent).is_ok() {
        sent += 1;
    }
    assert!(sent <= 65, "{sent}");
    assert!(matches!(out.try_send(&sent), Err(TrySendError::Full { .. })));
    signal(recorder, "CONT");
    for number in sent..2000 {
        out.send(&number).unwrap();
    }
    wait_for(&file, 2000);
    signal(child.id(), "TERM");
    let ran = child.end();
    assert_eq!(ran.status, 0);
    assert!(ran.out.starts_with("recorded 2000 packets, "), "{}", ran.out);
    assert!(!ran.out.contains("gap"), "{}", ran.out);
    let values: Vec<_> = printed(&[&file]).iter().map(|line| line["value"].clone()).collect();
    assert_eq!(values, (0..2000).collect::<Vec<_>>());
    // A report tells the recorder from the other readers.
    let readers = run(&["report", &file, "--json"]).result()["rings"][0]["readers"].clone();
    let readers: Vec<_> = readers.as_array().unwrap().iter().map(|one| &one["name"]).collect();
    assert_eq!(readers, [&format!("subscriber 0 (recorder) of process {recorder}")]);
    wait_for_readers(&prefix, "small", 0);
}

#[test]
fn a_killed_lossless_recorder_holds_nobody_back() {
    let (prefix, folder) = (Prefix::new(), Folder::new(&Prefix::new()));
    let ring = prefix.ring().capacity(4096).open("small").unwrap();
    let mut out = ring.publisher::<u64>().unwrap();
    let (name, file) = (format!("{}:small", prefix.0), folder.file("k"));
    let mut child = start_recording(&[&file, &name, "--lossless"]);
    wait_for_readers(&prefix, "small", 1);
    out.send(&0).unwrap();
    wait_for(&file, 1);
    stop(child.id());
    while out.try_send(&1).is_ok() {}
    signal(child.id(), "KILL");
    child.wait().unwrap();
    // A send that found no room looks for the dead.
    for number in 0..200 {
        out.send_timeout(&number, Duration::from_secs(30)).unwrap();
    }
    wait_for_readers(&prefix, "small", 0);
    assert_eq!(printed(&[&file])[0]["value"], 0);
}

#[test]
fn objects_without_a_place_for_a_recorder_name_the_passive_way() {
    let (prefix, folder) = (Prefix::new(), Folder::new(&Prefix::new()));
    let worker = Worker::builder().prefix(&prefix.0).join("shop", "web").unwrap();
    let inbox = worker.inbox().unwrap();
    let jobs = worker.queue::<u64>("jobs").unwrap();
    let drops = prefix.ring().overflow(Overflow::DropOldest).open("drops").unwrap();
    let single = prefix.ring().max_subscribers(1).open("single").unwrap();
    let _only = single.subscriber::<u64>().unwrap();
    for (name, says) in [
        ("shop/inbox/web", "an inbox has one receiver"),
        ("shop/queue/jobs", "each of its packets goes to one consumer"),
        ("drops", "it drops the oldest packets when it is full"),
        ("single", "no place for the recorder"),
    ] {
        let name = format!("{}:{name}", prefix.0);
        let ran = run(&["record", &folder.file("x"), &name, "--lossless"]);
        assert_eq!(ran.status, 1, "{ran:?}");
        assert!(ran.error.contains(says), "{}", ran.error);
        assert!(ran.error.contains("; record it without --lossless"), "{}", ran.error);
        assert!(!ran.error.contains("observer"), "a remedy for programs: {}", ran.error);
        assert!(!std::path::Path::new(&folder.file("x")).exists());
    }
    let ran = run(&["record", &folder.file("x"), "x", "--lossless", "--backlog"]);
    assert!(ran.status == 2 && ran.error.contains("--backlog"), "{ran:?}");
    drop((inbox, jobs, drops, single));
    worker.leave().unwrap();
}

#[test]
fn a_full_disk_is_an_error_and_releases_the_ring() {
    let prefix = Prefix::new();
    let ring = prefix.ring().capacity(4096).open("small").unwrap();
    let mut out = ring.publisher::<u64>().unwrap();
    let name = format!("{}:small", prefix.0);
    let ran = run(&["record", "/dev/full", &name, "--lossless", "--force"]);
    assert_eq!(ran.status, 1, "{ran:?}");
    assert!(ran.error.contains("\"/dev/full\" not written"), "{}", ran.error);
    for number in 0..200 {
        out.send(&number).unwrap();
    }
    wait_for_readers(&prefix, "small", 0);
}

#[test]
fn events_are_recorded_with_their_names_and_a_deserted_ring_ends_the_recording() {
    let (prefix, folder) = (Prefix::new(), Folder::new(&Prefix::new()));
    let worker = Worker::builder().prefix(&prefix.0).join("shop", "web").unwrap();
    let mut events = worker.events().unwrap();
    let topic = worker.topic("numbers");
    let mut topic = topic.publisher::<u64>().unwrap();
    let names = ["shop/events", "shop/topic/numbers"].map(|name| format!("{}:{name}", prefix.0));
    let file = folder.file("e");
    let child = start_recording(&[&file, &names[0], &names[1], "--lossless", "--json"]);
    wait_for_readers(&prefix, "numbers", 1);
    eventually("the recorder at the events", || {
        let readers = inspect(&prefix, "").endpoints;
        (readers.iter().filter(|one| !one.is_writing()).count() == 2).then_some(())
    });
    for number in 0..50_u64 {
        events.emit(&format!("sold::{number}"), &(number, 7_u8)).unwrap();
        topic.send(&number).unwrap();
    }
    drop((events, topic));
    worker.leave().unwrap();
    // Only the recorder keeps the rings: it ends after their last packets.
    let ran = child.end();
    assert_eq!((ran.status, &ran.result()["packets"]), (0, &100.into()), "{ran:?}");
    let lines = printed(&[&file]);
    let sold: Vec<_> = lines.iter().filter(|line| line["event"].is_string()).collect();
    assert_eq!(sold.len(), 50);
    for (number, line) in sold.iter().enumerate() {
        assert_eq!(line["event"], format!("sold::{number}"));
        assert_eq!((&line["sender"], &line["sender_name"]), (&0.into(), &"web".into()));
        assert_eq!(line["value"], serde_json::json!([number, 7]));
    }
    let removed = lines.iter().filter(|line| line["removed"] == true).count();
    assert_eq!(removed, 2, "{lines:?}");
}

#[test]
fn a_publisher_that_leaves_does_not_end_a_recording_and_a_closed_ring_does() {
    let (prefix, folder) = (Prefix::new(), Folder::new(&Prefix::new()));
    let ring = prefix.ring().open("shifts").unwrap();
    let (name, file) = (format!("{}:shifts", prefix.0), folder.file("s"));
    let child = start_recording(&[&file, &name, "--lossless", "--json"]);
    wait_for_readers(&prefix, "shifts", 1);
    // Each publisher is the last one when it leaves.
    for number in 0..3_u64 {
        let mut out = ring.publisher::<u64>().unwrap();
        out.send(&number).unwrap();
        drop(out);
        wait_for(&file, number as usize + 1);
    }
    ring.close().unwrap();
    let ran = child.end();
    assert_eq!((ran.status, &ran.result()["packets"]), (0, &3.into()), "{ran:?}");
    let values: Vec<_> = printed(&[&file]).iter().map(|line| line["value"].clone()).collect();
    assert_eq!(values, [0.into(), 1.into(), 2.into(), serde_json::Value::Null]);
    drop(ring);
}

/// A checksum of all bytes, types and their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Digest {
    packets: u64,
    hash: u64,
}

impl Digest {
    const EMPTY: Self = Self { packets: 0, hash: 0xcbf2_9ce4_8422_2325 };

    /// Adds a packet: its type, its length and its bytes, eight at a time.
    fn add(&mut self, fingerprint: u128, archive: &[u8]) {
        let mut hash = self.hash ^ fingerprint as u64 ^ (archive.len() as u64).rotate_left(32);
        for word in archive.chunks(8) {
            let mut bytes = [0; 8];
            bytes[..word.len()].copy_from_slice(word);
            hash = (hash ^ u64::from_le_bytes(bytes)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            hash ^= hash >> 29;
        }
        (self.packets, self.hash) = (self.packets + 1, hash);
    }
}

/// The time without a packet after which a reader gives up.
const STALL: Duration = Duration::from_secs(60);

/// Reads a ring as a subscriber until it has so many packets.
fn digest(prefix: &str, name: &str, packets: u64) -> Digest {
    let objects = packetring::inventory().unwrap();
    let is_it = |prefixed: &Option<String>| prefixed.as_deref() == Some(prefix);
    let object = objects.iter().find(|one| one.name == name && is_it(&one.prefix)).unwrap();
    let mut observer = JoinedObserver::open(object).unwrap();
    println!("reading");
    let (mut digest, mut last) = (Digest::EMPTY, Instant::now());
    while digest.packets < packets {
        let result = observer.try_each(|packet| {
            let fingerprint = packet.fingerprint().unwrap();
            digest.add(fingerprint.0, packet.archive());
        });
        match result {
            Ok(_) => last = Instant::now(),
            Err(TryRecvError::Empty | TryRecvError::Closed) => {
                assert!(last.elapsed() < STALL, "{} of {packets} packets came", digest.packets);
                std::thread::sleep(Duration::from_micros(100));
            }
            Err(error) => panic!("{error}"),
        }
    }
    digest
}

/// Publishes packets of several types and sizes, which follow from their numbers.
fn publish(out: &mut AnyPublisher, numbers: std::ops::Range<u64>) {
    for number in numbers {
        match number % 8 {
            0..=3 => out.send(&number).unwrap(),
            4 | 5 => out.send(&(number as u32, number as f64 / 7.0)).unwrap(),
            6 => out.send(&[number as u8; 24]).unwrap(),
            _ => out
                .send(&Order {
                    number,
                    symbol: "symbol".repeat(number as usize / 8 % 9),
                    amounts: (0..number as u32 / 8 % 13).collect(),
                })
                .unwrap(),
        };
    }
}

/// Records so many packets of two rings without losses, replays each to another ring, and compares
/// all bytes, types and their order.
fn replays_to_equal_bytes(packets: u64) {
    let (prefix, folder) = (Prefix::new(), Folder::new(&Prefix::new()));
    let names = ["one", "two"];
    let rings = names.map(|name| prefix.ring().open(name).unwrap());
    let mut outs = rings.each_ref().map(|ring| ring.any_publisher().unwrap());
    let full = names.map(|name| format!("{}:{name}", prefix.0));
    let (file, count) = (folder.file("all"), packets.to_string());
    let record = [&file, &full[0], &full[1], "--lossless", "--json", "-n", &count, "--for", "300"];
    let recorder = start_recording(&record);
    for name in names {
        wait_for_readers(&prefix, name, 1);
    }
    // The readers are beside the recorder, so that they see the bytes that were published.
    let share = packets / 2;
    let digests = std::thread::scope(|scope| {
        let readers = names.map(|name| {
            let prefix = prefix.0.clone();
            scope.spawn(move || digest(&prefix, name, share))
        });
        for name in names {
            wait_for_readers(&prefix, name, 2);
        }
        // In turns, so that the file has blocks with packets of both.
        for start in (0..share).step_by(1000) {
            for (index, out) in outs.iter_mut().enumerate() {
                let first = start + index as u64 * 5;
                publish(out, first..first + 1000.min(share - start));
            }
        }
        readers.map(|reader| reader.join().unwrap())
    });
    let ran = recorder.end();
    let result = ran.result();
    assert_eq!((ran.status, &result["packets"], &result["gaps"]), (0, &packets.into(), &0.into()));
    assert_ne!(digests[0], digests[1]);

    for (name, recorded) in full.iter().zip(digests) {
        let copy = prefix.ring().open("copy").unwrap();
        let replayed = std::thread::scope(|scope| {
            let reader = scope.spawn(|| digest(&prefix.0, "copy", share));
            wait_for_readers(&prefix, "copy", 1);
            let to = format!("{}:copy", prefix.0);
            let arguments = ["replay", &file, "--to", &to, "--stream", name, "--speed", "max"];
            let ran = run(&[&arguments[..], &["--json"]].concat());
            assert_eq!((ran.status, &ran.result()["packets"]), (0, &share.into()), "{ran:?}");
            reader.join().unwrap()
        });
        assert_eq!(replayed, recorded, "{name}");
        drop(copy);
    }
}

#[test]
fn a_lossless_recording_of_some_packets_replays_to_equal_bytes() {
    replays_to_equal_bytes(100_000);
}

/// In a release build, which `.ci/run` tests.
#[test]
#[ignore = "for a release build: cargo test --release -p packetring-cli ten_million -- --ignored"]
fn a_lossless_recording_of_ten_million_packets_replays_to_equal_bytes() {
    replays_to_equal_bytes(10_000_000);
}
