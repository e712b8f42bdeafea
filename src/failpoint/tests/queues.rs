//! A consumer of a queue is killed or frozen at each failpoint, and another one continues.
//!
//! Each consumer notes a packet's number in a file before it acknowledges the packet. Afterwards
//! every published packet must be noted. Only one packet may be noted by both consumers: the dead
//! one noted it and did not acknowledge it. Its second delivery is flagged.

use super::process::{GENEROUS, Process, State, Stop};
use super::scenario::{self, Case};
use crate::channel::GroupReceiver;
use crate::channel::join::{self, Types};
use crate::channel::{
    DeadLetter, DeadLetters, Delivery, HoldsPacket, QueueConsumer, RecvFailure, Waitable,
};
use crate::packet;
use crate::ring::cursor::Cursor;
use crate::ring::gate::PIN;
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
/// Packets that the peer handles if it is not stopped before.
const OWN: usize = 60;
/// Most packets that are published while the peer lives, and packets that are published after.
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

fn consumer(ring: &Ring) -> QueueConsumer<Errand> {
    let wait = Wait::park().spin_for(Duration::ZERO);
    let (receiver, index) =
        join::consumer(ring.segment(), &Types::One(&Errand::TYPE), wait).unwrap();
    QueueConsumer::new(receiver, index)
}

/// The file of the peer's notes.
fn notes(name: &str) -> std::path::PathBuf {
    std::env::temp_dir().join(format!("packetring-{name}-notes"))
}

/// The peer's side.
pub(super) fn work(ring: &Ring, name: &str) {
    let mut notes = OpenOptions::new().create(true).append(true).open(notes(name)).unwrap();
    let mut own = consumer(ring);
    // It clears another consumer's pin, and adopts a packet that it nacked itself.
    leave_a_pin(ring, &mut own.receiver);
    handle(&mut own, &mut notes, 1);
    if own.receiver.take::<RecvFailure>(Timeout::After(GENEROUS)).is_ok() {
        own.receiver.nack();
        own.receiver.reap_dead();
    }
    give_up(&mut own, &notes);
    handle(&mut own, &mut notes, OWN);
    let mut leaving = consumer(ring);
    let _ = leaving.try_recv();
    drop((leaving, own));
}

/// Gives a packet up after one delivery. Its number is noted as its dead letter.
fn give_up(own: &mut QueueConsumer<Errand>, notes: &File) {
    let mut notes = notes.try_clone().unwrap();
    let send = move |letter: &DeadLetter<'_>| {
        let number = check(packet::validate::<Errand>(letter.archive).unwrap());
        notes.write_all(&(number << 1 | 1).to_le_bytes()).unwrap();
        true
    };
    own.receiver.set_dead_letters(Some(DeadLetters { max_deliveries: 1, send: Box::new(send) }));
    if own.receiver.take::<RecvFailure>(Timeout::After(GENEROUS)).is_ok() {
        // Put back by the next receive, which gives it up.
        own.receiver.release();
        let _ = own.receiver.has_next();
    }
    own.receiver.set_dead_letters(None);
}

/// Handles `count` packets, or all that arrive.
fn handle(own: &mut QueueConsumer<Errand>, notes: &mut File, count: usize) {
    for _ in 0..count {
        let Ok(errand) = own.recv_timeout(Duration::from_secs(1)) else { return };
        let number = check(&errand) << 1 | u64::from(Delivery::info(&errand).redelivered);
        // A single call, so that a kill leaves the whole note or nothing.
        notes.write_all(&number.to_le_bytes()).unwrap();
        Delivery::ack(errand);
    }
}

/// Clears the pin of another consumer and adopts a packet, in a ring where no other process does.
pub(super) fn recover_alone(ring: &Ring) {
    let own = &mut consumer(ring).receiver;
    leave_a_pin(ring, own);
    ring.publisher::<Errand>().unwrap().send(&errand(0)).unwrap();
    assert!(own.take::<RecvFailure>(Timeout::After(GENEROUS)).is_ok());
    own.nack();
    assert!(own.reap_dead(), "it adopts its own packet");
}

/// Another consumer seems to be killed with the cursor pinned. This one clears the pin, unless
/// another process does.
fn leave_a_pin(ring: &Ring, own: &mut GroupReceiver) {
    let other = consumer(ring).receiver;
    let memory = other.cursor.memory().clone();
    let (shared, word) =
        (&memory.subscribers()[0].cursor, &memory.subscribers()[other.cursor.entry()].cursor);
    loop {
        let at = shared.load(Ordering::Acquire) & !PIN;
        word.store(at | PIN, Ordering::Release);
        if shared.compare_exchange(at, at | PIN, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
            word.store(at, Ordering::Release);
            break;
        }
        word.store(NOWHERE, Ordering::Release);
    }
    other.entry.release_liveness();
    // Its entry may belong to another consumer from here on, so it is never dropped.
    static DEAD: Mutex<Vec<GroupReceiver>> = Mutex::new(Vec::new());
    DEAD.lock().unwrap().push(other);
    while shared.load(Ordering::Acquire) & PIN != 0 && !own.reap_dead() {}
}

/// The consumer that continues, and the publisher.
struct Crew {
    name: String,
    publisher: Publisher<Errand>,
    entry_id: QueueConsumer<Errand>,
    sent: u64,
    /// Numbers of the packets that it handled, and whether they were flagged.
    handled: BTreeMap<u64, bool>,
}

impl Crew {
    fn new(ring: &Ring, name: &str) -> Self {
        let (publisher, entry_id) = (ring.publisher().unwrap(), consumer(ring));
        Self { name: name.to_owned(), publisher, entry_id, sent: 0, handled: BTreeMap::new() }
    }

    /// Publishes one packet. Returns false if there is no room.
    fn publish(&mut self) -> bool {
        let outcome = self.publisher.try_send(&errand(self.sent));
        match &outcome {
            Ok(_) => self.sent += 1,
            Err(TrySendError::Full { .. }) => {}
            Err(error) => panic!("{}: {error}", self.name),
        }
        outcome.is_ok()
    }

    /// Handles one packet, if it arrives in time.
    fn handle(&mut self, timeout: Duration) {
        match self.entry_id.recv_timeout(timeout) {
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

    /// Publishes while the peer runs, and leaves most packets to it. They must not run out before
    /// the peer has handled its part.
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

    /// Handles the remaining packets and checks that none is lost. Returns the numbers that both
    /// handled.
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
        // Nothing is left.
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

/// The peer is killed. Returns true if it reached the failpoint.
pub(super) fn survive(stop: Stop) -> bool {
    let (name, ring, mut crew) = begin("kill", stop);
    let mut peer = scenario::start(&name, Case::Grouped, stop);
    crew.go_on(&mut peer);
    let both = crew.finish();
    assert!(both.len() <= 1, "{name}: {both:?} came twice");
    end(&name, crew, ring);
    peer.state() == State::Killed
}

/// The peer is frozen and thawed. Returns true if it reached the failpoint.
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
