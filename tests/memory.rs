//! The memory of rings: their default sizes, and pages that are made present when an endpoint
//! joins.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod support;

use packetring::{OpenError, Ring, RingBuilder, Wait, Worker};
use std::fs;
use support::peer::{self, Peer, Role};
use support::{object, unique};

/// Entry point of the child processes; does nothing without a role.
#[test]
fn peer() {
    let Some(role) = peer::role() else { return };
    match role.name.as_str() {
        "full" => full_file_system(&role),
        other => panic!("{other}"),
    }
}

// ── Sizes ──────────────────────────────────────────────────────────────────────────────────────

#[test]
fn rings_and_topics_hold_two_mebibytes_and_other_objects_less() {
    let name = unique("default");
    let ring = Ring::open(&name).unwrap();
    assert_eq!(ring.settings().capacity, 2 << 20);
    assert_eq!(Ring::builder().heap().unwrap().settings().capacity, 2 << 20);
    let kibibytes = |object: &str| fs::metadata(object).unwrap().len() >> 10;
    assert_eq!(kibibytes(object(&name).to_str().unwrap()), 2128, "as the guide says");

    let cluster = unique("sizes");
    let worker = Worker::join(&cluster, "all").unwrap();
    let _topic = worker.publisher::<u64>("x").unwrap();
    let _queue = worker.queue::<u64>("x").unwrap();
    let _service = worker.service::<u64, u64>("x").unwrap();
    let _client = worker.client::<u64, u64>("x").unwrap();
    let _events = worker.events().unwrap();
    let inbox = worker.inbox().unwrap();
    let begins = format!("packetring.{cluster}");
    let files = fs::read_dir("/dev/shm").unwrap().map(|file| file.unwrap());
    let mut sizes: Vec<_> = files
        .filter(|file| file.file_name().to_string_lossy().starts_with(&begins))
        .map(|file| file.metadata().unwrap().len() >> 10)
        .collect();
    sizes.sort_unstable();
    drop(inbox);
    worker.leave().unwrap();
    // Directory, call area, inbox, events, queue, service, topic: the table in the guide.
    assert_eq!(sizes, [80, 292, 396, 1136, 1172, 1232, 2160]);
}

// ── Pages that are present ─────────────────────────────────────────────────────────────────────

/// Kibibytes of the mappings of an object in this process, and of their pages that are present.
/// Without the mapping of one page that each attachment has for its descriptor.
fn mapped(object: &str) -> (u64, u64) {
    let path = format!("/dev/shm/{object}");
    let (mut size, mut present, mut is_it, mut last) = (0, 0, false, 0);
    for line in fs::read_to_string("/proc/self/smaps").unwrap().lines() {
        let mut words = line.split_ascii_whitespace();
        let number = |word: Option<&str>| word.unwrap().parse::<u64>().unwrap();
        match words.next() {
            Some("Size:") => last = number(words.next()),
            Some("Rss:") if is_it && last > 4 => {
                size += last;
                present += number(words.next());
            }
            Some(first) if !first.ends_with(':') => is_it = words.next_back() == Some(&path),
            _ => {}
        }
    }
    (size, present)
}

/// Returns false if the first access to a ring makes 2 MiB of it present at once.
fn has_small_pages() -> bool {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let is_huge = mounts.lines().any(|mount| {
        mount.contains(" /dev/shm ")
            && ["huge=always", "huge=within_size"].iter().any(|option| mount.contains(option))
    });
    if is_huge {
        eprintln!("skipped: /dev/shm is mounted with huge pages");
    }
    !is_huge
}

/// Asserts that `join` maps the object of a name once more, and whether all pages of that mapping
/// are present.
#[track_caller]
fn assert_populates<E>(object: &str, expected: bool, join: impl FnOnce() -> E) -> E {
    let before = mapped(object);
    let endpoint = join();
    let after = mapped(object);
    let (size, present) = (after.0 - before.0, after.1.saturating_sub(before.1));
    assert!(size > 0, "no mapping of {object}");
    if expected {
        assert_eq!(present, size, "KiB of {object}");
    } else {
        assert!(present < size / 2, "{present} of {size} KiB of {object}");
    }
    endpoint
}

fn ring(settings: impl FnOnce(RingBuilder) -> RingBuilder) -> (Ring, String) {
    let name = unique("pages");
    let ring = settings(Ring::builder()).open(&name).unwrap();
    (ring, format!("packetring.{name}"))
}

