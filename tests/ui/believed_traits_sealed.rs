//! `Packet` has no implementations but its own, not even for a type with `unsafe impl Native`.

use packetring::{
    Packet,
    packet::{Invalid, Native, Scratch, TypeInfo, Unserializable, type_of},
    rkyv,
};
use std::ptr::NonNull;

struct Mine;

impl rkyv::Archive for Mine {
    type Archived = rkyv::string::ArchivedString;
    type Resolver = ();

    fn resolve(&self, (): (), _: rkyv::Place<Self::Archived>) {}
}

unsafe impl Native for Mine {}

impl Packet for Mine {
    const FLAT_LEN: Option<usize> = None;
    const IS_COPIED: bool = false;
    const TYPE: TypeInfo = type_of::<String>();

    fn measure(_: &Self, _: &mut Scratch) -> Result<usize, Unserializable> {
        Ok(8)
    }

    unsafe fn write(_: &Self, _: NonNull<u8>, _: usize, _: &mut Scratch) -> Result<(), Unserializable> {
        Ok(())
    }

    fn validate(bytes: &[u8]) -> Result<&Self::Archived, Invalid> {
        String::validate(bytes)
    }

    fn explain(_: &[u8]) -> String {
        String::new()
    }
}

fn main() {}
