//! Tests that stop a process at a failpoint: by a kill, or by a freeze and a thaw.

mod batches;
mod bursts;
mod cells;
mod dead_claims;
mod double_faults;
#[cfg(feature = "handover")]
mod fds;
mod freeze;
mod inboxes;
mod joining;
mod kill;
mod leaving;
mod process;
mod queues;
mod redeliveries;
mod removing;
mod scenario;
mod services;
mod survivor;
mod types;
mod worker_slots;
