//! Messages with descriptors: each descriptor arrives with its message, or goes back to its sender.
//! No process keeps a copy that nobody asked for.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod support;

use packetring::cluster::{
    Handover, HandoverError, HandoverTimeoutError, Inbox, NotSent, SendFdsError,
    SendFdsTimeoutError, SendToError, TakeFdsError, TryHandoverError, TrySendFdsError, WorkerState,
};
use packetring::inventory::{Kept, ObjectKind};
use packetring::{Stop, Worker, packet};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix,
    SocketFlags, SocketType, accept, bind, connect, listen, recv, send, sendmsg, socket_with,
};
use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};
use std::fs::File;
use std::io::{BufRead, BufReader, IoSlice, Read, Seek, Write, pipe};
use std::net::{Shutdown, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;
use support::peer::{self, Peer};
use support::{LONG, SHORT, Watch, this_thread, unique, wait_until, wait_until_asleep};

/// A connection that goes from one worker to another.
#[packet]
struct Passed {
    turn: u64,
}

/// Entry point of the child processes; does nothing without a role.
#[test]
fn peer() {
    let Some(role) = peer::role() else { return };
    match role.name.as_str() {
        "host" => return host(&role.arguments[0]),
        "visitor" => return visitor(&role.arguments[0]),
        "stranger" => return stranger(&role.arguments[0]),
        "flood" => return flood(Path::new(&role.arguments[0])),
        _ => {}
    }
    let worker = Worker::join(&role.arguments[0], &role.arguments[1]).unwrap();
    match role.name.as_str() {
        "hold" => hold(&worker),
        "count" => count(&worker),
        "full" => full(&worker),
        "queued" => queued(&worker),
        "few" => few(&worker),
        "silent" => silent(&worker),
        "pass" => pass(&worker, &role.arguments[2], role.number(3)),
        other => panic!("unknown role {other}"),
    }
}

fn accepting(worker: &Worker) -> Inbox {
    let mut inbox = worker.inbox().unwrap();
    inbox.accept_fds().unwrap();
    inbox
}

/// Two workers of one process, the second with an inbox that accepts descriptors.
fn pair(topic: &str) -> (String, Worker, Worker, Inbox) {
    let cluster = unique(topic);
    let (front, web) =
        (Worker::join(&cluster, "front").unwrap(), Worker::join(&cluster, "web").unwrap());
    let inbox = accepting(&web);
    (cluster, front, web, inbox)
}

/// The files of a cluster in `/dev/shm` that are sockets.
fn sockets(cluster: &str) -> Vec<PathBuf> {
    let start = format!("packetring.{cluster}~f.");
    let files = std::fs::read_dir("/dev/shm").unwrap().map(|file| file.unwrap());
    let own = files.filter(|file| file.file_name().to_str().unwrap().starts_with(&start));
    own.map(|file| file.path()).collect()
}

/// A descriptor of any kind.
fn any_fd() -> OwnedFd {
    pipe().unwrap().1.into()
}

/// Runs a child process, which is the only worker of a cluster, to its end.
fn run_alone(role: &str, cluster: &str) {
    let mut peer = Peer::start(&format!("{role} {cluster} web"));
    peer.expect("done");
    peer.finish();
    assert!(Worker::remove_cluster(cluster).unwrap());
}

fn open_fds() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Returns true if every copy of the other end of a pipe was closed.
fn is_at_end(mut reader: impl Read) -> bool {
    reader.read(&mut [0]).unwrap() == 0
}

#[test]
fn descriptors_of_any_kind_arrive_in_order_with_their_messages() {
    let (_, front, web, mut inbox) = pair("kinds");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let client = TcpStream::connect(address).unwrap();
    let (accepted, _) = listener.accept().unwrap();
    let (unix, other) = UnixStream::pair().unwrap();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let udp_address = udp.local_addr().unwrap();
    let (datagrams, sender) = UnixDatagram::pair().unwrap();
    let mut memory = File::from(memfd_create("test", MemfdFlags::CLOEXEC).unwrap());
    memory.write_all(b"memory").unwrap();
    let (reader, writer) = pipe().unwrap();
    let file = File::open("/proc/self/exe").unwrap();
    front.send_to("web", &1_u64).unwrap();
    let mut all = front
        .send_fds_to(
            "web",
            &Passed { turn: 2 },
            [
                accepted.into(),
                OwnedFd::from(listener),
                unix.into(),
                udp.into(),
                datagrams.into(),
                memory.into(),
                writer.into(),
                file.into(),
            ],
        )
        .unwrap();
    front.send_to("web", &3_u64).unwrap();
    let mut last =
        front.send_fds_to(&web.id(), &4_u64, [reader.try_clone().unwrap().into()]).unwrap();

    let mut first = inbox.recv().unwrap();
    assert_eq!((first.fds(), first.take_fds().unwrap().len()), (0, 0));
    first.ack();
    let mut message = inbox.recv().unwrap();
    assert_eq!(message.sender(), front.id());
    assert!(message.is_from(&web.worker("front").unwrap()));
    assert_eq!(message.open_as::<Passed>().unwrap().turn, 2);
    assert!(matches!(all.try_wait(), Err(TryHandoverError::Pending)));
    assert_eq!(message.fds(), 8);
    let mut fds = message.take_fds().unwrap().into_iter();
    assert!(matches!(message.take_fds(), Err(TakeFdsError::Lost)));
    message.ack();
    all.wait().unwrap();
    all.try_wait().unwrap();
    assert_eq!(all.into_fds().len(), 0);

    for fd in fds.as_slice() {
        let flags = rustix::io::fcntl_getfd(fd).unwrap();
        assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
    }
    let mut next = || fds.next().unwrap();
    let (mut stream, listener) = (TcpStream::from(next()), TcpListener::from(next()));
    stream.write_all(b"x").unwrap();
    (&client).read_exact(&mut [0]).unwrap();
    drop(TcpStream::connect(address).unwrap());
    drop(listener.accept().unwrap());
    UnixStream::from(next()).write_all(b"y").unwrap();
    (&other).read_exact(&mut [0]).unwrap();
    let udp = UdpSocket::from(next());
    UdpSocket::bind("127.0.0.1:0").unwrap().send_to(b"z", udp_address).unwrap();
    udp.recv(&mut [0]).unwrap();
    let datagrams = UnixDatagram::from(next());
    sender.send(b"d").unwrap();
    datagrams.recv(&mut [0]).unwrap();
    let (mut memory, mut text) = (File::from(next()), String::new());
    memory.rewind().unwrap();
    memory.read_to_string(&mut text).unwrap();
    assert_eq!(text, "memory");
    drop(File::from(next()));
    let same = File::from(next()).metadata().unwrap().ino();
    assert_eq!(same, std::fs::metadata("/proc/self/exe").unwrap().ino());

    inbox.recv().unwrap().ack();
    let mut message = inbox.recv().unwrap();
    let mut copy = File::from(message.take_fds().unwrap().remove(0));
    message.ack();
    last.wait().unwrap();
    assert_eq!(copy.read(&mut [0]).unwrap(), 0, "a copy of the writer is left");
    web.leave().unwrap();
}

#[test]
fn each_message_has_its_own_descriptors_and_sixteen_are_the_most() {
    let (_, front, web, mut inbox) = pair("sixteen");
    let mut readers = Vec::new();
    for number in 0..40_u64 {
        let pipes: Vec<_> = (0..1 + number % 16).map(|_| pipe().unwrap()).collect();
        let (ends, writers): (Vec<_>, Vec<_>) = pipes.into_iter().unzip();
        readers.push(ends);
        drop(front.send_fds_to("web", &number, writers.into_iter().map(OwnedFd::from)).unwrap());
    }
    for (number, readers) in readers.into_iter().enumerate() {
        let mut message = inbox.recv().unwrap();
        assert_eq!(message.open_as::<u64>().unwrap().to_native(), number as u64);
        let fds = message.take_fds().unwrap();
        assert_eq!(fds.len(), 1 + number % 16);
        message.ack();
        for (mut reader, (index, fd)) in readers.into_iter().zip(fds.into_iter().enumerate()) {
            File::from(fd).write_all(&[index as u8]).unwrap();
            let mut got = Vec::new();
            reader.read_to_end(&mut got).unwrap();
            assert_eq!(got, [index as u8]);
        }
    }
    for count in [0, 17] {
        let fds = (0..count).map(|_| any_fd());
        let NotSent { error, fds } = front.send_fds_to("web", &7_u64, fds).unwrap_err();
        assert!(matches!(error, SendFdsError::WrongCount { count: found } if found == count));
        assert!(error.to_string().contains(&count.to_string()), "{error}");
        assert_eq!(fds.len(), count);
    }
    web.leave().unwrap();
}

#[test]
fn each_refusal_gives_the_descriptors_back() {
    let cluster = unique("refusals");
    let front = Worker::join(&cluster, "front").unwrap();
    let web = Worker::builder().inbox_capacity(4096).join(&cluster, "web").unwrap();
    let (reader, writer) = pipe().unwrap();
    let mut fd = Some(OwnedFd::from(writer));
    let mut refused = |who: &str, packet: &[u8]| {
        let packet = packet.to_vec();
        let failed = front.send_fds_to(who, &packet, fd.take()).unwrap_err();
        fd = failed.fds.into_iter().next();
        assert!(fd.is_some(), "{who}: the descriptor is gone");
        failed.error
    };
    let error = refused("nobody", b"");
    assert!(
        matches!(&error, SendFdsError::Message(SendToError::UnknownWorker { who }) if who == "nobody"),
        "{error}"
    );
    let error = refused("web", b"");
    assert!(matches!(&error, SendFdsError::NotAccepted { who } if who == "web"), "{error}");
    assert!(error.to_string().contains("Inbox::accept_fds"), "{error}");
    let mut inbox = web.inbox().unwrap();
    assert!(matches!(refused("web", b""), SendFdsError::NotAccepted { .. }));
    inbox.accept_fds().unwrap();
    let error = refused("web", &[0; 5000]);
    assert!(matches!(error, SendFdsError::Message(SendToError::TooLarge { .. })), "{error}");

    while front.try_send_to("web", &1_u64).is_ok() {}
    let fd = fd.take().unwrap();
    let NotSent { error, fds } = front.try_send_fds_to("web", &2_u64, [fd]).unwrap_err();
    assert!(matches!(error, TrySendFdsError::Full { .. }), "{error}");
    let NotSent { error, fds } = front.send_fds_to_timeout("web", &2_u64, fds, SHORT).unwrap_err();
    assert!(matches!(error, SendFdsTimeoutError::Timeout { .. }), "{error}");
    drop(fds);
    // The receiver had the descriptors of three messages that were not sent. It drops them while
    // it waits.
    thread::scope(|scope| {
        let receiver = scope.spawn(|| {
            let mut count = 0;
            loop {
                let message = inbox.recv().unwrap();
                let number = message.open_as::<u64>().unwrap().to_native();
                assert_eq!(message.fds(), 0);
                message.ack();
                if number == 3 {
                    return count;
                }
                count += 1;
            }
        });
        assert!(is_at_end(reader));
        front.send_to("web", &3_u64).unwrap();
        assert!(receiver.join().unwrap() > 10);
    });
    drop(inbox);
    drop(web);
    // It is away: a plain message waits there for the next worker of the name.
    assert_eq!(front.worker("web").unwrap().state, WorkerState::Away);
    let NotSent { error, .. } = front.send_fds_to("web", &1_u64, [any_fd()]).unwrap_err();
    assert!(matches!(error, SendFdsError::Away { .. }), "{error}");
    front.send_to("web", &1_u64).unwrap();
    assert!(front.retire("web").unwrap());
}

#[test]
fn a_message_that_is_not_acknowledged_keeps_its_descriptors() {
    let (_, front, web, mut inbox) = pair("again");
    let (reader, writer) = pipe().unwrap();
    let mut handover = front.send_fds_to("web", &1_u64, [writer.into()]).unwrap();
    drop(inbox.recv().unwrap());
    // Also for the next inbox of the worker.
    drop(inbox);
    let mut inbox = web.inbox().unwrap();
    let mut message = inbox.recv().unwrap();
    assert!(message.info().redelivered);
    let fds = message.take_fds().unwrap();
    drop(message);
    handover.wait().unwrap();
    let mut message = inbox.recv().unwrap();
    assert_eq!(message.fds(), 1);
    let error = message.take_fds().unwrap_err();
    assert!(matches!(error, TakeFdsError::Lost), "{error}");
    message.ack();
    drop(fds);
    assert!(is_at_end(reader));
    web.leave().unwrap();
}

/// Each message of a long queue gets its own, also behind messages whose descriptors are lost. The
/// receiver opens none that nobody asked for.
fn queued(worker: &Worker) {
    const QUEUED: u64 = 400;
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
    let mut inbox = accepting(worker);
    let name = worker.name();
    let send = |number: u64| {
        let (reader, writer) = pipe().unwrap();
        let fds = (0..4).map(|_| writer.try_clone().unwrap().into());
        (worker.send_fds_to(name, &number, fds).unwrap(), reader)
    };
    // Taken at a first delivery.
    drop(send(0));
    let mut message = inbox.recv().unwrap();
    drop(message.take_fds().unwrap());
    drop(message);
    let sent: Vec<_> = (1..=QUEUED).map(send).collect();
    let before = open_fds();
    let mut message = inbox.recv().unwrap();
    assert!(matches!(message.take_fds(), Err(TakeFdsError::Lost)));
    message.ack();
    // Read ahead: one for each connection.
    assert!(open_fds() - before <= 256, "{} descriptors", open_fds() - before);
    for (number, (mut handover, mut reader)) in (1..).zip(sent) {
        let mut message = inbox.recv().unwrap();
        assert_eq!(message.open_as::<u64>().unwrap().to_native(), number);
        let taken = message.take_fds();
        assert_eq!(taken.unwrap_or_else(|error| panic!("message {number}: {error}")).len(), 4);
        message.ack();
        handover.wait().unwrap();
        assert_eq!(reader.read(&mut [0]).unwrap(), 0, "a copy is left");
    }
    drop(inbox);
    peer::say("done");
}

#[test]
fn a_long_queue_loses_none() {
    run_alone("queued", &unique("queued"));
}

#[test]
fn a_message_that_is_acknowledged_without_them_gives_its_descriptors_back() {
    let (_, front, web, mut inbox) = pair("discarded");
    let (reader, writer) = pipe().unwrap();
    let mut handover = front.send_fds_to("web", &1_u64, [writer.into()]).unwrap();
    inbox.recv().unwrap().ack();
    let error = handover.wait().unwrap_err();
    assert!(matches!(&error, HandoverError::Discarded { who } if who == "web"), "{error}");
    assert!(matches!(handover.wait(), Err(HandoverError::Discarded { .. })));
    let mut back = File::from(handover.into_fds().remove(0));
    back.write_all(b"x").unwrap();
    drop(back);
    let mut rest = Vec::new();
    (&reader).read_to_end(&mut rest).unwrap();
    assert_eq!(rest, b"x");
    web.leave().unwrap();
}

/// Holds the inbox; takes the descriptors of the first message if it is told to, and never ends.
fn hold(worker: &Worker) {
    let mut inbox = accepting(worker);
    peer::say("here");
    let takes = peer::hear().unwrap() == "take";
    let mut message = inbox.recv().unwrap();
    let fds = if takes { message.take_fds().unwrap() } else { Vec::new() };
    peer::say("holds");
    peer::hear();
    drop(fds);
}

#[test]
fn a_receiver_that_dies_before_it_took_them_gives_the_descriptors_back() {
    let cluster = unique("gone");
    let front = Worker::join(&cluster, "front").unwrap();
    let mut web = Peer::start(&format!("hold {cluster} web"));
    web.expect("here");
    let (reader, writer) = pipe().unwrap();
    let mut handover = front.send_fds_to("web", &1_u64, [writer.into()]).unwrap();
    let mut waiting = front.send_fds_to("web", &2_u64, [any_fd()]).unwrap();
    web.tell("hold");
    web.expect("holds");
    assert!(matches!(handover.wait_timeout(SHORT), Err(HandoverTimeoutError::Timeout)));
    assert_eq!(sockets(&cluster).len(), 1);
    web.kill();
    for handover in [&mut handover, &mut waiting] {
        let error = handover.wait().unwrap_err();
        assert!(matches!(&error, HandoverError::Gone { who } if who == "web"), "{error}");
    }
    drop(handover.into_fds());
    assert!(is_at_end(reader));

    let successor = Worker::join(&cluster, "web").unwrap();
    let mut inbox = successor.inbox().unwrap();
    let error = inbox.recv().unwrap().take_fds().unwrap_err();
    assert!(matches!(error, TakeFdsError::NotAccepted), "{error}");
    inbox.accept_fds().unwrap();
    for number in 1..=2_u64 {
        let mut message = inbox.recv().unwrap();
        assert_eq!(message.open_as::<u64>().unwrap().to_native(), number);
        assert_eq!(message.fds(), 1);
        let error = message.take_fds().unwrap_err();
        assert!(matches!(error, TakeFdsError::Lost), "{error}");
        message.ack();
    }
    // The socket of the dead worker went when its name was given on, or goes with the next sweep.
    drop(inbox);
    successor.leave().unwrap();
    front.leave().unwrap();
    assert_eq!(sockets(&cluster), Vec::<PathBuf>::new());
}

#[test]
fn a_receiver_that_dies_after_it_took_them_had_them() {
    let cluster = unique("taken");
    let front = Worker::join(&cluster, "front").unwrap();
    let mut web = Peer::start(&format!("hold {cluster} web"));
    web.expect("here");
    let (reader, writer) = pipe().unwrap();
    let mut handover = front.send_fds_to("web", &1_u64, [writer.into()]).unwrap();
    web.tell("take");
    web.expect("holds");
    web.kill();
    handover.wait().unwrap();
    assert!(is_at_end(reader));
    let successor = Worker::join(&cluster, "web").unwrap();
    let mut inbox = accepting(&successor);
    let mut message = inbox.recv().unwrap();
    assert!(message.info().redelivered);
    assert!(matches!(message.take_fds(), Err(TakeFdsError::Lost)));
    message.ack();
    drop(inbox);
    successor.leave().unwrap();
}

#[test]
fn a_dropped_handover_leaves_the_descriptors_to_the_receiver_or_the_kernel() {
    let cluster = unique("dropped");
    let front = Worker::join(&cluster, "front").unwrap();
    let mut web = Peer::start(&format!("hold {cluster} web"));
    web.expect("here");
    let (reader, writer) = pipe().unwrap();
    drop(front.send_fds_to("web", &1_u64, [writer.into()]).unwrap());
    let (second, writer) = pipe().unwrap();
    drop(front.send_fds_to("web", &2_u64, [writer.into()]).unwrap());
    web.tell("take");
    web.expect("holds");
    for end in [&reader, &second] {
        let mut end = [PollFd::new(end, PollFlags::IN)];
        assert_eq!(poll(&mut end, Some(&Default::default())).unwrap(), 0, "it is closed");
    }
    web.kill();
    assert!(is_at_end(reader));
    assert!(is_at_end(second));
    assert!(front.retire("web").unwrap());
}

#[test]
fn a_handover_waits_for_event_loops_timeouts_and_a_stop() {
    let cluster = unique("waits");
    let stop = Stop::new();
    let front = Worker::builder().stop(&stop).join(&cluster, "front").unwrap();
    let web = Worker::join(&cluster, "web").unwrap();
    let mut inbox = accepting(&web);
    let send = || front.send_fds_to("web", &1_u64, [any_fd()]).unwrap();
    let mut handover = send();
    let is_readable = |handover: &Handover| {
        let mut it = [PollFd::new(handover, PollFlags::IN)];
        poll(&mut it, Some(&Default::default())).unwrap() == 1
    };
    assert!(!is_readable(&handover));
    assert!(matches!(handover.wait_timeout(SHORT), Err(HandoverTimeoutError::Timeout)));
    let mut message = inbox.recv().unwrap();
    drop(message.take_fds().unwrap());
    message.ack();
    assert!(is_readable(&handover));
    handover.try_wait().unwrap();

    let _watch = Watch::start();
    let mut handover = send();
    thread::scope(|scope| {
        let (sender, thread) = std::sync::mpsc::channel();
        let waiter = scope.spawn(move || {
            sender.send(this_thread()).unwrap();
            (handover.wait(), handover)
        });
        wait_until_asleep(thread.recv().unwrap());
        stop.stop();
        let (outcome, mut handover) = waiter.join().unwrap();
        assert!(matches!(outcome, Err(HandoverError::Stopped)));
        // Nothing is decided by a stop.
        let mut message = inbox.recv().unwrap();
        drop(message.take_fds().unwrap());
        message.ack();
        handover.wait().unwrap();
    });
    web.leave().unwrap();
}

/// Goes through many handovers, good and bad ones, and reports how many descriptors are left over.
fn count(worker: &Worker) {
    let mut inbox = accepting(worker);
    let turn = |inbox: &mut Inbox| {
        let fds = || [any_fd(), OwnedFd::from(pipe().unwrap().0)];
        let name = worker.name();
        let mut handover = worker.send_fds_to(name, &1_u64, fds()).unwrap();
        let mut message = inbox.recv().unwrap();
        drop(message.take_fds().unwrap());
        message.ack();
        handover.wait().unwrap();
        let mut handover = worker.send_fds_to(name, &1_u64, fds()).unwrap();
        inbox.recv().unwrap().ack();
        handover.wait().unwrap_err();
        drop(handover);
        drop(worker.send_fds_to(name, &1_u64, fds()).unwrap());
        inbox.recv().unwrap().ack();
        worker.send_fds_to(name, &vec![0_u8; 1 << 20], fds()).unwrap_err();
        worker.send_fds_to("nobody", &1_u64, fds()).unwrap_err();
    };
    turn(&mut inbox);
    let _ = inbox.recv_timeout(Duration::from_millis(100)).err();
    let before = open_fds();
    for _ in 0..200 {
        turn(&mut inbox);
    }
    // The descriptors of messages that were not sent go while the inbox waits.
    wait_until("all descriptors are closed", || {
        let _ = inbox.recv_timeout(Duration::from_millis(20)).err();
        open_fds() <= before
    });
    drop(inbox);
    peer::say("done");
}

#[test]
fn no_descriptor_is_left_over() {
    let cluster = unique("count");
    run_alone("count", &cluster);
    assert_eq!(sockets(&cluster), Vec::<PathBuf>::new());
}

/// Fills the queue of the own socket, by messages and by foreign connections.
fn full(worker: &Worker) {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
    let mut inbox = accepting(worker);
    let name = worker.name();
    let path = sockets(name).remove(0);
    let mut flood = Vec::new();
    while let Ok(socket) = connect_raw(&path) {
        // Silent ones, those with too little, with too much, and with an id that no message has.
        let bytes = [0, 3, 16, 40][flood.len() % 4];
        if bytes > 0 {
            send(&socket, &vec![7; bytes], SendFlags::DONTWAIT).unwrap();
        }
        if flood.len() % 8 < 4 {
            flood.push(Some(socket));
        } else {
            flood.push(None);
        }
        assert!(flood.len() < 5000, "the queue takes everything");
    }
    peer::say(&format!("flooded {}", flood.len() > 1000));
    let fd = any_fd();
    let NotSent { error, fds } = worker.send_fds_to(name, &1_u64, [fd]).unwrap_err();
    assert!(matches!(&error, SendFdsError::QueueFull { who } if who == name), "{error}");
    // The inbox makes room while it waits, and keeps a bounded number.
    let before = open_fds();
    let _ = inbox.recv_timeout(Duration::from_millis(200)).err();
    assert!(open_fds() - before <= 256, "{} descriptors", open_fds() - before);
    let mut handover = worker.send_fds_to(name, &1_u64, fds).unwrap();
    let mut message = inbox.recv().unwrap();
    assert_eq!(message.take_fds().unwrap().len(), 1);
    message.ack();
    handover.wait().unwrap();
    drop(flood);
    wait_until("the flood is gone", || {
        let _ = inbox.recv_timeout(Duration::from_millis(20)).err();
        open_fds() < before
    });
    peer::say("done");
}

#[test]
fn a_flooded_socket_refuses_and_recovers() {
    let cluster = unique("flood");
    let mut peer = Peer::start(&format!("full {cluster} {cluster}"));
    peer.expect("flooded true");
    peer.expect("done");
    peer.finish();
    assert!(Worker::remove_cluster(&cluster).unwrap());
}

/// Connects to a socket without the library.
fn connect_raw(path: &Path) -> rustix::io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    connect(&socket, &SocketAddrUnix::new(path)?).map(|()| socket)
}

