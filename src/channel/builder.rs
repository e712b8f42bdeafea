//! Choosing settings for a ring, and opening it.

use super::ring::{Ring, check};
use crate::error::{NameKind, OpenError};
use crate::ring::reap::settle;
use crate::segment::Segment;
use crate::segment::name::{Name, Namespace};
use crate::segment::settings::{Claims, Overflow, Parking, SMALL_CAPACITY, Settings};
use crate::sys::lock::LockLimit;
use crate::sys::stop::Stop;
use crate::wait::{Wait, WaitKind};
use std::time::Duration;

/// Settings for opening a ring. A setting that is not chosen has its default if the ring is
/// created, and accepts any value if the ring exists.
///
/// ```
/// use packetring::{Overflow, Ring};
///
/// let ring = Ring::builder().capacity(1 << 16).exclusive().overflow(Overflow::DropOldest).heap()?;
/// # Ok::<(), packetring::OpenError>(())
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "a builder does nothing until the ring is opened"]
pub struct RingBuilder {
    capacity: Option<usize>,
    claims: Option<Claims>,
    overflow: Option<Overflow>,
    history: Option<usize>,
    max_publishers: Option<usize>,
    max_subscribers: Option<usize>,
    stays_open: Option<bool>,
    wait: Option<Wait>,
    populate: Option<bool>,
    limit: LockLimit,
    namespace: Namespace,
    /// What the caller opens: errors call it that.
    kind: NameKind,
    /// Values of settings that are not chosen, if the ring is created. Settings that no user
    /// chooses must match them.
    default: Settings,
}

impl Ring {
    /// Opens the ring of this name, or creates it with the default settings: 2 MiB, shared,
    /// blocking.
    ///
    /// Any number of processes can call this at once: exactly one creates the ring.
    ///
    /// # Errors
    ///
    /// [`BadName`](OpenError::BadName), [`BadSettings`](OpenError::BadSettings) for the prefix,
    /// [`Foreign`](OpenError::Foreign),
    /// [`OtherUser`](OpenError::OtherUser), [`OtherVersion`](OpenError::OtherVersion),
    /// [`Corrupt`](OpenError::Corrupt), [`NoSpace`](OpenError::NoSpace),
    /// [`NoInodes`](OpenError::NoInodes), [`NoSharedMemory`](OpenError::NoSharedMemory),
    /// [`System`](OpenError::System).
    pub fn open(name: &str) -> Result<Self, OpenError> {
        Self::builder().open(name)
    }

    /// Opens the ring of this name, which must exist and be in use.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open), and [`NotFound`](OpenError::NotFound).
    pub fn attach(name: &str) -> Result<Self, OpenError> {
        Self::builder().attach(name)
    }

    /// Returns a builder, to choose settings before the ring is opened.
    pub fn builder() -> RingBuilder {
        RingBuilder::default()
    }
}

impl RingBuilder {
    /// Changes the defaults.
    pub(crate) fn or_else(mut self, default: impl FnOnce(&mut Settings)) -> Self {
        default(&mut self.default);
        self
    }

    /// Sets what errors call the object.
    pub(crate) fn called(mut self, kind: NameKind) -> Self {
        self.kind = kind;
        self
    }

    /// Makes the descriptors carry tags: a cluster's ring.
    pub(crate) fn tagged_slots(self) -> Self {
        self.or_else(|default| {
            (default.tagged_slots, default.capacity) = (true, SMALL_CAPACITY);
        })
    }

    /// Makes it a queue: each packet is delivered to one consumer.
    pub(crate) fn queue(self) -> Self {
        self.or_else(|default| (default.queue, default.capacity) = (true, SMALL_CAPACITY))
    }

    /// Bytes of the ring: a power of two from 1 KiB to 4 GiB, 2 MiB by default. A packet takes 16
    /// bytes more than its archive, rounded up to 64, and at most half of the ring.
    pub fn capacity(mut self, bytes: usize) -> Self {
        self.capacity = Some(bytes);
        self
    }

