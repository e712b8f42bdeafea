//! Watches the first process of a run from the other processes, which end when it is gone.

use packetring::cluster::{Watch, WorkerChange, WorkerState};
use packetring::{OpenError, RecvError, Selectable, TryRecvError, Worker, select};

/// A watch on the first process.
pub(crate) struct First {
    name: &'static str,
    watch: Watch,
    is_gone: bool,
}

impl First {
    /// Watches the worker with this name.
    pub(crate) fn watched_by(worker: &Worker, name: &'static str) -> Result<Self, OpenError> {
        let watch = worker.watch()?;
        // After `watch()`, so that either this lookup or the watch sees the end.
        let found = worker.worker(name);
        let is_gone = found.is_none_or(|first| first.state != WorkerState::Alive);
        Ok(Self { name, watch, is_gone })
    }

    /// Waits for `own` and for the end of the first process at once. Returns true if `own` is
    /// ready.
    pub(crate) fn wants(&mut self, own: &mut dyn Selectable) -> Result<bool, TryRecvError> {
        while !self.is_gone {
            if select(&mut [own, &mut self.watch]) == 0 {
                return Ok(true);
            }
            self.is_gone = is_end(&self.watch.try_recv()?, self.name);
        }
        Ok(false)
    }

    /// Waits for the end of the first process.
    pub(crate) fn outlive(&mut self) -> Result<(), RecvError> {
        while !self.is_gone {
            self.is_gone = is_end(&self.watch.recv()?, self.name);
        }
        Ok(())
    }
}

fn is_end(change: &WorkerChange, name: &str) -> bool {
    match change {
        WorkerChange::Left(gone) | WorkerChange::Died(gone) => gone.name == name,
        _ => false,
    }
}
