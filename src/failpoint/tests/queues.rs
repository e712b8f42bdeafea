//! A member of a work queue is killed, or frozen, at each step; another goes on.
//!
//! Each notes the number of a packet, where a kill leaves it, before it acknowledges it. So afterwards
//! every packet that was published must have been noted, and by both only the one that the dead one
//! noted and did not acknowledge: that one came flagged.

use super::process::{GENEROUS, Process, State, Stop};
use super::scenario::{self, Case};
use crate::channel::GroupReceiver;
use crate::channel::join::{self, Types};
use crate::channel::{Delivery, QueueConsumer};
use crate::ring::gate::PIN;
use crate::ring::queue_guard::ConsumerEndpoint;
use crate::segment::layout::NOWHERE;
use crate::sync::Ordering;
use crate::wait::Timeout;
use crate::{Packet, Publisher, RecvTimeoutError, Ring, TrySendError, Wait};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::sync::Mutex;
use std::time::{Duration, Instant};

const SHORT: Duration = Duration::from_millis(5);
/// Packets that the peer handles if it lives to do so.
const OWN: usize = 60;
/// Packets that are published while it lives, at most, and those after.
const MEANWHILE: u64 = 400;
const AFTER: u64 = 100;

#[crate::packet]
struct Errand {
    number: u64,
    bytes: Vec<u8>,
}

fn errand(number: u64) -> Errand {
    Errand { number, bytes: vec![number as u8; number as usize * 37 % 300] }
}

fn check(errand: &ArchivedErrand) -> u64 {
    let number = errand.number.to_native();
    assert_eq!(errand.bytes.len() as u64, number * 37 % 300, "{number} is torn");
    assert!(errand.bytes.iter().all(|&byte| byte == number as u8), "{number} is torn");
    number
}

fn member(ring: &Ring) -> QueueConsumer<Errand> {
    let wait = Wait::park().spin_for(Duration::ZERO);
    let (taker, index) = join::consumer(ring.segment(), &Types::One(&Errand::TYPE), wait).unwrap();
    QueueConsumer::new(taker, index)
}

/// Where the peer notes what it has done.
fn notes(name: &str) -> std::path::PathBuf {
    std::env::temp_dir().join(format!("packetring-{name}-notes"))
}

/// The peer's side.
pub(super) fn work(ring: &Ring, name: &str) {
    let mut notes = OpenOptions::new().create(true).append(true).open(notes(name)).unwrap();
    let mut own = member(ring);
    // Of another it takes over what that one pinned; of itself, what it left for others.
    leave_a_pin(ring, &mut own.taker);
    handle(&mut own, &mut notes, 1);
    if own.taker.take(Timeout::After(GENEROUS)).is_ok() {
        own.taker.nack();
        own.taker.ask();
    }
    handle(&mut own, &mut notes, OWN);
    let mut leaving = member(ring);
    let _ = leaving.try_recv();
    drop((leaving, own));
}

/// Handles so many packets, or as many as there are.
fn handle(own: &mut QueueConsumer<Errand>, notes: &mut File, count: usize) {
    for _ in 0..count {
        let Ok(errand) = own.recv_timeout(Duration::from_secs(1)) else { return };
        let number = check(&errand) << 1 | u64::from(Delivery::info(&errand).redelivered);
        // One call, so that a kill leaves all of it or nothing.
        notes.write_all(&number.to_le_bytes()).unwrap();
        Delivery::ack(errand);
    }
}

/// Takes off what another member left pinned, in a ring where nobody else does.
pub(super) fn take_a_pin_off(ring: &Ring) {
    leave_a_pin(ring, &mut member(ring).taker);
}

/// Another member is killed with the pin, as it seems; this one takes it off, unless somebody else
/// does.
fn leave_a_pin(ring: &Ring, own: &mut GroupReceiver) {
    let other = member(ring).taker;
    let memory = other.group.memory.clone();
    let (shared, hand) =
        (&memory.subscribers()[0].cursor, &memory.subscribers()[other.group.entry].cursor);
    loop {
        let at = shared.load(Ordering::Acquire) & !PIN;
        hand.store(at | PIN, Ordering::Release);
        if shared.compare_exchange(at, at | PIN, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
            hand.store(at, Ordering::Release);
            break;
        }
        hand.store(NOWHERE, Ordering::Release);
    }
    other.endpoint.release_liveness();
    // Its entry may be another's from here on: it is not dropped, and stays where it can be found.
    static DEAD: Mutex<Vec<GroupReceiver>> = Mutex::new(Vec::new());
    DEAD.lock().unwrap().push(other);
    while shared.load(Ordering::Acquire) & PIN != 0 && !own.ask() {}
}

/// The one that goes on.
struct Crew {
    name: String,
    publisher: Publisher<Errand>,
    member: QueueConsumer<Errand>,
    sent: u64,
    /// What it handled, and whether that was flagged.
    handled: BTreeMap<u64, bool>,
}

