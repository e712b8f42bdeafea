//! Stops: a `Stop` ends every wait, whether it comes before the wait or during it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod support;

use packetring::board::{ChangedError, TryChangedError, WriteError};
use packetring::cluster::{
    CallError, CallTimeoutError, Client, Delivery, EmitError, JoinError, Request, RunError,
    SendToError, SendToTimeoutError, Service, ServiceRecvError, TrySendToError, WaitError,
    WorkerBuilder,
};
use packetring::{
    Board, Latest, OpenError, RecvError, RecvTimeoutError, Ring, RingBuilder, SendError,
    SendTimeoutError, Stop, TryRecvError, TrySendError, ValueError, Wait, Worker, select,
};
use rustix::process::Signal;
use std::sync::OnceLock;
use std::sync::mpsc::channel;
use std::time::Duration;
use support::peer::{self, Peer};
use support::{
    LONG, Watch, assert_gone, hold_control_lock, this_thread, unique, wait_until_asleep,
};

/// Entry point of the child processes; does nothing without a role.
#[test]
fn peer() {
    let Some(role) = peer::role() else { return };
    match role.name.as_str() {
        "serve-until-sigterm" => serve_until_sigterm(&role),
        other => panic!("no role {other}"),
    }
}

/// Makes the call three times: after the stop, with the stop during its sleep, and as fast as the
/// stop and the call can meet. `start` makes the call from a stop.
fn ends<C, R>(start: impl Fn(&Stop) -> C, is_stopped: impl Fn(R) -> bool)
where
    C: FnOnce() -> R + Send,
    R: Send,
{
    let _watch = Watch::start();
    let stop = Stop::new();
    let call = start(&stop);
    stop.stop();
    assert!(is_stopped(call()), "stopped before the call");

    let stop = Stop::new();
    let call = start(&stop);
    std::thread::scope(|scope| {
        let (sender, thread) = channel();
        let calling = scope.spawn(move || {
            sender.send(this_thread()).unwrap();
            call()
        });
        wait_until_asleep(thread.recv().unwrap());
        stop.stop();
        assert!(is_stopped(calling.join().unwrap()), "stopped while it slept");
    });

    for _ in 0..20 {
        let stop = Stop::new();
        let call = start(&stop);
        std::thread::scope(|scope| {
            let calling = scope.spawn(call);
            stop.clone().stop();
            assert!(is_stopped(calling.join().unwrap()), "stopped at any time");
        });
    }
}

fn small() -> RingBuilder {
    Ring::builder().capacity(1024).stays_open(true)
}

/// Joins a cluster with a stop for everything.
fn join(cluster: &str, name: &str, stop: &Stop) -> Worker {
    Worker::builder().stop(stop).join(cluster, name).unwrap()
}

/// A worker builder with small inboxes.
fn tiny() -> WorkerBuilder {
    Worker::builder().inbox_capacity(1024).max_workers(8)
}

#[test]
fn a_receive_ends_for_each_way_to_wait() {
    for wait in [Wait::park(), Wait::park().spin_for(Duration::ZERO), Wait::spin(), Wait::event()] {
        for is_named in [false, true] {
            let start = |stop: &Stop| {
                let name = unique("stop");
                let settings = small().wait(wait);
                let ring =
                    if is_named { settings.open(&name).unwrap() } else { settings.heap().unwrap() };
                let mut subscriber = ring.subscriber::<u64>().unwrap();
                subscriber.set_stop(stop);
                move || {
                    let _ring = ring;
                    subscriber.recv().map(|_| ())
                }
            };
            if wait == Wait::spin() {
                let stop = Stop::new();
                let call = start(&stop);
                stop.stop();
                assert!(matches!(call(), Err(RecvError::Stopped)));
                let stop = Stop::new();
                let call = start(&stop);
                let calling = std::thread::spawn(call);
                stop.stop();
                assert!(matches!(calling.join().unwrap(), Err(RecvError::Stopped)));
            } else {
                ends(start, |result| matches!(result, Err(RecvError::Stopped)));
            }
        }
    }
}

