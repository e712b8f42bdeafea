//! Writing fills all measured bytes and no others, or fails.

use std::{
    cell::Cell,
    convert::Infallible,
    sync::{Mutex, PoisonError},
};

use rkyv::Archive as _;

use super::Archive;
use crate::{
    packet,
    packet::{Packet, Scratch, measure, write},
    with,
    with::Conversion,
};

#[packet]
#[derive(Clone)]
struct Padded {
    small: u8,
    large: u64,
    option: Option<u32>,
    choice: Choice,
}

#[packet]
#[derive(Clone)]
enum Choice {
    None,
    Wide(u128),
    Narrow(u8),
}

#[packet]
struct Skipping {
    before: u8,
    #[rkyv(with = with::Niche)]
    text: Option<Box<[u8]>>,
    values: Vec<Padded>,
}

#[test]
fn padding_is_zero_despite_leftover_bytes() {
    let padded = |choice| Padded { small: 1, large: 2, option: None, choice };
    let archive = Archive::of(&padded(Choice::None)).unwrap();
    let expected = [vec![1], vec![0; 7], vec![2], vec![0; 63 - 8]].concat();
    assert_eq!(archive.bytes(), expected);
    let archive = Archive::of(&(padded(Choice::Narrow(9)), Some(padded(Choice::None)))).unwrap();
    assert!(!archive.bytes().contains(&0xa5));
    let values = vec![padded(Choice::None), padded(Choice::Narrow(3))];
    let archive = Archive::of(&Skipping { before: 1, text: None, values }).unwrap();
    assert!(!archive.bytes().contains(&0xa5));
    let archive = Archive::of(&Some(vec![(1_u8, 2_u64)])).unwrap();
    assert!(!archive.bytes().contains(&0xa5));
}

#[test]
fn types_without_pointers_have_one_length() {
    assert_eq!(Padded::FLAT_LEN, Some(size_of::<ArchivedPadded>()));
    assert_eq!(<[(u8, Choice); 3]>::FLAT_LEN, Some(3 * 48));
    assert_eq!(<()>::FLAT_LEN, Some(0));
    assert_eq!(String::FLAT_LEN, None);
    assert_eq!(<Option<Box<u8>>>::FLAT_LEN, None);
}

#[test]
fn only_the_measured_length_can_be_written() {
    let mut scratch = Scratch::new();
    let value = vec![String::from("a text that is out of line"); 3];
    let len = measure(&value, &mut scratch).unwrap();
    for wrong in (0..len).chain([len + 1, len + 4, len + 16]) {
        let mut archive = Archive::room(wrong);
        let result = write(&value, archive.claim(), &mut scratch);
        assert!(result.is_err(), "{wrong} for {len}");
        assert!(archive.guards_are_intact());
    }
    let mut archive = Archive::room(9);
    assert!(write(&1_u64, archive.claim(), &mut scratch).is_err());
}

/// Writes a longer list each time.
struct Growing;

thread_local! {
    static LEN: Cell<usize> = const { Cell::new(3) };
}

impl Conversion<()> for Growing {
    type Packet = Vec<u8>;
    type Error = Infallible;

    fn to_packet((): &()) -> Result<Vec<u8>, Infallible> {
        LEN.set(LEN.get() + 1);
        Ok(vec![7; LEN.get()])
    }

    fn from_packet(_: Vec<u8>) -> Result<(), Infallible> {
        Ok(())
    }
}

#[packet]
struct Restless {
    #[rkyv(with = with::Via<Growing>)]
    grows: (),
}

#[test]
fn a_value_that_changes_while_it_is_sent_is_an_error() {
    // Measured with 4 bytes and a root, then written with 5 bytes.
    LEN.set(3);
    assert!(Archive::of(&Restless { grows: () }).is_err());
    // A change from 6 to 7 bytes affects only padding, so the archive is valid.
    let archive = Archive::of(&Restless { grows: () }).unwrap();
    assert_eq!(archive.view::<Restless>().grows.len(), 7);
}

#[packet]
struct Guarded {
    #[rkyv(with = with::Lock)]
    value: Mutex<u32>,
}

#[test]
fn a_wrapper_that_fails_says_why() {
    let guarded = Guarded { value: Mutex::new(3) };
    assert!(Archive::of(&guarded).is_ok());
    let poison = || {
        let _guard = guarded.value.lock().unwrap_or_else(PoisonError::into_inner);
        std::panic::resume_unwind(Box::new(()));
    };
    assert!(std::thread::scope(|scope| scope.spawn(poison).join()).is_err());
    let error = Archive::of(&guarded).err().unwrap();
    assert!(error.to_string().contains("poisoned"), "{error}");
    assert!(std::error::Error::source(&error).is_some());
}

#[test]
fn scratch_memory_is_reused() {
    let mut scratch = Scratch::new();
    let value: Vec<Vec<String>> = vec![vec![String::from("text"); 50]; 50];
    measure(&value, &mut scratch).unwrap();
    let first = scratch.capacity();
    for _ in 0..3 {
        measure(&value, &mut scratch).unwrap();
        assert_eq!(scratch.capacity(), first);
    }
}

#[test]
fn a_byte_copy_equals_resolving() {
    #[packet]
    #[repr(C)]
    #[derive(Clone, Copy)]
    struct Price {
        symbol: u64,
        bid: i64,
        sizes: [u32; 4],
    }
    assert!(Price::COPY_OPTIMIZATION.is_enabled());
    let price = Price { symbol: 7, bid: -3, sizes: [1, 2, 3, 4] };
    let whole = Archive::of(&price).unwrap();
    let parts = Archive::of(&(price.symbol, price.bid, price.sizes)).unwrap();
    assert_eq!(whole.bytes(), parts.bytes());
}
