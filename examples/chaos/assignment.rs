//! The rings of a run, the workers of each ring, and the encoding of a worker's assignment.

use crate::ledger::DURABLES;
use crate::rng::Rng;
use packetring::{Overflow, Ring, RingBuilder, Wait};
use std::str::FromStr;
use std::time::Duration;

/// The rings. They are small, so that laps are short and full rings are common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A single publisher; blocks when full.
    Exclusive,
    /// Many publishers; blocks when full.
    Shared,
    /// Many publishers; drops the oldest packets and keeps a history.
    DropShared,
    /// A single publisher; drops the oldest packets.
    DropExclusive,
    /// Many publishers; blocks when full, also for durable subscribers whose process is dead.
    Durable,
    /// The director does not keep it open: it is created and removed all the time.
    Transient,
}

/// Packets of history for new subscribers of [`Kind::DropShared`].
pub(crate) const HISTORY: usize = 8;

impl Kind {
    pub(crate) const ALL: [Self; crate::ledger::RINGS] = [
        Self::Exclusive,
        Self::Shared,
        Self::DropShared,
        Self::DropExclusive,
        Self::Durable,
        Self::Transient,
    ];

    pub(crate) fn drops(self) -> bool {
        matches!(self, Self::DropShared | Self::DropExclusive)
    }

    pub(crate) fn history(self) -> u64 {
        if self == Self::DropShared { HISTORY as u64 } else { 0 }
    }

    pub(crate) fn is_exclusive(self) -> bool {
        matches!(self, Self::Exclusive | Self::DropExclusive)
    }

    pub(crate) fn builder(self) -> RingBuilder {
        let builder = Ring::builder().capacity(1 << 14);
        match self {
            Self::Exclusive => builder.exclusive(),
            Self::Shared | Self::Durable => builder.shared(),
            Self::DropShared => builder.overflow(Overflow::DropOldest).history(HISTORY),
            Self::DropExclusive => builder.exclusive().overflow(Overflow::DropOldest),
            Self::Transient => builder.stays_open(true),
        }
    }
}

/// The role of a worker on its ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Publisher,
    Subscriber,
    /// The subscriber with this durable name.
    Durable(usize),
    /// Publisher and subscriber at once; joins and leaves repeatedly.
    Visitor,
}

/// A position on a ring. A successor takes it over when its worker dies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slot {
    pub(crate) ring: usize,
    pub(crate) role: Role,
    /// Pauses often.
    pub(crate) slow: bool,
}

/// All positions of a run.
pub(crate) fn slots() -> Vec<Slot> {
    use Role::{Publisher, Subscriber, Visitor};
    let people: [&[Role]; crate::ledger::RINGS] = [
        &[Publisher, Subscriber, Subscriber, Subscriber],
        &[Publisher, Publisher, Publisher, Subscriber, Subscriber],
        &[Publisher, Publisher, Publisher, Subscriber, Subscriber, Subscriber],
        &[Publisher, Subscriber, Subscriber],
        &[Publisher, Publisher, Role::Durable(0), Role::Durable(1), Subscriber],
        &[Visitor, Visitor, Visitor],
    ];
    let places = people.iter().enumerate().flat_map(|(ring, roles)| {
        roles.iter().enumerate().map(move |(index, &role)| Slot {
            ring,
            role,
            slow: role == Subscriber && index + 1 == roles.len(),
        })
    });
    places.collect()
}

/// The assignment of a worker, passed on its command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Assignment {
    pub(crate) director: u64,
    pub(crate) seed: u64,
    pub(crate) phase: u64,
    pub(crate) ring: usize,
    pub(crate) row: usize,
    pub(crate) role: Role,
    pub(crate) slow: bool,
}

impl Assignment {
    pub(crate) fn kind(&self) -> Kind {
        Kind::ALL[self.ring]
    }

    pub(crate) fn ring_name(&self) -> String {
        ring_name(self.director, self.phase, self.ring)
    }

    pub(crate) fn rng(&self) -> Rng {
        Rng::new(self.seed, &[self.phase, self.ring as u64, self.row as u64])
    }

    pub(crate) fn wait(&self, rng: &mut Rng) -> Wait {
        // A spinning worker keeps a core busy, and there are more workers than cores.
        let spinners = if self.role == Role::Publisher { 30 } else { 10 };
        match rng.below(100) {
            next if next < spinners => Wait::spin(),
            next if next < 60 => Wait::park().spin_for(Duration::ZERO),
            _ => Wait::park(),
        }
    }

    /// Encodes the assignment as one command line argument.
    pub(crate) fn to_text(self) -> String {
        let (role, name) = match self.role {
            Role::Publisher => (0, 0),
            Role::Subscriber => (1, 0),
            Role::Durable(name) => (2, name),
            Role::Visitor => (3, 0),
        };
        let Self { director, seed, phase, ring, row, slow, .. } = self;
        let slow = u8::from(slow);
        format!("{director},{seed},{phase},{ring},{row},{role},{name},{slow}")
    }
}

impl FromStr for Assignment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers: Result<Vec<u64>, _> = text.split(',').map(str::parse).collect();
        let numbers = numbers.map_err(|error| error.to_string())?;
        let &[director, seed, phase, ring, row, role, name, slow] = numbers.as_slice() else {
            return Err("invalid assignment: expected eight numbers separated by commas".into());
        };
        let role = match role {
            0 => Role::Publisher,
            1 => Role::Subscriber,
            2 => Role::Durable(name as usize),
            _ => Role::Visitor,
        };
        let (ring, row) = (ring as usize, row as usize);
        if ring >= Kind::ALL.len() || row >= crate::ledger::ROWS || name as usize >= DURABLES {
            return Err(format!("assignment out of range: ring {ring}, row {row}, name {name}"));
        }
        Ok(Self { director, seed, phase, ring, row, role, slow: slow == 1 })
    }
}

/// Name of a ring. It contains the director's process id, which identifies leftovers.
pub(crate) fn ring_name(director: u64, phase: u64, ring: usize) -> String {
    format!("chaos-{director}-{phase}-{ring}")
}

/// The name of a durable subscriber.
pub(crate) fn durable_name(name: usize) -> String {
    format!("durable-{name}")
}