    /// Allows one publisher at a time, which publishes without a locked instruction.
    pub fn exclusive(mut self) -> Self {
        self.claims = Some(Claims::Exclusive);
        self
    }

    /// Allows several publishers: the default.
    pub fn shared(mut self) -> Self {
        self.claims = Some(Claims::Shared);
        self
    }

    /// Chooses what happens when the ring is full: publishers wait, or subscribers lose the oldest
    /// packets.
    pub fn overflow(mut self, overflow: Overflow) -> Self {
        self.overflow = Some(overflow);
        self
    }

    /// Starts new subscribers up to this many packets back, as far as these are still in the ring.
    /// Half of the ring is then reserved for them, and a packet takes at most a quarter. The
    /// history is removed with the ring, at its last attachment's end.
    pub fn history(mut self, packets: usize) -> Self {
        self.history = Some(packets);
        self
    }

    /// Most publishers at a time: 1 to 1024, 64 by default, 1 in an exclusive ring.
    pub fn max_publishers(mut self, count: usize) -> Self {
        self.max_publishers = Some(count);
        self
    }

    /// Most subscribers at a time, including durable ones: 1 to 1024, 64 by default.
    pub fn max_subscribers(mut self, count: usize) -> Self {
        self.max_subscribers = Some(count);
        self
    }

    /// Whether subscribers continue to wait after the last publisher left or died. By default they
    /// get `Closed`, as from a channel, because waiting without end is the more common mistake.
    pub fn stays_open(mut self, stays: bool) -> Self {
        self.stays_open = Some(stays);
        self
    }

    /// How the endpoints of this `Ring` wait. If the ring is created, also what all its endpoints
    /// sleep on: an event with [`Wait::event`], a futex otherwise.
    pub fn wait(mut self, wait: Wait) -> Self {
        self.wait = Some(wait);
        self
    }

    /// Whether the pages of the ring are made present when an endpoint joins, so that its first lap
    /// has no page faults. On a ring that was just made they cost up to 20 µs in each 64 packets,
    /// on both sides. Joining takes 170 to 350 µs longer for each MiB. The ring takes no more
    /// memory: all of it is reserved when the ring is made.
    ///
    /// By default only endpoints that [spin](Wait::spin) do it, also when they begin to spin later.
    /// Each process chooses for the endpoints of its own `Ring`. It has no effect before Linux
    /// 5.14, and none on the heap, where all pages are present.
    ///
    /// Joining fails with [`NoSpace`](OpenError::NoSpace) if other code has given memory of the
    /// ring back and `/dev/shm` is full.
    pub fn populate(mut self, populate: bool) -> Self {
        self.populate = Some(populate);
        self
    }

    /// As [`populate`](Self::populate), if this was not called: the choice of a worker.
    pub(crate) fn or_populate(mut self, populate: Option<bool>) -> Self {
        self.populate = self.populate.or(populate);
        self
    }

    /// How long opening, joining and closing wait for another process that is opening, joining or
    /// leaving at that moment. Joining takes microseconds, unless the process is stopped by SIGSTOP
    /// or a debugger. After the timeout they fail with [`Busy`](OpenError::Busy). By default they
    /// wait without end.
    pub fn open_timeout(mut self, timeout: Duration) -> Self {
        self.limit.timeout = Some(timeout);
        self
    }

    /// Sets what ends waits, of a kind that is chosen.
    pub(crate) fn limited(mut self, limit: LockLimit) -> Self {
        self.limit.timeout = limit.timeout.or(self.limit.timeout);
        self.limit.stop = limit.stop.or(self.limit.stop);
        self
    }

    /// Sets what ends the waits of this ring and of all its endpoints: see [`Stop`]. Opening and
    /// joining, while they wait for another process, fail with [`Stopped`](OpenError::Stopped).
    pub fn stop(mut self, stop: &Stop) -> Self {
        self.limit.stop = Some(stop.clone());
        self
    }

