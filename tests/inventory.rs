//! The list of all objects in shared memory, and the removal of deserted ones.
//!
//! A purge removes the leftovers of other tests, too. So each test that purges runs in a peer with
//! a file system of its own at `/dev/shm`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod support;

use packetring::inventory::{Kept, ObjectInfo, ObjectKind, Purged, StayReason, of_other_users};
use packetring::observe::{ObserveFrom, Observer};
use packetring::{Board, Latest, OpenError, Ring, Worker, inventory, purge};
use std::collections::BTreeSet;
use std::ffi::CString;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use support::peer::{self, Peer, Role};
use support::{Watch, lock_first_byte, object, unique, wait_until};

/// Entry point of the child processes; does nothing without a role.
#[test]
fn peer() {
    let Some(role) = peer::role() else { return };
    let run: fn(&Role) = match role.name.as_str() {
        "exit" => exit_with_all_open,
        "exit_reserved" => exit_with_reservation,
        "hold" => hold_all_open,
        "open_close" => open_and_close,
        "purge_often" => purge_often,
        "leftovers" => leftovers,
        "living" => living,
        "durable" => durable,
        "broken" => broken,
        "layouts" => layouts,
        "race" => race,
        "observe" => observe,
        other => panic!("{other}"),
    };
    run(&role);
}

/// Runs a role in a process that has an empty file system of its own at `/dev/shm`.
fn in_private(role: &str) {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: only root may mount a file system");
        return;
    }
    let _watch = Watch::start();
    Peer::start(role).finish();
}

/// Mounts an empty file system at `/dev/shm`, for this process and its children alone.
fn mount_private() {
    let text = |text: &str| CString::new(text).unwrap();
    let (tmpfs, place, root) = (text("tmpfs"), text("/dev/shm"), text("/"));
    let options = text("size=256m");
    let private = libc::MS_REC | libc::MS_PRIVATE;
    // SAFETY: each text ends with a zero byte. The calls change the mounts of this thread alone.
    let outcomes = unsafe {
        let none = std::ptr::null();
        [
            libc::unshare(libc::CLONE_NEWNS),
            libc::mount(none, root.as_ptr(), none, private, std::ptr::null()),
            libc::mount(tmpfs.as_ptr(), place.as_ptr(), tmpfs.as_ptr(), 0, options.as_ptr().cast()),
        ]
    };
    assert_eq!(outcomes, [0, 0, 0], "{}", std::io::Error::last_os_error());
}

/// Kind, cluster and name of the objects.
type Known = BTreeSet<(String, Option<String>, String)>;

fn known<'a>(objects: impl IntoIterator<Item = &'a ObjectInfo>) -> Known {
    let key = |object: &ObjectInfo| {
        // The names of rings of replies are random.
        let is_random = object.kind == ObjectKind::Replies;
        let name = if is_random { String::new() } else { object.name.clone() };
        (format!("{:?}", object.kind), object.cluster.clone(), name)
    };
    objects.into_iter().map(key).collect()
}

fn staying(purged: &Purged) -> Known {
    known(purged.stays.iter().map(|(object, _)| object))
}

/// All kinds of objects, open in this process: ring `r`, latest value `l`, board `p` and cluster
/// `my ü`.
fn open_all() -> impl Sized {
    let ring = Ring::open("r").unwrap();
    let latest = Latest::<u64>::open("l").unwrap();
    let board = Board::<String>::open("p").unwrap();
    let numbers = (ring.publisher::<u64>().unwrap(), ring.subscriber::<u64>().unwrap());
    let worker = Worker::join("my ü", "a").unwrap();
    let topic = worker.topic("t::1").publisher::<u64>().unwrap();
    let queue = worker.queue_publisher::<u64>("q").unwrap();
    let service = worker.service::<u64, u64>("s").unwrap();
    let client = worker.client::<u64, u64>("s").unwrap();
    let events = worker.events().unwrap();
    let boards = (latest, board, worker.board::<u64>("b").unwrap());
    (numbers, ring, boards, topic, queue, service, client, events, worker)
}

const KINDS: [(&str, bool, &str); 10] = [
    ("Ring", false, "r"),
    ("Board", false, "l"),
    ("Board", false, "p"),
    ("Board", true, "b"),
    ("Directory", true, ""),
    ("Topic", true, "t::1"),
    ("Queue", true, "q"),
    ("Requests", true, "s"),
    ("Replies", true, ""),
    ("Events", true, ""),
];

