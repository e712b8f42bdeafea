//! Names in `/dev/shm`: other users' files, names that disappear, other layouts, objects that were
//! cut, a file system that is missing or full, and descriptors that other code closed.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod support;

use packetring::cluster::{EmitError, SendToError};
use packetring::{
    Detachment, OpenError, RecvError, Ring, Selectable, SendError, SendTimeoutError, TryRecvError,
    TrySendError, Worker,
};
use std::ffi::CString;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek};
use std::os::fd::{AsRawFd, FromRawFd, RawFd};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Wake, Waker};
use std::thread;
use support::peer::{self, Peer, Role};
use support::seccomp::{self, Refused};
use support::{LONG, SHORT, Watch, assert_gone, object, unique, wait_until};

/// Entry point of the child processes; does nothing without a role.
#[test]
fn peer() {
    let Some(role) = peer::role() else { return };
    match role.name.as_str() {
        "plant" => plant(&role),
        "publish" => publish(&role),
        "daemon" => become_daemon(&role),
        "fork" => close_in_child(&role),
        "others" => close_others(&role),
        "loop" => lose_the_descriptor_of_a_loop(),
        "types" => emit_without_descriptors(),
        "no_locks" => no_locks(&role),
        "small" => small_file_system(&role),
        "missing" => missing_file_system(),
        other => panic!("{other}"),
    }
}

/// Prints a note and returns false without the privileges of root.
fn is_root() -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        println!("skipped: only root may do this");
    }
    is_root
}

/// A file in the place of an object, removed on drop.
struct Placed(PathBuf);

impl Drop for Placed {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

// ── Files of other users ───────────────────────────────────────────────────────────────────────

/// Creates files of another user in the places of objects, and locks them. Arguments: files.
fn plant(role: &Role) {
    const NOBODY: u32 = 65534;
    // SAFETY: the C library changes the user of all threads.
    assert_eq!(unsafe { (libc::setgid(NOBODY), libc::setuid(NOBODY)) }, (0, 0));
    let files: Vec<File> = role.arguments.iter().map(|path| lock_new(path)).collect();
    peer::say("planted");
    peer::hear();
    drop(files);
}

fn lock_new(path: &str) -> File {
    let file = OpenOptions::new().create_new(true).read(true).write(true).open(path).unwrap();
    file.set_permissions(fs::Permissions::from_mode(0o666)).unwrap();
    lock(&file);
    file
}

/// Locks the whole file, as a program does that hinders others.
fn lock(file: &File) {
    // SAFETY: `flock` is a C struct of integers.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = libc::F_WRLCK as libc::c_short;
    // SAFETY: the call reads one `flock`.
    let outcome = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &raw const lock) };
    assert_eq!(outcome, 0);
}

#[test]
fn a_locked_file_of_another_user_is_an_error_and_no_wait() {
    if !is_root() {
        return;
    }
    let _watch = Watch::start();
    let (ring, cluster) = (unique("other"), unique("other"));
    let topic = unique("topics");
    let places = [
        Placed(object(&ring)),
        Placed(object(&format!("{cluster}~d"))),
        Placed(object(&format!("{topic}~t.x"))),
    ];
    let paths: Vec<&str> = places.iter().map(|place| place.0.to_str().unwrap()).collect();
    let mut other = Peer::start(&format!("plant {}", paths.join(" ")));
    other.expect("planted");
    let errors = [
        Ring::open(&ring).unwrap_err(),
        Ring::attach(&ring).unwrap_err(),
        Ring::remove(&ring).unwrap_err(),
    ];
    for error in errors {
        assert!(matches!(error, OpenError::OtherUser { owner: 65534, user: 0, .. }), "{error}");
    }
    let error = Worker::join(&cluster, "a").unwrap_err().to_string();
    assert!(error.contains("user id 65534"), "{error}");
    let worker = Worker::join(&topic, "a").unwrap();
    let error = worker.topic("x").publisher::<u64>().unwrap_err().to_string();
    assert!(error.contains("user id 65534"), "{error}");
}

// ── Names that disappear ───────────────────────────────────────────────────────────────────────

/// Publishes to a ring until it is told to end. Arguments: ring.
fn publish(role: &Role) {
    let mut out = Ring::attach(&role.arguments[0]).unwrap().publisher::<u64>().unwrap();
    peer::say("attached");
    for number in 0.. {
        if peer::hear().is_none_or(|line| line == "end") {
            return;
        }
        out.send(&number).unwrap();
    }
}

