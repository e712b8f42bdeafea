//! The errors of reading a schema, of checking an archive and of encoding a value.
//!
//! Each has a problem, which is an enum of its own, and the path to the place. The path is
//! collected on the way out, so that success costs nothing.

use std::error::Error;
use std::fmt::{self, Write};

/// A problem, and the way to it from the inside out.
#[derive(Debug)]
pub(super) struct Located<P> {
    problem: P,
    steps: Vec<String>,
}

/// Steps that a text shows at the start and at the end of a path.
const SHOWN: usize = 12;
/// Characters of a name that a text shows.
const NAME: usize = 60;

impl<P> Located<P> {
    /// The whole path. `.` for the root.
    fn path(&self) -> String {
        let (count, mut path) = (self.steps.len(), String::new());
        for (index, step) in self.steps.iter().rev().enumerate() {
            match index {
                _ if index < SHOWN || index + SHOWN >= count => path.push_str(step),
                SHOWN => path.push('…'),
                _ => {}
            }
        }
        if path.is_empty() { String::from(".") } else { path }
    }
}

/// A part of a path: the field of a name.
pub(super) fn field(name: &str) -> String {
    if !name.is_empty()
        && name.len() <= NAME
        && name.chars().all(|c| c.is_alphanumeric() || c == '_')
    {
        return format!(".{name}");
    }
    format!("[{}]", quoted(name))
}

/// A part of a path: the element at an index.
pub(super) fn element(index: usize) -> String {
    format!("[{index}]")
}

/// A text for an error: escaped and cut.
pub(super) fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    out.extend(text.chars().take(NAME).flat_map(char::escape_debug));
    if text.chars().nth(NAME).is_some() {
        out.push('…');
    }
    out.push('"');
    out
}

macro_rules! located {
    ($(#[$doc:meta])* $error:ident of $problem:ident = $what:literal) => {
        $(#[$doc])*
        pub struct $error(Box<Located<$problem>>);

        impl $error {
            #[cold]
            pub(super) fn new(problem: $problem) -> Self {
                Self(Box::new(Located { problem, steps: Vec::new() }))
            }

            /// Adds the step from outside to the place.
            #[cold]
            pub(super) fn within(mut self, step: impl FnOnce() -> String) -> Self {
                self.0.steps.push(step());
                self
            }

            /// The problem.
            pub fn problem(&self) -> &$problem {
                &self.0.problem
            }

            /// The path to the place, as `.orders[3].price`. `.` is the whole.
            pub fn path(&self) -> String {
                self.0.path()
            }
        }

        impl fmt::Display for $error {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($what, " at {}: {}"), self.path(), self.problem())
            }
        }

        impl fmt::Debug for $error {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($error), "({:?})"), self.to_string())
            }
        }

        impl Error for $error {}
    };
}

located! {
    /// A text is not the schema of a packet type.
    SchemaError of SchemaProblem = "invalid schema"
}

/// The problem of a [`SchemaError`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SchemaProblem {
    /// The text is too long.
    TooLong {
        /// Its bytes.
        bytes: usize,
        /// Most bytes.
        limit: usize,
    },
    /// The text is not JSON, or nests too deeply.
    NotJson(String),
    /// A member of an object is missing or has another type.
    Member {
        /// The name of the member.
        member: &'static str,
        /// What it must be.
        expected: &'static str,
    },
    /// The kind of a type is not known.
    UnknownKind(String),
    /// A number does not fit the rest of the schema.
    Number {
        /// What the number is.
        what: &'static str,
        /// The number in the schema.
        found: u64,
        /// The number that fits: the least or the most of several.
        expected: u64,
    },
    /// A name or tag occurs twice in one type.
    Twice(String),
    /// A list or array has elements without bytes, and too many of them.
    NoBytes {
        /// The number of elements; 0 for a list of any length.
        elements: u64,
        /// Most such values in a schema.
        limit: u64,
    },
    /// Too many types contain each other without a pointer in between.
    TooDeep {
        /// Most of them.
        limit: usize,
    },
    /// A type contains itself, and no pointer is in between; or the named type contains nothing.
    Recursion(String),
    /// An option without a tag byte has a content without a niche.
    NoNiche(String),
}

impl fmt::Display for SchemaProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { bytes, limit } => write!(f, "{bytes} bytes, limit {limit}")?,
            Self::NotJson(what) => write!(f, "not JSON: {what}")?,
            Self::Member { member, expected } => {
                write!(f, "member \"{member}\" must be {expected}")?;
            }
            Self::UnknownKind(kind) => write!(f, "unknown kind {}", quoted(kind))?,
            Self::Number { what, found, expected } => {
                write!(f, "{what} is {found}, expected {expected}")?;
            }
            Self::Twice(name) => write!(f, "{} occurs twice", quoted(name))?,
            Self::NoBytes { elements: 0, .. } => f.write_str("a list of elements without bytes")?,
            Self::NoBytes { elements, limit } => {
                write!(f, "{elements} elements without bytes, limit {limit}")?;
            }
            Self::TooDeep { limit } => {
                write!(f, "more than {limit} types within each other without a pointer")?;
            }
            Self::Recursion(name) => {
                write!(f, "type {} cannot contain itself here", quoted(name))?;
            }
            Self::NoNiche(word) => write!(f, "the content has no niche for {}", quoted(word))?,
        }
        f.write_str("; read the type with the program that registered it")
    }
}

