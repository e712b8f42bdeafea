//! Peers: this test binary again, in a process of its own, stopped at a failpoint on request.
//!
//! A peer's role is a line of words. It prints lines and reads lines.

use super::{
    batches, bursts, double_faults, inboxes, joining, leaving, redeliveries, removing, scenario,
    services, types,
};
use crate::failpoint::Failpoint;
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, kill_process, waitpid};
use std::io::{BufRead, BufReader, Read as _, Write};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

/// Long enough for any machine. No test measures it.
pub(super) const GENEROUS: Duration = Duration::from_secs(30);

const ROLE: &str = "PACKETRING_PEER";
const SAID: &str = "@peer ";

/// Where a peer is stopped, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stop {
    pub(super) step: Failpoint,
    /// The n-th time that it is reached, from 1.
    pub(super) nth: usize,
    pub(super) signal: Signal,
}

impl Stop {
    pub(super) fn kill(step: Failpoint, nth: usize) -> Self {
        Self { step, nth, signal: Signal::KILL }
    }

    pub(super) fn freeze(step: Failpoint, nth: usize) -> Self {
        Self { step, nth, signal: Signal::STOP }
    }
}

/// A peer. Killed and reaped when it is dropped, also when the test fails.
pub(super) struct Process {
    child: Child,
    out: BufReader<ChildStdout>,
    last: Option<WaitStatus>,
}

/// The state of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Running,
    Frozen,
    /// It ended by itself, with success.
    Finished,
    Killed,
}

impl Process {
    pub(super) fn start(role: &str, stop: Option<Stop>) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["failpoint::tests::process::peer", "--exact", "--nocapture", "--test-threads=1"])
            .env(ROLE, role)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        if let Some(Stop { step, nth, signal }) = stop {
            command.env("PACKETRING_STOP_AT", format!("{step:?}:{}:{nth}", signal.as_raw()));
        }
        let mut child = command.spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        Self { child, out, last: None }
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The state now.
    pub(super) fn state(&mut self) -> State {
        self.wait(WaitOptions::NOHANG | WaitOptions::UNTRACED | WaitOptions::CONTINUED)
    }

    /// Waits until it is frozen or over.
    pub(super) fn settle(&mut self) -> State {
        self.wait(WaitOptions::UNTRACED)
    }

    fn wait(&mut self, options: WaitOptions) -> State {
        if !self.last.is_some_and(is_over)
            && let Some((_, status)) = waitpid(Some(self.id()), options).unwrap()
        {
            self.last = Some(status);
        }
        match self.last {
            Some(status) if status.stopped() => State::Frozen,
            Some(status) if status.exited() => {
                assert_eq!(status.exit_status(), Some(0), "the peer failed");
                State::Finished
            }
            Some(status) if status.signaled() => {
                let signal = status.terminating_signal();
                assert_eq!(signal, Some(Signal::KILL.as_raw()), "the peer crashed");
                State::Killed
            }
            _ => State::Running,
        }
    }

    /// Thaws a frozen peer.
    pub(super) fn thaw(&self) {
        kill_process(self.id(), Signal::CONT).unwrap();
    }

    /// Sends a line to the peer.
    pub(super) fn tell(&mut self, line: &str) {
        // A dead peer reads nothing.
        let _ = writeln!(self.child.stdin.as_mut().unwrap(), "{line}");
    }

    /// Waits for a line, which must be `line`.
    #[track_caller]
    pub(super) fn expect(&mut self, line: &str) {
        let mut said = String::new();
        while !said.starts_with(SAID) {
            said.clear();
            assert!(self.out.read_line(&mut said).unwrap() > 0, "the peer said no more");
        }
        assert_eq!(said.trim_end(), format!("{SAID}{line}"));
    }

    /// The lines that it says until it is over.
    pub(super) fn rest(&mut self) -> Vec<String> {
        let lines = self.out.by_ref().lines().map_while(Result::ok);
        lines.filter_map(|line| Some(line.strip_prefix(SAID)?.to_owned())).collect()
    }

    pub(super) fn id(&self) -> Pid {
        Pid::from_child(&self.child)
    }
}

fn is_over(status: WaitStatus) -> bool {
    status.exited() || status.signaled()
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.last.is_some_and(is_over) {
            let _ = kill_process(self.id(), Signal::KILL);
            let _ = waitpid(Some(self.id()), WaitOptions::empty());
        }
    }
}

/// In a peer: prints a line.
pub(super) fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "\n{SAID}{line}").unwrap();
    out.flush().unwrap();
}

/// In a peer: waits for a line. Ends the process if the test is over.
pub(super) fn hear() -> String {
    let mut line = String::new();
    if std::io::stdin().lock().read_line(&mut line).unwrap() == 0 {
        std::process::exit(0);
    }
    line.trim_end().to_owned()
}

/// The peer's side. An empty test, unless this process was started as a peer.
#[test]
fn peer() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let words: Vec<&str> = role.split(' ').collect();
    match words[..] {
        ["life", name, case] => scenario::peer(name, case),
        #[cfg(feature = "handover")]
        ["fds", cluster] => super::fds::live(cluster),
        ["batch", name, way] => batches::publish(name, way),
        ["burst", name] => bursts::publish(name),
        ["join", name] => joining::join(name),
        ["leave", name] => leaving::leave(name),
        ["stay", cluster] => leaving::stay(cluster),
        ["pass", cluster] => leaving::pass(cluster),
        ["remove", cluster] => removing::remove(cluster),
        ["publish", name] => double_faults::publish(name),
        ["recover", name, side] => double_faults::recover(name, side),
        #[cfg(feature = "async")]
        ["serve-in-a-task", cluster] => services::serve_in_a_task(cluster),
        ["serve", cluster] => services::serve(cluster),
        ["send", cluster] => inboxes::send(cluster),
        ["receive", cluster] => inboxes::receive(cluster),
        ["again", cluster, what] => redeliveries::receive_again(cluster, what),
        ["types", ring] => types::register_all(ring),
        ["give-up", cluster] => redeliveries::give_up(cluster),
        _ => panic!("no such role: {role}"),
    }
}
