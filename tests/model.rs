//! The ring against a model: random sequences of operations, where each call must return the result
//! that a simple model predicts.
//!
//! The model tracks positions, committed packets and cursors. It has no shared words, stamps,
//! limits or locks. A single thread runs all operations through the non-blocking calls.
//!
//! After each operation the counters of all endpoints equal those of the model.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod support;

use packetring::inspect::Counters;
use packetring::{
    Claims, Missed, OpenError, Overflow, Publisher, Received, Ring, Subscriber, Tail, TryRecvError,
    TrySendError, rkyv,
};
use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, RngSeed};
use std::collections::BTreeMap;
use std::mem::forget;
use support::{Noise, Watch};

type Packet = Tail<u64, u8>;
type Archived = rkyv::Archived<Packet>;

/// Maximum number of endpoints of each side.
const MAX_ENDPOINTS: usize = 3;

#[derive(Clone, Debug)]
enum Operation {
    Send(usize, usize),
    SendAll(usize, Vec<usize>),
    /// Slots, and sizes of its packets. Drops the burst.
    Burst(usize, usize, Vec<usize>),
    BurstForget(usize, usize, Vec<usize>),
    ReserveCommit(usize, usize),
    ReserveDrop(usize, usize),
    ReserveForget(usize, usize),
    Receive(usize),
    ReceiveForget(usize),
    ReceiveCopied(usize),
    /// Receives the next packet with an even number.
    ReceiveWhere(usize),
    Unreceive(usize),
    Drain(usize),
    DrainForget(usize),
    Select(usize),
    JoinPublisher,
    ClonePublisher(usize),
    LeavePublisher(usize),
    JoinSubscriber,
    CloneSubscriber(usize),
    LeaveSubscriber(usize),
    Close,
}

fn operation() -> impl Strategy<Value = Operation> {
    use Operation::*;
    let index = || 0..MAX_ENDPOINTS;
    // Tail sizes in bytes: mostly small, some at slot boundaries, some too large.
    let size = || {
        prop_oneof![
            6 => 0..40_usize,
            2 => 0..300_usize,
            1 => prop_oneof![Just(32), Just(33), Just(96), Just(97), Just(480), Just(481)],
        ]
    };
    prop_oneof![
        20 => (index(), size()).prop_map(|(index, size)| Send(index, size)),
        4 => (index(), prop::collection::vec(size(), 0..24)).prop_map(|(index, all)| SendAll(index, all)),
        4 => (index(), 0..20_usize, prop::collection::vec(size(), 0..12))
            .prop_map(|(index, slots, all)| Burst(index, slots, all)),
        2 => (index(), 0..20_usize, prop::collection::vec(size(), 0..12))
            .prop_map(|(index, slots, all)| BurstForget(index, slots, all)),
        3 => (index(), size()).prop_map(|(index, size)| ReserveCommit(index, size)),
        3 => (index(), size()).prop_map(|(index, size)| ReserveDrop(index, size)),
        3 => (index(), size()).prop_map(|(index, size)| ReserveForget(index, size)),
        14 => index().prop_map(Receive),
        3 => index().prop_map(ReceiveForget),
        2 => index().prop_map(ReceiveCopied),
        2 => index().prop_map(ReceiveWhere),
        2 => index().prop_map(Unreceive),
        3 => index().prop_map(Drain),
        2 => index().prop_map(DrainForget),
        2 => index().prop_map(Select),
        3 => Just(JoinPublisher),
        1 => index().prop_map(ClonePublisher),
        1 => index().prop_map(LeavePublisher),
        3 => Just(JoinSubscriber),
        1 => index().prop_map(CloneSubscriber),
        2 => index().prop_map(LeaveSubscriber),
    ]
}

/// A committed entry at a position.
#[derive(Clone, Copy, Debug)]
struct Entry {
    span: u64,
    /// The number of the packet; `None` for padding and cancelled claims.
    number: Option<u64>,
}

/// A claim that was forgotten and is not committed.
#[derive(Clone, Copy, Debug)]
struct OpenClaim {
    /// Start of the claim, padding included.
    record: u64,
    start: u64,
    span: u64,
}