impl Crew {
    fn new(ring: &Ring, name: &str) -> Self {
        let (publisher, member) = (ring.publisher().unwrap(), member(ring));
        Self { name: name.to_owned(), publisher, member, sent: 0, handled: BTreeMap::new() }
    }

    /// Publishes one packet if there is room; `false`: there is none.
    fn publish(&mut self) -> bool {
        let outcome = self.publisher.try_send(&errand(self.sent));
        match &outcome {
            Ok(_) => self.sent += 1,
            Err(TrySendError::Full { .. }) => {}
            Err(error) => panic!("{}: {error}", self.name),
        }
        outcome.is_ok()
    }

    /// Handles one packet if one comes in time.
    fn handle(&mut self, timeout: Duration) {
        match self.member.recv_timeout(timeout) {
            Ok(errand) => {
                let (number, flagged) = (check(&errand), Delivery::info(&errand).redelivered);
                let before = self.handled.insert(number, flagged);
                assert_eq!(before, None, "{}: {number} was acknowledged", self.name);
                Delivery::ack(errand);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(error) => panic!("{}: {error}", self.name),
        }
    }

    /// Publishes, and leaves most of it to the peer, while that runs. What is left to it must not
    /// run out before it has had its part.
    fn go_on(&mut self, peer: &mut Process) {
        let mut refused = 0_u32;
        while peer.state() == State::Running {
            let is_published = self.sent < MEANWHILE && self.publish();
            if !is_published {
                refused += 1;
                std::thread::sleep(Duration::from_micros(200));
            }
            if is_published && self.sent.is_multiple_of(8) || refused == 8 {
                refused = 0;
                self.handle(Duration::from_millis(1));
            }
        }
    }

    /// Handles all that is left, and checks that nothing is lost. Returns what both handled.
    fn finish(&mut self) -> BTreeSet<u64> {
        let noted = std::fs::read(notes(&self.name)).unwrap_or_default();
        let noted = noted.as_chunks::<8>().0.iter().map(|&word| u64::from_le_bytes(word));
        let noted: BTreeMap<u64, bool> = noted.map(|word| (word >> 1, word & 1 == 1)).collect();
        let (end, started) = (self.sent + AFTER, Instant::now());
        while self.sent < end || !self.is_complete(&noted) {
            if self.sent < end {
                self.publish();
            }
            self.handle(SHORT);
            assert!(started.elapsed() < GENEROUS, "{}: a packet is lost", self.name);
        }
        // Nothing comes any more.
        self.handle(SHORT);
        let both = self.handled.iter().filter(|(number, _)| noted.contains_key(number));
        for (number, flagged) in both.clone() {
            assert!(*flagged || noted[number], "{}: {number} came unflagged", self.name);
        }
        both.map(|(number, _)| *number).collect()
    }

    fn is_complete(&self, noted: &BTreeMap<u64, bool>) -> bool {
        (0..self.sent)
            .all(|number| self.handled.contains_key(&number) || noted.contains_key(&number))
    }
}

/// The peer is killed; `true`: it came to the step.
pub(super) fn survive(stop: Stop) -> bool {
    let (name, ring, mut crew) = begin("kill", stop);
    let mut peer = scenario::start(&name, Case::Grouped, stop);
    crew.go_on(&mut peer);
    let both = crew.finish();
    assert!(both.len() <= 1, "{name}: {both:?} came twice");
    end(&name, crew, ring);
    peer.state() == State::Killed
}

/// The peer is frozen and thawed; `true`: it came to the step.
pub(super) fn outlast(stop: Stop) -> bool {
    let (name, ring, mut crew) = begin("freeze", stop);
    let mut peer = scenario::start(&name, Case::Grouped, stop);
    crew.go_on(&mut peer);
    let was_frozen = peer.state() == State::Frozen;
    if was_frozen {
        for _ in 0..10 {
            crew.publish();
            crew.handle(SHORT);
        }
        peer.thaw();
    }
    while matches!(peer.state(), State::Running | State::Frozen) {
        crew.publish();
        crew.handle(SHORT);
    }
    assert_eq!(peer.state(), State::Finished);
    assert_eq!(crew.finish(), BTreeSet::new(), "{name}: came twice, and nobody died");
    end(&name, crew, ring);
    was_frozen
}

fn begin(how: &str, stop: Stop) -> (String, Ring, Crew) {
    let name = format!("{how}-{}-Grouped-{:?}-{}", std::process::id(), stop.step, stop.nth);
    let ring = Case::Grouped.builder().open(&name).unwrap();
    let crew = Crew::new(&ring, &name);
    (name, ring, crew)
}

fn end(name: &str, crew: Crew, ring: Ring) {
    drop((crew, ring));
    scenario::assert_gone(name);
    let _ = std::fs::remove_file(notes(name));
}