    /// Sets a prefix of the ring's name: 1 to 40 letters, digits, `.`, `_` and `-`, without a dot
    /// in front. Rings of two prefixes never meet, although they have one name. So two
    /// applications, or two runs of a test, can use the same names.
    ///
    /// The default is the environment variable `PACKETRING_PREFIX`, which child processes inherit.
    /// The builder reads it when it is made; [`Ring::open`], [`Ring::attach`] and [`Ring::remove`]
    /// read it at each call. This setting wins over the variable. An empty prefix, in either place,
    /// means none. An invalid prefix, in either place, is [`BadSettings`](OpenError::BadSettings)
    /// when the ring is opened.
    ///
    /// [`Ring::name`] returns the name without the prefix. The field `name` of an error has it, as
    /// in `staging:prices`.
    ///
    /// ```
    /// use packetring::{OpenError, Ring};
    ///
    /// let name = format!("prices-{}", std::process::id());
    /// let staging = Ring::builder().prefix("staging").open(&name)?;
    /// let other = Ring::builder().prefix("live").attach(&name);
    /// assert!(matches!(other, Err(OpenError::NotFound { .. })));
    /// assert_eq!(staging.name(), name);
    /// # Ok::<(), OpenError>(())
    /// ```
    pub fn prefix(mut self, prefix: &str) -> Self {
        self.namespace.set_prefix(prefix);
        self
    }

    /// Sets the mode of the ring's file, whatever the umask: 0o600, the default, for one user, or
    /// 0o660 to share the ring with the users of a [group](Self::group). Any other mode is
    /// [`BadSettings`](OpenError::BadSettings).
    ///
    /// Every process of another user chooses both: without them the ring is
    /// [`OtherUser`](OpenError::OtherUser). A process of the owner may leave them out. A choice
    /// that differs from the ring is [`SettingsMismatch`](OpenError::SettingsMismatch).
    ///
    /// A user of the group can overwrite each packet, block each process of the ring, and end it
    /// with SIGBUS. Only the owner, which created the ring, can delete the file. Where another user
    /// removes the ring, an empty file stays until the owner opens the name or calls
    /// [`purge`](crate::purge). The table of the rights is in the guide, under Operating.
    ///
    /// ```
    /// use packetring::{OpenError, Ring};
    ///
    /// let name = format!("shared-{}", std::process::id());
    /// let ring = Ring::builder().mode(0o660).open(&name)?; // the group of this process
    /// let private = Ring::builder().mode(0o600).open(&name);
    /// assert!(matches!(private, Err(OpenError::SettingsMismatch { setting: "mode", .. })));
    /// let invalid = Ring::builder().mode(0o666).open(&name);
    /// assert!(matches!(invalid, Err(OpenError::BadSettings { .. })));
    /// # drop(ring);
    /// # Ok::<(), OpenError>(())
    /// ```
    pub fn mode(mut self, mode: u32) -> Self {
        self.namespace.set_mode(mode);
        self
    }

    /// Sets the group that shares the ring, by its numeric id, with [mode](Self::mode) 0o660. The
    /// default is the effective group of this process. `getent group NAME` shows the id of a group.
    ///
    /// It is [`BadSettings`](OpenError::BadSettings) without mode 0o660, and when the ring is
    /// created if this process is not in the group.
    pub fn group(mut self, group: u32) -> Self {
        self.namespace.set_group(group);
        self
    }

    /// Opens the ring of this name, or creates it.
    ///
    /// # Errors
    ///
    /// As [`Ring::open`], and [`BadSettings`](OpenError::BadSettings),
    /// [`SettingsMismatch`](OpenError::SettingsMismatch) if it exists and a chosen setting differs.
    pub fn open(self, name: &str) -> Result<Ring, OpenError> {
        let name = self.named(name)?;
        self.open_named(&name)
    }

    /// As [`open`](Self::open), by a name of any kind.
    pub(crate) fn open_named(self, name: &Name) -> Result<Ring, OpenError> {
        let name = &name.clone().called(self.kind);
        let segment = Segment::open(name, &self.settings(), &self.limit)?;
        self.finish(segment)
    }

