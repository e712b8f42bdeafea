//! Packets of no bytes pass through every path of an endpoint, in place and copied.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod support;

use std::fmt::Debug;
use std::os::fd::AsRawFd;
#[cfg(feature = "async")]
use std::{
    pin::pin,
    task::{Context, Poll, Waker},
};

use packetring::{
    Copied, Received, Reserved, Ring, Tail, Worker,
    board::{CellValue, ReadError},
    cluster::{Delivery, Request, ServiceRecvError},
    one_of, packet,
    packet::{AnyBits, Unpack},
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use support::{
    Watch, on_all,
    peer::{self, Peer},
    unique,
};

#[packet]
#[derive(Debug, PartialEq, Default)]
struct Unit;

#[packet]
#[derive(Debug, PartialEq, Default)]
struct Aligned {
    nothing: [u128; 0],
    also: ((), Unit),
}

/// Types with pointers, of which there are none.
#[packet]
#[derive(Debug, PartialEq, Default)]
struct NoText([String; 0], [Vec<u8>; 0]);

/// Types without bytes.
trait Empty: Unpack + PartialEq + Debug + Default {}
impl<T: Unpack + PartialEq + Debug + Default> Empty for T {}

/// Runs a generic function for each kind of type without bytes.
macro_rules! each {
    ($function:ident $(, $argument:expr)?) => {
        $function::<()>($($argument)?);
        $function::<Unit>($($argument)?);
        $function::<[u8; 0]>($($argument)?);
        $function::<[u64; 0]>($($argument)?);
        $function::<Aligned>($($argument)?);
        $function::<[String; 0]>($($argument)?);
        $function::<NoText>($($argument)?);
        $function::<((), [Box<u8>; 0])>($($argument)?);
    };
}

fn is_aligned<T>(value: &T) -> bool {
    (&raw const *value).addr().is_multiple_of(align_of::<T>())
}

fn two<T: Empty>() -> [T; 2] {
    [T::default(), T::default()]
}

/// Entry point of the child processes; does nothing without a role.
#[test]
fn peer() {
    let Some(role) = peer::role() else { return };
    match role.name.as_str() {
        "()" => postpone::<()>(&role.arguments[0]),
        "Unit" => postpone::<Unit>(&role.arguments[0]),
        "Aligned" => postpone::<Aligned>(&role.arguments[0]),
        name => panic!("unknown role: {name}"),
    }
}

#[test]
fn a_subscriber_receives_them() {
    fn run<T: Empty>() {
        on_all(Ring::builder, |ring| {
            let mut out = ring.publisher::<T>().unwrap();
            let mut all = ring.subscriber::<T>().unwrap();
            out.send_all(&two::<T>()).unwrap();
            let packet = all.recv().unwrap();
            assert!(is_aligned(&*packet));
            assert_eq!(Received::unpack(packet).unwrap(), T::default());
            Received::unreceive(all.recv().unwrap());
            assert!(Received::info(&all.recv_where(|_| true).unwrap()).redelivered);
            out.send_all(&two::<T>()).unwrap();
            assert_eq!(all.drain().unwrap().iter().filter(|packet| is_aligned(*packet)).count(), 2);
            out.send(&T::default()).unwrap();
            assert_eq!(all.values().next().unwrap().unwrap(), T::default());
        });
    }
    each!(run);
}

#[test]
fn a_copy_of_one_is_a_packet() {
    fn run<T: Empty>() {
        let ring = Ring::builder().heap().unwrap();
        let mut out = ring.publisher::<T>().unwrap();
        let mut all = ring.subscriber::<T>().unwrap();
        out.send_all(&two::<T>()).unwrap();
        let packet = all.recv_copied().unwrap();
        assert!(is_aligned(&*packet));
        assert_eq!(Copied::unpack(packet).unwrap(), T::default());
        assert!(all.try_recv_copied().is_ok());
    }
    let _watch = Watch::start();
    each!(run);
}

#[test]
fn a_reservation_of_one_is_a_packet() {
    fn run<T: Empty<Archived: AnyBits>>() {
        let ring = Ring::builder().heap().unwrap();
        let mut out = ring.publisher::<T>().unwrap();
        let mut all = ring.subscriber::<T>().unwrap();
        let room = out.reserve().unwrap();
        assert!(is_aligned(&*room));
        Reserved::commit(room);
        assert_eq!(Received::unpack(all.recv().unwrap()).unwrap(), T::default());
    }
    let _watch = Watch::start();
    run::<()>();
    run::<Unit>();
    run::<[u8; 0]>();
    run::<[u64; 0]>();
    run::<Aligned>();
    let mut out = Ring::builder().heap().unwrap().publisher::<Tail<[u64; 0], u8>>().unwrap();
    assert!(is_aligned(out.reserve_tail(3).unwrap().head()));
}

#[one_of]
enum Nothing {
    Unit(Unit),
    Aligned(Aligned),
    NoText(NoText),
}

impl Nothing<'_> {
    fn is_aligned(&self) -> bool {
        match self {
            Nothing::Unit(packet) => is_aligned(*packet),
            Nothing::Aligned(packet) => is_aligned(*packet),
            Nothing::NoText(packet) => is_aligned(*packet),
        }
    }
}

