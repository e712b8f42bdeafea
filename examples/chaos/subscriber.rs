//! A subscriber reads by every receive operation, until asked to leave or read to the end.

use crate::assignment::{Role, durable_name};
use crate::checker::{Checker, CloneChecker};
use crate::context::{Context, Operation};
use crate::ledger::Stage;
use crate::payload::{Observed, Payload};
use packetring::{Copied, Missed, Received, RecvTimeoutError, Ring, Subscriber, TryRecvError};
use std::error::Error;
use std::thread::sleep;
use std::time::Duration;

/// Timeout of a receive, after which the subscriber checks whether it must leave.
const TIMEOUT: Duration = Duration::from_secs(1);
/// Largest number of packets of a batch.
const BATCH: u64 = 256;

/// Result of a receive.
enum Progress {
    Made,
    None,
    /// No publisher is joined, and nothing is left to read.
    End,
}

/// A subscriber and its check state.
struct Reading<'a, 'd> {
    checker: Checker<'a, 'd>,
    subscriber: Subscriber<Payload>,
}

/// Runs a subscriber.
pub(crate) fn subscribe(context: &mut Context<'_>, ring: &Ring) -> Result<(), Box<dyn Error>> {
    let assignment = context.assignment;
    let wait = assignment.wait(&mut context.rng);
    let mut checker = Checker::new(context);
    checker.before_joining();
    let mut subscriber = checker.context.join(|| match assignment.role {
        Role::Durable(name) => ring.durable::<Payload>(&durable_name(name)),
        _ => ring.subscriber::<Payload>(),
    })?;
    checker.after_joining();
    subscriber.set_wait(wait);
    let mut reading = Reading { checker, subscriber };
    reading.live()?;
    reading.leave();
    Ok(())
}

impl Reading<'_, '_> {
    fn live(&mut self) -> Result<(), Box<dyn Error>> {
        loop {
            let stage = self.checker.context.stage();
            let context = &self.checker.context;
            if context.is_orphaned() || stage == Stage::Run && context.should_leave() {
                return Ok(());
            }
            match self.act(stage)? {
                Progress::End if stage == Stage::Drain => {
                    self.checker.reader().ended.set(1);
                    return Ok(());
                }
                // A successor of the publisher is about to start.
                Progress::End => sleep(Duration::from_micros(300)),
                Progress::Made | Progress::None => {}
            }
        }
    }

    fn leave(self) {
        self.checker.context.begin(Operation::Leave);
        if let Role::Durable(name) = self.checker.context.assignment.role {
            self.checker.context.book.durables[name].vacant.begin();
        }
    }

    fn act(&mut self, stage: Stage) -> Result<Progress, Box<dyn Error>> {
        if stage == Stage::Run {
            self.maybe_pause();
        }
        let unflagged_ok = !self.checker.expects_redelivery();
        match self.checker.context.rng.below(100) {
            0..=24 if unflagged_ok => self.drain(),
            25..=34 if unflagged_ok && !self.checker.is_durable() => self.copy(),
            35..=44 => self.poll(),
            45..=46 if unflagged_ok => self.use_clone(),
            _ => self.receive(),
        }
    }

    fn maybe_pause(&mut self) {
        let context = &mut self.checker.context;
        let (often, most) = if context.assignment.slow { (3, 6000) } else { (1, 400) };
        if context.rng.percent(often) {
            let time = context.rng.between(10, most);
            context.pause(time);
        }
    }

    fn receive(&mut self) -> Result<Progress, Box<dyn Error>> {
        let Self { checker, subscriber } = self;
        let (returns, pauses) = (checker.context.rng.percent(3), checker.context.rng.percent(2));
        // On a ring that drops, a returned packet may be dropped later, and would count twice.
        let returns = returns && !checker.context.assignment.kind().drops();
        checker.begin(1);
        match subscriber.recv_timeout(TIMEOUT) {
            Ok(payload) => check(checker, payload, returns, pauses),
            Err(error) => return handle_error(checker, error),
        }
        Ok(Progress::Made)
    }

