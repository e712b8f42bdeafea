//! A subscriber joins while publishers hold limits that they computed before: as a newcomer, or
//! beside another. The last subscriber leaves while a claim is open.
//!
//! | actor | mirrors |
//! |---|---|
//! | publisher | `ring/gate.rs` (`scan`), `ring/writer.rs` (`refresh`), `ring/shared.rs` (`take`), `ring/exclusive.rs` (`publish_tail`) |
//! | newcomer | `ring/roster.rs` (`join_subscriber`, `Start::Newcomer`) |
//! | clone | the same with `Start::Beside`, `roster.clones`, `Reader::stand_still` in a `Block` ring |
//! | old subscriber | `ring/reader.rs` (`release`), `ring/roster.rs` (`let_go`) |
//! | reaper | `ring/roster.rs` (`reap_subscriber`), and `ring/recover.rs` in one step (`claims` has it in all of its own) |
//!
//! Plain stores are buffered: that of the tail in an exclusive ring, and those of the newcomer's
//! cursor. A fence or a locked instruction waits until they are seen. Without buffers the fences
//! would look needless. What only a machine weaker than these buffers does is loom's subject.

use super::explorer::{Model, Next, breaks, holds, is_large};

const CAPACITY: u8 = 2;
const NOWHERE: u8 = u8::MAX;
const NAMES: [&str; 2] = ["P0", "P1"];
/// The newcomer's entry comes first: a scan can pass it before the old one moves on.
const NEW: usize = 0;
const OLD: usize = 1;

/// What is done wrong.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mistake {
    Nothing,
    /// `gate::scan` without its fence.
    ScanWithoutFence,
    /// `join_subscriber` without its fence.
    JoinWithoutFence,
    /// The newcomer starts at the tail that it read before its cursor was there.
    NoSecondLook,
    /// The newcomer's cursor is there only when it knows where it starts.
    NoFirstCursor,
    /// Without subscribers there is no limit.
    LimitWithoutTail,
    /// The tail that counts for the limit is read after the scan.
    TailAfterTheScan,
    /// Claims in progress do not count for the limit.
    LimitWithoutRecords,
    /// A scan does not ask whether a clone was placed meanwhile.
    ScanNotRepeated,
    /// The clone is counted before its cursor is there.
    CloneCountedFirst,
    /// The newcomer publishes a marker packet and starts behind it.
    MarkerPacket,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Harm {
    /// A publisher claimed slots that the newcomer, or the clone, may still read.
    PublisherOverranTheNewcomer,
    /// The same of the old subscriber.
    PublisherOverranTheOldSubscriber,
    /// A publisher claimed slots that another is filling.
    PublisherLappedAClaim,
    PublisherWaitsForEver,
    NewcomerWaitsForEver,
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
    has_seat: bool,
    at: Joining,
    first: u8,
    /// Where it knows that it stands.
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
    /// Stores that are made and not yet seen, oldest first: of the exclusive publisher's tail, of
    /// the newcomer's cursor.
    tails: [u8; 2],
    cursor: [u8; 2],
    kills: u8,
}

/// One scenario.
#[derive(Clone, Copy)]
struct Join {
    mistake: Mistake,
    is_exclusive: bool,
    /// The newcomer is placed beside the old subscriber.
    is_clone: bool,
    has_old: bool,
    old_may_leave: bool,
    sends: u8,
    kills: u8,
}

fn store(buffer: &mut [u8; 2], value: u8) {
    let free = buffer.iter().position(|&slot| slot == NOWHERE);
    buffer[free.expect("room was asked for")] = value;
}

fn has_room(buffer: [u8; 2]) -> bool {
    buffer[1] == NOWHERE
}

fn is_drained(buffer: [u8; 2]) -> bool {
    buffer[0] == NOWHERE
}

/// The value that is seen next.
fn drain(buffer: &mut [u8; 2]) -> u8 {
    std::mem::replace(buffer, [buffer[1], NOWHERE])[0]
}

