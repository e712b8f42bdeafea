//! A process is killed at each step of the protocol; the others go on.
//!
//! The list of steps is [`Step::ALL`]. Each case starts this test binary again as a peer that
//! opens, joins, publishes, receives, recovers and leaves, and dies at the step. Then the
//! survivor must have seen every committed packet of the dead, in order and whole; a successor
//! must be able to publish and everyone to receive; and nothing may be left behind.

use crate::channel::endpoint::Patience;
use crate::channel::join::{self, Types};
use crate::steps::Step;
use crate::{Missed, Overflow, Packet, RecvError, Ring, RingBuilder, Subscriber, Wait};
use std::process::{Child, Command};
use std::time::Duration;

#[crate::packet]
struct Parcel {
    publisher: u64,
    sequence: u64,
    bytes: Vec<u8>,
}

/// Long enough for any machine; nothing is measured by it.
const GENEROUS: Duration = Duration::from_secs(30);
const PEER: u64 = 1;
const SUCCESSOR: u64 = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Case {
    Exclusive,
    Shared,
    DropOldest,
}

impl Case {
    const ALL: [Self; 3] = [Self::Exclusive, Self::Shared, Self::DropOldest];

    fn builder(self) -> RingBuilder {
        let builder = Ring::builder().capacity(8192).wait(Wait::park()).stays_open(true);
        match self {
            Self::Exclusive => builder.exclusive(),
            Self::Shared => builder.shared(),
            Self::DropOldest => builder.overflow(Overflow::DropOldest).history(4),
        }
    }
}

fn parcel(publisher: u64, sequence: u64) -> Parcel {
    let len = (sequence * 37 % 600) as usize;
    Parcel { publisher, sequence, bytes: vec![(publisher * 100 + sequence % 100) as u8; len] }
}

#[test]
fn a_process_can_be_killed_at_any_step() {
    let mut never = Vec::new();
    for &step in Step::ALL {
        let killed: Vec<Case> = Case::ALL.into_iter().filter(|&case| survive(case, step)).collect();
        if killed.is_empty() {
            never.push(step);
        }
    }
    assert_eq!(never, [], "steps that no case comes to: extend `life`");
}

/// Runs one case; `true`: the peer came to the step and was killed there.
fn survive(case: Case, step: Step) -> bool {
    let name = format!("kill-{}-{case:?}-{step:?}", std::process::id());
    let ring = case.builder().open(&name).unwrap();
    let mut survivor = Survivor::new(ring.subscriber().unwrap(), case);
    let mut peer = Peer::start(&name, case, step);
    while !peer.is_over() {
        survivor.receive(Duration::from_millis(5));
    }
    let killed = peer.was_killed();
    // A durable subscriber waits for its successor for ever, and so would publishers.
    let _ = ring.remove_durable("peer").unwrap();
    let mut successor = ring.publisher::<Parcel>().unwrap();
    let mut newcomer = ring.subscriber::<Parcel>().unwrap();
    for sequence in 0..100 {
        let parcel = parcel(SUCCESSOR, sequence);
        successor.send_timeout(&parcel, GENEROUS).unwrap_or_else(|e| panic!("{name}: {e}"));
        survivor.receive_until(SUCCESSOR, sequence, &name);
        while newcomer.try_recv().is_ok() {}
    }
    drop((successor, newcomer, survivor, ring));
    Ring::open(&format!("{name}-own")).unwrap();
    for name in [name.clone(), format!("{name}-own")] {
        assert!(!std::path::Path::new(&format!("/dev/shm/packetring.{name}")).exists(), "{name}");
    }
    killed
}

/// A subscriber that checks what it gets.
struct Survivor {
    subscriber: Subscriber<Parcel>,
    case: Case,
    next: [u64; 3],
}

impl Survivor {
    fn new(subscriber: Subscriber<Parcel>, case: Case) -> Self {
        Self { subscriber, case, next: [0; 3] }
    }

