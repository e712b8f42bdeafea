//! A thousand endpoints in one process, awaited and dropped at random, while tasks of this process
//! and other processes publish. Each of the other processes is killed.
//!
//! The readers have a process of their own, which counts its descriptors and threads before and
//! after. A publisher's process records each packet in a file once it is committed.

use super::{LONG, serve_one, threads, unique, wait_until};
use futures_util::FutureExt as _;
use futures_util::future::{Either, select};
use packetring::cluster::{Client, Service};
use packetring::{RecvError, Ring, RingBuilder, Subscriber, Worker};
use std::ffi::OsString;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::FileExt as _;
use std::pin::pin;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

const RINGS: usize = 25;
const READERS: usize = 40;
/// Packets of each publisher in the process of the readers: one for each ring.
const PACKETS: u64 = 400;
/// Other processes, and the rings of each: three publishers more for each ring.
const PROCESSES: usize = 15;
const RINGS_OF_EACH: usize = 5;

const ROLE: &str = "PACKETRING_EXECUTORS_ROLE";

/// This test binary again, in another process.
fn start(role: &str) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["stress::peer", "--exact", "--nocapture"]).env(ROLE, role);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap()
}

/// The other processes. An empty test, unless this process was started as one.
#[test]
fn peer() {
    let Ok(role) = std::env::var(ROLE) else { return };
    // It does not outlive the process that started it.
    std::thread::spawn(|| {
        let _ = std::io::stdin().read(&mut [0]);
        std::process::exit(1);
    });
    match role.split(' ').collect::<Vec<_>>()[..] {
        ["readers"] => read(),
        ["calls"] => call(),
        ["closed"] => super::handover::close_descriptors(),
        ["publisher", path, process, ref rings @ ..] => {
            publish(path, process.parse().unwrap(), rings);
        }
        _ => panic!("no such role: {role}"),
    }
}

