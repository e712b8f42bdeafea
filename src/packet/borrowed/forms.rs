//! The borrowed form of each type of the library, and how it archives as the owned type.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    ffi::CString,
    marker::PhantomData,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6},
    num::NonZero,
    ops::{Bound, Range, RangeFrom, RangeFull, RangeTo, RangeToInclusive},
    time::Duration,
};

use rkyv::{
    Archive, Place, Serialize, SerializeUnsized,
    boxed::{ArchivedBox, BoxResolver},
    munge::munge,
    option::ArchivedOption,
    rancor::{Fallible, Source},
    rend,
    ser::{Allocator, Writer},
    string::{ArchivedString, StringResolver},
    tuple::*,
    vec::{ArchivedVec, VecResolver},
    with::{ArchiveWith, Map, SerializeWith},
};

use super::{ArchiveAs, As, Borrowable, PartOf, SerializeAs, Whole};
use crate::packet::{Native, native::values::copied_values};

/// Types that are borrowed by value.
macro_rules! values {
    ($($type:ty),* $(,)?) => {$(
        impl Borrowable for $type {
            type Borrowed<'p> = Self;
            type Element<'p> = Self;
        }

        impl Whole for $type {}
    )*};
}

copied_values!(values);

/// Types with their borrowed form, and with that of an element of a list.
macro_rules! forms {
    ($p:lifetime: $([$($part:tt)*] $type:ty => $borrowed:ty, $element:ty;)*) => {$(
        impl<$($part)*> Borrowable for $type {
            type Borrowed<$p> = $borrowed where Self: $p;
            type Element<$p> = $element where Self: $p;
        }
    )*};
}

forms! { 'p:
    [] String => &'p str, &'p str;
    [] Box<str> => &'p str, &'p str;
    [T: Borrowable] Vec<T> => &'p [T::Element<'p>], &'p [T::Element<'p>];
    [T: Borrowable] Box<[T]> => &'p [T::Element<'p>], &'p [T::Element<'p>];
    [T: Borrowable] Option<T> => Option<T::Borrowed<'p>>, Option<T::Element<'p>>;
    [T: Borrowable, const N: usize] [T; N] => &'p [T::Element<'p>; N], [T::Element<'p>; N];
    [T] Box<T> => &'p T, Self;
    [T: ?Sized] PhantomData<T> => Self, Self;
}

impl Whole for String {}
impl<T> Whole for Vec<T> {}
impl<T: ?Sized> Whole for Box<T> {}
impl<T: ?Sized> Whole for PhantomData<T> {}

/// Types that are borrowed by reference.
macro_rules! references {
    ($([$($part:ident),*] $type:ty;)*) => {$(
        forms!('p: [$($part),*] $type => &'p Self, Self;);

        impl<$($part),*> Whole for $type {}
    )*};
}

references! {
    [] CString;
    [T, E] Result<T, E>;
    [T] VecDeque<T>;
    [K, V] BTreeMap<K, V>;
    [K] BTreeSet<K>;
    [T] Bound<T>;
    [T] Range<T>;
    [T] RangeFrom<T>;
    [T] RangeTo<T>;
    [T] RangeToInclusive<T>;
}

#[cfg(feature = "bytes")]
references!([] bytes::Bytes;);

// SAFETY: 1: the archive has the whole text. 2: a text has no interior mutability. 3: it is not
// copied.
unsafe impl ArchiveAs<String> for &str {
    type Resolver = StringResolver;

    #[inline]
    fn resolve_as(&self, resolver: StringResolver, out: Place<ArchivedString>) {
        ArchivedString::resolve_from_str(self, resolver, out);
    }
}

impl<S> SerializeAs<String, S> for &str
where
    str: SerializeUnsized<S>,
    S: Fallible<Error: Source> + ?Sized,
{
    #[inline]
    fn serialize_as(&self, serializer: &mut S) -> Result<StringResolver, S::Error> {
        ArchivedString::serialize_from_str(self, serializer)
    }
}

// SAFETY: 1 and 2: those of the elements, and the archive has all of them in order. 3: it is not
// copied.
unsafe impl<T: Archive, B: ArchiveAs<T>> ArchiveAs<Vec<T>> for &[B] {
    type Resolver = VecResolver;

    #[inline]
    fn resolve_as(&self, resolver: VecResolver, out: Place<ArchivedVec<T::Archived>>) {
        ArchivedVec::resolve_from_len(self.len(), resolver, out);
    }
}

