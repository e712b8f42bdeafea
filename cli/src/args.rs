//! The arguments of the command. Help, completions and man pages come from these definitions.

use crate::bench::BenchArgs;
use crate::export::ExportArgs;
use crate::hz::HzArgs;
use crate::inspect::InspectArgs;
use crate::latency::LatencyArgs;
use crate::ls::LsArgs;
use crate::output;
use crate::recording::record::RecordArgs;
use crate::recording::replay::ReplayArgs;
use crate::recording::report::ReportArgs;
use crate::selection::Selection;
use crate::sending::call::CallArgs;
use crate::sending::send::{EmitArgs, SendArgs};
use crate::tail::TailArgs;
use crate::top::TopArgs;
use crate::workers::WorkersArgs;
use clap::error::ErrorKind;
use clap::{Args as ClapArgs, CommandFactory, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use std::io;
use std::time::Duration;

/// Shown below the help of the command.
const MORE: &str = "\
Names:
  prices                a plain ring or board
  shop/topic/prices     an object of the cluster `shop`: CLUSTER/KIND/NAME, where KIND is topic,
                        inbox, queue, service, board, replies or socket
  shop/prices           the same without the kind, if only one object fits
  shop/directory        the directory of the workers of `shop`
  shop/events           the events of `shop`
  staging:prices        an object with the prefix `staging`, also in front of a cluster. Without a
                        prefix, PACKETRING_PREFIX is tried first, then all prefixes
  /dev/shm/packetring.prices
                        an object by its file

Exit status:
  0  done, and nothing found that needs attention
  1  failed, or found: `doctor` a problem, `clean` without --yes an object to remove, `ls NAME` no
     such object, `tail` and `record` with --count fewer packets
  2  the arguments are wrong

JSON (--json):
  One object a line: {\"format\":1,\"command\":\"ls\",\"result\":{...}}, or with \"error\":{\"message\":\"...\"}
  in place of the result. Commands that run on print one such object for each event. New members may
  be added at any time; a change of a member raises \"format\".

Colors are used on a terminal only, and not if NO_COLOR is set. `record`, `replay`, `report`, `bench`
and `tail` into a file show their progress on the standard error, if that is a terminal, and without
--json.";

/// The whole command line.
#[derive(Debug, Parser)]
#[command(
    name = "packetring",
    version,
    about = "Lists, inspects and cleans up what packetring keeps in shared memory.",
    long_about = None,
    after_help = MORE,
    propagate_version = true
)]
pub(crate) struct Args {
    /// Prints JSON, one object a line
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// When to use colors
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto, value_name = "WHEN")]
    pub(crate) color: Color,
    /// The verb.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// When the output has colors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal, unless NO_COLOR is set
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Lists rings, clusters and their objects
    Ls(LsArgs),
    /// Shows one object: geometry, endpoints, positions, packet types
    Inspect(InspectArgs),
    /// Lists the workers of a cluster, with the backlogs of their inboxes
    Workers(WorkersArgs),
    /// Prints the packets that pass through a ring, without taking part in it
    Tail(TailArgs),
    /// Prints how many packets pass in a second
    Hz(HzArgs),
    /// Samples how long packets take from a publisher to the readers of a ring
    Latency(LatencyArgs),
    /// Shows live rates, lags and held back publishers of all rings
    Top(TopArgs),
    /// Records the packets of rings into a file, without taking part in them
    Record(RecordArgs),
    /// Publishes or prints the packets of a recording
    Replay(ReplayArgs),
    /// Draws the rates, gaps, senders and backlogs of a recording on one HTML page
    Report(ReportArgs),
    /// Sends packets from JSON to a ring, topic, queue or inbox
    #[command(override_usage = "packetring send [OPTIONS] <NAME> [[TYPE] JSON]")]
    Send(SendArgs),
    /// Emits events from JSON to a cluster
    #[command(override_usage = "packetring emit [OPTIONS] <CLUSTER> <EVENT> [[TYPE] JSON]")]
    Emit(EmitArgs),
    /// Calls a service with a request from JSON, and prints the reply
    Call(CallArgs),
    /// Exports figures of all rings as OpenMetrics: as text, into a file, or by HTTP
    Export(ExportArgs),
    /// Removes what dead processes left; never what a living process uses
    ///
    /// Shows what it would remove, and what stays and why. It then asks, if it runs on a terminal,
    /// or needs --yes. Durable subscribers, open jobs, and names and inboxes of workers stay,
    /// unless --kept names them.
    Clean(CleanArgs),
    /// Checks whether this machine is set up well for packetring
    ///
    /// Each check is ok, a warning or a problem, with the reason and the remedy.
    Doctor(DoctorArgs),
    /// Measures what a ring does on this machine: round trips and streams between two processes
    ///
    /// Starts a second process and uses rings of its own, which it removes at the end. It takes two
    /// cores for a few seconds: other programs on them make its figures worse, and it theirs.
    Bench(BenchArgs),
    /// Prints the completions for a shell
    ///
    /// For bash, write them to ~/.local/share/bash-completion/completions/packetring.
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Prints the man page, or writes one for each command into a folder
    Man {
        /// The folder
        #[arg(long, value_name = "FOLDER")]
        to: Option<std::path::PathBuf>,
    },
}

