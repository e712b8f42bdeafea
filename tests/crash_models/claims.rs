//! Shared claims, their records, and recovery: publishers that claim, fill and commit, a reader,
//! and a recoverer, each of which may be killed before each of its steps.
//!
//! | actor | mirrors |
//! |---|---|
//! | publisher | `ring/shared.rs` (`claim_shared`, `take`, `open`, `close_if_done`), `ring/writer.rs` (`refresh`, `commit`), `ring/gate.rs` (`scan`) |
//! | reader | `ring/reader.rs` in a `Block` ring (`next`, `release`), `ring/roster.rs` (`let_go`) |
//! | recoverer | `ring/recover.rs` (`recover`, `resolve`, `committed`, `bound`), `ring/roster.rs` (`reap_publisher`, `reap_subscriber`) |
//! | successor | `ring/roster.rs` (`join_publisher`), under the control lock like the recoverer |
//!
//! Whoever is stuck recovers, so the recoverer is nobody in particular; when it is killed, the
//! kernel drops the control lock and the next one begins again.
//!
//! Not here: joining subscribers (`joining`), cursors that others move (`eviction`).

use super::explorer::{Model, Next, breaks, holds, is_large};

const CAPACITY: u8 = 4;
/// Entries for publishers, of which a scenario uses two or three.
const ENTRIES: usize = 3;
/// No scenario comes this far.
const FARTHEST: usize = 14;
const NOWHERE: u8 = u8::MAX;
/// The first word of a slot in the midst of a packet: the salt keeps it from being a stamp.
const PAYLOAD: u8 = 254;
const NAMES: [&str; ENTRIES] = ["P0", "P1", "P2"];

/// What is done wrong.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mistake {
    Nothing,
    /// The record says where a claim starts and not how long it is.
    RecordOfTheStartAlone,
    /// The tail is moved first, unconditionally; the record follows.
    FetchAdd,
    /// A failed compare-and-swap leaves the record as it is.
    LostRaceLeavesItsRecord,
    /// The record is cleared after the first of several stamps.
    RecordClearedAfterTheFirstStamp,
    /// The recoverer believes the stamp that it saw before it read the records.
    StampBeforeTheRecords,
    /// A void packet takes what the dead one's record says, whoever's claim lies there.
    RecordsLengthAlone,
    /// Of other records only those of the living bound a void packet.
    BoundByTheLivingAlone,
    /// A successor clears the record of the entry that it takes.
    ReuseClearsTheRecord,
    /// A void packet may go over the end of the ring's memory.
    VoidAcrossTheWrap,
    /// The tail is not read again before the void packet is written.
    NoSecondLookAtTheTail,
    /// A stamp is walked over without reading the tail again.
    NoTailBehindAStamp,
    /// A claim covers a position only if it starts there.
    CoversItsStartAlone,
    /// A record is cleared before its claim is voided.
    RecordClearedFirst,
    /// A void packet is stamped before its header is written.
    VoidStampedBeforeItsHeader,
    /// Publishers do not count records into their limit.
    LimitWithoutRecords,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Harm {
    /// A publisher wrote to a slot that a later claim had taken.
    PublisherWroteIntoALaterClaim,
    /// A publisher wrote to a slot that the reader had not released.
    PublisherOverranTheReader,
    /// The recoverer wrote to a slot that a later claim had taken.
    RecovererWroteIntoALaterClaim,
    /// The recoverer wrote to a slot that the reader had not released.
    RecovererOverranTheReader,
    /// The recoverer voided a packet that its publisher had committed.
    RecovererVoidedACommittedPacket,
    /// The recoverer voided what a living publisher was filling.
    RecovererVoidedALivingClaim,
    /// The recoverer voided what nobody had claimed.
    RecovererVoidedWhatNobodyClaimed,
    /// The reader found a header that cannot be.
    ReaderFoundACorruptHeader,
    /// The reader was given bytes that are not the packet's.
    ReaderFoundATornPacket,
    /// The reader walked over a packet that was committed.
    ReaderSkippedACommittedPacket,
    /// A publisher never comes to its end.
    PublisherWaitsForEver,
    /// The reader never comes to the tail.
    ReaderWaitsForEver,
    /// The entry of a dead publisher is never free again.
    DeadEntryStays,
}