#[test]
fn what_is_there_is_received_after_a_stop() {
    let stop = Stop::new();
    let ring = small().stop(&stop).heap().unwrap();
    let mut subscriber = ring.subscriber::<u64>().unwrap();
    let mut publisher = ring.publisher::<u64>().unwrap();
    stop.stop();
    publisher.send(&7).unwrap();
    assert_eq!(*subscriber.recv().unwrap(), 7);
    assert!(matches!(subscriber.recv(), Err(RecvError::Stopped)));
    assert!(matches!(subscriber.try_recv(), Err(TryRecvError::Stopped)));
    let late = subscriber.recv_timeout(LONG);
    assert!(matches!(late, Err(RecvTimeoutError::Stopped)));
    drop(late);
    subscriber.set_stop(&Stop::new());
    assert!(matches!(subscriber.try_recv(), Err(TryRecvError::Empty)), "another stop");
}

#[test]
fn values_end_after_the_error_of_a_stop() {
    let stop = Stop::new();
    let ring = small().stop(&stop).heap().unwrap();
    let mut subscriber = ring.subscriber::<u64>().unwrap();
    let mut publisher = ring.publisher::<u64>().unwrap();
    publisher.send_all(&[1, 2]).unwrap();
    stop.stop();
    let mut values = subscriber.values();
    assert_eq!(
        [1, 2].map(|_| values.next().unwrap().unwrap()),
        [1, 2],
        "what is there comes first"
    );
    let error = values.next().unwrap().unwrap_err();
    assert!(matches!(error, ValueError::Recv(RecvError::Stopped)), "{error:?}");
    assert!(values.next().is_none());
    // Also if there is something again.
    publisher.send(&3).unwrap();
    assert!(values.next().is_none());
    assert_eq!(subscriber.values().next().unwrap().unwrap(), 3);
}

#[test]
fn every_receiver_of_a_ring_ends() {
    let stopped = |result| matches!(result, Err(RecvError::Stopped));
    let start = |stop: &Stop| {
        let ring = small().stop(stop).heap().unwrap();
        let mut subscriber = ring.any_subscriber().unwrap();
        move || subscriber.recv().map(|_| ())
    };
    ends(start, stopped);
    let start = |stop: &Stop| {
        let ring = small().stop(stop).heap().unwrap();
        let mut subscriber = ring.subscriber::<u64>().unwrap();
        move || subscriber.drain().map(|_| ())
    };
    ends(start, stopped);
    let start = |stop: &Stop| {
        let ring = small().stop(stop).heap().unwrap();
        let mut subscriber = ring.subscriber::<u64>().unwrap();
        move || subscriber.recv_where(|_| true).map(|_| ())
    };
    ends(start, stopped);
    let start = |stop: &Stop| {
        let ring = small().stop(stop).heap().unwrap();
        let mut subscriber = ring.durable::<u64>("kept").unwrap();
        move || subscriber.recv_copied().map(|_| ())
    };
    ends(start, stopped);
    let start = |stop: &Stop| {
        let ring = small().stop(stop).heap().unwrap();
        let mut subscriber = ring.subscriber::<u64>().unwrap();
        move || subscriber.recv_latest().map(|_| ())
    };
    ends(start, stopped);
}

#[test]
fn a_send_to_a_full_ring_ends_and_publishes_nothing() {
    let full = |stop: &Stop| {
        let ring = small().open(&unique("stop-full")).unwrap();
        let subscriber = ring.subscriber::<u64>().unwrap();
        let mut publisher = ring.publisher::<u64>().unwrap();
        while publisher.try_send(&0).is_ok() {}
        publisher.set_stop(stop);
        (ring, subscriber, publisher)
    };
    let start = |stop: &Stop| {
        let (ring, subscriber, mut publisher) = full(stop);
        move || {
            let _kept = (ring, &subscriber);
            let before = subscriber.backlog();
            let sent = publisher.send(&1);
            assert_eq!(subscriber.backlog(), before);
            sent
        }
    };
    ends(start, |sent| matches!(sent, Err(SendError::Stopped)));
    let start = |stop: &Stop| {
        let (ring, subscriber, mut publisher) = full(stop);
        move || {
            let _kept = (ring, subscriber);
            publisher.send_timeout(&1, LONG)
        }
    };
    ends(start, |sent| matches!(sent, Err(SendTimeoutError::Stopped)));
    let start = |stop: &Stop| {
        let (ring, subscriber, mut publisher) = full(stop);
        move || {
            let _kept = (ring, subscriber);
            publisher.send_all(&[1, 2]).map_err(|error| (error.sent, error.source))
        }
    };
    ends(start, |sent| matches!(sent, Err((0, SendError::Stopped))));
    let start = |stop: &Stop| {
        let (ring, subscriber, mut publisher) = full(stop);
        move || {
            let _kept = (ring, subscriber);
            publisher.reserve().map(|_| ())
        }
    };
    ends(start, |sent| matches!(sent, Err(SendError::Stopped)));
    let stop = Stop::new();
    let (_ring, mut subscriber, mut publisher) = full(&stop);
    stop.stop();
    assert!(matches!(publisher.try_send(&1), Err(TrySendError::Stopped)));
    drop(subscriber.recv().unwrap());
    drop(subscriber.recv().unwrap());
    publisher.try_send(&1).unwrap();
}