#[test]
fn a_subscriber_of_any_types_receives_them() {
    on_all(Ring::builder, |ring| {
        let mut all = ring.any_subscriber().unwrap();
        let mut out = ring.any_publisher().unwrap();
        for _ in 0..2 {
            out.send(&Unit).unwrap();
            out.send(&Aligned::default()).unwrap();
            out.send(&NoText::default()).unwrap();
        }
        for _ in 0..3 {
            let packet = all.recv().unwrap();
            assert!(packet.open::<Nothing<'_>>().unwrap().unwrap().is_aligned());
        }
        let batch = all.drain().unwrap();
        assert_eq!(batch.len(), 3);
        for packet in &batch {
            assert!(packet.open::<Nothing<'_>>().unwrap().unwrap().is_aligned());
        }
        drop(batch);
        out.send(&[(); 0]).unwrap();
        assert!(all.recv().unwrap().open_as::<[(); 0]>().is_ok());
    });
}

#[test]
fn a_durable_subscriber_receives_them_again() {
    fn run<T: Empty>() {
        let name = unique("empty-durable");
        let ring = Ring::builder().open(&name).unwrap();
        let mut out = ring.publisher::<T>().unwrap();
        let mut kept = ring.durable::<T>("kept").unwrap();
        out.send(&T::default()).unwrap();
        Received::unreceive(kept.recv().unwrap());
        drop(kept);
        let mut kept = ring.durable::<T>("kept").unwrap();
        assert_eq!(Received::unpack(kept.recv().unwrap()).unwrap(), T::default());
        drop(kept);
        ring.remove_durable("kept").unwrap();
    }
    let _watch = Watch::start();
    each!(run);
}

fn worker() -> Worker {
    Worker::join(&unique("empty"), "worker").unwrap()
}

fn run_queue<T: Empty>(worker: &Worker, name: &str) {
    let mut consumer = worker.queue::<T>(name).unwrap();
    worker.queue_publisher::<T>(name).unwrap().send(&T::default()).unwrap();
    Delivery::nack(consumer.recv().unwrap());
    let job = consumer.recv().unwrap();
    assert_eq!(Delivery::unpack(&job).unwrap(), T::default());
    Delivery::ack(job);
}

#[test]
fn a_queue_delivers_them() {
    fn run<T: Empty>() {
        run_queue::<T>(&worker(), "jobs");
    }
    let _watch = Watch::start();
    each!(run);
}

#[test]
fn an_inbox_receives_them() {
    let _watch = Watch::start();
    let worker = worker();
    let mut inbox = worker.inbox().unwrap();
    worker.send_to(&worker.id(), &Unit).unwrap();
    worker.send_to(&worker.id(), &Aligned::default()).unwrap();
    worker.send_to(&worker.id(), &NoText::default()).unwrap();
    for _ in 0..3 {
        let message = inbox.recv().unwrap();
        assert!(message.open::<Nothing<'_>>().unwrap().unwrap().is_aligned());
        message.ack();
    }
    drop(inbox);
    // A worker that is dropped leaves its inbox behind.
    worker.leave().unwrap();
}

#[test]
fn boards_and_latest_values_hold_them() {
    fn run<T: Empty>(worker: &Worker) {
        let board = worker.board::<T>("board").unwrap();
        let (mut writer, mut reader) = (board.writer().unwrap(), board.reader().unwrap());
        for (key, version) in [("a", 1), ("b", 1), ("a", 2), ("a", 3), ("a", 4), ("a", 5)] {
            writer.write(key, &T::default()).unwrap();
            let value = reader.wait_changed(key).unwrap();
            assert!(is_aligned(&*value));
            assert_eq!(CellValue::version(&value), version);
            drop(value);
            assert!(reader.try_changed(key).is_err());
        }
        let latest = worker.latest::<T>("latest").unwrap();
        let (mut writer, mut reader) = (latest.writer().unwrap(), latest.reader().unwrap());
        assert!(matches!(reader.read().map(drop), Err(ReadError::NoValue)));
        writer.write(&T::default()).unwrap();
        assert!(is_aligned(&*reader.read().unwrap()));
        assert!(reader.try_changed().is_err());
        assert_eq!(CellValue::unpack(reader.read().unwrap()).unwrap(), T::default());
    }
    let _watch = Watch::start();
    let worker = worker();
    each!(run, &worker);
}

/// Polls a future that has what it waits for.
#[cfg(feature = "async")]
fn at_once<F: Future>(future: F) -> F::Output {
    let mut context = Context::from_waker(Waker::noop());
    match pin!(future).poll(&mut context) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("the future waits"),
    }
}

#[cfg(feature = "async")]
#[test]
fn tasks_receive_them() {
    fn run<T: Empty + 'static>(worker: &Worker) {
        let ring = Ring::builder().heap().unwrap();
        let mut out = ring.publisher::<T>().unwrap();
        let mut all = ring.subscriber::<T>().unwrap();
        for _ in 0..3 {
            out.send_all(&two::<T>()).unwrap();
        }
        assert!(is_aligned(&*at_once(all.recv_async()).unwrap()));
        assert!(is_aligned(&*at_once(all.recv_copied_async()).unwrap()));
        let (packet, skipped) = at_once(all.recv_latest_async()).unwrap();
        assert!(is_aligned(&*packet));
        assert_eq!(skipped, 3);
        drop(packet);
        out.send_all(&two::<T>()).unwrap();
        assert_eq!(at_once(all.drain_async()).unwrap().iter().count(), 2);

        let service = std::any::type_name::<T>();
        let mut server = worker.service::<T, T>(service).unwrap();
        let client = worker.client::<T, T>(service).unwrap();
        let call = client.start(&T::default()).unwrap();
        let request = at_once(server.recv_async()).unwrap();
        assert!(is_aligned(&*request));
        Request::reply(request, &T::default()).unwrap();
        assert!(is_aligned(&*at_once(call.wait_async()).unwrap()));

        let mut inbox = worker.inbox().unwrap();
        worker.send_to(&worker.id(), &T::default()).unwrap();
        let message = at_once(inbox.recv_async()).unwrap();
        assert!(is_aligned(message.open_as::<T>().unwrap()));
        message.ack();
    }
    let _watch = Watch::start();
    let worker = worker();
    each!(run, &worker);
    // A worker that is dropped leaves its inbox behind.
    worker.leave().unwrap();
}

#[test]
fn events_carry_them() {
    fn run<T: Empty + 'static>() {
        let worker = worker();
        let mut handled = 0;
        let mut events = worker.events().unwrap();
        events.on::<T>("nothing", |packet, _| handled += usize::from(is_aligned(packet)));
        events.emit("nothing", &T::default()).unwrap();
        events.poll().unwrap();
        events.emit("nothing", &T::default()).unwrap();
        assert_eq!(events.wait_for::<T>("nothing").unwrap(), T::default());
        drop(events);
        assert_eq!(handled, 2);
    }
    let _watch = Watch::start();
    each!(run);
}

