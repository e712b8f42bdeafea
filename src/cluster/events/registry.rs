//! Who hears what, and in which order: the list of handlers of one `Events`.
//!
//! It guarantees, as Node's `EventEmitter` does:
//!
//! - Handlers run in the order in which they were added; one that was prepended, before all others.
//! - An event runs the handlers that were there when it began: one that a handler adds waits for the
//!   next event, one that a handler removes still runs for this one.
//! - One that is to run once is taken out before it runs.
//!
//! And, where a handler can panic: what had been added and removed until then stays so.
//!
//! It does not know what a handler is, nor what an event carries.

use super::HandlerId;
use super::pattern::Pattern;

/// What a handler is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    /// Events of these names.
    Event(Pattern),
    /// What went wrong.
    Errors,
    /// What happens to workers.
    Workers,
}

/// What there is to hear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard<'a> {
    /// An event of this name.
    Event(&'a str),
    /// Something went wrong.
    Error,
    /// Something happened to a worker.
    Worker,
}

impl Subject {
    /// Whether it is about this.
    fn is_about(&self, heard: Heard<'_>) -> bool {
        match (self, heard) {
            (Self::Event(pattern), Heard::Event(name)) => pattern.fits(name),
            (Self::Errors, Heard::Error) | (Self::Workers, Heard::Worker) => true,
            _ => false,
        }
    }
}

/// A handler's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Behind all that are there.
    Back,
    /// Before all that are there.
    Front,
}

/// A handler that is or will be in the list.
struct Entry<H> {
    id: HandlerId,
    subject: Subject,
    once: bool,
    handler: H,
}

/// The handlers, in the order in which they run.
pub(crate) struct Registry<H> {
    list: Vec<Entry<H>>,
    changes: Changes<H>,
}

/// What handlers want changed, in their order: it is done when the event is over.
pub(crate) struct Changes<H> {
    next: u64,
    list: Vec<Change<H>>,
}

enum Change<H> {
    Add(Entry<H>, Place),
    Remove(HandlerId),
    RemoveAll(String),
    RemoveEvery,
}

impl<H> Default for Registry<H> {
    fn default() -> Self {
        Self { list: Vec::new(), changes: Changes { next: 0, list: Vec::new() } }
    }
}

impl<H> Changes<H> {
    /// Adds a handler.
    pub(crate) fn add(
        &mut self,
        subject: Subject,
        place: Place,
        once: bool,
        handler: H,
    ) -> HandlerId {
        let id = self.nobody();
        self.list.push(Change::Add(Entry { id, subject, once, handler }, place));
        id
    }

    /// The id of a handler that is not added.
    pub(crate) fn nobody(&mut self) -> HandlerId {
        self.next += 1;
        HandlerId(self.next)
    }

    /// Removes a handler.
    pub(crate) fn remove(&mut self, id: HandlerId) {
        self.list.push(Change::Remove(id));
    }

    /// Removes all handlers that were added for an event by this name or pattern.
    pub(crate) fn remove_all(&mut self, event: &str) {
        self.list.push(Change::RemoveAll(event.to_owned()));
    }

    /// Removes every handler there is.
    pub(crate) fn remove_every(&mut self) {
        self.list.push(Change::RemoveEvery);
    }
}

impl<H> Registry<H> {
    /// Adds a handler.
    pub(crate) fn add(
        &mut self,
        subject: Subject,
        place: Place,
        once: bool,
        handler: H,
    ) -> HandlerId {
        let id = self.changes.add(subject, place, once, handler);
        self.settle();
        id
    }

    /// The id of a handler that is not added.
    pub(crate) fn nobody(&mut self) -> HandlerId {
        self.changes.nobody()
    }

    /// Removes a handler; `false`: it is not there.
    pub(crate) fn remove(&mut self, id: HandlerId) -> bool {
        let found = self.list.iter().position(|entry| entry.id == id);
        found.map(|index| self.list.remove(index)).is_some()
    }

