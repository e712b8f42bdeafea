//! The second process of `bench`: it answers packets, or counts them.

use super::sides::{PATIENCE, Packet, Part, Plan, wrong};
use crate::doctor::cores;
use crate::output::Failure;
use packetring::{Publisher, RecvTimeoutError};
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Runs until the publisher of the first process leaves. Prints `ready`, and at the end the number
/// of packets.
pub(super) fn run(plan: &Plan) -> Result<(), Failure> {
    // Ctrl-C at a terminal reaches both processes. The first one ends this one, so that no ring
    // stays.
    let ignored = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(signal_hook::consts::SIGINT, ignored).map_err(Failure::failed)?;
    cores::pin(plan.cores[1]);
    let answers = match plan.part {
        Part::RoundTrips => Some(plan.ring("from")?),
        Part::Stream => None,
    };
    let name = if answers.is_some() { "to" } else { "stream" };
    let mut answers: Option<Publisher<Packet>> =
        answers.map(|ring| ring.publisher().map_err(Failure::failed)).transpose()?;
    let mut packets = plan.ring(name)?.subscriber::<Packet>().map_err(Failure::failed)?;
    say("ready")?;
    let mut received = 0;
    loop {
        let number = match packets.recv_timeout(PATIENCE) {
            Ok(packet) => packet[5].to_native(),
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Closed) => break,
            Err(error) => return Err(Failure::failed(error)),
        };
        received += 1;
        if number != received {
            return Err(wrong(received, number));
        }
        if let Some(answers) = &mut answers {
            answers.send(&[number; 6]).map_err(Failure::failed)?;
        }
    }
    say(&received.to_string())
}

/// Tells the first process something.
fn say(line: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout();
    writeln!(out, "{line}").and_then(|()| out.flush()).map_err(Failure::from)
}