/// The id that goes through the socket with the descriptors of the next message: the number of the
/// inbox, and the position. The message has no descriptors then.
fn next_id(front: &Worker, path: &Path) -> (u64, u64) {
    let aside = path.with_extension("aside");
    std::fs::rename(path, &aside).unwrap();
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
    bind(&socket, &SocketAddrUnix::new(path).unwrap()).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
    listen(&socket, 1).unwrap();
    drop(front.send_fds_to("web", &0_u64, [any_fd()]).unwrap());
    let connection = accept(&socket).unwrap();
    let mut id = [0; 16];
    assert_eq!(recv(&connection, &mut id[..], RecvFlags::empty()).unwrap().0, 16);
    std::fs::rename(aside, path).unwrap();
    let (ring, position) = id.split_at(8);
    let number = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().unwrap());
    (number(ring), number(position))
}

/// Connects many times, and then sends the ids of messages that are to come.
fn flood(path: &Path) {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
    let all: Vec<OwnedFd> = (0..600).map(|_| connect_raw(path).unwrap()).collect();
    peer::say("connected");
    let heard = peer::hear().unwrap();
    let (ring, position) = heard.split_once(' ').unwrap();
    let (ring, position): (u64, u64) = (ring.parse().unwrap(), position.parse().unwrap());
    for (number, socket) in (1..).zip(&all) {
        let id = u128::from(ring) | u128::from(position + number) << 64;
        send(socket, &id.to_le_bytes(), SendFlags::DONTWAIT).unwrap();
    }
    peer::say("sent");
    peer::hear();
}

