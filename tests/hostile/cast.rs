//! A cluster and all that its workers have, played by one process, and its objects' bytes.

use super::Choices;
use super::stage::Object;
use packetring::cluster::{
    Call, Client, Deferred, Events, Inbox, JoinError, QueueConsumer, RunError, SendToTimeoutError,
    Service, TrySendToError, Watch, WorkerBuilder, WorkerId,
};
use packetring::{OpenError, Selectable, Worker, try_select};
use std::hint::black_box;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Desks of the cluster.
const DESKS: usize = 4;
/// Nothing here is worth waiting for.
const NOW: Duration = Duration::ZERO;
/// Deferred replies at a time.
const MOST: usize = 4;

/// Two workers, one of which has all that there is, the other what it takes to speak to it, and
/// whoever comes and goes.
pub(crate) struct Cast {
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
    calls: Vec<Call>,
    events: Option<Events<'static>>,
    watch: Option<Watch>,
}

impl Cast {
    /// A cluster in which a bit of everything is under way.
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let cluster = format!("hostile-{}-c{number}", std::process::id());
        std::fs::write(bystander(&cluster), b"").unwrap();
        let own = builder().join(&cluster, "own").unwrap();
        let peer = builder().join(&cluster, "peer").unwrap();
        let mut cast = Self {
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
        cast.listen();
        cast.begin();
        cast.objects =
            cast.names().into_iter().map(|name| (kind_of(&name), name)).map(open).collect();
        assert_eq!(cast.objects.len(), 6, "directory, inbox, requests, replies, jobs, events");
        cast
    }

