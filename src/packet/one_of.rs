//! A choice of packet types: the trait that `#[one_of]` implements.
//!
//! The packet's fingerprint selects the variant. The bytes are checked as that variant's type only.

use super::{Fingerprint, Invalid, TypeInfo};

/// An enum of references to packets, each read in place for `'a`.
///
/// Only [`#[one_of]`](macro@crate::one_of) implements it.
///
/// ```
/// use packetring::{one_of, packet};
/// use packetring::packet::OneOf;
///
/// #[packet]
/// struct Job { name: String }
/// #[packet]
/// struct Stop;
///
/// #[one_of]
/// enum Work {
///     Job(Job),
///     Stop(Stop),
/// }
///
/// # fn main() {
/// assert_eq!(Work::TYPES[1].name, "Stop");
/// # }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a choice of packets",
    label = "not a choice of packets",
    note = "put `#[packetring::one_of]` on the enum"
)]
pub trait OneOf<'a>: Sized {
    /// The packet types of all variants, in declaration order.
    const TYPES: &'static [TypeInfo];

    /// Checks the bytes as the type with this fingerprint. Returns `None` if no variant has it.
    #[doc(hidden)]
    fn open(fingerprint: Fingerprint, bytes: &'a [u8]) -> Result<Option<Self>, Invalid>;

    /// Returns the reason why `open` failed, as text.
    #[doc(hidden)]
    fn explain(fingerprint: Fingerprint, bytes: &'a [u8]) -> String;
}

/// Returns true if all fingerprints differ.
#[doc(hidden)]
pub const fn all_distinct(types: &[TypeInfo]) -> bool {
    let mut i = 0;
    while i < types.len() {
        let mut j = i + 1;
        while j < types.len() {
            if types[i].fingerprint.0 == types[j].fingerprint.0 {
                return false;
            }
            j += 1;
        }
        i += 1;
    }
    true
}
