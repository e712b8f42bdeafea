//! Sending to inboxes, and the endpoints that a worker has there.
//!
//! It guarantees that each way in which a letter cannot be sent is an error of its own, and that a
//! send that succeeded is in the inbox of the worker that had the name, or the id, when it was sent.
//!
//! An inbox belongs to a name, so an endpoint stays good when the worker is restarted. Each send
//! compares one word, the phase of the worker's desk, with what it was when the endpoint was looked
//! up, and once more when it has attached; another one is looked up again.
//!
//! The first thread that sends has endpoints of its own, without a lock: a mutex costs as much as a
//! claim. All others share theirs under a mutex, which is held while something is tried; who must
//! wait takes an endpoint out, so that one full inbox does not stop other threads. So a worker has two
//! endpoints at an inbox, and one more for each thread that waits there with others.

use super::directory::{Directory, Found};
use super::envelope::Envelope;
use super::error::SendToError;
use super::names::{Address, Addressee, Object, WorkerId};
use super::worker::Worker;
use crate::channel::{MixedPublisher, Patience, RingBuilder, SendError, WaitingFor};
use crate::error::OpenError;
use crate::packet::Packet;
use crate::segment::member::{DeskState, Phase};
use crate::sys::owned::Owned;
use std::cell::RefCell;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How often an inbox is looked up that was given up while a letter was sent to it.
const LOOKS: usize = 3;

/// A worker's endpoints at others' inboxes.
#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    /// Those of the first thread that sent.
    first: Owned<RefCell<Endpoints>>,
    /// Those of all others.
    shared: Mutex<Endpoints>,
}

#[derive(Debug, Default)]
struct Endpoints {
    /// By desk.
    desks: Vec<Option<Correspondent>>,
    /// The names that letters were sent to, in order, and their desks.
    names: Vec<(Box<str>, WorkerId)>,
}

/// One worker, and endpoints at its inbox.
#[derive(Debug)]
struct Correspondent {
    name: String,
    /// How its desk stood when it was looked up.
    phase: Phase,
    /// What letters to it begin with: made once, because bytes that were just stored in pieces are
    /// slow to load as one.
    front: [u8; 16],
    /// Those that no thread waits with: one, unless several had to wait at a time.
    idle: Vec<MixedPublisher>,
}

/// Where a letter goes.
struct Inbox {
    id: WorkerId,
    name: String,
    phase: Phase,
}

impl Worker {
    /// Sends a packet to a worker, by name or id: into its [inbox](Worker::inbox). Waits for room,
    /// also if the worker is away: for ever, if it never comes back.
    ///
    /// That it returns means that the packet is in the inbox, and is handed out until somebody there
    /// says that it is done with. The first packet to a worker attaches to its inbox.
    ///
    /// Packets of one thread come in their order. A packet to itself is one like any other: a worker
    /// that waits for room in its own inbox waits for itself.
    ///
    /// # Errors
    ///
    /// [`UnknownWorker`](SendToError::UnknownWorker), [`NoInbox`](SendToError::NoInbox),
    /// [`Dead`](SendToError::Dead), [`TypeRefused`](SendToError::TypeRefused),
    /// [`TooLarge`](SendToError::TooLarge), [`Unserializable`](SendToError::Unserializable),
    /// [`Closed`](SendToError::Closed), [`Open`](SendToError::Open).
    #[inline]
    pub fn send_to<T: Packet>(
        &self,
        who: &(impl Addressee + ?Sized),
        packet: &T,
    ) -> Result<(), SendToError> {
        self.send_with(&who.address(), packet, Patience::Endless)
    }

    /// Sends a packet to a worker if there is room now: see [`send_to`](Self::send_to).
    ///
    /// # Errors
    ///
    /// As [`send_to`](Self::send_to), and [`Full`](SendToError::Full).
    #[inline]
    pub fn try_send_to<T: Packet>(
        &self,
        who: &(impl Addressee + ?Sized),
        packet: &T,
    ) -> Result<(), SendToError> {
        self.send_with(&who.address(), packet, Patience::None)
    }

    /// Sends a packet to a worker if there is room in time: see [`send_to`](Self::send_to).
    ///
    /// # Errors
    ///
    /// As [`send_to`](Self::send_to), and [`Timeout`](SendToError::Timeout).
    #[inline]
    pub fn send_to_timeout<T: Packet>(
        &self,
        who: &(impl Addressee + ?Sized),
        packet: &T,
        timeout: Duration,
    ) -> Result<(), SendToError> {
        self.send_with(&who.address(), packet, Patience::For(timeout))
    }

