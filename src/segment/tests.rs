//! Locks of entries: one value for each lock. Pages that are cut off. Also a damage for tests of
//! other modules.

use super::Segment;
use super::entry::EntryId;
use super::name::Name;
use super::settings::Settings;
use crate::error::OpenError;
use crate::sync::Ordering;
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

#[test]
fn pages_that_another_process_cut_off_are_an_error() {
    let name = Name::new(&format!("cut-{}", std::process::id())).unwrap();
    let mut segment = Segment::open(&name, &Settings::default(), &LockLimit::default()).unwrap();
    segment.set_populate(Some(true));
    let path = crate::sys::shm::path(&name.object());
    let object = std::fs::File::options().write(true).open(&path).unwrap();
    let len = object.metadata().unwrap().len();
    object.set_len(1 << 20).unwrap();
    let error = segment.populate(false).unwrap_err();
    let OpenError::Corrupt { what: "the length of the object", expected, found, .. } = error else {
        panic!("{error}")
    };
    assert_eq!((expected, found), (len, 1 << 20));
    object.set_len(len).unwrap();
    segment.populate(false).unwrap();
}

impl Segment {
    /// Damages the event of an entry so that it cannot be opened. Publishers' events come first.
    pub(crate) fn damage_event(&self, index: usize) {
        let room = self.parts().event(index);
        // SAFETY: an event of this segment, which nothing else uses in the tests that do this.
        unsafe { room.as_ptr().write_bytes(0xff, crate::sys::event::ROOM) };
    }
}

#[test]
fn a_segment_that_was_made_anew_in_the_same_object_counts_as_removed() {
    let name = Name::new(&format!("passive-anew-{}", std::process::id())).unwrap();
    let segment = Segment::open(&name, &Settings::default(), &LockLimit::default()).unwrap();
    let seen = super::PassiveSegment::open(&name).unwrap();
    assert!(!seen.is_removed(&name));
    // Another user's object is not unlinked: the next process that opens the name makes it anew.
    let salt = &segment.memory().head().identity.salt;
    salt.store(salt.load(Ordering::Relaxed) ^ 1, Ordering::Relaxed);
    assert!(seen.is_removed(&name), "the salt is another one's");
}
