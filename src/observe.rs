//! Packets of a ring, read without taking part in it.
//!
//! An [`Observer`] reads what passes through a ring, a topic, an inbox, a queue, the requests of a
//! service or the events of a cluster. It takes no place there: no publisher waits for it, no
//! packet is kept for it, and nobody is woken by it. It does not change a byte in shared memory,
//! and other processes do not find out that it exists.
//!
//! ```
//! use packetring::observe::{ObserveFrom, Observed, Observer};
//! use packetring::{Ring, packet};
//!
//! #[packet]
//! struct Price { symbol: u32, bid: u64 }
//!
//! let name = format!("observe-{}", std::process::id());
//! let ring = Ring::open(&name)?;
//! let mut feed = ring.publisher::<Price>()?;
//!
//! let objects = packetring::inventory()?;
//! let object = objects.iter().find(|object| object.name == name).expect("it is listed");
//! let mut observer = Observer::open(object, ObserveFrom::Now)?;
//! feed.send(&Price { symbol: 7, bid: 101 })?;
//! match observer.try_next()? {
//!     Observed::Next(packet) => assert_eq!(packet.open_as::<Price>()?.bid, 101),
//!     other => panic!("{other:?}"),
//! }
//! # drop((feed, ring));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What it sees
//!
//! Packets are copied, and a copy that publishers may have overwritten meanwhile is thrown away.
//! Every packet that is reported was published exactly so, in this order, and is checked when it is
//! opened.
//!
//! An observer that is too slow, or that is not called often enough, misses packets and reports
//! [`Skipped`](Observed::Skipped). The newest three quarters of a ring can always be read back, as
//! long as packets, batches and bursts are no larger than an eighth of it. So an observer that is
//! called once in the time in which half a ring is filled misses nothing.
//!
//! Acknowledged or received packets are reported all the same: an observer does not know who
//! received a packet. A message in an inbox or a job that is delivered again is reported once.
//!
//! # Reading without losses
//!
//! A [`JoinedObserver`] reads packets of any type in the same form, but as a subscriber: publishers
//! wait for it, and it loses nothing.
//!
//! # Cost
//!
//! One mapping for reading and one descriptor for each observer. A packet is copied once. The
//! observer reads cache lines that publishers write, which costs them a transfer for each line, as
//! a further subscriber would.

#![forbid(unsafe_code)]

mod joined;
mod seen_types;

use crate::channel::{CarriedType, RecvError, Taken};
use crate::cluster::{MessageTag, WorkerId, parts_of_event};
use crate::error::OpenError;
use crate::inventory::{ObjectInfo, ObjectKind};
use crate::packet::{self, Archived, Fingerprint, Invalid, Packet};
use crate::ring::observer::{Copies, Look, PassiveReader};
use crate::segment::PassiveSegment;
use crate::segment::name::Name;
#[cfg(feature = "dynamic")]
use packetring_dynamic::{Schema, Value};
use seen_types::SeenTypes;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use crate::ring::observer::ObserveFrom;
pub use joined::JoinedObserver;

/// Shortest pause between two looks at a ring without packets.
const SHORTEST_PAUSE: Duration = Duration::from_micros(50);
/// Longest pause between two looks.
const LONGEST_PAUSE: Duration = Duration::from_millis(1);

/// Reads the packets of one ring without taking part in it: see the [module](self).
pub struct Observer {
    segment: PassiveSegment,
    name: Name,
    kind: ObjectKind,
    reader: PassiveReader,
    copies: Copies,
    /// Index of the next packet in `copies`.
    next: usize,
    types: SeenTypes,
}

/// Result of a look at a ring.
#[derive(Debug)]
#[non_exhaustive]
pub enum Observed<'a> {
    /// The next packet.
    Next(ObservedPacket<'a>),
    /// The observer was too slow: packets were overwritten before it copied them. It goes on behind
    /// them.
    Skipped {
        /// Slots of 64 bytes that were passed over. A packet takes one or more of them, so at most
        /// so many packets were missed.
        slots: u64,
    },
    /// No packet is there yet.
    Nothing,
    /// The ring was removed, and all its packets were read. The name may be that of another ring
    /// now.
    Removed,
}

/// A packet that was published: a copy, or in a [`JoinedObserver`] the packet in its slot.
pub struct ObservedPacket<'a> {
    taken: Taken,
    carried: Option<&'a Arc<CarriedType>>,
    sender: Option<WorkerId>,
    event: Option<&'a str>,
    archive: &'a [u8],
}

