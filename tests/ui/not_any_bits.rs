//! Types with invalid bit patterns cannot be reserved.

use packetring::{
    Packet, packet, packet::AnyBits,
    rkyv::{bytecheck::Verify, rancor::Fallible},
};

#[packet]
struct Flagged {
    number: u32,
    flag: bool,
}

/// Every bit pattern is a number, but filling in place would bypass the check of the user.
#[packet]
#[rkyv(bytecheck(verify))]
struct Even(u32);

unsafe impl<C: Fallible + ?Sized> Verify<C> for ArchivedEven {
    fn verify(&self, _: &mut C) -> Result<(), C::Error> {
        Ok(())
    }
}

fn reserve<T: Packet<Archived: AnyBits>>() {}

fn main() {
    reserve::<[u32; 4]>();
    reserve::<Flagged>();
    reserve::<Even>();
}
