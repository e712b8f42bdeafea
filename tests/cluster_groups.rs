//! Work queues: each packet is one member's, is handled at least once, and says so when it comes
//! again.

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

/// Ends the member that takes it.
const STOP: u64 = u64::MAX;

/// The peer's side; an empty test unless it was started as one.
#[test]
fn peer() {
    let Some(role) = peer::role() else { return };
    let [cluster, name, path] = &role.arguments[..] else { panic!("{role:?}") };
    let worker = Worker::join(cluster, name).unwrap();
    let member = worker.queue::<u64>("jobs").unwrap();
    match role.name.as_str() {
        "count" => peer::say(&work(member, None).to_string()),
        "note" => drop(work(member, Some(Path::new(path)))),
        "hold" => hold(member),
        name => panic!("no such role: {name}"),
    }
}

/// Handles packets until it is told to stop, and says how many. Each is noted when it is taken.
fn work(mut member: QueueConsumer<u64>, path: Option<&Path>) -> usize {
    let mut notes =
        path.map(|path| OpenOptions::new().create(true).append(true).open(path).unwrap());
    peer::say("here");
    for count in 0.. {
        let job = member.recv().unwrap();
        let number = job.to_native();
        if number == STOP {
            Delivery::ack(job);
            return count;
        }
        if notes.is_none() {
            // Jobs that take no time are done by whoever is awake: others sleep because nothing is
            // there, and starve nobody's work. So these take some.
            (0..5_000).for_each(|step| _ = black_box(step));
        }
        if let Some(notes) = &mut notes {
            let words = [number, u64::from(Delivery::info(&job).redelivered), now()];
            // One call, so that a kill leaves all of it or nothing.
            notes.write_all(&words.map(u64::to_le_bytes).concat()).unwrap();
        }
        Delivery::ack(job);
    }
    unreachable!()
}

/// Takes one packet, says which, and keeps it until the test is over or it is killed.
fn hold(mut member: QueueConsumer<u64>) {
    peer::say("here");
    let job = member.recv().unwrap();
    peer::say(&job.to_string());
    while peer::hear().is_some() {}
}

/// A clock that all processes share.
#[expect(clippy::disallowed_methods, reason = "an `Instant` is of one process")]
fn now() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

fn notes(cluster: &str, name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("packetring-{cluster}-{name}"))
}

