//! Of several who leave at once one removes the ring, also where none of them has its lock in time.

use super::life;
use super::process::{Process, State, Stop};
use crate::Ring;
use crate::steps::Step;

/// The peer's side.
pub(super) fn leave(name: &str) {
    drop(Ring::attach(name).unwrap());
}

#[test]
fn who_gives_the_lock_back_removes_what_others_could_not() {
    let name = format!("leaving-{}", std::process::id());
    let ring = Ring::builder().capacity(1024).open(&name).unwrap();
    let stop = Some(Stop::freeze(Step::DetachUnlock, 1));
    let mut leaving = Process::start(&format!("leave {name}"), stop);
    // It has found this one attached, and holds the lock.
    assert_eq!(leaving.settle(), State::Frozen);
    drop(ring);
    leaving.thaw();
    assert_eq!(leaving.settle(), State::Finished);
    life::assert_gone(&name);
}
