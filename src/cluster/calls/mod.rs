//! Calls between workers: what a worker needs to call services, and what a server knows of its
//! callers.
//!
//! - [`OwnCalls`]: the call area of a worker, and its links to services.
//! - `link`: sends requests to one service, and knows the state of its calls.
//! - `senders`: the endpoints of a link, and which thread uses them.
//! - `callers`: the call areas of other workers that a server has mapped.
//! - `requests`: the request ring and the tags of its requests, as both sides see it.
//!
//! The types of the public API are in `service`. `docs/internals/services.md` describes the
//! protocol.

mod callers;
mod link;
mod requests;
mod senders;

pub(crate) use callers::{CallerCache, LastCaller, OwnCallers, ReachError};
pub(crate) use link::{SentCall, ServiceLink, StartFailure, WindowPlace};
pub(crate) use requests::{TakenRequest, request_ring};

use super::names::{CallerId, Cluster, ClusterObject, WorkerId};
use crate::channel::{CallArea, Ring, Types};
use crate::error::OpenError;
use crate::packet::Fingerprint;
use crate::sys::lock::LockLimit;
use crate::trace::Hold;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// Memory for replies, unless the worker chooses.
const REPLY_CAPACITY: usize = 256 << 10;
/// Most calls in flight of a worker, unless it chooses.
const MAX_CALLS: usize = 256;

/// The call area of a worker, and its links to services. Made by its first client.
#[derive(Default)]
pub(crate) struct OwnCalls(Mutex<Made>);

#[derive(Default)]
struct Made {
    calls: Option<Arc<WorkerCalls>>,
    /// By the name of the service.
    links: Vec<(String, Weak<ServiceLink>)>,
}

/// The call area of a worker, and the cells that it waits for.
pub(crate) struct WorkerCalls {
    pub(super) id: CallerId,
    pub(super) area: CallArea,
    abandoned: Mutex<Vec<Abandoned>>,
    /// All links that use the area.
    links: Mutex<Vec<Weak<ServiceLink>>>,
}

/// Calls that were given up, of a link that was dropped.
pub(super) struct Abandoned {
    pub(super) requests: Arc<Ring>,
    pub(super) calls: Vec<SentCall>,
}

/// How a worker makes its call area.
#[derive(Clone, Debug)]
pub(crate) struct AreaSettings {
    pub(crate) reply_capacity: Option<usize>,
    pub(crate) max_calls: Option<usize>,
    pub(crate) worker: WorkerId,
    pub(crate) generation: u64,
    pub(crate) limit: LockLimit,
}

impl OwnCalls {
    /// The link to the service with this request ring and these types, with the fingerprints of
    /// requests and of replies. `open` opens the ring, and compares its settings with those that
    /// the caller chose.
    pub(crate) fn link(
        &self,
        cluster: &Cluster,
        service: &str,
        (types, prints): (&Types<'_>, [Fingerprint; 2]),
        settings: &AreaSettings,
        open: impl FnOnce() -> Result<Ring, OpenError>,
    ) -> Result<Arc<ServiceLink>, OpenError> {
        // First: the ring refuses other types and settings.
        let requests = open()?;
        let _hold = Hold::new();
        let mut made = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_it = |link: &Arc<ServiceLink>| link.types == prints;
        made.links.retain(|(_, link)| link.strong_count() > 0);
        if let Some(calls) = &made.calls {
            calls.collect_abandoned();
        }
        let mut links = made.links.iter().filter(|(name, _)| name == service);
        if let Some(link) = links.find_map(|(_, link)| link.upgrade().filter(is_it)) {
            return Ok(link);
        }
        let calls = match &made.calls {
            Some(calls) => Arc::clone(calls),
            None => Arc::new(WorkerCalls::make(cluster, settings)?),
        };
        made.calls = Some(Arc::clone(&calls));
        let link = Arc::new(ServiceLink::open(cluster, requests, (types, prints), calls)?);
        link.calls.add(Arc::downgrade(&link));
        made.links.push((service.to_owned(), Arc::downgrade(&link)));
        Ok(link)
    }
}

impl WorkerCalls {
    fn make(cluster: &Cluster, settings: &AreaSettings) -> Result<Self, OpenError> {
        let capacity = settings.reply_capacity.unwrap_or(REPLY_CAPACITY);
        let cells = settings.max_calls.unwrap_or(MAX_CALLS);
        if cells == 0 {
            let reason = "max_calls 0 is not from 1 to 8192".to_owned();
            return Err(OpenError::BadSettings { reason });
        }
        let random = crate::sys::random()
            .map_err(|errno| OpenError::system("draw a number for", "a call area", errno))?;
        let id = CallerId::of(settings.worker, random);
        let name = ClusterObject::Replies(id).name(cluster)?;
        let size = (cells, capacity);
        let area = CallArea::make(&name, size, settings.generation, &settings.limit)?;
        Ok(Self { id, area, abandoned: Mutex::default(), links: Mutex::default() })
    }

    /// Keeps calls that were given up until their cells are free.
    fn keep(&self, abandoned: Abandoned) {
        self.lock().push(abandoned);
    }

    fn add(&self, link: Weak<ServiceLink>) {
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        links.retain(|link| link.strong_count() > 0);
        links.push(link);
    }

    /// Frees the cells of all calls that were given up and have ended.
    fn collect(&self) {
        let links = self.links.lock().unwrap_or_else(PoisonError::into_inner).clone();
        links.iter().filter_map(Weak::upgrade).for_each(|link| link.collect());
        self.collect_abandoned();
    }

    fn collect_abandoned(&self) {
        let all = std::mem::take(&mut *self.lock());
        for Abandoned { requests, calls } in all {
            let ends = |sent| link::end(sent, &requests).err();
            let calls: Vec<_> = calls.into_iter().filter_map(ends).collect();
            if !calls.is_empty() {
                self.keep(Abandoned { requests, calls });
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Abandoned>> {
        self.abandoned.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for OwnCalls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnCalls").finish_non_exhaustive()
    }
}
