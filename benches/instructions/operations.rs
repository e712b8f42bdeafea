//! The operations that are counted. Each returns true if it did its work.
//!
//! Preparation and cleanup of an operation are not counted. All operations run in one thread, in
//! rings on the heap, which have the same layout and code as mapped rings. Messages and calls run
//! in a cluster of two workers.
//!
//! A publisher recomputes its limit once a lap. Only the rows with a number of slots include that:
//! all other rings are too large to complete a lap.

#[path = "clusters.rs"]
mod clusters;

use packetring::any::{AnyPublisher, AnySubscriber};
use packetring::board::{LatestReader, LatestWriter};
use packetring::{
    Latest, Overflow, Packet, Publisher, Reserved, Ring, RingBuilder, Subscriber, TryRecvError,
    packet,
};
use rkyv::rancor::Failure;
use rkyv::ser::allocator::Arena;
use rkyv::util::AlignedVec;
use std::error::Error;
use std::hint::black_box;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Counted rounds of each operation.
pub(crate) const ROUNDS: u64 = 100;
/// Rounds before counting starts.
const WARM_UP: u64 = 20;
/// Packets of one `send_all`.
const BATCH: usize = 32;

/// Fills a slot of 64 bytes: 48 bytes and a header of 16.
#[packet]
struct Tick {
    sequence: u64,
    values: [u64; 5],
}

/// Has fields of variable length.
#[packet]
struct Chat {
    name: String,
    age: u32,
    desc: String,
}

type Cell = (LatestWriter<Tick>, LatestReader<Tick>);

fn write_cell(cell: &mut Cell) -> bool {
    cell.0.write(black_box(&tick())).is_ok()
}

fn read_cell(cell: &mut Cell) -> bool {
    black_box(&mut cell.1).read().is_ok_and(|value| value.sequence == 7)
}

fn tick() -> Tick {
    Tick { sequence: 7, values: [1, 2, 3, 4, 5] }
}

fn chat() -> Chat {
    let desc = "counts what others only time, and would rather be exact than quick to say so";
    Chat { name: "ada lovelace".to_owned(), age: 36, desc: desc.to_owned() }
}

/// Runs every operation. Calls `report` after each with its name and its number of packets.
///
/// The first operation is empty: its count is the overhead, which the caller subtracts.
pub(crate) fn run(mut report: impl FnMut(&str, usize)) -> Outcome<()> {
    let mut operations = Operations { report: &mut report };
    operations.count("nothing", 1, (), |()| true, |()| true, |()| true)?;
    operations.exclusive()?;
    operations.shared()?;
    operations.drop_oldest()?;
    operations.durable()?;
    operations.any()?;
    operations.latest()?;
    operations.chats()?;
    operations.messages()?;
    operations.calls()?;
    operations.rkyv_alone()?;
    for subscribers in [0, 8, 64] {
        operations.lap(1024, subscribers)?;
    }
    for subscribers in [0, 8, 64] {
        operations.lap(16, subscribers)?;
    }
    Ok(())
}

struct Operations<'a> {
    report: &'a mut dyn FnMut(&str, usize),
}

