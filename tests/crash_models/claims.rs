//! Shared claims, their records, and recovery. Publishers claim, fill and commit; a reader reads; a
//! recoverer recovers. Each may be killed before each of its steps.
//!
//! The actors mirror these sources:
//!
//! - publisher: `ring/claim/shared.rs` (`claim_shared`, `claim_burst`, `try_claim`, `open`,
//!   `close_if_complete`, `abandon_shared`), `ring/claim/mod.rs` (`refresh`, `commit`),
//!   `ring/claim/batch.rs` (`commit_batch`; a line past the caches: its stamp may come first),
//!   `ring/gate.rs` (`scan`), `channel/burst.rs` (`next_burst`, `end_burst`)
//! - reader: `ring/reader/mod.rs` in a `Block` ring (`next`, `release`), `ring/membership.rs`
//!   (`release`)
//! - recoverer: `ring/recover.rs` (`recover`, `resolve`, `committed`, `bound`),
//!   `ring/membership.rs` (`reap_publisher`, `reap_subscriber`)
//! - successor: `ring/membership.rs` (`join_publisher`), under the control lock like the recoverer
//!
//! Any blocked process recovers, so the model has one anonymous recoverer. When it is killed, the
//! kernel releases the control lock, and the next recoverer starts again.
//!
//! Not modelled: joining subscribers (`joining`), cursors moved by other processes (`eviction`).

use super::explorer::{Model, Next, breaks, holds, is_large};

const CAPACITY: u8 = 4;
/// Number of publisher entries; a scenario uses two or three.
const ENTRIES: usize = 3;
/// Upper bound of the positions of all scenarios.
const MAX_POSITION: usize = 14;
const NOWHERE: u8 = u8::MAX;
/// The first word of a slot inside a packet: the salt keeps it from being a stamp.
const PAYLOAD: u8 = 254;
/// In a plan: the burst ends here, and slots of its claim that are left become void.
const REST: u8 = 0x80;
/// In a plan: the first packet of a batch whose packets, of one slot each, become visible together.
const TOGETHER: u8 = 0x40;
const NAMES: [&str; ENTRIES] = ["P0", "P1", "P2"];

/// Injected faults.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fault {
    Nothing,
    /// The record contains the start of a claim but not its length.
    RecordOfStartOnly,
    /// The tail is moved first, unconditionally; the record is written afterwards.
    FetchAdd,
    /// A failed compare-and-swap does not clear the record.
    LostRaceKeepsRecord,
    /// The record is cleared after the first of several stamps.
    RecordClearedAfterFirstStamp,
    /// The record of a burst is cleared before its rest is void.
    RecordClearedBeforeRest,
    /// The rest of a burst is stamped before its header is written.
    RestStampedBeforeHeader,
    /// A publisher goes on without making the rest of its burst void.
    RestLeft,
    /// The recoverer relies on the stamp that it saw before it read the records.
    StampBeforeRecords,
    /// A void packet has the length in the dead record, even over other claims.
    RecordedLengthOnly,
    /// Only records of living publishers bound a void packet.
    BoundByLivingOnly,
    /// A successor clears the record of the entry that it takes.
    ReuseClearsTheRecord,
    /// A void packet may cross the end of the ring's memory.
    VoidAcrossWrap,
    /// The tail is not read again before the void packet is written.
    TailNotReadAgain,
    /// A stamped packet is skipped without reading the tail again.
    NoTailAfterStamp,
    /// A claim covers a position only if it starts there.
    CoversStartOnly,
    /// A record is cleared before its claim is voided.
    RecordClearedFirst,
    /// A void packet is stamped before its header is written.
    VoidStampedBeforeHeader,
    /// Publishers do not include records in their limit.
    LimitWithoutRecords,
    /// The end of a batch is recorded before the tail is moved.
    BatchRecordedBeforeClaim,
    /// The end of a batch is recorded behind the stamps of all but its first packet.
    BatchRecordedLate,
    /// The recoverer does not look for the end of a batch, which is filled before its stamps.
    BatchIgnored,
    /// The recoverer looks for the end of a batch in the record that it resolves, and in no other.
    BatchOfOwnRecordOnly,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Violation {
    /// A publisher wrote to a slot that a later claim had taken.
    PublisherWroteIntoLaterClaim,
    /// A publisher wrote to a slot that the reader had not released.
    PublisherOverranReader,
    /// The recoverer wrote to a slot that a later claim had taken.
    RecovererWroteIntoLaterClaim,
    /// The recoverer wrote to a slot that the reader had not released.
    RecovererOverranReader,
    /// The recoverer voided a packet that its publisher had committed.
    RecovererVoidedCommittedPacket,
    /// The recoverer voided what a living publisher was filling.
    RecovererVoidedLivingClaim,
    /// The recoverer voided unclaimed slots.
    RecovererVoidedUnclaimedSlots,
    /// The reader found an invalid header.
    ReaderFoundCorruptHeader,
    /// The reader received bytes that do not belong to the packet.
    ReaderFoundTornPacket,
    /// The reader skipped a committed packet.
    ReaderSkippedCommittedPacket,
    /// The reader received a packet that was never committed.
    ReaderFoundUncommittedPacket,
    /// A publisher never finishes.
    PublisherNeverFinishes,
    /// The reader never reaches the tail.
    ReaderNeverFinishes,
    /// The entry of a dead publisher is never freed.
    DeadEntryStays,
}

