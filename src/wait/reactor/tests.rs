//! Tests of the reactor, on the event counts of a segment on the heap.

use super::*;
use crate::segment::Segment;
use crate::segment::settings::Settings;
use crate::sync::AtomicU64;
use crate::sys::futex;
use crate::sys::uring::DisabledUring;
use crate::wait::lane::LaneUring;
use crate::wait::notify::Notifier;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::task::{Wake, Waker};
use std::time::Duration;

const SUBJECT: Subject = Subject { id: 0, is_pending: false };
const LONG: Duration = Duration::from_secs(60);

/// A waker that tells a channel.
struct Tells(Mutex<Sender<()>>);

impl Wake for Tells {
    fn wake(self: Arc<Self>) {
        let _ = self.0.lock().unwrap().send(());
    }
}

/// An endpoint at its own event count, and the receiver of its wake-ups.
struct Endpoint {
    listener: Listener,
    word: KeptEventCount,
    woken: Receiver<()>,
    waker: Waker,
}

impl Endpoint {
    fn new(lanes: &'static Lanes, stop: Option<&Stop>) -> Self {
        Self::of(lanes, stop, false)
    }

    fn of(lanes: &'static Lanes, stop: Option<&Stop>, passes_on: bool) -> Self {
        let segment = Segment::heap(&Settings::default()).unwrap();
        let word = segment.memory().readers_event_count();
        let (sender, woken) = channel();
        let waker = Waker::from(Arc::new(Tells(Mutex::new(sender))));
        let listener = Listener::on(lanes, vec![word.clone()], stop, passes_on).unwrap();
        Self { listener, word, woken, waker }
    }

    /// Arms it, and keeps the clock from firing.
    fn arm(&mut self) {
        self.listener.signal.set_waker(Some(&self.waker));
        self.listener.pace.begin(SUBJECT);
        self.listener.pace.postpone(LONG);
        assert!(self.listener.arm(|| false));
    }

    fn notify(&self, notifier: &mut Notifier) {
        assert!(notifier.has_new_waiters(&self.word), "it registered");
        notifier.wake(&self.word, || {
            futex::wake_all(&self.word.futex);
            true
        });
    }
}

/// Lanes that are never dropped. The list keeps them reachable for the leak check of the address
/// sanitizer, also when their threads have ended.
fn new_lanes() -> &'static Lanes {
    static ALL: Mutex<Vec<&Lanes>> = Mutex::new(Vec::new());
    let lanes = Box::leak(Box::default());
    ALL.lock().unwrap().push(lanes);
    lanes
}

/// Threads that sleep by futex_waitv, and threads that sleep by io_uring where the kernel has it.
fn both() -> Vec<&'static Lanes> {
    let lanes = |uring| {
        let lanes = new_lanes();
        // An endpoint that stays, and with it the first thread.
        let first = LaneEntry::new(Arc::default(), &[], None, false);
        let (lane, _) = lanes.start(uring, first).unwrap();
        lanes.lock().push(lane);
        lanes
    };
    let uring = DisabledUring::new();
    let uring = uring.inspect_err(|error| eprintln!("not tested: no io_uring here: {error}"));
    let uring = uring.ok().map(|uring| lanes(LaneUring::Made(uring)));
    std::iter::once(lanes(LaneUring::None)).chain(uring).collect()
}

#[test]
fn a_notification_fires_an_armed_endpoint_once() {
    for lanes in both() {
        let mut endpoint = Endpoint::new(lanes, None);
        let mut notifier = Notifier::new(&endpoint.word, false);
        for _ in 0..100 {
            endpoint.arm();
            endpoint.notify(&mut notifier);
            endpoint.woken.recv_timeout(LONG).unwrap();
        }
        let value = endpoint.word.futex.fetch_add(1, Ordering::SeqCst) + 1;
        futex::wake_all(&endpoint.word.futex);
        let has_seen = |one: &LaneEntry| {
            Arc::ptr_eq(&one.signal, &endpoint.listener.signal) && one.words[0].1 == value
        };
        while !endpoint.listener.lane.lock().watched.values().any(has_seen) {
            std::thread::yield_now();
        }
        assert!(endpoint.woken.try_recv().is_err(), "it was not armed");
    }
}

#[test]
fn a_stop_fires() {
    for lanes in both() {
        let stop = Stop::new();
        let mut endpoint = Endpoint::new(lanes, Some(&stop));
        endpoint.arm();
        stop.stop();
        endpoint.woken.recv_timeout(LONG).unwrap();
        let other = Stop::new();
        endpoint.listener.set_stop(&other);
        endpoint.arm();
        assert!(endpoint.woken.try_recv().is_err(), "the other stop did not happen");
        other.stop();
        endpoint.woken.recv_timeout(LONG).unwrap();
    }
}

#[test]
fn the_clock_fires() {
    for lanes in both() {
        let mut endpoint = Endpoint::new(lanes, None);
        endpoint.listener.signal.set_waker(Some(&endpoint.waker));
        assert!(!endpoint.listener.is_due(SUBJECT));
        assert!(endpoint.listener.arm(|| false));
        endpoint.woken.recv_timeout(LONG).unwrap();
        assert!(endpoint.listener.is_due(SUBJECT), "it fired to have the living checked");
    }
}

