//! The borrowed form of a field's type.

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::{GenericArgument, PathArguments, Type};

/// Where a borrowed form stands.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Place {
    /// A field, or a part of an option or tuple in a field.
    Alone,
    /// An element of a list.
    Element,
}

/// Returns the borrowed form of a type. Written out for the types whose names are known, so that
/// documentation and errors show `&str` instead of a projection.
pub(super) fn form(ty: &Type, place: Place, module: &TokenStream, span: Span) -> TokenStream {
    let element = |ty: &Type| form(ty, Place::Element, module, span);
    match ty {
        Type::Paren(inner) => return form(&inner.elem, place, module, span),
        Type::Group(inner) => return form(&inner.elem, place, module, span),
        Type::Tuple(tuple) => {
            let parts = tuple.elems.iter().map(|part| form(part, place, module, span));
            return quote_spanned!(span=> (#(#parts,)*));
        }
        Type::Array(array) => {
            let (part, len) = (element(&array.elem), &array.len);
            return match place {
                Place::Alone => quote_spanned!(span=> &'packet [#part; #len]),
                Place::Element => quote_spanned!(span=> [#part; #len]),
            };
        }
        Type::Path(path) if path.qself.is_none() && path.path.segments.len() == 1 => {
            let name = path.path.segments[0].ident.to_string();
            match (name.as_str(), argument(&path.path.segments[0].arguments)) {
                ("String", None) => return quote_spanned!(span=> &'packet str),
                ("Vec", Some(part)) => {
                    let part = element(part);
                    return quote_spanned!(span=> &'packet [#part]);
                }
                ("Option", Some(part)) => {
                    let (part, option) =
                        (form(part, place, module, span), &path.path.segments[0].ident);
                    return quote_spanned!(span=> #option<#part>);
                }
                (name, None) if NUMBERS.contains(&name) => return quote!(#ty),
                _ => {}
            }
        }
        _ => {}
    }
    match place {
        Place::Alone => quote_spanned!(span=> <#ty as #module::Borrowable>::Borrowed<'packet>),
        Place::Element => quote_spanned!(span=> <#ty as #module::Borrowable>::Element<'packet>),
    }
}

/// Types that are borrowed by value.
const NUMBERS: &[&str] = &[
    "bool", "char", "u8", "u16", "u32", "u64", "u128", "i8", "i16", "i32", "i64", "i128", "f32",
    "f64",
];

/// Returns the only type argument.
fn argument(arguments: &PathArguments) -> Option<&Type> {
    let PathArguments::AngleBracketed(list) = arguments else { return None };
    match list.args.first() {
        Some(GenericArgument::Type(ty)) if list.args.len() == 1 => Some(ty),
        _ => None,
    }
}
