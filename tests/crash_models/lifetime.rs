//! Creation and removal of segments. Processes open one name at once, attach, create or remove
//! durable entries, leave, and are killed before any of their steps. A process may remove the
//! ring through the library, and a user may remove its object by hand. The processes may belong to
//! two users, of which only the one that created an object may unlink its name.
//!
//! The actors mirror these sources:
//!
//! - opener: `segment/lifecycle.rs` (`Locked::create`, `take`, `enter`, `make`, `replace`,
//!   `use_ready`), `segment/mapped.rs` (`attach`), `segment/map.rs`
//! - opener, leaving: `segment/control.rs` (`Segment::drop`), `segment/mapped.rs`
//!   (`remove_if_left`, `give_up`, `discard`)
//! - remover: `segment/removal.rs` (`ExclusiveSegment`). A sweep takes the same steps at an object
//!   that is not ready (`Locked::clear_away`)
//! - discarder: `channel/ring.rs` (`Ring::discard`), `segment/mapped.rs` (`give_name_up`)
//! - durable entries: `ring/membership.rs` (`make_durable`), `channel/join.rs` (`remove_durable`),
//!   both under the control lock
//!
//! The kernel is modelled precisely: a name refers to an object or to none, an object can outlive
//! its name, and the locks of a process are released when it dies.

use super::explorer::{Model, Next, breaks, holds, is_large};

const OBJECTS: usize = 4;
const NONE: u8 = u8::MAX;
const NAMES: [&str; 3] = ["A", "B", "C"];

/// Injected faults.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fault {
    Nothing,
    /// A process with the control lock does not check whether the object still has its name.
    UnlinkedNotNoticed,
    /// The name is removed without checking whether it still refers to the own object.
    UnlinkWithoutCheck,
    /// The object mapped by name is not compared with the opened one.
    MapWithoutCheck,
    /// Leaving does not take the control lock.
    LeaveWithoutLock,
    /// The read lock is released on closing the descriptor, after the control lock.
    ReadLockReleasedAtClose,
    /// The read lock is taken after the control lock was released.
    AttachAfterLock,
    /// An opener waits for an unready object instead of initializing it again.
    WaitForHalfCreated,
    /// The last process to leave does not check for durable entries.
    DurableNotChecked,
    /// A ready segment is joined without checking whether it is in use.
    AbandonedIsJoined,
    /// A name that is given up and cannot be unlinked leads to a ready segment.
    NamelessNotMarked,
    /// A nameless object that cannot be unlinked is made again without checking for its users.
    NamelessIsMade,
    /// An opener unlinks a removed object again and again, though it may not.
    NeverMadeInPlace,
    /// An object is removed without checking for its users.
    RemovedInUse,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
