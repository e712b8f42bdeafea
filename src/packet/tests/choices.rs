//! Opening a packet as one of several types.

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

/// What a worker is told.
#[one_of]
#[derive(Clone)]
enum Work {
    /// To do.
    Job(Job),
    Halt(Halt),
    Numbers(Vec<u32>),
}

/// As a mail would offer it.
struct AnyReceived {
    fingerprint: Fingerprint,
    archive: Archive,
}

impl AnyReceived {
    fn of<T: Packet>(value: &T) -> Self {
        Self { fingerprint: T::TYPE.fingerprint, archive: Archive::of(value).unwrap() }
    }

    fn open<'a, W: OneOf<'a>>(&'a self) -> Result<Option<W>, Invalid> {
        W::open(self.fingerprint, self.archive.bytes())
    }
}

fn described(mail: &AnyReceived) -> Result<String, Invalid> {
    Ok(match mail.open()? {
        Some(Work::Job(job)) => format!("job {}", job.name),
        Some(Work::Halt(_)) => String::from("halt"),
        Some(Work::Numbers(numbers)) => format!("{} numbers", numbers.len()),
        None => String::from("unknown"),
    })
}

#[test]
fn the_fingerprint_decides() {
    assert_eq!(described(&AnyReceived::of(&Job { name: String::from("dig") })).unwrap(), "job dig");
    assert_eq!(described(&AnyReceived::of(&Halt)).unwrap(), "halt");
    assert_eq!(described(&AnyReceived::of(&vec![1_u32, 2])).unwrap(), "2 numbers");
    assert_eq!(described(&AnyReceived::of(&vec![1_u64, 2])).unwrap(), "unknown");
}

#[test]
fn the_type_can_be_named_without_its_lifetime() {
    let mail = AnyReceived::of(&Halt);
    let work = mail.open::<Work>().unwrap();
    let copy = work;
    assert!(matches!((work, copy), (Some(Work::Halt(_)), Some(Work::Halt(_)))));
}

#[test]
fn bytes_are_checked_as_the_type_named() {
    let mut mail = AnyReceived::of(&Job { name: String::from("a name out of line") });
    let root = mail.archive.bytes().len() - 8;
    mail.archive.bytes_mut()[root + 4..].copy_from_slice(&1000_i32.to_le_bytes());
    assert!(mail.open::<Work>().is_err());
    let explanation = Work::explain(mail.fingerprint, mail.archive.bytes());
    assert!(explanation.contains("subtree pointer overran range"), "{explanation}");
}

#[test]
fn types_are_listed_in_order() {
    let names: Vec<_> = Work::TYPES.iter().map(|info| info.name).collect();
    assert_eq!(names, ["Job", "Halt", "Vec<u32>"]);
}
