//! Parking and waking. A publisher stores, checks for waiters and wakes them. Sleepers register,
//! check again and sleep. Each may be killed, also between stamp and wake.
//!
//! The actors mirror these sources:
//!
//! - publisher: `wait/notify.rs` (`Notifier::new`, `has_new_waiters`, `wake`), `channel/join.rs`
//!   (`publisher` wakes once it is there)
//! - sleeper: `wait/event_count.rs` (`Waiter::register`, `register_waiter`, `Waiter::park`),
//!   `sys/futex.rs` (`heavy_barrier`)
//! - stopper: `sys/stop.rs` (`Stop::stop`). The sleepers wait for its word and for their event
//!   count
//!
//! A stamp stays in its publisher's store buffer until it drains by itself, by a locked instruction
//! of that publisher, or by a sleeper's `membarrier`. Without buffers the barrier would look
//! unnecessary. The other direction is the symmetrical protocol over the other event count: a
//! publisher sleeps at its limit until a subscriber's cursor moves.
//!
//! Sleeps are unbounded unless a scenario sets a bound. The protocol relies on a bound only after a
//! kill. A sleep may end early, by a liveness check: the sleeper then sleeps again without a second
//! registration, if the word has not changed.

use super::explorer::{Model, Next, breaks, holds, is_large};

const PUBLISHERS: [&str; 2] = ["P0", "P1"];
const SLEEPERS: [&str; 2] = ["S0", "S1"];

/// Injected faults.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fault {
    Nothing,
    /// The registration is a flag; the waker clears it, then wakes.
    FlagClearedThenWoken,
    /// The registration is a flag; the waker wakes, then clears it.
    FlagWokenThenCleared,
    /// The registration is a count of sleepers, which each sleeper decrements.
    CountOfSleepers,
    /// The sleepers sleep on `waiters` itself.
    SleepOnTheWaiters,
    /// The sleeper executes no barrier.
    NoBarrier,
    /// The sleeper does not check again after its registration.
    NoSecondRead,
    /// The sleeper reads the futex word after its second check.
    WordReadLast,
    /// The waker records the registration count after it has changed the word.
    RecordedLate,
    /// A joining publisher records all registrations as seen, and does not wake.
    NewcomerDoesNotWake,
    /// A publisher that `membarrier` does not reach executes no fence.
    NoLocalFence,
    /// The sleeper relies on its last registration, although the word has changed since.
    OldRegistration,
    /// Sleeps are unbounded although a publisher may be killed.
    NoBound,
    /// The kernel does not compare the word of the stop before the sleep.
    StopNotCompared,
    /// The stopper wakes the sleepers, then stores its word.
    StopWakesFirst,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
