//! Events of a cluster: one test per documented guarantee, in one process and across processes. All
//! cases of the order of handlers are tested in `cluster::events::registry`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod support;

use packetring::cluster::{
    Context, EmitError, EmitTimeoutError, Events, RunError, TryEmitError, WorkerChange,
};
use packetring::{OpenError, Overflow, Wait, WaitingFor, Worker, packet, select, try_select};
use std::cell::RefCell;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Barrier;
use std::time::Duration;
use support::peer::{self, Peer, Role};
use support::{LONG, SHORT, Watch, unique, wait_until};

#[packet]
struct Opened {
    by: String,
    door: u32,
}

impl ArchivedOpened {
    fn line(&self) -> String {
        format!("{} opened {}", self.by, self.door)
    }
}

#[packet]
struct Closed {
    door: u32,
}

fn opened(door: u32) -> Opened {
    Opened { by: "ada".to_owned(), door }
}

/// A cluster of its own with a hang timer. Asserts at the end that nothing is left of it.
struct TestCluster {
    cluster: String,
    _watch: Watch,
}

impl TestCluster {
    fn new() -> Self {
        Self { cluster: unique("events"), _watch: Watch::start() }
    }

    fn worker(&self, name: &str) -> Worker {
        Worker::join(&self.cluster, name).unwrap()
    }

    fn dropping(&self, name: &str) -> Worker {
        let builder = Worker::builder().events_overflow(Overflow::DropOldest);
        builder.join(&self.cluster, name).unwrap()
    }

    fn peer(&self, role: &str, rest: &str) -> Peer {
        Peer::start(format!("{role} {} {rest}", self.cluster).trim())
    }

    fn objects(&self) -> Vec<String> {
        let names = fs::read_dir("/dev/shm").unwrap().filter_map(Result::ok);
        let names = names.map(|file| file.file_name().to_string_lossy().into_owned());
        names.filter(|name| name.contains(&format!("{}~", self.cluster))).collect()
    }
}

impl Drop for TestCluster {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_eq!(self.objects(), [""; 0], "objects were left behind");
        }
    }
}

/// Lines that handlers logged, in order.
#[derive(Default)]
struct Log(RefCell<Vec<String>>);

impl Log {
    fn say(&self, what: impl Into<String>) {
        self.0.borrow_mut().push(what.into());
    }

    fn take(&self) -> String {
        self.0.take().join(" ")
    }
}

fn failing(what: &'static str) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    Err(what.into())
}

// ── Delivery ───────────────────────────────────────────────────────────────────────────────────

#[test]
fn an_event_is_delivered_to_all_listeners_at_their_dispatch() {
    let (cluster, log) = (TestCluster::new(), Log::default());
    let (one, two) = (cluster.worker("one"), cluster.worker("two"));
    let (mut first, mut second) = (one.events().unwrap(), two.events().unwrap());
    for events in [&mut first, &mut second] {
        events.on::<Opened>("open", |door, context| {
            log.say(format!("{} by {}", door.line(), context.sender()));
        });
    }
    first.emit("open", &opened(7)).unwrap();
    assert_eq!(log.take(), "", "delivered before the dispatch");
    for events in [&mut first, &mut second] {
        assert_eq!(events.poll().unwrap(), 1);
        assert_eq!(log.take(), format!("ada opened 7 by {}", one.id()));
        assert_eq!(events.poll().unwrap(), 0, "delivered twice");
    }
}

#[test]
fn a_worker_without_events_gets_none_and_does_not_block() {
    let cluster = TestCluster::new();
    let (one, two) = (cluster.worker("one"), cluster.worker("two"));
    let mut first = one.events().unwrap();
    let gone = two.events().unwrap();
    drop(gone);
    for _ in 0..100 {
        for _ in 0..1000 {
            first.try_emit("number", &[0_u64; 8]).unwrap();
        }
        first.poll().unwrap();
    }
    let mut late = two.events().unwrap();
    assert_eq!(late.poll().unwrap(), 0, "events from before the join were delivered");
}

#[test]
fn events_of_a_worker_keep_their_order_across_names() {
    let cluster = TestCluster::new();
    let seen = RefCell::new(Vec::new());
    let (one, two) = (cluster.worker("one"), cluster.worker("two"));
    let (mut first, mut second) = (one.events().unwrap(), two.events().unwrap());
    second.on::<u32>("**", |number, _| seen.borrow_mut().push(number.to_native()));
    for number in 0..1000_u32 {
        first.emit(&format!("name::{}", number % 7), &number).unwrap();
    }
    assert_eq!(second.poll().unwrap(), 1000);
    drop((first, second));
    assert!(seen.into_inner().into_iter().eq(0..1000));
}

#[test]
fn several_arguments_travel_as_a_tuple() {
    let cluster = TestCluster::new();
    let one = cluster.worker("one");
    let mut sum = 0;
    let mut events = one.events().unwrap();
    events.on::<(u32, u8, String)>("pair", |pair, _| {
        sum += pair.0.to_native() + u32::from(pair.1) + pair.2.len() as u32;
    });
    events.emit("pair", &(1_u32, 2_u8, "three".to_owned())).unwrap();
    events.poll().unwrap();
    drop(events);
    assert_eq!(sum, 8);
}

// ── Handlers ───────────────────────────────────────────────────────────────────────────────────