/// What the model counts of an endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    packets: u64,
    slots: u64,
    full: u64,
    evicted: u64,
    missed: u64,
    redelivered: u64,
}

impl Counts {
    fn of(counters: &Counters) -> Self {
        assert_eq!((counters.parks, counters.skipped), (0, 0), "no call waits or skips");
        Self {
            packets: counters.packets,
            slots: counters.bytes / 64,
            full: counters.full,
            evicted: counters.evicted,
            missed: counters.missed,
            redelivered: counters.redelivered,
        }
    }
}

/// State of a subscriber.
#[derive(Clone, Copy, Debug, Default)]
struct Reader {
    cursor: u64,
    /// Number of slots it holds.
    held: u64,
    /// Packets lost and not reported yet.
    missed: u64,
    /// Packets below this position were handed out before.
    redelivered_below: u64,
    counts: Counts,
}

/// The expected result of a receive.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Packet { position: u64, number: u64, redelivered: bool },
    Missed(u64),
    Empty,
    Closed,
}

#[derive(Debug)]
struct Model {
    capacity: u64,
    max_span: u64,
    kept: u64,
    history: u64,
    shared: bool,
    drop_oldest: bool,
    tail: u64,
    committed: BTreeMap<u64, Entry>,
    open: [Option<OpenClaim>; MAX_ENDPOINTS],
    readers: [Option<Reader>; MAX_ENDPOINTS],
    next_number: u64,
    closed: bool,
    left: bool,
    /// Index of the publisher that is called.
    sending: usize,
    sent: [Counts; MAX_ENDPOINTS],
}

fn archive_len(size: usize) -> usize {
    size.next_multiple_of(8) + 16
}

fn span(size: usize) -> u64 {
    (16 + archive_len(size) as u64).div_ceil(64)
}

impl Model {
    /// A call of a publisher begins, which aborts a claim that was forgotten.
    fn resolve(&mut self, index: usize) {
        self.sending = index;
        if let Some(open) = self.open[index].take() {
            self.committed.insert(open.start, Entry { span: open.span, number: None });
        }
    }

    /// Positions from here on may not be overwritten.
    fn gate(&self) -> u64 {
        let records = self.open.iter().flatten().map(|open| open.record);
        let readers = self.readers.iter().flatten();
        // A drop-oldest ring moves cursors that hold nothing.
        let held = readers
            .filter(|reader| !self.drop_oldest || reader.held > 0)
            .map(|reader| reader.cursor);
        records.chain(held).min().unwrap_or(u64::MAX)
    }

    /// Tries to claim `span` slots. Returns the position of the packet, or `None` if the ring is
    /// full. A drop-oldest ring evicts in both cases.
    fn claim(&mut self, span: u64) -> Option<u64> {
        self.claim_up_to(span, span).map(|claim| claim.start)
    }

    /// Tries to claim at least `span` slots, and up to `slots` if there is room in one piece.
    fn claim_up_to(&mut self, span: u64, slots: u64) -> Option<OpenClaim> {
        let left = self.capacity - self.tail % self.capacity;
        let padding = if span > left { left } else { 0 };
        let (before, start) = (self.tail, self.tail + padding);
        let piece = self.capacity - start % self.capacity;
        let wanted = slots.min(piece).min(self.max_span).max(span);
        if self.drop_oldest {
            self.evict((start + wanted).saturating_sub(self.capacity));
        }
        let limit = self.gate().saturating_add(self.capacity);
        if limit < start + span {
            self.sent[self.sending].full += 1;
            return None;
        }
        if padding > 0 {
            self.committed.insert(before, Entry { span: padding, number: None });
        }
        let end = limit.min(start + wanted);
        // Other endpoints do not see an exclusive claim before it is committed.
        self.tail = if self.shared { end } else { start };
        Some(OpenClaim { record: before, start, span: end - start })
    }

