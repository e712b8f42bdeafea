//! A parsed field: its archived type, and the type that the description uses for it.

use proc_macro2::{Span, TokenStream, TokenTree};
use quote::{quote, quote_spanned};
use syn::{
    Field, Fields, Index, Member, Path, Result, Type, WherePredicate, parse_quote, spanned::Spanned,
};

use crate::{rkyv_attrs::FieldAttrs, self_reference::SelfReferences};

pub(crate) struct Part {
    pub(crate) member: Member,
    pub(crate) name: String,
    /// True if a wrapper archives the field: `#[rkyv(with = ..)]`.
    pub(crate) wrapped: bool,
    /// The wrapper.
    pub(crate) with: Option<Type>,
    /// The niches that the field provides to an option of the type: `#[rkyv(niche)]`.
    niches: Vec<Type>,
    /// True if the field's type contains the type that it belongs to.
    pub(crate) recursive: bool,
    /// The type of the field.
    pub(crate) native: Type,
    /// The archived type.
    pub(crate) archived: TokenStream,
    /// The archived type, with `Itself` in place of the type that the field belongs to.
    pub(crate) described: TokenStream,
    /// The bound under which the archived type exists.
    pub(crate) archive_bound: Option<WherePredicate>,
    /// The bound that the field archives without loss, with `Itself` in place of the type that the
    /// field belongs to.
    pub(crate) native_bound: WherePredicate,
    pub(crate) span: Span,
}

impl Part {
    pub(crate) fn all(fields: &Fields, own: &SelfReferences<'_>) -> Result<Vec<Self>> {
        fields.iter().enumerate().map(|(i, field)| Self::new(i, field, own)).collect()
    }

    fn new(i: usize, field: &Field, own: &SelfReferences<'_>) -> Result<Self> {
        let packetring = own.packetring;
        let rkyv = &parse_quote!(#packetring::rkyv);
        let attrs = FieldAttrs::parse(&field.attrs)?;
        let member = match &field.ident {
            Some(ident) => Member::Named(ident.clone()),
            None => Member::Unnamed(Index::from(i)),
        };
        let name = match &field.ident {
            Some(ident) => plain(ident),
            None => i.to_string(),
        };
        own.check(&field.ty)?;
        attrs.with.as_ref().map_or(Ok(()), |with| own.check(with))?;
        let ty = own.expanded(&field.ty);
        let with = attrs.with.as_ref().map(|with| own.expanded(with));
        let (described, in_type) = own.with_placeholders(&field.ty);
        let (described_with, in_with) = match &attrs.with {
            Some(with) => {
                let (with, found) = own.with_placeholders(with);
                (Some(with), found)
            }
            None => (None, false),
        };
        // Errors point at the field. `call_site` marks the tokens as generated, so that lints
        // ignore them.
        let span = Span::call_site().located_at(field.ty.span());
        let omitted = attrs.omit_bounds || in_type || in_with;
        Ok(Self {
            member,
            name,
            wrapped: with.is_some(),
            niches: niches(attrs.niches, packetring),
            recursive: in_type || in_with,
            archived: archived(&ty, with.as_ref(), rkyv, span),
            described: archived(&described, described_with.as_ref(), rkyv, span),
            archive_bound: (!omitted).then(|| archive_bound(&ty, with.as_ref(), rkyv)),
            native_bound: native_bound(&described, described_with.as_ref(), packetring, span),
            native: ty,
            with,
            span,
        })
    }

    /// Returns the bound that the archived type is described. `None` for a recursive field, whose
    /// bound would be cyclic.
    ///
    /// `for<..>` keeps the compiler from evaluating the bound at once. The bound of `Native`
    /// reports a field that cannot be part of a packet.
    pub(crate) fn describe_bound(&self, describe: &TokenStream) -> Option<WherePredicate> {
        let archived = &self.archived;
        let describe = located_at(self.span, describe.clone());
        let bound = quote_spanned!(self.span=> for<'__bound> #archived: #describe);
        (!self.recursive).then(|| parse_quote!(#bound))
    }

    /// Returns tokens at the place of the field.
    pub(crate) fn located(&self, tokens: TokenStream) -> TokenStream {
        located_at(self.span, tokens)
    }

    /// Returns the field's part of the description.
    pub(crate) fn shape(&self, describe: &TokenStream, module: &TokenStream) -> TokenStream {
        let Self { name, archived, described, niches, .. } = self;
        let wrapped = self.wrapped.then(|| quote!(.wrapped()));
        let niches = (!niches.is_empty())
            .then(|| quote!(.with_niches(const { &[#(#module::niche_word::<#niches>()),*] })));
        quote! {
            #module::Field::new::<#archived>(#name, <#described as #describe>::SHAPE) #wrapped #niches
        }
    }
}

/// Returns the types of the niches of a field.
fn niches(attrs: Vec<(syn::Ident, Option<Type>)>, packetring: &Path) -> Vec<Type> {
    let default = || parse_quote!(#packetring::rkyv::niche::niching::DefaultNiche);
    attrs.into_iter().map(|(_, niche)| niche.unwrap_or_else(default)).collect()
}

/// Returns the tokens with another span.
pub(crate) fn located_at(span: Span, tokens: TokenStream) -> TokenStream {
    let relocate = |mut token: TokenTree| {
        token.set_span(span);
        token
    };
    tokens.into_iter().map(relocate).collect()
}

/// Returns an identifier as text, without `r#`.
pub(crate) fn plain(ident: &syn::Ident) -> String {
    let text = ident.to_string();
    text.strip_prefix("r#").map(str::to_owned).unwrap_or(text)
}

fn archived(ty: &Type, with: Option<&Type>, rkyv: &Path, span: Span) -> TokenStream {
    match with {
        Some(with) => quote_spanned!(span=> <#with as #rkyv::with::ArchiveWith<#ty>>::Archived),
        None => quote_spanned!(span=> <#ty as #rkyv::Archive>::Archived),
    }
}

fn archive_bound(ty: &Type, with: Option<&Type>, rkyv: &Path) -> WherePredicate {
    match with {
        Some(with) => parse_quote!(for<'__bound> #with: #rkyv::with::ArchiveWith<#ty>),
        None => parse_quote!(for<'__bound> #ty: #rkyv::Archive),
    }
}

fn native_bound(ty: &Type, with: Option<&Type>, packetring: &Path, span: Span) -> WherePredicate {
    let module = located_at(span, quote!(#packetring::packet));
    let bound = match with {
        Some(with) => quote_spanned!(span=> #with: #module::NativeWith<#ty>),
        None => quote_spanned!(span=> #ty: #module::Native),
    };
    parse_quote!(#bound)
}
