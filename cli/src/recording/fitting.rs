//! Whether a recording fits the target of `replay --to`. It is checked before the first packet, so
//! that nothing of a recording is sent that does not fit.

use super::files::{ReadProgress, RecordingFile};
use super::format::Entry;
use crate::names;
use crate::output::{Failure, Output};
use crate::sending::packet;
use crate::text;
use packetring::Stop;
use packetring::inspect::RingInspection;
use packetring::inventory::{ObjectInfo, ObjectKind};
use packetring::packet::Fingerprint;
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

/// Fails if the target has no room for what a stream has: event names, or their absence.
pub(super) fn check_events(
    takes_events: bool,
    is_events: bool,
    stream: &str,
) -> Result<(), Failure> {
    let advice = match (takes_events, is_events) {
        (true, false) => "has packets without event names, and events need one; give a ring",
        (false, true) => "has events, and their names would be lost; give CLUSTER/events",
        _ => return Ok(()),
    };
    let stream = text::plain(stream);
    Err(Failure::failed(format_args!(
        "nothing more was replayed: {stream} {advice} with --to, or other streams with --stream"
    )))
}

/// The object that `--to` means, if it is there.
pub(super) fn object<'a>(objects: &'a [ObjectInfo], to: &str) -> Option<&'a ObjectInfo> {
    if to.contains('/') {
        return names::find(objects, to).ok();
    }
    // The ring that is opened, and none with another prefix.
    let (prefix, name) = match to.split_once(':') {
        Some((prefix, name)) => (prefix.to_owned(), name),
        None => (std::env::var("PACKETRING_PREFIX").unwrap_or_default(), to),
    };
    objects.iter().find(|one| {
        let is_ring = one.kind == ObjectKind::Ring && one.name == name;
        is_ring && one.prefix.as_deref().unwrap_or_default() == prefix
    })
}

/// Fails if a type of the recording is not the type of its name in the target, or if the target
/// does not take it.
pub(super) fn check_types(
    files: &[PathBuf],
    stream: Option<&str>,
    object: &ObjectInfo,
    stop: &Stop,
    output: &Output,
) -> Result<(), Failure> {
    let ring = packet::inspect(object)?;
    if ring.types.is_empty() {
        return Ok(());
    }
    for (fingerprint, name) in recorded(files, stream, stop, output)? {
        check_type(fingerprint, &name, &ring, &names::full(object))?;
    }
    Ok(())
}

fn check_type(
    fingerprint: Fingerprint,
    name: &str,
    ring: &RingInspection,
    to: &str,
) -> Result<(), Failure> {
    let is_accepted =
        |index: &u16| ring.accepted.as_ref().is_none_or(|accepted| accepted.contains(index));
    let mut types = ring.types.iter().filter(|one| is_accepted(&one.index));
    if types.clone().any(|one| one.carried.fingerprint == fingerprint) {
        return Ok(());
    }
    let known = types.clone().map(|one| one.carried.name.clone()).collect::<Vec<_>>();
    let name = text::plain(name);
    match types.find(|one| one.carried.name == name) {
        Some(other) => Err(Failure::failed(format_args!(
            "nothing was replayed: the type {name} of the recording has the fingerprint \
             {fingerprint}, and {name} of {to} has {}: their layouts differ; give a ring without \
             packets of {name} with --to, or see both with `packetring inspect {to}` and `packetring \
             replay --print`",
            other.carried.fingerprint
        ))),
        None if ring.accepted.is_some() => Err(Failure::failed(format_args!(
            "nothing was replayed: {to} takes no packets of the type {name}, which the recording \
             has; its types are {}; give another ring with --to, or other streams with --stream",
            names::list(&known)
        ))),
        None => Ok(()),
    }
}

/// The types of the packets of a stream, or of all streams, with their names.
fn recorded(
    files: &[PathBuf],
    meant: Option<&str>,
    stop: &Stop,
    output: &Output,
) -> Result<BTreeMap<Fingerprint, String>, Failure> {
    let mut found = BTreeMap::new();
    let mut progress = ReadProgress::of("checking", files, output);
    for file in RecordingFile::open_all(files)? {
        let (mut streams, mut types) = (HashMap::new(), HashMap::new());
        // The replay reports how the file ends.
        file.read(&mut progress, |entry| {
            if stop.is_stopped() {
                return Err(Failure::failed("ended by a signal: 0 packets replayed"));
            }
            match *entry {
                Entry::Stream { id, name, .. } => {
                    streams.insert(id, meant.is_none_or(|meant| meant == name));
                }
                Entry::Type { id, fingerprint, name, .. } => {
                    types.insert(id, (Fingerprint(fingerprint), name.to_owned()));
                }
                Entry::Packet(packet) if streams.get(&packet.stream) == Some(&true) => {
                    // The next packets of the type need no look.
                    if let Some((fingerprint, name)) = types.remove(&packet.kind) {
                        found.insert(fingerprint, name);
                    }
                }
                _ => {}
            }
            Ok(())
        })?;
    }
    Ok(found)
}
