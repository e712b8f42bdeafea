//! Prefixes of names: applications with one name for two things do not meet. And users of one group
//! that share rings and clusters.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod support;

use packetring::cluster::{Delivery, JoinError, Request, WorkerBuilder, WorkerState};
use packetring::inventory::Kept;
use packetring::inventory::{ObjectInfo, ObjectKind, StayReason};
use packetring::{
    Board, Latest, OpenError, Ring, RingBuilder, TryRecvError, Worker, inventory, packet,
    purge_prefix,
};
use std::collections::BTreeSet;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use support::peer::{self, Peer, Role};
use support::seccomp::{self, Refused};
use support::{LONG, Watch, object, unique, wait_until};

/// Entry point of the child processes; does nothing without a role.
#[test]
fn peer() {
    let Some(role) = peer::role() else { return };
    let run: fn(&Role) = match role.name.as_str() {
        "by_variable" => by_variable,
        "invalid" => invalid,
        "desert" => desert,
        "mask" => mask,
        "named" => named,
        "refused" => refused,
        "half_made" => half_made,
        "owner" => owner,
        "guest" => guest,
        "owner_again" => owner_again,
        "host" => host,
        "visitor" => visitor,
        "host_again" => host_again,
        "keeper" => keeper,
        "careless" => careless,
        "inbox_owner" => inbox_owner,
        "inbox_heir" => inbox_heir,
        "inbox_sender" => inbox_sender,
        "inbox_resizer" => inbox_resizer,
        other => panic!("{other}"),
    };
    run(&role);
}

/// The files in shared memory that hold this text in their names.
fn files(text: &str) -> BTreeSet<String> {
    let all = std::fs::read_dir("/dev/shm").unwrap();
    let names = all.map(|file| file.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.contains(text)).collect()
}

fn of_prefix(prefix: &str) -> Vec<ObjectInfo> {
    let mut all = inventory().unwrap();
    all.retain(|object| object.prefix.as_deref() == Some(prefix));
    all
}

// ── Isolation ──────────────────────────────────────────────────────────────────────────────────

#[test]
fn rings_of_two_prefixes_do_not_meet() {
    let name = unique("prefix");
    let open = |prefix: &str| Ring::builder().prefix(prefix).open(&name).unwrap();
    let rings = [open("a"), open("b"), open("")];
    let mut readers = rings.each_ref().map(|ring| ring.subscriber::<u64>().unwrap());
    rings[0].publisher::<u64>().unwrap().send(&7).unwrap();
    assert_eq!(*readers[0].try_recv().unwrap(), 7);
    for other in &mut readers[1..] {
        assert!(matches!(other.try_recv(), Err(TryRecvError::Empty | TryRecvError::Closed)));
    }
    assert!(rings.iter().all(|ring| ring.name() == name));
    // Without a prefix the file has the old name.
    let expected = [format!("packetring.a:{name}"), format!("packetring.b:{name}")];
    let plain = format!("packetring.{name}");
    assert_eq!(files(&name), expected.into_iter().chain([plain]).collect());

    drop((readers, rings));
    assert_eq!(files(&name), BTreeSet::new());
    let error = Ring::builder().prefix("a").attach(&name).unwrap_err();
    let text = error.to_string();
    assert!(text.contains(&format!("ring \"{name}\" (prefix \"a\")")), "{text}");
}

#[test]
fn a_ring_is_removed_under_its_prefix_alone() {
    let name = unique("prefix-removed");
    for prefix in ["a", ""] {
        let ring = Ring::builder().prefix(prefix).open(&name).unwrap();
        drop(ring.durable::<u64>("billing").unwrap());
    }
    assert!(!Ring::builder().prefix("b").remove(&name).unwrap());
    assert!(Ring::builder().prefix("a").remove(&name).unwrap());
    assert_eq!(files(&name), BTreeSet::from([format!("packetring.{name}")]));
    assert!(Ring::remove(&name).unwrap());
}

/// Opens an object of each kind as worker `a`, and returns the worker with all of them.
fn open_all(builder: WorkerBuilder, cluster: &str) -> (Worker, impl Sized + use<>) {
    let worker = builder.max_workers(4).join(cluster, "a").unwrap();
    let inbox = worker.inbox().unwrap();
    let topic = worker.topic("t").publisher::<u64>().unwrap();
    let queue = worker.queue_publisher::<u64>("q").unwrap();
    let service = worker.service::<u64, u64>("s").unwrap();
    let client = worker.client::<u64, u64>("s").unwrap();
    let events = worker.events().unwrap();
    (worker, (inbox, topic, queue, service, client, events))
}

const KINDS: usize = 7;

#[test]
fn clusters_of_two_prefixes_do_not_meet() {
    let cluster = unique("prefix-cluster");
    let prefixes = ["a", "b", ""];
    let workers = prefixes.map(|prefix| open_all(Worker::builder().prefix(prefix), &cluster));
    for (worker, _) in &workers {
        assert_eq!(worker.workers().len(), 1);
    }
    for prefix in ["a:", "b:", ""] {
        assert_eq!(files(&format!("packetring.{prefix}{cluster}~")).len(), KINDS, "{prefix}");
    }
    let refused = Worker::builder().prefix("a").remove_cluster(&cluster);
    assert!(matches!(refused, Err(OpenError::WorkerLives { .. })));
    assert!(!Worker::builder().prefix("c").remove_cluster(&cluster).unwrap());

    let [(a, a_objects), others @ ..] = workers;
    drop(a_objects);
    a.leave().unwrap();
    assert_eq!(files(&format!("packetring.a:{cluster}~")), BTreeSet::new());
    for prefix in ["b:", ""] {
        assert_eq!(files(&format!("packetring.{prefix}{cluster}~")).len(), KINDS, "{prefix}");
    }
    for (worker, objects) in others {
        drop(objects);
        worker.leave().unwrap();
    }
    assert_eq!(files(&cluster), BTreeSet::new());
}

