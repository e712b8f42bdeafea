//! The packets that a reader of a ring still has ahead.

use crate::output::Failure;
use packetring::inventory::ObjectInfo;
use packetring::observe::{ObserveFrom, Observed, Observer};
use serde::Serialize;

/// One packet of a list.
#[derive(Debug, Serialize)]
pub(crate) struct SlotUse {
    pub(crate) position: u64,
    pub(crate) slots: u64,
    pub(crate) bytes: usize,
    pub(crate) r#type: String,
}

/// The packets that a reader still has ahead, at most so many.
pub(super) fn packets_ahead(object: &ObjectInfo, most: usize) -> Result<Vec<SlotUse>, Failure> {
    let mut observer = Observer::open(object, ObserveFrom::Backlog)?;
    let mut packets = Vec::new();
    while packets.len() < most {
        match observer.try_next().map_err(Failure::failed)? {
            Observed::Next(packet) => packets.push(SlotUse {
                position: packet.position(),
                slots: packet.slots(),
                bytes: packet.archive().len(),
                r#type: packet.type_name().to_owned(),
            }),
            Observed::Skipped { .. } => {}
            _ => break,
        }
    }
    Ok(packets)
}
