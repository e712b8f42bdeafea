//! A publisher sends its stream by every send operation, until it is asked to leave.

use crate::context::{Context, Operation};
use crate::ledger::{Stage, now};
use crate::payload::{Payload, fill, length, payload, stream, sum};
use packetring::{Publisher, Ring, SendAllError, SendTimeoutError, TrySendError, WaitingFor};
use std::error::Error;
use std::time::Duration;

/// A blocked send records the process it waits for at this interval, and continues to wait.
const TIMEOUT: Duration = Duration::from_secs(2);

/// A stream and the endpoints that send it.
pub(crate) struct Stream<'a, 'd> {
    context: &'d mut Context<'a>,
    number: u64,
    next: u64,
    endpoints: Vec<Publisher<Payload>>,
}

/// Runs a publisher.
pub(crate) fn publish(context: &mut Context<'_>, ring: &Ring) -> Result<(), Box<dyn Error>> {
    let mut publisher = context.join(|| ring.publisher::<Payload>())?;
    let wait = context.assignment.wait(&mut context.rng);
    publisher.set_wait(wait);
    context.own().joined.set(1);
    let number = stream(context.assignment.phase, context.assignment.ring, context.assignment.row);
    let mut stream = Stream { context, number, next: 0, endpoints: vec![publisher] };
    while stream.context.stage() == Stage::Run && !stream.context.should_leave() {
        stream.act()?;
    }
    stream.context.begin(Operation::Leave);
    drop(stream.endpoints);
    Ok(())
}

impl Stream<'_, '_> {
    fn act(&mut self) -> Result<(), Box<dyn Error>> {
        match self.context.rng.below(100) {
            0..=29 => self.fill_in_place()?,
            30..=44 => self.send()?,
            45..=52 => self.send_all()?,
            53..=60 => self.cancel()?,
            61..=66 => self.try_send()?,
            67..=68 => self.change_endpoints()?,
            69..=96 => self.pause(50, 199),
            _ => self.pause(200, 2000),
        }
        Ok(())
    }

    fn pause(&mut self, low: u64, high: u64) {
        let microseconds = self.context.rng.between(low, high);
        self.context.pause(microseconds);
    }

    fn endpoint(&mut self) -> usize {
        self.context.rng.below(self.endpoints.len() as u64) as usize
    }

    fn fill_in_place(&mut self) -> Result<(), Box<dyn Error>> {
        let (endpoint, len) = (self.endpoint(), length(&mut self.context.rng));
        let (number, sequence) = (self.number, self.next);
        let pauses = self.context.rng.percent(10).then(|| self.context.rng.between(1, 190));
        self.waiting(endpoint, 1, |publisher| {
            let sent_at = now();
            let mut room = publisher.reserve_tail_timeout(len, TIMEOUT)?;
            let (header, bytes) = room.split_mut();
            header.stream = number.into();
            header.sequence = sequence.into();
            header.sent_at = sent_at.into();
            fill(number, sequence, bytes);
            if let Some(time) = pauses {
                // Short, but long enough for a kill during the reservation.
                std::thread::sleep(Duration::from_micros(time));
            }
            header.sum = sum(number, sequence, sent_at, bytes).into();
            room.commit();
            Ok(())
        })
    }

    fn send(&mut self) -> Result<(), Box<dyn Error>> {
        let (endpoint, len) = (self.endpoint(), length(&mut self.context.rng));
        let payload = payload(self.number, self.next, now(), len);
        self.waiting(endpoint, 1, |publisher| publisher.send_timeout(&payload, TIMEOUT).map(drop))
    }

    /// Runs one operation that sends `count` packets, retrying after timeouts.
    fn waiting(
        &mut self,
        endpoint: usize,
        count: u64,
        mut send: impl FnMut(&mut Publisher<Payload>) -> Result<(), SendTimeoutError>,
    ) -> Result<(), Box<dyn Error>> {
        let own = self.context.own();
        let timer = self.context.begin(Operation::Send);
        own.begun.set(self.next + count);
        loop {
            match send(&mut self.endpoints[endpoint]) {
                Ok(()) => break,
                Err(SendTimeoutError::Timeout { waiting_for }) if !self.context.is_orphaned() => {
                    own.waiting_for.set(pid(waiting_for));
                }
                Err(error) => return Err(error.into()),
            }
        }
        own.returned.set(self.next + count);
        self.context.end(timer, None);
        self.next += count;
        Ok(())
    }

    fn send_all(&mut self) -> Result<(), Box<dyn Error>> {
        let (endpoint, count) = (self.endpoint(), self.context.rng.between(2, 80));
        let rng = &mut self.context.rng;
        let (number, first) = (self.number, self.next);
        let sequences = first..first + count;
        let payloads = sequences
            .map(|sequence| payload(number, sequence, now(), length(rng)))
            .collect::<Vec<_>>();
        let own = self.context.own();
        let timer = self.context.begin(Operation::Send);
        own.begun.set(first + count);
        let mut sent = 0;
        loop {
            match self.endpoints[endpoint].send_all_timeout(&payloads[sent..], TIMEOUT) {
                Ok(()) => break,
                Err(SendAllError {
                    sent: more,
                    source: SendTimeoutError::Timeout { waiting_for },
                }) if !self.context.is_orphaned() => {
                    sent += more;
                    own.returned.set(first + sent as u64);
                    own.waiting_for.set(pid(waiting_for));
                }
                Err(error) => return Err(error.into()),
            }
        }
        own.returned.set(first + count);
        self.context.end(timer, None);
        self.next += count;
        Ok(())
    }

    fn try_send(&mut self) -> Result<(), Box<dyn Error>> {
        let (endpoint, len) = (self.endpoint(), length(&mut self.context.rng));
        let own = self.context.own();
        own.begun.set(self.next + 1);
        match self.endpoints[endpoint].try_send(&payload(self.number, self.next, now(), len)) {
            Ok(_) => self.next += 1,
            Err(TrySendError::Full { .. }) => own.begun.set(self.next),
            Err(error) => return Err(error.into()),
        }
        own.returned.set(self.next);
        Ok(())
    }

    /// Reserves a packet and drops the reservation.
    fn cancel(&mut self) -> Result<(), Box<dyn Error>> {
        let (endpoint, len) = (self.endpoint(), length(&mut self.context.rng));
        match self.endpoints[endpoint].try_reserve_tail(len) {
            Ok(mut room) => room.tail_mut().fill(0xee),
            Err(TrySendError::Full { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Adds an endpoint for the stream, or removes one.
    fn change_endpoints(&mut self) -> Result<(), Box<dyn Error>> {
        if self.context.assignment.kind().is_exclusive() {
            return Ok(());
        }
        if self.endpoints.len() > 1 {
            let endpoint = self.endpoint();
            drop(self.endpoints.swap_remove(endpoint));
        } else {
            let other = self.context.join(|| self.endpoints[0].try_clone())?;
            self.endpoints.push(other);
        }
        Ok(())
    }
}

fn pid(waiting_for: WaitingFor) -> u64 {
    match waiting_for {
        WaitingFor::Subscriber { pid } | WaitingFor::Publisher { pid } => u64::from(pid),
        _ => 0,
    }
}
