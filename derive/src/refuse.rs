//! Refuses items that cannot be packets, with a hint what to use instead.
//!
//! Limit: this checks names, not types. A user's own type named `Instant` is refused too, unless
//! the field has `#[rkyv(with = packetring::with::Identity)]`. A type behind an alias passes here,
//! and the bounds of the emitted implementations refuse it.

use proc_macro2::TokenTree;
use syn::{
    Attribute, Error, Expr, Fields, GenericArgument, GenericParam, Generics, Item, Lit, Meta,
    PathArguments, PathSegment, Token, Type, TypePath, Variant,
    ext::IdentExt,
    punctuated::Punctuated,
    visit::{self, Visit},
};

use crate::rkyv_attrs::{FieldAttrs, refuse_conditional};

/// The error for items other than structs and enums.
pub(crate) const NOT_A_TYPE: &str = "`#[packet]` on another item: expected a struct or an enum";

/// The error for references and lifetimes.
const BORROWS: &str = "a packet owns its data: use `String`, `Vec` or `Box` instead of a reference";

/// Returns all reasons to refuse an item, in one error.
pub(crate) fn item(item: &Item) -> Result<(), Error> {
    let mut errors = Errors::default();
    match item {
        Item::Struct(item) => {
            errors.attrs(&item.attrs);
            errors.generics(&item.generics);
            errors.fields(&item.fields, false);
        }
        Item::Enum(item) => {
            errors.attrs(&item.attrs);
            errors.generics(&item.generics);
            errors.variants(&item.ident, &item.variants);
        }
        Item::Union(item) => {
            errors.push(
                &item.union_token,
                "a union does not store which field is valid: use an enum",
            );
        }
        other => errors.push(other, NOT_A_TYPE),
    }
    errors.0.map_or(Ok(()), Err)
}

#[derive(Default)]
struct Errors(Option<Error>);

impl Errors {
    fn push(&mut self, tokens: &dyn quote::ToTokens, message: &str) {
        self.add(Error::new_spanned(tokens.to_token_stream(), message));
    }

    fn add(&mut self, error: Error) {
        match &mut self.0 {
            Some(errors) => errors.combine(error),
            none => *none = Some(error),
        }
    }

    fn attrs(&mut self, attrs: &[Attribute]) {
        if let Err(error) = refuse_conditional(attrs) {
            self.add(error);
        }
        for attr in attrs {
            if attr.path().get_ident().is_some_and(|name| name.unraw() == "repr") {
                self.repr(attr);
            } else if attr.path().is_ident("derive") {
                self.derive(attr);
            }
        }
    }

    fn repr(&mut self, attr: &Attribute) {
        let Meta::List(list) = &attr.meta else { return };
        for token in list.tokens.clone() {
            let TokenTree::Ident(word) = &token else { continue };
            if word == "align" {
                self.push(word, "a packet is aligned to 16 bytes and no more: remove `align`");
            } else if word == "packed" {
                self.push(word, "a packed struct cannot be read in place: remove `packed`");
            }
        }
    }

    fn derive(&mut self, attr: &Attribute) {
        let _ = attr.parse_nested_meta(|meta| {
            if meta.path.segments.last().is_some_and(|last| last.ident == "Archive") {
                self.push(
                    &meta.path,
                    "duplicate derive: `#[packet]` derives `Archive`, `Serialize` and `Deserialize`",
                );
            }
            Ok(())
        });
    }

    fn generics(&mut self, generics: &Generics) {
        for parameter in &generics.params {
            if let GenericParam::Lifetime(lifetime) = parameter {
                self.push(lifetime, BORROWS);
            }
        }
    }

    fn variants(&mut self, name: &syn::Ident, variants: &Punctuated<Variant, Token![,]>) {
        if variants.is_empty() {
            self.push(name, "an enum without variants has no values: add a variant");
        } else if variants.len() > 256 {
            self.push(name, "too many variants: the tag is one byte, so at most 256 are possible");
        }
        for variant in variants {
            self.unconditional(&variant.attrs);
            if let Some((_, value)) = &variant.discriminant
                && !fits_a_byte(value)
            {
                self.push(value, "discriminant out of range: the tag is one byte, so use 0 to 255");
            }
            self.fields(&variant.fields, true);
        }
    }

    /// Refuses a `cfg`: the description would name a field or variant that is not there.
    fn unconditional(&mut self, attrs: &[Attribute]) {
        if let Some(attr) = attrs.iter().find(|attr| attr.path().is_ident("cfg")) {
            self.push(attr, "`cfg` on a part of a packet type: put it on the whole type");
        }
    }

    fn fields(&mut self, fields: &Fields, in_enum: bool) {
        for field in fields {
            self.unconditional(&field.attrs);
            match FieldAttrs::parse(&field.attrs) {
                Err(error) => self.add(error),
                Ok(attrs) => {
                    if let (Some((niche, _)), true) = (attrs.niches.first(), in_enum) {
                        self.push(
                            niche,
                            "`niche` in an enum would read the tag before it is checked: use it in structs only",
                        );
                    }
                    if attrs.with.is_none() {
                        self.field_type(&field.ty);
                    }
                }
            }
        }
    }

    fn field_type(&mut self, ty: &Type) {
        let mut search = Search(None);
        search.visit_type(ty);
        if let Some(error) = search.0 {
            self.add(error);
        }
    }
}

