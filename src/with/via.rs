//! Archives a field as another value, which exists only while the packet is written: [`Via`], by a
//! conversion that the user writes, and [`Lock`], a copy of the value in a lock.

use std::{
    error::Error,
    fmt,
    marker::PhantomData,
    sync::{Mutex, RwLock},
};

use rkyv::{
    Archive, Archived, Deserialize, Place, Serialize,
    rancor::{Fallible, Source, fail},
    with::{ArchiveWith, DeserializeWith, SerializeWith},
};

/// A conversion of `F` into a packet type and back, for [`Via`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot convert a field of type `{F}`",
    label = "no conversion for this field",
    note = "implement `packetring::with::Conversion<{F}>` for `{Self}`"
)]
pub trait Conversion<F> {
    /// The [packet type](crate::Packet).
    type Packet;

    /// Why a value cannot be converted. `std::convert::Infallible` if every value can.
    type Error: Error + Send + Sync + 'static;

    /// Converts a field for sending.
    ///
    /// It runs once to measure the packet and once to write it.
    ///
    /// # Errors
    ///
    /// The value cannot be sent. Sending fails with
    /// [`Unserializable`](crate::packet::Unserializable).
    fn to_packet(field: &F) -> Result<Self::Packet, Self::Error>;

    /// Converts the value of a packet that is unpacked.
    ///
    /// # Errors
    ///
    /// The packet is corrupted, or was sent by another version. Unpacking fails with
    /// [`UnpackError`](crate::packet::UnpackError).
    fn from_packet(packet: Self::Packet) -> Result<F, Self::Error>;
}

/// Archives a field as another packet type: that of a [`Conversion`].
///
/// For types of other crates, and for representations of your choice.
///
/// ```
/// use packetring::with::{Conversion, Via};
/// use std::time::Duration;
///
/// /// A duration in milliseconds.
/// struct Millis;
///
/// impl Conversion<Duration> for Millis {
///     type Packet = u64;
///     type Error = std::num::TryFromIntError;
///
///     fn to_packet(duration: &Duration) -> Result<u64, Self::Error> {
///         duration.as_millis().try_into()
///     }
///
///     fn from_packet(millis: u64) -> Result<Duration, Self::Error> {
///         Ok(Duration::from_millis(millis))
///     }
/// }
///
/// #[packetring::packet]
/// struct Sample {
///     #[rkyv(with = Via<Millis>)]
///     took: Duration,
/// }
/// # let ring = packetring::Ring::builder().heap()?;
/// # let (mut out, mut all) = (ring.publisher::<Sample>()?, ring.subscriber::<Sample>()?);
/// out.send(&Sample { took: Duration::from_secs(2) })?;
/// assert_eq!(all.recv()?.took, 2000);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Via<C>(PhantomData<C>);

impl<F, C: Conversion<F, Packet: Archive>> ArchiveWith<F> for Via<C> {
    type Archived = Archived<C::Packet>;
    type Resolver = Snapshot<C::Packet>;

    fn resolve_with(_: &F, converted: Self::Resolver, out: Place<Self::Archived>) {
        converted.resolve(out);
    }
}

impl<F, C, S> SerializeWith<F, S> for Via<C>
where
    C: Conversion<F, Packet: Serialize<S>>,
    S: Fallible<Error: Source> + ?Sized,
{
    fn serialize_with(field: &F, serializer: &mut S) -> Result<Self::Resolver, S::Error> {
        Snapshot::serialize(C::to_packet(field).map_err(S::Error::new)?, serializer)
    }
}

impl<F, C, D> DeserializeWith<Archived<C::Packet>, F, D> for Via<C>
where
    C: Conversion<F, Packet: Archive>,
    Archived<C::Packet>: Deserialize<C::Packet, D>,
    D: Fallible<Error: Source> + ?Sized,
{
    fn deserialize_with(archived: &Archived<C::Packet>, from: &mut D) -> Result<F, D::Error> {
        C::from_packet(archived.deserialize(from)?).map_err(D::Error::new)
    }
}

/// Archives a copy of the value in a `Mutex` or `RwLock`.
///
/// The lock is held for as long as the value is cloned: once to measure the packet and once to
/// write it. If the length changes between these, sending fails.
///
/// # Errors
///
/// Sending fails ([`Unserializable`](crate::packet::Unserializable)) if the lock is poisoned, or if
/// the value's length changed.
///
/// ```
/// use std::sync::Mutex;
///
/// #[packetring::packet]
/// struct Shared {
///     #[rkyv(with = packetring::with::Lock)]
///     names: Mutex<Vec<String>>,
/// }
/// # fn main() {}
/// ```
pub struct Lock;

macro_rules! lock {
    ($lock:ident, $read:ident) => {
        impl<T: Archive> ArchiveWith<$lock<T>> for Lock {
            type Archived = T::Archived;
            type Resolver = Snapshot<T>;

            fn resolve_with(_: &$lock<T>, copy: Snapshot<T>, out: Place<T::Archived>) {
                copy.resolve(out);
            }
        }

        impl<T, S> SerializeWith<$lock<T>, S> for Lock
        where
            T: Serialize<S> + Clone,
            S: Fallible<Error: Source> + ?Sized,
        {
            fn serialize_with(
                lock: &$lock<T>,
                serializer: &mut S,
            ) -> Result<Snapshot<T>, S::Error> {
                // The copy is made before anything else runs, so the lock is free again by then.
                let copy = lock.$read().map(|value| value.clone());
                match copy {
                    Ok(copy) => Snapshot::serialize(copy, serializer),
                    Err(_) => fail!(Poisoned),
                }
            }
        }

        impl<A, T, D> DeserializeWith<A, $lock<T>, D> for Lock
        where
            A: Deserialize<T, D>,
            D: Fallible + ?Sized,
        {
            fn deserialize_with(archived: &A, deserializer: &mut D) -> Result<$lock<T>, D::Error> {
                archived.deserialize(deserializer).map($lock::new)
            }
        }
    };
}

lock!(Mutex, lock);
lock!(RwLock, read);

/// A thread panicked while it held the lock.
#[derive(Debug)]
struct Poisoned;

impl fmt::Display for Poisoned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("lock poisoned: a thread panicked while it held the lock")
    }
}

impl Error for Poisoned {}

/// A value that was serialized, and the resolver that belongs to it.
///
/// Resolving uses this value, so nothing that changed since makes a difference.
pub struct Snapshot<T: Archive> {
    value: T,
    resolver: T::Resolver,
}

impl<T: Archive> Snapshot<T> {
    fn serialize<S>(value: T, serializer: &mut S) -> Result<Self, S::Error>
    where
        T: Serialize<S>,
        S: Fallible + ?Sized,
    {
        let resolver = value.serialize(serializer)?;
        Ok(Self { value, resolver })
    }

    fn resolve(self, out: Place<T::Archived>) {
        self.value.resolve(self.resolver, out);
    }
}
