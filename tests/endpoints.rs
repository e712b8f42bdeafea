//! Publishers and subscribers, call by call, on the heap and in shared memory.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]
#![allow(missing_docs, reason = "rkyv's resolvers of enums with named fields have none")]

mod support;

use packetring::any::{AnyPublisher, AnyReceived, AnySubscriber};
use packetring::with::{Conversion, Via};
use packetring::{
    Batch, Copied, OpenError, Overflow, Packet, Publisher, Received, RecvError, RecvTimeoutError,
    Reserved, ReservedTail, Ring, RingBuilder, SendAllError, SendError, SendTimeoutError,
    Subscriber, Tail, TryRecvError, TrySendError, Wait, WaitingFor, one_of, packet, select,
    select_timeout, try_select,
};
use std::convert::Infallible;
use std::mem::forget;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};
use support::{LONG, Noise, SHORT, on_all, on_both, unique};

#[packet]
#[derive(Clone, Debug, PartialEq)]
struct Chat {
    name: String,
    age: u32,
    lines: Vec<String>,
}

#[packet]
#[derive(Clone, Debug, PartialEq)]
struct Nothing;

/// Can nest deeper than a reader accepts.
#[packet]
enum Deep {
    End,
    More(Box<Deep>),
}

/// Serializes a number. Panics if it is 13.
struct Superstitious;

impl Conversion<u64> for Superstitious {
    type Packet = u64;
    type Error = Infallible;

    fn to_packet(number: &u64) -> Result<u64, Infallible> {
        assert_ne!(*number, 13, "on purpose");
        Ok(*number)
    }

    fn from_packet(number: u64) -> Result<u64, Infallible> {
        Ok(number)
    }
}

#[packet]
struct Lucky {
    #[rkyv(with = Via<Superstitious>)]
    number: u64,
}

#[one_of]
enum Known {
    Chat(Chat),
    Nothing(Nothing),
}

fn chat(age: u32) -> Chat {
    let mut noise = Noise::of(1, age.into());
    let name = noise.text(age as usize % 13);
    Chat { name, age, lines: (0..age % 4).map(|len| noise.text(len as usize * 5)).collect() }
}

fn deep(levels: usize) -> Deep {
    (0..levels).fold(Deep::End, |inner, _| Deep::More(Box::new(inner)))
}

/// A ring of 16 slots.
fn small() -> RingBuilder {
    Ring::builder().capacity(1024)
}

/// Every wait strategy, each on a ring of its kind.
fn waits() -> [Wait; 4] {
    [Wait::spin(), Wait::park(), Wait::park().spin_for(Duration::ZERO), Wait::event()]
}

fn this_process() -> WaitingFor {
    WaitingFor::Subscriber { pid: std::process::id() }
}

/// Fills the ring with one-slot packets. Returns their number and the endpoint that blocks the
/// ring.
fn fill(out: &mut Publisher<u64>) -> (u64, WaitingFor) {
    for sent in 0.. {
        match out.try_send(&sent) {
            Ok(_) => {}
            Err(TrySendError::Full { waiting_for }) => return (sent, waiting_for),
            Err(error) => panic!("{error}"),
        }
    }
    unreachable!()
}

/// Publishes the numbers `0..count`, which must fit.
#[track_caller]
fn publish(out: &mut Publisher<u64>, count: u64) {
    for number in 0..count {
        out.try_send(&number).unwrap();
    }
}

fn pair<T: Packet>(ring: &Ring) -> (Publisher<T>, Subscriber<T>) {
    let subscriber = ring.subscriber().unwrap();
    (ring.publisher().unwrap(), subscriber)
}

#[test]
fn a_full_ring_uses_all_slots_and_names_the_blocker() {
    on_all(small, |ring| {
        let (mut out, mut numbers) = pair::<u64>(&ring);
        assert_eq!(fill(&mut out), (16, this_process()));
        let error = out.send_timeout(&99, SHORT).unwrap_err();
        assert!(
            matches!(error, SendTimeoutError::Timeout { waiting_for } if waiting_for == this_process())
        );
        for number in 0..16 {
            assert_eq!(*numbers.try_recv().unwrap(), number);
            out.try_send(&(number + 16)).unwrap();
            assert!(matches!(out.try_send(&0), Err(TrySendError::Full { .. })));
        }
    });
}

#[test]
fn a_held_packet_is_released_when_dropped() {
    on_all(small, |ring| {
        let (mut out, mut numbers) = pair::<u64>(&ring);
        fill(&mut out);
        let number = numbers.recv().unwrap();
        assert!(matches!(out.try_send(&0), Err(TrySendError::Full { .. })));
        assert_eq!(*number, 0);
        drop(number);
        out.try_send(&0).unwrap();
    });
}

#[test]
fn the_backlog_never_exceeds_the_ring() {
    on_all(small, |ring| {
        let (mut out, mut fast) = pair::<u64>(&ring);
        let mut slow = ring.subscriber::<u64>().unwrap();
        for number in 0..16 {
            out.try_send(&number).unwrap();
            assert_eq!(*fast.try_recv().unwrap(), number);
        }
        assert!(matches!(out.try_send(&16), Err(TrySendError::Full { .. })));
        assert_eq!((out.backlog(), slow.backlog(), fast.backlog()), (16, 16, 0));
        assert_eq!(*slow.try_recv().unwrap(), 0);
        assert_eq!((out.backlog(), slow.backlog()), (15, 15));
        out.try_send(&16).unwrap();
        drop(slow);
        assert_eq!(out.backlog(), 1);
        assert_eq!(*fast.try_recv().unwrap(), 16);
    });
}

#[test]
fn timeouts_do_not_end_early_with_any_wait() {
    for wait in waits() {
        on_all(
            || small().wait(wait),
            |ring| {
                let (mut out, mut numbers) = pair::<u64>(&ring);
                let started = Instant::now();
                assert!(matches!(numbers.recv_timeout(SHORT), Err(RecvTimeoutError::Timeout)));
                assert!(matches!(numbers.drain_timeout(SHORT), Err(RecvTimeoutError::Timeout)));
                let none = numbers.recv_where_timeout(|_| true, SHORT).map(drop);
                assert!(matches!(none, Err(RecvTimeoutError::Timeout)));
                assert!(matches!(
                    numbers.recv_copied_timeout(SHORT),
                    Err(RecvTimeoutError::Timeout)
                ));
                assert_eq!(select_timeout(&mut [&mut numbers], SHORT), None);
                fill(&mut out);
                assert!(matches!(
                    out.send_timeout(&0, SHORT),
                    Err(SendTimeoutError::Timeout { .. })
                ));
                let none = out.reserve_timeout(SHORT).map(drop);
                assert!(matches!(none, Err(SendTimeoutError::Timeout { .. })));
                let SendAllError { sent, source } =
                    out.send_all_timeout(&[0, 1], SHORT).unwrap_err();
                assert!(sent == 0 && matches!(source, SendTimeoutError::Timeout { .. }));
                assert!(matches!(
                    out.wait_for_subscribers_timeout(2, SHORT),
                    Err(SendTimeoutError::Timeout {
                        waiting_for: WaitingFor::Subscribers { missing: 1 }
                    })
                ));
                assert!(started.elapsed() >= 9 * SHORT, "a timeout ended early");
            },
        );
    }
}

