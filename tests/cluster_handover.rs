//! Rolling restarts: a worker drains while its successor waits for its name. Of the messages, jobs
//! and calls that are under way, nothing is lost and nothing is repeated.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod support;

use packetring::cluster::{Delivery, Request, ServiceRecvError, TryServiceRecvError};
use packetring::{RecvError, RecvTimeoutError, TryRecvError, Worker, select, try_select};
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use support::peer::{self, Peer};
use support::{LONG, Watch, unique, wait_until};

/// Messages, jobs and calls, each.
const COUNT: u64 = 600;
/// Messages of one slot that fill half of an inbox of 8 KiB.
const MESSAGES: u64 = 64;

/// Entry point of the child processes; does nothing without a role.
#[test]
fn peer() {
    let Some(role) = peer::role() else { return };
    let [cluster, path] = &role.arguments[..] else { panic!("{role:?}") };
    serve(cluster, Path::new(path));
}

/// Serves messages, jobs and requests until it is told to drain. Notes each one.
fn serve(cluster: &str, path: &Path) {
    let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
    let mut note = |kind: &str, number: u64, redelivered: bool| {
        let flag = if redelivered { "again" } else { "once" };
        file.write_all(format!("{kind} {number} {flag}\n").as_bytes()).unwrap();
    };
    peer::say("waits");
    let worker = Worker::builder().wait_for_name(LONG).join(cluster, "shop").unwrap();
    let mut inbox = worker.inbox().unwrap();
    let mut jobs = worker.queue::<u64>("jobs").unwrap();
    let mut service = worker.service::<u64, u64>("double").unwrap();
    peer::say("serves");
    thread::scope(|scope| {
        scope.spawn(|| {
            peer::hear();
            worker.drain();
        });
        let mut open = [true; 3];
        while open != [false; 3] {
            let which = if worker.is_draining() {
                open.iter().position(|open| *open).unwrap()
            } else {
                select(&mut [&mut inbox, &mut jobs, &mut service])
            };
            match which {
                0 => match inbox.try_recv() {
                    Ok(message) => {
                        let number = message.open_as::<u64>().unwrap().to_native();
                        note("message", number, message.info().redelivered);
                        message.ack();
                    }
                    Err(TryRecvError::Empty) => {}
                    Err(TryRecvError::Closed) => open[0] = false,
                    Err(error) => panic!("{error}"),
                },
                1 => match jobs.try_recv() {
                    Ok(job) => {
                        note("job", job.to_native(), Delivery::info(&job).redelivered);
                        Delivery::ack(job);
                    }
                    Err(TryRecvError::Empty) => {}
                    Err(TryRecvError::Closed) => open[1] = false,
                    Err(error) => panic!("{error}"),
                },
                _ => match service.try_recv() {
                    Ok(request) => {
                        let number = request.to_native();
                        note("call", number, false);
                        Request::reply(request, &(number * 2)).unwrap();
                    }
                    Err(TryServiceRecvError::Empty) => {}
                    Err(TryServiceRecvError::Closed) => open[2] = false,
                    Err(error) => panic!("{error}"),
                },
            }
        }
    });
    drop((inbox, jobs));
    drop(worker);
    peer::say("handed over");
    let found = service.hand_over(LONG);
    peer::say(if found { "found a successor" } else { "found none" });
}

fn notes(cluster: &str) -> PathBuf {
    std::env::temp_dir().join(format!("packetring-{cluster}"))
}