/// Actual state of a position, known to the model only.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Truth {
    Unclaimed,
    /// Claimed by the living publisher of this entry.
    Open(u8),
    /// Claimed by a publisher that died.
    Orphaned,
    /// A packet begins here.
    Committed,
    /// Inside a committed packet.
    CommittedInside,
    Void,
    VoidInside,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Slot {
    stamp: u8,
    span: u8,
    is_void: bool,
    /// The position for which the bytes were written.
    payload: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Record {
    position: u8,
    len: u8,
    batch_end: u8,
}

/// Next step of a publisher.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum At {
    Tail,
    GateScan,
    ScanRecord(u8),
    ClaimLen,
    ClaimPosition,
    ClaimTail,
    ClearLost,
    PaddingHeader,
    CommitPadding,
    ClaimFill,
    Header,
    CommitStamp,
    CommitAfter,
    BurstVoid,
    RestStamp,
    BatchRecord,
    /// Writes the stamp of the packet at this index of the batch, past the caches: before the rest.
    BatchStamp(u8),
    /// Writes the rest of it.
    BatchFill(u8),
    /// `FetchAdd` only: the record is written after the tail.
    LateRecord,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Publisher {
    is_alive: bool,
    /// Its entry is not free.
    holds_entry: bool,
    at: At,
    /// The batch of its plan, and the packet in it, that is not committed yet.
    batch: u8,
    packet: u8,
    /// The tail that it read, and the gate so far.
    tail: u8,
    gate: u8,
    limit: u8,
    /// Next position of the open claim, its end, and the filled slots of the packet there.
    position: u8,
    end: u8,
    filled: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum ReaderAt {
    ReceiveLook,
    Receive,
    Release,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Reader {
    is_alive: bool,
    holds_entry: bool,
    at: ReaderAt,
    cursor: u8,
    held: u8,
}

/// Next step of the recoverer.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Recovery {
    /// The control lock is free.
    Idle,
    /// Examines the next entry.
    Entry,
    RecoverTail,
    FirstLook,
    /// Found a stamp: reads the header, then the tail.
    Stamped,
    StampedTail,
    RecoverScan(u8),
    ScanLen(u8),
    ScanLives(u8),
    RecoverLook,
    SecondTail,
    RecoverHeader,
    RecoverStamp,
    RecoverClear,
    LeaveSeat,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Recoverer {
    at: Recovery,
    entry: u8,
    x: u8,
    end: u8,
    tail: u8,
    bound: u8,
    /// The record of another publisher, and the span of a header.
    start: u8,
    len: u8,
}

const IDLE: Recoverer =
    Recoverer { at: Recovery::Idle, entry: 0, x: 0, end: 0, tail: 0, bound: 0, start: 0, len: 0 };

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct State {
    tail: u8,
    slots: [Slot; CAPACITY as usize],
    records: [Record; ENTRIES],
    publishers: [Publisher; ENTRIES],
    reader: Reader,
    recoverer: Recoverer,
    truth: [Truth; MAX_POSITION],
    kills: u8,
    reuses: u8,
    violation: Option<u8>,
}

/// A scenario.
#[derive(Clone, Copy)]
struct Claims {
    fault: Fault,
    /// For each entry the spans of the batches or bursts that its publisher, and then its
    /// successor, sends. A burst ends with [`REST`] and the slots that it leaves.
    plans: [&'static [&'static [u8]]; ENTRIES],
    /// Initial position of the ring.
    from: u8,
    kills: u8,
    reuses: u8,
    reader_may_leave: bool,
    /// Length in the record of entry 0, whose publisher died just before moving the tail; 0 if
    /// there is none.
    dead_record_len: u8,
}

const VIOLATIONS: [Violation; 11] = [
    Violation::PublisherWroteIntoLaterClaim,
    Violation::PublisherOverranReader,
    Violation::RecovererWroteIntoLaterClaim,
    Violation::RecovererOverranReader,
    Violation::RecovererVoidedCommittedPacket,
    Violation::RecovererVoidedLivingClaim,
    Violation::RecovererVoidedUnclaimedSlots,
    Violation::ReaderFoundCorruptHeader,
    Violation::ReaderFoundTornPacket,
    Violation::ReaderSkippedCommittedPacket,
    Violation::ReaderFoundUncommittedPacket,
];

fn index(position: u8) -> usize {
    usize::from(position % CAPACITY)
}

/// `Geometry::piece_end`.
fn piece_end(position: u8) -> u8 {
    (position | (CAPACITY - 1)) + 1
}

/// `Geometry::padding`.
fn padding(position: u8, span: u8) -> u8 {
    let left = piece_end(position) - position;
    if span <= left { 0 } else { left }
}

impl State {
    fn violate(&mut self, violation: Violation) {
        self.violation =
            VIOLATIONS.iter().position(|&known| known == violation).map(|index| index as u8);
    }

    fn truth(&self, position: u8) -> Truth {
        self.truth[usize::from(position)]
    }

    fn set_truth(&mut self, position: u8, truth: Truth) {
        self.truth[usize::from(position)] = truth;
    }

    fn is_stamped(&self, position: u8) -> bool {
        self.slots[index(position)].stamp == position
    }

    /// A process writes to the slot of `position`.
    fn write(&mut self, position: u8, lapped: Violation, overran: Violation) -> &mut Slot {
        if usize::from(position + CAPACITY) < MAX_POSITION
            && self.truth(position + CAPACITY) != Truth::Unclaimed
        {
            self.violate(lapped);
        }
        if self.reader.is_alive && self.reader.cursor + CAPACITY <= position {
            self.violate(overran);
        }
        &mut self.slots[index(position)]
    }

    fn publisher_writes(&mut self, position: u8) -> &mut Slot {
        let lapped = Violation::PublisherWroteIntoLaterClaim;
        self.write(position, lapped, Violation::PublisherOverranReader)
    }

    fn recoverer_writes(&mut self, position: u8) -> &mut Slot {
        let lapped = Violation::RecovererWroteIntoLaterClaim;
        self.write(position, lapped, Violation::RecovererOverranReader)
    }
}

impl Model for Claims {
    type State = State;
    type Violation = Violation;

    fn start(&self) -> State {
        let mut publishers = self.plans.map(|plan| Publisher {
            is_alive: !plan.is_empty(),
            holds_entry: !plan.is_empty(),
            ..initial_publisher(0, 0)
        });
        let slot = Slot { stamp: NOWHERE, span: 0, is_void: false, payload: NOWHERE };
        let at = ReaderAt::ReceiveLook;
        let mut records = [Record { position: NOWHERE, len: 0, batch_end: 0 }; ENTRIES];
        if self.dead_record_len > 0 {
            publishers[0].holds_entry = true;
            records[0] = Record { position: self.from, len: self.dead_record_len, batch_end: 0 };
        }
        State {
            tail: self.from,
            slots: [slot; CAPACITY as usize],
            records,
            publishers,
            reader: Reader { is_alive: true, holds_entry: true, at, cursor: self.from, held: 0 },
            recoverer: IDLE,
            truth: [Truth::Unclaimed; MAX_POSITION],
            kills: self.kills,
            reuses: self.reuses,
            violation: None,
        }
    }

    fn next(&self, state: &State, next: &mut Next<State>) {
        for entry in 0..ENTRIES {
            if state.publishers[entry].is_alive {
                self.publisher(entry, state, next);
            } else {
                self.successor(entry, state, next);
            }
        }
        self.reader(state, next);
        self.recoverer(state, next);
    }

    fn violation(&self, state: &State) -> Option<Violation> {
        state.violation.map(|index| VIOLATIONS[usize::from(index)])
    }

    fn unmet(&self, state: &State) -> Vec<Violation> {
        let mut unmet = Vec::new();
        let is_waiting = |entry: usize| {
            state.publishers[entry].is_alive && !self.is_done(entry, &state.publishers[entry])
        };
        if state.reader.is_alive && state.reader.cursor != state.tail {
            unmet.push(Violation::ReaderNeverFinishes);
        }
        if (0..ENTRIES).any(is_waiting) {
            unmet.push(Violation::PublisherNeverFinishes);
        }
        if state.publishers.iter().any(|publisher| publisher.holds_entry && !publisher.is_alive) {
            unmet.push(Violation::DeadEntryStays);
        }
        unmet
    }
}

fn initial_publisher(batch: u8, packet: u8) -> Publisher {
    Publisher {
        is_alive: true,
        holds_entry: true,
        at: At::Tail,
        batch,
        packet,
        tail: 0,
        gate: 0,
        limit: 0,
        position: 0,
        end: 0,
        filled: 0,
    }
}

/// Publishers: `ring/claim/shared.rs`, `ring/claim/mod.rs`, `ring/gate.rs`.
impl Claims {
    fn is_done(&self, entry: usize, publisher: &Publisher) -> bool {
        publisher.at == At::Tail && usize::from(publisher.batch) == self.plans[entry].len()
    }

    /// Spans of the packets to claim next.
    fn spans(&self, entry: usize, publisher: &Publisher) -> &'static [u8] {
        let batch =
            self.plans[entry].get(usize::from(publisher.batch)).copied().unwrap_or_default();
        &batch[usize::from(publisher.packet)..]
    }

    fn publisher(&self, entry: usize, state: &State, next: &mut Next<State>) {
        if self.is_done(entry, &state.publishers[entry]) {
            return;
        }
        self.kill_publisher(entry, state, next);
        let who = NAMES[entry];
        let mut new = *state;
        let mut me = state.publishers[entry];
        let (text, numbers) = match me.at {
            At::Tail | At::GateScan | At::ScanRecord(_) => self.look(entry, state, &mut me),
            At::ClaimLen | At::ClaimPosition | At::ClaimTail | At::ClearLost | At::LateRecord => {
                self.take(entry, &mut new, &mut me, next)
            }
            _ => self.commit(entry, &mut new, &mut me),
        };
        new.publishers[entry] = me;
        next.step(who, text, &numbers, new);
    }

    fn kill_publisher(&self, entry: usize, state: &State, next: &mut Next<State>) {
        if state.kills == 0 {
            return;
        }
        let mut new = *state;
        new.kills -= 1;
        let old = state.publishers[entry];
        let mut dead = Publisher { is_alive: false, ..initial_publisher(old.batch, old.packet) };
        self.skip_rest(entry, &mut dead);
        new.publishers[entry] = dead;
        for truth in &mut new.truth {
            if *truth == Truth::Open(entry as u8) {
                *truth = Truth::Orphaned;
            }
        }
        let text = match old.at {
            At::PaddingHeader | At::CommitPadding => {
                next.cover("killed with padding unstamped");
                "is killed with its padding unstamped"
            }
            At::ClaimFill if self.is_burst(entry, &old) => {
                let is_later = state.records[entry].position < old.position;
                next.cover(match (old.packet, old.filled) {
                    (0, 0) => "killed before the first packet of a burst",
                    (_, 0) if is_later => "killed between two packets of a burst",
                    (_, 0) => "killed at the start of the next burst",
                    _ => "killed in the middle of filling in a burst",
                });
                "is killed in its burst"
            }
            At::ClaimFill => "is killed while it fills its claim",
            At::BurstVoid => {
                next.cover("killed before the rest of a burst was void");
                "is killed before it voids the rest of its burst"
            }
            At::RestStamp => {
                next.cover("killed with the rest of a burst unstamped");
                "is killed before it stamps the rest of its burst"
            }
            At::CommitStamp if self.is_together(entry, &old) => {
                next.cover("killed before the first stamp of a batch");
                "is killed before it stamps the first packet of its batch"
            }
            At::BatchFill(_) => {
                next.cover("killed with a batch stamped in part");
                "is killed in its batch"
            }
            At::Header | At::CommitStamp => "is killed before it stamps",
            At::CommitAfter => "is killed before it clears its record",
            At::ClaimTail => "is killed before it moves the tail",
            _ => "is killed",
        };
        next.external(NAMES[entry], text, &[], new);
    }

    /// The first part of `claim_shared`: reads the tail, and recomputes the limit if necessary.
    fn look(&self, entry: usize, state: &State, me: &mut Publisher) -> (&'static str, [u8; 2]) {
        match me.at {
            At::Tail => {
                me.tail = state.tail;
                me.at = if self.needed(entry, me) > me.limit { At::GateScan } else { At::ClaimLen };
                if self.fault == Fault::FetchAdd && me.at == At::ClaimLen {
                    me.at = At::ClaimTail;
                }
                ("reads the tail: {}", [me.tail, 0])
            }
            At::GateScan => {
                me.gate = me.tail.min(if state.reader.holds_entry {
                    state.reader.cursor
                } else {
                    NOWHERE
                });
                me.at = At::ScanRecord(0);
                ("scans the cursors: {}", [me.gate, 0])
            }
            At::ScanRecord(index) => {
                let start = state.records[usize::from(index)].position;
                let counts = self.fault != Fault::LimitWithoutRecords;
                if counts && start != NOWHERE && start + CAPACITY >= me.tail {
                    me.gate = me.gate.min(start);
                }
                me.at = At::ScanRecord(index + 1);
                if usize::from(index) + 1 == ENTRIES {
                    me.limit = me.limit.max(me.gate + CAPACITY);
                    let is_full = self.needed(entry, me) > me.limit;
                    me.at = if is_full { At::Tail } else { At::ClaimLen };
                    if self.fault == Fault::FetchAdd && !is_full {
                        me.at = At::ClaimTail;
                    }
                }
                ("scans record {}, gate {}", [index, me.gate])
            }
            _ => unreachable!("not a read step"),
        }
    }

    /// End of the smallest sufficient claim.
    fn needed(&self, entry: usize, me: &Publisher) -> u8 {
        let first = self.first_span(entry, me);
        me.tail + padding(me.tail, first) + first
    }

    /// `Geometry::fit`: number of slots of the claim from the tail that was read.
    fn len(&self, entry: usize, me: &Publisher) -> u8 {
        let spans = self.spans(entry, me);
        let start = me.tail + padding(me.tail, spans[0] & !TOGETHER);
        let room = (piece_end(start) - start).min(me.limit - start).min(CAPACITY / 2);
        let mut sum = 0;
        for span in spans {
            let span = span & !REST & !TOGETHER;
            if sum + span > room {
                break;
            }
            sum += span;
        }
        start - me.tail + sum
    }

    /// Returns true if the claim is a burst, whose rest may become void.
    fn is_burst(&self, entry: usize, me: &Publisher) -> bool {
        self.spans(entry, me).last().is_some_and(|span| span & REST != 0)
    }

    /// Span of the next packet.
    fn first_span(&self, entry: usize, me: &Publisher) -> u8 {
        self.spans(entry, me)[0] & !TOGETHER
    }

    /// Returns true if the packets of the claim become visible together.
    fn is_together(&self, entry: usize, me: &Publisher) -> bool {
        self.spans(entry, me).first().is_some_and(|span| span & TOGETHER != 0)
    }

    /// The first step of filling a claim.
    fn fill_step(&self, entry: usize, me: &Publisher) -> At {
        match self.fault {
            _ if !self.is_together(entry, me) => At::ClaimFill,
            Fault::BatchRecordedBeforeClaim => At::BatchStamp(1),
            Fault::BatchRecordedLate if me.end - me.position > 1 => At::BatchStamp(1),
            _ => At::BatchRecord,
        }
    }

    /// Without slots left, the end of a burst is no step.
    fn skip_rest(&self, entry: usize, me: &mut Publisher) {
        if self.spans(entry, me).first().is_some_and(|span| span & REST != 0) {
            (me.batch, me.packet) = (me.batch + 1, 0);
        }
    }

    /// `take`, and the first part of `open`.
    fn take(
        &self,
        entry: usize,
        new: &mut State,
        me: &mut Publisher,
        next: &mut Next<State>,
    ) -> (&'static str, [u8; 2]) {
        let len = self.len(entry, me);
        match me.at {
            At::ClaimLen => {
                new.records[entry].len = len;
                me.at = At::ClaimPosition;
                ("records the length {}", [len, 0])
            }
            At::ClaimPosition => {
                new.records[entry].position = me.tail;
                if self.fault == Fault::BatchRecordedBeforeClaim && self.is_together(entry, me) {
                    new.records[entry].batch_end = me.tail + len;
                }
                me.at = At::ClaimTail;
                ("records the position {}", [me.tail, 0])
            }
            At::ClaimTail if self.fault == Fault::FetchAdd => {
                me.tail = new.tail;
                self.claim(entry, new, me, len);
                me.at = At::LateRecord;
                ("adds to the tail: [{}, {})", [me.tail, me.end])
            }
            At::LateRecord => {
                let len = me.end - me.position;
                new.records[entry] = Record { position: me.position, len, batch_end: 0 };
                me.at = At::ClaimFill;
                ("records its claim", [0, 0])
            }
            At::ClaimTail if new.tail != me.tail => {
                next.cover("lost the race for the tail");
                me.at = At::ClearLost;
                if self.fault == Fault::LostRaceKeepsRecord {
                    me.at = At::Tail;
                }
                ("loses the race at {}", [me.tail, 0])
            }
            At::ClaimTail => {
                self.claim(entry, new, me, len);
                let padding = padding(me.tail, self.first_span(entry, me));
                me.at = if padding > 0 { At::PaddingHeader } else { self.fill_step(entry, me) };
                ("claims [{}, {})", [me.tail, me.end])
            }
            At::ClearLost => {
                new.records[entry].position = NOWHERE;
                me.at = At::Tail;
                ("clears its record", [0, 0])
            }
            _ => unreachable!("not a part of taking"),
        }
    }

    fn claim(&self, entry: usize, new: &mut State, me: &mut Publisher, len: u8) {
        (me.position, me.end, me.filled) = (me.tail, me.tail + len, 0);
        new.tail = me.end;
        for position in me.tail..me.end {
            new.set_truth(position, Truth::Open(entry as u8));
        }
    }

    /// `open` from the padding on, filling, and `Writer::commit`.
    fn commit(&self, entry: usize, new: &mut State, me: &mut Publisher) -> (&'static str, [u8; 2]) {
        let at = me.position;
        let spans = self.spans(entry, me);
        let first = spans.first().map_or(0, |span| span & !TOGETHER);
        match me.at {
            At::PaddingHeader => {
                let slot = new.publisher_writes(at);
                (slot.span, slot.is_void) = (padding(at, first), true);
                me.at = At::CommitPadding;
                ("describes padding at {}", [at, 0])
            }
            At::CommitPadding => {
                new.publisher_writes(at).stamp = at;
                new.set_truth(at, Truth::Void);
                for inside in at + 1..piece_end(at) {
                    new.set_truth(inside, Truth::VoidInside);
                }
                me.position = piece_end(at);
                me.at = self.fill_step(entry, me);
                ("stamps padding at {}", [at, 0])
            }
            At::ClaimFill => {
                let filled = at + me.filled;
                let slot = new.publisher_writes(filled);
                slot.payload = filled;
                if me.filled > 0 {
                    slot.stamp = PAYLOAD;
                }
                me.filled += 1;
                if me.filled == first {
                    (me.filled, me.at) = (0, At::Header);
                }
                ("fills {}", [filled, 0])
            }
            At::Header => {
                let slot = new.publisher_writes(at);
                (slot.span, slot.is_void) = (first, false);
                me.at = At::CommitStamp;
                ("describes {}", [at, 0])
            }
            At::CommitStamp if self.is_together(entry, me) => {
                self.stamp_first(entry, new, me);
                ("stamps the first packet of its batch: {}", [at, 0])
            }
            At::CommitStamp => {
                self.stamp(entry, new, me, spans);
                ("stamps {}", [at, 0])
            }
            At::BatchRecord => {
                new.records[entry].batch_end = me.end;
                me.at = self.batch_step(me, 1);
                if self.fault == Fault::BatchRecordedLate {
                    me.at = At::ClaimFill;
                }
                ("records the end of its batch: {}", [me.end, 0])
            }
            At::BatchStamp(index) => {
                self.write_of_batch(new, at + index, self.fault != Fault::BatchIgnored);
                me.at = At::BatchFill(index);
                ("writes a part of {}", [at + index, 0])
            }
            At::BatchFill(index) => {
                self.write_of_batch(new, at + index, self.fault == Fault::BatchIgnored);
                me.at = self.batch_step(me, index + 1);
                ("writes the rest of {}", [at + index, 0])
            }
            At::BurstVoid => {
                if self.fault == Fault::RecordClearedBeforeRest {
                    new.records[entry].position = NOWHERE;
                }
                if self.fault == Fault::RestStampedBeforeHeader {
                    self.stamp_rest(new, me);
                    me.at = At::RestStamp;
                    return ("stamps the rest at {}", [at, 0]);
                }
                let slot = new.publisher_writes(at);
                (slot.span, slot.is_void) = (me.end - at, true);
                me.at = At::RestStamp;
                ("describes the rest at {}", [at, 0])
            }
            At::RestStamp => {
                if self.fault == Fault::RestStampedBeforeHeader {
                    let slot = new.publisher_writes(at);
                    (slot.span, slot.is_void) = (me.end - at, true);
                } else {
                    self.stamp_rest(new, me);
                }
                me.position = me.end;
                self.skip_rest(entry, me);
                me.at = At::CommitAfter;
                ("stamps the rest at {}", [at, 0])
            }
            At::CommitAfter => {
                new.records[entry].position = NOWHERE;
                me.at = At::Tail;
                if me.position < me.end {
                    me.at = At::ClaimFill;
                }
                ("clears its record", [0, 0])
            }
            _ => unreachable!("not a part of committing"),
        }
    }

    /// Stamps, or fills and describes, a packet behind the first one of a batch.
    fn write_of_batch(&self, new: &mut State, position: u8, is_stamp: bool) {
        let slot = new.publisher_writes(position);
        if is_stamp {
            slot.stamp = position;
        } else {
            (slot.span, slot.is_void, slot.payload) = (1, false, position);
        }
    }

    fn batch_step(&self, me: &Publisher, index: u8) -> At {
        if me.position + index < me.end {
            At::BatchStamp(index)
        } else if self.fault == Fault::BatchRecordedLate && index > 1 {
            At::BatchRecord
        } else {
            At::ClaimFill
        }
    }

    /// Commits all packets of a batch.
    fn stamp_first(&self, entry: usize, new: &mut State, me: &mut Publisher) {
        new.publisher_writes(me.position).stamp = me.position;
        for position in me.position..me.end {
            new.set_truth(position, Truth::Committed);
        }
        me.packet += me.end - me.position;
        if self.spans(entry, me).is_empty() {
            (me.batch, me.packet) = (me.batch + 1, 0);
        }
        me.position = me.end;
        me.at = At::CommitAfter;
    }

    fn stamp(&self, entry: usize, new: &mut State, me: &mut Publisher, spans: &[u8]) {
        let (at, span) = (me.position, spans[0]);
        new.publisher_writes(at).stamp = at;
        new.set_truth(at, Truth::Committed);
        for inside in at + 1..at + span {
            new.set_truth(inside, Truth::CommittedInside);
        }
        me.position += span;
        me.packet += 1;
        if spans.len() == 1 {
            (me.batch, me.packet) = (me.batch + 1, 0);
        }
        let clears = me.position == me.end || self.fault == Fault::RecordClearedAfterFirstStamp;
        let is_rest = spans.get(1).is_some_and(|span| span & REST != 0);
        me.at = match (clears, is_rest) {
            (true, _) => At::CommitAfter,
            (false, true) if self.fault == Fault::RestLeft => {
                self.skip_rest(entry, me);
                At::Tail
            }
            (false, true) => At::BurstVoid,
            (false, false) => At::ClaimFill,
        };
        if clears {
            self.skip_rest(entry, me);
        }
    }

    /// `Writer::abandon_shared`, up to the record.
    fn stamp_rest(&self, new: &mut State, me: &Publisher) {
        new.publisher_writes(me.position).stamp = me.position;
        for position in me.position..me.end {
            let is_first = position == me.position;
            new.set_truth(position, if is_first { Truth::Void } else { Truth::VoidInside });
        }
    }
}

/// The successor: `ring/membership.rs`, `join_publisher`; before it, `channel/join.rs` reaps.
impl Claims {
    fn successor(&self, entry: usize, state: &State, next: &mut Next<State>) {
        let dead = state.publishers[entry];
        let has_work = usize::from(dead.batch) < self.plans[entry].len();
        let clears = self.fault == Fault::ReuseClearsTheRecord;
        let is_vacant = !dead.holds_entry || clears;
        let has_lock = state.recoverer.at == Recovery::Idle;
        if state.reuses == 0 || !has_work || !is_vacant || !has_lock {
            return;
        }
        let mut new = *state;
        new.reuses -= 1;
        new.publishers[entry] = initial_publisher(dead.batch, dead.packet);
        if clears {
            new.records[entry].position = NOWHERE;
        }
        next.cover("an entry was reused");
        next.external(NAMES[entry], "gets a successor in its entry", &[], new);
    }
}

/// The reader: `ring/reader/mod.rs`, a `Block` ring.
impl Claims {
    fn reader(&self, state: &State, next: &mut Next<State>) {
        let mut new = *state;
        let me = state.reader;
        if !me.is_alive {
            return;
        }
        self.reader_ends(state, next);
        match me.at {
            ReaderAt::ReceiveLook => {
                if state.is_stamped(me.cursor) {
                    let taken = self.take_packet(&mut new);
                    next.step("reader", taken, &[me.cursor, new.reader.held], new);
                }
            }
            ReaderAt::Receive => {
                for position in me.cursor..me.cursor + me.held {
                    if state.slots[index(position)].payload != position {
                        new.violate(Violation::ReaderFoundTornPacket);
                    }
                }
                new.reader.at = ReaderAt::Release;
                next.step("reader", "reads the packet", &[], new);
            }
            ReaderAt::Release => {
                new.reader.cursor += me.held;
                (new.reader.held, new.reader.at) = (0, ReaderAt::ReceiveLook);
                next.step("reader", "releases: its cursor is {}", &[new.reader.cursor], new);
            }
        }
    }

    fn reader_ends(&self, state: &State, next: &mut Next<State>) {
        let gone = Reader { is_alive: false, at: ReaderAt::ReceiveLook, held: 0, ..state.reader };
        if self.reader_may_leave && state.reader.held == 0 {
            let mut new = *state;
            new.reader = Reader { holds_entry: false, cursor: 0, ..gone };
            next.external("reader", "leaves", &[], new);
        }
        if self.reader_may_leave && state.kills > 0 {
            let mut new = *state;
            new.kills -= 1;
            new.reader = gone;
            next.cover("the reader was killed");
            next.external("reader", "is killed", &[], new);
        }
    }

    /// `slot::header` and `Reader::take`; compares the stamped packet with the actual state.
    fn take_packet(&self, new: &mut State) -> &'static str {
        let at = new.reader.cursor;
        let slot = new.slots[index(at)];
        if slot.span == 0 || slot.span > piece_end(at) - at {
            new.violate(Violation::ReaderFoundCorruptHeader);
            return "finds an invalid header at {}";
        }
        new.reader.held = slot.span;
        if !slot.is_void && new.truth(at) != Truth::Committed {
            new.violate(Violation::ReaderFoundUncommittedPacket);
        }
        let inside = at + 1..at + slot.span;
        let expected = if slot.is_void { Truth::VoidInside } else { Truth::CommittedInside };
        if inside.clone().any(|position| {
            matches!(new.truth(position), Truth::Committed | Truth::CommittedInside)
        }) && slot.is_void
        {
            new.violate(Violation::ReaderSkippedCommittedPacket);
        } else if inside.into_iter().any(|position| new.truth(position) != expected) {
            new.violate(Violation::ReaderFoundTornPacket);
        }
        if slot.is_void {
            new.reader.at = ReaderAt::Release;
            return "skips the void packet at {} of {}";
        }
        new.reader.at = ReaderAt::Receive;
        "takes the packet at {} of {}"
    }
}

