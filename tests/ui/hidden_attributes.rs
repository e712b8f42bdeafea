//! Attributes with an effect on the archived type, where the macro does not look.

use packetring::packet;

#[packet]
#[rkyv(attr(cfg_attr(all(), repr(align(32)))))]
struct HiddenRepr(u32);

#[packet]
#[rkyv(attr(bytecheck(verify)))]
struct HiddenCheck(u32);

#[packet]
#[cfg_attr(all(), repr(C, align(64)))]
struct ConditionalRepr(u32);

#[packet]
#[rkyv(attr(r#repr(C)))]
enum RawRepr {
    Small(u8),
    Large(u64),
}

#[packet]
#[rkyv(attr(cfg_attr(all(), cfg_attr(all(), r#repr(align(16))))))]
struct DeeplyHiddenRepr(u32);

#[packet]
#[cfg_attr(all(), cfg_attr(all(), r#repr(align(16))))]
struct RawConditionalRepr(u32);

#[packet]
#[r#repr(align(16))]
struct RawAlign(u32);

#[packet]
struct Field {
    #[cfg_attr(all(), rkyv(with = packetring::with::AsBox))]
    boxed: u32,
}

#[packet]
struct FieldAttribute {
    #[rkyv(attr(bytecheck(omit_bounds)))]
    number: u32,
}

#[packet]
struct Absent {
    #[cfg(any())]
    number: u32,
    text: String,
}

#[packet]
enum AbsentVariant {
    #[cfg(any())]
    Never,
    Always,
}

fn main() {}
