//! Strikes: the director kills a worker, freezes it, or asks it to leave.
//!
//! The seed and the number of the strike decide the target, the kind of strike, and the delay after
//! the previous strike. They do not decide at which instruction a worker is struck.

use super::{Director, Place, Task};
use crate::assignment::{Kind, Role};
use crate::process::Process;
use crate::rng::Rng;
use rustix::process::Signal;
use std::time::{Duration, Instant};

impl Director<'_> {
    pub(super) fn strike(&mut self, at: Instant) {
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
    pub(super) fn kill(&mut self, place: usize, row: Option<usize>) {
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

    pub(super) fn resume(&mut self, place: usize, row: usize) {
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
}
