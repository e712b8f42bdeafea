//! A pipe with a name, spinning: see [`framed`](super::framed) for what is written and read.
//!
//! Settings: none; the kernel's own pipe buffer (64 KiB). A pipe with a name is a pipe: only how
//! the two ends are found differs.

use super::framed::{Codec, FramedReceiver, FramedSender, Gathering, Spinning};
use crate::record::Record;
use crate::transport::{Failure, Transport};
use crate::way::Way;
use rustix::fs::{CWD, FileType, Mode, OFlags, fcntl_getfl, fcntl_setfl, mknodat};
use std::fs::{File, OpenOptions};
use std::marker::PhantomData;

pub(crate) struct Pipe<C, G>(PhantomData<(C, G)>);

impl<C: Codec, G: Gathering> Transport for Pipe<C, G> {
    type Sender<R: Record> = FramedSender<G::Writer<Spinning<File>>, C>;
    type Receiver<R: Record> = FramedReceiver<Spinning<File>, C>;

    fn sender<R: Record>(way: &Way) -> Result<Self::Sender<R>, Failure> {
        way.learn("made")?;
        let file = OpenOptions::new().write(true).open(way.path("pipe"))?;
        Ok(FramedSender::new(G::before(spinning(file)?)))
    }

    fn receiver<R: Record>(way: &Way) -> Result<Self::Receiver<R>, Failure> {
        mknodat(CWD, way.path("pipe"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?;
        way.tell("made", "")?;
        // Either end waits here for the other one to be opened.
        Ok(FramedReceiver::new(spinning(File::open(way.path("pipe"))?)?))
    }
}

fn spinning(file: File) -> Result<Spinning<File>, Failure> {
    fcntl_setfl(&file, fcntl_getfl(&file)? | OFlags::NONBLOCK)?;
    Ok(Spinning(file))
}
