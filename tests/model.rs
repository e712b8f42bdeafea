//! The ring against an oracle: whatever is done to it in whatever order, each call answers what
//! a simple model of it says.
//!
//! The model knows positions, which packets lie where, and where everyone stands. It knows no
//! words, stamps, limits or locks. One thread does everything, by the calls that never wait.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod support;

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

/// Endpoints of each side at most.
const PLACES: usize = 3;

#[derive(Clone, Debug)]
enum Operation {
    Send(usize, usize),
    SendAll(usize, Vec<usize>),
    ReserveCommit(usize, usize),
    ReserveDrop(usize, usize),
    ReserveForget(usize, usize),
    Receive(usize),
    ReceiveForget(usize),
    ReceiveCopied(usize),
    /// The next whose number is even.
    ReceiveWhere(usize),
    PutBack(usize),
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
    let who = || 0..PLACES;
    // Bytes of the tail: mostly small, some at the borders of slots, some too large.
    let size = || {
        prop_oneof![
            6 => 0..40_usize,
            2 => 0..300_usize,
            1 => prop_oneof![Just(32), Just(33), Just(96), Just(97), Just(480), Just(481)],
        ]
    };
    prop_oneof![
        20 => (who(), size()).prop_map(|(who, size)| Send(who, size)),
        4 => (who(), prop::collection::vec(size(), 0..24)).prop_map(|(who, all)| SendAll(who, all)),
        3 => (who(), size()).prop_map(|(who, size)| ReserveCommit(who, size)),
        3 => (who(), size()).prop_map(|(who, size)| ReserveDrop(who, size)),
        3 => (who(), size()).prop_map(|(who, size)| ReserveForget(who, size)),
        14 => who().prop_map(Receive),
        3 => who().prop_map(ReceiveForget),
        2 => who().prop_map(ReceiveCopied),
        2 => who().prop_map(ReceiveWhere),
        2 => who().prop_map(PutBack),
        3 => who().prop_map(Drain),
        2 => who().prop_map(DrainForget),
        2 => who().prop_map(Select),
        3 => Just(JoinPublisher),
        1 => who().prop_map(ClonePublisher),
        1 => who().prop_map(LeavePublisher),
        3 => Just(JoinSubscriber),
        1 => who().prop_map(CloneSubscriber),
        2 => who().prop_map(LeaveSubscriber),
    ]
}

/// What lies at a position once it is committed.
#[derive(Clone, Copy, Debug)]
struct Piece {
    span: u64,
    /// The number of the packet; `None`: nothing.
    number: Option<u64>,
}

/// A claim that was forgotten and is not committed.
#[derive(Clone, Copy, Debug)]
struct Open {
    /// Where it began, padding included.
    record: u64,
    start: u64,
    span: u64,
}

/// Where a subscriber stands.
#[derive(Clone, Copy, Debug, Default)]
struct Stand {
    cursor: u64,
    /// Slots in hand.
    held: u64,
    /// Packets lost and not told.
    missed: u64,
    /// Packets below it were handed out before.
    again_below: u64,
}

/// What a call is told to answer.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    Packet { position: u64, number: u64, again: bool },
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
    drops: bool,
    tail: u64,
    committed: BTreeMap<u64, Piece>,
    open: [Option<Open>; PLACES],
    stands: [Option<Stand>; PLACES],
    next_number: u64,
    closed: bool,
    left: bool,
}

fn archive_len(size: usize) -> usize {
    size.next_multiple_of(8) + 16
}

fn span(size: usize) -> u64 {
    (16 + archive_len(size) as u64).div_ceil(64)
}

impl Model {
    fn resolve(&mut self, who: usize) {
        if let Some(open) = self.open[who].take() {
            self.committed.insert(open.start, Piece { span: open.span, number: None });
        }
    }

    /// Positions from which on nothing may be overwritten.
    fn gate(&self) -> u64 {
        let records = self.open.iter().flatten().map(|open| open.record);
        let stands = self.stands.iter().flatten();
        // In a ring that drops, those who have nothing in hand are moved instead.
        let held = stands.filter(|stand| !self.drops || stand.held > 0).map(|stand| stand.cursor);
        records.chain(held).min().unwrap_or(u64::MAX)
    }

