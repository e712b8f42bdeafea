//! The memory of a default ring with one publisher process and one subscriber process.
//!
//! The value is the sum of:
//!
//! - all pages of the segment's object, as `stat` counts them. Its mapping in `smaps` shows no
//!   more;
//! - the growth of the anonymous memory of the two processes, from before they open the ring until
//!   after two laps of packets. Both processes are new. Anonymous memory is `Anonymous` in
//!   `/proc/self/smaps_rollup`: heap, stacks and written pages of the image.
//!
//! Page tables and other memory of the kernel are not included. The floor is the bytes of the
//! slots.

use super::packets::{Numbered, Tick};
use crate::harness::{Outcome, Phase, Run, Sample, Scenario, Side, THERE, Target, Unit, check};
use packetring::{Publisher, Ring, Subscriber};
use std::fs;
use std::os::unix::fs::MetadataExt;

/// Roles of the partners.
const SUBSCRIBER: u32 = 0;
const PUBLISHER: u32 = 1;
/// Two laps.
const PACKETS: u64 = 1 << 16;

/// The memory of a default ring.
pub(crate) struct Resident;

impl Scenario for Resident {
    fn name(&self) -> String {
        "resident_default".into()
    }

    fn about(&self) -> String {
        "a default ring, one publisher and one subscriber process: its pages, and growth of both"
            .into()
    }

    fn payload(&self) -> usize {
        Tick::ARCHIVED
    }

    fn unit(&self) -> Unit {
        Unit::Kibibytes
    }

    fn floor(&self) -> Option<Box<dyn Scenario>> {
        Some(Box::new(Slots))
    }

    fn targets(&self) -> Vec<Target> {
        vec![Target::AtMost(2.4 * 1024.0)]
    }

    fn fixed_phase(&self) -> Option<Phase> {
        Some(Phase::Any)
    }

    fn measure(&self, run: &Run) -> Outcome<Sample> {
        let mut partners = [run.start(SUBSCRIBER)?, run.start(PUBLISHER)?];
        let mut kibibytes = 0.0;
        for partner in &mut partners {
            kibibytes += partner.read_line()?.parse::<f64>()?;
        }
        let object = format!("/dev/shm/packetring.{}", run.ring(THERE));
        // `stat` counts blocks of 512 bytes on every file system.
        kibibytes += fs::metadata(object)?.blocks() as f64 / 2.0;
        for partner in partners {
            partner.finish()?;
        }
        Ok(Sample::of(kibibytes))
    }

    fn serve(&self, side: &mut Side) -> Outcome<()> {
        let name = side.run.ring(THERE);
        let before = anonymous()?;
        let ring = Ring::open(&name)?;
        if side.role == SUBSCRIBER {
            let mut ticks: Subscriber<Tick> = ring.subscriber()?;
            side.ready()?;
            for number in 0..PACKETS {
                check(Tick::is(&*ticks.recv()?, number), number)?;
            }
            return stay(side, before);
        }
        let mut ticks: Publisher<Tick> = ring.publisher()?;
        side.ready()?;
        let mut tick = Tick::blank();
        for number in 0..PACKETS {
            tick.set(number);
            ticks.send(&tick)?;
        }
        stay(side, before)
    }
}

/// Reports the growth of this process in KiB, and waits until everything has been counted.
fn stay(side: &Side, before: u64) -> Outcome<()> {
    side.report(&anonymous()?.saturating_sub(before).to_string())?;
    Side::wait_for_order().map(drop)
}

/// Anonymous memory of this process in KiB.
fn anonymous() -> Outcome<u64> {
    let rollup = fs::read_to_string("/proc/self/smaps_rollup")?;
    let line = rollup.lines().find_map(|line| line.strip_prefix("Anonymous:"));
    let number = line
        .and_then(|line| line.split_whitespace().next())
        .ok_or("no line `Anonymous:` in /proc/self/smaps_rollup")?;
    Ok(number.parse()?)
}

/// The capacity of a default ring.
struct Slots;

impl Scenario for Slots {
    fn name(&self) -> String {
        "floor_slots".into()
    }

    fn about(&self) -> String {
        "the slots of a default ring".into()
    }

    fn payload(&self) -> usize {
        0
    }

    fn unit(&self) -> Unit {
        Unit::Kibibytes
    }

    fn measure(&self, _: &Run) -> Outcome<Sample> {
        let ring = Ring::builder().heap()?;
        Ok(Sample::of(ring.settings().capacity as f64 / 1024.0))
    }

    fn serve(&self, _: &mut Side) -> Outcome<()> {
        Err("floor_slots has no partner".into())
    }
}
