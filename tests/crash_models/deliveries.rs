//! Deliveries: which packets are handed out, flagged as redelivered, counted, and given up as dead
//! letters, by a durable subscriber and its successors, or by the consumers of a queue.
//!
//! The actors mirror these sources:
//!
//! - durable subscriber: `ring/reader/mod.rs` (`take_data`, `record_handed_out`, `unreceive`),
//!   `ring/membership.rs` (`succeed`)
//! - consumer: `ring/consumer_group/mod.rs` (`record_handed_out`, `unreceive`, `move_to`), its take
//!   in one step (`queues` models it); adoption: `ring/consumer_group/orphans.rs`
//! - both: `segment/roles.rs` (`RedeliveryWords`), `channel/untyped/redelivery.rs` (`hand_out`,
//!   `buries`)
//!
//! A packet is seen by the user when `receive` returns. The user then acknowledges it, puts it
//! back, or leaves it to another consumer. All packets are committed at first.

use super::explorer::{Model, Next, breaks, holds, is_large};

const NOWHERE: u8 = u8::MAX;
const PACKETS: usize = 2;
const ENTRIES: usize = 4;
const NAMES: [&str; 2] = ["C0", "C1"];

/// Injected faults.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fault {
    Nothing,
    /// Durable: the end of what was handed out is stored after the user got it.
    EndStoredLate,
    /// Durable: that end is lowered to the packet at hand.
    EndLowered,
    /// Durable: a successor does not load that end.
    EndNotLoaded,
    /// A packet that was put back is not flagged.
    PutBackNotFlagged,
    /// A redelivery is counted after the user got it.
    CountedLate,
    /// Redeliveries are not counted.
    NotCounted,
    /// The packet that is counted is stored before its count.
    PositionFirst,
    /// The count is taken for that of any packet.
    CountOfAnyPacket,
    /// A dead letter is acknowledged before its copy is sent.
    AckedBeforeDeadLetter,
    /// A packet is handed out again, however often it was.
    NoLimit,
    /// Queue: an adopted packet is not flagged.
    AdoptionNotFlagged,
    /// Queue: an adopter begins to count anew.
    AdoptedUncounted,
    /// Queue: an adopter clears the dead words first, and copies the count last.
    CountCopiedLast,
    /// Queue: an adopter stores its word before the count, and copies the count of the last dead
    /// entry.
    WordBeforeCount,
    /// Queue: a consumer that leaves its packet to others clears its word.
    NackClearsWord,
    /// Queue: a newcomer needs an entry without a packet of a dead consumer.
    NoTakeOver,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
enum Violation {
    RedeliveryNotFlagged,
    CountTooLow,
    CountTooHigh,
    HandedOutTooOften,
    BuriedTooEarly,
    TooManyLetters,
    PacketLost,
    PacketNeverDone,
}

/// The next step of a consumer.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum At {
    /// Durable: not there yet. Queue: nothing in flight.
    Idle,
    /// A packet is in flight: is it a dead letter?
    Decide,
    /// Durable: stores the end of what is handed out.
    End,
    /// `Failpoint::Redeliver`, before it.
    Count,
    /// `Failpoint::Redeliver`
    Counted,
    /// `receive` returns.
    Return,
    /// The user has the packet.
    User,
    /// Only with a fault: what should have been stored before.
    LateEnd,
    LateCount,
    LateCounted,
    DeadLetter,
    /// `Failpoint::DeadLetter`
    Buried,
    AdoptCount,
    AdoptCounted,
    /// `Failpoint::AdoptInFlight`
    AdoptWord,
    /// `Failpoint::AdoptClear`
    AdoptClear,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Consumer {
    is_alive: bool,
    at: At,
    entry: u8,
    packet: u8,
    /// Durable: two packets in flight.
    is_batch: bool,
    /// Durable: packets below are redeliveries. Queue: 1 if the packet in flight is one.
    redelivered: u8,
    count: u8,
}

