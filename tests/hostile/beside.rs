//! A peer that never stops writing into the segment's words, while endpoints use it.
//!
//! Not into packets: what is written into a packet after it was checked defeats any check in place, and
//! is not promised to be survived. The packets here are numbers, of which any bytes are a value.

use super::case::stage::{KINDS, Stage};
use super::case::{Choices, damage, layout, ring};
use super::support::Noise;
use super::support::peer::{self, Peer, Role};
use packetring::{OpenError, Publisher, Ring, Subscriber};
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// Operations in each ring.
const ROUNDS: u64 = 10_000;

#[test]
fn every_operation_ends_beside_one_who_never_stops_writing() {
    for kind in 0..KINDS {
        let mut peer = Peer::start(&format!("beside-a-writer {kind}"));
        // Fails if it dies or hangs.
        peer.expect("done");
        peer.finish();
    }
}

/// The other process of this test. Arguments: kind of ring.
pub(crate) fn play(role: &Role) {
    let stage = Stage::new(role.number(0) as usize);
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| write(&stage, &over));
        use_it(&stage.ring);
        over.store(true, Ordering::Relaxed);
    });
    peer::say("done");
}

fn write(stage: &Stage, over: &AtomicBool) {
    let mut noise = Noise::of(3, 0);
    for round in 0_u64.. {
        if over.load(Ordering::Relaxed) {
            return;
        }
        if round.is_multiple_of(64) {
            // So that something is right again now and then.
            stage.restore_up_to(stage.layout.slots);
        }
        damage::strike_words(stage, &mut Choices::new(&noise.bytes(64)));
        // What makes scans begin again.
        stage.write(layout::Word { offset: layout::CLONES, width: 4 }, round);
    }
}

fn use_it(ring: &Ring) {
    let mut noise = Noise::of(4, 0);
    let (mut outs, mut ins): (Vec<Publisher<u64>>, Vec<Subscriber<u64>>) = Default::default();
    for _ in 0..ROUNDS {
        let number = noise.next();
        match number % 16 {
            0 => seat(&mut outs, &mut noise, ring.publisher()),
            1 => seat(&mut ins, &mut noise, ring.subscriber()),
            2 => seat(&mut ins, &mut noise, ring.durable("desk")),
            3 => ring::ask(ring, &mut Choices::new(&number.to_le_bytes()[1..])),
            4..10 => outs.iter_mut().for_each(|out| drop(black_box(out.try_send(&number)))),
            10 => outs.iter_mut().for_each(|out| drop(black_box(out.try_send_all(&[number; 70])))),
            11 => {
                let twin = ins.first_mut().map(Subscriber::try_clone);
                twin.into_iter().for_each(|twin| seat(&mut ins, &mut noise, twin));
            }
            12 => ins.iter_mut().for_each(|inbox| drop(black_box(inbox.try_drain()))),
            13 => ins.iter_mut().for_each(|inbox| drop(black_box(inbox.try_recv_copied()))),
            _ => ins.iter_mut().for_each(|inbox| drop(black_box(inbox.try_recv()))),
        }
    }
}

/// Gives a new endpoint a place, at times another's.
fn seat<E>(crowd: &mut Vec<E>, noise: &mut Noise, joined: Result<E, OpenError>) {
    let Ok(endpoint) = joined else { return };
    if crowd.len() == 2 {
        crowd.swap_remove(noise.below(2));
    }
    crowd.push(endpoint);
}
