//! Hash tables, also nested within a type.

use std::collections::{HashMap, HashSet};

struct IndexMap<K, V>(K, V);

#[packetring::packet]
struct Tables {
    #[rkyv(with = packetring::with::AsVec)]
    fine: HashMap<u32, u32>,
    map: HashMap<String, u32>,
    nested: Vec<Option<std::collections::HashSet<u32>>>,
    indexed: IndexMap<u8, u8>,
}

#[packetring::packet]
enum Choice {
    Set(HashSet<u32>),
    Fine(u32),
}

fn main() {}
