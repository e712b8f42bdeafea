//! The file of a recording.
//!
//! ```text
//! file    = "PKTRREC1" { block }
//! block   = bytes u32, crc32 u32, payload        bytes and checksum are those of the payload
//! payload = { entry }
//! entry   = 1: stream   id u16, name text, kind text
//!         | 2: type     id u16, fingerprint u128, name text, schema text
//!         | 3: packet   stream u16, type u16, time u64, position u64, sender u16,
//!                       event text, bytes
//!         | 4: gap      stream u16, time u64, slots u64
//!         | 5: removed  stream u16, time u64
//!         | 6: worker   stream u16, time u64, id u16, name text
//!         | 7: sample   stream u16, time u64, pid u32, packets u64, slots u64, lost u64,
//!                       reader text, worker text
//!         | 8: latency  stream u16, time u64, samples u64, p50 u64, p99 u64, max u64
//! text, bytes = length u32, content
//! ```
//!
//! Numbers are little-endian. Times are nanoseconds since 1970. A type or sender that is not known
//! is 0xffff, an event that is none is empty. A stream and a type come before the first packet that
//! has them, in each file; the streams are in the first block. A block is written at once: a
//! process that is killed loses at most the block that it had not written.
//!
//! A worker is the name that a sender of a stream has from this time on; an id can get another
//! name. A sample is the backlog of one reader: packets, or 2^64 - 1 if they could not be counted,
//! slots, and the packets that a ring which drops the oldest took from it since it joined. A
//! latency has the samples since the last look of the recorder, in nanoseconds.

mod entry;

pub(super) use entry::{Entry, Latency, Packet, Sample};
use std::io::{self, Read, Write};

/// The first bytes of each file.
pub(super) const MAGIC: &[u8; 8] = b"PKTRREC1";
/// No type, or no sender.
pub(super) const NONE: u16 = u16::MAX;
/// A number that is not known.
pub(super) const UNKNOWN: u64 = u64::MAX;
/// Length and checksum before the payload of a block.
const HEAD: usize = 8;
/// Bytes after which a block is written.
const FULL_BLOCK: usize = 256 << 10;
/// Longest payload that a reader accepts: a packet has at most 2 GiB.
const LONGEST_BLOCK: u32 = u32::MAX - 1024;

/// Writes blocks.
#[derive(Debug)]
pub(super) struct Writer<W> {
    out: W,
    /// Room for the head, and the payload so far.
    block: Vec<u8>,
    /// Bytes that were written.
    written: u64,
}

impl<W: Write> Writer<W> {
    /// Begins a file.
    pub(super) fn new(mut out: W) -> io::Result<Self> {
        out.write_all(MAGIC)?;
        Ok(Self { out, block: vec![0; HEAD], written: MAGIC.len() as u64 })
    }

    /// Adds an entry. Writes the block if it is full.
    pub(super) fn push(&mut self, entry: &Entry<'_>) -> io::Result<()> {
        put(&mut self.block, entry);
        if self.block.len() >= FULL_BLOCK { self.write_block() } else { Ok(()) }
    }

    /// Returns true if entries wait to be written.
    pub(super) fn has_entries(&self) -> bool {
        self.block.len() > HEAD
    }

    /// Writes the entries so far as a block, in one call.
    pub(super) fn write_block(&mut self) -> io::Result<()> {
        if !self.has_entries() {
            return Ok(());
        }
        let payload = &self.block[HEAD..];
        let len = u32::try_from(payload.len())
            .map_err(|_| io::Error::other("a block of more than 4 GiB"))?;
        let sum = crc32fast::hash(payload);
        self.block[..4].copy_from_slice(&len.to_le_bytes());
        self.block[4..HEAD].copy_from_slice(&sum.to_le_bytes());
        self.out.write_all(&self.block)?;
        self.written += self.block.len() as u64;
        self.block.truncate(HEAD);
        // Not the memory of a packet that was much longer than the others.
        self.block.shrink_to(2 * FULL_BLOCK);
        Ok(())
    }

    /// Bytes of the file with the block that is not written yet.
    pub(super) fn bytes(&self) -> u64 {
        self.written + (self.block.len() - HEAD) as u64
    }

