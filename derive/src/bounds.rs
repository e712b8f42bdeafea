//! The bounds of rkyv's derives, written at the fields.
//!
//! rkyv bounds each field at the place of its derive. A field that cannot be part of a packet would
//! then cause an error per derive, at the attribute. Bounds with the place of the field are equal
//! in all derives, so the compiler reports them once, there.
//!
//! Limits: a type whose author chose bounds keeps those, and so does a recursive type. Where the
//! type is a part of the field's type, as in a `Vec`, or belongs to a wrapper, `Portable` reports
//! it once more: rkyv's derive leaves no choice of that bound.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::{Item, parse_quote};

use crate::{describe::Subject, packet::all_fields};

/// Returns the attribute with the bounds, and sets `omit_bounds` on the fields of the item.
pub(crate) fn emit(subject: &Subject<'_>, item: &mut Item) -> TokenStream {
    let attrs = subject.attrs;
    let is_chosen = attrs.serialize_bounds
        || attrs.deserialize_bounds
        || attrs.bytecheck.is_some()
        || !attrs.archive_bounds.is_empty()
        || subject.parts().any(|part| part.archive_bound.is_none());
    if is_chosen {
        return TokenStream::new();
    }
    for field in all_fields(item).into_iter().flatten() {
        field.attrs.push(parse_quote!(#[rkyv(omit_bounds)]));
    }
    let packetring = subject.packetring;
    let rkyv = quote!(#packetring::rkyv);
    let (mut archive, mut serialize, mut deserialize, mut check) = (vec![], vec![], vec![], vec![]);
    for part in subject.parts() {
        let (ty, span, archived) = (&part.native, part.span, &part.archived);
        let rkyv = part.located(rkyv.clone());
        match &part.with {
            Some(with) => {
                archive.push(quote_spanned!(span=> #with: #rkyv::with::ArchiveWith<#ty>));
                serialize.push(quote_spanned!(span=> #with: #rkyv::with::SerializeWith<#ty, __S>));
                deserialize.push(quote_spanned! {
                    span=> #with: #rkyv::with::DeserializeWith<#archived, #ty, __D>
                });
            }
            None => {
                archive.push(quote_spanned!(span=> #ty: #rkyv::Archive));
                serialize.push(quote_spanned!(span=> #ty: #rkyv::Serialize<__S>));
                deserialize.push(quote_spanned!(span=> #archived: #rkyv::Deserialize<#ty, __D>));
            }
        }
        check.push(quote_spanned!(span=> #archived: #rkyv::bytecheck::CheckBytes<__C>));
    }
    quote! {
        #[rkyv(
            archive_bounds(#(#archive),*),
            serialize_bounds(#(#serialize),*),
            deserialize_bounds(#(#deserialize),*),
            bytecheck(bounds(#(#check),*))
        )]
    }
}
