//! The types of a ring, as far as an observer can know them.
//!
//! A packet names its type by an index, and an index may be given to another type once no reader
//! can get a packet of the old type. An observer still reads such packets. So an index that has had
//! several types counts only for packets behind the tail of the moment at which it was read.

use crate::channel::CarriedType;
use crate::ring::observer::PacketCopy;
use crate::segment::types::TypeTable;
use std::sync::Arc;

/// The types of a ring that an observer has read.
#[derive(Default)]
pub(super) struct SeenTypes {
    /// Number of registrations at the last refresh. `None`: a type could not be read.
    registrations: Option<u64>,
    by_index: Vec<Option<SeenType>>,
}

struct SeenType {
    carried: Arc<CarriedType>,
    /// How many types the index has had, this one included.
    count: u32,
    /// Packets from this position on that have the index are of this type.
    since: u64,
}

impl SeenTypes {
    /// Reads the types again if others were registered. After packets were copied: their types were
    /// registered before they were published.
    pub(super) fn refresh(&mut self, table: &TypeTable<'_>, tail: impl Fn() -> u64) {
        let registrations = table.membership.registrations();
        if self.registrations == Some(registrations) {
            return;
        }
        self.by_index.resize_with(table.entries.len(), || None);
        let mut is_complete = true;
        for (index, seen) in self.by_index.iter_mut().enumerate() {
            if table.count(index) == seen.as_ref().map_or(0, |seen| seen.count) {
                continue;
            }
            // Not by the bit of the index, which is set after the count: the packets that are
            // copied next may be of a type that cannot be read yet.
            *seen = CarriedType::counted(table, index).map(|(count, carried)| {
                // The first type of an index is that of each packet before.
                let since = if count == 1 { 0 } else { tail() };
                SeenType { carried: Arc::new(carried), count, since }
            });
            is_complete &= seen.is_some();
        }
        self.registrations = is_complete.then_some(registrations);
    }

    /// The type of a packet.
    pub(super) fn of(&self, copied: &PacketCopy) -> Option<&Arc<CarriedType>> {
        self.at(usize::from(copied.descriptor.type_index()), copied.position)
    }

    /// The type of a packet at a position that has an index.
    fn at(&self, index: usize, position: u64) -> Option<&Arc<CarriedType>> {
        let seen = self.by_index.get(index)?.as_ref()?;
        (position >= seen.since).then_some(&seen.carried)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::segment::Segment;
    use crate::segment::settings::Settings;
    use crate::sync::Ordering;

    /// The registrar stops before the bit of the second type, and a packet of another type has the
    /// observer read the types.
    #[test]
    fn a_type_that_is_being_registered_is_not_taken_for_its_predecessor() {
        let segment = Segment::heap(&Settings::default()).unwrap();
        segment.with_types(|table| {
            let mut seen = SeenTypes::default();
            let name_at = |seen: &SeenTypes, position| {
                seen.at(0, position).map_or_else(String::new, |carried| carried.name.clone())
            };
            assert_eq!(table.register(1, "first", "{}").unwrap(), 0);
            seen.refresh(&table, || 10);
            assert_eq!(name_at(&seen, 3), "first");
            table.keep(0);
            seen.refresh(&table, || 10);
            assert_eq!(name_at(&seen, 3), "first");
            assert_eq!(table.register(2, "second", "{}").unwrap(), 0);
            let bits = table.membership.types.swap(0, Ordering::Relaxed);
            seen.refresh(&table, || 20);
            assert_eq!(name_at(&seen, 30), "");
            // It goes on, and a packet of the second type is published.
            table.membership.types.store(bits, Ordering::Relaxed);
            seen.refresh(&table, || 25);
            assert_eq!([3, 24, 25].map(|position| name_at(&seen, position)), ["", "", "second"]);
        });
    }
}
