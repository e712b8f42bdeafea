//! Requests that a server has taken and whose callers it cannot reach now.
//!
//! A server attaches to a client's ring at that client's first request. It needs the ring's control
//! lock, in which a process may have been stopped, and it needs descriptors and memory, which may
//! run out. The server copies a request that waits for this and serves other callers meanwhile.
//!
//! The caller of a postponed request does not see its server as dead: the position of the request
//! stays in the range at the server's entry (`status::set_postponed`) until the outcome was
//! sent.
//!
//! A server postpones at most as many requests of a caller as that caller may have in flight.

use crate::cluster::names::CallerId;
use crate::cluster::service::tags::RequestId;
use crate::wait::Deadline;
use rkyv::util::AlignedVec;
use std::collections::VecDeque;
use std::time::Duration;

/// Time between two tries to reach a caller.
const RETRY: Duration = Duration::from_millis(50);

/// A postponed request.
pub(super) struct PostponedRequest {
    pub(super) id: RequestId,
    pub(super) type_index: u16,
    pub(super) archive: AlignedVec<16>,
}

/// All postponed requests of a server, in the order in which they were taken.
pub(super) struct PostponedRequests {
    list: VecDeque<PostponedRequest>,
    /// Position of the postponed request that is served now.
    open: Option<u64>,
    retry_at: Deadline,
}

impl Default for PostponedRequests {
    fn default() -> Self {
        Self { list: VecDeque::new(), open: None, retry_at: Deadline::NEVER }
    }
}

impl PostponedRequests {
    pub(super) fn push(&mut self, request: PostponedRequest) {
        self.list.push_back(request);
        self.retry_at = Deadline::after(RETRY);
    }

    /// Returns true if there is none, and none is served now.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty() && self.open.is_none()
    }

    /// Returns true if there is a request of one of these callers.
    pub(super) fn has_from(&self, is_one: impl Fn(CallerId) -> bool) -> bool {
        self.list.iter().any(|request| is_one(request.id.caller))
    }

    /// The callers to try again now.
    pub(super) fn due(&mut self) -> Vec<CallerId> {
        if self.list.is_empty() || !self.retry_at.has_passed() {
            return Vec::new();
        }
        self.retry_at = Deadline::after(RETRY);
        let mut callers: Vec<CallerId> = Vec::new();
        for request in &self.list {
            if !callers.contains(&request.id.caller) {
                callers.push(request.id.caller);
            }
        }
        callers
    }

    /// Drops the other requests.
    pub(super) fn retain(&mut self, keep: impl Fn(RequestId) -> bool) {
        self.list.retain(|request| keep(request.id));
    }

    /// Takes the first request of one of these callers, to serve it. It stays in the range until
    /// [`close`](Self::close).
    pub(super) fn open_first(
        &mut self,
        is_one: impl Fn(CallerId) -> bool,
    ) -> Option<PostponedRequest> {
        let index = self.list.iter().position(|request| is_one(request.id.caller))?;
        let request = self.list.remove(index)?;
        self.open = Some(request.id.position);
        Some(request)
    }

    /// Ends the request that is served now: its outcome was sent.
    pub(super) fn close(&mut self) {
        self.open = None;
    }

    /// The lowest and the highest position of all requests, including the open request.
    pub(super) fn range(&self) -> Option<(u64, u64)> {
        let all = || self.list.iter().map(|request| request.id.position).chain(self.open);
        all().min().zip(all().max())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::WorkerId;
    use crate::cluster::service::tags::CallSlot;

    fn request(worker: u16, position: u64) -> PostponedRequest {
        let caller = CallerId::of(WorkerId(worker), 7);
        let id = RequestId { caller, position, call_slot: CallSlot(0) };
        PostponedRequest { id, type_index: 0, archive: AlignedVec::new() }
    }

    #[test]
    fn a_request_is_in_the_range_until_its_outcome_was_sent() {
        let mut postponed = PostponedRequests::default();
        assert_eq!((postponed.range(), postponed.is_empty()), (None, true));
        for (worker, position) in [(1, 5), (2, 6), (1, 9)] {
            postponed.push(request(worker, position));
        }
        assert_eq!(postponed.range(), Some((5, 9)));
        let second = |caller: CallerId| caller.worker() == WorkerId(2);
        assert!(postponed.has_from(second));
        assert_eq!(postponed.open_first(second).unwrap().id.position, 6);
        assert!(!postponed.has_from(second) && postponed.open_first(second).is_none());
        postponed.close();
        assert_eq!(postponed.open_first(|_| true).unwrap().id.position, 5);
        assert_eq!(postponed.range(), Some((5, 9)), "it is being served");
        postponed.close();
        assert_eq!(postponed.range(), Some((9, 9)));
        postponed.retain(|id| id.caller != CallerId::of(WorkerId(1), 7));
        assert_eq!((postponed.range(), postponed.is_empty()), (None, true));
    }
}