#[test]
fn what_the_second_check_sees_fires_at_once() {
    for lanes in both() {
        let mut endpoint = Endpoint::new(lanes, None);
        endpoint.listener.signal.set_waker(Some(&endpoint.waker));
        assert!(!endpoint.listener.arm(|| true));
        endpoint.woken.try_recv().unwrap();
    }
}

#[test]
fn more_words_than_one_thread_can_wait_for_have_several() {
    for lanes in both() {
        let has_uring = !matches!(lanes.lock()[0].lock().uring, LaneUring::None);
        let mut endpoints: Vec<_> = (0..300).map(|_| Endpoint::new(lanes, None)).collect();
        if has_uring {
            assert_eq!(lanes.lock().len(), 1);
        } else {
            // Further threads use io_uring if they can.
            assert!(lanes.lock().len() >= 2);
        }
        for endpoint in &mut endpoints {
            let mut notifier = Notifier::new(&endpoint.word, false);
            endpoint.arm();
            endpoint.notify(&mut notifier);
        }
        for endpoint in &endpoints {
            endpoint.woken.recv_timeout(LONG).unwrap();
        }
        drop(endpoints);
        let left = || lanes.lock().iter().map(|lane| lane.lock().watched.len()).sum::<usize>();
        while left() != 1 || lanes.lock().len() != 1 {
            std::thread::yield_now();
        }
    }
}

#[test]
fn a_thread_ends_with_its_last_endpoint() {
    let lanes = new_lanes();
    for _ in 0..20 {
        let endpoints: Vec<_> = (0..40).map(|_| Endpoint::new(lanes, None)).collect();
        assert_eq!(lanes.lock().len(), 1, "the first thread has them all");
        let has_uring = !matches!(lanes.lock()[0].lock().uring, LaneUring::None);
        assert_eq!(has_uring, DisabledUring::new().is_ok());
        drop(endpoints);
        while !lanes.lock().is_empty() {
            std::thread::yield_now();
        }
    }
}

#[test]
fn notifications_at_any_time_are_not_lost() {
    for lanes in both() {
        let mut endpoint = Endpoint::new(lanes, None);
        let word = endpoint.word.clone();
        let sent = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&sent);
        // Before the endpoint registers: a notifier that begins later has to wake all once.
        let mut notifier = Notifier::new(&word, false);
        let notifying = std::thread::spawn(move || {
            for number in 1..=20_000 {
                counter.store(number, Ordering::SeqCst);
                if notifier.has_new_waiters(&word) {
                    notifier.wake(&word, || {
                        futex::wake_all(&word.futex);
                        true
                    });
                }
                if number % 64 == 0 {
                    std::thread::yield_now();
                }
            }
        });
        let mut seen = 0;
        while seen < 20_000 {
            let now = sent.load(Ordering::SeqCst);
            if now > seen {
                seen = now;
                continue;
            }
            endpoint.listener.signal.set_waker(Some(&endpoint.waker));
            endpoint.listener.pace.begin(SUBJECT);
            endpoint.listener.pace.postpone(LONG);
            if endpoint.listener.arm(|| sent.load(Ordering::SeqCst) > seen) {
                endpoint.woken.recv_timeout(LONG).expect("a notification was lost");
            }
            while endpoint.woken.try_recv().is_ok() {}
        }
        notifying.join().unwrap();
    }
}

#[test]
fn a_wake_up_of_one_sleeper_is_passed_on() {
    for lanes in both() {
        let mut endpoint = Endpoint::of(lanes, None, true);
        for _ in 0..50 {
            endpoint.arm();
            let plans = || endpoint.listener.signal.looks_at.load(Ordering::SeqCst);
            // The thread of the reactor sleeps first, so the kernel wakes it first.
            while matches!(plans(), 0 | u64::MAX) {
                std::thread::yield_now();
            }
            std::thread::sleep(Duration::from_millis(1));
            let (word, (sender, slept)) = (endpoint.word.clone(), channel());
            let sleeping = std::thread::spawn(move || {
                let seen = word.futex.load(Ordering::SeqCst);
                sender.send(()).unwrap();
                futex::wait(&word.futex, seen, Duration::from_secs(3600));
                sender.send(()).unwrap();
            });
            slept.recv().unwrap();
            std::thread::sleep(Duration::from_millis(2));
            endpoint.word.futex.fetch_add(1, Ordering::SeqCst);
            futex::wake(&endpoint.word.futex, 1);
            endpoint.woken.recv_timeout(LONG).unwrap();
            slept.recv_timeout(LONG).expect("the wake-up was kept from another sleeper");
            sleeping.join().unwrap();
        }
    }
}

/// A waker that panics.
struct Panics;

impl Wake for Panics {
    fn wake(self: Arc<Self>) {
        panic!("a waker that panics, on purpose");
    }
}

#[test]
fn a_waker_that_panics_ends_no_thread() {
    for lanes in both() {
        let (mut bad, mut good) = (Endpoint::new(lanes, None), Endpoint::new(lanes, None));
        bad.arm();
        bad.listener.signal.set_waker(Some(&Waker::from(Arc::new(Panics))));
        bad.word.futex.fetch_add(1, Ordering::SeqCst);
        futex::wake_all(&bad.word.futex);
        while bad.listener.signal.armed.load(Ordering::SeqCst) != 0 {
            std::thread::yield_now();
        }
        good.arm();
        good.word.futex.fetch_add(1, Ordering::SeqCst);
        futex::wake_all(&good.word.futex);
        good.woken.recv_timeout(LONG).unwrap();
    }
}
