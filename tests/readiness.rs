//! Readiness: a descriptor for event loops, and a future for executors, of each endpoint.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod support;

use packetring::board::ChangedError;
use packetring::cluster::{
    Call, CallTimeoutError, Client, Delivery, Inbox, QueueConsumer, Request, RunError, Service,
    TryServiceRecvError, WorkerChange,
};
use packetring::{
    Latest, Overflow, Readiness, Received, RecvError, Ring, RingBuilder, Selectable, Stop,
    Subscriber, TryRecvError, TrySendError, Wait, Worker,
};
use rustix::event::{PollFd, PollFlags, epoll, poll};
use rustix::time::Timespec;
use std::future::Future;
use std::io::ErrorKind;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::pin::{Pin, pin};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;
use support::peer::{self, Peer, Role};
use support::seccomp::{self, Refused};
use support::{LONG, Watch, object, this_thread, unique, wait_until, wait_until_asleep};

/// Entry point of the child processes; does nothing without a role.
#[test]
fn peer() {
    let Some(role) = peer::role() else { return };
    match role.name.as_str() {
        "publish-and-hang" => publish_and_hang(&role),
        "echo" => echo(&role),
        other => panic!("no role {other}"),
    }
}

/// Set in a process to which io_uring is refused.
const REFUSED: &str = "PACKETRING_TEST_WITHOUT_IO_URING";

fn refuse_io_uring() {
    let call = libc::SYS_io_uring_setup;
    seccomp::refuse(&[Refused { call, commands: Vec::new() }], libc::EPERM);
}

#[test]
fn all_of_this_holds_without_io_uring() {
    if std::env::var_os(REFUSED).is_some() {
        assert!(!has_io_uring());
        return;
    }
    let mut tests = Command::new(std::env::current_exe().unwrap());
    tests.env(REFUSED, "1");
    // SAFETY: between fork and exec the closure allocates, which is safe here: no other thread of
    // this process holds the allocator's lock across a fork of the C library.
    unsafe {
        tests.pre_exec(|| {
            refuse_io_uring();
            Ok(())
        })
    };
    let run = tests.output().unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stdout));
}

fn small() -> RingBuilder {
    Ring::builder().capacity(1024).stays_open(true)
}

/// Returns true if the descriptor is readable within the timeout.
fn is_readable(ready: &Readiness, timeout: Duration) -> bool {
    let timeout = Timespec::try_from(timeout).unwrap();
    let mut list = [PollFd::new(ready, PollFlags::IN)];
    poll(&mut list, Some(&timeout)).unwrap() == 1
}

#[track_caller]
fn wait_readable(ready: &Readiness) {
    assert!(is_readable(ready, LONG), "never readable");
}

/// Waits for the descriptor, as an event loop does, until `attempt` finds something.
fn wait_for<R>(ready: &Readiness, mut attempt: impl FnMut() -> Option<R>) -> R {
    for _ in 0..100_000 {
        wait_readable(ready);
        if let Some(found) = attempt() {
            return found;
        }
    }
    panic!("readable 100,000 times without a result");
}

#[test]
fn a_descriptor_is_readable_until_a_receive_finds_nothing() {
    let _watch = Watch::start();
    for wait in [Wait::park(), Wait::spin()] {
        let ring = small().wait(wait).open(&unique("ready")).unwrap();
        let mut subscriber = ring.subscriber::<u64>().unwrap();
        let ready = subscriber.readiness().unwrap();
        let mut publisher = ring.publisher::<u64>().unwrap();
        assert!(is_readable(&ready, Duration::ZERO), "readable from the start");
        for number in 0..1000 {
            publisher.send(&number).unwrap();
            let found = wait_for(&ready, || subscriber.try_recv().ok().map(|number| *number));
            assert_eq!(found, number);
            if number % 2 == 0 {
                assert!(matches!(subscriber.try_recv(), Err(TryRecvError::Empty)));
            }
        }
    }
}