/// What became of a position, for the model's own use: no process sees it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Truth {
    Unclaimed,
    /// Claimed by the living publisher of this entry.
    Open(u8),
    /// Claimed by one that died.
    Orphaned,
    /// A packet begins here.
    Committed,
    /// In the midst of a committed packet.
    CommittedOn,
    Void,
    VoidOn,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Slot {
    stamp: u8,
    span: u8,
    is_void: bool,
    /// For which position the bytes were written.
    payload: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Record {
    position: u8,
    len: u8,
}

/// What a publisher does next.
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
    /// `FetchAdd` alone: the record follows the tail.
    LateRecord,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Publisher {
    is_alive: bool,
    /// Its entry is not free.
    has_seat: bool,
    at: At,
    /// Which batch of its plan, and which packet of that, is the first not yet committed.
    batch: u8,
    packet: u8,
    /// The tail that it read, and the gate so far.
    tail: u8,
    gate: u8,
    limit: u8,
    /// Where the open claim goes on, where it ends, and slots filled of the packet there.
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
    has_seat: bool,
    at: ReaderAt,
    cursor: u8,
    held: u8,
}

/// What the recoverer does next.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Recovery {
    /// Nobody holds the control lock.
    Idle,
    /// At the next entry.
    Entry,
    RecoverTail,
    FirstLook,
    /// A stamp was found: header, then tail.
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
    /// The record of another that was read, and the span of a header.
    start: u8,
    len: u8,
}

const ASLEEP: Recoverer =
    Recoverer { at: Recovery::Idle, entry: 0, x: 0, end: 0, tail: 0, bound: 0, start: 0, len: 0 };

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct State {
    tail: u8,
    slots: [Slot; CAPACITY as usize],
    records: [Record; ENTRIES],
    publishers: [Publisher; ENTRIES],
    reader: Reader,
    recoverer: Recoverer,
    truth: [Truth; FARTHEST],
    kills: u8,
    reuses: u8,
    harm: Option<u8>,
}

/// One scenario.
#[derive(Clone, Copy)]
struct Claims {
    mistake: Mistake,
    /// For each entry the batches that its publisher, and then its successor, sends: spans.
    plans: [&'static [&'static [u8]]; ENTRIES],
    /// Where the ring stands at the beginning.
    from: u8,
    kills: u8,
    reuses: u8,
    reader_may_leave: bool,
    /// Entry 0 is that of one who died just before it would have moved the tail: the length in
    /// its record; 0: nobody did.
    fallen: u8,
}