enum Violation {
    /// A sleeper sleeps although its packet was published.
    SleeperNeverWakes,
    PublisherNeverFinishes,
    /// A sleeper sleeps although its wait was stopped.
    SleeperNeverStops,
    /// A publisher wakes more often than sleepers registered.
    PublisherWakesTooOften,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum At {
    Join,
    CommitStamp,
    LocalFence,
    LookForRegistrations,
    WakeLook,
    WakeWord,
    WakeAll,
    Record,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Publisher {
    is_alive: bool,
    at: At,
    sent: u8,
    /// Its stamp is in its store buffer.
    is_pending: bool,
    seen: u8,
    read: u8,
    wakes: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Pause {
    Look,
    ReadWord,
    Register,
    Barrier,
    ParkLook,
    LateWord,
    Sleep,
    Asleep,
    TakeOff,
    /// Its call has returned: it found nothing after it was stopped.
    Stopped,
}

/// The stop of all sleepers.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Stopper {
    /// There is none, or it is done.
    Idle,
    /// It stores its word next.
    Stores,
    /// It wakes the sleepers next.
    Wakes,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Sleeper {
    is_alive: bool,
    at: Pause,
    received: u8,
    word: u8,
    /// The word at its last registration.
    registered_at: Option<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct State {
    /// Globally visible stamps.
    stamped: u8,
    waiters: u8,
    futex: u8,
    publishers: [Publisher; 2],
    sleepers: [Sleeper; 2],
    kills: u8,
    /// Sleeps that may end early.
    checks: u8,
    registrations: u8,
    stopper: Stopper,
    is_stopped: bool,
    violation: Option<Violation>,
}

/// A scenario.
#[derive(Clone, Copy)]
struct Parking {
    fault: Fault,
    publishers: usize,
    sleepers: usize,
    sends: u8,
    publishers_die: bool,
    sleepers_die: bool,
    kills: u8,
    checks: u8,
    /// Sleeps end by themselves.
    is_bounded: bool,
    /// The waits are stopped at some time.
    stops: bool,
    /// The second publisher joins later.
    joins: bool,
    /// The second publisher could not register for `membarrier`.
    is_unreachable: bool,
}

impl State {
    fn drain(&mut self, publisher: usize) {
        if std::mem::take(&mut self.publishers[publisher].is_pending) {
            self.stamped += 1;
        }
    }
}

impl Model for Parking {
    type State = State;
    type Violation = Violation;

    fn start(&self) -> State {
        let publisher = |index: usize| Publisher {
            is_alive: index < self.publishers,
            at: if self.joins && index == 1 { At::Join } else { At::CommitStamp },
            sent: 0,
            is_pending: false,
            seen: 0,
            read: 0,
            wakes: 0,
        };
        let sleeper = |index: usize| Sleeper {
            is_alive: index < self.sleepers,
            at: Pause::Look,
            received: 0,
            word: 0,
            registered_at: None,
        };
        State {
            stamped: 0,
            waiters: 0,
            futex: 0,
            publishers: [publisher(0), publisher(1)],
            sleepers: [sleeper(0), sleeper(1)],
            kills: self.kills,
            checks: self.checks,
            registrations: 0,
            stopper: match self.fault {
                _ if !self.stops => Stopper::Idle,
                Fault::StopWakesFirst => Stopper::Wakes,
                _ => Stopper::Stores,
            },
            is_stopped: false,
            violation: None,
        }
    }

    fn next(&self, state: &State, next: &mut Next<State>) {
        for index in 0..2 {
            self.publisher(index, state, next);
            self.sleeper(index, state, next);
        }
        self.stopper(state, next);
    }

    fn violation(&self, state: &State) -> Option<Violation> {
        state.violation
    }

    fn unmet(&self, state: &State) -> Vec<Violation> {
        let mut unmet = Vec::new();
        let waits = |sleeper: &&Sleeper| sleeper.is_alive && sleeper.at != Pause::Stopped;
        let mut waiting = state.sleepers.iter().filter(waits);
        if waiting.clone().any(|sleeper| sleeper.received < state.stamped) {
            unmet.push(Violation::SleeperNeverWakes);
        }
        if self.stops && waiting.next().is_some() {
            unmet.push(Violation::SleeperNeverStops);
        }
        if state.publishers.iter().any(|p| p.is_alive && !self.is_done(p) || p.is_pending) {
            unmet.push(Violation::PublisherNeverFinishes);
        }
        unmet
    }
}

/// `wait/notify.rs`.
impl Parking {
    fn is_flag(&self) -> bool {
        matches!(self.fault, Fault::FlagClearedThenWoken | Fault::FlagWokenThenCleared)
    }

    fn is_done(&self, publisher: &Publisher) -> bool {
        publisher.at == At::CommitStamp && publisher.sent == self.sends
    }

    fn publisher(&self, index: usize, state: &State, next: &mut Next<State>) {
        let mut me = state.publishers[index];
        if me.is_pending {
            let mut new = *state;
            new.drain(index);
            next.step(PUBLISHERS[index], "stamp becomes visible", &[], new);
        }
        if !me.is_alive || self.is_done(&me) || me.at == At::CommitStamp && me.is_pending {
            return;
        }
        if self.publishers_die && state.kills > 0 {
            let mut new = *state;
            new.kills -= 1;
            new.publishers[index].is_alive = false;
            if !matches!(me.at, At::Join | At::CommitStamp) {
                next.cover("a publisher was killed between stamp and wake");
            }
            next.external(PUBLISHERS[index], "is killed", &[], new);
        }
        let mut new = *state;
        let (text, number) = match me.at {
            At::Join | At::CommitStamp | At::LocalFence | At::LookForRegistrations => {
                self.send(index, &mut new, &mut me, next)
            }
            _ => self.wake(&mut new, &mut me, next),
        };
        new.publishers[index] = me;
        if new.publishers[index].wakes > new.registrations {
            new.violation = Some(Violation::PublisherWakesTooOften);
        }
        next.step(PUBLISHERS[index], text, &[number], new);
    }

    fn send(
        &self,
        index: usize,
        new: &mut State,
        me: &mut Publisher,
        next: &mut Next<State>,
    ) -> (&'static str, u8) {
        let is_unreachable = self.is_unreachable && index == 1;
        match me.at {
            At::Join => {
                me.seen = new.waiters;
                let wakes = self.fault != Fault::NewcomerDoesNotWake && !self.is_flag();
                me.at = if wakes { At::WakeLook } else { At::CommitStamp };
                ("joins after {} registrations", me.seen)
            }
            At::CommitStamp => {
                (me.is_pending, me.sent) = (true, me.sent + 1);
                me.at = At::LookForRegistrations;
                if is_unreachable && self.fault != Fault::NoLocalFence {
                    me.at = At::LocalFence;
                }
                ("stores stamp {}", me.sent)
            }
            At::LocalFence => {
                new.stamped += u8::from(std::mem::take(&mut me.is_pending));
                me.at = At::LookForRegistrations;
                ("fence", 0)
            }
            At::LookForRegistrations => {
                let counts = self.is_flag() || self.fault == Fault::CountOfSleepers;
                let must_wake = new.waiters != if counts { 0 } else { me.seen };
                me.at = if must_wake { At::WakeLook } else { At::CommitStamp };
                if !must_wake {
                    next.cover("a publisher found no sleeper");
                }
                ("checks for registrations: {}", new.waiters)
            }
            _ => unreachable!("not a part of sending"),
        }
    }

    fn wake(
        &self,
        new: &mut State,
        me: &mut Publisher,
        next: &mut Next<State>,
    ) -> (&'static str, u8) {
        match me.at {
            At::WakeLook => {
                me.read = new.waiters;
                me.at = At::WakeWord;
                if self.fault == Fault::FlagWokenThenCleared {
                    me.at = At::WakeAll;
                }
                ("reads the registration count {}", me.read)
            }
            At::WakeWord => {
                me.at = At::WakeAll;
                match self.fault {
                    Fault::SleepOnTheWaiters => return ("leaves the word unchanged", 0),
                    Fault::FlagClearedThenWoken => new.waiters = 0,
                    _ => new.futex += 1,
                }
                // A locked instruction drains the store buffer.
                new.stamped += u8::from(std::mem::take(&mut me.is_pending));
                ("changes the word: {}", new.futex)
            }
            At::WakeAll => {
                for sleeper in &mut new.sleepers {
                    if sleeper.is_alive && sleeper.at == Pause::Asleep {
                        next.cover("a sleeper was woken");
                        sleeper.at = self.awake();
                    }
                }
                me.wakes += u8::from(self.sleepers_die);
                me.at = At::Record;
                ("wakes all", 0)
            }
            At::Record => {
                me.seen = me.read;
                match self.fault {
                    Fault::RecordedLate => me.seen = new.waiters,
                    Fault::FlagWokenThenCleared => {
                        new.waiters = 0;
                        new.stamped += u8::from(std::mem::take(&mut me.is_pending));
                    }
                    _ => {}
                }
                (me.read, me.at) = (0, At::CommitStamp);
                ("records the registration count {}", me.seen)
            }
            _ => unreachable!("not a part of waking"),
        }
    }
}

/// `sys/stop.rs`.
impl Parking {
    fn stopper(&self, state: &State, next: &mut Next<State>) {
        let mut new = *state;
        let is_first = state.stopper == Stopper::Stores && self.fault != Fault::StopWakesFirst
            || state.stopper == Stopper::Wakes && self.fault == Fault::StopWakesFirst;
        let text = match state.stopper {
            Stopper::Idle => return,
            Stopper::Stores => {
                new.is_stopped = true;
                new.stopper = if is_first { Stopper::Wakes } else { Stopper::Idle };
                "stores its word"
            }
            Stopper::Wakes => {
                for sleeper in new.sleepers.iter_mut().filter(|it| it.at == Pause::Asleep) {
                    next.cover("a stop woke a sleeper");
                    sleeper.at = self.awake();
                }
                new.stopper = if is_first { Stopper::Stores } else { Stopper::Idle };
                "wakes all"
            }
        };
        next.step("the stopper", text, &[], new);
    }
}

/// `wait/event_count.rs`.
impl Parking {
    /// The step after a sleep.
    fn awake(&self) -> Pause {
        let takes_off = self.fault == Fault::CountOfSleepers;
        if takes_off { Pause::TakeOff } else { Pause::Look }
    }

    fn sleeper(&self, index: usize, state: &State, next: &mut Next<State>) {
        let mut me = state.sleepers[index];
        if !me.is_alive {
            return;
        }
        if self.sleepers_die && state.kills > 0 && me.at != Pause::Look {
            let mut new = *state;
            new.kills -= 1;
            new.sleepers[index].is_alive = false;
            next.cover("a sleeper was killed");
            next.external(SLEEPERS[index], "is killed", &[], new);
        }
        if me.at == Pause::Asleep && state.checks > 0 {
            let mut new = *state;
            new.checks -= 1;
            new.sleepers[index].at = self.awake();
            next.external(SLEEPERS[index], "checks whether others live", &[], new);
        }
        let mut new = *state;
        let words = match me.at {
            Pause::Look
            | Pause::ParkLook
            | Pause::LateWord
            | Pause::Sleep
            | Pause::Asleep
            | Pause::Stopped => self.look(state, &mut me, next),
            _ => self.register(&mut new, &mut me, next),
        };
        if let Some((text, number)) = words {
            new.sleepers[index] = me;
            next.step(SLEEPERS[index], text, &[number], new);
        }
    }

    /// Returns true if the last registration still counts.
    fn is_registered(&self, me: &Sleeper) -> bool {
        match self.fault {
            Fault::OldRegistration => me.registered_at.is_some(),
            Fault::CountOfSleepers | Fault::SleepOnTheWaiters => false,
            _ => !self.is_flag() && me.registered_at == Some(me.word),
        }
    }

    fn register(
        &self,
        new: &mut State,
        me: &mut Sleeper,
        next: &mut Next<State>,
    ) -> Option<(&'static str, u8)> {
        match me.at {
            Pause::ReadWord => {
                me.word = new.futex;
                me.at = Pause::Register;
                if self.is_registered(me) {
                    next.cover("a registration served a second sleep");
                    me.at = Pause::ParkLook;
                }
                Some(("reads the word: {}", me.word))
            }
            Pause::Register => {
                new.waiters = if self.is_flag() { 1 } else { new.waiters + 1 };
                new.registrations += u8::from(self.sleepers_die);
                match self.fault {
                    Fault::SleepOnTheWaiters => me.word = new.waiters,
                    _ if self.is_flag() => me.word = 1,
                    _ => {}
                }
                me.at = Pause::Barrier;
                Some(("registers: {}", new.waiters))
            }
            Pause::Barrier => {
                if self.fault != Fault::NoBarrier {
                    new.drain(0);
                    if !self.is_unreachable {
                        new.drain(1);
                    }
                }
                me.registered_at = Some(me.word);
                let looks = self.fault != Fault::NoSecondRead;
                me.at = if looks { Pause::ParkLook } else { Pause::Sleep };
                Some(("membarrier", 0))
            }
            Pause::TakeOff => {
                new.waiters -= 1;
                me.at = Pause::Look;
                Some(("decrements the count: {}", new.waiters))
            }
            _ => unreachable!("not a part of registering"),
        }
    }

    fn look(
        &self,
        state: &State,
        me: &mut Sleeper,
        next: &mut Next<State>,
    ) -> Option<(&'static str, u8)> {
        let is_ready = me.received < state.stamped;
        match me.at {
            Pause::Look => {
                (me.word, me.at) = (0, Pause::ReadWord);
                if !is_ready && state.is_stopped {
                    me.at = Pause::Stopped;
                    return Some(("returns: it was stopped after {}", me.received));
                }
                if is_ready {
                    (me.received, me.at) = (state.stamped, Pause::Look);
                }
                Some((
                    if is_ready { "receives up to {}" } else { "finds nothing after {}" },
                    me.received,
                ))
            }
            Pause::ParkLook => {
                if is_ready {
                    next.cover("the second check found a packet");
                }
                me.at = match (is_ready, self.fault) {
                    (true, _) => self.awake(),
                    (false, Fault::WordReadLast) => Pause::LateWord,
                    _ => Pause::Sleep,
                };
                Some(("checks again", 0))
            }
            Pause::LateWord => {
                (me.word, me.at) = (state.futex, Pause::Sleep);
                Some(("reads the word: {}", me.word))
            }
            Pause::Sleep => {
                let on_waiters = self.is_flag() || self.fault == Fault::SleepOnTheWaiters;
                let word = if on_waiters { state.waiters } else { state.futex };
                let is_stopped = state.is_stopped && self.fault != Fault::StopNotCompared;
                let sleeps = word == me.word && !is_stopped;
                if word != me.word {
                    next.cover("the word had changed");
                }
                if is_stopped {
                    next.cover("a stop came just before the sleep");
                }
                me.at = if sleeps { Pause::Asleep } else { self.awake() };
                Some((
                    if sleeps {
                        "sleeps while the word is {}"
                    } else {
                        "does not sleep: the word is {}"
                    },
                    word,
                ))
            }
            Pause::Stopped => None,
            Pause::Asleep => {
                // Without a new packet, another iteration changes nothing.
                if !self.is_bounded || !is_ready {
                    return None;
                }
                next.cover("a bounded sleep ended");
                me.at = self.awake();
                Some(("reaches the bound of its sleep", 0))
            }
            _ => unreachable!("not a read step"),
        }
    }
}

const TWO_PUBLISHERS: Parking = Parking {
    fault: Fault::Nothing,
    publishers: 2,
    sleepers: 1,
    sends: 1,
    publishers_die: false,
    sleepers_die: false,
    kills: 0,
    checks: 0,
    is_bounded: false,
    stops: false,
    joins: false,
    is_unreachable: false,
};

const TWO_SLEEPERS: Parking = Parking { publishers: 1, sleepers: 2, sends: 2, ..TWO_PUBLISHERS };

/// The second publisher joins when the sleeper may already sleep.
const JOINING: Parking = Parking { joins: true, ..TWO_PUBLISHERS };

/// A publisher, a sleeper, three packets.
const THREE_PACKETS: Parking = Parking { publishers: 1, sends: 3, ..TWO_PUBLISHERS };

/// A sleep ends early.
const CHECKING: Parking = Parking { checks: 1, ..THREE_PACKETS };

/// A sleeper is killed; the others continue without any bound.
const SLEEPER_DIES: Parking = Parking { sleepers_die: true, kills: 1, sends: 2, ..TWO_SLEEPERS };

/// The publisher is killed between stamp and wake, and no other publisher exists.
const PUBLISHER_DIES: Parking =
    Parking { publishers_die: true, kills: 1, is_bounded: true, sends: 1, ..TWO_SLEEPERS };

/// All waits are stopped, at any time.
const STOPPING: Parking = Parking { stops: true, sends: 1, ..TWO_SLEEPERS };

/// `membarrier` does not reach the second publisher.
const UNREACHABLE: Parking = Parking { is_unreachable: true, ..TWO_PUBLISHERS };

#[test]
fn no_wake_up_is_lost_without_any_bound() {
    let situations = [
        "a sleeper was woken",
        "the second check found a packet",
        "the word had changed",
        "a publisher found no sleeper",
    ];
    holds("parking, two publishers", &TWO_PUBLISHERS, &situations);
    holds("parking, two sleepers", &TWO_SLEEPERS, &situations);
    holds("parking, a publisher joins", &JOINING, &[]);
    holds("parking, three packets", &THREE_PACKETS, &situations);
    holds("parking, an unreachable publisher", &UNREACHABLE, &[]);
    let again = ["a registration served a second sleep"];
    holds("parking, a check", &CHECKING, &again);
    holds("parking, two publishers, a check", &Parking { checks: 1, ..TWO_PUBLISHERS }, &again);
    holds("parking, two sleepers, a check", &Parking { checks: 1, ..TWO_SLEEPERS }, &again);
}

#[test]
fn a_killed_sleeper_needs_no_repair() {
    holds("parking, a sleeper dies", &SLEEPER_DIES, &["a sleeper was killed"]);
}

#[test]
fn a_bounded_sleep_outlives_a_publisher() {
    let situations = ["a publisher was killed between stamp and wake", "a bounded sleep ended"];
    holds("parking, the publisher dies", &PUBLISHER_DIES, &situations);
}

#[test]
fn no_stop_is_lost() {
    let situations = ["a stop woke a sleeper", "a stop came just before the sleep"];
    holds("parking, a stop", &STOPPING, &situations);
    let dying = Parking { sleepers_die: true, kills: 1, ..STOPPING };
    holds("parking, a stop, and a sleeper dies", &dying, &situations);
    let killed = Parking { publishers_die: true, kills: 1, ..STOPPING };
    holds("parking, a stop, and the publisher dies", &killed, &situations);
}

#[test]
fn parking_holds_in_larger_scenarios() {
    if is_large() {
        let both = Parking { sleepers: 2, sends: 1, ..TWO_PUBLISHERS };
        holds("parking, large, two and two", &both, &[]);
        holds("parking, large, three each", &Parking { sends: 2, ..TWO_PUBLISHERS }, &[]);
        let dying = Parking {
            publishers_die: true,
            sleepers_die: true,
            kills: 2,
            is_bounded: true,
            ..both
        };
        holds("parking, large, all die", &dying, &[]);
    }
}

#[track_caller]
fn broken_by(fault: Fault, scenario: Parking, violation: Violation) {
    let name = std::thread::current().name().unwrap_or_default().to_owned();
    breaks(&name, &Parking { fault, ..scenario }, violation);
}

#[test]
fn a_flag_cleared_before_the_wake_loses_a_wake_up() {
    broken_by(Fault::FlagClearedThenWoken, TWO_SLEEPERS, Violation::SleeperNeverWakes);
}

#[test]
fn a_flag_cleared_after_the_wake_loses_a_wake_up() {
    broken_by(Fault::FlagWokenThenCleared, TWO_SLEEPERS, Violation::SleeperNeverWakes);
}

#[test]
fn a_count_of_sleepers_makes_publishers_wake_dead_sleepers() {
    broken_by(Fault::CountOfSleepers, SLEEPER_DIES, Violation::PublisherWakesTooOften);
}

#[test]
fn a_sleep_on_the_waiters_word_loses_a_wake_up() {
    broken_by(Fault::SleepOnTheWaiters, THREE_PACKETS, Violation::SleeperNeverWakes);
}

#[test]
fn a_registration_without_a_barrier_is_not_seen() {
    broken_by(Fault::NoBarrier, THREE_PACKETS, Violation::SleeperNeverWakes);
}

#[test]
fn a_sleeper_without_a_second_check_misses_a_stamp() {
    broken_by(Fault::NoSecondRead, THREE_PACKETS, Violation::SleeperNeverWakes);
}

#[test]
fn a_word_read_after_the_second_check_loses_a_wake_up() {
    broken_by(Fault::WordReadLast, THREE_PACKETS, Violation::SleeperNeverWakes);
}

#[test]
fn registrations_recorded_after_the_word_are_lost() {
    broken_by(Fault::RecordedLate, THREE_PACKETS, Violation::SleeperNeverWakes);
}

#[test]
fn a_registration_that_was_answered_loses_a_wake_up() {
    broken_by(Fault::OldRegistration, CHECKING, Violation::SleeperNeverWakes);
}

#[test]
fn a_publisher_that_joins_without_waking_loses_a_wake_up() {
    broken_by(Fault::NewcomerDoesNotWake, JOINING, Violation::SleeperNeverWakes);
}

#[test]
fn a_publisher_that_membarrier_does_not_reach_needs_a_fence() {
    broken_by(Fault::NoLocalFence, UNREACHABLE, Violation::SleeperNeverWakes);
}

#[test]
fn a_sleep_without_bound_outlasts_a_dead_publisher() {
    let scenario = Parking { is_bounded: false, ..PUBLISHER_DIES };
    broken_by(Fault::NoBound, scenario, Violation::SleeperNeverWakes);
}

#[test]
fn a_sleep_that_does_not_compare_the_word_of_the_stop_misses_it() {
    broken_by(Fault::StopNotCompared, STOPPING, Violation::SleeperNeverStops);
}

#[test]
fn a_stop_that_wakes_before_it_stores_misses_a_sleeper() {
    broken_by(Fault::StopWakesFirst, STOPPING, Violation::SleeperNeverStops);
}
