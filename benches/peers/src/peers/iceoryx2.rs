//! iceoryx2: publish-subscribe over `ipc::Service`, polled; loaned, written and read in place.
//!
//! Settings: lossless (no safe overflow, `RetryUntilDelivered`), one publisher, one subscriber, a
//! buffer of as many samples as the other rings have; a prefix and a root path of its own. It has
//! no batches.

use crate::record::Record;
use crate::tally::Tally;
use crate::transport::{self, DEPTH, Failure, Transport, spin};
use crate::way::Way;
use iceoryx2::port::publisher::Publisher;
use iceoryx2::port::subscriber::Subscriber;
use iceoryx2::prelude::*;
use iceoryx2::service::port_factory::publish_subscribe::PortFactory;

pub(crate) struct Iceoryx2;

/// A port, and what it needs to live.
pub(crate) struct Port<P> {
    port: P,
    _node: Node<ipc::Service>,
}

impl Transport for Iceoryx2 {
    type Sender<R: Record> = Port<Publisher<ipc::Service, R, ()>>;
    type Receiver<R: Record> = Port<Subscriber<ipc::Service, R, ()>>;

    fn sender<R: Record>(way: &Way) -> Result<Self::Sender<R>, Failure> {
        way.learn("subscribed")?;
        let (node, service) = open::<R>(way)?;
        let strategy = BackpressureStrategy::RetryUntilDelivered;
        let port = service.publisher_builder().backpressure_strategy(strategy).create()?;
        way.tell("published", "")?;
        way.learn("connected")?;
        Ok(Port { port, _node: node })
    }

    fn receiver<R: Record>(way: &Way) -> Result<Self::Receiver<R>, Failure> {
        let (node, service) = open::<R>(way)?;
        let port = service.subscriber_builder().create()?;
        way.tell("subscribed", "")?;
        way.learn("published")?;
        // It connects to a publisher when it looks, and what was sent before may be dropped even by
        // one that is to retry until it is delivered.
        port.has_samples()?;
        way.tell("connected", "")?;
        Ok(Port { port, _node: node })
    }
}

type Opened<R> = (Node<ipc::Service>, PortFactory<ipc::Service, R, ()>);

fn open<R: Record>(way: &Way) -> Result<Opened<R>, Failure> {
    set_log_level(LogLevel::Error);
    let mut config = Config::default();
    let root = way.directory().to_string_lossy().into_owned();
    config.global.set_root_path(&Path::new(root.as_bytes())?);
    config.global.prefix = FileName::new(format!("{}_", way.name()).as_bytes())?;
    let node = NodeBuilder::new().config(&config).create::<ipc::Service>()?;
    let service = node
        .service_builder(&ServiceName::new(&way.name())?)
        .publish_subscribe::<R>()
        .enable_safe_overflow(false)
        .subscriber_max_buffer_size(DEPTH)
        .max_publishers(1)
        .max_subscribers(1)
        .open_or_create()?;
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