#[test]
fn endpoints_of_a_removed_name_go_on_and_are_told() {
    let _watch = Watch::start();
    let name = unique("gone");
    let ring = Ring::open(&name).unwrap();
    let mut numbers = ring.subscriber::<u64>().unwrap();
    let mut other = Peer::start(&format!("publish {name}"));
    other.expect("attached");
    assert!(!ring.is_detached() && !numbers.is_detached());
    fs::remove_file(object(&name)).unwrap();
    assert_eq!(ring.detachment(), Some(Detachment::NameRemoved));
    assert!(numbers.is_detached());
    for error in [
        ring.publisher::<u64>().map(drop).unwrap_err(),
        ring.subscriber::<u64>().map(drop).unwrap_err(),
        ring.durable::<u64>("x").map(drop).unwrap_err(),
    ] {
        assert!(
            matches!(error, OpenError::Detached { cause: Detachment::NameRemoved, .. }),
            "{error}"
        );
        assert!(error.to_string().contains("RemoveIPC"), "{error}");
    }
    for _ in 0..100 {
        other.tell("send");
        numbers.recv_timeout(LONG).unwrap();
    }
    // Somebody else takes the name: it is another ring.
    let another = Ring::open(&name).unwrap();
    assert!(ring.is_detached() && !another.is_detached());
    // A killed publisher leaves the ring open until it is reaped; then nobody else can join.
    other.kill();
    match numbers.recv() {
        Err(RecvError::Detached(Detachment::NameRemoved) | RecvError::Closed) => {}
        outcome => panic!("{:?}", outcome.map(|number| *number)),
    }
}

#[test]
fn a_wait_that_cannot_end_any_more_ends_with_an_error() {
    let _watch = Watch::start();
    // A reader that no publisher can join.
    let name = unique("alone");
    let ring = Ring::open(&name).unwrap();
    let mut numbers = ring.subscriber::<u64>().unwrap();
    fs::remove_file(object(&name)).unwrap();
    let error = numbers.recv().map(drop).unwrap_err();
    assert!(matches!(error, RecvError::Detached(Detachment::NameRemoved)), "{error}");
    wait_until("a reader that polls is told", || {
        matches!(numbers.try_recv().map(drop), Err(TryRecvError::Detached(_)))
    });
    // A publisher at the cursor of a durable subscriber that nobody can succeed.
    let name = unique("durable");
    let ring = Ring::builder().capacity(4096).open(&name).unwrap();
    drop(ring.durable::<u64>("d").unwrap());
    let mut out = ring.publisher::<u64>().unwrap();
    while out.try_send(&1).is_ok() {}
    assert!(matches!(out.try_send(&1), Err(TrySendError::Full { .. })));
    fs::remove_file(object(&name)).unwrap();
    let error = out.send(&1).unwrap_err();
    assert!(matches!(error, SendError::Detached(Detachment::NameRemoved)), "{error}");
    wait_until("a publisher that polls is told", || {
        matches!(out.try_send(&1), Err(TrySendError::Detached(_)))
    });
}

#[test]
fn a_worker_and_its_watch_are_told_that_the_directory_is_gone() {
    let _watch = Watch::start();
    let cluster = unique("directory");
    let worker = Worker::join(&cluster, "a").unwrap();
    let mut changes = worker.watch().unwrap();
    assert!(!worker.is_detached());
    fs::remove_file(object(&format!("{cluster}~d"))).unwrap();
    assert_eq!(worker.detachment(), Some(Detachment::NameRemoved));
    // What it opened now would belong to another cluster of the name.
    for error in [
        worker.topic("x").publisher::<u64>().map(drop).unwrap_err(),
        worker.queue::<u64>("x").map(drop).unwrap_err(),
        worker.inbox().map(drop).unwrap_err(),
        worker.events().map(drop).unwrap_err(),
        worker.client::<u64, u64>("x").map(drop).unwrap_err(),
    ] {
        assert!(matches!(error, OpenError::Detached { .. }), "{error}");
    }
    let error = changes.recv().unwrap_err();
    assert!(matches!(error, RecvError::Detached(Detachment::NameRemoved)), "{error}");
}

