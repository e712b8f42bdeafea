//! Services: results of calls and states of servers, also when one side leaves or dies.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod support;

use packetring::cluster::{
    CallError, CallTimeoutError, Client, ReplyError, Request, ServerProcess, Service,
    ServiceRecvError, ServiceRecvTimeoutError, TryServiceRecvError, WaitingForServer,
};
use packetring::{OpenError, Worker, packet, select, select_timeout, try_select};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc;
use std::time::Duration;
use support::peer::{self, Peer};
use support::{LONG, SHORT, Watch, this_thread, unique, wait_until, wait_until_asleep};

/// A timeout that no test reaches. A result that only arrives at this timeout is a failure.
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
    Request::reply(request, &answer).unwrap();
}

fn serve(worker: &Worker) -> Service<Ask, Answer> {
    worker.service("echo").unwrap()
}

fn client(worker: &Worker) -> Client<Ask, Answer> {
    worker.client("echo").unwrap()
}

/// A worker with a server and a client.
fn pair(topic: &str) -> (Worker, Service<Ask, Answer>, Client<Ask, Answer>) {
    let worker = Worker::join(&unique(topic), "both").unwrap();
    let (server, client) = (serve(&worker), client(&worker));
    (worker, server, client)
}

/// Entry point of the child processes; does nothing without a role.
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
        // Holds one deferred request and one request that it has received.
        "keep" => {
            let mut server = serve(&worker);
            peer::say("here");
            let _later = Request::defer(server.recv().unwrap());
            peer::say("deferred");
            let _request = server.recv().unwrap();
            peer::say("has it");
            while peer::hear().is_some() {}
        }
        // Has no free descriptor to open a reply ring, until it hears a line.
        "no-descriptors" => {
            let mut server = serve(&worker);
            let normal = getrlimit(Resource::Nofile);
            let open = std::fs::read_dir("/proc/self/fd").unwrap().count() as u64;
            setrlimit(Resource::Nofile, Rlimit { current: Some(open - 1), ..normal }).unwrap();
            peer::say("here");
            let outcome = server.recv().map(drop);
            assert!(matches!(outcome, Err(ServiceRecvError::Caller(_))), "{outcome:?}");
            peer::say("caller error");
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
        name => panic!("unknown role: {name}"),
    }
}

fn start(role: &str, cluster: &str, name: &str) -> Peer {
    let mut peer = Peer::start(&format!("{role} {cluster} {name}"));
    peer.expect("here");
    peer
}

#[test]
fn replies_are_matched_to_their_calls() {
    let _watch = Watch::start();
    let (_worker, mut server, mut client) = pair("correlation");
    let calls: Vec<_> = (0..10).map(|number| client.start(&ask(number)).unwrap()).collect();
    let mut requests = 0;
    while let Ok(request) = server.try_recv() {
        reply(request);
        requests += 1;
    }
    assert_eq!(requests, 10);
    // Wait for the replies in another order.
    for number in [3, 1, 9, 0, 2, 8, 7, 4, 6, 5] {
        check(&client.wait(calls[number]).unwrap(), number as u64);
    }
    assert!(matches!(client.wait(calls[0]), Err(CallError::NotInFlight)), "the call has ended");
}

#[test]
fn wait_any_returns_the_first_reply() {
    let _watch = Watch::start();
    let (_worker, mut server, mut client) = pair("any");
    let calls = [1, 2].map(|number| client.start(&ask(number)).unwrap());
    let first = Request::defer(server.recv().unwrap());
    reply(server.recv().unwrap());
    let (call, found) = client.wait_any().unwrap();
    assert_eq!(call, calls[1]);
    check(&found.unwrap(), 2);
    let text = "answer 1".to_owned();
    first.reply(&mut server, &Answer { number: 2, text }).unwrap();
    let (call, found) = client.wait_any().unwrap();
    assert_eq!(call, calls[0]);
    check(&found.unwrap(), 1);
    assert!(matches!(client.wait_any(), Err(CallError::NotInFlight)), "no call is in flight");
}

