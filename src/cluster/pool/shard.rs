//! One set of endpoints, by worker id.

use crate::channel::AnyPublisher;
use crate::cluster::directory::{Directory, InboxAddress, Presence};
use crate::cluster::names::{Address, WorkerId};

/// The id of no worker.
const NO_WORKER: WorkerId = WorkerId(u16::MAX);

/// Endpoints at inboxes. A thread takes one out of it, or uses it in place.
#[derive(Debug)]
pub(in crate::cluster) struct PoolShard {
    /// By worker id.
    peers: Vec<Option<PeerSenders>>,
    /// The names of past receivers in order, with their ids.
    names: Vec<(Box<str>, WorkerId)>,
    /// The name that was looked up last, and its id. A cache in front of `names`. The empty name is
    /// not valid, so it marks an empty cache.
    last: (String, WorkerId),
    /// The serial of the newest record.
    newest: u64,
    /// Threads that wait for an endpoint to be returned. Zero: a return need not notify.
    pub(super) waiting: usize,
}

/// The endpoints at the inbox of one worker.
#[derive(Debug)]
pub(super) struct PeerSenders {
    name: String,
    /// Number of this record. A lent endpoint keeps it, so it does not return to a later record of
    /// another worker with the same id.
    pub(super) serial: u64,
    /// The worker's presence at its lookup.
    presence: Presence,
    /// An idle endpoint. A field instead of an element of `idle`: the fast path saves an
    /// indirection.
    first: Option<AnyPublisher>,
    /// More idle endpoints, if several threads have sent at the same time.
    idle: Vec<AnyPublisher>,
    /// Number of endpoints that threads have taken out.
    pub(super) lent: usize,
}

impl Default for PoolShard {
    fn default() -> Self {
        let last = (String::new(), NO_WORKER);
        Self { peers: Vec::new(), names: Vec::new(), last, newest: 0, waiting: 0 }
    }
}

impl PoolShard {
    /// Fast path: an endpoint at the inbox of a worker whose presence is as at its lookup.
    #[inline]
    pub(in crate::cluster) fn cached(
        &mut self,
        who: &Address<'_>,
        directory: &Directory,
    ) -> Option<&mut AnyPublisher> {
        self.peer(who, directory)?.1.first.as_mut()
    }

    /// The record of a worker whose presence is as at its lookup.
    #[inline]
    pub(super) fn peer(
        &mut self,
        who: &Address<'_>,
        directory: &Directory,
    ) -> Option<(WorkerId, &mut PeerSenders)> {
        let id = match who {
            Address::Id(id) => *id,
            Address::Name(name) if is_same(&self.last.0, name) => self.last.1,
            Address::Name(name) => self.id_of(name)?,
        };
        let peer = self.peers.get_mut(usize::from(id.0))?.as_mut()?;
        (directory.presence(id) == peer.presence).then_some((id, peer))
    }

    /// The record with this serial. `None` if it was removed since.
    pub(super) fn peer_of(&mut self, id: WorkerId, serial: u64) -> Option<&mut PeerSenders> {
        let peer = self.peers.get_mut(usize::from(id.0))?.as_mut();
        peer.filter(|peer| peer.serial == serial)
    }

    /// Returns the record of an inbox that was just looked up, and creates it if there is none.
    /// Moves the records of inboxes that are gone to `obsolete`.
    pub(super) fn update(
        &mut self,
        address: &InboxAddress,
        who: &Address<'_>,
        directory: &Directory,
        obsolete: &mut Vec<PeerSenders>,
    ) -> &mut PeerSenders {
        let index = usize::from(address.id.0);
        for other in (0..self.peers.len()).filter(|other| *other != index) {
            let id = WorkerId(other as u16);
            if !directory.presence(id).has_inbox() {
                obsolete.extend(self.remove(id));
            }
        }
        let peer = self.peers.get(index).and_then(Option::as_ref);
        let is_other = |peer: &PeerSenders| {
            peer.name != address.name || peer.presence.inbox_name() != address.presence.inbox_name()
        };
        if peer.is_some_and(is_other) {
            obsolete.extend(self.remove(address.id));
        }
        self.clear_last();
        if let Address::Name(name) = who {
            match self.search(name) {
                Ok(at) => self.names[at].1 = address.id,
                Err(at) => self.names.insert(at, ((*name).into(), address.id)),
            }
        }
        if self.peers.len() <= index {
            self.peers.resize_with(index + 1, || None);
        }
        let newest = &mut self.newest;
        let peer = self.peers[index].get_or_insert_with(|| {
            *newest += 1;
            PeerSenders {
                name: address.name.clone(),
                serial: *newest,
                presence: address.presence,
                first: None,
                idle: Vec::new(),
                lent: 0,
            }
        });
        peer.presence = address.presence;
        peer
    }