    /// Tries to claim room: where the packet goes, or nothing if it is full. Losses happen
    /// either way.
    fn claim(&mut self, span: u64) -> Option<u64> {
        let left = self.capacity - self.tail % self.capacity;
        let padding = if span > left { left } else { 0 };
        let (before, start) = (self.tail, self.tail + padding);
        let needed = (start + span).saturating_sub(self.capacity);
        if self.drops {
            self.evict(needed);
        }
        if self.gate() < needed {
            return None;
        }
        if padding > 0 {
            self.committed.insert(before, Piece { span: padding, number: None });
        }
        // An exclusive claim is nobody's business before it is committed.
        self.tail = if self.shared { start + span } else { start };
        Some(start)
    }

    fn evict(&mut self, target: u64) {
        for stand in self.stands.iter_mut().flatten().filter(|stand| stand.held == 0) {
            while stand.cursor < target {
                let Some(piece) = self.committed.get(&stand.cursor) else { break };
                stand.missed += u64::from(piece.number.is_some());
                stand.cursor += piece.span;
            }
        }
    }

    fn commit(&mut self, start: u64, span: u64) -> u64 {
        let number = self.next_number;
        self.next_number += 1;
        self.committed.insert(start, Piece { span, number: Some(number) });
        self.tail = self.tail.max(start + span);
        number
    }

    fn release(&mut self, who: usize) -> &mut Stand {
        let stand = self.stands[who].as_mut().unwrap();
        stand.cursor += stand.held;
        stand.held = 0;
        stand
    }

    /// What a receive answers.
    fn receive(&mut self, who: usize) -> Next {
        let (closed, tail) = (self.closed || self.left, self.tail);
        self.release(who);
        let stand = self.stands[who].as_mut().unwrap();
        if stand.missed > 0 {
            return Next::Missed(std::mem::take(&mut stand.missed));
        }
        while let Some(piece) = self.committed.get(&stand.cursor) {
            if let Some(number) = piece.number {
                stand.held = piece.span;
                let position = stand.cursor;
                return Next::Packet { position, number, again: position < stand.again_below };
            }
            stand.cursor += piece.span;
        }
        if closed && tail == stand.cursor { Next::Closed } else { Next::Empty }
    }

    /// The numbers of a batch, the first of which was received.
    fn drain(&mut self, who: usize) -> Vec<u64> {
        let stand = self.stands[who].as_mut().unwrap();
        let (mut position, mut numbers) = (stand.cursor, Vec::new());
        while let Some(piece) = self.committed.get(&position) {
            numbers.extend(piece.number);
            position += piece.span;
        }
        stand.held = position - stand.cursor;
        numbers
    }

    /// Numbers of the committed packets from a position on, to the first open claim.
    fn run(&self, mut position: u64) -> (Vec<u64>, u64) {
        let mut numbers = Vec::new();
        while let Some(piece) = self.committed.get(&position) {
            numbers.extend(piece.number);
            position += piece.span;
        }
        (numbers, position)
    }

    /// A newcomer's position is where a packet, or the next one, begins; no more than the
    /// history's packets back, and no fewer than are certainly there.
    fn check_newcomer(&self, position: u64) {
        if self.history == 0 {
            return assert_eq!(position, self.tail);
        }
        let (numbers, end) = self.run(position);
        assert!(numbers.len() as u64 <= self.history, "{numbers:?}");
        let is_boundary = position == end
            && (position == self.tail || self.open.iter().flatten().any(|o| o.record == position));
        assert!(is_boundary || self.committed.contains_key(&position));
        let oldest = self.tail.saturating_sub(self.kept);
        let kept = self.committed.range(oldest..end.max(oldest));
        let least = kept.filter(|(_, piece)| piece.number.is_some()).count() as u64;
        assert!(numbers.len() as u64 >= least.min(self.history), "{numbers:?} of {least}");
    }
}

fn packet(number: u64, size: usize) -> Packet {
    Tail { head: number, tail: Noise::of(0, number).bytes(size) }
}

/// The ring, its endpoints, and the model of them.
struct Rig {
    ring: Ring,
    publishers: [Option<Publisher<Packet>>; PLACES],
    subscribers: [Option<Subscriber<Packet>>; PLACES],
    /// How many bytes the tail of each packet has, by its number.
    sizes: BTreeMap<u64, usize>,
    model: Model,
    _watch: Watch,
}

