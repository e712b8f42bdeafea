//! Recursive types that the macro does not see as recursive: the compiler reports a cycle.

use packetring::packet;

type Next = Option<Box<Aliased>>;

#[packet]
struct Aliased {
    #[rkyv(omit_bounds)]
    next: Next,
}

#[packet]
struct Egg {
    #[rkyv(omit_bounds)]
    hen: Vec<Hen>,
}

#[packet]
struct Hen {
    #[rkyv(omit_bounds)]
    eggs: Vec<Egg>,
}

type Other = Vec<Generic<std::collections::BTreeMap<u8, u8>>>;

#[packet]
struct Generic<T> {
    value: T,
    #[rkyv(omit_bounds)]
    next: Other,
}

mod inside {
    #[packetring::packet]
    pub struct Path<T> {
        value: T,
        #[rkyv(omit_bounds)]
        next: Vec<super::inside::Path<String>>,
    }
}

fn send<T: packetring::Packet>() {}

fn main() {
    send::<Aliased>();
    send::<Egg>();
    send::<Generic<u8>>();
    send::<inside::Path<u8>>();
}

/// Another type of this name: so the compiler names the option of the standard library by its whole
/// path, whichever crates are linked.
#[allow(dead_code)]
mod same_name {
    pub struct Option;
}