#[test]
fn workers_that_overlap_lose_and_repeat_nothing() {
    let _watch = Watch::start();
    let cluster = unique("handover");
    let path = notes(&cluster);
    let start = || {
        let mut peer = Peer::start(&format!("serve {cluster} {}", path.display()));
        peer.expect("waits");
        peer
    };
    let feed = Worker::join(&cluster, "feed").unwrap();
    let mut first = start();
    first.expect("serves");
    feed.wait_for_inbox_timeout("shop", LONG).unwrap();
    let handed_over = AtomicBool::new(false);
    // Each sends until it has sent all, and at least until the last worker has taken over.
    let last = |sent: u64| sent >= COUNT && handed_over.load(Relaxed);
    let (sent, mut current) = thread::scope(|scope| {
        let mut current = first;
        let (feed, last) = (&feed, &last);
        let messages = scope.spawn(move || {
            (0..).find(|number| {
                feed.send_to("shop", number).unwrap();
                last(*number)
            })
        });
        let jobs = scope.spawn(move || {
            let mut jobs = feed.queue_publisher::<u64>("jobs").unwrap();
            (0..).find(|number| {
                jobs.send(number).unwrap();
                last(*number)
            })
        });
        let calls = scope.spawn(move || {
            let client = feed.client::<u64, u64>("double").unwrap();
            (0..).find(|number| {
                let reply = client.call_timeout(number, LONG);
                assert_eq!(reply.map(|reply| reply.to_native()).unwrap(), number * 2);
                last(*number)
            })
        });
        for _ in 0..4 {
            // Both processes overlap: the successor waits for the name.
            let mut successor = start();
            current.tell("drain");
            current.expect("handed over");
            successor.expect("serves");
            current.expect("found a successor");
            current.finish();
            current = successor;
        }
        handed_over.store(true, Relaxed);
        ([messages, jobs, calls].map(|thread| thread.join().unwrap().unwrap()), current)
    });
    let mut expected: Vec<String> = Vec::new();
    for (kind, last) in ["message", "job", "call"].into_iter().zip(sent) {
        expected.extend((0..=last).map(|number| format!("{kind} {number} once")));
    }
    let read = || -> Vec<String> {
        std::fs::read_to_string(&path).unwrap().lines().map(str::to_owned).collect()
    };
    wait_until("all are handled", || read().len() >= expected.len());
    let mut found = read();
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
    current.kill();
    std::fs::remove_file(&path).unwrap();
    feed.retire("shop").unwrap();
}

#[test]
fn a_worker_that_drains_takes_nothing_new_and_finishes_what_it_holds() {
    let _watch = Watch::start();
    let cluster = unique("drain");
    let worker = Worker::builder().inbox_capacity(8192).join(&cluster, "shop").unwrap();
    let other = Worker::join(&cluster, "other").unwrap();
    let mut inbox = worker.inbox().unwrap();
    let mut jobs = worker.queue::<u64>("jobs").unwrap();
    let mut service = worker.service::<u64, u64>("double").unwrap();
    let client = other.client::<u64, u64>("double").unwrap();
    let mut publisher = other.queue_publisher::<u64>("jobs").unwrap();
    // More than an eighth of the inbox.
    (0..MESSAGES).for_each(|number| other.send_to("shop", &number).unwrap());
    (0..2).for_each(|number| _ = publisher.send(&number).unwrap());
    let mut calls = [client.start(&1).unwrap(), client.start(&2).unwrap()];
    let (message, job, request) =
        (inbox.recv().unwrap(), jobs.recv().unwrap(), service.recv().unwrap());
    assert!(!worker.is_draining());
    worker.drain();
    assert!(worker.is_draining() && !other.is_draining());
    // What it holds can be finished.
    message.ack();
    Delivery::ack(job);
    Request::reply(request, &2).unwrap();
    assert_eq!(calls[0].wait_timeout(LONG).unwrap().to_native(), 2);
    // Nothing new, in any form, although it is there. The inbox returns an eighth of its size
    // first.
    let mut next = 1;
    while let Ok(message) = inbox.recv() {
        assert_eq!(message.open_as::<u64>().unwrap().to_native(), next);
        message.ack();
        next += 1;
    }
    assert!(next <= 1 + MESSAGES / 4, "{next} messages before the end");
    for _ in 0..2 {
        assert!(matches!(inbox.recv(), Err(RecvError::Closed)));
        assert!(matches!(inbox.try_recv(), Err(TryRecvError::Closed)));
        assert!(matches!(inbox.recv_timeout(LONG), Err(RecvTimeoutError::Closed)));
        assert!(matches!(jobs.recv(), Err(RecvError::Closed)));
        assert!(matches!(jobs.try_recv(), Err(TryRecvError::Closed)));
        assert!(matches!(service.recv(), Err(ServiceRecvError::Closed)));
        assert!(matches!(service.try_recv(), Err(TryServiceRecvError::Closed)));
        for text in [
            inbox.recv().map(drop).unwrap_err().to_string(),
            jobs.try_recv().map(drop).unwrap_err().to_string(),
            service.recv().map(drop).unwrap_err().to_string(),
            service.recv_timeout(LONG).map(drop).unwrap_err().to_string(),
        ] {
            assert!(text.contains("the worker drains"), "{text}");
        }
        assert!(try_select(&mut [&mut inbox]).is_some());
        assert!(try_select(&mut [&mut jobs]).is_some());
        assert!(try_select(&mut [&mut service]).is_some());
    }
    // Endpoints of another worker of the process are not affected.
    let mut others = other.queue::<u64>("jobs").unwrap();
    let job = others.recv_timeout(LONG).unwrap();
    assert_eq!((job.to_native(), Delivery::info(&job).redelivered), (1, false));
    Delivery::ack(job);
    // The rest goes to the successor, unflagged.
    drop((inbox, jobs));
    drop(worker);
    let successor = Worker::join(&cluster, "shop").unwrap();
    let mut inbox = successor.inbox().unwrap();
    let message = inbox.recv().unwrap();
    assert_eq!(message.open_as::<u64>().unwrap().to_native(), next);
    assert!(!message.info().redelivered);
    message.ack();
    assert!(!service.hand_over(support::SHORT));
    drop(inbox);
    successor.leave().unwrap();
}

