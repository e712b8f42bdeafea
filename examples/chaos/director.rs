//! The director starts workers, kills and freezes them, starts successors, and ends each phase so
//! that all packets can be accounted for.
//!
//! The seed and the number of the strike decide the target, the kind of strike, and the delay after
//! the previous strike. They do not decide at which instruction a worker is struck.

use crate::assignment::{Assignment, Kind, Role, Slot, durable_name, ring_name, slots};
use crate::audit::Audit;
use crate::context::Operation;
use crate::ledger::{self, Book, DURABLES, ROWS, Stage};
use crate::map::Map;
use crate::process::Process;
use crate::rng::Rng;
use crate::tally::Tally;
use packetring::{OpenError, Ring};
use rustix::process::Signal;
use std::error::Error;
use std::os::fd::OwnedFd;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// A worker that makes no progress for this long counts as hung.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Interval between two checks of the workers.
const TICK: Duration = Duration::from_micros(500);
/// Rows reserved for workers that must start to end a phase.
const SPARE: usize = 24;

/// Settings of all phases.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) seed: u64,
    pub(crate) strikes_per_second: u64,
}

/// A slot and its current worker.
struct Place {
    slot: Slot,
    process: Option<Process>,
    /// Number of workers started for this slot.
    filled: u64,
}

/// A scheduled action.
enum Task {
    Strike,
    Kill { place: usize, row: usize },
    Resume { place: usize, row: usize },
    Start { place: usize },
}

/// A phase: creates every ring, runs workers on it, and removes it.
pub(crate) struct Director<'a> {
    settings: Settings,
    phase: u64,
    map: Map,
    file: OwnedFd,
    rings: Vec<Ring>,
    places: Vec<Place>,
    /// Role of each row of each ring.
    roles: Vec<Vec<Option<Role>>>,
    /// Processes killed but not reaped yet, with the time to reap them and their ring.
    dying: Vec<(Instant, usize, Process)>,
    tasks: Vec<(Instant, Task)>,
    strikes: u64,
    stage: Stage,
    tally: &'a mut Tally,
}

impl<'a> Director<'a> {
    /// Runs one phase until `until`.
    pub(crate) fn run(
        settings: Settings,
        phase: u64,
        until: Instant,
        tally: &'a mut Tally,
    ) -> Result<(), Box<dyn Error>> {
        let mut director = Self::open(settings, phase, tally)?;
        director.tasks.push((Instant::now(), Task::Strike));
        for place in 0..director.places.len() {
            director.start(place)?;
        }
        while Instant::now() < until && !director.is_exhausted() {
            director.tick()?;
        }
        let outcome = director.end_phase();
        if outcome.is_err() {
            director.audit();
            director.remove_all();
        }
        outcome
    }

    fn open(settings: Settings, phase: u64, tally: &'a mut Tally) -> Result<Self, Box<dyn Error>> {
        let (map, file) = Map::create()?;
        map.books.iter().for_each(|book| book.used.set(DURABLES as u64));
        let places = slots().into_iter().map(|slot| Place { slot, process: None, filled: 0 });
        let mut director = Self {
            settings,
            phase,
            map,
            file,
            rings: Vec::new(),
            places: places.collect(),
            roles: vec![vec![None; ROWS]; Kind::ALL.len()],
            dying: Vec::new(),
            tasks: Vec::new(),
            strikes: 0,
            stage: Stage::Run,
            tally,
        };
        // A ring disappears with its last open handle, so the director holds all but one open.
        for ring in director.kept() {
            let opened = Kind::ALL[ring].builder().open(&director.name(ring))?;
            director.rings.push(opened);
        }
        Ok(director)
    }

    /// Rings that last as long as the phase.
    fn kept(&self) -> impl Iterator<Item = usize> + use<> {
        (0..Kind::ALL.len()).filter(|&ring| Kind::ALL[ring] != Kind::Transient)
    }

    fn name(&self, ring: usize) -> String {
        ring_name(u64::from(std::process::id()), self.phase, ring)
    }