enum Violation {
    /// An opener joined an object without a name: other openers will create another one.
    OpenerJoinedNamelessObject,
    /// The name of an object in use was removed.
    NameOfObjectInUseRemoved,
    /// An opener initialized an object in use again.
    OpenerInitializedObjectInUse,
    /// An opener joined before the entries were initialized.
    OpenerJoinedTooEarly,
    /// An opener uses another object than the one it locked.
    OpenerMappedAnotherObject,
    /// An opener joined an object that only dead processes had used.
    OpenerJoinedAbandonedObject,
    /// An opener joined a ring that was discarded.
    OpenerJoinedDiscarded,
    /// The backlog of a durable subscriber was removed.
    DurableWasRemoved,
    /// The name of another process' object was removed.
    AnothersNameRemoved,
    /// An opener failed with "not found" although it should have created the ring.
    OpenerGotNotFound,
    OpenerNeverFinishes,
    /// All processes have left, but the object still exists.
    ObjectLeftBehind,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Word {
    Ready,
    /// Removed, or not made yet.
    Removed,
    Nameless,
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
    is_discarded: bool,
    /// The user that created it.
    user: u8,
    /// Holder of the control lock; then the holders of read locks, one bit each.
    control: u8,
    attached: u8,
}

const FRESH: Object = Object {
    exists: true,
    is_linked: true,
    has_memory: false,
    word: Word::Removed,
    is_initialized: false,
    has_durable: false,
    is_discarded: false,
    user: 0,
    control: NONE,
    attached: 0,
};

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum At {
    Open,
    OpenLock,
    MeasureNew,
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
    DiscardName,
    LeaveLock,
    LeaveRelease,
    LeaveAskLast,
    LeaveAskDurable,
    RemoveMark,
    RemoveLook,
    RemoveUnlink,
    RemoveClear,
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
    /// The process is leaving.
    is_leaving: bool,
    has_done_durable: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct State {
    /// The object to which the name refers.
    name: u8,
    objects: [Object; OBJECTS],
    processes: [Process; 3],
    kills: u8,
    by_hand: bool,
    /// No process was killed or gave up on a lock, and no user removed the object.
    is_tidy: bool,
    violation: Option<Violation>,
}

/// Actions of a process.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Action {
    /// Does not exist.
    Absent,
    /// Joins and leaves.
    Joins,
    /// Creates a durable entry.
    CreatesDurable,
    /// Removes the durable entry, if there is one.
    RemovesDurable,
    /// Joins, and discards the ring, as an inbox is discarded under its senders.
    Discards,
    /// Does not join: removes the ring if it is not in use.
    Removes,
}

/// A scenario.
#[derive(Clone, Copy)]
struct Lifetime {
    fault: Fault,
    actions: [Action; 3],
    /// The user of each process.
    users: [u8; 3],
    /// The system gives no name to an open file: an object is created under its name, and locked
    /// afterwards.
    creates_named: bool,
    kills: u8,
    /// A leaving process may give up on the control lock.
    may_give_up_lock: bool,
    /// A user may remove the object by hand, once.
    by_hand: bool,
}

impl State {
    fn violate(&mut self, violation: Violation) {
        self.violation = self.violation.or(Some(violation));
    }

    fn object(&mut self, index: u8) -> &mut Object {
        &mut self.objects[usize::from(index)]
    }

    /// Closes a process' descriptor, as its death also does: the kernel releases its locks.
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
            // An object without a name and descriptors is gone, so its number is reused.
            if !self.objects[index].is_linked && !is_open(index) {
                self.objects[index] = Object { exists: false, is_linked: false, ..FRESH };
            }
        }
    }
}

impl Model for Lifetime {
    type State = State;
    type Violation = Violation;

    fn start(&self) -> State {
        let process = |life: Action| Process {
            is_alive: life != Action::Absent,
            at: At::Open,
            fd: NONE,
            map: NONE,
            is_leaving: false,
            has_done_durable: matches!(life, Action::Absent | Action::Joins | Action::Removes),
        };
        State {
            name: NONE,
            objects: [Object { exists: false, is_linked: false, ..FRESH }; OBJECTS],
            processes: self.actions.map(process),
            kills: self.kills,
            by_hand: self.by_hand,
            is_tidy: true,
            violation: None,
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
            next.cover("a user removed the object by hand");
            next.external("user", "removes the object by hand", &[], new);
        }
    }

    fn violation(&self, state: &State) -> Option<Violation> {
        state.violation
    }

    fn unmet(&self, state: &State) -> Vec<Violation> {
        let mut unmet = Vec::new();
        let is_over = |process: &Process| !process.is_alive || process.at == At::Done;
        if !state.processes.iter().all(is_over) {
            unmet.push(Violation::OpenerNeverFinishes);
        }
        if state.is_tidy
            && state.name != NONE
            && !state.objects[usize::from(state.name)].has_durable
            && !self.is_left_to_owner(&state.objects[usize::from(state.name)])
        {
            unmet.push(Violation::ObjectLeftBehind);
        }
        unmet
    }
}

