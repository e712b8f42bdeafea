//! The scenarios. A new scenario is a small file here and a line in [`all`].

mod call;
mod callers;
mod codec;
#[cfg(feature = "dynamic")]
mod dynamic;
mod event_loop;
mod executor;
mod fan_in;
mod fan_out;
#[cfg(feature = "handover")]
mod handover;
mod idle;
mod in_place;
mod inboxes;
mod join;
mod latest;
mod observed;
mod packets;
mod publish;
mod resident;
mod round_trip;
mod send_to;
mod stream;
#[cfg(feature = "async")]
mod stream_async;
mod wakes;

use crate::floor::{Order, SlotStream, has_avx};
use crate::harness::Scenario;
use call::Calls;
use callers::{Callers, Measured};
use codec::{Encode, Validate};
#[cfg(feature = "dynamic")]
use dynamic::Access;
use event_loop::{EventLoop, Way};
use fan_in::FanIn;
use fan_out::FanOut;
#[cfg(feature = "handover")]
use handover::Handovers;
use idle::Idle;
use in_place::InPlace;
use inboxes::{Cost, Inboxes};
use join::{Join, Young};
use latest::{CellTrip, OnCell};
use observed::Watched;
use packetring::Settings;
use packets::{Chat, Tick, Wide};
use publish::Publish;
use resident::Resident;
use round_trip::RoundTrip;
use send_to::SendTo;
use stream::Stream;
#[cfg(feature = "async")]
use stream_async::{StreamAsync, Taken};
use wakes::Wakes;

/// All scenarios, in the order of the runs and of the report.
pub(crate) fn all() -> Vec<Box<dyn Scenario>> {
    let mut all: Vec<Box<dyn Scenario>> = vec![
        Box::new(RoundTrip::<Tick>::spinning("round_trip_48")),
        Box::new(RoundTrip::<Chat>::spinning("round_trip_chat")),
        Box::new(Stream::<Tick>::exclusive("stream_exclusive_48", 1)),
        Box::new(Stream::<Tick>::exclusive("send_all_exclusive_48", 32)),
        Box::new(Stream::<Tick>::shared("stream_shared_48", 1)),
        Box::new(Stream::<Tick>::bursts("burst_16_shared_48", 16)),
        Box::new(Stream::<Tick>::shared("send_all_shared_48", 16)),
        Box::new(Stream::<Wide>::exclusive("stream_exclusive_64", 1)),
        Box::new(Stream::<Wide>::shared("stream_shared_64", 1)),
        Box::new(SendTo::<Tick>::new("send_to_48")),
        Box::new(Calls::<Tick>::new("call_48")),
        Box::new(FanIn { publishers: 4, on_one_core: false }),
        Box::new(Stream::<Chat>::exclusive("stream_chat", 1)),
        Box::new(InPlace { size: 1 << 10 }),
        Box::new(InPlace { size: 1 << 16 }),
        Box::new(InPlace { size: 1 << 20 }),
        Box::new(Publish { subscribers: 0 }),
        Box::new(Publish { subscribers: 8 }),
        Box::new(Publish { subscribers: 64 }),
        Box::new(OnCell::Write),
        Box::new(OnCell::Read),
        Box::new(OnCell::WriteAndRead),
        Box::new(CellTrip),
        Box::new(RoundTrip::<Tick>::parking("wake_both_parked")),
        Box::new(Join { populates: false }),
        Box::new(Join { populates: true }),
        Box::new(Young { populates: false }),
        Box::new(Young { populates: true }),
        Box::new(Resident),
        Box::new(Inboxes { workers: 64, cost: Cost::Memory }),
        Box::new(Inboxes { workers: 64, cost: Cost::Joining }),
        Box::new(Idle::Subscribers(1)),
        Box::new(Wakes::Queue(8)),
        Box::new(Wakes::Queue(64)),
        Box::new(Wakes::Service(8)),
        Box::new(Wakes::Topic(8)),
        Box::new(Wakes::Inboxes(8)),
        Box::new(Idle::Subscribers(100)),
        Box::new(Idle::Callers(60)),
        Box::new(Idle::Selecting(24)),
        Box::new(Encode),
        Box::new(Validate),
        Box::new(FanIn { publishers: 2, on_one_core: true }),
    ];
    all.extend([Watched::Send, Watched::Missed].map(boxed));
    // Exclusive streams through rings that are not of the default size.
    let is_default = |capacity: &usize| *capacity == Settings::default().capacity;
    for capacity in [1 << 20, 2 << 20, 4 << 20].into_iter().filter(|one| !is_default(one)) {
        all.push(boxed(Stream::<Tick>::exclusive("stream_exclusive_48", 1).of(capacity)));
        all.push(boxed(Stream::<Wide>::exclusive("stream_exclusive_64", 1).of(capacity)));
        all.push(boxed(Stream::<Tick>::exclusive("send_all_exclusive_48", 32).of(capacity)));
    }
    // A floor that no row has: the best known way to move batches.
    if has_avx() {
        let (order, payload) = (Order::BatchesPastCaches, 48);
        let capacities = [1 << 20, 4 << 20];
        all.extend(capacities.map(|capacity| boxed(SlotStream { order, payload, capacity })));
    }
    // Further points of the plots.
    all.extend([64, 256, 4 << 10, 16 << 10, 256 << 10].map(|size| boxed(InPlace { size })));
    all.extend([1, 2, 4, 16, 32].map(|subscribers| boxed(Publish { subscribers })));
    all.extend([1, 2, 8].map(|publishers| boxed(FanIn { publishers, on_one_core: false })));
    all.extend([1, 2, 4].map(|subscribers| boxed(FanOut { subscribers })));
    let callers = |result| move |callers| boxed(Callers { callers, result });
    all.extend([1, 16, 64, 256, 512, 1024].map(callers(Measured::Throughput)));
    all.extend([64, 256, 1024].map(callers(Measured::Fairness)));
    for way in [Way::Epoll, Way::Await] {
        all.extend([1, 16, 1000].map(|endpoints| boxed(EventLoop { way, endpoints })));
    }
    let refused = |endpoints| boxed(EventLoop { way: Way::EpollRefused, endpoints });
    all.extend([1, 16, 1000].map(refused));
    #[cfg(feature = "async")]
    all.extend([Taken::Packets, Taken::Values].map(|taken| boxed(StreamAsync::new(taken))));
    #[cfg(feature = "handover")]
    all.push(boxed(Handovers));
    #[cfg(feature = "dynamic")]
    all.extend([Access::Field, Access::Name].map(boxed));
    all
}

/// The rows that this build has not, if there are any.
pub(crate) const MISSING: Option<&str> = if cfg!(all(
    feature = "async",
    feature = "dynamic",
    feature = "handover"
)) {
    None
} else {
    Some(
        "perhaps not in this build: stream_async_48, stream_async_values_48, dynamic_fields_48, dynamic_names_48 and handover; add `--features async,dynamic,handover`",
    )
};

fn boxed(scenario: impl Scenario + 'static) -> Box<dyn Scenario> {
    Box::new(scenario)
}
