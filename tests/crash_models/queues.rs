//! Work queues. Consumers take packets in place from a shared cursor, each packet once. A publisher
//! is held back by packets in flight. A recoverer handles the packets of dead consumers. Each
//! consumer, also as a recoverer, may be killed before each of its steps.
//!
//! Consumers mirror `ring::consumer_group` step by step; the publisher mirrors `ring::gate::scan`.
//! Below, `in_flight` is the word of a consumer's entry that records its packet.
//!
//! ```text
//!  take      in_flight := p|PIN
//!              ─► CAS shared p → p|PIN ─► in_flight := p ─► shared := p + span ─► taken
//!                  └ lost: in_flight := nowhere
//!  ack       in_flight := nowhere
//!  unpin     under the control lock: shared is pinned at p, no living entry has p in flight,
//!            shared is still pinned at p: clear p in all dead entries, shared := p
//!  adopt     under the control lock: a dead entry has p in flight, below shared:
//!            own in_flight := p, count the adoption, clear p in all dead entries
//! ```
//!
//! For the others, leaving equals dying. A negative acknowledgement equals dying with the packet in
//! flight followed by a join. Not modelled: publishers that die (`claims`).

use super::explorer::{Model, Next, breaks, holds, is_large};

/// Entries for consumers.
const ENTRIES: usize = 3;
/// Limit of the packets of a scenario.
const MOST: usize = 4;
const NAMES: [&str; ENTRIES] = ["C0", "C1", "C2"];

/// Injected faults.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fault {
    Nothing,
    /// The in-flight word is written, then a single compare-and-swap moves the shared cursor:
    /// there is no pin.
    NoPin,
    /// A single compare-and-swap moves the shared cursor, then the in-flight word is written.
    InFlightAfterMove,
    /// The cursor is unpinned and moved before the in-flight word is written.
    MovedBeforeInFlight,
    /// A consumer does not record its attempt before it pins.
    AttemptNotRecorded,
    /// A pin is removed without checking whether its owner is alive.
    LivingPinRemoved,
    /// The shared cursor is not read again after the in-flight words: the pin may have been removed
    /// meanwhile.
    CursorNotReadAgain,
    /// An adoption is not counted: a concurrent scan sees neither in-flight word.
    AdoptionNotCounted,
    /// The recoverer removes the pin before it clears the in-flight word.
    UnpinnedBeforeInFlightCleared,
    /// The adopter clears the dead in-flight word before it writes its own.
    AdoptedAfterClearing,
    /// The adopter clears one dead in-flight word instead of all with the packet.
    OneInFlightCleared,
    /// The publisher reads the in-flight words before the shared cursor.
    InFlightScannedFirst,
    /// An adopted packet is not flagged.
    NotFlagged,
    /// A newcomer is not counted: a concurrent scan ignores its entry.
    NewcomerNotCounted,
    /// A dead in-flight word is never adopted.
    NoAdoption,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Violation {
    /// The publisher overwrote a packet that was not acknowledged.
    PublisherOverranAJob,
    /// Two living consumers have the same packet in flight.
    InFlightTwice,
    /// An acknowledged packet was handed out again.
    AcknowledgedRedelivered,
    /// A packet was redelivered without a flag.
    RedeliveredUnflagged,
    /// A packet is never acknowledged.
    JobNeverAcknowledged,
}

/// Actual state of a packet, known to the model only.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Truth {
    Unpublished,
    Waiting,
    /// In flight at the living consumer of this entry.
    Taken(u8),
    /// In flight at a dead consumer.
    Orphaned,
    Done,
}

/// The in-flight word of a consumer's entry.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum InFlight {
    Nowhere,
    Pinned(u8),
    Holds(u8),
}

impl InFlight {
    fn position(self) -> Option<u8> {
        match self {
            Self::Nowhere => None,
            Self::Pinned(p) | Self::Holds(p) => Some(p),
        }
    }
}

