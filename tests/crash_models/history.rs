//! A ring with history: publishers advance the boundary `oldest` beside claims, evictors, and a
//! newcomer that starts at the boundary.
//!
//! The actors mirror these sources:
//!
//! - publisher: `ring/gate.rs` (`make_history_room`, `scan`), `ring/claim/mod.rs` (`refresh`),
//!   `ring/overflow.rs` (in two steps; `eviction` models all of it)
//! - newcomer: `ring/membership.rs` (`join_subscriber` with history), `ring/gate.rs`
//!   (`history_start`)
//! - reaper: `ring/reap.rs` (`reap_subscriber`); a dead claim is voided in one step
//!
//! Packets have one slot; `kept` is half the ring, as in `ring/geometry.rs`.

use super::explorer::{Model, Next, breaks, holds, is_large};

const CAPACITY: u8 = 4;
const KEPT: u8 = 2;
const NOWHERE: u8 = u8::MAX;
const NAMES: [&str; 2] = ["P0", "P1"];

/// Injected faults.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fault {
    Nothing,
    /// `oldest` is stored instead of moved by compare-and-swap.
    OldestByStore,
    /// `oldest` advances over uncommitted claims.
    OldestOverOpenClaims,
    /// `oldest` is not part of the limit.
    LimitWithoutOldest,
    /// The newcomer starts at the `oldest` that it read before its cursor was stored.
    NoSecondRead,
    /// The newcomer's cursor is not pinned during the join.
    JoinUnpinned,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
