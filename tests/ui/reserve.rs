//! Reserving a type that cannot be filled in place names the reason.

use packetring::{Publisher, Tail, packet};

#[packet]
struct Flagged {
    flag: bool,
}

#[packet]
enum Choice {
    A,
    B,
}

fn flagged(out: &mut Publisher<Flagged>) {
    let _ = out.reserve();
}

fn choice(out: &mut Publisher<Choice>) {
    let _ = out.try_reserve();
}

fn text(out: &mut Publisher<String>) {
    let _ = out.reserve();
}

fn tail(out: &mut Publisher<Tail<u8, char>>) {
    let _ = out.reserve_tail(3);
}

#[packet]
struct Borrowing<'a> {
    text: std::borrow::Cow<'a, str>,
}

fn main() {}
