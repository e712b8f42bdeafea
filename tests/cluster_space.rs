//! A full `/dev/shm` whose objects belong to killed workers: the next process that makes an object
//! removes them and gets its room.
//!
//! Each case runs in a child process with a small `/dev/shm` of its own, which its own children
//! share.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod support;

use packetring::cluster::{Request, WorkerState};
use packetring::{OpenError, Worker, one_of};
use std::ffi::CString;
use std::fs;
use std::io::Write;
use support::peer::{self, Peer, Role};

/// Entry point of the child processes; does nothing without a role.
#[test]
fn peer() {
    let Some(role) = peer::role() else { return };
    let run: fn(&Role) = match role.name.as_str() {
        "kinds" => kinds,
        "new_cluster" => new_cluster,
        "busy_server" => busy_server,
        "unfinished" => unfinished_inbox,
        "kept" => kept_inbox,
        "growing" => growing_inbox,
        "holder" => hold,
        "server" => serve,
        "caller" => call,
        "with_inbox" => with_inbox,
        other => panic!("{other}"),
    };
    run(&role);
}

/// Gives this process its own `/dev/shm` with these mount options. Returns false if that is not
/// permitted.
fn own_memory(options: &str) -> bool {
    use std::ptr::null;
    let options = CString::new(options).unwrap();
    // SAFETY: each text ends with a zero byte. The calls change the mounts of this thread alone.
    let is_mounted = unsafe {
        libc::unshare(libc::CLONE_NEWNS) == 0
            && libc::mount(null(), c"/".as_ptr(), null(), libc::MS_REC | libc::MS_PRIVATE, null())
                == 0
            && libc::mount(
                c"tmpfs".as_ptr(),
                c"/dev/shm".as_ptr(),
                c"tmpfs".as_ptr(),
                0,
                options.as_ptr().cast(),
            ) == 0
    };
    if !is_mounted {
        eprintln!("skipped: mounting a file system is not permitted");
    }
    is_mounted
}

/// Takes all that is left of `/dev/shm`: its bytes, and its inodes if there are few.
struct Filler;

impl Filler {
    fn fill() -> Self {
        let mut file = fs::File::create("/dev/shm/filler").unwrap();
        for len in [1 << 16, 1 << 12] {
            while file.write_all(&vec![1; len]).is_ok() {}
        }
        let empty_file = |number| fs::write(format!("/dev/shm/filler-{number}"), "").is_ok();
        let _ = (0..16).all(empty_file);
        Self
    }
}

impl Drop for Filler {
    fn drop(&mut self) {
        for file in fs::read_dir("/dev/shm").unwrap() {
            let file = file.unwrap();
            if file.file_name().to_string_lossy().starts_with("filler") {
                fs::remove_file(file.path()).unwrap();
            }
        }
    }
}

fn objects(part: &str) -> Vec<String> {
    let all = fs::read_dir("/dev/shm").unwrap();
    let names = all.map(|file| file.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.contains(part)).collect()
}

/// Asserts that there is no room for an object.
#[track_caller]
fn assert_full(made: Result<(), OpenError>) {
    let error = made.unwrap_err();
    assert!(matches!(error, OpenError::NoSpace { .. } | OpenError::NoInodes { .. }), "{error}");
}

// ── Each kind of object ────────────────────────────────────────────────────────────────────────

/// Bytes of the objects that the dead worker leaves.
const LEFT: usize = 1 << 20;

/// Holds two topics until it is killed. Arguments: cluster, `max_workers`.
fn hold(role: &Role) {
    let builder = Worker::builder().max_workers(role.number(1) as usize);
    let worker = builder.join(&role.arguments[0], "holder").unwrap();
    let open = |name| worker.topic(name).capacity(LEFT / 2).publisher::<u64>().unwrap();
    let _topics = ["held-1", "held-2"].map(open);
    peer::say("holds");
    peer::hear();
}

/// Makes an object.
type Make<'a> = &'a dyn Fn() -> Result<(), OpenError>;