impl Observer {
    /// Begins to observe an object of an [`inventory()`](crate::inventory()).
    ///
    /// Observes the object that has the name now, which may be a later one than that of the list.
    ///
    /// # Errors
    ///
    /// [`NotFound`](OpenError::NotFound) if the object was removed or is not complete.
    /// [`BadSettings`](OpenError::BadSettings) if it holds no packets: a board, a directory, a call
    /// area, a socket. [`OtherVersion`](OpenError::OtherVersion),
    /// [`Foreign`](OpenError::Foreign), [`Corrupt`](OpenError::Corrupt),
    /// [`OtherUser`](OpenError::OtherUser) or [`System`](OpenError::System) if it cannot be read.
    pub fn open(object: &ObjectInfo, from: ObserveFrom) -> Result<Self, OpenError> {
        let no_packets = || OpenError::BadSettings {
            reason: format!(
                "{object} holds no packets; observe a ring, topic, inbox, queue, the requests of a \
                 service or the events of a cluster"
            ),
        };
        if object.kind == ObjectKind::Socket {
            return Err(no_packets());
        }
        let name = object.segment_name();
        let segment = PassiveSegment::open(name)?;
        let settings = segment.settings();
        if settings.cells > 0 || settings.call_cells > 0 || settings.worker_slots > 0 {
            return Err(no_packets());
        }
        let reader = PassiveReader::new(segment.memory().clone(), settings, from);
        let types = SeenTypes::default();
        let (name, copies) = (name.clone(), Copies::default());
        Ok(Self { segment, name, kind: object.kind, reader, copies, next: 0, types })
    }

    /// Returns the next packet, or what else there is. Does not wait.
    ///
    /// # Errors
    ///
    /// [`Corrupt`](RecvError::Corrupt) if words in shared memory are invalid, so that the next
    /// packet cannot be found, and for an event without its header, which is passed over.
    pub fn try_next(&mut self) -> Result<Observed<'_>, RecvError> {
        let look = self.look();
        self.observed(look)
    }

    /// As [`try_next`](Self::try_next), but waits until there is anything but
    /// [`Nothing`](Observed::Nothing), or for the timeout. Looks at the ring again and again, with
    /// pauses of 50 µs to 1 ms: waiting like a subscriber would have publishers wake the observer.
    ///
    /// # Errors
    ///
    /// As [`try_next`](Self::try_next).
    pub fn next_timeout(&mut self, timeout: Duration) -> Result<Observed<'_>, RecvError> {
        let mut look = self.look();
        if look == Some(Look::Nothing) {
            let (start, mut pause) = (Instant::now(), SHORTEST_PAUSE);
            // Void packets are nothing, too.
            while look == Some(Look::Nothing) {
                let left = timeout.saturating_sub(start.elapsed());
                if left.is_zero() {
                    break;
                }
                std::thread::sleep(pause.min(left));
                pause = (2 * pause).min(LONGEST_PAUSE);
                look = self.look();
            }
        }
        self.observed(look)
    }

    /// Looks at the ring if all packets that were copied are read. `None`: it was removed.
    fn look(&mut self) -> Option<Look> {
        if self.next < self.copies.list().len() {
            return Some(Look::Packets);
        }
        self.next = 0;
        let is_removed = || self.segment.is_removed(&self.name);
        let look = self.reader.copy_unless_removed(&mut self.copies, is_removed);
        if look == Some(Look::Packets) {
            self.types.refresh(&self.segment.types(), || self.reader.tail());
        }
        look
    }

    /// What was found by a look. Takes a packet if there is one.
    fn observed(&mut self, look: Option<Look>) -> Result<Observed<'_>, RecvError> {
        match look {
            Some(Look::Packets) => self.next_packet().map(Observed::Next),
            Some(Look::Skipped(slots)) => Ok(Observed::Skipped { slots }),
            Some(Look::Nothing) => Ok(Observed::Nothing),
            Some(Look::Corrupt) => {
                let what = format!("no valid header at position {}", self.reader.position());
                Err(RecvError::Corrupt(what.into()))
            }
            None => Ok(Observed::Removed),
        }
    }

    /// Takes the next packet that was copied. There is one.
    fn next_packet(&mut self) -> Result<ObservedPacket<'_>, RecvError> {
        let copied = self.copies.list()[self.next];
        self.next += 1;
        let payload = self.copies.bytes(&copied);
        let (sender, event, archive) = match self.kind {
            ObjectKind::Inbox => {
                let tag = MessageTag(copied.descriptor.tag());
                (Some(tag.sender().id()), None, payload)
            }
            ObjectKind::Events => {
                let Some((sender, event, archive)) = parts_of_event(payload) else {
                    let what = format!("no event header at position {}", copied.position);
                    return Err(RecvError::Corrupt(what.into()));
                };
                (Some(sender), Some(event), archive)
            }
            _ => (None, None, payload),
        };
        let carried = self.types.of(&copied);
        let taken = Taken { position: copied.position, descriptor: copied.descriptor };
        Ok(ObservedPacket { taken, carried, sender, event, archive })
    }

    /// Slots of 64 bytes between the next packet and the end of the ring.
    pub fn backlog_slots(&self) -> u64 {
        let read = self.copies.list().get(self.next).map(|copied| copied.position);
        self.reader.tail().saturating_sub(read.unwrap_or(self.reader.position()))
    }
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observer").field("ring", &self.name.shown()).finish_non_exhaustive()
    }
}