#[test]
fn prepended_handlers_run_first_and_once_handlers_run_once() {
    let (cluster, log) = (TestCluster::new(), Log::default());
    let one = cluster.worker("one");
    let mut events = one.events().unwrap();
    events.on::<u32>("n", |_, _| log.say("a"));
    events.once::<u32>("n", |_, _| log.say("once"));
    events.prepend::<u32>("n", |_, _| log.say("b"));
    events.prepend::<u32>("n", |_, _| log.say("c"));
    let last = events.on::<u32>("n", |_, _| log.say("d"));
    assert_eq!(events.listener_count("n"), 5);
    for expected in ["c b a once d", "c b a d"] {
        events.emit("n", &1_u32).unwrap();
        events.poll().unwrap();
        assert_eq!(log.take(), expected);
    }
    assert!(events.off(last) && !events.off(last));
    assert_eq!((events.listener_count("n"), events.event_names()), (3, vec!["n".to_owned()]));
    assert_eq!(events.off_all("n"), 3);
    events.emit("n", &1_u32).unwrap();
    assert_eq!(events.poll().unwrap(), 1, "an event without a handler still counts");
    assert_eq!((log.take(), events.event_names()), (String::new(), vec![]));
}

#[test]
fn a_once_handler_can_be_prepended_and_can_fail() {
    let (cluster, log) = (TestCluster::new(), Log::default());
    let one = cluster.worker("one");
    let mut events = one.events().unwrap();
    events.on::<u32>("n", |_, _| log.say("on"));
    events.prepend::<u32>("n", |_, _| log.say("first"));
    events.prepend_once::<u32>("n", |_, _| log.say("before"));
    events.try_once::<u32>("n", |_, _| {
        log.say("tries");
        failing("once")
    });
    assert_eq!(events.listener_count("n"), 4);
    events.emit("n", &1_u32).unwrap();
    let Err(RunError::Handler { event, source }) = events.run() else { panic!() };
    assert_eq!((&*event, &*source.to_string()), ("n", "once"));
    assert_eq!(log.take(), "before first on tries");
    events.emit("n", &1_u32).unwrap();
    assert_eq!(events.poll().unwrap(), 1);
    assert_eq!((&*log.take(), events.listener_count("n")), ("first on", 2));
}

#[test]
fn off_every_removes_all_handlers() {
    let cluster = TestCluster::new();
    let one = cluster.worker("one");
    let mut events = one.events().unwrap();
    let removed = |_: &_, _: &mut Context<'_>| panic!("a removed handler ran");
    for name in ["n", "n", "m", "**"] {
        events.on::<u32>(name, removed);
    }
    events.on_error(|_, _| panic!("a removed handler ran"));
    events.on_worker(|_, _| panic!("a removed handler ran"));
    assert_eq!((events.off_every(), events.off_every()), (6, 0));
    assert_eq!((events.event_names(), events.listener_count("n")), (vec![], 0));
    let _two = cluster.worker("two");
    events.try_on::<u32>("n", |_, context| {
        context.off_every();
        failing("no")
    });
    events.emit("n", &1_u32).unwrap();
    assert!(matches!(events.poll(), Err(RunError::Handler { .. })), "no error handler is left");
    events.emit("n", &1_u32).unwrap();
    assert_eq!(events.poll().unwrap(), 1);
    assert_eq!(events.event_names(), [""; 0]);
}

#[test]
fn a_handler_can_add_handlers_of_every_kind() {
    let cluster = TestCluster::new();
    let one = cluster.worker("one");
    let (say, lines) = std::sync::mpsc::channel();
    let mut events = one.events().unwrap();
    events.once::<u32>("n", move |_, context| {
        let (behind, first, once) = (say.clone(), say.clone(), say.clone());
        context.on::<u32>("n", move |_, _| behind.send("behind").unwrap());
        context.prepend::<u32>("n", move |_, _| first.send("first").unwrap());
        context.prepend_once::<u32>("n", move |_, _| once.send("once").unwrap());
        context.try_once::<u32>("n", move |_, _| {
            say.send("tries").unwrap();
            failing("once")
        });
    });
    events.emit("n", &1_u32).unwrap();
    events.poll().unwrap();
    events.emit("n", &1_u32).unwrap();
    assert!(matches!(events.poll(), Err(RunError::Handler { .. })));
    assert_eq!(lines.try_iter().collect::<Vec<_>>(), ["once", "first", "behind", "tries"]);
    events.emit("n", &1_u32).unwrap();
    events.poll().unwrap();
    assert_eq!(lines.try_iter().collect::<Vec<_>>(), ["first", "behind"]);
    assert_eq!(events.listener_count("n"), 2);
}

#[test]
fn changes_made_by_a_handler_apply_from_the_next_event() {
    let (cluster, log) = (TestCluster::new(), Log::default());
    let one = cluster.worker("one");
    let (say, lines) = std::sync::mpsc::channel();
    let mut events = one.events().unwrap();
    let removed = events.on::<u32>("n", |_, _| log.say("removed"));
    events.on::<u32>("gone", |_, _| log.say("gone"));
    events.once::<u32>("n", move |_, context: &mut Context<'_>| {
        context.off(removed);
        context.off_all("gone");
        let (on, once) = (say.clone(), say);
        context.on::<u32>("n", move |_, _| on.send("on").unwrap());
        context.once::<u32>("n", move |_, _| once.send("once").unwrap());
        context.try_on::<u32>("fails", |_, _| failing("of itself"));
    });
    events.emit("n", &1_u32).unwrap();
    events.poll().unwrap();
    assert_eq!(log.take(), "removed", "handlers added before the event run");
    assert_eq!(lines.try_iter().count(), 0);
    for expected in [vec!["on", "once"], vec!["on"]] {
        events.emit("n", &1_u32).unwrap();
        events.poll().unwrap();
        assert_eq!(lines.try_iter().collect::<Vec<_>>(), expected);
    }
    assert_eq!(
        (log.take(), events.event_names()),
        (String::new(), ["n", "fails"].map(str::to_owned).to_vec())
    );
}