/// The words of one entry.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Entry {
    /// Queue: its owner. Durable: entry 0 only.
    owner: u8,
    /// Queue: the in-flight word. Durable: the cursor.
    word: u8,
    handed_out: u8,
    counted: u8,
    deliveries: u8,
}

impl Entry {
    /// `RedeliveryWords::of`.
    fn count_of(&self, packet: u8, fault: Fault) -> u8 {
        let is_its = self.counted == packet || fault == Fault::CountOfAnyPacket;
        if is_its { self.deliveries.max(1) } else { 1 }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct State {
    entries: [Entry; ENTRIES],
    /// Queue: the shared cursor.
    shared: u8,
    /// Queue: holder of the control lock.
    lock: u8,
    consumers: [Consumer; 2],
    /// How often the user saw each packet.
    seen: [u8; PACKETS],
    acked: [bool; PACKETS],
    letters: [u8; PACKETS],
    kills: u8,
    killed: u8,
    /// Times that a user may still put a packet back.
    put_backs: u8,
    violation: Option<Violation>,
}

#[derive(Clone, Copy)]
struct Deliveries {
    fault: Fault,
    is_queue: bool,
    /// Packets that were handed out so often become dead letters. 0: without a limit.
    max_deliveries: u8,
    /// Durable: a receive may return both packets. Batches are not counted.
    has_batches: bool,
    kills: u8,
    put_backs: u8,
}

impl State {
    fn violate(&mut self, violation: Violation) {
        self.violation.get_or_insert(violation);
    }

    fn is_alive(&self, entry: usize) -> bool {
        let owner = self.entries[entry].owner;
        owner != NOWHERE
            && self.consumers[usize::from(owner)].is_alive
            && usize::from(self.consumers[usize::from(owner)].entry) == entry
    }

    /// A packet that a dead consumer has in flight.
    fn orphan(&self) -> Option<u8> {
        (0..ENTRIES).find_map(|entry| {
            let word = self.entries[entry].word;
            (word != NOWHERE && !self.is_alive(entry)).then_some(word)
        })
    }
}

impl Model for Deliveries {
    type State = State;
    type Violation = Violation;

    fn start(&self) -> State {
        let entry =
            Entry { owner: NOWHERE, word: NOWHERE, handed_out: 0, counted: NOWHERE, deliveries: 0 };
        let consumer = Consumer {
            is_alive: true,
            at: At::Idle,
            entry: 0,
            packet: NOWHERE,
            is_batch: false,
            redelivered: 0,
            count: 0,
        };
        let mut entries = [entry; ENTRIES];
        let mut consumers = [consumer; 2];
        if self.is_queue {
            (entries[0].owner, entries[1].owner) = (0, 1);
            consumers[1].entry = 1;
        } else {
            (entries[0].owner, entries[0].word) = (0, 0);
            consumers[1].is_alive = false;
        }
        State {
            entries,
            shared: 0,
            lock: NOWHERE,
            consumers,
            seen: [0; PACKETS],
            acked: [false; PACKETS],
            letters: [0; PACKETS],
            kills: self.kills,
            killed: 0,
            put_backs: self.put_backs,
            violation: None,
        }
    }

    fn next(&self, state: &State, next: &mut Next<State>) {
        for who in 0..if self.is_queue { 2 } else { 1 } {
            self.consumer(who, state, next);
        }
    }

    fn violation(&self, state: &State) -> Option<Violation> {
        if state.violation.is_some() {
            return state.violation;
        }
        let is_gone = |packet: u8| match self.is_queue {
            true => packet < state.shared && state.entries.iter().all(|entry| entry.word != packet),
            false => packet < state.entries[0].word,
        };
        for packet in 0..PACKETS {
            if is_gone(packet as u8) && !state.acked[packet] && state.letters[packet] == 0 {
                return Some(Violation::PacketLost);
            }
            if state.letters[packet] > 1 + state.killed {
                return Some(Violation::TooManyLetters);
            }
        }
        None
    }

    fn unmet(&self, state: &State) -> Vec<Violation> {
        let is_done = |packet: usize| state.acked[packet] || state.letters[packet] > 0;
        if (0..PACKETS).all(is_done) { Vec::new() } else { vec![Violation::PacketNeverDone] }
    }
}

impl Deliveries {
    fn consumer(&self, who: usize, state: &State, next: &mut Next<State>) {
        let mut me = state.consumers[who];
        if !me.is_alive {
            return self.succeed(who, state, next);
        }
        if state.kills > 0 && me.packet != NOWHERE {
            let mut new = *state;
            (new.kills, new.killed) = (state.kills - 1, state.killed + 1);
            new.consumers[who] =
                Consumer { is_alive: false, at: At::Idle, packet: NOWHERE, is_batch: false, ..me };
            (new.consumers[who].redelivered, new.consumers[who].count) = (0, 0);
            if new.lock == who as u8 {
                new.lock = NOWHERE;
                next.cover("a consumer was killed while it adopted");
            }
            next.external(NAMES[who], "is killed", &[], new);
        }
        if me.at == At::User {
            self.user(who, state, next);
            return;
        }
        let mut new = *state;
        let step = match me.at {
            At::Idle => self.take(who, &mut new, &mut me, next),
            At::AdoptCount | At::AdoptCounted | At::AdoptWord | At::AdoptClear => {
                Some(self.adopt(&mut new, &mut me))
            }
            _ => Some(self.hand_out(&mut new, &mut me, next)),
        };
        if let Some((text, number)) = step {
            new.consumers[who] = me;
            next.step(NAMES[who], text, &[number], new);
        }
    }

    /// Durable: a process takes the entry over. Queue: a new consumer joins at a free entry, or
    /// takes over that of a dead consumer with its packet.
    fn succeed(&self, who: usize, state: &State, next: &mut Next<State>) {
        let mut new = *state;
        if !self.is_queue {
            let handed_out = state.entries[0].handed_out;
            let me = &mut new.consumers[who];
            me.redelivered = if self.fault == Fault::EndNotLoaded { 0 } else { handed_out };
            me.is_alive = true;
            next.step(NAMES[who], "is succeeded", &[], new);
            return;
        }
        if state.lock != NOWHERE {
            return;
        }
        let dead = || (0..ENTRIES).filter(|&entry| !state.is_alive(entry));
        let free = dead().find(|&entry| state.entries[entry].word == NOWHERE);
        if free.is_none() && self.fault == Fault::NoTakeOver {
            return;
        }
        let Some(entry) = free.or_else(|| dead().next()) else { return };
        let mut me = Consumer { is_alive: true, entry: entry as u8, ..state.consumers[who] };
        new.entries[entry].owner = who as u8;
        if free.is_none() {
            // The entry is its own from here on, so no adopter finds the packet in it.
            (me.packet, me.at) = (state.entries[entry].word, At::AdoptCount);
            me.count = self.count_of_dead(state, me.packet);
            new.lock = who as u8;
            next.cover("a newcomer took over the entry of a dead consumer");
        }
        new.consumers[who] = me;
        next.step(NAMES[who], "joins at entry {}", &[entry as u8], new);
    }

    fn take(
        &self,
        who: usize,
        new: &mut State,
        me: &mut Consumer,
        next: &mut Next<State>,
    ) -> Option<(&'static str, u8)> {
        if !self.is_queue {
            let at = new.entries[0].word;
            if usize::from(at) == PACKETS {
                return None;
            }
            if self.has_batches && at == 0 {
                let mut new = *new;
                new.consumers[who] = Consumer { packet: at, is_batch: true, at: At::Decide, ..*me };
                next.step(NAMES[who], "takes both packets", &[], new);
            }
            (me.packet, me.at) = (at, At::Decide);
            return Some(("takes {}", at));
        }
        if let (Some(packet), NOWHERE) = (new.orphan(), new.lock) {
            let mut new = *new;
            new.lock = who as u8;
            let mut me = Consumer { packet, at: At::AdoptCount, ..*me };
            if self.fault == Fault::CountCopiedLast || self.fault == Fault::WordBeforeCount {
                me.at = At::AdoptWord;
            }
            me.count = self.count_of_dead(&new, packet);
            new.consumers[who] = me;
            next.cover("a consumer adopted a packet");
            next.step(NAMES[who], "finds the dead consumer's {}", &[packet], new);
        }
        if usize::from(new.shared) == PACKETS {
            return None;
        }
        (me.packet, me.at, me.redelivered) = (new.shared, At::Decide, 0);
        new.entries[usize::from(me.entry)].word = new.shared;
        new.shared += 1;
        Some(("takes {}", me.packet))
    }

    /// The count of a packet among the dead entries that have it.
    fn count_of_dead(&self, state: &State, packet: u8) -> u8 {
        let has = |entry: &usize| state.entries[*entry].word == packet && !state.is_alive(*entry);
        let mut counts =
            (0..ENTRIES).filter(has).map(|e| state.entries[e].count_of(packet, self.fault));
        match self.fault {
            Fault::AdoptedUncounted => 1,
            Fault::WordBeforeCount => counts.next_back().unwrap_or(1),
            _ => counts.max().unwrap_or(1),
        }
    }

    /// `adopt_orphan`, under the control lock.
    fn adopt(&self, new: &mut State, me: &mut Consumer) -> (&'static str, u8) {
        let own = usize::from(me.entry);
        let counts_late = matches!(self.fault, Fault::CountCopiedLast | Fault::WordBeforeCount);
        match me.at {
            At::AdoptCount => {
                new.entries[own].deliveries = me.count;
                me.at = At::AdoptCounted;
                ("copies the count {}", me.count)
            }
            At::AdoptCounted => {
                new.entries[own].counted = me.packet;
                me.at = if counts_late { At::Decide } else { At::AdoptWord };
                if self.fault == Fault::WordBeforeCount {
                    me.at = At::AdoptClear;
                }
                if me.at == At::Decide {
                    self.adopted(new, me);
                }
                ("stores the packet that is counted: {}", me.packet)
            }
            At::AdoptWord => {
                new.entries[own].word = me.packet;
                me.at = if self.fault == Fault::WordBeforeCount {
                    At::AdoptCount
                } else {
                    At::AdoptClear
                };
                ("stores its in-flight word: {}", me.packet)
            }
            _ => {
                let dead = (0..ENTRIES)
                    .find(|&e| new.entries[e].word == me.packet && e != own && !new.is_alive(e));
                if let Some(dead) = dead {
                    new.entries[dead].word = NOWHERE;
                } else if self.fault == Fault::CountCopiedLast {
                    me.at = At::AdoptCount;
                } else {
                    self.adopted(new, me);
                }
                ("clears a dead word at {}", me.packet)
            }
        }
    }

    fn adopted(&self, new: &mut State, me: &mut Consumer) {
        (new.lock, me.count, me.at) = (NOWHERE, 0, At::Decide);
        me.redelivered = u8::from(self.fault != Fault::AdoptionNotFlagged);
    }

    fn is_redelivered(&self, me: &Consumer) -> bool {
        if self.is_queue { me.redelivered == 1 } else { me.packet < me.redelivered }
    }

    /// `Receiver::hand_out`.
    fn hand_out(
        &self,
        new: &mut State,
        me: &mut Consumer,
        next: &mut Next<State>,
    ) -> (&'static str, u8) {
        let own = usize::from(me.entry);
        let packet = usize::from(me.packet);
        let is_redelivered = self.is_redelivered(me);
        match me.at {
            At::Decide => {
                let count = new.entries[own].count_of(me.packet, self.fault);
                let has_limit = self.max_deliveries > 0 && self.fault != Fault::NoLimit;
                let is_over = has_limit && is_redelivered && count >= self.max_deliveries;
                me.at = match (is_over, self.fault == Fault::AckedBeforeDeadLetter) {
                    (true, true) => At::Buried,
                    (true, false) => At::DeadLetter,
                    (false, _) => self.after_decision(me),
                };
                if is_over {
                    next.cover("a packet became a dead letter");
                    if new.seen[packet] + new.killed < self.max_deliveries {
                        new.violate(Violation::BuriedTooEarly);
                    }
                }
                ("decides about {}", me.packet)
            }
            At::DeadLetter => {
                new.letters[packet] += 1;
                let is_acked = self.fault == Fault::AckedBeforeDeadLetter;
                me.at = if is_acked { At::Idle } else { At::Buried };
                if is_acked {
                    me.packet = NOWHERE;
                }
                ("sends the copy of {}", packet as u8)
            }
            At::Buried => {
                self.release(new, me, 1);
                if self.fault == Fault::AckedBeforeDeadLetter {
                    (me.packet, me.at) = (packet as u8, At::DeadLetter);
                }
                ("acknowledges the dead letter {}", packet as u8)
            }
            At::End | At::LateEnd => {
                let end = me.packet + if me.is_batch { 2 } else { 1 };
                let lowers = self.fault == Fault::EndLowered;
                new.entries[0].handed_out = if lowers { end } else { end.max(me.redelivered) };
                me.at = match me.at {
                    At::LateEnd => At::User,
                    _ => self.counting(me),
                };
                ("stores what was handed out: {}", new.entries[0].handed_out)
            }
            At::Count | At::LateCount | At::Counted | At::LateCounted => {
                self.count(new, me);
                ("counts a delivery of {}", me.packet)
            }
            _ => {
                self.returns(new, me, next);
                me.at = At::User;
                if self.fault == Fault::EndStoredLate && !self.is_queue {
                    me.at = At::LateEnd;
                } else if self.fault == Fault::CountedLate && is_redelivered {
                    me.at = At::LateCount;
                }
                ("returns {} to the user", me.packet)
            }
        }
    }

    fn after_decision(&self, me: &Consumer) -> At {
        if self.is_queue || self.fault == Fault::EndStoredLate {
            self.counting(me)
        } else {
            At::End
        }
    }

    fn counting(&self, me: &Consumer) -> At {
        let counts = !matches!(self.fault, Fault::NotCounted | Fault::CountedLate);
        if self.is_redelivered(me) && counts { At::Count } else { At::Return }
    }

    /// `RedeliveryWords::set`.
    fn count(&self, new: &mut State, me: &mut Consumer) {
        let entry = &mut new.entries[usize::from(me.entry)];
        let position_first = self.fault == Fault::PositionFirst;
        let is_first = matches!(me.at, At::Count | At::LateCount);
        if is_first {
            me.count = entry.count_of(me.packet, self.fault) + 1;
        }
        if is_first != position_first {
            entry.deliveries = me.count;
        } else {
            entry.counted = me.packet;
        }
        me.at = match me.at {
            At::Count => At::Counted,
            At::LateCount => At::LateCounted,
            At::Counted => At::Return,
            _ => At::User,
        };
        if !is_first {
            me.count = 0;
        }
    }

    /// The user gets the packet, its flag and its count.
    fn returns(&self, new: &mut State, me: &Consumer, next: &mut Next<State>) {
        let packet = usize::from(me.packet);
        let is_redelivered = self.is_redelivered(me);
        let own = &new.entries[usize::from(me.entry)];
        let count = if is_redelivered { own.count_of(me.packet, self.fault) } else { 1 };
        if new.seen[packet] > 0 {
            next.cover("a packet was handed out again");
            if !is_redelivered {
                new.violate(Violation::RedeliveryNotFlagged);
            }
        }
        new.seen[packet] += 1;
        if me.is_batch {
            let is_second_redelivered = me.redelivered > me.packet + 1;
            if new.seen[packet + 1] > 0 && !is_second_redelivered {
                new.violate(Violation::RedeliveryNotFlagged);
            }
            new.seen[packet + 1] += 1;
        }
        if self.has_batches {
            return;
        }
        if self.max_deliveries > 0 && new.seen[packet] > self.max_deliveries {
            new.violate(Violation::HandedOutTooOften);
        }
        if count < new.seen[packet] {
            new.violate(Violation::CountTooLow);
        }
        if count > new.seen[packet] + new.killed {
            new.violate(Violation::CountTooHigh);
        }
    }

    fn release(&self, new: &mut State, me: &mut Consumer, packets: u8) {
        let entry = &mut new.entries[usize::from(me.entry)];
        entry.word = if self.is_queue { NOWHERE } else { entry.word + packets };
        (me.packet, me.is_batch, me.at) = (NOWHERE, false, At::Idle);
        if self.is_queue {
            me.redelivered = 0;
        }
    }

    fn user(&self, who: usize, state: &State, next: &mut Next<State>) {
        let me = state.consumers[who];
        let packets = if me.is_batch { 2 } else { 1 };
        let mut new = *state;
        for packet in me.packet..me.packet + packets {
            new.acked[usize::from(packet)] = true;
        }
        let mut acks = me;
        self.release(&mut new, &mut acks, packets);
        new.consumers[who] = acks;
        next.step(NAMES[who], "acknowledges {}", &[me.packet], new);
        if state.put_backs == 0 {
            return;
        }
        let mut new = *state;
        new.put_backs -= 1;
        let mut back = Consumer { at: At::Decide, ..me };
        let flags = self.fault != Fault::PutBackNotFlagged;
        if self.is_queue {
            back.redelivered = me.redelivered.max(u8::from(flags));
        } else {
            let end = if flags { me.packet + packets } else { 0 };
            back.redelivered = me.redelivered.max(end);
            (back.packet, back.is_batch, back.at) = (NOWHERE, false, At::Idle);
        }
        new.consumers[who] = back;
        next.external(NAMES[who], "puts {} back", &[me.packet], new);
        self.nack(who, state, next);
    }

    /// `change_entry`, under the control lock in one step.
    fn nack(&self, who: usize, state: &State, next: &mut Next<State>) {
        let me = state.consumers[who];
        let free = (0..ENTRIES)
            .find(|&entry| !state.is_alive(entry) && state.entries[entry].word == NOWHERE);
        let (true, Some(entry), NOWHERE) = (self.is_queue, free, state.lock) else { return };
        let mut new = *state;
        new.put_backs -= 1;
        new.entries[entry].owner = who as u8;
        if self.fault == Fault::NackClearsWord {
            new.entries[usize::from(me.entry)].word = NOWHERE;
        }
        let left = Consumer { entry: entry as u8, packet: NOWHERE, at: At::Idle, ..me };
        new.consumers[who] = Consumer { redelivered: 0, ..left };
        next.cover("a consumer left its packet to another one");
        next.external(NAMES[who], "leaves {} to others", &[me.packet], new);
    }
}

const DURABLE: Deliveries = Deliveries {
    fault: Fault::Nothing,
    is_queue: false,
    max_deliveries: 3,
    has_batches: false,
    kills: 3,
    put_backs: 4,
};

const BATCHES: Deliveries = Deliveries { has_batches: true, max_deliveries: 0, ..DURABLE };

const QUEUE: Deliveries =
    Deliveries { is_queue: true, max_deliveries: 2, kills: 2, put_backs: 2, ..DURABLE };

#[test]
fn each_delivery_of_a_durable_subscriber_is_flagged_and_counted() {
    let situations = ["a packet was handed out again", "a packet became a dead letter"];
    holds("deliveries, durable", &DURABLE, &situations);
    holds("deliveries, batches", &BATCHES, &["a packet was handed out again"]);
}

#[test]
fn each_delivery_of_a_job_is_flagged_and_counted() {
    let situations = [
        "a packet was handed out again",
        "a packet became a dead letter",
        "a consumer adopted a packet",
        "a consumer was killed while it adopted",
        "a consumer left its packet to another one",
        "a newcomer took over the entry of a dead consumer",
    ];
    holds("deliveries, queue", &QUEUE, &situations);
}

#[test]
fn deliveries_hold_in_larger_scenarios() {
    if is_large() {
        let more = Deliveries { kills: 3, put_backs: 4, max_deliveries: 3, ..QUEUE };
        holds("deliveries, large, queue", &more, &[]);
        let more = Deliveries { kills: 5, put_backs: 6, ..DURABLE };
        holds("deliveries, large, durable", &more, &[]);
    }
}

#[track_caller]
fn broken_by(fault: Fault, scenario: Deliveries, violation: Violation) {
    let name = std::thread::current().name().unwrap_or_default().to_owned();
    breaks(&name, &Deliveries { fault, ..scenario }, violation);
}

#[test]
fn an_end_that_is_stored_after_the_delivery_misses_a_redelivery() {
    broken_by(Fault::EndStoredLate, DURABLE, Violation::RedeliveryNotFlagged);
}

#[test]
fn an_end_that_is_lowered_misses_the_rest_of_a_batch() {
    broken_by(Fault::EndLowered, BATCHES, Violation::RedeliveryNotFlagged);
}

#[test]
fn a_successor_that_does_not_load_the_end_misses_a_redelivery() {
    broken_by(Fault::EndNotLoaded, DURABLE, Violation::RedeliveryNotFlagged);
}

#[test]
fn a_packet_that_is_put_back_must_be_flagged() {
    broken_by(Fault::PutBackNotFlagged, DURABLE, Violation::RedeliveryNotFlagged);
    broken_by(Fault::PutBackNotFlagged, QUEUE, Violation::RedeliveryNotFlagged);
}

#[test]
fn a_delivery_that_is_counted_after_it_is_missed_when_the_worker_dies() {
    broken_by(Fault::CountedLate, DURABLE, Violation::CountTooLow);
    broken_by(Fault::CountedLate, QUEUE, Violation::CountTooLow);
}

#[test]
fn without_a_count_a_packet_is_handed_out_for_ever() {
    broken_by(Fault::NotCounted, DURABLE, Violation::CountTooLow);
    broken_by(Fault::NotCounted, QUEUE, Violation::CountTooLow);
    broken_by(Fault::NoLimit, DURABLE, Violation::HandedOutTooOften);
}

#[test]
fn a_position_that_is_stored_before_its_count_takes_over_an_earlier_count() {
    broken_by(Fault::PositionFirst, DURABLE, Violation::BuriedTooEarly);
}

#[test]
fn a_count_of_another_packet_must_not_count() {
    broken_by(Fault::CountOfAnyPacket, DURABLE, Violation::CountTooHigh);
}

#[test]
fn a_dead_letter_that_is_acknowledged_first_is_lost() {
    broken_by(Fault::AckedBeforeDeadLetter, DURABLE, Violation::PacketLost);
    broken_by(Fault::AckedBeforeDeadLetter, QUEUE, Violation::PacketLost);
}

#[test]
fn an_adopted_packet_must_be_flagged() {
    broken_by(Fault::AdoptionNotFlagged, QUEUE, Violation::RedeliveryNotFlagged);
}

#[test]
fn an_adopter_that_begins_to_count_anew_hands_out_too_often() {
    broken_by(Fault::AdoptedUncounted, QUEUE, Violation::HandedOutTooOften);
}

#[test]
fn a_count_that_is_copied_after_the_dead_words_are_cleared_is_lost() {
    broken_by(Fault::CountCopiedLast, QUEUE, Violation::HandedOutTooOften);
}

#[test]
fn a_word_before_its_count_hides_the_count_from_the_next_adopter() {
    broken_by(Fault::WordBeforeCount, QUEUE, Violation::HandedOutTooOften);
}

#[test]
fn a_job_that_is_left_to_others_keeps_its_word() {
    broken_by(Fault::NackClearsWord, QUEUE, Violation::PacketLost);
}

#[test]
fn without_a_take_over_dead_consumers_keep_every_entry() {
    broken_by(Fault::NoTakeOver, QUEUE, Violation::PacketNeverDone);
}
