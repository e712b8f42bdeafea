//! Inboxes: each message is handled at least once, also when its receiver dies. Each failure to
//! send has its own error.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod support;

use packetring::cluster::{
    Inbox, JoinError, Message, SendToError, SendToTimeoutError, TrySendToError, WorkerId,
    WorkerState,
};
use packetring::with::{Conversion, Via};
use packetring::{
    OpenError, RecvError, RecvTimeoutError, TryRecvError, WaitingFor, Worker, one_of, packet,
    select_timeout,
};
use std::cell::RefCell;
use std::collections::HashMap;
use std::error::Error;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::mem::forget;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Barrier, mpsc};
use std::thread;
use std::time::{Duration, Instant};
use support::peer::{self, Peer};
use support::{LONG, Noise, SHORT, this_thread, unique, wait_until, wait_until_asleep};

/// A packet that carries its number.
#[packet]
struct Numbered {
    number: u64,
}

#[packet]
struct Stop;

#[one_of]
enum Work {
    Numbered(Numbered),
    Stop(Stop),
}

/// Entry point of the child processes; does nothing without a role.
#[test]
fn peer() {
    let Some(role) = peer::role() else { return };
    let (cluster, name) = (&role.arguments[0], &role.arguments[1]);
    match role.name.as_str() {
        "stay" => stay(&Worker::join(cluster, name).unwrap()),
        "hold" => hold(cluster, name),
        "handle" => handle(cluster, name, Path::new(&role.arguments[2]), role.number(3)),
        "send" => send(cluster, name, role.number(2)),
        name => panic!("unknown role: {name}"),
    }
}

/// Reports its id and stays until the test is over or the process is killed.
fn stay(worker: &Worker) {
    peer::say(&worker.id().to_string());
    while peer::hear().is_some() {}
}

/// Receives a message, holds it and stays.
fn hold(cluster: &str, name: &str) {
    let worker = Worker::join(cluster, name).unwrap();
    let mut inbox = worker.inbox().unwrap();
    peer::say("here");
    let _message = inbox.recv().unwrap();
    stay(&worker);
}

/// Sends `count` numbered messages to the worker `billing`.
fn send(cluster: &str, name: &str, count: u64) {
    let worker = Worker::join(cluster, name).unwrap();
    peer::say(&worker.id().to_string());
    for number in 0..count {
        worker.send_to("billing", &Numbered { number }).unwrap();
    }
}

/// A cluster that no other test uses. Dropping it removes its workers.
struct Cluster(String);

impl Cluster {
    fn new(topic: &str) -> Self {
        Self(unique(topic))
    }

    fn join(&self, name: &str) -> Worker {
        Worker::join(&self.0, name).unwrap()
    }

    /// A worker with an inbox of 4 KiB.
    fn small(&self, name: &str) -> (Worker, Inbox) {
        let worker = Worker::builder().inbox_capacity(4096).join(&self.0, name).unwrap();
        let inbox = worker.inbox().unwrap();
        (worker, inbox)
    }

    fn peer(&self, role: &str, rest: &str) -> Peer {
        Peer::start(&format!("{role} {} {rest}", self.0))
    }

    fn objects(&self) -> Vec<PathBuf> {
        let prefix = format!("packetring.{}~", self.0);
        let all = std::fs::read_dir("/dev/shm").unwrap().map(|entry| entry.unwrap());
        let own = all.filter(|entry| entry.file_name().to_string_lossy().starts_with(&prefix));
        own.map(|entry| entry.path()).collect()
    }
}

impl Drop for Cluster {
    /// Asserts that nothing is left. All workers must have left before.
    fn drop(&mut self) {
        if let Ok(worker) = Worker::join(&self.0, "caretaker") {
            for other in worker.workers() {
                let _ = worker.retire(&other.id);
            }
        }
        if !thread::panicking() {
            assert_eq!(self.objects(), [] as [PathBuf; 0]);
        }
    }
}

fn number(message: &Message<'_>) -> u64 {
    message.open_as::<Numbered>().unwrap().number.to_native()
}

/// Receives and acknowledges the next message, which must be there.
#[track_caller]
fn receive(inbox: &mut Inbox) -> u64 {
    let message = inbox.try_recv().unwrap();
    let number = number(&message);
    message.ack();
    number
}

/// Sends until the inbox is full. Returns the number of messages sent.
fn fill(worker: &Worker, worker_name: &str) -> u64 {
    (0..).find(|&number| worker.try_send_to(worker_name, &Numbered { number }).is_err()).unwrap()
}

// ---- at least once ----

/// Messages to the worker that is killed.
const MESSAGES: u64 = 10_000;
/// Number of kills and restarts.
const KILLS: usize = 50;

/// A ledger entry: the number of a handled message, and its redelivery flag.
fn entry(number: u64, redelivered: bool) -> [u8; 8] {
    (number << 1 | u64::from(redelivered)).to_le_bytes()
}

fn read_ledger(path: &Path) -> Vec<(u64, bool)> {
    let mut bytes = Vec::new();
    File::open(path).unwrap().read_to_end(&mut bytes).unwrap();
    let words = bytes.chunks_exact(8).map(|word| u64::from_le_bytes(word.try_into().unwrap()));
    words.map(|word| (word >> 1, word & 1 == 1)).collect()
}

/// Receives messages and sometimes drops one as a faulty program would. Records each handled
/// message in the ledger with one write, before it acknowledges the message.
fn handle(cluster: &str, name: &str, ledger: &Path, seed: u64) {
    let mut ledger = OpenOptions::new().append(true).open(ledger).unwrap();
    let mut noise = Noise::of(std::process::id(), seed);
    std::panic::set_hook(Box::new(|_| {}));
    let worker = Worker::join(cluster, name).unwrap();
    let mut inbox = worker.inbox().unwrap();
    peer::say("here");
    loop {
        let message = inbox.recv().unwrap();
        let (number, redelivered) = (number(&message), message.info().redelivered);
        match noise.below(100) {
            0 => drop(message),
            1 => forget(message),
            2 => {
                let outcome = catch_unwind(AssertUnwindSafe(move || {
                    let _message = message;
                    panic!("a handler fails");
                }));
                outcome.unwrap_err();
            }
            _ => {
                work(&mut noise);
                ledger.write_all(&entry(number, redelivered)).unwrap();
                work(&mut noise);
                message.ack();
            }
        }
    }
}