const HARMS: [Harm; 10] = [
    Harm::PublisherWroteIntoALaterClaim,
    Harm::PublisherOverranTheReader,
    Harm::RecovererWroteIntoALaterClaim,
    Harm::RecovererOverranTheReader,
    Harm::RecovererVoidedACommittedPacket,
    Harm::RecovererVoidedALivingClaim,
    Harm::RecovererVoidedWhatNobodyClaimed,
    Harm::ReaderFoundACorruptHeader,
    Harm::ReaderFoundATornPacket,
    Harm::ReaderSkippedACommittedPacket,
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
    fn hurt(&mut self, harm: Harm) {
        self.harm = HARMS.iter().position(|&known| known == harm).map(|index| index as u8);
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

    /// Somebody writes to the slot of `position`.
    fn write(&mut self, position: u8, lapped: Harm, overran: Harm) -> &mut Slot {
        if usize::from(position + CAPACITY) < FARTHEST
            && self.truth(position + CAPACITY) != Truth::Unclaimed
        {
            self.hurt(lapped);
        }
        if self.reader.is_alive && self.reader.cursor + CAPACITY <= position {
            self.hurt(overran);
        }
        &mut self.slots[index(position)]
    }

    fn publisher_writes(&mut self, position: u8) -> &mut Slot {
        let lapped = Harm::PublisherWroteIntoALaterClaim;
        self.write(position, lapped, Harm::PublisherOverranTheReader)
    }

    fn recoverer_writes(&mut self, position: u8) -> &mut Slot {
        let lapped = Harm::RecovererWroteIntoALaterClaim;
        self.write(position, lapped, Harm::RecovererOverranTheReader)
    }
}

impl Model for Claims {
    type State = State;
    type Harm = Harm;

    fn start(&self) -> State {
        let mut publishers = self.plans.map(|plan| Publisher {
            is_alive: !plan.is_empty(),
            has_seat: !plan.is_empty(),
            ..at_the_beginning(0, 0)
        });
        let slot = Slot { stamp: NOWHERE, span: 0, is_void: false, payload: NOWHERE };
        let at = ReaderAt::ReceiveLook;
        let mut records = [Record { position: NOWHERE, len: 0 }; ENTRIES];
        if self.fallen > 0 {
            publishers[0].has_seat = true;
            records[0] = Record { position: self.from, len: self.fallen };
        }
        State {
            tail: self.from,
            slots: [slot; CAPACITY as usize],
            records,
            publishers,
            reader: Reader { is_alive: true, has_seat: true, at, cursor: self.from, held: 0 },
            recoverer: ASLEEP,
            truth: [Truth::Unclaimed; FARTHEST],
            kills: self.kills,
            reuses: self.reuses,
            harm: None,
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

    fn harm(&self, state: &State) -> Option<Harm> {
        state.harm.map(|index| HARMS[usize::from(index)])
    }

    fn unmet(&self, state: &State) -> Vec<Harm> {
        let mut unmet = Vec::new();
        let is_waiting = |entry: usize| {
            state.publishers[entry].is_alive && !self.is_done(entry, &state.publishers[entry])
        };
        if state.reader.is_alive && state.reader.cursor != state.tail {
            unmet.push(Harm::ReaderWaitsForEver);
        }
        if (0..ENTRIES).any(is_waiting) {
            unmet.push(Harm::PublisherWaitsForEver);
        }
        if state.publishers.iter().any(|publisher| publisher.has_seat && !publisher.is_alive) {
            unmet.push(Harm::DeadEntryStays);
        }
        unmet
    }
}

fn at_the_beginning(batch: u8, packet: u8) -> Publisher {
    Publisher {
        is_alive: true,
        has_seat: true,
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

/// Publishers: `ring/shared.rs`, `ring/writer.rs`, `ring/gate.rs`.
impl Claims {
    fn is_done(&self, entry: usize, publisher: &Publisher) -> bool {
        publisher.at == At::Tail && usize::from(publisher.batch) == self.plans[entry].len()
    }

    /// The spans that it wants to claim next.
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
        new.publishers[entry] =
            Publisher { is_alive: false, ..at_the_beginning(old.batch, old.packet) };
        for truth in &mut new.truth {
            if *truth == Truth::Open(entry as u8) {
                *truth = Truth::Orphaned;
            }
        }
        let text = match old.at {
            At::PaddingHeader | At::CommitPadding => {
                next.see("killed with padding unstamped");
                "is killed with its padding unstamped"
            }
            At::ClaimFill => "is killed as it fills its claim",
            At::Header | At::CommitStamp => "is killed before it stamps",
            At::CommitAfter => "is killed before it clears its record",
            At::ClaimTail => "is killed before it moves the tail",
            _ => "is killed",
        };
        next.fate(NAMES[entry], text, &[], new);
    }

    /// `claim_shared` up to the room: the tail, and the limit if it is needed.
    fn look(&self, entry: usize, state: &State, me: &mut Publisher) -> (&'static str, [u8; 2]) {
        match me.at {
            At::Tail => {
                me.tail = state.tail;
                me.at = if self.needed(entry, me) > me.limit { At::GateScan } else { At::ClaimLen };
                if self.mistake == Mistake::FetchAdd && me.at == At::ClaimLen {
                    me.at = At::ClaimTail;
                }
                ("reads the tail: {}", [me.tail, 0])
            }
            At::GateScan => {
                me.gate =
                    me.tail.min(if state.reader.has_seat { state.reader.cursor } else { NOWHERE });
                me.at = At::ScanRecord(0);
                ("scans the cursors: {}", [me.gate, 0])
            }
            At::ScanRecord(index) => {
                let start = state.records[usize::from(index)].position;
                let counts = self.mistake != Mistake::LimitWithoutRecords;
                if counts && start != NOWHERE && start + CAPACITY >= me.tail {
                    me.gate = me.gate.min(start);
                }
                me.at = At::ScanRecord(index + 1);
                if usize::from(index) + 1 == ENTRIES {
                    me.limit = me.limit.max(me.gate + CAPACITY);
                    let is_full = self.needed(entry, me) > me.limit;
                    me.at = if is_full { At::Tail } else { At::ClaimLen };
                    if self.mistake == Mistake::FetchAdd && !is_full {
                        me.at = At::ClaimTail;
                    }
                }
                ("scans record {}, gate {}", [index, me.gate])
            }
            _ => unreachable!("not a look"),
        }
    }

    /// The end of the smallest claim that would do.
    fn needed(&self, entry: usize, me: &Publisher) -> u8 {
        let first = self.spans(entry, me)[0];
        me.tail + padding(me.tail, first) + first
    }

    /// `Geometry::fit`: slots of the claim from the tail that was read.
    fn len(&self, entry: usize, me: &Publisher) -> u8 {
        let spans = self.spans(entry, me);
        let start = me.tail + padding(me.tail, spans[0]);
        let room = (piece_end(start) - start).min(me.limit - start).min(CAPACITY / 2);
        let mut sum = 0;
        for span in spans {
            if sum + span > room {
                break;
            }
            sum += span;
        }
        start - me.tail + sum
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
                me.at = At::ClaimTail;
                ("records the position {}", [me.tail, 0])
            }
            At::ClaimTail if self.mistake == Mistake::FetchAdd => {
                me.tail = new.tail;
                self.claim(entry, new, me, len);
                me.at = At::LateRecord;
                ("adds to the tail: [{}, {})", [me.tail, me.end])
            }
            At::LateRecord => {
                new.records[entry] = Record { position: me.position, len: me.end - me.position };
                me.at = At::ClaimFill;
                ("records its claim", [0, 0])
            }
            At::ClaimTail if new.tail != me.tail => {
                next.see("lost the race for the tail");
                me.at = At::ClearLost;
                if self.mistake == Mistake::LostRaceLeavesItsRecord {
                    me.at = At::Tail;
                }
                ("loses the race at {}", [me.tail, 0])
            }
            At::ClaimTail => {
                self.claim(entry, new, me, len);
                let padding = padding(me.tail, self.spans(entry, me)[0]);
                me.at = if padding > 0 { At::PaddingHeader } else { At::ClaimFill };
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

    /// `open` from the padding on, the filling, `Writer::commit`.
    fn commit(&self, entry: usize, new: &mut State, me: &mut Publisher) -> (&'static str, [u8; 2]) {
        let at = me.position;
        let spans = self.spans(entry, me);
        match me.at {
            At::PaddingHeader => {
                let slot = new.publisher_writes(at);
                (slot.span, slot.is_void) = (padding(at, spans[0]), true);
                me.at = At::CommitPadding;
                ("describes padding at {}", [at, 0])
            }
            At::CommitPadding => {
                new.publisher_writes(at).stamp = at;
                new.set_truth(at, Truth::Void);
                for inside in at + 1..piece_end(at) {
                    new.set_truth(inside, Truth::VoidOn);
                }
                me.position = piece_end(at);
                me.at = At::ClaimFill;
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
                if me.filled == spans[0] {
                    (me.filled, me.at) = (0, At::Header);
                }
                ("fills {}", [filled, 0])
            }
            At::Header => {
                let slot = new.publisher_writes(at);
                (slot.span, slot.is_void) = (spans[0], false);
                me.at = At::CommitStamp;
                ("describes {}", [at, 0])
            }
            At::CommitStamp => {
                self.stamp(new, me, spans[0], spans.len() == 1);
                ("stamps {}", [at, 0])
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

    fn stamp(&self, new: &mut State, me: &mut Publisher, span: u8, is_last: bool) {
        let at = me.position;
        new.publisher_writes(at).stamp = at;
        new.set_truth(at, Truth::Committed);
        for inside in at + 1..at + span {
            new.set_truth(inside, Truth::CommittedOn);
        }
        me.position += span;
        me.packet += 1;
        if is_last {
            (me.batch, me.packet) = (me.batch + 1, 0);
        }
        let clears =
            me.position == me.end || self.mistake == Mistake::RecordClearedAfterTheFirstStamp;
        me.at = if clears { At::CommitAfter } else { At::ClaimFill };
    }
}

/// The successor: `ring/roster.rs`, `join_publisher`; before it, `channel/join.rs` reaps.
impl Claims {
    fn successor(&self, entry: usize, state: &State, next: &mut Next<State>) {
        let dead = state.publishers[entry];
        let has_work = usize::from(dead.batch) < self.plans[entry].len();
        let clears = self.mistake == Mistake::ReuseClearsTheRecord;
        let is_vacant = !dead.has_seat || clears;
        let has_lock = state.recoverer.at == Recovery::Idle;
        if state.reuses == 0 || !has_work || !is_vacant || !has_lock {
            return;
        }
        let mut new = *state;
        new.reuses -= 1;
        new.publishers[entry] = at_the_beginning(dead.batch, dead.packet);
        if clears {
            new.records[entry].position = NOWHERE;
        }
        next.see("an entry was used again");
        next.fate(NAMES[entry], "is succeeded: its entry is taken", &[], new);
    }
}

/// The reader: `ring/reader.rs`, a `Block` ring.
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
                        new.hurt(Harm::ReaderFoundATornPacket);
                    }
                }
                new.reader.at = ReaderAt::Release;
                next.step("reader", "reads the packet in its hand", &[], new);
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
            new.reader = Reader { has_seat: false, cursor: 0, ..gone };
            next.fate("reader", "leaves", &[], new);
        }
        if self.reader_may_leave && state.kills > 0 {
            let mut new = *state;
            new.kills -= 1;
            new.reader = gone;
            next.see("the reader was killed");
            next.fate("reader", "is killed", &[], new);
        }
    }

    /// `slot::header`, `Reader::take`; what was stamped is compared with what is true.
    fn take_packet(&self, new: &mut State) -> &'static str {
        let at = new.reader.cursor;
        let slot = new.slots[index(at)];
        if slot.span == 0 || slot.span > piece_end(at) - at {
            new.hurt(Harm::ReaderFoundACorruptHeader);
            return "finds a header that cannot be at {}";
        }
        new.reader.held = slot.span;
        let inside = at + 1..at + slot.span;
        let expected = if slot.is_void { Truth::VoidOn } else { Truth::CommittedOn };
        if inside
            .clone()
            .any(|position| matches!(new.truth(position), Truth::Committed | Truth::CommittedOn))
            && slot.is_void
        {
            new.hurt(Harm::ReaderSkippedACommittedPacket);
        } else if inside.into_iter().any(|position| new.truth(position) != expected) {
            new.hurt(Harm::ReaderFoundATornPacket);
        }
        if slot.is_void {
            new.reader.at = ReaderAt::Release;
            return "walks over a void packet at {} of {}";
        }
        new.reader.at = ReaderAt::Receive;
        "takes the packet at {} of {}"
    }
}

/// The recoverer: `ring/recover.rs`, and of `ring/roster.rs` what reaps.
impl Claims {
    fn recoverer(&self, state: &State, next: &mut Next<State>) {
        let mut new = *state;
        let me = state.recoverer;
        if me.at != Recovery::Idle && state.kills > 0 {
            let mut new = *state;
            new.kills -= 1;
            new.recoverer = ASLEEP;
            next.see("the recoverer was killed");
            if matches!(me.at, Recovery::RecoverStamp) {
                next.see("the recoverer was killed between header and stamp");
            }
            next.fate("recoverer", "is killed", &[], new);
        }
        let (text, numbers) = match me.at {
            Recovery::Idle => {
                let is_dead = |p: &Publisher| p.has_seat && !p.is_alive;
                let reader_is_dead = state.reader.has_seat && !state.reader.is_alive;
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

    /// `reap_publisher`, and after the last `reap_subscriber`.
    fn next_entry(&self, new: &mut State) -> (&'static str, [u8; 2]) {
        let entry = new.recoverer.entry;
        if usize::from(entry) == ENTRIES {
            if new.reader.has_seat && !new.reader.is_alive {
                (new.reader.has_seat, new.reader.cursor) = (false, 0);
                return ("frees the dead reader's entry", [0, 0]);
            }
            new.recoverer = ASLEEP;
            return ("gives the control lock back", [0, 0]);
        }
        let publisher = new.publishers[usize::from(entry)];
        let record = new.records[usize::from(entry)];
        let me = &mut new.recoverer;
        if !publisher.has_seat || publisher.is_alive {
            me.entry += 1;
            return ("finds entry {} free or alive", [entry, 0]);
        }
        if record.position == NOWHERE {
            me.at = Recovery::LeaveSeat;
            return ("finds entry {} dead, its record clear", [entry, 0]);
        }
        me.x = record.position;
        me.end = record.position + record.len;
        if self.mistake == Mistake::RecordOfTheStartAlone {
            me.end = record.position + 1;
        }
        me.at = Recovery::RecoverTail;
        if self.mistake == Mistake::RecordClearedFirst {
            new.records[usize::from(entry)].position = NOWHERE;
        }
        ("finds entry {} dead, its record at {}", [entry, record.position])
    }

    /// The tail, and the stamp with the header and the tail behind it (`committed`).
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
                let is_stale = tail > x + CAPACITY && self.mistake != Mistake::NoTailBehindAStamp;
                me.at = Recovery::RecoverTail;
                if is_stale {
                    next.see("a stale record was found behind a stamp");
                    me.at = Recovery::RecoverClear;
                } else {
                    me.x += me.len;
                }
                (me.len, me.start, me.bound) = (0, 0, 0);
                ("goes on behind {}, the tail is {}", [x, tail])
            }
            _ => unreachable!("not a look"),
        }
    }

    /// `bound`: each record of another, then whether its owner lives.
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
                if self.mistake == Mistake::CoversItsStartAlone {
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
                    next.see("a living claim stopped the recoverer");
                    *me = Recoverer { at: Recovery::Entry, entry: me.entry + 1, ..ASLEEP };
                    return ("finds that {} covers {} and lives: comes back later", [other, x]);
                }
                let bounds = lives || self.mistake != Mistake::BoundByTheLivingAlone;
                if is_record
                    && me.start > x
                    && bounds
                    && self.mistake != Mistake::RecordsLengthAlone
                {
                    me.bound = me.bound.min(me.start);
                }
                (me.start, me.len) = (0, 0);
                me.at = Recovery::RecoverScan(other + 1);
                if usize::from(other) + 1 == ENTRIES {
                    me.at = Recovery::RecoverLook;
                }
                ("has seen record {}", [other, 0])
            }
            _ => unreachable!("not a part of the scan"),
        }
    }

    /// The second look, the void packet, the end.
    fn void(&self, new: &mut State, next: &mut Next<State>) -> (&'static str, [u8; 2]) {
        let (x, entry) = (new.recoverer.x, usize::from(new.recoverer.entry));
        match new.recoverer.at {
            Recovery::RecoverLook => {
                let is_stamped =
                    new.is_stamped(x) && self.mistake != Mistake::StampBeforeTheRecords;
                if is_stamped {
                    next.see("a stamp came while the records were read");
                }
                new.recoverer.at =
                    if is_stamped { Recovery::Stamped } else { Recovery::SecondTail };
                ("looks at the stamp of {} again", [x, 0])
            }
            Recovery::SecondTail => {
                if new.tail > x + CAPACITY && self.mistake != Mistake::NoSecondLookAtTheTail {
                    next.see("a stale record was found before a void packet");
                    new.recoverer.at = Recovery::RecoverClear;
                    return ("finds that {} is a lap ago: the tail is {}", [x, new.tail]);
                }
                new.recoverer.at = Recovery::RecoverHeader;
                if self.mistake == Mistake::VoidStampedBeforeItsHeader {
                    new.recoverer.at = Recovery::RecoverStamp;
                }
                let stop = self.stop(new);
                new.recoverer.bound = stop;
                ("decides to void [{}, {})", [x, stop])
            }
            Recovery::RecoverHeader => {
                let span = new.recoverer.bound - x;
                self.judge(new, x, x + span);
                let slot = new.recoverer_writes(x);
                (slot.span, slot.is_void) = (span, true);
                new.recoverer.at = Recovery::RecoverStamp;
                if self.mistake == Mistake::VoidStampedBeforeItsHeader {
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
                new.recoverer = Recoverer { at: Recovery::LeaveSeat, entry: entry as u8, ..ASLEEP };
                ("clears record {}", [entry as u8, 0])
            }
            Recovery::LeaveSeat => {
                new.publishers[entry].has_seat = false;
                new.recoverer = Recoverer { at: Recovery::Entry, entry: entry as u8 + 1, ..ASLEEP };
                ("frees entry {}", [entry as u8, 0])
            }
            _ => unreachable!("not a part of voiding"),
        }
    }

    /// Where the void packet ends: the bound so far, the next stamp, the end of the memory.
    fn stop(&self, new: &State) -> u8 {
        let me = new.recoverer;
        let end =
            if self.mistake == Mistake::VoidAcrossTheWrap { NOWHERE } else { piece_end(me.x) };
        let bound = me.bound.min(end);
        let is_end = |&y: &u8| new.is_stamped(y) && self.mistake != Mistake::RecordsLengthAlone;
        (me.x + 1..bound).find(is_end).unwrap_or(bound)
    }

    fn stamp_void(&self, new: &mut State, next: &mut Next<State>) {
        let (x, stop) = (new.recoverer.x, new.recoverer.bound);
        self.judge(new, x, stop);
        for position in x..stop {
            new.set_truth(position, if position == x { Truth::Void } else { Truth::VoidOn });
        }
        new.recoverer_writes(x).stamp = x;
        next.see("a dead claim was voided");
        let is_dead = |p: &&Publisher| p.has_seat && !p.is_alive;
        if new.publishers.iter().filter(is_dead).count() > 1 {
            next.see("a claim was voided while another entry was dead");
        }
        new.recoverer.at = Recovery::RecoverHeader;
        if self.mistake != Mistake::VoidStampedBeforeItsHeader {
            self.go_on(new);
        }
    }

    /// Whether the recoverer may void these positions.
    fn judge(&self, new: &mut State, x: u8, stop: u8) {
        let is_unread = |position| new.reader.is_alive && position >= new.reader.cursor;
        let harm = (x..stop).find_map(|position| match new.truth(position) {
            Truth::Unclaimed => Some(Harm::RecovererVoidedWhatNobodyClaimed),
            Truth::Open(_) => Some(Harm::RecovererVoidedALivingClaim),
            Truth::Committed | Truth::CommittedOn if is_unread(position) => {
                Some(Harm::RecovererVoidedACommittedPacket)
            }
            _ => None,
        });
        if let Some(harm) = harm {
            new.hurt(harm);
        }
    }

    fn go_on(&self, new: &mut State) {
        let me = new.recoverer;
        new.recoverer = Recoverer {
            at: Recovery::RecoverTail,
            entry: me.entry,
            x: me.bound,
            end: me.end,
            ..ASLEEP
        };
    }
}