#[test]
fn a_wait_for_subscribers_ends() {
    let start = |stop: &Stop| {
        let ring = small().stop(stop).heap().unwrap();
        let mut publisher = ring.publisher::<u64>().unwrap();
        move || publisher.wait_for_subscribers(1)
    };
    ends(start, |result| matches!(result, Err(SendError::Stopped)));
}

#[test]
fn inboxes_queues_and_watches_end() {
    let start = |stop: &Stop| {
        let worker = join(&unique("stop-inbox"), "a", stop);
        let mut inbox = worker.inbox().unwrap();
        move || {
            let ended = inbox.recv().map(|_| ());
            drop(inbox);
            worker.leave().unwrap();
            ended
        }
    };
    ends(start, |result| matches!(result, Err(RecvError::Stopped)));
    let start = |stop: &Stop| {
        let worker = Worker::join(&unique("stop-queue"), "a").unwrap();
        let mut queue = worker.queue::<u64>("jobs").unwrap();
        queue.set_stop(stop);
        move || {
            let _worker = worker;
            queue.recv().map(Delivery::ack)
        }
    };
    ends(start, |result| matches!(result, Err(RecvError::Stopped)));
    let start = |stop: &Stop| {
        let worker = join(&unique("stop-watch"), "a", stop);
        let mut watch = worker.watch().unwrap();
        move || {
            let _worker = worker;
            watch.recv()
        }
    };
    ends(start, |result| matches!(result, Err(RecvError::Stopped)));
}

#[test]
fn a_send_to_a_full_inbox_ends() {
    let full = |stop: &Stop| {
        let cluster = unique("stop-send-to");
        let slow = tiny().join(&cluster, "slow").unwrap();
        let inbox = slow.inbox().unwrap();
        let worker = tiny().stop(stop).join(&cluster, "fast").unwrap();
        while worker.try_send_to("slow", &0_u64).is_ok() {}
        (slow, inbox, worker)
    };
    let start = |stop: &Stop| {
        let (slow, inbox, worker) = full(stop);
        move || {
            let sent = worker.send_to("slow", &1_u64);
            drop((inbox, worker));
            slow.leave().unwrap();
            sent
        }
    };
    ends(start, |sent| matches!(sent, Err(SendToError::Stopped)));
    let stop = Stop::new();
    let (slow, inbox, worker) = full(&stop);
    stop.stop();
    assert!(matches!(worker.try_send_to("slow", &1_u64), Err(TrySendToError::Stopped)));
    let late = worker.send_to_timeout("slow", &1_u64, LONG);
    assert!(matches!(late, Err(SendToTimeoutError::Stopped)));
    drop((inbox, worker));
    slow.leave().unwrap();
}