    #[inline]
    fn send_with<T: Packet>(
        &self,
        who: &Address<'_>,
        packet: &T,
        patience: Patience,
    ) -> Result<(), SendToError> {
        let tried = self.outgoing.with(|endpoints| {
            let Correspondent { front, idle, .. } = endpoints.at_hand(who, &self.directory)?;
            // Others may wait for these endpoints.
            Some(idle.last_mut()?.send_letter(front, packet, Patience::None).map(drop))
        });
        match tried {
            Some(Ok(())) => Ok(()),
            Some(Err(error)) if !may_go_on(&error, patience) => Err(error.into()),
            _ => self.send_slowly(who, packet, patience),
        }
    }

    /// Looks the worker up, attaches to its inbox if need be, and waits there.
    #[cold]
    fn send_slowly<T: Packet>(
        &self,
        who: &Address<'_>,
        packet: &T,
        patience: Patience,
    ) -> Result<(), SendToError> {
        let deadline = patience.deadline();
        let front = Envelope::of(self.id()).plain();
        for _ in 0..LOOKS {
            let inbox = look_up(&self.directory, who)?;
            let taken = self.outgoing.with(|endpoints| {
                endpoints.settle(&inbox, front, who, &self.directory);
                endpoints.take(inbox.id)
            });
            let left = patience.left(deadline);
            let mut endpoint = match taken.map_or_else(|| self.attach(&inbox, left), Ok) {
                Ok(endpoint) => endpoint,
                // Given up since it was looked up.
                Err(OpenError::NotFound { .. } | OpenError::Closed { .. }) => continue,
                Err(error) => return Err(opening(error, patience)),
            };
            if self.directory.phase(inbox.id) != inbox.phase {
                // Who had it may have left meanwhile, and a successor's be there that keeps no letters
                // yet: they would go into nothing.
                self.outgoing.with(|endpoints| endpoints.put_back(&inbox, endpoint));
                continue;
            }
            match endpoint.send_letter(&front, packet, patience.left(deadline)) {
                Err(SendError::Closed) => {
                    self.outgoing.with(|endpoints| endpoints.forget(inbox.id))
                }
                outcome => {
                    self.outgoing.with(|endpoints| endpoints.put_back(&inbox, endpoint));
                    return outcome.map(drop).map_err(SendToError::from);
                }
            }
        }
        Err(SendToError::Closed)
    }

    /// A new endpoint at an inbox that is there.
    fn attach(&self, inbox: &Inbox, patience: Patience) -> Result<MixedPublisher, OpenError> {
        let name = Object::Inbox(&inbox.name).name(&self.cluster)?;
        let settings = RingBuilder::default().letters();
        let settings = match (patience, self.choices.patience) {
            (Patience::None, _) => settings.patience(Duration::ZERO),
            (Patience::For(left), _) => settings.patience(left),
            (Patience::Endless, Some(chosen)) => settings.patience(chosen),
            (Patience::Endless, None) => settings,
        };
        let mut endpoint = settings.attach_named(&name)?.mixed_publisher()?;
        endpoint.set_patience(self.choices.patience);
        Ok(endpoint)
    }
}

impl Outgoing {
    /// Works with the endpoints that this thread uses.
    #[inline]
    fn with<R>(&self, work: impl FnOnce(&mut Endpoints) -> R) -> R {
        // Borrowed already: a packet sends packets while it is archived.
        match self.first.get().and_then(|own| own.try_borrow_mut().ok()) {
            Some(mut own) => work(&mut own),
            None => self.with_shared(work),
        }
    }

