//! Tests of both ways to sleep. No sleep ends by its bound.

#[path = "../../../tests/support/seccomp.rs"]
mod seccomp;

use super::*;
use crate::segment::Segment;
use crate::segment::settings::Settings;
use seccomp::Refused;
use std::collections::BTreeSet;
use std::thread;

const HOUR: Duration = Duration::from_secs(3600);

/// In an hour.
fn late() -> u64 {
    monotonic() + HOUR.as_nanos() as u64
}

/// In a millisecond.
fn soon() -> u64 {
    monotonic() + 1_000_000
}

/// A sleeper without an io_uring, and one with it where the kernel has it.
fn both() -> Vec<Sleeper> {
    let mut all = vec![Sleeper::default()];
    match DisabledUring::new() {
        Ok(uring) => {
            let mut sleeper = Sleeper::default();
            sleeper.use_uring(uring);
            assert!(sleeper.has_uring());
            all.push(sleeper);
        }
        Err(error) => eprintln!("not tested: no io_uring here: {error}"),
    }
    all
}

/// A word of its own.
fn wanted(passes_on: bool) -> Wanted {
    let event_count = Segment::heap(&Settings::default()).unwrap().memory().readers_event_count();
    Wanted { word: Word::EventCount(event_count), value: 0, passes_on }
}

/// Sets a word for each endpoint. Their numbers are 0, 1 and so on.
fn set_all(sleeper: &mut Sleeper, all: &[Wanted]) {
    for (one, id) in all.iter().zip(0..) {
        sleeper.set(id, vec![one.clone()]);
    }
}

fn change(word: &Word) {
    word.futex().fetch_add(1, Ordering::SeqCst);
    futex::wake_all(word.futex());
}

/// Sleepers of other threads on this word, which all are woken.
fn woken(word: &Word) -> usize {
    futex::wake(word.futex(), i32::MAX)
}

#[test]
fn no_change_is_lost() {
    for mut sleeper in both() {
        let control = AtomicU32::new(0);
        let mut all: Vec<_> = (0..20).map(|_| wanted(false)).collect();
        set_all(&mut sleeper, &all);
        let words: Vec<_> = all.iter().map(|one| one.word.clone()).collect();
        let changing = thread::spawn(move || {
            for round in 0..20_000_usize {
                change(&words[round * 7 % words.len()]);
                if round % 16 == 0 {
                    thread::yield_now();
                }
            }
        });
        let mut seen = 0;
        while seen < 20_000 {
            for id in sleeper.sleep((&control, 0), late()) {
                let one = &mut all[id as usize];
                let value = one.word.futex().load(Ordering::SeqCst);
                seen += value - one.value;
                one.value = value;
                sleeper.set(id, vec![one.clone()]);
            }
        }
        changing.join().unwrap();
        sleeper.end();
    }
}

#[test]
fn control_ends_a_sleep() {
    for mut sleeper in both() {
        let control = AtomicU32::new(0);
        sleeper.set(5, vec![wanted(false)]);
        thread::scope(|scope| {
            for number in 0..200 {
                scope.spawn(|| {
                    control.fetch_add(1, Ordering::SeqCst);
                    futex::wake_all(&control);
                });
                while control.load(Ordering::SeqCst) == number {
                    assert!(sleeper.sleep((&control, number), late()).is_empty());
                }
            }
        });
        sleeper.end();
    }
}

#[test]
fn a_stop_of_many_endpoints_reports_each() {
    for mut sleeper in both() {
        let (control, stop) = (AtomicU32::new(0), Stop::new());
        let one = Wanted { word: Word::Stop(stop.clone()), value: 0, passes_on: false };
        (0..200).for_each(|id| sleeper.set(id, vec![one.clone()]));
        stop.stop();
        let mut seen = BTreeSet::new();
        while seen.len() < 200 {
            for id in sleeper.sleep((&control, 0), late()) {
                sleeper.set(id, Vec::new());
                seen.insert(id);
            }
        }
        sleeper.end();
    }
}

#[test]
fn a_word_that_nobody_wants_takes_no_wake_up() {
    for mut sleeper in both() {
        let (control, one) = (AtomicU32::new(0), wanted(true));
        sleeper.set(3, vec![one.clone()]);
        sleeper.sleep((&control, 0), soon());
        if sleeper.has_uring() {
            assert_eq!(futex::wake(one.word.futex(), 1), 1, "it is queued");
            assert_eq!(sleeper.sleep((&control, 0), late()), [3]);
            sleeper.set(3, vec![one.clone()]);
            sleeper.sleep((&control, 0), soon());
        }
        sleeper.set(3, Vec::new());
        sleeper.sleep((&control, 0), soon());
        assert_eq!(woken(&one.word), 0, "it is not queued");
        sleeper.end();
    }
}

