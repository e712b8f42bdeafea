//! Work queues: each packet goes to one consumer and is handled at least once. A packet that is
//! delivered again is flagged as redelivered.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod support;

use packetring::cluster::{Delivery, QueueConsumer};
use packetring::{
    Publisher, RecvTimeoutError, TryRecvError, TrySendError, WaitingFor, Worker, select,
};
use rustix::time::{ClockId, clock_gettime};
use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::hint::black_box;
use std::io::Write;
use std::path::{Path, PathBuf};
use support::peer::{self, Peer};
use support::{LONG, Noise, SHORT, Watch, this_thread, unique, wait_until, wait_until_asleep};

/// Stops the consumer that receives it.
const STOP: u64 = u64::MAX;

/// Entry point of the child processes; does nothing without a role.
#[test]
fn peer() {
    let Some(role) = peer::role() else { return };
    let [cluster, name, path] = &role.arguments[..] else { panic!("{role:?}") };
    let worker = Worker::join(cluster, name).unwrap();
    if role.name == "reserve" {
        return reserve(&worker);
    }
    let consumer = worker.queue::<u64>("jobs").unwrap();
    match role.name.as_str() {
        "count" => peer::say(&work(consumer, None).to_string()),
        "note" => drop(work(consumer, Some(Path::new(path)))),
        "hold" => hold(consumer),
        name => panic!("unknown role: {name}"),
    }
}

/// Handles packets until it receives [`STOP`] and returns their number. With a path, records each
/// packet when it is received.
fn work(mut consumer: QueueConsumer<u64>, path: Option<&Path>) -> usize {
    let mut notes =
        path.map(|path| OpenOptions::new().create(true).append(true).open(path).unwrap());
    peer::say("here");
    for count in 0.. {
        let job = consumer.recv().unwrap();
        let number = job.to_native();
        if number == STOP {
            Delivery::ack(job);
            return count;
        }
        if notes.is_none() {
            // Simulate work. If jobs took no time, the consumers that are awake would handle all of
            // them, and the counts would not show fairness.
            (0..5_000).for_each(|step| _ = black_box(step));
        }
        if let Some(notes) = &mut notes {
            let words = [number, u64::from(Delivery::info(&job).redelivered), now()];
            // A single call: a kill leaves the whole record or nothing.
            notes.write_all(&words.map(u64::to_le_bytes).concat()).unwrap();
        }
        Delivery::ack(job);
    }
    unreachable!()
}

/// Receives one packet, reports it, and holds it until the test is over or the process is killed.
fn hold(mut consumer: QueueConsumer<u64>) {
    peer::say("here");
    let job = consumer.recv().unwrap();
    peer::say(&job.to_string());
    while peer::hear().is_some() {}
}

/// Reserves a packet between two aborted reservations, and holds it until the process is killed.
fn reserve(worker: &Worker) {
    let mut publisher = worker.queue_publisher::<u64>("jobs").unwrap();
    drop(publisher.reserve().unwrap());
    let mut other = publisher.try_clone().unwrap();
    let _reserved = publisher.reserve().unwrap();
    drop(other.reserve().unwrap());
    peer::say("here");
    while peer::hear().is_some() {}
}

/// A clock that all processes share.
#[expect(clippy::disallowed_methods, reason = "an `Instant` cannot be compared across processes")]
fn now() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

fn notes(cluster: &str, name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("packetring-{cluster}-{name}"))
}

fn consumer(cluster: &str, role: &str, name: &str) -> Peer {
    let path = notes(cluster, name);
    let mut peer = Peer::start(&format!("{role} {cluster} {name} {}", path.display()));
    peer.expect("here");
    peer
}

fn objects(cluster: &str) -> Vec<PathBuf> {
    let prefix = format!("packetring.{cluster}~");
    let all = std::fs::read_dir("/dev/shm").unwrap().map(|entry| entry.unwrap());
    let own = all.filter(|entry| entry.file_name().to_string_lossy().starts_with(&prefix));
    own.map(|entry| entry.path()).collect()
}

/// A queue and its publisher.
fn queue(topic: &str) -> (String, Worker, Publisher<u64>) {
    let cluster = unique(topic);
    let boss = Worker::join(&cluster, "boss").unwrap();
    let publisher = boss.queue_publisher("jobs").unwrap();
    (cluster, boss, publisher)
}

