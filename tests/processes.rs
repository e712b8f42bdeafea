//! Rings between processes: every packet is delivered exactly once and in the same order, also when
//! processes die.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod support;

use packetring::any::{AnyPublisher, AnyReceived, AnySubscriber};
use packetring::{
    Overflow, Publisher, RecvTimeoutError, Reserved, Ring, RingBuilder, SendTimeoutError,
    Subscriber, Tail, TryRecvError, TrySendError, Wait, WaitingFor, one_of, packet,
};
use rustix::process::Signal;
use std::fs::File;
use std::io::Write;
use support::peer::{self, Peer, Role};
use support::{LONG, Noise, SHORT, assert_gone, object, unique};

/// A flat packet.
#[packet]
struct Beat {
    sequence: u64,
    from: u32,
    /// As long as leaves no padding: a reservation is filled whole.
    noise: [u8; 28],
}

/// A packet with text.
#[packet]
struct Note {
    from: u32,
    sequence: u64,
    text: String,
}

/// A packet with nested lists.
#[packet]
struct Tree {
    from: u32,
    sequence: u64,
    branches: Vec<Vec<u32>>,
    names: Vec<String>,
}

/// A packet of any size up to the largest.
#[packet]
struct Blob {
    from: u32,
    sequence: u64,
    bytes: Vec<u8>,
}

/// A packet without bytes.
#[packet]
struct Mark;

#[one_of]
enum Any {
    Beat(Beat),
    Note(Note),
    Tree(Tree),
    Blob(Blob),
    Mark(Mark),
}

/// Size of a `Blob`'s archive without its list.
const BLOB_ROOT: usize = 24;

impl Beat {
    fn make(from: u32, sequence: u64) -> Self {
        let noise = Noise::of(from, sequence).bytes(28).try_into().unwrap();
        Self { from, sequence, noise }
    }
}

impl ArchivedBeat {
    fn check(&self) -> (u32, u64) {
        let (from, sequence) = (self.from.to_native(), self.sequence.to_native());
        assert_eq!(self.noise, Beat::make(from, sequence).noise, "{from}: {sequence}");
        (from, sequence)
    }
}

/// The type of packet that a publisher sends, by sequence number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Beat,
    Note,
    Tree,
    Blob,
    Mark,
}

fn kind(from: u32, sequence: u64) -> Kind {
    match Noise::of(from, !sequence).below(16) {
        0..6 => Kind::Beat,
        6..10 => Kind::Note,
        10..13 => Kind::Tree,
        13..14 => Kind::Blob,
        _ => Kind::Mark,
    }
}

fn note(from: u32, sequence: u64) -> Note {
    let mut noise = Noise::of(from, sequence);
    let len = noise.below(120);
    Note { from, sequence, text: noise.text(len) }
}

fn tree(from: u32, sequence: u64) -> Tree {
    let mut noise = Noise::of(from, sequence);
    let branch = |noise: &mut Noise| (0..noise.below(9)).map(|_| noise.next() as u32).collect();
    let branches = (0..noise.below(6)).map(|_| branch(&mut noise)).collect();
    let names = (0..noise.below(4)).map(|len| noise.text(len * 7)).collect();
    Tree { from, sequence, branches, names }
}

fn blob(from: u32, sequence: u64, largest: usize) -> Blob {
    let mut noise = Noise::of(from, sequence);
    // Every fourth blob has the maximum size.
    let most = largest - BLOB_ROOT;
    let len = if noise.below(4) == 0 { most } else { noise.below(most) };
    Blob { from, sequence, bytes: noise.bytes(len) }
}

fn send(out: &mut AnyPublisher, from: u32, sequence: u64, largest: usize) {
    let sent = match kind(from, sequence) {
        Kind::Beat => out.send_timeout(&Beat::make(from, sequence), LONG),
        Kind::Note => out.send_timeout(&note(from, sequence), LONG),
        Kind::Tree => out.send_timeout(&tree(from, sequence), LONG),
        Kind::Blob => out.send_timeout(&blob(from, sequence, largest), LONG),
        Kind::Mark => out.send_timeout(&Mark, LONG),
    };
    sent.unwrap();
}

