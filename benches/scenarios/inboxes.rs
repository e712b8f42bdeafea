//! The cost of a cluster of many workers, each a process with an inbox.
//!
//! The workers start one after another and stay until the last one has joined. So each worker joins
//! all workers before it. Two scenarios report different costs of such a run:
//!
//! - Memory: the blocks that `stat` counts for the cluster's objects in `/dev/shm` (directory and
//!   inboxes) once all workers have joined.
//! - Time: [`Worker::join`] and [`Worker::inbox`] together, in a new process that has not used the
//!   library before. It does not include starting the process.

use super::packets::{Numbered, Tick};
use crate::harness::{
    Outcome, Partner, Phase, Run, Sample, Scenario, Side, THERE, Unit, latencies,
};
use packetring::Worker;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::Instant;

/// The reported cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cost {
    /// Memory of all objects in KiB.
    Memory,
    /// Time of a join in microseconds.
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
                format!("{workers} processes with an inbox each: all shared pages")
            }
            Cost::Joining => format!("{workers} new processes: Worker::join and inbox; p50"),
        }
    }

    fn payload(&self) -> usize {
        Tick::ARCHIVED
    }

    fn unit(&self) -> Unit {
        if self.cost == Cost::Memory { Unit::Kibibytes } else { Unit::Microseconds }
    }

    fn fixed_phase(&self) -> Option<Phase> {
        (self.cost == Cost::Memory).then_some(Phase::Any)
    }

    fn measure(&self, run: &Run) -> Outcome<Sample> {
        let cluster = run.ring(THERE);
        let mut times = latencies()?;
        let mut partners: Vec<Partner> = Vec::new();
        for role in 0..self.workers {
            let mut partner = run.start(role)?;
            times.saturating_record(partner.read_line()?.parse()?);
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
        side.report(&took.as_nanos().to_string())?;
        Side::wait_for_order()?;
        drop(inbox);
        // A worker that leaves is not expected back, so the cluster keeps nothing of it.
        Ok(worker.leave()?)
    }
}

/// Memory of all objects of a cluster in KiB.
fn resident(cluster: &str) -> Outcome<f64> {
    let mut blocks = 0;
    for object in fs::read_dir("/dev/shm")? {
        let object = object?;
        if object.file_name().to_string_lossy().contains(cluster) {
            blocks += object.metadata()?.blocks();
        }
    }
    // `stat` counts blocks of 512 bytes on every file system.
    Ok(blocks as f64 / 2.0)
}
