//! Drop-oldest rings and rings with history. Losses are counted, held packets stay intact, and late
//! subscribers start at the right packet.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod support;

use packetring::{
    Missed, Overflow, Packet, Publisher, Received, RecvError, RecvTimeoutError, Ring, RingBuilder,
    SendTimeoutError, Subscriber, Tail, TryRecvError, TrySendError, ValueError, WaitingFor, packet,
};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use support::{LONG, Noise, SHORT, on_all, on_both};

/// A packet of varying size whose content can be verified.
#[packet]
struct Note {
    from: u32,
    sequence: u64,
    bytes: Vec<u8>,
}

impl Note {
    fn make(from: u32, sequence: u64) -> Self {
        let mut noise = Noise::of(from, sequence);
        let len = noise.below(200);
        Self { from, sequence, bytes: noise.bytes(len) }
    }

    /// The number of slots of the packet.
    fn span(&self) -> u64 {
        (16 + self.bytes.len().next_multiple_of(8) as u64 + 24).div_ceil(64)
    }
}

impl ArchivedNote {
    #[track_caller]
    fn check(&self) -> (u32, u64) {
        let (from, sequence) = (self.from.to_native(), self.sequence.to_native());
        let expected = Note::make(from, sequence);
        assert_eq!(self.bytes, expected.bytes, "{from}: {sequence}");
        (from, sequence)
    }
}

/// A drop-oldest ring of 16 slots.
fn dropping() -> RingBuilder {
    Ring::builder().capacity(1024).overflow(Overflow::DropOldest)
}

fn pair<T: Packet>(ring: &Ring) -> (Publisher<T>, Subscriber<T>) {
    let subscriber = ring.subscriber().unwrap();
    (ring.publisher().unwrap(), subscriber)
}

#[track_caller]
fn publish(out: &mut Publisher<u64>, numbers: Range<u64>) {
    for number in numbers {
        out.try_send(&number).unwrap();
    }
}

#[track_caller]
fn expect_missed<T: Packet>(subscriber: &mut Subscriber<T>, packets: u64) {
    match subscriber.try_recv().map(drop) {
        Err(TryRecvError::Missed(missed)) => assert_eq!(missed, Missed { packets, exact: true }),
        Err(error) => panic!("{error}"),
        Ok(()) => panic!("got a packet instead of a loss report"),
    }
}

#[test]
fn a_slow_subscriber_loses_the_minimum_and_knows_the_number() {
    on_all(dropping, |ring| {
        let (mut out, mut slow) = pair::<u64>(&ring);
        let mut fast = ring.subscriber::<u64>().unwrap();
        let mut sent = 0;
        for lost in [1, 7, 16, 17, 100] {
            for _ in 0..16 + lost {
                out.try_send(&sent).unwrap();
                assert_eq!(*fast.try_recv().unwrap(), sent);
                sent += 1;
            }
            expect_missed(&mut slow, lost);
            for number in sent - 16..sent {
                assert_eq!(*slow.try_recv().unwrap(), number);
            }
            assert!(matches!(slow.try_recv(), Err(TryRecvError::Empty)));
        }
        drop(out);
        assert!(matches!(slow.try_recv(), Err(TryRecvError::Closed)));
        assert!(matches!(fast.try_recv(), Err(TryRecvError::Closed)));
    });
}

#[test]
fn every_receive_method_reports_losses() {
    on_all(dropping, |ring| {
        let (mut out, mut slow) = pair::<u64>(&ring);
        let mut lap = || publish(&mut out, 0..20);
        let lost = |packets| Missed { packets, exact: true };
        lap();
        assert!(matches!(slow.recv(), Err(RecvError::Missed(all)) if all == lost(4)));
        lap();
        assert!(matches!(slow.try_drain(), Err(TryRecvError::Missed(all)) if all == lost(20)));
        lap();
        assert!(matches!(slow.recv_copied(), Err(RecvError::Missed(all)) if all == lost(20)));
        lap();
        assert!(
            matches!(slow.recv_where(|_| true), Err(RecvError::Missed(all)) if all == lost(20))
        );
        lap();
        let value = slow.values().next().unwrap();
        assert!(matches!(value, Err(ValueError::Recv(RecvError::Missed(all))) if all == lost(20)));
        lap();
        assert_eq!(packetring::try_select(&mut [&mut slow]), Some(0));
        let late = slow.recv_timeout(LONG).map(drop);
        assert!(matches!(late, Err(RecvTimeoutError::Missed(all)) if all == lost(20)));
        assert_eq!(slow.drain().unwrap().len(), 16);
    });
}

