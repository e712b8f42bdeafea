//! Isolation of rings: permissions, objects that are not rings, damaged rings, and rings left by
//! dead processes.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod support;

use packetring::{OpenError, Overflow, Ring, TryRecvError, TrySendError};
use rustix::fs::Mode;
use rustix::process::{Resource, Rlimit, setrlimit};
use std::fs::{self, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use support::peer::{self, Peer, Role};
use support::{LONG, assert_gone, object, unique};

/// Removes a shared-memory object, even if it is not a ring, also after a panic.
struct Object(String);

impl Drop for Object {
    fn drop(&mut self) {
        let _ = fs::remove_file(object(&self.0));
    }
}

impl Object {
    fn unique() -> Self {
        Self(unique("isolation"))
    }

    /// A ring with a durable subscriber that no process uses.
    fn with_ring() -> Self {
        let object = Self::unique();
        let ring = Ring::builder().capacity(4096).open(&object.0).unwrap();
        drop(ring.durable::<String>("billing").unwrap());
        object
    }
}

/// Bytes of a ring's object that this process has mapped: writable, and read-only.
fn mapped(name: &str) -> (usize, usize) {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let own = maps.lines().filter(|line| line.ends_with(&format!("/packetring.{name}")));
    let mut sums = (0, 0);
    for line in own {
        let mut words = line.split_whitespace();
        let (range, access) = (words.next().unwrap(), words.next().unwrap());
        let (start, end) = range.split_once('-').unwrap();
        let address = |text| usize::from_str_radix(text, 16).unwrap();
        let len = address(end) - address(start);
        match access {
            "rw-s" => sums.0 += len,
            "r--s" => sums.1 += len,
            // This page keeps the locks of an attachment.
            "---s" => {}
            other => panic!("{other}"),
        }
    }
    sums
}

#[test]
fn only_a_protected_subscriber_maps_slots_read_only() {
    const CAPACITY: usize = 64 * 1024;
    let name = unique("maps");
    let ring = Ring::builder().capacity(CAPACITY).open(&name).unwrap();
    let whole = fs::metadata(object(&name)).unwrap().len() as usize;
    assert_eq!(mapped(&name), (whole, 0));
    let mut reading = ring.subscriber::<String>().unwrap();
    drop(ring);
    assert_eq!(mapped(&name), (whole, 0));
    reading.protect().unwrap();
    assert_eq!(mapped(&name), (whole - CAPACITY, CAPACITY));
    let writing = Ring::attach(&name).unwrap().publisher::<String>().unwrap();
    assert_eq!(mapped(&name), (2 * whole - CAPACITY, CAPACITY));
    drop((reading, writing));
    assert_eq!(mapped(&name), (0, 0));
    assert_gone(&name);
}

/// The slots in the last mapping of a ring: its last `capacity` bytes. The page that keeps the
/// locks of an attachment maps the same file, and may lie anywhere.
fn slots(name: &str, capacity: usize) -> *mut u8 {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let object = format!("/packetring.{name}");
    let range = |line: &str| {
        let address = |text: &str| usize::from_str_radix(text, 16).unwrap();
        let (start, rest) = line.split_once('-').unwrap();
        (address(start), address(rest.split_once(' ').unwrap().0))
    };
    let mut own = maps.lines().filter(|line| line.ends_with(&object)).map(range);
    let (_, end) = own.rfind(|(start, end)| end - start >= capacity).unwrap();
    std::ptr::with_exposed_provenance_mut(end - capacity)
}

/// Stores to a slot through its own mapping, bypassing the API. Arguments: ring, capacity,
/// `publisher`, `subscriber` or `protected`.
fn store(role: &Role) {
    let limit = Rlimit { current: Some(0), maximum: Some(0) };
    setrlimit(Resource::Core, limit).unwrap();
    let ring = Ring::attach(&role.arguments[0]).unwrap();
    let is_publisher = role.arguments[2] == "publisher";
    let _publisher = is_publisher.then(|| ring.publisher::<u64>().unwrap());
    let mut subscriber = (!is_publisher).then(|| ring.subscriber::<u64>().unwrap());
    if role.arguments[2] == "protected" {
        subscriber.as_mut().unwrap().protect().unwrap();
    }
    drop(ring);
    let slot = slots(&role.arguments[0], role.number(1) as usize);
    // SAFETY: the address is mapped, and no other thread stores there. The store may fault on
    // purpose.
    unsafe { slot.write_volatile(slot.read_volatile()) };
}

#[test]
fn a_store_by_a_protected_subscriber_faults() {
    const SIGSEGV: i32 = 11;
    let name = unique("store");
    let ring = Ring::builder().capacity(8192).open(&name).unwrap();
    for (role, signal) in [("protected", Some(SIGSEGV)), ("subscriber", None), ("publisher", None)]
    {
        assert_eq!(Peer::start(&format!("store {name} 8192 {role}")).died_of(), signal, "{role}");
    }
    // The store did not damage the ring.
    let mut numbers = ring.subscriber::<u64>().unwrap();
    ring.publisher::<u64>().unwrap().send(&7).unwrap();
    assert_eq!(*numbers.try_recv().unwrap(), 7);
}

fn mode(name: &str) -> u32 {
    fs::metadata(object(name)).unwrap().permissions().mode() & 0o7777
}

/// Returns true if this process may change its user. Prints a note if not.
fn may_change_user() -> bool {
    let may = rustix::process::geteuid().is_root();
    if !may {
        println!("skipped: only root may become another user");
    }
    may
}

/// Switches to a user without privileges.
fn become_nobody() {
    const NOBODY: u32 = 65534;
    // SAFETY: the C library changes the user of all threads.
    assert_eq!(unsafe { (libc::setgid(NOBODY), libc::setuid(NOBODY)) }, (0, 0));
}

/// Creates rings under a umask, as an unprivileged user. Arguments: ring, umask.
fn mask(role: &Role) {
    if rustix::process::geteuid().is_root() {
        become_nobody();
    }
    rustix::process::umask(Mode::from_raw_mode(role.number(1) as u32));
    let name = &role.arguments[0];
    // Twice: the ring is created anew each time.
    for _ in 0..2 {
        let ring = Ring::open(name).unwrap();
        assert_eq!(mode(name), 0o600);
        let mut numbers = Ring::attach(name).unwrap().subscriber::<u64>().unwrap();
        ring.publisher::<u64>().unwrap().send(&1).unwrap();
        assert_eq!(*numbers.try_recv().unwrap(), 1);
    }
}

#[test]
fn only_the_owner_has_access_under_any_umask() {
    for umask in [0, 0o022, 0o077, 0o177, 0o277, 0o477, 0o777] {
        let name = unique("mode");
        Peer::start(&format!("mask {name} {umask}")).finish();
        assert_gone(&name);
    }
}

/// Tries to use another user's ring. Arguments: ring.
fn intrude(role: &Role) {
    become_nobody();
    let name = &role.arguments[0];
    for error in [
        Ring::open(name).unwrap_err(),
        Ring::attach(name).unwrap_err(),
        Ring::remove(name).unwrap_err(),
    ] {
        let OpenError::OtherUser { name: ring, owner: 0, user: 65534, .. } = &error else {
            panic!("{error}")
        };
        assert_eq!(ring, name);
        let text = error.to_string();
        assert!(text.contains("user id 0") && text.contains("65534"), "{text}");
    }
}

#[test]
fn another_user_cannot_attach() {
    if !may_change_user() {
        return;
    }
    let name = unique("intrude");
    let ring = Ring::open(&name).unwrap();
    Peer::start(&format!("intrude {name}")).finish();
    assert!(object(&name).exists());
    drop(ring);
}

/// Creates an object where another user's ring would be. Arguments: ring, kind.
fn plant(role: &Role) {
    become_nobody();
    let name = &role.arguments[0];
    let _ring = match role.arguments[1].as_str() {
        "empty" => fs::write(object(name), b"").map(|()| None).unwrap(),
        "zeros" => fs::write(object(name), [0; 4096]).map(|()| None).unwrap(),
        _ => Some(Ring::open(name).unwrap()),
    };
    fs::set_permissions(object(name), fs::Permissions::from_mode(0o666)).unwrap();
    peer::say("planted");
    peer::hear();
}

#[test]
fn an_object_of_another_user_is_rejected_and_not_changed() {
    if !may_change_user() {
        return;
    }
    for what in ["empty", "zeros", "ring"] {
        let name = Object::unique();
        let mut peer = Peer::start(&format!("plant {} {what}", name.0));
        peer.expect("planted");
        let before = fs::read(object(&name.0)).unwrap();
        assert_foreign_owner(&Ring::open(&name.0).unwrap_err());
        assert_foreign_owner(&Ring::attach(&name.0).unwrap_err());
        assert_foreign_owner(&Ring::remove(&name.0).unwrap_err());
        assert_eq!(fs::read(object(&name.0)).unwrap(), before);
        peer.kill();
        assert_foreign_owner(&Ring::attach(&name.0).unwrap_err());
        assert_foreign_owner(&Ring::remove(&name.0).unwrap_err());
        assert_eq!(fs::read(object(&name.0)).unwrap(), before);
    }
}

#[track_caller]
fn assert_foreign_owner(error: &OpenError) {
    let own = rustix::process::geteuid().as_raw();
    let OpenError::OtherUser { owner, user, .. } = error else { panic!("{error}") };
    assert_eq!((*owner, *user), (65534, own));
}

/// An object in the place of a ring, and the target of its link.
struct Planted {
    place: PathBuf,
    target: PathBuf,
}

impl Drop for Planted {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.place).or_else(|_| fs::remove_dir(&self.place));
        let _ = fs::remove_file(&self.target);
    }
}