/// Takes up to 40 µs, so that kills happen at any moment of handling.
fn work(noise: &mut Noise) {
    let time = Duration::from_nanos(noise.below(40_000) as u64);
    let started = Instant::now();
    while started.elapsed() < time {
        std::hint::spin_loop();
    }
}

/// A random seed, or the one given in the environment.
fn seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    let given = std::env::var("PACKETRING_TEST_SEED").ok();
    let seed = given.map_or_else(|| RandomState::new().hash_one(0), |seed| seed.parse().unwrap());
    eprintln!("PACKETRING_TEST_SEED={seed}");
    seed
}

#[test]
fn every_message_to_a_worker_killed_fifty_times_is_handled() {
    let seed = seed();
    let mut noise = Noise::of(0, seed);
    let cluster = Cluster::new("fifty");
    let path = std::env::temp_dir().join(unique("ledger"));
    File::create(&path).unwrap();
    let entries = || std::fs::metadata(&path).unwrap().len() / 8;
    let role = format!("billing {} {seed}", path.display());
    let mut billing = cluster.peer("handle", &role);
    billing.expect("here");
    let feed = cluster.join("feed");
    thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0..MESSAGES {
                feed.send_to_timeout("billing", &Numbered { number }, LONG).unwrap();
            }
        });
        for _ in 0..KILLS {
            // Kills are spread evenly over the messages.
            let until = entries() + noise.below(2 * MESSAGES as usize / (KILLS + 5)) as u64;
            wait_until("messages are handled", || entries() >= until.min(MESSAGES));
            work(&mut noise);
            billing.kill();
            billing = cluster.peer("handle", &role);
            billing.expect("here");
        }
    });
    let handled = || read_ledger(&path).iter().map(|&(number, _)| number).max();
    wait_until("the last message is handled", || handled() == Some(MESSAGES - 1));
    billing.kill();
    let ledger = read_ledger(&path);
    std::fs::remove_file(&path).unwrap();
    check(&ledger);
}

/// Asserts that all messages were handled in order, and handled again only if flagged.
fn check(ledger: &[(u64, bool)]) {
    let mut times: HashMap<u64, usize> = HashMap::new();
    let mut next = 0;
    for &(number, redelivered) in ledger {
        let before = times.entry(number).or_default();
        if *before == 0 {
            assert_eq!(number, next, "a message was lost or out of order");
            next += 1;
        } else {
            assert!(redelivered, "message {number} was redelivered without a flag");
        }
        *before += 1;
    }
    assert_eq!(next, MESSAGES, "messages were lost");
    let redelivered = times.values().filter(|&&times| times > 1).count();
    let flagged = ledger.iter().filter(|(_, redelivered)| *redelivered).count();
    eprintln!("{redelivered} messages were handled more than once, {flagged} were flagged");
    assert!(flagged > 0, "no kill happened while a message was held");
}

#[test]
fn a_message_dropped_by_an_early_return_is_redelivered() {
    fn reads_the_wrong_type(inbox: &mut Inbox) -> Result<(), Box<dyn Error>> {
        let message = inbox.try_recv()?;
        message.open_as::<Stop>()?;
        message.ack();
        Ok(())
    }
    let cluster = Cluster::new("question");
    let (billing, mut inbox) = cluster.small("billing");
    billing.send_to("billing", &Numbered { number: 1 }).unwrap();
    billing.send_to("billing", &Numbered { number: 2 }).unwrap();
    assert!(!inbox.try_recv().unwrap().info().redelivered);
    for _ in 0..3 {
        let error = reads_the_wrong_type(&mut inbox).unwrap_err();
        assert!(error.to_string().contains("Numbered"), "{error}");
    }
    let message = inbox.try_recv().unwrap();
    assert!(message.info().redelivered);
    assert_eq!(number(&message), 1);
    message.ack();
    let message = inbox.try_recv().unwrap();
    assert_eq!((number(&message), message.info().redelivered), (2, false));
    message.ack();
    assert!(matches!(inbox.try_recv(), Err(TryRecvError::Empty)));
}

#[test]
fn a_message_dropped_by_a_panic_is_redelivered() {
    let cluster = Cluster::new("panic");
    let (billing, mut inbox) = cluster.small("billing");
    billing.send_to("billing", &Numbered { number: 1 }).unwrap();
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let message = inbox.try_recv().unwrap();
        assert_eq!(number(&message), 2, "deliberately wrong expectation");
    }));
    outcome.unwrap_err();
    let message = inbox.try_recv().unwrap();
    assert_eq!((number(&message), message.info().redelivered), (1, true));
    message.ack();
    assert!(matches!(inbox.try_recv(), Err(TryRecvError::Empty)));
}

#[test]
fn a_forgotten_message_is_redelivered() {
    let cluster = Cluster::new("forgotten");
    let (billing, mut inbox) = cluster.small("billing");
    billing.send_to("billing", &Numbered { number: 1 }).unwrap();
    billing.send_to("billing", &Numbered { number: 2 }).unwrap();
    forget(inbox.try_recv().unwrap());
    let message = inbox.try_recv().unwrap();
    assert_eq!((number(&message), message.info().redelivered), (1, true));
    message.ack();
    forget(inbox.try_recv().unwrap());
    // A select is a call too.
    assert_eq!(select_timeout(&mut [&mut inbox], LONG), Some(0));
    assert_eq!(receive(&mut inbox), 2);
    assert_eq!(select_timeout(&mut [&mut inbox], SHORT), None);
}

#[test]
fn a_message_held_by_a_dropped_inbox_goes_to_its_successor() {
    let cluster = Cluster::new("reopened");
    let (billing, mut inbox) = cluster.small("billing");
    billing.send_to("billing", &Numbered { number: 1 }).unwrap();
    forget(inbox.try_recv().unwrap());
    drop(inbox);
    drop(billing);
    let feed = cluster.join("feed");
    feed.send_to("billing", &Numbered { number: 2 }).unwrap();
    let (_billing, mut inbox) = cluster.small("billing");
    let message = inbox.try_recv().unwrap();
    assert_eq!((number(&message), message.info().redelivered), (1, true));
    message.ack();
    let message = inbox.try_recv().unwrap();
    assert_eq!((number(&message), message.info().redelivered), (2, false));
    message.ack();
}

