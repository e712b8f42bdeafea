//! A worker as its director sees it: a process of this very program.
//!
//! Dropping it kills it, frozen or not. If the director dies without a chance to drop it, it finds
//! out by itself (`Desk::is_orphaned`), and at the latest an alarm ends it.

use crate::post::Post;
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
    /// Starts a worker. In a process group of its own, so that Ctrl-C ends its director alone, and
    /// the workers leave in good order.
    pub(crate) fn start(post: Post, ledger: &OwnedFd) -> io::Result<Self> {
        let ledger = File::from(ledger.as_fd().try_clone_to_owned()?);
        let mut command = Command::new("/proc/self/exe");
        command.args(["--worker", &post.to_text()]).stdin(ledger).stdout(Stdio::null());
        Ok(Self { child: command.process_group(0).spawn()?, row: post.row, is_frozen: false })
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it has. That reaps it.
    pub(crate) fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        // It is not reaped, so the number is its own. A zombie takes any signal.
        let _ = kill_process(Pid::from_child(&self.child), signal);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail if it was reaped.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
