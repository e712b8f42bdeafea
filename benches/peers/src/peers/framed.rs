//! Records over a stream of bytes, for [`socket`](super::socket) and [`pipe`](super::pipe).
//!
//! A frame is a length of four bytes, followed by the encoded record. Both ends are non-blocking
//! and spin. All memory is reused.
//!
//! - The reader uses a `BufReader` of 64 KiB.
//! - An [`Unbuffered`] writer makes one write for each `send` or `send_batch`.
//! - A [`Buffered`] writer uses a `BufWriter` of 64 KiB, which is flushed when it is full and at
//!   the end.

use crate::record::Record;
use crate::tally::Tally;
use crate::transport::{Failure, Receiver, Sender};
use packetring::rkyv::util::AlignedVec;
use std::io::{self, BufReader, BufWriter, ErrorKind, Read, Write};
use std::marker::PhantomData;

/// Size of the buffers of both ends in bytes.
const BUFFER: usize = 64 << 10;

/// Encoding of records.
pub(crate) trait Codec: 'static {
    /// Appends a record.
    fn encode<R: Record>(record: &R, to: &mut Vec<u8>) -> Result<(), Failure>;

    /// Decodes a record and returns its number.
    fn decode<R: Record>(bytes: &[u8]) -> Result<u64, Failure>;
}

/// rkyv: checked, and read in place in the receive buffer.
pub(crate) struct Rkyv;
/// bincode: decoded to an owned value.
pub(crate) struct Bincode;

impl Codec for Rkyv {
    #[inline]
    fn encode<R: Record>(record: &R, to: &mut Vec<u8>) -> Result<(), Failure> {
        to.extend_from_slice(&record.archive()?);
        Ok(())
    }

    #[inline]
    fn decode<R: Record>(bytes: &[u8]) -> Result<u64, Failure> {
        Ok(R::archived_sequence(R::open(bytes)?))
    }
}

impl Codec for Bincode {
    #[inline]
    fn encode<R: Record>(record: &R, to: &mut Vec<u8>) -> Result<(), Failure> {
        Ok(bincode::serialize_into(to, record)?)
    }

    #[inline]
    fn decode<R: Record>(bytes: &[u8]) -> Result<u64, Failure> {
        Ok(bincode::deserialize::<R>(bytes)?.sequence())
    }
}

/// Buffering of the writer.
pub(crate) trait Buffering: 'static {
    /// The writer in front of the stream.
    type Writer<W: Write>: Write;

    /// Wraps a stream.
    fn before<W: Write>(writer: W) -> Self::Writer<W>;
}

/// A write for each `send`.
pub(crate) struct Unbuffered;
/// A `BufWriter` in front of the stream.
pub(crate) struct Buffered;

impl Buffering for Unbuffered {
    type Writer<W: Write> = W;

    fn before<W: Write>(writer: W) -> W {
        writer
    }
}

impl Buffering for Buffered {
    type Writer<W: Write> = BufWriter<W>;

    fn before<W: Write>(writer: W) -> BufWriter<W> {
        BufWriter::with_capacity(BUFFER, writer)
    }
}

/// A non-blocking stream that spins while it would block.
pub(crate) struct Spinning<S>(pub(crate) S);

impl<S> Spinning<S> {
    #[inline]
    fn until<T>(&mut self, mut act: impl FnMut(&mut S) -> io::Result<T>) -> io::Result<T> {
        loop {
            match act(&mut self.0) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => std::hint::spin_loop(),
                other => return other,
            }
        }
    }
}

impl<S: Read> Read for Spinning<S> {
    #[inline]
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.until(|stream| stream.read(bytes))
    }
}

impl<S: Write> Write for Spinning<S> {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.until(|stream| stream.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.until(Write::flush)
    }
}

/// Writes records.
pub(crate) struct FramedSender<W, C> {
    writer: W,
    bytes: Vec<u8>,
    codec: PhantomData<C>,
}

impl<W: Write, C: Codec> FramedSender<W, C> {
    pub(crate) fn new(writer: W) -> Self {
        Self { writer, bytes: Vec::with_capacity(BUFFER), codec: PhantomData }
    }

    #[inline]
    fn append<R: Record>(&mut self, record: &R) -> Result<(), Failure> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 4]);
        C::encode(record, &mut self.bytes)?;
        let length = u32::try_from(self.bytes.len() - start - 4)?;
        self.bytes[start..start + 4].copy_from_slice(&length.to_le_bytes());
        Ok(())
    }
}

impl<W: Write, C: Codec, R: Record> Sender<R> for FramedSender<W, C> {
    #[inline]
    fn send(&mut self, record: &R) -> Result<(), Failure> {
        self.bytes.clear();
        self.append(record)?;
        Ok(self.writer.write_all(&self.bytes)?)
    }

    #[inline]
    fn send_batch(&mut self, records: &[R]) -> Result<(), Failure> {
        self.bytes.clear();
        records.iter().try_for_each(|record| self.append(record))?;
        Ok(self.writer.write_all(&self.bytes)?)
    }

    fn finish(&mut self) -> Result<(), Failure> {
        Ok(self.writer.flush()?)
    }
}

/// Reads records.
pub(crate) struct FramedReceiver<S, C> {
    reader: BufReader<S>,
    bytes: AlignedVec,
    codec: PhantomData<C>,
}

impl<S: Read, C: Codec> FramedReceiver<S, C> {
    pub(crate) fn new(stream: S) -> Self {
        let reader = BufReader::with_capacity(BUFFER, stream);
        Self { reader, bytes: AlignedVec::with_capacity(BUFFER), codec: PhantomData }
    }

    #[inline]
    fn take<R: Record>(&mut self, tally: &mut Tally) -> Result<(), Failure> {
        let mut length = [0; 4];
        self.reader.read_exact(&mut length)?;
        let length = u32::from_le_bytes(length) as usize;
        if length > BUFFER {
            return Err(format!("invalid record length: {length} bytes, at most {BUFFER}").into());
        }
        self.bytes.resize(length, 0);
        self.reader.read_exact(&mut self.bytes)?;
        tally.take(C::decode::<R>(&self.bytes)?);
        Ok(())
    }
}

impl<S: Read, C: Codec, R: Record> Receiver<R> for FramedReceiver<S, C> {
    #[inline]
    fn receive(&mut self, tally: &mut Tally) -> Result<(), Failure> {
        self.take::<R>(tally)
    }

    /// Receives one by one: the `BufReader` reads many records with one system call anyway.
    #[inline]
    fn receive_batch(&mut self, tally: &mut Tally) -> Result<(), Failure> {
        self.take::<R>(tally)
    }
}
