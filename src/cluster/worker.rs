//! A process' place in a cluster.

use super::directory::Directory;
use super::names::{Object, WorkerId};
use super::outgoing::Outgoing;
use crate::channel::{Ring, RingBuilder};
use crate::error::OpenError;
use crate::segment::settings::Overflow;
use std::time::Duration;

/// A process' place in a cluster.
#[derive(Debug)]
pub struct Worker {
    pub(super) directory: Directory,
    pub(super) cluster: String,
    name: String,
    id: WorkerId,
    pub(super) choices: WorkerBuilder,
    pub(super) outgoing: Outgoing,
}

/// Chooses how a worker joins.
#[derive(Clone, Debug)]
#[must_use]
pub struct WorkerBuilder {
    pub(super) max_workers: Option<usize>,
    pub(super) id: Option<WorkerId>,
    pub(super) inbox_capacity: usize,
    pub(super) events_overflow: Option<Overflow>,
    pub(super) patience: Option<Duration>,
}

impl Worker {
    /// This worker's number.
    pub fn id(&self) -> WorkerId {
        self.id
    }

    /// This worker's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Opens an object of this cluster, making it if it is not there: what it is made to be is its
    /// opener's to say, but for the defaults that all share.
    pub(crate) fn open(
        &self,
        object: Object<'_>,
        settings: RingBuilder,
    ) -> Result<Ring, OpenError> {
        settings.open_named(&object.name(&self.cluster)?)
    }
}
