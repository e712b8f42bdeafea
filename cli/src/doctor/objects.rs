//! The objects of this user: what dead processes left, and what this build cannot read.

use super::Check;
use crate::ls::State;
use crate::rings::{self, Blocker, Summary};
use crate::workers::Absent;
use crate::{names, text, users};
use packetring::inspect::{self, InspectedObject, Inspection};
use packetring::inventory::{self, LAYOUT_VERSION, ObjectInfo};
use std::time::Duration;

/// How long a death is reported after it was found.
const RECENT: Duration = Duration::from_mins(10);

/// All checks of the objects.
pub(super) fn checks() -> Vec<Check> {
    match packetring::inventory() {
        Ok(objects) => {
            let mut checks = judge(&objects);
            checks.extend(of_other_users());
            checks.extend(endpoints(objects));
            checks
        }
        Err(error) => vec![Check::problem(
            "objects",
            format!("cannot be listed: {error}"),
            "see the checks of /dev/shm",
        )],
    }
}

/// The objects of other users, which no check looks at.
fn of_other_users() -> Option<Check> {
    let others = inventory::of_other_users().unwrap_or_default();
    let others: Vec<_> = others.iter().collect();
    let sentence = users::sentence(&others)?;
    let advice = users::advice(&others, "doctor");
    Some(Check::ok("users", format!("{sentence}: not checked; {advice} does")))
}

/// The endpoints that hold publishers back, and those that are stopped or dead.
fn endpoints(objects: Vec<ObjectInfo>) -> Vec<Check> {
    // A kept object, too: a reader that is away holds back whoever publishes next.
    let is_looked_at = |one: &ObjectInfo| matches!(State::of(one), State::InUse | State::Kept);
    let objects: Vec<_> = objects.into_iter().filter(is_looked_at).collect();
    let number = objects.len();
    let (mut readers, mut others) = (Vec::new(), Vec::new());
    for object in inspect::objects(objects) {
        let (name, summary) = (names::full(&object.info), Summary::of(&object));
        let blocker = summary.and_then(|summary| summary.blocker);
        if let Some(blocker) = &blocker {
            let message = format!("{name}: {}", blocker.sentence());
            let is_full = blocker.free_slots <= blocker.slots / 32;
            let check = if is_full { Check::problem } else { Check::warning };
            readers.push(check("readers", message, blocker.remedy(&name)));
        }
        others.extend(silent(&name, &object, blocker.as_ref()));
    }
    if readers.is_empty() {
        let number = text::count(number, "object");
        let message = format!("none holds publishers back, in {number} in use or kept");
        readers.push(Check::ok("readers", message));
    }
    readers.append(&mut others);
    readers
}

/// The endpoints that are stopped or dead, and the last death that was found.
fn silent(name: &str, object: &InspectedObject, blocker: Option<&Blocker>) -> Vec<Check> {
    let (endpoints, last_death) = match &object.content {
        Ok(Inspection::Ring(ring)) => (&*ring.endpoints, ring.last_death),
        Ok(Inspection::Board(board)) => (&*board.endpoints, board.last_death),
        Ok(Inspection::Directory(directory)) => (&[][..], directory.last_death),
        _ => return Vec::new(),
    };
    let mut checks = Vec::new();
    if let (Some(absent), Some(cluster)) = (Absent::of_object(object), &object.info.cluster) {
        let cluster = names::of_cluster(&object.info, cluster);
        let message = format!("{cluster}: {}", absent.sentence());
        let remedy = format!("`packetring workers {cluster}` says what to do");
        checks.push(Check::warning("workers", message, remedy));
    }
    for one in endpoints {
        let (role, pid) = (rings::role(one), one.pid);
        // The check of readers has it already.
        if blocker.is_some_and(|blocker| blocker.endpoint == role) {
            continue;
        }
        let message = |state: &str| format!("{name}: {role} of process {pid} is {state}");
        match rings::state(one) {
            "stopped" => {
                let remedy = format!("continue or end the process: kill -CONT {pid}");
                checks.push(Check::warning("stopped", message("stopped"), remedy));
            }
            "dead" => checks.push(Check::warning("dead", message("dead"), rings::CLEARED)),
            _ => {}
        }
    }
    if let Some(time) = last_death.filter(|time| *time < RECENT) {
        let message = format!("{name}: a process died, which was found {} ago", text::age(time));
        let remedy = "see the log of its program, and dmesg for the OOM killer";
        checks.push(Check::warning("deaths", message, remedy));
    }
    checks
}

fn judge(objects: &[ObjectInfo]) -> Vec<Check> {
    let of = |state: State| objects.iter().filter(move |object| State::of(object) == state);
    let mut checks = Vec::new();
    for object in of(State::Damaged) {
        let fault = object.fault.as_ref().map(ToString::to_string).unwrap_or_default();
        checks.push(Check::problem(
            "objects",
            format!("{} is damaged: {fault}", names::full(object)),
            "end its processes and delete it",
        ));
    }
    for object in of(State::OtherLayout) {
        let layout = object.layout.unwrap_or_default();
        checks.push(Check::warning(
            "objects",
            format!("{} has layout {layout}, this command {LAYOUT_VERSION}", names::full(object)),
            "build all processes and this command with one version of packetring, or use its command",
        ));
    }
    let (left, bytes) = of(State::Left).fold((0, 0), |(n, sum), one| (n + 1, sum + one.bytes));
    if left > 0 {
        checks.push(Check::warning(
            "objects",
            format!("dead processes left {}, {}", text::count(left, "object"), text::bytes(bytes)),
            "`packetring clean` removes them",
        ));
    }
    if checks.is_empty() {
        let number = text::count(objects.len(), "object");
        checks.push(Check::ok("objects", format!("{number}, all in use or kept on purpose")));
    }
    checks
}
