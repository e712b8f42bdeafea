//! The type table: registering a type, freeing entries that nothing uses, and reading by index,
//! beside publishers, a reader with a cache, and a process that lists the types.
//!
//! The actors mirror these sources:
//!
//! - publisher: `channel/type_cache.rs` (`add`), `channel/type_table.rs` (`Registrar`),
//!   `segment/types.rs` (`register`, `free`), `ring/types.rs` (`in_use`); claims and commits in one
//!   step each (`claims` models all of them)
//! - reader: `channel/untyped/own_receiver.rs` (`know_types`), `channel/any/received.rs`; or a
//!   typed subscriber, `channel/subscriber.rs` (`open`)
//! - lister: `segment/types.rs` (`record`)
//! - reaper: `ring/reap.rs`, in one step under the control lock
//!
//! A type is a number from 1. A packet knows its type, so a reader that takes it for another type
//! is found out. Every packet has one slot, and the ring has more slots than packets are sent.

use super::explorer::{Model, Next, breaks, holds, is_large};

/// No type, no process, no index.
const NONE: u8 = 0;
const NOBODY: u8 = u8::MAX;
/// An entry whose words are being written.
const TORN: u8 = u8::MAX;
/// A publisher leaves its entry and joins again, as another process would.
const REJOIN: u8 = 100;
const SLOTS: usize = 4;
const NAMES: [&str; 2] = ["P0", "P1"];

/// Injected faults.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fault {
    Nothing,
    /// Publishers do not record the types that they use.
    PublisherUsesNotRecorded,
    /// A typed subscriber does not record its type.
    SubscriberUseNotRecorded,
    /// The use is recorded after the control lock was released.
    UseRecordedWithoutTheLock,
    /// Packets that wait in the ring are not looked at.
    PacketsNotScanned,
    /// The scan ends at the first position without a stamp.
    ScanEndsAtOpenClaim,
    /// The scan ends at the tail, though a packet of an exclusive publisher may lie behind it.
    ScanEndsAtTail,
    /// The scan begins at the cursor of a living subscriber only.
    AwayCursorIgnored,
    /// The scan begins at the lowest cursor, though a newcomer may start before it.
    OldestIgnored,
    /// The registration is counted after the entry is marked as registered.
    CountedAfterMark,
    /// The registration is not counted.
    NotCounted,
    /// The reader loads the count after the entries.
    CountReadLast,
    /// The reader keeps what it knows for good.
    CacheKept,
    /// Types of publishers that left count as used.
    LeftUsesCounted,
    /// The dead are not cleared before unused entries are freed.
    DeadNotCleared,
    /// An unused entry is written before it is unmarked.
    OverwrittenWhileMarked,
    /// The lister does not look again whether the entry is registered.
    NoSecondLookAtMark,
    /// The lister looks at the generation first, then at the mark.
    MarkLookedAtLast,
    /// The generation is raised before the entry is written.
    GenerationRaisedFirst,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
enum Violation {
    PacketTakenForAnotherType,
    PacketOfUnknownType,
    TornEntryListed,
    PublisherNeverFinishes,
    ReaderNeverFinishes,
}

/// The next step of a publisher.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum At {
    Idle,
    Lock,
    Find,
    /// The dead are cleared.
    Reap,
    ReadUses,
    ReadTail,
    Scan,
    /// `Failpoint::TypeFree`
    Free,
    /// `Failpoint::TypeWrite`
    Begin,
    Print,
    Text,
    /// The generation is raised.
    End,
    /// `Failpoint::TypeCount`
    Count,
    /// `Failpoint::JoinType`
    Mark,
    /// `Failpoint::TypeUse`
    Use,
    Unlock,
    /// Only with a fault.
    LateUse,
    Claim,
    Commit,
    /// Exclusive: the tail is stored after the stamp.
    StoreTail,
    Leave,
    Gone,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Publisher {
    is_alive: bool,
    /// Its entry is not free.
    is_taken: bool,
    at: At,
    /// The number of its program's items that are done.
    done: u8,
    /// The types in its entry, one bit for each index.
    uses: u8,
    /// What it knows, by index: its types.
    known: [u8; 2],
    index: u8,
    position: u8,
    in_use: u8,
    tail: u8,
}