/// Arguments of `clean`.
#[derive(Debug, ClapArgs)]
pub(crate) struct CleanArgs {
    /// Removes without a question
    #[arg(long, short)]
    pub(crate) yes: bool,
    /// Removes these objects or clusters and nothing else, with all that is kept in them: durable
    /// subscribers, open jobs, messages, names of workers. Shows what is lost
    #[arg(long, value_name = "NAME", num_args = 1.., conflicts_with_all = ["cluster", "prefix"])]
    pub(crate) kept: Vec<String>,
    /// Removes only this durable subscriber of the ring that --kept names, if it is away; other
    /// processes may use the ring meanwhile
    #[arg(long, value_name = "SUBSCRIBER", requires = "kept")]
    pub(crate) durable: Option<String>,
    #[command(flatten)]
    pub(crate) objects: Selection,
}

/// Arguments of `doctor`.
#[derive(Debug, ClapArgs)]
pub(crate) struct DoctorArgs {
    /// Exit status 1 for warnings, too
    #[arg(long)]
    pub(crate) strict: bool,
    /// Leaves out the measurement of the cores, which takes a quarter of a second
    #[arg(long)]
    pub(crate) quick: bool,
}

impl Command {
    /// The verb, as in errors and in JSON.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Ls(_) => "ls",
            Self::Inspect(_) => "inspect",
            Self::Workers(_) => "workers",
            Self::Tail(_) => "tail",
            Self::Hz(_) => "hz",
            Self::Latency(_) => "latency",
            Self::Top(_) => "top",
            Self::Record(_) => "record",
            Self::Replay(_) => "replay",
            Self::Report(_) => "report",
            Self::Send(_) => "send",
            Self::Emit(_) => "emit",
            Self::Call(_) => "call",
            Self::Export(_) => "export",
            Self::Clean(_) => "clean",
            Self::Doctor(_) => "doctor",
            Self::Bench(_) => "bench",
            Self::Completions { .. } => "completions",
            Self::Man { .. } => "man",
        }
    }
}

/// Prints the help, the version or the error that clap gives in place of arguments. Returns the
/// exit status.
pub(crate) fn refuse(error: &clap::Error) -> u8 {
    let is_json = std::env::args_os().take_while(|arg| arg != "--").any(|arg| arg == "--json");
    if is_json && error.use_stderr() {
        // Also of arguments that are wrong, clap finds the verb.
        let found = Args::command().ignore_errors(true).try_get_matches().ok();
        let command = found.as_ref().and_then(|found| found.subcommand_name());
        let command = command.unwrap_or("packetring");
        output::json_error(command, &in_one_line(error), &mut io::stdout().lock());
    } else {
        // Without a reader, the exit status alone tells.
        let _ = error.print();
    }
    error.exit_code().try_into().unwrap_or(2)
}

/// The error of wrong arguments without the usage.
fn in_one_line(error: &clap::Error) -> String {
    use ErrorKind::{DisplayHelpOnMissingArgumentOrSubcommand, MissingSubcommand};
    if matches!(error.kind(), DisplayHelpOnMissingArgumentOrSubcommand | MissingSubcommand) {
        return "no command given; see `packetring --help`".to_owned();
    }
    let text = error.render().to_string();
    let lines = text.strip_prefix("error: ").unwrap_or(&text).lines().map(str::trim);
    let lines = lines.take_while(|line| !line.starts_with("Usage:"));
    let is_said = |line: &&str| !line.is_empty() && !line.starts_with("For more information");
    let lines: Vec<_> = lines.filter(is_said).collect();
    format!("{}; see --help", lines.join("; ").replace(":; ", ": "))
}

/// Reads a time in seconds.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok();
    let span = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    span.ok_or_else(|| "give seconds, as in 1.5".to_owned())
}

/// Reads the time between two snapshots.
pub(crate) fn interval(text: &str) -> Result<Duration, String> {
    match seconds(text)? {
        span if span >= Duration::from_millis(10) => Ok(span),
        _ => Err("give at least 0.01 seconds".to_owned()),
    }
}
