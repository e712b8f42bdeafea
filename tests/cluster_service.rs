//! Services: what a caller is told, and what a server is, whatever becomes of the other.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod support;

use packetring::cluster::{
    CallError, CallTimeoutError, Client, ReplyError, Request, Service, ServiceRecvError,
    ServiceRecvTimeoutError, TryServiceRecvError,
};
use packetring::{OpenError, Worker, packet, select, select_timeout, try_select};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::sync::mpsc;
use std::time::Duration;
use support::peer::{self, Peer};
use support::{LONG, SHORT, Watch, this_thread, unique, wait_until, wait_until_asleep};

/// Longer than the test may take: what comes at this deadline comes too late.
const FAR: Duration = Duration::from_secs(600);
const WINDOW: usize = 32;

#[packet]
struct Ask {
    number: u64,
    text: String,
}

#[packet]
#[rkyv(derive(Debug))]
struct Answer {
    number: u64,
    text: String,
}

fn ask(number: u64) -> Ask {
    Ask { number, text: format!("question {number}") }
}

fn answer(asked: &ArchivedAsk) -> Answer {
    let number = asked.number.to_native();
    Answer { number: number * 2, text: asked.text.replace("question", "answer") }
}

fn check(answer: &ArchivedAnswer, number: u64) {
    assert_eq!(answer.number, number * 2);
    assert_eq!(answer.text, format!("answer {number}"));
}

fn reply(request: Request<'_, Ask, Answer>) {
    let answer = answer(&request);
    request.reply(&answer).unwrap();
}

fn serve(worker: &Worker) -> Service<Ask, Answer> {
    worker.service("echo").unwrap()
}

fn client(worker: &Worker) -> Client<Ask, Answer> {
    worker.client("echo").unwrap()
}

/// A server and a client in one worker.
fn pair(topic: &str) -> (Worker, Service<Ask, Answer>, Client<Ask, Answer>) {
    let worker = Worker::join(&unique(topic), "both").unwrap();
    let (server, client) = (serve(&worker), client(&worker));
    (worker, server, client)
}

/// The peer's side; an empty test unless it was started as one.
#[test]
fn peer() {
    let Some(role) = peer::role() else { return };
    let worker = Worker::join(&role.arguments[0], &role.arguments[1]).unwrap();
    match role.name.as_str() {
        "serve" => {
            let mut server = serve(&worker);
            peer::say("here");
            loop {
                reply(server.recv().unwrap());
            }
        }
        // Keeps the first request, and a second one that it says it replies to later.
        "keep" => {
            let mut server = serve(&worker);
            peer::say("here");
            let _later = server.recv().unwrap().defer();
            peer::say("deferred");
            let _request = server.recv().unwrap();
            peer::say("has it");
            while peer::hear().is_some() {}
        }
        // Has no descriptor left to reach a caller, until it hears something.
        "poor" => {
            let mut server = serve(&worker);
            let normal = getrlimit(Resource::Nofile);
            let open = std::fs::read_dir("/proc/self/fd").unwrap().count() as u64;
            setrlimit(Resource::Nofile, Rlimit { current: Some(open - 1), ..normal }).unwrap();
            peer::say("here");
            let outcome = server.recv().map(drop);
            assert!(matches!(outcome, Err(ServiceRecvError::Caller(_))), "{outcome:?}");
            peer::say("told");
            assert!(matches!(
                server.recv_timeout(10 * SHORT),
                Err(ServiceRecvTimeoutError::Timeout)
            ));
            peer::say("waits");
            peer::hear();
            setrlimit(Resource::Nofile, normal).unwrap();
            assert_eq!(select(&mut [&mut server]), 0);
            reply(server.try_recv().unwrap());
            while peer::hear().is_some() {}
        }
        "call" => {
            let mut client = client(&worker);
            peer::say("here");
            let _ = client.call(&ask(1));
        }
        "call-twice" => {
            let mut client = client(&worker);
            peer::say("here");
            let _calls = [1, 2].map(|number| client.start(&ask(number)).unwrap());
            while peer::hear().is_some() {}
        }
        name => panic!("no such role: {name}"),
    }
}

fn start(role: &str, cluster: &str, name: &str) -> Peer {
    let mut peer = Peer::start(&format!("{role} {cluster} {name}"));
    peer.expect("here");
    peer
}

#[test]
fn a_reply_goes_to_its_call() {
    let _watch = Watch::start();
    let (_worker, mut server, mut client) = pair("correlation");
    let calls: Vec<_> = (0..10).map(|number| client.start(&ask(number)).unwrap()).collect();
    let mut requests = 0;
    while let Ok(request) = server.try_recv() {
        reply(request);
        requests += 1;
    }
    assert_eq!(requests, 10);
    // In any order.
    for number in [3, 1, 9, 0, 2, 8, 7, 4, 6, 5] {
        check(&client.wait(calls[number]).unwrap(), number as u64);
    }
    assert!(matches!(client.wait(calls[0]), Err(CallError::NotInFlight)), "it is over");
}

