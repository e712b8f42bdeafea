//! `record`, `replay` and `report`.

mod files;
mod fitting;
mod format;
pub(crate) mod record;
pub(crate) mod replay;
pub(crate) mod report;
mod rotation;
mod samples;
mod source;

use std::time::{SystemTime, UNIX_EPOCH};

/// Nanoseconds since 1970.
#[expect(clippy::disallowed_methods, reason = "a recording has the time of day")]
fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
}