#[test]
fn a_pattern_matches_names() {
    let (cluster, log) = (TestCluster::new(), Log::default());
    let one = cluster.worker("one");
    let mut events = one.events().unwrap();
    events.on::<Opened>("threadA::*", |door, context| {
        log.say(format!("{}:{}", context.event(), door.door));
    });
    events.once::<Opened>("**::y", |_, context| log.say(format!("once:{}", context.event())));
    for name in ["threadA::open", "threadB::open", "threadA::x::y", "threadA::y"] {
        events.emit(name, &opened(1)).unwrap();
    }
    assert_eq!(events.poll().unwrap(), 4);
    assert_eq!(log.take(), "threadA::open:1 once:threadA::x::y threadA::y:1");
    assert_eq!(events.listener_count("threadA::z"), 1);
}

// ── Errors ─────────────────────────────────────────────────────────────────────────────────────

#[test]
fn without_an_error_handler_a_failure_ends_the_dispatch() {
    let (cluster, log) = (TestCluster::new(), Log::default());
    let one = cluster.worker("one");
    let mut events = one.events().unwrap();
    events.try_on::<u32>("n", |_, _| failing("first"));
    events.try_on::<u32>("n", |_, _| failing("second"));
    events.on::<u32>("n", |_, _| log.say("third"));
    events.emit("n", &1_u32).unwrap();
    events.emit("m", &1_u32).unwrap();
    for expected in ["first", "second"] {
        let Err(RunError::Handler { event, source }) = events.run() else { panic!() };
        assert_eq!((&*event, source.to_string()), ("n", expected.to_owned()));
    }
    assert_eq!(log.take(), "third", "the other handlers must run");
    assert_eq!(events.poll().unwrap(), 1, "an error was repeated or an event was lost");
}

#[test]
fn with_an_error_handler_the_dispatch_continues() {
    let (cluster, log) = (TestCluster::new(), Log::default());
    let (one, two) = (cluster.worker("one"), cluster.worker("two"));
    let mut events = one.events().unwrap();
    events.on_error(|error, context| {
        log.say(format!("{}@{}: {error};", context.event(), context.sender()));
    });
    let other = events.on_error(|_, _| log.say("other;"));
    events.try_on::<u32>("n", |_, _| failing("no"));
    two.events().unwrap().emit("n", &1_u32).unwrap();
    events.emit("m", &1_u32).unwrap();
    assert_eq!(events.poll().unwrap(), 2);
    assert_eq!(log.take(), format!("n@{}: handler of \"n\" failed: no; other;", two.id()));
    assert!(events.off(other));
}

#[test]
fn a_packet_of_another_type_is_an_error() {
    let (cluster, log) = (TestCluster::new(), Log::default());
    let one = cluster.worker("one");
    let mut events = one.events().unwrap();
    events.on::<Opened>("open", |_, _| log.say("opened"));
    events.once::<Closed>("open", |_, _| log.say("closed"));
    events.emit("open", &opened(1)).unwrap();
    let Err(RunError::TypeMismatch { event, types }) = events.run() else { panic!() };
    assert_eq!(event, "open");
    assert!(types.expected.starts_with("Closed") && types.found.starts_with("Opened"));
    assert_eq!(log.take(), "opened");
    assert_eq!(events.listener_count("open"), 2, "the once handler must stay");
}

#[test]
fn a_pattern_does_not_hide_a_type_mismatch() {
    let cluster = TestCluster::new();
    let one = cluster.worker("one");
    let mut events = one.events().unwrap();
    events.on::<(u32, String)>("progress::*", |_, _| panic!("the handler ran with another type"));
    events.emit("progress::a", &(1_i32, "a".to_owned())).unwrap();
    assert!(matches!(events.poll(), Err(RunError::TypeMismatch { .. })));
}

/// A method that dispatches events.
type Dispatch = fn(&mut Events<'_>) -> Result<(), RunError>;

#[test]
fn an_unhandled_error_event_ends_every_dispatch() {
    let cluster = TestCluster::new();
    let (one, two) = (cluster.worker("one"), cluster.worker("two"));
    let (mut events, mut other) = (one.events().unwrap(), two.events().unwrap());
    let dispatches: [Dispatch; 4] = [
        |events| events.run(),
        |events| events.run_for(LONG).map(drop),
        |events| events.poll().map(drop),
        |events| events.wait_for::<u32>("n").map(drop),
    ];
    for dispatch in dispatches {
        other.emit("error", &opened(7)).unwrap();
        other.emit("n", &1_u32).unwrap();
        let error = dispatch(&mut events).unwrap_err();
        let text = error.to_string();
        let RunError::Unheard { sender, type_name } = error else { panic!("{error}") };
        assert_eq!(sender, two.id());
        assert!(type_name.ends_with("Opened"), "{type_name}");
        assert!(text.contains(&format!("worker {sender} emitted it with a")), "{text}");
        // The error is returned once. The next dispatch continues after it.
        assert_eq!(events.poll().unwrap(), 1);
    }
    // The emitter gets the event too.
    assert!(matches!(other.poll(), Err(RunError::Unheard { sender, .. }) if sender == two.id()));
}

#[test]
fn the_packet_of_an_unhandled_error_event_is_released() {
    let cluster = TestCluster::new();
    let (one, two) = (cluster.worker("one"), cluster.worker("two"));
    let (mut events, mut other) = (one.events().unwrap(), two.events().unwrap());
    // More than the ring holds.
    for _ in 0..30 {
        for _ in 0..1000 {
            other.try_emit("error", &[0_u64; 8]).unwrap();
        }
        for events in [&mut events, &mut other] {
            let unheard = || matches!(events.poll(), Err(RunError::Unheard { .. }));
            assert_eq!(std::iter::repeat_with(unheard).take_while(|&is_one| is_one).count(), 1000);
        }
    }
}

#[test]
fn an_error_event_is_delivered_to_its_handlers() {
    let (cluster, log) = (TestCluster::new(), Log::default());
    let one = cluster.worker("one");
    let mut events = one.events().unwrap();
    let emit = |events: &mut Events<'_>| {
        events.emit("error", &1_u32).unwrap();
        events.poll()
    };
    for name in ["error", "*", "**"] {
        let handler = events.on::<u32>(name, |_, context| log.say(context.event()));
        assert_eq!(emit(&mut events).unwrap(), 1, "{name}");
        assert_eq!(log.take(), "error");
        assert!(events.off(handler));
    }
    // A once handler handles one event, and not the next one.
    events.once::<u32>("error", |_, _| log.say("once"));
    assert_eq!(emit(&mut events).unwrap(), 1);
    assert!(matches!(emit(&mut events), Err(RunError::Unheard { .. })));
    // A handler that expects another type does not count as a handler for the event.
    let mismatched = events.on::<Opened>("error", |_, _| log.say("never"));
    assert!(matches!(emit(&mut events), Err(RunError::TypeMismatch { .. })));
    assert_eq!((log.take(), events.poll().unwrap()), ("once".to_owned(), 0));
    assert!(events.off(mismatched));
    // A `wait_for` counts as a handler.
    events.emit("error", &5_u32).unwrap();
    assert_eq!(events.wait_for::<u32>("error").unwrap(), 5);
    // A name that only contains or starts with `error` is no error event.
    events.emit("a::error", &1_u32).unwrap();
    events.emit("errors", &1_u32).unwrap();
    assert_eq!(events.poll().unwrap(), 2);
}

