//! The inbox of one worker that its successors replace, each by one under the other of two names;
//! and two senders with earlier views of it.
//!
//! The actors mirror these sources:
//!
//! - worker: `cluster/inbox/mod.rs` (`open_inbox`, `replace_inbox`, `switch_to`),
//!   `channel/ring.rs` (`seal`, `supersede`), `cluster/directory/mod.rs` (`switch_inbox`,
//!   `remove_spare_inbox`)
//! - sender: `cluster/inbox/send.rs`: look up the slot, attach by name, compare the phase again,
//!   check that the ring is open, claim
//!
//! A worker that is killed has a successor, which opens the current inbox. The slot is kept all the
//! time.
//!
//! Not modelled: how a worker joins and leaves (`worker_slots`), and how a ring is sealed, which is
//! one step here. `channel::tests::sealed` has its steps.

use super::explorer::{Model, Next, breaks, holds, is_large};

const SENDERS: usize = 2;
const NAMES: [&str; SENDERS] = ["S1", "S2"];
/// Objects at a time: two with names, and the endpoint of each sender.
const OBJECTS: usize = 4;

/// Injected faults.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fault {
    Nothing,
    /// The old inbox is only checked for messages.
    NotSealed,
    /// The old inbox is sealed without a check for messages.
    MessageIgnored,
    /// The durable subscriber of the old inbox leaves it, which frees its slots.
    SubscriberFreed,
    /// The old inbox is closed before the new one is current.
    ClosedFirst,
    /// The name of the old inbox is removed before the new one is current.
    UnlinkedFirst,
    /// The new inbox is current before it has its durable subscriber.
    SwitchedBeforeJoin,
    /// A successor does not look for a spare inbox.
    SpareLeft,
    /// A successor removes the name of a spare inbox, and does not close it.
    SpareNotClosed,
    /// A sender does not compare the phase again after it attached.
    PhaseNotCheckedAgain,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Violation {
    /// A message was accepted that no worker will receive.
    MessageLost,
    /// A sender finds no open inbox with a subscriber.
    NoInbox,
    /// A spare inbox stays beside an open one.
    SpareStays,
    /// A sender waits for ever.
    SenderStuck,
    /// A message is never received.
    NeverReceived,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
struct Object {
    is_closed: bool,
    has_durable: bool,
    /// No publisher can claim a slot.
    is_sealed: bool,
    messages: u8,
}

/// Next step of the worker.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum At {
    /// Dead or dropped.
    Away,
    SpareClose,
    SpareUnlink,
    /// Has its inbox open.
    Open,
    Make,
    Join,
    Seal,
    UndoClose,
    UndoUnlink,
    Switch,
    OldClose,
    OldUnlink,
}

/// Next step of a sender. The numbers: the name that it found, the object that it has.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum SenderAt {
    Look,
    Attach(u8),
    Check(u8, u8),
    /// Checks that the ring is open.
    Begin(u8, u8),
    Claim(u8, u8),
    Done,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct State {
    objects: [Object; OBJECTS],
    /// The object of each name.
    names: [Option<u8>; 2],
    /// The name of the current inbox.
    current: u8,
    worker: At,
    senders: [SenderAt; SENDERS],
    /// Messages that each sender has sent.
    sent: [u8; SENDERS],
    received: u8,
    kills: u8,
}

impl State {
    fn other(&self) -> usize {
        usize::from(1 - self.current)
    }

    fn inbox(&mut self) -> Option<&mut Object> {
        let object = self.names[usize::from(self.current)]?;
        Some(&mut self.objects[usize::from(object)])
    }

    /// The object of the other name.
    fn spare(&mut self) -> Option<&mut Object> {
        let object = self.names[self.other()]?;
        Some(&mut self.objects[usize::from(object)])
    }

    /// An object that has no name and that no sender has.
    fn vacant(&self) -> Option<u8> {
        let has = |sender: &SenderAt, object| match *sender {
            SenderAt::Check(_, own) | SenderAt::Begin(_, own) | SenderAt::Claim(_, own) => {
                own == object
            }
            SenderAt::Look | SenderAt::Attach(_) | SenderAt::Done => false,
        };
        (0..OBJECTS as u8).find(|&object| {
            !self.names.contains(&Some(object))
                && !self.senders.iter().any(|sender| has(sender, object))
        })
    }
}

#[derive(Clone, Copy)]
struct Replacing {
    fault: Fault,
    kills: u8,
    /// Messages of each sender, at least one.
    messages: [u8; SENDERS],
}

impl Model for Replacing {
    type State = State;
    type Violation = Violation;

    fn start(&self) -> State {
        let mut objects = [Object::default(); OBJECTS];
        objects[0].has_durable = true;
        State {
            objects,
            names: [Some(0), None],
            current: 0,
            worker: At::Away,
            senders: [SenderAt::Look; SENDERS],
            sent: [0; SENDERS],
            received: 0,
            kills: self.kills,
        }
    }

