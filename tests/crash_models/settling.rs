//! The end of a queue without users: it goes if every job in it is acknowledged, and stays with its
//! jobs otherwise.
//!
//! The actors mirror these sources:
//!
//! - publisher: claims and commits or aborts, in one step each (`claims` models all of them)
//! - consumer: `ring/consumer_group/mod.rs` (`try_take`, `release`, the skip of a void packet)
//! - the last to leave, a sweep, a purge: `ring/reap.rs` (`settle`), `segment/parts.rs`
//!   (`is_done`), `segment/control.rs`, under the control lock while no process is attached
//!
//! Packets have one slot. The janitor stands for every process that settles: it may be killed at
//! each step, and another one comes.

use super::explorer::{Model, Next, breaks, holds, is_large};

const NOWHERE: u8 = u8::MAX;
const PIN: u8 = 0x80;
const SLOTS: usize = 3;
const CONSUMERS: usize = 2;
const NAMES: [&str; CONSUMERS] = ["C1", "C2"];

/// Injected faults.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fault {
    Nothing,
    /// The dead are not cleared: their claims stay open, their pins stay.
    DeadNotCleared,
    /// The claim of a dead publisher is voided, and the void packets are not skipped.
    VoidsNotSkipped,
    /// Every packet at the shared cursor is skipped.
    JobsSkipped,
    /// The cursor is compared with the tail, without the words of consumers.
    WordsIgnored,
    /// A dead consumer's word is cleared though no other consumer has the job.
    WordsCleared,
    /// The queue goes when its last user leaves.
    NotLooked,
    /// A process settles a queue though a consumer is attached.
    SettledBesideConsumers,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
enum Violation {
    JobLost,
    QueueRemovedUnderItsUser,
    QueueNeverSettled,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Slot {
    Free,
    Claimed,
    Job,
    Void,
}

/// The next step of a publisher or a consumer.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum At {
    Idle,
    /// `Failpoint::TakePin`
    Pin,
    /// `Failpoint::TakeInFlight`
    InFlight,
    /// `Failpoint::TakeMove`
    Move,
    /// A job is in flight.
    User,
    Lost,
    Gone,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Process {
    is_alive: bool,
    at: At,
    position: u8,
}

impl Process {
    fn is_attached(&self) -> bool {
        self.is_alive && self.at != At::Gone
    }
}

/// The next step of the process that settles.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Janitor {
    Away,
    /// `Failpoint::RecoverHeader`
    Recover,
    /// `Failpoint::UnpinRead`, and the words of the dead.
    Unpin,
    /// `Failpoint::Unpin`, the second time.
    UnpinStore,
    Clear,
    Skip,
    SkipStore(u8),
    Look,
    Remove,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct State {
    slots: [Slot; SLOTS],
    tail: u8,
    shared: u8,
    words: [u8; CONSUMERS],
    publisher: Process,
    sent: u8,
    consumers: [Process; CONSUMERS],
    janitor: Janitor,
    acked: [bool; SLOTS],
    /// A process looked at the queue after its last change, and left it as it is.
    is_settled: bool,
    is_removed: bool,
    kills: u8,
    violation: Option<Violation>,
}

#[derive(Clone, Copy)]
struct Settling {
    fault: Fault,
    /// Packets that the publisher claims.
    packets: u8,
    consumers: usize,
    kills: u8,
}

impl State {
    fn slot(&self, position: u8) -> Slot {
        self.slots.get(usize::from(position)).copied().unwrap_or(Slot::Free)
    }

    fn is_used(&self) -> bool {
        self.publisher.is_attached() || self.consumers.iter().any(Process::is_attached)
    }

    fn has_jobs(&self) -> bool {
        (0..SLOTS).any(|at| self.slots[at] == Slot::Job && !self.acked[at])
    }
}

impl Model for Settling {
    type State = State;
    type Violation = Violation;

    fn start(&self) -> State {
        let process = Process { is_alive: true, at: At::Idle, position: 0 };
        let mut consumers = [process; CONSUMERS];
        for consumer in consumers.iter_mut().skip(self.consumers) {
            consumer.at = At::Gone;
        }
        State {
            slots: [Slot::Free; SLOTS],
            tail: 0,
            shared: 0,
            words: [NOWHERE; CONSUMERS],
            publisher: process,
            sent: 0,
            consumers,
            janitor: Janitor::Away,
            acked: [false; SLOTS],
            is_settled: false,
            is_removed: false,
            kills: self.kills,
            violation: None,
        }
    }

    fn next(&self, state: &State, next: &mut Next<State>) {
        if state.is_removed {
            return;
        }
        self.publisher(state, next);
        for who in 0..CONSUMERS {
            self.consumer(who, state, next);
        }
        self.janitor(state, next);
    }

    fn violation(&self, state: &State) -> Option<Violation> {
        if state.violation.is_some() {
            return state.violation;
        }
        if state.is_removed && state.is_used() {
            return Some(Violation::QueueRemovedUnderItsUser);
        }
        // A job is in front of the shared cursor, or in a word, or acknowledged.
        let is_there = |at: usize| {
            let position = at as u8;
            !state.is_removed
                && (state.shared & !PIN <= position || state.words.contains(&position))
        };
        (0..SLOTS)
            .any(|at| state.slots[at] == Slot::Job && !state.acked[at] && !is_there(at))
            .then_some(Violation::JobLost)
    }