#[test]
fn a_process_that_floods_the_socket_takes_no_descriptors_from_others() {
    let (cluster, front, web, mut inbox) = pair("valid-flood");
    let path = sockets(&cluster).remove(0);
    let (ring, first) = next_id(&front, &path);
    let mut message = inbox.recv().unwrap();
    assert!(matches!(message.take_fds(), Err(TakeFdsError::Lost)));
    message.ack();
    let mut flood = Peer::start(&format!("flood {}", path.display()));
    flood.expect("connected");
    // Its connections are before those of the messages, and have the ids of those behind them.
    let mut handovers: Vec<_> =
        (0..40_u64).map(|number| front.send_fds_to("web", &number, [any_fd()]).unwrap()).collect();
    for _ in 0..700 {
        front.send_to("web", &0_u64).unwrap();
    }
    flood.tell(&format!("{ring} {}", first + 50));
    flood.expect("sent");
    for (number, handover) in handovers.iter_mut().enumerate() {
        let mut message = inbox.recv().unwrap();
        assert_eq!(message.open_as::<u64>().unwrap().to_native(), number as u64);
        let taken = message.take_fds();
        assert_eq!(taken.unwrap_or_else(|error| panic!("message {number}: {error}")).len(), 1);
        message.ack();
        handover.wait().unwrap();
    }
    flood.tell("end");
    flood.finish();
    drop(inbox);
    web.leave().unwrap();
}

