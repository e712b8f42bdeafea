//! Workers: joining by name, ids, notifications about other workers, and a hundred workers that
//! join, leave and die.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod support;

use packetring::cluster::{JoinError, WaitError, WorkerChange, WorkerId, WorkerInfo, WorkerState};
use packetring::{OpenError, RecvTimeoutError, TryRecvError, Worker, select, try_select};
use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;
use support::peer::{self, Peer};
use support::{LONG, Noise, SHORT, unique, wait_until};

/// Entry point of the child processes; does nothing without a role.
#[test]
fn peer() {
    let Some(role) = peer::role() else { return };
    let cluster = &role.arguments[0];
    match role.name.as_str() {
        "stay" => stay(Worker::join(cluster, &role.arguments[1]).unwrap()),
        "environment" => match Worker::from_env(cluster) {
            Ok(worker) => stay(worker),
            Err(error) => peer::say(&error.to_string()),
        },
        "everything" => everything(cluster),
        "alone" => {
            let worker = Worker::join(cluster, "alone").unwrap();
            let _client = worker.client::<u64, u64>("double").unwrap();
            let _numbers = worker.publisher::<u64>("numbers").unwrap();
            stay(worker);
        }
        "come-and-go" => come_and_go(cluster, &role.arguments[1]),
        name => panic!("unknown role: {name}"),
    }
}

/// Reports its name and id, and stays until the test is over or the process is killed.
fn stay(worker: Worker) {
    peer::say(&format!("{} {}", worker.name(), worker.id()));
    while peer::hear().is_some() {}
}

/// Opens an endpoint of each kind, leaves messages and jobs unacknowledged, and stays.
fn everything(cluster: &str) {
    let worker = Worker::join(cluster, "everything").unwrap();
    let mut inbox = worker.inbox().unwrap();
    for number in 0..5_u64 {
        worker.send_to("everything", &number).unwrap();
    }
    let _message = inbox.recv().unwrap();
    let mut jobs = worker.queue_publisher::<u64>("jobs").unwrap();
    for job in 0..5 {
        jobs.send(&job).unwrap();
    }
    let mut consumer = worker.queue::<u64>("jobs").unwrap();
    let _job = consumer.recv().unwrap();
    let _numbers = worker.publisher::<u64>("numbers").unwrap();
    let client = worker.client::<u64, u64>("double").unwrap();
    let mut service = worker.service::<u64, u64>("double").unwrap();
    let _call = client.start(&7).unwrap();
    let _request = service.recv().unwrap();
    let mut events = worker.events().unwrap();
    events.emit("started", &()).unwrap();
    stay(Worker::join(cluster, "other").unwrap());
}

/// Starts a peer that joins. Returns the peer and its id.
fn joined(cluster: &str, name: &str) -> (Peer, WorkerId) {
    let mut peer = Peer::start(&format!("stay {cluster} {name}"));
    let line = peer.hear();
    let id = line.strip_prefix(&format!("{name} ")).unwrap().parse().unwrap();
    (peer, WorkerId(id))
}

/// All shared-memory objects of a cluster.
fn objects(cluster: &str) -> Vec<PathBuf> {
    let prefix = format!("packetring.{cluster}~");
    let all = std::fs::read_dir("/dev/shm").unwrap().map(|entry| entry.unwrap());
    let own = all.filter(|entry| entry.file_name().to_string_lossy().starts_with(&prefix));
    own.map(|entry| entry.path()).collect()
}

#[track_caller]
fn assert_cluster_gone(cluster: &str) {
    assert_eq!(objects(cluster), [] as [PathBuf; 0]);
}

fn names(workers: &[WorkerInfo]) -> Vec<&str> {
    workers.iter().map(|worker| &*worker.name).collect()
}

#[test]
fn a_name_belongs_to_one_live_worker_and_the_error_names_its_process() {
    let cluster = unique("taken");
    let (mut peer, id) = joined(&cluster, "billing");
    let Err(JoinError::NameTaken { name, pid, variables: None }) =
        Worker::join(&cluster, "billing")
    else {
        panic!("joined under the name of a live worker");
    };
    assert_eq!((name.as_str(), pid), ("billing", peer.pid()));
    let other = Worker::join(&cluster, "other").unwrap();
    assert_ne!(other.id(), id);
    peer.kill();
    // A new worker takes over the name and the slot. It need not learn of the death first.
    let successor = Worker::join(&cluster, "billing").unwrap();
    assert_eq!(successor.id(), id);
    let again = Worker::join(&cluster, "billing");
    let own = std::process::id();
    assert!(matches!(again, Err(JoinError::NameTaken { pid, .. }) if pid == own), "{again:?}");
    drop((successor, other));
    assert_cluster_gone(&cluster);
}

