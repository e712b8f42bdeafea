//! Work queues: members that take packets in place, each exactly one, from a cursor that they
//! share; a publisher that their hands hold back; and whoever recovers what a dead member had in
//! hand. Each member may be killed before each of its steps, the recoverer too.
//!
//! Members mirror `ring::group`, step for step; the publisher `ring::gate::scan`.
//!
//! ```text
//!  take      hand := p|TRYING ─► CAS shared p → p|PIN ─► hand := p ─► shared := p + span ─► in hand
//!                                  └ lost: hand := nowhere
//!  done      hand := nowhere
//!  recover   under the control lock: shared is pinned at p, no living hand is at p, shared still is
//!            pinned at p: clear the dead hands at p, shared := p
//!  adopt     under the control lock: a dead hand below shared: own hand := it, count the adoption, clear
//!            every dead hand there
//! ```
//!
//! A member that leaves is to the others what one that dies is, and one that leaves its packet for
//! another to retry is one that dies with it in hand and one that comes. Not here: publishers that die
//! (`claims`).

use super::explorer::{Model, Next, breaks, holds, is_large};

/// Places for members.
const SEATS: usize = 3;
/// Most packets of a scenario.
const MOST: usize = 4;
const NAMES: [&str; SEATS] = ["M0", "M1", "M2"];

/// What is done wrong.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mistake {
    Nothing,
    /// The hand is written, then the shared cursor is moved by one compare-and-swap: no pin.
    NoPin,
    /// The shared cursor is moved by one compare-and-swap, then the hand is written.
    HandAfterTheMove,
    /// The pin is taken off, and the cursor moved, before the hand is written.
    MovedBeforeTheHand,
    /// Who tries to pin does not say so.
    NobodySaysThatItTries,
    /// A pin is taken off without asking who may hold it.
    PinOfTheLivingTakenOff,
    /// The shared cursor is not read again after the hands: the pin may have gone meanwhile.
    NoSecondLookAtTheCursor,
    /// An adoption is not counted: a scan under way sees neither hand.
    AdoptionNotCounted,
    /// The recoverer takes the pin off before it clears the hand.
    UnpinnedBeforeTheHandIsClear,
    /// Who adopts clears the dead hand before it writes its own.
    AdoptedAfterClearing,
    /// Who adopts clears one dead hand, not all that are there.
    AdoptedFromOneHand,
    /// The publisher looks at the hands before the shared cursor.
    HandsScannedFirst,
    /// What was adopted is not flagged.
    NotFlagged,
    /// One that comes is not counted: a scan under way does not look at its entry.
    NewcomerNotCounted,
    /// A dead hand is left where it is.
    NobodyAdopts,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Harm {
    /// The publisher wrote over a packet that is not done.
    PublisherOverranAJob,
    /// Two living members have the same packet in hand.
    TakenByTwo,
    /// A packet was handed out that was acknowledged.
    AcknowledgedComesAgain,
    /// A packet came again, and its second owner is not told.
    RedeliveredUnflagged,
    /// A packet is never acknowledged by anyone.
    JobIsNeverDone,
}

/// What became of a packet, for the model's own use: no process sees it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Truth {
    Unpublished,
    Waiting,
    /// In the hand of the member at this seat, which lives.
    Taken(u8),
    /// In the hand of one that died.
    Orphaned,
    Done,
}

/// The word of a member's entry.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Hand {
    Nowhere,
    Trying(u8),
    Holds(u8),
}

impl Hand {
    fn position(self) -> Option<u8> {
        match self {
            Self::Nowhere => None,
            Self::Trying(p) | Self::Holds(p) => Some(p),
        }
    }
}

/// What a member does next.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum At {
    Look,
    Mark,
    Pin,
    Hold,
    Move,
    Give,
    Done,
    Clear,
    /// With the control lock: reads the shared cursor.
    ReadShared,
    /// Asks about the hand of this seat, and whether it lives.
    AskHands(u8),
    /// Reads the shared cursor again: is it still pinned there?
    ReadAgain,
    /// Clears the hand of this seat if its dead owner pinned.
    ClearPinner(u8),
    Unpin,
    /// Looks for a dead hand in this seat.
    FindOrphan(u8),
    Adopt,
    /// Counts the adoption, for scans under way.
    Count,
    /// Clears the hand of this seat if it is dead and what was adopted.
    ClearAdopted(u8),
    Unlock,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Member {
    is_alive: bool,
    hand: Hand,
    at: At,
    p: u8,
    from: u8,
    is_flagged: bool,
    adopted: bool,
}