/// Verifies every byte of a packet. Returns its publisher and sequence number; `None` for a `Mark`.
fn check(received: &AnyReceived<'_>, largest: usize) -> Option<(u32, u64)> {
    let id = match received.open().unwrap().unwrap() {
        Any::Beat(beat) => beat.check(),
        Any::Note(found) => {
            let id = (found.from.to_native(), found.sequence.to_native());
            assert_eq!(found.text, note(id.0, id.1).text);
            id
        }
        Any::Tree(found) => {
            let id = (found.from.to_native(), found.sequence.to_native());
            let expected = tree(id.0, id.1);
            assert_eq!(found.names, expected.names);
            assert_eq!(found.branches.len(), expected.branches.len());
            assert!(found.branches.iter().zip(&expected.branches).all(|(found, expected)| {
                found.iter().map(|word| word.to_native()).eq(expected.iter().copied())
            }));
            id
        }
        Any::Blob(found) => {
            let id = (found.from.to_native(), found.sequence.to_native());
            assert_eq!(found.bytes, blob(id.0, id.1, largest).bytes);
            id
        }
        Any::Mark(_) => {
            assert_eq!(received.type_name(), "Mark");
            return None;
        }
    };
    Some(id)
}

/// Packets that one subscriber has received.
struct Tally {
    /// The next sequence number of each publisher.
    next: Vec<u64>,
    marks: u64,
    /// Hash of the positions and packets in the order of arrival.
    digest: u64,
    last: Option<u64>,
}

impl Tally {
    fn new(publishers: usize) -> Self {
        Self { next: vec![0; publishers], marks: 0, digest: 0xcbf2_9ce4_8422_2325, last: None }
    }

    fn record(&mut self, received: &AnyReceived<'_>, largest: usize) {
        let position = received.info().position;
        assert!(self.last.is_none_or(|last| last < position), "positions must ascend");
        assert!(!received.info().redelivered);
        self.last = Some(position);
        self.mix(position);
        match check(received, largest) {
            None => self.marks += 1,
            Some((from, sequence)) => {
                let next = &mut self.next[from as usize];
                // A mark does not name its publisher. Marks are counted at the end.
                while kind(from, *next) == Kind::Mark {
                    *next += 1;
                }
                assert_eq!(sequence, *next, "publisher {from}");
                *next += 1;
                self.mix(u64::from(from) << 48 ^ sequence);
            }
        }
    }

    fn mix(&mut self, word: u64) {
        self.digest = (self.digest ^ word).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(7);
    }

    /// Returns true if every packet was received.
    fn is_complete(&self, count: u64) -> bool {
        let marks = |from| (0..count).filter(|&s| kind(from, s) == Kind::Mark).count() as u64;
        let others = self.next.iter().enumerate().all(|(from, &next)| {
            (next..count).all(|sequence| kind(from as u32, sequence) == Kind::Mark)
        });
        others && (0..self.next.len()).map(|from| marks(from as u32)).sum::<u64>() == self.marks
    }
}

fn wait_named(name: &str) -> Wait {
    match name {
        "spin" => Wait::spin(),
        "park" => Wait::park(),
        "event" => Wait::event(),
        _ => panic!("{name}"),
    }
}

fn joined(role: &Role) -> Ring {
    Ring::builder().wait(wait_named(&role.arguments[1])).attach(&role.arguments[0]).unwrap()
}

/// Entry point of the child processes; does nothing without a role.
#[test]
fn peer() {
    let Some(role) = peer::role() else { return };
    match role.name.as_str() {
        "publish" => publish(&role),
        "subscribe" => subscribe(&role),
        "publish-flat" => publish_flat(&role),
        "subscribe-flat" => subscribe_flat(&role),
        "hold" => hold(&role),
        "die-slowly" => die_slowly(&role),
        "claim" => claim(&role),
        "consume" => consume(&role),
        "publish-forever" => publish_forever(&role),
        "open-rounds" => open_rounds(),
        "leave-rounds" => leave_rounds(),
        other => panic!("{other}"),
    }
}

/// Arguments: ring, wait, own number, packets, largest packet, subscribers to wait for.
fn publish(role: &Role) {
    let (from, count, largest) = (role.number(2) as u32, role.number(3), role.number(4) as usize);
    let mut out = joined(role).any_publisher().unwrap();
    peer::say("joined");
    peer::hear().unwrap();
    out.wait_for_subscribers(role.number(5) as usize).unwrap();
    (0..count).for_each(|sequence| send(&mut out, from, sequence, largest));
}