#[test]
fn links_and_other_files_are_not_followed_or_removed() {
    type Plant = fn(&Path, &Path);
    let kinds: [(&str, Plant); 7] = [
        ("a link to nothing", |place, target| symlink(target, place).unwrap()),
        ("a link to an empty file", |place, target| {
            fs::write(target, b"").unwrap();
            symlink(target, place).unwrap();
        }),
        ("a link to a file", |place, target| {
            fs::write(target, b"not yours").unwrap();
            symlink(target, place).unwrap();
        }),
        ("a folder", |place, _| fs::create_dir(place).unwrap()),
        ("a pipe", |place, _| {
            let path = std::ffi::CString::new(place.to_str().unwrap()).unwrap();
            // SAFETY: the path ends in a NUL.
            assert_eq!(unsafe { libc::mkfifo(path.as_ptr(), 0o600) }, 0);
        }),
        ("a socket", |place, _| drop(std::os::unix::net::UnixListener::bind(place).unwrap())),
        ("a file", |place, _| fs::write(place, b"not a ring, and longer than its magic").unwrap()),
    ];
    for (kind, plant) in kinds {
        let name = unique("planted");
        let target = std::env::temp_dir().join(&name);
        let planted = Planted { place: object(&name), target };
        plant(&planted.place, &planted.target);
        let inspect = || {
            let place = fs::symlink_metadata(&planted.place).unwrap();
            let content = fs::read(&planted.target).ok();
            (place.ino(), place.mode(), place.len(), place.mtime_nsec(), content)
        };
        let before = inspect();
        for outcome in [Ring::open(&name).map(drop), Ring::attach(&name).map(drop)] {
            let error = outcome.unwrap_err();
            assert!(matches!(error, OpenError::Foreign { .. }), "{kind}: {error}");
        }
        let error = Ring::remove(&name).unwrap_err();
        assert!(matches!(error, OpenError::Foreign { .. }), "{kind}: {error}");
        assert_eq!(inspect(), before, "{kind}");
    }
}