#[test]
fn zero_and_huge_timeouts_are_accepted() {
    on_all(small, |ring| {
        let (mut out, mut numbers) = pair::<u64>(&ring);
        assert!(matches!(numbers.recv_timeout(Duration::ZERO), Err(RecvTimeoutError::Timeout)));
        out.send_timeout(&1, Duration::MAX).unwrap();
        assert_eq!(*numbers.recv_timeout(Duration::MAX).unwrap(), 1);
        out.send_timeout(&2, Duration::ZERO).unwrap();
        assert_eq!(*numbers.recv_where_timeout(|_| true, Duration::MAX).unwrap(), 2);
        fill(&mut out);
        let late = out.send_timeout(&3, Duration::ZERO);
        assert!(matches!(late, Err(SendTimeoutError::Timeout { .. })));
    });
}

#[test]
fn each_side_wakes_the_other_with_any_wait() {
    for wait in waits() {
        on_all(
            || small().wait(wait),
            |ring| {
                let (mut out, mut back) = pair::<u64>(&ring);
                let (mut answers, mut numbers) = pair::<u64>(&Ring::builder().heap().unwrap());
                std::thread::scope(|scope| {
                    // A ping-pong, then more packets than the ring holds.
                    scope.spawn(move || {
                        for number in 0..200 {
                            out.send(&number).unwrap();
                            assert_eq!(*numbers.recv_timeout(LONG).unwrap(), number);
                        }
                        (0..200).for_each(|number| {
                            out.send_timeout(&number, LONG).unwrap();
                        });
                    });
                    for number in 0..200 {
                        assert_eq!(*back.recv_timeout(LONG).unwrap(), number);
                        answers.send(&number).unwrap();
                    }
                    for number in 0..200 {
                        assert_eq!(*back.recv().unwrap(), number);
                    }
                    assert!(matches!(back.recv(), Err(RecvError::Closed)));
                });
            },
        );
    }
}

#[test]
fn a_batch_larger_than_the_ring_keeps_its_order() {
    on_all(small, |ring| {
        let (mut out, mut chats) = pair::<Chat>(&ring);
        let all: Vec<Chat> = (0..700).map(chat).collect();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for expected in &all {
                    let found = chats.recv_timeout(LONG).unwrap();
                    assert_eq!(Received::unpack(found).unwrap(), *expected);
                }
            });
            out.send_all(&all[..3]).unwrap();
            out.send_all(&all[3..300]).unwrap();
            out.send_all(&[]).unwrap();
            out.send_all_timeout(&all[300..], LONG).unwrap();
        });
    });
}

#[test]
fn a_batch_that_does_not_fit_reports_the_number_sent() {
    on_all(small, |ring| {
        let (mut out, mut numbers) = pair::<u64>(&ring);
        let all: Vec<u64> = (0..100).collect();
        let mut sent = 0;
        let mut seen = 0;
        // Batches start at every offset, so the end of the ring splits some of them.
        while sent < all.len() {
            let error = out.try_send_all(&all[sent..]).err();
            let now = error.as_ref().map_or(all.len() - sent, |error| error.sent);
            assert!(error.is_none_or(|error| matches!(error.source, TrySendError::Full { .. })));
            sent += now;
            assert_eq!(sent - seen, 16.min(all.len() - seen), "the ring must be full");
            for _ in 0..3.min(sent - seen) {
                assert_eq!(*numbers.try_recv().unwrap(), seen as u64);
                seen += 1;
            }
        }
        while seen < all.len() {
            assert_eq!(*numbers.try_recv().unwrap(), seen as u64);
            seen += 1;
        }
        assert!(matches!(numbers.try_recv(), Err(TryRecvError::Empty)));
    });
}

/// A packet that finds no room still raises the cached claim limit. Smaller packets after it then
/// find more room than the old limit allowed.
#[test]
fn a_batch_continues_after_a_larger_packet_found_no_room() {
    let bytes = |slots: usize| vec![7_u8; slots * 64 - 24];
    on_all(small, |ring| {
        let (mut out, mut packets) = pair::<Vec<u8>>(&ring);
        let receive = |packets: &mut Subscriber<Vec<u8>>, count: u64| {
            (0..count).for_each(|_| drop(packets.recv().unwrap()));
        };
        // Sends up to slot 20 while the limit is slot 24. Then two more slots become free.
        out.send_all(&vec![bytes(1); 16]).unwrap();
        receive(&mut packets, 8);
        out.send_all(&vec![bytes(1); 4]).unwrap();
        receive(&mut packets, 2);
        assert!(matches!(out.try_send(&bytes(8)), Err(TrySendError::Full { .. })));
        out.try_send_all(&vec![bytes(1); 6]).unwrap();
        receive(&mut packets, 16);
        assert!(matches!(packets.try_recv(), Err(TryRecvError::Empty)));
    });
}

#[test]
fn a_batch_with_a_packet_too_large_is_sent_up_to_it() {
    for at in [0, 1, 5, 63, 64, 65, 99] {
        on_all(
            || Ring::builder().capacity(8192),
            |ring| {
                let (mut out, mut lists) = pair::<Vec<u8>>(&ring);
                let mut all: Vec<Vec<u8>> = (0..100).map(|byte| vec![byte; 8]).collect();
                all[at] = vec![0; 5000];
                let SendAllError { sent, source } = out.try_send_all(&all).unwrap_err();
                assert_eq!(sent, at);
                let TrySendError::TooLarge { needed, limit } = source else { panic!("{source}") };
                assert_eq!((needed, limit), (5008, 4080));
                for expected in &all[..at] {
                    assert_eq!(*lists.try_recv().unwrap(), **expected);
                }
                assert!(matches!(lists.try_recv(), Err(TryRecvError::Empty)));
                out.try_send(&vec![1]).unwrap();
                assert_eq!(*lists.try_recv().unwrap(), [1][..]);
            },
        );
    }
}

#[test]
fn a_batch_with_an_unserializable_value_is_sent_up_to_it() {
    for at in [0, 1, 3] {
        on_all(
            || Ring::builder().capacity(16 * 1024),
            |ring| {
                let (mut out, mut values) = pair::<Deep>(&ring);
                let all: Vec<Deep> =
                    (0..5).map(|index| deep(if index == at { 90 } else { index })).collect();
                let SendAllError { sent, source } = out.send_all(&all).unwrap_err();
                assert_eq!(sent, at);
                assert!(matches!(source, SendError::Unserializable(_)), "{source}");
                assert!(matches!(out.send(&deep(90)), Err(SendError::Unserializable(_))));
                out.send(&deep(2)).unwrap();
                for levels in (0..at).chain([2]) {
                    assert_eq!(depth(&values.try_recv().unwrap()), levels);
                }
                assert!(matches!(values.try_recv(), Err(TryRecvError::Empty)));
            },
        );
    }
}

fn depth(deep: &ArchivedDeep) -> usize {
    match deep {
        ArchivedDeep::End => 0,
        ArchivedDeep::More(inner) => 1 + depth(inner),
    }
}

#[test]
fn a_drained_batch_has_all_packets_up_to_256() {
    on_all(
        || Ring::builder().capacity(64 * 1024),
        |ring| {
            let (mut out, mut chats) = pair::<Chat>(&ring);
            assert!(matches!(chats.try_drain(), Err(TryRecvError::Empty)));
            let all: Vec<Chat> = (0..300).map(chat).collect();
            out.send_all(&all).unwrap();
            let batch = chats.drain().unwrap();
            assert_eq!((batch.len(), batch.is_empty()), (256, false));
            for (index, found) in (&batch).into_iter().enumerate() {
                assert_eq!(found.age, index as u32);
                assert_eq!(found.name, all[index].name);
                assert_eq!(batch[index].age, found.age);
            }
            assert!(batch.iter().rev().map(|chat| chat.age.to_native()).eq((0..256).rev()));
            drop(batch);
            let rest = chats.drain_timeout(LONG).unwrap();
            assert!(rest.iter().map(|chat| chat.age.to_native()).eq(256..300));
            drop(rest);
            assert!(matches!(chats.try_drain(), Err(TryRecvError::Empty)));
        },
    );
}