/// Next step of a consumer.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum At {
    Look,
    Mark,
    Pin,
    Hold,
    Move,
    Give,
    Done,
    Clear,
    /// Reads the shared cursor, with the control lock held.
    ReadShared,
    /// Reads the in-flight word of this entry, and checks whether its owner is alive.
    CheckInFlight(u8),
    /// Reads the shared cursor again: it must still be pinned there.
    ReadAgain,
    /// Clears the in-flight word of this entry if its dead owner pinned.
    ClearPinner(u8),
    Unpin,
    /// Looks for a dead in-flight word in this entry.
    FindOrphan(u8),
    Adopt,
    /// Counts the adoption, for concurrent scans.
    Count,
    /// Clears the in-flight word of this entry if it is dead and has the adopted packet.
    ClearAdopted(u8),
    Unlock,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Consumer {
    is_alive: bool,
    in_flight: InFlight,
    at: At,
    p: u8,
    from: u8,
    is_flagged: bool,
    adopted: bool,
}

const VACANT: Consumer = Consumer {
    is_alive: false,
    in_flight: InFlight::Nowhere,
    at: At::Look,
    p: 0,
    from: 0,
    is_flagged: false,
    adopted: false,
};

/// State of the publisher: it reads the number of entries, the shared cursor and each in-flight
/// word, then publishes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Publisher {
    scan: u8,
    entries: u8,
    gate: u8,
    counted: u8,
}

const INITIAL_PUBLISHER: Publisher = Publisher { scan: 0, entries: 0, gate: 0, counted: 0 };

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct State {
    tail: u8,
    shared: u8,
    is_pinned: bool,
    /// Adoptions and newcomers (`roster.clones`): a scan starts again if it changes.
    counted: u8,
    /// Entries that were ever used.
    entries: u8,
    consumers: [Consumer; ENTRIES],
    publisher: Publisher,
    lock: Option<u8>,
    truth: [Truth; MOST],
    /// The packet was handed out before.
    was_given: [bool; MOST],
    kills: u8,
    violation: Option<u8>,
}

const VIOLATIONS: [Violation; 4] = [
    Violation::PublisherOverranAJob,
    Violation::InFlightTwice,
    Violation::AcknowledgedRedelivered,
    Violation::RedeliveredUnflagged,
];

/// A scenario.
#[derive(Clone, Copy)]
struct Groups {
    fault: Fault,
    consumers: usize,
    capacity: u8,
    packets: u8,
    kills: u8,
}

impl State {
    fn violate(&mut self, violation: Violation) {
        self.violation =
            VIOLATIONS.iter().position(|&known| known == violation).map(|index| index as u8);
    }

    fn give(&mut self, entry: usize) {
        let consumer = self.consumers[entry];
        let p = usize::from(consumer.p);
        match self.truth[p] {
            Truth::Taken(_) => self.violate(Violation::InFlightTwice),
            Truth::Done => self.violate(Violation::AcknowledgedRedelivered),
            _ if self.was_given[p] && !consumer.is_flagged => {
                self.violate(Violation::RedeliveredUnflagged)
            }
            _ => {}
        }
        self.truth[p] = Truth::Taken(entry as u8);
        self.was_given[p] = true;
    }

    fn kill(&mut self, entry: usize) {
        let in_flight = self.consumers[entry].in_flight;
        self.consumers[entry] = Consumer { in_flight, ..VACANT };
        self.kills -= 1;
        if self.lock == Some(entry as u8) {
            self.lock = None;
        }
        for truth in &mut self.truth {
            if *truth == Truth::Taken(entry as u8) {
                *truth = Truth::Orphaned;
            }
        }
    }
}

impl Model for Groups {
    type State = State;
    type Violation = Violation;

    fn start(&self) -> State {
        let mut consumers = [VACANT; ENTRIES];
        for consumer in &mut consumers[..self.consumers] {
            consumer.is_alive = true;
        }
        State {
            tail: 0,
            shared: 0,
            is_pinned: false,
            counted: 0,
            entries: self.consumers as u8,
            consumers,
            publisher: INITIAL_PUBLISHER,
            lock: None,
            truth: [Truth::Unpublished; MOST],
            was_given: [false; MOST],
            kills: self.kills,
            violation: None,
        }
    }

