//! Endpoints: of rings, and of boards.

use super::WorkerNames;
use crate::ring::counters::{self, Counters};
use crate::ring::snapshot::{
    CursorSnapshot, Lag, OwnerSnapshot, PublisherSnapshot, RingSnapshot, SubscriberSnapshot,
};
use crate::segment::PassiveSegment;
use crate::segment::entry::{EntryId, OwnerState};
use crate::segment::layout::SLOT;
use crate::segment::settings::Overflow;
use std::fmt;

/// An endpoint of a ring or of a board, alive or dead.
///
/// The endpoint of a process that died stays until another process clears it, within milliseconds
/// if one waits for it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct EndpointInfo {
    /// What it is.
    pub role: EndpointRole,
    /// Index of its entry: from 0, among the publishers or among the subscribers of the ring.
    pub entry: usize,
    /// Its process, or the last one of a durable subscriber. For display only, and valid in that
    /// process's own pid namespace.
    pub pid: u32,
    /// True if its process lives and has it open, which may be this process. From a lock of the
    /// kernel. False for a process that died, and for a durable subscriber that is away.
    pub is_alive: bool,
    /// The name of its worker, in a cluster: the worker with this `pid` in the directory. `None` if
    /// there are several or none. For display only.
    pub worker: Option<String>,
    /// Indices of the packet types that it uses: the [`index`](super::RingType::index) of the
    /// ring's types. Empty for an endpoint of packets of any type that has not met one yet.
    pub types: Vec<u16>,
    /// A subscriber: the position of the next packet that it receives, or of the packet that it
    /// has in flight. Positions count slots of 64 bytes since the ring was made. A consumer: the
    /// packet that it has in flight. `None` for all others, and for a subscriber that is leaving.
    pub position: Option<u64>,
    /// How far a subscriber is behind the tail. `None` for all other endpoints: the lag of
    /// consumers is that of their [queue](super::RingInspection::queue).
    pub lag: Option<Lag>,
    /// Whether it has a packet or a value in flight.
    pub in_flight: InFlight,
    /// How often the packet in flight of a durable subscriber or a consumer was handed out so far;
    /// 0 if there is none.
    pub deliveries: u64,
    /// The claim of a publisher that is not committed yet: a packet that it writes, or a
    /// reservation. `None` for an exclusive publisher, whose words do not tell.
    pub claim: Option<OpenClaim>,
    /// What it sent or received, lost and waited for, since it joined. An endpoint of a board
    /// counts none of that.
    pub counters: Counters,
}

/// The role of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EndpointRole {
    /// It sends packets.
    Publisher,
    /// It receives every packet.
    Subscriber,
    /// It receives every packet, and its place stays when its process is gone. The receiver of an
    /// inbox is one.
    Durable {
        /// Its name.
        name: String,
    },
    /// It shares the packets of a queue with the other consumers. The server of a service is one.
    Consumer,
    /// A subscriber whose place is not determined yet.
    Joining,
    /// It writes the cells of a board.
    Writer,
    /// It reads the cells of a board.
    Reader,
}

/// Whether an endpoint has a packet in flight: received, and neither released nor acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InFlight {
    /// It has none.
    Nothing,
    /// It has the packet at its position. A durable subscriber that is gone had it, and its
    /// successor gets it again. A consumer that is gone had it, and another consumer gets it.
    OnePacket,
    /// A reader of a board has a value of the cell with this index. It may have released it, and
    /// keeps the place for its next read.
    OneCell(usize),
    /// A consumer tries to take the packet at its position.
    Taking,
    /// Shared memory does not tell: a subscriber of a ring that blocks stores nothing when it
    /// receives.
    Unknown,
}

/// Slots that a publisher has claimed and not committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OpenClaim {
    /// Its first position. Readers wait there.
    pub position: u64,
    /// Its slots of 64 bytes.
    pub slots: u64,
    /// Bytes of these slots.
    pub bytes: u64,
}

/// The segment that endpoints are read from.
pub(super) struct Source<'a> {
    pub(super) segment: &'a PassiveSegment,
    pub(super) workers: &'a WorkerNames,
}

