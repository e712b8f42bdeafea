//! Streams of small packets from one process to another, each typed and checked.
//!
//! Each run starts a new publisher. The measuring process reads, and its clock starts after every
//! page was touched. The publisher makes each packet from its number and calls `send`, or fills a
//! buffer and calls `send_all`. The reader calls `recv` for each packet or `drain` for all
//! available packets.
//!
//! The floor of packets of one or two cache lines is bare slots in as much memory as the ring has.
//! The floor of larger packets is bytes that are copied in and read in place.

use super::packets::Numbered;
use crate::floor::{Copies, Copying, Order, SlotStream};
use crate::harness::{
    Outcome, Phase, Run, Sample, Scenario, Side, THERE, Target, Unit, check, millions,
};
use packetring::{Claims, Publisher, Ring, RingBuilder, Settings, Subscriber, Wait};
use std::hint::black_box;
use std::marker::PhantomData;
use std::time::Instant;

/// Packets that are measured.
const PACKETS: u64 = 4_000_000;
/// Bytes of the smallest slot of a ring.
const SLOT: usize = 64;

/// A stream of packets of one type.
pub(crate) struct Stream<P> {
    name: &'static str,
    claims: Claims,
    /// Packets of one `send_all`. 1: `send` and `recv` for each packet.
    batch: u64,
    /// Bytes of the ring.
    capacity: usize,
    /// Slots of one burst. 0: a claim of its own for each packet or batch.
    burst: usize,
    packet: PhantomData<fn(P)>,
}

impl<P: Numbered> Stream<P> {
    /// Through a ring with one publisher.
    pub(crate) fn exclusive(name: &'static str, batch: u64) -> Self {
        let capacity = Settings::default().capacity;
        Self { name, claims: Claims::Exclusive, batch, capacity, burst: 0, packet: PhantomData }
    }

    /// Through a ring that allows several publishers.
    pub(crate) fn shared(name: &'static str, batch: u64) -> Self {
        Self { claims: Claims::Shared, ..Self::exclusive(name, batch) }
    }

    /// Through a ring that allows several publishers, in bursts of this many slots.
    pub(crate) fn bursts(name: &'static str, burst: usize) -> Self {
        Self { burst, ..Self::shared(name, 1) }
    }

    /// Through a ring of this size instead of the default.
    pub(crate) fn of(self, capacity: usize) -> Self {
        Self { capacity, ..self }
    }

    fn has_default_ring(&self) -> bool {
        self.capacity == Settings::default().capacity
    }

    /// Packets before the clock starts: at least two laps.
    fn warm_up(&self) -> u64 {
        2 * (self.capacity / SLOT) as u64
    }

    fn ring(&self) -> RingBuilder {
        let ring = Ring::builder().capacity(self.capacity).wait(Wait::spin());
        if self.claims == Claims::Exclusive { ring.exclusive() } else { ring.shared() }
    }

    /// Receives packets up to `end`, and possibly the rest of a batch. Returns the number of the
    /// next packet.
    fn take(&self, packets: &mut Subscriber<P>, from: u64, end: u64) -> Outcome<u64> {
        if self.batch == 1 {
            return take_each(packets, from, end);
        }
        let mut next = from;
        while next < end {
            for packet in &packets.drain()? {
                check(P::is(black_box(packet), next), next)?;
                next += 1;
            }
        }
        Ok(next)
    }
}

fn take_each<P: Numbered>(packets: &mut Subscriber<P>, from: u64, end: u64) -> Outcome<u64> {
    for number in from..end {
        check(P::is(black_box(&*packets.recv()?), number), number)?;
    }
    Ok(end)
}

fn send_each<P: Numbered>(packets: &mut Publisher<P>, end: u64) -> Outcome<()> {
    let mut packet = P::blank();
    for number in 0..end {
        packet.set(number);
        packets.send(&packet)?;
    }
    Ok(())
}

fn send_bursts<P: Numbered>(packets: &mut Publisher<P>, end: u64, slots: usize) -> Outcome<()> {
    let mut burst = packets.burst(slots)?;
    let mut packet = P::blank();
    for number in 0..end {
        packet.set(number);
        burst.send(&packet)?;
    }
    Ok(())
}

