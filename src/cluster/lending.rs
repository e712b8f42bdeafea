//! The endpoints that a worker has at others' inboxes, and which thread has them.
//!
//! The first thread that sends has endpoints of its own, without a lock: a mutex costs as much as a
//! claim. All others share theirs, one at each inbox, which a thread borrows while it sends:
//!
//! ```text
//!            borrow                 attached; returned
//!  absent ───────────► lent ──────────────────────────────► here
//!                        ◄───────────────────────────────────┘
//!                                     borrow
//! ```
//!
//! It guarantees that no lock is held while a packet is archived, whose own code may send, too: it
//! then gets another endpoint for as long. Who finds one lent waits for its return if it is lent for
//! a try; if a thread waits with it for room, the inbox is full for others too. So a worker has two
//! endpoints at an inbox, and there are entries for as many.

use super::directory::Directory;
use super::names::{Address, Signature, WorkerId};
use crate::channel::MixedPublisher;
use crate::segment::member::{DeskState, Phase};
use crate::sys::owned::{Owned, this_thread};
use crate::wait::{Deadline, IDLE, PENDING};
use std::cell::{RefCell, RefMut};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Endpoints that a worker has at an inbox: that of its first thread, and that of all others.
pub(super) const ENDPOINTS: usize = 2;

/// A worker's endpoints at others' inboxes.
#[derive(Debug)]
pub(super) struct Endpoints {
    /// What letters are marked with.
    pub(super) signature: Signature,
    /// Those of the first thread that sent.
    own: Owned<RefCell<Desks>>,
    /// Those of all others.
    shared: Mutex<Shared>,
    /// One of these was returned.
    returned: Condvar,
}

#[derive(Debug, Default)]
struct Shared {
    desks: Desks,
    /// Threads that wait for one: else nobody need be told.
    waiting: usize,
}

/// Endpoints of one thread at a time, by desk.
#[derive(Debug, Default)]
pub(super) struct Desks {
    known: Vec<Option<Correspondent>>,
    /// The names that letters were sent to, in order, and their desks.
    names: Vec<(Box<str>, WorkerId)>,
    /// Which of them was looked for last.
    last: usize,
}

/// One worker, and the endpoint at its inbox.
#[derive(Debug)]
struct Correspondent {
    name: String,
    /// How its desk stood when it was looked up.
    phase: Phase,
    endpoint: Held,
}

#[derive(Debug)]
enum Held {
    /// There is none.
    Absent,
    /// Boxed: it is moved often, and large.
    Here(Box<MixedPublisher>),
    /// A thread has it, or the right to attach it.
    Lent(Borrower),
}

/// Who has a shared endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Borrower {
    thread: u64,
    /// It waits for room, or attaches: who only tries does not wait for that.
    waits: bool,
}

/// Where a letter goes.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) id: WorkerId,
    pub(super) name: String,
    pub(super) phase: Phase,
}

/// An endpoint at an inbox, or the right to attach it. It is returned when this is dropped, by a
/// panic too.
#[derive(Debug)]
pub(super) struct Loan<'a> {
    lender: Lender<'a>,
    id: WorkerId,
    /// `None`: to be attached, or to be forgotten.
    pub(super) endpoint: Option<Box<MixedPublisher>>,
}