#[test]
fn the_first_of_several_calls_is_waited_for() {
    let _watch = Watch::start();
    let (_worker, mut server, mut client) = pair("any");
    let calls = [1, 2].map(|number| client.start(&ask(number)).unwrap());
    let first = server.recv().unwrap().defer();
    reply(server.recv().unwrap());
    let (call, found) = client.wait_any().unwrap();
    assert_eq!(call, calls[1]);
    check(&found.unwrap(), 2);
    let text = "answer 1".to_owned();
    first.reply(&mut server, &Answer { number: 2, text }).unwrap();
    let (call, found) = client.wait_any().unwrap();
    assert_eq!(call, calls[0]);
    check(&found.unwrap(), 1);
    assert!(matches!(client.wait_any(), Err(CallError::NotInFlight)), "none is in flight");
}

#[test]
fn of_several_calls_it_is_said_which_failed() {
    let _watch = Watch::start();
    let (_worker, mut server, mut client) = pair("any-fails");
    let calls = [1, 2, 3].map(|number| client.start(&ask(number)).unwrap());
    let first = server.recv().unwrap().defer();
    drop(server.recv().unwrap());
    let mut ended = || {
        let (call, outcome) = client.wait_any().unwrap();
        (call, outcome.map(drop))
    };
    let (call, outcome) = ended();
    assert_eq!(call, calls[1]);
    assert!(matches!(outcome, Err(CallError::NoReply)), "{outcome:?}");
    // The others are in flight. One has no reply either; the server of the third leaves.
    drop((first, server));
    let mut outcomes = [ended(), ended()];
    outcomes.sort_by_key(|(call, _)| *call != calls[0]);
    assert_eq!(outcomes.each_ref().map(|(call, _)| *call), [calls[0], calls[2]]);
    assert!(matches!(outcomes[0].1, Err(CallError::NoReply)), "{outcomes:?}");
    assert!(matches!(outcomes[1].1, Err(CallError::NoService)), "{outcomes:?}");
}

#[test]
fn a_call_is_its_own_clients() {
    let _watch = Watch::start();
    let (worker, mut server, mut one) = pair("own");
    let mut other = client(&worker);
    // Both are the first of their clients.
    let calls = [one.start(&ask(1)).unwrap(), other.start(&ask(2)).unwrap()];
    assert_ne!(calls[0], calls[1]);
    reply(server.recv().unwrap());
    reply(server.recv().unwrap());
    other.cancel(calls[0]);
    let outcome = other.wait_timeout(calls[0], LONG).map(drop);
    assert!(matches!(outcome, Err(CallTimeoutError::NotInFlight)), "{outcome:?}");
    check(&other.wait(calls[1]).unwrap(), 2);
    check(&one.wait(calls[0]).unwrap(), 1);
}

#[test]
fn a_call_ends_at_its_deadline_and_a_late_reply_is_nobodys() {
    let _watch = Watch::start();
    let (_worker, mut server, mut client) = pair("deadline");
    let outcome = client.call_timeout(&ask(1), SHORT).map(drop);
    assert!(matches!(outcome, Err(CallTimeoutError::Timeout)), "{outcome:?}");
    // Cancelled, and so never handed out.
    assert!(matches!(server.try_recv(), Err(TryServiceRecvError::Empty)));
    let late = client.start(&ask(2)).unwrap();
    let request = server.recv().unwrap();
    let outcome = client.wait_timeout(late, SHORT).map(drop);
    assert!(matches!(outcome, Err(CallTimeoutError::Timeout)), "{outcome:?}");
    // Still in flight.
    reply(request);
    check(&client.wait(late).unwrap(), 2);
    let given_up = client.start(&ask(3)).unwrap();
    let request = server.recv().unwrap();
    client.cancel(given_up);
    reply(request);
    let next = client.start(&ask(4)).unwrap();
    reply(server.recv().unwrap());
    check(&client.wait(next).unwrap(), 4);
}

#[test]
fn a_cancelled_call_is_not_wanted() {
    let _watch = Watch::start();
    let (_worker, mut server, mut client) = pair("cancel");
    let calls = [1, 2, 3].map(|number| client.start(&ask(number)).unwrap());
    let request = server.recv().unwrap();
    assert!(request.is_wanted());
    client.cancel(calls[0]);
    assert!(!request.is_wanted());
    drop(request);
    client.cancel(calls[1]);
    // Not begun with: never handed out.
    let request = server.recv().unwrap();
    assert_eq!(request.number, 3);
    reply(request);
    check(&client.wait(calls[2]).unwrap(), 3);
    assert!(matches!(client.wait(calls[1]), Err(CallError::NotInFlight)));
}