impl<'a> ObservedPacket<'a> {
    /// The number of the packet's first slot since the ring was made. Ascending within a ring.
    pub fn position(&self) -> u64 {
        self.taken.position
    }

    /// Slots of 64 bytes that it takes.
    pub fn slots(&self) -> u64 {
        self.taken.descriptor.span()
    }

    /// The type of the packet. `None` if it is not known: the ring's memory of the type was given
    /// to another type while the packet was in the ring.
    pub fn carried(&self) -> Option<&'a CarriedType> {
        self.carried.map(|carried| &**carried)
    }

    /// Name of its type, empty if the type is not known.
    pub fn type_name(&self) -> &'a str {
        self.carried.map_or("", |carried| &carried.name)
    }

    /// The fingerprint of its type. `None` if the type is not known.
    pub fn fingerprint(&self) -> Option<Fingerprint> {
        self.carried.map(|carried| carried.fingerprint)
    }

    /// The worker that sent it: of a message in an inbox, and of an event.
    pub fn sender(&self) -> Option<WorkerId> {
        self.sender
    }

    /// The name of the event, in the events of a cluster.
    pub fn event(&self) -> Option<&'a str> {
        self.event
    }

    /// The bytes of its archive, aligned to 16.
    pub fn archive(&self) -> &'a [u8] {
        self.archive
    }

    /// Returns the packet as a `T`, after a check.
    ///
    /// # Errors
    ///
    /// [`TypeMismatch`](RecvError::TypeMismatch), [`Corrupt`](RecvError::Corrupt).
    pub fn open_as<T: Packet>(&self) -> Result<&'a Archived<T>, RecvError> {
        if self.fingerprint() != Some(T::TYPE.fingerprint) {
            return Err(self.is_not(T::TYPE.name, T::TYPE.fingerprint));
        }
        packet::validate::<T>(self.archive)
            .map_err(|Invalid| self.corrupt(&packet::explain::<T>(self.archive)))
    }

    /// Reads the schema of the packet's type, to read packets of this type as
    /// [values](Self::value). It costs more than reading a packet: keep it by its
    /// [fingerprint](Self::fingerprint).
    ///
    /// # Errors
    ///
    /// [`Corrupt`](RecvError::Corrupt) if the type is not known, or has no valid schema.
    #[cfg(feature = "dynamic")]
    pub fn schema(&self) -> Result<Schema, RecvError> {
        match self.carried {
            Some(carried) => carried.layout().map_err(|error| self.corrupt(&error.to_string())),
            None => Err(self.corrupt("a type that is not known")),
        }
    }

    /// Returns the packet as a value of this schema, after a check.
    ///
    /// # Errors
    ///
    /// [`TypeMismatch`](RecvError::TypeMismatch) if its type has another fingerprint,
    /// [`Corrupt`](RecvError::Corrupt).
    #[cfg(feature = "dynamic")]
    pub fn value<'v>(&self, schema: &'v Schema) -> Result<Value<'v>, RecvError>
    where
        'a: 'v,
    {
        let expected = Fingerprint(schema.fingerprint());
        if self.fingerprint() != Some(expected) {
            return Err(self.is_not(schema.name(), expected));
        }
        schema.read(self.archive).map_err(|error| self.corrupt(&error.to_string()))
    }

    fn is_not(&self, name: &str, expected: Fingerprint) -> RecvError {
        let types = CarriedType::found_instead_of(self.carried(), name, expected);
        RecvError::TypeMismatch(Box::new(types))
    }

    fn corrupt(&self, what: &str) -> RecvError {
        RecvError::Corrupt(format!("at position {}: {what}", self.taken.position).into())
    }
}

impl fmt::Debug for ObservedPacket<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObservedPacket")
            .field("type", &self.type_name())
            .field("position", &self.position())
            .field("bytes", &self.archive.len())
            .finish()
    }
}