#[test]
fn wait_any_names_the_call_that_failed() {
    let _watch = Watch::start();
    let (_worker, mut server, mut client) = pair("any-fails");
    let calls = [1, 2, 3].map(|number| client.start(&ask(number)).unwrap());
    let first = Request::defer(server.recv().unwrap());
    drop(server.recv().unwrap());
    let mut ended = || {
        let (call, outcome) = client.wait_any().unwrap();
        (call, outcome.map(drop))
    };
    let (call, outcome) = ended();
    assert_eq!(call, calls[1]);
    assert!(matches!(outcome, Err(CallError::NoReply)), "{outcome:?}");
    // The others are still in flight. The deferred request gets no reply. The server of the third
    // call leaves.
    drop((first, server));
    let mut outcomes = [ended(), ended()];
    outcomes.sort_by_key(|(call, _)| *call != calls[0]);
    assert_eq!(outcomes.each_ref().map(|(call, _)| *call), [calls[0], calls[2]]);
    assert!(matches!(outcomes[0].1, Err(CallError::NoReply)), "{outcomes:?}");
    assert!(matches!(outcomes[1].1, Err(CallError::NoService)), "{outcomes:?}");
}

#[test]
fn a_call_belongs_to_one_client() {
    let _watch = Watch::start();
    let (worker, mut server, mut one) = pair("own");
    let mut other = client(&worker);
    // Both are the first call of their client.
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
fn a_call_ends_at_its_timeout_and_a_late_reply_is_discarded() {
    let _watch = Watch::start();
    let (_worker, mut server, mut client) = pair("deadline");
    let outcome = client.call_timeout(&ask(1), SHORT).map(drop);
    assert!(matches!(outcome, Err(CallTimeoutError::Timeout { .. })), "{outcome:?}");
    // The call was cancelled, so its request is not delivered.
    assert!(matches!(server.try_recv(), Err(TryServiceRecvError::Empty)));
    let slow = client.start(&ask(2)).unwrap();
    let request = server.recv().unwrap();
    let outcome = client.wait_timeout(slow, SHORT).map(drop);
    assert!(matches!(outcome, Err(CallTimeoutError::Timeout { .. })), "{outcome:?}");
    // The call is still in flight.
    reply(request);
    check(&client.wait(slow).unwrap(), 2);
    let cancelled = client.start(&ask(3)).unwrap();
    let request = server.recv().unwrap();
    client.cancel(cancelled);
    reply(request);
    let next = client.start(&ask(4)).unwrap();
    reply(server.recv().unwrap());
    check(&client.wait(next).unwrap(), 4);
}

/// Each way to wait for a call that only the waiting thread could serve.
#[test]
fn a_thread_that_calls_itself_gets_an_error() {
    let _watch = Watch::start();
    type Wait = fn(&mut Client<Ask, Answer>) -> CallError;
    let waits: [Wait; 4] = [
        |client| client.call(&ask(1)).map(drop).unwrap_err(),
        |client| match client.call_timeout(&ask(1), FAR).map(drop).unwrap_err() {
            CallTimeoutError::WouldDeadlock => CallError::WouldDeadlock,
            error => panic!("{error}"),
        },
        |client| {
            let call = client.start(&ask(1)).unwrap();
            client.wait(call).map(drop).unwrap_err()
        },
        |client| {
            let call = client.start(&ask(1)).unwrap();
            let (failed, outcome) = client.wait_any().unwrap();
            assert_eq!(failed, call);
            outcome.map(drop).unwrap_err()
        },
    ];
    // Each waits for a second.
    std::thread::scope(|scope| {
        for wait in waits {
            scope.spawn(move || {
                let (_worker, mut server, mut client) = pair("itself");
                let error = wait(&mut client);
                assert!(matches!(error, CallError::WouldDeadlock), "{error}");
                // The request was withdrawn: no server executes it.
                assert!(matches!(server.try_recv(), Err(TryServiceRecvError::Empty)));
            });
        }
        // While the thread serves a request of another client.
        scope.spawn(|| {
            let (worker, mut server, mut client) = pair("nested");
            let call = client.start(&ask(1)).unwrap();
            let request = server.recv().unwrap();
            let mut nested = self::client(&worker);
            let error = nested.call(&ask(2)).map(drop).unwrap_err();
            assert!(matches!(error, CallError::WouldDeadlock), "{error}");
            reply(request);
            check(&client.wait(call).unwrap(), 1);
        });
        // A server that another thread waits at is not one of this thread.
        scope.spawn(|| {
            let (_worker, mut server, mut client) = pair("other");
            let call = client.start(&ask(1)).unwrap();
            let request = server.recv().unwrap();
            let outcome = client.wait_timeout(call, Duration::from_millis(1500)).map(drop);
            let error = outcome.unwrap_err();
            assert!(matches!(error, CallTimeoutError::Timeout { .. }), "has it: {error}");
            reply(request);
            check(&client.wait(call).unwrap(), 1);
            let (stop, stopped) = mpsc::channel::<()>();
            let (ready, is_ready) = mpsc::channel::<()>();
            let elsewhere = std::thread::spawn(move || {
                assert!(server.try_recv().is_err());
                drop(ready);
                let first = server.recv_timeout(LONG).map(reply);
                stopped.recv().unwrap_err();
                first.and_then(|()| server.recv_timeout(LONG).map(reply)).unwrap();
            });
            is_ready.recv().unwrap_err();
            check(&client.call(&ask(2)).unwrap(), 2);
            let call = client.start(&ask(3)).unwrap();
            let outcome = client.wait_timeout(call, Duration::from_millis(1500)).map(drop);
            let error = outcome.unwrap_err();
            assert!(matches!(error, CallTimeoutError::Timeout { .. }), "busy elsewhere: {error}");
            drop(stop);
            check(&client.wait(call).unwrap(), 3);
            elsewhere.join().unwrap();
        });
    });
}

#[test]
fn a_timeout_of_a_call_names_the_server() {
    let _watch = Watch::start();
    let (_worker, _server, mut client) = pair("own-thread");
    let error = client.call_timeout(&ask(1), SHORT).map(drop).unwrap_err();
    let own = WaitingForServer::OwnThread;
    assert!(matches!(&error, CallTimeoutError::Timeout { waiting_for } if *waiting_for == own));
    assert!(error.to_string().contains("belongs to the calling thread"), "{error}");

    let cluster = unique("named");
    let mut peer = start("keep", &cluster, "server");
    let worker = Worker::join(&cluster, "caller").unwrap();
    let mut client = self::client(&worker);
    let calls = [1, 2, 3].map(|number| client.start(&ask(number)).unwrap());
    peer.expect("deferred");
    peer.expect("has it");
    let process = ServerProcess { pid: peer.pid(), worker: Some("server".to_owned()) };
    let [deferred, taken, untaken] = calls.map(|call| {
        let error = client.wait_timeout(call, SHORT).map(drop).unwrap_err();
        let said = format!("worker server in process {}", peer.pid());
        assert!(error.to_string().contains(&said), "{error}");
        let CallTimeoutError::Timeout { waiting_for } = error else { panic!("{error}") };
        waiting_for
    });
    assert_eq!(deferred, WaitingForServer::Working(process.clone()));
    assert_eq!(taken, WaitingForServer::Working(process.clone()));
    assert_eq!(untaken, WaitingForServer::Untaken(process));
    peer.kill();
}

#[test]
fn a_request_of_a_cancelled_call_is_not_wanted() {
    let _watch = Watch::start();
    let (_worker, mut server, mut client) = pair("cancel");
    let calls = [1, 2, 3].map(|number| client.start(&ask(number)).unwrap());
    let request = server.recv().unwrap();
    assert!(Request::is_wanted(&request));
    client.cancel(calls[0]);
    assert!(!Request::is_wanted(&request));
    drop(request);
    client.cancel(calls[1]);
    // Cancelled before it was received, so it is not delivered.
    let request = server.recv().unwrap();
    assert_eq!(request.number, 3);
    reply(request);
    check(&client.wait(calls[2]).unwrap(), 3);
    assert!(matches!(client.wait(calls[1]), Err(CallError::NotInFlight)));
}

#[test]
fn calls_to_a_killed_server_fail_at_once() {
    let _watch = Watch::start();
    let cluster = unique("gone");
    let mut server = start("keep", &cluster, "server");
    let worker = Worker::join(&cluster, "caller").unwrap();
    let mut client = client(&worker);
    let calls = [1, 2, 3].map(|number| client.start(&ask(number)).unwrap());
    server.expect("deferred");
    server.expect("has it");
    let outcome = client.wait_timeout(calls[1], 10 * SHORT).map(drop);
    assert!(
        matches!(outcome, Err(CallTimeoutError::Timeout { .. })),
        "the server is alive: {outcome:?}"
    );
    server.kill();
    // The deferred request and the received one.
    for call in &calls[..2] {
        let outcome = client.wait_timeout(*call, FAR).map(drop);
        assert!(matches!(outcome, Err(CallTimeoutError::ServiceGone)), "{outcome:?}");
    }
    // The server had not received this request.
    let outcome = client.wait_timeout(calls[2], FAR).map(drop);
    assert!(matches!(outcome, Err(CallTimeoutError::NoService)), "{outcome:?}");
    // Requests that the dead server had received are not delivered again.
    let mut successor = serve(&worker);
    assert!(matches!(successor.recv_timeout(10 * SHORT), Err(ServiceRecvTimeoutError::Timeout)));
}

#[test]
fn a_request_that_no_server_received_fails_with_no_service() {
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
fn a_request_that_fails_with_no_service_is_never_served() {
    let _watch = Watch::start();
    let worker = Worker::join(&unique("come-and-go"), "both").unwrap();
    let mut client = client(&worker);
    let (stop, stopped) = mpsc::channel::<()>();
    let refusals = AtomicUsize::new(0);
    let (done, refused) = std::thread::scope(|scope| {
        let (worker, refusals) = (&worker, &refusals);
        // Servers start and stop, and each serves a few requests.
        let servers = scope.spawn(move || {
            let mut done = Vec::new();
            let is_over = || stopped.try_recv() == Err(mpsc::TryRecvError::Disconnected);
            while !is_over() {
                let mut server = serve(worker);
                for _ in 0..5 {
                    if let Ok(request) = server.recv_timeout(SHORT) {
                        done.push(request.number.to_native());
                        reply(request);
                    }
                }
                let before = refusals.load(Relaxed);
                drop(server);
                wait_until("a call is refused", || refusals.load(Relaxed) > before || is_over());
            }
            done
        });
        let mut refused = Vec::new();
        for number in 0..400 {
            match client.call(&ask(number)).map(drop) {
                Ok(()) => {}
                Err(CallError::NoService) => {
                    refused.push(number);
                    refusals.fetch_add(1, Relaxed);
                }
                Err(error) => assert!(matches!(error, CallError::ServiceGone), "{error}"),
            }
        }
        drop(stop);
        (servers.join().unwrap(), refused)
    });
    assert!(!refused.is_empty() && !done.is_empty(), "no calls were both served and refused");
    assert_eq!(done.iter().find(|number| refused.contains(number)), None);
}

#[test]
fn another_server_continues_when_one_is_killed() {
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
fn a_dropped_request_fails_with_no_reply() {
    let _watch = Watch::start();
    let (_worker, mut server, mut client) = pair("dropped");
    let calls = [1, 2, 3, 4].map(|number| client.start(&ask(number)).unwrap());
    let expect_no_reply = |client: &mut Client<Ask, Answer>, call| {
        let outcome = client.wait_timeout(call, FAR).map(drop);
        assert!(matches!(outcome, Err(CallTimeoutError::NoReply)), "{outcome:?}");
    };
    drop(server.recv().unwrap());
    expect_no_reply(&mut client, calls[0]);
    assert!(
        matches!(client.wait(calls[0]), Err(CallError::NotInFlight)),
        "the result was already returned"
    );
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _request = server.recv().unwrap();
        std::panic::resume_unwind(Box::new("panic of a handler"));
    }));
    assert!(panicked.is_err());
    expect_no_reply(&mut client, calls[1]);
    std::mem::forget(server.recv().unwrap());
    // A forgotten request is noticed at the next call.
    drop(server.recv().unwrap());
    expect_no_reply(&mut client, calls[2]);
    expect_no_reply(&mut client, calls[3]);
    assert!(
        matches!(server.try_recv(), Err(TryServiceRecvError::Empty)),
        "a request was delivered twice"
    );
}

