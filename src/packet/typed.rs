//! The traits [`Packet`] (can be sent) and [`Unpack`] (can be converted back into an owned value).
//!
//! [`TypeInfo`] is what is known of a packet type without a value.
//!
//! Blanket implementations are the only ones: every type that qualifies has both. Guards hand out
//! references because [`Packet::validate`] returned them, so [`Packet`] is sealed by
//! [`Archives`](sealed::Archives).

use std::{fmt, ptr::NonNull, thread};

use rkyv::{
    Archive, Deserialize, Serialize,
    api::low::LowValidator,
    bytecheck::CheckBytes,
    rancor::{Failure, Strategy},
};

use super::{
    Fingerprint, Invalid, UnpackError, Unserializable, check,
    describe::{Describe, Shape},
    error::Explanation,
    native::Native,
    schema, write,
    write::Scratch,
    writer::Writing,
    writer::{Counting, Resolving},
};

#[allow(private_bounds, reason = "the serializers stay private; the trait cannot be named")]
mod sealed {
    use super::*;

    /// All that rkyv must be able to do with a packet type.
    pub trait Archives:
        Native
        + Archive<Archived: ArchivedPacket>
        + Serialize<Resolving<Explanation>>
        + for<'a> Serialize<Counting<'a, Explanation>>
        + for<'a> Serialize<Writing<'a, Explanation>>
    {
    }

    #[diagnostic::do_not_recommend]
    impl<T> Archives for T where
        T: Native
            + Archive<Archived: ArchivedPacket>
            + Serialize<Resolving<Explanation>>
            + for<'a> Serialize<Counting<'a, Explanation>>
            + for<'a> Serialize<Writing<'a, Explanation>>
    {
    }

    /// What a reader of a packet type gets. Bounded by [`Packet`](super::Packet) alone: of a type
    /// that is none, the compiler then shows its message, and not that of rkyv's trait.
    pub trait Opens {
        /// The archived form.
        type Archived;
    }

    impl<T: super::Packet> Opens for T {
        type Archived = <T as Archive>::Archived;
    }

    /// All that rkyv must be able to do with the bytes of a packet.
    ///
    /// Guards over packets of a type that is not known yet are `Send` and `Sync`, and hand out
    /// references to packets of any type. So each archived packet is both.
    pub trait ArchivedPacket:
        Describe
        + Send
        + Sync
        + for<'a> CheckBytes<LowValidator<'a, Failure>>
        + for<'a> CheckBytes<LowValidator<'a, Explanation>>
    {
    }

    #[diagnostic::do_not_recommend]
    impl<A> ArchivedPacket for A where
        A: Describe
            + Send
            + Sync
            + for<'a> CheckBytes<LowValidator<'a, Failure>>
            + for<'a> CheckBytes<LowValidator<'a, Explanation>>
    {
    }
}

/// A type whose values can be sent.
///
/// Implemented for every type that rkyv can archive and whose archived form is safe to read in
/// place:
///
/// - structs and enums with [`#[packet]`](macro@crate::packet);
/// - numbers, `bool`, `char`, `String`, `CString`, durations and network addresses;
/// - tuples of up to 13, arrays, `Option`, `Result`, `Box`, `Vec`, `VecDeque`, `BTreeMap`,
///   `BTreeSet`, ranges (not `RangeInclusive`) and bounds, of packet types;
/// - with the features `bytes` and `uuid`: `Bytes` and `Uuid`.
///
/// It is sealed: these implementations are the only ones.
///
/// ```
/// fn is_packet<T: packetring::Packet>() {}
///
/// #[packetring::packet]
/// struct Order { id: u64, notes: Vec<String> }
///
/// is_packet::<Order>();
/// is_packet::<(u32, Option<Box<str>>)>();
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be sent as a packet",
    label = "not a packet type",
    note = "your own types: put `#[packetring::packet]` on them",
    note = "hash tables: use `BTreeMap` or `BTreeSet`, or a field with `#[rkyv(with = packetring::with::AsVec)]`",
    note = "borrowed or shared data: use `String` for `&str`, `Vec` for slices, `Box` for `Rc` and `Arc`",
    note = "`usize` and `isize`: use `u64` or `u32`; the archived type must be `Send` and `Sync`"
)]
pub trait Packet: sealed::Archives + Sized {
    /// The length of every archive in bytes, if all values have the same length.
    #[doc(hidden)]
    const FLAT_LEN: Option<usize>;

    /// True if an archive is a byte copy of its value: writing it runs no code of the user.
    #[doc(hidden)]
    const IS_COPIED: bool;

    /// Name, fingerprint and layout.
    #[doc(hidden)]
    const TYPE: TypeInfo;

