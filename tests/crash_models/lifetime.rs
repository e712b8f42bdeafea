//! Making and removing segments: processes that open one name at once, attach, keep or remove
//! durable entries, leave, and are killed before any of their steps; somebody who removes a ring
//! by the library, and somebody who removes its object by hand.
//!
//! | actor | mirrors |
//! |---|---|
//! | opener | `segment/enter.rs` (`Locked::take`, `enter`, `make`, `use_ready`), `segment/mapped.rs` (`Mapped::open`, `attach`), `segment/map.rs` |
//! | the same, leaving | `segment/whole.rs` (`Segment::drop`, `lock_patiently`), `segment/mapped.rs` (`leave`, `give_up`) |
//! | remover | `Mapped::remove` |
//! | durable entries | `ring/roster.rs` (`make_durable`), `channel/join.rs` (`remove_durable`), both under the control lock |
//!
//! The kernel is modelled as it is: a name leads to an object or to none, an object lives on
//! without its name, and the locks of a process go when it dies.

use super::explorer::{Model, Next, breaks, holds, is_large};

const OBJECTS: usize = 4;
const NONE: u8 = u8::MAX;
const NAMES: [&str; 3] = ["A", "B", "C"];

/// What is done wrong.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mistake {
    Nothing,
    /// Whoever gets the control lock does not ask whether the object still has a name.
    UnlinkedNotNoticed,
    /// The name is removed, whosever it is by then.
    UnlinkWithoutLooking,
    /// What is mapped by name is not compared with what was opened.
    MapWithoutLooking,
    /// Leaving does not take the control lock.
    LeaveWithoutTheLock,
    /// The read lock goes when the descriptor is closed, after the control lock.
    ReadLockGoesAtClose,
    /// The read lock is taken after the control lock is given back.
    AttachAfterTheLock,
    /// An object that is not ready is somebody's who is just making it: waits.
    HalfMadeIsWaitedFor,
    /// The last to leave does not ask for durable entries.
    DurableNotAsked,
    /// A ready segment is joined whether anybody uses it or not.
    LeftIsJoined,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