/// Returns false if a discriminant is a literal that does not fit a `u8`. Other expressions are
/// left to the compiler.
fn fits_a_byte(value: &Expr) -> bool {
    match value {
        Expr::Lit(literal) => match &literal.lit {
            Lit::Int(number) => number.base10_parse::<u8>().is_ok(),
            _ => true,
        },
        Expr::Unary(unary) => !matches!(unary.op, syn::UnOp::Neg(_)),
        _ => true,
    }
}

/// Finds the first refused type within a type.
struct Search(Option<Error>);

impl Search {
    fn found(&mut self, ty: &dyn quote::ToTokens, message: impl std::fmt::Display) {
        self.0.get_or_insert_with(|| Error::new_spanned(ty.to_token_stream(), message));
    }
}

impl<'ast> Visit<'ast> for Search {
    fn visit_type(&mut self, ty: &'ast Type) {
        match ty {
            Type::Reference(_) => self.found(ty, BORROWS),
            Type::Ptr(_) => {
                self.found(ty, "a pointer is invalid in another process: send the data")
            }
            Type::FnPtr(_) => self.found(
                ty,
                "a function pointer is invalid in another process: send an enum that selects the function",
            ),
            Type::TraitObject(_) | Type::ImplTrait(_) => self.found(
                ty,
                "the concrete type behind a trait is unknown in another process: use an enum",
            ),
            Type::Path(path) => self.visit_type_path(path),
            other => visit::visit_type(self, other),
        }
    }

    fn visit_type_path(&mut self, path: &'ast TypePath) {
        let Some(last) = path.path.segments.last() else { return };
        if last.ident == "PhantomData" {
            return;
        }
        match advice(last) {
            Some(advice) => {
                self.found(path, format!("`{}` cannot be part of a packet: {advice}", last.ident))
            }
            None => visit::visit_type_path(self, path),
        }
    }
}

/// Returns what to use instead of a type of this name. `None` if the name is not refused.
fn advice(segment: &PathSegment) -> Option<&'static str> {
    let name = segment.ident.to_string();
    if matches!(segment.arguments, PathArguments::None) {
        plain_advice(&name)
    } else {
        generic_advice(&name, &segment.arguments)
    }
}

/// Returns true if a lifetime other than `'static` is among the arguments of a type.
fn borrows(arguments: &PathArguments) -> bool {
    let PathArguments::AngleBracketed(list) = arguments else { return false };
    list.args.iter().any(
        |argument| matches!(argument, GenericArgument::Lifetime(life) if life.ident != "static"),
    )
}

fn generic_advice(name: &str, arguments: &PathArguments) -> Option<&'static str> {
    Some(match name {
        "HashMap" | "IndexMap" | "FxHashMap" | "AHashMap" => {
            "use `BTreeMap`, or put `#[rkyv(with = packetring::with::AsVec)]` on the field"
        }
        "HashSet" | "IndexSet" | "FxHashSet" | "AHashSet" => {
            "use `BTreeSet`, or put `#[rkyv(with = packetring::with::AsVec)]` on the field"
        }
        "Rc" | "Arc" => {
            "use `Box`, or put `#[rkyv(with = packetring::with::Unshare)]` on the field"
        }
        "Weak" => "use `Box`, or the index of the target",
        "Cell" | "UnsafeCell" => {
            "send the contained value, or convert it with `#[rkyv(with = packetring::with::Via<..>)]` on the field"
        }
        "RefCell" | "OnceCell" | "LazyCell" | "OnceLock" | "LazyLock" => "send the contained value",
        "Mutex" | "RwLock" => {
            "send the protected value, or put `#[rkyv(with = packetring::with::Lock)]` on the field"
        }
        "Cow" if borrows(arguments) => {
            "it borrows for a lifetime of the packet; use the owned type, such as `String` or `Vec`"
        }
        "Cow" => {
            "use the owned type, or put `#[rkyv(with = packetring::with::AsOwned)]` on the field"
        }
        "BinaryHeap" | "LinkedList" => "use `Vec` or `VecDeque`",
        "RangeInclusive" => {
            "the archive omits that an iterator is exhausted; use `Range`, or two fields"
        }
        _ => return None,
    })
}

fn plain_advice(name: &str) -> Option<&'static str> {
    Some(match name {
        "Instant" => {
            "meaningful in one process only; use `Duration`, or `SystemTime` with `#[rkyv(with = packetring::with::AsUnixTime)]`"
        }
        "SystemTime" => "put `#[rkyv(with = packetring::with::AsUnixTime)]` on the field",
        "PathBuf" | "OsString" => {
            "use `String`, or put `#[rkyv(with = packetring::with::AsString)]` on the field"
        }
        "usize" | "isize" | "NonZeroUsize" | "NonZeroIsize" => {
            "rkyv truncates this type to 32 bits; use `u64` or `u32`"
        }
        "AtomicUsize" | "AtomicIsize" => {
            "use `u64`, or `AtomicU64` with `#[rkyv(with = packetring::with::AtomicLoad<packetring::with::Relaxed>)]`"
        }
        "AtomicBool" | "AtomicU8" | "AtomicU16" | "AtomicU32" | "AtomicU64" | "AtomicI8"
        | "AtomicI16" | "AtomicI32" | "AtomicI64" => {
            "use the plain number, or put `#[rkyv(with = packetring::with::AtomicLoad<packetring::with::Relaxed>)]` on the field"
        }
        _ => return None,
    })
}
