//! Calls of a service: a typed request there, a typed reply back.
//!
//! A client and a server, a process each, pinned and spinning. The time starts before the
//! request is archived and ends when the reply was received and checked.
//!
//! The floor is the ring's own round trip with the same packets. So the ratio is the cost of the
//! message tags, the window of calls and the group of servers.

use super::packets::Numbered;
use super::round_trip::RoundTrip;
use crate::harness::{Outcome, Run, Sample, Scenario, Side, THERE, Target, Unit, check, latencies};
use packetring::cluster::{Client, Request, Service};
use packetring::{Wait, Worker};
use std::marker::PhantomData;
use std::time::Instant;

/// Calls before recording starts.
const WARM_UP: u64 = 2_000;
/// Calls that are recorded.
const CALLS: u64 = 100_000;
const SERVICE: &str = "echo";

/// Calls with requests and replies of one type.
pub(crate) struct Calls<P> {
    name: &'static str,
    packet: PhantomData<fn(P)>,
}

impl<P: Numbered> Calls<P> {
    pub(crate) fn new(name: &'static str) -> Self {
        Self { name, packet: PhantomData }
    }
}

impl<P: Numbered + 'static> Scenario for Calls<P> {
    fn name(&self) -> String {
        self.name.into()
    }

    fn about(&self) -> String {
        "a call of a service, typed and checked both ways, both sides spinning; p50".into()
    }

    fn payload(&self) -> usize {
        P::ARCHIVED
    }

    fn unit(&self) -> Unit {
        Unit::Nanoseconds
    }

    fn floor(&self) -> Option<Box<dyn Scenario>> {
        Some(Box::new(RoundTrip::<P>::spinning("round_trip")))
    }

    fn targets(&self) -> Vec<Target> {
        vec![Target::RatioAtMost(1.25)]
    }

    fn measure(&self, run: &Run) -> Outcome<Sample> {
        let _pinned = run.pin_before_joining()?;
        let worker = Worker::join(&run.ring(THERE), "client")?;
        let mut client: Client<P, P> = worker.client(SERVICE)?;
        client.set_wait(Wait::spin());
        let partner = run.start(0)?;
        let _pinned = run.pin_after_joining()?;
        let (mut packet, mut calls) = (P::blank(), latencies()?);
        for number in 0..WARM_UP + run.count(CALLS) {
            packet.set(number);
            let started = Instant::now();
            let reply = client.call(&packet)?;
            let took = started.elapsed().as_nanos() as u64;
            check(P::is(&reply, number), number)?;
            if number >= WARM_UP {
                calls.saturating_record(took);
            }
        }
        partner.finish()?;
        Ok(Sample::of_latencies(calls, self.unit()))
    }

    fn serve(&self, side: &mut Side) -> Outcome<()> {
        let _pinned = side.pin_before_joining()?;
        let worker = Worker::join(&side.run.ring(THERE), "server")?;
        let mut service: Service<P, P> = worker.service(SERVICE)?;
        service.set_wait(Wait::spin());
        side.ready()?;
        let _pinned = side.pin_after_joining()?;
        let mut packet = P::blank();
        for number in 0..WARM_UP + side.run.count(CALLS) {
            let request = service.recv()?;
            check(P::is(&request, number), number)?;
            packet.set(number);
            Request::reply(request, &packet)?;
        }
        Ok(())
    }
}