#[test]
fn a_descriptor_is_not_readable_after_a_receive_found_nothing() {
    let ring = small().heap().unwrap();
    let mut subscriber = ring.subscriber::<u64>().unwrap();
    let ready = subscriber.readiness().unwrap();
    let is_quiet = |_: &i32| {
        assert!(matches!(subscriber.try_recv(), Err(TryRecvError::Empty)));
        // The clock makes it readable now and then, to have the living checked.
        !is_readable(&ready, Duration::ZERO)
    };
    assert!((0..100).filter(is_quiet).count() > 50);
}

#[test]
fn an_edge_triggered_loop_misses_nothing() {
    let _watch = Watch::start();
    let ring = small().open(&unique("ready-edge")).unwrap();
    let mut subscriber = ring.subscriber::<u64>().unwrap();
    let ready = subscriber.readiness().unwrap();
    let mut publisher = ring.publisher::<u64>().unwrap();
    let set = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
    let flags = epoll::EventFlags::IN | epoll::EventFlags::ET;
    epoll::add(&set, &ready, epoll::EventData::new_u64(7), flags).unwrap();
    thread::scope(|scope| {
        scope.spawn(move || {
            for number in 0..20_000_u64 {
                publisher.send(&number).unwrap();
                if number % 100 == 0 {
                    thread::sleep(Duration::from_micros(100));
                }
            }
        });
        let (mut next, mut events) = (0, Vec::with_capacity(4));
        while next < 20_000 {
            events.clear();
            epoll::wait(&set, rustix::buffer::spare_capacity(&mut events), None).unwrap();
            assert!(!events.is_empty());
            loop {
                match subscriber.try_recv() {
                    Ok(number) => {
                        assert_eq!(*number, next);
                        next += 1;
                    }
                    Err(TryRecvError::Empty) => break,
                    Err(error) => panic!("{error}"),
                }
            }
        }
    });
}

#[test]
fn a_ring_that_parks_on_events_has_no_readiness() {
    let ring = small().wait(Wait::event()).heap().unwrap();
    let mut subscriber = ring.subscriber::<u64>().unwrap();
    let error = subscriber.readiness().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("Wait::event"), "{error}");
    assert_eq!(block_on(subscriber.ready()).unwrap_err().kind(), ErrorKind::Unsupported);
    assert_eq!(Stop::new().readiness().unwrap_err().kind(), ErrorKind::Unsupported);
}

#[test]
fn a_publisher_is_ready_when_there_may_be_room() {
    let _watch = Watch::start();
    let ring = small().open(&unique("ready-room")).unwrap();
    let mut subscriber = ring.subscriber::<u64>().unwrap();
    let mut publisher = ring.publisher::<u64>().unwrap();
    let ready = publisher.readiness().unwrap();
    thread::scope(|scope| {
        let receiving = scope.spawn(move || {
            (0..5000).for_each(|number| assert_eq!(*subscriber.recv().unwrap(), number));
        });
        for number in 0..5000 {
            wait_for(&ready, || match publisher.try_send(&number) {
                Ok(_) => Some(()),
                Err(TrySendError::Full { .. }) => None,
                Err(error) => panic!("{error}"),
            });
        }
        receiving.join().unwrap();
    });
}

