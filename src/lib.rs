//! Typed packets through shared memory, between the worker processes of one machine.
//!
//! A [`Ring`] is memory that several processes have mapped. A [`Publisher`] writes a value as an
//! rkyv archive straight into its slots. A [`Subscriber`] checks the archive once and reads it in
//! place, as its own type.
//!
//! ```
//! use packetring::{Ring, packet};
//!
//! #[packet]
//! struct Price { symbol: u32, bid: u64, ask: u64 }
//!
//! let ring = Ring::open("prices")?;
//! let mut reader = ring.subscriber::<Price>()?;
//! let mut feed = ring.publisher::<Price>()?; // here, or in another process
//! feed.send(&Price { symbol: 7, bid: 101, ask: 102 })?;
//! assert_eq!(reader.recv()?.bid, 101);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Guarantees
//!
//! - A packet is received whole, checked, and as the type that was sent.
//! - Each ring has one total order.
//! - A ring that blocks loses nothing. A ring that drops the oldest packets counts the losses.
//! - Any process may be killed at any instruction; the other processes continue.
//!
//! The crate has no broker and no network, and keeps nothing on disk. It does not defend against a
//! hostile process of the same user (see [`Subscriber::recv_copied`]).
//!
//! # Where to find what
//!
//! | need | items |
//! |---|---|
//! | create and open rings | [`Ring`], [`RingBuilder`] |
//! | send and receive one packet type | [`Publisher`], [`Subscriber`] |
//! | several packet types in one ring | [`any`], [`one_of`](macro@one_of) |
//! | declare packet types | [`packet`](macro@packet), [`Packet`], [`with`] |
//! | schemas and fingerprints of types | [`packet`](mod@packet) |
//! | packets without their types, as JSON | `dynamic`, with the feature `dynamic` |
//! | topics, inboxes, queues, services, events | [`Worker`], [`cluster`] |
//! | the newest value, of one or many keys | [`Latest`], [`Board`], [`board`] |
//! | spin, park, portable events | [`Wait`] |
//! | wait for several endpoints at once | [`select()`] |
//! | wait in an event loop or a task | [`Selectable`], [`Readiness`], feature `async` |
//! | end waits from outside | [`Stop`] |
//! | pass sockets to another process | feature `handover` |
//! | packets with `Bytes`, with UUIDs | features `bytes`, `uuid` |
//! | list all objects in shared memory, remove deserted ones | [`inventory()`], [`purge()`] |
//! | see who is in a ring, and what passes through it | [`inspect`], [`observe`] |
//! | log joins, deaths, losses and damage | feature `tracing` |
//!
//! # Features
//!
//! No feature is on by default.
//!
//! | feature | adds |
//! |---|---|
//! | `async` | the `_async` forms of calls that wait, and `stream` |
//! | `dynamic` | packets without their Rust types: module `dynamic` |
//! | `handover` | descriptors with messages: `Worker::send_fds_to`, `Inbox::accept_fds` |
//! | `tracing` | reports of joins, deaths, losses and damage to a `tracing` subscriber |
//! | `bytes`, `uuid` | packets with fields of these crates |
//!
//! # Processes and threads
//!
//! An endpoint is alive until it is dropped or its process ends. The kernel decides which processes
//! are alive: it releases the file locks of a process that dies, also before the process is reaped.
//! No timeout and no process id decides about it. Process ids in errors are for display only; an
//! id is valid in the pid namespace of its process.
//!
//! A thread may end without unwinding (`pthread_exit`), or forget an endpoint
//! ([`std::mem::forget`]). The endpoint then counts as alive until the process ends, and can block
//! other endpoints until then.
//!
//! # `fork` without `exec`
//!
//! A forked child owns none of its parent's endpoints. They end with the parent, however long the
//! child lives. In the child:
//!
//! - Dropping an inherited endpoint does not change the ring. Joining through an inherited [`Ring`]
//!   is an error.
//! - **Using an inherited endpoint is a SIGSEGV**: the memory is not mapped there, and nothing else
//!   is ever mapped in its place. Dropping a packet or reservation that was held during the fork is
//!   a use. A program that turns itself into a daemon opens its rings afterwards.
//! - The same holds for a [`Worker`] and all that it opened. Dropping it acknowledges no message,
//!   ends no job, answers no request and does not leave the cluster. Opening or leaving through it
//!   is an error, and so is a message to a worker without a cached endpoint. The child may join the
//!   cluster as a worker of its own.
//! - The child may open the ring again by its name.
//! - The memory of a ring that every process has left stays until the child ends or drops its copy.
//! - A ring on the heap is copied like all memory: the child gets a ring of its own. If another
//!   thread held one of its locks during the fork, that lock stays held in the copy.
//!
//! [`std::process::Command`] is not such a fork, except for the code in `pre_exec`. The rules rely
//! on handlers of `pthread_atfork`: a bare `clone` system call bypasses them, and a shared library
//! that contains this crate must not be unloaded.
//!
//! # Resources
//!
//! Memory, descriptors, entries, and room for names and types can run out. Each is an error of the
//! call that needs it, and that call leaves nothing behind. The memory of a ring is reserved when
//! the ring is created: `/dev/shm` cannot fill up under it. A [`Ring`] takes two descriptors and a
//! mapping, each endpoint takes as much again, and one more descriptor serves the whole process.
//! The endpoints of a [`Board`] share its two descriptors. A read-only subscriber that meets a dead
//! publisher's claim needs a second mapping for a moment, and waits while it cannot have one.

