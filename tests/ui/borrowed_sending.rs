//! Values that cannot be sent as the packet type of an endpoint.

use packetring::{Publisher, Worker, packet, packet::Borrowed};
use std::sync::Arc;

#[packet(borrowed)]
struct Chat {
    name: String,
}

struct Plain;

fn send(out: &mut Publisher<Chat>, chat: Arc<Chat>) {
    let _ = out.send(&ChatRef { name: "by reference" });
    let _ = out.send(&chat);
    let _ = out.send(Chat { name: String::new() });
    let _ = out.send(Borrowed("a text"));
}

fn send_all(out: &mut Publisher<Chat>, list: Arc<[Chat]>) {
    let _ = out.send_all(&[ChatRef { name: "by reference" }]);
    let _ = out.send_all(&list);
    let _ = out.send_all([Plain]);
    let _ = out.send_all(list.iter());
}

fn send_to(worker: &Worker) {
    let _ = worker.send_to("bob", &Plain);
    let _ = worker.send_to("bob", 7);
}

fn main() {}
