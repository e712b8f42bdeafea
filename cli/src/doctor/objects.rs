//! The objects of this user: what dead processes left, and what this build cannot read.

use super::Check;
use crate::ls::State;
use crate::rings::Summary;
use crate::{names, text, users};
use packetring::inspect;
use packetring::inventory::{self, LAYOUT_VERSION, ObjectInfo};

/// All checks of the objects.
pub(super) fn checks() -> Vec<Check> {
    match packetring::inventory() {
        Ok(objects) => {
            let mut checks = judge(&objects);
            checks.extend(of_other_users());
            checks.extend(readers(objects));
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

/// The endpoints that hold publishers back.
fn readers(objects: Vec<ObjectInfo>) -> Vec<Check> {
    let objects: Vec<_> =
        objects.into_iter().filter(|one| State::of(one) == State::InUse).collect();
    let number = objects.len();
    let mut checks = Vec::new();
    for object in inspect::objects(objects) {
        let Some(blocker) = Summary::of(&object).and_then(|summary| summary.blocker) else {
            continue;
        };
        let message = format!("{}: {}", names::full(&object.info), blocker.sentence());
        let is_full = blocker.free_slots <= blocker.slots / 32;
        let check = if is_full { Check::problem } else { Check::warning };
        checks.push(check("readers", message, blocker.remedy()));
    }
    if checks.is_empty() {
        let number = text::count(number, "object");
        checks
            .push(Check::ok("readers", format!("none holds publishers back, in {number} in use")));
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
            "build all processes and this command with one version of packetring",
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
