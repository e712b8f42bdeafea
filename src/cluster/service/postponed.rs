//! Requests that a server has taken and whose callers it cannot reach now.
//!
//! A server attaches to a caller's ring at that caller's first request: under the ring's lock, in which
//! somebody may have been stopped, and with descriptors and memory, which may be short. A request
//! that waits for it is copied and set aside, so that others' are served meanwhile. It guarantees that
//! the caller is not told that its server died: until what became of such a request was sent, its
//! position is in the range that the server's entry says (`status::set_postponed`).
//!
//! No more than a caller has calls in flight can lie here of each.

use super::call::RequestId;
use crate::cluster::names::CallerId;
use crate::wait::Deadline;
use rkyv::util::AlignedVec;
use std::collections::VecDeque;
use std::time::Duration;

/// Between two tries.
const EVERY: Duration = Duration::from_millis(50);

/// One request.
pub(in crate::cluster) struct PostponedRequest {
    pub(in crate::cluster) asked: RequestId,
    pub(in crate::cluster) type_index: u16,
    pub(in crate::cluster) archive: AlignedVec<16>,
}

/// All of a server's, as they were taken.
pub(in crate::cluster) struct PostponedRequests {
    list: VecDeque<PostponedRequest>,
    /// The one that is being answered.
    answered: Option<u64>,
    try_at: Deadline,
}

impl Default for PostponedRequests {
    fn default() -> Self {
        Self { list: VecDeque::new(), answered: None, try_at: Deadline::NEVER }
    }
}

impl PostponedRequests {
    pub(in crate::cluster) fn push(&mut self, request: PostponedRequest) {
        self.list.push_back(request);
        self.try_at = Deadline::after(EVERY);
    }

    /// Whether there is none, nor one being answered.
    #[inline]
    pub(in crate::cluster) fn is_empty(&self) -> bool {
        self.list.is_empty() && self.answered.is_none()
    }

    /// Whether a request of this caller is here.
    pub(in crate::cluster) fn is_of(&self, caller: CallerId) -> bool {
        self.list.iter().any(|request| request.asked.caller == caller)
    }

    /// Whose requests are here, if it is time to try again.
    pub(in crate::cluster) fn due(&mut self) -> Vec<CallerId> {
        if self.list.is_empty() || !self.try_at.has_passed() {
            return Vec::new();
        }
        self.try_at = Deadline::after(EVERY);
        let mut callers: Vec<CallerId> = Vec::new();
        for request in &self.list {
            if !callers.contains(&request.asked.caller) {
                callers.push(request.asked.caller);
            }
        }
        callers
    }

    /// Forgets what a caller asked that is gone.
    pub(in crate::cluster) fn forget(&mut self, caller: CallerId) {
        self.list.retain(|request| request.asked.caller != caller);
    }

    /// Forgets all but those.
    pub(in crate::cluster) fn retain(&mut self, keep: impl Fn(&PostponedRequest) -> bool) {
        self.list.retain(keep);
    }

    /// Whether one of these callers' requests is here.
    pub(in crate::cluster) fn has_of(&self, reached: impl Fn(CallerId) -> bool) -> bool {
        self.list.iter().any(|request| reached(request.asked.caller))
    }

    /// The first of these callers' requests, to be answered.
    pub(in crate::cluster) fn take_of(
        &mut self,
        reached: impl Fn(CallerId) -> bool,
    ) -> Option<PostponedRequest> {
        let index = self.list.iter().position(|request| reached(request.asked.caller))?;
        let request = self.list.remove(index)?;
        self.answered = Some(request.asked.position);
        Some(request)
    }

    /// What became of the one that was being answered was sent.
    pub(in crate::cluster) fn is_answered(&mut self) {
        self.answered = None;
    }

    /// The positions between which all of them are.
    pub(in crate::cluster) fn range(&self) -> Option<(u64, u64)> {
        let all = || self.list.iter().map(|request| request.asked.position).chain(self.answered);
        all().min().zip(all().max())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::WorkerId;
    use crate::cluster::service::call::CallSlot;

    fn request(worker: u16, position: u64) -> PostponedRequest {
        let caller = CallerId::of(WorkerId(worker), 7);
        let asked = RequestId { caller, position, call_slot: CallSlot(0) };
        PostponedRequest { asked, type_index: 0, archive: AlignedVec::new() }
    }

    #[test]
    fn a_request_is_in_the_range_until_it_is_answered() {
        let mut aside = PostponedRequests::default();
        assert_eq!((aside.range(), aside.is_empty()), (None, true));
        for (worker, position) in [(1, 5), (2, 6), (1, 9)] {
            aside.push(request(worker, position));
        }
        assert_eq!(aside.range(), Some((5, 9)));
        let second = |caller: CallerId| caller.worker() == WorkerId(2);
        assert!(aside.has_of(second));
        assert_eq!(aside.take_of(second).unwrap().asked.position, 6);
        assert!(!aside.has_of(second) && aside.take_of(second).is_none());
        aside.is_answered();
        assert_eq!(aside.take_of(|_| true).unwrap().asked.position, 5);
        assert_eq!(aside.range(), Some((5, 9)), "it is being answered");
        aside.is_answered();
        assert_eq!(aside.range(), Some((9, 9)));
        aside.forget(CallerId::of(WorkerId(1), 7));
        assert_eq!((aside.range(), aside.is_empty()), (None, true));
    }
}