#[test]
fn each_endpoint_of_a_ring_that_populates_has_all_pages() {
    if !has_small_pages() {
        return;
    }
    for wait in [Wait::park(), Wait::event()] {
        let (ring, object) = ring(|builder| builder.populate(true).wait(wait));
        let (_, present) = mapped(&object);
        assert!(present < 1024, "the ring's own mapping has no endpoint: {present} KiB");
        let mut out = assert_populates(&object, true, || ring.publisher::<u64>().unwrap());
        let _any = assert_populates(&object, true, || ring.any_publisher().unwrap());
        let mut numbers = assert_populates(&object, true, || ring.subscriber::<u64>().unwrap());
        let _other = assert_populates(&object, true, || numbers.try_clone().unwrap());
        let _any = assert_populates(&object, true, || ring.any_subscriber().unwrap());
        let durable = assert_populates(&object, true, || ring.durable::<u64>("d").unwrap());
        out.send(&7).unwrap();
        assert_eq!(*numbers.recv().unwrap(), 7);
        drop(durable);
        assert!(ring.remove_durable("d").unwrap());
    }
}

#[test]
fn a_process_chooses_for_its_own_endpoints() {
    if !has_small_pages() {
        return;
    }
    let (first, object) = ring(|builder| builder.populate(true));
    let second = Ring::builder().attach(first.name()).unwrap();
    assert_populates(&object, false, || second.publisher::<u64>().unwrap());
    assert_populates(&object, true, || first.publisher::<u64>().unwrap());
}

#[test]
fn endpoints_that_spin_populate_unless_that_was_refused() {
    if !has_small_pages() {
        return;
    }
    let (spinning, object) = ring(|builder| builder.wait(Wait::spin()));
    assert_populates(&object, true, || spinning.publisher::<u64>().unwrap());
    assert_populates(&object, true, || spinning.subscriber::<u64>().unwrap());

    let (refusing, object) = ring(|builder| builder.wait(Wait::spin()).populate(false));
    let mut out = assert_populates(&object, false, || refusing.publisher::<u64>().unwrap());
    out.set_wait(Wait::spin());
    assert_populates(&object, false, || refusing.subscriber::<u64>().unwrap());
}

#[test]
fn an_endpoint_that_begins_to_spin_populates() {
    if !has_small_pages() {
        return;
    }
    let (parking, object) = ring(|builder| builder);
    let mut out = assert_populates(&object, false, || parking.publisher::<u64>().unwrap());
    out.set_wait(Wait::park());
    let before = mapped(&object);
    out.set_wait(Wait::spin());
    let after = mapped(&object);
    // One mapping of 2,124 KiB, of which some pages were present.
    assert!(after.1 >= before.1 + 2048 && after.0 == before.0, "{before:?} {after:?}");

    let mut numbers = assert_populates(&object, false, || parking.subscriber::<u64>().unwrap());
    numbers.protect().unwrap();
    let before = mapped(&object);
    numbers.set_wait(Wait::spin());
    let after = mapped(&object);
    assert!(after.1 >= before.1 + 2048 && after.0 == before.0, "read-only: {before:?} {after:?}");
    drop((out, numbers));
}

#[test]
fn the_rings_of_a_worker_that_populates_have_all_pages() {
    if !has_small_pages() {
        return;
    }
    let cluster = unique("pages");
    let worker = Worker::builder().populate(true).join(&cluster, "trader").unwrap();
    let plain = Worker::join(&cluster, "plain").unwrap();
    // Makes the objects, so that the next endpoints only attach.
    let made = (
        plain.publisher::<u64>("x").unwrap(),
        plain.queue_publisher::<u64>("x").unwrap(),
        plain.inbox().unwrap(),
    );
    let names = fs::read_dir("/dev/shm").unwrap().map(|file| file.unwrap().file_name());
    let begins = format!("packetring.{cluster}");
    let names = names.map(|name| name.into_string().unwrap());
    let mut objects: Vec<_> = names.filter(|name| name.starts_with(&begins)).collect();
    objects.sort_by_key(|name| fs::metadata(format!("/dev/shm/{name}")).unwrap().len());
    let [_directory, inbox, queue, topic] = objects.as_slice() else { panic!("{objects:?}") };

    assert_populates(topic, true, || worker.subscriber::<u64>("x").unwrap());
    assert_populates(topic, false, || plain.subscriber::<u64>("x").unwrap());
    assert_populates(topic, true, || plain.topic("x").populate(true).publisher::<u64>().unwrap());
    assert_populates(topic, false, || {
        worker.topic("x").populate(false).publisher::<u64>().unwrap()
    });
    // Its slots are read-only.
    assert_populates(queue, true, || worker.queue::<u64>("x").unwrap());
    assert_populates(inbox, true, || worker.send_to("plain", &7_u64).unwrap());
    drop((made, plain, worker));
    assert!(Worker::remove_cluster(&cluster).unwrap());
}

