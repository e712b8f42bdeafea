use super::*;
use crate::channel::{Cursor, RecvFailure, Types};
use crate::cluster::{ReplyError, Request};
use crate::wait::PENDING;

type Numbers = Client<u64, u64>;

/// Long enough for any machine. No test measures it.
const LONG: Duration = Duration::from_secs(30);

/// A client of a service without a server.
fn client(name: &str) -> (Worker, Numbers) {
    let cluster = format!("client-{name}-{}", std::process::id());
    let worker = Worker::join(&cluster, "both").unwrap();
    let client = worker.client("double").unwrap();
    (worker, client)
}

/// Publishes a packet without a tag into the client's reply ring.
fn disturb(client: &Numbers) {
    client.tracker.own.any_publisher().unwrap().send(&7_u64).unwrap();
}

/// Releases the liveness lock of the client's subscriber, as the kernel does at its death.
fn die(client: &Numbers) {
    let entry = &client.tracker.replies.entry;
    entry.release_liveness();
}

/// Starts a call and takes its request. Returns the call and the `is_only` bit of the request.
fn start_and_take(client: &mut Numbers) -> (Call, bool) {
    let call = client.start(&1).unwrap();
    let (mut requests, _) = client.tracker.service.receiver(&Types::Any).unwrap();
    let taken = requests.take::<RecvFailure>(Timeout::Zero).unwrap();
    let tag = RequestTag::of(taken.descriptor.tag());
    assert_eq!(tag.call_slot, call.call_slot());
    (call, tag.is_only)
}

#[test]
fn a_given_up_call_is_in_flight_until_a_server_skips_its_request() {
    let (worker, mut client) = client("skipped");
    assert!(matches!(client.call(&1).map(drop), Err(CallError::NoService)));
    let mut server = worker.service::<u64, u64>("double").unwrap();
    assert!(server.try_recv().is_err());
    assert!(start_and_take(&mut client).1);
}

#[test]
fn a_request_is_withdrawn_unless_a_server_has_taken_it() {
    let (_worker, mut client) = client("withdraw");
    let calls = [1, 2].map(|number| client.start(&number).unwrap());
    let places = calls.map(|call| client.tracker.calls.get(call).unwrap().position);
    // A consumer joins after the client found no server.
    let (mut requests, _) = client.tracker.service.receiver(&Types::Any).unwrap();
    let _ = requests.take::<RecvFailure>(Timeout::Zero).unwrap();
    for _ in 0..2 {
        assert!(!client.tracker.withdraw(calls[0], places[0]));
        assert_eq!(client.tracker.own.given_up(), 0);
        requests.ack();
    }
    assert!(client.tracker.withdraw(calls[1], places[1]));
    assert_eq!(client.tracker.own.given_up(), calls[1].call_slot().bit());
}

#[test]
fn the_only_bit_is_set_without_other_calls_in_flight() {
    let (worker, mut client) = client("only-bit");
    let mut server = worker.service::<u64, u64>("double").unwrap();
    let in_flight: Vec<(Call, bool)> = (0..WINDOW).map(|_| start_and_take(&mut client)).collect();
    assert!(in_flight[0].1 && in_flight[1..].iter().all(|&(_, is_only)| !is_only));
    // Their consumers left without a message, so the calls are lost.
    for (call, _) in in_flight {
        assert!(matches!(client.wait(call), Err(CallError::ServiceGone)));
    }
    assert!(start_and_take(&mut client).1);
    assert!(server.try_recv().is_err());
}

#[test]
fn a_reply_to_an_only_call_does_not_check_whether_the_caller_lives() {
    let (worker, mut client) = client("only");
    let mut server = worker.service::<u64, u64>("double").unwrap();
    // An unread packet, although the only bit means that there is none.
    disturb(&client);
    let _ = client.start(&1).unwrap();
    let only = server.recv().unwrap();
    die(&client);
    Request::reply(only, &2).unwrap();
    // The second call is not the only one: the server checks, because a packet is unread.
    let _ = client.start(&2).unwrap();
    let outcome = Request::reply(server.recv().unwrap(), &4);
    assert!(matches!(outcome, Err(ReplyError::CallerGone)), "{outcome:?}");
}

#[test]
fn set_wait_applies_to_room_and_to_replies() {
    let (worker, mut client) = client("waits");
    let waits =
        |client: &Numbers| [client.requests.wait(), client.tracker.replies.entry.waiter.wait()];
    assert_eq!(waits(&client), [Wait::park(); 2]);
    for wait in [Wait::spin(), Wait::park().spin_for(Duration::ZERO)] {
        client.set_wait(wait);
        assert_eq!(waits(&client), [wait; 2]);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut server = worker.service::<u64, u64>("double").unwrap();
                server.set_wait(wait);
                let request = server.recv().unwrap();
                let doubled = request.to_native() * 2;
                Request::reply(request, &doubled).unwrap();
            });
            while client.tracker.service.subscribers() == 0 {
                std::thread::yield_now();
            }
            assert_eq!(*client.call(&7).unwrap(), 14);
        });
    }
}

