//! The forms that wait in a task, on tokio (both flavours), smol and pollster.

#![cfg(test)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod handover;
mod stress;

use futures_util::{FutureExt, StreamExt, join, pin_mut, select};
use packetring::cluster::{CallError, Client, Delivery, Request, Service, WorkerChange};
use packetring::{Readiness, RecvError, Ring, Selectable, Stop, TryRecvError, Worker};
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

/// No test waits longer.
const LONG: Duration = Duration::from_secs(60);

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Runs a task on each executor.
fn on_each(task: impl Fn() -> Task) {
    let current = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let several = || tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    for runtime in [current(), several()] {
        runtime.block_on(async { tokio::time::timeout(LONG, task()).await.unwrap() });
        runtime.block_on(async { tokio::spawn(task()).await.unwrap() });
    }
    smol::block_on(task());
    smol::block_on(smol::spawn(task()));
    pollster::block_on(task());
}

/// A name that no other test uses.
fn unique(topic: &str) -> String {
    use std::sync::atomic::{AtomicUsize, Ordering};
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("test-{topic}-{}-{number}", std::process::id())
}

#[test]
fn packets_flow_between_two_tasks() {
    on_each(|| {
        Box::pin(async {
            let ring =
                Ring::builder().capacity(1024).stays_open(true).open(&unique("flow")).unwrap();
            let mut subscriber = ring.subscriber::<u64>().unwrap();
            let mut publisher = ring.publisher::<u64>().unwrap();
            let sending = async {
                for number in 0..2000 {
                    publisher.send_async(&number).await.unwrap();
                }
            };
            let receiving = async {
                for number in 0..2000 {
                    let received = subscriber.recv_async().await.unwrap();
                    // A guard may live across an await.
                    std::future::ready(()).await;
                    assert_eq!(*received, number);
                }
            };
            join!(sending, receiving);
        })
    });
}

#[test]
fn a_publisher_thread_wakes_a_task() {
    on_each(|| {
        Box::pin(async {
            let ring = Ring::builder().open(&unique("thread")).unwrap();
            let mut subscriber = ring.any_subscriber().unwrap();
            let mut publisher = ring.any_publisher().unwrap();
            let sending = std::thread::spawn(move || {
                for number in 0..200_u64 {
                    publisher.send(&number).unwrap();
                    std::thread::sleep(Duration::from_micros(200));
                }
            });
            for number in 0..200 {
                let received = subscriber.recv_async().await.unwrap();
                assert_eq!(*received.open_as::<u64>().unwrap(), number);
            }
            assert!(matches!(subscriber.recv_async().await, Err(RecvError::Closed)));
            sending.join().unwrap();
        })
    });
}

#[test]
fn a_stream_yields_owned_values_until_the_ring_closes() {
    on_each(|| {
        Box::pin(async {
            let ring = Ring::builder().heap().unwrap();
            let mut subscriber = ring.subscriber::<String>().unwrap();
            let mut publisher = ring.publisher::<String>().unwrap();
            let sending = std::thread::spawn(move || {
                for number in 0..100 {
                    publisher.send(&format!("text {number}")).unwrap();
                    std::thread::yield_now();
                }
            });
            let all: Vec<String> = subscriber.stream().map(Result::unwrap).collect().await;
            assert_eq!(all.len(), 100);
            assert_eq!(all[99], "text 99");
            sending.join().unwrap();
        })
    });
}

#[test]
fn workers_call_send_and_watch_in_tasks() {
    on_each(|| {
        Box::pin(async {
            let cluster = unique("workers");
            let server = Worker::join(&cluster, "server").unwrap();
            let caller = Worker::join(&cluster, "caller").unwrap();
            let mut service: Service<u64, u64> = server.service("double").unwrap();
            let mut inbox = server.inbox().unwrap();
            let mut queue = server.queue::<u64>("jobs").unwrap();
            let mut watch = caller.watch().unwrap();
            let client: Client<u64, u64> = caller.client("double").unwrap();
            let serving = async {
                for _ in 0..100 {
                    let request = service.recv_async().await.unwrap();
                    let doubled = request.to_native() * 2;
                    Request::reply(request, &doubled).unwrap();
                }
            };
            let calling = async {
                for number in 0..100 {
                    assert_eq!(*client.call_async(&number).await.unwrap(), number * 2);
                }
                caller.send_to("server", &7_u64).unwrap();
                caller.queue_publisher::<u64>("jobs").unwrap().send_async(&8).await.unwrap();
            };
            let receiving = async {
                let message = inbox.recv_async().await.unwrap();
                assert_eq!(*message.open_as::<u64>().unwrap(), 7);
                message.ack();
                let job = queue.recv_async().await.unwrap();
                assert_eq!(*job, 8);
                Delivery::ack(job);
            };
            join!(serving, calling, receiving);
            let third = Worker::join(&cluster, "third").unwrap();
            let change = watch.recv_async().await.unwrap();
            assert!(matches!(change, WorkerChange::Joined(info) if info.name == "third"));
            drop(third);
            let change = watch.recv_async().await.unwrap();
            assert!(matches!(change, WorkerChange::Left(info) if info.name == "third"));
            drop((service, inbox, queue, watch, client));
            server.leave().unwrap();
        })
    });
}