/// Makes an object of each kind in a full `/dev/shm` whose largest objects are a dead worker's.
/// Arguments: mount options.
fn kinds(role: &Role) {
    if !own_memory(&role.arguments[0]) {
        return;
    }
    const HALF: usize = LEFT / 2;
    let builder = Worker::builder().max_workers(8).inbox_capacity(HALF).reply_capacity(HALF);
    let worker = builder.join("kinds", "maker").unwrap();
    let make: &[(&str, Make<'_>)] = &[
        ("topic", &|| worker.topic("x").capacity(HALF).publisher::<u64>().map(drop)),
        ("queue", &|| worker.queue_builder("x").capacity(HALF).consumer::<u64>().map(drop)),
        ("service", &|| worker.service_builder("x").capacity(HALF).server::<u64, u64>().map(drop)),
        ("client", &|| worker.service_builder("y").capacity(1024).client::<u64, u64>().map(drop)),
        ("latest", &|| worker.latest::<[u64; 512]>("x").map(drop)),
        ("board", &|| worker.board::<u64>("y").map(drop)),
        ("inbox", &|| worker.inbox().map(drop)),
    ];
    for (index, (kind, make)) in make.iter().enumerate() {
        let mut dying = Peer::start("holder kinds 8");
        dying.expect("holds");
        let filler = Filler::fill();
        if index == 0 {
            // The holder lives, so its topics stay.
            assert_full(make());
        }
        dying.kill();
        make().unwrap_or_else(|error| panic!("{kind}: {error}"));
        assert_eq!(objects("~t.held"), [] as [&str; 0], "{kind}");
        drop(filler);
    }
    worker.leave().unwrap();
    assert_eq!(objects("kinds"), [] as [&str; 0]);
}

#[test]
fn objects_of_the_dead_make_room_for_each_kind_of_object() {
    Peer::start("kinds size=4m").finish();
    Peer::start("kinds size=64m,nr_inodes=14").finish();
}

/// Joins a cluster whose only worker was killed, with more worker slots than fit.
fn new_cluster(_: &Role) {
    if !own_memory("size=2m") {
        return;
    }
    let mut dying = Peer::start("holder new 1");
    dying.expect("holds");
    let filler = Filler::fill();
    dying.kill();
    let worker = Worker::builder().max_workers(1024).join("new", "first").unwrap();
    assert_eq!(objects("~t.held"), [] as [&str; 0]);
    drop(filler);
    worker.leave().unwrap();
}

#[test]
fn objects_of_the_dead_make_room_for_a_new_directory() {
    Peer::start("new_cluster").finish();
}

// ── Call areas that a server has mapped ────────────────────────────────────────────────────────

const CALLERS: usize = 4;
const REPLIES: usize = 256 << 10;

/// Answers each caller once, and keeps the last request in hand until it is told to go on.
fn serve(_: &Role) {
    let worker = Worker::join("busy", "server").unwrap();
    let service = worker.service_builder("double").capacity(1 << 14);
    let mut server = service.server::<u64, u64>().unwrap();
    peer::say("serves");
    for _ in 0..CALLERS {
        let request = server.recv().unwrap();
        let doubled = request.to_native() * 2;
        Request::reply(request, &doubled).unwrap();
    }
    let request = server.recv().unwrap();
    peer::say("busy");
    peer::hear();
    Request::reply(request, &0).unwrap();
}

/// Calls once, so that the server maps its call area, and stays until it is killed. Arguments: a
/// name.
fn call(role: &Role) {
    let builder = Worker::builder().reply_capacity(REPLIES);
    let worker = builder.join("busy", &role.arguments[0]).unwrap();
    let client = worker.client::<u64, u64>("double").unwrap();
    assert_eq!(*client.call(&21).unwrap(), 42);
    peer::say("called");
    peer::hear();
}

/// Makes a client whose call area needs the memory of all dead callers, while the server that has
/// it mapped is in a handler.
fn busy_server(_: &Role) {
    if !own_memory("size=4m") {
        return;
    }
    let builder = || Worker::builder().max_workers(16);
    let worker = builder().reply_capacity(1024).join("busy", "waiting").unwrap();
    let mut server = Peer::start("server");
    server.expect("serves");
    let mut callers: Vec<Peer> = (0..CALLERS)
        .map(|number| {
            let mut caller = Peer::start(&format!("caller caller-{number}"));
            caller.expect("called");
            caller
        })
        .collect();
    let client = worker.client::<u64, u64>("double").unwrap();
    let waiting = client.start(&1).unwrap();
    server.expect("busy");
    let filler = Filler::fill();
    callers.iter_mut().for_each(Peer::kill);

    // As a process of its own would: it has not seen the callers.
    let newcomer = builder().reply_capacity(CALLERS * REPLIES).join("busy", "newcomer").unwrap();
    let client = newcomer.client::<u64, u64>("double").unwrap();
    assert_eq!(objects("~r.").len(), 2, "call areas of dead callers are left");
    let next = client.start(&2).unwrap();
    server.tell("go on");
    assert_eq!(*waiting.wait().unwrap(), 0);
    drop(next);
    server.finish();
    drop(filler);
}

#[test]
fn call_areas_that_a_busy_server_has_mapped_make_room_when_their_callers_die() {
    Peer::start("busy_server").finish();
}

// ── Inboxes ────────────────────────────────────────────────────────────────────────────────────

/// A type whose schema text is longer than a ring has space for.
type Twelve<T> = (T, T, T, T, T, T, T, T, T, T, T, T);
type Long = Twelve<Twelve<Twelve<u8>>>;

#[one_of]
enum TooLong {
    #[allow(dead_code, reason = "no message of this type can be sent")]
    Long(Long),
}

/// Makes an inbox and is killed before its worker slot is kept: no sender could reach it. Makes and
/// keeps one if the argument is `kept`.
fn with_inbox(role: &Role) {
    let builder = Worker::builder().max_workers(4).inbox_capacity(LEFT);
    let worker = builder.join("inboxes", "dying").unwrap();
    let _inbox = match role.arguments[0].as_str() {
        "kept" => Some(worker.inbox().unwrap()),
        _ => {
            let error = worker.inbox_of::<TooLong>().map(drop).unwrap_err();
            assert!(matches!(error, OpenError::TooManyTypes(_)), "{error}");
            None
        }
    };
    peer::say("has it");
    peer::hear();
}

/// Fills `/dev/shm` beside the inbox of a worker, and kills that worker.
fn fill_beside_inbox(kind: &str) -> (Worker, Filler) {
    let worker = Worker::builder().max_workers(4).join("inboxes", "maker").unwrap();
    let mut dying = Peer::start(&format!("with_inbox {kind}"));
    dying.expect("has it");
    assert_eq!(objects("~i.dying").len(), 1);
    let filler = Filler::fill();
    dying.kill();
    (worker, filler)
}

fn make_topic(worker: &Worker) -> Result<(), OpenError> {
    worker.topic("x").capacity(LEFT / 2).publisher::<u64>().map(drop)
}

/// Makes a topic beside the unfinished inbox of a killed worker.
fn unfinished_inbox(_: &Role) {
    if !own_memory("size=3m") {
        return;
    }
    let (worker, filler) = fill_beside_inbox("unfinished");
    make_topic(&worker).unwrap();
    assert_eq!(objects("~i.dying"), [] as [&str; 0]);
    drop(filler);
}

#[test]
fn an_unfinished_inbox_of_a_dead_worker_makes_room() {
    Peer::start("unfinished").finish();
}

/// Makes a topic beside the empty inbox of a killed worker, which is kept, and after it was
/// retired.
fn kept_inbox(_: &Role) {
    if !own_memory("size=3m") {
        return;
    }
    let (worker, filler) = fill_beside_inbox("kept");
    assert_full(make_topic(&worker));
    assert_eq!(objects("~i.dying").len(), 1);
    assert_eq!(worker.worker("dying").unwrap().state, WorkerState::Away);
    assert!(worker.retire("dying").unwrap());
    make_topic(&worker).unwrap();
    drop(filler);
}

#[test]
fn the_inbox_of_a_worker_that_is_away_stays_until_it_is_retired() {
    Peer::start("kept").finish();
}

/// Opens an inbox with a capacity for which there is no room beside it, with and without a message
/// in it.
fn growing_inbox(_: &Role) {
    if !own_memory("size=3m") {
        return;
    }
    let join = |capacity| {
        let builder = Worker::builder().max_workers(4).inbox_capacity(capacity);
        builder.join("growing", "shop").unwrap()
    };
    drop(join(LEFT).inbox().unwrap());
    let shop = join(4 * LEFT);
    let error = shop.inbox().map(drop).unwrap_err();
    assert!(error.to_string().starts_with("no space for inbox \"shop\""), "{error}");
    assert_eq!(objects("~j."), [] as [&str; 0]);
    // With a message it would stay in any case.
    shop.send_to("shop", &7_u64).unwrap();
    let mut inbox = shop.inbox().unwrap();
    assert_eq!(inbox.capacity(), LEFT);
    inbox.recv().unwrap().ack();
    drop((inbox, shop));
    assert_eq!(join(LEFT).inbox().unwrap().capacity(), LEFT);
}

#[test]
fn an_inbox_stays_if_there_is_no_room_for_a_larger_one() {
    Peer::start("growing").finish();
}
