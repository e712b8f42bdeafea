//! Wrappers that change how a field is archived, as in `#[rkyv(with = packetring::with::AsVec)]`.
//!
//! The wrappers needed most often:
//!
//! - [`AsVec`]: a `HashMap`, `HashSet` or B-tree as a list.
//! - [`AsUnixTime`]: a `SystemTime`.
//! - [`Via`]: any other type, through a [`Conversion`] of your own.
//! - [`AsString`]: a `PathBuf` or `OsString`.
//! - [`Lock`], [`AtomicLoad`]: a copy of the value in a mutex, or in an atomic.
//! - [`Identity`]: the field as it is, also if `#[packet]` refuses the name of its type.
//! - [`Skip`]: nothing; unpacking sets the default.
//!
//! `AsUnixTime` and `Lock` differ from rkyv's wrappers of these names. Its `AsUnixTime` panics when
//! it unpacks a corrupted time. Its `Lock` locks twice, and sends garbage if the value changes in
//! between. rkyv's `Unsafe` is absent for that reason: nothing keeps the value of a cell.
//!
//! ```
//! use packetring::with;
//! use std::{collections::HashMap, path::PathBuf};
//!
//! #[packetring::packet]
//! struct Upload {
//!     #[rkyv(with = with::AsVec)]
//!     headers: HashMap<String, String>,
//!     #[rkyv(with = with::AsString)]
//!     file: PathBuf,
//! }
//! ```

mod nested;
mod unix_time;
mod via;

#[doc(inline)]
pub use rkyv::with::{
    Acquire, ArchiveWith, AsBox, AsOwned, AsString, AsVec, AtomicLoad, DefaultNiche,
    DeserializeWith, Identity, Inline, InlineAsBox, Map, MapKV, MapNiche, Niche, NicheInto,
    Relaxed, SeqCst, SerializeWith, Skip, Unshare,
};

#[doc(hidden)]
pub use self::nested::Nested;
pub use self::{
    unix_time::AsUnixTime,
    via::{Conversion, Lock, Via},
};
