//! Services at scale: many callers, few descriptors, bounded memory, chosen sizes.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod support;

use packetring::cluster::{
    CallError, CallLimit, CallTimeoutError, Client, Delivery, Request, Service,
    ServiceRecvTimeoutError, TryServiceRecvError,
};
use packetring::with::{Conversion, Via};
use packetring::{OpenError, Worker, packet, try_select};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::convert::Infallible;
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, Barrier};
use std::time::Duration;
use support::peer::{self, Peer};
use support::{SHORT, Watch, unique, wait_until};

/// A timeout that no test reaches.
const FAR: Duration = Duration::from_secs(600);
const PROCESSES: usize = 64;
const THREADS: usize = 16;
/// Descriptors of the server.
const DESCRIPTORS: u64 = 64;

fn join(cluster: &str, name: &str) -> Worker {
    Worker::builder().max_workers(PROCESSES + 2).join(cluster, name).unwrap()
}

/// Serves until a request for 0 comes.
fn serve(mut service: Service<u64, u64>) {
    loop {
        let request = service.recv().unwrap();
        let number = request.to_native();
        Request::reply(request, &(number * 2)).unwrap();
        if number == 0 {
            return;
        }
    }
}

/// Entry point of the child processes; does nothing without a role.
#[test]
fn peer() {
    let Some(role) = peer::role() else { return };
    let worker = join(&role.arguments[0], &role.arguments[1]);
    match role.name.as_str() {
        // Few descriptors, and says how many callers are mapped at the end.
        "serve" => {
            let limit = Rlimit { current: Some(DESCRIPTORS), ..getrlimit(Resource::Nofile) };
            setrlimit(Resource::Nofile, limit).unwrap();
            let service = worker.service("double").unwrap();
            peer::say("here");
            serve(service);
            peer::say("served");
            let open = std::fs::read_dir("/proc/self/fd").unwrap().count();
            peer::say(&format!("descriptors {}", open < DESCRIPTORS as usize / 2));
        }
        // Threads of one process share a client. Each stays after its calls.
        "call" => {
            let client: Client<u64, u64> = worker.client("double").unwrap();
            peer::say("here");
            peer::hear();
            let done = Barrier::new(THREADS);
            std::thread::scope(|scope| {
                for thread in 1..=THREADS as u64 {
                    let (client, done) = (&client, &done);
                    scope.spawn(move || {
                        for number in thread..thread + 3 {
                            let doubled = client.call_timeout(&number, FAR).unwrap();
                            assert_eq!(*doubled, number * 2);
                        }
                        done.wait();
                    });
                }
            });
            peer::say("called");
            while peer::hear().is_some() {}
        }
        name => panic!("unknown role: {name}"),
    }
}

fn start(role: &str, cluster: &str, name: &str) -> Peer {
    let mut peer = Peer::start(&format!("{role} {cluster} {name}"));
    peer.expect("here");
    peer
}

#[test]
fn a_thousand_living_callers_are_answered_with_few_descriptors() {
    let _watch = Watch::start();
    let cluster = unique("thousand");
    let mut server = start("serve", &cluster, "server");
    let mut callers: Vec<Peer> = Vec::new();
    for index in 0..PROCESSES {
        callers.push(start("call", &cluster, &format!("caller-{index}")));
    }
    for caller in &mut callers {
        caller.tell("go");
    }
    for caller in &mut callers {
        caller.expect("called");
    }
    // All of them live and are idle.
    let worker = join(&cluster, "last");
    let client = worker.client::<u64, u64>("double").unwrap();
    assert_eq!(*client.call_timeout(&21, FAR).unwrap(), 42);
    assert_eq!(*client.call_timeout(&0, FAR).unwrap(), 0);
    server.expect("served");
    server.expect("descriptors true");
    // The last worker removes what the killed ones leave.
    drop((callers, server, client));
    worker.leave().unwrap();
    assert!(!Worker::remove_cluster(&cluster).unwrap(), "objects of killed callers are left");
}

#[test]
fn threads_share_a_client() {
    share_a_client(&join(&unique("shared"), "both"), 1 << 20);
    // A ring that is often full, and fewer entries in it than threads that send.
    let few = Worker::builder().max_workers(1).join(&unique("shared"), "both").unwrap();
    share_a_client(&few, 1024);
}