#[test]
fn an_unhandled_error_event_goes_to_the_error_handler() {
    let (cluster, log) = (TestCluster::new(), Log::default());
    let (one, two) = (cluster.worker("one"), cluster.worker("two"));
    let mut events = one.events().unwrap();
    events.on_error(|error, context| {
        let RunError::Unheard { sender, .. } = error else { panic!("{error}") };
        assert_eq!(*sender, context.sender());
        log.say(format!("{} of {sender}", context.event()));
    });
    two.events().unwrap().emit("error", &1_u32).unwrap();
    assert_eq!(events.poll().unwrap(), 1);
    assert_eq!(log.take(), format!("error of {}", two.id()));
    events.on::<u32>("error", |_, _| log.say("heard"));
    events.emit("error", &1_u32).unwrap();
    assert_eq!(events.poll().unwrap(), 1);
    assert_eq!(log.take(), "heard", "the error handler ran too");
}

#[test]
fn lost_events_are_reported_as_an_error() {
    let cluster = TestCluster::new();
    let (one, two) = (cluster.dropping("one"), cluster.worker("two"));
    let (mut slow, mut fast) = (one.events().unwrap(), two.events().unwrap());
    let total = 100_000_u64;
    for number in 0..total {
        fast.emit("n", &number).unwrap();
    }
    let mut seen = 0;
    let mut missed = 0;
    loop {
        match slow.poll() {
            Ok(0) => break,
            Ok(count) => seen += count as u64,
            Err(RunError::Missed(count)) => missed += count,
            Err(error) => panic!("{error}"),
        }
    }
    assert!(missed > 0);
    assert_eq!(seen + missed, total);
}

#[test]
fn a_panic_leaves_the_dispatch_and_releases_the_packet() {
    let (cluster, log) = (TestCluster::new(), Log::default());
    let (one, two) = (cluster.worker("one"), cluster.worker("two"));
    let (mut events, mut other) = (one.events().unwrap(), two.events().unwrap());
    events.try_on::<u32>("n", |_, _| failing("before it"));
    events.on::<u32>("n", |number, _| assert!(*number != 0, "on purpose"));
    events.on::<u32>("n", |_, _| log.say("behind"));
    other.emit("n", &0_u32).unwrap();
    assert!(catch_unwind(AssertUnwindSafe(|| events.run())).is_err());
    assert_eq!(log.take(), "");
    assert!(
        matches!(events.poll(), Err(RunError::Handler { .. })),
        "the earlier error must be returned"
    );
    assert_eq!(events.poll().unwrap(), 0, "the event was delivered again");
    // No packet is held, so the ring wraps freely.
    for _ in 0..30 {
        for _ in 0..1000 {
            other.try_emit("x", &[0_u64; 8]).unwrap();
        }
        events.poll().unwrap();
        other.poll().unwrap();
    }
}

// ── Emitting ───────────────────────────────────────────────────────────────────────────────────

#[test]
fn events_emitted_by_a_handler_wait_for_the_next_poll() {
    let (cluster, log) = (TestCluster::new(), Log::default());
    let one = cluster.worker("one");
    let mut events = one.events().unwrap();
    events.on::<u32>("n", |number, context| {
        log.say(format!("n{number}"));
        context.emit("n", &(number.to_native() + 1)).unwrap();
    });
    events.on::<u32>("n", |_, _| log.say("end"));
    events.emit("n", &0_u32).unwrap();
    for number in 0..3 {
        assert_eq!(events.poll().unwrap(), 1);
        assert_eq!(log.take(), format!("n{number} end"));
    }
}

/// Emits until an error is returned.
fn fill<E>(mut emit: impl FnMut() -> Result<(), E>) -> E {
    (0..100_000).find_map(|_| emit().err()).expect("emitting never failed")
}

#[test]
fn an_emitter_blocked_by_its_own_backlog_gets_an_error() {
    let cluster = TestCluster::new();
    let one = cluster.worker("one");
    let mut refused = 0;
    let mut events = one.events().unwrap();
    let outside = fill(|| events.emit("n", &[0_u64; 8]));
    assert!(matches!(outside, EmitError::OwnBacklog), "{outside}");
    events.once::<[u64; 8]>("n", |_, context| {
        // The handler holds one event, and all others are behind it.
        let within = fill(|| context.emit("n", &[0_u64; 8]));
        assert!(matches!(within, EmitError::OwnBacklog), "{within}");
        refused += 1;
    });
    assert!(events.poll().unwrap() > 1);
    events.emit("n", &[0_u64; 8]).unwrap();
    drop(events);
    assert_eq!(refused, 1);
}

