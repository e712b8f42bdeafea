//! The worker slot of a name: workers that join, open an inbox, leave and are killed; a reaper; and
//! a sender with an earlier view of the slot.
//!
//! The actors mirror these sources:
//!
//! - worker: `cluster/directory/{mod,slots,sweep}.rs` (`join`, `occupy`, `keep`, `leave`, `clear`),
//!   `cluster/inbox/mod.rs`
//! - reaper: `cluster/directory/watch.rs` (`reap_dead`), `cluster/directory/sweep.rs` (`clear`)
//! - sender: `cluster/inbox/send.rs`: look up the slot, attach, check its phase again, publish
//!
//! An inbox is discarded in three repeatable steps: close it, remove its durable subscriber, remove
//! its name (`Ring::discard`).
//!
//! Not modelled: rings (`claims`, `lifetime`), several worker slots, notifications of a worker's
//! death.

use super::explorer::{Model, Next, breaks, holds};

/// Two workers with one name, and the reaper.
const ACTORS: usize = 3;
const REAPER: usize = 2;
const NAMES: [&str; ACTORS] = ["W0", "W1", "R"];
/// Number of objects that ever were the inbox.
const OBJECTS: usize = 4;

/// Injected faults.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fault {
    Nothing,
    /// The slot is marked as kept before the inbox has its durable subscriber.
    KeptBeforeInbox,
    /// A leaving worker discards the inbox before it changes the phase.
    DiscardedBeforePhase,
    /// The slot is freed before the inbox is discarded.
    FreedBeforeInbox,
    /// The inbox loses its name but stays open.
    NotClosed,
    /// The durable subscriber is removed before the inbox is closed.
    DurableRemovedFirst,
    /// The inbox is closed but keeps its name.
    NameKept,
    /// The sender does not check the phase again after it attached.
    PhaseNotCheckedAgain,
    /// The sender uses any existing inbox without checking the slot.
    PhaseNotChecked,
    /// A slot is cleared without checking whether its worker is alive.
    LivingCleared,
    /// An inbox whose creator was killed during its creation is not looked for.
    UnfinishedInboxLeft,
    /// Only a worker with the same name cleans up after a dead worker.
    NoReaper,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Violation {
    /// A worker is expected back, but has no inbox or a closed one.
    KeptWithoutInbox,
    /// A message was accepted that no worker will ever receive.
    MessageLost,
    /// The slot of a living worker was given away.
    LivingWorkersSlotLost,
    /// An inbox remains although no worker is expected back.
    InboxStays,
    /// The slot of a dead worker is never freed.
    SlotStays,
    /// The control lock is never released.
    LockNeverReleased,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Phase {
    Free,
    Taken,
    Kept,
}

/// Next step of an actor.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum At {
    /// Not joined.
    Out,
    Lock,
    /// Reads the slot, with the control lock held.
    Choose,
    Close,
    Forget,
    Unlink,
    Free,
    Sit,
    Phase,
    Unlock,
    /// Joined without an inbox.
    Live,
    Durable,
    KeepLock,
    Keep,
    KeepUnlock,
    /// Joined with an inbox.
    Open,
    LeaveLock,
    LeavePhase,
    Rise,
    LeaveUnlock,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Actor {
    at: At,
    /// Clears its own slot.
    leaves: bool,
    /// Number of further joins.
    lives: u8,
}

/// Next step of the sender.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum SenderAt {
    Look,
    /// Saw a kept slot with this generation.
    Attach(u8),
    /// Attached to this object.
    Check(u8, u8),
    Publish(u8, u8),
    Done,
    /// Found no worker to send to.
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
    /// Holder of the slot's lock.
    lock_owner: Option<u8>,
    objects: [Object; OBJECTS],
    /// Number of objects created.
    made: u8,
    /// The object with the inbox's name.
    inbox: Option<u8>,
    actors: [Actor; ACTORS],
    sender: SenderAt,
    kills: u8,
    /// The message was accepted, but no worker will receive it.
    is_lost: bool,
}

#[derive(Clone, Copy)]
struct WorkerSlots {
    fault: Fault,
    kills: u8,
}

impl Model for WorkerSlots {
    type State = State;
    type Violation = Violation;

