//! Emits `AnyBits` for the archived form of a struct, on the condition that all of its fields have
//! it. A struct of numbers must have no padding either.
//!
//! Limit: the padding of other structs is checked where they are reserved, which reports it without
//! a place in the user's code. A constant in a bound cannot depend on a parameter, and would report
//! a field without `#[packet]` once more.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Type, parse_quote};

use crate::{
    describe::{Body, Subject},
    fields::Part,
};

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
    let is_number = |part: &Part| !part.wrapped && is_plain(&part.native);
    if subject.generics.params.is_empty() && parts.iter().all(is_number) {
        let module = quote!(#packetring::packet::describe);
        clause.predicates.push(parse_quote! {
            #module::Gaps<'__packet, {
                <#archived as #module::Describe>::SHAPE.has_gaps()
            }>: #module::NoPadding<#archived>
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

/// Returns true for numbers, and for arrays and tuples of them.
fn is_plain(ty: &Type) -> bool {
    match ty {
        Type::Paren(inner) => is_plain(&inner.elem),
        Type::Group(inner) => is_plain(&inner.elem),
        Type::Array(array) => is_plain(&array.elem),
        Type::Tuple(tuple) => tuple.elems.iter().all(is_plain),
        Type::Path(path) if path.qself.is_none() => {
            path.path.get_ident().is_some_and(|name| NUMBERS.iter().any(|number| name == number))
        }
        _ => false,
    }
}

const NUMBERS: &[&str] =
    &["u8", "u16", "u32", "u64", "u128", "i8", "i16", "i32", "i64", "i128", "f32", "f64"];