#[test]
fn an_id_is_the_same_after_a_restart() {
    let cluster = unique("ids");
    let join = |name: &str| Worker::join(&cluster, name).unwrap();
    let [a, b, c] = ["a", "b", "c"].map(join);
    assert_eq!([a.id(), b.id(), c.id()], [0, 1, 2].map(WorkerId));
    drop(b);
    // No other worker gets b's slot while free ones are left.
    let d = join("d");
    assert_eq!(d.id(), WorkerId(3));
    let b = join("b");
    assert_eq!(b.id(), WorkerId(1));
    assert_eq!(b.worker("b").unwrap().generation, 2);
    let wanted = Worker::builder().id(WorkerId(9)).join(&cluster, "e").unwrap();
    assert_eq!(wanted.id(), WorkerId(9));
    // The id is in use, so the worker gets another one.
    let unlucky = Worker::builder().id(WorkerId(9)).join(&cluster, "f").unwrap();
    assert_eq!(unlucky.id(), WorkerId(4));
    drop((a, b, c, d, wanted, unlucky));
    assert_cluster_gone(&cluster);
}

/// The errors say what to do, and it helps.
#[test]
fn errors_say_how_to_raise_the_number_of_workers() {
    let cluster = unique("raise");
    let join = |count, name| Worker::builder().max_workers(count).join(&cluster, name);
    let (web, billing) = (join(2, "web").unwrap(), join(2, "billing").unwrap());
    drop(billing.inbox().unwrap());
    drop(billing);
    let raise = "end all workers, call Worker::remove_cluster (deletes messages and jobs), and let \
                 the first worker join with";
    assert_eq!(
        join(2, "more").unwrap_err().to_string(),
        format!(
            "cluster full: all 2 worker slots are in use; retire workers that will not return \
             (Worker::retire), or {raise} a larger WorkerBuilder::max_workers"
        )
    );
    assert_eq!(
        join(3, "more").unwrap_err().to_string(),
        format!(
            "cluster not joined: directory of cluster {cluster:?} exists with other settings: \
             max_workers is 2, requested 3; join with the same number or none; to change it, \
             {raise} another WorkerBuilder::max_workers"
        )
    );
    // As the first error says.
    assert!(web.retire("billing").unwrap());
    let more = join(2, "more").unwrap();
    drop(more.inbox().unwrap());
    // The worker that is away keeps the cluster.
    drop((more, web));
    assert!(matches!(
        join(3, "web"),
        Err(JoinError::Open(OpenError::SettingsMismatch { setting: "max_workers", .. }))
    ));
    assert!(Worker::remove_cluster(&cluster).unwrap());
    let workers = ["web", "billing", "more"].map(|name| join(3, name).unwrap());
    assert!(matches!(join(3, "last"), Err(JoinError::Full { limit: 3 })));
    drop(workers);
    assert_cluster_gone(&cluster);
}

#[test]
fn an_id_beyond_the_slots_is_rejected_with_both_numbers() {
    let cluster = unique("beyond");
    let refusal = |builder: packetring::cluster::WorkerBuilder, name: &str| {
        let error = builder.join(&cluster, name).unwrap_err();
        let JoinError::Open(OpenError::BadSettings { reason }) = &error else { panic!("{error}") };
        reason.clone()
    };
    let beyond = |id| Worker::builder().id(WorkerId(id));
    // Also for the worker that would create the cluster, which then leaves nothing behind.
    let reason = refusal(beyond(999), "first");
    assert_eq!(
        reason,
        "worker id out of range: 999, highest 127; choose another id or a larger max_workers"
    );
    assert_cluster_gone(&cluster);
    let last = beyond(3).max_workers(4).join(&cluster, "last").unwrap();
    assert_eq!(last.id(), WorkerId(3));
    assert!(refusal(beyond(4), "other").starts_with("worker id out of range: 4, highest 3;"));
    // Also for a known worker that would get its old id.
    drop(Worker::join(&cluster, "known").unwrap());
    refusal(beyond(4), "known");
    // An id derived from a process manager's counter is only a preference.
    let mut peer = Peer::start_under(
        &["env", "-u", "NODE_APP_INSTANCE", "name=api", "pm_id=4"],
        &format!("environment {cluster}"),
    );
    assert_eq!(peer.hear(), "api-4 1");
    drop((peer, last));
    drop(Worker::join(&cluster, "end").unwrap());
    assert_cluster_gone(&cluster);
}

