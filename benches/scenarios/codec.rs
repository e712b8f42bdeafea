//! The cost of serialization in one process: publishing and receiving a `Chat`, beside rkyv alone.
//!
//! - Publishing is a complete `send` on a heap ring without subscribers: claim, archive, stamp.
//! - Receiving is a complete `recv`: poll, check, hand out, release.
//! - rkyv alone archives into a vector with enough capacity, and checks an archive in memory.
//!
//! So the ratios include the work of the ring.

use super::packets::{ArchivedChat, Chat, Numbered};
use crate::harness::{Outcome, Phase, Run, Sample, Scenario, Side, Target, Unit, check, median};
use packetring::rkyv::util::AlignedVec;
use packetring::rkyv::{access, api::high::to_bytes_in, rancor};
use packetring::{Publisher, Ring, RingBuilder, Subscriber};
use std::hint::black_box;
use std::time::Instant;

/// Calls that are timed together: fewer than the ring has slots.
const BURST: u64 = 1 << 10;

/// Sending a `Chat`.
pub(crate) struct Encode;
/// Receiving a `Chat`.
pub(crate) struct Validate;
/// Archiving a `Chat` by rkyv alone.
struct EncodeAlone;
/// Checking a `Chat` by rkyv alone.
struct ValidateAlone;

fn ring() -> RingBuilder {
    Ring::builder().exclusive()
}

/// Nanoseconds of a call: the median of bursts after a warm-up. `burst` gets its first packet
/// number and returns the time at which its measured part started.
fn measure(run: &Run, mut burst: impl FnMut(u64) -> Outcome<Instant>) -> Outcome<Sample> {
    let _pinned = run.on_one_core().pin_before_joining()?;
    let mut costs = Vec::new();
    for index in 0..20 + run.count(400) {
        let started = burst(index * BURST)?;
        costs.push(started.elapsed().as_nanos() as f64 / BURST as f64);
    }
    Ok(Sample::of(median(&costs[20..])))
}

fn send_burst(chats: &mut Publisher<Chat>, chat: &mut Chat, first: u64) -> Outcome<()> {
    for number in first..first + BURST {
        chat.set(number);
        chats.send(&*black_box(&mut *chat))?;
    }
    Ok(())
}

fn recv_burst(chats: &mut Subscriber<Chat>, first: u64) -> Outcome<()> {
    for number in first..first + BURST {
        check(Chat::is(&*chats.try_recv()?, number), number)?;
    }
    Ok(())
}

fn archive(chat: &Chat, buffer: AlignedVec) -> Outcome<AlignedVec> {
    let bytes = to_bytes_in::<_, rancor::Error>(black_box(chat), buffer)?;
    // All scenarios with this packet report this size.
    check(bytes.len() == Chat::ARCHIVED, bytes.len() as u64)?;
    Ok(bytes)
}

/// The methods that the scenarios of one process share: all but `measure`.
macro_rules! alone {
    ($name:literal, $about:literal) => {
        fn name(&self) -> String {
            $name.into()
        }

        fn about(&self) -> String {
            $about.into()
        }

        fn payload(&self) -> usize {
            Chat::ARCHIVED
        }

        fn unit(&self) -> Unit {
            Unit::Nanoseconds
        }

        fn is_headline(&self) -> bool {
            false
        }

        fn fixed_phase(&self) -> Option<Phase> {
            Some(Phase::OneCore)
        }

        fn serve(&self, _: &mut Side) -> Outcome<()> {
            Err("this scenario has no partner".into())
        }
    };
}

impl Scenario for Encode {
    alone!("encode_chat", "send of a Chat without subscribers; the floor: rkyv into a warm vector");

    fn floor(&self) -> Option<Box<dyn Scenario>> {
        Some(Box::new(EncodeAlone))
    }

    fn targets(&self) -> Vec<Target> {
        vec![Target::RatioAtMost(1.3)]
    }

    fn measure(&self, run: &Run) -> Outcome<Sample> {
        let (mut chats, mut chat) = (ring().heap()?.publisher()?, Chat::blank());
        measure(run, |first| {
            let started = Instant::now();
            send_burst(&mut chats, &mut chat, first)?;
            Ok(started)
        })
    }
}

impl Scenario for Validate {
    alone!(
        "validate_chat",
        "recv of a Chat that is in the ring; the floor: rkyv checks it in memory"
    );

    fn floor(&self) -> Option<Box<dyn Scenario>> {
        Some(Box::new(ValidateAlone))
    }

    fn measure(&self, run: &Run) -> Outcome<Sample> {
        let ring = ring().heap()?;
        let (mut inbox, mut chats) = (ring.subscriber()?, ring.publisher()?);
        let mut chat = Chat::blank();
        measure(run, |first| {
            send_burst(&mut chats, &mut chat, first)?;
            let started = Instant::now();
            recv_burst(&mut inbox, first)?;
            Ok(started)
        })
    }
}

impl Scenario for EncodeAlone {
    alone!("floor_rkyv_encode", "rkyv archives into a vector with enough capacity");

    fn measure(&self, run: &Run) -> Outcome<Sample> {
        let (mut chat, mut buffer) = (Chat::blank(), AlignedVec::with_capacity(1024));
        measure(run, |first| {
            let started = Instant::now();
            for number in first..first + BURST {
                chat.set(number);
                buffer.clear();
                buffer = archive(&chat, std::mem::take(&mut buffer))?;
                black_box(buffer.as_slice());
            }
            Ok(started)
        })
    }
}

impl Scenario for ValidateAlone {
    alone!("floor_rkyv_access", "rkyv checks an archive in memory");

    fn measure(&self, run: &Run) -> Outcome<Sample> {
        let mut chat = Chat::blank();
        let mut archives = Vec::new();
        for number in 0..BURST {
            chat.set(number);
            archives.push(archive(&chat, AlignedVec::new())?);
        }
        measure(run, |_| {
            let started = Instant::now();
            for (number, bytes) in archives.iter().enumerate() {
                let chat = access::<ArchivedChat, rancor::Error>(black_box(bytes.as_slice()))?;
                check(Chat::is(chat, number as u64), number as u64)?;
            }
            Ok(started)
        })
    }
}
