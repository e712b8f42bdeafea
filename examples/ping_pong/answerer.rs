//! The peer: answers each ping with a pong.

use crate::bounce::Lines;
use crate::packets::{ArchivedPing, ArchivedPong, Ping, Pong, Text};
use crate::plan::{ARRAY_LEN, Names, Plan, TIMEOUT};
use crate::shared::{Poll, Shared};
use packetring::{OpenError, Packet, Publisher, RecvError, Subscriber};
use std::error::Error;

/// Answers until the caller has left.
pub(crate) fn answer(plan: &Plan, parent: u32) -> Result<(), Box<dyn Error>> {
    let names = Names::of(parent);
    let _pinned = plan.cores.pin_before_joining(plan.cores.1)?;
    let lines: Shared<Lines> = Shared::open(&names.floor)?;
    let mut answerer = match plan.payload {
        None => Answerer::<[u8; ARRAY_LEN]>::join(plan, &names)?,
        Some(_) => Answerer::<String>::join(plan, &names)?,
    };
    let _pinned = plan.cores.pin_after_joining(plan.cores.1)?;
    let poll = Poll { yields: plan.cores.are_one(), parent: Some(parent) };
    let mut number = 0;
    for (warm_up, counted) in plan.turns() {
        for _ in 0..warm_up + counted {
            number += 1;
            if lines.answer(number, &poll).is_err() {
                return Ok(()); // The caller is gone.
            }
        }
        for _ in 0..warm_up + counted {
            if !answerer.answer()? {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// An answerer for either kind of text.
trait Answer {
    /// Answers one ping. Returns false if the caller has left.
    fn answer(&mut self) -> Result<bool, Box<dyn Error>>;
}

/// Receives pings and sends pongs.
struct Answerer<T>
where
    Ping<T>: Packet,
    Pong<T>: Packet,
{
    pings: Subscriber<Ping<T>>,
    pongs: Publisher<Pong<T>>,
    /// Expected text of each ping.
    text: T,
    /// The last pong. Kept, so that its text is allocated once.
    pong: Pong<T>,
}

impl<T: Text> Answerer<T>
where
    Ping<T>: Packet<Archived = ArchivedPing<T>>,
    Pong<T>: Packet<Archived = ArchivedPong<T>>,
{
    fn join(plan: &Plan, names: &Names) -> Result<Box<dyn Answer>, OpenError> {
        // The publisher first: the caller starts when it sees the subscriber.
        let pongs = plan.ring().open(&names.pong)?.publisher()?;
        let pings = plan.ring().open(&names.ping)?.subscriber()?;
        let pong = Pong { answers: 0, ping_sent_at: 0, answered: 0, text: T::of(plan) };
        Ok(Box::new(Self { pings, pongs, text: T::of(plan), pong }))
    }
}

impl<T: Text> Answer for Answerer<T>
where
    Ping<T>: Packet<Archived = ArchivedPing<T>>,
    Pong<T>: Packet<Archived = ArchivedPong<T>>,
{
    fn answer(&mut self) -> Result<bool, Box<dyn Error>> {
        let ping = match self.pings.recv() {
            Ok(ping) => ping,
            Err(RecvError::Closed) => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        let pong = &mut self.pong;
        if !ping.is_next(pong.answered, pong.ping_sent_at, &self.text) {
            let (expected, found) = (pong.answered, ping.sequence);
            return Err(format!("expected ping {expected}, got {found} or a damaged one").into());
        }
        pong.answers = ping.sequence.to_native();
        pong.ping_sent_at = ping.sent_at.to_native();
        pong.answered += 1;
        pong.text.assign(&ping.text);
        self.pongs.send_timeout(pong, TIMEOUT)?;
        Ok(true)
    }
}
