//! `clean --kept`: the removal of objects that are named, with all that is kept in them.
//!
//! The library removes each object under its lock, and only if no living process is attached. An
//! inbox and a directory go with their cluster, and only if none of its workers lives. A durable
//! subscriber that is away can go alone.

use super::{Line, Report, ask, line, print, print_removed, stay_reason};
use crate::args::CleanArgs;
use crate::ls::{self, State};
use crate::names;
use crate::output::{Failure, Outcome, Output};
use crate::rings::{self, Backlog};
use crate::text;
use packetring::inspect::{self, EndpointInfo, EndpointRole, InspectedObject, Inspection};
use packetring::inventory::{ObjectInfo, ObjectKind};
use packetring::{Ring, Worker};
use std::collections::BTreeSet;

/// What is removed in one step.
enum Target {
    /// A single object.
    Object(Vec<InspectedObject>),
    /// All objects of a cluster.
    Cluster(Vec<InspectedObject>),
}

impl Target {
    /// The object, or the cluster and its objects, of this name.
    fn find(objects: Vec<ObjectInfo>, name: &str) -> Result<Self, Failure> {
        if name.contains('*') {
            let message = format!("--kept {name:?}: give full names, without a pattern");
            return Err(Failure::Usage(message));
        }
        // As for other names: without a prefix, that of a cluster with any prefix, if it is one.
        let full = |one: &ObjectInfo| Some(names::of_cluster(one, one.cluster.as_deref()?));
        let named = objects.iter().filter(|one| one.cluster.as_deref() == Some(name));
        let with_prefix: BTreeSet<_> = named.filter_map(full).collect();
        let is_exact = objects.iter().any(|one| full(one).as_deref() == Some(name));
        if !is_exact && with_prefix.len() > 1 {
            let clusters: Vec<_> = with_prefix.into_iter().collect();
            let clusters = names::list(&clusters);
            return Err(Failure::failed(format_args!("{name:?} is ambiguous: {clusters}")));
        }
        let name = if is_exact { name } else { with_prefix.first().map_or(name, String::as_str) };
        let is_of_cluster = |one: &ObjectInfo| full(one).as_deref() == Some(name);
        if objects.iter().any(is_of_cluster) {
            let objects = objects.into_iter().filter(is_of_cluster).collect();
            return Ok(Self::Cluster(inspect::objects(objects)));
        }
        let object = names::find(&objects, name)?;
        if let (ObjectKind::Inbox | ObjectKind::Directory, Some(cluster)) =
            (object.kind, &object.cluster)
        {
            let cluster = names::of_cluster(object, cluster);
            return Err(Failure::failed(format_args!(
                "{} belongs to its cluster: `packetring clean --kept {cluster}` removes all of it, \
                 and `Worker::retire` in a program one dead worker",
                text::plain(&names::full(object))
            )));
        }
        let path = object.path.clone();
        let object = objects.into_iter().filter(|one| one.path == path).collect();
        Ok(Self::Object(inspect::objects(object)))
    }

    fn objects(&self) -> &[InspectedObject] {
        match self {
            Self::Object(objects) | Self::Cluster(objects) => objects,
        }
    }

    /// Removes it. An error says why all of it stays.
    fn remove(&self) -> Result<(), packetring::OpenError> {
        match self {
            Self::Object(objects) => {
                objects.iter().try_for_each(|object| object.info.remove().map(drop))
            }
            Self::Cluster(objects) => {
                let first = objects.first().map(|object| &object.info);
                let cluster = first.and_then(|info| info.cluster.as_deref()).unwrap_or_default();
                let prefix = first.and_then(|info| info.prefix.as_deref()).unwrap_or_default();
                Worker::builder().prefix(prefix).remove_cluster(cluster).map(drop)
            }
        }
    }
}