fn send_batches<P: Numbered>(packets: &mut Publisher<P>, end: u64, batch: u64) -> Outcome<()> {
    let mut buffer: Vec<P> = (0..batch).map(|_| P::blank()).collect();
    for start in (0..end).step_by(batch as usize) {
        let some = &mut buffer[..batch.min(end - start) as usize];
        some.iter_mut().zip(start..).for_each(|(packet, number)| packet.set(number));
        packets.send_all(black_box(some))?;
    }
    Ok(())
}

impl<P: Numbered> Scenario for Stream<P> {
    fn name(&self) -> String {
        let (name, mebibytes) = (self.name, self.capacity >> 20);
        if self.has_default_ring() { name.into() } else { format!("{name}_{mebibytes}m") }
    }

    fn about(&self) -> String {
        let ring = if self.claims == Claims::Exclusive { "exclusive" } else { "shared" };
        let how = match (self.batch, self.burst) {
            (1, 0) => "one send and one recv each".to_owned(),
            (1, burst) => format!("bursts of {burst} slots"),
            (batch, _) => format!("send_all of {batch} and drain"),
        };
        format!("typed, checked packets, {ring} ring of {} KiB, {how}", self.capacity >> 10)
    }

    fn payload(&self) -> usize {
        P::ARCHIVED
    }

    fn unit(&self) -> Unit {
        Unit::MillionsPerSecond
    }

    fn floors(&self) -> Vec<Box<dyn Scenario>> {
        let (payload, capacity) = (P::ARCHIVED, self.capacity);
        if payload > 64 {
            let (copying, unit) = (Copying::Memcpy, self.unit());
            return vec![Box::new(Copies { copying, size: payload, unit })];
        }
        // A claim for a batch costs almost nothing per packet.
        let orders: &[Order] = match (self.claims, self.batch) {
            (Claims::Shared, 1) => &[Order::Claimed, Order::ClaimedByWords],
            (_, 1) => &[Order::Single],
            _ => &[Order::Batches],
        };
        let floor = |order: &Order| SlotStream { order: *order, payload, capacity };
        orders.iter().map(|order| Box::new(floor(order)) as Box<dyn Scenario>).collect()
    }

    fn is_headline(&self) -> bool {
        self.has_default_ring()
    }

    fn targets(&self) -> Vec<Target> {
        let phases = [Target::RatioIn(Phase::Apart, 0.4), Target::RatioIn(Phase::Coupled, 0.6)];
        match self.name {
            "stream_exclusive_48" => phases.into(),
            "send_all_exclusive_48" if self.has_default_ring() => {
                vec![Target::RatioAtLeast(0.5), Target::OfOther("stream_exclusive_48", 1.0)]
            }
            "send_all_exclusive_48" => vec![Target::RatioAtLeast(0.5)],
            "stream_shared_48" => vec![Target::RatioAtLeast(1.0)],
            // Its floor has one compare-and-swap for each packet.
            "burst_16_shared_48" => vec![Target::RatioAtLeast(1.7)],
            "send_all_shared_48" => vec![Target::OfOther("stream_exclusive_48", 0.7)],
            "stream_chat" => vec![Target::AtLeast(12.0)],
            _ => Vec::new(),
        }
    }

    fn measure(&self, run: &Run) -> Outcome<Sample> {
        let _pinned = run.pin_before_joining()?;
        let mut packets = self.ring().open(&run.ring(THERE))?.subscriber()?;
        let partner = run.start(0)?;
        let _pinned = run.pin_after_joining()?;
        let first = self.take(&mut packets, 0, self.warm_up())?;
        let started = Instant::now();
        let end = self.take(&mut packets, first, self.warm_up() + run.count(PACKETS))?;
        let took = started.elapsed();
        partner.finish()?;
        Ok(Sample::of(millions(end - first, took)))
    }

    fn serve(&self, side: &mut Side) -> Outcome<()> {
        let _pinned = side.pin_before_joining()?;
        let mut packets: Publisher<P> = self.ring().attach(&side.run.ring(THERE))?.publisher()?;
        side.ready()?;
        let _pinned = side.pin_after_joining()?;
        let end = self.warm_up() + side.run.count(PACKETS);
        if self.burst > 0 {
            send_bursts(&mut packets, end, self.burst)
        } else if self.batch == 1 {
            send_each(&mut packets, end)
        } else {
            send_batches(&mut packets, end, self.batch)
        }
    }
}
