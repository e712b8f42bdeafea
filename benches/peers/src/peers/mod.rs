//! The peers, a file each. The header of a file describes the settings.
//!
//! A new peer is a file that implements [`Transport`](crate::transport::Transport) or
//! [`Cell`](crate::cell::Cell), and its lines here.

#[cfg(feature = "aeron")]
mod aeron;
mod disruptor;
mod disruptor_mp;
pub(crate) mod floor;
mod framed;
mod iceoryx2;
mod ipc_channel;
mod myelon;
mod packetring;
mod pipe;
mod rigtorp;
mod ringfire;
mod rtrb;
mod shaq;
mod socket;
#[cfg(feature = "tachyon")]
mod tachyon;

use crate::record::{Record, Record48, Record64};
use crate::transport::Failure;
use crate::work::{Kind, Task};
use clap::ValueEnum;
use framed::{Bincode, Buffered, Rkyv, Unbuffered};

/// The peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Peer {
    Floor,
    Packetring,
    PacketringShared,
    Shaq,
    Ringfire,
    RingfireLossy,
    DisruptorMp,
    Myelon,
    Iceoryx2,
    IpcChannel,
    SocketRkyv,
    SocketBincode,
    SocketBufferedRkyv,
    SocketBufferedBincode,
    PipeRkyv,
    PipeBincode,
    PipeBufferedRkyv,
    PipeBufferedBincode,
    DisruptorThreads,
    RtrbThreads,
    RigtorpThreads,
    #[cfg(feature = "tachyon")]
    Tachyon,
    #[cfg(feature = "aeron")]
    Aeron,
}

/// The works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Work {
    #[value(name = "round_trip_48")]
    RoundTrip48,
    #[value(name = "round_trip_64")]
    RoundTrip64,
    #[value(name = "stream_48")]
    Stream48,
    #[value(name = "stream_64")]
    Stream64,
    #[value(name = "batch_48")]
    Batch48,
    #[value(name = "batch_64")]
    Batch64,
    #[value(name = "latest_write_48")]
    Write48,
    #[value(name = "latest_watched_write_48")]
    WatchedWrite48,
    #[value(name = "latest_read_48")]
    Read48,
}

impl Work {
    pub(crate) fn kind(self) -> Kind {
        match self {
            Self::RoundTrip48 | Self::RoundTrip64 => Kind::RoundTrip,
            Self::Stream48 | Self::Stream64 => Kind::Stream,
            Self::Batch48 | Self::Batch64 => Kind::Batch,
            Self::Write48 => Kind::Write,
            Self::WatchedWrite48 => Kind::WatchedWrite,
            Self::Read48 => Kind::Read,
        }
    }

    /// Size of a record in bytes.
    pub(crate) fn payload(self) -> u64 {
        match self {
            Self::RoundTrip64 | Self::Stream64 | Self::Batch64 => 64,
            _ => 48,
        }
    }

    pub(crate) fn title(self) -> String {
        let kind = match self.kind() {
            Kind::RoundTrip => "round trip",
            Kind::Stream => "stream, one at a time",
            Kind::Batch => "stream, batches of 32",
            Kind::Write => "newest value, write without readers",
            Kind::WatchedWrite => "newest value, write beside a reader that never pauses",
            Kind::Read => "newest value, read of an unchanged value",
        };
        format!("{kind}, {} bytes", self.payload())
    }

    /// The peer that all others are compared with, besides packetring.
    pub(crate) fn base(self) -> Peer {
        if self.kind().is_cell() { Peer::Ringfire } else { Peer::Floor }
    }

    /// The largest ratio that packetring aims at, and the peer that this is a ratio to. `None` as
    /// the peer: the best one that [is a rival](Peer::is_rival).
    pub(crate) fn aim(self) -> Option<(f64, Option<Peer>)> {
        match self {
            Self::RoundTrip48 | Self::RoundTrip64 => Some((1.0, None)),
            // 1.3 times as many records.
            Self::Stream48 | Self::Stream64 => Some((0.77, None)),
            Self::Batch48 => Some((0.77, Some(Peer::Shaq))),
            Self::Write48 | Self::Read48 => Some((5.0, Some(Peer::Ringfire))),
            _ => None,
        }
    }
}

impl Peer {
    /// Name of the peer on the command line.
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// Returns true if the peer can do this work.
    pub(crate) fn knows(self, work: Work) -> bool {
        match self {
            Self::Packetring | Self::Ringfire => true,
            Self::Iceoryx2 => work.kind() != Kind::Batch,
            _ if work.kind().is_cell() => false,
            Self::Myelon | Self::IpcChannel | Self::RigtorpThreads => work.kind() != Kind::Batch,
            Self::SocketBufferedRkyv
            | Self::SocketBufferedBincode
            | Self::PipeBufferedRkyv
            | Self::PipeBufferedBincode => work.kind() == Kind::Stream,
            _ => true,
        }
    }

