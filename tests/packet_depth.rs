//! Values of recursive types: 62 pointers within each other can be sent and read. A deeper value is
//! an error, however deep it is.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

use std::{collections::BTreeMap, mem::ManuallyDrop};

use packetring::{Packet, Received, Ring, SendError, packet, packet::Unpack};

#[packet]
enum List {
    End,
    More(Box<List>),
}

#[packet]
#[derive(Default)]
struct Tree {
    kids: Vec<Tree>,
}

#[packet]
#[derive(Default)]
struct Chain<T> {
    value: T,
    next: Option<Box<Self>>,
}

#[packet]
#[derive(Default)]
struct Mapped {
    #[rkyv(with = packetring::with::Map<packetring::with::AsBox>)]
    listed: Vec<Mapped>,
    #[rkyv(omit_bounds)]
    named: BTreeMap<u8, Mapped>,
}

/// The pointers within each other that a packet can have.
const LIMIT: usize = 62;

/// A value with this number of levels, by a step that adds a level. Dropping a deep value would
/// overflow the stack.
fn nested<T>(levels: usize, end: T, step: fn(T) -> T) -> ManuallyDrop<T> {
    ManuallyDrop::new((0..levels).fold(end, |inner, _| step(inner)))
}

fn check<T: Packet + Unpack>(limit: usize, end: fn() -> T, step: fn(T) -> T) {
    let ring = Ring::builder().heap().unwrap();
    let mut out = ring.publisher::<T>().unwrap();
    let mut all = ring.subscriber::<T>().unwrap();
    for levels in [0, 1, limit] {
        out.send(&*nested(levels, end(), step)).unwrap();
        let _ = ManuallyDrop::new(Received::unpack(all.recv().unwrap()).unwrap());
    }
    for levels in [limit + 1, limit + 2, limit + 3, 1000, 300_000] {
        let error = out.send(&*nested(levels, end(), step)).unwrap_err();
        assert!(matches!(error, SendError::Unserializable(_)), "{levels}: {error}");
    }
    out.send(&end()).unwrap();
    all.recv().unwrap();
}

#[test]
fn a_value_is_sent_up_to_the_limit_of_nesting() {
    check(LIMIT, || List::End, |inner| List::More(Box::new(inner)));
    // The innermost list is empty, and a pointer too.
    check(LIMIT - 1, Tree::default, |inner| Tree { kids: vec![inner] });
    check(LIMIT, Chain::<u8>::default, |inner| Chain { value: 1, next: Some(Box::new(inner)) });
    let named = |inner| Mapped { named: BTreeMap::from([(1, inner)]), listed: Vec::new() };
    check(LIMIT - 1, Mapped::default, named);
}

#[test]
fn two_pointers_for_each_level_count_twice() {
    let listed = |inner| Mapped { listed: vec![inner], named: BTreeMap::new() };
    check(LIMIT / 2 - 1, Mapped::default, listed);
}
