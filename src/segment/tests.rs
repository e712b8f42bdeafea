//! Locks of entries: one value for each lock.

use super::Segment;
use super::entry::EntryId;
use super::name::Name;
use super::settings::Settings;
use crate::sys::lock::LockLimit;

#[test]
fn an_entry_is_locked_once() {
    let name = Name::new(&format!("entry-lock-{}", std::process::id())).unwrap();
    let settings = Settings::default();
    let mapped = Segment::open(&name, &settings, &LockLimit::default()).unwrap();
    for segment in [mapped, Segment::heap(&settings).unwrap()] {
        let other = segment.another().unwrap();
        let entry = EntryId::Subscriber(1);
        assert!(segment.lock_entry(entry).unwrap().is_some());
        assert!(segment.lock_entry(entry).unwrap().is_none(), "two endpoints of one entry");
        assert!(other.lock_entry(entry).unwrap().is_none(), "two endpoints of one entry");
        assert!(segment.is_alive(entry) && other.is_alive(entry), "its owner lives");
        assert!(!segment.is_alive(EntryId::Publisher(1)), "the entry of the other side is free");
        segment.release_liveness(entry);
        assert!(!segment.is_alive(entry) && !other.is_alive(entry), "its owner left");
        assert!(other.lock_entry(entry).unwrap().is_some(), "the entry is free again");
        assert!(segment.is_alive(entry), "the next owner lives");
    }
}

/// The last process of a name waits for owners of other attachments, and not for its own.
#[test]
fn an_own_entry_is_no_living_owner_elsewhere() {
    let name = Name::new(&format!("entry-own-{}", std::process::id())).unwrap();
    let segment = Segment::open(&name, &Settings::default(), &LockLimit::default()).unwrap();
    assert!(segment.lock_entry(EntryId::Publisher(0)).unwrap().is_some());
    assert!(!segment.has_living_owner());
    assert!(segment.another().unwrap().has_living_owner());
}