/// Shows what would be lost, and removes it if this was asked for.
pub(super) fn run(args: &CleanArgs, output: &mut Output) -> Result<Outcome, Failure> {
    if let Some(subscriber) = &args.durable {
        return remove_durable(args, subscriber, output);
    }
    let mut targets = Vec::new();
    for name in &args.kept {
        let found = Target::find(packetring::inventory()?, name)?;
        targets.push(found);
    }
    let mut report = Report::default();
    let (free, used): (Vec<_>, Vec<_>) = targets.iter().partition(|target| {
        let mut objects = target.objects().iter();
        objects.all(|one| !one.info.is_attached && State::of(&one.info) != State::Foreign)
    });
    for object in used.iter().flat_map(|target| target.objects()) {
        let reason = match object.info.is_attached || State::of(&object.info) == State::Foreign {
            true => stay_reason(&object.info),
            false => "a process uses its cluster".to_owned(),
        };
        report.stays.push(line(&object.info, reason));
    }
    let lines = || free.iter().flat_map(|target| target.objects()).map(lost);
    report.would_remove = lines().collect();
    if !output.is_json {
        print(&report, output)?;
    }
    let number = report.would_remove.len();
    let is_agreed = number > 0 && (args.yes || ask(number, output)?);
    if is_agreed {
        report.would_remove.clear();
        for target in &free {
            let lines = target.objects().iter();
            match target.remove() {
                Ok(()) => report.removed.extend(lines.map(lost)),
                Err(error) => {
                    let failed = lines.map(|one| line(&one.info, error.to_string()));
                    report.failed.extend(failed);
                }
            }
        }
    }
    if output.is_json {
        output.json(&report)?;
    } else if is_agreed {
        print_removed(&report, output)?;
    }
    // A person named these objects, so one that stays is a failure.
    Ok(if used.is_empty() { report.outcome() } else { Outcome::Found })
}

/// Removes a durable subscriber that is away.
fn remove_durable(
    args: &CleanArgs,
    subscriber: &str,
    output: &mut Output,
) -> Result<Outcome, Failure> {
    let [name] = &*args.kept else {
        return Err(Failure::Usage("--durable: give --kept one ring".to_owned()));
    };
    let objects = packetring::inventory()?;
    let object = names::find(&objects, name)?;
    let full = names::full(object);
    let (ObjectKind::Ring, Inspection::Ring(ring)) = (object.kind, object.inspect()?) else {
        let message = format!("{full}: only plain rings have durable subscribers to remove");
        return Err(Failure::failed(text::plain(&message)));
    };
    let is_it = |one: &&EndpointInfo| matches!(&one.role, EndpointRole::Durable { name } if name == subscriber);
    let Some(found) = ring.endpoints.iter().find(is_it) else {
        let message = format!("{full} has no durable subscriber {subscriber:?}; see `inspect`");
        return Err(Failure::failed(text::plain(&message)));
    };
    let mut report = Report::default();
    let line = Line {
        name: format!("{full}, {}", rings::role(found)),
        bytes: found.lag.map_or(0, |lag| lag.bytes),
        reason: match found.is_alive {
            true => format!("process {} uses it", found.pid),
            false => format!("away; loses {}", packets(backlog(found), "packet")),
        },
    };
    if found.is_alive { &mut report.stays } else { &mut report.would_remove }.push(line);
    if !output.is_json {
        print(&report, output)?;
    }
    let is_agreed = !found.is_alive && (args.yes || ask(1, output)?);
    if is_agreed {
        // The library refuses to remove a subscriber that came back meanwhile.
        let prefix = object.prefix.as_deref().unwrap_or_default();
        Ring::builder().prefix(prefix).attach(&object.name)?.remove_durable(subscriber)?;
        report.removed.append(&mut report.would_remove);
    }
    if output.is_json {
        output.json(&report)?;
    } else if is_agreed {
        print_removed(&report, output)?;
    }
    Ok(if found.is_alive { Outcome::Found } else { report.outcome() })
}

fn backlog(endpoint: &EndpointInfo) -> Option<Backlog> {
    endpoint.lag.map(|lag| Backlog { packets: lag.packets, slots: lag.slots })
}

fn packets(backlog: Option<Backlog>, what: &str) -> String {
    match backlog {
        Some(Backlog { packets: Some(packets), .. }) => text::count(packets as usize, what),
        Some(Backlog { slots, .. }) => format!("{slots} slots of {what}s"),
        None => format!("no {what}s"),
    }
}

/// An object, with what is lost if it goes.
fn lost(object: &InspectedObject) -> Line {
    let state = ls::detail(&object.info);
    let ring = match &object.content {
        Ok(Inspection::Ring(ring)) => ring,
        Ok(_) => return line(&object.info, state),
        Err(_) => {
            return line(&object.info, format!("{state}; what it keeps is unknown, and is lost"));
        }
    };
    let what = if object.info.kind == ObjectKind::Inbox { "message" } else { "packet" };
    let mut losses = Vec::new();
    for one in &ring.endpoints {
        if let EndpointRole::Durable { name } = &one.role {
            losses.push(format!("{} for {:?}", packets(backlog(one), what), text::plain(name)));
        }
    }
    if ring.queue.is_some() {
        losses.push(format!("{} without an acknowledgement", packets(rings::backlog(ring), "job")));
    }
    match losses.is_empty() {
        true => line(&object.info, state),
        false => line(&object.info, format!("{state}; loses {}", losses.join(", "))),
    }
}
