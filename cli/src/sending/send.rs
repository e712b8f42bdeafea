//! `send NAME [TYPE] JSON` and `emit CLUSTER EVENT [TYPE] JSON`.

use super::packet::{self, Json, PacketArgs};
use super::stop_on_signals;
use super::target::{self, Target};
use crate::args;
use crate::names;
use crate::output::{Failure, Outcome, Output};
use crate::text;
use clap::Args;
use packetring::Stop;
use packetring::dynamic::Schema;
use packetring::inventory::{ObjectInfo, ObjectKind};
use serde::Serialize;
use std::io::Write;
use std::time::Duration;

/// Arguments of `send`.
#[derive(Debug, Args)]
pub(crate) struct SendArgs {
    /// The ring, topic, queue or inbox, as in `prices` or `shop/inbox/billing`
    name: String,
    #[command(flatten)]
    packet: PacketArgs,
    /// Fails if a packet finds no room for so long; without it, waits
    #[arg(long, value_name = "SECONDS", value_parser = args::seconds)]
    timeout: Option<Duration>,
    /// Sends also if the ring closes afterwards, because it has no other publisher
    #[arg(long)]
    may_close: bool,
}

/// Arguments of `emit`.
#[derive(Debug, Args)]
pub(crate) struct EmitArgs {
    /// The cluster, as in `shop` or with a prefix `staging:shop`
    cluster: String,
    /// The name of the event
    event: String,
    #[command(flatten)]
    packet: PacketArgs,
    /// Fails if an event finds no room for so long; without it, waits
    #[arg(long, value_name = "SECONDS", value_parser = args::seconds)]
    timeout: Option<Duration>,
}

/// What was sent.
#[derive(Debug, Serialize)]
struct Sent<'a> {
    /// The ring, or the events of a cluster.
    to: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<&'a str>,
    r#type: &'a str,
    packets: u64,
    /// Whether a process had joined to read the packets, or they wait for one.
    has_reader: bool,
}

/// Sends packets to a ring.
pub(crate) fn send(args: &SendArgs, output: &mut Output) -> Result<Outcome, Failure> {
    let stop = stop_on_signals()?;
    let objects = packetring::inventory()?;
    let object = names::find(&objects, &args.name)?;
    let has_reader = target::check(object, args.may_close)?;
    let name = names::full(object);
    let schema = args.packet.schema(&objects, Some(object), &name)?;
    let sender = Sender { object, schema: &schema, timeout: args.timeout, event: "", stop: &stop };
    let packets = sender.send_all(&args.packet)?;
    report(&Sent { to: &name, event: None, r#type: schema.name(), packets, has_reader }, output)
}

/// Emits events.
pub(crate) fn emit(args: &EmitArgs, output: &mut Output) -> Result<Outcome, Failure> {
    let stop = stop_on_signals()?;
    let objects = packetring::inventory()?;
    let directory = target::directory(&objects, &args.cluster)?;
    let events = objects.iter().find(|one| {
        one.kind == ObjectKind::Events
            && (&one.prefix, &one.cluster) == (&directory.prefix, &directory.cluster)
    });
    let to = format!("{}events", names::full(directory).trim_end_matches("directory"));
    let has_reader = match events {
        Some(events) => target::has_reader(events, &packet::inspect(events)?),
        None => false,
    };
    let (schema, event) = (args.packet.schema(&objects, events, &to)?, args.event.as_str());
    let sender =
        Sender { object: directory, schema: &schema, timeout: args.timeout, event, stop: &stop };
    let packets = sender.send_all(&args.packet)?;
    report(
        &Sent { to: &to, event: Some(event), r#type: schema.name(), packets, has_reader },
        output,
    )
}

fn report(sent: &Sent<'_>, output: &mut Output) -> Result<Outcome, Failure> {
    if output.is_json {
        output.json(sent)?;
        return Ok(Outcome::Done);
    }
    let what = match sent.event {
        Some(event) => {
            let event = text::plain(event);
            format!("emitted {} {event:?}", text::count(sent.packets as usize, "event"))
        }
        None => format!("sent {}", text::count(sent.packets as usize, "packet")),
    };
    let (r#type, to) = (text::plain(sent.r#type), text::plain(sent.to));
    let reader = if sent.has_reader { "" } else { ", which has no reader" };
    writeln!(output, "{what} of the type {type} to {to}{reader}")?;
    Ok(Outcome::Done)
}

/// Sends packets of one type.
struct Sender<'a> {
    object: &'a ObjectInfo,
    schema: &'a Schema,
    timeout: Option<Duration>,
    /// The name of the events.
    event: &'a str,
    stop: &'a Stop,
}

impl Sender<'_> {
    /// Sends all packets of the input. Returns their number.
    fn send_all(&self, args: &PacketArgs) -> Result<u64, Failure> {
        let (mut input, mut target, mut packets) = (args.input(self.stop), None, 0);
        let ended = |packets: u64, error: Failure| {
            let sent = format!("{} sent", text::count(packets as usize, "packet"));
            match (self.stop.is_stopped(), packets) {
                (true, _) => Failure::failed(format_args!("ended by a signal: {sent}")),
                (false, 0) => error,
                _ => Failure::failed(format_args!("{}; {sent} before", error.message())),
            }
        };
        loop {
            let json = input.next().map_err(|error| ended(packets, error))?;
            if self.stop.is_stopped() {
                return Err(ended(packets, Failure::failed("")));
            }
            let Some(json) = json else { return Ok(packets) };
            self.send(&json, &mut target).map_err(|error| ended(packets, error))?;
            packets += 1;
        }
    }

    /// Sends a packet. Joins the target for the first one.
    fn send(&self, json: &Json, target: &mut Option<Target>) -> Result<(), Failure> {
        let archive = json.encode(self.schema)?;
        let value = self.schema.read(&archive).map_err(Failure::failed)?;
        let target = match target {
            Some(target) => target,
            None => target.insert(Target::open(self.object, self.stop)?),
        };
        target
            .send(value, self.event, self.timeout)
            .map_err(|error| Failure::failed(format_args!("{}{}", json.place, error.message())))
    }
}
