//! Parses `#[rkyv(..)]` on the item and on its fields.
//!
//! rkyv gets these attributes unchanged. This module reads the ones with an effect on the emitted
//! code.

use proc_macro2::{TokenStream, TokenTree};
use quote::quote;
use syn::{
    Attribute, Error, Ident, Meta, Result, Token, Type, ext::IdentExt, meta::ParseNestedMeta,
    parenthesized, parse_quote,
};

/// The relevant attributes of the item.
#[derive(Default)]
pub(crate) struct ItemAttrs {
    pub(crate) archived: Option<Ident>,
    pub(crate) serialize_bounds: bool,
    pub(crate) deserialize_bounds: bool,
    pub(crate) archive_bounds: TokenStream,
    /// The tokens inside `bytecheck(..)`.
    pub(crate) bytecheck: Option<TokenStream>,
    /// The names inside `derive(..)` and `attr(..)`.
    pub(crate) derives: Vec<Ident>,
    /// True if rkyv compares archived with native values: `compare(PartialEq)`.
    pub(crate) compares: bool,
}

impl ItemAttrs {
    pub(crate) fn parse(attrs: &[Attribute]) -> Result<Self> {
        refuse_conditional(attrs)?;
        let mut found = Self::default();
        for attr in rkyv_only(attrs) {
            attr.parse_nested_meta(|meta| found.take(&meta))?;
        }
        Ok(found)
    }

    fn take(&mut self, meta: &ParseNestedMeta<'_>) -> Result<()> {
        let Some(name) = name_of(meta) else { return skip(meta).map(drop) };
        match name.as_str() {
            "as" | "remote" => Err(meta.error(
                "`as` and `remote` archive another type: not allowed on a packet type",
            )),
            "crate" => Err(meta.error(
                "`crate` is set by `#[packet]`: if packetring has another name, write `#[packet(crate = path)]`",
            )),
            "archived" => {
                self.archived = Some(meta.value()?.parse()?);
                Ok(())
            }
            "attr" => {
                let tokens = group(meta)?;
                idents(tokens.clone(), &mut self.derives);
                refuse_hidden(tokens)
            }
            "derive" => {
                idents(group(meta)?, &mut self.derives);
                Ok(())
            }
            "compare" => {
                self.compares |= find(group(meta)?, "PartialEq").is_some();
                Ok(())
            }
            "archive_bounds" => {
                self.archive_bounds = group(meta)?;
                Ok(())
            }
            "bytecheck" => {
                self.bytecheck = Some(group(meta)?);
                Ok(())
            }
            _ => self.take_bounds(&name, meta),
        }
    }

    fn take_bounds(&mut self, name: &str, meta: &ParseNestedMeta<'_>) -> Result<()> {
        self.serialize_bounds |= name == "serialize_bounds";
        self.deserialize_bounds |= name == "deserialize_bounds";
        skip(meta).map(drop)
    }

    /// Returns true if the user added a check of the bytes, which filling in place would bypass.
    pub(crate) fn verifies(&self) -> bool {
        let is_verify = |token: TokenTree| token.to_string() == "verify";
        self.bytecheck.clone().is_some_and(|tokens| tokens.into_iter().any(is_verify))
    }
}

/// The relevant attributes of one field.
#[derive(Default)]
pub(crate) struct FieldAttrs {
    pub(crate) with: Option<Type>,
    pub(crate) omit_bounds: bool,
    /// The attributes `niche` and `niche = N`, and `N`.
    pub(crate) niches: Vec<(Ident, Option<Type>)>,
}

impl FieldAttrs {
    pub(crate) fn parse(attrs: &[Attribute]) -> Result<Self> {
        refuse_conditional(attrs)?;
        let mut found = Self::default();
        for attr in rkyv_only(attrs) {
            attr.parse_nested_meta(|meta| found.take(&meta))?;
        }
        Ok(found)
    }

    fn take(&mut self, meta: &ParseNestedMeta<'_>) -> Result<()> {
        if meta.path.is_ident("with") {
            self.with = Some(meta.value()?.parse()?);
            return Ok(());
        }
        if let Some(name) = meta.path.get_ident()
            && name == "niche"
        {
            let niche =
                if meta.input.peek(Token![=]) { Some(meta.value()?.parse()?) } else { None };
            self.niches.push((name.clone(), niche));
            return Ok(());
        }
        if meta.path.is_ident("attr") {
            return refuse_hidden(group(meta)?);
        }
        self.omit_bounds |= meta.path.is_ident("omit_bounds");
        skip(meta).map(drop)
    }
}