/// A worker that only emits has no backlog of its own: several rings full of events are neither
/// an error nor a wait. It emits before anybody listens, and beside a listener that dispatches.
#[test]
fn a_worker_that_only_emits_never_waits_for_itself() {
    let cluster = TestCluster::new();
    let (one, two) = (cluster.worker("one"), cluster.worker("two"));
    let mut emitter = one.emitter().unwrap();
    let large = vec![0_u8; 100_000];
    for _ in 0..50 {
        emitter.emit("early", &large).unwrap();
        emitter.try_emit("early", &large).unwrap();
        emitter.emit_timeout("early", &large, LONG).unwrap();
    }
    let mut heard = 0;
    let mut events = two.events().unwrap();
    events.on::<Vec<u8>>("late", |_, context| {
        assert_eq!(context.sender(), one.id());
        heard += 1;
    });
    for _ in 0..50 {
        emitter.emit("late", &large).unwrap();
        assert_eq!(events.poll().unwrap(), 1);
    }
    assert!(matches!(emitter.emit("*", &large), Err(EmitError::BadName { .. })));
    // A listener that does not dispatch is named, and is not this emitter.
    let error = fill(|| emitter.try_emit("late", &large));
    assert!(matches!(error, TryEmitError::Full { .. }), "{error}");
    // It may move to another thread.
    std::thread::spawn(move || drop(emitter)).join().unwrap();
    drop(events);
    assert_eq!(heard, 50);
}

#[test]
fn a_full_ring_names_the_slow_worker() {
    let cluster = TestCluster::new();
    let (one, two) = (cluster.worker("one"), cluster.worker("two"));
    let (mut slow, mut fast) = (one.events().unwrap(), two.events().unwrap());
    let error = loop {
        match fast.try_emit("n", &[0_u64; 8]) {
            Ok(()) => drop(fast.poll().unwrap()),
            Err(error) => break error,
        }
    };
    let by = WaitingFor::Subscriber { pid: std::process::id() };
    let worker = format!("a worker in process {} has a backlog", std::process::id());
    assert!(matches!(error, TryEmitError::Full { waiting_for } if waiting_for == by), "{error}");
    let text =
        format!("ring of events full: {worker}; call poll or run in that worker, drop its Events");
    assert!(error.to_string().starts_with(&text), "{error}");
    let error = fast.emit_timeout("n", &[0_u64; 8], SHORT).unwrap_err();
    assert!(
        matches!(error, EmitTimeoutError::Timeout { waiting_for } if waiting_for == by),
        "{error}"
    );
    let text = format!("ring of events full until the timeout: {worker}");
    assert!(error.to_string().starts_with(&text), "{error}");
    std::thread::scope(|scope| {
        let emits = scope.spawn(|| emit_once(&two));
        assert!(slow.poll().unwrap() > 0);
        emits.join().unwrap();
    });
}

/// Emits once, waiting for room.
fn emit_once(worker: &Worker) {
    let mut events = worker.events().unwrap();
    events.emit("n", &[0_u64; 8]).unwrap();
}

/// Each worker blocks the other. The slower worker gets the error and continues.
#[test]
fn two_handlers_that_fill_the_ring_do_not_deadlock() {
    let cluster = TestCluster::new();
    let both_listen = Barrier::new(2);
    let fill_and_stop = |name: &str| {
        let worker = cluster.worker(name);
        let mut events = worker.events().unwrap();
        events.on::<u32>("go", |_, context| {
            let error = fill(|| context.emit("n", &[0_u64; 8]));
            assert!(matches!(error, EmitError::OwnBacklog), "{error}");
            context.stop();
        });
        both_listen.wait();
        if name == "one" {
            events.emit("go", &1_u32).unwrap();
        }
        events.run().unwrap();
    };
    std::thread::scope(|scope| {
        scope.spawn(|| fill_and_stop("one"));
        scope.spawn(|| fill_and_stop("two"));
    });
}

#[test]
fn an_event_that_is_too_large_is_rejected_with_the_limit() {
    let cluster = TestCluster::new();
    let one = cluster.worker("one");
    let mut events = one.events().unwrap();
    let error = events.emit("n", &vec![0_u8; 1 << 22]).unwrap_err();
    assert!(matches!(error, EmitError::TooLarge { needed, limit } if needed > limit), "{error}");
}

#[test]
fn invalid_event_names_are_rejected() {
    let cluster = TestCluster::new();
    let one = cluster.worker("one");
    let mut events = one.events().unwrap();
    let endless = "n".repeat(1 << 20);
    for (name, why) in
        [("", "empty"), ("a::*", "asterisk"), ("**", "asterisk"), (&endless, "1024 bytes")]
    {
        let assert_said = |said: String| assert!(said.len() < 200 && said.contains(why), "{said}");
        let error = events.emit(name, &1_u32).unwrap_err();
        assert_said(error.to_string());
        assert!(matches!(error, EmitError::BadName { .. }), "{error}");
        let error = events.try_emit(name, &1_u32).unwrap_err();
        assert_said(error.to_string());
        assert!(matches!(error, TryEmitError::BadName { .. }), "{error}");
        let error = events.emit_timeout(name, &1_u32, LONG).unwrap_err();
        assert_said(error.to_string());
        assert!(matches!(error, EmitTimeoutError::BadName { .. }), "{error}");
    }
    events.on::<u32>("n", move |_, context| {
        assert!(matches!(context.emit("", &1_u32), Err(EmitError::BadName { .. })));
        assert!(matches!(context.try_emit("a::*", &1_u32), Err(TryEmitError::BadName { .. })));
    });
    events.emit("n", &1_u32).unwrap();
    assert_eq!(events.poll().unwrap(), 1, "another event was delivered");
    events.emit("thread*", &1_u32).unwrap();
    events.emit(&"n".repeat(1024), &1_u32).unwrap();
    assert_eq!(events.poll().unwrap(), 2);
}

