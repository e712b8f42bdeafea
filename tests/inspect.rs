//! Snapshots of objects that other processes use.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod support;

use packetring::cluster::WorkerState;
use packetring::inspect::{
    self, BoardInspection, ClusterInspection, EndpointInfo, EndpointRole, GateHolder, InFlight,
    Inspection, RingInspection, RingStatus,
};
use packetring::inventory::{ObjectInfo, ObjectKind};
use packetring::{
    Board, Latest, OpenError, Overflow, Ring, TrySendError, Worker, inventory, one_of,
};
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use support::peer::{self, Peer, Role};
use support::{Noise, Watch, object, unique, wait_until};

/// The messages of the inbox of a worker.
#[one_of]
enum Number {
    Number(u64),
}

/// Entry point of the child processes; does nothing without a role.
#[test]
fn peer() {
    let Some(role) = peer::role() else { return };
    match role.name.as_str() {
        "hold" => hold(&role),
        "work" => work(&role),
        other => panic!("{other}"),
    }
}

/// Holds a reservation and a packet until the test ends it. Argument: ring.
fn hold(role: &Role) {
    let ring = Ring::attach(&role.arguments[0]).unwrap();
    let (mut numbers, mut out) = (ring.subscriber::<u64>().unwrap(), ring.publisher().unwrap());
    out.send(&1_u64).unwrap();
    let _packet = numbers.recv().unwrap();
    let _reserved = out.reserve().unwrap();
    peer::say("held");
    peer::hear();
}

/// The listed object of a plain ring or board.
fn listed(name: &str) -> ObjectInfo {
    inventory().unwrap().into_iter().find(|object| object.name == name).unwrap()
}

fn ring(content: Inspection) -> RingInspection {
    match content {
        Inspection::Ring(ring) => ring,
        other => panic!("{other:?}"),
    }
}

fn inspected(name: &str) -> RingInspection {
    ring(listed(name).inspect().unwrap())
}

fn board(name: &str) -> BoardInspection {
    match listed(name).inspect().unwrap() {
        Inspection::Board(board) => board,
        other => panic!("{other:?}"),
    }
}

/// The endpoints of a role.
fn of_role<'a>(endpoints: &'a [EndpointInfo], role: &EndpointRole) -> Vec<&'a EndpointInfo> {
    endpoints.iter().filter(|endpoint| endpoint.role == *role).collect()
}

fn packets(endpoint: &EndpointInfo) -> Option<u64> {
    endpoint.lag.unwrap().packets
}

// ── Rings ──────────────────────────────────────────────────────────────────────────────────────