#[test]
fn the_name_comes_from_the_process_manager() {
    let cluster = unique("environment");
    let environment = |variables: &[&str]| {
        let program: Vec<&str> = ["env", "-u", "pm_id", "-u", "NODE_APP_INSTANCE", "-u", "name"]
            .into_iter()
            .chain(variables.iter().copied())
            .collect();
        let mut peer = Peer::start_under(&program, &format!("environment {cluster}"));
        let line = peer.hear();
        (peer, line)
    };
    // Without `pm_id`, a successor has the name again.
    let (mut first, line) = environment(&["name=api", "NODE_APP_INSTANCE=5"]);
    assert_eq!(line, "api-5 5");
    first.kill();
    let (second, line) = environment(&["name=api", "NODE_APP_INSTANCE=5"]);
    assert_eq!(line, "api-5 5");
    // PM2 in fork mode may set the same instance in all its processes.
    let (seventh, line) = environment(&["name=web", "NODE_APP_INSTANCE=0", "pm_id=7"]);
    assert_eq!(line, "web-7 7");
    let (eighth, line) = environment(&["name=web", "NODE_APP_INSTANCE=0", "pm_id=8"]);
    assert_eq!(line, "web-8 8");
    // Taken: the error shows the variables that made the name.
    let (_, line) = environment(&["name=web", "NODE_APP_INSTANCE=0", "pm_id=8"]);
    let pid = eighth.pid();
    assert_eq!(
        line,
        format!(
            "name taken: worker \"web-8\" lives in process {pid}; end it, or change one of the variables that made the name (name=\"web\" pm_id=\"8\")"
        )
    );
    // Too long: cut, and unique.
    let long = format!("name={}", "web".repeat(30));
    let (long_1, line_1) = environment(&[&long, "pm_id=20"]);
    let (long_2, line_2) = environment(&[&format!("{long}s"), "pm_id=20"]);
    let name = |line: &str| line.split(' ').next().unwrap().to_owned();
    assert!(name(&line_1).len() == 64 && line_1.ends_with("-20 20"), "{line_1}");
    assert!(name(&line_2).len() == 64 && name(&line_1) != name(&line_2), "{line_2}");
    let (third, line) = environment(&["name=api", "pm_id=9"]);
    assert_eq!(line, "api-9 9");
    let (fourth, line) = environment(&[]);
    let program = std::env::current_exe().unwrap();
    let program = program.file_name().unwrap().to_str().unwrap();
    // Slot 0 went to the second of the workers that wanted 20.
    assert_eq!(line, format!("{program} 1"));
    drop((second, third, fourth, seventh, eighth, long_1, long_2));
    // All workers were killed. The next worker to leave removes the cluster.
    drop(Worker::join(&cluster, "last").unwrap());
    assert_cluster_gone(&cluster);
}

#[test]
fn a_full_cluster_is_reported_and_dead_workers_free_slots() {
    let cluster = unique("full");
    let only = Worker::builder().max_workers(2).join(&cluster, "only").unwrap();
    let (mut peer, id) = joined(&cluster, "peer");
    let full = Worker::join(&cluster, "third");
    assert!(matches!(full, Err(JoinError::Full { limit: 2 })), "{full:?}");
    peer.kill();
    let third = Worker::join(&cluster, "third").unwrap();
    assert_eq!(third.id(), id);
    let other = Worker::builder().max_workers(3).join(&cluster, "fourth").unwrap_err();
    let JoinError::Open(OpenError::SettingsMismatch { expected, found, .. }) = &other else {
        panic!("{other}");
    };
    assert_eq!((expected.as_str(), found.as_str()), ("3", "2"));
    drop((only, third));
    assert_cluster_gone(&cluster);
    for count in [0, 1025] {
        let none = Worker::builder().max_workers(count).join(&cluster, "none");
        assert!(matches!(none, Err(JoinError::Open(OpenError::BadSettings { .. }))), "{none:?}");
    }
    assert_cluster_gone(&cluster);
}

#[test]
fn a_name_has_1_to_64_bytes_of_any_kind() {
    let cluster = unique("names");
    for name in ["", &"x".repeat(65)] {
        let refused = Worker::join(&cluster, name);
        assert!(matches!(refused, Err(JoinError::BadName { .. })), "{name:?}: {refused:?}");
    }
    assert!(matches!(Worker::join("", "x"), Err(JoinError::BadName { .. })));
    assert!(matches!(Worker::join(&"c".repeat(200), "x"), Err(JoinError::BadName { .. })));
    assert_cluster_gone(&cluster);
    let odd = ["a/b", "..", "thread::A", "ä~%", &"y".repeat(64)];
    let workers = odd.map(|name| Worker::join(&cluster, name).unwrap());
    assert_eq!(names(&workers[0].workers()), odd);
    drop(workers);
    assert_cluster_gone(&cluster);
}