const VACANT: Member = Member {
    is_alive: false,
    hand: Hand::Nowhere,
    at: At::Look,
    p: 0,
    from: 0,
    is_flagged: false,
    adopted: false,
};

/// What the publisher does next: read how many seats there are, the shared cursor, each hand, publish.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Publisher {
    scan: u8,
    seats: u8,
    gate: u8,
    counted: u8,
}

const AT_THE_BEGINNING: Publisher = Publisher { scan: 0, seats: 0, gate: 0, counted: 0 };

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct State {
    tail: u8,
    shared: u8,
    is_pinned: bool,
    /// Adoptions and newcomers (`roster.clones`): a scan that it changes under begins again.
    counted: u8,
    /// Seats that were ever used.
    seats: u8,
    members: [Member; SEATS],
    publisher: Publisher,
    lock: Option<u8>,
    truth: [Truth; MOST],
    /// It was handed out once.
    was_given: [bool; MOST],
    kills: u8,
    harm: Option<u8>,
}

const HARMS: [Harm; 4] = [
    Harm::PublisherOverranAJob,
    Harm::TakenByTwo,
    Harm::AcknowledgedComesAgain,
    Harm::RedeliveredUnflagged,
];

/// One scenario.
#[derive(Clone, Copy)]
struct Groups {
    mistake: Mistake,
    members: usize,
    capacity: u8,
    packets: u8,
    kills: u8,
}

impl State {
    fn hurt(&mut self, harm: Harm) {
        self.harm = HARMS.iter().position(|&known| known == harm).map(|index| index as u8);
    }

    fn give(&mut self, seat: usize) {
        let member = self.members[seat];
        let p = usize::from(member.p);
        match self.truth[p] {
            Truth::Taken(_) => self.hurt(Harm::TakenByTwo),
            Truth::Done => self.hurt(Harm::AcknowledgedComesAgain),
            _ if self.was_given[p] && !member.is_flagged => self.hurt(Harm::RedeliveredUnflagged),
            _ => {}
        }
        self.truth[p] = Truth::Taken(seat as u8);
        self.was_given[p] = true;
    }

    fn kill(&mut self, seat: usize) {
        let hand = self.members[seat].hand;
        self.members[seat] = Member { hand, ..VACANT };
        self.kills -= 1;
        if self.lock == Some(seat as u8) {
            self.lock = None;
        }
        for truth in &mut self.truth {
            if *truth == Truth::Taken(seat as u8) {
                *truth = Truth::Orphaned;
            }
        }
    }
}

impl Model for Groups {
    type State = State;
    type Harm = Harm;

    fn start(&self) -> State {
        let mut members = [VACANT; SEATS];
        for member in &mut members[..self.members] {
            member.is_alive = true;
        }
        State {
            tail: 0,
            shared: 0,
            is_pinned: false,
            counted: 0,
            seats: self.members as u8,
            members,
            publisher: AT_THE_BEGINNING,
            lock: None,
            truth: [Truth::Unpublished; MOST],
            was_given: [false; MOST],
            kills: self.kills,
            harm: None,
        }
    }

    fn next(&self, state: &State, next: &mut Next<State>) {
        if state.tail < self.packets {
            self.publish(state, next);
        }
        for (seat, member) in state.members.into_iter().enumerate() {
            if member.is_alive {
                self.step(state, seat, next);
                if state.kills > 0 {
                    let mut new = *state;
                    new.kill(seat);
                    self.see_kill(&member, next);
                    next.fate(NAMES[seat], "is killed", &[], new);
                }
            } else if !matches!(member.hand, Hand::Holds(_)) && state.lock.is_none() {
                // Comes new, under the control lock: a hand that only tried holds nothing.
                let mut new = *state;
                new.members[seat] = Member { is_alive: true, ..VACANT };
                new.seats = new.seats.max(seat as u8 + 1);
                if self.mistake != Mistake::NewcomerNotCounted {
                    // Only what a scan can see a difference by, lest states be without an end.
                    new.counted += u8::from(new.seats != state.seats);
                }
                next.step(NAMES[seat], "joins", &[], new);
            }
        }
    }

