//! `DropOldest` with two evictors on a shared ring. A durable subscriber pins, dies and gets a
//! successor. The model checks the loss that it reports.
//!
//! The actors mirror these sources:
//!
//! - publisher: `ring/claim/mod.rs` (`refresh`), `ring/overflow.rs` (`make_room`, `evict`),
//!   `ring/slot.rs` (`scan_committed`), `ring/claim/shared.rs`
//! - subscriber: `ring/reader/mod.rs` (`next_pinned`, `pin`, `take`, `release`, `follow_eviction`,
//!   `missed`, `counted_late`, `unreported`, `note_told`)
//! - successor: `ring/membership.rs` (`succeed`), `Reader::succeed`, `Receiver::new`
//! - newcomer: `ring/membership.rs` (`join_subscriber`)
//! - reaper: `ring/reap.rs` (`reap_subscriber`), under the control lock; a dead claim is voided
//!   in one step (`claims` models all of it)
//!
//! The reported loss is compared with the real one. It is never larger. In the end it is equal,
//! except for the packets that a killed evictor could not count.

use super::explorer::{Model, Next, breaks, holds, is_large};

const CAPACITY: u8 = 4;
const NOWHERE: u8 = u8::MAX;
const PAYLOAD: u8 = 254;
const NAMES: [&str; 2] = ["P0", "P1"];

/// Injected faults.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fault {
    Nothing,
    /// An evictor voids a dead pin itself; the successor keeps it.
    DeadPinVoidedThenKept,
    /// An evictor voids a dead pin itself; the successor voids it too, and pins again.
    DeadPinVoidedThenPinned,
    /// A packet is in flight without a pin.
    NoPin,
    /// A newcomer's first cursor is not pinned; its final cursor is a plain store.
    JoinByStore,
    /// A newcomer's first cursor is not pinned; its final cursor is set by compare-and-swap.
    JoinByCompareAndSwap,
    /// An evictor skips unstamped slots.
    EvictUnstamped,
    /// An evictor stores the cursor.
    EvictByStore,
    /// An evictor counts before it moves the cursor.
    CountBeforeMove,
    /// An evictor does not record the begin of an eviction.
    NoBegun,
    /// If no count is available yet, the subscriber reports one packet ahead of the count.
    ReportedAhead,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
