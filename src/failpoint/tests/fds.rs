//! A process that takes and sends descriptors is killed or frozen at each failpoint on their way.
//!
//! The test gives the writers of pipes away, and gets them back as messages. Afterwards:
//!
//! - Each handover ends. It was taken, or its descriptors are back.
//! - Every pipe is at its end once the test dropped what it has: no process has a copy.
//! - The successor is told that the descriptors of the messages that are left are lost.
//! - Nothing is left in `/dev/shm`, after a purge.

use super::process::{GENEROUS, Process, State, Stop};
use super::worker_slots;
use crate::Worker;
use crate::channel::settle;
use crate::cluster::{
    Handover, HandoverError, HandoverTimeoutError, Inbox, NotSent, SendFdsTimeoutError,
    SendToError, TakeFdsError, TryHandoverError, WorkerState,
};
use crate::failpoint::Failpoint;
use crate::segment::name::Name;
use crate::segment::{Clearance, Segment};
use rustix::event::{PollFd, PollFlags, poll};
use std::io::{PipeReader, Read as _, pipe};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

const SHORT: Duration = Duration::from_millis(2);
/// Descriptors that go to the peer and come back.
const PASSES: u64 = 6;
/// The steps of a descriptor and of its message, on both sides.
const STEPS: [Failpoint; 15] = [
    Failpoint::SocketName,
    Failpoint::FdsSend,
    Failpoint::FdsMessage,
    Failpoint::FdsTake,
    Failpoint::FdsTaken,
    Failpoint::ClaimLen,
    Failpoint::ClaimTail,
    Failpoint::ClaimFill,
    Failpoint::CommitStamp,
    Failpoint::CommitAfter,
    Failpoint::CommitWake,
    Failpoint::ReceiveLook,
    Failpoint::Receive,
    Failpoint::Release,
    Failpoint::LeaveInbox,
];

/// The peer's side: sends each descriptor back.
pub(super) fn live(cluster: &str) {
    let worker = Worker::join(cluster, "peer").unwrap();
    let mut inbox = worker.inbox().unwrap();
    inbox.accept_fds().unwrap();
    for _ in 0..PASSES {
        let mut message = inbox.recv_timeout(GENEROUS).unwrap();
        let number = message.open_as::<u64>().unwrap().to_native();
        let fds = message.take_fds().unwrap();
        message.ack();
        let mut handover = worker.send_fds_to("survivor", &number, fds).unwrap();
        handover.wait_timeout(GENEROUS).unwrap();
    }
    drop(inbox);
    worker.leave().unwrap();
}

/// The test's side.
struct Survivor {
    worker: Worker,
    inbox: Inbox,
    handovers: Vec<Handover>,
    readers: Vec<PipeReader>,
}

impl Survivor {
    fn join(cluster: &str) -> Self {
        let worker = Worker::builder().max_workers(4).join(cluster, "survivor").unwrap();
        let mut inbox = worker.inbox().unwrap();
        inbox.accept_fds().unwrap();
        Self { worker, inbox, handovers: Vec::new(), readers: Vec::new() }
    }

    /// Gives one more descriptor away, if there is room, and drops those that come back.
    fn go_on(&mut self) {
        if (self.readers.len() as u64) < PASSES {
            let (reader, writer) = pipe().unwrap();
            let number = self.readers.len() as u64;
            match self.worker.send_fds_to_timeout("peer", &number, [writer.into()], SHORT) {
                Ok(handover) => {
                    self.handovers.push(handover);
                    self.readers.push(reader);
                }
                Err(NotSent { error, fds }) => {
                    assert_eq!(fds.len(), 1);
                    assert!(is_expected(&error), "{error}");
                }
            }
        }
        self.receive();
    }

    fn receive(&mut self) {
        if let Ok(mut message) = self.inbox.recv_timeout(SHORT) {
            match message.take_fds() {
                Ok(fds) => assert_eq!(fds.len(), 1),
                Err(error) => assert!(matches!(error, TakeFdsError::Lost), "{error}"),
            }
            message.ack();
        }
    }

    /// Ends each handover, and receives until no copy of any writer is left.
    fn settle(&mut self, name: &str) {
        for mut handover in self.handovers.drain(..) {
            match handover.wait_timeout(GENEROUS) {
                Ok(()) | Err(HandoverTimeoutError::Gone { .. }) => {}
                Err(error) => panic!("{name}: {error}"),
            }
        }
        let started = Instant::now();
        for (index, mut reader) in std::mem::take(&mut self.readers).into_iter().enumerate() {
            while poll(&mut [PollFd::new(&reader, PollFlags::IN)], Some(&Default::default()))
                .unwrap()
                == 0
            {
                assert!(started.elapsed() < GENEROUS, "{name}: a copy of writer {index} is left");
                self.receive();
            }
            assert_eq!(reader.read(&mut [0]).unwrap(), 0, "{name}");
        }
    }
}

fn is_expected(error: &SendFdsTimeoutError) -> bool {
    matches!(
        error,
        SendFdsTimeoutError::Timeout { .. }
            | SendFdsTimeoutError::NotAccepted { .. }
            | SendFdsTimeoutError::Away { .. }
            | SendFdsTimeoutError::Message(
                SendToError::NoInbox { .. }
                    | SendToError::UnknownWorker { .. }
                    | SendToError::Dead { .. }
            )
    )
}

