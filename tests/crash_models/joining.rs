//! A subscriber joins, as a newcomer or as a clone, while publishers hold limits that they computed
//! before. The last subscriber leaves while a claim is open.
//!
//! The actors mirror these sources:
//!
//! - publisher: `ring/gate.rs` (`scan`), `ring/claim/mod.rs` (`refresh`), `ring/claim/shared.rs`
//!   (`try_claim`), `ring/claim/mod.rs` (`publish_tail`)
//! - newcomer: `ring/membership.rs` (`join_subscriber`, `Start::Newcomer`)
//! - clone: the newcomer's steps with `Start::Beside`, `roster.clones`, `Reader::stand_still` in a
//!   `Block` ring
//! - old subscriber: `ring/reader/mod.rs` (`release`), `ring/membership.rs` (`release`)
//! - reaper: `ring/reap.rs` (`reap_subscriber`), and `ring/recover.rs` in one step (`claims`
//!   models all of it)
//!
//! Plain stores are buffered: the tail of an exclusive ring, and the newcomer's cursor. A fence or
//! a locked instruction waits until they are visible. Without buffers the fences would look
//! unnecessary. Weaker machines than these buffers are covered by loom.

use super::explorer::{Model, Next, breaks, holds, is_large};

const CAPACITY: u8 = 2;
const NOWHERE: u8 = u8::MAX;
const NAMES: [&str; 2] = ["P0", "P1"];
/// The newcomer's entry comes first: a scan can pass it before the old subscriber moves on.
const NEW: usize = 0;
const OLD: usize = 1;

