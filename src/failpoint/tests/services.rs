//! A server is killed at each failpoint between a request and its reply. The caller gets the reply
//! if it was sent, and otherwise learns at once that the server is gone, before any deadline.
//!
//! A server that is stopped in a caller's ring blocks neither the caller nor other servers.

use super::process::{GENEROUS, Process, State, Stop, hear, say};
use crate::Worker;
use crate::cluster::{
    Call, CallError, CallTimeoutError, Client, Request, Service, TryServiceRecvError,
};
use crate::failpoint::Failpoint;
use rustix::process::{Signal, kill_process};
use std::time::{Duration, Instant};

const SHORT: Duration = Duration::from_millis(20);

/// The peer's side.
pub(super) fn serve(cluster: &str) {
    let worker = Worker::join(cluster, &format!("server-{}", std::process::id())).unwrap();
    let mut server = worker.service::<u64, u64>("double").unwrap();
    say("here");
    loop {
        let request = server.recv().unwrap();
        let doubled = request.to_native() * 2;
        Request::reply(request, &doubled).unwrap();
        say("replied");
        hear();
    }
}

#[test]
fn a_caller_is_told_at_whichever_step_its_server_is_killed() {
    use Failpoint::{
        CommitAfter, CommitStamp, CommitWake, TakeAck, TakeAnnounce, TakeInFlight, TakeMove,
        TakePin,
    };
    // Before the request is taken, nothing has happened.
    for step in [TakeAnnounce, TakePin, TakeInFlight, TakeMove] {
        let outcome = call(step);
        assert!(matches!(outcome, Err(CallTimeoutError::NoService)), "{step:?}: {outcome:?}");
    }
    let outcome = call(CommitStamp);
    assert!(matches!(outcome, Err(CallTimeoutError::ServiceGone)), "{outcome:?}");
    // After the message and before the acknowledgement: the message counts.
    for step in [CommitAfter, CommitWake, TakeAck] {
        let outcome = call(step);
        assert!(matches!(outcome, Ok(14)), "{step:?}: {outcome:?}");
    }
}

/// A caller, and a server that was stopped while it attached to the caller's ring, with a request
/// in flight.
fn stopped(cluster: &str) -> (Process, Worker, Client<u64, u64>, Call) {
    // The directory, the requests, the requests again as a consumer, then the ring of replies,
    // under its lock.
    let stop = Stop::freeze(Failpoint::Attach, 4);
    let mut server = Process::start(&format!("serve {cluster}"), Some(stop));
    server.expect("here");
    let worker = Worker::join(cluster, "caller").unwrap();
    let mut client = worker.client("double").unwrap();
    let call = client.start(&7).unwrap();
    assert_eq!(server.settle(), State::Frozen);
    (server, worker, client, call)
}

#[test]
fn a_client_is_dropped_beside_a_server_that_was_stopped_in_its_ring() {
    let cluster = format!("servers-stopped-{}", std::process::id());
    let (server, _worker, client, _) = stopped(&cluster);
    let (done, is_done) = std::sync::mpsc::channel();
    let dropping = std::thread::spawn(move || {
        drop(client);
        done.send(()).unwrap();
    });
    let outcome = is_done.recv_timeout(GENEROUS);
    drop(server);
    dropping.join().unwrap();
    assert_eq!(outcome, Ok(()), "it waits for one that is stopped");
}

#[test]
fn a_server_serves_others_while_a_callers_ring_is_stopped_in() {
    let cluster = format!("servers-others-{}", std::process::id());
    let (mut stopped, worker, mut unreached, first) = stopped(&cluster);
    let mut server = worker.service::<u64, u64>("double").unwrap();
    let mut other = worker.client::<u64, u64>("double").unwrap();
    let calls = [8, 9, 10].map(|number| unreached.start(&number).unwrap());
    let call = other.start(&11).unwrap();
    let answer = |server: &mut Service<u64, u64>| {
        let request = server.recv_timeout(GENEROUS).unwrap();
        let doubled = request.to_native() * 2;
        Request::reply(request, &doubled).unwrap();
    };
    answer(&mut server);
    assert_eq!(*other.wait_timeout(call, GENEROUS).unwrap(), 22);
    // They are not in flight, and their server lives.
    for call in calls {
        let outcome = unreached.wait_timeout(call, SHORT).map(drop);
        assert!(matches!(outcome, Err(CallTimeoutError::Timeout { .. })), "{outcome:?}");
    }
    unreached.cancel(calls[0]);
    let _ = kill_process(stopped.id(), Signal::KILL);
    assert_eq!(stopped.settle(), State::Killed);
    // The first is answered after all, the second is dropped, and the third is cancelled.
    answer(&mut server);
    assert_eq!(*unreached.wait_timeout(calls[1], GENEROUS).unwrap(), 18);
    drop(server.recv_timeout(GENEROUS).unwrap());
    let outcome = unreached.wait_timeout(calls[2], GENEROUS).map(drop);
    assert!(matches!(outcome, Err(CallTimeoutError::NoReply)), "{outcome:?}");
    let outcome = unreached.wait_timeout(first, GENEROUS).map(drop);
    assert!(matches!(outcome, Err(CallTimeoutError::ServiceGone)), "{outcome:?}");
    assert!(matches!(server.try_recv(), Err(TryServiceRecvError::Empty)));
}

