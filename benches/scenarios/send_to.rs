//! Letters from one worker to another: `send_to` by name, `recv` and `done` at the inbox.
//!
//! As the streams beside it: the sender is started anew for each run, this process receives, and the
//! clock runs here when every page has been touched. Each letter is opened as its type, recognised
//! and acknowledged. The floor is that of a shared stream.

use super::packets::Numbered;
use crate::floor::SlotStream;
use crate::harness::{Outcome, Run, Sample, Scenario, Side, THERE, Target, Unit, check, millions};
use packetring::cluster::Inbox;
use packetring::{Wait, Worker};
use std::hint::black_box;
use std::marker::PhantomData;
use std::time::Instant;

/// Letters before the clock runs: two laps and more.
const WARM_UP: u64 = 1 << 15;
/// Letters that are measured.
const LETTERS: u64 = 4_000_000;
/// Bytes of the inbox: those of a default ring.
const CAPACITY: usize = 1 << 20;
const TO: &str = "desk";

/// Letters of one packet type.
pub(crate) struct SendTo<P> {
    name: &'static str,
    packet: PhantomData<fn(P)>,
}

impl<P: Numbered> SendTo<P> {
    pub(crate) fn new(name: &'static str) -> Self {
        Self { name, packet: PhantomData }
    }

    fn take(inbox: &mut Inbox, from: u64, end: u64) -> Outcome<()> {
        for number in from..end {
            let letter = inbox.recv()?;
            check(P::is(black_box(letter.open_as::<P>()?), number), number)?;
            letter.ack();
        }
        Ok(())
    }
}

impl<P: Numbered> Scenario for SendTo<P> {
    fn name(&self) -> String {
        self.name.into()
    }

    fn about(&self) -> String {
        "letters of typed, checked packets, one send_to, one recv and one done each".into()
    }

    fn payload(&self) -> usize {
        P::ARCHIVED
    }

    fn unit(&self) -> Unit {
        Unit::MillionsPerSecond
    }

    fn floor(&self) -> Option<Box<dyn Scenario>> {
        Some(Box::new(SlotStream { claims: true }))
    }

    fn targets(&self) -> Vec<Target> {
        vec![Target::OfOther("stream_shared_48", 0.8)]
    }

    fn measure(&self, run: &Run) -> Outcome<Sample> {
        let _pinned = run.pin_before_joining()?;
        let worker = Worker::builder().inbox_capacity(CAPACITY).join(&run.ring(THERE), TO)?;
        let mut inbox = worker.inbox()?;
        inbox.set_wait(Wait::spin());
        let partner = run.start(0)?;
        let _pinned = run.pin_after_joining()?;
        Self::take(&mut inbox, 0, WARM_UP)?;
        let count = run.count(LETTERS);
        let started = Instant::now();
        Self::take(&mut inbox, WARM_UP, WARM_UP + count)?;
        let took = started.elapsed();
        partner.finish()?;
        worker.leave()?;
        Ok(Sample::of(millions(count, took)))
    }

    fn serve(&self, side: &mut Side) -> Outcome<()> {
        let _pinned = side.pin_before_joining()?;
        let worker = Worker::join(&side.run.ring(THERE), "feed")?;
        side.ready()?;
        let _pinned = side.pin_after_joining()?;
        let mut packet = P::blank();
        for number in 0..WARM_UP + side.run.count(LETTERS) {
            packet.set(number);
            worker.send_to(TO, black_box(&packet))?;
        }
        Ok(())
    }
}