enum Violation {
    PublisherOverranNewcomer,
    PublisherMovedOldestBack,
    PublisherMovedOldestOverAnOpenClaim,
    NewcomerUndidAnEviction,
    PublisherNeverFinishes,
    NewcomerNeverFinishes,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum At {
    Tail,
    Oldest,
    Walk,
    HistoryMove,
    GateScan,
    ScanRecord,
    EvictWalk,
    EvictMove,
    Claim,
    ClaimTail,
    ClearLost,
    ClaimFill,
    CommitStamp,
    CommitAfter,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Publisher {
    is_alive: bool,
    at: At,
    sent: u8,
    tail: u8,
    oldest: u8,
    walked: u8,
    gate: u8,
    limit: u8,
    has_evicted: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Joining {
    JoinSeat,
    JoinCursor,
    SecondLook,
    JoinMove,
    Start,
    Place,
    Joined,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Newcomer {
    is_alive: bool,
    at: Joining,
    position: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct State {
    tail: u8,
    oldest: u8,
    stamps: [u8; CAPACITY as usize],
    records: [u8; 2],
    cursor: u8,
    is_pinned: bool,
    publishers: [Publisher; 2],
    newcomer: Newcomer,
    kills: u8,
    violation: Option<Violation>,
}

/// A scenario. Initially the ring is full of kept packets.
#[derive(Clone, Copy)]
struct History {
    fault: Fault,
    sends: [u8; 2],
    /// History requested by the newcomer, in packets.
    history: u8,
    drops: bool,
    kills: u8,
}

impl State {
    fn violate(&mut self, violation: Violation) {
        self.violation = self.violation.or(Some(violation));
    }

    fn is_stamped(&self, position: u8) -> bool {
        self.stamps[usize::from(position % CAPACITY)] == position
    }

    /// `slot::scan_committed`.
    fn walk(&self, from: u8, to: u8) -> u8 {
        (from..to).find(|&at| !self.is_stamped(at)).unwrap_or(to.max(from))
    }

    /// Returns true if a packet at `position` would overwrite packets that the newcomer may read.
    fn overruns(&self, position: u8) -> bool {
        let me = self.newcomer;
        me.is_alive && me.at == Joining::Joined && self.cursor + CAPACITY <= position
    }
}

impl Model for History {
    type State = State;
    type Violation = Violation;

    fn start(&self) -> State {
        let publisher = Publisher {
            is_alive: true,
            at: At::Tail,
            sent: 0,
            tail: 0,
            oldest: 0,
            walked: 0,
            gate: 0,
            limit: 0,
            has_evicted: false,
        };
        State {
            tail: CAPACITY,
            oldest: 0,
            stamps: [0, 1, 2, 3],
            records: [NOWHERE; 2],
            cursor: NOWHERE,
            is_pinned: false,
            publishers: [publisher; 2],
            newcomer: Newcomer { is_alive: true, at: Joining::JoinSeat, position: 0 },
            kills: self.kills,
            violation: None,
        }
    }

    fn next(&self, state: &State, next: &mut Next<State>) {
        for entry in 0..2 {
            self.publisher(entry, state, next);
        }
        self.newcomer(state, next);
    }

    fn violation(&self, state: &State) -> Option<Violation> {
        state.violation
    }

    fn unmet(&self, state: &State) -> Vec<Violation> {
        let mut unmet = Vec::new();
        if (0..2).any(|e| state.publishers[e].is_alive && !self.is_done(e, &state.publishers[e])) {
            unmet.push(Violation::PublisherNeverFinishes);
        }
        let me = state.newcomer;
        if me.is_alive && (me.at != Joining::Joined || state.cursor != state.tail) {
            unmet.push(Violation::NewcomerNeverFinishes);
        }
        unmet
    }
}

impl History {
    fn is_done(&self, entry: usize, me: &Publisher) -> bool {
        me.at == At::Tail && me.sent == self.sends[entry]
    }

    fn publisher(&self, entry: usize, state: &State, next: &mut Next<State>) {
        let mut me = state.publishers[entry];
        if !me.is_alive {
            return self.void(entry, state, next);
        }
        if self.is_done(entry, &me) {
            return;
        }
        if state.kills > 0 {
            let mut new = *state;
            new.kills -= 1;
            new.publishers[entry].is_alive = false;
            next.cover("a publisher was killed");
            next.external(NAMES[entry], "is killed", &[], new);
        }
        let mut new = *state;
        let (text, number) = match me.at {
            At::Tail | At::Oldest | At::Walk | At::HistoryMove => {
                self.move_up(&mut new, &mut me, next)
            }
            At::GateScan | At::ScanRecord | At::EvictWalk | At::EvictMove => {
                self.gate(entry, &mut new, &mut me, next)
            }
            _ => self.commit(entry, &mut new, &mut me),
        };
        new.publishers[entry] = me;
        next.step(NAMES[entry], text, &[number], new);
    }

    /// `history::make_room`.
    fn move_up(
        &self,
        new: &mut State,
        me: &mut Publisher,
        next: &mut Next<State>,
    ) -> (&'static str, u8) {
        match me.at {
            At::Tail => {
                (me.tail, me.has_evicted) = (new.tail, false);
                me.at = if me.tail + 1 > me.limit { At::Oldest } else { At::Claim };
                ("reads the tail: {}", me.tail)
            }
            At::Oldest => {
                (me.oldest, me.walked) = (new.oldest, new.oldest);
                me.at = if me.tail < me.oldest + CAPACITY { At::GateScan } else { At::Walk };
                ("reads oldest: {}", me.oldest)
            }
            At::Walk => {
                let over = self.fault == Fault::OldestOverOpenClaims;
                let goes_on = me.walked < me.tail - KEPT && (new.is_stamped(me.walked) || over);
                if goes_on {
                    me.walked += 1;
                } else {
                    me.at = At::HistoryMove;
                }
                ("scans to {}", me.walked)
            }
            At::HistoryMove => {
                let stores = self.fault == Fault::OldestByStore;
                if stores && me.walked < new.oldest {
                    new.violate(Violation::PublisherMovedOldestBack);
                }
                if new.oldest == me.oldest || stores {
                    if me.walked > me.oldest {
                        next.cover("the oldest packet was advanced");
                    }
                    if (me.oldest..me.walked)
                        .any(|at| new.records.contains(&at) && at < new.tail && !new.is_stamped(at))
                    {
                        new.violate(Violation::PublisherMovedOldestOverAnOpenClaim);
                    }
                    new.oldest = me.walked;
                } else {
                    next.cover("two publishers advanced the oldest packet at once");
                }
                (me.oldest, me.walked, me.at) = (new.oldest, 0, At::GateScan);
                ("moves oldest: {}", new.oldest)
            }
            _ => unreachable!("not a part of moving up"),
        }
    }

    fn gate(
        &self,
        entry: usize,
        new: &mut State,
        me: &mut Publisher,
        next: &mut Next<State>,
    ) -> (&'static str, u8) {
        match me.at {
            At::GateScan => {
                let counts = self.fault != Fault::LimitWithoutOldest;
                me.gate = me.tail.min(new.cursor).min(if counts { me.oldest } else { NOWHERE });
                me.at = At::ScanRecord;
                ("scans the cursor: {}", new.cursor)
            }
            At::ScanRecord => {
                let start = new.records[1 - entry];
                if start != NOWHERE && start + CAPACITY >= me.tail {
                    me.gate = me.gate.min(start);
                }
                let is_full = me.tail + 1 > me.gate + CAPACITY;
                me.at = At::EvictWalk;
                if !is_full || !self.drops || me.has_evicted {
                    me.limit = me.limit.max(me.gate + CAPACITY);
                    me.at = if me.tail + 1 > me.limit { At::Tail } else { At::Claim };
                    (me.gate, me.oldest) = (0, 0);
                }
                ("scans the other record, limit {}", me.limit)
            }
            At::EvictWalk => {
                let target = me.tail + 1 - CAPACITY;
                (me.gate, me.walked) = (new.cursor, 0);
                me.has_evicted = true;
                me.at = At::GateScan;
                if !new.is_pinned && new.cursor < target {
                    me.walked = new.walk(new.cursor, target);
                    me.at = At::EvictMove;
                }
                ("reads the cursor to move: {}", new.cursor)
            }
            At::EvictMove => {
                if new.cursor == me.gate && !new.is_pinned {
                    next.cover("the newcomer was evicted");
                    new.cursor = me.walked;
                }
                (me.walked, me.at) = (0, At::GateScan);
                ("tries to move the cursor: {}", new.cursor)
            }
            _ => unreachable!("not a part of the gate"),
        }
    }

    fn commit(&self, entry: usize, new: &mut State, me: &mut Publisher) -> (&'static str, u8) {
        match me.at {
            At::Claim => {
                new.records[entry] = me.tail;
                me.at = At::ClaimTail;
                ("records its claim of {}", me.tail)
            }
            At::ClaimTail if new.tail == me.tail => {
                new.tail += 1;
                me.at = At::ClaimFill;
                ("claims {}", me.tail)
            }
            At::ClaimTail => {
                me.at = At::ClearLost;
                ("loses the race at {}", me.tail)
            }
            At::ClearLost => {
                (new.records[entry], me.at) = (NOWHERE, At::Tail);
                ("clears its record of {}", me.tail)
            }
            At::ClaimFill => {
                if new.overruns(me.tail) {
                    new.violate(Violation::PublisherOverranNewcomer);
                }
                me.at = At::CommitStamp;
                ("fills {}", me.tail)
            }
            At::CommitStamp => {
                if new.overruns(me.tail) {
                    new.violate(Violation::PublisherOverranNewcomer);
                }
                new.stamps[usize::from(me.tail % CAPACITY)] = me.tail;
                me.at = At::CommitAfter;
                ("stamps {}", me.tail)
            }
            At::CommitAfter => {
                new.records[entry] = NOWHERE;
                (me.sent, me.at) = (me.sent + 1, At::Tail);
                ("clears its record, {} sent", me.sent)
            }
            _ => unreachable!("not a part of committing"),
        }
    }

    /// Recovery of a dead claim, in one step.
    fn void(&self, entry: usize, state: &State, next: &mut Next<State>) {
        let (me, start) = (state.publishers[entry], state.records[entry]);
        if start == NOWHERE {
            return;
        }
        let mut new = *state;
        new.records[entry] = NOWHERE;
        if matches!(me.at, At::ClaimFill | At::CommitStamp) {
            new.stamps[usize::from(start % CAPACITY)] = start;
        }
        next.step("reaper", "voids the claim of the dead {}", &[entry as u8], new);
    }

    fn newcomer(&self, state: &State, next: &mut Next<State>) {
        let mut me = state.newcomer;
        let mut new = *state;
        if !me.is_alive {
            if state.cursor != NOWHERE {
                (new.cursor, new.is_pinned) = (NOWHERE, false);
                next.step("reaper", "removes the dead newcomer's cursor", &[], new);
            }
            return;
        }
        if state.kills > 0 && me.at != Joining::JoinSeat {
            let mut new = *state;
            (new.kills, new.newcomer.is_alive) = (state.kills - 1, false);
            next.cover("the newcomer was killed");
            next.external("newcomer", "is killed", &[], new);
        }
        let Some((text, number)) = self.join(&mut new, &mut me) else { return };
        new.newcomer = me;
        if me.at == Joining::Joined && new.tail > new.cursor + CAPACITY {
            new.violate(Violation::PublisherOverranNewcomer);
        }
        next.step("newcomer", text, &[number], new);
    }

    /// `join_subscriber` and `history::start`, then reading.
    fn join(&self, new: &mut State, me: &mut Newcomer) -> Option<(&'static str, u8)> {
        let pins = self.fault != Fault::JoinUnpinned;
        match me.at {
            Joining::JoinSeat => {
                (me.position, me.at) = (new.oldest, Joining::JoinCursor);
                Some(("reads where it could start: {}", me.position))
            }
            Joining::JoinCursor => {
                (new.cursor, new.is_pinned) = (me.position, pins);
                me.at = Joining::SecondLook;
                Some(("stores its first cursor: {}", me.position))
            }
            Joining::SecondLook => {
                if self.fault != Fault::NoSecondRead {
                    me.position = new.oldest;
                }
                me.at = Joining::JoinMove;
                Some(("reads where it may start: {}", me.position))
            }
            Joining::JoinMove => {
                if me.position < new.cursor {
                    new.violate(Violation::NewcomerUndidAnEviction);
                }
                (new.cursor, new.is_pinned) = (me.position, pins);
                me.at = Joining::Start;
                Some(("protects the packets from {}", me.position))
            }
            Joining::Start => {
                let end = new.walk(me.position, new.tail);
                me.position = me.position.max(end.saturating_sub(self.history));
                me.at = Joining::Place;
                Some(("scans to its start: {}", me.position))
            }
            Joining::Place => {
                if me.position < new.cursor {
                    new.violate(Violation::NewcomerUndidAnEviction);
                }
                (new.cursor, new.is_pinned) = (me.position, false);
                me.at = Joining::Joined;
                Some(("stores its cursor: {}", me.position))
            }
            Joining::Joined if new.cursor != me.position => {
                me.position = new.cursor;
                Some(("was evicted, continues at {}", me.position))
            }
            Joining::Joined if new.is_stamped(me.position) => {
                me.position += 1;
                new.cursor = me.position;
                Some(("reads up to {}", me.position))
            }
            Joining::Joined => None,
        }
    }
}

const BLOCK: History =
    History { fault: Fault::Nothing, sends: [3, 1], history: 1, drops: false, kills: 1 };

const DROP_OLDEST: History = History { sends: [3, 2], drops: true, kills: 0, ..BLOCK };

/// More packets than a lap.
const LAP: History = History { sends: [4, 4], kills: 0, ..DROP_OLDEST };

#[test]
fn a_newcomer_with_history_is_not_overrun() {
    let situations = [
        "the oldest packet was advanced",
        "two publishers advanced the oldest packet at once",
        "the newcomer was killed",
        "a publisher was killed",
    ];
    holds("history, block", &BLOCK, &situations);
}

#[test]
fn a_newcomer_with_history_is_not_overrun_by_evictors() {
    let scenario = History { sends: [4, 1], ..DROP_OLDEST };
    holds("history, drop oldest", &scenario, &["the newcomer was evicted"]);
}

#[test]
fn history_holds_in_larger_scenarios() {
    if is_large() {
        holds("history, large, block", &History { sends: [4, 3], kills: 2, ..BLOCK }, &[]);
        holds("history, large, drop oldest", &History { kills: 1, ..LAP }, &[]);
    }
}

#[track_caller]
fn broken_by(fault: Fault, scenario: History, violation: Violation) {
    let name = std::thread::current().name().unwrap_or_default().to_owned();
    breaks(&name, &History { fault, ..scenario }, violation);
}

#[test]
fn an_oldest_that_is_stored_goes_back() {
    broken_by(Fault::OldestByStore, LAP, Violation::PublisherMovedOldestBack);
}

#[test]
fn an_oldest_moved_over_an_open_claim_is_no_boundary() {
    let violation = Violation::PublisherMovedOldestOverAnOpenClaim;
    broken_by(Fault::OldestOverOpenClaims, LAP, violation);
}

#[test]
fn a_limit_without_the_oldest_overruns_a_newcomer() {
    broken_by(Fault::LimitWithoutOldest, DROP_OLDEST, Violation::PublisherOverranNewcomer);
}

#[test]
fn a_newcomer_without_a_second_read_of_oldest_is_overrun() {
    broken_by(Fault::NoSecondRead, LAP, Violation::PublisherOverranNewcomer);
}

#[test]
fn a_newcomer_that_is_not_pinned_undoes_an_eviction() {
    broken_by(Fault::JoinUnpinned, LAP, Violation::NewcomerUndidAnEviction);
}
