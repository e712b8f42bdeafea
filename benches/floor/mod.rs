//! The floors: the bare machine moves the same bytes.
//!
//! A floor is a scenario without a ring. It has no types, no checks, no late readers, no recovery,
//! and only the kind of waiting that is measured. No floor uses a technique that the ring could not
//! use too.

mod bulk;
mod doze;
mod futex;
mod slots;
mod stream;
mod trips;
mod turns;
mod write;

pub(crate) use bulk::{Memcpy, capacity_for, source, sum_of, touch};
pub(crate) use doze::Doze;
pub(crate) use stream::SlotStream;
pub(crate) use trips::{Bounce, FutexTrip, PAUSE_ASLEEP};
pub(crate) use turns::{EventFdWake, ReadySet, Turns};
pub(crate) use write::SlotWrite;