#[test]
fn no_consumer_starves() {
    const JOBS: u64 = 100_000;
    const CONSUMERS: usize = 4;
    let _watch = Watch::start();
    let (cluster, boss, mut publisher) = queue("fair");
    let mut consumers: Vec<Peer> =
        (0..CONSUMERS).map(|index| consumer(&cluster, "count", &format!("m{index}"))).collect();
    for job in (0..JOBS).chain([STOP; CONSUMERS]) {
        publisher.send_timeout(&job, LONG).unwrap();
    }
    let counts: Vec<u64> = consumers.iter_mut().map(|peer| peer.hear().parse().unwrap()).collect();
    println!("{counts:?}");
    assert_eq!(counts.iter().sum::<u64>(), JOBS, "{counts:?}");
    assert!(counts.iter().all(|&count| count >= JOBS / 20), "{counts:?}");
    consumers.into_iter().for_each(Peer::finish);
    drop((publisher, boss));
    assert_eq!(objects(&cluster), [] as [PathBuf; 0]);
}

/// A delivery of a packet: the redelivery flag, the time, and the time at which its consumer was
/// about to be killed.
#[derive(Debug)]
struct Delivered {
    is_flagged: bool,
    from: u64,
    killed: Option<u64>,
}

#[test]
fn killed_consumers_lose_no_packet() {
    const JOBS: u64 = 20_000;
    const CONSUMERS: usize = 4;
    let _watch = Watch::start();
    let seed = std::env::var("GROUPS_SEED").map_or_else(|_| now(), |seed| seed.parse().unwrap());
    println!("GROUPS_SEED={seed}");
    let mut noise = Noise::of(0, seed);
    let (cluster, boss, mut publisher) = queue("killed");
    let mut started = 0;
    let mut start = || {
        started += 1;
        let name = format!("m{started}");
        (consumer(&cluster, "note", &name), name)
    };
    let mut consumers: Vec<(Peer, String)> = (0..CONSUMERS).map(|_| start()).collect();
    let mut ended: Vec<(String, Option<u64>)> = Vec::new();
    let mut next_kill = 0;
    for job in 0..JOBS {
        publisher.send_timeout(&job, LONG).unwrap();
        if job == next_kill {
            next_kill += 200 + noise.below(1000) as u64;
            let (mut peer, name) = consumers.swap_remove(noise.below(CONSUMERS));
            let at = now();
            peer.kill();
            ended.push((name, Some(at)));
            consumers.push(start());
        }
    }
    let kills = ended.len();
    for _ in 0..CONSUMERS {
        publisher.send_timeout(&STOP, LONG).unwrap();
    }
    for (peer, name) in consumers {
        peer.finish();
        ended.push((name, None));
    }
    let mut deliveries: BTreeMap<u64, Vec<Delivered>> = BTreeMap::new();
    for (name, killed) in &ended {
        let path = notes(&cluster, name);
        let noted = std::fs::read(&path).unwrap_or_default();
        let words = noted.as_chunks::<8>().0.iter().map(|&word| u64::from_le_bytes(word));
        for note in words.collect::<Vec<_>>().as_chunks::<3>().0 {
            let delivery = Delivered { is_flagged: note[1] == 1, from: note[2], killed: *killed };
            deliveries.entry(note[0]).or_default().push(delivery);
        }
        let _ = std::fs::remove_file(path);
    }
    assert_eq!(deliveries.len() as u64, JOBS, "jobs were lost");
    let (mut again, mut unseen) = (0, 0);
    for (job, deliveries) in &mut deliveries {
        deliveries.sort_by_key(|delivery| delivery.from);
        // A consumer killed between receiving a packet and recording it leaves only the flag.
        unseen += usize::from(deliveries[0].is_flagged);
        for pair in deliveries.windows(2) {
            again += 1;
            assert!(pair[1].is_flagged, "job {job} was redelivered without a flag: {pair:?}");
            assert!(
                pair[0].killed.is_some_and(|at| at < pair[1].from),
                "job {job} had two consumers at once: {pair:?}"
            );
        }
    }
    println!("{kills} kills, {again} recorded redeliveries, {unseen} without a first record");
    assert!(again + unseen <= kills, "more redeliveries than kills");
    drop((publisher, boss));
    assert_eq!(objects(&cluster), [] as [PathBuf; 0]);
}