fn share_a_client(worker: &Worker, capacity: usize) {
    let _watch = Watch::start();
    let builder = || worker.service_builder("double").capacity(capacity);
    let service = builder().server().unwrap();
    let client: Arc<Client<u64, u64>> = Arc::new(builder().client().unwrap());
    let server = std::thread::spawn(|| serve(service));
    let threads: Vec<_> = (1..=64_u64)
        .map(|thread| {
            let client = Arc::clone(&client);
            std::thread::spawn(move || {
                let calls: Vec<_> = (0..4).map(|_| client.start(&thread).unwrap()).collect();
                for call in calls {
                    assert_eq!(*call.wait().unwrap(), thread * 2);
                }
                for number in thread..thread + 50 {
                    assert_eq!(*client.call(&number).unwrap(), number * 2);
                }
                // A call can be waited for elsewhere.
                client.start(&thread).unwrap()
            })
        })
        .collect();
    for (index, thread) in threads.into_iter().enumerate() {
        let mut call = thread.join().unwrap();
        assert_eq!(*call.wait_timeout(FAR).unwrap(), (index as u64 + 1) * 2);
    }
    assert_eq!(*client.call(&0).unwrap(), 0);
    server.join().unwrap();
}

#[test]
fn clients_of_one_worker_share_its_memory() {
    let _watch = Watch::start();
    let cluster = unique("memory");
    let worker = join(&cluster, "both");
    let areas = || {
        let prefix = format!("packetring.{cluster}~r.");
        let all = std::fs::read_dir("/dev/shm").unwrap().map(|entry| entry.unwrap());
        let own = all.filter(|it| it.file_name().to_string_lossy().starts_with(&prefix));
        own.map(|it| it.metadata().unwrap().blocks() * 512).collect::<Vec<_>>()
    };
    // Other tests of this process have descriptors, too.
    let descriptors = || {
        let all = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
        let files = all.filter_map(|entry| std::fs::read_link(entry.path()).ok());
        files.filter(|file| file.to_string_lossy().contains(&cluster)).count()
    };
    let first = worker.client::<u64, u64>("double").unwrap();
    let before = descriptors();
    let more: Vec<Client<u64, u64>> = (0..100).map(|_| worker.client("double").unwrap()).collect();
    assert_eq!(areas().len(), 1);
    assert!(areas()[0] <= 300 << 10, "{:?}", areas());
    assert_eq!(descriptors(), before);
    drop((first, more));
    drop(worker);
    assert_eq!(areas(), [0; 0]);
}

#[test]
fn sizes_are_chosen() {
    let _watch = Watch::start();
    let cluster = unique("sizes");
    let builder = || Worker::builder().max_workers(4).reply_capacity(64 << 20);
    let worker = builder().join(&cluster, "both").unwrap();
    // A job of 5 MiB.
    let jobs = || worker.queue_builder("jobs").capacity(16 << 20).max_consumers(2);
    jobs().publisher::<Vec<u8>>().unwrap().send(&vec![5; 5 << 20]).unwrap();
    let mut consumer = jobs().consumer::<Vec<u8>>().unwrap();
    let job = consumer.recv().unwrap();
    assert!(job.len() == 5 << 20 && job.iter().all(|byte| *byte == 5));
    Delivery::ack(job);
    // A request and a reply of 20 MiB.
    let echo = || worker.service_builder("echo").capacity(64 << 20).max_reply(21 << 20);
    let mut service = echo().max_servers(1).server::<Vec<u8>, Vec<u8>>().unwrap();
    let client = worker.service_builder("echo").max_reply(21 << 20).window(2);
    let client = client.client::<Vec<u8>, Vec<u8>>().unwrap();
    let large = vec![7; 20 << 20];
    let calls = [0; 2].map(|_| client.start(&large).unwrap());
    for _ in &calls {
        let request = service.recv().unwrap();
        let reply = request.to_vec();
        Request::reply(request, &reply).unwrap();
    }
    // Both are held at the same time.
    let replies = calls.map(|call| call.wait().unwrap());
    assert!(replies.iter().all(|reply| reply.len() == 20 << 20 && reply.iter().all(|b| *b == 7)));
    // Another setting than that of the ring that exists.
    let other = worker.service_builder("echo").capacity(1 << 20).client::<Vec<u8>, Vec<u8>>();
    let error = other.map(drop).unwrap_err();
    assert!(matches!(error, OpenError::SettingsMismatch { setting: "capacity", .. }), "{error}");
    let second = echo().max_servers(1).server::<Vec<u8>, Vec<u8>>().map(drop).unwrap_err();
    assert!(matches!(second, OpenError::Full { what: "servers", limit: 1 }), "{second}");
    assert!(second.to_string().contains("max_servers"), "{second}");
    let second = [jobs().consumer::<Vec<u8>>(), jobs().consumer::<Vec<u8>>()];
    let error = second.into_iter().find_map(Result::err).unwrap();
    assert!(matches!(error, OpenError::Full { what: "consumers", limit: 2 }), "{error}");
    assert!(error.to_string().contains("max_consumers"), "{error}");
}

