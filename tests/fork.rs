//! Processes that fork without `exec`, and threads that vanish. A child inherits nothing of its
//! parent's endpoints, and an endpoint lives as long as its process.
//!
//! Only peers fork: a child of the test process could inherit locks that other test threads hold.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod support;

use packetring::cluster::{
    CallTimeoutError, Client, Deferred, Delivery, Events, Inbox, JoinError, QueueConsumer, Request,
    SendToError, Service, Watch, WorkerChange,
};
use packetring::{
    OpenError, Publisher, RecvTimeoutError, Ring, RingBuilder, SendTimeoutError, Subscriber,
    TryRecvError, TrySendError, Wait, Worker,
};
use rustix::process::{Pid, Resource, Rlimit, WaitOptions, WaitStatus, setrlimit, waitpid};
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::process::Command;
use support::peer::{self, Peer, Role};
use support::{LONG, SHORT, assert_gone, object, state_of, unique, wait_until};

const SIGSEGV: i32 = 11;

/// Holds 16 packets, so that it fills up soon.
fn small() -> RingBuilder {
    Ring::builder().capacity(1024).stays_open(true)
}

/// Forks. The child runs `body`, catches its panics, and exits with its result.
fn fork(body: impl FnOnce() -> i32) -> Pid {
    // SAFETY: the child runs `body` in its only thread and then exits.
    match unsafe { libc::fork() } {
        0 => {
            let body = std::panic::AssertUnwindSafe(body);
            let code = std::panic::catch_unwind(body).unwrap_or(101);
            // SAFETY: ends the child and skips the exit handlers of the test harness.
            unsafe { libc::_exit(code) }
        }
        pid => Pid::from_raw(pid).unwrap(),
    }
}

/// Waits for a child and returns its exit status.
fn end_of(child: Pid) -> WaitStatus {
    waitpid(Some(child), WaitOptions::empty()).unwrap().unwrap().1
}

#[track_caller]
fn assert_succeeds(child: Pid) {
    assert_eq!(end_of(child).exit_status(), Some(0));
}

#[track_caller]
fn assert_faults(child: Pid) {
    let end = end_of(child);
    assert_eq!(end.terminating_signal(), Some(SIGSEGV), "{end:?}");
}

/// Entry point of the child processes; does nothing without a role.
#[test]
fn peer() {
    let Some(role) = peer::role() else { return };
    // Some children fault on purpose. Disable core dumps.
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) }).unwrap();
    match role.name.as_str() {
        "outlived" => outlived(&role),
        "drop" => drop_in_child(&role),
        "open-anew" => reopen_in_child(&role),
        "refuse" => refuse_in_child(&role),
        "fault" => fault_in_child(&role),
        "heap" => heap_in_child(),
        "storm" => storm(&role),
        "worker" => worker_in_child(&role),
        "refuse-worker" => refuse_worker_in_child(&role),
        "fault-worker" => fault_worker_in_child(&role),
        "vanish" => vanish(&role),
        other => panic!("{other}"),
    }
}

/// Joins a ring or a cluster and is killed while its child lives. Arguments: ring or cluster, and
/// the resource that it leaves behind.
fn outlived(role: &Role) {
    if role.arguments[1] == "slot" {
        let worker = Worker::join(&role.arguments[0], "parent").unwrap();
        let _inbox = worker.inbox().unwrap();
        return run_until_killed_with_child();
    }
    let ring = Ring::attach(&role.arguments[0]).unwrap();
    let mut out = ring.publisher::<u64>().unwrap();
    let _texts = (role.arguments[1] == "cursor").then(|| ring.subscriber::<u64>().unwrap());
    if role.arguments[1] == "claim" {
        std::mem::forget(out.reserve().unwrap());
    }
    run_until_killed_with_child();
}

