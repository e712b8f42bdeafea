//! The smallest program of two processes: run `cargo run --example hello` in one terminal and
//! `cargo run --example hello -- send` in another, in either order.

use packetring::{Ring, packet};

#[packet]
struct Chat {
    name: String,
    text: String,
}

impl ArchivedChat {
    fn line(&self) -> String {
        format!("{}: {}", self.name, self.text)
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let name = std::env::var("RING").unwrap_or("hello".into());
    let ring = Ring::open(&name)?; // the first process creates it
    if std::env::args().nth(1).as_deref() == Some("send") {
        let mut publisher = ring.publisher::<Chat>()?;
        publisher.wait_for_subscribers(1)?;
        publisher.send(&Chat { name: "Ada".into(), text: "hello".into() })?;
    } else {
        let mut subscriber = ring.subscriber::<Chat>()?;
        let chat = subscriber.recv()?; // an &ArchivedChat in the ring, checked
        println!("{}", chat.line());
    }
    Ok(())
}