#[test]
fn calls_carry_them() {
    fn run<T: Empty + 'static>() {
        let worker = worker();
        let mut server = worker.service::<T, T>("echo").unwrap();
        let client = worker.client::<T, T>("echo").unwrap();
        let [first, second] = two::<T>().map(|request| client.start(&request).unwrap());
        for _ in 0..2 {
            let request = server.recv().unwrap();
            assert!(is_aligned(&*request));
            Request::reply(request, &T::default()).unwrap();
        }
        assert!(is_aligned(&*second.wait().unwrap()));
        assert!(is_aligned(&*first.wait().unwrap()));
        let [first, second] = two::<T>().map(|request| client.start(&request).unwrap());
        for _ in 0..2 {
            let deferred = Request::defer(server.recv().unwrap());
            deferred.reply(&T::default()).unwrap();
        }
        assert!(is_aligned(&*second.wait().unwrap()));
        assert!(is_aligned(&*first.wait().unwrap()));
    }
    let _watch = Watch::start();
    each!(run);
}

/// In a peer: has no free descriptor to map the caller when the request arrives.
fn postpone<T: Empty>(cluster: &str) {
    let worker = Worker::join(cluster, "server").unwrap();
    let mut server = worker.service::<T, T>("echo").unwrap();
    let normal = getrlimit(Resource::Nofile);
    // No number below the next free one is free.
    let next = std::fs::File::open("/dev/null").unwrap().as_raw_fd() as u64;
    setrlimit(Resource::Nofile, Rlimit { current: Some(next), ..normal }).unwrap();
    peer::say("here");
    assert!(matches!(server.recv().map(drop), Err(ServiceRecvError::Caller(_))));
    setrlimit(Resource::Nofile, normal).unwrap();
    let request = server.recv().unwrap();
    assert!(is_aligned(&*request));
    Request::reply(request, &T::default()).unwrap();
    peer::say("replied");
}

fn call_postponed<T: Empty>(role: &str) {
    let cluster = unique("empty-postponed");
    let mut server = Peer::start(&format!("{role} {cluster}"));
    server.expect("here");
    let worker = Worker::join(&cluster, "caller").unwrap();
    let client = worker.client::<T, T>("echo").unwrap();
    let call = client.start(&T::default()).unwrap();
    server.expect("replied");
    call.wait().unwrap();
    // The worker leaves last, and removes the cluster.
    drop(server);
}

#[test]
fn a_postponed_request_of_no_bytes_is_served() {
    let _watch = Watch::start();
    call_postponed::<()>("()");
    call_postponed::<Unit>("Unit");
    call_postponed::<Aligned>("Aligned");
}
