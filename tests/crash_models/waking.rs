//! Waking as many consumers of a queue as there are new packets.
//!
//! The actors mirror these sources:
//!
//! - publisher: `wait/notify.rs` (`Notifier::has_new_waiters`, `wake_some`)
//! - consumer: `channel/untyped/waiting.rs` (`wait_for_next`), `channel/select.rs`
//!   (`wait_for_any`), `channel/owned_entry.rs` (`pass_wake_up_on`)
//!
//! The kernel chooses the sleepers that a wake-up reaches. A consumer that took a packet is busy,
//! possibly for good: nothing may depend on its return. A consumer may leave its wait without a
//! packet: its timeout passed, or `select` found something elsewhere. Memory is sequentially
//! consistent here, because `parking` models the barriers.
//!
//! Sleeps are unbounded until a consumer is killed. Then a liveness check ends them.

use super::explorer::{Model, Next, breaks, holds, is_large};

const PUBLISHERS: [&str; 2] = ["P0", "P1"];
const CONSUMERS: [&str; 3] = ["C0", "C1", "C2"];
/// Most packets of a scenario.
const PACKETS: usize = 4;

/// Injected faults.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fault {
    Nothing,
    /// A publisher records all registrations, although it did not wake all sleepers.
    RecordsAll,
    /// A consumer that was woken and took a packet does not look for another one.
    KeepsWakeUp,
    /// A consumer that was woken and leaves without a packet does not look for one.
    SwallowsWakeUp,
    /// A publisher of several packets wakes one consumer, and the consumers pass nothing on.
    WakesOnePerBatch,
    /// Sleeps are unbounded although a consumer may be killed.
    NoBound,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
