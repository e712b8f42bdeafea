//! Parses `#[rkyv(..)]` on the item and on its fields.
//!
//! rkyv gets these attributes unchanged. This module reads the ones with an effect on the emitted
//! code.

use proc_macro2::{TokenStream, TokenTree};
use syn::{Attribute, Error, Ident, Result, Token, Type, meta::ParseNestedMeta, parenthesized};

/// The relevant attributes of the item.
#[derive(Default)]
pub(crate) struct ItemAttrs {
    pub(crate) archived: Option<Ident>,
    pub(crate) serialize_bounds: bool,
    pub(crate) deserialize_bounds: bool,
    pub(crate) archive_bounds: TokenStream,
    /// The tokens inside `bytecheck(..)`.
    pub(crate) bytecheck: Option<TokenStream>,
}

impl ItemAttrs {
    pub(crate) fn parse(attrs: &[Attribute]) -> Result<Self> {
        let mut found = Self::default();
        for attr in rkyv_only(attrs) {
            attr.parse_nested_meta(|meta| found.take(&meta))?;
        }
        Ok(found)
    }

    fn take(&mut self, meta: &ParseNestedMeta<'_>) -> Result<()> {
        let Some(name) = name_of(meta) else { return skip(meta) };
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
            "attr" => refuse_repr(group(meta)?),
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
        skip(meta)
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
        self.omit_bounds |= meta.path.is_ident("omit_bounds");
        skip(meta)
    }
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

/// Skips everything that follows the name.
fn skip(meta: &ParseNestedMeta<'_>) -> Result<()> {
    let mut depth = 0_usize;
    while !meta.input.is_empty() && (depth > 0 || !meta.input.peek(Token![,])) {
        match meta.input.parse::<TokenTree>()? {
            TokenTree::Punct(punct) if punct.as_char() == '<' => depth += 1,
            TokenTree::Punct(punct) if punct.as_char() == '>' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    Ok(())
}

fn refuse_repr(tokens: TokenStream) -> Result<()> {
    for token in tokens {
        if let TokenTree::Ident(ident) = &token
            && ident == "repr"
        {
            return Err(Error::new_spanned(
                ident,
                "`repr` would change the layout of the archived type: remove `repr`",
            ));
        }
    }
    Ok(())
}