#[test]
fn a_ring_on_the_heap_has_all_pages_from_the_start() {
    const CAPACITY: usize = 256 << 20;
    let before = resident();
    let ring = Ring::builder().capacity(CAPACITY).heap().unwrap();
    let grown = resident().saturating_sub(before);
    // Other tests of this process free less than the rest at the same time.
    assert!(grown as usize > CAPACITY / 2 / 1024, "{grown} KiB");
    drop(ring);
}

/// Resident memory of this process in KiB.
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_ascii_whitespace().next().unwrap().parse().unwrap()
}

// ── A full file system ─────────────────────────────────────────────────────────────────────────

/// Gives this process its own `/dev/shm` of 4 MiB. Returns `false` if that is not permitted.
fn own_file_system() -> bool {
    use std::ptr::null;
    // SAFETY: constant arguments, as `unshare(2)` and `mount(2)` require them.
    unsafe {
        libc::unshare(libc::CLONE_NEWNS) == 0
            && libc::mount(null(), c"/".as_ptr(), null(), libc::MS_REC | libc::MS_PRIVATE, null())
                == 0
            && libc::mount(
                c"tmpfs".as_ptr(),
                c"/dev/shm".as_ptr(),
                c"tmpfs".as_ptr(),
                0,
                c"size=4m".as_ptr().cast(),
            ) == 0
    }
}

/// Fills `/dev/shm` to the last page.
fn fill() -> &'static str {
    let path = "/dev/shm/filler";
    let mut file = fs::File::create(path).unwrap();
    while std::io::Write::write_all(&mut file, &[1; 4096]).is_ok() {}
    path
}

fn full_file_system(role: &Role) {
    if !own_file_system() {
        eprintln!("skipped: mounting a file system is not permitted");
        return;
    }
    let name = &role.arguments[0];
    let populating = || Ring::builder().capacity(1 << 20).populate(true);
    let ring = populating().open(name).unwrap();
    let filler = fill();

    // All memory of a ring is reserved when it is made. So its endpoints need none.
    ring.publisher::<u64>().unwrap().send(&7).unwrap();
    assert_full(populating().open("another").map(drop));

    // Other code gives memory of the ring back, and takes it for another file. Without the check a
    // store to the page would be a SIGBUS.
    let file = fs::File::options().write(true).open(object(name)).unwrap();
    let hole = rustix::fs::FallocateFlags::PUNCH_HOLE | rustix::fs::FallocateFlags::KEEP_SIZE;
    rustix::fs::fallocate(&file, hole, 1 << 20, 64 << 10).unwrap();
    let more = format!("{filler}-2");
    fs::write(&more, [1; 64 << 10]).expect("the memory of the hole");
    assert_full(ring.publisher::<u64>().map(drop));
    assert_full(ring.subscriber::<u64>().map(drop));
    fs::remove_file(more).unwrap();
    // The failed endpoints took no entry.
    let mut numbers = ring.subscriber::<u64>().unwrap();
    let mut out = ring.publisher::<u64>().unwrap();
    out.send(&7).unwrap();
    assert_eq!(*numbers.recv().unwrap(), 7);
    assert_eq!(ring.subscribers(), 1);
}

#[track_caller]
fn assert_full(made: Result<(), OpenError>) {
    match made.unwrap_err() {
        OpenError::NoSpace { needed, free, .. } => assert!(needed > free, "{needed} {free}"),
        error => panic!("{error}"),
    }
}

#[test]
fn a_full_file_system_is_an_error_and_not_a_signal() {
    Peer::start(&format!("full {}", unique("full"))).finish();
}