#[test]
fn unacknowledged_packets_are_redelivered_and_flagged() {
    let (_, boss, mut publisher) = queue("again");
    let mut consumer = boss.queue::<u64>("jobs").unwrap();
    publisher.send(&1).unwrap();
    publisher.send(&2).unwrap();
    let job = consumer.recv().unwrap();
    assert!(!Delivery::info(&job).redelivered);
    drop(job);
    let job = consumer.recv().unwrap();
    assert_eq!((job.to_native(), Delivery::info(&job).redelivered), (1, true));
    std::mem::forget(job);
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let job = consumer.recv().unwrap();
        assert_eq!(*job, 1);
        std::panic::resume_unwind(Box::new("panic of a handler"));
    }));
    assert!(panicked.is_err());
    let job = consumer.try_recv().unwrap();
    assert_eq!((job.to_native(), Delivery::info(&job).redelivered), (1, true));
    Delivery::ack(job);
    let job = consumer.recv().unwrap();
    assert_eq!((job.to_native(), Delivery::info(&job).redelivered), (2, false));
    Delivery::ack(job);
    assert!(matches!(consumer.try_recv(), Err(TryRecvError::Empty)));
    assert!(matches!(consumer.recv_timeout(SHORT), Err(RecvTimeoutError::Timeout)));
}

/// Deliveries are counted over the ways to come again: dropped, returned, adopted from a consumer
/// that left or was killed.
#[test]
fn deliveries_of_a_job_are_counted_over_all_consumers() {
    let (cluster, boss, mut publisher) = queue("counted");
    let mut first = boss.queue::<u64>("jobs").unwrap();
    publisher.send(&1).unwrap();
    let expect = |job: &Delivery<'_, u64>, deliveries: u64| {
        assert_eq!((job.to_native(), Delivery::deliveries(job)), (1, deliveries));
    };
    for deliveries in 1..=3 {
        expect(&first.recv().unwrap(), deliveries);
    }
    let job = first.recv().unwrap();
    expect(&job, 4);
    Delivery::nack(job);
    let mut other = boss.queue::<u64>("jobs").unwrap();
    expect(&other.recv_timeout(LONG).unwrap(), 5);
    // Both leave; the second one with the job in hand. The next consumer is killed with it.
    drop(first);
    drop(other);
    let mut holder = consumer(&cluster, "hold", "holder");
    assert_eq!(holder.hear(), "1");
    holder.kill();
    let mut last = boss.queue::<u64>("jobs").unwrap();
    let job = last.recv_timeout(LONG).unwrap();
    expect(&job, 7);
    Delivery::ack(job);
}

#[test]
fn a_job_that_is_delivered_too_often_becomes_a_dead_letter() {
    let (cluster, boss, mut publisher) = queue("dead-letters");
    let undertaker = Worker::join(&cluster, "undertaker").unwrap();
    let mut letters = undertaker.inbox().unwrap();
    let builder = Worker::builder().max_deliveries(2).dead_letters("undertaker");
    let worker = builder.join(&cluster, "worker").unwrap();
    let mut consumer = worker.queue::<u64>("jobs").unwrap();
    for job in 1..=2 {
        publisher.send(&job).unwrap();
    }
    for deliveries in [1, 2] {
        let job = consumer.recv().unwrap();
        assert_eq!((job.to_native(), Delivery::deliveries(&job)), (1, deliveries));
    }
    let job = consumer.recv().unwrap();
    assert_eq!((job.to_native(), Delivery::deliveries(&job)), (2, 1));
    Delivery::nack(job);
    let job = consumer.recv_timeout(LONG).unwrap();
    assert_eq!((job.to_native(), Delivery::deliveries(&job)), (2, 2));
    Delivery::nack(job);
    assert!(matches!(consumer.recv_timeout(20 * SHORT), Err(RecvTimeoutError::Timeout)));
    for number in [1, 2] {
        let letter = letters.try_recv().unwrap();
        assert_eq!(*letter.open_as::<u64>().unwrap(), number);
        assert_eq!(letter.sender(), worker.id());
        letter.ack();
    }
    // A consumer of a worker without the setting gets a job as often as before.
    drop(consumer);
    publisher.send(&3).unwrap();
    let mut patient = boss.queue::<u64>("jobs").unwrap();
    for deliveries in 1..=4 {
        assert_eq!(Delivery::deliveries(&patient.recv().unwrap()), deliveries);
    }
    Delivery::ack(patient.recv().unwrap());
    drop((patient, letters));
    undertaker.leave().unwrap();
}

