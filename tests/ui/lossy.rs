//! Types that rkyv archives with loss. The archived types alone look sound.

use packetring::{Packet, Tail, packet, with};
use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    num::{NonZeroIsize, NonZeroUsize},
    ops::{Bound, Range, RangeInclusive},
    sync::{Mutex, atomic::AtomicUsize},
};

fn is_packet<T: Packet>() {}

type Count = usize;

#[packet]
struct Generic<T> {
    value: Vec<T>,
}

#[packet]
struct Marked<T> {
    value: std::marker::PhantomData<T>,
}

#[packet]
struct Field0 {
    plain: Count,
}

#[packet]
struct Field1 {
    nested: Vec<Option<Count>>,
}

#[packet]
struct Field2 {
    instance: Generic<Count>,
}

#[packet]
struct Field3 {
    #[rkyv(with = with::Identity)]
    same: usize,
}

#[packet]
struct Field4 {
    #[rkyv(with = with::AsBox)]
    boxed: NonZeroUsize,
}

#[packet]
struct Field5 {
    #[rkyv(with = with::AsVec)]
    map: HashMap<usize, u8>,
}

#[packet]
struct Field6 {
    #[rkyv(with = with::AsVec)]
    set: HashSet<isize>,
}

#[packet]
struct Field7 {
    #[rkyv(with = with::Map<with::Identity>)]
    mapped: Option<isize>,
}

#[packet]
struct Field8 {
    #[rkyv(with = with::Niche)]
    niche: Option<NonZeroUsize>,
}

#[packet]
struct Field9 {
    #[rkyv(with = with::Unshare)]
    shared: std::rc::Rc<usize>,
}

#[packet]
struct Field10 {
    #[rkyv(with = with::AtomicLoad<with::Relaxed>)]
    atomic: AtomicUsize,
}

#[packet]
struct Field11 {
    #[rkyv(with = with::Lock)]
    locked: Mutex<usize>,
}

#[packet]
enum Recursive {
    Leaf(u8),
    Inner(Vec<(Recursive, Count)>),
}

fn main() {
    is_packet::<usize>();
    is_packet::<isize>();
    is_packet::<NonZeroUsize>();
    is_packet::<NonZeroIsize>();
    is_packet::<(u8, usize)>();
    is_packet::<[usize; 3]>();
    is_packet::<Vec<usize>>();
    is_packet::<VecDeque<usize>>();
    is_packet::<Box<usize>>();
    is_packet::<Box<[usize]>>();
    is_packet::<Option<usize>>();
    is_packet::<Result<u8, usize>>();
    is_packet::<BTreeMap<usize, u8>>();
    is_packet::<Range<usize>>();
    is_packet::<Bound<usize>>();
    is_packet::<RangeInclusive<u32>>();
    is_packet::<Generic<usize>>();
    is_packet::<Marked<usize>>();
    is_packet::<Tail<u8, usize>>();
    is_packet::<Tail<usize, u8>>();
}

/// Another type of this name: so the compiler names the option of the standard library by its whole
/// path, whichever crates are linked.
#[allow(dead_code)]
mod same_name {
    pub struct Option;
}