/// Arguments: ring, wait, publishers, packets of each, largest packet.
fn subscribe(role: &Role) {
    let (publishers, count, largest) = (role.number(2), role.number(3), role.number(4) as usize);
    let mut inbox = joined(role).any_subscriber().unwrap();
    peer::say("joined");
    let mut tally = Tally::new(publishers as usize);
    for _ in 0..publishers * count {
        tally.record(&inbox.recv_timeout(LONG).unwrap(), largest);
    }
    assert!(matches!(inbox.recv_timeout(LONG), Err(RecvTimeoutError::Closed)));
    assert!(tally.is_complete(count));
    peer::say(&format!("{:x}", tally.digest));
}

/// Runs publishers and subscribers over a small ring. All subscribers must receive the same packets
/// in the same order.
fn assert_same_order(
    settings: RingBuilder,
    wait: &str,
    publishers: usize,
    subscribers: usize,
    count: u64,
) {
    let name = unique("flow");
    let ring = settings.wait(wait_named(wait)).open(&name).unwrap();
    let largest = ring.settings().capacity / 2 - 16;
    let readers: Vec<Peer> = (0..subscribers)
        .map(|_| Peer::start(&format!("subscribe {name} {wait} {publishers} {count} {largest}")))
        .collect();
    let writers: Vec<Peer> = (0..publishers)
        .map(|from| {
            let rest = format!("{from} {count} {largest} {subscribers}");
            Peer::start(&format!("publish {name} {wait} {rest}"))
        })
        .collect();
    let (mut readers, mut writers) = (readers, writers);
    readers.iter_mut().chain(&mut writers).for_each(|peer| peer.expect("joined"));
    assert_eq!(ring.subscribers(), subscribers);
    writers.iter_mut().for_each(|peer| peer.tell("go"));
    let digests: Vec<String> = readers.iter_mut().map(Peer::hear).collect();
    assert!(
        digests.iter().all(|digest| *digest == digests[0]),
        "the subscribers saw different orders: {digests:?}"
    );
    readers.into_iter().chain(writers).for_each(Peer::finish);
    drop(ring);
    assert_gone(&name);
}

#[test]
fn an_exclusive_publisher_with_one_or_four_subscribers() {
    for (wait, count) in [("spin", 60_000), ("park", 120_000), ("event", 60_000)] {
        assert_same_order(Ring::builder().exclusive().capacity(4096), wait, 1, 1, count);
        assert_same_order(Ring::builder().exclusive().capacity(8192), wait, 1, 4, count / 3);
    }
}

#[test]
fn one_or_four_shared_publishers_and_subscribers() {
    for (wait, count) in [("spin", 40_000), ("park", 80_000), ("event", 40_000)] {
        for (publishers, subscribers) in [(1, 1), (4, 1), (1, 4), (4, 4)] {
            let count = count / (publishers * subscribers) as u64;
            let settings = Ring::builder().shared().capacity(4096 << (publishers / 2));
            assert_same_order(settings, wait, publishers, subscribers, count.max(1500));
        }
    }
}

/// Arguments: ring, wait, packets.
fn publish_flat(role: &Role) {
    let count = role.number(2);
    let mut out: Publisher<Beat> = joined(role).publisher().unwrap();
    out.wait_for_subscribers_timeout(1, LONG).unwrap();
    let mut sequence = 0;
    while sequence < count {
        // By each of the three methods in turn.
        match sequence / 100 % 3 {
            0 => {
                out.send_timeout(&Beat::make(0, sequence), LONG).unwrap();
            }
            1 => {
                let end = count.min(sequence + 100);
                let beats: Vec<Beat> = (sequence..end).map(|s| Beat::make(0, s)).collect();
                out.send_all_timeout(&beats, LONG).unwrap();
                sequence = end;
                continue;
            }
            _ => {
                let beat = Beat::make(0, sequence);
                let mut room = out.reserve_timeout(LONG).unwrap();
                (room.from, room.sequence) = (beat.from.into(), beat.sequence.into());
                room.noise = beat.noise;
                Reserved::commit(room);
            }
        }
        sequence += 1;
    }
}

