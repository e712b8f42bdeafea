//! Prints the packets of a ring as JSON lines, of all types and without knowing them.
//!
//! Run `cargo run --features dynamic --example dynamic -- prices` beside a program that has the
//! ring `prices` open. `--send JSON` sends a packet of the ring's first type instead.

use packetring::any::AnyReceived;
use packetring::dynamic::Schema;
use packetring::packet::Fingerprint;
use packetring::{RecvError, Ring};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match &arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [ring] => print(&Ring::open(ring)?),
        [ring, "--send", json] => send(&Ring::open(ring)?, json),
        _ => Err("usage: dynamic RING [--send JSON]".into()),
    }
}

fn print(ring: &Ring) -> Result<(), Box<dyn Error>> {
    let mut schemas = HashMap::new();
    let mut packets = ring.any_subscriber()?;
    loop {
        match packets.recv().and_then(|packet| line(&packet, &mut schemas)) {
            Ok(line) => println!("{line}"),
            Err(RecvError::Closed) => return Ok(()),
            Err(error @ (RecvError::Missed(_) | RecvError::Corrupt(_))) => eprintln!("{error}"),
            Err(error) => return Err(error.into()),
        }
    }
}

fn line(
    packet: &AnyReceived<'_>,
    schemas: &mut HashMap<Option<Fingerprint>, Schema>,
) -> Result<String, RecvError> {
    let schema = match schemas.entry(packet.fingerprint()) {
        Entry::Occupied(known) => known.into_mut(),
        Entry::Vacant(new) => new.insert(packet.schema()?),
    };
    let (position, name) = (packet.info().position, serde_json::json!(schema.name()));
    let value = packet.value(schema)?;
    Ok(format!(r#"{{"position":{position},"type":{name},"packet":{value}}}"#))
}

fn send(ring: &Ring, json: &str) -> Result<(), Box<dyn Error>> {
    let types = ring.types();
    let schema = types.first().ok_or("the ring has no packet type yet")?.layout()?;
    let packet = schema.encode(&serde_json::from_str(json)?)?;
    ring.any_publisher()?.send_value(schema.read(&packet)?)?;
    Ok(())
}
