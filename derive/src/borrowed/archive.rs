//! Emits the code that writes a borrowed twin as its owned type.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::{Ident, WhereClause, parse_quote};

use super::{Emitter, Form, TwinPart};
use crate::{
    describe::{Arm, Body},
    fields::Part,
};

impl Emitter<'_> {
    /// Returns the implementations of the twin: of rkyv's traits, and of those of packetring.
    pub(super) fn implementation(&self) -> TokenStream {
        let Code { items, resolver, resolve, serialize } = match &self.subject.body {
            Body::Struct(parts) => self.structure(parts),
            Body::Enum(arms) => self.enumeration(arms),
        };
        let Self { name, module, subject, .. } = self;
        let (packetring, owned, archived) = (subject.packetring, subject.name, subject.archived);
        let rkyv = quote!(#packetring::rkyv);
        let (_, owned_generics, _) = subject.generics.split_for_impl();
        let owned = quote!(#owned #owned_generics);
        let mut with_serializer = self.generics.clone();
        with_serializer.params.push(parse_quote!(__S: #rkyv::rancor::Fallible + ?Sized));
        let (impl_generics, ty_generics, _) = self.generics.split_for_impl();
        let (serialize_generics, _, _) = with_serializer.split_for_impl();
        let params = &self.generics.params;
        let archives = self.archives();
        let (serializes, own) = (self.serializes(), &self.generics.where_clause);
        let form = self.form();
        let mut native = archives.clone();
        native.predicates.push(parse_quote!(#owned: #packetring::packet::Native));
        let mut sends = own.clone().unwrap_or_else(|| parse_quote!(where));
        sends.predicates.push(parse_quote!(#owned: #packetring::packet::Packet));
        sends.predicates.push(parse_quote! {
            Self: #packetring::packet::Packet<Archived = <#owned as #rkyv::Archive>::Archived>
        });
        quote! {
            #form

            #[allow(
                dead_code,
                unused_variables,
                unreachable_patterns,
                clippy::unit_arg,
                reason = "the code is the same for types with and without fields and variants"
            )]
            const _: () = {
                #items

                // A type of its own, because the resolvers of the fields may name private types.
                pub struct __Resolver<#params>(
                    #resolver,
                    ::core::marker::PhantomData<fn() -> #name #ty_generics>,
                ) #archives;

                #[automatically_derived]
                impl #impl_generics #rkyv::Archive for #name #ty_generics #archives {
                    type Archived = #archived #owned_generics;
                    type Resolver = __Resolver #ty_generics;

                    fn resolve(&self, resolver: Self::Resolver, out: #rkyv::Place<Self::Archived>) {
                        let resolver = resolver.0;
                        #resolve
                    }
                }

                #[automatically_derived]
                impl #serialize_generics #rkyv::Serialize<__S> for #name #ty_generics #serializes {
                    fn serialize(
                        &self,
                        serializer: &mut __S,
                    ) -> ::core::result::Result<Self::Resolver, __S::Error> {
                        let resolver = #serialize;
                        ::core::result::Result::Ok(__Resolver(resolver, ::core::marker::PhantomData))
                    }
                }

                // SAFETY: The value consists of borrowed forms of all fields of the owned type,
                // which archives without loss and does not change.
                #[automatically_derived]
                unsafe impl #impl_generics #packetring::packet::Native for #name #ty_generics #native {}

                // SAFETY: As above. The value is not copied.
                #[automatically_derived]
                unsafe impl #impl_generics #module::ArchiveAs<#owned> for #name #ty_generics #archives {
                    type Resolver = <Self as #rkyv::Archive>::Resolver;

                    fn resolve_as(
                        &self,
                        resolver: <Self as #rkyv::Archive>::Resolver,
                        out: #rkyv::Place<<#owned as #rkyv::Archive>::Archived>,
                    ) {
                        #rkyv::Archive::resolve(self, resolver, out);
                    }
                }

                #[automatically_derived]
                impl #serialize_generics #module::SerializeAs<#owned, __S> for #name #ty_generics
                    #serializes
                {
                    fn serialize_as(
                        &self,
                        serializer: &mut __S,
                    ) -> ::core::result::Result<<Self as #rkyv::Archive>::Resolver, __S::Error> {
                        #rkyv::Serialize::serialize(self, serializer)
                    }
                }

                #[automatically_derived]
                impl #impl_generics #module::SendAs<#owned> for #name #ty_generics #sends {
                    type Value = Self;

                    #[inline]
                    fn value(&self) -> &Self {
                        self
                    }
                }
            };
        }
    }
    /// Returns the bounds under which the twin archives.
    fn archives(&self) -> WhereClause {
        let rkyv = self.rkyv();
        let mut clause = self.own_clause();
        clause.predicates.extend(self.subject.existence().predicates);
        for twin in self.subject.parts().map(|part| self.twin_part(part)) {
            let (ty, native, module) = (&twin.ty, &twin.part.native, &self.module);
            clause.predicates.push(match &twin.form {
                Form::Borrowed => parse_quote!(#ty: #module::ArchiveAs<#native>),
                Form::With(with) => parse_quote!(#with: #rkyv::with::ArchiveWith<#native>),
            });
        }
        clause
    }

    /// Returns the bounds under which the serializer `__S` writes the twin.
    fn serializes(&self) -> WhereClause {
        let rkyv = self.rkyv();
        let mut clause = self.archives();
        for twin in self.subject.parts().map(|part| self.twin_part(part)) {
            let (ty, native, module) = (&twin.ty, &twin.part.native, &self.module);
            clause.predicates.push(match &twin.form {
                Form::Borrowed => parse_quote!(#ty: #module::SerializeAs<#native, __S>),
                Form::With(with) => parse_quote!(#with: #rkyv::with::SerializeWith<#native, __S>),
            });
        }
        clause
    }

    fn own_clause(&self) -> WhereClause {
        self.generics.where_clause.clone().unwrap_or_else(|| parse_quote!(where))
    }

    fn rkyv(&self) -> TokenStream {
        let packetring = self.subject.packetring;
        quote!(#packetring::rkyv)
    }

    /// Returns the resolver's type, the resolving and the serializing code of a struct.
    fn structure(&self, parts: &[Part]) -> Code {
        let (rkyv, archived) = (self.rkyv(), self.subject.archived);
        let parts = self.twin_parts(parts);
        let members: Vec<_> = parts.iter().map(|twin| &twin.part.member).collect();
        let [values, resolvers, places] = names(parts.len());
        let places_pattern = match members.first() {
            Some(syn::Member::Unnamed(_)) => quote!((#(#places),*)),
            _ => quote!({ #(#members: #places),* }),
        };
        let types = parts.iter().map(|twin| self.resolver(twin));
        let resolved = parts
            .iter()
            .enumerate()
            .map(|(i, twin)| self.resolve(twin, &values[i], &resolvers[i], &places[i]));
        let serialized = parts.iter().zip(&values).map(|(twin, value)| self.serialize(twin, value));
        Code {
            items: TokenStream::new(),
            resolver: quote!((#(#types,)*)),
            resolve: quote! {
                let Self { #(#members: #values),* } = self;
                let (#(#resolvers,)*) = resolver;
                #rkyv::munge::munge!(let #archived #places_pattern = out);
                #(#resolved)*
            },
            serialize: quote! {
                {
                    let Self { #(#members: #values),* } = self;
                    (#(#serialized,)*)
                }
            },
        }
    }

    /// Returns the resolver's type, the resolving and the serializing code of an enum.
    fn enumeration(&self, arms: &[Arm<'_>]) -> Code {
        let rkyv = self.rkyv();
        let mut code = Code::default();
        let (mut tags, mut variants, mut parameters, mut types) = (vec![], vec![], vec![], vec![]);
        for (i, arm) in arms.iter().enumerate() {
            let (variant, parts) = (&arm.variant.ident, self.twin_parts(&arm.parts));
            let members: Vec<_> = parts.iter().map(|twin| &twin.part.member).collect();
            let [values, resolvers, places] = names(parts.len());
            let layout = format_ident!("__Layout{i}");
            let own: Vec<_> = (0..parts.len()).map(|j| format_ident!("__P{i}_{j}")).collect();
            let archived = parts.iter().map(|twin| &twin.part.archived);
            let resolved = parts
                .iter()
                .enumerate()
                .map(|(j, twin)| self.resolve(twin, &values[j], &resolvers[j], &places[j]));
            let serialized =
                parts.iter().zip(&values).map(|(twin, value)| self.serialize(twin, value));
            let discriminant = arm.variant.discriminant.as_ref().map(|(_, value)| quote!(= #value));
            tags.push(quote!(#variant #discriminant));
            variants.push(quote!(#variant(#(#own),*)));
            types.extend(parts.iter().map(|twin| self.resolver(twin)));
            code.items.extend(quote! {
                #[repr(C)]
                struct #layout<#(#own),*>(__Tag, #(#own),*);
            });
            code.resolve.extend(quote! {
                (Self::#variant { #(#members: #values),* }, __Choice::#variant(#(#resolvers),*)) => {
                    // SAFETY: The archived enum has `repr(u8)`. So a variant is laid out as a
                    // `repr(C)` struct of the tag and the archived fields.
                    let out = unsafe { out.cast_unchecked::<#layout<#(#archived),*>>() };
                    #rkyv::munge::munge!(let #layout(tag, #(#places),*) = out);
                    // SAFETY: A tag is one initialized byte.
                    unsafe { tag.write_unchecked(__Tag::#variant) };
                    #(#resolved)*
                }
            });
            code.serialize.extend(quote! {
                Self::#variant { #(#members: #values),* } => __Choice::#variant(#(#serialized),*),
            });
            parameters.extend(own);
        }
        code.items.extend(quote! {
            #[repr(u8)]
            enum __Tag { #(#tags),* }

            pub enum __Choice<#(#parameters),*> { #(#variants),* }
        });
        code.resolver = quote!(__Choice<#(#types),*>);
        let (resolve, serialize) = (code.resolve, code.serialize);
        code.resolve = quote! {
            match (self, resolver) {
                #resolve
                // The resolver comes from the same value, which does not change.
                _ => {}
            }
        };
        code.serialize = quote!(match self { #serialize });
        code
    }

    fn resolver(&self, twin: &TwinPart<'_>) -> TokenStream {
        let (rkyv, module) = (self.rkyv(), &self.module);
        let (ty, native) = (&twin.ty, &twin.part.native);
        match &twin.form {
            Form::Borrowed => quote!(<#ty as #module::ArchiveAs<#native>>::Resolver),
            Form::With(with) => quote!(<#with as #rkyv::with::ArchiveWith<#native>>::Resolver),
        }
    }

    fn resolve(
        &self,
        twin: &TwinPart<'_>,
        value: &Ident,
        resolver: &Ident,
        place: &Ident,
    ) -> TokenStream {
        let (rkyv, module) = (self.rkyv(), &self.module);
        let (ty, native) = (&twin.ty, &twin.part.native);
        let function = match &twin.form {
            Form::Borrowed => quote!(<#ty as #module::ArchiveAs<#native>>::resolve_as),
            Form::With(with) => quote!(<#with as #rkyv::with::ArchiveWith<#native>>::resolve_with),
        };
        quote!(#function(#value, #resolver, #place);)
    }

    fn serialize(&self, twin: &TwinPart<'_>, value: &Ident) -> TokenStream {
        let (rkyv, module) = (self.rkyv(), &self.module);
        let (ty, native) = (&twin.ty, &twin.part.native);
        let function = match &twin.form {
            Form::Borrowed => quote!(<#ty as #module::SerializeAs<#native, __S>>::serialize_as),
            Form::With(with) => {
                quote!(<#with as #rkyv::with::SerializeWith<#native, __S>>::serialize_with)
            }
        };
        quote!(#function(#value, serializer)?)
    }
}

/// The code that depends on whether the type is a struct or an enum.
#[derive(Default)]
struct Code {
    items: TokenStream,
    resolver: TokenStream,
    resolve: TokenStream,
    serialize: TokenStream,
}

/// Returns names for the values, the resolvers and the places of the fields.
fn names(count: usize) -> [Vec<Ident>; 3] {
    ["value", "resolver", "place"]
        .map(|prefix| (0..count).map(|i| format_ident!("{prefix}_{i}")).collect())
}