impl Model for Join {
    type State = State;
    type Harm = Harm;

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
            has_seat: self.has_old,
            at: Joining::Joined,
            first: 0,
            position: 0,
        };
        let new = Subscriber { is_alive: true, has_seat: false, at: Joining::JoinSeat, ..old };
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

    fn harm(&self, state: &State) -> Option<Harm> {
        let claims = state.publishers.iter().map(|publisher| publisher.claim);
        let open = claims.clone().filter(|&claim| claim != NOWHERE).map(|claim| claim + 1);
        let end = open.max().unwrap_or(0).max(state.tail);
        let is_overrun = |index: usize| {
            let subscriber = state.subscribers[index];
            let is_reading = subscriber.is_alive && subscriber.at == Joining::Joined;
            is_reading && end > subscriber.position + CAPACITY
        };
        if is_overrun(NEW) {
            return Some(Harm::PublisherOverranTheNewcomer);
        }
        if is_overrun(OLD) {
            return Some(Harm::PublisherOverranTheOldSubscriber);
        }
        let lapped = claims.filter(|&claim| claim != NOWHERE).any(|claim| end > claim + CAPACITY);
        lapped.then_some(Harm::PublisherLappedAClaim)
    }

    fn unmet(&self, state: &State) -> Vec<Harm> {
        let mut unmet = Vec::new();
        let newcomer = state.subscribers[NEW];
        if newcomer.is_alive && newcomer.at != Joining::Joined {
            unmet.push(Harm::NewcomerWaitsForEver);
        }
        if state.publishers.iter().any(|publisher| publisher.is_alive && !self.is_done(publisher)) {
            unmet.push(Harm::PublisherWaitsForEver);
        }
        if state.subscribers.iter().any(|subscriber| subscriber.has_seat && !subscriber.is_alive) {
            unmet.push(Harm::DeadEntryStays);
        }
        unmet
    }
}