    /// The file.
    pub(super) fn into_inner(self) -> W {
        self.out
    }
}

fn put(block: &mut Vec<u8>, entry: &Entry<'_>) {
    let text = |block: &mut Vec<u8>, bytes: &[u8]| {
        block.extend((bytes.len() as u32).to_le_bytes());
        block.extend(bytes);
    };
    match *entry {
        Entry::Stream { id, name, kind } => {
            block.push(1);
            block.extend(id.to_le_bytes());
            text(block, name.as_bytes());
            text(block, kind.as_bytes());
        }
        Entry::Type { id, fingerprint, name, schema } => {
            block.push(2);
            block.extend(id.to_le_bytes());
            block.extend(fingerprint.to_le_bytes());
            text(block, name.as_bytes());
            text(block, schema.as_bytes());
        }
        Entry::Packet(Packet { stream, kind, time, position, sender, event, archive }) => {
            block.push(3);
            block.extend(stream.to_le_bytes());
            block.extend(kind.to_le_bytes());
            block.extend(time.to_le_bytes());
            block.extend(position.to_le_bytes());
            block.extend(sender.to_le_bytes());
            text(block, event.as_bytes());
            text(block, archive);
        }
        Entry::Gap { stream, time, slots } => {
            block.push(4);
            block.extend(stream.to_le_bytes());
            block.extend(time.to_le_bytes());
            block.extend(slots.to_le_bytes());
        }
        Entry::Removed { stream, time } => {
            block.push(5);
            block.extend(stream.to_le_bytes());
            block.extend(time.to_le_bytes());
        }
        Entry::Worker { stream, time, id, name } => {
            block.push(6);
            block.extend(stream.to_le_bytes());
            block.extend(time.to_le_bytes());
            block.extend(id.to_le_bytes());
            text(block, name.as_bytes());
        }
        Entry::Sample(Sample { stream, time, pid, packets, slots, lost, reader, worker }) => {
            block.push(7);
            block.extend(stream.to_le_bytes());
            block.extend(time.to_le_bytes());
            block.extend(pid.to_le_bytes());
            for number in [packets, slots, lost] {
                block.extend(number.to_le_bytes());
            }
            text(block, reader.as_bytes());
            text(block, worker.as_bytes());
        }
        Entry::Latency(Latency { stream, time, samples, p50, p99, max }) => {
            block.push(8);
            block.extend(stream.to_le_bytes());
            for number in [time, samples, p50, p99, max] {
                block.extend(number.to_le_bytes());
            }
        }
    }
}

/// Reads blocks.
#[derive(Debug)]
pub(super) struct Reader<R> {
    input: R,
    /// The position of the next block.
    at: u64,
}

/// The end of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Behind a whole block.
    Whole,
    /// Within the block at this position, as a recorder that is killed leaves it.
    Cut(u64),
    /// The block at this position is damaged. The number of bytes from there on.
    Damaged { at: u64, unread: u64 },
}

impl<R: Read> Reader<R> {
    /// Begins to read; an error if this is no recording.
    pub(super) fn new(mut input: R) -> io::Result<Self> {
        let mut magic = [0; 8];
        let read = read_full(&mut input, &mut magic)?;
        if read < magic.len() || magic != *MAGIC {
            return Err(io::Error::other("it does not begin with PKTRREC1: this is no recording"));
        }
        Ok(Self { input, at: MAGIC.len() as u64 })
    }

