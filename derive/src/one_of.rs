//! `#[one_of]`: an enum of packet types becomes an enum of packets in place.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{
    Attribute, Error, Fields, Ident, ItemEnum, Path, Result, Type, Variant, parse2,
    punctuated::Punctuated,
};

use crate::{args, fields::plain};

pub(crate) fn expand(args: TokenStream, tokens: TokenStream) -> TokenStream {
    accepted(args, tokens).unwrap_or_else(Error::into_compile_error)
}

fn accepted(args: TokenStream, tokens: TokenStream) -> Result<TokenStream> {
    let packetring = args::crate_path(args)?;
    let item: ItemEnum = parse2(tokens).map_err(|error| {
        Error::new(error.span(), "only an enum of packet types can be a choice of packets")
    })?;
    let choices = choices(&item)?;
    let (view, implementation) =
        (view(&item, &choices, &packetring), implement(&item.ident, &choices, &packetring));
    Ok(quote!(#view #implementation))
}

/// A variant and the packet type that it stands for.
struct Choice<'a> {
    variant: &'a Variant,
    packet: &'a Type,
}

fn choices(item: &ItemEnum) -> Result<Vec<Choice<'_>>> {
    if !item.generics.params.is_empty() {
        return Err(Error::new_spanned(
            &item.generics,
            "a choice of packets has no parameters: name the packet types",
        ));
    }
    if item.variants.is_empty() {
        return Err(Error::new_spanned(
            &item.ident,
            "a choice of packets needs a variant such as `Job(Job)`",
        ));
    }
    let choices: Vec<_> = item.variants.iter().map(choice).collect::<Result<_>>()?;
    for (i, later) in choices.iter().enumerate() {
        if choices.iter().take(i).any(|earlier| same(earlier.packet, later.packet)) {
            return Err(Error::new_spanned(
                later.packet,
                "another variant holds this packet type already",
            ));
        }
    }
    Ok(choices)
}

/// Whether two types are written alike.
fn same(one: &Type, other: &Type) -> bool {
    quote!(#one).to_string() == quote!(#other).to_string()
}

fn choice(variant: &Variant) -> Result<Choice<'_>> {
    let refuse =
        || Error::new_spanned(variant, "each variant holds one packet type, as in `Job(Job)`");
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

/// `Clone` and `Copy`, unless the user derives them.
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
    let message = format!("two variants of `{}` hold the same packet type", plain(name));
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
                ::std::string::String::from("none of these types")
            }
        }

        const _: () = ::core::assert!(
            #module::all_distinct(<#name<'static> as #module::OneOf<'static>>::TYPES),
            #message,
        );
    }
}