/// Arguments: ring, wait, packets.
fn subscribe_flat(role: &Role) {
    let count = role.number(2);
    let mut beats: Subscriber<Beat> = joined(role).subscriber().unwrap();
    let mut next = 0;
    while next < count {
        if next / 1000 % 2 == 0 {
            assert_eq!(beats.recv_timeout(LONG).unwrap().check(), (0, next));
            next += 1;
        } else {
            for beat in &beats.drain_timeout(LONG).unwrap() {
                assert_eq!(beat.check(), (0, next));
                next += 1;
            }
        }
    }
    assert!(matches!(beats.recv_timeout(LONG), Err(RecvTimeoutError::Closed)));
    peer::say("all");
}

#[test]
fn millions_of_flat_packets_through_a_small_ring() {
    for (settings, wait, count) in [
        (Ring::builder().exclusive(), "park", 1_500_000),
        (Ring::builder().exclusive(), "spin", 500_000),
        (Ring::builder().shared(), "park", 1_000_000),
    ] {
        let name = unique("flat");
        let ring = settings.capacity(16 * 1024).open(&name).unwrap();
        let mut reader = Peer::start(&format!("subscribe-flat {name} {wait} {count}"));
        let writer = Peer::start(&format!("publish-flat {name} {wait} {count}"));
        reader.expect("all");
        reader.finish();
        writer.finish();
        drop(ring);
        assert_gone(&name);
    }
}

/// The kernel closes the descriptors of a dead process in turn, the last opened one first. This
/// process stays attached while the kernel frees the pages of a large file. Arguments: ring, wait.
fn die_slowly(role: &Role) {
    let ring = joined(role);
    let path = object(&format!("{}-pages", role.arguments[0]));
    let mut pages = File::options().create_new(true).write(true).open(&path).unwrap();
    std::fs::remove_file(path).unwrap();
    let _publisher: Publisher<Beat> = ring.publisher().unwrap();
    pages.write_all(&vec![1; 32 << 20]).unwrap();
    peer::say("joined");
    peer::hear();
}

#[test]
fn the_last_to_leave_removes_the_ring_while_a_killed_process_is_still_attached() {
    for _ in 0..10 {
        let name = unique("dying");
        let ring = Ring::open(&name).unwrap();
        let mut dying = Peer::start(&format!("die-slowly {name} spin"));
        dying.expect("joined");
        let mut beats = ring.subscriber::<Beat>().unwrap();
        drop(ring);
        dying.signal(Signal::KILL);
        while !matches!(beats.try_recv(), Err(TryRecvError::Closed)) {}
        drop(beats);
        drop(dying);
        assert_gone(&name);
    }
}

/// Receives a packet and holds it. Arguments: ring, wait, 1 to hold it as part of a batch.
fn hold(role: &Role) {
    let mut beats: Subscriber<Beat> = joined(role).subscriber().unwrap();
    peer::say("joined");
    let batch = role.number(2) == 1;
    let (_one, _many);
    if batch {
        _many = beats.drain_timeout(LONG).unwrap();
    } else {
        _one = beats.recv_timeout(LONG).unwrap();
    }
    peer::say("holding");
    peer::hear();
}

#[test]
fn a_subscriber_killed_while_holding_a_packet_does_not_block() {
    for overflow in [Overflow::Block, Overflow::DropOldest] {
        for (exclusive, batch) in [(false, 0), (false, 1), (true, 0), (true, 1)] {
            let name = unique("holder");
            let settings = Ring::builder().capacity(4096).overflow(overflow);
            let settings = if exclusive { settings.exclusive() } else { settings.shared() };
            let ring = settings.open(&name).unwrap();
            kill_while_holding(&ring, batch);
            drop(ring);
            assert_gone(&name);
        }
    }
}