impl Lifetime {
    /// Returns true if the object was removed by another user than its own.
    fn is_left_to_owner(&self, object: &Object) -> bool {
        object.word == Word::Removed && self.users.iter().any(|&user| user != object.user)
    }

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
                    next.cover("a creator was killed during the creation");
                }
                At::RemoveUnlink | At::RemoveLook => {
                    next.cover("a remover was killed during the removal")
                }
                _ => {}
            }
            next.external(NAMES[index], "is killed", &[], new);
        }
        let mut new = *state;
        let text = match me.at {
            At::Open | At::OpenLock | At::MeasureNew | At::Measure | At::MapOpen | At::MapCheck => {
                self.open(index, &mut new, next)
            }
            At::State | At::AskDurable | At::AskAttached => self.check_void(index, &mut new, next),
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
            | At::DurableUnlock
            | At::DiscardName => self.stay(index, &mut new, next),
            _ => self.leave(index, &mut new, next),
        };
        if let Some(text) = text {
            next.step(NAMES[index], text, &[], new);
        }
    }

    /// `open_object`, `Locked::take`, the first half of `enter`, `Map::open`; and `remove`.
    fn open(&self, index: usize, new: &mut State, next: &mut Next<State>) -> Option<&'static str> {
        let removes = self.actions[index] == Action::Removes;
        let mut me = new.processes[index];
        let text = match me.at {
            At::Open if new.name == NONE && removes => {
                me.at = At::Done;
                "finds nothing to remove"
            }
            At::Open if new.name == NONE => {
                let free = new.objects.iter().position(|object| !object.exists)?;
                new.objects[free] = Object { user: self.users[index], ..FRESH };
                new.name = free as u8;
                (me.fd, me.at) = (new.name, At::OpenLock);
                if !self.creates_named {
                    new.objects[free].control = index as u8;
                    me.at = At::MeasureNew;
                }
                "creates the object"
            }
            At::Open => {
                (me.fd, me.at) = (new.name, At::OpenLock);
                "opens the object"
            }
            At::OpenLock => {
                if new.object(me.fd).control != NONE {
                    return None;
                }
                new.object(me.fd).control = index as u8;
                me.at = At::Measure;
                "takes the control lock"
            }
            At::MeasureNew | At::Measure => {
                let object = *new.object(me.fd);
                if me.at == At::Measure && !object.has_memory {
                    next.cover("an object was made by another process than its creator");
                }
                me.at = if object.has_memory { At::MapOpen } else { At::MakeEmpty };
                if !object.is_linked && self.fault != Fault::UnlinkedNotNoticed {
                    next.cover("an opener found its object removed");
                    new.close(index);
                    me = Process { fd: NONE, map: NONE, at: At::Open, ..new.processes[index] };
                    if removes {
                        me.at = At::Done;
                    }
                } else if removes {
                    me.is_leaving = true;
                    let may_remove = object.attached == 0 || self.fault == Fault::RemovedInUse;
                    me.at = if may_remove { At::RemoveLook } else { At::Close };
                }
                "reads its length and links"
            }
            At::MapOpen => {
                me.map = new.name;
                me.at = At::MapCheck;
                "maps the object by name"
            }
            At::MapCheck => {
                let is_same = new.name == me.fd || self.fault == Fault::MapWithoutCheck;
                me.at = At::State;
                if me.map == NONE || !is_same {
                    next.cover("an opener mapped another object than it opened");
                    new.close(index);
                    me = Process { at: At::Open, ..new.processes[index] };
                }
                "compares the mapped object with the opened one"
            }
            _ => unreachable!("not a part of opening"),
        };
        new.processes[index] = me;
        Some(text)
    }

    /// The second half of `enter`, `use_ready`.
    fn check_void(
        &self,
        index: usize,
        new: &mut State,
        next: &mut Next<State>,
    ) -> Option<&'static str> {
        let mut me = new.processes[index];
        let object = *new.object(me.fd);
        let text = match me.at {
            At::State => match object.word {
                Word::Removed if self.fault == Fault::WaitForHalfCreated => {
                    new.close(index);
                    me = Process { at: At::Open, ..new.processes[index] };
                    "finds it removed, and opens again"
                }
                Word::Removed | Word::Nameless if self.may_unlink(index, &object) => {
                    if object.word == Word::Nameless {
                        next.cover("the owner replaced a nameless object");
                    } else if !object.is_initialized {
                        next.cover("a half-created object was removed");
                    } else {
                        next.cover("a half-removed object was removed");
                    }
                    me.at = At::RemoveLook;
                    "finds it marked as removed"
                }
                _ if object.attached != 0
                    && object.word != Word::Ready
                    && self.fault != Fault::NamelessIsMade =>
                {
                    next.cover("another user was refused a nameless object in use");
                    (me.is_leaving, me.at) = (true, At::LeaveUnlock);
                    "finds it in use, and fails"
                }
                Word::Removed | Word::Nameless if self.fault == Fault::NeverMadeInPlace => {
                    me.at = At::RemoveLook;
                    "finds it removed, and opens again"
                }
                Word::Removed | Word::Nameless => {
                    next.cover("another user made a removed object again");
                    me.at = At::MakeEmpty;
                    "finds it removed, and may not unlink it"
                }
                Word::Ready => {
                    me.at = At::AskDurable;
                    "finds it ready"
                }
            },
            At::AskDurable => {
                let joins = object.has_durable || self.fault == Fault::AbandonedIsJoined;
                if joins && !object.has_durable && object.attached == 0 {
                    new.violate(Violation::OpenerJoinedAbandonedObject);
                }
                me.at = if joins { At::Attach } else { At::AskAttached };
                "checks for durable entries"
            }
            At::AskAttached => {
                me.at = At::Attach;
                if object.attached == 0 {
                    next.cover("an abandoned object was removed");
                    me.at = At::RemoveMark;
                }
                "checks whether it is in use"
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
                    new.violate(Violation::OpenerInitializedObjectInUse);
                }
                let object = new.object(me.fd);
                *object = Object {
                    is_linked: object.is_linked,
                    has_memory: object.has_memory,
                    control: object.control,
                    attached: object.attached,
                    user: object.user,
                    ..FRESH
                };
                me.at = At::MakeReserve;
                "clears it"
            }
            At::MakeReserve => {
                new.object(me.fd).has_memory = true;
                me.at = At::MakeMap;
                "reserves memory"
            }
            At::MakeMap => {
                me.map = new.name;
                me.at = At::MakeMapCheck;
                "maps the object by name"
            }
            At::MakeMapCheck => {
                let is_same = new.name == me.fd || self.fault == Fault::MapWithoutCheck;
                me.at = At::Initialize;
                if me.map == NONE || !is_same {
                    // Only after a removal by hand; the caller gets the error "not found".
                    if new.is_tidy || !self.by_hand {
                        new.violate(Violation::OpenerGotNotFound);
                    }
                    me.at = At::Close;
                }
                "compares the mapped object with the opened one"
            }
            At::Initialize => {
                new.object(me.fd).is_initialized = true;
                me.at = At::MakeReady;
                "initializes the entries"
            }
            At::MakeReady => {
                new.object(me.fd).word = Word::Ready;
                me.at = At::Attach;
                "marks it as ready"
            }
            _ => unreachable!("not a part of making"),
        };
        new.processes[index] = me;
        Some(text)
    }

    /// `attach`, and the use of the ring.
    fn stay(&self, index: usize, new: &mut State, next: &mut Next<State>) -> Option<&'static str> {
        let mut me = new.processes[index];
        let late = self.fault == Fault::AttachAfterLock;
        let text = match me.at {
            At::Attach if late && new.object(me.fd).control == index as u8 => {
                new.object(me.fd).control = NONE;
                "releases the control lock"
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
                "releases the control lock: it has joined"
            }
            At::In => {
                if new.object(me.fd).attached.count_ones() > 1 {
                    next.cover("two processes were joined at once");
                }
                me.is_leaving = true;
                let is_discarded = new.object(me.fd).is_discarded;
                me.at = match (me.has_done_durable || is_discarded, self.fault) {
                    (false, _) => At::DurableLock,
                    (true, Fault::LeaveWithoutLock) => At::LeaveRelease,
                    _ => At::LeaveLock,
                };
                "continues"
            }
            At::DurableLock => {
                if new.object(me.fd).control != NONE {
                    return None;
                }
                new.object(me.fd).control = index as u8;
                me.at = match self.actions[index] {
                    Action::Discards => At::DiscardName,
                    _ => At::DurableStore,
                };
                "takes the control lock"
            }
            At::DiscardName => {
                self.discard(index, &me, new, next);
                me.at = At::DurableUnlock;
                "discards the ring and gives its name up"
            }
            At::DurableStore => {
                new.object(me.fd).has_durable = self.actions[index] == Action::CreatesDurable;
                me.at = At::DurableUnlock;
                "creates or removes the durable entry"
            }
            At::DurableUnlock => {
                new.object(me.fd).control = NONE;
                (me.has_done_durable, me.at) = (true, At::In);
                "releases the control lock"
            }
            _ => unreachable!("not a part of staying"),
        };
        new.processes[index] = me;
        Some(text)
    }

    /// Returns true if the process may unlink the name of the object.
    fn may_unlink(&self, index: usize, object: &Object) -> bool {
        self.users[index] == object.user
    }

    /// `Ring::discard`, `Mapped::give_name_up`.
    fn discard(&self, index: usize, me: &Process, new: &mut State, next: &mut Next<State>) {
        let is_named = new.name == me.fd;
        let object = new.object(me.fd);
        (object.is_discarded, object.has_durable) = (true, false);
        if self.users[index] != object.user {
            next.cover("a name that was given up could not be unlinked");
            if self.fault != Fault::NamelessNotMarked {
                object.word = Word::Nameless;
            }
        } else if is_named {
            object.is_linked = false;
            new.name = NONE;
        }
    }

    /// Checks the promises for a process that has just joined.
    fn enter(&self, me: &Process, new: &mut State) {
        let object = *new.object(me.fd);
        if me.map != me.fd {
            new.violate(Violation::OpenerMappedAnotherObject);
        } else if !object.is_initialized {
            new.violate(Violation::OpenerJoinedTooEarly);
        } else if object.is_discarded {
            new.violate(Violation::OpenerJoinedDiscarded);
        } else if (!object.is_linked || object.word == Word::Removed) && new.is_tidy {
            new.violate(Violation::OpenerJoinedNamelessObject);
        }
    }

    /// `Segment::drop`, `leave`, `unlink_if_same`.
    fn leave(&self, index: usize, new: &mut State, next: &mut Next<State>) -> Option<&'static str> {
        let mut me = new.processes[index];
        let late = self.fault == Fault::ReadLockReleasedAtClose;
        let text = match me.at {
            At::LeaveLock => {
                if self.may_give_up_lock {
                    let mut impatient = *new;
                    impatient.is_tidy = false;
                    impatient.processes[index].at = At::Close;
                    next.cover("a process left without the control lock");
                    next.external(NAMES[index], "gives up on the control lock", &[], impatient);
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
                "releases its read lock"
            }
            At::LeaveAskLast => {
                let is_last = new.object(me.fd).attached & !(1 << index) == 0;
                me.at = if is_last { At::LeaveAskDurable } else { At::LeaveUnlock };
                "checks whether it is the last"
            }
            At::LeaveAskDurable => {
                let stays = new.object(me.fd).has_durable && self.fault != Fault::DurableNotChecked;
                me.at = if stays { At::LeaveUnlock } else { At::RemoveMark };
                if stays {
                    next.cover("an object stayed for a durable entry");
                }
                "checks for durable entries"
            }
            At::RemoveMark => {
                new.object(me.fd).word = Word::Removed;
                me.at = At::RemoveLook;
                "marks it as removed"
            }
            At::RemoveLook => {
                let is_same = new.name == me.fd || self.fault == Fault::UnlinkWithoutCheck;
                me.at =
                    if is_same && new.name != NONE { At::RemoveUnlink } else { At::LeaveUnlock };
                "compares the object with this name with its own"
            }
            At::RemoveUnlink if !self.may_unlink(index, new.object(me.fd)) => {
                me.at = At::RemoveClear;
                "may not remove the name"
            }
            At::RemoveClear => {
                let object = new.object(me.fd);
                if object.attached & !(1 << index) != 0 {
                    new.violate(Violation::NameOfObjectInUseRemoved);
                }
                let object = new.object(me.fd);
                if object.word == Word::Nameless {
                    next.cover("another user cleared a nameless object");
                }
                (object.word, object.is_initialized) = (Word::Removed, false);
                (object.has_durable, object.is_discarded) = (false, false);
                me.at = At::LeaveUnlock;
                "marks it as removed and clears it"
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
                "releases the control lock"
            }
            At::Close => {
                new.close(index);
                me = new.processes[index];
                me.at = if me.is_leaving { At::Done } else { At::Open };
                "closes the object, which releases its locks"
            }
            _ => unreachable!("not a part of leaving"),
        };
        new.processes[index] = me;
        Some(text)
    }

    fn unlink(&self, index: usize, me: &Process, new: &mut State) {
        let Some(object) = new.objects.get(usize::from(new.name)).copied() else { return };
        let others = object.attached & !(1 << index);
        if new.name != me.fd && self.fault == Fault::UnlinkWithoutCheck {
            new.violate(Violation::AnothersNameRemoved);
        } else if others != 0 && new.name == me.fd && !object.is_discarded {
            new.violate(Violation::NameOfObjectInUseRemoved);
        } else if object.has_durable && new.name == me.fd && self.actions[index] != Action::Removes
        {
            new.violate(Violation::DurableWasRemoved);
        }
        new.object(new.name).is_linked = false;
        new.name = NONE;
    }
}

