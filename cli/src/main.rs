//! The command `packetring`: it lists, inspects and cleans up what packetring keeps in shared
//! memory.
//!
//! It looks at objects without joining them: it takes no entry and no lock of a ring, and no living
//! process notices it. Some commands change something: `clean`, through the library's
//! [`purge_where`](packetring::inventory::purge_where); `latency`, which switches the sampling of a
//! ring; `send`, `emit`, `call`, `replay --to` and `record --lossless`, which join as any process
//! does.

#![forbid(unsafe_code)]

mod args;
mod bench;
mod clean;
mod counters;
mod doctor;
mod export;
mod extent;
mod filter;
mod hz;
mod inspect;
mod known;
mod latency;
mod ls;
mod manual;
mod names;
mod output;
mod process;
mod progress;
mod recording;
mod rings;
mod seen;
mod selection;
mod sending;
mod tail;
mod text;
mod top;
mod users;
mod workers;

use args::{Args, Command};
use clap::Parser;
use output::{Failure, Outcome, Output};
use std::io::Write;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => return ExitCode::from(args::refuse(&error)),
    };
    let mut output = Output::new(&args, args.command.name());
    match run(args.command, &mut output) {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Found) => ExitCode::from(1),
        Err(failure) => ExitCode::from(output.fail(&failure)),
    }
}

fn run(command: Command, output: &mut Output) -> Result<Outcome, Failure> {
    let outcome = match command {
        Command::Ls(args) => ls::run(&args, output),
        Command::Inspect(args) => inspect::run(&args, output),
        Command::Workers(args) => workers::run(&args, output),
        Command::Tail(args) => tail::run(&args, output),
        Command::Hz(args) => hz::run(&args, output),
        Command::Latency(args) => latency::run(&args, output),
        Command::Top(args) => top::run(&args, output),
        Command::Record(args) => recording::record::run(&args, output),
        Command::Replay(args) => recording::replay::run(&args, output),
        Command::Report(args) => recording::report::run(&args, output),
        Command::Send(args) => sending::send::send(&args, output),
        Command::Emit(args) => sending::send::emit(&args, output),
        Command::Call(args) => sending::call::run(&args, output),
        Command::Export(args) => export::run(&args, output),
        Command::Clean(args) => clean::run(&args, output),
        Command::Doctor(args) => doctor::run(&args, output),
        Command::Bench(args) => bench::run(&args, output),
        Command::Completions { shell } => manual::completions(shell, output),
        Command::Man { to } => manual::man(to.as_deref(), output),
    }?;
    output.flush()?;
    Ok(outcome)
}