#[test]
fn a_deferred_reply_can_be_sent_from_another_thread() {
    let _watch = Watch::start();
    let (worker, mut server, mut client) = pair("defer");
    let calls = [1, 2, 3].map(|number| client.start(&ask(number)).unwrap());
    let answers = [1, 2].map(|_| {
        let request = server.recv().unwrap();
        (answer(&request), Request::defer(request))
    });
    reply(server.recv().unwrap());
    check(&client.wait(calls[2]).unwrap(), 3);
    // The call stays in flight while the server is alive.
    let outcome = client.wait_timeout(calls[0], 10 * SHORT).map(drop);
    assert!(matches!(outcome, Err(CallTimeoutError::Timeout { .. })), "{outcome:?}");
    // Through another endpoint on another thread.
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
fn a_late_reply_does_not_answer_a_later_call() {
    let _watch = Watch::start();
    let (worker, mut server, mut client) = pair("outlived");
    let ended = client.start(&ask(1)).unwrap();
    let request = server.recv().unwrap();
    let (late_answer, later) = (answer(&request), Request::defer(request));
    drop(server);
    let outcome = client.wait_timeout(ended, FAR).map(drop);
    assert!(matches!(outcome, Err(CallTimeoutError::ServiceGone)), "{outcome:?}");
    // As many calls as the window allows, so the last one reuses the slot of the first call.
    let mut server = serve(&worker);
    let calls: Vec<_> = (2..).take(WINDOW).map(|n| (client.start(&ask(n)).unwrap(), n)).collect();
    later.reply(&mut server, &late_answer).unwrap();
    for _ in &calls {
        reply(server.recv().unwrap());
    }
    for (call, number) in calls.into_iter().rev() {
        check(&client.wait_timeout(call, FAR).unwrap(), number);
    }
}

#[test]
fn a_deferred_reply_through_another_service_fails() {
    let _watch = Watch::start();
    let (_worker, mut server, mut client) = pair("known");
    let (_elsewhere, mut other, _) = pair("elsewhere");
    let call = client.start(&ask(1)).unwrap();
    let request = server.recv().unwrap();
    let (answer, later) = (answer(&request), Request::defer(request));
    assert!(matches!(later.reply(&mut other, &answer), Err(ReplyError::CallerGone)));
    assert!(matches!(server.try_recv(), Err(TryServiceRecvError::Empty)));
    let outcome = client.wait_timeout(call, FAR).map(drop);
    assert!(matches!(outcome, Err(CallTimeoutError::NoReply)), "{outcome:?}");
}

#[test]
fn replies_of_a_whole_window_fit_beside_a_forgotten_one() {
    let _watch = Watch::start();
    let worker = Worker::join(&unique("forgotten"), "both").unwrap();
    let mut server = worker.service::<u64, Vec<u8>>("bytes").unwrap();
    let mut client = worker.client::<u64, Vec<u8>>("bytes").unwrap();
    let largest = vec![7; 31_648 - 8];
    for round in 0..40 {
        // The ring wraps at another offset in each round.
        let call = client.start(&0).unwrap();
        Request::reply(server.recv().unwrap(), &vec![1; round * 911 % 31_000]).unwrap();
        drop(client.wait(call).unwrap());
        let call = client.start(&0).unwrap();
        Request::reply(server.recv().unwrap(), &largest).unwrap();
        std::mem::forget(client.wait(call).unwrap());
        let calls = [0; WINDOW].map(|_| client.start(&1).unwrap());
        for _ in calls {
            Request::reply(server.recv().unwrap(), &largest).unwrap();
        }
        for call in calls {
            client.wait(call).unwrap();
        }
    }
}

#[test]
fn a_dropped_deferred_request_fails_with_no_reply() {
    let _watch = Watch::start();
    let (_worker, mut server, mut client) = pair("undeferred");
    let call = client.start(&ask(1)).unwrap();
    drop(Request::defer(server.recv().unwrap()));
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
fn a_slow_caller_fills_its_own_window_and_does_not_block_the_server() {
    let _watch = Watch::start();
    let (worker, mut server, mut slow) = pair("slow");
    let mut quick = client(&worker);
    let long = || Answer { number: 2, text: "x".repeat(30_000) };
    let calls: Vec<_> = (0..WINDOW as u64)
        .map(|number| {
            let call = slow.start(&ask(number)).unwrap();
            Request::reply(server.recv().unwrap(), &long()).unwrap();
            call
        })
        .collect();
    let outcome = slow.start(&ask(0));
    assert!(matches!(outcome, Err(CallError::Busy { limit: WINDOW })), "{outcome:?}");
    // Cancelled calls keep their slots until their replies can be discarded. Here the replies have
    // arrived.
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
        let _ = slow.start(&ask(number)).unwrap();
        reply(server.recv().unwrap());
    }
    assert!(matches!(slow.start(&ask(0)), Err(CallError::Busy { limit: WINDOW })));
}

#[test]
fn a_cancelled_call_counts_until_its_reply_is_read() {
    let _watch = Watch::start();
    let (_worker, mut server, mut client) = pair("busy");
    let mut kept = Vec::new();
    for number in 0..WINDOW as u64 {
        let call = client.start(&ask(number)).unwrap();
        let request = server.recv().unwrap();
        kept.push((answer(&request), Request::defer(request)));
        client.cancel(call);
    }
    assert!(matches!(client.start(&ask(0)), Err(CallError::Busy { limit: WINDOW })));
    let (answer, later) = kept.pop().unwrap();
    later.reply(&mut server, &answer).unwrap();
    let _ = client.start(&ask(0)).unwrap();
    assert!(matches!(client.start(&ask(0)), Err(CallError::Busy { limit: WINDOW })));
}

#[test]
fn a_server_detects_that_its_caller_is_gone() {
    let _watch = Watch::start();
    let cluster = unique("callers");
    let worker = Worker::join(&cluster, "server").unwrap();
    let mut server = serve(&worker);
    // A client that is dropped.
    let mut leaving = client(&worker);
    let _ = leaving.start(&ask(1)).unwrap();
    let request = server.recv().unwrap();
    assert!(Request::is_wanted(&request));
    drop(leaving);
    assert!(!Request::is_wanted(&request));
    let answer = answer(&request);
    let outcome = Request::reply(request, &answer);
    assert!(matches!(outcome, Err(ReplyError::CallerGone)), "{outcome:?}");
    // A client that is killed.
    let mut killed = start("call", &cluster, "killed");
    let request = server.recv().unwrap();
    assert!(Request::is_wanted(&request));
    killed.kill();
    assert!(!Request::is_wanted(&request));
    // The reply to a client's only call skips the liveness check.
    Request::reply(request, &answer).unwrap();
    // With another unread reply, the check is made.
    let mut killed = start("call-twice", &cluster, "killed-too");
    reply(server.recv().unwrap());
    let request = server.recv().unwrap();
    killed.kill();
    let outcome = Request::reply(request, &answer);
    assert!(matches!(outcome, Err(ReplyError::CallerGone)), "{outcome:?}");
    // The reply rings of both clients are removed too.
    let left = || {
        let prefix = format!("packetring.{cluster}~r.");
        let all = std::fs::read_dir("/dev/shm").unwrap().map(|entry| entry.unwrap().file_name());
        all.filter(|name| name.to_string_lossy().starts_with(&prefix)).count()
    };
    wait_until("the reply rings are removed", || {
        assert!(matches!(server.recv_timeout(SHORT), Err(ServiceRecvTimeoutError::Timeout)));
        left() == 0
    });
}

#[test]
fn two_servers_of_a_service_share_its_requests() {
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
fn every_server_of_a_full_cluster_can_reply() {
    let _watch = Watch::start();
    let worker = Worker::join(&unique("many"), "worker").unwrap();
    // As many servers as workers fit in a cluster.
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
fn a_server_that_cannot_open_a_reply_ring_keeps_the_request() {
    let _watch = Watch::start();
    let cluster = unique("no-descriptors");
    let mut server = start("no-descriptors", &cluster, "server");
    let worker = Worker::join(&cluster, "caller").unwrap();
    let mut client = client(&worker);
    let call = client.start(&ask(1)).unwrap();
    server.expect("caller error");
    let outcome = client.wait_timeout(call, 10 * SHORT).map(drop);
    assert!(
        matches!(outcome, Err(CallTimeoutError::Timeout { .. })),
        "the server is alive: {outcome:?}"
    );
    server.expect("waits");
    server.tell("go on");
    check(&client.wait_timeout(call, FAR).unwrap(), 1);
    let again = client.start(&ask(2)).unwrap();
    server.kill();
    assert!(matches!(client.wait_timeout(again, FAR), Err(CallTimeoutError::NoService)));
}

#[test]
fn a_call_fails_if_its_server_dies_without_a_reply_ring() {
    let _watch = Watch::start();
    let cluster = unique("no-descriptors-killed");
    let mut server = start("no-descriptors", &cluster, "server");
    let worker = Worker::join(&cluster, "caller").unwrap();
    let mut client = client(&worker);
    let call = client.start(&ask(1)).unwrap();
    server.expect("caller error");
    server.expect("waits");
    server.kill();
    // A new server takes the entry of the dead one.
    let _heir = serve(&worker);
    let outcome = client.wait_timeout(call, FAR).map(drop);
    assert!(matches!(outcome, Err(CallTimeoutError::ServiceGone)), "{outcome:?}");
}

#[test]
fn a_call_without_a_server_fails() {
    let _watch = Watch::start();
    let worker = Worker::join(&unique("none"), "caller").unwrap();
    let mut client = client(&worker);
    let outcome = client.call(&ask(1)).map(drop);
    assert!(matches!(outcome, Err(CallError::NoService)), "{outcome:?}");
    // Also when unserved requests fill the ring.
    for _ in 0..20_000 {
        match client.start(&ask(1)) {
            Ok(call) => client.cancel(call),
            Err(error) => assert!(matches!(error, CallError::NoService | CallError::Busy { .. })),
        }
    }
    let mut server = serve(&worker);
    // The callers of the old requests no longer wait.
    assert!(matches!(server.recv_timeout(SHORT), Err(ServiceRecvTimeoutError::Timeout)));
    drop(server);
}

#[test]
fn a_request_cancelled_without_a_server_is_never_served() {
    let _watch = Watch::start();
    let worker = Worker::join(&unique("given-up"), "caller").unwrap();
    let mut client = client(&worker);
    for number in 0..100 {
        let outcome = client.call(&ask(number)).map(drop);
        assert!(matches!(outcome, Err(CallError::NoService)), "{outcome:?}");
    }
    let mut server = serve(&worker);
    let mut served = Vec::new();
    for number in 1000..1020 {
        while let Err(error) = client.start(&ask(number)) {
            assert!(matches!(error, CallError::Busy { .. }), "{error}");
            // The server skips cancelled requests, which frees their slots.
            assert!(matches!(server.try_recv(), Err(TryServiceRecvError::Empty)));
        }
    }
    while let Ok(request) = server.try_recv() {
        served.push(request.number.to_native());
        reply(request);
    }
    assert_eq!(served, (1000..1020).collect::<Vec<_>>());
}

#[test]
fn a_service_of_other_types_is_rejected() {
    let worker = Worker::join(&unique("types"), "worker").unwrap();
    let _server = serve(&worker);
    for outcome in [
        worker.client::<Ask, Ask>("echo").map(drop),
        worker.client::<Answer, Answer>("echo").map(drop),
        worker.service::<Ask, u64>("echo").map(drop),
    ] {
        let Err(OpenError::TypeMismatch { expected, found, .. }) = outcome else {
            panic!("{outcome:?}");
        };
        assert_ne!(expected, found);
    }
    // Requests and replies can have a single type.
    let (mut server, mut client) =
        (worker.service::<u64, u64>("same").unwrap(), worker.client::<u64, u64>("same").unwrap());
    let call = client.start(&7).unwrap();
    let request = server.recv().unwrap();
    assert_eq!(*request, 7);
    Request::reply(request, &8).unwrap();
    assert_eq!(*client.wait(call).unwrap(), 8);
}

#[test]
fn mismatched_types_are_reported_for_equal_request_and_reply_types() {
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
        let OpenError::TypeMismatch { expected, found, .. } = error else { panic!("{error}") };
        assert!(expected.starts_with(&format!("{asked_for} (fingerprint ")), "{expected}");
        assert!(found.starts_with("u32 -> u32 (fingerprint "), "{found}");
    }
    // The failed attempts changed nothing.
    let mut client = worker.client::<u32, u32>("double").unwrap();
    let call = client.start(&7).unwrap();
    Request::reply(server.recv().unwrap(), &14).unwrap();
    assert_eq!(*client.wait(call).unwrap(), 14);
    worker.service::<u32, u32>("double").unwrap();
}

#[test]
fn the_caller_is_told_the_size_of_a_reply_that_is_too_large() {
    let _watch = Watch::start();
    let (worker, mut server, mut client) = pair("large");
    let call = client.start(&ask(1)).unwrap();
    let long = Answer { number: 2, text: "x".repeat(100_000) };
    let outcome = Request::reply(server.recv().unwrap(), &long);
    let Err(ReplyError::TooLarge { needed, limit }) = outcome else { panic!("{outcome:?}") };
    assert!(needed > 100_000);
    assert_eq!(limit, 31_648, "the documented limit");
    let sizes = |outcome: Result<(), CallError>| match outcome {
        Err(CallError::ReplyTooLarge { needed, limit }) => (needed, limit),
        outcome => panic!("{outcome:?}"),
    };
    assert_eq!(sizes(client.wait(call).map(drop)), (needed, limit));
    // Also for a deferred reply.
    let call = client.start(&ask(2)).unwrap();
    let later = Request::defer(server.recv().unwrap());
    assert!(later.reply(&mut server, &long).is_err());
    assert_eq!(sizes(client.wait(call).map(drop)), (needed, limit));
    let long = Ask { number: 1, text: "x".repeat(1 << 20) };
    assert!(matches!(client.call(&long), Err(CallError::TooLarge { .. })));
    // The largest replies that fit, for all calls of a window at once.
    let mut server = worker.service::<u64, Vec<u8>>("bytes").unwrap();
    let mut client = worker.client::<u64, Vec<u8>>("bytes").unwrap();
    let largest = vec![7; limit - 8];
    let calls = [0; WINDOW].map(|_| client.start(&1).unwrap());
    for _ in calls {
        Request::reply(server.recv().unwrap(), &largest).unwrap();
    }
    for call in calls {
        assert_eq!(client.wait(call).unwrap().len(), largest.len());
    }
}

#[test]
fn select_waits_for_servers_and_clients() {
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
fn wait_for_server_returns_when_a_server_starts() {
    let _watch = Watch::start();
    let cluster = unique("awaited");
    let worker = Worker::join(&cluster, "caller").unwrap();
    let mut client = client(&worker);
    let outcome = client.wait_for_server_timeout(SHORT);
    assert!(matches!(outcome, Err(CallError::NoService)), "{outcome:?}");
    let mut server = std::thread::scope(|scope| {
        let (begin, served) = mpsc::channel();
        let client = &mut client;
        let waiting = scope.spawn(move || {
            begin.send(this_thread()).unwrap();
            client.wait_for_server()
        });
        wait_until_asleep(served.recv().unwrap());
        assert!(!waiting.is_finished(), "returned without a server");
        let server = start("serve", &cluster, "server");
        waiting.join().unwrap().unwrap();
        server
    });
    client.wait_for_server_timeout(Duration::ZERO).unwrap();
    check(&client.call(&ask(1)).unwrap(), 1);
    // A dead server does not count.
    server.kill();
    let outcome = client.wait_for_server_timeout(SHORT);
    assert!(matches!(outcome, Err(CallError::NoService)), "{outcome:?}");
}

#[test]
fn select_reports_a_call_without_a_server() {
    let _watch = Watch::start();
    let worker = Worker::join(&unique("select-none"), "caller").unwrap();
    let mut prices = worker.subscriber::<u64>("prices").unwrap();
    let mut client = client(&worker);
    assert_eq!(
        select_timeout(&mut [&mut client], 10 * SHORT),
        None,
        "selected without a call in flight"
    );
    let call = client.start(&ask(1)).unwrap();
    assert_eq!(select(&mut [&mut prices, &mut client]), 1);
    assert_eq!(select(&mut [&mut client]), 0, "the outcome was not returned yet");
    let outcome = client.wait(call).map(drop);
    assert!(matches!(outcome, Err(CallError::NoService)), "{outcome:?}");
    assert_eq!(select_timeout(&mut [&mut client], 10 * SHORT), None, "the call has ended");
    // The request was cancelled.
    let mut server = serve(&worker);
    assert!(matches!(server.try_recv(), Err(TryServiceRecvError::Empty)));
}

#[test]
fn select_reports_a_killed_server() {
    let _watch = Watch::start();
    let cluster = unique("select-gone");
    let mut server = start("keep", &cluster, "server");
    let worker = Worker::join(&cluster, "caller").unwrap();
    let mut prices = worker.subscriber::<u64>("prices").unwrap();
    let mut client = client(&worker);
    let calls = [1, 2].map(|number| client.start(&ask(number)).unwrap());
    server.expect("deferred");
    server.expect("has it");
    // A deferred request is not an outcome.
    assert_eq!(select_timeout(&mut [&mut prices, &mut client], 20 * SHORT), None);
    server.kill();
    assert_eq!(select(&mut [&mut prices, &mut client]), 1);
    for _ in calls {
        wait_until("try_select finds it too", || try_select(&mut [&mut client]).is_some());
        let (_, outcome) = client.wait_any().unwrap();
        assert!(matches!(outcome.map(drop), Err(CallError::ServiceGone)));
    }
    assert_eq!(try_select(&mut [&mut client]), None);
}

#[test]
fn replies_to_cancelled_calls_do_not_end_a_select() {
    let _watch = Watch::start();
    let (_worker, mut server, mut client) = pair("select-given-up");
    let calls = [1, 2].map(|number| client.start(&ask(number)).unwrap());
    let (first, second) = (Request::defer(server.recv().unwrap()), server.recv().unwrap());
    client.cancel(calls[1]);
    reply(second);
    assert_eq!(select_timeout(&mut [&mut client], 10 * SHORT), None);
    let text = "answer 1".to_owned();
    first.reply(&mut server, &Answer { number: 2, text }).unwrap();
    assert_eq!(select(&mut [&mut client]), 0);
    check(&client.wait(calls[0]).unwrap(), 1);
}

#[test]
fn select_skips_cancelled_requests() {
    let (_worker, mut server, mut client) = pair("select-given-up");
    let calls = [1, 2].map(|number| client.start(&ask(number)).unwrap());
    calls.into_iter().for_each(|call| client.cancel(call));
    assert_eq!(select_timeout(&mut [&mut server], SHORT), None);
    let call = client.start(&ask(3)).unwrap();
    assert_eq!(select_timeout(&mut [&mut server], LONG), Some(0));
    reply(server.try_recv().unwrap());
    check(&client.wait(call).unwrap(), 3);
}