#[test]
fn a_held_batch_is_released_when_dropped() {
    on_all(small, |ring| {
        let (mut out, mut numbers) = pair::<u64>(&ring);
        fill(&mut out);
        let batch = numbers.drain().unwrap();
        assert_eq!(batch.len(), 16);
        assert!(matches!(out.try_send(&0), Err(TrySendError::Full { .. })));
        assert!(batch.iter().map(|number| number.to_native()).eq(0..16));
        drop(batch);
        assert_eq!(fill(&mut out).0, 16);
    });
}

#[test]
fn packets_skipped_by_a_search_are_released() {
    on_all(small, |ring| {
        let (mut out, mut numbers) = pair::<u64>(&ring);
        fill(&mut out);
        assert_eq!(*numbers.recv_where(|number| *number % 5 == 4).unwrap(), 4);
        assert_eq!(fill(&mut out).0, 5, "the skipped packets were not released");
        assert_eq!(*numbers.try_recv_where(|number| *number > 5).unwrap(), 6);
        assert!(matches!(numbers.try_recv_where(|number| *number > 99), Err(TryRecvError::Empty)));
        assert_eq!(fill(&mut out).0, 16);
        assert_eq!(*numbers.recv_where_timeout(|number| *number == 3, LONG).unwrap(), 3);
    });
}

#[test]
fn a_copied_packet_is_released() {
    on_all(small, |ring| {
        let (mut out, mut numbers) = pair::<u64>(&ring);
        assert!(matches!(numbers.try_recv_copied(), Err(TryRecvError::Empty)));
        let position = out.send(&7).unwrap();
        let copied = numbers.recv_copied().unwrap();
        assert_eq!(fill(&mut out).0, 16, "the slot of the copied packet was not released");
        assert_eq!(*copied, 7);
        assert_eq!(Copied::info(&copied).position, position);
        assert!(!Copied::info(&copied).redelivered);
        assert_eq!(Copied::unpack(copied).unwrap(), 7);
        assert_eq!(*numbers.try_recv_copied().unwrap(), 0);
        assert_eq!(*numbers.recv_copied_timeout(LONG).unwrap(), 1);
    });
    on_all(small, |ring| {
        let (mut out, mut chats) = pair::<Chat>(&ring);
        for age in 0..50 {
            out.send(&chat(age)).unwrap();
            assert_eq!(Copied::unpack(chats.recv_copied().unwrap()).unwrap(), chat(age));
        }
    });
}

#[test]
fn values_are_owned_and_end_when_the_ring_closes() {
    on_all(
        || Ring::builder().capacity(16 * 1024),
        |ring| {
            let (mut out, mut chats) = pair::<Chat>(&ring);
            let all: Vec<Chat> = (0..50).map(chat).collect();
            out.send_all(&all).unwrap();
            drop(out);
            let found: Vec<Chat> = chats.values().map(Result::unwrap).collect();
            assert_eq!(found, all);
            assert!(chats.values().next().is_none());
        },
    );
}

#[test]
fn select_returns_a_ready_endpoint() {
    on_all(small, |ring| {
        let (mut out, mut numbers) = pair::<u64>(&ring);
        let other = Ring::builder().heap().unwrap();
        let mut inbox = other.any_subscriber().unwrap();
        let mut chats = other.any_publisher().unwrap();
        assert_eq!(try_select(&mut [&mut numbers, &mut inbox]), None);
        assert_eq!(try_select(&mut []), None);
        assert_eq!(select_timeout(&mut [], SHORT), None);
        chats.send(&chat(1)).unwrap();
        assert_eq!(select(&mut [&mut numbers, &mut inbox]), 1);
        assert_eq!(
            select(&mut [&mut inbox, &mut numbers]),
            0,
            "select must not receive the packet"
        );
        out.send(&1).unwrap();
        out.send(&2).unwrap();
        let turns = [0; 4].map(|_| select(&mut [&mut numbers, &mut inbox]));
        assert!(turns == [0, 1, 0, 1] || turns == [1, 0, 1, 0], "both are ready: {turns:?}");
        assert_eq!(*numbers.try_recv().unwrap(), 1, "select lost a packet");
        assert_eq!(inbox.recv().unwrap().open_as::<Chat>().unwrap().age, 1);
        assert_eq!(select_timeout(&mut [&mut inbox, &mut numbers], LONG), Some(1));
        assert_eq!(numbers.drain().unwrap().len(), 1);
        drop(out);
        assert_eq!(select(&mut [&mut inbox, &mut numbers]), 1, "a closed ring counts as ready");
        assert!(matches!(numbers.try_recv(), Err(TryRecvError::Closed)));
    });
}

#[test]
fn select_does_not_starve_an_endpoint() {
    on_all(small, |ring| {
        let (out, mut closed) = pair::<u64>(&ring);
        let (mut one, mut ones) = pair::<u64>(&Ring::builder().heap().unwrap());
        // A closed ring is always ready.
        drop(out);
        for number in 0..10 {
            one.send(&number).unwrap();
            let turns = [0; 2].map(|_| select(&mut [&mut closed, &mut ones]));
            assert!(turns.contains(&1), "{turns:?}");
            assert_eq!(*ones.try_recv().unwrap(), number);
        }
    });
}

#[test]
fn each_ring_of_a_select_wakes_it() {
    for wait in waits() {
        on_all(
            || small().wait(wait),
            |ring| {
                let (mut one, mut ones) = pair::<u64>(&ring);
                let (mut two, mut twos) = pair::<u64>(&Ring::builder().heap().unwrap());
                let (mut answer, mut answers) = pair::<u64>(&Ring::builder().heap().unwrap());
                std::thread::scope(|scope| {
                    scope.spawn(move || {
                        for number in 0..300 {
                            let out = if number % 3 == 0 { &mut one } else { &mut two };
                            out.send(&number).unwrap();
                            assert_eq!(*answers.recv_timeout(LONG).unwrap(), number);
                        }
                    });
                    for number in 0..300 {
                        let index = select_timeout(&mut [&mut ones, &mut twos], LONG);
                        assert_eq!(index, Some(usize::from(number % 3 != 0)));
                        let from = if index == Some(0) { &mut ones } else { &mut twos };
                        assert_eq!(*from.try_recv().unwrap(), number);
                        answer.send(&number).unwrap();
                    }
                });
            },
        );
    }
}

#[test]
fn a_cloned_subscriber_starts_at_the_position_of_the_original() {
    on_all(small, |ring| {
        let (mut out, mut numbers) = pair::<u64>(&ring);
        fill(&mut out);
        numbers.recv().unwrap();
        assert_eq!(*numbers.recv().unwrap(), 1);
        let mut clone = numbers.try_clone().unwrap();
        assert_eq!(ring.subscribers(), 2);
        assert!((2..16).all(|number| *clone.recv().unwrap() == number));
        assert!((2..16).all(|number| *numbers.recv().unwrap() == number));
        // A clone starts at the packet that the original holds.
        out.send(&16).unwrap();
        forget(numbers.recv().unwrap());
        let mut clone = numbers.try_clone().unwrap();
        assert_eq!(*clone.try_recv().unwrap(), 16);
        assert!(matches!(numbers.try_recv(), Err(TryRecvError::Empty)));
    });
}