impl Rig {
    fn new(exclusive: bool, drops: bool, history: usize, capacity: usize) -> Self {
        let overflow = if drops { Overflow::DropOldest } else { Overflow::Block };
        let builder = Ring::builder().capacity(capacity).overflow(overflow).history(history);
        let builder = builder.max_subscribers(PLACES);
        let builder = if exclusive { builder } else { builder.max_publishers(PLACES) };
        let builder = if exclusive { builder.exclusive() } else { builder };
        let slots = capacity as u64 / 64;
        let model = Model {
            capacity: slots,
            max_span: if history > 0 { slots / 4 } else { slots / 2 },
            kept: slots / 2,
            history: history as u64,
            shared: !exclusive,
            drops,
            tail: 0,
            committed: BTreeMap::new(),
            open: [None; PLACES],
            stands: [None; PLACES],
            next_number: 0,
            closed: false,
            left: false,
        };
        let ring = builder.heap().unwrap();
        let (publishers, subscribers) = Default::default();
        let (sizes, _watch) = (BTreeMap::new(), Watch::start());
        let mut rig = Self { ring, publishers, subscribers, sizes, model, _watch };
        rig.join_publisher(None);
        rig.join_subscriber();
        rig
    }

    fn run(&mut self, operation: &Operation) {
        use Operation::*;
        match operation {
            Send(who, size) => self.send(*who, *size),
            SendAll(who, sizes) => self.send_all(*who, sizes),
            ReserveCommit(who, size) => self.reserve(*who, *size, &After::Commit),
            ReserveDrop(who, size) => self.reserve(*who, *size, &After::Drop),
            ReserveForget(who, size) => self.reserve(*who, *size, &After::Forget),
            Receive(who) => self.receive(*who, &Then::Drop),
            ReceiveForget(who) => self.receive(*who, &Then::Forget),
            ReceiveCopied(who) => self.receive_copied(*who),
            ReceiveWhere(who) => self.receive_where(*who),
            PutBack(who) => self.receive(*who, &Then::PutBack),
            Drain(who) => self.drain(*who, false),
            DrainForget(who) => self.drain(*who, true),
            Select(who) => self.select(*who),
            JoinPublisher => self.join_publisher(None),
            ClonePublisher(who) => self.join_publisher(Some(*who)),
            LeavePublisher(who) => self.leave_publisher(*who),
            JoinSubscriber => self.join_subscriber(),
            CloneSubscriber(who) => self.clone_subscriber(*who),
            LeaveSubscriber(who) => {
                self.subscribers[*who] = None;
                self.model.stands[*who] = None;
            }
            Close => {
                self.ring.close().unwrap();
                self.model.closed = true;
            }
        }
        self.check_backlogs();
    }

    fn check_backlogs(&self) {
        let model = &self.model;
        for (subscriber, stand) in self.subscribers.iter().zip(&model.stands) {
            if let (Some(subscriber), Some(stand)) = (subscriber, stand) {
                // One that was moved on notices when it looks.
                if stand.missed == 0 {
                    let ahead = model.tail - stand.cursor - stand.held;
                    assert!(subscriber.backlog() >= ahead);
                }
            }
        }
        let slowest = model.stands.iter().flatten().map(|stand| model.tail - stand.cursor).max();
        for publisher in self.publishers.iter().flatten() {
            assert_eq!(publisher.backlog(), slowest.unwrap_or(0));
            assert_eq!(publisher.subscribers(), model.stands.iter().flatten().count());
        }
    }

    fn number(&mut self, size: usize) -> u64 {
        self.sizes.insert(self.model.next_number, size);
        self.model.next_number
    }

    /// What a send answers; the position if it is sent.
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

    fn send(&mut self, who: usize, size: usize) {
        if self.publishers[who].is_none() {
            return;
        }
        self.model.resolve(who);
        let packet = packet(self.number(size), size);
        let expected = self.expect_send(size);
        let publisher = self.publishers[who].as_mut().unwrap();
        match (publisher.try_send(&packet), expected) {
            (Ok(position), Ok(expected)) => assert_eq!(position, expected),
            (Err(error), Err(expected)) => {
                check_send_error(&error, expected, size, self.model.max_span);
            }
            (answer, expected) => panic!("{answer:?}, expected {expected:?}"),
        }
    }