    fn next(&self, state: &State, next: &mut Next<State>) {
        if state.tail < self.packets {
            self.publish(state, next);
        }
        for (entry, consumer) in state.consumers.into_iter().enumerate() {
            if consumer.is_alive {
                self.step(state, entry, next);
                if state.kills > 0 {
                    let mut new = *state;
                    new.kill(entry);
                    self.cover_kill(&consumer, next);
                    next.external(NAMES[entry], "is killed", &[], new);
                }
            } else if !matches!(consumer.in_flight, InFlight::Holds(_)) && state.lock.is_none() {
                // Joins under the control lock. An attempt holds nothing.
                let mut new = *state;
                new.consumers[entry] = Consumer { is_alive: true, ..VACANT };
                new.entries = new.entries.max(entry as u8 + 1);
                if self.fault != Fault::NewcomerNotCounted {
                    // Only changes that a scan can notice, so that the state space is finite.
                    new.counted += u8::from(new.entries != state.entries);
                }
                next.step(NAMES[entry], "joins", &[], new);
            }
        }
    }

    fn violation(&self, state: &State) -> Option<Violation> {
        state.violation.map(|index| VIOLATIONS[usize::from(index)])
    }

    fn unmet(&self, state: &State) -> Vec<Violation> {
        let done = |truth: &Truth| *truth == Truth::Done;
        if state.truth[..usize::from(self.packets)].iter().all(done) {
            return Vec::new();
        }
        vec![Violation::JobNeverAcknowledged]
    }
}

impl Groups {
    fn cover_kill(&self, consumer: &Consumer, next: &mut Next<State>) {
        match consumer.at {
            At::Hold => next.cover("killed with the pin, before the in-flight word was written"),
            At::Move => next.cover("killed with pin and in-flight word"),
            At::Done => next.cover("killed with a job in flight"),
            At::Unpin => next.cover("a recoverer was killed before it unpinned"),
            At::ClearAdopted(_) => next.cover("killed during an adoption"),
            _ => {}
        }
    }

    /// `gate::scan`: the shared cursor is entry 0, the in-flight words follow it.
    fn publish(&self, state: &State, next: &mut Next<State>) {
        let mut new = *state;
        let Publisher { scan, entries, gate, counted } = state.publisher;
        if scan == 0 {
            let (entries, gate, counted) = (state.entries, state.tail, state.counted);
            new.publisher = Publisher { scan: 1, entries, gate, counted };
            next.step("P", "begins to scan {} entries", &[entries], new);
            return;
        }
        if scan <= entries + 1 {
            // 0 is the shared cursor.
            let turn = match self.fault {
                Fault::InFlightScannedFirst if scan <= entries => scan,
                Fault::InFlightScannedFirst => 0,
                _ => scan - 1,
            };
            let word = match usize::from(turn) {
                0 => Some(state.shared),
                entry => state.consumers[entry - 1].in_flight.position(),
            };
            let gate = gate.min(word.unwrap_or(gate));
            new.publisher = Publisher { scan: scan + 1, entries, gate, counted };
            next.step("P", "scans {}: the gate is {}", &[turn, gate], new);
            return;
        }
        new.publisher = INITIAL_PUBLISHER;
        if counted != state.counted {
            next.cover("an adoption or a join happened during a scan");
            next.step("P", "scans again", &[], new);
            return;
        }
        if state.tail >= gate + self.capacity {
            next.cover("the publisher was held back");
            next.step("P", "finds the ring full", &[], new);
            return;
        }
        let overwrites = state.tail.checked_sub(self.capacity);
        if overwrites.is_some_and(|p| state.truth[usize::from(p)] != Truth::Done) {
            new.violate(Violation::PublisherOverranAJob);
        }
        new.truth[usize::from(state.tail)] = Truth::Waiting;
        new.tail += 1;
        next.step("P", "publishes {}", &[state.tail], new);
    }

    fn step(&self, state: &State, entry: usize, next: &mut Next<State>) {
        let mut new = *state;
        let who = NAMES[entry];
        let p = state.consumers[entry].p;
        match state.consumers[entry].at {
            At::Look => self.look(state, entry, next),
            At::Mark | At::Pin | At::Hold | At::Move => {
                let text = self.take(&mut new, entry, next);
                next.step(who, text, &[p], new);
            }
            At::Give => {
                new.give(entry);
                new.consumers[entry].at = At::Done;
                next.step(who, "has {} in flight", &[p], new);
            }
            At::Done => {
                new.truth[usize::from(p)] = Truth::Done;
                new.consumers[entry] = Consumer { is_alive: true, ..VACANT };
                next.step(who, "acknowledges {}", &[p], new);
            }
            At::Clear => {
                next.cover("lost the race for a packet");
                new.consumers[entry] = Consumer { is_alive: true, ..VACANT };
                next.step(who, "lost the race for {}", &[p], new);
            }
            _ => {
                let text = self.recover(&mut new, entry, next);
                next.step(who, text, &[p], new);
            }
        }
    }

