//! Wrappers that change how a field is archived: `#[rkyv(with = packetring::with::AsVec)]`.
//!
//! These are rkyv's, but for [`AsUnixTime`]: rkyv's panics when a time that was corrupted is unpacked.

use std::{
    error::Error,
    fmt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

#[doc(inline)]
pub use rkyv::with::*;
use rkyv::{
    Archive, Place,
    rancor::{Fallible, Source, fail},
    time::ArchivedDuration,
};

/// Archives a [`SystemTime`] as the [`Duration`] since 1970.
///
/// Earlier times cannot be sent, and later ones than the system can represent cannot be unpacked.
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

#[derive(Debug)]
enum OutOfRange {
    Early,
    Late { seconds: u64 },
}

impl fmt::Display for OutOfRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Early => f.write_str("times before 1970 cannot be sent"),
            Self::Late { seconds } => {
                write!(f, "{seconds} seconds after 1970 are later than this system can represent")
            }
        }
    }
}

impl Error for OutOfRange {}
