//! The results as one HTML page that needs no other file.

use super::machine::Machine;
use super::plots::Plot;
use super::row::Row;
use super::section::{Section, sections};
use super::table::figure;
use super::{Report, mixed};

/// The page.
pub(crate) fn html(report: &Report, rows: &[Row<'_>], machine: &Machine, plots: &[Plot]) -> String {
    let warning = report.warning().map(|text| format!("<p class=\"warning\">{text}</p>\n"));
    let figures = plots
        .iter()
        .map(|plot| format!("<h2>{}</h2>\n<figure>{}</figure>\n", escaped(&plot.title), plot.svg));
    let (headlines, others): (Vec<_>, Vec<_>) =
        rows.iter().partition(|row| row.results.is_headline);
    let left_out =
        mixed(&report.all).into_iter().map(|line| format!("<p>{}</p>\n", escaped(&line)));
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>packetring, beside what the machine can do</title>\n<style>\n{}</style>\n\
         <h1>packetring, beside what the machine can do</h1>\n<p class=\"machine\">{}</p>\n{}\
         <p>{}</p>\n{}{}{}{}\
         <p class=\"machine\">Measured by <code>cargo bench --bench speed</code>.</p>\n\
         </html>\n",
        include_str!("page.css"),
        escaped(&machine.line()),
        warning.unwrap_or_default(),
        escaped(&report.method()),
        tables("Results", &sections(&headlines, &report.probe), rows),
        figures.collect::<String>(),
        tables("Further scenarios", &sections(&others, &report.probe), rows),
        left_out.collect::<String>(),
    )
}

fn tables(title: &str, sections: &[Section<'_>], all: &[Row<'_>]) -> String {
    sections.iter().map(|section| table(title, section, all)).collect()
}

fn table(title: &str, section: &Section<'_>, all: &[Row<'_>]) -> String {
    let heading = format!("<h2>{title}: {}</h2>\n", escaped(&section.title()));
    if !section.has_runs() {
        return heading;
    }
    let heads = ["Scenario", "Bytes", "Runs", "Median", "Min", "Max", "Floor", "Ratio", "Target"];
    let heads: String = heads.iter().map(|head| format!("<th>{head}")).collect();
    let rows: String = section.rows.iter().map(|row| line(row, all)).collect();
    format!("{heading}<div class=\"wide\"><table>\n<tr>{heads}\n{rows}</table></div>\n")
}

fn line(row: &Row<'_>, all: &[Row<'_>]) -> String {
    let floor = row.best_floor.map_or(String::new(), |floor| format!("; floor: {}", floor.about));
    format!(
        "<tr><td>{}<small>{}{}</small><td>{}<td>{}<td>{} {}<td>{}<td>{}<td>{}\
         <td class=\"ratio\">{}<td>{}\n",
        escaped(&row.results.name),
        escaped(&row.results.about),
        escaped(&floor),
        row.results.payload,
        row.runs(),
        figure(row.work.median()),
        row.results.unit.label(),
        figure(row.work.min()),
        figure(row.work.max()),
        figure(row.floor.median()),
        row.ratio().map_or("–".into(), |ratio| format!("{ratio:.2}×")),
        targets(row, all)
    )
}

fn targets(row: &Row<'_>, all: &[Row<'_>]) -> String {
    let verdicts = row.verdicts(all).into_iter().map(|(target, met)| {
        let (class, word) = match met {
            Some(true) => ("met", "met"),
            Some(false) => ("missed", "missed"),
            None => ("", "not measured"),
        };
        format!("{} <span class=\"{class}\">{word}</span>", escaped(&target))
    });
    let notes = row.notes().into_iter().map(|note| escaped(&note));
    verdicts.chain(notes).collect::<Vec<_>>().join("<br>")
}

/// Escapes text for HTML.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
