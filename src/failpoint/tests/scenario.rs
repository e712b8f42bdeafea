//! The work of a peer before it is stopped: all operations, so that it reaches every failpoint.

use super::batches;
use super::cells;
use super::inboxes;
use super::process::{Process, Stop};
use super::queues;
use super::services;
use super::survivor::{Numbered, PEER, numbered};
use super::worker_slots;
use crate::channel::SendFailure;
use crate::channel::join::{self, Types};
use crate::failpoint::Failpoint;
use crate::segment::layout::NOWHERE;
use crate::sync::Ordering;
use crate::wait::Timeout;
use crate::{Overflow, Packet, Ring, RingBuilder, SendTimeoutError, Subscriber, Wait};
use rustix::process::Signal;
use std::num::NonZeroU32;
use std::time::Duration;

/// Packets that a peer publishes if it is not stopped before: several laps of the ring.
pub(super) const PARCELS: u64 = 120;
/// As many packets are published one by one, and as many in a burst, in turns.
const BURST: u64 = 8;
/// Slots of one claim of a burst.
const SLOTS: usize = 16;
const SHORT: Duration = Duration::from_millis(1);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Case {
    Exclusive,
    Shared,
    DropOldest,
    /// Shared, and left when the last publisher leaves.
    Left,
    /// No ring: a worker that joins and leaves (`worker_slots`).
    Cluster,
    /// A queue.
    Grouped,
    /// No ring: a worker that serves and calls (`services`).
    Calls,
    /// A latest value (`cells`).
    Cells,
    /// No ring: a worker that replaces its inbox (`inboxes`).
    Inboxes,
}

impl Case {
    pub(super) const ALL: [Self; 9] = [
        Self::Exclusive,
        Self::Shared,
        Self::DropOldest,
        Self::Left,
        Self::Cluster,
        Self::Grouped,
        Self::Calls,
        Self::Cells,
        Self::Inboxes,
    ];

    pub(super) fn builder(self) -> RingBuilder {
        let builder = Ring::builder().capacity(8192).wait(Wait::park()).stays_open(true);
        match self {
            Self::Exclusive => builder.exclusive(),
            Self::Shared | Self::Cluster | Self::Calls | Self::Cells | Self::Inboxes => {
                builder.shared()
            }
            Self::DropOldest => builder.overflow(Overflow::DropOldest).history(4),
            Self::Left => builder.stays_open(false),
            Self::Grouped => builder.shared().queue(),
        }
    }

    pub(super) fn overflow(self) -> Overflow {
        match self {
            Self::DropOldest => Overflow::DropOldest,
            Self::Exclusive
            | Self::Shared
            | Self::Left
            | Self::Cluster
            | Self::Grouped
            | Self::Calls
            | Self::Cells
            | Self::Inboxes => Overflow::Block,
        }
    }
}

/// The n-th time at a failpoint: late enough that every slot has held a packet. Rare failpoints are
/// not reached so often.
const OFTEN: usize = 41;

/// Opens the ring of a case. The peer that is stopped the second time, or at a probe, leaves probes
/// among its packets.
pub(super) fn open(name: &str, case: Case, stop: Stop) -> Ring {
    // Beside a frozen peer, 100 packets shall not fill the ring.
    let every = if stop.signal == Signal::KILL { 5 } else { 40 };
    let ring = case.builder().open(name).unwrap();
    if stop.step == Failpoint::ProbeStamp || stop.nth == 2 {
        ring.sample_latency(NonZeroU32::new(every));
    }
    ring
}

/// The failpoints of descriptors, which have tests of their own (`fds`).
const OF_FDS: [Failpoint; 5] = [
    Failpoint::SocketName,
    Failpoint::FdsSend,
    Failpoint::FdsMessage,
    Failpoint::FdsTake,
    Failpoint::FdsTaken,
];

/// Runs a case for each failpoint: the first `times` times that the peer reaches it. At a frequent
/// one: the first time, the second, and a time some laps later. `run` returns whether it was
/// reached.
pub(super) fn at_every_step(times: usize, run: impl Fn(Case, Failpoint, usize) -> bool) {
    let mut never = Vec::new();
    for &step in Failpoint::ALL {
        let mut stopped = 0;
        for case in Case::ALL {
            if run(case, step, OFTEN) {
                stopped += 1 + [1, 2].into_iter().filter(|&nth| run(case, step, nth)).count();
            } else {
                stopped += (1..=times).take_while(|&nth| run(case, step, nth)).count();
            }
        }
        if stopped == 0 && !OF_FDS.contains(&step) {
            never.push(step);
        }
    }
    assert_eq!(never, [], "steps that no case comes to: extend `live`");
}

/// Starts a peer that works on this ring, and on its own ones, until it is stopped.
pub(super) fn start(name: &str, case: Case, stop: Stop) -> Process {
    Process::start(&format!("life {name} {case:?}"), Some(stop))
}

