//! A server is killed at each step between a request and its reply: its caller gets the reply, if that
//! was sent, and otherwise learns at once that the server is gone. Nothing is waited for until a
//! deadline.

use super::process::{GENEROUS, Process, State, Stop, hear, say};
use crate::steps::Step;
use crate::{CallError, Worker};

/// The peer's side.
pub(super) fn serve(cluster: &str) {
    let worker = Worker::join(cluster, "server").unwrap();
    let mut server = worker.service::<u64, u64>("double").unwrap();
    say("here");
    loop {
        let request = server.recv().unwrap();
        let doubled = request.to_native() * 2;
        request.reply(&doubled).unwrap();
        say("replied");
        hear();
    }
}

#[test]
fn a_caller_is_told_at_whichever_step_its_server_is_killed() {
    use Step::{
        CommitAfter, CommitStamp, CommitWake, TakeDone, TakeHand, TakeMark, TakeMove, TakePin,
    };
    for step in [TakeMark, TakePin, TakeHand, TakeMove, CommitStamp] {
        let outcome = call(step);
        assert!(matches!(outcome, Err(CallError::ServiceGone)), "{step:?}: {outcome:?}");
    }
    // Between letter and hand: the letter counts.
    for step in [CommitAfter, CommitWake, TakeDone] {
        let outcome = call(step);
        assert!(matches!(outcome, Ok(14)), "{step:?}: {outcome:?}");
    }
}

/// What comes of a call whose server is killed at this step.
fn call(step: Step) -> Result<u64, CallError> {
    let cluster = format!("servers-{}-{step:?}", std::process::id());
    let mut server = Process::start(&format!("serve {cluster}"), Some(Stop::kill(step, 1)));
    server.expect("here");
    let worker = Worker::join(&cluster, "caller").unwrap();
    let mut client = worker.client::<u64, u64>("double").unwrap();
    let call = client.start(&7).unwrap();
    // A reply that is there already, and one that has to be waited for, are the same.
    assert_eq!(server.settle(), State::Killed, "{step:?}");
    let outcome = client.wait_timeout(call, 20 * GENEROUS).map(|reply| reply.to_native());
    let again = client.call(&8).map(drop);
    assert!(matches!(again, Err(CallError::ServiceGone)), "{step:?}: {again:?}");
    // Another one is not given what the dead one had.
    let mut heir = worker.service::<u64, u64>("double").unwrap();
    assert!(heir.try_recv().is_err(), "{step:?}: executed twice");
    outcome
}