#![cfg_attr(not(test), deny(clippy::disallowed_types))]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic, reason = "a test may stop"))]
#![cfg_attr(loom, allow(dead_code, unused_imports, reason = "the protocol alone is checked"))]

// The code that the macros emit says `packetring::`, also inside this crate.
extern crate self as packetring;

#[cfg(not(loom))]
mod channel;
#[cfg(not(loom))]
pub mod cluster;
#[cfg(all(feature = "dynamic", not(loom)))]
pub mod dynamic {
    //! Packets without their Rust types: read, printed and written by the schema that a ring
    //! carries. Needs the feature `dynamic`.
    //!
    //! A [`Schema`] comes from the type table of a ring ([`CarriedType::layout`], or
    //! [`AnyReceived::schema`] of a received packet), from stored text ([`Schema::parse`]), or from
    //! a Rust type ([`layout_of`]). A [`Value`] is a packet that was checked once, with methods for
    //! its parts. It is also `Serialize`, and its `Display` is JSON. [`Schema::encode`] turns JSON
    //! into a packet.
    //!
    //! ```
    //! use packetring::dynamic::Schema;
    //! use packetring::{Ring, packet};
    //!
    //! #[packet]
    //! struct Price { symbol: String, bid: u64, ask: Option<u64> }
    //!
    //! # fn main() -> Result<(), Box<dyn std::error::Error>> {
    //! let ring = Ring::builder().heap()?;
    //! let (mut out, mut all) = (ring.any_publisher()?, ring.any_subscriber()?);
    //! out.send(&Price { symbol: "ABC".to_owned(), bid: 7, ask: None })?;
    //!
    //! let packet = all.recv()?;
    //! let schema: Schema = packet.schema()?; // once per type
    //! let price = packet.value(&schema)?;
    //! assert_eq!(price.get("symbol").and_then(|symbol| symbol.as_str()), Some("ABC"));
    //! assert_eq!(price.to_string(), r#"{"symbol":"ABC","bid":7,"ask":null}"#);
    //! # drop(packet);
    //!
    //! let archive = schema.encode(&serde_json::json!({ "symbol": "DEF", "bid": 8, "ask": 9 }))?;
    //! out.send_value(schema.read(&archive)?)?;
    //! assert_eq!(all.recv()?.open_as::<Price>()?.bid, 8);
    //! # Ok(())
    //! # }
    //! ```
    //!
    //! The crate [`packetring_dynamic`] states the guarantees for hostile bytes, and how each type
    //! appears as JSON.
    //!
    //! [`CarriedType::layout`]: crate::CarriedType::layout
    //! [`AnyReceived::schema`]: crate::any::AnyReceived::schema

    #[doc(inline)]
    pub use packetring_dynamic::{
        ArchiveError, ArchiveProblem, Elements, EncodeError, EncodeProblem, Entries, FieldPath,
        Schema, SchemaError, SchemaProblem, Value, ValueKind,
    };

    /// Returns the schema of a Rust type.
    ///
    /// # Errors
    ///
    /// The type nests too deeply: see the limits of [`packetring_dynamic`].
    pub fn layout_of<T: crate::Packet>() -> Result<Schema, SchemaError> {
        Schema::parse(&T::TYPE.schema(), T::TYPE.fingerprint.0)
    }
}
mod error;
mod failpoint;
#[cfg(not(loom))]
pub mod inspect;
#[cfg(not(loom))]
pub mod inventory;
#[cfg(not(loom))]
pub mod observe;
#[cfg(not(loom))]
pub mod packet;
mod ring;
mod segment;
mod sync;
#[cfg(not(loom))]
mod sys;
mod trace;
mod wait;
#[cfg(not(loom))]
pub mod with;

