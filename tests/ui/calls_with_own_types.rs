//! A call with a type without `#[packet]`: its first error names the cure.

use packetring::cluster::{Context, Emitter, Events, Inbox};
use packetring::{Board, Latest, Ring, Worker};

struct Plain {
    x: u32,
}

fn handlers(events: &mut Events<'_>, context: &mut Context<'_>) {
    events.on::<Plain>("it", |_, _| {});
    events.try_once::<Plain>("it", |_, _| Ok(()));
    context.prepend::<Plain>("it", |_, _| {});
}

fn messages(inbox: &mut Inbox) {
    let message = inbox.recv().unwrap();
    let _ = message.open_as::<Plain>();
}

fn endpoints(ring: &Ring, worker: &Worker) {
    let _ = ring.publisher::<Plain>();
    let _ = ring.subscriber::<Plain>();
    let _ = worker.queue::<Plain>("it");
    let _ = worker.service::<Plain, u64>("it");
    let _ = worker.client::<u64, Plain>("it");
    let _ = worker.board::<Plain>("it");
    let _ = worker.latest::<Plain>("it");
}

struct Fields {
    board: Board<Plain>,
    latest: Latest<Plain>,
}

fn sends(worker: &Worker, emitter: &mut Emitter) {
    let _ = worker.send_to("it", &Plain { x: 1 });
    let _ = emitter.emit("it", &Plain { x: 1 });
}

fn main() {}