fn kill_while_holding(ring: &Ring, batch: u32) {
    let mut holder = Peer::start(&format!("hold {} park {batch}", ring.name()));
    holder.expect("joined");
    let mut witness = ring.subscriber::<Beat>().unwrap();
    let mut out = ring.publisher::<Beat>().unwrap();
    let (mut sent, mut seen) = (0, 0);
    out.send_timeout(&Beat::make(0, sent), LONG).unwrap();
    sent += 1;
    holder.expect("holding");
    // In lockstep with the witness, until only the holder blocks the publisher.
    let waiting_for = loop {
        match out.try_send(&Beat::make(0, sent)) {
            Ok(_) => sent += 1,
            Err(TrySendError::Full { waiting_for }) => break waiting_for,
            Err(error) => panic!("{error}"),
        }
        while seen < sent {
            assert_eq!(witness.recv_timeout(LONG).unwrap().check(), (0, seen));
            seen += 1;
        }
    };
    assert_eq!(waiting_for, WaitingFor::Subscriber { pid: holder.pid() });
    assert_eq!(ring.subscribers(), 2);
    holder.kill();
    assert_eq!(ring.subscribers(), 1);
    for _ in 0..1000 {
        out.send_timeout(&Beat::make(0, sent), LONG).unwrap();
        sent += 1;
        assert_eq!(witness.recv_timeout(LONG).unwrap().check(), (0, seen));
        seen += 1;
    }
}

/// Reserves a packet and leaves it open. Arguments: ring, wait, bytes.
fn claim(role: &Role) {
    let mut out: Publisher<Tail<u64, u8>> = joined(role).publisher().unwrap();
    let mut room = out.reserve_tail(role.number(2) as usize).unwrap();
    *room.head_mut() = 99.into();
    peer::say("claimed");
    peer::hear();
}

#[test]
fn a_live_claim_blocks_and_a_dead_claim_is_voided() {
    // The ring has 16 slots. A claim of two slots starts at each offset; one of them needs padding.
    for offset in 0..16 {
        let name = unique("claim");
        let ring = Ring::builder().capacity(1024).open(&name).unwrap();
        let mut out = ring.publisher::<Tail<u64, u8>>().unwrap();
        let line = |head| Tail { head, tail: Vec::new() };
        for head in 0..offset {
            out.try_send(&line(head)).unwrap();
        }
        let mut lines = ring.subscriber::<Tail<u64, u8>>().unwrap();
        let mut claimant = Peer::start(&format!("claim {name} park 64"));
        claimant.expect("claimed");
        let mut sent = 0;
        let waiting_for = loop {
            match out.try_send(&line(sent)) {
                Ok(_) => sent += 1,
                Err(TrySendError::Full { waiting_for }) => break waiting_for,
                Err(error) => panic!("{error}"),
            }
        };
        // The subscriber's cursor is at the start of the claim, so it waits for the claim too.
        assert_eq!(waiting_for, WaitingFor::Publisher { pid: claimant.pid() });
        assert!(matches!(lines.recv_timeout(SHORT), Err(RecvTimeoutError::Timeout)));
        drop(lines.try_clone().unwrap());
        let late = ring.subscriber::<Tail<u64, u8>>().unwrap();
        drop((lines, late));
        let full = out.send_timeout(&line(0), SHORT).unwrap_err();
        let by = WaitingFor::Publisher { pid: claimant.pid() };
        assert!(
            matches!(full, SendTimeoutError::Timeout { waiting_for } if waiting_for == by),
            "{full}"
        );
        claimant.kill();
        // There is no subscriber any more: only the claim blocked the publisher.
        for head in 0..40 {
            out.send_timeout(&line(head), LONG).unwrap();
        }
        drop((ring, out));
        assert_gone(&name);
    }
}

#[test]
fn readers_continue_after_a_dead_claim() {
    for offset in 0..16 {
        let name = unique("behind");
        let ring = Ring::builder().capacity(1024).open(&name).unwrap();
        let mut out = ring.publisher::<Tail<u64, u8>>().unwrap();
        let mut lines = ring.subscriber::<Tail<u64, u8>>().unwrap();
        let line = |head| Tail { head, tail: Vec::new() };
        for head in 0..offset {
            out.try_send(&line(head)).unwrap();
            assert_eq!(lines.try_recv().unwrap().head, head);
        }
        let mut claimant = Peer::start(&format!("claim {name} park 64"));
        claimant.expect("claimed");
        let other = Peer::start(&format!("claim {name} park 200"));
        let mut other = other;
        other.expect("claimed");
        out.try_send(&line(7)).unwrap();
        assert!(matches!(lines.try_recv(), Err(TryRecvError::Empty)));
        claimant.kill();
        assert!(
            matches!(lines.recv_timeout(SHORT), Err(RecvTimeoutError::Timeout)),
            "a claim of a live process was voided"
        );
        other.kill();
        assert_eq!(lines.recv_timeout(LONG).unwrap().head, 7);
        for head in 0..40 {
            out.send_timeout(&line(head), LONG).unwrap();
            assert_eq!(lines.recv_timeout(LONG).unwrap().head, head);
        }
    }
}

