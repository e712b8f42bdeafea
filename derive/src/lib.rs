//! The macros of `packetring`: `#[packet]` makes a type a packet, `#[one_of]` a choice of packets.
//!
//! They read tokens, not types: what only the compiler knows is left to the traits that they implement.

use proc_macro::TokenStream;

mod any_bits;
mod args;
mod describe;
mod fields;
mod mention;
mod one_of;
mod packet;
mod refuse;
mod rkyv_attrs;

// Documented where packetring re-exports it.
#[allow(missing_docs)]
#[proc_macro_attribute]
pub fn packet(args: TokenStream, item: TokenStream) -> TokenStream {
    packet::expand(args.into(), item.into()).into()
}

// Documented where packetring re-exports it.
#[allow(missing_docs)]
#[proc_macro_attribute]
pub fn one_of(args: TokenStream, item: TokenStream) -> TokenStream {
    one_of::expand(args.into(), item.into()).into()
}