#[test]
fn calls_messages_and_dead_letters_pass_under_a_prefix() {
    let cluster = unique("prefix-calls");
    let builder = || Worker::builder().prefix("p").max_workers(4);
    let undertaker = builder().join(&cluster, "undertaker").unwrap();
    let mut letters = undertaker.inbox().unwrap();
    let failing = builder().max_deliveries(1).dead_letters("undertaker");
    let worker = failing.join(&cluster, "a").unwrap();
    let mut inbox = worker.inbox().unwrap();
    undertaker.send_to("a", &7_u64).unwrap();
    drop(inbox.recv().unwrap());
    assert!(matches!(inbox.try_recv(), Err(TryRecvError::Empty)));
    letters.recv().unwrap().ack();

    let mut service = worker.service::<u64, u64>("double").unwrap();
    let client = undertaker.client::<u64, u64>("double").unwrap();
    let call = client.start(&21).unwrap();
    let request = service.recv().unwrap();
    let doubled = request.to_native() * 2;
    packetring::cluster::Request::reply(request, &doubled).unwrap();
    assert_eq!(*call.wait().unwrap(), 42);
    drop((service, client, inbox, letters));
    worker.leave().unwrap();
    undertaker.leave().unwrap();
    assert_eq!(files(&cluster), BTreeSet::new());
}

// ── The variable ───────────────────────────────────────────────────────────────────────────────

/// Opens a ring and a cluster with the prefix of the environment, and with others. Arguments: name,
/// prefix.
fn by_variable(role: &Role) {
    let [name, prefix] = &role.arguments[..] else { panic!() };
    let file = |prefix: &str| BTreeSet::from([format!("packetring.{prefix}{name}")]);
    let ring = Ring::open(name).unwrap();
    assert_eq!(files(name), file(&format!("{prefix}:")));
    Ring::attach(name).unwrap();
    drop(ring);
    assert!(!Ring::remove(name).unwrap());
    let worker = Worker::join(name, "a").unwrap();
    assert_eq!(files(name), file(&format!("{prefix}:")).iter().map(|f| f.clone() + "~d").collect());
    worker.leave().unwrap();
    // The builder wins, also with no prefix.
    let ring = Ring::builder().prefix("own").open(name).unwrap();
    assert_eq!(files(name), file("own:"));
    drop(ring);
    let worker = Worker::builder().prefix("").join(name, "a").unwrap();
    assert_eq!(files(name), BTreeSet::from([format!("packetring.{name}~d")]));
    worker.leave().unwrap();
}

#[test]
fn the_environment_gives_a_prefix() {
    let name = unique("prefix-variable");
    let run = |variable: &str, role: &str| Peer::start_under(&["env", variable], role).finish();
    run("PACKETRING_PREFIX=staging", &format!("by_variable {name} staging"));
    assert_eq!(files(&name), BTreeSet::new());
}

/// Opens names under an invalid prefix. Arguments: name.
fn invalid(role: &Role) {
    let name = &role.arguments[0];
    for error in [
        Ring::open(name).unwrap_err(),
        Ring::attach(name).unwrap_err(),
        Ring::remove(name).unwrap_err(),
        Worker::remove_cluster(name).unwrap_err(),
        match Worker::join(name, "a") {
            Err(JoinError::Open(error)) => error,
            other => panic!("{other:?}"),
        },
    ] {
        assert!(matches!(error, OpenError::BadSettings { .. }), "{error:?}");
        let text = error.to_string();
        assert!(text.contains("\"a b\" in PACKETRING_PREFIX of 3 bytes"), "{text}");
    }
    Ring::builder().prefix("valid").open(name).unwrap();
    assert_eq!(files(name), BTreeSet::new());
}

#[test]
fn an_invalid_prefix_is_an_error() {
    let name = unique("prefix-invalid");
    Peer::start_under(&["env", "PACKETRING_PREFIX=a b"], &format!("invalid {name}")).finish();
    for prefix in ["a:b", "a/b", ".a", "ü", &"p".repeat(41)] {
        let error = Ring::builder().prefix(prefix).open(&name).unwrap_err();
        assert!(matches!(error, OpenError::BadSettings { .. }), "{error:?}");
        let error = Worker::builder().prefix(prefix).join(&name, "a").unwrap_err();
        assert!(matches!(error, JoinError::Open(OpenError::BadSettings { .. })), "{error:?}");
        assert!(matches!(purge_prefix(prefix), Err(OpenError::BadSettings { .. })));
    }
    assert_eq!(files(&name), BTreeSet::new());
}

// ── The list ───────────────────────────────────────────────────────────────────────────────────

/// Ends this process with a ring and a cluster open. Arguments: prefix.
fn desert(role: &Role) {
    let prefix = &role.arguments[0];
    let _ring = Ring::builder().prefix(prefix).open("r").unwrap();
    let _cluster = open_all(Worker::builder().prefix(prefix), "c:d");
    std::process::exit(0);
}

#[test]
fn objects_are_listed_and_purged_by_prefix() {
    let [one, other] = [unique("one"), unique("other")];
    for prefix in [&one, &other] {
        Peer::start(&format!("desert {prefix}")).finish();
    }
    let found = of_prefix(&one);
    assert_eq!(found.len(), KINDS + 1);
    for object in &found {
        let (cluster, name) = (object.cluster.as_deref(), &*object.name);
        match object.kind {
            ObjectKind::Ring => assert_eq!((cluster, name), (None, "r")),
            _ => assert_eq!(cluster, Some("c:d")),
        }
        assert!(object.to_string().ends_with(&format!("(prefix {one:?})")), "{object}");
    }
    let living = Ring::builder().prefix(&one).open("living").unwrap();
    let purged = purge_prefix(&one).unwrap();
    let is_own = |object: &ObjectInfo| object.prefix.as_ref() == Some(&one);
    assert!(purged.removed.iter().all(is_own));
    let stays: BTreeSet<_> = purged
        .stays
        .iter()
        .inspect(|(object, _)| assert!(is_own(object)))
        .map(|(object, reason)| (object.name.clone(), matches!(reason, StayReason::InUse)))
        .collect();
    // The directory and the inbox keep a worker.
    let kept = [(String::new(), false), ("a".to_owned(), false), ("living".to_owned(), true)];
    assert_eq!(stays, kept.into());
    assert_eq!(of_prefix(&other).len(), KINDS + 1);
    drop(living);
    for prefix in [&one, &other] {
        assert!(Worker::builder().prefix(prefix).remove_cluster("c:d").unwrap());
        let _ = purge_prefix(prefix).unwrap();
        assert_eq!(files(prefix), BTreeSet::new());
    }
}

