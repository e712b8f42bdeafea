//! A process is killed while it registers a type or frees those of others. No packet is
//! taken for one of another type, and the table has room for as many types as before.

use super::process::{Process, State, Stop};
use crate::channel::SendFailure;
use crate::channel::tests::types::{receives, send};
use crate::failpoint::Failpoint;
use crate::{Ring, SendError};

/// Versions that a peer sends if it is not killed before: more than a table has entries.
const PEERS: u32 = 140;
const ALL: u32 = 300;

const STEPS: [Failpoint; 5] = [
    Failpoint::TypeFree,
    Failpoint::TypeWrite,
    Failpoint::TypeCount,
    Failpoint::JoinType,
    Failpoint::TypeUse,
];

/// The peer's side: each version has a publisher of its own.
pub(super) fn register_all(name: &str) {
    let ring = Ring::attach(name).unwrap();
    for number in 0..PEERS {
        while let Err(error) = send(&ring, number) {
            // So many wait for the reader.
            let is_full = matches!(error, SendFailure::Error(SendError::TooManyTypes(_)));
            assert!(is_full);
            std::thread::yield_now();
        }
    }
}

/// Returns true if the peer was killed.
fn run(step: Failpoint, nth: usize) -> bool {
    let name = format!("types-{}-{step:?}-{nth}", std::process::id());
    let ring = Ring::builder().capacity(64 * 1024).stays_open(true).open(&name).unwrap();
    let mut reader = ring.any_subscriber().unwrap();
    let mut peer = Process::start(&format!("types {name}"), Some(Stop::kill(step, nth)));
    let mut next = 0;
    // It reads meanwhile, so that types become unused, and it has a cache.
    loop {
        let is_over = peer.state() != State::Running;
        while receives(&mut reader, next) {
            next += 1;
        }
        if is_over {
            break;
        }
    }
    // The version that the dead was registering comes first.
    for number in next..ALL {
        send(&ring, number).map_err(drop).unwrap();
        assert!(receives(&mut reader, number), "{name}: version {number} is not there");
    }
    for found in ring.types() {
        let number: u32 = found.name.strip_prefix("Version").unwrap().parse().unwrap();
        assert!(number < ALL && found.schema == "{}", "{name}: {found:?}");
    }
    peer.state() == State::Killed
}

#[test]
fn a_process_is_killed_at_each_step_of_a_registration() {
    for step in STEPS {
        let nths: &[usize] = if step == Failpoint::TypeFree { &[1, 2] } else { &[1, 64, 65, 100] };
        for &nth in nths {
            assert!(run(step, nth), "{step:?} was not reached {nth} times");
        }
    }
}
