use super::super::WorkerId;
use super::super::context::Recorder;
use super::*;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// A handler that logs its name and then acts.
struct TestHandler(&'static str, Action);

type Action = Box<dyn FnMut(&mut Recorder<TestHandler>)>;

fn named(name: &'static str) -> TestHandler {
    TestHandler(name, Box::new(|_| {}))
}

fn acting(
    name: &'static str,
    act: impl FnMut(&mut Recorder<TestHandler>) + 'static,
) -> TestHandler {
    TestHandler(name, Box::new(act))
}

impl RecordChanges<TestHandler> for Recorder<TestHandler> {
    fn take_changes(&mut self) -> Vec<Change<TestHandler>> {
        self.drain()
    }
}

/// Records a handler that is added after the current event.
fn add(
    recorder: &mut Recorder<TestHandler>,
    event: &str,
    at: InsertAt,
    once: bool,
    handler: TestHandler,
) -> HandlerId {
    let (id, change) = recorder.register_for_event(event, at, once, handler);
    recorder.record(change);
    id
}

/// A registry and its recorder, as `Events` has them.
struct TestEvents {
    registry: HandlerList<TestHandler>,
    recorder: Recorder<TestHandler>,
}

impl TestEvents {
    fn new() -> Self {
        Self { registry: HandlerList::default(), recorder: Recorder::new(WorkerId(3)) }
    }

    fn add(&mut self, event: &str, at: InsertAt, once: bool, handler: TestHandler) -> HandlerId {
        let (id, change) = self.recorder.register_for_event(event, at, once, handler);
        self.registry.apply(change);
        id
    }

    fn on(&mut self, event: &str, handler: TestHandler) -> HandlerId {
        self.add(event, InsertAt::Back, false, handler)
    }

    fn once(&mut self, event: &str, handler: TestHandler) -> HandlerId {
        self.add(event, InsertAt::Back, true, handler)
    }

    fn prepend(&mut self, event: &str, handler: TestHandler) -> HandlerId {
        self.add(event, InsertAt::Front, false, handler)
    }

    fn add_for(&mut self, filter: Filter, handler: TestHandler) {
        let (_, change) = self.recorder.register(filter, handler);
        self.registry.apply([change]);
    }

    fn count(&self, event: &str) -> usize {
        self.registry.count(Trigger::Event(event))
    }

    /// Runs an event. Returns the names of the handlers that ran; `deaf` handlers do not.
    fn emit(&mut self, event: &str) -> String {
        let mut ran = Vec::new();
        self.registry.run(Trigger::Event(event), &mut self.recorder, |handler, recorder| {
            let TestHandler(name, act) = handler;
            if *name == "deaf" {
                return false;
            }
            ran.push(*name);
            act(recorder);
            true
        });
        ran.join(" ")
    }
}

#[test]
fn handlers_run_in_the_order_of_adding() {
    let mut events = TestEvents::new();
    events.on("open", named("a"));
    events.on("other", named("x"));
    events.on("open", named("b"));
    events.once("open", named("c"));
    events.on("open", named("d"));
    assert_eq!(events.emit("open"), "a b c d");
    assert_eq!(events.emit("open"), "a b d");
}

#[test]
fn prepended_handlers_run_first_the_latest_before_the_others() {
    let mut events = TestEvents::new();
    events.on("open", named("a"));
    events.prepend("open", named("b"));
    events.prepend("open", named("c"));
    events.on("open", named("d"));
    assert_eq!(events.emit("open"), "c b a d");
}

#[test]
fn a_handler_added_twice_runs_twice_and_is_removed_one_at_a_time() {
    let mut events = TestEvents::new();
    let first = events.on("open", named("a"));
    events.on("open", named("a"));
    assert_eq!(events.emit("open"), "a a");
    assert!(events.registry.remove(first));
    assert!(!events.registry.remove(first), "it was removed twice");
    assert_eq!(events.emit("open"), "a");
}

#[test]
fn an_event_without_handlers_runs_none() {
    let mut events = TestEvents::new();
    events.on("open", named("a"));
    assert_eq!(events.emit("closed"), "");
    assert_eq!(TestEvents::new().emit("open"), "");
}

#[test]
fn a_once_handler_is_removed_before_it_runs() {
    let mut events = TestEvents::new();
    events.once("open", acting("bad", |_| panic!("on purpose")));
    events.once("open", named("a"));
    let outcome = catch_unwind(AssertUnwindSafe(|| events.emit("open")));
    assert!(outcome.is_err());
    assert_eq!(
        events.count("open"),
        1,
        "the panicking handler must be gone, the other one must stay"
    );
    assert_eq!(events.emit("open"), "a");
    assert_eq!(events.emit("open"), "");
}

#[test]
fn a_once_handler_that_did_not_run_stays_in_place() {
    let mut events = TestEvents::new();
    events.once("**", named("deaf"));
    events.on("open", named("a"));
    assert_eq!(events.emit("open"), "a");
    assert_eq!(events.registry.names(), ["**", "open"]);
}

#[test]
fn a_handler_added_by_a_handler_runs_from_the_next_event() {
    let mut events = TestEvents::new();
    let mut is_first = true;
    events.on(
        "open",
        acting("a", move |recorder| {
            if std::mem::take(&mut is_first) {
                add(recorder, "open", InsertAt::Back, false, named("back"));
                add(recorder, "open", InsertAt::Front, false, named("front"));
                add(recorder, "open", InsertAt::Back, true, named("once"));
            }
        }),
    );
    events.on("open", named("b"));
    assert_eq!(events.emit("open"), "a b");
    assert_eq!(events.emit("open"), "front a b back once");
    assert_eq!(events.emit("open"), "front a b back");
}

#[test]
fn a_handler_removed_by_a_handler_still_runs_for_this_event() {
    let mut events = TestEvents::new();
    let later = events.on("open", named("later"));
    events.prepend("open", acting("a", move |recorder| recorder.record([Change::Remove(later)])));
    assert_eq!(events.emit("open"), "a later");
    assert_eq!(events.emit("open"), "a");
}

#[test]
fn a_handler_can_remove_itself() {
    let mut events = TestEvents::new();
    let itself = HandlerId(1);
    assert_eq!(
        events.on("open", acting("a", move |recorder| recorder.record([Change::Remove(itself)]))),
        itself
    );
    events.on("open", named("b"));
    assert_eq!(events.emit("open"), "a b");
    assert_eq!(events.emit("open"), "b");
}

#[test]
fn handlers_removed_by_name_still_run_for_this_event() {
    let mut events = TestEvents::new();
    events.on(
        "open",
        acting("a", |recorder| recorder.record([Change::RemoveAll("open".to_owned())])),
    );
    events.on("open", named("b"));
    events.on("closed", named("c"));
    assert_eq!(events.emit("open"), "a b");
    assert_eq!(events.emit("open"), "");
    assert_eq!(events.emit("closed"), "c");
}

#[test]
fn changes_are_applied_in_order() {
    let mut events = TestEvents::new();
    events.once(
        "open",
        acting("a", |recorder| {
            add(recorder, "open", InsertAt::Back, false, named("never"));
            recorder.record([Change::RemoveAll("open".to_owned())]);
            let gone = add(recorder, "open", InsertAt::Back, false, named("neither"));
            recorder.record([Change::Remove(gone)]);
            add(recorder, "open", InsertAt::Back, false, named("b"));
        }),
    );
    assert_eq!(events.emit("open"), "a");
    assert_eq!(events.emit("open"), "b");
}

#[test]
fn changes_before_a_panic_are_applied() {
    let mut events = TestEvents::new();
    let gone = events.on("open", named("gone"));
    events.on("open", acting("a", move |recorder| recorder.record([Change::Remove(gone)])));
    events.once("open", acting("b", |_| panic!("on purpose")));
    assert!(catch_unwind(AssertUnwindSafe(|| events.emit("open"))).is_err());
    assert_eq!(events.count("open"), 1);
    assert_eq!(events.emit("open"), "a");
}

#[test]
fn remove_all_removes_the_handlers_of_one_name() {
    let mut events = TestEvents::new();
    for name in ["open", "closed", "open", "*"] {
        events.on(name, named("a"));
    }
    assert_eq!(events.registry.remove_all("open"), 2);
    assert_eq!(events.registry.remove_all("open"), 0);
    assert_eq!(events.registry.names(), ["closed", "*"]);
}

#[test]
fn remove_every_removes_handlers_of_every_kind() {
    let mut events = TestEvents::new();
    events.on("open", named("a"));
    events.on("**", named("b"));
    events.add_for(Filter::Errors, named("e"));
    events.add_for(Filter::Workers, named("w"));
    assert_eq!((events.registry.remove_every(), events.registry.remove_every()), (4, 0));
    let act = |recorder: &mut Recorder<TestHandler>| {
        add(recorder, "open", InsertAt::Back, false, named("never"));
        recorder.record([Change::RemoveEvery]);
        add(recorder, "open", InsertAt::Back, false, named("later"));
    };
    events.on("open", acting("act", act));
    events.on("open", named("b"));
    assert_eq!(events.emit("open"), "act b");
    assert_eq!(events.emit("open"), "later");
}

#[test]
fn count_is_the_number_of_handlers_that_would_run() {
    let mut events = TestEvents::new();
    events.on("threadA::open", named("a"));
    events.once("threadA::open", named("b"));
    events.on("threadA::*", named("c"));
    events.on("**", named("d"));
    events.add_for(Filter::Errors, named("e"));
    assert_eq!(events.count("threadA::open"), 4);
    assert_eq!(events.count("threadA::closed"), 2);
    assert_eq!(events.count("threadB"), 1);
    assert_eq!(events.registry.count(Trigger::Error), 1);
    assert_eq!(events.registry.count(Trigger::Worker), 0);
    events.emit("threadA::open");
    assert_eq!(events.count("threadA::open"), 3);
}

#[test]
fn names_are_listed_once_each_in_order() {
    let mut events = TestEvents::new();
    for name in ["b", "a", "b", "**"] {
        events.on(name, named("x"));
    }
    events.add_for(Filter::Workers, named("y"));
    assert_eq!(events.registry.names(), ["b", "a", "**"]);
}

#[test]
fn patterns_and_names_run_in_one_order() {
    let mut events = TestEvents::new();
    events.on("**", named("all"));
    events.on("threadA::open", named("a"));
    events.on("threadA::*", named("A"));
    events.on("threadB::*", named("B"));
    assert_eq!(events.emit("threadA::open"), "all a A");
    assert_eq!(events.emit("threadB::open"), "all B");
    assert_eq!(events.emit("threadA::open::now"), "all");
}