#[test]
fn a_cloned_publisher_publishes_to_the_same_ring() {
    on_both(small, |ring| {
        let (mut out, mut numbers) = pair::<u64>(&ring);
        let mut clone = out.try_clone().unwrap();
        out.send(&1).unwrap();
        clone.send(&2).unwrap();
        drop(out);
        clone.send(&3).unwrap();
        assert!((1..=3).all(|number| *numbers.try_recv().unwrap() == number));
        assert!(matches!(numbers.try_recv(), Err(TryRecvError::Empty)), "a publisher is left");
        drop(clone);
        assert!(matches!(numbers.try_recv(), Err(TryRecvError::Closed)));
    });
    on_both(
        || small().exclusive(),
        |ring| {
            let out = ring.publisher::<u64>().unwrap();
            let error = out.try_clone().unwrap_err();
            assert!(
                matches!(error, OpenError::PublisherTaken { pid, .. } if pid == std::process::id())
            );
        },
    );
}

#[test]
fn a_publisher_counts_and_waits_for_subscribers() {
    on_all(small, |ring| {
        let mut out = ring.publisher::<u64>().unwrap();
        out.wait_for_subscribers(0).unwrap();
        out.try_wait_for_subscribers(0).unwrap();
        assert_eq!((out.subscribers(), ring.subscribers()), (0, 0));
        assert!(matches!(
            out.try_wait_for_subscribers(3),
            Err(TrySendError::Full { waiting_for: WaitingFor::Subscribers { missing: 3 } })
        ));
        let one = ring.subscriber::<u64>().unwrap();
        let two = ring.any_subscriber().unwrap();
        assert_eq!((out.subscribers(), ring.subscribers()), (2, 2));
        out.try_wait_for_subscribers(2).unwrap();
        out.wait_for_subscribers_timeout(1, Duration::ZERO).unwrap();
        std::thread::scope(|scope| {
            let third = scope.spawn(|| ring.subscriber::<u64>().unwrap());
            out.wait_for_subscribers_timeout(3, LONG).unwrap();
            drop(third.join().unwrap());
        });
        assert!(matches!(
            out.try_wait_for_subscribers(3),
            Err(TrySendError::Full { waiting_for: WaitingFor::Subscribers { missing: 1 } })
        ));
        drop((one, two));
        assert_eq!(out.subscribers(), 0);
        ring.close().unwrap();
        assert!(matches!(out.wait_for_subscribers(1), Err(SendError::Closed)));
    });
}

#[test]
fn a_reservation_is_published_on_commit() {
    on_all(small, |ring| {
        let (mut out, mut numbers) = pair::<[u64; 3]>(&ring);
        for round in 0..50 {
            let mut room = match round % 3 {
                0 => out.reserve().unwrap(),
                1 => out.try_reserve().unwrap(),
                _ => out.reserve_timeout(LONG).unwrap(),
            };
            assert!(matches!(numbers.try_recv(), Err(TryRecvError::Empty)));
            *room = [round.into(), 2.into(), 3.into()];
            assert_eq!(room[0], round);
            let position = Reserved::commit(room);
            let found = numbers.try_recv().unwrap();
            assert_eq!(*found, [round, 2, 3]);
            assert_eq!(Received::info(&found).position, position);
        }
        while out.try_send(&[0; 3]).is_ok() {}
        assert!(matches!(out.try_reserve(), Err(TrySendError::Full { .. })));
    });
}

#[test]
fn a_dropped_reservation_publishes_nothing() {
    fn fails(out: &mut Publisher<u64>) -> Result<(), Box<dyn std::error::Error>> {
        let mut room = out.reserve()?;
        *room = "no number".parse::<u64>()?.into();
        Reserved::commit(room);
        Ok(())
    }
    on_all(small, |ring| {
        let (mut out, mut numbers) = pair::<u64>(&ring);
        for round in 0..40 {
            drop(out.reserve().unwrap());
            fails(&mut out).unwrap_err();
            if round < 3 {
                let caught = catch_unwind(AssertUnwindSafe(|| {
                    let _room = out.reserve().unwrap();
                    panic!("on purpose");
                }));
                assert!(caught.is_err());
            }
            assert!(matches!(numbers.try_recv(), Err(TryRecvError::Empty)));
            out.try_send(&round).unwrap();
            assert_eq!(*numbers.try_recv().unwrap(), round);
        }
    });
}

#[test]
fn other_publishers_continue_behind_an_open_or_dropped_reservation() {
    on_both(small, |ring| {
        let (mut out, mut numbers) = pair::<u64>(&ring);
        let mut other = out.try_clone().unwrap();
        let mut open = out.reserve().unwrap();
        other.try_send(&2).unwrap();
        assert!(
            matches!(numbers.try_recv(), Err(TryRecvError::Empty)),
            "a later packet overtook an open claim"
        );
        assert!(numbers.backlog() > 0);
        *open = 1.into();
        Reserved::commit(open);
        assert_eq!(*numbers.try_recv().unwrap(), 1);
        assert_eq!(*numbers.try_recv().unwrap(), 2);
        let open = out.reserve().unwrap();
        other.try_send(&3).unwrap();
        drop(open);
        assert_eq!(*numbers.try_recv().unwrap(), 3);
    });
}

#[test]
fn a_value_that_panics_in_serialization_does_not_block_the_ring() {
    on_all(small, |ring| {
        let (mut out, mut numbers) = pair::<Lucky>(&ring);
        let mut other = out.try_clone().ok();
        for number in 14..40 {
            catch_unwind(AssertUnwindSafe(|| out.try_send(&Lucky { number: 13 }))).unwrap_err();
            let several = [Lucky { number }, Lucky { number: 13 }, Lucky { number }];
            catch_unwind(AssertUnwindSafe(|| out.try_send_all(&several).is_ok())).unwrap_err();
            // An exclusive ring has no other publisher.
            let out = other.as_mut().unwrap_or(&mut out);
            out.try_send(&Lucky { number: number + 1 }).unwrap();
            assert_eq!(numbers.try_recv().unwrap().number, number);
            assert_eq!(numbers.try_recv().unwrap().number, number + 1);
            assert!(matches!(numbers.try_recv(), Err(TryRecvError::Empty)));
        }
    });
}

#[test]
fn tails_of_any_length_are_filled_in_place() {
    on_all(small, |ring| {
        let (mut out, mut lines) = pair::<Tail<u64, u8>>(&ring);
        // Head, count and pointer take 16 bytes; the elements come before them.
        for (round, count) in
            [0, 1, 7, 8, 9, 47, 48, 49, 479, 480].into_iter().cycle().take(60).enumerate()
        {
            let bytes = Noise::of(0, round as u64).bytes(count);
            let mut room = match round % 3 {
                0 => out.reserve_tail(count).unwrap(),
                1 => out.try_reserve_tail(count).unwrap(),
                _ => out.reserve_tail_timeout(count, LONG).unwrap(),
            };
            assert_eq!(room.tail().len(), count);
            *room.head_mut() = (round as u64).into();
            room.tail_mut().copy_from_slice(&bytes);
            let (head, tail) = room.split_mut();
            assert_eq!((head.to_native(), &*tail), (round as u64, &*bytes));
            assert_eq!(*room.head(), round as u64);
            room.commit();
            let found = lines.try_recv().unwrap();
            assert_eq!((found.head.to_native(), found.tail.as_slice()), (round as u64, &*bytes));
        }
        for too_many in [481, 1 << 20, usize::MAX / 2, usize::MAX] {
            let error = out.try_reserve_tail(too_many).map(drop).unwrap_err();
            let TrySendError::TooLarge { needed, limit: 496 } = error else { panic!("{error}") };
            assert!(needed > 496);
            let error = out.reserve_tail(too_many).map(drop).unwrap_err();
            assert!(matches!(error, SendError::TooLarge { .. }));
        }
        drop(out.reserve_tail(480).unwrap());
        assert!(matches!(lines.try_recv(), Err(TryRecvError::Empty)));
        out.send(&Tail { head: 5, tail: vec![1, 2] }).unwrap();
        assert_eq!(lines.try_recv().unwrap().tail.as_slice(), [1, 2]);
    });
}

