//! Borrowed forms of packets: a value can be sent without an owned copy of its parts.
//!
//! - [`SendAs`]: what the sending verbs take. A reference to a packet, a borrowed twin
//!   (`#[packet(borrowed)]`), or [`Borrowed`] parts. [`SendAllAs`]: lists of them.
//! - [`Borrowable`]: the borrowed form of each type that a packet may contain.
//! - [`ArchiveAs`] and [`SerializeAs`]: write a borrowed form as the archive of the owned type.
//!
//! A borrowed form writes the archived type of the owned one, so fingerprint, schema and every
//! check of the reader are the same.

mod forms;

use std::marker::PhantomData;

use rkyv::{
    Archive, Place, Serialize,
    rancor::Fallible,
    traits::CopyOptimization,
    with::{ArchiveWith, SerializeWith},
};

use super::{Native, Packet};

/// A value that the sending verbs accept as a packet of type `T`.
///
/// - `&T` and `&mut T`. Of a smart pointer or guard: `&*value`, as in `&*boxed`.
/// - The borrowed twin of `T`, by value: see [`#[packet]`](macro@crate::packet#borrowed-twins).
/// - [`Borrowed`] parts, for a `T` that is a text, a list, an option or a tuple.
///
/// All of them write the same bytes as `&T`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be sent as a packet of type `{T}`",
    label = "neither a reference to a packet (of a smart pointer or guard: `&*value`) nor a borrowed form of one",
    note = "your own types: put `#[packetring::packet]` on them",
    note = "pass a reference to the packet: `&value`, or `&*value` for a smart pointer or guard",
    note = "pass the borrowed twin of a `#[packet(borrowed)]` type by value",
    note = "pass a borrowed text, list or tuple as `packetring::packet::Borrowed(value)`"
)]
pub trait SendAs<T: Packet> {
    /// The type that is written.
    #[doc(hidden)]
    type Value: Packet<Archived = T::Archived>;

    /// Returns the value that is written.
    #[doc(hidden)]
    fn value(&self) -> &Self::Value;
}

// Only one implementation is for shared references. So the compiler infers the type of `&x.into()`
// and of `&7` from `T`.
impl<T: Packet> SendAs<T> for &T {
    type Value = T;

    #[inline(always)]
    fn value(&self) -> &T {
        self
    }
}

impl<T: Packet> SendAs<T> for &mut T {
    type Value = T;

    #[inline(always)]
    fn value(&self) -> &T {
        self
    }
}

/// Borrowed parts, sent as the packet type that owns them. For types without a borrowed twin of
/// their own:
///
/// | packet type | borrowed parts |
/// |---|---|
/// | `String`, `Box<str>` | `&str` |
/// | `Vec<T>`, `Box<[T]>` | a slice of borrowed parts, as `&[&str]` or `&[u8]` |
/// | `Option<T>` | an option of them |
/// | `(A, B)` | a tuple of them |
/// | `[T; N]` | an array of them, by value or by reference |
///
/// ```
/// use packetring::packet::Borrowed;
///
/// # let ring = packetring::Ring::builder().heap()?;
/// let mut out = ring.publisher::<(u32, String)>()?;
/// let mut all = ring.subscriber::<(u32, String)>()?;
/// let line = "17 ada";
/// out.send(Borrowed((17, &line[3..])))?;
/// assert_eq!(all.recv()?.1, "ada");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Borrowed<B>(pub B);

impl<T, B> SendAs<T> for Borrowed<B>
where
    T: Packet,
    B: ArchiveAs<T>,
    As<T, B>: Packet<Archived = T::Archived>,
{
    type Value = As<T, B>;

    #[inline]
    fn value(&self) -> &As<T, B> {
        As::from_ref(&self.0)
    }
}