    fn harm(&self, state: &State) -> Option<Harm> {
        state.harm.map(|index| HARMS[usize::from(index)])
    }

    fn unmet(&self, state: &State) -> Vec<Harm> {
        let done = |truth: &Truth| *truth == Truth::Done;
        if state.truth[..usize::from(self.packets)].iter().all(done) {
            return Vec::new();
        }
        vec![Harm::JobIsNeverDone]
    }
}

impl Groups {
    fn see_kill(&self, member: &Member, next: &mut Next<State>) {
        match member.at {
            At::Hold => next.see("killed with the pin, before the hand"),
            At::Move => next.see("killed with pin and hand"),
            At::Done => next.see("killed with a job in hand"),
            At::Unpin => next.see("a recoverer was killed before it unpinned"),
            At::ClearAdopted(_) => next.see("killed while it adopted"),
            _ => {}
        }
    }

    /// `gate::scan`: the shared cursor is entry 0, the hands come after it.
    fn publish(&self, state: &State, next: &mut Next<State>) {
        let mut new = *state;
        let Publisher { scan, seats, gate, counted } = state.publisher;
        if scan == 0 {
            let (seats, gate, counted) = (state.seats, state.tail, state.counted);
            new.publisher = Publisher { scan: 1, seats, gate, counted };
            next.step("P", "begins to scan {} seats", &[seats], new);
            return;
        }
        if scan <= seats + 1 {
            // 0 is the shared cursor.
            let turn = match self.mistake {
                Mistake::HandsScannedFirst if scan <= seats => scan,
                Mistake::HandsScannedFirst => 0,
                _ => scan - 1,
            };
            let word = match usize::from(turn) {
                0 => Some(state.shared),
                seat => state.members[seat - 1].hand.position(),
            };
            let gate = gate.min(word.unwrap_or(gate));
            new.publisher = Publisher { scan: scan + 1, seats, gate, counted };
            next.step("P", "scans {}: the gate is {}", &[turn, gate], new);
            return;
        }
        new.publisher = AT_THE_BEGINNING;
        if counted != state.counted {
            next.see("a job was adopted, or a member came, under a scan");
            next.step("P", "scans again", &[], new);
            return;
        }
        if state.tail >= gate + self.capacity {
            next.see("the publisher was held back");
            next.step("P", "finds the ring full", &[], new);
            return;
        }
        let overwrites = state.tail.checked_sub(self.capacity);
        if overwrites.is_some_and(|p| state.truth[usize::from(p)] != Truth::Done) {
            new.hurt(Harm::PublisherOverranAJob);
        }
        new.truth[usize::from(state.tail)] = Truth::Waiting;
        new.tail += 1;
        next.step("P", "publishes {}", &[state.tail], new);
    }

    fn step(&self, state: &State, seat: usize, next: &mut Next<State>) {
        let mut new = *state;
        let who = NAMES[seat];
        let p = state.members[seat].p;
        match state.members[seat].at {
            At::Look => self.look(state, seat, next),
            At::Mark | At::Pin | At::Hold | At::Move => {
                let text = self.take(&mut new, seat, next);
                next.step(who, text, &[p], new);
            }
            At::Give => {
                new.give(seat);
                new.members[seat].at = At::Done;
                next.step(who, "has {} in hand", &[p], new);
            }
            At::Done => {
                new.truth[usize::from(p)] = Truth::Done;
                new.members[seat] = Member { is_alive: true, ..VACANT };
                next.step(who, "is done with {}", &[p], new);
            }
            At::Clear => {
                next.see("lost the race for a packet");
                new.members[seat] = Member { is_alive: true, ..VACANT };
                next.step(who, "lost the race for {}", &[p], new);
            }
            _ => {
                let text = self.recover(&mut new, seat, next);
                next.step(who, text, &[p], new);
            }
        }
    }

