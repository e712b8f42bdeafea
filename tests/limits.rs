//! Whatever runs out, memory, files, places, room for names and types, the answer is an error that
//! says what, and nothing is left behind: no object, no descriptor, no mapping.
//!
//! Each case runs in a process of its own, whose limits it may change.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod support;

use packetring::{
    OpenError, Packet, Publisher, Received, RecvTimeoutError, Ring, RingBuilder, SendError,
    SendTimeoutError, Subscriber, Tail, TryRecvError, TrySendError, Wait,
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::cell::Cell;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use support::peer::{self, Peer, Role};
use support::{LONG, SHORT, assert_gone, object, on_all, unique};

/// What a process has that it could leak.
#[derive(Debug, PartialEq, Eq)]
struct Census {
    objects: Vec<String>,
    descriptors: usize,
    mappings: Vec<String>,
}

impl Census {
    /// Of this process, and of the objects of the rings whose names begin with `name`.
    fn take(name: &str) -> Self {
        let begins = format!("packetring.{name}");
        let objects = fs::read_dir("/dev/shm").unwrap();
        let objects = objects.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let maps = fs::read_to_string("/proc/self/maps").unwrap();
        let of_rings = maps.lines().filter(|line| line.contains("/packetring."));
        Self {
            objects: objects.filter(|object| object.starts_with(&begins)).collect(),
            descriptors: fs::read_dir("/proc/self/fd").unwrap().count(),
            mappings: of_rings.map(str::to_owned).collect(),
        }
    }
}

/// A case. It gets a name for its rings.
type Case = fn(&str);

const CASES: &[(&str, Case)] = &[
    ("file_system", a_full_file_system),
    ("file_size", a_limit_on_the_size_of_files),
    ("descriptors", no_descriptors),
    ("memory", no_memory),
    ("mappings", no_mappings),
    ("places", no_places),
    ("names", no_such_names),
    ("types", no_room_for_types),
];

/// Runs a case in a process of its own.
fn alone(case: &str) {
    Peer::start(&format!("case {case} {}", unique(case))).finish();
}

/// The other processes of these tests; nothing by itself.
#[test]
fn peer() {
    let Some(role) = peer::role() else { return };
    match role.name.as_str() {
        "case" => {
            let (case, name) = (&role.arguments[0], &role.arguments[1]);
            let (_, run) = CASES.iter().find(|(known, _)| known == case).unwrap();
            let before = Census::take(name);
            run(name);
            assert_eq!(Census::take(name), before);
        }
        "claim" => claim(&role),
        "read" => read(&role),
        other => panic!("{other}"),
    }
}

/// Makes a ring, joins in each way, sends and receives, leaves.
fn use_a_ring(settings: RingBuilder, name: &str) -> Result<(), OpenError> {
    let ring = settings.open(name)?;
    let mut numbers = ring.subscriber::<u64>()?;
    numbers.protect()?;
    let mut out = ring.publisher::<u64>()?;
    let mut other = numbers.try_clone()?;
    other.protect()?;
    // Last, as it stays.
    let mut desk = ring.durable::<u64>("desk")?;
    if let Err(error) = desk.protect() {
        drop(desk);
        assert!(ring.remove_durable("desk")?);
        return Err(error);
    }
    drop(other);
    out.send(&7).unwrap();
    assert_eq!(*numbers.recv().unwrap(), 7);
    assert_eq!(*desk.recv().unwrap(), 7);
    drop(desk);
    assert!(ring.remove_durable("desk")?);
    Ok(())
}

/// Uses a ring with room for more and more of something, until it suffices. Whatever was missing,
/// nothing is left. `limit` sets the limit, `lift` takes it away.
fn sweep(
    name: &str,
    settings: &RingBuilder,
    kind: impl Fn(&std::io::Error) -> bool,
    limit: impl Fn(u64),
    lift: impl Fn(),
) {
    let before = Census::take(name);
    let mut failed_at = Vec::new();
    for room in 0.. {
        limit(room);
        let outcome = use_a_ring(settings.clone(), name);
        lift();
        assert_eq!(Census::take(name), before, "with room for {room}: {outcome:?}");
        match outcome {
            Ok(()) => break,
            Err(OpenError::System { action, object: path, source }) => {
                assert!(kind(&source), "could not {action}: {source:?}");
                assert_eq!(Path::new(&path), object(name), "could not {action}");
                failed_at.push(action);
            }
            Err(error) => panic!("{error}"),
        }
        assert!(room < 100, "it does not suffice: {failed_at:?}");
    }
    assert!(failed_at.len() >= 4, "each way to fail: {failed_at:?}");
}

fn limits_of(resource: Resource) -> Rlimit {
    getrlimit(resource)
}

fn limit_to(resource: Resource, most: u64) {
    let maximum = limits_of(resource).maximum;
    setrlimit(resource, Rlimit { current: Some(most), maximum }).unwrap();
}

/// Gives this process a `/dev/shm` of its own, of 256 KiB; `false`: not permitted.
fn own_file_system() -> bool {
    use std::ptr::null;
    // SAFETY: constant arguments, as `unshare(2)` and `mount(2)` have them.
    unsafe {
        let flags = libc::MS_REC | libc::MS_PRIVATE;
        libc::unshare(libc::CLONE_NEWNS) == 0
            && libc::mount(null(), c"/".as_ptr(), null(), flags, null()) == 0
            && libc::mount(
                c"tmpfs".as_ptr(),
                c"/dev/shm".as_ptr(),
                c"tmpfs".as_ptr(),
                0,
                c"size=256k".as_ptr().cast(),
            ) == 0
    }
}

fn a_full_file_system(name: &str) {
    if !own_file_system() {
        eprintln!("skipped: mounting a file system is not permitted here");
        return;
    }
    let before = Census::take(name);
    for capacity in [256 << 10, 1 << 20, 1 << 32] {
        let error = Ring::builder().capacity(capacity).open(name).unwrap_err();
        let OpenError::System { action, source, .. } = &error else { panic!("{error}") };
        assert_eq!((*action, source.kind()), ("reserve memory for", ErrorKind::StorageFull));
        assert!(error.to_string().contains("/dev/shm is full"), "{error}");
        assert_eq!(Census::take(name), before, "at {capacity}");
    }
    use_a_ring(Ring::builder().capacity(64 << 10), name).unwrap();
    // Made while there was room, it needs none of what is taken away then.
    let ring = Ring::builder().capacity(64 << 10).open(name).unwrap();
    let filler = "/dev/shm/filler";
    assert!(fs::write(filler, vec![1; 1 << 20]).is_err());
    let (mut out, mut lists) = (ring.publisher::<Vec<u8>>().unwrap(), ring.subscriber().unwrap());
    send_three_laps(&mut out, &mut lists);
    assert!(Ring::open(&format!("{name}-other")).is_err());
    fs::remove_file(filler).unwrap();
}

fn send_three_laps(out: &mut Publisher<Vec<u8>>, lists: &mut Subscriber<Vec<u8>>) {
    for byte in 0..24 {
        out.try_send(&vec![byte; 8000]).unwrap();
        assert_eq!(*lists.try_recv().unwrap(), [byte; 8000][..]);
    }
}

#[test]
fn a_full_file_system_is_an_error_when_a_ring_is_made() {
    alone("file_system");
}

/// Without ignoring SIGXFSZ, which ends who makes a file too large.
fn a_limit_on_the_size_of_files(name: &str) {
    limit_to(Resource::Fsize, 256 << 10);
    let before = Census::take(name);
    let error = Ring::builder().capacity(256 << 10).open(name).unwrap_err();
    let OpenError::System { action, source, .. } = &error else { panic!("{error}") };
    assert_eq!((*action, source.kind()), ("reserve memory for", ErrorKind::FileTooLarge));
    assert_eq!(Census::take(name), before);
    use_a_ring(Ring::builder().capacity(64 << 10), name).unwrap();
}

#[test]
fn a_limit_on_the_size_of_files_is_an_error_and_not_a_signal() {
    alone("file_size");
}

/// The next descriptor that this process would get.
fn next_descriptor() -> u64 {
    use std::os::fd::AsRawFd;
    fs::File::open("/dev/null").unwrap().as_raw_fd().unsigned_abs().into()
}

fn no_descriptors(name: &str) {
    let normal = limits_of(Resource::Nofile);
    let next = next_descriptor();
    for settings in [Ring::builder(), Ring::builder().wait(Wait::event())] {
        sweep(
            name,
            &settings,
            |error| error.raw_os_error() == Some(libc::EMFILE),
            |room| limit_to(Resource::Nofile, next + room),
            || setrlimit(Resource::Nofile, normal).unwrap(),
        );
    }
}

#[test]
fn too_few_descriptors_are_an_error_wherever_they_end() {
    alone("descriptors");
}

/// Address space in use, in bytes.
fn address_space() -> u64 {
    let pages = fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').next().unwrap().parse::<u64>().unwrap() * 4096
}

fn no_memory(name: &str) {
    const CAPACITY: usize = 64 << 20;
    const STEP: u64 = 16 << 20;
    let normal = limits_of(Resource::As);
    let used = address_space();
    sweep(
        name,
        &Ring::builder().capacity(CAPACITY),
        |error| error.raw_os_error() == Some(libc::ENOMEM),
        |room| limit_to(Resource::As, used + (room + 1) * STEP),
        || setrlimit(Resource::As, normal).unwrap(),
    );
    limit_to(Resource::As, used + STEP);
    let error = Ring::builder().capacity(CAPACITY).heap().unwrap_err();
    assert!(
        matches!(&error, OpenError::System { action: "allocate", source, .. }
            if source.kind() == ErrorKind::OutOfMemory),
        "{error}"
    );
    setrlimit(Resource::As, normal).unwrap();
}

#[test]
fn too_little_address_space_is_an_error_wherever_it_ends() {
    alone("memory");
}

/// Memory of this process in as many mappings as it may have.
struct Crowd {
    start: *mut libc::c_void,
    /// The last ones are given up first.
    pages: Vec<usize>,
    given_up: Cell<usize>,
}

impl Crowd {
    const PAGE: usize = 4096;

    /// Every other page is another mapping; `None`: there is no end to them.
    fn gather() -> Option<Self> {
        let pages = 1 << 18;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: asks for fresh memory.
        let start = unsafe {
            libc::mmap(std::ptr::null_mut(), pages * Self::PAGE, libc::PROT_NONE, flags, -1, 0)
        };
        assert_ne!(start, libc::MAP_FAILED);
        let mut crowd = Self { start, pages: Vec::with_capacity(pages), given_up: Cell::new(0) };
        let mut others = (1..pages).step_by(2);
        crowd.pages = others.by_ref().take_while(|&p| crowd.protect(p, libc::PROT_READ)).collect();
        others.next().map(|_| crowd)
    }

    /// Has all mappings but so many, or as many as there are to be had.
    fn leave_room(&self, mappings: usize) {
        let changed = mappings.max(self.given_up.replace(mappings));
        for (index, &page) in self.pages.iter().rev().take(changed).enumerate() {
            let access = if index < mappings { libc::PROT_NONE } else { libc::PROT_READ };
            self.protect(page, access);
        }
    }

    fn protect(&self, page: usize, access: libc::c_int) -> bool {
        // SAFETY: a page of this memory, which nobody uses.
        unsafe { libc::mprotect(self.start.byte_add(page * Self::PAGE), Self::PAGE, access) == 0 }
    }
}

fn no_mappings(name: &str) {
    let Some(crowd) = Crowd::gather() else {
        eprintln!("skipped: a process may have more mappings here than are tried");
        return;
    };
    sweep(
        name,
        &Ring::builder().capacity(4096),
        |error| error.raw_os_error() == Some(libc::ENOMEM),
        |room| crowd.leave_room(room as usize),
        || crowd.leave_room(100),
    );
}

#[test]
fn too_few_mappings_are_an_error_wherever_they_end() {
    alone("mappings");
}

/// Leaves a claim open. Arguments: ring.
fn claim(role: &Role) {
    let mut out = Ring::attach(&role.arguments[0]).unwrap().publisher::<u64>().unwrap();
    let _open = out.reserve().unwrap();
    peer::say("claimed");
    peer::hear();
}

/// Reads behind a claim of the dead, which takes a second mapping, when there is no room for it,
/// and when there is; and when there is no descriptor, which it does not take. Arguments: ring,
/// what is missing.
fn read(role: &Role) {
    let ring = Ring::attach(&role.arguments[0]).unwrap();
    let mut numbers = ring.subscriber::<u64>().unwrap();
    numbers.protect().unwrap();
    let name = ring.name();
    peer::say("joined");
    peer::hear();
    let (resource, most) = match role.arguments[1].as_str() {
        "descriptors" => (Resource::Nofile, next_descriptor()),
        _ => (Resource::As, address_space() + (1 << 20)),
    };
    let before = Census::take(name);
    let normal = limits_of(resource);
    limit_to(resource, most);
    if resource == Resource::As {
        for _ in 0..20 {
            assert!(matches!(numbers.recv_timeout(SHORT), Err(RecvTimeoutError::Timeout)));
        }
        setrlimit(resource, normal).unwrap();
        assert_eq!(Census::take(name), before);
        assert_eq!(*numbers.recv_timeout(LONG).unwrap(), 7);
    } else {
        assert_eq!(*numbers.recv_timeout(LONG).unwrap(), 7);
        setrlimit(resource, normal).unwrap();
    }
    assert_eq!(Census::take(name), before);
}

#[test]
fn a_subscriber_that_cannot_recover_a_claim_does_so_when_it_can() {
    for missing in ["descriptors", "memory"] {
        let name = unique("recover");
        let ring = Ring::builder().capacity(16 << 20).open(&name).unwrap();
        let mut reader = Peer::start(&format!("read {name} {missing}"));
        reader.expect("joined");
        let mut dying = Peer::start(&format!("claim {name}"));
        dying.expect("claimed");
        let mut out = ring.publisher::<u64>().unwrap();
        out.try_send(&7).unwrap();
        dying.kill();
        reader.tell("read");
        reader.finish();
        drop((out, ring));
        assert_gone(&name);
    }
}

fn assert_no_place(outcome: Result<(), OpenError>, what: &str, limit: usize) {
    match outcome {
        Err(OpenError::Full { what: w, limit: l }) => assert_eq!((w, l), (what, limit)),
        other => panic!("{other:?}"),
    }
}

fn no_places(name: &str) {
    for settings in [Ring::builder(), Ring::builder().wait(Wait::event())] {
        let settings = settings.capacity(4096).max_publishers(2).max_subscribers(2);
        let ring = settings.open(name).unwrap();
        let before = Census::take(name);
        let held = [ring.publisher::<u64>().unwrap(), ring.publisher::<u64>().unwrap()];
        let full = Census::take(name);
        assert_no_place(ring.publisher::<u64>().map(drop), "publishers", 2);
        assert_no_place(ring.any_publisher().map(drop), "publishers", 2);
        assert_no_place(held[0].try_clone().map(drop), "publishers", 2);
        assert_eq!(Census::take(name), full);
        drop(held);
        assert_eq!(Census::take(name), before);
        // Durable ones take their places when they are gone, too.
        drop((ring.durable::<u64>("one").unwrap(), ring.durable::<u64>("two").unwrap()));
        assert_no_place(ring.durable::<u64>("three").map(drop), "subscribers", 2);
        assert_no_place(ring.any_durable("three").map(drop), "subscribers", 2);
        assert_no_place(ring.subscriber::<u64>().map(drop), "subscribers", 2);
        assert_no_place(ring.any_subscriber().map(drop), "subscribers", 2);
        assert_eq!(Census::take(name), before);
        ring.durable::<u64>("one").unwrap();
        assert!(ring.remove_durable("one").unwrap());
        ring.subscriber::<u64>().unwrap();
        assert!(ring.remove_durable("two").unwrap());
    }
}

#[test]
fn too_many_endpoints_are_refused_and_nothing_is_left_of_them() {
    alone("places");
}

fn no_such_names(name: &str) {
    let fits = format!("{name}{}", "x".repeat(200 - name.len()));
    let ring = Ring::open(&fits).unwrap();
    let before = Census::take(name);
    let too_long = format!("{fits}x");
    for outcome in [Ring::open(&too_long), Ring::attach(&too_long)] {
        let error = outcome.unwrap_err();
        assert!(error.to_string().contains("longer than 200 bytes"), "{error}");
    }
    for (bad, reason) in [("x".repeat(65), "64 bytes at most"), (String::new(), "empty")] {
        for error in [ring.durable::<u64>(&bad).unwrap_err(), ring.any_durable(&bad).unwrap_err()] {
            assert!(matches!(&error, OpenError::BadName { name, .. } if *name == bad));
            assert!(error.to_string().contains(reason), "{error}");
        }
    }
    let error = Ring::builder().capacity(1 << 33).open(&format!("{name}-large")).unwrap_err();
    assert!(error.to_string().contains("1024 to 4294967296 bytes"), "{error}");
    assert_eq!(Census::take(name), before);
    drop(ring.durable::<u64>(&"x".repeat(64)).unwrap());
    assert!(ring.remove_durable(&"x".repeat(64)).unwrap());
}

#[test]
fn names_and_sizes_beyond_the_limits_are_refused() {
    alone("names");
}

/// A type whose layout takes more text than a ring has for all of them.
type Twelve<T> = (T, T, T, T, T, T, T, T, T, T, T, T);
type Long = Twelve<Twelve<Twelve<u8>>>;

fn no_room_for_types(name: &str) {
    let ring = Ring::open(name).unwrap();
    let before = Census::take(name);
    for error in [
        ring.publisher::<Long>().unwrap_err(),
        ring.subscriber::<Long>().unwrap_err(),
        ring.durable::<Long>("desk").unwrap_err(),
    ] {
        assert!(matches!(error, OpenError::TooManyTypes { limit: 64 }), "{error}");
        assert!(error.to_string().contains("32 KiB of schema text"), "{error}");
    }
    assert_eq!(Census::take(name), before);
    assert_eq!((ring.types().len(), ring.subscribers()), (0, 0));
    assert!(!ring.remove_durable("desk").unwrap());
    let mut numbers = ring.subscriber::<u64>().unwrap();
    ring.publisher::<u64>().unwrap().send(&7).unwrap();
    assert_eq!(*numbers.recv().unwrap(), 7);
}

#[test]
fn a_type_with_too_long_a_layout_leaves_nothing() {
    alone("types");
}

/// Asserts that a packet was too large, and by how much.
macro_rules! assert_too_large {
    ($outcome:expr, $error:ident, $sizes:expr) => {{
        let error = $outcome.map(drop).unwrap_err();
        let $error::TooLarge { needed, limit } = error else { panic!("{error}") };
        assert_eq!((needed, limit), $sizes);
        assert!(error.to_string().contains("capacity(2048)"), "{error}");
    }};
}

/// Asserts that nothing was published but what comes next.
#[track_caller]
fn assert_untouched<T: Packet>(out: &mut Publisher<T>, packets: &mut Subscriber<T>, packet: &T) {
    assert!(matches!(packets.try_recv(), Err(TryRecvError::Empty)));
    assert_eq!((out.backlog(), packets.backlog()), (0, 0));
    let position = out.try_send(packet).unwrap();
    assert_eq!(Received::info(&packets.try_recv().unwrap()).position, position);
    assert_eq!(position, 0, "not even padding");
}

#[test]
fn a_packet_larger_than_half_the_ring_is_refused_and_nothing_is_published() {
    let small = || Ring::builder().capacity(1024);
    on_all(small, |ring| {
        let mut out = ring.publisher::<[u8; 497]>().unwrap();
        let mut blocks = ring.subscriber::<[u8; 497]>().unwrap();
        let sizes = (497, 496);
        assert_too_large!(out.try_send(&[0; 497]), TrySendError, sizes);
        assert_too_large!(out.send(&[0; 497]), SendError, sizes);
        assert_too_large!(out.send_timeout(&[0; 497], LONG), SendTimeoutError, sizes);
        assert_too_large!(out.reserve(), SendError, sizes);
        assert_too_large!(out.try_reserve(), TrySendError, sizes);
        let all = out.send_all(&[[0; 497]; 3]);
        assert_too_large!(all.map_err(|error| error.source), SendError, sizes);
        assert_eq!(out.try_send_all(&[[0; 497]; 3]).unwrap_err().sent, 0);
        assert!(matches!(blocks.try_recv(), Err(TryRecvError::Empty)));
        assert_eq!((out.backlog(), blocks.backlog()), (0, 0));
    });
    on_all(small, |ring| {
        let mut out = ring.publisher::<Tail<u64, u8>>().unwrap();
        let mut tails = ring.subscriber::<Tail<u64, u8>>().unwrap();
        // Bytes around the elements of the tail.
        let Err(SendError::TooLarge { needed, limit: 496 }) = out.reserve_tail(600) else {
            panic!("not too large");
        };
        let most = 496 - (needed - 600);
        let error = out.reserve_tail(most + 8).map(drop).unwrap_err();
        assert!(matches!(error, SendError::TooLarge { limit: 496, .. }), "{error}");
        let error = out.try_reserve_tail(usize::MAX).map(drop).unwrap_err();
        assert!(matches!(error, TrySendError::TooLarge { limit: 496, .. }), "{error}");
        assert_eq!((out.backlog(), tails.backlog()), (0, 0));
        assert_eq!(out.reserve_tail(most).unwrap().commit(), 0, "not even padding");
        assert_eq!(tails.try_recv().unwrap().tail.len(), most);
    });
    on_all(small, |ring| {
        let mut out = ring.publisher::<Vec<u8>>().unwrap();
        let mut lists = ring.subscriber::<Vec<u8>>().unwrap();
        let too_large = vec![0; 600];
        assert_too_large!(out.send(&too_large), SendError, (608, 496));
        assert_untouched(&mut out, &mut lists, &vec![1; 400]);
    });
}
