//! Emits `AnyBits` for the archived form of a struct, on the condition that all of its fields have
//! it.

use proc_macro2::TokenStream;
use quote::quote;
use syn::parse_quote;

use crate::describe::{Body, Subject};

/// Returns the implementation. Empty for enums, for types with their own check, and for recursive
/// types.
pub(crate) fn emit(subject: &Subject<'_>) -> TokenStream {
    let Body::Struct(parts) = &subject.body else { return TokenStream::new() };
    if subject.attrs.verifies() || parts.iter().any(|part| part.recursive) {
        return TokenStream::new();
    }
    let (archived, packetring) = (subject.archived, subject.packetring);
    let mut clause = subject.existence();
    for part in parts {
        let archived = &part.archived;
        // `If` makes the bound conditional: without it, a field that is not `AnyBits` is an error.
        clause.predicates.push(parse_quote! {
            #packetring::packet::describe::If<'__packet, #archived>: #packetring::packet::AnyBits
        });
    }
    let mut generics = subject.generics.clone();
    generics.params.insert(0, parse_quote!('__packet));
    let (impl_generics, _, _) = generics.split_for_impl();
    let (_, ty_generics, _) = subject.generics.split_for_impl();
    quote! {
        // SAFETY: The struct consists of its fields and of padding. Any bytes are a valid value of
        // each field, and the user added no further check.
        #[automatically_derived]
        unsafe impl #impl_generics #packetring::packet::AnyBits for #archived #ty_generics #clause {}
    }
}