// ── Users of one group ─────────────────────────────────────────────────────────────────────────

/// The mode and the group of a file.
fn access(file: &str) -> (u32, u32) {
    let found = std::fs::metadata(format!("/dev/shm/{file}")).unwrap();
    (found.mode() & 0o7777, found.gid())
}

#[test]
fn only_two_modes_are_valid() {
    let name = unique("modes");
    for mode in [0o666, 0o640, 0o620, 0o661, 0o770, 0o700, 0o060, 0o4660, 0o2660, 0, 0o10600] {
        let error = Ring::builder().mode(mode).open(&name).unwrap_err();
        assert!(matches!(error, OpenError::BadSettings { .. }), "{error:?}");
        let text = error.to_string();
        assert!(text.contains(&format!("mode {mode:04o} is not 0600")), "{text}");
        let error = Worker::builder().mode(mode).join(&name, "a").unwrap_err();
        assert!(matches!(error, JoinError::Open(OpenError::BadSettings { .. })), "{error:?}");
    }
    for builder in [Ring::builder(), Ring::builder().mode(0o600)] {
        let error = builder.group(7).open(&name).unwrap_err();
        assert!(error.to_string().contains("group 7 without mode 0660"), "{error}");
    }
    assert_eq!(files(&name), BTreeSet::new());
}

#[test]
fn a_ring_in_use_keeps_its_mode_and_its_group() {
    let _watch = Watch::start();
    let name = unique("mode-kept");
    let ring = Ring::builder().mode(0o660).open(&name).unwrap();
    let own = rustix::process::getegid().as_raw();
    assert_eq!(access(&format!("packetring.{name}")), (0o660, own));
    let refused = |builder: RingBuilder| {
        let error = builder.open(&name).unwrap_err();
        let OpenError::SettingsMismatch { setting, expected, found, .. } = error else {
            panic!("{error}")
        };
        (setting, expected, found)
    };
    let texts =
        |setting, expected: &str, found: &str| (setting, expected.to_owned(), found.to_owned());
    assert_eq!(refused(Ring::builder().mode(0o600)), texts("mode", "0600", "0660"));
    let other = Ring::builder().mode(0o660).group(own + 1);
    let expected = texts("group", &(own + 1).to_string(), &own.to_string());
    assert_eq!(refused(other), expected);
    // Without a choice the owner opens a ring of any mode, and each lock was released.
    Ring::attach(&name).unwrap();
    drop(ring);
    let ring = Ring::open(&name).unwrap();
    assert_eq!(refused(Ring::builder().mode(0o660)), texts("mode", "0660", "0600"));
    drop(ring);
    assert_eq!(files(&name), BTreeSet::new());
}

/// A call that the kernel does not know in this process.
fn refuse(call: i64) {
    seccomp::refuse(&[Refused { call, commands: Vec::new() }], libc::ENOSYS);
}

/// Makes objects of all kinds under umasks. Arguments: name.
fn mask(role: &Role) {
    let name = &role.arguments[0];
    for umask in [0o777, 0o077, 0] {
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(umask));
        for mode in [0o600, 0o660] {
            let ring = Ring::builder().mode(mode).open(name).unwrap();
            let (worker, objects) = open_all(Worker::builder().mode(mode), name);
            let all = files(name);
            assert_eq!(all.len(), KINDS + 1);
            for file in &all {
                assert_eq!(access(file).0, mode, "{file}");
            }
            drop((ring, objects));
            worker.leave().unwrap();
        }
    }
}

/// As [`mask`], where the kernel gives no name to an open file. Arguments: name.
fn named(role: &Role) {
    refuse(libc::SYS_linkat);
    mask(role);
}

#[test]
fn each_object_has_the_mode_under_any_umask() {
    for role in ["mask", "named"] {
        let name = unique("mode-mask");
        Peer::start(&format!("{role} {name}")).finish();
        assert_eq!(files(&name), BTreeSet::new());
    }
}

/// The ids of two users, and a group of both. Without the privileges of root both are this user.
fn two_users() -> ([String; 2], u32) {
    if rustix::process::geteuid().is_root() {
        return ([12345, 65534].map(|id: u32| id.to_string()), 64242);
    }
    let own = rustix::process::getegid();
    let groups = rustix::process::getgroups().unwrap();
    let group = groups.into_iter().find(|&group| group != own).unwrap_or(own).as_raw();
    println!("not root: one user in both roles, with group {group} of its groups; refusals of");
    println!("another user, and what it cannot unlink, are not tested");
    (["-".into(), "-".into()], group)
}

/// Switches to a user that is in a group. Returns false if the user is `-`: this one.
fn become_user(user: &str, group: u32) -> bool {
    let Ok(user) = user.parse::<u32>() else { return false };
    // SAFETY: the C library changes the user of all threads. The list has one id.
    let outcomes =
        unsafe { (libc::setgroups(1, &raw const group), libc::setgid(user), libc::setuid(user)) };
    assert_eq!(outcomes, (0, 0, 0));
    true
}

/// The arguments of the roles below: name, group, user. Becomes the user.
fn begin(role: &Role) -> (&str, u32, bool) {
    let group = role.number(1) as u32;
    (&role.arguments[0], group, become_user(&role.arguments[2], group))
}