/// Removes `with = ..` from the attributes of a field, and keeps the others.
pub(crate) fn remove_with(attrs: &mut [Attribute]) -> Result<()> {
    for attr in attrs.iter_mut().filter(|attr| attr.path().is_ident("rkyv")) {
        let mut kept = TokenStream::new();
        attr.parse_nested_meta(|meta| {
            let name = &meta.path;
            let is_with = name.is_ident("with");
            let rest = skip(&meta)?;
            if !is_with {
                kept.extend(quote!(#name #rest,));
            }
            Ok(())
        })?;
        *attr = parse_quote!(#[rkyv(#kept)]);
    }
    Ok(())
}

fn rkyv_only(attrs: &[Attribute]) -> impl Iterator<Item = &Attribute> {
    attrs.iter().filter(|attr| attr.path().is_ident("rkyv"))
}

fn name_of(meta: &ParseNestedMeta<'_>) -> Option<String> {
    meta.path.get_ident().map(ToString::to_string)
}

/// Returns the tokens inside `name(..)`.
fn group(meta: &ParseNestedMeta<'_>) -> Result<TokenStream> {
    let content;
    parenthesized!(content in meta.input);
    content.parse()
}

/// Skips everything that follows the name, and returns it.
fn skip(meta: &ParseNestedMeta<'_>) -> Result<TokenStream> {
    let mut skipped = TokenStream::new();
    let mut depth = 0_usize;
    while !meta.input.is_empty() && (depth > 0 || !meta.input.peek(Token![,])) {
        let token = meta.input.parse::<TokenTree>()?;
        match &token {
            TokenTree::Punct(punct) if punct.as_char() == '<' => depth += 1,
            TokenTree::Punct(punct) if punct.as_char() == '>' => depth = depth.saturating_sub(1),
            _ => {}
        }
        skipped.extend([token]);
    }
    Ok(skipped)
}

/// Refuses attributes of the archived type that this module must see but cannot.
fn refuse_hidden(tokens: TokenStream) -> Result<()> {
    if let Some(repr) = find(tokens.clone(), "repr") {
        let message = "`repr` would change the layout of the archived type: remove `repr`";
        return Err(Error::new_spanned(repr, message));
    }
    match find(tokens, "bytecheck") {
        Some(check) => Err(Error::new_spanned(
            check,
            "`bytecheck` inside `attr` is not seen: write `#[rkyv(bytecheck(..))]`",
        )),
        None => Ok(()),
    }
}

/// Refuses a `cfg_attr` that hides an attribute with an effect on the archived type. An attribute
/// macro gets it unexpanded.
pub(crate) fn refuse_conditional(attrs: &[Attribute]) -> Result<()> {
    for attr in attrs.iter().filter(|attr| attr.path().is_ident("cfg_attr")) {
        let Meta::List(list) = &attr.meta else { continue };
        for name in ["rkyv", "repr"] {
            if let Some(hidden) = find(list.tokens.clone(), name) {
                let message =
                    format!("`{name}` inside `cfg_attr` is not seen: write it without a condition");
                return Err(Error::new_spanned(hidden, message));
            }
        }
    }
    Ok(())
}

/// Adds all identifiers in tokens, also those within groups.
fn idents(tokens: TokenStream, to: &mut Vec<Ident>) {
    for token in tokens {
        match token {
            TokenTree::Ident(ident) => to.push(ident),
            TokenTree::Group(group) => idents(group.stream(), to),
            TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
    }
}

/// Finds an identifier in tokens, also within groups and if it is raw (`r#repr`).
pub(crate) fn find(tokens: TokenStream, name: &str) -> Option<proc_macro2::Ident> {
    tokens.into_iter().find_map(|token| match token {
        TokenTree::Ident(ident) => (ident.unraw() == name).then_some(ident),
        TokenTree::Group(group) => find(group.stream(), name),
        TokenTree::Punct(_) | TokenTree::Literal(_) => None,
    })
}
