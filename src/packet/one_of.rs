//! A choice of packet types: what `#[one_of]` makes of an enum.
//!
//! The packet's fingerprint decides; bytes are only checked as the type that it names.

use super::{Fingerprint, Invalid, TypeInfo};

/// An enum of packets, each in place for `'a`.
///
/// Implemented by [`#[one_of]`](macro@crate::one_of) only.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a choice of packets",
    label = "put `#[packetring::one_of]` on the enum"
)]
pub trait OneOf<'a>: Sized {
    /// The packet types of all variants, in order.
    const TYPES: &'static [TypeInfo];

    /// Checks the bytes as the type with this fingerprint; nothing if no variant has it.
    #[doc(hidden)]
    fn open(fingerprint: Fingerprint, bytes: &'a [u8]) -> Result<Option<Self>, Invalid>;

    /// Says in full why `open` refused.
    #[doc(hidden)]
    fn explain(fingerprint: Fingerprint, bytes: &'a [u8]) -> String;
}

/// Whether no two packet types have the same fingerprint.
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
