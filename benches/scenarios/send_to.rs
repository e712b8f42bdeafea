//! Messages from one worker to another: `send_to` by name; `recv` and acknowledgement at the inbox.
//!
//! Each run starts a new sender. The measuring process receives, and its clock starts after every
//! page was touched. It opens each message as its type, checks it and acknowledges it. The floor is
//! the floor of a shared stream.

use super::packets::Numbered;
use crate::floor::{Order, SlotStream};
use crate::harness::{Outcome, Run, Sample, Scenario, Side, THERE, Target, Unit, check, millions};
use packetring::cluster::Inbox;
use packetring::{Wait, Worker};
use std::hint::black_box;
use std::marker::PhantomData;
use std::time::Instant;

/// Messages before the clock starts: more than two laps.
const WARM_UP: u64 = 1 << 15;
/// Messages that are measured.
const MESSAGES: u64 = 4_000_000;
/// Capacity of the inbox in bytes: that of a default ring.
const CAPACITY: usize = 1 << 20;
const TO: &str = "inbox-owner";

/// Messages of one packet type.
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
            let message = inbox.recv()?;
            check(P::is(black_box(message.open_as::<P>()?), number), number)?;
            message.ack();
        }
        Ok(())
    }
}

impl<P: Numbered> Scenario for SendTo<P> {
    fn name(&self) -> String {
        self.name.into()
    }

    fn about(&self) -> String {
        "messages with typed, checked packets, one send_to, recv and acknowledgement each".into()
    }

    fn payload(&self) -> usize {
        P::ARCHIVED
    }

    fn unit(&self) -> Unit {
        Unit::MillionsPerSecond
    }

    fn floor(&self) -> Option<Box<dyn Scenario>> {
        Some(Box::new(SlotStream { order: Order::Claimed, payload: 48, capacity: CAPACITY }))
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
        let count = run.count(MESSAGES);
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
        for number in 0..WARM_UP + side.run.count(MESSAGES) {
            packet.set(number);
            worker.send_to(TO, black_box(&packet))?;
        }
        Ok(())
    }
}
