//! A subscriber: reads in every way there is, until it is told to leave or has read to the end.

use crate::desk::{Desk, Operation};
use crate::ledger::Stage;
use crate::notes::{Beside, Notes};
use crate::parcel::{Parcel, Said};
use crate::post::{Role, durable_name};
use packetring::{Copied, Missed, Received, RecvTimeoutError, Ring, Subscriber, TryRecvError};
use std::error::Error;
use std::thread::sleep;
use std::time::Duration;

/// How long a receive waits before it looks whether there is something else to do.
const PATIENCE: Duration = Duration::from_secs(1);
/// Most packets of a batch.
const BATCH: u64 = 256;

/// What came of a receive.
enum Came {
    Something,
    Nothing,
    /// No publisher is there, and nothing is left to read.
    End,
}

/// A subscriber and its notes.
struct Reading<'a, 'd> {
    notes: Notes<'a, 'd>,
    subscriber: Subscriber<Parcel>,
}

/// The life of a subscriber.
pub(crate) fn subscribe(desk: &mut Desk<'_>, ring: &Ring) -> Result<(), Box<dyn Error>> {
    let post = desk.post;
    let wait = post.wait(&mut desk.dice);
    let mut notes = Notes::new(desk);
    notes.before_joining();
    let mut subscriber = notes.desk.join(|| match post.role {
        Role::Durable(name) => ring.durable::<Parcel>(&durable_name(name)),
        _ => ring.subscriber::<Parcel>(),
    })?;
    notes.after_joining();
    subscriber.set_wait(wait);
    let mut reading = Reading { notes, subscriber };
    reading.live()?;
    reading.leave();
    Ok(())
}

impl Reading<'_, '_> {
    fn live(&mut self) -> Result<(), Box<dyn Error>> {
        loop {
            let stage = self.notes.desk.stage();
            let desk = &self.notes.desk;
            if desk.is_orphaned() || stage == Stage::Run && desk.is_over() {
                return Ok(());
            }
            match self.act(stage)? {
                Came::End if stage == Stage::Drain => {
                    self.notes.reader().ended.set(1);
                    return Ok(());
                }
                // A successor is on its way.
                Came::End => sleep(Duration::from_micros(300)),
                Came::Something | Came::Nothing => {}
            }
        }
    }

    fn leave(self) {
        self.notes.desk.begin(Operation::Leave);
        if let Role::Durable(name) = self.notes.desk.post.role {
            self.notes.desk.book.durables[name].vacant.begin();
        }
    }

    fn act(&mut self, stage: Stage) -> Result<Came, Box<dyn Error>> {
        if stage == Stage::Run {
            self.dawdle();
        }
        let plainly = !self.notes.expects_again();
        match self.notes.desk.dice.below(100) {
            0..=24 if plainly => self.drain(),
            25..=34 if plainly && !self.notes.is_durable() => self.copy(),
            35..=44 => self.poll(),
            45..=46 if plainly => self.step_aside(),
            _ => self.receive(),
        }
    }

    fn dawdle(&mut self) {
        let desk = &mut self.notes.desk;
        let (often, most) = if desk.post.slow { (3, 6000) } else { (1, 400) };
        if desk.dice.percent(often) {
            let time = desk.dice.between(10, most);
            desk.pause(time);
        }
    }

    fn receive(&mut self) -> Result<Came, Box<dyn Error>> {
        let Self { notes, subscriber } = self;
        let (puts_back, dawdles) = (notes.desk.dice.percent(3), notes.desk.dice.percent(2));
        // What is put back in a ring that drops may be missed after all, and would count twice.
        let puts_back = puts_back && !notes.desk.post.kind().drops();
        notes.begin(1);
        match subscriber.recv_timeout(PATIENCE) {
            Ok(parcel) => take(notes, parcel, puts_back, dawdles),
            Err(error) => return without(notes, error),
        }
        Ok(Came::Something)
    }

