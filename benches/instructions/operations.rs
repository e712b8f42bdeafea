//! What is counted. Each operation runs alone between its preparation and its clearing away, and
//! says whether it did what it should.
//!
//! All of it happens in one process and one thread, in rings on the heap, the same layout and the
//! same code as in a mapping, or, for letters and calls, in a cluster of two workers. Once a lap a publisher computes its limit anew; that is in the rows
//! that say so, and in no other: the rings are too large for a lap of theirs to end.

use packetring::any::{AnyPublisher, AnySubscriber};
use packetring::cluster::{Client, Inbox, Service};
use packetring::{
    Overflow, Packet, Publisher, Ring, RingBuilder, Subscriber, TryRecvError, Worker, packet,
};
use rkyv::rancor::Failure;
use rkyv::ser::allocator::Arena;
use rkyv::util::AlignedVec;
use std::error::Error;
use std::hint::black_box;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Rounds that are counted, and that are not, of each operation.
pub(crate) const ROUNDS: u64 = 100;
const WARM_UP: u64 = 20;
/// Packets of one `send_all`.
const BATCH: usize = 32;

/// Fills a slot: 48 bytes and the header of 16.
#[packet]
struct Tick {
    sequence: u64,
    values: [u64; 5],
}

/// Has parts of run-time length.
#[packet]
struct Chat {
    name: String,
    age: u32,
    desc: String,
}

fn tick() -> Tick {
    Tick { sequence: 7, values: [1, 2, 3, 4, 5] }
}

fn chat() -> Chat {
    let desc = "counts what others only time, and would rather be exact than quick to say so";
    Chat { name: "ada lovelace".to_owned(), age: 36, desc: desc.to_owned() }
}

/// Runs every operation, in the order in which they are reported, and tells `report` of each: its
/// name, and how many packets it is for. Nothing comes first: what it takes to count is to be
/// subtracted.
pub(crate) fn run(mut report: impl FnMut(&str, usize)) -> Outcome<()> {
    let mut operations = Operations { report: &mut report };
    operations.count("nothing", 1, (), |()| true, |()| true, |()| true)?;
    operations.exclusive()?;
    operations.shared()?;
    operations.drop_oldest()?;
    operations.durable()?;
    operations.mixed()?;
    operations.chats()?;
    operations.letters()?;
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
        self.count("shared: drain of 32", BATCH, pair()?, send_all, drain, nothing)
    }

    fn drop_oldest(&mut self) -> Outcome<()> {
        let pair = || Pair::new(Ring::builder().exclusive().overflow(Overflow::DropOldest), tick());
        self.count("drop oldest: send", 1, pair()?, nothing, Pair::send, Pair::take)?;
        self.count("drop oldest: recv", 1, pair()?, Pair::send, receive_tick, nothing)
    }

    fn durable(&mut self) -> Outcome<()> {
        let ring = Ring::builder().shared().heap()?;
        let (publisher, subscriber) = (ring.publisher()?, ring.durable("desk")?);
        let pair = Pair { packet: tick(), publisher, subscriber };
        self.count("durable: recv", 1, pair, Pair::send, receive_tick, nothing)
    }

    fn mixed(&mut self) -> Outcome<()> {
        let pair = || -> Outcome<_> {
            let ring = Ring::builder().shared().heap()?;
            Ok((ring.any_publisher()?, ring.any_subscriber()?))
        };
        self.count("mixed: send", 1, pair()?, |_| true, send_mixed, receive_mixed)?;
        self.count("mixed: recv, open", 1, pair()?, send_mixed, receive_mixed, |_| true)
    }

    fn letters(&mut self) -> Outcome<()> {
        let post = Post::open()?;
        self.count("letter: send_to", 1, post, |_| true, Post::send, Post::receive)?;
        let post = Post::open()?;
        self.count("letter: recv, open, done", 1, post, Post::send, Post::receive, |_| true)
    }

    fn calls(&mut self) -> Outcome<()> {
        let worker = Worker::join(&cluster(), "desk")?;
        let calls = Calls { client: worker.client("s")?, service: worker.service("s")? };
        self.count("call: start, recv, reply, wait", 1, calls, |_| true, Calls::call, |_| true)
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

    /// One send after the other until each slot was written once, while nobody reads: of these
    /// sends one computes the limit.
    fn lap(&mut self, slots: usize, subscribers: usize) -> Outcome<()> {
        let name = format!("send, {slots} slots, {subscribers} subscribers");
        let ring = Ring::builder().exclusive().capacity(slots * 64).max_subscribers(64).heap()?;
        let joined = (0..subscribers).map(|_| ring.subscriber()).collect::<Result<_, _>>()?;
        let crowd = Crowd { packet: tick(), slots, publisher: ring.publisher()?, joined };
        self.count(&name, slots, crowd, |_| true, Crowd::fill, Crowd::catch_up)
    }

    /// Counts what `operation` does, apart from what comes before and after it.
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
                return Err(format!("{name}: round {round} went wrong").into());
            }
        }
        end_of_counting();
        (self.report)(name, packets);
        Ok(())
    }
}