located! {
    /// The bytes are not an archive of the type.
    ArchiveError of ArchiveProblem = "invalid packet"
}

/// The problem of an [`ArchiveError`]. Positions count bytes from the start of the archive.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ArchiveProblem {
    /// The number of bytes does not fit the type.
    Length {
        /// The number of bytes.
        len: usize,
        /// The size of the root: the exact length of a type without pointers, else the least.
        root: usize,
    },
    /// A pointer leads out of the bytes that are left for its content.
    Outside {
        /// The position that the pointer leads to.
        position: i64,
        /// The bytes of the content.
        size: u64,
        /// The first position of the bytes that are left.
        start: usize,
        /// The position behind them.
        end: usize,
    },
    /// A pointer leads to a position that is not aligned for its content.
    Unaligned {
        /// The position.
        position: usize,
        /// The alignment in bytes.
        align: usize,
    },
    /// Pointers nest too deeply.
    TooDeep {
        /// Most pointers within each other.
        limit: usize,
    },
    /// A value is not one of its type.
    Invalid {
        /// The type.
        expected: &'static str,
        /// The value as a number.
        found: u64,
    },
    /// A text is not UTF-8, or a text for C has a zero before its end or none there.
    Text {
        /// The bytes of the text.
        len: usize,
    },
    /// A map or set cannot be iterated.
    Tree(&'static str),
    /// The number of entries of a map or set differs from its length.
    Entries {
        /// The entries in the nodes.
        found: usize,
        /// The length.
        len: usize,
    },
}

impl fmt::Display for ArchiveProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length { len, root } => write!(f, "{len} bytes, expected a root of {root} bytes"),
            Self::Outside { position, size, start, end } => write!(
                f,
                "pointer to {size} bytes at {position} leads out of bytes {start} to {end}"
            ),
            Self::Unaligned { position, align } => {
                write!(f, "pointer to {position}, which is not a multiple of {align}")
            }
            Self::TooDeep { limit } => write!(f, "more than {limit} pointers within each other"),
            Self::Invalid { expected, found } => write!(f, "{found} is not a valid {expected}"),
            Self::Text { len } => {
                write!(f, "text of {len} bytes is not UTF-8, or not ended by one zero")
            }
            Self::Tree(what) => write!(f, "a node of the map or set {what}"),
            Self::Entries { found, len } => {
                write!(f, "{found} entries in a map or set of length {len}")
            }
        }
    }
}

located! {
    /// A JSON value cannot be written as a packet of the type.
    EncodeError of EncodeProblem = "value not encoded"
}

/// The problem of an [`EncodeError`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EncodeProblem {
    /// The JSON has another type.
    Type {
        /// The JSON that the type needs.
        expected: String,
        /// The JSON that was given, cut.
        found: String,
    },
    /// A number or text is no value of the type.
    Range {
        /// The type.
        expected: String,
        /// The JSON that was given, cut.
        found: String,
    },
    /// A list has another number of elements than its type.
    Length {
        /// The number that the type needs.
        expected: usize,
        /// The number that was given.
        found: usize,
    },
    /// A field is missing, and is no option.
    MissingField(String),
    /// The type has no field of this name.
    UnknownField {
        /// The name that was given.
        found: String,
        /// The names of the type.
        known: String,
    },
    /// The enum has no variant of this name.
    UnknownVariant {
        /// The name that was given.
        found: String,
        /// The names of the enum.
        known: String,
    },
    /// A map or set has a key twice.
    Twice(String),
    /// Pointers would nest more deeply than readers accept.
    TooDeep {
        /// Most pointers within each other.
        limit: usize,
    },
    /// The archive would be longer than a packet may be.
    TooLong {
        /// Most bytes.
        limit: usize,
    },
}

impl fmt::Display for EncodeProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Type { expected, found } => write!(f, "expected {expected}, found {found}"),
            Self::Range { expected, found } => write!(f, "{found} is no value of {expected}"),
            Self::Length { expected, found } => {
                write!(f, "expected {expected} elements, found {found}")
            }
            Self::MissingField(name) => write!(f, "field {} is missing; add it", quoted(name)),
            Self::UnknownField { found, known } => {
                write!(f, "unknown field {}; fields are {known}", quoted(found))
            }
            Self::UnknownVariant { found, known } => {
                write!(f, "unknown variant {}; variants are {known}", quoted(found))
            }
            Self::Twice(key) => write!(f, "key {key} occurs twice; remove one"),
            Self::TooDeep { limit } => {
                write!(f, "more than {limit} pointers within each other; nest less deeply")
            }
            Self::TooLong { limit } => write!(f, "more than {limit} bytes; send less at once"),
        }
    }
}

/// Lists names for an error: at most 20.
pub(super) fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let mut out = String::new();
    for (index, name) in names.enumerate() {
        match index {
            0 => out.push_str(&quoted(name)),
            // Writing to a `String` does not fail.
            1..20 => _ = write!(out, ", {}", quoted(name)),
            20 => out.push_str(", …"),
            _ => break,
        }
    }
    if out.is_empty() { String::from("none") } else { out }
}
