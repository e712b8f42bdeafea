//! Archives of native values, as packetring writes and checks them.

use packetring::Packet;
use packetring::packet::{Scratch, Unserializable, fingerprint_of, schema_of};
use packetring::rkyv::util::AlignedVec;
use packetring_dynamic::{Schema, SchemaError};
use std::ptr::NonNull;

/// An archive in memory aligned like a slot.
pub(crate) struct Archive(AlignedVec<16>);

impl Archive {
    /// Returns `len` bytes with arbitrary content, like that of an older packet.
    pub(crate) fn room(len: usize) -> Self {
        let mut bytes = AlignedVec::new();
        bytes.resize(len, 0xa5);
        Self(bytes)
    }

    pub(crate) fn of<T: Packet>(value: &T) -> Result<Self, Unserializable> {
        let mut scratch = Scratch::new();
        let len = T::measure(value, &mut scratch)?;
        let mut archive = Self::room(len);
        // Not null: an empty vector gives an aligned dangling pointer.
        let out = NonNull::new(archive.0.as_mut_ptr()).unwrap();
        // SAFETY: the vector has `len` bytes, aligned to 16, and is borrowed mutably.
        unsafe { T::write(value, out, len, &mut scratch) }?;
        Ok(archive)
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

/// The schema of a Rust type.
pub(crate) fn layout_of<T: Packet>() -> Result<Schema, SchemaError> {
    Schema::parse(&schema_of::<T>(), fingerprint_of::<T>().0)
}