/// Publishers of packets of one slot: `ring/gate.rs`, `ring/shared.rs`, `ring/exclusive.rs`.
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
            next.fate(NAMES[index], "is killed", &[], new);
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
                Some(("reads how many clones there are: {}", me.cloned))
            }
            At::GateFence => {
                let waits = self.mistake != Mistake::ScanWithoutFence && !is_drained(state.tails);
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
                let counts = self.mistake != Mistake::LimitWithoutRecords;
                if counts && start != NOWHERE && start + CAPACITY >= me.tail {
                    me.gate = me.gate.min(start);
                }
                me.at = if entry == 0 { At::ScanRecord(1) } else { At::ClonesAgain };
                Some(("scans a record: {}", start))
            }
            At::ClonesAgain => {
                if state.clones != me.cloned && self.mistake != Mistake::ScanNotRepeated {
                    next.see("a scan was made again because of a clone");
                    (me.cloned, me.gate, me.at) = (state.clones, NOWHERE, At::GateScan(0));
                    return Some(("scans again: clones are {}", state.clones));
                }
                me.at = At::LateTail;
                if self.mistake == Mistake::TailAfterTheScan {
                    return Some(("has scanned, gate {}", me.gate));
                }
                if self.mistake != Mistake::LimitWithoutTail {
                    me.gate = me.gate.min(me.tail);
                }
                self.limit(me);
                Some(("has scanned, limit {}", me.limit))
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

/// Subscribers: `ring/roster.rs`, `ring/reader.rs`.
impl Join {
    /// The end of what is committed, for whoever reads on.
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
            next.step(who, "reads on to {}", &[me.position + 1], new);
        }
    }

    fn old(&self, state: &State, next: &mut Next<State>) {
        let me = state.subscribers[OLD];
        // The clone is made by the thread of the one beside which it is placed, and a newcomer
        // that needs a marker is joined by a thread that has a packet of this one in its hand.
        let stands_still = self.is_clone || self.mistake == Mistake::MarkerPacket;
        let newcomer = state.subscribers[NEW];
        let is_busy =
            newcomer.is_alive && !matches!(newcomer.at, Joining::JoinSeat | Joining::Joined);
        if !me.is_alive || stands_still && is_busy {
            return;
        }
        self.read(OLD, "old", state, next);
        if self.old_may_leave {
            let mut new = *state;
            (new.subscribers[OLD].is_alive, new.subscribers[OLD].has_seat) = (false, false);
            new.cursors[OLD] = NOWHERE;
            if state.publishers.iter().any(|publisher| publisher.claim != NOWHERE) {
                next.see("the last subscriber left while a claim was open");
            }
            next.fate("old", "leaves", &[], new);
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
            // What a processor has stored is seen, whoever is killed.
            while !is_drained(new.cursor) {
                new.cursors[NEW] = drain(&mut new.cursor);
            }
            next.see(if me.at == Joining::Joined {
                "a subscriber was killed"
            } else {
                "a newcomer was killed as it joined"
            });
            next.fate(who, "is killed", &[], new);
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

    /// `boundary`: where a subscriber may start.
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
                (me.has_seat, me.at) = (true, Joining::ReadFirst);
                Some(("takes an entry", 0))
            }
            Joining::ReadFirst => {
                me.first = self.boundary(new);
                me.at = if self.mistake == Mistake::NoFirstCursor {
                    Joining::Fence
                } else {
                    Joining::JoinCursor
                };
                Some(("reads where it could start: {}", me.first))
            }
            Joining::JoinCursor => {
                if self.mistake == Mistake::CloneCountedFirst {
                    new.clones += 1;
                }
                store(&mut new.cursor, me.first);
                me.at = Joining::Fence;
                Some(("stores its first cursor: {}", me.first))
            }
            Joining::Fence => {
                let waits = self.mistake != Mistake::JoinWithoutFence && !is_drained(new.cursor);
                me.at = Joining::ReadPlaced;
                (!waits).then_some(("fence", 0))
            }
            Joining::ReadPlaced => {
                let again = self.boundary(new);
                me.position = if self.mistake == Mistake::NoSecondLook { me.first } else { again };
                if me.position != me.first {
                    next.see("the tail moved while a newcomer joined");
                }
                me.first = 0;
                me.at = Joining::JoinMove;
                if self.mistake == Mistake::MarkerPacket {
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
                Some(("publishes a marker and starts behind it: {}", me.position))
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
                if self.mistake != Mistake::CloneCountedFirst {
                    new.clones += 1;
                }
                me.at = Joining::Joined;
                Some(("counts the clone: {}", new.clones))
            }
            Joining::Joined => unreachable!("it has joined"),
        }
    }

    /// A buffered store is seen by everyone.
    fn buffers(&self, state: &State, next: &mut Next<State>) {
        let mut new = *state;
        if !is_drained(state.tails) {
            new.tail = drain(&mut new.tails);
            next.step("P0", "has its tail seen: {}", &[new.tail], new);
        }
        let mut new = *state;
        if !is_drained(state.cursor) {
            new.cursors[NEW] = drain(&mut new.cursor);
            next.step("newcomer", "has its cursor seen: {}", &[new.cursors[NEW]], new);
        }
    }

    fn reaper(&self, state: &State, next: &mut Next<State>) {
        let newcomer = state.subscribers[NEW];
        if newcomer.has_seat && !newcomer.is_alive {
            let mut new = *state;
            (new.cursors[NEW], new.subscribers[NEW].has_seat) = (NOWHERE, false);
            next.step("reaper", "takes the dead newcomer's cursor off", &[], new);
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
    mistake: Mistake::Nothing,
    is_exclusive: false,
    is_clone: false,
    has_old: false,
    old_may_leave: false,
    sends: 2,
    kills: 1,
};

/// One publisher, whose tail is a plain store.
const EXCLUSIVE: Join = Join { is_exclusive: true, sends: 5, ..SHARED };

/// There is a subscriber, and it may leave.
const OLD_LEAVES: Join = Join { has_old: true, old_may_leave: true, kills: 0, ..SHARED };

/// A clone is placed beside the old one, which then moves on.
const CLONE: Join = Join { is_exclusive: true, is_clone: true, has_old: true, sends: 5, ..SHARED };

#[test]
fn a_newcomer_to_a_shared_ring_is_not_overrun() {
    let sights = [
        "the tail moved while a newcomer joined",
        "a newcomer was killed as it joined",
        "a subscriber was killed",
    ];
    holds("joining, shared", &SHARED, &sights);
}

#[test]
fn a_newcomer_to_an_exclusive_ring_is_not_overrun() {
    holds("joining, exclusive", &EXCLUSIVE, &["the tail moved while a newcomer joined"]);
}

#[test]
fn a_claim_is_not_lapped_when_the_last_subscriber_leaves() {
    let sights = ["the last subscriber left while a claim was open"];
    holds("joining, the old one leaves", &OLD_LEAVES, &sights);
}

#[test]
fn a_clone_is_not_overrun_when_the_one_beside_it_moves_on() {
    holds("joining, clone", &CLONE, &["a scan was made again because of a clone"]);
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
            "joining, large, the old one leaves",
            &Join { sends: 3, kills: 1, ..OLD_LEAVES },
            &[],
        );
        holds("joining, large, exclusive", &Join { sends: 9, kills: 1, ..EXCLUSIVE }, &[]);
        holds("joining, large, clone", &Join { is_exclusive: false, sends: 3, ..CLONE }, &[]);
    }
}