enum Violation {
    /// A publisher wrote to a slot of a packet in flight.
    PublisherWroteToPacketInFlight,
    /// A publisher wrote to a slot that the cursor protects.
    PublisherOverranCursor,
    /// A newcomer's final cursor is below the cursor that an evictor had set.
    NewcomerUndidAnEviction,
    /// A subscriber took a packet that was being overwritten, or none.
    SubscriberTookMissingPacket,
    /// A subscriber reported more than it lost.
    SubscriberReportedTooMuch,
    /// A subscriber reported a number as exact that was too small.
    SubscriberReportedInexactAsExact,
    /// A subscriber never reports a loss.
    SubscriberNeverReports,
    SubscriberNeverFinishes,
    PublisherNeverFinishes,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Slot {
    stamp: u8,
    span: u8,
    is_void: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Cursor {
    position: u8,
    is_pinned: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum At {
    Tail,
    GateScan,
    ScanRecord,
    EvictLoad,
    WalkStamp,
    WalkHeader,
    EvictBegin,
    EvictMove,
    EvictCount,
    Claim,
    ClaimTail,
    ClearLost,
    PaddingHeader,
    CommitPadding,
    ClaimFill,
    Header,
    CommitStamp,
    CommitAfter,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Publisher {
    is_alive: bool,
    at: At,
    sent: u8,
    tail: u8,
    gate: u8,
    limit: u8,
    /// This scan follows the publisher's evictions.
    has_evicted: bool,
    /// The cursor to move, the end of the scan over it, and the number of packets scanned.
    seen: Cursor,
    walked: u8,
    packets: u8,
    has_moved: bool,
    /// The open claim.
    position: u8,
    end: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Reading {
    /// Joining: the first read and cursor, the second read, the final cursor.
    JoinFirst,
    JoinCursor,
    JoinLook,
    JoinMove,
    ReceiveLook,
    Pin,
    Take,
    Receive,
    Release,
    CursorLoad,
    LateCounted,
    LateBegun,
    MissedCounted,
    MissedBegun,
    /// A successor, with the control lock held.
    Succeed,
    Unlock,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Subscriber {
    is_alive: bool,
    at: Reading,
    position: u8,
    held: u8,
    reported: u8,
    orphaned: u8,
    ahead: u8,
    /// The count that was loaded, and the real loss at that time.
    counted: u8,
    evicted_then: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Lock {
    Free,
    Successor,
    Reaper,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct State {
    tail: u8,
    slots: [Slot; CAPACITY as usize],
    records: [u8; 2],
    publishers: [Publisher; 2],
    cursor: Cursor,
    subscriber: Subscriber,
    begun: u8,
    counted: u8,
    reported: u8,
    lock: Lock,
    /// The scenario is about joining: a passed cursor is an overrun by itself.
    joins: bool,
    /// A dead pin that the reaper has seen.
    reaping: u8,
    kills: u8,
    /// Packets evicted, reported, and evicted without ever being counted.
    evicted: u8,
    reported_total: u8,
    uncounted: u8,
    violation: Option<Violation>,
}

/// A scenario.
#[derive(Clone, Copy)]
struct Eviction {
    fault: Fault,
    /// Spans of the packets of each publisher.
    plans: [&'static [u8]; 2],
    /// Slots filled initially, by packets of two slots.
    filled: u8,
    /// Initially there is no subscriber; one joins.
    joins: bool,
    publishers_die: bool,
    subscriber_dies: bool,
    kills: u8,
}

fn index(position: u8) -> usize {
    usize::from(position % CAPACITY)
}

fn padding(position: u8, span: u8) -> u8 {
    let left = CAPACITY - position % CAPACITY;
    if span <= left { 0 } else { left }
}

impl State {
    fn violate(&mut self, violation: Violation) {
        self.violation = self.violation.or(Some(violation));
    }

    fn is_stamped(&self, position: u8) -> bool {
        self.slots[index(position)].stamp == position
    }

    /// A publisher writes to the slot of `position`.
    fn write(&mut self, position: u8) -> &mut Slot {
        let me = self.subscriber;
        let in_hand = (me.position..me.position + me.held).any(|at| index(at) == index(position));
        if me.is_alive && in_hand {
            self.violate(Violation::PublisherWroteToPacketInFlight);
        } else if self.joins && self.has_joined() && self.cursor.position + CAPACITY <= position {
            self.violate(Violation::PublisherOverranCursor);
        }
        &mut self.slots[index(position)]
    }

    fn has_joined(&self) -> bool {
        use Reading::{JoinCursor, JoinFirst, JoinLook, JoinMove};
        !matches!(self.subscriber.at, JoinFirst | JoinCursor | JoinLook | JoinMove)
    }

    fn set_cursor(&mut self, position: u8, is_pinned: bool) {
        self.cursor = Cursor { position, is_pinned };
    }
}

impl Model for Eviction {
    type State = State;
    type Violation = Violation;

    fn start(&self) -> State {
        let publisher = Publisher {
            is_alive: true,
            at: At::Tail,
            sent: 0,
            tail: 0,
            gate: 0,
            limit: 0,
            has_evicted: false,
            seen: Cursor { position: 0, is_pinned: false },
            walked: 0,
            packets: 0,
            has_moved: false,
            position: 0,
            end: 0,
        };
        let slot = |at: u8| Slot {
            stamp: if at < self.filled && at.is_multiple_of(2) { at } else { PAYLOAD },
            span: 2,
            is_void: false,
        };
        let subscriber = Subscriber {
            is_alive: true,
            at: if self.joins { Reading::JoinFirst } else { Reading::ReceiveLook },
            position: 0,
            held: 0,
            reported: 0,
            orphaned: 0,
            ahead: 0,
            counted: 0,
            evicted_then: 0,
        };
        let position = if self.joins { NOWHERE } else { 0 };
        State {
            tail: self.filled,
            slots: [slot(0), slot(1), slot(2), slot(3)],
            records: [NOWHERE; 2],
            publishers: [publisher; 2],
            cursor: Cursor { position, is_pinned: false },
            subscriber,
            begun: 0,
            counted: 0,
            reported: 0,
            lock: Lock::Free,
            joins: self.joins,
            reaping: NOWHERE,
            kills: self.kills,
            evicted: 0,
            reported_total: 0,
            uncounted: 0,
            violation: None,
        }
    }

    fn next(&self, state: &State, next: &mut Next<State>) {
        for entry in 0..2 {
            self.publisher(entry, state, next);
        }
        self.subscriber(state, next);
        self.reaper(state, next);
    }

    fn violation(&self, state: &State) -> Option<Violation> {
        state.violation
    }

    fn unmet(&self, state: &State) -> Vec<Violation> {
        let mut unmet = Vec::new();
        let is_waiting = |entry: usize| {
            state.publishers[entry].is_alive && !self.is_done(entry, &state.publishers[entry])
        };
        if (0..2).any(is_waiting) {
            unmet.push(Violation::PublisherNeverFinishes);
        }
        let me = state.subscriber;
        if me.is_alive && (me.at != Reading::ReceiveLook || me.position != state.tail) {
            unmet.push(Violation::SubscriberNeverFinishes);
        }
        if me.is_alive && state.reported_total + state.uncounted < state.evicted {
            unmet.push(Violation::SubscriberNeverReports);
        }
        unmet
    }
}

/// Publishers: `ring/claim/mod.rs`, `ring/claim/shared.rs`.
impl Eviction {
    fn is_done(&self, entry: usize, publisher: &Publisher) -> bool {
        publisher.at == At::Tail && usize::from(publisher.sent) == self.plans[entry].len()
    }

    fn span(&self, entry: usize, me: &Publisher) -> u8 {
        self.plans[entry].get(usize::from(me.sent)).copied().unwrap_or_default()
    }

    /// End of the claim.
    fn needed(&self, entry: usize, me: &Publisher) -> u8 {
        let span = self.span(entry, me);
        me.tail + padding(me.tail, span) + span
    }

    fn publisher(&self, entry: usize, state: &State, next: &mut Next<State>) {
        let mut me = state.publishers[entry];
        if !me.is_alive {
            return self.void(entry, state, next);
        }
        if self.is_done(entry, &me) {
            return;
        }
        if self.publishers_die && state.kills > 0 {
            self.kill_publisher(entry, state, next);
        }
        let mut new = *state;
        let (text, numbers) = match me.at {
            At::Tail | At::GateScan | At::ScanRecord => self.gate(entry, state, &mut me),
            At::EvictLoad | At::WalkStamp | At::WalkHeader => self.walk(entry, state, &mut me),
            At::EvictBegin | At::EvictMove | At::EvictCount => self.evict(&mut new, &mut me, next),
            At::Claim | At::ClaimTail | At::ClearLost => self.claim(entry, &mut new, &mut me),
            _ => self.commit(entry, &mut new, &mut me),
        };
        new.publishers[entry] = me;
        next.step(NAMES[entry], text, &numbers, new);
    }

    fn kill_publisher(&self, entry: usize, state: &State, next: &mut Next<State>) {
        let mut new = *state;
        new.kills -= 1;
        let me = &mut new.publishers[entry];
        me.is_alive = false;
        if me.at == At::EvictCount && me.has_moved {
            new.uncounted += me.packets;
            next.cover("an evictor was killed before it counted");
        }
        next.external(NAMES[entry], "is killed", &[], new);
    }

    /// Recovery of a dead claim, in one step.
    fn void(&self, entry: usize, state: &State, next: &mut Next<State>) {
        let me = state.publishers[entry];
        if state.records[entry] == NOWHERE {
            return;
        }
        let mut new = *state;
        new.records[entry] = NOWHERE;
        let is_claimed = !matches!(me.at, At::ClaimTail | At::ClearLost);
        if is_claimed && me.position < me.end {
            let span = me.end.min(me.position | 3).max(me.position + 1) - me.position;
            let first = span.min(CAPACITY - me.position % CAPACITY);
            *new.write(me.position) = Slot { stamp: me.position, span: first, is_void: true };
            let rest = me.end - me.position - first;
            if rest > 0 {
                *new.write(me.position + first) =
                    Slot { stamp: me.position + first, span: rest, is_void: true };
            }
        }
        next.step("reaper", "voids the claim of the dead {}", &[entry as u8], new);
    }

    fn gate(&self, entry: usize, state: &State, me: &mut Publisher) -> (&'static str, [u8; 2]) {
        match me.at {
            At::Tail => {
                me.tail = state.tail;
                me.has_evicted = false;
                me.at = if self.needed(entry, me) > me.limit { At::GateScan } else { At::Claim };
                ("reads the tail: {}", [me.tail, 0])
            }
            At::GateScan => {
                me.gate = me.tail.min(state.cursor.position);
                me.at = At::ScanRecord;
                ("scans the cursor: {}", [state.cursor.position, 0])
            }
            At::ScanRecord => {
                let start = state.records[1 - entry];
                if start != NOWHERE && start + CAPACITY >= me.tail {
                    me.gate = me.gate.min(start);
                }
                let is_full = self.needed(entry, me) > me.gate + CAPACITY;
                me.at = match (is_full, me.has_evicted) {
                    (true, false) => At::EvictLoad,
                    _ => {
                        me.limit = me.limit.max(me.gate + CAPACITY);
                        if self.needed(entry, me) > me.limit { At::Tail } else { At::Claim }
                    }
                };
                ("scans the other record: {}, gate {}", [start, me.gate])
            }
            _ => unreachable!("not a part of the gate"),
        }
    }

    fn claim(&self, entry: usize, new: &mut State, me: &mut Publisher) -> (&'static str, [u8; 2]) {
        match me.at {
            At::Claim => {
                new.records[entry] = me.tail;
                me.at = At::ClaimTail;
                ("records its claim at {}", [me.tail, 0])
            }
            At::ClaimTail if new.tail == me.tail => {
                (me.position, me.end) = (me.tail, self.needed(entry, me));
                new.tail = me.end;
                let has_padding = padding(me.tail, self.span(entry, me)) > 0;
                me.at = if has_padding { At::PaddingHeader } else { At::ClaimFill };
                ("claims [{}, {})", [me.tail, me.end])
            }
            At::ClaimTail => {
                me.at = At::ClearLost;
                ("loses the race at {}", [me.tail, 0])
            }
            At::ClearLost => {
                new.records[entry] = NOWHERE;
                me.at = At::Tail;
                ("clears its record", [0, 0])
            }
            _ => unreachable!("not a part of claiming"),
        }
    }

    fn commit(&self, entry: usize, new: &mut State, me: &mut Publisher) -> (&'static str, [u8; 2]) {
        let (at, span) = (me.position, self.span(entry, me));
        match me.at {
            At::PaddingHeader => {
                let slot = new.write(at);
                (slot.span, slot.is_void) = (padding(at, span), true);
                me.at = At::CommitPadding;
                ("describes padding at {}", [at, 0])
            }
            At::CommitPadding => {
                new.write(at).stamp = at;
                me.position += padding(at, span);
                me.at = At::ClaimFill;
                ("stamps padding at {}", [at, 0])
            }
            At::ClaimFill => {
                for inside in at + 1..me.end {
                    new.write(inside).stamp = PAYLOAD;
                }
                me.at = At::Header;
                ("fills [{}, {})", [at, me.end])
            }
            At::Header => {
                let slot = new.write(at);
                (slot.span, slot.is_void) = (span, false);
                me.at = At::CommitStamp;
                ("describes {}", [at, 0])
            }
            At::CommitStamp => {
                new.write(at).stamp = at;
                me.position = me.end;
                me.at = At::CommitAfter;
                ("stamps {}", [at, 0])
            }
            At::CommitAfter => {
                new.records[entry] = NOWHERE;
                (me.sent, me.at) = (me.sent + 1, At::Tail);
                ("clears its record, {} sent", [me.sent, 0])
            }
            _ => unreachable!("not a part of committing"),
        }
    }
}

/// `ring/overflow.rs`, `slot::scan_committed`.
impl Eviction {
    fn walk(&self, entry: usize, state: &State, me: &mut Publisher) -> (&'static str, [u8; 2]) {
        let target = self.needed(entry, me) - CAPACITY;
        match me.at {
            At::EvictLoad => {
                me.seen = state.cursor;
                (me.walked, me.packets, me.has_moved) = (me.seen.position, 0, false);
                let voids = matches!(
                    self.fault,
                    Fault::DeadPinVoidedThenKept | Fault::DeadPinVoidedThenPinned
                );
                let is_pinned = me.seen.is_pinned && (!voids || state.subscriber.is_alive);
                let is_settled = me.seen.position == NOWHERE || me.seen.position >= target;
                me.at = At::WalkStamp;
                if is_pinned || is_settled {
                    self.end_eviction(me);
                }
                ("plans to move the cursor {} to {}", [me.seen.position, target])
            }
            At::WalkStamp if self.fault == Fault::EvictUnstamped => {
                (me.walked, me.packets, me.at) = (target, 1, At::EvictBegin);
                ("ignores stamps", [0, 0])
            }
            At::WalkStamp => {
                let is_stamped = me.walked < target && state.is_stamped(me.walked);
                me.at = match is_stamped {
                    true => At::WalkHeader,
                    false => At::EvictBegin,
                };
                if !is_stamped && me.walked == me.seen.position {
                    self.end_eviction(me);
                }
                ("checks the stamp of {}", [me.walked, 0])
            }
            At::WalkHeader => {
                let slot = state.slots[index(me.walked)];
                let holds = slot.span > 0 && padding(me.walked, slot.span) == 0;
                me.at = At::WalkStamp;
                if holds {
                    me.walked += slot.span;
                    me.packets += u8::from(!slot.is_void);
                } else if me.walked == me.seen.position {
                    self.end_eviction(me);
                } else {
                    me.at = At::EvictBegin;
                }
                ("scans to {}", [me.walked, 0])
            }
            _ => unreachable!("not a part of the scan"),
        }
    }

    fn end_eviction(&self, me: &mut Publisher) {
        (me.has_evicted, me.at) = (true, At::GateScan);
        me.seen = Cursor { position: 0, is_pinned: false };
        (me.walked, me.packets, me.has_moved) = (0, 0, false);
    }

    fn evict(
        &self,
        new: &mut State,
        me: &mut Publisher,
        next: &mut Next<State>,
    ) -> (&'static str, [u8; 2]) {
        match me.at {
            At::EvictBegin => {
                if self.fault != Fault::NoBegun {
                    new.begun += me.packets;
                }
                if self.fault == Fault::CountBeforeMove {
                    new.counted += me.packets;
                }
                me.at = At::EvictMove;
                ("begins to evict {}", [me.packets, 0])
            }
            At::EvictMove => {
                let stores = self.fault == Fault::EvictByStore;
                me.has_moved = new.cursor == me.seen || stores;
                if me.has_moved {
                    new.set_cursor(me.walked, false);
                    new.evicted += me.packets;
                    next.cover("packets were evicted");
                } else {
                    next.cover("an evictor lost its race");
                }
                me.at = At::EvictCount;
                (
                    if me.has_moved { "moves the cursor to {}" } else { "finds the cursor moved" },
                    [me.walked, 0],
                )
            }
            At::EvictCount => {
                let (packets, has_moved) = (me.packets, me.has_moved);
                self.end_eviction(me);
                let counts = self.fault != Fault::CountBeforeMove;
                if has_moved && counts {
                    new.counted += packets;
                    if self.fault == Fault::NoBegun {
                        new.begun += packets;
                    }
                } else if !has_moved {
                    if self.fault != Fault::NoBegun {
                        new.begun -= packets;
                    }
                    new.counted -= if counts { 0 } else { packets };
                    me.at = At::EvictLoad;
                    return ("undoes the begin of {}", [packets, 0]);
                }
                ("counts {}", [packets, 0])
            }
            _ => unreachable!("not a part of evicting"),
        }
    }
}

/// The subscriber, its successor, the newcomer: `ring/reader/mod.rs`, `ring/membership.rs`.
impl Eviction {
    fn subscriber(&self, state: &State, next: &mut Next<State>) {
        let mut me = state.subscriber;
        if !me.is_alive {
            return self.successor(state, next);
        }
        if self.subscriber_dies && state.kills > 0 {
            let mut new = *state;
            new.kills -= 1;
            new.subscriber = Subscriber { is_alive: false, at: Reading::Succeed, held: 0, ..me };
            if state.lock == Lock::Successor {
                new.lock = Lock::Free;
            }
            next.cover(if me.held > 0 {
                "the subscriber was killed with a packet in flight"
            } else {
                "the subscriber was killed"
            });
            next.external("subscriber", "is killed", &[], new);
        }
        let mut new = *state;
        let (text, numbers) = match me.at {
            Reading::JoinFirst | Reading::JoinCursor | Reading::JoinLook | Reading::JoinMove => {
                self.join(&mut new, &mut me)
            }
            Reading::Succeed | Reading::Unlock => self.succeed(&mut new, &mut me),
            Reading::ReceiveLook
            | Reading::Pin
            | Reading::Take
            | Reading::Receive
            | Reading::Release => self.receive(&mut new, &mut me, next),
            _ => self.check_loss(&mut new, &mut me, next),
        };
        new.subscriber = me;
        if me.at == Reading::MissedBegun && state.subscriber.at == Reading::MissedBegun {
            // It waits for a while until an evictor counts; then it gives up.
            let mut impatient = *state;
            let mut me = state.subscriber;
            self.report(&mut impatient, &mut me);
            impatient.subscriber = me;
            next.cover("the subscriber gave up waiting for a count");
            next.step(
                "subscriber",
                "gives up, has reported {}",
                &[impatient.reported_total],
                impatient,
            );
            new.subscriber.at = Reading::MissedCounted;
        }
        next.step("subscriber", text, &numbers, new);
    }

    fn receive(
        &self,
        new: &mut State,
        me: &mut Subscriber,
        next: &mut Next<State>,
    ) -> (&'static str, [u8; 2]) {
        let at = me.position;
        match me.at {
            Reading::ReceiveLook => {
                me.at = if new.is_stamped(at) { Reading::Pin } else { Reading::CursorLoad };
                ("checks the stamp of {}", [at, 0])
            }
            Reading::Pin => {
                let is_pinned = new.cursor == Cursor { position: at, is_pinned: false };
                if is_pinned && self.fault != Fault::NoPin {
                    new.cursor.is_pinned = true;
                }
                me.at = if is_pinned { Reading::Take } else { Reading::CursorLoad };
                if !is_pinned {
                    next.cover("an eviction preceded the pin");
                }
                (if is_pinned { "pins {}" } else { "cannot pin {}" }, [at, 0])
            }
            Reading::Take => {
                let slot = new.slots[index(at)];
                if slot.stamp != at || slot.span == 0 || padding(at, slot.span) > 0 {
                    new.violate(Violation::SubscriberTookMissingPacket);
                }
                me.held = slot.span;
                me.at = if slot.is_void { Reading::Release } else { Reading::Receive };
                ("takes {} of {}", [at, slot.span])
            }
            Reading::Receive => {
                me.at = Reading::Release;
                ("reads the packet {}", [at, 0])
            }
            Reading::Release => {
                new.set_cursor(at + me.held, false);
                (me.position, me.held) = (at + me.held, 0);
                me.at = Reading::ReceiveLook;
                ("releases: its cursor is {}", [me.position, 0])
            }
            _ => unreachable!("not a part of receiving"),
        }
    }

    /// `follow_eviction`, `counted_late`, `missed`.
    fn check_loss(
        &self,
        new: &mut State,
        me: &mut Subscriber,
        next: &mut Next<State>,
    ) -> (&'static str, [u8; 2]) {
        match me.at {
            Reading::CursorLoad => {
                let at = new.cursor.position;
                me.at =
                    if at == me.position { Reading::LateCounted } else { Reading::MissedCounted };
                me.position = at;
                ("reads its cursor: {}", [at, 0])
            }
            Reading::LateCounted | Reading::MissedCounted => {
                (me.counted, me.evicted_then) = (new.counted, new.evicted);
                me.at = if me.at == Reading::LateCounted {
                    Reading::LateBegun
                } else {
                    Reading::MissedBegun
                };
                ("reads the count: {}", [me.counted, 0])
            }
            Reading::LateBegun => {
                let open = new.begun.wrapping_sub(me.counted);
                let late = self.unreported(me, open);
                self.report_loss(new, me, late);
                if late > 0 {
                    next.cover("a count came late");
                }
                ("reads the evictions begun: {}, reports {}", [new.begun, late])
            }
            Reading::MissedBegun => {
                let open = new.begun.wrapping_sub(me.counted);
                if open != me.orphaned {
                    return ("waits for a count", [0, 0]);
                }
                let is_first = me.orphaned == 0;
                let (reported_total, then) = (self.report(new, me), me.evicted_then);
                if is_first && new.uncounted == 0 && new.reported_total < then {
                    new.violate(Violation::SubscriberReportedInexactAsExact);
                }
                me.evicted_then = 0;
                ("reports exactly {}", [reported_total, 0])
            }
            _ => unreachable!("not a part of learning"),
        }
    }

    /// The end of `missed`.
    fn report(&self, new: &mut State, me: &mut Subscriber) -> u8 {
        let open = new.begun.wrapping_sub(me.counted);
        let is_exact = open == me.orphaned;
        let mut packets = self.unreported(me, open);
        me.orphaned = open;
        if !is_exact && packets == 0 && self.fault == Fault::ReportedAhead {
            (packets, me.ahead) = (1, me.ahead + 1);
        }
        let then = me.evicted_then;
        self.report_loss(new, me, packets);
        me.evicted_then = if is_exact { then } else { 0 };
        packets
    }

    fn unreported(&self, me: &mut Subscriber, open: u8) -> u8 {
        let mut late = me.counted.saturating_sub(me.reported);
        if open < me.orphaned {
            late -= me.ahead.min(late);
            me.orphaned = open;
            me.ahead = me.ahead.min(open);
        }
        late
    }

    /// Reports a loss, and `note_told`.
    fn report_loss(&self, new: &mut State, me: &mut Subscriber, packets: u8) {
        me.reported = me.counted;
        new.reported_total += packets;
        if packets > 0 {
            new.reported = me.reported;
        }
        if new.reported_total > new.evicted {
            new.violate(Violation::SubscriberReportedTooMuch);
        }
        (me.counted, me.evicted_then, me.at) = (0, 0, Reading::ReceiveLook);
    }

    fn successor(&self, state: &State, next: &mut Next<State>) {
        if state.lock == Lock::Free {
            let mut new = *state;
            new.lock = Lock::Successor;
            new.subscriber.is_alive = true;
            next.step("successor", "takes the control lock and the entry", &[], new);
        }
    }

    fn succeed(&self, new: &mut State, me: &mut Subscriber) -> (&'static str, [u8; 2]) {
        match me.at {
            Reading::Succeed => {
                if self.fault != Fault::DeadPinVoidedThenKept {
                    new.cursor.is_pinned = false;
                }
                *me = Subscriber {
                    at: Reading::Unlock,
                    position: new.cursor.position,
                    reported: new.reported,
                    orphaned: new.begun.wrapping_sub(new.counted),
                    ahead: 0,
                    ..*me
                };
                ("starts at {}", [me.position, 0])
            }
            Reading::Unlock => {
                new.lock = Lock::Free;
                let keeps = self.fault == Fault::DeadPinVoidedThenKept && new.cursor.is_pinned;
                me.at = if keeps { Reading::Take } else { Reading::LateCounted };
                ("releases the control lock", [0, 0])
            }
            _ => unreachable!("not a part of succeeding"),
        }
    }

    fn join(&self, new: &mut State, me: &mut Subscriber) -> (&'static str, [u8; 2]) {
        let pins = !matches!(self.fault, Fault::JoinByStore | Fault::JoinByCompareAndSwap);
        match me.at {
            Reading::JoinFirst => {
                (me.position, me.at) = (new.tail, Reading::JoinCursor);
                ("reads where it could start: {}", [new.tail, 0])
            }
            Reading::JoinCursor => {
                new.set_cursor(me.position, pins);
                me.at = Reading::JoinLook;
                ("stores its first cursor: {}", [me.position, 0])
            }
            Reading::JoinLook => {
                me.counted = new.tail;
                me.at = Reading::JoinMove;
                ("reads where it starts: {}", [new.tail, 0])
            }
            Reading::JoinMove => {
                let placed = std::mem::take(&mut me.counted);
                let is_there = new.cursor.position == me.position;
                if placed < new.cursor.position && self.fault != Fault::JoinByCompareAndSwap {
                    new.violate(Violation::NewcomerUndidAnEviction);
                }
                if is_there || self.fault != Fault::JoinByCompareAndSwap {
                    new.set_cursor(placed, false);
                    me.position = placed;
                } else {
                    me.position = new.cursor.position;
                }
                if new.tail > new.cursor.position + CAPACITY {
                    new.violate(Violation::PublisherOverranCursor);
                }
                me.at = Reading::ReceiveLook;
                ("stores its cursor: {}", [new.cursor.position, 0])
            }
            _ => unreachable!("not a part of joining"),
        }
    }

    /// Voids a dead pin under the control lock, and checks there whether the owner is dead.
    fn reaper(&self, state: &State, next: &mut Next<State>) {
        let mut new = *state;
        match state.lock {
            Lock::Free if !state.subscriber.is_alive && state.cursor.is_pinned => {
                new.lock = Lock::Reaper;
                new.reaping = NOWHERE;
                next.step("reaper", "takes the control lock", &[], new);
            }
            Lock::Reaper if state.reaping == NOWHERE && state.cursor.is_pinned => {
                new.reaping = state.cursor.position;
                next.step("reaper", "finds the owner of the pin at {} dead", &[new.reaping], new);
            }
            Lock::Reaper => {
                if state.reaping != NOWHERE {
                    new.set_cursor(state.reaping, false);
                }
                (new.lock, new.reaping) = (Lock::Free, NOWHERE);
                next.cover("a dead pin was voided");
                next.step("reaper", "voids the pin and releases the lock", &[], new);
            }
            _ => {}
        }
    }
}

/// A full ring, two publishers that evict, and a subscriber that reads.
const FULL: Eviction = Eviction {
    fault: Fault::Nothing,
    plans: [&[1], &[2]],
    filled: 4,
    joins: false,
    publishers_die: true,
    subscriber_dies: false,
    kills: 1,
};

/// A full ring; the subscriber dies and gets a successor.
const SUCCESSION: Eviction = Eviction { publishers_die: false, subscriber_dies: true, ..FULL };

/// A subscriber joins while two publishers send more than a lap.
const JOINING: Eviction =
    Eviction { plans: [&[1, 1, 1, 1], &[1]], filled: 2, joins: true, kills: 0, ..FULL };

/// Enough packets for one publisher to evict slots that the other's limit lets it overrun.
const JOINING_LATE: Eviction = Eviction { plans: [&[1, 1, 1, 1], &[1, 1]], ..JOINING };

#[test]
fn two_evictors_hold_even_if_one_is_killed() {
    let situations = [
        "packets were evicted",
        "an evictor lost its race",
        "an evictor was killed before it counted",
        "an eviction preceded the pin",
        "the subscriber gave up waiting for a count",
        "a count came late",
    ];
    holds("eviction, two evictors", &FULL, &situations);
}

#[test]
fn a_successor_holds_while_two_evict() {
    let situations = [
        "the subscriber was killed with a packet in flight",
        "a dead pin was voided",
        "packets were evicted",
    ];
    holds("eviction, succession", &SUCCESSION, &situations);
}

#[test]
fn a_newcomer_is_not_overrun_by_evictors() {
    holds("eviction, joining", &JOINING, &["packets were evicted"]);
}

#[test]
fn eviction_holds_in_larger_scenarios() {
    if is_large() {
        let both = Eviction { subscriber_dies: true, kills: 2, ..FULL };
        holds("eviction, large, both die", &both, &[]);
        holds("eviction, large, joining late", &JOINING_LATE, &[]);
        holds("eviction, large, twice", &Eviction { plans: [&[1, 2], &[2, 1]], ..FULL }, &[]);
        holds(
            "eviction, large, joining",
            &Eviction { plans: [&[1, 1, 1, 1], &[2, 1, 1]], ..JOINING },
            &[],
        );
    }
}

#[track_caller]
fn broken_by(fault: Fault, scenario: Eviction, violation: Violation) {
    let name = std::thread::current().name().unwrap_or_default().to_owned();
    breaks(&name, &Eviction { fault, ..scenario }, violation);
}

#[test]
fn a_dead_pin_voided_without_the_lock_and_kept_is_overrun() {
    let violation = Violation::PublisherWroteToPacketInFlight;
    broken_by(Fault::DeadPinVoidedThenKept, SUCCESSION, violation);
}

#[test]
fn a_dead_pin_voided_without_the_lock_and_pinned_again_is_overrun() {
    let violation = Violation::PublisherWroteToPacketInFlight;
    broken_by(Fault::DeadPinVoidedThenPinned, SUCCESSION, violation);
}

#[test]
fn a_packet_in_flight_without_a_pin_is_overwritten() {
    broken_by(Fault::NoPin, FULL, Violation::PublisherWroteToPacketInFlight);
}

#[test]
fn a_newcomer_that_stores_its_cursor_plainly_undoes_an_eviction() {
    broken_by(Fault::JoinByStore, JOINING, Violation::NewcomerUndidAnEviction);
}

#[test]
fn a_newcomer_that_is_evicted_as_it_joins_is_overrun() {
    broken_by(Fault::JoinByCompareAndSwap, JOINING_LATE, Violation::PublisherOverranCursor);
}

#[test]
fn an_eviction_over_an_open_claim_strands_the_subscriber() {
    broken_by(Fault::EvictUnstamped, FULL, Violation::SubscriberNeverFinishes);
}

#[test]
fn an_eviction_by_store_overwrites_a_packet_in_flight() {
    broken_by(Fault::EvictByStore, FULL, Violation::PublisherWroteToPacketInFlight);
}

#[test]
fn a_count_before_the_move_reports_too_much() {
    broken_by(Fault::CountBeforeMove, FULL, Violation::SubscriberReportedTooMuch);
}

#[test]
fn an_eviction_that_is_not_begun_makes_a_short_number_exact() {
    broken_by(Fault::NoBegun, FULL, Violation::SubscriberReportedInexactAsExact);
}

#[test]
fn a_loss_reported_ahead_of_its_count_is_reported_twice() {
    broken_by(Fault::ReportedAhead, FULL, Violation::SubscriberReportedTooMuch);
    broken_by(Fault::ReportedAhead, SUCCESSION, Violation::SubscriberReportedTooMuch);
}