    fn start(&self) -> State {
        let actor = Actor { at: At::Out, leaves: false, lives: 2 };
        State {
            control: None,
            phase: Phase::Free,
            generation: 0,
            lock_owner: None,
            objects: [Object::default(); OBJECTS],
            made: 0,
            inbox: None,
            actors: [actor; ACTORS],
            sender: SenderAt::Look,
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

    fn violation(&self, state: &State) -> Option<Violation> {
        if state.is_lost {
            return Some(Violation::MessageLost);
        }
        let is_open = state.inbox.is_some_and(|inbox| {
            let object = state.objects[usize::from(inbox)];
            object.has_durable && !object.is_closed
        });
        if state.phase == Phase::Kept && !is_open {
            return Some(Violation::KeptWithoutInbox);
        }
        let is_there = |actor: &Actor| matches!(actor.at, At::Live | At::Durable | At::Open);
        let lost = state.phase == Phase::Free && state.actors.iter().any(is_there);
        lost.then_some(Violation::LivingWorkersSlotLost)
    }

    fn unmet(&self, state: &State) -> Vec<Violation> {
        let mut unmet = Vec::new();
        if state.inbox.is_some() && state.phase != Phase::Kept {
            unmet.push(Violation::InboxStays);
        }
        if state.phase == Phase::Taken {
            unmet.push(Violation::SlotStays);
        }
        if state.control.is_some() {
            unmet.push(Violation::LockNeverReleased);
        }
        unmet
    }
}

/// Kills an actor: the kernel releases its locks.
fn kill(state: &State, index: usize, next: &mut Next<State>) {
    let at = state.actors[index].at;
    if state.kills == 0 || at == At::Out {
        return;
    }
    match at {
        At::Phase => next.cover("killed before it marked the slot as its own"),
        At::Durable => next.cover("killed with an inbox that the slot does not mention"),
        At::Keep => next.cover("killed before it marked the slot as kept"),
        At::Open => next.cover("killed with an inbox"),
        At::Close | At::Forget | At::Unlink | At::Free if index == REAPER => {
            next.cover("a reaper was killed during a cleanup");
        }
        At::Close | At::Forget | At::Unlink | At::Free => next.cover("killed during a cleanup"),
        _ => {}
    }
    let mut new = *state;
    new.kills -= 1;
    let own = Some(index as u8);
    if new.control == own {
        new.control = None;
    }
    if new.lock_owner == own {
        new.lock_owner = None;
    }
    (new.actors[index].at, new.actors[index].leaves) = (At::Out, false);
    next.external(NAMES[index], "is killed", &[], new);
}

impl WorkerSlots {
    /// The reaper starts when a slot is taken and its lock is free.
    fn reap(&self, state: &State, next: &mut Next<State>) {
        let finds = state.phase == Phase::Taken && state.lock_owner.is_none();
        let comes = self.fault != Fault::NoReaper;
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
                    next.external(who, "joins", &[], new);
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
                new.lock_owner = own;
                go(new, "takes the slot's lock", At::Phase);
            }
            At::Phase => {
                if state.phase == Phase::Free {
                    new.phase = Phase::Taken;
                }
                new.generation += 1;
                go(new, "marks the slot as its own", At::Unlock);
            }
            At::Unlock => {
                new.control = None;
                let is_reaper = index == REAPER || state.lock_owner != own;
                let has_inbox = new.phase == Phase::Kept;
                let at = match (is_reaper, has_inbox) {
                    (true, _) => At::Out,
                    (false, true) => At::Open,
                    (false, false) => At::Live,
                };
                go(new, "releases the control lock", at);
            }
            At::Live => {
                make(&mut new);
                go(new, "creates its inbox", At::Durable);
                let mut new = *state;
                new.actors[index].leaves = true;
                new.actors[index].at = At::LeaveLock;
                next.step(who, "is dropped", &[], new);
            }
            At::Durable => {
                if self.fault == Fault::KeptBeforeInbox {
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
                go(new, "marks the slot as kept", At::KeepUnlock);
            }
            At::KeepUnlock => {
                new.control = None;
                go(new, "releases the control lock", At::Open);
            }
            At::Open => {
                new.actors[index].leaves = true;
                new.actors[index].at = At::LeaveLock;
                next.external(who, "begins to leave", &[], new);
            }
            At::LeavePhase => {
                new.phase = Phase::Taken;
                let late = self.fault == Fault::DiscardedBeforePhase;
                let at = if late { At::Free } else { self.first_of_clearing() };
                go(new, "marks the slot as taken", at);
            }
            At::Rise => {
                new.lock_owner = None;
                go(new, "releases the slot's lock", At::LeaveUnlock);
            }
            At::LeaveUnlock => {
                new.control = None;
                new.actors[index].leaves = false;
                go(new, "releases the control lock", At::Out);
            }
        }
    }

    fn first_of_leaving(&self) -> At {
        match self.fault {
            Fault::DiscardedBeforePhase => At::Close,
            _ => At::LeavePhase,
        }
    }

    fn first_of_clearing(&self) -> At {
        match self.fault {
            Fault::FreedBeforeInbox => At::Free,
            Fault::DurableRemovedFirst => At::Forget,
            Fault::NotClosed => At::Unlink,
            _ => At::Close,
        }
    }

    /// Decides, with the control lock held, whether the slot is free, in use or of a dead worker.
    fn choose(&self, state: &State, index: usize, next: &mut Next<State>) {
        let mut new = *state;
        let is_unfinished = state.inbox.is_some_and(|inbox| {
            let object = state.objects[usize::from(inbox)];
            !object.has_durable && !object.is_closed
        });
        let leaves_it = self.fault == Fault::UnfinishedInboxLeft && is_unfinished;
        let first = if leaves_it { At::Free } else { self.first_of_clearing() };
        let lives = state.lock_owner.is_some() && self.fault != Fault::LivingCleared;
        let (text, at) = match state.phase {
            Phase::Taken if !lives => ("finds the slot of a dead worker", first),
            _ if index == REAPER => ("finds no dead worker", At::Unlock),
            _ if state.lock_owner.is_some() => ("finds the name taken", At::Unlock),
            Phase::Free => ("finds a free slot", At::Sit),
            Phase::Kept => {
                next.cover("a successor found its inbox");
                ("finds its slot kept", At::Sit)
            }
            Phase::Taken => ("finds the name taken", At::Unlock),
        };
        new.actors[index].at = at;
        next.step(NAMES[index], text, &[], new);
    }

    /// Discards the inbox, then frees the slot.
    fn clear(&self, state: &State, index: usize, next: &mut Next<State>) {
        let me = state.actors[index];
        let mut new = *state;
        let object = state.inbox.map(usize::from);
        let early = self.fault == Fault::FreedBeforeInbox;
        let over = match (me.leaves, index) {
            (true, _) => At::Rise,
            (false, REAPER) => At::Unlock,
            (false, _) => At::Choose,
        };
        let (text, at) = match me.at {
            At::Close => {
                object.into_iter().for_each(|object| new.objects[object].is_closed = true);
                let first = self.fault == Fault::DurableRemovedFirst;
                ("closes the inbox", if first { At::Unlink } else { At::Forget })
            }
            At::Forget => {
                object.into_iter().for_each(|object| new.objects[object].has_durable = false);
                let first = self.fault == Fault::DurableRemovedFirst;
                (
                    "removes the inbox's durable subscriber",
                    if first { At::Close } else { At::Unlink },
                )
            }
            At::Unlink => {
                if self.fault != Fault::NameKept {
                    new.inbox = None;
                }
                if self.fault == Fault::NotClosed
                    && let Some(object) = object
                {
                    new.objects[object].has_durable = false;
                }
                let at = match self.fault {
                    _ if early => over,
                    Fault::DiscardedBeforePhase if me.leaves => At::LeavePhase,
                    _ => At::Free,
                };
                ("removes the inbox's name", at)
            }
            _ => {
                new.phase = Phase::Free;
                ("frees the slot", if early { At::Close } else { over })
            }
        };
        new.actors[index].at = at;
        next.step(NAMES[index], text, &[], new);
    }

    fn send(&self, state: &State, next: &mut Next<State>) {
        let mut new = *state;
        let asks = self.fault != Fault::PhaseNotChecked;
        let is_kept = |generation| state.phase == Phase::Kept && state.generation == generation;
        let (text, sender) = match state.sender {
            SenderAt::Look if state.phase == Phase::Kept || !asks => {
                ("finds a kept slot", SenderAt::Attach(state.generation))
            }
            SenderAt::Look => ("finds no worker", SenderAt::Failed),
            SenderAt::Attach(generation) => match state.inbox {
                Some(inbox) => ("attaches to the inbox", SenderAt::Check(generation, inbox)),
                None => ("finds no inbox", SenderAt::Look),
            },
            SenderAt::Check(generation, inbox) => {
                let checks = asks && self.fault != Fault::PhaseNotCheckedAgain;
                if checks && !is_kept(generation) {
                    next.cover("the slot changed between the two checks");
                    ("finds another phase", SenderAt::Look)
                } else {
                    ("finds the phase unchanged", SenderAt::Publish(generation, inbox))
                }
            }
            SenderAt::Publish(_, inbox) => {
                let object = state.objects[usize::from(inbox)];
                if object.is_closed {
                    next.cover("the sender found a closed inbox");
                    ("finds the inbox closed", SenderAt::Look)
                } else {
                    new.is_lost = !object.has_durable;
                    let away = state.lock_owner.is_none() && !new.is_lost;
                    away.then(|| next.cover("sent to the inbox of an absent worker"));
                    ("publishes", SenderAt::Done)
                }
            }
            // The sender may send again later.
            SenderAt::Failed => {
                return next.external(
                    "S",
                    "tries again",
                    &[],
                    State { sender: SenderAt::Look, ..new },
                );
            }
            SenderAt::Done => return,
        };
        new.sender = sender;
        if matches!(state.sender, SenderAt::Look) {
            return next.external("S", text, &[], new);
        }
        next.step("S", text, &[], new);
    }
}

/// Creates the inbox if it does not exist.
fn make(state: &mut State) {
    if state.inbox.is_none() {
        state.inbox = Some(state.made);
        state.made += 1;
    }
}

const TWO: WorkerSlots = WorkerSlots { fault: Fault::Nothing, kills: 2 };

#[test]
fn worker_slots_and_messages_are_never_lost() {
    let situations = [
        "killed before it marked the slot as its own",
        "killed with an inbox that the slot does not mention",
        "killed before it marked the slot as kept",
        "killed with an inbox",
        "killed during a cleanup",
        "a reaper was killed during a cleanup",
        "a successor found its inbox",
        "the slot changed between the two checks",
        "the sender found a closed inbox",
        "sent to the inbox of an absent worker",
    ];
    holds("worker slots", &TWO, &situations);
}

#[track_caller]
fn broken_by(fault: Fault, violation: Violation) {
    let name = std::thread::current().name().unwrap_or_default().to_owned();
    breaks(&name, &WorkerSlots { fault, ..TWO }, violation);
}

#[test]
fn a_slot_kept_before_its_inbox_exists_has_no_inbox() {
    broken_by(Fault::KeptBeforeInbox, Violation::KeptWithoutInbox);
}

#[test]
fn an_inbox_discarded_before_the_phase_change_leaves_a_kept_slot() {
    broken_by(Fault::DiscardedBeforePhase, Violation::KeptWithoutInbox);
}

#[test]
fn a_slot_freed_before_its_inbox_gives_a_closed_inbox_to_its_successor() {
    broken_by(Fault::FreedBeforeInbox, Violation::KeptWithoutInbox);
}

#[test]
fn an_unfinished_inbox_is_removed() {
    broken_by(Fault::UnfinishedInboxLeft, Violation::InboxStays);
}

#[test]
fn without_a_reaper_a_dead_workers_slot_stays_taken() {
    broken_by(Fault::NoReaper, Violation::SlotStays);
}

#[test]
fn an_inbox_that_stays_open_loses_messages() {
    broken_by(Fault::NotClosed, Violation::MessageLost);
}

#[test]
fn an_inbox_closed_last_loses_messages() {
    broken_by(Fault::DurableRemovedFirst, Violation::MessageLost);
}

#[test]
fn a_closed_inbox_that_keeps_its_name_goes_to_the_successor() {
    broken_by(Fault::NameKept, Violation::KeptWithoutInbox);
}

#[test]
fn a_sender_without_a_second_phase_check_loses_messages() {
    broken_by(Fault::PhaseNotCheckedAgain, Violation::MessageLost);
}

#[test]
fn a_sender_without_any_phase_check_loses_messages() {
    broken_by(Fault::PhaseNotChecked, Violation::MessageLost);
}

#[test]
fn a_slot_cleared_without_a_liveness_check_is_taken_from_the_living() {
    broken_by(Fault::LivingCleared, Violation::LivingWorkersSlotLost);
}