    fn evict(&mut self, target: u64) {
        let sent = &mut self.sent[self.sending];
        for reader in self.readers.iter_mut().flatten().filter(|reader| reader.held == 0) {
            while reader.cursor < target {
                let Some(entry) = self.committed.get(&reader.cursor) else { break };
                let packets = u64::from(entry.number.is_some());
                reader.missed += packets;
                reader.counts.evicted += packets;
                sent.evicted += packets;
                reader.cursor += entry.span;
            }
        }
    }

    fn commit(&mut self, start: u64, span: u64) -> u64 {
        let number = self.next_number;
        self.next_number += 1;
        self.committed.insert(start, Entry { span, number: Some(number) });
        self.tail = self.tail.max(start + span);
        let sent = &mut self.sent[self.sending];
        sent.packets += 1;
        sent.slots += span;
        number
    }

    /// Counts the packets that a subscriber holds as delivered again, if they were handed out
    /// before.
    fn count_redelivered(&mut self, index: usize) {
        let reader = self.readers[index].as_mut().unwrap();
        let end = reader.redelivered_below.min(reader.cursor + reader.held).max(reader.cursor);
        let held = self.committed.range(reader.cursor..end);
        let again = held.filter(|(_, entry)| entry.number.is_some()).count() as u64;
        reader.counts.redelivered += again;
    }

    fn release(&mut self, index: usize) -> &mut Reader {
        self.count_redelivered(index);
        let reader = self.readers[index].as_mut().unwrap();
        for (_, entry) in self.committed.range(reader.cursor..reader.cursor + reader.held) {
            if entry.number.is_some() {
                reader.counts.packets += 1;
                reader.counts.slots += entry.span;
            }
        }
        reader.cursor += reader.held;
        reader.held = 0;
        reader
    }

    /// The result of a receive.
    fn receive(&mut self, index: usize) -> Outcome {
        let (closed, tail) = (self.closed || self.left, self.tail);
        self.release(index);
        let reader = self.readers[index].as_mut().unwrap();
        if reader.missed > 0 {
            reader.counts.missed += reader.missed;
            return Outcome::Missed(std::mem::take(&mut reader.missed));
        }
        while let Some(entry) = self.committed.get(&reader.cursor) {
            if let Some(number) = entry.number {
                reader.held = entry.span;
                let position = reader.cursor;
                return Outcome::Packet {
                    position,
                    number,
                    redelivered: position < reader.redelivered_below,
                };
            }
            reader.cursor += entry.span;
        }
        if closed && tail == reader.cursor { Outcome::Closed } else { Outcome::Empty }
    }

    /// The numbers in a batch whose first packet was received.
    fn drain(&mut self, index: usize) -> Vec<u64> {
        let reader = self.readers[index].as_mut().unwrap();
        let (mut position, mut numbers) = (reader.cursor, Vec::new());
        while let Some(entry) = self.committed.get(&position) {
            numbers.extend(entry.number);
            position += entry.span;
        }
        reader.held = position - reader.cursor;
        numbers
    }

    /// The numbers of the committed packets from `position` up to the first open claim, and its
    /// position.
    fn committed_from(&self, mut position: u64) -> (Vec<u64>, u64) {
        let mut numbers = Vec::new();
        while let Some(entry) = self.committed.get(&position) {
            numbers.extend(entry.number);
            position += entry.span;
        }
        (numbers, position)
    }

    /// A late subscriber starts at a packet boundary. It gets at most the history, and at least the
    /// packets that history certainly keeps.
    fn check_late_subscriber(&self, position: u64) {
        if self.history == 0 {
            return assert_eq!(position, self.tail);
        }
        let (numbers, end) = self.committed_from(position);
        assert!(numbers.len() as u64 <= self.history, "{numbers:?}");
        let is_boundary = position == end
            && (position == self.tail
                || self.open.iter().flatten().any(|o| [o.record, o.start].contains(&position)));
        assert!(is_boundary || self.committed.contains_key(&position));
        let oldest = self.tail.saturating_sub(self.kept);
        let kept = self.committed.range(oldest..end.max(oldest));
        let least = kept.filter(|(_, entry)| entry.number.is_some()).count() as u64;
        assert!(numbers.len() as u64 >= least.min(self.history), "{numbers:?} of {least}");
    }
}