#[test]
fn a_server_that_is_killed_is_known_of_at_once() {
    let _watch = Watch::start();
    let cluster = unique("gone");
    let mut server = start("keep", &cluster, "server");
    let worker = Worker::join(&cluster, "caller").unwrap();
    let mut client = client(&worker);
    let calls = [1, 2, 3].map(|number| client.start(&ask(number)).unwrap());
    server.expect("deferred");
    server.expect("has it");
    let outcome = client.wait_timeout(calls[1], 10 * SHORT).map(drop);
    assert!(matches!(outcome, Err(CallTimeoutError::Timeout)), "it lives: {outcome:?}");
    server.kill();
    // Deferred, and in hand.
    for call in &calls[..2] {
        let outcome = client.wait_timeout(*call, FAR).map(drop);
        assert!(matches!(outcome, Err(CallTimeoutError::ServiceGone)), "{outcome:?}");
    }
    // It had not taken this one.
    let outcome = client.wait_timeout(calls[2], FAR).map(drop);
    assert!(matches!(outcome, Err(CallTimeoutError::NoService)), "{outcome:?}");
    // What it had is handed out to nobody again.
    let mut heir = serve(&worker);
    assert!(matches!(heir.recv_timeout(10 * SHORT), Err(ServiceRecvTimeoutError::Timeout)));
}

#[test]
fn what_nobody_had_taken_was_not_done_though_there_was_a_server() {
    let _watch = Watch::start();
    let cluster = unique("idle-killed");
    let mut server = start("serve", &cluster, "server");
    let worker = Worker::join(&cluster, "caller").unwrap();
    let mut client = client(&worker);
    check(&client.call(&ask(1)).unwrap(), 1);
    server.kill();
    for _ in 0..3 {
        let outcome = client.call_timeout(&ask(2), FAR).map(drop);
        assert!(matches!(outcome, Err(CallTimeoutError::NoService)), "{outcome:?}");
    }
    let _server = start("serve", &cluster, "server");
    check(&client.call(&ask(3)).unwrap(), 3);
}

#[test]
fn what_is_said_to_be_done_by_nobody_is_done_by_nobody() {
    let _watch = Watch::start();
    let worker = Worker::join(&unique("come-and-go"), "both").unwrap();
    let mut client = client(&worker);
    let (stop, stopped) = mpsc::channel::<()>();
    let (done, refused) = std::thread::scope(|scope| {
        let worker = &worker;
        // Servers come and go, and each serves a few requests.
        let servers = scope.spawn(move || {
            let mut done = Vec::new();
            while stopped.try_recv() != Err(mpsc::TryRecvError::Disconnected) {
                let mut server = serve(worker);
                for _ in 0..5 {
                    if let Ok(request) = server.recv_timeout(SHORT) {
                        done.push(request.number.to_native());
                        reply(request);
                    }
                }
                drop(server);
                std::thread::sleep(2 * SHORT);
            }
            done
        });
        let mut refused = Vec::new();
        for number in 0..400 {
            match client.call(&ask(number)).map(drop) {
                Ok(()) => {}
                Err(CallError::NoService) => refused.push(number),
                Err(error) => assert!(matches!(error, CallError::ServiceGone), "{error}"),
            }
        }
        drop(stop);
        (servers.join().unwrap(), refused)
    });
    assert!(!refused.is_empty() && !done.is_empty(), "nothing was tried");
    assert_eq!(done.iter().find(|number| refused.contains(number)), None);
}

#[test]
fn another_server_goes_on_when_one_is_killed() {
    let _watch = Watch::start();
    let cluster = unique("other");
    let mut dying = start("keep", &cluster, "dying");
    let worker = Worker::join(&cluster, "caller").unwrap();
    let mut client = client(&worker);
    let calls = [1, 2].map(|number| client.start(&ask(number)).unwrap());
    dying.expect("deferred");
    dying.expect("has it");
    let _living = start("serve", &cluster, "living");
    dying.kill();
    check(&client.call(&ask(3)).unwrap(), 3);
    for call in calls {
        assert!(matches!(client.wait_timeout(call, FAR), Err(CallTimeoutError::ServiceGone)));
    }
    for number in 4..100 {
        check(&client.call(&ask(number)).unwrap(), number);
    }
}

