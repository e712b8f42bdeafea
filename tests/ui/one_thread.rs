//! A type whose archive belongs to one thread is not a packet: guards are `Send` and `Sync`.

use packetring::{Batch, packet};
use std::{cell::Cell, marker::PhantomData};

#[packet]
struct Marked {
    mark: PhantomData<Cell<u8>>,
    value: u32,
}

#[packet]
struct Pointer {
    mark: PhantomData<*const u8>,
    value: u32,
}

fn is_sync<T: Sync>() {}
fn is_packet<T: packetring::Packet>() {}

fn main() {
    is_sync::<Batch<'static, Marked>>();
    is_packet::<Pointer>();
    is_packet::<PhantomData<Cell<u8>>>();
}
