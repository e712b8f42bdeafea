//! The forms that wait in a task, on tokio (both flavours), smol and pollster.

#![cfg(test)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod frozen;
mod handover;
mod stress;

use futures_util::future::join_all;
use futures_util::stream::FusedStream;
use futures_util::{FutureExt, StreamExt, join, pin_mut, select};
use packetring::cluster::{
    CallError, Client, Delivery, EmitError, Emitter, JoinError, Request, SendToError, Service,
    TryServiceRecvError, WaitError, WorkerChange,
};
use packetring::{
    Readiness, RecvError, Reserved, Ring, Selectable, SendError, Stop, Tail, TryRecvError,
    ValueError, Worker,
};
use std::ffi::OsString;
use std::fs::DirEntry;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

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

/// Waits until something is so; fails after [`LONG`].
#[track_caller]
fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < LONG, "{what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The threads of this process that have a name.
fn threads(name: &str) -> Vec<OsString> {
    let has_name = |task: &DirEntry| {
        let found = std::fs::read_to_string(task.path().join("comm"));
        found.is_ok_and(|found| found.trim() == name)
    };
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().map(Result::unwrap);
    tasks.filter(has_name).map(|task| task.file_name()).collect()
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
fn a_stream_ends_after_the_error_of_a_stop() {
    on_each(|| {
        Box::pin(async {
            let stop = Stop::new();
            let ring = Ring::builder().stop(&stop).stays_open(true).heap().unwrap();
            let mut subscriber = ring.subscriber::<u64>().unwrap();
            let mut publisher = ring.publisher::<u64>().unwrap();
            publisher.send(&1).unwrap();
            stop.stop();
            let mut stream = subscriber.stream();
            let all: Vec<_> = stream.by_ref().take(10).collect().await;
            assert_eq!(*all[0].as_ref().unwrap(), 1);
            assert!(matches!(all[1..], [Err(ValueError::Recv(RecvError::Stopped))]), "{all:?}");
            assert!(stream.is_terminated());
            publisher.send(&2).unwrap();
            assert!(stream.next().await.is_none());
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

/// A service whose ring has room for 16 requests, and a client.
fn small_service(worker: &Worker) -> (Service<u64, u64>, Client<u64, u64>) {
    let builder = || worker.service_builder("double").capacity(1024);
    (builder().server().unwrap(), builder().client().unwrap())
}

type Calling<'a> = Pin<Box<dyn Future<Output = Result<u64, CallError>> + Send + 'a>>;

/// Starts more calls than the ring has room for. None of them blocks this thread.
fn call_often(client: &Client<u64, u64>) -> Vec<Calling<'_>> {
    let calling = |number: u64| -> Calling<'_> {
        let mut calling: Calling<'_> =
            Box::pin(
                async move { client.call_async(&number).await.map(|reply| reply.to_native()) },
            );
        assert!((&mut calling).now_or_never().is_none(), "nobody serves");
        calling
    };
    (0..100).map(calling).collect()
}

fn serve_one(request: Request<'_, u64, u64>) {
    let doubled = request.to_native() * 2;
    Request::reply(request, &doubled).unwrap();
}

#[test]
fn calls_wait_for_room_in_their_tasks() {
    on_each(|| {
        Box::pin(async {
            let worker = Worker::join(&unique("full"), "both").unwrap();
            let (mut service, client) = small_service(&worker);
            let serving = async {
                for _ in 0..100 {
                    serve_one(service.recv_async().await.unwrap());
                }
            };
            let (replies, ()) = join!(join_all(call_often(&client)), serving);
            let replies: Vec<u64> = replies.into_iter().map(Result::unwrap).collect();
            assert_eq!(replies, (0..100).map(|number| number * 2).collect::<Vec<_>>());
        })
    });
}

#[test]
fn a_call_that_is_dropped_as_it_waits_for_room_is_cancelled() {
    on_each(|| {
        Box::pin(async {
            let worker = Worker::builder().max_calls(100).join(&unique("full"), "both").unwrap();
            let (mut service, client) = small_service(&worker);
            for _ in 0..3 {
                // No place stays behind: a hundred calls find one each time.
                drop(call_often(&client));
                assert!(matches!(service.try_recv(), Err(TryServiceRecvError::Empty)));
            }
            let (reply, ()) = join!(client.call_async(&4), async {
                serve_one(service.recv_async().await.unwrap());
            });
            assert_eq!(*reply.unwrap(), 8);
        })
    });
}

#[test]
fn a_call_that_waits_for_room_is_told_when_the_last_server_goes() {
    on_each(|| {
        Box::pin(async {
            let worker = Worker::join(&unique("full"), "both").unwrap();
            let (service, client) = small_service(&worker);
            let calls = call_often(&client);
            drop(service);
            for outcome in join_all(calls).await {
                assert!(matches!(outcome, Err(CallError::NoService)), "{outcome:?}");
            }
        })
    });
}

#[test]
fn a_stop_ends_calls_that_wait_for_room() {
    on_each(|| {
        Box::pin(async {
            let stop = Stop::new();
            let worker = Worker::builder().stop(&stop).join(&unique("full"), "both").unwrap();
            let (_service, client) = small_service(&worker);
            let calls = call_often(&client);
            stop.stop();
            for outcome in join_all(calls).await {
                assert!(matches!(outcome, Err(CallError::Stopped)), "{outcome:?}");
            }
        })
    });
}

fn small_ring() -> Ring {
    Ring::builder().capacity(1024).heap().unwrap()
}

#[test]
fn reservations_wait_for_room_in_their_tasks() {
    on_each(|| {
        Box::pin(async {
            let (numbers, texts) = (small_ring(), small_ring());
            let mut subscribers =
                [numbers.any_subscriber(), texts.any_subscriber()].map(Result::unwrap);
            let mut publisher = numbers.publisher::<u64>().unwrap();
            let mut any = numbers.any_publisher().unwrap();
            let mut lists = texts.publisher::<Tail<u64, u8>>().unwrap();
            let mut any_lists = texts.any_publisher().unwrap();
            let reserving = async {
                for number in 0..100_u64 {
                    let mut room = publisher.reserve_async().await.unwrap();
                    // A reservation may live across an await.
                    std::future::ready(()).await;
                    *room = number.into();
                    Reserved::commit(room);
                    let mut room = any.reserve_async::<u64>().await.unwrap();
                    *room = number.into();
                    Reserved::commit(room);
                    let mut room = lists.reserve_tail_async(3).await.unwrap();
                    *room.head_mut() = number.into();
                    room.commit();
                    let mut room = any_lists.reserve_tail_async::<u64, u8>(3).await.unwrap();
                    *room.head_mut() = number.into();
                    room.commit();
                }
            };
            let [subscriber, list_subscriber] = &mut subscribers;
            let receiving = async {
                for number in 0..200_u64 {
                    let received = subscriber.recv_async().await.unwrap();
                    assert_eq!(*received.open_as::<u64>().unwrap(), number / 2);
                    let received = list_subscriber.recv_async().await.unwrap();
                    assert_eq!(received.open_as::<Tail<u64, u8>>().unwrap().head, number / 2);
                }
            };
            join!(reserving, receiving);
            // A reservation that is dropped as it waits leaves no claim.
            while publisher.try_send(&7).is_ok() {}
            assert!(publisher.reserve_async().now_or_never().is_none());
            assert_eq!(*subscriber.recv().unwrap().open_as::<u64>().unwrap(), 7);
        })
    });
}

#[test]
fn bursts_wait_for_room_in_their_tasks() {
    on_each(|| {
        Box::pin(async {
            let ring = small_ring();
            let mut subscriber = ring.any_subscriber().unwrap();
            let mut publisher = ring.publisher::<u64>().unwrap();
            let mut any = ring.any_publisher().unwrap();
            let sending = async {
                for round in 0..50_u64 {
                    let mut burst = publisher.burst_async(5).await.unwrap();
                    for number in 0..8 {
                        // A burst may live across an await.
                        burst.send_async(&(round * 10 + number)).await.unwrap();
                    }
                    drop(burst);
                    let mut burst = any.burst_async::<u64>(5).await.unwrap();
                    for number in 8..10 {
                        burst.send_async(&(round * 10 + number)).await.unwrap();
                    }
                }
            };
            let receiving = async {
                for number in 0..500_u64 {
                    let received = subscriber.recv_async().await.unwrap();
                    assert_eq!(*received.open_as::<u64>().unwrap(), number);
                }
            };
            join!(sending, receiving);
            // A send or a burst that is dropped as it waits leaves no claim.
            let mut burst = publisher.burst(5).unwrap();
            let mut sent = 0;
            while burst.try_send(&7).is_ok() {
                sent += 1;
            }
            assert!(burst.send_async(&8).now_or_never().is_none());
            drop(burst);
            assert!(publisher.burst_async(5).now_or_never().is_none());
            for _ in 0..sent {
                assert_eq!(*subscriber.recv().unwrap().open_as::<u64>().unwrap(), 7);
            }
            any.try_send(&9_u64).unwrap();
            assert_eq!(*subscriber.recv().unwrap().open_as::<u64>().unwrap(), 9);
        })
    });
}

#[test]
fn messages_wait_for_room_in_their_tasks() {
    on_each(|| {
        Box::pin(async {
            let cluster = unique("messages");
            let shop = Worker::builder().inbox_capacity(1024).join(&cluster, "shop").unwrap();
            let feed = Worker::join(&cluster, "feed").unwrap();
            let missing = feed.send_to_async("shop", &0_u64).await;
            assert!(matches!(missing, Err(SendToError::NoInbox { .. })), "{missing:?}");
            let mut inbox = shop.inbox().unwrap();
            let sending = async {
                for number in 0..300_u64 {
                    feed.send_to_async("shop", &number).await.unwrap();
                }
            };
            let receiving = async {
                for number in 0..300 {
                    let message = inbox.recv_async().await.unwrap();
                    assert_eq!(*message.open_as::<u64>().unwrap(), number);
                    message.ack();
                }
            };
            join!(sending, receiving);
            // A send that is dropped as it waits sends nothing.
            let mut sent = 0;
            while feed.try_send_to("shop", &sent).is_ok() {
                sent += 1;
            }
            assert!(feed.send_to_async("shop", &sent).now_or_never().is_none());
            for number in 0..sent {
                let message = inbox.recv_async().await.unwrap();
                assert_eq!(*message.open_as::<u64>().unwrap(), number);
                message.ack();
            }
            assert!(matches!(inbox.try_recv(), Err(TryRecvError::Empty)));
            // The worker leaves while a send waits.
            while feed.try_send_to("shop", &0_u64).is_ok() {}
            let mut waiting = Box::pin(feed.send_to_async("shop", &1_u64));
            assert!((&mut waiting).now_or_never().is_none());
            drop(inbox);
            shop.leave().unwrap();
            let outcome = waiting.await;
            assert!(
                matches!(outcome, Err(SendToError::Dead { .. } | SendToError::Closed)),
                "{outcome:?}"
            );
        })
    });
}

#[test]
fn many_tasks_and_threads_send_to_one_inbox() {
    const EACH: u64 = 200;
    let cluster = unique("messages");
    // Few entries: not each thread has one.
    let builder = Worker::builder().max_workers(2).inbox_capacity(2048);
    let shop = builder.join(&cluster, "shop").unwrap();
    let feed = Arc::new(Worker::builder().max_workers(2).join(&cluster, "feed").unwrap());
    let mut inbox = shop.inbox().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let threads: Vec<_> = (0..8_u64)
        .map(|sender| {
            let feed = Arc::clone(&feed);
            std::thread::spawn(move || {
                for number in 0..EACH {
                    feed.send_to("shop", &(sender, number)).unwrap();
                }
            })
        })
        .collect();
    runtime.block_on(async {
        for sender in 8..40_u64 {
            let feed = Arc::clone(&feed);
            tokio::spawn(async move {
                for number in 0..EACH {
                    feed.send_to_async("shop", &(sender, number)).await.unwrap();
                }
            });
        }
        let mut next = [0; 40];
        for _ in 0..40 * EACH {
            let message = tokio::time::timeout(LONG, inbox.recv_async()).await.unwrap().unwrap();
            let sent = message.open_as::<(u64, u64)>().unwrap();
            let next = &mut next[sent.0.to_native() as usize];
            assert_eq!(sent.1, *next);
            *next += 1;
            message.ack();
        }
    });
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    drop(inbox);
    shop.leave().unwrap();
}

#[test]
fn tasks_wait_for_workers_inboxes_servers_and_subscribers() {
    on_each(|| {
        Box::pin(async {
            let (stop, cluster) = (Stop::new(), unique("waits"));
            let feed = Worker::builder().stop(&stop).join(&cluster, "feed").unwrap();
            let client: Client<u64, u64> = feed.client("double").unwrap();
            let mut topic = feed.publisher::<u64>("prices").unwrap();
            let waits = || {
                (
                    feed.wait_for_worker_async("shop"),
                    feed.wait_for_inbox_async("shop"),
                    client.wait_for_server_async(),
                )
            };
            {
                let (worker, inbox, server) = waits();
                let subscribers = topic.wait_for_subscribers_async(1);
                pin_mut!(worker, inbox, server, subscribers);
                assert!(worker.as_mut().now_or_never().is_none());
                assert!(inbox.as_mut().now_or_never().is_none());
                assert!(server.as_mut().now_or_never().is_none());
                assert!(subscribers.as_mut().now_or_never().is_none());
                let shop = Worker::join(&cluster, "shop").unwrap();
                assert_eq!(worker.await.unwrap().id, shop.id());
                assert!(inbox.as_mut().now_or_never().is_none());
                let opened = shop.inbox().unwrap();
                assert!(inbox.await.unwrap().has_inbox);
                let service = shop.service::<u64, u64>("double").unwrap();
                server.await.unwrap();
                let subscriber = shop.subscriber::<u64>("prices").unwrap();
                subscribers.await.unwrap();
                drop((opened, service, subscriber));
                shop.leave().unwrap();
            }
            let (worker, inbox, server) = waits();
            let subscribers = topic.wait_for_subscribers_async(1);
            let stopping = async { stop.stop() };
            let (worker, inbox, server, subscribers, ()) =
                join!(worker, inbox, server, subscribers, stopping);
            assert!(matches!(worker, Err(WaitError::Stopped)), "{worker:?}");
            assert!(matches!(inbox, Err(WaitError::Stopped)), "{inbox:?}");
            assert!(matches!(server, Err(CallError::Stopped)), "{server:?}");
            assert!(matches!(subscribers, Err(SendError::Stopped)), "{subscribers:?}");
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

/// Emits until the ring of events is full.
fn fill(emitter: &mut Emitter) -> u64 {
    let mut emitted = 0;
    while emitter.try_emit("sold", &emitted).is_ok() {
        emitted += 1;
    }
    emitted
}

/// Workers of a cluster with few worker slots, whose ring of events is small.
fn small_cluster(topic: &str) -> Worker {
    Worker::builder().max_workers(4).join(&unique(topic), "a").unwrap()
}

/// `Events` stay in their thread: a runtime of one thread.
fn in_one_thread(task: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(LONG, task).await.unwrap() });
}

#[test]
fn events_wait_for_room_in_their_tasks() {
    in_one_thread(async {
        let worker = small_cluster("emit");
        let mut emitter = worker.emitter().unwrap();
        let seen = std::cell::RefCell::new(Vec::new());
        let mut events = worker.events().unwrap();
        events.on::<u64>("sold", |number, _| seen.borrow_mut().push(number.to_native()));
        let emitted = fill(&mut emitter);
        // An emit that is dropped as it waits emits nothing, and leaves no claim.
        assert!(emitter.emit_async("sold", &emitted).now_or_never().is_none());
        let emitting = async {
            for number in emitted..2 * emitted {
                emitter.emit_async("sold", &number).await.unwrap();
            }
        };
        let handling = async {
            while seen.borrow().len() < 2 * emitted as usize {
                events.poll().unwrap();
                tokio::task::yield_now().await;
            }
        };
        join!(emitting, handling);
        drop(events);
        assert_eq!(seen.into_inner(), (0..2 * emitted).collect::<Vec<_>>());
    });
}

#[test]
fn an_emit_in_a_task_is_stopped_and_fails_as_a_blocking_one() {
    in_one_thread(async {
        let worker = small_cluster("emit");
        let (stop, mut emitter) = (Stop::new(), worker.emitter().unwrap());
        emitter.set_stop(&stop);
        let mut events = worker.events().unwrap();
        for name in ["", "a::*"] {
            let blocking = emitter.emit(name, &0_u64).unwrap_err();
            let in_task = emitter.emit_async(name, &0_u64).await.unwrap_err();
            assert!(matches!(in_task, EmitError::BadName { .. }), "{in_task}");
            assert_eq!(in_task.to_string(), blocking.to_string());
        }
        let large = vec![0_u8; 1 << 20];
        let (blocking, in_task) =
            (emitter.emit("x", &large).unwrap_err(), emitter.emit_async("x", &large).await);
        assert_eq!(in_task.unwrap_err().to_string(), blocking.to_string());
        fill(&mut emitter);
        // The own unhandled events are in the way.
        let in_task = events.emit_async("sold", &0_u64).await;
        assert!(matches!(in_task, Err(EmitError::OwnBacklog)), "{in_task:?}");
        let (emitted, ()) = join!(emitter.emit_async("sold", &0_u64), async { stop.stop() });
        assert!(matches!(emitted, Err(EmitError::Stopped)), "{emitted:?}");
    });
}

#[test]
fn an_emit_in_a_task_learns_that_its_own_backlog_came_to_be_in_the_way() {
    in_one_thread(async {
        let worker = small_cluster("emit");
        let mut emitter = worker.emitter().unwrap();
        let (mut own, mut other) = (worker.events().unwrap(), worker.events().unwrap());
        fill(&mut emitter);
        own.poll().unwrap();
        let emitting = own.emit_async("sold", &0_u64).fuse();
        pin_mut!(emitting);
        assert!(emitting.as_mut().now_or_never().is_none(), "it waits for the other one");
        other.poll().unwrap();
        fill(&mut emitter);
        other.poll().unwrap();
        let emitted = emitting.await;
        assert!(matches!(emitted, Err(EmitError::OwnBacklog)), "{emitted:?}");
    });
}

#[test]
fn emitters_in_tasks_are_spawned_on_each_executor() {
    on_each(|| {
        Box::pin(async {
            let worker = small_cluster("emit");
            let mut emitter = worker.emitter().unwrap();
            let handling = {
                let mut events = worker.events().unwrap();
                events.on::<u64>("sold", |_, _| {});
                drop(events);
                let worker = Arc::new(worker);
                let (ready, is_ready) = std::sync::mpsc::channel();
                let handling = std::thread::spawn(move || {
                    let (mut sum, mut events) = (0, worker.events().unwrap());
                    events.on::<u64>("sold", |number, _| sum += number.to_native());
                    events.on::<()>("end", |_, context| context.stop());
                    ready.send(()).unwrap();
                    events.run().unwrap();
                    drop(events);
                    sum
                });
                is_ready.recv().unwrap();
                handling
            };
            for number in 0..20_000_u64 {
                emitter.emit_async("sold", &number).await.unwrap();
            }
            emitter.emit_async("end", &()).await.unwrap();
            assert_eq!(handling.join().unwrap(), (0..20_000).sum::<u64>());
        })
    });
}

#[test]
fn a_join_waits_for_its_name_in_its_task() {
    on_each(|| {
        Box::pin(async {
            let cluster = unique("successor");
            let old = Worker::join(&cluster, "shop").unwrap();
            let patient = || Worker::builder().wait_for_name(LONG);
            let taken = Worker::join_async(&cluster, "shop").await;
            assert!(matches!(taken, Err(JoinError::NameTaken { .. })));
            // A join that is dropped as it waits takes nothing.
            let dropped = patient().join_async(&cluster, "shop");
            assert!(dropped.now_or_never().is_none());
            let (new, ()) = join!(patient().join_async(&cluster, "shop"), async {
                old.leave().unwrap();
            });
            let new = new.unwrap();
            assert_eq!(new.workers().len(), 1);
            // A future that is dropped behind its end leaves its worker.
            let other = {
                let joining = Worker::join_async(&cluster, "other").fuse();
                pin_mut!(joining);
                joining.await.unwrap()
            };
            assert_eq!(new.workers().len(), 2);
            drop(other);
            assert_eq!(new.workers().len(), 1);
        })
    });
}

#[test]
fn a_timeout_and_a_stop_end_a_join_that_waits_for_its_name() {
    on_each(|| {
        Box::pin(async {
            let (cluster, stop) = (unique("successor"), Stop::new());
            let old = Worker::join(&cluster, "shop").unwrap();
            let short = Worker::builder().wait_for_name(Duration::from_millis(30));
            let joined = short.join_async(&cluster, "shop").await;
            assert!(matches!(joined, Err(JoinError::NameTaken { .. })));
            let patient = Worker::builder().wait_for_name(LONG).stop(&stop);
            let (joined, ()) = join!(patient.join_async(&cluster, "shop"), async { stop.stop() });
            assert!(matches!(joined, Err(JoinError::Stopped)));
            assert_eq!(old.workers().len(), 1);
        })
    });
}

#[test]
fn a_publisher_becomes_a_sink_by_a_function() {
    on_each(|| {
        Box::pin(async {
            let ring = small_ring();
            let mut subscriber = ring.subscriber::<u64>().unwrap();
            let publisher = ring.publisher::<u64>().unwrap();
            let sink = futures_util::sink::unfold(publisher, async |mut publisher, value: u64| {
                publisher.send_async(&value).await.map(|_| publisher)
            });
            // More than the ring has room for. The publisher goes with its sink.
            let values = futures_util::stream::iter((0..100).map(Ok::<u64, SendError>));
            let forwarding = async { values.forward(sink).await.unwrap() };
            let received = subscriber.stream().map(Result::unwrap).collect::<Vec<u64>>();
            let ((), received) = join!(forwarding, received);
            assert_eq!(received, (0..100).collect::<Vec<_>>());
        })
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