#[test]
fn a_request_that_is_dropped_has_no_reply() {
    let _watch = Watch::start();
    let (_worker, mut server, mut client) = pair("dropped");
    let calls = [1, 2, 3, 4].map(|number| client.start(&ask(number)).unwrap());
    let tell = |client: &mut Client<Ask, Answer>, call| {
        let outcome = client.wait_timeout(call, FAR).map(drop);
        assert!(matches!(outcome, Err(CallTimeoutError::NoReply)), "{outcome:?}");
    };
    drop(server.recv().unwrap());
    tell(&mut client, calls[0]);
    assert!(matches!(client.wait(calls[0]), Err(CallError::NotInFlight)), "it was told of");
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _request = server.recv().unwrap();
        std::panic::resume_unwind(Box::new("a handler's"));
    }));
    assert!(panicked.is_err());
    tell(&mut client, calls[1]);
    std::mem::forget(server.recv().unwrap());
    // A forgotten one is noticed at the next call.
    drop(server.recv().unwrap());
    tell(&mut client, calls[2]);
    tell(&mut client, calls[3]);
    assert!(matches!(server.try_recv(), Err(TryServiceRecvError::Empty)), "handed out twice");
}

#[test]
fn a_reply_may_come_later_and_from_another_thread() {
    let _watch = Watch::start();
    let (worker, mut server, mut client) = pair("defer");
    let calls = [1, 2, 3].map(|number| client.start(&ask(number)).unwrap());
    let answers = [1, 2].map(|_| {
        let request = server.recv().unwrap();
        (answer(&request), request.defer())
    });
    reply(server.recv().unwrap());
    check(&client.wait(calls[2]).unwrap(), 3);
    // The caller goes on waiting for one that lives.
    let outcome = client.wait_timeout(calls[0], 10 * SHORT).map(drop);
    assert!(matches!(outcome, Err(CallTimeoutError::Timeout)), "{outcome:?}");
    // By another endpoint, on another thread.
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut other = serve(&worker);
            for (answer, later) in answers.into_iter().rev() {
                assert!(later.is_wanted(&mut other));
                later.reply(&mut other, &answer).unwrap();
            }
        });
        check(&client.wait(calls[0]).unwrap(), 1);
        check(&client.wait(calls[1]).unwrap(), 2);
    });
}

#[test]
fn a_reply_that_comes_after_its_call_is_over_is_none_to_a_later_call() {
    let _watch = Watch::start();
    let (worker, mut server, mut client) = pair("outlived");
    let over = client.start(&ask(1)).unwrap();
    let request = server.recv().unwrap();
    let (late, later) = (answer(&request), request.defer());
    drop(server);
    let outcome = client.wait_timeout(over, FAR).map(drop);
    assert!(matches!(outcome, Err(CallTimeoutError::ServiceGone)), "{outcome:?}");
    // As many as there can be: the last has its place in the window.
    let mut server = serve(&worker);
    let calls: Vec<_> = (2..).take(WINDOW).map(|n| (client.start(&ask(n)).unwrap(), n)).collect();
    later.reply(&mut server, &late).unwrap();
    for _ in &calls {
        reply(server.recv().unwrap());
    }
    for (call, number) in calls.into_iter().rev() {
        check(&client.wait_timeout(call, FAR).unwrap(), number);
    }
}

#[test]
fn a_deferred_reply_by_a_service_that_does_not_know_the_caller_is_none() {
    let _watch = Watch::start();
    let (_worker, mut server, mut client) = pair("known");
    let (_elsewhere, mut other, _) = pair("elsewhere");
    let call = client.start(&ask(1)).unwrap();
    let request = server.recv().unwrap();
    let (answer, later) = (answer(&request), request.defer());
    assert!(matches!(later.reply(&mut other, &answer), Err(ReplyError::CallerGone)));
    assert!(matches!(server.try_recv(), Err(TryServiceRecvError::Empty)));
    let outcome = client.wait_timeout(call, FAR).map(drop);
    assert!(matches!(outcome, Err(CallTimeoutError::NoReply)), "{outcome:?}");
}

#[test]
fn there_is_room_for_the_replies_to_a_window_beside_one_that_was_forgotten() {
    let _watch = Watch::start();
    let worker = Worker::join(&unique("forgotten"), "both").unwrap();
    let mut server = worker.service::<u64, Vec<u8>>("bytes").unwrap();
    let mut client = worker.client::<u64, Vec<u8>>("bytes").unwrap();
    let largest = vec![7; 31_648 - 8];
    for round in 0..40 {
        // The ring's end comes at another place each time.
        let call = client.start(&0).unwrap();
        server.recv().unwrap().reply(&vec![1; round * 911 % 31_000]).unwrap();
        drop(client.wait(call).unwrap());
        let call = client.start(&0).unwrap();
        server.recv().unwrap().reply(&largest).unwrap();
        std::mem::forget(client.wait(call).unwrap());
        let calls = [0; WINDOW].map(|_| client.start(&1).unwrap());
        for _ in calls {
            server.recv().unwrap().reply(&largest).unwrap();
        }
        for call in calls {
            client.wait(call).unwrap();
        }
    }
}

