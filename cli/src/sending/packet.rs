//! The packets to send: their type by its name, and their values as JSON, from an argument or from
//! lines of the standard input.

use crate::names;
use crate::output::Failure;
use crate::text;
use clap::Args;
use packetring::dynamic::Schema;
use packetring::inspect::{Inspection, RingInspection};
use packetring::inventory::ObjectInfo;
use packetring::{CarriedType, Stop};
use std::io::{self, BufRead, IsTerminal};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

/// Shortest start of a fingerprint that means a type.
const LEAST_DIGITS: usize = 4;

/// How long one wait for a line lasts.
const WAIT: Duration = Duration::from_millis(100);

/// A type and a value, as arguments.
#[derive(Debug, Args)]
pub(crate) struct PacketArgs {
    /// The packet type by its name, and the packet as JSON; `-`, or nothing, reads a packet from
    /// each line of the standard input
    ///
    /// Without a type, the ring must have a single one. With a type, give `-` for the standard
    /// input. If several types have the same name, the start of a fingerprint chooses one.
    #[arg(value_name = "[TYPE] JSON", num_args = 0..=2, allow_negative_numbers = true)]
    packet: Vec<String>,
    /// Takes the types of this object, for a ring that has none yet
    #[arg(long, value_name = "NAME")]
    types_of: Option<String>,
}

impl PacketArgs {
    fn type_name(&self) -> Option<&str> {
        match &*self.packet {
            [name, _] => Some(name),
            _ => None,
        }
    }

    /// The JSON, or where it comes from.
    pub(crate) fn input(&self, stop: &Stop) -> Input {
        Input::of(self.packet.last().map(String::as_str), stop)
    }

    /// The schema of the packets to a ring, which may not be there yet.
    pub(crate) fn schema(
        &self,
        objects: &[ObjectInfo],
        ring: Option<&ObjectInfo>,
        name: &str,
    ) -> Result<Schema, Failure> {
        let types = match (&self.types_of, ring) {
            (Some(other), _) => types(&inspect(names::find(objects, other)?)?),
            (None, Some(ring)) => types(&inspect(ring)?),
            (None, None) => Vec::new(),
        };
        choose(&types, self.type_name(), self.types_of.as_deref().unwrap_or(name))
    }
}

/// Reads a ring, or fails for an object of another kind.
pub(crate) fn inspect(object: &ObjectInfo) -> Result<RingInspection, Failure> {
    match object.inspect()? {
        Inspection::Ring(ring) => Ok(ring),
        _ => Err(Failure::failed(format_args!(
            "{} is a {}, which carries no packets; give a ring, topic, queue or inbox",
            names::full(object),
            names::word(object.kind)
        ))),
    }
}

/// The types of packets that a ring takes.
fn types(ring: &RingInspection) -> Vec<CarriedType> {
    let is_taken =
        |index: &u16| ring.accepted.as_ref().is_none_or(|accepted| accepted.contains(index));
    let taken = ring.types.iter().filter(|one| is_taken(&one.index));
    taken.map(|one| one.carried.clone()).collect()
}

/// The type of this name, or the only one.
fn choose(types: &[CarriedType], wanted: Option<&str>, ring: &str) -> Result<Schema, Failure> {
    let list = |types: &[&CarriedType]| {
        let mut labels: Vec<_> = types.iter().map(|one| one.name.clone()).collect();
        labels.sort_by_key(|name| strsim::levenshtein(name, wanted.unwrap_or_default()));
        names::list(&labels)
    };
    let all: Vec<_> = types.iter().collect();
    let found = match wanted {
        _ if types.is_empty() => {
            return Err(Failure::failed(format_args!(
                "{ring} has no packet type yet; start a process that sends or receives packets \
                 there, or give a ring with the type: --types-of NAME"
            )));
        }
        None => all.clone(),
        Some(name) => of_name(types, name),
    };
    match (&*found, wanted) {
        ([one], _) => one.layout().map_err(Failure::failed),
        ([], wanted) => Err(Failure::failed(format_args!(
            "{ring} has no packet type {:?}; its types are {}",
            wanted.unwrap_or_default(),
            list(&all)
        ))),
        (several, None) => Err(Failure::failed(format_args!(
            "{ring} has {} packet types; give one of them before the JSON: {}",
            several.len(),
            list(several)
        ))),
        (several, Some(name)) => {
            let labels: Vec<_> =
                several.iter().map(|one| format!("{} {}", one.fingerprint, one.name)).collect();
            Err(Failure::failed(format_args!(
                "{ring} has {} packet types {name:?}; give the start of a fingerprint in place of \
                 the name: {}",
                several.len(),
                names::list(&labels)
            )))
        }
    }
}

