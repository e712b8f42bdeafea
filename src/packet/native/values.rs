//! Values without parts: numbers, text, durations and addresses.

use std::{
    ffi::CString,
    marker::PhantomData,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6},
    num::NonZero,
    ops::RangeFull,
    time::Duration,
};

use rkyv::rend;

use super::Native;

macro_rules! values {
    ($($type:ty),* $(,)?) => {$(
        // SAFETY: The archive has all bits of the value, or all that tell it from others. The type
        // has no interior mutability.
        unsafe impl Native for $type {}
    )*};
}

values! {
    (), bool, char, f32, f64,
    u8, u16, u32, u64, u128,
    i8, i16, i32, i64, i128,
    NonZero<u8>, NonZero<u16>, NonZero<u32>, NonZero<u64>, NonZero<u128>,
    NonZero<i8>, NonZero<i16>, NonZero<i32>, NonZero<i64>, NonZero<i128>,
    str, String, CString, Duration, RangeFull,
    IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6,
}

// The archived numbers archive as themselves.
values! {
    rend::char_le, rend::f32_le, rend::f64_le,
    rend::u16_le, rend::u32_le, rend::u64_le, rend::u128_le,
    rend::i16_le, rend::i32_le, rend::i64_le, rend::i128_le,
    rend::NonZeroU16_le, rend::NonZeroU32_le, rend::NonZeroU64_le, rend::NonZeroU128_le,
    rend::NonZeroI16_le, rend::NonZeroI32_le, rend::NonZeroI64_le, rend::NonZeroI128_le,
}

#[cfg(feature = "bytes")]
values!(bytes::Bytes);

#[cfg(feature = "uuid")]
values!(uuid::Uuid);

// SAFETY: The type has no value to lose or to change.
unsafe impl<T: ?Sized> Native for PhantomData<T> {}
