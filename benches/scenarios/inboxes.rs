//! What a cluster of many workers costs: each a process, each with an inbox.
//!
//! Two scenarios of one run's shape. The workers are started one after another, and all stay until
//! the last is there: so a worker joins those that came before it. Memory is what `stat` counts of the
//! cluster's objects in `/dev/shm`, the directory and all inboxes, when all are there. The time is
//! that of [`Worker::join`] and [`Worker::inbox`] together, in a fresh process that has not used the
//! library before; starting the process is not in it.

use super::packets::{Numbered, Tick};
use crate::harness::{Outcome, Partner, Run, Sample, Scenario, Side, THERE, Unit, latencies};
use packetring::Worker;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::Instant;

/// What is reported of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cost {
    /// KiB of all objects.
    Memory,
    /// Microseconds of a join; its tail is that of the slowest.
    Joining,
}

/// Workers with an inbox each.
pub(crate) struct Inboxes {
    pub(crate) workers: u32,
    pub(crate) cost: Cost,
}

impl Scenario for Inboxes {
    fn name(&self) -> String {
        match self.cost {
            Cost::Memory => format!("inboxes_{}_resident", self.workers),
            Cost::Joining => format!("inboxes_{}_join", self.workers),
        }
    }

    fn about(&self) -> String {
        let workers = self.workers;
        match self.cost {
            Cost::Memory => {
                format!("{workers} processes with an inbox each: all their shared pages")
            }
            Cost::Joining => format!("{workers} fresh processes: Worker::join and inbox; p50"),
        }
    }

    fn payload(&self) -> usize {
        Tick::ARCHIVED
    }

    fn unit(&self) -> Unit {
        if self.cost == Cost::Memory { Unit::Kibibytes } else { Unit::Microseconds }
    }

    fn measure(&self, run: &Run) -> Outcome<Sample> {
        let cluster = run.ring(THERE);
        let mut times = latencies()?;
        let mut partners: Vec<Partner> = Vec::new();
        for role in 0..self.workers {
            let mut partner = run.start(role)?;
            times.saturating_record(partner.hear()?.parse()?);
            partners.push(partner);
        }
        let kibibytes = resident(&cluster)?;
        for partner in partners {
            partner.finish()?;
        }
        Ok(match self.cost {
            Cost::Memory => Sample::of(kibibytes),
            Cost::Joining => Sample::of_latencies(times, self.unit()),
        })
    }

    fn serve(&self, side: &mut Side) -> Outcome<()> {
        let name = format!("worker-{}", side.role);
        let started = Instant::now();
        let worker = Worker::join(&side.run.ring(THERE), &name)?;
        let inbox = worker.inbox()?;
        let took = started.elapsed();
        side.ready()?;
        side.say(&took.as_nanos().to_string())?;
        Side::is_told()?;
        drop(inbox);
        // Nobody is expected back.
        Ok(worker.leave()?)
    }
}

/// KiB of all objects of a cluster.
fn resident(cluster: &str) -> Outcome<f64> {
    let mut blocks = 0;
    for object in fs::read_dir("/dev/shm")? {
        let object = object?;
        if object.file_name().to_string_lossy().contains(cluster) {
            blocks += object.metadata()?.blocks();
        }
    }
    // Blocks of 512 bytes, whatever the file system's own.
    Ok(blocks as f64 / 2.0)
}
