//! Recursive types: replaces each reference of a type to itself by a placeholder.
//!
//! The placeholder stands for the type with exactly its own parameters. A reference with other
//! parameters is another type with another description, and is refused.
//!
//! Limit: only the type's own name and `Self` are found. For a reference through an alias, through
//! another type or by a path with modules, the compiler reports a cycle.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{
    Error, Ident, Path, Result, Type, TypePath, parse_quote,
    visit::{self, Visit},
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
    /// Returns an error if a field's type refers to the type with other parameters, or to a type
    /// that a trait derives from it.
    pub(crate) fn check(&self, ty: &Type) -> Result<()> {
        let mut check = Check { own: self, error: None };
        check.visit_type(ty);
        check.error.map_or(Ok(()), Err)
    }

    /// Returns a field's type with `Self` replaced by the full name.
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

    /// Returns true if a reference has the parameters of the type itself.
    fn is_exact(&self, path: &TypePath) -> bool {
        let Type::Path(full) = self.full else { return false };
        let arguments = |path: &TypePath| {
            path.path.segments.last().map(|last| {
                let arguments = &last.arguments;
                quote!(#arguments).to_string()
            })
        };
        path.path.is_ident("Self") || arguments(path) == arguments(full)
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

struct Check<'a> {
    own: &'a SelfReferences<'a>,
    error: Option<Error>,
}

impl Check<'_> {
    fn refuse(&mut self, path: &TypePath, reason: &str) {
        let error = || Error::new_spanned(path, format!("`{}` {reason}", self.own.name));
        self.error.get_or_insert_with(error);
    }
}

impl<'ast> Visit<'ast> for Check<'_> {
    fn visit_type_path(&mut self, path: &'ast TypePath) {
        let of_self = path.path.segments.first().is_some_and(|first| first.ident == "Self");
        if of_self && path.path.segments.len() > 1 {
            self.refuse(path, DERIVED);
        } else if let Some(qself) = &path.qself
            && self.own.with_placeholders(&qself.ty).1
        {
            self.refuse(path, DERIVED);
        } else if self.own.matches(path) && !self.own.is_exact(path) {
            self.refuse(path, OTHER);
        }
        visit::visit_type_path(self, path);
    }
}

/// The error for a reference to the type with other parameters.
const OTHER: &str = "contains itself with other parameters: write `Self`, or use two types";

/// The error for an associated type of the type.
const DERIVED: &str = "contains a type that depends on itself: name that type directly";

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