#[test]
fn a_ring_shows_its_settings_its_types_and_how_far_each_subscriber_is() {
    for builder in [Ring::builder().shared(), Ring::builder().exclusive()] {
        let name = unique("inspect-lag");
        let open = builder.capacity(1 << 16).max_subscribers(3).open(&name).unwrap();
        let mut out = open.publisher::<String>().unwrap();
        let (mut quick, mut slow) = (open.subscriber().unwrap(), open.subscriber().unwrap());
        // One slot, and three slots.
        for len in [4, 150, 4, 150] {
            out.send(&"x".repeat(len)).unwrap();
        }
        for _ in 0..3 {
            drop::<packetring::Received<'_, String>>(quick.recv().unwrap());
        }
        drop::<packetring::Received<'_, String>>(slow.recv().unwrap());

        let found = inspected(&name);
        assert_eq!(found.settings, *open.settings());
        assert_eq!((found.slots, found.tail, found.status), (1024, 8, RingStatus::Open));
        assert_eq!((found.oldest, found.queue, found.accepted.as_ref()), (None, None, None));
        let [text] = &found.types[..] else { panic!("{:?}", found.types) };
        assert_eq!((text.index, &text.carried), (0, &open.types()[0]));
        assert_eq!(found.type_at(0), Some(&text.carried));
        assert_eq!(found.endpoints.len(), 3);
        assert!(found.endpoints.iter().all(|endpoint| endpoint.is_alive
            && endpoint.pid == std::process::id()
            && endpoint.worker.is_none()
            && endpoint.types == [0]));
        let readers = of_role(&found.endpoints, &EndpointRole::Subscriber);
        let lags: Vec<_> = readers
            .iter()
            .map(|reader| (reader.position.unwrap(), reader.lag.unwrap()))
            .map(|(position, lag)| (position, lag.slots, lag.bytes, lag.packets))
            .collect();
        assert_eq!(lags, [(5, 3, 192, Some(1)), (1, 7, 448, Some(3))]);
        // The slower one holds the publisher back.
        let gate = found.gate.unwrap();
        assert_eq!((gate.position, gate.free_slots), (1, 1017));
        assert_eq!(found.holder().unwrap().entry, readers[1].entry);
        // After all is read, nothing holds the publishers back.
        for _ in 0..3 {
            drop(slow.recv().unwrap());
        }
        drop(quick.recv().unwrap());
        let found = inspected(&name);
        assert_eq!((found.gate.unwrap().free_slots, found.holder().is_none()), (1024, true));
        assert!(found.endpoints.iter().filter_map(|it| it.lag).all(|it| it.packets == Some(0)));
        drop(out);
        assert_eq!(inspected(&name).status, RingStatus::Left);
        open.close().unwrap();
        assert_eq!(inspected(&name).status, RingStatus::Closed);
    }
}

#[test]
fn a_publisher_that_is_blocked_has_its_blocker_named() {
    let _watch = Watch::start();
    let name = unique("inspect-full");
    let open = Ring::builder().capacity(1024).open(&name).unwrap();
    let mut out = open.publisher::<u64>().unwrap();
    let mut quick = open.subscriber::<u64>().unwrap();
    let _idle = open.subscriber::<u64>().unwrap();
    let mut sent = 0;
    loop {
        match out.try_send(&sent) {
            Ok(_) => sent += 1,
            Err(TrySendError::Full { .. }) => break,
            Err(other) => panic!("{other}"),
        }
        drop(quick.recv().unwrap());
    }
    let found = inspected(&name);
    let gate = found.gate.unwrap();
    assert_eq!((sent, gate.free_slots, gate.position), (16, 0, 0));
    let holder = found.holder().unwrap();
    assert_eq!((&holder.role, holder.entry), (&EndpointRole::Subscriber, 1));
    assert_eq!((packets(holder), holder.in_flight), (Some(16), InFlight::Unknown));
    // Another one shows that it was about to sleep.
    let before = found.writers.sleeps;
    let timeout = std::time::Duration::from_millis(20);
    assert!(out.send_timeout(&0, timeout).is_err());
    assert_ne!(inspected(&name).writers.sleeps, before);
}

#[test]
fn an_open_claim_and_its_length_are_shown() {
    let name = unique("inspect-claim");
    let open = Ring::builder().shared().open(&name).unwrap();
    let (mut out, mut other) = (open.publisher::<[u64; 20]>().unwrap(), open.publisher().unwrap());
    let _reader = open.subscriber::<[u64; 20]>().unwrap();
    other.send(&[1_u64; 20]).unwrap();
    let reserved = out.reserve().unwrap();
    other.send(&[2; 20]).unwrap();
    let found = inspected(&name);
    let writers = of_role(&found.endpoints, &EndpointRole::Publisher);
    let claims: Vec<_> = writers.iter().map(|writer| writer.claim).collect();
    let [Some(claim), None] = claims[..] else { panic!("{claims:?}") };
    assert_eq!((claim.position, claim.slots, claim.bytes), (3, 3, 192));
    // The packet behind the claim cannot be received yet.
    let [reader] = of_role(&found.endpoints, &EndpointRole::Subscriber)[..] else { panic!() };
    assert_eq!((reader.lag.unwrap().slots, packets(reader)), (9, Some(1)));
    drop(reserved);
    let found = inspected(&name);
    assert!(found.endpoints.iter().all(|endpoint| endpoint.claim.is_none()));
    let [reader] = of_role(&found.endpoints, &EndpointRole::Subscriber)[..] else { panic!() };
    assert_eq!(packets(reader), Some(2));
}