/// Fills the queue of the own socket with connections that send nothing.
fn silent(worker: &Worker) {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
    let mut inbox = accepting(worker);
    let path = sockets(worker.name()).remove(0);
    let mut flood = Vec::new();
    for round in 0..4 {
        let before = flood.len();
        while let Ok(socket) = connect_raw(&path) {
            flood.push(socket);
        }
        assert!(flood.len() > before + if round == 0 { 1000 } else { 0 });
        wait_until("there is room again", || {
            // Without a message with descriptors, whose search would close them.
            let _ = inbox.recv_timeout(Duration::from_millis(20)).err();
            connect_raw(&path).map(|socket| flood.push(socket)).is_ok()
        });
    }
    drop(inbox);
    peer::say("done");
}

#[test]
fn connections_that_send_nothing_do_not_fill_the_socket_for_ever() {
    let cluster = unique("silent");
    let mut peer = Peer::start(&format!("silent {cluster} {cluster}"));
    peer.expect("done");
    peer.finish();
    assert!(Worker::remove_cluster(&cluster).unwrap());
}

#[test]
fn an_inbox_that_never_runs_dry_gives_descriptors_back() {
    let cluster = unique("busy");
    let front = Worker::join(&cluster, "front").unwrap();
    let web = Worker::builder().inbox_capacity(4096).join(&cluster, "web").unwrap();
    let mut inbox = accepting(&web);
    // A sender that was killed before it published its message, with an id that none has.
    let socket = connect_raw(&sockets(&cluster)[0]).unwrap();
    let (reader, writer) = pipe().unwrap();
    send_raw(&socket, &[7; 16], writer.into());
    let is_closed = || {
        let mut it = [PollFd::new(&reader, PollFlags::IN)];
        poll(&mut it, Some(&Default::default())).unwrap() == 1
    };
    front.send_to("web", &0_u64).unwrap();
    for number in 1..1000_u64 {
        front.send_to("web", &number).unwrap();
        // There is always one more.
        inbox.recv().unwrap().ack();
    }
    assert!(is_closed(), "a copy of the writer is left");
    inbox.recv().unwrap().ack();
    web.leave().unwrap();
}

