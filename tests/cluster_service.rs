//! Services: results of calls and states of servers, also when one side leaves or dies.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod support;

use packetring::cluster::{
    Call, CallError, CallLimit, CallTimeoutError, Client, ReplyError, Request, ServerProcess,
    Service, ServiceRecvError, ServiceRecvTimeoutError, TryServiceRecvError, WaitingForServer,
};
use packetring::{
    Detachment, OpenError, Selectable, Stop, Wait, Worker, packet, select, select_timeout,
    try_select,
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc;
use std::time::Duration;
use support::peer::{self, Peer};
use support::{LONG, SHORT, Watch, this_thread, unique, wait_until, wait_until_asleep};

/// A timeout that no test reaches. A result that only arrives at this timeout is a failure.
const FAR: Duration = Duration::from_secs(600);

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
        // Has no free descriptor to map a caller, until it hears a line.
        "no-descriptors" => {
            let mut server = serve(&worker);
            let normal = getrlimit(Resource::Nofile);
            // No number below the next free one is free.
            let next = std::fs::File::open("/dev/null").unwrap().as_raw_fd() as u64;
            setrlimit(Resource::Nofile, Rlimit { current: Some(next), ..normal }).unwrap();
            peer::say("here");
            let outcome = server.recv().map(drop);
            assert!(matches!(outcome, Err(ServiceRecvError::Caller(_))), "{outcome:?}");
            peer::say("caller error");
            // A wait for it would not sleep.
            assert_eq!(try_select(&mut [&mut server]), None, "ready though it has to wait");
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
            let client = client(&worker);
            peer::say("here");
            let _ = client.call(&ask(1));
        }
        "call-twice" => {
            let client = client(&worker);
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
    let (_worker, mut server, client) = pair("correlation");
    let mut calls: Vec<_> = (0..10).map(|number| client.start(&ask(number)).unwrap()).collect();
    let mut requests = 0;
    while let Ok(request) = server.try_recv() {
        reply(request);
        requests += 1;
    }
    assert_eq!(requests, 10);
    // Wait for the replies in another order.
    for number in [3, 1, 9, 0, 2, 8, 7, 4, 6, 5] {
        check(&calls[number].wait_timeout(FAR).unwrap(), number as u64);
    }
    let again = calls[0].wait_timeout(FAR).map(drop);
    assert!(matches!(again, Err(CallTimeoutError::NotInFlight)), "the call has ended");
}

#[test]
fn select_returns_the_call_that_ended_first() {
    let _watch = Watch::start();
    let (_worker, mut server, client) = pair("any");
    let [mut one, mut two] = [1, 2].map(|number| client.start(&ask(number)).unwrap());
    let first = Request::defer(server.recv().unwrap());
    reply(server.recv().unwrap());
    assert_eq!(select(&mut [&mut one, &mut two]), 1);
    check(&two.wait().unwrap(), 2);
    first.reply(&Answer { number: 2, text: "answer 1".to_owned() }).unwrap();
    assert_eq!(select(&mut [&mut one]), 0);
    check(&one.wait_timeout(FAR).unwrap(), 1);
    // A call whose outcome was returned is ready, and says so.
    assert_eq!(try_select(&mut [&mut one]), Some(0));
    assert!(matches!(one.wait(), Err(CallError::NotInFlight)));
}

#[test]
fn select_returns_calls_that_failed() {
    let _watch = Watch::start();
    let (_worker, mut server, client) = pair("any-fails");
    let [mut one, mut two, mut three] = [1, 2, 3].map(|n| client.start(&ask(n)).unwrap());
    let first = Request::defer(server.recv().unwrap());
    drop(server.recv().unwrap());
    assert_eq!(select(&mut [&mut one, &mut two, &mut three]), 1);
    assert!(matches!(two.wait(), Err(CallError::NoReply)));
    // The others are still in flight. The deferred request gets no reply. The server of the third
    // call leaves.
    drop((first, server));
    assert!(matches!(one.wait(), Err(CallError::NoReply)));
    assert_eq!(select(&mut [&mut three]), 0);
    assert!(matches!(three.wait(), Err(CallError::NoService)));
}

#[test]
fn a_call_ends_at_its_timeout_and_a_late_reply_is_discarded() {
    let _watch = Watch::start();
    let (_worker, mut server, client) = pair("deadline");
    let outcome = client.call_timeout(&ask(1), SHORT).map(drop);
    assert!(matches!(outcome, Err(CallTimeoutError::Timeout { .. })), "{outcome:?}");
    // The call was cancelled, so its request is not delivered.
    assert!(matches!(server.try_recv(), Err(TryServiceRecvError::Empty)));
    let mut slow = client.start(&ask(2)).unwrap();
    let request = server.recv().unwrap();
    let outcome = slow.wait_timeout(SHORT).map(drop);
    assert!(matches!(outcome, Err(CallTimeoutError::Timeout { .. })), "{outcome:?}");
    // The call is still in flight.
    reply(request);
    check(&slow.wait().unwrap(), 2);
    let cancelled = client.start(&ask(3)).unwrap();
    let request = server.recv().unwrap();
    cancelled.cancel();
    reply(request);
    let next = client.start(&ask(4)).unwrap();
    reply(server.recv().unwrap());
    check(&next.wait().unwrap(), 4);
}

/// Each way to wait for a call that only the waiting thread could serve.
#[test]
fn a_thread_that_calls_itself_gets_an_error() {
    let _watch = Watch::start();
    type Wait = fn(&Client<Ask, Answer>) -> CallError;
    let waits: [Wait; 4] = [
        |client| client.call(&ask(1)).map(drop).unwrap_err(),
        |client| match client.call_timeout(&ask(1), FAR).map(drop).unwrap_err() {
            CallTimeoutError::WouldDeadlock => CallError::WouldDeadlock,
            error => panic!("{error}"),
        },
        |client| {
            let call = client.start(&ask(1)).unwrap();
            call.wait().map(drop).unwrap_err()
        },
        |client| {
            let mut call = client.start(&ask(1)).unwrap();
            match call.wait_timeout(FAR).map(drop).unwrap_err() {
                CallTimeoutError::WouldDeadlock => CallError::WouldDeadlock,
                error => panic!("{error}"),
            }
        },
    ];
    // Each waits for a second.
    std::thread::scope(|scope| {
        for wait in waits {
            scope.spawn(move || {
                let (_worker, mut server, client) = pair("itself");
                let error = wait(&client);
                assert!(matches!(error, CallError::WouldDeadlock), "{error}");
                // The request was withdrawn: no server executes it.
                assert!(matches!(server.try_recv(), Err(TryServiceRecvError::Empty)));
            });
        }
        // While the thread serves a request of another client.
        scope.spawn(|| {
            let (worker, mut server, client) = pair("nested");
            let call = client.start(&ask(1)).unwrap();
            let request = server.recv().unwrap();
            let nested = self::client(&worker);
            let error = nested.call(&ask(2)).map(drop).unwrap_err();
            assert!(matches!(error, CallError::WouldDeadlock), "{error}");
            reply(request);
            check(&call.wait().unwrap(), 1);
        });
        // A server that another thread waits at is not one of this thread.
        scope.spawn(|| {
            let (_worker, mut server, client) = pair("other");
            let mut call = client.start(&ask(1)).unwrap();
            let request = server.recv().unwrap();
            let outcome = call.wait_timeout(Duration::from_millis(1500)).map(drop);
            let error = outcome.unwrap_err();
            assert!(matches!(error, CallTimeoutError::Timeout { .. }), "has it: {error}");
            reply(request);
            check(&call.wait().unwrap(), 1);
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
            let mut call = client.start(&ask(3)).unwrap();
            let outcome = call.wait_timeout(Duration::from_millis(1500)).map(drop);
            let error = outcome.unwrap_err();
            assert!(matches!(error, CallTimeoutError::Timeout { .. }), "busy elsewhere: {error}");
            drop(stop);
            check(&call.wait().unwrap(), 3);
            elsewhere.join().unwrap();
        });
    });
}

#[test]
fn a_select_over_calls_to_the_own_thread_alone_ends() {
    let _watch = Watch::start();
    type Choose = fn(&mut [&mut dyn Selectable]) -> Option<usize>;
    let forms: [Choose; 2] = [|list| Some(select(list)), |list| select_timeout(list, FAR)];
    let refused = |call: Call<Answer>| {
        let error = call.wait().map(drop).unwrap_err();
        assert!(matches!(error, CallError::WouldDeadlock), "{error}");
    };
    let is_empty = |server: &mut Service<Ask, Answer>| {
        assert!(matches!(server.try_recv(), Err(TryServiceRecvError::Empty)));
    };
    // Each waits for a second.
    std::thread::scope(|scope| {
        for choose in forms {
            scope.spawn(move || {
                let (_worker, mut server, client) = pair("select-itself");
                let mut call = client.start(&ask(1)).unwrap();
                assert_eq!(choose(&mut [&mut call]), Some(0));
                refused(call);
                is_empty(&mut server);
            });
        }
        // A caller that never sleeps, and a list with a stop.
        scope.spawn(move || {
            let (_worker, mut server, mut client) = pair("select-spin");
            client.set_wait(Wait::spin());
            let (mut call, mut stop) = (client.start(&ask(1)).unwrap(), Stop::new());
            assert_eq!(select(&mut [&mut stop, &mut call]), 1);
            refused(call);
            is_empty(&mut server);
        });
        // Of several, one fails, and this thread can serve the others.
        scope.spawn(move || {
            let (_worker, mut server, client) = pair("select-two");
            let mut first = client.start(&ask(1)).unwrap();
            let mut second = client.start(&ask(2)).unwrap();
            let index = select(&mut [&mut first, &mut second]);
            let (failed, left) = if index == 0 { (first, second) } else { (second, first) };
            refused(failed);
            reply(server.recv().unwrap());
            check(&left.wait().unwrap(), if index == 0 { 2 } else { 1 });
            is_empty(&mut server);
        });
    });
}

#[test]
fn a_select_that_something_else_can_end_goes_on() {
    let _watch = Watch::start();
    let late = Duration::from_millis(1500);
    std::thread::scope(|scope| {
        // The thread serves once another endpoint has woken it.
        scope.spawn(|| {
            let (worker, mut server, client) = pair("select-inbox");
            let mut inbox = worker.inbox().unwrap();
            let mut call = client.start(&ask(1)).unwrap();
            assert_eq!(select_timeout(&mut [&mut call, &mut inbox], late), None);
            worker.send_to("both", &1_u64).unwrap();
            assert_eq!(select(&mut [&mut call, &mut inbox]), 1);
            inbox.recv().unwrap().ack();
            reply(server.recv().unwrap());
            check(&call.wait().unwrap(), 1);
            drop((inbox, server, client));
            worker.leave().unwrap();
        });
        // The server is in the list.
        scope.spawn(|| {
            let (_worker, mut server, client) = pair("select-server");
            let mut call = client.start(&ask(1)).unwrap();
            assert_eq!(select(&mut [&mut call, &mut server]), 1);
            reply(server.recv().unwrap());
            check(&call.wait().unwrap(), 1);
        });
        // Short waits, between which the thread may serve.
        scope.spawn(|| {
            let (_worker, mut server, client) = pair("select-short");
            let mut call = client.start(&ask(1)).unwrap();
            for _ in 0..30 {
                assert_eq!(select_timeout(&mut [&mut call], late / 30), None);
            }
            reply(server.recv().unwrap());
            check(&call.wait().unwrap(), 1);
        });
        // The request of another call is in hand, and its reply wakes the thread.
        scope.spawn(|| {
            let (worker, mut server, client) = pair("select-elsewhere");
            let mut other = worker.service::<u64, u64>("other").unwrap();
            let others = worker.client::<u64, u64>("other").unwrap();
            let (started, is_started) = mpsc::channel::<()>();
            let (go_on, may_go_on) = mpsc::channel::<()>();
            let elsewhere = std::thread::spawn(move || {
                drop(started);
                let request = other.recv().unwrap();
                may_go_on.recv().unwrap_err();
                Request::reply(request, &7).unwrap();
            });
            is_started.recv().unwrap_err();
            let (mut own, mut far) = (client.start(&ask(1)).unwrap(), others.start(&1).unwrap());
            assert_eq!(select_timeout(&mut [&mut own, &mut far], late), None);
            drop(go_on);
            assert_eq!(select(&mut [&mut own, &mut far]), 1);
            assert_eq!(*far.wait().unwrap(), 7);
            reply(server.recv().unwrap());
            check(&own.wait().unwrap(), 1);
            elsewhere.join().unwrap();
        });
    });
}

#[test]
fn a_timeout_of_a_call_names_the_server() {
    let _watch = Watch::start();
    let (_worker, _server, client) = pair("own-thread");
    let error = client.call_timeout(&ask(1), SHORT).map(drop).unwrap_err();
    let own = WaitingForServer::OwnThread;
    assert!(matches!(&error, CallTimeoutError::Timeout { waiting_for } if *waiting_for == own));
    assert!(error.to_string().contains("belongs to the calling thread"), "{error}");

    let cluster = unique("named");
    let mut peer = start("keep", &cluster, "server");
    let worker = Worker::join(&cluster, "caller").unwrap();
    let client = self::client(&worker);
    let calls = [1, 2, 3].map(|number| client.start(&ask(number)).unwrap());
    peer.expect("deferred");
    peer.expect("has it");
    let process = ServerProcess { pid: peer.pid(), worker: Some("server".to_owned()) };
    let [deferred, taken, untaken] = calls.map(|mut call| {
        let error = call.wait_timeout(SHORT).map(drop).unwrap_err();
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
    let (_worker, mut server, client) = pair("cancel");
    let [one, two, three] = [1, 2, 3].map(|number| client.start(&ask(number)).unwrap());
    let request = server.recv().unwrap();
    assert!(Request::is_wanted(&request));
    one.cancel();
    assert!(!Request::is_wanted(&request));
    drop(request);
    drop(two);
    // Cancelled before it was received, so it is not delivered.
    let request = server.recv().unwrap();
    assert_eq!(request.number, 3);
    reply(request);
    check(&three.wait().unwrap(), 3);
}

#[test]
fn calls_to_a_killed_server_fail_at_once() {
    let _watch = Watch::start();
    let cluster = unique("gone");
    let mut server = start("keep", &cluster, "server");
    let worker = Worker::join(&cluster, "caller").unwrap();
    let client = client(&worker);
    let mut calls = [1, 2, 3].map(|number| client.start(&ask(number)).unwrap());
    server.expect("deferred");
    server.expect("has it");
    let outcome = calls[1].wait_timeout(10 * SHORT).map(drop);
    assert!(
        matches!(outcome, Err(CallTimeoutError::Timeout { .. })),
        "the server is alive: {outcome:?}"
    );
    server.kill();
    // The deferred request and the received one.
    for call in &mut calls[..2] {
        let outcome = call.wait_timeout(FAR).map(drop);
        assert!(matches!(outcome, Err(CallTimeoutError::ServiceGone)), "{outcome:?}");
    }
    // The server had not received this request.
    let outcome = calls[2].wait_timeout(FAR).map(drop);
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
    let client = client(&worker);
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
    let client = client(&worker);
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
    let client = client(&worker);
    let calls = [1, 2].map(|number| client.start(&ask(number)).unwrap());
    dying.expect("deferred");
    dying.expect("has it");
    let _living = start("serve", &cluster, "living");
    dying.kill();
    check(&client.call(&ask(3)).unwrap(), 3);
    for mut call in calls {
        assert!(matches!(call.wait_timeout(FAR), Err(CallTimeoutError::ServiceGone)));
    }
    for number in 4..100 {
        check(&client.call(&ask(number)).unwrap(), number);
    }
}

#[test]
fn a_dropped_request_fails_with_no_reply() {
    let _watch = Watch::start();
    let (_worker, mut server, client) = pair("dropped");
    let mut calls = [1, 2, 3, 4].map(|number| client.start(&ask(number)).unwrap());
    let expect_no_reply = |call: &mut Call<Answer>| {
        let outcome = call.wait_timeout(FAR).map(drop);
        assert!(matches!(outcome, Err(CallTimeoutError::NoReply)), "{outcome:?}");
    };
    drop(server.recv().unwrap());
    expect_no_reply(&mut calls[0]);
    assert!(
        matches!(calls[0].wait_timeout(FAR), Err(CallTimeoutError::NotInFlight)),
        "the result was already returned"
    );
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _request = server.recv().unwrap();
        std::panic::resume_unwind(Box::new("panic of a handler"));
    }));
    assert!(panicked.is_err());
    expect_no_reply(&mut calls[1]);
    std::mem::forget(server.recv().unwrap());
    // A forgotten request is noticed at the next call.
    drop(server.recv().unwrap());
    expect_no_reply(&mut calls[2]);
    expect_no_reply(&mut calls[3]);
    assert!(
        matches!(server.try_recv(), Err(TryServiceRecvError::Empty)),
        "a request was delivered twice"
    );
}