#[test]
fn a_durable_subscriber_that_is_gone_is_shown_with_what_waits_for_it() {
    let name = unique("inspect-durable");
    let open = Ring::open(&name).unwrap();
    let mut audit = open.durable::<u64>("audit").unwrap();
    let mut out = open.publisher::<u64>().unwrap();
    for number in 0..5 {
        out.send(&number).unwrap();
    }
    drop(audit.recv().unwrap());
    let held = audit.recv().unwrap();
    let role = EndpointRole::Durable { name: "audit".to_owned() };
    let found = inspected(&name);
    let [endpoint] = of_role(&found.endpoints, &role)[..] else { panic!("{found:?}") };
    assert_eq!((endpoint.in_flight, endpoint.deliveries), (InFlight::OnePacket, 1));
    assert!(endpoint.is_alive);
    std::mem::forget(held);
    drop(audit);
    let found = inspected(&name);
    let [endpoint] = of_role(&found.endpoints, &role)[..] else { panic!("{found:?}") };
    assert!(!endpoint.is_alive);
    assert_eq!((endpoint.position, packets(endpoint)), (Some(1), Some(4)));
    assert_eq!(endpoint.in_flight, InFlight::OnePacket);
    assert_eq!(found.gate.unwrap().holder, Some(GateHolder::Endpoint(1)));
    // Its successor has it in flight for the second time.
    let mut audit = open.durable::<u64>("audit").unwrap();
    let _held = audit.recv().unwrap();
    let found = inspected(&name);
    let [endpoint] = of_role(&found.endpoints, &role)[..] else { panic!("{found:?}") };
    assert_eq!((endpoint.is_alive, endpoint.deliveries), (true, 2));
    drop(_held);
    drop(audit);
    open.remove_durable("audit").unwrap();
}

#[test]
fn a_ring_that_drops_the_oldest_is_held_by_packets_in_flight_alone() {
    let name = unique("inspect-drop");
    let open = Ring::builder().capacity(1024).overflow(Overflow::DropOldest).open(&name).unwrap();
    let mut out = open.publisher::<u64>().unwrap();
    let mut slow = open.subscriber::<u64>().unwrap();
    for number in 0..20 {
        out.send(&number).unwrap();
    }
    let found = inspected(&name);
    assert_eq!(found.gate.map(|gate| (gate.free_slots, gate.holder)), Some((16, None)));
    let reader = &found.endpoints[1];
    assert_eq!((reader.counters.evicted, packets(reader)), (4, Some(16)));
    assert_eq!(reader.in_flight, InFlight::Nothing);
    assert!(slow.recv().is_err(), "it is told about its losses");
    let _held = slow.recv().unwrap();
    let found = inspected(&name);
    assert_eq!(found.holder().unwrap().in_flight, InFlight::OnePacket);
    assert_eq!(found.gate.unwrap().free_slots, 0);
}

#[test]
fn the_endpoints_of_a_killed_process_are_shown_as_dead() {
    let _watch = Watch::start();
    let name = unique("inspect-dead");
    let open = Ring::builder().shared().open(&name).unwrap();
    let mut holding = Peer::start(&format!("hold {name}"));
    holding.expect("held");
    let found = inspected(&name);
    assert_eq!(found.endpoints.len(), 2);
    for endpoint in &found.endpoints {
        assert_eq!((endpoint.pid, endpoint.is_alive), (holding.pid(), true));
    }
    holding.kill();
    wait_until("the kernel has closed the files of the dead", || {
        inspected(&name).endpoints.iter().all(|endpoint| !endpoint.is_alive)
    });
    let found = inspected(&name);
    let [writer, reader] = &found.endpoints[..] else { panic!("{found:?}") };
    assert_eq!((writer.pid, reader.pid), (holding.pid(), holding.pid()));
    assert!(writer.claim.is_some());
    assert_eq!(found.holder().map(|holder| &holder.role), Some(&EndpointRole::Subscriber));
    assert_eq!(found.last_death, None, "no process has found the death");
    // The next process that joins clears the dead.
    drop(open.publisher::<u64>().unwrap());
    let found = inspected(&name);
    assert!(found.endpoints.is_empty(), "{found:?}");
    assert!(found.last_death.is_some());
}

