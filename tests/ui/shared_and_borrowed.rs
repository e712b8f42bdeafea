//! References and pointers: a packet owns its data.

use std::{borrow::Cow, rc::Rc, sync::{Arc, Weak}};

#[packetring::packet]
struct Shared {
    rc: Rc<u32>,
    arc: Option<Arc<str>>,
    weak: Weak<u32>,
    raw: *const u8,
    call: fn(u32) -> u32,
    object: Box<dyn Send>,
    text: &'static str,
    cow: Cow<'static, str>,
}

#[packetring::packet]
struct Borrowing<'a> {
    #[rkyv(with = packetring::with::InlineAsBox)]
    text: &'a str,
}

fn main() {}
