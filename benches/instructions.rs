//! Counts the instructions of each operation and compares them with earlier counts.
//!
//! ```text
//! cargo bench --bench instructions                # compares with benches/instructions.txt
//! cargo bench --bench instructions -- --write     # rewrites that file, after a deliberate change
//! ```
//!
//! The bench runs itself under callgrind (Debian package `valgrind`). Callgrind counts the same on
//! any machine, however fast or busy. The operations are in the folder `instructions`.
//!
//! A count says nothing about time: a locked instruction or a cache miss counts as one instruction.
//!
//! The bench fails if an operation takes more instructions than expected. It also fails for fewer:
//! an improvement that is not recorded could be lost unnoticed. Compilers differ, so the file names
//! the compiler of its counts.
//!
//! `cargo bench` passes `--bench`. Without it (`cargo test`) the bench only checks that the
//! operations work.

#[path = "instructions/operations.rs"]
mod operations;

use clap::Parser;
use operations::ROUNDS;
use std::error::Error;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

type Outcome<T> = Result<T, Box<dyn Error>>;

const EXPECTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/instructions.txt");
const REWRITE: &str = "cargo bench --bench instructions -- --write";
/// A count may differ by this fraction of the expected count.
const TOLERATED_PART: f64 = 0.02;
/// A count may differ by at most this many instructions.
const TOLERATED_MOST: f64 = 2.0;

/// Counts the instructions of each operation and compares them with earlier counts
#[derive(Debug, Parser)]
struct Options {
    /// Write the counts to the file instead of comparing them
    #[arg(long)]
    write: bool,
    /// Count; passed by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
    /// Run the operations under callgrind
    #[arg(long, hide = true)]
    counted: bool,
}

/// Instructions of an operation, per packet.
#[derive(Debug)]
struct Count {
    name: String,
    instructions: f64,
}

