//! Packets of a ring, a topic or the events of a cluster, read as a subscriber and in the form in
//! which an observer reports them: for recorders and bridges, which must not lose a packet.
//!
//! Publishers wait for it as for any subscriber, and packets are read in place. A ring that drops
//! the oldest packets takes them from each subscriber, so it is refused. An inbox has one receiver
//! and a queue gives each packet to one consumer: there is no place for a reader beside them.

use super::ObservedPacket;
use crate::channel::{AnySubscriber, CarriedType, Overflow, RecvError, RingBuilder, TryRecvError};
use crate::cluster::parts_of_event;
use crate::error::OpenError;
use crate::inventory::{ObjectInfo, ObjectKind};
use std::fmt;
use std::sync::Arc;

/// Reads all packets of a ring, a topic or the events of a cluster as its subscriber: publishers
/// wait for it, and it loses no packet.
///
/// It is a subscriber in every other respect, too: it takes an entry, keeps the ring alive, and
/// when its process dies, the ring removes it like any dead process. [`Observer`](super::Observer)
/// reads without taking part.
///
/// ```
/// use packetring::observe::JoinedObserver;
///
/// let name = format!("joined-{}", std::process::id());
/// let ring = packetring::Ring::open(&name)?;
/// let mut feed = ring.publisher::<(u32, f64)>()?;
///
/// let objects = packetring::inventory()?;
/// let object = objects.iter().find(|object| object.name == name).expect("it is listed");
/// let mut observer = JoinedObserver::open(object)?;
/// feed.send(&(7, 0.5))?;
/// let mut lengths = Vec::new();
/// observer.try_each(|packet| lengths.push(packet.archive().len()))?;
/// assert_eq!(lengths, [16]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct JoinedObserver {
    subscriber: AnySubscriber,
    kind: ObjectKind,
    /// The types that were met, by their index.
    types: Vec<Option<Arc<CarriedType>>>,
}

impl JoinedObserver {
    /// Joins an object of an [`inventory()`](crate::inventory()) as a subscriber. Begins with the
    /// packets that are published from now on, or with the [history](RingBuilder::history) of the
    /// ring.
    ///
    /// # Errors
    ///
    /// - [`BadSettings`](OpenError::BadSettings) if no subscriber can read all packets of the
    ///   object: an inbox, a queue, a service, or a ring that drops the oldest packets. Also if it
    ///   holds no packets.
    /// - [`Full`](OpenError::Full) if the object has as many subscribers as it may have.
    /// - [`NotFound`](OpenError::NotFound) if no process uses the object any more.
    /// - All others of [`Ring::attach`](crate::Ring::attach).
    pub fn open(object: &ObjectInfo) -> Result<Self, OpenError> {
        let settings = match object.kind {
            ObjectKind::Ring | ObjectKind::Topic => RingBuilder::default(),
            ObjectKind::Events => RingBuilder::default().tagged_slots(),
            ObjectKind::Inbox => return Err(refused(object, "an inbox has one receiver")),
            ObjectKind::Queue | ObjectKind::Requests => {
                return Err(refused(object, "each of its packets goes to one consumer"));
            }
            _ => return Err(refused(object, "it holds no packets for subscribers")),
        };
        let ring = settings.attach_named(object.segment_name())?;
        if ring.settings().overflow == Overflow::DropOldest {
            return Err(refused(object, "it drops the oldest packets when it is full"));
        }
        let subscriber = ring.any_subscriber()?;
        Ok(Self { subscriber, kind: object.kind, types: Vec::new() })
    }

    /// Calls `each` for all packets that are there, at most 256, in their order. They are released
    /// together afterwards. Returns their number: at least one. Does not wait.
    ///
    /// Events without their header are left out, and the last of them is reported after the others.
    /// If `each` panics, all of these packets are released.
    ///
    /// # Errors
    ///
    /// As [`AnySubscriber::try_recv`]. [`Empty`](TryRecvError::Empty) if no packet is there.
    pub fn try_each(
        &mut self,
        mut each: impl FnMut(&ObservedPacket<'_>),
    ) -> Result<usize, TryRecvError> {
        let (types, kind) = (&mut self.types, self.kind);
        let batch = self.subscriber.try_drain()?;
        let mut fault = None;
        for packet in &batch {
            let (taken, payload) = packet.parts();
            let (sender, event, archive) = match kind {
                ObjectKind::Events => match parts_of_event(payload) {
                    Some((sender, event, archive)) => (Some(sender), Some(event), archive),
                    None => {
                        let what = format!("no event header at position {}", taken.position);
                        fault = Some(RecvError::Corrupt(what.into()));
                        continue;
                    }
                },
                _ => (None, None, payload),
            };
            let index = usize::from(taken.descriptor.type_index());
            if types.len() <= index {
                types.resize(index + 1, None);
            }
            // An index is given to another type once all packets of the first one were read.
            let known = types[index].as_ref().map(|carried| carried.fingerprint);
            if known.is_none() || known != packet.fingerprint() {
                types[index] = packet.carried().map(Arc::new);
            }
            let carried = types[index].as_ref();
            each(&ObservedPacket { taken, carried, sender, event, archive });
        }
        match fault {
            Some(fault) => Err(fault.into()),
            None => Ok(batch.len()),
        }
    }
}

fn refused(object: &ObjectInfo, reason: &str) -> OpenError {
    let reason = format!("no subscriber can read all packets of {object}: {reason}");
    OpenError::BadSettings { reason: format!("{reason}; use a passive observer") }
}

impl fmt::Debug for JoinedObserver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinedObserver")
            .field("subscriber", &self.subscriber)
            .finish_non_exhaustive()
    }
}