    fn next(&self, state: &State, next: &mut Next<State>) {
        self.work(state, next);
        kill(state, next);
        for index in 0..SENDERS {
            self.send(state, index, next);
        }
    }

    fn violation(&self, state: &State) -> Option<Violation> {
        let mut state = *state;
        let is_open = |inbox: &mut Object| inbox.has_durable && !inbox.is_closed;
        if !state.inbox().is_some_and(is_open) {
            return Some(Violation::NoInbox);
        }
        let current = state.names[usize::from(state.current)];
        let has_message =
            |(index, object): (usize, &Object)| object.messages > 0 && Some(index as u8) != current;
        if state.objects.iter().enumerate().any(has_message) {
            return Some(Violation::MessageLost);
        }
        let stays = state.worker == At::Open && state.spare().is_some();
        stays.then_some(Violation::SpareStays)
    }

    fn unmet(&self, state: &State) -> Vec<Violation> {
        let mut unmet = Vec::new();
        if state.senders.iter().any(|&sender| sender != SenderAt::Done) {
            unmet.push(Violation::SenderStuck);
        }
        if state.received < state.sent.iter().sum() {
            unmet.push(Violation::NeverReceived);
        }
        unmet
    }
}

/// Kills the worker.
fn kill(state: &State, next: &mut Next<State>) {
    if state.kills == 0 || state.worker == At::Away {
        return;
    }
    match state.worker {
        At::Join => next.cover("killed with an unfinished inbox"),
        At::Seal => next.cover("killed with two inboxes"),
        At::Switch => next.cover("killed with a sealed current inbox"),
        At::OldClose => next.cover("killed with a replaced inbox that is open"),
        At::OldUnlink => next.cover("killed with a replaced inbox that has its name"),
        _ => {}
    }
    let new = State { worker: At::Away, kills: state.kills - 1, ..*state };
    next.external("W", "is killed", &[], new);
}

impl Replacing {
    fn work(&self, state: &State, next: &mut Next<State>) {
        let mut new = *state;
        let mut go = |mut new: State, text, at| {
            new.worker = at;
            next.step("W", text, &[], new);
        };
        match state.worker {
            At::Away => {
                let removes = self.fault != Fault::SpareLeft && new.spare().is_some();
                let at = match removes {
                    false => At::Open,
                    true if self.fault == Fault::SpareNotClosed => At::SpareUnlink,
                    true => At::SpareClose,
                };
                go(new, "opens the current inbox", at);
            }
            At::SpareClose | At::UndoClose => {
                new.spare().into_iter().for_each(|object| object.is_closed = true);
                let is_undo = state.worker == At::UndoClose;
                let at = if is_undo { At::UndoUnlink } else { At::SpareUnlink };
                go(new, "closes the spare inbox", at);
            }
            At::SpareUnlink | At::UndoUnlink => {
                new.names[state.other()] = None;
                go(new, "removes the name of the spare inbox", At::Open);
            }
            At::Open => {
                if new.inbox().is_some_and(|inbox| inbox.messages > 0 || inbox.is_sealed) {
                    // A receive skips void packets.
                    let messages = new.inbox().map_or(0, |inbox| {
                        inbox.is_sealed = false;
                        std::mem::take(&mut inbox.messages)
                    });
                    new.received += messages;
                    go(new, "receives", At::Open);
                }
                let away = State { worker: At::Away, ..*state };
                next.external("W", "is dropped", &[], away);
                let make = State { worker: At::Make, ..*state };
                next.external("W", "begins to replace its inbox", &[], make);
            }
            At::Make => {
                // Without a vacant object a sender has to go on first.
                let Some(object) = state.vacant() else { return };
                new.objects[usize::from(object)] = Object::default();
                new.names[state.other()] = Some(object);
                let early = self.fault == Fault::SwitchedBeforeJoin;
                go(new, "makes a spare inbox", if early { At::Seal } else { At::Join });
            }
            At::Join => {
                new.spare().into_iter().for_each(|object| object.has_durable = true);
                go(new, "joins the new inbox", At::Seal);
            }
            At::Seal => {
                let has_message = new.inbox().is_some_and(|inbox| inbox.messages > 0);
                if has_message && self.fault != Fault::MessageIgnored {
                    next.cover("an inbox with a message stays");
                    new.worker = At::UndoClose;
                    return next.step("W", "finds a message", &[], new);
                }
                let seals = self.fault != Fault::NotSealed;
                new.inbox().into_iter().for_each(|inbox| inbox.is_sealed = seals);
                let at = match self.fault {
                    Fault::ClosedFirst => At::OldClose,
                    Fault::UnlinkedFirst => At::OldUnlink,
                    _ => At::Switch,
                };
                go(new, "seals the inbox", at);
            }
            At::Switch => {
                new.current = 1 - state.current;
                go(new, "makes the new inbox the current one", At::OldClose);
            }
            At::OldClose => {
                let frees = self.fault == Fault::SubscriberFreed;
                let old = match self.fault {
                    Fault::ClosedFirst => new.inbox(),
                    _ => new.spare(),
                };
                if let Some(object) = old {
                    object.is_closed = true;
                    object.is_sealed &= !frees;
                }
                go(new, "closes the old inbox", At::OldUnlink);
            }
            At::OldUnlink => {
                let old = match self.fault {
                    Fault::UnlinkedFirst => usize::from(state.current),
                    _ => state.other(),
                };
                new.names[old] = None;
                next.cover("replaced an inbox");
                new.worker = At::Open;
                next.step("W", "removes the name of the old inbox", &[], new);
            }
        }
    }