/// Forks a child that lives until the test ends, and waits to be killed.
fn run_until_killed_with_child() {
    let (mut child_started, mut started) = std::io::pipe().unwrap();
    let child = fork(|| {
        // The fork has completed in the child too.
        started.write_all(&[1]).unwrap();
        let mut byte = 0_u8;
        // SAFETY: reads at most one byte into `byte`. Returns when the test closes the other end.
        while unsafe { libc::read(0, (&raw mut byte).cast(), 1) } > 0 {}
        0
    });
    child_started.read_exact(&mut [0]).unwrap();
    peer::say(&child.as_raw_nonzero().to_string());
    std::thread::sleep(2 * LONG);
}

/// Starts a peer and kills it while its child lives. Returns the peer and the child's process id.
fn kill_parent(place: &str, leaves: &str, before: impl FnOnce()) -> (Peer, u32) {
    let mut parent = Peer::start(&format!("outlived {place} {leaves}"));
    let child = parent.hear().parse().unwrap();
    before();
    parent.kill();
    assert!(matches!(state_of(child), Some('S' | 'R')));
    (parent, child)
}

#[test]
fn a_child_does_not_keep_the_claim_of_its_dead_parent() {
    let name = unique("fork-claim");
    let ring = small().open(&name).unwrap();
    let mut numbers = ring.subscriber::<u64>().unwrap();
    let mut out = ring.publisher::<u64>().unwrap();
    let (_parent, child) = kill_parent(&name, "claim", || {
        out.send(&7).unwrap();
        assert!(matches!(numbers.recv_timeout(SHORT), Err(RecvTimeoutError::Timeout)));
    });
    assert_eq!(*numbers.recv_timeout(LONG).unwrap(), 7);
    assert!(matches!(state_of(child), Some('S' | 'R')), "the child died early");
}

#[test]
fn a_child_does_not_keep_the_cursor_of_its_dead_parent() {
    let name = unique("fork-cursor");
    let ring = small().open(&name).unwrap();
    let mut out = ring.publisher::<u64>().unwrap();
    let (_parent, child) = kill_parent(&name, "cursor", || {
        (0..16).for_each(|number| assert!(out.try_send(&number).is_ok()));
        assert!(matches!(out.try_send(&16), Err(TrySendError::Full { .. })));
    });
    out.send_timeout(&16, LONG).unwrap();
    assert!(matches!(state_of(child), Some('S' | 'R')), "the child died early");
}

#[test]
fn a_child_does_not_keep_the_ring_of_its_dead_parent() {
    let name = unique("fork-ring");
    let ring = small().open(&name).unwrap();
    let (_parent, child) = kill_parent(&name, "nothing", || drop(ring.publisher::<u64>()));
    drop(ring);
    assert_gone(&name);
    assert!(matches!(state_of(child), Some('S' | 'R')), "the child died early");
}

#[test]
fn a_child_does_not_keep_the_worker_slot_of_its_dead_parent() {
    let cluster = unique("fork-slot");
    let own = Worker::join(&cluster, "own").unwrap();
    let mut watch = own.watch().unwrap();
    let (parent, child) = kill_parent(&cluster, "slot", || {
        let change = watch.recv_timeout(LONG).unwrap();
        assert!(matches!(change, WorkerChange::Joined(_)), "{change:?}");
        own.send_to("parent", &7_u64).unwrap();
    });
    let change = watch.recv_timeout(LONG).unwrap();
    assert!(
        matches!(&change, WorkerChange::Died(worker) if worker.pid == parent.pid()),
        "{change:?}"
    );
    let successor = Worker::join(&cluster, "parent").unwrap();
    let mut inbox = successor.inbox().unwrap();
    inbox.try_recv().unwrap().ack();
    drop(inbox);
    successor.leave().unwrap();
    drop((watch, own));
    assert_eq!(objects(&cluster), [""; 0]);
    assert!(matches!(state_of(child), Some('S' | 'R')), "the child died early");
}

type All = (Ring, Publisher<u64>, Subscriber<u64>, Subscriber<u64>);

fn all(ring: Ring) -> All {
    let (out, numbers) = (ring.publisher::<u64>().unwrap(), ring.subscriber::<u64>().unwrap());
    let billing = ring.durable("billing").unwrap();
    (ring, out, numbers, billing)
}

