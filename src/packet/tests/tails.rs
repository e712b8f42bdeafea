//! Packets with a tail: filling in place and sending write the same bytes.

use super::{Archive, round_trip};
use crate::{
    packet,
    packet::{Scratch, Tail, emplace_tail, explain, measure, tail_len, validate},
};

#[packet]
#[derive(Clone, Debug, Default, PartialEq)]
struct Kind(u8);

/// A head with padding. A field of another struct hides that from the bound of `AnyBits`.
#[packet]
#[derive(Clone, Debug, Default, PartialEq)]
struct Head {
    id: u64,
    kind: Kind,
}

type Samples = Tail<Head, u16>;

fn filled(n: u16) -> Archive {
    let len = tail_len::<Head, u16>(n.into()).unwrap();
    let mut archive = Archive::room(len);
    archive.bytes_mut().fill(0);
    // SAFETY: The archive is 16-aligned, initialized, as long as `tail_len` returned, and borrowed
    // mutably.
    let (head, tail) = unsafe {
        let (mut head, mut tail) = emplace_tail::<Head, u16>(archive.out(), n.into());
        (head.as_mut(), tail.as_mut())
    };
    (head.id, head.kind.0) = (77.into(), 3);
    for (i, sample) in (0..n).zip(tail.iter_mut()) {
        *sample = i.into();
    }
    archive
}

#[test]
fn filling_in_place_equals_sending() {
    for n in [0, 1, 2, 3, 4, 5, 100] {
        let head = Head { id: 77, kind: Kind(3) };
        let value = Samples { head, tail: (0..n).collect() };
        assert_eq!(tail_len::<Head, u16>(n.into()), measure(&value, &mut Scratch::new()).ok());
        assert_eq!(filled(n).bytes(), Archive::of(&value).unwrap().bytes());
        round_trip(value);
    }
}

#[test]
fn leftover_bytes_are_valid() {
    let len = tail_len::<Head, u16>(9).unwrap();
    let mut archive = Archive::room(len);
    // SAFETY: The archive is 16-aligned, initialized, as long as `tail_len` returned, and borrowed
    // mutably.
    unsafe { emplace_tail::<Head, u16>(archive.out(), 9) };
    let tail = validate::<Samples>(archive.bytes());
    let tail = tail.unwrap_or_else(|_| panic!("{}", explain::<Samples>(archive.bytes())));
    assert_eq!(tail.tail.len(), 9);
    assert_eq!(tail.tail[8], 0xa5a5);
}

#[test]
fn invalid_lengths_are_refused() {
    assert_eq!(tail_len::<Head, u16>(usize::MAX), None);
    assert_eq!(tail_len::<Head, u16>(1 << 30), None);
    assert_eq!(tail_len::<Head, ()>(3), None);
    assert!(tail_len::<Head, u8>((1 << 31) - 64).is_some());
}
