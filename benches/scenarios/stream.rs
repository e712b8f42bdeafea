//! Streams of small packets from one process to another, each typed and checked.
//!
//! Each run starts a new publisher. The measuring process reads, and its clock starts after every
//! page was touched. The publisher calls `send` for each packet or `send_all` for each batch. The
//! reader calls `recv` for each packet or `drain` for all available packets.
//!
//! The floor of packets that fit a slot is bare slots of one line, copied in and out. The floor of
//! larger packets is bytes that are copied in and read in place.

use super::packets::Numbered;
use crate::floor::{Memcpy, SlotStream};
use crate::harness::{Outcome, Run, Sample, Scenario, Side, THERE, Target, Unit, check, millions};
use packetring::{Claims, Publisher, Ring, RingBuilder, Subscriber, Wait};
use std::hint::black_box;
use std::marker::PhantomData;
use std::time::Instant;

/// Packets before the clock starts: two laps.
const WARM_UP: u64 = 1 << 15;
/// Packets that are measured.
const PACKETS: u64 = 4_000_000;

/// A stream of packets of one type.
pub(crate) struct Stream<P> {
    name: &'static str,
    claims: Claims,
    /// Packets of one `send_all`. 1: `send` and `recv` for each packet.
    batch: u64,
    packet: PhantomData<fn(P)>,
}

impl<P: Numbered> Stream<P> {
    /// Through a ring with one publisher.
    pub(crate) fn exclusive(name: &'static str, batch: u64) -> Self {
        Self { name, claims: Claims::Exclusive, batch, packet: PhantomData }
    }

    /// Through a ring that allows several publishers.
    pub(crate) fn shared(name: &'static str, batch: u64) -> Self {
        Self { name, claims: Claims::Shared, batch, packet: PhantomData }
    }

    fn ring(&self) -> RingBuilder {
        let ring = Ring::builder().wait(Wait::spin());
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
        packets.send(black_box(&packet))?;
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
        self.name.into()
    }

    fn about(&self) -> String {
        let ring = if self.claims == Claims::Exclusive { "exclusive" } else { "shared" };
        match self.batch {
            1 => format!("typed, checked packets, {ring} ring, one send and one recv each"),
            batch => format!("typed, checked packets, {ring} ring, send_all of {batch} and drain"),
        }
    }

    fn payload(&self) -> usize {
        P::ARCHIVED
    }

    fn unit(&self) -> Unit {
        Unit::MillionsPerSecond
    }

    fn floor(&self) -> Option<Box<dyn Scenario>> {
        if P::ARCHIVED > 48 {
            return Some(Box::new(Memcpy { size: P::ARCHIVED, unit: self.unit() }));
        }
        // A claim for a batch costs almost nothing per packet.
        let claims = self.claims == Claims::Shared && self.batch == 1;
        Some(Box::new(SlotStream { claims }))
    }

    fn targets(&self) -> Vec<Target> {
        match self.name {
            "stream_exclusive_48" => vec![Target::RatioAtLeast(0.85)],
            "send_all_exclusive_48" => vec![Target::OfOther("stream_exclusive_48", 1.0)],
            "stream_shared_48" => vec![Target::RatioAtLeast(0.95)],
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
        let first = self.take(&mut packets, 0, WARM_UP)?;
        let started = Instant::now();
        let end = self.take(&mut packets, first, WARM_UP + run.count(PACKETS))?;
        let took = started.elapsed();
        partner.finish()?;
        Ok(Sample::of(millions(end - first, took)))
    }

    fn serve(&self, side: &mut Side) -> Outcome<()> {
        let _pinned = side.pin_before_joining()?;
        let mut packets: Publisher<P> = self.ring().attach(&side.run.ring(THERE))?.publisher()?;
        side.ready()?;
        let _pinned = side.pin_after_joining()?;
        let end = WARM_UP + side.run.count(PACKETS);
        if self.batch == 1 {
            send_each(&mut packets, end)
        } else {
            send_batches(&mut packets, end, self.batch)
        }
    }
}