/// Sends a descriptor without the library.
fn send_raw(socket: &OwnedFd, bytes: &[u8], fd: OwnedFd) {
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let fds = [fd.as_fd()];
    assert!(control.push(SendAncillaryMessage::ScmRights(&fds)));
    sendmsg(socket, &[IoSlice::new(bytes)], &mut control, SendFlags::empty()).unwrap();
}

#[test]
fn a_socket_whose_file_is_removed_is_made_again() {
    let (cluster, front, web, mut inbox) = pair("removed-file");
    let path = sockets(&cluster).remove(0);
    for round in 0..4_u64 {
        // On the way when the file goes.
        let mut before = front.send_fds_to("web", &round, [any_fd()]).unwrap();
        if round % 2 == 0 {
            std::fs::remove_file(&path).unwrap();
        } else {
            // A file of another program is in its place.
            let other = path.with_extension("other");
            drop(std::os::unix::net::UnixListener::bind(&other).unwrap());
            std::fs::set_permissions(&other, std::fs::Permissions::from_mode(0o600)).unwrap();
            std::fs::rename(&other, &path).unwrap();
        }
        let NotSent { error, fds } = front.send_fds_to("web", &round, [any_fd()]).unwrap_err();
        assert!(matches!(error, SendFdsError::NotAccepted { .. }), "{error}");
        let mut message = inbox.recv().unwrap();
        assert_eq!(message.take_fds().unwrap().len(), 1);
        message.ack();
        before.wait().unwrap();
        let (mut fds, mut handover) = (fds, None);
        wait_until("the socket is there again", || {
            let _ = inbox.recv_timeout(Duration::from_millis(5)).err();
            match front.send_fds_to("web", &round, std::mem::take(&mut fds)) {
                Ok(sent) => handover = Some(sent),
                Err(not_sent) => fds = not_sent.fds,
            }
            handover.is_some()
        });
        let mut message = inbox.recv().unwrap();
        assert_eq!(message.take_fds().unwrap().len(), 1);
        message.ack();
        handover.unwrap().wait().unwrap();
        assert_eq!(sockets(&cluster), std::slice::from_ref(&path));
    }
    drop(inbox);
    web.leave().unwrap();
    assert_eq!(sockets(&cluster), Vec::<PathBuf>::new());
}

