//! The cost of packets without their Rust type: each is received and opened, and six numbers of it
//! are read, beside the same packets opened by type.
//!
//! Receiving is a complete `recv` of a subscriber of any type, in the row and in its floor: poll,
//! hand out, release. So the ratio includes it, as in the row `validate_chat`.

use crate::harness::{Outcome, Phase, Run, Sample, Scenario, Side, Target, Unit, check, median};
use packetring::any::AnyReceived;
use packetring::dynamic::{Schema, Value, layout_of};
use packetring::{Ring, packet};
use std::hint::black_box;
use std::time::Instant;

/// A flat packet of 48 bytes.
#[packet]
struct Quote {
    number: u64,
    nanoseconds: u64,
    bid: f64,
    ask: f64,
    change: i64,
    venue: u32,
}

const SIZE: usize = 48;
/// Packets that are timed together: fewer than the ring has slots.
const BURST: u64 = 1 << 10;

/// How the packets are read.
#[derive(Clone, Copy)]
pub(crate) enum Access {
    /// By fields that were looked up once.
    Field,
    /// By the names of the fields.
    Name,
    /// By type: the floor.
    Type,
}

/// Nanoseconds of a packet: the median of bursts after a warm-up. `read` returns the sum of the
/// numbers of a packet.
fn measure(run: &Run, read: impl Fn(&AnyReceived<'_>) -> Option<f64>) -> Outcome<Sample> {
    let _pinned = run.on_one_core().pin_before_joining()?;
    let ring = Ring::builder().exclusive().heap()?;
    let (mut inbox, mut quotes) = (ring.any_subscriber()?, ring.publisher()?);
    let mut costs = Vec::new();
    for index in 0..20 + run.count(2000) {
        for number in index * BURST..(index + 1) * BURST {
            let (bid, ask) = (number as f64, 0.25);
            quotes.send(&Quote { number, nanoseconds: 1, bid, ask, change: -2, venue: 3 })?;
        }
        let started = Instant::now();
        let mut sum = 0.0;
        for _ in 0..BURST {
            sum += read(&inbox.try_recv()?).ok_or("a field is missing")?;
        }
        costs.push(started.elapsed().as_nanos() as f64 / BURST as f64);
        let expected = |number: u64| 2.0 * number as f64 + 2.25;
        let expected: f64 = (index * BURST..(index + 1) * BURST).map(expected).sum();
        check(black_box(sum) == expected, index)?;
    }
    Ok(Sample::of(median(&costs[20..])))
}

fn by_name(quote: Value<'_>) -> Option<f64> {
    let whole = quote.get("number")?.as_u64()? + quote.get("nanoseconds")?.as_u64()?;
    let signed = quote.get("change")?.as_i64()? + i64::from(quote.get("venue")?.as_u64()? as u32);
    Some(whole as f64 + signed as f64 + quote.get("bid")?.as_f64()? + quote.get("ask")?.as_f64()?)
}

fn by_type(quote: &ArchivedQuote) -> f64 {
    let whole = quote.number.to_native() + quote.nanoseconds.to_native();
    let signed = quote.change.to_native() + i64::from(quote.venue.to_native());
    whole as f64 + signed as f64 + quote.bid.to_native() + quote.ask.to_native()
}

fn measure_fields(run: &Run, schema: &Schema) -> Outcome<Sample> {
    let path = |path| schema.field(path).ok_or("no such field");
    let (number, nanoseconds) = (path("number")?, path("nanoseconds")?);
    let (change, venue) = (path("change")?, path("venue")?);
    let (bid, ask) = (path("bid")?, path("ask")?);
    measure(run, |packet| {
        let quote = packet.value(schema).ok()?;
        let whole = quote.field(&number)?.as_u64()? + quote.field(&nanoseconds)?.as_u64()?;
        let venue = quote.field(&venue)?.as_u64()? as u32;
        let signed = quote.field(&change)?.as_i64()? + i64::from(venue);
        let prices = quote.field(&bid)?.as_f64()? + quote.field(&ask)?.as_f64()?;
        Some(whole as f64 + signed as f64 + prices)
    })
}

impl Scenario for Access {
    fn name(&self) -> String {
        let name = match self {
            Self::Field => "dynamic_fields_48",
            Self::Name => "dynamic_names_48",
            Self::Type => "floor_typed_48",
        };
        name.into()
    }

    fn about(&self) -> String {
        let about = match self {
            Self::Field => "recv by schema, and six reads of fields that were looked up once",
            Self::Name => "recv by schema, and six reads by the names of fields",
            Self::Type => "recv by type, and six reads",
        };
        about.into()
    }

    fn payload(&self) -> usize {
        SIZE
    }

    fn unit(&self) -> Unit {
        Unit::Nanoseconds
    }

    fn floor(&self) -> Option<Box<dyn Scenario>> {
        match self {
            Self::Field | Self::Name => Some(Box::new(Self::Type)),
            Self::Type => None,
        }
    }

    fn targets(&self) -> Vec<Target> {
        match self {
            Self::Field => vec![Target::RatioAtMost(3.0)],
            Self::Name | Self::Type => Vec::new(),
        }
    }

    fn is_headline(&self) -> bool {
        false
    }

    fn fixed_phase(&self) -> Option<Phase> {
        Some(Phase::OneCore)
    }

    fn measure(&self, run: &Run) -> Outcome<Sample> {
        let schema = layout_of::<Quote>()?;
        match self {
            Self::Field => measure_fields(run, &schema),
            Self::Name => measure(run, |packet| by_name(packet.value(&schema).ok()?)),
            Self::Type => measure(run, |packet| Some(by_type(packet.open_as::<Quote>().ok()?))),
        }
    }

    fn serve(&self, _: &mut Side) -> Outcome<()> {
        Err("this scenario has no partner".into())
    }
}