#[track_caller]
fn broken_by(mistake: Mistake, scenario: Join, harm: Harm) {
    let name = std::thread::current().name().unwrap_or_default().to_owned();
    breaks(&name, &Join { mistake, kills: 0, ..scenario }, harm);
}

#[test]
fn a_scan_without_its_fence_overruns_a_newcomer() {
    broken_by(Mistake::ScanWithoutFence, EXCLUSIVE, Harm::PublisherOverranTheNewcomer);
}

#[test]
fn a_join_without_its_fence_is_overrun() {
    broken_by(Mistake::JoinWithoutFence, EXCLUSIVE, Harm::PublisherOverranTheNewcomer);
    broken_by(Mistake::JoinWithoutFence, SHARED, Harm::PublisherOverranTheNewcomer);
}

#[test]
fn a_newcomer_without_a_second_look_is_overrun() {
    broken_by(Mistake::NoSecondLook, SHARED, Harm::PublisherOverranTheNewcomer);
}

#[test]
fn an_entry_that_counts_only_when_placed_is_overrun() {
    broken_by(Mistake::NoFirstCursor, SHARED, Harm::PublisherOverranTheNewcomer);
}

#[test]
fn a_limit_without_the_tail_overruns_a_newcomer() {
    broken_by(Mistake::LimitWithoutTail, EXCLUSIVE, Harm::PublisherOverranTheNewcomer);
}

#[test]
fn a_tail_read_after_the_scan_laps_a_claim() {
    broken_by(Mistake::TailAfterTheScan, SHARED, Harm::PublisherLappedAClaim);
}

#[test]
fn a_limit_without_records_laps_a_claim() {
    broken_by(Mistake::LimitWithoutRecords, OLD_LEAVES, Harm::PublisherLappedAClaim);
}

#[test]
fn a_scan_that_is_not_repeated_overruns_a_clone() {
    broken_by(Mistake::ScanNotRepeated, CLONE, Harm::PublisherOverranTheNewcomer);
}

#[test]
fn a_clone_counted_before_its_cursor_is_there_is_overrun() {
    broken_by(Mistake::CloneCountedFirst, CLONE, Harm::PublisherOverranTheNewcomer);
}

#[test]
fn a_marker_packet_waits_for_a_packet_in_its_own_threads_hand() {
    let scenario = Join { old_may_leave: false, ..OLD_LEAVES };
    broken_by(Mistake::MarkerPacket, scenario, Harm::NewcomerWaitsForEver);
}