#[test]
fn workers_are_listed_and_found_by_name_and_id() {
    let cluster = unique("list");
    let own = Worker::join(&cluster, "own").unwrap();
    let (mut peer, id) = joined(&cluster, "peer");
    let all = own.workers();
    assert_eq!(names(&all), ["own", "peer"]);
    assert!(all.iter().all(|worker| worker.state == WorkerState::Alive));
    assert_eq!([all[0].pid, all[1].pid], [std::process::id(), peer.pid()]);
    assert_eq!(own.worker(&id).unwrap().name, "peer");
    assert_eq!(own.worker("peer").unwrap().id, id);
    assert!(own.worker("nobody").is_none() && own.worker(&WorkerId(77)).is_none());
    assert!(own.worker(&WorkerId(9999)).is_none());
    peer.kill();
    assert_eq!(names(&own.workers()), ["own"], "dead workers are not listed");
    let gone = own.worker("peer").unwrap();
    assert_eq!((gone.state, gone.pid, gone.has_died), (WorkerState::Gone, peer.pid(), true));
    let living = own.retire("own");
    let Err(error @ OpenError::WorkerLives { .. }) = living else { panic!("{living:?}") };
    let pid = std::process::id();
    let expected =
        format!("worker own is alive, in process {pid}: only dead workers can be removed;");
    assert!(error.to_string().starts_with(&expected), "{error}");
    assert!(own.retire("peer").unwrap());
    assert!(!own.retire("peer").unwrap() && !own.retire("nobody").unwrap());
    drop(own);
    assert_cluster_gone(&cluster);
}

#[test]
fn a_watch_reports_joins_leaves_and_deaths() {
    let cluster = unique("watch");
    let own = Worker::join(&cluster, "own").unwrap();
    let mut watch = own.watch().unwrap();
    assert!(
        matches!(watch.try_recv(), Err(TryRecvError::Empty)),
        "workers present at the start are not reported"
    );
    assert!(matches!(watch.recv_timeout(SHORT), Err(RecvTimeoutError::Timeout)));
    let (mut peer, id) = joined(&cluster, "peer");
    let change = watch.recv_timeout(LONG).unwrap();
    assert!(matches!(&change, WorkerChange::Joined(worker) if worker.id == id), "{change:?}");
    let leaver = Worker::join(&cluster, "leaver").unwrap();
    leaver.leave().unwrap();
    let dropped = Worker::join(&cluster, "dropped").unwrap();
    assert!(
        matches!(watch.recv().unwrap(), WorkerChange::Joined(worker) if worker.name == "dropped")
    );
    drop(dropped);
    let change = watch.recv_timeout(LONG).unwrap();
    assert!(
        matches!(&change, WorkerChange::Left(worker) if worker.name == "dropped" && !worker.has_died),
        "{change:?}"
    );
    peer.kill();
    let change = watch.recv_timeout(LONG).unwrap();
    let WorkerChange::Died(worker) = &change else { panic!("{change:?}") };
    assert_eq!((worker.id, worker.pid, worker.state), (id, peer.pid(), WorkerState::Gone));
    assert!(worker.has_died);
    // A worker that died and joined again is reported in order, even without a call in between.
    let (mut peer, _) = joined(&cluster, "peer");
    assert!(matches!(watch.recv_timeout(LONG).unwrap(), WorkerChange::Joined(_)));
    peer.kill();
    let (peer, _) = joined(&cluster, "peer");
    assert!(matches!(watch.recv_timeout(LONG).unwrap(), WorkerChange::Died(_)));
    assert!(matches!(watch.recv_timeout(LONG).unwrap(), WorkerChange::Joined(_)));
    assert!(matches!(watch.try_recv(), Err(TryRecvError::Empty)));
    drop((peer, own));
    let mut rest = [watch.recv_timeout(LONG).unwrap(), watch.recv_timeout(LONG).unwrap()];
    rest.sort_by_key(|change| matches!(change, WorkerChange::Died(_)));
    assert!(matches!(&rest[0], WorkerChange::Left(worker) if worker.name == "own"), "{rest:?}");
    assert!(matches!(&rest[1], WorkerChange::Died(worker) if worker.name == "peer"), "{rest:?}");
    drop(watch);
    assert_cluster_gone(&cluster);
}

#[test]
fn wait_for_worker_returns_when_the_worker_joins() {
    let cluster = unique("wait");
    let own = Worker::join(&cluster, "own").unwrap();
    let late = own.wait_for_worker_timeout("late", SHORT).unwrap_err();
    assert!(matches!(&late, WaitError::NotThere { who } if who == "late"), "{late:?}");
    let expected =
        "worker late not found before the timeout: start it, check the name, or wait longer";
    assert_eq!(late.to_string(), expected);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| own.wait_for_worker_timeout("late", LONG).unwrap());
        let late = Worker::join(&cluster, "late").unwrap();
        assert_eq!(waiting.join().unwrap().id, late.id());
    });
    let gone = own.wait_for_worker_timeout("late", SHORT);
    assert!(matches!(gone, Err(WaitError::NotThere { .. })), "{gone:?}");
}