#[test]
fn a_message_without_a_call_id_does_not_hide_later_messages() {
    let (worker, mut client) = client("disturbed");
    let mut server = worker.service::<u64, u64>("double").unwrap();
    let calls = [1, 2, 3].map(|number| client.start(&number).unwrap());
    disturb(&client);
    for _ in calls {
        let request = server.recv().unwrap();
        let doubled = request.to_native() * 2;
        Request::reply(request, &doubled).unwrap();
    }
    let loss = client.tracker.find_loss(calls[0]).unwrap();
    assert_eq!(loss, CallLoss::NotLost, "its reply is there");
    assert_eq!(*client.wait(calls[1]).unwrap(), 4);
    assert_eq!(*client.wait(calls[0]).unwrap(), 2);
    disturb(&client);
    let (call, reply) = client.wait_any().unwrap();
    assert_eq!((call, reply.unwrap().to_native()), (calls[2], 6));
}

#[test]
fn a_reply_behind_an_open_claim_is_waited_for() {
    let (worker, mut client) = client("behind");
    let mut server = worker.service::<u64, u64>("double").unwrap();
    let call = client.start(&1).unwrap();
    let mut other = client.tracker.own.any_publisher().unwrap();
    let unfinished = other.reserve::<u64>().unwrap();
    Request::reply(server.recv().unwrap(), &2).unwrap();
    assert!(matches!(
        client.wait_timeout(call, PENDING * 3),
        Err(CallTimeoutError::Timeout { .. })
    ));
    drop(unfinished);
    assert_eq!(*client.wait(call).unwrap(), 2);
}

#[test]
fn an_open_claim_ends_the_call_after_a_while_and_keeps_its_call_slot() {
    let (worker, mut client) = client("claimed");
    let mut server = worker.service::<u64, u64>("double").unwrap();
    let call = client.start(&1).unwrap();
    let mut other = client.tracker.own.any_publisher().unwrap();
    let unfinished = other.reserve::<u64>().unwrap();
    Request::reply(server.recv().unwrap(), &2).unwrap();
    let outcome = client.wait_timeout(call, LONG).map(drop);
    assert!(matches!(outcome, Err(CallTimeoutError::ServiceGone)), "{outcome:?}");
    // The reply is in the ring behind the claim, and keeps the call slot.
    for _ in 1..WINDOW {
        assert_ne!(client.start(&3).unwrap().call_slot(), call.call_slot());
    }
    assert!(matches!(client.start(&3), Err(CallError::Busy { .. })));
    drop(unfinished);
    assert_eq!(client.start(&3).unwrap().call_slot(), call.call_slot());
}

#[test]
fn an_invalid_tail_does_not_block_a_call() {
    for tail in [1 << 40, u64::MAX] {
        let (worker, mut client) = client("tail");
        let mut server = worker.service::<u64, u64>("double").unwrap();
        let call = client.start(&1).unwrap();
        std::mem::forget(server.recv().unwrap());
        server.server.close();
        let head = client.tracker.replies.cursor.memory().head();
        head.tail.store(tail, crate::sync::Ordering::SeqCst);
        let outcome = client.wait_timeout(call, LONG).map(drop);
        assert!(matches!(outcome, Err(CallTimeoutError::ServiceGone)), "{outcome:?}");
    }
}

#[test]
fn a_request_of_a_client_that_left_is_not_taken_for_its_successors() {
    let (worker, mut left) = client("after");
    let mut server = worker.service::<u64, u64>("double").unwrap();
    let _ = left.start(&1).unwrap();
    let entry = left.entry;
    drop(left);
    let mut client = worker.client::<u64, u64>("double").unwrap();
    assert_eq!(client.entry, entry, "the successor has the entry");
    let call = client.start(&2).unwrap();
    let request = server.recv().unwrap();
    assert_eq!(*request, 2);
    Request::reply(request, &4).unwrap();
    assert_eq!(*client.wait(call).unwrap(), 4);
}

#[test]
fn a_call_with_an_unreadable_reply_is_corrupt_and_not_service_gone() {
    let (worker, mut client) = client("unreadable");
    let mut server = worker.service::<u64, u64>("double").unwrap();
    let call = client.start(&1).unwrap();
    std::mem::forget(server.recv().unwrap());
    disturb(&client);
    // The server releases the request without a message.
    server.server.close();
    let outcome = client.wait(call).map(drop);
    assert!(matches!(outcome, Err(CallError::Corrupt(_))), "{outcome:?}");
    let call = client.start(&2).unwrap();
    std::mem::forget(server.recv().unwrap());
    server.server.close();
    let outcome = client.wait(call).map(drop);
    assert!(matches!(outcome, Err(CallError::ServiceGone)), "{outcome:?}");
}
