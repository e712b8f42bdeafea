//! The records: flat, 48 or 64 bytes, the same for every peer.
//!
//! Every word of a record is its sequence number, and every reader checks every word. So a record
//! that was read is complete and in order, and the reader's cache has really fetched it.

use iceoryx2::prelude::ZeroCopySend;
use myelon::transport::{AlignedFixedFrame, FramedTransportFrame};
use packetring::rkyv::util::AlignedVec;
use packetring::rkyv::{Archive, access, rancor, to_bytes};
use packetring::{Packet, packet};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;

/// Sequence number of a damaged record.
pub(crate) const TORN: u64 = u64::MAX;

/// A flat record, in each form that a peer needs.
pub(crate) trait Record:
    Copy
    + Default
    + Debug
    + Send
    + Sync
    + 'static
    + Packet
    + ZeroCopySend
    + Serialize
    + DeserializeOwned
{
    /// A frame of myelon with room for exactly one record.
    type Frame: FramedTransportFrame;

    /// Returns the record with this number.
    fn of(sequence: u64) -> Self;

    /// The number of the record; [`TORN`] if it is damaged.
    fn sequence(&self) -> u64;

    /// The number of an archived record; [`TORN`] if it is damaged.
    fn archived_sequence(archived: &<Self as Archive>::Archived) -> u64;

    /// Serializes the record with rkyv.
    fn archive(&self) -> Result<AlignedVec, rancor::Error>;

    /// Checks an rkyv archive and returns the record in place.
    fn open(bytes: &[u8]) -> Result<&<Self as Archive>::Archived, rancor::Error>;
}

/// The number if all words are equal; [`TORN`] otherwise.
#[inline]
fn agreed(first: u64, rest: impl Iterator<Item = u64>) -> u64 {
    let differences = rest.fold(0, |seen, word| seen | (word ^ first));
    if differences == 0 { first } else { TORN }
}

macro_rules! record {
    ($name:ident, $archived:ident, $values:literal, $bytes:literal) => {
        #[packet]
        #[derive(
            Clone, Copy, Debug, Default, ZeroCopySend, serde::Serialize, serde::Deserialize,
        )]
        #[repr(C)]
        pub(crate) struct $name {
            sequence: u64,
            values: [u64; $values],
        }

        const _: () = assert!(size_of::<$name>() == $bytes && size_of::<$archived>() == $bytes);

        impl Record for $name {
            type Frame = AlignedFixedFrame<$bytes>;

            #[inline]
            fn of(sequence: u64) -> Self {
                Self { sequence, values: [sequence; $values] }
            }

            #[inline]
            fn sequence(&self) -> u64 {
                agreed(self.sequence, self.values.iter().copied())
            }

            #[inline]
            fn archived_sequence(archived: &$archived) -> u64 {
                let values = archived.values.iter().map(|value| value.to_native());
                agreed(archived.sequence.to_native(), values)
            }

            #[inline]
            fn archive(&self) -> Result<AlignedVec, rancor::Error> {
                to_bytes(self)
            }

            #[inline]
            fn open(bytes: &[u8]) -> Result<&$archived, rancor::Error> {
                access(bytes)
            }
        }
    };
}

record!(Record48, ArchivedRecord48, 5, 48);
record!(Record64, ArchivedRecord64, 7, 64);
