//! What several commands show of rings: endpoints, backlogs, and who holds the publishers back.

use crate::process;
use crate::text;
use packetring::Overflow;
use packetring::inspect::{
    EndpointInfo, EndpointRole, GateHolder, InspectedObject, Inspection, RingInspection,
};
use serde::Serialize;

/// Figures of an object, for a list.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Summary {
    /// Endpoints that send or write.
    pub(crate) writers: usize,
    /// Endpoints that receive or read, also durable ones that are away.
    pub(crate) readers: usize,
    /// Endpoints whose process died, and that no other process cleared yet.
    pub(crate) dead: usize,
    /// Durable subscribers without a process.
    pub(crate) away: usize,
    /// The largest lag of a reader, or the backlog of a queue.
    pub(crate) backlog: Option<Backlog>,
    /// Names of the packet types.
    pub(crate) types: Vec<String>,
    /// The endpoint that leaves publishers little room.
    pub(crate) blocker: Option<Blocker>,
}

/// A number of packets, and the room that they take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Backlog {
    /// `None` if they could not be counted.
    pub(crate) packets: Option<u64>,
    pub(crate) slots: u64,
}

/// The reader or writer that publishers wait for, or soon have to.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Blocker {
    /// The endpoint, as in `subscriber 0`.
    pub(crate) endpoint: String,
    pub(crate) pid: Option<u32>,
    pub(crate) worker: Option<String>,
    pub(crate) is_alive: bool,
    pub(crate) is_stopped: bool,
    /// Its place stays when its process is gone.
    pub(crate) is_durable: bool,
    pub(crate) backlog: Option<Backlog>,
    /// Slots that publishers can still claim.
    pub(crate) free_slots: u64,
    pub(crate) slots: u64,
}

impl Summary {
    /// The figures of an object; `None` if they could not be read, or it has no endpoints.
    pub(crate) fn of(object: &InspectedObject) -> Option<Self> {
        let (endpoints, types) = match object.content.as_ref().ok()? {
            Inspection::Ring(ring) => (&ring.endpoints, &ring.types),
            Inspection::Board(board) => (&board.endpoints, &board.types),
            _ => return None,
        };
        let count =
            |is: &dyn Fn(&EndpointInfo) -> bool| endpoints.iter().filter(|one| is(one)).count();
        let writers = count(&|one| is_writer(one));
        let mut summary = Self {
            writers,
            readers: endpoints.len() - writers,
            dead: count(&|one| !one.is_alive && !is_durable(one)),
            away: count(&|one| !one.is_alive && is_durable(one)),
            types: types.iter().map(|known| known.carried.name.clone()).collect(),
            ..Self::default()
        };
        if let Ok(Inspection::Ring(ring)) = &object.content {
            summary.backlog = backlog(ring);
            summary.blocker = Blocker::of(ring);
        }
        Some(summary)
    }
}

/// What happens to an endpoint whose process died.
pub(crate) const CLEARED: &str =
    "nothing to do: a process that joins, waits, or needs the room clears it";

/// Returns true for an endpoint that sends or writes.
pub(crate) fn is_writer(endpoint: &EndpointInfo) -> bool {
    matches!(endpoint.role, EndpointRole::Publisher | EndpointRole::Writer)
}

fn is_durable(endpoint: &EndpointInfo) -> bool {
    matches!(endpoint.role, EndpointRole::Durable { .. })
}

/// Packets that publishers took from a reader since it joined.
pub(crate) fn evicted(endpoint: &EndpointInfo) -> u64 {
    if is_writer(endpoint) { 0 } else { endpoint.counters.evicted }
}

/// The largest lag of a reader, or the backlog of a queue.
pub(crate) fn backlog(ring: &RingInspection) -> Option<Backlog> {
    let queue = ring.queue.map(|queue| queue.lag);
    let lags = ring.endpoints.iter().filter_map(|one| one.lag).chain(queue);
    lags.max_by_key(|lag| lag.slots).map(|lag| Backlog { packets: lag.packets, slots: lag.slots })
}

/// An endpoint in words, as in `subscriber 0` or `durable subscriber "log"`.
pub(crate) fn role(endpoint: &EndpointInfo) -> String {
    let role = match &endpoint.role {
        EndpointRole::Publisher => "publisher",
        EndpointRole::Subscriber => "subscriber",
        EndpointRole::Durable { name } => return format!("durable {:?}", text::plain(name)),
        EndpointRole::Consumer => "consumer",
        EndpointRole::Joining => "joining",
        EndpointRole::Writer => "writer",
        EndpointRole::Reader => "reader",
        _ => "endpoint",
    };
    format!("{role} {}", endpoint.entry)
}

/// Whether the process of an endpoint lives, in one word.
pub(crate) fn state(endpoint: &EndpointInfo) -> &'static str {
    match (endpoint.is_alive, is_durable(endpoint)) {
        (true, _) if process::is_stopped(endpoint.pid) => "stopped",
        (true, _) => "alive",
        (false, true) => "away",
        (false, false) => "dead",
    }
}