/// Owns endpoints of each kind, which a child drops. Arguments: ring, wait.
fn drop_in_child(role: &Role) {
    let wait = if role.arguments[1] == "event" { Wait::event() } else { Wait::park() };
    let ring = small().wait(wait).open(&role.arguments[0]).unwrap();
    let (ring, mut out, mut numbers, mut billing) = all(ring);
    out.send(&1).unwrap();
    assert_eq!(*numbers.recv().unwrap(), 1);
    assert_eq!(*billing.recv().unwrap(), 1);
    // A burst that a child drops stays open.
    let mut burst = Some(out.burst(2).unwrap());
    assert_succeeds(fork(|| {
        burst = None;
        0
    }));
    burst.as_mut().unwrap().send(&1).unwrap();
    drop(burst);
    assert_eq!(*numbers.recv().unwrap(), 1);
    assert_eq!(*billing.recv().unwrap(), 1);
    let mut everything = Some((ring, out, numbers, billing));
    for _ in 0..3 {
        assert_succeeds(fork(|| {
            everything = None;
            0
        }));
    }
    let (ring, mut out, mut numbers, mut billing) = everything.unwrap();
    peer::say("dropped");
    peer::hear();
    for number in 2..100 {
        out.send(&number).unwrap();
        assert_eq!(*numbers.try_recv().unwrap(), number);
        assert_eq!(*billing.try_recv().unwrap(), number);
    }
    drop((out, numbers, billing));
    assert!(ring.remove_durable("billing").unwrap());
}

#[test]
fn endpoints_dropped_by_a_child_still_belong_to_its_parent() {
    for wait in ["park", "event"] {
        let name = unique("fork-drop");
        let mut parent = Peer::start(&format!("drop {name} {wait}"));
        parent.expect("dropped");
        let ring = Ring::attach(&name).unwrap();
        assert_eq!(ring.subscribers(), 2);
        let error = ring.durable::<u64>("billing").unwrap_err();
        assert!(
            matches!(error, OpenError::NameTaken { pid, .. } if pid == parent.pid()),
            "{error}"
        );
        drop(ring);
        assert!(object(&name).exists());
        parent.tell("go");
        parent.finish();
        assert_gone(&name);
    }
}

/// Owns a ring that a child opens anew, and then a child of that child. Arguments: ring.
fn reopen_in_child(role: &Role) {
    let name = &role.arguments[0];
    let (ring, out, mut numbers, billing) = all(small().open(name).unwrap());
    let mut parents = Some((ring, out, billing));
    let child = fork(|| {
        let own = Ring::attach(name).unwrap();
        let mut out = own.publisher::<u64>().unwrap();
        out.send(&1).unwrap();
        parents = None;
        out.send(&2).unwrap();
        let mut own = Some((own, out));
        assert_succeeds(fork(|| {
            own = None;
            let mut out = Ring::attach(name).unwrap().publisher::<u64>().unwrap();
            out.send(&3).unwrap();
            0
        }));
        own.as_mut().unwrap().1.send(&4).unwrap();
        0
    });
    assert_succeeds(child);
    for number in 1..=4 {
        assert_eq!(*numbers.try_recv().unwrap(), number);
    }
    let (ring, mut out, billing) = parents.unwrap();
    out.send(&5).unwrap();
    assert_eq!(*numbers.try_recv().unwrap(), 5);
    drop((billing, out, numbers));
    assert!(ring.remove_durable("billing").unwrap());
}

#[test]
fn a_child_can_open_the_ring_itself() {
    let name = unique("fork-anew");
    Peer::start(&format!("open-anew {name}")).finish();
    assert_gone(&name);
}

/// Owns a ring through which a child tries to join. Arguments: ring.
fn refuse_in_child(role: &Role) {
    let (ring, out, mut numbers, billing) = all(small().open(&role.arguments[0]).unwrap());
    assert_succeeds(fork(|| {
        for error in [
            ring.publisher::<u64>().unwrap_err(),
            ring.subscriber::<u64>().unwrap_err(),
            ring.durable::<u64>("other").unwrap_err(),
            ring.close().unwrap_err(),
            ring.remove_durable("billing").unwrap_err(),
            out.try_clone().unwrap_err(),
            numbers.try_clone().unwrap_err(),
        ] {
            assert!(matches!(error, OpenError::System { .. }), "{error}");
            assert!(error.to_string().contains("open it again in the child"), "{error}");
        }
        0
    }));
    drop((billing, out));
    assert!(ring.remove_durable("billing").unwrap());
    assert_eq!(ring.subscribers(), 1);
}