#[test]
fn elements_are_copied_into_a_reservation() {
    on_all(small, |ring| {
        let (mut out, mut lines) = pair::<Tail<u64, f32>>(&ring);
        for count in [0, 1, 7, 100] {
            let values: Vec<f32> = (0..count).map(|at| at as f32 / 3.0).collect();
            let mut room = out.reserve_tail(count).unwrap();
            *room.head_mut() = 7.into();
            room.copy_tail_from(&values).unwrap();
            room.commit();
            let found = lines.try_recv().unwrap();
            assert_eq!(
                found.tail.iter().map(|value| value.to_native()).collect::<Vec<_>>(),
                values
            );
        }
        let wrong = catch_unwind(AssertUnwindSafe(|| {
            out.reserve_tail(3).unwrap().copy_tail_from(&[1.0]).is_ok()
        }));
        assert!(wrong.is_err());
        assert!(matches!(lines.try_recv(), Err(TryRecvError::Empty)));
    });
    // Tuples are written one by one.
    on_all(small, |ring| {
        let (mut out, mut lines) = pair::<Tail<u64, (u32, i32)>>(&ring);
        let pairs = [(1, -1), (u32::MAX, i32::MIN), (0, 7)];
        let mut room = out.reserve_tail(3).unwrap();
        *room.head_mut() = 8.into();
        room.copy_tail_from(&pairs).unwrap();
        room.commit();
        let found = lines.try_recv().unwrap();
        let read: Vec<_> =
            found.tail.iter().map(|pair| (pair.0.to_native(), pair.1.to_native())).collect();
        assert_eq!(read, pairs);
    });
}

/// A publisher tries both ways to copy within 64 laps.
#[test]
fn large_packets_are_whole_in_each_lap() {
    const LEN: usize = 4096;
    on_all(
        || Ring::builder().capacity(32 * 1024),
        |ring| {
            let mut out = ring.any_publisher().unwrap();
            let mut packets = ring.any_subscriber().unwrap();
            let laps = 140;
            for round in 0..laps * 2 {
                let bytes = Noise::of(1, round).bytes(LEN);
                let array: [u8; LEN] = bytes[..].try_into().unwrap();
                out.send(&array).unwrap();
                out.send(&bytes).unwrap();
                let mut room = out.reserve_tail::<u64, u8>(LEN).unwrap();
                *room.head_mut() = round.into();
                room.copy_tail_from(&bytes).unwrap();
                room.commit();
                assert_eq!(*packets.try_recv().unwrap().open_as::<[u8; LEN]>().unwrap(), array);
                assert_eq!(*packets.try_recv().unwrap().open_as::<Vec<u8>>().unwrap(), bytes[..]);
                let last = packets.try_recv().unwrap();
                let frame = last.open_as::<Tail<u64, u8>>().unwrap();
                assert_eq!((frame.head.to_native(), &frame.tail[..]), (round, &bytes[..]));
            }
        },
    );
}

#[test]
fn empty_packets_and_packets_of_half_the_ring() {
    on_all(small, |ring| {
        let (mut out, mut marks) = pair::<Nothing>(&ring);
        for _ in 0..40 {
            out.try_send(&Nothing).unwrap();
            assert_eq!(Received::unpack(marks.try_recv().unwrap()).unwrap(), Nothing);
        }
        out.send_all(&vec![Nothing; 16]).unwrap();
        assert!(matches!(out.try_send(&Nothing), Err(TrySendError::Full { .. })));
        assert_eq!(marks.drain().unwrap().len(), 16);
    });
    on_all(small, |ring| {
        let (mut out, mut blocks) = pair::<[u8; 496]>(&ring);
        for byte in 0..40 {
            out.try_send(&[byte; 496]).unwrap();
            out.try_send(&[!byte; 496]).unwrap();
            assert!(matches!(out.try_send(&[0; 496]), Err(TrySendError::Full { .. })));
            assert_eq!(*blocks.try_recv().unwrap(), [byte; 496]);
            assert_eq!(*blocks.try_recv().unwrap(), [!byte; 496]);
        }
    });
}

#[test]
fn a_ring_with_history_accepts_packets_up_to_a_quarter() {
    on_all(
        || small().history(1),
        |ring| {
            let (mut out, mut lists) = pair::<Vec<u8>>(&ring);
            for byte in 0..40 {
                out.try_send(&vec![byte; 232]).unwrap();
                assert_eq!(*lists.try_recv().unwrap(), [byte; 232][..]);
            }
            let error = out.try_send(&vec![0; 233]).unwrap_err();
            let TrySendError::TooLarge { needed, limit } = error else { panic!("{error}") };
            assert_eq!((needed, limit), (244, 240));
        },
    );
}

#[test]
fn packets_of_every_size_and_offset_do_not_wrap() {
    for offset in 0..16 {
        for span in 1..=8 {
            on_all(small, |ring| {
                let (mut out, mut lists) = pair::<Vec<u8>>(&ring);
                for _ in 0..offset {
                    out.try_send(&Vec::new()).unwrap();
                    lists.try_recv().unwrap();
                }
                let padded = if offset + span > 16 { 16 } else { offset };
                let bytes = Noise::of(offset as u32, span as u64).bytes(span * 64 - 16 - 8);
                assert_eq!(out.try_send(&bytes).unwrap(), padded as u64);
                let found = lists.try_recv().unwrap();
                assert_eq!(Received::info(&found).position, padded as u64);
                assert_eq!(*found, *bytes);
                drop(found);
                assert_eq!(out.try_send(&Vec::new()).unwrap(), (padded + span) as u64);
                assert_eq!(lists.try_recv().unwrap().len(), 0);
            });
        }
    }
}

#[test]
fn a_closed_ring_is_read_to_its_end() {
    on_all(
        || small().stays_open(true),
        |ring| {
            let (mut out, mut numbers) = pair::<u64>(&ring);
            out.send(&1).unwrap();
            out.send(&2).unwrap();
            ring.close().unwrap();
            assert!(matches!(out.send(&3), Err(SendError::Closed)));
            assert!(matches!(out.try_send(&3), Err(TrySendError::Closed)));
            assert!(matches!(out.reserve().map(drop), Err(SendError::Closed)));
            let SendAllError { sent, source } = out.send_all(&[3]).unwrap_err();
            assert!(sent == 0 && matches!(source, SendError::Closed));
            assert_eq!(*numbers.recv().unwrap(), 1);
            assert_eq!(*numbers.recv().unwrap(), 2);
            assert!(matches!(numbers.recv(), Err(RecvError::Closed)));
            assert!(matches!(numbers.try_recv(), Err(TryRecvError::Closed)));
            assert!(matches!(numbers.drain(), Err(RecvError::Closed)));
            assert!(matches!(ring.publisher::<u64>(), Err(OpenError::Closed { .. })));
            // A late subscriber also sees that the ring is closed.
            let mut late = ring.subscriber::<u64>().unwrap();
            assert!(matches!(late.recv(), Err(RecvError::Closed)));
        },
    );
}