/// Runs a test in a process of its own.
#[track_caller]
pub(super) fn run(role: &str) {
    let mut child = start(role);
    // A wait would close it.
    let _input = child.stdin.take();
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_thousand_readers_with_random_cancellations_and_kills_lose_nothing() {
    run("readers");
}

#[test]
fn calls_of_a_client_share_one_thread_behind_tasks() {
    run("calls");
}

/// The threads behind the tasks of this process.
fn reactors() -> Vec<OsString> {
    threads("packetring-wait")
}

fn call() {
    let worker = Worker::join(&unique("calls"), "both").unwrap();
    let mut service: Service<u64, u64> = worker.service("double").unwrap();
    let client: Client<u64, u64> = worker.client("double").unwrap();
    let mut first = None;
    for number in 0..50 {
        let mut calling = Box::pin(client.call_async(&number));
        assert!((&mut calling).now_or_never().is_none());
        serve_one(service.recv().unwrap());
        assert_eq!(*pollster::block_on(calling).unwrap(), 2 * number);
        // A thread has its name some time after its start.
        wait_until("one thread", || reactors().len() == 1);
        assert_eq!(*first.get_or_insert_with(reactors), reactors(), "after {number} calls");
    }
    drop(client);
    wait_until("no thread is left", || reactors().is_empty());
}

/// A packet: its publisher, and its number there.
type Numbered = (u64, u64);

fn settings() -> RingBuilder {
    Ring::builder().capacity(1 << 14).max_subscribers(READERS)
}

/// The place of a publisher's count in the file.
fn place(process: usize, own: usize) -> u64 {
    ((process * (RINGS_OF_EACH + 1) + own) * 8) as u64
}

/// In place of a publisher: 1 once all publishers of the process have joined.
const JOINED: usize = RINGS_OF_EACH;

fn ring_of(process: usize, own: usize) -> usize {
    (process * RINGS_OF_EACH + own) % RINGS
}

/// Publishes until it is killed.
fn publish(path: &str, process: usize, rings: &[&str]) {
    let counts = File::options().write(true).open(path).unwrap();
    let join = |name: &&str| settings().open(name).unwrap().publisher::<Numbered>().unwrap();
    let mut publishers: Vec<_> = rings.iter().map(join).collect();
    counts.write_all_at(&1_u64.to_ne_bytes(), place(process, JOINED)).unwrap();
    for number in 0_u64.. {
        for (own, publisher) in publishers.iter_mut().enumerate() {
            publisher.send(&(process as u64, number)).unwrap();
            counts.write_all_at(&(number + 1).to_ne_bytes(), place(process, own)).unwrap();
        }
    }
}

/// Open descriptors of this process, and its threads.
fn held() -> (usize, usize) {
    let count = |path| std::fs::read_dir(path).unwrap().count();
    (count("/proc/self/fd"), count("/proc/self/task"))
}

fn next_noise(noise: &mut u64) -> u64 {
    *noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
    *noise >> 32
}

/// How many packets of each publisher came, all in order. Ends when the ring does.
async fn receive_all(seed: u64, mut reader: Subscriber<Numbered>) -> [u64; PROCESSES + 1] {
    let (mut next, mut noise) = ([0; PROCESSES + 1], seed);
    loop {
        let received = if next_noise(&mut noise).is_multiple_of(4) {
            // Dropped after one poll, or when the time is over.
            let short = tokio::time::sleep(Duration::from_micros(next_noise(&mut noise) % 256));
            let receiving = pin!(reader.recv_async());
            match select(receiving, pin!(short)).await {
                Either::Left((received, _)) => received,
                Either::Right(_) => continue,
            }
        } else {
            reader.recv_async().await
        };
        match received {
            Ok(packet) => {
                let next = &mut next[packet.0.to_native() as usize];
                assert_eq!(packet.1, *next);
                *next += 1;
            }
            Err(RecvError::Closed) => return next,
            Err(error) => panic!("{error}"),
        }
    }
}

fn read() {
    // The first runtime may open what the process keeps, as tokio's driver of signals does.
    drop(tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap());
    let before = held();
    let names: Vec<String> = (0..RINGS).map(|_| unique("stress")).collect();
    let rings: Vec<Ring> = names.iter().map(|name| settings().open(name).unwrap()).collect();
    let readers: Vec<Subscriber<Numbered>> =
        (0..RINGS * READERS).map(|number| rings[number / READERS].subscriber().unwrap()).collect();
    let publishers: Vec<_> = rings.iter().map(|it| it.publisher::<Numbered>().unwrap()).collect();
    drop(rings);
    let path = std::env::temp_dir().join(unique("stress-counts"));
    let counts = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
    counts.set_len(place(PROCESSES, 0)).unwrap();
    let counts = Arc::new(counts);
    let count = {
        let counts = Arc::clone(&counts);
        move |process, own| {
            let mut bytes = [0; 8];
            counts.read_exact_at(&mut bytes, place(process, own)).unwrap();
            u64::from_ne_bytes(bytes)
        }
    };
    let count_all = |process| (0..RINGS_OF_EACH).map(|own| count(process, own)).sum::<u64>();
    let mut processes: Vec<Child> = (0..PROCESSES)
        .map(|process| {
            let own = (0..RINGS_OF_EACH).map(|own| &*names[ring_of(process, own)]);
            let own = own.collect::<Vec<_>>().join(" ");
            start(&format!("publisher {} {process} {own}", path.display()))
        })
        .collect();
    wait_until("all publishers have joined", || {
        (0..PROCESSES).all(|process| count(process, JOINED) == 1)
    });
    std::fs::remove_file(&path).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let outcomes: Vec<[u64; PROCESSES + 1]> = runtime.block_on(async {
        for mut publisher in publishers {
            tokio::spawn(async move {
                for number in 0..PACKETS {
                    publisher.send_async(&(PROCESSES as u64, number)).await.unwrap();
                    if number % 64 == 0 {
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }
                }
            });
        }
        let reading: Vec<_> = readers
            .into_iter()
            .enumerate()
            .map(|(seed, reader)| tokio::spawn(receive_all(seed as u64, reader)))
            .collect();
        let mut noise = 7;
        for (process, child) in processes.iter_mut().enumerate() {
            let enough = 100 + next_noise(&mut noise) % 400;
            let started = Instant::now();
            while count_all(process) < enough {
                assert!(started.elapsed() < 4 * LONG, "a publisher does not go on");
                tokio::time::sleep(Duration::from_micros(100)).await;
            }
            child.kill().unwrap();
            child.wait().unwrap();
        }
        let mut outcomes = Vec::new();
        for one in reading {
            outcomes.push(tokio::time::timeout(4 * LONG, one).await.unwrap().unwrap());
        }
        outcomes
    });
    for (ring, of_ring) in outcomes.chunks(READERS).enumerate() {
        assert_eq!(of_ring[0][PROCESSES], PACKETS);
        assert!(of_ring.iter().all(|one| one == &of_ring[0]), "readers of ring {ring} differ");
        for (process, &received) in of_ring[0][..PROCESSES].iter().enumerate() {
            let own = (0..RINGS_OF_EACH).find(|&own| ring_of(process, own) == ring);
            let committed = own.map_or(0, |own| count(process, own));
            // Killed between the commit and the record of it, at most once.
            assert!(
                received == committed || own.is_some() && received == committed + 1,
                "ring {ring}: {committed} committed by process {process}, {received} received"
            );
        }
    }
    drop((runtime, processes, count, counts));
    wait_until("no descriptor and no thread is left", || held() == before);
}
