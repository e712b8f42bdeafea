//! A cluster and all endpoints of its workers in one process, and the bytes of its objects.

use super::Choices;
use super::segment::Object;
use packetring::cluster::{
    Call, Client, Deferred, Events, Inbox, JoinError, QueueConsumer, Request, RunError,
    SendToTimeoutError, Service, TrySendToError, Watch, WorkerBuilder, WorkerId,
};
use packetring::{OpenError, Selectable, Worker, try_select};
use std::hint::black_box;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Worker slots of the cluster.
const WORKER_SLOTS: usize = 4;
/// Timeout of all operations: none of them may wait.
const NO_WAIT: Duration = Duration::ZERO;
/// Limit of deferred replies.
const MAX_DEFERRED: usize = 4;

/// Two permanent workers, and a third that joins and leaves. `peer` has every kind of endpoint,
/// `own` the endpoints to communicate with it.
pub(crate) struct TestCluster {
    cluster: String,
    objects: Vec<(String, Object)>,
    own: Option<Worker>,
    peer: Option<Worker>,
    third: Option<Worker>,
    inbox: Option<Inbox>,
    service: Option<Service<String, String>>,
    deferred: Vec<Deferred<String>>,
    jobs: Option<QueueConsumer<String>>,
    client: Option<Client<String, String>>,
    calls: Vec<Call<String>>,
    events: Option<Events<'static>>,
    watch: Option<Watch>,
}