/// Callgrind counts from the beginning of this function to its end.
#[inline(never)]
fn counted_call(operation: &mut dyn FnMut() -> bool) -> bool {
    black_box(operation())
}

/// Callgrind writes down what it has counted, and begins anew.
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
    pair.publisher.reserve().map(|tick| tick.commit()).is_ok()
}

fn send_all(pair: &mut Pair<Tick, Vec<Tick>>) -> bool {
    pair.publisher.send_all(&pair.packet).is_ok()
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

fn send_mixed((publisher, _): &mut (AnyPublisher, AnySubscriber)) -> bool {
    publisher.send(&tick()).is_ok()
}

fn receive_mixed((_, subscriber): &mut (AnyPublisher, AnySubscriber)) -> bool {
    subscriber.recv().is_ok_and(|mail| mail.open_as::<Tick>().is_ok_and(|tick| tick.sequence == 7))
}

/// One worker that sends to another.
struct Post {
    feed: Worker,
    inbox: Inbox,
    /// Whose inbox it is: leaves with it.
    desk: Option<Worker>,
}

impl Post {
    fn open() -> Outcome<Self> {
        let desk = Worker::join(&cluster(), "desk")?;
        let feed = Worker::join(&cluster(), "feed")?;
        Ok(Self { feed, inbox: desk.inbox()?, desk: Some(desk) })
    }

    fn send(&mut self) -> bool {
        self.feed.send_to("desk", &tick()).is_ok()
    }

    fn receive(&mut self) -> bool {
        self.inbox.recv().is_ok_and(|letter| {
            let is_sound = letter.open_as::<Tick>().is_ok_and(|tick| tick.sequence == 7);
            letter.ack();
            is_sound
        })
    }
}

impl Drop for Post {
    fn drop(&mut self) {
        // A worker that is merely dropped is expected back, and its inbox kept.
        if let Some(Err(error)) = self.desk.take().map(Worker::leave) {
            eprintln!("the inbox stays: {error}");
        }
    }
}

/// Both ends of a service.
struct Calls {
    client: Client<Tick, Tick>,
    service: Service<Tick, Tick>,
}

impl Calls {
    fn call(&mut self) -> bool {
        let Ok(call) = self.client.start(&tick()) else { return false };
        let is_served = self.service.recv().is_ok_and(|request| request.reply(&tick()).is_ok());
        is_served && self.client.wait(call).is_ok_and(|reply| reply.sequence == 7)
    }
}

fn cluster() -> String {
    format!("instructions-{}", std::process::id())
}

/// The floor of `Chat: send`: the same archive into a buffer that is large enough already.
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

/// The floor of `Chat: recv`: the same check of bytes that lie there.
fn access_alone(bytes: &mut AlignedVec) -> bool {
    rkyv::access::<ArchivedChat, Failure>(bytes).is_ok_and(|chat| chat.age == 36)
}

/// A publisher, and subscribers that read when they are told to.
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
