//! What one operation can answer instead of what was asked for.
//!
//! One enum an operation; none has a lifetime, so all can be kept and sent. A failed send leaves
//! the value with the caller, who passed it by reference.

use crate::error::OpenError;
use crate::packet::{UnpackError, Unserializable};
use crate::ring::overflow::Missed;
use std::fmt;

/// Why a packet was not published.
#[derive(Debug)]
#[non_exhaustive]
pub enum SendError {
    /// The ring was closed: nobody can publish to it any more.
    Closed,
    /// The packet does not fit, ever: make the ring larger (a packet takes half of it at most, a
    /// quarter if the ring keeps history) or the packet smaller.
    TooLarge {
        /// Bytes of its archive.
        needed: usize,
        /// The most a packet of this ring may have.
        limit: usize,
    },
    /// The value refused to be archived.
    Unserializable(Unserializable),
    /// `try_`: there is no room now.
    Full {
        /// Who holds the publisher back.
        waiting_for: WaitingFor,
    },
    /// `_timeout`: there was no room in time.
    Timeout {
        /// Who holds the publisher back.
        waiting_for: WaitingFor,
    },
    /// The ring carries as many packet types as it can, and this is another one.
    TooManyTypes {
        /// How many it can carry.
        limit: usize,
    },
    /// The ring takes packets of certain types, and this is another one.
    TypeRefused(Box<TypeMismatch>),
    /// The operating system refused what it takes to enter a packet type into the ring.
    System(std::io::Error),
}

/// Who a publisher waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WaitingFor {
    /// A subscriber that lives and has not read on, or a durable one that may come back.
    Subscriber {
        /// Its process, or the one it last lived in, as its own pid namespace has it. For people:
        /// nothing is decided by it.
        pid: u32,
    },
    /// A publisher that is stopped within its claim.
    Publisher {
        /// Its process, as its own pid namespace has it. For people.
        pid: u32,
    },
    /// Subscribers that have not joined yet.
    Subscribers {
        /// How many are missing.
        missing: usize,
    },
    /// A claim of nobody in particular that is not committed yet.
    Claim,
    /// Mixed publishers, at the first packet of a type: another process is just joining or leaving.
    Joining {
        /// Its process, as its own pid namespace has it. For people.
        pid: u32,
    },
    /// A member of the work queue: there is none, or each has a packet in hand.
    Queue,
}

/// Why a batch was not published as a whole.
#[derive(Debug)]
pub struct SendAllError {
    /// How many packets, from the first, were published.
    pub sent: usize,
    /// Why the next was not.
    pub source: SendError,
}

/// Why there is no packet.
#[derive(Debug)]
#[non_exhaustive]
pub enum RecvError {
    /// Packets were lost: the ring drops the oldest and this subscriber was too slow. The next
    /// call goes on behind them.
    Missed(Missed),
    /// No packet will come: the ring was closed, or its last publisher left, and all packets have
    /// been read. After the latter, packets come again once another publisher has joined.
    Closed,
    /// The bytes at this position are not a packet of its type. It was skipped; if its length
    /// cannot be believed either, the ring cannot be read on and each call says so.
    Corrupt(Box<str>),
    /// The packet is of another type. It was skipped.
    TypeMismatch(Box<TypeMismatch>),
    /// `values`: the packet is sound, and its value could not be made from it.
    Unpack(Box<UnpackError>),
    /// Services: a caller's ring of replies could not be opened, for want of descriptors, memory or
    /// a place in it. Its request was set aside, and is tried again; others are served meanwhile.
    Caller(Box<OpenError>),
    /// `try_`: nothing there now.
    Empty,
    /// `_timeout`: nothing came in time.
    Timeout,
}

/// Two packet types that are not the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypeMismatch {
    /// Name and fingerprint of the type that was expected.
    pub expected: String,
    /// Name and fingerprint of the type that was found.
    pub found: String,
}

const _: () = assert!(size_of::<RecvError>() <= 32);

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the ring was closed"),
            Self::TooLarge { needed, limit } => write!(
                f,
                "the packet takes {needed} bytes and this ring's take {limit} at most: make the ring with capacity({}) or more",
                needed
                    .saturating_add(16)
                    .saturating_mul(2)
                    .checked_next_power_of_two()
                    .unwrap_or(usize::MAX)
            ),
            Self::Unserializable(error) => write!(f, "the packet cannot be archived: {error}"),
            Self::Full { waiting_for: missing @ WaitingFor::Subscribers { .. } } => {
                write!(f, "not all subscribers are there: waiting for {missing}")
            }
            Self::Timeout { waiting_for: missing @ WaitingFor::Subscribers { .. } } => {
                write!(f, "not all subscribers came in time: waiting for {missing}")
            }
            Self::Full { waiting_for: joining @ WaitingFor::Joining { .. } }
            | Self::Timeout { waiting_for: joining @ WaitingFor::Joining { .. } } => {
                write!(f, "the packet's type could not be registered: waiting for {joining}")
            }
            Self::Full { waiting_for } => write!(f, "the ring is full, waiting for {waiting_for}"),
            Self::Timeout { waiting_for } => {
                write!(f, "the ring stayed full, waiting for {waiting_for}")
            }
            Self::TooManyTypes { limit } => {
                write!(f, "the ring carries {limit} packet types already, with their schemas")
            }
            Self::TypeRefused(types) => {
                write!(f, "the ring takes {}, not {}", types.expected, types.found)
            }
            Self::System(error) => write!(f, "the packet's type could not be registered: {error}"),
        }
    }
}

impl fmt::Display for WaitingFor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Subscriber { pid } => write!(f, "a subscriber in process {pid}"),
            Self::Publisher { pid } => write!(f, "a publisher in process {pid}"),
            Self::Subscribers { missing } => write!(f, "{missing} more subscribers"),
            Self::Queue => f.write_str("a member of the work queue to take a packet"),
            Self::Claim => f.write_str("a claim to be committed"),
            Self::Joining { pid } => write!(f, "process {pid} to join or leave"),
        }
    }
}

impl fmt::Display for SendAllError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "after {} packets that were sent: {}", self.sent, self.source)
    }
}

impl fmt::Display for RecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missed(missed) => {
                write!(f, "missed {missed}: too slow for a ring that drops the oldest")
            }
            Self::Closed => f.write_str("the ring is closed"),
            Self::Corrupt(what) => write!(f, "a packet is corrupt: {what}"),
            Self::TypeMismatch(types) => {
                write!(f, "the packet is of type {}, expected {}", types.found, types.expected)
            }
            Self::Unpack(error) => write!(f, "the value could not be made: {error}"),
            Self::Caller(error) => {
                write!(f, "a caller cannot be replied to yet, its request waits: {error}")
            }
            Self::Empty => f.write_str("no packet is there"),
            Self::Timeout => f.write_str("no packet came in time"),
        }
    }
}

impl std::error::Error for SendError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unserializable(error) => Some(error),
            Self::System(error) => Some(error),
            _ => None,
        }
    }
}

impl std::error::Error for SendAllError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

impl std::error::Error for RecvError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unpack(error) => Some(error),
            Self::Caller(error) => Some(error),
            _ => None,
        }
    }
}

impl From<Unserializable> for SendError {
    fn from(error: Unserializable) -> Self {
        Self::Unserializable(error)
    }
}