#[test]
fn inboxes_queues_services_calls_watches_and_events_are_ready() {
    let _watch = Watch::start();
    let cluster = unique("ready-cluster");
    let worker = Worker::join(&cluster, "loop").unwrap();
    let other = Worker::join(&cluster, "other").unwrap();
    let mut inbox = worker.inbox().unwrap();
    let mut queue = worker.queue::<u64>("jobs").unwrap();
    let mut service: Service<u64, u64> = worker.service("double").unwrap();
    let mut watch = worker.watch().unwrap();
    let client: Client<u64, u64> = other.client("double").unwrap();

    let ready = inbox.readiness().unwrap();
    assert!(matches!(inbox.try_recv(), Err(TryRecvError::Empty)));
    other.send_to("loop", &1_u64).unwrap();
    wait_for(&ready, || inbox.try_recv().ok().map(|message| message.ack()));

    let ready = queue.readiness().unwrap();
    assert!(matches!(queue.try_recv(), Err(TryRecvError::Empty)));
    other.queue_publisher::<u64>("jobs").unwrap().send(&2).unwrap();
    wait_for(&ready, || queue.try_recv().ok().map(Delivery::ack));

    let ready = service.readiness().unwrap();
    assert!(matches!(service.try_recv(), Err(TryServiceRecvError::Empty)));
    let mut call: Call<u64> = client.start(&21).unwrap();
    let called = call.readiness().unwrap();
    let late = call.wait_timeout(Duration::ZERO);
    assert!(matches!(late, Err(CallTimeoutError::Timeout { .. })));
    drop(late);
    wait_for(&ready, || match service.try_recv() {
        Ok(request) => {
            let doubled = request.to_native() * 2;
            Request::reply(request, &doubled).unwrap();
            Some(())
        }
        Err(_) => None,
    });
    let reply = wait_for(&called, || call.wait_timeout(Duration::ZERO).ok().map(|reply| *reply));
    assert_eq!(reply, 42);

    let ready = watch.readiness().unwrap();
    while watch.try_recv().is_ok() {}
    let third = Worker::join(&cluster, "third").unwrap();
    let change = wait_for(&ready, || watch.try_recv().ok());
    assert!(matches!(change, WorkerChange::Joined(info) if info.name == "third"));

    let mut sum = 0;
    let mut events = worker.events().unwrap();
    let mut changes = 0;
    let counted = std::cell::Cell::new(0);
    events.on::<u64>("add", |number, _| {
        sum += number.to_native();
        counted.set(counted.get() + 1);
    });
    events.on_worker(|_, _| changes += 1);
    let ready = events.readiness().unwrap();
    events.poll().unwrap();
    third.emitter().unwrap().emit("add", &7_u64).unwrap();
    wait_for(&ready, || (events.poll().unwrap() > 0).then_some(()));
    drop(third);
    let ended = std::cell::Cell::new(false);
    events.on_worker(|_, _| ended.set(true));
    wait_for(&ready, || {
        events.poll().unwrap();
        ended.get().then_some(())
    });
    drop(events);
    assert_eq!((sum, changes), (7, 1));
    drop((inbox, queue, service, watch));
    worker.leave().unwrap();
}

/// What a worker listens to, and how much of it came.
struct Listens {
    inbox: Inbox,
    queue: QueueConsumer<u64>,
    service: Service<u64, u64>,
    watch: packetring::cluster::Watch,
    topic: Subscriber<u64>,
    came: [u64; 5],
}

impl Listens {
    fn new(worker: &Worker) -> Self {
        Self {
            inbox: worker.inbox().unwrap(),
            queue: worker.queue("jobs").unwrap(),
            service: worker.service("double").unwrap(),
            watch: worker.watch().unwrap(),
            topic: worker.subscriber("prices").unwrap(),
            came: [0; 5],
        }
    }

    fn readiness(&mut self) -> Readiness {
        let Self { inbox, queue, service, watch, topic, .. } = self;
        Readiness::of(&mut [inbox, queue, service, watch, topic]).unwrap()
    }

    /// Takes everything that is there.
    fn take_all(&mut self) {
        while let Ok(message) = self.inbox.try_recv() {
            message.ack();
            self.came[0] += 1;
        }
        while let Ok(job) = self.queue.try_recv() {
            Delivery::ack(job);
            self.came[1] += 1;
        }
        while let Ok(request) = self.service.try_recv() {
            Request::reply(request, &0).unwrap();
            self.came[2] += 1;
        }
        while self.watch.try_recv().is_ok() {
            self.came[3] += 1;
        }
        while self.topic.try_recv().is_ok() {
            self.came[4] += 1;
        }
    }
}