    /// Reads the shared cursor, or takes the control lock for recovery.
    fn look(&self, state: &State, entry: usize, next: &mut Next<State>) {
        if !state.is_pinned && state.shared < state.tail {
            let mut new = *state;
            new.consumers[entry].p = state.shared;
            new.consumers[entry].at = match self.fault {
                Fault::InFlightAfterMove | Fault::AttemptNotRecorded => At::Pin,
                _ => At::Mark,
            };
            next.step(NAMES[entry], "sees {}", &[state.shared], new);
        }
        if state.lock.is_none() {
            let mut new = *state;
            new.lock = Some(entry as u8);
            new.consumers[entry].at = At::ReadShared;
            next.step(NAMES[entry], "takes the control lock", &[], new);
        }
    }

    fn take(&self, new: &mut State, entry: usize, next: &mut Next<State>) -> &'static str {
        let p = new.consumers[entry].p;
        let is_there = !new.is_pinned && new.shared == p;
        match new.consumers[entry].at {
            At::Mark => {
                new.consumers[entry].at = At::Pin;
                let simple = self.fault == Fault::NoPin;
                new.consumers[entry].in_flight =
                    if simple { InFlight::Holds(p) } else { InFlight::Pinned(p) };
                "records that it tries {}"
            }
            At::Pin if !is_there => {
                if new.is_pinned {
                    next.cover("found a pin");
                }
                new.consumers[entry].at = At::Clear;
                "finds {} pinned or taken"
            }
            At::Pin => {
                match self.fault {
                    Fault::NoPin => {
                        new.shared = p + 1;
                        new.consumers[entry].at = At::Give;
                    }
                    Fault::InFlightAfterMove => {
                        new.shared = p + 1;
                        new.consumers[entry].at = At::Hold;
                    }
                    Fault::MovedBeforeInFlight => {
                        new.is_pinned = true;
                        new.consumers[entry].at = At::Move;
                    }
                    _ => {
                        new.is_pinned = true;
                        new.consumers[entry].at = At::Hold;
                    }
                }
                "wins {}"
            }
            At::Hold => {
                new.consumers[entry].in_flight = InFlight::Holds(p);
                new.consumers[entry].at = match self.fault {
                    Fault::InFlightAfterMove | Fault::MovedBeforeInFlight => At::Give,
                    _ => At::Move,
                };
                "writes its in-flight word: {}"
            }
            _ => {
                // A plain store suffices: no other process moves a pinned cursor.
                new.shared = p + 1;
                new.is_pinned = false;
                new.consumers[entry].at = match self.fault {
                    Fault::MovedBeforeInFlight => At::Hold,
                    _ => At::Give,
                };
                "moves the shared cursor past {}"
            }
        }
    }

    /// With the control lock held: removes a dead pin, then adopts a dead in-flight word.
    fn recover(&self, new: &mut State, entry: usize, next: &mut Next<State>) -> &'static str {
        let me = new.consumers[entry];
        match me.at {
            At::ReadShared => {
                new.consumers[entry].p = new.shared;
                new.consumers[entry].at = match (new.is_pinned, self.fault) {
                    (false, _) => At::FindOrphan(0),
                    (true, Fault::LivingPinRemoved) => At::ClearPinner(0),
                    (true, _) => At::CheckInFlight(0),
                };
                "reads the shared cursor: {}"
            }
            At::CheckInFlight(other) => {
                let them = new.consumers[usize::from(other)];
                let may_pin = them.is_alive && them.in_flight.position() == Some(me.p);
                new.consumers[entry].at = if may_pin {
                    next.cover("a living consumer may hold the pin");
                    At::FindOrphan(0)
                } else if usize::from(other) + 1 < ENTRIES {
                    At::CheckInFlight(other + 1)
                } else {
                    At::ReadAgain
                };
                "checks an in-flight word at {}"
            }
            At::ReadAgain => {
                let is_same = new.is_pinned && new.shared == me.p;
                let is_sure = is_same || self.fault == Fault::CursorNotReadAgain;
                if !is_sure {
                    next.cover("the pin was removed while in-flight words were read");
                }
                new.consumers[entry].at =
                    if is_sure { At::ClearPinner(0) } else { At::FindOrphan(0) };
                "reads the shared cursor again: {}"
            }
            At::ClearPinner(other) => {
                self.clear_pinner(new, entry, other);
                "clears a dead in-flight word at {}"
            }
            At::Unpin => {
                if new.is_pinned && new.shared == me.p {
                    next.cover("a dead pin was removed");
                    new.is_pinned = false;
                }
                let late = self.fault == Fault::UnpinnedBeforeInFlightCleared;
                new.consumers[entry].at =
                    if late { At::ClearAdopted(0) } else { At::FindOrphan(0) };
                "removes the pin at {}"
            }
            At::FindOrphan(other) => {
                let them = new.consumers[usize::from(other)];
                let found = match them.in_flight {
                    _ if self.fault == Fault::NoAdoption => None,
                    InFlight::Holds(p) if !them.is_alive && p < new.shared => Some(p),
                    _ => None,
                };
                let me = &mut new.consumers[entry];
                me.at = match found {
                    Some(p) => {
                        (me.p, me.from) = (p, other);
                        At::Adopt
                    }
                    None if usize::from(other) + 1 < ENTRIES => At::FindOrphan(other + 1),
                    None => At::Unlock,
                };
                "looks for a dead in-flight word"
            }
            At::Adopt => {
                next.cover("a job was adopted");
                if self.fault == Fault::AdoptedAfterClearing {
                    new.consumers[usize::from(me.from)].in_flight = InFlight::Nowhere;
                    new.consumers[entry].at = At::ClearAdopted(ENTRIES as u8);
                    return "clears the dead in-flight word first: {}";
                }
                let me = &mut new.consumers[entry];
                me.in_flight = InFlight::Holds(me.p);
                me.at = At::Count;
                (me.adopted, me.is_flagged) = (true, self.fault != Fault::NotFlagged);
                "adopts {}"
            }
            At::Count => {
                if self.fault != Fault::AdoptionNotCounted {
                    new.counted += 1;
                }
                new.consumers[entry].at = At::ClearAdopted(0);
                "counts the adoption of {}"
            }
            At::ClearAdopted(other) => {
                self.clear_adopted(new, entry, other);
                "clears a dead in-flight word of {}"
            }
            _ => {
                new.lock = None;
                let me = &mut new.consumers[entry];
                if me.adopted {
                    me.at = At::Give;
                } else {
                    *me = Consumer { is_alive: true, ..VACANT };
                }
                "releases the control lock"
            }
        }
    }

    fn clear_pinner(&self, new: &mut State, entry: usize, other: u8) {
        let at = new.consumers[entry].p;
        let late = self.fault == Fault::UnpinnedBeforeInFlightCleared;
        let them = &mut new.consumers[usize::from(other)];
        if !them.is_alive && them.in_flight == InFlight::Holds(at) && !late {
            them.in_flight = InFlight::Nowhere;
        }
        let more = usize::from(other) + 1 < ENTRIES;
        new.consumers[entry].at = if more { At::ClearPinner(other + 1) } else { At::Unpin };
    }

    fn clear_adopted(&self, new: &mut State, entry: usize, other: u8) {
        let me = new.consumers[entry];
        if usize::from(other) == ENTRIES {
            // `AdoptedAfterClearing`: the own in-flight word is written last.
            let me = &mut new.consumers[entry];
            (me.in_flight, me.adopted, me.is_flagged) = (InFlight::Holds(me.p), true, true);
            me.at = At::Unlock;
            return;
        }
        let one = self.fault == Fault::OneInFlightCleared && other != me.from;
        let them = &mut new.consumers[usize::from(other)];
        if !them.is_alive && them.in_flight == InFlight::Holds(me.p) && !one {
            them.in_flight = InFlight::Nowhere;
        }
        let more = usize::from(other) + 1 < ENTRIES;
        new.consumers[entry].at = if more { At::ClearAdopted(other + 1) } else { At::Unlock };
    }
}

