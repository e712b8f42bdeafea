//! Descriptions of numbers, `bool` and `char`, of durations, network addresses, ranges, bounds and
//! UUIDs, and of options without a tag byte.
//!
//! Numbers of more than one byte are little-endian. Each other type is described as the struct or
//! enum that rkyv archives it to. The fields of these types are private, so their offsets are
//! computed by the rules of `repr(C)`.
//!
//! In an option without a tag byte a *niche*, a value that the content never has, is `None`.
//! Packets contain such options through `#[rkyv(with = Niche)]`, `NicheInto<..>`,
//! `MapNiche<.., ..>` and `DefaultNiche`. A struct provides the niche of one of its fields through
//! `#[rkyv(niche)]`.
//! rkyv's niche `NaN` is excluded: `Some(NaN)` would arrive as `None`.
//!
//! [`Itself`] stands for a recursive type inside its own description, so that the description is
//! finite. `#[packet]` describes the field `children: Vec<Node>` of `Node` as `Vec<Itself<Node>>`,
//! which has the same layout. No value of the placeholder types is ever created.

use super::{Describe, Field, Named, Shape, ShapeKind, TypeName, Variant};
use crate::packet::native::Native;
use rkyv::net::{
    ArchivedIpAddr, ArchivedIpv4Addr, ArchivedIpv6Addr, ArchivedSocketAddr, ArchivedSocketAddrV4,
    ArchivedSocketAddrV6,
};
use rkyv::niche::niched_option::NichedOption;
use rkyv::niche::niching::{Bool, DefaultNiche, Niching, Null, Zero};
use rkyv::niche::option_box::ArchivedOptionBox;
use rkyv::niche::option_nonzero::*;
use rkyv::ops::{
    ArchivedBound, ArchivedRange, ArchivedRangeFrom, ArchivedRangeFull, ArchivedRangeTo,
    ArchivedRangeToInclusive,
};
use rkyv::primitive::*;
use rkyv::time::ArchivedDuration;
use rkyv::traits::ArchivePointee;
use rkyv::{Archive, Archived, Place, Portable};
use std::cmp::Ordering;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::num::{NonZeroI8, NonZeroU8};
use std::{fmt, hash};

macro_rules! structure {
    ($type:ty = $name:literal { $($field:literal: $part:ty),* }) => {
        // SAFETY: The type is `repr(C)` or `repr(transparent)` with these fields in order, all of
        // them numbers. Resolving writes each field. Numbers need no audit.
        unsafe impl Describe for $type {
            const NAME: TypeName = TypeName::plain($name);
            const SHAPE: &'static Shape = const {
                &Shape::structure::<Self>(Named::library($name), const { &Field::lay_out(0, [
                    $(Field::new::<$part>($field, <$part as Describe>::SHAPE)),*
                ]) })
            };
        }
    };
}

structure!(ArchivedDuration = "Duration" { "secs": Archived<u64>, "nanos": Archived<u32> });
structure!(ArchivedIpv4Addr = "Ipv4Addr" { "octets": [u8; 4] });
structure!(ArchivedIpv6Addr = "Ipv6Addr" { "octets": [u8; 16] });
structure!(ArchivedSocketAddrV4 = "SocketAddrV4" {
    "ip": ArchivedIpv4Addr, "port": Archived<u16>
});
structure!(ArchivedSocketAddrV6 = "SocketAddrV6" {
    "ip": ArchivedIpv6Addr, "port": Archived<u16>,
    "flowinfo": Archived<u32>, "scope_id": Archived<u32>
});
structure!(ArchivedRangeFull = "RangeFull" {});

#[cfg(feature = "uuid")]
structure!(uuid::Uuid = "Uuid" { "bytes": [u8; 16] });

