//! A ring by its name: opening and removing it, and the endpoints that join it.

use super::any::{AnyPublisher, AnySubscriber};
use super::carried_type::CarriedType;
use super::join::{self, Types};
use super::owned_entry;
use super::publisher::Publisher;
use super::subscriber::Subscriber;
use super::type_table;
use super::untyped::{self, AckMode};
use super::waitable::Waitable;
use crate::error::{Detachment, DisplayName, ObjectName, OpenError};
use crate::failpoint::{Failpoint, failpoint};
use crate::packet::{Packet, TypeInfo};
use crate::ring::claim;
use crate::ring::cursor::Cursor;
use crate::ring::membership::RingState;
use crate::segment::Segment;
use crate::segment::settings::Settings;
use crate::sync::Ordering;
use crate::wait::{Sleep, Wait, Waiter};
use std::num::NonZeroU32;
use std::time::Duration;

/// A ring that this process is attached to.
///
/// A ring lives in shared memory under its name. The first process to open it creates it. The ring
/// is removed when its last attachment (a `Ring`, publisher or subscriber) is dropped or its
/// process dies, unless it has a durable subscriber.
///
/// A `Ring` only joins endpoints. They have attachments of their own and outlive it.
///
/// ```
/// use packetring::{Ring, packet};
///
/// #[packet]
/// pub struct Price { symbol: u32, bid: u64, ask: u64 }
///
/// let ring = Ring::open(&format!("prices-{}", std::process::id()))?;
/// let mut prices = ring.subscriber::<Price>()?;
/// let mut feed = ring.publisher::<Price>()?;
/// feed.send(&Price { symbol: 7, bid: 101, ask: 102 })?;
/// assert_eq!(prices.recv()?.bid, 101);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Ring {
    segment: Segment,
    /// How its endpoints wait.
    wait: Wait,
}

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ring")
            .field("name", &self.name())
            .field("settings", self.settings())
            .finish_non_exhaustive()
    }
}

impl Ring {
    /// Removes the ring of this name, with its durable subscribers. Returns false if there is none.
    ///
    /// Needed only for a ring with durable subscribers, or for the leftovers of a crash of all its
    /// processes. The next process to open the name removes such leftovers, too.
    ///
    /// # Errors
    ///
    /// [`InUse`](OpenError::InUse) if a living process is attached, [`Foreign`](OpenError::Foreign)
    /// if the object of this name is not a ring of this user; it is not changed.
    pub fn remove(name: &str) -> Result<bool, OpenError> {
        Self::builder().remove(name)
    }

    /// Joins as a publisher of `T`.
    ///
    /// # Errors
    ///
    /// [`TypeMismatch`](OpenError::TypeMismatch) if the ring carries other packets,
    /// [`PublisherTaken`](OpenError::PublisherTaken) if it is exclusive and has a publisher,
    /// [`Full`](OpenError::Full), [`TooManyTypes`](OpenError::TooManyTypes),
    /// [`Closed`](OpenError::Closed), [`System`](OpenError::System).
    pub fn publisher<T: Packet>(&self) -> Result<Publisher<T>, OpenError> {
        let (sender, index) = join::publisher(&self.segment, &Types::One(&T::TYPE), self.wait)?;
        Ok(Publisher::new(sender, index))
    }

    /// Joins as a subscriber to `T`. It receives every packet that is published from now on, and
    /// before them the packets of the ring's [history](crate::RingBuilder::history).
    ///
    /// # Errors
    ///
    /// [`TypeMismatch`](OpenError::TypeMismatch), [`Full`](OpenError::Full),
    /// [`TooManyTypes`](OpenError::TooManyTypes), [`System`](OpenError::System).
    pub fn subscriber<T: Packet>(&self) -> Result<Subscriber<T>, OpenError> {
        let types = Types::One(&T::TYPE);
        let (receiver, index) = join::subscriber(&self.segment, &types, None, self.wait)?;
        Ok(Subscriber::new(receiver, index))
    }

    /// Joins as the durable subscriber of this name (1 to 64 bytes). Its packets wait in the ring
    /// while its process is gone. Its successor of this name continues with the packet that was
    /// held, flagged as [redelivered](super::Info::redelivered).
    ///
    /// Publishers to a `Block` ring wait for it, dead or alive, once the ring is full.
    ///
    /// # Errors
    ///
    /// As [`subscriber`](Self::subscriber), and [`NameTaken`](OpenError::NameTaken),
    /// [`BadName`](OpenError::BadName).
    pub fn durable<T: Packet>(&self, name: &str) -> Result<Subscriber<T>, OpenError> {
        let (types, ack_mode) = (Types::One(&T::TYPE), AckMode::DropUnlessPanicking);
        let (receiver, index) = join::durable(&self.segment, &types, name, ack_mode, self.wait)?;
        Ok(Subscriber::new(receiver, index))
    }

