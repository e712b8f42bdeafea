//! Archives that were damaged in their slots, opened in every way that a subscriber has.
//!
//! A packet of the right size is published, its bytes in the slots are overwritten, then it is
//! received. Every way of opening must agree on whether it is sound, and what is sound must bear
//! being read, printed and unpacked.

use super::Choices;
use super::layout::{HEADER, SLOT, Word};
use super::stage::Object;
use super::types::{self, Any, Read};
use packetring::Subscriber;
use packetring::any::{AnyPublisher, AnySubscriber};
use packetring::packet::Unpack;
use packetring::{Overflow, Received, RecvError, Ring, TryRecvError, ValueError};
use std::cell::RefCell;
use std::fmt::Debug;
use std::hint::black_box;
use std::sync::atomic::{AtomicU32, Ordering};

/// Bytes of a ring: more than any archive here takes twice.
const CAPACITY: usize = 64 * 1024;
/// Longest archive that is tried.
const LONGEST: usize = 8 * 1024;

/// Runs one case. The first choice is the type, the second whether the rest is an archive, or a list
/// of damages to a real one.
pub(crate) fn run(data: &[u8]) {
    accepts(data);
}

/// Whether the archive of a case is sound.
pub(crate) fn accepts(data: &[u8]) -> bool {
    thread_local! {
        static LANES: RefCell<Vec<Option<Box<dyn Lane>>>> = RefCell::default();
    }
    LANES.with_borrow_mut(|lanes| {
        lanes.resize_with(TYPES, || None);
        let mut choices = Choices::new(data);
        let which = choices.below(TYPES);
        lanes[which].get_or_insert_with(|| lane(which)).run(choices)
    })
}

/// Types that there are lanes for.
pub(crate) const TYPES: usize = 11;

fn lane(which: usize) -> Box<dyn Lane> {
    match which {
        0 => Box::new(Typed::new(types::flat())),
        1 => Box::new(Typed::new(types::texts())),
        2 => Box::new(Typed::new(types::numbers())),
        3 => Box::new(Typed::new(types::lists())),
        4 => Box::new(Typed::new(types::nested())),
        5 => Box::new(Typed::new(types::trees())),
        6 => Box::new(Typed::new(types::chains())),
        7 => Box::new(Typed::new(types::tuples())),
        8 => Box::new(Typed::new(types::tails())),
        9 => Box::new(Typed::new(types::wide_tails())),
        _ => Box::new(Typed::new(types::maps())),
    }
}

/// The archives that damage starts from, each with the choices that lead to it as an image.
pub(crate) fn images() -> Vec<Vec<u8>> {
    let image = |which: usize, archive: &Vec<u8>| {
        let mut data = vec![which as u8, IMAGE];
        data.extend_from_slice(archive);
        data
    };
    let of = |which| lane(which).archives().iter().map(|a| image(which, a)).collect::<Vec<_>>();
    (0..TYPES).flat_map(of).collect()
}

/// The byte that chooses an image: the last of four.
const IMAGE: u8 = 3;

/// A ring for packets of one type.
trait Lane {
    fn run(&mut self, choices: Choices<'_>) -> bool;
    fn archives(&self) -> &[Vec<u8>];
}

struct Typed<T: Unpack> {
    _ring: Ring,
    object: Object,
    /// Publishes packets of bytes, which then become packets of a `T`.
    out: AnyPublisher,
    typed: Subscriber<T>,
    mixed: AnySubscriber,
    /// Archives of some values.
    archives: Vec<Vec<u8>>,
    bytes: Vec<u8>,
}

impl<T: Unpack + Debug> Typed<T>
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
        let (mixed, out) = (ring.any_subscriber().unwrap(), ring.any_publisher().unwrap());
        let object = Object::open(&name);
        let (archives, bytes) = (Vec::new(), Vec::new());
        let mut lane = Self { _ring: ring, object, out, typed, mixed, archives, bytes };
        lane.archives = values.iter().map(|value| lane.archive(value)).collect();
        lane
    }

    /// The archive of a value, as it lies in the slots.
    fn archive(&mut self, value: &T) -> Vec<u8> {
        let position = self.out.try_send(value).unwrap();
        let at = self.object.layout.slot(position);
        let len = self.object.read(Word { offset: at + 8, width: 4 });
        let archive = self.object.read_bytes(at + HEADER, len as usize);
        assert!(self.receive(0) && archive.len() <= LONGEST, "{value:?}");
        archive
    }

    /// Publishes these bytes as an archive of a `T`.
    fn publish(&mut self, archive: &[u8]) {
        let span = (archive.len() as u64 + HEADER).div_ceil(SLOT);
        // A list of bytes whose archive takes as many slots: the bytes, and a root of 8.
        let filler = (span * SLOT - HEADER) as usize - 8;
        self.bytes.resize(filler, 0);
        let position = self.out.try_send(&self.bytes).unwrap();
        let at = self.object.layout.slot(position);
        let mut whole = Vec::with_capacity(archive.len() + 8);
        whole.extend_from_slice(&(archive.len() as u64).to_le_bytes());
        whole.extend_from_slice(archive);
        self.object.write_bytes(at + 8, &whole);
    }

    /// Receives what was published in one of the ways, by all subscribers; whether it was sound.
    fn receive(&mut self, way: usize) -> bool {
        let sound = self.receive_typed(way % 5);
        let mail = self.mixed.try_recv().unwrap();
        // Every time would cost more than all else together.
        if way < 5 {
            let opened = is_sound(mail.open_as::<T>().map(|packet| read(packet, false)));
            let chosen = mail.open::<Any<'_>>();
            assert_eq!(opened, sound, "two subscribers disagree");
            assert!(opened == chosen.is_ok() || matches!(chosen, Ok(None)), "mail disagrees");
        }
        sound
    }

    fn receive_typed(&mut self, way: usize) -> bool {
        let sound = match way {
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
        is_sound(sound)
    }
}

impl<T: Unpack + Debug> Lane for Typed<T>
where
    T::Archived: Read,
{
    fn run(&mut self, mut choices: Choices<'_>) -> bool {
        let archive = if choices.below(4) == usize::from(IMAGE) {
            let image = choices.rest();
            // A hostile length within the same slots is as good as any: readers and publisher stay
            // together.
            let archive = image[..image.len().min(LONGEST)].to_vec();
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

/// Whether a packet was opened; how it was refused must be the one way.
fn is_sound<E: Into<TryRecvError>>(outcome: Result<(), E>) -> bool {
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

/// Changes an archive where pointers, lengths, tags and text are sensitive, or its length.
fn damage(archive: &mut Vec<u8>, choices: &mut Choices<'_>) {
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