#[test]
fn a_deferred_reply_can_be_sent_from_another_thread() {
    let _watch = Watch::start();
    let (_worker, mut server, client) = pair("defer");
    let mut calls = [1, 2, 3].map(|number| client.start(&ask(number)).unwrap());
    let answers = [1, 2].map(|_| {
        let request = server.recv().unwrap();
        (answer(&request), Request::defer(request))
    });
    reply(server.recv().unwrap());
    check(&calls[2].wait_timeout(FAR).unwrap(), 3);
    // The call stays in flight while the server is alive.
    let outcome = calls[0].wait_timeout(10 * SHORT).map(drop);
    assert!(matches!(outcome, Err(CallTimeoutError::Timeout { .. })), "{outcome:?}");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for (answer, later) in answers.into_iter().rev() {
                assert!(later.is_wanted());
                later.reply(&answer).unwrap();
            }
        });
        check(&calls[0].wait_timeout(FAR).unwrap(), 1);
        check(&calls[1].wait_timeout(FAR).unwrap(), 2);
    });
}

#[test]
fn a_deferred_reply_of_a_dropped_service_is_not_sent() {
    let _watch = Watch::start();
    let (worker, mut server, client) = pair("outlived");
    let mut ended = client.start(&ask(1)).unwrap();
    let request = server.recv().unwrap();
    let (late_answer, later) = (answer(&request), Request::defer(request));
    drop(server);
    let outcome = ended.wait_timeout(FAR).map(drop);
    assert!(matches!(outcome, Err(CallTimeoutError::ServiceGone)), "{outcome:?}");
    // As many calls as the worker may have, so that one has the cell of the first call.
    let mut server = serve(&worker);
    let calls: Vec<_> = (2..10).map(|n| (client.start(&ask(n)).unwrap(), n)).collect();
    let outcome = later.reply(&late_answer);
    assert!(matches!(outcome, Err(ReplyError::ServiceDropped)), "{outcome:?}");
    for _ in &calls {
        reply(server.recv().unwrap());
    }
    for (call, number) in calls.into_iter().rev() {
        check(&call.wait().unwrap(), number);
    }
}