/// The types of a name, with or without the path, or else of a fingerprint by its start.
fn of_name<'a>(types: &'a [CarriedType], name: &str) -> Vec<&'a CarriedType> {
    let has_name = |one: &&CarriedType| {
        one.name == name || one.name.rsplit_once("::").is_some_and(|(_, last)| last == name)
    };
    let found: Vec<_> = types.iter().filter(has_name).collect();
    if !found.is_empty() || name.len() < LEAST_DIGITS {
        return found;
    }
    let start = name.to_ascii_lowercase();
    types.iter().filter(|one| one.fingerprint.to_string().starts_with(&start)).collect()
}

/// Where JSON comes from.
pub(crate) enum Input {
    /// One text, until it was taken.
    Text(Option<String>),
    /// Lines of the standard input, with the number of the last one.
    Lines { lines: Receiver<io::Result<String>>, number: u64, stop: Stop },
}

/// A value, and where it comes from, as in `line 3: `.
pub(crate) struct Json {
    pub(crate) value: serde_json::Value,
    pub(crate) place: String,
}

impl Input {
    /// The text, or the standard input for `-` and for no text.
    pub(crate) fn of(text: Option<&str>, stop: &Stop) -> Self {
        if let Some(text) = text.filter(|text| *text != "-") {
            return Self::Text(Some(text.to_owned()));
        }
        if io::stdin().is_terminal() {
            eprintln!("reading JSON from the terminal, one packet in each line; Ctrl-D ends it");
        }
        // A thread of its own: a signal does not end a read.
        let (sender, lines) = sync_channel(64);
        std::thread::spawn(move || {
            for line in io::stdin().lock().lines() {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self::Lines { lines, number: 0, stop: stop.clone() }
    }

    /// The next value. `None` at the end, and after a signal.
    pub(crate) fn next(&mut self) -> Result<Option<Json>, Failure> {
        let (number, lines, stop) = match self {
            Self::Text(text) => {
                let Some(text) = text.take() else { return Ok(None) };
                let value = serde_json::from_str(&text).map_err(|error| {
                    Failure::failed(format_args!(
                        "{:?} is not JSON: {error}; give JSON, or - to read it from the standard \
                         input",
                        text::plain(&text)
                    ))
                })?;
                return Ok(Some(Json { value, place: String::new() }));
            }
            Self::Lines { number, lines, stop } => (number, lines, stop),
        };
        loop {
            let line = match lines.recv_timeout(WAIT) {
                Ok(line) => line,
                Err(RecvTimeoutError::Timeout) if !stop.is_stopped() => continue,
                Err(_) => return Ok(None),
            };
            if stop.is_stopped() {
                return Ok(None);
            }
            *number += 1;
            let line = line.map_err(|error| {
                Failure::failed(format_args!("line {number} not read: {error}; give UTF-8"))
            })?;
            if line.trim().is_empty() {
                continue;
            }
            let value = serde_json::from_str(&line).map_err(|error| {
                Failure::failed(format_args!(
                    "line {number}: not JSON: {error}; give one packet in each line"
                ))
            })?;
            return Ok(Some(Json { value, place: format!("line {number}: ") }));
        }
    }
}

impl Json {
    /// The packet of the value.
    pub(crate) fn encode(&self, schema: &Schema) -> Result<Vec<u8>, Failure> {
        schema.encode(&self.value).map_err(|error| {
            Failure::failed(format_args!(
                "{}the JSON is no {}: {error}",
                self.place,
                text::plain(schema.name())
            ))
        })
    }
}