enum Violation {
    /// All consumers that are not busy sleep, although a packet is there.
    PacketIsNotTaken,
    PublisherNeverFinishes,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum At {
    Claim,
    Commit,
    LookForRegistrations,
    ChangeWord,
    Wake,
    Record,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Publisher {
    at: At,
    /// Packets that it will still publish.
    left: u8,
    claimed: u8,
    seen: u8,
    read: u8,
    /// Sleepers that it will still wake.
    to_wake: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Pause {
    Look,
    ReadWord,
    Register,
    SecondLook,
    Sleep,
    Asleep,
    /// It leaves the wait, with or without a packet, and looks for another packet.
    PassOn,
    PassWord,
    PassWake,
    Busy,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Consumer {
    is_alive: bool,
    at: Pause,
    word: u8,
    /// It slept since it began to wait.
    has_slept: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct State {
    /// Committed packets, by position.
    stamped: [bool; PACKETS],
    tail: u8,
    cursor: u8,
    waiters: u8,
    futex: u8,
    publishers: [Publisher; 2],
    consumers: [Consumer; 3],
    kills: u8,
    /// Consumers that may still leave a wait without a packet.
    leaves: u8,
    /// Consumers that may still come back.
    returns: u8,
    was_killed: bool,
}

/// A scenario.
#[derive(Clone, Copy)]
struct Waking {
    fault: Fault,
    publishers: usize,
    consumers: usize,
    /// Packets of each publisher.
    packets: u8,
    /// Packets of one claim.
    batch: u8,
    kills: u8,
    leaves: u8,
    returns: u8,
}

impl State {
    fn is_ready(&self) -> bool {
        self.stamped.get(usize::from(self.cursor)).is_some_and(|&is_stamped| is_stamped)
    }
}

impl Model for Waking {
    type State = State;
    type Violation = Violation;

    fn start(&self) -> State {
        let publisher = |index: usize| Publisher {
            at: At::Claim,
            left: if index < self.publishers { self.packets } else { 0 },
            claimed: 0,
            seen: 0,
            read: 0,
            to_wake: 0,
        };
        let consumer = |index: usize| Consumer {
            is_alive: index < self.consumers,
            at: Pause::Look,
            word: 0,
            has_slept: false,
        };
        State {
            stamped: [false; PACKETS],
            tail: 0,
            cursor: 0,
            waiters: 0,
            futex: 0,
            publishers: [publisher(0), publisher(1)],
            consumers: [consumer(0), consumer(1), consumer(2)],
            kills: self.kills,
            leaves: self.leaves,
            returns: self.returns,
            was_killed: false,
        }
    }

    fn next(&self, state: &State, next: &mut Next<State>) {
        for index in 0..2 {
            self.publisher(index, state, next);
        }
        for index in 0..3 {
            self.consumer(index, state, next);
        }
    }

    fn violation(&self, _: &State) -> Option<Violation> {
        None
    }

    fn unmet(&self, state: &State) -> Vec<Violation> {
        let mut unmet = Vec::new();
        let could_take = |consumer: &Consumer| consumer.is_alive && consumer.at != Pause::Busy;
        if state.is_ready() && state.consumers.iter().any(could_take) {
            unmet.push(Violation::PacketIsNotTaken);
        }
        if state.publishers.iter().any(|publisher| publisher.at != At::Claim || publisher.left > 0)
        {
            unmet.push(Violation::PublisherNeverFinishes);
        }
        unmet
    }
}

/// Adds a step that wakes one sleeper, for each sleeper. Returns false if there is none.
fn wake_one(
    state: &State,
    next: &mut Next<State>,
    who: &'static str,
    after: impl Fn(&mut State),
) -> bool {
    let mut is_any = false;
    for index in 0..3 {
        let consumer = state.consumers[index];
        if consumer.is_alive && consumer.at == Pause::Asleep {
            is_any = true;
            let mut new = *state;
            new.consumers[index].at = Pause::Look;
            after(&mut new);
            next.step(who, "wakes consumer {}", &[index as u8], new);
        }
    }
    is_any
}

/// `wait/notify.rs`.
impl Waking {
    fn publisher(&self, index: usize, state: &State, next: &mut Next<State>) {
        let mut me = state.publishers[index];
        let mut new = *state;
        let (text, number) = match me.at {
            At::Claim if me.left == 0 => return,
            At::Claim => {
                me.claimed = state.tail;
                new.tail += self.batch;
                me.left -= self.batch;
                me.at = At::Commit;
                ("claims position {}", me.claimed)
            }
            At::Commit => {
                for position in me.claimed..me.claimed + self.batch {
                    new.stamped[usize::from(position)] = true;
                }
                if state.cursor < me.claimed {
                    next.cover("a packet was committed behind an open claim");
                }
                me.at = At::LookForRegistrations;
                ("commits position {}", me.claimed)
            }
            At::LookForRegistrations => {
                me.read = state.waiters;
                let must_wake = me.read != me.seen;
                me.at = if must_wake { At::ChangeWord } else { At::Claim };
                ("checks for registrations: {}", me.read)
            }
            At::ChangeWord => {
                new.futex += 1;
                let wakes_one = self.fault == Fault::WakesOnePerBatch;
                me.to_wake = if wakes_one { 1 } else { self.batch };
                me.at = At::Wake;
                ("changes the word: {}", new.futex)
            }
            At::Wake => {
                let after = |new: &mut State| {
                    let me = &mut new.publishers[index];
                    me.to_wake -= 1;
                    if me.to_wake == 0 {
                        // There may be more sleepers: their registrations stay unanswered.
                        let records = self.fault == Fault::RecordsAll;
                        me.at = if records { At::Record } else { At::Claim };
                    }
                };
                if wake_one(state, next, PUBLISHERS[index], after) {
                    next.cover("a publisher woke a consumer");
                    return;
                }
                (me.to_wake, me.at) = (0, At::Record);
                ("finds no other sleeper", 0)
            }
            At::Record => {
                (me.seen, me.read, me.at) = (me.read, 0, At::Claim);
                ("records the registration count {}", me.seen)
            }
        };
        new.publishers[index] = me;
        next.step(PUBLISHERS[index], text, &[number], new);
    }
}

/// `channel/untyped/waiting.rs`.
impl Waking {
    fn consumer(&self, index: usize, state: &State, next: &mut Next<State>) {
        let me = state.consumers[index];
        if !me.is_alive {
            return;
        }
        let waits =
            !matches!(me.at, Pause::Busy | Pause::PassOn | Pause::PassWord | Pause::PassWake);
        if state.kills > 0 && me.at != Pause::Busy {
            let mut new = *state;
            (new.kills, new.was_killed) = (new.kills - 1, true);
            new.consumers[index].is_alive = false;
            if me.at == Pause::Look && me.has_slept && state.is_ready() {
                next.cover("a woken consumer was killed");
            }
            next.external(CONSUMERS[index], "is killed", &[], new);
        }
        if state.leaves > 0 && waits {
            let mut new = *state;
            new.leaves -= 1;
            new.consumers[index].at = self.leaving(me.has_slept, Fault::SwallowsWakeUp);
            if me.has_slept && state.is_ready() {
                next.cover("a woken consumer left without a packet");
            }
            next.external(CONSUMERS[index], "leaves without a packet", &[], new);
        }
        if me.at == Pause::Busy {
            if state.returns > 0 {
                let mut new = *state;
                new.returns -= 1;
                new.consumers[index].at = Pause::Look;
                new.consumers[index].has_slept = false;
                next.external(CONSUMERS[index], "is no longer busy", &[], new);
            }
            return;
        }
        self.step_of(index, state, next);
    }

    /// The step after a wait.
    fn leaving(&self, has_slept: bool, fault: Fault) -> Pause {
        let passes_on = has_slept && self.fault != fault && self.fault != Fault::WakesOnePerBatch;
        if passes_on { Pause::PassOn } else { Pause::Busy }
    }

    fn step_of(&self, index: usize, state: &State, next: &mut Next<State>) {
        let (mut me, mut new) = (state.consumers[index], *state);
        let (text, number) = match me.at {
            Pause::Look if state.is_ready() => {
                new.cursor += 1;
                me.at = self.leaving(me.has_slept, Fault::KeepsWakeUp);
                (me.word, me.has_slept) = (0, false);
                ("takes position {}", state.cursor)
            }
            Pause::Look => {
                me.at = Pause::ReadWord;
                ("finds nothing at position {}", state.cursor)
            }
            Pause::ReadWord => {
                (me.word, me.at) = (state.futex, Pause::Register);
                ("reads the word: {}", me.word)
            }
            Pause::Register => {
                new.waiters += 1;
                me.at = Pause::SecondLook;
                ("registers: {}", new.waiters)
            }
            Pause::SecondLook => {
                me.at = if state.is_ready() { Pause::Look } else { Pause::Sleep };
                ("checks again", 0)
            }
            Pause::Sleep => {
                let sleeps = state.futex == me.word;
                me.at = if sleeps { Pause::Asleep } else { Pause::Look };
                me.has_slept = true;
                ("sleeps, unless the word {} has changed", me.word)
            }
            Pause::Asleep => {
                let is_bounded = state.was_killed && self.fault != Fault::NoBound;
                if !is_bounded || !state.is_ready() {
                    return;
                }
                next.cover("a liveness check ended a sleep");
                me.at = Pause::Look;
                ("ends its sleep by a liveness check", 0)
            }
            Pause::PassOn => {
                me.at = if state.is_ready() { Pause::PassWord } else { Pause::Busy };
                ("looks for another packet", 0)
            }
            Pause::PassWord => {
                new.futex += 1;
                me.at = Pause::PassWake;
                ("changes the word: {}", new.futex)
            }
            Pause::PassWake => {
                let after = |new: &mut State| new.consumers[index].at = Pause::Busy;
                if wake_one(state, next, CONSUMERS[index], after) {
                    next.cover("a consumer passed its wake-up on");
                    return;
                }
                me.at = Pause::Busy;
                ("finds no sleeper", 0)
            }
            Pause::Busy => return,
        };
        new.consumers[index] = me;
        next.step(CONSUMERS[index], text, &[number], new);
    }
}

/// One publisher, two packets one after the other.
const ONE_BY_ONE: Waking = Waking {
    fault: Fault::Nothing,
    publishers: 1,
    consumers: 3,
    packets: 2,
    batch: 1,
    kills: 0,
    leaves: 0,
    returns: 0,
};

/// Two publishers: the second packet may be committed first.
const TWO_PUBLISHERS: Waking = Waking { publishers: 2, packets: 1, consumers: 2, ..ONE_BY_ONE };

/// Two packets of one claim.
const BATCH: Waking = Waking { batch: 2, ..ONE_BY_ONE };

/// A consumer leaves its wait without a packet.
const LEAVING: Waking = Waking { leaves: 1, packets: 1, consumers: 2, ..ONE_BY_ONE };

/// A consumer is killed.
const KILLED: Waking = Waking { kills: 1, packets: 1, consumers: 2, ..ONE_BY_ONE };

#[test]
fn each_packet_wakes_a_consumer() {
    holds("waking, one by one", &ONE_BY_ONE, &["a publisher woke a consumer"]);
    holds("waking, returns", &Waking { returns: 2, consumers: 2, ..ONE_BY_ONE }, &[]);
    let behind =
        ["a packet was committed behind an open claim", "a consumer passed its wake-up on"];
    holds("waking, two publishers", &TWO_PUBLISHERS, &behind);
    holds("waking, a batch", &BATCH, &["a publisher woke a consumer"]);
}

#[test]
fn a_wake_up_that_a_consumer_does_not_need_is_passed_on() {
    let situations = ["a woken consumer left without a packet", "a consumer passed its wake-up on"];
    holds("waking, leaving", &LEAVING, &situations);
    holds("waking, leaving, two packets", &Waking { packets: 2, ..LEAVING }, &situations);
}

#[test]
fn the_wake_up_of_a_killed_consumer_is_replaced_by_a_liveness_check() {
    let situations = ["a woken consumer was killed", "a liveness check ended a sleep"];
    holds("waking, killed", &KILLED, &situations);
    holds("waking, killed, two packets", &Waking { packets: 2, ..KILLED }, &situations);
}

#[test]
fn waking_holds_in_larger_scenarios() {
    if is_large() {
        let all = Waking { kills: 1, leaves: 1, returns: 1, consumers: 3, ..TWO_PUBLISHERS };
        holds("waking, large, two publishers", &all, &[]);
        holds("waking, large, batches", &Waking { packets: 4, leaves: 1, ..BATCH }, &[]);
    }
}

#[track_caller]
fn broken_by(fault: Fault, scenario: Waking) {
    let name = std::thread::current().name().unwrap_or_default().to_owned();
    breaks(&name, &Waking { fault, ..scenario }, Violation::PacketIsNotTaken);
}

#[test]
fn registrations_recorded_although_sleepers_are_left_lose_a_wake_up() {
    broken_by(Fault::RecordsAll, ONE_BY_ONE);
}

#[test]
fn a_packet_behind_another_one_is_left_if_the_wake_up_is_kept() {
    broken_by(Fault::KeepsWakeUp, TWO_PUBLISHERS);
}

#[test]
fn a_wake_up_is_lost_with_a_consumer_that_leaves() {
    broken_by(Fault::SwallowsWakeUp, LEAVING);
}

#[test]
fn one_wake_up_for_a_batch_leaves_a_packet() {
    broken_by(Fault::WakesOnePerBatch, BATCH);
}

#[test]
fn a_sleep_without_bound_outlasts_a_killed_consumer() {
    broken_by(Fault::NoBound, KILLED);
}
