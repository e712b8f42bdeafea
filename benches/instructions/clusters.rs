//! The operations of clusters: messages and calls.

use super::{Operations, Outcome, Tick, tick};
use packetring::Worker;
use packetring::cluster::{Client, Inbox, Request, Service};

/// Name of the worker that owns the inbox.
const OWNER: &str = "owner";

impl Operations<'_> {
    pub(super) fn messages(&mut self) -> Outcome<()> {
        let mailing = Mailing::open()?;
        self.count("message: send_to", 1, mailing, |_| true, Mailing::send, Mailing::receive)?;
        let mailing = Mailing::open()?;
        self.count("message: recv, open, ack", 1, mailing, Mailing::send, Mailing::receive, |_| {
            true
        })
    }

    pub(super) fn calls(&mut self) -> Outcome<()> {
        let worker = Worker::join(&cluster(), OWNER)?;
        let calls = Calls { client: worker.client("s")?, service: worker.service("s")? };
        self.count("call: start, recv, reply, wait", 1, calls, |_| true, Calls::call, |_| true)
    }
}

/// A worker that sends to another.
struct Mailing {
    sender: Worker,
    inbox: Inbox,
    /// Owner of the inbox, which leaves on drop.
    owner: Option<Worker>,
}

impl Mailing {
    fn open() -> Outcome<Self> {
        let owner = Worker::join(&cluster(), OWNER)?;
        let sender = Worker::join(&cluster(), "sender")?;
        Ok(Self { sender, inbox: owner.inbox()?, owner: Some(owner) })
    }

    fn send(&mut self) -> bool {
        self.sender.send_to(OWNER, &tick()).is_ok()
    }

    fn receive(&mut self) -> bool {
        self.inbox.recv().is_ok_and(|message| {
            let is_sound = message.open_as::<Tick>().is_ok_and(|tick| tick.sequence == 7);
            message.ack();
            is_sound
        })
    }
}

impl Drop for Mailing {
    fn drop(&mut self) {
        // The cluster keeps the inbox of a worker that is dropped without leaving.
        if let Some(Err(error)) = self.owner.take().map(Worker::leave) {
            eprintln!("could not remove the inbox: {error}");
        }
    }
}

/// Both ends of a service.
struct Calls {
    client: Client<Tick, Tick>,
    service: Service<Tick, Tick>,
}

impl Calls {
    fn call(&mut self) -> bool {
        let Ok(call) = self.client.start(&tick()) else { return false };
        let is_served =
            self.service.recv().is_ok_and(|request| Request::reply(request, &tick()).is_ok());
        is_served && call.wait().is_ok_and(|reply| reply.sequence == 7)
    }
}

fn cluster() -> String {
    format!("instructions-{}", std::process::id())
}