#[test]
fn wait_for_inbox_returns_when_the_inbox_is_opened() {
    let cluster = unique("wait-inbox");
    let own = Worker::join(&cluster, "own").unwrap();
    let missing = own.wait_for_inbox_timeout("late", SHORT);
    assert!(matches!(missing, Err(WaitError::NotThere { .. })), "{missing:?}");
    let late = Worker::join(&cluster, "late").unwrap();
    let here = own.wait_for_worker_timeout("late", LONG).unwrap();
    assert!(!here.has_inbox, "{here:?}");
    let without = own.wait_for_inbox_timeout(&late.id(), SHORT).unwrap_err();
    assert!(matches!(&without, WaitError::NoInbox { who } if who == "1"), "{without:?}");
    let refused = own.send_to("late", &7_u64).unwrap_err().to_string();
    assert!(refused.contains("wait_for_inbox_timeout"), "{refused}");
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let here = own.wait_for_inbox_timeout("late", LONG).unwrap();
            own.send_to("late", &7_u64).unwrap();
            here
        });
        let mut inbox = late.inbox().unwrap();
        inbox.recv().unwrap().ack();
        assert!(waiting.join().unwrap().has_inbox);
    });
    // Messages wait for an absent worker.
    drop(late);
    let away = own.wait_for_inbox_timeout("late", SHORT).unwrap();
    assert_eq!((away.state, away.has_inbox), (WorkerState::Away, true));
    own.send_to("late", &8_u64).unwrap();
    assert!(own.retire("late").unwrap());
    assert!(!own.worker("late").unwrap().has_inbox);
    drop(own);
    assert_cluster_gone(&cluster);
}

#[test]
fn select_waits_for_a_watch_and_a_subscriber() {
    let _watch = support::Watch::start();
    let cluster = unique("select");
    let own = Worker::join(&cluster, "own").unwrap();
    let mut watch = own.watch().unwrap();
    let mut topic = own.subscriber::<u64>("topic").unwrap();
    assert_eq!(try_select(&mut [&mut topic, &mut watch]), None);
    let (mut peer, _) = joined(&cluster, "peer");
    assert_eq!(select(&mut [&mut topic, &mut watch]), 1);
    assert!(matches!(watch.try_recv(), Ok(WorkerChange::Joined(_))));
    own.publisher::<u64>("topic").unwrap().send(&7).unwrap();
    assert_eq!(select(&mut [&mut topic, &mut watch]), 0);
    assert_eq!(*topic.try_recv().unwrap(), 7);
    // A death wakes nobody, so select must find it itself.
    peer.kill();
    assert_eq!(select(&mut [&mut topic, &mut watch]), 1);
    assert!(matches!(watch.try_recv(), Ok(WorkerChange::Died(_))));
}

/// Fewer names than processes, so that some names collide.
const NAMES: usize = 90;
const PROCESSES: usize = 100;
const ROUNDS: usize = 60;
const IN_A_ROUND: usize = 25;

/// In a peer: joins, opens a topic and leaves on command.
fn come_and_go(cluster: &str, name: &str) {
    let mut held = None;
    while let Some(order) = peer::hear() {
        let outcome = match order.as_str() {
            "join" => match Worker::join(cluster, name) {
                Ok(worker) => {
                    // The cluster has as many publisher entries as worker slots.
                    let topic = worker.publisher::<u64>("hubbub").unwrap();
                    let id = worker.id();
                    held = Some((topic, worker));
                    format!("joined {id}")
                }
                Err(JoinError::NameTaken { .. }) => "taken".to_owned(),
                Err(error) => panic!("{error}"),
            },
            "drop" => {
                held = None;
                "gone".to_owned()
            }
            "leave" => {
                if let Some((_, worker)) = held.take() {
                    worker.leave().unwrap();
                }
                "gone".to_owned()
            }
            order => panic!("{order}"),
        };
        assert!(held.is_some() || self::held(cluster) == 0, "descriptors or mappings leaked");
        peer::say(&outcome);
    }
}

/// A random seed, or the one given in the environment. Prints it.
fn seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    let given = std::env::var("PACKETRING_TEST_SEED").ok();
    let seed = given.map_or_else(|| RandomState::new().hash_one(0), |text| text.parse().unwrap());
    eprintln!("PACKETRING_TEST_SEED={seed}");
    seed
}

/// Number of descriptors and mappings of a cluster's objects in this process.
fn held(cluster: &str) -> usize {
    let needle = format!("packetring.{cluster}~");
    let links = std::fs::read_dir("/proc/self/fd").unwrap();
    let targets = links.filter_map(|link| std::fs::read_link(link.ok()?.path()).ok());
    let open = targets.filter(|target| target.to_string_lossy().contains(&needle)).count();
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    open + maps.lines().filter(|line| line.contains(&needle)).count()
}

