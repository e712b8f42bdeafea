//! Archives a [`SystemTime`].

use std::{
    error::Error,
    fmt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rkyv::{
    Archive, Place,
    rancor::{Fallible, Source, fail},
    time::ArchivedDuration,
    with::{ArchiveWith, DeserializeWith, SerializeWith},
};

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
