//! The packets. The content of each follows from its number, so that readers can check it.

use packetring::{Packet, packet};

/// A packet with a number, and content that follows from the number.
pub(crate) trait Numbered: Packet {
    /// Size of the archive in bytes.
    const ARCHIVED: usize;
    fn blank() -> Self;
    fn set(&mut self, number: u64);
    /// Returns true if the packet has the content of this number.
    fn is(archived: &Self::Archived, number: u64) -> bool;
}

/// Fills a slot of 64 bytes: 48 bytes and a header of 16.
#[packet]
pub(crate) struct Tick {
    pub(crate) number: u64,
    values: [u64; 5],
}

impl Numbered for Tick {
    const ARCHIVED: usize = 48;

    fn blank() -> Self {
        Self { number: 0, values: [0; 5] }
    }

    #[inline]
    fn set(&mut self, number: u64) {
        *self = Self { number, values: [number; 5] };
    }

    #[inline]
    fn is(archived: &ArchivedTick, number: u64) -> bool {
        archived.number == number && archived.values[4] == number
    }
}

/// Takes two slots.
#[packet]
pub(crate) struct Wide {
    number: u64,
    values: [u64; 7],
}

impl Numbered for Wide {
    const ARCHIVED: usize = 64;

    fn blank() -> Self {
        Self { number: 0, values: [0; 7] }
    }

    #[inline]
    fn set(&mut self, number: u64) {
        *self = Self { number, values: [number; 7] };
    }

    #[inline]
    fn is(archived: &ArchivedWide, number: u64) -> bool {
        archived.number == number && archived.values[6] == number
    }
}

/// Has text, which must be checked for valid UTF-8.
#[packet]
pub(crate) struct Chat {
    name: String,
    age: u32,
    desc: String,
}

const NAME: &str = "Ada Lovelace";
const DESC: &str = "writes the first program, for a machine that will not be built in her \
                    lifetime, and she is right";

impl Numbered for Chat {
    // Two texts, and a root with two strings and a number.
    const ARCHIVED: usize = (NAME.len() + DESC.len()).next_multiple_of(4) + 20;

    fn blank() -> Self {
        Self { name: NAME.into(), age: 0, desc: DESC.into() }
    }

    #[inline]
    fn set(&mut self, number: u64) {
        self.age = number as u32;
    }

    #[inline]
    fn is(archived: &ArchivedChat, number: u64) -> bool {
        archived.age == number as u32
            && archived.name.len() == NAME.len()
            && archived.desc.len() == DESC.len()
    }
}
