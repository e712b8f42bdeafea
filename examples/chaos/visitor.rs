//! A visitor opens a ring that no process keeps open, exchanges packets, and leaves again.
//!
//! The ring is therefore created and removed all the time, and visitors are killed during it. While
//! one visitor is joined, the ring stays the same ring. Therefore each visitor receives all packets
//! of its own, and the packets of others without gaps.

use crate::context::{Context, Operation};
use crate::ledger::{Fault, Stage, now};
use crate::payload::{Observed, Payload, length, payload, stream};
use packetring::{Publisher, RecvTimeoutError, Subscriber, TrySendError};
use std::collections::HashMap;
use std::error::Error;
use std::time::{Duration, Instant};

/// Upper bound of the packets sent in one visit.
const PACKETS: u64 = 30;
/// Timeout for a visitor's own packets. The visitor may be frozen, and other claims may be open.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Runs a visitor.
pub(crate) fn visit(context: &mut Context<'_>) -> Result<(), Box<dyn Error>> {
    let number = stream(context.assignment.phase, context.assignment.ring, context.assignment.row);
    let mut next = 0;
    while context.stage() == Stage::Run && !context.should_leave() {
        next = once(context, number, next)?;
        let time = context.rng.between(20, 400);
        context.pause(time);
    }
    Ok(())
}

/// Makes one visit. Returns the sequence number of the next packet.
fn once(context: &mut Context<'_>, number: u64, first: u64) -> Result<u64, Box<dyn Error>> {
    let (name, assignment) = (context.assignment.ring_name(), context.assignment);
    let ring = context.join(|| assignment.kind().builder().open(&name))?;
    let mut own = context.join(|| ring.subscriber::<Payload>())?;
    let mut publisher = context.join(|| ring.publisher::<Payload>())?;
    own.set_wait(assignment.wait(&mut context.rng));
    if context.rng.percent(20) {
        drop(ring);
    }
    context.own().joined.set(1);
    let next = send(context, &mut publisher, number, first)?;
    read(context, &mut own, number, first..next)?;
    context.begin(Operation::Leave);
    if context.rng.percent(50) {
        drop(own);
        drop(publisher);
    }
    Ok(next)
}

fn send(
    context: &mut Context<'_>,
    publisher: &mut Publisher<Payload>,
    number: u64,
    first: u64,
) -> Result<u64, Box<dyn Error>> {
    let mut next = first;
    for _ in 0..context.rng.below(PACKETS) {
        let payload = payload(number, next, now(), length(&mut context.rng) / 8);
        context.own().begun.set(next + 1);
        match publisher.try_send(&payload) {
            Ok(_) => next += 1,
            Err(TrySendError::Full { .. }) => break,
            Err(error) => return Err(error.into()),
        }
        context.own().returned.set(next);
    }
    context.own().begun.set(next);
    Ok(next)
}

/// Reads until all own packets have been received.
fn read(
    context: &mut Context<'_>,
    subscriber: &mut Subscriber<Payload>,
    number: u64,
    mut own: std::ops::Range<u64>,
) -> Result<(), Box<dyn Error>> {
    let mut others = HashMap::new();
    let give_up_at = Instant::now() + TIMEOUT;
    context.begin(Operation::Receive);
    while !own.is_empty() {
        let observed = match subscriber.recv_timeout(Duration::from_secs(1)) {
            Ok(payload) => Observed::from_payload(&payload),
            Err(RecvTimeoutError::Timeout)
                if Instant::now() < give_up_at && !context.is_orphaned() =>
            {
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        check(context, &observed);
        let next = others.entry(observed.stream).or_insert(observed.sequence);
        let next = if observed.stream == number { &mut own.start } else { next };
        if observed.sequence != *next {
            let fault = if observed.sequence > *next { Fault::Gap } else { Fault::Duplicate };
            context.book.record_fault(
                fault,
                context.assignment.row,
                observed.stream,
                [observed.sequence, *next],
            );
        }
        *next = observed.sequence + 1;
    }
    context.end_idle();
    context.own().progress.add(1);
    Ok(())
}

fn check(context: &Context<'_>, observed: &Observed) {
    context.book.readers[context.assignment.row].received.add(1);
    let expected = stream(context.assignment.phase, context.assignment.ring, observed.row());
    if !observed.is_intact || observed.stream != expected {
        let details = [observed.sequence, expected];
        context.book.record_fault(Fault::Torn, context.assignment.row, observed.stream, details);
    }
}
