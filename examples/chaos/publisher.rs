//! A publisher: sends its stream in every way there is, until it is told to leave.

use crate::desk::{Desk, Operation};
use crate::ledger::{Stage, now};
use crate::parcel::{Parcel, fill, length, parcel, stream, sum};
use packetring::{Publisher, Ring, SendAllError, SendTimeoutError, TrySendError, WaitingFor};
use std::error::Error;
use std::time::Duration;

/// A send that waits for so long says who for, and waits on.
const PATIENCE: Duration = Duration::from_secs(2);

/// A stream, and the endpoints through which it goes.
pub(crate) struct Stream<'a, 'd> {
    desk: &'d mut Desk<'a>,
    number: u64,
    next: u64,
    lanes: Vec<Publisher<Parcel>>,
}

/// The life of a publisher.
pub(crate) fn publish(desk: &mut Desk<'_>, ring: &Ring) -> Result<(), Box<dyn Error>> {
    let mut publisher = desk.join(|| ring.publisher::<Parcel>())?;
    let wait = desk.post.wait(&mut desk.dice);
    publisher.set_wait(wait);
    desk.own().joined.set(1);
    let number = stream(desk.post.phase, desk.post.ring, desk.post.row);
    let mut stream = Stream { desk, number, next: 0, lanes: vec![publisher] };
    while stream.desk.stage() == Stage::Run && !stream.desk.is_over() {
        stream.act()?;
    }
    stream.desk.begin(Operation::Leave);
    drop(stream.lanes);
    Ok(())
}

impl Stream<'_, '_> {
    fn act(&mut self) -> Result<(), Box<dyn Error>> {
        match self.desk.dice.below(100) {
            0..=29 => self.fill_in_place()?,
            30..=44 => self.send()?,
            45..=52 => self.send_all()?,
            53..=60 => self.give_up()?,
            61..=66 => self.try_send()?,
            67..=68 => self.change_lanes()?,
            69..=96 => self.pause(50, 199),
            _ => self.pause(200, 2000),
        }
        Ok(())
    }

    fn pause(&mut self, low: u64, high: u64) {
        let microseconds = self.desk.dice.between(low, high);
        self.desk.pause(microseconds);
    }

    fn lane(&mut self) -> usize {
        self.desk.dice.below(self.lanes.len() as u64) as usize
    }

    fn fill_in_place(&mut self) -> Result<(), Box<dyn Error>> {
        let (lane, len) = (self.lane(), length(&mut self.desk.dice));
        let (number, sequence) = (self.number, self.next);
        let dawdles = self.desk.dice.percent(10).then(|| self.desk.dice.between(1, 190));
        self.waiting(lane, 1, |publisher| {
            let sent_at = now();
            let mut room = publisher.reserve_tail_timeout(len, PATIENCE)?;
            let (label, bytes) = room.split_mut();
            label.stream = number.into();
            label.sequence = sequence.into();
            label.sent_at = sent_at.into();
            fill(number, sequence, bytes);
            if let Some(time) = dawdles {
                // Not long, but long enough to be killed in.
                std::thread::sleep(Duration::from_micros(time));
            }
            label.sum = sum(number, sequence, sent_at, bytes).into();
            room.commit();
            Ok(())
        })
    }

    fn send(&mut self) -> Result<(), Box<dyn Error>> {
        let (lane, len) = (self.lane(), length(&mut self.desk.dice));
        let parcel = parcel(self.number, self.next, now(), len);
        self.waiting(lane, 1, |publisher| publisher.send_timeout(&parcel, PATIENCE).map(drop))
    }

    /// One operation that sends so many packets, however long it takes.
    fn waiting(
        &mut self,
        lane: usize,
        count: u64,
        mut send: impl FnMut(&mut Publisher<Parcel>) -> Result<(), SendTimeoutError>,
    ) -> Result<(), Box<dyn Error>> {
        let own = self.desk.own();
        let turn = self.desk.begin(Operation::Send);
        own.begun.set(self.next + count);
        loop {
            match send(&mut self.lanes[lane]) {
                Ok(()) => break,
                Err(SendTimeoutError::Timeout { waiting_for }) if !self.desk.is_orphaned() => {
                    own.waiting_for.set(pid(waiting_for));
                }
                Err(error) => return Err(error.into()),
            }
        }
        own.returned.set(self.next + count);
        self.desk.end(turn, None);
        self.next += count;
        Ok(())
    }

    fn send_all(&mut self) -> Result<(), Box<dyn Error>> {
        let (lane, count) = (self.lane(), self.desk.dice.between(2, 80));
        let dice = &mut self.desk.dice;
        let (number, first) = (self.number, self.next);
        let sequences = first..first + count;
        let parcels = sequences
            .map(|sequence| parcel(number, sequence, now(), length(dice)))
            .collect::<Vec<_>>();
        let own = self.desk.own();
        let turn = self.desk.begin(Operation::Send);
        own.begun.set(first + count);
        let mut sent = 0;
        loop {
            match self.lanes[lane].send_all_timeout(&parcels[sent..], PATIENCE) {
                Ok(()) => break,
                Err(SendAllError {
                    sent: more,
                    source: SendTimeoutError::Timeout { waiting_for },
                }) if !self.desk.is_orphaned() => {
                    sent += more;
                    own.returned.set(first + sent as u64);
                    own.waiting_for.set(pid(waiting_for));
                }
                Err(error) => return Err(error.into()),
            }
        }
        own.returned.set(first + count);
        self.desk.end(turn, None);
        self.next += count;
        Ok(())
    }

    fn try_send(&mut self) -> Result<(), Box<dyn Error>> {
        let (lane, len) = (self.lane(), length(&mut self.desk.dice));
        let own = self.desk.own();
        own.begun.set(self.next + 1);
        match self.lanes[lane].try_send(&parcel(self.number, self.next, now(), len)) {
            Ok(_) => self.next += 1,
            Err(TrySendError::Full { .. }) => own.begun.set(self.next),
            Err(error) => return Err(error.into()),
        }
        own.returned.set(self.next);
        Ok(())
    }

    /// Claims and thinks better of it.
    fn give_up(&mut self) -> Result<(), Box<dyn Error>> {
        let (lane, len) = (self.lane(), length(&mut self.desk.dice));
        match self.lanes[lane].try_reserve_tail(len) {
            Ok(mut room) => room.tail_mut().fill(0xee),
            Err(TrySendError::Full { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Another endpoint for the same stream, or one less.
    fn change_lanes(&mut self) -> Result<(), Box<dyn Error>> {
        if self.desk.post.kind().is_exclusive() {
            return Ok(());
        }
        if self.lanes.len() > 1 {
            let lane = self.lane();
            drop(self.lanes.swap_remove(lane));
        } else {
            let other = self.desk.join(|| self.lanes[0].try_clone())?;
            self.lanes.push(other);
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