enum Harm {
    /// An opener came into an object that has no name: others will make another.
    OpenerCameIntoANamelessObject,
    /// Somebody removed the name of an object in which others live.
    NameWasTakenFromTheLiving,
    /// An opener made an object anew in which others live.
    OpenerMadeOverTheLiving,
    /// An opener came in before the entries were initialized.
    OpenerCameInTooEarly,
    /// An opener works on another object than it has locked.
    OpenerMappedAnotherObject,
    /// An opener came into what the dead had left.
    OpenerCameIntoWhatTheDeadLeft,
    /// The backlog of a durable subscriber was removed.
    DurableWasRemoved,
    /// Somebody removed the name of an object that was not theirs.
    AnothersNameWasRemoved,
    /// An opener is told that there is no ring, which it was to make.
    OpenerFoundNothing,
    OpenerWaitsForEver,
    /// All have left, and the object is still there.
    ObjectIsLeftBehind,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Word {
    Unmade,
    Ready,
    Removed,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Object {
    exists: bool,
    is_linked: bool,
    /// Memory is reserved.
    has_memory: bool,
    word: Word,
    is_initialized: bool,
    has_durable: bool,
    /// Who holds the control lock; who holds a read lock, a bit each.
    control: u8,
    attached: u8,
}

const FRESH: Object = Object {
    exists: true,
    is_linked: true,
    has_memory: false,
    word: Word::Unmade,
    is_initialized: false,
    has_durable: false,
    control: NONE,
    attached: 0,
};

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum At {
    Open,
    OpenLock,
    Measure,
    MapOpen,
    MapCheck,
    State,
    AskDurable,
    AskAttached,
    MakeEmpty,
    MakeReserve,
    MakeMap,
    MakeMapCheck,
    Initialize,
    MakeReady,
    Attach,
    Unlock,
    In,
    DurableLock,
    DurableStore,
    DurableUnlock,
    LeaveLock,
    LeaveRelease,
    LeaveAskLast,
    LeaveAskDurable,
    RemoveMark,
    RemoveLook,
    RemoveUnlink,
    LeaveUnlock,
    Close,
    Done,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Process {
    is_alive: bool,
    at: At,
    fd: u8,
    map: u8,
    /// It is on its way out, not in.
    is_leaving: bool,
    has_done_durable: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct State {
    /// The object to which the name leads.
    name: u8,
    objects: [Object; OBJECTS],
    processes: [Process; 3],
    kills: u8,
    by_hand: bool,
    /// Nobody was killed, was impatient or did anything by hand.
    is_tidy: bool,
    harm: Option<Harm>,
}

/// What a process does while it is in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Life {
    /// Nothing. It is not there at all.
    Absent,
    Comes,
    /// Makes a durable entry.
    MakesDurable,
    /// Removes the durable entry, if there is one.
    RemovesDurable,
    /// Does not come in: removes the ring if nobody is there.
    Removes,
}

/// One scenario.
#[derive(Clone, Copy)]
struct Lifetime {
    mistake: Mistake,
    lives: [Life; 3],
    kills: u8,
    /// Leaving may give up on the control lock.
    are_impatient: bool,
    /// Somebody may remove the object by hand, once.
    by_hand: bool,
}

impl State {
    fn hurt(&mut self, harm: Harm) {
        self.harm = self.harm.or(Some(harm));
    }

    fn object(&mut self, index: u8) -> &mut Object {
        &mut self.objects[usize::from(index)]
    }

    /// Closes a process's descriptor, by itself or by its death: the kernel drops its locks.
    fn close(&mut self, process: usize) {
        for object in &mut self.objects {
            if object.control == process as u8 {
                object.control = NONE;
            }
            object.attached &= !(1 << process);
        }
        (self.processes[process].fd, self.processes[process].map) = (NONE, NONE);
        let is_open = |index: usize| self.processes.iter().any(|p| usize::from(p.fd) == index);
        for index in 0..OBJECTS {
            // Nobody can tell any more what an object without name and descriptors was.
            if !self.objects[index].is_linked && !is_open(index) {
                self.objects[index] = Object { exists: false, is_linked: false, ..FRESH };
            }
        }
    }
}

impl Model for Lifetime {
    type State = State;
    type Harm = Harm;

    fn start(&self) -> State {
        let process = |life: Life| Process {
            is_alive: life != Life::Absent,
            at: At::Open,
            fd: NONE,
            map: NONE,
            is_leaving: false,
            has_done_durable: !matches!(life, Life::MakesDurable | Life::RemovesDurable),
        };
        State {
            name: NONE,
            objects: [Object { exists: false, is_linked: false, ..FRESH }; OBJECTS],
            processes: self.lives.map(process),
            kills: self.kills,
            by_hand: self.by_hand,
            is_tidy: true,
            harm: None,
        }
    }

    fn next(&self, state: &State, next: &mut Next<State>) {
        for index in 0..3 {
            self.process(index, state, next);
        }
        if state.by_hand && state.name != NONE {
            let mut new = *state;
            (new.by_hand, new.is_tidy, new.name) = (false, false, NONE);
            new.object(state.name).is_linked = false;
            next.see("somebody removed the object by hand");
            next.fate("somebody", "removes the object by hand", &[], new);
        }
    }

    fn harm(&self, state: &State) -> Option<Harm> {
        state.harm
    }

    fn unmet(&self, state: &State) -> Vec<Harm> {
        let mut unmet = Vec::new();
        let is_over = |process: &Process| !process.is_alive || process.at == At::Done;
        if !state.processes.iter().all(is_over) {
            unmet.push(Harm::OpenerWaitsForEver);
        }
        if state.is_tidy
            && state.name != NONE
            && !state.objects[usize::from(state.name)].has_durable
        {
            unmet.push(Harm::ObjectIsLeftBehind);
        }
        unmet
    }
}

impl Lifetime {
    fn process(&self, index: usize, state: &State, next: &mut Next<State>) {
        let me = state.processes[index];
        if !me.is_alive || me.at == At::Done {
            return;
        }
        if state.kills > 0 && me.at != At::Open {
            let mut new = *state;
            (new.kills, new.is_tidy) = (state.kills - 1, false);
            new.close(index);
            new.processes[index] =
                Process { is_alive: false, at: At::Done, fd: NONE, map: NONE, ..me };
            match me.at {
                At::MakeReserve | At::MakeMap | At::Initialize | At::MakeReady => {
                    next.see("a maker was killed half-way");
                }
                At::RemoveUnlink | At::RemoveLook => next.see("a remover was killed half-way"),
                _ => {}
            }
            next.fate(NAMES[index], "is killed", &[], new);
        }
        let mut new = *state;
        let text = match me.at {
            At::Open | At::OpenLock | At::Measure | At::MapOpen | At::MapCheck => {
                self.open(index, &mut new, next)
            }
            At::State | At::AskDurable | At::AskAttached => self.judge(index, &mut new, next),
            At::MakeEmpty
            | At::MakeReserve
            | At::MakeMap
            | At::MakeMapCheck
            | At::Initialize
            | At::MakeReady => self.make(index, &mut new),
            At::Attach
            | At::Unlock
            | At::In
            | At::DurableLock
            | At::DurableStore
            | At::DurableUnlock => self.stay(index, &mut new, next),
            _ => self.leave(index, &mut new, next),
        };
        if let Some(text) = text {
            next.step(NAMES[index], text, &[], new);
        }
    }

    /// `open_object`, `Locked::take`, the first half of `enter`, `Map::open`; and `remove`.
    fn open(&self, index: usize, new: &mut State, next: &mut Next<State>) -> Option<&'static str> {
        let removes = self.lives[index] == Life::Removes;
        let mut me = new.processes[index];
        let text = match me.at {
            At::Open if new.name == NONE && removes => {
                me.at = At::Done;
                "finds nothing to remove"
            }
            At::Open => {
                if new.name == NONE {
                    let free = new.objects.iter().position(|object| !object.exists)?;
                    new.objects[free] = FRESH;
                    new.name = free as u8;
                }
                (me.fd, me.at) = (new.name, At::OpenLock);
                "opens the object, which may be new"
            }
            At::OpenLock => {
                if new.object(me.fd).control != NONE {
                    return None;
                }
                new.object(me.fd).control = index as u8;
                me.at = At::Measure;
                "takes the control lock"
            }
            At::Measure => {
                let object = *new.object(me.fd);
                me.at = if object.has_memory { At::MapOpen } else { At::MakeEmpty };
                if !object.is_linked && self.mistake != Mistake::UnlinkedNotNoticed {
                    next.see("an opener found its object removed");
                    new.close(index);
                    me = Process { fd: NONE, map: NONE, at: At::Open, ..new.processes[index] };
                    if removes {
                        me.at = At::Done;
                    }
                } else if removes {
                    me.is_leaving = true;
                    me.at = if object.attached == 0 { At::RemoveLook } else { At::Close };
                }
                "measures it"
            }
            At::MapOpen => {
                me.map = new.name;
                me.at = At::MapCheck;
                "maps what has the name"
            }
            At::MapCheck => {
                let is_same = new.name == me.fd || self.mistake == Mistake::MapWithoutLooking;
                me.at = At::State;
                if me.map == NONE || !is_same {
                    next.see("an opener mapped what it had not opened");
                    new.close(index);
                    me = Process { at: At::Open, ..new.processes[index] };
                }
                "compares what it mapped with what it opened"
            }
            _ => unreachable!("not a part of opening"),
        };
        new.processes[index] = me;
        Some(text)
    }

    /// The second half of `enter`, `use_ready`.
    fn judge(&self, index: usize, new: &mut State, next: &mut Next<State>) -> Option<&'static str> {
        let mut me = new.processes[index];
        let object = *new.object(me.fd);
        let text = match me.at {
            At::State => match object.word {
                Word::Unmade if self.mistake == Mistake::HalfMadeIsWaitedFor => {
                    new.close(index);
                    me = Process { at: At::Open, ..new.processes[index] };
                    "finds it half-made, and opens again"
                }
                Word::Unmade => {
                    next.see("a half-made object was made anew");
                    me.at = At::MakeEmpty;
                    "finds it half-made"
                }
                Word::Removed => {
                    next.see("a half-removed object was removed");
                    me.at = At::RemoveLook;
                    "finds it marked as removed"
                }
                Word::Ready => {
                    me.at = At::AskDurable;
                    "finds it ready"
                }
            },
            At::AskDurable => {
                let joins = object.has_durable || self.mistake == Mistake::LeftIsJoined;
                if joins && !object.has_durable && object.attached == 0 {
                    new.hurt(Harm::OpenerCameIntoWhatTheDeadLeft);
                }
                me.at = if joins { At::Attach } else { At::AskAttached };
                "asks for durable entries"
            }
            At::AskAttached => {
                me.at = At::Attach;
                if object.attached == 0 {
                    next.see("what the dead had left was removed");
                    me.at = At::RemoveMark;
                }
                "asks whether anybody is attached"
            }
            _ => unreachable!("not a part of judging"),
        };
        new.processes[index] = me;
        Some(text)
    }

    fn make(&self, index: usize, new: &mut State) -> Option<&'static str> {
        let mut me = new.processes[index];
        let text = match me.at {
            At::MakeEmpty => {
                if new.object(me.fd).attached != 0 {
                    new.hurt(Harm::OpenerMadeOverTheLiving);
                }
                let object = new.object(me.fd);
                *object = Object {
                    is_linked: object.is_linked,
                    control: object.control,
                    attached: object.attached,
                    ..FRESH
                };
                me.at = At::MakeReserve;
                "empties it"
            }
            At::MakeReserve => {
                new.object(me.fd).has_memory = true;
                me.at = At::MakeMap;
                "reserves memory"
            }
            At::MakeMap => {
                me.map = new.name;
                me.at = At::MakeMapCheck;
                "maps what has the name"
            }
            At::MakeMapCheck => {
                let is_same = new.name == me.fd || self.mistake == Mistake::MapWithoutLooking;
                me.at = At::Initialize;
                if me.map == NONE || !is_same {
                    // By hand alone; the caller is told that there is no such ring.
                    if new.is_tidy || !self.by_hand {
                        new.hurt(Harm::OpenerFoundNothing);
                    }
                    me.at = At::Close;
                }
                "compares what it mapped with what it opened"
            }
            At::Initialize => {
                new.object(me.fd).is_initialized = true;
                me.at = At::MakeReady;
                "initializes the entries"
            }
            At::MakeReady => {
                new.object(me.fd).word = Word::Ready;
                me.at = At::Attach;
                "stores that it is ready"
            }
            _ => unreachable!("not a part of making"),
        };
        new.processes[index] = me;
        Some(text)
    }