/// Each step, the first times that the peer comes to it. `run` returns whether it came.
fn at_each_step(times: usize, run: impl Fn(Failpoint, usize) -> bool) {
    for step in STEPS {
        let reached = (1..=times).take_while(|&nth| run(step, nth)).count();
        assert!(reached > 0, "the peer never comes to {step:?}");
    }
}

/// Gives descriptors to a peer until it stops. Returns the cluster, and both sides.
fn meet(how: &str, stop: Stop) -> (String, Survivor, Process) {
    let cluster = format!("{how}-{}-fds-{:?}-{}", std::process::id(), stop.step, stop.nth);
    let mut own = Survivor::join(&cluster);
    let mut peer = Process::start(&format!("fds {cluster}"), Some(stop));
    while peer.state() == State::Running {
        own.go_on();
    }
    (cluster, own, peer)
}

#[test]
fn no_descriptor_is_lost_or_kept_after_a_kill() {
    at_each_step(3, |step, nth| {
        let (cluster, mut own, mut peer) = meet("kill", Stop::kill(step, nth));
        own.settle(&cluster);
        if own.worker.worker("peer").is_some_and(|peer| peer.state == WorkerState::Away) {
            let successor = Worker::join(&cluster, "peer").unwrap();
            let mut inbox = successor.inbox().unwrap();
            inbox.accept_fds().unwrap();
            while let Ok(mut message) = inbox.try_recv() {
                assert_eq!(message.fds(), 1);
                assert!(matches!(message.take_fds(), Err(TakeFdsError::Lost)));
                message.ack();
            }
            drop(inbox);
            successor.leave().unwrap();
        }
        let Survivor { worker, inbox, .. } = own;
        drop((worker, inbox));
        assert!(Worker::remove_cluster(&cluster).unwrap());
        worker_slots::assert_gone(&cluster);
        purge_unnamed(peer.pid(), step == Failpoint::SocketName);
        peer.state() == State::Killed
    });
}

/// A process that is killed before its socket has the name leaves it under another one.
fn purge_unnamed(process: u32, is_expected: bool) {
    let start = format!("{process}.");
    let all = Name::all().unwrap();
    let left: Vec<_> = all
        .iter()
        .filter(|name| name.as_str().starts_with(&start) && name.as_str().ends_with("~f"))
        .collect();
    assert!(left.len() <= usize::from(is_expected), "{left:?}");
    for name in left {
        assert_eq!(Segment::clear_away(name, settle).unwrap(), Clearance::Removed);
    }
}

#[test]
fn a_frozen_process_keeps_its_descriptors_and_goes_on() {
    at_each_step(1, |step, nth| {
        let (cluster, mut own, mut peer) = meet("freeze", Stop::freeze(step, nth));
        let was_frozen = peer.state() == State::Frozen;
        if was_frozen {
            for _ in 0..20 {
                own.go_on();
            }
            // Nothing ends while it is alive, however long that takes.
            for handover in &mut own.handovers {
                match handover.try_wait() {
                    Ok(()) | Err(TryHandoverError::Pending) => {}
                    Err(error) => panic!("{cluster}: {error}"),
                }
            }
            peer.thaw();
            while peer.state() == State::Frozen {}
            while peer.state() == State::Running {
                own.go_on();
            }
        }
        assert_eq!(peer.state(), State::Finished, "{cluster}");
        for handover in &mut own.handovers {
            handover.wait().unwrap_or_else(|error: HandoverError| panic!("{cluster}: {error}"));
        }
        own.settle(&cluster);
        let Survivor { worker, inbox, .. } = own;
        drop(inbox);
        worker.leave().unwrap();
        worker_slots::assert_gone(&cluster);
        was_frozen
    });
}

/// Descriptors whose sender was killed before it published do not stay with a receiver that does
/// nothing but wait.
#[test]
fn a_waiting_receiver_drops_descriptors_without_a_message() {
    let cluster = format!("orphans-{}", std::process::id());
    let own = Survivor::join(&cluster);
    let (mut reader, writer) = pipe().unwrap();
    let mut peer =
        Process::start(&format!("fds {cluster}"), Some(Stop::kill(Failpoint::FdsMessage, 1)));
    let mut fds = vec![OwnedFd::from(writer)];
    let mut handover = loop {
        match own.worker.send_fds_to_timeout("peer", &0_u64, fds, SHORT) {
            Ok(handover) => break handover,
            Err(NotSent { error, fds: back }) => {
                assert!(is_expected(&error), "{error}");
                fds = back;
            }
        }
    };
    handover.wait_timeout(GENEROUS).unwrap();
    assert_eq!(peer.settle(), State::Killed);
    let Survivor { worker, mut inbox, .. } = own;
    std::thread::scope(|scope| {
        let waiter = scope.spawn(move || inbox.recv_timeout(GENEROUS).map(|it| it.ack()));
        assert_eq!(reader.read(&mut [0]).unwrap(), 0);
        worker.send_to("survivor", &0_u64).unwrap();
        waiter.join().unwrap().unwrap();
    });
    assert!(worker.retire("peer").unwrap());
    worker.leave().unwrap();
    worker_slots::assert_gone(&cluster);
}
