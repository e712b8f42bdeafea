//! The arguments of the macros: `crate = path`, the path to `packetring`; and `borrowed` or
//! `borrowed = Name`, for a borrowed twin.

use proc_macro2::{Span, TokenStream};
use syn::{
    Error, Ident, Path, Result, Token,
    ext::IdentExt,
    parse::{Parse, ParseStream, Parser},
    parse_quote,
};

/// The arguments of `#[packet]`.
pub(crate) struct Args {
    /// The path to `packetring` in the user's crate.
    pub(crate) packetring: Path,
    /// The borrowed twin, if there is one.
    pub(crate) twin: Option<Twin>,
}

/// The argument `borrowed`.
pub(crate) enum Twin {
    /// `borrowed`: the twin has the name of the item and `Ref`.
    Default(Span),
    /// `borrowed = Name`.
    Named(Ident),
}

impl Twin {
    pub(crate) fn span(&self) -> Span {
        match self {
            Self::Default(span) => *span,
            Self::Named(name) => name.span(),
        }
    }
}

impl Args {
    pub(crate) fn parse(args: TokenStream) -> Result<Self> {
        Parse::parse.parse2(args)
    }
}

/// Returns the path to `packetring`, the only argument of `#[one_of]`.
pub(crate) fn crate_path(args: TokenStream) -> Result<Path> {
    let Args { packetring, twin } = Args::parse(args)?;
    match twin {
        None => Ok(packetring),
        Some(twin) => Err(Error::new(
            twin.span(),
            "`borrowed` on `#[one_of]`: put it on the packet types, as in `#[packet(borrowed)]`",
        )),
    }
}

impl Parse for Args {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let mut args = Self { packetring: parse_quote!(::packetring), twin: None };
        while !input.is_empty() {
            args.take(input)?;
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        Ok(args)
    }
}

impl Args {
    fn take(&mut self, input: ParseStream<'_>) -> Result<()> {
        let name = input.call(Ident::parse_any)?;
        if name == "crate" {
            input.parse::<Token![=]>()?;
            self.packetring = Path::parse_mod_style(input)?;
            return Ok(());
        }
        if name != "borrowed" {
            return Err(Error::new(
                name.span(),
                "invalid argument: expected `borrowed`, `borrowed = Name` or `crate = path`",
            ));
        }
        self.twin = Some(if input.peek(Token![=]) {
            input.parse::<Token![=]>()?;
            Twin::Named(input.parse()?)
        } else {
            Twin::Default(name.span())
        });
        Ok(())
    }
}
