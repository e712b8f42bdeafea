//! Ends runs that hang: partners that live too long are killed.
//!
//! What waits for a dead partner, in a ring or at its line, gets an error within milliseconds, so
//! the run ends with that. If this process hangs even then, it is a defect: it says so and ends.

use rustix::process::{Pid, Signal, kill_process};
use std::sync::{Mutex, Once, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Far longer than any run takes, on a machine with other work too.
const LIMIT: Duration = Duration::from_secs(90);
/// How long the run may take to end when its partners are dead.
const GRACE: Duration = Duration::from_secs(20);

static WATCHED: Mutex<Vec<(u32, Instant)>> = Mutex::new(Vec::new());
static WATCH: Once = Once::new();

/// A process that is watched for as long as this lives, and not reaped before.
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
        eprintln!("speed: hangs, though its partner {id} was killed; given up");
        std::process::exit(1);
    }
    if age > LIMIT
        && let Some(pid) = i32::try_from(id).ok().and_then(Pid::from_raw)
    {
        // It fails if it is dead already.
        let _ = kill_process(pid, Signal::KILL);
    }
}

fn with_all<R>(act: impl FnOnce(&mut Vec<(u32, Instant)>) -> R) -> R {
    act(&mut WATCHED.lock().unwrap_or_else(PoisonError::into_inner))
}