fn all_kinds() -> Known {
    let key = |(kind, is_of_cluster, name): (&str, bool, &str)| {
        (kind.to_owned(), is_of_cluster.then(|| "my ü".to_owned()), name.to_owned())
    };
    KINDS.into_iter().map(key).collect()
}

/// Ends this process with all kinds of objects open.
fn exit_with_all_open(_: &Role) {
    let _all = open_all();
    peer::say("open");
    std::process::exit(0);
}

/// Ends this process with an aborted and an open reservation in a work queue.
fn exit_with_reservation(_: &Role) {
    let worker = Worker::join("v", "a").unwrap();
    let mut jobs = worker.queue_publisher::<u64>("q").unwrap();
    drop(jobs.reserve().unwrap());
    let _reserved = jobs.reserve().unwrap();
    std::process::exit(0);
}

/// Keeps all kinds of objects open until the test ends it.
fn hold_all_open(_: &Role) {
    let _all = open_all();
    peer::say("open");
    peer::hear();
}

// ── Leftovers ──────────────────────────────────────────────────────────────────────────────────

fn leftovers(_: &Role) {
    mount_private();
    for _ in 0..20 {
        let mut exiting = Peer::start("exit");
        exiting.expect("open");
        exiting.finish();
    }
    let objects = inventory().unwrap();
    assert_eq!(known(&objects), all_kinds());
    let count = files().len();
    assert_eq!(objects.len(), count);
    for object in &objects {
        assert!(!object.is_attached && object.processes.is_empty(), "{object:?}");
        assert!(object.kept == Kept::Nothing && object.fault.is_none(), "{object:?}");
        assert_eq!(object.bytes, fs::metadata(&object.path).unwrap().len());
        assert!(object.layout.is_some());
    }
    let purged = purge().unwrap();
    assert_eq!(purged.removed.len(), count);
    assert!(purged.stays.is_empty(), "{:?}", purged.stays);
    assert!(files().is_empty());
    // A work queue with void packets only is deserted, too.
    Peer::start("exit_reserved").finish();
    assert_eq!(purge().unwrap().removed.len(), 2);
    assert!(files().is_empty());
}

#[test]
fn leftovers_of_processes_that_exit_are_listed_and_removed() {
    in_private("leftovers");
}

// ── Living and durable objects ─────────────────────────────────────────────────────────────────

fn living(_: &Role) {
    mount_private();
    let mut holding = Peer::start("hold");
    holding.expect("open");
    let objects = inventory().unwrap();
    assert_eq!(known(&objects), all_kinds());
    for object in &objects {
        assert!(object.is_attached, "{object:?}");
        assert_eq!(object.processes, [holding.pid()], "{object:?}");
    }
    let purged = purge().unwrap();
    assert!(purged.removed.is_empty(), "{:?}", purged.removed);
    assert_eq!(staying(&purged), all_kinds());
    assert!(purged.stays.iter().all(|(_, reason)| matches!(reason, StayReason::InUse)));
    // The control lock alone counts as use, and nothing waits for it.
    holding.kill();
    let path = object("r");
    let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    wait_until("the kernel has closed the files of the dead", || {
        inventory().unwrap().iter().all(|object| !object.is_attached)
    });
    lock_first_byte(&file);
    let purged = purge().unwrap();
    assert_eq!(staying(&purged), known(&inventory().unwrap()));
    let [(object, StayReason::InUse)] = &purged.stays[..] else { panic!("{:?}", purged.stays) };
    assert_eq!((object.kind, object.name.as_str()), (ObjectKind::Ring, "r"));
    drop(file);
    assert_eq!(purge().unwrap().removed.len(), 1);
}

#[test]
fn objects_in_use_stay() {
    in_private("living");
}

