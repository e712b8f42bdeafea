//! The end of a phase: the publishers leave, the subscribers read to the end, and the ledger is
//! checked.

use super::{Director, Place, Task};
use crate::assignment::{Kind, Role, durable_name};
use crate::audit::Audit;
use crate::context::Operation;
use crate::ledger::{self, Book, DURABLES, Stage};
use crate::process::Process;
use crate::rng::Rng;
use packetring::{OpenError, Ring};
use std::error::Error;
use std::time::{Duration, Instant};

/// A worker that makes no progress for this long counts as hung.
const TIMEOUT: Duration = Duration::from_secs(30);

impl Director<'_> {
    pub(super) fn end_phase(&mut self) -> Result<(), Box<dyn Error>> {
        let mut rng = Rng::new(self.settings.seed, &[self.phase, 4]);
        self.tasks.retain(|(_, task)| matches!(task, Task::Start { .. }));
        for place in 0..self.places.len() {
            let row = self.places[place].process.as_ref().map_or(0, |process| process.row);
            self.resume(place, row);
        }
        self.enter(Stage::Stop);
        self.wait("publishers to leave", |place, _| {
            matches!(place.slot.role, Role::Publisher | Role::Visitor)
                .then_some(place.process.is_none())
        })?;
        self.wait("subscribers to join", |place, books| {
            let workers = &books[place.slot.ring].workers;
            let joined = |process: &Process| workers[process.row].joined.get() != 0;
            let is_reader = matches!(place.slot.role, Role::Subscriber | Role::Durable(_));
            is_reader.then(|| place.process.as_ref().is_some_and(joined))
        })?;
        if rng.percent(50) {
            // A worker is then the last to leave, and removes the ring.
            self.rings.clear();
        }
        self.enter(Stage::Drain);
        if rng.percent(50) {
            self.kill_durables();
        }
        self.wait("subscribers to read to the end", |place, _| Some(place.process.is_none()))?;
        // Dropping a process also waits for its end.
        self.dying.clear();
        self.remove_durables()?;
        self.rings.clear();
        self.check_leftovers();
        self.audit();
        Ok(())
    }

    fn enter(&mut self, stage: Stage) {
        self.stage = stage;
        self.map.set_stage(stage);
    }

    /// Waits until `is_done` returns true for every place. `None` means: this place does not
    /// matter.
    fn wait(
        &mut self,
        what: &str,
        is_done: impl Fn(&Place, &[Book]) -> Option<bool>,
    ) -> Result<(), Box<dyn Error>> {
        let give_up_at = Instant::now() + TIMEOUT;
        loop {
            let no_start_is_due =
                !self.tasks.iter().any(|(_, task)| matches!(task, Task::Start { .. }));
            let books = &self.map.books;
            let done = |place: &Place| is_done(place, books) != Some(false);
            if no_start_is_due && self.places.iter().all(done) {
                return Ok(());
            }
            if Instant::now() > give_up_at {
                let text = format!("phase {}: hang while waiting for {what}", self.phase);
                self.tally.problem(format!("{text}\n{}", self.wait_report()));
                return Err(text.into());
            }
            self.tick()?;
        }
    }

    /// Kills the durable subscribers after the last publisher has left.
    fn kill_durables(&mut self) {
        for place in 0..self.places.len() {
            if matches!(self.places[place].slot.role, Role::Durable(_)) {
                self.kill(place, None);
            }
        }
    }

    /// Removes the durable subscribers, each of which keeps its ring alive. Opening the transient
    /// ring cleans it up if its last visitor was killed.
    fn remove_durables(&mut self) -> Result<(), Box<dyn Error>> {
        for (index, kind) in Kind::ALL.into_iter().enumerate() {
            let ring = match kind {
                Kind::Durable => Ring::attach(&self.name(index))?,
                Kind::Transient => kind.builder().open(&self.name(index))?,
                _ => continue,
            };
            for name in 0..DURABLES {
                ring.remove_durable(&durable_name(name))?;
            }
        }
        Ok(())
    }

    fn check_leftovers(&mut self) {
        let own = format!("chaos-{}-", std::process::id());
        let names = std::fs::read_dir("/dev/shm").into_iter().flatten().filter_map(Result::ok);
        let names = names.map(|file| file.file_name().to_string_lossy().into_owned());
        let left: Vec<String> = names.filter(|name| name.contains(&own)).collect();
        self.tally.leftovers += left.len() as u64;
        for name in left {
            self.tally.problem(format!("phase {}: /dev/shm/{name} was left behind", self.phase));
        }
        self.remove_all();
    }

    /// Removes all processes and rings, whatever happened before.
    pub(super) fn remove_all(&mut self) {
        self.places.iter_mut().for_each(|place| place.process = None);
        self.dying.clear();
        self.rings.clear();
        for ring in 0..Kind::ALL.len() {
            match Ring::remove(&self.name(ring)) {
                Ok(_) | Err(OpenError::NotFound { .. }) => {}
                Err(error) => self.tally.problem(error.to_string()),
            }
        }
    }

    pub(super) fn audit(&mut self) {
        for (ring, kind) in Kind::ALL.into_iter().enumerate() {
            let (phase, book, roles) = (self.phase, &self.map.books[ring], &self.roles[ring][..]);
            Audit { kind, phase, book, roles }.run(self.tally);
        }
        self.tally.phases += 1;
    }

    fn wait_report(&self) -> String {
        let now = ledger::now();
        let lines = self.places.iter().filter_map(|place| {
            let process = place.process.as_ref()?;
            let book = &self.map.books[place.slot.ring];
            let worker = &book.workers[process.row];
            Some(format!(
                "  {:?} on {:?}, row {}, process {}: {} for {} ms, {} done, begun {}, returned {}, \
                 waits for process {}",
                place.slot.role,
                Kind::ALL[place.slot.ring],
                process.row,
                process.id(),
                Operation::name(worker.operation.get()),
                now.saturating_sub(worker.since.get()) / 1_000_000,
                worker.progress.get(),
                worker.begun.get(),
                worker.returned.get(),
                worker.waiting_for.get(),
            ))
        });
        lines.collect::<Vec<_>>().join("\n")
    }
}
