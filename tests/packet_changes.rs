//! Values that change while they are sent: an archive is that of one value, or sending fails.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

use std::{
    convert::Infallible,
    sync::{
        Mutex, RwLock,
        atomic::{AtomicU32, Ordering},
    },
};

use packetring::{
    Received, Ring, SendError, packet,
    with::{AtomicLoad, Conversion, Lock, Relaxed, Via},
};

#[packet]
#[derive(Clone, Debug, PartialEq)]
enum State {
    Idle(u64),
    Busy { name: String, since: u64 },
}

const IDLE: State = State::Idle(1);

fn busy() -> State {
    State::Busy { name: String::from("a name that is out of line"), since: 2 }
}

/// The field `changes` changes the fields before it after they were serialized.
#[packet]
struct Shared {
    #[rkyv(with = Lock)]
    mutex: Mutex<State>,
    #[rkyv(with = Lock)]
    lock: RwLock<State>,
    #[rkyv(with = AtomicLoad<Relaxed>)]
    count: AtomicU32,
    #[rkyv(with = Via<Change>)]
    changes: (),
}

static SHARED: Shared = Shared {
    mutex: Mutex::new(IDLE),
    lock: RwLock::new(IDLE),
    count: AtomicU32::new(0),
    changes: (),
};

/// Makes idle states busy, and busy ones idle.
struct Change;

impl Conversion<()> for Change {
    type Packet = u8;
    type Error = Infallible;

    fn to_packet((): &()) -> Result<u8, Infallible> {
        let next = |state: &State| if *state == IDLE { busy() } else { IDLE };
        let mut mutex = SHARED.mutex.lock().unwrap();
        *mutex = next(&mutex);
        let mut lock = SHARED.lock.write().unwrap();
        *lock = next(&lock);
        SHARED.count.fetch_add(1, Ordering::Relaxed);
        Ok(7)
    }

    fn from_packet(_: u8) -> Result<(), Infallible> {
        Ok(())
    }
}

#[test]
fn a_value_that_changes_after_it_was_serialized_is_sent_as_it_was() {
    let ring = Ring::builder().heap().unwrap();
    let mut out = ring.publisher::<Shared>().unwrap();
    let mut all = ring.subscriber::<Shared>().unwrap();
    let mut set = |mutex: State, lock: State| {
        *SHARED.mutex.lock().unwrap() = mutex;
        *SHARED.lock.write().unwrap() = lock;
        out.send(&SHARED)
    };
    // Measuring changes both states, so writing sees the opposite ones. These are of equal length,
    // taken together.
    set(IDLE, busy()).unwrap();
    let sent = Received::unpack(all.recv().unwrap()).unwrap();
    assert_eq!(*sent.mutex.lock().unwrap(), busy());
    assert_eq!(*sent.lock.read().unwrap(), IDLE);
    // Here the length differs.
    assert!(matches!(set(IDLE, IDLE), Err(SendError::Unserializable(_))));
    assert!(matches!(set(busy(), busy()), Err(SendError::Unserializable(_))));
}