#[derive(Debug)]
enum Lender<'a> {
    Own(&'a RefCell<Desks>),
    Shared(&'a Endpoints),
    /// It is nobody's, and not kept.
    Nobody,
}

impl Endpoints {
    /// Those of a worker, which letters name as their sender.
    pub(super) fn of(sender: WorkerId, generation: u64) -> Self {
        Self {
            signature: Signature::of(sender, generation),
            own: Owned::default(),
            shared: Mutex::default(),
            returned: Condvar::new(),
        }
    }

    /// Those of this thread alone; `None`: it has none, or sends just now, and what it sends does too.
    #[inline]
    pub(super) fn own(&self) -> Option<RefMut<'_, Desks>> {
        self.own.get()?.try_borrow_mut().ok()
    }

    /// The shared endpoint at the inbox of a worker that is who it was when it was looked up, if it is
    /// there.
    pub(super) fn shared_at_hand(
        &self,
        who: &Address<'_>,
        directory: &Directory,
    ) -> Option<Loan<'_>> {
        let mut shared = self.shared();
        let (id, known) = shared.desks.known(who, directory)?;
        let endpoint = known.lend(Borrower { thread: this_thread(), waits: false })?;
        endpoint.is_some().then_some(Loan { lender: Lender::Shared(self), id, endpoint })
    }

    /// The endpoint that this thread sends with to a worker that was just looked up, or the right to
    /// attach it. Waits until it is returned; `None`: it was not in time.
    pub(super) fn borrow(
        &self,
        place: &Place,
        who: &Address<'_>,
        directory: &Directory,
        deadline: Deadline,
    ) -> Option<Loan<'_>> {
        let id = place.id;
        let borrower = Borrower { thread: this_thread(), waits: true };
        // Dropped when no lock is held: what is over is left, which takes another.
        let mut over = Vec::new();
        if let Some(own) = self.own.get()
            && let Ok(mut desks) = own.try_borrow_mut()
            && let Some(endpoint) = desks.settle(place, who, directory, &mut over).lend(borrower)
        {
            return Some(Loan { lender: Lender::Own(own), id, endpoint });
        }
        let mut shared = self.shared();
        // Who only tries has it for a moment, unless its packet's own code takes its time.
        let moment = Deadline::after(PENDING);
        loop {
            let known = shared.desks.settle(place, who, directory, &mut over);
            if let Some(endpoint) = known.lend(borrower) {
                return Some(Loan { lender: Lender::Shared(self), id, endpoint });
            }
            let pause = match known.borrower() {
                // What it sends there sends there.
                Some(other) if other.thread == borrower.thread => {
                    return Some(Loan { lender: Lender::Nobody, id, endpoint: None });
                }
                Some(other) if !other.waits && !moment.has_passed() => moment.cut(PENDING),
                _ if deadline.has_passed() => return None,
                _ => deadline.cut(IDLE),
            };
            shared.waiting += 1;
            let woken = self.returned.wait_timeout(shared, pause);
            shared = woken.unwrap_or_else(PoisonError::into_inner).0;
            shared.waiting -= 1;
        }
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        // What a panic leaves is whole: nothing of others' runs while it is held.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Desks {
    /// The endpoint at the inbox of a worker that is who it was when it was looked up.
    #[inline]
    pub(super) fn at_hand(
        &mut self,
        who: &Address<'_>,
        directory: &Directory,
    ) -> Option<&mut MixedPublisher> {
        match &mut self.known(who, directory)?.1.endpoint {
            Held::Here(endpoint) => Some(endpoint),
            Held::Absent | Held::Lent(_) => None,
        }
    }

    #[inline]
    fn known(
        &mut self,
        who: &Address<'_>,
        directory: &Directory,
    ) -> Option<(WorkerId, &mut Correspondent)> {
        let id = match who {
            Address::Id(id) => *id,
            Address::Name(name) => match self.names.get(self.last) {
                Some((last, id)) if is_same(last, name) => *id,
                _ => self.look_for(name)?,
            },
        };
        let known = self.known.get_mut(usize::from(id.0))?.as_mut()?;
        (directory.phase(id) == known.phase).then_some((id, known))
    }

    #[inline(never)]
    fn look_for(&mut self, name: &str) -> Option<WorkerId> {
        self.last = self.find(name).ok()?;
        Some(self.names[self.last].1)
    }

    fn find(&self, name: &str) -> Result<usize, usize> {
        self.names.binary_search_by(|(known, _)| (**known).cmp(name))
    }

    /// Remembers how an inbox was found, and lets go of what is known to be over.
    fn settle(
        &mut self,
        place: &Place,
        who: &Address<'_>,
        directory: &Directory,
        over: &mut Vec<Correspondent>,
    ) -> &mut Correspondent {
        let index = usize::from(place.id.0);
        for id in (0..self.known.len()).filter(|id| *id != index) {
            let id = WorkerId(id as u16);
            if directory.phase(id).state() != DeskState::Kept {
                over.extend(self.forget(id));
            }
        }
        let is_other = |known: &Correspondent| known.name != place.name;
        if self.known.get(index).and_then(Option::as_ref).is_some_and(is_other) {
            over.extend(self.forget(place.id));
        }
        if let Address::Name(name) = who {
            match self.find(name) {
                Ok(at) => self.names[at].1 = place.id,
                Err(at) => self.names.insert(at, ((*name).into(), place.id)),
            }
        }
        if self.known.len() <= index {
            self.known.resize_with(index + 1, || None);
        }
        let Place { name, phase, .. } = place;
        let known = self.known[index].get_or_insert_with(|| Correspondent {
            name: name.clone(),
            phase: *phase,
            endpoint: Held::Absent,
        });
        known.phase = *phase;
        known
    }

    /// Forgets an inbox that is over.
    fn forget(&mut self, id: WorkerId) -> Option<Correspondent> {
        self.names.retain(|(_, at)| *at != id);
        self.known.get_mut(usize::from(id.0))?.take()
    }

    /// Takes back what `thread` had borrowed; gives back what is not to be kept.
    fn take_back(
        &mut self,
        id: WorkerId,
        thread: u64,
        endpoint: Option<Box<MixedPublisher>>,
    ) -> Option<Box<MixedPublisher>> {
        let known = self.known.get_mut(usize::from(id.0)).and_then(Option::as_mut);
        // Else it was forgotten meanwhile, and perhaps found anew.
        let lent = |known: &&mut Correspondent| {
            known.borrower().is_some_and(|borrower| borrower.thread == thread)
        };
        let Some(known) = known.filter(lent) else { return endpoint };
        known.endpoint = endpoint.map_or(Held::Absent, Held::Here);
        None
    }
}

impl Correspondent {
    /// Lends the endpoint, or the right to attach it; `None`: it is lent.
    fn lend(&mut self, borrower: Borrower) -> Option<Option<Box<MixedPublisher>>> {
        match std::mem::replace(&mut self.endpoint, Held::Lent(borrower)) {
            Held::Absent => Some(None),
            Held::Here(endpoint) => Some(Some(endpoint)),
            lent @ Held::Lent(_) => {
                self.endpoint = lent;
                None
            }
        }
    }

    fn borrower(&self) -> Option<Borrower> {
        match self.endpoint {
            Held::Lent(borrower) => Some(borrower),
            Held::Absent | Held::Here(_) => None,
        }
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

impl Drop for Loan<'_> {
    fn drop(&mut self) {
        let endpoint = self.endpoint.take();
        // Whatever is left is dropped here, when no lock is held.
        let _left = match self.lender {
            Lender::Own(desks) => desks.borrow_mut().take_back(self.id, this_thread(), endpoint),
            Lender::Shared(endpoints) => {
                let mut shared = endpoints.shared();
                let left = shared.desks.take_back(self.id, this_thread(), endpoint);
                if shared.waiting > 0 {
                    endpoints.returned.notify_all();
                }
                left
            }
            Lender::Nobody => endpoint,
        };
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