fn durable(_: &Role) {
    mount_private();
    {
        let ring = Ring::open("d").unwrap();
        drop(ring.durable::<u64>("audit").unwrap());
        ring.publisher::<u64>().unwrap().send(&7).unwrap();
        let worker = Worker::join("c", "billing").unwrap();
        drop(worker.inbox().unwrap());
        worker.queue_publisher::<u64>("jobs").unwrap().send(&8).unwrap();
    }
    let objects = inventory().unwrap();
    assert!(of_other_users().unwrap().is_empty());
    let purged = purge().unwrap();
    assert!(purged.removed.is_empty(), "{:?}", purged.removed);
    assert_eq!(staying(&purged), known(&objects));
    assert!(purged.stays.iter().all(|(_, reason)| matches!(reason, StayReason::Kept)));
    let kept = |kind| &objects.iter().find(|object| object.kind == kind).unwrap().kept;
    assert_eq!(*kept(ObjectKind::Ring), Kept::Durable(vec!["audit".into()]));
    assert_eq!(*kept(ObjectKind::Directory), Kept::Workers(vec!["billing".into()]));
    assert!(matches!(kept(ObjectKind::Inbox), Kept::Durable(_)));
    assert_eq!(*kept(ObjectKind::Queue), Kept::Jobs { waiting_slots: 1, in_flight: 0 });
    assert_eq!(objects.len(), 4);
    let mut numbers = Ring::attach("d").unwrap().durable::<u64>("audit").unwrap();
    assert_eq!(*numbers.recv().unwrap(), 7);
    let worker = Worker::join("c", "billing").unwrap();
    let mut jobs = worker.queue::<u64>("jobs").unwrap();
    assert_eq!(*jobs.recv().unwrap(), 8);
    // Each object that no process uses can be removed with its content: an inbox and a directory
    // only with their worker or their cluster.
    let find = |kind| objects.iter().find(|object| object.kind == kind).unwrap();
    let (ring, queue) = (find(ObjectKind::Ring), find(ObjectKind::Queue));
    assert!(matches!(ring.remove(), Err(OpenError::InUse { .. })));
    assert!(matches!(queue.remove(), Err(OpenError::InUse { .. })));
    assert_eq!(files().len(), 4);
    drop((numbers, jobs, worker));
    for kind in [ObjectKind::Inbox, ObjectKind::Directory] {
        let error = find(kind).remove().unwrap_err();
        assert!(matches!(error, OpenError::BadSettings { .. }), "{error}");
    }
    assert!(ring.remove().unwrap() && queue.remove().unwrap());
    assert!(!ring.remove().unwrap());
    assert_eq!(files().len(), 2);
}

#[test]
fn durable_content_stays_and_is_named() {
    in_private("durable");
}

// ── Foreign and broken objects ─────────────────────────────────────────────────────────────────

fn broken(_: &Role) {
    mount_private();
    // Files of other programs, of other users, and one segment of this library that is damaged.
    fs::write("/dev/shm/packetring.foreign", b"another program's file").unwrap();
    fs::write("/dev/shm/packetring.with space", b"").unwrap();
    fs::write("/dev/shm/packetring.empty", b"").unwrap();
    fs::write("/dev/shm/packetring.a~t.b", b"another program's file").unwrap();
    let zeros: Vec<u8> = [0; 16].into_iter().chain(*b"another program's data").collect();
    fs::write("/dev/shm/packetring.zeros", &zeros).unwrap();
    // The maker was killed: the first bytes of a segment of this library, not ready.
    fs::write(object("unmade"), [*b"packetrg", 2_u64.to_le_bytes()].concat()).unwrap();
    fs::write("/dev/shm/other", b"").unwrap();
    fs::create_dir("/dev/shm/packetring.folder").unwrap();
    fs::write("/dev/shm/packetring.theirs", b"").unwrap();
    std::os::unix::fs::chown("/dev/shm/packetring.theirs", Some(65534), None).unwrap();
    let socket = "/dev/shm/packetring.shop~f.0-1";
    drop(std::os::unix::net::UnixListener::bind(socket).unwrap());
    std::os::unix::fs::chown(socket, Some(65534), None).unwrap();
    for name in ["damaged", "deserted"] {
        leave(name);
    }
    let damaged = OpenOptions::new().write(true).open(object("damaged")).unwrap();
    damaged.write_all_at(&[0xff; 8], 24).unwrap();
    let before = files();
    let objects = inventory().unwrap();
    let kind = |name: &str| {
        let object = objects.iter().find(|object| object.name == name)?;
        Some((object.kind, object.fault.is_some()))
    };
    for name in ["foreign", "folder", "empty", "zeros"] {
        assert_eq!(kind(name), Some((ObjectKind::Foreign, true)), "{name}");
        let path = format!("foreign file \"/dev/shm/packetring.{name}\"");
        assert_eq!(objects.last_named(name).to_string(), path);
    }
    assert_eq!(objects.last_named("b").to_string(), "foreign file \"/dev/shm/packetring.a~t.b\"");
    assert_eq!(kind("damaged"), Some((ObjectKind::Ring, true)));
    assert_eq!(kind("deserted"), Some((ObjectKind::Ring, false)));
    assert_eq!(kind("unmade"), Some((ObjectKind::Ring, false)));
    assert_eq!(objects.len(), 8, "{objects:?}");
    let others = of_other_users().unwrap();
    let [their_socket, theirs] = &others[..] else { panic!("{others:?}") };
    assert_eq!((their_socket.kind, their_socket.owner), (ObjectKind::Socket, 65534));
    assert!(matches!(their_socket.remove(), Err(OpenError::OtherUser { .. })));
    assert_eq!((theirs.name.as_str(), theirs.owner, theirs.bytes), ("theirs", 65534, 0));
    assert!(matches!(theirs.fault, Some(OpenError::OtherUser { owner: 65534, user: 0, .. })));
    assert!(matches!(theirs.inspect(), Err(OpenError::OtherUser { .. })));
    assert!(matches!(theirs.remove(), Err(OpenError::OtherUser { .. })));
    for name in ["empty", "foreign", "zeros"] {
        let outcome = objects.last_named(name).remove();
        assert!(matches!(outcome, Err(OpenError::Foreign { .. })), "{name}: {outcome:?}");
    }
    assert_eq!(files(), before);
    let purged = purge().unwrap();
    let removed = ["deserted", "unmade"].map(|name| objects.last_named(name));
    assert_eq!(known(&purged.removed), known(removed));
    assert_eq!(purged.stays.len(), 6);
    for (object, reason) in &purged.stays {
        assert!(matches!(reason, StayReason::Failed(_)), "{object}: {reason}");
    }
    let mut left = before;
    left.remove("packetring.deserted");
    left.remove("packetring.unmade");
    assert_eq!(files(), left);
    assert_eq!(fs::read(object("zeros")).unwrap(), zeros);
    // Nor does any other call change a file that is not of this library.
    for outcome in [Ring::open("zeros").map(drop), Ring::remove("zeros").map(drop)] {
        assert!(matches!(outcome, Err(OpenError::Foreign { found: 0, .. })));
    }
    assert_eq!(fs::read(object("zeros")).unwrap(), zeros);
}