macro_rules! range {
    ($type:ident = $name:literal { $($field:ident),* }) => {
        // SAFETY: The type is `repr(C)` with its public fields in order. Resolving writes each
        // field. The audit visits all of them.
        unsafe impl<T: Describe> Describe for $type<T> {
            const NAME: TypeName = TypeName::generic($name, &[T::NAME]);
            const SHAPE: &'static Shape = const {
                &Shape::structure::<Self>(Named::library($name).of(T::SHAPE), const {
                    &Field::lay_out(0, [$(Field::new::<T>(stringify!($field), T::SHAPE)),*])
                })
            };

            fn audit(&self, archive: &[u8]) -> bool {
                $(self.$field.audit(archive))&&*
            }
        }
    };
}

range!(ArchivedRange = "Range" { start, end });
range!(ArchivedRangeFrom = "RangeFrom" { start });
range!(ArchivedRangeTo = "RangeTo" { end });
range!(ArchivedRangeToInclusive = "RangeToInclusive" { end });

/// Returns a variant with one unnamed field.
const fn variant<T: Describe>(name: &'static str, tag: u8) -> Variant {
    let fields = const { &Field::lay_out(1, [Field::new::<T>("0", T::SHAPE)]) };
    Variant { name, tag, fields }
}

macro_rules! either_address {
    ($type:ty = $name:literal { $v4:ty, $v6:ty }) => {
        // SAFETY: The type is `repr(u8)`: a tag, then numbers. Numbers need no audit.
        unsafe impl Describe for $type {
            const NAME: TypeName = TypeName::plain($name);
            const SHAPE: &'static Shape = const {
                &Shape::enumeration::<Self>(
                    Named::library($name),
                    const { &[variant::<$v4>("V4", 0), variant::<$v6>("V6", 1)] },
                )
            };
        }
    };
}

either_address!(ArchivedIpAddr = "IpAddr" { ArchivedIpv4Addr, ArchivedIpv6Addr });
either_address!(ArchivedSocketAddr = "SocketAddr" { ArchivedSocketAddrV4, ArchivedSocketAddrV6 });

// SAFETY: The type is `repr(u8)`: a tag, then the limit. The audit visits the limit.
unsafe impl<T: Describe> Describe for ArchivedBound<T> {
    const NAME: TypeName = TypeName::generic("Bound", &[T::NAME]);
    const SHAPE: &'static Shape = const {
        &Shape::enumeration::<Self>(
            Named::library("Bound").of(T::SHAPE),
            const {
                &[
                    variant::<T>("Included", 0),
                    variant::<T>("Excluded", 1),
                    Variant { name: "Unbounded", tag: 2, fields: &[] },
                ]
            },
        )
    };

    fn audit(&self, archive: &[u8]) -> bool {
        match self {
            Self::Included(limit) | Self::Excluded(limit) => limit.audit(archive),
            Self::Unbounded => true,
        }
    }
}

macro_rules! primitive {
    ($($type:ty: $name:literal),* $(,)?) => {$(
        // SAFETY: A number, `bool` or `char` has neither pointers nor padding. Resolving writes all
        // of its bytes. rkyv checks them completely, so no audit is needed.
        unsafe impl Describe for $type {
            const NAME: TypeName = TypeName::plain($name);
            const SHAPE: &'static Shape = const { &Shape::primitive::<Self>($name) };
        }
    )*};
}

primitive! {
    bool: "bool", ArchivedChar: "char",
    u8: "u8", ArchivedU16: "u16", ArchivedU32: "u32", ArchivedU64: "u64", ArchivedU128: "u128",
    i8: "i8", ArchivedI16: "i16", ArchivedI32: "i32", ArchivedI64: "i64", ArchivedI128: "i128",
    ArchivedF32: "f32", ArchivedF64: "f64",
    NonZeroU8: "NonZeroU8", ArchivedNonZeroU16: "NonZeroU16", ArchivedNonZeroU32: "NonZeroU32",
    ArchivedNonZeroU64: "NonZeroU64", ArchivedNonZeroU128: "NonZeroU128",
    NonZeroI8: "NonZeroI8", ArchivedNonZeroI16: "NonZeroI16", ArchivedNonZeroI32: "NonZeroI32",
    ArchivedNonZeroI64: "NonZeroI64", ArchivedNonZeroI128: "NonZeroI128",
}