/// Two consumers, a third that joins after a kill, and more packets than the ring holds.
const TWO: Groups =
    Groups { fault: Fault::Nothing, consumers: 2, capacity: 1, packets: 2, kills: 2 };

/// A ring of two packets.
const LARGER: Groups = Groups { capacity: 2, packets: 3, ..TWO };

#[test]
fn a_queue_delivers_each_job_to_one_consumer() {
    let situations = [
        "killed with the pin, before the in-flight word was written",
        "killed with pin and in-flight word",
        "killed with a job in flight",
        "killed during an adoption",
        "a recoverer was killed before it unpinned",
        "a living consumer may hold the pin",
        "a dead pin was removed",
        "a job was adopted",
        "lost the race for a packet",
        "found a pin",
        "the publisher was held back",
        "an adoption or a join happened during a scan",
        "the pin was removed while in-flight words were read",
    ];
    holds("groups", &TWO, &situations);
}

#[test]
fn larger_queues_hold() {
    if is_large() {
        holds("groups, a ring of two", &LARGER, &["a job was adopted"]);
        holds(
            "groups, three consumers",
            &Groups { consumers: 3, ..LARGER },
            &["a job was adopted"],
        );
        holds("groups, four packets", &Groups { packets: 4, ..LARGER }, &["a job was adopted"]);
    }
}

