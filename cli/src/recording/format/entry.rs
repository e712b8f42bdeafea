//! The entries of a recording: what the packets, the gaps and the looks of a recorder become.

/// One entry, borrowed from what is written or from the block that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::recording) enum Entry<'a> {
    Stream { id: u16, name: &'a str, kind: &'a str },
    Type { id: u16, fingerprint: u128, name: &'a str, schema: &'a str },
    Packet(Packet<'a>),
    Gap { stream: u16, time: u64, slots: u64 },
    Removed { stream: u16, time: u64 },
    Worker { stream: u16, time: u64, id: u16, name: &'a str },
    Sample(Sample<'a>),
    Latency(Latency),
}

impl Entry<'_> {
    /// When the recorder wrote it, if the entry has a time.
    pub(in crate::recording) fn time(&self) -> Option<u64> {
        match *self {
            Self::Packet(Packet { time, .. })
            | Self::Sample(Sample { time, .. })
            | Self::Latency(Latency { time, .. })
            | Self::Gap { time, .. }
            | Self::Removed { time, .. }
            | Self::Worker { time, .. } => Some(time),
            Self::Stream { .. } | Self::Type { .. } => None,
        }
    }
}

/// The backlog of a reader at one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::recording) struct Sample<'a> {
    pub(in crate::recording) stream: u16,
    pub(in crate::recording) time: u64,
    pub(in crate::recording) pid: u32,
    /// [`UNKNOWN`](super::UNKNOWN) if they could not be counted.
    pub(in crate::recording) packets: u64,
    pub(in crate::recording) slots: u64,
    pub(in crate::recording) lost: u64,
    pub(in crate::recording) reader: &'a str,
    /// Empty if it has none, or none that is known.
    pub(in crate::recording) worker: &'a str,
}

/// The latencies of a ring since the entry before, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::recording) struct Latency {
    pub(in crate::recording) stream: u16,
    pub(in crate::recording) time: u64,
    pub(in crate::recording) samples: u64,
    pub(in crate::recording) p50: u64,
    pub(in crate::recording) p99: u64,
    pub(in crate::recording) max: u64,
}

/// A packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::recording) struct Packet<'a> {
    pub(in crate::recording) stream: u16,
    pub(in crate::recording) kind: u16,
    pub(in crate::recording) time: u64,
    pub(in crate::recording) position: u64,
    pub(in crate::recording) sender: u16,
    pub(in crate::recording) event: &'a str,
    pub(in crate::recording) archive: &'a [u8],
}