macro_rules! option_nonzero {
    ($($type:ty: $name:literal),* $(,)?) => {$(
        // SAFETY: As for the number that it consists of; 0 means `None`.
        unsafe impl Describe for $type {
            const NAME: TypeName = TypeName::generic("Option", &[TypeName::plain($name)]);
            const SHAPE: &'static Shape =
                const { &Shape::primitive::<Self>(concat!("Option<", $name, ">")) };
        }
    )*};
}

option_nonzero! {
    ArchivedOptionNonZeroU8: "NonZeroU8", ArchivedOptionNonZeroU16: "NonZeroU16",
    ArchivedOptionNonZeroU32: "NonZeroU32", ArchivedOptionNonZeroU64: "NonZeroU64",
    ArchivedOptionNonZeroU128: "NonZeroU128",
    ArchivedOptionNonZeroI8: "NonZeroI8", ArchivedOptionNonZeroI16: "NonZeroI16",
    ArchivedOptionNonZeroI32: "NonZeroI32", ArchivedOptionNonZeroI64: "NonZeroI64",
    ArchivedOptionNonZeroI128: "NonZeroI128",
}

/// A niche that packets may use: rkyv can detect it safely in bytes that were not checked yet.
///
/// Sealed: the trait cannot be named outside.
pub trait DetectableNiche {
    /// The kind of such an option in the schema.
    const WORD: &'static str;
}

/// Returns the kind of an option with this niche in the schema.
#[doc(hidden)]
pub const fn niche_word<N: DetectableNiche + ?Sized>() -> &'static str {
    N::WORD
}

macro_rules! detectable {
    ($($niche:ident = $word:literal),*) => {$(
        impl DetectableNiche for $niche {
            const WORD: &'static str = $word;
        }
    )*

    /// The kinds of all such options.
    const WORDS: &[&str] = &[$($word),*];
    };
}

detectable!(
    Zero = "option-zero",
    Bool = "option-bool",
    Null = "option-null",
    DefaultNiche = "option-default"
);

/// Panics, at compile time, if the niche of this kind may not be found twice in one value.
// The error names the option, without excerpts of the standard library.
#[track_caller]
const fn demand_sound_niche(shape: &Shape, word: &str) {
    assert!(
        has_sound_niche(shape, word),
        "an option without a tag byte needs `#[rkyv(niche)]` on a field of its struct, and no `Niching` by hand"
    );
}

/// Returns true if rkyv's own code finds the niche of this kind in values of this shape: rkyv's for
/// library types, or the derived one of a struct with `#[rkyv(niche)]`.
///
/// rkyv's trait `Niching` is safe, and rkyv believes it: it skips the check of an option that is
/// `None`. An implementation by hand may find a niche when it is asked first, and none when it is
/// asked again. It is possible for the user's own types only, and excludes the derived one.
const fn has_sound_niche(shape: &Shape, word: &str) -> bool {
    match shape.kind {
        ShapeKind::Struct(fields) => {
            let mut i = 0;
            while i < fields.len() {
                if is_among(word, fields[i].niches()) {
                    return has_sound_niche(fields[i].shape(), word);
                }
                i += 1;
            }
            false
        }
        // rkyv's implementation for an option asks that of its content.
        ShapeKind::Container(kind, of) if is_among(kind, WORDS) => has_sound_niche(of[0], word),
        ShapeKind::Enum(_) | ShapeKind::Itself => false,
        _ => true,
    }
}