    /// Reads the payload of the next block; at the end of the file `Err`.
    pub(super) fn next_block(&mut self) -> io::Result<Result<Vec<u8>, End>> {
        let mut head = [0; 8];
        match read_full(&mut self.input, &mut head)? {
            0 => return Ok(Err(End::Whole)),
            8 => {}
            _ => return Ok(Err(End::Cut(self.at))),
        }
        let [a, b, c, d, e, f, g, h] = head;
        let (len, sum) = (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]));
        // No recorder writes such a length.
        if len == 0 || len > LONGEST_BLOCK {
            return self.damaged(8).map(Err);
        }
        let mut payload = Vec::new();
        // Without an allocation of a length that a damaged file names.
        let read = self.input.by_ref().take(len.into()).read_to_end(&mut payload)?;
        if read < len as usize && !has_whole_payload(&payload, sum) {
            return Ok(Err(End::Cut(self.at)));
        }
        if read < len as usize || crc32fast::hash(&payload) != sum {
            return self.damaged(8 + read as u64).map(Err);
        }
        self.at += 8 + u64::from(len);
        Ok(Ok(payload))
    }

    /// The end at a damaged block, of which so many bytes were read. Reads the rest to count it.
    fn damaged(&mut self, read: u64) -> io::Result<End> {
        let rest = io::copy(&mut self.input, &mut io::sink())?;
        Ok(End::Damaged { at: self.at, unread: read + rest })
    }
}

/// Returns true if this data begins with a whole payload of this checksum: then the length before
/// it is damaged, if that length goes beyond the end of the file.
fn has_whole_payload(data: &[u8], sum: u32) -> bool {
    let (mut entries, mut hasher) = (Entries::of(data), crc32fast::Hasher::new());
    let mut hashed = 0;
    while let Some(Some(_)) = entries.next() {
        let end = data.len() - entries.0.len();
        hasher.update(&data[hashed..end]);
        hashed = end;
        if hasher.clone().finalize() == sum {
            return true;
        }
    }
    false
}

fn read_full(input: &mut impl Read, bytes: &mut [u8]) -> io::Result<usize> {
    let mut read = 0;
    while read < bytes.len() {
        match input.read(&mut bytes[read..]) {
            Ok(0) => break,
            Ok(more) => read += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(read)
}

/// The entries of a payload. An entry that is not valid ends them with `None`.
pub(super) struct Entries<'a>(&'a [u8]);

impl<'a> Entries<'a> {
    /// The entries of this payload.
    pub(super) fn of(payload: &'a [u8]) -> Self {
        Self(payload)
    }

    fn bytes<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (bytes, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*bytes)
    }

    fn half(&mut self) -> Option<u16> {
        self.bytes().map(u16::from_le_bytes)
    }

    fn long(&mut self) -> Option<u64> {
        self.bytes().map(u64::from_le_bytes)
    }

    fn list(&mut self) -> Option<&'a [u8]> {
        let len = u32::from_le_bytes(self.bytes()?) as usize;
        let (list, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(list)
    }

    fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.list()?).ok()
    }

    fn entry(&mut self) -> Option<Entry<'a>> {
        let [kind] = self.bytes()?;
        Some(match kind {
            1 => Entry::Stream { id: self.half()?, name: self.text()?, kind: self.text()? },
            2 => Entry::Type {
                id: self.half()?,
                fingerprint: u128::from_le_bytes(self.bytes()?),
                name: self.text()?,
                schema: self.text()?,
            },
            3 => Entry::Packet(Packet {
                stream: self.half()?,
                kind: self.half()?,
                time: self.long()?,
                position: self.long()?,
                sender: self.half()?,
                event: self.text()?,
                archive: self.list()?,
            }),
            4 => Entry::Gap { stream: self.half()?, time: self.long()?, slots: self.long()? },
            5 => Entry::Removed { stream: self.half()?, time: self.long()? },
            6 => Entry::Worker {
                stream: self.half()?,
                time: self.long()?,
                id: self.half()?,
                name: self.text()?,
            },
            7 => Entry::Sample(Sample {
                stream: self.half()?,
                time: self.long()?,
                pid: u32::from_le_bytes(self.bytes()?),
                packets: self.long()?,
                slots: self.long()?,
                lost: self.long()?,
                reader: self.text()?,
                worker: self.text()?,
            }),
            8 => Entry::Latency(Latency {
                stream: self.half()?,
                time: self.long()?,
                samples: self.long()?,
                p50: self.long()?,
                p99: self.long()?,
                max: self.long()?,
            }),
            _ => return None,
        })
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Option<Entry<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let entry = self.entry();
        if entry.is_none() {
            self.0 = &[];
        }
        Some(entry)
    }
}

#[cfg(test)]
mod tests;
