//! The director runs a phase: it starts workers, strikes them (`director/strikes.rs`), starts
//! successors, and ends the phase so that all packets can be accounted for (`director/ending.rs`).

mod ending;
mod strikes;

use crate::assignment::{Assignment, Kind, Role, Slot, ring_name, slots};
use crate::ledger::{self, Book, DURABLES, ROWS, Stage};
use crate::map::Map;
use crate::process::Process;
use crate::rng::Rng;
use crate::tally::Tally;
use packetring::Ring;
use std::error::Error;
use std::os::fd::OwnedFd;
use std::thread::sleep;
use std::time::{Duration, Instant};

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
}