fn member(cluster: &str, role: &str, name: &str) -> Peer {
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

/// A queue, and one who publishes to it.
fn queue(topic: &str) -> (String, Worker, Publisher<u64>) {
    let cluster = unique(topic);
    let boss = Worker::join(&cluster, "boss").unwrap();
    let publisher = boss.queue_publisher("jobs").unwrap();
    (cluster, boss, publisher)
}

#[test]
fn no_member_starves() {
    const JOBS: u64 = 100_000;
    const MEMBERS: usize = 4;
    let _watch = Watch::start();
    let (cluster, boss, mut publisher) = queue("fair");
    let mut members: Vec<Peer> =
        (0..MEMBERS).map(|index| member(&cluster, "count", &format!("m{index}"))).collect();
    for job in (0..JOBS).chain([STOP; MEMBERS]) {
        publisher.send_timeout(&job, LONG).unwrap();
    }
    let counts: Vec<u64> = members.iter_mut().map(|peer| peer.hear().parse().unwrap()).collect();
    println!("{counts:?}");
    assert_eq!(counts.iter().sum::<u64>(), JOBS, "{counts:?}");
    assert!(counts.iter().all(|&count| count >= JOBS / 20), "{counts:?}");
    members.into_iter().for_each(Peer::finish);
    drop((publisher, boss));
    assert_eq!(objects(&cluster), [] as [PathBuf; 0]);
}

/// One who took a packet: whether it was flagged, when, and when that one was about to be killed.
#[derive(Debug)]
struct Holder {
    is_flagged: bool,
    from: u64,
    killed: Option<u64>,
}

#[test]
fn members_that_are_killed_lose_no_packet() {
    const JOBS: u64 = 20_000;
    const MEMBERS: usize = 4;
    let _watch = Watch::start();
    let seed = std::env::var("GROUPS_SEED").map_or_else(|_| now(), |seed| seed.parse().unwrap());
    println!("GROUPS_SEED={seed}");
    let mut noise = Noise::of(0, seed);
    let (cluster, boss, mut publisher) = queue("killed");
    let mut started = 0;
    let mut start = || {
        started += 1;
        let name = format!("m{started}");
        (member(&cluster, "note", &name), name)
    };
    let mut members: Vec<(Peer, String)> = (0..MEMBERS).map(|_| start()).collect();
    let mut ended: Vec<(String, Option<u64>)> = Vec::new();
    let mut next_kill = 0;
    for job in 0..JOBS {
        publisher.send_timeout(&job, LONG).unwrap();
        if job == next_kill {
            next_kill += 200 + noise.below(1000) as u64;
            let (mut peer, name) = members.swap_remove(noise.below(MEMBERS));
            let at = now();
            peer.kill();
            ended.push((name, Some(at)));
            members.push(start());
        }
    }
    let kills = ended.len();
    for _ in 0..MEMBERS {
        publisher.send_timeout(&STOP, LONG).unwrap();
    }
    for (peer, name) in members {
        peer.finish();
        ended.push((name, None));
    }
    let mut holders: BTreeMap<u64, Vec<Holder>> = BTreeMap::new();
    for (name, killed) in &ended {
        let path = notes(&cluster, name);
        let noted = std::fs::read(&path).unwrap_or_default();
        let words = noted.as_chunks::<8>().0.iter().map(|&word| u64::from_le_bytes(word));
        for note in words.collect::<Vec<_>>().as_chunks::<3>().0 {
            let holder = Holder { is_flagged: note[1] == 1, from: note[2], killed: *killed };
            holders.entry(note[0]).or_default().push(holder);
        }
        let _ = std::fs::remove_file(path);
    }
    assert_eq!(holders.len() as u64, JOBS, "jobs were lost");
    let (mut again, mut unseen) = (0, 0);
    for (job, holders) in &mut holders {
        holders.sort_by_key(|holder| holder.from);
        // One that was killed between taking it and its note left a flag alone.
        unseen += usize::from(holders[0].is_flagged);
        for pair in holders.windows(2) {
            again += 1;
            assert!(pair[1].is_flagged, "{job} came again unflagged: {pair:?}");
            assert!(pair[0].killed.is_some_and(|at| at < pair[1].from), "{job}: two had {pair:?}");
        }
    }
    println!("{kills} kills, {again} packets noted again, {unseen} not noted before");
    assert!(again + unseen <= kills, "more came again than were in the hands of the killed");
    drop((publisher, boss));
    assert_eq!(objects(&cluster), [] as [PathBuf; 0]);
}

#[test]
fn what_is_not_done_comes_again_and_says_so() {
    let (_, boss, mut publisher) = queue("again");
    let mut member = boss.queue::<u64>("jobs").unwrap();
    publisher.send(&1).unwrap();
    publisher.send(&2).unwrap();
    let job = member.recv().unwrap();
    assert!(!Delivery::info(&job).redelivered);
    drop(job);
    let job = member.recv().unwrap();
    assert_eq!((job.to_native(), Delivery::info(&job).redelivered), (1, true));
    std::mem::forget(job);
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let job = member.recv().unwrap();
        assert_eq!(*job, 1);
        std::panic::resume_unwind(Box::new("a handler's"));
    }));
    assert!(panicked.is_err());
    let job = member.try_recv().unwrap();
    assert_eq!((job.to_native(), Delivery::info(&job).redelivered), (1, true));
    Delivery::ack(job);
    let job = member.recv().unwrap();
    assert_eq!((job.to_native(), Delivery::info(&job).redelivered), (2, false));
    Delivery::ack(job);
    assert!(matches!(member.try_recv(), Err(TryRecvError::Empty)));
    assert!(matches!(member.recv_timeout(SHORT), Err(RecvTimeoutError::Timeout)));
}