    /// Opens the ring of this name, which must exist and be in use.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open), and [`NotFound`](OpenError::NotFound).
    pub fn attach(self, name: &str) -> Result<Ring, OpenError> {
        let name = self.named(name)?;
        self.attach_named(&name)
    }

    /// As [`attach`](Self::attach), by a name of any kind.
    pub(crate) fn attach_named(self, name: &Name) -> Result<Ring, OpenError> {
        let segment = Segment::attach(name, &self.limit)?;
        self.finish(segment)
    }

    /// Removes the ring of this name: see [`Ring::remove`]. Of the settings, only those about the
    /// name and [`open_timeout`](Self::open_timeout) count.
    ///
    /// # Errors
    ///
    /// As [`Ring::remove`], [`BadSettings`](OpenError::BadSettings) for an invalid
    /// [`prefix`](Self::prefix), and [`Busy`](OpenError::Busy).
    pub fn remove(self, name: &str) -> Result<bool, OpenError> {
        Segment::remove(&self.named(name)?, &self.limit)
    }

    fn named(&self, name: &str) -> Result<Name, OpenError> {
        Name::of_ring(&self.namespace.check()?, name)
    }

    /// Creates a ring on the heap, for the threads of this process. It has the same API, and no
    /// name.
    ///
    /// # Errors
    ///
    /// [`BadSettings`](OpenError::BadSettings), or [`System`](OpenError::System) if there is not
    /// enough memory.
    pub fn heap(self) -> Result<Ring, OpenError> {
        let segment = Segment::heap(&self.settings())?;
        self.finish(segment)
    }

    fn finish(self, mut segment: Segment) -> Result<Ring, OpenError> {
        segment.set_settle(settle);
        segment.set_stop(self.limit.stop.clone());
        segment.set_populate(self.populate);
        self.compare(&segment)?;
        Ok(Ring::new(segment, self.wait.unwrap_or_default()))
    }

    fn settings(&self) -> Settings {
        let mut default = self.default;
        if self.claims == Some(Claims::Exclusive) {
            default.max_publishers = 1;
        }
        Settings {
            capacity: self.capacity.unwrap_or(default.capacity),
            claims: self.claims.unwrap_or(default.claims),
            overflow: self.overflow.unwrap_or(default.overflow),
            history: self.history.unwrap_or(default.history),
            max_publishers: self.max_publishers.unwrap_or(default.max_publishers),
            max_subscribers: self.max_subscribers.unwrap_or(default.max_subscribers),
            stays_open: self.stays_open.unwrap_or(default.stays_open),
            parking: self.parking().unwrap_or(default.parking),
            ..default
        }
    }

    /// The kind of sleep that was chosen for the ring, if any. Spinning leaves it open.
    fn parking(&self) -> Option<Parking> {
        match self.wait?.kind {
            WaitKind::Spin => None,
            WaitKind::Park => Some(Parking::Futex),
            WaitKind::Event => Some(Parking::Event),
        }
    }

    /// Compares all chosen settings with those of an existing ring.
    fn compare(&self, segment: &Segment) -> Result<(), OpenError> {
        let found = segment.settings();
        let name = &segment.shown_name();
        check(name, "capacity", self.capacity, found.capacity)?;
        check(name, "claims", self.claims, found.claims)?;
        check(name, "overflow", self.overflow, found.overflow)?;
        check(name, "history", self.history, found.history)?;
        check(name, "max_publishers", self.max_publishers, found.max_publishers)?;
        check(name, "max_subscribers", self.max_subscribers, found.max_subscribers)?;
        check(name, "stays_open", self.stays_open, found.stays_open)?;
        check(name, "wait", self.parking(), found.parking)?;
        check(name, "worker slots", Some(self.default.worker_slots), found.worker_slots)?;
        check(name, "tagged slots", Some(self.default.tagged_slots), found.tagged_slots)?;
        check(name, "queue", Some(self.default.queue), found.queue)?;
        check(name, "kind", Some(kind(&self.default)), kind(found))
    }
}

/// The kind of a segment with these settings.
fn kind(settings: &Settings) -> &'static str {
    if settings.cells > 0 { "board" } else { "ring" }
}
