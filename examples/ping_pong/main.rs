//! Measures round trips between two processes: one packet type there, another type back.
//!
//! ```text
//! cargo run --release --example ping_pong -- --wait park --payload 200
//! ```
//!
//! The program starts itself once more as its peer. Each direction has its own ring with one
//! publisher, so no locked instruction is on the path. Every field is checked at every hop.
//!
//! The floor of a round trip is a bare cache line that moves between the same two processes. The
//! two measurements alternate, so that disturbances of the machine affect both.
//!
//! This example measures latency with one packet in flight. `cargo bench --bench speed` measures
//! throughput, and much else.

mod answerer;
#[path = "../support/bounce.rs"]
mod bounce;
mod caller;
#[path = "../support/cores.rs"]
mod cores;
mod packets;
#[path = "../support/peer.rs"]
mod peer;
mod plan;
mod report;
#[path = "../support/shared.rs"]
mod shared;

use clap::Parser;
use plan::{Options, Plan};
use std::process::ExitCode;

fn main() -> ExitCode {
    let options = Options::parse();
    let outcome = match options.peer {
        Some(parent) => Plan::of(&options).and_then(|plan| answerer::answer(&plan, parent)),
        None => Plan::of(&options).and_then(|plan| {
            let measured = caller::measure(&plan)?;
            if options.json {
                measured.print_json(&plan)
            } else {
                measured.print_table(&plan)
            }
            Ok(())
        }),
    };
    if let Err(error) = outcome {
        eprintln!("ping_pong: {error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
