//! iceoryx2: publish-subscribe over `ipc::Service`, polled; samples are written and read in place.
//!
//! - Settings: lossless (no safe overflow, `RetryUntilDelivered`), one publisher, one subscriber, a
//!   buffer for as many samples as the other rings; a prefix and a root path for each case.
//! - It has no batches.
//! - Cell: a [`Blackboard`] with one key and its default settings, copied in and out.

use crate::cell::{self, Cell};
use crate::record::Record;
use crate::tally::Tally;
use crate::transport::{self, DEPTH, Failure, Transport, spin};
use crate::way::Way;
use iceoryx2::port::publisher::Publisher;
use iceoryx2::port::reader::EntryHandle;
use iceoryx2::port::subscriber::Subscriber;
use iceoryx2::port::writer::EntryHandleMut;
use iceoryx2::prelude::*;
use iceoryx2::service::builder::Builder;
use iceoryx2::service::port_factory::publish_subscribe::PortFactory;

pub(crate) struct Iceoryx2;
pub(crate) struct Blackboard;

/// The key of the only value.
const KEY: u64 = 0;

/// A port, and the node that keeps it alive.
pub(crate) struct Port<P> {
    port: P,
    _node: Node<ipc::Service>,
}

impl Transport for Iceoryx2 {
    type Sender<R: Record> = Port<Publisher<ipc::Service, R, ()>>;
    type Receiver<R: Record> = Port<Subscriber<ipc::Service, R, ()>>;

    fn sender<R: Record>(way: &Way) -> Result<Self::Sender<R>, Failure> {
        way.wait_for("subscribed")?;
        let (node, service) = open::<R>(way)?;
        let strategy = BackpressureStrategy::RetryUntilDelivered;
        let port = service.publisher_builder().backpressure_strategy(strategy).create()?;
        way.post("published", "")?;
        way.wait_for("connected")?;
        Ok(Port { port, _node: node })
    }

    fn receiver<R: Record>(way: &Way) -> Result<Self::Receiver<R>, Failure> {
        let (node, service) = open::<R>(way)?;
        let port = service.subscriber_builder().create()?;
        way.post("subscribed", "")?;
        way.wait_for("published")?;
        // A subscriber connects to a publisher when it polls. Samples sent before may be lost, even
        // with `RetryUntilDelivered`.
        port.has_samples()?;
        way.post("connected", "")?;
        Ok(Port { port, _node: node })
    }
}

type Opened<R> = (Node<ipc::Service>, PortFactory<ipc::Service, R, ()>);

fn open<R: Record>(way: &Way) -> Result<Opened<R>, Failure> {
    let (node, service) = builder(way)?;
    let service = service
        .publish_subscribe::<R>()
        .enable_safe_overflow(false)
        .subscriber_max_buffer_size(DEPTH)
        .max_publishers(1)
        .max_subscribers(1)
        .open_or_create()?;
    Ok((node, service))
}

/// A node of this case, and the builder of its service.
fn builder(way: &Way) -> Result<(Node<ipc::Service>, Builder<ipc::Service>), Failure> {
    set_log_level(LogLevel::Error);
    let mut config = Config::default();
    let root = way.directory().to_string_lossy().into_owned();
    config.global.set_root_path(&Path::new(root.as_bytes())?);
    config.global.prefix = FileName::new(format!("{}_", way.name()).as_bytes())?;
    let node = NodeBuilder::new().config(&config).create::<ipc::Service>()?;
    let service = node.service_builder(&ServiceName::new(&way.name())?);
    Ok((node, service))
}

impl<R: Record> transport::Sender<R> for Port<Publisher<ipc::Service, R, ()>> {
    #[inline]
    fn send(&mut self, record: &R) -> Result<(), Failure> {
        self.port.loan_uninit()?.write_payload(*record).send()?;
        Ok(())
    }
}

impl<R: Record> transport::Receiver<R> for Port<Subscriber<ipc::Service, R, ()>> {
    #[inline]
    fn receive(&mut self, tally: &mut Tally) -> Result<(), Failure> {
        let sample = spin(|| self.port.receive().transpose())?;
        tally.take(sample.payload().sequence());
        Ok(())
    }
}

impl Cell for Blackboard {
    type Writer<R: Record> = Port<EntryHandleMut<ipc::Service, u64, R>>;
    type Reader<R: Record> = Port<EntryHandle<ipc::Service, u64, R>>;

    fn writer<R: Record>(way: &Way) -> Result<Self::Writer<R>, Failure> {
        let (node, service) = builder(way)?;
        let service = service.blackboard_creator::<u64>().add_with_default::<R>(KEY).create()?;
        let port = service.writer_builder().create()?.entry(&KEY)?;
        Ok(Port { port, _node: node })
    }

    fn reader<R: Record>(way: &Way) -> Result<Self::Reader<R>, Failure> {
        let (node, service) = builder(way)?;
        let service = service.blackboard_opener::<u64>().open()?;
        let port = service.reader_builder().create()?.entry(&KEY)?;
        Ok(Port { port, _node: node })
    }
}

impl<R: Record> cell::Writer<R> for Port<EntryHandleMut<ipc::Service, u64, R>> {
    #[inline]
    fn write(&mut self, value: &R) -> Result<(), Failure> {
        self.port.update_with_copy(*value);
        Ok(())
    }
}

impl<R: Record> cell::Reader for Port<EntryHandle<ipc::Service, u64, R>> {
    #[inline]
    fn read(&mut self) -> Result<u64, Failure> {
        Ok(self.port.get().sequence())
    }
}
