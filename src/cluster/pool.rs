//! The endpoints that a worker has at others' inboxes, and which thread has them.
//!
//! The first thread that sends has endpoints of its own, without a lock: a mutex costs as much as a
//! claim. All others share theirs: who sends borrows one, or attaches another if none is there.
//!
//! It guarantees that no thread waits for another's packet: neither lock nor endpoint is waited for
//! while a packet is archived, whose own code may do anything, sending letters too. Only where an inbox
//! has no entry left does a thread wait until one of its worker's endpoints comes back.

use super::directory::{Directory, InboxAddress, Presence};
use super::names::{Address, SenderTag, WorkerId};
use crate::channel::AnyPublisher;
use crate::sys::owned::Owned;
use crate::wait::{Deadline, IDLE};
use std::cell::{Cell, RefCell, RefMut};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Entries of an inbox, for each worker that there can be: one for its first thread, one for all
/// others, and one for whichever workers have several threads that send at a time.
pub(super) const ENTRIES: usize = 3;
/// Of these, those that are kept for who has none.
const KEPT: usize = 2;
/// No worker's number.
const NO_WORKER: WorkerId = WorkerId(u16::MAX);

/// A worker's endpoints at others' inboxes.
#[derive(Debug)]
pub(super) struct SenderPool {
    /// What letters are marked with.
    pub(super) sender_tag: SenderTag,
    /// Those of the first thread that sent.
    own: Owned<RefCell<PoolShard>>,
    /// Those of all others.
    shared: Mutex<PoolShard>,
    /// One of these was returned.
    returned: Condvar,
}

/// Endpoints, by desk.
#[derive(Debug)]
pub(super) struct PoolShard {
    known: Vec<Option<PeerSenders>>,
    /// The names that letters were sent to, in order, and their desks.
    names: Vec<(Box<str>, WorkerId)>,
    /// The name that was looked for last, again, and its desk: here, and not behind a search.
    last: (String, WorkerId),
    /// Counts those who were ever known.
    numbers: u64,
    /// Threads that wait for an endpoint: else nobody need be told.
    waiting: usize,
}

impl Default for PoolShard {
    fn default() -> Self {
        let last = (String::new(), NO_WORKER);
        Self { known: Vec::new(), names: Vec::new(), last, numbers: 0, waiting: 0 }
    }
}

/// One worker, and the endpoints at its inbox.
#[derive(Debug)]
struct PeerSenders {
    name: String,
    /// Which of those who were known at this desk.
    number: u64,
    presence: Presence,
    /// One that no thread has. Here, and not behind a pointer.
    first: Option<AnyPublisher>,
    /// More of them, if several threads sent at a time.
    idle: Vec<AnyPublisher>,
    /// How many threads have.
    lent: usize,
}

/// An endpoint at an inbox. It is returned when this is dropped, by a panic too.
#[derive(Debug)]
pub(super) struct PooledSender<'a> {
    owner: PoolOwner<'a>,
    id: WorkerId,
    /// That of the correspondent.
    number: u64,
    /// There are others of this worker's.
    is_extra: bool,
    /// `None`: to be attached, or not to be kept.
    pub(super) endpoint: Option<AnyPublisher>,
}