#[track_caller]
fn broken_by(fault: Fault, violation: Violation) {
    let name = std::thread::current().name().unwrap_or_default().to_owned();
    breaks(&name, &Groups { fault, ..TWO }, violation);
}

#[test]
fn without_a_pin_the_dead_loser_of_a_race_looks_like_its_winner() {
    broken_by(Fault::NoPin, Violation::AcknowledgedRedelivered);
}

#[test]
fn a_in_flight_written_after_the_move_is_overrun() {
    broken_by(Fault::InFlightAfterMove, Violation::PublisherOverranAJob);
}

#[test]
fn a_cursor_moved_before_the_in_flight_is_written_is_overrun() {
    broken_by(Fault::MovedBeforeInFlight, Violation::PublisherOverranAJob);
}

#[test]
fn an_unrecorded_attempt_is_overrun() {
    broken_by(Fault::AttemptNotRecorded, Violation::PublisherOverranAJob);
}

#[test]
fn removing_the_pin_of_a_living_consumer_overruns_its_job() {
    broken_by(Fault::LivingPinRemoved, Violation::PublisherOverranAJob);
}

#[test]
fn without_a_second_read_of_the_cursor_a_job_is_overrun() {
    broken_by(Fault::CursorNotReadAgain, Violation::PublisherOverranAJob);
}

#[test]
fn an_adoption_that_is_not_counted_hides_a_job_from_a_scan() {
    broken_by(Fault::AdoptionNotCounted, Violation::PublisherOverranAJob);
}

#[test]
fn a_in_flight_cleared_after_the_pin_is_overrun() {
    broken_by(Fault::UnpinnedBeforeInFlightCleared, Violation::PublisherOverranAJob);
}

#[test]
fn a_dead_in_flight_cleared_first_hides_its_job_from_a_scan() {
    broken_by(Fault::AdoptedAfterClearing, Violation::PublisherOverranAJob);
}

#[test]
fn a_job_in_two_dead_in_flights_must_be_cleared_from_both() {
    broken_by(Fault::OneInFlightCleared, Violation::InFlightTwice);
}

#[test]
fn a_newcomer_that_is_not_counted_hides_a_job_from_a_scan() {
    broken_by(Fault::NewcomerNotCounted, Violation::PublisherOverranAJob);
}

#[test]
fn a_job_that_is_never_adopted_is_never_acknowledged() {
    // This variant breaks nothing else, so it is explored completely and must be small.
    let groups = Groups { fault: Fault::NoAdoption, consumers: 1, packets: 1, kills: 1, ..TWO };
    breaks("a_job_that_nobody_adopts", &groups, Violation::JobNeverAcknowledged);
    holds("one job", &Groups { fault: Fault::Nothing, ..groups }, &["a job was adopted"]);
}

#[test]
fn in_flights_scanned_before_the_cursor_hide_a_job() {
    broken_by(Fault::InFlightScannedFirst, Violation::PublisherOverranAJob);
}

#[test]
fn a_job_of_a_dead_consumer_must_be_flagged() {
    broken_by(Fault::NotFlagged, Violation::RedeliveredUnflagged);
}