#[test]
fn one_descriptor_tells_of_all_that_a_worker_listens_to() {
    const ROUNDS: u64 = 50;
    for is_edge in [false, true] {
        let _watch = Watch::start();
        let cluster = unique("ready-all");
        let shop = Worker::join(&cluster, "shop").unwrap();
        let mut listens = Listens::new(&shop);
        let ready = listens.readiness();
        let set = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
        let edge = if is_edge { epoll::EventFlags::ET } else { epoll::EventFlags::empty() };
        let flags = epoll::EventFlags::IN | edge;
        epoll::add(&set, &ready, epoll::EventData::new_u64(7), flags).unwrap();
        let feed = Worker::join(&cluster, "feed").unwrap();
        thread::scope(|scope| {
            let sending = scope.spawn(|| {
                let client: Client<u64, u64> = feed.client("double").unwrap();
                let mut jobs = feed.queue_publisher::<u64>("jobs").unwrap();
                let mut prices = feed.publisher::<u64>("prices").unwrap();
                for number in 0..ROUNDS {
                    feed.send_to("shop", &number).unwrap();
                    thread::sleep(Duration::from_micros(number * 10));
                    jobs.send(&number).unwrap();
                    prices.send(&number).unwrap();
                    // Waits until the loop has served it.
                    client.call(&number).unwrap();
                }
                Worker::join(&cluster, "third").unwrap()
            });
            let mut events = Vec::with_capacity(4);
            let wanted = [ROUNDS, ROUNDS, ROUNDS, 2, ROUNDS];
            while listens.came != wanted {
                events.clear();
                epoll::wait(&set, rustix::buffer::spare_capacity(&mut events), None).unwrap();
                listens.take_all();
            }
            drop(sending.join().unwrap());
        });
        drop(listens);
        shop.leave().unwrap();
    }
}

#[test]
fn a_descriptor_of_several_is_readable_while_one_of_them_is() {
    let (one, two) = (small().heap().unwrap(), small().heap().unwrap());
    let (mut first, mut second) =
        (one.subscriber::<u64>().unwrap(), two.subscriber::<u64>().unwrap());
    let mut publishers = [one.publisher::<u64>().unwrap(), two.publisher::<u64>().unwrap()];
    let ready = Readiness::of(&mut [&mut first, &mut second]).unwrap();
    assert!(is_readable(&ready, Duration::ZERO), "readable from the start");
    let mut is_quiet = |_: &i32| {
        assert!(first.try_recv().is_err() && second.try_recv().is_err());
        !is_readable(&ready, Duration::ZERO)
    };
    assert!((0..100).filter(|round| is_quiet(round)).count() > 50);
    for publisher in &mut publishers {
        assert!(first.try_recv().is_err() && second.try_recv().is_err());
        publisher.send(&7).unwrap();
        wait_for(&ready, || first.try_recv().or_else(|_| second.try_recv()).ok().map(drop));
    }
    // An endpoint that is gone says no more.
    publishers[0].send(&8).unwrap();
    wait_readable(&ready);
    drop(first);
    let mut is_quiet = |_: &i32| {
        assert!(second.try_recv().is_err());
        !is_readable(&ready, Duration::ZERO)
    };
    assert!((0..100).filter(|round| is_quiet(round)).count() > 50);
    publishers[1].send(&9).unwrap();
    wait_for(&ready, || second.try_recv().ok().map(|number| assert_eq!(*number, 9)));
    drop(second);
    // The thread that waits for endpoints may have the last copy of its descriptor for a moment.
    support::wait_until("nothing is left in it", || !is_readable(&ready, Duration::ZERO));
}

#[test]
fn a_descriptor_of_several_is_refused_if_one_of_them_has_none() {
    let (one, two) = (small().heap().unwrap(), small().wait(Wait::event()).heap().unwrap());
    let (mut first, mut second) =
        (one.subscriber::<u64>().unwrap(), two.subscriber::<u64>().unwrap());
    let refused = Readiness::of(&mut [&mut first, &mut second]).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unsupported);
    let refused = Readiness::of(&mut [&mut first, &mut Stop::new()]).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unsupported);
    assert!(!is_readable(&Readiness::of(&mut []).unwrap(), Duration::ZERO));
}