#[test]
fn a_child_cannot_join_through_its_parents_ring() {
    let name = unique("fork-refuse");
    Peer::start(&format!("refuse {name}")).finish();
    assert_gone(&name);
}

/// The address and length of the first mapping of a ring in this process. The page that keeps the
/// locks of an attachment maps the same file without access.
fn mapping(name: &str) -> (usize, usize) {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let object = format!("packetring.{name}");
    let is_own = |line: &&str| line.ends_with(&object) && line.contains(" rw-s ");
    let line = maps.lines().find(is_own).unwrap();
    let (start, end) = line.split_whitespace().next().unwrap().split_once('-').unwrap();
    let address = |text| usize::from_str_radix(text, 16).unwrap();
    (address(start), address(end) - address(start))
}

/// Owns endpoints that children try to use. Arguments: ring.
fn fault_in_child(role: &Role) {
    let name = &role.arguments[0];
    let ring = small().open(name).unwrap();
    // These endpoints share the only mapping of the ring in this process, so `mapping` finds it.
    let out = &mut ring.publisher::<u64>().unwrap();
    let numbers = &mut ring.subscriber::<u64>().unwrap();
    let (start, len) = mapping(name);
    // The kernel must place a new mapping elsewhere: the range of the ring stays reserved.
    let map_same_address = || {
        let hint = std::ptr::without_provenance_mut(start);
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: maps fresh memory.
        let got = unsafe { libc::mmap(hint, len, access, flags, -1, 0) };
        assert_ne!(got, hint);
    };
    assert_faults(fork(|| out.try_send(&1).map_or(1, |_| 2)));
    assert_faults(fork(|| numbers.try_recv().map_or(1, |_| 2)));
    assert_faults(fork(|| ring.subscribers() as i32));
    assert_faults(fork(|| {
        map_same_address();
        ring.types().len() as i32
    }));
    out.send(&1).unwrap();
    assert_eq!(*numbers.try_recv().unwrap(), 1);
}

#[test]
fn a_child_that_uses_inherited_endpoints_faults() {
    let name = unique("fork-fault");
    Peer::start(&format!("fault {name}")).finish();
    assert_gone(&name);
}

/// Owns a ring on the heap, of which a child gets a copy.
fn heap_in_child() {
    let ring = small().heap().unwrap();
    let mut out = ring.publisher::<u64>().unwrap();
    let mut numbers = ring.subscriber::<u64>().unwrap();
    out.send(&1).unwrap();
    assert_succeeds(fork(|| {
        assert_eq!(*numbers.try_recv().unwrap(), 1);
        out.send(&2).unwrap();
        assert_eq!(*numbers.try_recv().unwrap(), 2);
        0
    }));
    assert_eq!(*numbers.try_recv().unwrap(), 1);
    assert!(matches!(numbers.try_recv(), Err(TryRecvError::Empty)));
}

#[test]
fn a_child_has_its_own_copy_of_a_heap_ring() {
    Peer::start("heap").finish();
}

/// A worker with an endpoint of each kind.
struct WorkerEndpoints {
    worker: Worker,
    inbox: Inbox,
    client: Client<u64, u64>,
    service: Service<u64, u64>,
    deferred: Option<Deferred<u64>>,
    jobs: QueueConsumer<u64>,
    numbers: Subscriber<u64>,
    events: Events<'static>,
    watch: Watch,
}

impl WorkerEndpoints {
    fn of(worker: Worker) -> Self {
        let mut events = worker.events().unwrap();
        events.on::<u64>("n", |number, _| peer::say(&format!("event {number}")));
        events.on_worker(|_, _| {});
        Self {
            inbox: worker.inbox().unwrap(),
            client: worker.client("double").unwrap(),
            service: worker.service("half").unwrap(),
            deferred: None,
            jobs: worker.queue("jobs").unwrap(),
            numbers: worker.subscriber("numbers").unwrap(),
            watch: worker.watch().unwrap(),
            events,
            worker,
        }
    }
}