#[test]
fn a_deferred_reply_that_is_dropped_is_no_reply() {
    let _watch = Watch::start();
    let (_worker, mut server, mut client) = pair("undeferred");
    let call = client.start(&ask(1)).unwrap();
    drop(server.recv().unwrap().defer());
    let (stop, stopped) = mpsc::channel::<()>();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            while stopped.try_recv().is_err() {
                assert!(matches!(
                    server.recv_timeout(SHORT),
                    Err(ServiceRecvTimeoutError::Timeout)
                ));
            }
        });
        let outcome = client.wait_timeout(call, FAR).map(drop);
        assert!(matches!(outcome, Err(CallTimeoutError::NoReply)), "{outcome:?}");
        stop.send(()).unwrap();
    });
}

#[test]
fn a_slow_caller_fills_its_own_window_and_blocks_no_server() {
    let _watch = Watch::start();
    let (worker, mut server, mut slow) = pair("slow");
    let mut quick = client(&worker);
    let long = || Answer { number: 2, text: "x".repeat(30_000) };
    let calls: Vec<_> = (0..WINDOW as u64)
        .map(|number| {
            let call = slow.start(&ask(number)).unwrap();
            server.recv().unwrap().reply(&long()).unwrap();
            call
        })
        .collect();
    let outcome = slow.start(&ask(0));
    assert!(matches!(outcome, Err(CallError::Busy { limit: WINDOW })), "{outcome:?}");
    // Giving calls up makes no room as long as their replies are not there to be thrown away; these
    // are.
    for number in 0..100 {
        let call = quick.start(&ask(number)).unwrap();
        reply(server.recv().unwrap());
        check(&quick.wait(call).unwrap(), number);
    }
    assert_eq!(slow.wait(calls[7]).unwrap().text.len(), 30_000);
    let again = slow.start(&ask(5)).unwrap();
    reply(server.recv().unwrap());
    check(&slow.wait(again).unwrap(), 5);
    for call in &calls[..7] {
        slow.cancel(*call);
    }
    for number in 0..8 {
        slow.start(&ask(number)).unwrap();
        reply(server.recv().unwrap());
    }
    assert!(matches!(slow.start(&ask(0)), Err(CallError::Busy { limit: WINDOW })));
}

#[test]
fn a_call_that_was_given_up_counts_until_its_reply_is_read() {
    let _watch = Watch::start();
    let (_worker, mut server, mut client) = pair("busy");
    let mut kept = Vec::new();
    for number in 0..WINDOW as u64 {
        let call = client.start(&ask(number)).unwrap();
        let request = server.recv().unwrap();
        kept.push((answer(&request), request.defer()));
        client.cancel(call);
    }
    assert!(matches!(client.start(&ask(0)), Err(CallError::Busy { limit: WINDOW })));
    let (answer, later) = kept.pop().unwrap();
    later.reply(&mut server, &answer).unwrap();
    client.start(&ask(0)).unwrap();
    assert!(matches!(client.start(&ask(0)), Err(CallError::Busy { limit: WINDOW })));
}

#[test]
fn a_server_learns_that_its_caller_is_gone() {
    let _watch = Watch::start();
    let cluster = unique("callers");
    let worker = Worker::join(&cluster, "server").unwrap();
    let mut server = serve(&worker);
    // One that is dropped.
    let mut leaving = client(&worker);
    leaving.start(&ask(1)).unwrap();
    let request = server.recv().unwrap();
    assert!(request.is_wanted());
    drop(leaving);
    assert!(!request.is_wanted());
    let answer = answer(&request);
    let outcome = request.reply(&answer);
    assert!(matches!(outcome, Err(ReplyError::CallerGone)), "{outcome:?}");
    // One that is killed.
    let mut killed = start("call", &cluster, "killed");
    let request = server.recv().unwrap();
    assert!(request.is_wanted());
    killed.kill();
    assert!(!request.is_wanted());
    // Its only call: it is not asked for.
    request.reply(&answer).unwrap();
    // With another reply unread, it is.
    let mut killed = start("call-twice", &cluster, "killed-too");
    reply(server.recv().unwrap());
    let request = server.recv().unwrap();
    killed.kill();
    let outcome = request.reply(&answer);
    assert!(matches!(outcome, Err(ReplyError::CallerGone)), "{outcome:?}");
    // Their rings go, too.
    let left = || {
        let prefix = format!("packetring.{cluster}~r.");
        let all = std::fs::read_dir("/dev/shm").unwrap().map(|entry| entry.unwrap().file_name());
        all.filter(|name| name.to_string_lossy().starts_with(&prefix)).count()
    };
    wait_until("the rings of replies go", || {
        assert!(matches!(server.recv_timeout(SHORT), Err(ServiceRecvTimeoutError::Timeout)));
        left() == 0
    });
}