pub use error::{Detachment, ObjectName, OpenError, TypeRoom};
pub use ring::overflow::Missed;
pub use segment::settings::{Claims, Overflow, Settings};
pub use wait::Wait;

#[cfg(not(loom))]
pub use api::*;

/// Items that the loom build leaves out: it checks the protocol alone.
#[cfg(not(loom))]
mod api {
    #[cfg(feature = "async")]
    pub use crate::channel::ValueStream;
    pub use crate::channel::{
        Batch, BatchIter, Board, Burst, CarriedType, Copied, Info, Latest, Publisher, Readiness,
        Ready, Received, RecvError, RecvTimeoutError, Reserved, ReservedTail, Ring, RingBuilder,
        Selectable, Selectee, SendAllError, SendError, SendTimeoutError, Subscriber, TryRecvError,
        TrySendError, TypeMismatch, ValueError, Values, WaitingFor, select, select_timeout,
        try_select,
    };
    pub use crate::cluster::Worker;
    pub use crate::inventory::{inventory, purge, purge_prefix};
    pub use crate::packet::{Packet, Tail};
    pub use crate::sys::stop::Stop;
    pub use rkyv;

    /// Readers and writers of a [`Board`] and of a [`Latest`], with their errors.
    pub mod board {
        pub use crate::channel::{
            BoardBuilder, BoardKey, BoardReader, BoardWriter, CellChange, CellHolder, CellId,
            CellValue, ChangedError, ChangedTimeoutError, LatestReader, LatestWriter, ReadError,
            TryChangedError, TryWriteError, WriteError, WriteTimeoutError,
        };
    }

    /// Endpoints for packets of any type in one ring.
    pub mod any {
        pub use crate::channel::{
            AnyBatch, AnyBatchIter, AnyPacket, AnyPublisher, AnyReceived, AnySubscriber,
        };
    }
}