/// A batch of two packets against a packet of two slots.
const BATCH: Claims = Claims {
    mistake: Mistake::Nothing,
    plans: [&[&[1, 1]], &[&[2]], &[]],
    from: 0,
    kills: 2,
    reuses: 1,
    reader_may_leave: false,
    fallen: 0,
};

/// One kill is enough for most mistakes.
const ONE_KILL: Claims = Claims { kills: 1, ..BATCH };

/// A claim that begins with a slot of padding, against one that does not need it.
const WRAP: Claims = Claims { plans: [&[&[2]], &[&[1]], &[]], from: 3, ..BATCH };

/// A publisher that is slow at its claim, while the other comes around the ring.
const LAP: Claims =
    Claims { plans: [&[&[2]], &[&[2], &[2], &[1], &[1]], &[]], kills: 1, reuses: 0, ..BATCH };

/// The same, and the only reader may leave or die.
const ALONE: Claims =
    Claims { plans: [&[&[1]], &[&[2], &[2], &[1]], &[]], reader_may_leave: true, ..LAP };

#[test]
fn recovery_holds_for_a_batch_that_races_a_packet() {
    let sights = [
        "a dead claim was voided",
        "a claim was voided while another entry was dead",
        "a living claim stopped the recoverer",
        "a stamp came while the records were read",
        "the recoverer was killed",
        "the recoverer was killed between header and stamp",
        "an entry was used again",
        "lost the race for the tail",
    ];
    holds("claims, a batch", &BATCH, &sights);
}