#[test]
fn services_and_calls_end() {
    let start = |stop: &Stop| {
        let worker = Worker::join(&unique("stop-service"), "a").unwrap();
        let mut service: Service<u64, u64> = worker.service("ask").unwrap();
        service.set_stop(stop);
        move || {
            let _worker = worker;
            service.recv().map(|_| ())
        }
    };
    ends(start, |result| matches!(result, Err(ServiceRecvError::Stopped)));
    // The server of the next calls never receives.
    let start = |stop: &Stop| {
        let cluster = unique("stop-call");
        let server = Worker::join(&cluster, "server").unwrap();
        let service: Service<u64, u64> = server.service("ask").unwrap();
        let worker = join(&cluster, "client", stop);
        let client: Client<u64, u64> = worker.client("ask").unwrap();
        move || {
            let _kept = (server, service, worker);
            client.call(&1).map(|_| ())
        }
    };
    ends(start, |result| matches!(result, Err(CallError::Stopped)));
    let start = |stop: &Stop| {
        let worker = Worker::join(&unique("stop-no-server"), "a").unwrap();
        let mut client: Client<u64, u64> = worker.client("ask").unwrap();
        client.set_stop(stop);
        move || {
            let _worker = worker;
            client.wait_for_server()
        }
    };
    ends(start, |result| matches!(result, Err(CallError::Stopped)));
    // A full request ring.
    let start = |stop: &Stop| {
        let cluster = unique("stop-start");
        let worker = join(&cluster, "client", stop);
        let server = Worker::join(&cluster, "server").unwrap();
        let builder = || server.service_builder("ask").capacity(4096);
        let service: Service<u64, u64> = builder().server().unwrap();
        let client: Client<u64, u64> = worker.client("ask").unwrap();
        let other: Client<u64, u64> = server.client("ask").unwrap();
        move || {
            let _kept = (server, service, worker);
            let mut calls = Vec::new();
            while let Ok(call) = other.start(&0) {
                calls.push(call);
                if calls.len() == 64 {
                    break;
                }
            }
            client.start(&1).map(|_| ())
        }
    };
    ends(start, |result| matches!(result, Err(CallError::Stopped)));
}

#[test]
fn a_stopped_call_is_cancelled_or_goes_on() {
    let _watch = Watch::start();
    let cluster = unique("stop-cancel");
    let server = Worker::join(&cluster, "server").unwrap();
    let mut service: Service<u64, u64> = server.service("double").unwrap();
    let stop = Stop::new();
    let worker = join(&cluster, "client", &stop);
    let client: Client<u64, u64> = worker.client("double").unwrap();
    let mut kept = client.start(&1).unwrap();
    let mut cancelled = client.start(&2).unwrap();
    stop.stop();
    assert!(matches!(kept.wait_timeout(LONG), Err(CallTimeoutError::Stopped)));
    assert!(matches!(cancelled.wait_timeout(LONG), Err(CallTimeoutError::Stopped)));
    assert!(matches!(cancelled.wait(), Err(CallError::Stopped)));
    let request = service.recv().unwrap();
    assert_eq!(*request, 1);
    Request::reply(request, &2).unwrap();
    assert_eq!(*kept.wait().unwrap(), 2, "a reply that is there is returned");
    assert!(service.try_recv().is_err(), "the second request was skipped");
}

#[test]
fn events_end() {
    let start = |stop: &Stop| {
        let worker = join(&unique("stop-events"), "a", stop);
        move || {
            let mut events = worker.events().unwrap();
            events.on_worker(|_, _| {});
            let ended = events.run();
            drop(events);
            ended
        }
    };
    ends(start, |result| matches!(result, Err(RunError::Stopped)));
    let start = |stop: &Stop| {
        let worker = Worker::join(&unique("stop-wait-for"), "a").unwrap();
        let stop = stop.clone();
        move || {
            let mut events = worker.events().unwrap();
            events.set_stop(&stop);
            events.wait_for::<u64>("never")
        }
    };
    ends(start, |result| matches!(result, Err(RunError::Stopped)));
    let start = |stop: &Stop| {
        let cluster = unique("stop-emit");
        let other = Worker::join(&cluster, "slow").unwrap();
        let worker = join(&cluster, "a", stop);
        move || {
            let _slow = other.events().unwrap();
            let mut emitter = worker.emitter().unwrap();
            let large = vec![0_u64; 1 << 13];
            loop {
                if let Err(error) = emitter.emit("large", &large) {
                    return error;
                }
            }
        }
    };
    ends(start, |error| matches!(error, EmitError::Stopped));
    // Events that are there are handled first.
    let stop = Stop::new();
    let worker = join(&unique("stop-handled"), "a", &stop);
    let mut sum = 0;
    let mut events = worker.events().unwrap();
    events.on::<u64>("add", |number, _| sum += number.to_native());
    events.emit("add", &3_u64).unwrap();
    stop.stop();
    assert!(matches!(events.run(), Err(RunError::Stopped)));
    drop(events);
    assert_eq!(sum, 3);
}