impl<T, B, S> SerializeAs<Vec<T>, S> for &[B]
where
    T: Archive,
    B: SerializeAs<T, S>,
    S: Fallible + Allocator + Writer + ?Sized,
{
    #[inline]
    fn serialize_as(&self, serializer: &mut S) -> Result<VecResolver, S::Error> {
        ArchivedVec::serialize_from_slice(As::<T, B>::from_slice(self), serializer)
    }
}

// SAFETY: 1 and 2: `Native`. 3: it is not copied.
unsafe impl<T: Archive + Native> ArchiveAs<Box<T>> for &T {
    type Resolver = BoxResolver;

    #[inline]
    fn resolve_as(&self, resolver: BoxResolver, out: Place<ArchivedBox<T::Archived>>) {
        ArchivedBox::resolve_from_ref(*self, resolver, out);
    }
}

impl<T, S> SerializeAs<Box<T>, S> for &T
where
    T: Archive + Native + SerializeUnsized<S, Archived = <T as Archive>::Archived>,
    S: Fallible + ?Sized,
{
    #[inline]
    fn serialize_as(&self, serializer: &mut S) -> Result<BoxResolver, S::Error> {
        ArchivedBox::serialize_from_ref(*self, serializer)
    }
}

// SAFETY: as for a `String`.
unsafe impl ArchiveAs<Box<str>> for &str {
    type Resolver = BoxResolver;

    #[inline]
    fn resolve_as(&self, resolver: BoxResolver, out: Place<ArchivedBox<str>>) {
        ArchivedBox::resolve_from_ref(*self, resolver, out);
    }
}

impl<S> SerializeAs<Box<str>, S> for &str
where
    str: SerializeUnsized<S>,
    S: Fallible + ?Sized,
{
    #[inline]
    fn serialize_as(&self, serializer: &mut S) -> Result<BoxResolver, S::Error> {
        ArchivedBox::serialize_from_ref(*self, serializer)
    }
}

// SAFETY: as for a `Vec`.
unsafe impl<T: Archive, B: ArchiveAs<T>> ArchiveAs<Box<[T]>> for &[B] {
    type Resolver = BoxResolver;

    #[inline]
    fn resolve_as(&self, resolver: BoxResolver, out: Place<ArchivedBox<[T::Archived]>>) {
        ArchivedBox::resolve_from_ref(As::<T, B>::from_slice(self), resolver, out);
    }
}

impl<T, B, S> SerializeAs<Box<[T]>, S> for &[B]
where
    T: Archive,
    B: SerializeAs<T, S>,
    S: Fallible + Allocator + Writer + ?Sized,
{
    #[inline]
    fn serialize_as(&self, serializer: &mut S) -> Result<BoxResolver, S::Error> {
        ArchivedBox::serialize_from_ref(As::<T, B>::from_slice(self), serializer)
    }
}

// SAFETY: 1 and 2: those of the value, and the archive has its presence. 3: it is not copied.
unsafe impl<T: Archive, B: ArchiveAs<T>> ArchiveAs<Option<T>> for Option<B> {
    type Resolver = Option<B::Resolver>;

    #[inline]
    fn resolve_as(&self, resolver: Self::Resolver, out: Place<ArchivedOption<T::Archived>>) {
        <Map<PartOf<T>> as ArchiveWith<Self>>::resolve_with(self, resolver, out);
    }
}

impl<T, B, S> SerializeAs<Option<T>, S> for Option<B>
where
    T: Archive,
    B: SerializeAs<T, S>,
    S: Fallible + ?Sized,
{
    #[inline]
    fn serialize_as(&self, serializer: &mut S) -> Result<Self::Resolver, S::Error> {
        <Map<PartOf<T>> as SerializeWith<Self, S>>::serialize_with(self, serializer)
    }
}

// SAFETY: 1 and 2: those of the elements, and the archive has all of them in order. 3: an array
// consists of its elements, whose promise holds.
unsafe impl<T: Archive, B: ArchiveAs<T>, const N: usize> ArchiveAs<[T; N]> for [B; N] {
    const IS_COPIED: bool = B::IS_COPIED;

    type Resolver = [B::Resolver; N];

    #[inline]
    fn resolve_as(&self, resolver: Self::Resolver, out: Place<[T::Archived; N]>) {
        (&self).resolve_as(resolver, out);
    }
}

impl<T, B, S, const N: usize> SerializeAs<[T; N], S> for [B; N]
where
    T: Archive,
    B: SerializeAs<T, S>,
    S: Fallible + ?Sized,
{
    #[inline]
    fn serialize_as(&self, serializer: &mut S) -> Result<Self::Resolver, S::Error> {
        (&self).serialize_as(serializer)
    }
}

