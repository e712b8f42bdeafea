//! Archives that were damaged in their slots, opened by every receive operation.
//!
//! A packet of matching size is published, its bytes in the slots are overwritten, then it is
//! received. All ways of opening must agree on whether the archive is valid. A valid archive must
//! be readable, printable and unpackable.

use super::Choices;
use super::layout::{HEADER, SLOT, Word};
use super::segment::Object;
use super::types::{self, Any, Read, TYPES, of_type};
use packetring::Subscriber;
use packetring::any::{AnyPublisher, AnySubscriber};
use packetring::packet::Unpack;
use packetring::{Overflow, Received, RecvError, Ring, TryRecvError, ValueError};
use std::cell::RefCell;
use std::fmt::Debug;
use std::hint::black_box;
use std::sync::atomic::{AtomicU32, Ordering};

/// Capacity of the ring in bytes: more than twice the largest archive.
const CAPACITY: usize = 64 * 1024;
/// Limit of the archive length.
const MAX_ARCHIVE: usize = 8 * 1024;

/// Runs one case. The first choice is the type. The second one decides whether the rest is an
/// archive, or a list of damages to a real one.
pub(crate) fn run(data: &[u8]) {
    accepts(data);
}

/// Returns true if the archive of a case is valid.
pub(crate) fn accepts(data: &[u8]) -> bool {
    thread_local! {
        static TESTERS: RefCell<Vec<Option<Box<dyn Tester>>>> = RefCell::default();
    }
    TESTERS.with_borrow_mut(|testers| {
        testers.resize_with(TYPES, || None);
        let mut choices = Choices::new(data);
        let which = choices.below(TYPES);
        testers[which].get_or_insert_with(|| tester(which)).run(choices)
    })
}

fn tester(which: usize) -> Box<dyn Tester> {
    of_type!(which, TypedTester::new)
}

/// Real archives, each prefixed by the choices that select it as an image.
pub(crate) fn images() -> Vec<Vec<u8>> {
    let image = |which: usize, archive: &Vec<u8>| {
        let mut data = vec![which as u8, IMAGE];
        data.extend_from_slice(archive);
        data
    };
    let of = |which| tester(which).archives().iter().map(|a| image(which, a)).collect::<Vec<_>>();
    (0..TYPES).flat_map(of).collect()
}

/// The choice that selects an image: the last of four.
pub(crate) const IMAGE: u8 = 3;

/// A ring for packets of a type.
trait Tester {
    fn run(&mut self, choices: Choices<'_>) -> bool;
    fn archives(&self) -> &[Vec<u8>];
}

struct TypedTester<T: Unpack> {
    _ring: Ring,
    object: Object,
    /// Publishes packets of bytes, which are then turned into packets of a `T`.
    publisher: AnyPublisher,
    typed: Subscriber<T>,
    any: AnySubscriber,
    /// Archives of the sample values.
    archives: Vec<Vec<u8>>,
    bytes: Vec<u8>,
}

impl<T: Unpack + Debug> TypedTester<T>
where
    T::Archived: Read,
{
    fn new(values: Vec<T>) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("hostile-packet-{}-{number}", std::process::id());
        let settings = Ring::builder().capacity(CAPACITY).overflow(Overflow::Block);
        let ring = settings.max_publishers(2).max_subscribers(2).open(&name).unwrap();
        // The first type of a ring has index 0.
        let typed = ring.subscriber::<T>().unwrap();
        let (any, publisher) = (ring.any_subscriber().unwrap(), ring.any_publisher().unwrap());
        let object = Object::open(&name);
        let (archives, bytes) = (Vec::new(), Vec::new());
        let mut tester = Self { _ring: ring, object, publisher, typed, any, archives, bytes };
        tester.archives = values.iter().map(|value| tester.archive(value)).collect();
        tester
    }

    /// Returns the archive of a value, as it is stored in the slots.
    fn archive(&mut self, value: &T) -> Vec<u8> {
        let position = self.publisher.try_send(value).unwrap();
        let at = self.object.layout.slot(position);
        let len = self.object.read(Word { offset: at + 8, width: 4 });
        let archive = self.object.read_bytes(at + HEADER, len as usize);
        assert!(self.receive(0) && archive.len() <= MAX_ARCHIVE, "{value:?}");
        archive
    }

    /// Publishes these bytes as an archive of a `T`.
    fn publish(&mut self, archive: &[u8]) {
        let span = (archive.len() as u64 + HEADER).div_ceil(SLOT);
        // A byte list whose archive has an equal number of slots: the bytes, and a root of 8.
        let filler = (span * SLOT - HEADER) as usize - 8;
        self.bytes.resize(filler, 0);
        let position = self.publisher.try_send(&self.bytes).unwrap();
        let at = self.object.layout.slot(position);
        let mut whole = Vec::with_capacity(archive.len() + 8);
        whole.extend_from_slice(&(archive.len() as u64).to_le_bytes());
        whole.extend_from_slice(archive);
        self.object.write_bytes(at + 8, &whole);
    }