/// Injected faults.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fault {
    Nothing,
    /// `gate::scan` without its fence.
    ScanWithoutFence,
    /// `join_subscriber` without its fence.
    JoinWithoutFence,
    /// The newcomer starts at the tail that it read before its cursor was stored.
    NoSecondRead,
    /// The newcomer's cursor is stored only after its start is known.
    NoFirstCursor,
    /// Without subscribers there is no limit.
    LimitWithoutTail,
    /// The tail for the limit is read after the scan.
    TailAfterScan,
    /// Claims in progress are not part of the limit.
    LimitWithoutRecords,
    /// A scan does not check whether a clone was placed meanwhile.
    ScanNotRepeated,
    /// The clone is counted before its cursor is stored.
    CloneCountedFirst,
    /// The newcomer publishes a marker packet and starts behind it.
    MarkerPacket,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Violation {
    /// A publisher claimed slots that the newcomer, or the clone, may still read.
    PublisherOverranNewcomer,
    /// A publisher claimed slots that the old subscriber may still read.
    PublisherOverranOldSubscriber,
    /// A publisher claimed slots that another publisher is filling.
    PublisherLappedAClaim,
    PublisherNeverFinishes,
    NewcomerNeverFinishes,
    DeadEntryStays,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum At {
    Tail,
    Clones,
    GateFence,
    GateScan(u8),
    ScanRecord(u8),
    ClonesAgain,
    LateTail,
    ClaimRecord,
    ClaimTail,
    ClearLost,
    ClaimFill,
    Commit,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Publisher {
    is_alive: bool,
    at: At,
    sent: u8,
    tail: u8,
    gate: u8,
    cloned: u8,
    limit: u8,
    /// The open claim, of one slot.
    claim: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Joining {
    JoinSeat,
    ReadFirst,
    JoinCursor,
    Fence,
    ReadPlaced,
    Marker,
    JoinMove,
    Count,
    Joined,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Subscriber {
    is_alive: bool,
    holds_entry: bool,
    at: Joining,
    first: u8,
    /// Its position as it knows it.
    position: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct State {
    tail: u8,
    cursors: [u8; 2],
    records: [u8; 2],
    clones: u8,
    publishers: [Publisher; 2],
    subscribers: [Subscriber; 2],
    /// Stores that are not visible yet, oldest first: of the exclusive publisher's tail, and of the
    /// newcomer's cursor.
    tails: [u8; 2],
    cursor: [u8; 2],
    kills: u8,
}

/// A scenario.
#[derive(Clone, Copy)]
struct Join {
    fault: Fault,
    is_exclusive: bool,
    /// The newcomer is a clone of the old subscriber.
    is_clone: bool,
    has_old: bool,
    old_may_leave: bool,
    sends: u8,
    kills: u8,
}

fn store(buffer: &mut [u8; 2], value: u8) {
    let free = buffer.iter().position(|&slot| slot == NOWHERE);
    buffer[free.expect("the caller checked for room")] = value;
}

fn has_room(buffer: [u8; 2]) -> bool {
    buffer[1] == NOWHERE
}

fn is_drained(buffer: [u8; 2]) -> bool {
    buffer[0] == NOWHERE
}

/// Makes the oldest store visible, and returns its value.
fn drain(buffer: &mut [u8; 2]) -> u8 {
    std::mem::replace(buffer, [buffer[1], NOWHERE])[0]
}

impl Model for Join {
    type State = State;
    type Violation = Violation;

    fn start(&self) -> State {
        let publisher = |index: u8| Publisher {
            is_alive: index == 0 || !self.is_exclusive,
            at: At::Tail,
            sent: 0,
            tail: 0,
            gate: 0,
            cloned: 0,
            limit: 0,
            claim: NOWHERE,
        };
        let old = Subscriber {
            is_alive: self.has_old,
            holds_entry: self.has_old,
            at: Joining::Joined,
            first: 0,
            position: 0,
        };
        let new = Subscriber { is_alive: true, holds_entry: false, at: Joining::JoinSeat, ..old };
        State {
            tail: 0,
            cursors: [NOWHERE, if self.has_old { 0 } else { NOWHERE }],
            records: [NOWHERE; 2],
            clones: 0,
            publishers: [publisher(0), publisher(1)],
            subscribers: [new, old],
            tails: [NOWHERE; 2],
            cursor: [NOWHERE; 2],
            kills: self.kills,
        }
    }

    fn next(&self, state: &State, next: &mut Next<State>) {
        for index in 0..2 {
            self.publisher(index, state, next);
        }
        self.old(state, next);
        self.newcomer(state, next);
        self.buffers(state, next);
        self.reaper(state, next);
    }

    fn violation(&self, state: &State) -> Option<Violation> {
        let claims = state.publishers.iter().map(|publisher| publisher.claim);
        let open = claims.clone().filter(|&claim| claim != NOWHERE).map(|claim| claim + 1);
        let end = open.max().unwrap_or(0).max(state.tail);
        let is_overrun = |index: usize| {
            let subscriber = state.subscribers[index];
            let is_reading = subscriber.is_alive && subscriber.at == Joining::Joined;
            is_reading && end > subscriber.position + CAPACITY
        };
        if is_overrun(NEW) {
            return Some(Violation::PublisherOverranNewcomer);
        }
        if is_overrun(OLD) {
            return Some(Violation::PublisherOverranOldSubscriber);
        }
        let lapped = claims.filter(|&claim| claim != NOWHERE).any(|claim| end > claim + CAPACITY);
        lapped.then_some(Violation::PublisherLappedAClaim)
    }

    fn unmet(&self, state: &State) -> Vec<Violation> {
        let mut unmet = Vec::new();
        let newcomer = state.subscribers[NEW];
        if newcomer.is_alive && newcomer.at != Joining::Joined {
            unmet.push(Violation::NewcomerNeverFinishes);
        }
        if state.publishers.iter().any(|publisher| publisher.is_alive && !self.is_done(publisher)) {
            unmet.push(Violation::PublisherNeverFinishes);
        }
        if state.subscribers.iter().any(|subscriber| subscriber.holds_entry && !subscriber.is_alive)
        {
            unmet.push(Violation::DeadEntryStays);
        }
        unmet
    }
}

/// Publishers of packets of one slot: `ring/gate.rs`, `ring/claim/shared.rs`,
/// `ring/claim/mod.rs`.
impl Join {
    fn is_done(&self, publisher: &Publisher) -> bool {
        publisher.at == At::Tail && publisher.sent == self.sends
    }

    fn publisher(&self, index: usize, state: &State, next: &mut Next<State>) {
        let mut me = state.publishers[index];
        if !me.is_alive || self.is_done(&me) {
            return;
        }
        if state.kills > 0 && !self.is_exclusive {
            let mut new = *state;
            new.kills -= 1;
            (new.publishers[index].is_alive, new.publishers[index].at) = (false, At::Tail);
            next.external(NAMES[index], "is killed", &[], new);
        }
        let mut new = *state;
        let words = match me.at {
            At::Tail | At::Clones | At::GateFence | At::LateTail => self.begin(state, &mut me),
            At::GateScan(_) | At::ScanRecord(_) | At::ClonesAgain => {
                self.scan(state, &mut me, next)
            }
            _ => self.claim(index, &mut new, &mut me),
        };
        if let Some((text, number)) = words {
            new.publishers[index] = me;
            next.step(NAMES[index], text, &[number], new);
        }
    }

    fn begin(&self, state: &State, me: &mut Publisher) -> Option<(&'static str, u8)> {
        match me.at {
            At::Tail => {
                // An exclusive publisher knows its own tail.
                me.tail = if self.is_exclusive { me.sent } else { state.tail };
                me.at = if me.tail + 1 > me.limit { At::Clones } else { At::ClaimRecord };
                Some(("reads the tail: {}", me.tail))
            }
            At::Clones => {
                me.cloned = state.clones;
                me.at = At::GateFence;
                Some(("reads the number of clones: {}", me.cloned))
            }
            At::GateFence => {
                let waits = self.fault != Fault::ScanWithoutFence && !is_drained(state.tails);
                me.at = At::GateScan(0);
                me.gate = NOWHERE;
                (!waits).then_some(("fence", 0))
            }
            At::LateTail => {
                me.gate = me.gate.min(state.tail);
                self.limit(me);
                Some(("reads the tail for its limit: {}", state.tail))
            }
            _ => unreachable!("not a beginning"),
        }
    }

    fn scan(
        &self,
        state: &State,
        me: &mut Publisher,
        next: &mut Next<State>,
    ) -> Option<(&'static str, u8)> {
        match me.at {
            At::GateScan(entry) => {
                let cursor = state.cursors[usize::from(entry)];
                me.gate = me.gate.min(cursor);
                me.at = if entry == 0 { At::GateScan(1) } else { At::ScanRecord(0) };
                Some(("scans a cursor: {}", cursor))
            }
            At::ScanRecord(entry) => {
                let start = state.records[usize::from(entry)];
                let counts = self.fault != Fault::LimitWithoutRecords;
                if counts && start != NOWHERE && start + CAPACITY >= me.tail {
                    me.gate = me.gate.min(start);
                }
                me.at = if entry == 0 { At::ScanRecord(1) } else { At::ClonesAgain };
                Some(("scans a record: {}", start))
            }
            At::ClonesAgain => {
                if state.clones != me.cloned && self.fault != Fault::ScanNotRepeated {
                    next.cover("a scan was repeated because of a clone");
                    (me.cloned, me.gate, me.at) = (state.clones, NOWHERE, At::GateScan(0));
                    return Some(("scans again: clones are {}", state.clones));
                }
                me.at = At::LateTail;
                if self.fault == Fault::TailAfterScan {
                    return Some(("ends the scan, gate {}", me.gate));
                }
                if self.fault != Fault::LimitWithoutTail {
                    me.gate = me.gate.min(me.tail);
                }
                self.limit(me);
                Some(("ends the scan, limit {}", me.limit))
            }
            _ => unreachable!("not a part of the scan"),
        }
    }

    fn limit(&self, me: &mut Publisher) {
        me.limit = me.limit.max(me.gate.saturating_add(CAPACITY));
        me.at = if me.tail + 1 > me.limit { At::Tail } else { At::ClaimRecord };
        (me.gate, me.cloned) = (0, 0);
    }

    fn claim(
        &self,
        index: usize,
        new: &mut State,
        me: &mut Publisher,
    ) -> Option<(&'static str, u8)> {
        match me.at {
            At::ClaimRecord if self.is_exclusive => {
                me.claim = me.tail;
                me.at = At::ClaimFill;
                Some(("claims {}", me.tail))
            }
            At::ClaimRecord => {
                new.records[index] = me.tail;
                me.at = At::ClaimTail;
                Some(("records a claim of {}", me.tail))
            }
            At::ClaimTail if new.tail == me.tail => {
                new.tail += 1;
                me.claim = me.tail;
                me.at = At::ClaimFill;
                Some(("claims {}", me.tail))
            }
            At::ClaimTail => {
                me.at = At::ClearLost;
                Some(("loses the race at {}", me.tail))
            }
            At::ClearLost => {
                new.records[index] = NOWHERE;
                me.at = At::Tail;
                Some(("clears its record of {}", me.tail))
            }
            At::ClaimFill => {
                me.at = At::Commit;
                Some(("fills {}", me.claim))
            }
            At::Commit => {
                if self.is_exclusive {
                    if !has_room(new.tails) {
                        return None;
                    }
                    store(&mut new.tails, me.claim + 1);
                }
                new.records[index] = NOWHERE;
                (me.claim, me.sent, me.at) = (NOWHERE, me.sent + 1, At::Tail);
                Some(("commits its packet, {} sent", me.sent))
            }
            _ => unreachable!("not a part of claiming"),
        }
    }
}

/// Subscribers: `ring/membership.rs`, `ring/reader/mod.rs`.
impl Join {
    /// End of the committed packets.
    fn committed(state: &State) -> u8 {
        let claims = state.publishers.iter().map(|publisher| publisher.claim);
        let records = state.records.iter().copied().filter(|&start| start < state.tail);
        claims.chain(records).min().unwrap_or(NOWHERE).min(state.tail)
    }

    /// Reads on by one packet.
    fn read(&self, index: usize, who: &'static str, state: &State, next: &mut Next<State>) {
        let me = state.subscribers[index];
        let is_settled = index == OLD || is_drained(state.cursor);
        if is_settled && me.position < Self::committed(state) {
            let mut new = *state;
            new.subscribers[index].position += 1;
            new.cursors[index] = me.position + 1;
            next.step(who, "reads up to {}", &[me.position + 1], new);
        }
    }

    fn old(&self, state: &State, next: &mut Next<State>) {
        let me = state.subscribers[OLD];
        // The thread of the old subscriber creates the clone. A newcomer with a marker is created
        // by a thread that holds a packet of the old subscriber.
        let stands_still = self.is_clone || self.fault == Fault::MarkerPacket;
        let newcomer = state.subscribers[NEW];
        let is_busy =
            newcomer.is_alive && !matches!(newcomer.at, Joining::JoinSeat | Joining::Joined);
        if !me.is_alive || stands_still && is_busy {
            return;
        }
        self.read(OLD, "old", state, next);
        if self.old_may_leave {
            let mut new = *state;
            (new.subscribers[OLD].is_alive, new.subscribers[OLD].holds_entry) = (false, false);
            new.cursors[OLD] = NOWHERE;
            if state.publishers.iter().any(|publisher| publisher.claim != NOWHERE) {
                next.cover("the last subscriber left while a claim was open");
            }
            next.external("old", "leaves", &[], new);
        }
    }

    fn newcomer(&self, state: &State, next: &mut Next<State>) {
        let mut me = state.subscribers[NEW];
        if !me.is_alive {
            return;
        }
        let who = if self.is_clone { "clone" } else { "newcomer" };
        if state.kills > 0 && me.at != Joining::JoinSeat {
            let mut new = *state;
            new.kills -= 1;
            new.subscribers[NEW].is_alive = false;
            // Buffered stores become visible even after a kill.
            while !is_drained(new.cursor) {
                new.cursors[NEW] = drain(&mut new.cursor);
            }
            next.cover(if me.at == Joining::Joined {
                "a subscriber was killed"
            } else {
                "a newcomer was killed during its join"
            });
            next.external(who, "is killed", &[], new);
        }
        if me.at == Joining::Joined {
            return self.read(NEW, who, state, next);
        }
        let mut new = *state;
        if let Some((text, number)) = self.join(&mut new, &mut me, next) {
            new.subscribers[NEW] = me;
            next.step(who, text, &[number], new);
        }
    }

    /// `boundary`: the position where a subscriber may start.
    fn boundary(&self, state: &State) -> u8 {
        if self.is_clone { state.cursors[OLD] } else { state.tail }
    }

    fn join(
        &self,
        new: &mut State,
        me: &mut Subscriber,
        next: &mut Next<State>,
    ) -> Option<(&'static str, u8)> {
        match me.at {
            Joining::JoinSeat => {
                if self.is_clone && !new.subscribers[OLD].is_alive {
                    return None;
                }
                (me.holds_entry, me.at) = (true, Joining::ReadFirst);
                Some(("takes an entry", 0))
            }
            Joining::ReadFirst => {
                me.first = self.boundary(new);
                me.at = if self.fault == Fault::NoFirstCursor {
                    Joining::Fence
                } else {
                    Joining::JoinCursor
                };
                Some(("reads where it could start: {}", me.first))
            }
            Joining::JoinCursor => {
                if self.fault == Fault::CloneCountedFirst {
                    new.clones += 1;
                }
                store(&mut new.cursor, me.first);
                me.at = Joining::Fence;
                Some(("stores its first cursor: {}", me.first))
            }
            Joining::Fence => {
                let waits = self.fault != Fault::JoinWithoutFence && !is_drained(new.cursor);
                me.at = Joining::ReadPlaced;
                (!waits).then_some(("fence", 0))
            }
            Joining::ReadPlaced => {
                let again = self.boundary(new);
                me.position = if self.fault == Fault::NoSecondRead { me.first } else { again };
                if me.position != me.first {
                    next.cover("the tail moved while a newcomer joined");
                }
                me.first = 0;
                me.at = Joining::JoinMove;
                if self.fault == Fault::MarkerPacket {
                    me.at = Joining::Marker;
                }
                Some(("reads where it starts: {}", me.position))
            }
            Joining::Marker => {
                let gate = new.tail.min(new.cursors[OLD]);
                if new.tail + 1 > gate + CAPACITY {
                    return None;
                }
                new.tail += 1;
                me.position = new.tail;
                me.at = Joining::JoinMove;
                Some(("publishes a marker and starts after it: {}", me.position))
            }
            Joining::JoinMove => {
                store(&mut new.cursor, me.position);
                me.at = if self.is_clone { Joining::Count } else { Joining::Joined };
                Some(("stores its cursor: {}", me.position))
            }
            Joining::Count => {
                if !is_drained(new.cursor) {
                    return None;
                }
                if self.fault != Fault::CloneCountedFirst {
                    new.clones += 1;
                }
                me.at = Joining::Joined;
                Some(("counts the clone: {}", new.clones))
            }
            Joining::Joined => unreachable!("it has joined"),
        }
    }

    /// Makes a buffered store visible.
    fn buffers(&self, state: &State, next: &mut Next<State>) {
        let mut new = *state;
        if !is_drained(state.tails) {
            new.tail = drain(&mut new.tails);
            next.step("P0", "tail becomes visible: {}", &[new.tail], new);
        }
        let mut new = *state;
        if !is_drained(state.cursor) {
            new.cursors[NEW] = drain(&mut new.cursor);
            next.step("newcomer", "cursor becomes visible: {}", &[new.cursors[NEW]], new);
        }
    }

    fn reaper(&self, state: &State, next: &mut Next<State>) {
        let newcomer = state.subscribers[NEW];
        if newcomer.holds_entry && !newcomer.is_alive {
            let mut new = *state;
            (new.cursors[NEW], new.subscribers[NEW].holds_entry) = (NOWHERE, false);
            next.step("reaper", "removes the dead newcomer's cursor", &[], new);
        }
        for (index, publisher) in state.publishers.iter().enumerate() {
            let is_left = publisher.claim != NOWHERE || state.records[index] != NOWHERE;
            if !publisher.is_alive && is_left {
                let mut new = *state;
                (new.records[index], new.publishers[index].claim) = (NOWHERE, NOWHERE);
                next.step("reaper", "voids the claim of the dead {}", &[index as u8], new);
            }
        }
    }
}

const SHARED: Join = Join {
    fault: Fault::Nothing,
    is_exclusive: false,
    is_clone: false,
    has_old: false,
    old_may_leave: false,
    sends: 2,
    kills: 1,
};

/// A single publisher, whose tail is a plain store.
const EXCLUSIVE: Join = Join { is_exclusive: true, sends: 5, ..SHARED };

/// There is a subscriber, and it may leave.
const OLD_LEAVES: Join = Join { has_old: true, old_may_leave: true, kills: 0, ..SHARED };

/// A clone is created beside the old subscriber, which then moves on.
const CLONE: Join = Join { is_exclusive: true, is_clone: true, has_old: true, sends: 5, ..SHARED };

#[test]
fn a_newcomer_to_a_shared_ring_is_not_overrun() {
    let situations = [
        "the tail moved while a newcomer joined",
        "a newcomer was killed during its join",
        "a subscriber was killed",
    ];
    holds("joining, shared", &SHARED, &situations);
}

#[test]
fn a_newcomer_to_an_exclusive_ring_is_not_overrun() {
    holds("joining, exclusive", &EXCLUSIVE, &["the tail moved while a newcomer joined"]);
}

#[test]
fn a_claim_is_not_lapped_when_the_last_subscriber_leaves() {
    let situations = ["the last subscriber left while a claim was open"];
    holds("joining, the old subscriber leaves", &OLD_LEAVES, &situations);
}

#[test]
fn a_clone_is_not_overrun_when_its_original_moves_on() {
    holds("joining, clone", &CLONE, &["a scan was repeated because of a clone"]);
    holds(
        "joining, clone, shared",
        &Join { is_exclusive: false, sends: 2, kills: 0, ..CLONE },
        &[],
    );
}

#[test]
fn joining_holds_in_larger_scenarios() {
    if is_large() {
        holds("joining, large, shared", &Join { sends: 3, kills: 2, ..SHARED }, &[]);
        holds(
            "joining, large, the old subscriber leaves",
            &Join { sends: 3, kills: 1, ..OLD_LEAVES },
            &[],
        );
        holds("joining, large, exclusive", &Join { sends: 9, kills: 1, ..EXCLUSIVE }, &[]);
        holds("joining, large, clone", &Join { is_exclusive: false, sends: 3, ..CLONE }, &[]);
    }
}

#[track_caller]
fn broken_by(fault: Fault, scenario: Join, violation: Violation) {
    let name = std::thread::current().name().unwrap_or_default().to_owned();
    breaks(&name, &Join { fault, kills: 0, ..scenario }, violation);
}

#[test]
fn a_scan_without_its_fence_overruns_a_newcomer() {
    broken_by(Fault::ScanWithoutFence, EXCLUSIVE, Violation::PublisherOverranNewcomer);
}

#[test]
fn a_join_without_its_fence_is_overrun() {
    broken_by(Fault::JoinWithoutFence, EXCLUSIVE, Violation::PublisherOverranNewcomer);
    broken_by(Fault::JoinWithoutFence, SHARED, Violation::PublisherOverranNewcomer);
}

#[test]
fn a_newcomer_without_a_second_read_is_overrun() {
    broken_by(Fault::NoSecondRead, SHARED, Violation::PublisherOverranNewcomer);
}

#[test]
fn an_entry_that_counts_only_when_placed_is_overrun() {
    broken_by(Fault::NoFirstCursor, SHARED, Violation::PublisherOverranNewcomer);
}

#[test]
fn a_limit_without_the_tail_overruns_a_newcomer() {
    broken_by(Fault::LimitWithoutTail, EXCLUSIVE, Violation::PublisherOverranNewcomer);
}

#[test]
fn a_tail_read_after_the_scan_laps_a_claim() {
    broken_by(Fault::TailAfterScan, SHARED, Violation::PublisherLappedAClaim);
}

#[test]
fn a_limit_without_records_laps_a_claim() {
    broken_by(Fault::LimitWithoutRecords, OLD_LEAVES, Violation::PublisherLappedAClaim);
}

#[test]
fn a_scan_that_is_not_repeated_overruns_a_clone() {
    broken_by(Fault::ScanNotRepeated, CLONE, Violation::PublisherOverranNewcomer);
}

#[test]
fn a_clone_counted_before_its_cursor_is_there_is_overrun() {
    broken_by(Fault::CloneCountedFirst, CLONE, Violation::PublisherOverranNewcomer);
}

#[test]
fn a_marker_packet_waits_for_a_packet_held_by_its_own_thread() {
    let scenario = Join { old_may_leave: false, ..OLD_LEAVES };
    broken_by(Fault::MarkerPacket, scenario, Violation::NewcomerNeverFinishes);
}
