//! The trait of packet types, and of those that can be taken out of a packet as owned values.
//!
//! Both are implemented for every type that qualifies, and only so.

use std::ptr::NonNull;

use rkyv::{
    Archive, Deserialize, Serialize,
    api::low::LowValidator,
    bytecheck::CheckBytes,
    rancor::{Failure, Strategy},
};

use super::{
    Invalid, TypeInfo, UnpackError, Unserializable, check,
    describe::Describe,
    explanation::Explanation,
    scratch::Scratch,
    write,
    writer::{Counting, Resolving, Writing},
};

/// A type whose values can be sent.
///
/// Implemented for every type that rkyv can archive and whose archived form is known to be safe to
/// read in place: types with [`#[packet]`](macro@crate::packet), numbers, `bool`, `char`, texts, tuples,
/// arrays, `Option`, `Result`, `Box`, `Vec`, `VecDeque`, `BTreeMap`, `BTreeSet`, durations, addresses and
/// ranges, and of these again. It is not meant to be implemented by hand.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be sent as a packet",
    label = "not a packet type",
    note = "put `#[packetring::packet]` on your own types",
    note = "hash tables: use `BTreeMap` or `BTreeSet`, or a field with `#[rkyv(with = packetring::with::AsVec)]`",
    note = "a packet owns its data: use `String` for `&str`, `Vec` for slices, `Box` for `Rc` and `Arc`"
)]
pub trait Packet: Archive<Archived: Describe> + Sized {
    /// The length of every archive, if it does not depend on the value.
    #[doc(hidden)]
    const FLAT_LEN: Option<usize>;

    /// Whether an archive is a copy of its value: nobody's code runs to write it.
    #[doc(hidden)]
    const IS_COPIED: bool;

    /// Name, fingerprint and layout.
    #[doc(hidden)]
    const TYPE: TypeInfo;

    #[doc(hidden)]
    fn measure(value: &Self, scratch: &mut Scratch) -> Result<usize, Unserializable>;

    /// # Safety
    ///
    /// `out` is aligned to 16 and valid for writes of `len` bytes, which nobody else accesses.
    #[doc(hidden)]
    unsafe fn write(
        value: &Self,
        out: NonNull<u8>,
        len: usize,
        scratch: &mut Scratch,
    ) -> Result<(), Unserializable>;

    #[doc(hidden)]
    fn validate(bytes: &[u8]) -> Result<&Self::Archived, Invalid>;

    #[doc(hidden)]
    fn explain(bytes: &[u8]) -> String;
}

#[diagnostic::do_not_recommend]
impl<T> Packet for T
where
    T: Archive + Serialize<Resolving<Explanation>>,
    T: for<'a> Serialize<Counting<'a, Explanation>> + for<'a> Serialize<Writing<'a, Explanation>>,
    T::Archived: Describe,
    T::Archived: for<'a> CheckBytes<LowValidator<'a, Failure>>,
    T::Archived: for<'a> CheckBytes<LowValidator<'a, Explanation>>,
{
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
            // SAFETY: The caller's promise, and `len` is the root's size.
            return unsafe { write::write_flat(value, out) };
        }
        // SAFETY: The caller's promise.
        unsafe { write::write(value, out, len, scratch) }?;
        if T::Archived::SHAPE.recursive {
            // SAFETY: All `len` bytes have just been written, and nobody else accesses them.
            let bytes = unsafe { NonNull::slice_from_raw_parts(out, len).as_ref() };
            return check::quickly::<T>(bytes)
                .map(|_| ())
                .map_err(|Invalid| Unserializable::unreadable(Self::explain(bytes)));
        }
        Ok(())
    }

    #[inline]
    fn validate(bytes: &[u8]) -> Result<&Self::Archived, Invalid> {
        check::quickly::<T>(bytes)
    }

    fn explain(bytes: &[u8]) -> String {
        check::explanation::<T>(bytes)
    }
}

/// A packet type whose values can be taken out of a packet, owned.
///
/// Implemented for every packet type that rkyv can deserialize.
pub trait Unpack: Packet {
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
