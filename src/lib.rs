//! Typed packets through shared memory, from one process to another.
//!
//! A [`Ring`] is memory that several processes have mapped. A [`Publisher`] archives a value
//! straight into its slots; a [`Subscriber`] checks the archive once and reads it in place, as
//! its own type.
//!
//! ```
//! use packetring::{Ring, packet};
//!
//! #[packet]
//! struct Price { symbol: u32, bid: u64, ask: u64 }
//!
//! let ring = Ring::open("prices")?;
//! let mut desk = ring.subscriber::<Price>()?;
//! let mut feed = ring.publisher::<Price>()?; // here, or in another process
//! feed.send(&Price { symbol: 7, bid: 101, ask: 102 })?;
//! assert_eq!(desk.recv()?.bid, 101);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! It guarantees: a packet is received whole, checked, and as the type that was sent; one total
//! order a ring; nothing lost in a ring that blocks, and a count of what was lost in one that
//! drops; any process may be killed at any instruction, and the others go on.
//!
//! It is not: a broker (there is none), a network (one machine), a store (memory only), a
//! boundary against hostile processes of the same user (see [`Subscriber::recv_copied`]).
//!
//! - [`Ring`], [`RingBuilder`]: making and opening.
//! - [`Publisher`], [`Subscriber`]: one packet type. [`any::AnyPublisher`], [`any::AnySubscriber`],
//!   [`one_of`](macro@one_of): several.
//! - [`packet`](macro@packet), [`Packet`]: what can be sent. [`packet`](mod@packet): how it is
//!   told apart and described.
//! - [`Worker`]: a process' place in a cluster, and all that it opens there: topics, inboxes, work
//!   queues, services, events.
//! - [`Wait`]: spinning, parking, events. [`select()`]: several subscribers at once.
//! - [`OpenError`], [`SendError`], [`RecvError`]: what can go wrong, and what to do.
//!
//! # Processes, threads, `fork`
//!
//! An endpoint lives as long as its process, if it is not dropped before: the kernel says who
//! lives. No clock decides about it, and no process id: those in errors are for people, and of the
//! pid namespace of the process that they name. One that was killed and is not reaped is dead.
//!
//! A thread is not a process. If it ends without unwinding (`pthread_exit`, the bare `exit` system
//! call), or forgets an endpoint ([`std::mem::forget`]), the endpoint stays, holds back whom it
//! would hold back, and goes with the process.
//!
//! A child made by `fork` that does not `exec` has none of its parent's endpoints, so that they
//! end with the parent even if the child lives on:
//!
//! - Dropping one there does nothing to the ring. Joining by an inherited [`Ring`] is an error.
//! - **Using one there is a SIGSEGV**: the memory is not there, and nothing else ever lies in its
//!   place. Dropping a packet or a reservation that was in hand when the process was forked is a
//!   use. A program that makes itself a daemon opens its rings afterwards.
//! - So it is with a [`Worker`] and all that it opened: dropping it leaves no cluster, acknowledges no
//!   letter, ends no job and answers no request; opening or leaving by it is an error, and so is a
//!   letter to whom it has no endpoint for yet; any other use is a SIGSEGV. The child may join the cluster as a worker of its own.
//! - A ring that everyone has left is gone by name, but its memory stays as long as a child has
//!   neither dropped what it inherited nor ended.
//! - The child may open the ring again by its name.
//! - A ring on the heap is copied, as all of a process's memory: the child has its own, with the
//!   packets in it. If another thread was joining, leaving or asking who lives at that instant, the
//!   copy's locks stay held, as those of any mutex.
//!
//! [`std::process::Command`] is no `fork` in this sense, with `pre_exec` or without, except for
//! what `pre_exec` runs. Handlers of `pthread_atfork` see to all this, so what goes around them (a bare
//! `clone` system call) does not have it; for the same reason, a shared library that contains this
//! crate must not be unloaded.
//!
//! # What can run out
//!
//! Memory, descriptors, places, room for names and types: each is an error of the call that needs
//! it, and that call leaves nothing behind. A ring's memory is reserved when it is made: `/dev/shm`
//! cannot fill up under it. A [`Ring`] takes two descriptors and a mapping, each endpoint as much
//! again, and all together one descriptor more. A subscriber that comes to a dead publisher's claim
//! needs a second mapping for an instant, and waits while it cannot have it.
//!
//! The README says what is promised and what is not, in full.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic, reason = "a test may stop"))]
#![cfg_attr(loom, allow(dead_code, unused_imports, reason = "the protocol alone is checked"))]

// So that what the macros emit also compiles in here.
extern crate self as packetring;