impl Operations<'_> {
    fn exclusive(&mut self) -> Outcome<()> {
        let ring = || Ring::builder().exclusive();
        let pair = || Pair::new(ring(), tick());
        self.count("exclusive: send", 1, pair()?, nothing, Pair::send, Pair::take)?;
        self.count("exclusive: recv", 1, pair()?, Pair::send, receive_tick, nothing)?;
        self.count("exclusive: recv_copied", 1, pair()?, Pair::send, copy_tick, nothing)?;
        self.count("try_recv of an empty ring", 1, pair()?, nothing, find_nothing, nothing)?;
        self.count("exclusive: reserve, abort", 1, pair()?, nothing, abort, nothing)?;
        self.count("exclusive: reserve, commit", 1, pair()?, nothing, commit, Pair::take)?;
        let pair = || Pair::of_batches(ring());
        self.count("exclusive: send_all of 32", BATCH, pair()?, nothing, send_all, drain)?;
        self.count("exclusive: drain of 32", BATCH, pair()?, send_all, drain, nothing)
    }

    fn shared(&mut self) -> Outcome<()> {
        let ring = || Ring::builder().shared();
        let pair = || Pair::new(ring(), tick());
        self.count("shared: send", 1, pair()?, nothing, Pair::send, Pair::take)?;
        self.count("shared: recv", 1, pair()?, Pair::send, receive_tick, nothing)?;
        self.count("shared: reserve, abort", 1, pair()?, nothing, abort, find_nothing)?;
        self.count("shared: reserve, commit", 1, pair()?, nothing, commit, Pair::take)?;
        let pair = || Pair::of_batches(ring());
        self.count("shared: send_all of 32", BATCH, pair()?, nothing, send_all, drain)?;
        self.count("shared: burst of 32", BATCH, pair()?, nothing, burst, drain)?;
        self.count("shared: drain of 32", BATCH, pair()?, send_all, drain, nothing)
    }

    fn drop_oldest(&mut self) -> Outcome<()> {
        let pair = || Pair::new(Ring::builder().exclusive().overflow(Overflow::DropOldest), tick());
        self.count("drop oldest: send", 1, pair()?, nothing, Pair::send, Pair::take)?;
        self.count("drop oldest: recv", 1, pair()?, Pair::send, receive_tick, nothing)
    }

    fn durable(&mut self) -> Outcome<()> {
        let ring = Ring::builder().shared().heap()?;
        let (publisher, subscriber) = (ring.publisher()?, ring.durable("reader")?);
        let pair = Pair { packet: tick(), publisher, subscriber };
        self.count("durable: recv", 1, pair, Pair::send, receive_tick, nothing)
    }

    fn any(&mut self) -> Outcome<()> {
        let pair = || -> Outcome<_> {
            let ring = Ring::builder().shared().heap()?;
            Ok((ring.any_publisher()?, ring.any_subscriber()?))
        };
        self.count("any: send", 1, pair()?, |_| true, send_any, receive_any)?;
        self.count("any: recv, open", 1, pair()?, send_any, receive_any, |_| true)
    }

    fn latest(&mut self) -> Outcome<()> {
        let cell = || -> Outcome<_> {
            let latest = Latest::<Tick>::builder().heap_latest::<Tick>()?;
            Ok((latest.writer()?, latest.reader()?))
        };
        self.count("latest: write", 1, cell()?, |_| true, write_cell, |_| true)?;
        self.count("latest: read a new value", 1, cell()?, write_cell, read_cell, |_| true)?;
        let read_again = |cell: &mut _| write_cell(cell) && read_cell(cell);
        self.count("latest: read again", 1, cell()?, read_again, read_cell, |_| true)
    }

    fn chats(&mut self) -> Outcome<()> {
        let pair = || Pair::new(Ring::builder().exclusive(), chat());
        self.count("Chat: send", 1, pair()?, nothing, Pair::send, Pair::take)?;
        self.count("Chat: recv", 1, pair()?, Pair::send, receive_chat, nothing)?;
        self.count("Chat: recv_copied", 1, pair()?, Pair::send, copy_chat, nothing)
    }

    fn rkyv_alone(&mut self) -> Outcome<()> {
        let bytes = || rkyv::to_bytes::<Failure>(&chat());
        let state = (chat(), bytes()?, Arena::new());
        self.count("Chat: rkyv alone, write", 1, state, |_| true, archive_alone, |_| true)?;
        self.count("Chat: rkyv alone, access", 1, bytes()?, |_| true, access_alone, |_| true)
    }

    /// Sends until each slot was written once, without a reader. This computes the limit once.
    fn lap(&mut self, slots: usize, subscribers: usize) -> Outcome<()> {
        let name = format!("send, {slots} slots, {subscribers} subscribers");
        let ring = Ring::builder().exclusive().capacity(slots * 64).max_subscribers(64).heap()?;
        let joined = (0..subscribers).map(|_| ring.subscriber()).collect::<Result<_, _>>()?;
        let crowd = Crowd { packet: tick(), slots, publisher: ring.publisher()?, joined };
        self.count(&name, slots, crowd, |_| true, Crowd::fill, Crowd::catch_up)
    }

    /// Counts `operation`, without `before` and `after`.
    fn count<S>(
        &mut self,
        name: &str,
        packets: usize,
        mut state: S,
        before: impl Fn(&mut S) -> bool,
        operation: impl Fn(&mut S) -> bool,
        after: impl Fn(&mut S) -> bool,
    ) -> Outcome<()> {
        for round in 0..WARM_UP + ROUNDS {
            let is_prepared = before(&mut state);
            let is_done = if round < WARM_UP {
                operation(&mut state)
            } else {
                counted_call(&mut || operation(&mut state))
            };
            if !(is_prepared && is_done && after(&mut state)) {
                return Err(format!("{name}: round {round} failed").into());
            }
        }
        end_of_counting();
        (self.report)(name, packets);
        Ok(())
    }
}

/// Callgrind counts during this function, which it finds by name.
#[inline(never)]
fn counted_call(operation: &mut dyn FnMut() -> bool) -> bool {
    black_box(operation())
}

/// Callgrind dumps its counts after this function, which it finds by name, and starts from zero.
#[inline(never)]
fn end_of_counting() {
    black_box(());
}

