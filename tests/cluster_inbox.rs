//! Inboxes: what was sent is handled at least once whatever happens to its receiver, and each way
//! in which it cannot be sent has an error of its own.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod support;

use packetring::cluster::{
    Inbox, Message, SendToError, SendToTimeoutError, TrySendToError, WorkerId, WorkerState,
};
use packetring::rkyv::rancor::{Fallible, Source};
use packetring::rkyv::with::{ArchiveWith, SerializeWith};
use packetring::rkyv::{Archive, Place};
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

/// A packet that says which one it is.
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

/// The peer's side; an empty test unless it was started as one.
#[test]
fn peer() {
    let Some(role) = peer::role() else { return };
    let (cluster, name) = (&role.arguments[0], &role.arguments[1]);
    match role.name.as_str() {
        "stay" => stay(&Worker::join(cluster, name).unwrap()),
        "hold" => hold(cluster, name),
        "handle" => handle(cluster, name, Path::new(&role.arguments[2]), role.number(3)),
        "send" => send(cluster, name, role.number(2)),
        name => panic!("no such role: {name}"),
    }
}

/// Stays until the test is over or it is killed.
fn stay(worker: &Worker) {
    peer::say(&worker.id().to_string());
    while peer::hear().is_some() {}
}

/// Takes a letter into its hand and stays.
fn hold(cluster: &str, name: &str) {
    let worker = Worker::join(cluster, name).unwrap();
    let mut inbox = worker.inbox().unwrap();
    peer::say("here");
    let _letter = inbox.recv().unwrap();
    stay(&worker);
}

/// Sends so many numbered letters to the worker `desk`.
fn send(cluster: &str, name: &str, count: u64) {
    let worker = Worker::join(cluster, name).unwrap();
    peer::say(&worker.id().to_string());
    for number in 0..count {
        worker.send_to("desk", &Numbered { number }).unwrap();
    }
}

/// A cluster that no other test has; what is left of it goes with this value.
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
    /// Everyone must have left: nothing is left then.
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

fn number(letter: &Message<'_>) -> u64 {
    letter.open_as::<Numbered>().unwrap().number.to_native()
}

/// Takes the next letter, which must be there, and acknowledges it.
#[track_caller]
fn take(inbox: &mut Inbox) -> u64 {
    let letter = inbox.try_recv().unwrap();
    let number = number(&letter);
    letter.ack();
    number
}

/// Sends until the inbox is full, and says how many letters it took.
fn fill(worker: &Worker, who: &str) -> u64 {
    (0..).find(|&number| worker.try_send_to(who, &Numbered { number }).is_err()).unwrap()
}

// ---- at least once ----

/// Letters to the worker that is killed.
const LETTERS: u64 = 10_000;
/// How often it is killed and started again.
const KILLS: usize = 50;

/// One line of the ledger: a letter that was handled, and whether it was flagged.
fn entry(number: u64, redelivered: bool) -> [u8; 8] {
    (number << 1 | u64::from(redelivered)).to_le_bytes()
}

fn read_ledger(path: &Path) -> Vec<(u64, bool)> {
    let mut bytes = Vec::new();
    File::open(path).unwrap().read_to_end(&mut bytes).unwrap();
    let words = bytes.chunks_exact(8).map(|word| u64::from_le_bytes(word.try_into().unwrap()));
    words.map(|word| (word >> 1, word & 1 == 1)).collect()
}

/// Takes letters, sometimes letting go of one as faulty programs do, and notes each it has handled
/// in the ledger, in one write, before it is done with it.
fn handle(cluster: &str, name: &str, ledger: &Path, seed: u64) {
    let mut ledger = OpenOptions::new().append(true).open(ledger).unwrap();
    let mut noise = Noise::of(std::process::id(), seed);
    std::panic::set_hook(Box::new(|_| {}));
    let worker = Worker::join(cluster, name).unwrap();
    let mut inbox = worker.inbox().unwrap();
    peer::say("here");
    loop {
        let letter = inbox.recv().unwrap();
        let (number, redelivered) = (number(&letter), letter.info().redelivered);
        match noise.below(100) {
            0 => drop(letter),
            1 => forget(letter),
            2 => {
                let outcome = catch_unwind(AssertUnwindSafe(move || {
                    let _letter = letter;
                    panic!("a handler fails");
                }));
                outcome.unwrap_err();
            }
            _ => {
                work(&mut noise);
                ledger.write_all(&entry(number, redelivered)).unwrap();
                work(&mut noise);
                letter.ack();
            }
        }
    }
}

/// Takes up to 40 µs, so that kills come at any moment of handling.
fn work(noise: &mut Noise) {
    let time = Duration::from_nanos(noise.below(40_000) as u64);
    let started = Instant::now();
    while started.elapsed() < time {
        std::hint::spin_loop();
    }
}