fn packet(number: u64, size: usize) -> Packet {
    Tail { head: number, tail: Noise::of(0, number).bytes(size) }
}

/// The ring, its endpoints and the model.
struct Harness {
    ring: Ring,
    publishers: [Option<Publisher<Packet>>; MAX_ENDPOINTS],
    subscribers: [Option<Subscriber<Packet>>; MAX_ENDPOINTS],
    /// Tail size of each packet by its number.
    sizes: BTreeMap<u64, usize>,
    model: Model,
    _watch: Watch,
}

impl Harness {
    fn new(exclusive: bool, drop_oldest: bool, history: usize, capacity: usize) -> Self {
        let overflow = if drop_oldest { Overflow::DropOldest } else { Overflow::Block };
        let builder = Ring::builder().capacity(capacity).overflow(overflow).history(history);
        let builder = builder.max_subscribers(MAX_ENDPOINTS);
        let builder = if exclusive { builder } else { builder.max_publishers(MAX_ENDPOINTS) };
        let builder = if exclusive { builder.exclusive() } else { builder };
        let slots = capacity as u64 / 64;
        let model = Model {
            capacity: slots,
            max_span: if history > 0 { slots / 4 } else { slots / 2 },
            kept: slots / 2,
            history: history as u64,
            shared: !exclusive,
            drop_oldest,
            tail: 0,
            committed: BTreeMap::new(),
            open: [None; MAX_ENDPOINTS],
            readers: [None; MAX_ENDPOINTS],
            next_number: 0,
            closed: false,
            left: false,
            sending: 0,
            sent: [Counts::default(); MAX_ENDPOINTS],
        };
        let ring = builder.heap().unwrap();
        let (publishers, subscribers) = Default::default();
        let (sizes, _watch) = (BTreeMap::new(), Watch::start());
        let mut harness = Self { ring, publishers, subscribers, sizes, model, _watch };
        harness.join_publisher(None);
        harness.join_subscriber();
        harness
    }

    fn run(&mut self, operation: &Operation) {
        use Operation::*;
        match operation {
            Send(index, size) => self.send(*index, *size),
            SendAll(index, sizes) => self.send_all(*index, sizes),
            Burst(index, slots, sizes) => self.burst(*index, *slots, sizes, false),
            BurstForget(index, slots, sizes) => self.burst(*index, *slots, sizes, true),
            ReserveCommit(index, size) => self.reserve(*index, *size, &AfterReserve::Commit),
            ReserveDrop(index, size) => self.reserve(*index, *size, &AfterReserve::Drop),
            ReserveForget(index, size) => self.reserve(*index, *size, &AfterReserve::Forget),
            Receive(index) => self.receive(*index, &AfterReceive::Drop),
            ReceiveForget(index) => self.receive(*index, &AfterReceive::Forget),
            ReceiveCopied(index) => self.receive_copied(*index),
            ReceiveWhere(index) => self.receive_where(*index),
            Unreceive(index) => self.receive(*index, &AfterReceive::Unreceive),
            Drain(index) => self.drain(*index, false),
            DrainForget(index) => self.drain(*index, true),
            Select(index) => self.select(*index),
            JoinPublisher => self.join_publisher(None),
            ClonePublisher(index) => self.join_publisher(Some(*index)),
            LeavePublisher(index) => self.leave_publisher(*index),
            JoinSubscriber => self.join_subscriber(),
            CloneSubscriber(index) => self.clone_subscriber(*index),
            LeaveSubscriber(index) => {
                self.subscribers[*index] = None;
                self.model.readers[*index] = None;
            }
            Close => {
                self.ring.close().unwrap();
                self.model.closed = true;
            }
        }
        self.check_backlogs();
        self.check_counters();
    }

    fn check_counters(&self) {
        for (index, publisher) in self.publishers.iter().enumerate() {
            if let Some(publisher) = publisher {
                assert_eq!(Counts::of(&publisher.counters()), self.model.sent[index]);
            }
        }
        for (subscriber, reader) in self.subscribers.iter().zip(&self.model.readers) {
            if let (Some(subscriber), Some(reader)) = (subscriber, reader) {
                assert_eq!(Counts::of(&subscriber.counters()), reader.counts, "{reader:?}");
            }
        }
    }

