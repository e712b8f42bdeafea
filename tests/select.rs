//! Selection: a thread that waits for many endpoints sleeps in one system call, and any of them
//! wakes it. Falls back to polling where the kernel cannot wait for several words.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod support;

use packetring::any::AnySubscriber;
use packetring::cluster::{Client, Request, Service};
use packetring::{Publisher, Ring, Selectable, Subscriber, TryRecvError, Worker, select_timeout};
use std::fs;
use support::peer::{self, Peer, Role};
use support::{LONG, Watch, assert_gone, unique, wait_until};

/// As many as ten topics, an inbox, two services, replies and a watch.
const MANY: usize = 15;
/// The endpoints of the worker: topics and services, plus the inbox, the watch and the events.
const TOPICS: usize = 10;
const SERVICES: usize = 2;
const WORK: usize = TOPICS + SERVICES + 3;
/// Futex words of that list. `Events` with a worker handler waits on two words.
const WORDS: usize = WORK + 1;
/// More words than one `futex_waitv` call can wait for (128).
const TOO_MANY: usize = 130;
/// The system call number, the same on every architecture.
const FUTEX_WAITV: i64 = 449;

/// Entry point of the child processes; does nothing without a role.
#[test]
fn peer() {
    let Some(role) = peer::role() else { return };
    match role.name.as_str() {
        "listen" => listen(&role),
        "work" => work(&role),
        "publish-and-wait" => publish_and_wait(&role),
        other => panic!("no role {other}"),
    }
}

fn ring_of(name: &str, index: usize) -> Ring {
    Ring::builder().capacity(4096).stays_open(true).open(&format!("{name}-{index}")).unwrap()
}

/// A subscriber of one type or of any types.
enum EitherSubscriber {
    One(Subscriber<u64>),
    Any(AnySubscriber),
}

impl EitherSubscriber {
    fn at(ring: &Ring, index: usize) -> Self {
        if index.is_multiple_of(2) {
            Self::One(ring.subscriber().unwrap())
        } else {
            Self::Any(ring.any_subscriber().unwrap())
        }
    }

    fn selectable(&mut self) -> &mut dyn Selectable {
        match self {
            Self::One(ear) => ear,
            Self::Any(ear) => ear,
        }
    }

    fn receive(&mut self) -> Result<u64, TryRecvError> {
        match self {
            Self::One(ear) => ear.try_recv().map(|number| number.to_native()),
            Self::Any(ear) => Ok(ear.try_recv()?.open_as::<u64>()?.to_native()),
        }
    }
}

/// Waits for the next endpoint of the list that is ready.
fn select_one(subscribers: &mut [EitherSubscriber]) -> usize {
    let mut list: Vec<&mut dyn Selectable> =
        subscribers.iter_mut().map(EitherSubscriber::selectable).collect();
    select_timeout(&mut list, LONG).expect("the sleeping thread was not woken")
}

/// Arguments: prefix of the ring names.
fn listen(role: &Role) {
    let mut subscribers: Vec<EitherSubscriber> = (0..MANY)
        .map(|index| EitherSubscriber::at(&ring_of(&role.arguments[0], index), index))
        .collect();
    peer::say("listens");
    loop {
        let index = select_one(&mut subscribers);
        let number = subscribers[index].receive().unwrap();
        peer::say(&format!("{index} {number}"));
        if number == u64::MAX {
            return;
        }
    }
}

/// Runs a worker with ten topics, an inbox, two services, a watch and events. Arguments: cluster.
fn work(role: &Role) {
    let worker = Worker::join(&role.arguments[0], "ear").unwrap();
    let topic = |index| worker.subscriber::<u64>(&format!("topic-{index}")).unwrap();
    let mut topics: Vec<Subscriber<u64>> = (0..TOPICS).map(topic).collect();
    let mut inbox = worker.inbox().unwrap();
    let service = |index| worker.service::<u64, u64>(&format!("service-{index}")).unwrap();
    let mut services: [Service<u64, u64>; SERVICES] = std::array::from_fn(service);
    let mut watch = worker.watch().unwrap();
    let mut events = worker.events().unwrap();
    events.on::<u64>("tell", |number, _| peer::say(&format!("{} {number}", WORK - 1)));
    events.on_worker(|_, _| peer::say(&format!("{} news", WORK - 1)));
    peer::say("listens");
    loop {
        let mut list: Vec<&mut dyn Selectable> = Vec::new();
        list.extend(topics.iter_mut().map(|topic| topic as &mut dyn Selectable));
        list.push(&mut inbox);
        list.extend(services.iter_mut().map(|service| service as &mut dyn Selectable));
        list.push(&mut watch);
        list.push(&mut events);
        assert_eq!(list.len(), WORK);
        let index = select_timeout(&mut list, LONG).expect("the worker was not woken");
        if index < TOPICS {
            let number = topics[index].try_recv().unwrap().to_native();
            peer::say(&format!("{index} {number}"));
            if number == u64::MAX {
                return worker.leave().unwrap();
            }
        } else if index == TOPICS {
            let message = inbox.try_recv().unwrap();
            peer::say(&format!("{index} {}", message.open_as::<u64>().unwrap()));
            message.ack();
        } else if let Some(service) = services.get_mut(index - TOPICS - 1) {
            let request = service.try_recv().unwrap();
            let number = request.to_native();
            Request::reply(request, &(number + 1)).unwrap();
            peer::say(&format!("{index} {number}"));
        } else if index == WORK - 2 {
            watch.try_recv().unwrap();
            peer::say(&format!("{index} news"));
        } else {
            events.poll().unwrap();
        }
    }
}

