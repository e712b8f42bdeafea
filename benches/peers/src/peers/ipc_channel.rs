//! ipc-channel: its typed channel, with its default socket and serializer.
//!
//! - Settings: none. The reader spins on `try_recv`; the sender cannot spin.
//! - It has no batches.

use crate::record::Record;
use crate::tally::Tally;
use crate::transport::{self, Failure, Transport};
use crate::way::Way;
use ipc_channel::TryRecvError;
use ipc_channel::ipc::{IpcOneShotServer, IpcReceiver, IpcSender};

pub(crate) struct IpcChannel;

impl Transport for IpcChannel {
    type Sender<R: Record> = IpcSender<R>;
    type Receiver<R: Record> = IpcReceiver<R>;

    fn sender<R: Record>(way: &Way) -> Result<IpcSender<R>, Failure> {
        let sender = IpcSender::connect(way.wait_for("name")?)?;
        // The server returns its receiver with the first message, which is not part of the stream.
        sender.send(R::default())?;
        Ok(sender)
    }

    fn receiver<R: Record>(way: &Way) -> Result<IpcReceiver<R>, Failure> {
        let (server, name) = IpcOneShotServer::<R>::new()?;
        way.post("name", &name)?;
        let (receiver, _first) = server.accept()?;
        Ok(receiver)
    }
}

impl<R: Record> transport::Sender<R> for IpcSender<R> {
    #[inline]
    fn send(&mut self, record: &R) -> Result<(), Failure> {
        Ok(IpcSender::send(self, *record)?)
    }
}

impl<R: Record> transport::Receiver<R> for IpcReceiver<R> {
    #[inline]
    fn receive(&mut self, tally: &mut Tally) -> Result<(), Failure> {
        loop {
            match self.try_recv() {
                Ok(record) => {
                    tally.take(record.sequence());
                    return Ok(());
                }
                Err(TryRecvError::Empty) => std::hint::spin_loop(),
                Err(TryRecvError::IpcError(error)) => return Err(error.into()),
            }
        }
    }
}