#[test]
fn losses_are_counted_in_packets_of_any_size() {
    on_all(dropping, |ring| {
        let (mut out, mut slow) = pair::<Note>(&ring);
        let mut noise = Noise::of(0, 1);
        let (mut sent, mut next) = (0, 0);
        for _ in 0..400 {
            for _ in 0..noise.below(40) {
                out.try_send(&Note::make(0, sent)).unwrap();
                sent += 1;
            }
            // Some rounds leave packets for the next.
            for _ in 0..noise.below(30) {
                match slow.try_recv() {
                    Ok(note) => {
                        assert_eq!(note.check(), (0, next));
                        next += 1;
                    }
                    Err(TryRecvError::Missed(missed)) => {
                        assert!(missed.exact && missed.packets > 0);
                        next += missed.packets;
                    }
                    Err(TryRecvError::Empty) => assert_eq!(next, sent),
                    Err(error) => panic!("{error}"),
                }
            }
        }
    });
}

#[test]
fn cancelled_reservations_are_not_counted_as_missed() {
    on_both(dropping, |ring| {
        let (mut out, mut slow) = pair::<u64>(&ring);
        for number in 0..40 {
            drop(out.try_reserve().unwrap());
            out.try_send(&number).unwrap();
        }
        // Sixteen slots: eight numbers and eight cancelled reservations.
        expect_missed(&mut slow, 32);
        for number in 32..40 {
            assert_eq!(*slow.try_recv().unwrap(), number);
        }
        // Only cancelled reservations are evicted, so nothing is lost.
        (0..40).for_each(|_| drop(out.try_reserve().unwrap()));
        assert!(matches!(slow.try_recv(), Err(TryRecvError::Empty)));
    });
}

#[test]
fn a_held_packet_is_not_evicted() {
    on_all(dropping, |ring| {
        let (mut out, mut numbers) = pair::<u64>(&ring);
        let waiting = WaitingFor::Subscriber { pid: std::process::id() };
        publish(&mut out, 0..20);
        expect_missed(&mut numbers, 4);
        let held = numbers.try_recv().unwrap();
        let full = out.try_send(&99).unwrap_err();
        assert!(matches!(full, TrySendError::Full { waiting_for } if waiting_for == waiting));
        let late = out.send_timeout(&99, SHORT).unwrap_err();
        assert!(
            matches!(late, SendTimeoutError::Timeout { waiting_for } if waiting_for == waiting)
        );
        assert_eq!(*held, 4);
        drop(held);
        out.try_send(&20).unwrap();
        let batch = numbers.drain().unwrap();
        assert!(batch.iter().map(|number| number.to_native()).eq(5..21));
        assert!(matches!(out.try_send(&99), Err(TrySendError::Full { .. })));
        assert!(batch.iter().map(|number| number.to_native()).eq(5..21));
        drop(batch);
        publish(&mut out, 21..60);
        // A returned packet is no longer held, so it can be evicted.
        expect_missed(&mut numbers, 60 - 16 - 21);
        Received::unreceive(numbers.try_recv().unwrap());
        publish(&mut out, 60..70);
        expect_missed(&mut numbers, 10);
    });
}

/// Stops the publishers when it is dropped, also by a panic.
struct Running<'a>(&'a AtomicBool);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

/// Publishes until `running` is false and adds the number of packets to `sent`.
fn publish_while(running: &AtomicBool, ring: &Ring, from: u32, sent: &AtomicUsize) {
    let mut out = ring.publisher::<Note>().unwrap();
    let mut sequence = 0;
    while running.load(Ordering::Relaxed) {
        match out.try_send(&Note::make(from, sequence)) {
            Ok(_) => sequence += 1,
            // A subscriber holds the oldest packet.
            Err(TrySendError::Full { .. }) => std::thread::yield_now(),
            Err(error) => panic!("{error}"),
        }
    }
    sent.fetch_add(sequence as usize, Ordering::Relaxed);
}

/// Packets that one subscriber received and missed.
#[derive(Default)]
struct Tally {
    received: u64,
    missed: u64,
    /// Whether all loss reports were exact.
    exact: bool,
    /// The lowest sequence number expected from each publisher.
    next: [u64; 3],
}

impl Tally {
    fn new() -> Self {
        Self { exact: true, ..Self::default() }
    }

    #[track_caller]
    fn got(&mut self, note: &ArchivedNote) {
        let (from, sequence) = note.check();
        let next = &mut self.next[from as usize];
        assert!(sequence >= *next, "publisher {from}: got {sequence}, expected at least {next}");
        *next = sequence + 1;
        self.received += 1;
    }

    fn lost(&mut self, missed: Missed) {
        assert!(missed.packets > 0 || !missed.exact);
        self.missed += missed.packets;
        self.exact &= missed.exact;
    }
}

