//! The first process: sends pings, and measures how long each pong takes.

use crate::bounce::Lines;
use crate::packets::{ArchivedPing, ArchivedPong, Ping, Pong, Text};
use crate::peer::Peer;
use crate::plan::{ARRAY_LEN, Names, Plan, TIMEOUT};
use crate::report::Measured;
use crate::shared::{Poll, Shared};
use packetring::{OpenError, Packet, Publisher, SendTimeoutError, Subscriber};
use std::error::Error;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// Measures floor and ring in turns.
pub(crate) fn measure(plan: &Plan) -> Result<Measured, Box<dyn Error>> {
    let names = Names::of(std::process::id());
    let _pinned = plan.cores.pin_before_joining(plan.cores.0)?;
    let lines = Shared::create(&names.floor)?;
    let mut caller = match plan.payload {
        None => Caller::<[u8; ARRAY_LEN]>::join(plan, &names)?,
        Some(_) => Caller::<String>::join(plan, &names)?,
    };
    let peer = Peer::start(plan.arguments(), Stdio::null)?;
    let _pinned = plan.cores.pin_after_joining(plan.cores.0)?;
    match exchange(plan, &lines, &mut *caller) {
        Ok(measured) => peer.finish().map(|()| measured).map_err(Into::into),
        Err(error) => Err(with_peer_status(peer, error)),
    }
}

/// Adds the peer's exit status to an error of the exchange, if the peer has ended.
fn with_peer_status(mut peer: Peer, error: Box<dyn Error>) -> Box<dyn Error> {
    // A dying process releases its rings before its parent can reap it.
    std::thread::sleep(Duration::from_millis(50));
    match peer.ended() {
        Some(status) => format!("the peer is gone ({status}): {error}").into(),
        None => error,
    }
}

fn exchange(plan: &Plan, lines: &Lines, caller: &mut dyn Call) -> Result<Measured, Box<dyn Error>> {
    let mut measured = Measured::new(plan)?;
    caller.wait_for_peer()?;
    let poll = Poll { yields: plan.cores.are_one(), parent: None };
    let mut number = 0;
    for (warm_up, counted) in plan.turns() {
        for round in 0..warm_up + counted {
            number += 1;
            let started = Instant::now();
            lines.call(number, &poll)?;
            let took = started.elapsed().as_nanos() as u64;
            if round >= warm_up {
                measured.floor.saturating_record(took);
            }
        }
        for round in 0..warm_up + counted {
            let took = caller.call()?;
            if round >= warm_up {
                measured.ring.saturating_record(took);
            }
        }
    }
    Ok(measured)
}

/// A caller for either kind of text.
trait Call {
    fn wait_for_peer(&mut self) -> Result<(), SendTimeoutError>;
    /// Makes one round trip and returns its nanoseconds: from before the ping is archived until the
    /// pong is received and validated.
    fn call(&mut self) -> Result<u64, Box<dyn Error>>;
}

/// Sends pings and receives pongs.
struct Caller<T>
where
    Ping<T>: Packet,
    Pong<T>: Packet,
{
    pings: Publisher<Ping<T>>,
    pongs: Subscriber<Pong<T>>,
    /// The next ping. Kept, so that its text is allocated once.
    ping: Ping<T>,
    clock: Instant,
}

impl<T: Text> Caller<T>
where
    Ping<T>: Packet<Archived = ArchivedPing<T>>,
    Pong<T>: Packet<Archived = ArchivedPong<T>>,
{
    fn join(plan: &Plan, names: &Names) -> Result<Box<dyn Call>, OpenError> {
        Ok(Box::new(Self {
            pings: plan.ring().open(&names.ping)?.publisher()?,
            pongs: plan.ring().open(&names.pong)?.subscriber()?,
            ping: Ping { sequence: 0, sent_at: 0, text: T::of(plan) },
            clock: Instant::now(),
        }))
    }

    fn now(&self) -> u64 {
        self.clock.elapsed().as_nanos() as u64
    }
}

impl<T: Text> Call for Caller<T>
where
    Ping<T>: Packet<Archived = ArchivedPing<T>>,
    Pong<T>: Packet<Archived = ArchivedPong<T>>,
{
    fn wait_for_peer(&mut self) -> Result<(), SendTimeoutError> {
        self.pings.wait_for_subscribers_timeout(1, TIMEOUT)
    }

    fn call(&mut self) -> Result<u64, Box<dyn Error>> {
        self.ping.sent_at = self.now();
        self.pings.send_timeout(&self.ping, TIMEOUT)?;
        let pong = self.pongs.recv_timeout(TIMEOUT)?;
        let took = self.clock.elapsed().as_nanos() as u64 - self.ping.sent_at;
        if !pong.answers(&self.ping) {
            let (asked, answered) = (self.ping.sequence, pong.answers);
            return Err(format!("wrong reply to ping {asked}: it answers ping {answered}").into());
        }
        self.ping.sequence += 1;
        Ok(took)
    }
}