#[test]
fn a_send_to_an_inbox_whose_name_was_removed_reports_the_reason() {
    let _watch = Watch::start();
    let cluster = unique("inboxes");
    let worker = Worker::join(&cluster, "a").unwrap();
    let _inbox = worker.inbox().unwrap();
    // Only the name of the inbox is gone.
    fs::remove_file(object(&format!("{cluster}~i.a"))).unwrap();
    let error = worker.send_to("a", &1_u64).unwrap_err();
    assert!(matches!(error, SendToError::Detached(Detachment::NameRemoved)), "{error}");
    assert!(error.to_string().contains("RemoveIPC"), "{error}");
    // All names are gone.
    fs::remove_file(object(&format!("{cluster}~d"))).unwrap();
    for error in [
        worker.send_to("a", &1_u64).unwrap_err(),
        worker.send_to(&worker.id(), &1_u64).unwrap_err(),
    ] {
        assert!(matches!(error, SendToError::Detached(Detachment::NameRemoved)), "{error}");
    }
}

// ── Layouts and lengths ────────────────────────────────────────────────────────────────────────

/// Overwrites the layout version of an object.
fn set_version(name: &str, version: u32) {
    let file = OpenOptions::new().write(true).open(object(name)).unwrap();
    file.write_all_at(&version.to_le_bytes(), 16).unwrap();
}

/// A copy of a ring's object that no process is attached to, as after a crash.
fn leave(name: &str, prepare: impl FnOnce(&Ring)) {
    let ring = Ring::open(name).unwrap();
    prepare(&ring);
    let bytes = fs::read(object(name)).unwrap();
    fs::remove_file(object(name)).unwrap();
    drop(ring);
    fs::write(object(name), bytes).unwrap();
    fs::set_permissions(object(name), fs::Permissions::from_mode(0o600)).unwrap();
}

#[test]
fn a_ring_of_another_layout_is_replaced_if_it_keeps_nothing() {
    for version in [1, 5, 1_000_000] {
        let name = unique("layout");
        leave(&name, |_| {});
        set_version(&name, version);
        assert!(matches!(Ring::attach(&name), Err(OpenError::NotFound { .. })));
        leave(&name, |ring| {
            drop(ring.durable::<u64>("d").unwrap());
            assert!(ring.remove_durable("d").unwrap());
        });
        set_version(&name, version);
        drop(Ring::open(&name).unwrap());
        assert_gone(&name);
    }
}

#[test]
fn a_ring_of_another_layout_is_kept_if_it_may_hold_packets() {
    let name = unique("layout");
    leave(&name, |ring| drop(ring.durable::<u64>("d").unwrap()));
    let own = fs::read(object(&name)).unwrap()[16];
    set_version(&name, 1000);
    for outcome in [Ring::open(&name), Ring::attach(&name)] {
        let error = outcome.unwrap_err();
        let OpenError::OtherVersion { expected, found: 1000, is_in_use: false, .. } = error else {
            panic!("{error}")
        };
        assert_eq!(expected, u32::from(own));
        let text = error.to_string();
        assert!(text.contains("Ring::remove") && text.contains("1000"), "{text}");
    }
    assert!(Ring::remove(&name).unwrap());
    assert_gone(&name);
}

#[test]
fn a_ring_of_another_layout_is_not_touched_in_use() {
    let name = unique("layout");
    let ring = Ring::open(&name).unwrap();
    let own = u32::from(fs::read(object(&name)).unwrap()[16]);
    set_version(&name, own + 1);
    let error = Ring::open(&name).unwrap_err();
    assert!(matches!(error, OpenError::OtherVersion { is_in_use: true, .. }), "{error}");
    set_version(&name, own);
    drop(ring);
    assert_gone(&name);
}

#[test]
fn an_object_that_was_cut_is_not_made_again_under_its_users() {
    let name = unique("cut");
    let ring = Ring::open(&name).unwrap();
    let len = fs::metadata(object(&name)).unwrap().len();
    OpenOptions::new().write(true).open(object(&name)).unwrap().set_len(0).unwrap();
    for outcome in [Ring::open(&name), Ring::attach(&name)] {
        let error = outcome.unwrap_err();
        assert!(matches!(error, OpenError::Corrupt { found: 0, .. }), "{error}");
    }
    assert_eq!(fs::metadata(object(&name)).unwrap().len(), 0);
    // Without its pages the mapping cannot be used: give them back before the ring is dropped.
    OpenOptions::new().write(true).open(object(&name)).unwrap().set_len(len).unwrap();
    drop(ring);
    let _ = fs::remove_file(object(&name));
}

