//! Traits that unsafe code relies on cannot be implemented in safe code.

use packetring::{
    Packet,
    packet::{
        AnyBits, Invalid, Native, NativeWith, Scratch, TypeInfo, Unserializable,
        describe::{Describe, Shape, TypeName},
        type_of,
    },
    rkyv,
};
use std::ptr::NonNull;

struct Mine;

impl rkyv::Archive for Mine {
    type Archived = rkyv::string::ArchivedString;
    type Resolver = ();

    fn resolve(&self, (): (), _: rkyv::Place<Self::Archived>) {}
}

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

struct Own;

impl Native for Own {}

impl NativeWith<u8> for Own {}

impl AnyBits for Own {}

impl Describe for Own {
    const NAME: TypeName = TypeName::plain("Own");
    const SHAPE: &'static Shape = const { &Shape::primitive::<Self>("Own") };
}

fn main() {}
