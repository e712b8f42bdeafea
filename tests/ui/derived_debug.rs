//! `Debug` of an archived type whose field has none: the error names the field's type.

use packetring::packet;

#[packet]
struct ByHand(u8);

impl std::fmt::Debug for ByHand {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("by hand")
    }
}

#[packet]
#[derive(Debug)]
struct Around(ByHand);

fn print(archived: &ArchivedAround) {
    println!("{archived:?}");
}

fn main() {}