/// Asserts that none of the peer's rings is left.
///
/// - The last process has left the shared ring.
/// - A killed owner leaves its own ring behind. It counts as removed, and goes when it is opened
///   next.
/// - The third ring is kept for a durable subscriber, or for packets that are not acknowledged.
pub(super) fn assert_gone(name: &str) {
    drop(Ring::open(&own(name)).unwrap());
    let _ = Ring::remove(&kept(name)).unwrap();
    for name in [name.to_owned(), own(name), kept(name)] {
        assert!(!std::path::Path::new(&format!("/dev/shm/packetring.{name}")).exists(), "{name}");
    }
}

fn own(name: &str) -> String {
    format!("{name}-own")
}

fn kept(name: &str) -> String {
    format!("{name}-kept")
}

/// The peer's side.
pub(super) fn peer(name: &str, case: &str) {
    let case = Case::ALL.into_iter().find(|known| format!("{known:?}") == case).unwrap();
    if case == Case::Cluster {
        return worker_slots::live(name);
    }
    if case == Case::Calls {
        return services::live(name);
    }
    if case == Case::Cells {
        return cells::live(name);
    }
    if case == Case::Inboxes {
        return inboxes::live(name);
    }
    batches::live();
    let own = Ring::open(&own(name)).unwrap();
    // No other process recovers here, so this one reaches every failpoint of a recovery.
    assert!(recover_another(&own));
    // Nothing needs the type of the publishers any more.
    drop(own.subscriber::<u64>().unwrap());
    own.close().unwrap();
    drop(own);
    drop(Ring::open(&kept(name)).unwrap().durable::<Numbered>("kept").unwrap());
    assert!(Ring::remove(&kept(name)).unwrap());
    if case == Case::Grouped {
        // No other process is faster here either. The attachment stays until this process ends.
        queues::recover_alone(&case.builder().open(&kept(name)).unwrap());
    }
    let ring = case.builder().open(name).unwrap();
    if case == Case::Grouped {
        return queues::work(&ring, name);
    }
    live(&ring, case);
    assert!(ring.remove_durable("peer").unwrap());
}

fn live(ring: &Ring, case: Case) {
    let mut fast = ring.subscriber::<Numbered>().unwrap();
    let mut durable = ring.durable::<Numbered>("peer").unwrap();
    // It reads nothing: it is evicted, and it would block publishers of a `Block` ring.
    let slow = (case == Case::DropOldest).then(|| ring.subscriber::<Numbered>().unwrap());
    fast.set_wait(Wait::park().spin_for(Duration::ZERO));
    let _ = fast.recv_timeout(SHORT);
    drop(fast.try_clone().unwrap());
    let mut publisher = ring.publisher::<Numbered>().unwrap();
    if case != Case::Exclusive {
        recover_another(ring);
    }
    let mut sequence = 0;
    while sequence < PARCELS {
        let mut receive = || receive_all(&mut [&mut fast, &mut durable]);
        // Bounded: this very thread may have to receive the packets that fill the ring.
        if (sequence / BURST).is_multiple_of(2) {
            retry(&mut receive, || publisher.send_timeout(&numbered(PEER, sequence), SHORT));
            receive();
            sequence += 1;
        } else {
            retry(&mut receive, || publisher.burst_timeout(SLOTS, SHORT).map(drop));
            let Ok(mut burst) = publisher.burst_timeout(SLOTS, SHORT) else { continue };
            for _ in 0..BURST {
                retry(&mut receive, || burst.send_timeout(&numbered(PEER, sequence), SHORT));
                receive();
                sequence += 1;
            }
        }
    }
    drop((publisher, slow));
}

/// Publishes something, and receives while there is no room.
fn retry<R>(mut receive: impl FnMut(), mut publish: impl FnMut() -> Result<R, SendTimeoutError>) {
    while let Err(error) = publish() {
        assert!(matches!(error, SendTimeoutError::Timeout { .. }), "{error}");
        receive();
    }
}

fn receive_all(subscribers: &mut [&mut Subscriber<Numbered>]) {
    for subscriber in subscribers {
        while subscriber.try_recv().is_ok() {}
    }
}

/// Claims for a publisher, releases its liveness lock as its death would, and recovers the claim,
/// unless another process is faster.
fn recover_another(ring: &Ring) -> bool {
    let info = Numbered::TYPE;
    let types = Types::One(&info);
    let join = || join::publisher(ring.segment(), &types, Wait::park()).unwrap().0;
    let (mut dying, mut other) = (join(), join());
    dying.claim::<SendFailure>(100, Timeout::Zero).unwrap();
    dying.entry.release_liveness();
    let mut recovered = other.entry.reap_dead();
    // Another process may be doing so.
    while dying.writer.own().record.position.load(Ordering::Acquire) != NOWHERE {
        recovered |= other.entry.reap_dead();
    }
    // The dead do not abort their claims. An abort here would write over packets of others, if this
    // process was frozen before.
    dying.writer.forget_claim();
    drop(dying);
    recovered
}
