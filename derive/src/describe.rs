//! Emits the description of the archived type: the implementation of `Describe`.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::{Fields, GenericParam, Generics, Ident, Path, Type, WhereClause, parse_quote};

use crate::{
    fields::{Part, plain},
    rkyv_attrs::ItemAttrs,
};

/// A packet type, parsed.
pub(crate) struct Subject<'a> {
    pub(crate) name: &'a Ident,
    pub(crate) archived: &'a Ident,
    pub(crate) generics: &'a Generics,
    pub(crate) attrs: &'a ItemAttrs,
    pub(crate) packetring: &'a Path,
    pub(crate) body: Body<'a>,
}

pub(crate) enum Body<'a> {
    Struct(Vec<Part>),
    Enum(Vec<Arm<'a>>),
}

pub(crate) struct Arm<'a> {
    pub(crate) variant: &'a syn::Variant,
    pub(crate) parts: Vec<Part>,
}

impl Subject<'_> {
    /// Returns all fields, those of all variants included.
    pub(crate) fn parts(&self) -> Box<dyn Iterator<Item = &Part> + '_> {
        match &self.body {
            Body::Struct(parts) => Box::new(parts.iter()),
            Body::Enum(arms) => Box::new(arms.iter().flat_map(|arm| &arm.parts)),
        }
    }

    /// Returns the bounds under which the archived type exists.
    pub(crate) fn existence(&self) -> WhereClause {
        let mut generics = self.generics.clone();
        let mut clause = generics.make_where_clause().clone();
        let bounds = &self.attrs.archive_bounds;
        if !bounds.is_empty() {
            let given: WhereClause = parse_quote!(where #bounds);
            clause.predicates.extend(given.predicates);
        }
        clause.predicates.extend(self.parts().filter_map(|part| part.archive_bound.clone()));
        clause
    }

    /// Returns the implementation of `Describe`.
    pub(crate) fn describe(&self) -> TokenStream {
        let Self { archived, packetring, .. } = self;
        let module = quote!(#packetring::packet::describe);
        let describe = quote!(#module::Describe);
        let (impl_generics, ty_generics, _) = self.generics.split_for_impl();
        let clause = self.describe_clause(&describe);
        let named = self.named(&describe, &module);
        let shape = self.shape(&named, &describe, &module);
        let audit = self.audit(&describe);
        quote! {
            // SAFETY: The type consists of its fields, and of a tag byte if it is an enum. Each
            // field is described at its offset, and each is audited.
            #[automatically_derived]
            unsafe impl #impl_generics #describe for #archived #ty_generics #clause {
                const NAME: #module::TypeName = #named.name();
                const SHAPE: &'static #module::Shape = const { &#shape };

                fn audit(&self, archive: &[u8]) -> bool {
                    let _ = archive;
                    #audit
                }
            }
        }
    }

    /// Returns the implementation of `Native`.
    pub(crate) fn native(&self) -> TokenStream {
        let Self { name, packetring, .. } = self;
        let native = quote!(#packetring::packet::Native);
        let (impl_generics, ty_generics, _) = self.generics.split_for_impl();
        let mut clause = self.generics.clone().make_where_clause().clone();
        for parameter in self.generics.type_params() {
            let parameter = &parameter.ident;
            clause.predicates.push(parse_quote!(#parameter: #native));
        }
        clause.predicates.extend(self.parts().map(|part| part.native_bound.clone()));
        quote! {
            // SAFETY: A value consists of its fields, and of a tag if it is an enum. Each field
            // archives without loss and does not change.
            #[automatically_derived]
            unsafe impl #impl_generics #native for #name #ty_generics #clause {}
        }
    }

    fn describe_clause(&self, describe: &TokenStream) -> WhereClause {
        let packetring = self.packetring;
        let mut clause = self.existence();
        for parameter in self.generics.type_params() {
            let parameter = &parameter.ident;
            clause.predicates.push(parse_quote! {
                #parameter: #packetring::rkyv::Archive<Archived: #describe>
            });
        }
        clause.predicates.extend(self.parts().filter_map(|part| part.describe_bound(describe)));
        clause
    }

    /// Returns the `Named` of the type: its name with its parameters.
    fn named(&self, describe: &TokenStream, module: &TokenStream) -> TokenStream {
        let (rkyv, name) = (self.packetring, plain(self.name));
        let parameters = self.generics.params.iter().filter_map(|parameter| match parameter {
            GenericParam::Type(parameter) => {
                let parameter = &parameter.ident;
                Some(quote!(.of(<<#parameter as #rkyv::rkyv::Archive>::Archived as #describe>::SHAPE)))
            }
            GenericParam::Const(parameter) => Some(value(&parameter.ident, &parameter.ty)),
            GenericParam::Lifetime(_) => None,
        });
        let checked = self.attrs.verifies().then(|| quote!(.checked()));
        quote!(#module::Named::new(#name) #(#parameters)* #checked)
    }

    fn shape(
        &self,
        named: &TokenStream,
        describe: &TokenStream,
        module: &TokenStream,
    ) -> TokenStream {
        match &self.body {
            Body::Struct(parts) => {
                let fields = parts.iter().map(|part| {
                    let (field, member) = (part.shape(describe, module), &part.member);
                    quote!(#field.at(::core::mem::offset_of!(Self, #member)))
                });
                quote!(#module::Shape::structure::<Self>(#named, const { &[#(#fields),*] }))
            }
            Body::Enum(arms) => {
                let variants = variants(arms, describe, module);
                quote!(#module::Shape::enumeration::<Self>(#named, const { &[#(#variants),*] }))
            }
        }
    }

    fn audit(&self, describe: &TokenStream) -> TokenStream {
        match &self.body {
            Body::Struct(parts) => {
                let members = parts.iter().map(|part| &part.member);
                quote!(true #(&& #describe::audit(&self.#members, archive))*)
            }
            Body::Enum(arms) => {
                let arms = arms.iter().map(|arm| arm.audit(describe));
                quote!(match self { #(#arms)* })
            }
        }
    }
}

impl Arm<'_> {
    fn audit(&self, describe: &TokenStream) -> TokenStream {
        let variant = &self.variant.ident;
        let members = self.parts.iter().map(|part| &part.member);
        let names: Vec<_> = (0..self.parts.len()).map(|i| format_ident!("part_{i}")).collect();
        let pattern = match self.variant.fields {
            Fields::Unit => quote!(),
            _ => quote!({ #(#members: #names),* }),
        };
        quote!(Self::#variant #pattern => true #(&& #describe::audit(#names, archive))*,)
    }
}

/// Returns the variants with their tags, counted like the compiler counts discriminants.
fn variants(arms: &[Arm<'_>], describe: &TokenStream, module: &TokenStream) -> Vec<TokenStream> {
    let mut base = quote!(0_u8);
    let mut since = 0_u8;
    arms.iter()
        .map(|arm| {
            if let Some((_, value)) = &arm.variant.discriminant {
                (base, since) = (quote!((#value)), 0);
            }
            let tag = if since == 0 { quote!(#base) } else { quote!(#base + #since) };
            since = since.wrapping_add(1);
            let name = plain(&arm.variant.ident);
            let fields = arm.parts.iter().map(|part| part.shape(describe, module));
            quote! {
                #module::Variant {
                    name: #name,
                    tag: #tag,
                    fields: const { &#module::Field::lay_out(1, [#(#fields),*]) },
                }
            }
        })
        .collect()
}

/// Returns the call that adds the value of a const parameter.
fn value(parameter: &Ident, ty: &Type) -> TokenStream {
    let signed = ["i8", "i16", "i32", "i64", "i128", "isize"];
    let is_signed = matches!(ty, Type::Path(path) if path.path.get_ident().is_some_and(|ident| signed.iter().any(|name| ident == name)));
    if is_signed {
        quote!(.with_signed(#parameter as i128))
    } else {
        quote!(.with(#parameter as u128))
    }
}