    /// `attach`, and what is done with an attachment.
    fn stay(&self, index: usize, new: &mut State, next: &mut Next<State>) -> Option<&'static str> {
        let mut me = new.processes[index];
        let late = self.mistake == Mistake::AttachAfterTheLock;
        let text = match me.at {
            At::Attach if late && new.object(me.fd).control == index as u8 => {
                new.object(me.fd).control = NONE;
                "gives the control lock back"
            }
            At::Attach => {
                new.object(me.fd).attached |= 1 << index;
                me.at = if late { At::In } else { At::Unlock };
                if late {
                    self.enter(&me, new);
                }
                "takes a read lock"
            }
            At::Unlock => {
                new.object(me.fd).control = NONE;
                self.enter(&me, new);
                me.at = At::In;
                "gives the control lock back: it is in"
            }
            At::In => {
                if new.object(me.fd).attached.count_ones() > 1 {
                    next.see("two were in at once");
                }
                me.is_leaving = true;
                me.at = match (me.has_done_durable, self.mistake) {
                    (false, _) => At::DurableLock,
                    (true, Mistake::LeaveWithoutTheLock) => At::LeaveRelease,
                    _ => At::LeaveLock,
                };
                "goes on"
            }
            At::DurableLock => {
                if new.object(me.fd).control != NONE {
                    return None;
                }
                new.object(me.fd).control = index as u8;
                me.at = At::DurableStore;
                "takes the control lock"
            }
            At::DurableStore => {
                new.object(me.fd).has_durable = self.lives[index] == Life::MakesDurable;
                me.at = At::DurableUnlock;
                "makes a durable entry, or removes it"
            }
            At::DurableUnlock => {
                new.object(me.fd).control = NONE;
                (me.has_done_durable, me.at) = (true, At::In);
                "gives the control lock back"
            }
            _ => unreachable!("not a part of staying"),
        };
        new.processes[index] = me;
        Some(text)
    }

    /// What is true of whoever comes in.
    fn enter(&self, me: &Process, new: &mut State) {
        let object = *new.object(me.fd);
        if me.map != me.fd {
            new.hurt(Harm::OpenerMappedAnotherObject);
        } else if !object.is_initialized {
            new.hurt(Harm::OpenerCameInTooEarly);
        } else if (!object.is_linked || object.word == Word::Removed) && new.is_tidy {
            new.hurt(Harm::OpenerCameIntoANamelessObject);
        }
    }

    /// `Segment::drop`, `leave`, `unlink_if_same`.
    fn leave(&self, index: usize, new: &mut State, next: &mut Next<State>) -> Option<&'static str> {
        let mut me = new.processes[index];
        let late = self.mistake == Mistake::ReadLockGoesAtClose;
        let text = match me.at {
            At::LeaveLock => {
                if self.are_impatient {
                    let mut impatient = *new;
                    impatient.is_tidy = false;
                    impatient.processes[index].at = At::Close;
                    next.see("somebody left without the control lock");
                    next.fate(NAMES[index], "gives up on the control lock", &[], impatient);
                }
                if new.object(me.fd).control != NONE {
                    return None;
                }
                new.object(me.fd).control = index as u8;
                me.at = if late { At::LeaveAskLast } else { At::LeaveRelease };
                "takes the control lock to leave"
            }
            At::LeaveRelease => {
                new.object(me.fd).attached &= !(1 << index);
                me.at = At::LeaveAskLast;
                "gives its read lock back"
            }
            At::LeaveAskLast => {
                let is_last = new.object(me.fd).attached & !(1 << index) == 0;
                me.at = if is_last { At::LeaveAskDurable } else { At::LeaveUnlock };
                "asks whether it is the last"
            }
            At::LeaveAskDurable => {
                let stays =
                    new.object(me.fd).has_durable && self.mistake != Mistake::DurableNotAsked;
                me.at = if stays { At::LeaveUnlock } else { At::RemoveMark };
                if stays {
                    next.see("an object stayed for a durable entry");
                }
                "asks for durable entries"
            }
            At::RemoveMark => {
                new.object(me.fd).word = Word::Removed;
                me.at = At::RemoveLook;
                "marks it as removed"
            }
            At::RemoveLook => {
                let is_same = new.name == me.fd || self.mistake == Mistake::UnlinkWithoutLooking;
                me.at =
                    if is_same && new.name != NONE { At::RemoveUnlink } else { At::LeaveUnlock };
                "compares the name's object with its own"
            }
            At::RemoveUnlink => {
                self.unlink(index, &me, new);
                me.at = At::LeaveUnlock;
                "removes the name"
            }
            At::LeaveUnlock => {
                if new.object(me.fd).control == index as u8 {
                    new.object(me.fd).control = NONE;
                }
                me.at = At::Close;
                "gives the control lock back"
            }
            At::Close => {
                new.close(index);
                me = new.processes[index];
                me.at = if me.is_leaving { At::Done } else { At::Open };
                "closes the object, and with it its locks"
            }
            _ => unreachable!("not a part of leaving"),
        };
        new.processes[index] = me;
        Some(text)
    }

    fn unlink(&self, index: usize, me: &Process, new: &mut State) {
        let Some(object) = new.objects.get(usize::from(new.name)).copied() else { return };
        let others = object.attached & !(1 << index);
        if new.name != me.fd && self.mistake == Mistake::UnlinkWithoutLooking {
            new.hurt(Harm::AnothersNameWasRemoved);
        } else if others != 0 && new.name == me.fd {
            new.hurt(Harm::NameWasTakenFromTheLiving);
        } else if object.has_durable && new.name == me.fd && self.lives[index] != Life::Removes {
            new.hurt(Harm::DurableWasRemoved);
        }
        new.object(new.name).is_linked = false;
        new.name = NONE;
    }
}

