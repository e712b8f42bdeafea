//! The two hot paths as separate functions, to inspect their machine code:
//!
//! ```text
//! cargo build --release --example hot_path
//! objdump -dC --disassemble=hot_path::exclusive_send target/release/examples/hot_path
//! objdump -dC --disassemble=hot_path::block_recv target/release/examples/hot_path
//! strace -c target/release/examples/hot_path        # the calls do not grow with the rounds
//! ```
//!
//! `.ci/hot-path` checks them for locked instructions, fences and system calls. The functions they
//! call are cold: waiting, waking, errors, and the recomputation of the limit. The limit is
//! recomputed once a lap, or when the ring is full; this contains the only fence.

use packetring::{Publisher, Ring, SendError, Subscriber, packet};

#[packet]
struct Tick {
    symbol: u64,
    bid: u64,
    ask: u64,
    volume: u64,
    at: u64,
    sequence: u64,
}

/// Publishes a packet of 48 archived bytes, one slot, to an exclusive ring.
#[inline(never)]
fn exclusive_send(ticks: &mut Publisher<Tick>, tick: &Tick) -> Result<u64, SendError> {
    ticks.send(tick)
}

/// Receives a packet in place, reads a field of it, and releases it.
#[inline(never)]
fn block_recv(ticks: &mut Subscriber<Tick>) -> Option<u64> {
    ticks.recv().ok().map(|tick| tick.sequence.to_native())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let rounds = std::env::args().nth(1).map_or(Ok(100_000), |rounds| rounds.parse())?;
    let name = format!("hot-path-{}", std::process::id());
    let ring = Ring::builder().exclusive().open(&name)?;
    let mut receiver = ring.subscriber::<Tick>()?;
    let mut sender = ring.publisher::<Tick>()?;
    for sequence in 0..rounds {
        let tick = Tick { symbol: 7, bid: 101, ask: 102, volume: 5, at: sequence, sequence };
        exclusive_send(&mut sender, &tick)?;
        if block_recv(&mut receiver) != Some(sequence) {
            return Err(format!("expected packet {sequence}, got another one").into());
        }
    }
    println!("{rounds} packets sent and received in place");
    Ok(())
}