/// Has few descriptors left, at each step.
fn few(worker: &Worker) {
    let mut inbox = accepting(worker);
    let name = worker.name();
    let send = || worker.send_fds_to(name, &1_u64, (0..8).map(|_| any_fd()));
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(100), ..limit }).unwrap();
    // The result keeps all descriptors but this number.
    let restrict = |left: usize| {
        let mut all: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
        all.truncate(all.len() - left);
        all
    };
    // Warm: the endpoint at the inbox exists.
    worker.send_to(name, &0_u64).unwrap();
    inbox.recv().unwrap().ack();
    // The sender has none for its connection.
    let fd = any_fd();
    let used = restrict(1);
    let NotSent { error, fds } = worker.send_fds_to(name, &1_u64, [fd]).unwrap_err();
    drop((used, fds));
    assert!(matches!(error, SendFdsError::System(_)), "{error}");
    assert!(error.to_string().contains("RLIMIT_NOFILE"), "{error}");
    // The receiver has none for the connection: it can try again.
    let before = open_fds();
    let mut handover = send().unwrap();
    let mut message = inbox.recv().unwrap();
    let used = restrict(0);
    let refused = message.take_fds().unwrap_err();
    drop((used, message));
    assert!(matches!(refused, TakeFdsError::NoFdLeft), "{refused}");
    let mut message = inbox.recv().unwrap();
    assert_eq!(message.take_fds().unwrap().len(), 8);
    message.ack();
    handover.wait().unwrap();
    drop(handover);
    // It has too few for the descriptors: the kernel closes the others, and the sender has its own.
    let mut handover = send().unwrap();
    let mut message = inbox.recv().unwrap();
    let used = restrict(5);
    let refused = message.take_fds().unwrap_err();
    drop(used);
    assert!(matches!(refused, TakeFdsError::NoFdLeft), "{refused}");
    message.ack();
    let error = handover.wait().unwrap_err();
    assert!(matches!(error, HandoverError::NoFdLeft { .. }), "{error}");
    assert_eq!(handover.into_fds().len(), 8);
    // A message that is acknowledged while the connection cannot be accepted: its sender learns so
    // when it is.
    let mut handover = send().unwrap();
    let mut message = inbox.recv().unwrap();
    let used = restrict(0);
    assert!(matches!(message.take_fds(), Err(TakeFdsError::NoFdLeft)));
    message.ack();
    drop(used);
    wait_until("the sender is told", || {
        let _ = inbox.recv_timeout(SHORT).err();
        handover.try_wait().is_err_and(|error| matches!(error, TryHandoverError::Discarded { .. }))
    });
    drop(handover);
    assert_eq!(open_fds(), before);
    peer::say("done");
}

#[test]
fn a_limit_of_descriptors_is_an_error_at_each_step() {
    run_alone("few", &unique("few"));
}

#[test]
fn the_socket_lies_beside_the_objects_and_goes_with_its_worker() {
    let (cluster, front, web, inbox) = pair("files");
    let files = sockets(&cluster);
    assert_eq!(files.len(), 1);
    assert_eq!(std::fs::metadata(&files[0]).unwrap().permissions().mode() & 0o7777, 0o600);
    let find = || {
        let all = packetring::inventory().unwrap();
        all.into_iter().find(|object| object.path == files[0])
    };
    let found = find().unwrap();
    assert_eq!((found.kind, found.is_attached), (ObjectKind::Socket, true));
    assert_eq!((&found.kept, found.cluster.as_ref()), (&Kept::Nothing, Some(&cluster)));
    assert!(found.fault.is_none());
    assert!(found.to_string().contains("socket"), "{found}");
    drop(inbox);
    assert_eq!(sockets(&cluster), files, "the worker keeps it");
    drop(web);
    assert_eq!(sockets(&cluster), Vec::<PathBuf>::new());
    assert!(find().is_none());
    assert!(front.retire("web").unwrap());

    // Killed: a sweep removes it.
    let mut peer = Peer::start(&format!("hold {cluster} web"));
    peer.expect("here");
    assert_eq!(sockets(&cluster).len(), 1);
    peer.kill();
    let other = Worker::join(&cluster, "other").unwrap();
    other.leave().unwrap();
    assert_eq!(sockets(&cluster), Vec::<PathBuf>::new());
    // All killed: the call that removes the cluster does.
    let mut peer = Peer::start(&format!("hold {cluster} web"));
    peer.expect("here");
    assert!(front.retire("web").is_err());
    front.leave().unwrap();
    peer.kill();
    assert_eq!(sockets(&cluster).len(), 1);
    assert!(Worker::remove_cluster(&cluster).unwrap());
    assert_eq!(sockets(&cluster), Vec::<PathBuf>::new());
}

