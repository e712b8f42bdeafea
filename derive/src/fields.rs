//! A field as the other parts need it: its archived type, real and as described.

use proc_macro2::{Span, TokenStream, TokenTree};
use quote::{quote, quote_spanned};
use syn::{
    Field, Fields, Index, Member, Path, Result, Type, WherePredicate, parse_quote, spanned::Spanned,
};

use crate::{mention::Mentions, rkyv_attrs::FieldAttrs};

pub(crate) struct Part {
    pub(crate) member: Member,
    pub(crate) name: String,
    pub(crate) wrapped: bool,
    pub(crate) mentions: bool,
    /// The archived type.
    pub(crate) archived: TokenStream,
    /// The same, with the stand-in for the type that it belongs to.
    pub(crate) described: TokenStream,
    /// What rkyv demands for the archived type to exist.
    pub(crate) archive_bound: Option<WherePredicate>,
    span: Span,
}

impl Part {
    pub(crate) fn all(fields: &Fields, mentions: &Mentions<'_>, rkyv: &Path) -> Result<Vec<Self>> {
        fields.iter().enumerate().map(|(i, field)| Self::new(i, field, mentions, rkyv)).collect()
    }

    fn new(i: usize, field: &Field, mentions: &Mentions<'_>, rkyv: &Path) -> Result<Self> {
        let attrs = FieldAttrs::parse(&field.attrs)?;
        let member = match &field.ident {
            Some(ident) => Member::Named(ident.clone()),
            None => Member::Unnamed(Index::from(i)),
        };
        let name = match &field.ident {
            Some(ident) => plain(ident),
            None => i.to_string(),
        };
        let ty = mentions.spelled_out(&field.ty);
        let with = attrs.with.as_ref().map(|with| mentions.spelled_out(with));
        let (stand_in, in_type) = mentions.replaced(&field.ty, true);
        let (stand_in_with, in_with) = match &attrs.with {
            Some(with) => {
                let (with, found) = mentions.replaced(with, true);
                (Some(with), found)
            }
            None => (None, false),
        };
        // Located at the field, and marked as the macro's own, so that lints leave it alone.
        let span = Span::call_site().located_at(field.ty.span());
        let omitted = attrs.omit_bounds || in_type || in_with;
        Ok(Self {
            member,
            name,
            wrapped: with.is_some(),
            mentions: in_type || in_with,
            archived: archived(&ty, with.as_ref(), rkyv, span),
            described: archived(&stand_in, stand_in_with.as_ref(), rkyv, span),
            archive_bound: (!omitted).then(|| archive_bound(&ty, with.as_ref(), rkyv)),
            span,
        })
    }

    /// The demand that the archived type is described, told at the field.
    pub(crate) fn describe_bound(&self, describe: &TokenStream) -> Option<WherePredicate> {
        let archived = &self.archived;
        let describe = located_at(self.span, describe.clone());
        let bound = quote_spanned!(self.span=> #archived: #describe);
        (!self.mentions).then(|| parse_quote!(#bound))
    }

    /// The field in the description.
    pub(crate) fn shape(&self, describe: &TokenStream, module: &TokenStream) -> TokenStream {
        let Self { name, archived, described, .. } = self;
        let wrapped = self.wrapped.then(|| quote!(.wrapped()));
        quote! {
            #module::Field::new::<#archived>(#name, <#described as #describe>::SHAPE) #wrapped
        }
    }
}

/// The same tokens, shown at this place in errors.
fn located_at(span: Span, tokens: TokenStream) -> TokenStream {
    let relocate = |mut token: TokenTree| {
        token.set_span(span);
        token
    };
    tokens.into_iter().map(relocate).collect()
}

/// An identifier without `r#`.
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
        Some(with) => parse_quote!(#with: #rkyv::with::ArchiveWith<#ty>),
        None => parse_quote!(#ty: #rkyv::Archive),
    }
}
