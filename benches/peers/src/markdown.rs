//! The report as Markdown, ready to be put into a page.
//!
//! It has the machine, the date, the method, and a table for each work and phase. The last column
//! states how each peer differs from packetring.

use crate::machine::Machine;
use crate::peers::{Peer, Work};
use crate::phase::{Phase, Spread};
use crate::table::{Report, Row};
use crate::work::Kind;
use std::fmt::Write;

/// The complete text.
pub(crate) fn text(report: &Report, runs: u32) -> String {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut out = format!(
        "{}. Two processes on cores {}, {runs} runs in turns; median, minimum and maximum of the \
         runs. A ratio above 1 means that the peer takes longer. The parentheses hold the number \
         of runs of the peer that it is compared with. {}\n\n```sh\ncargo run --release \
         --manifest-path benches/peers/Cargo.toml{} -- {}\n```\n",
        Machine::this().line(),
        report.cores,
        report.method(),
        features(),
        arguments.join(" ")
    );
    for (work, rows) in report.works() {
        for phase in report.phases() {
            out += &format!("\n**{}**\n", report.title(work, *phase));
            if rows.iter().any(|row| !row.runs.of(*phase).is_empty()) {
                out += &heads(work);
                rows.iter().for_each(|row| out += &line(report, row, *phase));
                report.aim(work, *phase).iter().for_each(|aim| out += &format!("\n{aim}.\n"));
            }
        }
    }
    report.mixed().for_each(|line| out += &format!("\n{line}.\n"));
    out
}

/// The features of this build, as arguments of the command.
fn features() -> &'static str {
    match (cfg!(feature = "aeron"), cfg!(feature = "tachyon")) {
        (false, false) => "",
        (true, false) => " --features aeron",
        (false, true) => " --features tachyon",
        (true, true) => " --features aeron,tachyon",
    }
}

fn heads(work: Work) -> String {
    let (ns, last) = match work.kind() {
        Kind::RoundTrip => ("ns, p50", "p99, p99.9"),
        _ => ("ns each", "M/s"),
    };
    let base = work.base().name();
    format!(
        "\n| peer | runs | {ns} | min–max | {last} | × {base} | × packetring | differs in |\n\
         |---|---|---|---|---|---|---|---|\n"
    )
}

fn line(report: &Report, row: &Row, phase: Phase) -> String {
    let (name, runs) = (row.peer.name(), row.runs.of(phase).len());
    let notes = notes(row, phase);
    let Some(Spread { median, min, max }) = row.ns(phase) else {
        return format!("| {name} | {runs} | – | – | – | – | – | {notes} |\n");
    };
    let last = row.last(phase);
    let ratio = |to| {
        let ratio = report.ratio(row, to, phase);
        ratio.map_or("–".into(), |ratio| format!("{:.2} ({})", ratio.value, ratio.runs))
    };
    let (base, ours) = (ratio(row.work.base()), ratio(Peer::Packetring));
    let spread = format!("{median:.1} | {min:.1}–{max:.1}");
    format!("| {name} | {runs} | {spread} | {last} | {base} | {ours} | {notes} |\n")
}

fn notes(row: &Row, phase: Phase) -> String {
    let mut notes = row.peer.differs(row.work.kind()).to_owned();
    // Writing to a string cannot fail.
    if row.peer.may_lose() && row.work.kind() != Kind::RoundTrip {
        let _ = write!(notes, "; lost {:.1} % here", row.lost(phase) * 100.0);
    }
    row.states(phase).iter().for_each(|states| notes += &format!("; {states}"));
    if !row.failures.is_empty() {
        let _ = write!(notes, "; failed {} times: {}", row.failures.len(), row.failures.join(", "));
    }
    notes
}