    fn send(&self, state: &State, index: usize, next: &mut Next<State>) {
        let mut new = *state;
        let (text, sender) = match state.senders[index] {
            SenderAt::Look => ("looks the worker up", SenderAt::Attach(state.current)),
            SenderAt::Attach(name) => match state.names[usize::from(name)] {
                Some(object) if !state.objects[usize::from(object)].is_closed => {
                    let trusts = self.fault == Fault::PhaseNotCheckedAgain;
                    let check = SenderAt::Check(name, object);
                    let at = if trusts { SenderAt::Begin(name, object) } else { check };
                    ("attaches", at)
                }
                _ => {
                    next.cover("a sender came too late to attach");
                    ("finds the inbox gone", SenderAt::Look)
                }
            },
            SenderAt::Check(name, object) => match name == state.current {
                true => ("finds the phase unchanged", SenderAt::Begin(name, object)),
                false => ("finds another phase", SenderAt::Look),
            },
            SenderAt::Begin(name, object) => match state.objects[usize::from(object)].is_closed {
                false => ("finds the inbox open", SenderAt::Claim(name, object)),
                true => ("finds the inbox closed", SenderAt::Look),
            },
            SenderAt::Claim(name, object) => {
                let object_now = &mut new.objects[usize::from(object)];
                if object_now.is_sealed {
                    if !object_now.is_closed {
                        return next.cover("a sender waits at a sealed inbox");
                    }
                    ("finds the inbox closed", SenderAt::Look)
                } else {
                    object_now.messages += 1;
                    new.sent[index] += 1;
                    let is_over = new.sent[index] == self.messages[index];
                    // The next message goes through the same endpoint if the phase is as before.
                    let again = SenderAt::Check(name, object);
                    ("sends", if is_over { SenderAt::Done } else { again })
                }
            }
            SenderAt::Done => return,
        };
        new.senders[index] = sender;
        next.step(NAMES[index], text, &[], new);
    }
}

const SMALL: Replacing = Replacing { fault: Fault::Nothing, kills: 1, messages: [2, 1] };
const LARGE: Replacing = Replacing { kills: 2, messages: [2, 2], ..SMALL };

#[test]
fn a_replaced_inbox_loses_no_message() {
    let situations = [
        "replaced an inbox",
        "an inbox with a message stays",
        "killed with an unfinished inbox",
        "killed with two inboxes",
        "killed with a sealed current inbox",
        "killed with a replaced inbox that is open",
        "killed with a replaced inbox that has its name",
        "a sender came too late to attach",
        "a sender waits at a sealed inbox",
    ];
    holds("replacing", if is_large() { &LARGE } else { &SMALL }, &situations);
}

#[track_caller]
fn broken_by(fault: Fault, violation: Violation) {
    let name = std::thread::current().name().unwrap_or_default().to_owned();
    breaks(&name, &Replacing { fault, ..SMALL }, violation);
}

#[test]
fn an_inbox_that_is_not_sealed_gets_a_message_after_it_was_replaced() {
    broken_by(Fault::NotSealed, Violation::MessageLost);
}

#[test]
fn a_message_in_an_inbox_that_is_replaced_is_lost() {
    broken_by(Fault::MessageIgnored, Violation::MessageLost);
}

#[test]
fn a_replaced_inbox_without_its_subscriber_has_room_for_a_late_message() {
    broken_by(Fault::SubscriberFreed, Violation::MessageLost);
}

#[test]
fn an_inbox_that_is_closed_too_early_is_refused_to_senders() {
    broken_by(Fault::ClosedFirst, Violation::NoInbox);
}

#[test]
fn an_inbox_that_loses_its_name_too_early_is_not_found() {
    broken_by(Fault::UnlinkedFirst, Violation::NoInbox);
}

#[test]
fn a_current_inbox_without_its_subscriber_is_not_ready() {
    broken_by(Fault::SwitchedBeforeJoin, Violation::NoInbox);
}

#[test]
fn an_inbox_that_no_successor_looks_for_stays() {
    broken_by(Fault::SpareLeft, Violation::SpareStays);
}

#[test]
fn an_inbox_that_a_successor_removes_and_does_not_close_gets_messages() {
    broken_by(Fault::SpareNotClosed, Violation::MessageLost);
}

#[test]
fn a_sender_without_a_second_phase_check_sends_into_an_inbox_in_the_making() {
    broken_by(Fault::PhaseNotCheckedAgain, Violation::MessageLost);
}
