//! A unix stream socket, spinning: see [`framed`](super::framed) for what is written and read.
//!
//! Settings: none; the kernel's own socket buffer.

use super::framed::{Codec, FramedReceiver, FramedSender, Gathering, Spinning};
use crate::record::Record;
use crate::transport::{Failure, Transport};
use crate::way::Way;
use std::marker::PhantomData;
use std::os::unix::net::{UnixListener, UnixStream};

pub(crate) struct Socket<C, G>(PhantomData<(C, G)>);

impl<C: Codec, G: Gathering> Transport for Socket<C, G> {
    type Sender<R: Record> = FramedSender<G::Writer<Spinning<UnixStream>>, C>;
    type Receiver<R: Record> = FramedReceiver<Spinning<UnixStream>, C>;

    fn sender<R: Record>(way: &Way) -> Result<Self::Sender<R>, Failure> {
        way.learn("listening")?;
        let stream = UnixStream::connect(way.path("socket"))?;
        stream.set_nonblocking(true)?;
        Ok(FramedSender::new(G::before(Spinning(stream))))
    }

    fn receiver<R: Record>(way: &Way) -> Result<Self::Receiver<R>, Failure> {
        let listener = UnixListener::bind(way.path("socket"))?;
        way.tell("listening", "")?;
        let (stream, _) = listener.accept()?;
        stream.set_nonblocking(true)?;
        Ok(FramedReceiver::new(Spinning(stream)))
    }
}
