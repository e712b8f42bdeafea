//! Handovers of descriptors: a process sends one with each message, in groups, and waits until the
//! receiver has taken them all.
//!
//! The floor sends the same descriptors through one bare unix socket, and gets a byte back for
//! each. So the ratio is the cost of a connection for each handover, of the message, and of the
//! checks. `benches/peers/node/handover.mjs` does the same with Node's `process.send`.

use crate::harness::{Outcome, Run, Sample, Scenario, Side, THERE, Target, Unit, check};
use packetring::Worker;
use packetring::cluster::Handover;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType, accept, bind,
    connect, listen, recv, recvmsg, send, sendmsg, socket_with,
};
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Instant;

/// Descriptors that are under way at a time.
const GROUP: u64 = 64;
/// Groups before recording starts, and groups that are recorded.
const WARM_UP: u64 = 4;
const GROUPS: u64 = 100;

/// Handovers from one worker to another.
pub(crate) struct Handovers;

/// Descriptors through one bare unix socket, with a byte back for each.
struct BareSocket;

/// Runs groups, and returns the time of one descriptor in microseconds.
fn timed(run: &Run, mut group: impl FnMut() -> Outcome<()>) -> Outcome<f64> {
    let groups = run.count(GROUPS);
    for _ in 0..WARM_UP {
        group()?;
    }
    let started = Instant::now();
    for _ in 0..groups {
        group()?;
    }
    Ok(started.elapsed().as_secs_f64() * 1e6 / (groups * GROUP) as f64)
}

impl Scenario for Handovers {
    fn name(&self) -> String {
        "handover".into()
    }

    fn about(&self) -> String {
        format!("a descriptor handed to another worker and taken there, {GROUP} under way")
    }

    fn payload(&self) -> usize {
        8
    }

    fn unit(&self) -> Unit {
        Unit::Microseconds
    }

    fn floor(&self) -> Option<Box<dyn Scenario>> {
        Some(Box::new(BareSocket))
    }

    fn targets(&self) -> Vec<Target> {
        Vec::new()
    }

    fn is_headline(&self) -> bool {
        false
    }

    fn measure(&self, run: &Run) -> Outcome<Sample> {
        let _pinned = run.pin_before_joining()?;
        let front = Worker::join(&run.ring(THERE), "front")?;
        let partner = run.start(0)?;
        let _pinned = run.pin_after_joining()?;
        let (stream, _other) = UnixStream::pair()?;
        let micros = timed(run, || {
            let send = |number| -> Outcome<Handover> {
                let fd = OwnedFd::from(stream.try_clone()?);
                Ok(front.send_fds_to("web", &number, [fd])?)
            };
            let mut group = (0..GROUP).map(send).collect::<Outcome<Vec<_>>>()?;
            group.iter_mut().try_for_each(Handover::wait)?;
            Ok(())
        })?;
        front.send_to("web", &u64::MAX)?;
        partner.finish()?;
        front.leave()?;
        Ok(Sample::of(micros))
    }

    fn serve(&self, side: &mut Side) -> Outcome<()> {
        let _pinned = side.pin_before_joining()?;
        let web = Worker::join(&side.run.ring(THERE), "web")?;
        let mut inbox = web.inbox()?;
        inbox.accept_fds()?;
        side.ready()?;
        let _pinned = side.pin_after_joining()?;
        loop {
            let mut message = inbox.recv()?;
            if message.fds() == 0 {
                message.ack();
                break;
            }
            check(message.take_fds()?.len() == 1, 0)?;
            message.ack();
        }
        drop(inbox);
        Ok(web.leave()?)
    }
}

impl BareSocket {
    fn path(run: &Run) -> PathBuf {
        std::env::temp_dir().join(format!("packetring-bench{}", run.object().replace('/', ".")))
    }

    fn socket() -> Outcome<OwnedFd> {
        let (unix, kind) = (AddressFamily::UNIX, SocketType::SEQPACKET);
        Ok(socket_with(unix, kind, SocketFlags::CLOEXEC, None)?)
    }
}

impl Scenario for BareSocket {
    fn name(&self) -> String {
        "floor_handover".into()
    }

    fn about(&self) -> String {
        "a descriptor through a bare unix socket, and a byte back".into()
    }

    fn payload(&self) -> usize {
        8
    }

    fn unit(&self) -> Unit {
        Unit::Microseconds
    }

    fn measure(&self, run: &Run) -> Outcome<Sample> {
        let _pinned = run.pin_before_joining()?;
        let (path, listener) = (Self::path(run), Self::socket()?);
        bind(&listener, &SocketAddrUnix::new(&path)?)?;
        listen(&listener, 1)?;
        let partner = run.start(0)?;
        let _pinned = run.pin_after_joining()?;
        let connection = accept(&listener)?;
        std::fs::remove_file(&path)?;
        let (stream, _other) = UnixStream::pair()?;
        let micros = timed(run, || {
            for number in 0..GROUP {
                let fds = [stream.as_fd()];
                send_one(connection.as_fd(), number, &fds)?;
            }
            for _ in 0..GROUP {
                check(recv(&connection, &mut [0][..], RecvFlags::empty())?.0 == 1, 0)?;
            }
            Ok(())
        })?;
        drop(connection);
        partner.finish()?;
        Ok(Sample::of(micros))
    }

    fn serve(&self, side: &mut Side) -> Outcome<()> {
        let _pinned = side.pin_before_joining()?;
        let connection = Self::socket()?;
        connect(&connection, &SocketAddrUnix::new(Self::path(&side.run))?)?;
        side.ready()?;
        let _pinned = side.pin_after_joining()?;
        while take_one(connection.as_fd())? {
            send(&connection, &[1], SendFlags::NOSIGNAL)?;
        }
        Ok(())
    }
}

fn send_one(connection: BorrowedFd<'_>, number: u64, fds: &[BorrowedFd<'_>]) -> Outcome<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    check(control.push(SendAncillaryMessage::ScmRights(fds)), number)?;
    let bytes = number.to_ne_bytes();
    sendmsg(connection, &[IoSlice::new(&bytes)], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Receives a descriptor and closes it. Returns false at the end.
fn take_one(connection: BorrowedFd<'_>) -> Outcome<bool> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut bytes = [0; 8];
    let into = &mut [IoSliceMut::new(&mut bytes)];
    let read = recvmsg(connection, into, &mut control, RecvFlags::CMSG_CLOEXEC)?;
    if read.bytes == 0 {
        return Ok(false);
    }
    let mut taken = 0;
    for part in control.drain() {
        if let RecvAncillaryMessage::ScmRights(fds) = part {
            taken += fds.count();
        }
    }
    check(taken == 1, 0)?;
    Ok(true)
}