// ── Locks that the kernel refuses ──────────────────────────────────────────────────────────────

/// Opens rings while the kernel refuses file locks. Arguments: ring, errno.
fn no_locks(role: &Role) {
    let commands = vec![libc::F_OFD_SETLK, libc::F_OFD_SETLKW, libc::F_OFD_GETLK];
    let refused = [Refused { call: libc::SYS_fcntl, commands }];
    seccomp::refuse(&refused, role.number(1) as i32);
    let name = &role.arguments[0];
    for outcome in [Ring::open(name), Ring::builder().open_timeout(SHORT).open(name)] {
        let error = outcome.unwrap_err();
        assert!(matches!(error, OpenError::System { action: "lock", .. }), "{error}");
        assert_gone(name);
    }
}

#[test]
fn an_open_that_fails_at_its_lock_leaves_nothing() {
    for errno in [libc::EINVAL, libc::EPERM, libc::ENOLCK, libc::ENOSYS] {
        let name = unique("locks");
        Peer::start(&format!("no_locks {name} {errno}")).finish();
    }
}

// ── The file system ────────────────────────────────────────────────────────────────────────────

/// Gives this process a view of the file systems of its own, and mounts a new one at a place.
fn mount(place: &str, options: &str) {
    let text = |text: &str| CString::new(text).unwrap();
    let (tmpfs, place, root, options) = (text("tmpfs"), text(place), text("/"), text(options));
    // SAFETY: each text ends with a zero byte. The calls change the mounts of this process alone.
    let outcomes = unsafe {
        [
            libc::unshare(libc::CLONE_NEWNS),
            libc::mount(
                std::ptr::null(),
                root.as_ptr(),
                std::ptr::null(),
                libc::MS_REC | libc::MS_PRIVATE,
                std::ptr::null(),
            ),
            libc::mount(tmpfs.as_ptr(), place.as_ptr(), tmpfs.as_ptr(), 0, options.as_ptr().cast()),
        ]
    };
    assert_eq!(outcomes, [0, 0, 0], "{}", std::io::Error::last_os_error());
}

/// Opens rings in a small file system. Arguments: its mount options.
fn small_file_system(role: &Role) {
    mount("/dev/shm", &role.arguments[0]);
    let error = Ring::builder().capacity(16 << 20).open("large").unwrap_err();
    match (role.arguments[0].as_str(), &error) {
        ("size=1m", OpenError::NoSpace { name, needed, free }) => {
            assert_eq!(name, "large");
            assert!(*needed > 16 << 20 && *free <= 1 << 20 && *free > 0, "{needed} {free}");
            let text = error.to_string();
            assert!(text.contains(&needed.to_string()), "{text}");
        }
        ("size=64m,nr_inodes=1", OpenError::NoInodes { limit: 1, .. }) => {}
        _ => panic!("{error}"),
    }
    assert!(fs::read_dir("/dev/shm").unwrap().next().is_none(), "an object was left");
    if role.arguments[0] == "size=1m" {
        drop(Ring::builder().capacity(1 << 16).open("small").unwrap());
        let worker = Worker::builder().inbox_capacity(16 << 20).join("cluster", "a").unwrap();
        let error = worker.inbox().map(drop).unwrap_err().to_string();
        assert!(error.contains("no space for inbox"), "{error}");
    }
}

/// Opens a ring without `/dev/shm`.
fn missing_file_system() {
    mount("/dev", "size=1m");
    for outcome in [Ring::open("x"), Ring::attach("x")] {
        let error = outcome.unwrap_err();
        assert!(matches!(error, OpenError::NoSharedMemory { .. }), "{error}");
        assert!(error.to_string().contains("mount a tmpfs at /dev/shm"), "{error}");
    }
}

#[test]
fn a_missing_or_full_file_system_is_named() {
    if !is_root() {
        return;
    }
    Peer::start("small size=1m").finish();
    Peer::start("small size=64m,nr_inodes=1").finish();
    Peer::start("missing").finish();
}