/// The recoverer: `ring/recover.rs`, and the functions of `ring/reap.rs`.
impl Claims {
    fn recoverer(&self, state: &State, next: &mut Next<State>) {
        let mut new = *state;
        let me = state.recoverer;
        if me.at != Recovery::Idle && state.kills > 0 {
            let mut new = *state;
            new.kills -= 1;
            new.recoverer = IDLE;
            next.cover("the recoverer was killed");
            if matches!(me.at, Recovery::RecoverStamp) {
                next.cover("the recoverer was killed between header and stamp");
            }
            next.external("recoverer", "is killed", &[], new);
        }
        let (text, numbers) = match me.at {
            Recovery::Idle => {
                let is_dead = |p: &Publisher| p.holds_entry && !p.is_alive;
                let reader_is_dead = state.reader.holds_entry && !state.reader.is_alive;
                if !reader_is_dead && !state.publishers.iter().any(is_dead) {
                    return;
                }
                new.recoverer.at = Recovery::Entry;
                ("takes the control lock", [0, 0])
            }
            Recovery::Entry => self.next_entry(&mut new),
            Recovery::RecoverTail
            | Recovery::FirstLook
            | Recovery::Stamped
            | Recovery::StampedTail => self.look_at(&mut new, next),
            Recovery::RecoverScan(_) | Recovery::ScanLen(_) | Recovery::ScanLives(_) => {
                self.scan(&mut new, next)
            }
            _ => self.void(&mut new, next),
        };
        next.step("recoverer", text, &numbers, new);
    }