/// For each thread of a process that sleeps in `futex_waitv`, the number of words it waits for.
/// `None` if the system does not show it.
fn words_slept_on(pid: u32) -> Option<Vec<usize>> {
    let mut words = Vec::new();
    for task in fs::read_dir(format!("/proc/{pid}/task")).ok()? {
        let line = fs::read_to_string(task.ok()?.path().join("syscall")).ok()?;
        let mut parts = line.split_whitespace();
        // The call number, the address of the word list, its length.
        if parts.next()?.parse() == Ok(FUTEX_WAITV) {
            let count = parts.nth(1)?.trim_start_matches("0x");
            words.push(usize::from_str_radix(count, 16).ok()?);
        }
    }
    Some(words)
}

/// Whether this kernel has `futex_waitv` (Linux 5.16).
fn has_waitv() -> bool {
    let version = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = version.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse());
    let mut number = || numbers.next().and_then(Result::ok).unwrap_or(0_u32);
    (number(), number()) >= (5, 16)
}

#[test]
fn fifteen_subscribers_share_one_sleep() {
    let _watch = Watch::start();
    let name = unique("fifteen");
    let rings: Vec<Ring> = (0..MANY).map(|index| ring_of(&name, index)).collect();
    let mut out: Vec<Publisher<u64>> = rings.iter().map(|ring| ring.publisher().unwrap()).collect();
    let mut listener = Peer::start(&format!("listen {name}"));
    listener.expect("listens");
    let is_observable = has_waitv() && words_slept_on(listener.pid()).is_some();
    if !is_observable {
        eprintln!("skipped: this system does not show what a thread waits for");
    }
    for number in 0..4 {
        for (index, out) in out.iter_mut().enumerate() {
            if is_observable {
                wait_until("one thread sleeps on all words", || {
                    words_slept_on(listener.pid()).is_some_and(|words| words == [MANY])
                });
            }
            out.send(&number).unwrap();
            listener.expect(&format!("{index} {number}"));
        }
    }
    out[MANY - 1].send(&u64::MAX).unwrap();
    listener.expect(&format!("{} {}", MANY - 1, u64::MAX));
    listener.finish();
    drop((out, rings));
    (0..MANY).for_each(|index| assert_gone(&format!("{name}-{index}")));
}

/// Arguments: ring.
fn publish_and_wait(role: &Role) {
    let mut out = Ring::attach(&role.arguments[0]).unwrap().publisher::<u64>().unwrap();
    out.send(&7).unwrap();
    peer::say("sent");
    peer::hear();
}

/// A killed publisher wakes nobody, and its ring is only one of the list. The liveness check must
/// cover the whole list.
#[test]
fn the_death_of_one_of_many_publishers_is_noticed() {
    let _watch = Watch::start();
    let name = unique("death");
    let mut rings: Vec<Ring> = (0..MANY).map(|index| ring_of(&name, index)).collect();
    let closable = format!("{name}-closable");
    rings[7] = Ring::builder().capacity(4096).open(&closable).unwrap();
    let mut subscribers: Vec<EitherSubscriber> =
        rings.iter().enumerate().map(|(index, ring)| EitherSubscriber::at(ring, index)).collect();
    let mut publisher = Peer::start(&format!("publish-and-wait {closable}"));
    publisher.expect("sent");
    assert_eq!(select_one(&mut subscribers), 7);
    assert_eq!(subscribers[7].receive().unwrap(), 7);
    std::thread::scope(|scope| {
        let sleeper = scope.spawn(|| select_one(&mut subscribers));
        publisher.kill();
        assert_eq!(sleeper.join().unwrap(), 7);
    });
    assert!(matches!(subscribers[7].receive(), Err(TryRecvError::Closed)));
    drop((subscribers, rings));
    assert_gone(&closable);
}

