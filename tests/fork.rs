//! Processes that are forked and do not `exec`, and threads that vanish: a child has nothing of
//! its parent's endpoints, and an endpoint lives as long as its process.
//!
//! All forking is done in peers: a child of this process would have the harness's threads' locks.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod support;

use packetring::cluster::{
    CallTimeoutError, Client, Deferred, Delivery, Events, Inbox, JoinError, QueueConsumer,
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

/// Small enough to be filled soon: 16 packets.
fn small() -> RingBuilder {
    Ring::builder().capacity(1024).stays_open(true)
}

/// Forks. The child does `life`, whose panics end it, too, and ends with its answer.
fn fork(life: impl FnOnce() -> i32) -> Pid {
    // SAFETY: the child runs `life` in the only thread it has, and ends.
    match unsafe { libc::fork() } {
        0 => {
            let life = std::panic::AssertUnwindSafe(life);
            let code = std::panic::catch_unwind(life).unwrap_or(101);
            // SAFETY: ends the child without what the harness would do at the end.
            unsafe { libc::_exit(code) }
        }
        pid => Pid::from_raw(pid).unwrap(),
    }
}

/// How a child ended.
fn end_of(child: Pid) -> WaitStatus {
    waitpid(Some(child), WaitOptions::empty()).unwrap().unwrap().1
}

#[track_caller]
fn assert_ends_well(child: Pid) {
    assert_eq!(end_of(child).exit_status(), Some(0));
}

#[track_caller]
fn assert_faults(child: Pid) {
    let end = end_of(child);
    assert_eq!(end.terminating_signal(), Some(SIGSEGV), "{end:?}");
}

/// The other processes of these tests; nothing by itself.
#[test]
fn peer() {
    let Some(role) = peer::role() else { return };
    // Some children die of a fault, of which no core is wanted.
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) }).unwrap();
    match role.name.as_str() {
        "outlived" => outlived(&role),
        "drop" => drop_in_child(&role),
        "open-anew" => open_anew(&role),
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

/// Takes part in a ring or a cluster, and is killed while its child lives. Arguments: ring or cluster,
/// what it leaves behind.
fn outlived(role: &Role) {
    if role.arguments[1] == "desk" {
        let worker = Worker::join(&role.arguments[0], "parent").unwrap();
        let _inbox = worker.inbox().unwrap();
        return have_a_child();
    }
    let ring = Ring::attach(&role.arguments[0]).unwrap();
    let mut out = ring.publisher::<u64>().unwrap();
    let _texts = (role.arguments[1] == "cursor").then(|| ring.subscriber::<u64>().unwrap());
    if role.arguments[1] == "claim" {
        std::mem::forget(out.reserve().unwrap());
    }
    have_a_child();
}

/// Forks a child that lives for as long as the test wants, and waits to be killed.
fn have_a_child() {
    let (mut begun, mut begins) = std::io::pipe().unwrap();
    let child = fork(|| {
        // The fork is over for it, too.
        begins.write_all(&[1]).unwrap();
        let mut byte = 0_u8;
        // SAFETY: reads a byte at most into a byte. Until the test closes the other end.
        while unsafe { libc::read(0, (&raw mut byte).cast(), 1) } > 0 {}
        0
    });
    begun.read_exact(&mut [0]).unwrap();
    peer::say(&child.as_raw_nonzero().to_string());
    std::thread::sleep(2 * LONG);
}

/// Starts a peer that is killed while its child lives; the child's process id.
fn parent_killed(place: &str, leaves: &str, before: impl FnOnce()) -> (Peer, u32) {
    let mut parent = Peer::start(&format!("outlived {place} {leaves}"));
    let child = parent.hear().parse().unwrap();
    before();
    parent.kill();
    assert!(matches!(state_of(child), Some('S' | 'R')));
    (parent, child)
}

#[test]
fn a_child_does_not_keep_its_dead_parents_claim_alive() {
    let name = unique("fork-claim");
    let ring = small().open(&name).unwrap();
    let mut numbers = ring.subscriber::<u64>().unwrap();
    let mut out = ring.publisher::<u64>().unwrap();
    let (_parent, child) = parent_killed(&name, "claim", || {
        out.send(&7).unwrap();
        assert!(matches!(numbers.recv_timeout(SHORT), Err(RecvTimeoutError::Timeout)));
    });
    assert_eq!(*numbers.recv_timeout(LONG).unwrap(), 7);
    assert!(matches!(state_of(child), Some('S' | 'R')), "the child lived to the end of it");
}

#[test]
fn a_child_does_not_keep_its_dead_parents_cursor_alive() {
    let name = unique("fork-cursor");
    let ring = small().open(&name).unwrap();
    let mut out = ring.publisher::<u64>().unwrap();
    let (_parent, child) = parent_killed(&name, "cursor", || {
        (0..16).for_each(|number| assert!(out.try_send(&number).is_ok()));
        assert!(matches!(out.try_send(&16), Err(TrySendError::Full { .. })));
    });
    out.send_timeout(&16, LONG).unwrap();
    assert!(matches!(state_of(child), Some('S' | 'R')), "the child lived to the end of it");
}

#[test]
fn a_child_does_not_keep_its_dead_parents_ring() {
    let name = unique("fork-ring");
    let ring = small().open(&name).unwrap();
    let (_parent, child) = parent_killed(&name, "nothing", || drop(ring.publisher::<u64>()));
    drop(ring);
    assert_gone(&name);
    assert!(matches!(state_of(child), Some('S' | 'R')), "the child lived to the end of it");
}

#[test]
fn a_child_does_not_keep_its_dead_parents_desk() {
    let cluster = unique("fork-desk");
    let own = Worker::join(&cluster, "own").unwrap();
    let mut watch = own.watch().unwrap();
    let (parent, child) = parent_killed(&cluster, "desk", || {
        let told = watch.recv_timeout(LONG).unwrap();
        assert!(matches!(told, WorkerChange::Joined(_)), "{told:?}");
        own.send_to("parent", &7_u64).unwrap();
    });
    let told = watch.recv_timeout(LONG).unwrap();
    assert!(matches!(&told, WorkerChange::Died(who) if who.pid == parent.pid()), "{told:?}");
    let heir = Worker::join(&cluster, "parent").unwrap();
    let mut inbox = heir.inbox().unwrap();
    inbox.try_recv().unwrap().ack();
    drop(inbox);
    heir.leave().unwrap();
    drop((watch, own));
    assert_eq!(objects(&cluster), [""; 0]);
    assert!(matches!(state_of(child), Some('S' | 'R')), "the child lived to the end of it");
}

type All = (Ring, Publisher<u64>, Subscriber<u64>, Subscriber<u64>);

fn all(ring: Ring) -> All {
    let (out, numbers) = (ring.publisher::<u64>().unwrap(), ring.subscriber::<u64>().unwrap());
    let desk = ring.durable("desk").unwrap();
    (ring, out, numbers, desk)
}

/// Has endpoints of each kind, which a child drops. Arguments: ring, wait.
fn drop_in_child(role: &Role) {
    let wait = if role.arguments[1] == "event" { Wait::event() } else { Wait::park() };
    let ring = small().wait(wait).open(&role.arguments[0]).unwrap();
    let (ring, mut out, mut numbers, mut desk) = all(ring);
    out.send(&1).unwrap();
    assert_eq!(*numbers.recv().unwrap(), 1);
    assert_eq!(*desk.recv().unwrap(), 1);
    let mut everything = Some((ring, out, numbers, desk));
    for _ in 0..3 {
        assert_ends_well(fork(|| {
            everything = None;
            0
        }));
    }
    let (ring, mut out, mut numbers, mut desk) = everything.unwrap();
    peer::say("dropped");
    peer::hear();
    for number in 2..100 {
        out.send(&number).unwrap();
        assert_eq!(*numbers.try_recv().unwrap(), number);
        assert_eq!(*desk.try_recv().unwrap(), number);
    }
    drop((out, numbers, desk));
    assert!(ring.remove_durable("desk").unwrap());
}

#[test]
fn what_a_child_drops_is_still_its_parents() {
    for wait in ["park", "event"] {
        let name = unique("fork-drop");
        let mut parent = Peer::start(&format!("drop {name} {wait}"));
        parent.expect("dropped");
        let ring = Ring::attach(&name).unwrap();
        assert_eq!(ring.subscribers(), 2);
        let error = ring.durable::<u64>("desk").unwrap_err();
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

/// Has a ring, which a child opens for itself, and a child of that one. Arguments: ring.
fn open_anew(role: &Role) {
    let name = &role.arguments[0];
    let (ring, out, mut numbers, desk) = all(small().open(name).unwrap());
    let mut parents = Some((ring, out, desk));
    let child = fork(|| {
        let own = Ring::attach(name).unwrap();
        let mut out = own.publisher::<u64>().unwrap();
        out.send(&1).unwrap();
        parents = None;
        out.send(&2).unwrap();
        let mut own = Some((own, out));
        assert_ends_well(fork(|| {
            own = None;
            let mut out = Ring::attach(name).unwrap().publisher::<u64>().unwrap();
            out.send(&3).unwrap();
            0
        }));
        own.as_mut().unwrap().1.send(&4).unwrap();
        0
    });
    assert_ends_well(child);
    for number in 1..=4 {
        assert_eq!(*numbers.try_recv().unwrap(), number);
    }
    let (ring, mut out, desk) = parents.unwrap();
    out.send(&5).unwrap();
    assert_eq!(*numbers.try_recv().unwrap(), 5);
    drop((desk, out, numbers));
    assert!(ring.remove_durable("desk").unwrap());
}

#[test]
fn a_child_may_open_a_ring_for_itself() {
    let name = unique("fork-anew");
    Peer::start(&format!("open-anew {name}")).finish();
    assert_gone(&name);
}

/// Has a ring, by which a child tries to join. Arguments: ring.
fn refuse_in_child(role: &Role) {
    let (ring, out, mut numbers, desk) = all(small().open(&role.arguments[0]).unwrap());
    assert_ends_well(fork(|| {
        for error in [
            ring.publisher::<u64>().unwrap_err(),
            ring.subscriber::<u64>().unwrap_err(),
            ring.durable::<u64>("other").unwrap_err(),
            ring.close().unwrap_err(),
            ring.remove_durable("desk").unwrap_err(),
            out.try_clone().unwrap_err(),
            numbers.try_clone().unwrap_err(),
        ] {
            assert!(matches!(error, OpenError::System { .. }), "{error}");
            assert!(error.to_string().contains("open it again in the child"), "{error}");
        }
        0
    }));
    drop((desk, out));
    assert!(ring.remove_durable("desk").unwrap());
    assert_eq!(ring.subscribers(), 1);
}

#[test]
fn a_child_does_not_join_by_its_parents_ring() {
    let name = unique("fork-refuse");
    Peer::start(&format!("refuse {name}")).finish();
    assert_gone(&name);
}

/// The first mapping of a ring in this process: where it starts, and its length.
fn mapping(name: &str) -> (usize, usize) {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let line = maps.lines().find(|line| line.ends_with(&format!("packetring.{name}"))).unwrap();
    let (start, end) = line.split_whitespace().next().unwrap().split_once('-').unwrap();
    let address = |text| usize::from_str_radix(text, 16).unwrap();
    (address(start), address(end) - address(start))
}

/// Has endpoints, which children use. Arguments: ring.
fn fault_in_child(role: &Role) {
    let name = &role.arguments[0];
    let ring = small().open(name).unwrap();
    // Alone in its process but for `ring`, so its mapping can be told.
    let out = &mut ring.publisher::<u64>().unwrap();
    let numbers = &mut ring.subscriber::<u64>().unwrap();
    let (start, len) = mapping(name);
    // Whoever asks for memory at the place of the mapping gets it elsewhere.
    let take_its_place = || {
        let hint = std::ptr::without_provenance_mut(start);
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: asks for fresh memory.
        let got = unsafe { libc::mmap(hint, len, access, flags, -1, 0) };
        assert_ne!(got, hint);
    };
    assert_faults(fork(|| out.try_send(&1).map_or(1, |_| 2)));
    assert_faults(fork(|| numbers.try_recv().map_or(1, |_| 2)));
    assert_faults(fork(|| ring.subscribers() as i32));
    assert_faults(fork(|| {
        take_its_place();
        ring.types().len() as i32
    }));
    out.send(&1).unwrap();
    assert_eq!(*numbers.try_recv().unwrap(), 1);
}

#[test]
fn a_child_that_uses_what_it_inherited_dies_of_it() {
    let name = unique("fork-fault");
    Peer::start(&format!("fault {name}")).finish();
    assert_gone(&name);
}

/// Has a ring on the heap, of which a child has a copy.
fn heap_in_child() {
    let ring = small().heap().unwrap();
    let mut out = ring.publisher::<u64>().unwrap();
    let mut numbers = ring.subscriber::<u64>().unwrap();
    out.send(&1).unwrap();
    assert_ends_well(fork(|| {
        assert_eq!(*numbers.try_recv().unwrap(), 1);
        out.send(&2).unwrap();
        assert_eq!(*numbers.try_recv().unwrap(), 2);
        0
    }));
    assert_eq!(*numbers.try_recv().unwrap(), 1);
    assert!(matches!(numbers.try_recv(), Err(TryRecvError::Empty)));
}

#[test]
fn a_child_has_a_ring_on_the_heap_to_itself() {
    Peer::start("heap").finish();
}

/// All that a worker can have: for each what is its own, and what it has in hand.
struct Office {
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

impl Office {
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

/// Has a letter, a job, a request and two deferred ones in hand when children drop all of it.
/// Arguments: cluster.
fn worker_in_child(role: &Role) {
    let mut office = Office::of(Worker::join(&role.arguments[0], "parent").unwrap());
    let call = office.client.start(&21).unwrap();
    peer::say("listens");
    let mut first = Some(office.service.recv().unwrap().defer());
    office.deferred = Some(office.service.recv().unwrap().defer());
    std::mem::forget(office.service.recv().unwrap());
    assert_eq!(*office.inbox.recv().unwrap().open_as::<u64>().unwrap(), 7);
    std::mem::forget(office.inbox.recv().unwrap());
    std::mem::forget(office.jobs.recv().unwrap());
    let mut everything = Some(office);
    for _ in 0..3 {
        assert_ends_well(fork(|| {
            first = None;
            everything = None;
            0
        }));
    }
    peer::say("dropped");
    peer::hear();
    let mut office = everything.unwrap();
    assert_eq!(*office.client.wait(call).unwrap(), 42);
    first.unwrap().reply(&mut office.service, &1).unwrap();
    office.deferred.take().unwrap().reply(&mut office.service, &2).unwrap();
    let letter = office.inbox.try_recv().unwrap();
    assert!(letter.info().redelivered);
    assert_eq!(*letter.open_as::<u64>().unwrap(), 7);
    letter.ack();
    assert!(matches!(office.inbox.try_recv(), Err(TryRecvError::Empty)));
    let job = office.jobs.try_recv().unwrap();
    assert_eq!(*job, 8);
    Delivery::ack(job);
    assert_eq!(*office.numbers.try_recv().unwrap(), 9);
    assert_eq!(office.events.poll().unwrap(), 1);
    assert!(matches!(office.watch.recv().unwrap(), WorkerChange::Joined(_)));
    peer::hear();
    let Office { worker, .. } = office;
    worker.leave().unwrap();
}

/// The objects of a cluster.
fn objects(cluster: &str) -> Vec<String> {
    let prefix = format!("packetring.{cluster}~");
    let names = std::fs::read_dir("/dev/shm").unwrap().map(|entry| entry.unwrap().file_name());
    let names = names.filter_map(|name| name.into_string().ok());
    let mut own: Vec<String> = names.filter(|name| name.starts_with(&prefix)).collect();
    own.sort();
    own
}

#[test]
fn what_a_child_drops_of_a_worker_is_still_its_parents() {
    let cluster = unique("fork-worker");
    let own = Worker::join(&cluster, "own").unwrap();
    let mut service = own.service::<u64, u64>("double").unwrap();
    let mut jobs = own.queue_publisher::<u64>("jobs").unwrap();
    let mut numbers = own.publisher::<u64>("numbers").unwrap();
    let mut events = own.events().unwrap();
    let mut client = own.client::<u64, u64>("half").unwrap();
    let mut parent = Peer::start(&format!("worker {cluster}"));
    parent.expect("listens");
    let mut watch = own.watch().unwrap();
    let calls = [0, 1, 2].map(|number| client.start(&number).unwrap());
    own.send_to("parent", &7_u64).unwrap();
    jobs.send(&8).unwrap();
    let before = objects(&cluster);
    parent.expect("dropped");
    assert_eq!(objects(&cluster), before);
    assert!(matches!(watch.try_recv(), Err(TryRecvError::Empty)));
    let error = Worker::join(&cluster, "parent").unwrap_err();
    assert!(matches!(error, JoinError::NameTaken { pid, .. } if pid == parent.pid()), "{error}");
    let timeout = 20 * SHORT;
    for call in calls {
        assert!(
            client
                .wait_timeout(call, timeout)
                .is_err_and(|e| matches!(e, CallTimeoutError::Timeout))
        );
    }
    let request = service.recv().unwrap();
    assert!(request.is_wanted());
    request.reply(&42).unwrap();
    numbers.send(&9).unwrap();
    events.emit("n", &10_u64).unwrap();
    let guest = Worker::join(&cluster, "guest").unwrap();
    parent.tell("go");
    for (call, expected) in calls.into_iter().zip([1, 2]) {
        assert_eq!(*client.wait_timeout(call, LONG).unwrap(), expected);
    }
    parent.expect("event 10");
    parent.tell("leave");
    parent.finish();
    assert!(matches!(client.wait_timeout(calls[2], LONG), Err(CallTimeoutError::NoReply)));
    drop((watch, service, jobs, numbers, events, client, guest, own));
    assert_eq!(objects(&cluster), [""; 0]);
}

/// Has a worker, by which a child tries to open things and to leave. Arguments: cluster.
fn refuse_worker_in_child(role: &Role) {
    let cluster = &role.arguments[0];
    let _other = Worker::join(cluster, "other").unwrap();
    let office = Office::of(Worker::join(cluster, "parent").unwrap());
    let before = objects(cluster);
    let mut worker = Some(office.worker);
    assert_ends_well(fork(|| {
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
        // Nor is anything lost by another one of its own.
        let own = Worker::join(cluster, "child").unwrap();
        own.send_to("parent", &7_u64).unwrap();
        let error = Worker::join(cluster, "parent").unwrap_err();
        assert!(matches!(error, JoinError::NameTaken { .. }), "{error}");
        0
    }));
    assert_eq!(objects(cluster), before);
    let (worker, mut inbox) = (worker.unwrap(), office.inbox);
    let letter = inbox.try_recv().unwrap();
    assert_eq!(worker.worker(&letter.sender()).unwrap().name, "child");
    letter.ack();
    worker.leave().unwrap();
}

#[test]
fn a_child_does_not_open_or_leave_by_its_parents_worker() {
    let cluster = unique("fork-refuse-worker");
    Peer::start(&format!("refuse-worker {cluster}")).finish();
    assert_eq!(objects(&cluster), [""; 0]);
}

/// Has a worker and all that it opened, which children use. Arguments: cluster.
fn fault_worker_in_child(role: &Role) {
    let mut office = Office::of(Worker::join(&role.arguments[0], "parent").unwrap());
    // Known to the worker, which keeps what it sends by.
    office.worker.send_to("parent", &7_u64).unwrap();
    let uses: [fn(&mut Office) -> bool; 11] = [
        |office| office.worker.workers().is_empty(),
        |office| office.worker.worker("parent").is_none(),
        |office| office.worker.send_to("parent", &1_u64).is_ok(),
        |office| office.inbox.try_recv().is_ok(),
        |office| office.client.start(&1).is_ok(),
        |office| office.service.try_recv().is_ok(),
        |office| office.jobs.try_recv().is_ok(),
        |office| office.numbers.try_recv().is_ok(),
        |office| office.events.emit("n", &1_u64).is_ok(),
        |office| office.events.poll().is_ok(),
        |office| office.watch.try_recv().is_ok(),
    ];
    for one in uses {
        assert_faults(fork(|| i32::from(one(&mut office))));
    }
    let letter = office.inbox.try_recv().unwrap();
    assert_eq!(*letter.open_as::<u64>().unwrap(), 7);
    letter.ack();
    assert_eq!((office.events.poll().unwrap(), office.worker.workers().len()), (0, 1));
    let Office { worker, .. } = office;
    worker.leave().unwrap();
}

#[test]
fn a_child_that_uses_what_it_inherited_of_a_worker_dies_of_it() {
    let cluster = unique("fork-fault-worker");
    Peer::start(&format!("fault-worker {cluster}")).finish();
    assert_eq!(objects(&cluster), [""; 0]);
}

/// Opens and leaves rings in some threads while others start programs. Arguments: ring.
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
                    // SAFETY: does nothing; with it, `fork` is used, which runs our handlers.
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
fn programs_are_started_while_rings_are_opened() {
    let name = unique("fork-storm");
    Peer::start(&format!("storm {name}")).finish();
    assert_gone(&name);
}

/// Joins in a thread that goes without a trace. Arguments: ring, how it goes.
fn vanish(role: &Role) {
    let (name, vanishes) = (role.arguments[0].clone(), role.arguments[1] == "vanish");
    let (sender, joined) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        let numbers = Ring::attach(&name).unwrap().subscriber::<u64>().unwrap();
        if vanishes {
            // SAFETY: asks for a number.
            sender.send(unsafe { libc::syscall(libc::SYS_gettid) }).unwrap();
            // SAFETY: ends this thread. Its stack, with the subscriber on it, stays.
            unsafe { libc::syscall(libc::SYS_exit, 0) };
        }
        std::mem::forget(numbers);
    });
    if let Ok(tid) = joined.recv() {
        let path = format!("/proc/self/task/{tid}");
        wait_until("the thread's end", || !std::path::Path::new(&path).exists());
        std::mem::forget(thread);
    } else {
        thread.join().unwrap();
    }
    peer::say("gone");
    peer::hear();
}

#[test]
fn an_endpoint_whose_thread_vanished_lives_with_its_process() {
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