    /// Receives the packet with all subscribers, in the given way. Returns true if it was valid.
    fn receive(&mut self, way: usize) -> bool {
        let valid = self.receive_typed(way % 5);
        let packet = self.any.try_recv().unwrap();
        // Not every time, because it costs more than the rest.
        if way < 5 {
            let opened = is_valid(packet.open_as::<T>().map(|packet| read(packet, false)));
            let chosen = packet.open::<Any<'_>>();
            assert_eq!(opened, valid, "typed and any-type subscribers disagree");
            assert!(
                opened == chosen.is_ok() || matches!(chosen, Ok(None)),
                "AnyReceived::open and open_as disagree"
            );
        }
        valid
    }

    fn receive_typed(&mut self, way: usize) -> bool {
        let valid = match way {
            0 => self.typed.try_recv().map(|packet| {
                read(&*packet, false);
                let _ = black_box(Received::unpack(packet));
            }),
            1 => self.typed.try_recv_copied().map(|packet| {
                read(&*packet, false);
                let _ = black_box(packetring::Copied::unpack(packet));
            }),
            2 => self.typed.try_drain().map(|batch| batch.iter().for_each(|one| read(one, false))),
            3 => self.typed.try_recv_where(|_| true).map(|packet| read(&*packet, true)),
            _ => {
                return match self.typed.values().next().unwrap() {
                    // A `with` wrapper may refuse a valid packet.
                    Ok(_) | Err(ValueError::Unpack(_)) => true,
                    Err(ValueError::Recv(RecvError::Corrupt(what))) => {
                        assert!(!what.to_string().is_empty());
                        false
                    }
                    Err(error) => panic!("{error:?}"),
                };
            }
        };
        is_valid(valid)
    }
}

impl<T: Unpack + Debug> Tester for TypedTester<T>
where
    T::Archived: Read,
{
    fn run(&mut self, mut choices: Choices<'_>) -> bool {
        let archive = if choices.below(4) == usize::from(IMAGE) {
            let image = choices.rest();
            // The length always matches the slots, so that publisher and readers stay in step.
            let archive = image[..image.len().min(MAX_ARCHIVE)].to_vec();
            choices = Choices::new(&[]);
            archive
        } else {
            let mut archive = self.archives[choices.below(self.archives.len())].clone();
            for _ in 0..1 + choices.below(4) {
                damage(&mut archive, &mut choices);
            }
            archive
        };
        self.publish(&archive);
        self.receive(choices.below(20))
    }

    fn archives(&self) -> &[Vec<u8>] {
        &self.archives
    }
}

/// Returns true if a packet was opened. A refusal must be the one error.
fn is_valid<E: Into<TryRecvError>>(outcome: Result<(), E>) -> bool {
    match outcome.map_err(Into::into) {
        Ok(()) => true,
        Err(TryRecvError::Corrupt(what)) => {
            assert!(!what.to_string().is_empty());
            false
        }
        Err(error) => panic!("{error:?}"),
    }
}

fn read<A: Read>(packet: &A, in_full: bool) {
    packet.read();
    if in_full {
        black_box(packet.print());
    }
}

/// Damages an archive at pointers, lengths, tags and text, or changes its length.
pub(crate) fn damage(archive: &mut Vec<u8>, choices: &mut Choices<'_>) {
    let len = archive.len();
    if len == 0 {
        return;
    }
    let at = choices.below(len);
    match choices.below(10) {
        0 | 1 => archive[at] ^= 1 << choices.below(8),
        2 => archive[at] = choices.pick(&[0, 1, 2, 0x7f, 0x80, 0xc0, 0xed, 0xff]),
        3 => archive[at] = choices.word() as u8,
        4 => archive.truncate(at),
        5 => archive.resize(len + choices.below(64), choices.pick(&[0, 1, 0xff])),
        6 => {
            let from = choices.below(len);
            let count = choices.pick(&[4, 8, 16]).min(len - at).min(len - from);
            archive.copy_within(from..from + count, at);
        }
        _ => {
            let word = match choices.below(3) {
                0 => choices.step() as i32,
                1 => choices.pick(&[i32::MIN, i32::MAX, -(at as i32), (len - at) as i32]),
                _ => choices.step() as i32 * 4,
            };
            if let Some(place) = archive.get_mut(at & !3..(at & !3) + 4) {
                place.copy_from_slice(&word.to_le_bytes());
            }
        }
    }
}