const THREE: Lifetime = Lifetime {
    fault: Fault::Nothing,
    actions: [Action::Joins; 3],
    users: [0; 3],
    creates_named: false,
    kills: 1,
    may_give_up_lock: false,
    by_hand: false,
};

/// The first process creates a durable entry, the second one removes it.
const DURABLE: Lifetime =
    Lifetime { actions: [Action::CreatesDurable, Action::RemovesDurable, Action::Joins], ..THREE };

/// The third process removes the ring through the library.
const REMOVED: Lifetime =
    Lifetime { actions: [Action::CreatesDurable, Action::Joins, Action::Removes], ..THREE };

/// A discards the ring. It may not unlink the name if B or C created it.
const USERS: Lifetime = Lifetime {
    users: [0, 1, 1],
    actions: [Action::Discards, Action::Joins, Action::Joins],
    ..THREE
};

/// As `USERS`, and C is of the user of A.
const REFUSED_USER: Lifetime = Lifetime { users: [0, 1, 0], ..USERS };

/// A discards the ring of B, and C sweeps it. Neither may unlink its name.
const SWEPT: Lifetime = Lifetime {
    users: [0, 1, 0],
    actions: [Action::Discards, Action::Joins, Action::Removes],
    ..THREE
};

/// A user removes the object by hand.
const BY_HAND: Lifetime = Lifetime {
    by_hand: true,
    kills: 0,
    actions: [Action::Joins, Action::Joins, Action::Absent],
    ..THREE
};