    /// Reads the shared cursor, or asks who lives.
    fn look(&self, state: &State, seat: usize, next: &mut Next<State>) {
        if !state.is_pinned && state.shared < state.tail {
            let mut new = *state;
            new.members[seat].p = state.shared;
            new.members[seat].at = match self.mistake {
                Mistake::HandAfterTheMove | Mistake::NobodySaysThatItTries => At::Pin,
                _ => At::Mark,
            };
            next.step(NAMES[seat], "sees {}", &[state.shared], new);
        }
        if state.lock.is_none() {
            let mut new = *state;
            new.lock = Some(seat as u8);
            new.members[seat].at = At::ReadShared;
            next.step(NAMES[seat], "takes the control lock", &[], new);
        }
    }

    fn take(&self, new: &mut State, seat: usize, next: &mut Next<State>) -> &'static str {
        let p = new.members[seat].p;
        let is_there = !new.is_pinned && new.shared == p;
        match new.members[seat].at {
            At::Mark => {
                new.members[seat].at = At::Pin;
                let simple = self.mistake == Mistake::NoPin;
                new.members[seat].hand = if simple { Hand::Holds(p) } else { Hand::Trying(p) };
                "says that it tries {}"
            }
            At::Pin if !is_there => {
                if new.is_pinned {
                    next.see("came to a pin");
                }
                new.members[seat].at = At::Clear;
                "finds {} taken"
            }
            At::Pin => {
                match self.mistake {
                    Mistake::NoPin => {
                        new.shared = p + 1;
                        new.members[seat].at = At::Give;
                    }
                    Mistake::HandAfterTheMove => {
                        new.shared = p + 1;
                        new.members[seat].at = At::Hold;
                    }
                    Mistake::MovedBeforeTheHand => {
                        new.is_pinned = true;
                        new.members[seat].at = At::Move;
                    }
                    _ => {
                        new.is_pinned = true;
                        new.members[seat].at = At::Hold;
                    }
                }
                "wins {}"
            }
            At::Hold => {
                new.members[seat].hand = Hand::Holds(p);
                new.members[seat].at = match self.mistake {
                    Mistake::HandAfterTheMove | Mistake::MovedBeforeTheHand => At::Give,
                    _ => At::Move,
                };
                "writes its hand: {}"
            }
            _ => {
                // A store: nobody else moves a pinned cursor.
                new.shared = p + 1;
                new.is_pinned = false;
                new.members[seat].at = match self.mistake {
                    Mistake::MovedBeforeTheHand => At::Hold,
                    _ => At::Give,
                };
                "moves the shared cursor over {}"
            }
        }
    }

    /// Under the control lock: a pin of the dead is taken off, then a dead hand is adopted.
    fn recover(&self, new: &mut State, seat: usize, next: &mut Next<State>) -> &'static str {
        let me = new.members[seat];
        match me.at {
            At::ReadShared => {
                new.members[seat].p = new.shared;
                new.members[seat].at = match (new.is_pinned, self.mistake) {
                    (false, _) => At::FindOrphan(0),
                    (true, Mistake::PinOfTheLivingTakenOff) => At::ClearPinner(0),
                    (true, _) => At::AskHands(0),
                };
                "reads the shared cursor: {}"
            }
            At::AskHands(other) => {
                let them = new.members[usize::from(other)];
                let may_pin = them.is_alive && them.hand.position() == Some(me.p);
                new.members[seat].at = if may_pin {
                    next.see("a living member may hold the pin");
                    At::FindOrphan(0)
                } else if usize::from(other) + 1 < SEATS {
                    At::AskHands(other + 1)
                } else {
                    At::ReadAgain
                };
                "asks about a hand at {}"
            }
            At::ReadAgain => {
                let is_same = new.is_pinned && new.shared == me.p;
                let is_sure = is_same || self.mistake == Mistake::NoSecondLookAtTheCursor;
                if !is_sure {
                    next.see("the pin went while hands were asked about");
                }
                new.members[seat].at = if is_sure { At::ClearPinner(0) } else { At::FindOrphan(0) };
                "reads the shared cursor again: {}"
            }
            At::ClearPinner(other) => {
                self.clear_pinner(new, seat, other);
                "clears a dead hand at {}"
            }
            At::Unpin => {
                if new.is_pinned && new.shared == me.p {
                    next.see("a dead pin was taken off");
                    new.is_pinned = false;
                }
                let late = self.mistake == Mistake::UnpinnedBeforeTheHandIsClear;
                new.members[seat].at = if late { At::ClearAdopted(0) } else { At::FindOrphan(0) };
                "takes the pin off {}"
            }
            At::FindOrphan(other) => {
                let them = new.members[usize::from(other)];
                let found = match them.hand {
                    _ if self.mistake == Mistake::NobodyAdopts => None,
                    Hand::Holds(p) if !them.is_alive && p < new.shared => Some(p),
                    _ => None,
                };
                let me = &mut new.members[seat];
                me.at = match found {
                    Some(p) => {
                        (me.p, me.from) = (p, other);
                        At::Adopt
                    }
                    None if usize::from(other) + 1 < SEATS => At::FindOrphan(other + 1),
                    None => At::Unlock,
                };
                "looks for a dead hand"
            }
            At::Adopt => {
                next.see("a job was adopted");
                if self.mistake == Mistake::AdoptedAfterClearing {
                    new.members[usize::from(me.from)].hand = Hand::Nowhere;
                    new.members[seat].at = At::ClearAdopted(SEATS as u8);
                    return "clears the dead hand first: {}";
                }
                let me = &mut new.members[seat];
                me.hand = Hand::Holds(me.p);
                me.at = At::Count;
                (me.adopted, me.is_flagged) = (true, self.mistake != Mistake::NotFlagged);
                "adopts {}"
            }
            At::Count => {
                if self.mistake != Mistake::AdoptionNotCounted {
                    new.counted += 1;
                }
                new.members[seat].at = At::ClearAdopted(0);
                "counts that it adopted {}"
            }
            At::ClearAdopted(other) => {
                self.clear_adopted(new, seat, other);
                "clears a dead hand that had {}"
            }
            _ => {
                new.lock = None;
                let me = &mut new.members[seat];
                if me.adopted {
                    me.at = At::Give;
                } else {
                    *me = Member { is_alive: true, ..VACANT };
                }
                "gives the control lock back"
            }
        }
    }

    fn clear_pinner(&self, new: &mut State, seat: usize, other: u8) {
        let at = new.members[seat].p;
        let late = self.mistake == Mistake::UnpinnedBeforeTheHandIsClear;
        let them = &mut new.members[usize::from(other)];
        if !them.is_alive && them.hand == Hand::Holds(at) && !late {
            them.hand = Hand::Nowhere;
        }
        let more = usize::from(other) + 1 < SEATS;
        new.members[seat].at = if more { At::ClearPinner(other + 1) } else { At::Unpin };
    }

    fn clear_adopted(&self, new: &mut State, seat: usize, other: u8) {
        let me = new.members[seat];
        if usize::from(other) == SEATS {
            // `AdoptedAfterClearing`: its own hand comes last.
            let me = &mut new.members[seat];
            (me.hand, me.adopted, me.is_flagged) = (Hand::Holds(me.p), true, true);
            me.at = At::Unlock;
            return;
        }
        let one = self.mistake == Mistake::AdoptedFromOneHand && other != me.from;
        let them = &mut new.members[usize::from(other)];
        if !them.is_alive && them.hand == Hand::Holds(me.p) && !one {
            them.hand = Hand::Nowhere;
        }
        let more = usize::from(other) + 1 < SEATS;
        new.members[seat].at = if more { At::ClearAdopted(other + 1) } else { At::Unlock };
    }
}