/// Finds an object by its name.
trait Named {
    fn last_named(&self, name: &str) -> &ObjectInfo;
}

impl Named for Vec<ObjectInfo> {
    fn last_named(&self, name: &str) -> &ObjectInfo {
        self.iter().rfind(|object| object.name == name).unwrap()
    }
}

fn files() -> BTreeSet<String> {
    let names = fs::read_dir("/dev/shm").unwrap().map(|file| file.unwrap().file_name());
    names.map(|name| name.into_string().unwrap()).collect()
}

/// A copy of a ring's object that no process is attached to, as after a crash.
fn leave(name: &str) {
    let ring = Ring::open(name).unwrap();
    let bytes = fs::read(object(name)).unwrap();
    drop(ring);
    fs::write(object(name), bytes).unwrap();
}

#[test]
fn broken_and_foreign_files_stay_and_stop_nothing() {
    in_private("broken");
}

fn layouts(_: &Role) {
    mount_private();
    for (name, keeps) in [("nothing", 1_u64), ("something", 2), ("old", 0)] {
        leave(name);
        let file = OpenOptions::new().write(true).open(object(name)).unwrap();
        file.write_all_at(&1000_u32.to_le_bytes(), 16).unwrap();
        file.write_all_at(&keeps.to_le_bytes(), 88).unwrap();
    }
    let objects = inventory().unwrap();
    for (name, kept) in
        [("nothing", Kept::Nothing), ("something", Kept::Unknown), ("old", Kept::Unknown)]
    {
        let object = objects.last_named(name);
        assert_eq!((object.layout, &object.kept), (Some(1000), &kept));
    }
    let purged = purge().unwrap();
    assert_eq!(known(&purged.removed), known([objects.last_named("nothing")]));
    assert_eq!(purged.stays.len(), 2);
    for (_, reason) in &purged.stays {
        let StayReason::Failed(error) = reason else { panic!("{reason}") };
        let OpenError::OtherVersion { found: 1000, is_in_use: false, .. } = error else {
            panic!("{error}")
        };
    }
}

#[test]
fn leftovers_of_other_layouts_go_if_they_keep_nothing() {
    in_private("layouts");
}

// ── At the same time ───────────────────────────────────────────────────────────────────────────

/// Opens a ring, sends packets to itself and closes it, again and again. Arguments: ring, rounds.
fn open_and_close(role: &Role) {
    let name = &role.arguments[0];
    peer::say("ready");
    peer::hear();
    for round in 0..role.number(1) {
        let ring = Ring::open(name).unwrap();
        let mut numbers = ring.subscriber::<u64>().unwrap();
        let mut out = ring.publisher::<u64>().unwrap();
        for number in 0..3 {
            out.send(&(round + number)).unwrap();
            assert_eq!(*numbers.recv().unwrap(), round + number);
        }
        assert!(!ring.is_detached(), "the ring was removed in use");
    }
    peer::say("done");
}

