//! myelon: its typed transport with the rkyv codec, over disruptor-mp, `BusySpin`.
//!
//! - Settings: frames with room for exactly one record.
//! - Records: each is archived into a new buffer, as the `Codec` trait requires. `recv_leased`
//!   checks it and lends it in place.
//! - It has no batches.

use super::disruptor_mp::{READER, TIMEOUT};
use crate::record::Record;
use crate::tally::Tally;
use crate::transport::{self, DEPTH, Failure, Transport};
use crate::way::Way;
use myelon::codec::{Codec, CodecError, ZeroCopyCodec};
use myelon::transport::{MyelonWaitStrategy, ReassemblyBuffer};
use myelon::typed_transport::{TypedConsumer, TypedProducer};
use packetring::rkyv::Archive;
use packetring::rkyv::util::AlignedVec;

pub(crate) struct Myelon;

/// A record with a codec of myelon.
struct Coded<R>(R);

impl<R: Record> Codec for Coded<R> {
    type Encoded = AlignedVec;

    #[inline]
    fn encode(&self) -> Result<AlignedVec, CodecError> {
        self.0.archive().map_err(CodecError::encode)
    }

    fn decode(_bytes: &[u8]) -> Result<Self, CodecError> {
        Err(CodecError::decode("records are read in place"))
    }
}

impl<R: Record> ZeroCopyCodec for Coded<R> {
    type Archived<'a> = &'a <R as Archive>::Archived;

    #[inline]
    fn access(bytes: &[u8]) -> Result<&<R as Archive>::Archived, CodecError> {
        R::open(bytes).map_err(CodecError::decode)
    }
}

/// A consumer, with the buffer for records of several frames (which never occur here).
pub(crate) struct Consumer<R: Record> {
    ring: TypedConsumer<R::Frame>,
    reassembly: ReassemblyBuffer,
}

impl Transport for Myelon {
    type Sender<R: Record> = TypedProducer<R::Frame>;
    type Receiver<R: Record> = Consumer<R>;

    fn sender<R: Record>(way: &Way) -> Result<TypedProducer<R::Frame>, Failure> {
        let mut producer = TypedProducer::create(&way.name(), DEPTH)?;
        way.post("made", "")?;
        way.wait_for("attached")?;
        if !producer.discover_consumer_id(READER, TIMEOUT) {
            return Err("consumer was not discovered".into());
        }
        Ok(producer)
    }

    fn receiver<R: Record>(way: &Way) -> Result<Consumer<R>, Failure> {
        way.wait_for("made")?;
        let wait = MyelonWaitStrategy::BusySpin;
        let ring = TypedConsumer::attach_with_consumer_id(&way.name(), DEPTH, READER, wait)?;
        way.post("attached", "")?;
        Ok(Consumer { ring, reassembly: ReassemblyBuffer::new(size_of::<R>()) })
    }
}

impl<R: Record> transport::Sender<R> for TypedProducer<R::Frame> {
    #[inline]
    fn send(&mut self, record: &R) -> Result<(), Failure> {
        Ok(self.publish(&Coded(*record), 0)?)
    }
}

impl<R: Record> transport::Receiver<R> for Consumer<R> {
    #[inline]
    fn receive(&mut self, tally: &mut Tally) -> Result<(), Failure> {
        let Self { ring, reassembly } = self;
        let read = |_, record: &<R as Archive>::Archived| R::archived_sequence(record);
        tally.take(ring.recv_leased::<Coded<R>, _, _>(reassembly, read)?);
        Ok(())
    }
}