    /// `reap_publisher`, and `reap_subscriber` after the last entry.
    fn next_entry(&self, new: &mut State) -> (&'static str, [u8; 2]) {
        let entry = new.recoverer.entry;
        if usize::from(entry) == ENTRIES {
            if new.reader.holds_entry && !new.reader.is_alive {
                (new.reader.holds_entry, new.reader.cursor) = (false, 0);
                return ("frees the dead reader's entry", [0, 0]);
            }
            new.recoverer = IDLE;
            return ("releases the control lock", [0, 0]);
        }
        let publisher = new.publishers[usize::from(entry)];
        let record = new.records[usize::from(entry)];
        let me = &mut new.recoverer;
        if !publisher.holds_entry || publisher.is_alive {
            me.entry += 1;
            return ("finds entry {} free or alive", [entry, 0]);
        }
        if record.position == NOWHERE {
            me.at = Recovery::LeaveSeat;
            return ("finds entry {} dead, its record clear", [entry, 0]);
        }
        me.x = record.position;
        me.end = record.position + record.len;
        if self.fault == Fault::RecordOfStartOnly {
            me.end = record.position + 1;
        }
        me.at = Recovery::RecoverTail;
        if self.fault == Fault::RecordClearedFirst {
            new.records[usize::from(entry)].position = NOWHERE;
        }
        ("finds entry {} dead, its record at {}", [entry, record.position])
    }