/// Receives until the ring closes. Arguments: ring, wait.
fn consume(role: &Role) {
    let mut beats: Subscriber<Beat> = joined(role).subscriber().unwrap();
    peer::say("joined");
    while beats.recv_timeout(LONG).is_ok() {}
}

#[test]
fn a_stopped_subscriber_is_alive_and_blocks_publishers() {
    let name = unique("stopped");
    let ring = Ring::builder().capacity(1024).open(&name).unwrap();
    let mut out = ring.publisher::<Beat>().unwrap();
    let mut reader = Peer::start(&format!("consume {name} park"));
    reader.expect("joined");
    reader.signal(Signal::STOP);
    let full = loop {
        if let Err(error) = out.send_timeout(&Beat::make(0, 0), SHORT) {
            break error;
        }
    };
    let by = WaitingFor::Subscriber { pid: reader.pid() };
    assert!(
        matches!(full, SendTimeoutError::Timeout { waiting_for } if waiting_for == by),
        "{full}"
    );
    assert_eq!(ring.subscribers(), 1);
    reader.signal(Signal::CONT);
    for sequence in 0..100 {
        out.send_timeout(&Beat::make(0, sequence), LONG).unwrap();
    }
}

/// Arguments: ring, wait, own number, largest packet.
fn publish_forever(role: &Role) {
    let (from, largest) = (role.number(2) as u32, role.number(3) as usize);
    let mut out = joined(role).any_publisher().unwrap();
    peer::say("joined");
    peer::hear().unwrap();
    for sequence in 0.. {
        send(&mut out, from, sequence, largest);
    }
}

#[test]
fn a_ring_continues_after_one_of_its_publishers_is_killed() {
    for _ in 0..8 {
        let name = unique("killed");
        let ring = Ring::builder().capacity(4096).open(&name).unwrap();
        let largest = ring.settings().capacity / 2 - 16;
        let mut inbox = ring.any_subscriber().unwrap();
        let start = |from| Peer::start(&format!("publish-forever {name} park {from} {largest}"));
        let mut writers: Vec<Peer> = (0..3).map(start).collect();
        writers.iter_mut().for_each(|peer| peer.expect("joined"));
        writers.iter_mut().for_each(|peer| peer.tell("go"));
        let mut tally = Tally::new(3);
        read_until(&mut inbox, &mut tally, largest, |tally| tally.next.iter().all(|&n| n > 200));
        writers.remove(1).kill();
        let before = tally.next.clone();
        read_until(&mut inbox, &mut tally, largest, |tally| {
            [0, 2].into_iter().all(|from| tally.next[from] > before[from] + 300)
        });
        // All publishers die. The packets that they committed are still delivered.
        writers.iter_mut().for_each(Peer::kill);
        loop {
            match inbox.recv_timeout(LONG) {
                Ok(received) => tally.record(&received, largest),
                Err(RecvTimeoutError::Closed) => break,
                Err(error) => panic!("{error}"),
            }
        }
        drop((inbox, ring));
        assert_gone(&name);
    }
}

fn read_until(
    inbox: &mut AnySubscriber,
    tally: &mut Tally,
    largest: usize,
    is_enough: impl Fn(&Tally) -> bool,
) {
    while !is_enough(tally) {
        tally.record(&inbox.recv_timeout(LONG).unwrap(), largest);
    }
}