#[test]
fn a_message_held_by_a_killed_worker_goes_to_its_successor() {
    let cluster = Cluster::new("in-hand");
    let mut billing = cluster.peer("hold", "billing");
    billing.expect("here");
    let feed = cluster.join("feed");
    feed.send_to("billing", &Numbered { number: 7 }).unwrap();
    let id = WorkerId(billing.hear().parse().unwrap());
    billing.kill();
    wait_until("the worker is away", || feed.worker("billing").unwrap().state == WorkerState::Away);
    // By name and by id, while the worker is away.
    feed.send_to("billing", &Numbered { number: 8 }).unwrap();
    feed.try_send_to(&id, &Numbered { number: 9 }).unwrap();
    let billing = cluster.join("billing");
    assert_eq!(billing.id(), id);
    let mut inbox = billing.inbox().unwrap();
    for (expected, redelivered) in [(7, true), (8, false), (9, false)] {
        let message = inbox.try_recv().unwrap();
        assert_eq!((number(&message), message.info().redelivered), (expected, redelivered));
        assert_eq!(message.sender(), feed.id());
        assert_eq!(message.type_name(), "Numbered");
        message.ack();
    }
    assert!(matches!(inbox.recv_timeout(SHORT), Err(RecvTimeoutError::Timeout)));
}

// ---- messages and senders ----

#[test]
fn a_message_opens_only_as_its_own_type_and_names_its_sender() {
    let cluster = Cluster::new("opened");
    let (billing, mut inbox) = cluster.small("billing");
    let (one, two) = (cluster.join("one"), cluster.join("two"));
    for round in 0..100 {
        one.send_to("billing", &Numbered { number: round }).unwrap();
        two.send_to(&billing.id(), &Stop).unwrap();
        one.send_to("billing".to_owned().as_str(), &vec![round; 5]).unwrap();
        let message = inbox.recv().unwrap();
        assert_eq!(message.sender(), one.id());
        let opened = message.open().unwrap();
        assert!(matches!(opened, Some(Work::Numbered(numbered)) if numbered.number == round));
        message.ack();
        let message = inbox.recv_timeout(LONG).unwrap();
        assert_eq!(message.sender(), two.id());
        assert!(matches!(message.open().unwrap(), Some(Work::Stop(_))));
        let error = message.open_as::<Numbered>().map(drop).unwrap_err();
        assert!(matches!(error, RecvError::TypeMismatch(_)), "{error}");
        message.ack();
        let message = inbox.try_recv().unwrap();
        assert!(message.open::<Work<'_>>().unwrap().is_none());
        assert_eq!(message.type_name(), "Vec<u64>");
        assert!(message.open_as::<Vec<u64>>().unwrap().iter().all(|&number| number == round));
        message.ack();
    }
    assert_eq!(inbox.backlog(), 0);
}

#[test]
fn messages_of_two_senders_keep_their_order() {
    const EACH: u64 = 3000;
    let cluster = Cluster::new("two");
    let (_billing, mut inbox) = cluster.small("billing");
    let mut senders = ["one", "two"].map(|name| cluster.peer("send", &format!("{name} {EACH}")));
    let ids = senders.each_mut().map(|peer| WorkerId(peer.hear().parse().unwrap()));
    assert_ne!(ids[0], ids[1]);
    let mut next: HashMap<WorkerId, u64> = ids.map(|id| (id, 0)).into();
    while next.values().any(|&next| next < EACH) {
        let message = inbox.recv_timeout(LONG).unwrap();
        let expected = next.get_mut(&message.sender()).unwrap();
        assert_eq!(number(&message), *expected);
        *expected += 1;
        message.ack();
    }
    senders.into_iter().for_each(Peer::finish);
}

#[test]
fn messages_of_each_thread_of_a_worker_keep_their_order() {
    const EACH: u64 = 2000;
    const THREADS: u64 = 4;
    let cluster = Cluster::new("threads");
    let (_billing, mut inbox) = cluster.small("billing");
    let feed = cluster.join("feed");
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let feed = &feed;
            scope.spawn(move || {
                for at in 0..EACH {
                    feed.send_to("billing", &Numbered { number: thread << 32 | at }).unwrap();
                }
            });
        }
        let mut next = [0; THREADS as usize];
        for _ in 0..THREADS * EACH {
            let message = inbox.recv_timeout(LONG).unwrap();
            let number = number(&message);
            let expected = &mut next[(number >> 32) as usize];
            assert_eq!(number & 0xffff_ffff, *expected);
            *expected += 1;
            message.ack();
        }
    });
    assert!(matches!(inbox.try_recv(), Err(TryRecvError::Empty)));
}

#[test]
fn an_inbox_has_entries_for_all_threads_of_all_workers() {
    const EACH: u64 = 200;
    let cluster = Cluster::new("all-threads");
    let join = |name: &str| Worker::builder().max_workers(5).join(&cluster.0, name).unwrap();
    let billing = join("billing");
    let mut inbox = billing.inbox().unwrap();
    let senders = ["one", "two", "three", "four"].map(join);
    // The first thread of each worker has a sender of its own.
    for worker in &senders {
        worker.send_to("billing", &Stop).unwrap();
    }
    thread::scope(|scope| {
        for worker in &senders {
            for _ in 0..4 {
                scope.spawn(move || {
                    for number in 0..EACH {
                        worker.send_to("billing", &Numbered { number }).unwrap();
                    }
                });
            }
        }
        for _ in 0..senders.len() as u64 * (4 * EACH + 1) {
            inbox.recv_timeout(LONG).unwrap().ack();
        }
    });
    assert!(matches!(inbox.try_recv(), Err(TryRecvError::Empty)));
}

#[test]
fn a_message_identifies_its_sender_among_workers_with_one_id() {
    let cluster = Cluster::new("generation");
    let (billing, mut inbox) = cluster.small("billing");
    let mut senders = Vec::new();
    for _ in 0..3 {
        let feed = cluster.join("feed");
        feed.send_to("billing", &Stop).unwrap();
        senders.push(feed.worker("feed").unwrap());
    }
    for sender in &senders {
        let message = inbox.try_recv().unwrap();
        assert_eq!(message.sender(), sender.id);
        let is_from = senders.iter().filter(|worker| message.is_from(worker)).collect::<Vec<_>>();
        assert_eq!(is_from, [sender]);
        assert!(!message.is_from(&billing.worker("billing").unwrap()));
        message.ack();
    }
}