/// Reads until the ring closes. Holds each packet for `delay` yields and verifies it again after
/// each.
fn read_all(mut notes: Subscriber<Note>, delay: usize, batches: bool) -> Tally {
    let mut tally = Tally::new();
    loop {
        let error = if batches {
            notes.drain_timeout(LONG).map(|batch| {
                batch.iter().for_each(|note| tally.got(note));
                for _ in 0..delay {
                    std::thread::yield_now();
                    for note in &batch {
                        note.check();
                    }
                }
            })
        } else {
            notes.recv_timeout(LONG).map(|note| {
                tally.got(&note);
                for _ in 0..delay {
                    std::thread::yield_now();
                    note.check();
                }
            })
        };
        match error {
            Ok(()) => {}
            Err(RecvTimeoutError::Missed(missed)) => tally.lost(missed),
            Err(RecvTimeoutError::Closed) => return tally,
            Err(error) => panic!("{error}"),
        }
    }
}

/// Several publishers lap several subscribers. Each subscriber must account for every packet.
fn assert_every_packet_is_accounted_for(ring: &Ring, publishers: u32) {
    let (running, sent) = (AtomicBool::new(true), AtomicUsize::new(0));
    let tallies = std::thread::scope(|scope| {
        let readers: Vec<_> = [(0, false), (3, false), (2, true), (20, false)]
            .into_iter()
            .map(|(delay, batches)| {
                let notes = ring.subscriber::<Note>().unwrap();
                scope.spawn(move || read_all(notes, delay, batches))
            })
            .collect();
        for from in 0..publishers {
            let (running, sent) = (&running, &sent);
            scope.spawn(move || publish_while(running, ring, from, sent));
        }
        // A separate subscriber counts packets to decide when to stop.
        let stop = Running(&running);
        let mut counter = ring.subscriber::<Note>().unwrap();
        let mut read = 0;
        while read < 4000 {
            match counter.recv_timeout(LONG).map(|note| note.check()) {
                Ok(_) => read += 1,
                Err(RecvTimeoutError::Missed(_)) => {}
                Err(error) => panic!("{error}"),
            }
        }
        drop((counter, stop));
        readers.into_iter().map(|reader| reader.join().unwrap()).collect::<Vec<_>>()
    });
    let sent = sent.into_inner() as u64;
    for tally in tallies {
        let sum = tally.received + tally.missed;
        // A publisher preempted during an eviction makes a loss report inexact: a lower bound.
        assert!(sum <= sent, "{} + {} of {sent}", tally.received, tally.missed);
        assert!(!tally.exact || sum == sent, "{} + {} of {sent}", tally.received, tally.missed);
    }
}

#[test]
fn every_packet_is_received_or_reported_as_missed() {
    on_both(|| dropping().exclusive(), |ring| assert_every_packet_is_accounted_for(&ring, 1));
    on_both(|| dropping().shared(), |ring| assert_every_packet_is_accounted_for(&ring, 3));
}

#[test]
fn a_gap_is_as_wide_as_the_reported_loss() {
    on_all(dropping, |ring| {
        let running = AtomicBool::new(true);
        let (mut numbers, mut next) = (ring.subscriber::<Note>().unwrap(), 0);
        std::thread::scope(|scope| {
            scope.spawn(|| publish_while(&running, &ring, 0, &AtomicUsize::new(0)));
            let _stop = Running(&running);
            let mut exact = true;
            for turn in 0..3000 {
                match numbers.recv_timeout(LONG) {
                    Ok(note) => {
                        let (_, sequence) = note.check();
                        assert!(if exact { sequence == next } else { sequence >= next });
                        (next, exact) = (sequence + 1, true);
                        (0..turn % 7).for_each(|_| std::thread::yield_now());
                        note.check();
                    }
                    Err(RecvTimeoutError::Missed(missed)) => {
                        next += missed.packets;
                        exact &= missed.exact;
                    }
                    Err(error) => panic!("{error}"),
                }
            }
        });
    });
}

#[test]
fn late_subscribers_and_clones_start_at_a_packet_boundary() {
    for history in [0, 3] {
        on_all(
            || dropping().history(history),
            |ring| {
                let running = AtomicBool::new(true);
                std::thread::scope(|scope| {
                    scope.spawn(|| publish_while(&running, &ring, 0, &AtomicUsize::new(0)));
                    let _stop = Running(&running);
                    for turn in 0..300 {
                        let mut late = ring.subscriber::<Note>().unwrap();
                        follow(&mut late, 3);
                        if turn % 3 == 0 {
                            follow(&mut late.try_clone().unwrap(), 3);
                        }
                    }
                });
            },
        );
    }
}

