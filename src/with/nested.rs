//! Counts the nesting of a recursive type, so that a deep value is an error and not a stack
//! overflow.

use std::{cell::Cell, error::Error, fmt, marker::PhantomData};

use rkyv::{
    Place,
    rancor::{Fallible, Source, fail},
    with::{ArchiveWith, DeserializeWith, SerializeWith},
};

/// The number of values of recursive types within each other that may be serialized. Readers accept
/// fewer pointers within each other than this.
const MAX_NESTING: usize = 64;

thread_local! {
    /// The number of recursive fields that this thread serializes at present.
    static NESTING: Cell<usize> = const { Cell::new(0) };
}

/// Archives a field as `W` does, or fails if too many such fields are being serialized.
///
/// `#[packet]` puts it on fields that contain the type that they belong to.
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