const THREE: Lifetime = Lifetime {
    mistake: Mistake::Nothing,
    lives: [Life::Comes; 3],
    kills: 1,
    are_impatient: false,
    by_hand: false,
};

/// One makes a durable entry, one removes it.
const DURABLE: Lifetime =
    Lifetime { lives: [Life::MakesDurable, Life::RemovesDurable, Life::Comes], ..THREE };

/// One removes the ring by the library.
const REMOVED: Lifetime =
    Lifetime { lives: [Life::MakesDurable, Life::Comes, Life::Removes], ..THREE };

/// Somebody removes the object by hand.
const BY_HAND: Lifetime =
    Lifetime { by_hand: true, kills: 0, lives: [Life::Comes, Life::Comes, Life::Absent], ..THREE };

#[test]
fn three_that_open_leave_and_die_are_never_apart() {
    let sights = [
        "two were in at once",
        "an opener found its object removed",
        "a maker was killed half-way",
        "a half-made object was made anew",
        "a remover was killed half-way",
        "a half-removed object was removed",
        "what the dead had left was removed",
    ];
    holds("lifetime, three", &THREE, &sights);
}

#[test]
fn a_durable_entry_keeps_its_object() {
    holds("lifetime, durable", &DURABLE, &["an object stayed for a durable entry"]);
}

