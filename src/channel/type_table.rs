//! The packet types of a ring: registering them, freeing those that nothing uses, restricting the
//! ring to some, and the errors.

use super::carried_type::{CarriedType, label};
use super::error::{SendError, TypeMismatch};
use super::owned_entry::{self, OwnedEntry};
use super::reports;
use crate::error::{OpenError, TypeRoom};
use crate::failpoint::{Failpoint, failpoint};
use crate::packet::{self, Fingerprint, TypeInfo};
use crate::ring::types;
use crate::segment::entry::EntryId;
use crate::segment::types::{TableFull, TypeTable};
use crate::segment::{Control, Segment};
#[cfg(feature = "dynamic")]
use packetring_dynamic::Schema;

/// Registers types in a ring. Holds the control lock.
///
/// A new type that finds no room gets the entry of a type that nothing uses ([`ring::types`]). The
/// caller stores the [uses](Self::uses) in an entry before it releases the lock.
///
/// [`ring::types`]: crate::ring::types
pub(crate) struct Registrar<'a> {
    segment: &'a Segment,
    is_alive: &'a dyn Fn(EntryId) -> bool,
    /// A durable subscriber that is away and is about to be succeeded. Its uses do not count.
    predecessor: Option<EntryId>,
    /// The types that were found or registered here, one bit each. No entry has these uses yet.
    uses: u64,
    _control: &'a Control<'a>,
}

impl<'a> Registrar<'a> {
    /// `is_alive` checks an entry's liveness lock. It returns true for the caller's own entry.
    pub(crate) fn new(
        control: &'a Control<'a>,
        segment: &'a Segment,
        is_alive: &'a dyn Fn(EntryId) -> bool,
    ) -> Self {
        Self { segment, is_alive, predecessor: None, uses: 0, _control: control }
    }

    /// Does not count the uses of a durable subscriber that is about to be succeeded.
    pub(crate) fn succeeding(self, predecessor: Option<EntryId>) -> Self {
        Self { predecessor, ..self }
    }

    /// The types that were found or registered, one bit each.
    pub(crate) fn uses(&self) -> u64 {
        self.uses
    }

    /// Registers a type, unless the ring is restricted to other types.
    pub(crate) fn register(&mut self, info: &TypeInfo) -> Result<u16, OpenError> {
        let is_refused = self.segment.with_types(|table| {
            !table.membership.accepts_all() && table.find(info.fingerprint.0).is_none()
        });
        if is_refused {
            // The refusal was reported.
            let TypeMismatch { expected, found, difference } = refusal(self.segment, info);
            return Err(OpenError::TypeMismatch { expected: found, found: expected, difference });
        }
        self.enter(info.fingerprint, info.name, &info.schema())
    }

    /// Registers a type that another ring carries, unless the ring is restricted to other types.
    pub(crate) fn register_carried(&mut self, carried: &CarriedType) -> Result<u16, OpenError> {
        let CarriedType { name, fingerprint, schema } = carried;
        let is_refused = self.segment.with_types(|table| {
            let is_accepted = |index| table.membership.accepts(index);
            !table.membership.accepts_all() && !table.find(fingerprint.0).is_some_and(is_accepted)
        });
        if is_refused {
            let (expected, found) = (label(name, fingerprint.0), accepted(self.segment));
            reports::refused_type(self.segment, &found, &expected);
            return Err(OpenError::TypeMismatch { expected, found, difference: None });
        }
        self.enter(*fingerprint, name, schema)
    }

    /// Registers the type of a ring that carries a single one. Fails if anything uses another type.
    pub(crate) fn register_only(&mut self, info: &TypeInfo) -> Result<u16, OpenError> {
        if !self.has_room_for(info.fingerprint, Free::Each) {
            return Err(self.segment.with_types(|table| {
                let found = table.indices().filter_map(|index| label_at(&table, index));
                let difference =
                    table.indices().find_map(|index| difference(self.segment, &table, info, index));
                let expected = label(info.name, info.fingerprint.0);
                let found = found.collect::<Vec<String>>().join(", ");
                reports::refused_type(self.segment, &found, &expected);
                OpenError::TypeMismatch { expected, found, difference }
            }));
        }
        self.register(info)
    }

