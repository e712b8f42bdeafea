//! Parking and waking: a publisher that stores, looks for announcements and wakes; sleepers that
//! announce themselves, look again and sleep; each may be killed, also between stamp and wake.
//!
//! | actor | mirrors |
//! |---|---|
//! | publisher | `wait/ringer.rs` (`Ringer::new`, `must_wake`, `wake`), `channel/join.rs` (`publisher` wakes once it is there) |
//! | sleeper | `wait/sleeper.rs` (`announce`, `Waiter::pause`), `sys/barrier.rs` (`heavy`) |
//!
//! A stamp stays in its publisher's store buffer until it is seen, a locked instruction of that
//! publisher waits for it, or a sleeper's `membarrier` does: without buffers the barrier would
//! look needless. The other direction, a publisher that sleeps at its limit until a subscriber's
//! cursor moves, is the same protocol over the other bell.
//!
//! Sleeps have no bound here unless a scenario says so: nobody may rely on it but where somebody
//! was killed.

use super::explorer::{Model, Next, breaks, holds, is_large};

const PUBLISHERS: [&str; 2] = ["P0", "P1"];
const SLEEPERS: [&str; 2] = ["S0", "S1"];

/// What is done wrong.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mistake {
    Nothing,
    /// The announcement is a flag; the waker clears it, then wakes.
    FlagClearedThenWoken,
    /// The announcement is a flag; the waker wakes, then clears it.
    FlagWokenThenCleared,
    /// The announcement is a count of sleepers, from which each takes itself off.
    CountOfSleepers,
    /// The word that is slept on is the announcement itself.
    SleepOnTheAnnouncement,
    /// The sleeper makes no barrier.
    NoBarrier,
    /// The sleeper does not look again after its announcement.
    NoSecondLook,
    /// The sleeper reads the word that it sleeps on after it has looked again.
    WordReadLast,
    /// The waker remembers the announcements that there are after it has changed the word.
    RememberedLate,
    /// A publisher that joins has seen all announcements, and wakes nobody.
    NewcomerWakesNobody,
    /// A publisher that `membarrier` does not reach has no fence of its own.
    NoLocalFence,
    /// A sleep has no bound though somebody may be killed.
    NoBound,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