    /// Removes all handlers that were added for an event by this name or pattern, and says how
    /// many there were.
    pub(crate) fn remove_all(&mut self, event: &str) -> usize {
        let before = self.list.len();
        self.list.retain(|entry| entry.event() != Some(event));
        before - self.list.len()
    }

    /// Removes every handler there is, whatever it is about, and says how many there were.
    pub(crate) fn remove_every(&mut self) -> usize {
        std::mem::take(&mut self.list).len()
    }

    /// How many handlers this would run.
    pub(crate) fn count(&self, heard: Heard<'_>) -> usize {
        self.list.iter().filter(|entry| entry.subject.is_about(heard)).count()
    }

    /// The names and patterns of events that there are handlers for, each once, in the order of
    /// the list.
    pub(crate) fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for event in self.list.iter().filter_map(Entry::event) {
            if !names.contains(&event) {
                names.push(event);
            }
        }
        names
    }

    /// Gives each handler that is about this to `run`, in order, which says whether it ran: one that is
    /// to run once and did not stays.
    /// What they want changed is changed afterwards, also if one of them panics.
    pub(crate) fn run(
        &mut self,
        heard: Heard<'_>,
        mut run: impl FnMut(&mut H, &mut Changes<H>) -> bool,
    ) {
        let settling = Settling(self);
        let Self { list, changes } = &mut *settling.0;
        let mut index = 0;
        while let Some(entry) = list.get_mut(index) {
            if entry.subject.is_about(heard) {
                if entry.once {
                    let mut entry = list.remove(index);
                    if run(&mut entry.handler, changes) {
                        continue;
                    }
                    list.insert(index, entry);
                } else {
                    run(&mut entry.handler, changes);
                }
            }
            index += 1;
        }
    }

    fn settle(&mut self) {
        for change in std::mem::take(&mut self.changes.list) {
            match change {
                Change::Add(entry, Place::Back) => self.list.push(entry),
                Change::Add(entry, Place::Front) => self.list.insert(0, entry),
                Change::Remove(id) => drop(self.remove(id)),
                Change::RemoveAll(event) => _ = self.remove_all(&event),
                Change::RemoveEvery => _ = self.remove_every(),
            }
        }
    }
}

impl<H> Entry<H> {
    /// The name or pattern of an event that it was added for.
    fn event(&self) -> Option<&str> {
        match &self.subject {
            Subject::Event(pattern) => Some(pattern.text()),
            Subject::Errors | Subject::Workers => None,
        }
    }
}

/// Does what handlers want changed when it is dropped.
struct Settling<'a, H>(&'a mut Registry<H>);

