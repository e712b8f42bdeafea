//! Choosing settings for a board, and opening it.

use super::{Board, Latest};
use crate::channel::builder::RingBuilder;
use crate::channel::ring::{Ring, check};
use crate::channel::type_table::Registrar;
use crate::error::{NameKind, OpenError};
use crate::packet::Packet;
use crate::segment::Segment;
use crate::segment::name::Name;
use crate::segment::settings::{Claims, Settings};
use crate::sys::lock::LockLimit;
use crate::sys::stop::Stop;
use crate::wait::Wait;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

/// Keys of a board by default.
const KEYS: usize = 64;
/// Bytes of a value with pointers by default: with its header 16 slots.
const SIZE: usize = 1008;

/// Settings for opening a [`Board`] or a [`Latest`]. A setting that is not chosen has its default
/// if the board is created, and accepts any value if it exists.
///
/// ```
/// use packetring::Latest;
///
/// let text = Latest::<String>::builder().max_size(4096).max_readers(8).heap_latest::<String>()?;
/// text.writer()?.write(&"hello".to_owned())?;
/// assert_eq!(*text.reader()?.read()?, *"hello");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "a builder does nothing until the board is opened"]
pub struct BoardBuilder {
    ring: RingBuilder,
    keys: Option<usize>,
    max_size: Option<usize>,
    max_writers: Option<usize>,
    max_readers: Option<usize>,
    buffers: Option<usize>,
    wait: Wait,
    /// It opens a [`Latest`].
    is_latest: bool,
}

impl<T: Packet> Latest<T> {
    /// Opens the cell of this name, or creates it with the default settings: one writer, 64
    /// readers, and values up to the size of a `T` without pointers, or 1,008 bytes.
    ///
    /// # Errors
    ///
    /// As [`BoardBuilder::open`].
    pub fn open(name: &str) -> Result<Self, OpenError> {
        Self::builder().open_latest(name)
    }

    /// Returns a builder, to choose settings before the cell is opened.
    pub fn builder() -> BoardBuilder {
        BoardBuilder::default()
    }
}

impl BoardBuilder {
    /// Most keys: 1 to 65,536, 64 by default. No effect on a `Latest`.
    pub fn keys(mut self, count: usize) -> Self {
        self.keys = Some(count);
        self
    }

    /// Most bytes of a value's archive, up to 1 GiB. The default is the length of a type without
    /// pointers, or 1,008 bytes.
    pub fn max_size(mut self, bytes: usize) -> Self {
        self.max_size = Some(bytes);
        self
    }

    /// Most writers at a time, 1 to 1024. By default there is one, and a second one is
    /// [`PublisherTaken`](OpenError::PublisherTaken). With several, a write also takes the lock of
    /// its cell: one compare-and-swap.
    pub fn max_writers(mut self, count: usize) -> Self {
        self.max_writers = Some(count);
        self
    }

    /// Most readers at a time: 1 to 1024, 64 by default.
    pub fn max_readers(mut self, count: usize) -> Self {
        self.max_readers = Some(count);
        self
    }

    /// Buffers of each cell: 2 to 1026. The default, two more than readers, lets no value in a
    /// reader's hand stop a writer. With fewer, a write waits while readers hold all of them but
    /// the current one, and a reader gives its value back when its guard is dropped: a read then
    /// always costs an exchange.
    pub fn buffers(mut self, count: usize) -> Self {
        self.buffers = Some(count);
        self
    }

    /// How its readers wait for a change. [`Wait::event`] sleeps as [`Wait::park`] does.
    pub fn wait(mut self, wait: Wait) -> Self {
        self.wait = wait;
        self
    }

    /// How long opening and joining wait: see [`RingBuilder::open_timeout`].
    pub fn open_timeout(self, timeout: Duration) -> Self {
        self.with(|ring| ring.open_timeout(timeout))
    }

    /// Sets what ends the waits of the board's readers and writers: see [`RingBuilder::stop`].
    pub fn stop(self, stop: &Stop) -> Self {
        self.with(|ring| ring.stop(stop))
    }

    /// Sets what ends waits, of a kind that is chosen.
    pub(crate) fn limited(self, limit: LockLimit) -> Self {
        self.with(|ring| ring.limited(limit))
    }

    /// Sets a prefix of the name: see [`RingBuilder::prefix`].
    pub fn prefix(self, prefix: &str) -> Self {
        self.with(|ring| ring.prefix(prefix))
    }

    /// Sets the mode of the file: see [`RingBuilder::mode`].
    pub fn mode(self, mode: u32) -> Self {
        self.with(|ring| ring.mode(mode))
    }

    /// Sets the group that shares the board: see [`RingBuilder::group`].
    pub fn group(self, group: u32) -> Self {
        self.with(|ring| ring.group(group))
    }

