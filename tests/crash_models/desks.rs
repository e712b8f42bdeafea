//! Workers of one name that come, open an inbox, leave and are killed; whoever clears the dead away;
//! and a sender, which knows what it looked at a while ago.
//!
//! | actor | mirrors |
//! |---|---|
//! | worker | `cluster/directory.rs` (`join`, `reap`, `sit_down`, `keep`, `leave`, `clear`), `cluster/inbox.rs` |
//! | reaper | `cluster/watch.rs` (`reap`), `cluster/directory.rs` (`clear`) |
//! | sender | `cluster/outgoing.rs`: look the desk up, attach, look at its phase again, publish |
//!
//! An inbox is discarded in three steps, each of which can be done again: closed, its durable
//! subscriber forgotten, its name taken away (`Ring::discard`).
//!
//! Not here: rings (`claims`, `lifetime`), several desks, how a worker that was killed is told of.

use super::explorer::{Model, Next, breaks, holds};

/// Two workers of one name, and the reaper.
const ACTORS: usize = 3;
const REAPER: usize = 2;
const NAMES: [&str; ACTORS] = ["W0", "W1", "R"];
/// Objects that ever were the inbox.
const OBJECTS: usize = 4;

/// What is done wrong.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mistake {
    Nothing,
    /// The desk is kept before the inbox has its durable subscriber.
    KeptBeforeTheInbox,
    /// Who leaves discards the inbox, and is expected back until that is done.
    DiscardedBeforeThePhase,
    /// The desk is freed before the inbox is discarded.
    FreedBeforeTheInbox,
    /// The inbox' name is taken away, and it stays open.
    NotClosed,
    /// The durable subscriber is forgotten before the inbox is closed.
    ForgottenFirst,
    /// The inbox is closed and keeps its name.
    NameNotTakenAway,
    /// The sender does not look at the phase again, after it attached.
    PhaseNotCheckedAgain,
    /// The sender takes any inbox that is there, of whatever desk.
    PhaseNotAskedFor,
    /// A desk is cleared without asking whether its worker lives.
    LivingCleared,
    /// An inbox whose maker was killed over it is not looked for.
    UnfinishedInboxLeft,
    /// Nobody clears the dead away but who comes under their name.
    NobodyReaps,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Harm {
    /// Somebody is expected back who has no inbox, or a closed one.
    KeptWithoutInbox,
    /// A letter was accepted that no one will ever be given.
    SentIntoNothing,
    /// The desk of a living worker was given away.
    PlaceOfTheLivingLost,
    /// An inbox stays that nobody is expected back to.
    InboxStays,
    /// A dead worker's desk is never free again.
    DeskStays,
    /// The control lock is never given back.
    WaitsForEver,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Phase {
    Free,
    Taken,
    Kept,
}

/// What an actor does next.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum At {
    /// Not there, or not yet again.
    Out,
    Lock,
    /// With the control lock: looks at the desk.
    Choose,
    Close,
    Forget,
    Unlink,
    Free,
    Sit,
    Phase,
    Unlock,
    /// It is there, without an inbox.
    Live,
    Durable,
    KeepLock,
    Keep,
    KeepUnlock,
    /// It is there, with an inbox.
    Open,
    LeaveLock,
    LeavePhase,
    Rise,
    LeaveUnlock,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Actor {
    at: At,
    /// Clears its own desk.
    leaves: bool,
    /// How often it may still come.
    lives: u8,
}

/// What the sender does next.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Sends {
    Look,
    /// It saw the desk kept, in this generation.
    Attach(u8),
    /// It is attached to this object.
    Check(u8, u8),
    Publish(u8, u8),
    Done,
    /// Nobody is there to send to.
    Failed,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
struct Object {
    is_closed: bool,
    has_durable: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct State {
    control: Option<u8>,
    phase: Phase,
    generation: u8,
    /// Who holds the desk's lock.
    seat: Option<u8>,
    objects: [Object; OBJECTS],
    /// Objects made.
    made: u8,
    /// The one that has the name.
    inbox: Option<u8>,
    actors: [Actor; ACTORS],
    sender: Sends,
    kills: u8,
    /// The letter was accepted and nobody will be given it.
    is_lost: bool,
}

#[derive(Clone, Copy)]
struct Desks {
    mistake: Mistake,
    kills: u8,
}

impl Model for Desks {
    type State = State;
    type Harm = Harm;

    fn start(&self) -> State {
        let actor = Actor { at: At::Out, leaves: false, lives: 2 };
        State {
            control: None,
            phase: Phase::Free,
            generation: 0,
            seat: None,
            objects: [Object::default(); OBJECTS],
            made: 0,
            inbox: None,
            actors: [actor; ACTORS],
            sender: Sends::Look,
            kills: self.kills,
            is_lost: false,
        }
    }

    fn next(&self, state: &State, next: &mut Next<State>) {
        for index in 0..ACTORS {
            if index == REAPER {
                self.reap(state, next);
            }
            self.act(state, index, next);
            kill(state, index, next);
        }
        self.send(state, next);
    }

    fn harm(&self, state: &State) -> Option<Harm> {
        if state.is_lost {
            return Some(Harm::SentIntoNothing);
        }
        let is_open = state.inbox.is_some_and(|inbox| {
            let object = state.objects[usize::from(inbox)];
            object.has_durable && !object.is_closed
        });
        if state.phase == Phase::Kept && !is_open {
            return Some(Harm::KeptWithoutInbox);
        }
        let is_there = |actor: &Actor| matches!(actor.at, At::Live | At::Durable | At::Open);
        let lost = state.phase == Phase::Free && state.actors.iter().any(is_there);
        lost.then_some(Harm::PlaceOfTheLivingLost)
    }

    fn unmet(&self, state: &State) -> Vec<Harm> {
        let mut unmet = Vec::new();
        if state.inbox.is_some() && state.phase != Phase::Kept {
            unmet.push(Harm::InboxStays);
        }
        if state.phase == Phase::Taken {
            unmet.push(Harm::DeskStays);
        }
        if state.control.is_some() {
            unmet.push(Harm::WaitsForEver);
        }
        unmet
    }
}

/// It is killed: the kernel gives its locks back.
fn kill(state: &State, index: usize, next: &mut Next<State>) {
    let at = state.actors[index].at;
    if state.kills == 0 || at == At::Out {
        return;
    }
    match at {
        At::Phase => next.see("killed at a desk that is not its own yet"),
        At::Durable => next.see("killed with an inbox that nobody knows of"),
        At::Keep => next.see("killed before it was expected back"),
        At::Open => next.see("killed with an inbox"),
        At::Close | At::Forget | At::Unlink | At::Free if index == REAPER => {
            next.see("a reaper was killed while it cleared away");
        }
        At::Close | At::Forget | At::Unlink | At::Free => next.see("killed while it cleared away"),
        _ => {}
    }
    let mut new = *state;
    new.kills -= 1;
    let own = Some(index as u8);
    if new.control == own {
        new.control = None;
    }
    if new.seat == own {
        new.seat = None;
    }
    (new.actors[index].at, new.actors[index].leaves) = (At::Out, false);
    next.fate(NAMES[index], "is killed", &[], new);
}

impl Desks {
    /// The reaper comes when it finds a desk that is taken, and its lock free.
    fn reap(&self, state: &State, next: &mut Next<State>) {
        let finds = state.phase == Phase::Taken && state.seat.is_none();
        let comes = self.mistake != Mistake::NobodyReaps;
        if state.actors[REAPER].at == At::Out && finds && comes {
            let mut new = *state;
            new.actors[REAPER].at = At::Lock;
            next.step(NAMES[REAPER], "finds a dead worker", &[], new);
        }
    }

    fn act(&self, state: &State, index: usize, next: &mut Next<State>) {
        let me = state.actors[index];
        let mut new = *state;
        let own = Some(index as u8);
        let who = NAMES[index];
        let mut go = |mut new: State, text, at| {
            new.actors[index].at = at;
            next.step(who, text, &[], new);
        };
        match me.at {
            At::Out => {
                if index != REAPER && me.lives > 0 {
                    new.actors[index].lives -= 1;
                    new.actors[index].at = At::Lock;
                    next.fate(who, "comes", &[], new);
                }
            }
            At::Lock | At::KeepLock | At::LeaveLock => {
                if state.control.is_none() {
                    new.control = own;
                    let at = match me.at {
                        At::Lock => At::Choose,
                        At::KeepLock => At::Keep,
                        _ => self.first_of_leaving(),
                    };
                    go(new, "takes the control lock", at);
                }
            }
            At::Choose => self.choose(state, index, next),
            At::Close | At::Forget | At::Unlink | At::Free => self.clear(state, index, next),
            At::Sit => {
                new.seat = own;
                go(new, "takes the desk's lock", At::Phase);
            }
            At::Phase => {
                if state.phase == Phase::Free {
                    new.phase = Phase::Taken;
                }
                new.generation += 1;
                go(new, "says that the desk is its own", At::Unlock);
            }
            At::Unlock => {
                new.control = None;
                let is_reaper = index == REAPER || state.seat != own;
                let has_inbox = new.phase == Phase::Kept;
                let at = match (is_reaper, has_inbox) {
                    (true, _) => At::Out,
                    (false, true) => At::Open,
                    (false, false) => At::Live,
                };
                go(new, "gives the control lock back", at);
            }
            At::Live => {
                make(&mut new);
                go(new, "makes its inbox", At::Durable);
                let mut new = *state;
                new.actors[index].leaves = true;
                new.actors[index].at = At::LeaveLock;
                next.step(who, "is dropped", &[], new);
            }
            At::Durable => {
                if self.mistake == Mistake::KeptBeforeTheInbox {
                    new.phase = Phase::Kept;
                } else if let Some(inbox) = state.inbox {
                    new.objects[usize::from(inbox)].has_durable = true;
                }
                go(new, "joins its inbox", At::KeepLock);
            }
            At::Keep => {
                new.phase = Phase::Kept;
                if let Some(inbox) = state.inbox {
                    new.objects[usize::from(inbox)].has_durable = true;
                }
                go(new, "is expected back from here on", At::KeepUnlock);
            }
            At::KeepUnlock => {
                new.control = None;
                go(new, "gives the control lock back", At::Open);
            }
            At::Open => {
                new.actors[index].leaves = true;
                new.actors[index].at = At::LeaveLock;
                next.fate(who, "is told to leave", &[], new);
            }
            At::LeavePhase => {
                new.phase = Phase::Taken;
                let late = self.mistake == Mistake::DiscardedBeforeThePhase;
                let at = if late { At::Free } else { self.first_of_clearing() };
                go(new, "is not expected back from here on", at);
            }
            At::Rise => {
                new.seat = None;
                go(new, "gives the desk's lock back", At::LeaveUnlock);
            }
            At::LeaveUnlock => {
                new.control = None;
                new.actors[index].leaves = false;
                go(new, "gives the control lock back", At::Out);
            }
        }
    }

    fn first_of_leaving(&self) -> At {
        match self.mistake {
            Mistake::DiscardedBeforeThePhase => At::Close,
            _ => At::LeavePhase,
        }
    }

    fn first_of_clearing(&self) -> At {
        match self.mistake {
            Mistake::FreedBeforeTheInbox => At::Free,
            Mistake::ForgottenFirst => At::Forget,
            Mistake::NotClosed => At::Unlink,
            _ => At::Close,
        }
    }

    /// With the control lock: is the desk free, somebody's, or a dead worker's?
    fn choose(&self, state: &State, index: usize, next: &mut Next<State>) {
        let mut new = *state;
        let is_unfinished = state.inbox.is_some_and(|inbox| {
            let object = state.objects[usize::from(inbox)];
            !object.has_durable && !object.is_closed
        });
        let leaves_it = self.mistake == Mistake::UnfinishedInboxLeft && is_unfinished;
        let first = if leaves_it { At::Free } else { self.first_of_clearing() };
        let lives = state.seat.is_some() && self.mistake != Mistake::LivingCleared;
        let (text, at) = match state.phase {
            Phase::Taken if !lives => ("finds a dead worker's desk", first),
            _ if index == REAPER => ("finds nobody dead", At::Unlock),
            _ if state.seat.is_some() => ("finds the name taken", At::Unlock),
            Phase::Free => ("finds a free desk", At::Sit),
            Phase::Kept => {
                next.see("came back to its inbox");
                ("finds its desk kept", At::Sit)
            }
            Phase::Taken => ("finds the name taken", At::Unlock),
        };
        new.actors[index].at = at;
        next.step(NAMES[index], text, &[], new);
    }

    /// Discards the inbox, then frees the desk.
    fn clear(&self, state: &State, index: usize, next: &mut Next<State>) {
        let me = state.actors[index];
        let mut new = *state;
        let object = state.inbox.map(usize::from);
        let early = self.mistake == Mistake::FreedBeforeTheInbox;
        let over = match (me.leaves, index) {
            (true, _) => At::Rise,
            (false, REAPER) => At::Unlock,
            (false, _) => At::Choose,
        };
        let (text, at) = match me.at {
            At::Close => {
                object.into_iter().for_each(|object| new.objects[object].is_closed = true);
                let first = self.mistake == Mistake::ForgottenFirst;
                ("closes the inbox", if first { At::Unlink } else { At::Forget })
            }
            At::Forget => {
                object.into_iter().for_each(|object| new.objects[object].has_durable = false);
                let first = self.mistake == Mistake::ForgottenFirst;
                ("forgets its durable subscriber", if first { At::Close } else { At::Unlink })
            }
            At::Unlink => {
                if self.mistake != Mistake::NameNotTakenAway {
                    new.inbox = None;
                }
                if self.mistake == Mistake::NotClosed
                    && let Some(object) = object
                {
                    new.objects[object].has_durable = false;
                }
                let at = match self.mistake {
                    _ if early => over,
                    Mistake::DiscardedBeforeThePhase if me.leaves => At::LeavePhase,
                    _ => At::Free,
                };
                ("takes its name away", at)
            }
            _ => {
                new.phase = Phase::Free;
                ("frees the desk", if early { At::Close } else { over })
            }
        };
        new.actors[index].at = at;
        next.step(NAMES[index], text, &[], new);
    }

    fn send(&self, state: &State, next: &mut Next<State>) {
        let mut new = *state;
        let asks = self.mistake != Mistake::PhaseNotAskedFor;
        let is_kept = |generation| state.phase == Phase::Kept && state.generation == generation;
        let (text, sender) = match state.sender {
            Sends::Look if state.phase == Phase::Kept || !asks => {
                ("finds a desk that is kept", Sends::Attach(state.generation))
            }
            Sends::Look => ("finds nobody to send to", Sends::Failed),
            Sends::Attach(generation) => match state.inbox {
                Some(inbox) => ("attaches to the inbox", Sends::Check(generation, inbox)),
                None => ("finds no inbox", Sends::Look),
            },
            Sends::Check(generation, inbox) => {
                let checks = asks && self.mistake != Mistake::PhaseNotCheckedAgain;
                if checks && !is_kept(generation) {
                    next.see("another sits there, or nobody");
                    ("finds another phase", Sends::Look)
                } else {
                    ("finds the phase as it was", Sends::Publish(generation, inbox))
                }
            }
            Sends::Publish(_, inbox) => {
                let object = state.objects[usize::from(inbox)];
                if object.is_closed {
                    next.see("came to an inbox that was closed");
                    ("finds the inbox closed", Sends::Look)
                } else {
                    new.is_lost = !object.has_durable;
                    let away = state.seat.is_none() && !new.is_lost;
                    away.then(|| next.see("sent to one that is away"));
                    ("publishes", Sends::Done)
                }
            }
            // It may send again later, with what it knows, or anew.
            Sends::Failed => {
                return next.fate("S", "tries again", &[], State { sender: Sends::Look, ..new });
            }
            Sends::Done => return,
        };
        new.sender = sender;
        if matches!(state.sender, Sends::Look) {
            return next.fate("S", text, &[], new);
        }
        next.step("S", text, &[], new);
    }
}

/// Makes the inbox if it is not there.
fn make(state: &mut State) {
    if state.inbox.is_none() {
        state.inbox = Some(state.made);
        state.made += 1;
    }
}

const TWO: Desks = Desks { mistake: Mistake::Nothing, kills: 2 };

#[test]
fn desks_are_never_lost_and_no_letter_is_sent_into_nothing() {
    let sights = [
        "killed at a desk that is not its own yet",
        "killed with an inbox that nobody knows of",
        "killed before it was expected back",
        "killed with an inbox",
        "killed while it cleared away",
        "a reaper was killed while it cleared away",
        "came back to its inbox",
        "another sits there, or nobody",
        "came to an inbox that was closed",
        "sent to one that is away",
    ];
    holds("desks", &TWO, &sights);
}

#[track_caller]
fn broken_by(mistake: Mistake, harm: Harm) {
    let name = std::thread::current().name().unwrap_or_default().to_owned();
    breaks(&name, &Desks { mistake, ..TWO }, harm);
}

#[test]
fn a_desk_kept_before_its_inbox_is_there_promises_too_much() {
    broken_by(Mistake::KeptBeforeTheInbox, Harm::KeptWithoutInbox);
}

#[test]
fn an_inbox_discarded_before_the_phase_says_so_leaves_a_promise_behind() {
    broken_by(Mistake::DiscardedBeforeThePhase, Harm::KeptWithoutInbox);
}

#[test]
fn a_desk_freed_before_its_inbox_leaves_a_closed_one_to_its_successor() {
    broken_by(Mistake::FreedBeforeTheInbox, Harm::KeptWithoutInbox);
}

#[test]
fn an_inbox_that_its_maker_was_killed_over_is_looked_for() {
    broken_by(Mistake::UnfinishedInboxLeft, Harm::InboxStays);
}

#[test]
fn the_dead_are_cleared_away_by_whoever_finds_them() {
    broken_by(Mistake::NobodyReaps, Harm::DeskStays);
}

#[test]
fn an_inbox_that_stays_open_takes_letters_for_nobody() {
    broken_by(Mistake::NotClosed, Harm::SentIntoNothing);
}

#[test]
fn so_does_one_that_is_closed_last() {
    broken_by(Mistake::ForgottenFirst, Harm::SentIntoNothing);
}

#[test]
fn a_closed_inbox_that_keeps_its_name_is_the_successors() {
    broken_by(Mistake::NameNotTakenAway, Harm::KeptWithoutInbox);
}

#[test]
fn a_sender_that_does_not_look_again_comes_to_an_inbox_that_is_not_ready() {
    broken_by(Mistake::PhaseNotCheckedAgain, Harm::SentIntoNothing);
}

#[test]
fn so_does_one_that_does_not_ask_for_the_desk() {
    broken_by(Mistake::PhaseNotAskedFor, Harm::SentIntoNothing);
}

#[test]
fn a_desk_cleared_without_asking_is_a_living_workers() {
    broken_by(Mistake::LivingCleared, Harm::PlaceOfTheLivingLost);
}
