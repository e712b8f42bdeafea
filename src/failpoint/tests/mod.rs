//! Tests of endpoints that need what users do not see: steps at which a process is stopped.

mod dead_claims;
mod double_faults;
mod freeze;
mod inboxes;
mod joining;
mod kill;
mod leaving;
mod process;
mod queues;
mod removing;
mod scenario;
mod services;
mod survivor;
mod worker_slots;