/// The seed of this run: one that is given, or another each time.
fn seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    let given = std::env::var("PACKETRING_TEST_SEED").ok();
    let seed = given.map_or_else(|| RandomState::new().hash_one(0), |seed| seed.parse().unwrap());
    eprintln!("PACKETRING_TEST_SEED={seed}");
    seed
}

#[test]
fn every_letter_to_a_worker_that_is_killed_fifty_times_is_handled() {
    let seed = seed();
    let mut noise = Noise::of(0, seed);
    let cluster = Cluster::new("fifty");
    let path = std::env::temp_dir().join(unique("ledger"));
    File::create(&path).unwrap();
    let noted = || std::fs::metadata(&path).unwrap().len() / 8;
    let role = format!("desk {} {seed}", path.display());
    let mut desk = cluster.peer("handle", &role);
    desk.expect("here");
    let feed = cluster.join("feed");
    thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0..LETTERS {
                feed.send_to_timeout("desk", &Numbered { number }, LONG).unwrap();
            }
        });
        for _ in 0..KILLS {
            // About as many letters between two kills as there are for each.
            let until = noted() + noise.below(2 * LETTERS as usize / (KILLS + 5)) as u64;
            wait_until("letters are handled", || noted() >= until.min(LETTERS));
            work(&mut noise);
            desk.kill();
            desk = cluster.peer("handle", &role);
            desk.expect("here");
        }
    });
    let handled = || read_ledger(&path).iter().map(|&(number, _)| number).max();
    wait_until("the last letter is handled", || handled() == Some(LETTERS - 1));
    desk.kill();
    let ledger = read_ledger(&path);
    std::fs::remove_file(&path).unwrap();
    check(&ledger);
}

/// Every letter was handled, in their order; again only those that were flagged.
fn check(ledger: &[(u64, bool)]) {
    let mut times: HashMap<u64, usize> = HashMap::new();
    let mut next = 0;
    for &(number, redelivered) in ledger {
        let before = times.entry(number).or_default();
        if *before == 0 {
            assert_eq!(number, next, "a letter was not handled, or out of its turn");
            next += 1;
        } else {
            assert!(redelivered, "letter {number} came again and was not flagged");
        }
        *before += 1;
    }
    assert_eq!(next, LETTERS, "letters that were not handled");
    let again = times.values().filter(|&&times| times > 1).count();
    let flagged = ledger.iter().filter(|(_, redelivered)| *redelivered).count();
    eprintln!("{again} letters were handled again, {flagged} were flagged");
    assert!(flagged > 0, "nobody was killed with a letter in hand");
}

#[test]
fn a_letter_that_is_let_go_of_by_a_question_mark_comes_again_until_it_is_done() {
    fn reads_the_wrong_type(inbox: &mut Inbox) -> Result<(), Box<dyn Error>> {
        let letter = inbox.try_recv()?;
        letter.open_as::<Stop>()?;
        letter.ack();
        Ok(())
    }
    let cluster = Cluster::new("question");
    let (desk, mut inbox) = cluster.small("desk");
    desk.send_to("desk", &Numbered { number: 1 }).unwrap();
    desk.send_to("desk", &Numbered { number: 2 }).unwrap();
    assert!(!inbox.try_recv().unwrap().info().redelivered);
    for _ in 0..3 {
        let error = reads_the_wrong_type(&mut inbox).unwrap_err();
        assert!(error.to_string().contains("Numbered"), "{error}");
    }
    let letter = inbox.try_recv().unwrap();
    assert!(letter.info().redelivered);
    assert_eq!(number(&letter), 1);
    letter.ack();
    let letter = inbox.try_recv().unwrap();
    assert_eq!((number(&letter), letter.info().redelivered), (2, false));
    letter.ack();
    assert!(matches!(inbox.try_recv(), Err(TryRecvError::Empty)));
}

#[test]
fn a_letter_that_is_let_go_of_by_a_panic_comes_again() {
    let cluster = Cluster::new("panic");
    let (desk, mut inbox) = cluster.small("desk");
    desk.send_to("desk", &Numbered { number: 1 }).unwrap();
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let letter = inbox.try_recv().unwrap();
        assert_eq!(number(&letter), 2, "as it is wrong to expect");
    }));
    outcome.unwrap_err();
    let letter = inbox.try_recv().unwrap();
    assert_eq!((number(&letter), letter.info().redelivered), (1, true));
    letter.ack();
    assert!(matches!(inbox.try_recv(), Err(TryRecvError::Empty)));
}

