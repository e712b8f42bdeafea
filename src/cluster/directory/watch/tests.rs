use super::*;
use std::cell::Cell;

/// Updates `known` and returns the reports, one letter each: joined, left, died.
fn reports(known: &mut KnownSlot, phase: SlotPhase, is_alive: bool) -> String {
    let mut changes = VecDeque::new();
    known.update(0, entry(phase), is_alive, &mut changes);
    let letter = |change: &WorkerChange| match change {
        WorkerChange::Joined(_) => 'J',
        WorkerChange::Left(_) => 'L',
        WorkerChange::Died(_) => 'D',
    };
    changes.iter().map(letter).collect()
}

fn entry(phase: SlotPhase) -> SlotSnapshot {
    SlotSnapshot { phase, name: "w".to_owned(), pid: 1, since: 0 }
}

fn unknown() -> KnownSlot {
    KnownSlot { phase: SlotPhase(0), alive: None }
}

fn alive(phase: SlotPhase) -> KnownSlot {
    KnownSlot { phase, alive: Some(entry(phase)) }
}

fn left(phase: SlotPhase) -> SlotPhase {
    phase.with_end(Ended::Left).with_state(WorkerSlotState::Free)
}

#[test]
fn each_reported_join_is_followed_by_one_end() {
    let first = SlotPhase(0).next(WorkerSlotState::Taken);
    let mut known = unknown();
    assert_eq!(reports(&mut known, first, true), "J");
    assert_eq!(reports(&mut known, first, true), "");
    assert_eq!(reports(&mut known, left(first), false), "L");
    assert_eq!(reports(&mut known, left(first), false), "");
    let second = left(first).next(WorkerSlotState::Taken);
    assert_eq!(reports(&mut known, second, true), "J");
    assert_eq!(reports(&mut known, second, false), "D", "its lock is free");
    let cleared = second.with_end(Ended::Died).with_state(WorkerSlotState::Free);
    assert_eq!(reports(&mut known, cleared, false), "");
}

#[test]
fn changes_between_two_looks_are_reported_as_their_sum() {
    let first = SlotPhase(0).next(WorkerSlotState::Kept);
    // Another worker has the slot.
    let second = first.next(WorkerSlotState::Kept);
    assert_eq!(reports(&mut alive(first), second, true), "DJ");
    let second = first.with_end(Ended::Left).next(WorkerSlotState::Kept);
    assert_eq!(reports(&mut alive(first), second, true), "LJ");
    // Two generations later the end of the first worker is not recorded any more.
    let third = second.next(WorkerSlotState::Kept);
    assert_eq!(reports(&mut alive(first), third, true), "DJ");
    // A worker joined and left.
    let gone = left(first.next(WorkerSlotState::Taken));
    assert_eq!(reports(&mut unknown(), gone, false), "");
    assert_eq!(reports(&mut alive(first), gone, false), "D");
}

#[test]
fn a_worker_that_went_away_is_not_reported_again_when_it_is_retired() {
    let first = SlotPhase(0).next(WorkerSlotState::Kept);
    let mut known = alive(first);
    assert_eq!(reports(&mut known, first, false), "D");
    let retired = first.with_end(Ended::Died).with_state(WorkerSlotState::Free);
    assert_eq!(reports(&mut known, retired, false), "");
}

/// Looks at a slot in phase `first`, which becomes `second` before its lock is asked, and `third`
/// after that.
fn look(known: &mut KnownSlot, first: SlotPhase, second: SlotPhase, third: SlotPhase) -> String {
    let slot = Cell::new(first);
    let is_alive = || {
        slot.set(second);
        slot.get().state() != WorkerSlotState::Free
    };
    let read = || {
        slot.set(third);
        Some(entry(third))
    };
    match read_slot(first, is_alive, read) {
        Some((entry, is_alive)) => reports(known, entry.phase, is_alive),
        None => String::new(),
    }
}

#[test]
fn a_successor_that_joins_during_a_look_is_reported() {
    let first = SlotPhase(0).next(WorkerSlotState::Taken);
    let gone = left(first);
    let second = gone.next(WorkerSlotState::Taken);
    for (then, last) in [(gone, second), (second, second), (first, second), (gone, gone)] {
        let mut known = alive(first);
        let at_once = look(&mut known, first, then, last);
        let later = look(&mut known, last, last, last);
        let expected = if last == gone { "L" } else { "LJ" };
        assert_eq!(format!("{at_once}{later}"), expected, "{then:?} {last:?}");
    }
}