/// Holds a message, a job, a request and two deferred requests while children drop everything.
/// Arguments: cluster.
fn worker_in_child(role: &Role) {
    let mut endpoints = WorkerEndpoints::of(Worker::join(&role.arguments[0], "parent").unwrap());
    let call = endpoints.client.start(&21).unwrap();
    peer::say("listens");
    let mut first = Some(Request::defer(endpoints.service.recv().unwrap()));
    endpoints.deferred = Some(Request::defer(endpoints.service.recv().unwrap()));
    std::mem::forget(endpoints.service.recv().unwrap());
    assert_eq!(*endpoints.inbox.recv().unwrap().open_as::<u64>().unwrap(), 7);
    std::mem::forget(endpoints.inbox.recv().unwrap());
    std::mem::forget(endpoints.jobs.recv().unwrap());
    let mut everything = Some(endpoints);
    for _ in 0..3 {
        assert_succeeds(fork(|| {
            first = None;
            everything = None;
            0
        }));
    }
    peer::say("dropped");
    peer::hear();
    let mut endpoints = everything.unwrap();
    assert_eq!(*call.wait().unwrap(), 42);
    first.unwrap().reply(&1).unwrap();
    endpoints.deferred.take().unwrap().reply(&2).unwrap();
    let message = endpoints.inbox.try_recv().unwrap();
    assert!(message.info().redelivered);
    assert_eq!(*message.open_as::<u64>().unwrap(), 7);
    message.ack();
    assert!(matches!(endpoints.inbox.try_recv(), Err(TryRecvError::Empty)));
    let job = endpoints.jobs.try_recv().unwrap();
    assert_eq!(*job, 8);
    Delivery::ack(job);
    assert_eq!(*endpoints.numbers.try_recv().unwrap(), 9);
    assert_eq!(endpoints.events.poll().unwrap(), 1);
    assert!(matches!(endpoints.watch.recv().unwrap(), WorkerChange::Joined(_)));
    peer::hear();
    let WorkerEndpoints { worker, .. } = endpoints;
    worker.leave().unwrap();
}

/// The names of the shared-memory objects of a cluster.
fn objects(cluster: &str) -> Vec<String> {
    let prefix = format!("packetring.{cluster}~");
    let names = std::fs::read_dir("/dev/shm").unwrap().map(|entry| entry.unwrap().file_name());
    let names = names.filter_map(|name| name.into_string().ok());
    let mut own: Vec<String> = names.filter(|name| name.starts_with(&prefix)).collect();
    own.sort();
    own
}

#[test]
fn worker_endpoints_dropped_by_a_child_still_belong_to_its_parent() {
    let cluster = unique("fork-worker");
    let own = Worker::join(&cluster, "own").unwrap();
    let mut service = own.service::<u64, u64>("double").unwrap();
    let mut jobs = own.queue_publisher::<u64>("jobs").unwrap();
    let mut numbers = own.publisher::<u64>("numbers").unwrap();
    let mut events = own.events().unwrap();
    let client = own.client::<u64, u64>("half").unwrap();
    let mut parent = Peer::start(&format!("worker {cluster}"));
    parent.expect("listens");
    let mut watch = own.watch().unwrap();
    let mut calls = [0, 1, 2].map(|number| client.start(&number).unwrap());
    own.send_to("parent", &7_u64).unwrap();
    jobs.send(&8).unwrap();
    let before = objects(&cluster);
    parent.expect("dropped");
    assert_eq!(objects(&cluster), before);
    assert!(matches!(watch.try_recv(), Err(TryRecvError::Empty)));
    let error = Worker::join(&cluster, "parent").unwrap_err();
    assert!(matches!(error, JoinError::NameTaken { pid, .. } if pid == parent.pid()), "{error}");
    let timeout = 20 * SHORT;
    for call in &mut calls {
        assert!(
            call.wait_timeout(timeout)
                .is_err_and(|e| matches!(e, CallTimeoutError::Timeout { .. }))
        );
    }
    let request = service.recv().unwrap();
    assert!(Request::is_wanted(&request));
    Request::reply(request, &42).unwrap();
    numbers.send(&9).unwrap();
    events.emit("n", &10_u64).unwrap();
    let guest = Worker::join(&cluster, "guest").unwrap();
    parent.tell("go");
    for (call, expected) in calls.iter_mut().zip([1, 2]) {
        assert_eq!(*call.wait_timeout(LONG).unwrap(), expected);
    }
    parent.expect("event 10");
    parent.tell("leave");
    parent.finish();
    assert!(matches!(calls[2].wait_timeout(LONG), Err(CallTimeoutError::NoReply)));
    drop((watch, service, jobs, numbers, events, client, calls, guest, own));
    assert_eq!(objects(&cluster), [""; 0]);
}