#[test]
fn a_letter_that_is_forgotten_comes_again() {
    let cluster = Cluster::new("forgotten");
    let (desk, mut inbox) = cluster.small("desk");
    desk.send_to("desk", &Numbered { number: 1 }).unwrap();
    desk.send_to("desk", &Numbered { number: 2 }).unwrap();
    forget(inbox.try_recv().unwrap());
    let letter = inbox.try_recv().unwrap();
    assert_eq!((number(&letter), letter.info().redelivered), (1, true));
    letter.ack();
    forget(inbox.try_recv().unwrap());
    // Waiting for several is a call, too.
    assert_eq!(select_timeout(&mut [&mut inbox], LONG), Some(0));
    assert_eq!(take(&mut inbox), 2);
    assert_eq!(select_timeout(&mut [&mut inbox], SHORT), None);
}

#[test]
fn a_letter_in_hand_of_an_inbox_that_is_dropped_is_the_next_ones() {
    let cluster = Cluster::new("reopened");
    let (desk, mut inbox) = cluster.small("desk");
    desk.send_to("desk", &Numbered { number: 1 }).unwrap();
    forget(inbox.try_recv().unwrap());
    drop(inbox);
    drop(desk);
    let feed = cluster.join("feed");
    feed.send_to("desk", &Numbered { number: 2 }).unwrap();
    let (_desk, mut inbox) = cluster.small("desk");
    let letter = inbox.try_recv().unwrap();
    assert_eq!((number(&letter), letter.info().redelivered), (1, true));
    letter.ack();
    let letter = inbox.try_recv().unwrap();
    assert_eq!((number(&letter), letter.info().redelivered), (2, false));
    letter.ack();
}

#[test]
fn a_letter_in_hand_of_a_worker_that_is_killed_is_its_successors_with_its_sender() {
    let cluster = Cluster::new("in-hand");
    let mut desk = cluster.peer("hold", "desk");
    desk.expect("here");
    let feed = cluster.join("feed");
    feed.send_to("desk", &Numbered { number: 7 }).unwrap();
    let id = WorkerId(desk.hear().parse().unwrap());
    desk.kill();
    wait_until("it is away", || feed.worker("desk").unwrap().state == WorkerState::Away);
    // By name and by id, to one that is away.
    feed.send_to("desk", &Numbered { number: 8 }).unwrap();
    feed.try_send_to(&id, &Numbered { number: 9 }).unwrap();
    let desk = cluster.join("desk");
    assert_eq!(desk.id(), id);
    let mut inbox = desk.inbox().unwrap();
    for (expected, again) in [(7, true), (8, false), (9, false)] {
        let letter = inbox.try_recv().unwrap();
        assert_eq!((number(&letter), letter.info().redelivered), (expected, again));
        assert_eq!(letter.sender(), feed.id());
        assert_eq!(letter.type_name(), "Numbered");
        letter.ack();
    }
    assert!(matches!(inbox.recv_timeout(SHORT), Err(RecvTimeoutError::Timeout)));
}

// ---- what a letter is ----

#[test]
fn a_letter_is_opened_as_what_it_is_and_its_sender_is_known() {
    let cluster = Cluster::new("opened");
    let (desk, mut inbox) = cluster.small("desk");
    let (one, two) = (cluster.join("one"), cluster.join("two"));
    for round in 0..100 {
        one.send_to("desk", &Numbered { number: round }).unwrap();
        two.send_to(&desk.id(), &Stop).unwrap();
        one.send_to("desk".to_owned().as_str(), &vec![round; 5]).unwrap();
        let letter = inbox.recv().unwrap();
        assert_eq!(letter.sender(), one.id());
        let opened = letter.open().unwrap();
        assert!(matches!(opened, Some(Work::Numbered(numbered)) if numbered.number == round));
        letter.ack();
        let letter = inbox.recv_timeout(LONG).unwrap();
        assert_eq!(letter.sender(), two.id());
        assert!(matches!(letter.open().unwrap(), Some(Work::Stop(_))));
        let error = letter.open_as::<Numbered>().map(drop).unwrap_err();
        assert!(matches!(error, RecvError::TypeMismatch(_)), "{error}");
        letter.ack();
        let letter = inbox.try_recv().unwrap();
        assert!(letter.open::<Work<'_>>().unwrap().is_none());
        assert_eq!(letter.type_name(), "Vec<u64>");
        assert!(letter.open_as::<Vec<u64>>().unwrap().iter().all(|&number| number == round));
        letter.ack();
    }
    assert_eq!(inbox.backlog(), 0);
}

#[test]
fn letters_of_two_senders_come_each_in_their_order() {
    const EACH: u64 = 3000;
    let cluster = Cluster::new("two");
    let (_desk, mut inbox) = cluster.small("desk");
    let mut senders = ["one", "two"].map(|name| cluster.peer("send", &format!("{name} {EACH}")));
    let ids = senders.each_mut().map(|peer| WorkerId(peer.hear().parse().unwrap()));
    assert_ne!(ids[0], ids[1]);
    let mut next: HashMap<WorkerId, u64> = ids.map(|id| (id, 0)).into();
    while next.values().any(|&next| next < EACH) {
        let letter = inbox.recv_timeout(LONG).unwrap();
        let expected = next.get_mut(&letter.sender()).unwrap();
        assert_eq!(number(&letter), *expected);
        *expected += 1;
        letter.ack();
    }
    senders.into_iter().for_each(Peer::finish);
}

#[test]
fn threads_send_through_one_worker_each_in_its_order() {
    const EACH: u64 = 2000;
    const THREADS: u64 = 4;
    let cluster = Cluster::new("threads");
    let (_desk, mut inbox) = cluster.small("desk");
    let feed = cluster.join("feed");
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let feed = &feed;
            scope.spawn(move || {
                for at in 0..EACH {
                    feed.send_to("desk", &Numbered { number: thread << 32 | at }).unwrap();
                }
            });
        }
        let mut next = [0; THREADS as usize];
        for _ in 0..THREADS * EACH {
            let letter = inbox.recv_timeout(LONG).unwrap();
            let number = number(&letter);
            let expected = &mut next[(number >> 32) as usize];
            assert_eq!(number & 0xffff_ffff, *expected);
            *expected += 1;
            letter.ack();
        }
    });
    assert!(matches!(inbox.try_recv(), Err(TryRecvError::Empty)));
}

