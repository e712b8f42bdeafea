//! A visitor: opens a ring that nobody keeps, talks to whoever is there, and leaves again.
//!
//! So the ring is made and removed all the time, and visitors are killed while they do it. As
//! long as one is there the ring is the same, so what it sends comes back to it, and of what the
//! others send nothing is missing in between.

use crate::desk::{Desk, Operation};
use crate::ledger::{Fault, Stage, now};
use crate::parcel::{Parcel, Said, length, parcel, stream};
use packetring::{Publisher, RecvTimeoutError, Subscriber, TrySendError};
use std::collections::HashMap;
use std::error::Error;
use std::time::{Duration, Instant};

/// Packets sent in one visit, at most.
const PACKETS: u64 = 30;
/// What was sent by this very process is there. It may be frozen, and others inside their claims.
const PATIENCE: Duration = Duration::from_secs(20);

/// The life of a visitor.
pub(crate) fn visit(desk: &mut Desk<'_>) -> Result<(), Box<dyn Error>> {
    let number = stream(desk.post.phase, desk.post.ring, desk.post.row);
    let mut next = 0;
    while desk.stage() == Stage::Run && !desk.is_over() {
        next = once(desk, number, next)?;
        let time = desk.dice.between(20, 400);
        desk.pause(time);
    }
    Ok(())
}

/// One visit. Returns the number of the next packet.
fn once(desk: &mut Desk<'_>, number: u64, first: u64) -> Result<u64, Box<dyn Error>> {
    let (name, post) = (desk.post.ring_name(), desk.post);
    let ring = desk.join(|| post.kind().builder().open(&name))?;
    let mut own = desk.join(|| ring.subscriber::<Parcel>())?;
    let mut publisher = desk.join(|| ring.publisher::<Parcel>())?;
    own.set_wait(post.wait(&mut desk.dice));
    if desk.dice.percent(20) {
        drop(ring);
    }
    desk.own().joined.set(1);
    let next = send(desk, &mut publisher, number, first)?;
    read(desk, &mut own, number, first..next)?;
    desk.begin(Operation::Leave);
    if desk.dice.percent(50) {
        drop(own);
        drop(publisher);
    }
    Ok(next)
}

fn send(
    desk: &mut Desk<'_>,
    publisher: &mut Publisher<Parcel>,
    number: u64,
    first: u64,
) -> Result<u64, Box<dyn Error>> {
    let mut next = first;
    for _ in 0..desk.dice.below(PACKETS) {
        let parcel = parcel(number, next, now(), length(&mut desk.dice) / 8);
        desk.own().begun.set(next + 1);
        match publisher.try_send(&parcel) {
            Ok(_) => next += 1,
            Err(TrySendError::Full { .. }) => break,
            Err(error) => return Err(error.into()),
        }
        desk.own().returned.set(next);
    }
    desk.own().begun.set(next);
    Ok(next)
}

/// Reads until everything of its own has come back.
fn read(
    desk: &mut Desk<'_>,
    subscriber: &mut Subscriber<Parcel>,
    number: u64,
    mut own: std::ops::Range<u64>,
) -> Result<(), Box<dyn Error>> {
    let mut others = HashMap::new();
    let give_up_at = Instant::now() + PATIENCE;
    desk.begin(Operation::Receive);
    while !own.is_empty() {
        let said = match subscriber.recv_timeout(Duration::from_secs(1)) {
            Ok(parcel) => Said::by(&parcel),
            Err(RecvTimeoutError::Timeout)
                if Instant::now() < give_up_at && !desk.is_orphaned() =>
            {
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        check(desk, &said);
        let next = others.entry(said.stream).or_insert(said.sequence);
        let next = if said.stream == number { &mut own.start } else { next };
        if said.sequence != *next {
            let fault = if said.sequence > *next { Fault::Gap } else { Fault::Again };
            desk.book.enter_fault(fault, desk.post.row, said.stream, [said.sequence, *next]);
        }
        *next = said.sequence + 1;
    }
    desk.end_idle();
    desk.own().progress.add(1);
    Ok(())
}

fn check(desk: &Desk<'_>, said: &Said) {
    desk.book.readers[desk.post.row].received.add(1);
    let expected = stream(desk.post.phase, desk.post.ring, said.row());
    if !said.is_whole || said.stream != expected {
        let says = [said.sequence, expected];
        desk.book.enter_fault(Fault::Torn, desk.post.row, said.stream, says);
    }
}
