//! Handovers that are awaited.

use super::{on_each, threads, unique, wait_until};
use futures_util::future::{Either, join_all, select};
use packetring::cluster::HandoverError;
use packetring::{Stop, Worker};
use std::io::{Read as _, Write as _, pipe};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::pin::pin;

fn fd() -> [OwnedFd; 1] {
    [pipe().unwrap().1.into()]
}

/// Returns true if a thread of this process waits for handovers.
fn has_thread() -> bool {
    !threads("packetring-fds").is_empty()
}

#[test]
fn handovers_are_awaited_and_dropped_at_any_time() {
    on_each(|| {
        Box::pin(async {
            let cluster = unique("handover");
            let front = Worker::join(&cluster, "front").unwrap();
            let web = Worker::join(&cluster, "web").unwrap();
            let mut inbox = web.inbox().unwrap();
            inbox.accept_fds().unwrap();
            let mut handovers: Vec<_> = (0..50_u64)
                .map(|number| front.send_fds_to("web", &number, fd()).unwrap())
                .collect();
            // A wait that is given up changes nothing.
            for handover in &mut handovers {
                let wait = pin!(handover.wait_async());
                assert!(matches!(
                    select(wait, std::future::ready(())).await,
                    Either::Right(((), _))
                ));
            }
            let receiving = async {
                for number in 0..50_u64 {
                    let mut message = inbox.recv_async().await.unwrap();
                    if number % 5 < 4 {
                        assert_eq!(message.take_fds().unwrap().len(), 1);
                    }
                    message.ack();
                }
            };
            let waiting = join_all(handovers.iter_mut().map(|handover| handover.wait_async()));
            let (outcomes, ()) = futures_util::join!(waiting, receiving);
            for (number, outcome) in outcomes.into_iter().enumerate() {
                match number % 5 {
                    4 => assert!(matches!(outcome, Err(HandoverError::Discarded { .. }))),
                    _ => outcome.unwrap(),
                }
            }
            // The end of the receiver.
            let mut last = front.send_fds_to("web", &1_u64, fd()).unwrap();
            let ending = async {
                drop(inbox);
                drop(web);
            };
            let (outcome, ()) = futures_util::join!(last.wait_async(), ending);
            assert!(matches!(outcome, Err(HandoverError::Gone { .. })));
            front.retire("web").unwrap();
        })
    });
}

#[test]
fn a_stop_ends_the_wait_for_a_handover() {
    let cluster = unique("stopped-handover");
    let stop = Stop::new();
    let front = Worker::builder().stop(&stop).join(&cluster, "front").unwrap();
    let web = Worker::join(&cluster, "web").unwrap();
    let mut inbox = web.inbox().unwrap();
    inbox.accept_fds().unwrap();
    let mut handover = front.send_fds_to("web", &1_u64, fd()).unwrap();
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| pollster::block_on(handover.wait_async()));
        wait_until("a thread waits for the handover", has_thread);
        stop.stop();
        assert!(matches!(waiter.join().unwrap(), Err(HandoverError::Stopped)));
    });
    drop(inbox);
    web.leave().unwrap();
    // The thread ends once nobody waits, in this test or another one.
    wait_until("no thread is left", || !has_thread());
}

/// Waits for handovers while other code closes the descriptors behind the waits, and opens files in
/// their place.
pub(super) fn close_descriptors() {
    let cluster = unique("closed-descriptors");
    let front = Worker::join(&cluster, "front").unwrap();
    let web = Worker::join(&cluster, "web").unwrap();
    let mut inbox = web.inbox().unwrap();
    inbox.accept_fds().unwrap();
    let numbers = || {
        let all = std::fs::read_dir("/proc/self/fd").unwrap().map(|it| it.unwrap().file_name());
        let all = all.map(|name| name.to_str().unwrap().parse::<i32>().unwrap());
        let is_own = |number: &i32| {
            let target = std::fs::read_link(format!("/proc/self/fd/{number}"));
            let target = target.unwrap_or_default().display().to_string();
            target.contains("[eventpoll]") || target.contains("[eventfd]")
        };
        all.filter(is_own).collect::<Vec<_>>()
    };
    let mut handover = front.send_fds_to("web", &1_u64, fd()).unwrap();
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| pollster::block_on(handover.wait_async()));
        wait_until("a thread waits for the handover", || has_thread() && numbers().len() == 2);
        let closed = numbers();
        for number in &closed {
            // SAFETY: a fault, on purpose: the library owns the descriptor.
            unsafe { libc::close(*number) };
        }
        let others: Vec<_> = closed.iter().map(|_| pipe().unwrap()).collect();
        let taken: Vec<_> =
            others.iter().flat_map(|(a, b)| [a.as_raw_fd(), b.as_raw_fd()]).collect();
        assert!(closed.iter().all(|number| taken.contains(number)), "{closed:?} {taken:?}");
        // Another wait goes on with descriptors of its own.
        let mut second = front.send_fds_to("web", &2_u64, fd()).unwrap();
        for number in 1..=2_u64 {
            let mut message = inbox.recv().unwrap();
            assert_eq!(*message.open_as::<u64>().unwrap(), number);
            if number == 2 {
                let waiter = scope.spawn(move || pollster::block_on(second.wait_async()));
                wait_until("a thread waits for the second handover", || numbers().len() == 2);
                assert_eq!(message.take_fds().unwrap().len(), 1);
                waiter.join().unwrap().unwrap();
                message.ack();
                break;
            }
            // The first one stays pending, and then moves.
            drop(message.take_fds().unwrap());
            message.ack();
        }
        waiter.join().unwrap().unwrap();
        wait_until("no thread is left", || !has_thread());
        for (reader, writer) in others {
            (&writer).write_all(b"x").expect("the library closed a descriptor of other code");
            (&reader).read_exact(&mut [0]).expect("the library read from other code");
        }
    });
    drop(inbox);
    web.leave().unwrap();
}

#[test]
fn descriptors_that_other_code_closed_are_left_alone() {
    super::stress::run("closed");
}
