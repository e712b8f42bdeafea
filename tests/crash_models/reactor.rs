//! The reactor: an endpoint of an event loop finds nothing and is armed; a thread sleeps on its
//! behalf and makes its descriptor readable.
//!
//! The actors mirror these sources:
//!
//! - endpoint: `wait/reactor.rs` (`Listener::arm`), `wait/event_count.rs` (`Registrations::renew`);
//!   it tries again when its descriptor is readable
//! - reactor: `wait/lane.rs` (`LaneEntry::look`, `Lane::run`), `wait/notify.rs` (`Signal::fire`),
//!   `wait/sleeper.rs` (`Sleeper::sleep`)
//! - publisher: as in `parking`, with a store buffer
//!
//! The word of the endpoint may also change for another sleeper of the same event count, which
//! leads to a spurious wake-up. The clock of the reactor is left out: it hides lost wake-ups
//! (`plans`).

use super::explorer::{Model, Next, breaks, holds, is_large};

/// Injected faults.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fault {
    Nothing,
    /// The endpoint registers, then is armed.
    ArmedAfterRegistration,
    /// The endpoint does not check again after its registration.
    NoSecondCheck,
    /// The endpoint clears its descriptor after it was armed.
    ClearedAfterArming,
    /// The reactor takes the value of a word anew when it goes to sleep.
    ValueTakenAtSleep,
    /// The endpoint executes no barrier.
    NoBarrier,
    /// The endpoint relies on its last registration, although the word has changed since.
    OldRegistration,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
