//! The cluster's public API as stubs: signatures, and the snippets of the design compiled against them.
//! Not part of the crate. Check: `rustc --edition 2024 --crate-type lib --emit metadata docs/cluster-api.rs`.
#![allow(dead_code, unused_variables, unreachable_code, clippy::all)]
use std::{error::Error, marker::PhantomData, ops::Deref, time::Duration};

// ---- what exists below (stubs) ----
pub trait Packet: Sized { type Archived; }
pub trait Unpack: Packet {}
pub trait OneOf<'a>: Sized {}
pub struct Publisher<T: Packet>(PhantomData<fn(T)>);
pub struct Subscriber<T: Packet>(PhantomData<fn(T)>);
pub trait Selectable {}
#[derive(Debug)] pub struct OpenError; #[derive(Debug)] pub struct RecvError; #[derive(Debug)] pub struct Unserializable;
pub struct Wait; pub enum Overflow { Block, DropOldest }
pub struct Info { pub redelivered: bool }
#[derive(Debug)] pub struct WaitingFor; #[derive(Debug)] pub struct Mismatch;

// ---- worker, directory ----
/// A process' place in a cluster. `Send + Sync`; every operation takes `&self`.
pub struct Worker(());
pub struct WorkerBuilder(());
/// A worker's number: small, stable over a restart.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)] pub struct WorkerId(pub u16);
/// A name or an id.
pub trait Addressee { #[doc(hidden)] fn address(&self) -> Address<'_>; }
#[doc(hidden)] pub enum Address<'a> { Name(&'a str), Id(WorkerId) }
impl Addressee for str { fn address(&self) -> Address<'_> { Address::Name(self) } }
impl Addressee for String { fn address(&self) -> Address<'_> { Address::Name(self) } }
impl Addressee for WorkerId { fn address(&self) -> Address<'_> { Address::Id(*self) } }
#[derive(Clone, Debug)] #[non_exhaustive]
pub struct WorkerInfo { pub id: WorkerId, pub name: String, pub pid: u32, pub uptime: Duration, pub generation: u64, pub state: WorkerState }
#[derive(Clone, Copy, Debug, PartialEq, Eq)] #[non_exhaustive]
pub enum WorkerState { Alive, Away, Gone }
#[derive(Clone, Debug)] #[non_exhaustive]
pub enum WorkerChange { Joined(WorkerInfo), Left(WorkerInfo), Died(WorkerInfo) }
/// Tells of joins, leaves and deaths. Selectable.
pub struct Watch(()); impl Selectable for Watch {}
impl Watch {
    pub fn recv(&mut self) -> Result<WorkerChange, RecvError> { todo!() }
    pub fn try_recv(&mut self) -> Result<WorkerChange, RecvError> { todo!() }
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<WorkerChange, RecvError> { todo!() }
}
#[derive(Debug)] #[non_exhaustive]
pub enum JoinError { NameTaken { name: String, pid: u32 }, BadName { name: String, reason: &'static str }, Full { limit: usize }, Open(OpenError) }
impl Worker {
    /// Joins as this name, making the cluster if it is not there.
    pub fn join(cluster: &str, name: &str) -> Result<Self, JoinError> { todo!() }
    /// The same with the name and id of the process manager (`name`, `NODE_APP_INSTANCE`, `pm_id`).
    pub fn from_env(cluster: &str) -> Result<Self, JoinError> { todo!() }
    pub fn builder() -> WorkerBuilder { todo!() }
    pub fn id(&self) -> WorkerId { todo!() }
    pub fn name(&self) -> &str { todo!() }
    pub fn workers(&self) -> Vec<WorkerInfo> { todo!() }
    pub fn worker(&self, who: &(impl Addressee + ?Sized)) -> Option<WorkerInfo> { todo!() }
    pub fn watch(&self) -> Result<Watch, OpenError> { todo!() }
    pub fn wait_for_worker_timeout(&self, who: &(impl Addressee + ?Sized), timeout: Duration) -> Result<WorkerInfo, RecvError> { todo!() }
    /// Gives name and inbox up; what is in the inbox is lost. A drop keeps both.
    pub fn leave(self) -> Result<(), OpenError> { todo!() }
    /// Clears a dead worker's name and inbox away.
    pub fn retire(&self, who: &(impl Addressee + ?Sized)) -> Result<bool, OpenError> { todo!() }
}
impl WorkerBuilder {
    pub fn max_workers(self, n: usize) -> Self { self }
    pub fn id(self, id: WorkerId) -> Self { self }
    pub fn inbox_capacity(self, bytes: usize) -> Self { self }
    pub fn events_overflow(self, overflow: Overflow) -> Self { self }
    pub fn patience(self, patience: Duration) -> Self { self }
    pub fn join(self, cluster: &str, name: &str) -> Result<Worker, JoinError> { todo!() }
}
// ---- topics ----
pub struct TopicBuilder<'a>(&'a Worker);
impl Worker {
    pub fn publisher<T: Packet>(&self, topic: &str) -> Result<Publisher<T>, OpenError> { todo!() }
    pub fn subscriber<T: Packet>(&self, topic: &str) -> Result<Subscriber<T>, OpenError> { todo!() }
    pub fn topic(&self, name: &str) -> TopicBuilder<'_> { todo!() }
}
impl<'a> TopicBuilder<'a> {
    pub fn capacity(self, bytes: usize) -> Self { self }
    pub fn exclusive(self) -> Self { self }
    pub fn overflow(self, overflow: Overflow) -> Self { self }
    pub fn history(self, packets: usize) -> Self { self }
    pub fn closes_when_left(self) -> Self { self }
    pub fn wait(self, wait: Wait) -> Self { self }
    pub fn publisher<T: Packet>(self) -> Result<Publisher<T>, OpenError> { todo!() }
    pub fn subscriber<T: Packet>(self) -> Result<Subscriber<T>, OpenError> { todo!() }
}
impl<T: Packet> Subscriber<T> { pub fn recv(&mut self) -> Result<Received<'_, T>, RecvError> { todo!() } }
impl<T: Packet> Selectable for Subscriber<T> {}
pub struct Received<'a, T: Packet>(&'a T::Archived);
impl<T: Packet> Deref for Received<'_, T> { type Target = T::Archived; fn deref(&self) -> &T::Archived { self.0 } }
// ---- inboxes ----
pub struct Inbox(()); impl Selectable for Inbox {}
/// A packet in an inbox. Dropped without `done`, it comes again, flagged.
pub struct Letter<'a>(&'a mut Inbox);
#[derive(Debug)] #[non_exhaustive]
pub enum SendToError { UnknownWorker { who: String }, NoInbox { who: String }, Dead { who: String, pid: u32 },
    TypeRefused(Box<Mismatch>), Closed, TooLarge { needed: usize, limit: usize }, Unserializable(Unserializable),
    Full { waiting_for: WaitingFor }, Timeout { waiting_for: WaitingFor }, Open(Box<OpenError>) }
impl Worker {
    pub fn send_to<T: Packet>(&self, who: &(impl Addressee + ?Sized), packet: &T) -> Result<(), SendToError> { todo!() }
    pub fn try_send_to<T: Packet>(&self, who: &(impl Addressee + ?Sized), packet: &T) -> Result<(), SendToError> { todo!() }
    pub fn send_to_timeout<T: Packet>(&self, who: &(impl Addressee + ?Sized), packet: &T, timeout: Duration) -> Result<(), SendToError> { todo!() }
    /// The inbox; from now on this worker is expected back when it dies.
    pub fn inbox(&self) -> Result<Inbox, OpenError> { todo!() }
    /// The same; senders of other packets get `TypeRefused`.
    pub fn inbox_of<W: OneOf<'static>>(&self) -> Result<Inbox, OpenError> { todo!() }
}
impl Inbox {
    pub fn recv(&mut self) -> Result<Letter<'_>, RecvError> { todo!() }
    pub fn try_recv(&mut self) -> Result<Letter<'_>, RecvError> { todo!() }
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<Letter<'_>, RecvError> { todo!() }
    pub fn backlog(&self) -> u64 { todo!() }
}
impl Letter<'_> {
    pub fn open<'m, W: OneOf<'m>>(&'m self) -> Result<Option<W>, RecvError> { todo!() }
    pub fn open_as<T: Packet>(&self) -> Result<&T::Archived, RecvError> { todo!() }
    pub fn sender(&self) -> WorkerId { todo!() }
    pub fn type_name(&self) -> String { todo!() }
    pub fn info(&self) -> Info { todo!() }
    /// Acknowledges it: it does not come again.
    pub fn done(self) {}
}
// ---- work queues ----
/// A member of a group: takes packets that no other member gets.
pub struct Member<T: Packet>(PhantomData<fn(T)>); impl<T: Packet> Selectable for Member<T> {}
pub struct Taken<'a, T: Packet>(&'a T::Archived, &'a mut Member<T>);
impl Worker {
    pub fn group<T: Packet>(&self, name: &str) -> Result<Member<T>, OpenError> { todo!() }
    pub fn group_publisher<T: Packet>(&self, name: &str) -> Result<Publisher<T>, OpenError> { todo!() }
}
impl<T: Packet> Member<T> {
    pub fn recv(&mut self) -> Result<Taken<'_, T>, RecvError> { todo!() }
    pub fn try_recv(&mut self) -> Result<Taken<'_, T>, RecvError> { todo!() }
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<Taken<'_, T>, RecvError> { todo!() }
}
impl<T: Packet> Deref for Taken<'_, T> { type Target = T::Archived; fn deref(&self) -> &T::Archived { self.0 } }
impl<T: Packet> Taken<'_, T> {
    pub fn info(this: &Self) -> Info { todo!() }
    pub fn done(this: Self) {}
    /// Leaves it to whichever member comes first.
    pub fn retry(this: Self) {}
}
// ---- services ----
pub struct Service<Q: Packet, R: Packet>(PhantomData<fn(Q) -> R>); impl<Q: Packet, R: Packet> Selectable for Service<Q, R> {}
pub struct Request<'a, Q: Packet, R: Packet>(&'a Q::Archived, PhantomData<fn(R)>);
/// The right to reply later. `Send`, has no borrow.
pub struct Deferred<R: Packet>(PhantomData<fn(R)>);
pub struct Client<Q: Packet, R: Packet>(PhantomData<fn(Q) -> R>);
/// A call in flight: a number. Dropping it without `wait` cancels nothing: see `Client::cancel`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)] pub struct Call(u64);
pub struct Reply<'a, R: Packet>(&'a R::Archived);
impl<R: Packet> Deref for Reply<'_, R> { type Target = R::Archived; fn deref(&self) -> &R::Archived { self.0 } }
#[derive(Debug)] #[non_exhaustive]
pub enum CallError { Timeout, NoService, ServiceGone, NoReply, Busy { limit: usize }, Corrupt(Box<str>), TooLarge { needed: usize, limit: usize }, Unserializable(Unserializable) }
#[derive(Debug)] #[non_exhaustive]
pub enum ReplyError { CallerGone, Full, TooLarge { needed: usize, limit: usize }, Unserializable(Unserializable) }
impl Worker {
    pub fn service<Q: Packet, R: Packet>(&self, name: &str) -> Result<Service<Q, R>, OpenError> { todo!() }
    pub fn client<Q: Packet, R: Packet>(&self, name: &str) -> Result<Client<Q, R>, OpenError> { todo!() }
}
impl<Q: Packet, R: Packet> Service<Q, R> {
    pub fn recv(&mut self) -> Result<Request<'_, Q, R>, RecvError> { todo!() }
    pub fn try_recv(&mut self) -> Result<Request<'_, Q, R>, RecvError> { todo!() }
}
impl<Q: Packet, R: Packet> Deref for Request<'_, Q, R> { type Target = Q::Archived; fn deref(&self) -> &Q::Archived { self.0 } }
impl<Q: Packet, R: Packet> Request<'_, Q, R> {
    pub fn reply(self, reply: &R) -> Result<(), ReplyError> { todo!() }
    pub fn defer(self) -> Deferred<R> { todo!() }
    pub fn caller(&self) -> WorkerId { todo!() }
    pub fn is_wanted(&self) -> bool { todo!() }
}
impl<R: Packet> Deferred<R> { pub fn reply(self, service: &mut impl Replier<R>, reply: &R) -> Result<(), ReplyError> { todo!() } pub fn is_wanted(&self) -> bool { todo!() } }
pub trait Replier<R> {} impl<Q: Packet, R: Packet> Replier<R> for Service<Q, R> {}
impl<Q: Packet, R: Packet> Client<Q, R> {
    pub fn call(&mut self, request: &Q) -> Result<Reply<'_, R>, CallError> { todo!() }
    pub fn call_timeout(&mut self, request: &Q, timeout: Duration) -> Result<Reply<'_, R>, CallError> { todo!() }
    pub fn start(&mut self, request: &Q) -> Result<Call, CallError> { todo!() }
    pub fn wait(&mut self, call: Call) -> Result<Reply<'_, R>, CallError> { todo!() }
    pub fn wait_timeout(&mut self, call: Call, timeout: Duration) -> Result<Reply<'_, R>, CallError> { todo!() }
    pub fn wait_any(&mut self) -> Result<(Call, Reply<'_, R>), CallError> { todo!() }
    pub fn cancel(&mut self, call: Call) {}
}
// ---- events ----
pub struct Events<'a>(PhantomData<Box<dyn FnMut() + 'a>>);
#[derive(Clone, Copy, Debug, PartialEq, Eq)] pub struct HandlerId(u64);
pub struct Context<'a>(&'a ());
#[derive(Debug)] pub enum EmitError { OwnBacklog, Full, Timeout, TooLarge { needed: usize, limit: usize }, Unserializable(Unserializable) }
#[derive(Debug)] pub enum RunError { Handler { event: String, source: Box<dyn Error + Send + Sync> }, Missed(u64), Corrupt(Box<str>), System(std::io::Error) }
impl Worker { pub fn events<'a>(&self) -> Result<Events<'a>, OpenError> { todo!() } }
impl<'h> Events<'h> {
    pub fn on<T: Packet>(&mut self, event: &str, handler: impl FnMut(&T::Archived, &mut Context<'_>) + 'h) -> HandlerId { todo!() }
    pub fn try_on<T: Packet>(&mut self, event: &str, handler: impl FnMut(&T::Archived, &mut Context<'_>) -> Result<(), Box<dyn Error + Send + Sync>> + 'h) -> HandlerId { todo!() }
    pub fn once<T: Packet>(&mut self, event: &str, handler: impl FnOnce(&T::Archived, &mut Context<'_>) + 'h) -> HandlerId { todo!() }
    pub fn prepend<T: Packet>(&mut self, event: &str, handler: impl FnMut(&T::Archived, &mut Context<'_>) + 'h) -> HandlerId { todo!() }
    pub fn on_error(&mut self, handler: impl FnMut(RunError, &mut Context<'_>) + 'h) -> HandlerId { todo!() }
    pub fn on_worker(&mut self, handler: impl FnMut(&WorkerChange, &mut Context<'_>) + 'h) -> HandlerId { todo!() }
    pub fn off(&mut self, handler: HandlerId) -> bool { todo!() }
    pub fn off_all(&mut self, event: &str) -> usize { todo!() }
    pub fn emit<T: Packet>(&mut self, event: &str, packet: &T) -> Result<(), EmitError> { todo!() }
    pub fn listener_count(&self, event: &str) -> usize { todo!() }
    pub fn event_names(&self) -> Vec<String> { todo!() }
    pub fn wait_for<T: Unpack>(&mut self, event: &str) -> Result<T, RunError> { todo!() }
    pub fn wait_for_timeout<T: Unpack>(&mut self, event: &str, timeout: Duration) -> Result<Option<T>, RunError> { todo!() }
    pub fn run(&mut self) -> Result<(), RunError> { todo!() }
    pub fn run_for(&mut self, time: Duration) -> Result<usize, RunError> { todo!() }
    pub fn poll(&mut self) -> Result<usize, RunError> { todo!() }
}
impl Context<'_> {
    pub fn emit<T: Packet>(&mut self, event: &str, packet: &T) -> Result<(), EmitError> { todo!() }
    pub fn event(&self) -> &str { todo!() }
    pub fn sender(&self) -> WorkerId { todo!() }
    pub fn off(&mut self, handler: HandlerId) {}
    /// `run` returns after this event.
    pub fn stop(&mut self) {}
}
pub fn select(list: &mut [&mut dyn Selectable]) -> usize { todo!() }

// ---- the snippets of the design ----
macro_rules! packets { ($($t:ty),*) => { $(impl Packet for $t { type Archived = $t; } impl Unpack for $t {})* } }
pub struct Job { id: u64 } pub struct Stop; pub struct Ping { nonce: u32 } pub struct Pong { nonce: u32 } pub struct Opened(u8); pub struct Price { bid: u64 }
packets!(Job, Stop, Ping, Pong, Opened, Price, (u32, u8));
enum Work<'a> { Job(&'a Job), Stop(&'a Stop) } impl<'a> OneOf<'a> for Work<'a> {}
fn debugged<E: std::fmt::Debug>(e: E) -> Box<dyn Error> { format!("{e:?}").into() }

fn topic(feed: &Worker) -> Result<(), Box<dyn Error>> {
    let desk = Worker::join("market", "desk-1").map_err(debugged)?;
    let mut prices = desk.subscriber::<Price>("prices").map_err(debugged)?;
    loop { match prices.recv() { Ok(price) if price.bid > 1 => {} Ok(_) => {} Err(_) => return Ok(()) } }
}
fn mail(feed: &Worker, inbox: &mut Inbox) -> Result<(), Box<dyn Error>> {
    let _picky = feed.inbox_of::<Work>().map_err(debugged)?;
    feed.send_to("encoder-3", &Job { id: 1 }).map_err(debugged)?;
    feed.send_to(&WorkerId(3), &Job { id: 1 }).map_err(debugged)?;
    loop {
        let mail = inbox.recv().map_err(debugged)?;
        feed.send_to(&mail.sender(), &Stop).map_err(debugged)?;
        match mail.open().map_err(debugged)? {
            Some(Work::Job(job)) => drop(job.id),
            Some(Work::Stop(_)) => return Ok(()),
            None => drop(mail.type_name()),
        }
        mail.done();
    }
}
fn jobs(worker: &Worker) -> Result<(), Box<dyn Error>> {
    let mut jobs = worker.group::<Job>("encoders").map_err(debugged)?;
    loop { let job = jobs.recv().map_err(debugged)?; if job.id == 7 { Taken::retry(job) } else { Taken::done(job) } }
}
fn service(server: &Worker, client: &Worker) -> Result<(), Box<dyn Error>> {
    let mut echo = server.service::<Ping, Pong>("echo").map_err(debugged)?;
    let ping = echo.recv().map_err(debugged)?;
    let pong = Pong { nonce: ping.nonce };
    ping.reply(&pong).map_err(debugged)?;
    let later = echo.recv().map_err(debugged)?.defer();
    let other = echo.recv().map_err(debugged)?;
    other.reply(&pong).map_err(debugged)?;
    later.reply(&mut echo, &pong).map_err(debugged)?;
    let mut echo = client.client::<Ping, Pong>("echo").map_err(debugged)?;
    let pong = echo.call_timeout(&Ping { nonce: 42 }, Duration::from_millis(5)).map_err(debugged)?;
    let _ = pong.nonce;
    let (a, b) = (echo.start(&Ping { nonce: 43 }).map_err(debugged)?, echo.start(&Ping { nonce: 44 }).map_err(debugged)?);
    let _ = echo.wait(b).map_err(debugged)?.nonce;
    let _ = echo.wait(a).map_err(debugged)?.nonce;
    Ok(())
}
fn events(worker: &Worker) -> Result<(), Box<dyn Error>> {
    let mut count = 0;
    let mut events = worker.events().map_err(debugged)?;
    let first = events.on::<Opened>("threadA::open", |opened, context| { count += 1; let _ = context.emit("seen", &Stop); });
    events.try_on::<Opened>("threadA::*", |opened, context| { context.off(first); Ok(()) });
    events.once::<(u32, u8)>("pair", |pair, _| { let _ = pair.0; });
    events.emit("pair", &(1_u32, 2_u8)).map_err(debugged)?;
    events.run().map_err(debugged)?;
    drop(events);
    let _ = count;
    Ok(())
}
fn one_place(inbox: &mut Inbox, prices: &mut Subscriber<Price>, echo: &mut Service<Ping, Pong>, watch: &mut Watch) -> usize {
    select(&mut [inbox, prices, echo, watch])
}
