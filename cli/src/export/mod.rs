//! `export`: the figures of all rings as OpenMetrics, printed, written into a file or by HTTP.

mod endpoints;
mod metrics;

use crate::output::{Failure, Outcome, Output};
use crate::selection::Selection;
use clap::Args;
use packetring::inspect;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a client may take for its request and for its answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// Most bytes of a request.
const MOST_REQUEST: u64 = 8 * 1024;
const CONTENT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Arguments of `export`.
#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// Serves http://ADDRESS/metrics, as 127.0.0.1:9464, until it is ended; without a password
    #[arg(long, value_name = "ADDRESS", conflicts_with = "to", value_parser = address)]
    listen: Option<SocketAddr>,
    /// Writes this file in one step, for the textfile collector of node_exporter
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
    #[command(flatten)]
    objects: Selection,
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "give an IP address and a port, as in 127.0.0.1:9464".to_owned())
}

/// Exports the figures.
pub(crate) fn run(args: &ExportArgs, output: &mut Output) -> Result<Outcome, Failure> {
    if let Some(address) = args.listen {
        return serve(address, args, output);
    }
    // A listener may start before the programs, so only a single snapshot checks this.
    args.objects.check(&packetring::inventory()?)?;
    let text = text(args)?;
    match &args.to {
        Some(file) => {
            write(file, &text).map_err(|error| {
                Failure::failed(format_args!("{file:?} not written: {error}; choose another file"))
            })?;
            if output.is_json {
                output.json(&serde_json::json!({ "file": file }))?;
            }
        }
        None if output.is_json => output.json(&serde_json::json!({ "text": text }))?,
        None => output.write_all(text.as_bytes())?,
    }
    Ok(Outcome::Done)
}

fn text(args: &ExportArgs) -> Result<String, Failure> {
    let mut objects = packetring::inventory()?;
    objects.retain(|one| args.objects.has(one));
    Ok(metrics::text(&inspect::objects(objects)))
}

/// Writes a file beside it first, so that no reader finds half of it.
fn write(file: &Path, text: &str) -> io::Result<()> {
    let mut beside = file.as_os_str().to_owned();
    beside.push(format!(".{}.tmp", std::process::id()));
    let written = std::fs::write(&beside, text).and_then(|()| std::fs::rename(&beside, file));
    if written.is_err() {
        let _ = std::fs::remove_file(&beside);
    }
    written
}

fn serve(address: SocketAddr, args: &ExportArgs, output: &mut Output) -> Result<Outcome, Failure> {
    let listen = || {
        let listener = TcpListener::bind(address)?;
        let bound = listener.local_addr()?;
        Ok::<_, io::Error>((listener, bound))
    };
    let (listener, bound) = listen().map_err(|error| {
        Failure::failed(format_args!("not listening on {address}: {error}; choose another address"))
    })?;
    let url = format!("http://{bound}/metrics");
    match output.is_json {
        true => output.json(&serde_json::json!({ "url": url }))?,
        false => writeln!(output, "serving {url}")?,
    }
    output.flush()?;
    loop {
        // A client that is gone or too slow concerns nobody else.
        if let Ok((client, _)) = listener.accept() {
            let _ = answer(client, args);
        }
    }
}

/// Answers one request.
fn answer(client: TcpStream, args: &ExportArgs) -> io::Result<()> {
    client.set_read_timeout(Some(PATIENCE))?;
    client.set_write_timeout(Some(PATIENCE))?;
    let mut lines = BufReader::new((&client).take(MOST_REQUEST));
    let mut request = String::new();
    lines.read_line(&mut request)?;
    // The rest of the head: a client may not like an answer before it.
    let mut line = String::new();
    while lines.read_line(&mut line)? > 2 {
        line.clear();
    }
    let mut words = request.split_ascii_whitespace();
    let (status, kind, body) = match (words.next(), words.next()) {
        (Some("GET" | "HEAD"), Some("/" | "/metrics")) => match text(args) {
            Ok(text) => ("200 OK", CONTENT, text),
            Err(failure) => {
                ("500 Internal Server Error", "text/plain", format!("{}\n", failure.message()))
            }
        },
        (Some("GET" | "HEAD"), _) => ("404 Not Found", "text/plain", "see /metrics\n".to_owned()),
        _ => ("405 Method Not Allowed", "text/plain", "GET /metrics\n".to_owned()),
    };
    let len = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len}\r\nConnection: close\r\n\r\n"
    );
    let body = if request.starts_with("HEAD") { "" } else { &body };
    (&client).write_all(format!("{head}{body}").as_bytes())
}