#[derive(Clone, Copy, Debug)]
enum PoolOwner<'a> {
    Own(&'a RefCell<PoolShard>),
    Shared(&'a SenderPool),
}

impl SenderPool {
    /// Those of a worker, which letters name as their sender.
    pub(super) fn of(sender: WorkerId, generation: u64) -> Self {
        Self {
            sender_tag: SenderTag::of(sender, generation),
            own: Owned::default(),
            shared: Mutex::default(),
            returned: Condvar::new(),
        }
    }

    /// Those of this thread alone; `None`: it has none, or sends just now, and what it sends does too.
    #[inline]
    pub(super) fn own(&self) -> Option<RefMut<'_, PoolShard>> {
        self.own.get()?.try_borrow_mut().ok()
    }

    /// An endpoint of those that threads share, at the inbox of a worker that is who it was when it was
    /// looked up, if one is there.
    pub(super) fn shared_at_hand(
        &self,
        who: &Address<'_>,
        directory: &Directory,
    ) -> Option<PooledSender<'_>> {
        let mut shared = self.shared();
        let (id, known) = shared.known(who, directory)?;
        let endpoint = Some(known.take()?);
        known.lent += 1;
        let number = known.number;
        Some(PooledSender { owner: PoolOwner::Shared(self), id, number, is_extra: false, endpoint })
    }

    /// An endpoint at the inbox of a worker that was just looked up, or the right to attach one: this
    /// thread's own, if it has some and they are not `passed_over`.
    pub(super) fn borrow(
        &self,
        place: &InboxAddress,
        who: &Address<'_>,
        directory: &Directory,
        passed_over: bool,
    ) -> PooledSender<'_> {
        // Dropped when no lock is held: what is over is left, which takes another.
        let mut over = Vec::new();
        let mut borrow = |worker_slots: &mut PoolShard, owner| {
            let known = worker_slots.settle(place, who, directory, &mut over);
            known.lent += 1;
            let (number, is_extra) = (known.number, known.lent > 1);
            PooledSender { owner, id: place.id, number, is_extra, endpoint: known.take() }
        };
        if !passed_over
            && let Some(own) = self.own.get()
            && let Ok(mut worker_slots) = own.try_borrow_mut()
        {
            return borrow(&mut worker_slots, PoolOwner::Own(own));
        }
        borrow(&mut self.shared(), PoolOwner::Shared(self))
    }

    fn shared(&self) -> MutexGuard<'_, PoolShard> {
        // What a panic leaves is whole: nothing of others' runs while it is held.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PooledSender<'_> {
    /// Whether it is of those that one thread has alone.
    pub(super) fn is_own(&self) -> bool {
        matches!(self.owner, PoolOwner::Own(_))
    }

    /// How many of an inbox' entries are to be left to others by one that is attached now.
    pub(super) fn others(&self, entries: usize) -> usize {
        if self.is_extra { entries / ENTRIES * KEPT } else { 0 }
    }

    /// The inbox has no entry left for this one: waits until another thread returns an endpoint there,
    /// a while at most.
    pub(super) fn wait_for_another(&mut self, deadline: Deadline) -> Turn {
        let PoolOwner::Shared(endpoints) = self.owner else { return Turn::Again };
        let mut shared = endpoints.shared();
        let Some(known) = shared.of(self.id, self.number) else { return Turn::Again };
        // This loan is among those that are lent. Where it is the only one, and was not when it asked,
        // there may be an entry for it.
        let is_alone = known.lent < 2;
        self.endpoint = known.take();
        if self.endpoint.is_some() {
            return Turn::Come;
        }
        if is_alone || deadline.has_passed() {
            return if is_alone && self.is_extra { Turn::Again } else { Turn::Never };
        }
        shared.waiting += 1;
        let woken = endpoints.returned.wait_timeout(shared, deadline.cut(IDLE));
        let mut shared = woken.unwrap_or_else(PoisonError::into_inner).0;
        shared.waiting -= 1;
        Turn::Again
    }
}

/// What a wait for an endpoint came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// It is there.
    Come,
    /// Things have changed, or a while has passed: to be asked again.
    Again,
    /// The inbox is full, or the time is over.
    Never,
}

impl PoolShard {
    /// The endpoint at the inbox of a worker that is who it was when it was looked up.
    #[inline]
    pub(super) fn at_hand(
        &mut self,
        who: &Address<'_>,
        directory: &Directory,
    ) -> Option<&mut AnyPublisher> {
        self.known(who, directory)?.1.first.as_mut()
    }

    #[inline]
    fn known(
        &mut self,
        who: &Address<'_>,
        directory: &Directory,
    ) -> Option<(WorkerId, &mut PeerSenders)> {
        let id = match who {
            Address::Id(id) => *id,
            Address::Name(name) if is_same(&self.last.0, name) => self.last.1,
            Address::Name(name) => self.look_for(name)?,
        };
        let known = self.known.get_mut(usize::from(id.0))?.as_mut()?;
        (directory.presence(id) == known.presence).then_some((id, known))
    }

    #[inline(never)]
    fn look_for(&mut self, name: &str) -> Option<WorkerId> {
        let at = self.find(name).ok()?;
        let (last, id) = &mut self.last;
        last.clear();
        last.push_str(name);
        *id = self.names[at].1;
        Some(*id)
    }

    /// The next name is to be looked for. Nobody's name is empty.
    fn forget_last(&mut self) {
        self.last.0.clear();
        self.last.1 = NO_WORKER;
    }

    fn find(&self, name: &str) -> Result<usize, usize> {
        self.names.binary_search_by(|(known, _)| (**known).cmp(name))
    }

    /// What is known of an inbox, if it was not forgotten meanwhile.
    fn of(&mut self, id: WorkerId, number: u64) -> Option<&mut PeerSenders> {
        let known = self.known.get_mut(usize::from(id.0))?.as_mut();
        known.filter(|known| known.number == number)
    }

