use super::*;
use crate::channel::{DeliveryGuard, Types};
use crate::cluster::ReplyError;

type Numbers = Client<u64, u64>;

/// Long enough for any machine; nothing is measured by it.
const LONG: Duration = Duration::from_secs(30);

/// A client of a service of which there is no server.
fn client(name: &str) -> (Worker, Numbers) {
    let cluster = format!("client-{name}-{}", std::process::id());
    let worker = Worker::join(&cluster, "both").unwrap();
    let client = worker.client("double").unwrap();
    (worker, client)
}

/// Puts something into a client's ring of replies that is no letter.
fn disturb(client: &Numbers) {
    client.tracker.own.any_publisher().unwrap().send(&7_u64).unwrap();
}

/// Has the kernel say of its reader what it says of a dead one.
fn die(client: &Numbers) {
    let endpoint = &client.tracker.replies.endpoint;
    endpoint.segment.release_liveness(endpoint.member);
}

/// Starts a call, takes its request, and says whether that says that it is the only one.
fn is_only(client: &mut Numbers) -> (Call, bool) {
    let call = client.start(&1).unwrap();
    let (mut requests, _) = client.tracker.service.taker(&Types::Any).unwrap();
    let taken = requests.take(Timeout::Zero).unwrap();
    let tag = RequestTag::of(taken.descriptor.tag());
    assert_eq!(tag.call_slot, call.call_slot());
    (call, tag.is_only)
}

#[test]
fn a_call_that_was_given_up_is_in_flight_until_its_request_is_passed() {
    let (worker, mut client) = client("passed");
    assert!(matches!(client.call(&1).map(drop), Err(CallError::NoService)));
    let mut server = worker.service::<u64, u64>("double").unwrap();
    assert!(server.try_recv().is_err());
    assert!(is_only(&mut client).1);
}

#[test]
fn a_request_is_withdrawn_unless_a_server_has_taken_it() {
    let (_worker, mut client) = client("left");
    let calls = [1, 2].map(|number| client.start(&number).unwrap());
    let places = calls.map(|call| client.tracker.calls.get(call).unwrap().position);
    // Somebody came after it was found that nobody is there.
    let (mut requests, _) = client.tracker.service.taker(&Types::Any).unwrap();
    let _ = requests.take(Timeout::Zero).unwrap();
    for _ in 0..2 {
        assert!(!client.tracker.withdraw(calls[0], places[0]));
        assert_eq!(client.tracker.own.given_up(), 0);
        DeliveryGuard::new(&mut requests).ack();
    }
    assert!(client.tracker.withdraw(calls[1], places[1]));
    assert_eq!(client.tracker.own.given_up(), calls[1].call_slot().bit());
}

#[test]
fn a_request_says_whether_its_client_has_other_calls_in_flight() {
    let (worker, mut client) = client("alone");
    let mut server = worker.service::<u64, u64>("double").unwrap();
    let in_flight: Vec<(Call, bool)> = (0..WINDOW).map(|_| is_only(&mut client)).collect();
    assert!(in_flight[0].1 && in_flight[1..].iter().all(|&(_, is_only)| !is_only));
    // Nobody has them any more, and no letter says so: they end.
    for (call, _) in in_flight {
        assert!(matches!(client.wait(call), Err(CallError::ServiceGone)));
    }
    assert!(is_only(&mut client).1);
    assert!(server.try_recv().is_err());
}

#[test]
fn a_caller_with_one_call_in_flight_is_not_asked_whether_it_reads_its_replies() {
    let (worker, mut client) = client("only");
    let mut server = worker.service::<u64, u64>("double").unwrap();
    // Something to read, which its only call says there is not.
    disturb(&client);
    let _ = client.start(&1).unwrap();
    let only = server.recv().unwrap();
    die(&client);
    only.reply(&2).unwrap();
    // With two, one of which is unread, it is asked.
    let _ = client.start(&2).unwrap();
    let outcome = server.recv().unwrap().reply(&4);
    assert!(matches!(outcome, Err(ReplyError::CallerGone)), "{outcome:?}");
}

#[test]
fn a_client_waits_as_it_is_told_for_room_and_for_replies() {
    let (worker, mut client) = client("waits");
    let waits =
        |client: &Numbers| [client.requests.wait(), client.tracker.replies.endpoint.waiter.wait()];
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
                request.reply(&doubled).unwrap();
            });
            while client.tracker.service.subscribers() == 0 {
                std::thread::yield_now();
            }
            assert_eq!(*client.call(&7).unwrap(), 14);
        });
    }
}