    #[inline(never)]
    fn with_shared<R>(&self, work: impl FnOnce(&mut Endpoints) -> R) -> R {
        // A panic of a packet's own code leaves an endpoint without a claim.
        work(&mut self.shared.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Endpoints {
    /// An endpoint at the inbox of a worker that is who it was when it was looked up.
    #[inline]
    fn at_hand(&mut self, who: &Address<'_>, directory: &Directory) -> Option<&mut Correspondent> {
        let id = match who {
            Address::Id(id) => *id,
            Address::Name(name) => self.names[self.find(name).ok()?].1,
        };
        let correspondent = self.desks.get_mut(usize::from(id.0))?.as_mut()?;
        (directory.phase(id) == correspondent.phase).then_some(correspondent)
    }

    #[inline]
    fn find(&self, name: &str) -> Result<usize, usize> {
        self.names.binary_search_by(|(known, _)| (**known).cmp(name))
    }

    /// Remembers how an inbox was found, and lets go of what is known to be over.
    fn settle(&mut self, inbox: &Inbox, front: [u8; 16], who: &Address<'_>, directory: &Directory) {
        let index = usize::from(inbox.id.0);
        if self.desks.len() <= index {
            self.desks.resize_with(index + 1, || None);
        }
        for id in 0..self.desks.len() {
            let is_over = directory.phase(WorkerId(id as u16)).state() != DeskState::Kept;
            if is_over && id != index {
                self.forget(WorkerId(id as u16));
            }
        }
        match &mut self.desks[index] {
            Some(known) if known.name == inbox.name => known.phase = inbox.phase,
            _ => {
                self.forget(inbox.id);
                let Inbox { name, phase, .. } = inbox;
                let (name, phase, idle) = (name.clone(), *phase, Vec::new());
                let correspondent = Correspondent { name, phase, front, idle };
                self.desks[index] = Some(correspondent);
            }
        }
        if let Address::Name(name) = who {
            match self.find(name) {
                Ok(at) => self.names[at].1 = inbox.id,
                Err(at) => self.names.insert(at, ((*name).into(), inbox.id)),
            }
        }
    }

    fn take(&mut self, id: WorkerId) -> Option<MixedPublisher> {
        self.desks.get_mut(usize::from(id.0))?.as_mut()?.idle.pop()
    }

    /// Keeps an endpoint for the next letter, unless its inbox is not the worker's any more.
    fn put_back(&mut self, inbox: &Inbox, endpoint: MixedPublisher) {
        let correspondent = self.desks.get_mut(usize::from(inbox.id.0)).and_then(Option::as_mut);
        if let Some(known) = correspondent.filter(|known| known.name == inbox.name) {
            known.idle.push(endpoint);
        }
    }

    /// Drops the endpoints at an inbox that is over.
    fn forget(&mut self, id: WorkerId) {
        if let Some(desk) = self.desks.get_mut(usize::from(id.0)) {
            *desk = None;
        }
        self.names.retain(|(_, at)| *at != id);
    }
}

/// Finds the inbox of a worker.
fn look_up(directory: &Directory, who: &Address<'_>) -> Result<Inbox, SendToError> {
    let who_it_is = || match who {
        Address::Name(name) => (*name).to_owned(),
        Address::Id(id) => id.to_string(),
    };
    loop {
        match directory.find(who) {
            Found::Unknown => return Err(SendToError::UnknownWorker { who: who_it_is() }),
            Found::Gone { pid } => return Err(SendToError::Dead { who: who_it_is(), pid }),
            Found::NoInbox(_) => return Err(SendToError::NoInbox { who: who_it_is() }),
            Found::Kept { id, generation } => {
                let phase = directory.phase(id);
                let info = directory.info(&Address::Id(id));
                // Else it left, or another sat down at that desk, just now.
                if let Some(info) = info.filter(|info| {
                    info.generation == generation
                        && phase.generation() == generation
                        && phase.state() == DeskState::Kept
                }) {
                    return Ok(Inbox { id, name: info.name, phase });
                }
            }
        }
    }
}

/// Whether a send that was tried may succeed if it is looked up again, or waits.
fn may_go_on(error: &SendError, patience: Patience) -> bool {
    match error {
        SendError::Closed => true,
        SendError::Full { .. } => !matches!(patience, Patience::None),
        _ => false,
    }
}

/// Why an inbox cannot be attached to, as the sender sees it.
fn opening(error: OpenError, patience: Patience) -> SendToError {
    let joining = |pid: Option<u32>| WaitingFor::Joining { pid: pid.unwrap_or_default() };
    match (error, patience) {
        (OpenError::Busy { pid, .. }, Patience::None) => {
            SendToError::Full { waiting_for: joining(pid) }
        }
        (OpenError::Busy { pid, .. }, Patience::For(_)) => {
            SendToError::Timeout { waiting_for: joining(pid) }
        }
        (error, _) => SendToError::Open(Box::new(error)),
    }
}

impl From<SendError> for SendToError {
    fn from(error: SendError) -> Self {
        match error {
            SendError::Closed => Self::Closed,
            SendError::TooLarge { needed, limit } => Self::TooLarge { needed, limit },
            SendError::Unserializable(error) => Self::Unserializable(error),
            SendError::Full { waiting_for } => Self::Full { waiting_for },
            SendError::Timeout { waiting_for } => Self::Timeout { waiting_for },
            SendError::TypeRefused(types) => Self::TypeRefused(types),
            SendError::TooManyTypes { limit } => {
                Self::Open(Box::new(OpenError::TooManyTypes { limit }))
            }
            SendError::System(source) => {
                let (action, object) = ("enter a packet's type into", "an inbox".to_owned());
                Self::Open(Box::new(OpenError::System { action, object, source }))
            }
        }
    }
}