/// The name is the prefix, too: a purge touches nothing of other tests.
fn shared_ring(name: &str, group: u32) -> RingBuilder {
    Ring::builder().prefix(name).mode(0o660).group(group)
}

fn shared_worker(name: &str, group: u32) -> WorkerBuilder {
    Worker::builder().prefix(name).mode(0o660).group(group).max_workers(4)
}

/// Chooses a group that is none of this process. Arguments: name, group, user.
fn refused(role: &Role) {
    let (name, group, _) = begin(role);
    let own = rustix::process::getgroups().unwrap();
    let is_own = |id: u32| own.iter().any(|group| group.as_raw() == id);
    let other = (group + 1..).find(|&id| !is_own(id)).unwrap();
    let error = shared_ring(name, other).open(name).unwrap_err();
    assert!(matches!(error, OpenError::BadSettings { .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.contains(&format!("group {other} is none of this process")), "{text}");
}

#[test]
fn a_group_of_others_is_an_error_and_leaves_no_file() {
    let (users, group) = two_users();
    let name = unique("no-member");
    Peer::start(&format!("refused {name} {group} {}", users[0])).finish();
    assert_eq!(files(&name), BTreeSet::new());
}

/// Opens a ring that another user was making. Arguments: name, group, user.
fn half_made(role: &Role) {
    let (name, group, _) = begin(role);
    let attached = shared_ring(name, group).attach(name);
    assert!(matches!(attached, Err(OpenError::NotFound { .. })), "{attached:?}");
    let ring = shared_ring(name, group).open(name).unwrap();
    assert_eq!((ring.types().len(), ring.subscribers()), (0, 0));
    let mut numbers = ring.subscriber::<u64>().unwrap();
    ring.publisher::<u64>().unwrap().send(&7).unwrap();
    assert_eq!(*numbers.recv_timeout(LONG).unwrap(), 7);
}

/// Places a file that begins as an object that is not ready, with other bytes behind.
fn place_half_made(path: &str, owner: u32, group: u32) {
    let start = [*b"packetrg", 2_u64.to_le_bytes()].concat();
    std::fs::write(path, [start, vec![0x5a; 300_000]].concat()).unwrap();
    std::os::unix::fs::chown(path, Some(owner), Some(group)).unwrap();
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o660)).unwrap();
}

#[test]
fn a_ring_whose_maker_was_killed_is_made_by_another_user() {
    let (users, group) = two_users();
    let name = unique("half-made");
    let path = format!("/dev/shm/packetring.{name}:{name}");
    let owner = users[0].parse().unwrap_or(rustix::process::geteuid().as_raw());
    place_half_made(&path, owner, group);
    Peer::start(&format!("half_made {name} {group} {}", users[1])).finish();
    assert_eq!(files(&name).is_empty(), users[1] == "-");
    let _ = std::fs::remove_file(path);
}

#[test]
fn a_file_of_another_user_beside_a_cluster_is_reported_once() {
    let (users, group) = two_users();
    let Ok(owner) = users[0].parse() else { return };
    let name = unique("beside");
    let path = format!("/dev/shm/packetring.{name}~t.theirs");
    let worker = Worker::join(&name, "a").unwrap();
    drop(worker.inbox().unwrap());
    drop(worker);
    place_half_made(&path, owner, group);
    let error = Worker::remove_cluster(&name).unwrap_err();
    assert!(matches!(error, OpenError::OtherUser { mode: 0o660, .. }), "{error}");
    assert_eq!(files(&format!("{name}~")), BTreeSet::from([format!("packetring.{name}~t.theirs")]));
    assert!(!Worker::remove_cluster(&name).unwrap());
    std::fs::remove_file(path).unwrap();
}

/// Shares a ring as its owner, and dies with an open claim. Arguments: name, group, user.
fn owner(role: &Role) {
    let (name, group, _) = begin(role);
    let ring = shared_ring(name, group).stays_open(true).open(name).unwrap();
    let mut numbers = ring.subscriber::<u64>().unwrap();
    let mut out = ring.publisher::<u64>().unwrap();
    peer::say("open");
    assert_eq!(*numbers.recv_timeout(LONG).unwrap(), 7);
    out.send(&8).unwrap();
    let _open_claim = out.reserve().unwrap();
    peer::say("claimed");
    peer::hear();
}

/// Uses the ring of another user. Arguments: name, group, user.
fn guest(role: &Role) {
    let (name, group, is_other) = begin(role);
    if is_other {
        let refused = [
            Ring::builder().prefix(name),
            Ring::builder().prefix(name).mode(0o600),
            Ring::builder().prefix(name).mode(0o660),
            shared_ring(name, group + 1),
        ];
        for builder in refused {
            for error in [
                builder.clone().open(name).unwrap_err(),
                builder.clone().attach(name).unwrap_err(),
                builder.remove(name).unwrap_err(),
            ] {
                let text = error.to_string();
                let OpenError::OtherUser { owner, user, mode, group: found, .. } = error else {
                    panic!("{error}")
                };
                assert_eq!((owner, user, mode, found), (12345, 65534, 0o660, group));
                let cure = format!("open it with mode 0660 and group {group}");
                assert!(text.contains("mode is 0660") && text.contains(&cure), "{text}");
            }
        }
    }
    let ring = shared_ring(name, group).open(name).unwrap();
    let mut numbers = ring.subscriber::<u64>().unwrap();
    let mut out = ring.publisher::<u64>().unwrap();
    out.send(&7).unwrap();
    let mut next = || numbers.recv_timeout(LONG).unwrap().to_native();
    assert_eq!([next(), next()], [7, 8]);
    peer::say("received");
    // The test kills the owner, whose claim is open.
    assert_eq!(peer::hear().unwrap(), "killed");
    out.send(&9).unwrap();
    assert_eq!(numbers.recv_timeout(LONG).unwrap().to_native(), 9);
    let is_listed = || inventory().unwrap().iter().any(|object| object.name == *name);
    assert_eq!(is_listed(), !is_other, "only the owner's objects are listed");
    drop((numbers, out, ring));
    let file = || files(name).len();
    assert_eq!(file(), usize::from(is_other));
    // The file of the owner stays, and is no ring.
    let attached = shared_ring(name, group).attach(name);
    assert!(matches!(attached, Err(OpenError::NotFound { .. })), "{attached:?}");
    assert!(!shared_ring(name, group).remove(name).unwrap());
    // Nothing is left of the old ring: neither packets nor settings, as far as the size permits.
    let again = shared_ring(name, group).history(5).open(name).unwrap();
    assert_eq!((again.settings().history, again.types().len()), (5, 0));
    let mut texts = again.subscriber::<String>().unwrap();
    assert!(matches!(texts.try_recv(), Err(TryRecvError::Empty | TryRecvError::Closed)));
    again.publisher::<String>().unwrap().send(&"new".to_owned()).unwrap();
    assert_eq!(*texts.recv_timeout(LONG).unwrap(), *"new");
    drop((texts, again));
    if is_other {
        let smaller = shared_ring(name, group).capacity(1024).open(name).unwrap_err();
        let OpenError::SettingsMismatch { setting: "size in bytes", .. } = smaller else {
            panic!("{smaller}")
        };
    }
    // A durable subscriber keeps it, and a removal takes it away.
    drop(shared_ring(name, group).open(name).unwrap().durable::<u64>("d").unwrap());
    assert!(shared_ring(name, group).attach(name).is_ok());
    assert!(shared_ring(name, group).remove(name).unwrap());
    assert!(!shared_ring(name, group).remove(name).unwrap());
    assert_eq!(file(), usize::from(is_other));
}

