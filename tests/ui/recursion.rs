//! Recursive types that have no finite description, or whose description would not be their own.

use packetring::packet;
use std::collections::BTreeMap;

type Map = BTreeMap<u32, u32>;

/// The next tree has other parameters.
#[packet]
struct Tree<T> {
    a: T,
    next: Option<Box<Tree<Map>>>,
}

#[packet]
struct Swapped<A, B> {
    a: A,
    b: B,
    next: Vec<Swapped<B, A>>,
}

#[packet]
struct Fixed<const N: usize> {
    a: [u8; N],
    next: Vec<Fixed<3>>,
}

#[packet]
struct Defaulted<T = u8> {
    a: T,
    next: Vec<Defaulted>,
}

#[packet]
enum Nested<T> {
    Leaf(T),
    Deeper(Box<Nested<Box<T>>>),
}

#[packet]
enum Wrapped<T> {
    Leaf(T),
    Deeper(#[rkyv(with = packetring::with::Map<packetring::with::AsBox>)] Vec<Wrapped<(T, T)>>),
}

trait Part {
    type Part;
}

impl Part for Projected {
    type Part = u8;
}

#[packet]
struct Projected {
    part: <Self as Part>::Part,
}

fn main() {}
