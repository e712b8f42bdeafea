//! Two processes that chat, each with one task: run
//! `cargo run --features async --example async_chat -- alice bob` in one terminal, and the same
//! with `-- bob alice` in another. Ctrl-D ends it.

use packetring::{Worker, packet};
use tokio::io::{AsyncBufReadExt, BufReader, stdin};

#[packet(borrowed)] // also makes `ChatRef`, whose text is a `&str`
struct Chat {
    text: String,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut names = std::env::args().skip(1);
    let own = names.next().unwrap_or("alice".into());
    let other = names.next().unwrap_or("bob".into());
    let cluster = std::env::var("CLUSTER").unwrap_or("chat-example".into());

    let worker = Worker::join(&cluster, &own)?;
    let mut inbox = worker.inbox()?;
    let mut lines = BufReader::new(stdin()).lines();
    println!("{own} writes to {other}");
    loop {
        tokio::select! {
            // The branch that does not win is dropped, and loses nothing.
            message = inbox.recv_async() => {
                let message = message?;
                println!("{other}: {}", message.open_as::<Chat>()?.text);
                message.ack();
            }
            line = lines.next_line() => {
                let Some(text) = line? else { break };
                if let Err(error) = worker.try_send_to(&other, ChatRef { text: &text }) {
                    println!("not sent: {error}");
                }
            }
        }
    }
    drop(inbox);
    Ok(worker.leave()?)
}
