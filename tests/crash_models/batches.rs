//! Batches of an exclusive ring whose first packet is stamped last: a reader sees all of a batch or
//! nothing. The publisher may be killed before each of its steps, and a successor takes its entry.
//!
//! The stamps behind an unstamped first packet are those of the dead. A successor that publishes
//! there one packet at a time would uncover them. So the publisher records the end of its batch
//! before the first stamp, and its successor erases the stamps up to that end.
//!
//! Not modelled: several readers, packets of several slots, the end of the memory (a batch lies in
//! one piece).

use super::explorer::{Model, Next, breaks, holds, is_large};

const CAPACITY: u8 = 4;
const SLOTS: usize = CAPACITY as usize;
const POSITIONS: usize = 20;
const NOTHING: u8 = u8::MAX;

/// Injected faults.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fault {
    Nothing,
    /// The end of a batch is not recorded.
    NoRecord,
    /// The end is recorded after the stamps behind the first packet.
    RecordAfterStamps,
    /// A successor erases no stamps.
    NothingErased,
    /// A successor clears the record before it erases.
    RecordClearedFirst,
    /// A successor erases from the dead publisher's tail on, without a look at its stamps.
    ErasedFromTail,
    /// The tail is stored before the first packet is stamped.
    TailBeforeHead,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Violation {
    /// A reader got a packet of a batch that was never published.
    Phantom,
    /// A slot was written while a reader had its packet.
    WrittenInHand,
    /// A packet that was published is gone.
    Lost,
    /// The publisher left positions without a packet behind.
    Hole,
    ReaderNeverFinishes,
    PublisherNeverFinishes,
}