const fn is_among(word: &str, list: &[&str]) -> bool {
    let mut i = 0;
    while i < list.len() {
        let (one, other) = (word.as_bytes(), list[i].as_bytes());
        let mut same = 0;
        while same < one.len() && same < other.len() && one[same] == other[same] {
            same += 1;
        }
        if same == one.len() && same == other.len() {
            return true;
        }
        i += 1;
    }
    false
}

// SAFETY: The option has the layout of its content, which rkyv checks unless it is the niche. The
// niche is found by code of rkyv, so both looks at one value agree. The audit visits the content.
unsafe impl<T: Describe, N: DetectableNiche + Niching<T>> Describe for NichedOption<T, N> {
    const NAME: TypeName = TypeName::generic("Option", &[T::NAME]);
    const SHAPE: &'static Shape = const {
        demand_sound_niche(T::SHAPE, N::WORD);
        &Shape::flat_container::<Self>(N::WORD, Self::NAME, const { &[T::SHAPE] })
    };

    fn audit(&self, archive: &[u8]) -> bool {
        !T::SHAPE.audited || self.as_ref().is_none_or(|value| value.audit(archive))
    }
}

// SAFETY: The option has the layout of a box; a relative pointer of 1 is `None`. The audit visits
// the content.
unsafe impl<T: Describe + ArchivePointee + ?Sized> Describe for ArchivedOptionBox<T> {
    const NAME: TypeName = TypeName::generic("Option", &[TypeName::generic("Box", &[T::NAME])]);
    const SHAPE: &'static Shape =
        const { &Shape::container::<Self>("option-box", Self::NAME, const { &[T::SHAPE] }) };

    fn audit(&self, archive: &[u8]) -> bool {
        !T::SHAPE.audited || self.as_deref().is_none_or(|value| value.audit(archive))
    }
}

/// The placeholder for `T` inside the description of `T`.
pub struct Itself<T>(PhantomData<T>);

/// The placeholder for the archived type `A` inside the description of `A`. Has the layout of `A`.
#[repr(transparent)]
pub struct ArchivedItself<A>(MaybeUninit<A>);

// SAFETY: `repr(transparent)` and `MaybeUninit` give it the layout of `A`, which is portable.
unsafe impl<A: Portable> Portable for ArchivedItself<A> {}

impl<T: Archive> Archive for Itself<T> {
    type Archived = ArchivedItself<T::Archived>;
    type Resolver = ();

    fn resolve(&self, (): (), _: Place<Self::Archived>) {}
}

// SAFETY: No value of this type exists.
unsafe impl<T> Native for Itself<T> {}

// SAFETY: The shape has the size and the alignment of `A`, and is neither flat nor free of padding.
// No value of this type exists, so nothing is resolved or audited.
unsafe impl<A: Describe> Describe for ArchivedItself<A> {
    const NAME: TypeName = A::NAME;
    const SHAPE: &'static Shape = const { &Shape::itself::<A>(A::NAME) };
}

/// Implements the traits that collections require of their elements. Nothing calls these methods.
macro_rules! unused_comparisons {
    ($type:ident) => {
        impl<T> PartialEq for $type<T> {
            fn eq(&self, _: &Self) -> bool {
                true
            }
        }
        impl<T> Eq for $type<T> {}
        impl<T> PartialOrd for $type<T> {
            fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
                Some(self.cmp(other))
            }
        }
        impl<T> Ord for $type<T> {
            fn cmp(&self, _: &Self) -> Ordering {
                Ordering::Equal
            }
        }
        impl<T> hash::Hash for $type<T> {
            fn hash<H: hash::Hasher>(&self, _: &mut H) {}
        }
        impl<T> fmt::Debug for $type<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("Itself")
            }
        }
    };
}

unused_comparisons!(Itself);
unused_comparisons!(ArchivedItself);

impl<T> Clone for Itself<T> {
    fn clone(&self) -> Self {
        Self(PhantomData)
    }
}

impl<T> Default for Itself<T> {
    fn default() -> Self {
        Self(PhantomData)
    }
}
