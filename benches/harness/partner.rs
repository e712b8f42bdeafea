//! Another process of a run, with a line to it and a line from it.
//!
//! It never outlives its `Partner`. One that takes too long is killed by the watch, and then
//! whoever waits for it is told: by the end of its line, or by the ring that it was in.

use super::run::END;
use super::watch::Watched;
use super::{Outcome, Run};
use crate::peer::Peer;
use std::io::{BufRead, BufReader, Write};
use std::process::{ChildStdin, ChildStdout, Stdio};

/// A running partner.
pub(crate) struct Partner {
    // Dropped in this order: nobody is watched whose process id may be another's.
    watched: Watched,
    peer: Peer,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Partner {
    /// Starts one. It has not joined yet.
    pub(crate) fn start(run: &Run, role: u32) -> Outcome<Self> {
        let mut peer = Peer::start(run.arguments(role), Stdio::piped)?;
        let orders = peer.0.stdin.take().ok_or("a partner without standard input")?;
        let answers = peer.0.stdout.take().ok_or("a partner without standard output")?;
        let watched = Watched::new(peer.0.id());
        Ok(Self { watched, peer, orders, answers: BufReader::new(answers) })
    }

    /// Tells it to go on.
    pub(crate) fn tell(&mut self) -> Outcome<()> {
        Ok(self.orders.write_all(b"\n")?)
    }

    /// What it says next.
    pub(crate) fn hear(&mut self) -> Outcome<String> {
        let mut line = String::new();
        match self.answers.read_line(&mut line)? {
            0 => Err("a partner ended early".into()),
            _ => Ok(line.trim_end().to_owned()),
        }
    }

    /// Waits for one that is about to end, and says how it failed if it did.
    pub(crate) fn finish(self) -> Outcome<()> {
        let Self { watched, peer, mut orders, .. } = self;
        // One that asks for no orders may have ended already.
        let _ = writeln!(orders, "{END}");
        drop(watched);
        Ok(peer.finish()?)
    }
}