#[test]
fn a_publisher_learns_of_room_that_no_reader_made() {
    let _watch = Watch::start();
    let ring = small().overflow(Overflow::DropOldest).heap().unwrap();
    let mut subscriber = ring.subscriber::<u64>().unwrap();
    let mut publisher = ring.publisher::<u64>().unwrap();
    publisher.send(&0).unwrap();
    let held = subscriber.recv().unwrap();
    while publisher.try_send(&1).is_ok() {}
    let mut room = Box::pin(publisher.ready());
    assert!(room.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    // The cursor stays where it is, but the packet may be evicted now.
    Received::unreceive(held);
    block_on(room).unwrap();
    publisher.try_send(&2).unwrap();
}

#[test]
fn a_search_that_finds_nothing_makes_a_descriptor_not_readable() {
    let _watch = Watch::start();
    let ring = small().heap().unwrap();
    let mut subscriber = ring.subscriber::<u64>().unwrap();
    let mut publisher = ring.publisher::<u64>().unwrap();
    let ready = subscriber.readiness().unwrap();
    let set = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
    let flags = epoll::EventFlags::IN | epoll::EventFlags::ET;
    epoll::add(&set, &ready, epoll::EventData::new_u64(7), flags).unwrap();
    let mut events = Vec::with_capacity(4);
    for round in 0..50 {
        publisher.send(&1).unwrap();
        assert!(subscriber.try_recv_where(|number| *number > 1).is_err());
        publisher.send(&(round + 2)).unwrap();
        loop {
            events.clear();
            epoll::wait(&set, rustix::buffer::spare_capacity(&mut events), None).unwrap();
            if let Ok(number) = subscriber.try_recv_where(|number| *number > 1) {
                break assert_eq!(*number, round + 2);
            }
        }
    }
}

#[test]
fn a_future_ends_when_the_ring_was_removed_and_nobody_is_left() {
    let _watch = Watch::start();
    let name = unique("ready-removed");
    let ring = small().open(&name).unwrap();
    let mut subscriber = ring.subscriber::<u64>().unwrap();
    std::fs::remove_file(object(&name)).unwrap();
    block_on(subscriber.ready()).unwrap();
    assert!(matches!(subscriber.recv(), Err(RecvError::Detached(_))));
}

#[test]
fn a_future_ends_when_a_latest_value_was_removed_and_nobody_can_write_it() {
    let _watch = Watch::start();
    let name = unique("ready-latest");
    let latest = Latest::<u64>::open(&name).unwrap();
    let mut reader = latest.reader().unwrap();
    std::fs::remove_file(object(&name)).unwrap();
    block_on(reader.ready()).unwrap();
    assert!(matches!(reader.wait_changed(), Err(ChangedError::Detached(_))));
}

#[test]
fn events_end_when_the_directory_was_removed() {
    let _watch = Watch::start();
    let cluster = unique("ready-directory");
    let worker = Worker::join(&cluster, "a").unwrap();
    let mut events = worker.events().unwrap();
    events.on_worker(|_, _| {});
    std::fs::remove_file(object(&format!("{cluster}~d"))).unwrap();
    assert!(matches!(events.run(), Err(RunError::Detached(_))));
    drop(events);
}

#[test]
fn a_forked_child_leaves_its_parents_descriptor_alone() {
    let ring = small().heap().unwrap();
    let mut subscriber = ring.subscriber::<u64>().unwrap();
    let mut publisher = ring.publisher::<u64>().unwrap();
    let ready = subscriber.readiness().unwrap();
    assert!(matches!(subscriber.try_recv(), Err(TryRecvError::Empty)));
    publisher.send(&7).unwrap();
    wait_readable(&ready);
    // SAFETY: the child only polls, and ends with `_exit`.
    match unsafe { libc::fork() } {
        0 => {
            let has_packet = subscriber.try_recv().is_ok();
            let is_empty = matches!(subscriber.try_recv(), Err(TryRecvError::Empty));
            // SAFETY: the call ends the child.
            unsafe { libc::_exit(i32::from(!(has_packet && is_empty))) };
        }
        child => {
            let mut status = -1;
            // SAFETY: the call writes the status.
            assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
            assert_eq!(status, 0);
        }
    }
    assert!(is_readable(&ready, Duration::ZERO), "the child made it not readable");
}

#[test]
fn a_latest_value_is_ready_until_it_is_read() {
    let _watch = Watch::start();
    let latest = Latest::<u64>::builder().heap_latest::<u64>().unwrap();
    let (mut writer, mut reader) = (latest.writer().unwrap(), latest.reader().unwrap());
    let ready = reader.readiness().unwrap();
    assert!(reader.try_changed().is_err(), "nothing yet");
    let set = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
    let flags = epoll::EventFlags::IN | epoll::EventFlags::ET;
    epoll::add(&set, &ready, epoll::EventData::new_u64(7), flags).unwrap();
    let mut events = Vec::with_capacity(4);
    for number in 1..200 {
        writer.write(&number).unwrap();
        loop {
            events.clear();
            epoll::wait(&set, rustix::buffer::spare_capacity(&mut events), None).unwrap();
            // One read for each event, also if the newest value was read before.
            if *reader.read().unwrap() == number {
                break;
            }
        }
    }
    let is_quiet = |_: &i32| {
        let _ = reader.read().unwrap();
        !is_readable(&ready, Duration::ZERO)
    };
    assert!((0..100).filter(is_quiet).count() > 50, "a read ends the readiness");
}

#[test]
fn a_stop_makes_a_descriptor_readable() {
    let _watch = Watch::start();
    let ring = small().heap().unwrap();
    let mut subscriber = ring.subscriber::<u64>().unwrap();
    let ready = subscriber.readiness().unwrap();
    let stop = Stop::new();
    subscriber.set_stop(&stop);
    while subscriber.try_recv().is_ok() {}
    stop.stop();
    wait_for(&ready, || matches!(subscriber.try_recv(), Err(TryRecvError::Stopped)).then_some(()));
}

fn publish_and_hang(role: &Role) {
    let ring = Ring::open(&role.arguments[0]).unwrap();
    let mut publisher = ring.publisher::<u64>().unwrap();
    publisher.wait_for_subscribers(1).unwrap();
    publisher.send(&7).unwrap();
    peer::hear();
}

#[test]
fn the_death_of_the_last_publisher_makes_a_descriptor_readable() {
    let _watch = Watch::start();
    let name = unique("ready-death");
    let ring = Ring::open(&name).unwrap();
    let mut subscriber = ring.subscriber::<u64>().unwrap();
    let ready = subscriber.readiness().unwrap();
    let mut child = Peer::start(&format!("publish-and-hang {name}"));
    wait_for(&ready, || subscriber.try_recv().ok().map(|number| assert_eq!(*number, 7)));
    assert!(matches!(subscriber.try_recv(), Err(TryRecvError::Empty)));
    child.kill();
    wait_for(&ready, || matches!(subscriber.try_recv(), Err(TryRecvError::Closed)).then_some(()));
}

/// Threads of the reactor in this process, and descriptors for event loops.
fn left() -> (usize, usize) {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let name = |task: &std::fs::DirEntry| std::fs::read_to_string(task.path().join("comm"));
    let is_own =
        |task: &std::fs::DirEntry| name(task).is_ok_and(|it| it.trim() == "packetring-wait");
    let threads = tasks.map(Result::unwrap).filter(is_own).count();
    let links = std::fs::read_dir("/proc/self/fd").unwrap();
    let target = |link: std::fs::DirEntry| std::fs::read_link(link.path());
    let is_eventfd = |path: &std::path::PathBuf| path.to_string_lossy().contains("[eventfd]");
    let descriptors = links.map(Result::unwrap).filter_map(|it| target(it).ok()).filter(is_eventfd);
    (threads, descriptors.count())
}

/// Returns true if the kernel has `IORING_OP_FUTEX_WAIT` (Linux 6.7) and does not refuse io_uring.
fn has_io_uring() -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split(['.', '-']).map(|it| it.parse::<u32>().unwrap_or(0));
    let version = (numbers.next().unwrap(), numbers.next().unwrap());
    let mut settings = [0_u32; 30];
    // SAFETY: the call reads and writes 120 bytes.
    let ring = unsafe { libc::syscall(libc::SYS_io_uring_setup, 1, settings.as_mut_ptr()) };
    if ring >= 0 {
        // SAFETY: the call has just made the descriptor.
        drop(unsafe { OwnedFd::from_raw_fd(ring as i32) });
    }
    ring >= 0 && version >= (6, 7)
}