/// Updates the set of live workers from the reports of a watch.
fn follow(watch: &mut packetring::cluster::Watch, live: &mut HashSet<String>) {
    while let Ok(change) = watch.try_recv() {
        match change {
            WorkerChange::Joined(worker) => {
                assert!(live.insert(worker.name), "a join was reported twice")
            }
            WorkerChange::Left(worker) | WorkerChange::Died(worker) => {
                assert!(live.remove(&worker.name), "an exit was reported twice: {}", worker.name);
            }
            change => panic!("{change:?}"),
        }
    }
}

#[test]
fn a_hundred_workers_join_leave_and_are_killed() {
    let cluster = unique("hundred");
    let mut noise = Noise::of(0, seed());
    let own = Worker::join(&cluster, "own").unwrap();
    let mut watch = own.watch().unwrap();
    let resources_before = held(&cluster);
    let start = |slot: usize| Peer::start(&format!("come-and-go {cluster} w{}", slot % NAMES));
    let mut peers: Vec<Peer> = (0..PROCESSES).map(start).collect();
    let (mut ids, mut live) = (HashMap::new(), HashSet::new());
    for _ in 0..ROUNDS {
        let mut busy = Vec::new();
        for _ in 0..IN_A_ROUND {
            let slot = noise.below(PROCESSES);
            if busy.contains(&slot) {
                continue;
            }
            busy.push(slot);
            peers[slot].tell(["join", "join", "drop", "leave"][noise.below(4)]);
        }
        for slot in busy {
            if noise.below(5) == 0 {
                // At any moment of the command.
                peers[slot].kill();
                peers[slot] = start(slot);
                continue;
            }
            let line = peers[slot].hear();
            if let Some(id) = line.strip_prefix("joined ") {
                // A worker keeps its slot while free ones are left.
                let name = slot % NAMES;
                assert_eq!(*ids.entry(name).or_insert(id.to_owned()), id, "w{name}");
            }
        }
        // The reports of the watch match the list of workers.
        wait_until("the watch reports all changes", || {
            follow(&mut watch, &mut live);
            let mut living = own.workers();
            living.retain(|worker| worker.id != own.id());
            live.len() == living.len() && living.iter().all(|worker| live.contains(&worker.name))
        });
    }
    drop(peers);
    // The workers were killed with all that they held. Each death is noticed.
    wait_until("all other workers are gone", || {
        follow(&mut watch, &mut live);
        own.workers().len() == 1 && live.is_empty()
    });
    assert_eq!(held(&cluster), resources_before, "descriptors or mappings leaked");
    // Every worker slot can be used again.
    let more: Vec<Worker> =
        (1..128).map(|n| Worker::join(&cluster, &format!("n{n}")).unwrap()).collect();
    assert!(matches!(Worker::join(&cluster, "one too many"), Err(JoinError::Full { limit: 128 })));
    drop(more);
    drop((watch, own));
    assert_cluster_gone(&cluster);
}

/// A peer that is the only one attached to a topic and to the reply ring of a client.
fn start_alone(cluster: &str) -> Peer {
    let mut peer = Peer::start(&format!("alone {cluster}"));
    assert_eq!(peer.hear(), "alone 0");
    assert_eq!(attached_rings(cluster), 2);
    peer
}

fn attached_rings(cluster: &str) -> usize {
    let is_own = |path: &&PathBuf| {
        let path = path.to_string_lossy();
        path.contains("~r.") || path.contains("~t.")
    };
    objects(cluster).iter().filter(is_own).count()
}

#[test]
fn rings_of_a_killed_worker_are_removed_when_its_death_is_noticed() {
    let cluster = unique("alone");
    let mut peer = start_alone(&cluster);
    let own = Worker::join(&cluster, "own").unwrap();
    let mut watch = own.watch().unwrap();
    peer.kill();
    assert!(matches!(watch.recv_timeout(LONG), Ok(WorkerChange::Died(_))));
    wait_until("the rings are removed", || {
        let _ = watch.try_recv();
        attached_rings(&cluster) == 0
    });
    // A ring with an attached process stays.
    let mut numbers = own.subscriber::<u64>("numbers").unwrap();
    drop(Worker::join(&cluster, "other").unwrap());
    own.publisher::<u64>("numbers").unwrap().send(&7).unwrap();
    assert_eq!(*numbers.recv().unwrap(), 7);
    drop((numbers, watch, own));
    assert_cluster_gone(&cluster);
}

#[test]
fn rings_of_a_killed_worker_are_removed_by_the_last_worker_to_leave() {
    let cluster = unique("alone-last");
    let mut peer = start_alone(&cluster);
    let own = Worker::join(&cluster, "own").unwrap();
    peer.kill();
    drop(own);
    assert_cluster_gone(&cluster);
}

#[test]
fn rings_of_a_killed_cluster_are_removed_by_the_next_worker() {
    let cluster = unique("alone-all");
    start_alone(&cluster).kill();
    let own = Worker::join(&cluster, "own").unwrap();
    assert_eq!(attached_rings(&cluster), 0);
    drop(own);
    assert_cluster_gone(&cluster);
}