// ---- recipients ----

#[test]
fn an_unknown_worker_is_reported() {
    let cluster = Cluster::new("unknown");
    let feed = cluster.join("feed");
    let error = feed.send_to("billing", &Stop).unwrap_err();
    assert!(matches!(error, SendToError::UnknownWorker { who } if who == "billing"));
    let error = feed.try_send_to("billing", &Stop).unwrap_err();
    assert!(matches!(error, TrySendToError::UnknownWorker { who } if who == "billing"));
    let error = feed.send_to_timeout("billing", &Stop, LONG).unwrap_err();
    assert!(matches!(error, SendToTimeoutError::UnknownWorker { who } if who == "billing"));
    for id in [WorkerId(77), WorkerId(u16::MAX)] {
        let error = feed.send_to(&id, &Stop).unwrap_err();
        assert!(matches!(error, SendToError::UnknownWorker { who } if who == id.to_string()));
    }
}

#[test]
fn a_live_worker_without_an_inbox_is_reported() {
    let cluster = Cluster::new("none");
    let (feed, billing) = (cluster.join("feed"), cluster.join("billing"));
    let error = feed.send_to("billing", &Stop).unwrap_err();
    assert!(matches!(error, SendToError::NoInbox { who } if who == "billing"));
    let error = feed.send_to(&billing.id(), &Stop).unwrap_err();
    assert!(matches!(error, SendToError::NoInbox { .. }));
    // From now on the worker has an inbox.
    let mut inbox = billing.inbox().unwrap();
    feed.send_to("billing", &Numbered { number: 3 }).unwrap();
    assert_eq!(receive(&mut inbox), 3);
}

#[test]
fn a_worker_that_died_without_an_inbox_is_dead() {
    let cluster = Cluster::new("dead");
    let feed = cluster.join("feed");
    let mut billing = cluster.peer("stay", "billing");
    let id = WorkerId(billing.hear().parse().unwrap());
    let pid = billing.pid();
    billing.kill();
    for error in
        [feed.send_to("billing", &Stop).unwrap_err(), feed.send_to(&id, &Stop).unwrap_err()]
    {
        assert!(matches!(error, SendToError::Dead { pid: found, .. } if found == pid), "{error}");
    }
    // A worker that left with its inbox, although it received messages before.
    let (other, inbox) = cluster.small("other");
    feed.send_to("other", &Stop).unwrap();
    other.leave().unwrap();
    let error = feed.send_to("other", &Stop).unwrap_err();
    assert!(matches!(error, SendToError::Dead { pid, .. } if pid == std::process::id()));
    drop(inbox);
}

#[test]
fn a_retired_worker_is_dead_until_it_joins_again_with_an_empty_inbox() {
    let cluster = Cluster::new("retired");
    let feed = cluster.join("feed");
    let (billing, inbox) = cluster.small("billing");
    for number in 0..5 {
        feed.send_to("billing", &Numbered { number }).unwrap();
    }
    drop((billing, inbox));
    feed.send_to("billing", &Numbered { number: 5 }).unwrap();
    assert!(feed.retire("billing").unwrap());
    let error = feed.send_to("billing", &Stop).unwrap_err();
    assert!(matches!(error, SendToError::Dead { .. }), "{error}");
    let (_billing, mut inbox) = cluster.small("billing");
    assert!(matches!(inbox.try_recv(), Err(TryRecvError::Empty)));
    feed.send_to("billing", &Numbered { number: 6 }).unwrap();
    assert_eq!(receive(&mut inbox), 6);
}

#[test]
fn a_new_worker_in_a_reused_slot_gets_no_old_messages() {
    let cluster = Cluster::new("slots");
    let only = || Worker::builder().max_workers(2).inbox_capacity(4096);
    let feed = only().join(&cluster.0, "feed").unwrap();
    let billing = only().join(&cluster.0, "billing").unwrap();
    let (id, inbox) = (billing.id(), billing.inbox().unwrap());
    feed.send_to("billing", &Stop).unwrap();
    feed.send_to(&id, &Stop).unwrap();
    billing.leave().unwrap();
    drop(inbox);
    let other = only().join(&cluster.0, "other").unwrap();
    assert_eq!(other.id(), id);
    let mut inbox = other.inbox().unwrap();
    let error = feed.send_to("billing", &Stop).unwrap_err();
    assert!(matches!(error, SendToError::UnknownWorker { .. }), "{error}");
    feed.send_to(&id, &Numbered { number: 1 }).unwrap();
    feed.send_to("other", &Numbered { number: 2 }).unwrap();
    assert_eq!([receive(&mut inbox), receive(&mut inbox)], [1, 2]);
    assert!(matches!(inbox.try_recv(), Err(TryRecvError::Empty)));
}

#[test]
fn an_inbox_opens_once_and_closes_when_its_worker_leaves() {
    let cluster = Cluster::new("one");
    let (billing, mut inbox) = cluster.small("billing");
    let pid = std::process::id();
    let prefix = format!("inbox of worker billing is open already, in process {pid};");
    let is_open = |outcome: Result<Inbox, OpenError>| {
        let error = outcome.unwrap_err();
        assert!(error.to_string().starts_with(&prefix), "{error}");
        matches!(error, OpenError::InboxOpen { name, pid: by } if name == "billing" && by == pid)
    };
    assert!(is_open(billing.inbox()));
    // Dropping the worker does not close its inbox.
    drop(billing);
    let billing = cluster.join("billing");
    assert!(is_open(billing.inbox()) && is_open(billing.inbox_of::<Work>()));
    billing.send_to("billing", &Numbered { number: 1 }).unwrap();
    billing.leave().unwrap();
    // Unread messages can still be received.
    assert_eq!(number(&inbox.recv().unwrap()), 1);
    assert_eq!(receive(&mut inbox), 1);
    assert!(matches!(inbox.recv(), Err(RecvError::Closed)));
}

// ---- packets that can be sent ----

#[packet]
struct Failing {
    #[rkyv(with = Via<FailingField>)]
    field: u64,
}