/// Turns a struct or enum into a [`Packet`]: its values can be sent, and are read in place.
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
/// The macro derives rkyv's `Archive`, `Serialize` and `Deserialize` through packetring, so rkyv
/// need not be a dependency. It describes the archived type `Archived…`: its fingerprint, its
/// schema, and whether it can be reserved ([`packet::AnyBits`]). The item itself, derives included,
/// stays as it is.
///
/// Methods for received packets go on the archived type, here `ArchivedChat`.
///
/// # Printing and comparing
///
/// If `#[derive(Debug)]` or `#[derive(PartialEq)]` stands below `#[packet]`, the archived type has
/// the trait too. `Debug` prints the values in the packet. `PartialEq` compares a received packet
/// with another one, and with a value of the item in both directions:
///
/// ```
/// #[packetring::packet]
/// #[derive(Debug, PartialEq)]
/// struct Price { symbol: String, bid: Box<u32> }
///
/// # let ring = packetring::Ring::builder().heap()?;
/// # let (mut out, mut all) = (ring.publisher::<Price>()?, ring.subscriber::<Price>()?);
/// out.send(&Price { symbol: "ABC".to_owned(), bid: Box::new(7) })?;
/// let price = all.recv()?;
/// assert_eq!(*price, Price { symbol: "ABC".to_owned(), bid: Box::new(7) });
/// assert_eq!(format!("{:?}", *price), r#"ArchivedPrice { symbol: "ABC", bid: 7 }"#);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// - The archived type has the trait if the archived type of each field has it; an error appears
///   where a program uses it, and names the field's type.
/// - rkyv compares no archived `Duration`, IP or socket address with its native value, and most
///   wrapped fields neither. Types with such fields compare only archived with archived. Types with
///   a `BTreeSet` compare only with native values: rkyv does not compare two archived ones.
/// - A recursive type with such a field beside its own name, as `Vec<(Duration, Self)>`, likewise.
///   For `Debug` there, all types beside its own name must have it.
/// - `#[rkyv(derive(..))]` and `#[rkyv(compare(..))]` come first: the macro then adds no second
///   implementation.
/// - For implementations of your own on the archived type, put the derive above `#[packet]`. The
///   macro does not see derives there.
///
/// # Field types
///
/// Every [`Packet`] type. The macro refuses, at the field and with a hint: hash tables, shared and
/// raw pointers, references, trait objects, functions, cells, locks, atomics, and `Instant`; also
/// `usize` and `isize`, because rkyv would cut them to 32 bits, and `RangeInclusive`. The macro
/// recognizes these by name, and the compiler by type, also behind an alias or as a parameter. If a
/// type of yours has such a name, put `#[rkyv(with = packetring::with::Identity)]` on the field.
/// Other [wrappers](crate::with) archive such fields as another type, for example a `HashMap` as a
/// list. [`Via`](crate::with::Via) archives any type through a conversion of your own.
///
/// A type may mention itself, by its name or as `Self`, in a `Box`, a `Vec` or a map; pointers nest
/// up to 62 deep. It may not mention itself with other parameters, as `Tree<T>` with a field of
/// type `Box<Tree<u8>>`. The compiler refuses two types that mention each other, and an alias that
/// hides such a type: box one of them as bytes, or make them one type. Every type parameter must be
/// a packet type, even in a `PhantomData`: it is part of the fingerprint.
///
/// # Borrowed twins
///
/// `#[packet(borrowed)]` also makes a twin of the type with borrowed fields, named after it:
/// `ChatRef<'_>` for `Chat`, or as in `#[packet(borrowed = Name)]`. All verbs that send accept the
/// twin in place of `&Chat`, by value; `send_all` accepts a [list of twins](packet::SendAllAs). It
/// writes the same bytes, so no owned copy is needed and nothing is allocated.
///
/// ```
/// #[packetring::packet(borrowed)]
/// struct Chat { name: String, tags: Vec<String>, age: u32 }
///
/// # let ring = packetring::Ring::builder().heap()?;
/// # let (mut out, mut all) = (ring.publisher::<Chat>()?, ring.subscriber::<Chat>()?);
/// let line = "ada: mathematics, engines";
/// out.send(ChatRef { name: &line[..3], tags: &[&line[5..16], &line[18..]], age: 36 })?;
/// assert_eq!(all.recv()?.tags[1], "engines");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// | field | in the twin |
/// |---|---|
/// | numbers, `bool`, `char`, `Duration`, addresses | the same |
/// | a packet type that derives `Copy`, below `#[packet]` and without type parameters | the same |
/// | `String`, `Box<str>` | `&str` |
/// | `Vec<T>`, `Box<[T]>` | `&[…]`: `&[u8]`, `&[&str]`, `&[LineRef]` |
/// | `[T; N]` | `&[…; N]` |
/// | `Option<T>`, tuples | an option, or a tuple, of these |
/// | a packet type with a twin | its twin |
/// | another packet type, maps, sets, `VecDeque`, `Result`, ranges | a reference |
/// | a field with a wrapper, a field that contains its own type | a reference |
///
/// An element of a list that has no borrowed form stays as it is: `Vec<Line>` becomes `&[Line]` for
/// a `Line` without a twin. An enum becomes an enum, a generic type a generic one whose parameters
/// are [`Borrowable`](packet::borrowed::Borrowable).
///
/// The twin has the visibility and the docs of the type. It is `Clone` and `Copy`; without type
/// parameters it also has the `Debug` and `PartialEq` that the type derives below `#[packet]`.
///
/// The twin is made on request only: it takes a name, and it doubles the time that the compiler
/// needs for the type (200 types with text and lists: 19.8 s of `cargo check` without twins, 37.8 s
/// with them).
///
/// Texts, lists, options and tuples have no twin: see [`Borrowed`](packet::Borrowed).
///
/// # Arguments
///
/// `borrowed` and `borrowed = Name` make a [borrowed twin](#borrowed-twins). Write `#[packet(crate
/// = path)]` if packetring has another name. The macro passes `#[rkyv(..)]`
/// on the item and its fields to rkyv (`with`, `derive`, `compare`, `archived`, `attr`, `niche`,
/// …), except `as`, `remote` and `crate`.
///
/// A crate that denies `missing_docs` must allow it for modules with public enums of named fields:
/// rkyv's resolvers have no docs.
#[cfg(not(loom))]
pub use packetring_derive::packet;

/// Turns an enum of packet types into a choice of packets, each read in place.
///
/// ```
/// # #[packetring::packet] pub struct Job { pub name: String }
/// # #[packetring::packet] pub struct Quit;
/// #[packetring::one_of]
/// enum Work {
///     Job(Job),
///     Quit(Quit),
/// }
///
/// fn name<'a>(work: &Work<'a>) -> &'a str {
///     match work {
///         Work::Job(job) => &job.name, // a `&'a ArchivedJob`
///         Work::Quit(_) => "quit",
///     }
/// }
/// # fn main() {}
/// ```
///
/// The enum is for receiving; a publisher sends its member types. The enum gets a lifetime, that of
/// the packet, and is `Clone` and `Copy`. Each variant holds one packet type, and all of them
/// differ. The enum implements [`packet::OneOf`]. Write `#[one_of(crate = path)]` if packetring has
/// another name.
#[cfg(not(loom))]
pub use packetring_derive::one_of;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