// ── Descriptors that other code closed ─────────────────────────────────────────────────────────

/// Closes all descriptors as a daemon does, and opens files in their place. Then goes on with the
/// endpoints that it had. Arguments: ring, other ring.
fn become_daemon(role: &Role) {
    let [name, other] = &role.arguments[..] else { panic!("{role:?}") };
    let ring = Ring::attach(name).unwrap();
    let mut out = ring.publisher::<u64>().unwrap();
    let mut echoes = Ring::attach(other).unwrap().subscriber::<u64>().unwrap();
    out.send(&1).unwrap();
    // SAFETY: the library must survive this; nothing else here uses a descriptor above 2.
    assert_eq!(unsafe { libc::close_range(3, u32::MAX, 0) }, 0);
    let files: Vec<File> = (0..16).map(|_| File::open("/dev/zero").unwrap()).collect();
    let numbers: Vec<RawFd> = files.iter().map(AsRawFd::as_raw_fd).collect();
    peer::say("closed");
    peer::hear();
    // The endpoints that are attached go on as long as they need not wait.
    out.send(&2).unwrap();
    let error = echoes.recv().map(drop).unwrap_err();
    assert!(matches!(error, RecvError::Detached(Detachment::DescriptorClosed)), "{error}");
    let error = ring.publisher::<u64>().map(drop).unwrap_err();
    assert!(
        matches!(error, OpenError::Detached { cause: Detachment::DescriptorClosed, .. }),
        "{error}"
    );
    assert!(error.to_string().contains("daemon"), "{error}");
    // A new attachment works, and may have the numbers of the old one.
    let again = Ring::attach(name).unwrap();
    drop((out, echoes, ring));
    for (file, number) in files.iter().zip(numbers) {
        assert_eq!(file.as_raw_fd(), number);
        let mut byte = [1];
        std::io::Read::read_exact(&mut &*file, &mut byte).unwrap();
        assert_eq!(byte, [0], "a file of other code was closed or replaced");
    }
    let mut out = again.publisher::<u64>().unwrap();
    out.send(&3).unwrap();
}

/// Forks. All descriptors are closed before or after the fork, and files are opened in their place.
/// The child drops the endpoints that it inherited. Arguments: ring, "before" or "after".
fn close_in_child(role: &Role) {
    let ring = Ring::open(&role.arguments[0]).unwrap();
    let endpoints = (ring.publisher::<u64>().unwrap(), ring.subscriber::<u64>().unwrap());
    let replace = || {
        // SAFETY: the library must survive this; nothing else here uses a descriptor above 2.
        assert_eq!(unsafe { libc::close_range(3, u32::MAX, 0) }, 0);
        (0..16).map(|_| File::open("/dev/zero").unwrap()).collect::<Vec<_>>()
    };
    let files = if role.arguments[1] == "before" { replace() } else { Vec::new() };
    // SAFETY: the child has one thread and ends with `_exit`.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let files = if files.is_empty() { replace() } else { files };
        drop((endpoints, ring));
        let mut byte = [1];
        let is_open =
            |file: &File| std::io::Read::read(&mut &*file, &mut byte).is_ok_and(|len| len == 1);
        let all_open = files.iter().all(is_open);
        // SAFETY: ends the child without the handlers of the test harness.
        unsafe { libc::_exit(i32::from(!all_open)) }
    }
    let mut status = 0;
    // SAFETY: waits for the child of this process.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    assert_eq!(status, 0, "the child closed a file that it had opened itself");
}

/// The descriptors of this process that are open on an object: with `O_NONBLOCK`, and without.
fn descriptors(inode: u64) -> [Vec<RawFd>; 2] {
    let all = fs::read_dir("/proc/self/fd").unwrap().map(|found| found.unwrap().path());
    // A link has another text if the file had no name when it was opened.
    let is_own = |link: &PathBuf| fs::metadata(link).is_ok_and(|to| to.ino() == inode);
    let numbers =
        all.filter(is_own).map(|link| link.file_name().unwrap().to_str().unwrap().parse().unwrap());
    // SAFETY: the call reads the flags of a descriptor.
    let flags = |number: RawFd| unsafe { libc::fcntl(number, libc::F_GETFL) };
    let (one, other) = numbers.partition(|&number| flags(number) & libc::O_NONBLOCK != 0);
    [one, other]
}