    fn receive(&mut self, patience: Duration) {
        match self.subscriber.recv_timeout(patience) {
            Ok(got) => {
                let publisher = got.publisher.to_native();
                let sequence = got.sequence.to_native();
                let next = &mut self.next[publisher as usize];
                match self.case {
                    Case::DropOldest => assert!(sequence >= *next, "{sequence} after {next}"),
                    _ => assert_eq!(sequence, *next, "lost or repeated"),
                }
                *next = sequence + 1;
                assert_eq!(got.bytes.as_slice(), parcel(publisher, sequence).bytes, "torn");
            }
            Err(RecvError::Timeout) => {}
            Err(RecvError::Missed(Missed { .. })) if self.case == Case::DropOldest => {}
            Err(error) => panic!("{error}"),
        }
    }

    fn receive_until(&mut self, publisher: u64, sequence: u64, name: &str) {
        let started = std::time::Instant::now();
        while self.next[publisher as usize] <= sequence {
            self.receive(GENEROUS);
            assert!(started.elapsed() < GENEROUS, "{name}: no progress");
        }
    }
}

/// The process that is killed. Reaped also when the test fails.
struct Peer {
    child: Child,
    ended: Option<std::process::ExitStatus>,
}

impl Peer {
    fn start(name: &str, case: Case, step: Step) -> Self {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["channel::tests::kill::peer", "--exact", "--nocapture", "--test-threads=1"])
            .env("PACKETRING_PEER", format!("{name}:{case:?}"))
            .env("PACKETRING_STOP_AT", format!("{step:?}:{}", libc::SIGKILL))
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        Self { child, ended: None }
    }

    fn is_over(&mut self) -> bool {
        self.ended = self.ended.or(self.child.try_wait().unwrap());
        self.ended.is_some()
    }

    fn was_killed(&self) -> bool {
        use std::os::unix::process::ExitStatusExt;
        let status = self.ended.unwrap();
        assert!(status.success() || status.signal() == Some(libc::SIGKILL), "{status}");
        !status.success()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The peer's side; an empty test unless it was started as one.
#[test]
fn peer() {
    let Ok(role) = std::env::var("PACKETRING_PEER") else { return };
    let (name, case) = role.split_once(':').unwrap();
    let case = Case::ALL.into_iter().find(|known| format!("{known:?}") == case).unwrap();
    let own = Ring::open(&format!("{name}-own")).unwrap();
    // Here nobody else recovers first, so this process comes to every step of it.
    assert!(recover_another(&own));
    drop(own);
    life(&case.builder().open(name).unwrap(), case);
}

/// Comes to every step that its case has.
fn life(ring: &Ring, case: Case) {
    let mut fast = ring.subscriber::<Parcel>().unwrap();
    let mut durable = ring.durable::<Parcel>("peer").unwrap();
    // Reads nothing: it is evicted, or it would stop a ring that blocks.
    let slow = (case == Case::DropOldest).then(|| ring.subscriber::<Parcel>().unwrap());
    fast.set_wait(Wait::park().spin_for(Duration::ZERO));
    let _ = fast.recv_timeout(Duration::from_millis(1));
    let mut publisher = ring.publisher::<Parcel>().unwrap();
    if case != Case::Exclusive {
        recover_another(ring);
    }
    for sequence in 0..120 {
        publisher.send(&parcel(PEER, sequence)).unwrap();
        while fast.try_recv().is_ok() {}
        while durable.try_recv().is_ok() {}
    }
    drop((publisher, slow));
}

/// Claims for a publisher whose lock is then dropped, as by its death, and recovers the claim, if
/// nobody else was faster.
fn recover_another(ring: &Ring) -> bool {
    let info = Parcel::TYPE;
    let types = Types::One(&info);
    let join = || join::publisher(ring.segment(), &types, Wait::park()).unwrap().0;
    let (mut dying, mut other) = (join(), join());
    dying.claim(100, Patience::None).unwrap();
    dying.endpoint.segment.rise(dying.endpoint.member);
    let recovered = other.endpoint.ask_locks();
    // Nothing was published since, so giving the claim up again voids what is void.
    drop(dying);
    recovered
}