    /// Opens the board of this name, or creates it.
    ///
    /// # Errors
    ///
    /// As [`RingBuilder::open`]. [`SettingsMismatch`](OpenError::SettingsMismatch) if a chosen
    /// setting differs, or the name is that of a ring. [`TypeMismatch`](OpenError::TypeMismatch) if
    /// its values have another type, with the first difference.
    pub fn open<T: Packet>(self, name: &str) -> Result<Board<T>, OpenError> {
        let ring = self.ring::<T>().open(name)?;
        self.finish(ring)
    }

    /// Opens the cell of this name, or creates it.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn open_latest<T: Packet>(mut self, name: &str) -> Result<Latest<T>, OpenError> {
        (self.keys, self.is_latest) = (Some(1), true);
        self.open(name).map(Latest::new)
    }

    /// As [`open`](Self::open), by a name of any kind.
    pub(crate) fn open_named<T: Packet>(self, name: &Name) -> Result<Board<T>, OpenError> {
        let ring = self.ring::<T>().open_named(name)?;
        self.finish(ring)
    }

    /// As [`open_latest`](Self::open_latest), by a name of any kind.
    pub(crate) fn open_latest_named<T: Packet>(
        mut self,
        name: &Name,
    ) -> Result<Latest<T>, OpenError> {
        (self.keys, self.is_latest) = (Some(1), true);
        self.open_named(name).map(Latest::new)
    }

    /// Creates a board on the heap, for the threads of this process.
    ///
    /// # Errors
    ///
    /// [`BadSettings`](OpenError::BadSettings), or [`System`](OpenError::System) if there is not
    /// enough memory.
    pub fn heap<T: Packet>(self) -> Result<Board<T>, OpenError> {
        let ring = self.ring::<T>().heap()?;
        self.finish(ring)
    }

    /// Creates a cell on the heap, for the threads of this process.
    ///
    /// # Errors
    ///
    /// As [`heap`](Self::heap).
    pub fn heap_latest<T: Packet>(mut self) -> Result<Latest<T>, OpenError> {
        (self.keys, self.is_latest) = (Some(1), true);
        self.heap().map(Latest::new)
    }

    fn with(mut self, change: impl FnOnce(RingBuilder) -> RingBuilder) -> Self {
        self.ring = change(self.ring);
        self
    }

    /// The settings of the segment: a ring of the least size, and the cells.
    fn ring<T: Packet>(&self) -> RingBuilder {
        let writers = self.max_writers.unwrap_or(1);
        let readers = self.max_readers.unwrap_or(Settings::default().max_subscribers);
        let kind = if self.is_latest { NameKind::Latest } else { NameKind::Board };
        self.ring.clone().called(kind).or_else(|default| {
            default.capacity = 1024;
            default.claims = if writers == 1 { Claims::Exclusive } else { Claims::Shared };
            default.max_publishers = writers;
            default.max_subscribers = readers;
            default.stays_open = true;
            default.cells = self.keys.unwrap_or(KEYS);
            default.cell_buffers = self.buffers.unwrap_or(readers.saturating_add(2));
            default.cell_size = self.max_size.or(T::FLAT_LEN).unwrap_or(SIZE);
        })
    }

    fn finish<T: Packet>(self, ring: Ring) -> Result<Board<T>, OpenError> {
        let segment = ring.into_segment();
        self.compare(&segment)?;
        fix_type::<T>(&segment)?;
        let attachment = Arc::new(segment);
        Ok(Board { attachment, wait: self.wait, packet: PhantomData })
    }

    /// Compares all chosen settings with those of an existing board.
    fn compare(&self, segment: &Segment) -> Result<(), OpenError> {
        let (name, found) = (&segment.shown_name(), segment.settings());
        if self.is_latest && found.cells != 1 {
            check(name, "kind", Some("latest value"), "board")?;
        }
        check(name, "keys", self.keys, found.cells)?;
        check(name, "max_size", self.max_size, found.cell_size)?;
        check(name, "max_writers", self.max_writers, found.max_publishers)?;
        check(name, "max_readers", self.max_readers, found.max_subscribers)?;
        check(name, "buffers", self.buffers, found.cell_buffers)
    }
}

/// Makes `T` the only type of the board for good, or compares it with that type: a value needs its
/// type also when no endpoint is there.
fn fix_type<T: Packet>(segment: &Segment) -> Result<(), OpenError> {
    let control = segment.lock()?;
    let is_alive = |entry_id| segment.is_alive(entry_id);
    let index = Registrar::new(&control, segment, &is_alive).register(&T::TYPE)?;
    segment.with_types(|table| table.membership.accept([index]));
    Ok(())
}
