//! A server is killed at each failpoint between a request and its reply. The caller gets the reply
//! if it was sent, and otherwise learns at once that the server is gone, before any deadline.
//!
//! A server that is stopped as it replies blocks no other call of its caller.

use super::process::{GENEROUS, Process, State, Stop, hear, say};
use super::scenario::{self, Case};
use super::worker_slots;
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
    use Failpoint::{ReplyFill, ReplyState, TakeAck, TakeAttempt, TakeInFlight, TakeMove, TakePin};
    // Before the request is taken, nothing has happened.
    for step in [TakeAttempt, TakePin, TakeInFlight, TakeMove] {
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

/// The peer's side: a task that waits for a request.
#[cfg(feature = "async")]
pub(super) fn serve_in_a_task(cluster: &str) {
    use crate::sync::{AtomicU32, Ordering};
    use std::future::Future;
    use std::sync::Arc;
    use std::task::{Context, Poll, Wake, Waker};

    struct Unparks(std::thread::Thread);

    impl Wake for Unparks {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    // A thread that the task blocks ends here.
    // SAFETY: the call takes a number only.
    unsafe { libc::alarm(GENEROUS.as_secs() as u32) };
    let worker = Worker::join(cluster, "server").unwrap();
    let mut server = worker.service::<u64, u64>("double").unwrap();
    let waker = Waker::from(Arc::new(Unparks(std::thread::current())));
    let mut receiving = Box::pin(server.recv_async());
    let was_asked = Arc::new(AtomicU32::new(0));
    std::thread::spawn({
        let (was_asked, task) = (Arc::clone(&was_asked), std::thread::current());
        move || {
            hear();
            was_asked.store(1, Ordering::SeqCst);
            task.unpark();
        }
    });
    let mut is_waiting = false;
    loop {
        match receiving.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Pending if was_asked.swap(0, Ordering::SeqCst) == 1 => say("pending"),
            // A request that came before this would be checked once only.
            Poll::Pending if !is_waiting => {
                is_waiting = true;
                say("here");
            }
            Poll::Pending => {}
            Poll::Ready(request) => return assert_eq!(*request.unwrap(), 8),
        }
        std::thread::park();
    }
}

#[cfg(feature = "async")]
#[test]
fn a_task_whose_request_is_withdrawn_as_it_takes_it_does_not_block_its_thread() {
    let cluster = format!("servers-withdrawn-{}", std::process::id());
    // The first time, the request is still wanted.
    let stop = Stop::freeze(Failpoint::RequestCheck, 2);
    let mut server = Process::start(&format!("serve-in-a-task {cluster}"), Some(stop));
    server.expect("here");
    let worker = Worker::join(&cluster, "caller").unwrap();
    let client = worker.client::<u64, u64>("double").unwrap();
    let call = client.start(&7).unwrap();
    assert_eq!(server.settle(), State::Frozen);
    drop(call);
    server.tell("pending?");
    server.thaw();
    server.expect("pending");
    let _call = client.start(&8).unwrap();
    while server.state() == State::Running || server.state() == State::Frozen {
        std::thread::yield_now();
    }
    assert_eq!(server.state(), State::Finished);
}

/// The peer's side of the case `Calls`: a worker that serves, that calls its own service and the
/// survivor's, and that drops, defers and cancels.
pub(super) fn live(cluster: &str) {
    let worker = Worker::join(cluster, "peer").unwrap();
    let mut double = worker.service::<u64, u64>("double").unwrap();
    let own = worker.client::<u64, u64>("double").unwrap();
    let triple = worker.client::<u64, u64>("triple").unwrap();
    for number in 0..60 {
        let mut call = own.start(&number).unwrap();
        if number % 8 == 0 {
            drop(own.start(&number).unwrap());
        }
        // The survivor's open claim may be before the own request.
        let started = Instant::now();
        loop {
            while let Ok(request) = double.try_recv() {
                let doubled = request.to_native() * 2;
                match number % 5 {
                    0 => drop(request),
                    // The survivor may have left.
                    1 => drop(Request::defer(request).reply(&doubled)),
                    _ => drop(Request::reply(request, &doubled)),
                }
            }
            match call.wait_timeout(Duration::from_millis(1)).map(|reply| reply.to_native()) {
                Ok(doubled) => break assert_eq!(doubled, number * 2),
                Err(CallTimeoutError::NoReply) => break assert_eq!(number % 5, 0),
                Err(CallTimeoutError::Timeout { .. }) => assert!(started.elapsed() < GENEROUS),
                Err(error) => panic!("{error}"),
            }
        }
        let _ = triple.call_timeout(&number, Duration::from_millis(1));
    }
    drop((double, own, triple));
    worker.leave().unwrap();
}

/// A worker that goes on while the peer is stopped.
struct Survivor {
    worker: Worker,
    triple: Service<u64, u64>,
    client: Client<u64, u64>,
    /// A call to the peer.
    call: Option<Call<u64>>,
}

impl Survivor {
    fn new(cluster: &str) -> Self {
        let worker = Worker::join(cluster, "survivor").unwrap();
        let (triple, client) =
            (worker.service("triple").unwrap(), worker.client("double").unwrap());
        Self { worker, triple, client, call: None }
    }

    /// Serves the peer and calls it.
    fn go_on(&mut self) {
        while let Ok(request) = self.triple.try_recv() {
            let tripled = request.to_native() * 3;
            drop(Request::reply(request, &tripled));
        }
        if self.call.is_none() {
            self.call = self.client.start(&7).ok();
        }
        self.finish(Duration::from_millis(1));
    }

    /// Returns true if no call is in flight.
    fn finish(&mut self, timeout: Duration) -> bool {
        let Some(call) = &mut self.call else { return true };
        match call.wait_timeout(timeout).map(|reply| reply.to_native()) {
            Err(CallTimeoutError::Timeout { .. }) => return false,
            Ok(doubled) => assert_eq!(doubled, 14),
            Err(error) => assert!(
                matches!(
                    error,
                    CallTimeoutError::NoReply
                        | CallTimeoutError::NoService
                        | CallTimeoutError::ServiceGone
                ),
                "{error}"
            ),
        }
        self.call = None;
        true
    }

    /// A service and a client of this worker work.
    fn assert_works(&mut self, cluster: &str) {
        let tripled = self.worker.client::<u64, u64>("triple").unwrap();
        let mut call = tripled.start(&5).unwrap();
        while let Ok(request) = self.triple.try_recv() {
            let tripled = request.to_native() * 3;
            drop(Request::reply(request, &tripled));
        }
        assert_eq!(*call.wait_timeout(GENEROUS).unwrap(), 15, "{cluster}");
    }
}

/// Runs a case. Returns true if the peer reached the failpoint and was killed there.
pub(super) fn survive(stop: Stop) -> bool {
    let cluster = format!("calls-{}-{:?}-{}", std::process::id(), stop.step, stop.nth);
    let mut survivor = Survivor::new(&cluster);
    let mut peer = scenario::start(&cluster, Case::Calls, stop);
    while peer.state() == State::Running {
        survivor.go_on();
    }
    assert!(survivor.finish(GENEROUS), "{cluster}: the call to the dead server goes on");
    survivor.assert_works(&cluster);
    // Its successor has its worker slot and its publisher entries. No request of the dead is left.
    let heir = Worker::join(&cluster, "peer").unwrap();
    let mut double = heir.service::<u64, u64>("double").unwrap();
    assert!(matches!(double.try_recv(), Err(TryServiceRecvError::Empty)), "{cluster}");
    let client = heir.client::<u64, u64>("double").unwrap();
    let mut call = client.start(&8).unwrap();
    let request = double.recv_timeout(GENEROUS).unwrap();
    assert_eq!(*request, 8, "{cluster}");
    Request::reply(request, &16).unwrap();
    assert_eq!(*call.wait_timeout(GENEROUS).unwrap(), 16, "{cluster}");
    drop((call, double, client));
    heir.leave().unwrap();
    drop(survivor);
    worker_slots::assert_gone(&cluster);
    peer.state() == State::Killed
}

/// Runs a case. Returns true if the peer reached the failpoint and was frozen there.
pub(super) fn outlast(stop: Stop) -> bool {
    let cluster = format!("calls-freeze-{}-{:?}-{}", std::process::id(), stop.step, stop.nth);
    let mut survivor = Survivor::new(&cluster);
    let mut peer = scenario::start(&cluster, Case::Calls, stop);
    while peer.state() == State::Running {
        survivor.go_on();
    }
    let was_frozen = peer.state() == State::Frozen;
    if was_frozen {
        peer.thaw();
    }
    while matches!(peer.state(), State::Running | State::Frozen) {
        survivor.go_on();
    }
    assert_eq!(peer.state(), State::Finished);
    assert!(survivor.finish(GENEROUS), "{cluster}");
    survivor.assert_works(&cluster);
    drop(survivor);
    worker_slots::assert_gone(&cluster);
    was_frozen
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
