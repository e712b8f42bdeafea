//! The tag of a request: 23 bits of its descriptor, so a request takes no extra bytes.
//!
//! ```text
//!   22           13 12             0
//!  ┌───────────────┬────────────────┐
//!  │ entry         │ cell           │  archive
//!  └───────────────┴────────────────┘
//! ```
//!
//! - **entry**: the publisher entry of the client's worker in the request ring. The entry has the
//!   id of the worker's call area.
//! - **cell**: the cell of the call in that area.

use crate::channel::{MAX_CALL_CELLS, MAX_ENTRIES};

const CELL_BITS: u32 = MAX_CALL_CELLS.ilog2();

const _: () = assert!(MAX_CALL_CELLS.is_power_of_two() && MAX_ENTRIES << CELL_BITS <= 1 << 23);

/// The tag of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RequestTag {
    /// A publisher entry, below [`MAX_ENTRIES`].
    pub(crate) entry: u16,
    /// A cell, below [`MAX_CALL_CELLS`].
    pub(crate) cell: u16,
}

impl RequestTag {
    /// Encodes the tag.
    #[inline]
    pub(crate) fn word(self) -> u32 {
        u32::from(self.entry) << CELL_BITS | u32::from(self.cell)
    }

    /// Decodes a tag.
    #[inline]
    pub(crate) fn of(word: u32) -> Self {
        let cell = word & ((1 << CELL_BITS) - 1);
        Self { entry: (word >> CELL_BITS) as u16, cell: cell as u16 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_holds_any_entry_and_cell() {
        for entry in [0, 1, 1023] {
            for cell in [0, 1, 8191] {
                let tag = RequestTag { entry, cell };
                assert_eq!(RequestTag::of(tag.word()), tag);
                assert!(tag.word() < 1 << 23);
            }
        }
    }
}
