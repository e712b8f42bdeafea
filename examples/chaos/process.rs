//! A worker process, as seen by its director. It runs this program.
//!
//! Dropping the handle kills the process, frozen or not. If the director dies without dropping it,
//! the worker notices by itself (`Context::is_orphaned`), and an alarm ends it at the latest.

use crate::assignment::Assignment;
use rustix::process::{Pid, Signal, kill_process};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};

/// A process, from its start until it is reaped.
pub(crate) struct Process {
    child: Child,
    pub(crate) row: usize,
    pub(crate) is_frozen: bool,
}

impl Process {
    /// Starts a worker in its own process group: Ctrl-C then ends the director alone, and the
    /// workers leave normally.
    pub(crate) fn start(assignment: Assignment, ledger: &OwnedFd) -> io::Result<Self> {
        let ledger = File::from(ledger.as_fd().try_clone_to_owned()?);
        let mut command = Command::new("/proc/self/exe");
        command.args(["--worker", &assignment.to_text()]).stdin(ledger).stdout(Stdio::null());
        Ok(Self { child: command.process_group(0).spawn()?, row: assignment.row, is_frozen: false })
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Returns the exit status and reaps the process, if it has ended.
    pub(crate) fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        // The process is not reaped, so its id is not reused. A zombie accepts any signal.
        let _ = kill_process(Pid::from_child(&self.child), signal);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both calls fail if the process was reaped.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