#[test]
fn a_killed_cluster_with_jobs_and_messages_can_be_removed() {
    let cluster = unique("remove-killed");
    let mut peer = Peer::start(&format!("everything {cluster}"));
    assert_eq!(peer.hear(), "other 1");
    let there = objects(&cluster);
    assert_eq!(there.len(), 7, "{there:?}");
    let refused = Worker::remove_cluster(&cluster).unwrap_err();
    let OpenError::WorkerLives { name, pid } = &refused else { panic!("{refused}") };
    assert_eq!((name.as_str(), *pid), ("everything", peer.pid()));
    assert_eq!(objects(&cluster), there, "removed objects of a live cluster");
    peer.kill();
    assert_eq!(objects(&cluster).len(), 7, "objects vanished without a cleanup");
    assert!(Worker::remove_cluster(&cluster).unwrap());
    assert_cluster_gone(&cluster);
    assert!(!Worker::remove_cluster(&cluster).unwrap(), "the cluster was already removed");
    // A worker that joins now starts from scratch.
    let own = Worker::join(&cluster, "own").unwrap();
    assert!(own.worker("everything").is_none());
    let mut jobs = own.queue::<u64>("jobs").unwrap();
    assert!(matches!(jobs.try_recv(), Err(TryRecvError::Empty)));
    drop((jobs, own));
    assert_cluster_gone(&cluster);
}

#[test]
fn a_cluster_can_be_removed_only_without_open_endpoints() {
    let cluster = unique("remove-away");
    assert!(!Worker::remove_cluster(&cluster).unwrap());
    assert_cluster_gone(&cluster);
    let own = Worker::join(&cluster, "own").unwrap();
    let numbers = own.publisher::<u64>("numbers").unwrap();
    // The directory usually lists the inbox before the topic.
    drop(own.inbox().unwrap());
    own.send_to("own", &7_u64).unwrap();
    let watch = own.watch().unwrap();
    drop(own);
    let before = objects(&cluster).len();
    for _ in 0..2 {
        let refused = Worker::remove_cluster(&cluster);
        assert!(matches!(refused, Err(OpenError::InUse { .. })), "{refused:?}");
        assert_eq!(objects(&cluster).len(), before);
    }
    drop(watch);
    let refused = Worker::remove_cluster(&cluster).unwrap_err();
    let OpenError::InUse { name } = &refused else { panic!("{refused}") };
    assert!(name.ends_with("~t.numbers"), "{name}");
    assert_eq!(objects(&cluster).len(), before);
    drop(numbers);
    assert!(Worker::remove_cluster(&cluster).unwrap());
    assert_cluster_gone(&cluster);
    assert!(matches!(Worker::remove_cluster(""), Err(OpenError::BadName { .. })));
}

#[test]
fn a_cluster_without_a_directory_can_be_removed() {
    let cluster = unique("remove-headless");
    let own = Worker::join(&cluster, "own").unwrap();
    let mut jobs = own.queue_publisher::<u64>("jobs").unwrap();
    jobs.send(&7).unwrap();
    drop(own);
    let left = objects(&cluster);
    assert!(left.len() == 1 && left[0].to_string_lossy().ends_with("~q.jobs"), "{left:?}");
    let refused = Worker::remove_cluster(&cluster);
    assert!(matches!(refused, Err(OpenError::InUse { .. })), "{refused:?}");
    assert_eq!(objects(&cluster), left, "the failed removal created an object");
    drop(jobs);
    assert_eq!(objects(&cluster), left);
    assert!(Worker::remove_cluster(&cluster).unwrap());
    assert_cluster_gone(&cluster);
}

/// Files of other programs and links beside a cluster's objects stay. Removing the cluster removes
/// the rest, and reports them once.
#[test]
fn a_foreign_file_does_not_keep_a_cluster() {
    let cluster = unique("remove-foreign");
    let path = |rest: &str| PathBuf::from(format!("/dev/shm/packetring.{cluster}~{rest}"));
    for foreign in ["t.wrong", "i.link", "q.folder", "s.empty-looking", "d"] {
        let own = Worker::join(&cluster, "own").unwrap();
        drop(own.inbox().unwrap());
        own.queue_publisher::<u64>("jobs").unwrap().send(&7).unwrap();
        drop(own);
        if foreign == "d" {
            std::fs::remove_file(path("d")).unwrap();
        }
        match foreign {
            "i.link" => std::os::unix::fs::symlink("/etc/hostname", path(foreign)).unwrap(),
            "q.folder" => std::fs::create_dir(path(foreign)).unwrap(),
            _ => std::fs::write(path(foreign), vec![0xab; 8192]).unwrap(),
        }
        let reported = Worker::remove_cluster(&cluster).unwrap_err();
        let text = reported.to_string();
        assert!(
            matches!(reported, OpenError::Foreign { .. } | OpenError::System { .. }),
            "{foreign}: {text}"
        );
        assert_eq!(objects(&cluster), [path(foreign)], "{foreign}: {text}");
        // Nothing of this library is left.
        for _ in 0..2 {
            assert!(!Worker::remove_cluster(&cluster).unwrap(), "{foreign}");
        }
        if foreign != "d" {
            // The cluster can be used and removed again.
            drop(Worker::join(&cluster, "again").unwrap());
        }
        match foreign {
            "q.folder" => std::fs::remove_dir(path(foreign)).unwrap(),
            _ => std::fs::remove_file(path(foreign)).unwrap(),
        }
        assert_cluster_gone(&cluster);
    }
}

