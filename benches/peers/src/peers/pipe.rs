//! A named pipe, spinning. [`framed`](super::framed) describes the frames.
//!
//! Settings: none; the pipe buffer has the kernel's default size of 64 KiB.

use super::framed::{Buffering, Codec, FramedReceiver, FramedSender, Spinning};
use crate::record::Record;
use crate::transport::{Failure, Transport};
use crate::way::Way;
use rustix::fs::{CWD, FileType, Mode, OFlags, fcntl_getfl, fcntl_setfl, mknodat};
use std::fs::{File, OpenOptions};
use std::marker::PhantomData;

pub(crate) struct Pipe<C, G>(PhantomData<(C, G)>);

impl<C: Codec, G: Buffering> Transport for Pipe<C, G> {
    type Sender<R: Record> = FramedSender<G::Writer<Spinning<File>>, C>;
    type Receiver<R: Record> = FramedReceiver<Spinning<File>, C>;

    fn sender<R: Record>(way: &Way) -> Result<Self::Sender<R>, Failure> {
        way.wait_for("made")?;
        let file = OpenOptions::new().write(true).open(way.path("pipe"))?;
        Ok(FramedSender::new(G::before(spinning(file)?)))
    }

    fn receiver<R: Record>(way: &Way) -> Result<Self::Receiver<R>, Failure> {
        mknodat(CWD, way.path("pipe"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?;
        way.post("made", "")?;
        // Opening waits until the other end is opened, too.
        Ok(FramedReceiver::new(spinning(File::open(way.path("pipe"))?)?))
    }
}

fn spinning(file: File) -> Result<Spinning<File>, Failure> {
    fcntl_setfl(&file, fcntl_getfl(&file)? | OFlags::NONBLOCK)?;
    Ok(Spinning(file))
}