#[test]
fn a_killed_exclusive_publisher_has_a_successor() {
    let name = unique("succession");
    let ring = Ring::builder().exclusive().capacity(4096).stays_open(true).open(&name).unwrap();
    let largest = ring.settings().capacity / 2 - 16;
    let mut inbox = ring.any_subscriber().unwrap();
    for round in 0..8 {
        let mut writer = Peer::start(&format!("publish-forever {name} park {round} {largest}"));
        writer.expect("joined");
        writer.tell("go");
        let mut tally = Tally::new(round + 1);
        read_until(&mut inbox, &mut tally, largest, |tally| tally.next[round] > 300);
        writer.kill();
        // The packets that it committed are delivered, and then nothing more.
        loop {
            match inbox.try_recv() {
                Ok(received) => tally.record(&received, largest),
                Err(TryRecvError::Empty) => break,
                Err(error) => panic!("{error}"),
            }
        }
    }
}

/// A gate that releases all processes at once: each waits for a shared lock on a file.
struct Gate(File);

impl Gate {
    fn path(name: &str) -> std::path::PathBuf {
        std::env::temp_dir().join(format!("packetring-{name}"))
    }

    fn shut(name: &str) -> Self {
        let file = File::create(Self::path(name)).unwrap();
        file.lock().unwrap();
        Self(file)
    }

    fn open(self, name: &str) {
        self.0.unlock().unwrap();
        std::fs::remove_file(Self::path(name)).unwrap();
    }

    /// In a peer: reports that it is ready and waits until the gate opens.
    fn pass(name: &str) {
        let file = File::open(Self::path(name)).unwrap();
        peer::say("ready");
        file.lock_shared().unwrap();
    }
}

/// Each round: opens the ring, joins both sides, publishes on command, and receives all packets.
fn open_rounds() {
    while let Some(order) = peer::hear() {
        let mut words = order.split(' ');
        let (name, own, total) =
            (words.next().unwrap(), words.next().unwrap(), words.next().unwrap());
        let (own, total): (u32, usize) = (own.parse().unwrap(), total.parse().unwrap());
        Gate::pass(name);
        let ring = Ring::builder().capacity(16 * 1024).open(name).unwrap();
        let mut beats = ring.subscriber::<Beat>().unwrap();
        let mut out = ring.publisher::<Beat>().unwrap();
        // With two segments, some process would never see all subscribers.
        out.wait_for_subscribers_timeout(total, LONG).unwrap();
        out.send_timeout(&Beat::make(own, 0), LONG).unwrap();
        let mut seen = vec![0; total];
        for _ in 0..total {
            seen[beats.recv_timeout(LONG).unwrap().check().0 as usize] += 1;
        }
        assert!(seen.iter().all(|&count| count == 1), "{seen:?}");
        assert_eq!(ring.types().len(), 1);
        peer::say("seen");
        peer::hear().unwrap();
        drop((beats, out, ring));
        peer::say("left");
    }
}

#[test]
fn sixteen_simultaneous_openers_share_one_segment() {
    const TOTAL: usize = 16;
    let mut peers: Vec<Peer> = (0..TOTAL).map(|_| Peer::start("open-rounds")).collect();
    for _ in 0..50 {
        let name = unique("race");
        let gate = Gate::shut(&name);
        for (own, peer) in peers.iter_mut().enumerate() {
            peer.tell(&format!("{name} {own} {TOTAL}"));
        }
        peers.iter_mut().for_each(|peer| peer.expect("ready"));
        gate.open(&name);
        peers.iter_mut().for_each(|peer| peer.expect("seen"));
        peers.iter_mut().for_each(|peer| peer.tell("leave"));
        peers.iter_mut().for_each(|peer| peer.expect("left"));
        assert_gone(&name);
    }
}

/// Each round: attaches, and leaves when the gate opens.
fn leave_rounds() {
    while let Some(name) = peer::hear() {
        let ring = Ring::open(&name).unwrap();
        Gate::pass(&name);
        drop(ring);
        peer::say("left");
    }
}

#[test]
fn the_last_of_simultaneous_leavers_removes_the_ring() {
    let mut peers: Vec<Peer> = (0..4).map(|_| Peer::start("leave-rounds")).collect();
    for _ in 0..300 {
        let name = unique("leave");
        let gate = Gate::shut(&name);
        peers.iter_mut().for_each(|peer| peer.tell(&name));
        peers.iter_mut().for_each(|peer| peer.expect("ready"));
        gate.open(&name);
        peers.iter_mut().for_each(|peer| peer.expect("left"));
        assert_gone(&name);
    }
}