/// Reads `count` packets and asserts that each gap was reported.
fn follow(notes: &mut Subscriber<Note>, count: usize) {
    let mut next = None;
    let (mut read, mut missed) = (0, Some(0));
    while read < count {
        match notes.recv_timeout(LONG) {
            Ok(note) => {
                let (_, sequence) = note.check();
                if let (Some(next), Some(missed)) = (next, missed) {
                    assert_eq!(sequence, next + missed);
                }
                (next, missed) = (Some(sequence + 1), Some(0));
                read += 1;
            }
            Err(RecvTimeoutError::Missed(lost)) => {
                missed = missed.filter(|_| lost.exact).map(|sum| sum + lost.packets);
            }
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn without_history_a_late_subscriber_starts_at_the_next_packet() {
    for overflow in [Overflow::Block, Overflow::DropOldest] {
        on_all(
            || dropping().overflow(overflow),
            |ring| {
                let mut out = ring.publisher::<u64>().unwrap();
                for number in 0..40 {
                    let mut late = ring.subscriber::<u64>().unwrap();
                    assert!(matches!(late.try_recv(), Err(TryRecvError::Empty)));
                    assert_eq!(late.backlog(), 0);
                    out.try_send(&number).unwrap();
                    assert_eq!(*late.try_recv().unwrap(), number);
                }
            },
        );
    }
}

#[test]
fn a_late_subscriber_starts_exactly_at_the_history() {
    for overflow in [Overflow::Block, Overflow::DropOldest] {
        for history in [1, 3, 8] {
            on_all(
                || dropping().overflow(overflow).history(history),
                |ring| {
                    let mut out = ring.publisher::<u64>().unwrap();
                    for sent in 0..60_u64 {
                        let mut late = ring.subscriber::<u64>().unwrap();
                        for number in sent.saturating_sub(history as u64)..sent {
                            assert_eq!(*late.try_recv().unwrap(), number);
                        }
                        assert!(matches!(late.try_recv(), Err(TryRecvError::Empty)));
                        out.try_send(&sent).unwrap();
                        assert_eq!(*late.try_recv().unwrap(), sent);
                    }
                },
            );
        }
    }
}

#[test]
fn history_of_mixed_sizes_keeps_what_fits() {
    // Sixty-four slots, of which history keeps 32.
    const KEPT: u64 = 32;
    for overflow in [Overflow::Block, Overflow::DropOldest] {
        for history in [1, 5, 12] {
            let settings = || dropping().capacity(4096).overflow(overflow).history(history);
            on_all(settings, |ring| {
                let mut out = ring.publisher::<Note>().unwrap();
                // Start and end position of each packet.
                let mut places: Vec<(u64, u64)> = Vec::new();
                for sequence in 0..400 {
                    let note = Note::make(0, sequence);
                    let position = out.try_send(&note).unwrap();
                    places.push((position, position + note.span()));
                    let sent = sequence + 1;
                    let tail = position + note.span();
                    let kept = places.iter().rev().take_while(|(start, _)| start + KEPT >= tail);
                    let least = kept.count().min(history) as u64;
                    let mut late = ring.subscriber::<Note>().unwrap();
                    let mut received = Vec::new();
                    while let Ok(note) = late.try_recv() {
                        received.push(note.check().1);
                    }
                    assert!(
                        received.iter().copied().eq(sent - received.len() as u64..sent),
                        "{received:?}"
                    );
                    assert!((least..=history as u64).contains(&(received.len() as u64)));
                }
            });
        }
    }
}

#[test]
fn history_does_not_count_cancelled_reservations() {
    on_both(
        || dropping().capacity(2048).history(3),
        |ring| {
            let mut out = ring.publisher::<Tail<u64, u8>>().unwrap();
            for number in 0..60 {
                out.try_send(&Tail { head: number, tail: vec![0; 3] }).unwrap();
                drop(out.try_reserve_tail(100).unwrap());
                let mut late = ring.subscriber::<Tail<u64, u8>>().unwrap();
                for expected in number.saturating_sub(2)..=number {
                    assert_eq!(late.try_recv().unwrap().head, expected);
                }
                assert!(matches!(late.try_recv(), Err(TryRecvError::Empty)));
            }
        },
    );
}

#[test]
fn history_does_not_block_publishers() {
    for overflow in [Overflow::Block, Overflow::DropOldest] {
        on_all(
            || dropping().overflow(overflow).history(8),
            |ring| {
                let mut out = ring.publisher::<[u8; 240]>().unwrap();
                for byte in 0..200 {
                    out.try_send(&[byte; 240]).unwrap();
                }
                let mut late = ring.subscriber::<[u8; 240]>().unwrap();
                let batch = late.drain().unwrap();
                assert!((1..=8).contains(&batch.len()));
                assert_eq!(batch[batch.len() - 1], [199; 240]);
            },
        );
    }
}