enum Harm {
    /// A sleeper sleeps though what it waits for is there.
    SleeperSleepsForEver,
    PublisherWaitsForEver,
    /// A publisher wakes more often than anybody announced itself.
    PublisherWakesNobody,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum At {
    Join,
    CommitStamp,
    LocalFence,
    LookForAnnouncements,
    WakeLook,
    WakeWord,
    WakeAll,
    Remember,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Publisher {
    is_alive: bool,
    at: At,
    sent: u8,
    /// Its stamp is in its store buffer.
    is_pending: bool,
    seen: u8,
    announced: u8,
    wakes: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Pause {
    Look,
    ReadWord,
    Announce,
    Barrier,
    ParkLook,
    LateWord,
    Sleep,
    Asleep,
    TakeOff,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Sleeper {
    is_alive: bool,
    at: Pause,
    received: u8,
    word: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct State {
    /// Stamps that everyone sees.
    stamped: u8,
    announce: u8,
    futex: u8,
    publishers: [Publisher; 2],
    sleepers: [Sleeper; 2],
    kills: u8,
    announcements: u8,
    harm: Option<Harm>,
}

/// One scenario.
#[derive(Clone, Copy)]
struct Parking {
    mistake: Mistake,
    publishers: usize,
    sleepers: usize,
    sends: u8,
    publishers_die: bool,
    sleepers_die: bool,
    kills: u8,
    /// Sleeps end by themselves.
    is_bounded: bool,
    /// The second publisher is not there at the beginning.
    joins: bool,
    /// The second publisher could not register for `membarrier`.
    is_unreachable: bool,
}

impl State {
    fn drain(&mut self, publisher: usize) {
        if std::mem::take(&mut self.publishers[publisher].is_pending) {
            self.stamped += 1;
        }
    }
}

impl Model for Parking {
    type State = State;
    type Harm = Harm;

    fn start(&self) -> State {
        let publisher = |index: usize| Publisher {
            is_alive: index < self.publishers,
            at: if self.joins && index == 1 { At::Join } else { At::CommitStamp },
            sent: 0,
            is_pending: false,
            seen: 0,
            announced: 0,
            wakes: 0,
        };
        let sleeper = |index: usize| Sleeper {
            is_alive: index < self.sleepers,
            at: Pause::Look,
            received: 0,
            word: 0,
        };
        State {
            stamped: 0,
            announce: 0,
            futex: 0,
            publishers: [publisher(0), publisher(1)],
            sleepers: [sleeper(0), sleeper(1)],
            kills: self.kills,
            announcements: 0,
            harm: None,
        }
    }

    fn next(&self, state: &State, next: &mut Next<State>) {
        for index in 0..2 {
            self.publisher(index, state, next);
            self.sleeper(index, state, next);
        }
    }

    fn harm(&self, state: &State) -> Option<Harm> {
        state.harm
    }

    fn unmet(&self, state: &State) -> Vec<Harm> {
        let mut unmet = Vec::new();
        let is_behind = |sleeper: &Sleeper| sleeper.is_alive && sleeper.received < state.stamped;
        if state.sleepers.iter().any(is_behind) {
            unmet.push(Harm::SleeperSleepsForEver);
        }
        if state.publishers.iter().any(|p| p.is_alive && !self.is_done(p) || p.is_pending) {
            unmet.push(Harm::PublisherWaitsForEver);
        }
        unmet
    }
}

/// `wait/ringer.rs`.
impl Parking {
    fn is_flag(&self) -> bool {
        matches!(self.mistake, Mistake::FlagClearedThenWoken | Mistake::FlagWokenThenCleared)
    }

    fn is_done(&self, publisher: &Publisher) -> bool {
        publisher.at == At::CommitStamp && publisher.sent == self.sends
    }

    fn publisher(&self, index: usize, state: &State, next: &mut Next<State>) {
        let mut me = state.publishers[index];
        if me.is_pending {
            let mut new = *state;
            new.drain(index);
            next.step(PUBLISHERS[index], "has its stamp seen", &[], new);
        }
        if !me.is_alive || self.is_done(&me) || me.at == At::CommitStamp && me.is_pending {
            return;
        }
        if self.publishers_die && state.kills > 0 {
            let mut new = *state;
            new.kills -= 1;
            new.publishers[index].is_alive = false;
            if !matches!(me.at, At::Join | At::CommitStamp) {
                next.see("a publisher was killed between stamp and wake");
            }
            next.fate(PUBLISHERS[index], "is killed", &[], new);
        }
        let mut new = *state;
        let (text, number) = match me.at {
            At::Join | At::CommitStamp | At::LocalFence | At::LookForAnnouncements => {
                self.send(index, &mut new, &mut me, next)
            }
            _ => self.wake(&mut new, &mut me, next),
        };
        new.publishers[index] = me;
        if new.publishers[index].wakes > new.announcements {
            new.harm = Some(Harm::PublisherWakesNobody);
        }
        next.step(PUBLISHERS[index], text, &[number], new);
    }

    fn send(
        &self,
        index: usize,
        new: &mut State,
        me: &mut Publisher,
        next: &mut Next<State>,
    ) -> (&'static str, u8) {
        let is_unreachable = self.is_unreachable && index == 1;
        match me.at {
            At::Join => {
                me.seen = new.announce;
                let wakes = self.mistake != Mistake::NewcomerWakesNobody && !self.is_flag();
                me.at = if wakes { At::WakeLook } else { At::CommitStamp };
                ("joins, has seen {} announcements", me.seen)
            }
            At::CommitStamp => {
                (me.is_pending, me.sent) = (true, me.sent + 1);
                me.at = At::LookForAnnouncements;
                if is_unreachable && self.mistake != Mistake::NoLocalFence {
                    me.at = At::LocalFence;
                }
                ("stores stamp {}", me.sent)
            }
            At::LocalFence => {
                new.stamped += u8::from(std::mem::take(&mut me.is_pending));
                me.at = At::LookForAnnouncements;
                ("fence", 0)
            }
            At::LookForAnnouncements => {
                let counts = self.is_flag() || self.mistake == Mistake::CountOfSleepers;
                let must_wake = new.announce != if counts { 0 } else { me.seen };
                me.at = if must_wake { At::WakeLook } else { At::CommitStamp };
                if !must_wake {
                    next.see("a publisher had nobody to wake");
                }
                ("looks for announcements: {}", new.announce)
            }
            _ => unreachable!("not a part of sending"),
        }
    }

    fn wake(
        &self,
        new: &mut State,
        me: &mut Publisher,
        next: &mut Next<State>,
    ) -> (&'static str, u8) {
        match me.at {
            At::WakeLook => {
                me.announced = new.announce;
                me.at = At::WakeWord;
                if self.mistake == Mistake::FlagWokenThenCleared {
                    me.at = At::WakeAll;
                }
                ("will remember {} announcements", me.announced)
            }
            At::WakeWord => {
                me.at = At::WakeAll;
                match self.mistake {
                    Mistake::SleepOnTheAnnouncement => return ("does not change the word", 0),
                    Mistake::FlagClearedThenWoken => new.announce = 0,
                    _ => new.futex += 1,
                }
                // A locked instruction: what was stored before is seen.
                new.stamped += u8::from(std::mem::take(&mut me.is_pending));
                ("changes the word: {}", new.futex)
            }
            At::WakeAll => {
                for sleeper in &mut new.sleepers {
                    if sleeper.is_alive && sleeper.at == Pause::Asleep {
                        next.see("a sleeper was woken");
                        sleeper.at = self.awake();
                    }
                }
                me.wakes += u8::from(self.sleepers_die);
                me.at = At::Remember;
                ("wakes all", 0)
            }
            At::Remember => {
                me.seen = me.announced;
                match self.mistake {
                    Mistake::RememberedLate => me.seen = new.announce,
                    Mistake::FlagWokenThenCleared => {
                        new.announce = 0;
                        new.stamped += u8::from(std::mem::take(&mut me.is_pending));
                    }
                    _ => {}
                }
                (me.announced, me.at) = (0, At::CommitStamp);
                ("remembers {} announcements", me.seen)
            }
            _ => unreachable!("not a part of waking"),
        }
    }
}

/// `wait/sleeper.rs`.
impl Parking {
    /// What one does that does not sleep any more.
    fn awake(&self) -> Pause {
        let takes_off = self.mistake == Mistake::CountOfSleepers;
        if takes_off { Pause::TakeOff } else { Pause::Look }
    }

    fn sleeper(&self, index: usize, state: &State, next: &mut Next<State>) {
        let mut me = state.sleepers[index];
        if !me.is_alive {
            return;
        }
        if self.sleepers_die && state.kills > 0 && me.at != Pause::Look {
            let mut new = *state;
            new.kills -= 1;
            new.sleepers[index].is_alive = false;
            next.see("a sleeper was killed");
            next.fate(SLEEPERS[index], "is killed", &[], new);
        }
        let mut new = *state;
        let words = match me.at {
            Pause::Look | Pause::ParkLook | Pause::LateWord | Pause::Sleep | Pause::Asleep => {
                self.look(state, &mut me, next)
            }
            _ => self.announce(&mut new, &mut me),
        };
        if let Some((text, number)) = words {
            new.sleepers[index] = me;
            next.step(SLEEPERS[index], text, &[number], new);
        }
    }

    fn announce(&self, new: &mut State, me: &mut Sleeper) -> Option<(&'static str, u8)> {
        match me.at {
            Pause::ReadWord => {
                me.word = new.futex;
                me.at = Pause::Announce;
                Some(("reads the word: {}", me.word))
            }
            Pause::Announce => {
                new.announce = if self.is_flag() { 1 } else { new.announce + 1 };
                new.announcements += u8::from(self.sleepers_die);
                match self.mistake {
                    Mistake::SleepOnTheAnnouncement => me.word = new.announce,
                    _ if self.is_flag() => me.word = 1,
                    _ => {}
                }
                me.at = Pause::Barrier;
                Some(("announces itself: {}", new.announce))
            }
            Pause::Barrier => {
                if self.mistake != Mistake::NoBarrier {
                    new.drain(0);
                    if !self.is_unreachable {
                        new.drain(1);
                    }
                }
                let looks = self.mistake != Mistake::NoSecondLook;
                me.at = if looks { Pause::ParkLook } else { Pause::Sleep };
                Some(("membarrier", 0))
            }
            Pause::TakeOff => {
                new.announce -= 1;
                me.at = Pause::Look;
                Some(("takes itself off: {}", new.announce))
            }
            _ => unreachable!("not a part of announcing"),
        }
    }

    fn look(
        &self,
        state: &State,
        me: &mut Sleeper,
        next: &mut Next<State>,
    ) -> Option<(&'static str, u8)> {
        let is_ready = me.received < state.stamped;
        match me.at {
            Pause::Look => {
                (me.word, me.at) = (0, Pause::ReadWord);
                if is_ready {
                    (me.received, me.at) = (state.stamped, Pause::Look);
                }
                Some((
                    if is_ready { "receives up to {}" } else { "finds nothing behind {}" },
                    me.received,
                ))
            }
            Pause::ParkLook => {
                if is_ready {
                    next.see("the second look found something");
                }
                me.at = match (is_ready, self.mistake) {
                    (true, _) => self.awake(),
                    (false, Mistake::WordReadLast) => Pause::LateWord,
                    _ => Pause::Sleep,
                };
                Some(("looks again", 0))
            }
            Pause::LateWord => {
                (me.word, me.at) = (state.futex, Pause::Sleep);
                Some(("reads the word: {}", me.word))
            }
            Pause::Sleep => {
                let on_announcement =
                    self.is_flag() || self.mistake == Mistake::SleepOnTheAnnouncement;
                let word = if on_announcement { state.announce } else { state.futex };
                let sleeps = word == me.word;
                if !sleeps {
                    next.see("the word had changed");
                }
                me.at = if sleeps { Pause::Asleep } else { self.awake() };
                Some((
                    if sleeps {
                        "sleeps while the word is {}"
                    } else {
                        "does not sleep: the word is {}"
                    },
                    word,
                ))
            }
            Pause::Asleep => {
                // Where nothing has come, another turn of the same changes nothing.
                if !self.is_bounded || !is_ready {
                    return None;
                }
                next.see("a bounded sleep ended");
                me.at = self.awake();
                Some(("ends its sleep by itself", 0))
            }
            _ => unreachable!("not a look"),
        }
    }
}

const TWO_PUBLISHERS: Parking = Parking {
    mistake: Mistake::Nothing,
    publishers: 2,
    sleepers: 1,
    sends: 1,
    publishers_die: false,
    sleepers_die: false,
    kills: 0,
    is_bounded: false,
    joins: false,
    is_unreachable: false,
};

const TWO_SLEEPERS: Parking = Parking { publishers: 1, sleepers: 2, sends: 2, ..TWO_PUBLISHERS };

/// The second publisher joins when the sleeper may sleep already.
const JOINING: Parking = Parking { joins: true, ..TWO_PUBLISHERS };

/// One of each, three packets.
const THREE_PACKETS: Parking = Parking { publishers: 1, sends: 3, ..TWO_PUBLISHERS };

/// A sleeper is killed; the other, and the publisher, go on without any bound.
const SLEEPER_DIES: Parking = Parking { sleepers_die: true, kills: 1, sends: 2, ..TWO_SLEEPERS };

/// The publisher is killed between stamp and wake, and nobody else publishes.
const PUBLISHER_DIES: Parking =
    Parking { publishers_die: true, kills: 1, is_bounded: true, sends: 1, ..TWO_SLEEPERS };

/// `membarrier` does not reach the second publisher.
const UNREACHABLE: Parking = Parking { is_unreachable: true, ..TWO_PUBLISHERS };

#[test]
fn no_wake_up_is_lost_without_any_bound() {
    let sights = [
        "a sleeper was woken",
        "the second look found something",
        "the word had changed",
        "a publisher had nobody to wake",
    ];
    holds("parking, two publishers", &TWO_PUBLISHERS, &sights);
    holds("parking, two sleepers", &TWO_SLEEPERS, &sights);
    holds("parking, one joins", &JOINING, &[]);
    holds("parking, three packets", &THREE_PACKETS, &sights);
    holds("parking, one is not reached", &UNREACHABLE, &[]);
}

#[test]
fn nothing_is_to_be_repaired_when_a_sleeper_is_killed() {
    holds("parking, a sleeper dies", &SLEEPER_DIES, &["a sleeper was killed"]);
}

#[test]
fn a_bounded_sleep_outlives_a_publisher() {
    let sights = ["a publisher was killed between stamp and wake", "a bounded sleep ended"];
    holds("parking, the publisher dies", &PUBLISHER_DIES, &sights);
}

#[test]
fn parking_holds_in_larger_scenarios() {
    if is_large() {
        let both = Parking { sleepers: 2, sends: 1, ..TWO_PUBLISHERS };
        holds("parking, large, two and two", &both, &[]);
        holds("parking, large, three each", &Parking { sends: 2, ..TWO_PUBLISHERS }, &[]);
        let dying = Parking {
            publishers_die: true,
            sleepers_die: true,
            kills: 2,
            is_bounded: true,
            ..both
        };
        holds("parking, large, all die", &dying, &[]);
    }
}

#[track_caller]
fn broken_by(mistake: Mistake, scenario: Parking, harm: Harm) {
    let name = std::thread::current().name().unwrap_or_default().to_owned();
    breaks(&name, &Parking { mistake, ..scenario }, harm);
}

#[test]
fn a_flag_cleared_before_the_wake_loses_a_wake_up() {
    broken_by(Mistake::FlagClearedThenWoken, TWO_SLEEPERS, Harm::SleeperSleepsForEver);
}

#[test]
fn a_flag_cleared_after_the_wake_loses_a_wake_up() {
    broken_by(Mistake::FlagWokenThenCleared, TWO_SLEEPERS, Harm::SleeperSleepsForEver);
}

#[test]
fn a_count_of_sleepers_makes_wakers_call_for_the_dead() {
    broken_by(Mistake::CountOfSleepers, SLEEPER_DIES, Harm::PublisherWakesNobody);
}

#[test]
fn a_sleep_on_the_announcement_itself_loses_a_wake_up() {
    broken_by(Mistake::SleepOnTheAnnouncement, THREE_PACKETS, Harm::SleeperSleepsForEver);
}

#[test]
fn an_announcement_without_a_barrier_is_not_seen() {
    broken_by(Mistake::NoBarrier, THREE_PACKETS, Harm::SleeperSleepsForEver);
}

#[test]
fn a_sleeper_that_does_not_look_again_sleeps_through_a_stamp() {
    broken_by(Mistake::NoSecondLook, THREE_PACKETS, Harm::SleeperSleepsForEver);
}

#[test]
fn a_word_read_after_the_second_look_has_changed_already() {
    broken_by(Mistake::WordReadLast, THREE_PACKETS, Harm::SleeperSleepsForEver);
}

#[test]
fn announcements_remembered_after_the_word_are_never_answered() {
    broken_by(Mistake::RememberedLate, THREE_PACKETS, Harm::SleeperSleepsForEver);
}

#[test]
fn a_newcomer_that_wakes_nobody_publishes_past_a_sleeper() {
    broken_by(Mistake::NewcomerWakesNobody, JOINING, Harm::SleeperSleepsForEver);
}

#[test]
fn a_publisher_that_is_not_reached_needs_a_fence_of_its_own() {
    broken_by(Mistake::NoLocalFence, UNREACHABLE, Harm::SleeperSleepsForEver);
}

#[test]
fn a_sleep_without_bound_outlasts_a_dead_publisher() {
    let scenario = Parking { is_bounded: false, ..PUBLISHER_DIES };
    broken_by(Mistake::NoBound, scenario, Harm::SleeperSleepsForEver);
}
