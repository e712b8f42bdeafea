//! A twin with the name of another item: the error is at the argument, and another name is the
//! cure.

use packetring::packet;

#[packet(borrowed)]
struct Chat {
    name: String,
}

struct ChatRef;

#[packet(borrowed = Taken)]
struct Line {
    text: String,
}

struct Taken;

fn main() {}