/// Two members, a third that comes when one is killed, and more packets than the ring holds.
const TWO: Groups =
    Groups { mistake: Mistake::Nothing, members: 2, capacity: 1, packets: 2, kills: 2 };

/// Of the same, a ring of two.
const LARGER: Groups = Groups { capacity: 2, packets: 3, ..TWO };

#[test]
fn a_group_loses_no_job_and_gives_none_to_two() {
    let sights = [
        "killed with the pin, before the hand",
        "killed with pin and hand",
        "killed with a job in hand",
        "killed while it adopted",
        "a recoverer was killed before it unpinned",
        "a living member may hold the pin",
        "a dead pin was taken off",
        "a job was adopted",
        "lost the race for a packet",
        "came to a pin",
        "the publisher was held back",
        "a job was adopted, or a member came, under a scan",
        "the pin went while hands were asked about",
    ];
    holds("groups", &TWO, &sights);
}

#[test]
fn a_larger_group_does_neither() {
    if is_large() {
        holds("groups, a ring of two", &LARGER, &["a job was adopted"]);
        holds("groups, three members", &Groups { members: 3, ..LARGER }, &["a job was adopted"]);
        holds("groups, four packets", &Groups { packets: 4, ..LARGER }, &["a job was adopted"]);
    }
}

#[track_caller]
fn broken_by(mistake: Mistake, harm: Harm) {
    let name = std::thread::current().name().unwrap_or_default().to_owned();
    breaks(&name, &Groups { mistake, ..TWO }, harm);
}