/// Looks at what the other user left of the ring, as the owner, and purges it. Arguments: name,
/// group, user.
fn owner_again(role: &Role) {
    let (name, _, is_other) = begin(role);
    let found = inventory().unwrap().into_iter().find(|object| object.name == name);
    assert_eq!(found.is_some(), is_other);
    if let Some(object) = found {
        assert!(!object.is_attached && object.kept == Kept::Nothing, "{object:?}");
        assert_eq!((object.mode, object.fault.is_none()), (0o660, true), "{object:?}");
    }
    let purged = purge_prefix(name).unwrap();
    assert_eq!(purged.removed.iter().any(|object| object.name == name), is_other);
}

#[test]
fn two_users_share_a_ring() {
    let _watch = Watch::start();
    let (users, group) = two_users();
    let name = unique("two-users");
    let mut owner = Peer::start(&format!("owner {name} {group} {}", users[0]));
    owner.expect("open");
    let mut guest = Peer::start(&format!("guest {name} {group} {}", users[1]));
    owner.expect("claimed");
    guest.expect("received");
    assert_eq!(access(&format!("packetring.{name}:{name}")), (0o660, group));
    owner.kill();
    guest.tell("killed");
    guest.finish();
    Peer::start(&format!("owner_again {name} {group} {}", users[0])).finish();
    assert_eq!(files(&name), BTreeSet::new());
}

/// Offers all kinds of objects of a cluster, and dies with a job in flight. Arguments: name, group,
/// user.
fn host(role: &Role) {
    let (name, group, _) = begin(role);
    let worker = shared_worker(name, group).join(name, "host").unwrap();
    let mut inbox = worker.inbox().unwrap();
    let mut prices = worker.topic("prices").subscriber::<u64>().unwrap();
    let mut jobs = worker.queue::<u64>("jobs").unwrap();
    let mut double = worker.service::<u64, u64>("double").unwrap();
    let _events = worker.events().unwrap();
    peer::say("open");
    let message = inbox.recv_timeout(LONG).unwrap();
    assert_eq!(*message.open_as::<u64>().unwrap(), 1);
    message.ack();
    worker.send_to("visitor", &2_u64).unwrap();
    assert_eq!(*prices.recv_timeout(LONG).unwrap(), 3);
    let request = double.recv_timeout(LONG).unwrap();
    let doubled = request.to_native() * 2;
    Request::reply(request, &doubled).unwrap();
    let job = jobs.recv_timeout(LONG).unwrap();
    assert_eq!(*job, 5);
    // An inventory of the host shows the processes of the other user, and no object is deserted.
    let objects = inventory().unwrap();
    let own: Vec<_> = objects.iter().filter(|o| o.cluster.as_deref() == Some(name)).collect();
    assert!(own.len() >= 6, "{own:?}");
    assert!(own.iter().all(|object| object.is_attached), "{own:?}");
    let directory = own.iter().find(|object| object.kind == ObjectKind::Directory).unwrap();
    let visitor = worker.worker("visitor").unwrap().pid;
    assert!(directory.processes.contains(&visitor), "{directory:?}");
    let purged = purge_prefix(name).unwrap();
    assert!(purged.removed.iter().all(|object| object.cluster.as_deref() != Some(name)));
    peer::say("all received");
    peer::hear();
    drop(job);
}