#[test]
fn a_handler_with_an_invalid_name_is_an_error_at_the_next_dispatch() {
    let cluster = TestCluster::new();
    let one = cluster.worker("one");
    let mut events = one.events().unwrap();
    let endless = "n".repeat(1025);
    for name in ["", &endless] {
        let added = [
            events.on::<u32>(name, |_, _| {}),
            events.try_on::<u32>(name, |_, _| Ok(())),
            events.once::<u32>(name, |_, _| {}),
            events.prepend::<u32>(name, |_, _| {}),
            events.prepend_once::<u32>(name, |_, _| {}),
            events.try_once::<u32>(name, |_, _| Ok(())),
        ];
        for handler in added {
            let error = events.poll().unwrap_err();
            assert!(matches!(error, RunError::BadName { .. }), "{error}");
            assert!(!events.off(handler), "an invalid handler was added");
        }
        assert_eq!(events.poll().unwrap(), 0);
        let error = events.wait_for::<u32>(name).unwrap_err();
        assert!(matches!(error, RunError::BadName { .. }), "{error}");
    }
    assert_eq!(events.event_names(), [""; 0]);
    // A handler that adds such a handler causes this error too.
    events.once::<u32>("n", |_, context| {
        context.on::<u32>("", |_, _| {});
    });
    events.emit("n", &1_u32).unwrap();
    let error = events.run().unwrap_err();
    let RunError::BadName { name, reason } = error else { panic!("{error}") };
    assert_eq!((&*name, reason), ("", "it is empty"));
    // An error handler gets the error.
    let mut heard = 0;
    events.on_error(|error, _| {
        assert!(matches!(error, RunError::BadName { .. }), "{error}");
        heard += 1;
    });
    events.on::<u32>("", |_, _| {});
    events.poll().unwrap();
    drop(events);
    assert_eq!(heard, 1);
}

#[test]
fn the_first_opener_chooses_the_overflow() {
    let cluster = TestCluster::new();
    let (one, two) = (cluster.worker("one"), cluster.dropping("two"));
    let first = one.events().unwrap();
    let error = two.events().map(drop).unwrap_err();
    let OpenError::SettingsMismatch { setting, .. } = error else { panic!("{error}") };
    assert_eq!(setting, "overflow");
    drop(first);
}

// ── Dispatching ────────────────────────────────────────────────────────────────────────────────

#[test]
fn run_ends_after_the_event_that_stops_it() {
    let (cluster, log) = (TestCluster::new(), Log::default());
    let one = cluster.worker("one");
    let mut events = one.events().unwrap();
    events.on::<u32>("n", |number, context| {
        log.say(number.to_string());
        if number.to_native() % 2 == 1 {
            context.stop();
        }
    });
    events.on::<u32>("n", |_, _| log.say("after"));
    for number in 0..4_u32 {
        events.emit("n", &number).unwrap();
    }
    events.run().unwrap();
    assert_eq!(log.take(), "0 after 1 after");
    assert_eq!(events.run_for(LONG).unwrap(), 2);
    assert_eq!(log.take(), "2 after 3 after");
    assert_eq!(events.run_for(SHORT).unwrap(), 0);
}

#[test]
fn an_event_wakes_run() {
    let cluster = TestCluster::new();
    let (one, two) = (cluster.worker("one"), cluster.worker("two"));
    let mut events = one.events().unwrap();
    events.on::<u32>("n", |number, context| {
        context.emit("answer", &number.to_native()).unwrap();
        if *number == 100 {
            context.stop();
        }
    });
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut asks = two.events().unwrap();
            for number in 1..=100_u32 {
                asks.emit("n", &number).unwrap();
                assert_eq!(asks.wait_for::<u32>("answer").unwrap(), number);
            }
        });
        events.run().unwrap();
    });
}

#[test]
fn wait_for_returns_an_event_and_runs_handlers_meanwhile() {
    let (cluster, log) = (TestCluster::new(), Log::default());
    let one = cluster.worker("one");
    let mut events = one.events().unwrap();
    events.on::<u32>("n", |_, context| {
        log.say("n");
        context.stop();
    });
    events.on::<Opened>("open", |_, _| log.say("open"));
    events.emit("n", &1_u32).unwrap();
    events.emit("open", &opened(5)).unwrap();
    events.emit("n", &2_u32).unwrap();
    let door: Opened = events.wait_for("open").unwrap();
    assert_eq!((door.door, &*door.by), (5, "ada"));
    assert_eq!(log.take(), "n open", "wait_for must end at its event and ignore stop");
    assert!(events.wait_for_timeout::<Opened>("open", SHORT).unwrap().is_none());
    assert_eq!(log.take(), "n");
    events.emit("n", &3_u32).unwrap();
    events.emit("open", &opened(6)).unwrap();
    assert!(
        events.wait_for_timeout::<Opened>("open", LONG).unwrap().is_some(),
        "wait_for must ignore stop"
    );
    assert_eq!(log.take(), "n open");
    events.emit("door::7", &(7_u32, 8_u32)).unwrap();
    assert_eq!(events.wait_for_timeout("door::*", LONG).unwrap(), Some((7_u32, 8_u32)));
    events.emit("open", &Closed { door: 1 }).unwrap();
    let error = events.wait_for::<Opened>("open").map(drop).unwrap_err();
    assert!(matches!(error, RunError::TypeMismatch { .. }), "{error}");
}

