//! Another process of this very program, with other arguments.
//!
//! It never outlives its `Peer`: whoever drops that before the process ended by itself kills it.
//! It is in a process group of its own, so that Ctrl-C ends the first process only; the peer then
//! finds its rings closed, leaves, and, being the last to leave, removes them.

use std::ffi::OsStr;
use std::io;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How long a peer that has nothing more to do may take to end.
const GOODBYE: Duration = Duration::from_secs(10);

/// A running peer.
pub(crate) struct Peer(pub(crate) Child);

impl Peer {
    /// Starts this program once more, with a standard input and output of this kind: null, or piped;
    /// those of the first process are its own.
    pub(crate) fn start<A: AsRef<OsStr>>(
        arguments: impl IntoIterator<Item = A>,
        line: fn() -> Stdio,
    ) -> io::Result<Self> {
        use std::os::unix::process::CommandExt;
        let mut command = Command::new(std::env::current_exe()?);
        command.args(arguments).stdin(line()).stdout(line()).process_group(0);
        command.spawn().map(Self)
    }

    /// Waits for a peer that is about to end, and says how it failed if it did.
    pub(crate) fn finish(mut self) -> Result<(), String> {
        let give_up_at = Instant::now() + GOODBYE;
        loop {
            match self.ended() {
                Some(status) if status.success() => return Ok(()),
                Some(status) => return Err(format!("peer {} failed: {status}", self.0.id())),
                None if Instant::now() > give_up_at => {
                    return Err(format!("peer {} does not end, it was killed", self.0.id()));
                }
                None => thread::sleep(Duration::from_millis(1)),
            }
        }
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.0.try_wait().ok().flatten()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // Both fail only if it has ended and was waited for.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