#[test]
fn errors_name_the_setting() {
    let _watch = Watch::start();
    let cluster = unique("settings");
    let builder = Worker::builder().max_workers(4).reply_capacity(16 << 10).max_calls(4);
    let worker = builder.join(&cluster, "both").unwrap();
    let mut service = worker.service::<u64, Vec<u8>>("bytes").unwrap();
    let client = worker.service_builder("bytes").max_reply(4096);
    let client = client.client::<u64, Vec<u8>>().unwrap();
    // The reply is larger than the client allowed.
    let call = client.start(&1).unwrap();
    let error = Request::reply(service.recv().unwrap(), &vec![1; 5000]).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("limit 4096; send less, or let the client choose a larger max_reply"),
        "{error}"
    );
    let error = call.wait().map(drop).unwrap_err();
    assert!(matches!(error, CallError::ReplyTooLarge { limit: 4096, .. }), "{error}");
    assert!(
        error.to_string().contains("max_reply") && error.to_string().contains("reply_capacity")
    );
    // No memory for another reply.
    let half = worker.service_builder("bytes").max_reply(8192).client::<u64, Vec<u8>>().unwrap();
    let calls = [half.start(&1).unwrap(), half.start(&2).unwrap()];
    let error = half.start(&3).map(drop).unwrap_err();
    let expected = CallLimit::ReplyMemory { needed: 8192, free: 0, capacity: 16 << 10 };
    assert!(matches!(&error, CallError::Busy(limit) if *limit == expected), "{error}");
    assert!(error.to_string().contains("reply_capacity"), "{error}");
    // Each place has a call.
    drop(calls);
    while let Ok(request) = service.try_recv() {
        drop(request);
    }
    let small = worker.service_builder("bytes").max_reply(16).client::<u64, Vec<u8>>().unwrap();
    let calls: Vec<_> = (0..4).map(|number| small.start(&number).unwrap()).collect();
    let error = small.start(&3).map(drop).unwrap_err();
    assert!(matches!(error, CallError::Busy(CallLimit::WorkerCalls { calls: 4 })), "{error}");
    assert!(error.to_string().contains("max_calls"), "{error}");
    drop(calls);
    while let Ok(request) = service.try_recv() {
        drop(request);
    }
    // Settings that no client can have.
    for bad in [
        worker.service_builder("bytes").max_reply((8 << 10) + 1),
        worker.service_builder("bytes").window(0),
    ] {
        let error = bad.client::<u64, Vec<u8>>().map(drop).unwrap_err();
        assert!(matches!(error, OpenError::BadSettings { .. }), "{error}");
    }
    // A request that is larger than the ring allows.
    let text = worker.service_builder("text").capacity(4096).client::<String, u64>().unwrap();
    let error = text.call(&"x".repeat(5000)).map(drop).unwrap_err();
    assert!(error.to_string().contains("larger capacity"), "{error}");
}