impl TestCluster {
    /// Creates a cluster with packets in each of its rings.
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let cluster = format!("hostile-{}-c{number}", std::process::id());
        std::fs::write(unrelated_object(&cluster), b"").unwrap();
        let own = builder().join(&cluster, "own").unwrap();
        let peer = builder().join(&cluster, "peer").unwrap();
        let mut test = Self {
            inbox: peer.inbox().ok(),
            service: peer.service("echo").ok(),
            deferred: Vec::new(),
            jobs: peer.queue("jobs").ok(),
            client: own.client("echo").ok(),
            calls: Vec::new(),
            events: peer.events().ok(),
            watch: peer.watch().ok(),
            objects: Vec::new(),
            own: Some(own),
            peer: Some(peer),
            third: None,
            cluster,
        };
        test.add_handlers();
        test.fill();
        test.objects =
            test.names().into_iter().map(|name| (kind_of(&name), name)).map(open).collect();
        assert_eq!(test.objects.len(), 6, "directory, inbox, requests, replies, jobs, events");
        test
    }

    /// Registers event handlers.
    fn add_handlers(&mut self) {
        let Some(events) = &mut self.events else { return };
        events.on::<String>("open", |text, context| {
            read(text);
            black_box((context.sender(), context.event().len()));
            let _ = context.try_emit("closed", &7_u64);
        });
        events.try_on::<u64>("**", |number, _| {
            let is_odd = number.to_native() % 2 == 1;
            if is_odd { Err("it is odd".into()) } else { Ok(()) }
        });
        events.on_worker(|change, _| drop(black_box(format!("{change:?}"))));
    }

    /// Leaves packets in each ring.
    fn fill(&mut self) {
        for number in 0..3_u64 {
            self.own().try_send_to("peer", &"text".repeat(number as usize * 7)).unwrap();
            self.own().try_send_to("peer", &number).unwrap();
            let client = self.client.as_ref().unwrap();
            self.calls.push(client.start(&"ask".repeat(number as usize * 9)).unwrap());
            self.events.as_mut().unwrap().try_emit("open", &"event".to_owned()).unwrap();
        }
        let request = self.service.as_mut().unwrap().try_recv().unwrap();
        Request::reply(request, &"a reply".to_owned()).unwrap();
        self.own().queue_publisher::<String>("jobs").unwrap().try_send(&"job".to_owned()).unwrap();
    }

    fn own(&self) -> &Worker {
        self.own.as_ref().unwrap()
    }

    /// The bytes of the directory.
    pub(crate) fn directory(&self) -> &Object {
        self.object("d")
    }

    /// The bytes of a ring with message headers (the inbox, requests or events), or of a call area.
    pub(crate) fn message_ring(&self, choices: &mut Choices<'_>) -> &Object {
        self.object(choices.pick(&["i", "s", "r", "e"]))
    }

    /// The bytes of any object.
    pub(crate) fn any(&self, choices: &mut Choices<'_>) -> &Object {
        &self.objects[choices.below(self.objects.len())].1
    }

    fn object(&self, kind: &str) -> &Object {
        &self.objects.iter().find(|(of, _)| of == kind).unwrap().1
    }

    /// Names of the cluster's objects. The name of the call area contains a random number.
    fn names(&self) -> Vec<String> {
        let prefix = format!("packetring.{}~", self.cluster);
        let all = std::fs::read_dir("/dev/shm").unwrap().flatten();
        let names = all.filter_map(|entry| entry.file_name().into_string().ok());
        let mut own: Vec<String> = names.filter(|name| name.starts_with(&prefix)).collect();
        own.sort();
        own
    }

    /// Sends or receives something. The result must be usable.
    pub(crate) fn exchange(&mut self, choices: &mut Choices<'_>) {
        match choices.below(12) {
            0 | 1 => self.send(choices),
            2..5 => self.read_message(choices),
            5 => self.call(choices),
            6 | 7 => self.serve(choices),
            8 => self.receive_reply(choices),
            9 => self.receive_job(choices),
            _ => self.dispatch(choices),
        }
    }

    fn send(&mut self, choices: &mut Choices<'_>) {
        let Some(own) = &self.own else { return };
        let text = "é".repeat(choices.pick(&[0, 3, 20, 100, 900]));
        let outcome = match choices.below(5) {
            0 | 1 => own.try_send_to("peer", &text),
            2 => {
                own.try_send_to(&WorkerId(choices.below(WORKER_SLOTS + 1) as u16), &choices.word())
            }
            3 => {
                let sent = own.send_to_timeout("peer", &(1_u8, text), NO_WAIT);
                return check_error(sent, |error| {
                    !matches!(error, SendToTimeoutError::Unserializable(_))
                });
            }
            _ => own.try_send_to(choices.pick(&["own", "third", ""]), &text),
        };
        check_error(outcome, |error| !matches!(error, TrySendToError::Unserializable(_)));
    }

    fn read_message(&mut self, choices: &mut Choices<'_>) {
        let Some(inbox) = &mut self.inbox else { return };
        let backlog = inbox.backlog();
        let outcome = inbox.try_recv().map(|message| {
            black_box((
                message.sender(),
                message.type_name(),
                message.info(),
                format!("{message:?}"),
            ));
            check_error(message.open_as::<String>().map(|text| read(text)), any_error);
            check_error(message.open_as::<u64>().map(|number| _ = black_box(*number)), any_error);
            check_error(message.open_as::<(u8, String)>().map(|pair| read(&pair.1)), any_error);
            match choices.below(4) {
                0 => drop(message),
                1 => std::mem::forget(message),
                _ => message.ack(),
            }
        });
        black_box(backlog);
        check_error(outcome, any_error);
    }

    fn call(&mut self, choices: &mut Choices<'_>) {
        let Some(client) = &self.client else { return };
        // Damaged words can make the service's ring appear full, so the call needs a timeout.
        let text = "q".repeat(choices.pick(&[0, 5, 200]));
        check_error(client.call_timeout(&text, NO_WAIT).map(|reply| read(&reply)), |_| true);
    }

    fn serve(&mut self, choices: &mut Choices<'_>) {
        let Some(service) = &mut self.service else { return };
        let text = "a".repeat(choices.pick(&[0, 9, 300, 70_000]));
        if let (true, Some(deferred)) = (choices.one_in(4), self.deferred.pop()) {
            black_box(deferred.is_wanted());
            check_error(deferred.reply(&text), |_| true);
            return;
        }
        let outcome = service.try_recv().map(|request| {
            read(&request);
            black_box((Request::caller(&request), Request::is_wanted(&request)));
            match choices.below(5) {
                0 => drop(request),
                1 => std::mem::forget(request),
                2 if self.deferred.len() < MAX_DEFERRED => {
                    self.deferred.push(Request::defer(request));
                }
                _ => check_error(Request::reply(request, &text), |_| true),
            }
        });
        check_error(outcome, any_error);
    }

    fn receive_reply(&mut self, choices: &mut Choices<'_>) {
        if self.calls.is_empty() {
            return;
        }
        let index = choices.below(self.calls.len());
        if choices.one_in(8) {
            return self.calls.swap_remove(index).cancel();
        }
        let outcome = self.calls[index].wait_timeout(NO_WAIT);
        check_error(outcome.map(|reply| read(&reply)), |_| true);
    }

    fn receive_job(&mut self, choices: &mut Choices<'_>) {
        let Some(jobs) = &mut self.jobs else { return };
        let outcome = jobs.try_recv().map(|job| {
            read(&job);
            match choices.below(4) {
                0 => drop(job),
                1 => std::mem::forget(job),
                2 => packetring::cluster::Delivery::nack(job),
                _ => packetring::cluster::Delivery::ack(job),
            }
        });
        check_error(outcome, any_error);
    }

    fn dispatch(&mut self, choices: &mut Choices<'_>) {
        let Some(events) = &mut self.events else { return };
        match choices.below(5) {
            0 => {
                let name = choices.pick(&["open", "closed", "error", "a::b", "*", ""]);
                let text = "é".repeat(choices.pick(&[0, 9, 500]));
                check_error(events.try_emit(name, &text), |_| true);
            }
            1 => {
                let waited = events.wait_for_timeout::<String>("open", NO_WAIT);
                check_error(waited.map(|text| read(&text.unwrap_or_default())), is_run_error);
            }
            2 => check_error(events.run_for(NO_WAIT).map(drop), is_run_error),
            _ => check_error(events.poll().map(drop), is_run_error),
        }
    }

    /// Queries the cluster, joins it or leaves it. The result must be usable.
    pub(crate) fn manage(&mut self, choices: &mut Choices<'_>) {
        match choices.below(12) {
            0..4 => self.list_workers(choices),
            4 | 5 => self.watch(choices),
            6 | 7 => self.join(choices),
            8 => self.leave(choices),
            9 => self.retire(choices),
            10 => self.select(),
            _ => self.open_more(choices),
        }
    }

    fn list_workers(&mut self, choices: &mut Choices<'_>) {
        let Some(own) = &self.own else { return };
        let all = own.workers();
        assert!(
            all.len() <= WORKER_SLOTS && all.iter().all(|one| usize::from(one.id.0) < WORKER_SLOTS)
        );
        assert!(all.iter().all(|one| one.name.len() <= 3 * 64), "a name of 64 bytes, read as text");
        black_box(format!("{all:?}"));
        let name = choices.pick(&["own", "peer", "third", "", "../peer", "~"]);
        black_box(own.worker(name));
        black_box(own.worker(&WorkerId(choices.below(WORKER_SLOTS + 2) as u16)));
        black_box(own.wait_for_worker_timeout(name, NO_WAIT).is_ok());
        black_box(own.wait_for_inbox_timeout(name, NO_WAIT).is_ok());
    }

    fn watch(&mut self, choices: &mut Choices<'_>) {
        let Some(watch) = &mut self.watch else { return };
        for _ in 0..1 + choices.below(8) {
            match watch.try_recv() {
                Ok(change) => drop(black_box(format!("{change:?}"))),
                Err(error) => return check_error(Err(error), any_error),
            }
        }
    }

    fn join(&mut self, choices: &mut Choices<'_>) {
        let name = choices.pick(&["third", "own", "peer", "fourth"]);
        let builder = match choices.below(3) {
            0 => builder().id(WorkerId(choices.below(WORKER_SLOTS + 1) as u16)),
            _ => builder(),
        };
        match builder.join(&self.cluster, name) {
            Ok(worker) => self.third = Some(worker),
            Err(error) => check_error(Err(error), |_: &JoinError| true),
        }
    }

    fn leave(&mut self, choices: &mut Choices<'_>) {
        match choices.below(6) {
            0 => check_error(self.third.take().map_or(Ok(()), Worker::leave), is_open_error),
            1 => drop(self.third.take()),
            2 => check_error(self.peer.take().map_or(Ok(()), Worker::leave), is_open_error),
            3 => drop(self.peer.take()),
            4 => drop(self.inbox.take()),
            _ => drop((self.watch.take(), self.events.take())),
        }
    }

    fn retire(&mut self, choices: &mut Choices<'_>) {
        let Some(own) = &self.own else { return };
        let outcome = match choices.below(2) {
            0 => own.retire(choices.pick(&["peer", "third", "own", "", "../peer"])),
            _ => own.retire(&WorkerId(choices.below(WORKER_SLOTS + 1) as u16)),
        };
        check_error(outcome.map(drop), is_open_error);
    }

    fn select(&mut self) {
        let Self { inbox, service, calls, events, watch, .. } = self;
        let mut list: Vec<&mut dyn Selectable> = Vec::new();
        list.extend(inbox.iter_mut().map(|one| one as &mut dyn Selectable));
        list.extend(service.iter_mut().map(|one| one as &mut dyn Selectable));
        list.extend(calls.iter_mut().map(|one| one as &mut dyn Selectable));
        list.extend(events.iter_mut().map(|one| one as &mut dyn Selectable));
        list.extend(watch.iter_mut().map(|one| one as &mut dyn Selectable));
        let count = list.len();
        assert!(try_select(&mut list).is_none_or(|index| index < count));
    }

    fn open_more(&mut self, choices: &mut Choices<'_>) {
        let Some(worker) = self.third.as_ref().or(self.peer.as_ref()) else { return };
        match choices.below(6) {
            0 => keep(&mut self.inbox, worker.inbox()),
            1 => keep(&mut self.events, worker.events()),
            2 => keep(&mut self.watch, worker.watch()),
            3 => keep(&mut self.service, worker.service("echo")),
            4 => keep(&mut self.jobs, worker.queue("jobs")),
            _ => check_error(worker.client::<String, String>("echo").map(drop), is_open_error),
        }
    }
}