#[test]
fn a_ring_is_removed_when_nobody_is_there() {
    holds("lifetime, removed", &REMOVED, &["an opener found its object removed"]);
}

#[test]
fn whoever_leaves_without_the_lock_is_tidied_after() {
    let sights = ["somebody left without the control lock", "what the dead had left was removed"];
    holds("lifetime, impatient", &Lifetime { are_impatient: true, kills: 0, ..THREE }, &sights);
}

#[test]
fn an_object_removed_by_hand_confuses_nobody() {
    holds("lifetime, by hand", &BY_HAND, &["somebody removed the object by hand"]);
}

#[test]
fn lifetime_holds_in_larger_scenarios() {
    if is_large() {
        holds("lifetime, large, three", &Lifetime { kills: 3, are_impatient: true, ..THREE }, &[]);
        holds("lifetime, large, durable", &Lifetime { kills: 3, ..DURABLE }, &[]);
        holds(
            "lifetime, large, removed",
            &Lifetime { kills: 2, are_impatient: true, ..REMOVED },
            &[],
        );
        holds("lifetime, large, by hand", &Lifetime { kills: 1, ..BY_HAND }, &[]);
    }
}

#[track_caller]
fn broken_by(mistake: Mistake, scenario: Lifetime, harm: Harm) {
    let name = std::thread::current().name().unwrap_or_default().to_owned();
    breaks(&name, &Lifetime { mistake, ..scenario }, harm);
}