#[test]
fn without_a_pin_the_dead_loser_of_a_race_looks_like_its_winner() {
    broken_by(Mistake::NoPin, Harm::AcknowledgedComesAgain);
}

#[test]
fn a_hand_written_after_the_move_is_overrun_or_lost() {
    broken_by(Mistake::HandAfterTheMove, Harm::PublisherOverranAJob);
}

#[test]
fn a_cursor_moved_before_the_hand_is_written_is_no_better() {
    broken_by(Mistake::MovedBeforeTheHand, Harm::PublisherOverranAJob);
}

#[test]
fn one_who_does_not_say_that_it_tries_loses_its_hand() {
    broken_by(Mistake::NobodySaysThatItTries, Harm::PublisherOverranAJob);
}

#[test]
fn a_pin_of_the_living_is_not_taken_off() {
    broken_by(Mistake::PinOfTheLivingTakenOff, Harm::PublisherOverranAJob);
}

#[test]
fn without_a_second_look_a_job_is_cleared_for_a_pin() {
    broken_by(Mistake::NoSecondLookAtTheCursor, Harm::PublisherOverranAJob);
}

#[test]
fn an_adoption_that_is_not_counted_hides_a_job_from_a_scan() {
    broken_by(Mistake::AdoptionNotCounted, Harm::PublisherOverranAJob);
}

#[test]
fn a_hand_cleared_after_the_pin_is_taken_for_a_job() {
    broken_by(Mistake::UnpinnedBeforeTheHandIsClear, Harm::PublisherOverranAJob);
}

#[test]
fn a_dead_hand_cleared_first_hides_its_job_from_a_scan() {
    broken_by(Mistake::AdoptedAfterClearing, Harm::PublisherOverranAJob);
}

#[test]
fn a_job_in_two_dead_hands_is_adopted_once() {
    broken_by(Mistake::AdoptedFromOneHand, Harm::TakenByTwo);
}

#[test]
fn a_newcomer_that_is_not_counted_hides_a_job_from_a_scan() {
    broken_by(Mistake::NewcomerNotCounted, Harm::PublisherOverranAJob);
}

#[test]
fn a_job_that_nobody_adopts_is_never_done() {
    // Nothing is ever wrong there: all of it is explored, so it is to be small.
    let groups = Groups { mistake: Mistake::NobodyAdopts, members: 1, packets: 1, kills: 1, ..TWO };
    breaks("a_job_that_nobody_adopts", &groups, Harm::JobIsNeverDone);
    holds("one job", &Groups { mistake: Mistake::Nothing, ..groups }, &["a job was adopted"]);
}

#[test]
fn hands_scanned_before_the_cursor_hide_a_job() {
    broken_by(Mistake::HandsScannedFirst, Harm::PublisherOverranAJob);
}

#[test]
fn what_a_dead_member_had_is_flagged() {
    broken_by(Mistake::NotFlagged, Harm::RedeliveredUnflagged);
}