#[test]
fn three_processes_that_open_leave_and_die_share_one_object() {
    let situations = [
        "two processes were joined at once",
        "an opener found its object removed",
        "a creator was killed during the creation",
        "an object was made by another process than its creator",
        "a half-created object was removed",
        "a remover was killed during the removal",
        "a half-removed object was removed",
        "an abandoned object was removed",
    ];
    holds("lifetime, three", &THREE, &situations);
}

#[test]
fn objects_that_are_created_under_their_names_are_shared_too() {
    let situations = ["an object was made by another process than its creator"];
    holds("lifetime, named", &Lifetime { creates_named: true, ..THREE }, &situations);
}

#[test]
fn users_that_cannot_unlink_share_one_object() {
    let situations = [
        "a name that was given up could not be unlinked",
        "another user made a removed object again",
        "the owner replaced a nameless object",
    ];
    holds("lifetime, users", &USERS, &situations);
    let refused = "another user was refused a nameless object in use";
    holds("lifetime, refused user", &REFUSED_USER, &[refused]);
    let removed = Lifetime { users: [0, 1, 1], ..REMOVED };
    holds("lifetime, users, removed", &removed, &["another user made a removed object again"]);
    holds("lifetime, swept", &SWEPT, &["another user cleared a nameless object"]);
}