fn main() -> ExitCode {
    match act(&Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("instructions: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Returns false if the counts differ from the expected ones.
fn act(options: &Options) -> Outcome<bool> {
    if options.counted {
        operations::run(|name, packets| println!("{packets} {name}"))?;
        return Ok(true);
    }
    if !options.bench {
        operations::run(|name, _| println!("{name}: works"))?;
        println!("nothing counted; `cargo bench --bench instructions` counts");
        return Ok(true);
    }
    let found = count()?;
    if options.write {
        std::fs::write(EXPECTED, text(&found)?)?;
        println!("{} operations written to {EXPECTED}", found.len());
        return Ok(true);
    }
    let expected = std::fs::read_to_string(EXPECTED).map_err(|e| format!("{EXPECTED}: {e}"))?;
    compare(&expected, &found)
}

// ── Counting ───────────────────────────────────────────────────────────────────────────────────

fn count() -> Outcome<Vec<Count>> {
    let output = Scratch(std::env::temp_dir().join(format!("callgrind.{}", std::process::id())));
    let run = Command::new("valgrind")
        .args(["--quiet", "--tool=callgrind", "--combine-dumps=yes"])
        .args(["--toggle-collect=*counted_call*", "--dump-after=*end_of_counting*"])
        .arg(format!("--callgrind-out-file={}", output.0.display()))
        .args([std::env::current_exe()?.as_os_str(), "--counted".as_ref()])
        .stderr(std::process::Stdio::inherit())
        .output()
        .map_err(|error| {
            format!("could not run valgrind: {error}; install the Debian package `valgrind`")
        })?;
    if !run.status.success() {
        return Err(format!("run under valgrind failed: {}", run.status).into());
    }
    let totals = totals(&std::fs::read_to_string(&output.0)?)?;
    let operations = String::from_utf8(run.stdout)?;
    counts(&operations, &totals)
}

/// A file that is removed on drop.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// The total of each dump of callgrind.
fn totals(dumps: &str) -> Outcome<Vec<u64>> {
    let sums = dumps.lines().filter_map(|line| line.strip_prefix("totals: "));
    Ok(sums.map(|sum| sum.trim().parse()).collect::<Result<_, _>>()?)
}

/// The count of each operation minus the count of the empty operation.
fn counts(operations: &str, totals: &[u64]) -> Outcome<Vec<Count>> {
    let operations: Vec<_> = operations.lines().filter_map(|line| line.split_once(' ')).collect();
    // An additional empty dump follows the last operation.
    let Some((&overhead, totals)) = totals.split_first().filter(|(sum, _)| **sum > 0) else {
        return Err("callgrind counted nothing; build with symbols".into());
    };
    if totals.len() < operations.len().saturating_sub(1) {
        let (operations, dumps) = (operations.len(), totals.len() + 1);
        return Err(format!("{operations} operations, but {dumps} dumps of callgrind").into());
    }
    let pairs = operations.iter().skip(1).zip(totals);
    let count = |((packets, name), sum): (&(&str, &str), &u64)| {
        let own = sum
            .checked_sub(overhead)
            .ok_or("operation counted less than the empty operation")? as f64;
        let instructions = own / ROUNDS as f64 / packets.parse::<f64>()?;
        // Round as the file does.
        let instructions = (instructions * 10.0).round() / 10.0;
        Ok(Count { name: (*name).to_owned(), instructions })
    };
    pairs.map(count).collect()
}

// ── Comparing ──────────────────────────────────────────────────────────────────────────────────

fn text(counts: &[Count]) -> Outcome<String> {
    let mut text = format!("# Instructions. Made by: {REWRITE}\n# {}\n", tools()?);
    for Count { name, instructions } in counts {
        writeln!(text, "{instructions:>8.1}  {name}")?;
    }
    Ok(text)
}

/// The tools on which the counts depend.
fn tools() -> Outcome<String> {
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let rustc = first_line(Command::new(rustc).arg("--version"))?;
    let valgrind = first_line(Command::new("valgrind").arg("--version"))?;
    let build = if cfg!(debug_assertions) { "with debug assertions" } else { "release" };
    Ok(format!("{rustc}, {}, {build}; {valgrind}", std::env::consts::ARCH))
}

fn first_line(command: &mut Command) -> Outcome<String> {
    let output = command.output()?.stdout;
    Ok(String::from_utf8(output)?.lines().next().unwrap_or_default().to_owned())
}

/// Prints the table. Returns false if a count differs by more than is tolerated.
fn compare(expected: &str, found: &[Count]) -> Outcome<bool> {
    let (tools, mut expected) = (tools()?, parse(expected)?);
    println!("{:<38}{:>9}{:>9}{:>8}", "instructions per packet", "expected", "found", "");
    let mut differ = Vec::new();
    for Count { name, instructions } in found {
        let index = expected.counts.iter().position(|count| count.name == *name);
        let before = index.map(|index| expected.counts.swap_remove(index).instructions);
        let is_same = before.is_some_and(|before| is_tolerated(before, *instructions));
        print_row(name, before, Some(*instructions), is_same);
        if !is_same {
            differ.push(name.clone());
        }
    }
    for Count { name, instructions } in expected.counts {
        print_row(&name, Some(instructions), None, false);
        differ.push(name);
    }
    if tools != expected.tools {
        println!("\nThe tools differ, which alone can change the counts:");
        println!("  expected  {}\n  found     {tools}", expected.tools);
    }
    if differ.is_empty() {
        return Ok(true);
    }
    println!("\n{} of the counts differ: {}.", differ.len(), differ.join("; "));
    println!("If a count grew unintentionally, find the cause. Otherwise run\n  {REWRITE}");
    println!("and commit {}.", Path::new(EXPECTED).display());
    Ok(false)
}

struct Expected {
    tools: String,
    counts: Vec<Count>,
}

fn parse(text: &str) -> Outcome<Expected> {
    let (mut tools, mut counts) = (String::new(), Vec::new());
    for line in text.lines() {
        if let Some(comment) = line.strip_prefix("# ") {
            tools = comment.to_owned();
            continue;
        }
        let (count, name) = line.trim().split_once("  ").ok_or_else(|| line.to_owned())?;
        counts.push(Count { name: name.to_owned(), instructions: count.parse()? });
    }
    Ok(Expected { tools, counts })
}

fn is_tolerated(before: f64, now: f64) -> bool {
    (now - before).abs() <= (before * TOLERATED_PART).min(TOLERATED_MOST)
}

fn print_row(name: &str, before: Option<f64>, now: Option<f64>, is_same: bool) {
    let number = |number: Option<f64>| number.map_or("none".to_owned(), |n| format!("{n:.1}"));
    let difference = match (before, now) {
        (Some(before), Some(now)) if before != now => format!("{:+.1}", now - before),
        _ => String::new(),
    };
    let mark = if is_same { "" } else { "  <--" };
    println!("{name:<38}{:>9}{:>9}{difference:>8}{mark}", number(before), number(now));
}