    /// Differences from packetring in a few words. The header of the file has the details.
    pub(crate) fn differs(self, kind: Kind) -> &'static str {
        match self {
            Self::Packetring if kind.is_cell() => {
                "typed, checked, read in place, any size; a value in hand is never rewritten"
            }
            Self::Iceoryx2 if kind.is_cell() => "fixed size, not checked, copied out",
            Self::Floor => "bare slots, no transport",
            Self::Packetring => "typed, checked, read in place, any size, lossless",
            Self::PacketringShared => "as packetring, but allows more publishers",
            Self::Shaq => "fixed size, not checked",
            Self::Ringfire => "fixed size, not checked, copied out",
            Self::RingfireLossy => {
                "as ringfire, but overwrites records that a slow reader has not read (its default)"
            }
            Self::DisruptorMp => "fixed size, not checked, one producer",
            Self::Myelon => "typed and checked, a frame of fixed size, no batches",
            Self::Iceoryx2 => "fixed size, not checked, no batches",
            Self::IpcChannel => "serialised, copied by the kernel, no batches",
            Self::SocketRkyv | Self::PipeRkyv => {
                "checked, copied by the kernel, one write per record or batch"
            }
            Self::SocketBincode | Self::PipeBincode => {
                "decoded, copied by the kernel, one write per record or batch"
            }
            Self::SocketBufferedRkyv | Self::PipeBufferedRkyv => {
                "checked, copied by the kernel, buffered: a record waits until the buffer is full"
            }
            Self::SocketBufferedBincode | Self::PipeBufferedBincode => {
                "decoded, copied by the kernel, buffered: a record waits until the buffer is full"
            }
            Self::DisruptorThreads => "threads of one process, not checked",
            Self::RtrbThreads => "threads of one process, not checked, copied out",
            Self::RigtorpThreads => {
                "threads of one process, not checked, copied out, no batches; the C++ design in Rust"
            }
            #[cfg(feature = "tachyon")]
            Self::Tachyon => "bytes, not checked",
            #[cfg(feature = "aeron")]
            Self::Aeron => "bytes, not checked, a third process, built for this processor",
        }
    }

    /// Returns true if the two sides are threads of one process.
    pub(crate) fn is_threads(self) -> bool {
        matches!(self, Self::DisruptorThreads | Self::RtrbThreads | Self::RigtorpThreads)
    }

    /// Returns true if the peer does the work between processes and without loss, as packetring
    /// does.
    pub(crate) fn is_rival(self) -> bool {
        let is_ours = matches!(self, Self::Floor | Self::Packetring | Self::PacketringShared);
        !is_ours && !self.is_threads() && !self.may_lose()
    }

    /// Returns true if the others are compared with this peer, so that it always runs.
    pub(crate) fn is_reference(self, work: Work) -> bool {
        self == Self::Packetring || self == work.base()
    }

    /// Returns true if the peer may lose records of a stream.
    pub(crate) fn may_lose(self) -> bool {
        self == Self::RingfireLossy
    }

    /// Returns true if the peer needs a third process.
    pub(crate) fn has_driver(self) -> bool {
        match self {
            #[cfg(feature = "aeron")]
            Self::Aeron => true,
            _ => false,
        }
    }

    /// Runs the third process.
    pub(crate) fn drive(self, task: &Task) -> Result<(), Failure> {
        match self {
            #[cfg(feature = "aeron")]
            Self::Aeron => aeron::drive(&task.there),
            _ => Err(format!("{} has no driver (case {})", self.name(), task.there.name()).into()),
        }
    }

    /// Runs one side of a case.
    pub(crate) fn run(self, work: Work, task: &Task) -> Result<(), Failure> {
        if work.payload() == 48 {
            self.run_with::<Record48>(task)
        } else {
            self.run_with::<Record64>(task)
        }
    }

    fn run_with<R: Record>(self, task: &Task) -> Result<(), Failure> {
        match self {
            Self::Packetring if task.kind.is_cell() => task.run_cell::<packetring::Newest, R>(),
            Self::Ringfire if task.kind.is_cell() => task.run_cell::<ringfire::Blackboard, R>(),
            Self::Iceoryx2 if task.kind.is_cell() => task.run_cell::<iceoryx2::Blackboard, R>(),
            _ if task.kind.is_cell() => Err(format!("{} has no cell", self.name()).into()),
            Self::Floor if task.kind == Kind::RoundTrip => task.bounce(),
            Self::Floor => task.run::<floor::Floor, R>(),
            Self::Packetring => task.run::<packetring::Exclusive, R>(),
            Self::PacketringShared => task.run::<packetring::Shared, R>(),
            Self::Shaq => task.run::<shaq::Shaq, R>(),
            Self::Ringfire => task.run::<ringfire::Lossless, R>(),
            Self::RingfireLossy => task.run::<ringfire::Lossy, R>(),
            Self::DisruptorMp => task.run::<disruptor_mp::DisruptorMp, R>(),
            Self::Myelon => task.run::<myelon::Myelon, R>(),
            Self::Iceoryx2 => task.run::<iceoryx2::Iceoryx2, R>(),
            Self::IpcChannel => task.run::<ipc_channel::IpcChannel, R>(),
            Self::SocketRkyv => task.run::<socket::Socket<Rkyv, Unbuffered>, R>(),
            Self::SocketBincode => task.run::<socket::Socket<Bincode, Unbuffered>, R>(),
            Self::SocketBufferedRkyv => task.run::<socket::Socket<Rkyv, Buffered>, R>(),
            Self::SocketBufferedBincode => task.run::<socket::Socket<Bincode, Buffered>, R>(),
            Self::PipeRkyv => task.run::<pipe::Pipe<Rkyv, Unbuffered>, R>(),
            Self::PipeBincode => task.run::<pipe::Pipe<Bincode, Unbuffered>, R>(),
            Self::PipeBufferedRkyv => task.run::<pipe::Pipe<Rkyv, Buffered>, R>(),
            Self::PipeBufferedBincode => task.run::<pipe::Pipe<Bincode, Buffered>, R>(),
            Self::DisruptorThreads => task.run::<disruptor::Disruptor, R>(),
            Self::RtrbThreads => task.run::<rtrb::Rtrb, R>(),
            Self::RigtorpThreads => task.run::<rigtorp::Rigtorp, R>(),
            #[cfg(feature = "tachyon")]
            Self::Tachyon => task.run::<tachyon::Tachyon, R>(),
            #[cfg(feature = "aeron")]
            Self::Aeron => task.run::<aeron::Aeron, R>(),
        }
    }
}