impl Drop for TestCluster {
    fn drop(&mut self) {
        // Before the workers, so that no worker looks for objects of endpoints that still exist.
        self.deferred.clear();
        drop((self.inbox.take(), self.service.take(), self.jobs.take(), self.client.take()));
        drop((self.events.take(), self.watch.take()));
        drop((self.third.take(), self.peer.take(), self.own.take()));
        for name in self.names() {
            let _ = std::fs::remove_file(format!("/dev/shm/{name}"));
        }
        let is_there = std::fs::remove_file(unrelated_object(&self.cluster)).is_ok();
        assert!(is_there || std::thread::panicking(), "an unrelated object was removed");
    }
}

fn builder() -> WorkerBuilder {
    let small = Worker::builder().max_workers(WORKER_SLOTS).inbox_capacity(4096);
    small.join_timeout(Duration::from_millis(1))
}

/// Path of a ring that has the cluster's name and must not be touched by the cluster.
fn unrelated_object(cluster: &str) -> String {
    format!("/dev/shm/packetring.{cluster}")
}

fn kind_of(name: &str) -> String {
    name.rsplit('~').next().unwrap_or_default()[..1].to_owned()
}

fn open((kind, name): (String, String)) -> (String, Object) {
    let object = Object::open(name.strip_prefix("packetring.").unwrap());
    (kind, object)
}

fn keep<E>(place: &mut Option<E>, opened: Result<E, OpenError>) {
    match opened {
        Ok(endpoint) => *place = Some(endpoint),
        Err(error) => check_error(Err(error), is_open_error),
    }
}

fn read(text: &str) {
    black_box(text.chars().rev().count());
}

/// Checks that an error has a text, and that damaged bytes can cause it.
fn check_error<E: std::fmt::Display>(outcome: Result<(), E>, is_fair: impl FnOnce(&E) -> bool) {
    if let Err(error) = outcome {
        assert!(!error.to_string().is_empty());
        assert!(is_fair(&error), "{error}");
    }
}

fn any_error<E>(_: &E) -> bool {
    true
}

fn is_open_error(error: &OpenError) -> bool {
    !matches!(error, OpenError::BadSettings { .. })
}

fn is_run_error(error: &RunError) -> bool {
    !matches!(error, RunError::BadName { .. })
}
