//! A unix stream socket, spinning. [`framed`](super::framed) describes the frames.
//!
//! Settings: none; the socket buffer has the kernel's default size.

use super::framed::{Buffering, Codec, FramedReceiver, FramedSender, Spinning};
use crate::record::Record;
use crate::transport::{Failure, Transport};
use crate::way::Way;
use std::marker::PhantomData;
use std::os::unix::net::{UnixListener, UnixStream};

pub(crate) struct Socket<C, G>(PhantomData<(C, G)>);

impl<C: Codec, G: Buffering> Transport for Socket<C, G> {
    type Sender<R: Record> = FramedSender<G::Writer<Spinning<UnixStream>>, C>;
    type Receiver<R: Record> = FramedReceiver<Spinning<UnixStream>, C>;

    fn sender<R: Record>(way: &Way) -> Result<Self::Sender<R>, Failure> {
        way.wait_for("listening")?;
        let stream = UnixStream::connect(way.path("socket"))?;
        stream.set_nonblocking(true)?;
        Ok(FramedSender::new(G::before(Spinning(stream))))
    }

    fn receiver<R: Record>(way: &Way) -> Result<Self::Receiver<R>, Failure> {
        let listener = UnixListener::bind(way.path("socket"))?;
        way.post("listening", "")?;
        let (stream, _) = listener.accept()?;
        stream.set_nonblocking(true)?;
        Ok(FramedReceiver::new(Spinning(stream)))
    }
}
