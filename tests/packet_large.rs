//! Values that are larger than the stack are unpacked onto the heap.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use packetring::{
    Copied, Received, Reserved, Ring, Worker,
    cluster::Delivery,
    packet,
    packet::{unpack, unpack_boxed},
};
use support::{Watch, unique};

const LEN: usize = 6 << 20;

/// More than the stack of a test's thread.
type Frame = [u8; LEN];

/// A type that is not a byte copy of its archive.
#[packet]
struct Padded<T> {
    kind: u8,
    samples: [Option<T>; 300_000],
}

fn ring() -> Ring {
    Ring::builder().capacity(16 << 20).heap().unwrap()
}

#[test]
fn a_large_packet_is_sent_from_the_heap() {
    let frame = vec![3; LEN].into_boxed_slice();
    let frame: Box<Frame> = frame.try_into().unwrap();
    for builder in [Ring::builder().exclusive(), Ring::builder().shared()] {
        let ring = builder.capacity(16 << 20).heap().unwrap();
        let mut out = ring.publisher::<Frame>().unwrap();
        let mut all = ring.subscriber::<Frame>().unwrap();
        // The second one crosses the end of the lap, so it is claimed first.
        for _ in 0..3 {
            out.send(&*frame).unwrap();
            assert_eq!(all.recv().unwrap()[LEN - 1], 3);
        }
    }
}

#[test]
fn a_large_packet_is_unpacked_onto_the_heap() {
    let ring = ring();
    let mut out = ring.publisher::<Frame>().unwrap();
    let mut all = ring.subscriber::<Frame>().unwrap();
    for byte in [3, 4] {
        let mut frame = out.reserve().unwrap();
        frame.fill(byte);
        Reserved::commit(frame);
    }
    let frame = Received::unpack_boxed(all.recv().unwrap()).unwrap();
    assert_eq!((frame[0], frame[LEN - 1]), (3, 3));
    let frame = Copied::unpack_boxed(all.recv_copied().unwrap()).unwrap();
    assert_eq!((frame[0], frame[LEN - 1]), (4, 4));
}

#[test]
fn a_large_packet_of_any_type_is_unpacked_onto_the_heap() {
    let ring = ring();
    let mut out = ring.any_publisher().unwrap();
    let mut all = ring.any_subscriber().unwrap();
    // Making and sending this value takes a larger stack than that of a test.
    let send = move || {
        out.send(&Padded { kind: 2, samples: [Some(5_u64); 300_000] }).unwrap();
        out
    };
    let thread = std::thread::Builder::new().stack_size(256 << 20).spawn(send);
    let mut out = thread.unwrap().join().unwrap();
    out.send(&7_u8).unwrap();
    let message = all.recv().unwrap();
    let padded = unpack_boxed::<Padded<u64>>(message.open_as::<Padded<u64>>().unwrap()).unwrap();
    assert_eq!((padded.kind, padded.samples[299_999]), (2, Some(5)));
    drop(message);
    assert_eq!(unpack::<u8>(all.recv().unwrap().open_as::<u8>().unwrap()).unwrap(), 7);
}

#[test]
fn a_delivery_is_unpacked_onto_the_heap() {
    let _watch = Watch::start();
    let worker = Worker::join(&unique("large"), "worker").unwrap();
    let mut jobs = worker.queue::<u64>("jobs").unwrap();
    worker.queue_publisher::<u64>("jobs").unwrap().send(&9).unwrap();
    let job = jobs.recv().unwrap();
    assert_eq!(*Delivery::unpack_boxed(&job).unwrap(), 9);
    Delivery::ack(job);
}