#[test]
fn returned_packets_go_to_another_consumer() {
    let (cluster, boss, mut publisher) = queue("retry");
    let mut first = boss.queue::<u64>("jobs").unwrap();
    publisher.send(&1).unwrap();
    Delivery::nack(first.recv().unwrap());
    let mut second = boss.queue::<u64>("jobs").unwrap();
    let job = second.recv_timeout(LONG).unwrap();
    assert_eq!((job.to_native(), Delivery::info(&job).redelivered), (1, true));
    drop(job);
    // The consumer leaves while it holds the packet.
    drop(second);
    let job = first.recv_timeout(LONG).unwrap();
    assert_eq!((job.to_native(), Delivery::info(&job).redelivered), (1, true));
    // A packet can come back to the consumer that returned it if it is the only one.
    Delivery::nack(job);
    let job = first.recv_timeout(LONG).unwrap();
    assert_eq!((job.to_native(), Delivery::info(&job).redelivered), (1, true));
    Delivery::ack(job);
    assert!(matches!(first.try_recv(), Err(TryRecvError::Empty)));
    assert_eq!(boss.queue_publisher::<u64>("jobs").unwrap().subscribers(), 1);
    drop((first, publisher, boss));
    assert_eq!(objects(&cluster), [] as [PathBuf; 0]);
}

#[test]
fn many_returned_packets_are_redelivered_without_a_pause_each() {
    const JOBS: u64 = 40;
    let (cluster, worker, mut jobs) = queue("all-retried");
    let mut one: QueueConsumer<u64> = worker.queue("jobs").unwrap();
    let mut two: QueueConsumer<u64> = worker.queue("jobs").unwrap();
    for number in 0..JOBS {
        jobs.send(&number).unwrap();
    }
    for _ in 0..JOBS {
        Delivery::nack(one.try_recv().unwrap());
    }
    drop(one);
    // The first liveness check happens after 50 ms. After it, all returned packets are ready at
    // once.
    Delivery::ack(two.recv_timeout(LONG).unwrap());
    for number in 1..JOBS {
        let job = two.try_recv().unwrap_or_else(|error| panic!("{number} of {cluster}: {error}"));
        Delivery::ack(job);
    }
}

#[test]
fn returned_packets_do_not_use_up_consumer_entries() {
    let (cluster, worker, mut jobs) = queue("places");
    let mut one: QueueConsumer<u64> = worker.queue("jobs").unwrap();
    for number in 0..300 {
        jobs.send(&number).unwrap();
    }
    for _ in 0..300 {
        Delivery::nack(one.recv_timeout(LONG).unwrap());
    }
    let other = Worker::join(&cluster, "other").unwrap();
    let mut two = other.queue::<u64>("jobs").unwrap();
    drop(one);
    let mut seen = std::collections::BTreeSet::new();
    while seen.len() < 300 {
        let job = two.recv_timeout(LONG).unwrap();
        seen.insert(job.to_native());
        Delivery::ack(job);
    }
}

#[test]
fn a_queue_keeps_packets_without_consumers_and_can_be_full() {
    let (_, boss, mut publisher) = queue("full");
    let full = (0..).find_map(|job| publisher.try_send(&job).err().map(|error| (job, error)));
    let (sent, error) = full.unwrap();
    let TrySendError::Full { waiting_for } = error else { panic!("{error}") };
    assert_eq!(waiting_for, WaitingFor::Queue);
    assert!(publisher.backlog() > 0);
    assert_eq!(publisher.subscribers(), 0);
    let mut consumer = boss.queue::<u64>("jobs").unwrap();
    publisher.wait_for_subscribers_timeout(1, LONG).unwrap();
    // The held packet keeps its own slot occupied, and no other.
    let job = consumer.recv().unwrap();
    assert!(matches!(publisher.try_send(&0), Err(TrySendError::Full { .. })));
    Delivery::ack(job);
    publisher.try_send(&sent).unwrap();
    for expected in 1..=sent {
        let job = consumer.recv().unwrap();
        assert_eq!(*job, expected);
        Delivery::ack(job);
    }
    assert_eq!(publisher.backlog(), 0);
}

#[test]
fn multi_slot_packets_and_cancelled_claims() {
    let cluster = unique("spans");
    let boss = Worker::join(&cluster, "boss").unwrap();
    let mut publisher = boss.queue_publisher::<[u64; 100]>("blocks").unwrap();
    let mut consumers = [(); 2].map(|()| boss.queue::<[u64; 100]>("blocks").unwrap());
    for round in 0..5000_u64 {
        drop(publisher.reserve().unwrap());
        publisher.send(&[round; 100]).unwrap();
        let block = consumers[round as usize % 2].try_recv().unwrap();
        assert!(block.iter().all(|&word| word == round));
        Delivery::ack(block);
    }
}