#[test]
fn a_kept_reply_blocks_no_other() {
    let _watch = Watch::start();
    let worker = Worker::join(&unique("kept"), "both").unwrap();
    let mut server = worker.service::<u64, Vec<u8>>("bytes").unwrap();
    let client = worker.client::<u64, Vec<u8>>("bytes").unwrap();
    let mut call = |len: usize| {
        let call = client.start(&0).unwrap();
        Request::reply(server.recv().unwrap(), &vec![len as u8; len]).unwrap();
        call.wait().unwrap()
    };
    let kept: Vec<_> = (0..8).map(|len| call(len * 1000)).collect();
    for round in 0..2000 {
        let len = round * 911 % 8000;
        let reply = call(len);
        assert!(reply.len() == len && reply.iter().all(|byte| *byte == len as u8));
    }
    for (index, reply) in kept.iter().enumerate() {
        let byte = (index * 1000) as u8;
        assert!(reply.len() == index * 1000 && reply.iter().all(|found| *found == byte));
    }
}

#[test]
fn a_dropped_deferred_request_fails_with_no_reply() {
    let _watch = Watch::start();
    let (_worker, mut server, client) = pair("undeferred");
    let mut call = client.start(&ask(1)).unwrap();
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
        let outcome = call.wait_timeout(FAR).map(drop);
        assert!(matches!(outcome, Err(CallTimeoutError::NoReply)), "{outcome:?}");
        stop.send(()).unwrap();
    });
}