#[test]
fn a_wake_up_that_a_cancelled_wait_took_is_passed_on() {
    for mut sleeper in both().into_iter().filter(Sleeper::has_uring) {
        let (control, one) = (AtomicU32::new(0), wanted(true));
        let Word::EventCount(word) = &one.word else { continue };
        sleeper.set(3, vec![one.clone()]);
        sleeper.sleep((&control, 0), soon());
        let other = word.clone();
        let sleeping = thread::spawn(move || futex::wait(&other.futex, 0, HOUR));
        thread::sleep(Duration::from_millis(5));
        // The io_uring takes the one wake-up, while the clock tells its endpoint.
        word.futex.fetch_add(1, Ordering::SeqCst);
        assert_eq!(futex::wake(&word.futex, 1), 1);
        sleeper.set(3, Vec::new());
        sleeper.sleep((&control, 0), late());
        sleeping.join().unwrap();
        sleeper.end();
    }
}

#[test]
fn a_sleep_ends_at_its_time_and_finds_what_nobody_was_woken_for() {
    for mut sleeper in both() {
        let (control, all) = (AtomicU32::new(0), [wanted(false), wanted(false)]);
        set_all(&mut sleeper, &all);
        for _ in 0..20 {
            let until = soon();
            assert!(sleeper.sleep((&control, 0), until).is_empty());
            assert!(monotonic() >= until);
        }
        // Its notifier was killed.
        all[1].word.futex().fetch_add(1, Ordering::SeqCst);
        assert_eq!(sleeper.sleep((&control, 0), soon()), [1]);
        sleeper.end();
    }
}

#[test]
fn an_earlier_time_ends_a_sleep_and_a_timer_runs_on() {
    for mut sleeper in both() {
        let (control, one) = (AtomicU32::new(0), wanted(false));
        sleeper.set(3, vec![one.clone()]);
        change(&one.word);
        let until = monotonic() + 20_000_000;
        assert_eq!(sleeper.sleep((&control, 0), until), [3]);
        sleeper.set(3, vec![Wanted { value: 1, ..one }]);
        // This sleep ends at an earlier time, another one at the time from before.
        sleeper.sleep((&control, 0), soon());
        while monotonic() < until {
            assert!(sleeper.sleep((&control, 0), until).is_empty());
        }
        sleeper.end();
    }
}

#[test]
fn after_the_end_the_kernel_waits_for_nothing() {
    for mut sleeper in both() {
        let (control, all) = (AtomicU32::new(0), [wanted(false), wanted(true)]);
        set_all(&mut sleeper, &all);
        sleeper.sleep((&control, 0), soon());
        sleeper.end();
        for word in all.iter().map(|one| one.word.futex()).chain([&control]) {
            assert_eq!(futex::wake(word, i32::MAX), 0);
        }
        // It can go on.
        sleeper.set(7, vec![all[0].clone()]);
        change(&all[0].word);
        assert_eq!(sleeper.sleep((&control, 0), late()), [7]);
        sleeper.end();
    }
}

#[test]
fn a_thread_goes_on_without_a_ring_that_fails() {
    // A thread of its own, as the filter stays.
    let test = || {
        for mut sleeper in both().into_iter().filter(Sleeper::has_uring) {
            let (control, one) = (AtomicU32::new(0), wanted(false));
            sleeper.set(3, vec![one.clone()]);
            sleeper.sleep((&control, 0), soon());
            let call = libc::SYS_io_uring_enter;
            seccomp::refuse(&[Refused { call, commands: Vec::new() }], libc::EPERM);
            change(&one.word);
            assert_eq!(sleeper.sleep((&control, 0), late()), [3]);
            assert!(!sleeper.has_uring());
            let word = one.word.clone();
            sleeper.set(3, vec![Wanted { value: 1, ..one }]);
            let changing = thread::spawn(move || change(&word));
            assert_eq!(sleeper.sleep((&control, 0), late()), [3]);
            changing.join().unwrap();
        }
    };
    thread::spawn(test).join().unwrap();
}