/// Closes one kind of the library's descriptors, and opens files in their place. Arguments: ring,
/// kind, `drop` or `fork`: the endpoints are dropped here or in a child.
fn close_others(role: &Role) {
    let name = &role.arguments[0];
    let ring = Ring::open(name).unwrap();
    let endpoints = (ring.publisher::<u64>().unwrap(), ring.subscriber::<u64>().unwrap());
    let inode = fs::metadata(object(name)).unwrap().ino();
    let numbers = descriptors(inode)[role.number(1) as usize].clone();
    assert_eq!(numbers.len(), 3, "{:?}", descriptors(inode));
    for &number in &numbers {
        // SAFETY: the library must survive this.
        assert_eq!(unsafe { libc::close(number) }, 0);
    }
    let files: Vec<File> = numbers.iter().map(|_| File::open("/dev/zero").unwrap()).collect();
    let taken: Vec<RawFd> = files.iter().map(AsRawFd::as_raw_fd).collect();
    assert!(numbers.iter().all(|number| taken.contains(number)), "{numbers:?} {taken:?}");
    let reads = |file: &File| {
        let mut byte = [1];
        std::io::Read::read(&mut &*file, &mut byte).is_ok_and(|len| len == 1)
    };
    if role.arguments[2] == "drop" {
        drop((endpoints, ring));
        assert!(files.iter().all(reads), "a file of other code was closed");
        let left = descriptors(inode).concat();
        assert!(left.is_empty(), "descriptors of the library stay open: {left:?}");
        return;
    }
    // SAFETY: the child has one thread and ends with `_exit`.
    let child = unsafe { libc::fork() };
    if child == 0 {
        drop((endpoints, ring));
        let is_good = files.iter().all(reads) && descriptors(inode).concat().is_empty();
        // SAFETY: ends the child without the handlers of the test harness.
        unsafe { libc::_exit(i32::from(!is_good)) }
    }
    let mut status = 0;
    // SAFETY: waits for the child of this process.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    assert_eq!(status, 0, "the child closed a file of other code, or kept one of its parent");
}

/// Opens files that notice a read, a write and a close, in place of all descriptors that this
/// process had: files with a text, and eventfds.
fn replace_all() -> Vec<File> {
    // SAFETY: the library must survive this; nothing else here uses a descriptor above 2.
    assert_eq!(unsafe { libc::close_range(3, u32::MAX, 0) }, 0);
    let text = |number: usize| {
        let path = std::env::temp_dir().join(unique("place"));
        fs::write(&path, b"a text of other code").unwrap();
        let file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        fs::remove_file(path).unwrap();
        // Not each has the lowest number.
        if number.is_multiple_of(2) {
            return file;
        }
        // SAFETY: the call makes a descriptor, which nothing else owns.
        unsafe { File::from_raw_fd(libc::eventfd(7, libc::EFD_NONBLOCK)) }
    };
    (0..16).map(text).collect()
}

/// Returns true if no other code has read, written or closed the files of [`replace_all`].
fn are_untouched(files: &[File]) -> bool {
    files.iter().enumerate().all(|(number, mut file)| {
        let mut found = Vec::new();
        if number.is_multiple_of(2) {
            let at_start = file.stream_position().is_ok_and(|at| at == 0);
            at_start && file.read_to_end(&mut found).is_ok() && found == b"a text of other code"
        } else {
            found.resize(8, 0);
            file.read_exact(&mut found).is_ok() && found == 7_u64.to_ne_bytes()
        }
    })
}

/// Wakes the thread that polls.
struct Unparks(thread::Thread);

