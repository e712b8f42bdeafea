//! Types behind an alias, which the macro cannot see: the traits refuse them.

type Table = std::collections::HashMap<u32, u32>;

#[packetring::packet]
struct Hidden {
    table: Table,
}

fn send<T: packetring::Packet>(_: &T) {}

struct Plain;

fn main() {
    send(&Plain);
    send(&"borrowed");
}
