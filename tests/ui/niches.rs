//! rkyv's trait `Niching` is safe, and rkyv believes it: an implementation by hand could call a
//! value absent when it is checked and present when it is read.

use packetring::{
    Packet, packet,
    rkyv::{Place, niche::niching::Niching},
    with::{DefaultNiche, MapNiche, Identity},
};

#[packet]
struct Mine {
    text: String,
}

impl Niching<ArchivedMine> for DefaultNiche {
    unsafe fn is_niched(_: *const ArchivedMine) -> bool {
        std::time::Instant::now().elapsed().subsec_nanos() % 2 == 0
    }

    fn resolve_niched(_: Place<ArchivedMine>) {}
}

#[packet]
struct Direct {
    #[rkyv(with = DefaultNiche)]
    field: Option<Mine>,
}

#[packet]
struct Mapped {
    #[rkyv(with = MapNiche<Identity, DefaultNiche>)]
    field: Option<Mine>,
}

#[packet]
struct Provides {
    #[rkyv(niche)]
    field: Mine,
}

#[packet]
struct Through {
    #[rkyv(with = DefaultNiche)]
    field: Option<Provides>,
}

fn main() {
    fn is_packet<T: Packet>() {}
    is_packet::<Direct>();
    is_packet::<Mapped>();
    is_packet::<Through>();
}