    /// Reads the tail, then the stamp with the header and the tail behind it (`committed`).
    fn look_at(&self, new: &mut State, next: &mut Next<State>) -> (&'static str, [u8; 2]) {
        let x = new.recoverer.x;
        let (tail, is_stamped) = (new.tail, new.is_stamped(x));
        let span = new.slots[index(x)].span;
        let me = &mut new.recoverer;
        match me.at {
            Recovery::RecoverTail => {
                me.tail = tail;
                me.at = if x >= me.end || x >= tail {
                    Recovery::RecoverClear
                } else {
                    Recovery::FirstLook
                };
                ("is at {}, reads the tail: {}", [x, tail])
            }
            Recovery::FirstLook => {
                me.bound = me.end.min(me.tail);
                me.at = if is_stamped { Recovery::Stamped } else { Recovery::RecoverScan(0) };
                (if is_stamped { "finds {} stamped" } else { "finds {} not stamped" }, [x, 0])
            }
            Recovery::Stamped => {
                me.len = span;
                me.at = Recovery::StampedTail;
                if span == 0 || span > piece_end(x) - x {
                    me.at = Recovery::RecoverClear;
                }
                ("reads the header at {}: {}", [x, span])
            }
            Recovery::StampedTail => {
                let is_stale = tail > x + CAPACITY && self.fault != Fault::NoTailAfterStamp;
                me.at = Recovery::RecoverTail;
                if is_stale {
                    next.cover("a stale record was found behind a stamp");
                    me.at = Recovery::RecoverClear;
                } else {
                    me.x += me.len;
                }
                (me.len, me.start, me.bound) = (0, 0, 0);
                ("continues after {}, the tail is {}", [x, tail])
            }
            _ => unreachable!("not a read step"),
        }
    }