impl<H> Drop for Settling<'_, H> {
    fn drop(&mut self) {
        self.0.settle();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    /// A handler that says its name, and does something.
    type Act = Box<dyn FnMut(&mut Changes<Tale>)>;
    struct Tale(&'static str, Act);

    fn tale(name: &'static str) -> Tale {
        Tale(name, Box::new(|_| {}))
    }

    fn acting(name: &'static str, act: impl FnMut(&mut Changes<Tale>) + 'static) -> Tale {
        Tale(name, Box::new(act))
    }

    fn subject(event: &str) -> Subject {
        Subject::Event(Pattern::new(event).unwrap())
    }

    impl Registry<Tale> {
        fn on(&mut self, event: &str, tale: Tale) -> HandlerId {
            self.add(subject(event), Place::Back, false, tale)
        }

        fn once(&mut self, event: &str, tale: Tale) -> HandlerId {
            self.add(subject(event), Place::Back, true, tale)
        }

        fn prepend(&mut self, event: &str, tale: Tale) -> HandlerId {
            self.add(subject(event), Place::Front, false, tale)
        }

        /// The handlers that an event ran.
        fn emit(&mut self, event: &str) -> String {
            let mut ran = Vec::new();
            self.run(Heard::Event(event), |Tale(name, act), changes| {
                let is_for_it = *name != "deaf";
                if is_for_it {
                    ran.push(*name);
                    act(changes);
                }
                is_for_it
            });
            ran.join(" ")
        }
    }

    #[test]
    fn handlers_run_in_the_order_of_adding() {
        let mut registry = Registry::default();
        registry.on("open", tale("a"));
        registry.on("other", tale("x"));
        registry.on("open", tale("b"));
        registry.once("open", tale("c"));
        registry.on("open", tale("d"));
        assert_eq!(registry.emit("open"), "a b c d");
        assert_eq!(registry.emit("open"), "a b d");
    }

    #[test]
    fn prepended_ones_run_first_the_last_of_them_before_the_others() {
        let mut registry = Registry::default();
        registry.on("open", tale("a"));
        registry.prepend("open", tale("b"));
        registry.prepend("open", tale("c"));
        registry.on("open", tale("d"));
        assert_eq!(registry.emit("open"), "c b a d");
    }

    #[test]
    fn one_that_is_added_twice_runs_twice_and_is_removed_one_at_a_time() {
        let mut registry = Registry::default();
        let first = registry.on("open", tale("a"));
        registry.on("open", tale("a"));
        assert_eq!(registry.emit("open"), "a a");
        assert!(registry.remove(first));
        assert!(!registry.remove(first), "it is gone");
        assert_eq!(registry.emit("open"), "a");
    }

    #[test]
    fn an_event_without_handlers_runs_none() {
        let mut registry = Registry::default();
        registry.on("open", tale("a"));
        assert_eq!(registry.emit("closed"), "");
        assert_eq!(Registry::<Tale>::default().emit("open"), "");
    }

    #[test]
    fn one_that_is_to_run_once_is_taken_out_before_it_runs() {
        let mut registry = Registry::default();
        registry.once("open", acting("bad", |_| panic!("on purpose")));
        registry.once("open", tale("a"));
        let outcome = catch_unwind(AssertUnwindSafe(|| registry.emit("open")));
        assert!(outcome.is_err());
        assert_eq!(registry.count(Heard::Event("open")), 1, "the other one did not run");
        assert_eq!(registry.emit("open"), "a");
        assert_eq!(registry.emit("open"), "");
    }

    #[test]
    fn one_that_is_to_run_once_and_was_not_meant_stays_where_it_was() {
        let mut registry = Registry::default();
        registry.once("**", tale("deaf"));
        registry.on("open", tale("a"));
        assert_eq!(registry.emit("open"), "a");
        assert_eq!(registry.names(), ["**", "open"]);
    }

    #[test]
    fn one_that_is_added_while_emitting_waits_for_the_next_event() {
        let mut registry = Registry::default();
        let mut is_first = true;
        registry.on(
            "open",
            acting("a", move |changes| {
                if std::mem::take(&mut is_first) {
                    changes.add(subject("open"), Place::Back, false, tale("back"));
                    changes.add(subject("open"), Place::Front, false, tale("prefix"));
                    changes.add(subject("open"), Place::Back, true, tale("once"));
                }
            }),
        );
        registry.on("open", tale("b"));
        assert_eq!(registry.emit("open"), "a b");
        assert_eq!(registry.emit("open"), "prefix a b back once");
        assert_eq!(registry.emit("open"), "prefix a b back");
    }

    #[test]
    fn one_that_is_removed_while_emitting_still_runs_for_this_event() {
        let mut registry = Registry::default();
        let later = registry.on("open", tale("later"));
        registry.prepend("open", acting("a", move |changes| changes.remove(later)));
        assert_eq!(registry.emit("open"), "a later");
        assert_eq!(registry.emit("open"), "a");
    }

    #[test]
    fn one_that_removes_itself_has_run() {
        let mut registry = Registry::default();
        let itself = HandlerId(1);
        assert_eq!(registry.on("open", acting("a", move |all| all.remove(itself))), itself);
        registry.on("open", tale("b"));
        assert_eq!(registry.emit("open"), "a b");
        assert_eq!(registry.emit("open"), "b");
    }

    #[test]
    fn all_removed_while_emitting_still_run_for_this_event() {
        let mut registry = Registry::default();
        registry.on("open", acting("a", |changes| changes.remove_all("open")));
        registry.on("open", tale("b"));
        registry.on("closed", tale("c"));
        assert_eq!(registry.emit("open"), "a b");
        assert_eq!(registry.emit("open"), "");
        assert_eq!(registry.emit("closed"), "c");
    }

    #[test]
    fn changes_are_made_in_their_order() {
        let mut registry = Registry::default();
        registry.once(
            "open",
            acting("a", |changes| {
                changes.add(subject("open"), Place::Back, false, tale("never"));
                changes.remove_all("open");
                let gone = changes.add(subject("open"), Place::Back, false, tale("neither"));
                changes.remove(gone);
                changes.add(subject("open"), Place::Back, false, tale("b"));
            }),
        );
        assert_eq!(registry.emit("open"), "a");
        assert_eq!(registry.emit("open"), "b");
    }

    #[test]
    fn what_was_changed_before_a_panic_stays_changed() {
        let mut registry = Registry::default();
        let gone = registry.on("open", tale("gone"));
        registry.on("open", acting("a", move |changes| changes.remove(gone)));
        registry.once("open", acting("b", |_| panic!("on purpose")));
        assert!(catch_unwind(AssertUnwindSafe(|| registry.emit("open"))).is_err());
        assert_eq!(registry.count(Heard::Event("open")), 1);
        assert_eq!(registry.emit("open"), "a");
    }

    #[test]
    fn off_all_removes_those_of_one_event() {
        let mut registry = Registry::default();
        for name in ["open", "closed", "open", "*"] {
            registry.on(name, tale("a"));
        }
        assert_eq!(registry.remove_all("open"), 2);
        assert_eq!(registry.remove_all("open"), 0);
        assert_eq!(registry.names(), ["closed", "*"]);
    }

    #[test]
    fn every_one_can_be_removed_whatever_it_is_about() {
        let mut registry = Registry::default();
        registry.on("open", tale("a"));
        registry.on("**", tale("b"));
        registry.add(Subject::Errors, Place::Back, false, tale("e"));
        registry.add(Subject::Workers, Place::Back, false, tale("w"));
        assert_eq!((registry.remove_every(), registry.remove_every()), (4, 0));
        let act = |changes: &mut Changes<Tale>| {
            changes.add(subject("open"), Place::Back, false, tale("never"));
            changes.remove_every();
            changes.add(subject("open"), Place::Back, false, tale("later"));
        };
        registry.on("open", acting("act", act));
        registry.on("open", tale("b"));
        assert_eq!(registry.emit("open"), "act b");
        assert_eq!(registry.emit("open"), "later");
    }

    #[test]
    fn the_count_is_of_those_that_an_event_would_run() {
        let mut registry = Registry::default();
        registry.on("threadA::open", tale("a"));
        registry.once("threadA::open", tale("b"));
        registry.on("threadA::*", tale("c"));
        registry.on("**", tale("d"));
        registry.add(Subject::Errors, Place::Back, false, tale("e"));
        assert_eq!(registry.count(Heard::Event("threadA::open")), 4);
        assert_eq!(registry.count(Heard::Event("threadA::closed")), 2);
        assert_eq!(registry.count(Heard::Event("threadB")), 1);
        assert_eq!(registry.count(Heard::Error), 1);
        assert_eq!(registry.count(Heard::Worker), 0);
        registry.emit("threadA::open");
        assert_eq!(registry.count(Heard::Event("threadA::open")), 3);
    }

    #[test]
    fn names_are_told_once_each_in_order() {
        let mut registry = Registry::default();
        for name in ["b", "a", "b", "**"] {
            registry.on(name, tale("x"));
        }
        registry.add(Subject::Workers, Place::Back, false, tale("y"));
        assert_eq!(registry.names(), ["b", "a", "**"]);
    }

    #[test]
    fn patterns_run_in_the_same_order_as_names() {
        let mut registry = Registry::default();
        registry.on("**", tale("all"));
        registry.on("threadA::open", tale("a"));
        registry.on("threadA::*", tale("A"));
        registry.on("threadB::*", tale("B"));
        assert_eq!(registry.emit("threadA::open"), "all a A");
        assert_eq!(registry.emit("threadB::open"), "all B");
        assert_eq!(registry.emit("threadA::open::now"), "all");
    }
}