/// Uses the objects of another user's cluster. Arguments: name, group, user.
fn visitor(role: &Role) {
    let (name, group, is_other) = begin(role);
    if is_other {
        let alone = Worker::builder().prefix(name);
        for builder in [alone.clone(), alone.clone().mode(0o660)] {
            let error = builder.join(name, "visitor").unwrap_err();
            assert!(matches!(error, JoinError::Open(OpenError::OtherUser { .. })), "{error}");
        }
        let removed = alone.remove_cluster(name);
        assert!(matches!(removed, Err(OpenError::OtherUser { .. })), "{removed:?}");
    }
    let worker = shared_worker(name, group).join(name, "visitor").unwrap();
    let mut inbox = worker.inbox().unwrap();
    worker.send_to("host", &1_u64).unwrap();
    let message = inbox.recv_timeout(LONG).unwrap();
    assert_eq!(*message.open_as::<u64>().unwrap(), 2);
    message.ack();
    worker.topic("prices").publisher::<u64>().unwrap().send(&3).unwrap();
    let client = worker.client::<u64, u64>("double").unwrap();
    assert_eq!(*client.call(&4).unwrap(), 8);
    worker.queue_publisher::<u64>("jobs").unwrap().send(&5).unwrap();
    assert_eq!(worker.worker("host").unwrap().state, WorkerState::Alive);
    peer::say("done");
    // The test kills the host, which has a job in flight, and a message in its inbox.
    assert_eq!(peer::hear().unwrap(), "killed");
    wait_until("the death is noticed", || {
        worker.worker("host").unwrap().state == WorkerState::Away
    });
    let mut jobs = worker.queue::<u64>("jobs").unwrap();
    let job = jobs.recv_timeout(LONG).unwrap();
    assert_eq!((job.to_native(), Delivery::deliveries(&job)), (5, 2));
    Delivery::ack(job);
    worker.send_to("host", &6_u64).unwrap();
    drop((jobs, client));
    // The visitor takes over the place of the host and its inbox.
    let heir = shared_worker(name, group).join(name, "host").unwrap();
    let mut inherited = heir.inbox().unwrap();
    let message = inherited.recv_timeout(LONG).unwrap();
    assert_eq!(*message.open_as::<u64>().unwrap(), 6);
    message.ack();
    // It discards the inbox, whose file it cannot unlink, while a sender is attached.
    drop(inherited);
    heir.leave().unwrap();
    assert!(worker.send_to("host", &0_u64).is_err());
    let heir = shared_worker(name, group).join(name, "host").unwrap();
    let refused = heir.inbox().map(drop);
    assert_eq!(matches!(refused, Err(OpenError::InUse { .. })), is_other, "{refused:?}");
    heir.leave().unwrap();
    // Without the sender, the file of the host serves again.
    drop(inbox);
    worker.leave().unwrap();
    let worker = shared_worker(name, group).join(name, "visitor").unwrap();
    let heir = shared_worker(name, group).join(name, "host").unwrap();
    let mut inherited = heir.inbox().unwrap();
    worker.send_to("host", &7_u64).unwrap();
    let message = inherited.recv_timeout(LONG).unwrap();
    assert_eq!(*message.open_as::<u64>().unwrap(), 7);
    message.ack();
    drop(inherited);
    heir.leave().unwrap();
    worker.leave().unwrap();
    assert!(!shared_worker(name, group).remove_cluster(name).unwrap());
    let left = files(name);
    assert_eq!(left.is_empty(), !is_other, "{left:?}");
    // All that is left of the host's files is names.
    for file in left {
        assert_eq!(std::fs::metadata(format!("/dev/shm/{file}")).unwrap().uid(), 12345, "{file}");
    }
    // A new cluster in the files that stay.
    let worker = shared_worker(name, group).join(name, "visitor").unwrap();
    assert_eq!(worker.workers().len(), 1);
    let mut prices = worker.topic("prices").subscriber::<u64>().unwrap();
    worker.topic("prices").publisher::<u64>().unwrap().send(&8).unwrap();
    assert_eq!(*prices.recv_timeout(LONG).unwrap(), 8);
    drop(worker.inbox().unwrap());
    drop((prices, worker));
    assert!(shared_worker(name, group).remove_cluster(name).unwrap());
    assert!(!shared_worker(name, group).remove_cluster(name).unwrap());
}

/// Joins the cluster again, as the owner of the files. Arguments: name, group, user.
fn host_again(role: &Role) {
    let (name, group, _) = begin(role);
    let worker = shared_worker(name, group).join(name, "host").unwrap();
    drop(worker.inbox().unwrap());
    worker.leave().unwrap();
    assert_eq!(files(name), BTreeSet::new());
}

#[test]
fn two_users_share_a_cluster() {
    let _watch = Watch::start();
    let (users, group) = two_users();
    let name = unique("two-users");
    let mut host = Peer::start(&format!("host {name} {group} {}", users[0]));
    host.expect("open");
    let mut visitor = Peer::start(&format!("visitor {name} {group} {}", users[1]));
    visitor.expect("done");
    host.expect("all received");
    for file in files(&name) {
        assert_eq!(access(&file), (0o660, group), "{file}");
    }
    host.kill();
    visitor.tell("killed");
    visitor.finish();
    Peer::start(&format!("host_again {name} {group} {}", users[0])).finish();
    assert_eq!(files(&name), BTreeSet::new());
}

/// A worker of the cluster that a role names: shared, or of its user alone.
fn worker_of(role: &Role, group: u32) -> WorkerBuilder {
    let name = &role.arguments[0];
    match &*role.arguments[3] {
        "shared" => shared_worker(name, group),
        _ => Worker::builder().prefix(name).max_workers(4),
    }
}

/// Keeps a cluster alive. Arguments: name, group, user, access.
fn keeper(role: &Role) {
    let (name, group, _) = begin(role);
    let worker = worker_of(role, group).join(name, "keeper").unwrap();
    peer::say("open");
    assert_eq!(peer::hear().unwrap(), "leave");
    worker.leave().unwrap();
}

/// Tries to remove the cluster of another user by settings that are not the cluster's. Arguments:
/// name, group, user, access.
fn careless(role: &Role) {
    let (name, group, _) = begin(role);
    let alone = Worker::builder().prefix(name);
    let mut builders = vec![alone.clone(), alone.mode(0o660)];
    if role.arguments[3] == "private" {
        builders.push(shared_worker(name, group));
    }
    let before = files(name);
    for builder in builders {
        let error = builder.remove_cluster(name).unwrap_err();
        assert!(matches!(error, OpenError::OtherUser { owner: 12345, .. }), "{error:?}");
        assert_eq!(files(name), before, "{error}");
    }
}