#[test]
fn closing_wakes_waiting_endpoints() {
    for wait in waits() {
        on_all(
            || small().wait(wait),
            |ring| {
                let (mut out, full) = pair::<u64>(&ring);
                fill(&mut out);
                let mut empty = ring.subscriber::<u64>().unwrap();
                std::thread::scope(|scope| {
                    scope.spawn(|| assert!(matches!(out.send(&0), Err(SendError::Closed))));
                    scope.spawn(|| assert!(matches!(empty.recv(), Err(RecvError::Closed))));
                    ring.close().unwrap();
                });
                drop(full);
            },
        );
    }
}

#[test]
fn the_last_publisher_to_leave_closes_the_ring_until_another_joins() {
    on_all(small, |ring| {
        let mut numbers = ring.subscriber::<u64>().unwrap();
        assert!(
            matches!(numbers.try_recv(), Err(TryRecvError::Empty)),
            "no publisher has joined yet"
        );
        for round in 0..20 {
            let mut out = ring.publisher::<u64>().unwrap();
            assert!(matches!(numbers.try_recv(), Err(TryRecvError::Empty)));
            out.send(&round).unwrap();
            drop(out);
            assert_eq!(*numbers.recv().unwrap(), round);
            assert!(matches!(numbers.recv(), Err(RecvError::Closed)));
        }
    });
}

#[test]
fn a_ring_that_stays_open_waits_for_the_next_publisher() {
    on_all(
        || small().stays_open(true),
        |ring| {
            let (out, mut numbers) = pair::<u64>(&ring);
            drop(out);
            assert!(matches!(numbers.try_recv(), Err(TryRecvError::Empty)));
            assert!(matches!(numbers.recv_timeout(SHORT), Err(RecvTimeoutError::Timeout)));
            ring.publisher::<u64>().unwrap().send(&7).unwrap();
            assert_eq!(*numbers.recv().unwrap(), 7);
        },
    );
}

#[test]
fn mismatched_settings_are_reported() {
    let name = unique("settings");
    let ring = Ring::builder().open(&name).unwrap();
    assert_eq!(ring.name(), name);
    for (setting, builder, expected, found) in [
        ("capacity", Ring::builder().capacity(4096), "4096", "2097152"),
        ("claims", Ring::builder().exclusive(), "exclusive", "shared"),
        ("overflow", Ring::builder().overflow(Overflow::DropOldest), "drop oldest", "block"),
        ("history", Ring::builder().history(3), "3", "0"),
        ("max_publishers", Ring::builder().max_publishers(3), "3", "64"),
        ("max_subscribers", Ring::builder().max_subscribers(3), "3", "64"),
        ("stays_open", Ring::builder().stays_open(true), "true", "false"),
        ("wait", Ring::builder().wait(Wait::event()), "event", "park"),
    ] {
        for outcome in [builder.clone().open(&name), builder.attach(&name)] {
            match outcome.unwrap_err() {
                OpenError::SettingsMismatch { name: of, setting: s, expected: e, found: f } => {
                    assert_eq!((&*of, s, &*e, &*f), (&*name, setting, expected, found));
                }
                error => panic!("{error}"),
            }
        }
    }
    let same = Ring::builder().capacity(2 << 20).shared().overflow(Overflow::Block).history(0);
    let same = same.max_publishers(64).max_subscribers(64).stays_open(false).wait(Wait::park());
    same.open(&name).unwrap();
    Ring::builder().wait(Wait::spin()).open(&name).unwrap();
    Ring::attach(&name).unwrap();
}

#[test]
fn attach_fails_if_the_ring_does_not_exist() {
    let name = unique("absent");
    assert!(matches!(Ring::attach(&name), Err(OpenError::NotFound { name: n }) if n == name));
    assert!(!Ring::remove(&name).unwrap());
    let ring = Ring::open(&name).unwrap();
    assert!(matches!(Ring::remove(&name), Err(OpenError::InUse { name: n }) if n == name));
    drop(ring);
    assert!(matches!(Ring::attach(&name), Err(OpenError::NotFound { .. })));
}

#[test]
fn invalid_names_and_settings_are_rejected() {
    for bad in ["", ".x", "a/b", "../x", "a b", "é", "a\0b", &"x".repeat(201)] {
        for outcome in [Ring::open(bad), Ring::attach(bad)] {
            assert!(matches!(outcome, Err(OpenError::BadName { name, .. }) if name == bad));
        }
        assert!(matches!(Ring::remove(bad), Err(OpenError::BadName { .. })));
    }
    let name = unique("bad");
    for builder in [
        Ring::builder().capacity(0),
        Ring::builder().capacity(512),
        Ring::builder().capacity(5000),
        Ring::builder().capacity(usize::MAX),
        Ring::builder().max_publishers(0),
        Ring::builder().max_publishers(1025),
        Ring::builder().max_subscribers(0),
        Ring::builder().max_subscribers(1025),
        Ring::builder().capacity(1024).history(9),
        Ring::builder().history(usize::MAX),
    ] {
        for outcome in [builder.clone().heap(), builder.open(&name)] {
            assert!(matches!(outcome, Err(OpenError::BadSettings { .. })));
        }
    }
    support::assert_gone(&name);
    let ring = Ring::builder().capacity(1024).history(8).max_publishers(1).heap().unwrap();
    for bad in ["", &"x".repeat(65)] {
        assert!(matches!(ring.durable::<u64>(bad), Err(OpenError::BadName { .. })));
    }
}

#[test]
fn a_ring_of_another_type_cannot_be_joined() {
    on_all(small, |ring| {
        let _chats = ring.subscriber::<Chat>().unwrap();
        for error in [
            ring.publisher::<u64>().unwrap_err(),
            ring.subscriber::<u64>().unwrap_err(),
            ring.durable::<u64>("billing").unwrap_err(),
        ] {
            let OpenError::TypeMismatch { expected, found, .. } = error else { panic!("{error}") };
            assert!(expected.starts_with("u64 (fingerprint "), "{expected}");
            assert!(found.starts_with("Chat (fingerprint "), "{found}");
        }
        // No failed join took an entry.
        assert_eq!(ring.subscribers(), 1);
        ring.publisher::<Chat>().unwrap();
    });
}

#[test]
fn a_typed_subscriber_reports_and_skips_other_types() {
    on_all(
        || Ring::builder().capacity(8192),
        |ring| {
            let mut chats = ring.subscriber::<Chat>().unwrap();
            let mut out = ring.any_publisher().unwrap();
            let is_mismatch = |error: RecvError| match error {
                RecvError::TypeMismatch(types) => {
                    types.expected.starts_with("Chat (") && types.found.starts_with("u64 (")
                }
                _ => false,
            };
            for _ in 0..2 {
                out.send(&chat(1)).unwrap();
                out.send(&7_u64).unwrap();
                out.send(&chat(2)).unwrap();
            }
            assert_eq!(chats.recv().unwrap().age, 1);
            assert!(is_mismatch(chats.recv().map(drop).unwrap_err()));
            assert_eq!(chats.recv().unwrap().age, 2);
            assert!(chats.drain().unwrap().iter().map(|chat| chat.age.to_native()).eq([1]));
            assert!(is_mismatch(chats.drain().map(drop).unwrap_err()));
            assert!(chats.drain().unwrap().iter().map(|chat| chat.age.to_native()).eq([2]));
            out.send(&8_u64).unwrap();
            assert!(is_mismatch(chats.recv_copied().map(drop).unwrap_err()));
            out.send(&9_u64).unwrap();
            let outcome = chats.try_recv_where(|_| true).map(drop);
            assert!(matches!(outcome, Err(TryRecvError::TypeMismatch(_))), "{outcome:?}");
            assert!(matches!(chats.try_recv(), Err(TryRecvError::Empty)));
        },
    );
}

