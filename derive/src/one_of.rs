//! `#[one_of]`: turns an enum of packet types into an enum of references to packets.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::{
    Attribute, Error, Fields, Ident, ItemEnum, Path, Result, Type, Variant, parse2,
    punctuated::Punctuated, spanned::Spanned,
};

use crate::{
    args,
    fields::{located_at, plain},
};

pub(crate) fn expand(args: TokenStream, tokens: TokenStream) -> TokenStream {
    accepted(args, tokens).unwrap_or_else(Error::into_compile_error)
}

fn accepted(args: TokenStream, tokens: TokenStream) -> Result<TokenStream> {
    let packetring = args::crate_path(args)?;
    let item: ItemEnum = parse2(tokens).map_err(|error| {
        Error::new(error.span(), "`#[one_of]` on another item: expected an enum of packet types")
    })?;
    let choices = choices(&item)?;
    let (view, implementation) =
        (view(&item, &choices, &packetring), implement(&item.ident, &choices, &packetring));
    let demand = demand(&choices, &packetring);
    Ok(quote!(#demand #view #implementation))
}

/// Demands that the types are packets. It comes first, so that its errors do: they point at the
/// variant and name the cure.
fn demand(choices: &[Choice<'_>], packetring: &Path) -> TokenStream {
    let bounds = choices.iter().map(|Choice { packet, .. }| {
        let span = packet.span();
        let module = located_at(span, quote!(#packetring::packet));
        quote_spanned!(span=> #packet: #module::Native)
    });
    quote! {
        const _: () = {
            #[allow(dead_code, reason = "it states bounds only")]
            struct Demand where #(#bounds),*;
        };
    }
}

/// A variant and its packet type.
struct Choice<'a> {
    variant: &'a Variant,
    packet: &'a Type,
}

fn choices(item: &ItemEnum) -> Result<Vec<Choice<'_>>> {
    if !item.generics.params.is_empty() {
        return Err(Error::new_spanned(
            &item.generics,
            "`#[one_of]` on a generic enum: remove the parameters and name the packet types",
        ));
    }
    if item.variants.is_empty() {
        return Err(Error::new_spanned(
            &item.ident,
            "`#[one_of]` on an enum without variants: add a variant, as in `Job(Job)`",
        ));
    }
    let choices: Vec<_> = item.variants.iter().map(choice).collect::<Result<_>>()?;
    for (i, later) in choices.iter().enumerate() {
        if choices.iter().take(i).any(|earlier| same(earlier.packet, later.packet)) {
            return Err(Error::new_spanned(
                later.packet,
                "duplicate packet type: already used by an earlier variant",
            ));
        }
    }
    Ok(choices)
}

/// Returns true if two types consist of the same tokens.
fn same(one: &Type, other: &Type) -> bool {
    quote!(#one).to_string() == quote!(#other).to_string()
}

fn choice(variant: &Variant) -> Result<Choice<'_>> {
    let refuse = || {
        Error::new_spanned(
            variant,
            "invalid variant: write one packet type and no discriminant, as in `Job(Job)`",
        )
    };
    if variant.discriminant.is_some() {
        return Err(refuse());
    }
    match &variant.fields {
        Fields::Unnamed(fields) if fields.unnamed.len() == 1 => {
            Ok(Choice { variant, packet: &fields.unnamed[0].ty })
        }
        _ => Err(refuse()),
    }
}

fn view(item: &ItemEnum, choices: &[Choice<'_>], packetring: &Path) -> TokenStream {
    let ItemEnum { attrs, vis, ident, .. } = item;
    let derives = missing_derives(attrs);
    let variants = choices.iter().map(|Choice { variant, packet }| {
        let Variant { attrs, ident, .. } = variant;
        quote!(#(#attrs)* #ident(&'packet #packetring::rkyv::Archived<#packet>))
    });
    quote! {
        #(#attrs)*
        #[derive(#(#derives),*)]
        #vis enum #ident<'packet> { #(#variants),* }
    }
}

/// Returns `Clone` and `Copy`, unless the user derives them.
fn missing_derives(attrs: &[Attribute]) -> Vec<Path> {
    let derives = attrs.iter().filter(|attr| attr.path().is_ident("derive"));
    let given: Vec<Path> = derives
        .filter_map(|attr| {
            attr.parse_args_with(Punctuated::<Path, syn::Token![,]>::parse_terminated).ok()
        })
        .flatten()
        .collect();
    let wanted = [
        ("Clone", syn::parse_quote!(::core::clone::Clone)),
        ("Copy", syn::parse_quote!(::core::marker::Copy)),
    ];
    wanted
        .into_iter()
        .filter(|(name, _)| {
            !given.iter().any(|path| path.segments.last().is_some_and(|last| last.ident == name))
        })
        .map(|(_, path)| path)
        .collect()
}

fn implement(name: &Ident, choices: &[Choice<'_>], packetring: &Path) -> TokenStream {
    let module = quote!(#packetring::packet);
    let packets: Vec<_> = choices.iter().map(|choice| choice.packet).collect();
    let variants = choices.iter().map(|choice| &choice.variant.ident);
    let message = format!("two variants of `{}` have the same packet type", plain(name));
    quote! {
        #[automatically_derived]
        impl<'packet> #module::OneOf<'packet> for #name<'packet> {
            const TYPES: &'static [#module::TypeInfo] = const { &[#(#module::type_of::<#packets>()),*] };

            fn open(
                fingerprint: #module::Fingerprint,
                bytes: &'packet [u8],
            ) -> ::core::result::Result<::core::option::Option<Self>, #module::Invalid> {
                #(
                    if fingerprint == const { #module::fingerprint_of::<#packets>() } {
                        let packet = <#packets as #module::Packet>::validate(bytes)?;
                        return ::core::result::Result::Ok(::core::option::Option::Some(Self::#variants(packet)));
                    }
                )*
                ::core::result::Result::Ok(::core::option::Option::None)
            }

            fn explain(
                fingerprint: #module::Fingerprint,
                bytes: &'packet [u8],
            ) -> ::std::string::String {
                #(
                    if fingerprint == const { #module::fingerprint_of::<#packets>() } {
                        return <#packets as #module::Packet>::explain(bytes);
                    }
                )*
                ::std::string::String::from("fingerprint of none of the packet types")
            }
        }

        const _: () = ::core::assert!(
            #module::all_distinct(<#name<'static> as #module::OneOf<'static>>::TYPES),
            #message,
        );
    }
}