#[test]
fn a_removal_of_the_cluster_of_another_user_removes_nothing() {
    let _watch = Watch::start();
    let (users, group) = two_users();
    let Ok(visitor) = users[1].parse() else { return };
    for access in ["shared", "private"] {
        let name = unique("not-removed");
        let mut keeper = Peer::start(&format!("keeper {name} {group} {} {access}", users[0]));
        keeper.expect("open");
        // An object in the cluster that the visitor could remove.
        let own = format!("/dev/shm/packetring.{name}:{name}~t.own");
        place_half_made(&own, visitor, group);
        Peer::start(&format!("careless {name} {group} {} {access}", users[1])).finish();
        keeper.tell("leave");
        keeper.finish();
        std::fs::remove_file(own).unwrap();
        assert_eq!(files(&name), BTreeSet::new());
    }
}

/// Makes the inbox of `host`. Arguments: name, group, user.
fn inbox_owner(role: &Role) {
    let (name, group, _) = begin(role);
    let worker = shared_worker(name, group).join(name, "host").unwrap();
    let _inbox = worker.inbox().unwrap();
    peer::say("open");
    peer::hear();
}

/// Sends to the inbox, and so is attached to it. Arguments: name, group, user.
fn inbox_sender(role: &Role) {
    let (name, group, _) = begin(role);
    let worker = shared_worker(name, group).join(name, "sender").unwrap();
    worker.send_to("host", &7_u64).unwrap();
    peer::say("sent");
    peer::hear();
}

/// Inherits the inbox, whose file it cannot unlink, and discards it while the sender is attached.
/// Then it clears away the sender. Arguments: name, group, user.
fn inbox_heir(role: &Role) {
    let (name, group, _) = begin(role);
    let worker = shared_worker(name, group).join(name, "witness").unwrap();
    let heir = shared_worker(name, group).join(name, "host").unwrap();
    let mut inbox = heir.inbox().unwrap();
    peer::say("open");
    inbox.recv_timeout(LONG).unwrap().ack();
    drop(inbox);
    heir.leave().unwrap();
    peer::say("left");
    assert_eq!(peer::hear().unwrap(), "killed");
    // A join clears the dead.
    shared_worker(name, group).join(name, "next").unwrap().leave().unwrap();
    assert!(worker.worker("sender").is_none_or(|info| info.state != WorkerState::Alive));
    peer::say("cleared");
    peer::hear();
    worker.leave().unwrap();
}

#[test]
fn a_nameless_inbox_whose_last_process_was_killed_has_no_memory() {
    let _watch = Watch::start();
    let (users, group) = two_users();
    if users[0] == "-" {
        return;
    }
    let name = unique("nameless");
    let start =
        |role: &str, user: usize| Peer::start(&format!("{role} {name} {group} {}", users[user]));
    let mut owner = start("inbox_owner", 0);
    owner.expect("open");
    owner.kill();
    let mut heir = start("inbox_heir", 1);
    heir.expect("open");
    let mut sender = start("inbox_sender", 1);
    sender.expect("sent");
    heir.expect("left");
    let path = format!("/dev/shm/packetring.{name}:{name}~i.host");
    let memory = || std::fs::metadata(&path).unwrap().blocks() * 512;
    let whole = memory();
    assert!(whole >= 64 * 1024, "{whole} bytes");
    sender.kill();
    heir.tell("killed");
    heir.expect("cleared");
    let left = memory();
    // The first bytes tell that nothing is in it. They take a page.
    assert!(left <= 64 * 1024 && left < whole, "{left} of {whole} bytes");
    heir.tell("end");
    heir.finish();
    Peer::start(&format!("host_again {name} {group} {}", users[0])).finish();
    assert_eq!(files(&name), BTreeSet::new());
}

/// Replaces the inbox of `host`, whose file it cannot unlink, by larger and smaller ones.
/// Arguments: name, group, user.
fn inbox_resizer(role: &Role) {
    let (name, group, _) = begin(role);
    let feed = shared_worker(name, group).join(name, "feed").unwrap();
    let open = |capacity| {
        let host = shared_worker(name, group).inbox_capacity(capacity).join(name, "host").unwrap();
        let mut inbox = host.inbox().unwrap();
        feed.send_to("host", &7_u64).unwrap();
        inbox.recv_timeout(LONG).unwrap().ack();
        while let Ok(message) = inbox.try_recv() {
            message.ack();
        }
        inbox.capacity()
    };
    let default = 256 << 10;
    let idle = shared_worker(name, group).join(name, "idle").unwrap();
    idle.send_to("host", &7_u64).unwrap();
    assert_eq!(open(default), default);
    // The first name has a file of the other user, the second name one of this user.
    assert_eq!(open(2 * default), 2 * default);
    // The idle sender is attached to the first file still.
    assert_eq!(open(default), 2 * default);
    drop(idle);
    assert_eq!([default, 4 * default].map(open), [default, 4 * default]);
    let host = shared_worker(name, group).join(name, "host").unwrap();
    drop(host.inbox().unwrap());
    host.leave().unwrap();
}

#[test]
fn an_inbox_of_another_user_is_replaced_as_far_as_its_file_can_be_removed() {
    let _watch = Watch::start();
    let (users, group) = two_users();
    if users[0] == "-" {
        return;
    }
    let name = unique("resized");
    let start =
        |role: &str, user: usize| Peer::start(&format!("{role} {name} {group} {}", users[user]));
    let mut owner = start("inbox_owner", 0);
    owner.expect("open");
    owner.kill();
    start("inbox_resizer", 1).finish();
    start("host_again", 0).finish();
    assert_eq!(files(&name), BTreeSet::new());
}

// ── Kinds in errors ────────────────────────────────────────────────────────────────────────────

/// Checks that an error calls the object so, and not by the name of another kind.
#[track_caller]
fn assert_called(error: &OpenError, what: &str) {
    let text = error.to_string();
    assert!(text.contains(what), "{what}: {text}");
    let other = if what.starts_with("ring") { "board" } else { "ring " };
    assert!(!text.contains(other), "{what}: {text}");
}

