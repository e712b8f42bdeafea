//! A message to one process by its name: run `cargo run --example inbox` in one terminal and
//! `cargo run --example inbox -- send` in another, in either order.
//!
//! Kill the receiver before it acknowledges a message: the next receiver gets the message again.

use packetring::{Worker, packet};
use std::time::Duration;

#[packet(borrowed)] // also makes `OrderRef`, whose item is a `&str`
struct Order {
    id: u64,
    item: String,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let cluster = std::env::var("CLUSTER").unwrap_or("inbox-example".into());
    if std::env::args().nth(1).as_deref() == Some("send") {
        let shop = Worker::join(&cluster, "shop")?;
        shop.wait_for_inbox_timeout("billing", Duration::from_secs(60))?;
        shop.send_to("billing", OrderRef { id: 7, item: "tea" })?;
    } else {
        let billing = Worker::join(&cluster, "billing")?;
        let mut inbox = billing.inbox()?;
        let message = inbox.recv()?;
        let order = message.open_as::<Order>()?;
        println!("order {} from {}: {}", order.id, message.sender(), order.item);
        message.ack(); // until here the message is delivered again after a crash
        drop(inbox);
        billing.leave()?; // gives up the name and the inbox
    }
    Ok(())
}
