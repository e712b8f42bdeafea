//! `#[packet]`: adds rkyv's derives, and describes the archived type that they create.
//!
//! A refused item is emitted unchanged, without the derives. So the compiler and editors still know
//! the type, and the reason for the refusal is the only error.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::{
    Attribute, Error, Fields, Generics, Ident, Item, Path, Result, Type, parse_quote, parse2,
};

use crate::{
    any_bits,
    args::Args,
    borrowed, bounds, derived,
    describe::{Arm, Body, Subject},
    fields::{Part, plain},
    refuse,
    rkyv_attrs::{self, FieldAttrs, ItemAttrs},
    self_reference::SelfReferences,
};

pub(crate) fn expand(args: TokenStream, tokens: TokenStream) -> TokenStream {
    let item = match parse2::<Item>(tokens) {
        Ok(item) => item,
        Err(error) => return error.into_compile_error(),
    };
    accepted(args, &item).unwrap_or_else(|error| refused(item, &error))
}

fn accepted(args: TokenStream, item: &Item) -> Result<TokenStream> {
    let args = Args::parse(args)?;
    refuse::item(item)?;
    match item {
        Item::Struct(inner) => emit(item, &inner.ident, &inner.generics, &inner.attrs, &args),
        Item::Enum(inner) => emit(item, &inner.ident, &inner.generics, &inner.attrs, &args),
        other => Err(Error::new_spanned(other, refuse::NOT_A_TYPE)),
    }
}

fn emit(
    item: &Item,
    name: &Ident,
    generics: &Generics,
    attrs: &[Attribute],
    args: &Args,
) -> Result<TokenStream> {
    let packetring = &args.packetring;
    let item_attrs = attrs;
    let attrs = ItemAttrs::parse(item_attrs)?;
    let (_, ty_generics, _) = generics.split_for_impl();
    let full: Type = parse_quote!(#name #ty_generics);
    let own = SelfReferences { name, full: &full, packetring };
    let archived = match &attrs.archived {
        Some(archived) => archived.clone(),
        None => format_ident!("Archived{}", plain(name), span = name.span()),
    };
    let body = body(item, &own)?;
    let subject = Subject { name, archived: &archived, generics, attrs: &attrs, packetring, body };
    let recursive = subject.parts().any(|part| part.recursive);
    let bounds = if recursive { recursion_bounds(&attrs, packetring) } else { quote!() };
    let (describe, any_bits) = (subject.describe(), any_bits::emit(&subject));
    let native = subject.native();
    let derived = derived::emit(&subject, item_attrs);
    let borrowed = borrowed::emit(&subject, item, args.twin.as_ref())?;
    let mut item = with_nesting(item, &own)?;
    let field_bounds = bounds::emit(&subject, &mut item);
    // `Native` comes first, so that its errors do: they point at the field and name the cure.
    Ok(quote! {
        #native
        #[derive(#packetring::rkyv::Archive, #packetring::rkyv::Serialize, #packetring::rkyv::Deserialize)]
        #[rkyv(crate = #packetring::rkyv)]
        #bounds
        #field_bounds
        #item
        #describe
        #any_bits
        #derived
        #borrowed
    })
}

fn body<'a>(item: &'a Item, own: &SelfReferences<'_>) -> Result<Body<'a>> {
    match item {
        Item::Enum(item) => {
            let arm = |variant: &'a syn::Variant| {
                Ok(Arm { variant, parts: Part::all(&variant.fields, own)? })
            };
            item.variants.iter().map(arm).collect::<Result<_>>().map(Body::Enum)
        }
        Item::Struct(item) => Part::all(&item.fields, own).map(Body::Struct),
        _ => Ok(Body::Struct(Vec::new())),
    }
}

/// Returns the bounds that rkyv cannot infer for a recursive type.
fn recursion_bounds(attrs: &ItemAttrs, packetring: &Path) -> TokenStream {
    let rkyv = quote!(#packetring::rkyv);
    let fallible = quote!(#rkyv::rancor::Fallible>::Error: #rkyv::rancor::Source);
    let serialize = (!attrs.serialize_bounds).then(|| quote! {
        #[rkyv(serialize_bounds(__S: #rkyv::ser::Writer + #rkyv::ser::Allocator, <__S as #fallible))]
    });
    let deserialize = (!attrs.deserialize_bounds).then(|| {
        quote! {
            #[rkyv(deserialize_bounds(<__D as #fallible))]
        }
    });
    let check = attrs.bytecheck.is_none().then(|| {
        quote! {
            #[rkyv(bytecheck(bounds(__C: #rkyv::validation::ArchiveContext, <__C as #fallible)))]
        }
    });
    quote!(#serialize #deserialize #check)
}

/// Returns the item with `omit_bounds` and a count of the nesting on its recursive fields.
fn with_nesting(item: &Item, own: &SelfReferences<'_>) -> Result<Item> {
    let mut item = item.clone();
    let packetring = own.packetring;
    for fields in all_fields(&mut item) {
        for field in fields {
            let attrs = FieldAttrs::parse(&field.attrs)?;
            let in_with = attrs.with.as_ref().is_some_and(|with| own.with_placeholders(with).1);
            if !in_with && !own.with_placeholders(&field.ty).1 {
                continue;
            }
            rkyv_attrs::remove_with(&mut field.attrs)?;
            let with = attrs.with.unwrap_or_else(|| parse_quote!(#packetring::with::Identity));
            field.attrs.push(parse_quote!(#[rkyv(with = #packetring::with::Nested<#with>)]));
            if !attrs.omit_bounds {
                field.attrs.push(parse_quote!(#[rkyv(omit_bounds)]));
            }
        }
    }
    Ok(item)
}

/// Returns the item without the attributes that only rkyv's derives understand, and the errors.
fn refused(mut item: Item, error: &Error) -> TokenStream {
    let keep =
        |attr: &Attribute| !attr.path().is_ident("rkyv") && !attr.path().is_ident("cfg_attr");
    for fields in all_fields(&mut item) {
        for field in fields {
            field.attrs.retain(keep);
        }
    }
    match &mut item {
        Item::Struct(item) => item.attrs.retain(keep),
        Item::Enum(item) => item.attrs.retain(keep),
        Item::Union(item) => item.attrs.retain(keep),
        _ => {}
    }
    let error = error.to_compile_error();
    quote!(#item #error)
}

pub(crate) fn all_fields(item: &mut Item) -> Vec<&mut Fields> {
    match item {
        Item::Struct(item) => vec![&mut item.fields],
        Item::Enum(item) => item.variants.iter_mut().map(|variant| &mut variant.fields).collect(),
        _ => Vec::new(),
    }
}