/// A list of values that `send_all` and its forms accept as packets of type `T`.
///
/// - A reference, shared or mutable, to a list of packets: `&[T]`, `&[T; N]`, `&Vec<T>`,
///   `&Box<[T]>`.
/// - An array or a `Vec`, by value, of borrowed twins or of references `&T`.
/// - [`Borrowed`] with a slice of twins, references or borrowed parts, as `&[&str]` for texts.
///
/// All of them write the same bytes as `&[T]`. Other lists of packets, as `&Arc<[T]>`, are passed
/// as a slice: `&list[..]`.
///
/// ```
/// use packetring::packet::Borrowed;
///
/// # let ring = packetring::Ring::builder().heap()?;
/// let mut out = ring.publisher::<String>()?;
/// let mut all = ring.subscriber::<String>()?;
/// let line = "ada grace";
/// let names: Vec<&str> = line.split(' ').collect();
/// out.send_all(Borrowed(&names[..]))?;
/// assert_eq!(all.recv()?.as_str(), "ada");
/// assert_eq!(all.recv()?.as_str(), "grace");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be sent as a list of packets of type `{T}`",
    label = "not a list of packets, nor of borrowed forms of one",
    note = "pass a list of packets as a slice: `&list[..]`",
    note = "pass borrowed twins in an array or a `Vec`, by value, or as `Borrowed(&list[..])`"
)]
pub trait SendAllAs<T: Packet> {
    /// The type that is written.
    #[doc(hidden)]
    type Value: Packet<Archived = T::Archived>;

    /// Returns the values that are written.
    #[doc(hidden)]
    fn values(&self) -> &[Self::Value];
}

// As above, only owned packets are behind a shared reference, so their type is inferred.
macro_rules! owned_lists {
    ($([$($part:tt)*] $list:ty;)*) => {$(
        impl<T: Packet, $($part)*> SendAllAs<T> for &$list {
            type Value = T;

            #[inline(always)]
            fn values(&self) -> &[T] {
                *self
            }
        }

        impl<T: Packet, $($part)*> SendAllAs<T> for &mut $list {
            type Value = T;

            #[inline(always)]
            fn values(&self) -> &[T] {
                *self
            }
        }
    )*};
}

owned_lists! {
    [] [T];
    [const N: usize] [T; N];
    [] Vec<T>;
    [] Box<[T]>;
}

macro_rules! borrowed_lists {
    ($([$($part:tt)*] $list:ty where [$($bound:tt)*], $this:ident => $values:expr;)*) => {$(
        impl<T, B, $($part)*> SendAllAs<T> for $list
        where
            T: Packet,
            B: ArchiveAs<T> $($bound)*,
            As<T, B>: Packet<Archived = T::Archived>,
        {
            type Value = As<T, B>;

            #[inline]
            fn values(&self) -> &[As<T, B>] {
                let $this = self;
                As::from_slice($values)
            }
        }
    )*};
}

// `SendAs` excludes packets by value, as in `send`. With them, clippy would call `&[a, b]` a
// needless borrow.
borrowed_lists! {
    [const N: usize] [B; N] where [+ SendAs<T>], this => this;
    [] Vec<B> where [+ SendAs<T>], this => this;
    [] Borrowed<&[B]> where [], this => this.0;
}

/// A type with a borrowed form, which the fields of a borrowed twin have.
///
/// `#[packet]` implements it for each packet type.
pub trait Borrowable: Sized {
    /// The borrowed form: a twin, a slice or a text; numbers by value; other types by reference.
    type Borrowed<'p>: Copy
    where
        Self: 'p;

    /// The borrowed form as an element of a list. It equals `Self` for a type that has no borrowed
    /// form of its own: the list is borrowed already.
    type Element<'p>: 'p
    where
        Self: 'p;
}

/// A borrowed form that archives as the owned type `T`.
///
/// # Safety
///
/// 1. The value archives without loss: a reader that compares finds no two different values with
///    equal archives.
/// 2. A value that is borrowed does not change.
/// 3. If `IS_COPIED` is true, the bytes of a value are those of its archive, and all of them are
///    initialized.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a borrowed form of `{T}`",
    label = "not a borrowed form of `{T}`"
)]
pub unsafe trait ArchiveAs<T: Archive> {
    /// True if a value is a byte copy of its archive.
    const IS_COPIED: bool = false;

    /// All that serializing leaves for resolving.
    type Resolver;

    /// Writes the archived value.
    fn resolve_as(&self, resolver: Self::Resolver, out: Place<T::Archived>);
}

/// A borrowed form that the serializer `S` writes as the owned type `T`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a borrowed form of `{T}`",
    label = "not a borrowed form of `{T}`"
)]
pub trait SerializeAs<T: Archive, S: Fallible + ?Sized>: ArchiveAs<T> {
    /// Writes all that the archived value points at.
    ///
    /// # Errors
    ///
    /// Those of the serializer and of the types in the value.
    fn serialize_as(&self, serializer: &mut S) -> Result<Self::Resolver, S::Error>;
}

/// A type whose owned values may stand in a borrowed form, by reference or as elements of a list.
///
/// Options, arrays and tuples are not among them: their parts are.
pub trait Whole {}

