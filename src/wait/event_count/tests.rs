//! Tests of the event count.

use super::*;
use crate::wait::Notifier;
use std::sync::Arc;

#[test]
fn waiters_stay_registered_until_no_sleeper_is_left() {
    let event_count = EventCount::default();
    let mut notifier = Notifier::new(&event_count, false);
    assert!(!notifier.has_new_waiters(&event_count));
    let (seen, _) = register_waiter(&event_count);
    assert!(notifier.may_have_waiters(&event_count));
    for is_last in [false, false, true] {
        assert!(notifier.has_new_waiters(&event_count));
        notifier.wake(&event_count, || is_last);
    }
    assert!(!notifier.has_new_waiters(&event_count));
    assert!(!notifier.may_have_waiters(&event_count));
    assert_eq!(event_count.futex.load(Ordering::Relaxed), seen + 3);
}

#[test]
fn a_waiter_registers_again_only_after_an_answer() {
    let event_count = EventCount::default();
    let mut notifier = Notifier::new(&event_count, false);
    let waiter = Waiter::new(Wait::park(), Sleep::Futex);
    let waiters = || event_count.waiters.load(Ordering::Relaxed);
    for expected in 1..4 {
        for _ in 0..3 {
            waiter.park(&event_count, Duration::from_micros(1), || false);
            // Where the kernel refuses the barrier, each sleep needs its own registration.
            assert!(waiters() == expected || !heavy_barrier());
        }
        notifier.wake(&event_count, || true);
    }
}

#[test]
fn several_registrations_are_renewed_together_and_only_after_an_answer() {
    let event_counts = [EventCount::default(), EventCount::default()];
    let waiters = || event_counts.each_ref().map(|one| one.waiters.load(Ordering::Relaxed));
    let mut registrations = Registrations::default();
    for _ in 0..3 {
        let (words, is_sure) = registrations.renew(&event_counts);
        assert!(words.iter().all(|(word, seen)| word.load(Ordering::Relaxed) == *seen));
        assert!(waiters() == [1, 1] || !is_sure);
    }
    let mut notifier = Notifier::new(&event_counts[1], false);
    notifier.wake(&event_counts[1], || true);
    let (words, is_sure) = registrations.renew(&event_counts);
    assert_eq!(words[1].1, 1);
    assert!(waiters() == [2, 2] || !is_sure);
}

#[test]
fn a_wake_up_of_one_reaches_one_sleeper() {
    let event_count = Arc::new(EventCount::default());
    let sleepers: Vec<_> = (0..3)
        .map(|_| {
            let event_count = Arc::clone(&event_count);
            std::thread::spawn(move || {
                futex::wait(&event_count.futex, 0, Duration::from_secs(60));
            })
        })
        .collect();
    let mut woken = 0;
    while woken < sleepers.len() {
        let now = futex::wake(&event_count.futex, 1);
        assert!(now <= 1, "woke {now}");
        woken += now;
        std::thread::yield_now();
    }
    for sleeper in sleepers {
        sleeper.join().unwrap();
    }
}

#[test]
fn a_stop_ends_a_sleep_that_has_no_other_end() {
    let stop = Stop::new();
    let (sender, returned) = std::sync::mpsc::channel();
    let waiter = Waiter::new(Wait::park(), Sleep::Futex).with_stop(Some(&stop));
    let event_count = Arc::new(EventCount::default());
    let sleeps_on = Arc::clone(&event_count);
    std::thread::spawn(move || {
        let event_count = sleeps_on;
        waiter.park(&event_count, Duration::from_secs(3600), || false);
        waiter.park_once(&event_count, Duration::from_secs(3600), || false);
        sender.send(waiter.is_stopped())
    });
    while event_count.waiters.load(Ordering::SeqCst) == 0 {
        std::thread::yield_now();
    }
    assert!(returned.try_recv().is_err(), "it sleeps until it is stopped");
    stop.stop();
    assert!(returned.recv_timeout(Duration::from_secs(60)).unwrap());
}