    fn unmet(&self, state: &State) -> Vec<Violation> {
        let stays = state.is_settled && state.has_jobs();
        if state.is_removed || stays { Vec::new() } else { vec![Violation::QueueNeverSettled] }
    }
}

impl Settling {
    fn publisher(&self, state: &State, next: &mut Next<State>) {
        let me = state.publisher;
        if !me.is_attached() {
            return;
        }
        if state.kills > 0 {
            let mut new = *state;
            (new.kills, new.publisher.is_alive) = (state.kills - 1, false);
            next.external("P0", "is killed", &[], new);
        }
        let mut new = *state;
        if me.at == At::User {
            let at = usize::from(me.position);
            (new.publisher.at, new.sent) = (At::Idle, state.sent + 1);
            let mut aborted = new;
            new.slots[at] = Slot::Job;
            next.step("P0", "commits {}", &[me.position], new);
            aborted.slots[at] = Slot::Void;
            next.external("P0", "aborts its claim of {}", &[me.position], aborted);
        } else if state.sent < self.packets {
            new.publisher = Process { at: At::User, position: state.tail, ..me };
            new.slots[usize::from(state.tail)] = Slot::Claimed;
            new.tail += 1;
            next.step("P0", "claims {}", &[state.tail], new);
        } else {
            new.publisher.at = At::Gone;
            next.step("P0", "leaves", &[], new);
        }
    }

    fn consumer(&self, who: usize, state: &State, next: &mut Next<State>) {
        let me = state.consumers[who];
        if !me.is_attached() {
            return;
        }
        if state.kills > 0 {
            let mut new = *state;
            (new.kills, new.consumers[who].is_alive) = (state.kills - 1, false);
            match me.at {
                At::InFlight => next.cover("a consumer was killed between its pin and its word"),
                At::Move => next.cover("a consumer was killed between its word and the move"),
                At::User => next.cover("a consumer was killed with a job in flight"),
                _ => {}
            }
            next.external(NAMES[who], "is killed", &[], new);
        }
        let mut new = *state;
        let mut me = me;
        let (text, number) = match me.at {
            At::Idle => {
                let mut gone = *state;
                gone.consumers[who].at = At::Gone;
                next.step(NAMES[who], "leaves", &[], gone);
                if state.shared & PIN != 0 {
                    return;
                }
                match state.slot(state.shared) {
                    Slot::Void => {
                        new.shared += 1;
                        ("skips a void packet at {}", state.shared)
                    }
                    Slot::Job => {
                        (me.position, me.at) = (state.shared, At::Pin);
                        new.words[who] = state.shared | PIN;
                        ("tries to take {}", state.shared)
                    }
                    Slot::Free | Slot::Claimed => return,
                }
            }
            At::Pin if state.shared == me.position => {
                (new.shared, me.at) = (me.position | PIN, At::InFlight);
                ("pins the shared cursor at {}", me.position)
            }
            At::Pin => {
                me.at = At::Lost;
                ("loses the race at {}", me.position)
            }
            At::Lost => {
                (new.words[who], me.at, me.position) = (NOWHERE, At::Idle, 0);
                ("clears its word", 0)
            }
            At::InFlight => {
                (new.words[who], me.at) = (me.position, At::Move);
                ("stores its word {}", me.position)
            }
            At::Move => {
                (new.shared, me.at) = (me.position + 1, At::User);
                ("moves the shared cursor to {}", new.shared)
            }
            At::User => {
                // Dropped with the job in flight: the word stays.
                let mut gone = *state;
                gone.consumers[who].at = At::Gone;
                next.external(NAMES[who], "leaves with {} in flight", &[me.position], gone);
                new.acked[usize::from(me.position)] = true;
                new.words[who] = NOWHERE;
                (me.at, me.position) = (At::Idle, 0);
                ("acknowledges its job", 0)
            }
            At::Gone => return,
        };
        new.consumers[who] = me;
        next.step(NAMES[who], text, &[number], new);
    }

