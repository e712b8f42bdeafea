//! The attribute macros of `packetring`: `#[packet]` defines a packet type, `#[one_of]` a choice of
//! them.
//!
//! Macros see tokens, not types. The bounds of the emitted implementations check the rest.

use proc_macro::TokenStream;

mod any_bits;
mod args;
mod borrowed;
mod bounds;
mod derived;
mod describe;
mod fields;
mod one_of;
mod packet;
mod refuse;
mod rkyv_attrs;
mod self_reference;

#[allow(missing_docs, reason = "`packetring` documents it at the re-export")]
#[proc_macro_attribute]
pub fn packet(args: TokenStream, item: TokenStream) -> TokenStream {
    packet::expand(args.into(), item.into()).into()
}

#[allow(missing_docs, reason = "`packetring` documents it at the re-export")]
#[proc_macro_attribute]
pub fn one_of(args: TokenStream, item: TokenStream) -> TokenStream {
    one_of::expand(args.into(), item.into()).into()
}