#[test]
fn what_is_retried_or_left_goes_to_another() {
    let (cluster, boss, mut publisher) = queue("retry");
    let mut first = boss.queue::<u64>("jobs").unwrap();
    publisher.send(&1).unwrap();
    Delivery::nack(first.recv().unwrap());
    let mut second = boss.queue::<u64>("jobs").unwrap();
    let job = second.recv_timeout(LONG).unwrap();
    assert_eq!((job.to_native(), Delivery::info(&job).redelivered), (1, true));
    drop(job);
    // It leaves with the packet in hand.
    drop(second);
    let job = first.recv_timeout(LONG).unwrap();
    assert_eq!((job.to_native(), Delivery::info(&job).redelivered), (1, true));
    // It may come to the one that gave it back, which is alone.
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
fn what_many_retried_comes_without_a_pause_for_each() {
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
    // The kernel is asked who lives after 50 ms, and then for each at once.
    Delivery::ack(two.recv_timeout(LONG).unwrap());
    for number in 1..JOBS {
        let job = two.try_recv().unwrap_or_else(|error| panic!("{number} of {cluster}: {error}"));
        Delivery::ack(job);
    }
}

#[test]
fn retries_leave_places_to_members() {
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
fn packets_wait_for_members_and_a_full_queue_holds_publishers_back() {
    let (_, boss, mut publisher) = queue("full");
    let full = (0..).find_map(|job| publisher.try_send(&job).err().map(|error| (job, error)));
    let (sent, error) = full.unwrap();
    let TrySendError::Full { waiting_for } = error else { panic!("{error}") };
    assert_eq!(waiting_for, WaitingFor::Queue);
    assert!(publisher.backlog() > 0);
    assert_eq!(publisher.subscribers(), 0);
    let mut member = boss.queue::<u64>("jobs").unwrap();
    publisher.wait_for_subscribers_timeout(1, LONG).unwrap();
    // The packet in hand holds its slot, and no more than that.
    let job = member.recv().unwrap();
    assert!(matches!(publisher.try_send(&0), Err(TrySendError::Full { .. })));
    Delivery::ack(job);
    publisher.try_send(&sent).unwrap();
    for expected in 1..=sent {
        let job = member.recv().unwrap();
        assert_eq!(*job, expected);
        Delivery::ack(job);
    }
    assert_eq!(publisher.backlog(), 0);
}

#[test]
fn packets_of_many_slots_and_claims_that_were_given_up() {
    let cluster = unique("spans");
    let boss = Worker::join(&cluster, "boss").unwrap();
    let mut publisher = boss.queue_publisher::<[u64; 100]>("blocks").unwrap();
    let mut members = [(); 2].map(|()| boss.queue::<[u64; 100]>("blocks").unwrap());
    for round in 0..5000_u64 {
        drop(publisher.reserve().unwrap());
        publisher.send(&[round; 100]).unwrap();
        let block = members[round as usize % 2].try_recv().unwrap();
        assert!(block.iter().all(|&word| word == round));
        Delivery::ack(block);
    }
}

#[test]
fn a_queue_is_kept_for_what_is_not_done() {
    let (cluster, boss, mut publisher) = queue("kept");
    publisher.send(&1).unwrap();
    publisher.send(&2).unwrap();
    drop((publisher, boss));
    let worker = Worker::join(&cluster, "worker").unwrap();
    let mut member = worker.queue::<u64>("jobs").unwrap();
    Delivery::ack(member.recv().unwrap());
    assert_eq!(*member.recv().unwrap(), 2);
    drop((member, worker));
    let worker = Worker::join(&cluster, "worker").unwrap();
    let mut member = worker.queue::<u64>("jobs").unwrap();
    let job = member.recv_timeout(LONG).unwrap();
    assert_eq!((job.to_native(), Delivery::info(&job).redelivered), (2, true));
    Delivery::ack(job);
    drop((member, worker));
    assert_eq!(objects(&cluster), [] as [PathBuf; 0]);
}

#[test]
fn a_member_is_waited_for_beside_others() {
    let (_, boss, mut publisher) = queue("select");
    let mut prices = boss.subscriber::<u64>("prices").unwrap();
    let mut member = boss.queue::<u64>("jobs").unwrap();
    std::thread::scope(|scope| {
        let selecting = this_thread();
        scope.spawn(move || {
            wait_until_asleep(selecting);
            publisher.send(&7).unwrap();
        });
        assert_eq!(select(&mut [&mut prices, &mut member]), 1);
    });
    Delivery::ack(member.try_recv().unwrap());
    // One that has a packet in hand is ready with that.
    boss.publisher::<u64>("prices").unwrap().send(&8).unwrap();
    assert_eq!(select(&mut [&mut prices, &mut member]), 0);
}

#[test]
fn a_dead_members_packet_comes_to_one_that_only_polls() {
    let (cluster, boss, mut publisher) = queue("poll");
    let mut dying = member(&cluster, "hold", "dying");
    publisher.send(&1).unwrap();
    dying.expect("1");
    let mut own = boss.queue::<u64>("jobs").unwrap();
    publisher.wait_for_subscribers_timeout(2, LONG).unwrap();
    // It lives: nobody else gets what it has.
    assert!(matches!(own.recv_timeout(20 * SHORT), Err(RecvTimeoutError::Timeout)));
    dying.kill();
    wait_until("its packet comes", || match own.try_recv() {
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