    fn send_all(&mut self, who: usize, sizes: &[usize]) {
        if self.publishers[who].is_none() {
            return;
        }
        // Nothing is asked of the ring for nothing.
        if !sizes.is_empty() {
            self.model.resolve(who);
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
        let publisher = self.publishers[who].as_mut().unwrap();
        match (publisher.try_send_all(&packets), expected) {
            (Ok(()), Ok(())) => {}
            (Err(error), Err(expected)) => {
                assert_eq!(error.sent, sent);
                check_send_error(&error.source, expected, sizes[sent], self.model.max_span);
            }
            (answer, expected) => panic!("{answer:?}, expected {expected:?} after {sent}"),
        }
    }

    fn reserve(&mut self, who: usize, size: usize, after: &After) {
        if self.publishers[who].is_none() {
            return;
        }
        self.model.resolve(who);
        let number = self.number(size);
        let (span, before) = (span(size), self.model.tail);
        let expected = match (self.model.closed, span > self.model.max_span) {
            (true, _) => Err("closed"),
            (_, true) => Err("too large"),
            _ => self.model.claim(span).ok_or("full"),
        };
        let publisher = self.publishers[who].as_mut().unwrap();
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
            After::Commit => {
                assert_eq!(room.commit(), start);
                self.model.commit(start, span);
                return;
            }
            After::Drop => drop(room),
            After::Forget => forget(room),
        }
        if self.model.shared {
            self.model.open[who] = Some(Open { record: before, start, span });
            if matches!(after, After::Drop) {
                self.model.resolve(who);
            }
        }
    }

    fn check_packet(sizes: &BTreeMap<u64, usize>, found: &Archived, number: u64) {
        let expected = packet(number, sizes[&number]);
        assert_eq!((found.head.to_native(), found.tail.as_slice()), (number, &*expected.tail));
    }

    fn receive(&mut self, who: usize, then: &Then) {
        let Some(subscriber) = &mut self.subscribers[who] else { return };
        let expected = self.model.receive(who);
        let answer = subscriber.try_recv();
        let received = match (answer, &expected) {
            (Ok(received), Next::Packet { .. }) => received,
            (Err(error), expected) => return check_receive_error(&error, expected),
            (Ok(received), expected) => panic!("{:?}, expected {expected:?}", &received.head),
        };
        let Next::Packet { position, number, again } = expected else { unreachable!() };
        Self::check_packet(&self.sizes, &received, number);
        let info = Received::info(&received);
        assert_eq!((info.position, info.redelivered), (position, again));
        match then {
            Then::Drop => {
                drop(received);
                self.model.release(who);
            }
            Then::Forget => forget(received),
            Then::PutBack => {
                Received::unreceive(received);
                let stand = self.model.stands[who].as_mut().unwrap();
                stand.again_below = stand.again_below.max(stand.cursor + stand.held);
                stand.held = 0;
            }
        }
    }

    fn receive_copied(&mut self, who: usize) {
        let Some(subscriber) = &mut self.subscribers[who] else { return };
        let expected = self.model.receive(who);
        match (subscriber.try_recv_copied(), expected) {
            (Ok(copied), Next::Packet { number, .. }) => {
                Self::check_packet(&self.sizes, &copied, number);
                self.model.release(who);
            }
            (Err(error), expected) => check_receive_error(&error, &expected),
            (Ok(_), expected) => panic!("a packet, expected {expected:?}"),
        }
    }

    fn receive_where(&mut self, who: usize) {
        let Some(subscriber) = &mut self.subscribers[who] else { return };
        let expected = loop {
            match self.model.receive(who) {
                Next::Packet { number, .. } if number % 2 == 1 => {}
                expected => break expected,
            }
        };
        match (subscriber.try_recv_where(|packet| packet.head % 2 == 0), expected) {
            (Ok(received), Next::Packet { number, .. }) => {
                Self::check_packet(&self.sizes, &received, number);
                drop(received);
                self.model.release(who);
            }
            (Err(error), expected) => check_receive_error(&error, &expected),
            (Ok(_), expected) => panic!("a packet, expected {expected:?}"),
        }
    }

    fn drain(&mut self, who: usize, forgets: bool) {
        let Some(subscriber) = &mut self.subscribers[who] else { return };
        let expected = self.model.receive(who);
        let batch = match (subscriber.try_drain(), expected) {
            (Ok(batch), Next::Packet { .. }) => batch,
            (Err(error), expected) => return check_receive_error(&error, &expected),
            (Ok(batch), expected) => panic!("{} packets, expected {expected:?}", batch.len()),
        };
        let numbers = self.model.drain(who);
        assert_eq!(batch.len(), numbers.len());
        for (found, number) in batch.iter().zip(numbers) {
            Self::check_packet(&self.sizes, found, number);
        }
        if forgets {
            forget(batch);
        } else {
            drop(batch);
            self.model.release(who);
        }
    }

