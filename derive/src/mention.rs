//! Types that mention themselves: finds the mentions and puts the stand-in there.
//!
//! Only mentions by the type's own name or `Self` can be seen; through an alias, another type or a path with
//! modules the compiler reports a cycle.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{
    Ident, Path, Type, TypePath, parse_quote,
    visit_mut::{self, VisitMut},
};

/// A type's own name, and its full form with its parameters.
pub(crate) struct Mentions<'a> {
    pub(crate) name: &'a Ident,
    pub(crate) full: &'a Type,
    pub(crate) packetring: &'a Path,
}

impl Mentions<'_> {
    /// The field's type with `Self` written out.
    pub(crate) fn spelled_out(&self, ty: &Type) -> Type {
        self.replaced(ty, false).0
    }

    /// The field's type with the stand-in for each mention, and whether there was any.
    pub(crate) fn replaced(&self, ty: &Type, by_stand_in: bool) -> (Type, bool) {
        let mut ty = ty.clone();
        let mut replace = Replace { mentions: self, by_stand_in, found: false };
        replace.visit_type_mut(&mut ty);
        (ty, replace.found)
    }

    fn is_mention(&self, path: &TypePath) -> bool {
        let own = |path: &Path| match path.segments.last() {
            Some(last) if path.segments.len() == 1 => {
                last.ident == *self.name || last.ident == "Self"
            }
            Some(last) => {
                path.segments.len() == 2
                    && path.segments[0].ident == "self"
                    && last.ident == *self.name
            }
            None => false,
        };
        path.qself.is_none() && path.path.leading_colon.is_none() && own(&path.path)
    }
}

struct Replace<'a> {
    mentions: &'a Mentions<'a>,
    by_stand_in: bool,
    found: bool,
}

impl VisitMut for Replace<'_> {
    fn visit_type_mut(&mut self, ty: &mut Type) {
        match ty {
            Type::Path(path) if self.mentions.is_mention(path) => {
                self.found = true;
                let packetring = self.mentions.packetring;
                let meant = self.meant(path);
                *ty = if self.by_stand_in {
                    parse_quote!(#packetring::packet::describe::Itself<#meant>)
                } else {
                    parse_quote!(#meant)
                };
            }
            other => visit_mut::visit_type_mut(self, other),
        }
    }
}

impl Replace<'_> {
    fn meant(&self, path: &TypePath) -> TokenStream {
        let full = self.mentions.full;
        if path.path.is_ident("Self") { quote!(#full) } else { quote!(#path) }
    }
}
