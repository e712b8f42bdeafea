//! Settings of a ring: size, claim kind, behaviour when it is full. They are fixed when the segment
//! is made. `segment::identity` stores them.

#[cfg(not(loom))]
use super::latency;
use std::fmt;

/// The number of publishers and how they claim slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Claims {
    /// Any number of publishers with one total order. A claim is one compare-and-swap.
    Shared,
    /// One publisher. It publishes without a locked instruction.
    Exclusive,
}

/// Behaviour of a full ring: a publisher has reached packets that a subscriber has not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Overflow {
    /// The publisher waits, or gets an error that the ring is full. Nothing is lost.
    Block,
    /// The subscriber loses its oldest packets and gets their number.
    ///
    /// A packet that a subscriber holds is never overwritten. If no room is left behind that
    /// packet, the publisher waits until the packet is released, or gets
    /// [`Full`](crate::TrySendError::Full). So release a packet before long work on it.
    /// [`recv_copied`](crate::Subscriber::recv_copied) and [`values`](crate::Subscriber::values)
    /// hold none.
    DropOldest,
}

/// The way in which endpoints of a ring sleep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Parking {
    Futex,
    Event,
}

/// Settings of a ring.
///
/// ```
/// let ring = packetring::Ring::builder().capacity(64 * 1024).history(10).heap()?;
/// assert_eq!(ring.settings().capacity, 64 * 1024);
/// # Ok::<(), packetring::OpenError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Settings {
    /// Bytes of the ring's slots: a power of two from 1 KiB to 4 GiB. Default 2 MiB.
    ///
    /// More than a core's second-level cache holds, on most processors: then the lines of a stream
    /// pass through the cache that the cores share.
    pub capacity: usize,
    /// Number of publishers and how they claim. Default shared.
    pub claims: Claims,
    /// Behaviour of a full ring. Default block.
    pub overflow: Overflow,
    /// How many packets back a new subscriber starts, if they are still there. Default 0: with the
    /// next packet.
    pub history: usize,
    /// Most publishers at a time: 1 to 1024. Default 64.
    pub max_publishers: usize,
    /// Most subscribers at a time, durable ones included: 1 to 1024. Default 64.
    pub max_subscribers: usize,
    /// True: subscribers keep waiting when the last publisher has left. False, the default: they
    /// get `Closed`.
    pub stays_open: bool,
    pub(crate) parking: Parking,
    /// Worker slots: 0, except in the directory of a cluster.
    pub(crate) worker_slots: usize,
    /// Call cells: 0, except in the call area of a worker. The slots of a call area are memory for
    /// replies.
    pub(crate) call_cells: usize,
    /// Ring of an inbox, of requests or of events: packets carry a tag and possibly a prefix. An
    /// opener without this setting is refused.
    pub(crate) tagged_slots: bool,
    /// Work queue: each packet goes to one consumer.
    pub(crate) queue: bool,
    /// Board: cells; 0 in every other segment.
    pub(crate) cells: usize,
    /// Board: buffers of each cell.
    pub(crate) cell_buffers: usize,
    /// Board: most bytes of a value.
    pub(crate) cell_size: usize,
}

/// Shows the public settings.
impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("capacity", &self.capacity)
            .field("claims", &self.claims)
            .field("overflow", &self.overflow)
            .field("history", &self.history)
            .field("max_publishers", &self.max_publishers)
            .field("max_subscribers", &self.max_subscribers)
            .field("stays_open", &self.stays_open)
            .finish_non_exhaustive()
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            capacity: DEFAULT_CAPACITY,
            claims: Claims::Shared,
            overflow: Overflow::Block,
            history: 0,
            max_publishers: 64,
            max_subscribers: 64,
            stays_open: false,
            parking: Parking::Futex,
            worker_slots: 0,
            call_cells: 0,
            tagged_slots: false,
            queue: false,
            cells: 0,
            cell_buffers: 0,
            cell_size: 0,
        }
    }
}

/// Bytes of a ring, unless its opener chooses.
const DEFAULT_CAPACITY: usize = 2 << 20;
/// Bytes of a queue and of a ring with tags, unless its opener chooses. Half as much: taking a
/// packet from a queue is a locked instruction at least, so the size hardly matters to its speed.
pub(crate) const SMALL_CAPACITY: usize = 1 << 20;
/// Bytes of the smallest ring.
pub(crate) const LEAST_CAPACITY: usize = 1 << 10;
/// Bytes of the largest ring.
const MOST_CAPACITY: usize = 1 << 32;
/// Most call cells of a call area: a request's tag has 13 bits for the cell.
pub(crate) const MAX_CALL_CELLS: usize = 1 << 13;
/// Most entries of one side.
pub(crate) const MAX_ENTRIES: usize = 1024;
/// Most cells of a board.
pub(crate) const MAX_CELLS: usize = 1 << 16;
/// Most buffers of a cell: one for each reader, the current one, and one to write.
pub(crate) const MAX_BUFFERS: usize = MAX_ENTRIES + 2;
/// Most bytes of a value in a cell.
pub(crate) const MAX_CELL_SIZE: usize = 1 << 30;

impl Settings {
    /// Returns true for the queue of a service, in which packets are requests. The request that a
    /// dead server had in hand goes to no other one.
    pub(crate) fn is_request_ring(&self) -> bool {
        self.queue && self.tagged_slots
    }

