//! The two packets, with text of either kind.

use crate::plan::{ARRAY_LEN, Plan};
use packetring::rkyv::string::ArchivedString;
use packetring::rkyv::{rancor, to_bytes};
use packetring::{Packet, packet};

/// The request.
#[packet]
pub(crate) struct Ping<T> {
    pub(crate) sequence: u64,
    /// Nanoseconds on the sender's monotonic clock.
    pub(crate) sent_at: u64,
    pub(crate) text: T,
}

/// The reply.
#[packet]
pub(crate) struct Pong<T> {
    /// Sequence number of the ping.
    pub(crate) answers: u64,
    /// Send time of the ping, on its sender's clock.
    pub(crate) ping_sent_at: u64,
    /// Number of pings answered, this one included.
    pub(crate) answered: u64,
    pub(crate) text: T,
}

/// Methods of the archived packet, called in its slot without deserializing it.
impl<T: Text> ArchivedPing<T> {
    pub(crate) fn is_next(&self, sequence: u64, last_sent_at: u64, text: &T) -> bool {
        self.sequence == sequence && self.sent_at >= last_sent_at && text.is(&self.text)
    }
}

impl<T: Text> ArchivedPong<T> {
    pub(crate) fn answers(&self, ping: &Ping<T>) -> bool {
        self.answers == ping.sequence
            && self.ping_sent_at == ping.sent_at
            && self.answered == ping.sequence + 1
            && ping.text.is(&self.text)
    }
}

/// The text of a packet: an array of fixed size, or a string of any length.
pub(crate) trait Text: Packet + 'static {
    fn of(plan: &Plan) -> Self;
    fn is(&self, archived: &Self::Archived) -> bool;
    fn assign(&mut self, archived: &Self::Archived);
}

impl Text for [u8; ARRAY_LEN] {
    fn of(_: &Plan) -> Self {
        *b"hello packetring"
    }

    fn is(&self, archived: &Self) -> bool {
        self == archived
    }

    fn assign(&mut self, archived: &Self) {
        *self = *archived;
    }
}

impl Text for String {
    fn of(plan: &Plan) -> Self {
        ('a'..='z').cycle().take(plan.payload.unwrap_or_default()).collect()
    }

    fn is(&self, archived: &ArchivedString) -> bool {
        *archived == self.as_str()
    }

    /// Allocates nothing once the text is long enough.
    fn assign(&mut self, archived: &ArchivedString) {
        self.clear();
        self.push_str(archived);
    }
}

/// Archived bytes of a ping and of a pong.
pub(crate) fn archived(plan: &Plan) -> Result<(usize, usize), rancor::Error> {
    let (sequence, sent_at, answers, ping_sent_at, answered) = (0, 0, 0, 0, 0);
    let (ping, pong) = if plan.payload.is_some() {
        let text = String::of(plan);
        let pong = Pong { answers, ping_sent_at, answered, text: text.clone() };
        (to_bytes(&Ping { sequence, sent_at, text })?, to_bytes(&pong)?)
    } else {
        let text = <[u8; ARRAY_LEN]>::of(plan);
        (
            to_bytes(&Ping { sequence, sent_at, text })?,
            to_bytes(&Pong { answers, ping_sent_at, answered, text })?,
        )
    };
    Ok((ping.len(), pong.len()))
}