    fn check_backlogs(&self) {
        let model = &self.model;
        for (subscriber, reader) in self.subscribers.iter().zip(&model.readers) {
            if let (Some(subscriber), Some(reader)) = (subscriber, reader) {
                // A subscriber that was moved by an eviction updates its backlog on its next call.
                if reader.missed == 0 {
                    let ahead = model.tail - reader.cursor - reader.held;
                    assert!(subscriber.backlog() >= ahead);
                }
            }
        }
        let slowest = model.readers.iter().flatten().map(|reader| model.tail - reader.cursor).max();
        for publisher in self.publishers.iter().flatten() {
            assert_eq!(publisher.backlog(), slowest.unwrap_or(0));
            assert_eq!(publisher.subscribers(), model.readers.iter().flatten().count());
        }
    }

    fn number(&mut self, size: usize) -> u64 {
        self.sizes.insert(self.model.next_number, size);
        self.model.next_number
    }

    /// The result of a send: the position, or the kind of error.
    fn expect_send(&mut self, size: usize) -> Result<u64, &'static str> {
        if self.model.closed {
            return Err("closed");
        }
        let span = span(size);
        if span > self.model.max_span {
            return Err("too large");
        }
        let start = self.model.claim(span).ok_or("full")?;
        self.model.commit(start, span);
        Ok(start)
    }

    fn send(&mut self, index: usize, size: usize) {
        if self.publishers[index].is_none() {
            return;
        }
        self.model.resolve(index);
        let packet = packet(self.number(size), size);
        let expected = self.expect_send(size);
        let publisher = self.publishers[index].as_mut().unwrap();
        match (publisher.try_send(&packet), expected) {
            (Ok(position), Ok(expected)) => assert_eq!(position, expected),
            (Err(error), Err(expected)) => {
                check_send_error(&error, expected, size, self.model.max_span);
            }
            (answer, expected) => panic!("{answer:?}, expected {expected:?}"),
        }
    }

    fn send_all(&mut self, index: usize, sizes: &[usize]) {
        if self.publishers[index].is_none() {
            return;
        }
        // An empty batch does not touch the ring.
        if !sizes.is_empty() {
            self.model.resolve(index);
        }
        let first = self.model.next_number;
        let packets: Vec<Packet> =
            (first..).zip(sizes).map(|(number, &size)| packet(number, size)).collect();
        let mut expected = Ok(());
        let mut sent = 0;
        for &size in sizes {
            self.number(size);
            expected = self.expect_send(size).map(|_| ());
            if expected.is_err() {
                break;
            }
            sent += 1;
        }
        let publisher = self.publishers[index].as_mut().unwrap();
        match (publisher.try_send_all(&packets), expected) {
            (Ok(()), Ok(())) => {}
            (Err(error), Err(expected)) => {
                assert_eq!(error.sent, sent);
                check_send_error(&error.source, expected, sizes[sent], self.model.max_span);
            }
            (answer, expected) => panic!("{answer:?}, expected {expected:?} after {sent}"),
        }
    }

    fn burst(&mut self, index: usize, slots: usize, sizes: &[usize], and_forget: bool) {
        let Some(mut publisher) = self.publishers[index].take() else { return };
        self.model.resolve(index);
        let mut open = None;
        let expected = if self.model.closed {
            Err("closed")
        } else {
            // An exclusive ring has room for one packet, and no claim.
            let slots = if self.model.shared { slots as u64 } else { 1 };
            open = self.model.claim_up_to(1, slots);
            open.map(drop).ok_or("full")
        };
        match (publisher.try_burst(slots), expected) {
            (Ok(mut burst), Ok(())) => {
                for &size in sizes {
                    let packet = packet(self.number(size), size);
                    let expected = if self.model.shared {
                        self.expect_send_in_burst(size, slots as u64, &mut open)
                    } else {
                        self.expect_send(size)
                    };
                    match (burst.try_send(&packet), expected) {
                        (Ok(position), Ok(expected)) => assert_eq!(position, expected),
                        (Err(error), Err(expected)) => {
                            check_send_error(&error, expected, size, self.model.max_span);
                        }
                        (answer, expected) => panic!("{answer:?}, expected {expected:?}"),
                    }
                }
                if self.model.shared {
                    self.model.open[index] = open.filter(|open| open.span > 0);
                }
                if and_forget {
                    forget(burst);
                } else {
                    drop(burst);
                    self.model.resolve(index);
                }
            }
            (Err(error), Err(expected)) => {
                check_send_error(&error, expected, 0, self.model.max_span);
            }
            (answer, expected) => panic!("{:?}, expected {expected:?}", answer.map(drop)),
        }
        self.publishers[index] = Some(publisher);
    }

    /// The result of a send in a burst of a shared ring, whose claim is `open`.
    fn expect_send_in_burst(
        &mut self,
        size: usize,
        slots: u64,
        open: &mut Option<OpenClaim>,
    ) -> Result<u64, &'static str> {
        let span = span(size);
        if span > self.model.max_span {
            return Err("too large");
        }
        if open.is_none_or(|open| open.span < span) {
            if let Some(rest) = open.take().filter(|open| open.span > 0) {
                self.model.committed.insert(rest.start, Entry { span: rest.span, number: None });
            }
            *open = self.model.claim_up_to(span, slots);
        }
        let open = open.as_mut().ok_or("full")?;
        let start = open.start;
        self.model.commit(start, span);
        (open.start, open.span) = (start + span, open.span - span);
        Ok(start)
    }

    fn reserve(&mut self, index: usize, size: usize, after: &AfterReserve) {
        if self.publishers[index].is_none() {
            return;
        }
        self.model.resolve(index);
        let number = self.number(size);
        let (span, before) = (span(size), self.model.tail);
        let expected = match (self.model.closed, span > self.model.max_span) {
            (true, _) => Err("closed"),
            (_, true) => Err("too large"),
            _ => self.model.claim(span).ok_or("full"),
        };
        let publisher = self.publishers[index].as_mut().unwrap();
        let (mut room, start) = match (publisher.try_reserve_tail(size), expected) {
            (Ok(room), Ok(start)) => (room, start),
            (Err(error), Err(expected)) => {
                return check_send_error(&error, expected, size, self.model.max_span);
            }
            (answer, expected) => panic!("{:?}, expected {expected:?}", answer.map(drop)),
        };
        let filled = packet(number, size);
        *room.head_mut() = number.into();
        room.tail_mut().copy_from_slice(&filled.tail);
        match after {
            AfterReserve::Commit => {
                assert_eq!(room.commit(), start);
                self.model.commit(start, span);
                return;
            }
            AfterReserve::Drop => drop(room),
            AfterReserve::Forget => forget(room),
        }
        if self.model.shared {
            self.model.open[index] = Some(OpenClaim { record: before, start, span });
            if matches!(after, AfterReserve::Drop) {
                self.model.resolve(index);
            }
        }
    }

    fn check_packet(sizes: &BTreeMap<u64, usize>, found: &Archived, number: u64) {
        let expected = packet(number, sizes[&number]);
        assert_eq!((found.head.to_native(), found.tail.as_slice()), (number, &*expected.tail));
    }

    fn receive(&mut self, index: usize, then: &AfterReceive) {
        let Some(subscriber) = &mut self.subscribers[index] else { return };
        let expected = self.model.receive(index);
        let answer = subscriber.try_recv();
        let received = match (answer, &expected) {
            (Ok(received), Outcome::Packet { .. }) => received,
            (Err(error), expected) => return check_receive_error(&error, expected),
            (Ok(received), expected) => panic!("{:?}, expected {expected:?}", &received.head),
        };
        let Outcome::Packet { position, number, redelivered } = expected else { unreachable!() };
        Self::check_packet(&self.sizes, &received, number);
        let info = Received::info(&received);
        assert_eq!((info.position, info.redelivered), (position, redelivered));
        match then {
            AfterReceive::Drop => {
                drop(received);
                self.model.release(index);
            }
            AfterReceive::Forget => forget(received),
            AfterReceive::Unreceive => {
                Received::unreceive(received);
                self.model.count_redelivered(index);
                let reader = self.model.readers[index].as_mut().unwrap();
                reader.redelivered_below =
                    reader.redelivered_below.max(reader.cursor + reader.held);
                reader.held = 0;
            }
        }
    }

    fn receive_copied(&mut self, index: usize) {
        let Some(subscriber) = &mut self.subscribers[index] else { return };
        let expected = self.model.receive(index);
        match (subscriber.try_recv_copied(), expected) {
            (Ok(copied), Outcome::Packet { number, .. }) => {
                Self::check_packet(&self.sizes, &copied, number);
                self.model.release(index);
            }
            (Err(error), expected) => check_receive_error(&error, &expected),
            (Ok(_), expected) => panic!("a packet, expected {expected:?}"),
        }
    }

    fn receive_where(&mut self, index: usize) {
        let Some(subscriber) = &mut self.subscribers[index] else { return };
        let expected = loop {
            match self.model.receive(index) {
                Outcome::Packet { number, .. } if number % 2 == 1 => {}
                expected => break expected,
            }
        };
        match (subscriber.try_recv_where(|packet| packet.head % 2 == 0), expected) {
            (Ok(received), Outcome::Packet { number, .. }) => {
                Self::check_packet(&self.sizes, &received, number);
                drop(received);
                self.model.release(index);
            }
            (Err(error), expected) => check_receive_error(&error, &expected),
            (Ok(_), expected) => panic!("a packet, expected {expected:?}"),
        }
    }

    fn drain(&mut self, index: usize, and_forget: bool) {
        let Some(subscriber) = &mut self.subscribers[index] else { return };
        let expected = self.model.receive(index);
        let batch = match (subscriber.try_drain(), expected) {
            (Ok(batch), Outcome::Packet { .. }) => batch,
            (Err(error), expected) => return check_receive_error(&error, &expected),
            (Ok(batch), expected) => panic!("{} packets, expected {expected:?}", batch.len()),
        };
        let numbers = self.model.drain(index);
        assert_eq!(batch.len(), numbers.len());
        for (found, number) in batch.iter().zip(numbers) {
            Self::check_packet(&self.sizes, found, number);
        }
        if and_forget {
            forget(batch);
        } else {
            drop(batch);
            self.model.release(index);
        }
    }

    /// Selects, and then receives.
    fn select(&mut self, index: usize) {
        let Some(subscriber) = &mut self.subscribers[index] else { return };
        let found = packetring::try_select(&mut [subscriber]);
        let before = self.model.readers[index].unwrap();
        let expected = self.model.receive(index);
        assert_eq!(found.is_none(), expected == Outcome::Empty, "{expected:?}, from {before:?}");
        match (subscriber.try_recv(), expected) {
            (Ok(received), Outcome::Packet { number, .. }) => {
                Self::check_packet(&self.sizes, &received, number);
                drop(received);
                self.model.release(index);
            }
            (Err(error), expected) => check_receive_error(&error, &expected),
            (Ok(_), expected) => panic!("a packet, expected {expected:?}"),
        }
    }

    fn join_publisher(&mut self, original: Option<usize>) {
        let answer = match original {
            None => self.ring.publisher(),
            Some(index) => match &self.publishers[index] {
                None => return,
                Some(publisher) => publisher.try_clone(),
            },
        };
        let used = self.publishers.iter().flatten().count();
        let free = self.publishers.iter().position(Option::is_none);
        match answer {
            Ok(publisher) => {
                assert!(!self.model.closed && (self.model.shared || used == 0));
                self.publishers[free.unwrap()] = Some(publisher);
                self.model.sent[free.unwrap()] = Counts::default();
                self.model.left = false;
            }
            Err(OpenError::Closed { .. }) => assert!(self.model.closed),
            Err(OpenError::Full { what: "publishers", limit: MAX_ENDPOINTS }) => {
                assert!(self.model.shared && free.is_none());
            }
            Err(OpenError::PublisherTaken { .. }) => assert!(!self.model.shared && used == 1),
            Err(error) => panic!("{error}"),
        }
    }

    fn leave_publisher(&mut self, index: usize) {
        if self.publishers[index].take().is_some() {
            self.model.resolve(index);
            self.model.left = self.publishers.iter().all(Option::is_none);
        }
    }

    fn join_subscriber(&mut self) {
        let free = self.subscribers.iter().position(Option::is_none);
        match (self.ring.subscriber(), free) {
            (Ok(subscriber), Some(free)) => {
                let cursor = self.model.tail - subscriber.backlog();
                self.model.check_late_subscriber(cursor);
                self.subscribers[free] = Some(subscriber);
                self.model.readers[free] = Some(Reader { cursor, ..Reader::default() });
            }
            (Err(OpenError::Full { what: "subscribers", limit: MAX_ENDPOINTS }), None) => {}
            (answer, free) => panic!("{answer:?}, free is {free:?}"),
        }
    }

    fn clone_subscriber(&mut self, index: usize) {
        let free = self.subscribers.iter().position(Option::is_none);
        let Some(subscriber) = &mut self.subscribers[index] else { return };
        match (subscriber.try_clone(), free) {
            (Ok(clone), Some(free)) => {
                let cursor = self.model.readers[index].unwrap().cursor;
                assert_eq!(clone.backlog(), self.model.tail - cursor);
                self.subscribers[free] = Some(clone);
                self.model.readers[free] = Some(Reader { cursor, ..Reader::default() });
            }
            (Err(OpenError::Full { what: "subscribers", limit: MAX_ENDPOINTS }), None) => {}
            (answer, free) => panic!("{answer:?}, free is {free:?}"),
        }
    }
}