#[test]
fn a_killed_callers_place_goes_to_its_successor() {
    let _watch = Watch::start();
    let cluster = unique("successor");
    let worker = join(&cluster, "server");
    let mut service = worker.service::<u64, u64>("double").unwrap();
    for _ in 0..20 {
        // It has the worker slot, the publisher entry and the cells of the one before.
        let mut caller = start("call", &cluster, "caller");
        caller.tell("go");
        let request = service.recv().unwrap();
        caller.kill();
        let number = request.to_native();
        drop(Request::reply(request, &(number * 2)));
    }
    wait_until("no request of a killed caller is left", || {
        matches!(service.recv_timeout(SHORT), Err(ServiceRecvTimeoutError::Timeout))
    });
    let client = worker.client::<u64, u64>("double").unwrap();
    let mut call = client.start(&4).unwrap();
    let request = service.recv().unwrap();
    assert_eq!((*request, Request::caller(&request)), (4.into(), worker.id()));
    Request::reply(request, &8).unwrap();
    assert_eq!(*call.wait_timeout(FAR).unwrap(), 8);
}

#[test]
fn a_client_outlives_its_worker() {
    let _watch = Watch::start();
    let cluster = unique("outlives");
    let server = join(&cluster, "server");
    let mut service = server.service::<u64, u64>("double").unwrap();
    let worker = join(&cluster, "caller");
    let client = worker.client::<u64, u64>("double").unwrap();
    drop(worker);
    let mapped_areas = || {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let names = maps.lines().filter_map(|line| line.split_once(&format!("{cluster}~r.")));
        names.map(|(_, name)| name.to_owned()).collect::<BTreeSet<String>>()
    };
    for number in 0..3 {
        let other = join(&cluster, "other");
        let gone = other.client::<u64, u64>("double").unwrap();
        let unanswered = gone.start(&number).unwrap();
        drop(service.recv().unwrap());
        let call = client.start(&number).unwrap();
        let request = service.recv().unwrap();
        assert_eq!(mapped_areas().len(), 2);
        drop((unanswered, gone, other));
        wait_until("the service looks at its callers", || mapped_areas().len() == 1);
        assert!(Request::is_wanted(&request));
        Request::reply(request, &(number * 2)).unwrap();
        assert_eq!(*call.wait().unwrap(), number * 2);
    }
    let call = client.start(&9).unwrap();
    let request = service.recv().unwrap();
    drop((client, call));
    wait_until("its memory is unmapped", || !Request::is_wanted(&request));
}

thread_local! {
    /// The client that a request calls while it is serialized.
    static NESTED: RefCell<Option<Arc<Client<Nested, u64>>>> = const { RefCell::new(None) };
}

#[packet]
struct Nested {
    #[rkyv(with = Via<NestedCall>)]
    number: u64,
}

struct NestedCall;

impl Conversion<u64> for NestedCall {
    type Packet = u64;
    type Error = Infallible;

    fn to_packet(number: &u64) -> Result<u64, Infallible> {
        if let Some(client) = NESTED.with(RefCell::take) {
            let error = client.start(&Nested { number: 1 }).map(drop).unwrap_err();
            assert!(matches!(error, CallError::WouldDeadlock), "{error}");
        }
        Ok(*number)
    }

    fn from_packet(number: u64) -> Result<u64, Infallible> {
        Ok(number)
    }
}

#[test]
fn a_call_within_a_request_of_the_same_service_fails() {
    let _watch = Watch::start();
    let worker = join(&unique("nested"), "both");
    let mut service = worker.service::<Nested, u64>("nested").unwrap();
    let client = Arc::new(worker.client::<Nested, u64>("nested").unwrap());
    NESTED.set(Some(Arc::clone(&client)));
    let mut call = client.start(&Nested { number: 7 }).unwrap();
    assert!(NESTED.take().is_none(), "the nested call was made");
    let request = service.recv().unwrap();
    assert_eq!(request.number, 7);
    Request::reply(request, &14).unwrap();
    assert_eq!(*call.wait_timeout(FAR).unwrap(), 14);
    assert!(matches!(service.try_recv(), Err(TryServiceRecvError::Empty)));
}

thread_local! {
    /// The next reply with a [`Fragile`] panics while it is serialized.
    static BREAKS: Cell<bool> = const { Cell::new(false) };
}

#[packet]
struct Fragile {
    #[rkyv(with = Via<Breaks>)]
    number: u64,
}

struct Breaks;

impl Conversion<u64> for Breaks {
    type Packet = u64;
    type Error = Infallible;

    fn to_packet(number: &u64) -> Result<u64, Infallible> {
        if BREAKS.take() {
            std::panic::resume_unwind(Box::new("panic of a serializer"));
        }
        Ok(*number)
    }

    fn from_packet(number: u64) -> Result<u64, Infallible> {
        Ok(number)
    }
}

