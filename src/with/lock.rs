//! Archives the value in a lock.

use std::{
    error::Error,
    fmt,
    sync::{Mutex, RwLock},
};

use rkyv::{
    Archive, Deserialize, Place, Serialize,
    rancor::{Fallible, Source, fail},
    with::{ArchiveWith, DeserializeWith, SerializeWith},
};

use super::via::Snapshot;

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