    /// `bound`: reads each record of another publisher, then checks whether its owner is alive.
    fn scan(&self, new: &mut State, next: &mut Next<State>) -> (&'static str, [u8; 2]) {
        let x = new.recoverer.x;
        match new.recoverer.at {
            Recovery::RecoverScan(other) => {
                let start = new.records[usize::from(other)].position;
                let me = &mut new.recoverer;
                me.start = start;
                me.at = Recovery::ScanLen(other);
                if start == NOWHERE || other == me.entry {
                    me.at = Recovery::ScanLives(other);
                    me.start = NOWHERE;
                }
                ("reads the position of record {}: {}", [other, start])
            }
            Recovery::ScanLen(other) => {
                new.recoverer.len = new.records[usize::from(other)].len;
                if self.fault == Fault::CoversStartOnly {
                    new.recoverer.len = 1;
                }
                new.recoverer.at = Recovery::ScanLives(other);
                ("reads the length of record {}: {}", [other, new.recoverer.len])
            }
            Recovery::ScanLives(other) => {
                let lives = new.publishers[usize::from(other)].is_alive;
                let me = &mut new.recoverer;
                let is_record = me.start != NOWHERE;
                if is_record && me.start <= x && x < me.start + me.len && lives {
                    next.cover("a living claim stopped the recoverer");
                    *me = Recoverer { at: Recovery::Entry, entry: me.entry + 1, ..IDLE };
                    return ("finds that {} covers {} and is alive: retries later", [other, x]);
                }
                let bounds = lives || self.fault != Fault::BoundByLivingOnly;
                if is_record && me.start > x && bounds && self.fault != Fault::RecordedLengthOnly {
                    me.bound = me.bound.min(me.start);
                }
                (me.start, me.len) = (0, 0);
                me.at = Recovery::RecoverScan(other + 1);
                if usize::from(other) + 1 == ENTRIES {
                    me.at = Recovery::RecoverLook;
                }
                ("has read record {}", [other, 0])
            }
            _ => unreachable!("not a part of the scan"),
        }
    }

    /// The second check, the void packet, and the end of the recovery.
    fn void(&self, new: &mut State, next: &mut Next<State>) -> (&'static str, [u8; 2]) {
        let (x, entry) = (new.recoverer.x, usize::from(new.recoverer.entry));
        match new.recoverer.at {
            Recovery::RecoverLook => {
                let is_stamped = new.is_stamped(x) && self.fault != Fault::StampBeforeRecords;
                if is_stamped {
                    next.cover("a stamp appeared while the records were read");
                }
                new.recoverer.at =
                    if is_stamped { Recovery::Stamped } else { Recovery::SecondTail };
                ("checks the stamp of {} again", [x, 0])
            }
            Recovery::SecondTail => {
                if new.tail > x + CAPACITY && self.fault != Fault::TailNotReadAgain {
                    next.cover("a stale record was found before a void packet");
                    new.recoverer.at = Recovery::RecoverClear;
                    return ("finds {} a lap behind: the tail is {}", [x, new.tail]);
                }
                new.recoverer.at = Recovery::RecoverHeader;
                if self.fault == Fault::VoidStampedBeforeHeader {
                    new.recoverer.at = Recovery::RecoverStamp;
                }
                let stop = self.stop(new);
                new.recoverer.bound = stop;
                ("decides to void [{}, {})", [x, stop])
            }
            Recovery::RecoverHeader => {
                let span = new.recoverer.bound - x;
                self.check_void(new, x, x + span);
                let slot = new.recoverer_writes(x);
                (slot.span, slot.is_void) = (span, true);
                new.recoverer.at = Recovery::RecoverStamp;
                if self.fault == Fault::VoidStampedBeforeHeader {
                    self.go_on(new);
                }
                ("describes a void packet at {} of {}", [x, span])
            }
            Recovery::RecoverStamp => {
                self.stamp_void(new, next);
                ("stamps the void packet at {}", [x, 0])
            }
            Recovery::RecoverClear => {
                new.records[entry].position = NOWHERE;
                new.recoverer = Recoverer { at: Recovery::LeaveSeat, entry: entry as u8, ..IDLE };
                ("clears record {}", [entry as u8, 0])
            }
            Recovery::LeaveSeat => {
                new.publishers[entry].holds_entry = false;
                new.recoverer = Recoverer { at: Recovery::Entry, entry: entry as u8 + 1, ..IDLE };
                ("frees entry {}", [entry as u8, 0])
            }
            _ => unreachable!("not a part of voiding"),
        }
    }

    /// End of the void packet: the bound so far, the next stamp, or the end of the memory.
    fn stop(&self, new: &State) -> u8 {
        let me = new.recoverer;
        let end = if self.fault == Fault::VoidAcrossWrap { NOWHERE } else { piece_end(me.x) };
        if let Some(batch_end) = self.batch_end(new, me.x) {
            return batch_end.min(end);
        }
        let bound = me.bound.min(end);
        let is_end = |&y: &u8| new.is_stamped(y) && self.fault != Fault::RecordedLengthOnly;
        (me.x + 1..bound).find(is_end).unwrap_or(bound)
    }

    /// The end of the batch of a dead publisher that covers `x`.
    fn batch_end(&self, new: &State, x: u8) -> Option<u8> {
        if self.fault == Fault::BatchIgnored {
            return None;
        }
        let own = usize::from(new.recoverer.entry);
        new.records.iter().enumerate().find_map(|(index, record)| {
            let is_looked_at = index == own || self.fault != Fault::BatchOfOwnRecordOnly;
            let end = record.position.saturating_add(record.len);
            let covers = record.position <= x && x < end && record.batch_end == end;
            (is_looked_at && covers).then_some(end)
        })
    }