#[test]
fn a_join_waits_for_a_name() {
    let cluster = unique("wait-name");
    let wait = |timeout| Worker::builder().wait_for_name(timeout).join(&cluster, "shop");
    let first = Worker::join(&cluster, "shop").unwrap();
    let refused = wait(SHORT);
    assert!(matches!(refused, Err(JoinError::NameTaken { .. })), "{refused:?}");
    let id = first.id();
    std::thread::scope(|scope| {
        let (joins, joined) = std::sync::mpsc::channel();
        let successor = scope.spawn(move || {
            let worker = wait(LONG).unwrap();
            assert_eq!(worker.id(), id);
            joins.send(()).unwrap();
            // Its predecessor's inbox is still open.
            drop(worker.inbox().unwrap());
            worker.leave().unwrap();
        });
        let inbox = first.inbox().unwrap();
        drop(first);
        joined.recv().unwrap();
        drop(inbox);
        successor.join().unwrap();
    });
    // A killed worker's name, too.
    let (mut peer, _) = joined(&cluster, "shop");
    std::thread::scope(|scope| {
        let successor = scope.spawn(|| wait(LONG).map(drop));
        peer.kill();
        successor.join().unwrap().unwrap();
    });
    assert_cluster_gone(&cluster);
}

/// Joins, receives its last message if the old cluster still exists, and sends itself the next one.
fn send_to_itself(cluster: &str, name: &str, number: u64) {
    let worker = Worker::join(cluster, name).unwrap();
    let was_away = worker.worker(name).unwrap().has_inbox;
    let mut inbox = worker.inbox().unwrap();
    worker.send_to(name, &number).unwrap();
    if was_away {
        let message = inbox.try_recv().unwrap();
        assert_eq!(*message.open_as::<u64>().unwrap(), number - 1, "{name}");
        message.ack();
    }
    assert_eq!(*inbox.try_recv().unwrap().open_as::<u64>().unwrap(), number, "{name}");
}

/// Removes a cluster and is refused, each at least a hundred times.
fn remove_often(cluster: &str, is_over: impl Fn() -> bool) -> Result<(), OpenError> {
    let (mut removed, mut refused) = (0, 0);
    while (removed < 100 || refused < 100) && !is_over() {
        match Worker::remove_cluster(cluster) {
            Ok(removed_one) => removed += u32::from(removed_one),
            Err(OpenError::WorkerLives { .. }) => refused += 1,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[test]
fn a_join_during_removal_is_in_the_old_or_the_new_cluster() {
    let _watch = support::Watch::start();
    let cluster = unique("remove-race");
    let is_over = AtomicBool::new(false);
    let mut noise = Noise::of(0, seed());
    std::thread::scope(|scope| {
        let joiner = scope.spawn(|| {
            for number in 0.. {
                if is_over.load(Relaxed) {
                    break;
                }
                send_to_itself(&cluster, "billing", number);
                std::thread::sleep(Duration::from_micros(noise.below(200) as u64));
            }
        });
        let outcome = remove_often(&cluster, || joiner.is_finished());
        is_over.store(true, Relaxed);
        outcome.unwrap();
    });
    Worker::remove_cluster(&cluster).unwrap();
    assert_cluster_gone(&cluster);
}

/// A file of another program in the place of an inbox keeps neither the name nor the worker slot.
#[test]
fn a_foreign_file_in_the_place_of_an_inbox_keeps_no_worker_slot() {
    for place in ["i", "j"] {
        let cluster = unique("foreign-inbox");
        let join = |name: &str| Worker::builder().max_workers(2).join(&cluster, name);
        let other = join("other").unwrap();
        let path = format!("/dev/shm/packetring.{cluster}~{place}.web");
        std::fs::write(&path, "not an inbox of this library").unwrap();
        let web = join("web").unwrap();
        web.leave().unwrap();
        join("web").unwrap().leave().unwrap();
        // The slot is free for another name, too.
        drop(join("shop").unwrap());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "not an inbox of this library");
        std::fs::remove_file(&path).unwrap();
        other.leave().unwrap();
    }
}