    fn poll(&mut self) -> Result<Progress, Box<dyn Error>> {
        let Self { checker, subscriber } = self;
        checker.begin(1);
        match subscriber.try_recv() {
            Ok(payload) => check(checker, payload, false, false),
            Err(TryRecvError::Empty) => return Ok(Progress::None),
            Err(TryRecvError::Missed(lost)) => return Ok(missed(checker, lost)),
            Err(TryRecvError::Closed) => return Ok(closed(checker)),
            Err(error) => return Err(error.into()),
        }
        Ok(Progress::Made)
    }

    /// Copied packets are released before they are checked, so durable subscribers skip this.
    fn copy(&mut self) -> Result<Progress, Box<dyn Error>> {
        let Self { checker, subscriber } = self;
        checker.begin(1);
        match subscriber.recv_copied_timeout(TIMEOUT) {
            Ok(payload) => {
                let observed = Observed::from_payload(&payload);
                checker.end(Some(&observed));
                checker.check(&observed, Some(Copied::info(&payload).redelivered));
            }
            Err(error) => return handle_error(checker, error),
        }
        Ok(Progress::Made)
    }

    fn drain(&mut self) -> Result<Progress, Box<dyn Error>> {
        let Self { checker, subscriber } = self;
        checker.begin(BATCH);
        match subscriber.drain_timeout(TIMEOUT) {
            Ok(batch) => {
                for (index, payload) in batch.iter().enumerate() {
                    let observed = Observed::from_payload(payload);
                    if index == 0 {
                        checker.end(Some(&observed));
                    }
                    checker.check(&observed, None);
                }
                checker.before_release();
                drop(batch);
                checker.after_release();
            }
            Err(error) => return handle_error(checker, error),
        }
        Ok(Progress::Made)
    }

    /// Reads with a cloned endpoint at the same position. The clone may replace the original,
    /// except where the clone does not know about reported misses.
    fn use_clone(&mut self) -> Result<Progress, Box<dyn Error>> {
        let Self { checker, subscriber } = self;
        let mut clone = checker.context.join(|| subscriber.try_clone())?;
        let mut clone_checker = CloneChecker::default();
        let stays = checker.is_durable() || checker.context.assignment.kind().drops();
        if !stays && checker.context.rng.percent(50) {
            *subscriber = clone;
            return Ok(Progress::None);
        }
        for _ in 0..checker.context.rng.below(8) {
            match clone.try_recv() {
                Ok(payload) => clone_checker.check(checker, &Observed::from_payload(&payload)),
                Err(TryRecvError::Empty | TryRecvError::Missed(_) | TryRecvError::Closed) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Progress::None)
    }
}

/// Handles a receive without a packet.
fn handle_error(
    checker: &mut Checker<'_, '_>,
    error: RecvTimeoutError,
) -> Result<Progress, Box<dyn Error>> {
    match error {
        RecvTimeoutError::Missed(lost) => Ok(missed(checker, lost)),
        RecvTimeoutError::Timeout => Ok(Progress::None),
        RecvTimeoutError::Closed => Ok(closed(checker)),
        error => Err(error.into()),
    }
}

fn missed(checker: &mut Checker<'_, '_>, lost: Missed) -> Progress {
    checker.end(None);
    checker.miss(lost);
    Progress::Made
}

fn closed(checker: &mut Checker<'_, '_>) -> Progress {
    checker.end_idle();
    Progress::End
}

/// Checks a received packet, then releases or returns it.
fn check(
    checker: &mut Checker<'_, '_>,
    payload: Received<'_, Payload>,
    returns: bool,
    pauses: bool,
) {
    let observed = Observed::from_payload(&payload);
    checker.end(Some(&observed));
    checker.check(&observed, Some(Received::info(&payload).redelivered));
    if pauses {
        let time = checker.context.rng.between(10, 300);
        checker.context.pause(time);
    }
    if returns {
        checker.record_return(&observed);
        Received::unreceive(payload);
        return;
    }
    checker.before_release();
    if checker.context.rng.percent(1) {
        // A kill between the record of a release and the release itself is rare otherwise.
        let time = checker.context.rng.between(10, 100);
        checker.context.pause(time);
    }
    drop(payload);
    checker.after_release();
}
