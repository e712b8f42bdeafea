//! The ring of a recording: read by an observer that takes no part, or as a subscriber, so that
//! publishers wait for the recorder.

use crate::names;
use crate::output::Failure;
use packetring::inspect::{Inspection, RingStatus};
use packetring::inventory::{ObjectInfo, ObjectKind};
use packetring::observe::{JoinedObserver, ObserveFrom, Observed, ObservedPacket, Observer};
use packetring::{OpenError, TryRecvError};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Packets of one ring before the next ring's turn.
const TURN: u64 = 1024;
/// Time between two checks whether other processes still use a ring that has no packet.
const CHECK_EVERY: Duration = Duration::from_secs(1);

/// A ring that is recorded.
pub(super) struct Stream<'a> {
    pub(super) name: String,
    pub(super) object: &'a ObjectInfo,
    reader: Reader,
    pub(super) is_over: bool,
}

enum Reader {
    Passive(Box<Observer>),
    Joined(Box<Joined>),
}

struct Joined {
    observer: JoinedObserver,
    path: PathBuf,
    checked_at: Instant,
    /// No other process used the ring at the last check: it ends with its last packet.
    is_deserted: bool,
}

/// What a turn found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Packets,
    /// So many slots were overwritten, after the packets of the turn.
    Gap(u64),
    Nothing,
    /// The ring was removed or closed for good, and all packets were read.
    End,
}

/// What is done with each packet.
type Each<'a> = &'a mut dyn FnMut(&ObservedPacket<'_>) -> Result<(), Failure>;

impl<'o> Stream<'o> {
    /// A ring that is read without taking part in it.
    pub(super) fn passive(object: &'o ObjectInfo, from: ObserveFrom) -> Result<Self, Failure> {
        let reader = Reader::Passive(Box::new(Observer::open(object, from)?));
        Ok(Self { name: names::full(object), object, reader, is_over: false })
    }

    /// A ring whose publishers wait for the recorder.
    pub(super) fn joined(object: &'o ObjectInfo) -> Result<Self, Failure> {
        let observer = JoinedObserver::open(object).map_err(|error| refused(object, &error))?;
        let (path, checked_at) = (object.path.clone(), Instant::now());
        let reader =
            Reader::Joined(Box::new(Joined { observer, path, checked_at, is_deserted: false }));
        Ok(Self { name: names::full(object), object, reader, is_over: false })
    }

    /// Takes packets, at most `most`, until another ring should have its turn.
    pub(super) fn turn(&mut self, most: u64, each: Each<'_>) -> Result<Found, Failure> {
        let found = match &mut self.reader {
            Reader::Passive(observer) => observe(observer, most, each),
            Reader::Joined(joined) => joined.take(most, each),
        }?;
        self.is_over |= found == Found::End;
        Ok(found)
    }
}

fn observe(observer: &mut Observer, most: u64, each: Each<'_>) -> Result<Found, Failure> {
    let mut found = Found::Nothing;
    for _ in 0..most.min(TURN) {
        match observer.try_next().map_err(Failure::failed)? {
            Observed::Next(packet) => each(&packet)?,
            Observed::Skipped { slots } => return Ok(Found::Gap(slots)),
            Observed::Removed => return Ok(Found::End),
            _ => break,
        }
        found = Found::Packets;
    }
    Ok(found)
}

impl Joined {
    fn take(&mut self, most: u64, each: Each<'_>) -> Result<Found, Failure> {
        let (mut taken, mut outcome) = (0, Ok(()));
        let result = self.observer.try_each(|packet| {
            if outcome.is_ok() && taken < most {
                taken += 1;
                outcome = each(packet);
            }
        });
        outcome?;
        match result {
            Ok(_) => Ok(Found::Packets),
            Err(TryRecvError::Empty | TryRecvError::Closed) if self.is_deserted => Ok(Found::End),
            Err(TryRecvError::Empty | TryRecvError::Closed) => {
                self.check()?;
                Ok(Found::Nothing)
            }
            Err(TryRecvError::Detached(_)) => Ok(Found::End),
            Err(error) => Err(Failure::failed(error)),
        }
    }

    /// Notes whether other processes still use the ring. This subscriber keeps it from being
    /// removed. A packet that is published meanwhile is found by the next turn.
    fn check(&mut self) -> Result<(), Failure> {
        if self.checked_at.elapsed() < CHECK_EVERY {
            return Ok(());
        }
        let objects = packetring::inventory()?;
        let own = std::process::id();
        let object = objects.iter().find(|object| object.path == self.path);
        self.is_deserted = object.is_none_or(|object| match object.inspect() {
            Ok(Inspection::Ring(ring)) => {
                // A process of another container can have the id of this one: its endpoints count.
                let living = ring.endpoints.iter().filter(|one| one.is_alive).count();
                let is_alone = object.processes.iter().all(|process| *process == own);
                ring.status == RingStatus::Closed || is_alone && living <= 1
            }
            // The next receive finds out what is wrong with it.
            _ => false,
        });
        self.checked_at = Instant::now();
        Ok(())
    }
}

/// The error of a ring that cannot be recorded without losses, with what to do.
fn refused(object: &ObjectInfo, error: &OpenError) -> Failure {
    match (error, object.kind) {
        (OpenError::BadSettings { reason }, _) => {
            // The rest is a remedy for programs.
            let reason = reason.split(';').next().unwrap_or_default();
            Failure::failed(format_args!("{reason}; record it without --lossless"))
        }
        (OpenError::Full { .. }, ObjectKind::Events | ObjectKind::Topic | ObjectKind::Ring) => {
            Failure::failed(format_args!(
                "{error}: no place for the recorder in {object}; record it without --lossless, or \
                 give the ring more places"
            ))
        }
        _ => Failure::failed(error),
    }
}