/// Ends the threads of a test when it is dropped, also by a failed assertion.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn an_endpoint_that_leaves_is_not_shown_as_dead() {
    let _watch = Watch::start();
    let name = unique("inspect-leaving");
    let open = Ring::open(&name).unwrap();
    let (object, is_over) = (listed(&name), AtomicBool::new(false));
    let mut seen = 0;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                let writer = open.publisher::<u64>().unwrap();
                let reader = open.subscriber::<u64>().unwrap();
                drop((writer, reader));
            }
        });
        let _end = Ends(&is_over);
        for round in 0..1_000_000 {
            let found = ring(object.inspect().unwrap());
            seen += found.endpoints.len();
            assert!(found.endpoints.iter().all(|endpoint| endpoint.is_alive), "{found:?}");
            if round >= 2000 && seen >= 1000 {
                break;
            }
        }
    });
    assert!(seen >= 1000, "{seen} endpoints were seen");
}

#[test]
fn no_count_of_packets_is_wrong_while_the_ring_is_in_use() {
    let _watch = Watch::start();
    for overflow in [Overflow::Block, Overflow::DropOldest] {
        let name = unique("inspect-race");
        let builder = Ring::builder().exclusive().capacity(4096).overflow(overflow);
        let open = builder.open(&name).unwrap();
        let mut out = open.publisher::<u64>().unwrap();
        let mut readers = [open.subscriber::<u64>().unwrap(), open.subscriber().unwrap()];
        let (object, is_over) = (listed(&name), AtomicBool::new(false));
        let (mut counted, mut busy) = (0, 0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut number = 0;
                while !is_over.load(Ordering::Relaxed) {
                    number += u64::from(out.try_send(&number).is_ok());
                }
            });
            for (index, reader) in readers.iter_mut().enumerate() {
                let is_over = &is_over;
                scope.spawn(move || {
                    let mut rounds = 0_u64;
                    while !is_over.load(Ordering::Relaxed) {
                        rounds += u64::from(reader.try_recv().is_ok());
                        if rounds.is_multiple_of(50 + index as u64 * 450) {
                            std::thread::yield_now();
                        }
                    }
                });
            }
            let _end = Ends(&is_over);
            // Each packet takes one slot, and there is no padding. An exclusive tail covers
            // committed packets only.
            for _ in 0..200_000 {
                let found = ring(object.inspect().unwrap());
                for lag in found.endpoints.iter().filter_map(|endpoint| endpoint.lag) {
                    assert!(lag.slots <= found.slots);
                    if let Some(packets) = lag.packets {
                        assert_eq!(packets, lag.slots, "{found:?}");
                        counted += 1;
                        busy += u64::from(packets > 0);
                    }
                }
                if counted >= 2000 && busy >= 200 {
                    break;
                }
            }
        });
        assert!(counted >= 2000 && busy >= 200, "{overflow:?}: {counted} counts, {busy} of a lag");
    }
}

// ── Clusters ───────────────────────────────────────────────────────────────────────────────────

fn content<'a>(found: &'a ClusterInspection, kind: ObjectKind, name: &str) -> &'a Inspection {
    let is_it = |info: &ObjectInfo| (info.kind, info.name.as_str()) == (kind, name);
    let object = found.objects.iter().find(|object| is_it(&object.info));
    object.unwrap_or_else(|| panic!("no {kind:?} {name}: {found:?}")).content.as_ref().unwrap()
}