#[cfg(not(loom))]
mod channel;
#[cfg(not(loom))]
pub mod cluster;
mod error;
mod failpoint;
#[cfg(not(loom))]
pub mod packet;
mod ring;
mod segment;
mod sync;
#[cfg(not(loom))]
mod sys;
mod wait;
#[cfg(not(loom))]
pub mod with;

pub use error::OpenError;
pub use ring::overflow::Missed;
pub use segment::settings::{Claims, Overflow, Settings};
pub use wait::Wait;

#[cfg(not(loom))]
pub use api::*;

/// Items that the loom build leaves out: it checks the protocol alone.
#[cfg(not(loom))]
mod api {
    pub use crate::channel::{
        Batch, BatchIter, CarriedType, Copied, Info, Publisher, Received, RecvError, Reserved,
        ReservedTail, Ring, RingBuilder, Selectable, Selectee, SendAllError, SendError, Subscriber,
        TypeMismatch, Values, WaitingFor, select, select_timeout, try_select,
    };
    pub use crate::cluster::Worker;
    pub use crate::packet::{Packet, Tail};
    pub use rkyv;

    /// Endpoints for packets of any type in one ring.
    pub mod any {
        pub use crate::channel::{
            AnyBatch, AnyBatchIter, AnyPacket, AnyPublisher, AnyReceived, AnySubscriber,
        };
    }
}

/// Makes a struct or enum a [`Packet`]: a value of it can be sent, and is read in place.
///
/// ```
/// #[packetring::packet]
/// pub struct Chat {
///     pub name: String,
///     pub age: u32,
/// }
///
/// // The archived form has the same fields, and methods of its own.
/// impl ArchivedChat {
///     pub fn greeting(&self) -> String {
///         format!("hello, i'm {} and {}", self.name, self.age)
///     }
/// }
/// # fn main() {}
/// ```
///
/// It puts rkyv's `Archive`, `Serialize` and `Deserialize` on the item, by way of packetring, so that rkyv need
/// not be a dependency, and describes the archived type `Archived…`: its fingerprint, its schema, and whether
/// it can be reserved ([`packet::AnyBits`]). Everything else about the item stays as it is, derives included.
///
/// Methods that are to be called on received packets go on the archived type, here `ArchivedChat`. To print and
/// compare received packets, derive for it: `#[rkyv(derive(Debug))]`, `#[rkyv(compare(PartialEq))]` beside
/// `#[packet]`.
///
/// # What it may hold
///
/// Whatever is a [`Packet`]. Refused, at the field and with a hint: hash tables, shared and raw pointers,
/// references, trait objects, functions, cells, locks, atomics, `Instant`; `usize` and `isize` too, because rkyv
/// would cut them to 32 bits. The macro goes by the name: if a type of yours is merely called so, or if a
/// `usize` is always small, put `#[rkyv(with = packetring::with::Identity)]` on the field. Other
/// [wrappers](crate::with) archive such fields as something else, such as a `HashMap` as a list.
///
/// A type may mention itself, by its name or as `Self`, behind a `Box`, in a `Vec` or a map; pointers nest up to 63
/// deep. Two types that mention each other are a cycle that the compiler refuses: box one of them as bytes, or make
/// them one type. Every type parameter must itself be a packet type, even if it is only in a `PhantomData`: it
/// is part of the fingerprint.
///
/// # Arguments
///
/// `#[packet(crate = path)]` if packetring has another name. `#[rkyv(..)]` on the item and its fields is passed on to
/// rkyv (`with`, `derive`, `compare`, `archived`, `attr`, `niche`, …), but for `as`, `remote` and `crate`.
///
/// A crate that denies `missing_docs` must allow it for the modules of public enums with named fields: rkyv's
/// resolvers have none.
#[cfg(not(loom))]
pub use packetring_derive::packet;

/// Makes an enum of packet types a choice of packets, each read in place.
///
/// ```
/// # #[packetring::packet] pub struct DeliveryGuard { pub name: String }
/// # #[packetring::packet] pub struct Stop;
/// #[packetring::one_of]
/// enum Work {
///     DeliveryGuard(DeliveryGuard),
///     Stop(Stop),
/// }
///
/// fn name<'a>(work: &Work<'a>) -> &'a str {
///     match work {
///         Work::DeliveryGuard(job) => &job.name, // a `&'a ArchivedJob`
///         Work::Stop(_) => "stop",
///     }
/// }
/// # fn main() {}
/// ```
///
/// It is for receiving: what is sent are its members. The enum gets a lifetime, that of the packet, and is `Clone` and `Copy`. Each variant holds one packet type, all of
/// them different. It implements [`packet::OneOf`]. `#[one_of(crate = path)]` if packetring has another name.
#[cfg(not(loom))]
pub use packetring_derive::one_of;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
