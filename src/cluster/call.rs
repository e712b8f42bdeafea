//! Calls in flight, as their client keeps them.
//!
//! A call takes room in its client's window from its start until its reply is read, or it is known that
//! there is none, whether somebody still waits for it or not: so there is always room for the replies,
//! and a bit that says that a call was given up is no other call's as long as its request can be taken.

use super::error::CallError;
use crate::channel::Ring;
use rkyv::util::AlignedVec;

/// Calls that one client may have in flight.
pub(super) const WINDOW: usize = 32;
/// Calls are told apart by their number, and given up by their number modulo this.
const BITS: u64 = 64;

/// A call in flight: its client, and a number. Dropping it cancels nothing: see
/// [`Client::cancel`](super::Client::cancel).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Call {
    /// The number of its client's ring of replies, which was drawn at random.
    client: u64,
    /// Its own: what letters call its correlation.
    pub(super) number: u64,
}

/// What came of a call, and was not asked for yet.
#[derive(Debug)]
pub(super) enum Outcome {
    /// This archive.
    Reply(AlignedVec<16>),
    /// There is none, and the call is over.
    Failed(CallError),
    /// There is none: there was no server to take its request, which counts as in flight until one
    /// passes it.
    Untaken,
}

/// One call.
#[derive(Debug)]
pub(super) struct InFlight {
    pub(super) call: Call,
    /// Where its request was published.
    pub(super) position: u64,
    pub(super) is_given_up: bool,
    /// The server that is going to reply later: its entry, and how many have sat there.
    pub(super) deferred: Option<(usize, u64)>,
    pub(super) outcome: Option<Outcome>,
}

/// All of a client's.
#[derive(Debug)]
pub(super) struct Calls {
    /// The number of the client's ring.
    client: u64,
    list: Vec<InFlight>,
    next: u64,
    /// One bit a call that was given up.
    given_up: u64,
}

impl Calls {
    /// Those of the client whose ring has this number: none yet.
    pub(super) fn of(client: u64) -> Self {
        Self { client, list: Vec::new(), next: 0, given_up: 0 }
    }

    /// Whether no more may be started.
    pub(super) fn is_full(&self) -> bool {
        self.list.len() >= WINDOW
    }

    /// How many are in flight.
    pub(super) fn count(&self) -> usize {
        self.list.len()
    }

    /// A number for a new call, whose bit no call in flight has.
    pub(super) fn number(&mut self) -> Call {
        while self.list.iter().any(|one| bit(one.call.number) == bit(self.next)) {
            self.next += 1;
        }
        self.next += 1;
        self.call(self.next - 1)
    }

    /// The call of this number.
    pub(super) fn call(&self, number: u64) -> Call {
        Call { client: self.client, number }
    }

    /// Enters a call whose request was published.
    pub(super) fn begin(&mut self, call: Call, position: u64) {
        let new = InFlight { call, position, is_given_up: false, deferred: None, outcome: None };
        self.list.push(new);
    }

    /// What is known of a call; `None`: it is over, or another client's.
    pub(super) fn get(&mut self, call: Call) -> Option<&mut InFlight> {
        self.list.iter_mut().find(|one| one.call == call)
    }

    /// Takes a call out: it is over.
    pub(super) fn end(&mut self, call: Call) {
        let Some(index) = self.list.iter().position(|one| one.call == call) else { return };
        let last = self.list.len() - 1;
        if index != last {
            self.list.swap(index, last);
        }
        self.list.truncate(last);
    }

    /// Those that somebody may ask for.
    pub(super) fn wanted(&self) -> impl Iterator<Item = &InFlight> {
        self.list.iter().filter(|one| !one.is_given_up)
    }

    /// Whether there are some, and nobody may ask for any.
    #[inline]
    pub(super) fn are_all_given_up(&self) -> bool {
        !self.list.is_empty() && self.wanted().next().is_none()
    }

    /// Those of them of which it is not known yet what becomes of them.
    pub(super) fn open(&self) -> impl Iterator<Item = Call> {
        self.wanted().filter(|one| one.outcome.is_none()).map(|one| one.call)
    }

    /// Whether something came of a call that was not asked for yet.
    pub(super) fn has_outcome(&self) -> bool {
        self.wanted().any(|one| one.outcome.is_some())
    }

    /// Gives a call up: its reply is thrown away when it comes.
    pub(super) fn give_up(&mut self, call: Call, ring: &Ring) {
        let Some(one) = self.get(call) else { return };
        one.is_given_up = true;
        if !matches!(one.outcome.take(), None | Some(Outcome::Untaken)) {
            self.end(call);
        }
        self.withhold(call, ring);
    }

    /// Has servers leave the request of a call that they have not begun with.
    pub(super) fn withhold(&mut self, call: Call, ring: &Ring) {
        self.given_up |= bit(call.number);
        ring.give_up(self.given_up);
    }

    /// Says that a call is wanted, whoever had its bit before.
    pub(super) fn want(&mut self, call: Call, ring: &Ring) {
        if self.given_up & bit(call.number) != 0 {
            self.given_up &= !bit(call.number);
            ring.give_up(self.given_up);
        }
    }

    /// Those that were given up, and whose requests.
    pub(super) fn given_up(&self) -> Vec<Call> {
        self.list.iter().filter(|one| one.is_given_up).map(|one| one.call).collect()
    }
}

/// The bit of the call of this number among those that were given up.
pub(super) fn bit(number: u64) -> u64 {
    1 << (number % BITS)
}