#[test]
fn two_servers_of_a_name_share_its_requests() {
    let _watch = Watch::start();
    let (worker, mut first, mut client) = pair("share");
    let mut second = serve(&worker);
    let calls = [1, 2].map(|number| client.start(&ask(number)).unwrap());
    let (one, two) = (first.recv().unwrap(), second.recv().unwrap());
    assert_ne!(one.number, two.number);
    reply(two);
    reply(one);
    check(&client.wait(calls[0]).unwrap(), 1);
    check(&client.wait(calls[1]).unwrap(), 2);
}

#[test]
fn each_of_more_servers_than_a_ring_has_places_by_default_can_reply() {
    let _watch = Watch::start();
    let worker = Worker::join(&unique("many"), "worker").unwrap();
    // As many as there are workers in a cluster.
    let mut servers: Vec<_> = (0..128).map(|_| serve(&worker)).collect();
    let mut client = client(&worker);
    for (number, server) in servers.iter_mut().enumerate() {
        let call = client.start(&ask(number as u64)).unwrap();
        reply(server.try_recv().unwrap());
        check(&client.wait(call).unwrap(), number as u64);
    }
    let one_more = worker.service::<Ask, Answer>("echo").map(drop);
    assert!(matches!(one_more, Err(OpenError::Full { .. })), "{one_more:?}");
}

#[test]
fn a_server_that_cannot_reach_a_caller_says_so_and_keeps_its_request() {
    let _watch = Watch::start();
    let cluster = unique("poor");
    let mut server = start("poor", &cluster, "server");
    let worker = Worker::join(&cluster, "caller").unwrap();
    let mut client = client(&worker);
    let call = client.start(&ask(1)).unwrap();
    server.expect("told");
    let outcome = client.wait_timeout(call, 10 * SHORT).map(drop);
    assert!(matches!(outcome, Err(CallTimeoutError::Timeout)), "its server lives: {outcome:?}");
    server.expect("waits");
    server.tell("go on");
    check(&client.wait_timeout(call, FAR).unwrap(), 1);
    let again = client.start(&ask(2)).unwrap();
    server.kill();
    assert!(matches!(client.wait_timeout(again, FAR), Err(CallTimeoutError::NoService)));
}

#[test]
fn a_server_that_dies_before_it_could_reach_a_caller_is_gone() {
    let _watch = Watch::start();
    let cluster = unique("poor-killed");
    let mut server = start("poor", &cluster, "server");
    let worker = Worker::join(&cluster, "caller").unwrap();
    let mut client = client(&worker);
    let call = client.start(&ask(1)).unwrap();
    server.expect("told");
    server.expect("waits");
    server.kill();
    // Another one sits down where it sat.
    let _heir = serve(&worker);
    let outcome = client.wait_timeout(call, FAR).map(drop);
    assert!(matches!(outcome, Err(CallTimeoutError::ServiceGone)), "{outcome:?}");
}

#[test]
fn without_a_server_there_is_no_service() {
    let _watch = Watch::start();
    let worker = Worker::join(&unique("none"), "caller").unwrap();
    let mut client = client(&worker);
    let outcome = client.call(&ask(1)).map(drop);
    assert!(matches!(outcome, Err(CallError::NoService)), "{outcome:?}");
    // Also when the requests that nobody takes leave no room.
    for _ in 0..20_000 {
        match client.start(&ask(1)) {
            Ok(call) => client.cancel(call),
            Err(error) => assert!(matches!(error, CallError::NoService | CallError::Busy { .. })),
        }
    }
    let mut server = serve(&worker);
    // Nobody waits for those.
    assert!(matches!(server.recv_timeout(SHORT), Err(ServiceRecvTimeoutError::Timeout)));
    drop(server);
}

#[test]
fn what_was_given_up_without_a_server_is_never_done() {
    let _watch = Watch::start();
    let worker = Worker::join(&unique("given-up"), "caller").unwrap();
    let mut client = client(&worker);
    for number in 0..100 {
        let outcome = client.call(&ask(number)).map(drop);
        assert!(matches!(outcome, Err(CallError::NoService)), "{outcome:?}");
    }
    let mut server = serve(&worker);
    let mut begun = Vec::new();
    for number in 1000..1020 {
        while let Err(error) = client.start(&ask(number)) {
            assert!(matches!(error, CallError::Busy { .. }), "{error}");
            // It leaves those that were given up, which makes room.
            assert!(matches!(server.try_recv(), Err(TryServiceRecvError::Empty)));
        }
    }
    while let Ok(request) = server.try_recv() {
        begun.push(request.number.to_native());
        reply(request);
    }
    assert_eq!(begun, (1000..1020).collect::<Vec<_>>());
}