/// A thousand endpoints of one process, in a child that counts what is left. The kernel refuses
/// io_uring, if that is the second argument.
fn echo(role: &Role) {
    let count = role.number(0) as usize;
    let is_refused = role.arguments[1] == "refused";
    if is_refused {
        refuse_io_uring();
    }
    assert!(!(is_refused && has_io_uring()));
    let threads = if has_io_uring() { 1 } else { count.div_ceil(126) };
    let ring = small().max_subscribers(64).heap().unwrap();
    let rings: Vec<Ring> =
        (0..count / 50).map(|_| small().max_subscribers(64).heap().unwrap()).collect();
    drop(ring);
    let mut publishers: Vec<_> = rings.iter().map(|it| it.publisher::<u64>().unwrap()).collect();
    let mut all: Vec<_> =
        (0..count).map(|index| rings[index / 50].subscriber::<u64>().unwrap()).collect();
    let ready: Vec<Readiness> = all.iter_mut().map(|it| it.readiness().unwrap()).collect();
    // A thread has its name some time after its start.
    wait_until("each lane has its thread", || left() == (threads, count));
    for round in 0..3_u64 {
        for subscriber in &mut all {
            assert!(matches!(subscriber.try_recv(), Err(TryRecvError::Empty)));
        }
        publishers.iter_mut().for_each(|publisher| _ = publisher.send(&round).unwrap());
        for (subscriber, ready) in all.iter_mut().zip(&ready) {
            let found = wait_for(ready, || subscriber.try_recv().ok().map(|number| *number));
            assert_eq!(found, round);
        }
    }
    // In any order.
    for index in (0..count).step_by(3) {
        drop(all[index].ready());
    }
    drop(all);
    assert_eq!(left().1, count, "a readiness outlives its endpoint");
    drop(ready);
    wait_until("nothing is left", || left() == (0, 0));
    peer::say("done");
}