    /// Takes a lent endpoint back. Returns it if its record was removed since.
    pub(super) fn take_back(
        &mut self,
        id: WorkerId,
        serial: u64,
        endpoint: Option<AnyPublisher>,
    ) -> Option<AnyPublisher> {
        let Some(peer) = self.peer_of(id, serial) else { return endpoint };
        peer.lent -= 1;
        peer.put(endpoint);
        None
    }

    fn remove(&mut self, id: WorkerId) -> Option<PeerSenders> {
        self.clear_last();
        self.names.retain(|(_, of)| *of != id);
        self.peers.get_mut(usize::from(id.0))?.take()
    }

    /// The id of a name, which becomes `last`.
    #[cold]
    fn id_of(&mut self, name: &str) -> Option<WorkerId> {
        let at = self.search(name).ok()?;
        let (last, id) = &mut self.last;
        last.clear();
        last.push_str(name);
        *id = self.names[at].1;
        Some(*id)
    }

    fn search(&self, name: &str) -> Result<usize, usize> {
        self.names.binary_search_by(|(known, _)| (**known).cmp(name))
    }

    fn clear_last(&mut self) {
        self.last.0.clear();
        self.last.1 = NO_WORKER;
    }
}

impl PeerSenders {
    /// Takes an idle endpoint out.
    pub(super) fn take(&mut self) -> Option<AnyPublisher> {
        self.idle.pop().or_else(|| self.first.take())
    }

    /// Returns true if an endpoint is idle.
    pub(super) fn has_idle(&self) -> bool {
        self.first.is_some() || !self.idle.is_empty()
    }

    /// Returns true if there is an endpoint, idle or lent.
    #[cfg(feature = "async")]
    pub(super) fn is_in_use(&self) -> bool {
        self.lent > 0 || self.has_idle()
    }

    fn put(&mut self, endpoint: Option<AnyPublisher>) {
        match &self.first {
            None => self.first = endpoint,
            Some(_) => self.idle.extend(endpoint),
        }
    }
}

/// Compares two names. Most names are short, and a call of `memcmp` costs more than half of all
/// other work that it takes to find an endpoint.
#[inline(always)]
fn is_same(a: &str, b: &str) -> bool {
    #[inline(always)]
    fn are_ends<const N: usize>(a: &[u8], b: &[u8]) -> bool {
        a.first_chunk::<N>() == b.first_chunk::<N>() && a.last_chunk::<N>() == b.last_chunk::<N>()
    }
    let (a, b) = (a.as_bytes(), b.as_bytes());
    a.len() == b.len()
        && match a.len() {
            0..4 => a.iter().eq(b),
            4..8 => are_ends::<4>(a, b),
            8..=16 => are_ends::<8>(a, b),
            _ => a == b,
        }
}

#[cfg(test)]
mod tests {
    use super::is_same;

    #[test]
    fn names_are_equal_if_every_byte_is() {
        let text = "encoder-17 of the second floor";
        for len in 0..=text.len() {
            let name = &text[..len];
            assert!(is_same(name, &String::from(name)), "{name}");
            for other in 0..len {
                assert!(!is_same(name, &text[..other]), "{name}");
                let mut changed = name.to_owned().into_bytes();
                changed[other] ^= 1;
                assert!(!is_same(name, std::str::from_utf8(&changed).unwrap()), "{name}, {other}");
            }
        }
    }
}