// SAFETY: as above, except that it is not copied.
unsafe impl<T: Archive, B: ArchiveAs<T>, const N: usize> ArchiveAs<[T; N]> for &[B; N] {
    type Resolver = [B::Resolver; N];

    #[inline]
    fn resolve_as(&self, resolver: Self::Resolver, out: Place<[T::Archived; N]>) {
        for (i, (part, resolver)) in self.iter().zip(resolver).enumerate() {
            // SAFETY: `i` is the index of an element.
            part.resolve_as(resolver, unsafe { out.index(i) });
        }
    }
}

impl<T, B, S, const N: usize> SerializeAs<[T; N], S> for &[B; N]
where
    T: Archive,
    B: SerializeAs<T, S>,
    S: Fallible + ?Sized,
{
    #[inline]
    fn serialize_as(&self, serializer: &mut S) -> Result<[B::Resolver; N], S::Error> {
        As::<T, B>::from_array(self).serialize(serializer)
    }
}

macro_rules! tuple {
    ($archived:ident: $($type:ident $part:ident $place:ident $index:tt)*) => {
        impl<$($type: Borrowable),*> Borrowable for ($($type,)*) {
            type Borrowed<'p> = ($($type::Borrowed<'p>,)*) where Self: 'p;
            type Element<'p> = ($($type::Element<'p>,)*) where Self: 'p;
        }

        // SAFETY: 1 and 2: those of the parts, and the archive has all of them. 3: it is not
        // copied.
        unsafe impl<$($type: Archive, $part: ArchiveAs<$type>),*> ArchiveAs<($($type,)*)>
            for ($($part,)*)
        {
            type Resolver = ($($part::Resolver,)*);

            #[inline]
            fn resolve_as(
                &self,
                resolver: Self::Resolver,
                out: Place<$archived<$($type::Archived),*>>,
            ) {
                munge!(let $archived($($place),*) = out);
                $(self.$index.resolve_as(resolver.$index, $place);)*
            }
        }

        impl<$($type: Archive, $part: SerializeAs<$type, Serializer>,)* Serializer>
            SerializeAs<($($type,)*), Serializer> for ($($part,)*)
        where
            Serializer: Fallible + ?Sized,
        {
            #[inline]
            fn serialize_as(
                &self,
                serializer: &mut Serializer,
            ) -> Result<Self::Resolver, Serializer::Error> {
                Ok(($(self.$index.serialize_as(serializer)?,)*))
            }
        }
    };
}

tuple!(ArchivedTuple1: A AP a 0);
tuple!(ArchivedTuple2: A AP a 0 B BP b 1);
tuple!(ArchivedTuple3: A AP a 0 B BP b 1 C CP c 2);
tuple!(ArchivedTuple4: A AP a 0 B BP b 1 C CP c 2 D DP d 3);
tuple!(ArchivedTuple5: A AP a 0 B BP b 1 C CP c 2 D DP d 3 E EP e 4);
tuple!(ArchivedTuple6: A AP a 0 B BP b 1 C CP c 2 D DP d 3 E EP e 4 F FP f 5);
tuple!(ArchivedTuple7: A AP a 0 B BP b 1 C CP c 2 D DP d 3 E EP e 4 F FP f 5 G GP g 6);
tuple!(ArchivedTuple8: A AP a 0 B BP b 1 C CP c 2 D DP d 3 E EP e 4 F FP f 5 G GP g 6 H HP h 7);
tuple!(ArchivedTuple9: A AP a 0 B BP b 1 C CP c 2 D DP d 3 E EP e 4 F FP f 5 G GP g 6 H HP h 7 I IP i 8);
tuple!(ArchivedTuple10: A AP a 0 B BP b 1 C CP c 2 D DP d 3 E EP e 4 F FP f 5 G GP g 6 H HP h 7 I IP i 8 J JP j 9);
tuple!(ArchivedTuple11: A AP a 0 B BP b 1 C CP c 2 D DP d 3 E EP e 4 F FP f 5 G GP g 6 H HP h 7 I IP i 8 J JP j 9 K KP k 10);
tuple!(ArchivedTuple12: A AP a 0 B BP b 1 C CP c 2 D DP d 3 E EP e 4 F FP f 5 G GP g 6 H HP h 7 I IP i 8 J JP j 9 K KP k 10 L LP l 11);
tuple!(ArchivedTuple13: A AP a 0 B BP b 1 C CP c 2 D DP d 3 E EP e 4 F FP f 5 G GP g 6 H HP h 7 I IP i 8 J JP j 9 K KP k 10 L LP l 11 M MP m 12);