#[test]
fn a_panic_while_a_reply_is_serialized_ends_the_call() {
    let _watch = Watch::start();
    let worker = join(&unique("fragile"), "both");
    let mut service = worker.service::<u64, Fragile>("fragile").unwrap();
    let client = worker.client::<u64, Fragile>("fragile").unwrap();
    let panics = |work: Box<dyn FnOnce() + '_>| {
        BREAKS.set(true);
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).is_err());
    };
    let mut call = client.start(&1).unwrap();
    let request = service.recv().unwrap();
    panics(Box::new(move || drop(Request::reply(request, &Fragile { number: 1 }))));
    let outcome = call.wait_timeout(FAR).map(drop);
    assert!(matches!(outcome, Err(CallTimeoutError::NoReply)), "{outcome:?}");
    assert!(matches!(service.try_recv(), Err(TryServiceRecvError::Empty)), "executed twice");
    // A deferred one.
    let mut call = client.start(&2).unwrap();
    let later = Request::defer(service.recv().unwrap());
    panics(Box::new(move || drop(later.reply(&Fragile { number: 1 }))));
    let outcome = call.wait_timeout(FAR).map(drop);
    assert!(matches!(outcome, Err(CallTimeoutError::NoReply)), "{outcome:?}");
    // A request is serialized before it is sent.
    let call = client.start(&3).unwrap();
    Request::reply(service.recv().unwrap(), &Fragile { number: 9 }).unwrap();
    assert_eq!(call.wait().unwrap().number, 9);
}

#[test]
fn calls_of_two_services_at_equal_positions_are_told_apart() {
    let _watch = Watch::start();
    let cluster = unique("positions");
    let worker = Worker::builder().max_workers(2).max_calls(1).join(&cluster, "both").unwrap();
    let mut first = worker.service::<u64, u64>("first").unwrap();
    let mut second = worker.service::<u64, u64>("second").unwrap();
    let to_first = worker.client::<u64, u64>("first").unwrap();
    let to_second = worker.client::<u64, u64>("second").unwrap();
    for number in 0..10 {
        // Given up in the only cell, and skipped.
        drop(to_first.start(&number).unwrap());
        assert!(matches!(first.try_recv(), Err(TryServiceRecvError::Empty)));
        let mut call = to_second.start(&number).unwrap();
        let request = second.recv().unwrap();
        assert!(Request::is_wanted(&request));
        Request::reply(request, &(number * 2)).unwrap();
        assert_eq!(*call.wait_timeout(FAR).unwrap(), number * 2);
    }
}

#[test]
fn a_caller_that_polls_learns_that_no_server_lives() {
    let _watch = Watch::start();
    let worker = join(&unique("polls"), "both");
    let service = worker.service::<u64, u64>("double").unwrap();
    let client = worker.client::<u64, u64>("double").unwrap();
    let mut calls = [1, 2].map(|number| client.start(&number).unwrap());
    drop(service);
    wait_until("select finds it", || try_select(&mut [&mut calls[0]]).is_some());
    let [first, mut second] = calls;
    assert!(matches!(first.wait(), Err(CallError::NoService)));
    wait_until("a wait for no time finds it", || {
        !matches!(second.wait_timeout(Duration::ZERO), Err(CallTimeoutError::Timeout { .. }))
    });
}

/// The worker's only cell is used for both services, whose requests have equal positions.
#[test]
fn an_outcome_of_one_service_is_none_of_another() {
    let cluster = unique("one-cell");
    let worker = Worker::builder().max_calls(1).join(&cluster, "both").unwrap();
    let mut servers = ["one", "two"].map(|name| worker.service::<u64, u64>(name).unwrap());
    let clients = ["one", "two"].map(|name| worker.client::<u64, u64>(name).unwrap());
    for number in 0..100 {
        for (server, client) in servers.iter_mut().zip(&clients) {
            let mut call = client.start(&number).unwrap();
            assert!(matches!(
                call.wait_timeout(Duration::ZERO),
                Err(CallTimeoutError::Timeout { .. })
            ));
            let request = server.recv().unwrap();
            Request::reply(request, &(number + 1)).unwrap();
            assert_eq!(*call.wait_timeout(FAR).unwrap(), number + 1);
        }
    }
}
