//! The errors of publishing and receiving.
//!
//! A verb has up to three forms, as `recv`, `try_recv` and `recv_timeout`, each with its own error
//! type: see [`error_family`]. No error has a lifetime, so each can be stored and sent to other
//! threads. A failed send leaves the value with its owner, because values are passed by reference.

use crate::error::{Detachment, Detail, Failure, TypeRoom, error_family};
use crate::packet::{UnpackError, Unserializable};
use crate::ring::overflow::Missed;
use std::fmt;

/// Failure of the untyped publisher.
pub(crate) type SendFailure = Failure<SendError, WaitingFor>;
/// Failure of the untyped receivers.
pub(crate) type RecvFailure = Failure<RecvError, ()>;

error_family! {
    /// Why a call that waits for room published no packet: `send`, `reserve`, `send_all`.
    SendError waits for WaitingFor, {
        /// The ring was closed. Nothing can be published to it any more.
        Closed => ("packet not published: the ring is closed"),
        /// The endpoint cannot go on: its process lost the ring, or every other process left a ring
        /// whose name was removed.
        Detached(cause: Detachment) => ("packet not published: the ring is detached: {cause}"),
        /// The packet is larger than this ring allows. A packet takes at most half of the ring, or
        /// a quarter if the ring keeps history.
        TooLarge {
            /// Bytes of its archive.
            needed: usize,
            /// Most bytes of a packet in this ring.
            limit: usize,
        } => (
            "packet too large: {needed} bytes, limit {limit}; create the ring with capacity({}) or more",
            capacity_for(*needed)
        ),
        /// The value could not be serialized.
        Unserializable(#[source] error: Unserializable) => ("packet not serialized: {error}"),
        /// The ring has no space for another packet type or its schema text: all its 64 types, or
        /// 32 KiB of schema text, are needed now. See
        /// [`OpenError::TooManyTypes`](crate::OpenError::TooManyTypes).
        TooManyTypes(room: TypeRoom) => (
            "packet type not registered: the ring has {room}; use another ring"
        ),
        /// The ring accepts certain packet types, and this is another one.
        TypeRefused(types: Box<TypeMismatch>) => (
            "packet type refused: the ring accepts {}, found {}{}",
            types.expected, types.found, types.detail()
        ),
        /// There is no room, and the publisher's [`Stop`](crate::Stop) was called.
        Stopped => ("packet not published: stopped"),
        /// The operating system failed while the packet type was registered in the ring, or while a
        /// task began to wait for room.
        System(#[source] error: std::io::Error) => ("packet not published: {error}"),
    }

    /// Why a call that does not wait published no packet: `try_send`, `try_reserve`,
    /// `try_send_all`.
    TrySendError adds {
        /// There is no room now.
        Full {
            /// The reason.
            waiting_for
        } => ("{}", NotReady { reason: *waiting_for, after: "" })
    }

    /// Why a call with a timeout published no packet: `send_timeout`, `reserve_timeout`,
    /// `send_all_timeout`.
    SendTimeoutError adds {
        /// There was no room before the timeout.
        Timeout {
            /// The reason.
            waiting_for
        } => ("{}", NotReady { reason: *waiting_for, after: " until the timeout" })
    }
}

impl From<Unserializable> for SendError {
    fn from(error: Unserializable) -> Self {
        Self::Unserializable(error)
    }
}

impl From<Unserializable> for SendFailure {
    fn from(error: Unserializable) -> Self {
        SendError::from(error).into()
    }
}

error_family! {
    /// Why a call that waits for a packet returned none: `recv`, `drain`, `recv_where`,
    /// `recv_copied`.
    RecvError waits for (), {
        /// Packets were lost: the ring drops the oldest, and this subscriber was too slow. The next
        /// call continues behind them.
        Missed(missed: Missed) => (
            "packets lost: {missed}, because the subscriber was too slow; read faster or create a larger ring"
        ),
        /// No packet will come: the ring was closed or its last publisher left, and all packets
        /// were read. After the last publisher left, another one can join and publish packets.
        /// Also for an inbox or a queue consumer whose worker [drains](crate::Worker::drain).
        Closed => (
            "no more packets: the ring is closed, its last publisher left, or the worker drains"
        ),
        /// The endpoint cannot go on: its process lost the ring, or every other process left a ring
        /// whose name was removed.
        Detached(cause: Detachment) => ("no more packets: the ring is detached: {cause}"),
        /// The bytes at this position are not a valid packet of the type. The packet was skipped.
        /// If its length is invalid too, the subscriber cannot find the next packet, and each call
        /// returns this error.
        Corrupt(what: Box<str>) => ("corrupt packet: {what}"),
        /// The packet has another type. It was skipped.
        TypeMismatch(types: Box<TypeMismatch>) => (
            "wrong packet type: expected {}, found {}{}",
            types.expected, types.found, types.detail()
        ),
        /// There is no packet, and the subscriber's [`Stop`](crate::Stop) was called.
        Stopped => ("no packet: stopped"),
        /// The operating system failed while a task began to wait.
        System(#[source] error: std::io::Error) => ("no packet: the task cannot wait: {error}"),
    }

    /// Why a call that does not wait returned no packet: `try_recv`, `try_drain`, `try_recv_where`,
    /// `try_recv_copied`.
    TryRecvError adds {
        /// There is no packet now.
        Empty => ("no packet available")
    }

    /// Why a call with a timeout returned no packet: `recv_timeout`, `drain_timeout`,
    /// `recv_where_timeout`, `recv_copied_timeout`.
    RecvTimeoutError adds {
        /// No packet came before the timeout.
        Timeout => ("no packet before the timeout")
    }
}

error_family! {
    /// Why [`Values`](crate::Values) has no value for the next packet.
    ValueError, {
        /// There is no packet.
        Recv(#[source] error: RecvError) => ("{error}"),
        /// The packet is valid, but its value cannot be made.
        Unpack(#[source] error: UnpackError) => ("{error}"),
    }
}

impl From<RecvError> for ValueError {
    fn from(error: RecvError) -> Self {
        Self::Recv(error)
    }
}

impl From<UnpackError> for ValueError {
    fn from(error: UnpackError) -> Self {
        Self::Unpack(error)
    }
}

// Results of receiving stay in registers and one cache line.
const _: () = {
    assert!(size_of::<RecvError>() <= 32);
    assert!(size_of::<TryRecvError>() <= 32);
    assert!(size_of::<RecvTimeoutError>() <= 32);
};

/// Why a `send_all` published only the first packets of its slice. `E` is the error of the form
/// that was called.
#[derive(Debug)]
pub struct SendAllError<E = SendError> {
    /// Number of packets that were published, from the first.
    pub sent: usize,
    /// Why the next one was not.
    pub source: E,
}

impl<E: fmt::Display> fmt::Display for SendAllError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "batch ended after {} packets: {}", self.sent, self.source)
    }
}

impl<E: std::error::Error + 'static> std::error::Error for SendAllError<E> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

/// The reason why a publisher waits.
///
/// Process ids are for display only. An id is valid in the pid namespace of its process. The
/// library makes no decision by a process id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WaitingFor {
    /// A living subscriber that has not read on, or a durable subscriber whose process is gone.
    Subscriber {
        /// Its process, or the last one if it is gone.
        pid: u32,
    },
    /// A publisher that is stopped inside its claim.
    Publisher {
        /// Its process.
        pid: u32,
    },
    /// Subscribers that have not joined yet.
    Subscribers {
        /// Their number.
        missing: usize,
    },
    /// A claim that is not committed yet and whose owner is unknown.
    Claim,
    /// Another process that is joining or leaving, while a packet type is registered.
    Joining {
        /// Its process.
        pid: u32,
    },
    /// A consumer of the queue: there is none, or each one holds a packet.
    Queue,
}

impl fmt::Display for WaitingFor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Subscriber { pid } => write!(f, "a subscriber in process {pid}"),
            Self::Publisher { pid } => write!(f, "a publisher in process {pid}"),
            Self::Subscribers { missing } => write!(f, "{missing} more subscribers"),
            Self::Queue => f.write_str("a consumer of the queue"),
            Self::Claim => f.write_str("a claim to be committed"),
            Self::Joining { pid } => write!(f, "process {pid} to join or leave"),
        }
    }
}

/// The text of `Full` and `Timeout`.
struct NotReady {
    reason: WaitingFor,
    after: &'static str,
}

impl fmt::Display for NotReady {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { reason, after } = self;
        let what = match reason {
            WaitingFor::Subscribers { .. } => "subscribers missing",
            WaitingFor::Joining { .. } => "packet type not registered",
            _ => "ring full",
        };
        write!(f, "{what}{after}: waiting for {reason}")
    }
}

/// The capacity of a ring that takes packets of this many bytes.
fn capacity_for(needed: usize) -> usize {
    let doubled = needed.saturating_add(16).saturating_mul(2);
    doubled.checked_next_power_of_two().unwrap_or(usize::MAX)
}

/// Two packet types that differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypeMismatch {
    /// Name and fingerprint of the type that was expected.
    pub expected: String,
    /// Name and fingerprint of the type that was found.
    pub found: String,
    /// The first difference between the two types, if they have the same name, as in `field
    /// "mood: u8" at offset 12 is missing in the ring's Chat`.
    pub difference: Option<String>,
}

impl TypeMismatch {
    /// The difference as the end of a clause; empty if there is none.
    pub(crate) fn detail(&self) -> Detail<'_> {
        Detail(self.difference.as_deref())
    }
}
