//! The directory of a cluster, with a peer that writes into its worker slots between operations.

use super::cluster::TestCluster;
use super::{Choices, damage};

/// Limit of the operations of a case.
const MAX_OPERATIONS: usize = 24;

/// Runs one case.
pub(crate) fn run(data: &[u8]) {
    let mut choices = Choices::new(data);
    let mut test = TestCluster::new();
    for _ in 0..MAX_OPERATIONS {
        if choices.are_over() {
            break;
        }
        match choices.below(10) {
            0 | 1 => damage::forge_worker_slot(test.directory(), &mut choices),
            2 => damage::damage_worker_slot(test.directory(), &mut choices),
            3 if choices.one_in(2) => damage::damage_contents(test.directory(), &mut choices),
            3 if choices.one_in(2) => damage::damage_any(test.directory(), &mut choices),
            4 => test.exchange(&mut choices),
            _ => test.manage(&mut choices),
        }
    }
    // Damages the remaining state once more before it is dropped.
    damage::forge_worker_slot(test.directory(), &mut choices);
}