#[test]
fn a_slow_caller_fills_its_own_window_and_does_not_block_the_server() {
    let _watch = Watch::start();
    let (worker, mut server, _) = pair("slow");
    let slow = worker.service_builder("echo").window(8).client::<Ask, Answer>().unwrap();
    let quick = client(&worker);
    let long = || Answer { number: 2, text: "x".repeat(8000) };
    let mut calls: Vec<_> = (0..8)
        .map(|number| {
            let call = slow.start(&ask(number)).unwrap();
            Request::reply(server.recv().unwrap(), &long()).unwrap();
            call
        })
        .collect();
    let busy = |outcome: Result<Call<Answer>, CallError>| match outcome {
        Err(CallError::Busy(CallLimit::Window { calls: 8 })) => {}
        outcome => panic!("{outcome:?}"),
    };
    busy(slow.start(&ask(0)));
    for number in 0..100 {
        let call = quick.start(&ask(number)).unwrap();
        reply(server.recv().unwrap());
        check(&call.wait().unwrap(), number);
    }
    assert_eq!(calls.pop().unwrap().wait().unwrap().text.len(), 8000);
    let again = slow.start(&ask(5)).unwrap();
    reply(server.recv().unwrap());
    check(&again.wait().unwrap(), 5);
    // Replies to cancelled calls that have arrived take no place.
    drop(calls);
    let calls: Vec<_> = (0..8).map(|number| slow.start(&ask(number)).unwrap()).collect();
    busy(slow.start(&ask(0)));
    drop(calls);
    busy(slow.start(&ask(0)));
    // A server skips the requests of cancelled calls.
    assert!(matches!(server.try_recv(), Err(TryServiceRecvError::Empty)));
    let _ = slow.start(&ask(1)).unwrap();
}