impl Wake for Unparks {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Loses the descriptor of an event loop, is armed, and is told of a packet.
fn lose_the_descriptor_of_a_loop() {
    let ring = Ring::builder().heap().unwrap();
    let mut out = ring.publisher::<u64>().unwrap();
    let mut all = ring.subscriber::<u64>().unwrap();
    let ready = all.readiness().unwrap();
    let files = replace_all();
    assert!(
        files.iter().any(|file| file.as_raw_fd() == ready.as_raw_fd()),
        "no file is in the place of the descriptor"
    );
    assert!(matches!(all.try_recv(), Err(TryRecvError::Empty)));
    let waker = Waker::from(Arc::new(Unparks(thread::current())));
    {
        let mut future = pin!(all.ready());
        let mut poll = || future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready();
        assert!(!poll());
        out.send(&7).unwrap();
        while !poll() {
            thread::park();
        }
    }
    assert_eq!(*all.try_recv().unwrap(), 7);
    drop((ready, all));
    assert!(are_untouched(&files), "a file of other code was read, written or closed");
}

#[test]
fn a_file_in_the_place_of_the_descriptor_of_a_loop_is_not_touched() {
    Peer::start("loop").finish();
}

/// Emits an event and sends a packet of a new type, without and with a timeout.
fn emit_without_descriptors() {
    let (cluster, name) = (unique("types"), unique("types"));
    let _objects = [
        Placed(object(&format!("{cluster}~d"))),
        Placed(object(&format!("{cluster}~e"))),
        Placed(object(&name)),
    ];
    let worker = Worker::join(&cluster, "worker").unwrap();
    let (mut emitter, mut events) = (worker.emitter().unwrap(), worker.events().unwrap());
    let mut out = Ring::open(&name).unwrap().any_publisher().unwrap();
    let _files = replace_all();
    const CLOSED: Detachment = Detachment::DescriptorClosed;
    let error = out.send(&7_u64).map(drop).unwrap_err();
    assert!(matches!(error, SendError::Detached(CLOSED)), "{error}");
    let error = out.try_send(&7_u64).map(drop).unwrap_err();
    assert!(matches!(error, TrySendError::Detached(CLOSED)), "{error}");
    let error = out.send_timeout(&7_u64, SHORT).map(drop).unwrap_err();
    assert!(matches!(error, SendTimeoutError::Detached(CLOSED)), "{error}");
    for outcome in [emitter.emit("event", &7_u64), events.emit("event", &7_u64)] {
        let EmitError::Send(error) = outcome.unwrap_err() else { panic!("another error") };
        assert!(matches!(*error, SendError::Detached(CLOSED)), "{error}");
    }
}

#[test]
fn a_new_type_cannot_be_sent_after_the_descriptor_was_closed() {
    let _watch = Watch::start();
    Peer::start("types").finish();
}

#[test]
fn a_file_in_the_place_of_one_closed_descriptor_stays_open() {
    let _watch = Watch::start();
    for kind in [0, 1] {
        for end in ["drop", "fork"] {
            let name = unique("others");
            let _object = Placed(object(&name));
            Peer::start(&format!("others {name} {kind} {end}")).finish();
        }
    }
}

#[test]
fn a_child_closes_no_file_in_the_place_of_an_inherited_descriptor() {
    for order in ["before", "after"] {
        let name = unique("fork");
        let _object = Placed(object(&name));
        Peer::start(&format!("fork {name} {order}")).finish();
        // A process that lost its descriptors cannot tell that it is the last to leave.
        assert_eq!(object(&name).exists(), order == "before");
    }
}

#[test]
fn descriptors_that_other_code_closed_end_the_endpoint_and_harm_nobody() {
    let _watch = Watch::start();
    let (name, other) = (unique("daemon"), unique("echo"));
    let ring = Ring::builder().exclusive().open(&name).unwrap();
    let echo = Ring::open(&other).unwrap();
    let _echoes = echo.publisher::<u64>().unwrap();
    let mut numbers = ring.subscriber::<u64>().unwrap();
    let mut daemon = Peer::start(&format!("daemon {name} {other}"));
    assert_eq!(*numbers.recv_timeout(LONG).unwrap(), 1);
    daemon.expect("closed");
    // The publisher lives, so nobody else gets its place.
    for _ in 0..3 {
        assert!(matches!(ring.publisher::<u64>(), Err(OpenError::PublisherTaken { .. })));
        assert!(numbers.recv_timeout(SHORT).is_err());
    }
    assert_eq!(echo.subscribers(), 1);
    daemon.tell("go on");
    assert_eq!(*numbers.recv_timeout(LONG).unwrap(), 2);
    // In between, the last publisher has left.
    wait_until("the daemon publishes again", || {
        numbers.try_recv().is_ok_and(|number| *number == 3)
    });
    daemon.finish();
    drop((ring, numbers, echo, _echoes));
    assert_gone(&name);
    assert_gone(&other);
}
