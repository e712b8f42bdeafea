//! The report as Markdown, to be put into a page as it is: where, when and how it was measured, a
//! table of each work, and what each peer does otherwise than packetring.

use crate::cores::Cores;
use crate::machine::Machine;
use crate::peers::{Peer, Work};
use crate::table::{Row, Spread, ratio};
use crate::work::Kind;
use clap::ValueEnum;
use std::fmt::Write;

/// All of it.
pub(crate) fn text(rows: &[Row], runs: u32, cores: Cores) -> String {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut out = format!(
        "{}. Two processes on cores {cores}, {runs} runs in turns; the median, least and most of the \
         runs. A ratio above 1 takes longer.\n\n```sh\ncargo run --release --manifest-path \
         benches/peers/Cargo.toml{} -- {}\n```\n",
        Machine::this().line(),
        if cfg!(feature = "aeron") { " --features aeron" } else { "" },
        arguments.join(" ")
    );
    for work in Work::value_variants() {
        let of_work: Vec<&Row> = rows.iter().filter(|row| row.work == *work).collect();
        if !of_work.is_empty() {
            out += &heads(*work);
            of_work.iter().for_each(|row| out += &line(rows, row));
        }
    }
    out
}

fn heads(work: Work) -> String {
    let (ns, last) = match work.kind() {
        Kind::RoundTrip => ("ns, p50", "p99"),
        Kind::Stream | Kind::Batch => ("ns each", "M/s"),
    };
    format!(
        "\n| {} | {ns} | min–max | {last} | × floor | × packetring | differs in |\n\
         |---|---|---|---|---|---|---|\n",
        work.title()
    )
}

fn line(rows: &[Row], row: &Row) -> String {
    let (name, mut notes) = (row.peer.name(), row.peer.differs().to_owned());
    // Writing to a string cannot fail.
    if row.peer.may_lose() && row.work.kind() != Kind::RoundTrip {
        let _ = write!(notes, "; lost {:.1} % here", row.lost() * 100.0);
    }
    if !row.failures.is_empty() {
        let _ = write!(notes, "; failed {} times: {}", row.failures.len(), row.failures.join(", "));
    }
    let Some(Spread { median, min, max }) = row.ns() else {
        return format!("| {name} | – | – | – | – | – | {notes} |\n");
    };
    let last = row.p99().map_or(1000.0 / median, |p99| p99.median);
    let ratio = |to| ratio(rows, row, to).map_or("–".into(), |ratio| format!("{ratio:.2}"));
    let (floor, ours) = (ratio(Peer::Floor), ratio(Peer::Packetring));
    format!(
        "| {name} | {median:.1} | {min:.1}–{max:.1} | {last:.1} | {floor} | {ours} | {notes} |\n"
    )
}
