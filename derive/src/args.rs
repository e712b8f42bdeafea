//! The argument of the macros: `crate = path`, the path to `packetring`.

use proc_macro2::TokenStream;
use syn::{
    Path, Result, Token,
    parse::{Parse, ParseStream, Parser},
    parse_quote,
};

/// Returns the path to `packetring` in the user's crate.
pub(crate) fn crate_path(args: TokenStream) -> Result<Path> {
    if args.is_empty() {
        return Ok(parse_quote!(::packetring));
    }
    CratePath::parse.parse2(args).map(|CratePath(path)| path)
}

struct CratePath(Path);

impl Parse for CratePath {
    fn parse(input: ParseStream) -> Result<Self> {
        input.parse::<Token![crate]>().map_err(|error| {
            syn::Error::new(error.span(), "invalid argument: expected `crate = path` or nothing")
        })?;
        input.parse::<Token![=]>()?;
        let path = Path::parse_mod_style(input)?;
        input.parse::<Option<Token![,]>>()?;
        Ok(Self(path))
    }
}