    /// Remembers how an inbox was found, and lets go of what is known to be over.
    fn settle(
        &mut self,
        place: &InboxAddress,
        who: &Address<'_>,
        directory: &Directory,
        over: &mut Vec<PeerSenders>,
    ) -> &mut PeerSenders {
        let index = usize::from(place.id.0);
        for id in (0..self.known.len()).filter(|id| *id != index) {
            let id = WorkerId(id as u16);
            if !directory.presence(id).has_inbox() {
                over.extend(self.forget(id));
            }
        }
        let known = self.known.get(index).and_then(Option::as_ref);
        if known.is_some_and(|known| known.name != place.name) {
            over.extend(self.forget(place.id));
        }
        self.forget_last();
        if let Address::Name(name) = who {
            match self.find(name) {
                Ok(at) => self.names[at].1 = place.id,
                Err(at) => self.names.insert(at, ((*name).into(), place.id)),
            }
        }
        if self.known.len() <= index {
            self.known.resize_with(index + 1, || None);
        }
        self.numbers += 1;
        let number = self.numbers;
        let InboxAddress { name, presence, .. } = place;
        let known = self.known[index].get_or_insert_with(|| PeerSenders {
            name: name.clone(),
            number,
            presence: *presence,
            first: None,
            idle: Vec::new(),
            lent: 0,
        });
        known.presence = *presence;
        known
    }

    /// Forgets an inbox that is over.
    fn forget(&mut self, id: WorkerId) -> Option<PeerSenders> {
        self.forget_last();
        self.names.retain(|(_, at)| *at != id);
        self.known.get_mut(usize::from(id.0))?.take()
    }

    /// Takes back what was lent; gives back what is not to be kept.
    fn take_back(
        &mut self,
        id: WorkerId,
        number: u64,
        endpoint: Option<AnyPublisher>,
    ) -> Option<AnyPublisher> {
        let Some(known) = self.of(id, number) else { return endpoint };
        known.lent -= 1;
        known.keep(endpoint);
        None
    }
}

impl PeerSenders {
    /// An endpoint that no thread has.
    fn take(&mut self) -> Option<AnyPublisher> {
        self.idle.pop().or_else(|| self.first.take())
    }

    fn keep(&mut self, endpoint: Option<AnyPublisher>) {
        match &self.first {
            None => self.first = endpoint,
            Some(_) => self.idle.extend(endpoint),
        }
    }
}

impl Drop for PooledSender<'_> {
    fn drop(&mut self) {
        let endpoint = self.endpoint.take();
        // Whatever is left is dropped here, when no lock is held.
        let _left = match self.owner {
            PoolOwner::Own(worker_slots) => {
                worker_slots.borrow_mut().take_back(self.id, self.number, endpoint)
            }
            PoolOwner::Shared(endpoints) => {
                let mut shared = endpoints.shared();
                let left = shared.take_back(self.id, self.number, endpoint);
                if shared.waiting > 0 {
                    endpoints.returned.notify_all();
                }
                left
            }
        };
    }
}

thread_local! {
    /// Letters that this thread is just archiving, one within the other.
    static DEPTH: Cell<u32> = const { Cell::new(0) };
}

/// A letter is archived as long as this lives.
pub(super) struct SerializeDepth(());

impl SerializeDepth {
    #[inline]
    pub(super) fn begin() -> Self {
        DEPTH.set(DEPTH.get() + 1);
        Self(())
    }

    /// Whether this thread archives a letter.
    pub(super) fn is_under_way() -> bool {
        DEPTH.get() > 0
    }
}

impl Drop for SerializeDepth {
    #[inline]
    fn drop(&mut self) {
        DEPTH.set(DEPTH.get() - 1);
    }
}

/// Whether two texts are the same. Names are short: calling what compares long ones costs more than
/// half of what else it takes to find an endpoint.
#[inline(always)]
fn is_same(a: &str, b: &str) -> bool {
    #[inline(always)]
    fn are_ends<const N: usize>(a: &[u8], b: &[u8]) -> bool {
        a.first_chunk::<N>() == b.first_chunk::<N>() && a.last_chunk::<N>() == b.last_chunk::<N>()
    }
    let (a, b) = (a.as_bytes(), b.as_bytes());
    a.len() == b.len()
        && match a.len() {
            0..4 => a.iter().eq(b),
            4..8 => are_ends::<4>(a, b),
            8..=16 => are_ends::<8>(a, b),
            _ => a == b,
        }
}

#[cfg(test)]
mod tests {
    use super::is_same;

    #[test]
    fn texts_are_the_same_if_each_byte_is() {
        let text = "encoder-17 of the second floor";
        for len in 0..=text.len() {
            let one = &text[..len];
            assert!(is_same(one, &String::from(one)), "{one}");
            for other in 0..len {
                assert!(!is_same(one, &text[..other]), "{one}");
                let mut changed = one.to_owned().into_bytes();
                changed[other] ^= 1;
                assert!(!is_same(one, std::str::from_utf8(&changed).unwrap()), "{one}, {other}");
            }
        }
    }
}