// SAFETY: 1 and 2: `Native`. 3: the promise of rkyv's copy optimization.
unsafe impl<T: Archive + Native + Whole> ArchiveAs<T> for T {
    const IS_COPIED: bool = T::COPY_OPTIMIZATION.is_enabled();

    type Resolver = T::Resolver;

    #[inline]
    fn resolve_as(&self, resolver: T::Resolver, out: Place<T::Archived>) {
        self.resolve(resolver, out);
    }
}

impl<T, S> SerializeAs<T, S> for T
where
    T: Serialize<S> + Native + Whole,
    S: Fallible + ?Sized,
{
    #[inline]
    fn serialize_as(&self, serializer: &mut S) -> Result<T::Resolver, S::Error> {
        self.serialize(serializer)
    }
}

// SAFETY: 1 and 2: `Native`. 3: the value is not copied.
unsafe impl<T: Archive + Native + Whole> ArchiveAs<T> for &T {
    type Resolver = T::Resolver;

    #[inline]
    fn resolve_as(&self, resolver: T::Resolver, out: Place<T::Archived>) {
        (*self).resolve(resolver, out);
    }
}

impl<T, S> SerializeAs<T, S> for &T
where
    T: Serialize<S> + Native + Whole,
    S: Fallible + ?Sized,
{
    #[inline]
    fn serialize_as(&self, serializer: &mut S) -> Result<T::Resolver, S::Error> {
        (*self).serialize(serializer)
    }
}

/// A borrowed form `B` in the guise of `T`: rkyv archives it as `T`.
///
/// # Invariant
///
/// 1. It has the layout of `B`: it is transparent, and the marker has no bytes.
#[doc(hidden)]
#[repr(transparent)]
pub struct As<T, B>(B, PhantomData<fn() -> T>);

impl<T, B> As<T, B> {
    fn from_ref(value: &B) -> &Self {
        // SAFETY: The layouts are equal (invariant 1), and any `B` makes a valid `Self`.
        unsafe { &*std::ptr::from_ref(value).cast() }
    }

    fn from_slice(values: &[B]) -> &[Self] {
        // SAFETY: The layouts of the elements are equal (invariant 1), and any `B` makes a valid
        // `Self`. Length and lifetime stay as they are.
        unsafe { &*(std::ptr::from_ref(values) as *const [Self]) }
    }

    fn from_array<const N: usize>(values: &[B; N]) -> &[Self; N] {
        // SAFETY: The layouts of the elements are equal (invariant 1), and any `B` makes a valid
        // `Self`.
        unsafe { &*std::ptr::from_ref(values).cast() }
    }
}

impl<T: Archive, B: ArchiveAs<T>> Archive for As<T, B> {
    // SAFETY: `ArchiveAs::IS_COPIED` is a promise of this (3), and the layouts are equal (invariant
    // 1).
    const COPY_OPTIMIZATION: CopyOptimization<Self> =
        unsafe { CopyOptimization::enable_if(B::IS_COPIED) };

    type Archived = T::Archived;
    type Resolver = B::Resolver;

    #[inline]
    fn resolve(&self, resolver: B::Resolver, out: Place<T::Archived>) {
        self.0.resolve_as(resolver, out);
    }
}

impl<T, B, S> Serialize<S> for As<T, B>
where
    T: Archive,
    B: SerializeAs<T, S>,
    S: Fallible + ?Sized,
{
    #[inline]
    fn serialize(&self, serializer: &mut S) -> Result<B::Resolver, S::Error> {
        self.0.serialize_as(serializer)
    }
}

// SAFETY: `ArchiveAs` promises both.
unsafe impl<T: Archive, B: ArchiveAs<T>> Native for As<T, B> {}

/// Archives a borrowed form as `T`, for rkyv's wrappers.
struct PartOf<T>(PhantomData<T>);

impl<T: Archive, B: ArchiveAs<T>> ArchiveWith<B> for PartOf<T> {
    type Archived = T::Archived;
    type Resolver = B::Resolver;

    #[inline]
    fn resolve_with(part: &B, resolver: B::Resolver, out: Place<T::Archived>) {
        part.resolve_as(resolver, out);
    }
}

impl<T, B, S> SerializeWith<B, S> for PartOf<T>
where
    T: Archive,
    B: SerializeAs<T, S>,
    S: Fallible + ?Sized,
{
    #[inline]
    fn serialize_with(part: &B, serializer: &mut S) -> Result<B::Resolver, S::Error> {
        part.serialize_as(serializer)
    }
}
