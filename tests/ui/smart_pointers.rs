//! A smart pointer or guard where a packet is expected: the error says to pass `&*value`.

use packetring::{Publisher, Worker, packet};
use std::sync::{Arc, Mutex};

#[packet]
struct Job {
    id: u32,
}

fn typed(publisher: &mut Publisher<Job>, boxed: Box<Job>, shared: Arc<Job>, lock: &Mutex<Job>) {
    let _ = publisher.send(&boxed);
    let _ = publisher.send(&shared);
    let _ = publisher.send(&lock.lock().unwrap());
    // The cure.
    let _ = publisher.send(&*boxed);
    let _ = publisher.send(&*shared);
    let _ = publisher.send(&*lock.lock().unwrap());
}

fn untyped(worker: &Worker, shared: &Arc<Job>) {
    let _ = worker.send_to("it", shared);
}

fn main() {}
