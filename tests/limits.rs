//! Exhausted resources: memory, files, publisher and subscriber entries, space for names and types.
//! The result is an error that names the resource. Nothing is left behind: no object, no
//! descriptor, no mapping.
//!
//! Each case runs in a child process, because it changes the limits of its process.

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

/// The resources that a process could leak.
#[derive(Debug, PartialEq, Eq)]
struct ResourceSnapshot {
    objects: Vec<String>,
    descriptors: usize,
    mappings: Vec<String>,
}

impl ResourceSnapshot {
    /// Of this process, and the objects of the rings whose names start with `name`.
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

/// A test case. The argument is a prefix for its ring names.
type Case = fn(&str);

const CASES: &[(&str, Case)] = &[
    ("file_system", full_file_system),
    ("file_size", file_size_limit),
    ("descriptors", no_descriptors),
    ("memory", no_memory),
    ("mappings", no_mappings),
    ("entries", no_free_entries),
    ("names", invalid_names),
    ("types", no_room_for_types),
];

/// Runs a case in a child process.
fn run_in_child(case: &str) {
    Peer::start(&format!("case {case} {}", unique(case))).finish();
}

/// Entry point of the child processes; does nothing without a role.
#[test]
fn peer() {
    let Some(role) = peer::role() else { return };
    match role.name.as_str() {
        "case" => {
            let (case, name) = (&role.arguments[0], &role.arguments[1]);
            let (_, run) = CASES.iter().find(|(known, _)| known == case).unwrap();
            let before = ResourceSnapshot::take(name);
            run(name);
            assert_eq!(ResourceSnapshot::take(name), before);
        }
        "claim" => claim(&role),
        "read" => read(&role),
        other => panic!("{other}"),
    }
}

/// Opens a ring, joins it in each way, sends and receives, and leaves.
fn use_a_ring(settings: RingBuilder, name: &str) -> Result<(), OpenError> {
    let ring = settings.open(name)?;
    let mut numbers = ring.subscriber::<u64>()?;
    numbers.protect()?;
    let mut out = ring.publisher::<u64>()?;
    let mut other = numbers.try_clone()?;
    other.protect()?;
    // Last, because a durable subscriber stays when it is dropped.
    let mut billing = ring.durable::<u64>("billing")?;
    if let Err(error) = billing.protect() {
        drop(billing);
        assert!(ring.remove_durable("billing")?);
        return Err(error);
    }
    drop(other);
    out.send(&7).unwrap();
    assert_eq!(*numbers.recv().unwrap(), 7);
    assert_eq!(*billing.recv().unwrap(), 7);
    drop(billing);
    assert!(ring.remove_durable("billing")?);
    Ok(())
}

/// Uses a ring under a limit that grows until it is enough. Each failure must leave nothing behind.
/// `limit` sets the limit, `lift` removes it.
fn try_growing_limits(
    name: &str,
    settings: &RingBuilder,
    kind: impl Fn(&std::io::Error) -> bool,
    limit: impl Fn(u64),
    lift: impl Fn(),
) {
    let before = ResourceSnapshot::take(name);
    let mut failed_at = Vec::new();
    for room in 0.. {
        limit(room);
        let outcome = use_a_ring(settings.clone(), name);
        lift();
        assert_eq!(ResourceSnapshot::take(name), before, "with a limit of {room}: {outcome:?}");
        match outcome {
            Ok(()) => break,
            Err(OpenError::System { action, object: path, source }) => {
                assert!(kind(&source), "could not {action}: {source:?}");
                assert_eq!(Path::new(&path), object(name), "could not {action}");
                failed_at.push(action);
            }
            Err(error) => panic!("{error}"),
        }
        assert!(room < 100, "still failing at the limit {room}: {failed_at:?}");
    }
    assert!(failed_at.len() >= 4, "too few distinct failures: {failed_at:?}");
}

fn limits_of(resource: Resource) -> Rlimit {
    getrlimit(resource)
}

fn limit_to(resource: Resource, most: u64) {
    let maximum = limits_of(resource).maximum;
    setrlimit(resource, Rlimit { current: Some(most), maximum }).unwrap();
}

/// Gives this process its own `/dev/shm` of 256 KiB. Returns `false` if that is not permitted.
fn own_file_system() -> bool {
    use std::ptr::null;
    // SAFETY: constant arguments, as `unshare(2)` and `mount(2)` require them.
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

fn full_file_system(name: &str) {
    if !own_file_system() {
        eprintln!("skipped: mounting a file system is not permitted");
        return;
    }
    let before = ResourceSnapshot::take(name);
    for capacity in [256 << 10, 1 << 20, 1 << 32] {
        let error = Ring::builder().capacity(capacity).open(name).unwrap_err();
        let OpenError::NoSpace { needed, free, .. } = &error else { panic!("{error}") };
        assert!(*needed > capacity as u64 && *free <= 256 << 10, "{error}");
        assert_eq!(ResourceSnapshot::take(name), before, "with a capacity of {capacity}");
    }
    use_a_ring(Ring::builder().capacity(64 << 10), name).unwrap();
    // A ring reserves its memory when it is created, so it still works on a full file system.
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
fn a_full_file_system_fails_the_creation_of_a_ring() {
    run_in_child("file_system");
}

/// SIGXFSZ, which kills a process that makes a file too large, is not ignored here.
fn file_size_limit(name: &str) {
    limit_to(Resource::Fsize, 256 << 10);
    let before = ResourceSnapshot::take(name);
    let error = Ring::builder().capacity(256 << 10).open(name).unwrap_err();
    let OpenError::System { action, source, .. } = &error else { panic!("{error}") };
    assert_eq!((*action, source.kind()), ("reserve memory for", ErrorKind::FileTooLarge));
    assert_eq!(ResourceSnapshot::take(name), before);
    use_a_ring(Ring::builder().capacity(64 << 10), name).unwrap();
}

#[test]
fn a_file_size_limit_is_an_error_and_not_a_signal() {
    run_in_child("file_size");
}

/// The next file descriptor that this process would get.
fn next_descriptor() -> u64 {
    use std::os::fd::AsRawFd;
    fs::File::open("/dev/null").unwrap().as_raw_fd().unsigned_abs().into()
}

fn no_descriptors(name: &str) {
    let normal = limits_of(Resource::Nofile);
    let next = next_descriptor();
    for settings in [Ring::builder(), Ring::builder().wait(Wait::event())] {
        try_growing_limits(
            name,
            &settings,
            |error| error.raw_os_error() == Some(libc::EMFILE),
            |room| limit_to(Resource::Nofile, next + room),
            || setrlimit(Resource::Nofile, normal).unwrap(),
        );
    }
}

#[test]
fn running_out_of_descriptors_is_an_error() {
    run_in_child("descriptors");
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
    try_growing_limits(
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
fn running_out_of_address_space_is_an_error() {
    run_in_child("memory");
}

/// Memory of this process, split into as many mappings as the process may have.
struct ManyMappings {
    start: *mut libc::c_void,
    /// The pages with their own mapping. The last ones are released first.
    pages: Vec<usize>,
    released: Cell<usize>,
}

impl ManyMappings {
    const PAGE: usize = 4096;

    /// Makes every other page a mapping of its own. `None` if the limit is not reached.
    fn fill() -> Option<Self> {
        let pages = 1 << 18;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: maps fresh memory.
        let start = unsafe {
            libc::mmap(std::ptr::null_mut(), pages * Self::PAGE, libc::PROT_NONE, flags, -1, 0)
        };
        assert_ne!(start, libc::MAP_FAILED);
        let mut mappings = Self { start, pages: Vec::with_capacity(pages), released: Cell::new(0) };
        let mut others = (1..pages).step_by(2);
        mappings.pages =
            others.by_ref().take_while(|&p| mappings.protect(p, libc::PROT_READ)).collect();
        others.next().map(|_| mappings)
    }

    /// Leaves `mappings` mappings unused, or all that can be released.
    fn leave_unused(&self, mappings: usize) {
        let changed = mappings.max(self.released.replace(mappings));
        for (index, &page) in self.pages.iter().rev().take(changed).enumerate() {
            let access = if index < mappings { libc::PROT_NONE } else { libc::PROT_READ };
            self.protect(page, access);
        }
    }

    fn protect(&self, page: usize, access: libc::c_int) -> bool {
        // SAFETY: the page lies in this memory, and nothing accesses it.
        unsafe { libc::mprotect(self.start.byte_add(page * Self::PAGE), Self::PAGE, access) == 0 }
    }
}

fn no_mappings(name: &str) {
    let Some(mappings) = ManyMappings::fill() else {
        eprintln!("skipped: the limit on mappings is too high to reach");
        return;
    };
    try_growing_limits(
        name,
        &Ring::builder().capacity(4096),
        |error| error.raw_os_error() == Some(libc::ENOMEM),
        |room| mappings.leave_unused(room as usize),
        || mappings.leave_unused(100),
    );
}

#[test]
fn running_out_of_mappings_is_an_error() {
    run_in_child("mappings");
}

/// Leaves a claim open. Arguments: ring.
fn claim(role: &Role) {
    let mut out = Ring::attach(&role.arguments[0]).unwrap().publisher::<u64>().unwrap();
    let _open = out.reserve().unwrap();
    peer::say("claimed");
    peer::hear();
}

/// Reads behind the claim of a dead process. Recovery needs a second mapping but no descriptor.
/// Without memory it must wait until there is some; without descriptors it must succeed. Arguments:
/// ring, missing resource.
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
    let before = ResourceSnapshot::take(name);
    let normal = limits_of(resource);
    limit_to(resource, most);
    if resource == Resource::As {
        for _ in 0..20 {
            assert!(matches!(numbers.recv_timeout(SHORT), Err(RecvTimeoutError::Timeout)));
        }
        setrlimit(resource, normal).unwrap();
        assert_eq!(ResourceSnapshot::take(name), before);
        assert_eq!(*numbers.recv_timeout(LONG).unwrap(), 7);
    } else {
        assert_eq!(*numbers.recv_timeout(LONG).unwrap(), 7);
        setrlimit(resource, normal).unwrap();
    }
    assert_eq!(ResourceSnapshot::take(name), before);
}

#[test]
fn a_failed_recovery_of_a_claim_is_retried() {
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

fn assert_full(outcome: Result<(), OpenError>, what: &str, limit: usize) {
    match outcome {
        Err(OpenError::Full { what: w, limit: l }) => assert_eq!((w, l), (what, limit)),
        other => panic!("{other:?}"),
    }
}

fn no_free_entries(name: &str) {
    for settings in [Ring::builder(), Ring::builder().wait(Wait::event())] {
        let settings = settings.capacity(4096).max_publishers(2).max_subscribers(2);
        let ring = settings.open(name).unwrap();
        let before = ResourceSnapshot::take(name);
        let held = [ring.publisher::<u64>().unwrap(), ring.publisher::<u64>().unwrap()];
        let full = ResourceSnapshot::take(name);
        assert_full(ring.publisher::<u64>().map(drop), "publishers", 2);
        assert_full(ring.any_publisher().map(drop), "publishers", 2);
        assert_full(held[0].try_clone().map(drop), "publishers", 2);
        assert_eq!(ResourceSnapshot::take(name), full);
        drop(held);
        assert_eq!(ResourceSnapshot::take(name), before);
        // Durable subscribers keep their entries while absent.
        drop((ring.durable::<u64>("one").unwrap(), ring.durable::<u64>("two").unwrap()));
        assert_full(ring.durable::<u64>("three").map(drop), "subscribers", 2);
        assert_full(ring.any_durable("three").map(drop), "subscribers", 2);
        assert_full(ring.subscriber::<u64>().map(drop), "subscribers", 2);
        assert_full(ring.any_subscriber().map(drop), "subscribers", 2);
        assert_eq!(ResourceSnapshot::take(name), before);
        ring.durable::<u64>("one").unwrap();
        assert!(ring.remove_durable("one").unwrap());
        ring.subscriber::<u64>().unwrap();
        assert!(ring.remove_durable("two").unwrap());
    }
}

#[test]
fn too_many_endpoints_are_rejected_without_leaks() {
    run_in_child("entries");
}

fn invalid_names(name: &str) {
    let fits = format!("{name}{}", "x".repeat(200 - name.len()));
    let ring = Ring::open(&fits).unwrap();
    let before = ResourceSnapshot::take(name);
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
    assert_eq!(ResourceSnapshot::take(name), before);
    drop(ring.durable::<u64>(&"x".repeat(64)).unwrap());
    assert!(ring.remove_durable(&"x".repeat(64)).unwrap());
}

#[test]
fn names_and_sizes_beyond_the_limits_are_rejected() {
    run_in_child("names");
}

/// A type whose schema text is longer than a ring has space for.
type Twelve<T> = (T, T, T, T, T, T, T, T, T, T, T, T);
type Long = Twelve<Twelve<Twelve<u8>>>;

fn no_room_for_types(name: &str) {
    let ring = Ring::open(name).unwrap();
    let before = ResourceSnapshot::take(name);
    for error in [
        ring.publisher::<Long>().unwrap_err(),
        ring.subscriber::<Long>().unwrap_err(),
        ring.durable::<Long>("billing").unwrap_err(),
    ] {
        let OpenError::TooManyTypes(room) = &error else { panic!("{error}") };
        assert_eq!((room.types, room.schema_bytes), (0, 0));
        assert!(room.needed_bytes > room.max_schema_bytes, "{room:?}");
        assert!(error.to_string().contains("0 bytes of schema text, limit 32768, and"), "{error}");
    }
    assert_eq!(ResourceSnapshot::take(name), before);
    assert_eq!((ring.types().len(), ring.subscribers()), (0, 0));
    assert!(!ring.remove_durable("billing").unwrap());
    let mut numbers = ring.subscriber::<u64>().unwrap();
    ring.publisher::<u64>().unwrap().send(&7).unwrap();
    assert_eq!(*numbers.recv().unwrap(), 7);
}

#[test]
fn a_type_with_too_long_a_schema_is_rejected_without_leaks() {
    run_in_child("types");
}

/// Asserts that a packet was too large, with these numbers for `needed` and `limit`.
macro_rules! assert_too_large {
    ($outcome:expr, $error:ident, $sizes:expr) => {{
        let error = $outcome.map(drop).unwrap_err();
        let $error::TooLarge { needed, limit } = error else { panic!("{error}") };
        assert_eq!((needed, limit), $sizes);
        assert!(error.to_string().contains("capacity(2048)"), "{error}");
    }};
}

/// Asserts that nothing was published before the next packet.
#[track_caller]
fn assert_untouched<T: Packet>(out: &mut Publisher<T>, packets: &mut Subscriber<T>, packet: &T) {
    assert!(matches!(packets.try_recv(), Err(TryRecvError::Empty)));
    assert_eq!((out.backlog(), packets.backlog()), (0, 0));
    let position = out.try_send(packet).unwrap();
    assert_eq!(Received::info(&packets.try_recv().unwrap()).position, position);
    assert_eq!(position, 0, "padding was published");
}

#[test]
fn a_packet_larger_than_half_the_ring_is_rejected() {
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
        // The size includes overhead around the elements of the tail.
        let Err(SendError::TooLarge { needed, limit: 496 }) = out.reserve_tail(600) else {
            panic!("the packet was not too large");
        };
        let most = 496 - (needed - 600);
        let error = out.reserve_tail(most + 8).map(drop).unwrap_err();
        assert!(matches!(error, SendError::TooLarge { limit: 496, .. }), "{error}");
        let error = out.try_reserve_tail(usize::MAX).map(drop).unwrap_err();
        assert!(matches!(error, TrySendError::TooLarge { limit: 496, .. }), "{error}");
        assert_eq!((out.backlog(), tails.backlog()), (0, 0));
        assert_eq!(out.reserve_tail(most).unwrap().commit(), 0, "padding was published");
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
