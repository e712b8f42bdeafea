//! Another process that runs this program with other arguments.
//!
//! It never outlives its `Peer`: dropping the handle kills the process if it still runs. The
//! process has its own process group, so that Ctrl-C ends the first process only. The peer then
//! finds its rings closed, leaves them, and removes them as the last user.

use std::ffi::OsStr;
use std::io;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Time that a peer may take to end after its work is complete.
const END_TIMEOUT: Duration = Duration::from_secs(10);

/// A running peer.
pub(crate) struct Peer(pub(crate) Child);

impl Peer {
    /// Starts this program again. `line` gives its standard input and output: null or piped. The
    /// standard error is shared with the first process.
    pub(crate) fn start<A: AsRef<OsStr>>(
        arguments: impl IntoIterator<Item = A>,
        line: fn() -> Stdio,
    ) -> io::Result<Self> {
        use std::os::unix::process::CommandExt;
        let mut command = Command::new(std::env::current_exe()?);
        command.args(arguments).stdin(line()).stdout(line()).process_group(0);
        command.spawn().map(Self)
    }

    /// Waits for a peer that is about to end. Returns its failure, if it failed.
    pub(crate) fn finish(mut self) -> Result<(), String> {
        let give_up_at = Instant::now() + END_TIMEOUT;
        loop {
            match self.ended() {
                Some(status) if status.success() => return Ok(()),
                Some(status) => return Err(format!("peer {} failed: {status}", self.0.id())),
                None if Instant::now() > give_up_at => {
                    return Err(format!("peer {} did not end and was killed", self.0.id()));
                }
                None => thread::sleep(Duration::from_millis(1)),
            }
        }
    }

    /// Returns the exit status if the peer has ended.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.0.try_wait().ok().flatten()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // Both calls fail only if the process has ended and was reaped.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