    /// Registers the types of a service, or compares them with those of the first opener. Returns
    /// the index of the request type. Fails if anything uses the types of another service.
    ///
    /// The pair has an entry of its own, before the entries of both types. Two entries alone would
    /// not tell which type is the request, nor that both were written before a crash.
    pub(crate) fn register_pair(
        &mut self,
        request: &TypeInfo,
        reply: &TypeInfo,
    ) -> Result<u16, OpenError> {
        let name = format!("{} -> {}", request.name, reply.name);
        let pair = Fingerprint::of_pair(request.fingerprint, reply.fingerprint);
        // Without the entry of a pair, those of its types mean nothing.
        if !self.has_room_for(pair, Free::All) {
            return Err(self.segment.with_types(|table| {
                // A pair is registered in an empty table: it is the first entry.
                let indices: Vec<usize> = table.indices().collect();
                let first = indices.first().and_then(|&index| label_at(&table, index));
                let of =
                    |info, index: Option<&usize>| difference(self.segment, &table, info, *index?);
                // The entries of both types follow that of the pair; one if they are the same.
                let of_reply = || of(reply, indices.get(2).or(indices.get(1)));
                let difference = of(request, indices.get(1)).or_else(of_reply);
                let (expected, found) = (label(&name, pair.0), first.unwrap_or_default());
                reports::refused_type(self.segment, &found, &expected);
                OpenError::TypeMismatch { expected, found, difference }
            }));
        }
        let (of_request, of_reply) = (request.fingerprint, reply.fingerprint);
        let schema = format!(r#"{{"request":"{of_request}","reply":"{of_reply}"}}"#);
        self.enter(pair, &name, &schema)?;
        let index = self.register(request)?;
        self.register(reply)?;
        Ok(index)
    }

    /// Finds the types of a service, which the ring has. Returns the index of the request type.
    pub(crate) fn find_pair(
        &mut self,
        request: Fingerprint,
        reply: Fingerprint,
    ) -> Result<u16, OpenError> {
        let all = [request, reply, Fingerprint::of_pair(request, reply)];
        let find = |print: Fingerprint| self.segment.with_types(|table| table.find(print.0));
        if let [Some(index), Some(reply), Some(pair)] = all.map(find) {
            self.uses |= 1 << index | 1 << reply | 1 << pair;
            failpoint(Failpoint::TypeUse);
            return Ok(index);
        }
        let expected = format!("requests {request} and replies {reply}");
        let (found, difference) = (accepted(self.segment), None);
        reports::refused_type(self.segment, &found, &expected);
        Err(OpenError::TypeMismatch { expected, found, difference })
    }

    /// Returns true if the ring has this type, or no type once those that nothing needs are freed.
    fn has_room_for(&self, fingerprint: Fingerprint, free: Free) -> bool {
        let registered = |table: TypeTable<'_>| table.registered();
        if self.segment.with_types(|table| table.find(fingerprint.0)).is_some() {
            return true;
        }
        if self.segment.with_types(registered) != 0 {
            self.free_unused(free);
        }
        self.segment.with_types(registered) == 0
    }

    fn enter(
        &mut self,
        fingerprint: Fingerprint,
        name: &str,
        schema: &str,
    ) -> Result<u16, OpenError> {
        let register =
            || self.segment.with_types(|table| table.register(fingerprint.0, name, schema));
        let index = match register() {
            Ok(index) => index,
            Err(_) => {
                self.free_unused(Free::Each);
                register().map_err(too_many_types)?
            }
        };
        self.uses |= 1 << index;
        failpoint(Failpoint::TypeUse);
        Ok(index)
    }

    /// Frees the entries of types that nothing uses. Clears the dead before, and reads the header
    /// words of all slots in use unless the endpoints use every type.
    #[cold]
    fn free_unused(&self, free: Free) {
        let (segment, memory) = (self.segment, self.segment.memory());
        if owned_entry::reap(segment, memory, self.is_alive).changed {
            owned_entry::wake_both_sides(segment);
        }
        segment.with_types(|table| {
            let registered = table.registered();
            let used = self.uses | types::used(memory, self.predecessor);
            if registered & !used != 0 {
                let kept = used | types::carried(memory, segment.settings());
                let may_free = free == Free::Each || registered & kept == 0;
                if may_free && registered & !kept != 0 {
                    table.keep(kept);
                }
            }
        });
    }
}

/// The entries that may be freed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Free {
    /// Each one that nothing needs.
    Each,
    /// All of them, or none.
    All,
}

