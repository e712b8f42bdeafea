//! Emits `Debug` and `PartialEq` of the archived type, if the item derives them.
//!
//! Each implementation depends on the archived fields: if one of them lacks the trait, the archived
//! type lacks it too, and an error appears only where a program uses it. So a packet type may
//! contain types without these traits, as with a `Debug` written by hand.
//!
//! Limit: an attribute macro sees the derives below it only. A derive above `#[packet]` affects the
//! item alone.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::{
    Attribute, Fields, Ident, Meta, Path, Token, WhereClause, parse_quote, punctuated::Punctuated,
};

use crate::{
    describe::{Arm, Body, Subject},
    fields::{Part, plain},
    rkyv_attrs::find,
};

/// Returns the implementations that follow from the derives of the item.
pub(crate) fn emit(subject: &Subject<'_>, attrs: &[Attribute]) -> TokenStream {
    let given = |name: &str| subject.attrs.derives.iter().any(|derive| derive == name);
    let by_rkyv = subject.attrs.compares;
    let mut emitted = print(subject);
    if let Some(condition) = condition(attrs, "Debug")
        && !given("Debug")
    {
        let debug = debug(subject);
        emitted.extend(quote!(#condition #debug));
    }
    if let Some(condition) = condition(attrs, "PartialEq") {
        if !given("PartialEq") && may_compare(subject, Other::Archived) {
            let same = equality(subject, Other::Archived);
            emitted.extend(quote!(#condition #same));
        }
        if !by_rkyv && may_compare(subject, Other::Native) {
            let (native, reverse) = (equality(subject, Other::Native), reverse(subject));
            emitted.extend(quote!(#condition #native #condition #reverse));
        }
    }
    emitted
}

/// Returns the `#[cfg(..)]` under which a trait is derived: empty if always, `None` if never.
pub(crate) fn condition(attrs: &[Attribute], name: &str) -> Option<TokenStream> {
    let mut conditions = Vec::new();
    for attr in attrs {
        if derives(&attr.meta, name) {
            return Some(quote!());
        }
        if attr.path().is_ident("cfg_attr")
            && let Ok(parts) = attr.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated)
            && parts.iter().skip(1).any(|meta| derives(meta, name))
        {
            conditions.extend(parts.first().cloned());
        }
    }
    (!conditions.is_empty()).then(|| quote!(#[cfg(any(#(#conditions),*))]))
}

/// Returns true if an attribute derives the trait of this name.
fn derives(meta: &Meta, name: &str) -> bool {
    let Meta::List(list) = meta else { return false };
    list.path.is_ident("derive")
        && list.parse_args_with(Punctuated::<Path, Token![,]>::parse_terminated).is_ok_and(
            |paths| {
                paths.iter().any(|path| path.segments.last().is_some_and(|last| last.ident == name))
            },
        )
}

/// The right side of a comparison.
#[derive(Clone, Copy)]
enum Other {
    Archived,
    Native,
}

/// Returns false if a recursive field has a type that rkyv cannot compare. Other fields have a
/// bound, which decides.
fn may_compare(subject: &Subject<'_>, other: Other) -> bool {
    let incomparable: &[&str] = match other {
        Other::Archived => &["BTreeSet"],
        Other::Native => &[
            "Duration",
            "IpAddr",
            "Ipv4Addr",
            "Ipv6Addr",
            "SocketAddr",
            "SocketAddrV4",
            "SocketAddrV6",
            "Bound",
        ],
    };
    subject.parts().filter(|part| part.recursive).all(|part| {
        let native = &part.native;
        let has = |name: &&str| find(quote!(#native), name).is_some();
        let is_lost = matches!(other, Other::Native) && part.wrapped;
        !(is_lost || incomparable.iter().any(has))
    })
}

/// Returns the bounds under which a trait exists: that of each field. `of` returns the trait for
/// the tokens of the native type.
///
/// `for<..>` keeps the compiler from evaluating a bound at once, where a false bound would be an
/// error. A recursive field has no bound, which would be cyclic.
fn clause(subject: &Subject<'_>, of: impl Fn(TokenStream) -> TokenStream) -> WhereClause {
    let packetring = subject.packetring;
    let mut clause = subject.existence();
    if subject.parts().any(|part| part.recursive) {
        for parameter in subject.generics.type_params() {
            let parameter = &parameter.ident;
            let bound = of(quote!(#parameter));
            clause.predicates.push(parse_quote! {
                #parameter: #packetring::rkyv::Archive<Archived: #bound>
            });
        }
    }
    for part in subject.parts().filter(|part| !part.recursive) {
        let (archived, native) = (&part.archived, &part.native);
        let bound = of(quote!(#native));
        clause.predicates.push(parse_quote!(for<'__packet> #archived: #bound));
    }
    clause
}

/// Returns the implementation with which other types print the archived type: by its `Debug`, if it
/// has one.
fn print(subject: &Subject<'_>) -> TokenStream {
    let (archived, packetring) = (subject.archived, subject.packetring);
    let mut clause = subject.existence();
    let (impl_generics, ty_generics, _) = subject.generics.split_for_impl();
    clause.predicates.push(parse_quote!(for<'__packet> Self: ::core::fmt::Debug));
    quote! {
        #[automatically_derived]
        impl #impl_generics #packetring::packet::describe::Print for #archived #ty_generics #clause {
            fn print(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                ::core::fmt::Debug::fmt(self, f)
            }
        }
    }
}

fn debug(subject: &Subject<'_>) -> TokenStream {
    let archived = subject.archived;
    let packetring = subject.packetring;
    let module = quote!(#packetring::packet::describe);
    let clause = clause(subject, |_| quote!(#module::Print));
    let (impl_generics, ty_generics, _) = subject.generics.split_for_impl();
    let body = match &subject.body {
        Body::Struct(parts) => {
            let names = names(parts, "part");
            let members = parts.iter().map(|part| &part.member);
            let shown = shown(&plain(archived), parts, &names, &module);
            quote!({ let Self { #(#members: #names),* } = self; #shown })
        }
        Body::Enum(arms) => {
            let arms = arms.iter().map(|arm| {
                let names = names(&arm.parts, "part");
                let pattern = pattern(arm, &names);
                let variant = &arm.variant.ident;
                let shown = shown(&plain(variant), &arm.parts, &names, &module);
                quote!(Self::#variant #pattern => #shown,)
            });
            quote!(match self { #(#arms)* })
        }
    };
    quote! {
        #[automatically_derived]
        impl #impl_generics ::core::fmt::Debug for #archived #ty_generics #clause {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                #body
            }
        }
    }
}

/// Returns the expression that prints fields like a derived `Debug`.
fn shown(name: &str, parts: &[Part], names: &[Ident], module: &TokenStream) -> TokenStream {
    let is_named = |part: &&Part| matches!(part.member, syn::Member::Named(_));
    match parts.first() {
        None => quote!(f.write_str(#name)),
        Some(part) if is_named(&part) => {
            let fields = parts.iter().map(|part| &part.name);
            quote!(f.debug_struct(#name)#(.field(#fields, &#module::Printed(#names)))*.finish())
        }
        Some(_) => quote!(f.debug_tuple(#name)#(.field(&#module::Printed(#names)))*.finish()),
    }
}

/// Returns the implementation that compares the archived type with an archived or native value.
fn equality(subject: &Subject<'_>, other: Other) -> TokenStream {
    let (archived, name) = (subject.archived, subject.name);
    let clause = clause(subject, |native| match other {
        Other::Archived => quote!(::core::cmp::PartialEq),
        Other::Native => quote!(::core::cmp::PartialEq<#native>),
    });
    let (impl_generics, ty_generics, _) = subject.generics.split_for_impl();
    let right = match other {
        Other::Archived => archived,
        Other::Native => name,
    };
    let body = match &subject.body {
        Body::Struct(parts) => {
            let comparisons = parts.iter().map(|part| {
                let member = &part.member;
                compared(part, other, &quote!(&self.#member), &quote!(&other.#member))
            });
            quote!(true #(&& #comparisons)*)
        }
        Body::Enum(arms) => {
            let arms = arms.iter().map(|arm| {
                let (ours, theirs) = (names(&arm.parts, "ours"), names(&arm.parts, "theirs"));
                let (left, right_pattern) = (pattern(arm, &ours), pattern(arm, &theirs));
                let variant = &arm.variant.ident;
                let comparisons =
                    arm.parts.iter().zip(ours.iter().zip(&theirs)).map(|(part, (ours, theirs))| {
                        compared(part, other, &quote!(#ours), &quote!(#theirs))
                    });
                quote! {
                    (Self::#variant #left, #right::#variant #right_pattern) => {
                        true #(&& #comparisons)*
                    }
                }
            });
            // With one variant there is no other pair.
            let otherwise = (arms.len() != 1).then(|| quote!(_ => false));
            quote!(match (self, other) { #(#arms)* #otherwise })
        }
    };
    quote! {
        #[automatically_derived]
        impl #impl_generics ::core::cmp::PartialEq<#right #ty_generics>
            for #archived #ty_generics #clause
        {
            fn eq(&self, other: &#right #ty_generics) -> bool {
                let _ = other;
                #body
            }
        }
    }
}

/// Returns the comparison of a field. It names the types, which the compiler would infer from the
/// implementations that exist, and not from the bounds.
fn compared(part: &Part, other: Other, ours: &TokenStream, theirs: &TokenStream) -> TokenStream {
    let (archived, native) = (&part.archived, &part.native);
    let right = match other {
        Other::Archived => archived.clone(),
        Other::Native => quote!(#native),
    };
    quote!(<#archived as ::core::cmp::PartialEq<#right>>::eq(#ours, #theirs))
}

/// Returns the implementation that compares a native value with an archived one.
fn reverse(subject: &Subject<'_>) -> TokenStream {
    let (archived, name) = (subject.archived, subject.name);
    let clause = clause(subject, |native| quote!(::core::cmp::PartialEq<#native>));
    let (impl_generics, ty_generics, _) = subject.generics.split_for_impl();
    quote! {
        #[automatically_derived]
        impl #impl_generics ::core::cmp::PartialEq<#archived #ty_generics>
            for #name #ty_generics #clause
        {
            fn eq(&self, other: &#archived #ty_generics) -> bool {
                *other == *self
            }
        }
    }
}

fn names(parts: &[Part], prefix: &str) -> Vec<Ident> {
    (0..parts.len()).map(|i| format_ident!("{prefix}_{i}")).collect()
}

/// Returns the pattern behind the name of a variant, which binds its fields to the names.
fn pattern(arm: &Arm<'_>, names: &[Ident]) -> TokenStream {
    let members = arm.parts.iter().map(|part| &part.member);
    match arm.variant.fields {
        Fields::Unit => quote!(),
        _ => quote!({ #(#members: #names),* }),
    }
}
