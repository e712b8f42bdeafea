//! One place to wait in: a thread that listens to many sleeps once, for all of them, and any of
//! them wakes it, whatever the kernel can do.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod support;

use packetring::any::AnySubscriber;
use packetring::cluster::{Client, Service};
use packetring::{Publisher, Ring, Selectable, Subscriber, TryRecvError, Worker, select_timeout};
use std::fs;
use support::peer::{self, Peer, Role};
use support::{LONG, Watch, assert_gone, unique, wait_until};

/// As many as ten topics, an inbox, two services, replies and a watch.
const MANY: usize = 15;
/// What a worker has to listen to, and all of it with its inbox, its watch and its events.
const TOPICS: usize = 10;
const SERVICES: usize = 2;
const WORK: usize = TOPICS + SERVICES + 3;
/// Events are two words if they tell of workers, too.
const WORDS: usize = WORK + 1;
/// The kernel waits for no more words at once.
const TOO_MANY: usize = 130;
/// The number of the system call, on every machine.
const FUTEX_WAITV: i64 = 449;

/// The peers of these tests.
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

/// Something to listen to, of either kind.
enum Ear {
    One(Subscriber<u64>),
    Any(AnySubscriber),
}

impl Ear {
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

    fn take(&mut self) -> Result<u64, TryRecvError> {
        match self {
            Self::One(ear) => ear.try_recv().map(|number| number.to_native()),
            Self::Any(ear) => Ok(ear.try_recv()?.open_as::<u64>()?.to_native()),
        }
    }
}

/// The next of the list that has something.
fn hear_one(ears: &mut [Ear]) -> usize {
    let mut list: Vec<&mut dyn Selectable> = ears.iter_mut().map(Ear::selectable).collect();
    select_timeout(&mut list, LONG).expect("nobody woke the sleeper")
}

/// Arguments: rings.
fn listen(role: &Role) {
    let mut ears: Vec<Ear> =
        (0..MANY).map(|index| Ear::at(&ring_of(&role.arguments[0], index), index)).collect();
    peer::say("listens");
    loop {
        let index = hear_one(&mut ears);
        let number = ears[index].take().unwrap();
        peer::say(&format!("{index} {number}"));
        if number == u64::MAX {
            return;
        }
    }
}

/// A worker with ten topics, an inbox, two services, a watch and events. Arguments: cluster.
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
        let index = select_timeout(&mut list, LONG).expect("nobody woke the worker");
        if index < TOPICS {
            let number = topics[index].try_recv().unwrap().to_native();
            peer::say(&format!("{index} {number}"));
            if number == u64::MAX {
                return worker.leave().unwrap();
            }
        } else if index == TOPICS {
            let letter = inbox.try_recv().unwrap();
            peer::say(&format!("{index} {}", letter.open_as::<u64>().unwrap()));
            letter.ack();
        } else if let Some(service) = services.get_mut(index - TOPICS - 1) {
            let request = service.try_recv().unwrap();
            let number = request.to_native();
            request.reply(&(number + 1)).unwrap();
            peer::say(&format!("{index} {number}"));
        } else if index == WORK - 2 {
            watch.try_recv().unwrap();
            peer::say(&format!("{index} news"));
        } else {
            events.poll().unwrap();
        }
    }
}

/// How many words the threads of a process sleep on that sleep on several; `None`: the system
/// does not say.
fn words_slept_on(pid: u32) -> Option<Vec<usize>> {
    let mut words = Vec::new();
    for task in fs::read_dir(format!("/proc/{pid}/task")).ok()? {
        let line = fs::read_to_string(task.ok()?.path().join("syscall")).ok()?;
        let mut parts = line.split_whitespace();
        // The call, where the list of words is, how long it is.
        if parts.next()?.parse() == Ok(FUTEX_WAITV) {
            let count = parts.nth(1)?.trim_start_matches("0x");
            words.push(usize::from_str_radix(count, 16).ok()?);
        }
    }
    Some(words)
}

/// Whether this kernel waits for several words at once.
fn has_waitv() -> bool {
    let version = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = version.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse());
    let mut number = || numbers.next().and_then(Result::ok).unwrap_or(0_u32);
    (number(), number()) >= (5, 16)
}

