//! What packets had that a selection of `tail` did not fit.

use crate::text;
use packetring::cluster::WorkerInfo;
use packetring::observe::ObservedPacket;
use std::collections::BTreeSet;

/// Most names of a kind that the line about a selection without packets has.
const MOST_SEEN: usize = 8;

/// What packets had that did not fit.
#[derive(Default)]
pub(crate) struct Seen {
    packets: u64,
    types: BTreeSet<String>,
    events: BTreeSet<String>,
    senders: BTreeSet<String>,
}

impl Seen {
    /// Notes a packet.
    pub(crate) fn add(&mut self, packet: &ObservedPacket<'_>, workers: &[WorkerInfo]) {
        self.packets += 1;
        let note = |list: &mut BTreeSet<String>, text: &str| {
            if list.len() < MOST_SEEN && !list.contains(text) {
                list.insert(text.to_owned());
            }
        };
        note(&mut self.types, packet.type_name());
        if let Some(event) = packet.event() {
            note(&mut self.events, event);
        }
        if let Some(id) = packet.sender() {
            let worker = workers.iter().find(|worker| worker.id == id);
            note(&mut self.senders, &worker.map_or(id.0.to_string(), |worker| worker.name.clone()));
        }
    }

    /// The line for people.
    pub(crate) fn sentence(&self) -> String {
        if self.packets == 0 {
            return "no packet was seen".to_owned();
        }
        let lists = [("types", &self.types), ("events", &self.events), ("senders", &self.senders)];
        let lists = lists.into_iter().filter(|(_, list)| !list.is_empty()).map(|(what, list)| {
            let names: Vec<_> = list.iter().map(|name| text::plain(name)).collect();
            let more = if list.len() == MOST_SEEN { ", ..." } else { "" };
            format!("{what} {}{more}", names.join(", "))
        });
        let lists = lists.collect::<Vec<_>>().join("; ");
        format!("no packet fits; {} seen: {lists}", text::count(self.packets as usize, "packet"))
    }
}