/// Sends to each of `count` rings in turn. A thread selects over all of them and must receive
/// each number. `prepare` runs in that thread and returns true if it must poll.
fn assert_each_send_wakes(count: usize, prepare: impl FnOnce() -> bool + Send) {
    let rings: Vec<Ring> =
        (0..count).map(|_| Ring::builder().capacity(1024).heap().unwrap()).collect();
    let mut out: Vec<Publisher<u64>> = rings.iter().map(|ring| ring.publisher().unwrap()).collect();
    let mut subscribers: Vec<EitherSubscriber> =
        rings.iter().enumerate().map(|(index, ring)| EitherSubscriber::at(ring, index)).collect();
    let (say, heard) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let polls = u64::from(prepare());
            say.send((rustix::thread::gettid().as_raw_pid(), polls)).unwrap();
            for _ in 0..count {
                let index = select_one(&mut subscribers);
                let number = subscribers[index].receive().unwrap();
                say.send((index as i32, number)).unwrap();
            }
        });
        let (thread, polls) = heard.recv_timeout(LONG).unwrap();
        for (index, out) in out.iter_mut().enumerate() {
            if polls == 1 {
                wait_until_polling(thread);
            }
            out.send(&(index as u64)).unwrap();
            assert_eq!(heard.recv_timeout(LONG).unwrap(), (index as i32, index as u64));
        }
    });
}

/// Waits until a thread of this process sleeps for a fixed time, which shows that it does not spin.
fn wait_until_polling(thread: i32) {
    let path = format!("/proc/self/task/{thread}/syscall");
    let polls = [libc::SYS_clock_nanosleep, libc::SYS_nanosleep].map(|call| call.to_string());
    wait_until("the thread sleeps between polls", || match fs::read_to_string(&path) {
        Ok(line) => polls.iter().any(|poll| line.split_whitespace().next() == Some(poll)),
        Err(_) => true,
    });
}

#[test]
fn a_list_too_long_for_futex_waitv_is_polled() {
    let _watch = Watch::start();
    assert_each_send_wakes(TOO_MANY, || true);
}

#[test]
fn a_kernel_without_futex_waitv_falls_back_to_polling() {
    let _watch = Watch::start();
    assert_each_send_wakes(MANY, disable_waitv);
}

/// Makes `futex_waitv` fail in this thread, as before Linux 5.16. Returns `false` if that is not
/// permitted.
fn disable_waitv() -> bool {
    let rule = |code: u32, k: u32, jf: u8| libc::sock_filter { code: code as u16, jt: 0, jf, k };
    let mut rules = [
        // Load the system call number, the first word of the data.
        rule(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0),
        rule(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, FUTEX_WAITV as u32, 1),
        rule(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32, 0),
        rule(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW, 0),
    ];
    let program = libc::sock_fprog { len: rules.len() as u16, filter: rules.as_mut_ptr() };
    // SAFETY: the calls only read the program, which outlives them. They restrict the system calls
    // of this thread and change no memory.
    let disabled = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
            && libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &program) == 0
    };
    if !disabled {
        eprintln!("skipped: seccomp filters are not permitted");
    }
    disabled
}

#[test]
fn a_worker_with_many_endpoints_shares_one_sleep() {
    let _watch = Watch::start();
    let cluster = unique("work");
    let worker = Worker::join(&cluster, "mouth").unwrap();
    let topic = |index| worker.publisher::<u64>(&format!("topic-{index}")).unwrap();
    let mut topics: Vec<Publisher<u64>> = (0..TOPICS).map(topic).collect();
    let mut ear = Peer::start(&format!("work {cluster}"));
    ear.expect("listens");
    let client = |index| worker.client::<u64, u64>(&format!("service-{index}")).unwrap();
    let clients: [Client<u64, u64>; SERVICES] = std::array::from_fn(client);
    let is_observable = has_waitv() && words_slept_on(ear.pid()).is_some();
    let mut events = worker.events().unwrap();
    let mut guest = None;
    for number in 0..3 {
        for index in 0..WORK {
            if is_observable {
                wait_until("one thread sleeps on all words", || {
                    words_slept_on(ear.pid()).is_some_and(|words| words == [WORDS])
                });
            }
            if let Some(topic) = topics.get_mut(index) {
                topic.send(&number).unwrap();
            } else if index == TOPICS {
                worker.send_to("ear", &number).unwrap();
            } else if let Some(client) = clients.get(index - TOPICS - 1) {
                let reply = client.call_timeout(&number, LONG).unwrap();
                assert_eq!(*reply, number + 1);
            } else if index == WORK - 1 {
                events.emit("tell", &number).unwrap();
            } else {
                // A worker joins or leaves: a change for the watch and for the events.
                guest = guest.map_or_else(|| Worker::join(&cluster, "guest").ok(), |_| None);
                let mut changes = [ear.hear(), ear.hear()];
                changes.sort();
                assert_eq!(changes, [index, index + 1].map(|index| format!("{index} news")));
                continue;
            }
            ear.expect(&format!("{index} {number}"));
        }
    }
    topics[0].send(&u64::MAX).unwrap();
    ear.expect(&format!("0 {}", u64::MAX));
    ear.finish();
}
