//! Layouts that cannot be read in place, and rkyv attributes that are not allowed.

#[packetring::packet]
#[repr(C, align(64))]
struct Aligned(u8);

#[packetring::packet]
#[repr(packed)]
struct Packed(u8);

#[packetring::packet]
union Either {
    a: u32,
    b: f32,
}

#[packetring::packet]
fn function() {}

#[packetring::packet]
#[rkyv(as = u32)]
struct As(u32);

#[packetring::packet]
#[rkyv(remote = u32)]
struct Remote(u32);

#[packetring::packet]
#[rkyv(crate = packetring::rkyv)]
struct Crate(u32);

#[packetring::packet]
#[rkyv(attr(repr(align(32))))]
struct Attr(u32);

#[packetring::packet]
#[derive(packetring::rkyv::Archive)]
struct Derived(u32);

#[packetring::packet(path = x)]
struct Argument(u32);

fn main() {}