#[test]
fn a_service_of_other_types_is_refused() {
    let worker = Worker::join(&unique("types"), "worker").unwrap();
    let _server = serve(&worker);
    for outcome in [
        worker.client::<Ask, Ask>("echo").map(drop),
        worker.client::<Answer, Answer>("echo").map(drop),
        worker.service::<Ask, u64>("echo").map(drop),
    ] {
        let Err(OpenError::TypeMismatch { expected, found }) = outcome else {
            panic!("{outcome:?}");
        };
        assert_ne!(expected, found);
    }
    // One type for both is as good as two.
    let (mut server, mut client) =
        (worker.service::<u64, u64>("same").unwrap(), worker.client::<u64, u64>("same").unwrap());
    let call = client.start(&7).unwrap();
    let request = server.recv().unwrap();
    assert_eq!(*request, 7);
    request.reply(&8).unwrap();
    assert_eq!(*client.wait(call).unwrap(), 8);
}

#[test]
fn one_type_for_requests_and_replies_is_agreed_on_as_two_are() {
    let _watch = Watch::start();
    let worker = Worker::join(&unique("one-type"), "worker").unwrap();
    let mut server = worker.service::<u32, u32>("double").unwrap();
    let refused: Vec<OpenError> = [
        worker.client::<u32, u64>("double").map(drop),
        worker.service::<u32, u64>("double").map(drop),
        worker.client::<u64, u32>("double").map(drop),
    ]
    .into_iter()
    .map(Result::unwrap_err)
    .collect();
    for (error, asked_for) in refused.iter().zip(["u32 -> u64", "u32 -> u64", "u64 -> u32"]) {
        let OpenError::TypeMismatch { expected, found } = error else { panic!("{error}") };
        assert!(expected.starts_with(&format!("{asked_for} (fingerprint ")), "{expected}");
        assert!(found.starts_with("u32 -> u32 (fingerprint "), "{found}");
    }
    // Those who were refused have changed nothing.
    let mut client = worker.client::<u32, u32>("double").unwrap();
    let call = client.start(&7).unwrap();
    server.recv().unwrap().reply(&14).unwrap();
    assert_eq!(*client.wait(call).unwrap(), 14);
    worker.service::<u32, u32>("double").unwrap();
}

#[test]
fn who_asks_for_a_reply_that_does_not_fit_is_told_how_large_it_was() {
    let _watch = Watch::start();
    let (worker, mut server, mut client) = pair("large");
    let call = client.start(&ask(1)).unwrap();
    let long = Answer { number: 2, text: "x".repeat(100_000) };
    let outcome = server.recv().unwrap().reply(&long);
    let Err(ReplyError::TooLarge { needed, limit }) = outcome else { panic!("{outcome:?}") };
    assert!(needed > 100_000);
    assert_eq!(limit, 31_648, "as is documented");
    let told = |outcome: Result<(), CallError>| match outcome {
        Err(CallError::ReplyTooLarge { needed, limit }) => (needed, limit),
        outcome => panic!("{outcome:?}"),
    };
    assert_eq!(told(client.wait(call).map(drop)), (needed, limit));
    // One that is sent later, too.
    let call = client.start(&ask(2)).unwrap();
    let later = server.recv().unwrap().defer();
    assert!(later.reply(&mut server, &long).is_err());
    assert_eq!(told(client.wait(call).map(drop)), (needed, limit));
    let long = Ask { number: 1, text: "x".repeat(1 << 20) };
    assert!(matches!(client.call(&long), Err(CallError::TooLarge { .. })));
    // The largest that fits, all of a window at once.
    let mut server = worker.service::<u64, Vec<u8>>("bytes").unwrap();
    let mut client = worker.client::<u64, Vec<u8>>("bytes").unwrap();
    let largest = vec![7; limit - 8];
    let calls = [0; WINDOW].map(|_| client.start(&1).unwrap());
    for _ in calls {
        server.recv().unwrap().reply(&largest).unwrap();
    }
    for call in calls {
        assert_eq!(client.wait(call).unwrap().len(), largest.len());
    }
}

#[test]
fn requests_and_replies_are_waited_for_beside_others() {
    let _watch = Watch::start();
    let (worker, mut server, mut client) = pair("select");
    let mut prices = worker.subscriber::<u64>("prices").unwrap();
    let call = client.start(&ask(1)).unwrap();
    assert_eq!(select(&mut [&mut prices, &mut server, &mut client]), 1);
    reply(server.try_recv().unwrap());
    assert_eq!(select(&mut [&mut prices, &mut server, &mut client]), 2);
    check(&client.wait_timeout(call, LONG).unwrap(), 1);
}

