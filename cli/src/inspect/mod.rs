//! `inspect NAME`: all that shared memory tells of one object.

pub(crate) mod json;
pub(crate) mod schema;
mod slots;

use self::slots::{SlotUse, packets_ahead};
use crate::latency::figures::Figures;
use crate::ls;
use crate::names;
use crate::output::{BOLD, DIM, Failure, GREEN, Outcome, Output, RED, YELLOW};
use crate::rings::{self, Blocker};
use crate::text::{self, Align, Cell, Table};
use crate::workers;
use clap::Args;
use packetring::Claims;
use packetring::inspect::{
    BoardInspection, EndpointInfo, GateHolder, InFlight, Inspection, RingInspection, RingStatus,
    RingType,
};
use packetring::inventory::ObjectInfo;
use std::io::Write;
use std::time::Duration;

/// Arguments of `inspect`.
#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    /// The object
    name: String,
    /// Leaves out the packet types
    #[arg(long)]
    no_types: bool,
    /// Also lists the packets that a reader still has ahead, at most this many
    #[arg(long, value_name = "MOST")]
    packets: Option<usize>,
}

/// Prints an object.
pub(crate) fn run(args: &InspectArgs, output: &mut Output) -> Result<Outcome, Failure> {
    let objects = packetring::inventory()?;
    let object = names::find(&objects, &args.name)?;
    let found = object.inspect()?;
    let packets = match (&found, args.packets) {
        (Inspection::Ring(_), Some(most)) => Some(packets_ahead(object, most)?),
        (_, Some(_)) => {
            let kind = names::word(object.kind);
            return Err(Failure::Usage(format!("--packets: a {kind} holds no packets")));
        }
        _ => None,
    };
    if output.is_json {
        output.json(&json::Object::of(object, &found, !args.no_types, packets))?;
        return Ok(Outcome::Done);
    }
    print_head(object, output)?;
    match &found {
        Inspection::Ring(ring) => print_ring(&names::full(object), ring, output)?,
        Inspection::Board(board) => print_board(board, output)?,
        Inspection::Directory(directory) => {
            line(output, "workers", format!("at most {}", directory.max_workers))?;
            print_lock(directory.control_holder, directory.last_death, output)?;
            writeln!(output)?;
            workers::table(&directory.workers, &[]).print(output)?;
        }
        Inspection::CallArea(area) => {
            line(output, "calls", format!("at most {} in flight", area.max_calls))?;
            line(output, "replies", text::bytes(area.reply_bytes as u64))?;
            line(output, "answered", text::count(area.answered, "cell"))?;
        }
        _ => {}
    }
    if let Some(packets) = packets {
        print_packets(&packets, output)?;
    }
    if !args.no_types {
        match &found {
            Inspection::Ring(ring) => print_types(&ring.types, output)?,
            Inspection::Board(board) => print_types(&board.types, output)?,
            _ => {}
        }
    }
    Ok(Outcome::Done)
}

fn line(output: &mut Output, name: &str, text: impl AsRef<str>) -> Result<(), Failure> {
    let name = output.paint(BOLD, format!("{name:<10}"));
    writeln!(output, "{name}  {}", text::plain(text.as_ref()))?;
    Ok(())
}

fn print_head(object: &ObjectInfo, output: &mut Output) -> Result<(), Failure> {
    line(output, names::word(object.kind), names::full(object))?;
    let file = format!(
        "{}, {}, mode {:04o}, {} old, layout {}",
        object.path.display(),
        text::bytes(object.bytes),
        object.mode,
        text::age(object.age),
        object.layout.map_or_else(|| "unknown".to_owned(), |layout| layout.to_string()),
    );
    line(output, "file", file)?;
    line(output, "state", ls::detail(object))
}