#[test]
fn a_durable_entry_keeps_its_object() {
    holds("lifetime, durable", &DURABLE, &["an object stayed for a durable entry"]);
}

#[test]
fn a_ring_is_removed_when_it_is_not_in_use() {
    holds("lifetime, removed", &REMOVED, &["an opener found its object removed"]);
}

#[test]
fn a_process_that_leaves_without_the_lock_is_cleaned_up_after() {
    let situations = ["a process left without the control lock", "an abandoned object was removed"];
    holds(
        "lifetime, impatient",
        &Lifetime { may_give_up_lock: true, kills: 0, ..THREE },
        &situations,
    );
}

#[test]
fn an_object_removed_by_hand_breaks_no_promise() {
    holds("lifetime, by hand", &BY_HAND, &["a user removed the object by hand"]);
}

#[test]
fn lifetime_holds_in_larger_scenarios() {
    if is_large() {
        holds(
            "lifetime, large, three",
            &Lifetime { kills: 3, may_give_up_lock: true, ..THREE },
            &[],
        );
        holds("lifetime, large, durable", &Lifetime { kills: 3, ..DURABLE }, &[]);
        holds(
            "lifetime, large, removed",
            &Lifetime { kills: 2, may_give_up_lock: true, ..REMOVED },
            &[],
        );
        holds("lifetime, large, by hand", &Lifetime { kills: 1, ..BY_HAND }, &[]);
    }
}