#[test]
fn a_lost_name_that_is_not_noticed_leaves_an_opener_with_nothing() {
    broken_by(Mistake::UnlinkedNotNoticed, REMOVED, Harm::OpenerFoundNothing);
}

#[test]
fn a_name_removed_without_looking_is_anothers() {
    broken_by(Mistake::UnlinkWithoutLooking, BY_HAND, Harm::AnothersNameWasRemoved);
}

#[test]
fn a_map_by_name_without_looking_is_another_objects() {
    broken_by(Mistake::MapWithoutLooking, BY_HAND, Harm::OpenerMappedAnotherObject);
}

#[test]
fn a_leave_without_the_lock_removes_what_another_has_just_come_into() {
    broken_by(Mistake::LeaveWithoutTheLock, THREE, Harm::OpenerCameIntoANamelessObject);
}

#[test]
fn two_that_leave_at_once_leave_the_object_if_the_read_lock_goes_at_close() {
    let scenario = Lifetime { kills: 0, ..THREE };
    broken_by(Mistake::ReadLockGoesAtClose, scenario, Harm::ObjectIsLeftBehind);
}

#[test]
fn an_attachment_after_the_lock_is_not_seen_by_the_last_to_leave() {
    broken_by(Mistake::AttachAfterTheLock, THREE, Harm::OpenerCameIntoANamelessObject);
}

#[test]
fn a_half_made_object_that_is_waited_for_is_never_made() {
    broken_by(Mistake::HalfMadeIsWaitedFor, THREE, Harm::OpenerWaitsForEver);
}

#[test]
fn a_last_leaver_that_does_not_ask_for_durable_entries_removes_them() {
    broken_by(Mistake::DurableNotAsked, DURABLE, Harm::DurableWasRemoved);
}

#[test]
fn a_ready_object_joined_unasked_is_what_the_dead_left() {
    broken_by(Mistake::LeftIsJoined, THREE, Harm::OpenerCameIntoWhatTheDeadLeft);
}