#[test]
fn recovery_holds_for_a_claim_across_the_wrap() {
    let sights = ["killed with padding unstamped", "a dead claim was voided"];
    holds("claims, across the wrap", &WRAP, &sights);
}

#[test]
fn recovery_holds_for_a_record_of_a_lap_ago() {
    let sights = [
        "a stale record was found behind a stamp",
        "a stale record was found before a void packet",
        "a dead claim was voided",
    ];
    holds("claims, a lap", &LAP, &sights);
}

#[test]
fn recovery_holds_for_a_race_that_one_died_in() {
    let sights = [
        "a claim was voided while another entry was dead",
        "a living claim stopped the recoverer",
        "a dead claim was voided",
    ];
    holds("claims, one died in the race", &FALLEN, &sights);
}

#[test]
fn recovery_holds_when_the_reader_leaves_or_dies() {
    holds(
        "claims, the reader leaves",
        &ALONE,
        &["the reader was killed", "a dead claim was voided"],
    );
}

/// One died with a record of two slots at the position for which the others race.
const FALLEN: Claims = Claims { plans: [&[], &[&[1]], &[&[2]]], fallen: 2, reuses: 0, ..BATCH };

/// Three publishers; two that send twice; the same across the wrap.
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
fn broken_by(mistake: Mistake, scenario: Claims, harm: Harm) {
    let name = std::thread::current().name().unwrap_or_default().to_owned();
    breaks(&name, &Claims { mistake, ..scenario }, harm);
}

