//! Opens packets as one of several types.

use super::Archive;
use crate::{
    one_of, packet,
    packet::{Fingerprint, Invalid, OneOf, Packet},
};

#[packet]
struct Job {
    name: String,
}

#[packet]
struct Halt;

/// An order for a worker.
#[one_of]
#[derive(Clone)]
enum Work {
    /// A job.
    Job(Job),
    Halt(Halt),
    Numbers(Vec<u32>),
}

/// A packet with its fingerprint, as a subscriber of any type gets it.
struct Fingerprinted {
    fingerprint: Fingerprint,
    archive: Archive,
}

impl Fingerprinted {
    fn of<T: Packet>(value: &T) -> Self {
        Self { fingerprint: T::TYPE.fingerprint, archive: Archive::of(value).unwrap() }
    }

    fn open<'a, W: OneOf<'a>>(&'a self) -> Result<Option<W>, Invalid> {
        W::open(self.fingerprint, self.archive.bytes())
    }
}

fn described(packet: &Fingerprinted) -> Result<String, Invalid> {
    Ok(match packet.open()? {
        Some(Work::Job(job)) => format!("job {}", job.name),
        Some(Work::Halt(_)) => String::from("halt"),
        Some(Work::Numbers(numbers)) => format!("{} numbers", numbers.len()),
        None => String::from("unknown"),
    })
}

#[test]
fn the_fingerprint_selects_the_variant() {
    let job = Job { name: String::from("dig") };
    assert_eq!(described(&Fingerprinted::of(&job)).unwrap(), "job dig");
    assert_eq!(described(&Fingerprinted::of(&Halt)).unwrap(), "halt");
    assert_eq!(described(&Fingerprinted::of(&vec![1_u32, 2])).unwrap(), "2 numbers");
    assert_eq!(described(&Fingerprinted::of(&vec![1_u64, 2])).unwrap(), "unknown");
}

#[test]
fn the_type_can_be_named_without_its_lifetime() {
    let packet = Fingerprinted::of(&Halt);
    let work = packet.open::<Work>().unwrap();
    let copy = work;
    assert!(matches!((work, copy), (Some(Work::Halt(_)), Some(Work::Halt(_)))));
}

#[test]
fn bytes_are_checked_as_the_selected_type() {
    let mut packet = Fingerprinted::of(&Job { name: String::from("a name out of line") });
    let root = packet.archive.bytes().len() - 8;
    packet.archive.bytes_mut()[root + 4..].copy_from_slice(&1000_i32.to_le_bytes());
    assert!(packet.open::<Work>().is_err());
    let explanation = Work::explain(packet.fingerprint, packet.archive.bytes());
    assert!(explanation.contains("subtree pointer overran range"), "{explanation}");
}

#[test]
fn types_are_listed_in_order() {
    let names: Vec<_> = Work::TYPES.iter().map(|info| info.name).collect();
    assert_eq!(names, ["Job", "Halt", "Vec<u32>"]);
}
