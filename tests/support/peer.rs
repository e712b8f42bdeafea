//! Peers: child processes that run this test binary again.
//!
//! A test binary with peers has a test named `peer`, which calls [`role`] and runs that role.
//! Without a role the test does nothing. A peer reads lines from standard input and writes lines to
//! standard output. Dropping a [`Peer`] kills and reaps the process, also after a panic.

use super::LONG;
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};

const ROLE: &str = "PACKETRING_TEST_ROLE";
const SAID: &str = "@peer ";

/// The role of a peer, read from its environment.
#[derive(Debug)]
pub(crate) struct Role {
    /// The name of the role.
    pub(crate) name: String,
    /// The arguments of the role.
    pub(crate) arguments: Vec<String>,
}

impl Role {
    /// Parses the argument at an index as a number.
    pub(crate) fn number(&self, index: usize) -> u64 {
        self.arguments[index].parse().unwrap()
    }
}

/// Returns the role of this process, or `None` if it is not a peer.
pub(crate) fn role() -> Option<Role> {
    let words = std::env::var(ROLE).ok()?;
    let mut words = words.split(' ').map(str::to_owned);
    Some(Role { name: words.next()?, arguments: words.collect() })
}

/// In a peer: sends a line to the test.
pub(crate) fn say(line: &str) {
    // Write through the handle and flush: the test harness may capture `println!`.
    let mut out = std::io::stdout().lock();
    writeln!(out, "\n{SAID}{line}").unwrap();
    out.flush().unwrap();
}

/// In a peer: waits for a line from the test. Returns `None` if the test is over.
pub(crate) fn hear() -> Option<String> {
    let mut line = String::new();
    let len = std::io::stdin().lock().read_line(&mut line).unwrap();
    (len > 0).then(|| line.trim_end().to_owned())
}

/// A child process in a role. Dropping it kills and reaps the process.
#[derive(Debug)]
pub(crate) struct Peer {
    child: Child,
    orders: ChildStdin,
    said: Receiver<String>,
    role: String,
}

impl Peer {
    /// Starts a peer. `role` is the name of the role followed by its arguments.
    pub(crate) fn start(role: &str) -> Self {
        Self::start_by(Command::new(std::env::current_exe().unwrap()), role)
    }

    /// Starts a peer through another program, such as `unshare`, that takes the command as its last
    /// argument.
    pub(crate) fn start_under(program: &[&str], role: &str) -> Self {
        let mut command = Command::new(program[0]);
        command.args(&program[1..]).arg(std::env::current_exe().unwrap());
        Self::start_by(command, role)
    }

    fn start_by(mut command: Command, role: &str) -> Self {
        let mut child = command
            .args(["peer", "--exact", "--nocapture", "--test-threads=1"])
            .env(ROLE, role)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (orders, out) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let (sender, said) = channel();
        // The thread ends with the peer, whose death closes the pipe.
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                if let Some(line) = line.strip_prefix(SAID) {
                    let _ = sender.send(line.to_owned());
                }
            }
        });
        Self { child, orders, said, role: role.to_owned() }
    }

    /// The process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a line to the peer.
    pub(crate) fn tell(&mut self, line: &str) {
        writeln!(self.orders, "{line}").unwrap();
        self.orders.flush().unwrap();
    }

    /// Waits for the next line from the peer.
    #[track_caller]
    pub(crate) fn hear(&mut self) -> String {
        match self.said.recv_timeout(LONG) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => panic!("peer `{}` hangs", self.role),
            Err(RecvTimeoutError::Disconnected) => panic!("peer `{}` exited early", self.role),
        }
    }

    /// Waits for the next line from the peer and asserts that it equals `line`.
    #[track_caller]
    pub(crate) fn expect(&mut self, line: &str) {
        assert_eq!(self.hear(), line, "from peer `{}`", self.role);
    }

    /// Returns the remaining lines of a peer that ends, one per call. `None` after the last line.
    #[track_caller]
    pub(crate) fn rest(&mut self) -> Option<String> {
        match self.said.recv_timeout(LONG) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Timeout) => panic!("peer `{}` hangs", self.role),
            Err(RecvTimeoutError::Disconnected) => None,
        }
    }

    /// Kills the peer with SIGKILL and reaps it.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits until the peer has ended and returns its exit status.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }

    /// Sends a signal to the peer.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits until the peer has ended and returns the signal that killed it, if any.
    #[track_caller]
    pub(crate) fn died_of(mut self) -> Option<i32> {
        use std::os::unix::process::ExitStatusExt;
        if let Some(line) = self.rest() {
            panic!("unexpected line from peer `{}`: `{line}`", self.role);
        }
        self.child.wait().unwrap().signal()
    }

    /// Waits until the peer has ended. Asserts that it succeeded.
    #[track_caller]
    pub(crate) fn finish(mut self) {
        if let Some(line) = self.rest() {
            panic!("unexpected line from peer `{}`: `{line}`", self.role);
        }
        // The peer's output is closed, so the process is exiting.
        assert!(self.child.wait().unwrap().success(), "peer `{}` failed", self.role);
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // Both calls fail if the peer has ended already. Ignore that.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