fn ring_of<'a>(found: &'a ClusterInspection, kind: ObjectKind, name: &str) -> &'a RingInspection {
    match content(found, kind, name) {
        Inspection::Ring(ring) => ring,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_cluster_shows_its_workers_and_their_places_in_its_rings() {
    let _watch = Watch::start();
    let name = unique("inspect-cluster");
    let own = Worker::builder().prefix("").join(&name, "web").unwrap();
    let mut billing = Peer::start(&format!("work {name} billing"));
    billing.expect("open");
    for number in 0..3_u64 {
        own.send_to("billing", &number).unwrap();
    }
    billing.expect("holds 0");
    own.queue_publisher::<u64>("jobs").unwrap().send(&7).unwrap();

    let found = inspect::cluster("", &name).unwrap();
    let workers: Vec<_> = found
        .workers
        .iter()
        .map(|worker| (worker.name.as_str(), worker.pid, worker.state, worker.has_inbox))
        .collect();
    let own_pid = std::process::id();
    let alive = WorkerState::Alive;
    assert_eq!(workers, [("web", own_pid, alive, false), ("billing", billing.pid(), alive, true)]);
    // The receiver of the inbox, and the sender that lags behind nothing.
    let inbox = ring_of(&found, ObjectKind::Inbox, "billing");
    let [sender, receiver] = &inbox.endpoints[..] else { panic!("{inbox:?}") };
    assert_eq!(sender.worker.as_deref(), Some("web"));
    assert_eq!(receiver.worker.as_deref(), Some("billing"));
    assert!(matches!(receiver.role, EndpointRole::Durable { .. }), "{receiver:?}");
    assert_eq!((receiver.in_flight, packets(receiver)), (InFlight::OnePacket, Some(3)));
    assert_eq!(inbox.accepted.as_ref().map(Vec::len), Some(1));
    let directory = content(&found, ObjectKind::Directory, "");
    let Inspection::Directory(directory) = directory else { panic!("{directory:?}") };
    assert_eq!((directory.max_workers, directory.control_holder), (128, None));

    // A worker that died is away: its name and its messages stay.
    billing.kill();
    wait_until("the kernel has closed the files of the dead", || {
        let found = inspect::cluster("", &name).unwrap();
        found.workers[1].state == WorkerState::Away
    });
    let found = inspect::cluster("", &name).unwrap();
    let receiver = &ring_of(&found, ObjectKind::Inbox, "billing").endpoints[1];
    assert_eq!((receiver.is_alive, receiver.worker.as_deref()), (false, Some("billing")));
    drop(own);
    Worker::builder().prefix("").remove_cluster(&name).unwrap();
    assert!(matches!(inspect::cluster("", &name), Err(OpenError::NotFound { .. })));
}

/// Joins a cluster, and holds the first message that comes. Arguments: cluster, name.
fn work(role: &Role) {
    let worker = Worker::builder().prefix("").join(&role.arguments[0], &role.arguments[1]).unwrap();
    let mut inbox = worker.inbox_of::<Number<'static>>().unwrap();
    peer::say("open");
    let message = inbox.recv().unwrap();
    let Number::Number(number) = message.open::<Number<'_>>().unwrap().unwrap();
    peer::say(&format!("holds {number}"));
    peer::hear();
}

#[test]
fn a_queue_shows_its_backlog_and_the_job_of_each_consumer() {
    let name = unique("inspect-queue");
    let worker = Worker::builder().prefix("").join(&name, "shop").unwrap();
    let mut out = worker.queue_publisher::<u64>("jobs").unwrap();
    let (mut busy, _idle) = (worker.queue::<u64>("jobs").unwrap(), worker.queue::<u64>("jobs"));
    for number in 0..5 {
        out.send(&number).unwrap();
    }
    let job = busy.recv().unwrap();
    let found = inspect::cluster("", &name).unwrap();
    let queue = ring_of(&found, ObjectKind::Queue, "jobs");
    let backlog = queue.queue.unwrap();
    assert_eq!((backlog.position, backlog.lag.packets, backlog.lag.slots), (1, Some(4), 4));
    let consumers = of_role(&queue.endpoints, &EndpointRole::Consumer);
    let jobs: Vec<_> = consumers.iter().map(|it| (it.position, it.in_flight, it.lag)).collect();
    assert_eq!(jobs, [(Some(0), InFlight::OnePacket, None), (None, InFlight::Nothing, None)]);
    assert_eq!((consumers[0].deliveries, consumers[0].worker.as_deref()), (1, Some("shop")));
    // The job that is not acknowledged is the oldest.
    assert_eq!(queue.holder().map(|holder| holder.entry), Some(consumers[0].entry));
    packetring::cluster::Delivery::ack(job);
    let found = inspect::cluster("", &name).unwrap();
    let queue = ring_of(&found, ObjectKind::Queue, "jobs");
    assert_eq!(queue.gate.unwrap().holder, Some(GateHolder::Queue));
    assert!(queue.holder().is_none());
    while busy.try_recv().map(packetring::cluster::Delivery::ack).is_ok() {}
}

#[test]
fn a_service_shows_its_requests_and_a_caller_its_area() {
    let name = unique("inspect-service");
    let worker = Worker::builder().prefix("").join(&name, "shop").unwrap();
    let mut service = worker.service::<u64, u64>("double").unwrap();
    let client = worker.client::<u64, u64>("double").unwrap();
    let calls: Vec<_> = (0..3).map(|number| client.start(&number).unwrap()).collect();
    let request = service.recv().unwrap();
    let found = inspect::cluster("", &name).unwrap();
    let requests = ring_of(&found, ObjectKind::Requests, "double");
    assert_eq!(requests.queue.unwrap().lag.packets, Some(2));
    let servers = of_role(&requests.endpoints, &EndpointRole::Consumer);
    assert_eq!(servers[0].in_flight, InFlight::OnePacket);
    packetring::cluster::Request::reply(request, &7).unwrap();
    let found = inspect::cluster("", &name).unwrap();
    let area = found.objects.iter().find(|object| object.info.kind == ObjectKind::Replies);
    let Ok(Inspection::CallArea(area)) = &area.unwrap().content else { panic!("{found:?}") };
    assert_eq!((area.answered, area.generation), (1, 1));
    assert!(area.max_calls >= 3 && area.reply_bytes > 0);
    drop((calls, service));
}

// ── Boards ─────────────────────────────────────────────────────────────────────────────────────

#[test]
fn a_board_shows_its_keys_their_versions_and_its_endpoints() {
    let name = unique("inspect-board");
    let open = Board::<u64>::builder().keys(10).max_writers(2).open::<u64>(&name).unwrap();
    let (mut out, mut reader) = (open.writer().unwrap(), open.reader().unwrap());
    for number in 0..3 {
        out.write("EURUSD", &number).unwrap();
    }
    out.write("USDJPY", &1).unwrap();
    let value = reader.read("USDJPY").unwrap();
    let found = board(&name);
    let cells: Vec<_> = found.cells.iter().map(|cell| (cell.key.as_str(), cell.version)).collect();
    assert_eq!(cells, [("EURUSD", 3), ("USDJPY", 1)]);
    assert!(found.cells.iter().all(|cell| cell.writer.is_none()));
    assert_eq!((found.max_keys, found.max_writers), (10, 2));
    assert_eq!(found.types[0].carried.name, "u64");
    let [writer, reading] = &found.endpoints[..] else { panic!("{found:?}") };
    assert_eq!((&writer.role, writer.in_flight), (&EndpointRole::Writer, InFlight::Nothing));
    assert_eq!((&reading.role, reading.in_flight), (&EndpointRole::Reader, InFlight::OneCell(1)));
    assert!(writer.is_alive && reading.is_alive && reading.position.is_none());
    drop(value);

    let name = unique("inspect-latest");
    let latest = Latest::<u64>::open(&name).unwrap();
    assert!(board(&name).cells.iter().all(|cell| cell.version == 0));
    latest.writer().unwrap().write(&7).unwrap();
    assert_eq!(board(&name).cells[0].version, 1);
}

// ── Changes nothing, trusts nothing ────────────────────────────────────────────────────────────

#[test]
fn inspecting_changes_no_byte_of_a_segment() {
    let name = unique("inspect-bytes");
    let ring_name = format!("{name}-ring");
    let open = Ring::open(&ring_name).unwrap();
    let (mut out, mut numbers) = (open.publisher().unwrap(), open.subscriber::<u64>().unwrap());
    for number in 0..100_u64 {
        out.send(&number).unwrap();
    }
    let _packet = numbers.recv().unwrap();
    let worker = Worker::builder().prefix("").join(&name, "shop").unwrap();
    let _inbox = worker.inbox().unwrap();
    worker.send_to("shop", &7_u64).unwrap();
    let service = worker.service::<u64, u64>("double").unwrap();
    let client = worker.client::<u64, u64>("double").unwrap();
    let call = client.start(&1).unwrap();
    let board = worker.board::<u64>("rates").unwrap();
    board.writer().unwrap().write("EURUSD", &7).unwrap();
    let objects = || {
        let all = inventory().unwrap().into_iter();
        let is_own = |object: &ObjectInfo| {
            object.name == ring_name || object.cluster.as_deref() == Some(&name)
        };
        all.filter(|object| is_own(object)).collect::<Vec<_>>()
    };
    let bytes = || -> Vec<_> {
        let files = objects().into_iter().filter(|object| object.kind != ObjectKind::Socket);
        files.map(|object| (fs::read(&object.path).unwrap(), object.path)).collect()
    };
    let before = bytes();
    assert!(before.len() >= 6, "{before:?}");
    for object in inspect::objects(objects()) {
        assert!(object.content.is_ok(), "{object:?}");
    }
    assert!(before == bytes(), "a byte changed");
    drop((call, client, service));
    drop(_inbox);
    worker.leave().unwrap();
}

#[test]
fn an_object_that_is_gone_or_foreign_is_refused() {
    let name = unique("inspect-gone");
    let open = Ring::open(&name).unwrap();
    let info = listed(&name);
    drop(open);
    assert!(matches!(info.inspect(), Err(OpenError::NotFound { .. })));
    fs::write(object(&name), b"another program's file").unwrap();
    let info = listed(&name);
    assert!(matches!(info.inspect(), Err(OpenError::Foreign { .. })), "{info:?}");
    fs::remove_file(object(&name)).unwrap();
}

/// Writes into the words of an object in front of `end`, one at a time and then several at once,
/// and calls `look` after each change. The object is as before afterwards.
fn damage(path: &Path, end: u64, mut look: impl FnMut()) {
    let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    let original = fs::read(path).unwrap();
    let values = [0, 1, 16, 63, 64, 65, 1 << 31, 1 << 32, 1 << 40, 1 << 62, 1 << 63, u64::MAX];
    for offset in (0..end).step_by(8) {
        for value in values {
            file.write_all_at(&value.to_le_bytes(), offset).unwrap();
            look();
        }
        let at = offset as usize;
        file.write_all_at(&original[at..at + 8], offset).unwrap();
    }
    let mut noise = Noise::of(1, end);
    for _ in 0..1500 {
        for _ in 0..1 + noise.below(20) {
            // Behind the identity, so that the segment is read.
            let end = if noise.below(2) == 0 { end } else { original.len() as u64 };
            let offset = 128 + 8 * noise.below((end as usize - 128) / 8) as u64;
            let value = match noise.below(3) {
                0 => noise.next(),
                1 => noise.below(80) as u64,
                _ => values[noise.below(values.len())],
            };
            file.write_all_at(&value.to_le_bytes(), offset).unwrap();
        }
        look();
        if noise.below(4) == 0 {
            file.write_all_at(&original, 0).unwrap();
        }
    }
    file.write_all_at(&original, 0).unwrap();
}

/// A word that no process of this version stores leads to an error or to wrong figures.
#[test]
fn damaged_words_are_refused_or_lead_to_bounded_figures() {
    let _watch = Watch::start();
    let name = unique("inspect-hostile");
    let builder = Ring::builder().capacity(4096).max_publishers(3).max_subscribers(3).history(4);
    let open = builder.open(&name).unwrap();
    let (mut out, mut numbers) = (open.publisher().unwrap(), open.subscriber::<u64>().unwrap());
    let durable = open.durable::<u64>("audit").unwrap();
    for number in 0..40_u64 {
        out.send(&number).unwrap();
    }
    let _packet = numbers.recv().unwrap();
    let info = listed(&name);
    let (mut refused, mut read) = (0, 0);
    // The head and the entries.
    damage(&info.path, 768 + 6 * 256, || match info.inspect() {
        Ok(content) => {
            // The number of worker slots fits in the same pages.
            let Inspection::Ring(found) = content else { return };
            assert!(found.endpoints.len() <= 6 && found.types.len() <= 64);
            let lags = found.endpoints.iter().filter_map(|endpoint| endpoint.lag);
            for lag in lags {
                assert!(lag.slots <= 64 && lag.packets.is_none_or(|it| it <= 64), "{found:?}");
            }
            assert!(found.gate.is_none_or(|gate| gate.free_slots <= 64), "{found:?}");
            let claims = found.endpoints.iter().filter_map(|endpoint| endpoint.claim);
            assert!(claims.into_iter().all(|claim| claim.slots < 64));
            read += 1;
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            refused += 1;
        }
    });
    assert!(refused >= 50 && read >= 2000, "{refused} refused, {read} read");
    drop(durable);
    open.remove_durable("audit").unwrap();
}

#[test]
fn damaged_objects_of_a_cluster_are_refused_or_lead_to_bounded_figures() {
    let _watch = Watch::start();
    let name = unique("inspect-damage");
    let joining = Worker::builder().prefix("").max_workers(4);
    let worker = joining.join(&name, "shop").unwrap();
    let board: Board<u64> = worker.board_with("rates", Board::<u64>::builder().keys(3)).unwrap();
    board.writer().unwrap().write("EURUSD", &7).unwrap();
    let mut service = worker.service::<u64, u64>("double").unwrap();
    let client = worker.client::<u64, u64>("double").unwrap();
    let call = client.start(&1).unwrap();
    packetring::cluster::Request::reply(service.recv().unwrap(), &2).unwrap();
    let objects: Vec<_> = inspect::cluster("", &name).unwrap().objects;
    let mut contents = 0;
    for object in &objects {
        let (mut refused, mut read) = (0, 0);
        // Worker slots and the cells of a board lie behind the types.
        let all = object.info.bytes;
        let end = if object.info.kind == ObjectKind::Requests { 1024 } else { all.min(768 + 512) };
        damage(&object.info.path, end, || match object.info.inspect() {
            Ok(content) => {
                match content {
                    Inspection::Directory(found) => assert!(found.workers.len() <= 1024),
                    Inspection::Board(found) => assert!(found.cells.len() <= 1 << 16),
                    Inspection::CallArea(found) => assert!(found.answered <= found.max_calls),
                    other => assert!(!format!("{other:?}").is_empty()),
                }
                read += 1;
            }
            Err(error) => {
                assert!(!error.to_string().is_empty());
                refused += 1;
            }
        });
        assert!(refused >= 50 && read >= 1000, "{}: {refused} refused, {read}", object.info);
        contents += usize::from(object.content.is_ok());
    }
    assert_eq!(contents, 4, "{objects:?}");
    drop((call, client, service, board));
    worker.leave().unwrap();
}