impl Source<'_> {
    fn is_board(&self) -> bool {
        self.segment.settings().cells > 0
    }

    /// All endpoints: the publishers in the order of their entries, then the subscribers in theirs.
    pub(super) fn endpoints(&self, found: &RingSnapshot) -> Vec<EndpointInfo> {
        let publishers = found.publishers.iter().filter_map(|words| self.publisher(words));
        let subscribers = found.subscribers.iter().filter_map(|words| self.subscriber(words));
        publishers.chain(subscribers).collect()
    }

    /// An endpoint without what depends on its role. `None` if it has left meanwhile.
    fn endpoint(
        &self,
        id: EntryId,
        role: EndpointRole,
        words: &OwnerSnapshot,
    ) -> Option<EndpointInfo> {
        let is_alive = self.segment.is_alive(id);
        // An endpoint frees its entry before it releases the lock. So the entry of one that left is
        // not taken for that of a dead one.
        if !words.is_current(self.segment.memory(), id) {
            return None;
        }
        Some(EndpointInfo {
            role,
            entry: id.index(),
            pid: words.pid,
            is_alive,
            worker: self.workers.of_process(words.pid, is_alive),
            types: indices(words.types),
            position: None,
            lag: None,
            in_flight: InFlight::Nothing,
            deliveries: 0,
            claim: None,
            counters: counters::snapshot(self.segment.memory(), id).unwrap_or_default(),
        })
    }

    fn publisher(&self, words: &PublisherSnapshot) -> Option<EndpointInfo> {
        let role = if self.is_board() { EndpointRole::Writer } else { EndpointRole::Publisher };
        let claim = words.claim.map(|(position, slots)| {
            let bytes = slots.saturating_mul(SLOT as u64);
            OpenClaim { position, slots, bytes }
        });
        let id = EntryId::Publisher(words.entry);
        Some(EndpointInfo { claim, ..self.endpoint(id, role, &words.owner)? })
    }

    fn subscriber(&self, words: &SubscriberSnapshot) -> Option<EndpointInfo> {
        let role = match words.owner.state {
            OwnerState::Consumer => EndpointRole::Consumer,
            OwnerState::Durable => {
                EndpointRole::Durable { name: words.durable.clone().unwrap_or_default() }
            }
            OwnerState::Joining => EndpointRole::Joining,
            OwnerState::Taken | OwnerState::Free if self.is_board() => EndpointRole::Reader,
            OwnerState::Taken | OwnerState::Free => EndpointRole::Subscriber,
        };
        let is_consumer = role == EndpointRole::Consumer;
        let id = EntryId::Subscriber(words.entry);
        let in_flight = self.in_flight(words, &role);
        Some(EndpointInfo {
            position: words.cursor.map(|cursor| cursor.position),
            lag: words.cursor.map(|cursor| cursor.lag).filter(|_| !is_consumer),
            in_flight,
            deliveries: words.deliveries,
            ..self.endpoint(id, role, &words.owner)?
        })
    }

    fn in_flight(&self, words: &SubscriberSnapshot, role: &EndpointRole) -> InFlight {
        let drops = self.segment.settings().overflow == Overflow::DropOldest;
        let packet = |has: bool| if has { InFlight::OnePacket } else { InFlight::Nothing };
        match (role, words.cursor) {
            (EndpointRole::Reader, _) => {
                words.pinned_cell.map_or(InFlight::Nothing, InFlight::OneCell)
            }
            (_, None) | (EndpointRole::Joining, _) => InFlight::Nothing,
            (EndpointRole::Consumer, Some(CursorSnapshot { is_pinned, .. })) => {
                if is_pinned {
                    InFlight::Taking
                } else {
                    InFlight::OnePacket
                }
            }
            (EndpointRole::Durable { .. }, Some(cursor)) if !drops => {
                packet(words.handed_out > cursor.position)
            }
            (_, Some(cursor)) if drops => packet(cursor.is_pinned),
            (_, Some(_)) => InFlight::Unknown,
        }
    }
}

/// The indices of the bits that are set.
pub(super) fn indices(bits: u64) -> Vec<u16> {
    (0..u64::BITS as u16).filter(|&index| bits >> index & 1 == 1).collect()
}

impl fmt::Display for EndpointRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Publisher => "publisher",
            Self::Subscriber => "subscriber",
            Self::Durable { name } => return write!(f, "durable subscriber {name:?}"),
            Self::Consumer => "consumer",
            Self::Joining => "joining subscriber",
            Self::Writer => "writer",
            Self::Reader => "reader",
        })
    }
}

impl EndpointInfo {
    /// Returns true for publishers of a ring and writers of a board.
    pub fn is_writing(&self) -> bool {
        matches!(self.role, EndpointRole::Publisher | EndpointRole::Writer)
    }

    pub(super) fn id(&self) -> EntryId {
        if self.is_writing() {
            EntryId::Publisher(self.entry)
        } else {
            EntryId::Subscriber(self.entry)
        }
    }
}