#[test]
fn a_cancelled_call_counts_until_its_server_is_done() {
    let _watch = Watch::start();
    let cluster = unique("busy");
    let worker = Worker::builder().max_calls(4).join(&cluster, "both").unwrap();
    let (mut server, client) = (serve(&worker), client(&worker));
    let mut kept = Vec::new();
    for number in 0..4 {
        let call = client.start(&ask(number)).unwrap();
        let request = server.recv().unwrap();
        kept.push((answer(&request), Request::defer(request)));
        call.cancel();
    }
    let busy = |outcome: Result<Call<Answer>, CallError>| match outcome {
        Err(CallError::Busy(CallLimit::WorkerCalls { calls: 4 })) => {}
        outcome => panic!("{outcome:?}"),
    };
    busy(client.start(&ask(0)));
    let (answer, later) = kept.pop().unwrap();
    assert!(!later.is_wanted());
    later.reply(&answer).unwrap();
    let _call = client.start(&ask(0)).unwrap();
    busy(client.start(&ask(0)));
}

#[test]
fn a_server_detects_that_its_caller_is_gone() {
    let _watch = Watch::start();
    let cluster = unique("callers");
    let worker = Worker::join(&cluster, "server").unwrap();
    let mut server = serve(&worker);
    // A call that is dropped.
    let client = client(&worker);
    let leaving = client.start(&ask(1)).unwrap();
    let request = server.recv().unwrap();
    assert!(Request::is_wanted(&request));
    drop(leaving);
    assert!(!Request::is_wanted(&request));
    reply(request);
    // A caller that is killed.
    let mut killed = start("call", &cluster, "killed");
    let request = server.recv().unwrap();
    assert!(Request::is_wanted(&request));
    killed.kill();
    assert!(!Request::is_wanted(&request));
    // Its memory goes, although this server is busy with its request.
    let left = || {
        let prefix = format!("packetring.{cluster}~r.");
        let all = std::fs::read_dir("/dev/shm").unwrap().map(|entry| entry.unwrap().file_name());
        all.filter(|name| name.to_string_lossy().starts_with(&prefix)).count()
    };
    let mapped = || std::fs::read_to_string("/proc/self/maps").unwrap();
    let prefix = format!("/dev/shm/packetring.{cluster}~r.");
    wait_until("the call area of the killed worker is removed", || left() == 1);
    wait_until("it is unmapped", || !mapped().contains(&format!("{prefix}1.")));
    let answer = answer(&request);
    let outcome = Request::reply(request, &answer);
    assert!(matches!(outcome, Err(ReplyError::CallerGone)), "{outcome:?}");
    // A caller that is killed before its request is taken.
    let mut killed = start("call", &cluster, "killed-too");
    killed.kill();
    wait_until("its area is removed", || left() == 1);
    assert!(matches!(server.recv_timeout(SHORT), Err(ServiceRecvTimeoutError::Timeout)));
}