#[test]
fn a_server_is_waited_for() {
    let _watch = Watch::start();
    let cluster = unique("awaited");
    let worker = Worker::join(&cluster, "caller").unwrap();
    let mut client = client(&worker);
    let outcome = client.wait_for_server_timeout(SHORT);
    assert!(matches!(outcome, Err(CallError::NoService)), "{outcome:?}");
    let mut server = std::thread::scope(|scope| {
        let (begin, begun) = mpsc::channel();
        let client = &mut client;
        let waiting = scope.spawn(move || {
            begin.send(this_thread()).unwrap();
            client.wait_for_server()
        });
        wait_until_asleep(begun.recv().unwrap());
        assert!(!waiting.is_finished(), "nobody serves");
        let server = start("serve", &cluster, "server");
        waiting.join().unwrap().unwrap();
        server
    });
    client.wait_for_server_timeout(Duration::ZERO).unwrap();
    check(&client.call(&ask(1)).unwrap(), 1);
    // One that is dead is none.
    server.kill();
    let outcome = client.wait_for_server_timeout(SHORT);
    assert!(matches!(outcome, Err(CallError::NoService)), "{outcome:?}");
}

#[test]
fn who_waits_beside_others_learns_that_nobody_serves() {
    let _watch = Watch::start();
    let worker = Worker::join(&unique("select-none"), "caller").unwrap();
    let mut prices = worker.subscriber::<u64>("prices").unwrap();
    let mut client = client(&worker);
    assert_eq!(select_timeout(&mut [&mut client], 10 * SHORT), None, "no call is in flight");
    let call = client.start(&ask(1)).unwrap();
    assert_eq!(select(&mut [&mut prices, &mut client]), 1);
    assert_eq!(select(&mut [&mut client]), 0, "nobody asked what became of it");
    let outcome = client.wait(call).map(drop);
    assert!(matches!(outcome, Err(CallError::NoService)), "{outcome:?}");
    assert_eq!(select_timeout(&mut [&mut client], 10 * SHORT), None, "it is over");
    // It was given up.
    let mut server = serve(&worker);
    assert!(matches!(server.try_recv(), Err(TryServiceRecvError::Empty)));
}

#[test]
fn who_waits_beside_others_learns_that_a_server_was_killed() {
    let _watch = Watch::start();
    let cluster = unique("select-gone");
    let mut server = start("keep", &cluster, "server");
    let worker = Worker::join(&cluster, "caller").unwrap();
    let mut prices = worker.subscriber::<u64>("prices").unwrap();
    let mut client = client(&worker);
    let calls = [1, 2].map(|number| client.start(&ask(number)).unwrap());
    server.expect("deferred");
    server.expect("has it");
    // That one is deferred is no outcome.
    assert_eq!(select_timeout(&mut [&mut prices, &mut client], 20 * SHORT), None);
    server.kill();
    assert_eq!(select(&mut [&mut prices, &mut client]), 1);
    for _ in calls {
        wait_until("it is found by looking, too", || try_select(&mut [&mut client]).is_some());
        let (_, outcome) = client.wait_any().unwrap();
        assert!(matches!(outcome.map(drop), Err(CallError::ServiceGone)));
    }
    assert_eq!(try_select(&mut [&mut client]), None);
}

#[test]
fn replies_to_calls_that_were_given_up_wake_nobody() {
    let _watch = Watch::start();
    let (_worker, mut server, mut client) = pair("select-given-up");
    let calls = [1, 2].map(|number| client.start(&ask(number)).unwrap());
    let (first, second) = (server.recv().unwrap().defer(), server.recv().unwrap());
    client.cancel(calls[1]);
    reply(second);
    assert_eq!(select_timeout(&mut [&mut client], 10 * SHORT), None);
    let text = "answer 1".to_owned();
    first.reply(&mut server, &Answer { number: 2, text }).unwrap();
    assert_eq!(select(&mut [&mut client]), 0);
    check(&client.wait(calls[0]).unwrap(), 1);
}

#[test]
fn a_select_does_not_tell_of_a_request_that_nobody_waits_for() {
    let (_worker, mut server, mut client) = pair("select-given-up");
    let calls = [1, 2].map(|number| client.start(&ask(number)).unwrap());
    calls.into_iter().for_each(|call| client.cancel(call));
    assert_eq!(select_timeout(&mut [&mut server], SHORT), None);
    let call = client.start(&ask(3)).unwrap();
    assert_eq!(select_timeout(&mut [&mut server], LONG), Some(0));
    reply(server.try_recv().unwrap());
    check(&client.wait(call).unwrap(), 3);
}