/// Registers types for an endpoint, and records their use in its entry. Needs the control lock.
pub(crate) fn register_for(
    control: &Control<'_>,
    entry: &OwnedEntry,
    register: impl FnOnce(&mut Registrar<'_>) -> Result<u16, OpenError>,
) -> Result<u16, OpenError> {
    let is_alive = |entry_id| entry.is_alive(entry_id);
    let mut registrar = Registrar::new(control, &entry.segment, &is_alive);
    let index = register(&mut registrar)?;
    types::add_uses(entry.segment.memory(), entry.entry_id, registrar.uses());
    Ok(index)
}

/// Restricts the ring to packets of these types. No types: no restriction.
pub(crate) fn accept(ring: &Segment, types: &[TypeInfo]) -> Result<(), OpenError> {
    let control = ring.lock()?;
    let is_alive = |entry_id| ring.is_alive(entry_id);
    let mut registrar = Registrar::new(&control, ring, &is_alive);
    let enter = |info: &TypeInfo| registrar.enter(info.fingerprint, info.name, &info.schema());
    let indices: Vec<u16> = types.iter().map(enter).collect::<Result<_, _>>()?;
    ring.with_types(|table| table.membership.accept(indices));
    Ok(())
}

/// The types that a restricted ring accepts, and the one it refused.
#[cold]
pub(crate) fn refusal(segment: &Segment, refused: &TypeInfo) -> TypeMismatch {
    let expected = accepted(segment);
    let difference = segment.with_types(|table| {
        let mut accepted = table.indices().filter(|&i| table.membership.accepts(i as u16));
        accepted.find_map(|index| difference(segment, &table, refused, index))
    });
    let found = label(refused.name, refused.fingerprint.0);
    reports::refused_type(segment, &expected, &found);
    TypeMismatch { expected, found, difference }
}

/// As [`refusal`], of a packet without a Rust type.
#[cfg(feature = "dynamic")]
#[cold]
pub(crate) fn refusal_of_schema(segment: &Segment, refused: &Schema) -> TypeMismatch {
    let (expected, found) = (accepted(segment), label(refused.name(), refused.fingerprint()));
    reports::refused_type(segment, &expected, &found);
    TypeMismatch { expected, found, difference: None }
}

/// The types that a restricted ring accepts.
#[cold]
fn accepted(segment: &Segment) -> String {
    segment.with_types(|table| {
        let accepted = table.indices().filter(|&i| table.membership.accepts(i as u16));
        let labels = accepted.filter_map(|index| label_at(&table, index));
        labels.collect::<Vec<String>>().join(", ")
    })
}

/// The first difference between a type of this program and the segment's type at an index. `None`
/// unless both have the same name.
#[cold]
fn difference(
    segment: &Segment,
    table: &TypeTable<'_>,
    info: &TypeInfo,
    index: usize,
) -> Option<String> {
    let name = table.name(index)?;
    // The table cuts long names.
    let is_cut = name.len() + 4 > TypeTable::NAME_BYTES && info.name.starts_with(&*name);
    let is_same_name = name == info.name || is_cut;
    let schema = is_same_name.then(|| table.schema(index))??;
    let place = if segment.settings().cells > 0 { "board" } else { "ring" };
    packet::first_difference(&info.schema(), &schema, place)
}

/// The error of a type that does not fit the type table.
fn too_many_types(full: TableFull) -> OpenError {
    let TableFull { types, schema_bytes, needed_bytes } = full;
    OpenError::TooManyTypes(TypeRoom {
        types,
        max_types: Segment::MAX_TYPES,
        schema_bytes,
        max_schema_bytes: TypeTable::SCHEMA_BYTES,
        needed_bytes,
    })
}

/// The type at an index as errors show it.
fn label_at(table: &TypeTable<'_>, index: usize) -> Option<String> {
    let (name, fingerprint, _) = table.record(index)?;
    Some(label(&name, fingerprint))
}

/// The expected type and the type that was found.
pub(crate) fn mismatch(segment: &Segment, expected: &TypeInfo, found: u16) -> TypeMismatch {
    let index = usize::from(found);
    let (found, difference) = segment.with_types(|table| {
        (label_at(&table, index), difference(segment, &table, expected, index))
    });
    reported(segment, label(expected.name, expected.fingerprint.0), found, difference)
}

/// The mismatch of a packet that was received, which is reported.
fn reported(
    segment: &Segment,
    expected: String,
    found: Option<String>,
    difference: Option<String>,
) -> TypeMismatch {
    let found = found.unwrap_or_else(|| "a type that was never registered".into());
    let types = TypeMismatch { expected, found, difference };
    reports::other_type(segment, &types);
    types
}

/// The expected type of a packet that is read by a schema, and the type that was found.
#[cfg(feature = "dynamic")]
#[cold]
pub(crate) fn mismatch_of_schema(segment: &Segment, expected: &Schema, found: u16) -> TypeMismatch {
    let index = usize::from(found);
    let found = segment.with_types(|table| label_at(&table, index));
    reported(segment, label(expected.name(), expected.fingerprint()), found, None)
}

/// Why a type was not registered.
pub(crate) fn refused(error: OpenError) -> SendError {
    match error {
        OpenError::TooManyTypes(room) => SendError::TooManyTypes(room),
        OpenError::TypeMismatch { expected, found, difference } => {
            // `OpenError` has the refused type as the expected one.
            let (expected, found) = (found, expected);
            SendError::TypeRefused(Box::new(TypeMismatch { expected, found, difference }))
        }
        OpenError::Stopped { .. } => SendError::Stopped,
        OpenError::Detached { cause, .. } => SendError::Detached(cause),
        OpenError::System { source, .. } => SendError::System(source),
        other => SendError::System(std::io::Error::other(other)),
    }
}
