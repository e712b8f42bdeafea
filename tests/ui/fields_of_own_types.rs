//! A field of a type without `#[packet]`: the errors are at the field, and the first one names the
//! cure.

use packetring::{packet, with::Via};

struct Plain {
    x: u32,
}

#[packet]
struct Outer {
    id: u32,
    inner: Plain,
}

#[packet]
enum Choice {
    Nothing,
    List { items: Vec<Plain> },
}

struct NoConversion;

#[packet]
struct Converted {
    #[rkyv(with = Via<NoConversion>)]
    inner: u32,
}

fn main() {}