    /// Switches the sampling of latencies in this ring: one probe for about `every` slots of 64
    /// bytes; `None`: no probes. Returns the setting before. See
    /// [`ObjectInfo::sample_latency`](crate::inventory::ObjectInfo::sample_latency), which does the
    /// same for any ring by its name, also for a topic, an inbox or a queue. Costs no system call.
    ///
    /// Not in a forked child: there the memory is not mapped ([crate docs](crate)).
    pub fn sample_latency(&self, every: Option<NonZeroU32>) -> Option<NonZeroU32> {
        claim::switch(self.segment.memory(), every)
    }

    /// Removes the durable subscriber of this name, and the packets that wait for it. Returns false
    /// if there is none.
    ///
    /// # Errors
    ///
    /// [`NameTaken`](OpenError::NameTaken) if it lives.
    pub fn remove_durable(&self, name: &str) -> Result<bool, OpenError> {
        join::remove_durable(&self.segment, name)
    }

    /// Joins as a publisher of packets of several types.
    ///
    /// # Errors
    ///
    /// As [`publisher`](Self::publisher), except those about its type.
    pub fn any_publisher(&self) -> Result<AnyPublisher, OpenError> {
        let (sender, _) = join::publisher(&self.segment, &Types::Any, self.wait)?;
        Ok(AnyPublisher::new(sender))
    }

    /// As [`any_publisher`](Self::any_publisher), if `others` free entries remain after it.
    pub(crate) fn any_publisher_leaving(&self, others: usize) -> Result<AnyPublisher, OpenError> {
        let (sender, _) = join::publisher_leaving(&self.segment, &Types::Any, self.wait, others)?;
        Ok(AnyPublisher::new(sender))
    }

    /// Joins as a subscriber to packets of several types.
    ///
    /// # Errors
    ///
    /// As [`subscriber`](Self::subscriber), except those about its type.
    pub fn any_subscriber(&self) -> Result<AnySubscriber, OpenError> {
        let (receiver, _) = join::subscriber(&self.segment, &Types::Any, None, self.wait)?;
        Ok(AnySubscriber::new(receiver))
    }

    /// Joins as a durable subscriber to packets of several types: see [`durable`](Self::durable).
    ///
    /// # Errors
    ///
    /// As [`durable`](Self::durable), except those about its type.
    pub fn any_durable(&self, name: &str) -> Result<AnySubscriber, OpenError> {
        let (types, ack_mode) = (Types::Any, AckMode::DropUnlessPanicking);
        let (receiver, _) = join::durable(&self.segment, &types, name, ack_mode, self.wait)?;
        Ok(AnySubscriber::new(receiver))
    }

    /// As [`any_durable`](Self::any_durable), with explicit acknowledgement (`AckMode::Explicit`).
    pub(crate) fn any_acknowledged(&self, name: &str) -> Result<AnySubscriber, OpenError> {
        let types = Types::Any;
        let (receiver, _) =
            join::durable(&self.segment, &types, name, AckMode::Explicit, self.wait)?;
        Ok(AnySubscriber::new(receiver))
    }

    /// Restricts the ring to packets of these types from now on. No types: no restriction.
    pub(crate) fn accept(&self, types: &[TypeInfo]) -> Result<(), OpenError> {
        type_table::accept(&self.segment, types)
    }

    /// Closes the ring for all processes, permanently. Sends fail from now on. Subscribers receive
    /// the rest and then `Closed`. A packet that is being sent meanwhile may or may not be
    /// received.
    ///
    /// # Errors
    ///
    /// [`System`](OpenError::System).
    pub fn close(&self) -> Result<(), OpenError> {
        let _control = self.segment.lock_unstopped()?;
        RingState::Closed.set(self.segment.memory());
        owned_entry::wake_both_sides(&self.segment);
        Ok(())
    }

    /// Closes the ring, makes its durable subscribers plain ones, and removes its name. The next
    /// process to open the name creates another ring. Call it again if it failed half-way.
    pub(crate) fn discard(&self) -> Result<(), OpenError> {
        {
            let control = self.segment.lock_unstopped()?;
            RingState::Closed.set(self.segment.memory());
            join::make_durable_plain(&control, &self.segment);
            self.segment.give_name_up(&control)?;
        }
        owned_entry::wake_both_sides(&self.segment);
        Ok(())
    }

