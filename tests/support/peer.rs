//! Peers: this test binary again, in a process of its own.
//!
//! A test binary with peers has a test `peer` that calls [`role`] and does what it says; run by
//! itself it does nothing. A peer hears lines on its standard input and says lines on its
//! standard output. It is killed and reaped when its [`Peer`] is dropped, whatever happened.

use super::LONG;
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};

const ROLE: &str = "PACKETRING_TEST_ROLE";
const SAID: &str = "@peer ";

/// What a peer is to do.
#[derive(Debug)]
pub(crate) struct Role {
    /// Which of the binary's roles.
    pub(crate) name: String,
    /// With what.
    pub(crate) arguments: Vec<String>,
}

impl Role {
    /// The argument at an index, as a number.
    pub(crate) fn number(&self, index: usize) -> u64 {
        self.arguments[index].parse().unwrap()
    }
}

/// The role of this process, if it is a peer.
pub(crate) fn role() -> Option<Role> {
    let words = std::env::var(ROLE).ok()?;
    let mut words = words.split(' ').map(str::to_owned);
    Some(Role { name: words.next()?, arguments: words.collect() })
}

/// In a peer: says a line.
pub(crate) fn say(line: &str) {
    // By the handle and at once: the harness may capture what is printed.
    let mut out = std::io::stdout().lock();
    writeln!(out, "\n{SAID}{line}").unwrap();
    out.flush().unwrap();
}

/// In a peer: waits for a line; `None`: the test is over.
pub(crate) fn hear() -> Option<String> {
    let mut line = String::new();
    let len = std::io::stdin().lock().read_line(&mut line).unwrap();
    (len > 0).then(|| line.trim_end().to_owned())
}

/// A process of its own. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Peer {
    child: Child,
    orders: ChildStdin,
    said: Receiver<String>,
    role: String,
}

impl Peer {
    /// Starts a peer in a role, with arguments.
    pub(crate) fn start(role: &str) -> Self {
        Self::start_by(Command::new(std::env::current_exe().unwrap()), role)
    }

    /// Starts a peer by way of another program, such as `unshare`, whose last argument is the
    /// command to run.
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
        // Ends with the peer, whose death closes the pipe.
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                if let Some(line) = line.strip_prefix(SAID) {
                    let _ = sender.send(line.to_owned());
                }
            }
        });
        Self { child, orders, said, role: role.to_owned() }
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Gives it a line to hear.
    pub(crate) fn tell(&mut self, line: &str) {
        writeln!(self.orders, "{line}").unwrap();
        self.orders.flush().unwrap();
    }

    /// Waits for the next line it says.
    #[track_caller]
    pub(crate) fn hear(&mut self) -> String {
        match self.said.recv_timeout(LONG) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => panic!("peer `{}` hangs", self.role),
            Err(RecvTimeoutError::Disconnected) => panic!("peer `{}` has failed", self.role),
        }
    }

    /// Waits for the next line it says, which must be this one.
    #[track_caller]
    pub(crate) fn expect(&mut self, line: &str) {
        assert_eq!(self.hear(), line, "from peer `{}`", self.role);
    }

    /// What a peer that was killed said before, line by line; `None`: that was all.
    #[track_caller]
    pub(crate) fn rest(&mut self) -> Option<String> {
        match self.said.recv_timeout(LONG) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Timeout) => panic!("peer `{}` hangs", self.role),
            Err(RecvTimeoutError::Disconnected) => None,
        }
    }

    /// Kills it as the kernel would, and waits until it is gone.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits until it has ended, and says how.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits until it has ended, and says of which signal.
    #[track_caller]
    pub(crate) fn died_of(mut self) -> Option<i32> {
        use std::os::unix::process::ExitStatusExt;
        if let Some(line) = self.rest() {
            panic!("peer `{}` said `{line}`", self.role);
        }
        self.child.wait().unwrap().signal()
    }

    /// Waits until it has ended by itself, without a failure.
    #[track_caller]
    pub(crate) fn finish(mut self) {
        if let Some(line) = self.rest() {
            panic!("peer `{}` said `{line}`", self.role);
        }
        // Its output is closed: it is exiting.
        assert!(self.child.wait().unwrap().success(), "peer `{}` has failed", self.role);
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // Both fail if it is gone already, which is as well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
