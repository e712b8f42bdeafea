//! A server is killed at each failpoint between a request and its reply. The caller gets the reply
//! if it was sent, and otherwise learns at once that the server is gone, before any deadline.
//!
//! A server that is stopped as it replies blocks no other call of its caller.

use super::process::{GENEROUS, Process, State, Stop, hear, say};
use crate::Worker;
use crate::cluster::{CallError, CallTimeoutError, Request, TryServiceRecvError};
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
        ReplyFill, ReplyState, TakeAck, TakeAnnounce, TakeInFlight, TakeMove, TakePin,
    };
    // Before the request is taken, nothing has happened.
    for step in [TakeAnnounce, TakePin, TakeInFlight, TakeMove] {
        let outcome = call(step);
        assert!(matches!(outcome, Err(CallTimeoutError::NoService)), "{step:?}: {outcome:?}");
    }
    for step in [ReplyFill, ReplyState] {
        let outcome = call(step);
        assert!(matches!(outcome, Err(CallTimeoutError::ServiceGone)), "{step:?}: {outcome:?}");
    }
    // After the outcome and before the acknowledgement: the outcome counts.
    let outcome = call(TakeAck);
    assert!(matches!(outcome, Ok(14)), "{outcome:?}");
}

#[test]
fn a_server_that_is_stopped_as_it_replies_blocks_no_other_call() {
    let cluster = format!("servers-stopped-{}", std::process::id());
    let stop = Stop::freeze(Failpoint::ReplyState, 1);
    let mut stopped = Process::start(&format!("serve {cluster}"), Some(stop));
    stopped.expect("here");
    let worker = Worker::join(&cluster, "caller").unwrap();
    let client = worker.client::<u64, u64>("double").unwrap();
    let mut first = client.start(&7).unwrap();
    assert_eq!(stopped.settle(), State::Frozen);
    let mut server = worker.service::<u64, u64>("double").unwrap();
    for number in 0..100 {
        let mut call = client.start(&number).unwrap();
        let request = server.recv_timeout(GENEROUS).unwrap();
        let doubled = request.to_native() * 2;
        Request::reply(request, &doubled).unwrap();
        assert_eq!(*call.wait_timeout(GENEROUS).unwrap(), 2 * number);
    }
    // Its server lives.
    let outcome = first.wait_timeout(SHORT).map(drop);
    assert!(matches!(outcome, Err(CallTimeoutError::Timeout { .. })), "{outcome:?}");
    let _ = kill_process(stopped.id(), Signal::KILL);
    assert_eq!(stopped.settle(), State::Killed);
    let outcome = first.wait_timeout(GENEROUS).map(drop);
    assert!(matches!(outcome, Err(CallTimeoutError::ServiceGone)), "{outcome:?}");
    assert!(matches!(server.try_recv(), Err(TryServiceRecvError::Empty)));
}

#[test]
fn a_server_that_only_polls_goes_on_when_another_was_killed_as_it_took() {
    for step in [Failpoint::TakeInFlight, Failpoint::TakeMove] {
        let cluster = format!("servers-polling-{}-{step:?}", std::process::id());
        let worker = Worker::join(&cluster, "caller").unwrap();
        let mut polling = worker.service::<u64, u64>("double").unwrap();
        let mut server = Process::start(&format!("serve {cluster}"), Some(Stop::kill(step, 1)));
        server.expect("here");
        let client = worker.client::<u64, u64>("double").unwrap();
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
        request.reply(&14).unwrap();
        assert_eq!(*call.wait().unwrap(), 14);
    }
}

/// The outcome of a call whose server is killed at a failpoint.
fn call(step: Failpoint) -> Result<u64, CallTimeoutError> {
    let cluster = format!("servers-{}-{step:?}", std::process::id());
    let mut server = Process::start(&format!("serve {cluster}"), Some(Stop::kill(step, 1)));
    server.expect("here");
    let worker = Worker::join(&cluster, "caller").unwrap();
    let client = worker.client::<u64, u64>("double").unwrap();
    let mut call = client.start(&7).unwrap();
    // The outcome is the same if the reply is there already.
    assert_eq!(server.settle(), State::Killed, "{step:?}");
    let outcome = call.wait_timeout(20 * GENEROUS).map(|reply| reply.to_native());
    let again = client.call(&8).map(drop);
    assert!(matches!(again, Err(CallError::NoService)), "{step:?}: {again:?}");
    // Another server does not get the request that the dead one had in flight.
    let mut heir = worker.service::<u64, u64>("double").unwrap();
    assert!(heir.try_recv().is_err(), "{step:?}: executed twice");
    outcome
}