/// Two servers that hand over at once do not take each other for successors.
#[test]
fn two_servers_that_hand_over_at_once_wait_for_a_third() {
    let _watch = Watch::start();
    let cluster = unique("handover-both");
    let join = |name| Worker::join(&cluster, name).unwrap();
    let (a, b, c, feed) = (join("a"), join("b"), join("c"), join("feed"));
    let serve = |worker: &Worker| worker.service::<u64, u64>("double").unwrap();
    // Most rounds begin while both are still there.
    for round in 0..20 {
        let (services, start) = ([&a, &b].map(serve), std::sync::Barrier::new(2));
        let client = feed.client::<u64, u64>("double").unwrap();
        let (tell, told) = std::sync::mpsc::channel();
        thread::scope(|scope| {
            for service in services {
                let (tell, start) = (tell.clone(), &start);
                scope.spawn(move || {
                    start.wait();
                    tell.send(service.hand_over(LONG)).unwrap();
                });
            }
            drop(tell);
            let call = client.start(&round).unwrap();
            // One may have left while the other one still served.
            let first = told.recv_timeout(support::SHORT);
            let second = told.recv_timeout(support::SHORT);
            assert!(first.is_err() || second.is_err(), "both have left");
            let mut successor = serve(&c);
            assert!(told.iter().all(|found| found));
            let request = successor.recv_timeout(LONG).unwrap();
            let doubled = request.to_native() * 2;
            Request::reply(request, &doubled).unwrap();
            assert_eq!(call.wait().unwrap().to_native(), 2 * round);
        });
    }
}

/// A receive that waits ends when its worker drains.
#[test]
fn draining_ends_receives_that_wait() {
    let _watch = Watch::start();
    let cluster = unique("drain-waiting");
    let worker = Worker::join(&cluster, "shop").unwrap();
    thread::scope(|scope| {
        let mut inbox = worker.inbox().unwrap();
        let mut jobs = worker.queue::<u64>("jobs").unwrap();
        let mut service = worker.service::<u64, u64>("double").unwrap();
        let mut more = worker.queue::<u64>("jobs").unwrap();
        scope.spawn(move || assert!(matches!(inbox.recv(), Err(RecvError::Closed))));
        scope.spawn(move || assert!(matches!(jobs.recv(), Err(RecvError::Closed))));
        scope.spawn(move || assert!(matches!(service.recv(), Err(ServiceRecvError::Closed))));
        scope.spawn(move || assert_eq!(select(&mut [&mut more]), 0));
        worker.drain();
    });
    worker.leave().unwrap();
}