#[test]
fn wait_for_returns_the_event_before_its_error() {
    let cluster = TestCluster::new();
    let one = cluster.worker("one");
    let mut events = one.events().unwrap();
    events.try_on::<u32>("n", |_, _| failing("no"));
    events.emit("n", &3_u32).unwrap();
    assert_eq!(events.wait_for::<u32>("n").unwrap(), 3);
    assert!(matches!(events.poll(), Err(RunError::Handler { .. })));
}

// ── Workers ────────────────────────────────────────────────────────────────────────────────────

fn describe(change: &WorkerChange) -> String {
    match change {
        WorkerChange::Joined(worker) => format!("+{}", worker.name),
        WorkerChange::Left(worker) => format!("-{}", worker.name),
        WorkerChange::Died(worker) => format!("x{}", worker.name),
        other => panic!("{other:?}"),
    }
}

#[test]
fn worker_handlers_get_joins_leaves_and_deaths() {
    let (cluster, log) = (TestCluster::new(), Log::default());
    let one = cluster.worker("one");
    let mut events = one.events().unwrap();
    let _before = cluster.worker("before");
    events.on_worker(|change, context| {
        log.say(describe(change));
        context.stop();
    });
    let two = cluster.worker("two");
    events.run().unwrap();
    assert_eq!(log.take(), "+two");
    drop(two);
    events.run().unwrap();
    assert_eq!(log.take(), "-two");
    let mut peer = cluster.peer("idle", "three");
    peer.expect("joined");
    events.run().unwrap();
    assert_eq!(log.take(), "+three");
    peer.kill();
    events.run().unwrap();
    assert_eq!(log.take(), "xthree");
}

#[test]
fn events_of_a_worker_come_before_its_exit() {
    let (cluster, log) = (TestCluster::new(), Log::default());
    let one = cluster.worker("one");
    let mut events = one.events().unwrap();
    events.on::<u32>("n", |number, _| log.say(number.to_string()));
    events.on_worker(|change, _| log.say(describe(change)));
    let two = cluster.worker("two");
    for number in 0..3_u32 {
        two.events().unwrap().emit("n", &number).unwrap();
    }
    drop(two);
    assert_eq!(events.poll().unwrap(), 3);
    // The worker joined and left between two polls, so neither is reported.
    assert_eq!(log.take(), "0 1 2");
    let two = cluster.worker("two");
    events.poll().unwrap();
    assert_eq!(log.take(), "+two");
    for number in 0..200_u32 {
        two.events().unwrap().emit("n", &number).unwrap();
    }
    drop(two);
    events.poll().unwrap();
    let lines = log.take();
    assert!(lines.starts_with("0 1 2 ") && lines.ends_with(" 199 -two"), "{lines}");
}

// ── Across processes ───────────────────────────────────────────────────────────────────────────

/// Entry point of the child processes; does nothing without a role.
#[test]
fn peer() {
    let Some(role) = peer::role() else { return };
    match role.name.as_str() {
        "idle" => idle(&role),
        "echo" => echo(&role),
        "hold" => hold(&role),
        "spin" => spin(&role),
        other => panic!("unknown role: {other}"),
    }
}

/// Arguments: cluster, name.
fn idle(role: &Role) {
    let _worker = Worker::join(&role.arguments[0], &role.arguments[1]).unwrap();
    peer::say("joined");
    peer::hear();
}

/// Replies to each opening with a closing until it gets `stop`. Arguments: cluster, name.
fn echo(role: &Role) {
    let worker = Worker::join(&role.arguments[0], &role.arguments[1]).unwrap();
    let mut events = worker.events().unwrap();
    events.on::<Opened>("threadA::open", |door, context| {
        assert_eq!(door.line(), format!("ada opened {}", door.door));
        context.emit("shut", &Closed { door: door.door.to_native() }).unwrap();
    });
    events.on_worker(|_, _| {});
    events.once::<u8>("stop", |_, context| context.stop());
    peer::say("listens");
    events.run().unwrap();
}

/// Blocks in a handler forever. Arguments: cluster, name.
fn hold(role: &Role) {
    let worker = Worker::join(&role.arguments[0], &role.arguments[1]).unwrap();
    let mut events = worker.events().unwrap();
    events.on::<u32>("n", |_, _| {
        peer::say("holds");
        peer::hear();
    });
    peer::say("listens");
    events.run().unwrap();
}

#[test]
fn workers_in_other_processes_receive_and_answer_in_order() {
    let cluster = TestCluster::new();
    let one = cluster.worker("one");
    let mut peers = ["two", "three"].map(|name| cluster.peer("echo", name));
    peers.iter_mut().for_each(|peer| peer.expect("listens"));
    let ids = ["two", "three"].map(|name| one.worker(name).unwrap().id);
    let seen = RefCell::new([Vec::new(), Vec::new()]);
    let mut events = one.events().unwrap();
    events.on::<Closed>("shut", |shut, context| {
        let from = ids.iter().position(|&id| id == context.sender()).unwrap();
        seen.borrow_mut()[from].push(shut.door.to_native());
        if seen.borrow().iter().all(|doors| doors.len() == 500) {
            context.stop();
        }
    });
    for door in 0..500 {
        events.emit("threadA::open", &opened(door)).unwrap();
    }
    events.run().unwrap();
    for doors in seen.borrow().iter() {
        assert!(doors.iter().copied().eq(0..500));
    }
    events.emit("stop", &0_u8).unwrap();
    peers.into_iter().for_each(Peer::finish);
    drop(events);
}

