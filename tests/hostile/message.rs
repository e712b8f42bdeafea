//! Messages: a peer writes into an inbox, requests, replies and events between the operations of
//! workers.

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
        match choices.below(8) {
            0..3 => damage::forge_message(test.message_ring(&mut choices), &mut choices),
            3 => damage::damage_contents(test.message_ring(&mut choices), &mut choices),
            4 if choices.one_in(4) => damage::damage_any(test.any(&mut choices), &mut choices),
            _ => test.exchange(&mut choices),
        }
    }
    // Damages the remaining state once more before it is dropped.
    damage::damage_contents(test.message_ring(&mut choices), &mut choices);
}