impl Blocker {
    /// The endpoint that publishers wait for, if less than an eighth of the ring is free.
    pub(crate) fn of(ring: &RingInspection) -> Option<Self> {
        let gate = ring.gate?;
        let holder = gate.holder?;
        if gate.free_slots >= ring.slots / 8 {
            return None;
        }
        let (free_slots, slots) = (gate.free_slots, ring.slots);
        match holder {
            GateHolder::Endpoint(index) => {
                let endpoint = ring.endpoints.get(index)?;
                let lag = endpoint.lag;
                Some(Self {
                    endpoint: role(endpoint),
                    pid: Some(endpoint.pid),
                    worker: endpoint.worker.clone(),
                    is_alive: endpoint.is_alive,
                    is_stopped: endpoint.is_alive && process::is_stopped(endpoint.pid),
                    is_durable: is_durable(endpoint),
                    backlog: lag.map(|lag| Backlog { packets: lag.packets, slots: lag.slots }),
                    free_slots,
                    slots,
                })
            }
            _ => Some(Self {
                endpoint: "the queue".to_owned(),
                pid: None,
                worker: None,
                is_alive: true,
                is_stopped: false,
                is_durable: false,
                backlog: backlog(ring),
                free_slots,
                slots,
            }),
        }
    }

    /// The process and worker, as in ` of process 812 (worker billing, stopped)`.
    fn process(&self) -> String {
        let Some(pid) = self.pid else { return String::new() };
        let worker = self.worker.as_ref().map(|name| format!("worker {}", text::plain(name)));
        let state = match (self.is_alive, self.is_stopped) {
            (_, true) => Some("stopped".to_owned()),
            (false, _) => Some("gone".to_owned()),
            _ => None,
        };
        let details: Vec<_> = worker.into_iter().chain(state).collect();
        match details.is_empty() {
            true => format!(" of process {pid}"),
            false => format!(" of process {pid} ({})", details.join(", ")),
        }
    }

    /// The finding as a sentence without its subject, as in `subscriber 0 of process 812 ...`.
    pub(crate) fn sentence(&self) -> String {
        let behind = match self.backlog {
            Some(Backlog { packets: Some(packets), .. }) => {
                format!("{} behind, ", text::count(packets as usize, "packet"))
            }
            Some(Backlog { slots, .. }) => format!("{slots} slots behind, "),
            None => String::new(),
        };
        format!(
            "{} holds the publishers back: {behind}{} of {} slots free",
            self.short(),
            self.free_slots,
            self.slots
        )
    }

    /// The endpoint and its process, as in `subscriber 0 of process 813 (stopped)`.
    fn short(&self) -> String {
        format!("{}{}", self.endpoint, self.process())
    }

    /// The process, or else the endpoint, as in `process 813 (stopped)`.
    pub(crate) fn cause(&self) -> String {
        let process = self.process();
        process.strip_prefix(" of ").unwrap_or(&self.endpoint).to_owned()
    }

    /// The cause in fewer and fewer words, each with the whole process id.
    pub(crate) fn causes(&self) -> Vec<String> {
        let short = self.pid.map(|pid| [format!("process {pid}"), pid.to_string()]);
        [self.cause()].into_iter().chain(short.into_iter().flatten()).collect()
    }

    /// What to do about it, in the object of this full name.
    pub(crate) fn remedy(&self, object: &str) -> String {
        match (self.pid, self.is_alive, self.is_stopped) {
            (None, ..) => "start more consumers of the queue".to_owned(),
            (Some(pid), true, true) => format!("continue or end the process: kill -CONT {pid}"),
            (Some(pid), true, false) => {
                format!(
                    "see why process {pid} does not read, make the ring larger, or end the process"
                )
            }
            (Some(_), false, _) if self.is_durable => match object.split_once('/') {
                Some((cluster, rest)) if rest.starts_with("inbox/") => format!(
                    "start the worker of this inbox again, remove the inbox by `Worker::retire` in a \
                     program, or the cluster by `packetring clean --kept {}`",
                    text::plain(cluster)
                ),
                _ => format!(
                    "start the process of this durable subscriber again, or remove the subscriber: \
                     packetring clean --kept {} --durable {}",
                    text::plain(object),
                    self.endpoint.trim_start_matches("durable ")
                ),
            },
            (Some(_), false, _) => CLEARED.to_owned(),
        }
    }
}

/// A backlog for a table: packets, or else slots.
pub(crate) fn backlog_text(backlog: Option<Backlog>) -> String {
    match backlog {
        None => "-".to_owned(),
        Some(Backlog { packets: Some(packets), .. }) => packets.to_string(),
        Some(Backlog { slots, .. }) => format!("{slots} slots"),
    }
}

/// What a full ring does, in one word.
pub(crate) fn overflow(overflow: Overflow) -> &'static str {
    match overflow {
        Overflow::Block => "blocks",
        Overflow::DropOldest => "drops the oldest",
        _ => "unknown",
    }
}