    /// Returns the exact length of the value's archive in bytes.
    #[doc(hidden)]
    fn measure(value: &Self, scratch: &mut Scratch) -> Result<usize, Unserializable>;

    /// Writes the value's archive into the `len` bytes at `out`.
    ///
    /// # Safety
    ///
    /// `out` is aligned to 16 and valid for writes of `len` bytes. Nothing else accesses these
    /// bytes during the call.
    #[doc(hidden)]
    unsafe fn write(
        value: &Self,
        out: NonNull<u8>,
        len: usize,
        scratch: &mut Scratch,
    ) -> Result<(), Unserializable>;

    /// Checks that the bytes are a packet of this type, and returns the packet in place.
    #[doc(hidden)]
    fn validate(bytes: &[u8]) -> Result<&Self::Archived, Invalid>;

    /// Returns the reason why `validate` failed, as text.
    #[doc(hidden)]
    fn explain(bytes: &[u8]) -> String;
}

/// The archived form of a packet type: `T::Archived`. A method that is given a type by its call
/// alone names it so: then the compiler says of a type that is no packet what to do.
pub type Archived<T> = <T as sealed::Opens>::Archived;

#[diagnostic::do_not_recommend]
impl<T: sealed::Archives> Packet for T {
    const FLAT_LEN: Option<usize> =
        if T::Archived::SHAPE.flat { Some(size_of::<T::Archived>()) } else { None };

    const IS_COPIED: bool = Self::FLAT_LEN.is_some() && write::is_copied::<T>();

    const TYPE: TypeInfo = TypeInfo::of(T::Archived::SHAPE);

    #[inline]
    fn measure(value: &Self, scratch: &mut Scratch) -> Result<usize, Unserializable> {
        match Self::FLAT_LEN {
            Some(len) => Ok(len),
            None => write::measure(value, scratch),
        }
    }

    #[inline]
    unsafe fn write(
        value: &Self,
        out: NonNull<u8>,
        len: usize,
        scratch: &mut Scratch,
    ) -> Result<(), Unserializable> {
        if let Some(flat_len) = Self::FLAT_LEN {
            if flat_len != len {
                return Err(Unserializable::changed(len));
            }
            // SAFETY: The caller's promise about `out`; `len` equals the size of the root.
            return unsafe { write::write_flat(value, out, scratch.copies.way()) };
        }
        // SAFETY: The caller's promise about `out` and `len`.
        unsafe { write::write(value, out, len, scratch) }?;
        if T::Archived::SHAPE.recursive {
            // Only recursive types can nest deeper than readers accept, so check the archive here.
            // SAFETY: All `len` bytes have just been written, and nothing else accesses them.
            let bytes = unsafe { NonNull::slice_from_raw_parts(out, len).as_ref() };
            return check::validate::<T>(bytes)
                .map(|_| ())
                .map_err(|Invalid| Unserializable::unreadable(Self::explain(bytes)));
        }
        Ok(())
    }

    #[inline]
    fn validate(bytes: &[u8]) -> Result<&Self::Archived, Invalid> {
        check::validate::<T>(bytes)
    }

    fn explain(bytes: &[u8]) -> String {
        check::explain::<T>(bytes)
    }
}

/// A packet type whose packets can be converted back into owned values.
///
/// Implemented for every packet type that rkyv can deserialize: with
/// [`#[packet]`](macro@crate::packet), every type whose fields implement it. Converting allocates
/// what the value owns, and may fail ([`UnpackError`]).
///
/// ```
/// # let ring = packetring::Ring::builder().heap()?;
/// # let mut publisher = ring.publisher::<Vec<u32>>()?;
/// # let mut subscriber = ring.subscriber::<Vec<u32>>()?;
/// publisher.send(&vec![1, 2, 3])?;
/// let packet = subscriber.recv()?;
/// let owned: Vec<u32> = packetring::Received::unpack(packet)?;
/// assert_eq!(owned, [1, 2, 3]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Unpack: Packet {
    /// Converts a packet into an owned value.
    #[doc(hidden)]
    fn unpack(archived: &Self::Archived) -> Result<Self, UnpackError>;
}

#[diagnostic::do_not_recommend]
impl<T> Unpack for T
where
    T: Packet,
    T::Archived: Deserialize<T, Strategy<(), Explanation>>,
{
    fn unpack(archived: &Self::Archived) -> Result<Self, UnpackError> {
        archived.deserialize(Strategy::wrap(&mut ())).map_err(UnpackError::new)
    }
}

/// Returns the name, fingerprint and layout of a packet type. Usable in constants.
///
/// ```
/// assert_eq!(packetring::packet::type_of::<Vec<u32>>().name, "Vec<u32>");
/// ```
pub const fn type_of<T: Packet>() -> TypeInfo {
    T::TYPE
}