#[test]
fn a_packet_of_any_type_opens_only_as_its_own_type() {
    on_all(
        || Ring::builder().capacity(8192),
        |ring| {
            let mut inbox = ring.any_subscriber().unwrap();
            let mut out = ring.any_publisher().unwrap();
            for _ in 0..30 {
                let position = out.send(&chat(5)).unwrap();
                let received = inbox.recv().unwrap();
                assert_eq!(received.info().position, position);
                assert!(
                    matches!(received.open().unwrap(), Some(Known::Chat(chat)) if chat.age == 5)
                );
                assert_eq!(received.open_as::<Chat>().unwrap().age, 5);
                let error = received.open_as::<Nothing>().map(drop).unwrap_err();
                let RecvError::TypeMismatch(types) = error else { panic!("{error}") };
                assert!(types.expected.starts_with("Nothing ("));
                assert!(types.found.starts_with("Chat ("));
                assert_eq!(received.type_name(), "Chat");
                drop(received);
                out.try_send(&Nothing).unwrap();
                let received = inbox.try_recv().unwrap();
                assert!(matches!(received.open().unwrap(), Some(Known::Nothing(_))));
                drop(received);
                out.send_timeout(&vec![1_u32], LONG).unwrap();
                let received = inbox.recv_timeout(LONG).unwrap();
                assert!(received.open::<Known<'_>>().unwrap().is_none());
                assert_eq!(received.type_name(), "Vec<u32>");
                assert_eq!(received.open_as::<Vec<u32>>().unwrap().len(), 1);
            }
            assert!(matches!(inbox.try_recv(), Err(TryRecvError::Empty)));
            assert!(matches!(inbox.recv_timeout(SHORT), Err(RecvTimeoutError::Timeout)));
        },
    );
}

macro_rules! send_arrays {
    ($out:ident: $($len:literal)*) => { [$($out.try_send(&[0_u8; $len])),*] };
}

#[test]
fn a_ring_carries_64_types_and_rejects_the_next() {
    on_all(
        || Ring::builder().capacity(64 * 1024),
        |ring| {
            let mut out = ring.any_publisher().unwrap();
            let sent = send_arrays!(out: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23
                24 25 26 27 28 29 30 31 32 33 34 35 36 37 38 39 40 41 42 43 44 45 46 47 48 49 50 51
                52 53 54 55 56 57 58 59 60 61 62 63 64);
            assert!(sent.iter().all(Result::is_ok));
            let types = ring.types();
            assert!(types.iter().enumerate().all(|(i, t)| t.name == format!("[u8; {}]", i + 1)));
            assert_eq!(types.len(), 64);
            let error = out.send(&[0_u8; 65]).unwrap_err();
            assert!(error.to_string().contains("the ring has 64 types, limit 64;"), "{error}");
            assert!(matches!(error, SendError::TooManyTypes(room) if room.types == 64));
            out.send(&[0_u8; 64]).unwrap();
            assert_eq!(ring.types().len(), 64);
            // A closed ring says so, whatever its types.
            ring.close().unwrap();
            assert!(matches!(out.send(&[0_u8; 65]), Err(SendError::Closed)));
            assert!(matches!(out.try_reserve::<[u8; 66]>(), Err(TrySendError::Closed)));
        },
    );
}

#[test]
fn the_types_of_a_ring_include_their_schema() {
    on_all(small, |ring| {
        assert!(ring.types().is_empty());
        let _chats = ring.subscriber::<Chat>().unwrap();
        let _again = ring.publisher::<Chat>().unwrap();
        let types = ring.types();
        assert_eq!((types.len(), &*types[0].name), (1, "Chat"));
        assert_eq!(types[0].fingerprint, packetring::packet::fingerprint_of::<Chat>());
        assert_eq!(types[0].schema, packetring::packet::schema_of::<Chat>());
        let schema: serde_json::Value = serde_json::from_str(&types[0].schema).unwrap();
        assert_eq!((&schema["kind"], &schema["name"]), (&"struct".into(), &"Chat".into()));
        let names: Vec<_> =
            schema["fields"].as_array().unwrap().iter().map(|field| &field["name"]).collect();
        assert_eq!(names, ["name", "age", "lines"]);
    });
}

#[test]
fn a_ring_limits_its_publishers_and_subscribers() {
    on_both(
        || small().max_publishers(2).max_subscribers(3),
        |ring| {
            for _ in 0..3 {
                let publishers: Vec<_> = (0..2).map(|_| ring.publisher::<u64>().unwrap()).collect();
                let error = ring.publisher::<u64>().unwrap_err();
                assert!(matches!(error, OpenError::Full { what: "publishers", limit: 2 }));
                assert!(publishers[0].try_clone().is_err());
                let mut subscribers: Vec<_> =
                    (0..3).map(|_| ring.subscriber::<u64>().unwrap()).collect();
                let error = ring.any_subscriber().unwrap_err();
                assert!(matches!(error, OpenError::Full { what: "subscribers", limit: 3 }));
                assert!(subscribers[0].try_clone().is_err());
                assert!(ring.durable::<u64>("billing").is_err());
            }
        },
    );
}

#[test]
fn an_exclusive_ring_has_one_publisher_at_a_time() {
    on_both(
        || small().exclusive(),
        |ring| {
            for _ in 0..3 {
                let out = ring.publisher::<u64>().unwrap();
                for error in
                    [ring.publisher::<u64>().err().unwrap(), ring.any_publisher().err().unwrap()]
                {
                    let OpenError::PublisherTaken { name, pid } = error else { panic!("{error}") };
                    assert_eq!((&*name, pid), (ring.name(), std::process::id()));
                }
                drop(out);
            }
        },
    );
}

#[test]
fn endpoints_are_send_and_sync_for_any_packet() {
    fn send_sync<T: Send + Sync + std::fmt::Debug>() {}
    fn send<T: Send>() {}
    fn endpoints<T: Packet>() {
        send_sync::<Publisher<T>>();
        send_sync::<Subscriber<T>>();
    }
    // The fields alone would make `Publisher<Odd>` neither `Send` nor `Sync`.
    #[packet]
    struct Odd {
        mark: std::marker::PhantomData<u8>,
        list: Vec<Box<str>>,
    }
    fn guards<T: Packet + 'static>()
    where
        T::Archived: Send + Sync,
    {
        send::<Received<'static, T>>();
        send::<Batch<'static, T>>();
        send::<Copied<'static, T>>();
    }
    endpoints::<u64>();
    endpoints::<Odd>();
    endpoints::<Deep>();
    send_sync::<Ring>();
    send_sync::<AnyPublisher>();
    send_sync::<AnySubscriber>();
    guards::<u64>();
    guards::<Chat>();
    send::<Reserved<'static, u64>>();
    send::<ReservedTail<'static, u64, u8>>();
    send::<AnyReceived<'static>>();
    send::<OpenError>();
    send::<SendError>();
    send::<RecvError>();
}

#[test]
fn guards_can_be_dropped_by_another_thread() {
    on_all(small, |ring| {
        let (mut out, mut numbers) = pair::<u64>(&ring);
        let mut room = out.reserve().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                *room = 7.into();
                Reserved::commit(room);
            });
        });
        let number = numbers.recv().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                assert_eq!(*number, 7);
                drop(number);
            });
        });
        assert_eq!(fill(&mut out).0, 16);
    });
}

