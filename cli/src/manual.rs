//! Completions and man pages, made of the definitions in [`args`](crate::args).

use crate::args::Args;
use crate::output::{Failure, Outcome, Output};
use clap::CommandFactory;
use clap_complete::Shell;
use clap_mangen::Man;
use std::io::Write;
use std::path::Path;

/// Prints the completions for a shell.
pub(crate) fn completions(shell: Shell, output: &mut Output) -> Result<Outcome, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "packetring", &mut script);
    if output.is_json {
        output.json(&serde_json::json!({ "script": String::from_utf8_lossy(&script) }))?;
    } else {
        output.write_all(&script)?;
    }
    Ok(Outcome::Done)
}

/// Prints the man page of the command, or writes those of all commands into a folder.
pub(crate) fn man(folder: Option<&Path>, output: &mut Output) -> Result<Outcome, Failure> {
    let mut command = Args::command();
    command.build();
    let Some(folder) = folder else {
        let page = page(command)?;
        if output.is_json {
            output.json(&serde_json::json!({ "page": String::from_utf8_lossy(&page) }))?;
        } else {
            output.write_all(&page)?;
        }
        return Ok(Outcome::Done);
    };
    let verbs = command.get_subcommands().filter(|verb| verb.get_name() != "help").cloned();
    let verbs = verbs.map(|verb| {
        let name = format!("packetring-{}", verb.get_name());
        (name, verb)
    });
    let mut files = Vec::new();
    let pages: Vec<_> = verbs.collect();
    for (name, command) in pages.into_iter().chain([("packetring".to_owned(), command)]) {
        let file = folder.join(format!("{name}.1"));
        let page = page(command)?;
        let written = std::fs::create_dir_all(folder).and_then(|()| std::fs::write(&file, page));
        written.map_err(|error| {
            Failure::failed(format_args!("{file:?} not written: {error}; choose another folder"))
        })?;
        files.push(file);
    }
    if output.is_json {
        output.json(&serde_json::json!({ "files": files }))?;
    } else {
        for file in files {
            writeln!(output, "{}", file.display())?;
        }
    }
    Ok(Outcome::Done)
}

fn page(command: clap::Command) -> Result<Vec<u8>, Failure> {
    let mut page = Vec::new();
    Man::new(command).render(&mut page)?;
    Ok(page)
}
