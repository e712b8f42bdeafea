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

#[packet]
struct Padded {
    small: u8,
    large: u32,
}

#[packet]
struct Outer {
    first: u32,
    padded: Padded,
}

#[packet]
struct WithTuple {
    large: u64,
    tuple: ([u8; 3], u16),
}

fn padded(out: &mut Publisher<Padded>, tails: &mut Publisher<Tail<u32, Padded>>) {
    let _ = out.reserve();
    let _ = tails.reserve_tail(3);
}

fn outer(out: &mut Publisher<Outer>, with_tuple: &mut Publisher<WithTuple>) {
    let _ = out.reserve();
    let _ = with_tuple.reserve();
}

fn tail(out: &mut Publisher<Tail<u8, char>>) {
    let _ = out.reserve_tail(3);
}

#[packet]
struct Borrowing<'a> {
    text: std::borrow::Cow<'a, str>,
}

fn main() {}