#[test]
fn each_error_names_the_kind_of_its_object() {
    let _watch = Watch::start();
    let cluster = unique("kinds");
    let worker = Worker::join(&cluster, "a").unwrap();
    let name = unique("kind");
    let of_cluster = |letter| format!("{cluster}~{letter}");
    // Another program's file in the place of each.
    type Open<'a> = &'a dyn Fn(&str) -> Result<(), OpenError>;
    let cases: [(&str, String, Open<'_>); 10] = [
        ("ring", name.clone(), &|name| Ring::open(name).map(drop)),
        ("board", name.clone(), &|name| Board::<u64>::open(name).map(drop)),
        ("latest value", name.clone(), &|name| Latest::<u64>::open(name).map(drop)),
        ("board", of_cluster("b.x"), &|_| worker.board::<u64>("x").map(drop)),
        ("latest value", of_cluster("b.x"), &|_| worker.latest::<u64>("x").map(drop)),
        ("topic", of_cluster("t.x"), &|_| worker.publisher::<u64>("x").map(drop)),
        ("work queue", of_cluster("q.x"), &|_| worker.queue::<u64>("x").map(drop)),
        ("service", of_cluster("s.x"), &|_| worker.service::<u64, u64>("x").map(drop)),
        ("inbox \"a\"", of_cluster("i.a"), &|_| worker.inbox().map(drop)),
        ("ring of events", of_cluster("e"), &|_| worker.events().map(drop)),
    ];
    for (kind, whole, open) in cases {
        std::fs::write(object(&whole), [0xaa; 4096]).unwrap();
        let error = open(&name).unwrap_err();
        assert!(matches!(error, OpenError::Foreign { .. }), "{kind}: {error}");
        let shown = match whole.split_once('~') {
            None => format!("{kind} \"{name}\" is not an object"),
            Some((_, "i.a" | "e")) => format!("{kind} of cluster \"{cluster}\" is not"),
            Some(_) => format!("{kind} \"x\" of cluster \"{cluster}\" is not an object"),
        };
        assert_called(&error, &shown);
        let OpenError::Foreign { name, .. } = error else { unreachable!() };
        assert_eq!(name, whole, "the name itself stays as it is");
        std::fs::remove_file(object(&whole)).unwrap();
    }
    worker.leave().unwrap();
    // The directory itself.
    let whole = of_cluster("d");
    std::fs::write(object(&whole), [0xaa; 4096]).unwrap();
    let Err(JoinError::Open(error)) = Worker::join(&cluster, "a") else { panic!("joined") };
    assert_called(&error, &format!("directory of cluster \"{cluster}\" is not an object"));
    std::fs::remove_file(object(&whole)).unwrap();
}

/// Two types of one name.
mod old {
    #[packetring::packet]
    pub(crate) struct Level {
        pub(crate) value: u32,
    }
}

#[packet]
struct Level {
    value: u64,
}

#[test]
fn errors_of_boards_and_latest_values_speak_of_them() {
    let _watch = Watch::start();
    for kind in ["board", "latest value"] {
        let name = unique("board-errors");
        let is_latest = kind == "latest value";
        let called = format!("{kind} \"{name}\"");
        let builder = || Latest::<u64>::builder().max_readers(1).keys(4);
        // The endpoints stay as long as the handle.
        let (mut boards, mut latest) = (Vec::new(), Vec::new());
        let mut endpoints: (Vec<_>, Vec<_>) = Default::default();
        let mut join = |is_writer: bool| -> Result<(), OpenError> {
            if is_latest {
                if latest.is_empty() {
                    latest.push(builder().open_latest::<Level>(&name)?);
                }
                match is_writer {
                    true => {
                        endpoints.0.push(Box::new(latest[0].writer()?) as Box<dyn std::any::Any>)
                    }
                    false => {
                        endpoints.1.push(Box::new(latest[0].reader()?) as Box<dyn std::any::Any>)
                    }
                }
            } else {
                if boards.is_empty() {
                    boards.push(builder().open::<Level>(&name)?);
                }
                match is_writer {
                    true => endpoints.0.push(Box::new(boards[0].writer()?)),
                    false => endpoints.1.push(Box::new(boards[0].reader()?)),
                }
            }
            Ok(())
        };
        let open_as = |builder: packetring::board::BoardBuilder| match is_latest {
            true => builder.open_latest::<Level>(&name).map(drop),
            false => builder.open::<Level>(&name).map(drop),
        };
        join(true).unwrap();
        join(false).unwrap();
        let error = join(true).unwrap_err();
        assert!(matches!(error, OpenError::PublisherTaken { .. }), "{error}");
        assert_called(&error, &called);
        assert!(error.to_string().contains("max_writers"), "{error}");
        let error = join(false).unwrap_err();
        assert!(matches!(error, OpenError::Full { what: "readers", .. }), "{error}");
        assert_called(&error, "max_readers");
        let error = open_as(builder().max_readers(2)).unwrap_err();
        assert!(matches!(error, OpenError::SettingsMismatch { .. }), "{error}");
        assert_called(&error, &called);
        // As something else.
        let error = Ring::open(&name).map(drop).unwrap_err().to_string();
        assert!(error.contains("is the name of a board, not of a ring"), "{error}");
        if !is_latest {
            let error = Latest::<Level>::open(&name).map(drop).unwrap_err().to_string();
            let said = "is the name of a board, not of a latest value";
            assert!(error.contains(said) && error.contains("latest value \""), "{error}");
        }
        // With another type.
        let error = Board::<old::Level>::open(&name).map(drop).unwrap_err();
        assert!(matches!(error, OpenError::TypeMismatch { .. }), "{error}");
        assert_called(&error, "in the board");
    }
    let error = Board::<u64>::builder().keys(0).heap::<u64>().map(drop).unwrap_err();
    assert!(matches!(error, OpenError::BadSettings { .. }), "{error}");
    assert_called(&error, "invalid settings");
    let heap = Board::<u64>::builder().heap::<u64>().unwrap();
    let _writer = heap.writer().unwrap();
    assert_called(&heap.writer().map(drop).unwrap_err(), "board on the heap");
}