/// Owns a worker through which a child tries to open endpoints and to leave. Arguments: cluster.
fn refuse_worker_in_child(role: &Role) {
    let cluster = &role.arguments[0];
    let _other = Worker::join(cluster, "other").unwrap();
    let endpoints = WorkerEndpoints::of(Worker::join(cluster, "parent").unwrap());
    let before = objects(cluster);
    let mut worker = Some(endpoints.worker);
    assert_succeeds(fork(|| {
        let worker = worker.take().unwrap();
        let error = worker.send_to("other", &7_u64).unwrap_err();
        assert!(matches!(error, SendToError::Open(_)), "{error}");
        for error in [
            worker.inbox().unwrap_err(),
            worker.client::<u64, u64>("double").unwrap_err(),
            worker.service::<u64, u64>("double").unwrap_err(),
            worker.queue::<u64>("jobs").unwrap_err(),
            worker.queue_publisher::<u64>("jobs").unwrap_err(),
            worker.subscriber::<u64>("numbers").unwrap_err(),
            worker.publisher::<u64>("more").unwrap_err(),
            worker.events().unwrap_err(),
            worker.watch().unwrap_err(),
            worker.retire("other").unwrap_err(),
            worker.leave().unwrap_err(),
        ] {
            assert!(matches!(error, OpenError::System { .. }), "{error}");
            assert!(error.to_string().contains("open it again in the child"), "{error}");
        }
        // A worker that the child joins itself works and takes nothing from the parent.
        let own = Worker::join(cluster, "child").unwrap();
        own.send_to("parent", &7_u64).unwrap();
        let error = Worker::join(cluster, "parent").unwrap_err();
        assert!(matches!(error, JoinError::NameTaken { .. }), "{error}");
        0
    }));
    assert_eq!(objects(cluster), before);
    let (worker, mut inbox) = (worker.unwrap(), endpoints.inbox);
    let message = inbox.try_recv().unwrap();
    assert_eq!(worker.worker(&message.sender()).unwrap().name, "child");
    message.ack();
    worker.leave().unwrap();
}

#[test]
fn a_child_cannot_open_or_leave_through_its_parents_worker() {
    let cluster = unique("fork-refuse-worker");
    Peer::start(&format!("refuse-worker {cluster}")).finish();
    assert_eq!(objects(&cluster), [""; 0]);
}

