//! The orderings between a registration and readers without a lock.

use super::*;
use loom::sync::Arc;
use loom::thread;

/// A table of one type with one block of text.
fn one_type() -> Table {
    let table = Table::new(1, 1);
    table.view().register(1, "A", "a").unwrap();
    table
}

fn replace(table: &Table) {
    table.view().keep(0);
    table.view().register(2, "B", "b").unwrap();
}

fn explore(run: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(3));
    builder.check(run);
}

#[test]
fn loom_a_type_is_listed_whole() {
    explore(|| {
        let table = Arc::new(one_type());
        let other = Arc::clone(&table);
        let writer = thread::spawn(move || replace(&other));
        if let Some((name, print, schema)) = table.view().record(0) {
            assert!(
                matches!((&*name, print, &*schema), ("A", 1, "a") | ("B", 2, "b")),
                "{name} {print} {schema}"
            );
        }
        writer.join().unwrap();
    });
}

#[test]
fn loom_a_packet_is_read_as_its_own_type() {
    explore(|| {
        let table = Arc::new(one_type());
        let stamp = Arc::new(AtomicU64::new(0));
        let (other, stamped) = (Arc::clone(&table), Arc::clone(&stamp));
        let publisher = thread::spawn(move || {
            replace(&other);
            // As `slot::commit`.
            stamped.store(1, Ordering::Release);
        });
        // A cache that was filled at any time before, as in `Receiver::know_types`.
        let read = || {
            let count = table.membership.registrations();
            (count, table.view().fingerprints().next())
        };
        let mut cache = read();
        if stamp.load(Ordering::Acquire) == 1 {
            if table.membership.registrations() != cache.0 {
                cache = read();
            }
            assert_eq!(cache.1, Some(2));
        }
        publisher.join().unwrap();
    });
}