#[test]
fn a_letter_that_cannot_be_read_hides_none_behind_it() {
    let (worker, mut client) = client("disturbed");
    let mut server = worker.service::<u64, u64>("double").unwrap();
    let calls = [1, 2, 3].map(|number| client.start(&number).unwrap());
    disturb(&client);
    for _ in calls {
        let request = server.recv().unwrap();
        let doubled = request.to_native() * 2;
        request.reply(&doubled).unwrap();
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
fn a_reply_behind_what_another_server_is_just_sending_is_waited_for() {
    let (worker, mut client) = client("behind");
    let mut server = worker.service::<u64, u64>("double").unwrap();
    let call = client.start(&1).unwrap();
    let mut other = client.tracker.own.any_publisher().unwrap();
    let unfinished = other.reserve::<u64>().unwrap();
    server.recv().unwrap().reply(&2).unwrap();
    assert!(matches!(client.wait_timeout(call, PENDING * 3), Err(CallTimeoutError::Timeout)));
    drop(unfinished);
    assert_eq!(*client.wait(call).unwrap(), 2);
}

#[test]
fn a_claim_that_nobody_commits_holds_no_call_up_and_keeps_its_lane() {
    let (worker, mut client) = client("claimed");
    let mut server = worker.service::<u64, u64>("double").unwrap();
    let call = client.start(&1).unwrap();
    let mut other = client.tracker.own.any_publisher().unwrap();
    let unfinished = other.reserve::<u64>().unwrap();
    server.recv().unwrap().reply(&2).unwrap();
    let outcome = client.wait_timeout(call, LONG).map(drop);
    assert!(matches!(outcome, Err(CallTimeoutError::ServiceGone)), "{outcome:?}");
    // The reply is there, and is nobody's.
    for _ in 1..WINDOW {
        assert_ne!(client.start(&3).unwrap().call_slot(), call.call_slot());
    }
    assert!(matches!(client.start(&3), Err(CallError::Busy { .. })));
    drop(unfinished);
    assert_eq!(client.start(&3).unwrap().call_slot(), call.call_slot());
}

#[test]
fn a_tail_that_cannot_be_holds_no_call_up() {
    for tail in [1 << 40, u64::MAX] {
        let (worker, mut client) = client("tail");
        let mut server = worker.service::<u64, u64>("double").unwrap();
        let call = client.start(&1).unwrap();
        std::mem::forget(server.recv().unwrap());
        server.server.close();
        let head = client.tracker.replies.reader.memory.head();
        head.tail.store(tail, crate::sync::Ordering::SeqCst);
        let outcome = client.wait_timeout(call, LONG).map(drop);
        assert!(matches!(outcome, Err(CallTimeoutError::ServiceGone)), "{outcome:?}");
    }
}

#[test]
fn a_request_of_one_who_left_is_not_taken_for_that_of_who_came_after() {
    let (worker, mut left) = client("after");
    let mut server = worker.service::<u64, u64>("double").unwrap();
    let _ = left.start(&1).unwrap();
    let entry = left.entry;
    drop(left);
    let mut client = worker.client::<u64, u64>("double").unwrap();
    assert_eq!(client.entry, entry, "else this tests nothing");
    let call = client.start(&2).unwrap();
    let request = server.recv().unwrap();
    assert_eq!(*request, 2);
    request.reply(&4).unwrap();
    assert_eq!(*client.wait(call).unwrap(), 4);
}

#[test]
fn a_call_whose_reply_cannot_be_read_is_not_told_that_its_server_died() {
    let (worker, mut client) = client("unreadable");
    let mut server = worker.service::<u64, u64>("double").unwrap();
    let call = client.start(&1).unwrap();
    std::mem::forget(server.recv().unwrap());
    disturb(&client);
    // Nobody has it in hand, and no letter says so.
    server.server.close();
    let outcome = client.wait(call).map(drop);
    assert!(matches!(outcome, Err(CallError::Corrupt(_))), "{outcome:?}");
    let call = client.start(&2).unwrap();
    std::mem::forget(server.recv().unwrap());
    server.server.close();
    let outcome = client.wait(call).map(drop);
    assert!(matches!(outcome, Err(CallError::ServiceGone)), "{outcome:?}");
}
