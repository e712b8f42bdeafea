//! A field of a type without `#[packet]`: the first error is at the field and names the cure.

use packetring::{packet, with::Via};

struct Plain {
    x: u32,
}

#[packet]
struct Outer {
    id: u32,
    inner: Plain,
}

struct NoConversion;

#[packet]
struct Converted {
    #[rkyv(with = Via<NoConversion>)]
    inner: u32,
}

fn main() {}
