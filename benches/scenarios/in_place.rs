//! Large packets, written into the ring with `reserve_tail` and read in place.
//!
//! The publisher copies the bytes from its private memory into the reservation by
//! `copy_tail_from`, which takes the faster of two ways to copy. The reader reads
//! one byte of each cache line. The floors do the same in shared memory of the same size, by each
//! way to copy that the processor has.

use crate::floor::{Copies, Copying, capacity_for, source, sum_of, touch};
use crate::harness::{Curve, Outcome, Run, Sample, Scenario, Side, THERE, Target, Unit, check};
use packetring::{Publisher, Ring, RingBuilder, Subscriber, Tail, Wait};
use std::hint::black_box;
use std::time::Instant;

/// A number and bytes.
type Frame = Tail<u64, u8>;

/// Packets of one size in bytes.
pub(crate) struct InPlace {
    pub(crate) size: usize,
}

impl InPlace {
    fn ring(&self) -> RingBuilder {
        Ring::builder().capacity(capacity_for(self.size)).exclusive().wait(Wait::spin())
    }

    fn copies(&self, copying: Copying) -> Copies {
        Copies { copying, size: self.size, unit: self.unit() }
    }

    fn take(&self, frames: &mut Subscriber<Frame>, from: u64, end: u64) -> Outcome<()> {
        let expected = sum_of(self.size);
        for number in from..end {
            let frame = frames.recv()?;
            let bytes = black_box(frame.tail.as_slice());
            let is_whole = bytes.len() == self.size && touch(bytes) == expected;
            check(is_whole && frame.head == number, number)?;
        }
        Ok(())
    }
}

impl Scenario for InPlace {
    fn name(&self) -> String {
        match self.size {
            1024 => "stream_1k".into(),
            size if size >= 1 << 20 => format!("in_place_{}m", size >> 20),
            size if size >= 1 << 10 => format!("in_place_{}k", size >> 10),
            size => format!("in_place_{size}"),
        }
    }

    fn about(&self) -> String {
        "bytes copied into a reservation, each line read in place".into()
    }

    fn payload(&self) -> usize {
        self.size
    }

    fn unit(&self) -> Unit {
        Unit::GigabytesPerSecond
    }

    fn floors(&self) -> Vec<Box<dyn Scenario>> {
        let floor = |copying: &Copying| Box::new(self.copies(*copying)) as Box<dyn Scenario>;
        Copying::ALL.iter().map(floor).collect()
    }

    fn targets(&self) -> Vec<Target> {
        if self.is_headline() { vec![Target::RatioAtLeast(0.8)] } else { Vec::new() }
    }

    fn is_headline(&self) -> bool {
        [1 << 10, 1 << 16, 1 << 20].contains(&self.size)
    }

    fn point(&self) -> Option<(Curve, u64)> {
        Some((Curve::Payload, self.size as u64))
    }

    fn measure(&self, run: &Run) -> Outcome<Sample> {
        let _pinned = run.pin_before_joining()?;
        let mut frames = self.ring().open(&run.ring(THERE))?.subscriber()?;
        let partner = run.start(0)?;
        let _pinned = run.pin_after_joining()?;
        let (warm_up, packets) = self.copies(Copying::Memcpy).packets(run);
        self.take(&mut frames, 0, warm_up)?;
        let started = Instant::now();
        self.take(&mut frames, warm_up, warm_up + packets)?;
        let value = self.copies(Copying::Memcpy).value(packets, started);
        partner.finish()?;
        Ok(Sample::of(value))
    }

    fn serve(&self, side: &mut Side) -> Outcome<()> {
        let _pinned = side.pin_before_joining()?;
        let ring = self.ring().attach(&side.run.ring(THERE))?;
        let mut frames: Publisher<Frame> = ring.publisher()?;
        side.ready()?;
        let _pinned = side.pin_after_joining()?;
        let source = source(self.size);
        let (warm_up, packets) = self.copies(Copying::Memcpy).packets(&side.run);
        for number in 0..warm_up + packets {
            let mut frame = frames.reserve_tail(self.size)?;
            *frame.head_mut() = number.into();
            frame.copy_tail_from(black_box(&source))?;
            frame.commit();
        }
        Ok(())
    }
}