/// The next step of the publisher.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum At {
    /// Joins: reads the tail, and follows the stamps from there.
    Join,
    /// Erases the stamps from this position on.
    Erase(u8),
    /// Stores the tail that it found.
    JoinTail,
    /// Waits for room.
    Room,
    Record,
    /// Writes and stamps the packet at this index of the batch.
    Packet(u8),
    Head,
    Tail,
    Done,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Slot {
    stamp: u8,
    /// Which life of the publisher wrote it.
    life: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct State {
    slots: [Slot; SLOTS],
    tail: u8,
    record: u8,
    at: At,
    is_alive: bool,
    position: u8,
    /// Batches that this life has published.
    batch: u8,
    life: u8,
    cursor: u8,
    /// The life that wrote the packet in the reader's hand.
    in_hand: u8,
    /// The life that published each position.
    published: [u8; POSITIONS],
    kills: u8,
    violation: Option<Violation>,
}

struct Batches {
    fault: Fault,
    /// Packets of the batches of each life, one after the other.
    plans: [&'static [u8]; 3],
    kills: u8,
}

impl State {
    fn is_stamped(&self, position: u8) -> bool {
        self.slots[usize::from(position % CAPACITY)].stamp == position
    }

    /// Writes and stamps a packet.
    fn stamp(&mut self, position: u8) {
        if self.in_hand != NOTHING && self.cursor % CAPACITY == position % CAPACITY {
            self.violation = Some(Violation::WrittenInHand);
        }
        self.slots[usize::from(position % CAPACITY)] = Slot { stamp: position, life: self.life };
    }

    /// From here on the packets up to `end` are published.
    fn publish(&mut self, end: u8) {
        for position in self.position..end {
            self.published[usize::from(position)] = self.life;
        }
    }
}

impl Batches {
    fn len(&self, state: &State) -> u8 {
        let plan = self.plans[usize::from(state.life)];
        plan.get(usize::from(state.batch)).copied().unwrap_or(0)
    }

    fn publisher(&self, state: &State, next: &mut Next<State>) {
        let (len, position) = (self.len(state), state.position);
        let mut after = *state;
        match state.at {
            At::Join => {
                let mut end = state.tail;
                while state.is_stamped(end) {
                    end += 1;
                }
                after.position = end;
                let first = if self.fault == Fault::ErasedFromTail { state.tail } else { end + 1 };
                after.at = At::Erase(first);
                if self.fault == Fault::RecordClearedFirst {
                    next.cover("a record is cleared");
                }
                next.step("P", "finds the end at {}", &[end], after);
            }
            At::Erase(from) => {
                if from >= state.record || self.fault == Fault::NothingErased {
                    after.at = At::JoinTail;
                } else {
                    if state.is_stamped(from) {
                        next.cover("a stamp of the dead is erased");
                        after.slots[usize::from(from % CAPACITY)].stamp = NOTHING;
                    }
                    after.at = At::Erase(from + 1);
                }
                if self.fault == Fault::RecordClearedFirst && from == position + 1 {
                    let mut cleared = *state;
                    if cleared.record != 0 {
                        // The end is kept in a local variable, which dies with the process.
                        cleared.record = 0;
                        cleared.at = At::JoinTail;
                        next.external("P", "clears the record and is killed", &[], {
                            let mut dead = cleared;
                            dead.is_alive = false;
                            dead.kills = dead.kills.saturating_sub(1);
                            dead
                        });
                    }
                }
                next.step("P", "erases {}", &[from], after);
            }
            At::JoinTail => {
                after.tail = position;
                after.at = At::Room;
                next.step("P", "joins at {}", &[position], after);
            }
            At::Room => {
                if len == 0 {
                    after.at = At::Done;
                    next.step("P", "is done", &[], after);
                } else if position + len <= state.cursor + CAPACITY {
                    after.at = match (len, self.fault) {
                        (1, _) => At::Head,
                        (_, Fault::NoRecord | Fault::RecordAfterStamps) => At::Packet(1),
                        _ => At::Record,
                    };
                    next.step("P", "has room for {} at {}", &[len, position], after);
                }
            }
            At::Record => {
                after.record = position + len;
                after.at =
                    if self.fault == Fault::RecordAfterStamps { At::Head } else { At::Packet(1) };
                next.step("P", "records the end {}", &[position + len], after);
            }
            At::Packet(index) => {
                after.stamp(position + index);
                after.at = if index + 1 < len {
                    At::Packet(index + 1)
                } else {
                    match self.fault {
                        Fault::RecordAfterStamps => At::Record,
                        Fault::TailBeforeHead => {
                            after.tail = position + len;
                            At::Head
                        }
                        _ => At::Head,
                    }
                };
                next.step("P", "stamps {}", &[position + index], after);
            }
            At::Head => {
                after.stamp(position);
                after.publish(position + len);
                after.at = At::Tail;
                next.step("P", "stamps the first packet {}", &[position], after);
            }
            At::Tail => {
                after.tail = position + len;
                after.position = position + len;
                after.batch += 1;
                after.at = At::Room;
                next.step("P", "stores the tail {}", &[position + len], after);
            }
            At::Done => {}
        }
    }

    fn reader(&self, state: &State, next: &mut Next<State>) {
        let mut after = *state;
        if state.in_hand != NOTHING {
            after.in_hand = NOTHING;
            after.cursor += 1;
            next.step("R", "releases {}", &[state.cursor], after);
        } else if state.is_stamped(state.cursor) {
            let slot = state.slots[usize::from(state.cursor % CAPACITY)];
            after.in_hand = slot.life;
            if state.published[usize::from(state.cursor)] != slot.life {
                after.violation = Some(Violation::Phantom);
            }
            next.step("R", "takes {}", &[state.cursor], after);
        }
    }
}

impl Model for Batches {
    type State = State;
    type Violation = Violation;

    fn start(&self) -> State {
        State {
            slots: [Slot { stamp: NOTHING, life: 0 }; SLOTS],
            tail: 0,
            record: 0,
            at: At::Room,
            is_alive: true,
            position: 0,
            batch: 0,
            life: 0,
            cursor: 0,
            in_hand: NOTHING,
            published: [NOTHING; POSITIONS],
            kills: self.kills,
            violation: None,
        }
    }

    fn next(&self, state: &State, next: &mut Next<State>) {
        if state.is_alive {
            self.publisher(state, next);
            if state.kills > 0 && state.at != At::Done {
                let dead = State { is_alive: false, kills: state.kills - 1, ..*state };
                if matches!(state.at, At::Erase(_)) {
                    next.cover("a successor is killed while it erases");
                }
                next.external("P", "is killed", &[], dead);
            }
        } else {
            let life = (state.life + 1).min(self.plans.len() as u8 - 1);
            let successor = State { is_alive: true, at: At::Join, batch: 0, life, ..*state };
            next.step("P", "is succeeded", &[], successor);
        }
        self.reader(state, next);
    }

    fn violation(&self, state: &State) -> Option<Violation> {
        if state.violation.is_some() {
            return state.violation;
        }
        let is_gone = |position: u8| {
            position >= state.cursor
                && state.published[usize::from(position)] != NOTHING
                && !state.is_stamped(position)
        };
        if (0..POSITIONS as u8).any(is_gone) {
            return Some(Violation::Lost);
        }
        let has_hole = (state.cursor..state.tail).any(|position| !state.is_stamped(position));
        (has_hole && !state.is_alive).then_some(Violation::Hole)
    }

    fn unmet(&self, state: &State) -> Vec<Violation> {
        let mut unmet = Vec::new();
        if state.at != At::Done {
            unmet.push(Violation::PublisherNeverFinishes);
        } else if state.cursor != state.tail || state.in_hand != NOTHING {
            unmet.push(Violation::ReaderNeverFinishes);
        }
        unmet
    }
}

fn scenario(fault: Fault) -> Batches {
    let kills = if is_large() { 2 } else { 1 };
    Batches { fault, plans: [&[1, 3, 2], &[1, 1, 2], &[2, 1]], kills: kills + 1 }
}

#[test]
fn batches_survive_kills() {
    holds(
        "batches",
        &scenario(Fault::Nothing),
        &["a stamp of the dead is erased", "a successor is killed while it erases"],
    );
}

#[test]
fn a_batch_without_a_record_leaves_phantoms() {
    breaks("no record", &scenario(Fault::NoRecord), Violation::Phantom);
}

#[test]
fn a_record_behind_the_stamps_is_late() {
    breaks("record after the stamps", &scenario(Fault::RecordAfterStamps), Violation::Phantom);
}

#[test]
fn a_successor_that_erases_nothing_uncovers_phantoms() {
    breaks("nothing erased", &scenario(Fault::NothingErased), Violation::Phantom);
}

#[test]
fn a_record_that_is_cleared_first_is_lost_with_the_successor() {
    breaks("record cleared first", &scenario(Fault::RecordClearedFirst), Violation::Phantom);
}

#[test]
fn erasing_from_the_tail_loses_a_published_batch() {
    breaks("erased from the tail", &scenario(Fault::ErasedFromTail), Violation::Lost);
}

#[test]
fn a_tail_before_the_head_leaves_a_hole() {
    breaks("tail before head", &scenario(Fault::TailBeforeHead), Violation::Hole);
}