fn print_ring(name: &str, ring: &RingInspection, output: &mut Output) -> Result<(), Failure> {
    let settings = &ring.settings;
    let claims = if settings.claims == Claims::Exclusive { "one publisher" } else { "shared" };
    let geometry = format!(
        "{} slots of 64 B ({}), claims: {claims}, when full: {}, history: {}",
        ring.slots,
        text::bytes(settings.capacity as u64),
        rings::overflow(settings.overflow),
        settings.history,
    );
    line(output, "geometry", geometry)?;
    let (publishers, subscribers) = (settings.max_publishers, settings.max_subscribers);
    line(output, "places", format!("{publishers} publishers, {subscribers} subscribers"))?;
    let status = match ring.status {
        RingStatus::Open => "open",
        RingStatus::Left => "left by its last publisher",
        RingStatus::Closed => "closed",
        _ => "unknown",
    };
    let oldest = ring.oldest.map_or_else(String::new, |at| format!(", oldest kept packet at {at}"));
    line(output, "tail", format!("{}{oldest}, {status}", ring.tail))?;
    if let Some(gate) = ring.gate {
        let holder = match gate.holder {
            None => "no reader holds a slot".to_owned(),
            Some(GateHolder::Endpoint(index)) => match ring.endpoints.get(index) {
                Some(one) => format!("{} holds the oldest slot", rings::role(one)),
                None => "an endpoint holds the oldest slot".to_owned(),
            },
            Some(_) => "the backlog of the queue holds the oldest slot".to_owned(),
        };
        line(output, "room", format!("{} slots free; {holder}", gate.free_slots))?;
    }
    if let Some(queue) = ring.queue {
        let waiting = rings::Backlog { packets: queue.lag.packets, slots: queue.lag.slots };
        line(output, "queue", format!("{} packets wait", rings::backlog_text(Some(waiting))))?;
    }
    let sleeps = format!("readers {}, publishers {}", ring.readers.sleeps, ring.writers.sleeps);
    line(output, "sleeps", sleeps)?;
    print_latencies(ring, output)?;
    print_lock(ring.control_holder, ring.last_death, output)?;
    print_endpoints(&ring.endpoints, &ring.types, output)?;
    if let Some(blocker) = Blocker::of(ring) {
        let sentence = output.paint(RED, text::plain(&blocker.sentence()).into_owned());
        writeln!(output, "\n{sentence}\n-> {}", blocker.remedy(name))?;
    }
    Ok(())
}

/// The latencies, if some were sampled or will be.
fn print_latencies(ring: &RingInspection, output: &mut Output) -> Result<(), Failure> {
    let figures = Figures::of(&ring.latencies);
    match (ring.sampling, figures.samples) {
        (None, 0) => Ok(()),
        (None, _) => line(output, "latency", format!("{}; now off", figures.sentence())),
        (Some(every), _) => {
            let every = format!("{}; one for {every} slots", figures.sentence());
            line(output, "latency", every)
        }
    }
}

fn print_lock(
    holder: Option<u32>,
    last_death: Option<Duration>,
    output: &mut Output,
) -> Result<(), Failure> {
    if let Some(pid) = holder {
        line(output, "locked", format!("process {pid} joins, leaves or clears the dead"))?;
    }
    if let Some(time) = last_death {
        line(output, "last death", format!("found {} ago", text::age(time)))?;
    }
    Ok(())
}

fn print_board(board: &BoardInspection, output: &mut Output) -> Result<(), Failure> {
    let geometry = format!(
        "{} keys of {} buffers, values up to {}",
        board.max_keys,
        board.buffers,
        text::bytes(board.max_size as u64)
    );
    line(output, "geometry", geometry)?;
    line(
        output,
        "places",
        format!("{} writers, {} readers", board.max_writers, board.max_readers),
    )?;
    print_lock(board.control_holder, board.last_death, output)?;
    if !board.cells.is_empty() {
        let mut table = Table::new([
            ("CELL", Align::Right),
            ("WRITTEN", Align::Right),
            ("WRITES NOW", Align::Left),
            ("KEY", Align::Left),
        ]);
        for cell in &board.cells {
            table.push([
                cell.index.to_string().into(),
                cell.version.to_string().into(),
                cell.writer
                    .map_or_else(|| "-".to_owned(), |entry| format!("writer {entry}"))
                    .into(),
                text::plain(&cell.key).into_owned().into(),
            ]);
        }
        writeln!(output)?;
        table.print(output)?;
    }
    print_endpoints(&board.endpoints, &board.types, output)
}