#[test]
fn two_servers_of_a_service_share_its_requests() {
    let _watch = Watch::start();
    let (worker, mut first, client) = pair("share");
    let mut second = serve(&worker);
    let mut calls = [1, 2].map(|number| client.start(&ask(number)).unwrap());
    let (one, two) = (first.recv().unwrap(), second.recv().unwrap());
    assert_ne!(one.number, two.number);
    reply(two);
    reply(one);
    check(&calls[0].wait_timeout(FAR).unwrap(), 1);
    check(&calls[1].wait_timeout(FAR).unwrap(), 2);
}

#[test]
fn every_server_of_a_full_cluster_can_reply() {
    let _watch = Watch::start();
    let worker = Worker::join(&unique("many"), "worker").unwrap();
    // As many servers as workers fit in a cluster.
    let mut servers: Vec<_> = (0..128).map(|_| serve(&worker)).collect();
    let client = client(&worker);
    for (number, server) in servers.iter_mut().enumerate() {
        let call = client.start(&ask(number as u64)).unwrap();
        reply(server.try_recv().unwrap());
        check(&call.wait().unwrap(), number as u64);
    }
    let one_more = worker.service::<Ask, Answer>("echo").map(drop);
    assert!(matches!(one_more, Err(OpenError::Full { .. })), "{one_more:?}");
}

