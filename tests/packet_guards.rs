//! Guards are `Send` and `Sync`: each is a reference to a packet, and all archived packets are.

use packetring::{
    Batch, BatchIter, Copied, Received, Reserved, ReservedTail,
    any::{AnyBatch, AnyBatchIter, AnyPacket, AnyReceived},
    cluster::{Delivery, Message, Reply, Request},
    packet,
};

#[packet]
struct Chat {
    name: String,
    lines: Vec<Box<str>>,
    next: Option<Box<Chat>>,
}

const fn is_send_and_sync<T: Send + Sync>() {}

const _: () = {
    is_send_and_sync::<Received<'_, Chat>>();
    is_send_and_sync::<Copied<'_, Chat>>();
    is_send_and_sync::<Batch<'_, Chat>>();
    is_send_and_sync::<BatchIter<'_, Chat>>();
    is_send_and_sync::<Reserved<'_, u64>>();
    is_send_and_sync::<ReservedTail<'_, u64, u8>>();
    is_send_and_sync::<AnyReceived<'_>>();
    is_send_and_sync::<AnyBatch<'_>>();
    is_send_and_sync::<AnyBatchIter<'_>>();
    is_send_and_sync::<AnyPacket<'_>>();
    is_send_and_sync::<Message<'_>>();
    is_send_and_sync::<Delivery<'_, Chat>>();
    is_send_and_sync::<Request<'_, Chat, Chat>>();
    is_send_and_sync::<Reply<Chat>>();
};

/// `tests/ui/one_thread.rs` has the other half: a type whose archive is not `Sync` is no packet.
#[test]
fn the_assertions_above_compile() {
    let _ = is_send_and_sync::<ArchivedChat>;
}