    /// Claims all slots of the ring, so that no publisher can claim one as long as the cursor of
    /// this subscriber stays. It must be the only one of the ring. Returns false if a packet is
    /// there or under way, or if the ring has no free entry for a publisher.
    ///
    /// The claims become void packets, which a later receive skips.
    pub(crate) fn seal(&self, subscriber: &mut AnySubscriber) -> Result<bool, OpenError> {
        // First, because it clears the dead: the claim of one would look like a packet under way.
        let joined = join::publisher(&self.segment, &Types::Any, self.wait);
        let mut sender = match joined {
            Err(OpenError::Full { .. }) => return Ok(false),
            joined => joined?.0,
        };
        let receiver = &mut subscriber.receiver;
        Ok(!receiver.has_next() && sender.writer.fill_with_void(receiver.cursor.position()))
    }

    /// Closes the ring and removes its name. Its durable subscribers stay, and with them the limit
    /// of its publishers: in a ring that was [sealed](Self::seal), a publisher that found it open
    /// before cannot claim a slot any more. Call it again if it failed half-way.
    pub(crate) fn supersede(&self) -> Result<(), OpenError> {
        {
            let control = self.segment.lock()?;
            failpoint(Failpoint::InboxClose);
            RingState::Closed.set(self.segment.memory());
            failpoint(Failpoint::InboxUnlink);
            self.segment.give_name_up(&control)?;
        }
        owned_entry::wake_both_sides(&self.segment);
        Ok(())
    }

    /// Counts the departures of subscribers, among other events.
    pub(crate) fn departures(&self) -> u32 {
        self.segment.memory().head().writers.futex.load(Ordering::SeqCst)
    }

    /// Sleeps for `bound`, or until a subscriber leaves after there were so many departures, or the
    /// stop of the ring is called. A death ends no sleep.
    pub(crate) fn wait_for_departure(&self, before: u32, bound: Duration) {
        let waiter = Waiter::new(Wait::park(), Sleep::Futex).with_stop(self.segment.stop());
        // Subscribers that leave notify the publishers.
        let event_count = &self.segment.memory().head().writers;
        waiter.park(event_count, bound, || self.departures() != before);
    }

    /// Why no process can join this ring any more; `None` if one can, and for a ring on the heap.
    /// Makes three system calls.
    ///
    /// The attached endpoints go on among themselves. A process that opens the name creates another
    /// ring.
    pub fn detachment(&self) -> Option<Detachment> {
        self.segment.detachment()
    }

    /// Returns true if no process can join this ring any more: see
    /// [`detachment`](Self::detachment).
    pub fn is_detached(&self) -> bool {
        self.detachment().is_some()
    }

    /// Number of living subscribers. Costs a system call for each.
    pub fn subscribers(&self) -> usize {
        untyped::living_subscribers(&self.segment)
    }

    /// The packet types that the ring carries, with the layouts that publishers and subscribers
    /// registered.
    ///
    /// A type is in the list from its first endpoint or packet on. After its last endpoint has left
    /// and its last packet was read, it may stay until another type needs the place.
    pub fn types(&self) -> Vec<CarriedType> {
        self.segment.with_types(|table| {
            table.indices().filter_map(|index| CarriedType::of(&table, index)).collect()
        })
    }

    /// The ring's name without its [prefix](crate::RingBuilder::prefix), empty for a ring on the
    /// heap.
    pub fn name(&self) -> &str {
        DisplayName(self.segment.name()).prefix_and_name().1
    }

    pub(super) fn new(segment: Segment, wait: Wait) -> Self {
        Self { segment, wait }
    }

    /// Gives up the ring, and returns its attachment.
    pub(super) fn into_segment(self) -> Segment {
        self.segment
    }

    /// The attachment.
    pub(crate) fn segment(&self) -> &Segment {
        &self.segment
    }

    /// The settings that the ring was created with.
    pub fn settings(&self) -> &Settings {
        self.segment.settings()
    }
}

/// Compares a chosen setting with that of an existing ring.
pub(super) fn check<S: PartialEq + ToString>(
    name: &ObjectName,
    setting: &'static str,
    wanted: Option<S>,
    found: S,
) -> Result<(), OpenError> {
    match wanted {
        Some(wanted) if wanted != found => Err(OpenError::SettingsMismatch {
            name: name.clone(),
            setting,
            expected: wanted.to_string(),
            found: found.to_string(),
        }),
        _ => Ok(()),
    }
}
