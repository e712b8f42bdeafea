//! A choice of a type without `#[packet]`: the first error is at the variant, and names the cure.

use packetring::one_of;

struct Plain {
    x: u32,
}

#[one_of]
enum Choice {
    Number(u32),
    Plain(Plain),
}

fn main() {}