/// Purges until the test ends this process.
fn purge_often(_: &Role) {
    peer::say("ready");
    peer::hear();
    loop {
        for (object, reason) in purge().unwrap().stays {
            assert!(!matches!(reason, StayReason::Failed(_)), "{object}: {reason}");
        }
    }
}

fn race(_: &Role) {
    mount_private();
    let kept = Ring::open("kept").unwrap();
    drop(kept.durable::<u64>("d").unwrap());
    kept.publisher::<u64>().unwrap().send(&9).unwrap();
    drop(kept);
    let mut purging: Vec<_> = (0..2).map(|_| Peer::start("purge_often")).collect();
    let mut opening: Vec<_> =
        (0..2).map(|index| Peer::start(&format!("open_close r{index} 150"))).collect();
    for peer in purging.iter_mut().chain(&mut opening) {
        peer.expect("ready");
    }
    for peer in purging.iter_mut().chain(&mut opening) {
        peer.tell("go");
    }
    for peer in &mut opening {
        peer.expect("done");
    }
    for peer in opening {
        peer.finish();
    }
    for peer in &mut purging {
        peer.kill();
    }
    let mut numbers = Ring::attach("kept").unwrap().durable::<u64>("d").unwrap();
    assert_eq!(*numbers.recv().unwrap(), 9);
    assert_eq!(files().len(), 1, "{:?}", files());
}

#[test]
fn purges_disturb_no_process_that_opens_and_closes() {
    in_private("race");
}

// ── In the common file system ──────────────────────────────────────────────────────────────────

#[test]
fn this_process_is_listed_with_its_ring() {
    let name = unique("inventory");
    let ring = Ring::open(&name).unwrap();
    let objects = inventory().unwrap();
    let own = objects.last_named(&name);
    assert_eq!((own.kind, &own.cluster), (ObjectKind::Ring, &None));
    assert!(own.is_attached && own.processes.contains(&std::process::id()), "{own:?}");
    assert_eq!(own.to_string(), format!("ring {name:?}"));
    drop(ring);
    assert!(!inventory().unwrap().iter().any(|object| object.name == name));
}

#[test]
fn an_observer_is_no_user() {
    let _watch = Watch::start();
    let name = unique("observed");
    let ring = Ring::open(&name).unwrap();
    let mut observing = Peer::start(&format!("observe {name}"));
    observing.expect("observes");
    let objects = inventory().unwrap();
    let observed = objects.last_named(&name);
    assert_eq!(observed.processes, [std::process::id()], "{observed:?}");
    assert_eq!(observed.observers, [observing.pid()], "{observed:?}");
    observing.tell("end");
    observing.finish();
    drop(ring);
}

fn observe(role: &Role) {
    let objects = inventory().unwrap();
    let object = objects.last_named(&role.arguments[0]);
    let observer = Observer::open(object, ObserveFrom::Now).unwrap();
    peer::say("observes");
    peer::hear();
    drop(observer);
}

// ── Boards ─────────────────────────────────────────────────────────────────────────────────────

#[test]
fn a_board_outside_of_a_cluster_is_listed_as_one() {
    let name = unique("board");
    let latest = Latest::<u64>::open(&name).unwrap();
    let builder = Board::<u64>::builder().prefix("test-boards");
    let board = builder.keys(3).open::<u64>(&name).unwrap();
    let listed = |prefix: Option<&str>| {
        let all = inventory().unwrap().into_iter();
        let found = all.filter(|found| found.name == name && found.prefix.as_deref() == prefix);
        found.map(|found| (found.kind, found.to_string(), found.kept, found.cluster)).collect()
    };
    let expected = |text: String| vec![(ObjectKind::Board, text, Kept::Nothing, None)];
    let found: Vec<_> = listed(None);
    assert_eq!(found, expected(format!("board {name:?}")));
    let found: Vec<_> = listed(Some("test-boards"));
    assert_eq!(found, expected(format!("board {name:?} (prefix \"test-boards\")")));
    drop((latest, board));
    let ring = Ring::open(&name).unwrap();
    let found: Vec<_> = listed(None);
    let expected = (ObjectKind::Ring, format!("ring {name:?}"), Kept::Nothing, None);
    assert_eq!(found, [expected]);
    drop(ring);
}