fn print_endpoints(
    endpoints: &[EndpointInfo],
    types: &[RingType],
    output: &mut Output,
) -> Result<(), Failure> {
    writeln!(output)?;
    if endpoints.is_empty() {
        writeln!(output, "no endpoints")?;
        return Ok(());
    }
    let mut table = Table::new([
        ("ENDPOINT", Align::Left),
        ("PID", Align::Right),
        ("WORKER", Align::Left),
        ("STATE", Align::Left),
        ("POSITION", Align::Right),
        ("BEHIND", Align::Right),
        ("LOST", Align::Right),
        ("IN FLIGHT", Align::Left),
        ("TYPES", Align::Left),
    ]);
    for one in endpoints {
        let state = rings::state(one);
        let style = match state {
            "alive" => GREEN,
            "stopped" | "dead" => RED,
            _ => YELLOW,
        };
        let lag = one.lag.map(|lag| rings::Backlog { packets: lag.packets, slots: lag.slots });
        let names: Vec<_> = one.types.iter().map(|index| type_name(types, *index)).collect();
        let number = |number: Option<u64>| number.map_or_else(|| "-".to_owned(), |n| n.to_string());
        table.push([
            rings::role(one).into(),
            one.pid.to_string().into(),
            one.worker.as_deref().map_or("-".into(), |name| text::plain(name).into_owned()).into(),
            Cell::styled(state, style),
            number(one.position).into(),
            rings::backlog_text(lag).into(),
            number((!rings::is_writer(one)).then(|| rings::evicted(one))).into(),
            in_flight(one).into(),
            names.join(" ").into(),
        ]);
    }
    table.print(output)?;
    Ok(())
}

fn print_packets(packets: &[SlotUse], output: &mut Output) -> Result<(), Failure> {
    let mut table = Table::new([
        ("PACKET AT", Align::Right),
        ("SLOTS", Align::Right),
        ("BYTES", Align::Right),
        ("TYPE", Align::Left),
    ]);
    for packet in packets {
        table.push([
            packet.position.to_string().into(),
            packet.slots.to_string().into(),
            packet.bytes.to_string().into(),
            text::plain(&packet.r#type).into_owned().into(),
        ]);
    }
    writeln!(output)?;
    table.print(output)?;
    Ok(())
}

/// What an endpoint has in flight.
fn in_flight(endpoint: &EndpointInfo) -> String {
    let deliveries = match endpoint.deliveries {
        0 | 1 => String::new(),
        times => format!(", delivery {times}"),
    };
    match (endpoint.in_flight, endpoint.claim) {
        (_, Some(claim)) => format!("claim of {} slots at {}", claim.slots, claim.position),
        (InFlight::OnePacket, _) => format!("packet{deliveries}"),
        (InFlight::OneCell(index), _) => format!("cell {index}"),
        (InFlight::Taking, _) => "taking".to_owned(),
        (InFlight::Unknown, _) => "unknown".to_owned(),
        _ => "-".to_owned(),
    }
}

fn type_name(types: &[RingType], index: u16) -> String {
    let found = types.iter().find(|one| one.index == index);
    found.map_or_else(|| index.to_string(), |one| text::plain(&one.carried.name).into_owned())
}

fn print_types(types: &[RingType], output: &mut Output) -> Result<(), Failure> {
    for one in types {
        let head = format!("// type {}, fingerprint {}", one.index, one.carried.fingerprint);
        let head = output.paint(DIM, head);
        writeln!(output, "\n{head}")?;
        match schema::rust(&one.carried.schema) {
            Some(text) => write!(output, "{text}")?,
            // The entry of a service's pair of types has no layout of its own.
            None if one.carried.name.contains(" -> ") => {
                writeln!(output, "// request and reply: {}", text::plain(&one.carried.name))?;
            }
            None => writeln!(output, "// {}: damaged schema", text::plain(&one.carried.name))?,
        }
    }
    Ok(())
}