#[test]
fn a_thousand_endpoints_are_told_and_leave_nothing() {
    for io_uring in ["allowed", "refused"] {
        let mut child = Peer::start(&format!("echo 1000 {io_uring}"));
        child.expect("done");
        child.finish();
    }
}

#[test]
fn a_forked_child_has_its_own_reactor() {
    let _watch = Watch::start();
    let ring = small().heap().unwrap();
    let mut subscriber = ring.subscriber::<u64>().unwrap();
    let _ready = subscriber.readiness().unwrap();
    // SAFETY: the child only uses what it makes itself, and ends with `_exit`.
    match unsafe { libc::fork() } {
        0 => {
            let ring = small().heap().unwrap();
            let mut subscriber = ring.subscriber::<u64>().unwrap();
            let ready = subscriber.readiness().unwrap();
            let mut publisher = ring.publisher::<u64>().unwrap();
            let mut works = matches!(subscriber.try_recv(), Err(TryRecvError::Empty));
            publisher.send(&7).unwrap();
            works &= wait_for(&ready, || subscriber.try_recv().ok().map(|number| *number)) == 7;
            // SAFETY: the call ends the child.
            unsafe { libc::_exit(i32::from(!works)) };
        }
        child => {
            let mut status = -1;
            // SAFETY: the call writes the status.
            assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
            assert_eq!(status, 0);
        }
    }
}

/// An executor of one future.
struct Unparks(Thread, AtomicUsize);

impl Wake for Unparks {
    fn wake(self: Arc<Self>) {
        self.1.fetch_add(1, Ordering::SeqCst);
        self.0.unpark();
    }
}

fn block_on<F: Future>(future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unparks(thread::current(), AtomicUsize::new(0))));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

