//! The floors: what the machine does with the same bytes when nobody asks for more.
//!
//! They are scenarios without a ring in them: no types, no checks, no late readers, no recovery,
//! and no waiting but the one that is measured. No floor is tuned beyond what the ring could do
//! too.

#[path = "../../examples/support/bounce.rs"]
mod bounce;
mod bulk;
mod doze;
mod futex;
mod slots;
mod stream;
mod trips;
mod write;

pub(crate) use bulk::{Memcpy, capacity_for, source, sum_of, touch};
pub(crate) use doze::Doze;
pub(crate) use stream::SlotStream;
pub(crate) use trips::{Bounce, FutexTrip, PAUSE_ASLEEP};
pub(crate) use write::SlotWrite;
