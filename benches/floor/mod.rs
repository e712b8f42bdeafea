//! The floors: the bare machine moves the same bytes.
//!
//! A floor is a scenario without a ring. It has no types, no checks, no late readers, no recovery,
//! and only the kind of waiting that is measured. A floor in memory has the capacity of the ring
//! that it is compared with. No floor uses a technique that the ring could not use too. If there
//! are several ways to move the bytes, each is a floor of its own, and the best one in a phase
//! counts.

mod bulk;
mod doze;
mod futex;
mod slots;
mod store;
mod stream;
mod trips;
mod turns;
mod write;

pub(crate) use bulk::{Copies, Copying, capacity_for, source, sum_of, touch};
pub(crate) use doze::Doze;
pub(crate) use slots::Order;
pub(crate) use store::has_avx;
pub(crate) use stream::SlotStream;
pub(crate) use trips::{Bounce, FutexTrip, PAUSE_ASLEEP};
pub(crate) use turns::{EventFdWake, ReadySet, Turns};
pub(crate) use write::SlotWrite;