#[test]
fn a_record_of_the_start_alone_strands_the_second_packet() {
    broken_by(Mistake::RecordOfTheStartAlone, ONE_KILL, Harm::ReaderWaitsForEver);
}

#[test]
fn a_fetch_add_cannot_be_undone_when_the_ring_is_full() {
    broken_by(Mistake::FetchAdd, BATCH, Harm::PublisherOverranTheReader);
}

#[test]
fn a_lost_race_that_leaves_its_record_holds_its_own_publisher_back() {
    broken_by(Mistake::LostRaceLeavesItsRecord, LAP, Harm::PublisherWaitsForEver);
}

#[test]
fn a_record_cleared_after_the_first_stamp_gives_the_second_packet_away() {
    let harm = Harm::RecovererVoidedALivingClaim;
    broken_by(Mistake::RecordClearedAfterTheFirstStamp, BATCH, harm);
}

#[test]
fn a_stamp_looked_at_before_the_records_voids_a_committed_packet() {
    broken_by(Mistake::StampBeforeTheRecords, BATCH, Harm::RecovererVoidedACommittedPacket);
}

#[test]
fn a_records_length_alone_voids_the_claim_behind() {
    broken_by(Mistake::RecordsLengthAlone, FALLEN, Harm::RecovererVoidedALivingClaim);
}

