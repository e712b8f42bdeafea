//! Handovers that are awaited.

use super::{on_each, unique};
use futures_util::future::{Either, join_all, select};
use packetring::cluster::HandoverError;
use packetring::{Stop, Worker};
use std::io::pipe;
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::time::Duration;

fn fd() -> [OwnedFd; 1] {
    [pipe().unwrap().1.into()]
}

/// Threads that wait for handovers in this process.
fn threads() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let comm = |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("comm")).ok();
    let names = tasks.map(Result::unwrap).filter_map(comm);
    names.filter(|name| name.trim() == "packetring-fds").count()
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
        std::thread::sleep(Duration::from_millis(20));
        stop.stop();
        assert!(matches!(waiter.join().unwrap(), Err(HandoverError::Stopped)));
    });
    drop(inbox);
    web.leave().unwrap();
    // The thread ends once nobody waits, in this test or another one.
    while threads() > 0 {
        std::thread::sleep(Duration::from_millis(1));
    }
}
