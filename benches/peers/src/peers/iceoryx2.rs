//! iceoryx2: publish-subscribe over `ipc::Service`, polled; samples are written and read in place.
//!
//! - Settings: lossless (no safe overflow, `RetryUntilDelivered`), one publisher, one subscriber, a
//!   buffer for as many samples as the other rings; a prefix and a root path for each case.
//! - It has no batches.

use crate::record::Record;
use crate::tally::Tally;
use crate::transport::{self, DEPTH, Failure, Transport, spin};
use crate::way::Way;
use iceoryx2::port::publisher::Publisher;
use iceoryx2::port::subscriber::Subscriber;
use iceoryx2::prelude::*;
use iceoryx2::service::port_factory::publish_subscribe::PortFactory;

pub(crate) struct Iceoryx2;

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