#[track_caller]
fn broken_by(fault: Fault, scenario: Lifetime, violation: Violation) {
    let name = std::thread::current().name().unwrap_or_default().to_owned();
    breaks(&name, &Lifetime { fault, ..scenario }, violation);
}

#[test]
fn a_lost_name_that_is_not_noticed_leaves_an_opener_with_nothing() {
    broken_by(Fault::UnlinkedNotNoticed, REMOVED, Violation::OpenerGotNotFound);
}

#[test]
fn a_name_removed_without_a_check_may_belong_to_another() {
    broken_by(Fault::UnlinkWithoutCheck, BY_HAND, Violation::AnothersNameRemoved);
}

#[test]
fn a_map_by_name_without_a_check_maps_another_object() {
    broken_by(Fault::MapWithoutCheck, BY_HAND, Violation::OpenerMappedAnotherObject);
}

#[test]
fn a_leave_without_the_lock_removes_an_object_just_joined() {
    broken_by(Fault::LeaveWithoutLock, THREE, Violation::OpenerJoinedNamelessObject);
}

#[test]
fn a_read_lock_released_at_close_leaves_the_object_behind() {
    let scenario = Lifetime { kills: 0, ..THREE };
    broken_by(Fault::ReadLockReleasedAtClose, scenario, Violation::ObjectLeftBehind);
}

#[test]
fn an_attachment_after_the_lock_is_not_seen_by_the_last_to_leave() {
    broken_by(Fault::AttachAfterLock, THREE, Violation::OpenerJoinedNamelessObject);
}

#[test]
fn waiting_for_a_half_created_object_never_ends() {
    broken_by(Fault::WaitForHalfCreated, THREE, Violation::OpenerNeverFinishes);
}

#[test]
fn leaving_without_a_check_for_durable_entries_removes_them() {
    broken_by(Fault::DurableNotChecked, DURABLE, Violation::DurableWasRemoved);
}

#[test]
fn a_ready_object_joined_without_a_check_may_be_abandoned() {
    broken_by(Fault::AbandonedIsJoined, THREE, Violation::OpenerJoinedAbandonedObject);
}

#[test]
fn an_unmarked_name_that_cannot_be_unlinked_leads_to_a_discarded_ring() {
    broken_by(Fault::NamelessNotMarked, USERS, Violation::OpenerJoinedDiscarded);
}

#[test]
fn a_nameless_object_made_under_its_users_is_initialized_twice() {
    broken_by(Fault::NamelessIsMade, REFUSED_USER, Violation::OpenerInitializedObjectInUse);
}

#[test]
fn a_removed_object_that_is_never_made_in_place_blocks_its_name() {
    broken_by(Fault::NeverMadeInPlace, USERS, Violation::OpenerNeverFinishes);
}

#[test]
fn a_sweep_without_a_check_for_users_clears_an_object_in_use() {
    broken_by(Fault::RemovedInUse, SWEPT, Violation::NameOfObjectInUseRemoved);
}
