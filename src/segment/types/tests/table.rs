//! Registering, freeing, and hostile words.

use super::*;

#[test]
fn a_type_is_entered_once_and_found_again() {
    let table = Table::new(MAX_TYPES, BLOCKS);
    let table = table.view();
    assert_eq!(table.find(7 << 64), None);
    assert_eq!(table.register(7 << 64, "Chat", "{\"a\":1}"), Ok(0));
    assert_eq!(table.register(9, "Größe", "{}"), Ok(1));
    assert_eq!(table.register(7 << 64, "Chat", "{\"a\":1}"), Ok(0));
    assert_eq!(table.record(0).unwrap(), ("Chat".into(), 7 << 64, "{\"a\":1}".into()));
    assert_eq!(table.record(1).unwrap(), ("Größe".into(), 9, "{}".into()));
    assert_eq!(table.name(2), None);
    assert_eq!(table.membership.registrations(), 2);
}

#[test]
fn types_are_accepted_by_their_bits() {
    let membership = Membership::default();
    assert!(membership.accepts_all() && membership.accepts(0) && membership.accepts(63));
    membership.accept([1, 63]);
    assert!(!membership.accepts_all());
    let accepted: Vec<u16> = (0..200).filter(|&index| membership.accepts(index)).collect();
    assert_eq!(accepted, [1, 63]);
    membership.accept([]);
    assert!(membership.accepts_all() && membership.accepts(2));
}

#[test]
fn a_full_table_says_so_and_keeps_what_it_has() {
    let table = Table::new(MAX_TYPES, BLOCKS);
    let table = table.view();
    for i in 0..MAX_TYPES {
        assert_eq!(table.register(i as u128, "T", "{}"), Ok(i as u16));
    }
    let full = |types, schema_bytes, needed_bytes| TableFull { types, schema_bytes, needed_bytes };
    assert_eq!(table.register(1000, "T", "{}"), Err(full(MAX_TYPES, MAX_TYPES * 64, 64)));
    assert_eq!(table.register(3, "T", "{}"), Ok(3));
    let table = Table::new(MAX_TYPES, BLOCKS);
    let text = "x".repeat(SCHEMA_BYTES - 64);
    assert_eq!(table.view().register(1, "A", &text), Ok(0));
    let two = "y".repeat(65);
    assert_eq!(table.view().register(2, "B", &two), Err(full(1, SCHEMA_BYTES - 64, 128)));
    assert_eq!(table.view().register(3, "C", &two[1..]), Ok(1));
    assert_eq!(table.view().schema(0).unwrap(), text);
    assert_eq!(table.view().schema(1).unwrap(), two[1..]);
}

#[test]
fn freed_entries_and_texts_are_used_again_whatever_their_lengths() {
    let table = Table::new(MAX_TYPES, BLOCKS);
    let table = table.view();
    let text = |round: usize| "t".repeat(round * 37 % 1500) + &round.to_string();
    let mut kept: Vec<(u16, usize)> = Vec::new();
    for round in 0..5000 {
        let name = format!("T{round}");
        // Every third type of the last 30 stays.
        kept.retain(|&(_, old)| round - old < 30 && old % 3 == 0);
        table.keep(kept.iter().fold(0, |bits, &(index, _)| bits | 1 << index));
        let index = table.register(round as u128 + 1, &name, &text(round)).unwrap();
        kept.push((index, round));
        for &(index, round) in &kept {
            let found = table.record(index.into()).unwrap();
            assert_eq!(found, (format!("T{round}"), round as u128 + 1, text(round)));
        }
    }
    assert_eq!(table.membership.registrations(), 5000);
}

#[test]
fn a_freed_entry_is_no_longer_found_and_gets_another_type() {
    let table = Table::new(MAX_TYPES, BLOCKS);
    let table = table.view();
    for print in 1..=3 {
        table.register(print, "T", "{}").unwrap();
    }
    table.keep(0b101);
    assert_eq!(table.find(2), None);
    assert_eq!(table.record(1), None);
    assert_eq!(table.indices().collect::<Vec<_>>(), [0, 2]);
    assert_eq!(table.register(4, "U", "[]"), Ok(1));
    assert_eq!(table.record(1).unwrap(), ("U".into(), 4, "[]".into()));
    assert_eq!(table.fingerprints().take(4).collect::<Vec<_>>(), [1, 4, 3, 0]);
}

#[test]
fn an_entry_that_changes_while_it_is_read_counts_as_vacant() {
    let table = Table::new(MAX_TYPES, BLOCKS);
    let table = table.view();
    table.register(1, "A", "{}").unwrap();
    let changes = |table: &TypeTable<'_>, change: &dyn Fn()| {
        table.whole(0, |_| {
            change();
            Some(())
        })
    };
    assert_eq!(changes(&table, &|| ()), Some(()));
    assert_eq!(changes(&table, &|| table.keep(0)), None);
    table.register(3, "C", "{}").unwrap();
    let replace = || {
        table.keep(0);
        table.register(4, "D", "{}").unwrap();
    };
    assert_eq!(changes(&table, &replace), None);
}

#[test]
fn hostile_numbers_give_nothing() {
    let table = Table::new(MAX_TYPES, BLOCKS);
    table.view().register(1, "A", "{}").unwrap();
    table.entries[0].lens.store(u64::MAX, Ordering::Relaxed);
    assert_eq!(table.view().schema(0), None);
    assert_eq!(table.view().name(0).unwrap().len(), NAME_BYTES);
    table.entries[0].schema.store(u32::MAX, Ordering::Relaxed);
    assert_eq!(table.view().schema(0), None);
    table.membership.types.store(u64::MAX, Ordering::Relaxed);
    assert_eq!(table.view().indices().count(), MAX_TYPES);
    table.links[0].store(u32::MAX, Ordering::Relaxed);
    table.entries[0].schema.store(0, Ordering::Relaxed);
    assert_eq!(table.view().schema(0), None);
    assert!(table.view().register(2, "B", "{}").is_err());
}

#[test]
fn a_long_name_is_cut_at_a_character() {
    assert_eq!(cut(&"é".repeat(60)).len(), 96);
    assert_eq!(cut(&format!("a{}", "é".repeat(60))).len(), 95);
}