    fn stamp_void(&self, new: &mut State, next: &mut Next<State>) {
        let (x, stop) = (new.recoverer.x, new.recoverer.bound);
        self.check_void(new, x, stop);
        for position in x..stop {
            new.set_truth(position, if position == x { Truth::Void } else { Truth::VoidInside });
        }
        new.recoverer_writes(x).stamp = x;
        next.cover("a dead claim was voided");
        let is_dead = |p: &&Publisher| p.holds_entry && !p.is_alive;
        if new.publishers.iter().filter(is_dead).count() > 1 {
            next.cover("a claim was voided while another entry was dead");
        }
        new.recoverer.at = Recovery::RecoverHeader;
        if self.fault != Fault::VoidStampedBeforeHeader {
            self.go_on(new);
        }
    }

    /// Checks whether the recoverer may void these positions.
    fn check_void(&self, new: &mut State, x: u8, stop: u8) {
        let is_unread = |position| new.reader.is_alive && position >= new.reader.cursor;
        let violation = (x..stop).find_map(|position| match new.truth(position) {
            Truth::Unclaimed => Some(Violation::RecovererVoidedUnclaimedSlots),
            Truth::Open(_) => Some(Violation::RecovererVoidedLivingClaim),
            Truth::Committed | Truth::CommittedInside if is_unread(position) => {
                Some(Violation::RecovererVoidedCommittedPacket)
            }
            _ => None,
        });
        if let Some(violation) = violation {
            new.violate(violation);
        }
    }

    fn go_on(&self, new: &mut State) {
        let me = new.recoverer;
        new.recoverer = Recoverer {
            at: Recovery::RecoverTail,
            entry: me.entry,
            x: me.bound,
            end: me.end,
            ..IDLE
        };
    }
}

/// A batch of two packets against a packet of two slots.
const BATCH: Claims = Claims {
    fault: Fault::Nothing,
    plans: [&[&[1, 1]], &[&[2]], &[]],
    from: 0,
    kills: 2,
    reuses: 1,
    reader_may_leave: false,
    dead_record_len: 0,
};

/// A single kill suffices for most faults.
const ONE_KILL: Claims = Claims { kills: 1, ..BATCH };

/// A claim that begins with a slot of padding, against a claim without padding.
const WRAP: Claims = Claims { plans: [&[&[2]], &[&[1]], &[]], from: 3, ..BATCH };

/// A publisher that is slow at its claim, while the other laps the ring.
const LAP: Claims =
    Claims { plans: [&[&[2]], &[&[2], &[2], &[1], &[1]], &[]], kills: 1, reuses: 0, ..BATCH };

/// As `LAP`, and the only reader may leave or die.
const ALONE: Claims =
    Claims { plans: [&[&[1]], &[&[2], &[2], &[1]], &[]], reader_may_leave: true, ..LAP };

/// A burst of two slots that ends after its first packet, against a packet of two slots.
const BURST: Claims = Claims { plans: [&[&[1, REST | 1]], &[&[2]], &[]], ..BATCH };

/// A burst that the end of the memory cuts to one slot, and that goes on in the next lap with a
/// longer packet, against a burst that ends with its claim.
const BURSTS: Claims = Claims {
    plans: [&[&[1, 2, REST | 1]], &[&[1, 1, REST | 1]], &[]],
    from: 3,
    reuses: 0,
    ..BATCH
};

/// A burst whose publisher goes on with another one, while the other publisher laps the ring and
/// the only reader may leave or die.
const BURST_ALONE: Claims =
    Claims { plans: [&[&[1, REST | 1], &[1]], &[&[2], &[1, 1]], &[]], ..ALONE };

/// A batch that becomes visible at once, against a packet of two slots.
const AT_ONCE: Claims = Claims { plans: [&[&[TOGETHER | 1, 1]], &[&[2]], &[]], ..BATCH };

/// `AT_ONCE` across the wrap: the end of the memory cuts the first batch to one packet. The other
/// publisher's claim has padding.
const AT_ONCE_WRAP: Claims = Claims {
    plans: [&[&[TOGETHER | 1, TOGETHER | 1, 1]], &[&[2]], &[]],
    from: 3,
    reuses: 0,
    ..BATCH
};

/// Two batches, while the other publisher laps the ring, and the reader may leave or die.
const AT_ONCE_ALONE: Claims =
    Claims { plans: [&[&[TOGETHER | 1, 1]], &[&[2], &[TOGETHER | 1, 1], &[1]], &[]], ..ALONE };

/// Two publishers race for a position with a batch and with a packet of one slot.
const AT_ONCE_LOST: Claims = Claims { plans: [&[&[TOGETHER | 1, 1]], &[&[1]], &[]], ..BATCH };

/// A publisher died with a record of two slots at the position for which a batch races.
const AT_ONCE_BEHIND_THE_DEAD: Claims =
    Claims { plans: [&[], &[&[TOGETHER | 1, 1]], &[&[1]]], ..DEAD_IN_RACE };

#[test]
fn recovery_holds_for_a_batch_that_becomes_visible_at_once() {
    let situations = [
        "killed before the first stamp of a batch",
        "killed with a batch stamped in part",
        "a dead claim was voided",
        "a living claim stopped the recoverer",
        "a stamp appeared while the records were read",
        "the recoverer was killed between header and stamp",
        "an entry was reused",
        "lost the race for the tail",
    ];
    holds("claims, a batch at once", &AT_ONCE, &situations);
}

#[test]
fn recovery_holds_for_batches_at_once_elsewhere() {
    let killed = ["killed before the first stamp of a batch", "a dead claim was voided"];
    holds("claims, a batch at once across the wrap", &AT_ONCE_WRAP, &killed);
    holds("claims, a batch at once, the reader leaves", &AT_ONCE_ALONE, &killed);
    let behind = "claims, a batch at once behind the dead";
    holds(behind, &AT_ONCE_BEHIND_THE_DEAD, &killed);
}

#[test]
fn recovery_holds_for_a_burst() {
    let situations = [
        "killed before the first packet of a burst",
        "killed before the rest of a burst was void",
        "killed with the rest of a burst unstamped",
        "a dead claim was voided",
        "a living claim stopped the recoverer",
        "a stamp appeared while the records were read",
        "the recoverer was killed between header and stamp",
        "an entry was reused",
    ];
    holds("claims, a burst", &BURST, &situations);
}

#[test]
fn recovery_holds_for_bursts_across_the_wrap() {
    let situations = [
        "killed between two packets of a burst",
        "killed at the start of the next burst",
        "killed in the middle of filling in a burst",
        "killed before the rest of a burst was void",
        "lost the race for the tail",
        "a dead claim was voided",
    ];
    holds("claims, bursts across the wrap", &BURSTS, &situations);
}

#[test]
fn recovery_holds_for_a_burst_when_the_reader_leaves_or_dies() {
    let situations = ["the reader was killed", "killed before the rest of a burst was void"];
    holds("claims, a burst, the reader leaves", &BURST_ALONE, &situations);
}

#[test]
fn recovery_holds_for_a_batch_that_races_a_packet() {
    let situations = [
        "a dead claim was voided",
        "a claim was voided while another entry was dead",
        "a living claim stopped the recoverer",
        "a stamp appeared while the records were read",
        "the recoverer was killed",
        "the recoverer was killed between header and stamp",
        "an entry was reused",
        "lost the race for the tail",
    ];
    holds("claims, a batch", &BATCH, &situations);
}

#[test]
fn recovery_holds_for_a_claim_across_the_wrap() {
    let situations = ["killed with padding unstamped", "a dead claim was voided"];
    holds("claims, across the wrap", &WRAP, &situations);
}

