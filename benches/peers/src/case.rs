//! A case: a run of a peer and a work, with its processes and its directory.
//!
//! Both sides are new processes of this program. If a side fails, ends early or hangs, both are
//! killed and the run fails. Afterwards the case removes its directory and its objects in
//! `/dev/shm`. Peers are set up to create files only there.

use crate::cores::Cores;
use crate::leftovers::{self, Directory};
use crate::peers::{Peer, Work};
use crate::way::Way;
use crate::work::{BURST, Kind, Measured, Side, Task};
use clap::ValueEnum;
use std::fs::File;
use std::io;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// After one side failed, the other gets this time to fail too.
const AFTERMATH: Duration = Duration::from_millis(200);

/// Role of a process in a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Role {
    Measuring,
    Other,
    /// Both sides, as two threads.
    Threads,
    /// A third process that the peer needs.
    Driver,
}

/// A run of a peer and a work.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    pub(crate) peer: Peer,
    pub(crate) work: Work,
    pub(crate) cores: Cores,
    pub(crate) count: u64,
    pub(crate) timeout: Duration,
}

impl Case {
    /// Runs the case in new processes. The error describes the failure.
    pub(crate) fn run(&self) -> Result<Measured, String> {
        let directory =
            Directory::new().map_err(|error| format!("could not create a directory: {error}"))?;
        let outcome = self.run_in(&directory);
        leftovers::remove_shared(directory.tag());
        outcome
    }

    fn run_in(&self, directory: &Directory) -> Result<Measured, String> {
        let start = |role| {
            Running::start(self, role, directory)
                .map_err(|error| format!("could not start a process: {error}"))
        };
        let _driver = self.peer.has_driver().then(|| start(Role::Driver)).transpose()?;
        let roles: &[Role] =
            if self.peer.is_threads() { &[Role::Threads] } else { &[Role::Measuring, Role::Other] };
        let mut running = roles.iter().map(|role| start(*role)).collect::<Result<Vec<_>, _>>()?;
        self.watch(&mut running)?;
        let outcome = Way::there(directory.path(), directory.tag()).path("outcome");
        let outcome = std::fs::read(outcome).map_err(|error| format!("no result: {error}"))?;
        serde_json::from_slice(&outcome).map_err(|error| format!("unreadable result: {error}"))
    }

    fn watch(&self, running: &mut Vec<Running>) -> Result<(), String> {
        let give_up_at = Instant::now() + self.timeout;
        while !running.is_empty() {
            let mut failures = failures_of_ended(running);
            if !failures.is_empty() {
                // The other side often fails next, and which failed first is unknown.
                sleep(AFTERMATH);
                failures.append(&mut failures_of_ended(running));
                return Err(failures.join("; "));
            }
            if Instant::now() > give_up_at {
                return Err(format!("no result after {} s: killed", self.timeout.as_secs()));
            }
            sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    /// Runs the part of one role.
    pub(crate) fn act(&self, role: Role, directory: &Path, tag: &str) -> Result<(), String> {
        let task = |side| Task {
            side,
            kind: self.work.kind(),
            cores: self.cores,
            count: self.count,
            may_lose: self.peer.may_lose(),
            there: Way::there(directory, tag),
            back: Way::back(directory, tag),
        };
        let run = |side| self.peer.run(self.work, &task(side)).map_err(|error| error.to_string());
        match role {
            Role::Measuring => run(Side::Measuring),
            Role::Other => run(Side::Other),
            Role::Driver => self.peer.drive(&task(Side::Other)).map_err(|error| error.to_string()),
            Role::Threads => std::thread::scope(|scope| {
                let other = scope.spawn(|| run(Side::Other));
                run(Side::Measuring)?;
                other.join().map_err(|_| "other thread panicked".to_owned())?
            }),
        }
    }

    /// Number of round trips, records or bursts of a run. Round trips take longer than records, so
    /// there are fewer. Operations with a cell take less time, so there are ten times as many.
    pub(crate) fn count_for(work: Work, rounds: u64, records: u64) -> u64 {
        match work.kind() {
            Kind::RoundTrip => rounds,
            kind if kind.is_cell() => 10 * records.div_ceil(BURST),
            _ => records,
        }
    }
}

/// Removes ended processes from the list, and returns the failures.
fn failures_of_ended(running: &mut Vec<Running>) -> Vec<String> {
    let mut failures = Vec::new();
    running.retain_mut(|process| {
        let ended = process.ended();
        let is_over = ended.is_some();
        failures.extend(ended.and_then(Result::err));
        !is_over
    });
    failures
}

/// A process of a case. Drop kills it.
struct Running {
    child: Child,
    role: String,
    stderr: std::path::PathBuf,
}

impl Running {
    fn start(case: &Case, role: Role, directory: &Directory) -> io::Result<Self> {
        let name = |value: Option<clap::builder::PossibleValue>| {
            value.map(|value| value.get_name().to_owned()).unwrap_or_default()
        };
        let role = name(role.to_possible_value());
        let stderr = directory.path().join(format!("{role}.stderr"));
        let child = Command::new(std::env::current_exe()?)
            .args(["--role", &role, "--peer", &case.peer.name()])
            .args(["--work", &name(case.work.to_possible_value())])
            .args(["--tag", directory.tag(), "--pin", &case.cores.to_string()])
            .args(["--count", &case.count.to_string(), "--directory"])
            .arg(directory.path())
            .env("TMPDIR", directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&stderr)?)
            .spawn()?;
        Ok(Self { child, role, stderr })
    }

    /// The result of the process; `None` while it runs.
    fn ended(&mut self) -> Option<Result<(), String>> {
        let status = self.child.try_wait().ok().flatten()?;
        if status.success() {
            return Some(Ok(()));
        }
        let output = std::fs::read_to_string(&self.stderr).unwrap_or_default();
        Some(Err(format!("{}: {status}: {}", self.role, reason(&output))))
    }
}

/// Picks a line from the standard error of a failed process: the panic message, or the last line.
fn reason(output: &str) -> &str {
    let mut lines = output.lines().filter(|line| !line.trim().is_empty());
    let last = lines.clone().next_back().unwrap_or("no output");
    let panicked = lines.find(|line| line.contains("panicked at"));
    panicked.and_then(|_| lines.next()).unwrap_or(last)
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only if the process was reaped already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_the_panic_or_the_last_line() {
        let panic = "thread 'main' (7) panicked at src/a.rs:1:2:\nno room\nnote: run with\n";
        assert_eq!(reason(panic), "no room");
        assert_eq!(reason("starting\npeers: Broken pipe\n\n"), "peers: Broken pipe");
        assert_eq!(reason(""), "no output");
    }
}