    /// Has handlers for whatever may come.
    fn listen(&mut self) {
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

    /// Leaves something in each ring.
    fn begin(&mut self) {
        for number in 0..3_u64 {
            self.own().try_send_to("peer", &"text".repeat(number as usize * 7)).unwrap();
            self.own().try_send_to("peer", &number).unwrap();
            let client = self.client.as_mut().unwrap();
            self.calls.push(client.start(&"ask".repeat(number as usize * 9)).unwrap());
            self.events.as_mut().unwrap().try_emit("open", &"event".to_owned()).unwrap();
        }
        let request = self.service.as_mut().unwrap().try_recv().unwrap();
        request.reply(&"a reply".to_owned()).unwrap();
        self.own().queue_publisher::<String>("jobs").unwrap().try_send(&"job".to_owned()).unwrap();
    }

    fn own(&self) -> &Worker {
        self.own.as_ref().unwrap()
    }

    /// The bytes of the directory.
    pub(crate) fn directory(&self) -> &Object {
        self.object("d")
    }

    /// The bytes of one of the rings of letters: the inbox, requests, replies, events.
    pub(crate) fn letters(&self, choices: &mut Choices<'_>) -> &Object {
        self.object(choices.pick(&["i", "s", "r", "e"]))
    }

    /// The bytes of any object.
    pub(crate) fn any(&self, choices: &mut Choices<'_>) -> &Object {
        &self.objects[choices.below(self.objects.len())].1
    }

    fn object(&self, kind: &str) -> &Object {
        &self.objects.iter().find(|(of, _)| of == kind).unwrap().1
    }

    /// The names of the cluster's objects, the replies' with a number that was drawn.
    fn names(&self) -> Vec<String> {
        let prefix = format!("packetring.{}~", self.cluster);
        let all = std::fs::read_dir("/dev/shm").unwrap().flatten();
        let names = all.filter_map(|entry| entry.file_name().into_string().ok());
        let mut own: Vec<String> = names.filter(|name| name.starts_with(&prefix)).collect();
        own.sort();
        own
    }

    /// Sends or receives something. Whatever it gives can be used.
    pub(crate) fn exchange(&mut self, choices: &mut Choices<'_>) {
        match choices.below(12) {
            0 | 1 => self.send(choices),
            2..5 => self.read_letter(choices),
            5 => self.ask(choices),
            6 | 7 => self.answer(choices),
            8 => self.hear_answer(choices),
            9 => self.take_job(choices),
            _ => self.dispatch(choices),
        }
    }

    fn send(&mut self, choices: &mut Choices<'_>) {
        let Some(own) = &self.own else { return };
        let text = "é".repeat(choices.pick(&[0, 3, 20, 100, 900]));
        let outcome = match choices.below(5) {
            0 | 1 => own.try_send_to("peer", &text),
            2 => own.try_send_to(&WorkerId(choices.below(DESKS + 1) as u16), &choices.word()),
            3 => {
                let sent = own.send_to_timeout("peer", &(1_u8, text), NOW);
                return explain(sent, |error| {
                    !matches!(error, SendToTimeoutError::Unserializable(_))
                });
            }
            _ => own.try_send_to(choices.pick(&["own", "third", ""]), &text),
        };
        explain(outcome, |error| !matches!(error, TrySendToError::Unserializable(_)));
    }

    fn read_letter(&mut self, choices: &mut Choices<'_>) {
        let Some(inbox) = &mut self.inbox else { return };
        let backlog = inbox.backlog();
        let outcome = inbox.try_recv().map(|letter| {
            black_box((letter.sender(), letter.type_name(), letter.info(), format!("{letter:?}")));
            explain(letter.open_as::<String>().map(|text| read(text)), is_said);
            explain(letter.open_as::<u64>().map(|number| _ = black_box(*number)), is_said);
            explain(letter.open_as::<(u8, String)>().map(|pair| read(&pair.1)), is_said);
            match choices.below(4) {
                0 => drop(letter),
                1 => std::mem::forget(letter),
                _ => letter.ack(),
            }
        });
        black_box(backlog);
        explain(outcome, is_said);
    }

    fn ask(&mut self, choices: &mut Choices<'_>) {
        let Some(client) = &mut self.client else { return };
        // A service whose ring is full by its words is waited for: not without an end.
        let text = "q".repeat(choices.pick(&[0, 5, 200]));
        explain(client.call_timeout(&text, NOW).map(|reply| read(&reply)), |_| true);
    }

    fn answer(&mut self, choices: &mut Choices<'_>) {
        let Some(service) = &mut self.service else { return };
        let text = "a".repeat(choices.pick(&[0, 9, 300, 70_000]));
        if let (true, Some(deferred)) = (choices.one_in(4), self.deferred.pop()) {
            black_box(deferred.is_wanted(service));
            explain(deferred.reply(service, &text), |_| true);
            return;
        }
        let outcome = service.try_recv().map(|request| {
            read(&request);
            black_box((request.caller(), request.is_wanted()));
            match choices.below(5) {
                0 => drop(request),
                1 => std::mem::forget(request),
                2 if self.deferred.len() < MOST => self.deferred.push(request.defer()),
                _ => explain(request.reply(&text), |_| true),
            }
        });
        explain(outcome, is_said);
    }

    fn hear_answer(&mut self, choices: &mut Choices<'_>) {
        let Some(client) = &mut self.client else { return };
        if self.calls.is_empty() {
            return;
        }
        let call = self.calls[choices.below(self.calls.len())];
        if choices.one_in(8) {
            return client.cancel(call);
        }
        explain(client.wait_timeout(call, NOW).map(|reply| read(&reply)), |_| true);
    }

    fn take_job(&mut self, choices: &mut Choices<'_>) {
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
        explain(outcome, is_said);
    }

    fn dispatch(&mut self, choices: &mut Choices<'_>) {
        let Some(events) = &mut self.events else { return };
        match choices.below(5) {
            0 => {
                let name = choices.pick(&["open", "closed", "error", "a::b", "*", ""]);
                let text = "é".repeat(choices.pick(&[0, 9, 500]));
                explain(events.try_emit(name, &text), |_| true);
            }
            1 => {
                let waited = events.wait_for_timeout::<String>("open", NOW);
                explain(waited.map(|text| read(&text.unwrap_or_default())), is_fair);
            }
            2 => explain(events.run_for(NOW).map(drop), is_fair),
            _ => explain(events.poll().map(drop), is_fair),
        }
    }

    /// Asks the cluster, joins it or leaves it. Whatever it gives can be used.
    pub(crate) fn govern(&mut self, choices: &mut Choices<'_>) {
        match choices.below(12) {
            0..4 => self.look(choices),
            4 | 5 => self.watch(choices),
            6 | 7 => self.join(choices),
            8 => self.leave(choices),
            9 => self.retire(choices),
            10 => self.select(),
            _ => self.open_more(choices),
        }
    }

    fn look(&mut self, choices: &mut Choices<'_>) {
        let Some(own) = &self.own else { return };
        let all = own.workers();
        assert!(all.len() <= DESKS && all.iter().all(|one| usize::from(one.id.0) < DESKS));
        assert!(all.iter().all(|one| one.name.len() <= 3 * 64), "a name of 64 bytes, read as text");
        black_box(format!("{all:?}"));
        let name = choices.pick(&["own", "peer", "third", "", "../peer", "~"]);
        black_box(own.worker(name));
        black_box(own.worker(&WorkerId(choices.below(DESKS + 2) as u16)));
        black_box(own.wait_for_worker_timeout(name, NOW).is_ok());
        black_box(own.wait_for_inbox_timeout(name, NOW).is_ok());
    }

    fn watch(&mut self, choices: &mut Choices<'_>) {
        let Some(watch) = &mut self.watch else { return };
        for _ in 0..1 + choices.below(8) {
            match watch.try_recv() {
                Ok(change) => drop(black_box(format!("{change:?}"))),
                Err(error) => return explain(Err(error), is_said),
            }
        }
    }

    fn join(&mut self, choices: &mut Choices<'_>) {
        let name = choices.pick(&["third", "own", "peer", "fourth"]);
        let builder = match choices.below(3) {
            0 => builder().id(WorkerId(choices.below(DESKS + 1) as u16)),
            _ => builder(),
        };
        match builder.join(&self.cluster, name) {
            Ok(worker) => self.third = Some(worker),
            Err(error) => explain(Err(error), |_: &JoinError| true),
        }
    }

    fn leave(&mut self, choices: &mut Choices<'_>) {
        match choices.below(6) {
            0 => explain(self.third.take().map_or(Ok(()), Worker::leave), is_opened),
            1 => drop(self.third.take()),
            2 => explain(self.peer.take().map_or(Ok(()), Worker::leave), is_opened),
            3 => drop(self.peer.take()),
            4 => drop(self.inbox.take()),
            _ => drop((self.watch.take(), self.events.take())),
        }
    }

    fn retire(&mut self, choices: &mut Choices<'_>) {
        let Some(own) = &self.own else { return };
        let outcome = match choices.below(2) {
            0 => own.retire(choices.pick(&["peer", "third", "own", "", "../peer"])),
            _ => own.retire(&WorkerId(choices.below(DESKS + 1) as u16)),
        };
        explain(outcome.map(drop), is_opened);
    }

    fn select(&mut self) {
        let Self { inbox, service, client, events, watch, .. } = self;
        let mut list: Vec<&mut dyn Selectable> = Vec::new();
        list.extend(inbox.iter_mut().map(|one| one as &mut dyn Selectable));
        list.extend(service.iter_mut().map(|one| one as &mut dyn Selectable));
        list.extend(client.iter_mut().map(|one| one as &mut dyn Selectable));
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
            _ => explain(worker.client::<String, String>("echo").map(drop), is_opened),
        }
    }
}