#[test]
fn purge_removes_a_deserted_socket_and_no_other() {
    let prefix = format!("purge-fds-{}", std::process::id());
    let cluster = unique("purged");
    let web = Worker::builder().prefix(&prefix).join(&cluster, "web").unwrap();
    let inbox = accepting(&web);
    let start = format!("packetring.{prefix}:{cluster}~f.");
    let find = || {
        let files = std::fs::read_dir("/dev/shm").unwrap().map(|file| file.unwrap().path());
        let is_it = |path: &Path| path.file_name().unwrap().to_str().unwrap().starts_with(&start);
        files.filter(|path| is_it(path)).collect::<Vec<_>>()
    };
    let own = find();
    assert_eq!(own.len(), 1);
    let stale = PathBuf::from(format!("/dev/shm/{start}7.1.abc"));
    drop(std::os::unix::net::UnixListener::bind(&stale).unwrap());
    let purged = packetring::inventory::purge_prefix(&prefix).unwrap();
    assert_eq!(purged.removed.len(), 1);
    assert_eq!(purged.removed[0].path, stale);
    assert_eq!(find(), own);
    drop(inbox);
    web.leave().unwrap();
    assert_eq!(find(), Vec::<PathBuf>::new());
}

#[test]
fn a_long_name_has_a_socket_too() {
    let cluster = format!("{}-{}", unique("long"), "x".repeat(120));
    let front = Worker::join(&cluster, "front").unwrap();
    let mut inbox = accepting(&front);
    let mut handover = front.send_fds_to("front", &1_u64, [any_fd()]).unwrap();
    let mut message = inbox.recv().unwrap();
    assert_eq!(message.take_fds().unwrap().len(), 1);
    message.ack();
    handover.wait().unwrap();
    front.leave().unwrap();
}

/// Serves a connection: reads one line, answers with it, and hands the connection to the other
/// worker. The last one ends it.
fn pass(worker: &Worker, other: &str, turns: u64) {
    let mut inbox = accepting(worker);
    peer::say("here");
    let mut handovers = Vec::new();
    loop {
        let mut message = inbox.recv().unwrap();
        let turn = message.open_as::<Passed>().unwrap().turn.to_native();
        let stream = TcpStream::from(message.take_fds().unwrap().remove(0));
        message.ack();
        let mut line = Vec::new();
        // Byte by byte: what is behind the line belongs to the next worker.
        while line.last() != Some(&b'\n') {
            let mut byte = [0];
            (&stream).read_exact(&mut byte).unwrap();
            line.push(byte[0]);
        }
        assert_eq!(line, format!("line {turn}\n").as_bytes());
        (&stream).write_all(&line).unwrap();
        if turn < turns {
            let packet = Passed { turn: turn + 1 };
            handovers.push(worker.send_fds_to(other, &packet, [stream.into()]).unwrap());
        }
        // The last one has nobody behind it; the one before it hands its last over.
        if turn + 1 >= turns {
            for mut handover in handovers {
                handover.wait().unwrap();
            }
            return;
        }
        handovers.retain_mut(|handover: &mut Handover| handover.try_wait().is_err());
    }
}

#[test]
fn a_connection_goes_on_byte_for_byte_through_thousands_of_handovers() {
    const TURNS: u64 = 4000;
    let cluster = unique("tcp");
    let start = |own: &str, other: &str| {
        let mut peer = Peer::start(&format!("pass {cluster} {own} {other} {TURNS}"));
        peer.expect("here");
        peer
    };
    let peers = [start("one", "two"), start("two", "one")];
    let front = Worker::join(&cluster, "front").unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (stream, _) = listener.accept().unwrap();
    let mut handover = front.send_fds_to("one", &Passed { turn: 1 }, [stream.into()]).unwrap();
    handover.wait().unwrap();
    let mut out = client.try_clone().unwrap();
    // Talks throughout, without waiting for answers.
    let talker = thread::spawn(move || {
        for turn in 1..=TURNS {
            out.write_all(format!("line {turn}\n").as_bytes()).unwrap();
        }
        out.shutdown(Shutdown::Write).unwrap();
    });
    let mut lines = BufReader::new(client).lines();
    for turn in 1..=TURNS {
        assert_eq!(lines.next().unwrap().unwrap(), format!("line {turn}"));
    }
    assert!(lines.next().is_none(), "the connection has ended");
    talker.join().unwrap();
    for peer in peers {
        peer.finish();
    }
    drop(front);
    assert!(Worker::remove_cluster(&cluster).unwrap());
}

#[test]
fn many_threads_hand_over_to_one_worker() {
    const THREADS: u64 = 8;
    const EACH: u64 = 100;
    let (_, front, web, mut inbox) = pair("threads");
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let front = &front;
            scope.spawn(move || {
                for number in 0..EACH {
                    let (mut reader, writer) = pipe().unwrap();
                    let number = thread * EACH + number;
                    let mut handover = front.send_fds_to("web", &number, [writer.into()]).unwrap();
                    handover.wait().unwrap();
                    let mut got = Vec::new();
                    reader.read_to_end(&mut got).unwrap();
                    assert_eq!(got, number.to_le_bytes());
                }
            });
        }
        for _ in 0..THREADS * EACH {
            let mut message = inbox.recv_timeout(LONG).unwrap();
            let number = message.open_as::<u64>().unwrap().to_native();
            let mut writer = File::from(message.take_fds().unwrap().remove(0));
            message.ack();
            writer.write_all(&number.to_le_bytes()).unwrap();
        }
    });
    web.leave().unwrap();
}

#[test]
fn dead_letters_have_no_descriptors_and_their_packet() {
    let cluster = unique("dead-letters");
    let front = Worker::join(&cluster, "front").unwrap();
    let morgue = Worker::join(&cluster, "morgue").unwrap();
    let mut letters = morgue.inbox().unwrap();
    let web =
        Worker::builder().max_deliveries(1).dead_letters("morgue").join(&cluster, "web").unwrap();
    let mut inbox = accepting(&web);
    let mut handover = front.send_fds_to("web", &77_u64, [any_fd()]).unwrap();
    drop(inbox.recv().unwrap());
    assert!(inbox.try_recv().is_err());
    let letter = letters.recv().unwrap();
    assert_eq!(letter.open_as::<u64>().unwrap().to_native(), 77);
    assert_eq!((letter.fds(), letter.sender()), (0, front.id()));
    letter.ack();
    assert!(matches!(handover.wait(), Err(HandoverError::Discarded { .. })));
    drop(inbox);
    web.leave().unwrap();
    morgue.leave().unwrap();
}

