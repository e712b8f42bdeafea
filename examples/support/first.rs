//! The first process of a run, as the others see it: when it is gone, nobody wants them any more.

use packetring::cluster::{Watch, WorkerChange, WorkerState};
use packetring::{OpenError, RecvError, Selectable, TryRecvError, Worker, select};

/// Watches over the first process.
pub(crate) struct First {
    name: &'static str,
    watch: Watch,
    is_gone: bool,
}

impl First {
    /// The worker of this name.
    pub(crate) fn watched_by(worker: &Worker, name: &'static str) -> Result<Self, OpenError> {
        let watch = worker.watch()?;
        // After that, so that its end is seen here or there.
        let found = worker.worker(name);
        let is_gone = found.is_none_or(|first| first.state != WorkerState::Alive);
        Ok(Self { name, watch, is_gone })
    }

    /// Waits in one place for `own` and for the end of the first process. `true`: there is something
    /// for `own`.
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