#[test]
fn a_server_that_cannot_map_a_caller_keeps_the_request() {
    let _watch = Watch::start();
    let cluster = unique("no-descriptors");
    let mut server = start("no-descriptors", &cluster, "server");
    let worker = Worker::join(&cluster, "caller").unwrap();
    let client = client(&worker);
    let mut call = client.start(&ask(1)).unwrap();
    server.expect("caller error");
    let outcome = call.wait_timeout(10 * SHORT).map(drop);
    assert!(
        matches!(outcome, Err(CallTimeoutError::Timeout { .. })),
        "the server is alive: {outcome:?}"
    );
    server.expect("waits");
    server.tell("go on");
    check(&call.wait_timeout(FAR).unwrap(), 1);
    let mut again = client.start(&ask(2)).unwrap();
    server.kill();
    assert!(matches!(again.wait_timeout(FAR), Err(CallTimeoutError::NoService)));
}

#[test]
fn a_call_fails_if_its_server_dies_without_a_mapping() {
    let _watch = Watch::start();
    let cluster = unique("no-descriptors-killed");
    let mut server = start("no-descriptors", &cluster, "server");
    let worker = Worker::join(&cluster, "caller").unwrap();
    let client = client(&worker);
    let mut call = client.start(&ask(1)).unwrap();
    server.expect("caller error");
    server.expect("waits");
    server.kill();
    // A new server takes the entry of the dead one.
    let _heir = serve(&worker);
    let outcome = call.wait_timeout(FAR).map(drop);
    assert!(matches!(outcome, Err(CallTimeoutError::ServiceGone)), "{outcome:?}");
}

