//! `doctor`: whether this machine is set up well for packetring, and what to change.
//!
//! Each check reads the machine and judges it. The two are apart, so that tests judge machines that
//! are not there.

pub(crate) mod cores;
mod kernel;
mod limits;
mod objects;
mod shm;

use crate::args::DoctorArgs;
use crate::output::{DIM, Failure, GREEN, Outcome, Output, RED, YELLOW};
use crate::text;
use serde::Serialize;
use std::io::Write;

/// The result of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
enum Level {
    Ok,
    /// Works, and could fail or be slow.
    Warning,
    /// Does not work.
    Problem,
}

/// One check.
#[derive(Debug, Serialize)]
struct Check {
    check: &'static str,
    level: Level,
    message: String,
    /// What to change, if something should be.
    remedy: Option<String>,
}

impl Check {
    fn ok(check: &'static str, message: impl Into<String>) -> Self {
        Self { check, level: Level::Ok, message: message.into(), remedy: None }
    }

    fn warning(check: &'static str, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        let remedy = Some(remedy.into());
        Self { check, level: Level::Warning, message: message.into(), remedy }
    }

    fn problem(check: &'static str, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { level: Level::Problem, ..Self::warning(check, message, remedy) }
    }
}

/// Runs all checks.
pub(crate) fn run(args: &DoctorArgs, output: &mut Output) -> Result<Outcome, Failure> {
    let mut checks = vec![kernel::version()];
    checks.extend(shm::checks());
    checks.extend([kernel::membarrier(), kernel::futex_waitv(), kernel::io_uring()]);
    checks.extend([limits::remove_ipc(), limits::nofile(), limits::memlock()]);
    checks.push(cores::count());
    if !args.quick {
        checks.push(cores::bounce());
    }
    checks.extend(objects::checks());
    let worst = checks.iter().map(|check| check.level).max().unwrap_or(Level::Ok);
    if output.is_json {
        output.json(&serde_json::json!({ "worst": worst, "checks": checks }))?;
    } else {
        print(&checks, output)?;
    }
    let least = if args.strict { Level::Warning } else { Level::Problem };
    Ok(if worst >= least { Outcome::Found } else { Outcome::Done })
}

fn print(checks: &[Check], output: &mut Output) -> Result<(), Failure> {
    let widest = checks.iter().map(|check| check.check.len()).max().unwrap_or(0);
    for check in checks {
        let (word, style) = match check.level {
            Level::Ok => ("ok     ", GREEN),
            Level::Warning => ("warning", YELLOW),
            Level::Problem => ("problem", RED),
        };
        let word = output.paint(style, word);
        writeln!(output, "{word}  {:widest$}  {}", check.check, text::plain(&check.message))?;
        if let Some(remedy) = &check.remedy {
            let remedy = output.paint(DIM, format!("-> {}", text::plain(remedy)));
            writeln!(output, "{:9}{:widest$}  {remedy}", "", "")?;
        }
    }
    let number = |level| checks.iter().filter(|check| check.level == level).count();
    let (problems, warnings) = (number(Level::Problem), number(Level::Warning));
    let sum = match (problems, warnings) {
        (0, 0) => "all checks are ok".to_owned(),
        _ => format!("{}, {}", text::count(problems, "problem"), text::count(warnings, "warning")),
    };
    writeln!(output, "{sum}")?;
    Ok(())
}