struct FailingField;

impl Conversion<u64> for FailingField {
    type Packet = u64;
    type Error = std::fmt::Error;

    fn to_packet(_: &u64) -> Result<u64, Self::Error> {
        Err(std::fmt::Error)
    }

    fn from_packet(field: u64) -> Result<u64, Self::Error> {
        Ok(field)
    }
}

#[test]
fn unserializable_and_too_large_packets_are_reported() {
    let cluster = Cluster::new("fits");
    let (billing, mut inbox) = cluster.small("billing");
    for _ in 0..100 {
        let error = billing.try_send_to("billing", &Failing { field: 1 }).unwrap_err();
        assert!(matches!(error, TrySendToError::Unserializable(_)), "{error}");
        let error = billing.try_send_to("billing", &[0_u8; 2048]).unwrap_err();
        let TrySendToError::TooLarge { needed, limit } = error else { panic!("{error}") };
        assert_eq!((needed, limit), (2048, 2048 - 16));
        // A claim cancelled halfway uses space until the reader has passed it.
        assert!(matches!(inbox.try_recv(), Err(TryRecvError::Empty)));
    }
    billing.try_send_to("billing", &Numbered { number: 4 }).unwrap();
    assert_eq!(receive(&mut inbox), 4);
    assert!(matches!(inbox.try_recv(), Err(TryRecvError::Empty)));
}

/// Work that a packet does during serialization.
type NestedFn = Box<dyn FnMut() -> Result<(), SendToError>>;

thread_local! {
    static NESTED_WORK: RefCell<Option<NestedFn>> = const { RefCell::new(None) };
}

fn set_nested_work(work: impl FnMut() -> Result<(), SendToError> + 'static) {
    NESTED_WORK.set(Some(Box::new(work)));
}

#[packet]
struct WithWork {
    #[rkyv(with = Via<NestedWork>)]
    number: u64,
}

struct NestedWork;

impl Conversion<u64> for NestedWork {
    type Packet = u64;
    type Error = SendToError;

    fn to_packet(number: &u64) -> Result<u64, Self::Error> {
        // Taken out meanwhile: a packet sent by `work` may run work too.
        let Some(mut work) = NESTED_WORK.take() else { return Ok(*number) };
        let outcome = work();
        NESTED_WORK.set(Some(work));
        outcome.map(|()| *number)
    }

    fn from_packet(number: u64) -> Result<u64, Self::Error> {
        Ok(number)
    }
}

/// Runs `work` on a thread and panics if it hangs.
fn with_timeout<R: Send + 'static>(work: impl FnOnce() -> R + Send + 'static) -> R {
    let (done, is_done) = mpsc::channel();
    let thread = thread::spawn(move || done.send(work()).unwrap());
    let outcome = is_done.recv_timeout(LONG).expect("deadlock: a nested send did not return");
    thread.join().unwrap();
    outcome
}

fn drain(inbox: &mut Inbox) -> u64 {
    let mut count = 0;
    while let Ok(message) = inbox.try_recv() {
        message.ack();
        count += 1;
    }
    count
}

#[test]
fn a_packet_can_send_messages_during_its_serialization() {
    let cluster = Cluster::new("nested");
    let (_billing, mut inbox) = cluster.small("billing");
    let feed = Arc::new(cluster.join("feed"));
    // The first send of a thread opens its sender; later ones use it.
    let send = |worker: Arc<Worker>| {
        let nested = worker.clone();
        set_nested_work(move || {
            // This packet is serialized inside another and does no work itself.
            nested.send_to("billing", &WithWork { number: 1 })?;
            nested.send_to("billing", &Stop)
        });
        for number in 0..3 {
            worker.send_to("billing", &WithWork { number }).unwrap();
        }
        NESTED_WORK.take();
    };
    send(feed.clone());
    assert_eq!(drain(&mut inbox), 9);
    with_timeout(move || send(feed));
    assert_eq!(drain(&mut inbox), 9);
}

#[test]
fn nested_sends_of_two_threads_to_each_others_inbox_do_not_deadlock() {
    let cluster = Cluster::new("across");
    let (_x, mut inbox_x) = cluster.small("x");
    let (_y, mut inbox_y) = cluster.small("y");
    let feed = Arc::new(cluster.join("feed"));
    // Another thread sends first, so the two threads do not own the first sender.
    feed.send_to("x", &Stop).unwrap();
    let meet = Arc::new(Barrier::new(2));
    let threads = [("x", "y"), ("y", "x")].map(|(to, other)| {
        let (worker, nested, meet) = (feed.clone(), feed.clone(), meet.clone());
        thread::spawn(move || {
            with_timeout(move || {
                set_nested_work(move || {
                    meet.wait();
                    nested.send_to(other, &Stop)
                });
                worker.send_to(to, &WithWork { number: 1 }).unwrap();
            });
        })
    });
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!((drain(&mut inbox_x), drain(&mut inbox_y)), (3, 2));
}

#[test]
fn a_blocked_serialization_does_not_block_other_threads() {
    let cluster = Cluster::new("locks");
    let (_billing, mut inbox) = cluster.small("billing");
    let feed = Arc::new(cluster.join("feed"));
    feed.send_to("billing", &Stop).unwrap();
    let (archiving, is_archiving) = mpsc::channel();
    let (resume, resumed) = mpsc::channel::<()>();
    let worker = feed.clone();
    let waiting = thread::spawn(move || {
        set_nested_work(move || {
            archiving.send(()).unwrap();
            let _ = resumed.recv();
            Ok(())
        });
        worker.send_to("billing", &WithWork { number: 1 }).unwrap();
    });
    is_archiving.recv_timeout(LONG).unwrap();
    with_timeout(move || feed.send_to("billing", &Stop).unwrap());
    resume.send(()).unwrap();
    waiting.join().unwrap();
    assert_eq!(drain(&mut inbox), 3);
}