impl Drop for Cast {
    fn drop(&mut self) {
        // Before what they are, so that nothing is looked for by who opened it.
        self.deferred.clear();
        drop((self.inbox.take(), self.service.take(), self.jobs.take(), self.client.take()));
        drop((self.events.take(), self.watch.take()));
        drop((self.third.take(), self.peer.take(), self.own.take()));
        for name in self.names() {
            let _ = std::fs::remove_file(format!("/dev/shm/{name}"));
        }
        let is_there = std::fs::remove_file(bystander(&self.cluster)).is_ok();
        assert!(is_there || std::thread::panicking(), "what is not of the cluster was removed");
    }
}

fn builder() -> WorkerBuilder {
    let small = Worker::builder().max_workers(DESKS).inbox_capacity(4096);
    small.join_timeout(Duration::from_millis(1))
}

/// The object of the ring that has the cluster's name, which is no business of the cluster's.
fn bystander(cluster: &str) -> String {
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
        Err(error) => explain(Err(error), is_opened),
    }
}

fn read(text: &str) {
    black_box(text.chars().rev().count());
}

/// An error says something, and is one that bytes can be blamed for.
fn explain<E: std::fmt::Display>(outcome: Result<(), E>, is_fair: impl FnOnce(&E) -> bool) {
    if let Err(error) = outcome {
        assert!(!error.to_string().is_empty());
        assert!(is_fair(&error), "{error}");
    }
}

fn is_said<E>(_: &E) -> bool {
    true
}

fn is_opened(error: &OpenError) -> bool {
    !matches!(error, OpenError::BadSettings { .. })
}

fn is_fair(error: &RunError) -> bool {
    !matches!(error, RunError::BadName { .. })
}