#[test]
fn a_bound_by_the_living_alone_hides_the_start_of_a_dead_claim() {
    broken_by(Mistake::BoundByTheLivingAlone, FALLEN, Harm::ReaderFoundATornPacket);
}

#[test]
fn a_record_cleared_on_reuse_strands_the_reader() {
    broken_by(Mistake::ReuseClearsTheRecord, ONE_KILL, Harm::ReaderWaitsForEver);
}

#[test]
fn a_void_across_the_wrap_is_a_header_that_cannot_be() {
    broken_by(Mistake::VoidAcrossTheWrap, WRAP, Harm::ReaderFoundACorruptHeader);
}

#[test]
fn without_a_second_look_at_the_tail_this_lap_is_voided() {
    let harm = Harm::RecovererWroteIntoALaterClaim;
    broken_by(Mistake::NoSecondLookAtTheTail, LAP, harm);
}

#[test]
fn a_stamp_of_a_lap_ago_is_walked_over_by_this_laps_length() {
    let harm = Harm::RecovererWroteIntoALaterClaim;
    broken_by(Mistake::NoTailBehindAStamp, LAP, harm);
}

#[test]
fn a_claim_that_covers_its_start_alone_is_revoked_behind_it() {
    broken_by(Mistake::CoversItsStartAlone, BATCH, Harm::RecovererVoidedALivingClaim);
}

#[test]
fn a_record_cleared_first_is_lost_with_its_recoverer() {
    broken_by(Mistake::RecordClearedFirst, BATCH, Harm::ReaderWaitsForEver);
}

#[test]
fn a_void_packet_stamped_before_its_header_is_read_as_it_was() {
    broken_by(Mistake::VoidStampedBeforeItsHeader, BATCH, Harm::ReaderFoundACorruptHeader);
}

#[test]
fn a_limit_without_records_laps_a_claim_when_the_last_subscriber_leaves() {
    broken_by(Mistake::LimitWithoutRecords, ALONE, Harm::PublisherWroteIntoALaterClaim);
}