#[test]
fn a_nested_send_does_not_wait_for_room() {
    let cluster = Cluster::new("no-wait");
    let (_billing, mut inbox) = cluster.small("billing");
    let feed = Arc::new(cluster.join("feed"));
    let nested = feed.clone();
    set_nested_work(move || {
        fill(&nested, "billing");
        let error = nested.send_to("billing", &Stop).unwrap_err();
        assert!(matches!(error, SendToError::WouldDeadlock { .. }), "{error}");
        let error = nested.send_to_timeout("billing", &Stop, LONG).unwrap_err();
        assert!(matches!(error, SendToTimeoutError::WouldDeadlock { .. }), "{error}");
        Ok(())
    });
    feed.send_to("billing", &WithWork { number: 1 }).unwrap();
    NESTED_WORK.take();
    assert_eq!(drain(&mut inbox), 4096 / 64);
    feed.send_to("billing", &Stop).unwrap();
    assert_eq!(drain(&mut inbox), 1);
}

#[test]
fn an_inbox_with_room_is_never_full_for_concurrent_threads() {
    let cluster = Cluster::new("try");
    let billing = Worker::builder().inbox_capacity(1 << 20).join(&cluster.0, "billing").unwrap();
    let mut inbox = billing.inbox().unwrap();
    let feed = cluster.join("feed");
    feed.try_send_to("billing", &Stop).unwrap();
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for number in 0..1000 {
                    feed.try_send_to("billing", &Numbered { number }).unwrap();
                }
            });
        }
    });
    assert_eq!(drain(&mut inbox), 8001);
}

#[test]
fn a_waiting_sender_keeps_waiting_when_the_receiver_restarts() {
    const THREADS: u64 = 8;
    let cluster = Cluster::new("restarts");
    let (mut billing, mut inbox) = cluster.small("billing");
    let feed = Arc::new(cluster.join("feed"));
    fill(&feed, "billing");
    let full = inbox.backlog();
    let (begin, begun) = mpsc::channel();
    let waiting: Vec<_> = (0..THREADS)
        .map(|number| {
            let (feed, begin) = (feed.clone(), begin.clone());
            thread::spawn(move || {
                begin.send(this_thread()).unwrap();
                feed.send_to("billing", &Numbered { number })
            })
        })
        .collect();
    begun.iter().take(THREADS as usize).for_each(wait_until_asleep);
    for _ in 0..THREADS {
        drop((billing, inbox));
        (billing, inbox) = cluster.small("billing");
        // Frees room for one more message.
        inbox.try_recv().unwrap().ack();
        wait_until("a waiting sender takes the room", || inbox.backlog() == full);
    }
    for thread in waiting {
        thread.join().unwrap().unwrap();
    }
    assert_eq!(drain(&mut inbox), 4096 / 64);
}

#[test]
fn a_restricted_inbox_rejects_other_types() {
    let cluster = Cluster::new("types");
    let feed = cluster.join("feed");
    let (billing, inbox) = cluster.small("billing");
    feed.send_to("billing", &"before".to_owned()).unwrap();
    drop(inbox);
    let mut inbox = billing.inbox_of::<Work<'static>>().unwrap();
    for _ in 0..3 {
        for error in [
            feed.send_to("billing", &"known".to_owned()).unwrap_err(),
            feed.send_to("billing", &7_u64).unwrap_err(),
        ] {
            let SendToError::TypeRefused(types) = error else { panic!("{error}") };
            let both = types.expected.contains("Numbered (") && types.expected.contains("Stop (");
            assert!(both && !types.expected.contains("String"), "{types:?}");
            assert!(types.found.starts_with("String (") || types.found.starts_with("u64 ("));
        }
        feed.send_to("billing", &Numbered { number: 1 }).unwrap();
        feed.send_to("billing", &Stop).unwrap();
    }
    let message = inbox.try_recv().unwrap();
    assert!(
        message.open::<Work<'_>>().unwrap().is_none(),
        "the message was sent before the restriction"
    );
    message.ack();
    for _ in 0..3 {
        assert_eq!(receive(&mut inbox), 1);
        inbox.try_recv().unwrap().ack();
    }
    assert!(matches!(inbox.try_recv(), Err(TryRecvError::Empty)));
    drop(inbox);
    // A new inbox chooses its types anew.
    let _inbox = billing.inbox().unwrap();
    feed.send_to("billing", &"again".to_owned()).unwrap();
    feed.send_to("billing", &7_u64).unwrap();
}

/// The receiver leaves and joins again with another choice of types. A sender that was attached to
/// the old inbox sends to the new one: of a type that it knows there, of a type that is new to it,
/// by its first thread and by another one.
#[test]
fn a_sender_that_outlives_a_leave_and_rejoin_is_answered_by_the_new_inbox() {
    let cluster = Cluster::new("outlives");
    let feed = cluster.join("feed");
    let restricted = || {
        let billing = cluster.join("billing");
        let inbox = billing.inbox_of::<Work<'static>>().unwrap();
        (billing, inbox)
    };
    let attach = |who: &str| {
        feed.send_to(who, &Numbered { number: 1 }).unwrap();
        let elsewhere = || feed.send_to(who, &Numbered { number: 2 }).unwrap();
        thread::scope(|scope| scope.spawn(elsewhere).join().unwrap());
        let refused = feed.send_to(who, &"refused".to_owned());
        assert!(matches!(refused, Err(SendToError::TypeRefused(_))), "{refused:?}");
    };
    let id = {
        let (billing, _inbox) = restricted();
        attach("billing");
        let id = billing.id();
        billing.leave().unwrap();
        id
    };
    let open = cluster.join("billing");
    let mut inbox = open.inbox().unwrap();
    assert_eq!(open.id(), id);
    // The old ring did not accept the first type, and does not know the second one.
    feed.send_to("billing", &"accepted".to_owned()).unwrap();
    feed.send_to(&id, &7_u8).unwrap();
    thread::scope(|scope| {
        let elsewhere = || {
            feed.send_to("billing", &"accepted".to_owned()).unwrap();
            feed.try_send_to("billing", &7_u16).unwrap();
            feed.send_to_timeout(&id, &7_u32, LONG).unwrap();
        };
        scope.spawn(elsewhere).join().unwrap();
    });
    assert_eq!(drain(&mut inbox), 5);
    drop(inbox);
    open.leave().unwrap();

    // The other way round: the new inbox refuses a type that the old one accepted.
    let (_billing, mut inbox) = restricted();
    let refused = feed.send_to("billing", &"accepted".to_owned());
    assert!(matches!(refused, Err(SendToError::TypeRefused(_))), "{refused:?}");
    feed.send_to("billing", &Stop).unwrap();
    assert_eq!(drain(&mut inbox), 1);
}

