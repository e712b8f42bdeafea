//! `top`: live rates, lags and blocked publishers of all rings.

mod columns;
mod endpoints;
mod model;
mod screen;

use crate::args;
use crate::names;
use crate::output::{DIM, Failure, Outcome, Output, RED};
use crate::rings;
use crate::selection::NamedSelection;
use crate::text::{self, Align, Cell, Table};
use clap::Args;
use columns::percent;
pub(crate) use columns::rate;
use model::{Column, Sampler, View};
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use screen::Screen;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// Arguments of `top`.
#[derive(Debug, Args)]
pub(crate) struct TopArgs {
    #[command(flatten)]
    objects: NamedSelection,
    /// Seconds between two snapshots
    #[arg(long, default_value = "1", value_name = "SECONDS", value_parser = args::interval)]
    interval: Duration,
    /// Prints the figures of one interval, and ends
    #[arg(long)]
    once: bool,
}

/// Shows rings until the user quits. With JSON a line for each interval.
pub(crate) fn run(args: &TopArgs, output: &mut Output) -> Result<Outcome, Failure> {
    let interval = args.interval;
    let selection = &args.objects;
    let objects = packetring::inventory()?;
    selection.selection.check(&objects)?;
    let mut sampler = Sampler::default();
    let first = sampler.take(selection)?;
    if first.rings.is_empty() && !selection.names.is_empty() {
        // Its own error, if it has another layout or is damaged.
        for object in objects.iter().filter(|one| selection.has(one)) {
            object.inspect()?;
        }
        return Err(names::not_found(&objects, &selection.names.join(" ")));
    }
    if args.once || output.is_json {
        loop {
            std::thread::sleep(interval);
            let mut view = sampler.take(selection)?;
            Column::Rate.sort(&mut view.rings);
            match output.is_json {
                true => output.json(&view)?,
                false => print(&view, output)?,
            }
            output.flush()?;
            if args.once {
                return Ok(Outcome::Done);
            }
        }
    }
    if !output.is_terminal || !std::io::stdin().is_terminal() {
        let message = "the output is no terminal: use --once, or --json for a line each interval";
        return Err(Failure::Usage(message.to_owned()));
    }
    let mut screen = Screen { has_colors: output.has_colors, ..Screen::default() };
    screen.update(first);
    let failed = |error| Failure::failed(format_args!("no screen: {error}; use --once"));
    let mut terminal = ratatui::try_init().map_err(failed)?;
    let result = show(&mut terminal, screen, &mut sampler, selection, interval);
    ratatui::try_restore().map_err(failed)?;
    result.map(|()| Outcome::Done).map_err(failed)
}

fn show(
    terminal: &mut DefaultTerminal,
    mut screen: Screen,
    sampler: &mut Sampler,
    selection: &NamedSelection,
    interval: Duration,
) -> std::io::Result<()> {
    let mut next = Instant::now() + interval;
    loop {
        terminal.draw(|frame| screen.draw(frame))?;
        let wait = next.saturating_duration_since(Instant::now());
        if event::poll(wait)? {
            if let Event::Key(key) = event::read()?
                && key.kind != KeyEventKind::Release
                && press(&mut screen, key) == After::Quit
            {
                return Ok(());
            }
            continue;
        }
        next = Instant::now() + interval;
        if !screen.is_paused {
            match sampler.take(selection) {
                Ok(view) => {
                    screen.error = None;
                    screen.update(view);
                }
                Err(error) => screen.error = Some(error.to_string()),
            }
        }
    }
}

/// What follows a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum After {
    GoOn,
    Quit,
}

fn press(screen: &mut Screen, key: KeyEvent) -> After {
    let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
    match (key.code, screen.is_typing) {
        (KeyCode::Char('c'), _) if is_control => return After::Quit,
        (KeyCode::Enter, true) => screen.is_typing = false,
        (KeyCode::Esc, true) => {
            screen.filter.clear();
            screen.is_typing = false;
        }
        (KeyCode::Backspace, true) => {
            screen.filter.pop();
        }
        (KeyCode::Char(c), true) => screen.filter.push(c),
        (KeyCode::Esc, false) if screen.shows_help => screen.shows_help = false,
        (KeyCode::Esc, false) if !screen.filter.is_empty() => screen.filter.clear(),
        (KeyCode::Char('q') | KeyCode::Esc, false) => return After::Quit,
        (KeyCode::Char('/'), false) => screen.is_typing = true,
        (KeyCode::Char('s'), false) => screen.sort_by_next(),
        (KeyCode::Char('p' | ' '), false) => screen.is_paused = !screen.is_paused,
        (KeyCode::Char('?' | 'h'), false) => screen.shows_help = !screen.shows_help,
        (KeyCode::Down, _) => screen.table.select_next(),
        (KeyCode::Up, _) => screen.table.select_previous(),
        _ => {}
    }
    // The selection stays within the rows that the filter leaves.
    let last = screen.rows().len().checked_sub(1);
    let selected = last.map(|last| screen.table.selected().unwrap_or(0).min(last));
    screen.table.select(selected);
    After::GoOn
}

/// Prints the figures of one interval.
fn print(view: &View, output: &mut Output) -> Result<(), Failure> {
    let mut table = Table::new([
        ("RING", Align::Left),
        ("KIND", Align::Left),
        ("PACKETS/S", Align::Right),
        ("BYTES/S", Align::Right),
        ("SENT", Align::Right),
        ("RECEIVED", Align::Right),
        ("BLOCKED", Align::Right),
        ("FULL", Align::Right),
        ("BEHIND", Align::Right),
        ("WRITERS", Align::Right),
        ("READERS", Align::Right),
        ("MISSED", Align::Right),
        ("WAKES/S", Align::Right),
        ("STATE", Align::Left),
    ]);
    for row in &view.rings {
        let fill = row.fill.map_or_else(|| "-".to_owned(), percent);
        table.push([
            text::plain(&row.name).into_owned().into(),
            row.kind.into(),
            rate(row.packets_per_second).into(),
            text::bytes(row.bytes_per_second as u64).into(),
            row.sent.packets.to_string().into(),
            row.received.packets.to_string().into(),
            percent(row.blocked).into(),
            fill.into(),
            rings::backlog_text(row.backlog).into(),
            row.writers.to_string().into(),
            row.readers.to_string().into(),
            row.missed.to_string().into(),
            rate(row.wakes_per_second).into(),
            Cell::styled(row.state(), RED),
        ]);
    }
    table.print(output)?;
    for line in &view.unread {
        let line = output.paint(DIM, format!("not shown: {}", text::plain(line)));
        writeln!(output, "{line}")?;
    }
    for row in &view.rings {
        if let Some(blocker) = &row.blocker {
            let (name, remedy) = (text::plain(&row.name), blocker.remedy(&row.name));
            writeln!(output, "{name}: {}; {remedy}", text::plain(&blocker.sentence()))?;
        }
    }
    Ok(())
}