    fn book(&self, place: usize) -> &Book {
        &self.map.books[self.places[place].slot.ring]
    }

    fn is_exhausted(&self) -> bool {
        self.map.books.iter().any(|book| book.in_use() >= ROWS - SPARE)
    }

    // ── Running a phase ────────────────────────────────────────────────────────────────────────

    fn tick(&mut self) -> Result<(), Box<dyn Error>> {
        self.do_tasks()?;
        self.reap_workers()?;
        sleep(TICK);
        Ok(())
    }

    fn do_tasks(&mut self) -> Result<(), Box<dyn Error>> {
        let now = Instant::now();
        while let Some(index) = self.tasks.iter().position(|(at, _)| *at <= now) {
            let (at, task) = self.tasks.swap_remove(index);
            match task {
                Task::Strike => self.strike(at),
                Task::Kill { place, row } => self.kill(place, Some(row)),
                Task::Resume { place, row } => self.resume(place, row),
                Task::Start { place } => self.start(place)?,
            }
        }
        Ok(())
    }

    /// Reaps ended processes and schedules successors.
    fn reap_workers(&mut self) -> Result<(), Box<dyn Error>> {
        let now = Instant::now();
        // Some stay zombies for a while; the kernel has released their locks nevertheless.
        let books = &self.map.books;
        self.dying.retain_mut(|(at, ring, process)| {
            let stays = *at > now || !matches!(process.ended(), Ok(Some(_)));
            if !stays {
                books[*ring].workers[process.row].reaped_at.set(ledger::now());
            }
            stays
        });
        for place in 0..self.places.len() {
            let Some(process) = &mut self.places[place].process else { continue };
            let Some(status) = process.ended()? else { continue };
            let (pid, slot) = (process.id(), self.places[place].slot);
            if !status.success() {
                let kind = Kind::ALL[slot.ring];
                let text = format!("{:?} on {kind:?}, process {pid}, failed: {status}", slot.role);
                self.tally.problem(text);
            }
            self.places[place].process = None;
            if self.stage < Stage::Drain {
                self.tasks.push((now, Task::Start { place }));
            }
        }
        Ok(())
    }

    fn start(&mut self, place: usize) -> Result<(), Box<dyn Error>> {
        let Slot { ring, role, slow } = self.places[place].slot;
        let publishes = matches!(role, Role::Publisher | Role::Visitor);
        if self.places[place].process.is_some() || publishes && self.stage != Stage::Run {
            return Ok(());
        }
        if self.is_exhausted() && self.stage == Stage::Run {
            return Ok(());
        }
        let row = self.map.books[ring].used.add(1) as usize;
        if row >= ROWS {
            return Err("too many incarnations in one phase".into());
        }
        self.roles[ring][row] = Some(role);
        let (seed, phase) = (self.settings.seed, self.phase);
        let director = u64::from(std::process::id());
        let assignment = Assignment { director, seed, phase, ring, row, role, slow };
        let place_before = &mut self.places[place];
        place_before.process = Some(Process::start(assignment, &self.file)?);
        place_before.filled += 1;
        let mut rng = Rng::new(seed, &[phase, 2, place as u64, place_before.filled]);
        if self.stage == Stage::Run && rng.percent(15) {
            // Killed during its start or its join.
            let at = Instant::now() + Duration::from_micros(rng.between(0, 5000));
            self.tasks.push((at, Task::Kill { place, row }));
        }
        Ok(())
    }

    // ── Strikes ────────────────────────────────────────────────────────────────────────────────