#[test]
fn a_call_without_a_server_fails() {
    let _watch = Watch::start();
    let worker = Worker::join(&unique("none"), "caller").unwrap();
    let client = client(&worker);
    let outcome = client.call(&ask(1)).map(drop);
    assert!(matches!(outcome, Err(CallError::NoService)), "{outcome:?}");
    // Also when unserved requests fill the ring.
    for _ in 0..20_000 {
        match client.start(&ask(1)) {
            Ok(call) => call.cancel(),
            Err(error) => assert!(matches!(error, CallError::NoService | CallError::Busy(_))),
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
    let client = client(&worker);
    for number in 0..100 {
        let outcome = client.call(&ask(number)).map(drop);
        assert!(matches!(outcome, Err(CallError::NoService)), "{outcome:?}");
    }
    let mut server = serve(&worker);
    let (mut calls, mut served) = (Vec::new(), Vec::new());
    for number in 1000..1020 {
        calls.push(client.start(&ask(number)).unwrap());
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
    let (mut server, client) =
        (worker.service::<u64, u64>("same").unwrap(), worker.client::<u64, u64>("same").unwrap());
    let call = client.start(&7).unwrap();
    let request = server.recv().unwrap();
    assert_eq!(*request, 7);
    Request::reply(request, &8).unwrap();
    assert_eq!(*call.wait().unwrap(), 8);
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
    let client = worker.client::<u32, u32>("double").unwrap();
    let call = client.start(&7).unwrap();
    Request::reply(server.recv().unwrap(), &14).unwrap();
    assert_eq!(*call.wait().unwrap(), 14);
    worker.service::<u32, u32>("double").unwrap();
}

#[test]
fn the_caller_is_told_the_size_of_a_reply_that_is_too_large() {
    let _watch = Watch::start();
    let (worker, mut server, client) = pair("large");
    let call = client.start(&ask(1)).unwrap();
    let long = Answer { number: 2, text: "x".repeat(100_000) };
    let outcome = Request::reply(server.recv().unwrap(), &long);
    let Err(ReplyError::TooLarge { needed, limit }) = outcome else { panic!("{outcome:?}") };
    assert!(needed > 100_000);
    assert_eq!(limit, 8192, "the documented limit");
    let sizes = |outcome: Result<(), CallError>| match outcome {
        Err(CallError::ReplyTooLarge { needed, limit }) => (needed, limit),
        outcome => panic!("{outcome:?}"),
    };
    assert_eq!(sizes(call.wait().map(drop)), (needed, limit));
    // Also for a deferred reply.
    let call = client.start(&ask(2)).unwrap();
    let later = Request::defer(server.recv().unwrap());
    assert!(later.reply(&long).is_err());
    assert_eq!(sizes(call.wait().map(drop)), (needed, limit));
    let long = Ask { number: 1, text: "x".repeat(1 << 20) };
    assert!(matches!(client.call(&long), Err(CallError::TooLarge { .. })));
    // The largest replies that fit, for 32 calls at once.
    let mut server = worker.service::<u64, Vec<u8>>("bytes").unwrap();
    let client = worker.client::<u64, Vec<u8>>("bytes").unwrap();
    let largest = vec![7; limit - 8];
    let calls = [0; 32].map(|_| client.start(&1).unwrap());
    for _ in &calls {
        Request::reply(server.recv().unwrap(), &largest).unwrap();
    }
    for call in calls {
        assert_eq!(call.wait().unwrap().len(), largest.len());
    }
}

#[test]
fn select_waits_for_servers_and_calls() {
    let _watch = Watch::start();
    let (worker, mut server, client) = pair("select");
    let mut prices = worker.subscriber::<u64>("prices").unwrap();
    let mut call = client.start(&ask(1)).unwrap();
    assert_eq!(select(&mut [&mut prices, &mut server, &mut call]), 1);
    reply(server.try_recv().unwrap());
    assert_eq!(select(&mut [&mut prices, &mut server, &mut call]), 2);
    check(&call.wait_timeout(LONG).unwrap(), 1);
}

#[test]
fn wait_for_server_returns_when_a_server_starts() {
    let _watch = Watch::start();
    let cluster = unique("awaited");
    let worker = Worker::join(&cluster, "caller").unwrap();
    let client = client(&worker);
    let outcome = client.wait_for_server_timeout(SHORT);
    assert!(matches!(outcome, Err(CallError::NoService)), "{outcome:?}");
    let mut server = std::thread::scope(|scope| {
        let (begin, served) = mpsc::channel();
        let client = &client;
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
    let client = client(&worker);
    let mut call = client.start(&ask(1)).unwrap();
    assert_eq!(select(&mut [&mut prices, &mut call]), 1);
    assert_eq!(select(&mut [&mut call]), 0, "the outcome was not returned yet");
    let outcome = call.wait().map(drop);
    assert!(matches!(outcome, Err(CallError::NoService)), "{outcome:?}");
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
    let client = client(&worker);
    let calls = [1, 2].map(|number| client.start(&ask(number)).unwrap());
    server.expect("deferred");
    server.expect("has it");
    // A deferred request is not an outcome.
    let [mut one, mut two] = calls;
    let list: &mut [&mut dyn Selectable] = &mut [&mut prices, &mut one, &mut two];
    assert_eq!(select_timeout(list, 20 * SHORT), None);
    server.kill();
    assert_ne!(select(list), 0);
    for mut call in [one, two] {
        wait_until("try_select finds it too", || try_select(&mut [&mut call]).is_some());
        assert!(matches!(call.wait(), Err(CallError::ServiceGone)));
    }
}

#[test]
fn select_skips_cancelled_requests() {
    let (_worker, mut server, client) = pair("select-given-up");
    let calls = [1, 2].map(|number| client.start(&ask(number)).unwrap());
    calls.into_iter().for_each(Call::cancel);
    assert_eq!(select_timeout(&mut [&mut server], SHORT), None);
    let call = client.start(&ask(3)).unwrap();
    assert_eq!(select_timeout(&mut [&mut server], LONG), Some(0));
    reply(server.try_recv().unwrap());
    check(&call.wait().unwrap(), 3);
}

/// A server that does not find the call area takes its caller for gone. The caller learns the true
/// reason: the server lives, and did not execute anything.
#[test]
fn a_caller_whose_call_area_was_removed_is_detached() {
    let cluster = unique("area-removed");
    let caller = Worker::join(&cluster, "caller").unwrap();
    let server = Worker::join(&cluster, "server").unwrap();
    let mut service = server.service::<u64, u64>("double").unwrap();
    let client = caller.client::<u64, u64>("double").unwrap();
    let start = format!("packetring.{cluster}~r.");
    let files = std::fs::read_dir("/dev/shm").unwrap().map(|file| file.unwrap());
    for file in files.filter(|file| file.file_name().to_str().unwrap().starts_with(&start)) {
        std::fs::remove_file(file.path()).unwrap();
    }
    let call = client.start(&7).unwrap();
    assert!(matches!(service.try_recv(), Err(TryServiceRecvError::Empty)));
    let error = call.wait().unwrap_err();
    let is_expected = matches!(error, CallError::Detached(Detachment::NameRemoved));
    assert!(is_expected, "{error}");
    drop((client, service));
    caller.leave().unwrap();
    server.leave().unwrap();
}
