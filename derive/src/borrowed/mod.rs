//! Emits the borrowed form of a packet type: a borrowed twin, or a reference.
//!
//! `#[packet(borrowed)] struct Chat { name: String }` emits `struct ChatRef<'packet> { name:
//! &'packet str }`, which archives as `Chat`. The compiler checks the archived type of each field.
//! Only the layout of enums is written here: rkyv offers no access to it.
//!
//! Limits: the derives of the twin are chosen from those below the macro, and a twin with type
//! parameters has `Clone` and `Copy` only.

mod archive;
mod forms;

use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote};
use syn::{
    Attribute, Error, Field, Fields, Generics, Ident, Item, Result, Type, Visibility, parse_quote,
    spanned::Spanned,
};

use self::forms::{Place, form};
use crate::{
    args::Twin,
    derived::condition,
    describe::{Body, Subject},
    fields::{Part, plain},
};

/// Returns the borrowed form of a packet type.
pub(crate) fn emit(subject: &Subject<'_>, item: &Item, twin: Option<&Twin>) -> Result<TokenStream> {
    let (attrs, vis) = match item {
        Item::Struct(item) => (&item.attrs, &item.vis),
        Item::Enum(item) => (&item.attrs, &item.vis),
        _ => return Ok(TokenStream::new()),
    };
    let has_types = subject.generics.type_params().next().is_some();
    let is_copy = !has_types && condition(attrs, "Copy").is_some_and(|cfg| cfg.is_empty());
    let Some(twin) = twin else { return Ok(whole(subject, is_copy)) };
    if is_copy {
        let message = "`borrowed` on a `Copy` type: it is borrowed by value; remove `borrowed`";
        return Err(Error::new(twin.span(), message));
    }
    if subject.parts().next().is_none() {
        let message = "`borrowed` on a type without fields: remove `borrowed`";
        return Err(Error::new(twin.span(), message));
    }
    let twin = Emitter::new(subject, twin);
    let (definition, implementation) = (twin.definition(item, attrs, vis), twin.implementation());
    Ok(quote!(#definition #implementation))
}

/// Emits the borrowed form of a type without a twin: the value if it is `Copy`, else a reference.
fn whole(subject: &Subject<'_>, is_copy: bool) -> TokenStream {
    let (name, packetring) = (subject.name, subject.packetring);
    let module = quote!(#packetring::packet::borrowed);
    let (impl_generics, ty_generics, clause) = subject.generics.split_for_impl();
    let form = if is_copy { quote!(Self) } else { quote!(&'__packet Self) };
    quote! {
        #[automatically_derived]
        impl #impl_generics #module::Borrowable for #name #ty_generics #clause {
            type Borrowed<'__packet> = #form where Self: '__packet;
            type Element<'__packet> = Self where Self: '__packet;
        }

        #[automatically_derived]
        impl #impl_generics #module::Whole for #name #ty_generics #clause {}
    }
}

/// How a field of the twin is written.
enum Form {
    /// By the borrowed form of the field's type.
    Borrowed,
    /// By a wrapper, from a reference to the owned field.
    With(Box<Type>),
}

/// A field of the twin.
struct TwinPart<'a> {
    part: &'a Part,
    /// The type in the twin.
    ty: TokenStream,
    form: Form,
}

struct Emitter<'a> {
    subject: &'a Subject<'a>,
    name: Ident,
    module: TokenStream,
    /// The generic parameters of the twin.
    generics: Generics,
}

impl<'a> Emitter<'a> {
    fn new(subject: &'a Subject<'a>, twin: &Twin) -> Self {
        let packetring = subject.packetring;
        let module = quote!(#packetring::packet::borrowed);
        let name = match twin {
            Twin::Named(name) => name.clone(),
            Twin::Default(span) => format_ident!("{}Ref", plain(subject.name), span = *span),
        };
        let mut generics = subject.generics.clone();
        let types: Vec<_> = generics.type_params().map(|types| types.ident.clone()).collect();
        let clause = generics.make_where_clause();
        for ty in &types {
            clause.predicates.push(parse_quote!(#ty: #module::Borrowable + 'packet));
        }
        generics.params.insert(0, parse_quote!('packet));
        Self { subject, name, module, generics }
    }

    fn has_types(&self) -> bool {
        self.generics.type_params().next().is_some()
    }

    fn twin_part<'p>(&self, part: &'p Part) -> TwinPart<'p> {
        let packetring = self.subject.packetring;
        let span = Span::call_site().located_at(part.native.span());
        let native = &part.native;
        let with = part.with.clone();
        if part.recursive {
            let with = with.unwrap_or_else(|| parse_quote!(#packetring::with::Identity));
            let with = parse_quote!(#packetring::with::Nested<#with>);
            return TwinPart {
                part,
                ty: quote!(&'packet #native),
                form: Form::With(Box::new(with)),
            };
        }
        match with {
            Some(with) => {
                TwinPart { part, ty: quote!(&'packet #native), form: Form::With(Box::new(with)) }
            }
            None => {
                let ty = form(native, Place::Alone, &self.module, span);
                TwinPart { part, ty, form: Form::Borrowed }
            }
        }
    }

    fn twin_parts<'p>(&self, parts: &'p [Part]) -> Vec<TwinPart<'p>> {
        parts.iter().map(|part| self.twin_part(part)).collect()
    }

    /// Returns the twin itself, with the documentation of the item.
    fn definition(&self, item: &Item, attrs: &[Attribute], vis: &Visibility) -> TokenStream {
        let name = &self.name;
        let (docs, derives) = (docs(attrs), self.derives(attrs));
        let title =
            format!("Borrowed twin of [`{0}`]: archives as a `{0}`.", plain(self.subject.name));
        let params = &self.generics.params;
        let clause = &self.generics.where_clause;
        let body = match (item, &self.subject.body) {
            (Item::Struct(item), Body::Struct(parts)) => {
                let fields = self.fields(&item.fields, parts);
                match item.fields {
                    Fields::Named(_) => quote!(struct #name <#params> #clause #fields),
                    _ => quote!(struct #name <#params> #fields #clause;),
                }
            }
            (_, Body::Enum(arms)) => {
                let variants = arms.iter().map(|arm| {
                    let (variant, docs) = (&arm.variant.ident, self::docs(&arm.variant.attrs));
                    let fields = self.fields(&arm.variant.fields, &arm.parts);
                    quote!(#(#docs)* #variant #fields)
                });
                quote!(enum #name <#params> #clause { #(#variants),* })
            }
            _ => TokenStream::new(),
        };
        let copies = self.copies();
        quote! {
            #[doc = #title]
            #[doc = ""]
            #(#docs)*
            #derives
            #[allow(dead_code, reason = "a program may only read packets of the type")]
            #vis #body
            #copies
        }
    }

    fn fields(&self, fields: &Fields, parts: &[Part]) -> TokenStream {
        let field = |(field, part): (&Field, TwinPart<'_>)| {
            let (vis, ident, colon) = (&field.vis, &field.ident, &field.colon_token);
            let (docs, ty) = (docs(&field.attrs), part.ty);
            quote!(#(#docs)* #vis #ident #colon #ty)
        };
        let list = fields.iter().zip(self.twin_parts(parts)).map(field);
        match fields {
            Fields::Named(_) => quote!({ #(#list),* }),
            Fields::Unnamed(_) => quote!((#(#list),*)),
            Fields::Unit => TokenStream::new(),
        }
    }

    /// Returns `Debug` and `PartialEq` as the item derives them.
    fn derives(&self, attrs: &[Attribute]) -> TokenStream {
        if self.has_types() {
            return TokenStream::new();
        }
        let given = |name: &str| condition(attrs, name).is_some_and(|cfg| cfg.is_empty());
        let debug = given("Debug").then(|| quote!(::core::fmt::Debug,));
        let partial = given("PartialEq").then(|| quote!(::core::cmp::PartialEq,));
        quote!(#[derive(#debug #partial)])
    }

    /// Returns `Clone` and `Copy`, which every borrowed form has.
    fn copies(&self) -> TokenStream {
        let name = &self.name;
        let (impl_generics, ty_generics, clause) = self.generics.split_for_impl();
        quote! {
            #[automatically_derived]
            impl #impl_generics ::core::clone::Clone for #name #ty_generics #clause {
                fn clone(&self) -> Self {
                    *self
                }
            }

            #[automatically_derived]
            impl #impl_generics ::core::marker::Copy for #name #ty_generics #clause {}
        }
    }

    /// Emits the twin as the borrowed form of the owned type.
    fn form(&self) -> TokenStream {
        let Self { name, module, subject, .. } = self;
        let owned = subject.name;
        let mut generics = self.generics.clone();
        // The parameters outlive `'packet` as the owned type does.
        let mut clause = subject.generics.clone().make_where_clause().clone();
        for ty in subject.generics.type_params() {
            let ty = &ty.ident;
            clause.predicates.push(parse_quote!(#ty: #module::Borrowable));
        }
        generics.params = subject.generics.params.clone();
        let (impl_generics, owned_generics, _) = generics.split_for_impl();
        let (_, ty_generics, _) = self.generics.split_for_impl();
        quote! {
            #[automatically_derived]
            impl #impl_generics #module::Borrowable for #owned #owned_generics #clause {
                type Borrowed<'packet> = #name #ty_generics where Self: 'packet;
                type Element<'packet> = #name #ty_generics where Self: 'packet;
            }

            #[automatically_derived]
            impl #impl_generics #module::Whole for #owned #owned_generics #clause {}
        }
    }
}

/// Returns the documentation among attributes.
fn docs(attrs: &[Attribute]) -> Vec<&Attribute> {
    attrs.iter().filter(|attr| attr.path().is_ident("doc")).collect()
}