#[test]
fn fifteen_to_listen_to_are_one_sleep_and_each_ends_it() {
    let _watch = Watch::start();
    let name = unique("fifteen");
    let rings: Vec<Ring> = (0..MANY).map(|index| ring_of(&name, index)).collect();
    let mut out: Vec<Publisher<u64>> = rings.iter().map(|ring| ring.publisher().unwrap()).collect();
    let mut listener = Peer::start(&format!("listen {name}"));
    listener.expect("listens");
    let can_be_seen = has_waitv() && words_slept_on(listener.pid()).is_some();
    if !can_be_seen {
        eprintln!("not shown here: that it is one sleep");
    }
    for number in 0..4 {
        for (index, out) in out.iter_mut().enumerate() {
            if can_be_seen {
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

/// It wakes nobody, and its ring is not the one that this sleep is about.
#[test]
fn the_death_of_a_publisher_is_noticed_among_many() {
    let _watch = Watch::start();
    let name = unique("death");
    let mut rings: Vec<Ring> = (0..MANY).map(|index| ring_of(&name, index)).collect();
    let mortal = format!("{name}-mortal");
    rings[7] = Ring::builder().capacity(4096).open(&mortal).unwrap();
    let mut ears: Vec<Ear> =
        rings.iter().enumerate().map(|(index, ring)| Ear::at(ring, index)).collect();
    let mut publisher = Peer::start(&format!("publish-and-wait {mortal}"));
    publisher.expect("sent");
    assert_eq!(hear_one(&mut ears), 7);
    assert_eq!(ears[7].take().unwrap(), 7);
    std::thread::scope(|scope| {
        let sleeper = scope.spawn(|| hear_one(&mut ears));
        publisher.kill();
        assert_eq!(sleeper.join().unwrap(), 7);
    });
    assert!(matches!(ears[7].take(), Err(TryRecvError::Closed)));
    drop((ears, rings));
    assert_gone(&mortal);
}

/// Sends to each of so many rings in turn, and the one who listens to them all gets it.
fn each_ends_the_sleep(count: usize, prepare: impl FnOnce() -> bool + Send) {
    let rings: Vec<Ring> =
        (0..count).map(|_| Ring::builder().capacity(1024).heap().unwrap()).collect();
    let mut out: Vec<Publisher<u64>> = rings.iter().map(|ring| ring.publisher().unwrap()).collect();
    let mut ears: Vec<Ear> =
        rings.iter().enumerate().map(|(index, ring)| Ear::at(ring, index)).collect();
    let (say, heard) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let naps = u64::from(prepare());
            say.send((rustix::thread::gettid().as_raw_pid(), naps)).unwrap();
            for _ in 0..count {
                let index = hear_one(&mut ears);
                let number = ears[index].take().unwrap();
                say.send((index as i32, number)).unwrap();
            }
        });
        let (thread, naps) = heard.recv_timeout(LONG).unwrap();
        for (index, out) in out.iter_mut().enumerate() {
            if naps == 1 {
                sleeps_a_while(thread);
            }
            out.send(&(index as u64)).unwrap();
            assert_eq!(heard.recv_timeout(LONG).unwrap(), (index as i32, index as u64));
        }
    });
}

/// Waits until a thread of this process sleeps by the clock: it does not spin.
fn sleeps_a_while(thread: i32) {
    let path = format!("/proc/self/task/{thread}/syscall");
    let naps = [libc::SYS_clock_nanosleep, libc::SYS_nanosleep].map(|call| call.to_string());
    wait_until("it naps", || match fs::read_to_string(&path) {
        Ok(line) => naps.iter().any(|nap| line.split_whitespace().next() == Some(nap)),
        Err(_) => true,
    });
}

#[test]
fn more_than_the_kernel_takes_are_looked_at_again_and_again() {
    let _watch = Watch::start();
    each_ends_the_sleep(TOO_MANY, || true);
}

#[test]
fn a_kernel_without_the_call_is_no_obstacle() {
    let _watch = Watch::start();
    each_ends_the_sleep(MANY, refuse_waitv);
}

/// As before Linux 5.16, for this thread alone; `false`: that is not permitted here.
fn refuse_waitv() -> bool {
    let rule = |code: u32, k: u32, jf: u8| libc::sock_filter { code: code as u16, jt: 0, jf, k };
    let mut rules = [
        // The number of the call is the first word.
        rule(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0),
        rule(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, FUTEX_WAITV as u32, 1),
        rule(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32, 0),
        rule(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW, 0),
    ];
    let program = libc::sock_fprog { len: rules.len() as u16, filter: rules.as_mut_ptr() };
    // SAFETY: the program outlives the calls, which read it; they change what this thread may ask
    // of the kernel, and nothing in memory.
    let refused = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
            && libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &program) == 0
    };
    if !refused {
        eprintln!("not shown here: a kernel without futex_waitv");
    }
    refused
}

#[test]
fn a_worker_sleeps_in_one_place_for_all_that_it_listens_to() {
    let _watch = Watch::start();
    let cluster = unique("work");
    let worker = Worker::join(&cluster, "mouth").unwrap();
    let topic = |index| worker.publisher::<u64>(&format!("topic-{index}")).unwrap();
    let mut topics: Vec<Publisher<u64>> = (0..TOPICS).map(topic).collect();
    let mut ear = Peer::start(&format!("work {cluster}"));
    ear.expect("listens");
    let client = |index| worker.client::<u64, u64>(&format!("service-{index}")).unwrap();
    let mut clients: [Client<u64, u64>; SERVICES] = std::array::from_fn(client);
    let can_be_seen = has_waitv() && words_slept_on(ear.pid()).is_some();
    let mut events = worker.events().unwrap();
    let mut guest = None;
    for number in 0..3 {
        for index in 0..WORK {
            if can_be_seen {
                wait_until("one thread sleeps on all words", || {
                    words_slept_on(ear.pid()).is_some_and(|words| words == [WORDS])
                });
            }
            if let Some(topic) = topics.get_mut(index) {
                topic.send(&number).unwrap();
            } else if index == TOPICS {
                worker.send_to("ear", &number).unwrap();
            } else if let Some(client) = clients.get_mut(index - TOPICS - 1) {
                let reply = client.call_timeout(&number, LONG).unwrap();
                assert_eq!(*reply, number + 1);
            } else if index == WORK - 1 {
                events.emit("tell", &number).unwrap();
            } else {
                // Somebody comes, or goes: news for the watch, and for the events.
                guest = guest.map_or_else(|| Worker::join(&cluster, "guest").ok(), |_| None);
                let mut told = [ear.hear(), ear.hear()];
                told.sort();
                assert_eq!(told, [index, index + 1].map(|index| format!("{index} news")));
                continue;
            }
            ear.expect(&format!("{index} {number}"));
        }
    }
    topics[0].send(&u64::MAX).unwrap();
    ear.expect(&format!("0 {}", u64::MAX));
    ear.finish();
}
