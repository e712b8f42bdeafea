//! Tests of io_uring. They pass where the kernel has none for this process, and say so.

use super::*;
use crate::sys::{fork, futex};
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

const LONG: Duration = Duration::from_secs(60);

/// An io_uring of this thread.
fn uring() -> Option<Uring> {
    match DisabledUring::new() {
        Ok(uring) => Some(uring.enable().unwrap()),
        Err(error) => {
            eprintln!("not tested: no io_uring here: {error}");
            None
        }
    }
}

/// Sleeps until there is a report, and returns it.
fn report(uring: &mut Uring) -> (u64, WaitEnd) {
    loop {
        match uring.next() {
            Some(report) => return report,
            None => uring.sleep_timeout(LONG).unwrap(),
        }
    }
}

#[test]
fn a_wake_up_of_another_thread_is_reported_once() {
    let Some(mut uring) = uring() else { return };
    let words: Arc<Vec<AtomicU32>> = Arc::new((0..1000).map(AtomicU32::new).collect());
    for (word, token) in words.iter().zip(0..) {
        uring.wait_for(word, token as u32, token).unwrap();
    }
    for chosen in [0, 999, 517] {
        let words = Arc::clone(&words);
        let waking = std::thread::spawn(move || futex::wake_all(&words[chosen]));
        assert_eq!(report(&mut uring), (chosen as u64, WaitEnd::Woken));
        waking.join().unwrap();
    }
    uring.sleep_timeout(Duration::ZERO).unwrap();
    assert_eq!(uring.next(), None);
}

#[test]
fn a_word_that_differs_is_reported_at_once() {
    let Some(mut uring) = uring() else { return };
    let word = AtomicU32::new(7);
    uring.wait_for(&word, 6, 1).unwrap();
    assert_eq!(report(&mut uring), (1, WaitEnd::Differed));
}

#[test]
fn a_cancelled_wait_takes_no_wake_up() {
    let Some(mut uring) = uring() else { return };
    let word = AtomicU32::new(0);
    uring.wait_for(&word, 0, 1).unwrap();
    uring.sleep_timeout(Duration::ZERO).unwrap();
    assert_eq!(futex::wake(&word, 1), 1, "it is queued");
    assert_eq!(report(&mut uring), (1, WaitEnd::Woken));
    uring.wait_for(&word, 0, 2).unwrap();
    uring.sleep_timeout(Duration::ZERO).unwrap();
    uring.cancel(2).unwrap();
    assert_eq!(report(&mut uring), (2, WaitEnd::Cancelled));
    assert_eq!(futex::wake(&word, 1), 0, "it is not queued");
    uring.cancel(2).unwrap();
    uring.sleep_timeout(Duration::ZERO).unwrap();
    assert_eq!(uring.next(), None, "a cancellation of nothing is not reported");
}

#[test]
fn a_timer_ends_at_its_time_and_runs_on_while_a_wait_ends() {
    let Some(mut uring) = uring() else { return };
    let now = || Duration::from_nanos(crate::sys::machine::monotonic());
    let (word, at) = (AtomicU32::new(0), now() + Duration::from_millis(30));
    uring.wake_at(at, 7).unwrap();
    uring.wait_for(&word, 0, 1).unwrap();
    uring.sleep_timeout(Duration::ZERO).unwrap();
    futex::wake_all(&word);
    assert_eq!(report(&mut uring), (1, WaitEnd::Woken));
    assert_eq!(report(&mut uring), (7, WaitEnd::Time));
    assert!(now() >= at);
    // In the past, and more than the queue has room for.
    (0..200).for_each(|token| uring.wake_at(at, token).unwrap());
    let mut tokens: Vec<u64> = (0..200).map(|_| report(&mut uring).0).collect();
    tokens.sort_unstable();
    assert!(tokens.into_iter().eq(0..200));
}

#[test]
fn as_many_words_as_are_allowed_are_all_reported() {
    let Some(mut uring) = uring() else { return };
    let words: Vec<AtomicU32> = (0..MOST_QUEUED).map(|_| AtomicU32::new(0)).collect();
    for (word, token) in words.iter().zip(0..) {
        uring.wait_for(word, 0, token).unwrap();
    }
    uring.sleep_timeout(Duration::ZERO).unwrap();
    words.iter().for_each(|word| {
        futex::wake_all(word);
    });
    let mut tokens: Vec<u64> = (0..MOST_QUEUED).map(|_| report(&mut uring).0).collect();
    tokens.sort_unstable();
    assert!(tokens.into_iter().eq(0..MOST_QUEUED as u64));
}

#[test]
fn the_ring_has_no_descriptor_and_outlives_its_maker() {
    let Ok(made) = std::thread::spawn(DisabledUring::new).join().unwrap() else { return };
    let of_fd = std::fs::metadata(format!("/proc/self/fd/{}", number_of(&made.fd))).unwrap();
    let file = (of_fd.dev(), of_fd.ino());
    assert_eq!(fork::count(file), 1);
    let mut uring = made.enable().unwrap();
    assert_eq!(fork::count(file), 0, "it is closed");
    let word = AtomicU32::new(7);
    uring.wait_for(&word, 6, 1).unwrap();
    assert_eq!(report(&mut uring), (1, WaitEnd::Differed));
}