/// Owns a worker and its endpoints, which children try to use. Arguments: cluster.
fn fault_worker_in_child(role: &Role) {
    let mut endpoints = WorkerEndpoints::of(Worker::join(&role.arguments[0], "parent").unwrap());
    // Opens the sender that the worker keeps for later messages.
    endpoints.worker.send_to("parent", &7_u64).unwrap();
    let uses: [fn(&mut WorkerEndpoints) -> bool; 11] = [
        |endpoints| endpoints.worker.workers().is_empty(),
        |endpoints| endpoints.worker.worker("parent").is_none(),
        |endpoints| endpoints.worker.send_to("parent", &1_u64).is_ok(),
        |endpoints| endpoints.inbox.try_recv().is_ok(),
        |endpoints| endpoints.client.start(&1).is_ok(),
        |endpoints| endpoints.service.try_recv().is_ok(),
        |endpoints| endpoints.jobs.try_recv().is_ok(),
        |endpoints| endpoints.numbers.try_recv().is_ok(),
        |endpoints| endpoints.events.emit("n", &1_u64).is_ok(),
        |endpoints| endpoints.events.poll().is_ok(),
        |endpoints| endpoints.watch.try_recv().is_ok(),
    ];
    for use_endpoint in uses {
        assert_faults(fork(|| i32::from(use_endpoint(&mut endpoints))));
    }
    let message = endpoints.inbox.try_recv().unwrap();
    assert_eq!(*message.open_as::<u64>().unwrap(), 7);
    message.ack();
    assert_eq!((endpoints.events.poll().unwrap(), endpoints.worker.workers().len()), (0, 1));
    let WorkerEndpoints { worker, .. } = endpoints;
    worker.leave().unwrap();
}

#[test]
fn a_child_that_uses_an_inherited_worker_faults() {
    let cluster = unique("fork-fault-worker");
    Peer::start(&format!("fault-worker {cluster}")).finish();
    assert_eq!(objects(&cluster), [""; 0]);
}

/// Some threads open and drop endpoints while others start programs. Arguments: ring.
fn storm(role: &Role) {
    let ring = small().open(&role.arguments[0]).unwrap();
    let (mut out, mut numbers) =
        (ring.publisher::<u64>().unwrap(), ring.subscriber::<u64>().unwrap());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..300 {
                    drop((ring.publisher::<u64>().unwrap(), ring.subscriber::<u64>().unwrap()));
                }
            });
        }
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..40 {
                    let mut command = Command::new("true");
                    // SAFETY: the closure does nothing. It makes `Command` use `fork`, which runs
                    // the fork handlers.
                    let command = unsafe { command.pre_exec(|| Ok(())) };
                    assert!(command.status().unwrap().success());
                }
            });
        }
    });
    for number in 0..100_u64 {
        out.send(&number).unwrap();
        assert_eq!(*numbers.try_recv().unwrap(), number);
    }
}

#[test]
fn programs_start_while_other_threads_open_endpoints() {
    let name = unique("fork-storm");
    Peer::start(&format!("storm {name}")).finish();
    assert_gone(&name);
}

/// Joins in a thread that ends without dropping its endpoint. Arguments: ring, how the thread ends.
fn vanish(role: &Role) {
    let (name, kills_thread) = (role.arguments[0].clone(), role.arguments[1] == "vanish");
    let (sender, joined) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        let numbers = Ring::attach(&name).unwrap().subscriber::<u64>().unwrap();
        if kills_thread {
            // SAFETY: `gettid` has no preconditions.
            sender.send(unsafe { libc::syscall(libc::SYS_gettid) }).unwrap();
            // SAFETY: ends this thread only. Its stack, which holds the subscriber, stays
            // allocated.
            unsafe { libc::syscall(libc::SYS_exit, 0) };
        }
        std::mem::forget(numbers);
    });
    if let Ok(tid) = joined.recv() {
        let path = format!("/proc/self/task/{tid}");
        wait_until("the thread has ended", || !std::path::Path::new(&path).exists());
        std::mem::forget(thread);
    } else {
        thread.join().unwrap();
    }
    peer::say("gone");
    peer::hear();
}

#[test]
fn an_endpoint_of_a_vanished_thread_lives_as_long_as_its_process() {
    for how in ["vanish", "forget"] {
        let name = unique("vanish");
        let ring = small().open(&name).unwrap();
        let mut out = ring.publisher::<u64>().unwrap();
        let mut peer = Peer::start(&format!("vanish {name} {how}"));
        peer.expect("gone");
        (0..16).for_each(|number| assert!(out.try_send(&number).is_ok()));
        for _ in 0..3 {
            assert!(matches!(out.send_timeout(&16, SHORT), Err(SendTimeoutError::Timeout { .. })));
            assert_eq!(ring.subscribers(), 1);
        }
        peer.kill();
        out.send_timeout(&16, LONG).unwrap();
        assert_eq!(ring.subscribers(), 0);
    }
}