#[test]
fn an_inbox_has_room_for_all_threads_of_all_workers() {
    const EACH: u64 = 200;
    let cluster = Cluster::new("all-threads");
    let join = |name: &str| Worker::builder().max_workers(5).join(&cluster.0, name).unwrap();
    let desk = join("desk");
    let mut inbox = desk.inbox().unwrap();
    let senders = ["one", "two", "three", "four"].map(join);
    // The first thread of each, which has an endpoint of its own.
    for worker in &senders {
        worker.send_to("desk", &Stop).unwrap();
    }
    thread::scope(|scope| {
        for worker in &senders {
            for _ in 0..4 {
                scope.spawn(move || {
                    for number in 0..EACH {
                        worker.send_to("desk", &Numbered { number }).unwrap();
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
fn a_letter_says_which_of_those_who_had_its_senders_number_sent_it() {
    let cluster = Cluster::new("generation");
    let (desk, mut inbox) = cluster.small("desk");
    let mut senders = Vec::new();
    for _ in 0..3 {
        let feed = cluster.join("feed");
        feed.send_to("desk", &Stop).unwrap();
        senders.push(feed.worker("feed").unwrap());
    }
    for sender in &senders {
        let letter = inbox.try_recv().unwrap();
        assert_eq!(letter.sender(), sender.id);
        let is_from = senders.iter().filter(|worker| letter.is_from(worker)).collect::<Vec<_>>();
        assert_eq!(is_from, [sender]);
        assert!(!letter.is_from(&desk.worker("desk").unwrap()));
        letter.ack();
    }
}

// ---- whom it can be sent to ----

#[test]
fn who_was_never_there_is_unknown() {
    let cluster = Cluster::new("unknown");
    let feed = cluster.join("feed");
    let error = feed.send_to("desk", &Stop).unwrap_err();
    assert!(matches!(error, SendToError::UnknownWorker { who } if who == "desk"));
    let error = feed.try_send_to("desk", &Stop).unwrap_err();
    assert!(matches!(error, TrySendToError::UnknownWorker { who } if who == "desk"));
    let error = feed.send_to_timeout("desk", &Stop, LONG).unwrap_err();
    assert!(matches!(error, SendToTimeoutError::UnknownWorker { who } if who == "desk"));
    for id in [WorkerId(77), WorkerId(u16::MAX)] {
        let error = feed.send_to(&id, &Stop).unwrap_err();
        assert!(matches!(error, SendToError::UnknownWorker { who } if who == id.to_string()));
    }
}

#[test]
fn one_that_lives_without_an_inbox_has_none() {
    let cluster = Cluster::new("none");
    let (feed, desk) = (cluster.join("feed"), cluster.join("desk"));
    let error = feed.send_to("desk", &Stop).unwrap_err();
    assert!(matches!(error, SendToError::NoInbox { who } if who == "desk"));
    let error = feed.send_to(&desk.id(), &Stop).unwrap_err();
    assert!(matches!(error, SendToError::NoInbox { .. }));
    // From then on it has one.
    let mut inbox = desk.inbox().unwrap();
    feed.send_to("desk", &Numbered { number: 3 }).unwrap();
    assert_eq!(take(&mut inbox), 3);
}

#[test]
fn one_that_is_gone_and_not_expected_back_is_dead() {
    let cluster = Cluster::new("dead");
    let feed = cluster.join("feed");
    let mut desk = cluster.peer("stay", "desk");
    let id = WorkerId(desk.hear().parse().unwrap());
    let pid = desk.pid();
    desk.kill();
    for error in [feed.send_to("desk", &Stop).unwrap_err(), feed.send_to(&id, &Stop).unwrap_err()] {
        assert!(matches!(error, SendToError::Dead { pid: found, .. } if found == pid), "{error}");
    }
    // One that left with its inbox, though it was written to before.
    let (other, inbox) = cluster.small("other");
    feed.send_to("other", &Stop).unwrap();
    other.leave().unwrap();
    let error = feed.send_to("other", &Stop).unwrap_err();
    assert!(matches!(error, SendToError::Dead { pid, .. } if pid == std::process::id()));
    drop(inbox);
}

#[test]
fn one_that_is_retired_is_dead_until_it_joins_anew_with_an_empty_inbox() {
    let cluster = Cluster::new("retired");
    let feed = cluster.join("feed");
    let (desk, inbox) = cluster.small("desk");
    for number in 0..5 {
        feed.send_to("desk", &Numbered { number }).unwrap();
    }
    drop((desk, inbox));
    feed.send_to("desk", &Numbered { number: 5 }).unwrap();
    assert!(feed.retire("desk").unwrap());
    let error = feed.send_to("desk", &Stop).unwrap_err();
    assert!(matches!(error, SendToError::Dead { .. }), "{error}");
    let (_desk, mut inbox) = cluster.small("desk");
    assert!(matches!(inbox.try_recv(), Err(TryRecvError::Empty)));
    feed.send_to("desk", &Numbered { number: 6 }).unwrap();
    assert_eq!(take(&mut inbox), 6);
}

#[test]
fn another_worker_at_the_same_desk_gets_no_letters_for_the_one_before() {
    let cluster = Cluster::new("desks");
    let only = || Worker::builder().max_workers(2).inbox_capacity(4096);
    let feed = only().join(&cluster.0, "feed").unwrap();
    let desk = only().join(&cluster.0, "desk").unwrap();
    let (id, inbox) = (desk.id(), desk.inbox().unwrap());
    feed.send_to("desk", &Stop).unwrap();
    feed.send_to(&id, &Stop).unwrap();
    desk.leave().unwrap();
    drop(inbox);
    let other = only().join(&cluster.0, "other").unwrap();
    assert_eq!(other.id(), id);
    let mut inbox = other.inbox().unwrap();
    let error = feed.send_to("desk", &Stop).unwrap_err();
    assert!(matches!(error, SendToError::UnknownWorker { .. }), "{error}");
    feed.send_to(&id, &Numbered { number: 1 }).unwrap();
    feed.send_to("other", &Numbered { number: 2 }).unwrap();
    assert_eq!([take(&mut inbox), take(&mut inbox)], [1, 2]);
    assert!(matches!(inbox.try_recv(), Err(TryRecvError::Empty)));
}

#[test]
fn an_inbox_is_one_ones_in_hand_and_closed_when_its_worker_leaves() {
    let cluster = Cluster::new("one");
    let (desk, mut inbox) = cluster.small("desk");
    let pid = std::process::id();
    let said = format!("inbox of worker desk is open already, in process {pid};");
    let is_open = |outcome: Result<Inbox, OpenError>| {
        let error = outcome.unwrap_err();
        assert!(error.to_string().starts_with(&said), "{error}");
        matches!(error, OpenError::InboxOpen { name, pid: by } if name == "desk" && by == pid)
    };
    assert!(is_open(desk.inbox()));
    // Its worker's being dropped does not close it.
    drop(desk);
    let desk = cluster.join("desk");
    assert!(is_open(desk.inbox()) && is_open(desk.inbox_of::<Work>()));
    desk.send_to("desk", &Numbered { number: 1 }).unwrap();
    desk.leave().unwrap();
    // What is there can still be read.
    assert_eq!(number(&inbox.recv().unwrap()), 1);
    assert_eq!(take(&mut inbox), 1);
    assert!(matches!(inbox.recv(), Err(RecvError::Closed)));
}

#[test]
fn an_inbox_keeps_the_capacity_that_it_was_made_with() {
    let cluster = Cluster::new("capacity");
    drop(cluster.small("desk"));
    let desk = Worker::builder().inbox_capacity(8192).join(&cluster.0, "desk").unwrap();
    let error = desk.inbox().unwrap_err();
    assert!(matches!(
        error,
        OpenError::SettingsMismatch { setting: "capacity", expected, found, .. }
            if (expected.as_str(), found.as_str()) == ("8192", "4096")
    ));
    drop(desk);
    cluster.join("desk").inbox().unwrap();
}

// ---- what can be sent ----

#[packet]
struct Refused {
    #[rkyv(with = Refuses)]
    field: u64,
}

struct Refuses;

impl ArchiveWith<u64> for Refuses {
    type Archived = packetring::rkyv::rend::u64_le;
    type Resolver = ();

    fn resolve_with(field: &u64, (): (), out: Place<Self::Archived>) {
        field.resolve((), out);
    }
}

impl<S: Fallible<Error: Source> + ?Sized> SerializeWith<u64, S> for Refuses {
    fn serialize_with(_: &u64, _: &mut S) -> Result<(), S::Error> {
        Err(S::Error::new(std::fmt::Error))
    }
}

#[test]
fn what_cannot_be_archived_or_never_fits_is_said_to_be_so() {
    let cluster = Cluster::new("fits");
    let (desk, mut inbox) = cluster.small("desk");
    for _ in 0..100 {
        let error = desk.try_send_to("desk", &Refused { field: 1 }).unwrap_err();
        assert!(matches!(error, TrySendToError::Unserializable(_)), "{error}");
        let error = desk.try_send_to("desk", &[0_u8; 2048]).unwrap_err();
        let TrySendToError::TooLarge { needed, limit } = error else { panic!("{error}") };
        assert_eq!((needed, limit), (2048, 2048 - 16));
        // What was given up half-way takes room until it is read over.
        assert!(matches!(inbox.try_recv(), Err(TryRecvError::Empty)));
    }
    desk.try_send_to("desk", &Numbered { number: 4 }).unwrap();
    assert_eq!(take(&mut inbox), 4);
    assert!(matches!(inbox.try_recv(), Err(TryRecvError::Empty)));
}

/// What a packet does while it is archived.
type Doing = Box<dyn FnMut() -> Result<(), SendToError>>;

thread_local! {
    static WITHIN: RefCell<Option<Doing>> = const { RefCell::new(None) };
}

fn within(work: impl FnMut() -> Result<(), SendToError> + 'static) {
    WITHIN.set(Some(Box::new(work)));
}

#[packet]
struct Works {
    #[rkyv(with = WorksWithin)]
    number: u64,
}

struct WorksWithin;

impl ArchiveWith<u64> for WorksWithin {
    type Archived = packetring::rkyv::rend::u64_le;
    type Resolver = ();

    fn resolve_with(number: &u64, (): (), out: Place<Self::Archived>) {
        number.resolve((), out);
    }
}

impl<S: Fallible<Error: Source> + ?Sized> SerializeWith<u64, S> for WorksWithin {
    fn serialize_with(_: &u64, _: &mut S) -> Result<(), S::Error> {
        // Taken out for as long: what it sends may do work, too.
        let Some(mut work) = WITHIN.take() else { return Ok(()) };
        let outcome = work();
        WITHIN.set(Some(work));
        outcome.map_err(S::Error::new)
    }
}

/// Runs it on a thread that may hang.
fn in_time<R: Send + 'static>(work: impl FnOnce() -> R + Send + 'static) -> R {
    let (done, is_done) = mpsc::channel();
    let thread = thread::spawn(move || done.send(work()).unwrap());
    let outcome = is_done.recv_timeout(LONG).expect("it waits for itself, or for another");
    thread.join().unwrap();
    outcome
}

fn drain(inbox: &mut Inbox) -> u64 {
    let mut count = 0;
    while let Ok(letter) = inbox.try_recv() {
        letter.ack();
        count += 1;
    }
    count
}

#[test]
fn a_packet_may_send_letters_while_it_is_archived_on_any_thread() {
    let cluster = Cluster::new("within");
    let (_desk, mut inbox) = cluster.small("desk");
    let feed = Arc::new(cluster.join("feed"));
    // Slowly at first, then with endpoints that are there.
    let send = |worker: Arc<Worker>| {
        let nested = worker.clone();
        within(move || {
            // One of them is archived within this one, and does no work.
            nested.send_to("desk", &Works { number: 1 })?;
            nested.send_to("desk", &Stop)
        });
        for number in 0..3 {
            worker.send_to("desk", &Works { number }).unwrap();
        }
        WITHIN.take();
    };
    send(feed.clone());
    assert_eq!(drain(&mut inbox), 9);
    in_time(move || send(feed));
    assert_eq!(drain(&mut inbox), 9);
}

#[test]
fn packets_of_two_threads_may_send_to_where_the_other_goes() {
    let cluster = Cluster::new("across");
    let (_x, mut in_x) = cluster.small("x");
    let (_y, mut in_y) = cluster.small("y");
    let feed = Arc::new(cluster.join("feed"));
    // The first thread is another.
    feed.send_to("x", &Stop).unwrap();
    let meet = Arc::new(Barrier::new(2));
    let threads = [("x", "y"), ("y", "x")].map(|(to, other)| {
        let (worker, nested, meet) = (feed.clone(), feed.clone(), meet.clone());
        thread::spawn(move || {
            in_time(move || {
                within(move || {
                    meet.wait();
                    nested.send_to(other, &Stop)
                });
                worker.send_to(to, &Works { number: 1 }).unwrap();
            });
        })
    });
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!((drain(&mut in_x), drain(&mut in_y)), (3, 2));
}

#[test]
fn no_thread_waits_for_what_anothers_packet_waits_for() {
    let cluster = Cluster::new("locks");
    let (_desk, mut inbox) = cluster.small("desk");
    let feed = Arc::new(cluster.join("feed"));
    feed.send_to("desk", &Stop).unwrap();
    let (archiving, is_archiving) = mpsc::channel();
    let (go_on, may_go_on) = mpsc::channel::<()>();
    let worker = feed.clone();
    let waiting = thread::spawn(move || {
        within(move || {
            archiving.send(()).unwrap();
            let _ = may_go_on.recv();
            Ok(())
        });
        worker.send_to("desk", &Works { number: 1 }).unwrap();
    });
    is_archiving.recv_timeout(LONG).unwrap();
    in_time(move || feed.send_to("desk", &Stop).unwrap());
    go_on.send(()).unwrap();
    waiting.join().unwrap();
    assert_eq!(drain(&mut inbox), 3);
}

#[test]
fn a_letter_within_a_letter_does_not_wait_for_room() {
    let cluster = Cluster::new("no-wait");
    let (_desk, mut inbox) = cluster.small("desk");
    let feed = Arc::new(cluster.join("feed"));
    let nested = feed.clone();
    within(move || {
        fill(&nested, "desk");
        let error = nested.send_to("desk", &Stop).unwrap_err();
        assert!(matches!(error, SendToError::WouldDeadlock { .. }), "{error}");
        let error = nested.send_to_timeout("desk", &Stop, LONG).unwrap_err();
        assert!(matches!(error, SendToTimeoutError::WouldDeadlock { .. }), "{error}");
        Ok(())
    });
    feed.send_to("desk", &Works { number: 1 }).unwrap();
    WITHIN.take();
    assert_eq!(drain(&mut inbox), 4096 / 64);
    feed.send_to("desk", &Stop).unwrap();
    assert_eq!(drain(&mut inbox), 1);
}

#[test]
fn an_inbox_with_room_is_not_full_however_many_threads_try() {
    let cluster = Cluster::new("try");
    let desk = Worker::builder().inbox_capacity(1 << 20).join(&cluster.0, "desk").unwrap();
    let mut inbox = desk.inbox().unwrap();
    let feed = cluster.join("feed");
    feed.try_send_to("desk", &Stop).unwrap();
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for number in 0..1000 {
                    feed.try_send_to("desk", &Numbered { number }).unwrap();
                }
            });
        }
    });
    assert_eq!(drain(&mut inbox), 8001);
}

#[test]
fn who_waits_for_room_goes_on_waiting_when_the_receiver_restarts() {
    const THREADS: u64 = 8;
    let cluster = Cluster::new("restarts");
    let (mut desk, mut inbox) = cluster.small("desk");
    let feed = Arc::new(cluster.join("feed"));
    fill(&feed, "desk");
    let (begin, begun) = mpsc::channel();
    let waiting: Vec<_> = (0..THREADS)
        .map(|number| {
            let (feed, begin) = (feed.clone(), begin.clone());
            thread::spawn(move || {
                begin.send(this_thread()).unwrap();
                feed.send_to("desk", &Numbered { number })
            })
        })
        .collect();
    begun.iter().take(THREADS as usize).for_each(wait_until_asleep);
    for _ in 0..THREADS {
        drop((desk, inbox));
        (desk, inbox) = cluster.small("desk");
        // It has room for one more.
        inbox.try_recv().unwrap().ack();
        thread::sleep(SHORT);
    }
    for thread in waiting {
        thread.join().unwrap().unwrap();
    }
    assert_eq!(drain(&mut inbox), 4096 / 64);
}

#[test]
fn an_inbox_of_some_types_refuses_others_also_those_it_knows() {
    let cluster = Cluster::new("types");
    let feed = cluster.join("feed");
    let (desk, inbox) = cluster.small("desk");
    feed.send_to("desk", &"before".to_owned()).unwrap();
    drop(inbox);
    let mut inbox = desk.inbox_of::<Work<'static>>().unwrap();
    for _ in 0..3 {
        for error in [
            feed.send_to("desk", &"known".to_owned()).unwrap_err(),
            feed.send_to("desk", &7_u64).unwrap_err(),
        ] {
            let SendToError::TypeRefused(types) = error else { panic!("{error}") };
            let both = types.expected.contains("Numbered (") && types.expected.contains("Stop (");
            assert!(both && !types.expected.contains("String"), "{types:?}");
            assert!(types.found.starts_with("String (") || types.found.starts_with("u64 ("));
        }
        feed.send_to("desk", &Numbered { number: 1 }).unwrap();
        feed.send_to("desk", &Stop).unwrap();
    }
    let letter = inbox.try_recv().unwrap();
    assert!(letter.open::<Work<'_>>().unwrap().is_none(), "it was sent before");
    letter.ack();
    for _ in 0..3 {
        assert_eq!(take(&mut inbox), 1);
        inbox.try_recv().unwrap().ack();
    }
    assert!(matches!(inbox.try_recv(), Err(TryRecvError::Empty)));
    drop(inbox);
    // The next one says anew what it takes.
    let _inbox = desk.inbox().unwrap();
    feed.send_to("desk", &"again".to_owned()).unwrap();
    feed.send_to("desk", &7_u64).unwrap();
}

// ---- when it is full ----

#[test]
fn a_full_inbox_is_visible_and_has_room_for_each_letter_that_is_done() {
    let cluster = Cluster::new("full");
    let (desk, mut inbox) = cluster.small("desk");
    let feed = cluster.join("feed");
    let whole = fill(&feed, "desk");
    assert_eq!(whole, 4096 / 64);
    assert_eq!(inbox.backlog(), whole);
    for round in 0..5 {
        let error = feed.try_send_to("desk", &Stop).unwrap_err();
        let own = WaitingFor::Subscriber { pid: std::process::id() };
        assert!(matches!(error, TrySendToError::Full { waiting_for } if waiting_for == own));
        let error = feed.send_to_timeout("desk", &Stop, SHORT).unwrap_err();
        assert!(matches!(error, SendToTimeoutError::Timeout { waiting_for } if waiting_for == own));
        drop(inbox.try_recv().unwrap());
        assert!(matches!(feed.try_send_to(&desk.id(), &Stop), Err(TrySendToError::Full { .. })));
        assert_eq!(take(&mut inbox), round);
        feed.try_send_to("desk", &Numbered { number: whole + round }).unwrap();
    }
}

#[test]
fn a_full_inbox_of_one_that_is_away_says_which_process_it_lived_in() {
    let cluster = Cluster::new("away");
    let mut desk = cluster.peer("hold", "desk");
    desk.expect("here");
    let feed = cluster.join("feed");
    fill(&feed, "desk");
    let gone = WaitingFor::Subscriber { pid: desk.pid() };
    desk.kill();
    let error = feed.try_send_to("desk", &Stop).unwrap_err();
    assert!(
        matches!(error, TrySendToError::Full { waiting_for } if waiting_for == gone),
        "{error}"
    );
    let worker = format!("its worker, last in process {}, is slow, stopped or gone", desk.pid());
    assert!(error.to_string().starts_with(&format!("inbox full: {worker}")), "{error}");
    assert!(error.to_string().contains("Worker::retire"), "{error}");
    let error = feed.send_to_timeout("desk", &Stop, SHORT).unwrap_err();
    assert!(matches!(error, SendToTimeoutError::Timeout { waiting_for } if waiting_for == gone));
    assert!(
        error.to_string().starts_with(&format!("inbox full until the timeout: {worker}")),
        "{error}"
    );
}

#[test]
fn who_waits_for_room_goes_on_when_there_is_some_and_stops_nobody_else() {
    let cluster = Cluster::new("room");
    let (_desk, mut inbox) = cluster.small("desk");
    let (_other, mut others) = cluster.small("other");
    let feed = cluster.join("feed");
    let whole = fill(&feed, "desk");
    thread::scope(|scope| {
        let (begin, begun) = mpsc::channel();
        let feed = &feed;
        let waiting = scope.spawn(move || {
            begin.send(this_thread()).unwrap();
            feed.send_to("desk", &Numbered { number: whole })
        });
        wait_until_asleep(begun.recv().unwrap());
        // The worker's other threads send to others, and are told that this one is full.
        for number in 0..100 {
            feed.send_to("other", &Numbered { number }).unwrap();
            assert_eq!(take(&mut others), number);
            let error = feed.try_send_to("desk", &Stop).unwrap_err();
            assert!(matches!(error, TrySendToError::Full { .. }), "{error}");
        }
        assert!(!waiting.is_finished());
        assert_eq!(take(&mut inbox), 0);
        waiting.join().unwrap().unwrap();
    });
    for number in 1..=whole {
        assert_eq!(take(&mut inbox), number);
    }
}

#[test]
fn who_waits_for_one_that_is_retired_is_told_that_it_is_dead() {
    let cluster = Cluster::new("told");
    let (desk, inbox) = cluster.small("desk");
    let feed = cluster.join("feed");
    fill(&feed, "desk");
    drop((desk, inbox));
    thread::scope(|scope| {
        let (begin, begun) = mpsc::channel();
        let feed = &feed;
        let waiting = scope.spawn(move || {
            begin.send(this_thread()).unwrap();
            feed.send_to("desk", &Stop)
        });
        wait_until_asleep(begun.recv().unwrap());
        assert!(!waiting.is_finished());
        assert!(feed.retire("desk").unwrap());
        let error = waiting.join().unwrap().unwrap_err();
        assert!(matches!(error, SendToError::Dead { .. }), "{error}");
    });
}