#[test]
fn an_object_that_is_not_a_ring_is_not_changed() {
    for content in [&b"hello"[..], &[7; 100], &[7; 4096], &[0xff; 100_000]] {
        let name = Object::unique();
        fs::write(object(&name.0), content).unwrap();
        for outcome in [Ring::open(&name.0), Ring::attach(&name.0)] {
            let error = outcome.unwrap_err();
            assert!(
                matches!(&error, OpenError::Foreign { name: n, .. } if *n == name.0),
                "{error}"
            );
        }
        assert!(matches!(Ring::remove(&name.0), Err(OpenError::Foreign { .. })));
        assert_eq!(fs::read(object(&name.0)).unwrap(), content);
    }
}

#[test]
fn an_empty_object_counts_as_not_created() {
    let name = Object::unique();
    fs::write(object(&name.0), b"").unwrap();
    assert!(matches!(Ring::attach(&name.0), Err(OpenError::NotFound { .. })));
    let ring = Ring::open(&name.0).unwrap();
    ring.publisher::<u64>().unwrap().send(&1).unwrap();
    drop(ring);
    assert_gone(&name.0);
}

#[test]
fn a_truncated_ring_is_corrupt_until_it_is_removed() {
    let name = Object::with_ring();
    let len = fs::metadata(object(&name.0)).unwrap().len();
    for less in [len - 1, len - 4096, 4096, 768] {
        OpenOptions::new().write(true).open(object(&name.0)).unwrap().set_len(less).unwrap();
        for outcome in [Ring::open(&name.0), Ring::attach(&name.0)] {
            match outcome.unwrap_err() {
                OpenError::Corrupt { what, expected, found, .. } => {
                    assert_eq!((what, expected, found), ("the length of the object", len, less));
                }
                error => panic!("{error}"),
            }
        }
    }
    assert!(Ring::remove(&name.0).unwrap());
    Ring::open(&name.0).unwrap();
}