/// Ends when either future does, and drops the other.
async fn race<A: Future + Unpin, B: Future + Unpin>(mut a: A, mut b: B) -> bool {
    std::future::poll_fn(|context| {
        if Pin::new(&mut a).poll(context).is_ready() {
            return Poll::Ready(true);
        }
        Pin::new(&mut b).poll(context).map(|_| false)
    })
    .await
}

#[test]
fn a_future_ends_when_there_is_something() {
    let _watch = Watch::start();
    let ring = small().open(&unique("ready-future")).unwrap();
    let mut subscriber = ring.subscriber::<u64>().unwrap();
    let mut publisher = ring.publisher::<u64>().unwrap();
    let is_send = |_: &dyn Send| {};
    is_send(&subscriber.ready());
    thread::scope(|scope| {
        scope.spawn(move || {
            for number in 0..2000_u64 {
                block_on(async {
                    while let Err(TrySendError::Full { .. }) = publisher.try_send(&number) {
                        publisher.ready().await.unwrap();
                    }
                });
                if number % 10 == 0 {
                    thread::sleep(Duration::from_micros(50));
                }
            }
        });
        block_on(async {
            for number in 0..2000 {
                subscriber.ready().await.unwrap();
                let received = subscriber.recv().unwrap();
                assert_eq!(*received, number);
                // A guard may live across an await.
                std::future::ready(()).await;
            }
        });
    });
}

#[test]
fn a_dropped_future_loses_nothing() {
    let _watch = Watch::start();
    let (one, two) = (small().heap().unwrap(), small().heap().unwrap());
    let mut first = one.subscriber::<u64>().unwrap();
    let mut second = two.subscriber::<u64>().unwrap();
    let mut publishers = [one.publisher::<u64>().unwrap(), two.publisher::<u64>().unwrap()];
    thread::scope(|scope| {
        scope.spawn(move || {
            for number in 0..4000_u64 {
                publishers[(number * 7 % 5 % 2) as usize].send(&number).unwrap();
                if number % 16 == 0 {
                    thread::sleep(Duration::from_micros(50));
                }
            }
        });
        let mut next = 0;
        block_on(async {
            while next < 4000 {
                // The future that loses is dropped.
                race(first.ready(), second.ready()).await;
                for subscriber in [&mut first, &mut second] {
                    while let Ok(number) = subscriber.try_recv() {
                        assert!(*number < 4000);
                        next += 1;
                    }
                }
            }
        });
        assert_eq!(next, 4000);
    });
}

#[test]
fn a_dropped_future_leaves_no_waker() {
    let ring = small().heap().unwrap();
    let mut subscriber = ring.subscriber::<u64>().unwrap();
    let unparks = Arc::new(Unparks(thread::current(), AtomicUsize::new(0)));
    let waker = Waker::from(Arc::clone(&unparks));
    let mut future = Box::pin(subscriber.ready());
    assert!(future.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    drop(future);
    drop(waker);
    // The reactor may be waking it at this moment.
    wait_until("the waker is gone", || Arc::strong_count(&unparks) == 1);
}

#[test]
fn a_stopped_future_ends() {
    let _watch = Watch::start();
    let stop = Stop::new();
    let ring = small().stop(&stop).heap().unwrap();
    let mut subscriber = ring.subscriber::<u64>().unwrap();
    let waiting = this_thread();
    thread::scope(|scope| {
        scope.spawn(|| {
            wait_until_asleep(waiting);
            stop.stop();
        });
        block_on(subscriber.ready()).unwrap();
        assert!(matches!(subscriber.recv(), Err(RecvError::Stopped)));
    });
}

#[test]
fn a_readiness_is_a_descriptor() {
    let ring = small().heap().unwrap();
    let mut subscriber = ring.subscriber::<u64>().unwrap();
    let (one, other) = (subscriber.readiness().unwrap(), subscriber.readiness().unwrap());
    use std::os::fd::AsRawFd;
    assert_eq!(one.as_fd().as_raw_fd(), other.as_raw_fd(), "one for each endpoint");
    assert!(format!("{one:?}").starts_with("Readiness("));
}