    /// Holds the control lock from its first step on, and no process is attached.
    fn janitor(&self, state: &State, next: &mut Next<State>) {
        let beside = self.fault == Fault::SettledBesideConsumers;
        if state.is_used() && (!beside || state.publisher.is_attached()) {
            return;
        }
        if state.kills > 0 && state.janitor != Janitor::Away {
            let mut new = *state;
            (new.kills, new.janitor) = (state.kills - 1, Janitor::Away);
            next.cover("a process was killed while it settled");
            next.external("janitor", "is killed", &[], new);
        }
        let mut new = *state;
        let clears = self.fault != Fault::DeadNotCleared;
        let text = match state.janitor {
            Janitor::Away if state.is_settled => return,
            Janitor::Away => {
                new.janitor = if clears { Janitor::Recover } else { Janitor::Skip };
                if self.fault == Fault::NotLooked {
                    new.janitor = Janitor::Remove;
                }
                "takes the control lock"
            }
            Janitor::Recover => {
                if let Some(at) = (0..SLOTS).find(|&at| state.slots[at] == Slot::Claimed) {
                    new.slots[at] = Slot::Void;
                    next.cover("a dead claim was voided");
                } else {
                    new.janitor = Janitor::Unpin;
                }
                "clears dead claims"
            }
            Janitor::Unpin if state.shared & PIN == 0 => {
                new.janitor = Janitor::Clear;
                "sees that the shared cursor is not pinned"
            }
            Janitor::Unpin => {
                let at = state.shared & !PIN;
                let dead = state.words.iter().position(|&word| word == at);
                match dead {
                    Some(dead) => new.words[dead] = NOWHERE,
                    None => new.janitor = Janitor::UnpinStore,
                }
                next.cover("a dead pin was removed");
                "clears a dead word at the pin"
            }
            Janitor::UnpinStore => {
                new.shared = state.shared & !PIN;
                new.janitor = Janitor::Clear;
                "removes the dead pin"
            }
            Janitor::Clear => {
                // Announced attempts of the dead go with their entries; jobs in flight stay.
                for word in &mut new.words {
                    let is_attempt = *word & PIN != 0;
                    if is_attempt || self.fault == Fault::WordsCleared {
                        *word = NOWHERE;
                    }
                }
                let skips = self.fault != Fault::VoidsNotSkipped;
                new.janitor = if skips { Janitor::Skip } else { Janitor::Look };
                "frees the entries of the dead"
            }
            Janitor::Skip => {
                let is_skipped = match state.slot(state.shared) {
                    Slot::Void => true,
                    Slot::Job => self.fault == Fault::JobsSkipped,
                    _ => false,
                };
                let is_pinned = state.shared & PIN != 0;
                new.janitor = if is_skipped && !is_pinned {
                    Janitor::SkipStore(state.shared)
                } else {
                    Janitor::Look
                };
                "reads the packet at the shared cursor"
            }
            Janitor::SkipStore(at) => {
                next.cover("a void packet was skipped");
                new.shared = at + 1;
                new.janitor = Janitor::Skip;
                "moves the shared cursor over it"
            }
            Janitor::Look => {
                let is_at_end = state.shared == state.tail;
                let has_word = state.words.iter().any(|word| word & PIN == 0);
                let is_done = is_at_end && (!has_word || self.fault == Fault::WordsIgnored);
                if !is_done {
                    next.cover("a queue with jobs stayed");
                }
                (new.janitor, new.is_settled) =
                    if is_done { (Janitor::Remove, false) } else { (Janitor::Away, true) };
                "checks whether the queue is done"
            }
            Janitor::Remove => {
                next.cover("a queue without jobs was removed");
                new.is_removed = true;
                "removes the queue"
            }
        };
        next.step("janitor", text, &[], new);
    }
}

const QUEUE: Settling = Settling { fault: Fault::Nothing, packets: 2, consumers: 2, kills: 3 };

const LONE: Settling = Settling { consumers: 1, ..QUEUE };

#[test]
fn a_queue_stays_with_its_jobs_and_goes_without() {
    let situations = [
        "a consumer was killed between its pin and its word",
        "a consumer was killed between its word and the move",
        "a consumer was killed with a job in flight",
        "a process was killed while it settled",
        "a dead claim was voided",
        "a dead pin was removed",
        "a void packet was skipped",
        "a queue with jobs stayed",
        "a queue without jobs was removed",
    ];
    holds("settling", &QUEUE, &situations);
}

#[test]
fn settling_holds_in_larger_scenarios() {
    if is_large() {
        holds("settling, large", &Settling { packets: 3, kills: 5, ..QUEUE }, &[]);
    }
}

#[track_caller]
fn broken_by(fault: Fault, violation: Violation) {
    let name = std::thread::current().name().unwrap_or_default().to_owned();
    breaks(&name, &Settling { fault, ..LONE }, violation);
}

#[test]
fn a_queue_whose_dead_are_not_cleared_is_kept_for_nothing() {
    broken_by(Fault::DeadNotCleared, Violation::QueueNeverSettled);
}

#[test]
fn a_queue_whose_void_packets_are_not_skipped_is_kept_for_nothing() {
    broken_by(Fault::VoidsNotSkipped, Violation::QueueNeverSettled);
}

#[test]
fn a_job_at_the_shared_cursor_must_not_be_skipped() {
    broken_by(Fault::JobsSkipped, Violation::JobLost);
}

#[test]
fn a_job_in_flight_of_a_dead_consumer_keeps_its_queue() {
    broken_by(Fault::WordsIgnored, Violation::JobLost);
    broken_by(Fault::WordsCleared, Violation::JobLost);
}

#[test]
fn a_queue_that_is_not_looked_at_goes_with_its_jobs() {
    broken_by(Fault::NotLooked, Violation::JobLost);
}

#[test]
fn a_queue_with_a_consumer_must_not_be_settled() {
    broken_by(Fault::SettledBesideConsumers, Violation::QueueRemovedUnderItsUser);
}