// ---- deliveries and dead letters ----

/// Each way to leave a message unacknowledged counts as a delivery; the next message starts at one.
#[test]
fn deliveries_are_counted_over_every_way_to_come_again() {
    let cluster = Cluster::new("counted");
    let (billing, mut inbox) = cluster.small("billing");
    billing.send_to("billing", &Numbered { number: 1 }).unwrap();
    billing.send_to("billing", &Numbered { number: 2 }).unwrap();
    let deliveries = |inbox: &mut Inbox| inbox.try_recv().unwrap().deliveries();
    assert_eq!([(); 3].map(|()| deliveries(&mut inbox)), [1, 2, 3]);
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let message = inbox.recv().unwrap();
        assert_eq!(message.deliveries(), 0, "deliberately wrong expectation");
    }));
    outcome.unwrap_err();
    forget(inbox.recv_timeout(LONG).unwrap());
    assert_eq!(select_timeout(&mut [&mut inbox], LONG), Some(0));
    assert_eq!(select_timeout(&mut [&mut inbox], LONG), Some(0));
    assert_eq!(deliveries(&mut inbox), 6);
    // A select is no delivery.
    assert_eq!(select_timeout(&mut [&mut inbox], LONG), Some(0));
    drop((inbox, billing));
    let (_billing, mut inbox) = cluster.small("billing");
    assert_eq!(deliveries(&mut inbox), 7);
    receive(&mut inbox);
    let message = inbox.try_recv().unwrap();
    assert_eq!((number(&message), message.deliveries()), (2, 1));
    drop(message);
    assert_eq!(deliveries(&mut inbox), 2);
}

#[test]
fn a_killed_workers_deliveries_are_counted() {
    let cluster = Cluster::new("counted-kills");
    let feed = cluster.join("feed");
    let (billing, inbox) = cluster.small("billing");
    feed.send_to("billing", &Numbered { number: 1 }).unwrap();
    drop((billing, inbox));
    for _ in 0..3 {
        let mut peer = cluster.peer("hold", "billing");
        peer.expect("here");
        peer.hear(); // It holds the message.
        peer.kill();
    }
    let (_billing, mut inbox) = cluster.small("billing");
    let message = inbox.try_recv().unwrap();
    assert_eq!((message.deliveries(), message.info().redelivered), (4, true));
    message.ack();
}

/// A worker that gives messages up after two deliveries.
fn impatient(cluster: &Cluster) -> (Worker, Inbox) {
    let builder = Worker::builder().inbox_capacity(4096);
    let builder = builder.max_deliveries(2).dead_letters("undertaker");
    let worker = builder.join(&cluster.0, "billing").unwrap();
    let inbox = worker.inbox().unwrap();
    (worker, inbox)
}

#[test]
fn a_message_that_is_delivered_too_often_becomes_a_dead_letter() {
    let cluster = Cluster::new("dead-letters");
    let feed = cluster.join("feed");
    let (_undertaker, mut letters) = cluster.small("undertaker");
    let (_billing, mut inbox) = impatient(&cluster);
    feed.send_to("billing", &"poison".to_owned()).unwrap();
    feed.send_to("billing", &Numbered { number: 2 }).unwrap();
    for deliveries in [1, 2] {
        assert_eq!(inbox.recv().unwrap().deliveries(), deliveries);
    }
    // The next receive gives it up and goes on; so does a select.
    assert_eq!(select_timeout(&mut [&mut inbox], LONG), Some(0));
    let message = inbox.try_recv().unwrap();
    assert_eq!((number(&message), message.deliveries()), (2, 1));
    drop(message);
    drop(inbox.recv().unwrap());
    assert_eq!(select_timeout(&mut [&mut inbox], SHORT), None);
    assert!(matches!(inbox.try_recv(), Err(TryRecvError::Empty)));
    assert_eq!(inbox.backlog(), 0);

    let letter = letters.try_recv().unwrap();
    assert_eq!(letter.open_as::<String>().unwrap(), "poison");
    assert_eq!((letter.sender(), letter.deliveries()), (feed.id(), 1));
    assert!(letter.is_from(&feed.worker("feed").unwrap()));
    letter.ack();
    assert_eq!(receive(&mut letters), 2);
    assert!(matches!(letters.try_recv(), Err(TryRecvError::Empty)));
}

#[test]
fn a_message_stays_while_its_dead_letter_cannot_be_sent() {
    let cluster = Cluster::new("no-undertaker");
    let feed = cluster.join("feed");
    let (_billing, mut inbox) = impatient(&cluster);
    feed.send_to("billing", &Numbered { number: 1 }).unwrap();
    // Nobody of this name, a worker without an inbox, an inbox of other types, a full inbox.
    let deliveries = |inbox: &mut Inbox| inbox.try_recv().unwrap().deliveries();
    assert_eq!([(); 3].map(|()| deliveries(&mut inbox)), [1, 2, 3]);
    let undertaker = Worker::builder().inbox_capacity(4096).join(&cluster.0, "undertaker").unwrap();
    assert_eq!(deliveries(&mut inbox), 4);
    #[one_of]
    enum Other {
        Stop(Stop),
    }
    let letters = undertaker.inbox_of::<Other<'static>>().unwrap();
    assert_eq!(deliveries(&mut inbox), 5);
    drop(letters);
    let mut letters = undertaker.inbox().unwrap();
    let whole = fill(&feed, "undertaker");
    assert_eq!(deliveries(&mut inbox), 6);
    assert_eq!(drain(&mut letters), whole);
    assert!(matches!(inbox.try_recv(), Err(TryRecvError::Empty)));
    assert_eq!(receive(&mut letters), 1);
    // An undertaker that is away gets letters, too.
    drop((letters, undertaker));
    feed.send_to("billing", &Numbered { number: 2 }).unwrap();
    assert_eq!([(); 2].map(|()| deliveries(&mut inbox)), [1, 2]);
    assert!(matches!(inbox.try_recv(), Err(TryRecvError::Empty)));
    let (_undertaker, mut letters) = cluster.small("undertaker");
    assert_eq!(receive(&mut letters), 2);
}