#[test]
fn events_are_ready_while_a_dispatch_has_work() {
    let (cluster, log) = (TestCluster::new(), Log::default());
    let (one, two) = (cluster.worker("one"), cluster.worker("two"));
    let mut numbers = one.subscriber::<u64>("numbers").unwrap();
    let mut events = one.events().unwrap();
    let mut ready = |events: &mut Events<'_>| match try_select(&mut [&mut numbers, events]) {
        None => false,
        Some(1) => true,
        other => panic!("{other:?}"),
    };
    assert!(!ready(&mut events));
    // An event, with or without a handler.
    two.events().unwrap().emit("n", &1_u32).unwrap();
    assert!(ready(&mut events) && ready(&mut events), "try_select must not receive the event");
    assert_eq!(events.poll().unwrap(), 1);
    assert!(!ready(&mut events));
    // Errors that were not returned yet.
    events.try_on::<u32>("n", |_, _| failing("first"));
    events.try_on::<u32>("n", |_, _| failing("second"));
    events.emit("n", &1_u32).unwrap();
    for _ in 0..2 {
        assert!(ready(&mut events));
        assert!(matches!(events.poll(), Err(RunError::Handler { .. })));
    }
    assert!(!ready(&mut events));
    // Changes of workers, if there is a handler for them.
    let guest = cluster.worker("guest");
    assert!(!ready(&mut events));
    events.on_worker(|change, _| log.say(describe(change)));
    assert!(!ready(&mut events), "changes from before the handler were reported");
    drop(guest);
    assert!(ready(&mut events));
    assert_eq!((events.poll().unwrap(), &*log.take()), (0, "-guest"));
    assert!(!ready(&mut events));
}

#[test]
fn lost_events_make_events_ready() {
    let cluster = TestCluster::new();
    let (one, two) = (cluster.dropping("one"), cluster.worker("two"));
    let (mut slow, mut fast) = (one.events().unwrap(), two.events().unwrap());
    for number in 0..100_000_u64 {
        fast.emit("n", &number).unwrap();
    }
    assert_eq!(select(&mut [&mut slow]), 0);
    assert!(matches!(slow.poll(), Err(RunError::Missed(_))));
    while try_select(&mut [&mut slow]).is_some() {
        assert!(slow.poll().unwrap() > 0, "selected without an event");
    }
}

/// Waits for an event and then for room, spinning, and then for an event, parked. Arguments:
/// cluster, name.
fn spin(role: &Role) {
    let worker = Worker::join(&role.arguments[0], &role.arguments[1]).unwrap();
    let mut events = worker.events().unwrap();
    events.set_wait(Wait::spin());
    peer::say(&rustix::thread::gettid().as_raw_pid().to_string());
    events.wait_for::<u8>("go").unwrap();
    while events.try_emit("n", &[0_u64; 8]).is_ok() {
        events.poll().unwrap();
    }
    peer::say("waits for room");
    events.emit("n", &[0_u64; 8]).unwrap();
    events.set_wait(Wait::park());
    peer::say("parks");
    events.wait_for::<u8>("go").unwrap();
}

#[test]
fn the_wait_strategy_of_events_can_be_set() {
    let cluster = TestCluster::new();
    let one = cluster.worker("one");
    let mut events = one.events().unwrap();
    let mut peer = cluster.peer("spin", "two");
    let path = format!("/proc/{}/task/{}/syscall", peer.pid(), peer.hear());
    let sleeps = || {
        let line = fs::read_to_string(&path).unwrap_or_default();
        line.starts_with("449 ") || line.starts_with(&format!("{} ", libc::SYS_futex))
    };
    let is_observable = fs::read_to_string(&path).is_ok();
    let spins = || {
        for _ in 0..100 {
            assert!(!sleeps(), "the thread must spin");
            std::thread::sleep(Duration::from_millis(1));
        }
    };
    spins();
    events.emit("go", &0_u8).unwrap();
    peer.expect("waits for room");
    spins();
    assert!(events.poll().unwrap() > 0);
    peer.expect("parks");
    if is_observable {
        wait_until("the thread sleeps", sleeps);
    }
    events.emit("go", &0_u8).unwrap();
    peer.finish();
}

/// With a worker handler: two words, one sleep.
#[test]
fn run_waits_for_events_and_workers_in_one_sleep() {
    let cluster = TestCluster::new();
    let one = cluster.worker("one");
    let mut events = one.events().unwrap();
    let mut peer = cluster.peer("echo", "two");
    peer.expect("listens");
    let sleeps = || {
        let tasks = fs::read_dir(format!("/proc/{}/task", peer.pid())).unwrap();
        let calls =
            tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("syscall")).ok());
        let calls: Vec<String> = calls.filter(|line| line.starts_with("449 ")).collect();
        calls.len() == 1 && calls[0].split_whitespace().nth(2) == Some("0x2")
    };
    if fs::read_to_string(format!("/proc/{}/syscall", peer.pid())).is_err() {
        eprintln!("skipped: this system does not show what a thread waits for");
    } else {
        wait_until("the thread sleeps on two words", sleeps);
    }
    events.emit("threadA::open", &opened(1)).unwrap();
    assert_eq!(events.wait_for::<Closed>("shut").unwrap().door, 1);
    events.emit("stop", &0_u8).unwrap();
    peer.finish();
}

#[test]
fn a_worker_killed_in_a_handler_does_not_block() {
    let cluster = TestCluster::new();
    let one = cluster.worker("one");
    let mut events = one.events().unwrap();
    let mut peer = cluster.peer("hold", "two");
    peer.expect("listens");
    events.emit("n", &1_u32).unwrap();
    peer.expect("holds");
    let pid = peer.pid();
    let error = loop {
        match events.try_emit("x", &[0_u64; 8]) {
            Ok(()) => drop(events.poll().unwrap()),
            Err(error) => break error,
        }
    };
    let by = WaitingFor::Subscriber { pid };
    assert!(matches!(error, TryEmitError::Full { waiting_for } if waiting_for == by), "{error}");
    peer.kill();
    events.emit_timeout("x", &[0_u64; 8], Duration::from_secs(30)).unwrap();
}
