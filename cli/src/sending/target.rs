//! Where packets go: a plain ring, a topic, a queue, an inbox, or the events of a cluster.

use super::packet;
use super::remedies;
use crate::ls::State;
use crate::names;
use crate::output::Failure;
use crate::rings;
use crate::workers;
use packetring::any::AnyPublisher;
use packetring::cluster::{Emitter, JoinError, WorkerBuilder};
use packetring::dynamic::Value;
use packetring::inspect::{RingInspection, RingStatus};
use packetring::inventory::{Kept, ObjectInfo, ObjectKind};
use packetring::{Ring, Stop, Worker};
use std::time::Duration;

/// The name of this command as a worker. Commands that run at one time add a number.
///
/// It is one name, so that all of them use one worker slot after the other: each has the id of the
/// one before it, and the list of workers has one line of all that left.
const WORKER: &str = "packetring-cli";
/// Most commands that are workers of a cluster at one time.
const MOST_AT_ONCE: u32 = 256;

/// Returns true if a worker of this name is a command such as this one.
pub(crate) fn is_command(worker: &str) -> bool {
    let number = worker.strip_prefix(WORKER).map(|rest| rest.strip_prefix('-').unwrap_or(rest));
    number.is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Joins the cluster of an object. A worker without an inbox leaves nothing behind when it is
/// dropped but its name.
pub(crate) fn join(
    object: &ObjectInfo,
    stop: &Stop,
    choose: impl FnOnce(WorkerBuilder) -> WorkerBuilder,
) -> Result<Worker, Failure> {
    let cluster = object.cluster.as_deref().unwrap_or_default();
    let prefix = object.prefix.as_deref().unwrap_or_default();
    let mut builder = choose(Worker::builder().prefix(prefix).stop(stop));
    if object.mode == 0o660 {
        // Its users share it, so they share what this worker makes.
        builder = builder.mode(object.mode).group(object.group);
    }
    let left = left_objects(object)?;
    let mut number = 1;
    let worker = loop {
        let name = if number == 1 { WORKER.to_owned() } else { format!("{WORKER}-{number}") };
        match builder.clone().join(cluster, &name) {
            Err(JoinError::NameTaken { .. }) if number < MOST_AT_ONCE => number += 1,
            Ok(worker) => break worker,
            Err(error) => return Err(remedies::join(error, &names::of_cluster(object, cluster))),
        }
    };
    let removed: Vec<_> = left.iter().filter(|one| !one.path.exists()).map(names::full).collect();
    if !removed.is_empty() {
        eprintln!(
            "no worker of {cluster} lives: joining it removed {}, which dead workers left",
            names::list(&removed)
        );
    }
    Ok(worker)
}

/// The objects that dead workers left in the cluster of an object, if no worker lives there: the
/// first one that joins removes them.
fn left_objects(object: &ObjectInfo) -> Result<Vec<ObjectInfo>, Failure> {
    let mut objects = packetring::inventory()?;
    objects.retain(|one| (&one.prefix, &one.cluster) == (&object.prefix, &object.cluster));
    let is_living = |one: &ObjectInfo| one.kind == ObjectKind::Directory && one.is_attached;
    if objects.iter().any(is_living) {
        return Ok(Vec::new());
    }
    objects.retain(|one| State::of(one) == State::Left);
    Ok(objects)
}

/// The directory of the cluster of this name, which living workers have.
pub(crate) fn directory<'a>(
    objects: &'a [ObjectInfo],
    cluster: &str,
) -> Result<&'a ObjectInfo, Failure> {
    let cluster = cluster.strip_suffix("/events").unwrap_or(cluster);
    let found = workers::find(objects, cluster)?;
    let of = |one: &ObjectInfo| (one.prefix.clone(), one.cluster.clone());
    let directory = objects.iter().find(|one| {
        one.kind == ObjectKind::Directory && found.cluster.is_some() && of(one) == of(found)
    });
    directory.filter(|directory| directory.is_attached).ok_or_else(|| {
        Failure::failed(format_args!("no worker of the cluster {cluster} lives; start one"))
    })
}

/// Where packets go.
#[derive(Debug)]
pub(crate) struct Target {
    place: Place,
    /// The name of the cluster, if it is in one.
    cluster: String,
    /// The worker of the place, if it is in a cluster and does not have it. Dropped last.
    _worker: Option<Worker>,
}

#[derive(Debug)]
enum Place {
    /// A ring, topic or queue.
    Ring(AnyPublisher),
    /// The inbox of the worker of this name, and the worker that sends.
    Inbox(String, Worker),
    Events(Emitter),
}

impl Target {
    /// Joins the object as a sender. A directory stands for the events of its cluster.
    pub(crate) fn open(object: &ObjectInfo, stop: &Stop) -> Result<Self, Failure> {
        let name = object.name.as_str();
        if object.kind == ObjectKind::Ring {
            let prefix = object.prefix.as_deref().unwrap_or_default();
            let ring = Ring::builder().prefix(prefix).stop(stop).open(name)?;
            let out = ring.any_publisher().map_err(remedies::publisher)?;
            return Ok(Self { place: Place::Ring(out), cluster: String::new(), _worker: None });
        }
        refuse_left(object)?;
        if !has_place(object.kind) {
            return Err(no_target(object));
        }
        let worker = join(object, stop, |builder| builder)?;
        let cluster = names::of_cluster(object, object.cluster.as_deref().unwrap_or_default());
        let place = match object.kind {
            ObjectKind::Topic => Place::Ring(worker.topic(name).any_publisher()?),
            ObjectKind::Queue => Place::Ring(worker.queue_builder(name).any_publisher()?),
            ObjectKind::Inbox => {
                let place = Place::Inbox(name.to_owned(), worker);
                return Ok(Self { place, cluster, _worker: None });
            }
            _ => Place::Events(worker.emitter()?),
        };
        Ok(Self { place, cluster, _worker: Some(worker) })
    }