#[test]
fn a_dropped_call_is_cancelled() {
    on_each(|| {
        Box::pin(async {
            let worker = Worker::join(&unique("cancel"), "both").unwrap();
            let mut service: Service<u64, u64> = worker.service("double").unwrap();
            let client: Client<u64, u64> = worker.client("double").unwrap();
            {
                let call = client.call_async(&1).fuse();
                pin_mut!(call);
                select! {
                    _ = call => panic!("nobody serves"),
                    () = std::future::ready(()).fuse() => {}
                }
            }
            let call = client.start(&2).unwrap();
            let request = service.recv_async().await.unwrap();
            assert_eq!(*request, 2, "the dropped call is skipped");
            Request::reply(request, &4).unwrap();
            assert_eq!(*call.wait_async().await.unwrap(), 4);
            let gone = client.start(&3).unwrap();
            drop(service);
            assert!(matches!(
                gone.wait_async().await,
                Err(CallError::NoService | CallError::ServiceGone)
            ));
        })
    });
}

#[test]
fn a_stop_ends_tasks() {
    on_each(|| {
        Box::pin(async {
            let stop = Stop::new();
            let worker = Worker::builder().stop(&stop).join(&unique("stop"), "a").unwrap();
            let mut inbox = worker.inbox().unwrap();
            let stopper = stop.clone();
            let stopping = std::thread::spawn(move || {
                std::thread::sleep(Duration::from_millis(5));
                stopper.stop();
            });
            assert!(matches!(inbox.recv_async().await, Err(RecvError::Stopped)));
            stopping.join().unwrap();
            drop(inbox);
            worker.leave().unwrap();
        })
    });
}

#[test]
fn events_run_in_a_task() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let worker = Worker::join(&unique("events"), "a").unwrap();
        let mut emitter = worker.emitter().unwrap();
        let emitting = std::thread::spawn(move || {
            for number in 0..20_u64 {
                emitter.emit("add", &number).unwrap();
                std::thread::sleep(Duration::from_micros(300));
            }
            emitter.emit("end", &()).unwrap();
        });
        let mut sum = 0;
        let mut events = worker.events().unwrap();
        // The first events may come before the handlers.
        events.on::<u64>("add", |number, _| sum += number.to_native());
        events.on::<()>("end", |_, context| context.stop());
        events.run_async().await.unwrap();
        drop(events);
        assert!(sum > 0 && sum <= 190);
        emitting.join().unwrap();
    });
}

#[test]
fn tokio_and_smol_wait_for_the_descriptor() {
    let ring = Ring::builder().heap().unwrap();
    let mut subscriber = ring.subscriber::<u64>().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut publisher = runtime.block_on(async {
        let mut publisher = ring.publisher::<u64>().unwrap();
        let ready = subscriber.readiness().unwrap();
        // SAFETY: a readiness keeps its one descriptor until it is dropped.
        let ready = unsafe { tokio::io::unix::AsyncFd::register(ready) }.unwrap();
        for number in 0..50 {
            let sending = std::thread::spawn(move || {
                publisher.send(&number).unwrap();
                publisher
            });
            loop {
                let mut guard = ready.readable().await.unwrap();
                match subscriber.try_recv() {
                    Ok(received) => break assert_eq!(*received, number),
                    // The receive has made the descriptor not readable.
                    Err(TryRecvError::Empty) => guard.clear_ready(),
                    Err(error) => panic!("{error}"),
                }
            }
            publisher = sending.join().unwrap();
        }
        publisher
    });
    smol::block_on(async {
        let ready: smol::Async<Readiness> =
            smol::Async::new_nonblocking(subscriber.readiness().unwrap()).unwrap();
        publisher.send(&99).unwrap();
        loop {
            ready.readable().await.unwrap();
            if let Ok(received) = subscriber.try_recv() {
                break assert_eq!(*received, 99);
            }
        }
    });
}