#[test]
fn a_forked_child_keeps_no_socket_and_no_descriptor() {
    let (cluster, front, web, mut inbox) = pair("fork");
    let (reader, writer) = pipe().unwrap();
    let mut handover = front.send_fds_to("web", &1_u64, [writer.into()]).unwrap();
    // This one is read ahead: the first message that asks is not its own.
    let (second, writer) = pipe().unwrap();
    drop(front.send_fds_to("web", &2_u64, [writer.into()]).unwrap());
    inbox.recv().unwrap().ack();
    assert!(matches!(handover.wait(), Err(HandoverError::Discarded { .. })));
    let mut handover = front.send_fds_to("web", &3_u64, handover.into_fds()).unwrap();
    let mut message = inbox.recv().unwrap();
    message.take_fds().unwrap();
    drop(message);
    let mut message = inbox.recv().unwrap();
    assert!(matches!(message.take_fds(), Err(TakeFdsError::Lost)));
    message.ack();
    // SAFETY: the child makes system calls only, and ends by a signal.
    let child = unsafe { libc::fork() };
    if child == 0 {
        loop {
            // SAFETY: a system call without arguments.
            unsafe { libc::pause() };
        }
    }
    drop(inbox.recv().unwrap());
    drop((inbox, web));
    assert!(matches!(handover.wait(), Err(HandoverError::Gone { .. })));
    assert_eq!(sockets(&cluster), Vec::<PathBuf>::new());
    assert!(is_at_end(second));
    drop((handover, reader));
    // SAFETY: the id is that of the child, which was not reaped.
    unsafe {
        libc::kill(child, Signal::KILL.as_raw());
        libc::waitpid(child, std::ptr::null_mut(), 0);
    }
    assert!(front.retire("web").unwrap());
}

// ── Users ──────────────────────────────────────────────────────────────────────────────────────

const GROUP: u32 = 64242;
const HOST: u32 = 12345;
const VISITOR: u32 = 65534;

fn is_root() -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        println!("not root: nothing about other users is tested");
    }
    is_root
}

/// Becomes a user of one group.
fn become_user(user: u32, group: u32) {
    // SAFETY: the C library changes the user of all threads. The list has one id.
    let outcomes =
        unsafe { (libc::setgroups(1, &raw const group), libc::setgid(user), libc::setuid(user)) };
    assert_eq!(outcomes, (0, 0, 0));
}

fn join_shared(cluster: &str, name: &str) -> Worker {
    Worker::builder().mode(0o660).group(GROUP).max_workers(4).join(cluster, name).unwrap()
}

/// A user of the group receives a descriptor.
fn host(cluster: &str) {
    // A strict umask changes nothing.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    become_user(HOST, GROUP);
    let worker = join_shared(cluster, "host");
    let mut inbox = accepting(&worker);
    let found = std::fs::metadata(&sockets(cluster)[0]).unwrap();
    assert_eq!((found.mode() & 0o7777, found.gid(), found.uid()), (0o660, GROUP, HOST));
    peer::say("here");
    let mut message = inbox.recv_timeout(LONG).unwrap();
    let mut writer = File::from(message.take_fds().unwrap().remove(0));
    message.ack();
    writer.write_all(b"shared").unwrap();
    drop(inbox);
    worker.leave().unwrap();
}

/// Another user of the group sends one.
fn visitor(cluster: &str) {
    become_user(VISITOR, GROUP);
    let worker = join_shared(cluster, "visitor");
    let (mut reader, writer) = pipe().unwrap();
    let mut handover = worker.send_fds_to("host", &1_u64, [writer.into()]).unwrap();
    handover.wait_timeout(LONG).unwrap();
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert_eq!(text, "shared");
}

/// A user whom the cluster does not admit connects to the socket, and puts another one in its
/// place once it is gone.
fn stranger(cluster: &str) {
    become_user(VISITOR, VISITOR);
    let path = &sockets(cluster)[0];
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
    let refused = connect(&socket, &SocketAddrUnix::new(path).unwrap());
    assert_eq!(refused, Err(rustix::io::Errno::ACCESS));
    peer::say("refused");
    peer::hear();
    rustix::net::bind(&socket, &SocketAddrUnix::new(path).unwrap()).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o777)).unwrap();
    rustix::net::listen(&socket, 8).unwrap();
    peer::say("listens");
    peer::hear();
    // It got no connection at all.
    let mut waiting = [PollFd::new(&socket, PollFlags::IN)];
    peer::say(&format!("got {}", poll(&mut waiting, Some(&Default::default())).unwrap()));
    peer::hear();
    std::fs::remove_file(path).unwrap();
}

#[test]
fn users_of_a_shared_cluster_hand_over_to_each_other() {
    if !is_root() {
        return;
    }
    let cluster = unique("shared-fds");
    let mut host = Peer::start(&format!("host {cluster}"));
    host.expect("here");
    Peer::start(&format!("visitor {cluster}")).finish();
    host.finish();
    assert_eq!(sockets(&cluster), Vec::<PathBuf>::new());
    // If the visitor left last, it could not remove the directory of the host's user.
    let _ = std::fs::remove_file(format!("/dev/shm/packetring.{cluster}~d"));
}

#[test]
fn another_user_can_neither_send_nor_receive() {
    if !is_root() {
        return;
    }
    let (cluster, front, web, mut inbox) = pair("stranger");
    let path = sockets(&cluster).remove(0);
    let mut stranger = Peer::start(&format!("stranger {cluster}"));
    stranger.expect("refused");
    // The file goes, for example by hand.
    std::fs::remove_file(&path).unwrap();
    let fd = any_fd();
    let NotSent { error, fds } = front.send_fds_to("web", &1_u64, [fd]).unwrap_err();
    assert!(matches!(error, SendFdsError::NotAccepted { .. }), "{error}");
    stranger.tell("bind");
    stranger.expect("listens");
    let NotSent { error, fds } = front.send_fds_to("web", &1_u64, fds).unwrap_err();
    assert!(
        matches!(&error, SendFdsError::Untrusted { who, user: VISITOR } if who == "web"),
        "{error}"
    );
    assert_eq!(fds.len(), 1);
    stranger.tell("count");
    stranger.expect("got 0");
    stranger.tell("end");
    stranger.finish();
    assert!(inbox.try_recv().is_err());
    web.leave().unwrap();
}
