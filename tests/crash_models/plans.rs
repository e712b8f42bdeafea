//! When the reactor looks at an endpoint by the clock: the endpoint asks only if it needs a look
//! sooner than the reactor plans one.
//!
//! The actors mirror these sources:
//!
//! - endpoint: `wait/reactor.rs` (`Listener::arm`); it is armed again when it was told
//! - reactor: `wait/lane.rs` (`LaneEntry::look`, `Lane::look`)
//!
//! A wake-up of the endpoint's word, and the moment that the reactor plans, come at any time.
//! Stores are not buffered: all are sequentially consistent.

use super::explorer::{Model, Next, breaks, holds, is_large};

/// Injected faults.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fault {
    Nothing,
    /// The plan stays readable while the reactor makes the next one.
    OldPlanWhileLooking,
    /// The endpoint reads the plan before it stores its last time.
    ReadsPlanFirst,
    /// The reactor forgets the plan of an endpoint that it tells, but does not withdraw it.
    ForgetsPlan,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
enum Violation {
    /// The endpoint waits for the clock, and the reactor plans no look, or one too late.
    NeverLookedAt,
}

/// No plan, or one that is being made. Greater than any time.
const NO_PLAN: u8 = u8::MAX;

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Endpoint {
    Time,
    Arm,
    /// It may need a look sooner than it thought.
    LastTime,
    Plan,
    Ask,
    Waits,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Reactor {
    Asleep,
    Withdraw,
    Armed,
    Time,
    Publish,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct State {
    now: u8,
    armed: bool,
    check_at: u8,
    looks_at: u8,
    asked: bool,

    endpoint: Endpoint,
    rounds: u8,
    read_plan: Option<u8>,

    reactor: Reactor,
    timer: Option<u8>,
    is_changed: bool,
    is_armed: bool,
}

#[derive(Clone, Copy)]
struct Scenario {
    fault: Fault,
    rounds: u8,
}

impl Model for Scenario {
    type State = State;
    type Violation = Violation;

    fn start(&self) -> State {
        State {
            now: 0,
            armed: false,
            check_at: 0,
            looks_at: 0,
            // It registers.
            asked: true,
            endpoint: Endpoint::Time,
            rounds: 0,
            read_plan: None,
            reactor: Reactor::Asleep,
            timer: None,
            is_changed: false,
            is_armed: false,
        }
    }

    fn next(&self, state: &State, next: &mut Next<State>) {
        self.endpoint(state, next);
        self.reactor(state, next);
    }

    fn violation(&self, state: &State) -> Option<Violation> {
        let rests = state.endpoint == Endpoint::Waits && state.armed;
        let sleeps = state.reactor == Reactor::Asleep && !state.asked;
        let is_late = state.timer.is_none_or(|timer| timer > state.check_at);
        (rests && sleeps && is_late).then_some(Violation::NeverLookedAt)
    }

    fn unmet(&self, _: &State) -> Vec<Violation> {
        Vec::new()
    }
}

impl Scenario {
    fn endpoint(&self, state: &State, next: &mut Next<State>) {
        let mut new = *state;
        let text = match state.endpoint {
            Endpoint::Time => {
                for check_at in [2, 4].map(|later| state.now + later) {
                    let new = State { check_at, endpoint: Endpoint::Arm, ..*state };
                    next.step("the endpoint", "needs a look at {}", &[check_at], new);
                }
                return;
            }
            Endpoint::Arm => {
                (new.armed, new.endpoint) = (true, Endpoint::LastTime);
                if self.fault == Fault::ReadsPlanFirst {
                    new.read_plan = Some(state.looks_at);
                }
                "is armed"
            }
            Endpoint::LastTime => {
                new.endpoint = Endpoint::Plan;
                let sooner = State { check_at: state.now + 1, ..new };
                next.step("the endpoint", "needs a look sooner, at {}", &[sooner.check_at], sooner);
                "keeps its time"
            }
            Endpoint::Plan => {
                let plan = state.read_plan.unwrap_or(state.looks_at);
                new.read_plan = None;
                new.endpoint = if state.check_at < plan { Endpoint::Ask } else { Endpoint::Waits };
                if new.endpoint == Endpoint::Waits {
                    next.cover("a plan that served again");
                }
                "reads the plan"
            }
            Endpoint::Ask => {
                next.cover("the endpoint asked");
                (new.asked, new.endpoint) = (true, Endpoint::Waits);
                "asks"
            }
            Endpoint::Waits => {
                if state.armed || state.rounds == self.rounds {
                    return;
                }
                (new.rounds, new.endpoint) = (state.rounds + 1, Endpoint::Time);
                "was told, and finds nothing"
            }
        };
        next.step("the endpoint", text, &[], new);
    }

    fn reactor(&self, state: &State, next: &mut Next<State>) {
        let mut new = *state;
        let text = match state.reactor {
            Reactor::Asleep => {
                new.reactor = Reactor::Withdraw;
                let woken = State { is_changed: true, ..new };
                next.external("the reactor", "is woken by the word", &[], woken);
                if let Some(timer) = state.timer {
                    let now = state.now.max(timer);
                    next.external("the reactor", "wakes up at {}", &[now], State { now, ..new });
                }
                if !state.asked {
                    return;
                }
                new.asked = false;
                "was asked"
            }
            Reactor::Withdraw => {
                if self.fault != Fault::OldPlanWhileLooking {
                    new.looks_at = NO_PLAN;
                }
                new.reactor = Reactor::Armed;
                "withdraws its plan"
            }
            Reactor::Armed => {
                (new.is_armed, new.reactor) = (state.armed, Reactor::Time);
                "looks whether the endpoint is armed"
            }
            Reactor::Time => {
                let fires = state.is_armed && (state.is_changed || state.check_at <= state.now);
                if fires {
                    next.cover("the reactor told the endpoint");
                    new.armed = false;
                }
                let own =
                    if fires && self.fault == Fault::ForgetsPlan { None } else { state.timer };
                let timer = if state.is_armed && !fires { Some(state.check_at) } else { own };
                new.timer = timer.filter(|at| *at > state.now);
                if fires && self.fault == Fault::ForgetsPlan {
                    new.looks_at = state.timer.unwrap_or(NO_PLAN);
                    (new.reactor, new.is_changed) = (Reactor::Asleep, false);
                } else {
                    new.reactor = Reactor::Publish;
                }
                "makes a plan"
            }
            Reactor::Publish => {
                new.looks_at = state.timer.unwrap_or(NO_PLAN);
                (new.reactor, new.is_changed) = (Reactor::Asleep, false);
                "publishes its plan"
            }
        };
        next.step("the reactor", text, &[], new);
    }
}

const THREE_ROUNDS: Scenario = Scenario { fault: Fault::Nothing, rounds: 2 };

#[test]
fn the_reactor_looks_when_an_endpoint_needs_it() {
    let situations =
        ["a plan that served again", "the endpoint asked", "the reactor told the endpoint"];
    holds("plans", &THREE_ROUNDS, &situations);
    if is_large() {
        holds("plans, large", &Scenario { rounds: 6, ..THREE_ROUNDS }, &situations);
    }
}

#[track_caller]
fn broken_by(fault: Fault) {
    let name = std::thread::current().name().unwrap_or_default().to_owned();
    breaks(&name, &Scenario { fault, ..THREE_ROUNDS }, Violation::NeverLookedAt);
}

#[test]
fn an_old_plan_is_relied_on_while_the_reactor_looks() {
    broken_by(Fault::OldPlanWhileLooking);
}

#[test]
fn a_plan_that_is_read_before_the_time_is_stored_is_too_late() {
    broken_by(Fault::ReadsPlanFirst);
}

#[test]
fn a_plan_that_was_forgotten_is_relied_on() {
    broken_by(Fault::ForgetsPlan);
}