#[test]
fn a_damaged_ring_header_is_rejected() {
    // Magic word; state; byte order; length, slots, entries, history and flags.
    for (offset, width) in [(0, 8), (8, 8), (20, 2), (24, 8), (32, 8), (40, 8), (48, 8), (56, 8)] {
        let name = Object::with_ring();
        let file = OpenOptions::new().write(true).open(object(&name.0)).unwrap();
        file.write_all_at(&[0x5a; 8][..width], offset).unwrap();
        for outcome in [Ring::open(&name.0), Ring::attach(&name.0)] {
            match (offset, outcome.unwrap_err()) {
                (0 | 20, OpenError::Foreign { .. }) => {}
                (8 | 24.., OpenError::Corrupt { .. }) => {}
                (_, error) => panic!("at {offset}: {error}"),
            }
        }
    }
}

#[test]
fn a_damaged_packet_is_reported_and_skipped() {
    let name = Object::unique();
    let ring = Ring::builder().capacity(4096).open(&name.0).unwrap();
    let mut texts = ring.subscriber::<String>().unwrap();
    let mut out = ring.publisher::<String>().unwrap();
    let mut publish = || {
        for text in ["one, long enough not to be inline", "bad, and long enough too", "three"] {
            out.send(&text.to_owned()).unwrap();
        }
        let bytes = fs::read(object(&name.0)).unwrap();
        let file = OpenOptions::new().write(true).open(object(&name.0)).unwrap();
        // Damages the text of this lap and of earlier ones.
        for at in bytes.windows(8).enumerate().filter(|(_, text)| text == b"bad, and").map(|w| w.0)
        {
            file.write_all_at(&[0xff], at as u64).unwrap();
        }
    };
    for _ in 0..3 {
        publish();
        assert!(texts.try_recv().unwrap().starts_with("one"));
        let error = texts.try_recv().map(drop).unwrap_err();
        assert!(matches!(&error, TryRecvError::Corrupt(what) if what.contains("UTF-8")), "{error}");
        assert_eq!(*texts.try_recv().unwrap(), *"three");
        publish();
        assert_eq!(texts.try_drain().unwrap().len(), 1, "the batch ends before the damaged packet");
        assert!(matches!(texts.try_drain().map(drop), Err(TryRecvError::Corrupt(_))));
        assert_eq!(texts.try_drain().unwrap().len(), 1);
        publish();
        assert!(texts.try_recv_copied().unwrap().starts_with("one"));
        assert!(matches!(texts.try_recv_copied().map(drop), Err(TryRecvError::Corrupt(_))));
        assert!(texts.try_recv_where(|text| text == "three").is_ok());
        assert!(matches!(texts.try_recv(), Err(TryRecvError::Empty)));
    }
}

/// Entry point of the child processes; does nothing without a role.
#[test]
fn peer() {
    let Some(role) = peer::role() else { return };
    match role.name.as_str() {
        "live" => live(&role),
        "store" => store(&role),
        "mask" => mask(&role),
        "intrude" => intrude(&role),
        "plant" => plant(&role),
        "use-damaged" => {
            while let Some(name) = peer::hear() {
                use_damaged(&name);
                peer::say("done");
            }
        }
        other => panic!("{other}"),
    }
}