    /// Checks that a ring can have these settings. The error names the wrong and the right numbers.
    pub(crate) fn check(&self) -> Result<(), String> {
        let capacity = self.capacity;
        if !capacity.is_power_of_two() || !(LEAST_CAPACITY..=MOST_CAPACITY).contains(&capacity) {
            return Err(format!(
                "capacity {capacity} is not a power of two from {LEAST_CAPACITY} to \
                 {MOST_CAPACITY} bytes"
            ));
        }
        if self.claims == Claims::Exclusive && self.max_publishers != 1 {
            return Err(format!(
                "an exclusive ring has one publisher, not {}",
                self.max_publishers
            ));
        }
        check_entries("max_publishers", self.max_publishers)?;
        check_entries("max_subscribers", self.max_subscribers)?;
        if self.worker_slots > MAX_ENTRIES {
            return Err(format!("max_workers {} is more than {MAX_ENTRIES}", self.worker_slots));
        }
        if self.call_cells > MAX_CALL_CELLS {
            return Err(format!("max_calls {} is more than {MAX_CALL_CELLS}", self.call_cells));
        }
        if self.tagged_slots && self.claims == Claims::Exclusive {
            return Err("an inbox has many publishers: use shared claims".to_owned());
        }
        if self.queue && (self.overflow == Overflow::DropOldest || self.history > 0) {
            return Err(
                "a queue neither drops packets nor has history: use overflow block and history 0"
                    .to_owned(),
            );
        }
        if (self.cells, self.cell_buffers, self.cell_size) != (0, 0, 0) {
            self.check_cells()?;
        }
        let kept = capacity / super::layout::SLOT / 2;
        if self.history > kept {
            return Err(format!(
                "history {} is more than the {kept} slots that a ring of {capacity} bytes keeps for \
                 new subscribers: lower the history or raise the capacity",
                self.history
            ));
        }
        Ok(())
    }
}

impl Settings {
    fn check_cells(&self) -> Result<(), String> {
        if !(1..=MAX_CELLS).contains(&self.cells) {
            return Err(format!("keys {} is not from 1 to {MAX_CELLS}", self.cells));
        }
        if !(2..=MAX_BUFFERS).contains(&self.cell_buffers) {
            return Err(format!("buffers {} is not from 2 to {MAX_BUFFERS}", self.cell_buffers));
        }
        if self.cell_size > MAX_CELL_SIZE {
            return Err(format!("max_size {} is more than {MAX_CELL_SIZE} bytes", self.cell_size));
        }
        Ok(())
    }

    /// Slots of one buffer of a board: a header, and the longest value.
    pub(crate) fn buffer_span(&self) -> usize {
        use super::layout::{HEADER, SLOT};
        (HEADER + self.cell_size).div_ceil(SLOT)
    }

    /// Slots of all buffers of a board. `None` if the number overflows.
    pub(crate) fn buffer_slots(&self) -> Option<usize> {
        self.cells.checked_mul(self.cell_buffers)?.checked_mul(self.buffer_span())
    }

    /// Words of latencies: none in a directory, a board and a call area.
    #[cfg(not(loom))]
    pub(crate) fn latency_words(&self) -> usize {
        let is_ring = self.cells == 0 && self.call_cells == 0 && self.worker_slots == 0;
        if is_ring { latency::words(self.max_subscribers) } else { 0 }
    }
}

fn check_entries(what: &str, count: usize) -> Result<(), String> {
    if (1..=MAX_ENTRIES).contains(&count) {
        return Ok(());
    }
    Err(format!("{what} {count} is not from 1 to {MAX_ENTRIES}"))
}

impl fmt::Display for Claims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Shared => "shared",
            Self::Exclusive => "exclusive",
        })
    }
}

impl fmt::Display for Overflow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Block => "block",
            Self::DropOldest => "drop oldest",
        })
    }
}

impl fmt::Display for Parking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Futex => "park",
            Self::Event => "event",
        })
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_the_public_settings() {
        assert_eq!(
            format!("{:?}", Settings::default()),
            "Settings { capacity: 2097152, claims: Shared, overflow: Block, history: 0, \
             max_publishers: 64, max_subscribers: 64, stays_open: false, .. }"
        );
    }

    #[test]
    fn the_default_is_valid() {
        assert_eq!(Settings::default().check(), Ok(()));
    }

    #[test]
    fn an_invalid_setting_is_named() {
        let reason = |change: fn(&mut Settings)| {
            let mut settings = Settings::default();
            change(&mut settings);
            settings.check().unwrap_err()
        };
        assert!(reason(|s| s.capacity = 1000).contains("power of two"));
        assert!(reason(|s| s.capacity = 512).contains("capacity 512"));
        assert!(reason(|s| s.capacity = 1 << 33).contains("4294967296"));
        assert!(reason(|s| s.max_publishers = 0).contains("max_publishers 0"));
        assert!(reason(|s| s.max_subscribers = 1025).contains("max_subscribers 1025"));
        assert!(reason(|s| s.worker_slots = 1025).contains("max_workers 1025"));
        assert!(reason(|s| s.call_cells = 8193).contains("max_calls 8193"));
        assert!(reason(|s| s.history = 16385).contains("16384"));
        let dropping = |s: &mut Settings| (s.queue, s.overflow) = (true, Overflow::DropOldest);
        assert!(reason(dropping).contains("neither drops"));
        assert!(reason(|s| (s.queue, s.history) = (true, 1)).contains("history 0"));
    }
}
