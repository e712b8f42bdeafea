//! Tests of endpoints that need what users do not see: steps at which a process is stopped.

mod dead_claims;
mod desks;
mod double_faults;
mod freeze;
mod groups;
mod joining;
mod kill;
mod leaving;
mod letters;
mod life;
mod process;
mod removing;
mod servers;
mod survivor;