#[test]
fn waits_for_workers_and_names_end() {
    let start = |stop: &Stop| {
        let worker = join(&unique("stop-wait-worker"), "a", stop);
        move || worker.wait_for_worker_timeout("b", LONG)
    };
    ends(start, |result| matches!(result, Err(WaitError::Stopped)));
    let start = |stop: &Stop| {
        let worker = join(&unique("stop-wait-inbox"), "a", stop);
        move || worker.wait_for_inbox_timeout("a", LONG)
    };
    ends(start, |result| matches!(result, Err(WaitError::Stopped)));
    let start = |stop: &Stop| {
        let cluster = unique("stop-name");
        let first = Worker::join(&cluster, "a").unwrap();
        let builder = Worker::builder().wait_for_name(LONG).stop(stop);
        move || {
            let _first = first;
            builder.join(&cluster, "a").map(|_| ())
        }
    };
    ends(start, |result| matches!(result, Err(JoinError::Stopped)));
    let start = |stop: &Stop| {
        let worker = join(&unique("stop-hand-over"), "a", stop);
        let service: Service<u64, u64> = worker.service("ask").unwrap();
        move || {
            let _worker = worker;
            service.hand_over(LONG)
        }
    };
    ends(start, |has_successor: bool| !has_successor);
}

#[test]
fn opening_and_joining_end() {
    let start = |stop: &Stop| {
        let name = unique("stop-open");
        let ring = small().open(&name).unwrap();
        let (settings, held) = (small().stop(stop), hold_control_lock(&name));
        move || {
            let opened = settings.open(&name).map(|_| ());
            drop(held);
            drop(ring);
            assert_gone(&name);
            opened
        }
    };
    ends(start, |result| matches!(result, Err(OpenError::Stopped { .. })));
    let start = |stop: &Stop| {
        let name = unique("stop-join");
        let ring = small().stop(stop).open(&name).unwrap();
        let held = hold_control_lock(&name);
        move || {
            let joined = ring.subscriber::<u64>().map(|_| ());
            drop(held);
            joined
        }
    };
    ends(start, |result| matches!(result, Err(OpenError::Stopped { .. })));
}

#[test]
fn a_worker_leaves_after_a_stop_although_others_hold_the_lock() {
    let _watch = Watch::start();
    let (cluster, stop) = (unique("stop-leave"), Stop::new());
    let worker = join(&cluster, "a", &stop);
    drop(worker.inbox().unwrap());
    stop.stop();
    let held = hold_control_lock(&format!("{cluster}~d"));
    std::thread::scope(|scope| {
        let (sender, thread) = channel();
        let leaving = scope.spawn(move || {
            sender.send(this_thread()).unwrap();
            worker.leave()
        });
        wait_until_asleep(thread.recv().unwrap());
        drop(held);
        leaving.join().unwrap().unwrap();
    });
    assert_gone(&format!("{cluster}~d"));
}

#[test]
fn boards_end() {
    let start = |stop: &Stop| {
        let latest = Latest::<u64>::builder().stop(stop).heap_latest::<u64>().unwrap();
        let mut reader = latest.reader().unwrap();
        move || {
            let _latest = latest;
            reader.wait_changed().map(|_| ())
        }
    };
    ends(start, |result| matches!(result, Err(ChangedError::Stopped)));
    let start = |stop: &Stop| {
        let board = Board::<u64>::builder().buffers(2).stop(stop).heap::<u64>().unwrap();
        let (mut writer, mut reader) = (board.writer().unwrap(), board.reader().unwrap());
        writer.write("key", &1).unwrap();
        move || {
            let held = reader.read("key").unwrap();
            writer.write("key", &2).unwrap();
            // The reader holds the other buffer.
            let written = writer.write("key", &3);
            assert_eq!(*held, 1);
            written
        }
    };
    ends(start, |written| matches!(written, Err(WriteError::Stopped)));
    let stop = Stop::new();
    stop.stop();
    let latest = Latest::<u64>::builder().stop(&stop).heap_latest::<u64>().unwrap();
    let mut reader = latest.reader().unwrap();
    assert!(matches!(reader.try_changed(), Err(TryChangedError::Stopped)));
    latest.writer().unwrap().write(&1).unwrap();
    assert_eq!(*reader.wait_changed().unwrap(), 1, "a change that is there is returned");
}

