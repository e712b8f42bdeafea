//! One page with everything, which needs nothing beside it.

use super::machine::Machine;
use super::plots::Plot;
use super::table::figure;
use super::{Report, Results};

/// The page.
pub(crate) fn html(report: &Report, machine: &Machine, plots: &[Plot]) -> String {
    let warning = report.warning().map(|text| format!("<p class=\"warning\">{text}</p>\n"));
    let figures = plots
        .iter()
        .map(|plot| format!("<h2>{}</h2>\n<figure>{}</figure>\n", escaped(plot.title), plot.svg));
    let (headlines, others): (Vec<_>, Vec<_>) = report.all.iter().partition(|one| one.is_headline);
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>packetring, beside what the machine can do</title>\n<style>\n{}</style>\n\
         <h1>packetring, beside what the machine can do</h1>\n<p class=\"machine\">{}</p>\n{}\
         <p>{}</p>\n{}{}{}<p class=\"machine\">Measured by <code>cargo bench --bench speed</code>.</p>\n\
         </html>\n",
        include_str!("page.css"),
        escaped(&machine.line()),
        warning.unwrap_or_default(),
        escaped(&report.method()),
        table("Results", &headlines, &report.all),
        figures.collect::<String>(),
        table("Beside them", &others, &report.all),
    )
}

fn table(title: &str, some: &[&Results], all: &[Results]) -> String {
    if some.is_empty() {
        return String::new();
    }
    let heads = ["Scenario", "Bytes", "Median", "Min", "Max", "Floor", "Ratio", "Target"];
    let heads: String = heads.iter().map(|head| format!("<th>{head}")).collect();
    let rows: String = some.iter().map(|one| row(one, all)).collect();
    format!("<h2>{title}</h2>\n<div class=\"wide\"><table>\n<tr>{heads}\n{rows}</table></div>\n")
}

fn row(one: &Results, all: &[Results]) -> String {
    let floor = match one.floor_about.as_str() {
        "" => String::new(),
        about => format!("; floor: {about}"),
    };
    format!(
        "<tr><td>{}<small>{}{}</small><td>{}<td>{} {}<td>{}<td>{}<td>{}<td class=\"ratio\">{}<td>{}\n",
        escaped(&one.name),
        escaped(&one.about),
        escaped(&floor),
        one.payload,
        figure(one.work.median()),
        one.unit.label(),
        figure(one.work.min()),
        figure(one.work.max()),
        figure(one.floor.median()),
        one.ratio().map_or("–".into(), |ratio| format!("{ratio:.2}×")),
        targets(one, all)
    )
}

fn targets(one: &Results, all: &[Results]) -> String {
    let verdicts = one.verdicts(all).into_iter().map(|(target, met)| {
        let (class, word) = match met {
            Some(true) => ("met", "met"),
            Some(false) => ("missed", "missed"),
            None => ("", "not measured"),
        };
        format!("{} <span class=\"{class}\">{word}</span>", escaped(&target))
    });
    verdicts.collect::<Vec<_>>().join("<br>")
}

/// Text as HTML has it.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