/// Both ends of a ring.
struct Pair<T: Packet, P = T> {
    packet: P,
    publisher: Publisher<T>,
    subscriber: Subscriber<T>,
}

impl<T: Packet, P> Pair<T, P> {
    fn new(ring: RingBuilder, packet: P) -> Outcome<Self> {
        let ring = ring.heap()?;
        Ok(Self { packet, publisher: ring.publisher()?, subscriber: ring.subscriber()? })
    }

    fn take(&mut self) -> bool {
        self.subscriber.try_recv().is_ok()
    }
}

impl<T: Packet> Pair<T> {
    fn send(&mut self) -> bool {
        self.publisher.send(&self.packet).is_ok()
    }
}

impl Pair<Tick, Vec<Tick>> {
    fn of_batches(ring: RingBuilder) -> Outcome<Self> {
        Self::new(ring, (0..BATCH).map(|_| tick()).collect())
    }
}

fn nothing<T: Packet, P>(_: &mut Pair<T, P>) -> bool {
    true
}

fn receive_tick(pair: &mut Pair<Tick>) -> bool {
    pair.subscriber.recv().is_ok_and(|tick| tick.sequence == 7)
}

fn copy_tick(pair: &mut Pair<Tick>) -> bool {
    pair.subscriber.recv_copied().is_ok_and(|tick| tick.sequence == 7)
}

fn find_nothing(pair: &mut Pair<Tick>) -> bool {
    matches!(pair.subscriber.try_recv(), Err(TryRecvError::Empty))
}

fn abort(pair: &mut Pair<Tick>) -> bool {
    pair.publisher.reserve().is_ok()
}

fn commit(pair: &mut Pair<Tick>) -> bool {
    pair.publisher.reserve().map(Reserved::commit).is_ok()
}

fn send_all(pair: &mut Pair<Tick, Vec<Tick>>) -> bool {
    pair.publisher.send_all(&pair.packet).is_ok()
}

fn burst(pair: &mut Pair<Tick, Vec<Tick>>) -> bool {
    let Ok(mut burst) = pair.publisher.burst(BATCH) else { return false };
    pair.packet.iter().all(|tick| burst.send(tick).is_ok())
}

fn drain(pair: &mut Pair<Tick, Vec<Tick>>) -> bool {
    pair.subscriber
        .drain()
        .is_ok_and(|batch| batch.len() == BATCH && batch.into_iter().all(|tick| tick.sequence == 7))
}

fn receive_chat(pair: &mut Pair<Chat>) -> bool {
    pair.subscriber.recv().is_ok_and(|chat| chat.age == 36)
}

fn copy_chat(pair: &mut Pair<Chat>) -> bool {
    pair.subscriber.recv_copied().is_ok_and(|chat| chat.age == 36)
}

fn send_any((publisher, _): &mut (AnyPublisher, AnySubscriber)) -> bool {
    publisher.send(&tick()).is_ok()
}

fn receive_any((_, subscriber): &mut (AnyPublisher, AnySubscriber)) -> bool {
    subscriber
        .recv()
        .is_ok_and(|packet| packet.open_as::<Tick>().is_ok_and(|tick| tick.sequence == 7))
}

/// The floor of `Chat: send`: archives into a buffer with enough capacity.
fn archive_alone((chat, bytes, arena): &mut (Chat, AlignedVec, Arena)) -> bool {
    let mut buffer = std::mem::take(bytes);
    buffer.clear();
    let alloc = arena.acquire();
    match rkyv::api::high::to_bytes_in_with_alloc::<_, _, Failure>(&*chat, buffer, alloc) {
        Ok(written) => *bytes = written,
        Err(Failure) => return false,
    }
    !bytes.is_empty()
}

/// The floor of `Chat: recv`: checks bytes in memory.
fn access_alone(bytes: &mut AlignedVec) -> bool {
    rkyv::access::<ArchivedChat, Failure>(bytes).is_ok_and(|chat| chat.age == 36)
}

/// A publisher, and subscribers that read between the counted rounds.
struct Crowd {
    packet: Tick,
    slots: usize,
    publisher: Publisher<Tick>,
    joined: Vec<Subscriber<Tick>>,
}

impl Crowd {
    fn fill(&mut self) -> bool {
        (0..self.slots).all(|_| self.publisher.try_send(&self.packet).is_ok())
    }

    fn catch_up(&mut self) -> bool {
        let slots = self.slots;
        self.joined.iter_mut().all(|subscriber| {
            let mut taken = 0;
            while let Ok(batch) = subscriber.try_drain() {
                taken += batch.len();
            }
            taken == slots
        })
    }
}