    fn poll(&mut self) -> Result<Came, Box<dyn Error>> {
        let Self { notes, subscriber } = self;
        notes.begin(1);
        match subscriber.try_recv() {
            Ok(parcel) => take(notes, parcel, false, false),
            Err(TryRecvError::Empty) => return Ok(Came::Nothing),
            Err(TryRecvError::Missed(lost)) => return Ok(missed(notes, lost)),
            Err(TryRecvError::Closed) => return Ok(closed(notes)),
            Err(error) => return Err(error.into()),
        }
        Ok(Came::Something)
    }

    /// Copied packets are let go of before anybody has seen them: nothing for a durable one.
    fn copy(&mut self) -> Result<Came, Box<dyn Error>> {
        let Self { notes, subscriber } = self;
        notes.begin(1);
        match subscriber.recv_copied_timeout(PATIENCE) {
            Ok(parcel) => {
                let said = Said::by(&parcel);
                notes.end(Some(&said));
                notes.take(&said, Some(Copied::info(&parcel).redelivered));
            }
            Err(error) => return without(notes, error),
        }
        Ok(Came::Something)
    }

    fn drain(&mut self) -> Result<Came, Box<dyn Error>> {
        let Self { notes, subscriber } = self;
        notes.begin(BATCH);
        match subscriber.drain_timeout(PATIENCE) {
            Ok(batch) => {
                for (index, parcel) in batch.iter().enumerate() {
                    let said = Said::by(parcel);
                    if index == 0 {
                        notes.end(Some(&said));
                    }
                    notes.take(&said, None);
                }
                notes.before_release();
                drop(batch);
                notes.after_release();
            }
            Err(error) => return without(notes, error),
        }
        Ok(Came::Something)
    }

    /// Another endpoint at the same place gets what this one would. It may take its place, but
    /// for what it was not told it missed.
    fn step_aside(&mut self) -> Result<Came, Box<dyn Error>> {
        let Self { notes, subscriber } = self;
        let mut clone = notes.desk.join(|| subscriber.try_clone())?;
        let mut beside = Beside::default();
        let stays = notes.is_durable() || notes.desk.post.kind().drops();
        if !stays && notes.desk.dice.percent(50) {
            *subscriber = clone;
            return Ok(Came::Nothing);
        }
        for _ in 0..notes.desk.dice.below(8) {
            match clone.try_recv() {
                Ok(parcel) => beside.take(notes, &Said::by(&parcel)),
                Err(TryRecvError::Empty | TryRecvError::Missed(_) | TryRecvError::Closed) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Came::Nothing)
    }
}

/// There was no packet.
fn without(notes: &mut Notes<'_, '_>, error: RecvTimeoutError) -> Result<Came, Box<dyn Error>> {
    match error {
        RecvTimeoutError::Missed(lost) => Ok(missed(notes, lost)),
        RecvTimeoutError::Timeout => Ok(Came::Nothing),
        RecvTimeoutError::Closed => Ok(closed(notes)),
        error => Err(error.into()),
    }
}

fn missed(notes: &mut Notes<'_, '_>, lost: Missed) -> Came {
    notes.end(None);
    notes.miss(lost);
    Came::Something
}

fn closed(notes: &mut Notes<'_, '_>) -> Came {
    notes.end_idle();
    Came::End
}

/// A packet in hand: checked, and let go of or put back.
fn take(notes: &mut Notes<'_, '_>, parcel: Received<'_, Parcel>, puts_back: bool, dawdles: bool) {
    let said = Said::by(&parcel);
    notes.end(Some(&said));
    notes.take(&said, Some(Received::info(&parcel).redelivered));
    if dawdles {
        let time = notes.desk.dice.between(10, 300);
        notes.desk.pause(time);
    }
    if puts_back {
        notes.unreceive(&said);
        Received::unreceive(parcel);
        return;
    }
    notes.before_release();
    drop(parcel);
    notes.after_release();
}
