//! The rings of a run, who works on them, and how a worker is told what it is.

use crate::dice::Dice;
use crate::ledger::DURABLES;
use packetring::{Overflow, Ring, RingBuilder, Wait};
use std::str::FromStr;
use std::time::Duration;

/// The rings. Small, so that a lap is short and being full is common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One publisher; waits.
    Exclusive,
    /// Many publishers; waits.
    Shared,
    /// Many publishers; drops the oldest, keeps a history.
    DropShared,
    /// One publisher; drops the oldest.
    DropExclusive,
    /// Many publishers; waits, also for durable subscribers whose process is dead.
    Durable,
    /// Nobody holds it: it is made and removed all the time.
    Doors,
}

/// Newcomers to [`Kind::DropShared`] start so far back.
pub(crate) const HISTORY: usize = 8;

impl Kind {
    pub(crate) const ALL: [Self; crate::ledger::RINGS] = [
        Self::Exclusive,
        Self::Shared,
        Self::DropShared,
        Self::DropExclusive,
        Self::Durable,
        Self::Doors,
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
            Self::Doors => builder.stays_open(true),
        }
    }
}

/// What a worker does on its ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Publisher,
    Subscriber,
    /// The subscriber of this durable name.
    Durable(usize),
    /// Publisher and subscriber at once; comes and goes.
    Visitor,
}

/// A place that a worker holds, and after its death its successor.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slot {
    pub(crate) ring: usize,
    pub(crate) role: Role,
    /// It pauses a lot.
    pub(crate) slow: bool,
}

/// All places of a run.
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

/// What a worker is told on its command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Post {
    pub(crate) director: u64,
    pub(crate) seed: u64,
    pub(crate) phase: u64,
    pub(crate) ring: usize,
    pub(crate) row: usize,
    pub(crate) role: Role,
    pub(crate) slow: bool,
}

impl Post {
    pub(crate) fn kind(&self) -> Kind {
        Kind::ALL[self.ring]
    }

    pub(crate) fn ring_name(&self) -> String {
        ring_name(self.director, self.phase, self.ring)
    }

    pub(crate) fn dice(&self) -> Dice {
        Dice::new(self.seed, &[self.phase, self.ring as u64, self.row as u64])
    }

    pub(crate) fn wait(&self, dice: &mut Dice) -> Wait {
        // Who spins keeps a core busy, and there are more workers than cores.
        let spinners = if self.role == Role::Publisher { 30 } else { 10 };
        match dice.below(100) {
            roll if roll < spinners => Wait::spin(),
            roll if roll < 60 => Wait::park().spin_for(Duration::ZERO),
            _ => Wait::park(),
        }
    }

    /// As one word.
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

impl FromStr for Post {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers: Result<Vec<u64>, _> = text.split(',').map(str::parse).collect();
        let numbers = numbers.map_err(|error| error.to_string())?;
        let &[director, seed, phase, ring, row, role, name, slow] = numbers.as_slice() else {
            return Err("eight numbers, as a director writes them".into());
        };
        let role = match role {
            0 => Role::Publisher,
            1 => Role::Subscriber,
            2 => Role::Durable(name as usize),
            _ => Role::Visitor,
        };
        let (ring, row) = (ring as usize, row as usize);
        if ring >= Kind::ALL.len() || row >= crate::ledger::ROWS || name as usize >= DURABLES {
            return Err("a ring, row or name that is not there".into());
        }
        Ok(Self { director, seed, phase, ring, row, role, slow: slow == 1 })
    }
}

/// The ring's name holds the director's process id, by which what stays behind is known.
pub(crate) fn ring_name(director: u64, phase: u64, ring: usize) -> String {
    format!("chaos-{director}-{phase}-{ring}")
}

/// The name of a durable subscriber.
pub(crate) fn durable_name(name: usize) -> String {
    format!("durable-{name}")
}
