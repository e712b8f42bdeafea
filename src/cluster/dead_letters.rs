//! Dead letters: messages and jobs that were handed out too often go to another worker's inbox.
//!
//! An [`Inbox`](super::Inbox) and a queue consumer may outlive their worker. So a dead letter is
//! sent without one: it attaches to the directory and the inbox anew. Dead letters are rare.

use super::builder::WorkerBuilder;
use super::directory::Visit;
use super::names::{Cluster, ClusterObject, MessageTag, SenderTag};
use super::worker::Worker;
use crate::channel::{CarriedType, DeadLetter, DeadLetters, RingBuilder};
use crate::error::OpenError;
use std::time::Duration;

/// Longest wait for each control lock.
const TIMEOUT: Duration = Duration::from_millis(100);

/// The sender that a dead letter names.
#[derive(Clone, Copy)]
pub(super) enum NamedSender {
    /// The worker that sent the message.
    Original,
    /// The worker that gave the job up: a job does not name its sender.
    Own,
}

impl Worker {
    /// Where messages and jobs go that were handed out too often, if this worker chose a place.
    pub(super) fn dead_letters(&self, sender: NamedSender) -> Option<DeadLetters> {
        let max_deliveries = self.choices.max_deliveries?;
        let (cluster, name) = (self.cluster.clone(), self.choices.dead_letters.clone()?);
        let own = self.senders.sender_tag;
        let send = move |letter: &DeadLetter<'_>| {
            let (tag, prefix) = match sender {
                NamedSender::Original => {
                    let tag = MessageTag(letter.tag);
                    (tag.sender(), tag.prefix())
                }
                NamedSender::Own => (own, 0),
            };
            // A dead letter has no descriptors. The receiver took them, or drops them.
            let archive = letter.archive.get(prefix..).unwrap_or_default();
            deliver(&cluster, &name, &letter.carried, archive, tag).is_some()
        };
        Some(DeadLetters { max_deliveries, send: Box::new(send) })
    }
}

impl WorkerBuilder {
    /// Checks the choices about dead letters of a worker of this name.
    pub(super) fn check_dead_letters(&self, name: &str) -> Result<(), OpenError> {
        let reason = match (self.max_deliveries, &self.dead_letters) {
            (Some(0), _) => "max_deliveries is 0: choose 1 or more",
            (Some(_), None) => {
                "max_deliveries without dead_letters: choose the worker that gets them"
            }
            (None, Some(_)) => "dead_letters without max_deliveries: choose the number",
            (_, Some(to)) if to == name => {
                "dead_letters is this worker itself: choose another worker"
            }
            _ => return Ok(()),
        };
        Err(OpenError::BadSettings { reason: reason.to_owned() })
    }
}

/// Sends a dead letter to the inbox of a worker. `None` if it cannot be sent now.
fn deliver(
    cluster: &Cluster,
    name: &str,
    carried: &CarriedType,
    archive: &[u8],
    tag: SenderTag,
) -> Option<()> {
    let visit = Visit::open(cluster, TIMEOUT).ok()?;
    let presence = visit.inbox_of(name)?;
    let object = ClusterObject::Inbox(name, presence.inbox_name()).name(cluster).ok()?;
    let settings = RingBuilder::default().tagged_slots().open_timeout(TIMEOUT);
    let mut inbox = settings.attach_named(&object).ok()?.any_publisher().ok()?;
    // As for every send: the inbox may be that of a successor, and not durable yet.
    if visit.inbox_of(name) != Some(presence) {
        return None;
    }
    inbox.forward(carried, archive, tag.0.into()).ok()
}