#[test]
fn a_postponed_request_is_not_confused_with_a_request_that_select_found() {
    let cluster = format!("servers-look-{}", std::process::id());
    let (mut stopped, worker, mut client, _) = stopped(&cluster);
    let mut server = worker.service::<u64, u64>("double").unwrap();
    let postponed = client.start(&8).unwrap();
    assert!(matches!(server.try_recv().map(drop), Err(TryServiceRecvError::Empty)));
    let _ = kill_process(stopped.id(), Signal::KILL);
    assert_eq!(stopped.settle(), State::Killed);
    // It is in flight from now on, and its caller can be reached.
    let found = client.start(&11).unwrap();
    assert_eq!(crate::try_select(&mut [&mut server]), Some(0));
    for _ in 0..2 {
        let request = server.recv_timeout(GENEROUS).unwrap();
        let doubled = request.to_native() * 2;
        Request::reply(request, &doubled).unwrap();
    }
    assert_eq!(*client.wait_timeout(postponed, GENEROUS).unwrap(), 16);
    assert_eq!(*client.wait_timeout(found, GENEROUS).unwrap(), 22);
}

#[test]
fn a_call_whose_server_died_ends_while_another_is_stopped_as_it_attaches() {
    let cluster = format!("servers-both-{}", std::process::id());
    let kill = Stop::kill(Failpoint::CommitStamp, 2);
    let mut dying = Process::start(&format!("serve {cluster}"), Some(kill));
    dying.expect("here");
    let worker = Worker::join(&cluster, "caller").unwrap();
    let mut client = worker.client::<u64, u64>("double").unwrap();
    assert_eq!(*client.call(&1).unwrap(), 2);
    dying.expect("replied");
    let stop = Stop::freeze(Failpoint::Attach, 4);
    let mut frozen = Process::start(&format!("serve {cluster}"), Some(stop));
    frozen.expect("here");
    let _held = client.start(&2).unwrap();
    assert_eq!(frozen.settle(), State::Frozen);
    let call = client.start(&3).unwrap();
    dying.tell("");
    assert_eq!(dying.settle(), State::Killed);
    // Its claim cannot be cleared while the other one has the lock.
    let outcome = client.wait_timeout(call, GENEROUS).map(drop);
    assert!(matches!(outcome, Err(CallTimeoutError::ServiceGone)), "{outcome:?}");
}

#[test]
fn a_server_that_only_polls_goes_on_when_another_was_killed_as_it_took() {
    for step in [Failpoint::TakeInFlight, Failpoint::TakeMove] {
        let cluster = format!("servers-polling-{}-{step:?}", std::process::id());
        let worker = Worker::join(&cluster, "caller").unwrap();
        let mut polling = worker.service::<u64, u64>("double").unwrap();
        let mut server = Process::start(&format!("serve {cluster}"), Some(Stop::kill(step, 1)));
        server.expect("here");
        let mut client = worker.client::<u64, u64>("double").unwrap();
        let call = client.start(&7).unwrap();
        assert_eq!(server.settle(), State::Killed);
        let started = Instant::now();
        // No server has taken it.
        let request = loop {
            match polling.try_recv() {
                Ok(request) => break Request::defer(request),
                Err(error) => assert!(started.elapsed() < GENEROUS, "{step:?}: {error}"),
            }
        };
        request.reply(&mut polling, &14).unwrap();
        assert_eq!(*client.wait(call).unwrap(), 14);
    }
}

/// The outcome of a call whose server is killed at a failpoint.
fn call(step: Failpoint) -> Result<u64, CallTimeoutError> {
    let cluster = format!("servers-{}-{step:?}", std::process::id());
    let mut server = Process::start(&format!("serve {cluster}"), Some(Stop::kill(step, 1)));
    server.expect("here");
    let worker = Worker::join(&cluster, "caller").unwrap();
    let mut client = worker.client::<u64, u64>("double").unwrap();
    let call = client.start(&7).unwrap();
    // The outcome is the same if the reply is there already.
    assert_eq!(server.settle(), State::Killed, "{step:?}");
    let outcome = client.wait_timeout(call, 20 * GENEROUS).map(|reply| reply.to_native());
    let again = client.call(&8).map(drop);
    assert!(matches!(again, Err(CallError::NoService)), "{step:?}: {again:?}");
    // Another server does not get the request that the dead one had in flight.
    let mut heir = worker.service::<u64, u64>("double").unwrap();
    assert!(heir.try_recv().is_err(), "{step:?}: executed twice");
    outcome
}