#[test]
fn recovery_holds_for_a_record_of_a_lap_ago() {
    let situations = [
        "a stale record was found behind a stamp",
        "a stale record was found before a void packet",
        "a dead claim was voided",
    ];
    holds("claims, a lap", &LAP, &situations);
}

#[test]
fn recovery_holds_for_a_race_with_a_dead_publisher() {
    let situations = [
        "a claim was voided while another entry was dead",
        "a living claim stopped the recoverer",
        "a dead claim was voided",
    ];
    holds("claims, a publisher died in the race", &DEAD_IN_RACE, &situations);
}

#[test]
fn recovery_holds_when_the_reader_leaves_or_dies() {
    holds(
        "claims, the reader leaves",
        &ALONE,
        &["the reader was killed", "a dead claim was voided"],
    );
}

/// A publisher died with a record of two slots at the position for which the others race.
const DEAD_IN_RACE: Claims =
    Claims { plans: [&[], &[&[1]], &[&[2]]], dead_record_len: 2, reuses: 0, ..BATCH };

/// Three publishers; two publishers that send twice; two that send twice across the wrap; more
/// kills.
const LARGE: [Claims; 5] = [
    Claims { plans: [&[&[1, 1]], &[&[2]], &[&[1]]], reuses: 0, ..BATCH },
    Claims { plans: [&[&[1, 1], &[1]], &[&[2], &[1]], &[]], ..BATCH },
    Claims { plans: [&[&[1, 1], &[1]], &[&[2], &[1]], &[]], from: 3, ..BATCH },
    Claims { kills: 3, reuses: 2, ..BATCH },
    Claims { kills: 2, reuses: 1, ..LAP },
];

#[test]
fn recovery_holds_in_larger_scenarios() {
    for (index, scenario) in LARGE.iter().enumerate().filter(|_| is_large()) {
        holds(&format!("claims, large {index}"), scenario, &["a dead claim was voided"]);
    }
}

#[track_caller]
fn broken_by(fault: Fault, scenario: Claims, violation: Violation) {
    let name = std::thread::current().name().unwrap_or_default().to_owned();
    breaks(&name, &Claims { fault, ..scenario }, violation);
}

#[test]
fn a_record_of_the_start_alone_strands_the_second_packet() {
    broken_by(Fault::RecordOfStartOnly, ONE_KILL, Violation::ReaderNeverFinishes);
}

#[test]
fn a_fetch_add_cannot_be_undone_when_the_ring_is_full() {
    broken_by(Fault::FetchAdd, BATCH, Violation::PublisherOverranReader);
}

#[test]
fn a_lost_race_that_leaves_its_record_blocks_its_own_publisher() {
    broken_by(Fault::LostRaceKeepsRecord, LAP, Violation::PublisherNeverFinishes);
}

#[test]
fn a_record_cleared_after_the_first_stamp_loses_the_second_packet() {
    let violation = Violation::RecovererVoidedLivingClaim;
    broken_by(Fault::RecordClearedAfterFirstStamp, BATCH, violation);
}

#[test]
fn a_stamp_looked_at_before_the_records_voids_a_committed_packet() {
    broken_by(Fault::StampBeforeRecords, BATCH, Violation::RecovererVoidedCommittedPacket);
}

#[test]
fn a_void_of_the_recorded_length_covers_a_later_claim() {
    broken_by(Fault::RecordedLengthOnly, DEAD_IN_RACE, Violation::RecovererVoidedLivingClaim);
}

#[test]
fn a_bound_by_the_living_alone_hides_the_start_of_a_dead_claim() {
    broken_by(Fault::BoundByLivingOnly, DEAD_IN_RACE, Violation::ReaderFoundTornPacket);
}

#[test]
fn a_record_cleared_on_reuse_strands_the_reader() {
    broken_by(Fault::ReuseClearsTheRecord, ONE_KILL, Violation::ReaderNeverFinishes);
}

#[test]
fn a_void_across_the_wrap_is_an_invalid_header() {
    broken_by(Fault::VoidAcrossWrap, WRAP, Violation::ReaderFoundCorruptHeader);
}

#[test]
fn without_a_second_read_of_the_tail_the_current_lap_is_voided() {
    let violation = Violation::RecovererWroteIntoLaterClaim;
    broken_by(Fault::TailNotReadAgain, LAP, violation);
}

#[test]
fn a_stale_record_behind_a_stamp_needs_the_tail() {
    let violation = Violation::RecovererWroteIntoLaterClaim;
    broken_by(Fault::NoTailAfterStamp, LAP, violation);
}

#[test]
fn a_claim_that_covers_only_its_start_is_voided_behind_it() {
    broken_by(Fault::CoversStartOnly, BATCH, Violation::RecovererVoidedLivingClaim);
}

#[test]
fn a_record_cleared_first_is_lost_with_its_recoverer() {
    broken_by(Fault::RecordClearedFirst, BATCH, Violation::ReaderNeverFinishes);
}

#[test]
fn a_void_packet_stamped_before_its_header_is_read_as_it_was() {
    broken_by(Fault::VoidStampedBeforeHeader, BATCH, Violation::ReaderFoundCorruptHeader);
}

#[test]
fn a_limit_without_records_laps_a_claim_when_the_last_subscriber_leaves() {
    broken_by(Fault::LimitWithoutRecords, ALONE, Violation::PublisherWroteIntoLaterClaim);
}

#[test]
fn a_record_cleared_before_the_rest_strands_the_reader() {
    let alone = Claims { plans: [&[&[1, REST | 1]], &[], &[]], ..BURST };
    broken_by(Fault::RecordClearedBeforeRest, alone, Violation::ReaderNeverFinishes);
}

#[test]
fn a_record_cleared_before_the_rest_lets_a_dead_loser_void_it() {
    broken_by(Fault::RecordClearedBeforeRest, BURST, Violation::RecovererVoidedLivingClaim);
}

#[test]
fn a_rest_stamped_before_its_header_is_read_as_it_was() {
    broken_by(Fault::RestStampedBeforeHeader, BURST, Violation::ReaderFoundCorruptHeader);
}

#[test]
fn a_rest_that_is_left_strands_the_reader() {
    let goes_on = Claims { plans: [&[&[1, REST | 1], &[1]], &[], &[]], ..BURST };
    broken_by(Fault::RestLeft, goes_on, Violation::ReaderNeverFinishes);
}

#[test]
fn the_end_of_a_batch_that_is_recorded_before_its_claim_covers_more_than_is_claimed() {
    let violation = Violation::RecovererVoidedUnclaimedSlots;
    broken_by(Fault::BatchRecordedBeforeClaim, AT_ONCE_LOST, violation);
}

#[test]
fn the_end_of_a_batch_that_is_recorded_late_uncovers_a_part() {
    broken_by(Fault::BatchRecordedLate, AT_ONCE, Violation::ReaderFoundCorruptHeader);
}

#[test]
fn a_batch_that_the_recoverer_ignores_is_uncovered() {
    broken_by(Fault::BatchIgnored, AT_ONCE, Violation::ReaderFoundUncommittedPacket);
}

#[test]
fn a_batch_is_uncovered_by_the_recovery_of_a_lost_race() {
    let violation = Violation::ReaderFoundCorruptHeader;
    broken_by(Fault::BatchOfOwnRecordOnly, AT_ONCE_BEHIND_THE_DEAD, violation);
}