    /// Selects, and receives at once what that found.
    fn select(&mut self, who: usize) {
        let Some(subscriber) = &mut self.subscribers[who] else { return };
        let found = packetring::try_select(&mut [subscriber]);
        let before = self.model.stands[who].unwrap();
        let expected = self.model.receive(who);
        assert_eq!(found.is_none(), expected == Next::Empty, "{expected:?}, from {before:?}");
        match (subscriber.try_recv(), expected) {
            (Ok(received), Next::Packet { number, .. }) => {
                Self::check_packet(&self.sizes, &received, number);
                drop(received);
                self.model.release(who);
            }
            (Err(error), expected) => check_receive_error(&error, &expected),
            (Ok(_), expected) => panic!("a packet, expected {expected:?}"),
        }
    }

    fn join_publisher(&mut self, like: Option<usize>) {
        let answer = match like {
            None => self.ring.publisher(),
            Some(who) => match &self.publishers[who] {
                None => return,
                Some(publisher) => publisher.try_clone(),
            },
        };
        let taken = self.publishers.iter().flatten().count();
        let place = self.publishers.iter().position(Option::is_none);
        match answer {
            Ok(publisher) => {
                assert!(!self.model.closed && (self.model.shared || taken == 0));
                self.publishers[place.unwrap()] = Some(publisher);
                self.model.left = false;
            }
            Err(OpenError::Closed { .. }) => assert!(self.model.closed),
            Err(OpenError::Full { what: "publishers", limit: PLACES }) => {
                assert!(self.model.shared && place.is_none());
            }
            Err(OpenError::PublisherTaken { .. }) => assert!(!self.model.shared && taken == 1),
            Err(error) => panic!("{error}"),
        }
    }

    fn leave_publisher(&mut self, who: usize) {
        if self.publishers[who].take().is_some() {
            self.model.resolve(who);
            self.model.left = self.publishers.iter().all(Option::is_none);
        }
    }

    fn join_subscriber(&mut self) {
        let place = self.subscribers.iter().position(Option::is_none);
        match (self.ring.subscriber(), place) {
            (Ok(subscriber), Some(place)) => {
                let cursor = self.model.tail - subscriber.backlog();
                self.model.check_newcomer(cursor);
                self.subscribers[place] = Some(subscriber);
                self.model.stands[place] = Some(Stand { cursor, ..Stand::default() });
            }
            (Err(OpenError::Full { what: "subscribers", limit: PLACES }), None) => {}
            (answer, place) => panic!("{answer:?}, free is {place:?}"),
        }
    }

    fn clone_subscriber(&mut self, who: usize) {
        let place = self.subscribers.iter().position(Option::is_none);
        let Some(subscriber) = &mut self.subscribers[who] else { return };
        match (subscriber.try_clone(), place) {
            (Ok(clone), Some(place)) => {
                let cursor = self.model.stands[who].unwrap().cursor;
                assert_eq!(clone.backlog(), self.model.tail - cursor);
                self.subscribers[place] = Some(clone);
                self.model.stands[place] = Some(Stand { cursor, ..Stand::default() });
            }
            (Err(OpenError::Full { what: "subscribers", limit: PLACES }), None) => {}
            (answer, place) => panic!("{answer:?}, free is {place:?}"),
        }
    }
}

/// What becomes of a reservation.
enum After {
    Commit,
    Drop,
    Forget,
}

/// What becomes of a packet in hand.
enum Then {
    Drop,
    Forget,
    PutBack,
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
fn check_receive_error(error: &TryRecvError, expected: &Next) {
    let is_expected = match error {
        TryRecvError::Empty => *expected == Next::Empty,
        TryRecvError::Closed => *expected == Next::Closed,
        TryRecvError::Missed(Missed { packets, exact: true }) => {
            *expected == Next::Missed(*packets)
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
    fn every_call_answers_what_the_model_says(
        exclusive in any::<bool>(),
        drops in any::<bool>(),
        history in prop_oneof![2 => Just(0_usize), 1 => 1..8_usize],
        capacity in prop_oneof![Just(1024_usize), Just(2048)],
        operations in prop::collection::vec(operation(), 1..200),
        closing in prop::collection::vec(operation(), 0..20),
    ) {
        let mut rig = Rig::new(exclusive, drops, history, capacity);
        let settings = *rig.ring.settings();
        prop_assert_eq!(settings.claims == Claims::Exclusive, exclusive);
        operations.iter().for_each(|operation| rig.run(operation));
        rig.run(&Operation::Close);
        closing.iter().for_each(|operation| rig.run(operation));
    }
}
