//! Recursive types: replaces each reference of a type to itself by a placeholder.
//!
//! Limit: only the type's own name, `self::Name` and `Self` are found. A type can also refer to
//! itself through an alias, through another type or by a path with modules. The compiler then
//! reports a cycle.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{
    Ident, Path, Type, TypePath, parse_quote,
    visit_mut::{self, VisitMut},
};

/// Finds references of a type to itself.
pub(crate) struct SelfReferences<'a> {
    /// The name of the type.
    pub(crate) name: &'a Ident,
    /// The type with its generic parameters.
    pub(crate) full: &'a Type,
    /// The path of the crate `packetring`.
    pub(crate) packetring: &'a Path,
}

impl SelfReferences<'_> {
    /// Returns a field's type with each reference to the own type written in full, as
    /// `Name<Parameters>`.
    pub(crate) fn expanded(&self, ty: &Type) -> Type {
        self.replaced(ty, false).0
    }

    /// Returns a field's type with each self-reference replaced by the placeholder `Itself<..>`,
    /// and true if there was at least one.
    pub(crate) fn with_placeholders(&self, ty: &Type) -> (Type, bool) {
        self.replaced(ty, true)
    }

    fn replaced(&self, ty: &Type, by_placeholder: bool) -> (Type, bool) {
        let mut ty = ty.clone();
        let mut replace = Replace { own: self, by_placeholder, found: false };
        replace.visit_type_mut(&mut ty);
        (ty, replace.found)
    }

    fn matches(&self, path: &TypePath) -> bool {
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
    own: &'a SelfReferences<'a>,
    by_placeholder: bool,
    found: bool,
}

impl VisitMut for Replace<'_> {
    fn visit_type_mut(&mut self, ty: &mut Type) {
        match ty {
            Type::Path(path) if self.own.matches(path) => {
                self.found = true;
                let packetring = self.own.packetring;
                let full = self.full(path);
                *ty = if self.by_placeholder {
                    parse_quote!(#packetring::packet::describe::Itself<#full>)
                } else {
                    parse_quote!(#full)
                };
            }
            other => visit_mut::visit_type_mut(self, other),
        }
    }
}

impl Replace<'_> {
    fn full(&self, path: &TypePath) -> TokenStream {
        let full = self.own.full;
        if path.path.is_ident("Self") { quote!(#full) } else { quote!(#path) }
    }
}
