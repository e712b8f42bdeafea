//! Calls in flight, as their client keeps them.
//!
//! A call takes room in its client's window from its start until its reply is read, or it is known that
//! there is none, whether somebody still waits for it or not: so there is always room for the replies,
//! and a lane is no other call's as long as a request or a reply of its call can come.

use crate::channel::Ring;
use crate::cluster::error::CallError;
use crate::cluster::names::CallerId;
use crate::wait::Deadline;
use rkyv::util::AlignedVec;

/// Calls that one client may have in flight.
pub(in crate::cluster) const WINDOW: usize = 32;

/// A call's number modulo the window: no two calls in flight have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cluster) struct CallSlot(pub(in crate::cluster) u8);

impl CallSlot {
    fn of(number: u64) -> Self {
        Self((number % WINDOW as u64) as u8)
    }

    /// Its bit among those of calls that were given up.
    pub(in crate::cluster) fn bit(self) -> u64 {
        1 << self.0
    }
}

/// A call in flight. Dropping it cancels nothing: see [`Client::cancel`](crate::cluster::Client::cancel).
// Its number. A client's first is drawn at random from 64 bits, so another client's is none of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[must_use = "a call takes one of 32 places until its reply is read or it is cancelled"]
pub struct Call(u64);

impl Call {
    #[inline]
    pub(in crate::cluster) fn call_slot(self) -> CallSlot {
        CallSlot::of(self.0)
    }
}

/// A call as its server knows it: whose it is, and which of its requests.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestId {
    pub(in crate::cluster) caller: CallerId,
    /// Where the request was published.
    pub(in crate::cluster) position: u64,
    pub(in crate::cluster) call_slot: CallSlot,
}

impl RequestId {
    /// By nobody.
    pub(in crate::cluster) const NOTHING: Self =
        Self { caller: CallerId::NONE, position: u64::MAX, call_slot: CallSlot(0) };
}

/// What came of a call, and was not asked for yet.
#[derive(Debug)]
pub(in crate::cluster) enum Outcome {
    /// This archive.
    Reply(AlignedVec<16>),
    /// There is none, and the call is over.
    Failed(CallError),
    /// This is told, and the call counts as in flight still: a server may pass its request later, or a
    /// letter come after all.
    Told(CallError),
}

/// One call.
#[derive(Debug)]
pub(in crate::cluster) struct InFlight {
    pub(in crate::cluster) call: Call,
    /// Where its request was published.
    pub(in crate::cluster) position: u64,
    pub(in crate::cluster) is_given_up: bool,
    /// The server that is going to reply later: its entry, and how many have sat there.
    pub(in crate::cluster) deferred: Option<(usize, u64)>,
    /// How long a letter is waited for that may lie behind what another server is just writing.
    pub(in crate::cluster) held_up: Option<Deadline>,
    pub(in crate::cluster) outcome: Option<Box<Outcome>>,
}

/// All of a client's.
#[derive(Debug)]
pub(in crate::cluster) struct Calls {
    list: Vec<InFlight>,
    next: u64,
    /// One bit a call that was given up.
    given_up: u64,
}

impl Calls {
    /// None yet: the first will have this number, which was drawn.
    pub(in crate::cluster) fn from(next: u64) -> Self {
        Self { list: Vec::with_capacity(WINDOW), next, given_up: 0 }
    }

    /// Whether no more may be started.
    pub(in crate::cluster) fn is_full(&self) -> bool {
        self.list.len() >= WINDOW
    }

    /// Whether none is in flight.
    #[inline]
    pub(in crate::cluster) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// A new call, whose lane no call in flight has.
    #[inline]
    pub(in crate::cluster) fn number(&mut self) -> Call {
        while self.list.iter().any(|one| one.call.call_slot() == CallSlot::of(self.next)) {
            self.next = self.next.wrapping_add(1);
        }
        let number = self.next;
        self.next = number.wrapping_add(1);
        Call(number)
    }

    /// Enters a call whose request was published.
    pub(in crate::cluster) fn begin(&mut self, call: Call, position: u64) {
        let new = InFlight {
            call,
            position,
            is_given_up: false,
            deferred: None,
            held_up: None,
            outcome: None,
        };
        self.list.push(new);
    }

    /// What is known of a call; `None`: it is over, or another client's.
    pub(in crate::cluster) fn get(&mut self, call: Call) -> Option<&mut InFlight> {
        self.list.iter_mut().find(|one| one.call == call)
    }

    /// The call in flight that has a lane, and a request that was published there if that is known.
    #[inline]
    pub(in crate::cluster) fn at(
        &mut self,
        call_slot: CallSlot,
        position: Option<u64>,
    ) -> Option<&mut InFlight> {
        let one = self.list.iter_mut().find(|one| one.call.call_slot() == call_slot)?;
        position.is_none_or(|position| position == one.position).then_some(one)
    }

    /// Where a call is among those that somebody waits for, and of which nothing came yet.
    #[inline]
    pub(in crate::cluster) fn index_of_open(&self, call: Call) -> Option<usize> {
        self.list
            .iter()
            .position(|one| one.call == call && !one.is_given_up && one.outcome.is_none())
    }

    /// Takes the call at this index out: it is over.
    #[inline]
    pub(in crate::cluster) fn end_at(&mut self, index: usize) {
        self.list.swap_remove(index);
    }

    /// Takes a call out: it is over.
    pub(in crate::cluster) fn end(&mut self, call: Call) {
        let Some(index) = self.list.iter().position(|one| one.call == call) else { return };
        self.end_at(index);
    }

    /// Those that somebody may ask for.
    pub(in crate::cluster) fn wanted(&self) -> impl Iterator<Item = &InFlight> {
        self.list.iter().filter(|one| !one.is_given_up)
    }

    /// Whether there are some, and nobody may ask for any.
    #[inline]
    pub(in crate::cluster) fn are_all_given_up(&self) -> bool {
        !self.list.is_empty() && self.wanted().next().is_none()
    }

    /// Those of them of which it is not known yet what becomes of them.
    pub(in crate::cluster) fn open(&self) -> impl Iterator<Item = Call> {
        self.wanted().filter(|one| one.outcome.is_none()).map(|one| one.call)
    }

    /// Whether something came of a call that was not asked for yet.
    pub(in crate::cluster) fn has_outcome(&self) -> bool {
        self.wanted().any(|one| one.outcome.is_some())
    }

    /// Gives a call up: its reply is thrown away when it comes.
    pub(in crate::cluster) fn give_up(&mut self, call: Call, ring: &Ring) {
        let Some(one) = self.get(call) else { return };
        one.is_given_up = true;
        if one.outcome.take().is_some_and(|outcome| !matches!(*outcome, Outcome::Told(_))) {
            self.end(call);
        }
        self.withhold(call, ring);
    }

    /// Has servers leave the request of a call that they have not begun with.
    pub(in crate::cluster) fn withhold(&mut self, call: Call, ring: &Ring) {
        self.given_up |= call.call_slot().bit();
        ring.give_up(self.given_up);
    }

    /// Says that a call is wanted, whoever had its lane before.
    pub(in crate::cluster) fn want(&mut self, call: Call, ring: &Ring) {
        if self.given_up & call.call_slot().bit() != 0 {
            self.given_up &= !call.call_slot().bit();
            ring.give_up(self.given_up);
        }
    }

    /// Those that were given up, and whose requests.
    pub(in crate::cluster) fn given_up(&self) -> Vec<Call> {
        self.list.iter().filter(|one| one.is_given_up).map(|one| one.call).collect()
    }
}
