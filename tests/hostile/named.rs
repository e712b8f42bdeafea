//! Specific kinds of damage, and the exact errors they cause.

use super::case::layout::{FORMAT, LEN, STATE, Word};
use super::case::segment::{Object, TestSegment};
use super::support::peer::{self, Peer, Role};
use super::support::{Watch, object, unique};
use packetring::cluster::WorkerId;
use packetring::{OpenError, Publisher, Ring, Subscriber, TryRecvError, Worker};
use std::fs::{self, OpenOptions, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::ExitStatusExt;

/// Kind of a ring that a durable subscriber keeps.
const KEPT: usize = 1;

/// State of an occupied worker slot, if its lock is held.
const TAKEN: u64 = 1;

/// A file under a ring's name, removed after the test.
struct Named(String);

impl Drop for Named {
    fn drop(&mut self) {
        let path = object(&self.0);
        // Either the file or the directory exists.
        let _ = (fs::remove_file(&path), fs::remove_dir(&path));
    }
}

impl Named {
    fn new() -> Self {
        Self(unique("named"))
    }

    /// Creates a file with these bytes.
    fn with(bytes: &[u8]) -> Self {
        let named = Self::new();
        fs::write(object(&named.0), bytes).unwrap();
        named
    }

    /// Returns the error of attaching, which must equal that of opening.
    fn refusal(&self) -> String {
        let attached = Ring::attach(&self.0).unwrap_err().to_string();
        assert_eq!(Ring::open(&self.0).unwrap_err().to_string(), attached);
        attached.replace(&self.0, "it").replace(" ring \"it\"", " it")
    }
}

/// The bytes of a valid segment.
fn valid() -> Vec<u8> {
    TestSegment::new(KEPT).original().to_vec()
}

/// Creates a valid segment with other bytes at an offset.
fn with(offset: u64, bytes: &[u8]) -> Named {
    let mut all = valid();
    all[offset as usize..][..bytes.len()].copy_from_slice(bytes);
    Named::with(&all)
}

#[test]
fn attaching_to_a_copy_of_a_valid_segment_succeeds() {
    let named = Named::with(&valid());
    let ring = Ring::attach(&named.0).unwrap();
    assert_eq!(ring.types().len(), 1);
    let mut durable = ring.durable::<String>("shop").unwrap();
    assert_eq!(*durable.try_recv().unwrap(), *"");
    assert_eq!(*durable.try_recv().unwrap(), *"texttexttexttexttexttexttext");
}

/// Writes names into a worker slot that no worker can have joined with.
#[test]
fn a_dead_workers_slot_is_reused_despite_any_name_in_it() {
    // The cluster name is so long that not every name of 64 bytes fits behind it.
    let cluster = unique(&"named-slot".repeat(4));
    let own = Worker::builder().max_workers(2).join(&cluster, "own").unwrap();
    let directory = Object::open(&format!("{cluster}~d"));
    let at = directory.layout.worker_slot(1);
    // Escaping makes each of them three times as long.
    for (generation, name) in [&b""[..], &[0xff; 64], b"../own"].into_iter().enumerate() {
        directory.write(Word { offset: at + 144, width: 8 }, name.len() as u64);
        directory.write_bytes(at + 152, name);
        directory.write(Word { offset: at, width: 8 }, (generation as u64 + 1) << 8 | TAKEN);
        let next = Worker::join(&cluster, "next").unwrap();
        assert_eq!((next.id(), own.workers().len()), (WorkerId(1), 2));
    }
    drop(own);
    assert!(!object(&format!("{cluster}~d")).exists());
}

#[test]
fn a_file_whose_length_contradicts_its_header() {
    let all = valid();
    let end = all.len();
    for len in [768, 4096, end - 1, end + 1, end + 4096] {
        let mut bytes = all.clone();
        bytes.resize(len, 0);
        assert_eq!(
            Named::with(&bytes).refusal(),
            format!(
                "ring \"it\" is corrupt: the length of the object is {len}, expected {end}; end its \
                 processes and call Ring::remove"
            )
        );
    }
    assert!(with(LEN, &1_u64.to_le_bytes()).refusal().contains("the length written in it is 1,"));
}

#[test]
fn a_file_without_a_segment() {
    let foreign = "ring \"it\" is not an object of this library: ";
    let remedy = "; use another name, or remove the object";
    let short = Named::with(b"hello").refusal();
    let expected = u64::from_le_bytes(*b"packetrg");
    let magic = format!("the magic word is 0x6f6c6c6568, expected {expected:#x}");
    assert_eq!(short, format!("{foreign}{magic}{remedy}"));
    // No maker leaves zeros: the first bytes are there before the name is.
    for len in [5, 16, 8192] {
        let zeros = Named::with(&vec![0; len]).refusal();
        let magic = format!("the magic word is 0x0, expected {expected:#x}");
        assert_eq!(zeros, format!("{foreign}{magic}{remedy}"));
    }
    let random: Vec<u8> = super::Noise::of(7, 7).bytes(8192);
    let word = u64::from_le_bytes(random[..8].try_into().unwrap());
    let magic = format!("the magic word is {word:#x}, expected {expected:#x}");
    assert_eq!(Named::with(&random).refusal(), format!("{foreign}{magic}{remedy}"));
}

#[test]
fn another_version() {
    for version in [1, 9, 11] {
        assert_eq!(
            with(FORMAT, &u32::to_le_bytes(version)).refusal(),
            format!(
                "ring \"it\" was left with another layout, and may hold durable packets: its version is \
                 {version}, this build has 10; read them with the old build, or call Ring::remove"
            )
        );
    }
}

#[test]
fn another_byte_order_or_pointer_width() {
    let mark = "ring \"it\" is not an object of this library: the byte order and pointer width is ";
    // A 32-bit machine with this byte order.
    let narrow = with(FORMAT + 6, &32_u16.to_le_bytes()).refusal();
    assert!(narrow.starts_with(&format!("{mark}0x201234, expected 0x401234;")), "{narrow}");
    // The magic word of this byte order, and the mark of the other one.
    let mixed = with(FORMAT, &[0, 64, 0x12, 0x34, 0, 0, 0, 1]).refusal();
    assert!(mixed.starts_with(mark), "{mixed}");
    // Everything in the other byte order, as a process on such a machine writes it.
    let mut swapped = valid();
    swapped[..80].as_chunks_mut::<8>().0.iter_mut().for_each(|word| word.reverse());
    let swapped = Named::with(&swapped).refusal();
    assert!(swapped.contains("the magic word is 0x7061636b65747267, expected"), "{swapped}");
}

#[test]
fn a_directory_a_link_or_a_pipe_under_the_name() {
    let _watch = Watch::start();
    let [directory, link, pipe] = [(); 3].map(|()| Named::new());
    fs::create_dir(object(&directory.0)).unwrap();
    let text = directory.refusal();
    assert!(text.contains("the file type (0x8000: regular) is 0x4000,"), "{text}");
    let elsewhere = Named::with(&valid());
    symlink(object(&elsewhere.0), object(&link.0)).unwrap();
    let text = link.refusal();
    assert!(text.contains("the file type (0x8000: regular) is 0xa000,"), "{text}");
    // Opening also creates nothing at the target of a link.
    let [nothing, link] = [(); 2].map(|()| Named::new());
    symlink(object(&nothing.0), object(&link.0)).unwrap();
    assert!(Ring::open(&link.0).is_err() && !object(&nothing.0).exists());
    let made = std::process::Command::new("mkfifo").arg(object(&pipe.0)).status().unwrap();
    assert!(made.success());
    let text = pipe.refusal();
    assert!(text.contains("the file type (0x8000: regular) is 0x1000,"), "{text}");
}

#[test]
fn a_file_of_mode_0() {
    let all = valid();
    let named = Named::with(&all);
    fs::set_permissions(object(&named.0), Permissions::from_mode(0o000)).unwrap();
    // Attaches as an unprivileged user, because file modes do not apply to root.
    let mut peer = Peer::start(&format!("attach-unprivileged {}", named.0));
    let said = peer.hear();
    assert!(said.contains("belongs to another user: its owner has user id 0,"), "{said}");
    peer.finish();
    fs::set_permissions(object(&named.0), Permissions::from_mode(0o600)).unwrap();
    assert!(fs::read(object(&named.0)).unwrap() == all, "the file was changed");
}

/// No process stores these states while another is attached. Creating or removing the segment would
/// take it away from its users.
#[test]
fn a_segment_in_use_whose_state_is_uninitialized_or_removed() {
    for state in [0_u64, 2] {
        let segment = TestSegment::new(KEPT);
        let (mut inbox, mut outbox) = endpoints(&segment.ring);
        segment.write(Word { offset: STATE, width: 8 }, state);
        for outcome in [Ring::open(&segment.name), Ring::attach(&segment.name)] {
            match outcome.unwrap_err() {
                OpenError::Corrupt { what: "the state", expected: 1, found, .. } => {
                    assert_eq!(found, state);
                }
                error => panic!("{error}"),
            }
        }
        assert!(segment.ring.subscriber::<String>().is_err());
        outbox.try_send(&"still there".to_owned()).unwrap();
        assert_eq!(*inbox.try_recv().unwrap(), *"still there");
        assert!(!segment.is_gone());
    }
}

fn endpoints(ring: &Ring) -> (Subscriber<String>, Publisher<String>) {
    (ring.subscriber().unwrap(), ring.publisher().unwrap())
}

/// Entries are identified by index: an endpoint must not be cloned after the geometry changed.
#[test]
fn a_segment_in_use_that_changes_its_geometry() {
    let segment = TestSegment::new(0);
    let ring = &segment.ring;
    let crowd: [Subscriber<String>; 3] = [(); 3].map(|()| ring.subscriber().unwrap());
    let [.., mut last] = crowd;
    // As many entries as before, so as many bytes, but fewer of them for subscribers.
    segment.write(Word { offset: 40, width: 4 }, 5);
    segment.write(Word { offset: 44, width: 4 }, 1);
    match last.try_clone().unwrap_err() {
        OpenError::Corrupt { what: "the number of publishers", expected: 2, found: 5, .. } => {}
        error => panic!("{error}"),
    }
    assert!(matches!(last.try_recv(), Err(TryRecvError::Empty | TryRecvError::Closed)));
}

/// Shortening the file makes the kernel kill attached processes at their next access to a missing
/// page. The library cannot prevent it: objects of `shm_open` cannot be sealed.
#[test]
fn a_file_made_shorter_while_it_is_in_use() {
    let mut peer = Peer::start("attached-to-shrunk");
    assert!(peer.rest().is_some_and(|said| said == "attached"));
    assert_eq!(peer.rest(), None);
    assert_eq!(peer.wait().signal(), Some(rustix::process::Signal::BUS.as_raw()));
}

/// Runs a peer process of these tests.
pub(crate) fn play(name: &str, role: &Role) {
    match name {
        "attach-unprivileged" => {
            become_nobody();
            peer::say(&Ring::attach(&role.arguments[0]).unwrap_err().to_string());
        }
        "attached-to-shrunk" => {
            let named = Named::new();
            let ring = Ring::builder().capacity(4096).open(&named.0).unwrap();
            let (_inbox, mut outbox) = endpoints(&ring);
            let file = OpenOptions::new().write(true).open(object(&named.0)).unwrap();
            file.set_len(4096).unwrap();
            // Attaching from now on detects it; endpoints that are attached cannot.
            assert!(matches!(Ring::attach(&named.0), Err(OpenError::Corrupt { .. })));
            fs::remove_file(object(&named.0)).unwrap();
            peer::say("attached");
            let _ = outbox.try_send(&"lost".to_owned());
        }
        other => panic!("{other}"),
    }
}

fn become_nobody() {
    // SAFETY: changes the ids of this process only, a peer that does nothing else.
    let done = unsafe { libc::geteuid() != 0 || libc::setgid(65534) + libc::setuid(65534) == 0 };
    assert!(done);
}
