//! Endpoints beside a thread that writes into the segment's words without pause.
//!
//! The thread does not write into packets. Writes into a packet after its validation defeat any
//! check in place, and surviving them is not promised. All packets here are numbers, for which any
//! bytes are valid.

use super::case::board::{self, TestBoard};
use super::case::segment::{KINDS, TestSegment};
use super::case::{Choices, damage, layout, ring};
use super::support::Noise;
use super::support::peer::{self, Peer, Role};
use packetring::board::{BoardReader, BoardWriter, CellValue};
use packetring::{Board, OpenError, Publisher, Ring, Subscriber, try_select};
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// Operations in each ring.
const ROUNDS: u64 = 10_000;

#[test]
fn operations_end_beside_a_constant_writer() {
    for kind in 0..KINDS {
        let mut peer = Peer::start(&format!("beside-a-writer {kind}"));
        // Fails if it dies or hangs.
        peer.expect("done");
        peer.finish();
    }
}

#[test]
fn boards_are_usable_beside_a_constant_writer() {
    for kind in 0..board::KINDS {
        let mut peer = Peer::start(&format!("board-beside-a-writer {kind}"));
        peer.expect("done");
        peer.finish();
    }
}

/// Runs the peer process of the test of boards. Argument: the kind of board.
pub(crate) fn play_board(role: &Role) {
    let test = TestBoard::new(role.number(0) as usize, |round| round as u64);
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| write_board(&test, &over));
        use_board(&test.board);
        over.store(true, Ordering::Relaxed);
    });
    peer::say("done");
}

fn write_board(test: &TestBoard<u64>, over: &AtomicBool) {
    let mut noise = Noise::of(5, 0);
    for round in 0_u64.. {
        if over.load(Ordering::Relaxed) {
            return;
        }
        if round.is_multiple_of(64) {
            // Restores the words, so that valid states occur too.
            test.restore_words();
        }
        damage::damage_board_words(&test.object, &mut Choices::new(&noise.bytes(64)));
    }
}

fn use_board(board: &Board<u64>) {
    let mut noise = Noise::of(6, 0);
    let (mut readers, mut writers): (Vec<BoardReader<u64>>, Vec<BoardWriter<u64>>) =
        Default::default();
    for _ in 0..ROUNDS {
        let number = noise.next();
        let key = ["a", "b", "c"][noise.below(3)];
        match number % 16 {
            0 => add(&mut readers, &mut noise, board.reader()),
            1 => add(&mut writers, &mut noise, board.writer()),
            2 => drop(black_box(board.keys())),
            3..8 => writers
                .iter_mut()
                .for_each(|writer| drop(black_box(writer.try_write(key, &number)))),
            8 => {
                for reader in &mut readers {
                    let Ok(cell) = reader.cell(key) else { continue };
                    let mut change = reader.change_of(cell).unwrap();
                    black_box(try_select(&mut [&mut change]));
                }
            }
            9 => readers.iter_mut().for_each(|reader| drop(black_box(reader.try_changed(key)))),
            _ => readers.iter_mut().for_each(|reader| {
                let read = reader.read(key).map(|value| CellValue::unpack(value).unwrap());
                let _ = black_box(read);
            }),
        }
    }
}

/// Runs the peer process of the test of rings. Argument: the kind of ring.
pub(crate) fn play(role: &Role) {
    let segment = TestSegment::new(role.number(0) as usize);
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| write(&segment, &over));
        use_ring(&segment.ring);
        over.store(true, Ordering::Relaxed);
    });
    peer::say("done");
}

fn write(segment: &TestSegment, over: &AtomicBool) {
    let mut noise = Noise::of(3, 0);
    for round in 0_u64.. {
        if over.load(Ordering::Relaxed) {
            return;
        }
        if round.is_multiple_of(64) {
            // Restores the words, so that valid states occur too.
            segment.restore_up_to(segment.layout.slots);
        }
        damage::damage_words(segment, &mut Choices::new(&noise.bytes(64)));
        // Makes scans start again.
        segment.write(layout::Word { offset: layout::CLONES, width: 4 }, round);
    }
}

fn use_ring(ring: &Ring) {
    let mut noise = Noise::of(4, 0);
    let (mut publishers, mut subscribers): (Vec<Publisher<u64>>, Vec<Subscriber<u64>>) =
        Default::default();
    for _ in 0..ROUNDS {
        let number = noise.next();
        match number % 16 {
            0 => add(&mut publishers, &mut noise, ring.publisher()),
            1 => add(&mut subscribers, &mut noise, ring.subscriber()),
            2 => add(&mut subscribers, &mut noise, ring.durable("shop")),
            3 => ring::query(ring, &mut Choices::new(&number.to_le_bytes()[1..])),
            4..10 => publishers
                .iter_mut()
                .for_each(|publisher| drop(black_box(publisher.try_send(&number)))),
            10 => publishers
                .iter_mut()
                .for_each(|publisher| drop(black_box(publisher.try_send_all(&[number; 70])))),
            11 => {
                let clone = subscribers.first_mut().map(Subscriber::try_clone);
                clone.into_iter().for_each(|clone| add(&mut subscribers, &mut noise, clone));
            }
            12 => subscribers
                .iter_mut()
                .for_each(|subscriber| drop(black_box(subscriber.try_drain()))),
            13 => subscribers
                .iter_mut()
                .for_each(|subscriber| drop(black_box(subscriber.try_recv_copied()))),
            _ => {
                subscribers.iter_mut().for_each(|subscriber| drop(black_box(subscriber.try_recv())))
            }
        }
    }
}

/// Adds a new endpoint. If two exist, it replaces one of them.
fn add<E>(list: &mut Vec<E>, noise: &mut Noise, joined: Result<E, OpenError>) {
    let Ok(endpoint) = joined else { return };
    if list.len() == 2 {
        list.swap_remove(noise.below(2));
    }
    list.push(endpoint);
}
