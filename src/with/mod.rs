//! Wrappers that change how a field is archived, as in `#[rkyv(with = packetring::with::AsVec)]`.
//!
//! The wrappers needed most often:
//!
//! - [`AsVec`]: a `HashMap`, `HashSet` or B-tree as a list.
//! - [`AsUnixTime`]: a `SystemTime`.
//! - [`Via`]: any other type, through a [`Conversion`] of your own.
//! - [`AsString`]: a `PathBuf` or `OsString`.
//! - [`Lock`], [`AtomicLoad`]: a copy of the value in a mutex, or in an atomic.
//! - [`Identity`]: the field as it is, also if `#[packet]` refuses the name of its type.
//! - [`Skip`]: nothing; unpacking sets the default.
//!
//! `AsUnixTime` and `Lock` differ from rkyv's wrappers of these names. Its `AsUnixTime` panics when
//! it unpacks a corrupted time. Its `Lock` locks twice, and sends garbage if the value changes in
//! between. rkyv's `Unsafe` is absent for that reason: nothing keeps the value of a cell.
//!
//! ```
//! use packetring::with;
//! use std::{collections::HashMap, path::PathBuf};
//!
//! #[packetring::packet]
//! struct Upload {
//!     #[rkyv(with = with::AsVec)]
//!     headers: HashMap<String, String>,
//!     #[rkyv(with = with::AsString)]
//!     file: PathBuf,
//! }
//! ```

mod via;

#[doc(inline)]
pub use rkyv::with::{
    Acquire, ArchiveWith, AsBox, AsOwned, AsString, AsVec, AtomicLoad, DefaultNiche,
    DeserializeWith, Identity, Inline, InlineAsBox, Map, MapKV, MapNiche, Niche, NicheInto,
    Relaxed, SeqCst, SerializeWith, Skip, Unshare,
};

pub use self::via::{Conversion, Lock, Via};

use rkyv::rancor::{Fallible, Source, fail};
use rkyv::time::ArchivedDuration;
use rkyv::{Archive, Place};
use std::cell::Cell;
use std::error::Error;
use std::fmt;
use std::marker::PhantomData;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Archives a [`SystemTime`] as the [`Duration`] since the Unix epoch (the start of 1970, UTC).
///
/// # Errors
///
/// - Sending a time before the epoch fails ([`Unserializable`](crate::packet::Unserializable)).
/// - Unpacking a time beyond the range of `SystemTime` fails
///   ([`UnpackError`](crate::packet::UnpackError)). Only corrupted packets contain one. Reading the
///   packet in place never fails.
///
/// ```
/// #[packetring::packet]
/// struct Seen {
///     #[rkyv(with = packetring::with::AsUnixTime)]
///     at: std::time::SystemTime,
/// }
/// ```
pub struct AsUnixTime;

impl ArchiveWith<SystemTime> for AsUnixTime {
    type Archived = ArchivedDuration;
    type Resolver = Duration;

    fn resolve_with(_: &SystemTime, since: Duration, out: Place<ArchivedDuration>) {
        since.resolve((), out);
    }
}

impl<S> SerializeWith<SystemTime, S> for AsUnixTime
where
    S: Fallible<Error: Source> + ?Sized,
{
    fn serialize_with(time: &SystemTime, _: &mut S) -> Result<Duration, S::Error> {
        match time.duration_since(UNIX_EPOCH) {
            Ok(since) => Ok(since),
            Err(_) => fail!(OutOfRange::Early),
        }
    }
}

impl<D> DeserializeWith<ArchivedDuration, SystemTime, D> for AsUnixTime
where
    D: Fallible<Error: Source> + ?Sized,
{
    fn deserialize_with(archived: &ArchivedDuration, _: &mut D) -> Result<SystemTime, D::Error> {
        let since = Duration::new(archived.as_secs(), archived.subsec_nanos());
        match UNIX_EPOCH.checked_add(since) {
            Some(time) => Ok(time),
            None => fail!(OutOfRange::Late { seconds: since.as_secs() }),
        }
    }
}

/// The time is before the epoch, or beyond the range of `SystemTime`.
#[derive(Debug)]
enum OutOfRange {
    Early,
    Late { seconds: u64 },
}

impl fmt::Display for OutOfRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Early => f.write_str("time out of range: before 1970"),
            Self::Late { seconds } => {
                write!(f, "time out of range: {seconds} seconds after 1970")
            }
        }
    }
}

impl Error for OutOfRange {}

/// The number of values of recursive types within each other that may be serialized. Readers accept
/// fewer pointers within each other than this.
const MAX_NESTING: usize = 64;

thread_local! {
    /// The number of recursive fields that this thread serializes at present.
    static NESTING: Cell<usize> = const { Cell::new(0) };
}

/// Archives a field as `W` does, or fails if too many such fields are being serialized.
///
/// `#[packet]` puts it on fields that contain the type that they belong to. So a deep value is an
/// error and not a stack overflow.
#[doc(hidden)]
pub struct Nested<W>(PhantomData<W>);

/// One level of nesting. Dropping it leaves the level, also after a panic.
struct Level;

impl Level {
    fn enter() -> Result<Self, TooDeep> {
        let nesting = NESTING.get();
        if nesting == MAX_NESTING {
            return Err(TooDeep);
        }
        NESTING.set(nesting + 1);
        Ok(Self)
    }
}

impl Drop for Level {
    fn drop(&mut self) {
        NESTING.set(NESTING.get() - 1);
    }
}

impl<F, W: ArchiveWith<F>> ArchiveWith<F> for Nested<W> {
    type Archived = W::Archived;
    type Resolver = W::Resolver;

    fn resolve_with(field: &F, resolver: W::Resolver, out: Place<W::Archived>) {
        W::resolve_with(field, resolver, out);
    }
}

impl<F, W, S> SerializeWith<F, S> for Nested<W>
where
    W: SerializeWith<F, S>,
    S: Fallible<Error: Source> + ?Sized,
{
    fn serialize_with(field: &F, serializer: &mut S) -> Result<W::Resolver, S::Error> {
        match Level::enter() {
            Ok(_level) => W::serialize_with(field, serializer),
            Err(error) => fail!(error),
        }
    }
}

impl<A, F, W, D> DeserializeWith<A, F, D> for Nested<W>
where
    W: DeserializeWith<A, F, D>,
    D: Fallible + ?Sized,
{
    fn deserialize_with(archived: &A, deserializer: &mut D) -> Result<F, D::Error> {
        W::deserialize_with(archived, deserializer)
    }
}

/// A value contains too many others of its type within each other.
#[derive(Debug)]
struct TooDeep;

impl fmt::Display for TooDeep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "value nests more than {MAX_NESTING} levels deep: send it in parts, or as a list")
    }
}

impl Error for TooDeep {}