/// Runs `body` over rings of every kind in which guards can be forgotten.
fn on_every_overflow(body: impl Fn(Ring)) {
    for overflow in [Overflow::Block, Overflow::DropOldest] {
        on_all(|| small().overflow(overflow), &body);
    }
}

/// Publishes one lap, or until the subscriber's held slot or cursor stops it.
fn publish_a_lap(out: &mut Publisher<u64>) {
    for number in 100..116 {
        let _ = out.try_send(&number);
    }
}

#[test]
fn a_forgotten_packet_is_released_by_the_next_call() {
    on_every_overflow(|ring| {
        let (mut out, mut numbers) = pair::<u64>(&ring);
        for _ in 0..40 {
            out.try_send(&1).unwrap();
            out.try_send(&2).unwrap();
            forget(numbers.try_recv().unwrap());
            publish_a_lap(&mut out);
            assert!(
                matches!(out.try_send(&0), Err(TrySendError::Full { .. })),
                "the packet is still held"
            );
            assert_eq!(*numbers.try_recv().unwrap(), 2, "the forgotten packet was delivered again");
            while numbers.try_drain().is_ok() {}
            assert!(matches!(numbers.try_recv(), Err(TryRecvError::Empty)));
        }
    });
}

#[test]
fn a_forgotten_batch_is_released_by_the_next_call() {
    on_every_overflow(|ring| {
        let (mut out, mut numbers) = pair::<u64>(&ring);
        for _ in 0..40 {
            publish(&mut out, 16);
            let batch = numbers.drain().unwrap();
            assert_eq!(batch.len(), 16);
            forget(batch);
            assert!(
                matches!(out.try_send(&0), Err(TrySendError::Full { .. })),
                "the batch is still held"
            );
            assert!(
                matches!(numbers.try_recv(), Err(TryRecvError::Empty)),
                "the whole batch must be released"
            );
        }
    });
}

#[test]
fn a_forgotten_packet_of_any_type_is_released_by_the_next_call() {
    on_every_overflow(|ring| {
        let mut inbox = ring.any_subscriber().unwrap();
        let mut out = ring.publisher::<u64>().unwrap();
        for _ in 0..40 {
            out.try_send(&1).unwrap();
            out.try_send(&2).unwrap();
            forget(inbox.try_recv().unwrap());
            publish_a_lap(&mut out);
            assert!(
                matches!(out.try_send(&0), Err(TrySendError::Full { .. })),
                "the packet is still held"
            );
            assert_eq!(*inbox.try_recv().unwrap().open_as::<u64>().unwrap(), 2);
            while inbox.try_recv().is_ok() {}
        }
    });
}

#[test]
fn a_forgotten_packet_is_released_with_its_subscriber() {
    on_every_overflow(|ring| {
        let mut out = ring.publisher::<u64>().unwrap();
        for _ in 0..5 {
            let mut numbers = ring.subscriber::<u64>().unwrap();
            out.try_send(&1).unwrap();
            forget(numbers.try_recv().unwrap());
            publish_a_lap(&mut out);
            assert!(matches!(out.try_send(&0), Err(TrySendError::Full { .. })));
            drop(numbers);
            publish(&mut out, 100);
        }
    });
}

#[test]
fn a_forgotten_reservation_is_cancelled_by_the_next_call() {
    on_every_overflow(|ring| {
        let (mut out, mut numbers) = pair::<u64>(&ring);
        for round in 0..60 {
            let mut room = out.reserve().unwrap();
            *room = 99.into();
            forget(room);
            assert!(matches!(numbers.try_recv(), Err(TryRecvError::Empty)));
            out.try_send(&round).unwrap();
            assert_eq!(*numbers.try_recv().unwrap(), round);
            assert!(matches!(numbers.try_recv(), Err(TryRecvError::Empty)));
        }
    });
}

#[test]
fn a_forgotten_tail_reservation_is_cancelled_by_the_next_call() {
    on_every_overflow(|ring| {
        let (mut out, mut lines) = pair::<Tail<u64, u8>>(&ring);
        for round in 0..60 {
            let mut room = out.try_reserve_tail(300).unwrap();
            *room.head_mut() = 99.into();
            forget(room);
            assert!(matches!(lines.try_recv(), Err(TryRecvError::Empty)));
            out.send_all(&[Tail { head: round, tail: vec![] }]).unwrap();
            assert_eq!(lines.try_recv().unwrap().head, round);
            assert!(matches!(lines.try_recv(), Err(TryRecvError::Empty)));
        }
    });
}

#[test]
fn a_forgotten_reservation_is_cancelled_when_its_publisher_leaves() {
    for overflow in [Overflow::Block, Overflow::DropOldest] {
        on_both(
            || small().overflow(overflow),
            |ring| {
                let (mut out, mut numbers) = pair::<u64>(&ring);
                for round in 0..40 {
                    let mut leaving = out.try_clone().unwrap();
                    forget(leaving.reserve().unwrap());
                    out.try_send(&round).unwrap();
                    assert!(
                        matches!(numbers.try_recv(), Err(TryRecvError::Empty)),
                        "a later packet overtook an open claim"
                    );
                    drop(leaving);
                    assert_eq!(*numbers.try_recv().unwrap(), round);
                }
            },
        );
    }
}

#[test]
fn a_search_ends_at_its_timeout_despite_more_packets() {
    let ring = Ring::builder().heap().unwrap();
    let mut inbox = ring.subscriber::<u64>().unwrap();
    let mut out = ring.publisher::<u64>().unwrap();
    for number in 0..4000 {
        out.send(&number).unwrap();
    }
    let mut seen = 0;
    let slowly = |_: &_| {
        seen += 1;
        std::thread::sleep(SHORT);
        false
    };
    let outcome = inbox.recv_where_timeout(slowly, 4 * SHORT).map(|number| number.to_native());
    assert!(matches!(outcome, Err(RecvTimeoutError::Timeout)), "{outcome:?}");
    assert!(seen <= 4, "inspected {seen} packets, each for a quarter of the timeout");
}

#[test]
fn a_search_skips_packets_that_arrive_meanwhile() {
    let ring = Ring::builder().heap().unwrap();
    let mut inbox = ring.subscriber::<u64>().unwrap();
    let mut out = ring.publisher::<u64>().unwrap();
    out.send(&0).unwrap();
    let mut seen = 0;
    let outcome = inbox.try_recv_where(|_| {
        seen += 1;
        assert!(seen < 10, "the search also inspects packets that arrive meanwhile");
        out.send(&seen).unwrap();
        false
    });
    assert!(matches!(outcome.map(drop), Err(TryRecvError::Empty)));
    assert_eq!(*inbox.try_recv().unwrap(), 1);
}

#[test]
fn a_packet_seen_by_select_stays_in_the_backlog() {
    let ring = Ring::builder().heap().unwrap();
    let mut inbox = ring.subscriber::<u64>().unwrap();
    let mut out = ring.publisher::<u64>().unwrap();
    out.send(&1).unwrap();
    assert_eq!(packetring::try_select(&mut [&mut inbox]), Some(0));
    assert_eq!(inbox.backlog(), 1);
}