/// The next step of a reader.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Reading {
    Look,
    Check,
    /// Reads this entry into the cache.
    Refresh(u8),
    Open,
    Release,
    Away,
    /// Has not joined yet.
    Outside,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Reader {
    at: Reading,
    cursor: u8,
    /// The count of registrations that the cache goes with.
    known: u8,
    count: u8,
    cache: [u8; 2],
}

/// The next step of the lister.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Listing {
    Mark,
    Generation,
    Print,
    Text,
    Again(bool),
    Done,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Lister {
    at: Listing,
    generation: u8,
    print: u8,
    block: u8,
    text: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct State {
    /// Holder of the control lock.
    lock: u8,
    marked: u8,
    count: u8,
    prints: [u8; 2],
    generations: [u8; 2],
    /// The block of each entry's text, and the type whose text is in each block.
    blocks: [u8; 2],
    texts: [u8; 4],
    tail: u8,
    /// Type index + 1 of each committed packet, and its type. Void: index 0 and a type.
    stamps: [(u8, u8); SLOTS],
    claims: [u8; 2],
    publishers: [Publisher; 2],
    reader: Reader,
    newcomer: Reader,
    lister: Lister,
    kills: u8,
    violation: Option<Violation>,
}

#[derive(Clone, Copy)]
struct Types {
    fault: Fault,
    /// Entries of the table.
    entries: u8,
    programs: [&'static [u8]; 2],
    /// The second publisher starts when the first is gone, and the tail is stored after the stamp.
    is_exclusive: bool,
    /// A typed subscriber of this type, which is registered at first. `NONE`: of any type.
    typed: u8,
    /// The reader is durable and may die; a successor reads on.
    may_go_away: bool,
    /// A reader of old packets joins at any time.
    has_history: bool,
    has_lister: bool,
    kills: u8,
}

fn bit(index: u8) -> u8 {
    1 << index
}

impl State {
    fn violate(&mut self, violation: Violation) {
        self.violation.get_or_insert(violation);
    }

    fn find(&self, print: u8, entries: u8) -> Option<u8> {
        (0..entries).find(|&i| self.marked & bit(i) != 0 && self.prints[usize::from(i)] == print)
    }

    /// The lowest block that no registered entry has, and that is not this one. A long text has
    /// the next block, too, which belongs to no other entry as long as two entries are registered.
    fn free_block(&self, except: u8) -> u8 {
        let has = |block: u8| {
            (0..2_usize).any(|i| {
                let is_long = self.prints[i] == LONG && self.blocks[i] + 1 == block;
                self.marked & bit(i as u8) != 0 && (self.blocks[i] == block || is_long)
            })
        };
        (0..4).find(|&block| !has(block) && block != except).unwrap_or(0)
    }
}

impl Model for Types {
    type State = State;
    type Violation = Violation;

    fn start(&self) -> State {
        let publisher = Publisher {
            is_alive: true,
            is_taken: true,
            at: At::Idle,
            done: 0,
            uses: 0,
            known: [NONE; 2],
            index: 0,
            position: 0,
            in_use: 0,
            tail: 0,
        };
        let reader = Reader { at: Reading::Look, cursor: 0, known: 0, count: 0, cache: [NONE; 2] };
        let is_typed = self.typed != NONE;
        State {
            lock: NOBODY,
            marked: u8::from(is_typed),
            count: u8::from(is_typed),
            prints: [self.typed, NONE],
            generations: [0; 2],
            blocks: [0; 2],
            texts: [self.typed, NONE, NONE, NONE],
            tail: 0,
            stamps: [(NONE, NONE); SLOTS],
            claims: [NOBODY; 2],
            publishers: [publisher; 2],
            reader,
            newcomer: Reader { at: Reading::Outside, ..reader },
            lister: Lister { at: Listing::Mark, generation: 0, print: 0, block: 0, text: 0 },
            kills: self.kills,
            violation: None,
        }
    }

    fn next(&self, state: &State, next: &mut Next<State>) {
        for entry in 0..2 {
            self.publisher(entry, state, next);
        }
        self.reader(state, next);
        self.newcomer(state, next);
        self.lister(state, next);
    }

    fn violation(&self, state: &State) -> Option<Violation> {
        state.violation
    }

    fn unmet(&self, state: &State) -> Vec<Violation> {
        let mut unmet = Vec::new();
        if state.publishers.iter().any(|p| p.is_alive && p.at != At::Gone) {
            unmet.push(Violation::PublisherNeverFinishes);
        }
        let end = state.stamps.iter().filter(|stamp| stamp.1 != NONE).count();
        if usize::from(state.reader.cursor) != end || state.reader.at != Reading::Look {
            unmet.push(Violation::ReaderNeverFinishes);
        }
        unmet
    }
}

impl Types {
    fn publisher(&self, entry: usize, state: &State, next: &mut Next<State>) {
        let me = state.publishers[entry];
        if !me.is_alive {
            return self.recover(entry, state, next);
        }
        let first = &state.publishers[0];
        if me.at == At::Gone
            || entry == 1 && self.is_exclusive && first.is_alive && first.at != At::Gone
        {
            return;
        }
        if state.kills > 0 {
            let mut new = *state;
            new.kills -= 1;
            new.publishers[entry].is_alive = false;
            if new.lock == entry as u8 {
                new.lock = NOBODY;
                next.cover("a process was killed inside the control lock");
            }
            next.external(NAMES[entry], "is killed", &[], new);
        }
        let mut new = *state;
        let mut me = me;
        if let Some((text, number)) = self.step(entry, &mut new, &mut me, next) {
            new.publishers[entry] = me;
            next.step(NAMES[entry], text, &[number], new);
        }
    }

    fn step(
        &self,
        entry: usize,
        new: &mut State,
        me: &mut Publisher,
        next: &mut Next<State>,
    ) -> Option<(&'static str, u8)> {
        let item = self.programs[entry].get(usize::from(me.done)).copied();
        Some(match me.at {
            At::Idle => {
                let print = match item {
                    None | Some(REJOIN) => {
                        me.at = At::Leave;
                        return Some(("is about to leave", 0));
                    }
                    Some(print) => print,
                };
                let known = (0..self.entries).find(|&i| me.known[usize::from(i)] == print);
                me.at = if known.is_some() { At::Claim } else { At::Lock };
                me.index = known.unwrap_or(0);
                ("looks its type {} up", print)
            }
            At::Lock if new.lock == NOBODY => {
                (new.lock, me.at) = (entry as u8, At::Find);
                ("takes the control lock", 0)
            }
            At::Lock => return None,
            At::Find => {
                let print = item.unwrap_or(NONE);
                let vacant = (0..self.entries).find(|&i| new.marked & bit(i) == 0);
                (me.index, me.at) = match (new.find(print, self.entries), vacant) {
                    (Some(index), _) => (index, At::Use),
                    (None, Some(index)) => (index, At::Begin),
                    (None, None) => (0, At::Reap),
                };
                ("searches the table for {}", print)
            }
            At::Reap | At::ReadUses | At::ReadTail | At::Scan | At::Free => {
                self.free(entry, new, me, next)
            }
            At::Begin | At::Print | At::Text | At::End | At::Count | At::Mark => {
                self.register(item.unwrap_or(NONE), new, me)
            }
            At::Use => {
                if self.fault != Fault::UseRecordedWithoutTheLock {
                    self.record_use(me);
                }
                me.at = At::Unlock;
                ("records that it uses {}", me.index)
            }
            At::Unlock => {
                new.lock = NOBODY;
                me.known[usize::from(me.index)] = item.unwrap_or(NONE);
                let is_late = self.fault == Fault::UseRecordedWithoutTheLock;
                me.at = if is_late { At::LateUse } else { At::Claim };
                ("releases the control lock", 0)
            }
            At::LateUse => {
                self.record_use(me);
                me.at = At::Claim;
                ("records that it uses {}", me.index)
            }
            At::Claim => {
                // An exclusive publisher begins behind what its predecessor committed.
                while self.is_exclusive && new.stamps[usize::from(new.tail)].1 != NONE {
                    new.tail += 1;
                }
                me.position = new.tail;
                new.claims[entry] = new.tail;
                if !self.is_exclusive {
                    new.tail += 1;
                }
                me.at = At::Commit;
                ("claims {}", me.position)
            }
            At::Commit => {
                let packet = (me.index + 1, item.unwrap_or(NONE));
                new.stamps[usize::from(me.position)] = packet;
                me.at = At::StoreTail;
                ("commits a packet with index {}", me.index)
            }
            At::StoreTail => {
                if self.is_exclusive {
                    new.tail = me.position + 1;
                }
                new.claims[entry] = NOBODY;
                (me.done, me.at, me.position) = (me.done + 1, At::Idle, 0);
                me.index = 0;
                ("ends its claim", 0)
            }
            At::Leave if new.lock == NOBODY => {
                // In one step: leaving is modelled elsewhere. The words of its entry stay.
                let goes_on = item == Some(REJOIN);
                me.known = [NONE; 2];
                if goes_on {
                    (me.uses, me.done) = (0, me.done + 1);
                } else {
                    me.is_taken = false;
                }
                me.at = if goes_on { At::Idle } else { At::Gone };
                ("leaves", 0)
            }
            At::Leave => return None,
            At::Gone => return None,
        })
    }

    fn record_use(&self, me: &mut Publisher) {
        if self.fault != Fault::PublisherUsesNotRecorded {
            me.uses |= bit(me.index);
        }
    }

    /// `Registrar::free_unused`, and the second look for a vacant entry.
    fn free(
        &self,
        entry: usize,
        new: &mut State,
        me: &mut Publisher,
        next: &mut Next<State>,
    ) -> (&'static str, u8) {
        match me.at {
            At::Reap => {
                if self.fault != Fault::DeadNotCleared {
                    for other in 0..2 {
                        self.reap(other, new);
                    }
                }
                me.at = At::ReadUses;
                ("clears the dead", 0)
            }
            At::ReadUses => {
                let counts = |p: &Publisher| p.is_taken || self.fault == Fault::LeftUsesCounted;
                me.in_use = me.uses;
                for (other, publisher) in new.publishers.iter().enumerate() {
                    if other != entry && counts(publisher) {
                        me.in_use |= publisher.uses;
                    }
                }
                if self.typed != NONE && self.fault != Fault::SubscriberUseNotRecorded {
                    me.in_use |= 1;
                }
                me.at = At::ReadTail;
                ("reads the uses of all entries: {}", me.in_use)
            }
            At::ReadTail => {
                (me.tail, me.at) = (new.tail, At::Scan);
                ("reads the tail: {}", me.tail)
            }
            At::Scan => {
                self.scan(new, me, next);
                (me.at, me.tail) = (At::Free, 0);
                ("scans the packets: {}", me.in_use)
            }
            _ => {
                let before = new.marked;
                let kept = new.marked & me.in_use;
                let vacant = (0..self.entries).find(|&i| kept & bit(i) == 0);
                if self.fault != Fault::OverwrittenWhileMarked {
                    new.marked = kept;
                }
                if before != kept {
                    next.cover("an unused entry was freed");
                }
                me.in_use = 0;
                match vacant {
                    Some(index) => (me.index, me.at) = (index, At::Begin),
                    None => {
                        next.cover("every entry was in use");
                        (new.lock, me.at) = (NOBODY, At::Lock);
                    }
                }
                ("frees what nothing uses, {} stay", kept)
            }
        }
    }

    /// `ring::types::carried`.
    fn scan(&self, new: &State, me: &mut Publisher, next: &mut Next<State>) {
        if self.fault == Fault::PacketsNotScanned {
            return;
        }
        let is_ignored = self.fault == Fault::AwayCursorIgnored && new.reader.at == Reading::Away;
        let mut from = if is_ignored { me.tail } else { new.reader.cursor };
        if self.has_history && self.fault != Fault::OldestIgnored {
            from = 0;
        }
        let mut at = from;
        while usize::from(at) < SLOTS {
            let (index, print) = new.stamps[usize::from(at)];
            if print == NONE {
                if at >= me.tail || self.fault == Fault::ScanEndsAtOpenClaim {
                    return;
                }
                next.cover("a scan passed an open claim");
            } else if at >= me.tail && self.fault == Fault::ScanEndsAtTail {
                return;
            } else if index != 0 {
                if new.reader.at == Reading::Away {
                    next.cover("a packet of a reader that is away kept its type");
                }
                if at >= me.tail && self.is_exclusive {
                    next.cover("a packet behind the tail kept its type");
                }
                me.in_use |= bit(index - 1);
            }
            at += 1;
        }
    }

    /// `TypeTable::register`.
    fn register(&self, print: u8, new: &mut State, me: &mut Publisher) -> (&'static str, u8) {
        let at = usize::from(me.index);
        match me.at {
            At::Begin => {
                if self.fault == Fault::GenerationRaisedFirst {
                    new.generations[at] += 1;
                }
                me.at = At::Print;
                ("begins to write entry {}", me.index)
            }
            At::Print => {
                new.prints[at] = TORN;
                new.blocks[at] = new.free_block(NOBODY);
                me.at = At::Text;
                ("writes entry {}", me.index)
            }
            At::Text => {
                new.prints[at] = print;
                new.texts[usize::from(new.blocks[at])] = print;
                if print == LONG {
                    new.texts[usize::from(new.free_block(new.blocks[at]))] = print;
                }
                me.at = At::End;
                ("writes a text to block {}", new.blocks[at])
            }
            At::End => {
                if self.fault != Fault::GenerationRaisedFirst {
                    new.generations[at] += 1;
                }
                me.at = self.after(At::End);
                ("ends entry {}", me.index)
            }
            At::Count => {
                if self.fault != Fault::NotCounted {
                    new.count += 1;
                }
                me.at = self.after(At::Count);
                ("counts the registration: {}", new.count)
            }
            _ => {
                new.marked |= bit(me.index);
                me.at = self.after(At::Mark);
                ("marks entry {} as registered", me.index)
            }
        }
    }

    /// The order of the last steps of a registration.
    fn after(&self, at: At) -> At {
        let swaps = self.fault == Fault::CountedAfterMark;
        match (at, swaps) {
            (At::End, false) | (At::Mark, true) => At::Count,
            (At::End, true) | (At::Count, false) => At::Mark,
            _ => At::Use,
        }
    }

    /// Frees the entry of a dead publisher, and voids its claim.
    fn reap(&self, entry: usize, new: &mut State) {
        let me = &mut new.publishers[entry];
        if me.is_alive || !me.is_taken {
            return;
        }
        me.is_taken = false;
        let claim = new.claims[entry];
        if claim != NOBODY && claim < new.tail && new.stamps[usize::from(claim)].1 == NONE {
            new.stamps[usize::from(claim)] = (0, TORN);
        }
        new.claims[entry] = NOBODY;
    }

    /// Any process clears the dead after a bounded sleep.
    fn recover(&self, entry: usize, state: &State, next: &mut Next<State>) {
        let is_clear = self.fault == Fault::DeadNotCleared || !state.publishers[entry].is_taken;
        if is_clear || state.lock != NOBODY {
            return;
        }
        let mut new = *state;
        self.reap(entry, &mut new);
        // An exclusive successor scans the committed packets.
        if self.is_exclusive {
            return;
        }
        next.step("reaper", "clears the dead P{}", &[entry as u8], new);
    }

    fn reader(&self, state: &State, next: &mut Next<State>) {
        let mut new = *state;
        if self.may_go_away && state.kills > 0 && state.reader.at != Reading::Away {
            let mut new = *state;
            new.kills -= 1;
            new.reader = Reader {
                at: Reading::Away,
                cursor: state.reader.cursor,
                ..Reader { known: 0, count: 0, cache: [NONE; 2], ..state.reader }
            };
            next.external("reader", "is killed, and is away", &[], new);
        }
        if state.reader.at == Reading::Away {
            new.reader.at = Reading::Look;
            next.step("reader", "comes back with a successor", &[], new);
            return;
        }
        let mut me = state.reader;
        if let Some((text, number)) = self.read(&mut new, &mut me, next) {
            new.reader = me;
            next.step("reader", text, &[number], new);
        }
    }

    fn newcomer(&self, state: &State, next: &mut Next<State>) {
        if !self.has_history {
            return;
        }
        let mut new = *state;
        if state.newcomer.at == Reading::Outside {
            if state.lock == NOBODY {
                new.newcomer.at = Reading::Look;
                next.external("newcomer", "joins at the oldest packet", &[], new);
            }
            return;
        }
        let mut me = state.newcomer;
        if let Some((text, number)) = self.read(&mut new, &mut me, next) {
            new.newcomer = me;
            next.step("newcomer", text, &[number], new);
        }
    }

    fn read(
        &self,
        new: &mut State,
        me: &mut Reader,
        next: &mut Next<State>,
    ) -> Option<(&'static str, u8)> {
        let (index, print) = *new.stamps.get(usize::from(me.cursor))?;
        let is_typed = self.typed != NONE;
        Some(match me.at {
            Reading::Look if print == NONE => return None,
            Reading::Look => {
                me.at = match (index, is_typed) {
                    (0, _) => Reading::Release,
                    (_, true) => Reading::Open,
                    _ => Reading::Check,
                };
                ("takes the packet at {}", me.cursor)
            }
            Reading::Check => {
                let is_known = me.known == new.count;
                let keeps = self.fault == Fault::CacheKept
                    && me.cache.get(usize::from(index - 1)).is_some_and(|&known| known != NONE);
                me.count = new.count;
                me.at = if is_known || keeps { Reading::Open } else { Reading::Refresh(0) };
                ("loads the count of registrations: {}", new.count)
            }
            Reading::Refresh(entry) => {
                next.cover("a cache was filled anew");
                let at = usize::from(entry);
                me.cache[at] = new.prints[at];
                me.at = if entry + 1 < self.entries {
                    Reading::Refresh(entry + 1)
                } else {
                    let is_last = self.fault == Fault::CountReadLast;
                    me.known = if is_last { new.count } else { me.count };
                    me.count = 0;
                    Reading::Open
                };
                ("reads entry {}", entry)
            }
            Reading::Open => {
                let found = if is_typed {
                    // Its own type, or another one.
                    if index == 1 { self.typed } else { print }
                } else {
                    me.cache[usize::from(index - 1)]
                };
                if found == NONE {
                    new.violate(Violation::PacketOfUnknownType);
                } else if found != print {
                    new.violate(Violation::PacketTakenForAnotherType);
                }
                (me.count, me.at) = (0, Reading::Release);
                ("opens the packet as {}", found)
            }
            Reading::Release => {
                (me.cursor, me.at) = (me.cursor + 1, Reading::Look);
                ("releases up to {}", me.cursor)
            }
            Reading::Away | Reading::Outside => return None,
        })
    }

    /// `TypeTable::record` of entry 1.
    fn lister(&self, state: &State, next: &mut Next<State>) {
        if !self.has_lister || state.lister.at == Listing::Done {
            return;
        }
        let mut new = *state;
        let mut me = state.lister;
        let is_marked = state.marked & 2 != 0;
        let is_same = state.generations[1] == me.generation;
        let begin = Lister { at: Listing::Mark, generation: 0, print: 0, block: 0, text: 0 };
        let text = match me.at {
            Listing::Mark if !is_marked => return,
            Listing::Mark => {
                me.at = Listing::Generation;
                "sees that entry 1 is registered"
            }
            Listing::Generation => {
                (me.generation, me.at) = (state.generations[1], Listing::Print);
                "loads the generation"
            }
            Listing::Print => {
                (me.print, me.block, me.at) = (state.prints[1], state.blocks[1], Listing::Text);
                "reads the fingerprint"
            }
            Listing::Text => {
                (me.text, me.at) = (state.texts[usize::from(me.block)], Listing::Again(false));
                "reads the text"
            }
            Listing::Again(is_second) => {
                let checks_mark = is_second == (self.fault == Fault::MarkLookedAtLast);
                let is_fine = if checks_mark {
                    is_marked || self.fault == Fault::NoSecondLookAtMark
                } else {
                    is_same
                };
                if !is_fine {
                    next.cover("the lister found an entry changed");
                    me = begin;
                } else if !is_second {
                    me.at = Listing::Again(true);
                } else {
                    if me.print != me.text || me.print == TORN {
                        new.violate(Violation::TornEntryListed);
                    }
                    me = Lister { at: Listing::Done, ..begin };
                }
                "looks again"
            }
            Listing::Done => return,
        };
        new.lister = me;
        next.step("lister", text, &[], new);
    }
}

const A: u8 = 1;
const B: u8 = 2;
const C: u8 = 3;
/// A type whose text takes two blocks.
const LONG: u8 = 4;

/// One entry: each type takes the entry of the one before.
const ONE: Types = Types {
    fault: Fault::Nothing,
    entries: 1,
    programs: [&[A], &[B, REJOIN, A]],
    is_exclusive: false,
    typed: NONE,
    may_go_away: false,
    has_history: false,
    has_lister: false,
    kills: 1,
};

/// Two entries and three types, two of which are sent by both publishers.
const TWO: Types = Types { entries: 2, programs: [&[A, C], &[B, REJOIN, C]], ..ONE };

const TYPED: Types = Types { typed: A, programs: [&[A], &[B, REJOIN, C]], entries: 2, ..ONE };

const AWAY: Types = Types { may_go_away: true, programs: [&[A], &[B]], kills: 2, ..ONE };

const EXCLUSIVE: Types = Types { is_exclusive: true, programs: [&[A], &[B]], ..ONE };

const HISTORY: Types = Types { has_history: true, entries: 2, programs: [&[A], &[B]], ..ONE };

/// Of two entries the lister reads the second. The long text of the first takes its block once both
/// are free.
const LISTED: Types = Types {
    has_lister: true,
    entries: 2,
    programs: [&[A, REJOIN, LONG], &[B, REJOIN, B]],
    kills: 0,
    ..ONE
};

#[test]
fn entries_of_types_are_reused_when_nothing_uses_them() {
    let situations = [
        "an unused entry was freed",
        "every entry was in use",
        "a cache was filled anew",
        "a process was killed inside the control lock",
    ];
    holds("types, one entry", &ONE, &situations);
    holds("types, two entries", &TWO, &["a scan passed an open claim"]);
}

#[test]
fn a_typed_subscriber_keeps_its_type() {
    holds("types, typed subscriber", &TYPED, &["an unused entry was freed"]);
}

#[test]
fn packets_of_a_reader_that_is_away_keep_their_types() {
    holds("types, away", &AWAY, &["a packet of a reader that is away kept its type"]);
}

#[test]
fn a_packet_behind_the_tail_keeps_its_type() {
    holds("types, exclusive", &EXCLUSIVE, &["a packet behind the tail kept its type"]);
}

#[test]
fn packets_that_a_newcomer_may_read_keep_their_types() {
    holds("types, history", &HISTORY, &[]);
}

#[test]
fn types_are_listed_whole_or_not_at_all() {
    let situations = ["the lister found an entry changed", "an unused entry was freed"];
    holds("types, listed", &LISTED, &situations);
}

#[test]
fn types_hold_in_larger_scenarios() {
    if is_large() {
        holds("types, large, two entries", &Types { kills: 2, ..TWO }, &[]);
        holds("types, large, typed", &Types { kills: 2, ..TYPED }, &[]);
        holds("types, large, listed", &Types { kills: 1, ..LISTED }, &[]);
    }
}

#[track_caller]
fn broken_by(fault: Fault, scenario: Types, violation: Violation) {
    let name = std::thread::current().name().unwrap_or_default().to_owned();
    breaks(&name, &Types { fault, ..scenario }, violation);
}

const MISTAKEN: Violation = Violation::PacketTakenForAnotherType;

#[test]
fn a_publisher_whose_use_is_not_recorded_sends_by_the_index_of_another_type() {
    broken_by(Fault::PublisherUsesNotRecorded, TWO, MISTAKEN);
}

#[test]
fn a_subscriber_whose_use_is_not_recorded_takes_another_type_for_its_own() {
    broken_by(Fault::SubscriberUseNotRecorded, TYPED, MISTAKEN);
}

#[test]
fn a_use_that_is_recorded_without_the_lock_comes_too_late() {
    broken_by(Fault::UseRecordedWithoutTheLock, TWO, MISTAKEN);
}

#[test]
fn an_entry_that_waiting_packets_need_must_stay() {
    broken_by(Fault::PacketsNotScanned, ONE, MISTAKEN);
}

#[test]
fn a_scan_that_ends_at_an_open_claim_misses_the_packets_behind() {
    broken_by(Fault::ScanEndsAtOpenClaim, TWO, MISTAKEN);
}

#[test]
fn a_scan_that_ends_at_the_tail_misses_a_packet_of_a_dead_exclusive_publisher() {
    broken_by(Fault::ScanEndsAtTail, EXCLUSIVE, MISTAKEN);
}

#[test]
fn a_scan_without_the_cursor_of_a_reader_that_is_away_loses_its_backlog() {
    broken_by(Fault::AwayCursorIgnored, AWAY, MISTAKEN);
}

#[test]
fn a_scan_without_the_oldest_packet_misleads_a_newcomer() {
    broken_by(Fault::OldestIgnored, Types { entries: 1, ..HISTORY }, MISTAKEN);
}

#[test]
fn a_registration_counted_after_the_mark_is_missed_when_its_process_dies() {
    broken_by(Fault::CountedAfterMark, TWO, MISTAKEN);
}

#[test]
fn a_registration_that_is_not_counted_leaves_a_cache_stale() {
    broken_by(Fault::NotCounted, ONE, Violation::PacketOfUnknownType);
}

#[test]
fn a_count_that_is_loaded_after_the_entries_hides_a_registration() {
    broken_by(Fault::CountReadLast, TWO, MISTAKEN);
}

#[test]
fn a_cache_that_is_kept_takes_a_packet_for_another_type() {
    broken_by(Fault::CacheKept, ONE, MISTAKEN);
}

#[test]
fn types_of_publishers_that_left_must_not_count() {
    broken_by(Fault::LeftUsesCounted, ONE, Violation::PublisherNeverFinishes);
}

#[test]
fn types_of_dead_publishers_must_not_count() {
    broken_by(Fault::DeadNotCleared, ONE, Violation::PublisherNeverFinishes);
}

#[test]
fn an_entry_that_is_overwritten_while_it_is_marked_is_found_half_written() {
    broken_by(Fault::OverwrittenWhileMarked, TWO, MISTAKEN);
}

#[test]
fn a_lister_that_does_not_look_at_the_mark_again_mixes_two_texts() {
    broken_by(Fault::NoSecondLookAtMark, LISTED, Violation::TornEntryListed);
}

#[test]
fn a_lister_that_looks_at_the_mark_last_mixes_two_texts() {
    broken_by(Fault::MarkLookedAtLast, LISTED, Violation::TornEntryListed);
}

#[test]
fn a_generation_that_is_raised_first_lists_a_torn_entry() {
    broken_by(Fault::GenerationRaisedFirst, LISTED, Violation::TornEntryListed);
}