/// The end of a reservation.
enum AfterReserve {
    Commit,
    Drop,
    Forget,
}

/// The end of a received packet.
enum AfterReceive {
    Drop,
    Forget,
    Unreceive,
}

#[track_caller]
fn check_send_error(error: &TrySendError, expected: &str, size: usize, max_span: u64) {
    let limit = max_span as usize * 64 - 16;
    let is_expected = match error {
        TrySendError::Closed => expected == "closed",
        TrySendError::TooLarge { needed, limit: l } => {
            expected == "too large" && (*needed, *l) == (archive_len(size), limit)
        }
        TrySendError::Full { .. } => expected == "full",
        _ => false,
    };
    assert!(is_expected, "{error}, expected {expected}");
}

#[track_caller]
fn check_receive_error(error: &TryRecvError, expected: &Outcome) {
    let is_expected = match error {
        TryRecvError::Empty => *expected == Outcome::Empty,
        TryRecvError::Closed => *expected == Outcome::Closed,
        TryRecvError::Missed(Missed { packets, exact: true }) => {
            *expected == Outcome::Missed(*packets)
        }
        _ => false,
    };
    assert!(is_expected, "{error}, expected {expected:?}");
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 500,
        failure_persistence: None,
        rng_algorithm: RngAlgorithm::ChaCha,
        rng_seed: RngSeed::Fixed(7),
        ..ProptestConfig::default()
    })]

    #[test]
    fn every_call_matches_the_model(
        exclusive in any::<bool>(),
        drop_oldest in any::<bool>(),
        history in prop_oneof![2 => Just(0_usize), 1 => 1..8_usize],
        capacity in prop_oneof![Just(1024_usize), Just(2048)],
        operations in prop::collection::vec(operation(), 1..200),
        closing in prop::collection::vec(operation(), 0..20),
    ) {
        let mut harness = Harness::new(exclusive, drop_oldest, history, capacity);
        let settings = *harness.ring.settings();
        prop_assert_eq!(settings.claims == Claims::Exclusive, exclusive);
        operations.iter().for_each(|operation| harness.run(operation));
        harness.run(&Operation::Close);
        closing.iter().for_each(|operation| harness.run(operation));
    }
}