    /// Makes a plain ring, or joins it.
    pub(crate) fn make(name: &str, stop: &Stop) -> Result<Self, Failure> {
        let ring = Ring::builder().stop(stop);
        let ring = match name.split_once(':') {
            Some((prefix, name)) => ring.prefix(prefix).open(name)?,
            None => ring.open(name)?,
        };
        let out = ring.any_publisher().map_err(remedies::publisher)?;
        Ok(Self { place: Place::Ring(out), cluster: String::new(), _worker: None })
    }

    /// Sends a packet. Events need a name. After the timeout nothing of the packet was sent.
    pub(crate) fn send(
        &mut self,
        value: Value<'_>,
        event: &str,
        timeout: Option<Duration>,
    ) -> Result<(), Failure> {
        match (&mut self.place, timeout) {
            (Place::Ring(out), None) => out.send_value(value).map(drop).map_err(Failure::failed),
            (Place::Ring(out), Some(timeout)) => {
                out.send_value_timeout(value, timeout).map(drop).map_err(Failure::failed)
            }
            (Place::Inbox(name, worker), None) => {
                let sent = worker.send_value_to(name.as_str(), value);
                sent.map_err(|error| remedies::inbox(error.into(), &self.cluster))
            }
            (Place::Inbox(name, worker), Some(timeout)) => {
                let sent = worker.send_value_to_timeout(name.as_str(), value, timeout);
                sent.map_err(|error| remedies::inbox(error, &self.cluster))
            }
            (Place::Events(emitter), None) => {
                emitter.emit_value(event, value).map_err(Failure::failed)
            }
            (Place::Events(emitter), Some(timeout)) => {
                let sent = emitter.emit_value_timeout(event, value, timeout);
                sent.map_err(|error| remedies::event(error, &self.cluster))
            }
        }
    }

    /// Returns true if it takes events.
    pub(crate) fn is_events(&self) -> bool {
        matches!(self.place, Place::Events(_))
    }

    /// Waits for subscribers, at most for the timeout.
    pub(crate) fn wait_for_subscribers(
        &mut self,
        number: usize,
        timeout: Option<Duration>,
    ) -> Result<(), Failure> {
        match &mut self.place {
            Place::Ring(out) => match timeout {
                Some(timeout) => {
                    out.wait_for_subscribers_timeout(number, timeout).map_err(Failure::failed)
                }
                None => out.wait_for_subscribers(number).map_err(Failure::failed),
            },
            Place::Inbox(..) | Place::Events(_) => Err(Failure::Usage(
                "--subscribers: an inbox and events have none to wait for".to_owned(),
            )),
        }
    }
}

/// Returns true if objects of this kind have packet types, and take packets.
pub(crate) fn has_types(kind: ObjectKind) -> bool {
    use ObjectKind::{Directory, Ring};
    kind == Ring || has_place(kind) && kind != Directory
}

/// Returns true if a cluster has objects of this kind to send to.
fn has_place(kind: ObjectKind) -> bool {
    use ObjectKind::{Directory, Events, Inbox, Queue, Topic};
    matches!(kind, Topic | Queue | Inbox | Events | Directory)
}

/// Fails for an object that takes no packets by `send`, and for a ring that was left, or would
/// close.
/// Returns true if there is a reader to get the packets.
pub(crate) fn check(object: &ObjectInfo, may_close: bool) -> Result<bool, Failure> {
    let name = names::full(object);
    let kinds = [ObjectKind::Ring, ObjectKind::Topic, ObjectKind::Queue, ObjectKind::Inbox];
    if !kinds.contains(&object.kind) {
        return Err(no_target(object));
    }
    let ring = packet::inspect(object)?;
    refuse_left(object)?;
    let has_reader = has_reader(object, &ring);
    let has_writer = ring.endpoints.iter().any(|one| one.is_alive && rings::is_writer(one));
    let closes = !ring.settings.stays_open && ring.status == RingStatus::Open;
    if closes && !has_writer && has_reader && !may_close {
        return Err(Failure::failed(format_args!(
            "{name} has no other publisher, and closes when its last publisher leaves: its \
             subscribers would end after this packet; start its publisher first, or accept that \
             with --may-close"
        )));
    }
    Ok(has_reader)
}

/// Fails for an object that dead processes left: joining its cluster would remove it.
pub(super) fn refuse_left(object: &ObjectInfo) -> Result<(), Failure> {
    if State::of(object) != State::Left {
        return Ok(());
    }
    Err(Failure::failed(format_args!(
        "{} was left, and no process would get the packet; start the process that uses it",
        names::full(object)
    )))
}

/// Returns true if a packet that is sent now has a reader, or waits for one.
pub(crate) fn has_reader(object: &ObjectInfo, ring: &RingInspection) -> bool {
    matches!(object.kind, ObjectKind::Queue | ObjectKind::Inbox)
        || matches!(object.kept, Kept::Durable(_))
        || ring.endpoints.iter().any(|one| one.is_alive && !rings::is_writer(one))
}

fn no_target(object: &ObjectInfo) -> Failure {
    let (name, kind) = (names::full(object), names::word(object.kind));
    let cluster = names::of_cluster(object, object.cluster.as_deref().unwrap_or_default());
    let advice = match object.kind {
        ObjectKind::Requests => format!("use `packetring call {name}`"),
        ObjectKind::Events => format!("use `packetring emit {cluster} EVENT`"),
        _ => "give a ring, topic, queue or inbox".to_owned(),
    };
    Failure::failed(format_args!("{name} takes no such packets, its kind is {kind}; {advice}"))
}