enum Violation {
    /// A packet is there, and the event loop is never told.
    LoopNeverTold,
    PublisherNeverFinishes,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Loop {
    Try,
    Clear,
    Arm,
    ReadWord,
    Register,
    Barrier,
    SecondCheck,
    LateClear,
    LateArm,
    /// It sleeps in `epoll_wait`.
    Wait,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Reactor {
    Word,
    Armed,
    Fire,
    Sleep,
    Asleep,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Publish {
    Store,
    Look,
    WakeLook,
    WakeWord,
    Wake,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct State {
    stamped: u8,
    /// A stamp is in the publisher's store buffer.
    is_buffered: bool,
    futex: u8,
    waiters: u8,
    armed: bool,
    readable: bool,

    at: Loop,
    received: u8,
    word: u8,
    registered_at: Option<u8>,

    reactor: Reactor,
    known: u8,
    is_changed: bool,

    publish: Publish,
    sent: u8,
    seen: u8,
    loaded: u8,

    /// Changes of the word for other sleepers that are left.
    others: u8,
}

#[derive(Clone, Copy)]
struct Scenario {
    fault: Fault,
    sends: u8,
    others: u8,
}

impl State {
    fn drain(&mut self) {
        self.stamped += u8::from(std::mem::take(&mut self.is_buffered));
    }

    fn fire(&mut self) {
        if std::mem::take(&mut self.armed) {
            self.readable = true;
        }
    }
}

impl Model for Scenario {
    type State = State;
    type Violation = Violation;

    fn start(&self) -> State {
        State {
            stamped: 0,
            is_buffered: false,
            futex: 0,
            waiters: 0,
            armed: false,
            readable: true,
            at: Loop::Wait,
            received: 0,
            word: 0,
            registered_at: None,
            reactor: Reactor::Word,
            known: 0,
            is_changed: false,
            publish: Publish::Store,
            sent: 0,
            seen: 0,
            loaded: 0,
            others: self.others,
        }
    }

    fn next(&self, state: &State, next: &mut Next<State>) {
        self.event_loop(state, next);
        self.reactor(state, next);
        self.publisher(state, next);
        if state.others > 0 {
            let mut new = *state;
            (new.others, new.futex) = (state.others - 1, state.futex + 1);
            if new.reactor == Reactor::Asleep {
                new.reactor = Reactor::Word;
            }
            next.external("another sleeper", "is answered: the word is {}", &[new.futex], new);
        }
    }

    fn violation(&self, _: &State) -> Option<Violation> {
        None
    }

    fn unmet(&self, state: &State) -> Vec<Violation> {
        let mut unmet = Vec::new();
        if state.received < self.sends {
            unmet.push(Violation::LoopNeverTold);
        }
        if state.sent < self.sends || state.is_buffered {
            unmet.push(Violation::PublisherNeverFinishes);
        }
        unmet
    }
}

impl Scenario {
    fn event_loop(&self, state: &State, next: &mut Next<State>) {
        let mut new = *state;
        let is_ready = state.received < state.stamped;
        let (text, number) = match state.at {
            Loop::Wait if !state.readable => return,
            Loop::Wait => {
                new.at = Loop::Try;
                ("is told", 0)
            }
            Loop::Try if is_ready => {
                new.received = state.stamped;
                ("receives up to {}", new.received)
            }
            Loop::Try => {
                next.cover("the event loop found nothing");
                new.at =
                    if self.fault == Fault::ClearedAfterArming { Loop::Arm } else { Loop::Clear };
                ("finds nothing after {}", state.received)
            }
            Loop::Clear => {
                new.readable = false;
                let later = self.fault == Fault::ArmedAfterRegistration;
                new.at = if later { Loop::ReadWord } else { Loop::Arm };
                ("clears the descriptor", 0)
            }
            Loop::Arm => {
                (new.armed, new.at) = (true, Loop::ReadWord);
                ("is armed", 0)
            }
            Loop::ReadWord => {
                new.word = state.futex;
                let is_valid = match self.fault {
                    Fault::OldRegistration => state.registered_at.is_some(),
                    _ => state.registered_at == Some(state.futex),
                };
                new.at = if is_valid { Loop::SecondCheck } else { Loop::Register };
                if is_valid {
                    next.cover("a registration served a second time");
                }
                ("reads the word {}", new.word)
            }
            Loop::Register => {
                new.waiters += 1;
                (new.registered_at, new.at) = (Some(state.word), Loop::Barrier);
                ("registers: {}", new.waiters)
            }
            Loop::Barrier => {
                if self.fault != Fault::NoBarrier {
                    new.drain();
                }
                new.at = Loop::SecondCheck;
                ("membarrier", 0)
            }
            Loop::SecondCheck => {
                if is_ready && self.fault != Fault::NoSecondCheck {
                    next.cover("the second check found a packet");
                    new.fire();
                    // Without the fault the endpoint is armed here, unless the reactor fired.
                    new.readable |= self.fault == Fault::ArmedAfterRegistration;
                }
                new.at = match self.fault {
                    Fault::ArmedAfterRegistration => Loop::LateArm,
                    Fault::ClearedAfterArming => Loop::LateClear,
                    _ => Loop::Wait,
                };
                ("checks again", 0)
            }
            Loop::LateArm => {
                (new.armed, new.at) = (true, Loop::Wait);
                ("is armed late", 0)
            }
            Loop::LateClear => {
                (new.readable, new.at) = (false, Loop::Wait);
                ("clears the descriptor late", 0)
            }
        };
        next.step("the loop", text, &[number], new);
    }

    fn reactor(&self, state: &State, next: &mut Next<State>) {
        let mut new = *state;
        let (text, number) = match state.reactor {
            Reactor::Word => {
                new.is_changed = state.futex != state.known;
                (new.known, new.reactor) = (state.futex, Reactor::Armed);
                ("reads the word {}", state.futex)
            }
            Reactor::Armed => {
                let fires = state.is_changed && state.armed;
                new.is_changed = false;
                new.reactor = if fires { Reactor::Fire } else { Reactor::Sleep };
                ("reads whether it is armed: {}", u8::from(state.armed))
            }
            Reactor::Fire => {
                next.cover("the reactor fired");
                if state.received == state.stamped {
                    next.cover("a spurious wake-up");
                }
                new.fire();
                new.reactor = Reactor::Word;
                ("fires", 0)
            }
            Reactor::Sleep => {
                let takes_anew = self.fault == Fault::ValueTakenAtSleep;
                let sleeps = takes_anew || state.futex == state.known;
                if takes_anew {
                    new.known = state.futex;
                }
                new.reactor = if sleeps { Reactor::Asleep } else { Reactor::Word };
                if !sleeps {
                    next.cover("the word changed before the sleep");
                }
                ("sleeps while the word is {}", new.known)
            }
            Reactor::Asleep => return,
        };
        next.step("the reactor", text, &[number], new);
    }

    fn publisher(&self, state: &State, next: &mut Next<State>) {
        if state.is_buffered {
            let mut new = *state;
            new.drain();
            next.step("the publisher", "stamp becomes visible", &[], new);
        }
        let is_done = state.publish == Publish::Store && state.sent == self.sends;
        if is_done || state.publish == Publish::Store && state.is_buffered {
            return;
        }
        let mut new = *state;
        let (text, number) = match state.publish {
            Publish::Store => {
                (new.is_buffered, new.sent) = (true, state.sent + 1);
                new.publish = Publish::Look;
                ("stores stamp {}", new.sent)
            }
            Publish::Look => {
                let must_wake = state.waiters != state.seen;
                new.publish = if must_wake { Publish::WakeLook } else { Publish::Store };
                ("looks for registrations: {}", state.waiters)
            }
            Publish::WakeLook => {
                (new.loaded, new.publish) = (state.waiters, Publish::WakeWord);
                ("reads the registrations: {}", state.waiters)
            }
            Publish::WakeWord => {
                new.futex += 1;
                // A locked instruction drains the store buffer.
                new.drain();
                new.publish = Publish::Wake;
                ("changes the word: {}", new.futex)
            }
            Publish::Wake => {
                if state.reactor == Reactor::Asleep {
                    next.cover("the reactor was woken");
                    new.reactor = Reactor::Word;
                }
                (new.seen, new.publish) = (state.loaded, Publish::Store);
                ("wakes the sleepers", 0)
            }
        };
        next.step("the publisher", text, &[number], new);
    }
}

const TWO_PACKETS: Scenario = Scenario { fault: Fault::Nothing, sends: 2, others: 1 };

#[test]
fn an_event_loop_is_told_of_each_packet() {
    let situations = [
        "the event loop found nothing",
        "the second check found a packet",
        "the reactor fired",
        "the reactor was woken",
        "the word changed before the sleep",
        "a registration served a second time",
        "a spurious wake-up",
    ];
    holds("reactor", &TWO_PACKETS, &situations);
    holds("reactor, three packets", &Scenario { sends: 3, ..TWO_PACKETS }, &situations);
    if is_large() {
        holds("reactor, large", &Scenario { sends: 5, others: 3, ..TWO_PACKETS }, &situations);
    }
}

#[track_caller]
fn broken_by(fault: Fault) {
    let name = std::thread::current().name().unwrap_or_default().to_owned();
    breaks(&name, &Scenario { fault, ..TWO_PACKETS }, Violation::LoopNeverTold);
}

#[test]
fn an_endpoint_that_is_armed_after_its_registration_misses_the_answer() {
    broken_by(Fault::ArmedAfterRegistration);
}

#[test]
fn an_endpoint_without_a_second_check_misses_a_packet() {
    broken_by(Fault::NoSecondCheck);
}

#[test]
fn a_descriptor_cleared_after_the_arming_forgets_a_packet() {
    broken_by(Fault::ClearedAfterArming);
}

#[test]
fn a_reactor_that_takes_the_word_at_its_sleep_misses_a_change() {
    broken_by(Fault::ValueTakenAtSleep);
}

#[test]
fn a_registration_without_a_barrier_is_not_seen() {
    broken_by(Fault::NoBarrier);
}

#[test]
fn a_registration_that_was_answered_is_not_seen_again() {
    broken_by(Fault::OldRegistration);
}