/// Fills a ring and waits until it is killed. Arguments: ring.
fn live(role: &Role) {
    let ring = Ring::builder().capacity(8192).open(&role.arguments[0]).unwrap();
    let (_one, _two) = (ring.subscriber::<u64>().unwrap(), ring.subscriber::<u64>().unwrap());
    let mut out = ring.publisher::<u64>().unwrap();
    (0..128).for_each(|number| {
        out.send(&number).unwrap();
    });
    peer::say("full");
    peer::hear();
}

#[test]
fn a_ring_left_by_dead_processes_is_replaced() {
    for opens in [true, false] {
        let name = Object::unique();
        let mut peers: Vec<Peer> =
            (0..1).map(|_| Peer::start(&format!("live {}", name.0))).collect();
        peers.iter_mut().for_each(|peer| peer.expect("full"));
        peers.iter_mut().for_each(Peer::kill);
        assert!(object(&name.0).exists());
        if opens {
            // With other settings, and without any of the old contents.
            let ring = Ring::builder().capacity(4096).exclusive().open(&name.0).unwrap();
            assert_eq!((ring.subscribers(), ring.types().len()), (0, 0));
            let mut texts = ring.subscriber::<String>().unwrap();
            assert!(matches!(texts.try_recv(), Err(TryRecvError::Empty)));
            ring.publisher::<String>().unwrap().send(&"new".to_owned()).unwrap();
            assert_eq!(*texts.recv_timeout(LONG).unwrap(), *"new");
        } else {
            assert!(matches!(Ring::attach(&name.0), Err(OpenError::NotFound { .. })));
        }
        assert_gone(&name.0);
    }
}

/// Performs operations that do not wait: those of a subscriber, a durable subscriber and a
/// publisher. Errors are allowed; a panic, a signal or an endless loop is not.
fn use_damaged(name: &str) {
    let Ok(ring) = Ring::attach(name) else { return };
    ring.types();
    ring.subscribers();
    let durable = ring.durable::<String>("billing");
    let (texts, out) = (ring.subscriber::<String>(), ring.publisher::<String>());
    let (mut durable, mut texts, mut out) = (durable.ok(), texts.ok(), out.ok());
    for round in 0..200 {
        if let Some(out) = &mut out {
            let sent = out.try_send(&"x".repeat(round % 1500));
            assert!(!matches!(sent, Err(TrySendError::TooLarge { .. })));
            out.backlog();
        }
        for texts in [&mut durable, &mut texts].into_iter().flatten() {
            let _ = texts.try_recv().map(drop);
            let _ = texts.try_drain().map(drop);
            texts.backlog();
        }
    }
}

/// Damages these words in turn: the tail, the oldest position, words of both event counts, the ring
/// state, words of the membership block, of a publisher's entry and of the durable subscriber's
/// entry.
#[test]
fn damaged_words_cause_only_errors() {
    const PUBLISHERS: u64 = 768;
    const SUBSCRIBERS: u64 = PUBLISHERS + 256;
    let damages = [u64::MAX, u64::MAX - 1, 1 << 63, (1 << 63) - 1, 1 << 32, 1 << 12, 77];
    let ring = [128, 256, 384, 392, 512, 640, 648];
    let publisher = [PUBLISHERS, PUBLISHERS + 8, PUBLISHERS + 128];
    let subscriber = [0, 128, 136, 144, 152, 160, 168].map(|offset| SUBSCRIBERS + offset);
    for (overflow, history) in
        [(Overflow::Block, 0), (Overflow::DropOldest, 0), (Overflow::DropOldest, 2)]
    {
        for exclusive in [false, true] {
            let settings = Ring::builder().capacity(4096).overflow(overflow).history(history);
            let settings = settings.max_publishers(1).max_subscribers(3);
            let settings = if exclusive { settings.exclusive() } else { settings };
            let mut peer = Peer::start("use-damaged");
            for damage in damages {
                for offset in ring.iter().chain(&publisher).chain(&subscriber) {
                    let name = Object::unique();
                    drop(settings.clone().open(&name.0).unwrap().durable::<String>("billing"));
                    let file = OpenOptions::new().write(true).open(object(&name.0)).unwrap();
                    file.write_all_at(&u64::to_le_bytes(damage), *offset).unwrap();
                    peer.tell(&name.0);
                    peer.expect("done");
                }
            }
        }
    }
}