    fn strike(&mut self, at: Instant) {
        let mut rng = Rng::new(self.settings.seed, &[self.phase, 1, self.strikes]);
        self.strikes += 1;
        let mean = 1_000_000 / self.settings.strikes_per_second;
        let gap = Duration::from_micros(rng.between(0, 2 * mean));
        // Relative to the due time, or a busy machine would get fewer strikes.
        self.tasks.push((at + gap, Task::Strike));
        let place = rng.below(self.places.len() as u64) as usize;
        let (way, micros) = (rng.below(100), rng.between(0, 400));
        let (freeze, other) = (rng.between(500, 30_000), rng.next());
        self.map.books[rng.below(Kind::ALL.len() as u64) as usize].record_control();
        match way {
            0..=34 => self.kill(place, None),
            35..=64 => self.kill_busy(place, Duration::from_micros(3 * micros)),
            65..=74 => {
                self.kill(place, None);
                self.kill(self.neighbour(place, other), None);
            }
            75..=84 => self.freeze(place, Duration::from_micros(freeze)),
            85..=91 => self.ask_to_leave(place, None),
            _ => self.ask_to_leave(place, Some(Duration::from_micros(micros))),
        }
    }

    /// Chooses another place on the same ring.
    fn neighbour(&self, place: usize, choice: u64) -> usize {
        let ring = self.places[place].slot.ring;
        let all = self.places.iter().enumerate();
        let others: Vec<usize> = all
            .filter(|(other, there)| there.slot.ring == ring && *other != place)
            .map(|(other, _)| other)
            .collect();
        others[choice as usize % others.len()]
    }

    /// Kills the process of a place. If `row` is given, only that incarnation.
    fn kill(&mut self, place: usize, row: Option<usize>) {
        let is_meant = |process: &mut Process| {
            row.is_none_or(|row| row == process.row) && matches!(process.ended(), Ok(None))
        };
        let Some(process) = self.places[place].process.take_if(is_meant) else { return };
        let (role, row) = (self.places[place].slot.role, process.row);
        let book = self.book(place);
        book.record_kill(row);
        if let Role::Durable(name) = role
            && !book.durables[name].vacant.is_on()
        {
            book.durables[name].vacant.begin();
        }
        process.signal(Signal::KILL);
        self.tally.kills += 1;
        let count = self.places[place].filled;
        let mut rng = Rng::new(self.settings.seed, &[self.phase, 3, place as u64, count]);
        let now = Instant::now();
        let after = |micros: u64| now + Duration::from_micros(micros);
        let reap = after(rng.below(2) * rng.below(20_000));
        self.dying.push((reap, self.places[place].slot.ring, process));
        let start = after(rng.below(2) * rng.below(6_000));
        self.tasks.push((start, Task::Start { place }));
    }

    fn freeze(&mut self, place: usize, time: Duration) {
        let Place { slot, process: Some(process), .. } = &mut self.places[place] else { return };
        if process.is_frozen {
            return;
        }
        let row = process.row;
        process.is_frozen = true;
        self.map.books[slot.ring].workers[row].frozen.begin();
        process.signal(Signal::STOP);
        self.tally.freezes += 1;
        self.tasks.push((Instant::now() + time, Task::Resume { place, row }));
    }

    fn resume(&mut self, place: usize, row: usize) {
        let Place { slot, process: Some(process), .. } = &mut self.places[place] else { return };
        if process.row == row && process.is_frozen {
            process.is_frozen = false;
            process.signal(Signal::CONT);
            self.map.books[slot.ring].workers[row].frozen.end();
        }
    }

    /// Makes a worker skip its pauses, so that the kill hits it during an operation.
    fn kill_busy(&mut self, place: usize, killed_after: Duration) {
        let Some(process) = &self.places[place].process else { return };
        let row = process.row;
        self.book(place).workers[row].hurry.set(1);
        self.tasks.push((Instant::now() + killed_after, Task::Kill { place, row }));
    }

    /// Asks a worker to leave. It may be killed before it has left.
    fn ask_to_leave(&mut self, place: usize, killed_after: Option<Duration>) {
        let Some(process) = &self.places[place].process else { return };
        let row = process.row;
        self.book(place).workers[row].leave.set(1);
        if let Some(after) = killed_after {
            self.tasks.push((Instant::now() + after, Task::Kill { place, row }));
        }
    }

    // ── The end of the phase ───────────────────────────────────────────────────────────────────

    fn end_phase(&mut self) -> Result<(), Box<dyn Error>> {
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
    fn remove_all(&mut self) {
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

    fn audit(&mut self) {
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