#[test]
fn dead_letters_need_a_number_and_another_worker() {
    let cluster = Cluster::new("no-letters");
    for builder in [
        Worker::builder().max_deliveries(2),
        Worker::builder().dead_letters("undertaker"),
        Worker::builder().max_deliveries(0).dead_letters("undertaker"),
        Worker::builder().max_deliveries(2).dead_letters("billing"),
    ] {
        let refused = builder.join(&cluster.0, "billing");
        let reason = OpenError::BadSettings { reason: String::new() };
        assert!(
            matches!(&refused, Err(JoinError::Open(error))
                if std::mem::discriminant(error) == std::mem::discriminant(&reason)),
            "{refused:?}"
        );
    }
}

// ---- full inboxes ----

#[test]
fn a_full_inbox_is_reported_and_each_ack_frees_room() {
    let cluster = Cluster::new("full");
    let (billing, mut inbox) = cluster.small("billing");
    let feed = cluster.join("feed");
    let whole = fill(&feed, "billing");
    assert_eq!(whole, 4096 / 64);
    assert_eq!(inbox.backlog(), whole);
    for round in 0..5 {
        let error = feed.try_send_to("billing", &Stop).unwrap_err();
        let own = WaitingFor::Subscriber { pid: std::process::id() };
        assert!(
            matches!(&error, TrySendToError::Full { waiting_for } if waiting_for.reason == own)
        );
        let error = feed.send_to_timeout("billing", &Stop, SHORT).unwrap_err();
        assert!(
            matches!(&error, SendToTimeoutError::Timeout { waiting_for } if waiting_for.reason == own)
        );
        drop(inbox.try_recv().unwrap());
        assert!(matches!(feed.try_send_to(&billing.id(), &Stop), Err(TrySendToError::Full { .. })));
        assert_eq!(receive(&mut inbox), round);
        feed.try_send_to("billing", &Numbered { number: whole + round }).unwrap();
    }
}

#[test]
fn a_full_inbox_of_an_absent_worker_names_its_last_process() {
    let cluster = Cluster::new("away");
    let mut billing = cluster.peer("hold", "billing");
    billing.expect("here");
    let feed = cluster.join("feed");
    fill(&feed, "billing");
    let gone = WaitingFor::Subscriber { pid: billing.pid() };
    billing.kill();
    let error = feed.try_send_to("billing", &Stop).unwrap_err();
    assert!(
        matches!(&error, TrySendToError::Full { waiting_for } if waiting_for.reason == gone),
        "{error}"
    );
    let worker =
        format!("the worker, last in process {}, is slow, stopped, dead or dropped", billing.pid());
    assert!(
        error.to_string().starts_with(&format!("inbox of worker billing full: {worker}")),
        "{error}"
    );
    assert!(error.to_string().contains("Worker::retire"), "{error}");
    let error = feed.send_to_timeout("billing", &Stop, SHORT).unwrap_err();
    assert!(
        matches!(&error, SendToTimeoutError::Timeout { waiting_for } if waiting_for.reason == gone)
    );
    assert!(
        error
            .to_string()
            .starts_with(&format!("inbox of worker billing full until the timeout: {worker}")),
        "{error}"
    );
}

/// Two workers with full inboxes send to each other: the error of each names the other.
#[test]
fn workers_that_wait_for_each_other_are_named() {
    let cluster = Cluster::new("circle");
    let [(one, _one), (two, _two)] = ["one", "two"].map(|name| cluster.small(name));
    fill(&one, "two");
    fill(&two, "one");
    let pid = std::process::id();
    thread::scope(|scope| {
        for (from, to) in [(&one, &two), (&two, &one)] {
            scope.spawn(move || {
                let named = from.send_to_timeout(to.name(), &Stop, SHORT).unwrap_err();
                let SendToTimeoutError::Timeout { waiting_for } = &named else { panic!("{named}") };
                assert_eq!(waiting_for.who, to.name());
                assert_eq!(waiting_for.reason, WaitingFor::Subscriber { pid });
                let said = format!("inbox of worker {} full", to.name());
                assert!(named.to_string().starts_with(&said), "{named}");
                let by_id = from.try_send_to(&to.id(), &Stop).unwrap_err();
                let said = format!("inbox of worker {} full: the worker, last in", to.id());
                assert!(by_id.to_string().starts_with(&said), "{by_id}");
            });
        }
    });
}

#[test]
fn a_waiting_sender_does_not_block_other_threads() {
    let cluster = Cluster::new("room");
    let (_billing, mut inbox) = cluster.small("billing");
    let (_other, mut others) = cluster.small("other");
    let feed = cluster.join("feed");
    let whole = fill(&feed, "billing");
    thread::scope(|scope| {
        let (begin, begun) = mpsc::channel();
        let feed = &feed;
        let waiting = scope.spawn(move || {
            begin.send(this_thread()).unwrap();
            feed.send_to("billing", &Numbered { number: whole })
        });
        wait_until_asleep(begun.recv().unwrap());
        // Other threads of the worker send to other inboxes and see that this one is full.
        for number in 0..100 {
            feed.send_to("other", &Numbered { number }).unwrap();
            assert_eq!(receive(&mut others), number);
            let error = feed.try_send_to("billing", &Stop).unwrap_err();
            assert!(matches!(error, TrySendToError::Full { .. }), "{error}");
        }
        assert!(!waiting.is_finished());
        assert_eq!(receive(&mut inbox), 0);
        waiting.join().unwrap().unwrap();
    });
    for number in 1..=whole {
        assert_eq!(receive(&mut inbox), number);
    }
}

#[test]
fn a_waiting_sender_gets_an_error_when_the_worker_is_retired() {
    let cluster = Cluster::new("retired-wait");
    let (billing, inbox) = cluster.small("billing");
    let feed = cluster.join("feed");
    fill(&feed, "billing");
    drop((billing, inbox));
    thread::scope(|scope| {
        let (begin, begun) = mpsc::channel();
        let feed = &feed;
        let waiting = scope.spawn(move || {
            begin.send(this_thread()).unwrap();
            feed.send_to("billing", &Stop)
        });
        wait_until_asleep(begun.recv().unwrap());
        assert!(!waiting.is_finished());
        assert!(feed.retire("billing").unwrap());
        let error = waiting.join().unwrap().unwrap_err();
        assert!(matches!(error, SendToError::Dead { .. }), "{error}");
    });
}
