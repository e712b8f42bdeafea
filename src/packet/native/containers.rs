//! Containers of native types.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    ops::{Bound, Range, RangeFrom, RangeTo, RangeToInclusive},
};

use super::Native;

macro_rules! containers {
    ($($type:ident<$($part:ident),+>),* $(,)?) => {$(
        // SAFETY: The archive has all contained values, in order. Their promises make up that of
        // the container, which has no interior mutability of its own.
        unsafe impl<$($part: Native),+> Native for $type<$($part),+> {}
    )*};
}

containers! {
    Option<T>, Result<T, E>, Vec<T>, VecDeque<T>, BTreeMap<K, V>, BTreeSet<K>,
    Bound<T>, Range<T>, RangeFrom<T>, RangeTo<T>, RangeToInclusive<T>,
}

// SAFETY: As above.
unsafe impl<T: Native + ?Sized> Native for Box<T> {}

// SAFETY: As above.
unsafe impl<T: Native> Native for [T] {}

// SAFETY: As above.
unsafe impl<T: Native, const N: usize> Native for [T; N] {}

macro_rules! tuples {
    ($($($part:ident)+;)*) => {$(
        // SAFETY: As above.
        unsafe impl<$($part: Native),+> Native for ($($part,)+) {}
    )*};
}

tuples! {
    A;
    A B;
    A B C;
    A B C D;
    A B C D E;
    A B C D E F;
    A B C D E F G;
    A B C D E F G H;
    A B C D E F G H I;
    A B C D E F G H I J;
    A B C D E F G H I J K;
    A B C D E F G H I J K L;
    A B C D E F G H I J K L M;
}
