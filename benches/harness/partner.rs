//! A second process of a run, connected by pipes.
//!
//! The process never outlives its `Partner`. The watchdog kills a partner that takes too long. Then
//! waiting for its next line fails, and its rings report the death.

use super::run::END;
use super::watch::Watched;
use super::{Outcome, Run};
use crate::peer::Peer;
use std::io::{BufRead, BufReader, Write};
use std::process::{ChildStdin, ChildStdout, Stdio};

/// A running partner.
pub(crate) struct Partner {
    // Fields drop in this order: the watch ends before the process id can be reused.
    watched: Watched,
    peer: Peer,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Partner {
    /// Starts a partner process. It has not joined its ring yet.
    pub(crate) fn start(run: &Run, role: u32) -> Outcome<Self> {
        let mut peer = Peer::start(run.arguments(role), Stdio::piped)?;
        let orders = peer.0.stdin.take().ok_or("partner has no standard input")?;
        let answers = peer.0.stdout.take().ok_or("partner has no standard output")?;
        let watched = Watched::new(peer.0.id());
        Ok(Self { watched, peer, orders, answers: BufReader::new(answers) })
    }

    /// Lets the partner continue: see [`Side::wait_for_order`](super::Side::wait_for_order).
    pub(crate) fn resume(&mut self) -> Outcome<()> {
        Ok(self.orders.write_all(b"\n")?)
    }

    /// Waits for the next line of the partner.
    pub(crate) fn read_line(&mut self) -> Outcome<String> {
        let mut line = String::new();
        match self.answers.read_line(&mut line)? {
            0 => Err("partner ended before it answered".into()),
            _ => Ok(line.trim_end().to_owned()),
        }
    }

    /// Tells the partner to end and waits for it. Returns an error if the partner failed.
    pub(crate) fn finish(self) -> Outcome<()> {
        let Self { watched, peer, mut orders, .. } = self;
        // It fails if the partner has ended already: not every partner waits for orders.
        let _ = writeln!(orders, "{END}");
        drop(watched);
        Ok(peer.finish()?)
    }
}