#[test]
fn a_select_ends_by_the_stop_of_an_endpoint_or_by_a_stop_in_its_list() {
    let start = |stop: &Stop| {
        let ring = small().heap().unwrap();
        let mut first = ring.subscriber::<u64>().unwrap();
        let mut second = ring.subscriber::<u64>().unwrap();
        second.set_stop(stop);
        move || {
            let index = select(&mut [&mut first, &mut second]);
            (index, second.recv().map(|_| ()).unwrap_err())
        }
    };
    ends(start, |ended| matches!(ended, (1, RecvError::Stopped)));
    let start = |stop: &Stop| {
        let ring = small().heap().unwrap();
        let mut subscriber = ring.subscriber::<u64>().unwrap();
        let mut stop = stop.clone();
        move || select(&mut [&mut subscriber, &mut stop])
    };
    ends(start, |index| index == 1);
    let start = |stop: &Stop| {
        let mut stop = stop.clone();
        move || select(&mut [&mut stop])
    };
    ends(start, |index| index == 0);
}

#[test]
fn one_stop_ends_any_number_of_waits() {
    let _watch = Watch::start();
    let stop = Stop::new();
    let ring = small().max_subscribers(32).stop(&stop).open(&unique("stop-many")).unwrap();
    std::thread::scope(|scope| {
        let receive = |_| {
            let mut subscriber = ring.subscriber::<u64>().unwrap();
            scope.spawn(move || subscriber.recv().map(|_| ()))
        };
        let waiting: Vec<_> = (0..32).map(receive).collect();
        stop.stop();
        for receiver in waiting {
            assert!(matches!(receiver.join().unwrap(), Err(RecvError::Stopped)));
        }
    });
}

static AT_SIGNAL: OnceLock<Stop> = OnceLock::new();

extern "C" fn stop_at_signal(_: libc::c_int) {
    if let Some(stop) = AT_SIGNAL.get() {
        stop.stop();
    }
}

/// A worker with an inbox, a service and a queue, until SIGTERM.
fn serve_until_sigterm(role: &peer::Role) {
    let stop = AT_SIGNAL.get_or_init(Stop::new);
    let handler = stop_at_signal as extern "C" fn(libc::c_int);
    // SAFETY: the handler only calls `Stop::stop`, which is async-signal-safe.
    unsafe { libc::signal(libc::SIGTERM, handler as libc::sighandler_t) };
    let worker = join(&role.arguments[0], "server", stop);
    let mut inbox = worker.inbox().unwrap();
    let mut service: Service<u64, u64> = worker.service("ask").unwrap();
    let mut queue = worker.queue::<u64>("jobs").unwrap();
    peer::say("ready");
    while !stop.is_stopped() {
        match select(&mut [&mut inbox, &mut service, &mut queue]) {
            0 => match inbox.recv() {
                Ok(message) => {
                    peer::say(&format!("took {}", *message.open_as::<u64>().unwrap()));
                    message.ack();
                }
                Err(RecvError::Stopped) => break,
                Err(error) => panic!("{error}"),
            },
            _ => break,
        }
    }
    drop((inbox, service, queue));
    worker.leave().unwrap();
    peer::say("left");
}

#[test]
fn a_signal_handler_ends_a_worker_that_leaves_nothing() {
    let _watch = Watch::start();
    let cluster = unique("stop-sigterm");
    let mut server = Peer::start(&format!("serve-until-sigterm {cluster}"));
    server.expect("ready");
    let worker = Worker::join(&cluster, "client").unwrap();
    worker.send_to("server", &7_u64).unwrap();
    server.expect("took 7");
    server.signal(Signal::TERM);
    server.expect("left");
    server.wait();
    worker.leave().unwrap();
    let left: Vec<_> = std::fs::read_dir("/dev/shm")
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().into_string().ok())
        .filter(|name| name.contains(&cluster))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}
