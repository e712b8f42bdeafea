//! Watchdog: kills partners of a run that hangs.
//!
//! A process that waits for a dead partner, in a ring or at its pipe, gets an error within
//! milliseconds, so the run ends. If the measuring process still hangs, that is a defect of the
//! library: the watchdog reports it and exits.

use rustix::process::{Pid, Signal, kill_process};
use std::sync::{Mutex, Once, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Far longer than any run takes, even on a busy machine.
const LIMIT: Duration = Duration::from_secs(90);
/// Time for the run to end after its partners were killed.
const GRACE: Duration = Duration::from_secs(20);

static WATCHED: Mutex<Vec<(u32, Instant)>> = Mutex::new(Vec::new());
static WATCH: Once = Once::new();

/// Watches a process until dropped. The process must not be reaped before.
pub(crate) struct Watched(u32);

impl Watched {
    pub(crate) fn new(id: u32) -> Self {
        WATCH.call_once(|| drop(thread::spawn(watch)));
        with_all(|all| all.push((id, Instant::now())));
        Self(id)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        with_all(|all| all.retain(|(id, _)| *id != self.0));
    }
}

fn watch() {
    loop {
        thread::sleep(Duration::from_millis(500));
        with_all(|all| all.iter().for_each(|(id, since)| judge(*id, since.elapsed())));
    }
}

fn judge(id: u32, age: Duration) {
    if age > LIMIT + GRACE {
        eprintln!("speed: run hangs although its partner {id} was killed; giving up");
        std::process::exit(1);
    }
    if age > LIMIT
        && let Some(pid) = i32::try_from(id).ok().and_then(Pid::from_raw)
    {
        // It fails if the process is dead already.
        let _ = kill_process(pid, Signal::KILL);
    }
}

fn with_all<R>(act: impl FnOnce(&mut Vec<(u32, Instant)>) -> R) -> R {
    act(&mut WATCHED.lock().unwrap_or_else(PoisonError::into_inner))
}