/// Returns the fingerprint of a packet type. Usable in constants.
///
/// ```
/// use packetring::packet::{Fingerprint, fingerprint_of};
///
/// const HERE: Fingerprint = fingerprint_of::<(u32, String)>();
/// assert_ne!(HERE, fingerprint_of::<(String, u32)>());
/// ```
pub const fn fingerprint_of<T: Packet>() -> Fingerprint {
    T::TYPE.fingerprint
}

/// Returns the [schema](super::schema) of a packet type: its layout as JSON.
///
/// Cost: each call formats it anew.
///
/// ```
/// let schema = packetring::packet::schema_of::<u32>();
/// assert_eq!(schema, r#"{"kind":"primitive","name":"u32","size":4,"align":4}"#);
/// ```
pub fn schema_of<T: Packet>() -> String {
    T::TYPE.schema()
}

/// The name, fingerprint and layout of a packet type.
///
/// [`type_of`](type_of) returns it.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct TypeInfo {
    /// The hash of layout and names, equal in every program that has this type.
    pub fingerprint: Fingerprint,
    /// The name of the Rust type with its parameters, without a path. Cut after 120 bytes.
    pub name: &'static str,
    /// The size of the root in bytes. The root is the last part of every packet of this type.
    pub size: usize,
    /// The alignment of the root in bytes, at most 16.
    pub align: usize,
    shape: &'static Shape,
}

impl TypeInfo {
    pub(super) const fn of(shape: &'static Shape) -> Self {
        Self {
            fingerprint: Fingerprint::of_description(shape.hash),
            name: shape.name.as_str(),
            size: shape.size,
            align: shape.align,
            shape,
        }
    }

    /// Returns the [schema](super::schema): the layout as JSON.
    ///
    /// Cost: each call formats it anew.
    pub fn schema(&self) -> String {
        schema::of(self.shape)
    }
}

impl fmt::Debug for TypeInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TypeInfo")
            .field("name", &self.name)
            .field("fingerprint", &self.fingerprint)
            .field("size", &self.size)
            .field("align", &self.align)
            .finish_non_exhaustive()
    }
}

/// Values larger than this are unpacked by a thread of their own.
const LARGE: usize = 64 << 10;

/// Copies of a value that the stack has room for. Building a value moves it several times, and a
/// build without optimizations keeps each copy.
const COPIES: usize = 16;

/// Converts a packet into an owned value. The packet may be in any guard.
///
/// # Errors
///
/// A [wrapper](crate::with) of a field fails.
///
/// ```
/// # let ring = packetring::Ring::builder().heap()?;
/// # let (mut out, mut all) = (ring.any_publisher()?, ring.any_subscriber()?);
/// out.send(&String::from("a text"))?;
/// let message = all.recv()?;
/// let text: String = packetring::packet::unpack::<String>(message.open_as::<String>()?)?;
/// assert_eq!(text, "a text");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn unpack<T: Unpack>(archived: &T::Archived) -> Result<T, UnpackError> {
    T::unpack(archived)
}

/// Converts a packet into an owned value on the heap, also if the stack is too small for it.
///
/// For large arrays. [`unpack`] moves the value over the stack, and a value of several MiB
/// overflows it.
///
/// Cost: a value of more than 64 KiB is unpacked by a thread with a stack of 16 times that size,
/// which ends before the call returns.
///
/// # Errors
///
/// A [wrapper](crate::with) of a field fails, or no thread can be started.
///
/// ```
/// type Frame = [[u8; 1024]; 6 << 10];
/// # let ring = packetring::Ring::builder().capacity(16 << 20).heap()?;
/// # let (mut out, mut all) = (ring.publisher::<Frame>()?, ring.subscriber::<Frame>()?);
/// # drop(packetring::Reserved::commit(out.reserve()?));
/// let frame: Box<Frame> = packetring::packet::unpack_boxed::<Frame>(&*all.recv()?)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn unpack_boxed<T: Unpack + Send>(archived: &T::Archived) -> Result<Box<T>, UnpackError> {
    if size_of::<T>() <= LARGE {
        return unpack_here::<T>(archived);
    }
    thread::scope(|scope| {
        let stack = size_of::<T>().saturating_mul(COPIES).saturating_add(1 << 20);
        let thread = thread::Builder::new().stack_size(stack);
        let thread = thread.spawn_scoped(scope, || unpack_here::<T>(archived));
        match thread.map_err(UnpackError::no_thread)?.join() {
            Ok(outcome) => outcome,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// Converts a packet into an owned value, over the stack of this thread.
// Inlined, its frame would be that of the caller, also where it is not called.
#[inline(never)]
fn unpack_here<T: Unpack>(archived: &T::Archived) -> Result<Box<T>, UnpackError> {
    T::unpack(archived).map(Box::new)
}