#[test]
fn a_queue_with_unacknowledged_packets_is_kept() {
    let (cluster, boss, mut publisher) = queue("kept");
    publisher.send(&1).unwrap();
    publisher.send(&2).unwrap();
    drop((publisher, boss));
    let worker = Worker::join(&cluster, "worker").unwrap();
    let mut consumer = worker.queue::<u64>("jobs").unwrap();
    Delivery::ack(consumer.recv().unwrap());
    assert_eq!(*consumer.recv().unwrap(), 2);
    drop((consumer, worker));
    let worker = Worker::join(&cluster, "worker").unwrap();
    let mut consumer = worker.queue::<u64>("jobs").unwrap();
    let job = consumer.recv_timeout(LONG).unwrap();
    assert_eq!((job.to_native(), Delivery::info(&job).redelivered), (2, true));
    Delivery::ack(job);
    drop((consumer, worker));
    assert_eq!(objects(&cluster), [] as [PathBuf; 0]);
}

#[test]
fn select_waits_for_a_consumer_and_a_subscriber() {
    let (_, boss, mut publisher) = queue("select");
    let mut prices = boss.subscriber::<u64>("prices").unwrap();
    let mut consumer = boss.queue::<u64>("jobs").unwrap();
    std::thread::scope(|scope| {
        let selecting = this_thread();
        scope.spawn(move || {
            wait_until_asleep(selecting);
            publisher.send(&7).unwrap();
        });
        assert_eq!(select(&mut [&mut prices, &mut consumer]), 1);
    });
    Delivery::ack(consumer.try_recv().unwrap());
    // A consumer that holds a packet does not count as ready.
    boss.publisher::<u64>("prices").unwrap().send(&8).unwrap();
    assert_eq!(select(&mut [&mut prices, &mut consumer]), 0);
}

#[test]
fn a_polling_consumer_gets_the_packet_of_a_dead_one() {
    let (cluster, boss, mut publisher) = queue("poll");
    let mut dying = consumer(&cluster, "hold", "dying");
    publisher.send(&1).unwrap();
    dying.expect("1");
    let mut own = boss.queue::<u64>("jobs").unwrap();
    publisher.wait_for_subscribers_timeout(2, LONG).unwrap();
    // The consumer is alive, so no other consumer gets its packet.
    assert!(matches!(own.recv_timeout(20 * SHORT), Err(RecvTimeoutError::Timeout)));
    dying.kill();
    wait_until("the packet of the dead consumer is redelivered", || match own.try_recv() {
        Ok(job) => {
            assert_eq!((job.to_native(), Delivery::info(&job).redelivered), (1, true));
            Delivery::ack(job);
            true
        }
        Err(TryRecvError::Empty) => false,
        Err(error) => panic!("{error}"),
    });
    assert_eq!(publisher.subscribers(), 1);
}

// ── Queues with void packets only ──────────────────────────────────────────────────────────────

#[test]
fn a_queue_of_aborted_reservations_goes_with_its_last_user() {
    let (cluster, boss, mut publisher) = queue("void");
    for _ in 0..3 {
        drop(publisher.reserve().unwrap());
    }
    // One packet among voids: it is kept until it is handled.
    publisher.send(&1).unwrap();
    drop(publisher.reserve().unwrap());
    drop((publisher, boss));
    assert_eq!(objects(&cluster).len(), 1, "a queue with a packet stays");
    let worker = Worker::join(&cluster, "a").unwrap();
    let mut consumer = worker.queue::<u64>("jobs").unwrap();
    let job = consumer.recv().unwrap();
    assert_eq!(*job, 1);
    Delivery::ack(job);
    drop((consumer, worker));
    assert!(objects(&cluster).is_empty(), "{:?}", objects(&cluster));
}

#[test]
fn a_queue_with_a_dead_publishers_reservation_goes_with_its_next_user() {
    for opens_queue in [true, false] {
        let cluster = unique("dead-void");
        let mut publisher = consumer(&cluster, "reserve", "p");
        publisher.kill();
        assert!(!objects(&cluster).is_empty());
        let worker = Worker::join(&cluster, "a").unwrap();
        let queue = opens_queue.then(|| worker.queue_publisher::<u64>("jobs").unwrap());
        drop((queue, worker));
        // The kernel may still close the files of the dead process.
        wait_until("the queue goes", || {
            drop(Worker::join(&cluster, "a").unwrap());
            objects(&cluster).is_empty()
        });
    }
}
